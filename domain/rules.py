"""What a rule book says of an order: `judge` asks every rule, in the order of the book.

Pure and total: the same book and the same facts give the same ruling, and no order makes it fail.
"""

from collections.abc import Iterator

from domain.canonical import Line
from domain.condition_values import Scope, lines_of
from domain.rule_parts import FREIGHT, Book, Offer, Priority, Step, tags_of
from domain.rule_shapes import GiftRow
from domain.rulings import UNRULED, Facts, Form, Found, Gift, Kit, Promise, Quantities, Route, Ruling, Saving

_STRONGER: dict[Priority, int] = {"": 0, "urgent": 1, "express": 2}


def judge(book: Book, facts: Facts, version: int = 0) -> Ruling:
    """Return everything that the book says of an order at this moment.

    Args:
        book: the rules.
        facts: the order, and what else is known of it.
        version: of the book, for the record.
    """
    if not book.ruled:
        return UNRULED
    scope = Scope(facts)
    tags = tuple(tags_of(book, scope)) if book.tags else ()
    kits = _kits(book, scope) if book.kits else ()
    gifts, savings = _promotions(book, scope, kits) if book.offers else ((), ())
    routes, priority = _routes(book, scope)
    return Ruling(
        version,
        tuple(
            [
                Found(stop.rule, stop.reason, stop.evidence(scope), stop.advice, stop.role)
                for stop in book.stops
                if stop.when is None or stop.when(scope)
            ]
        ),
        gifts,
        savings,
        routes,
        kits,
        tags,
        priority,
        _promise(book, scope),
        tuple(_forms(book, scope).values()),
        _keep(book, scope, gifts, kits) if book.protections else (),
        any(when is None or when(scope) for when in book.lots),
        max([ms for when, ms in book.suspicions if when is None or when(scope)], default=0) if book.suspicions else 0,
        facts.buyer if facts.customer.get("credit_limit") else "",
    )


def _routes(book: Book, scope: Scope) -> tuple[tuple[Route, ...], Priority]:
    """Give each line to the first route that fits; all that fit have a say in the priority."""
    routes: list[Route] = []
    priority: Priority = ""
    taken: set[str] = set()
    rest = True  # whether lines are left that no route has taken
    for when, lines, route, stronger in book.routes:
        if when is not None and not when(scope):
            continue
        chosen = None if lines is None else [line.id for line in lines_of(scope, lines)]
        if chosen is not None and not chosen:
            continue
        if _STRONGER[stronger] > _STRONGER[priority]:
            priority = stronger
        if route is None or not rest:
            continue
        if chosen is None:
            rest = False
            routes.append(route)
        elif free := tuple([each for each in chosen if each not in taken]):
            taken.update(free)
            rest = len(taken) < len(scope.lines)
            routes.append(Route(route.rule, free, route.warehouses, route.split, route.area, route.processing))
    return tuple(routes), priority


def _kits(book: Book, scope: Scope) -> tuple[Kit, ...]:
    kits: dict[str, Kit] = {}
    for when, sku, parts in book.kits:
        lines = [line.id for line in scope.lines if line.sku == sku]
        if lines and (when is None or when(scope)):
            for line in lines:
                kits.setdefault(line, Kit(line, parts))
    return tuple(kits.values())


def _promise(book: Book, scope: Scope) -> Promise | None:
    for when, promise in book.promises:
        if when is None or when(scope):
            return promise
    return None


def _forms(book: Book, scope: Scope) -> dict[str, Form]:
    forms: dict[str, Form] = {}
    for when, form in book.approvals:
        if form.form not in forms and (when is None or when(scope)):
            forms[form.form] = form
    return forms


def _keep(book: Book, scope: Scope, gifts: tuple[Gift, ...], kits: tuple[Kit, ...]) -> Quantities:
    """Return what must be left of the goods that this order could take."""
    keep: dict[str, int] = {}
    wanted: set[str] | None = None
    for when, skus, units in book.protections:
        if when is not None and not when(scope):
            continue
        if wanted is None:
            wanted = {line.sku for line in scope.lines} | {gift.sku for gift in gifts}
            wanted.update(sku for kit in kits for sku, _ in kit.parts)
        for sku in skus:
            if sku in wanted:
                keep[sku] = max(keep.get(sku, 0), units)
    return tuple(keep.items())


# --- promotions


def _promotions(book: Book, scope: Scope, kits: tuple[Kit, ...]) -> tuple[tuple[Gift, ...], tuple[Saving, ...]]:
    gifts: list[Gift] = []
    savings: list[Saving] = []
    left = scope.amounts.payable
    for offer in book.offers:
        if offer.when is not None and not offer.when(scope):
            continue
        lines = [line for line in lines_of(scope, offer.buy) if not line.gift]
        saved = 0
        for step, times in _reached(offer, lines, scope.currency):
            if step.gift is not None:
                gifts += _gifts(offer, step, step.gift, times, lines, kits)
            if step.save == FREIGHT:
                saved += scope.amounts.freight
            elif step.save and step.save_currency == scope.currency:
                saved += step.save * times
        saved = min(saved, left)
        if saved > 0:
            left -= saved
            savings.append(Saving(offer.rule, saved))
    return tuple(gifts) if len(gifts) < 2 else _together(gifts), tuple(savings)  # noqa: PLR2004


def _together(gifts: list[Gift]) -> tuple[Gift, ...]:
    """Return one gift for each rule and SKU, by which it goes where lines do; of several warehouses the first."""
    found: dict[tuple[str, str], Gift] = {}
    for gift in gifts:
        known = found.setdefault((gift.rule, gift.sku), gift)
        if known is not gift:
            units, warehouse = known.units + gift.units, known.warehouse or gift.warehouse
            found[gift.rule, gift.sku] = Gift(gift.rule, gift.sku, units, warehouse)
    return tuple(found.values())


def _reached(offer: Offer, lines: list[Line], currency: str) -> list[tuple[Step, int]]:
    """Return which steps count, and how often."""
    first = offer.steps[0]
    if first.currency and first.currency != currency:
        return []
    bought = sum([line.amount if first.currency else line.quantity for line in lines])
    steps = [step for step in offer.steps if bought >= step.over]
    if offer.repeats:
        return [(step, _capped(bought // step.over, offer.most)) for step in steps]
    return [(step, 1) for step in (steps if offer.each else steps[-1:])]


def _gifts(
    offer: Offer, step: Step, gift: GiftRow, times: int, lines: list[Line], kits: tuple[Kit, ...]
) -> Iterator[Gift]:
    if gift.sku:
        yield Gift(offer.rule, gift.sku, gift.units * times, gift.warehouse)
        return
    parts_of = {kit.line: kit.parts for kit in kits}
    bought: dict[str, tuple[int, Quantities]] = {}  # the goods themselves: each SKU counts for itself
    for line in lines:
        if line.sku:
            units, _ = bought.get(line.sku, (0, ()))
            bought[line.sku] = (units + line.quantity, parts_of.get(line.id, ((line.sku, 1),)))
    left = offer.most
    for units, parts in bought.values():
        times = _capped(units // step.over, left) if left or not offer.most else 0
        left -= times if offer.most else 0
        if times:
            for sku, each in parts:
                yield Gift(offer.rule, sku, gift.units * times * each, gift.warehouse)


def _capped(times: int, most: int) -> int:
    return min(times, most) if most else times
