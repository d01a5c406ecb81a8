"""What webhooks must remember: who subscribes to what, how far each follows the log, what waits, and what was tried.

A SQLite file of its own, `webhooks.db`. Of a delivery it holds the event's position alone: what is sent is read from
the log. Secrets are not in it. All times are UTC milliseconds.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal, NamedTuple

import msgspec

from adapters.storage.sqlite import opened, transaction
from domain.catalogue import TYPES
from domain.ids import OF_CHANNELS, kind_of, parts_of
from domain.ports import Recorded
from domain.time_units import DAY_MS
from runners.contract import named

FILE: Final = "webhooks.db"
WAITING_MAX: Final = 1_000
"""Deliveries of one subscriber that may wait, not counting those behind a refused one of their stream while it answers.
While so many do, it follows the log no further."""
BACKOFF_MS_MAX: Final = 6 * 3_600_000
"""The longest pause between two tries of a delivery."""
LOG_KEPT_MS: Final = 30 * DAY_MS
LOG_KEPT_MAX: Final = 20_000
"""Tries of one subscriber that are remembered, the latest."""
_TABLES: Final = (
    """CREATE TABLE subscribers (
        name TEXT PRIMARY KEY, url TEXT NOT NULL, wants BLOB NOT NULL, state TEXT NOT NULL, why TEXT NOT NULL,
        generation TEXT NOT NULL, position INTEGER NOT NULL, secret TEXT NOT NULL, old_secret TEXT NOT NULL,
        old_until_ms INTEGER NOT NULL, give_up_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE deliveries (
        subscriber TEXT NOT NULL, position INTEGER NOT NULL, stream TEXT NOT NULL, tag TEXT NOT NULL,
        due_ms INTEGER NOT NULL, first_ms INTEGER NOT NULL, tries INTEGER NOT NULL, dead INTEGER NOT NULL,
        reason TEXT NOT NULL, PRIMARY KEY (subscriber, position)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX deliveries_order ON deliveries (subscriber, stream, position)",
    """CREATE TABLE tries (
        number INTEGER PRIMARY KEY, subscriber TEXT NOT NULL, delivery TEXT NOT NULL, position INTEGER NOT NULL,
        tag TEXT NOT NULL, at_ms INTEGER NOT NULL, status INTEGER NOT NULL, ms INTEGER NOT NULL, try INTEGER NOT NULL,
        reason TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX tries_of ON tries (subscriber, number)",
)
_SUBSCRIBER: Final = (
    "name, url, wants, state, why, generation, position, secret, old_secret, old_until_ms, give_up_ms, created_ms"
)
_DELIVERY: Final = "subscriber, position, stream, tag, due_ms, first_ms, tries, dead, reason"


class Wants(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which events a subscriber wants; an empty list leaves it open."""

    types: tuple[str, ...] = ()
    """Names of events; `order.*` = all that begin so."""
    kinds: tuple[str, ...] = ()
    """Kinds of streams: `order`, `warehouse` …"""
    channels: tuple[str, ...] = ()
    """Only streams of these channels."""

    def take(self, event: Recorded) -> bool:
        """Whether it wants this event."""
        kind = kind_of(event.stream)
        if self.kinds and kind not in self.kinds:
            return False
        if self.channels and (kind not in OF_CHANNELS or parts_of(event.stream)[0] not in self.channels):
            return False
        name = named(event.tag)[0]
        return not self.types or any(name == each or _begins(name, each) for each in self.types)


def _begins(name: str, pattern: str) -> bool:
    return pattern.endswith(".*") and name.startswith(pattern[:-1])


def unknown_types(types: Iterable[str]) -> list[str]:
    """Return those that name no event of this build."""
    names = {named(tag)[0] for tag in TYPES}
    return [each for each in types if each not in names and not any(_begins(name, each) for name in names)]


class Subscriber(NamedTuple):
    """Somebody who is told over HTTP what happens."""

    name: str
    url: str
    wants: Wants
    state: Literal["active", "paused"]
    why: str
    """Why it is paused."""
    generation: str
    """Of the log that `position` counts in."""
    position: int
    """Up to which the log was looked at for it."""
    secret: str
    """Id of the key that signs; see `runners.webhooks_secrets`."""
    old_secret: str
    """Of the one before, which signs too until `old_until_ms`; "" = none."""
    old_until_ms: int
    give_up_ms: int
    """How long after its first try a delivery is tried again; then it is a dead letter."""
    created_ms: int


class Delivery(NamedTuple):
    """An event on its way to a subscriber."""

    subscriber: str
    position: int
    stream: str
    tag: str
    due_ms: int
    first_ms: int = 0
    """When it was first tried; 0 = not yet."""
    tries: int = 0
    dead: int = 0
    """1 = it is a dead letter, or waits behind one of the same stream."""
    reason: str = ""
    """Why the last try failed."""


class Try(NamedTuple):
    """One try of a delivery. Status 200 to 299 = it arrived."""

    subscriber: str
    delivery: str
    """Its id, `<generation>:<position>`: the same for all tries."""
    position: int
    tag: str
    at_ms: int
    status: int
    """Of HTTP; 0 = no answer."""
    ms: int
    number: int
    """From 1."""
    reason: str = ""


class Result(NamedTuple):
    """What a try led to."""

    tried: Try
    left: Delivery | None
    """How it goes on; None = it has arrived."""
    to: Subscriber
    """Whom it was sent to, as he was then: another one may have his name by now."""
    pause: str = ""
    """Why the subscriber is paused because of it; "" = it is not."""


class Figures(NamedTuple):
    """How a subscriber stands."""

    waiting: int
    dead: int
    last: Try | None


class Webhooks:
    """The file. Any thread and process may use it."""

    def __init__(self, data: Path, *, read_only: bool = False) -> None:
        """Open it, or make it where there is none.

        Raises:
            FileNotFoundError: `read_only`, and there is none.
            LogDamaged: it is something else.
        """
        self._lock = Lock()
        self._db = opened(data / FILE, "subscribers", _TABLES, read_only=read_only)

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()

    def subscribers(self) -> list[Subscriber]:
        """Return all, by name."""
        rows = self._ask(f"SELECT {_SUBSCRIBER} FROM subscribers ORDER BY name")  # noqa: S608  constants only
        return [Subscriber(*row)._replace(wants=msgspec.json.decode(row[2], type=Wants)) for row in rows]

    def add(self, subscriber: Subscriber) -> bool:
        """Write a new one down; False where there is one of that name, which stays as it is."""
        row = subscriber._replace(wants=msgspec.json.encode(subscriber.wants))  # type: ignore[arg-type]
        new = f"INSERT INTO subscribers ({_SUBSCRIBER}) VALUES ({_marks(row)})"  # noqa: S608  constants only
        return self._do(f"{new} ON CONFLICT DO NOTHING", row)

    def remove(self, name: str) -> bool:
        """Forget one and all that waits for it; False where there is none."""
        with self._lock, transaction(self._db):
            there = self._db.execute("DELETE FROM subscribers WHERE name = ?", (name,)).rowcount
            self._db.execute("DELETE FROM deliveries WHERE subscriber = ?", (name,))
            self._db.execute("DELETE FROM tries WHERE subscriber = ?", (name,))
            return there > 0

    def pause(self, name: str, why: str) -> bool:
        """Send nothing more and follow no further, until `resume`."""
        return self._do("UPDATE subscribers SET state = 'paused', why = ? WHERE name = ?", (why, name))

    def resume(self, name: str, generation: str, head: int) -> bool:
        """Go on where it was left; in another life of the log, at its end if that is before. What waits begins anew."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "DELETE FROM deliveries WHERE subscriber = ? AND position > ? AND subscriber IN "
                "(SELECT name FROM subscribers WHERE generation != ?)",
                (name, head, generation),
            )
            self._db.execute(
                "UPDATE deliveries SET due_ms = 0, first_ms = 0, tries = 0 WHERE subscriber = ? AND dead = 0", (name,)
            )
            return (
                self._db.execute(
                    "UPDATE subscribers SET state = 'active', why = '', generation = ?, position = min(position, ?) "
                    "WHERE name = ?",
                    (generation, head, name),
                ).rowcount
                > 0
            )

    def rotate(self, name: str, secret: str, old_until_ms: int) -> bool:
        """Sign with another key from now on, and with the one of today as well until `old_until_ms`."""
        return self._do(
            "UPDATE subscribers SET old_secret = secret, old_until_ms = ?, secret = ? WHERE name = ?",
            (old_until_ms, secret, name),
        )

    def rewind(self, name: str, generation: str, position: int) -> bool:
        """Look at the log again from behind a position on; dead letters there wait again, if none comes before them."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "DELETE FROM deliveries WHERE subscriber = ? AND subscriber IN "
                "(SELECT name FROM subscribers WHERE generation != ?)",
                (name, generation),
            )
            self._revive(
                name,
                "position > ? AND stream NOT IN "
                "(SELECT stream FROM deliveries WHERE subscriber = ? AND dead = 1 AND position <= ?)",
                (position, name, position),
            )
            return (
                self._db.execute(
                    "UPDATE subscribers SET position = min(position, ?), generation = ? WHERE name = ?",
                    (position, generation, name),
                ).rowcount
                > 0
            )

    def again(self, name: str, delivery: Delivery) -> None:
        """Send once more what was looked at already; dead letters of its stream wait again with it, in their order."""
        with self._lock, transaction(self._db):
            self._db.execute(_ANEW, delivery)
            self._revive(name, "stream = ?", (delivery.stream,))

    def revive(self, name: str) -> int:
        """Let all dead letters wait again; return how many there were."""
        with self._lock, transaction(self._db):
            return self._revive(name, "1", ())

    def discard(self, name: str, position: int | None = None) -> int:
        """Drop dead letters, all or the one of a position; those that waited behind it alone wait again."""
        with self._lock, transaction(self._db):
            which, values = ("1", ()) if position is None else ("position = ?", (position,))
            rows = self._db.execute(
                f"DELETE FROM deliveries WHERE subscriber = ? AND dead = 1 AND {which} RETURNING stream, position",  # noqa: S608
                (name, *values),
            ).fetchall()
            for stream, gone in rows:
                before = "SELECT 1 FROM deliveries WHERE subscriber = ? AND stream = ? AND dead = 1 AND position < ?"
                if self._db.execute(before, (name, stream, gone)).fetchone() is None:
                    self._revive(name, "stream = ?", (stream,))
            return len(rows)

    def _revive(self, name: str, which: str, values: Sequence[Any]) -> int:
        return self._db.execute(
            "UPDATE deliveries SET dead = 0, due_ms = 0, first_ms = 0, tries = 0 "  # noqa: S608  constants only
            f"WHERE subscriber = ? AND dead = 1 AND {which}",
            (name, *values),
        ).rowcount

    def follow(self, before: Subscriber, position: int, wanted: Sequence[Delivery]) -> bool:
        """Note in one step how far the log was looked at, and what of it is to be sent.

        False where the subscriber was changed meanwhile: nothing is noted then.
        """
        with self._lock, transaction(self._db):
            fits = self._db.execute(
                "UPDATE subscribers SET position = ? "
                "WHERE name = ? AND generation = ? AND position = ? AND state = 'active'",
                (position, before.name, before.generation, before.position),
            ).rowcount
            if not fits:
                return False
            dead = {
                stream
                for (stream,) in self._db.execute(
                    "SELECT DISTINCT stream FROM deliveries WHERE subscriber = ? AND dead = 1", (before.name,)
                )
            }
            for each in wanted:
                behind = each.stream in dead
                row = each._replace(dead=1, reason="waits behind a dead letter") if behind else each
                self._db.execute(_IF_NEW, row)
            return True

    def waiting(self, name: str) -> int:
        """Return how many deliveries wait and are no dead letters."""
        return int(self._ask("SELECT count(*) FROM deliveries WHERE subscriber = ? AND dead = 0", (name,))[0][0])

    def in_turn(self, name: str) -> int:
        """Return how many of them do not wait behind one of their stream that was tried and has not arrived."""
        tried = "SELECT stream FROM deliveries WHERE subscriber = ? AND dead = 0 AND tries > 0"
        found = self._ask(
            "SELECT count(*) FROM deliveries WHERE subscriber = ? AND dead = 0 "  # noqa: S608  constants only
            f"AND (tries > 0 OR stream NOT IN ({tried}))",
            (name, name),
        )
        return int(found[0][0])

    def due(self, name: str, now_ms: int, limit: int) -> list[Delivery]:
        """Return deliveries whose time has come: of each stream its first alone, and none behind a dead letter.

        One that was put off for longer than any is was put off by a clock that was wrong, and is due.
        """
        rows = self._ask(
            f"SELECT {_DELIVERY} FROM deliveries AS each WHERE subscriber = ? AND dead = 0 "  # noqa: S608
            "AND due_ms NOT BETWEEN ? + 1 AND ? "
            "AND NOT EXISTS (SELECT 1 FROM deliveries AS other WHERE other.subscriber = each.subscriber "
            "AND other.stream = each.stream AND other.position < each.position) ORDER BY position LIMIT ?",
            (name, now_ms, now_ms + BACKOFF_MS_MAX, limit),
        )
        return [Delivery(*row) for row in rows]

    def anew(self, name: str, position: int) -> bool:
        """Whether a delivery waits as if it had never been tried: at first, and after `resume`, `again`, `revive`."""
        found = self._ask("SELECT tries FROM deliveries WHERE subscriber = ? AND position = ?", (name, position))
        return bool(found) and found[0][0] == 0

    def settle(self, results: Sequence[Result]) -> None:
        """Keep what tries led to, in one step; a dead letter takes those behind it along."""
        with self._lock, transaction(self._db):
            for result in results:
                self._settle(result)

    def _settle(self, result: Result) -> None:
        tried, left = result.tried, result.left
        there = self._db.execute(
            "SELECT 1 FROM subscribers WHERE name = ? AND created_ms = ? AND generation = ?",
            (tried.subscriber, result.to.created_ms, result.to.generation),
        ).fetchone()
        if there is None:
            return  # it was removed meanwhile, or follows another life of the log
        self._db.execute(
            "INSERT INTO tries (subscriber, delivery, position, tag, at_ms, status, ms, try, reason) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            tried,
        )
        if left is None:
            self._db.execute(
                "DELETE FROM deliveries WHERE subscriber = ? AND position = ?", (tried.subscriber, tried.position)
            )
        else:
            self._db.execute(
                "UPDATE deliveries SET due_ms = ?, first_ms = ?, tries = ?, dead = ?, reason = ? "
                "WHERE subscriber = ? AND position = ?",
                (left.due_ms, left.first_ms, left.tries, left.dead, left.reason, left.subscriber, left.position),
            )
            if left.dead:
                self._db.execute(
                    "UPDATE deliveries SET dead = 1, reason = 'waits behind a dead letter' "
                    "WHERE subscriber = ? AND stream = ? AND position > ? AND dead = 0",
                    (left.subscriber, left.stream, left.position),
                )
        if result.pause:
            self._db.execute(
                "UPDATE subscribers SET state = 'paused', why = ? WHERE name = ?", (result.pause, tried.subscriber)
            )

    def tidy(self, now_ms: int) -> None:
        """Forget tries that are too old or too many."""
        with self._lock, transaction(self._db):
            self._db.execute("DELETE FROM tries WHERE at_ms < ?", (now_ms - LOG_KEPT_MS,))
            for (name,) in self._db.execute("SELECT name FROM subscribers").fetchall():
                self._db.execute(
                    "DELETE FROM tries WHERE subscriber = ? AND number <= "
                    "(SELECT number FROM tries WHERE subscriber = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
                    (name, name, LOG_KEPT_MAX),
                )

    def tries(self, name: str, limit: int) -> list[Try]:
        """Return the latest tries, the last first."""
        rows = self._ask(
            "SELECT subscriber, delivery, position, tag, at_ms, status, ms, try, reason FROM tries "
            "WHERE subscriber = ? ORDER BY number DESC LIMIT ?",
            (name, limit),
        )
        return [Try(*row) for row in rows]

    def deliveries(self, name: str, limit: int, *, dead: bool) -> list[Delivery]:
        """Return what waits, or the dead letters, in the order of the log."""
        rows = self._ask(
            f"SELECT {_DELIVERY} FROM deliveries WHERE subscriber = ? AND dead = ? ORDER BY position LIMIT ?",  # noqa: S608
            (name, int(dead), limit),
        )
        return [Delivery(*row) for row in rows]

    def figures(self, name: str) -> Figures:
        """Return how one stands."""
        dead = self._ask("SELECT count(*) FROM deliveries WHERE subscriber = ? AND dead = 1", (name,))[0][0]
        return Figures(self.waiting(name), int(dead), next(iter(self.tries(name, 1)), None))

    def _ask(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            return self._db.execute(text, tuple(values)).fetchall()

    def _do(self, text: str, values: Sequence[Any]) -> bool:
        with self._lock, transaction(self._db):
            return self._db.execute(text, tuple(values)).rowcount > 0


def _marks(row: Sequence[Any]) -> str:
    return ", ".join("?" * len(row))


_NEW: Final = f"INSERT INTO deliveries ({_DELIVERY}) VALUES ({_marks(Delivery._fields)})"  # noqa: S608  constants only
_IF_NEW: Final = f"{_NEW} ON CONFLICT DO NOTHING"
_ANEW: Final = f"{_NEW} ON CONFLICT DO UPDATE SET due_ms = 0, first_ms = 0, tries = 0"
