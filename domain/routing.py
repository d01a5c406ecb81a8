"""Routing: which warehouses serve an order, line by line and, where the rules allow it, unit by unit.

Pure: the order as it was ruled and the ledgers as they stand, in; a plan, out. The ledgers decide: a plan that one of
them refuses is given up whole. Fewer parcels go before nearer warehouses, except where a route says otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from domain.order import NOT_RULED, Allocation, Order, gift_line, goods, held_of, needs
from domain.rulings import Gift, Quantities, Route
from domain.stock import NONE, NOTHING, Ledger

WAREHOUSE = "A"
"""The warehouse of a merchant whose rule book names none."""


class Stock(msgspec.Struct, frozen=True, gc=False):
    """The warehouses as they are in the turn."""

    codes: tuple[str, ...]
    """Of all warehouses, the first preferred where no route says otherwise."""
    ledger_of: Callable[[str], Ledger]
    """Warehouse code → its ledger."""
    freed: Mapping[str, Mapping[str, int]] = {}
    """Warehouse code → SKU → units that the order gives back in this very step, before it asks anew."""

    def available(self, warehouse: str, sku: str) -> int:
        """Return what may be promised to the order; what others were promised first goes to them."""
        level = self.ledger_of(warehouse).levels.get(sku, NONE)
        freed = self.freed.get(warehouse, NOTHING).get(sku, 0)
        return level.available + max(freed - level.promised, 0) if freed else level.available


_ANYWHERE = Route("")


class _Piece(NamedTuple):
    """What belongs together: a line with all its parts, or a gift."""

    line: str
    units: int
    parts: Quantities
    """(SKU, units) of all of it."""


class _Free:
    """What may still be promised while a plan is made."""

    def __init__(self, stock: Stock, order: Order) -> None:
        self._available = stock.available
        self._keep = dict(order.ruled.keep)
        self._own: dict[str, dict[str, int]] = {}
        for hold in order.ruled.pre_holds:
            own = self._own.setdefault(hold.warehouse, {})
            for sku, units in hold.lines:
                own[sku] = own.get(sku, 0) + units
        self._taken: dict[tuple[str, str], int] = {}

    def of(self, warehouse: str, sku: str) -> int:
        own = self._own.get(warehouse, {}).get(sku, 0)
        return self._available(warehouse, sku) + own - self._keep.get(sku, 0) - self._taken.get((warehouse, sku), 0)

    def has(self, warehouse: str, pieces: Sequence[_Piece]) -> bool:
        wanted: dict[str, int] = {}
        for piece in pieces:
            for sku, units in piece.parts:
                wanted[sku] = wanted.get(sku, 0) + units
        return all(self.of(warehouse, sku) >= units for sku, units in wanted.items())

    def serves(self, warehouse: str, pieces: Sequence[_Piece]) -> list[_Piece]:
        """Return which of these pieces the warehouse could serve together, first come first served."""
        served: list[_Piece] = []
        for piece in pieces:
            if self.has(warehouse, (*served, piece)):
                served.append(piece)
        return served

    def take(self, warehouse: str, piece: _Piece) -> None:
        for sku, units in piece.parts:
            self._taken[warehouse, sku] = self._taken.get((warehouse, sku), 0) + units


_Place = tuple[str, str, bool]
"""(warehouse, area, whether it must be processed)."""


def plain_warehouse(order: Order, wanted: Quantities, stock: Stock) -> str:
    """Return the code of the one warehouse that serves all of it without a question; "" where there may be several.

    Args:
        order: the order.
        wanted: what it needs, by SKU.
        stock: the warehouses.
    """
    ruled = order.ruled
    code = stock.codes[0]
    if ruled is not NOT_RULED:
        for route in ruled.routes:
            if route.area or route.processing or route.warehouses not in ((), (code,)):
                return ""
        for hold in ruled.pre_holds:
            if hold.warehouse != code:
                return ""
        for gift in ruled.gifts:
            if gift.warehouse not in ("", code):
                return ""
    if len(stock.codes) == 1:
        return code
    # Most orders are served by the warehouse that is preferred.
    keep = dict(ruled.keep) if ruled.keep else NOTHING
    own = held_of(ruled.pre_holds) if ruled.pre_holds else NOTHING
    for sku, units in wanted:
        if stock.available(code, sku) + own.get(sku, 0) - keep.get(sku, 0) < units:
            return ""
    return code


def plan(key: str, order: Order, stock: Stock) -> tuple[Allocation, ...]:
    """Return the allocations that would serve all that the order still needs.

    What no warehouse has is asked of the first one that its route names, so that it is refused there, with the figures.
    """
    free = _Free(stock, order)
    placed: dict[_Place, list[_Piece]] = {}
    for route, pieces in _by_route(order):
        codes = route.warehouses or stock.codes
        for code, piece in _places(route, codes, pieces, free):
            placed.setdefault((code, route.area, route.processing), []).append(piece)
    wanted = {line for line, _, _ in goods(order)}
    _add_gifts(order, [gift for gift in order.ruled.gifts if gift_line(gift) in wanted], placed, free, stock.codes)
    name = f"{key}/{order.attempts + 1}"
    several = len(placed) > 1
    return tuple(
        Allocation(
            f"{name}-{number}" if several else name,
            code,
            _summed(pieces),
            units=tuple((piece.line, piece.units) for piece in pieces),
            area=area,
            held=False,
            unprocessed=processing,
        )
        for number, ((code, area, processing), pieces) in enumerate(placed.items(), 1)
    )


def pre_plan(key: str, order: Order, stock: Stock) -> tuple[Allocation, ...]:
    """Return what is still to be pre-reserved: gifts of an order that is not paid yet, all goods of a presale."""
    first = order.ruled.pre_attempts + 1
    if order.kind == "presale":
        return _locks(key, order, stock)
    free = _Free(stock, order)
    placed: dict[_Place, list[_Piece]] = {}
    held = {sku for hold in order.ruled.pre_holds for sku, _ in hold.lines}
    _add_gifts(order, [gift for gift in order.ruled.gifts if gift.sku not in held], placed, free, stock.codes)
    return tuple(
        Allocation(f"{key}/pre-{number}", place[0], _summed(pieces), held=False)
        for number, (place, pieces) in enumerate(placed.items(), first)
    )


def _locks(key: str, order: Order, stock: Stock) -> tuple[Allocation, ...]:
    """Return what is still to be locked of a presale: its goods where most lie, each gift that lies elsewhere there."""
    held = held_of(order.ruled.pre_holds)
    missing = {sku: left for sku, units in needs(order) if (left := units - held.get(sku, 0)) > 0}
    places: dict[str, dict[str, int]] = {stock.codes[0]: missing}
    for gift in order.ruled.gifts:
        left = min(gift.units, missing.get(gift.sku, 0))
        if gift.warehouse not in ("", stock.codes[0]) and left:
            missing[gift.sku] -= left
            there = places.setdefault(gift.warehouse, {})
            there[gift.sku] = there.get(gift.sku, 0) + left
    wanted = [(code, tuple((sku, units) for sku, units in its.items() if units)) for code, its in places.items()]
    first = order.ruled.pre_attempts + 1
    return tuple(
        Allocation(f"{key}/pre-{number}", code, lines, held=False)
        for number, (code, lines) in enumerate([each for each in wanted if each[1]], first)
    )


def _by_route(order: Order) -> list[tuple[Route, list[_Piece]]]:
    """Return the lines that must still leave by the route that they go by, in the order of the lines."""
    gifts = {gift_line(gift) for gift in order.ruled.gifts}
    parts: dict[str, list[tuple[str, int]]] = {}
    for line, sku, units in goods(order):
        if line not in gifts:
            parts.setdefault(line, []).append((sku, units))
    kits = {kit.line: kit.parts for kit in order.ruled.kits}
    grouped: list[tuple[Route, list[_Piece]]] = []
    for line, its in parts.items():
        units = its[0][1] // kits[line][0][1] if line in kits else its[0][1]
        route = next((each for each in order.ruled.routes if not each.lines or line in each.lines), _ANYWHERE)
        pieces = next((known for each, known in grouped if each is route), None)
        if pieces is None:
            grouped.append((route, [_Piece(line, units, tuple(its))]))
        else:
            pieces.append(_Piece(line, units, tuple(its)))
    return grouped


def _places(route: Route, codes: Sequence[str], pieces: Sequence[_Piece], free: _Free) -> list[tuple[str, _Piece]]:
    """Return which warehouse serves each piece of a route: one for all, or each line whole, or even units."""
    whole = next((code for code in codes if free.has(code, pieces)), None)
    if whole is not None or route.split == "never" or len(codes) == 1:
        return _taken([(whole or codes[0], piece) for piece in pieces], free)
    found: list[tuple[str, _Piece]] = []
    left = list(pieces)
    while left:
        # The warehouse that has the most of what is left; of equals the first preferred.
        code, served = max(((code, free.serves(code, left)) for code in codes), key=lambda each: len(each[1]))
        if not served:
            break
        found += _taken([(code, piece) for piece in served], free)
        left = [piece for piece in left if piece not in served]
    for piece in left:
        if route.split == "units" and len(piece.parts) == 1:
            found += _in_units(codes, piece, free)
        else:
            found += _taken([(codes[0], piece)], free)
    return found


def _in_units(codes: Sequence[str], piece: _Piece, free: _Free) -> list[tuple[str, _Piece]]:
    """Share the units of a line between warehouses; what none of them has is asked of the first."""
    ((sku, units),) = piece.parts
    each = units // piece.units
    shares = dict.fromkeys(codes, 0)
    left = piece.units
    for code in codes:
        shares[code] = min(left, max(free.of(code, sku) // each, 0))
        left -= shares[code]
    shares[codes[0]] += left
    return _taken(
        [(code, _Piece(piece.line, share, ((sku, share * each),))) for code, share in shares.items() if share], free
    )


def _taken(found: list[tuple[str, _Piece]], free: _Free) -> list[tuple[str, _Piece]]:
    for code, piece in found:
        free.take(code, piece)
    return found


def _add_gifts(
    order: Order, gifts: Sequence[Gift], placed: dict[_Place, list[_Piece]], free: _Free, others: tuple[str, ...]
) -> None:
    """Put each gift where it lies; where that may be anywhere, into a parcel that is sent in any case."""
    held = {sku: hold.warehouse for hold in order.ruled.pre_holds for sku, _ in hold.lines}
    sent_anyway = [place[0] for place in placed if not place[1]]
    for gift in gifts:
        piece = _Piece(gift_line(gift), gift.units, ((gift.sku, gift.units),))
        if gift.sku in held:
            codes = [held[gift.sku]]
        elif gift.warehouse:
            codes = [gift.warehouse]
        else:
            codes = list(dict.fromkeys((*sent_anyway, *others)))
        code = next((code for code in codes if free.has(code, (piece,))), codes[0])
        free.take(code, piece)
        placed.setdefault((code, "", False), []).append(piece)


def _summed(pieces: Sequence[_Piece]) -> Quantities:
    total: dict[str, int] = {}
    for piece in pieces:
        for sku, units in piece.parts:
            total[sku] = total.get(sku, 0) + units
    return tuple(total.items())
