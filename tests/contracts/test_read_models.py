"""SQLite and PostgreSQL keep the same promises."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from zlib import crc32

import psycopg
import pytest
from sqlalchemy import event

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain.ids import warehouse_key
from domain.stock import ReceiveStock
from projections import PROJECTIONS
from projections.orders import TABLE
from runners.projector import Projector
from tests.colleagues import LI
from tests.contracts.read_models_contract import ReadModelsContract
from tests.trade import Trade, trade_day


class TestReadModelsOnSqlite(ReadModelsContract):
    @pytest.fixture
    def read_models(self, tmp_path: Path) -> Iterator[ReadModels]:
        made = ReadModels(f"sqlite:///{tmp_path}/read_models.db")
        yield made
        made.close()


def test_the_file_of_the_read_models_may_have_any_name(tmp_path: Path) -> None:
    file = tmp_path / "50% off? a=b#1" / "read_models.db"
    file.parent.mkdir()
    with closing(ReadModels(f"sqlite:///{file}")) as models:
        models.positions()
    assert file.exists()
    assert list(tmp_path.iterdir()) == [file.parent]


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


def test_a_long_sku_stops_no_read_model(postgres_dsn: str, postgres_schema: str) -> None:
    log = MemoryEventLog()
    trade = Trade(log)
    skus = ["".join(chr(0x20000 + crc32(b"%d" % place) % 0x8000) for place in range(size)) for size in (200, 3_000)]
    for number, sku in enumerate(skus):
        trade.send(warehouse_key("A"), ReceiveStock(f"d-{number}", ((sku, 1),)), by=LI)
    with closing(ReadModels(postgres_dsn, f"{postgres_schema}_read")) as read_models:
        Projector(log, read_models, PROJECTIONS).run()
        assert [row["sku"] for row in read_models.inventory()] == skus[:1]


def test_an_order_number_is_found_by_its_index_on_postgres(postgres_dsn: str, postgres_schema: str) -> None:
    log = MemoryEventLog()
    trade_day(Trade(log), 5, 20)
    schema = f"{postgres_schema}_read"
    asked: list[tuple[str, Any]] = []
    with (
        closing(ReadModels(postgres_dsn, schema)) as read_models,
        psycopg.connect(postgres_dsn, options=f"-c search_path={schema}", autocommit=True) as db,
    ):
        Projector(log, read_models, PROJECTIONS).run()
        columns = [column.name for column in TABLE.columns]
        copied = ", ".join({"key": "'order-x:y:' || n", "order_no": "'x' || n"}.get(name, name) for name in columns)
        db.execute(
            f"""INSERT INTO {TABLE.name} ({", ".join(columns)}) SELECT {copied}
            FROM (SELECT * FROM {TABLE.name} LIMIT 1) AS one CROSS JOIN generate_series(1, 5000) AS n""".encode()  # noqa: S608
        )
        db.execute(f"ANALYZE {TABLE.name}".encode())
        event.listen(read_models._engine, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
        (found,) = read_models.orders({"order_no": "x4711"}, limit=6)
        assert found["key"] == "order-x:y:4711"
        ((statement, values),) = [each for each in asked if "order_no = " in each[0]]
        ((plan,),) = db.execute(f"EXPLAIN (FORMAT JSON) {statement}".encode(), values).fetchall()
    assert f'"{TABLE.name}_order_no"' in json.dumps(plan)
    assert "Seq Scan" not in json.dumps(plan)
