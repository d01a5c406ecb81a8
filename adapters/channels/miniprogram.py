"""Orders of the merchant's own mini-program: no platform keeps them, so its backend pushes them whole.

One slice is one event (`{event_id, event_type, occurred_at, order}`) or one bare order. WeChat Pay's notices about the
same order are a second witness, and end as hints: they have no lines.
"""

import re
from typing import Any, Final

import msgspec

from adapters.channels.json_fields import decode, decode_object, id_of, split_list, split_object, why_unreadable
from adapters.channels.miniprogram_fields import AFTER_SALE_EVENTS, EVENT, ORDER, PAYMENTS
from adapters.channels.miniprogram_order import NAME, translate
from domain.canonical import Translated, TranslationError
from domain.ids import BadId, checked_part
from domain.mapping_table import AS_THE_PLATFORM, Times
from domain.ports import Aside, Sliced

_NESTED_MAX: Final = 3
_LOOKS: Final = re.compile(
    rb'"event_type"\s*:\s*"(?:order|aftersale)\.|"(?:goods_amount|payable|paid|unit_price)_fen"\s*:'
    rb'|"out_trade_no"\s*:|"encrypt-resource"'
)


class MiniProgram:
    """The channel. `merchant_zone` is the zone of the people who read times; `zone` that of text without one."""

    name = NAME
    harmless = EVENT.harmless_paths() | ORDER.harmless_paths()

    def __init__(
        self, merchant_zone: str = "Asia/Shanghai", zone: str = "+08:00", times: Times = AS_THE_PLATFORM
    ) -> None:
        self._zones = merchant_zone, zone
        self._times = times.reader(zone, merchant_zone)

    def with_times(self, times: Times) -> "MiniProgram":
        """Return the same channel, reading times as a mapping says."""
        return MiniProgram(*self._zones, times)

    def document(self, raw: bytes) -> dict[str, Any]:
        """Return the order, with and without an event around it, as a mapping's paths walk through it."""
        fields = decode_object(raw)
        order = fields.get("order")
        return {**fields, **order} if type(order) is dict else fields

    def sniff(self, raw: bytes) -> bool:
        """Tell whether these bytes look like an own mini-program's."""
        return _LOOKS.search(raw) is not None

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        """Cut an event, an order, a decrypted notice of WeChat Pay or an array of them into orders."""
        return _cut(raw, shop, 0)

    def translate(self, raw: bytes, shop: str) -> Translated:
        """Turn one event or order into the canonical order."""
        return translate(raw, shop, self._times)


def channel(merchant_zone: str) -> MiniProgram:
    """Make the channel for a merchant."""
    return MiniProgram(merchant_zone)


def _cut(raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    body = raw.removeprefix(b"\xef\xbb\xbf")
    if depth > _NESTED_MAX:
        return [Aside("refused", "nested too deeply to be an event", raw)]
    members = split_object(body)
    if members is None:
        elements = split_list(body)
        if elements is None:
            return [Aside("refused", why_unreadable(body), raw)]
        if not elements:
            return [Aside("ignored", "an empty array: nothing to take in", raw)]
        return [found for element in elements for found in _cut(bytes(element), shop, depth + 1)]
    if "order" in members:
        return [_order(body, members, shop)]
    if "order_key" in members or "shipping_list" in members:
        return [Aside("refused", "a request to WeChat, not an order", raw)]
    if "resource" in members or "out_trade_no" in members:
        return [_payment(members, raw, shop)]
    if "event_type" in members:
        return [_event(members, raw, shop)]
    if "order_no" in members:
        return [_order(body, members, shop)]
    names = ", ".join(list(members)[:5])[:100]
    return [Aside("refused", f"not an event of an own mini-program (its fields: {names})", raw)]


def _order(raw: bytes, members: dict[str, msgspec.Raw], shop: str) -> Sliced | Aside:
    """Tell whose an order is. One that is not whole is told so when it is translated: there it can be put right."""
    try:
        order, where = members, ""
        form: Any = ORDER
        if "order" in members:
            order, where, form = split_object(members["order"]) or {}, "order", EVENT
        number = id_of(_member(order, "order_no"), "order_no", where)
        own = _member(order, "appid") or _member(members, "appid")
        shop = shop or (own if isinstance(own, str) else "")
        checked_part(shop, "shop")
        checked_part(number, "order number")
        form.refuse_repeated_names(raw)
    except (BadId, TranslationError) as error:
        return Aside("refused", f"{error}{'' if shop.strip() else ' (name the shop)'}", raw)
    return Sliced(shop, number, raw)


def _payment(members: dict[str, msgspec.Raw], raw: bytes, shop: str) -> Aside:
    """Tell whose a notice of WeChat Pay is: a witness that the order was paid or refunded, not the order."""
    try:
        event = str(_member(members, "event_type") or "")[:60]
        inner = members
        if "resource" in members:
            inner = split_object(members["resource"]) or {}
            if "out_trade_no" not in inner:
                reason = f"notice of WeChat Pay ({event}) that is still encrypted: let it come in through the gateway"
                return Aside("refused", reason, raw)
        number = checked_part(id_of(_member(inner, "out_trade_no"), "out_trade_no"), "out_trade_no")
        own = _member(inner, "appid")
        state = _member(inner, "trade_state") or _member(inner, "refund_status")
        told = PAYMENTS.get(event) or str(state or "payment")[:60]
    except (BadId, TranslationError) as error:
        return Aside("refused", f"notice of WeChat Pay: {error}", raw)
    shop = shop or (own if isinstance(own, str) else "")
    return Aside("hint", f"notice of WeChat Pay ({told}) of order {number}", raw, shop, number)


def _event(members: dict[str, msgspec.Raw], raw: bytes, shop: str) -> Aside:
    """Tell what an event without an order says."""
    try:
        event = str(_member(members, "event_type"))[:80]
        if not event.startswith(AFTER_SALE_EVENTS):
            if event.startswith("order."):
                return Aside("refused", f"event {event} without its order: send the whole order in it", raw)
            return Aside("ignored", f"event {event}: not about an order, kept", raw)
        found = [members, *(split_object(member) or {} for member in members.values())]
        numbers = [_member(inner, "order_no") for inner in found if "order_no" in inner]
        number = checked_part(id_of(numbers[0] if numbers else None, "order_no"), "order_no")
        own = _member(members, "appid")
    except (BadId, TranslationError) as error:
        return Aside("refused", f"event: {error}", raw)
    shop = shop or (own if isinstance(own, str) else "")
    return Aside("hint", f"event {event}: fetch order {number}, or have it pushed whole", raw, shop, number)


def _member(members: dict[str, msgspec.Raw], name: str) -> Any:
    return decode(members[name]) if name in members else None
