"""The tables of a log as they are, damage included: what the audit reads.

`EventLog` refuses a damaged log; an auditor wants to know what is wrong with it. So nothing is believed here: rows come
as they stand, positions may miss, text may be no text.
"""

import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from adapters.storage.schema import FIELDS
from adapters.storage.sqlite import DAMAGE, Rows

Row = Sequence[Any]
"""position, stream, version, tag, envelope, data, sealed, leaf."""


class Ends(NamedTuple):
    """The tracked row, and what the events table really holds, of one moment."""

    rows: int
    """Rows of the tracked row's table: 1 where nothing is wrong."""
    schema: Any
    generation: Any
    incarnation: Any
    epoch: Any
    position: Any
    """Of the mail."""
    digest: Any
    at_ms: Any
    head: Any
    first: int
    """Lowest position in the events table; 1 where nothing is wrong, 0 where it is empty."""
    last: int
    """Highest position in the events table."""


class Misplaced(NamedTuple):
    """An event whose version or position does not follow its stream's one before."""

    stream: str
    version: int
    position: int
    version_before: int
    position_before: int


class StoredPayload(NamedTuple):
    """A row of the payload table."""

    row: Any
    """Its place in the table's own order, for the next page."""
    digest: bytes
    stream: str
    sealed: bytes


class Unreadable(Exception):
    """The database cannot give what is asked for: its files are damaged, or the disk fails."""


class Scan(Protocol):
    """Raw reading of one log. Every method reads the log as of the moment it is called, and may raise Unreadable."""

    def ends(self) -> Ends:
        """Return the tracked row and the ends of the events table."""
        ...

    def rows(self, after: int, upto: int) -> list[Row]:
        """Return the events with `after` < position <= `upto`, by position. Text that is no UTF-8 has surrogates."""
        ...

    def outside(self, head: int, limit: int) -> list[tuple[int, str, int]]:
        """Return (position, stream, version) of up to `limit` events before position 1 or behind `head`."""
        ...

    def misplaced(self, upto: int, limit: int) -> list[Misplaced]:
        """Return up to `limit` events up to a position that break their stream's order."""
        ...

    def payloads(self, after: Any, limit: int) -> list[StoredPayload]:
        """Return payload rows behind `StoredPayload.row` (None = from the beginning), in the table's own order."""
        ...

    def payload_streams(self, digests: Collection[bytes]) -> dict[bytes, str]:
        """Return whose these payloads are; those that are not there are left out."""
        ...

    def orphans(self, limit: int) -> list[str]:
        """Return up to `limit` streams that have payloads and no events."""
        ...

    def has_stream(self, stream: str) -> bool:
        """Tell whether there is any event of a stream."""
        ...

    def streams_ending(self, ending: str, limit: int) -> list[str]:
        """Return up to `limit` streams of orders whose key ends so (`:number`), sorted."""
        ...

    def snapshots(self) -> list[tuple[str, int, int]]:
        """Return (stream, version of its snapshot, last version of the stream's events)."""
        ...

    def damage(self, *, full: bool) -> list[str]:
        """Return what the database's own check of its files finds; `full` checks the indexes against the tables."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


class SqliteScan:
    """Raw reading of a log in a SQLite file."""

    _find = Rows("SELECT digest, stream FROM payloads WHERE digest IN (VALUES", 1, ")")

    def __init__(self, path: Path) -> None:
        """Open the file for reading.

        Raises:
            FileNotFoundError: there is no such file.
            Unreadable: it is no database.
        """
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        self.path = path
        self._text, self._plain = self._open(path), self._open(path)
        self._text.text_factory = _text

    def ends(self) -> Ends:
        """Return the tracked row and the ends of the events table."""
        select = """SELECT (SELECT count(*) FROM cell), schema, generation, incarnation, epoch, position, digest, at_ms,
            head, (SELECT coalesce(min(position), 0) FROM events {0}),
            (SELECT coalesce(max(position), 0) FROM events {0})
            FROM (SELECT 1) LEFT JOIN cell"""
        try:
            return Ends(*self._ask(select.format("NOT INDEXED"))[0])
        except Unreadable:  # a damaged page of the table; the index has the positions too
            return Ends(*self._ask(select.format("INDEXED BY events_stream_version"))[0])

    def rows(self, after: int, upto: int) -> list[Row]:
        """Return events as they stand."""
        select = f"SELECT {FIELDS} FROM events WHERE position > ? AND position <= ? ORDER BY position"  # noqa: S608 - constants only
        try:
            return self._plain.execute(select, (after, upto)).fetchall()
        except DAMAGE as exc:
            if "decode to UTF-8" not in str(exc):
                raise Unreadable(f"{self.path}: {exc}") from exc
            return self._ask(select, after, upto)

    def outside(self, head: int, limit: int) -> list[tuple[int, str, int]]:
        """Return events where none should be."""
        return self._ask(
            """SELECT position, stream, version FROM events WHERE position < 1
            UNION ALL SELECT position, stream, version FROM events WHERE position > ? LIMIT ?""",
            head,
            limit,
        )

    def misplaced(self, upto: int, limit: int) -> list[Misplaced]:
        """Return events that break their stream's order; the index on (stream, version) holds all that is asked."""
        rows = self._ask(
            """SELECT * FROM (
                SELECT stream, version, position,
                lag(version, 1, 0) OVER same AS version_before, lag(position, 1, 0) OVER same AS position_before
                FROM events WINDOW same AS (PARTITION BY stream ORDER BY version)
            ) WHERE position <= ? AND (version <> version_before + 1 OR position <= position_before) LIMIT ?""",
            upto,
            limit,
        )
        return [Misplaced(*row) for row in rows]

    def payloads(self, after: Any, limit: int) -> list[StoredPayload]:
        """Return payload rows."""
        select = "SELECT rowid, digest, stream, sealed FROM payloads WHERE rowid > ? ORDER BY rowid LIMIT ?"
        return [StoredPayload(*row) for row in self._ask(select, after or 0, limit)]

    def payload_streams(self, digests: Collection[bytes]) -> dict[bytes, str]:
        """Return whose these payloads are."""
        try:
            return dict(self._find.query(self._text, list(digests)))
        except DAMAGE as exc:
            raise Unreadable(f"{self.path}: {exc}") from exc

    def orphans(self, limit: int) -> list[str]:
        """Return streams that have payloads and no events."""
        rows = self._ask(
            """SELECT DISTINCT stream FROM payloads
            WHERE NOT EXISTS (SELECT 1 FROM events WHERE events.stream = payloads.stream) LIMIT ?""",
            limit,
        )
        return [stream for (stream,) in rows]

    def has_stream(self, stream: str) -> bool:
        """Tell whether there is any event of a stream."""
        return bool(self._ask("SELECT 1 FROM events WHERE stream = ? LIMIT 1", stream))

    def streams_ending(self, ending: str, limit: int) -> list[str]:
        """Return streams of orders whose key ends so."""
        # From shop to shop through the index, not from order to order: `;` is what follows the last `:` of a key.
        found: list[str] = []
        behind = "order-"
        while len(found) < limit:
            rows = self._ask("SELECT min(stream) FROM events WHERE stream >= ? AND stream < 'order.'", behind)
            if rows[0][0] is None:
                break
            first = str(rows[0][0])
            shop = first.rpartition(":")[0] or first
            if self.has_stream(shop + ending):
                found.append(shop + ending)
            behind = f"{shop};"
        return sorted(found)

    def snapshots(self) -> list[tuple[str, int, int]]:
        """Return snapshots beside the ends of their streams."""
        return self._ask(
            """SELECT stream, version, (SELECT coalesce(max(version), 0) FROM events WHERE events.stream = s.stream)
            FROM snapshots AS s ORDER BY stream"""
        )

    def damage(self, *, full: bool) -> list[str]:
        """Run SQLite's own check."""
        try:
            found = [str(row[0]) for row in self._ask(f"PRAGMA {'integrity_check' if full else 'quick_check'}(20)")]
        except Unreadable as exc:
            return [str(exc)]
        return [] if found == ["ok"] else found

    def _ask(self, statement: str, *values: object) -> list[Any]:
        try:
            return self._text.execute(statement, values).fetchall()
        except DAMAGE as exc:
            raise Unreadable(f"{self.path}: {exc}") from exc

    def _open(self, path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA query_only = ON")
            db.execute("PRAGMA cache_size = -32768")
        except DAMAGE as exc:
            db.close()
            raise Unreadable(f"{path}: {exc}") from exc
        return db

    def close(self) -> None:
        """Release the connections."""
        self._text.close()
        self._plain.close()
