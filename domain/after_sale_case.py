"""The cases of an order: how each stands, and which of them a line, a parcel or a channel's word is about.

A *case* is about units of lines. Two things are kept apart: a case has a stage; a line is `open` while some open case
is about it, or `refunded`. What a channel says of a line goes for every case of that line.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from domain.after_sale import (
    CASE_MARK,
    OPEN,
    AfterSaleApproved,
    AfterSaleClosed,
    AfterSaleDeclined,
    AfterSaleMatched,
    AfterSaleOpened,
    Kind,
    OrderRefunded,
    ReplacementAsked,
    ReplacementPicked,
    ReplacementReleased,
    ReplacementReserved,
    ReplacementShipped,
    ReplacementShort,
    ReturnAnnounced,
    ReturnReceived,
    Stage,
)
from domain.decider import Event
from domain.picking import taken
from domain.stock import Quantities


class Replacement(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Goods that are sent for a case."""

    lines: Quantities
    """(SKU, units)."""
    allocation: str = ""
    """Its id once a warehouse holds it."""
    warehouse: str = ""
    picked: bool = False
    scanned: Quantities = ()
    """(SKU, units) that were scanned into its parcel."""


class Case(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One after-sale of an order."""

    number: int
    lines: Quantities
    """(line id, units)."""
    kind: Kind = ""
    reason: str = ""
    stage: Stage = "opened"
    approved: bool = False
    reference: str = ""
    """The channel's number of it."""
    ours: bool = False
    """Whether people settled it: a channel that has not heard of that opens it no second time."""
    back: Quantities = ()
    """(line id, units) that came back, good or damaged."""
    missing: Quantities = ()
    receipts: int = 0
    refunded: int = 0
    """Minor units in all."""
    amounts: Quantities = ()
    """(line id, minor units) of that, as far as it is known."""
    done: tuple[tuple[str, Literal["refunded", "closed"]], ...] = ()
    """(line id, how it ended) of the lines of which nothing is open here any more."""
    attempts: int = 0
    """How often a replacement was asked for."""
    replacement: Replacement | None = None
    """What is on its way to being sent."""

    @property
    def open(self) -> bool:
        """Whether it still shows 售后中."""
        return self.stage in OPEN

    def units(self, line: str) -> int:
        """Return how many units of a line it is about."""
        return next((units for name, units in self.lines if name == line), 0)

    def open_for(self, line: str) -> bool:
        """Whether it is open, and still about this line."""
        return self.open and self.units(line) > 0 and all(name != line for name, _ in self.done)

    def awaits(self, line: str) -> int:
        """Return how many units of a line have not come back, and were not found missing."""
        came = dict(self.back).get(line, 0) + dict(self.missing).get(line, 0)
        return max(self.units(line) - came, 0)


class AfterSales(NamedTuple):
    """The after-sale axis of an order."""

    cases: tuple[Case, ...]
    """In the order of their numbers, from 1."""
    returned: Quantities
    """(line id, units) that came back, sorted."""

    @property
    def stages(self) -> tuple[tuple[str, str], ...]:
        """(line id, "open" | "refunded"), sorted; of a closed one nothing is left."""
        found: dict[str, str] = {}
        for case in self.cases:
            done = dict(case.done)
            for line, _ in case.lines:
                if case.open and line not in done:
                    found[line] = "open"
                elif done.get(line) == "refunded":
                    found.setdefault(line, "refunded")
        return tuple(sorted(found.items()))


_replace = msgspec.structs.replace


def case_name(key: str, number: int) -> str:
    """Return a case's number as people name it: the order's key and the running number."""
    return f"{key}{CASE_MARK}{number}"


def case_of_allocation(allocation: str) -> int:
    """Return the number of the case that an allocation is for; 0 where it is for the order itself."""
    if CASE_MARK not in allocation:
        return 0
    number = allocation.rpartition(CASE_MARK)[2].partition("-")[0]
    return int(number) if number.isascii() and number.isdigit() else 0


def added(pairs: Quantities, more: Quantities) -> Quantities:
    """Return the sums of both, sorted by id."""
    if not more:
        return pairs
    total = dict(pairs)
    for name, units in more:
        total[name] = total.get(name, 0) + units
    return tuple(sorted(total.items()))


def case_numbered(state: AfterSales, number: int) -> Case | None:
    """Return the case of this number; None where there is none."""
    return state.cases[number - 1] if 0 < number <= len(state.cases) else None


def _with(state: AfterSales, case: Case) -> AfterSales:
    """Return the state with a case in its place."""
    return AfterSales((*state.cases[: case.number - 1], case, *state.cases[case.number :]), state.returned)


def _of_case(state: AfterSales, number: int, **changes: Any) -> AfterSales:
    case = case_numbered(state, number)
    return state if case is None else _with(state, _replace(case, **changes))


def _opened(state: AfterSales, event: AfterSaleOpened) -> AfterSales:
    known = case_numbered(state, event.case)
    if known is None:
        number = len(state.cases) + 1
        case = Case(number, event.lines, event.kind, event.reason, reference=event.reference)
    else:
        units = dict(known.lines)
        for line, wanted in event.lines:
            # A person says of how many units it is; a channel knows lines only.
            units[line] = wanted if event.kind else max(wanted, known.units(line))
        again = {line for line, _ in event.lines}
        case = _replace(
            known,
            lines=tuple(units.items()),
            kind=event.kind or known.kind,
            reason=event.reason if event.kind else known.reason,
            stage=known.stage if known.open else "opened",
            approved=known.approved and known.open,
            reference=known.reference or event.reference,
            ours=False,
            done=tuple(pair for pair in known.done if pair[0] not in again),
        )
    after = _with(state, case)
    if event.command and event.reference and not event.kind:  # goods brought to a counter
        after = _with(after, _replace(case, back=added(case.back, event.lines)))
        return after._replace(returned=added(state.returned, event.lines))
    return after


def _closed(state: AfterSales, event: AfterSaleClosed) -> AfterSales:
    case = case_numbered(state, event.case)
    if case is None:
        for each in state.cases:
            state = _with(state, _ended(each, event.lines, "closed"))
        return state
    left = [line for line, _ in case.lines if line not in dict(case.done)]
    over: Stage = "declined" if case.stage == "declined" else "closed"
    return _with(state, _replace(_ended(case, left, "closed"), stage=over, ours=True))


def _refunded(state: AfterSales, event: OrderRefunded) -> AfterSales:
    if not event.lines and not event.case:
        return state  # a payment service tells of money, and not what for
    amounts = event.amounts or ((event.lines[0], event.amount),) * (len(event.lines) == 1)
    case = case_numbered(state, event.case) or _paid_for(state, event)
    if case is None:
        # Logs of the first builds have refunds of which nobody had said that they were asked for.
        case = Case(len(state.cases) + 1, tuple((line, 1) for line in event.lines), reference=event.reference)
    paid = _replace(case, refunded=case.refunded + event.amount, amounts=added(case.amounts, amounts))
    if event.case:
        every = [line for line, _ in paid.lines]
        return _with(state, _replace(_ended(paid, every, "refunded"), stage="refunded", ours=True))
    state = _with(state, paid)
    for each in state.cases:
        if each.open:
            state = _with(state, _ended(each, event.lines, "refunded"))
    return state


def _ended(case: Case, lines: Sequence[str], how: Literal["refunded", "closed"]) -> Case:
    """Return the case with these of its lines ended; one of which nothing is left open is settled."""
    done = dict(case.done) | {line: how for line, _ in case.lines if line in lines}
    case = _replace(case, done=tuple(done.items()))
    if not case.open or len(done) < len(case.lines):
        return case
    return _replace(case, stage="refunded" if "refunded" in done.values() else "closed")


def _paid_for(state: AfterSales, event: OrderRefunded) -> Case | None:
    """Return the case that money went back for, of which only the lines are told."""
    about = [case for case in state.cases if any(case.open_for(line) for line in event.lines)]
    named = (case for case in about if event.reference and case.reference == event.reference)
    return next(named, about[0] if about else None)


def _approved(state: AfterSales, event: AfterSaleApproved) -> AfterSales:
    state = _of_case(state, event.case, approved=True)
    return _moved(state, event.case, "approved", frozenset({"opened"}))


def _moved(state: AfterSales, number: int, to: Stage, only_from: frozenset[str]) -> AfterSales:
    case = case_numbered(state, number)
    return _with(state, _replace(case, stage=to)) if case is not None and case.stage in only_from else state


def _announced(state: AfterSales, event: ReturnAnnounced) -> AfterSales:
    return _moved(state, event.case, "returning", frozenset({"opened", "approved"}))


def _received(state: AfterSales, event: ReturnReceived) -> AfterSales:
    case = case_numbered(state, event.case)
    if case is None:
        return state
    back = added(event.good, event.damaged)
    missing = added(case.missing, event.missing)
    after = _with(state, _replace(case, back=added(case.back, back), missing=missing, receipts=event.receipt))
    return _moved(after._replace(returned=added(state.returned, back)), event.case, "received", OPEN)


def _picked(state: AfterSales, event: ReplacementPicked) -> AfterSales:
    case = case_numbered(state, event.case)
    if case is None or case.replacement is None:
        return state
    return _with(state, _replace(case, replacement=_replace(case.replacement, picked=True)))


def _shipped(state: AfterSales, event: ReplacementShipped) -> AfterSales:
    case = case_numbered(state, event.case)
    if case is None:
        return state
    left = [line for line, _ in case.lines if line not in dict(case.done)]
    return _with(state, _replace(_ended(case, left, "closed"), stage="replaced", replacement=None, ours=True))


EVOLVE: Mapping[type[Event], Callable[[AfterSales, Any], AfterSales]] = {
    AfterSaleOpened: _opened,
    AfterSaleMatched: lambda state, event: _of_case(state, event.case, reference=event.reference),
    AfterSaleApproved: _approved,
    AfterSaleDeclined: lambda state, event: _of_case(state, event.case, stage="declined"),
    AfterSaleClosed: _closed,
    OrderRefunded: _refunded,
    ReturnAnnounced: _announced,
    ReturnReceived: _received,
    ReplacementAsked: lambda state, event: _of_case(
        state, event.case, attempts=event.attempt, replacement=Replacement(event.lines)
    ),
    ReplacementReserved: lambda state, event: _of_case(
        state, event.case, replacement=Replacement(event.lines, event.allocation, event.warehouse)
    ),
    ReplacementShort: lambda state, event: _of_case(state, event.case, replacement=None),
    ReplacementPicked: _picked,
    ReplacementShipped: _shipped,
    ReplacementReleased: lambda state, event: _of_case(state, event.case, replacement=None),
}
EVENTS: tuple[type[Event], ...] = tuple(EVOLVE)


def evolve(state: AfterSales, event: Event) -> AfterSales:
    """Return the after-sale axis after an event of it."""
    return EVOLVE[type(event)](state, event)


def open_case(cases: Sequence[Case], line: str) -> Case | None:
    """Return the first open case about a line."""
    return next((case for case in cases if case.open_for(line)), None)


def replacements(cases: Sequence[Case]) -> list[Replacement]:
    """Return what warehouses hold for cases."""
    return [case.replacement for case in cases if case.replacement is not None and case.replacement.allocation]


def scanned(cases: tuple[Case, ...], allocation: str, sku: str, units: int) -> tuple[Case, ...]:
    """Return the cases after so many more (or fewer) units were scanned into a replacement's parcel."""
    return tuple(
        _replace(case, replacement=_replace(sending, scanned=taken(sending.scanned, sku, units)))
        if (sending := case.replacement) is not None and sending.allocation == allocation
        else case
        for case in cases
    )


def by_case(cases: Sequence[Case], lines: Quantities) -> list[tuple[int, Quantities]]:
    """Return (number of the open case, its pairs) of (line id, figure) pairs; those without a case under 0."""
    found: dict[int, list[tuple[str, int]]] = {}
    for line, figure in lines:
        case = open_case(cases, line)
        found.setdefault(case.number if case is not None else 0, []).append((line, figure))
    return [(number, tuple(pairs)) for number, pairs in found.items()]
