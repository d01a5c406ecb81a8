"""One WeChat shop order becomes a canonical order.

Every field ends in one of three places: read (it has a place of its own), declared (an attribute anyone may see) or
unknown (sealed, whole). `wechat_shop_fields` says which is which. Lines have no id of their own on the wire: it is
made of product and SKU, which is also what a ship notice names them by.
"""

from typing import Final

from adapters.channels.json_fields import (
    fen_of,
    follows,
    id_of,
    keep,
    time_of,
    whole_of,
)
from adapters.channels.wechat_shop_fields import (
    DELIVERY,
    EXT,
    GONE,
    ORDER,
    PAID_WITH_POINTS,
    PAY_LATER,
    PRICE,
    RECEIVER,
    REFUNDED_WHOLLY,
    STATUSES,
    DetailFields,
)
from adapters.channels.wechat_shop_lines import (
    EMPTY,
    FETCH,
    Context,
    holds_of,
    order_lines,
    parcels_of,
    referrer_of,
    with_lines,
)
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
from domain.timehub import TimeReader

NAME: Final = "wechat_shop"
_ADD_TO_TABLE: Final = "add it to the channel's table"
_STRUCTURES: Final = ("coupon_info", "settle_info", "commission_infos")


def translate(raw: bytes, shop: str, times: TimeReader) -> Translated:
    """Turn one order into the canonical order.

    Raises:
        TranslationError: with what is wrong, where and what to do.
    """
    order, unknown = ORDER.fill(raw)
    number = id_of(order.order_id, "order_id")
    if not number:
        raise TranslationError("the order has no id", "order_id", "send one bare order with its order_id")
    code = whole_of(order.status, "status")
    if code not in STATUSES:
        raise TranslationError(f"unknown status {str(code)[:60]}", "status", _ADD_TO_TABLE)
    try:
        checked_part(shop, "shop")
        checked_part(number, "order id")
    except BadId as error:
        raise TranslationError(str(error), advice="name the shop") from None
    ordered_at = time_of(times, order.create_time, "create_time")
    if ordered_at is None:
        raise TranslationError("the order has no order time", "create_time", FETCH)

    detail = order.order_detail or DetailFields()
    context = Context(order, detail, code, times, unknown, {}, [], {}, unknown.pop("", {}))
    parcels, units = parcels_of(context)
    _sharer(context)
    status, reason = STATUSES[code]
    shipped_at = _shipped_at(context, parcels)
    if code == REFUNDED_WHOLLY and (parcels or shipped_at is not None):
        status, reason = "shipped", ""
        context.attributes["closed_after_shipping"] = True
    lines, goods, presale = order_lines(context, status, units)
    gone = status in ("shipped", "completed")
    if shipped_at is not None and not gone:
        context.attributes["ship_done_time"] = shipped_at.text
    snapshot = Snapshot(
        NAME,
        shop,
        number,
        status,
        str(code),
        _amounts(context, goods, lines, status),
        ordered_at,
        follows(time_of(times, order.update_time, "update_time"), ordered_at, "update_time") or ordered_at,
        tuple(lines),
        "presale" if presale else "normal",
        region=_region(context),
        paid_at=follows(_paid_at(context, status), ordered_at, "order_detail.pay_info.pay_time"),
        shipped_at=follows(shipped_at, ordered_at, "order_detail.delivery_info.ship_done_time") if gone else None,
        completed_at=follows(_completed_at(context, status), ordered_at, "order_detail.ext_info.confirm_receipt_time"),
        cancel_reason=reason,
        holds=holds_of(context, lines, units, status),
        parcels=tuple(with_lines(parcel, lines) for parcel in parcels),
        attributes=context.attributes,
    )
    _leftovers(context)
    return Translated(snapshot, _personal(context))


def _sharer(context: Context) -> None:
    sharer = context.detail.sharer_info
    if sharer is not None:
        context.attributes.update(referrer_of(context, sharer, "order_detail.sharer_info"))
        sku = id_of(sharer.sku_id, "sku_id", "order_detail.sharer_info")
        if sku:
            context.attributes["sharer_sku_id"] = sku


# ---- Amounts and times -----------------------------------------------------------------------------------------------


def _amounts(context: Context, goods: int, lines: list[Line], status: Status) -> Amounts:
    """Read the order's amounts and note where the sum rules do not hold; nothing is refused for that."""
    price, where, wrong, attributes = context.price, "order_detail.price_info", context.wrong, context.attributes
    if price.order_price is None:
        raise TranslationError("the order has no amount", f"{where}.order_price", FETCH)
    payable = fen_of(price.order_price, "order_price", where)
    stated = goods if price.product_price is None else fen_of(price.product_price, "product_price", where)
    freight = fen_of(price.freight, "freight", where)
    if price.change_freight is not None:
        changed = fen_of(price.change_freight, "change_freight", where)
        if changed != freight:
            attributes["change_freight"] = changed
    discount = first = fen_of(price.discounted_price, "discounted_price", where, signed=True)
    for name in ("change_down_price", "deduction_price"):
        part = fen_of(getattr(price, name), name, where, signed=True)
        if part:
            attributes[name] = part
            discount += part
    if first and first != discount:
        attributes["discounted_price"] = first
    attributes.update(PRICE.declared(price))
    original = fen_of(price.original_order_price, "original_order_price", where)
    if price.original_order_price is not None and original != stated + freight:
        attributes["original_order_price"] = original
    if stated != goods:
        rule = "product_price = sum of sale_price x sku_cnt"
        wrong.append({"rule": rule, "stated": stated, "computed": goods})
    if payable != stated + freight - discount:
        rule = "order_price = product_price + freight - discounts"
        wrong.append({"rule": rule, "stated": payable, "computed": stated + freight - discount})
    shares = sum(line.attributes.get("real_price", line.amount) for line in lines) + freight
    if payable != shares:
        wrong.append({"rule": "order_price = sum of real_price + freight", "stated": payable, "computed": shares})
    if wrong:
        attributes["amount_mismatch"] = wrong
    paid = payable if _paid_at(context, status) is not None else 0
    return Amounts("CNY", stated, discount, freight, 0, payable, paid)


def _paid_at(context: Context, status: Status) -> SourceTime | None:
    """Return when money came in; a purchase paid later, or with points, brings none at that time."""
    where = "order_detail.pay_info"
    at = time_of(context.times, context.pay.pay_time, "pay_time", where)
    method = whole_of(context.pay.payment_method, "payment_method", where)
    if at is not None and (method in (PAY_LATER, PAID_WITH_POINTS) or status == "awaiting_payment"):
        context.attributes["pay_time"] = at.text
        return None
    return at


def _completed_at(context: Context, status: Status) -> SourceTime | None:
    at = time_of(context.times, context.ext.confirm_receipt_time, "confirm_receipt_time", "order_detail.ext_info")
    if at is not None and status != "completed":
        context.attributes["confirm_receipt_time"] = at.text
        return None
    return at


def _shipped_at(context: Context, parcels: tuple[Parcel, ...]) -> SourceTime | None:
    """Return when the goods had left: as stated, else the time of the last parcel of an order that is gone."""
    at = time_of(context.times, context.delivery.ship_done_time, "ship_done_time", "order_detail.delivery_info")
    if at is None and (context.code in GONE or context.code == REFUNDED_WHOLLY):
        return max((parcel.at for parcel in parcels if parcel.at), key=lambda one: one.utc_ms, default=None)
    return at


def _leftovers(context: Context) -> None:
    """Keep what was read but has no place of its own for this order."""
    attributes, sealed, pay = context.attributes, context.sealed, context.pay
    where = "order_detail.pay_info"
    method = whole_of(pay.payment_method, "payment_method", where)
    if method > 1:
        attributes["payment_method"] = method
    prepaid = time_of(context.times, pay.prepay_time, "prepay_time", where)
    if prepaid is not None:
        attributes["prepay_time"] = prepaid.text
    transaction = id_of(pay.transaction_id, "transaction_id", where)
    if transaction:
        sealed[f"{where}.transaction_id"] = transaction
    if pay.prepay_id:
        sealed[f"{where}.prepay_id"] = pay.prepay_id
    ext = context.ext
    attributes.update(EXT.declared(ext))
    attributes.update(DELIVERY.declared(context.delivery))
    if ext.finder_id:
        attributes["finder_id"] = ext.finder_id
    live = id_of(ext.live_id, "live_id", "order_detail.ext_info")
    if live:
        attributes["live_id"] = live
    for name in _STRUCTURES:
        value = getattr(context.detail, name)
        if value not in EMPTY:
            sealed[f"order_detail.{name}"] = keep(value, f"order_detail.{name}")


def _personal(context: Context) -> Personal:
    order, sealed, ext = context.order, context.sealed, context.ext
    sealed.update(context.unknown)  # of objects inside the order, under their paths
    customer = order.openid or order.unionid or ""
    if order.unionid and order.unionid != customer:
        sealed["unionid"] = order.unionid
    address = context.delivery.address_info
    receiver = {} if address is None else {place: getattr(address, name) for name, place in RECEIVER.items()}
    if address is not None and address.use_tel_number:  # type: ignore[attr-defined] # in the form, made at run time
        receiver["use_tel_number"] = str(address.use_tel_number)  # type: ignore[attr-defined]
    messages = {"customer_notes": ext.customer_notes, "merchant_notes": ext.merchant_notes}
    return Personal(
        customer,
        {place: text for place, text in receiver.items() if text},
        {name: text for name, text in messages.items() if text},
        sealed,
        context.of_lines,
    )


def _region(context: Context) -> str:
    address = context.delivery.address_info
    if address is None:
        return ""
    return f"{address.province_name or ''} {address.city_name or ''}".strip()
