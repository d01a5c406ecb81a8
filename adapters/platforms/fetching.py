"""What pulling from platforms has in common: pages read from the last one back, orders fetched a few at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from domain.platforms import PlatformBusy, Window
from domain.time_units import SECOND_MS

T = TypeVar("T")

AT_ONCE: Final = 8
"""Orders asked for at the same time."""
PAGES_MAX: Final = 2_000
"""More pages than any window of a real shop has: a platform that counts on for ever is stopped here."""


class Page(NamedTuple):
    """A page of a change feed."""

    total: int
    """Orders in the whole window, as counted with this page."""
    listed: int
    """Orders on this page."""
    body: bytes
    """The answer, exactly."""


async def from_last(ask: Callable[[int], Awaitable[Page]], size: int) -> AsyncIterator[bytes]:
    """Return the pages of a moving window, the last first.

    An order that changes while we read leaves the window, and all behind it move up by one place: read forwards, the
    first of each later page would be missed. Read backwards, they move into what is still to come.

    Args:
        ask: asks for a page, from 1.
        size: orders that a page is asked to have.

    Raises:
        PlatformBusy: orders are counted, but not one is listed.
        PlatformError: as `ask` does.
    """
    page = await ask(1)
    # A platform may give less on a page than it was asked for; counting with more would leave out the oldest.
    last = pages_of(page.total, min(size, page.listed) or size)
    listed = 0
    for number in range(last, 0, -1):
        # The first page is read again in its turn: what was on the second one may be there by then.
        page = page if last == 1 else await ask(number)
        listed += page.listed
        yield page.body
    if page.total > 0 and not listed:
        raise PlatformBusy(f"the platform counts {page.total:,} orders in a window and lists none")


def pages_of(total: int, size: int) -> int:
    """Return how many pages there are.

    Raises:
        PlatformBusy: more than there can be.
    """
    pages = -(-max(0, total) // size)
    if pages > PAGES_MAX:
        raise PlatformBusy(f"the platform counts {total:,} orders in one window, which cannot be", "pull less at once")
    return pages


def windows_of(window: Window, longest_ms: int) -> Iterator[Window]:
    """Cut a window into parts that one request may span, of whole seconds: the feeds count in these."""
    first, last = window.start_ms // SECOND_MS * SECOND_MS, -(-window.end_ms // SECOND_MS) * SECOND_MS
    for start in range(first, last, longest_ms):
        yield Window(start, min(start + longest_ms, last))


async def fetched(ids: Sequence[str], fetch: Callable[[str], Awaitable[T]]) -> list[T]:
    """Fetch many, a few at a time, in their order; the first error ends all.

    Raises:
        PlatformError: as `fetch` does.
    """
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> T:
        async with turn:
            return await fetch(name)

    tasks = [asyncio.ensure_future(one(name)) for name in ids]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def chunks(ids: Iterable[str], size: int) -> Iterator[list[str]]:
    """Cut ids, each once, into lists of at most `size`."""
    found: list[str] = []
    for name in dict.fromkeys(ids):
        found.append(name)
        if len(found) == size:
            yield found
            found = []
    if found:
        yield found
