"""Taobao and Tmall trades, as `taobao.trade.fullinfo.get` gives them.

One slice is one bare `trade` object. Pages of the change feed and pushed messages lack lines and address, so they are
hints: the trade must be fetched. Times without a zone are UTC+8; amounts are yuan; ids have 19 digits and stay text.
"""

import re
from typing import Any, Final

import msgspec

from adapters.channels.json_fields import decode, id_of, same_id, split_list, split_object, why_unreadable
from adapters.channels.taobao_fields import TRADE
from adapters.channels.taobao_order import NAME, translate
from domain.canonical import Translated, TranslationError
from domain.ids import BadId, checked_part
from domain.mapping_table import AS_THE_PLATFORM, Times
from domain.ports import Aside, Sliced

_TOPICS: Final = ("taobao_trade_", "taobao_refund_")
_NESTED_MAX: Final = 4
_LOOKS: Final = re.compile(
    rb'"(?!refund_increment_)(?:trade|trades|refund|refunds)_[a-z_]+_response"|"tid(?:_str)?"|"topic"\s*:\s*"taobao_'
)


class _Whole(msgspec.Struct):
    """The answer to a request for one trade; the trade as the exact bytes it is."""

    class Body(msgspec.Struct):
        trade: msgspec.Raw

    trade_fullinfo_get_response: Body


class _LineHead(msgspec.Struct):
    num: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    price: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Lines(msgspec.Struct):
    order: list[_LineHead]


class _Head(msgspec.Struct):
    """As much of a trade as tells whose it is, and whether it is whole."""

    tid: int | str | None = None
    tid_str: str | None = None
    seller_nick: str | None = None
    orders: _Lines | None = None


_whole: Final = msgspec.json.Decoder(_Whole)
_head: Final = msgspec.json.Decoder(_Head)


class Taobao:
    """The channel. `zone` is that of times that name none, `merchant_zone` that of the people who read them."""

    name = NAME
    harmless = TRADE.harmless_paths()

    def __init__(
        self, merchant_zone: str = "Asia/Shanghai", zone: str = "+08:00", times: Times = AS_THE_PLATFORM
    ) -> None:
        self._zones = merchant_zone, zone
        self._times = times.reader(zone, merchant_zone)

    def with_times(self, times: Times) -> "Taobao":
        """Return the same channel, reading times as a mapping says."""
        return Taobao(*self._zones, times)

    def sniff(self, raw: bytes) -> bool:
        """Tell whether these bytes look like Taobao's."""
        return _LOOKS.search(raw) is not None

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        """Cut an answer, a page, a pushed message, an RDS row or an array of them into trades."""
        try:
            part = _whole.decode(raw).trade_fullinfo_get_response.trade
        except (ValueError, RecursionError):
            return _cut(raw, shop, 0)
        return [_trade(bytes(part), shop)]

    def translate(self, raw: bytes, shop: str) -> Translated:
        """Turn one trade into the canonical order."""
        return translate(raw, shop, self._times)


def channel(merchant_zone: str) -> Taobao:
    """Make the channel for a merchant."""
    return Taobao(merchant_zone)


def _cut(raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    """Cut what is not the plain answer with one trade."""
    body = raw.removeprefix(b"\xef\xbb\xbf")
    if depth > _NESTED_MAX:
        return [Aside("refused", "nested too deeply to be an answer of Taobao", raw)]
    elements = split_list(body)
    if elements is not None:
        if not elements:
            return [Aside("ignored", "an empty array: nothing to take in", raw)]
        return [found for element in elements for found in _cut(bytes(element), shop, depth + 1)]
    members = split_object(body)
    if members is None:
        return [Aside("refused", why_unreadable(body), raw)]
    if "method" in members:
        return [Aside("refused", "a request to Taobao, not an answer from it: send the answer", raw)]
    if "error_response" in members:
        return [Aside("refused", _error_text(members["error_response"]), raw)]
    for name, member in members.items():
        if name.endswith("_response") and name != "jdp_response":
            return _response(name, bytes(member), raw, shop, depth)
    if "jdp_response" in members:
        return _row(members["jdp_response"], raw, shop, depth)
    if "topic" in members and "content" in members:
        return [_message(members, raw, shop)]
    if "tid" in members or "tid_str" in members:
        return [_trade(body, shop)]
    if "trade" in members and len(members) == 1:
        return _cut(bytes(members["trade"]), shop, depth + 1)
    names = ", ".join(list(members)[:5])[:100]
    return [Aside("refused", f"not an answer of Taobao that is known here (its fields: {names})", raw)]


def _response(name: str, inner: bytes, raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    members = split_object(inner)
    if members is None:
        return [Aside("refused", f"{name[:60]} is no object", raw)]
    if "trade" in members:
        return _cut(bytes(members["trade"]), shop, depth + 1)
    if not name.startswith("trades_"):
        return [Aside("refused", f"{name[:60]} holds no trade", raw)]
    page = members.get("trades", msgspec.Raw(b"{}"))
    if bytes(page) == b"null":
        page = msgspec.Raw(b"{}")
    trades = split_object(page)
    if trades is None:
        return [Aside("refused", f"{name[:60]}.trades is no object", raw)]
    if "trade" not in trades:
        return [Aside("ignored", "an empty page of the change feed", raw)]
    return _cut(bytes(trades["trade"]), shop, depth + 1)


def _row(cell: msgspec.Raw, raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    """Cut a row of the order push library: its column `jdp_response` holds the answer, mostly as text."""
    try:
        value = decode(cell)
    except TranslationError as error:
        return [Aside("refused", f"jdp_response: {error}", raw)]
    return _cut(value.encode() if isinstance(value, str) else bytes(cell), shop, depth + 1)


def _trade(raw: bytes, shop: str) -> Sliced | Aside:
    """Tell whose a trade is, and whether it has its lines."""
    try:
        head = _head.decode(raw)
        number = same_id(head.tid, head.tid_str, "tid")
        seller = head.seller_nick or ""
        lines = head.orders.order if head.orders is not None else []
        whole = bool(lines) and not any(line.num is msgspec.UNSET and line.price is msgspec.UNSET for line in lines)
    except (ValueError, RecursionError):
        # Something in it is not as it should be. As long as its id is clear, translating it says what, in the order.
        members = split_object(raw)
        if members is None:
            return Aside("refused", why_unreadable(raw), raw)
        try:
            number = same_id(_member(members, "tid"), _member(members, "tid_str"), "tid")
            nick = _member(members, "seller_nick")
            seller = nick if isinstance(nick, str) else ""
        except TranslationError as error:
            return Aside("refused", str(error), raw)
        whole = not _is_bare_line(members)
    shop = shop or seller
    try:
        checked_part(shop if whole else shop or "unknown", "shop")
        checked_part(number, "trade id")
    except BadId as error:
        return Aside("refused", f"{error}{'' if shop.strip() else ' (name the shop)'}", raw)
    if not whole:
        return Aside("hint", f"trade {number} without its lines: fetch it whole", raw, shop, number)
    try:
        TRADE.refuse_repeated_names(raw)
    except TranslationError as error:
        return Aside("refused", f"trade {number}: {error}", raw)
    return Sliced(shop, number, raw)


def _is_bare_line(trade: dict[str, msgspec.Raw]) -> bool:
    """Tell whether the only line is no list and lacks quantity and price, as in a page made from XML."""
    wrapper = split_object(trade.get("orders", msgspec.Raw(b"null"))) or {}
    line = split_object(wrapper.get("order", msgspec.Raw(b"null")))
    return line is not None and "num" not in line and "price" not in line


def _message(members: dict[str, msgspec.Raw], raw: bytes, shop: str) -> Aside:
    """Tell what a pushed message (TMC) asks for."""
    try:
        topic, content = str(_member(members, "topic")), _member(members, "content")
        if isinstance(content, str):
            content = decode(content.encode())
        content = content if isinstance(content, dict) else {}
        number = id_of(content.get("tid"), "tid", "content")
        seller = content.get("seller_nick") or _member(members, "user_nick")
    except TranslationError as error:
        return Aside("refused", f"pushed message: {error}", raw)
    if not topic.startswith(_TOPICS):
        return Aside("ignored", f"pushed message {topic[:80]}: not about a trade", raw)
    shop = shop or (seller if isinstance(seller, str) else "")
    try:
        checked_part(number, "content.tid")
    except BadId as error:
        return Aside("refused", f"pushed message {topic[:80]}: {error}", raw)
    return Aside("hint", f"pushed message {topic[:80]}: fetch trade {number}", raw, shop, number)


def _member(members: dict[str, msgspec.Raw], name: str) -> Any:
    return decode(members[name]) if name in members else None


def _error_text(member: msgspec.Raw) -> str:
    try:
        error = decode(member)
    except TranslationError:
        error = None
    error = error if isinstance(error, dict) else {}
    said = ", ".join(
        f"{name} {str(error[name])[:100]}" for name in ("code", "msg", "sub_code", "sub_msg") if name in error
    )
    return f"Taobao answered with an error: {said or 'without a reason'}"
