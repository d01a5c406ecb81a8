"""Decisions: goods are scanned, processed, and leave the warehouse."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain import after_sale, after_sale_case, picking
from domain.canonical import Parcel
from domain.decider import Command, Event
from domain.order.after_sales import check_stopped
from domain.order.basics import Allocation, Quantities
from domain.order.commands import ConfirmProcessing, ScanOut, Ship
from domain.order.events import LotsRecorded, OrderPicked, OrderProcessed, OrderShipped, PartiallyShipped
from domain.order.questions import (
    allocation_of,
    gift_line,
    live_lines,
    on_hold,
    replacements_of,
    require_known,
    spelled,
    why_held,
)
from domain.order.refusals import LotsMissing, NoParcel, NothingToShip, NotProcessed, OrderOnHold
from domain.order.state import Order
from domain.order.steps import guard
from domain.picking import ScanItem, UnscanItem


def _scan_item(command: ScanItem | UnscanItem, state: Order, now_ms: int) -> Sequence[Event]:
    """Take a scan, unless picking must stop; what was scanned may be put back at any time."""
    del now_ms
    require_known(state)
    if isinstance(command, ScanItem):
        if on_hold(state):
            raise OrderOnHold(f"stop: held ({why_held(state)}); resolve it first")
        if state.quarantined is not None:
            raise OrderOnHold(f"stop: message {state.quarantined.item} of the order is quarantined; resolve it first")
    allocation = allocation_of(state, command.allocation)
    if not allocation.listed:
        raise NothingToShip(f"no pick list of {allocation.id} is out, so there is nothing to scan")
    if isinstance(command, UnscanItem):
        return picking.unscan(command, allocation.id, allocation.lines, allocation.scanned)
    return picking.scan(command, allocation.id, allocation.lines, allocation.scanned)


def _scan_out(command: ScanOut | Ship, state: Order, now_ms: int) -> Sequence[Event]:
    sent_for = _sent_for(command, state) if state.cases else 0
    allocation = allocation_of(state, command.allocation) if sent_for else _to_leave(command, state)
    if bool(command.tracking.strip()) is not bool(command.carrier.strip()) or (
        isinstance(command, Ship) and not command.tracking.strip()
    ):
        raise NoParcel(f"a parcel has a number and a carrier; given are {command.tracking!r} and {command.carrier!r}")
    if sent_for:
        return _scan_replacement(command, sent_for, allocation, state, now_ms)
    if isinstance(command, ScanOut) and not command.tracking.strip():
        if allocation.picked:
            return ()
        return (OrderPicked(allocation.id, command.command_id),)
    if len(state.allocations) > 1:
        return _ship_one(command, allocation, state, now_ms)
    guard(state, "shipped")
    left = tuple([line.id for line, _ in live_lines(state) if line.id not in state.shipped])
    parcel = Parcel(command.carrier, command.tracking, left)
    shipped = OrderShipped((parcel,), now_ms, allocation.id, command.command_id)
    return (LotsRecorded(allocation.id, command.lots), shipped) if command.lots else (shipped,)


def _to_leave(command: ScanOut | Ship, state: Order) -> Allocation:
    """Return the allocation whose goods leave, if they may."""
    if state.status not in ("paid", "allocating"):
        raise NothingToShip(f"the order is {state.status}; goods leave only while it is allocating")
    if on_hold(state):
        raise OrderOnHold(f"held ({why_held(state)}); resolve it first")
    if not state.allocations or state.status != "allocating":
        raise NothingToShip("no stock is allocated to the order, so there is no pick list to scan")
    allocation = allocation_of(state, command.allocation)
    if allocation.unprocessed:
        raise NotProcessed(f"area {allocation.area} has not confirmed its work on {spelled(allocation.lines)}")
    if command.verify:
        picking.require_verified(allocation.lines, allocation.scanned)
    check_lots(command, allocation.lines, state)
    return allocation


def check_lots(command: ScanOut | Ship, lines: Quantities, state: Order) -> None:
    """Refuse goods into the EU whose lots are not told as they must be. Raises LotsMissing."""
    if not state.ruled.lots or not command.tracking.strip():
        return
    told: dict[str, int] = {}
    for lot in command.lots:
        if lot.lot and lot.carbon and lot.unit and lot.method and lot.source and lot.units > 0:
            told[lot.sku] = told.get(lot.sku, 0) + lot.units
    if told != dict(lines):
        raise LotsMissing(
            f"goods into the EU need lot, carbon figure, unit, method and source of {spelled(lines)}; "
            f"told of {spelled(tuple(told.items()))}"
        )


def _ship_one(command: ScanOut | Ship, allocation: Allocation, state: Order, now_ms: int) -> Sequence[Event]:
    parcel = Parcel(command.carrier, command.tracking, tuple(dict(allocation.units)))
    gone = one_gone((parcel,), allocation, state, now_ms, command.command_id)
    return (LotsRecorded(allocation.id, command.lots), gone) if command.lots else (gone,)


def one_gone(
    parcels: tuple[Parcel, ...], allocation: Allocation, state: Order, now_ms: int, command: str
) -> PartiallyShipped:
    """Send one of several allocations: of lines whose units it holds to the last nothing is left."""
    units = dict(allocation.units)
    left: dict[str, int] = {}
    for line, wanted in live_lines(state):
        left[line.id] = wanted
    for gift in state.ruled.gifts:
        left[gift_line(gift)] = gift.units
    for line_id, sent in state.sent:
        left[line_id] = left.get(line_id, 0) - sent
    whole = tuple(line_id for line_id, sent in units.items() if sent >= left.get(line_id, 0))
    return PartiallyShipped(whole, parcels, now_ms, allocation.id, allocation.units, command)


def _confirm_processing(command: ConfirmProcessing, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    waiting = tuple(each for each in state.allocations if each.unprocessed)
    name = command.allocation
    if not name and len(waiting) == 1:
        name = waiting[0].id
    allocation = allocation_of(state, name)
    if not allocation.unprocessed:
        raise NothingToShip(f"{allocation.id} needs no processing, or it is confirmed already")
    return (OrderProcessed(allocation.id, command.command_id),)


def _sent_for(command: ScanOut | Ship, state: Order) -> int:
    """Return the number of the case whose replacement leaves; 0 where it is the order's own goods."""
    if not command.allocation and state.status in ("paid", "allocating"):
        return 0
    names = [each.id for each in replacements_of(state)]
    name = command.allocation.removeprefix("pick-") or (names[0] if names else "")
    return after_sale_case.case_of_allocation(name) if name in names else 0


def _scan_replacement(
    command: ScanOut | Ship, case: int, sending: Allocation, state: Order, now_ms: int
) -> Sequence[Event]:
    """The goods of a replacement leave: of what the order itself still needs nothing changes."""
    check_stopped(state)
    if command.verify:
        picking.require_verified(sending.lines, sending.scanned)
    check_lots(command, sending.lines, state)
    if not command.tracking.strip():
        if sending.picked:
            return ()
        return (after_sale.ReplacementPicked(case, sending.id, command.command_id),)
    parcel = Parcel(command.carrier, command.tracking)
    gone = after_sale.ReplacementShipped(case, sending.id, sending.warehouse, parcel, now_ms, command.command_id)
    return (LotsRecorded(sending.id, command.lots), gone) if command.lots else (gone,)


DECIDE: Mapping[type[Command], Callable[[Any, Order, int], Sequence[Event]]] = {
    ScanItem: _scan_item,
    UnscanItem: _scan_item,
    ScanOut: _scan_out,
    Ship: _scan_out,
    ConfirmProcessing: _confirm_processing,
}
