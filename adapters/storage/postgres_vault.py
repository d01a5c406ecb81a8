"""The vault in PostgreSQL, in a schema of its own."""

from collections.abc import Sequence
from secrets import token_bytes, token_hex

from adapters.storage.postgres import Session
from adapters.storage.schema import SCHEMA, check_schema, running_build
from adapters.storage.sealing import KEY_BYTES
from adapters.storage.vault import CACHED_KEYS, CachedVault, KeysMissing

_TABLES = """
CREATE TABLE {schema}.keys (stream text COLLATE "C" PRIMARY KEY, key bytea);
CREATE TABLE {schema}.vault (
    schema integer NOT NULL, build text NOT NULL, digest_key bytea NOT NULL, destroyed bigint NOT NULL
);
INSERT INTO {schema}.vault VALUES ({number}, '{build}', '\\x{digest_key}', 0);
"""


class PostgresVault(CachedVault):
    """Keys in a schema of a PostgreSQL database; any number of threads and processes may use it.

    Destroyed keys are vacuumed away at once. What the server's own WAL archive or base backups hold
    is theirs to expire.
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
                ((number, build, digest_key),) = db.execute("SELECT schema, build, digest_key FROM vault").fetchall()
            check_schema(f"PostgreSQL schema {schema}", number, build)
            self._digest_key: bytes = digest_key
        except BaseException:
            self._session.close()
            raise

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
        with self._session.use() as db:
            db.execute("VACUUM keys")
        return int(there)
