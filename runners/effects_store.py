"""What effects must remember: how far the log is followed, and which acts outside are still to be done.

A SQLite file of its own, `effects.db`. Losing it loses nothing: it is made again from the log, whose events say which
acts came to an end. All times are UTC milliseconds.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from threading import Lock
from typing import Literal, NamedTuple

import msgspec

from adapters.storage.sqlite import opened, transaction

FILE = "effects.db"
_TABLES = (
    """CREATE TABLE followed (
        one INTEGER PRIMARY KEY CHECK (one = 1), generation TEXT NOT NULL, position INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE jobs (
        key TEXT NOT NULL, effect TEXT NOT NULL, target TEXT NOT NULL, stream TEXT NOT NULL, document BLOB NOT NULL,
        at_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL, tries INTEGER NOT NULL, doubt INTEGER NOT NULL,
        reason TEXT NOT NULL, ending BLOB NOT NULL, PRIMARY KEY (key, effect)
    ) STRICT""",
    "CREATE INDEX jobs_due ON jobs (due_ms)",
    "INSERT INTO followed VALUES (1, '', 0)",
)
_GIVEN_UP = """CREATE TABLE IF NOT EXISTS given_up (
    key TEXT NOT NULL, effect TEXT NOT NULL, stream TEXT NOT NULL, reason TEXT NOT NULL, tries INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, PRIMARY KEY (key, effect)
) STRICT"""
_RESTING = """CREATE TABLE IF NOT EXISTS resting (
    effect TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (effect, target)
) STRICT"""
_BY_STREAM = "CREATE INDEX IF NOT EXISTS jobs_stream ON jobs (stream, effect)"
GIVEN_UP_MAX = 1_000
"""Acts that failed for good of which so many are remembered here, the latest; their orders remember all."""
_FIELDS = "key, effect, target, stream, document, at_ms, due_ms, tries, doubt, reason, ending"

_INSERT = f"INTO jobs ({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Ending(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an act came to its end; kept until the log has it."""

    outcome: Literal["succeeded", "failed"]
    reference: str = ""
    reason: str = ""


class GivenUp(NamedTuple):
    """An act that failed for good, as the log says."""

    key: str
    effect: str
    stream: str
    reason: str
    tries: int
    at_ms: int
    """When that was recorded."""


class Job(NamedTuple):
    """One act outside that an event asks for."""

    key: str
    """`<stream>@<version>` of the event, and `#n` where it asks for several: with `effect` its identity for ever."""
    effect: str
    """`ship_notice`, `erp` …: name of its kind."""
    target: str
    """Who is told: the name of a connection, or of another outlet."""
    stream: str
    """Whose event it is: the order's, or the cell's own."""
    document: bytes
    """JSON of what is told. Not personal."""
    at_ms: int
    """Since when those outside are to be told: when the event happened, was learnt of late, was asked for again, or
    nothing here at home held it up any more."""
    due_ms: int
    """When it is to be tried (again)."""
    tries: int = 0
    doubt: int = 0
    """1 = it may have been done: ask before it is tried again."""
    reason: str = ""
    """Why the last try failed."""
    ending: bytes = b""
    """JSON of its `Ending`, once it has one that the log may not have yet."""

    @property
    def circuit(self) -> str:
        """Name of what is left alone, as one, while it is down."""
        return f"{self.effect}:{self.target}"


class Jobs:
    """The file. Any thread and process may use it."""

    def __init__(self, data: Path, *, read_only: bool = False) -> None:
        """Open it, or make it where there is none.

        Raises:
            FileNotFoundError: `read_only`, and there is none.
            LogDamaged: it is something else.
        """
        self._lock = Lock()
        self._db = opened(data / FILE, "followed", _TABLES, read_only=read_only)
        if not read_only:
            for made in (_GIVEN_UP, _RESTING, _BY_STREAM):  # files of earlier builds have none
                self._db.execute(made)

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()

    def followed(self) -> tuple[str, int]:
        """Return the log's generation and the position up to which it is followed."""
        with self._lock:
            generation, position = self._db.execute("SELECT generation, position FROM followed").fetchone()
        return generation, position

    def follow(
        self,
        generation: str,
        position: int,
        begun: Sequence[Job],
        ended: Sequence[tuple[str, str]],
        given_up: Sequence[GivenUp] = (),
        *,
        anew: bool,
    ) -> None:
        """Note in one step how far the log is followed, what it asks for, and what has come to its end.

        Args:
            generation: of the log.
            position: up to which it was read.
            begun: acts it asks for; one that is known already stays as it is.
            ended: (key, effect) of acts that need nothing more.
            given_up: those of `ended` that failed for good.
            anew: the log is followed from its beginning: what was known is dropped first.
        """
        with self._lock, transaction(self._db):
            if anew:
                self._db.execute("DELETE FROM jobs")
                self._db.execute("DELETE FROM given_up")
            for job in begun:
                self._db.execute(f"INSERT {_INSERT} ON CONFLICT DO NOTHING", job)
            for key, effect in ended:
                for table in ("jobs", "given_up"):
                    self._db.execute(f"DELETE FROM {table} WHERE key = ? AND effect = ?", (key, effect))  # noqa: S608
            for failed in given_up:
                self._db.execute("INSERT OR REPLACE INTO given_up VALUES (?, ?, ?, ?, ?, ?)", failed)
            if given_up:
                self._db.execute(
                    "DELETE FROM given_up WHERE rowid NOT IN (SELECT rowid FROM given_up ORDER BY at_ms DESC LIMIT ?)",
                    (GIVEN_UP_MAX,),
                )
            self._db.execute("UPDATE followed SET generation = ?, position = ?", (generation, position))

    def resting(self, effect: str) -> frozenset[str]:
        """Return the targets of a kind of act that were told nothing when that was looked at last."""
        with self._lock:
            rows = self._db.execute("SELECT target FROM resting WHERE effect = ?", (effect,)).fetchall()
        return frozenset(target for (target,) in rows)

    def rest(self, effect: str, targets: Collection[str], missed: Sequence[Job], now_ms: int) -> None:
        """Note the targets that are told nothing now, in one step with what those who were and are told now missed.

        What they were to be told before has waited for them: it has all its time from now on.
        """
        with self._lock, transaction(self._db):
            self._db.execute(
                "UPDATE jobs SET at_ms = ? WHERE effect = ? AND ending = x'' "
                "AND target IN (SELECT target FROM resting WHERE effect = ?)",
                (now_ms, effect, effect),
            )
            self._db.execute("DELETE FROM resting WHERE effect = ?", (effect,))
            self._db.executemany("INSERT INTO resting VALUES (?, ?)", [(effect, target) for target in targets])
            self._db.executemany(f"INSERT {_INSERT} ON CONFLICT DO NOTHING", missed)

    def due(
        self,
        now_ms: int,
        limit: int,
        effects: Collection[str],
        busy: Collection[str] = (),
        in_turn: Collection[str] = (),
    ) -> list[Job]:
        """Return acts of these kinds whose time has come, the longest due first.

        None for the circuits in `busy` nor for targets that rest; of the kinds in `in_turn` none before those of the
        same stream and target that were asked for earlier have come to their end.
        """
        kinds, marks, turns = (", ".join("?" * len(each)) for each in (effects, busy, in_turn))
        with self._lock:
            rows = self._db.execute(
                f"SELECT {_FIELDS} FROM jobs WHERE due_ms <= ? AND effect IN ({kinds}) "  # noqa: S608  marks only
                f"AND effect || ':' || target NOT IN ({marks}) "
                f"AND (ending <> x'' OR effect NOT IN ({turns}) OR NOT EXISTS (SELECT 1 FROM jobs AS other "
                "WHERE other.stream = jobs.stream AND other.effect = jobs.effect AND other.target = jobs.target "
                "AND other.rowid < jobs.rowid AND other.ending = x'')) "
                "AND (ending <> x'' OR NOT EXISTS (SELECT 1 FROM resting "
                "WHERE resting.effect = jobs.effect AND resting.target = jobs.target)) ORDER BY due_ms, key LIMIT ?",
                (now_ms, *effects, *busy, *in_turn, limit),
            ).fetchall()
        return [Job(*row) for row in rows]

    def waiting(self, limit: int = 1000) -> list[Job]:
        """Return all acts that have not come to their end, the oldest first."""
        with self._lock:
            rows = self._db.execute(
                f"SELECT {_FIELDS} FROM jobs ORDER BY at_ms, key LIMIT ?",  # noqa: S608  constants only
                (limit,),
            ).fetchall()
        return [Job(*row) for row in rows]

    def given_up(self) -> list[GivenUp]:
        """Return acts that failed for good, the latest first, at most `GIVEN_UP_MAX`."""
        with self._lock:
            # A file of an earlier build that nobody has opened for writing since has no such table.
            if not self._db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'given_up'").fetchone()[0]:
                return []
            rows = self._db.execute(
                "SELECT key, effect, stream, reason, tries, at_ms FROM given_up ORDER BY at_ms DESC, key"
            ).fetchall()
        return [GivenUp(*row) for row in rows]

    def change(self, job: Job) -> None:
        """Keep how a job stands now."""
        with self._lock, transaction(self._db):
            self._db.execute(
                """UPDATE jobs SET at_ms = ?, due_ms = ?, tries = ?, doubt = ?, reason = ?, ending = ?
                WHERE key = ? AND effect = ?""",
                (job.at_ms, job.due_ms, job.tries, job.doubt, job.reason, job.ending, job.key, job.effect),
            )

    def again(self, job: Job) -> None:
        """Put a job on the list, anew, whatever became of its tries."""
        with self._lock, transaction(self._db):
            # One that has come to its end, of which the log does not know yet, stays as it is.
            self._db.execute("DELETE FROM jobs WHERE key = ? AND effect = ? AND ending = x''", (job.key, job.effect))
            self._db.execute(f"INSERT {_INSERT} ON CONFLICT DO NOTHING", job)
            self._db.execute("DELETE FROM given_up WHERE key = ? AND effect = ?", (job.key, job.effect))

    def drop(self, job: Job) -> None:
        """The log has its end."""
        with self._lock, transaction(self._db):
            self._db.execute("DELETE FROM jobs WHERE key = ? AND effect = ?", (job.key, job.effect))
