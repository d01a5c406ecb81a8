"""Raw reading of a log in PostgreSQL. The server itself keeps its indexes and text right (`data_checksums`)."""

from collections.abc import Collection
from typing import Any

import psycopg
from psycopg import sql

from adapters.storage.scan import Ends, Misplaced, Row, StoredPayload, Unreadable
from adapters.storage.schema import FIELDS

STREAMS_ENDING = """WITH RECURSIVE shop (first) AS (
        SELECT (SELECT stream FROM events WHERE stream >= 'order-' AND stream < 'order.' ORDER BY stream LIMIT 1)
    UNION ALL
        SELECT (
            SELECT stream FROM events
            WHERE stream >= regexp_replace(first, ':[^:]*$', '') || ';' AND stream < 'order.' ORDER BY stream LIMIT 1
        ) FROM shop WHERE first IS NOT NULL
    ), named (stream) AS (SELECT regexp_replace(first, ':[^:]*$', '') || %s FROM shop WHERE first IS NOT NULL)
    SELECT stream FROM named
    WHERE (SELECT 1 FROM events WHERE events.stream = named.stream LIMIT 1) IS NOT NULL LIMIT %s"""
"""Orders by the end of their key: from shop to shop through the index, not from order to order (`;` is what follows the
last `:` of a key), in one round trip. A step of it reads one entry, and so does each look for the order itself."""


class PostgresScan:
    """Raw reading of one schema, see `Scan`."""

    def __init__(self, dsn: str, schema: str) -> None:
        """Connect, for reading only.

        Raises:
            Unreadable: there is no such log.
        """
        self._where = f"PostgreSQL schema {schema}"
        self._db: psycopg.Connection[Any] = psycopg.connect(dsn, autocommit=True, connect_timeout=10)
        self._db.execute("SET default_transaction_read_only = on")
        self._db.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
        if self._ask("SELECT to_regclass('events')")[0][0] is None:
            self._db.close()
            raise Unreadable(f"{self._where} holds no log")

    def ends(self) -> Ends:
        """Return the tracked row and the ends of the events table."""
        rows = self._ask(
            """SELECT (SELECT count(*) FROM cell), schema, generation, incarnation, epoch, position, digest, at_ms,
            head, (SELECT coalesce(min(position), 0) FROM events), (SELECT coalesce(max(position), 0) FROM events)
            FROM (SELECT 1) AS one LEFT JOIN cell ON true"""
        )
        return Ends(*rows[0])

    def rows(self, after: int, upto: int) -> list[Row]:
        """Return events as they stand."""
        return self._ask(
            f"SELECT {FIELDS} FROM events WHERE position > %s AND position <= %s ORDER BY position",  # noqa: S608 - constants only
            after,
            upto,
        )

    def outside(self, head: int, limit: int) -> list[tuple[int, str, int]]:
        """Return events where none should be."""
        return self._ask(
            "SELECT position, stream, version FROM events WHERE position < 1 OR position > %s LIMIT %s", head, limit
        )

    def misplaced(self, upto: int, limit: int) -> list[Misplaced]:
        """Return events that break their stream's order."""
        rows = self._ask(
            """SELECT * FROM (
                SELECT stream, version, position,
                lag(version, 1, 0::bigint) OVER same AS version_before,
                lag(position, 1, 0::bigint) OVER same AS position_before
                FROM events WINDOW same AS (PARTITION BY stream ORDER BY version)
            ) AS each WHERE position <= %s AND (version <> version_before + 1 OR position <= position_before)
            LIMIT %s""",
            upto,
            limit,
        )
        return [Misplaced(*row) for row in rows]

    def payloads(self, after: Any, limit: int) -> list[StoredPayload]:
        """Return payload rows, by digest."""
        rows = self._ask(
            "SELECT digest, digest, stream, sealed FROM payloads WHERE digest > %b ORDER BY digest LIMIT %s",
            after or b"",
            limit,
        )
        return [StoredPayload(*row) for row in rows]

    def payload_streams(self, digests: Collection[bytes]) -> dict[bytes, str]:
        """Return whose these payloads are."""
        return dict(self._ask("SELECT digest, stream FROM payloads WHERE digest = ANY(%b::bytea[])", list(digests)))

    def orphans(self, limit: int) -> list[str]:
        """Return streams that have payloads and no events."""
        rows = self._ask(
            """SELECT DISTINCT stream FROM payloads
            WHERE NOT EXISTS (SELECT 1 FROM events WHERE events.stream = payloads.stream) LIMIT %s""",
            limit,
        )
        return [stream for (stream,) in rows]

    def has_stream(self, stream: str) -> bool:
        """Tell whether there is any event of a stream."""
        return bool(self._ask("SELECT 1 FROM events WHERE stream = %s LIMIT 1", stream))

    def streams_ending(self, ending: str, limit: int) -> list[str]:
        """Return streams of orders whose key ends so."""
        return sorted(stream for (stream,) in self._ask(STREAMS_ENDING, ending, limit))

    def snapshots(self) -> list[tuple[str, int, int]]:
        """Return snapshots beside the ends of their streams."""
        return self._ask(
            """SELECT stream, version, (SELECT coalesce(max(version), 0) FROM events WHERE events.stream = s.stream)
            FROM snapshots AS s ORDER BY stream"""
        )

    def damage(self, *, full: bool) -> list[str]:
        """Return nothing: the server checks its pages itself; `pg_amcheck` checks its indexes."""
        del full
        return []

    def close(self) -> None:
        """Release the connection."""
        self._db.close()

    def _ask(self, statement: str, *values: object) -> list[Any]:
        try:
            return self._db.execute(statement.encode(), values, binary=True).fetchall()
        except psycopg.Error as exc:
            raise Unreadable(f"{self._where}: {exc}") from exc
