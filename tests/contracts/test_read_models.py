"""SQLite and PostgreSQL keep the same promises."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from projections import PROJECTIONS
from runners.projector import Projector
from tests.contracts.read_models_contract import ReadModelsContract
from tests.trade import Trade, trade_day


class TestReadModelsOnSqlite(ReadModelsContract):
    @pytest.fixture
    def read_models(self, tmp_path: Path) -> Iterator[ReadModels]:
        made = ReadModels(f"sqlite:///{tmp_path}/read_models.db")
        yield made
        made.close()


class TestReadModelsOnPostgres(ReadModelsContract):
    @pytest.fixture
    def read_models(self, postgres_dsn: str, postgres_schema: str) -> Iterator[ReadModels]:
        made = ReadModels(postgres_dsn, f"{postgres_schema}_read")
        yield made
        made.close()


def test_both_databases_hold_the_same_rows(tmp_path: Path, postgres_dsn: str, postgres_schema: str) -> None:
    log = MemoryEventLog()
    trade_day(Trade(log), 5, 80)
    found = []
    for read_models in (
        ReadModels(f"sqlite:///{tmp_path}/read_models.db"),
        ReadModels(postgres_dsn, f"{postgres_schema}_read"),
    ):
        Projector(log, read_models, PROJECTIONS, batch=17).run()
        found.append([row for projection in PROJECTIONS for row in read_models.rows(projection)])
        read_models.close()
    assert found[0] == found[1]
    assert len(found[0]) > 10
