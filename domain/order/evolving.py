"""What an order is after each of its events."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from domain import after_sale_case, payments, people, picking, service_work, tracking
from domain.after_sale import OrderRefunded, ReplacementShipped
from domain.canonical import Line
from domain.decider import Event
from domain.delivery import DeliveryConfirmed, added
from domain.erasure import OrderForgettingAwaited, OrderForgettingWithdrawn, OrderForgotten
from domain.order.basics import (
    COMPLETE_TIMER,
    PAYMENT_TIMER,
    PROMISE_TIMER,
    STATUS_RANK,
    Allocation,
    Effects,
    Quantities,
)
from domain.order.events import (
    DepositPaid,
    EffectFailed,
    EffectSucceeded,
    GiftPreReserved,
    GiftsGranted,
    GiftsWaived,
    InterceptionResolved,
    LinesCancelled,
    LotsRecorded,
    OrderAllocated,
    OrderAmended,
    OrderCancelled,
    OrderCompleted,
    OrderIntercepted,
    OrderNormalized,
    OrderOutdated,
    OrderPaid,
    OrderPicked,
    OrderProcessed,
    OrderPromised,
    OrderQuarantined,
    OrderReceived,
    OrderRefused,
    OrderReleased,
    OrderRepeated,
    OrderReserved,
    OrderRouted,
    OrderShipped,
    OrderSkusMapped,
    PartiallyShipped,
    PickListIssued,
    PresaleArrived,
    PresaleLocked,
    QueuedBehind,
    QueueReleased,
    ReservationFailed,
    ServiceOpened,
    TimerCleared,
    TimerSet,
)
from domain.order.questions import (
    after_sales_of,
    gift_line,
    held_of,
    is_pre_hold,
    left_by_line,
    live_lines,
    needs,
    resent_line,
    units_of,
)
from domain.order.state import Order, Waiting
from domain.picking import ItemScanned, ItemUnscanned, PickError
from domain.stock import taken_of

_replace = msgspec.structs.replace
_NONE_MAPPED: frozenset[str] = frozenset()


def _normalized(state: Order, event: OrderNormalized) -> Order:
    snapshot = event.snapshot
    return Order(
        status="awaiting_payment",
        kind=snapshot.kind,
        digest=event.digest,
        mapping=event.mapping,
        modified_ms=snapshot.modified_at.utc_ms,
        revision=snapshot.revision,
        rank=STATUS_RANK[snapshot.status],
        address=event.address,
        lines=snapshot.lines,
        mapped=frozenset(event.mapped) if event.mapped else _NONE_MAPPED,
        amounts=snapshot.amounts,
        holds=snapshot.holds,
        interceptions=state.interceptions,
        timers=state.timers,
        commands=state.commands,
        refused=state.refused,
        quarantined=state.quarantined,
        queue=state.queue,
        effects=state.effects,
        people=state.people,
        payments=state.payments,
        forgotten=state.forgotten,
        awaited=state.awaited,
    )


def _amended(state: Order, event: OrderAmended) -> Order:
    snapshot = event.snapshot
    shipped = state.shipped
    if snapshot.kind == "counter" and state.status in ("shipped", "completed"):
        # Goods that are added to a sale over the counter went over it with the others: nothing else will say so.
        shipped |= {line.id for line in snapshot.lines if line.state == "shipped"}
    return _replace(
        state,
        digest=event.digest,
        mapping=event.mapping,
        modified_ms=snapshot.modified_at.utc_ms,
        revision=snapshot.revision,
        rank=STATUS_RANK[snapshot.status],
        address=event.address,
        lines=snapshot.lines,
        mapped=frozenset(event.mapped) if event.mapped else _NONE_MAPPED,
        amounts=snapshot.amounts,
        holds=snapshot.holds,
        shipped=shipped,
        tracking=tracking.corrected(state.tracking, snapshot.parcels) if state.shipped else state.tracking,
        cancelled=_followed(state, snapshot.lines) if state.cancelled else (),
    )


def _followed(state: Order, lines: Sequence[Line]) -> tuple[tuple[str, int], ...]:
    """Return what of our own cancellations the channel's newer lines do not show yet.

    A channel that lowers a line has followed them; taking them off once more would ship too little.
    """
    before = {line.id: line.quantity for line in state.lines}
    now = {line.id: line.quantity for line in lines if line.state != "cancelled"}
    return tuple(
        (line_id, left)
        for line_id, units in state.cancelled
        if line_id in now and (left := units - max(before.get(line_id, 0) - now[line_id], 0)) > 0
    )


def _skus_mapped(state: Order, event: OrderSkusMapped) -> Order:
    skus = dict(event.lines)
    lines = tuple(_replace(line, sku=skus[line.id]) if line.id in skus else line for line in state.lines)
    return _replace(state, lines=lines, mapped=state.mapped | skus.keys())


def _routed(state: Order, event: OrderRouted) -> Order:
    ruled = _replace(
        state.ruled,
        routes=event.routes,
        kits=event.kits,
        tags=event.tags,
        priority=event.priority,
        keep=event.keep,
        lots=event.lots,
        buyer=event.buyer,
        when_paid=event.when_paid,
    )
    return _replace(state, ruled=ruled)


def _pre_reserved(state: Order, event: GiftPreReserved | PresaleLocked) -> Order:
    due_ms = event.due_ms if isinstance(event, PresaleLocked) else 0
    hold = Allocation(event.allocation, event.warehouse, event.lines, due_ms=due_ms)
    holds = (*state.ruled.pre_holds, hold)
    return _replace(state, ruled=_replace(state.ruled, pre_holds=holds, pre_attempts=state.ruled.pre_attempts + 1))


def _presale_arrived(state: Order, event: PresaleArrived) -> Order:
    holds = tuple(_replace(each, due_ms=0) if each.id == event.allocation else each for each in state.ruled.pre_holds)
    return _replace(state, ruled=_replace(state.ruled, pre_holds=holds))


def _promised(state: Order, event: OrderPromised) -> Order:
    timers = (*state.timers, (PROMISE_TIMER, event.ship_by_ms))
    return _replace(state, timers=timers, ruled=_replace(state.ruled, promised=True))


def _allocated(state: Order, event: OrderAllocated) -> Order:
    return _replace(state, allocations=event.allocations, attempts=state.attempts + 1)


def _reserved(state: Order, event: OrderReserved) -> Order:
    planned = tuple([_replace(each, held=True) if each.id == event.allocation else each for each in state.allocations])
    ruled = state.ruled
    if ruled.pre_holds:
        others = any(not each.held for each in planned)
        ruled = _replace(ruled, pre_holds=_not_taken(ruled.pre_holds, event) if others else ())
    return _replace(
        state,
        status="allocating",
        allocations=planned or (Allocation(event.allocation, event.warehouse, event.lines),),
        attempts=state.attempts if planned else state.attempts + 1,
        ruled=ruled,
    )


def _not_taken(holds: tuple[Allocation, ...], reserved: OrderReserved) -> tuple[Allocation, ...]:
    """Return what is still pre-reserved when the ledger has put a part of a plan in the place of the rest."""
    left = dict(reserved.lines)
    kept = []
    for hold in holds:
        taken = dict(taken_of(hold.lines, left)) if hold.warehouse == reserved.warehouse else {}
        lines = tuple((sku, units - taken.get(sku, 0)) for sku, units in hold.lines if units > taken.get(sku, 0))
        if lines:
            kept.append(_replace(hold, lines=lines))
    return tuple(kept)


def _reservation_failed(state: Order, event: ReservationFailed) -> Order:
    if any(each.id == event.allocation for each in state.allocations):
        # One of several was refused: the others are given back.
        return _replace(state, status="allocating" if state.shipped or state.sent else "paid", allocations=())
    return _replace(state, attempts=state.attempts + 1)


def _gifts_short(state: Order) -> Order:
    return _replace(state, ruled=_replace(state.ruled, pre_attempts=state.ruled.pre_attempts + 1))


def _released(state: Order, event: OrderReleased) -> Order:
    ruled = state.ruled
    if any(hold.id == event.allocation for hold in ruled.pre_holds):
        holds = tuple(hold for hold in ruled.pre_holds if hold.id != event.allocation)
        return _replace(state, ruled=_replace(ruled, pre_holds=holds))
    left = tuple(each for each in state.allocations if each.id != event.allocation)
    return _replace(state, status="allocating" if left or state.shipped or state.sent else "paid", allocations=left)


def _of_allocation(state: Order, allocation: str, change: Callable[[Allocation], Allocation]) -> Order:
    allocations = tuple([change(each) if each.id == allocation else each for each in state.allocations])
    return _replace(state, allocations=allocations)


def _kept(allocations: Sequence[Allocation], wanted: Mapping[str, int]) -> tuple[Allocation, ...]:
    """Return what the allocations still hold if only so many units of each SKU are wanted; the last ones give first."""
    left = dict(wanted)
    kept = []
    for each in allocations:
        lines = []
        for sku, units in each.lines:
            keep = min(units, left.get(sku, 0))
            if keep > 0:
                left[sku] -= keep
                lines.append((sku, keep))
        if lines:
            kept.append(_replace(each, lines=tuple(lines)))
    return tuple(kept)


def _kept_by_line(state: Order) -> tuple[Allocation, ...]:
    """Return what the allocations still hold of what is wanted, line by line; of a shared line the last ones give."""
    parts: dict[str, Quantities] = {line.id: ((line.sku, 1),) for line in state.lines}
    parts.update((gift_line(gift), ((gift.sku, 1),)) for gift in state.ruled.gifts)
    parts.update((kit.line, kit.parts) for kit in state.ruled.kits)
    left = left_by_line(state)
    kept = []
    for each in state.allocations:
        lines = dict(each.lines)
        units = []
        for line_id, held in each.units:
            keep = max(min(held, left.get(line_id, 0)), 0)
            left[line_id] = left.get(line_id, 0) - keep
            if keep:
                units.append((line_id, keep))
            for sku, of_one in parts.get(line_id, ()):
                lines[sku] = lines.get(sku, 0) - (held - keep) * of_one
        still = tuple((sku, quantity) for sku, quantity in lines.items() if quantity > 0)
        if still:
            kept.append(_replace(each, lines=still, units=tuple(units)))
    return tuple(kept)


def _partially_shipped(state: Order, event: PartiallyShipped) -> Order:
    gone = frozenset(event.lines)
    state = _replace(state, tracking=tracking.sent(state.tracking, event.parcels, own=bool(event.command)))
    if event.allocation:
        left = tuple(each for each in state.allocations if each.id != event.allocation)
        units = dict(state.sent)
        for line_id, sent in event.units:
            units[line_id] = units.get(line_id, 0) + sent
        sent_so_far = tuple((line_id, sent) for line_id, sent in units.items() if line_id not in gone)
        return _replace(
            state,
            status="allocating",
            shipped=state.shipped | gone,
            sent=sent_so_far,
            allocations=left,
            commands=_with_command(state, event.command),
        )
    left = state.allocations
    if any(each.units for each in left):
        left = _kept_by_line(_replace(state, shipped=state.shipped | gone))
    elif left:
        leaves = units_of(state, gone - state.shipped)
        left = _kept(left, {sku: held - leaves.get(sku, 0) for sku, held in held_of(left).items()})
    return _replace(state, status="allocating", shipped=state.shipped | gone, allocations=left)


def _shipped(state: Order, event: OrderShipped) -> Order:
    timers = state.timers
    if timers:
        timers = tuple([pair for pair in timers if pair[0] != PROMISE_TIMER])
    gone = frozenset([line.id for line, _ in live_lines(state)])
    ruled = state.ruled
    if ruled.gifts or ruled.pre_holds:
        unsent = dict(event.unsent)
        left = ((gift, gift.units - unsent.get(gift_line(gift), 0)) for gift in ruled.gifts)
        gifts = tuple(_replace(gift, units=units) for gift, units in left if units > 0)
        gone |= {gift_line(gift) for gift in gifts}
        ruled = _replace(ruled, gifts=gifts, pre_holds=())
    return _replace(
        state,
        status="shipped",
        shipped=gone,
        sent=(),
        allocations=(),
        timers=timers,
        ruled=ruled,
        tracking=tracking.sent(state.tracking, event.parcels, own=bool(event.command)),
        commands=_with_command(state, event.command),
    )


def _cancelled(state: Order, event: OrderCancelled) -> Order:
    ruled = _replace(state.ruled, pre_holds=()) if state.ruled.pre_holds else state.ruled
    return _replace(
        state, status="cancelled", allocations=(), ruled=ruled, commands=_with_command(state, event.command)
    )


def _lines_cancelled(state: Order, event: LinesCancelled) -> Order:
    units = dict(state.cancelled)
    for line_id, quantity in event.lines:
        units[line_id] = units.get(line_id, 0) + quantity
    after = _replace(state, cancelled=tuple(sorted(units.items())), commands=_with_command(state, event.command))
    if not state.allocations:
        return after
    if any(each.units for each in state.allocations):
        return _replace(after, allocations=_kept_by_line(after))
    return _replace(after, allocations=_kept(state.allocations, dict(needs(after))))


def _after_sale_moved(state: Order, event: Event) -> Order:
    after = after_sale_case.evolve(after_sales_of(state), event)
    commands = _with_command(state, getattr(event, "command", ""))
    paid, track = state.payments, state.tracking
    if isinstance(event, OrderRefunded):
        paid = payments.given_back(paid, event.amount, transfer=event.method == "transfer")
    elif isinstance(event, ReplacementShipped):
        track = tracking.sent_beside(track, event.parcel)
    return _replace(
        state,
        cases=after.cases,
        after_sales=after.stages,
        returned=after.returned,
        payments=paid,
        commands=commands,
        tracking=track,
        replaced=_replaced(state, event) if isinstance(event, ReplacementShipped) else state.replaced,
    )


def _replaced(state: Order, event: ReplacementShipped) -> Quantities:
    """Return what was sent for cases, with what leaves for this one now."""
    case = after_sale_case.case_numbered(after_sales_of(state), event.case)
    if case is None or case.replacement is None:
        return state.replaced
    lines = tuple((resent_line(event.case, sku), units) for sku, units in case.replacement.lines)
    return after_sale_case.added(state.replaced, lines)


def _service_moved(state: Order, event: Any) -> Order:
    stages = service_work.evolve(state.service_stages, event)
    return _replace(state, service_stages=stages, commands=_with_command(state, event.command))


def _with_command(state: Order, command: str) -> tuple[str, ...]:
    return (*state.commands, command) if command and command not in state.commands else state.commands


def _intercepted(state: Order, event: OrderIntercepted) -> Order:
    ruled = state.ruled
    if event.rule and event.rule not in ruled.found:
        ruled = _replace(ruled, found=(*ruled.found, event.rule))
    return _replace(state, interceptions=(*state.interceptions, (event.interception, event.reason)), ruled=ruled)


def _without_interception(state: Order, event: InterceptionResolved) -> Order:
    return _replace(
        state,
        interceptions=tuple(pair for pair in state.interceptions if pair[0] != event.interception),
        payments=payments.resolved(state.payments, event.interception, event.decision, event.command),
        commands=_with_command(state, event.command),
    )


def _timer_cleared(state: Order, event: TimerCleared) -> Order:
    overdue_ms = state.overdue_ms
    if event.fired and event.timer == PAYMENT_TIMER:
        overdue_ms = dict(state.timers).get(PAYMENT_TIMER, overdue_ms)
    timers = tuple(pair for pair in state.timers if pair[0] != event.timer)
    track = state.tracking
    if event.fired and event.timer == COMPLETE_TIMER:
        track = tracking.overdue(track)
    return _replace(state, timers=timers, overdue_ms=overdue_ms, tracking=track)


def _refused(state: Order, event: OrderRefused | PickError) -> Order:
    if not event.command:
        return state
    refused = (*state.refused, (event.command, event.reason))
    return _replace(state, commands=_with_command(state, event.command), refused=refused)


def _queue_released(state: Order, event: QueueReleased) -> Order:
    return _replace(state, quarantined=None, queue=(), commands=_with_command(state, event.command))


def _scanned(state: Order, event: ItemScanned | ItemUnscanned) -> Order:
    units = event.units if isinstance(event, ItemScanned) else -event.units
    if after_sale_case.case_of_allocation(event.allocation):
        cases = after_sale_case.scanned(state.cases, event.allocation, event.sku, units)
        return _replace(state, cases=cases, commands=_with_command(state, event.command))
    return _replace(
        _of_allocation(
            state, event.allocation, lambda each: _replace(each, scanned=picking.taken(each.scanned, event.sku, units))
        ),
        commands=_with_command(state, event.command),
    )


def _effect_known(state: Order, event: EffectSucceeded | EffectFailed) -> Order:
    return _replace(state, effects=effects_after(state.effects, event))


def effects_after(effects: Effects, event: EffectSucceeded | EffectFailed) -> Effects:
    """Return how acts outside stand after a report that was recorded."""
    stands = (isinstance(event, EffectSucceeded), event.tries, isinstance(event, EffectSucceeded) or event.final)
    others = tuple(each for each in effects if each[:2] != (event.effect, event.key))
    return (*others, (event.effect, event.key, stands))


def _of_people(state: Order, event: Event) -> Order:
    commands = _with_command(state, getattr(event, "command", ""))
    return _replace(state, people=people.evolve(state.people, event), commands=commands)


def _delivery_confirmed(state: Order, event: DeliveryConfirmed) -> Order:
    deliveries = added(state.deliveries, event)
    return _replace(state, deliveries=deliveries, commands=_with_command(state, event.command))


def _of_tracking(state: Order, event: Event) -> Order:
    commands = _with_command(state, getattr(event, "command", ""))
    return _replace(state, tracking=tracking.evolve(state.tracking, event), commands=commands)


def _of_payments(state: Order, event: Event) -> Order:
    commands = _with_command(state, getattr(event, "command", ""))
    return _replace(state, payments=payments.evolve(state.payments, event), commands=commands)


def _forgotten(state: Order, event: OrderForgotten) -> Order:
    """Let go of the digests that the personal half is in: the next view is told apart by its public half alone."""
    return _replace(state, forgotten=event.request, digest="", address="", awaited=())


EVOLVE: Mapping[type[Event], Callable[[Order, Any], Order]] = {
    OrderReceived: lambda state, _: state,
    OrderNormalized: _normalized,
    OrderAmended: _amended,
    OrderSkusMapped: _skus_mapped,
    ServiceOpened: lambda state, event: _replace(state, services=(*state.services, event.identity)),
    OrderRepeated: lambda state, _: state,
    OrderOutdated: lambda state, _: state,
    OrderPaid: lambda state, _: _replace(state, status="paid"),
    DepositPaid: lambda state, event: _replace(state, deposit=event.amount),
    OrderRouted: _routed,
    GiftsGranted: lambda state, event: _replace(state, ruled=_replace(state.ruled, gifts=event.gifts)),
    GiftPreReserved: _pre_reserved,
    PresaleLocked: _pre_reserved,
    PresaleArrived: _presale_arrived,
    GiftsWaived: lambda state, event: _replace(
        state,
        ruled=_replace(state.ruled, gifts=(), waived=True),
        commands=_with_command(state, event.command),
    ),
    OrderPromised: _promised,
    OrderAllocated: _allocated,
    OrderReserved: _reserved,
    ReservationFailed: lambda state, event: (
        _gifts_short(state) if is_pre_hold(event.allocation) else _reservation_failed(state, event)
    ),
    OrderReleased: _released,
    PickListIssued: lambda state, event: _of_allocation(
        state, event.allocation, lambda each: _replace(each, listed=True)
    ),
    OrderProcessed: lambda state, event: _replace(
        _of_allocation(state, event.allocation, lambda each: _replace(each, unprocessed=False)),
        commands=_with_command(state, event.command),
    ),
    ItemScanned: _scanned,
    ItemUnscanned: _scanned,
    PickError: _refused,
    OrderPicked: lambda state, event: _replace(
        _of_allocation(state, event.allocation, lambda each: _replace(each, picked=True)),
        commands=_with_command(state, event.command),
    ),
    LotsRecorded: lambda state, _: state,
    PartiallyShipped: _partially_shipped,
    OrderShipped: _shipped,
    OrderCompleted: lambda state, _: _replace(state, status="completed"),
    OrderCancelled: _cancelled,
    LinesCancelled: _lines_cancelled,
    OrderIntercepted: _intercepted,
    InterceptionResolved: _without_interception,
    OrderRefused: _refused,
    OrderQuarantined: lambda state, event: _replace(
        state, quarantined=Waiting(event.item, event.payload, event.message)
    ),
    QueuedBehind: lambda state, event: _replace(
        state, queue=(*state.queue, Waiting(event.item, event.payload, event.message))
    ),
    QueueReleased: _queue_released,
    EffectSucceeded: _effect_known,
    EffectFailed: _effect_known,
    DeliveryConfirmed: _delivery_confirmed,
    OrderForgotten: _forgotten,
    OrderForgettingAwaited: lambda state, event: _replace(state, awaited=(*state.awaited, event.request)),
    OrderForgettingWithdrawn: lambda state, event: _replace(
        state, awaited=tuple(each for each in state.awaited if each != event.request)
    ),
    TimerSet: lambda state, event: _replace(state, timers=(*state.timers, (event.timer, event.due_ms))),
    TimerCleared: _timer_cleared,
    **dict.fromkeys(people.EVENTS, _of_people),
    **dict.fromkeys(tracking.EVENTS, _of_tracking),
    **dict.fromkeys(payments.EVENTS, _of_payments),
    **dict.fromkeys(after_sale_case.EVENTS, _after_sale_moved),
    **dict.fromkeys(service_work.EVENTS, _service_moved),
}


def timers_of(event: Event) -> tuple[tuple[str, int | None], ...]:
    """Return (timer, due UTC ms, or None where it is cleared) of what an event does to timers of its stream."""
    moves = _TIMERS.get(type(event))
    return () if moves is None else (moves(event),)


_TIMERS: Mapping[type[Event], Callable[[Any], tuple[str, int | None]]] = {
    TimerSet: lambda event: (event.timer, event.due_ms),
    TimerCleared: lambda event: (event.timer, None),
    OrderPromised: lambda event: (PROMISE_TIMER, event.ship_by_ms),
    OrderShipped: lambda _: (PROMISE_TIMER, None),
}


def evolve(state: Order, event: Event) -> Order:
    """Return the order after the event."""
    return EVOLVE[type(event)](state, event)
