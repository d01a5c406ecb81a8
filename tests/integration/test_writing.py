"""The process that writes the projector's large batches: whatever becomes of it, the rows are those of a rebuild."""

import asyncio
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import psutil
import pytest

from adapters.nats.address import Address
from adapters.nats.client import Connection
from adapters.nats.errors import BrokerUnavailable
from adapters.nats.kv import KvWriter
from adapters.storage.read_models import OutOfStep, ReadModels
from adapters.storage.sqlite_log import SqliteEventLog
from domain.ids import token_of
from runners import writing
from runners.beside import Beside
from runners.bootstrap import ADDRESS_FILE
from runners.documents import MARKER, Marker
from runners.projector import Projector
from runners.writing import Writer
from tests.integration.following import Follower, everything, follower, level, rebuilt, wait_for, wait_until
from tests.trade import Trade, trade_day, view

pytestmark = pytest.mark.timeout(120)

CRASHING = "tests.integration.crashing_projector"


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
        one.fork(writing.program)
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


def test_it_writes_to_postgresql_as_the_projector_would(
    log: SqliteEventLog, beside: Beside, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "WORTH_IT", 0)
    with closing(ReadModels(postgres, "main_read")) as read_models, closing(ReadModels(postgres, "own")) as own:
        writer = Writer(beside, read_models)
        wait_until(beside.ready)
        monkeypatch.setattr(read_models, "apply", None)
        Projector(log, read_models, batch=50, apply=writer.apply).run()
        Projector(log, own).run()
        assert everything(read_models) == everything(own)


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


def beside_of(projector: Follower) -> psutil.Process:
    found: list[psutil.Process] = []

    def there() -> bool:
        found[:] = psutil.Process(projector.pid).children()
        return bool(found)

    wait_until(there)
    return found[0]


@pytest.mark.parametrize("place", ["before:2", "after:1", "after:2"])
def test_one_that_dies_is_started_again_and_the_rows_are_right(
    data: Path, log: SqliteEventLog, read_models: ReadModels, place: str
) -> None:
    dies = {"ORDERSPINE_TEST_AT": f"apply.{place}:kill", "ORDERSPINE_TEST_BATCH": "100"}
    with follower(CRASHING, data, "--no-broker", **dies) as projector:
        projector.start()
        wait_until(lambda: level(read_models, log), 60)
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


def test_a_projector_that_is_told_to_end_waits_for_no_batch_for_ever(
    data: Path, log: SqliteEventLog, read_models: ReadModels
) -> None:
    with follower(CRASHING, data, "--no-broker", ORDERSPINE_TEST_AT="apply.before:2:stop") as projector:
        projector.start()
        wait_until(lambda: beside_of(projector).status() == psutil.STATUS_STOPPED)
        assert projector.terminate() == 0
    assert not level(read_models, log)
    with follower("projector", data, "--no-broker") as projector:
        projector.start()
        wait_until(lambda: level(read_models, log))
        assert projector.terminate() == 0
    assert everything(read_models) == rebuilt(log)


def test_projector_and_writer_killed_at_work_again_and_again_leave_the_rows_of_a_rebuild(
    data: Path, trade: Trade, log: SqliteEventLog, read_models: ReadModels
) -> None:
    chance = random.Random(11)
    with follower(CRASHING, data, "--no-broker", ORDERSPINE_TEST_AT="-", ORDERSPINE_TEST_BATCH="20") as projector:
        for seed in range(3, 6):
            trade_day(trade, seed, 120)
            before = reached(read_models)
            projector.start()
            wait_until(lambda before=before: reached(read_models) > before)  # type: ignore[misc]
            time.sleep(chance.random() * 0.05)
            for child in psutil.Process(projector.pid).children():
                child.send_signal(signal.SIGKILL)
            time.sleep(chance.random() * 0.05)
            projector.kill()
        trade_day(trade, 6, 60)
        projector.start()
        wait_until(lambda: level(read_models, log))
        assert projector.terminate() == 0
    assert everything(read_models) == rebuilt(log)


def reached(read_models: ReadModels) -> int:
    return max((row["position"] for row in read_models.positions()), default=0)


async def test_documents_are_shown_where_the_log_ends_with_a_whole_batch(
    data: Path, trade: Trade, log: SqliteEventLog, read_models: ReadModels, nc: Connection, nats_address: Address
) -> None:
    """Behind a whole batch there may be more, for which it waits to be shown; and then there is not."""
    nats_address.write(data / ADDRESS_FILE)
    shown = KvWriter(nc, "main_orders")

    async def marked(position: int) -> None:
        async with asyncio.timeout(30):
            while True:
                with suppress(BrokerUnavailable):  # the bucket is made behind the first rows
                    marker = (await shown.get_many([MARKER])).get(MARKER)
                    if marker and msgspec.json.decode(marker, type=Marker).position == position:
                        return
                await asyncio.sleep(0.05)

    alone = {"ORDERSPINE_TEST_AT": "-", "ORDERSPINE_TEST_BATCH": "10"}
    with follower(CRASHING, data, **alone) as projector:
        projector.start()
        await wait_for(lambda: level(read_models, log))
        before = log.tracked().head
        await marked(before)
        process = psutil.Process(projector.pid)
        process.suspend()
        while log.tracked().head < before + 30 or (log.tracked().head - before) % 10:
            trade.take(view(f"late-{log.tracked().head}"))
        process.resume()
        await marked(log.tracked().head)
        keys = [row["key"] for row in read_models.orders(limit=1000)]
        found = await shown.get_many([token_of(key) for key in keys])
        for key in keys:
            row = read_models.order(key)
            assert row is not None
            assert msgspec.json.decode(found[token_of(key)])["position"] == row["position"]
        assert projector.terminate() == 0
