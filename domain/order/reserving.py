"""Decisions: warehouses say what they hold for an order, and what they cannot give."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain import after_sale, after_sale_case
from domain.decider import Command, Event
from domain.order.basics import PRESALE_TIMER, Allocation
from domain.order.commands import (
    ConfirmArrived,
    ConfirmPreReserved,
    ConfirmReserved,
    ReportDuplicate,
    ReportShort,
    TakePlan,
)
from domain.order.events import (
    GiftPreReserved,
    OrderAllocated,
    OrderIntercepted,
    OrderReserved,
    PresaleArrived,
    PresaleLocked,
    ReservationFailed,
    TimerCleared,
    TimerSet,
)
from domain.order.questions import is_pre_hold, live_lines, on_hold
from domain.order.state import Order
from domain.order.steps import Steps, guard, intercept, issue_pick_lists, pick_list_of, resolve_reason


def _take_plan(command: TakePlan, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    return () if state.allocations else (OrderAllocated(command.allocations),)


def _confirm_reserved(command: ConfirmReserved, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if number := after_sale_case.case_of_allocation(command.allocation):
        held = after_sale.ReplacementReserved(number, command.allocation, command.warehouse, command.lines)
        return (held, pick_list_of(Allocation(command.allocation, command.warehouse, command.lines), state))
    if state.status != "allocating":
        guard(state, "allocating")
    reserved = OrderReserved(command.allocation, command.warehouse, command.lines)
    if state.allocations:
        steps = Steps(state)
        steps.add(reserved)
        issue_pick_lists(steps)
        return steps
    if on_hold(state):
        return (reserved,)
    return (reserved, pick_list_of(Allocation(command.allocation, command.warehouse, command.lines), state))


def _confirm_pre_reserved(command: ConfirmPreReserved, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    hold = (command.allocation, command.warehouse, command.lines)
    if state.kind != "presale":
        return (GiftPreReserved(*hold),)
    locked = PresaleLocked(*hold, command.due_ms)
    if not command.due_ms or PRESALE_TIMER in dict(state.timers):
        return (locked,)
    return (locked, TimerSet(PRESALE_TIMER, command.due_ms))


def _confirm_arrived(command: ConfirmArrived, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    steps = Steps(state)
    steps.add(PresaleArrived(command.allocation))
    if not any(hold.due_ms for hold in steps.state.ruled.pre_holds):
        steps.add(*(TimerCleared(PRESALE_TIMER, fired=False) for name, _ in state.timers if name == PRESALE_TIMER))
        steps.add(*resolve_reason(steps.state, PRESALE_OVERDUE, "arrived"))
    return steps


PRESALE_OVERDUE = "presale_overdue"
GIFT_SHORT = "gift_short"


def _report_short(command: ReportShort, state: Order, now_ms: int) -> Sequence[Event]:
    if case := after_sale_case.case_of_allocation(command.allocation):
        return (after_sale.ReplacementShort(case, command.allocation, command.warehouse, command.short),)
    short = ", ".join(f"{sku}: wants {wanted}, {available} available" for sku, wanted, available in command.short[:5])
    number = command.allocation.rpartition("/")[2]
    goods_wanted = {line.sku for line, _ in live_lines(state)} | {
        sku for kit in state.ruled.kits for sku, _ in kit.parts
    }
    reason = "shipped_without_stock" if number.startswith("issued") else "stock_short"
    advice = "receive or move stock and release the order, offer the customer a substitute, or cancel the lines"
    if state.ruled.gifts and not any(sku in goods_wanted for sku, _, _ in command.short):
        reason = GIFT_SHORT
        advice = "receive or move gifts and release the order, waive the gifts with the customer's consent, or cancel"
    return (
        ReservationFailed(command.allocation, command.warehouse, command.short),
        OrderIntercepted(
            f"{'gift_short' if is_pre_hold(command.allocation) else 'stock_short'}-{number}",
            reason,
            f"warehouse {command.warehouse}: {short}",
            advice,
            "operations",
            now_ms,
        ),
    )


DUPLICATE = "suspected_duplicate"


def _report_duplicate(command: ReportDuplicate, state: Order, now_ms: int) -> Sequence[Event]:
    if state.status not in ("awaiting_payment", "paid", "allocating"):
        return ()
    steps = Steps(state)
    evidence = f"the same buyer ordered the same goods {command.apart_ms // 1000} s apart: {command.of}"
    advice = "ask the customer whether both are meant; release this one, or cancel it"
    intercept(steps, DUPLICATE, evidence, advice, "service", now_ms)
    return steps


DECIDE: Mapping[type[Command], Callable[[Any, Order, int], Sequence[Event]]] = {
    TakePlan: _take_plan,
    ConfirmReserved: _confirm_reserved,
    ConfirmPreReserved: _confirm_pre_reserved,
    ConfirmArrived: _confirm_arrived,
    ReportShort: _report_short,
    ReportDuplicate: _report_duplicate,
}
