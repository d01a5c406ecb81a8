"""Which pick lists a warehouse of others is to pick, seen from an order's events. Pure.

What goes out is what an allocation holds while its pick list is out. When it holds less, another delivery order takes
the place of the first, under a revision of its code; when it holds nothing any more, the delivery order is called off.
"""

from typing import TYPE_CHECKING, NamedTuple

from domain.catalogue import decode_event
from domain.delivery import of_pick_list
from domain.order import Allocation, Order, PickListIssued, order
from domain.wms import base_of, code_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.ports import Recorded

TAGS = frozenset(
    {
        "order.pick_list_issued",
        "order.released",
        "order.cancelled",
        "order.lines_cancelled",
        "order.partially_shipped",
        "order.shipped",
    }
)
"""Of the events by which pick lists come, change and go."""


class Asked(NamedTuple):
    """What a warehouse should have of a pick list after an event."""

    code: str
    """Of the delivery order."""
    allocation: Allocation
    """As it is now; without lines = nothing is to be picked any more."""
    replaces: str = ""
    """Code of the delivery order that went out before for the same pick list."""


def asked_at(story: "Sequence[Recorded]", version: int) -> list[Asked]:
    """Return what the event of this version changes for warehouses; `story` is its whole stream."""
    found: list[Asked] = []
    codes: dict[str, str] = {}
    state: Order = order.initial
    for event in story:
        if event.version > version:
            break
        fact = decode_event(event.tag, event.data)
        before, state = state, order.evolve(state, fact)
        found = []
        if event.tag not in TAGS:
            continue
        if isinstance(fact, PickListIssued):
            codes[fact.allocation] = code_of(fact.pick_list)
        held, kept = listed(before), listed(state)
        for name in dict.fromkeys((*held, *kept)):
            code = codes.get(name, code_of(f"pick-{name}"))
            was, now = held.get(name), kept.get(name)
            if was is None and now is not None:
                found.append(Asked(code, now))
            elif was is not None and now is None:
                if not of_pick_list(state.deliveries, f"pick-{name}").final:
                    found.append(Asked(code, Allocation(was.id, was.warehouse, ())))
            elif was is not None and now is not None and was.lines != now.lines:
                codes[name] = f"{base_of(code)}.{event.version}"
                found.append(Asked(codes[name], now, code))
    return found


def codes_before(story: "Sequence[Recorded]", allocation: str, code: str) -> list[str]:
    """Return the codes of the delivery orders that were asked for before this one for the same allocation."""
    found: list[str] = []
    for event in story:
        for asked in asked_at(story, event.version) if event.tag in TAGS else ():
            if asked.code == code:
                return found
            if asked.allocation.id == allocation and asked.allocation.lines:
                found.append(asked.code)
    return found


def state_of(story: "Sequence[Recorded]") -> Order:
    """Return the order as it is now."""
    state: Order = order.initial
    for event in story:
        state = order.evolve(state, decode_event(event.tag, event.data))
    return state


def listed(state: Order) -> dict[str, Allocation]:
    """Return the allocations whose pick lists are out, by id."""
    return {each.id: each for each in state.allocations if each.listed}
