"""What every export reads: the log as far as it reached when the export began, by position or by order."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from domain.ids import OF_CHANNELS, kind_of, parts_of
from domain.ports import EventLog, Recorded
from projections.base import in_current_shape
from runners import log_pages

PAGE_EVENTS = 1_000
ORDERS_AT_ONCE = 100
"""Orders that are in memory together where a format goes by order."""

Progress = Callable[[int, int], None]
"""Told (positions done, positions in all)."""


class Span(msgspec.Struct, frozen=True):
    """Which events are wanted."""

    from_ms: int | None = None
    """From this time on, UTC ms."""
    to_ms: int | None = None
    """Up to this time, UTC ms, included."""
    channels: frozenset[str] = frozenset()
    """Only what stands in streams of these channels (stock and the cell's own books are nobody's); empty = all."""

    def covers(self, ms: int) -> bool:
        """Whether a time is in it."""
        return (self.from_ms is None or ms >= self.from_ms) and (self.to_ms is None or ms <= self.to_ms)

    def takes(self, stream: str) -> bool:
        """Whether a stream is wanted."""
        if not self.channels:
            return True
        return kind_of(stream) in OF_CHANNELS and parts_of(stream)[0] in self.channels


class Ticks:
    """Times with microseconds, so that tools that sort by time keep the order of the log.

    The log knows milliseconds, and all events of one turn have the same one: the three digits behind it number the
    events that share it, as they follow each other.
    """

    def __init__(self) -> None:
        """Nothing came before."""
        self._ms = -1
        self._number = 0

    def of(self, ms: int) -> str:
        """Return the time of the next event, ISO 8601 in UTC."""
        self._number = min(self._number + 1, 999) if ms == self._ms else 0
        self._ms = ms
        return f"{iso(ms)[:-1]}{self._number:03}Z"


def iso(ms: int) -> str:
    """Return a time as ISO 8601 in UTC, with milliseconds."""
    second, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03}Z"


def pages(log: EventLog, progress: Progress) -> Iterator[Sequence[Recorded]]:
    """Yield the log up to where it ends now, in pages; old shapes are brought up to date.

    Raises:
        LogDamaged: an event is missing.
        UnknownTag: a newer build wrote an event.
    """
    return _up_to(log, log.tracked().head, progress)


def _up_to(log: EventLog, head: int, progress: Progress) -> Iterator[Sequence[Recorded]]:
    progress(0, head)
    for page in log_pages.pages(log, head, size=PAGE_EVENTS):
        yield in_current_shape(page)
        progress(page[-1].position, head)


def by_order(log: EventLog, span: Span, progress: Progress) -> Iterator[tuple[str, Sequence[Recorded]]]:
    """Yield (order, all its events), by the order's first event; of streams that `span` takes."""
    head = log.tracked().head
    waiting: list[str] = []
    for page in _up_to(log, head, progress):
        for event in page:
            if event.version == 1 and event.stream.startswith("order-") and span.takes(event.stream):
                waiting.append(event.stream)
                if len(waiting) == ORDERS_AT_ONCE:
                    yield from _whole(log, waiting, head)
                    waiting = []
    yield from _whole(log, waiting, head)


def _whole(log: EventLog, streams: Sequence[str], head: int) -> Iterator[tuple[str, Sequence[Recorded]]]:
    found = log.select_many(streams, snapshots=False) if streams else {}
    for stream in streams:
        yield stream, in_current_shape([event for event in found.pop(stream).events if event.position <= head])
