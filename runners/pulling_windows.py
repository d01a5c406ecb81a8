"""Which spans of a platform's modified time to pull next. Pure arithmetic, UTC milliseconds.

The cursor of a shop means: whatever the platform had changed before it is in the log. A pull begins an overlap before
it, ends a margin before now (feeds lag), and is cut into windows that one request may span.
"""

from collections.abc import Iterator
from typing import NamedTuple

from domain.platforms import PullRules, Window


class Plan(NamedTuple):
    """What a pull has to do."""

    windows: tuple[Window, ...]
    forgotten: Window | None
    """What lies behind the feed's memory and cannot be pulled any more; None = nothing."""


def plan(cursor_ms: int, now_ms: int, rules: PullRules) -> Plan:
    """Return the windows that bring a cursor up to now."""
    oldest = now_ms - rules.reach_ms
    end = now_ms - rules.margin_ms
    forgotten = Window(cursor_ms, oldest) if cursor_ms < oldest else None
    begin = max(cursor_ms, oldest)
    return Plan(tuple(windows(begin, end, rules, oldest)), forgotten)


def windows(begin_ms: int, end_ms: int, rules: PullRules, oldest_ms: int = 0) -> Iterator[Window]:
    """Cut a span into windows; each begins an overlap before the place where the one before has ended.

    Together they cover the span, and none is longer than one request may span. None begins before `oldest_ms`.
    """
    # A feed whose windows are hardly longer than its overlap must come forward all the same.
    overlap = min(rules.overlap_ms, rules.window_ms // 2)
    at = begin_ms
    while at < end_ms:
        start = max(at - overlap, oldest_ms)
        stop = min(start + rules.window_ms, end_ms)
        yield Window(start, stop)
        at = stop
