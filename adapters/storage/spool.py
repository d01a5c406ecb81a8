"""The spool: input too large for the broker waits here, encrypted, while a reference travels.

An entry lives at least as long as the mail that names it: mail may be read again until it is purged.
"""

import hmac
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from threading import Lock

from adapters.storage.sealing import open_sealed, seal
from adapters.storage.sqlite import opened, transaction
from adapters.storage.vault import DestroyingVault, KeysHeld

BYTES_MAX = 32 << 20
"""Largest input taken: 32 MB."""
_TABLE = """CREATE TABLE spooled (
    ref TEXT NOT NULL PRIMARY KEY, digest BLOB NOT NULL UNIQUE, put_ms INTEGER NOT NULL, sealed BLOB NOT NULL
) STRICT"""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Spool:
    """Large input by reference. Each one has a key of its own in the vault, which goes with it.

    Edges put, the worker gets; any number of threads and processes may use it. What is put again while it is still
    kept is not kept twice. References are never used again, because a destroyed key is never made again.
    """

    def __init__(self, path: Path, vault: DestroyingVault, *, now_ms: Callable[[], int] = _now_ms) -> None:
        """Open the spool, or make it where there is none.

        Raises:
            LogDamaged: the file is no spool.
        """
        self._vault = vault
        self._now_ms = now_ms
        self._lock = Lock()
        self._db = opened(path, "spooled", (_TABLE,), secure_delete=True)

    def put(self, raw: bytes) -> str:
        """Keep `raw`, durably, and return its reference; the one it has already, where it is kept already.

        Raises:
            ValueError: it is larger than `BYTES_MAX`.
        """
        if len(raw) > BYTES_MAX:
            raise ValueError(
                f"the input has {len(raw):,} bytes; at most {BYTES_MAX:,} (32 MB) are taken: send it in several parts"
            )
        # Keyed: a plain digest would tell whoever has the file which input it was.
        digest = hmac.digest(self._vault.digest_key(), raw, "sha256")
        with self._lock, transaction(self._db):
            kept = self._db.execute("SELECT ref FROM spooled WHERE digest = ?", (digest,)).fetchone()
            if kept is not None and self._vault.keys([kept[0]], create=False):
                self._db.execute("UPDATE spooled SET put_ms = max(put_ms, ?) WHERE ref = ?", (self._now_ms(), kept[0]))
                return str(kept[0])
            ref = f"spool-{token_hex(16)}"
            sealed = seal(self._vault.keys([ref], create=True)[ref], ref, raw)
            self._db.execute("DELETE FROM spooled WHERE digest = ?", (digest,))
            values = (ref, digest, self._now_ms(), sealed)
            self._db.execute("INSERT INTO spooled (ref, digest, put_ms, sealed) VALUES (?, ?, ?, ?)", values)
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
        self._destroy([ref])

    def drop_before(self, put_ms: int) -> int:
        """Forget all that was put last before this time (UTC ms), with the keys; return how many entries it was.

        Call it with a time before which no mail is left: mail that names an entry is sent after the entry was put.
        """
        with self._lock, transaction(self._db):
            refs = [ref for (ref,) in self._db.execute("SELECT ref FROM spooled WHERE put_ms < ?", (put_ms,))]
            self._db.execute("DELETE FROM spooled WHERE put_ms < ?", (put_ms,))
        self._destroy(refs)
        return len(refs)

    def _destroy(self, refs: Sequence[str]) -> None:
        # What they opened is gone, too: their bytes may wait for the next destroying, or the next start.
        with suppress(KeysHeld):
            self._vault.destroy(refs)

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()
