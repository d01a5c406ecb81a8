"""Questions to an order's state, that its decisions and its surroundings ask alike."""

from collections.abc import Sequence

from domain import after_sale_acts, after_sale_case, approvals, payments, tracking
from domain.after_sale_case import AfterSales
from domain.canonical import Line, Snapshot
from domain.order.basics import PAID, Allocation, Quantities
from domain.order.refusals import NothingToShip, OrderUnknown, WhichAllocation
from domain.order.state import Order
from domain.rulings import Gift
from domain.stock import QUANTITY_MAX


def left_by_line(state: Order) -> dict[str, int]:
    """Return line id, or a gift's, → units that must still leave."""
    left = {line.id: units for line, units in live_lines(state)}
    if left:
        left.update((gift_line(gift), gift.units) for gift in state.ruled.gifts)
    for line_id, sent in state.sent:
        left[line_id] = left.get(line_id, 0) - sent
    for line_id in state.shipped:
        left.pop(line_id, None)
    return {line_id: units for line_id, units in left.items() if units > 0}


def fits(state: Order) -> bool:
    """Whether the allocations are for just what must still leave; where they are told by line, line by line."""
    planned: dict[str, int] = {}
    for each in state.allocations:
        for line_id, units in each.units:
            planned[line_id] = planned.get(line_id, 0) + units
    if planned and planned != left_by_line(state):
        return False
    return dict(needs(state)) == held_of(state.allocations)


def after_sales_of(state: Order) -> AfterSales:
    """Return the after-sale axis of an order."""
    return AfterSales(state.cases, state.returned)


def live_lines(state: Order) -> list[tuple[Line, int]]:
    """Return the lines that are still wanted, each with its units: what neither the channel nor we cancelled."""
    if not state.cancelled:
        return [(line, line.quantity) for line in state.lines if line.state != "cancelled"]
    cut = dict(state.cancelled)
    return [
        (line, units)
        for line in state.lines
        if line.state != "cancelled" and (units := line.quantity - cut.get(line.id, 0)) > 0
    ]


PARTLY_SHIPPED = "line_partly_shipped"
"""A hold: a channel that tells no units says that a line has left in part."""
PRE_HOLD = "/pre-"
"""What tells pre-reservations from allocations, in their ids."""


def is_pre_hold(allocation: str) -> bool:
    """Whether it is the id of a pre-reservation."""
    return PRE_HOLD in allocation


def gift_line(gift: Gift) -> str:
    """Return the id that a gift goes by where lines do."""
    return f"gift:{gift.rule}:{gift.sku}"


def resent_line(case: int, sku: str) -> str:
    """Return the id that goods which were sent for a case go by where lines do."""
    return f"case-{case}:{sku}"


def resent_sku(line_id: str) -> str:
    """Return the SKU of such goods."""
    return line_id.partition(":")[2]


def goods(state: Order) -> list[tuple[str, str, int]]:
    """Return (line id, SKU, units) of what must still leave: kits by their parts, gifts as lines of their own."""
    shipped = state.shipped
    sent = dict(state.sent)
    parts = {kit.line: kit.parts for kit in state.ruled.kits}
    found = []
    lines = live_lines(state)
    for line, units in lines:
        if line.id in shipped:
            continue
        left = units - sent.get(line.id, 0)
        for sku, each in parts.get(line.id, ((line.sku, 1),)):
            if left > 0:
                found.append((line.id, sku, left * each))
    if lines:
        gifts = ((gift_line(gift), gift.sku, gift.units) for gift in state.ruled.gifts)
        found += [each for each in gifts if each[0] not in shipped]
    return found


def some_left(state: Order) -> bool:
    """Whether anything of the order is on its way, be it a part of one line."""
    return bool(state.shipped or state.sent)


def still_here(state: Order) -> dict[str, int]:
    """Line id → units that have not left, of the lines that are still wanted."""
    left = left_by_line(state)
    return {line.id: left[line.id] for line, _ in live_lines(state) if line.id in left}


def units_of(state: Order, lines: frozenset[str]) -> dict[str, int]:
    """SKU → units of these lines."""
    total: dict[str, int] = {}
    for line_id, sku, units in goods(state):
        if line_id in lines:
            total[sku] = total.get(sku, 0) + units
    return total


def needs(state: Order) -> Quantities:
    """(SKU, units) that must still leave a warehouse, summed by SKU."""
    total: dict[str, int] = {}
    shipped = state.shipped
    ruled = state.ruled
    if ruled.kits or ruled.gifts or state.sent:
        for _, sku, units in goods(state):
            total[sku] = total.get(sku, 0) + units
        return tuple(total.items())
    for line, units in live_lines(state):
        if line.id not in shipped:
            total[line.sku] = total.get(line.sku, 0) + units
    return tuple(total.items())


def held_of(allocations: Sequence[Allocation]) -> dict[str, int]:
    """SKU → units that these allocations are for."""
    if len(allocations) == 1:
        return dict(allocations[0].lines)
    total: dict[str, int] = {}
    for each in allocations:
        for sku, units in each.lines:
            total[sku] = total.get(sku, 0) + units
    return total


def unmapped(state: Order) -> tuple[tuple[str, str], ...]:
    """(item, name) of the goods of a paid order whose SKU nobody knows, also of such as have left."""
    if state.status not in PAID or state.kind == "counter":
        return ()
    return tuple(
        {line.item: (line.item, line.name) for line, _ in live_lines(state) if line.item and not line.sku}.values()
    )


def holds_of(state: Order) -> tuple[str, ...]:
    """Return what the channel holds the order for; not that a line has left in part, where we sent that part."""
    if not state.sent:
        return state.holds
    return tuple(hold for hold in state.holds if hold != PARTLY_SHIPPED)


def on_hold(state: Order) -> bool:
    """Whether something blocks shipping: a hold, an interception, a refund asked for, an approval that is not given."""
    return bool(
        holds_of(state)
        or state.interceptions
        or (state.cases and _refund_asked(state))
        or (state.people.approvals.asked and approvals.blocking(state.people.approvals))
    )


def why_held(state: Order) -> str:
    """Return for people what blocks shipping."""
    asked = (f"approval {each.asked.approval} is {each.verdict}" for each in approvals.blocking(state.people.approvals))
    return (
        ", ".join((*holds_of(state), *(reason for _, reason in state.interceptions), *asked)) or "a refund is asked for"
    )


def _refund_asked(state: Order) -> bool:
    asked = [case for case in state.cases if case.open and not case.approved]
    return any(
        case.open_for(line.id) for line, _ in live_lines(state) if line.id not in state.shipped for case in asked
    )


def flaw_of(snapshot: Snapshot) -> str:
    """Return why no order can be kept by this snapshot, or "": its lines cannot be told apart or counted."""
    lines = snapshot.lines
    if len(lines) > 1 and len({line.id for line in lines}) != len(lines):
        return "two lines have the same id"
    total = 0
    for line in lines:
        if line.quantity <= 0:
            return f"line {line.id[:40]} is of {line.quantity} units"
        total += line.quantity
    if total > QUANTITY_MAX:
        return f"{total} units are more than any order has"
    return ""


def shown_status(state: Order) -> str:
    """What people see: an open after-sale shows 售后中 and loses nothing underneath."""
    if state.after_sales and any(stage == "open" for _, stage in state.after_sales):
        return "after_sale"
    return state.status


def to_be_sent(state: Order) -> bool:
    """Whether goods of the order are still to leave."""
    return state.status in ("awaiting_payment", "paid", "allocating")


def spelled(lines: Quantities) -> str:
    """Return quantities for people."""
    return ", ".join(f"{quantity} × {sku or '?'}" for sku, quantity in lines)[:200] or "nothing"


def require_known(state: Order) -> None:
    """Refuse what needs an order before any channel has sent it. Raises OrderUnknown."""
    if state.status == "":
        raise OrderUnknown("no channel has sent this order yet")


def replacements_of(state: Order) -> tuple[Allocation, ...]:
    """Return what warehouses hold for after-sales of the order, beside its own allocations."""
    return tuple(
        Allocation(each.allocation, each.warehouse, each.lines, each.picked, listed=True, scanned=each.scanned)
        for each in after_sale_case.replacements(state.cases)
    )


def allocation_of(state: Order, name: str) -> Allocation:
    """Return the allocation of this id, pick list or warehouse; the only one where `name` is "".

    What is sent for an after-sale goes by its id or pick list, or "" where the order itself has none.

    Raises:
        NothingToShip: there is none of that name.
        WhichAllocation: there are several.
    """
    if not name and len(state.allocations) == 1:
        return state.allocations[0]
    found = [each for each in state.allocations if not name or name in (each.id, f"pick-{each.id}", each.warehouse)]
    sending = replacements_of(state)
    if name or not state.allocations:
        found += [each for each in sending if not name or name in (each.id, f"pick-{each.id}")]
    if len(found) == 1:
        return found[0]
    there = (*state.allocations, *sending)
    left = ", ".join(f"{each.id} ({each.warehouse}{each.area and f', area {each.area}'})" for each in there)
    if not found:
        raise NothingToShip(f"no allocation {name!r} is to leave; there are {left or 'none'}")
    raise WhichAllocation(f"the order goes out in several parcels: name one of {left}")


def stand_of(state: Order) -> after_sale_acts.Stand:
    """Return what an after-sale must know of the order. Whoever pays on delivery has paid what was to be paid."""
    parts = {kit.line: kit.parts for kit in state.ruled.kits}
    sent = dict(state.sent)
    all_gone = state.status in ("shipped", "completed")
    lines = {}
    for line, units in live_lines(state):
        gone = units if all_gone or line.id in state.shipped else sent.get(line.id, 0)
        its = parts.get(line.id, ((line.sku, 1),))
        lines[line.id] = after_sale_acts.Sold(units, gone, line.quantity, line.amount, its)
    for line in state.lines:
        if line.id not in lines:
            its = parts.get(line.id, ((line.sku, 1),))
            lines[line.id] = after_sale_acts.Sold(0, 0, line.quantity, line.amount, its)
    for gift in state.ruled.gifts:
        gone = gift.units if gift_line(gift) in state.shipped else sent.get(gift_line(gift), 0)
        lines[gift_line(gift)] = after_sale_acts.Sold(gift.units, gone, gift.units, 0, ((gift.sku, 1),))
    for name, units in state.replaced:
        # What they cost is paid back for the lines that they were sent for.
        lines.setdefault(name, after_sale_acts.Sold(0, units, units, 0, ((resent_sku(name), 1),)))
    given = frozenset(each.asked.approval for each in state.people.approvals.asked if each.verdict == "approved")
    paid = _paid(state) or state.amounts.payable
    return after_sale_acts.Stand(state.status in PAID, lines, paid, state.payments.refunded, approvals=given)


def owed_of(state: Order) -> int:
    """Return what the buyer owes for an order that goes on account, in minor units; whoever told of what he paid."""
    if state.status not in PAID or state.kind == "counter":
        return 0
    return max(state.amounts.payable - _paid(state), 0)


def _paid(state: Order) -> int:
    """Return what was paid in the order's currency, whoever told of it, in minor units."""
    return max(state.amounts.paid, payments.received(state.payments, state.amounts.currency))


def arrived(state: Order) -> bool:
    """Whether all of the order was signed for, and this is not recorded yet."""
    return (
        state.status in ("shipped", "completed")
        and not state.tracking.delivered
        and tracking.all_signed(state.tracking)
    )


def over(state: Order) -> bool:
    """Whether nothing is left to wait for: delivered, the time to object is over, and nobody has objected."""
    return (
        state.status == "shipped"
        and state.tracking.delivered
        and state.tracking.due
        and not state.interceptions
        and all(stage != "open" for _, stage in state.after_sales)
    )


def verdict(state: Order) -> payments.Verdict:
    """Return what all payments that were told mean for the order as it stands."""
    refunds = sum(line.amount for line in state.lines if line.after_sale == "refunded")
    stand = payments.Stand(state.status, state.kind == "presale", state.amounts, state.deposit, refunds)
    return payments.judge(state.payments, stand)
