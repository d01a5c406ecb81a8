"""Taobao and Tmall trades, as `taobao.trade.fullinfo.get` gives them.

One slice is one bare `trade` object. Pages of the change feed and pushed messages lack lines and address, so they are
hints: the trade must be fetched. Times without a zone are UTC+8; amounts are yuan; ids have 19 digits and stay text.
"""

import re
from typing import Any, Final, NamedTuple

import msgspec

from adapters.channels.json_fields import (
    NO_DEFAULT,
    READ,
    count_keys,
    decode,
    decode_object,
    exact_id,
    keep,
    object_of,
    objects_of,
    quantity_of,
    refuse_repeated_names,
    sort_out,
    split_list,
    split_object,
    text_of,
    time_of,
    yuan_of,
)
from domain.canonical import (
    AfterSale,
    Amounts,
    Line,
    Parcel,
    Personal,
    Snapshot,
    SourceTime,
    Status,
    Translated,
    TranslationError,
)
from domain.ids import BadId, order_key
from domain.ports import Aside, Sliced
from domain.timehub import time_reader

NAME: Final = "taobao"


class Meaning(NamedTuple):
    """What a native status says of the order."""

    status: Status
    holds: tuple[str, ...] = ()
    cancel_reason: str = ""


STATUSES: Final[dict[str, Meaning]] = {
    "TRADE_NO_CREATE_PAY": Meaning("awaiting_payment"),
    "WAIT_BUYER_PAY": Meaning("awaiting_payment"),
    "PAY_PENDING": Meaning("awaiting_payment"),
    "WAIT_PRE_AUTH_CONFIRM": Meaning("awaiting_payment"),
    "PAID_FORBID_CONSIGN": Meaning("paid", holds=("forbid_consign",)),
    "WAIT_SELLER_SEND_GOODS": Meaning("paid"),
    "SELLER_CONSIGNED_PART": Meaning("allocating"),
    "WAIT_BUYER_CONFIRM_GOODS": Meaning("shipped"),
    "TRADE_BUYER_SIGNED": Meaning("shipped"),
    "TRADE_FINISHED": Meaning("completed"),
    "TRADE_CLOSED": Meaning("cancelled", cancel_reason="refunded"),
    "TRADE_CLOSED_BY_TAOBAO": Meaning("cancelled", cancel_reason="closed_before_payment"),
}

AFTER_SALES: Final[dict[str, AfterSale]] = {
    "": "",
    "NO_REFUND": "",
    "WAIT_SELLER_AGREE": "open",
    "WAIT_BUYER_RETURN_GOODS": "open",
    "WAIT_SELLER_CONFIRM_GOODS": "open",
    "SELLER_REFUSE_BUYER": "open",
    "SUCCESS": "refunded",
    "CLOSED": "closed",
}

STEPS: Final = frozenset({"", "FRONT_NOPAID_FINAL_NOPAID", "FRONT_PAID_FINAL_NOPAID", "FRONT_PAID_FINAL_PAID"})

HOLDS: Final = {
    "top_hold": "top_hold",
    "team_buy_hold": "group_not_formed",
    "forbid_consign": "forbid_consign",
    "ofp_hold": "ofp_hold",
}

RECEIVER: Final = {
    "receiver_name": "name",
    "receiver_state": "province",
    "receiver_city": "city",
    "receiver_district": "district",
    "receiver_town": "town",
    "receiver_address": "detail",
    "receiver_zip": "zip",
    "receiver_mobile": "phone",
    "receiver_phone": "telephone",
    "oaid": "address_id",
}

MESSAGES: Final = ("buyer_message", "buyer_memo", "seller_memo")

TRADE_FIELDS: Final[dict[str, object]] = {
    **dict.fromkeys(("tid", "tid_str", "status", "created", "modified", "pay_time", "consign_time", "end_time"), READ),
    **dict.fromkeys(("timeout_action_time", "total_fee", "payment", "post_fee", "orders"), READ),
    **dict.fromkeys(("promotion_details", "service_orders", "seller_nick", "buyer_open_uid", "buyer_nick"), READ),
    **dict.fromkeys((*RECEIVER, *MESSAGES), READ),
    **dict.fromkeys(("title", "trade_from", "step_trade_status", "step_paid_fee", "est_con_time"), NO_DEFAULT),
    **dict.fromkeys(("o2o_step_trade_detail", "o2o_voucher_price", *HOLDS), NO_DEFAULT),
    "type": "fixed",
    "shipping_type": "express",
    "discount_fee": "0.00",
    "adjust_fee": "0.00",
    "received_payment": "0.00",
    "coupon_fee": 0,
    "seller_flag": 0,
    "has_post_fee": True,
    "point_fee": 0,
    "real_point_fee": 0,
    "buyer_obtain_point_fee": 0,
    **dict.fromkeys(("has_yfx", "buyer_rate", "seller_rate", "is_part_consign", "is_daixiao"), False),
    "cross_bonded_declare": False,
}
"""What is not personal, beside what has a place of its own. A name that is missing here is sealed."""

LINE_FIELDS: Final[dict[str, object]] = {
    **dict.fromkeys(("oid", "oid_str", "num_iid", "sku_id", "outer_sku_id", "title", "sku_properties_name"), READ),
    **dict.fromkeys(("price", "num", "total_fee", "payment", "divide_order_fee", "status", "refund_id"), READ),
    **dict.fromkeys(("consign_time", "end_time", "timeout_action_time", "logistics_company", "invoice_no"), READ),
    "customization": READ,
    **dict.fromkeys(("outer_iid", "cid", "store_code", "bind_oids", "snapshot_url", "pic_path"), NO_DEFAULT),
    "order_from": NO_DEFAULT,
    "refund_status": "NO_REFUND",
    "seller_type": "B",
    "adjust_fee": "0.00",
    "discount_fee": "0.00",
    "part_mjz_discount": "0.00",
    **dict.fromkeys(("buyer_rate", "seller_rate", "is_oversold", "is_daixiao"), False),
}

PROMOTION_FIELDS: Final[dict[str, object]] = {
    "id": READ,
    **dict.fromkeys(("promotion_id", "promotion_name", "promotion_desc", "discount_fee"), NO_DEFAULT),
    **dict.fromkeys(("gift_item_id", "gift_item_name", "gift_item_num"), NO_DEFAULT),
}

SERVICE_FIELDS: Final[dict[str, object]] = {
    **dict.fromkeys(("oid", "item_oid"), READ),
    **dict.fromkeys(("service_id", "title", "num", "price", "payment", "total_fee", "refund_id"), NO_DEFAULT),
    **dict.fromkeys(("status", "service_detail_url", "pic_path"), NO_DEFAULT),
}

_SHIPPED: Final = frozenset({"WAIT_BUYER_CONFIRM_GOODS", "TRADE_BUYER_SIGNED", "TRADE_FINISHED"})
_CLOSED: Final = frozenset({"TRADE_CLOSED", "TRADE_CLOSED_BY_TAOBAO"})
_TRUE: Final = (True, 1, "1", "true", "True")
_TOPICS: Final = ("taobao_trade_", "taobao_refund_")
_NESTED_MAX: Final = 4
_LOOKS: Final = re.compile(rb'"(?:trade|trades|refund|refunds)_[a-z_]+_response"|"tid(?:_str)?"|"topic"\s*:\s*"taobao_')


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

    def __init__(self, merchant_zone: str = "Asia/Shanghai", zone: str = "+08:00") -> None:
        self._times = time_reader(zone, merchant_zone)

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
        trade = decode_object(raw)
        return _Translation(trade, raw, shop, self).order()

    def time(self, value: object, where: str) -> SourceTime | None:
        """Read one of the channel's times."""
        return time_of(self._times, value, where)


def channel(merchant_zone: str) -> Taobao:
    """Make the channel for a merchant."""
    return Taobao(merchant_zone)


# ---- Whose is it? ----------------------------------------------------------------------------------------------------


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
        return [Aside("refused", _why_unreadable(body), raw)]
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
    if page == b"null":
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
    whole = True
    try:
        head = _head.decode(raw)
        number = _number(head.tid, head.tid_str)
        seller = head.seller_nick or ""
        lines = head.orders.order if head.orders is not None else []
        whole = bool(lines) and not any(line.num is msgspec.UNSET and line.price is msgspec.UNSET for line in lines)
    except (ValueError, RecursionError):
        # Something in it is not as it should be. As long as its id is clear, translating it says what, in the order.
        members = split_object(raw)
        if members is None:
            return Aside("refused", _why_unreadable(raw), raw)
        try:
            number = _number(decode(members.get("tid", b"null")), decode(members.get("tid_str", b"null")))
            seller = text_of(decode(members.get("seller_nick", b"null")), "seller_nick")
        except TranslationError as error:
            return Aside("refused", str(error), raw)
        if "orders" in members and (lines_raw := split_object(members["orders"])) is not None:
            only = split_object(lines_raw.get("order", msgspec.Raw(b"null")))
            whole = only is None or "num" in only or "price" in only
    shop = shop or seller
    try:
        order_key(NAME, shop if whole else shop or "unknown", number)
    except BadId as error:
        advice = " (name the shop)" if not shop.strip() else ""
        return Aside("refused", f"{error}{advice}", raw)
    if not whole:
        return Aside("hint", f"trade {number} without its lines: fetch it whole", raw, shop, number)
    return Sliced(shop, number, raw)


def _number(tid: object, tid_str: object) -> str:
    """Return the trade's id; where it is given twice, both must say the same."""
    number, text = exact_id(tid, "tid"), exact_id(tid_str, "tid_str")
    if number and text and number != text:
        raise TranslationError(f"tid says {number}, tid_str says {text}", "tid_str", "an id must not pass a float")
    return text or number


def _message(members: dict[str, msgspec.Raw], raw: bytes, shop: str) -> Aside:
    """Tell what a pushed message (TMC) asks for."""
    try:
        topic = text_of(decode(members["topic"]), "topic")
        content = decode(members["content"])
        content = object_of(decode(content.encode()) if isinstance(content, str) else content, "content")
        nick = text_of(decode(members.get("user_nick", b"null")), "user_nick")
        number = exact_id(content.get("tid"), "content.tid")
        seller = text_of(content.get("seller_nick"), "content.seller_nick")
    except TranslationError as error:
        return Aside("refused", f"pushed message: {error}", raw)
    if not topic.startswith(_TOPICS):
        return Aside("ignored", f"pushed message {topic[:80]}: not about a trade", raw)
    shop = shop or seller or nick
    try:
        order_key(NAME, shop or "unknown", number)
    except BadId as error:
        return Aside("refused", f"pushed message {topic[:80]}: {error}", raw)
    return Aside("hint", f"pushed message {topic[:80]}: fetch trade {number}", raw, shop, number)


def _error_text(member: msgspec.Raw) -> str:
    try:
        error = object_of(decode(member), "error_response")
    except TranslationError:
        error = {}
    said = ", ".join(
        f"{name} {str(error[name])[:100]}" for name in ("code", "msg", "sub_code", "sub_msg") if name in error
    )
    return f"Taobao answered with an error: {said or 'without a reason'}"


def _why_unreadable(raw: bytes) -> str:
    try:
        value = decode(raw)
    except TranslationError as error:
        return str(error)
    return f"JSON, but a bare {type(value).__name__}: no answer of Taobao"


# ---- What does it say? -----------------------------------------------------------------------------------------------


class _Translation:
    """One trade on its way into the canonical form."""

    __slots__ = (
        "_attributes",
        "_channel",
        "_gifts",
        "_keys",
        "_meaning",
        "_native",
        "_parcels",
        "_raw",
        "_shop",
        "_trade",
        "_unknown",
        "_unknown_of_lines",
        "_wrong",
    )

    def __init__(self, trade: dict[str, Any], raw: bytes, shop: str, channel: Taobao) -> None:
        self._trade = trade
        self._raw = raw
        self._shop = shop
        self._channel = channel
        self._keys = len(trade)
        self._gifts: set[str] = set()
        self._parcels: dict[tuple[str, str], tuple[list[str], SourceTime | None]] = {}
        self._unknown_of_lines: dict[str, dict[str, Any]] = {}
        self._wrong: list[dict[str, Any]] = []

    def order(self) -> Translated:
        """Translate the trade.

        Raises:
            TranslationError: with what is wrong, where and what to do.
        """
        trade, time = self._trade, self._channel.time
        number = _number(trade.get("tid"), trade.get("tid_str"))
        if not number:
            raise TranslationError("the trade has no id", "tid", "send one bare trade object with its tid")
        self._native = text_of(trade.get("status"), "status")
        meaning = STATUSES.get(self._native)
        if meaning is None:
            raise TranslationError(f"unknown status {self._native[:60]!r}", "status", "add it to the table of statuses")
        self._meaning = meaning
        ordered_at = time(trade.get("created"), "created")
        if ordered_at is None:
            raise TranslationError("the trade has no order time", "created", "fetch it with the field created")
        self._attributes, self._unknown = sort_out(trade, TRADE_FIELDS, "trade")
        self._promotions()
        self._services()
        lines, sums, line_pay_by = self._lines()
        shop = self._names(number)
        status: Status = meaning.status
        reason = meaning.cancel_reason
        if self._native == "TRADE_CLOSED" and any(line.state == "shipped" for line in lines):
            status, reason = "shipped", ""
            self._attributes["closed_after_shipping"] = True
        elif self._native == "TRADE_BUYER_SIGNED":
            self._attributes["signed"] = True
        step = text_of(trade.get("step_trade_status"), "step_trade_status")
        if step not in STEPS:
            raise TranslationError(f"unknown stage {step[:60]!r}", "step_trade_status", "add it to the table of stages")
        amounts = self._amounts(sums, status, step)
        unpaid = status == "awaiting_payment"
        snapshot = Snapshot(
            channel=NAME,
            shop=shop,
            order_no=number,
            status=status,
            native_status=self._native,
            amounts=amounts,
            ordered_at=ordered_at,
            modified_at=time(trade.get("modified"), "modified") or ordered_at,
            lines=tuple(lines),
            kind="presale" if step or trade.get("type") == "step" else "normal",
            region=_region(trade),
            pay_by=self._time("timeout_action_time", unpaid) or (line_pay_by if unpaid else None),
            paid_at=self._time("pay_time", not unpaid),
            shipped_at=self._time("consign_time", status in ("shipped", "completed")) or self._shipped_at(status),
            completed_at=self._time("end_time", status == "completed", keep_it=status != "cancelled"),
            cancelled_at=self._time("end_time", status == "cancelled", keep_it=False),
            cancel_reason=reason,
            holds=self._holds(),
            parcels=tuple(
                Parcel(carrier, tracking, tuple(ids), at) for (carrier, tracking), (ids, at) in self._parcels.items()
            ),
            attributes=self._attributes,
        )
        if self._wrong:
            self._attributes["amount_mismatch"] = self._wrong
        self._keys += sum(map(count_keys, self._unknown.values()))
        refuse_repeated_names(self._raw, self._keys)
        return Translated(snapshot, self._personal())

    def _names(self, number: str) -> str:
        """Return the shop; keep the seller's own name where it is another."""
        nick = text_of(self._trade.get("seller_nick"), "seller_nick")
        shop = self._shop or nick
        if nick and nick != shop:
            self._attributes["seller_nick"] = nick
        try:
            order_key(NAME, shop, number)
        except BadId as error:
            raise TranslationError(str(error), advice="name the shop") from None
        return shop

    def _time(self, name: str, fits: bool, *, keep_it: bool = True) -> SourceTime | None:
        """Read a time whose meaning hangs on the status; where it has none, its text stays an attribute."""
        value = self._trade.get(name)
        if value is None:
            return None
        found = self._channel.time(value, name)
        if fits or found is None:
            return found
        if keep_it:
            self._attributes[name] = found.text
        return None

    def _shipped_at(self, status: Status) -> SourceTime | None:
        if status not in ("shipped", "completed"):
            return None
        times = [at for _, at in self._parcels.values() if at is not None]
        return max(times, key=lambda at: at.utc_ms, default=None)

    def _holds(self) -> tuple[str, ...]:
        holds = self._meaning.holds
        for name, hold in HOLDS.items():
            if name in self._attributes:
                if self._attributes[name] in _TRUE:
                    holds = (*holds, hold) if hold not in holds else holds
                elif self._attributes[name] not in (False, 0, "0", "false", "False", "", None):
                    raise TranslationError("neither set nor unset", name, "0 or 1 belongs here")
            elif name in self._unknown:
                raise TranslationError("a structure where 0 or 1 belongs", name)
        return holds

    def _lines(self) -> tuple[list[Line], dict[str, int], SourceTime | None]:
        """Translate the lines, and add up what the page's sum rules speak of."""
        wrapper = self._trade.get("orders")
        if type(wrapper) is dict:
            self._keys += len(wrapper)
            found = objects_of(wrapper.get("order"), "orders.order")
            rest = {name: keep(value, "orders", 0) for name, value in wrapper.items() if name != "order"}
            if rest:
                self._unknown["orders"] = rest
        else:
            found = objects_of(wrapper, "orders")
        if not found:
            raise TranslationError(
                "the trade has no lines", "orders.order", "fetch it whole (taobao.trade.fullinfo.get)"
            )
        lines: list[Line] = []
        ids: set[str] = set()
        sums = {"goods": 0, "total": 0, "divided": 0, "undivided": 0}
        pay_by: SourceTime | None = None
        for place, fields in enumerate(found):
            line, due = self._line(fields, f"orders.order[{place}]", sums)
            if line.id in ids:
                raise TranslationError(f"two lines have the id {line.id}", f"orders.order[{place}].oid")
            ids.add(line.id)
            lines.append(line)
            if due is not None and (pay_by is None or due.utc_ms < pay_by.utc_ms):
                pay_by = due
        return lines, sums, pay_by

    def _line(self, fields: dict[str, Any], where: str, sums: dict[str, int]) -> tuple[Line, SourceTime | None]:
        get = fields.get
        line_id = _line_number(get("oid"), get("oid_str"), where)
        self._keys += len(fields)
        declared, unknown = sort_out(fields, LINE_FIELDS, where)
        quantity = quantity_of(get("num"), f"{where}.num")
        price = yuan_of(get("price"), f"{where}.price") or 0
        goods = price * quantity
        total = yuan_of(get("total_fee"), f"{where}.total_fee")
        divided = yuan_of(get("divide_order_fee"), f"{where}.divide_order_fee")
        payment = yuan_of(get("payment"), f"{where}.payment")
        known = [amount for amount in (divided, payment, total) if amount is not None]
        amount = known[0] if known else goods
        for name, value in (("payment", payment), ("total_fee", total)):
            if value is not None and value != amount:
                declared[name] = get(name)
        adjust = yuan_of(get("adjust_fee"), f"{where}.adjust_fee") or 0
        discount = yuan_of(get("discount_fee"), f"{where}.discount_fee") or 0
        expected = goods + adjust - discount
        if total is not None and total != expected:
            self._wrong.append(_mismatch(f"{where}.total_fee = price x num + adjust - discount", total, expected))
        sums["goods"] += goods
        sums["total"] += expected if total is None else total
        if divided is None:
            sums["undivided"] += 1
        else:
            sums["divided"] += divided
        return self._finished_line(fields, where, line_id, quantity, price, goods - amount, amount, declared, unknown)

    def _finished_line(
        self,
        fields: dict[str, Any],
        where: str,
        line_id: str,
        quantity: int,
        price: int,
        discount: int,
        amount: int,
        declared: dict[str, Any],
        unknown: dict[str, Any],
    ) -> tuple[Line, SourceTime | None]:
        get = fields.get
        native = text_of(get("status"), f"{where}.status") or self._native
        if native != self._native:
            if native not in STATUSES:
                raise TranslationError(
                    f"unknown status {native[:60]!r}", f"{where}.status", "add it to the table of statuses"
                )
            declared["status"] = native
        refund = text_of(get("refund_status"), f"{where}.refund_status")
        after_sale = AFTER_SALES.get(refund)
        if after_sale is None:
            raise TranslationError(
                f"unknown refund status {refund[:60]!r}", f"{where}.refund_status", "add it to the table"
            )
        due = self._line_times(fields, where, line_id, declared)
        consigned = declared.pop("consigned", False)
        state: Any = "open"
        if consigned or native in _SHIPPED:
            state = "shipped"
        elif native in _CLOSED or refund == "SUCCESS":
            state = "cancelled"
        title = text_of(get("title"), f"{where}.title")
        item, sku_id = exact_id(get("num_iid"), f"{where}.num_iid"), exact_id(get("sku_id"), f"{where}.sku_id")
        engraving = get("customization")
        if engraving:
            declared["customized"] = True
            unknown["customization"] = keep(engraving, where, 0)
        if unknown:
            self._unknown_of_lines[line_id] = unknown
            self._keys += sum(map(count_keys, unknown.values()))
        line = Line(
            id=line_id,
            sku=text_of(get("outer_sku_id"), f"{where}.outer_sku_id")
            or text_of(get("outer_iid"), f"{where}.outer_iid"),
            quantity=quantity,
            name=title,
            item=f"{item}/{sku_id}" if sku_id else item,
            spec=text_of(get("sku_properties_name"), f"{where}.sku_properties_name"),
            unit_price=price,
            discount=discount,
            amount=amount,
            gift=price == 0 and ("赠" in title or item in self._gifts),
            state=state,
            after_sale=after_sale,
            after_sale_id=exact_id(get("refund_id"), f"{where}.refund_id"),
            attributes=declared,
        )
        return line, due

    def _line_times(
        self, fields: dict[str, Any], where: str, line_id: str, declared: dict[str, Any]
    ) -> SourceTime | None:
        """Put the line into its parcel; return when it must be paid. Times that say no more than the order's go."""
        get, time = fields.get, self._channel.time
        carrier = text_of(get("logistics_company"), f"{where}.logistics_company")
        tracking = text_of(get("invoice_no"), f"{where}.invoice_no")
        consigned = time(get("consign_time"), f"{where}.consign_time")
        if consigned is not None:
            declared["consigned"] = True
        if carrier or tracking:
            ids, at = self._parcels.setdefault((carrier, tracking), ([], consigned))
            ids.append(line_id)
            if consigned is not None and (at is None or at.text != consigned.text):
                declared["consign_time"] = consigned.text
        elif consigned is not None:
            declared["consign_time"] = consigned.text
        ended = time(get("end_time"), f"{where}.end_time")
        if ended is not None and ended.text != self._trade.get("end_time"):
            declared["end_time"] = ended.text
        due = time(get("timeout_action_time"), f"{where}.timeout_action_time")
        if due is not None and (
            self._meaning.status != "awaiting_payment" or due.text != self._trade.get("timeout_action_time", due.text)
        ):
            declared["timeout_action_time"] = due.text
        return due

    def _amounts(self, sums: dict[str, int], status: Status, step: str) -> Amounts:
        """Read the order's amounts and note where the sum rules do not hold; nothing is refused for that."""
        trade = self._trade
        goods = yuan_of(trade.get("total_fee"), "total_fee")
        payment = yuan_of(trade.get("payment"), "payment")
        freight = yuan_of(trade.get("post_fee"), "post_fee") or 0
        discount = yuan_of(trade.get("discount_fee"), "discount_fee") or 0
        adjust = yuan_of(trade.get("adjust_fee"), "adjust_fee") or 0
        deposit = yuan_of(trade.get("step_paid_fee"), "step_paid_fee") or 0
        owed = sums["total"] - discount + adjust + freight
        if payment is None:
            raise TranslationError("the trade has no amount", "payment", "fetch it with the field payment")
        if goods is not None and goods != sums["goods"]:
            self._wrong.append(_mismatch("total_fee = sum of price x num", goods, sums["goods"]))
        if payment != owed and not trade.get("coupon_fee"):  # a red packet is paid for by the platform
            self._wrong.append(_mismatch("payment = line totals - discount + adjust + post", payment, owed))
        if not sums["undivided"] and sums["divided"] != payment - freight:
            self._wrong.append(
                _mismatch("sum of divide_order_fee = payment - post", sums["divided"], payment - freight)
            )
        if step == "FRONT_PAID_FINAL_NOPAID":
            paid = deposit
        elif trade.get("pay_time") or (
            status in ("paid", "allocating", "shipped", "completed") and trade.get("type") != "cod"
        ):
            paid = payment if status != "awaiting_payment" else 0
        else:
            paid = 0
        return Amounts(
            currency="CNY",
            goods=sums["goods"] if goods is None else goods,
            discount=sums["goods"] - sums["total"] + discount - adjust,
            freight=freight,
            payable=payment,
            paid=paid,
        )

    def _promotions(self) -> None:
        value = self._trade.get("promotion_details")
        if value is None:
            return
        promotions = self._listed(value, "promotion_details", "promotion_detail", PROMOTION_FIELDS)
        self._gifts = {str(item["gift_item_id"]) for item in promotions if item.get("gift_item_id")}
        if promotions:
            self._attributes["promotion_details"] = promotions

    def _services(self) -> None:
        value = self._trade.get("service_orders")
        if value is None:
            return
        services = self._listed(value, "service_orders", "service_order", SERVICE_FIELDS)
        if services:
            self._attributes["service_package"] = services

    def _listed(self, value: object, name: str, inner: str, table: dict[str, object]) -> list[dict[str, Any]]:
        """Read a wrapped list of declared objects; if anything in it is not declared, all of it is sealed as well."""
        wrapper = object_of(value, name)
        listed: list[dict[str, Any]] = []
        strange = len(wrapper) > (inner in wrapper)
        keys = len(wrapper)
        for place, item in enumerate(objects_of(wrapper.get(inner), f"{name}.{inner}")):
            where = f"{name}.{inner}[{place}]"
            declared, unknown = sort_out(item, table, where)
            for field, rule in table.items():
                if rule is READ and field in item:
                    declared[field] = exact_id(item[field], f"{where}.{field}")
            strange = strange or bool(unknown)
            keys += len(item)
            listed.append(declared)
        if strange:
            self._unknown[name] = keep(wrapper, name, 0)
        else:
            self._keys += keys
        return listed

    def _personal(self) -> Personal:
        trade = self._trade
        receiver: dict[str, str] = {}
        for name, place in RECEIVER.items():
            text = text_of(trade.get(name), name)
            if text:
                receiver[place] = text
        nick, uid = (
            text_of(trade.get("buyer_nick"), "buyer_nick"),
            text_of(trade.get("buyer_open_uid"), "buyer_open_uid"),
        )
        if nick and uid:
            self._unknown["buyer_nick"] = nick
        return Personal(
            customer_id=uid or nick,
            receiver=receiver,
            messages={name: text for name in MESSAGES if (text := text_of(trade.get(name), name))},
            attributes=self._unknown,
            line_attributes=self._unknown_of_lines,
        )


def _line_number(oid: object, oid_str: object, where: str) -> str:
    number, text = exact_id(oid, f"{where}.oid"), exact_id(oid_str, f"{where}.oid_str")
    if number and text and number != text:
        raise TranslationError(f"oid says {number}, oid_str says {text}", f"{where}.oid_str")
    if not number and not text:
        raise TranslationError("the line has no id", f"{where}.oid")
    return text or number


def _mismatch(rule: str, stated: int, computed: int) -> dict[str, Any]:
    """Note that the source's own figures disagree; both in fen."""
    return {"rule": rule, "stated": stated, "computed": computed}


def _region(trade: dict[str, Any]) -> str:
    """Province and city; cities directly under a province stand in the district's place."""
    province, city = text_of(trade.get("receiver_state"), "receiver_state"), trade.get("receiver_city")
    city = text_of(city, "receiver_city")
    if not city:
        district = text_of(trade.get("receiver_district"), "receiver_district")
        city = district if district.endswith("市") else ""
    return f"{province} {city}".strip()
