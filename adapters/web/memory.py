"""What the gateway remembers over a restart: pushes it has answered, and answers given under an idempotency key.

Losing any of it is harmless: what is taken in twice is recognised by its order. So a push is remembered after it is
durable and before it is answered, and many are written in one transaction.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from adapters.storage.sqlite import connect, opened, transaction
from domain.ports import Conflict

log = structlog.get_logger(__name__)

KEPT_MS = 86_400_000
"""Longer than any platform calls its pushes fresh, and than clients try again."""
FORGET_EVERY_MS = 600_000
_TABLES = (
    """CREATE TABLE pushes (
        connection TEXT NOT NULL, nonce TEXT NOT NULL, content BLOB NOT NULL, at_ms INTEGER NOT NULL,
        PRIMARY KEY (connection, nonce, content)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX pushes_at ON pushes (at_ms)",
    """CREATE TABLE answers (
        holder TEXT NOT NULL, key TEXT NOT NULL, content BLOB NOT NULL, status INTEGER NOT NULL, body BLOB NOT NULL,
        at_ms INTEGER NOT NULL, PRIMARY KEY (holder, key)
    ) STRICT""",
    "CREATE INDEX answers_at ON answers (at_ms)",
)
_ANSWERS = "INSERT OR REPLACE INTO answers (holder, key, content, status, body, at_ms) VALUES (?, ?, ?, ?, ?, ?)"
_PUSHES = "INSERT OR REPLACE INTO pushes (connection, nonce, content, at_ms) VALUES (?, ?, ?, ?)"


class Answer(NamedTuple):
    """An answer that was given under an idempotency key."""

    content: bytes
    """SHA-256 of what was asked."""
    status: int
    body: bytes


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Memory:
    """A small database of the gateway's own. Use it in one event loop."""

    def __init__(self, path: Path, *, now_ms: Callable[[], int] = _now_ms) -> None:
        """Open it, or make it where there is none.

        Raises:
            LogDamaged: the file is something else, or damaged.
        """
        self._now_ms = now_ms
        self._db = opened(path, "pushes", _TABLES)
        # A connection of its own for looking up: one that is being synced keeps everybody waiting.
        self._reader = connect(path)
        self._waiting: list[tuple[str, tuple[object, ...], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._forget_at = 0

    # A lookup by primary key takes microseconds; a thread would take longer. Writes are synced, so they get one.

    def pushed(self, connection: str, nonce: str, content: bytes) -> bool:
        """Tell whether this push was taken in and remembered. `content` is its body: not every nonce is signed."""
        query = "SELECT at_ms FROM pushes WHERE connection = ? AND nonce = ? AND content = ?"
        row = self._row(query, connection, nonce, sha256(content).digest())
        return row is not None and row[0] > self._now_ms() - KEPT_MS

    async def remember_push(self, connection: str, nonce: str, content: bytes) -> None:
        """Remember a push that is durable; on the disk when this returns.

        Raises:
            sqlite3.Error: it could not be kept.
            Conflict: another program holds the database.
        """
        await self._write(_PUSHES, (connection, nonce, sha256(content).digest(), self._now_ms()))

    def answered(self, holder: str, key: str) -> Answer | None:
        """Return the answer given to this token under this idempotency key."""
        query = "SELECT content, status, body, at_ms FROM answers WHERE holder = ? AND key = ?"
        row = self._row(query, holder, key)
        return None if row is None or row[3] <= self._now_ms() - KEPT_MS else Answer(row[0], row[1], row[2])

    async def remember_answer(self, holder: str, key: str, answer: Answer) -> None:
        """Remember an answer that is about to be given. Raises as `remember_push` does."""
        await self._write(_ANSWERS, (holder, key, answer.content, answer.status, answer.body, self._now_ms()))

    async def close(self) -> None:
        """Write what waits and release the file."""
        if self._writing is not None:
            await self._writing
        self._reader.close()
        self._db.close()

    def _row(self, query: str, *values: object) -> Any:
        """Return the row; None where there is none or nobody can tell, which is as good: a repeat is harmless."""
        try:
            return self._reader.execute(query, values).fetchone()
        except sqlite3.Error as error:
            log.warning("gateway.memory_not_readable", error=type(error).__name__)
            return None

    async def _write(self, statement: str, values: tuple[object, ...]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((statement, values, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="gateway-memory")
        await done

    async def _write_all(self) -> None:
        """Write what waits, all of it in one transaction, until nothing does."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                error: Exception | None = None
                try:
                    await asyncio.to_thread(self._commit, [(statement, values) for statement, values, _ in batch])
                except Exception as failed:  # noqa: BLE001  whatever it is, those who wait are told
                    error = failed
                for _, _, done in batch:
                    if done.done():  # its request was given up
                        continue
                    if error is None:
                        done.set_result(None)
                    else:
                        done.set_exception(error)
        finally:
            self._writing = None

    def _commit(self, rows: list[tuple[str, tuple[object, ...]]]) -> None:
        now = self._now_ms()
        with transaction(self._db):
            for statement, values in rows:
                self._db.execute(statement, values)
            if now >= self._forget_at:
                self._db.execute("DELETE FROM pushes WHERE at_ms <= ?", (now - KEPT_MS,))
                self._db.execute("DELETE FROM answers WHERE at_ms <= ?", (now - KEPT_MS,))
                self._forget_at = now + FORGET_EVERY_MS


UNKEPT = (sqlite3.Error, OSError, Conflict)
"""What may keep the memory from being written."""
