"""Moments of the log, and what a look at them reads of it."""

from typing import TYPE_CHECKING, Any

from domain.envelope import decode_envelope
from domain.ports import Recorded, Tracked
from runners.history import Clock
from runners.log_pages import pages

if TYPE_CHECKING:
    from domain.ports import EventLog
    from runners.replay import ReplayLog


class Counting:
    """A log that counts the rows it gives."""

    def __init__(self, log: "ReplayLog") -> None:
        """Begin at zero."""
        self._log = log
        self.rows = 0

    def read(self, after: int, limit: int) -> list[Recorded]:
        """Return events by position, counted."""
        found = self._log.read(after, limit)
        self.rows += len(found)
        return found

    def select(
        self, stream: str, *, after: int = 0, upto: int | None = None, desc: bool = False, limit: int | None = None
    ) -> list[Recorded]:
        """Return a stream's events, counted."""
        found = self._log.select(stream, after=after, upto=upto, desc=desc, limit=limit)
        self.rows += len(found)
        return found

    def tracked(self) -> Tracked:
        """Return where the log stands."""
        return self._log.tracked()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def position_at(log: "ReplayLog | EventLog", time_ms: int, clock: Clock = "at") -> int:
    """Return the position of the last event before the first one that is later than a moment, UTC ms; 0 = none.

    Recorded times are searched as if they never went back, which they do only where a broker's clock did. Observed
    times come from many clocks and stand in no order: those are read one by one.
    """
    head = log.tracked().head
    if clock == "observed_at":
        for page in pages(log, head):
            for event in page:
                if decode_envelope(event.envelope).observed_at > time_ms:
                    return event.position - 1
        return head
    low, high = 0, head
    while low < high:
        middle = (low + high + 1) // 2
        (event,) = log.read(middle - 1, 1)
        if decode_envelope(event.envelope).at <= time_ms:
            low = middle
        else:
            high = middle - 1
    return low
