"""The event log in PostgreSQL: one schema per cell, positions visible in order, no retry around the commit."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from adapters.storage.postgres import Session
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
from domain.ports import Advance, Conflict, Loaded, LogDamaged, Payload, Record, Recorded, StoredSnapshot, Told, Tracked
from domain.proof import leaf_hash

_TABLES = """
CREATE TABLE {schema}.events (
    position bigint PRIMARY KEY, stream text COLLATE "C" NOT NULL, version bigint NOT NULL, tag text NOT NULL,
    envelope bytea NOT NULL, data bytea NOT NULL, sealed bytea, leaf bytea NOT NULL,
    CONSTRAINT events_stream_version UNIQUE (stream, version)
);
CREATE TABLE {schema}.payloads (digest bytea PRIMARY KEY, stream text NOT NULL, sealed bytea NOT NULL);
CREATE TABLE {schema}.snapshots (
    stream text COLLATE "C" PRIMARY KEY, version bigint NOT NULL, tag text NOT NULL, data bytea NOT NULL
);
CREATE TABLE {schema}.followed (application text PRIMARY KEY, notification_id bigint NOT NULL);
CREATE TABLE {schema}.cell (
    one integer PRIMARY KEY CHECK (one = 1), schema integer NOT NULL, build text NOT NULL, generation text NOT NULL,
    incarnation text NOT NULL, epoch bigint NOT NULL, position bigint NOT NULL, digest bytea NOT NULL,
    at_ms bigint NOT NULL, head bigint NOT NULL
);
INSERT INTO {schema}.cell VALUES (1, {number}, '{build}', '{generation}', '', 0, 0, '', 0, 0);
"""


class PostgresEventLog:
    """The port `EventLog` on a schema of a PostgreSQL database.

    `append` and reading have a connection each. A connection that is lost fails the call that meets it
    (`psycopg.OperationalError`; of a commit nobody knows then whether it took effect) and is made anew by the next.
    """

    def __init__(self, dsn: str, schema: str, *, read_only: bool = False, generation: str | None = None) -> None:
        """Open the log, or make it where there is none (`generation` then names its life; by default a random name).

        Raises:
            LogDamaged: the schema was written by a newer build, is damaged, or the server does not sync.
            ValueError: `schema` or `generation` is no plain name.
        """
        name = generation or new_generation()
        if not name.replace("-", "").isalnum():
            raise ValueError(f"generation {name!r} is not a plain name")
        self._where = f"PostgreSQL schema {schema}"
        self._writer = Session(dsn, schema, read_only=read_only)
        try:
            if not read_only:
                self._writer.make(
                    "cell",
                    _TABLES.format(schema=f'"{schema}"', number=SCHEMA, build=running_build(), generation=name),
                )
            self._check()
            self._reader = Session(dsn, schema, read_only=True)
        except BaseException:
            self._writer.close()
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
            # First of all the row's lock: whoever has it gives the next positions, and commits before anyone else does.
            head = _move(db, len(records), advance)
            _write(db, head - len(records), records, needed)
            if payloads:
                db.execute(
                    """INSERT INTO payloads SELECT * FROM unnest(%b::bytea[], %b::text[], %b::bytea[])
                    ON CONFLICT (digest) DO NOTHING""",
                    [list(column) for column in zip(*payloads, strict=True)],
                )
            # Of two snapshots of one stream only the later one: PostgreSQL changes a row once per statement.
            latest = {snapshot.stream: snapshot for snapshot in sorted(snapshots, key=lambda each: each.version)}
            if latest:
                db.execute(
                    """INSERT INTO snapshots SELECT * FROM unnest(%b::text[], %b::bigint[], %b::text[], %b::bytea[])
                    ON CONFLICT (stream) DO UPDATE
                    SET version = excluded.version, tag = excluded.tag, data = excluded.data
                    WHERE excluded.version >= snapshots.version""",
                    [list(column) for column in zip(*latest.values(), strict=True)],
                )
        return head

    def append_following(self, records: Sequence[Record], application: str, notification_id: int) -> int:
        """Append, and note in the same transaction how far another application's log has been followed.

        Raises:
            Conflict: that far, or further, has been followed already; or a version is not its stream's next one.
        """
        needed = check_batch(records)
        with self._transaction() as db:
            head = _move(db, len(records), None)
            noted = db.execute(
                """INSERT INTO followed VALUES (%s, %s) ON CONFLICT (application) DO UPDATE
                SET notification_id = excluded.notification_id
                WHERE excluded.notification_id > followed.notification_id""",
                (application, notification_id),
            )
            if noted.rowcount != 1:
                raise Conflict(f"{application} has been followed to {notification_id} or further already")
            _write(db, head - len(records), records, needed)
        return head

    def followed(self, application: str) -> int | None:
        """Return how far another application's log has been followed, or None."""
        rows = self._query("SELECT notification_id FROM followed WHERE application = %s", (application,))
        return rows[0][0] if rows else None

    def take_over(self) -> Tracked:
        """Raise the epoch; see `EventLog.take_over`."""
        return self._change("UPDATE cell SET epoch = epoch + 1", ())

    def set_incarnation(
        self, epoch: int, incarnation: str, position: int, *, records: Sequence[Record] = ()
    ) -> Tracked:
        """Begin a new life of the mail, with the events that say why; see `EventLog.set_incarnation`."""
        return self._change(
            """UPDATE cell SET incarnation = %s, position = %s, digest = '', at_ms = 0, head = head + %s
            WHERE epoch = %s""",
            (incarnation, position, len(records), epoch),
            records,
        )

    def begin_generation(self, generation: str | None = None) -> Tracked:
        """Begin a new life of the log, after a restore; the epoch rises, so that earlier writers are refused."""
        return self._change("UPDATE cell SET generation = %s, epoch = epoch + 1", (generation or new_generation(),))

    def tracked(self) -> Tracked:
        """Return the row as it is."""
        return Tracked(*self._query(f"SELECT {ROW} FROM cell", ())[0])  # noqa: S608 - constants only

    def select_many(self, streams: Collection[str], *, snapshots: bool = True) -> dict[str, Loaded]:
        """Load many streams in one go; see `EventLog.select_many`."""
        names = list(dict.fromkeys(streams))
        with self._reader.use() as db:
            rows = db.execute(
                "SELECT stream, version, tag, data FROM snapshots WHERE stream = ANY(%s)",
                (names if snapshots else [],),
                binary=True,
            ).fetchall()
            taken = {row[0]: StoredSnapshot(*row) for row in rows}
            # A commit in between is no harm: the older snapshot with all events behind it is the same state.
            rows = db.execute(
                f"""SELECT {FIELDS} FROM unnest(%b::text[], %b::bigint[]) AS asked (name, after)
                JOIN events ON stream = name AND version > after ORDER BY position""",  # noqa: S608 - constants only
                (names, [taken[name].version if name in taken else 0 for name in names]),
                binary=True,
            ).fetchall()
        events: defaultdict[str, list[Recorded]] = defaultdict(list)
        for event in map(Recorded._make, rows):
            events[event.stream].append(event)
        return {
            name: Loaded(taken.get(name), events.get(name, ())) for name in names if name in events or name in taken
        }

    def select(
        self, stream: str, *, after: int = 0, upto: int | None = None, desc: bool = False, limit: int | None = None
    ) -> list[Recorded]:
        """Return one stream's events with `after` < version <= `upto`, by version, from either end."""
        order = "DESC" if desc else "ASC"
        rows = self._query(
            f"""SELECT {FIELDS} FROM events WHERE stream = %s AND version > %s AND version <= %s
            ORDER BY version {order} LIMIT %s""",  # noqa: S608 - constants only
            (stream, after, (1 << 62) if upto is None else upto, limit),
        )
        return list(map(Recorded._make, rows))

    def read(self, after: int, limit: int) -> list[Recorded]:
        """Return up to `limit` events behind `after`.

        Raises:
            LogDamaged: positions are missing.
        """
        return list(map(Recorded._make, self._page(FIELDS, after, limit)))

    def told(self, after: int, limit: int) -> list[Told]:
        """Return what anyone may be told of up to `limit` events behind `after`.

        Raises:
            LogDamaged: positions are missing.
        """
        return self._page(TOLD, after, limit)

    def payloads(self, digests: Collection[bytes]) -> dict[bytes, Payload]:
        """Return the payloads with these digests."""
        rows = self._query(
            "SELECT digest, stream, sealed FROM payloads WHERE digest = ANY(%b::bytea[])", (list(digests),)
        )
        return {row[0]: Payload(*row) for row in rows}

    def close(self) -> None:
        """Release the connections."""
        self._writer.close()
        self._reader.close()

    def _page(self, fields: str, after: int, limit: int) -> list[Any]:
        rows = self._query(
            f"SELECT {fields} FROM events WHERE position > %s ORDER BY position LIMIT %s",  # noqa: S608 - constants only
            (after, limit),
        )
        check_page(self._where, after, rows)
        return rows

    def _query(self, query: str, values: Sequence[Any]) -> list[Any]:
        with self._reader.use() as db:
            return db.execute(query.encode(), values, binary=True).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            with self._writer.transaction() as db:
                yield db
        except psycopg.errors.UniqueViolation as exc:
            if exc.diag.constraint_name == "events_stream_version":
                raise Conflict(f"a version exists already ({exc.diag.message_detail})") from exc
            raise LogDamaged(f"{self._where} holds events behind its head ({exc.diag.message_detail})") from exc
        except psycopg.errors.ReadOnlySqlTransaction as exc:
            raise Conflict(f"{self._where} was opened for reading only") from exc

    def _change(self, update: str, values: Sequence[Any], records: Sequence[Record] = ()) -> Tracked:
        needed = check_batch(records)
        with self._transaction() as db:
            rows = db.execute(f"{update} RETURNING {ROW}".encode(), values, binary=True).fetchall()
            if not rows:
                raise Conflict("another worker has taken the cell over")
            row = Tracked(*rows[0])
            _write(db, row.head - len(records), records, needed)
        return row

    def _check(self) -> None:
        """Refuse a foreign shape and a log whose end is not where its row says."""
        with self._writer.use() as db:
            try:
                # One statement, so that a commit between two looks like no damage.
                rows = db.execute(
                    "SELECT schema, build, head, (SELECT coalesce(max(position), 0) FROM events) FROM cell"
                ).fetchall()
            except psycopg.errors.UndefinedTable as exc:
                raise LogDamaged(f"{self._where} holds no log") from exc
        if not rows:
            raise LogDamaged(f"{self._where} has lost its row of the cell")
        schema, build, head, last = rows[0]
        check_schema(self._where, schema, build)
        check_end(self._where, head, last)


def _move(db: psycopg.Connection[Any], events: int, advance: Advance | None) -> int:
    """Lock the cell's row, move the head by `events` and the mail position as `advance` says; return the new head."""
    if advance is None:
        rows = db.execute("UPDATE cell SET head = head + %s RETURNING head", (events,)).fetchall()
    else:
        rows = db.execute(
            """UPDATE cell SET head = head + %s, position = %s, digest = %s, at_ms = %s
            WHERE incarnation = %s AND epoch = %s AND position = %s RETURNING head""",
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
    db: psycopg.Connection[Any], head: int, records: Sequence[Record], needed: Sequence[tuple[str, int]]
) -> None:
    if not records:
        return
    if needed:
        ((found,),) = db.execute(
            """SELECT count(*) FROM unnest(%b::text[], %b::bigint[]) AS asked (name, needed)
            JOIN events ON stream = name AND version = needed""",
            ([stream for stream, _ in needed], [version for _, version in needed]),
        ).fetchall()
        check_needed(needed, found)
    positions = range(head + 1, head + 1 + len(records))
    leaves = [leaf_hash(at, *record[:5], record[5] or b"") for at, record in zip(positions, records, strict=True)]
    db.execute(
        """INSERT INTO events SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bigint[], %b::text[], %b::bytea[],
        %b::bytea[], %b::bytea[], %b::bytea[])""",
        (list(positions), *map(list, zip(*records, strict=True)), leaves),
    )
