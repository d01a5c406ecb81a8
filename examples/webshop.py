"""A channel of one's own, whole: a web shop that writes its orders as JSON, one object for each.

{"web_order": "W-1001", "placed": "2026-03-01 10:00:00", "changed": "2026-03-01 10:05:00", "state": "paid",
 "total": "39.80", "buyer": {"name": "…", "phone": "…"}, "lines": [{"sku": "A-1", "units": 2, "price": "19.90"}]}
"""

import re
from typing import Any, Final

from adapters.channels.json_fields import decode_object, id_of, keep, quantity_of, time_of, why_unreadable, yuan_of
from domain.canonical import Amounts, Line, Personal, Snapshot, Status, Translated, TranslationError
from domain.ids import BadId, checked_part
from domain.ports import Aside, Channel, Sliced
from domain.timehub import time_reader

STATES: Final[dict[str, Status]] = {"new": "awaiting_payment", "paid": "paid", "gone": "cancelled"}
READ: Final = frozenset({"web_order", "placed", "changed", "state", "total", "lines", "buyer"})
READ_OF_LINE: Final = frozenset({"sku", "units", "price"})
DECLARED: Final = frozenset({"campaign"})
"""Fields that name no person and may be shown to anyone. What is in no set is sealed."""


class WebShop:
    """The channel. It is pure: the same bytes give the same answer."""

    name = "webshop"

    def __init__(self, merchant_zone: str) -> None:
        self._times = time_reader("+08:00", merchant_zone)

    def sniff(self, raw: bytes) -> bool:
        """Tell whether these bytes look like this shop's."""
        return re.search(rb'"web_order"\s*:', raw) is not None

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        """Tell whose order it is. Never raises: what is no order is set aside with its reason."""
        try:
            number = id_of(decode_object(raw).get("web_order"), "web_order")
            return [Sliced(checked_part(shop, "shop"), checked_part(number, "web_order"), raw)]
        except (BadId, TranslationError) as error:
            return [Aside("refused", str(error) or why_unreadable(raw), raw, shop)]

    def translate(self, raw: bytes, shop: str) -> Translated:
        """Turn one order into the canonical order.

        Raises:
            TranslationError: what is wrong, where, and what to do.
        """
        order = decode_object(raw)
        state = order.get("state")
        if state not in STATES:
            raise TranslationError(f"unknown state {state!r}", "state", "add it to the channel's table")
        placed = time_of(self._times, order.get("placed"), "placed")
        total = yuan_of(order.get("total"), "total")
        if placed is None or total is None:
            raise TranslationError("an order has a time and a total", "placed" if placed is None else "total")
        changed = time_of(self._times, order.get("changed"), "changed") or placed
        lines = tuple(_line(fields, place) for place, fields in enumerate(order.get("lines") or ()))
        if not lines:
            raise TranslationError("the order has no lines", "lines")
        goods = sum(line.unit_price * line.quantity for line in lines)
        paid = total if state == "paid" else 0
        snapshot = Snapshot(
            self.name,
            shop,
            id_of(order.get("web_order"), "web_order"),
            STATES[state],
            state,
            Amounts("CNY", goods, goods - total, payable=total, paid=paid),
            ordered_at=placed,
            modified_at=changed,
            lines=lines,
            paid_at=changed if paid else None,
            cancelled_at=changed if state == "gone" else None,
            attributes={name: keep(value, name) for name, value in order.items() if name in DECLARED},
        )
        of_lines = {
            line.id: unknown
            for line, fields in zip(lines, order["lines"], strict=True)
            if (unknown := _unknown(fields, READ_OF_LINE, "lines"))
        }
        sealed = _unknown(order, READ | DECLARED)
        return Translated(snapshot, Personal("", _receiver(order.get("buyer")), {}, sealed, of_lines))


def channel(merchant_zone: str) -> Channel:
    """Make the channel: the one function that OrderSpine asks a channel's module for."""
    return WebShop(merchant_zone)


def _line(fields: Any, place: int) -> Line:
    where = f"lines[{place}]"
    if not isinstance(fields, dict):
        raise TranslationError("a line is an object", where)
    units, price = quantity_of(fields.get("units"), "units", where), yuan_of(fields.get("price"), "price", where) or 0
    sku = id_of(fields.get("sku"), "sku", where)
    return Line(str(place + 1), sku, units, unit_price=price, amount=price * units)


def _unknown(fields: dict[str, Any], known: frozenset[str], where: str = "") -> dict[str, Any]:
    return {name: keep(value, where or name) for name, value in fields.items() if name not in known}


def _receiver(buyer: Any) -> dict[str, str]:
    if buyer is not None and not isinstance(buyer, dict):
        raise TranslationError("the buyer is an object", "buyer")
    return {name: str(value) for name, value in (buyer or {}).items()}
