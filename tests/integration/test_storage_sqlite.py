"""The SQLite log as a file: it survives, refuses what it cannot trust, and is copied while it is written."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from adapters.storage.schema import SCHEMA, running_build
from adapters.storage.sqlite import assert_durable, connect
from adapters.storage.sqlite_log import SqliteEventLog
from domain.ports import Advance, Conflict, LogDamaged, Payload, Record, StoredSnapshot
from domain.proof import leaf_hash


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteEventLog]:
    log = SqliteEventLog(path)
    yield log
    log.close()


def record(stream: str, version: int) -> Record:
    return Record(stream, version, "order.paid", b"{}", b"{}", None)


def test_it_is_the_same_log_after_reopening(log: SqliteEventLog, path: Path) -> None:
    payload = Payload(b"d" * 32, "a", b"sealed")
    row = log.take_over()
    log.append(
        [record("a", 1), record("a", 2)],
        payloads=[payload],
        snapshots=[StoredSnapshot("a", 1, "t", b"s")],
        advance=Advance("", row.epoch, 0, 5, b"x", 9),
    )
    before = log.tracked(), log.read(0, 10), log.select_many(["a"])
    log.close()
    again = SqliteEventLog(path)
    assert (again.tracked(), again.read(0, 10), again.select_many(["a"])) == before
    assert again.payloads([payload.digest]) == {payload.digest: payload}
    assert again.append([record("a", 3)]) == 3
    again.close()


def test_a_restored_log_begins_a_new_generation_and_shuts_out_earlier_writers(log: SqliteEventLog) -> None:
    row = log.take_over()
    log.append([record("a", 1)])
    fresh = log.begin_generation()
    assert fresh.generation != row.generation
    assert fresh.head == 1
    with pytest.raises(Conflict):
        log.append([record("a", 2)], advance=Advance("", row.epoch, 0, 1, b"", 0))


def test_every_connection_syncs_its_commits(log: SqliteEventLog, path: Path) -> None:
    for db in (log._reader, log._writer):
        assert_durable(db, path)
    log._writer.execute("PRAGMA synchronous = NORMAL")
    with pytest.raises(LogDamaged, match="synchronous is 1"):
        assert_durable(log._writer, path)


def test_a_file_system_without_wal_is_refused() -> None:
    with pytest.raises(LogDamaged, match="local file system"):
        connect(Path(":memory:"))


def test_a_log_of_a_newer_build_is_refused(log: SqliteEventLog, path: Path) -> None:
    log._writer.execute("UPDATE cell SET schema = ?, build = '9.9'", (SCHEMA + 1,))
    for read_only in (False, True):
        with pytest.raises(LogDamaged, match=r"newer build \(9\.9, schema 2\).*run that build"):
            SqliteEventLog(path, read_only=read_only)


def test_the_build_that_writes_is_noted(log: SqliteEventLog, path: Path) -> None:
    log._writer.execute("UPDATE cell SET build = '0.0.1'")
    SqliteEventLog(path, read_only=True).close()
    assert log._reader.execute("SELECT build FROM cell").fetchone() == ("0.0.1",)
    SqliteEventLog(path).close()
    assert log._reader.execute("SELECT build FROM cell").fetchone() == (running_build(),)


def test_a_log_that_lost_its_end_is_refused(log: SqliteEventLog, path: Path) -> None:
    log.append([record("a", 1), record("a", 2)])
    log._writer.execute("DELETE FROM events WHERE position = 2")
    with pytest.raises(LogDamaged, match="ends at event 1, but should end at 2"):
        SqliteEventLog(path)


def test_a_gap_is_never_read_over(log: SqliteEventLog) -> None:
    log.append([record("a", version) for version in (1, 2, 3)])
    log._writer.execute("DELETE FROM events WHERE position = 2")
    with pytest.raises(LogDamaged, match="hold only"):
        log.read(0, 10)


def test_events_behind_the_head_are_damage_and_no_conflict(log: SqliteEventLog) -> None:
    log.append([record("a", 1), record("a", 2)])
    log._writer.execute("UPDATE cell SET head = 1")
    with pytest.raises(LogDamaged, match="behind its head"):
        log.append([record("b", 1)])


def test_files_that_are_no_log_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"not a database, however long it may be" * 100)
    with pytest.raises(LogDamaged):
        SqliteEventLog(text)
    foreign = tmp_path / "foreign"
    db = sqlite3.connect(foreign)
    db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(LogDamaged, match="another program's"):
        SqliteEventLog(foreign)


def test_a_reader_makes_nothing_and_writes_nothing(log: SqliteEventLog, path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SqliteEventLog(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()
    (tmp_path / "empty").touch()
    with pytest.raises((FileNotFoundError, LogDamaged)):
        SqliteEventLog(tmp_path / "empty", read_only=True)
    log.append([record("a", 1)])
    reader = SqliteEventLog(path, read_only=True)
    with pytest.raises(Conflict, match="reading only"):
        reader.append([record("a", 2)])
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._reader.execute("DELETE FROM events")
    log.append([record("a", 2)])
    assert len(reader.read(0, 10)) == 2
    reader.close()


def test_a_writer_that_keeps_the_lock_is_a_conflict_and_nothing_is_written(log: SqliteEventLog, path: Path) -> None:
    log._writer.execute("PRAGMA busy_timeout = 50")
    other = connect(path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Conflict, match="locked"):
        log.append([record("a", 1)])
    other.execute("ROLLBACK")
    other.close()
    assert log.append([record("a", 1)]) == 1


def test_a_full_disk_is_passed_on_and_nothing_is_half_written(log: SqliteEventLog) -> None:
    log.append([record("a", 1)])
    pages = log._writer.execute("PRAGMA page_count").fetchone()[0]
    log._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        log.append([record("a", 2), Record("b", 1, "t", b"", bytes(1 << 20), None)])
    log._writer.execute("PRAGMA max_page_count = 1000000")
    assert [event.position for event in log.read(0, 10)] == [1]
    assert log.append([record("a", 2)]) == 2


def test_a_backup_made_while_writing_is_a_whole_log(log: SqliteEventLog, tmp_path: Path) -> None:
    def write() -> None:
        for at in range(60):
            log.append([record(f"s{at}", version) for version in range(1, 11)])

    writer = Thread(target=write)
    writer.start()
    copies = [tmp_path / f"backup-{at}" for at in range(3)]
    for copy in copies:
        time.sleep(0.01)
        log.backup_to(copy)
    writer.join()
    for copy in copies:
        backup = SqliteEventLog(copy)
        events = backup.read(0, 1000)
        assert len(events) == backup.tracked().head
        assert len(events) % 10 == 0
        backup.close()
    with pytest.raises(FileExistsError):
        log.backup_to(copies[0])


_WRITER = """
import sys
from pathlib import Path
from adapters.storage.sqlite_log import SqliteEventLog
from domain.ports import Advance, Record

log = SqliteEventLog(Path(sys.argv[1]))
row = log.take_over()
position = row.position
while True:
    batch = [Record(f"s{position}-{at}", 1, "t", b"{}", b"x" * 300, None) for at in range(70)]
    log.append(batch, advance=Advance(row.incarnation, row.epoch, position, position + 1, b"", 0))
    position += 1
    print(position, flush=True)
"""


def test_killed_at_any_moment_no_acknowledged_event_is_lost(path: Path) -> None:
    acknowledged = 0
    for kill in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(0.003 * kill)
        writer.send_signal(signal.SIGKILL)
        lines = [first, *writer.stdout.read().splitlines()]
        writer.stdout.close()
        writer.wait()
        acknowledged = max(acknowledged, *(int(line) for line in lines if line))
        log = SqliteEventLog(path)
        row = log.tracked()
        events = log.read(0, 10_000_000)
        assert row.position >= acknowledged
        assert len(events) == row.head == row.position * 70
        assert all(event.leaf == leaf_hash(at, *event[1:6], b"") for at, event in enumerate(events, start=1))
        log.close()
        acknowledged = row.position
    assert acknowledged >= 12
