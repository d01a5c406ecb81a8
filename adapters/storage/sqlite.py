"""SQLite as the stores use it: durable or refused, and many rows by one statement."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import NoneType
from typing import Any

from domain.ports import Conflict, LogDamaged

BUSY_MS = 5000
"""How long a connection waits for another writer."""

ROWS_MAX = 1024
"""Most rows of one statement. A prepared one keeps about 1 KB a row."""

ROWS_STEP = 64
"""Statements of more rows than this have a multiple of it, so that few are prepared and those are found again."""

DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What a damaged file raises. SQLite quotes a broken schema in its message; Python cannot read one that is no text."""

_FULL = 2


def connect(path: Path, *, read_only: bool = False, secure_delete: bool = False) -> sqlite3.Connection:
    """Open a connection whose commits are on the disk when they return.

    It is in autocommit mode (transactions are begun by hand) and may be used by any thread, one at a time.

    Raises:
        FileNotFoundError: `read_only`, and there is no such file.
        LogDamaged: the file is no SQLite database, or its file system cannot give what is asked for.
    """
    if read_only and not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    db = sqlite3.connect(
        path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        if read_only:
            db.execute("PRAGMA query_only = ON")
        else:
            db.execute("PRAGMA page_size = 8192")  # of a new file: a whole order's events fit
            db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.execute("PRAGMA synchronous = FULL")
        # Who only reads goes along the log, and comes back to few pages: to keep others costs more than it saves.
        db.execute(f"PRAGMA cache_size = {-4096 if read_only else -32768}")
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("PRAGMA wal_autocheckpoint = 2000")
        db.execute(f"PRAGMA journal_size_limit = {64 << 20}")
        if secure_delete:
            db.execute("PRAGMA secure_delete = ON").fetchall()
        assert_durable(db, path)
    except DAMAGE as exc:
        db.close()
        if isinstance(exc, sqlite3.OperationalError):
            raise
        raise LogDamaged(f"{path} cannot be read as a SQLite database: {exc}") from exc
    except BaseException:
        db.close()
        raise
    return db


def assert_durable(db: sqlite3.Connection, path: Path) -> None:
    """Check on the connection itself that every commit will be synced.

    Raises:
        LogDamaged: the journal is not a WAL, or `synchronous` is not FULL.
    """
    (journal,) = db.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = db.execute("PRAGMA synchronous").fetchone()
    if journal != "wal" or synchronous != _FULL:
        raise LogDamaged(
            f"{path} would not be durable: journal_mode is {journal!r} (wal is needed), synchronous is {synchronous} "
            f"({_FULL} is needed); keep the file on a local file system"
        )


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock from the first statement on; commit at the end, roll back on any error.

    A commit that fails is not tried again: nobody knows then what reached the disk.

    Raises:
        Conflict: another writer kept the lock for `BUSY_MS`.
    """
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise Conflict("another writer holds the store locked") from exc
        raise
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            # The first error is the one to tell; a connection that cannot roll back fails again at its next use.
            with suppress(sqlite3.OperationalError):
                db.execute("ROLLBACK")
        raise


def bind_bytes_as_they_are() -> None:
    """Have this process bind bytes and NULLs without looking for a way to adapt them; for one that hardly does more.

    `sqlite3` takes numbers and texts as they are, but asks of all else whether it, or its type, knows how to be
    adapted, and each time makes and drops the error that says no: a third of what binding a row of bytes costs. The
    registry that it asks first is the whole process's.
    """
    sqlite3.register_adapter(bytes, bytes)
    sqlite3.register_adapter(NoneType, lambda nothing: nothing)


class Rows:
    """A statement over many rows of values: `before (?, …), (?, …) after`, cut into few and large ones.

    Each statement (and each row fetched) gives the interpreter away and asks for it back, which takes up to 5 ms
    beside a busy thread: a statement a row would crawl there at some hundred rows a second. So 1,000 rows are two
    statements, and their texts are of few sizes, to be found among the prepared ones.
    """

    def __init__(self, before: str, width: int, after: str = "") -> None:
        """Keep the parts of the text; `width` is the number of values in a row."""
        self._before, self._after, self._width = before, after, width
        self._row = f"({', '.join('?' * width)})"
        self._texts: dict[int, str] = {}

    def execute(self, db: sqlite3.Connection, values: Sequence[Any]) -> int:
        """Run it over `values` (all rows in one flat sequence) and return the number of rows changed."""
        changed = 0
        for text, part in self._cut(values):
            changed += db.execute(text, part).rowcount
        return changed

    def query(self, db: sqlite3.Connection, values: Sequence[Any]) -> list[Any]:
        """Run it over `values` and return the rows it finds."""
        found: list[Any] = []
        for text, part in self._cut(values):
            found += db.execute(text, part).fetchall()
        return found

    def _cut(self, values: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
        at, end = 0, len(values)
        while at < end:
            size = min((end - at) // self._width, ROWS_MAX)
            if size > ROWS_STEP:
                size -= size % ROWS_STEP
            step = size * self._width
            yield self._text(size), values if step == end else values[at : at + step]
            at += step

    def _text(self, size: int) -> str:
        text = self._texts.get(size)
        if text is None:
            text = self._texts[size] = f"{self._before} {', '.join([self._row] * size)} {self._after}"
        return text


def opened(
    path: Path, mark: str, statements: Sequence[str], *, read_only: bool = False, secure_delete: bool = False
) -> sqlite3.Connection:
    """Open a database that these statements make where it is empty; see `connect` and `make_tables`.

    Raises:
        FileNotFoundError: `read_only`, and there is none.
        LogDamaged: the file belongs to something else, is damaged, or would not be durable.
    """
    db = connect(path, read_only=read_only, secure_delete=secure_delete)

    def make() -> None:
        for statement in statements:
            db.execute(statement)

    try:
        make_tables(db, path, mark, make, read_only=read_only)
    except BaseException:
        db.close()
        raise
    return db


def make_tables(db: sqlite3.Connection, path: Path, mark: str, make: Callable[[], None], *, read_only: bool) -> None:
    """Run `make` in a transaction where the database is empty; `mark` is the table that tells whose it is.

    Raises:
        FileNotFoundError: `read_only`, and nobody has made the tables yet.
        LogDamaged: the file belongs to something else.
    """
    with_mark = "SELECT count(*), coalesce(sum(name = ?), 0) FROM sqlite_schema WHERE type = 'table'"
    try:
        tables, ours = db.execute(with_mark, (mark,)).fetchone()
        if ours:
            return
        if tables:
            raise LogDamaged(f"{path} is another program's database: it has tables, and none is named {mark}")
        if read_only:
            raise FileNotFoundError(f"{path} holds nothing yet")
        with transaction(db):
            if not db.execute(with_mark, (mark,)).fetchone()[1]:
                make()
    except DAMAGE as exc:
        if isinstance(exc, sqlite3.OperationalError):
            raise
        raise LogDamaged(f"{path} is damaged: {exc}") from exc
