"""One Pinduoduo order becomes a canonical order.

Every field ends in one of three places: read (it has a place of its own), declared (an attribute anyone may see) or
unknown (sealed, whole). `pinduoduo_fields` says which is which. Lines have no id of their own on the wire: it is their
SKU's, and `gift-` with it for gifts, which stand outside the lines.
"""

from typing import Any, Final, Literal, NamedTuple

from adapters.channels.json_fields import follows, id_of, keep, time_of, whole_of
from adapters.channels.pinduoduo_fields import (
    DEPOT,
    GIFT,
    GIFT_APART,
    ITEM,
    MESSAGES,
    ORDER,
    RECEIVER,
    RELATED,
    SEALED,
    WARE,
    ItemFields,
    OrderFields,
)
from adapters.channels.pinduoduo_money import FETCH, Goods, read_amounts, read_goods, read_step
from adapters.channels.pinduoduo_parcels import read_parcels
from adapters.channels.pinduoduo_status import (
    Codes,
    after_sale_of,
    cancel_reason,
    holds_of,
    is_set,
    read_codes,
    status_of,
)
from adapters.channels.wire_lines import numbered, spread
from domain.canonical import (
    AfterSale,
    Line,
    Personal,
    Snapshot,
    SourceTime,
    Status,
    Translated,
    TranslationError,
)
from domain.ids import BadId, checked_part
from domain.money import format_minor
from domain.timehub import TimeReader

NAME: Final = "pinduoduo"
_EMPTY: Final[tuple[Any, ...]] = (None, "", [], {})


class _Context(NamedTuple):
    """What the parts of one order share while it is translated."""

    order: OrderFields
    codes: Codes
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
    number = id_of(order.order_sn, "order_sn")
    if not number:
        raise TranslationError("the order has no id", "order_sn", "send one bare order with its order_sn")
    codes = read_codes(order)
    ordered_at = time_of(times, order.created_time, "created_time")
    if ordered_at is None:
        raise TranslationError("the order has no order time", "created_time", FETCH)

    context = _Context(order, codes, times, unknown, {}, ORDER.declared(order), unknown.pop("", {}))
    attributes = context.attributes
    step = read_step(order, attributes)
    status = status_of(codes, step)
    paid = follows(time_of(times, order.pay_time, "pay_time"), ordered_at, "pay_time")
    left = follows(time_of(times, order.shipping_time, "shipping_time"), ordered_at, "shipping_time")
    signed = follows(time_of(times, order.receive_time, "receive_time"), ordered_at, "receive_time")
    made = follows(time_of(times, order.confirm_time, "confirm_time"), ordered_at, "confirm_time")
    lines, gifts, goods, discount_shares = _lines(context, status, left)
    amounts = read_amounts(order, goods, (status, step, paid is not None), attributes)
    lines = _discounted(lines, discount_shares, amounts.discount)
    gone = status in ("shipped", "completed")
    for name, at, fits in (
        ("pay_time", paid, status != "awaiting_payment"),
        ("shipping_time", left, gone or status == "cancelled"),
        ("receive_time", signed, status == "completed"),
        ("confirm_time", made, False),
    ):
        if at is not None and not fits:
            attributes[name] = at.text
    named = [line.id for line in lines], [line.id for line in gifts]
    parcels = read_parcels(order, left, named, attributes)
    holds = holds_of(order, codes, (status, step), paid is not None, bool(gifts))
    _leftovers(context)
    snapshot = Snapshot(
        NAME,
        _shop(context, shop, number),
        number,
        status,
        f"confirm_status={codes.confirm} order_status={codes.order} refund_status={codes.refund}",
        amounts,
        ordered_at,
        follows(time_of(times, order.updated_at, "updated_at"), ordered_at, "updated_at") or ordered_at,
        (*lines, *gifts),
        "presale" if step is not None or whole_of(order.is_pre_sale, "is_pre_sale") == 1 else "normal",
        region=f"{order.province or ''} {order.city or ''}".strip(),
        paid_at=paid if status != "awaiting_payment" else None,
        shipped_at=left if gone or status == "cancelled" else None,
        completed_at=signed if status == "completed" else None,
        cancel_reason=cancel_reason(codes, paid) if status == "cancelled" else "",
        holds=holds,
        parcels=parcels,
        attributes=attributes,
    )
    return Translated(snapshot, _personal(context))


# ---- Lines -----------------------------------------------------------------------------------------------------------


def _lines(
    context: _Context, status: Status, left: SourceTime | None
) -> tuple[tuple[Line, ...], tuple[Line, ...], int, list[int]]:
    """Translate lines and gifts; return them, the sum of price times quantity, and the lines' shares in it."""
    order = context.order
    found = order.item_list
    if not found:
        raise TranslationError("the order has no lines", "item_list", FETCH)
    state: Literal["open", "shipped", "cancelled"] = "open"
    if status in ("shipped", "completed") or (status == "cancelled" and left is not None):
        state = "shipped"
    elif status == "cancelled":
        state = "cancelled"
    after_sale = after_sale_of(context.codes, status)
    goods = [read_goods(one, f"item_list[{place}]") for place, one in enumerate(found)]
    ids = numbered([one.name for one in goods], [(one.price, one.quantity) for one in goods], "item_list")
    lines = tuple(
        _line(context, one, (f"item_list[{place}]", ids[place]), goods[place], (state, after_sale))
        for place, one in enumerate(found)
    )
    gifts = () if _gifts_apart(context) else _gifts(context, (state, after_sale))
    if {line.id for line in lines} & {line.id for line in gifts}:
        raise TranslationError("a line has the id of a gift", "gift_list")
    values = [one.value for one in goods]
    return lines, gifts, sum(values), values


def _gifts_apart(context: _Context) -> bool:
    """Tell whether the gifts come as an order of their own: then they are named here, and must not ship twice."""
    order = context.order
    if not order.gift_list or context.codes.gift != GIFT_APART:
        return False
    told = context.attributes["gift_list"] = []
    for place, fields in enumerate(order.gift_list):
        where = f"gift_list[{place}]"
        goods = read_goods(fields, where)
        told.append(
            {
                **GIFT.declared(fields),
                "item": goods.item,
                "goods_count": goods.quantity,
                "goods_price": format_minor(goods.price, "CNY"),
                **{
                    name: value
                    for name in ("goods_name", "goods_spec", "outer_id", "outer_goods_id")
                    if (value := getattr(fields, name)) not in (None, "")
                },
            }
        )
    return True


def _gifts(context: _Context, stage: tuple[Literal["open", "shipped", "cancelled"], AfterSale]) -> tuple[Line, ...]:
    found = context.order.gift_list or ()
    goods = [read_goods(one, f"gift_list[{place}]") for place, one in enumerate(found)]
    names = [f"gift-{one.name}" for one in goods]
    ids = numbered(names, [(one.price, one.quantity) for one in goods], "gift_list")
    gifts = []
    for place, fields in enumerate(found):
        where, one = f"gift_list[{place}]", goods[place]
        gift = _line(context, fields, (where, ids[place]), one._replace(price=0, value=0), stage, is_gift=True)
        if one.price:
            gift.attributes["goods_price"] = format_minor(one.price, "CNY")
        gifts.append(gift)
    return tuple(gifts)


def _line(
    context: _Context,
    fields: ItemFields,
    names: tuple[str, str],
    goods: Goods,
    stage: tuple[Literal["open", "shipped", "cancelled"], AfterSale],
    *,
    is_gift: bool = False,
) -> Line:
    where, line_id = names
    declared = (GIFT if is_gift else ITEM).declared(fields)
    outer, product = id_of(fields.outer_id, "outer_id", where), id_of(fields.outer_goods_id, "outer_goods_id", where)
    if product and product != outer:
        declared["outer_goods_id"] = product
    if context.unknown:
        sealed = context.unknown.pop(where, None)
        if sealed:
            context.of_lines[line_id] = sealed
    title = fields.goods_name or ""
    return Line(
        line_id,
        outer or product,
        goods.quantity,
        title,
        goods.item,
        fields.goods_spec or "",
        goods.price,
        0,
        goods.value,
        is_gift or (not goods.price and "赠" in title),
        stage[0],
        stage[1],
        "",
        declared,
    )


def _discounted(lines: tuple[Line, ...], values: list[int], discount: int) -> tuple[Line, ...]:
    """Share the order's discount among the lines: the platform states none by line."""
    if discount <= 0:
        return lines
    shares = spread(min(discount, sum(values)), values)
    return tuple(
        Line(
            line.id,
            line.sku,
            line.quantity,
            line.name,
            line.item,
            line.spec,
            line.unit_price,
            share,
            line.amount - share,
            line.gift,
            line.state,
            line.after_sale,
            "",
            line.attributes,
        )
        for line, share in zip(lines, shares, strict=True)
    )


# ---- The rest --------------------------------------------------------------------------------------------------------


def _leftovers(context: _Context) -> None:
    """Keep what was read but has no place of its own for this order."""
    order, codes, attributes = context.order, context.codes, context.attributes
    if codes.after_sale:
        attributes["after_sales_status"] = codes.after_sale
    if codes.group not in (None, 1):
        attributes["group_status"] = codes.group
    if codes.at_risk:
        attributes["risk_control_status"] = 1
    for name in ("trade_type", "is_pre_sale", "gift_order_status", "invoice_status"):
        value = whole_of(getattr(order, name), name)
        if value:
            attributes[name] = value
    if order.invoice_status is not None and not whole_of(order.invoice_status, "invoice_status"):
        attributes["invoice_type"] = "none"  # what type is asked for, another interface tells
    tags = [{"name": tag.name, "value": tag.value} for tag in order.order_tag_list or () if is_set(tag)]
    if tags:
        attributes["order_tag_list"] = tags
    if order.related_order_list:
        attributes["related_order_list"] = [
            {"order_sn": id_of(one.order_sn, "order_sn", f"related_order_list[{place}]"), **RELATED.declared(one)}
            for place, one in enumerate(order.related_order_list)
        ]
    if order.order_depot_info is not None:
        depot = DEPOT.declared(order.order_depot_info)
        wares = [WARE.declared(ware) for ware in order.order_depot_info.ware_sub_info_list or ()]
        if wares:
            depot["ware_sub_info_list"] = wares
        if depot:
            attributes["order_depot_info"] = depot
    for name in SEALED:
        text = id_of(getattr(order, name), name)
        if text:
            context.sealed[name] = text
    if order.card_info_list not in _EMPTY:
        context.sealed["card_info_list"] = keep(order.card_info_list, "card_info_list")


def _shop(context: _Context, shop: str, number: str) -> str:
    """Return the shop; keep the platform's id of it where it is another."""
    own = id_of(context.order.mall_id, "mall_id")
    if shop:
        if own and own != shop:
            context.attributes["mall_id"] = own
    else:
        shop = own
    try:
        checked_part(shop, "shop")
        checked_part(number, "order id")
    except BadId as error:
        raise TranslationError(str(error), advice="name the shop") from None
    return shop


def _personal(context: _Context) -> Personal:
    order, sealed = context.order, context.sealed
    sealed.update(context.unknown)  # of objects inside the order, under their paths
    receiver = {place: str(value) for name, place in RECEIVER.items() if (value := getattr(order, name))}
    messages = {place: text for name, place in MESSAGES.items() if (text := getattr(order, name))}
    return Personal("", receiver, messages, sealed, context.of_lines)
