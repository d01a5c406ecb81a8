"""What people and channels may do about after-sales, and what follows.

Nothing here knows the order: what a decision must know of it is its `Stand`. Whoever comes second with the same wish,
the channel or a person, finds the case and opens no other. Money is in minor units of the order's currency.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from domain.after_sale import (
    BRINGS_GOODS,
    DECLINES,
    KINDS,
    METHODS,
    OF_GOODS_THAT_LEFT,
    OPEN,
    OVER,
    REASONS,
    SENDS_GOODS,
    AfterSaleApproved,
    AfterSaleClosed,
    AfterSaleDeclined,
    AfterSaleKnown,
    AfterSaleMatched,
    AfterSaleOpened,
    AnnounceReturn,
    ApprovalMissing,
    ApproveAfterSale,
    BadWarehouse,
    CaseOver,
    CloseAfterSale,
    DeclineAfterSale,
    Kind,
    NoReturnParcel,
    NoSuchCase,
    NotApproved,
    NothingComesBack,
    NothingIsSent,
    NothingSold,
    OpenAfterSale,
    OrderRefunded,
    ReceiveReturn,
    RefundAfterSale,
    ReplacementAsked,
    ReplacementReleased,
    ReplacementUnderWay,
    ReturnAnnounced,
    ReturnReceived,
    SendReplacement,
    SkuUnknown,
    TooManyUnits,
    TooMuchMoney,
    UnknownKind,
    UnknownMethod,
    UnknownReason,
    WhichCase,
)
from domain.after_sale_case import (
    AfterSales,
    Case,
    by_case,
    case_numbered,
    evolve,
    open_case,
)
from domain.decider import Command, Event
from domain.ids import BadId, checked_part
from domain.stock import Quantities, is_sku, summed


class Sold(NamedTuple):
    """One line of the order (or a gift that came with it), as far as an after-sale must know it."""

    units: int
    """Still wanted, or sent; none of what was sent for a case."""
    gone: int
    """Of these, how many have left."""
    bought: int
    """Units that `amount` is for."""
    amount: int
    """What was paid for the line, minor units."""
    parts: Quantities
    """(SKU, units in one): a kit has several."""


class Stand(msgspec.Struct, frozen=True, gc=False):
    """What decisions must know of the order."""

    sold: bool
    """Whether it is paid and not cancelled."""
    lines: Mapping[str, Sold]
    paid: int
    """What was paid in all, minor units."""
    refunded: int = 0
    """What went back so far, whoever told of it, minor units."""
    refund_limit: int = 0
    """Above so much (minor units) a refund needs an approval; 0 = none does."""
    approvals: frozenset[str] = frozenset()
    """Names of the approvals that were given."""


def _find(state: AfterSales, number: int, allowed: frozenset[str]) -> Case:
    case = case_numbered(state, number)
    if case is None:
        numbers = ", ".join(str(each.number) for each in state.cases)
        raise NoSuchCase(f"the order has no case {number}; it has {numbers or 'none'}")
    if case.stage not in allowed:
        raise CaseOver(f"case {number} is {case.stage}; open another one where something is still to be put right")
    return case


_LIVING: frozenset[str] = OPEN | {"refunded", "replaced"}


def _known_reason(reason: str, words: Mapping[str, str]) -> str:
    if reason not in words:
        raise UnknownReason(f"there is no reason {reason[:40]!r}; choose one of {', '.join(words)}")
    return reason


def _summed(pairs: Quantities, stand: Stand) -> dict[str, int]:
    total: dict[str, int] = {}
    for line, units in pairs:
        if line not in stand.lines or units <= 0:
            raise TooManyUnits(f"{units} units of line {line[:40]!r}: need a line of the order and a quantity above 0")
        total[line] = total.get(line, 0) + units
    return total


def _free(state: AfterSales, stand: Stand, line: str, kind: Kind, but: int = 0) -> int:
    """Return of how many units of a line another case may be."""
    sold = stand.lines[line]
    about = [case for case in state.cases if case.open_for(line) and case.number != but]
    if kind not in OF_GOODS_THAT_LEFT:
        return sold.units - sum(case.units(line) for case in about)
    awaited = sum(case.awaits(line) for case in about)
    if kind == "reship":
        return sold.gone - awaited
    return sold.gone - awaited - dict(state.returned).get(line, 0)


def _open(command: OpenAfterSale, state: AfterSales, stand: Stand) -> Sequence[Event]:
    kind = command.kind
    if kind not in KINDS:
        raise UnknownKind(f"there is no kind {kind!r}; choose one of {', '.join(KINDS)}")
    reason = _known_reason(command.reason, REASONS)
    wanted = _summed(command.lines, stand)
    case = _told_before(command, state, wanted)
    number = case.number if case is not None else 0
    if not stand.sold and case is None:
        raise NothingSold("only of an order that is paid, and not cancelled, something can be put right")
    if not wanted:
        among = [line for line, _ in case.lines if line in stand.lines] if case is not None else list(stand.lines)
        free = {line: units for line in among if (units := _free(state, stand, line, kind, number)) > 0}
        # What was sent for a case stands for what was bought: both at once would be twice as much.
        wanted = {line: units for line, units in free.items() if stand.lines[line].units} or free
    for line, units in wanted.items():
        most = _free(state, stand, line, kind, number)
        if units > most:
            raise TooManyUnits(f"{units} units of line {line}: an after-sale of this kind can be of {max(most, 0)}")
    if not wanted:
        raise TooManyUnits("nothing of the order is left that an after-sale of this kind could be about")
    lines = tuple(wanted.items())
    opened = AfterSaleOpened(lines, reason, command.reference, command.command_id, number, kind, skus_of(stand, lines))
    return (opened,)


def skus_of(stand: Stand, lines: Quantities) -> tuple[str, ...]:
    """Return the SKU of each line; of a kit that of its first part."""
    return tuple(stand.lines[line].parts[0][0] if line in stand.lines else "" for line, _ in lines)


def _told_before(command: OpenAfterSale, state: AfterSales, wanted: Mapping[str, int]) -> Case | None:
    """Return the open case that the channel, or goods that were cancelled too late, made of the same wish."""
    reference = command.reference
    for case in state.cases:
        if reference and case.reference == reference:
            if case.open and not case.kind:
                return case
            raise AfterSaleKnown(f"{reference} is case {case.number}, which is {case.stage}")
    unsaid = [case for case in state.cases if case.open and not case.kind and not (reference and case.reference)]
    if not wanted:
        return unsaid[0] if len(unsaid) == 1 else None
    return next((case for case in unsaid if all(case.open_for(line) for line in wanted)), None)


def _approve(command: ApproveAfterSale, state: AfterSales, stand: Stand) -> Sequence[Event]:
    del stand
    case = _find(state, command.case, OPEN)
    return () if case.approved else (AfterSaleApproved(case.number, command.command_id),)


def _decline(command: DeclineAfterSale, state: AfterSales, stand: Stand) -> Sequence[Event]:
    del stand
    reason = _known_reason(command.reason, DECLINES)
    case = _find(state, command.case, OPEN)
    return (AfterSaleDeclined(case.number, reason, command.command_id), *_end(case, command.command_id))


def _end(case: Case, command: str) -> list[Event]:
    lines = tuple(line for line, _ in case.lines)
    return [*_call_off(case), AfterSaleClosed(lines, case.number, command)]


def _call_off(case: Case) -> list[Event]:
    sending = case.replacement
    if sending is None:
        return []
    return [ReplacementReleased(case.number, sending.allocation, sending.warehouse)]


def _announce(command: AnnounceReturn, state: AfterSales, stand: Stand) -> Sequence[Event]:
    del stand
    case = _find(state, command.case, _LIVING)
    if case.kind not in BRINGS_GOODS:
        raise NothingComesBack(f"case {case.number} is {case.kind}: no goods come back for it")
    if not command.carrier.strip() or not command.tracking.strip():
        raise NoReturnParcel("a parcel has a number and a carrier; give both")
    return (ReturnAnnounced(case.number, command.carrier, command.tracking, command.command_id),)


def _receive(command: ReceiveReturn, state: AfterSales, stand: Stand) -> Sequence[Event]:
    parts = tuple(tuple(_summed(each, stand).items()) for each in (command.good, command.damaged, command.missing))
    good, damaged, missing = parts
    came = _summed(good + damaged, stand)
    told = _summed(good + damaged + missing, stand)
    if not told:
        raise TooManyUnits("of which lines, and how many units, did goods come back?")
    for line in came:
        if any(not is_sku(sku) for sku, _ in stand.lines[line].parts):
            raise SkuUnknown(f"line {line} has no SKU that a warehouse could take back; enter its item first")
        left = stand.lines[line].gone - dict(state.returned).get(line, 0)
        if came[line] > left:
            raise TooManyUnits(
                f"{came[line]} units of line {line} cannot come back: {max(left, 0)} are out{_also_out(state, stand)}"
            )
    case = _find(state, command.case, _LIVING) if command.case else _awaited(state, told)
    opened: tuple[Event, ...] = ()
    if case is None:
        reason = _known_reason(command.reason, REASONS)
        lines = tuple(told.items())
        for line, units in lines:
            if units > _free(state, stand, line, "return_refund"):
                raise TooManyUnits(f"{units} units of line {line} are more than left, or an open case is about them")
        case = Case(len(state.cases) + 1, lines, "return_refund", reason)
        skus = skus_of(stand, lines)
        opened = (AfterSaleOpened(lines, reason, "", command.command_id, case.number, "return_refund", skus),)
    if case.kind not in BRINGS_GOODS:
        raise NothingComesBack(f"case {case.number} is {case.kind}: no goods come back for it")
    for line, units in told.items():
        if units > case.awaits(line):
            raise TooManyUnits(f"case {case.number} awaits {case.awaits(line)} units of line {line}, not {units}")
    warehouse = _warehouse(command.warehouse)
    looked_at = (case.receipts + 1, good, damaged, missing, warehouse)
    return (*opened, ReturnReceived(case.number, *looked_at, command.command_id))


def _also_out(state: AfterSales, stand: Stand) -> str:
    """Return for people what else is out: goods that were sent for cases have ids of their own."""
    back = dict(state.returned)
    out = [
        f"{sold.gone - back.get(name, 0)} of {name}"
        for name, sold in stand.lines.items()
        if sold.gone > back.get(name, 0)
    ]
    return f" ({', '.join(out)[:200]})" if out else ""


def _warehouse(code: str) -> str:
    try:
        return code and checked_part(code, "warehouse code")
    except BadId as error:
        raise BadWarehouse(str(error)) from None


def _awaited(state: AfterSales, told: Mapping[str, int]) -> Case | None:
    """Return the case that these goods come back for; a settled one only where no open one awaits them."""
    living = [case for case in state.cases if case.stage in _LIVING and case.kind in BRINGS_GOODS]
    about = [case for case in living if any(case.awaits(line) > 0 for line in told)]
    about = [case for case in about if case.open] or about
    if len(about) > 1:
        raise WhichCase(f"name one of the cases {', '.join(str(case.number) for case in about)}")
    return about[0] if about else None


def _refund(command: RefundAfterSale, state: AfterSales, stand: Stand) -> Sequence[Event]:
    case = _find(state, command.case, _LIVING)
    if not case.approved:
        raise NotApproved(f"case {case.number} is not approved; approve it before money goes back")
    if command.method not in METHODS:
        raise UnknownMethod(f"there is no way {command.method!r} to pay back; choose one of {', '.join(METHODS)}")
    amounts = _amounts(command, case, state, stand)
    total = sum(amount for _, amount in amounts)
    left = stand.paid - stand.refunded
    if total > left:
        raise TooMuchMoney(f"{total} is more than is left of what was paid: {max(left, 0)} (minor units)")
    if 0 < stand.refund_limit < total and command.approval not in stand.approvals:
        raise ApprovalMissing(f"{total} is above {stand.refund_limit} (minor units): such a refund needs an approval")
    lines = tuple(line for line, _ in case.lines)
    split = amounts if len(lines) > 1 or amounts[0][0] not in lines or len(amounts) > 1 else ()
    return (
        OrderRefunded(
            lines, total, command.reference, command.command_id, case.number, split, command.method, command.approval
        ),
    )


def _amounts(command: RefundAfterSale, case: Case, state: AfterSales, stand: Stand) -> Quantities:
    """Return (line id, minor units) to pay back; never more for a line than was paid for it and is left."""
    left = {line: stand.lines[line].amount for line, _ in case.lines if line in stand.lines}
    for each in state.cases:
        for line, amount in each.amounts:
            if line in left:
                left[line] -= amount
    if not command.amounts:
        before = dict(case.amounts)
        full = []
        for line, units in case.lines:
            if line in left:
                sold = stand.lines[line]
                share = sold.amount * min(units, sold.bought) // sold.bought - before.get(line, 0)
                if (amount := min(share, left[line])) > 0:
                    full.append((line, amount))
        if not full:
            raise TooMuchMoney(f"nothing is left to pay back for the lines of case {case.number}")
        return tuple(full)
    wanted: dict[str, int] = {}
    for line, amount in command.amounts:
        wanted[line] = wanted.get(line, 0) + amount
        if amount <= 0 or (line and wanted[line] > left.get(line, 0)):
            raise TooMuchMoney(
                f"{amount} for line {line or '(none)'}: of what was paid for it {max(left.get(line, 0), 0)} is left "
                f"(minor units); what is no line's, as freight, goes under the id ''"
            )
    return tuple(wanted.items())


def _send(command: SendReplacement, state: AfterSales, stand: Stand) -> Sequence[Event]:
    case = _find(state, command.case, OPEN | {"refunded"})
    if case.kind not in SENDS_GOODS:
        raise NothingIsSent(f"case {case.number} is {case.kind}: no goods are sent for it")
    if not case.approved:
        raise NotApproved(f"case {case.number} is not approved; approve it before goods are sent")
    if case.replacement is not None:
        raise ReplacementUnderWay(f"goods are being sent for case {case.number} already")
    lines = summed(command.lines or _same_again(case, stand))
    return (ReplacementAsked(case.number, case.attempts + 1, lines, _warehouse(command.warehouse), command.command_id),)


def _same_again(case: Case, stand: Stand) -> Quantities:
    parts = [
        (sku, each * units)
        for line, units in case.lines
        if line in stand.lines
        for sku, each in stand.lines[line].parts
    ]
    if not parts or any(not sku for sku, _ in parts):
        raise SkuUnknown(f"of the lines of case {case.number} no SKU is known; say which SKUs are to be sent")
    return tuple(parts)


def _close(command: CloseAfterSale, state: AfterSales, stand: Stand) -> Sequence[Event]:
    del stand
    case = _find(state, command.case, _LIVING | OVER)
    return () if case.stage in OVER else _end(case, command.command_id)


DECIDE: Mapping[type[Command], Callable[[Any, AfterSales, Stand], Sequence[Event]]] = {
    OpenAfterSale: _open,
    ApproveAfterSale: _approve,
    DeclineAfterSale: _decline,
    AnnounceReturn: _announce,
    ReceiveReturn: _receive,
    RefundAfterSale: _refund,
    SendReplacement: _send,
    CloseAfterSale: _close,
}


def decide(command: Command, state: AfterSales, stand: Stand) -> Sequence[Event]:
    """Return what follows from a command. Raises DomainError where it breaks a rule."""
    return DECIDE[type(command)](command, state, stand)


# --- what a channel says


def follow_open(
    state: AfterSales, said: Sequence[tuple[str, int, str, str]], before: frozenset[str], *, paid_back: bool = False
) -> list[Event]:
    """Return what follows from the lines that a channel says are in after-sale.

    Args:
        state: the axis so far.
        said: (line id, units, the channel's number of the after-sale, SKU) of each.
        before: lines of which the channel said so before: it says nothing new unless the number is another.
        paid_back: whether it has paid back already: what people settled otherwise is open again by that.
    """
    events: list[Event] = []
    fresh: dict[tuple[int, str], list[tuple[str, int, str]]] = {}
    for line, units, reference, sku in said:
        about = open_case(state.cases, line)
        if about is not None:
            if reference and about.reference != reference:
                events.append(AfterSaleMatched(about.number, reference))
                state = evolve(state, events[-1])
            continue
        named = next((case for case in state.cases if reference == case.reference != "" and case.units(line)), None)
        settled = named if named is not None and named.ours else _settled_here(state, line, reference, before)
        if settled is None or paid_back:
            same = settled or named
            fresh.setdefault((same.number if same else 0, reference), []).append((line, units, sku))
        elif reference != settled.reference and reference:
            events.append(AfterSaleMatched(settled.number, reference))
            state = evolve(state, events[-1])
    for (number, reference), lines in fresh.items():
        pairs = tuple((line, units) for line, units, _ in lines)
        skus = tuple(sku for _, _, sku in lines)
        events.append(AfterSaleOpened(pairs, "channel", reference, case=number, skus=skus))
    return events


def _settled_here(state: AfterSales, line: str, reference: str, before: frozenset[str]) -> Case | None:
    """Return the case of this wish that people settled and the channel has not heard of yet."""
    for case in state.cases:
        if not case.ours or not case.units(line) or (reference and case.reference):
            continue
        if case.stage not in OVER or (not reference and line in before):
            return case
    return None


def follow_refunds(state: AfterSales, paid_back: Mapping[str, int]) -> list[OrderRefunded]:
    """Return what follows from lines (id → what was paid for them) whose money the channel says went back."""
    events = []
    for _, lines in by_case(state.cases, tuple(paid_back.items())):
        amounts = lines if len(lines) > 1 and any(amount for _, amount in lines) else ()
        total = sum(amount for _, amount in lines)
        events.append(OrderRefunded(tuple(line for line, _ in lines), total, amounts=amounts))
    return events
