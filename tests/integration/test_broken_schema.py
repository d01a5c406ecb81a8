"""A file whose schema is no text any more is damaged, and said to be."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from adapters.storage.scan import SqliteScan, Unreadable
from adapters.storage.sqlite_log import SqliteEventLog
from domain.ports import LogDamaged


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "log.db"
    SqliteEventLog(file).close()
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA journal_mode = DELETE").fetchall()
    whole = file.read_bytes()
    assert whole.count(b"CREATE TABLE events") == 1
    file.write_bytes(whole.replace(b"CREATE TABLE events", b"CREATE T\xc5BLE events"))
    return file


@pytest.mark.parametrize(
    ("opened", "refusal"),
    [
        (lambda file: SqliteScan(file).damage(full=True), Unreadable),
        (SqliteEventLog, LogDamaged),
        (lambda file: SqliteEventLog(file, read_only=True), LogDamaged),
    ],
)
def test_it_is_refused_with_its_name(broken: Path, opened: Callable[[Path], object], refusal: type[Exception]) -> None:
    with pytest.raises(refusal, match=r"log\.db"):
        opened(broken)
