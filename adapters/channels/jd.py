"""JD orders of POP merchants, as `jingdong.pop.order.get` and `jingdong.pop.order.search` give them.

One slice is one bare order. After-sale answers, pushes and orders without their lines are hints: the order must be
fetched. Times without a zone are UTC+8, shipments count milliseconds; amounts of orders are yuan text; ids are digits
as text. A failed inner result is refused: it is no empty page.
"""

import re
from typing import Any, Final

import msgspec

from adapters.channels.jd_fields import ORDER
from adapters.channels.jd_order import NAME, translate
from adapters.channels.json_fields import decode, id_of, kind_of, split_list, split_object, why_unreadable
from domain.canonical import Translated, TranslationError
from domain.ids import BadId, checked_part
from domain.mapping_table import AS_THE_PLATFORM, Times
from domain.ports import Aside, Sliced

_NESTED_MAX: Final = 4
_EMPTY: Final = (b"null", b"[]", b'""', b"{}")
_DONE: Final = (True, "true", "True", 1)
_RESPONSES: Final = ("_responce", "_response")
_ORDERS: Final = ("orderInfoList", "orderInfo")
_ROWS: Final = ("result", "data", "resultList")
_PUSHED: Final = ("content", "data", "message", "msg")
_SAID: Final = (
    "code",
    "numberCode",
    "chineseErrCode",
    "englishErrCode",
    "zh_desc",
    "en_desc",
    "errorCode",
    "errorMessage",
    "message",
)
_LOOKS: Final = re.compile(
    rb'"jingdong_[A-Za-z_]+_respon[cs]e"|"360buy_param_json"|"searchorderinfo_result"|"orderDetailInfo"'
    rb'|"orderInfoList"|"itemInfoList"|"orderStartTime"|"applyRefundSum"|"sameOrderServiceBill"'
)


class Jd:
    """The channel. `zone` is that of times that name none, `merchant_zone` that of the people who read them."""

    name = NAME
    harmless = ORDER.harmless_paths()

    def __init__(
        self, merchant_zone: str = "Asia/Shanghai", zone: str = "+08:00", times: Times = AS_THE_PLATFORM
    ) -> None:
        self._zones = merchant_zone, zone
        self._times = times.reader(zone, merchant_zone)

    def with_times(self, times: Times) -> "Jd":
        """Return the same channel, reading times as a mapping says."""
        return Jd(*self._zones, times)

    def sniff(self, raw: bytes) -> bool:
        """Tell whether these bytes look like JD's."""
        return _LOOKS.search(raw) is not None

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        """Cut an answer, a page, a push or an array of them into orders."""
        return _cut(raw, shop, 0)

    def translate(self, raw: bytes, shop: str) -> Translated:
        """Turn one order into the canonical order."""
        return translate(raw, shop, self._times)


def channel(merchant_zone: str) -> Jd:
    """Make the channel for a merchant."""
    return Jd(merchant_zone)


def _cut(raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    body = raw.removeprefix(b"\xef\xbb\xbf")
    if depth > _NESTED_MAX:
        return [Aside("refused", "nested too deeply to be an answer of JD", raw)]
    elements = split_list(body)
    if elements is not None:
        if not elements:
            return [Aside("ignored", "an empty array: nothing to take in", raw)]
        return [found for element in elements for found in _cut(bytes(element), shop, depth + 1)]
    members = split_object(body)
    if members is None:
        return [Aside("refused", why_unreadable(body), raw)]
    if "360buy_param_json" in members or "method" in members:
        return [Aside("refused", "a request to JD, not an answer from it: send the answer", raw)]
    if "error_response" in members:
        return [Aside("refused", _error_text(members["error_response"]), raw)]
    for name, member in members.items():
        if name.startswith("jingdong_") and name.endswith(_RESPONSES):
            return _response(name, bytes(member), raw, shop, depth)
    if "orderId" in members:
        return [_order(body, members, shop)]
    if any(name in members for name in ("apiResult", *_ORDERS)):
        return _result("the answer", members, raw, shop, depth)
    for name in ("searchorderinfo_result", "orderDetailInfo", "queryResult", "pageResult"):
        if name in members:
            return _inner(name, members[name], raw, shop, depth)
    if "sameOrderServiceBill" in members:
        return [_row(members, raw, shop)]
    pushed = _pushed(members, raw, shop)
    if pushed is not None:
        return [pushed]
    names = ", ".join(list(members)[:5])[:100]
    return [Aside("refused", f"not an answer of JD that is known here (its fields: {names})", raw)]


def _response(name: str, inner: bytes, raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    """Cut `jingdong_…_responce`: a code, and an object with the result."""
    members = split_object(inner)
    if members is None:
        return [Aside("refused", f"{name[:80]} is no object", raw)]
    if not _is_zero(members.get("code")):
        return [Aside("refused", _error_text(msgspec.Raw(inner)), raw)]
    results = [(key, member) for key, member in members.items() if split_object(member) is not None]
    for key, member in results:
        if len(results) == 1 or any(part in (split_object(member) or ()) for part in ("apiResult", *_ORDERS, *_ROWS)):
            return _inner(key, member, raw, shop, depth)
    return [Aside("refused", f"{name[:80]} holds no result", raw)]


def _inner(name: str, member: msgspec.Raw, raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    members = split_object(member)
    if members is None:
        return [Aside("refused", f"{name[:80]} is no object", raw)]
    return _result(name[:80], members, raw, shop, depth)


def _result(name: str, members: dict[str, msgspec.Raw], raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    """Cut a result: `{apiResult, orderInfoList | orderInfo}`, or rows of after-sales."""
    said = members.get("apiResult")
    told = split_object(said) if said is not None else members
    done = told.get("success") if told is not None else None
    if done is not None and _value(done) not in _DONE:
        return [Aside("refused", _error_text(msgspec.Raw(said if said is not None else raw)), raw)]
    for key in _ORDERS:
        if key in members and bytes(members[key]) not in _EMPTY:
            return _cut(bytes(members[key]), shop, depth + 1)
    for key in (*_ORDERS, *_ROWS):
        if key in members:
            break
    else:
        return [Aside("refused", f"{name} holds no order", raw)]
    if done is None and key in _ORDERS:
        return [Aside("refused", f"{name} holds no order and does not say that it succeeded", raw)]
    if bytes(members[key]) in _EMPTY:
        return [Aside("ignored", "an empty page", raw)]
    rows = split_list(members[key])
    if rows is None:
        return [Aside("refused", f"{name}.{key} is no list", raw)]
    return [_row(split_object(row), bytes(row), shop) for row in rows]


def _row(members: dict[str, msgspec.Raw] | None, raw: bytes, shop: str) -> Aside:
    """Tell whose an after-sale is."""
    if members is not None and "orderId" not in members and "sameOrderServiceBill" in members:
        members = split_object(members["sameOrderServiceBill"])
    if members is None or "orderId" not in members:
        return Aside("refused", "an after-sale that names no order", raw)
    return _hint(members["orderId"], "an after-sale", raw, shop)


def _hint(number: msgspec.Raw, what: str, raw: bytes, shop: str) -> Aside:
    try:
        order_no = checked_part(id_of(decode(number), "orderId"), "orderId")
    except (BadId, TranslationError) as error:
        return Aside("refused", f"{what}: {error}", raw)
    return Aside("hint", f"{what}: fetch order {order_no}", raw, shop, order_no)


def _pushed(members: dict[str, msgspec.Raw], raw: bytes, shop: str) -> Aside | None:
    """Tell what a push asks for whose envelope holds the order's number; JD's is not public, so any such is taken."""
    for name in _PUSHED:
        if name in members:
            value = _value(members[name])
            inner = split_object(value.encode()) if isinstance(value, str) else split_object(members[name])
            if inner is not None and "orderId" in inner:
                return _hint(inner["orderId"], "pushed message", raw, shop)
    return None


def _order(raw: bytes, members: dict[str, msgspec.Raw], shop: str) -> Sliced | Aside:
    """Tell whose an order is, and whether it has its lines."""
    if "itemInfoList" not in members and "orderState" not in members:
        what = "an after-sale" if "applyRefundSum" in members else "a message that names an order"
        return _hint(members["orderId"], what, raw, shop)
    try:
        number = id_of(decode(members["orderId"]), "orderId")
        own = id_of(decode(members["venderId"]), "venderId") if "venderId" in members else ""
        shop = shop or own
        whole = bytes(members.get("itemInfoList", b"null")) not in _EMPTY
        checked_part(shop if whole else shop or "unknown", "shop")
        checked_part(number, "order id")
        if whole:
            ORDER.refuse_repeated_names(raw)
    except (BadId, TranslationError) as error:
        return Aside("refused", f"{error}{'' if shop.strip() else ' (name the shop)'}", raw)
    if not whole:
        return Aside("hint", f"order {number} without its lines: fetch it whole", raw, shop, number)
    return Sliced(shop, number, raw)


def _value(member: msgspec.Raw) -> Any:
    try:
        return decode(member)
    except TranslationError:
        return None


def _is_zero(code: msgspec.Raw | None) -> bool:
    return code is None or _value(code) in ("0", 0)


def _error_text(member: msgspec.Raw) -> str:
    error = _value(member)
    if not isinstance(error, dict):
        return f"JD answered with an error: {kind_of(error)}"
    inner = error.get("apiResult")
    said: dict[str, Any] = {**error, **(inner if isinstance(inner, dict) else {})}
    text = ", ".join(f"{name} {str(said[name])[:100]}" for name in _SAID if said.get(name) not in (None, ""))
    return f"JD answered with an error: {text or 'without a reason'}"
