"""Decisions: what is not wanted any more, before and after it has left."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain import after_sale_acts, after_sale_case
from domain.after_sale import AfterSaleOpened
from domain.decider import Command, Event
from domain.order.approving import follow_approvals
from domain.order.basics import Quantities
from domain.order.commands import CancelLines
from domain.order.events import LinesCancelled, OrderCancelled, OrderShipped
from domain.order.questions import gift_line, live_lines, needs, some_left, stand_of, still_here
from domain.order.refusals import IllegalTransition, UnknownLine
from domain.order.risks import look_for_locks, look_for_risks
from domain.order.state import Order
from domain.order.steps import Steps, clear_timers, guard, issue_pick_lists, resolve_all


def cancel(steps: Steps, reason: str, at_ms: int, command: str = "") -> None:
    """Cancel what has not left; for what has left, open an after-sale."""
    state = steps.state
    voided = state.status == "completed" and state.kind == "counter" and not command
    if voided or (state.status in ("awaiting_payment", "paid", "allocating") and not some_left(state)):
        guard(state, "cancelled")
        steps.add(OrderCancelled(reason, command), *clear_timers(state), *resolve_all(state, "cancelled"))
        return
    if state.status == "allocating":
        rest = tuple(still_here(state).items())
        if rest:
            steps.add(LinesCancelled(rest, reason, command))
        ship_what_left(steps, at_ms, command)
    if steps.state.status not in ("shipped", "completed"):
        return
    stages = dict(steps.state.after_sales)
    lines = tuple(
        (line.id, units)
        for line, units in live_lines(steps.state)
        if line.id not in stages and (command or not line.after_sale)
    )
    if lines:
        skus = after_sale_acts.skus_of(stand_of(steps.state), lines)
        steps.add(AfterSaleOpened(lines, f"cancelled after shipping: {reason}", command=command, skus=skus))


def ship_what_left(steps: Steps, at_ms: int, command: str) -> None:
    """Note that nothing more will follow what is on its way."""
    state = steps.state
    guard(state, "shipped")
    sent = dict(state.sent)
    gifts = [(gift_line(gift), gift.units) for gift in state.ruled.gifts if gift_line(gift) not in state.shipped]
    unsent = tuple((name, left) for name, units in gifts if (left := units - sent.get(name, 0)) > 0)
    steps.add(OrderShipped((), at_ms, "", command, unsent), *resolve_all(state, "nothing_left"))


def _cancel_lines(command: CancelLines, state: Order, now_ms: int) -> Sequence[Event]:
    if state.status == "cancelled":
        raise IllegalTransition("the order is cancelled already")
    live = {line.id: units for line, units in live_lines(state)}
    wanted: dict[str, int] = {}
    for line_id, quantity in command.lines:
        wanted[line_id] = wanted.get(line_id, 0) + quantity
        if quantity <= 0 or wanted[line_id] > live.get(line_id, 0):
            raise UnknownLine(f"cannot cancel {quantity} units of line {line_id}: the order has {live.get(line_id, 0)}")
    steps = Steps(state)
    if not command.lines:
        cancel(steps, command.reason, now_ms, command.command_id)
        follow_approvals(steps)
        return steps
    here = {} if state.status in ("shipped", "completed") else still_here(state)
    back = tuple((name, gone) for name, units in wanted.items() if (gone := units - min(units, here.get(name, 0))))
    rest = tuple((name, min(units, here[name])) for name, units in wanted.items() if name in here)
    for number, lines in after_sale_case.by_case(state.cases, back):
        skus = after_sale_acts.skus_of(stand_of(state), lines)
        steps.add(AfterSaleOpened(lines, command.reason, command=command.command_id, case=number, skus=skus))
    if rest:
        cut_lines(steps, rest, command.reason, now_ms, command.command_id)
    follow_approvals(steps)
    return steps


def cut_lines(steps: Steps, rest: Quantities, reason: str, now_ms: int, command: str) -> None:
    """Cancel units that have not left, and see what that means for the others."""
    steps.add(LinesCancelled(rest, reason, command))
    if not needs(steps.state):
        if some_left(steps.state):
            ship_what_left(steps, now_ms, command)
        else:
            cancel(steps, reason, now_ms, command)
    look_for_locks(steps)
    look_for_risks(steps, now_ms)
    issue_pick_lists(steps)


DECIDE: Mapping[type[Command], Callable[[Any, Order, int], Sequence[Event]]] = {
    CancelLines: _cancel_lines,
}
