"""Douyin shop orders, as `order.orderDetail` and `order.searchList` give them.

One slice is one bare shop order. A push is an array of messages that lack lines and address, so they are hints:
the order must be fetched. Times are epoch seconds (0 = not yet), amounts fen; ids are text in pull, integers in push.
"""

import re
from typing import Any, Final

import msgspec

from adapters.channels.douyin_fields import ORDER, PROBE, TAGS
from adapters.channels.douyin_order import NAME, translate
from adapters.channels.json_fields import decode, id_of, split_list, split_object, why_unreadable
from domain.canonical import Translated, TranslationError
from domain.ids import BadId, checked_part
from domain.mapping_table import AS_THE_PLATFORM, Times
from domain.ports import Aside, Sliced

_SUCCESS: Final = (10000, "10000", 0, "0")
_NESTED_MAX: Final = 3
_EMPTY: Final = (b"null", b"[]", b'""')
_LOOKS: Final = re.compile(
    rb'"shop_order_(?:detail|list)"|"sku_order_list"|"method"\s*:\s*"(?:order|afterSale)\.'
    rb'|"tag"\s*:\s*"?\d+"?\s*,\s*"msg_id"|"msg_id"\s*:[^{}]{0,200}?"tag"\s*:|"p_id\\?"\s*:'
)


class Douyin:
    """The channel. `merchant_zone` is the zone of the people who read times; `zone` that of text without one."""

    name = NAME
    harmless = ORDER.harmless_paths()

    def __init__(
        self, merchant_zone: str = "Asia/Shanghai", zone: str = "+08:00", times: Times = AS_THE_PLATFORM
    ) -> None:
        self._zones = merchant_zone, zone
        self._times = times.reader(zone, merchant_zone)

    def with_times(self, times: Times) -> "Douyin":
        """Return the same channel, reading times as a mapping says."""
        return Douyin(*self._zones, times)

    def sniff(self, raw: bytes) -> bool:
        """Tell whether these bytes look like Douyin's."""
        return _LOOKS.search(raw) is not None

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        """Cut an answer, a page, a push or an array of them into shop orders."""
        return _cut(raw, shop, 0)

    def translate(self, raw: bytes, shop: str) -> Translated:
        """Turn one shop order into the canonical order."""
        return translate(raw, shop, self._times)


def channel(merchant_zone: str) -> Douyin:
    """Make the channel for a merchant."""
    return Douyin(merchant_zone)


def _cut(raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    body = raw.removeprefix(b"\xef\xbb\xbf")
    if depth > _NESTED_MAX:
        return [Aside("refused", "nested too deeply to be an answer of Douyin", raw)]
    members = split_object(body)
    if members is None:
        elements = split_list(body)
        if elements is None:
            return [Aside("refused", why_unreadable(body), raw)]
        if not elements:
            return [Aside("ignored", "an empty array: nothing to take in", raw)]
        return [found for element in elements for found in _cut(bytes(element), shop, depth + 1)]
    if "order_id" in members:
        return [_order(body, members, shop)]
    if "tag" in members:
        return [_message(members, raw, shop)]
    if "method" in members or "param_json" in members:
        return [Aside("refused", "a request to Douyin, not an answer from it: send the answer", raw)]
    if "data" in members:
        return _answer(members, raw, shop, depth)
    for name in ("shop_order_detail", "shop_order_list"):
        if name in members:
            return _cut(bytes(members[name]), shop, depth + 1)
    names = ", ".join(list(members)[:5])[:100]
    return [Aside("refused", f"not an answer of Douyin that is known here (its fields: {names})", raw)]


def _answer(members: dict[str, msgspec.Raw], raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    """Cut `{code, msg, data}`."""
    try:
        said = {name: _member(members, name) for name in ("code", "msg", "sub_code", "sub_msg")}
    except TranslationError as error:
        return [Aside("refused", str(error), raw)]
    if said["code"] is not None and said["code"] not in _SUCCESS:
        text = ", ".join(f"{name} {str(value)[:100]}" for name, value in said.items() if value not in (None, ""))
        return [Aside("refused", f"Douyin answered with an error: {text}", raw)]
    data = split_object(members["data"])
    if data is None:
        return [Aside("refused", "data is no object: no answer with orders", raw)]
    if "shop_order_detail" in data:
        return _cut(bytes(data["shop_order_detail"]), shop, depth + 1)
    if "shop_order_list" in data:
        if bytes(data["shop_order_list"]) in _EMPTY:
            return [Aside("ignored", "an empty page of orders", raw)]
        return _cut(bytes(data["shop_order_list"]), shop, depth + 1)
    names = ", ".join(list(data)[:5])[:100]
    return [Aside("refused", f"an answer of Douyin without orders (its data: {names or 'empty'})", raw)]


def _order(raw: bytes, members: dict[str, msgspec.Raw], shop: str) -> Sliced | Aside:
    """Tell whose an order is, and whether it has its lines."""
    try:
        number = id_of(_member(members, "order_id"), "order_id")
        own = id_of(_member(members, "shop_id"), "shop_id")
        shop = shop or own
        whole = bytes(members.get("sku_order_list", b"null")) not in _EMPTY
        checked_part(shop if whole else shop or "unknown", "shop")
        checked_part(number, "order id")
        if whole:
            ORDER.refuse_repeated_names(raw)
    except (BadId, TranslationError) as error:
        return Aside("refused", f"{error}{'' if shop.strip() else ' (name the shop)'}", raw)
    if not whole:
        return Aside("hint", f"order {number} without its lines: fetch it whole", raw, shop, number)
    return Sliced(shop, number, raw)


def _message(members: dict[str, msgspec.Raw], raw: bytes, shop: str) -> Aside:
    """Tell what a pushed message asks for."""
    try:
        tag = id_of(_member(members, "tag"), "tag") or PROBE
        if tag == PROBE:
            return Aside("ignored", "pushed message, tag 0: a probe, answered with success", raw)
        if tag not in TAGS:
            return Aside("ignored", f"pushed message, tag {tag[:40]}: unknown, kept", raw)
        data = _member(members, "data")
        data = decode(data.encode()) if isinstance(data, str) else data
        if not isinstance(data, dict):
            return Aside("refused", f"pushed message, tag {tag} ({TAGS[tag]}): its data is no object", raw)
        number = checked_part(id_of(data.get("p_id"), "p_id", "data"), "data.p_id")
        shop = shop or id_of(data.get("shop_id"), "shop_id", "data")
    except (BadId, TranslationError) as error:
        return Aside("refused", f"pushed message: {error}", raw)
    return Aside("hint", f"pushed message, tag {tag} ({TAGS[tag]}): fetch order {number}", raw, shop, number)


def _member(members: dict[str, msgspec.Raw], name: str) -> Any:
    return decode(members[name]) if name in members else None
