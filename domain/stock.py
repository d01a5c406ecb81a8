"""A warehouse's stock ledger: one stream for each warehouse, so that an allocation is reserved whole or not at all.

available = on hand − reserved − pre-reserved − protected − damaged, never negative by any decision of ours. *Reserved*
is for paid orders, *pre-reserved* for gifts of orders that are not paid yet; picking out deducts on hand. Quantities
are units. What people do on the shelves (count, move, set damaged goods apart) is in `domain.shelf`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import immutables
import msgspec

from domain.decider import Command, DomainError, Event
from domain.time_units import DAY_MS
from domain.timehub import MS_MAX

DOCUMENTS_KEPT_MS = 400 * DAY_MS
"""How long document numbers are remembered, to know a repeated receipt when it comes again."""
DOCUMENTS_LEAP_MS = 30 * DAY_MS
"""A clock that has gone on for longer than this between two documents may be wrong: no document is older for it."""
QUANTITY_MAX = 10**9
"""No real count comes near it; more is a slip of the keyboard or of a unit."""
SKU_MAX = 200
"""Longest SKU, in characters: it stands in keys of read models and buckets, and databases and brokers have limits."""
DOCUMENT_MAX = 500
"""Longest number of a document, in characters: it is remembered for `DOCUMENTS_KEPT_MS`."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Quantities = tuple[tuple[str, int], ...]
"""(SKU, quantity) pairs."""


# --- commands


class ReceiveStock(Command, frozen=True):
    """Goods came in. `document` is the author's own number: the same one again changes nothing."""

    document: str
    lines: Quantities
    arrival: str = ""
    """The announced arrival that they are (part of)."""


class ExpectStock(Command, frozen=True):
    """Goods are to arrive; presales may be promised them. The same arrival again replaces what was announced."""

    document: str
    arrival: str
    """Its name, for example the purchase order's number."""
    lines: Quantities
    """(SKU, quantity) still to come; empty = nothing comes any more."""
    due_ms: int
    """When they are expected, UTC ms."""


class AdjustStock(Command, frozen=True):
    """A count found another on-hand figure: add `delta` (may be negative)."""

    document: str
    sku: str
    delta: int
    reason: str


class ProtectStock(Command, frozen=True):
    """Keep `quantity` units of a SKU out of what may be promised."""

    document: str
    sku: str
    quantity: int


class Reserve(Command, frozen=True):
    """Promise all lines of an allocation to a paid order, or none."""

    allocation: str
    order: str
    lines: Quantities
    keep: Quantities = ()
    """(SKU, units) that must stay available behind it."""
    instead_of: tuple[str, ...] = ()
    """Pre-reservations of the same order: it takes the place of what they hold of its lines, if it can be promised."""


class PreReserve(Command, frozen=True):
    """Promise gifts of an order that is not paid yet, or goods of a presale; all or none."""

    allocation: str
    order: str
    lines: Quantities
    keep: Quantities = ()
    """As in `Reserve`."""
    future: bool = False
    """Whether goods that are yet to arrive will do as well."""


class Release(Command, frozen=True):
    """Give back what an allocation still holds; `lines` empty = all of it."""

    allocation: str
    lines: Quantities = ()


class PickOut(Command, frozen=True):
    """Goods of an allocation have left the shelf; `lines` empty = all it still holds."""

    allocation: str
    lines: Quantities = ()


class TakeBack(Command, frozen=True):
    """Goods that had left came back. `document` is the author's own number: the same one again changes nothing."""

    document: str
    order: str
    good: Quantities
    """May be sold again."""
    damaged: Quantities = ()
    """May not."""


class Issue(Command, frozen=True):
    """Goods that nobody had reserved have left (an order shipped outside): deduct them if they were counted here."""

    allocation: str
    order: str
    lines: Quantities
    shipped_ms: int


# --- events


class StockReceived(Event, frozen=True):
    """On hand grew."""

    document: str
    lines: Quantities
    at_ms: int
    arrival: str = ""


class StockAdjusted(Event, frozen=True):
    """On hand was put right after a count."""

    document: str
    sku: str
    delta: int
    reason: str
    at_ms: int


class StockProtected(Event, frozen=True):
    """The protected quantity of a SKU was set."""

    document: str
    sku: str
    quantity: int
    at_ms: int


class StockReserved(Event, frozen=True):
    """An allocation holds these quantities."""

    allocation: str
    order: str
    lines: Quantities


class StockPreReserved(Event, frozen=True):
    """An allocation holds these gifts for an order that is not paid yet."""

    allocation: str
    order: str
    lines: Quantities


class StockExpected(Event, frozen=True):
    """Goods are to arrive; what was announced of the same arrival before no longer counts."""

    document: str
    arrival: str
    lines: Quantities
    due_ms: int
    at_ms: int


class StockPromised(Event, frozen=True):
    """An allocation is promised goods that are yet to arrive, beside what it holds of those on the shelf."""

    allocation: str
    order: str
    lines: Quantities
    due_ms: int
    """When the last of them is expected, UTC ms."""
    keep: Quantities = ()
    """(SKU, units) that must stay available behind it when they arrive."""


class PromiseCovered(Event, frozen=True):
    """Goods that an allocation was promised are on the shelf, and pre-reserved for it."""

    allocation: str
    order: str
    lines: Quantities
    whole: bool = False
    """Whether nothing is missing any more."""


class PromiseDropped(Event, frozen=True):
    """An allocation no longer waits for goods to arrive."""

    allocation: str
    lines: Quantities


class ReservationRefused(Event, frozen=True):
    """Not enough: nothing was reserved. `short` holds (SKU, wanted, available)."""

    allocation: str
    order: str
    short: tuple[tuple[str, int, int], ...]


class StockReleased(Event, frozen=True):
    """An allocation gave these quantities back."""

    allocation: str
    lines: Quantities


class StockPickedOut(Event, frozen=True):
    """Reserved goods left: on hand and reserved fell alike."""

    allocation: str
    lines: Quantities


class StockIssued(Event, frozen=True):
    """Goods left without a reservation: on hand fell."""

    allocation: str
    order: str
    lines: Quantities


class StockReturned(Event, frozen=True):
    """Goods came back and may be sold again: on hand grew."""

    document: str
    order: str
    lines: Quantities
    at_ms: int


class StockReturnedDamaged(Event, frozen=True):
    """Goods came back that may not be sold: on hand and damaged grew alike."""

    document: str
    order: str
    lines: Quantities
    at_ms: int


class StockRefused(Event, frozen=True):
    """A message to the ledger broke a rule."""

    what: str
    rule: str
    reason: str
    command: str = ""


# --- refusals


class BadQuantity(DomainError):
    """A quantity that cannot be: zero, negative or absurd."""


class BadSku(DomainError):
    """No goods can go by it: it is too long, or has characters that nobody can type."""


class MissingDocument(DomainError):
    """Without a document number of its author's a repeat could not be told from another act."""


class BadDocument(DomainError):
    """No document can have this number: it is too long, or has characters that nobody can type."""


class WrongActor(DomainError):
    """A ledger knows no such command."""


class BadArrival(DomainError):
    """Goods that are to arrive need a name to be known by, and a day."""


class NotEnoughOnHand(DomainError):
    """An adjustment would take away what is promised or not there."""


# --- state


class Level(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Quantities of one SKU in one warehouse."""

    on_hand: int = 0
    reserved: int = 0
    pre_reserved: int = 0
    protected: int = 0
    since_ms: int = 0
    """When the ledger began to count this SKU; 0 = it never did."""
    promised: int = 0
    """Units of presales that wait for goods to arrive."""
    damaged: int = 0
    """Units on the shelf that nobody would want."""

    @property
    def available(self) -> int:
        """What may still be promised."""
        return self.on_hand - self.reserved - self.pre_reserved - self.protected - self.damaged


class Held(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What an allocation holds."""

    lines: Quantities
    pre: bool = False
    missing: Quantities = ()
    """(SKU, units) that it was promised and that are yet to arrive."""
    order: str = ""
    """Whose it is, where it waits for goods."""
    keep: Quantities = ()
    """(SKU, units) that it leaves to others while it waits."""


class Arrival(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Goods that are to arrive."""

    due_ms: int
    lines: Quantities
    """(SKU, quantity) still to come."""


class Reorder(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """When a SKU is to be bought again."""

    level: int
    """Fewer units available than this are too few."""
    target: int
    """So many are wanted then."""
    signalled: bool = False
    """Whether it was told, and there are still too few."""


class Floor(msgspec.Struct, frozen=True):
    """What was set for the warehouse's own people."""

    verified: bool = False
    """Whether goods leave only when all of them were scanned, and nothing else."""
    reorder: "immutables.Map[str, Reorder]" = immutables.Map()


class Ledger(msgspec.Struct, frozen=True):
    """State of a warehouse's ledger."""

    levels: "immutables.Map[str, Level]" = immutables.Map()
    allocations: "immutables.Map[str, Held]" = immutables.Map()
    documents: "immutables.Map[str, int]" = immutables.Map()
    """Document number → when it was handled, UTC ms."""
    expired_ms: int = 0
    """When old documents were last dropped."""
    arrivals: "immutables.Map[str, Arrival]" = immutables.Map()
    promises: tuple[str, ...] = ()
    """Allocations that wait for goods to arrive, first come first served."""
    floor: Floor = Floor()


_replace = msgspec.structs.replace
NONE = Level()
NOTHING: Mapping[str, int] = {}


def _levels(
    state: Ledger, lines: Iterable[tuple[str, int]], change: Callable[[Level, int], Level]
) -> "immutables.Map[str, Level]":
    levels = state.levels
    for sku, quantity in lines:
        levels = levels.set(sku, change(levels.get(sku, NONE), quantity))
    return levels


def _receive(level: Level, quantity: int) -> Level:
    return Level(
        level.on_hand + quantity,
        level.reserved,
        level.pre_reserved,
        level.protected,
        level.since_ms,
        level.promised,
        level.damaged,
    )


def _reserve(level: Level, quantity: int) -> Level:
    return Level(
        level.on_hand,
        level.reserved + quantity,
        level.pre_reserved,
        level.protected,
        level.since_ms,
        level.promised,
        level.damaged,
    )


def _pre_reserve(level: Level, quantity: int) -> Level:
    return _replace(level, pre_reserved=level.pre_reserved + quantity)


def _promise(level: Level, quantity: int) -> Level:
    return _replace(level, promised=level.promised + quantity)


def _cover(level: Level, quantity: int) -> Level:
    return _replace(level, promised=level.promised - quantity, pre_reserved=level.pre_reserved + quantity)


def _pick(level: Level, quantity: int) -> Level:
    return Level(
        level.on_hand - quantity,
        level.reserved - quantity,
        level.pre_reserved,
        level.protected,
        level.since_ms,
        level.promised,
        level.damaged,
    )


def _pick_pre(level: Level, quantity: int) -> Level:
    return _replace(level, on_hand=level.on_hand - quantity, pre_reserved=level.pre_reserved - quantity)


def _receive_damaged(level: Level, quantity: int) -> Level:
    return _replace(level, on_hand=level.on_hand + quantity, damaged=level.damaged + quantity)


def _minus(lines: Quantities, taken: Quantities) -> Quantities:
    """Return what is left of an allocation's lines."""
    if taken == lines:
        return ()
    left = dict(lines)
    for sku, quantity in taken:
        left[sku] = left.get(sku, 0) - quantity
    return tuple((sku, quantity) for sku, quantity in left.items() if quantity > 0)


def _documented(state: Ledger, document: str, at_ms: int) -> tuple["immutables.Map[str, int]", int]:
    """Remember a document and, once a day, forget the old ones.

    One whose clock is behind is no older for it, and one whose clock is far ahead makes no other one older.
    """
    documents = state.documents.set(document, max(at_ms, state.expired_ms))
    if at_ms - state.expired_ms < DAY_MS:
        return documents, state.expired_ms
    if at_ms - state.expired_ms > DOCUMENTS_LEAP_MS:
        return immutables.Map(dict.fromkeys(documents, at_ms)), at_ms
    for number, seen in state.documents.items():
        if at_ms - seen > DOCUMENTS_KEPT_MS:
            documents = documents.delete(number)
    return documents, at_ms


def noted(state: Ledger, document: str, at_ms: int, levels: "immutables.Map[str, Level]") -> Ledger:
    """Return the ledger with these levels, and with a document that was handled."""
    documents, expired = _documented(state, document, at_ms)
    return _replace(state, levels=levels, documents=documents, expired_ms=expired)


def _begun(levels: "immutables.Map[str, Level]", sku: str, at_ms: int) -> "immutables.Map[str, Level]":
    """Note when counting of a SKU began."""
    level = levels.get(sku, NONE)
    if level.since_ms:
        return levels
    return levels.set(sku, _replace(level, since_ms=at_ms))


def _received(state: Ledger, event: StockReceived) -> Ledger:
    levels = _levels(state, event.lines, _receive)
    for sku, _ in event.lines:
        levels = _begun(levels, sku, event.at_ms)
    documents, expired = _documented(state, event.document, event.at_ms)
    arrivals = state.arrivals
    announced = arrivals.get(event.arrival)
    if announced is not None:
        left = _minus(announced.lines, event.lines)
        arrivals = (
            arrivals.set(event.arrival, _replace(announced, lines=left)) if left else arrivals.delete(event.arrival)
        )
    return _replace(state, levels=levels, documents=documents, expired_ms=expired, arrivals=arrivals)


def _returned(
    state: Ledger, event: StockReturned | StockReturnedDamaged, change: Callable[[Level, int], Level]
) -> Ledger:
    levels = _levels(state, event.lines, change)
    for sku, _ in event.lines:
        levels = _begun(levels, sku, event.at_ms)
    return noted(state, event.document, event.at_ms, levels)


def _expected(state: Ledger, event: StockExpected) -> Ledger:
    documents, expired = _documented(state, event.document, event.at_ms)
    arrivals = state.arrivals
    if event.lines:
        arrivals = arrivals.set(event.arrival, Arrival(event.due_ms, event.lines))
    elif event.arrival in arrivals:
        arrivals = arrivals.delete(event.arrival)
    return _replace(state, documents=documents, expired_ms=expired, arrivals=arrivals)


def _adjusted(state: Ledger, event: StockAdjusted) -> Ledger:
    levels = _begun(_levels(state, ((event.sku, event.delta),), _receive), event.sku, event.at_ms)
    return noted(state, event.document, event.at_ms, levels)


def _protected(state: Ledger, event: StockProtected) -> Ledger:
    level = state.levels.get(event.sku, NONE)
    levels = state.levels.set(event.sku, _replace(level, protected=event.quantity))
    return noted(state, event.document, event.at_ms, levels)


def _reserved(state: Ledger, event: StockReserved) -> Ledger:
    return Ledger(
        _levels(state, event.lines, _reserve),
        state.allocations.set(event.allocation, Held(event.lines)),
        state.documents,
        state.expired_ms,
        state.arrivals,
        state.promises,
        state.floor,
    )


def _pre_reserved(state: Ledger, event: StockPreReserved) -> Ledger:
    levels = _levels(state, event.lines, _pre_reserve)
    held = Held(event.lines, pre=True)
    return _replace(state, levels=levels, allocations=state.allocations.set(event.allocation, held))


def _promised(state: Ledger, event: StockPromised) -> Ledger:
    held = state.allocations.get(event.allocation)
    waits = Held(
        held.lines if held is not None else (), pre=True, missing=event.lines, order=event.order, keep=event.keep
    )
    return _replace(
        state,
        levels=_levels(state, event.lines, _promise),
        allocations=state.allocations.set(event.allocation, waits),
        promises=(*state.promises, event.allocation),
    )


def _covered(state: Ledger, event: PromiseCovered) -> Ledger:
    held = state.allocations[event.allocation]
    missing = _minus(held.missing, event.lines)
    after = Held(_plus(held.lines, event.lines), pre=True, missing=missing, order=held.order, keep=held.keep)
    return _replace(
        state,
        levels=_levels(state, event.lines, _cover),
        allocations=state.allocations.set(event.allocation, after),
        promises=state.promises if missing else _without(state.promises, event.allocation),
    )


def _dropped(state: Ledger, event: PromiseDropped) -> Ledger:
    held = state.allocations[event.allocation]
    allocations = state.allocations.delete(event.allocation)
    if held.lines:
        allocations = state.allocations.set(event.allocation, Held(held.lines, pre=True))
    levels = _levels(state, ((sku, -quantity) for sku, quantity in event.lines), _promise)
    return _replace(state, levels=levels, allocations=allocations, promises=_without(state.promises, event.allocation))


def _without(promises: tuple[str, ...], allocation: str) -> tuple[str, ...]:
    if promises[:1] == (allocation,):  # of thousands most often the first
        return promises[1:]
    return tuple(each for each in promises if each != allocation)


def _plus(lines: Quantities, more: Quantities) -> Quantities:
    return summed((*lines, *more))


def _left(state: Ledger, allocation: str, taken: Quantities) -> "immutables.Map[str, Held]":
    held = state.allocations.get(allocation)
    if held is None:
        return state.allocations
    rest = _minus(held.lines, taken)
    if rest:
        return state.allocations.set(allocation, _replace(held, lines=rest))
    return state.allocations.delete(allocation)


def _released(state: Ledger, event: StockReleased) -> Ledger:
    held = state.allocations.get(event.allocation)
    give_back = _pre_reserve if held is not None and held.pre else _reserve
    levels = _levels(state, ((sku, -quantity) for sku, quantity in event.lines), give_back)
    left = _left(state, event.allocation, event.lines)
    return Ledger(levels, left, state.documents, state.expired_ms, state.arrivals, state.promises, state.floor)


def _picked_out(state: Ledger, event: StockPickedOut) -> Ledger:
    held = state.allocations.get(event.allocation)
    levels = _levels(state, event.lines, _pick_pre if held is not None and held.pre else _pick)
    left = _left(state, event.allocation, event.lines)
    return Ledger(levels, left, state.documents, state.expired_ms, state.arrivals, state.promises, state.floor)


def _issued(state: Ledger, event: StockIssued) -> Ledger:
    levels = _levels(state, ((sku, -quantity) for sku, quantity in event.lines), _receive)
    return _replace(state, levels=levels)


def _unchanged(state: Ledger, event: Event) -> Ledger:
    del event
    return state


EVOLVE: Mapping[type[Event], Callable[[Ledger, Any], Ledger]] = {
    StockReceived: _received,
    StockReturned: lambda state, event: _returned(state, event, _receive),
    StockReturnedDamaged: lambda state, event: _returned(state, event, _receive_damaged),
    StockAdjusted: _adjusted,
    StockProtected: _protected,
    StockReserved: _reserved,
    StockPreReserved: _pre_reserved,
    StockReleased: _released,
    StockPickedOut: _picked_out,
    StockIssued: _issued,
    StockExpected: _expected,
    StockPromised: _promised,
    PromiseCovered: _covered,
    PromiseDropped: _dropped,
    ReservationRefused: _unchanged,
    StockRefused: _unchanged,
}


def evolve(state: Ledger, event: Event) -> Ledger:
    """Return the ledger after the event."""
    return EVOLVE[type(event)](state, event)


# --- decisions


def summed(lines: Iterable[tuple[str, int]]) -> Quantities:
    """Add up the quantities of the same SKU, in the order they first appear.

    Raises:
        BadQuantity: a quantity is not between 1 and `QUANTITY_MAX`, or a SKU is empty.
    """
    total: dict[str, int] = {}
    for sku, quantity in lines:
        if not 0 < quantity <= QUANTITY_MAX or not sku:
            raise BadQuantity(
                f"{quantity} units of SKU {sku[:40]!r}: need a SKU and a quantity from 1 to {QUANTITY_MAX}"
            )
        total[sku] = total.get(sku, 0) + quantity
    return tuple(total.items())


def is_sku(text: str) -> bool:
    """Whether goods can go by it."""
    return 0 < len(text) <= SKU_MAX and _CONTROLS.search(text) is None


def check_skus(skus: Iterable[str], state: Ledger) -> None:
    """Refuse what can be no SKU, unless the ledger has it already: then it must be possible to clear it away.

    Raises:
        BadSku: it is one.
    """
    for sku in skus:
        if sku not in state.levels and not is_sku(sku):
            raise BadSku(f"{sku[:40]!r} is no SKU: it has 1 to {SKU_MAX} characters, and no control characters")


def is_known(document: str, state: Ledger) -> bool:
    """Whether a document was handled before.

    Raises:
        MissingDocument: there is no number to tell.
        BadDocument: it can be none.
    """
    if not document:
        raise MissingDocument("the message has no document number; its author must give it one")
    if document in state.documents:
        return True
    if len(document) > DOCUMENT_MAX or _CONTROLS.search(document):
        raise BadDocument(
            f"{document[:40]!r} is no document number: it has 1 to {DOCUMENT_MAX} characters, and no control characters"
        )
    return False


def _decide_receive(command: ReceiveStock, state: Ledger, now_ms: int) -> Sequence[Event]:
    if is_known(command.document, state):
        return ()
    lines = some_lines(command.lines)
    check_skus((sku for sku, _ in lines), state)
    return _with_covering((StockReceived(command.document, lines, now_ms, command.arrival),), state)


def covering(state: Ledger) -> list[PromiseCovered]:
    """Give what is available to those who were promised it, first come first served."""
    covered: list[PromiseCovered] = []
    for allocation in state.promises:
        held = state.allocations[allocation]
        lines = _on_shelf(state, held.missing, dict(held.keep))
        if lines:
            covered.append(PromiseCovered(allocation, held.order, lines, whole=lines == held.missing))
            state = _covered(state, covered[-1])
    return covered


def _on_shelf(state: Ledger, lines: Quantities, keep: Mapping[str, int] = NOTHING) -> Quantities:
    """Return what is available of these lines."""
    found = ((sku, min(quantity, state.levels.get(sku, NONE).available - keep.get(sku, 0))) for sku, quantity in lines)
    return tuple((sku, units) for sku, units in found if units > 0)


def _decide_take_back(command: TakeBack, state: Ledger, now_ms: int) -> Sequence[Event]:
    if command.document in state.documents:
        return ()
    document, order = command.document, command.order
    good, damaged = summed(command.good), summed(command.damaged)
    events: list[Event] = []
    if good:
        returned = StockReturned(document, order, good, now_ms)
        events += (returned, *covering(evolve(state, returned))) if state.promises else (returned,)
    if damaged:
        events.append(StockReturnedDamaged(document, order, damaged, now_ms))
    return events


def _decide_expect(command: ExpectStock, state: Ledger, now_ms: int) -> Sequence[Event]:
    if is_known(command.document, state):
        return ()
    if not command.arrival or len(command.arrival) > ARRIVAL_MAX or not 0 < command.due_ms <= MS_MAX:
        raise BadArrival(f"an arrival has a name of 1 to {ARRIVAL_MAX} characters and a day: {command.arrival[:40]!r}")
    lines = summed(command.lines)
    check_skus((sku for sku, _ in lines), state)
    return (StockExpected(command.document, command.arrival, lines, command.due_ms, now_ms),)


ARRIVAL_MAX = 100


def _due(state: Ledger, missing: Quantities) -> int | None:
    """Return when goods that are to arrive, and nobody was promised yet, can serve these lines; None: they cannot."""
    due_ms = 0
    arrivals = sorted(state.arrivals.items(), key=lambda each: (each[1].due_ms, each[0]))
    for sku, quantity in missing:
        left = quantity + state.levels.get(sku, NONE).promised
        for _, arrival in arrivals:
            coming = dict(arrival.lines).get(sku, 0)
            if left > 0 and coming:
                left -= coming
                due_ms = max(due_ms, arrival.due_ms)
        if left > 0:
            return None
    return due_ms


def _decide_adjust(command: AdjustStock, state: Ledger, now_ms: int) -> Sequence[Event]:
    if is_known(command.document, state):
        return ()
    if command.delta == 0 or abs(command.delta) > QUANTITY_MAX or not command.sku:
        raise BadQuantity(f"an adjustment of {command.delta} units of SKU {command.sku[:40]!r}")
    check_skus((command.sku,), state)
    level = state.levels.get(command.sku, NONE)
    if level.available + command.delta < 0:
        raise NotEnoughOnHand(
            f"{command.sku}: {command.delta} would leave {level.available + command.delta} available; "
            f"{level.on_hand} on hand, {level.reserved + level.pre_reserved} promised, {level.protected} protected, "
            f"{level.damaged} damaged. "
            "Release or cancel what is promised first"
        )
    adjusted = StockAdjusted(command.document, command.sku, command.delta, command.reason, now_ms)
    return _with_covering((adjusted,), state)


def _decide_protect(command: ProtectStock, state: Ledger, now_ms: int) -> Sequence[Event]:
    if is_known(command.document, state):
        return ()
    level = state.levels.get(command.sku, NONE)
    if (
        not command.sku
        or not 0 <= command.quantity <= QUANTITY_MAX
        or level.available + level.protected < command.quantity
    ):
        raise BadQuantity(
            f"cannot protect {command.quantity} units of {command.sku[:40]!r}: "
            f"{level.available + level.protected} are free"
        )
    check_skus((command.sku,), state)
    return _with_covering((StockProtected(command.document, command.sku, command.quantity, now_ms),), state)


def _short(
    state: Ledger, lines: Quantities, keep: Mapping[str, int] = NOTHING, own: Mapping[str, int] = NOTHING
) -> tuple[tuple[str, int, int], ...]:
    """Return (SKU, wanted, available) of what is not there, beside what is kept and what is held for it already."""
    levels = state.levels
    return tuple(
        [
            (sku, quantity, available)
            for sku, quantity in lines
            if (available := levels.get(sku, NONE).available + own.get(sku, 0) - keep.get(sku, 0)) < quantity
        ]
    )


def some_lines(lines: Quantities) -> Quantities:
    """Return lines added up by SKU. Raises BadQuantity where there are none, or one cannot be."""
    if not lines:
        raise BadQuantity("no lines")
    return summed(lines)


def _decide_reserve(command: Reserve | PreReserve, state: Ledger, now_ms: int) -> Sequence[Event]:
    del now_ms
    if command.allocation in state.allocations:
        return ()
    lines = some_lines(command.lines)
    before: list[StockReleased] = []
    own: dict[str, int] = {}
    if isinstance(command, Reserve):
        left = dict(lines)
        for name in command.instead_of:
            held = state.allocations.get(name)
            taken = taken_of(held.lines, left) if held is not None and held.pre and not held.missing else ()
            if taken:
                # The rest stays held, for other parts of the order; nobody else may have it in between.
                before.append(StockReleased(name, taken))
                for sku, units in taken:
                    own[sku] = own.get(sku, 0) + units
    short = _short(state, lines, dict(command.keep) if command.keep else NOTHING, own)
    if short:
        locked = _locked(command, lines, state) if isinstance(command, PreReserve) and command.future else ()
        return locked or (ReservationRefused(command.allocation, command.order, short),)
    if isinstance(command, Reserve):
        return (*before, StockReserved(command.allocation, command.order, lines))
    return (StockPreReserved(command.allocation, command.order, lines),)


def taken_of(held: Quantities, left: dict[str, int]) -> Quantities:
    """Return what of a pre-reservation a reservation of `left` takes the place of; that is taken out of `left`."""
    taken = tuple((sku, min(units, left[sku])) for sku, units in held if left.get(sku, 0) > 0)
    for sku, units in taken:
        left[sku] -= units
    return taken


def _locked(command: PreReserve, lines: Quantities, state: Ledger) -> Sequence[Event]:
    """Return what locks goods of a presale: those on the shelf, and for the rest a promise; nothing where none can."""
    here = _on_shelf(state, lines, dict(command.keep))
    missing = _minus(lines, here)
    due_ms = _due(state, missing)
    if due_ms is None:
        return ()
    promised = StockPromised(command.allocation, command.order, missing, due_ms, command.keep)
    return (StockPreReserved(command.allocation, command.order, here), promised) if here else (promised,)


def _of_allocation(state: Ledger, allocation: str, lines: Quantities) -> Quantities:
    """Return the wanted lines as far as the allocation still holds them; all of them where `lines` is empty."""
    held = state.allocations.get(allocation)
    if held is None:
        return ()
    if not lines:
        return held.lines
    have = dict(held.lines)
    return tuple((sku, min(quantity, have.get(sku, 0))) for sku, quantity in summed(lines) if have.get(sku, 0) > 0)


def _decide_release(command: Release, state: Ledger, now_ms: int) -> Sequence[Event]:
    del now_ms
    lines = _of_allocation(state, command.allocation, command.lines)
    released: tuple[Event, ...] = (StockReleased(command.allocation, lines),) if lines else ()
    held = state.allocations.get(command.allocation)
    if held is not None and held.missing:
        released = (PromiseDropped(command.allocation, held.missing), *released)
    return _with_covering(released, state)


def _with_covering(events: tuple[Event, ...], state: Ledger) -> Sequence[Event]:
    """Return the events, and who is given at once what they leave free."""
    if not state.promises or not events:
        return events
    for event in events:
        state = evolve(state, event)
    return (*events, *covering(state))


def _decide_pick_out(command: PickOut, state: Ledger, now_ms: int) -> Sequence[Event]:
    del now_ms
    lines = _of_allocation(state, command.allocation, command.lines)
    return (StockPickedOut(command.allocation, lines),) if lines else ()


def _decide_issue(command: Issue, state: Ledger, now_ms: int) -> Sequence[Event]:
    del now_ms
    lines = tuple(
        (sku, quantity)
        for sku, quantity in summed(command.lines)
        if 0 < state.levels.get(sku, NONE).since_ms <= command.shipped_ms
    )
    # The goods have left already: what is there is deducted, and only what is not there is reported.
    gone = tuple((sku, units) for sku, quantity in lines if (units := min(quantity, state.levels[sku].available)) > 0)
    short = _short(state, lines)
    issued = (StockIssued(command.allocation, command.order, gone),) if gone else ()
    return (*issued, ReservationRefused(command.allocation, command.order, short)) if short else issued


DECIDE: Mapping[type[Command], Callable[[Any, Ledger, int], Sequence[Event]]] = {
    ReceiveStock: _decide_receive,
    TakeBack: _decide_take_back,
    ExpectStock: _decide_expect,
    AdjustStock: _decide_adjust,
    ProtectStock: _decide_protect,
    Reserve: _decide_reserve,
    PreReserve: _decide_reserve,
    Release: _decide_release,
    PickOut: _decide_pick_out,
    Issue: _decide_issue,
}


def decide(command: Command, state: Ledger, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows from a command; `now_ms` is the message's observed time."""
    handler = DECIDE.get(type(command))
    if handler is None:
        raise WrongActor(f"{type(command).__name__} is nothing that a warehouse could do")
    events = handler(command, state, now_ms)
    for event in events:
        for sku, quantity in getattr(event, "lines", ()):
            assert sku
            assert quantity > 0
    return events


# --- snapshot


class _Frozen(msgspec.Struct):
    levels: dict[str, Level]
    allocations: dict[str, Held]
    documents: dict[str, int]
    expired_ms: int
    arrivals: dict[str, Arrival]
    promises: tuple[str, ...]
    verified: bool
    reorder: dict[str, Reorder]


SNAPSHOT_TAG = "stock.ledger.5"
_encode = msgspec.json.Encoder(order="deterministic").encode
_decoder = msgspec.json.Decoder(_Frozen)


def to_snapshot(state: Ledger) -> bytes:
    """Encode the ledger, for a quick start; entries by name, so that the same state gives the same bytes."""
    return _encode(
        _Frozen(
            dict(state.levels.items()),
            dict(state.allocations.items()),
            dict(state.documents.items()),
            state.expired_ms,
            dict(state.arrivals.items()),
            state.promises,
            state.floor.verified,
            dict(state.floor.reorder.items()),
        )
    )


def from_snapshot(data: bytes) -> Ledger:
    """Decode what `to_snapshot` made."""
    frozen = _decoder.decode(data)
    return Ledger(
        immutables.Map(frozen.levels),
        immutables.Map(frozen.allocations),
        immutables.Map(frozen.documents),
        frozen.expired_ms,
        immutables.Map(frozen.arrivals),
        frozen.promises,
        Floor(frozen.verified, immutables.Map(frozen.reorder)),
    )
