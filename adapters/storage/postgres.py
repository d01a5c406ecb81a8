"""PostgreSQL as the stores use it: one schema per cell, short locks, commits that are synced or refused."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import psycopg
from psycopg import sql

from domain.ports import Conflict, LogDamaged

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SETTINGS = {
    # A stopped writer must not keep its successor waiting: its locks go with its session after two seconds.
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "2s",
    "synchronous_commit": "on",
}


class Session:
    """One connection for one purpose, used by one thread at a time, made anew after it was lost."""

    def __init__(self, dsn: str, schema: str, *, read_only: bool = False) -> None:
        """Connect.

        Raises:
            ValueError: `schema` is no plain lower-case name.
            LogDamaged: the server does not sync its commits.
        """
        if not _NAME.fullmatch(schema):
            raise ValueError(f"schema {schema!r} is not a plain name: use a-z, 0-9 and _, at most 63 characters")
        self.schema = schema
        self.lock = Lock()
        self._dsn = dsn
        self._read_only = read_only
        self._closed = False
        self._db = self._connect()

    @contextmanager
    def use(self) -> Iterator[psycopg.Connection[Any]]:
        """Hold the connection, in autocommit mode."""
        with self.lock:
            if self._db.closed and not self._closed:
                self._db = self._connect()
            yield self._db

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """Hold the connection in a transaction. A commit that fails is not tried again: its outcome is unknown.

        Raises:
            Conflict: another writer keeps the rows locked for longer than the lock timeout.
        """
        with self.use() as db:
            try:
                with db.transaction():
                    yield db
            except psycopg.errors.LockNotAvailable as exc:
                raise Conflict("another writer holds the cell's row locked") from exc

    def close(self) -> None:
        """Release the connection, for good."""
        with self.lock:
            self._closed = True
            self._db.close()

    def make(self, mark: str, script: str) -> bool:
        """Create the schema with the tables of `script`, if there is no table `mark`; tell whether it did.

        The caller fills them in a transaction of its own; `mark` is the last table it relies on.
        """
        with self.transaction() as db:
            # One maker at a time; the lock ends with the transaction.
            db.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (self.schema,))
            if self._is_there(db, mark):
                return False
            db.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.schema)))
            db.execute(script.encode())
            return True

    def has(self, table: str) -> bool:
        """Whether the schema has this table."""
        with self.use() as db:
            return self._is_there(db, table)

    def _is_there(self, db: psycopg.Connection[Any], table: str) -> bool:
        return db.execute("SELECT to_regclass(%s)", (f"{self.schema}.{table}",)).fetchall()[0][0] is not None

    def _connect(self) -> psycopg.Connection[Any]:
        db: psycopg.Connection[Any] = psycopg.connect(self._dsn, autocommit=True, connect_timeout=10)
        try:
            for name, value in _SETTINGS.items():
                db.execute("SELECT set_config(%s, %s, false)", (name, value))
            db.execute("SELECT set_config('search_path', quote_ident(%s), false)", (self.schema,))
            if self._read_only:
                db.execute("SET default_transaction_read_only = on")
            _assert_durable(db)
        except BaseException:
            db.close()
            raise
        return db


def _assert_durable(db: psycopg.Connection[Any]) -> None:
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        value = db.execute("SELECT current_setting(%s)", (name,)).fetchall()[0][0]
        if value != "on":
            raise LogDamaged(f"the PostgreSQL server has {name} = {value}; commits would not be durable")
