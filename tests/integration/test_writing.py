"""The process that writes the projector's large batches: whatever becomes of it, the rows are those of a rebuild."""

import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import OutOfStep, ReadModels
from adapters.storage.sqlite_log import SqliteEventLog
from projections import PROJECTIONS
from runners import writing
from runners.beside import Beside
from runners.bootstrap import LOG_FILE, READ_MODELS_FILE
from runners.projector import Projector
from runners.settings import Settings
from runners.writing import Writer
from tests.integration.following import Follower, follower, wait_until
from tests.trade import Trade, trade_day

pytestmark = pytest.mark.timeout(120)

CRASHING = "tests.integration.crashing_projector"


def everything(read_models: ReadModels) -> list[Any]:
    return [row for projection in PROJECTIONS for row in read_models.rows(projection)]


def rebuilt(log: SqliteEventLog | MemoryEventLog) -> list[Any]:
    read_models = ReadModels("sqlite://")
    Projector(log, read_models).run()
    found = everything(read_models)
    read_models.close()
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    place.mkdir()
    return place


@pytest.fixture
def read_models(data: Path) -> Iterator[ReadModels]:
    read_models = ReadModels(f"sqlite:///{data / READ_MODELS_FILE}")
    yield read_models
    read_models.close()


@pytest.fixture
def log(data: Path) -> Iterator[SqliteEventLog]:
    log = SqliteEventLog(data / LOG_FILE)
    yield log
    log.close()


@pytest.fixture(autouse=True)
def trade(log: SqliteEventLog) -> Trade:
    """Two days of trade are in the log."""
    trade = Trade(log)
    for seed in (1, 2):
        trade_day(trade, seed, 120)
    return trade


@pytest.fixture
def beside(data: Path) -> Iterator[Beside]:
    with closing(Beside(writing.MODULE, str(data))) as one:
        one.fork(partial(writing.program, Settings(str(data))))
        yield one


def test_what_it_writes_is_what_the_projector_would_write(
    log: SqliteEventLog, read_models: ReadModels, beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "WORTH_IT", 0)
    writer = Writer(beside, read_models)
    wait_until(beside.ready)
    monkeypatch.setattr(read_models, "apply", None)  # nothing is written here
    Projector(log, read_models, batch=50, apply=writer.apply).run()
    assert everything(read_models) == rebuilt(log)
    assert beside.lives == 1


def test_a_second_projector_is_told_by_the_one_that_wrote(
    log: SqliteEventLog, read_models: ReadModels, beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "WORTH_IT", 0)
    projector = Projector(log, read_models, batch=50, apply=Writer(beside, read_models).apply)
    wait_until(beside.ready)
    Projector(log, read_models, batch=70).run_once()
    with pytest.raises(OutOfStep, match="is not at"):
        projector.run_once()
    projector.run()
    assert everything(read_models) == rebuilt(log)


def level(read_models: ReadModels, log: SqliteEventLog) -> bool:
    positions = [row["position"] for row in read_models.positions()]
    return len(positions) == len(PROJECTIONS) and min(positions) == log.tracked().head


def beside_of(projector: Follower) -> psutil.Process:
    found: list[psutil.Process] = []

    def there() -> bool:
        found[:] = psutil.Process(projector.pid).children()
        return bool(found)

    wait_until(there)
    return found[0]


@pytest.mark.parametrize("place", ["before:2", "after:1", "before:4", "after:4"])
def test_one_that_dies_is_started_again_and_the_rows_are_right(
    data: Path, log: SqliteEventLog, read_models: ReadModels, place: str
) -> None:
    with follower(CRASHING, data, "--no-broker", ORDERSPINE_TEST_AT=f"apply.{place}:kill") as projector:
        projector.start()
        wait_until(lambda: level(read_models, log))
        assert projector.terminate() == 0
    assert "whether a batch was written is not known" in (data / f"{CRASHING}.log").read_text()
    assert everything(read_models) == rebuilt(log)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends with its input")
def test_one_that_hangs_is_ended_and_ends_with_its_projector(
    data: Path, log: SqliteEventLog, read_models: ReadModels
) -> None:
    stops = {"ORDERSPINE_TEST_AT": "apply.after:3:stop", "ORDERSPINE_TEST_WRITE_S": "1"}
    with follower(CRASHING, data, "--no-broker", **stops) as projector:
        projector.start()
        wait_until(lambda: level(read_models, log))
        pid = beside_of(projector).pid
        projector.kill()
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    assert "did not answer within 1 s" in (data / f"{CRASHING}.log").read_text()
    assert everything(read_models) == rebuilt(log)


def test_projector_and_writer_killed_again_and_again_leave_the_rows_of_a_rebuild(
    data: Path, trade: Trade, log: SqliteEventLog, read_models: ReadModels
) -> None:
    chance = random.Random(11)
    with follower(CRASHING, data, "--no-broker", ORDERSPINE_TEST_AT="-") as projector:
        for seed in range(3, 6):
            projector.start()
            wait_until(lambda: bool(read_models.positions()))
            beside = beside_of(projector)
            trade_day(trade, seed, 60)
            time.sleep(chance.random() * 0.3)
            beside.send_signal(signal.SIGKILL)
            time.sleep(chance.random() * 0.3)
            projector.kill()
        projector.start()
        wait_until(lambda: level(read_models, log))
        assert projector.terminate() == 0
    assert everything(read_models) == rebuilt(log)
