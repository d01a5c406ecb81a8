"""WeChat shop (微信小店) orders, as `/channels/ec/order/get` gives them.

One slice is one bare order. Pushes, lists of ids and after-sale objects lack lines and address, so they are hints: the
order must be fetched. Times are epoch seconds (0 = not yet), amounts fen; ids are text in pull, integers in push.
"""

import re
from typing import Any, Final

import msgspec

from adapters.channels.json_fields import decode, id_of, split_list, split_object, why_unreadable
from adapters.channels.wechat_shop_fields import EVENTS, FAMILIES, ORDER
from adapters.channels.wechat_shop_order import NAME, translate
from domain.canonical import Translated, TranslationError
from domain.ids import BadId, checked_part
from domain.mapping_table import AS_THE_PLATFORM, Times
from domain.ports import Aside, Sliced

_SUCCESS: Final = (None, 0, "0")
_NESTED_MAX: Final = 3
_EMPTY: Final = (b"null", b"[]", b'""')
_LOOKS: Final = re.compile(
    rb'"channels_ec_[a-z_]+"|"order_detail"\s*:|"product_infos"\s*:|"after_?sale_order(?:_id|_id_list)?"\s*:'
    rb'|"order_id_list"\s*:'
)


class WechatShop:
    """The channel. `merchant_zone` is the zone of the people who read times; `zone` that of text without one."""

    name = NAME
    harmless = ORDER.harmless_paths()

    def __init__(
        self, merchant_zone: str = "Asia/Shanghai", zone: str = "+08:00", times: Times = AS_THE_PLATFORM
    ) -> None:
        self._zones = merchant_zone, zone
        self._times = times.reader(zone, merchant_zone)

    def with_times(self, times: Times) -> "WechatShop":
        """Return the same channel, reading times as a mapping says."""
        return WechatShop(*self._zones, times)

    def sniff(self, raw: bytes) -> bool:
        """Tell whether these bytes look like a WeChat shop's."""
        return _LOOKS.search(raw) is not None

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        """Cut an answer, a list of ids, a decrypted push or an array of them into orders."""
        return _cut(raw, shop, 0)

    def translate(self, raw: bytes, shop: str) -> Translated:
        """Turn one order into the canonical order."""
        return translate(raw, shop, self._times)


def channel(merchant_zone: str) -> WechatShop:
    """Make the channel for a merchant."""
    return WechatShop(merchant_zone)


def _cut(raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    body = raw.removeprefix(b"\xef\xbb\xbf")
    if depth > _NESTED_MAX:
        return [Aside("refused", "nested too deeply to be an answer of WeChat", raw)]
    members = split_object(body)
    if members is None:
        elements = split_list(body)
        if elements is None:
            return [Aside("refused", _why_no_json(body), raw)]
        if not elements:
            return [Aside("ignored", "an empty array: nothing to take in", raw)]
        return [found for element in elements for found in _cut(bytes(element), shop, depth + 1)]
    if "Event" in members or "MsgType" in members:
        return [_event(members, raw, shop)]
    if "Encrypt" in members:
        return [Aside("refused", "a push that is still encrypted: let it come in through the gateway", raw)]
    refusal = _error(members)
    if refusal:
        return [Aside("refused", refusal, raw)]
    if "delivery_list" in members:
        return [Aside("refused", "a request to WeChat, not an answer from it: send the answer", raw)]
    if "after_sale_order_id" in members:
        return [_after_sale(members, raw, shop)]
    if "order_id" in members:
        return [_order(body, members, shop)]
    for name in ("order", "after_sale_order"):
        if name in members:
            return _cut(bytes(members[name]), shop, depth + 1)
    if "order_id_list" in members:
        return _ids(members["order_id_list"], raw, shop)
    if "after_sale_order_id_list" in members:
        reason = "a list of after-sale ids, which name no orders: fetch each (getaftersaleorder) and send the answers"
        return [Aside("refused", reason, raw)]
    names = ", ".join(list(members)[:5])[:100]
    return [Aside("refused", f"not an answer of a WeChat shop that is known here (its fields: {names})", raw)]


def _why_no_json(body: bytes) -> str:
    if body.lstrip().startswith(b"<"):
        return "XML: choose JSON as the format of pushed messages in the shop's settings at WeChat"
    return why_unreadable(body)


def _error(members: dict[str, msgspec.Raw]) -> str:
    """Return what an answer says went wrong; "" where nothing did."""
    try:
        code, text = _member(members, "errcode"), _member(members, "errmsg")
    except TranslationError as error:
        return str(error)
    return "" if code in _SUCCESS else f"WeChat answered with an error: errcode {str(code)[:40]}, {str(text)[:200]}"


def _order(raw: bytes, members: dict[str, msgspec.Raw], shop: str) -> Sliced | Aside:
    """Tell whose an order is, and whether it has its lines."""
    try:
        number = id_of(_member(members, "order_id"), "order_id")
        detail = split_object(members["order_detail"]) if "order_detail" in members else None
        whole = detail is not None and bytes(detail.get("product_infos", b"null")) not in _EMPTY
        checked_part(shop if whole else shop or "unknown", "shop")
        checked_part(number, "order id")
        if whole:
            ORDER.refuse_repeated_names(raw)
    except (BadId, TranslationError) as error:
        return Aside("refused", f"{error}{'' if shop.strip() else ' (name the shop)'}", raw)
    if not whole:
        return Aside("hint", f"order {number} without its lines: fetch it whole", raw, shop, number)
    return Sliced(shop, number, raw)


def _ids(member: msgspec.Raw, raw: bytes, shop: str) -> list[Sliced | Aside]:
    """Turn the answer of the change feed, which names orders only, into hints."""
    elements = split_list(member)
    if elements is None:
        return [Aside("refused", "order_id_list is no list", raw)]
    if not elements:
        return [Aside("ignored", "an empty page of orders", raw)]
    return [_named(bytes(element), element, f"order_id_list[{place}]", shop) for place, element in enumerate(elements)]


def _named(raw: bytes, value: msgspec.Raw, where: str, shop: str) -> Aside:
    try:
        number = checked_part(id_of(decode(value), where), where)
    except (BadId, TranslationError) as error:
        return Aside("refused", str(error), raw)
    return Aside("hint", f"order {number} changed: fetch it", raw, shop, number)


def _after_sale(members: dict[str, msgspec.Raw], raw: bytes, shop: str) -> Aside:
    """Tell whose after-sale it is: what it did to the lines stands in the order."""
    try:
        number = checked_part(id_of(_member(members, "order_id"), "order_id"), "order_id of the after-sale")
        own = id_of(_member(members, "after_sale_order_id"), "after_sale_order_id")
        status = str(_member(members, "status"))[:60]
    except (BadId, TranslationError) as error:
        return Aside("refused", f"after-sale: {error}", raw)
    return Aside("hint", f"after-sale {own[:60]} ({status}): fetch order {number}", raw, shop, number)


def _event(members: dict[str, msgspec.Raw], raw: bytes, shop: str) -> Aside:
    """Tell what a pushed message asks for."""
    try:
        event = str(_member(members, "Event") or "")
        if not event.startswith(FAMILIES):
            return Aside("ignored", f"pushed message {event[:80] or 'without an event'}: not about an order", raw)
        found = [decode(member) for member in members.values()]
        numbers = [
            id_of(inner["order_id"], "order_id") for inner in found if type(inner) is dict and "order_id" in inner
        ]
        number = checked_part(numbers[0] if numbers else "", "order_id")
    except (BadId, TranslationError) as error:
        return Aside("refused", f"pushed message: {error}", raw)
    told = EVENTS.get(event, event[:80])
    return Aside("hint", f"pushed message ({told}): fetch order {number}", raw, shop, number)


def _member(members: dict[str, msgspec.Raw], name: str) -> Any:
    return decode(members[name]) if name in members else None
