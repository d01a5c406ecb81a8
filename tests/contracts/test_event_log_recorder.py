"""The `eventsourcing` library's own recorder cases, run against our logs.

Not used, and why:

* `AggregateRecorderTestCase.test_insert_and_select` wants `None` from `insert_events` (we answer with positions, as the
  library's application recorders do) and stores a lone version 0. Our own contract holds the rest of what it says.
* the `test_performance` of each case only prints a rate.
* `InfrastructureFactoryTestCase`, `TranscoderTestCase`: we have no factory and do not use the library's transcoders.

Cases that count versions from 0, which no log of ours does, run through `FromZero`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent, Tracking
from eventsourcing.tests import persistence as library

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.postgres_log import PostgresEventLog
from adapters.storage.recorder import LogRecorder, RecorderLog
from adapters.storage.sqlite_log import SqliteEventLog


class FromZero(LogRecorder):
    """Takes versions that count from 0."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        moved = [replace(event, originator_version=event.originator_version + 1) for event in stored_events]
        return super().insert_events(moved, **kwargs)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RecorderLog]:
    log: RecorderLog
    if request.param == "memory":
        log = MemoryEventLog()
    elif request.param == "sqlite":
        log = SqliteEventLog(tmp_path / "log.sqlite")
    else:
        log = PostgresEventLog(request.getfixturevalue("postgres_dsn"), request.getfixturevalue("postgres_schema"))
    yield log
    log.close()


@pytest.mark.parametrize(
    ("case", "name", "recorder"),
    [
        (library.ApplicationRecorderTestCase, "test_insert_select", LogRecorder),
        (library.ApplicationRecorderTestCase, "optional_test_insert_subscribe", LogRecorder),
        (library.ApplicationRecorderTestCase, "test_concurrent_throughput", FromZero),
        (library.TrackingRecorderTestCase, "test_insert_tracking", LogRecorder),
        (library.TrackingRecorderTestCase, "test_wait", LogRecorder),
        (library.ProcessRecorderTestCase, "test_insert_select", LogRecorder),
        (library.ProcessRecorderTestCase, "test_has_tracking_id", LogRecorder),
        (library.ProcessRecorderTestCase, "test_raises_when_lower_inserted_later", LogRecorder),
        (library.NonInterleavingNotificationIDsBaseCase, "test", FromZero),
    ],
)
def test_the_librarys_case_holds(log: RecorderLog, case: type[Any], name: str, recorder: type[LogRecorder]) -> None:
    _run(log, case, name, recorder)


@pytest.mark.parametrize("log", ["memory", "sqlite"], indirect=True)
def test_the_librarys_ten_writers_meet_no_conflict(log: RecorderLog) -> None:
    # 100,000 events; on PostgreSQL this takes too long for what it adds.
    _run(log, library.ApplicationRecorderTestCase, "test_concurrent_no_conflicts", FromZero)


def test_gaps_are_refused_where_the_library_takes_them(log: RecorderLog) -> None:
    recorder = LogRecorder(log)
    with pytest.raises(IntegrityError):
        recorder.insert_events([StoredEvent("a", 2, "topic", b"")])
    with pytest.raises(IntegrityError):
        recorder.insert_events([StoredEvent("a", 2, "topic", b"")], tracking=Tracking("other", 1))
    assert recorder.max_tracking_id("other") is None


def test_a_stream_id_that_is_no_text_is_refused(log: RecorderLog) -> None:
    with pytest.raises(TypeError, match="text"):
        LogRecorder(log).select_events(uuid4())


def _run(log: RecorderLog, case: type[Any], name: str, recorder: type[LogRecorder]) -> None:
    methods = {"create_recorder": lambda _: recorder(log), "new_originator_id": lambda _: str(uuid4())}
    test = type(case.__name__, (case,), methods)(name)
    getattr(test, name)()
