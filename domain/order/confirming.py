"""Decisions: another system that keeps a warehouse says what has left it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain import after_sale, after_sale_case
from domain.canonical import Parcel
from domain.decider import Command, Event
from domain.delivery import ConfirmDelivery, Delivered, DeliveryConfirmed, differences, is_repeat, of_pick_list, summed
from domain.order.basics import Allocation
from domain.order.events import OrderPicked, OrderShipped
from domain.order.leaving import one_gone
from domain.order.questions import allocation_of, goods, on_hold, replacements_of, spelled
from domain.order.state import Order
from domain.order.steps import Steps, intercept


def _confirm_delivery(command: ConfirmDelivery, state: Order, now_ms: int) -> Sequence[Event]:
    """Record what a warehouse sent, and follow it where it is what was asked for and nothing holds it back."""
    before = of_pick_list(state.deliveries, command.pick_list)
    if is_repeat(before, command):
        return ()
    steps = Steps(state)
    steps.add(
        DeliveryConfirmed(
            command.pick_list,
            command.allocation,
            command.parcels,
            summed(command.packed),
            command.final,
            command.reference,
            command.command_id,
        )
    )
    sent = of_pick_list(steps.state.deliveries, command.pick_list)
    if any(each.id == command.allocation for each in replacements_of(state)):
        _replacement_confirmed(steps, sent, command, now_ms)
        return steps
    allocation = next((each for each in state.allocations if each.id == command.allocation), None)
    stop = _why_not_shipped(before, sent, allocation, state)
    if stop is not None:
        intercept(steps, *stop, "operations", now_ms)
    elif sent.final and allocation is not None:
        parcels = _parcels(sent, allocation, state)
        if not parcels:
            if not allocation.picked:
                steps.add(OrderPicked(allocation.id, command.command_id))
        elif len(state.allocations) > 1:
            steps.add(one_gone(parcels, allocation, state, now_ms, command.command_id))
        else:
            steps.add(OrderShipped(parcels, now_ms, allocation.id, command.command_id))
    return steps


def _replacement_confirmed(steps: Steps, sent: Delivered, command: ConfirmDelivery, now_ms: int) -> None:
    """Follow what a warehouse sent for an after-sale, where it is what was asked for."""
    sending = allocation_of(steps.state, command.allocation)
    numbered = [parcel for parcel in sent.parcels if parcel.tracking]
    if not sent.final:
        return
    if differ := differences(sending.lines, sent.packed):
        evidence = ", ".join(f"{sku}: asked {asked}, packed {packed}" for sku, asked, packed in differ)[:400]
        advice = "ask the warehouse, and put the stock right; then release, and scan the parcel out by its number"
        intercept(steps, "packed_differently", evidence, advice, "operations", now_ms)
    elif numbered:
        case = after_sale_case.case_of_allocation(sending.id)
        parcel = Parcel(numbered[0].carrier, numbered[0].tracking)
        told = (sending.id, sending.warehouse, parcel, now_ms, command.command_id)
        steps.add(after_sale.ReplacementShipped(case, *told))


def _why_not_shipped(
    before: Delivered, sent: Delivered, allocation: Allocation | None, state: Order
) -> tuple[str, str, str] | None:
    """Return (reason, evidence, advice) of what people must look at before a confirmed delivery is followed."""
    numbers = ", ".join(parcel.tracking for parcel in sent.parcels if parcel.tracking)[:200] or "no parcel number"
    left = f"{spelled(sent.packed)} left ({numbers})"
    if before.final:
        evidence = f"{sent.pick_list} was confirmed before; with this, {left}"
        return "confirmed_twice", evidence, "ask the warehouse what has left, and put the stock right"
    if state.status in ("shipped", "completed"):
        return None
    if allocation is None:
        evidence = f"{sent.pick_list} is not asked for any more, and {left}"
        return "left_after_release", evidence, "have the parcel stopped or brought back, and put the stock right"
    if not sent.final:
        return None
    differ = differences(allocation.lines, sent.packed)
    if differ:
        evidence = ", ".join(f"{sku}: asked {asked}, packed {packed}" for sku, asked, packed in differ)[:400]
        advice = (
            "ask the warehouse; cancel what will not come, have wrong goods brought back and put the stock right; then "
            "release, and scan the parcel out by its number"
        )
        return "packed_differently", f"{evidence} ({numbers})", advice
    advice = "have the parcel stopped; or release, and scan it out by its number"
    if on_hold(state):
        return "left_while_held", f"while the order was held, {left}", advice
    if allocation.unprocessed:
        return "left_unprocessed", f"before area {allocation.area} had confirmed its work, {left}", advice
    if state.ruled.lots:
        return "left_without_lots", f"without lots and carbon figures, {left}", f"{advice} and its lots"
    return None


def _parcels(sent: Delivered, allocation: Allocation, state: Order) -> tuple[Parcel, ...]:
    """Return the parcels that can be followed, with the lines whose goods are in each."""
    mine = dict(allocation.units)
    goods_of = [(line_id, sku) for line_id, sku, _ in goods(state) if not mine or line_id in mine]
    return tuple(
        Parcel(
            parcel.carrier,
            parcel.tracking,
            tuple(dict.fromkeys(line_id for line_id, sku in goods_of if not parcel.lines or sku in dict(parcel.lines))),
        )
        for parcel in sent.parcels
        if parcel.tracking
    )


DECIDE: Mapping[type[Command], Callable[[Any, Order, int], Sequence[Event]]] = {
    ConfirmDelivery: _confirm_delivery,
}
