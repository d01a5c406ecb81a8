"""Decisions: what waits, by a person's word, a timer, or behind a message that nobody can read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain import approvals
from domain.decider import Command, Event
from domain.order.approving import follow_approvals
from domain.order.basics import (
    APPROVAL_TIMER,
    ORDER_TIMER,
    PAYMENT_TIMER,
    PRESALE_TIMER,
    PROMISE_TIMER,
    QUEUE_MAX,
    WAIT_FOR_ORDER_MS,
)
from domain.order.cancelling import cancel
from domain.order.commands import (
    DiscardQuarantined,
    Quarantine,
    QueueBehind,
    ResendQuarantined,
    ResolveInterception,
    TimerDue,
)
from domain.order.events import (
    GiftsWaived,
    InterceptionResolved,
    OrderIntercepted,
    OrderQuarantined,
    QueuedBehind,
    QueueReleased,
    TimerCleared,
    TimerSet,
)
from domain.order.questions import needs, require_known
from domain.order.refusals import NoSuchInterception, NoSuchQuarantine, NothingToWaive, QueueFull, StillUnmapped
from domain.order.reserving import GIFT_SHORT, PRESALE_OVERDUE
from domain.order.state import Order
from domain.order.steps import Steps, clear_timers, issue_pick_lists, release_holds, resolve_all


def _resolve(command: ResolveInterception, state: Order, now_ms: int) -> Sequence[Event]:
    reason = dict(state.interceptions).get(command.interception)
    if reason is None:
        raise NoSuchInterception(f"no open interception {command.interception!r}")
    steps = Steps(state)
    steps.add(InterceptionResolved(command.interception, command.decision, command.note, command.command_id))
    if command.decision == "cancel":
        require_known(state)
        cancel(steps, f"decided on {command.interception}", now_ms, command.command_id)
        follow_approvals(steps)
        return steps
    if command.decision == "waive":
        if reason != GIFT_SHORT:
            raise NothingToWaive(f"{reason} is no lack of gifts; release the order, or cancel it")
        waived = GiftsWaived(state.ruled.gifts, command.command_id)
        steps.add(waived, *release_holds(state, "gifts_waived"))
    if reason == "unmapped_sku" and any(not sku for sku, _ in needs(state)):
        raise StillUnmapped("a line has no SKU yet; enter its item (orderspine skus set), or cancel the line")
    if reason == "order_unknown" and ORDER_TIMER not in dict(state.timers):
        steps.add(TimerSet(ORDER_TIMER, now_ms + WAIT_FOR_ORDER_MS))
    issue_pick_lists(steps)
    return steps


def _timer_due(command: TimerDue, state: Order, now_ms: int) -> Sequence[Event]:
    if (command.timer, command.due_ms) not in state.timers:
        return ()
    steps = Steps(state)
    steps.add(TimerCleared(command.timer, fired=True))
    if command.timer == PROMISE_TIMER and state.status in ("paid", "allocating"):
        steps.add(
            OrderIntercepted(
                f"overdue_promise-{command.due_ms}",
                "overdue_promise",
                f"it was promised to leave before now (UTC ms {command.due_ms}), and has not",
                "tell the customer; release it and ship it first of all, or cancel it",
                "operations",
                command.due_ms,
            )
        )
    elif command.timer == PRESALE_TIMER and any(hold.due_ms for hold in state.ruled.pre_holds):
        steps.add(
            OrderIntercepted(
                f"{PRESALE_OVERDUE}-{command.due_ms}",
                PRESALE_OVERDUE,
                f"goods promised to the presale were expected by now (UTC ms {command.due_ms}), and have not arrived",
                "ask the supplier and tell the customer the new date; their arrival lifts this by itself; or cancel",
                "operations",
                command.due_ms,
            )
        )
    elif command.timer == PAYMENT_TIMER and state.status == "awaiting_payment":
        steps.add(*release_holds(state, "payment_timeout"))
        steps.add(
            OrderIntercepted(
                f"payment_timeout-{command.due_ms}",
                "payment_timeout",
                f"unpaid past its deadline (UTC ms {command.due_ms})",
                "ask the customer, or cancel the order; a late payment lifts this by itself",
                "service",
                command.due_ms,
            )
        )
    elif command.timer == ORDER_TIMER and state.status == "":
        steps.add(
            OrderIntercepted(
                f"order_unknown-{command.due_ms}",
                "order_unknown",
                f"{len(state.queue)} message(s) wait for an order that no channel has sent",
                "run a reconciliation of the channel, or discard the messages",
                "operations",
                command.due_ms,
            )
        )
    elif command.timer == APPROVAL_TIMER:
        steps.add(*approvals.escalate(steps.state.people.approvals, max(now_ms, command.due_ms)))
        follow_approvals(steps)
    return steps


def _waits_already(command: Quarantine | QueueBehind, state: Order) -> bool:
    """Whether the same bytes (or the same body) wait: a sender that tries again must not fill the queue."""
    waiting = state.queue if state.quarantined is None else (state.quarantined, *state.queue)
    return any((each.payload, each.message) == (command.payload, command.message) for each in waiting)


def _quarantine(command: Quarantine, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if state.quarantined is not None:
        return _queue(QueueBehind(command.item, command.payload, command.message), state, 0)
    return (
        OrderQuarantined(
            command.item,
            command.reason,
            command.where,
            command.advice,
            command.payload,
            command.message,
            command.mapping,
        ),
    )


def _queue(command: QueueBehind, state: Order, now_ms: int) -> Sequence[Event]:
    if _waits_already(command, state):
        return ()
    if len(state.queue) >= QUEUE_MAX:
        raise QueueFull(f"{QUEUE_MAX} messages wait already; resend or discard what blocks them")
    behind = state.quarantined.item if state.quarantined else "order"
    events: list[Event] = [QueuedBehind(command.item, behind, command.payload, command.message)]
    if behind == "order" and not state.queue and ORDER_TIMER not in dict(state.timers):
        events.append(TimerSet(ORDER_TIMER, now_ms + WAIT_FOR_ORDER_MS))
    return events


def _resend(command: ResendQuarantined, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if state.quarantined is None or state.quarantined.item != command.item:
        raise NoSuchQuarantine(f"no quarantined message {command.item!r}")
    return (QueueReleased(command.item, "resend", command=command.command_id),)


def _discard(command: DiscardQuarantined, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if command.item == "order" and state.status == "" and state.queue and state.quarantined is None:
        return (
            QueueReleased("order", "discard", command.reason, command.command_id),
            *clear_timers(state),
            *resolve_all(state, "discarded"),
        )
    if state.quarantined is None or state.quarantined.item != command.item:
        raise NoSuchQuarantine(f"no quarantined message {command.item!r}")
    return (QueueReleased(command.item, "discard", command.reason, command.command_id),)


DECIDE: Mapping[type[Command], Callable[[Any, Order, int], Sequence[Event]]] = {
    ResolveInterception: _resolve,
    TimerDue: _timer_due,
    Quarantine: _quarantine,
    QueueBehind: _queue,
    ResendQuarantined: _resend,
    DiscardQuarantined: _discard,
}
