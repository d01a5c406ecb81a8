"""Memory, SQLite and PostgreSQL keep the same promises."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.postgres_log import PostgresEventLog
from adapters.storage.recorder import RecorderLog
from adapters.storage.sqlite_log import SqliteEventLog
from domain.ports import Conflict, Loaded, LogDamaged, Record, Recorded, StoredSnapshot
from tests.contracts.event_log_contract import EventLogContract, advance, payload, record


class TestMemoryEventLog(EventLogContract):
    @pytest.fixture
    def log(self) -> MemoryEventLog:
        return MemoryEventLog()

    @pytest.fixture
    def other(self, log: MemoryEventLog) -> Callable[[], RecorderLog]:
        return lambda: log

    @pytest.mark.parametrize(("before", "head"), [(True, 0), (False, 1)])
    def test_a_commit_can_be_made_to_fail_before_or_after_it_took_effect(
        self, log: MemoryEventLog, before: bool, head: int
    ) -> None:
        row = log.take_over()
        log.fail_next(OSError("power"), before=before)
        with pytest.raises(OSError, match="power"):
            log.append([record("a", 1)], payloads=[payload(b"raw")], advance=advance(row, 1))
        assert (log.tracked().head, log.tracked().position, len(log.payloads([payload(b"raw").digest]))) == (head,) * 3
        log.append([record("b", 1)])


class TestSqliteEventLog(EventLogContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[SqliteEventLog]:
        log = SqliteEventLog(tmp_path / "log.sqlite")
        yield log
        log.close()

    @pytest.fixture
    def other(self, log: SqliteEventLog) -> Iterator[Callable[[], RecorderLog]]:
        other = SqliteEventLog(log.path)
        yield lambda: other
        other.close()


class TestPostgresEventLog(EventLogContract):
    @pytest.fixture
    def log(self, postgres_dsn: str, postgres_schema: str) -> Iterator[PostgresEventLog]:
        log = PostgresEventLog(postgres_dsn, postgres_schema)
        yield log
        log.close()

    @pytest.fixture
    def other(self, postgres_dsn: str, postgres_schema: str) -> Iterator[Callable[[], RecorderLog]]:
        other = PostgresEventLog(postgres_dsn, postgres_schema)
        yield lambda: other
        other.close()

    def test_another_cell_in_the_same_database_sees_nothing(
        self, log: PostgresEventLog, postgres_dsn: str, postgres_schema: str
    ) -> None:
        log.append([record("a", 1)])
        neighbour = PostgresEventLog(postgres_dsn, f"{postgres_schema}_b")
        assert neighbour.tracked().head == 0
        assert neighbour.append([record("a", 1)]) == 1
        neighbour.close()

    def test_it_is_the_same_log_after_reopening(
        self, log: PostgresEventLog, postgres_dsn: str, postgres_schema: str
    ) -> None:
        log.append([record("a", 1)], advance=advance(log.take_over(), 4))
        before = log.tracked()
        log.close()
        again = PostgresEventLog(postgres_dsn, postgres_schema)
        assert again.tracked() == before
        assert again.append([record("a", 2)]) == 2
        again.close()

    def test_a_reader_cannot_write(self, log: PostgresEventLog, postgres_dsn: str, postgres_schema: str) -> None:
        log.append([record("a", 1)])
        reader = PostgresEventLog(postgres_dsn, postgres_schema, read_only=True)
        assert len(reader.read(0, 10)) == 1
        with pytest.raises(Conflict):
            reader.append([record("a", 2)])
        reader.close()

    def test_a_schema_of_a_newer_build_is_refused(
        self, log: PostgresEventLog, postgres_dsn: str, postgres_schema: str
    ) -> None:
        with log._writer.use() as db:
            db.execute("UPDATE cell SET schema = 99, build = '9.9'")
        with pytest.raises(LogDamaged, match="newer build"):
            PostgresEventLog(postgres_dsn, postgres_schema)

    def test_a_schema_name_that_could_be_code_is_refused(self, postgres_dsn: str) -> None:
        with pytest.raises(ValueError, match="plain name"):
            PostgresEventLog(postgres_dsn, 'x"; DROP SCHEMA public; --')

    def test_a_stopped_writer_blocks_nobody_for_long(
        self, log: PostgresEventLog, postgres_dsn: str, postgres_schema: str
    ) -> None:
        stopped = PostgresEventLog(postgres_dsn, postgres_schema)
        with stopped._writer.use() as db:
            db.execute("BEGIN")
            db.execute("UPDATE cell SET epoch = epoch + 1")
            # Its session ends after two seconds idle in the transaction; ours waits two for the lock.
            try:
                row = log.take_over()
            except Conflict:
                row = log.take_over()
        assert row.epoch == 1
        stopped.close()

    def test_a_lost_connection_fails_one_call_and_is_made_anew(self, log: PostgresEventLog) -> None:
        log.append([record("a", 1)])
        with log._reader.use() as db:
            db.execute("SELECT pg_terminate_backend(%s)", (log._writer._db.info.backend_pid,))
        with pytest.raises(Exception, match=r"terminat|closed|connection"):
            log.append([record("a", 2)])
        assert log.append([record("a", 2)]) == 2


class Step(NamedTuple):
    """One commit to try; numbers are drawn relative to what the log holds then."""

    events: list[tuple[str, int]]
    """Stream, and 0 to 3 for its next version, 4 for one too far."""
    snapshots: list[tuple[str, int]]
    raws: list[bytes]
    forward: int
    """How far the position goes; 0 = it is not touched."""
    epoch: int


_streams = st.sampled_from("abcd")
_steps = st.builds(
    Step,
    st.lists(st.tuples(_streams, st.integers(0, 4)), max_size=6),
    st.lists(st.tuples(_streams, st.integers(1, 6)), max_size=2),
    st.lists(st.binary(min_size=1, max_size=2), max_size=2),
    st.integers(0, 3),
    st.sampled_from([0, 0, 0, 1]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_steps, max_size=12))
def test_sqlite_and_memory_take_and_refuse_the_same(steps: list[Step]) -> None:
    with TemporaryDirectory() as place:
        disk, memory = SqliteEventLog(Path(place) / "log", generation="g"), MemoryEventLog("g")
        logs: tuple[RecorderLog, RecorderLog] = disk, memory
        versions: dict[str, int] = {}
        for step in steps:
            mine = dict(versions)
            records = []
            for stream, off in step.events:
                mine[stream] = mine.get(stream, 0) + (1 if off < 4 else 2)
                records.append(record(stream, mine[stream], stream.encode() * off))
            snapshots = [
                StoredSnapshot(name, min(at, mine[name]), "t", b"s") for name, at in step.snapshots if name in mine
            ]
            answers = [_try(log, step, records, snapshots) for log in logs]
            assert answers[0] == answers[1]
            if answers[0] is not None:
                versions = mine
        assert disk.tracked() == memory.tracked()
        assert disk.read(0, 1000) == memory.read(0, 1000)
        assert _plain(disk.select_many("abcd")) == _plain(memory.select_many("abcd"))
        digests = [payload(raw).digest for step in steps for raw in step.raws]
        assert disk.payloads(digests) == memory.payloads(digests)
        disk.close()


def _try(log: RecorderLog, step: Step, records: list[Record], snapshots: list[StoredSnapshot]) -> int | None:
    row = log.tracked()
    try:
        return log.append(
            records,
            payloads=[payload(raw) for raw in step.raws],
            snapshots=snapshots,
            advance=advance(row, row.position + step.forward, epoch=step.epoch) if step.forward else None,
        )
    except Conflict:
        return None


def _plain(loaded: dict[str, Loaded]) -> dict[str, tuple[StoredSnapshot | None, list[Recorded]]]:
    return {name: (found.snapshot, list(found.events)) for name, found in loaded.items()}
