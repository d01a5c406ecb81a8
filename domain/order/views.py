"""Decisions: what follows from a channel's view of an order, and from a SKU that becomes known."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain.canonical import Line, Snapshot
from domain.decider import Command, Event
from domain.order.after_sales import follow_lines
from domain.order.approving import ask_approvals
from domain.order.basics import PAID, PAYMENT_TERM_MS, PAYMENT_TIMER, STATUS_RANK
from domain.order.cancelling import cancel
from domain.order.commands import MapSkus, TakeSnapshot
from domain.order.events import (
    DepositPaid,
    InterceptionResolved,
    OrderAmended,
    OrderCompleted,
    OrderNormalized,
    OrderOutdated,
    OrderPaid,
    OrderReceived,
    OrderRepeated,
    OrderShipped,
    OrderSkusMapped,
    PartiallyShipped,
    QueueReleased,
    TimerCleared,
    TimerSet,
)
from domain.order.obeying import obey
from domain.order.risks import look_for_changes, look_for_flaws, look_for_risks
from domain.order.services import open_services
from domain.order.state import NOT_RULED, Order
from domain.order.steps import Steps, clear_timers, intercept, issue_pick_lists, note_paid, resolve_all, resolve_reason
from domain.rulings import UNRULED


def _take_snapshot(command: TakeSnapshot, state: Order, now_ms: int) -> Sequence[Event]:
    snapshot = command.snapshot
    steps = Steps(state)
    if state.status == "":
        steps.add(
            OrderReceived(snapshot.channel, snapshot.shop, snapshot.order_no, command.payload),
            OrderNormalized(snapshot, command.digest, command.address, command.mapping, command.mapped),
            *clear_timers(state),
        )
        for interception, _ in state.interceptions:
            steps.add(InterceptionResolved(interception, "order_known"))
    else:
        if command.digest == state.digest:
            return (OrderRepeated(command.digest),)
        if not is_newer(command, state):
            modified_ms = snapshot.modified_at.utc_ms
            return (OrderOutdated(modified_ms, state.modified_ms, command.digest, command.payload),)
        changed = tuple(
            name
            for name, differs in (
                ("lines", snapshot.lines != state.lines),
                ("amounts", snapshot.amounts != state.amounts),
                ("address", command.address != state.address),
                ("holds", snapshot.holds != state.holds),
            )
            if differs
        )
        amended = (snapshot, command.digest, command.address, changed, command.payload)
        steps.add(OrderAmended(*amended, command.mapping, command.mapped))
        _look_back(steps, state, snapshot, now_ms)
    if command.mapping == state.mapping or not _is_reread(snapshot, state):
        _advance(steps, snapshot)
        follow_lines(steps, state.lines, snapshot)
    if steps.state.status in PAID:
        open_services(steps, snapshot)
    unpaid = steps.state.status == "awaiting_payment"
    if command.ruling is not UNRULED or state.ruled is not NOT_RULED or (unpaid and command.flaws):
        obey(steps, command.ruling, command.flaws, state, now_ms)
    look_for_changes(steps, state, now_ms)
    look_for_flaws(steps, command.flaws, now_ms)
    look_for_risks(steps, now_ms)
    ask_approvals(steps, command.ruling, now_ms)
    issue_pick_lists(steps)
    if state.status == "" and state.queue:
        steps.add(QueueReleased("order", "order_known"))
    return steps


def is_newer(command: TakeSnapshot, state: Order) -> bool:
    """Whether a view is newer than the one we have; of the same moment (channels count in seconds), further along.

    A total order, so that views end alike in whatever order they come. What a later mapping reads from the same bytes
    goes before what an earlier one did.
    """
    snapshot = command.snapshot
    said = (snapshot.modified_at.utc_ms, snapshot.revision, STATUS_RANK[snapshot.status])
    known = (state.modified_ms, state.revision, state.rank)
    if said != known:
        return said > known
    read = (*_done(snapshot.lines), command.mapping, command.digest)
    return read > (*_done(state.lines), state.mapping, state.digest)


def _is_reread(snapshot: Snapshot, state: Order) -> bool:
    """Whether a view, read by another mapping, says of the order what was known: nothing is to be followed again."""
    known = (state.modified_ms, state.revision, state.rank)
    return (snapshot.modified_at.utc_ms, snapshot.revision, STATUS_RANK[snapshot.status]) == known and [
        (line.id, line.quantity, line.state, line.after_sale) for line in snapshot.lines
    ] == [(line.id, line.quantity, line.state, line.after_sale) for line in state.lines]


def _done(lines: Sequence[Line]) -> tuple[int, int, int]:
    """Count what cannot be undone: lines that have left, lines that were refunded, lines whose SKU is known."""
    return (
        sum(line.state == "shipped" for line in lines),
        sum(line.after_sale == "refunded" for line in lines),
        sum(line.sku != "" for line in lines),
    )


def _advance(steps: Steps, snapshot: Snapshot) -> None:
    """Move the fulfilment axis as far as the channel's view says, step by step along the table."""
    target = snapshot.status
    if target == "awaiting_payment":
        if steps.state.status == "awaiting_payment":
            _wait_for_payment(steps, snapshot)
        return
    gone = _said_to_be_gone(snapshot) if target in ("allocating", "cancelled") else ()
    if target == "cancelled" and not gone:
        cancel(steps, snapshot.cancel_reason or snapshot.native_status, snapshot.modified_at.utc_ms)
        return
    if steps.state.status == "awaiting_payment":
        paid_at = snapshot.paid_at or snapshot.modified_at
        amount = snapshot.amounts.paid
        if not amount and snapshot.paid_at is not None:
            amount = snapshot.amounts.payable
        note_paid(steps, OrderPaid(amount, snapshot.amounts.currency, paid_at.utc_ms))
    shipped_at = (snapshot.shipped_at or snapshot.modified_at).utc_ms
    if target in ("allocating", "cancelled"):
        newly = tuple(line_id for line_id in gone if line_id not in steps.state.shipped)
        if newly and steps.state.status in ("paid", "allocating"):
            steps.add(PartiallyShipped(newly, snapshot.parcels, shipped_at))
        if target == "cancelled":
            cancel(steps, snapshot.cancel_reason or snapshot.native_status, shipped_at)
        return
    if target in ("shipped", "completed") and steps.state.status in ("paid", "allocating"):
        allocations = steps.state.allocations
        steps.add(
            OrderShipped(snapshot.parcels, shipped_at, allocations[0].id if len(allocations) == 1 else ""),
            *resolve_all(steps.state, "shipped_by_channel"),
        )
    if target == "completed" and steps.state.status == "shipped":
        steps.add(OrderCompleted((snapshot.completed_at or snapshot.modified_at).utc_ms))


def _said_to_be_gone(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the lines that have left, as the channel says: by line, or of the whole order by a shipping time."""
    gone = tuple(line.id for line in snapshot.lines if line.state == "shipped")
    if not gone and snapshot.shipped_at is not None and snapshot.status == "cancelled":
        return tuple(line.id for line in snapshot.lines if line.state == "open")
    return gone


def _look_back(steps: Steps, before: Order, snapshot: Snapshot, now_ms: int) -> None:
    """Have people look where the channel's status does not follow from what it, or we, said before."""
    rank = STATUS_RANK[snapshot.status]
    if rank == before.rank or before.kind == "counter":
        return
    if rank > before.rank:
        steps.add(*resolve_reason(steps.state, "moved_backwards", "moved_on"))
    if before.status == "cancelled":
        if snapshot.status == "cancelled":
            steps.add(*resolve_reason(steps.state, "alive_after_cancelling", "cancelled"))
        elif snapshot.status != "awaiting_payment":
            intercept(
                steps,
                "alive_after_cancelling",
                f"the order is cancelled here; the channel now says {snapshot.native_status}",
                "cancel and refund it on the channel, or have it ordered again; "
                "where goods have left, put the stock right",
                "service",
                now_ms,
            )
    elif rank < before.rank and rank < STATUS_RANK["shipped"] and rank < _rank_of(before):
        intercept(
            steps,
            "moved_backwards",
            f"the order is {before.status} here; the channel went back to {snapshot.native_status}",
            "ask the channel what happened (payment taken back? shipping called off?); release to go on as before",
            "operations",
            now_ms,
        )


def _rank_of(state: Order) -> int:
    return STATUS_RANK[state.status] if state.status else -1


def _wait_for_payment(steps: Steps, snapshot: Snapshot) -> None:
    paid = snapshot.amounts.paid
    if paid and paid != steps.state.deposit:
        steps.add(DepositPaid(paid, snapshot.amounts.currency))
    open_due = dict(steps.state.timers).get(PAYMENT_TIMER)
    if paid and not snapshot.pay_by:
        if open_due is not None:
            steps.add(TimerCleared(PAYMENT_TIMER, fired=False))
        return
    due = snapshot.pay_by.utc_ms if snapshot.pay_by else snapshot.ordered_at.utc_ms + PAYMENT_TERM_MS
    if due == open_due or (open_due is None and due == steps.state.overdue_ms):
        return
    if open_due is not None:
        steps.add(TimerCleared(PAYMENT_TIMER, fired=False))
    steps.add(*resolve_reason(steps.state, "payment_timeout", "deadline_moved"))
    steps.add(TimerSet(PAYMENT_TIMER, due))


def _map_skus(command: MapSkus, state: Order, now_ms: int) -> Sequence[Event]:
    """Give lines the SKUs of their items; what had stopped the order for want of them is over."""
    skus = dict(command.skus)
    lines = tuple((line.id, skus[line.item]) for line in state.lines if not line.sku and line.item in skus)
    if not lines:
        return ()
    steps = Steps(state)
    steps.add(OrderSkusMapped(lines))
    look_for_risks(steps, now_ms)
    issue_pick_lists(steps)
    return steps


DECIDE: Mapping[type[Command], Callable[[Any, Order, int], Sequence[Event]]] = {
    TakeSnapshot: _take_snapshot,
    MapSkus: _map_skus,
}
