"""Decisions: what customers bring back, are paid back, or are sent anew."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain import after_sale, after_sale_acts, after_sale_case
from domain.after_sale import AfterSaleClosed, AfterSaleOpened, OrderRefunded
from domain.canonical import Line, Snapshot
from domain.decider import Command, Event
from domain.order.approving import follow_approvals
from domain.order.cancelling import cut_lines
from domain.order.commands import ReturnGoods
from domain.order.questions import after_sales_of, holds_of, live_lines, resent_sku, stand_of
from domain.order.refusals import IllegalTransition, OrderOnHold, UnknownLine
from domain.order.state import Order
from domain.order.steps import Steps, issue_pick_lists


def follow_lines(steps: Steps, before: Sequence[Line], snapshot: Snapshot) -> None:
    """Follow the after-sale axis, line by line."""
    known = dict(steps.state.after_sales)
    if not known and not [line for line in snapshot.lines if line.after_sale]:
        return
    says = {line.id: line.after_sale for line in snapshot.lines}
    # A channel that cancels what has left may stop showing the after-sale: it stays open here until it is settled.
    over = steps.state.status == "cancelled"
    withdrawn = {
        line.id
        for line in before
        if line.after_sale == "open" and not says.get(line.id) and (snapshot.status != "cancelled" or over)
    }
    lines = snapshot.lines
    closed = tuple(
        line_id
        for line_id, stage in known.items()
        if says.get(line_id) == "closed" or (stage == "open" and line_id in withdrawn)
    )
    said = [(line.id, line.quantity, line.after_sale_id, line.sku) for line in lines if line.after_sale == "open"]
    open_before = frozenset(line.id for line in before if line.after_sale == "open")
    steps.add(*after_sale_acts.follow_open(after_sales_of(steps.state), said, open_before))
    paid_back = _said_to_be_paid_back(steps.state, before, lines)
    unasked = [
        (line.id, line.quantity, line.after_sale_id, line.sku)
        for line in lines
        if line.id in paid_back and after_sale_case.open_case(steps.state.cases, line.id) is None
    ]
    every = frozenset(says)
    steps.add(*after_sale_acts.follow_open(after_sales_of(steps.state), unasked, every, paid_back=True))
    steps.add(*after_sale_acts.follow_refunds(after_sales_of(steps.state), paid_back))
    if closed:
        steps.add(AfterSaleClosed(closed))


def _said_to_be_paid_back(state: Order, before: Sequence[Line], lines: Sequence[Line]) -> dict[str, int]:
    """Return (line id → money) of what the channel says was paid back, as far as it is news.

    Of a line that it said so of before, a person may have opened another case: that one is not settled by it. What a
    payment service told before is not counted again.
    """
    known = dict(state.after_sales)
    told = {line.id for line in before if line.after_sale == "refunded"}
    found: dict[str, int] = {}
    for line in lines:
        if line.after_sale == "refunded" != known.get(line.id):
            case = after_sale_case.open_case(state.cases, line.id)
            if line.id not in told or case is None or not case.kind:
                found[line.id] = 0 if line.id in told and case is not None else line.amount
    if state.payments.movements:
        in_all = sum(line.amount for line in lines if line.id in found or known.get(line.id) == "refunded")
        left = max(in_all - state.payments.refunded, 0)
        for line_id, amount in found.items():
            found[line_id] = min(amount, left)
            left -= found[line_id]
    return found


def _return_goods(command: ReturnGoods, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if state.status not in ("shipped", "completed"):
        raise IllegalTransition(f"goods of an order that is {state.status} cannot come back")
    back = dict(state.returned)
    out = [(line.id, units) for line, units in live_lines(state)] + list(state.replaced)
    left = {name: units - back.get(name, 0) for name, units in out}
    taken: dict[str, int] = {}
    for sku, quantity, _ in command.lines:
        missing = quantity
        same = [
            line.id
            for line in state.lines
            if (line.sku or line.item) == sku or (line.item == sku and line.id in state.mapped)
        ]
        for name in (*same, *(name for name, _ in state.replaced if resent_sku(name) == sku)):
            if missing > 0 and (units := min(left.get(name, 0), missing)) > 0:
                left[name] -= units
                missing -= units
                taken[name] = taken.get(name, 0) + units
        if missing or quantity <= 0:
            raise UnknownLine(f"{quantity} × {sku} came back, but so many were not bought or have come back already")
    if not taken:
        raise UnknownLine("a return without goods")
    amount = sum(refund for _, _, refund in command.lines)
    steps = Steps(state)
    for number, lines in after_sale_case.by_case(state.cases, tuple(taken.items())):
        skus = after_sale_acts.skus_of(stand_of(state), lines)
        steps.add(AfterSaleOpened(lines, command.reason, command.reference, command.command_id, number, skus=skus))
    steps.add(OrderRefunded(tuple(taken), amount, command.reference, command.command_id))
    return steps


def _act_on_after_sale(command: Command, state: Order, now_ms: int) -> Sequence[Event]:
    """What people do about after-sales; a refund that is approved before the goods left cancels them."""
    if isinstance(command, after_sale.SendReplacement):
        check_stopped(state)
    steps = Steps(state)
    steps.add(*after_sale_acts.decide(command, after_sales_of(state), stand_of(state)))
    if isinstance(command, after_sale.ApproveAfterSale) and steps and state.status in ("paid", "allocating"):
        case = state.cases[command.case - 1]
        still = {line_id: sold.units - sold.gone for line_id, sold in stand_of(state).lines.items()}
        lines = {line.id for line in state.lines}
        rest = tuple((line, min(units, still[line])) for line, units in case.lines if line in lines and still[line] > 0)
        if rest and case.kind in ("", "refund_only"):
            cut_lines(steps, rest, f"after-sale case {case.number}", now_ms, command.command_id)
    follow_approvals(steps)
    issue_pick_lists(steps)
    return steps


def check_stopped(state: Order) -> None:
    """Refuse what must not leave while something stops the order. Raises OrderOnHold."""
    if holds_of(state) or state.interceptions:
        why = ", ".join((*holds_of(state), *(reason for _, reason in state.interceptions)))
        raise OrderOnHold(f"held ({why}); resolve it first")


DECIDE: Mapping[type[Command], Callable[[Any, Order, int], Sequence[Event]]] = {
    ReturnGoods: _return_goods,
    **dict.fromkeys(after_sale_acts.DECIDE, _act_on_after_sale),
}
