"""Snapshots of read models: whole or not at all, of this very log, within their bounds, without whom was forgotten."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.storage.memory_log import MemoryEventLog
from domain.ids import buyer_of
from domain.order import OrderNormalized
from domain.ports import Record
from projections import PROJECTIONS
from projections.orders import SEARCH_TABLE, TABLE, VIEW_TABLE, Orders
from runners import snapshots as snapshots_module
from runners.as_of import as_of
from runners.moments import Counting
from runners.settings import BadSetting, Settings, load_settings
from runners.snapshots import FOLDER, NoRoom, Snapshot, Snapshots
from runners.snapshotter import Snapshotting, Stoppable, Stopped
from tests.privacy_world import Cell, cell, key_of, trade
from tests.trade import Trade, trade_day

ONE = (Orders(),)
EVERY = 40


@pytest.fixture
def log() -> MemoryEventLog:
    made = MemoryEventLog()
    trade_day(Trade(made), 3, 60)
    return made


def kept_in(folder: Path, log: Any) -> Snapshots:
    return Snapshots(folder, log.tracked().generation)


def names(snapshots: Snapshots) -> list[str]:
    return [each.file.name for each in snapshots.all()]


def files(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.name != ".lock")


class Dying:
    """A log whose reader dies after so many reads."""

    def __init__(self, log: MemoryEventLog, reads: int) -> None:
        self._log, self.left = log, reads

    def read(self, after: int, limit: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self._log.read(after, limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def test_dying_at_any_read_leaves_whole_files_only_and_the_next_run_makes_the_rest(
    log: MemoryEventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots_module, "BATCH_EVENTS", 25)
    honest = kept_in(tmp_path / "honest", log)
    honest.make(log, EVERY, PROJECTIONS[:3])
    rows = {each.file.name: contents(each) for each in honest.all()}
    snapshots = kept_in(tmp_path / "dying", log)
    for reads in range(0, 60, 7):
        dying: Any = Dying(log, reads)
        with suppress(KeyboardInterrupt):
            snapshots.make(dying, EVERY, PROJECTIONS[:3])
        assert {each.file.name: contents(each) for each in snapshots.all()}.items() <= rows.items()
    snapshots.make(log, EVERY, PROJECTIONS[:3])
    assert {each.file.name: contents(each) for each in snapshots.all()} == rows
    assert files(tmp_path / "dying") == [each.replace("honest", "dying") for each in files(tmp_path / "honest")]


def contents(each: Snapshot) -> list[str]:
    with closing(sqlite3.connect(f"file:{each.file}?mode=ro&immutable=1", uri=True)) as db:
        return list(db.iterdump())


def test_what_a_kill_left_is_never_used_and_goes(log: MemoryEventLog, tmp_path: Path) -> None:
    snapshots = kept_in(tmp_path, log)
    snapshots.make(log, EVERY, ONE)
    before = names(snapshots)
    folder = tmp_path / log.tracked().generation
    (folder / ".making").mkdir()
    (folder / ".making" / "building.db").write_bytes(b"half")
    (folder / "orders.v1.80.part").write_bytes(b"half")
    (folder / "orders.v1.80.part-wal").write_bytes(b"half")
    assert names(snapshots) == before
    snapshots.make(log, EVERY, ONE)
    assert sorted(each.name for each in folder.iterdir()) == sorted(before)


@pytest.mark.parametrize("harm", ["cut", "unmarked", "another event"])
def test_a_file_that_does_not_fit_the_log_is_not_used_and_is_made_again(
    log: MemoryEventLog, tmp_path: Path, harm: str
) -> None:
    snapshots = kept_in(tmp_path, log)
    snapshots.make(log, EVERY, ONE)
    newest = snapshots.all()[-1]
    honest = contents(newest)
    if harm == "cut":
        newest.file.write_bytes(newest.file.read_bytes()[:3000])
    else:
        with closing(sqlite3.connect(newest.file, isolation_level=None)) as db:
            wrong = "DELETE FROM snapshot_mark" if harm == "unmarked" else "UPDATE snapshot_mark SET leaf = x'00'"
            db.execute(wrong)
            db.execute(f"UPDATE {TABLE.name} SET state = 'nonsense'")  # noqa: S608
    head = log.tracked().head
    counting: Any = Counting(log)
    look = as_of(counting, Orders(), head, snapshots=snapshots)
    assert look.folded_from == "snapshot"
    assert counting.rows > head - newest.position
    assert look.rows == as_of(log, Orders(), head).rows
    _, dropped = snapshots.make(log, EVERY, ONE)
    assert [each.position for each in dropped] == [newest.position]
    assert contents(newest) == honest


def test_a_log_that_was_set_back_loses_what_it_has_not_seen(log: MemoryEventLog, tmp_path: Path) -> None:
    """A database that is restored by its own tools may keep its generation."""
    snapshots = kept_in(tmp_path, log)
    snapshots.make(log, EVERY, ONE)
    behind = snapshots.all()[-1].position - 5
    earlier = MemoryEventLog(generation=log.tracked().generation)
    earlier.append([Record(*event[1:7]) for event in log.read(0, behind)])
    made, dropped = snapshots.make(earlier, EVERY, ONE)
    assert [each.position for each in dropped] == [behind + 5]
    assert max(each.position for each in snapshots.all()) < behind
    assert made == []


def test_all_files_stay_within_their_bound_the_oldest_go_and_do_not_come_back(
    log: MemoryEventLog, tmp_path: Path
) -> None:
    unbounded = kept_in(tmp_path / "all", log)
    unbounded.make(log, EVERY)
    everything = sum(each.file.stat().st_size for each in unbounded.all())
    newest = {each.name: each for each in unbounded.all()}
    least = sum(each.file.stat().st_size for each in newest.values())
    bound = least + (everything - least) // 3
    snapshots = kept_in(tmp_path / "bounded", log)
    snapshots.make(log, EVERY, bytes_max=bound)
    assert sum(each.file.stat().st_size for each in snapshots.all()) <= bound
    assert len(newest) < len(snapshots.all()) < len(unbounded.all())
    found = {each.name: each.position for each in snapshots.all()}
    assert found == {name: each.position for name, each in newest.items()}
    assert snapshots.make(log, EVERY, bytes_max=bound) == ([], [])
    again = kept_in(tmp_path / "bounded", log)
    assert again.make(log, EVERY, bytes_max=bound) == ([], []), "nor after a restart"


def test_one_that_alone_is_too_large_is_given_up_and_a_full_disk_makes_none(
    log: MemoryEventLog, tmp_path: Path
) -> None:
    snapshots = kept_in(tmp_path / "small", log)
    assert snapshots.make(log, EVERY, ONE, bytes_max=1000)[0] == []
    assert (snapshots.all(), list(snapshots.too_large)) == ([], [("orders", Orders.version)])
    reading: Any = Dying(log, 0)
    assert snapshots.make(reading, EVERY, ONE, bytes_max=1000) == ([], []), "not even tried again"
    full = kept_in(tmp_path / "full", log)
    with pytest.raises(NoRoom):
        full.make(log, EVERY, ONE, spare=1 << 62)
    assert full.all() == []


def test_the_process_makes_what_is_due_and_reads_nothing_else(log: MemoryEventLog, tmp_path: Path) -> None:
    counting = Counting(log)
    stopping = False
    settings = Settings(str(tmp_path), snapshot_every=100, disk_spare_bytes=0)
    snapshotting = Snapshotting(Stoppable(counting, lambda: stopping), settings)
    assert snapshotting.run_once()
    newest = kept_in(tmp_path / FOLDER, log).all()[-1].position
    assert newest == log.tracked().head // 100 * 100
    counting.rows = 0
    assert not snapshotting.run_once()
    assert counting.rows == 0
    stopping = True
    again = Settings(str(tmp_path / "other"), snapshot_every=100, disk_spare_bytes=0)
    with pytest.raises(Stopped):
        Snapshotting(Stoppable(log, lambda: stopping), again).run_once()


@pytest.mark.parametrize("value", ["-1", "99", "often"])
def test_a_setting_that_cannot_be_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(BadSetting, match="snapshot_every"):
        load_settings(tmp_path, snapshot_every=value)


# --- who was forgotten


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Cell]:
    with cell(tmp_path / "data") as made:
        for number in ("A-1", "A-2"):
            made.take(number, trade(number))
        for other in range(40):
            made.take(f"B-{other}", trade(f"B-{other}", person=False))
        yield made


def digest_of(shop: Cell) -> str:
    (seen,) = [each for each in shop.facts(key_of("A-1")) if isinstance(each, OrderNormalized)]
    assert seen.snapshot.customer
    return seen.snapshot.customer


def rows_that_name(file: Path, digest: str) -> int:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        asked = (
            f"SELECT count(*) FROM {TABLE.name} WHERE customer = :digest",  # noqa: S608
            f"SELECT count(*) FROM {SEARCH_TABLE.name} WHERE value = :digest",  # noqa: S608
            f"SELECT count(*) FROM {VIEW_TABLE.name} WHERE instr(viewed, :digest) > 0",  # noqa: S608
        )
        return sum(db.execute(each, {"digest": digest}).fetchone()[0] for each in asked)


def test_whom_the_log_says_to_be_forgotten_is_taken_out_of_every_file(shop: Cell) -> None:
    folder = shop.data / FOLDER
    snapshots = kept_in(folder, shop.log)
    settings = msgspec.structs.replace(shop.settings, snapshot_every=EVERY, disk_spare_bytes=0)
    snapshotting = Snapshotting(shop.log, settings)
    snapshotting.run_once()
    digest = digest_of(shop)
    orders = [each for each in snapshots.all() if each.name == "orders"]
    assert len(orders) > 2
    assert all(rows_that_name(each.file, digest) for each in orders[-2:])
    buyer = buyer_of("generic", digest)
    position = orders[-1].position
    named = as_of(shop.log, Orders(), position, snapshots=snapshots).rows
    assert shop.ask().outcome == "accepted"
    # At once no look back shows it, whatever it is folded from.
    for look in (
        as_of(shop.log, Orders(), position, snapshots=snapshots),
        as_of(shop.log, Orders(), position),
        as_of(shop.log, Orders(), position, {"key": key_of("A-1")}),
    ):
        assert look.rows["orders"]
        assert digest not in msgspec.json.encode(look.rows).decode()
    assert snapshotting.run_once()
    for each in snapshots.all():
        data = each.file.read_bytes()
        assert digest.encode() not in data
        assert buyer.encode() not in data
    after = as_of(shop.log, Orders(), position, snapshots=snapshots)
    assert after.folded_from == "snapshot"
    assert after.rows == as_of(shop.log, Orders(), position).rows
    others = [row for row in named["orders"] if row["customer"] != digest]
    assert [row for row in after.rows["orders"] if row["customer"]] == others, "nobody else's row was touched"
    assert not snapshotting.run_once(), "it is done once"


def test_no_sealed_block_is_ever_in_a_snapshot(shop: Cell) -> None:
    snapshots = kept_in(shop.data / FOLDER, shop.log)
    snapshots.make(shop.log, EVERY)
    sealed = [event.sealed for event in shop.log.read(0, 10_000) if event.sealed]
    assert len(sealed) > 40
    for each in snapshots.all():
        data = each.file.read_bytes()
        assert not any(block in data for block in sealed)


def test_files_of_an_earlier_build_hold_sealed_blocks_and_go(shop: Cell) -> None:
    """They have no mark."""
    snapshots = kept_in(shop.data / FOLDER, shop.log)
    snapshots.make(shop.log, EVERY, ONE)
    for each in snapshots.all():
        with closing(sqlite3.connect(each.file, isolation_level=None)) as db:
            db.execute("DROP TABLE snapshot_mark")
    settings = msgspec.structs.replace(shop.settings, snapshot_every=0)
    assert Snapshotting(shop.log, settings).run_once(), "also where none are made any more"
    assert snapshots.all() == []
