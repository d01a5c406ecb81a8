"""The real worker, with a trap at one named place: `ORDERSPINE_TEST_AT=<place>:<nth passing>:<kill|stop>`.

`ORDERSPINE_TEST_REFUSES=<marker>`: the store refuses what holds it. `ORDERSPINE_TEST_HANG_S`: when a batch hangs.
`ORDERSPINE_TEST_BESIDE=<place>`: every commit is written by the process beside, which has a trap of its own there (or
none: `-`); `ORDERSPINE_TEST_COMMIT_S`: when that hangs.
Run as `python -m tests.integration.crashing_worker --data DIR`. The worker's own code knows nothing of it.
"""

import functools
import inspect
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from threading import Lock, RLock, get_ident
from typing import Any

from adapters.nats.publish import BatchPublisher
from adapters.storage import postgres_log
from adapters.storage.postgres_log import PostgresEventLog
from adapters.storage.sqlite_log import SqliteEventLog
from adapters.storage.vault import SqliteVault
from domain.ports import Record
from runners import committing, engine, suspect, worker
from runners.beside import Beside

PLACES: dict[str, list[tuple[Any, str]]] = {
    "take_over": [(SqliteEventLog, "take_over"), (PostgresEventLog, "take_over")],
    "begin_life": [(SqliteEventLog, "set_incarnation")],
    "keys": [(SqliteVault, "_load")],
    "marker": [(suspect.Suspect, "_write")],
    "decide": [(engine.Engine, "decide")],
    "commit": [(committing.Committer, "commit")],
    "write": [(SqliteEventLog, "_write"), (postgres_log, "_write")],
    "committed": [(engine.Engine, "committed")],
    "passed": [(suspect.Suspect, "passed")],
    "answer": [(worker.Worker, "_answer")],
    "snapshot": [(engine.Engine, "keep")],
    "mail_timers": [(BatchPublisher, "publish_batch")],
}
"""Where a trap can be. `write` is inside the transaction; `mail_timers` counts what goes to the mail only."""

_KEYS = RLock()
"""Held while keys are made, which another thread may be at: who is stopped amid that keeps its successor waiting."""
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class Trap:
    """Springs at its place."""

    def __init__(self, text: str) -> None:
        where, nth, action = text.rsplit(":", 2)
        self.place, _, self.side = where.partition(".")
        self._left = int(nth)
        self._signal = _SIGNALS[action]
        self._lock = Lock()

    def spring(self, side: str) -> None:
        """Pass one side of the place."""
        if side != self.side:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                with _KEYS:
                    # To this thread: a signal to the process is taken by any, and this one would go on for a moment.
                    signal.pthread_kill(get_ident(), self._signal)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Set the trap around a function."""

        def counts(arguments: dict[str, Any]) -> bool:
            return self.place != "mail_timers" or str(arguments.get("stream", "")).startswith("MAIL_")

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(*args: Any, **kwargs: Any) -> Any:
                if not counts(kwargs):
                    return await function(*args, **kwargs)
                self.spring("before")
                result = await function(*args, **kwargs)
                self.spring("after")
                return result

            return later

        @functools.wraps(function)
        def now(*args: Any, **kwargs: Any) -> Any:
            self.spring("before")
            result = function(*args, **kwargs)
            self.spring("after")
            return result

        return now


def _hold_while_keys_are_made() -> None:
    load = SqliteVault._load

    def held(self: SqliteVault, streams: Sequence[str], *, create: bool) -> dict[str, bytes]:
        with _KEYS:
            return load(self, streams, create=create)

    SqliteVault._load = held  # type: ignore[method-assign]


def _refuse(marker: bytes) -> None:
    """Let the store refuse every commit with this marker in an event."""
    append = SqliteEventLog.append

    def refusing(self: SqliteEventLog, records: Sequence[Record], **more: Any) -> int:
        if any(marker in record.data for record in records):
            raise sqlite3.DataError("string or blob too big")
        return append(self, records, **more)

    SqliteEventLog.append = refusing  # type: ignore[method-assign]


def _all_beside() -> None:
    """Have every commit written by the process beside: wait for its start, and give it the smallest ones as well."""
    committing.MODULE, committing.WORTH_IT = "tests.integration.crashing_commit", 0
    made = committing.Committer.__init__

    def waiting(self: committing.Committer, *args: Any) -> None:
        made(self, *args)
        while not self._beside.ready():
            time.sleep(0.01)

    committing.Committer.__init__ = waiting  # type: ignore[method-assign,assignment]


def _no_fork(_: Beside, __: Callable[[], None]) -> None:
    """Have what runs beside started by its name when there is work for it: a fork would have the traps, too."""


def main() -> int:
    """Set the traps that the environment names, and work."""
    _hold_while_keys_are_made()
    Beside.fork = _no_fork  # type: ignore[method-assign,assignment]
    if at := os.environ.get("ORDERSPINE_TEST_AT"):
        trap = Trap(at)
        for owner, name in PLACES[trap.place]:
            setattr(owner, name, trap.around(getattr(owner, name)))
    if marker := os.environ.get("ORDERSPINE_TEST_REFUSES"):
        _refuse(marker.encode())
    if seconds := os.environ.get("ORDERSPINE_TEST_HANG_S"):
        worker.HANG_S = float(seconds)
    if os.environ.get("ORDERSPINE_TEST_BESIDE"):
        _all_beside()
    if seconds := os.environ.get("ORDERSPINE_TEST_COMMIT_S"):
        committing.TIMEOUT_S = float(seconds)
    if every := os.environ.get("ORDERSPINE_TEST_SNAPSHOTS"):
        engine.TIMER_SNAPSHOT_EVERY = engine.LEDGER_SNAPSHOT_EVERY = int(every)
    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
