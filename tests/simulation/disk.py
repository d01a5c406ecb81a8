"""The event log on a disk that fails: before a commit took effect, after it, or while reading."""

from collections.abc import Collection, Sequence
from typing import Protocol

from adapters.storage.memory_log import MemoryEventLog
from domain.ports import Advance, Loaded, Payload, Record, Recorded, StoredSnapshot, Told, Tracked
from tests.fakes import Faults


class DiskError(Exception):
    """The disk did not do as asked; whether it took effect is not said."""


class Observer(Protocol):
    """Told of everything that took effect, at once, whether the writer learns of it or not."""

    def committed(self, writer: str, records: Sequence[Record], advance: Advance | None) -> None: ...

    def began(self, writer: str, epoch: int, incarnation: str, position: int, records: Sequence[Record]) -> None: ...


class FaultyLog:
    """One writer's handle on the shared log. Implements `EventLog`."""

    def __init__(self, inner: MemoryEventLog, faults: Faults, observer: Observer, writer: str) -> None:
        self._inner = inner
        self._faults = faults
        self._observer = observer
        self._writer = writer

    def append(
        self,
        records: Sequence[Record],
        *,
        payloads: Sequence[Payload] = (),
        snapshots: Sequence[StoredSnapshot] = (),
        advance: Advance | None = None,
    ) -> int:
        if self._faults.fires("disk.fails_before"):
            raise DiskError("the commit failed")
        head = self._inner.append(records, payloads=payloads, snapshots=snapshots, advance=advance)
        self._observer.committed(self._writer, records, advance)
        if self._faults.fires("disk.fails_after"):
            raise DiskError("the commit was not answered")
        return head

    def take_over(self) -> Tracked:
        if self._faults.fires("disk.takeover_fails"):
            raise DiskError("no epoch was written")
        return self._inner.take_over()

    def set_incarnation(
        self, epoch: int, incarnation: str, position: int, *, records: Sequence[Record] = ()
    ) -> Tracked:
        if self._faults.fires("disk.life_fails_before"):
            raise DiskError("the life was not written")
        row = self._inner.set_incarnation(epoch, incarnation, position, records=records)
        self._observer.began(self._writer, epoch, incarnation, position, records)
        if self._faults.fires("disk.life_fails_after"):
            raise DiskError("the life was not answered")
        return row

    def tracked(self) -> Tracked:
        return self._inner.tracked()

    def select_many(self, streams: Collection[str], *, snapshots: bool = True) -> dict[str, Loaded]:
        if self._faults.fires("disk.read_fails"):
            raise DiskError("nothing could be read")
        return self._inner.select_many(streams, snapshots=snapshots)

    def read(self, after: int, limit: int) -> list[Recorded]:
        return self._inner.read(after, limit)

    def told(self, after: int, limit: int) -> list[Told]:
        return self._inner.told(after, limit)

    def payloads(self, digests: Collection[bytes]) -> dict[bytes, Payload]:
        return self._inner.payloads(digests)

    def close(self) -> None:
        self._inner.close()
