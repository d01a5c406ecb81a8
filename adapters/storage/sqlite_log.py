"""The event log in a SQLite file: one writer, any number of readers, every commit synced."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from adapters.storage.schema import (
    FIELDS,
    ROW,
    SCHEMA,
    TOLD,
    check_advance,
    check_batch,
    check_end,
    check_needed,
    check_page,
    check_schema,
    new_generation,
    running_build,
)
from adapters.storage.sqlite import DAMAGE, Rows, connect, make_tables, transaction
from domain.ports import (
    Advance,
    Conflict,
    Loaded,
    LogDamaged,
    Payload,
    Record,
    Recorded,
    StoredSnapshot,
    Told,
    Tracked,
)
from domain.proof import leaf_hash

_TABLES = (
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL, tag TEXT NOT NULL,
        envelope BLOB NOT NULL, data BLOB NOT NULL, sealed BLOB, leaf BLOB NOT NULL
    ) STRICT""",
    "CREATE UNIQUE INDEX events_stream_version ON events (stream, version)",
    "CREATE TABLE payloads (digest BLOB NOT NULL PRIMARY KEY, stream TEXT NOT NULL, sealed BLOB NOT NULL) STRICT",
    """CREATE TABLE snapshots (
        stream TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL, tag TEXT NOT NULL, data BLOB NOT NULL
    ) STRICT""",
    "CREATE TABLE followed (application TEXT NOT NULL PRIMARY KEY, notification_id INTEGER NOT NULL) STRICT",
    """CREATE TABLE cell (
        one INTEGER PRIMARY KEY CHECK (one = 1), schema INTEGER NOT NULL, build TEXT NOT NULL,
        generation TEXT NOT NULL, incarnation TEXT NOT NULL, epoch INTEGER NOT NULL, position INTEGER NOT NULL,
        digest BLOB NOT NULL, at_ms INTEGER NOT NULL, head INTEGER NOT NULL
    ) STRICT""",
)
_recorded: Callable[[tuple[Any, ...]], Recorded] = partial(tuple.__new__, Recorded)
"""Make an event of a row of `FIELDS`: `Recorded._make` without a call of Python for each event."""

_insert_events = Rows(f"INSERT INTO events ({FIELDS}) VALUES", 8)
_insert_payloads = Rows("INSERT INTO payloads (digest, stream, sealed) VALUES", 3, "ON CONFLICT (digest) DO NOTHING")
_insert_snapshots = Rows(
    "INSERT INTO snapshots (stream, version, tag, data) VALUES",
    4,
    """ON CONFLICT (stream) DO UPDATE SET version = excluded.version, tag = excluded.tag, data = excluded.data
    WHERE excluded.version >= snapshots.version""",
)
# CROSS JOIN keeps SQLite from walking the table instead of the few rows that are asked for.
_count_versions = Rows(
    "WITH asked (stream, version) AS (VALUES",
    2,
    """) SELECT count(*) FROM asked CROSS JOIN events
    ON events.stream = asked.stream AND events.version = asked.version""",
)
_find_snapshots = Rows(
    "WITH asked (stream) AS (VALUES",
    1,
    """) SELECT snapshots.stream, snapshots.version, tag, data
    FROM asked CROSS JOIN snapshots ON snapshots.stream = asked.stream""",
)
_find_events = Rows(
    "WITH asked (name, after) AS (VALUES",
    2,
    f""") SELECT {FIELDS} FROM asked CROSS JOIN events
    ON events.stream = asked.name AND events.version > asked.after""",  # noqa: S608 - constants only
)
_find_payloads = Rows("SELECT digest, stream, sealed FROM payloads WHERE digest IN (VALUES", 1, ")")


class SqliteEventLog:
    """The port `EventLog` on one file.

    `append` may run in one thread while another reads: each has a connection of its own. Errors of the disk
    (`sqlite3.OperationalError`) are passed on; whoever meets one must not write again before a restart.
    """

    def __init__(self, path: Path, *, read_only: bool = False, generation: str | None = None) -> None:
        """Open the log, or make it where there is none (`generation` then names its life; by default a random name).

        Raises:
            LogDamaged: the file is not a log, is damaged, or was written by a newer build.
            FileNotFoundError: `read_only`, and there is no log.
        """
        self.path = path
        self.read_only = read_only
        self._reading, self._writing = Lock(), Lock()
        self._reader = connect(path, read_only=read_only)
        try:
            make_tables(
                self._reader, path, "cell", lambda: self._make(generation or new_generation()), read_only=read_only
            )
            self._check()
            # A reader never writes, so it needs one connection only; using it for both keeps `close` simple.
            self._writer = self._reader if read_only else connect(path)
        except BaseException:
            self._reader.close()
            raise

    def append(
        self,
        records: Sequence[Record],
        *,
        payloads: Sequence[Payload] = (),
        snapshots: Sequence[StoredSnapshot] = (),
        advance: Advance | None = None,
    ) -> int:
        """Write all of it in one durable transaction; see `EventLog.append`."""
        needed = check_batch(records)
        if advance is not None:
            check_advance(advance)
        with self._transaction() as db:
            head = self._move(db, len(records), advance)
            self._write(db, head - len(records), records, needed)
            if payloads:
                _insert_payloads.execute(db, [value for payload in payloads for value in payload])
            if snapshots:
                _insert_snapshots.execute(db, [value for snapshot in snapshots for value in snapshot])
        return head

    def append_following(self, records: Sequence[Record], application: str, notification_id: int) -> int:
        """Append, and note in the same transaction how far another application's log has been followed.

        Raises:
            Conflict: that far, or further, has been followed already; or a version is not its stream's next one.
        """
        needed = check_batch(records)
        with self._transaction() as db:
            noted = db.execute(
                """INSERT INTO followed (application, notification_id) VALUES (?, ?) ON CONFLICT (application) DO UPDATE
                SET notification_id = excluded.notification_id
                WHERE excluded.notification_id > followed.notification_id""",
                (application, notification_id),
            )
            if noted.rowcount != 1:
                raise Conflict(f"{application} has been followed to {notification_id} or further already")
            head = self._move(db, len(records), None)
            self._write(db, head - len(records), records, needed)
        return head

    def followed(self, application: str) -> int | None:
        """Return how far another application's log has been followed, or None."""
        with self._reading:
            row = self._reader.execute(
                "SELECT notification_id FROM followed WHERE application = ?", (application,)
            ).fetchone()
        return row and int(row[0])

    def take_over(self) -> Tracked:
        """Raise the epoch; see `EventLog.take_over`."""
        return self._change("UPDATE cell SET epoch = epoch + 1", ())

    def set_incarnation(
        self, epoch: int, incarnation: str, position: int, *, records: Sequence[Record] = ()
    ) -> Tracked:
        """Begin a new life of the mail, with the events that say why; see `EventLog.set_incarnation`."""
        return self._change(
            "UPDATE cell SET incarnation = ?, position = ?, digest = x'', at_ms = 0, head = head + ? WHERE epoch = ?",
            (incarnation, position, len(records), epoch),
            records,
        )

    def begin_generation(self, generation: str | None = None) -> Tracked:
        """Begin a new life of the log, after a restore; the epoch rises, so that earlier writers are refused."""
        return self._change("UPDATE cell SET generation = ?, epoch = epoch + 1", (generation or new_generation(),))

    def tracked(self) -> Tracked:
        """Return the row as it is."""
        with self._reading:
            return Tracked(*self._reader.execute(f"SELECT {ROW} FROM cell").fetchone())  # noqa: S608 - constants only

    def select_many(self, streams: Collection[str], *, snapshots: bool = True) -> dict[str, Loaded]:
        """Load many streams in one go; see `EventLog.select_many`."""
        names = list(dict.fromkeys(streams))
        with self._snapshot() as db:
            taken = {row[0]: StoredSnapshot(*row) for row in _find_snapshots.query(db, names)} if snapshots else {}
            asked: list[Any] = []
            for name in names:
                asked += name, taken[name].version if name in taken else 0
            rows = _find_events.query(db, asked)
        events: defaultdict[str, list[Recorded]] = defaultdict(list)
        for event in map(_recorded, rows):
            events[event.stream].append(event)
        for found in events.values():
            found.sort()  # by position; SQLite promises no order here, and gives this one
        return {
            name: Loaded(taken.get(name), events.get(name, ())) for name in names if name in events or name in taken
        }

    def select(
        self, stream: str, *, after: int = 0, upto: int | None = None, desc: bool = False, limit: int | None = None
    ) -> list[Recorded]:
        """Return one stream's events with `after` < version <= `upto`, by version, from either end."""
        order = "DESC" if desc else "ASC"
        with self._reading:
            rows = self._reader.execute(
                f"""SELECT {FIELDS} FROM events WHERE stream = ? AND version > ? AND version <= ?
                ORDER BY version {order} LIMIT ?""",  # noqa: S608 - constants only
                (stream, after, (1 << 62) if upto is None else upto, -1 if limit is None else limit),
            ).fetchall()
        return list(map(_recorded, rows))

    def read(self, after: int, limit: int) -> list[Recorded]:
        """Return up to `limit` events behind `after`.

        Raises:
            LogDamaged: positions are missing.
        """
        return list(map(_recorded, self._page(FIELDS, after, limit)))

    def told(self, after: int, limit: int) -> list[Told]:
        """Return what anyone may be told of up to `limit` events behind `after`.

        Raises:
            LogDamaged: positions are missing.
        """
        return self._page(TOLD, after, limit)

    def payloads(self, digests: Collection[bytes]) -> dict[bytes, Payload]:
        """Return the payloads with these digests."""
        with self._reading:
            rows = _find_payloads.query(self._reader, list(digests))
        return {row[0]: Payload(*row) for row in rows}

    def backup_to(self, path: Path) -> None:
        """Copy the log as it is now into a new file, while it is being written.

        Raises:
            FileExistsError: there is such a file already.
        """
        if path.exists():
            raise FileExistsError(f"{path} exists; a backup is never written over another file")
        source = connect(self.path, read_only=True)
        try:
            copy = sqlite3.connect(path)
            try:
                # In one step: a copy in several would start again with every commit of the writer.
                source.backup(copy, pages=-1)
            finally:
                copy.close()
        finally:
            source.close()

    def close(self) -> None:
        """Release the connections."""
        with self._writing, self._reading:
            self._writer.close()
            self._reader.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            if self.read_only:
                raise Conflict(f"{self.path} was opened for reading only")
            try:
                with transaction(self._writer):
                    yield self._writer
            except sqlite3.IntegrityError as exc:
                if exc.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                    raise Conflict(f"a version exists already ({exc})") from exc
                if exc.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
                    raise LogDamaged(f"{self.path} holds events behind its head ({exc})") from exc
                raise

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """Let several statements see the log as of one moment."""
        with self._reading:
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.execute("ROLLBACK")

    def _page(self, fields: str, after: int, limit: int) -> list[Any]:
        with self._reading:
            rows = self._reader.execute(
                f"SELECT {fields} FROM events WHERE position > ? ORDER BY position LIMIT ?",  # noqa: S608 - constants only
                (after, limit),
            ).fetchall()
        check_page(str(self.path), after, rows)
        return rows

    def _move(self, db: sqlite3.Connection, events: int, advance: Advance | None) -> int:
        """Move the head by `events`, and the mail position as `advance` says; return the new head."""
        if advance is None:
            rows = db.execute("UPDATE cell SET head = head + ? RETURNING head", (events,)).fetchall()
        else:
            rows = db.execute(
                """UPDATE cell SET head = head + ?, position = ?, digest = ?, at_ms = ?
                WHERE incarnation = ? AND epoch = ? AND position = ? RETURNING head""",
                (
                    events,
                    advance.position,
                    advance.digest,
                    advance.at_ms,
                    advance.incarnation,
                    advance.epoch,
                    advance.previous,
                ),
            ).fetchall()
        if not rows:
            raise Conflict(f"the log's row is no longer at {advance}")
        return int(rows[0][0])

    def _write(
        self, db: sqlite3.Connection, head: int, records: Sequence[Record], needed: Sequence[tuple[str, int]]
    ) -> None:
        if needed:
            # Counted by SQLite: fetching a row each would be slow beside a busy thread (see `Rows`).
            found = _count_versions.query(db, [value for pair in needed for value in pair])
            check_needed(needed, sum(count for (count,) in found))
        values: list[Any] = []
        position = head
        for stream, version, tag, envelope, data, sealed in records:
            position += 1
            leaf = leaf_hash(position, stream, version, tag, envelope, data, sealed or b"")
            values += position, stream, version, tag, envelope, data, sealed, leaf
        _insert_events.execute(db, values)

    def _change(self, update: str, values: Sequence[Any], records: Sequence[Record] = ()) -> Tracked:
        needed = check_batch(records)
        with self._transaction() as db:
            rows = db.execute(f"{update} RETURNING {ROW}", values).fetchall()
            if not rows:
                raise Conflict("another worker has taken the cell over")
            row = Tracked(*rows[0])
            if records:
                self._write(db, row.head - len(records), records, needed)
        return row

    def _make(self, generation: str) -> None:
        for table in _TABLES:
            self._reader.execute(table)
        self._reader.execute(
            "INSERT INTO cell VALUES (1, ?, ?, ?, '', 0, 0, x'', 0, 0)", (SCHEMA, running_build(), generation)
        )

    def _check(self) -> None:
        """Refuse a foreign shape and a log whose end is not where its row says; note the build that writes."""
        try:
            # One statement, so that a commit between two looks like no damage.
            row = self._reader.execute(
                "SELECT schema, build, head, (SELECT coalesce(max(position), 0) FROM events) FROM cell"
            ).fetchone()
        except DAMAGE as exc:
            if isinstance(exc, sqlite3.OperationalError) and exc.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            raise LogDamaged(f"{self.path} is damaged: {exc}") from exc
        if row is None:
            raise LogDamaged(f"{self.path} has lost its row of the cell")
        schema, build, head, last = row
        check_schema(str(self.path), schema, build)
        check_end(str(self.path), head, last)
        if not self.read_only and build != running_build():
            self._reader.execute("UPDATE cell SET build = ?", (running_build(),))
