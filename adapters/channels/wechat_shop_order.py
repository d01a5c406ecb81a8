"""One WeChat shop order becomes a canonical order.

Every field ends in one of three places: read (it has a place of its own), declared (an attribute anyone may see) or
unknown (sealed, whole). `wechat_shop_fields` says which is which. Lines have no id of their own on the wire: it is
made of product and SKU, which is also what a ship notice names them by.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

from adapters.channels.json_fields import (
    fen_of,
    follows,
    goods_value,
    id_of,
    keep,
    quantity_of,
    time_of,
    whole_of,
)
from adapters.channels.wechat_shop_fields import (
    AFTER_SALE_ORDER,
    DELIVERY,
    EXT,
    GONE,
    LINE,
    ORDER,
    PAID_WITH_POINTS,
    PARCEL,
    PAY_LATER,
    PRESALE_STOCK,
    PRICE,
    RECEIVER,
    REFUNDED_WHOLLY,
    SHARER,
    STATUSES,
    DeliveryFields,
    DetailFields,
    ExtFields,
    LineFields,
    OrderFields,
    PayFields,
    PriceFields,
    SharerFields,
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
from domain.ids import BadId, checked_part
from domain.timehub import TimeReader

NAME: Final = "wechat_shop"
_ADD_TO_TABLE: Final = "add it to the channel's table"
_FETCH: Final = "fetch it whole (/channels/ec/order/get)"
_STRUCTURES: Final = ("coupon_info", "settle_info", "commission_infos")
_EMPTY: Final[tuple[Any, ...]] = (None, "", 0, "0", [], {})


class _Context(NamedTuple):
    """What the parts of one order share while it is translated."""

    order: OrderFields
    detail: DetailFields
    code: int
    times: TimeReader
    unknown: dict[str, dict[str, Any]]
    """Unknown fields, by path."""
    of_lines: dict[str, dict[str, Any]]
    """Sealed fields of lines, by line id."""
    wrong: list[dict[str, Any]]
    """Sum rules that do not hold."""
    attributes: dict[str, Any]
    sealed: dict[str, Any]

    @property
    def pay(self) -> PayFields:
        return self.detail.pay_info or PayFields()

    @property
    def price(self) -> PriceFields:
        return self.detail.price_info or PriceFields()

    @property
    def delivery(self) -> DeliveryFields:
        return self.detail.delivery_info or DeliveryFields()

    @property
    def ext(self) -> ExtFields:
        return self.detail.ext_info or ExtFields()


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
        raise TranslationError("the order has no order time", "create_time", _FETCH)

    detail = order.order_detail or DetailFields()
    context = _Context(order, detail, code, times, unknown, {}, [], {}, unknown.pop("", {}))
    parcels, units = _parcels(context)
    _sharer(context)
    status, reason = STATUSES[code]
    shipped_at = _shipped_at(context, parcels)
    if code == REFUNDED_WHOLLY and (parcels or shipped_at is not None):
        status, reason = "shipped", ""
        context.attributes["closed_after_shipping"] = True
    lines, goods, presale = _lines(context, status, units)
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
        holds=_holds(context, lines, units, status),
        parcels=tuple(_with_lines(parcel, lines) for parcel in parcels),
        attributes=context.attributes,
    )
    _leftovers(context)
    return Translated(snapshot, _personal(context))


# ---- Lines -----------------------------------------------------------------------------------------------------------


def _lines(context: _Context, status: Status, units: dict[str, int]) -> tuple[list[Line], int, bool]:
    """Translate the lines; return them, the sum of price times quantity, and whether any is a presale."""
    found = context.detail.product_infos
    if not found:
        raise TranslationError("the order has no lines", "order_detail.product_infos", _FETCH)
    referrers = _sku_referrers(context)
    after_sales = _after_sale_ids(context)
    left = dict(units)
    lines: list[Line] = []
    seen: dict[str, int] = {}
    goods, presale = 0, False
    paid_lines = any(fields.real_price for fields in found)
    for place, fields in enumerate(found):
        where = f"order_detail.product_infos[{place}]"
        item = item_of(fields.product_id, fields.sku_id, where)
        if not item:
            raise TranslationError("the line names no product", f"{where}.product_id")
        seen[item] = seen.get(item, 0) + 1
        line_id = item if seen[item] == 1 else f"{item}#{seen[item]}"
        line = _line(context, fields, where, (line_id, item), status, left, after_sales, paid_lines)
        referrer = referrers.get(item.rpartition("/")[2])
        if referrer:
            line.attributes.update(referrer)
        presale = presale or _is_presale(fields, where)
        goods += whole_of(fields.sale_price, "sale_price", where) * whole_of(fields.sku_cnt, "sku_cnt", where)
        lines.append(line)
    return lines, goods, presale


def item_of(product: object, sku: object, where: str) -> str:
    """Return how a line, and the goods of a parcel, are named: product and SKU.

    Raises:
        TranslationError: one of them is no id.
    """
    first, second = id_of(product, "product_id", where), id_of(sku, "sku_id", where)
    return f"{first}/{second}" if second else first


def _is_presale(fields: LineFields, where: str) -> bool:
    info = fields.sku_deliver_info
    return info is not None and whole_of(info.stock_type, "stock_type", f"{where}.sku_deliver_info") == PRESALE_STOCK


def _line(
    context: _Context,
    fields: LineFields,
    where: str,
    names: tuple[str, str],
    status: Status,
    left: dict[str, int],
    after_sales: list[str],
    paid_lines: bool,
) -> Line:
    line_id, item = names
    declared = LINE.declared(fields)
    count = quantity_of(fields.sku_cnt, "sku_cnt", where)
    price = fen_of(fields.sale_price, "sale_price", where)
    goods = goods_value(price, count, "sale_price", where)
    amount = goods if fields.real_price is None else fen_of(fields.real_price, "real_price", where)
    open_units = _count(fields.on_aftersale_sku_cnt, "on_aftersale_sku_cnt", where)
    done_units = _count(fields.finish_aftersale_sku_cnt, "finish_aftersale_sku_cnt", where)
    sent = min(left.get(item, 0), count)
    # Parcels that name no goods hold everything; a line that is in none of those that do has not left.
    shipped = sent >= count or (status in ("shipped", "completed") and (sent > 0 or not left))
    if sent:
        left[item] -= sent
    refunded = done_units >= count or context.code == REFUNDED_WHOLLY
    state: Literal["open", "shipped", "cancelled"] = "open"
    quantity = count
    if shipped:
        state = "shipped"
    elif refunded or status == "cancelled":
        state = "cancelled"
    elif done_units:
        # Units refunded before they were shipped are not wanted any more; the order states no amount for them.
        quantity = count - done_units
        declared["sku_cnt"], declared["real_price"] = count, amount
        amount = amount * quantity // count
    after_sale: AfterSale = ""
    if open_units:
        after_sale = "open"
    elif refunded or (done_units and state == "shipped"):
        after_sale = "refunded"
    if open_units or done_units:
        declared["on_aftersale_sku_cnt"], declared["finish_aftersale_sku_cnt"] = open_units, done_units
    _line_extras(context, fields, where, line_id, declared, {"sale_price": price, "real_price": amount})
    title, sku = fields.title or "", fields.sku_code or id_of(fields.out_sku_id, "out_sku_id", where)
    return Line(
        line_id,
        sku,
        quantity,
        title,
        item,
        ";".join(f"{attr.attr_key or ''}:{attr.attr_value or ''}" for attr in fields.sku_attrs or ()),
        price,
        price * quantity - amount,
        amount,
        amount == 0 and state != "cancelled" and (paid_lines or "赠" in title),
        state,
        after_sale,
        after_sales[0] if after_sale and len(after_sales) == 1 else "",
        declared,
    )


def _line_extras(
    context: _Context, fields: LineFields, where: str, line_id: str, declared: dict[str, Any], said: dict[str, int]
) -> None:
    """Keep what has no place of its own in the line."""
    for name in ("out_product_id", "out_sku_id"):
        number = id_of(getattr(fields, name), name, where)
        if number and number != fields.sku_code:
            declared[name] = number
    implied = {"market_price": said["sale_price"], "estimate_price": said["real_price"]}
    for name in ("market_price", "estimate_price", "change_price", "deduction_price"):
        value = getattr(fields, name)
        if value is not None:
            amount = fen_of(value, name, where, signed=True)
            if amount != implied.get(name, 0):
                declared[name] = amount
    due = time_of(context.times, fields.delivery_deadline, "delivery_deadline", where)
    if due is not None:
        declared["delivery_deadline"] = due.text
    if (info := fields.sku_deliver_info) is not None:
        place = f"{where}.sku_deliver_info"
        form: Any = LINE.nested["sku_deliver_info"]
        declared.update(form.declared(info))
        stock = whole_of(info.stock_type, "stock_type", place)
        if stock:
            declared["stock_type"] = stock
        predicted = time_of(context.times, info.predict_delivery_time, "predict_delivery_time", place)
        if predicted is not None:
            declared["predict_delivery_time"] = predicted.text
    sealed = context.unknown.pop(where, {}) if context.unknown else {}
    if fields.extra_service not in _EMPTY:
        sealed["extra_service"] = keep(fields.extra_service, where)
    if sealed:
        context.of_lines[line_id] = sealed


def _count(value: object, name: str, where: str) -> int:
    count = whole_of(value, name, where)
    if count < 0:
        raise TranslationError(f"{count} is no number of units", f"{where}.{name}")
    return count


# ---- After-sales, parcels, sharers -----------------------------------------------------------------------------------


def _after_sale_ids(context: _Context) -> list[str]:
    found = context.order.aftersale_detail
    if found is None:
        return []
    running = whole_of(found.on_aftersale_order_cnt, "on_aftersale_order_cnt", "aftersale_detail")
    if running:
        context.attributes["on_aftersale_order_cnt"] = running
    numbers: list[str] = []
    native: list[dict[str, Any]] = []
    for place, fields in enumerate(found.aftersale_order_list or ()):
        where = f"aftersale_detail.aftersale_order_list[{place}]"
        numbers.append(id_of(fields.aftersale_order_id, "aftersale_order_id", where))
        native.append({"aftersale_order_id": numbers[-1], **AFTER_SALE_ORDER.declared(fields)})
    if native:
        context.attributes["aftersale_order_list"] = native
    return [number for number in numbers if number]


def _parcels(context: _Context) -> tuple[tuple[Parcel, ...], dict[str, int]]:
    """Return the parcels, and how many units of each product and SKU are in them."""
    parcels: list[Parcel] = []
    native: list[dict[str, Any]] = []
    units: dict[str, int] = {}
    for place, fields in enumerate(context.delivery.delivery_product_info or ()):
        where = f"order_detail.delivery_info.delivery_product_info[{place}]"
        items: dict[str, None] = {}
        counts: list[dict[str, Any]] = []
        for number, product in enumerate(fields.product_infos or ()):
            inner = f"{where}.product_infos[{number}]"
            item = item_of(product.product_id, product.sku_id, inner)
            count = _count(product.product_cnt, "product_cnt", inner)
            counts.append({"item": item, "product_cnt": count})
            units[item] = units.get(item, 0) + count
            if item:
                items[item] = None
        at = time_of(context.times, fields.delivery_time, "delivery_time", where)
        tracking = id_of(fields.waybill_id, "waybill_id", where)
        parcels.append(Parcel(fields.delivery_name or fields.delivery_id or "", tracking, tuple(items), at))
        native.append({"delivery_id": fields.delivery_id or "", **PARCEL.declared(fields), "product_infos": counts})
        if fields.delivery_address not in _EMPTY:
            context.sealed[f"{where}.delivery_address"] = keep(fields.delivery_address, where)
    if native:
        context.attributes["delivery_product_info"] = native
    return tuple(parcels), units


def _with_lines(parcel: Parcel, lines: list[Line]) -> Parcel:
    """Name the lines of a parcel, of which its products are known so far."""
    ids = tuple(line.id for line in lines if line.item in parcel.lines)
    return Parcel(parcel.carrier, parcel.tracking, ids, parcel.at)


def _sharer(context: _Context) -> None:
    sharer = context.detail.sharer_info
    if sharer is not None:
        context.attributes.update(_referrer(context, sharer, "order_detail.sharer_info"))
        sku = id_of(sharer.sku_id, "sku_id", "order_detail.sharer_info")
        if sku:
            context.attributes["sharer_sku_id"] = sku


def _sku_referrers(context: _Context) -> dict[str, dict[str, Any]]:
    """Return what is said of the sharer of each SKU."""
    found: dict[str, dict[str, Any]] = {}
    for place, sharer in enumerate(context.detail.sku_sharer_infos or ()):
        where = f"order_detail.sku_sharer_infos[{place}]"
        sku = id_of(sharer.sku_id, "sku_id", where)
        if sku in found or not any(id_of(one.sku_id, "sku_id") == sku for one in context.detail.product_infos or ()):
            told = {"sku_id": sku, **_referrer(context, sharer, where)}
            context.attributes.setdefault("sku_sharer_infos", []).append(told)
        else:
            found[sku] = _referrer(context, sharer, where)
    return found


def _referrer(context: _Context, sharer: SharerFields, where: str) -> dict[str, Any]:
    """Return the sharer's id as the referrer (推荐人ID). Their other id would join them to other shops: sealed."""
    found = SHARER.declared(sharer)
    if sharer.sharer_openid:
        found["referrer_id"] = sharer.sharer_openid
    if sharer.sharer_unionid:
        context.sealed[f"{where}.sharer_unionid"] = sharer.sharer_unionid
    return found


def _holds(context: _Context, lines: Iterable[Line], units: dict[str, int], status: Status) -> tuple[str, ...]:
    """Hold an order of which a line has left in part: what remains of it, no line can say."""
    if status not in ("paid", "allocating"):
        return ()
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.item] = wanted.get(line.item, 0) + (line.quantity if line.state != "cancelled" else 0)
    partly = [item for item, sent in units.items() if 0 < sent < wanted.get(item, 0)]
    if partly:
        context.attributes["partly_shipped"] = partly
    return ("line_partly_shipped",) if partly else ()


# ---- Amounts and times -----------------------------------------------------------------------------------------------


def _amounts(context: _Context, goods: int, lines: list[Line], status: Status) -> Amounts:
    """Read the order's amounts and note where the sum rules do not hold; nothing is refused for that."""
    price, where, wrong, attributes = context.price, "order_detail.price_info", context.wrong, context.attributes
    if price.order_price is None:
        raise TranslationError("the order has no amount", f"{where}.order_price", _FETCH)
    payable = fen_of(price.order_price, "order_price", where)
    stated = goods if price.product_price is None else fen_of(price.product_price, "product_price", where)
    freight = fen_of(price.freight, "freight", where)
    if price.change_freight is not None:
        changed = fen_of(price.change_freight, "change_freight", where)
        if changed != freight:
            attributes["change_freight"] = changed
    discount = fen_of(price.discounted_price, "discounted_price", where, signed=True)
    for name in ("change_down_price", "deduction_price"):
        part = fen_of(getattr(price, name), name, where, signed=True)
        if part:
            attributes[name] = part
            discount += part
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


def _paid_at(context: _Context, status: Status) -> SourceTime | None:
    """Return when money came in; a purchase paid later, or with points, brings none at that time."""
    where = "order_detail.pay_info"
    at = time_of(context.times, context.pay.pay_time, "pay_time", where)
    method = whole_of(context.pay.payment_method, "payment_method", where)
    if at is not None and (method in (PAY_LATER, PAID_WITH_POINTS) or status == "awaiting_payment"):
        context.attributes["pay_time"] = at.text
        return None
    return at


def _completed_at(context: _Context, status: Status) -> SourceTime | None:
    at = time_of(context.times, context.ext.confirm_receipt_time, "confirm_receipt_time", "order_detail.ext_info")
    if at is not None and status != "completed":
        context.attributes["confirm_receipt_time"] = at.text
        return None
    return at


def _shipped_at(context: _Context, parcels: tuple[Parcel, ...]) -> SourceTime | None:
    """Return when the goods had left: as stated, else the time of the last parcel of an order that is gone."""
    at = time_of(context.times, context.delivery.ship_done_time, "ship_done_time", "order_detail.delivery_info")
    if at is None and (context.code in GONE or context.code == REFUNDED_WHOLLY):
        return max((parcel.at for parcel in parcels if parcel.at), key=lambda one: one.utc_ms, default=None)
    return at


def _leftovers(context: _Context) -> None:
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
        if value not in _EMPTY:
            sealed[f"order_detail.{name}"] = keep(value, f"order_detail.{name}")


def _personal(context: _Context) -> Personal:
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


def _region(context: _Context) -> str:
    address = context.delivery.address_info
    if address is None:
        return ""
    return f"{address.province_name or ''} {address.city_name or ''}".strip()
