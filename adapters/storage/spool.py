"""The spool: input too large for the broker waits here, encrypted, while a reference travels."""

from pathlib import Path
from secrets import token_hex
from threading import Lock

from adapters.storage.sealing import open_sealed, seal
from adapters.storage.sqlite import connect, make_tables, transaction
from adapters.storage.vault import DestroyingVault

BYTES_MAX = 32 << 20
"""Largest input taken: 32 MB."""


class Spool:
    """Large input by reference. Each one has a key of its own in the vault, which goes with it.

    Edges put, the worker gets and drops; any number of threads and processes may use it.
    """

    def __init__(self, path: Path, vault: DestroyingVault) -> None:
        """Open the spool, or make it where there is none.

        Raises:
            LogDamaged: the file is no spool.
        """
        self._vault = vault
        self._lock = Lock()
        self._db = connect(path, secure_delete=True)
        try:
            make_tables(self._db, path, "spooled", self._make, read_only=False)
        except BaseException:
            self._db.close()
            raise

    def put(self, raw: bytes) -> str:
        """Keep `raw`, durably, and return its reference.

        Raises:
            ValueError: it is larger than `BYTES_MAX`.
        """
        if len(raw) > BYTES_MAX:
            raise ValueError(
                f"the input has {len(raw):,} bytes; at most {BYTES_MAX:,} (32 MB) are taken: send it in several parts"
            )
        ref = f"spool-{token_hex(16)}"
        sealed = seal(self._vault.keys([ref], create=True)[ref], ref, raw)
        with self._lock, transaction(self._db):
            self._db.execute("INSERT INTO spooled (ref, sealed) VALUES (?, ?)", (ref, sealed))
        return ref

    def get(self, ref: str) -> bytes:
        """Return what was put.

        Raises:
            KeyError: nothing is kept under this reference (never was, or it was dropped).
            SealBroken: the bytes on the disk were changed.
        """
        with self._lock:
            row = self._db.execute("SELECT sealed FROM spooled WHERE ref = ?", (ref,)).fetchone()
        keys = self._vault.keys([ref], create=False)
        if row is None or ref not in keys:
            raise KeyError(ref)
        return open_sealed(keys[ref], ref, row[0])

    def drop(self, ref: str) -> None:
        """Forget what was put, and its key. Harmless when done twice."""
        with self._lock, transaction(self._db):
            self._db.execute("DELETE FROM spooled WHERE ref = ?", (ref,))
        self._vault.destroy([ref])

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()

    def _make(self) -> None:
        self._db.execute("CREATE TABLE spooled (ref TEXT NOT NULL PRIMARY KEY, sealed BLOB NOT NULL) STRICT")
