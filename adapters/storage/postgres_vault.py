"""The vault in PostgreSQL, in a schema of its own."""

import re
from collections.abc import Sequence
from secrets import token_bytes, token_hex
from typing import Any

import psycopg

from adapters.storage.postgres import Session
from adapters.storage.schema import SCHEMA, check_schema, running_build
from adapters.storage.sealing import KEY_BYTES
from adapters.storage.vault import CACHED_KEYS, CachedVault, KeysHeld, KeysMissing

REWRITTEN_MAX = 64 << 20
"""The table is written anew at each destroying up to this size (some 300,000 keys, well under a second); nobody gets a
key meanwhile, and who waits gives up after two seconds. A larger one is written anew when nobody serves."""

_TABLES = """
CREATE TABLE {schema}.keys (stream text COLLATE "C" PRIMARY KEY, key bytea);
ALTER TABLE {schema}.keys ALTER COLUMN key SET STATISTICS 0;
CREATE TABLE {schema}.vault (
    schema integer NOT NULL, build text NOT NULL, digest_key bytea NOT NULL, destroyed bigint NOT NULL,
    wiped bigint NOT NULL
);
INSERT INTO {schema}.vault VALUES ({number}, '{build}', '\\x{digest_key}', 0, 0);
"""


class PostgresVault(CachedVault):
    """Keys in a schema of a PostgreSQL database; any number of threads and processes may use it.

    A row that is changed stays in its page beside the new one, and its bytes stay there when it is vacuumed away. So
    the table is written anew (`VACUUM FULL`) where keys were destroyed; `wiped` is the number of the last destroying
    after which it was. No statistics are taken of the keys: ANALYZE would keep some of them as samples. What the
    server's own WAL, its archive or base backups hold is theirs to expire.
    """

    def __init__(self, dsn: str, schema: str, *, make: bool = True, cached_keys: int = CACHED_KEYS) -> None:
        """Open the vault; with `make`, make it where there is none.

        Raises:
            KeysMissing: there is none, and none is to be made.
            LogDamaged: it was written by a newer build, or the server does not sync its commits.
            ValueError: `schema` is no plain name.
        """
        super().__init__(cached_keys)
        self._session = Session(dsn, schema)
        try:
            if make:
                tables = _TABLES.format(
                    schema=f'"{schema}"', number=SCHEMA, build=running_build(), digest_key=token_hex(32)
                )
                self._session.make("vault", tables)
            elif not self._session.has("vault"):
                raise KeysMissing(f"the database has no schema {schema} with keys")  # noqa: TRY301  closes the session
            with self._session.use() as db:
                ((number, build, digest_key, marked),) = db.execute(
                    "SELECT schema, build, digest_key, to_jsonb(vault) ? 'wiped' FROM vault"
                ).fetchall()
                if not marked:  # made by an earlier build
                    self._renew(db)
            check_schema(f"PostgreSQL schema {schema}", number, build)
            self._digest_key: bytes = digest_key
        except BaseException:
            self._session.close()
            raise

    def _renew(self, db: psycopg.Connection[Any]) -> None:
        """Bring the tables of an earlier build to this one's shape, without the samples that ANALYZE took of keys."""
        with db.transaction():
            db.execute("ALTER TABLE keys ALTER COLUMN key SET STATISTICS 0")
            db.execute("ALTER TABLE keys ALTER COLUMN key TYPE bytea")  # this drops the statistics of the column
            db.execute("ALTER TABLE vault ADD COLUMN IF NOT EXISTS wiped bigint NOT NULL DEFAULT 0")

    def digest_key(self) -> bytes:
        """Return the cell's key for keyed digests."""
        return self._digest_key

    def close(self) -> None:
        """Release the connection, and the keys at hand."""
        with self._lock:
            self._cache.clear()
            self._session.close()

    def _changes(self) -> int:
        with self._session.use() as db:
            return int(db.execute("SELECT destroyed FROM vault").fetchall()[0][0])

    def _load(self, streams: Sequence[str], *, create: bool) -> dict[str, bytes]:
        names = list(streams)
        look_up = "SELECT stream, key FROM keys WHERE stream = ANY(%s)"
        with self._session.use() as db:
            found = dict(db.execute(look_up, (names,), binary=True).fetchall())
        if create and len(found) < len(names):
            # In one order for all: two writers that make the same keys in different orders would wait for each other.
            absent = sorted(name for name in names if name not in found)
            fresh = token_bytes(KEY_BYTES * len(absent))
            made = [fresh[at : at + KEY_BYTES] for at in range(0, len(fresh), KEY_BYTES)]
            with self._session.transaction() as db:
                db.execute(
                    "INSERT INTO keys SELECT * FROM unnest(%b::text[], %b::bytea[]) ON CONFLICT (stream) DO NOTHING",
                    (absent, made),
                )
                # Read back: another process may have made some of them in between, and its keys hold.
                found.update(db.execute(look_up, (absent,), binary=True).fetchall())
        return {stream: key for stream, key in found.items() if key is not None}

    def _destroy(self, streams: Sequence[str]) -> int:
        names = sorted(streams)
        with self._session.transaction() as db:
            ((there,),) = db.execute(
                "SELECT count(*) FROM keys WHERE key IS NOT NULL AND stream = ANY(%s)", (names,)
            ).fetchall()
            db.execute(
                """INSERT INTO keys SELECT *, NULL FROM unnest(%s::text[])
                ON CONFLICT (stream) DO UPDATE SET key = NULL""",
                (names,),
            )
            db.execute("UPDATE vault SET destroyed = destroyed + 1")
        self._wipe(REWRITTEN_MAX)
        return int(there)

    def wipe(self) -> None:
        """Write the table anew, however large, if keys were destroyed since it last was; see `DestroyingVault`."""
        with self._lock:
            self._wipe(None)

    def _wipe(self, bytes_max: int | None) -> None:
        with self._session.use() as db:
            ((destroyed, wiped, size),) = db.execute(
                "SELECT destroyed, wiped, pg_total_relation_size('keys') FROM vault"
            ).fetchall()
            if destroyed == wiped:
                return
            if bytes_max is not None and size > bytes_max:
                db.execute("VACUUM keys")
                return
            left: list[int] = []

            def heard(notice: psycopg.errors.Diagnostic) -> None:
                # "… found 3 removable, 4 nonremovable row versions", "0 dead row versions cannot be removed yet."
                number = re.search(r"\d+", notice.message_detail or "")
                left.append(int(number[0]) if number else 0)

            db.add_notice_handler(heard)
            try:
                db.execute("VACUUM (FULL, VERBOSE) keys")
            except psycopg.errors.LockNotAvailable as exc:
                raise KeysHeld(
                    "somebody (a dump, a long transaction) holds the table of keys locked; try again"
                ) from exc
            finally:
                db.remove_notice_handler(heard)
            if any(left):
                raise KeysHeld(
                    f"{sum(left)} old rows of the table of keys are kept by an older transaction (open or prepared), "
                    "replica or replication slot (pg_stat_activity.backend_xmin, pg_replication_slots.xmin): end it, "
                    "then try again"
                )
            db.execute("UPDATE vault SET wiped = greatest(wiped, %s)", (destroyed,))
