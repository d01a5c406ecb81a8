"""Fulfilment, the plain case: paid and stock there → allocate → pick list → wait for the scan-out.

A process manager: a pure function from what happened to the messages that follow, in the same turn. It looks at an
actor before and after a step, so it does not matter which event made the difference: a payment, a lifted hold, a
decision.
"""

from collections.abc import Sequence

import msgspec

from domain.canonical import Line
from domain.decider import Command, Event
from domain.ids import parts_of, skus_key_of, warehouse_key
from domain.order import (
    PAID,
    Allocation,
    ConfirmReserved,
    MapSkus,
    Order,
    OrderAmended,
    OrderShipped,
    PartiallyShipped,
    Quantities,
    ReportShort,
    live_lines,
    needs,
    unmapped,
)
from domain.skus import AwaitSkus, Pairs, Skus, SkusMapped, SkusReleased, SkusUnmapped, known_by_now
from domain.stock import Issue, PickOut, Release, ReservationRefused, Reserve, StockReserved

WAREHOUSE = "A"
"""The one warehouse of the plain case."""
RULE = "fulfilment"


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message to another actor of the cell."""

    to: str
    command: Command


def stock_wanted(state: Order) -> Quantities:
    """(SKU, units) an order waits for: it is paid, not intercepted, holds nothing yet, and every line has its SKU.

    A platform's hold blocks the pick list and shipping; the goods are promised to who has paid all the same.
    """
    if (
        state.status not in ("paid", "allocating")
        or state.allocation is not None
        or state.kind == "counter"
        or state.interceptions
        or state.quarantined is not None
    ):
        return ()
    wanted = needs(state)
    return wanted if all(sku for sku, _ in wanted) else ()


def react_to_order(key: str, events: Sequence[Event], before: Order, after: Order) -> list[Message]:
    """Return what an order's step means for the warehouse."""
    if after is before:
        return []
    messages = []
    gone = _gone(events, before, after) if after.shipped and after.kind != "counter" else {}
    if before.allocation is not None:
        messages += _settle(before.allocation, after.allocation, gone)
    lines = tuple((sku, units) for sku, units in gone.items() if sku and units)
    if lines:
        issue = Issue(f"{key}/issued-{after.attempts + 1}", key, lines, _shipped_ms(events, after))
        messages.append(Message(warehouse_key(WAREHOUSE), issue))
    if (
        after.lines is not before.lines
        or after.cancelled is not before.cancelled
        or (after.status in PAID) is not (before.status in PAID)
    ) and (_some_unmapped(after.lines) or _some_unmapped(before.lines)):
        waits = unmapped(after)
        if waits or unmapped(before):
            messages.append(Message(skus_key_of(key), AwaitSkus(key, waits)))
    wanted = stock_wanted(after)
    if wanted and not stock_wanted(before):
        messages.append(Message(warehouse_key(WAREHOUSE), Reserve(f"{key}/{after.attempts + 1}", key, wanted)))
    return messages


def _some_unmapped(lines: Sequence[Line]) -> bool:
    for line in lines:  # noqa: SIM110  a generator would cost more than the whole question
        if not line.sku:
            return True
    return False


def _gone(events: Sequence[Event], before: Order, after: Order) -> dict[str, int]:
    """SKU → units that have left in this step, or whose SKU became known only after they had left."""
    if after.shipped == before.shipped and after.lines == before.lines:
        return {}
    allocation = before.allocation
    if allocation is not None and any(isinstance(event, OrderShipped) and event.command for event in events):
        by_us = next(event for event in events if isinstance(event, OrderShipped))
        # We sent what was picked, be it what the channel wants by now or not.
        return dict(allocation.lines) if by_us.allocation else {}
    known = {line.id: line.sku for line in before.lines if line.sku or line.id not in before.shipped}
    gone: dict[str, int] = {}
    for line, units in live_lines(after):
        if line.id in after.shipped and (line.id not in before.shipped or (line.sku and line.id not in known)):
            gone[line.sku] = gone.get(line.sku, 0) + units
    return gone


def _settle(held: Allocation, kept: Allocation | None, gone: dict[str, int]) -> list[Message]:
    """Tell the ledger what became of an allocation; what it covers is taken out of `gone`."""
    if kept is not None and kept.lines == held.lines:
        return []
    keep = dict(kept.lines) if kept is not None else {}
    picked: list[tuple[str, int]] = []
    released: list[tuple[str, int]] = []
    for sku, units in held.lines:
        left = min(units, gone.get(sku, 0))
        if left:
            gone[sku] -= left
            picked.append((sku, left))
        if back := units - left - keep.get(sku, 0):
            released.append((sku, back))
    to = warehouse_key(held.warehouse)
    messages = []
    if picked:
        messages.append(Message(to, PickOut(held.id, () if tuple(picked) == held.lines else tuple(picked))))
    if released:
        messages.append(Message(to, Release(held.id, () if tuple(released) == held.lines else tuple(released))))
    return messages


def _shipped_ms(events: Sequence[Event], after: Order) -> int:
    said = after.modified_ms
    for event in events:
        match event:
            case OrderShipped() | PartiallyShipped():
                return event.shipped_ms
            case OrderAmended():
                said = event.snapshot.shipped_at.utc_ms if event.snapshot.shipped_at else said
    return said


def react_to_ledger(key: str, events: Sequence[Event]) -> list[Message]:
    """Return what a ledger's step means for the order it was asked for."""
    messages = []
    for event in events:
        match event:
            case StockReserved():
                warehouse = parts_of(key)[0]
                messages.append(Message(event.order, ConfirmReserved(event.allocation, warehouse, event.lines)))
            case ReservationRefused():
                warehouse = parts_of(key)[0]
                messages.append(Message(event.order, ReportShort(event.allocation, warehouse, event.short)))
    return messages


def react_to_skus(events: Sequence[Event], before: Skus, after: Skus) -> list[Message]:
    """Return what new entries in a table of SKUs mean for the orders that waited for them."""
    messages: list[Message] = []
    noted: dict[str, Pairs] = {}
    for event in events:
        match event:
            case SkusUnmapped():
                noted[event.order] = event.items
            case SkusMapped() | SkusReleased():
                for order in event.orders:
                    items = noted[order] if order in noted else before.waiting[order].items
                    messages.append(Message(order, MapSkus(known_by_now(items, after.table))))
    return messages
