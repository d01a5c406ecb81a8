"""Orders of a merchant's own shop or ERP, by our own contract (`GenericOrder`).

One slice is one bare order. What comes in is one order, an array of them or `{"orders": […]}`. A payload whose number
and shop are clear is that order's, whatever else is wrong with it: then its place says what, and can be put right.
"""

import re
from typing import Any, Final

import msgspec

from adapters.channels.generic_contract import GenericLine, GenericOrder, GenericOrders, GenericParcel, GenericReceiver
from adapters.channels.generic_order import NAME, ORDER, translate
from adapters.channels.json_fields import decode, id_of, split_list, split_object, why_unreadable
from domain.canonical import Translated, TranslationError
from domain.ids import BadId, checked_part
from domain.mapping_table import AS_THE_PLATFORM, Times
from domain.ports import Aside, Sliced

__all__ = ["Generic", "GenericLine", "GenericOrder", "GenericOrders", "GenericParcel", "GenericReceiver", "channel"]

_NESTED_MAX: Final = 3
_NUMBER: Final = re.compile(rb'"order_no"\s*:')
_TIME: Final = re.compile(rb'"ordered_at"\s*:')


class Generic:
    """The channel. `zone` is that of times that name none, where the order names none either."""

    name = NAME
    harmless = ORDER.harmless_paths()

    def __init__(
        self, merchant_zone: str = "Asia/Shanghai", zone: str = "+08:00", times: Times = AS_THE_PLATFORM
    ) -> None:
        self._zones = merchant_zone, zone
        self._times = times

    def with_times(self, times: Times) -> "Generic":
        """Return the same channel, reading times as a mapping says; a zone that an order names goes before it."""
        return Generic(*self._zones, times)

    def sniff(self, raw: bytes) -> bool:
        """Tell whether these bytes look like orders by our contract."""
        return _NUMBER.search(raw) is not None and _TIME.search(raw) is not None

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        """Cut what was sent into orders."""
        return _cut(raw, shop, 0)

    def translate(self, raw: bytes, shop: str) -> Translated:
        """Turn one order into the canonical order."""
        return translate(raw, shop, self._times, *self._zones)


def channel(merchant_zone: str) -> Generic:
    """Make the channel for a merchant."""
    return Generic(merchant_zone)


def _cut(raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    body = raw.removeprefix(b"\xef\xbb\xbf")
    if depth > _NESTED_MAX:
        return [Aside("refused", "nested too deeply: send one order, an array of orders or an object `orders`", raw)]
    members = split_object(body)
    if members is None:
        elements = split_list(body)
        if elements is None:
            return [Aside("refused", why_unreadable(body), raw)]
        if not elements:
            return [Aside("ignored", "an empty array: nothing to take in", raw)]
        return [found for element in elements for found in _cut(bytes(element), shop, depth + 1)]
    if "orders" in members and "order_no" not in members:
        return _cut(bytes(members["orders"]), shop, depth + 1)
    return [_order(body, members, shop)]


def _order(raw: bytes, members: dict[str, msgspec.Raw], shop: str) -> Sliced | Aside:
    if "order_no" not in members:
        names = ", ".join(list(members)[:5])[:100]
        return Aside("refused", f"an order needs its order_no (its fields: {names})", raw)
    try:
        number = id_of(_member(members, "order_no"), "order_no")
        own = _member(members, "shop")
        shop = shop or (own if isinstance(own, str) else "")
        checked_part(shop, "shop")
        checked_part(number, "order_no")
        ORDER.refuse_repeated_names(raw)
    except (BadId, TranslationError) as error:
        return Aside("refused", f"{error}{'' if shop.strip() else ' (name the shop)'}", raw)
    return Sliced(shop, number, raw)


def _member(members: dict[str, msgspec.Raw], name: str) -> Any:
    return decode(members[name]) if name in members else None
