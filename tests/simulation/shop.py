"""Orders of the merchant's own shop: presales, kits, engraving, urgent ones, credit, into the EU; buyers that return.

They come by the generic channel, whose contract has a word for all of that.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec

from domain import buyers
from domain.envelope import By
from domain.ids import BUYERS_KEY, buyer_of
from domain.mail import ChannelPayload
from runners.preparing import customer_digest
from tests.simulation.books import KIT
from tests.simulation.letters import BEGIN_MS, SECRET, SKUS, Item, Letter, View, key_of, letter

BUYERS = 3
MARKS = ("rush", "engraved", "eu", "credit")
_WORDS: dict[str, dict[str, Any]] = {
    "rush": {"service": "rush"},
    "eu": {"country": "DE"},
    "credit": {"terms": "credit"},
    "engraved": {},
}


def generic(view: View) -> bytes:
    """Write the view by the contract of the merchant's own shop."""
    begin = BEGIN_MS // 1000
    total = sum(1000 * item.units for item in view.items)
    paid = view.deposit if view.status == "awaiting_payment" else 0 if "credit" in view.marks else total
    lines = [
        {
            "id": item.id,
            "sku": item.sku,
            "quantity": item.units,
            "unit_price_minor": 1000,
            "state": item.state,
            "after_sale": item.after_sale,
            "attributes": {"engraving": True} if "engraved" in view.marks and place == 0 else {},
            "private": {"text": f"{SECRET}Engraved"},
        }
        for place, item in enumerate(view.items)
    ]
    attributes: dict[str, Any] = {}
    for mark in view.marks:
        attributes |= _WORDS[mark]
    order: dict[str, Any] = {
        "order_no": view.order_no,
        "status": view.status,
        "kind": "presale" if view.presale else "normal",
        "currency": "CNY",
        "lines": lines,
        "ordered_at": begin + view.created,
        "modified_at": begin + view.modified,
        "payable_minor": total,
        "paid_minor": paid if view.status != "cancelled" else 0,
        "customer_id": f"{SECRET}Buyer{view.buyer}",
        "receiver": {
            "name": f"{SECRET}Name",
            "phone": f"{SECRET}13800000000",
            "province": "浙江省",
            "detail": f"{SECRET}Street {view.address}",
        },
        "holds": ["risk_review"] if view.held else [],
        "attributes": attributes,
    }
    if view.paid:
        order["paid_at"] = begin + view.created + 1
    if view.pay_by:
        order["pay_by"] = begin + view.pay_by
    if view.status in ("shipped", "completed"):
        order["shipped_at"] = begin + view.modified
    return msgspec.json.encode(order)


def life(chance: Random, order_no: str) -> Iterator[View]:
    """Tell one order's life as the shop sees it; each view is newer than the one before."""
    created = second = chance.randrange(3600)
    items = tuple(
        Item(f"{order_no}{line}", chance.choice((*SKUS, KIT)), chance.randrange(1, 4))
        for line in range(chance.choice((1, 2, 2, 3)))
    )
    marks = tuple(mark for mark in MARKS if chance.random() < 0.4)
    presale = chance.random() < 0.35
    view = View("generic", order_no, "awaiting_payment", second, items, created)
    view = view._replace(marks=marks, presale=presale, buyer=chance.randrange(BUYERS))

    def later(**changes: Any) -> View:
        nonlocal view, second
        second += chance.randrange(1, 1800)
        view = view._replace(modified=second, **changes)
        return view

    if presale or chance.random() < 0.5:
        yield later(pay_by=created + chance.randrange(600, 9000) if chance.random() < 0.4 else 0)
        if presale:
            yield later(deposit=500)
        if chance.random() < 0.3:
            yield later(items=_changed(chance, items))
            items = view.items
        if chance.random() < 0.1:
            yield later(status="cancelled", items=_all(items, "cancelled"), pay_by=0)
            return
    yield later(status="paid", paid=True, pay_by=0, held=chance.random() < 0.15)
    while chance.random() < 0.4:
        match chance.randrange(4):
            case 0:
                items = _changed(chance, items)
            case 1:
                view = view._replace(address=view.address + 1)
            case 2:
                changed = [mark for mark in MARKS if (mark in view.marks) is not (chance.random() < 0.2)]
                view = view._replace(marks=tuple(changed))
            case _:
                view = view._replace(held=not view.held)
        yield later(items=items)
    if chance.random() < 0.1:
        yield later(status="cancelled", items=_all(items, "cancelled"), held=False)
        return
    if chance.random() < 0.8:
        return
    yield later(status="shipped", items=_all(items, "shipped"), held=False)
    if chance.random() < 0.5:
        yield later(status="completed")


def _changed(chance: Random, items: tuple[Item, ...]) -> tuple[Item, ...]:
    return tuple(item._replace(units=chance.randrange(1, 4)) for item in items)


def _all(items: tuple[Item, ...], state: Any) -> tuple[Item, ...]:
    return tuple(item._replace(state=state) for item in items)


def terms_letter(chance: Random, number: int, digest_key: bytes) -> Letter:
    """Sales agrees on terms with one of the buyers."""
    buyer = buyer_of("generic", customer_digest(f"{SECRET}Buyer{chance.randrange(BUYERS)}", digest_key))
    limit = chance.choice((0, 5_000, 20_000))
    body = buyers.SetBuyer(f"terms-{number}", buyer, "dealer", ("known",), "CNY", limit, reason="agreed")
    return letter(BUYERS_KEY, body, "command", By("person", "v1", "sales"), BEGIN_MS, silent=True)


def histories(chance: Random, orders: int) -> list[Letter]:
    """Return the letters of some orders' lives, still in order."""
    found: list[Letter] = []
    for number in range(orders):
        views = list(life(chance, f"{8000 + number}"))
        found += [_told(view, chance) for view in views]
        if chance.random() < 0.15:
            # The buyer orders the same once more, minutes later.
            first = views[0]._replace(order_no=f"{8500 + number}")
            later_s = chance.randrange(30, 1200)
            found.append(
                _told(first._replace(created=first.created + later_s, modified=first.modified + later_s), chance)
            )
    return found


def _told(view: View, chance: Random) -> Letter:
    body = ChannelPayload("generic", "shop", view.order_no, generic(view))
    now_ms = BEGIN_MS + view.modified * 1000 + chance.randrange(5_000)
    return letter(key_of("generic", view.order_no), body, view, By("channel", "generic"), now_ms)
