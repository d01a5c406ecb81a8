"""The orders and events behind a figure: the facts that its sums were made of, found by the same filters."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from projections.kpi_figures import ALL, Filter
from projections.kpi_list import KPIS, SAME, Part
from projections.kpi_story import Fact, Settled, Story
from projections.kpis import ORDERS


class Behind(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event that a figure counts."""

    order: str
    event: str
    """`<stream>@<version>`."""
    position: int
    fact: str
    """`<kind>/<detail>`."""
    hit: bool
    ms: int | None = None
    """How long it took."""


def behind(
    kpi: str, orders: Iterable[tuple[str, str, Story]], wanted: Filter = ALL, detail: str | None = None
) -> tuple[list[Behind], list[Behind]]:
    """Return the events that a figure's top counts, and those that its bottom does.

    Args:
        kpi: name of the KPI.
        orders: (key, channel, story) of all orders that may count.
        wanted: as for `figures`.
        detail: only of this stage, reason, pair of roles or node.

    Raises:
        KeyError: there is no KPI of that name.
    """
    asked = KPIS[kpi]
    own = detail if asked.bottom is not None and asked.bottom.kind in SAME else None
    top: list[Behind] = []
    bottom: list[Behind] = []
    for key, channel, story in orders:
        if wanted.channel not in (None, channel):
            continue
        facts = [fact for fact in _facts(story) if _fits(fact, story, wanted)]
        top += _of(asked.top, facts, key, detail)
        if asked.bottom is not None:
            bottom += _of(asked.bottom, facts, key, own)
    return sorted(top, key=_place), sorted(bottom, key=_place)


def _facts(story: Story) -> Iterator[Fact]:
    if story.received[0]:
        yield Fact(ORDERS, int(not story.decided[0]), *(story.decided if story.decided[0] else story.received))
    yield from story.facts
    yield from story.settled


def _fits(fact: Fact, story: Story, wanted: Filter) -> bool:
    where = (fact.hour, fact.warehouse) if isinstance(fact, Settled) else (story.hour, story.warehouse)
    hour, warehouse = where
    return wanted.window.first <= hour < wanted.window.last and wanted.warehouse in (None, warehouse)


def _of(part: Part, facts: Sequence[Fact], key: str, detail: str | None) -> list[Behind]:
    only = part.detail if detail is None else detail
    less = {(fact.version, fact.name.partition("/")[2]) for fact in facts if fact.name.startswith(f"{part.less}/")}
    found = []
    for fact in facts:
        kind, _, its = fact.name.partition("/")
        if kind != part.kind or only not in (None, its) or (fact.version, its) in less:
            continue
        if part.what == "count" or (part.what == "hits") == bool(fact.hit):
            took = fact.value if fact.value >= 0 else None
            found.append(Behind(key, f"{key}@{fact.version}", fact.position, fact.name, bool(fact.hit), took))
    return found


def _place(each: Behind) -> int:
    return each.position
