"""Fulfilment: paid and stock there → allocate → pick lists → wait for the scan-outs; gifts are held before that.

A process manager: a pure function from what happened to the messages that follow, in the same turn. It looks at an
actor before and after a step, so it does not matter which event made the difference: a payment, a lifted hold, a
decision.
"""

from collections.abc import Sequence

import msgspec

from domain import after_sale_goods
from domain.buyers import NoteOwed
from domain.canonical import Line
from domain.decider import Command, Event
from domain.ids import BUYERS_KEY, buyer_of, skus_key_of, trail_key, warehouse_key, warehouse_of
from domain.order import (
    PAID,
    Allocation,
    ConfirmArrived,
    ConfirmPreReserved,
    ConfirmReserved,
    MapSkus,
    Order,
    OrderAmended,
    OrderNormalized,
    OrderRouted,
    OrderShipped,
    PartiallyShipped,
    Quantities,
    ReportDuplicate,
    ReportShort,
    TakePlan,
    arrived,
    gift_line,
    held_of,
    live_lines,
    needs,
    over,
    owed_of,
    stand_of,
    unmapped,
    verdict,
)
from domain.payments import SettlePayments, unsettled
from domain.routing import Stock, plain_warehouse, plan, pre_plan
from domain.shelf import StockMovedOut, TakeMoved
from domain.skus import AwaitSkus, Pairs, Skus, SkusMapped, SkusReleased, SkusUnmapped, known_by_now
from domain.stock import (
    Issue,
    PickOut,
    PreReserve,
    PromiseCovered,
    Release,
    ReservationRefused,
    Reserve,
    StockPreReserved,
    StockPromised,
    StockReserved,
    summed,
)
from domain.tracking import SettleDelivery
from domain.trail import DuplicateSuspected, NoteOrder, goods_of

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
        or state.allocations
        or state.kind == "counter"
        or state.interceptions
        or state.quarantined is not None
    ):
        return ()
    if state.kind == "presale" and not state.shipped and not _is_locked(state):
        return ()  # it is locked first, and then waits until its goods are here
    wanted = needs(state)
    return () if "" in dict(wanted) else wanted


def _is_locked(state: Order) -> bool:
    """Whether everything that a presale needs is held for it, and here."""
    holds = state.ruled.pre_holds
    return not any(hold.due_ms for hold in holds) and held_of(holds) == dict(needs(state))


def pre_wanted(state: Order) -> bool:
    """Whether goods are to be pre-reserved: gifts of an order that is not paid, a presale from its deposit on.

    Not those of one that was not paid in time.
    """
    if state.interceptions or state.quarantined is not None or state.allocations or state.kind == "counter":
        return False
    if state.kind == "presale":
        locks = state.status == "paid" or (
            state.status == "awaiting_payment" and state.deposit > 0 and not state.overdue_ms
        )
        wanted = dict(needs(state))
        return locks and bool(wanted) and "" not in wanted and held_of(state.ruled.pre_holds) != wanted
    return state.status == "awaiting_payment" and not state.overdue_ms and bool(state.ruled.gifts)


def react_to_order(key: str, events: Sequence[Event], before: Order, after: Order, stock: Stock) -> list[Message]:
    """Return what an order's step means for the warehouses."""
    if after is before:
        return []
    messages: list[Message] = []
    if after.payments.movements or after.tracking.parcels:
        messages += _settling(key, after)
    gone = _gone(events, before, after) if (after.shipped or after.sent) and after.kind != "counter" else {}
    if before.allocations:
        messages += _settle(before.allocations, after.allocations, gone)
    if before.ruled.pre_holds:
        # What a reservation has taken the place of is there no more; any other way out gives it back.
        kept = {hold.id for hold in after.ruled.pre_holds}
        messages += [
            Message(warehouse_key(hold.warehouse), Release(hold.id))
            for hold in before.ruled.pre_holds
            if hold.id not in kept
        ]
    if after.ruled is not before.ruled or after.ruled.buyer:
        messages += _noted(key, events, before, after)
    if lines := tuple([(sku, units) for sku, units in gone.items() if sku and units]):
        issue = Issue(f"{key}/issued-{after.attempts + 1}", key, lines, _shipped_ms(events, after))
        messages.append(Message(warehouse_key(stock.codes[0]), issue))
    if after.cases is not before.cases:
        reactions = after_sale_goods.react(key, events, stand_of(after).lines, stock.codes[0], after.ruled.keep)
        messages += [Message(to, command) for to, command in reactions]
    if (
        after.lines is not before.lines
        or after.cancelled is not before.cancelled
        or (after.status in PAID) is not (before.status in PAID)
    ) and (_some_unmapped(after.lines) or _some_unmapped(before.lines)):
        waits = unmapped(after)
        if waits or unmapped(before):
            messages.append(Message(skus_key_of(key), AwaitSkus(key, waits)))
    wanted = stock_wanted(after)
    if wanted:
        if not stock_wanted(before):
            messages.append(_allocating(key, after, wanted, _with_freed(stock, messages, before)))
    elif after.allocations:
        # One after the other, each when the one before is held: whatever else happens meanwhile asks for nothing twice.
        planned = next((each for each in after.allocations if not each.held), None)
        if planned is not None and after.allocations is not before.allocations:
            messages.append(_reserving(key, after, planned))
    elif pre_wanted(after) and (
        not pre_wanted(before) or before.ruled.gifts != after.ruled.gifts or _lost(before, after)
    ):
        future = after.kind == "presale"
        messages += [
            Message(warehouse_key(each.warehouse), PreReserve(each.id, key, each.lines, after.ruled.keep, future))
            for each in pre_plan(key, after, _with_freed(stock, messages, before))
        ]
    return messages


def _with_freed(stock: Stock, messages: Sequence[Message], before: Order) -> Stock:
    """Return the warehouses with the units that these messages give back."""
    if not messages:
        return stock
    held = {each.id: each for each in (*before.allocations, *before.ruled.pre_holds)}
    freed: dict[str, dict[str, int]] = {}
    for message in messages:
        command = message.command
        if isinstance(command, Release) and command.allocation in held and not held[command.allocation].due_ms:
            allocation = held[command.allocation]
            there = freed.setdefault(allocation.warehouse, {})
            for sku, units in command.lines or allocation.lines:
                there[sku] = there.get(sku, 0) + units
    return msgspec.structs.replace(stock, freed=freed) if freed else stock


def _noted(key: str, events: Sequence[Event], before: Order, after: Order) -> list[Message]:
    """Tell who keeps it of an order that may be a repeated one, and of what its buyer owes for it."""
    messages: list[Message] = []
    within_ms = 0
    for event in events:
        if type(event) is OrderRouted:
            within_ms = max(within_ms, event.suspect_within_ms)
    if within_ms or after.ruled.buyer:
        view = next((event.snapshot for event in events if isinstance(event, OrderNormalized | OrderAmended)), None)
        if view is not None and within_ms and view.customer:
            note = NoteOrder(key, goods_of(view), view.ordered_at.utc_ms, within_ms)
            messages.append(Message(trail_key(buyer_of(view.channel, view.customer)), note))
        owed = owed_of(after) if after.ruled.buyer else 0
        if owed != (owed_of(before) if before.ruled.buyer else 0):
            messages.append(Message(BUYERS_KEY, NoteOwed(key, after.ruled.buyer, owed)))
    return messages


def react_to_trail(events: Sequence[Event]) -> list[Message]:
    """Return what a trail's step means for the order that was noted."""
    return [
        Message(event.order, ReportDuplicate(event.of, event.apart_ms))
        for event in events
        if isinstance(event, DuplicateSuspected)
    ]


def _lost(before: Order, after: Order) -> bool:
    """Whether something that was pre-reserved is no longer."""
    kept = {hold.id for hold in after.ruled.pre_holds}
    return any(hold.id not in kept for hold in before.ruled.pre_holds)


def _settling(key: str, order: Order) -> list[Message]:
    """Have the order follow what payments and parcels mean, before anything else is done for it."""
    messages = []
    if order.payments.movements and unsettled(verdict(order), order.interceptions):
        messages.append(Message(key, SettlePayments()))
    if order.tracking.parcels and (arrived(order) or over(order)):
        messages.append(Message(key, SettleDelivery()))
    return messages


def _allocating(key: str, order: Order, wanted: Quantities, stock: Stock) -> Message:
    """Ask the one warehouse that serves all of it, or have the order note which ones share the work."""
    code = plain_warehouse(order, wanted, stock)
    if code:
        return _reserving(key, order, Allocation(f"{key}/{order.attempts + 1}", code, wanted))
    planned = plan(key, order, stock)
    if len(planned) > 1 or planned[0].area or planned[0].unprocessed:
        return Message(key, TakePlan(planned))
    return _reserving(key, order, planned[0])


def _reserving(key: str, order: Order, allocation: Allocation) -> Message:
    ruled = order.ruled
    holds = tuple([hold.id for hold in ruled.pre_holds if hold.warehouse == allocation.warehouse])
    return Message(
        warehouse_key(allocation.warehouse), Reserve(allocation.id, key, allocation.lines, ruled.keep, holds)
    )


def _some_unmapped(lines: Sequence[Line]) -> bool:
    for line in lines:  # noqa: SIM110  a generator would cost more than the whole question
        if not line.sku:
            return True
    return False


def _gone(events: Sequence[Event], before: Order, after: Order) -> dict[str, int]:
    """SKU → units that have left in this step, or whose SKU became known only after they had left."""
    if after.shipped == before.shipped and after.lines == before.lines and after.sent == before.sent:
        return {}
    for event in events:
        if isinstance(event, OrderShipped | PartiallyShipped) and event.command:
            # We sent what was picked, be it what the channel wants by now or not.
            ours = [each for each in before.allocations if each.id == event.allocation]
            return dict(ours[0].lines) if ours else {}
    known = {line.id: line.sku for line in before.lines if line.sku or line.id not in before.shipped}
    parts = {kit.line: kit.parts for kit in after.ruled.kits}
    sent = dict(before.sent)
    gone: dict[str, int] = {}
    for line, units in live_lines(after):
        if line.id in after.shipped and (line.id not in before.shipped or (line.sku and line.id not in known)):
            left = units - sent.get(line.id, 0)
            for sku, each in parts.get(line.id, ((line.sku, 1),)):
                gone[sku] = gone.get(sku, 0) + left * each
    for gift in after.ruled.gifts:
        if gift_line(gift) in after.shipped and gift_line(gift) not in before.shipped and before.allocations:
            gone[gift.sku] = gone.get(gift.sku, 0) + gift.units - sent.get(gift_line(gift), 0)
    return gone


def _settle(held: Sequence[Allocation], kept: Sequence[Allocation], gone: dict[str, int]) -> list[Message]:
    """Tell the ledgers what became of allocations; what they cover is taken out of `gone`.

    Those of which nothing is kept come first: it is their goods that have left.
    """
    left = {each.id: each for each in kept}
    messages: list[Message] = []
    for each in sorted(held, key=lambda allocation: allocation.id in left) if len(held) > 1 else held:
        after = left.get(each.id)
        if each.held and (after is None or after.lines != each.lines):
            messages += _settled(each, dict(after.lines) if after is not None else {}, gone)
    return messages


def _settled(held: Allocation, keep: dict[str, int], gone: dict[str, int]) -> list[Message]:
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
    """Return what a ledger's step means for the order it was asked for, or for the warehouse that goods go to."""
    messages = []
    warehouse = warehouse_of(key)
    for place, event in enumerate(events):
        match event:
            case StockReserved():
                messages.append(Message(event.order, ConfirmReserved(event.allocation, warehouse, event.lines)))
            case StockPreReserved():
                after = events[place + 1] if place + 1 < len(events) else None
                if not isinstance(after, StockPromised):
                    held = ConfirmPreReserved(event.allocation, warehouse, event.lines)
                    messages.append(Message(event.order, held))
            case StockPromised():
                before = events[place - 1] if place else None
                lines = (*before.lines, *event.lines) if isinstance(before, StockPreReserved) else event.lines
                promised = ConfirmPreReserved(event.allocation, warehouse, summed(lines), event.due_ms)
                messages.append(Message(event.order, promised))
            case PromiseCovered():
                if event.whole:
                    messages.append(Message(event.order, ConfirmArrived(event.allocation)))
            case StockMovedOut():
                moved = TakeMoved(event.document, warehouse, event.lines)
                messages.append(Message(warehouse_key(event.to), moved))
            case ReservationRefused():
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
