"""Reading a log from one position up to another, page by page, without passing over a gap."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from domain.ports import LogDamaged, Recorded

if TYPE_CHECKING:
    from domain.ports import EventLog

PAGE_EVENTS = 5_000


def pages(log: "EventLog", upto: int, after: int = 0, size: int = PAGE_EVENTS) -> Iterator[list[Recorded]]:
    """Yield the events behind `after` up to `upto`, `size` at a time.

    Raises:
        LogDamaged: an event is missing.
    """
    while after < upto:
        page = log.read(after, min(size, upto - after))
        if not page or page[0].position != after + 1:
            raise LogDamaged(f"event {after + 1} is missing, and the log should end at {upto}")
        yield page
        after = page[-1].position
