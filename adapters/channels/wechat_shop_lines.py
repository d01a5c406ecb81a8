"""The lines of a WeChat shop order, and what parcels, after-sales and sharers say of them.

Lines have no id of their own on the wire: it is made of product and SKU, which is also what a ship notice and the
goods of a parcel name them by.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

from adapters.channels.json_fields import fen_of, goods_value, id_of, keep, quantity_of, time_of, whole_of
from adapters.channels.wechat_shop_fields import (
    AFTER_SALE_ORDER,
    DELIVERY,
    EXT,
    LINE,
    PARCEL,
    PAY,
    PRESALE_STOCK,
    PRICE,
    REFUNDED_WHOLLY,
    SHARER,
    DeliveryFields,
    DetailFields,
    ExtFields,
    LineFields,
    OrderFields,
    PayFields,
    PriceFields,
    SharerFields,
)
from adapters.channels.wire_lines import numbered
from domain.canonical import AfterSale, Line, Parcel, Status, TranslationError
from domain.timehub import TimeReader

FETCH: Final = "fetch it whole (/channels/ec/order/get)"
_LINES: Final = "order_detail.product_infos"
EMPTY: Final[tuple[Any, ...]] = (None, "", 0, "0", [], {})


class Context(NamedTuple):
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
        """The payment, empty where there is none."""
        return self.detail.pay_info or PAY.struct()

    @property
    def price(self) -> PriceFields:
        """The amounts."""
        return self.detail.price_info or PRICE.struct()

    @property
    def delivery(self) -> DeliveryFields:
        """Address and parcels."""
        return self.detail.delivery_info or DELIVERY.struct()

    @property
    def ext(self) -> ExtFields:
        """Remarks and where the customer came from."""
        return self.detail.ext_info or EXT.struct()


def order_lines(context: Context, status: Status, units: dict[str, int]) -> tuple[list[Line], int, bool]:
    """Translate the lines; return them, the sum of price times quantity, and whether any is a presale."""
    found = context.detail.product_infos
    if not found:
        raise TranslationError("the order has no lines", _LINES, FETCH)
    referrers = _sku_referrers(context)
    after_sales = _after_sale_ids(context)
    left = dict(units)
    lines: list[Line] = []
    goods, presale = 0, False
    paid_lines = any(fields.real_price for fields in found)
    items, values = _items(found)
    ids = numbered(items, values, _LINES)
    for place, (fields, item) in enumerate(zip(found, items, strict=True)):
        where = f"{_LINES}[{place}]"
        line_id = ids[place]
        line = _line(context, fields, where, (line_id, item), status, left, after_sales, paid_lines)
        referrer = referrers.get(item.rpartition("/")[2])
        if referrer:
            line.attributes.update(referrer)
        presale = presale or _is_presale(fields, where)
        goods += whole_of(fields.sale_price, "sale_price", where) * whole_of(fields.sku_cnt, "sku_cnt", where)
        lines.append(line)
    return lines, goods, presale


def _items(found: list[LineFields]) -> tuple[list[str], list[tuple[int, int]]]:
    """Return what the lines are of, and for each what is paid for it and how many units it has."""
    items, values = [], []
    for place, fields in enumerate(found):
        where = f"{_LINES}[{place}]"
        items.append(item_of(fields.product_id, fields.sku_id, where))
        if not items[-1].partition("/")[0]:
            raise TranslationError("the line names no product", f"{where}.product_id")
        price = fen_of(fields.real_price, "real_price", where)
        values.append((price, quantity_of(fields.sku_cnt, "sku_cnt", where)))
    return items, values


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
    context: Context,
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
    context: Context, fields: LineFields, where: str, line_id: str, declared: dict[str, Any], said: dict[str, int]
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
    if fields.extra_service not in EMPTY:
        sealed["extra_service"] = keep(fields.extra_service, where)
    if sealed:
        context.of_lines[line_id] = sealed


def _count(value: object, name: str, where: str) -> int:
    count = whole_of(value, name, where)
    if count < 0:
        raise TranslationError(f"{count} is no number of units", f"{where}.{name}")
    return count


# ---- After-sales, parcels, sharers -----------------------------------------------------------------------------------


def _after_sale_ids(context: Context) -> list[str]:
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


def parcels_of(context: Context) -> tuple[tuple[Parcel, ...], dict[str, int]]:
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
        if fields.delivery_address not in EMPTY:
            context.sealed[f"{where}.delivery_address"] = keep(fields.delivery_address, where)
    if native:
        context.attributes["delivery_product_info"] = native
    return tuple(parcels), units


def with_lines(parcel: Parcel, lines: list[Line]) -> Parcel:
    """Name the lines of a parcel, of which its products are known so far."""
    ids = tuple(line.id for line in lines if line.item in parcel.lines)
    return Parcel(parcel.carrier, parcel.tracking, ids, parcel.at)


def _sku_referrers(context: Context) -> dict[str, dict[str, Any]]:
    """Return what is said of the sharer of each SKU."""
    found: dict[str, dict[str, Any]] = {}
    for place, sharer in enumerate(context.detail.sku_sharer_infos or ()):
        where = f"order_detail.sku_sharer_infos[{place}]"
        sku = id_of(sharer.sku_id, "sku_id", where)
        if sku in found or not any(id_of(one.sku_id, "sku_id") == sku for one in context.detail.product_infos or ()):
            told = {"sku_id": sku, **referrer_of(context, sharer, where)}
            context.attributes.setdefault("sku_sharer_infos", []).append(told)
        else:
            found[sku] = referrer_of(context, sharer, where)
    return found


def referrer_of(context: Context, sharer: SharerFields, where: str) -> dict[str, Any]:
    """Return the sharer's id as the referrer (推荐人ID). Their other id would join them to other shops: sealed."""
    found = SHARER.declared(sharer)
    if sharer.sharer_openid:
        found["referrer_id"] = sharer.sharer_openid
    if sharer.sharer_unionid:
        context.sealed[f"{where}.sharer_unionid"] = sharer.sharer_unionid
    return found


def holds_of(context: Context, lines: Iterable[Line], units: dict[str, int], status: Status) -> tuple[str, ...]:
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
