"""Goods of after-sales: what comes back goes to a warehouse's ledger, what is sent instead is reserved there.

A process manager: a pure function from what happened to the messages that follow, in the same turn. Documents and
allocations are named after the case, so that repeats change nothing.
"""

from collections.abc import Mapping, Sequence

from domain.after_sale import CASE_MARK, ReplacementAsked, ReplacementReleased, ReplacementShipped, ReturnReceived
from domain.after_sale_acts import Sold
from domain.after_sale_case import case_name
from domain.decider import Command, Event
from domain.ids import warehouse_key
from domain.stock import PickOut, Quantities, Release, Reserve, TakeBack


def react(
    key: str, events: Sequence[Event], lines: Mapping[str, Sold], default: str, keep: Quantities
) -> list[tuple[str, Command]]:
    """Return (actor, command) of what after-sales of an order mean for warehouses.

    Args:
        key: of the order.
        events: of its step.
        lines: its lines, for their SKUs.
        default: code of the warehouse that is asked first.
        keep: (SKU, units) that reservations of the order must leave available.
    """
    messages: list[tuple[str, Command]] = []
    for event in events:
        match event:
            case ReturnReceived():
                document = f"{case_name(key, event.case)}/return-{event.receipt}"
                good, damaged = _skus(event.good, lines), _skus(event.damaged, lines)
                if good or damaged:
                    to = warehouse_key(event.warehouse or default)
                    messages.append((to, TakeBack(document, key, good, damaged)))
            case ReplacementAsked():
                allocation = f"{key}{CASE_MARK}{event.case}-{event.attempt}"
                to = warehouse_key(event.warehouse or default)
                messages.append((to, Reserve(allocation, key, event.lines, keep)))
            case ReplacementShipped():
                messages.append((warehouse_key(event.warehouse), PickOut(event.allocation)))
            case ReplacementReleased():
                messages.append((warehouse_key(event.warehouse), Release(event.allocation)))
    return messages


def _skus(pairs: Quantities, lines: Mapping[str, Sold]) -> Quantities:
    """Return (SKU, units) of (line id, units): kits by their parts."""
    total: dict[str, int] = {}
    for line, units in pairs:
        for sku, each in lines[line].parts:
            total[sku] = total.get(sku, 0) + each * units
    return tuple(total.items())
