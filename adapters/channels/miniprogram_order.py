"""One order of the merchant's own mini-program becomes a canonical order.

Every field ends in one of three places: read (it has a place of its own), declared (an attribute anyone may see) or
unknown (sealed, whole). `miniprogram_fields` says which is which.
"""

from typing import Any, Final, NamedTuple

from adapters.channels.json_fields import (
    fen_of,
    follows,
    goods_value,
    id_of,
    path,
    quantity_of,
    split_object,
    time_of,
)
from adapters.channels.miniprogram_fields import EVENT, LINE, ORDER, EventFields, LineFields, OrderFields
from adapters.channels.own_words import AFTER_SALES, KINDS, STATES, STATUS_ADVICE, STATUSES
from domain.canonical import (
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
from domain.ids import BadId, checked_part
from domain.money import BadMoney, digits_of
from domain.timehub import TimeReader

NAME: Final = "miniprogram"
_WHOLE: Final = "push the whole order"


class _Context(NamedTuple):
    """What the parts of one order share while it is translated."""

    order: OrderFields
    where: str
    """Path of the order in what was pushed: `order`, or "" where it came without an event around it."""
    times: TimeReader
    unknown: dict[str, dict[str, Any]]
    """Unknown fields, by path."""
    of_lines: dict[str, dict[str, Any]]
    """Sealed fields of lines, by line id."""
    wrong: list[dict[str, Any]]
    """Sum rules that do not hold."""
    attributes: dict[str, Any]
    sealed: dict[str, Any]

    def fen(self, name: str) -> int:
        return fen_of(getattr(self.order, name), name, self.where)

    def time(self, name: str) -> SourceTime | None:
        return time_of(self.times, getattr(self.order, name), name, self.where)


def translate(raw: bytes, shop: str, times: TimeReader) -> Translated:
    """Turn one event, or one bare order, into the canonical order.

    Raises:
        TranslationError: with what is wrong, where and what to do.
    """
    members = split_object(raw)
    event: Any
    if members is None or "order" in members:
        event, unknown = EVENT.fill(raw)
        order, where = event.order, "order"
        if order is None:
            raise TranslationError("the event has no order", "order", _WHOLE)
        attributes = EVENT.declared(event)
    else:
        order, unknown = ORDER.fill(raw)
        event, where, attributes = EventFields(), "", {}
    attributes.update(ORDER.declared(order))
    context = _Context(order, where, times, unknown, {}, [], attributes, unknown.pop("", {}))

    status = STATUSES.get((order.status or "").strip())
    if status is None:
        raise TranslationError(f"unknown status {(order.status or '')[:60]!r}", path(where, "status"), STATUS_ADVICE)
    kind = KINDS.get(order.kind or "normal")
    if kind is None:
        raise TranslationError(
            f"unknown kind {(order.kind or '')[:60]!r}", path(where, "kind"), f"one of {list(KINDS)}"
        )
    ordered_at = context.time("created_at")
    if ordered_at is None:
        raise TranslationError("the order has no order time", path(where, "created_at"), _WHOLE)
    shop, number = _named(context, shop, event.appid)
    lines, goods = _lines(context, status)
    stages = {name: _stage(context, name, ordered_at, status) for name in _STAGES}
    snapshot = Snapshot(
        NAME,
        shop,
        number,
        status,
        order.status or "",
        _amounts(context, goods, lines, status),
        ordered_at,
        _modified_at(context, event, ordered_at),
        tuple(lines),
        kind,
        region=_region(order),
        pay_by=stages["pay_by"],
        paid_at=stages["paid_at"],
        shipped_at=stages["shipped_at"],
        completed_at=stages["completed_at"],
        cancelled_at=stages["cancelled_at"],
        cancel_reason=(order.cancel_reason or "") if status == "cancelled" else "",
        holds=tuple(order.holds or ()),
        parcels=_parcels(context),
        attributes=attributes,
    )
    if order.cancel_reason and status != "cancelled":
        attributes["cancel_reason"] = order.cancel_reason
    return Translated(snapshot, _personal(context))


_STAGES: Final[dict[str, tuple[Status, ...]]] = {
    "pay_by": ("awaiting_payment",),
    "paid_at": ("paid", "allocating", "shipped", "completed", "cancelled"),
    "shipped_at": ("shipped", "completed"),
    "completed_at": ("completed",),
    "cancelled_at": ("cancelled",),
}
"""The statuses in which a time means what its name says; in others its text stays an attribute."""


def _stage(context: _Context, name: str, ordered_at: SourceTime, status: Status) -> SourceTime | None:
    at = context.time(name)
    if at is None or status in _STAGES[name]:
        return follows(at, ordered_at, path(context.where, name))
    context.attributes[name] = at.text
    return None


def _modified_at(context: _Context, event: EventFields, ordered_at: SourceTime) -> SourceTime:
    """Return when the order last changed: its own word, else when the event happened."""
    updated = follows(context.time("updated_at"), ordered_at, path(context.where, "updated_at"))
    occurred = follows(time_of(context.times, event.occurred_at, "occurred_at"), ordered_at, "occurred_at")
    if updated is not None and occurred is not None and occurred.text != updated.text:
        context.attributes["occurred_at"] = occurred.text
    return updated or occurred or ordered_at


def _named(context: _Context, shop: str, outer: str | None) -> tuple[str, str]:
    """Return shop and order number; keep the mini-program's own id where the shop has another name."""
    for own in (context.order.appid, outer):
        if own and own != (shop := shop or own):
            context.attributes["appid"] = own
    number = id_of(context.order.order_no, "order_no", context.where)
    try:
        return checked_part(shop, "shop"), checked_part(number, "order number")
    except BadId as error:
        raise TranslationError(str(error), advice="name the shop") from None


# ---- Lines and parcels -----------------------------------------------------------------------------------------------


def _lines(context: _Context, status: Status) -> tuple[list[Line], int]:
    """Translate the lines; return them and the sum of price times quantity."""
    if not context.order.lines:
        raise TranslationError("the order has no lines", path(context.where, "lines"), _WHOLE)
    lines: list[Line] = []
    ids: set[str] = set()
    goods = 0
    for place, fields in enumerate(context.order.lines):
        where = path(context.where, f"lines[{place}]")
        line = _line(context, fields, where, status)
        if line.id in ids:
            raise TranslationError(f"two lines have the id {line.id}", f"{where}.line_id")
        ids.add(line.id)
        goods += line.unit_price * line.quantity
        lines.append(line)
    return lines, goods


def _line(context: _Context, fields: LineFields, where: str, status: Status) -> Line:
    line_id = id_of(fields.line_id, "line_id", where)
    if not line_id:
        raise TranslationError("the line has no id", f"{where}.line_id")
    default = "shipped" if status in ("shipped", "completed") else "cancelled" if status == "cancelled" else "open"
    state = STATES.get(fields.state or default)
    if state is None:
        raise TranslationError(
            f"unknown state {(fields.state or '')[:60]!r}", f"{where}.state", f"one of {list(STATES)}"
        )
    after_sale = AFTER_SALES.get(fields.after_sale or "")
    if after_sale is None:
        advice = f"one of {list(AFTER_SALES)}"
        raise TranslationError(f"unknown after-sale {(fields.after_sale or '')[:60]!r}", f"{where}.after_sale", advice)
    declared = LINE.declared(fields)
    quantity = quantity_of(fields.qty, "qty", where)
    price = fen_of(fields.unit_price_fen, "unit_price_fen", where)
    goods = goods_value(price, quantity, "unit_price_fen", where)
    discount = fen_of(fields.discount_fen, "discount_fen", where)
    amount = goods - discount
    if fields.amount_fen is not None:
        amount = fen_of(fields.amount_fen, "amount_fen", where)
        if fields.discount_fen is not None and amount != goods - discount:
            declared["discount_fen"] = discount
            rule = f"{where}.amount_fen = unit_price_fen x qty - discount_fen"
            context.wrong.append({"rule": rule, "stated": amount, "computed": goods - discount})
    elif amount < 0:
        raise TranslationError("more discount than the line costs", f"{where}.discount_fen", "correct it at its source")
    sealed = context.unknown.pop(where, {}) if context.unknown else {}
    if fields.engraving:
        declared["customized"] = True
        sealed["engraving"] = fields.engraving
    if sealed:
        context.of_lines[line_id] = sealed
    item, variant = id_of(fields.product_id, "product_id", where), id_of(fields.sku_id, "sku_id", where)
    return Line(
        line_id,
        fields.sku or "",
        quantity,
        fields.title or "",
        f"{item}/{variant}" if variant else item,
        fields.spec or "",
        price,
        goods - amount,
        amount,
        bool(fields.is_gift),
        state,
        after_sale,
        id_of(fields.after_sale_id, "after_sale_id", where),
        declared,
    )


def _parcels(context: _Context) -> tuple[Parcel, ...]:
    parcels = []
    for place, fields in enumerate(context.order.parcels or ()):
        where = path(context.where, f"parcels[{place}]")
        ids = tuple(id_of(one, "line_ids", where) for one in fields.line_ids or ())
        at = time_of(context.times, fields.shipped_at, "shipped_at", where)
        parcels.append(Parcel(fields.carrier or "", id_of(fields.tracking_no, "tracking_no", where), ids, at))
    return tuple(parcels)


# ---- The rest --------------------------------------------------------------------------------------------------------


def _amounts(context: _Context, goods: int, lines: list[Line], status: Status) -> Amounts:
    """Read the order's amounts and note where the sum rules do not hold; nothing is refused for that."""
    order, where = context.order, context.where
    currency = order.currency or "CNY"
    try:
        digits_of(currency)
    except BadMoney as error:
        raise TranslationError(str(error), path(where, "currency"), "use the ISO 4217 code, such as CNY") from None
    if order.payable_fen is None:
        raise TranslationError("the order has no amount", path(where, "payable_fen"), _WHOLE)
    payable = context.fen("payable_fen")
    stated = goods if order.goods_amount_fen is None else context.fen("goods_amount_fen")
    freight, tax = context.fen("freight_fen"), context.fen("tax_fen")
    spread = sum(line.amount for line in lines)
    discount = goods - spread if order.discount_fen is None else context.fen("discount_fen")
    rules = (
        ("goods_amount_fen = sum of unit_price_fen x qty", stated, goods),
        ("payable_fen = goods_amount_fen - discount_fen + freight_fen + tax_fen", payable,
         stated - discount + freight + tax),
        ("payable_fen = sum of lines' amounts + freight_fen + tax_fen", payable, spread + freight + tax),
    )  # fmt: skip
    for rule, said, computed in rules:
        if said != computed:
            context.wrong.append({"rule": rule, "stated": said, "computed": computed})
    if context.wrong:
        context.attributes["amount_mismatch"] = context.wrong
    if order.paid_fen is not None:
        paid = context.fen("paid_fen")
    else:
        paid = payable if status != "awaiting_payment" and context.time("paid_at") is not None else 0
    return Amounts(currency, stated, discount, freight, tax, payable, paid)


def _personal(context: _Context) -> Personal:
    order, sealed = context.order, context.sealed
    sealed.update(context.unknown)  # of objects inside, under their paths; of the order itself too, in an event
    member, where = id_of(order.member_id, "member_id", context.where), context.where
    customer = member or order.openid or order.unionid or ""
    for name, value in (("openid", order.openid), ("unionid", order.unionid)):
        if value and value != customer:
            sealed[path(where, name)] = value
    transaction = id_of(order.wx_transaction_id, "wx_transaction_id", where)
    if transaction:
        sealed[path(where, "wx_transaction_id")] = transaction
    if (invoice := order.invoice) is not None:
        if invoice.type:
            context.attributes["invoice_type"] = invoice.type
        told = {"title": invoice.title, "tax_no": invoice.tax_no, "email": invoice.email}
        if any(told.values()):
            invoiced = sealed.setdefault(path(where, "invoice"), {})
            invoiced.update({name: text for name, text in told.items() if text})
    receiver: dict[str, str | None] = {}
    if (fields := order.receiver) is not None:
        for name in ("name", "phone", "country", "province", "city", "district", "town", "zip"):
            receiver[name] = getattr(fields, name)
        receiver["detail"] = fields.address
        receiver["address_id"] = id_of(fields.address_id, "address_id", path(where, "receiver"))
    messages = {"buyer_message": order.buyer_message, "seller_memo": order.seller_memo}
    return Personal(
        customer,
        {name: text for name, text in receiver.items() if text},
        {name: text for name, text in messages.items() if text},
        sealed,
        context.of_lines,
    )


def _region(order: OrderFields) -> str:
    if order.receiver is None:
        return ""
    return f"{order.receiver.province or ''} {order.receiver.city or ''}".strip()
