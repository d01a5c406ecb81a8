"""Pinduoduo orders, as `pdd.order.information.get` and the order feeds give them.

One slice is one bare order. Pushes, after-sale answers and the feed without personal data are hints: the order must be
fetched. Times without a zone are UTC+8; amounts of orders are yuan, as numbers or text; ids are text or integers.
"""

import re
from typing import Any, Final

import msgspec

from adapters.channels.json_fields import decode, id_of, split_list, split_object, why_unreadable
from adapters.channels.pinduoduo_fields import ORDER, TOPICS
from adapters.channels.pinduoduo_order import NAME, translate
from domain.canonical import Translated, TranslationError
from domain.ids import BadId, checked_part
from domain.mapping_table import AS_THE_PLATFORM, Times
from domain.ports import Aside, Sliced

_NESTED_MAX: Final = 4
_EMPTY: Final = (b"null", b"[]", b'""', b"{}")
_LISTS: Final = ("order_sn_list", "order_list", "order_info")
_AFTER_SALES: Final = ("refund_list", "refund_info")
_BASIC: Final = "order_basic_list_get_response"
_SAID: Final = ("error_code", "error_msg", "sub_code", "sub_msg")
_LOOKS: Final = re.compile(
    rb'"order_sn"\s*:|"(?:order_sn_increment|order_info|order_list|order_basic_list|refund_increment)_get_response"'
    rb'|"order_sn_list"|"commandType"|"pdd_[a-z]+_[A-Za-z]+"|"pdd\.[a-z]'
)


class Pinduoduo:
    """The channel. `zone` is that of times that name none, `merchant_zone` that of the people who read them."""

    name = NAME
    harmless = ORDER.harmless_paths()

    def __init__(
        self, merchant_zone: str = "Asia/Shanghai", zone: str = "+08:00", times: Times = AS_THE_PLATFORM
    ) -> None:
        self._zones = merchant_zone, zone
        self._times = times.reader(zone, merchant_zone)

    def with_times(self, times: Times) -> "Pinduoduo":
        """Return the same channel, reading times as a mapping says."""
        return Pinduoduo(*self._zones, times)

    def sniff(self, raw: bytes) -> bool:
        """Tell whether these bytes look like Pinduoduo's."""
        return _LOOKS.search(raw) is not None

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        """Cut an answer, a page, a frame of the message socket or an array of them into orders."""
        return _cut(raw, shop, 0)

    def translate(self, raw: bytes, shop: str) -> Translated:
        """Turn one order into the canonical order."""
        return translate(raw, shop, self._times)


def channel(merchant_zone: str) -> Pinduoduo:
    """Make the channel for a merchant."""
    return Pinduoduo(merchant_zone)


def _cut(raw: bytes, shop: str, depth: int, *, basic: bool = False) -> list[Sliced | Aside]:
    """Cut anything. `basic` says that it comes from the feed without personal data."""
    body = raw.removeprefix(b"\xef\xbb\xbf")
    if depth > _NESTED_MAX:
        return [Aside("refused", "nested too deeply to be an answer of Pinduoduo", raw)]
    elements = split_list(body)
    if elements is not None:
        if not elements:
            return [Aside("ignored", "an empty array: nothing to take in", raw)]
        return [found for element in elements for found in _cut(bytes(element), shop, depth + 1, basic=basic)]
    members = split_object(body)
    if members is None:
        number = _value(msgspec.Raw(body)) if depth else None
        if isinstance(number, str):  # a list of order numbers
            return [_hint(msgspec.Raw(body), "a list of order numbers", raw, shop)]
        return [Aside("refused", why_unreadable(body), raw)]
    if "error_response" in members:
        return [Aside("refused", _error_text(members["error_response"]), raw)]
    if "commandType" in members:
        return [_frame(members, raw, shop)]
    kind = _value(members["type"]) if "type" in members else None
    if isinstance(kind, str) and kind.startswith("pdd."):
        return [Aside("refused", "a request to Pinduoduo, not an answer from it: send the answer", raw)]
    if isinstance(kind, str) and kind.startswith("pdd_"):
        return [_message(members, raw, shop)]
    if "order_sn" in members:
        return [_order(body, members, shop, basic=basic)]
    for name, member in members.items():
        if name.endswith("_response"):
            return _response(name, member, raw, shop, depth)
    if any(name in members for name in (*_LISTS, *_AFTER_SALES)):
        return _result("the answer", members, raw, shop, depth, basic=basic)
    names = ", ".join(list(members)[:5])[:100]
    return [Aside("refused", f"not an answer of Pinduoduo that is known here (its fields: {names})", raw)]


def _response(name: str, member: msgspec.Raw, raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    members = split_object(member)
    if members is None:
        return [Aside("refused", f"{name[:80]} is no object", raw)]
    if "error_code" in members:
        return [Aside("refused", _error_text(member), raw)]
    if "order_sn" in members:
        return [_order(bytes(member), members, shop)]
    return _result(name[:80], members, raw, shop, depth, basic=name == _BASIC)


def _result(
    name: str, members: dict[str, msgspec.Raw], raw: bytes, shop: str, depth: int, *, basic: bool
) -> list[Sliced | Aside]:
    """Cut `{order_list: […]}`, `{order_info: {…}}` or `{refund_list: […]}`."""
    key = next((key for key in (*_LISTS, *_AFTER_SALES) if key in members), "")
    if not key:
        return [Aside("refused", f"{name} holds no order", raw)]
    if bytes(members[key]) in _EMPTY:
        if key == "order_info":
            return [Aside("refused", f"{name} holds no order", raw)]
        return [Aside("ignored", "an empty page", raw)]
    if key in _LISTS:
        return _cut(bytes(members[key]), shop, depth + 1, basic=basic)
    rows = split_list(members[key])
    if rows is None:
        rows = [members[key]]
    found: list[Sliced | Aside] = []
    for row in rows:
        inner = split_object(row)
        if inner is None or "order_sn" not in inner:
            found.append(Aside("refused", "an after-sale that names no order", bytes(row)))
        else:
            found.append(_hint(inner["order_sn"], "an after-sale", bytes(row), shop))
    return found


def _order(raw: bytes, members: dict[str, msgspec.Raw], shop: str, *, basic: bool = False) -> Sliced | Aside:
    """Tell whose an order is, and whether it is whole."""
    if "item_list" not in members and ("after_sales_type" in members or "refund_amount" in members):
        return _hint(members["order_sn"], "an after-sale", raw, shop)
    try:
        number = id_of(decode(members["order_sn"]), "order_sn")
        own = id_of(decode(members["mall_id"]), "mall_id") if "mall_id" in members else ""
        shop = shop or own
        whole = not basic and bytes(members.get("item_list", b"null")) not in _EMPTY
        checked_part(shop if whole else shop or "unknown", "shop")
        checked_part(number, "order_sn")
        if whole:
            ORDER.refuse_repeated_names(raw)
    except (BadId, TranslationError) as error:
        return Aside("refused", f"{error}{'' if shop.strip() else ' (name the shop)'}", raw)
    if not whole:
        lacks = "receiver" if basic else "lines"
        return Aside("hint", f"order {number} without its {lacks}: fetch it whole", raw, shop, number)
    return Sliced(shop, number, raw)


def _frame(members: dict[str, msgspec.Raw], raw: bytes, shop: str) -> Aside:
    """Tell what a frame of the message socket is."""
    kind = _value(members["commandType"])
    if kind in ("HeartBeat", "Ack"):
        return Aside("ignored", f"a frame of the message socket ({kind}): nothing to take in", raw)
    message = split_object(members.get("message", msgspec.Raw(b"null")))
    if kind != "Common" or message is None:
        return Aside("refused", f"a frame of the message socket ({str(kind)[:40]}) without a message", raw)
    return _message(message, raw, shop)


def _message(message: dict[str, msgspec.Raw], raw: bytes, shop: str) -> Aside:
    """Tell what a pushed message asks for: whatever names an order is a hint."""
    try:
        topic = str(_member(message, "type"))[:80]
        content = _member(message, "content")
        if isinstance(content, str):
            content = decode(content.encode())
        content = content if isinstance(content, dict) else {}
        name = next((name for name in ("tid", "order_sn") if name in content), "")
        if not name and not topic.startswith(TOPICS):
            return Aside("ignored", f"pushed message {topic}: not about an order", raw)
        number = checked_part(id_of(content.get(name), name or "tid", "content"), "content.tid")
        shop = (
            shop or id_of(_member(message, "mallID"), "mallID") or id_of(content.get("mall_id"), "mall_id", "content")
        )
    except (BadId, TranslationError) as error:
        return Aside("refused", f"pushed message: {error}", raw)
    return Aside("hint", f"pushed message {topic}: fetch order {number}", raw, shop, number)


def _hint(number: msgspec.Raw, what: str, raw: bytes, shop: str) -> Aside:
    try:
        order_no = checked_part(id_of(decode(number), "order_sn"), "order_sn")
    except (BadId, TranslationError) as error:
        return Aside("refused", f"{what}: {error}", raw)
    return Aside("hint", f"{what}: fetch order {order_no}", raw, shop, order_no)


def _member(members: dict[str, msgspec.Raw], name: str) -> Any:
    return decode(members[name]) if name in members else None


def _value(member: msgspec.Raw) -> Any:
    try:
        return decode(member)
    except TranslationError:
        return None


def _error_text(member: msgspec.Raw) -> str:
    error = _value(member)
    error = error if isinstance(error, dict) else {}
    said = ", ".join(f"{name} {str(error[name])[:100]}" for name in _SAID if error.get(name) not in (None, ""))
    return f"Pinduoduo answered with an error: {said or 'without a reason'}"
