"""The open timers of a cell, folded from its log: the log is the timer, this is only its index by due time."""

import heapq
from collections.abc import Iterable

import msgspec

from domain.catalogue import TAGS, decode_event
from domain.cell import Timer
from domain.order import OrderPromised, OrderShipped, TimerCleared, TimerSet, timers_of
from domain.ports import EventLog, StoredSnapshot

STREAM = "cell-timers"
"""Under this name the index is snapshotted; no events are in it."""
SNAPSHOT_TAG = "timers.1"
_TAGS = frozenset(TAGS[kind] for kind in (TimerSet, TimerCleared, OrderPromised, OrderShipped))
_PAGE = 5_000


class Timers:
    """Open timers by due time."""

    def __init__(self) -> None:
        """Start without any."""
        self._open: dict[tuple[str, str], int] = {}
        self._heap: list[tuple[int, str, str]] = []

    def __len__(self) -> int:
        return len(self._open)

    def apply(self, timers: Iterable[Timer]) -> None:
        """Follow what a committed turn set and cleared."""
        for stream, name, due_ms in timers:
            if due_ms is None:
                self._open.pop((stream, name), None)
            else:
                self._open[stream, name] = due_ms
                heapq.heappush(self._heap, (due_ms, stream, name))

    def due(self, now_ms: int, limit: int) -> list[Timer]:
        """Return up to `limit` timers whose time has come, earliest first. They stay open until the log clears them."""
        found: list[Timer] = []
        while self._heap and self._heap[0][0] <= now_ms and len(found) < limit:
            due_ms, stream, name = heapq.heappop(self._heap)
            if self._open.get((stream, name)) == due_ms:
                found.append(Timer(stream, name, due_ms))
        return found

    def again(self, timers: Iterable[Timer]) -> None:
        """Put timers back that could not be mailed."""
        for stream, name, due_ms in timers:
            if due_ms is not None and self._open.get((stream, name)) == due_ms:
                heapq.heappush(self._heap, (due_ms, stream, name))

    def next_due(self) -> int | None:
        """Return when the next one is due, UTC ms; None when there is none."""
        while self._heap:
            due_ms, stream, name = self._heap[0]
            if self._open.get((stream, name)) == due_ms:
                return due_ms
            heapq.heappop(self._heap)
        return None

    def snapshot(self, position: int) -> StoredSnapshot:
        """Return the index as a snapshot taken behind `position`."""
        rows = sorted((stream, name, due) for (stream, name), due in self._open.items())
        return StoredSnapshot(STREAM, position, SNAPSHOT_TAG, msgspec.json.encode(rows))


def load_timers(log: EventLog) -> Timers:
    """Fold the open timers from the newest snapshot and the log behind it."""
    timers = Timers()
    after = 0
    loaded = log.select_many((STREAM,)).get(STREAM)
    if loaded is not None and loaded.snapshot is not None and loaded.snapshot.tag == SNAPSHOT_TAG:
        rows = msgspec.json.decode(loaded.snapshot.data, type=list[tuple[str, str, int]])
        timers.apply(Timer(*row) for row in rows)
        after = loaded.snapshot.version
    while page := log.read(after, _PAGE):
        for event in page:
            if event.tag in _TAGS:
                timers.apply(Timer(event.stream, *each) for each in timers_of(decode_event(event.tag, event.data)))
        after = page[-1].position
    return timers
