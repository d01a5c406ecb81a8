"""One Shopify order becomes a canonical order.

Every field ends in one of three places: read (it has a place of its own), declared (an attribute anyone may see) or
unknown (sealed, whole). `shopify_fields` says which is which, `shopify_lines` does the lines. Amounts are in the shop's
currency, as the platform's own sums are; what the customer saw in another one is kept beside.
"""

from typing import Any, Final, Literal

from adapters.channels.json_fields import follows, id_of, keep, time_of
from adapters.channels.json_money import currency_of
from adapters.channels.shopify_fields import (
    APPLICATION,
    CODE,
    FINANCIAL,
    FULFILLMENT,
    ORDER,
    PRESALE_WORDS,
    RECEIVER,
    SEALED,
    SETS,
    SHIPPING,
    UNPAID,
    OrderFields,
    ShippingFields,
)
from adapters.channels.shopify_lines import Moved, moved, order_lines
from adapters.channels.shopify_parts import EMPTY, Context, allocations, beside, keep_set, taxes
from domain.canonical import Amounts, Line, Personal, Snapshot, SourceTime, Status, Translated, TranslationError
from domain.ids import BadId, checked_part
from domain.timehub import TimeReader

NAME: Final = "shopify"
_ADD_TO_TABLE: Final = "add it to the channel's table"
_WHOLE: Final = "send the whole order"
_PLAIN_TOTALS: Final = {
    "current_total_price": "total_price",
    "current_subtotal_price": "subtotal_price",
    "current_total_discounts": "total_discounts",
    "current_total_tax": "total_tax",
}
"""Totals after edits and refunds, and the one that each began as."""


def translate(raw: bytes, shop: str, times: TimeReader, *, manual_capture: bool = False) -> Translated:
    """Turn one order into the canonical order.

    Raises:
        TranslationError: with what is wrong, where and what to do.
    """
    order, unknown = ORDER.fill(raw)
    number = id_of(order.id, "id")
    try:
        checked_part(shop, "shop")
        checked_part(number, "order id")
    except BadId as error:
        raise TranslationError(str(error), "" if number else "id", "name the shop") from None
    financial, fulfillment = _words(order)
    ordered_at = time_of(times, order.created_at, "created_at")
    if ordered_at is None:
        raise TranslationError("the order has no order time", "created_at", _WHOLE)
    currency = currency_of(order.currency, "currency")
    attributes = ORDER.declared(order)
    context = Context(raw, order, currency, times, unknown, {}, [], attributes, unknown.pop("", {}))

    what = moved(context)
    status, reason = _status(order, financial, fulfillment, manual_capture=manual_capture)
    if status == "cancelled" and fulfillment == "fulfilled":
        status, reason = "shipped", ""
        attributes["closed_after_shipping"] = True
    lines, goods = order_lines(context, what, status, financial, fulfillment)
    gone = status in ("shipped", "completed")
    shipped_at = max((parcel.at for parcel in what.parcels if parcel.at), key=_instant, default=None)
    snapshot = Snapshot(
        NAME,
        shop,
        number,
        status,
        "/".join(word for word in (financial, fulfillment, "cancelled" if order.cancelled_at else "") if word),
        _amounts(context, goods, financial),
        ordered_at,
        follows(time_of(times, order.updated_at, "updated_at"), ordered_at, "updated_at") or ordered_at,
        tuple(lines),
        _kind(context),
        region=_region(order),
        shipped_at=follows(shipped_at, ordered_at, "fulfillments") if gone else None,
        completed_at=_end(context, "closed_at", ordered_at, status == "completed"),
        cancelled_at=_end(context, "cancelled_at", ordered_at, status == "cancelled"),
        cancel_reason=reason,
        holds=_holds(context, what, lines, status),
        parcels=what.parcels,
        attributes=attributes,
    )
    _leftovers(context, reason, ordered_at)
    return Translated(snapshot, _personal(context))


def _instant(at: SourceTime) -> int:
    return at.utc_ms


def _words(order: OrderFields) -> tuple[str, str]:
    financial, fulfillment = order.financial_status or "", order.fulfillment_status or ""
    if financial not in FINANCIAL:
        raise TranslationError(f"unknown status {financial[:60]!r}", "financial_status", _ADD_TO_TABLE)
    if fulfillment not in FULFILLMENT:
        raise TranslationError(f"unknown status {fulfillment[:60]!r}", "fulfillment_status", _ADD_TO_TABLE)
    return financial, fulfillment


def _status(order: OrderFields, financial: str, fulfillment: str, *, manual_capture: bool) -> tuple[Status, str]:
    """Return status and reason of cancelling: the first condition that holds decides."""
    if order.cancelled_at:
        return "cancelled", order.cancel_reason or "cancelled"
    if financial == "refunded":
        return "cancelled", "refunded"
    if fulfillment == "fulfilled":
        return ("completed" if order.closed_at else "shipped"), ""
    if fulfillment == "partial":
        return "allocating", ""
    if financial in ("paid", "partially_refunded") or (financial == "authorized" and manual_capture):
        return "paid", ""
    if financial in UNPAID:
        return "awaiting_payment", ""
    return "cancelled", "voided"


def _kind(context: Context) -> Literal["normal", "presale"]:
    """Tell a presale by a tag, or the name of a line's property, that an app set."""
    tags = context.order.tags
    words = {word.strip().lower() for word in tags.split(",")} if isinstance(tags, str) else set()
    for fields in context.order.line_items or ():
        words.update(name.strip("_ ").lower() for name, _ in beside(fields.properties))
    return "presale" if words & PRESALE_WORDS else "normal"


def _holds(context: Context, what: Moved, lines: list[Line], status: Status) -> tuple[str, ...]:
    """Hold an order of which a line has left in part: what remains of it, no line can say."""
    if status not in ("paid", "allocating"):
        return ()
    partly = [line.id for line in lines if line.state == "open" and what.sent.get(line.id, 0)]
    if partly:
        context.attributes["partly_shipped"] = partly
    return ("line_partly_shipped",) if partly else ()


def _end(context: Context, name: str, ordered_at: SourceTime, fits: bool) -> SourceTime | None:
    """Read a time whose meaning hangs on the status; where it does not fit, its text stays an attribute."""
    at = time_of(context.times, getattr(context.order, name), name)
    if at is not None and not fits:
        context.attributes[name] = at.text
        return None
    return follows(at, ordered_at, name)


# ---- Amounts ---------------------------------------------------------------------------------------------------------


def _amounts(context: Context, goods: int, financial: str) -> Amounts:
    """Read the order's amounts and note where the sum rules do not hold; nothing is refused for that."""
    order, attributes = context.order, context.attributes
    total = context.amount(order.total_price, "total_price")
    if total is None:
        raise TranslationError("the order has no amount", "total_price", _WHOLE)
    stated = context.amount(order.total_line_items_price, "total_line_items_price")
    discount = context.amount(order.total_discounts, "total_discounts") or 0
    tax = context.amount(order.total_tax, "total_tax") or 0
    tip = context.amount(order.total_tip_received, "total_tip_received") or 0
    freight = _freight(context)
    if stated is None:
        stated = goods
    elif stated != goods:
        rule = "total_line_items_price = sum of price x quantity"
        context.wrong.append({"rule": rule, "stated": stated, "computed": goods})
    owed = stated + freight - discount + (0 if order.taxes_included else tax) + tip + _extra(context)
    if total != owed:
        rule = "total_price = lines + shipping - discounts + tax + tip + duties"
        context.wrong.append({"rule": rule, "stated": total, "computed": owed})
    if tip:
        attributes["total_tip_received"] = order.total_tip_received
    if order.taxes_included:
        attributes["taxes_included"] = True
    subtotal = context.amount(order.subtotal_price, "subtotal_price")
    if subtotal is not None and subtotal != stated - discount:
        attributes["subtotal_price"] = order.subtotal_price
    for name, first in _PLAIN_TOTALS.items():
        now = context.amount(getattr(order, name), name)
        if now is not None and now != context.amount(getattr(order, first), first):
            attributes[name] = getattr(order, name)
    # An edit may add goods: then the present total is what is owed. A refund lowers it, and gives money back instead.
    payable = max(total, context.amount(order.current_total_price, "current_total_price") or 0)
    if payable != total:
        attributes["total_price"] = order.total_price
    outstanding = context.amount(order.total_outstanding, "total_outstanding")
    paid = 0
    if financial in ("paid", "partially_refunded", "refunded"):
        paid = max(payable - (outstanding or 0), 0)
    elif financial == "partially_paid" and outstanding is not None:
        paid = max(payable - outstanding, 0)
    if outstanding is not None and outstanding != payable - paid:
        attributes["total_outstanding"] = order.total_outstanding
    if context.wrong:
        attributes["amount_mismatch"] = context.wrong
    return Amounts(context.currency, stated, discount, freight, tax, payable, paid)


def _freight(context: Context) -> int:
    """Add the charges for shipping, before discounts: those are in the order's discount."""
    freight = 0
    native: list[dict[str, Any]] = []
    for place, fields in enumerate(context.order.shipping_lines or ()):
        where = f"shipping_lines[{place}]"
        price = context.amount(fields.price, "price", where) or 0
        told = {"id": id_of(fields.id, "id", where), **SHIPPING.declared(fields), "price": fields.price}
        reduced = context.amount(fields.discounted_price, "discounted_price", where)
        if reduced is not None and reduced != price:
            told["discounted_price"] = fields.discounted_price
        for name, plain in (
            ("price_set", fields.price),
            ("discounted_price_set", fields.discounted_price),
            ("current_discounted_price_set", fields.discounted_price),
        ):
            keep_set(context, getattr(fields, name), name, plain, (told, context.sealed), where)
        taxes(context, fields.tax_lines, f"{where}.tax_lines", told)
        allocations(context, fields.discount_allocations, where, told)
        if fields.phone:
            context.sealed[f"{where}.phone"] = fields.phone
        if not fields.is_removed:  # type: ignore[attr-defined] # in the form, made at run time
            freight += price
        native.append(told)
    if native:
        context.attributes["shipping_lines"] = native
    return freight


def _extra(context: Context) -> int:
    """Add duties and the rounding of cash, which are told in two currencies only."""
    extra = 0
    for name in ("original_total_duties_set", "total_cash_rounding_payment_adjustment_set"):
        value = getattr(context.order, name)
        money = value.get("shop_money") if isinstance(value, dict) else None
        if isinstance(money, dict) and money.get("currency_code") == context.currency:
            extra += context.amount(money.get("amount"), "amount", f"{name}.shop_money", signed=True) or 0
    return extra


# ---- The rest --------------------------------------------------------------------------------------------------------


def _leftovers(context: Context, reason: str, ordered_at: SourceTime) -> None:
    """Keep what was read but has no place of its own for this order."""
    order, attributes, sealed = context.order, context.attributes, context.sealed
    if order.test:
        attributes["test"] = True
    if order.presentment_currency and order.presentment_currency != context.currency:
        attributes["presentment_currency"] = order.presentment_currency
    if order.cancel_reason and order.cancel_reason != reason:
        attributes["cancel_reason"] = order.cancel_reason
    if order.admin_graphql_api_id not in (None, "", f"gid://shopify/Order/{id_of(order.id, 'id')}"):
        attributes["admin_graphql_api_id"] = order.admin_graphql_api_id
    processed = time_of(context.times, order.processed_at, "processed_at")
    if processed is not None and processed.text != ordered_at.text:
        attributes["processed_at"] = processed.text
    for name, plain in SETS.items():
        said = getattr(order, plain) if plain else None
        if "shipping" in name and len(order.shipping_lines or ()) == 1:
            said = (order.shipping_lines or [ShippingFields()])[0].price
        keep_set(context, getattr(order, name), name, said, (attributes, sealed), "")
    taxes(context, order.tax_lines, "tax_lines", attributes)
    codes = [{**CODE.declared(one), "amount": one.amount} for one in order.discount_codes or ()]
    applied = [{**APPLICATION.declared(one), "value": one.value} for one in order.discount_applications or ()]
    attributes.update(
        {name: told for name, told in (("discount_codes", codes), ("discount_applications", applied)) if told}
    )
    gateways = order.payment_gateway_names
    if isinstance(gateways, list) and all(isinstance(one, str) for one in gateways):
        if gateways:
            attributes["payment_gateway_names"] = gateways
    elif gateways:
        sealed["payment_gateway_names"] = keep(gateways, "payment_gateway_names")
    context.notes(order.note_attributes, "note_attributes", attributes, sealed)
    for name in (*SEALED, "customer"):
        value = getattr(order, name)
        if value not in EMPTY:
            sealed[name] = keep(value, name)


def _personal(context: Context) -> Personal:
    order, sealed = context.order, context.sealed
    sealed.update(context.unknown)  # of objects inside the order, under their paths
    customer = order.customer
    customer_id = id_of(customer.get("id"), "id", "customer") if isinstance(customer, dict) else ""
    receiver: dict[str, str] = {}
    if (address := order.shipping_address) is not None:
        receiver = {place: text for name, place in RECEIVER.items() if (text := getattr(address, name))}
        for name in ("latitude", "longitude"):
            value = getattr(address, name)
            if value is not None:
                sealed.setdefault("shipping_address", {})[name] = keep(value, "shipping_address")
        if address.country_code:
            context.attributes["ship_to_country"] = address.country_code
    return Personal(
        customer_id,
        receiver,
        {"note": order.note} if order.note else {},
        sealed,
        context.of_lines,
    )


def _region(order: OrderFields) -> str:
    if order.shipping_address is None:
        return ""
    return f"{order.shipping_address.province or ''} {order.shipping_address.city or ''}".strip()
