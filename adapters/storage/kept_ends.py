"""The map of stream ends beside the checkpoints: what sealing reads of it does not grow with the log.

One SQLite file for each life of the log, `.ends`, with a row for each stream, by key, and one for each bucket of keys.
A stream that has new events costs the rows of its bucket. The file is not believed: a bucket's rows must have the
bucket's hash, and all buckets together a signed root. Where they do not, it is written anew from the log.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from adapters.storage.durable import opened
from domain.stream_ends import (
    BUCKET_BITS,
    NOTHING,
    Buckets,
    End,
    Leaf,
    Part,
    Proof,
    bucket_of,
    key_of,
    keys_of,
    leads_to,
    leaf_of,
    part_of,
)

_SCHEMA = """
CREATE TABLE ends (key BLOB PRIMARY KEY, position INTEGER, version INTEGER, leaf BLOB) WITHOUT ROWID;
CREATE TABLE buckets (bucket INTEGER PRIMARY KEY, streams INTEGER, hash BLOB);
CREATE TABLE upto (position INTEGER);
INSERT INTO upto VALUES (0);
"""


class EndsDamaged(Exception):
    """The file is not what a signed root says: it is to be written anew."""


class VersionMissing(Exception):
    """A stream's versions do not count 1, 2, 3 …: which, and where."""


class Run(NamedTuple):
    """New events of one stream."""

    first: int
    """Version of the first one."""
    end: End


class Proven(NamedTuple):
    """Where the bits of a stream's key lead."""

    proof: Proof
    end: End | None
    """What stands there: the stream's own end, or that of the stream whose key is there; None = nothing."""


class KeptEnds:
    """The map of one life of a log. What is put in is there for good with `commit` only."""

    def __init__(self, path: Path, *, write: bool) -> None:
        """Open the file; it is made where there is none and `write` is asked for.

        Raises:
            EndsDamaged: it is not there, and nothing is to be written; or it cannot be read.
        """
        self.path = path
        self.rows_read = 0
        self.rows_written = 0
        with _as_damage(path):
            self._db = _opened(path, write=write)
            try:
                self._load()
            except BaseException:
                self._db.close()
                raise

    def _load(self) -> None:
        db = self._db
        # A power cut may spoil it: that is found like other damage, and waiting for the disk would cost more often.
        db.execute("PRAGMA synchronous = OFF")
        if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
            db.executescript(_SCHEMA)
        # One moment for all that is read, and one step for all that is written.
        db.execute("BEGIN")
        ((position,),) = db.execute("SELECT position FROM upto").fetchall()
        rows = db.execute("SELECT bucket, streams, hash FROM buckets").fetchall()
        self.rows_read += len(rows)
        self._buckets = Buckets({number: Part(streams, hash_) for number, streams, hash_ in rows})
        self.position = int(position)
        """Events that the map stands for."""
        self.root = self._buckets.root

    def put(self, runs: Mapping[str, Run], position: int) -> None:
        """Take the new events of streams, up to a position.

        Raises:
            EndsDamaged: what is kept of a bucket is not what its hash says.
            VersionMissing: an event does not follow its stream's last one.
        """
        by_bucket: dict[int, list[tuple[bytes, str]]] = {}
        for stream in runs:
            key = key_of(stream)
            by_bucket.setdefault(bucket_of(key), []).append((key, stream))
        rows: list[tuple[bytes, int, int, bytes]] = []
        changed: dict[int, Part] = {}
        with _as_damage(self.path):
            for bucket in sorted(by_bucket):
                ends = self._bucket(bucket)
                for key, stream in by_bucket[bucket]:
                    first, end = runs[stream]
                    known = ends[key].version if key in ends else 0
                    if first != known + 1:
                        raise VersionMissing(f"{stream} goes from version {known} to version {first}")
                    ends[key] = end
                    rows.append((key, *end))
                changed[bucket] = part_of(_leaves(ends), BUCKET_BITS)
            rows.sort()
            self._db.executemany("INSERT OR REPLACE INTO ends VALUES (?, ?, ?, ?)", rows)
            self._db.executemany(
                "INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)", [(bucket, *part) for bucket, part in changed.items()]
            )
            self._db.execute("UPDATE upto SET position = ?", (position,))
        self.rows_written += len(rows) + len(changed)
        self._buckets.put(changed)
        self.position, self.root = position, self._buckets.root

    def prove(self, stream: str) -> Proven:
        """Return the proof of where a stream ends, or that there is none.

        Raises:
            EndsDamaged: what is kept of it is not what the root says.
        """
        key = key_of(stream)
        with _as_damage(self.path):
            proof = self._buckets.prove(key, lambda bucket: _leaves(self._bucket(bucket)))
            end = None if proof.key is None else self._bucket(bucket_of(proof.key))[proof.key]
        there = NOTHING.hash if end is None or proof.key is None else leaf_of(proof.key, end)
        if leads_to(key, there, proof.path) != self.root:
            raise EndsDamaged(f"{self.path}: what leads to {stream} is not what its root says")
        return Proven(proof, end)

    def commit(self) -> None:
        """Keep what was put in.

        Raises:
            EndsDamaged: it cannot be written.
        """
        with _as_damage(self.path):
            self._db.commit()
            self._db.execute("BEGIN")

    def close(self) -> None:
        """Forget what was not committed, and release the file."""
        self._db.close()

    def _bucket(self, bucket: int) -> dict[bytes, End]:
        """Return the ends of a bucket by key, held against its hash."""
        known = self._buckets.part(bucket)
        if known == NOTHING:
            return {}
        rows = self._db.execute(
            "SELECT key, position, version, leaf FROM ends WHERE key BETWEEN ? AND ? ORDER BY key", keys_of(bucket)
        ).fetchall()
        self.rows_read += len(rows)
        ends = {key: End(*end) for key, *end in rows}
        if part_of(_leaves(ends), BUCKET_BITS) != known:
            raise EndsDamaged(f"{self.path}: bucket {bucket} does not hold what its hash says")
        return ends


def ends_path(leaves: Path) -> Path:
    """Return the file of the map beside a file of leaves."""
    return leaves.with_suffix(".ends")


def forget(path: Path) -> None:
    """Remove the file; the map is made anew from the log.

    Raises:
        OSError: it cannot be removed.
    """
    for file in (path, path.with_name(f"{path.name}-journal")):
        with suppress(FileNotFoundError):
            file.unlink()


def gather(runs: dict[str, Run], events: Iterable[tuple[int, str, int, bytes]]) -> None:
    """Add events, (position, stream, version, leaf) in order, to the runs of their streams.

    Raises:
        VersionMissing: an event does not follow its stream's last one.
    """
    for position, stream, version, leaf in events:
        run = runs.get(stream)
        if run is not None and version != run.end.version + 1:
            raise VersionMissing(f"{stream} goes from version {run.end.version} to version {version}")
        runs[stream] = Run(version if run is None else run.first, End(position, version, leaf))


def _leaves(ends: Mapping[bytes, End]) -> list[Leaf]:
    return sorted((key, leaf_of(key, end)) for key, end in ends.items())


def _opened(path: Path, *, write: bool) -> sqlite3.Connection:
    path = path.resolve()
    if write:
        with suppress(OSError):  # what SQLite cannot open, it tells
            os.close(opened(path, 0o644))
    return sqlite3.connect(f"{path.as_uri()}?mode={'rwc' if write else 'ro'}", uri=True, isolation_level=None)


@contextmanager
def _as_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise EndsDamaged(f"{path}: {error}") from error
