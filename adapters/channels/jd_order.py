"""One JD order becomes a canonical order.

Every field ends in one of three places: read (it has a place of its own), declared (an attribute anyone may see) or
unknown (sealed, whole). `jd_fields` says which is which. Lines have no id of their own on the wire: it is their SKU's.
"""

from typing import Any, Final, Literal, NamedTuple

from adapters.channels.jd_fields import (
    EMPTY,
    FETCH,
    INVOICE_TYPES,
    INVOICE_WORDS,
    ITEM_EXT_KNOWN,
    LINE,
    MESSAGES,
    ORDER,
    PAID_LATER,
    PAID_ONLINE,
    RECEIVER,
    RETURNING,
    STATES,
    InvoiceFields,
    LineFields,
    OrderFields,
)
from adapters.channels.jd_money import Goods, discounts, pay_code, read_amounts, read_coupons, read_goods
from adapters.channels.jd_parcels import last_of, left_units, read_parcels, with_lines
from adapters.channels.json_fields import (
    decode_object,
    follows,
    id_of,
    keep,
    time_of,
    whole_of,
)
from adapters.channels.wire_lines import numbered
from domain.canonical import (
    Line,
    Personal,
    Snapshot,
    SourceTime,
    Status,
    Translated,
    TranslationError,
)
from domain.ids import BadId, checked_part
from domain.timehub import TimeReader

NAME: Final = "jd"
_ADD_TO_TABLE: Final = "add it to the channel's table"
_REVISION_MAX: Final = 2**63 - 1


class _Context(NamedTuple):
    """What the parts of one order share while it is translated."""

    order: OrderFields
    native: str
    times: TimeReader
    unknown: dict[str, dict[str, Any]]
    """Unknown fields, by path."""
    of_lines: dict[str, dict[str, Any]]
    """Sealed fields of lines, by line id."""
    attributes: dict[str, Any]
    sealed: dict[str, Any]


def translate(raw: bytes, shop: str, times: TimeReader) -> Translated:
    """Turn one order into the canonical order.

    Raises:
        TranslationError: with what is wrong, where and what to do.
    """
    order, unknown = ORDER.fill(raw)
    number = id_of(order.orderId, "orderId")
    if not number:
        raise TranslationError("the order has no id", "orderId", "send one bare order with its orderId")
    native = order.orderState or ""
    meaning = STATES.get(native)
    if meaning is None:
        raise TranslationError(f"unknown state {native[:60]!r}", "orderState", _ADD_TO_TABLE)
    ordered_at = time_of(times, order.orderStartTime, "orderStartTime")
    if ordered_at is None:
        raise TranslationError("the order has no order time", "orderStartTime", FETCH)

    context = _Context(order, native, times, unknown, {}, ORDER.declared(order), unknown.pop("", {}))
    attributes = context.attributes
    paid = follows(time_of(times, order.paymentConfirmTime, "paymentConfirmTime"), ordered_at, "paymentConfirmTime")
    ended = follows(time_of(times, order.orderEndTime, "orderEndTime"), ordered_at, "orderEndTime")
    left = follows(time_of(times, order.outBoundDate, "outBoundDate"), ordered_at, "outBoundDate")
    sent = read_parcels(order, times, left, attributes)
    status = meaning.status or _reached(context, paid, left)
    if status == "paid" and sent.partial:
        status = "allocating"
    coupons = read_coupons(order, attributes, context.sealed)
    fields = order.itemInfoList
    if not fields:
        raise TranslationError("the order has no lines", "itemInfoList", FETCH)
    goods = [read_goods(one, f"itemInfoList[{place}]") for place, one in enumerate(fields)]
    ids = numbered([one.sku for one in goods], [(one.price, one.quantity) for one in goods], "itemInfoList")
    amounts = read_amounts(order, sum(one.value for one in goods), coupons, (status, paid), attributes)
    shares = discounts(goods, coupons, amounts.discount)
    units = left_units(sent.units, goods)
    partly = status == "allocating" and sent.partial and not sent.told
    partly = partly or any(0 < count < one.quantity for count, one in zip(units, goods, strict=True))
    given = {coupon.sku for coupon in coupons if "赠" in coupon.kind}
    lines = tuple(
        _line(
            context,
            _Item(one, f"itemInfoList[{place}]", ids[place], goods[place], shares[place]),
            _state(status, left, 0 < goods[place].quantity == units[place]),
            goods[place].sku in given,
        )
        for place, one in enumerate(fields)
    )
    for name, at, fits in (
        ("paymentConfirmTime", paid, status != "awaiting_payment"),
        ("orderEndTime", ended, status in ("completed", "cancelled")),
        ("outBoundDate", left, status in ("shipped", "completed", "cancelled")),
    ):
        if at is not None and not fits:
            attributes[name] = at.text
    gone = status in ("shipped", "completed")
    _leftovers(context)
    snapshot = Snapshot(
        NAME,
        _shop(context, shop, number),
        number,
        status,
        native,
        amounts,
        ordered_at,
        _modified(context, ordered_at),
        lines,
        region=_region(order),
        paid_at=paid if status != "awaiting_payment" else None,
        shipped_at=(left or last_of(sent.parcels) if gone else left if status == "cancelled" else None),
        completed_at=ended if status == "completed" else None,
        cancelled_at=ended if status == "cancelled" else None,
        cancel_reason=meaning.cancel_reason or ("" if paid or status != "cancelled" else "closed_before_payment"),
        holds=((meaning.hold,) if meaning.hold else ()) + (("line_partly_shipped",) if partly else ()),
        parcels=with_lines(sent.parcels, goods, ids),
        attributes=attributes,
        revision=_version(order),
    )
    return Translated(snapshot, _personal(context))


def _reached(context: _Context, paid: SourceTime | None, left: SourceTime | None) -> Status:
    """Tell how far an order got whose state only says that it is stopped."""
    if left is not None:
        return "shipped"
    return "paid" if paid is not None or pay_code(context.order) in PAID_LATER else "awaiting_payment"


def _modified(context: _Context, ordered_at: SourceTime) -> SourceTime:
    """Return when JD last changed the order: `modified`, else its version stamp where that is a time."""
    order, times = context.order, context.times
    found = follows(time_of(times, order.modified, "modified"), ordered_at, "modified")
    if found is None and order.dataVersion is not None:
        try:
            found = follows(time_of(times, order.dataVersion, "dataVersion"), ordered_at, "dataVersion")
        except TranslationError:
            found = None  # no time: it still counts as the revision
    return found or ordered_at


def _version(order: OrderFields) -> int:
    """Return the version stamp: of two views of one second, the greater is the newer."""
    version = whole_of(order.dataVersion, "dataVersion")
    if not 0 <= version <= _REVISION_MAX:
        raise TranslationError(f"{str(version)[:60]} is no version stamp", "dataVersion")
    return version


def _shop(context: _Context, shop: str, number: str) -> str:
    """Return the shop; keep the platform's id of it where it is another."""
    own = id_of(context.order.venderId, "venderId")
    if shop:
        if own and own != shop:
            context.attributes["venderId"] = own
    else:
        shop = own
    try:
        checked_part(shop, "shop")
        checked_part(number, "order id")
    except BadId as error:
        raise TranslationError(str(error), advice="name the shop") from None
    return shop


# ---- Lines -----------------------------------------------------------------------------------------------------------


class _Item(NamedTuple):
    """A line, and what was worked out about it beforehand."""

    fields: LineFields
    where: str
    id: str
    goods: Goods
    off: int
    """What is taken off its goods."""


def _state(status: Status, left: SourceTime | None, sent: bool) -> Literal["open", "shipped", "cancelled"]:
    if sent or status in ("shipped", "completed") or (status == "cancelled" and left is not None):
        return "shipped"
    return "cancelled" if status == "cancelled" else "open"


def _line(context: _Context, item: _Item, state: Literal["open", "shipped", "cancelled"], given: bool) -> Line:
    """Translate a line; `given` says that a coupon gives it away."""
    fields, where, goods = item.fields, item.where, item.goods
    declared = LINE.declared(fields)
    ware = id_of(fields.wareId, "wareId", where)
    if ware:
        declared["wareId"] = ware
    sealed = context.unknown.pop(where, {}) if context.unknown else {}
    _item_ext(fields, declared, sealed, where)
    if sealed:
        context.of_lines[item.id] = sealed
    name = fields.skuName or ""
    return Line(
        item.id,
        fields.outerSkuId or "",
        goods.quantity,
        name,
        goods.sku,
        "",
        goods.price,
        item.off,
        goods.value - item.off,
        not goods.price and (given or "赠" in name),
        state,
        "open" if context.native in RETURNING else "",
        "",
        declared,
    )


def _item_ext(fields: LineFields, declared: dict[str, Any], sealed: dict[str, Any], where: str) -> None:
    """Keep JSON in a string: what is known of it in the open, everything else as it is, sealed."""
    value = fields.itemExt
    if value in EMPTY:
        return
    if isinstance(value, str):
        try:
            inner = decode_object(value.encode())
        except (TranslationError, UnicodeEncodeError):
            inner = {}
        if "".join(value.split()).count('":') != len(inner):  # nested, or a name twice
            inner = {}
    else:
        inner = value if isinstance(value, dict) else {}
    known = {name: inner[name] for name in ITEM_EXT_KNOWN if name in inner and _is_plain(inner[name])}
    if known:
        declared["itemExt"] = known
    if known != inner or not inner:
        sealed["itemExt"] = keep(value, where)


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, bool)) or (type(value) is int and abs(value) <= _REVISION_MAX)


# ---- The rest --------------------------------------------------------------------------------------------------------


def _leftovers(context: _Context) -> None:
    """Keep what was read but has no place of its own for this order."""
    order, attributes = context.order, context.attributes
    parent = id_of(order.parentOrderId, "parentOrderId")
    direct = id_of(order.directParentOrderId, "directParentOrderId")
    if parent or direct:
        attributes["parent_order_id"] = parent or direct
    if direct and parent and direct != parent:
        attributes["direct_parent_order_id"] = direct
    if order.payType and order.payType != PAID_ONLINE:
        attributes["payType"] = order.payType
    kind = _invoice_type(order)
    if kind:
        attributes["invoice_type"] = kind
    easy = order.invoiceEasyInfo or InvoiceFields()
    codes = {name: getattr(easy, name) for name in ("invoiceState", "invoiceType", "invoiceContentId")}
    codes = {name: value for name, value in codes.items() if value not in (None, "")}
    if codes:
        attributes["invoiceEasyInfo"] = codes
    for name in ("invoiceTitle", "invoiceConsigneeEmail", "invoiceConsigneePhone", "invoiceCode"):
        value = getattr(easy, name)
        if value:
            context.sealed[f"invoiceEasyInfo.{name}"] = value
    if order.invoiceInfo:
        context.sealed["invoiceInfo"] = order.invoiceInfo
    if order.invoiceCode:
        context.sealed["invoiceCode"] = order.invoiceCode
    if order.vatInfo not in EMPTY:
        context.sealed["vatInfo"] = keep(order.vatInfo, "vatInfo")


def _invoice_type(order: OrderFields) -> str:
    """Tell what invoice the buyer wants (发票类型), "" where the order does not say or uses a word unknown here."""
    if order.vatInfo not in EMPTY:
        return "vat_special"
    easy = order.invoiceEasyInfo
    if easy is not None and easy.invoiceType not in (None, ""):
        return INVOICE_TYPES.get(str(easy.invoiceType), "")
    # Behind the first part stands the title: a name, in which any word may occur.
    first = (order.invoiceInfo or "").replace("；", ";").partition(";")[0]
    return next((kind for word, kind in INVOICE_WORDS if word in first), "")


def _personal(context: _Context) -> Personal:
    order, sealed = context.order, context.sealed
    sealed.update(context.unknown)  # of objects inside the order, under their paths
    customer = order.openIdBuyer or order.pin or ""
    if order.pin and order.pin != customer:
        sealed["pin"] = order.pin
    receiver = {}
    if order.consigneeInfo is not None:
        for name, place in RECEIVER.items():
            value = getattr(order.consigneeInfo, name)
            if value:
                receiver[place] = str(value)
    messages = {place: text for name, place in MESSAGES.items() if (text := getattr(order, name))}
    return Personal(customer, receiver, messages, sealed, context.of_lines)


def _region(order: OrderFields) -> str:
    """Province and city."""
    if order.consigneeInfo is None:
        return ""
    return f"{order.consigneeInfo.province or ''} {order.consigneeInfo.city or ''}".strip()
