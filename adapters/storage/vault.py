"""Vaults: data keys in a store of their own. A destroyed key leaves a tombstone and is never made again."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256, sha512
from pathlib import Path
from secrets import token_bytes
from threading import Lock
from typing import Protocol

from adapters.storage.schema import SCHEMA, check_schema, running_build
from adapters.storage.sealing import KEY_BYTES
from adapters.storage.sqlite import Rows, connect, make_tables, transaction
from domain.ports import LogDamaged, Vault

CACHED_KEYS = 20_000
"""Keys kept at hand, some 6 MB."""


class KeysMissing(LogDamaged):
    """There is no store of keys where one must be."""


class KeysHeld(Exception):
    """Keys are destroyed, and somebody keeps their old bytes in the store for now. The message says what to do."""


class DestroyingVault(Vault, Protocol):
    """A vault that can forget, and that holds the cell's key for keyed digests."""

    def destroy(self, streams: Iterable[str]) -> int:
        """Destroy these streams' keys, durably and for ever; return how many there were.

        Afterwards `keys` leaves these streams out, also with `create`, and also those that never had a key.

        Raises:
            KeysHeld: that is so, but their bytes could not be taken out of the store yet: destroy again.
        """
        ...

    def wipe(self) -> None:
        """Take out of the store what destroying left of keys' bytes, however long it takes; for when nobody serves.

        Raises:
            KeysHeld: it cannot be done now.
        """
        ...

    def digest_key(self) -> bytes:
        """Return the cell's 32-byte key for keyed digests (search by customer); made with the vault."""
        ...


class CachedVault(ABC):
    """What all vaults share: a bounded cache in front of the store, emptied when another process destroyed a key."""

    def __init__(self, cached_keys: int = CACHED_KEYS) -> None:
        """Begin with an empty cache of at most `cached_keys`."""
        self._lock = Lock()
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached_keys = cached_keys
        self._mark: int | None = None

    def keys(self, streams: Iterable[str], *, create: bool) -> Mapping[str, bytes]:
        """Return these streams' keys; see `Vault.keys`. Streams whose key was destroyed are always left out."""
        with self._lock:
            mark = self._changes()
            if mark != self._mark:
                self._cache.clear()
                self._mark = mark
            cache = self._cache
            answer: dict[str, bytes] = {}
            missing: list[str] = []
            for stream in dict.fromkeys(streams):
                key = cache.get(stream)
                if key is None:
                    missing.append(stream)
                else:
                    cache.move_to_end(stream)
                    answer[stream] = key
            if missing:
                found = self._load(missing, create=create)
                cache.update(found)
                answer.update(found)
                while len(cache) > self._cached_keys:
                    cache.popitem(last=False)
            return answer

    def destroy(self, streams: Iterable[str]) -> int:
        """Destroy keys; see `DestroyingVault.destroy`."""
        names = list(dict.fromkeys(streams))
        with self._lock:
            for name in names:
                self._cache.pop(name, None)
            return self._destroy(names) if names else 0

    def wipe(self) -> None:  # noqa: B027  most stores need none
        """Do nothing: destroying leaves nothing."""

    @abstractmethod
    def _changes(self) -> int:
        """Return a number that changes when another process may have destroyed a key."""

    @abstractmethod
    def _load(self, streams: Sequence[str], *, create: bool) -> dict[str, bytes]:
        """Find keys in the store, and make those that are not there."""

    @abstractmethod
    def _destroy(self, streams: Sequence[str]) -> int:
        """Replace keys by tombstones."""


class SqliteVault(CachedVault):
    """Keys in a SQLite file. Any number of threads and processes may use it."""

    _insert = Rows("INSERT INTO keys (stream, key) VALUES", 2, "ON CONFLICT (stream) DO NOTHING")
    _find = Rows("SELECT stream, key FROM keys WHERE stream IN (VALUES", 1, ")")
    _bury = Rows("INSERT INTO keys (stream, key) VALUES", 2, "ON CONFLICT (stream) DO UPDATE SET key = NULL")

    def __init__(self, path: Path, *, make: bool = True, cached_keys: int = CACHED_KEYS) -> None:
        """Open the vault; with `make`, make it where there is none.

        Raises:
            KeysMissing: there is none, and none is to be made.
            LogDamaged: the file is no vault, or was written by a newer build.
        """
        super().__init__(cached_keys)
        if not make and not path.exists():
            raise KeysMissing(f"{path} does not exist")
        self.path = path
        # Deleted content is overwritten with zeros.
        self._db = connect(path, secure_delete=True)
        try:
            make_tables(self._db, path, "vault", self._make, read_only=False)
            schema, build, digest_key = self._db.execute("SELECT schema, build, digest_key FROM vault").fetchone()
            check_schema(str(path), schema, build)
            self._digest_key: bytes = digest_key
        except BaseException:
            self._db.close()
            raise
        path.chmod(0o600)

    def digest_key(self) -> bytes:
        """Return the cell's key for keyed digests."""
        return self._digest_key

    def wipe(self) -> None:
        """Write the file anew, if keys were destroyed and it was not since; see `DestroyingVault`."""
        with self._lock:
            if self._db.execute("PRAGMA user_version").fetchone()[0]:
                self._wipe()

    def close(self) -> None:
        """Release the file, and the keys at hand."""
        with self._lock:
            self._cache.clear()
            self._db.close()

    def _make(self) -> None:
        self._db.execute("CREATE TABLE keys (stream TEXT NOT NULL PRIMARY KEY, key BLOB) STRICT, WITHOUT ROWID")
        self._db.execute(
            "CREATE TABLE vault (schema INTEGER NOT NULL, build TEXT NOT NULL, digest_key BLOB NOT NULL) STRICT"
        )
        self._db.execute("INSERT INTO vault VALUES (?, ?, ?)", (SCHEMA, running_build(), token_bytes(32)))

    def _changes(self) -> int:
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def _load(self, streams: Sequence[str], *, create: bool) -> dict[str, bytes]:
        found = dict(self._find.query(self._db, streams))
        if create and len(found) < len(streams):
            absent = [stream for stream in streams if stream not in found]
            chance = token_bytes(KEY_BYTES * len(absent))
            fresh = {stream: chance[at * KEY_BYTES : (at + 1) * KEY_BYTES] for at, stream in enumerate(absent)}
            with transaction(self._db):
                made = self._insert.execute(self._db, [value for pair in fresh.items() for value in pair])
                # Where another process made some of them in between, its keys hold.
                found.update(fresh if made == len(absent) else self._find.query(self._db, absent))
        return {stream: key for stream, key in found.items() if key is not None}

    def _destroy(self, streams: Sequence[str]) -> int:
        with transaction(self._db):
            there = sum(key is not None for _, key in self._find.query(self._db, streams))
            self._bury.execute(self._db, [value for stream in streams for value in (stream, None)])
            if there:
                self._db.execute("PRAGMA user_version = 1")
        self._wipe()
        return there

    def _wipe(self) -> None:
        """Leave no copy of a destroyed key in the file, also where a kill came between the two.

        Deleted rows are overwritten, but pages that were split before may hold a row a second time, in bytes they do
        not use; so the file is written anew. What is not known to be wiped is marked in its `user_version`.
        """
        if self._db.execute("PRAGMA user_version").fetchone()[0]:
            self._db.execute("VACUUM")
            self._checkpoint()
            self._db.execute("PRAGMA user_version = 0")
        self._checkpoint()

    def _checkpoint(self) -> None:
        # Old pages in the WAL would still show the keys.
        busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise KeysHeld(f"a reader keeps old pages of {self.path} in its WAL: end it, then try again")


class MemoryVault(CachedVault):
    """Keys in memory. With a seed the same stream gets the same key in every run, for simulation."""

    def __init__(self, seed: bytes | None = None) -> None:
        """Begin empty."""
        super().__init__(0)
        self._seed = token_bytes(32) if seed is None else seed
        self._keys: dict[str, bytes | None] = {}

    def digest_key(self) -> bytes:
        """Return the key for keyed digests."""
        return sha256(b"digest key" + self._seed).digest()

    def close(self) -> None:
        """Do nothing: a simulation goes on with the same keys."""

    def _changes(self) -> int:
        return 0

    def _load(self, streams: Sequence[str], *, create: bool) -> dict[str, bytes]:
        if create:
            for stream in streams:
                if stream not in self._keys:
                    self._keys[stream] = sha512(len(self._seed).to_bytes(4) + self._seed + stream.encode()).digest()
        return {stream: key for stream in streams if (key := self._keys.get(stream)) is not None}

    def _destroy(self, streams: Sequence[str]) -> int:
        there = sum(self._keys.get(stream) is not None for stream in streams)
        self._keys.update(dict.fromkeys(streams))
        return there
