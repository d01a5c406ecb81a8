"""The event log in memory: the same promises but durability, for tests and simulation."""

from collections.abc import Collection, Sequence
from threading import Lock

import msgspec

from adapters.storage.schema import check_advance, check_batch, new_generation
from domain.ports import Advance, Conflict, Loaded, Payload, Record, Recorded, StoredSnapshot, Told, Tracked
from domain.proof import leaf_hash


class MemoryEventLog:
    """The port `EventLog` without a disk. Any number of threads may use it."""

    def __init__(self, generation: str = "memory") -> None:
        """Begin empty."""
        self._lock = Lock()
        self._events: list[Recorded] = []
        self._streams: dict[str, list[Recorded]] = {}
        self._payloads: dict[bytes, Payload] = {}
        self._snapshots: dict[str, StoredSnapshot] = {}
        self._followed: dict[str, int] = {}
        self._row = Tracked(incarnation="", epoch=0, position=0, digest=b"", at_ms=0, head=0, generation=generation)
        self._failure: tuple[BaseException, bool] | None = None

    def fail_next(self, exc: BaseException, *, before: bool) -> None:
        """Let the next commit raise `exc`: before it took effect, or after (its answer is lost, its events are not)."""
        self._failure = exc, before

    def append(
        self,
        records: Sequence[Record],
        *,
        payloads: Sequence[Payload] = (),
        snapshots: Sequence[StoredSnapshot] = (),
        advance: Advance | None = None,
    ) -> int:
        """Write all of it or nothing; see `EventLog.append`."""
        needed = check_batch(records)
        if advance is not None:
            check_advance(advance)
        with self._lock:
            self._check(records, needed)
            row = self._moved(advance)
            failure, self._failure = self._failure, None
            if failure is not None and failure[1]:
                raise failure[0]
            self._row = row
            self._write(records)
            for payload in payloads:
                self._payloads.setdefault(payload.digest, payload)
            for snapshot in snapshots:
                older = self._snapshots.get(snapshot.stream)
                if older is None or snapshot.version >= older.version:
                    self._snapshots[snapshot.stream] = snapshot
            if failure is not None:
                raise failure[0]
            return len(self._events)

    def append_following(self, records: Sequence[Record], application: str, notification_id: int) -> int:
        """Append, and note how far another application's log has been followed.

        Raises:
            Conflict: that far, or further, has been followed already; or a version is not its stream's next one.
        """
        needed = check_batch(records)
        with self._lock:
            if self._followed.get(application, notification_id - 1) >= notification_id:
                raise Conflict(f"{application} has been followed to {notification_id} or further already")
            self._check(records, needed)
            self._followed[application] = notification_id
            self._write(records)
            return len(self._events)

    def followed(self, application: str) -> int | None:
        """Return how far another application's log has been followed, or None."""
        with self._lock:
            return self._followed.get(application)

    def take_over(self) -> Tracked:
        """Raise the epoch; see `EventLog.take_over`."""
        with self._lock:
            self._row = msgspec.structs.replace(self._row, epoch=self._row.epoch + 1)
            return self._tracked()

    def set_incarnation(
        self, epoch: int, incarnation: str, position: int, *, records: Sequence[Record] = ()
    ) -> Tracked:
        """Begin a new life of the mail, with the events that say why; see `EventLog.set_incarnation`."""
        needed = check_batch(records)
        with self._lock:
            if epoch != self._row.epoch:
                raise Conflict("another worker has taken the cell over")
            self._check(records, needed)
            self._write(records)
            self._row = msgspec.structs.replace(
                self._row, incarnation=incarnation, position=position, digest=b"", at_ms=0
            )
            return self._tracked()

    def begin_generation(self, generation: str | None = None) -> Tracked:
        """Begin a new life of the log; the epoch rises, so that earlier writers are refused."""
        with self._lock:
            self._row = msgspec.structs.replace(
                self._row, generation=generation or new_generation(), epoch=self._row.epoch + 1
            )
            return self._tracked()

    def tracked(self) -> Tracked:
        """Return the row as it is."""
        with self._lock:
            return self._tracked()

    def select_many(self, streams: Collection[str], *, snapshots: bool = True) -> dict[str, Loaded]:
        """Load many streams; see `EventLog.select_many`."""
        loaded: dict[str, Loaded] = {}
        with self._lock:
            for stream in streams:
                snapshot = self._snapshots.get(stream) if snapshots else None
                events = self._streams.get(stream)
                if events or snapshot:
                    loaded[stream] = Loaded(snapshot, (events or [])[snapshot.version if snapshot else 0 :])
        return loaded

    def select(
        self, stream: str, *, after: int = 0, upto: int | None = None, desc: bool = False, limit: int | None = None
    ) -> list[Recorded]:
        """Return one stream's events with `after` < version <= `upto`, by version, from either end."""
        with self._lock:
            events = self._streams.get(stream, [])[max(after, 0) : None if upto is None else max(upto, 0)]
        return (events[::-1] if desc else events)[:limit]

    def read(self, after: int, limit: int) -> list[Recorded]:
        """Return up to `limit` events behind `after`."""
        with self._lock:
            return self._events[after : after + limit]

    def told(self, after: int, limit: int) -> list[Told]:
        """Return what anyone may be told of up to `limit` events behind `after`."""
        return [event[:6] for event in self.read(after, limit)]

    def payloads(self, digests: Collection[bytes]) -> dict[bytes, Payload]:
        """Return the payloads with these digests."""
        with self._lock:
            return {digest: self._payloads[digest] for digest in digests if digest in self._payloads}

    def close(self) -> None:
        """Do nothing: there is nothing to release, and a simulation goes on with the same log."""

    def _tracked(self) -> Tracked:
        return msgspec.structs.replace(self._row, head=len(self._events))

    def _moved(self, advance: Advance | None) -> Tracked:
        row = self._row
        if advance is None:
            return row
        if (advance.incarnation, advance.epoch, advance.previous) != (row.incarnation, row.epoch, row.position):
            raise Conflict(f"the log's row is no longer at {advance}")
        return msgspec.structs.replace(row, position=advance.position, digest=advance.digest, at_ms=advance.at_ms)

    def _check(self, records: Sequence[Record], needed: Sequence[tuple[str, int]]) -> None:
        for stream, version in needed:
            if len(self._streams.get(stream, ())) < version:
                raise Conflict(f"version {version + 1} is not the next one of {stream}")
        for record in records:
            if record.version <= len(self._streams.get(record.stream, ())):
                raise Conflict(f"{record.stream} has a version {record.version} already")

    def _write(self, records: Sequence[Record]) -> None:
        for stream, version, tag, envelope, data, sealed in records:
            position = len(self._events) + 1
            leaf = leaf_hash(position, stream, version, tag, envelope, data, sealed or b"")
            event = Recorded(position, stream, version, tag, envelope, data, sealed, leaf)
            self._events.append(event)
            self._streams.setdefault(stream, []).append(event)
