"""What pulling must remember: how far each shop is pulled, which orders to fetch, what to go over again.

A SQLite file of its own, `pulls.db`. Losing it loses no order: pulls begin a day back, and a reconciliation finds the
rest. All times are UTC milliseconds.
"""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import msgspec

from adapters.platforms.connection import Connection
from adapters.storage.sqlite import opened, transaction
from domain.platforms import Window

FILE = "pulls.db"
_TABLES = (
    """CREATE TABLE pulls (
        name TEXT NOT NULL PRIMARY KEY, shop TEXT NOT NULL, cursor_ms INTEGER NOT NULL, compared_ms INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE followed (
        one INTEGER PRIMARY KEY CHECK (one = 1), generation TEXT NOT NULL, position INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE hints (
        name TEXT NOT NULL, order_no TEXT NOT NULL, position INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        due_ms INTEGER NOT NULL, tries INTEGER NOT NULL, PRIMARY KEY (name, order_no)
    ) STRICT""",
    "CREATE INDEX hints_due ON hints (name, due_ms)",
    """CREATE TABLE comparisons (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
        reason TEXT NOT NULL
    ) STRICT""",
    "CREATE TABLE states (name TEXT NOT NULL PRIMARY KEY, state BLOB NOT NULL) STRICT",
)


class Hinted(NamedTuple):
    """An order that a push named and that must be fetched."""

    name: str
    """Of the connection."""
    order_no: str
    position: int
    """Of the newest hint in the log: names this state of affairs."""
    at_ms: int
    """When the newest hint came."""
    due_ms: int
    tries: int = 0


class Comparison(NamedTuple):
    """A span that is to be compared with the platform."""

    id: int
    name: str
    window: Window
    reason: str


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a connection does, for people."""

    problems: dict[str, str] = {}
    """What does not work (`pull`, `hints`, `socket`, `access` …) → why, and what to do."""
    at_ms: int = 0
    """When it was written."""
    again_ms: int = 0
    """When it is tried again; 0 = no wait."""
    pulled_ms: int = 0
    """End of the last pull that worked."""
    pulled: dict[str, int] = {}
    """What became of what it brought: outcome → number."""
    listening: bool = False


class Pulls:
    """The file. Any thread and process may use it; cursors only go forward, unless the clock was wrong."""

    def __init__(self, data: Path, *, read_only: bool = False) -> None:
        """Open it, or make it where there is none.

        Raises:
            FileNotFoundError: `read_only`, and there is none.
            LogDamaged: it is something else.
        """
        self._lock = Lock()
        self._db = opened(data / FILE, "pulls", _TABLES, read_only=read_only)

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()

    # --- cursors

    def cursor(self, connection: Connection) -> int | None:
        """Return how far a shop is pulled, None before the first pull."""
        with self._lock:
            row = self._db.execute(
                "SELECT cursor_ms FROM pulls WHERE name = ? AND shop = ?", (connection.name, shop_of(connection))
            ).fetchone()
        return None if row is None else int(row[0])

    def begin(self, connection: Connection, since_ms: int, now_ms: int) -> int:
        """Return the cursor, begun at `since_ms` where this shop has none.

        At another address of the same shop it only goes back: what was not pulled there is not skipped here, and what
        was pulled there (from a simulated platform, say) is not believed to have come from here.
        """
        shop = shop_of(connection)
        with self._lock, transaction(self._db):
            self._db.execute(
                "UPDATE pulls SET shop = ?, cursor_ms = min(cursor_ms, ?), compared_ms = min(compared_ms, ?)"
                " WHERE name = ? AND shop <> ? AND substr(shop, 1, length(?)) = ?",
                (shop, since_ms, now_ms, connection.name, shop, *[_anywhere(connection)] * 2),
            )
            self._db.execute(
                """INSERT INTO pulls (name, shop, cursor_ms, compared_ms) VALUES (?, ?, ?, ?) ON CONFLICT (name)
                DO UPDATE SET shop = excluded.shop, cursor_ms = excluded.cursor_ms, compared_ms = excluded.compared_ms
                WHERE shop <> excluded.shop""",
                (connection.name, shop, since_ms, now_ms),
            )
            (cursor,) = self._db.execute("SELECT cursor_ms FROM pulls WHERE name = ?", (connection.name,)).fetchone()
        return int(cursor)

    def advance(self, connection: Connection, window: Window) -> None:
        """Note that a window is in the log; the cursor moves if the window leaves no gap behind it."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "UPDATE pulls SET cursor_ms = max(cursor_ms, ?) WHERE name = ? AND shop = ? AND cursor_ms >= ?",
                (window.end_ms, connection.name, shop_of(connection), window.start_ms),
            )

    def skip(self, connection: Connection, to_ms: int) -> None:
        """Move the cursor over what the platform has forgotten."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "UPDATE pulls SET cursor_ms = max(cursor_ms, ?) WHERE name = ? AND shop = ?",
                (to_ms, connection.name, shop_of(connection)),
            )

    def set_back(self, connection: Connection, to_ms: int) -> None:
        """Move the cursor back: it was made by a clock that was wrong."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "UPDATE pulls SET cursor_ms = min(cursor_ms, ?), compared_ms = min(compared_ms, ?) WHERE name = ?",
                (to_ms, to_ms, connection.name),
            )

    def fetch_nothing(self, name: str) -> None:
        """Forget what is to be fetched by a connection that turned out to have no way to fetch."""
        with self._lock, transaction(self._db):
            for table in ("hints", "comparisons"):
                self._db.execute(f"DELETE FROM {table} WHERE name = ?", (name,))  # noqa: S608  constants only

    def forget(self, name: str) -> None:
        """Forget a connection that is no more."""
        with self._lock, transaction(self._db):
            for table in ("pulls", "hints", "comparisons", "states"):
                self._db.execute(f"DELETE FROM {table} WHERE name = ?", (name,))  # noqa: S608  constants only

    # --- comparisons with the platform's past

    def compared(self, connection: Connection) -> int | None:
        """Return up to when a shop has been compared by itself, None before the first pull."""
        with self._lock:
            row = self._db.execute("SELECT compared_ms FROM pulls WHERE name = ?", (connection.name,)).fetchone()
        return None if row is None else int(row[0])

    def compare_daily(self, connection: Connection, window: Window, reason: str) -> None:
        """Ask for a comparison, and note in the same step that it was asked for."""
        with self._lock, transaction(self._db):
            self._db.execute("UPDATE pulls SET compared_ms = ? WHERE name = ?", (window.end_ms, connection.name))
            self._ask(connection.name, window, reason)

    def comparisons(self, name: str) -> list[Comparison]:
        """Return what is to be compared, what was asked for first in front."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, name, start_ms, end_ms, reason FROM comparisons WHERE name = ? ORDER BY id", (name,)
            ).fetchall()
        return [Comparison(number, owner, Window(start, end), why) for number, owner, start, end, why in rows]

    def compared_to(self, comparison: Comparison, to_ms: int) -> None:
        """Note how far a comparison came; it is done at its end."""
        with self._lock, transaction(self._db):
            self._db.execute("UPDATE comparisons SET start_ms = ? WHERE id = ?", (to_ms, comparison.id))
            self._db.execute("DELETE FROM comparisons WHERE id = ? AND start_ms >= end_ms", (comparison.id,))

    def _ask(self, name: str, window: Window, reason: str) -> None:
        """Add a comparison; one of the same reason that touches it grows instead."""
        row = self._db.execute(
            "SELECT id FROM comparisons WHERE name = ? AND reason = ? AND start_ms <= ? AND end_ms >= ?",
            (name, reason, window.end_ms, window.start_ms),
        ).fetchone()
        if row is None:
            values = (name, *window, reason)
            self._db.execute("INSERT INTO comparisons (name, start_ms, end_ms, reason) VALUES (?, ?, ?, ?)", values)
        else:
            self._db.execute(
                "UPDATE comparisons SET start_ms = min(start_ms, ?), end_ms = max(end_ms, ?) WHERE id = ?",
                (*window, row[0]),
            )

    # --- the log that is followed, and the hints in it

    def followed(self) -> tuple[str, int]:
        """Return generation and position up to which the log has been followed; ("", 0) before the first look."""
        with self._lock:
            row = self._db.execute("SELECT generation, position FROM followed").fetchone()
        return ("", 0) if row is None else (str(row[0]), int(row[1]))

    def follow(
        self,
        generation: str,
        position: int,
        hints: Sequence[Hinted] = (),
        comparisons: Sequence[tuple[str, Window, str]] = (),
    ) -> None:
        """Note what was found in the log up to a position, in one step with that position.

        A hint for an order that is waited for already takes its place: the newest state is what will be fetched.
        """
        with self._lock, transaction(self._db):
            self._db.executemany(
                """INSERT INTO hints (name, order_no, position, at_ms, due_ms, tries) VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT (name, order_no) DO UPDATE SET position = excluded.position, at_ms = excluded.at_ms,
                due_ms = min(due_ms, excluded.due_ms), tries = 0""",
                hints,
            )
            for name, window, reason in comparisons:
                self._ask(name, window, reason)
            self._db.execute(
                """INSERT INTO followed (one, generation, position) VALUES (1, ?, ?)
                ON CONFLICT (one) DO UPDATE SET generation = excluded.generation, position = excluded.position""",
                (generation, position),
            )

    def hints_due(self, name: str, now_ms: int, limit: int) -> list[Hinted]:
        """Return orders that are to be fetched now, those that wait longest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT name, order_no, position, at_ms, due_ms, tries FROM hints WHERE name = ? AND due_ms <= ?"
                " ORDER BY due_ms LIMIT ?",
                (name, now_ms, limit),
            ).fetchall()
        return [Hinted(*row) for row in rows]

    def hints_next(self, name: str) -> int | None:
        """Return when the next order is to be fetched, None where none is."""
        with self._lock:
            (due,) = self._db.execute("SELECT min(due_ms) FROM hints WHERE name = ?", (name,)).fetchone()
        return None if due is None else int(due)

    def hint_done(self, hint: Hinted) -> None:
        """Forget a hint, unless a newer one of that order has come since."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "DELETE FROM hints WHERE name = ? AND order_no = ? AND position = ?",
                (hint.name, hint.order_no, hint.position),
            )

    def hint_again(self, hint: Hinted, due_ms: int) -> None:
        """Try a hint again later, unless a newer one of that order has come since."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "UPDATE hints SET due_ms = ?, tries = ? WHERE name = ? AND order_no = ? AND position = ?",
                (due_ms, hint.tries + 1, hint.name, hint.order_no, hint.position),
            )

    def hints_before(self, name: str, at_ms: int) -> int:
        """Forget hints that came before a time (a pull has brought what they told of); return how many."""
        with self._lock, transaction(self._db):
            return self._db.execute("DELETE FROM hints WHERE name = ? AND at_ms < ?", (name, at_ms)).rowcount

    def hints_waiting(self, name: str) -> int:
        """Return how many orders are to be fetched."""
        with self._lock:
            (count,) = self._db.execute("SELECT count(*) FROM hints WHERE name = ?", (name,)).fetchone()
        return int(count)

    # --- for people

    def state(self, name: str) -> State:
        """Return how a connection does."""
        with self._lock:
            row = self._db.execute("SELECT state FROM states WHERE name = ?", (name,)).fetchone()
        return State() if row is None else msgspec.json.decode(row[0], type=State)

    def tell(self, name: str, state: State) -> None:
        """Keep how a connection does."""
        with self._lock, transaction(self._db):
            self._db.execute(
                """INSERT INTO states (name, state) VALUES (?, ?)
                ON CONFLICT (name) DO UPDATE SET state = excluded.state""",
                (name, msgspec.json.encode(state)),
            )


def shop_of(connection: Connection) -> str:
    """Return what a cursor belongs to: a shop at an address."""
    return f"{_anywhere(connection)}{connection.base_url}"


def _anywhere(connection: Connection) -> str:
    return f"{connection.channel}:{connection.shop}@"
