"""Fulfilment, the plain case: paid and stock there → allocate → pick list → wait for the scan-out.

A process manager: a pure function from what happened to the messages that follow, in the same turn. It looks at an
actor before and after a step, so it does not matter which event made the difference: a payment, a lifted hold, a
decision.
"""

from collections.abc import Sequence
from typing import NamedTuple

from domain.decider import Command, Event
from domain.ids import parts_of, warehouse_key
from domain.order import (
    ConfirmReserved,
    Order,
    OrderShipped,
    Quantities,
    ReportShort,
    live_quantity,
    needs,
    on_hold,
)
from domain.stock import Issue, PickOut, Release, ReservationRefused, Reserve, StockReserved

WAREHOUSE = "A"
"""The one warehouse of the plain case."""
RULE = "fulfilment"


class Message(NamedTuple):
    """A message to another actor of the cell."""

    to: str
    command: Command


def wants_stock(state: Order) -> bool:
    """Whether an order is ready to be allocated: paid, not held, nothing allocated, every line known by its SKU."""
    return (
        state.status == "paid"
        and state.allocation is None
        and state.kind != "counter"
        and not on_hold(state)
        and state.quarantined is None
        and bool(wanted := needs(state))
        and all(sku for sku, _ in wanted)
    )


def react_to_order(key: str, events: Sequence[Event], before: Order, after: Order) -> list[Message]:
    """Return what an order's step means for the warehouse."""
    if before.allocation is None:
        if after.status == "paid" and wants_stock(after) and not wants_stock(before):
            return [Message(warehouse_key(WAREHOUSE), Reserve(f"{key}/{after.attempts + 1}", key, needs(after)))]
        if after.status in ("shipped", "completed") and before.status not in ("shipped", "completed"):
            return _shipped_elsewhere(key, events, before, after)
        return []
    allocation = before.allocation
    to = warehouse_key(allocation.warehouse)
    if after.allocation is None:
        if after.status == "cancelled":
            return [Message(to, Release(allocation.id))]
        return [Message(to, PickOut(allocation.id))]
    messages = []
    newly = after.shipped - before.shipped
    if newly:
        gone = tuple((line.sku, live_quantity(after, line)) for line in after.lines if line.id in newly)
        messages.append(Message(to, PickOut(allocation.id, gone)))
    if dropped := _dropped(before, after):
        messages.append(Message(to, Release(allocation.id, dropped)))
    return messages


def _shipped_elsewhere(key: str, events: Sequence[Event], before: Order, after: Order) -> list[Message]:
    """Goods of an order nobody had allocated are gone: deduct them, as far as they were ever counted here."""
    shipped = next((event for event in events if isinstance(event, OrderShipped)), None)
    if shipped is None or after.kind == "counter":
        return []
    lines = tuple(
        (line.sku, units)
        for line in after.lines
        if line.sku and line.id not in before.shipped and (units := live_quantity(after, line))
    )
    if not lines:
        return []
    return [Message(warehouse_key(WAREHOUSE), Issue(f"{key}/issued", key, lines, shipped.shipped_ms))]


def _dropped(before: Order, after: Order) -> Quantities:
    """(SKU, units) of lines that are no longer wanted and have not left."""
    now = {line.id: live_quantity(after, line) for line in after.lines}
    return tuple(
        (line.sku, less)
        for line in before.lines
        if line.id not in after.shipped and (less := live_quantity(before, line) - now.get(line.id, 0)) > 0
    )


def react_to_ledger(key: str, events: Sequence[Event]) -> list[Message]:
    """Return what a ledger's step means for the order it was asked for."""
    messages = []
    (warehouse,) = parts_of(key)
    for event in events:
        match event:
            case StockReserved():
                messages.append(Message(event.order, ConfirmReserved(event.allocation, warehouse, event.lines)))
            case ReservationRefused():
                messages.append(Message(event.order, ReportShort(event.allocation, warehouse, event.short)))
    return messages
