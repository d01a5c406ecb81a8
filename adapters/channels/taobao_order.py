"""One Taobao trade becomes a canonical order.

Every field ends in one of three places: read (it has a place of its own), declared (an attribute anyone may see) or
unknown (sealed, whole). `taobao_fields` says which is which.
"""

from typing import Any, Final, Literal, NamedTuple

from adapters.channels.json_fields import follows, goods_value, id_of, keep, quantity_of, same_id, time_of, yuan_of
from adapters.channels.taobao_fields import (
    AFTER_SALES,
    CLOSED,
    HOLDS,
    LINE,
    MESSAGES,
    PROMOTION,
    RECEIVER,
    SEALED,
    SERVICE,
    SET,
    SHIPPED,
    STATUSES,
    STEPS,
    TRADE,
    UNSET,
    LineFields,
    TradeFields,
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

NAME: Final = "taobao"
_ADD_TO_TABLE: Final = "add it to the channel's table"


class _Context(NamedTuple):
    """What the parts of one trade share while it is translated."""

    trade: TradeFields
    native: str
    status: Status
    times: TimeReader
    gifts: frozenset[str]
    parcels: dict[tuple[str, str], tuple[list[str], SourceTime | None]]
    unknown: dict[str, dict[str, Any]]
    """Unknown fields, by path."""
    of_lines: dict[str, dict[str, Any]]
    """Unknown fields of lines, by line id."""
    wrong: list[dict[str, Any]]
    """Sum rules that do not hold."""


class _Totals:
    """What the lines add up to, in fen, and when the first of them must be paid."""

    __slots__ = ("divided", "goods", "pay_by", "total", "undivided")

    def __init__(self) -> None:
        self.goods = 0
        self.total = 0
        self.divided = 0
        self.undivided = False
        self.pay_by: SourceTime | None = None


def translate(raw: bytes, shop: str, times: TimeReader) -> Translated:
    """Turn one trade into the canonical order.

    Raises:
        TranslationError: with what is wrong, where and what to do.
    """
    trade, unknown = TRADE.fill(raw)
    number = same_id(trade.tid, trade.tid_str, "tid")
    if not number:
        raise TranslationError("the trade has no id", "tid", "send one bare trade object with its tid")
    native = trade.status or ""
    meaning = STATUSES.get(native)
    if meaning is None:
        raise TranslationError(f"unknown status {native[:60]!r}", "status", _ADD_TO_TABLE)
    step = trade.step_trade_status or ""
    if step not in STEPS:
        raise TranslationError(f"unknown stage {step[:60]!r}", "step_trade_status", _ADD_TO_TABLE)
    ordered_at = time_of(times, trade.created, "created")
    if ordered_at is None:
        raise TranslationError("the trade has no order time", "created", "fetch it with the field created")

    attributes = TRADE.declared(trade)
    gifts = _extras(trade, attributes)
    context = _Context(trade, native, meaning.status, times, gifts, {}, unknown, {}, [])
    lines, totals = _lines(context)
    status: Status = meaning.status
    reason = meaning.cancel_reason
    if native == "TRADE_CLOSED" and any(line.state == "shipped" for line in lines):
        status, reason = "shipped", ""
        attributes["closed_after_shipping"] = True
    elif native == "TRADE_BUYER_SIGNED":
        attributes["signed"] = True
    amounts = _amounts(context, totals, status, step, attributes)

    unpaid, gone = status == "awaiting_payment", status in ("shipped", "completed")
    ended = _stage(times, trade.end_time, "end_time", status in ("completed", "cancelled"), attributes)
    ended = follows(ended, ordered_at, "end_time")
    paid = follows(_stage(times, trade.pay_time, "pay_time", not unpaid, attributes), ordered_at, "pay_time")
    due = _stage(times, trade.timeout_action_time, "timeout_action_time", unpaid, attributes)
    shipped = _stage(times, trade.consign_time, "consign_time", gone, attributes)
    shipped = follows(shipped or (_last_parcel(context) if gone else None), ordered_at, "consign_time")
    snapshot = Snapshot(
        NAME,
        _shop(trade, shop, number, attributes),
        number,
        status,
        native,
        amounts,
        ordered_at,
        follows(time_of(times, trade.modified, "modified"), ordered_at, "modified") or ordered_at,
        tuple(lines),
        "presale" if step or trade.type == "step" else "normal",
        region=_region(trade),
        pay_by=due or (totals.pay_by if unpaid else None),
        paid_at=paid,
        shipped_at=shipped,
        completed_at=ended if status == "completed" else None,
        cancelled_at=ended if status == "cancelled" else None,
        cancel_reason=reason,
        holds=_holds(trade, meaning.holds, attributes),
        parcels=tuple([Parcel(*name, tuple(ids), at) for name, (ids, at) in context.parcels.items()]),
        attributes=attributes,
    )
    return Translated(snapshot, _personal(context))


def _shop(trade: TradeFields, shop: str, number: str, attributes: dict[str, Any]) -> str:
    """Return the shop; keep the seller's own name where it is another."""
    nick = trade.seller_nick
    if shop:
        if nick and nick != shop:
            attributes["seller_nick"] = nick
    else:
        shop = nick or ""
    try:
        checked_part(shop, "shop")
        checked_part(number, "trade id")
    except BadId as error:
        raise TranslationError(str(error), advice="name the shop") from None
    return shop


def _stage(times: TimeReader, value: object, name: str, fits: bool, attributes: dict[str, Any]) -> SourceTime | None:
    """Read a time whose meaning hangs on the status; where it does not fit, its text stays an attribute."""
    if value is None:
        return None
    found = time_of(times, value, name)
    if fits or found is None:
        return found
    attributes[name] = found.text
    return None


def _last_parcel(context: _Context) -> SourceTime | None:
    times = [at for _, at in context.parcels.values() if at is not None]
    return max(times, key=lambda at: at.utc_ms, default=None)


def _holds(trade: TradeFields, holds: tuple[str, ...], attributes: dict[str, Any]) -> tuple[str, ...]:
    for name, hold in HOLDS.items():
        value = getattr(trade, name)
        if value is None:
            continue
        attributes[name] = value
        if value in SET:
            holds = holds if hold in holds else (*holds, hold)
        elif value not in UNSET:
            raise TranslationError("neither set nor unset", name, "0 or 1 belongs here")
    return holds


def _extras(trade: TradeFields, attributes: dict[str, Any]) -> frozenset[str]:
    """Keep the order's type, promotions and services as attributes; return the items that are given away."""
    if trade.type is not None and trade.type != "fixed":
        attributes["type"] = trade.type
    if trade.discount_fee is not None and trade.discount_fee != "0.00":
        attributes["discount_fee"] = trade.discount_fee
    if trade.adjust_fee is not None and trade.adjust_fee != "0.00":
        attributes["adjust_fee"] = trade.adjust_fee
    if trade.coupon_fee:
        attributes["coupon_fee"] = trade.coupon_fee
    if trade.step_trade_status:
        attributes["step_trade_status"] = trade.step_trade_status
    if trade.step_paid_fee is not None:
        attributes["step_paid_fee"] = trade.step_paid_fee
    if trade.service_orders is not None and trade.service_orders.service_order:
        services = attributes["service_package"] = []
        for place, service in enumerate(trade.service_orders.service_order):
            where = f"service_orders.service_order[{place}]"
            kept = SERVICE.declared(service)
            kept["oid"] = id_of(service.oid, "oid", where)
            kept["item_oid"] = id_of(service.item_oid, "item_oid", where)
            services.append(kept)
    if trade.promotion_details is None or not trade.promotion_details.promotion_detail:
        return frozenset()
    gifts: set[str] = set()
    promotions = attributes["promotion_details"] = []
    for place, promotion in enumerate(trade.promotion_details.promotion_detail):
        where = f"promotion_details.promotion_detail[{place}]"
        kept = PROMOTION.declared(promotion)
        kept["id"] = id_of(promotion.id, "id", where)
        gift = id_of(promotion.gift_item_id, "gift_item_id", where)
        if gift:
            gifts.add(gift)
            kept["gift_item_id"] = gift
        promotions.append(kept)
    return frozenset(gifts)


def _lines(context: _Context) -> tuple[list[Line], _Totals]:
    """Translate the lines, and add up what the platform's sum rules speak of."""
    totals = _Totals()
    orders = context.trade.orders
    if orders is None or not orders.order:
        advice = "fetch it whole (taobao.trade.fullinfo.get)"
        raise TranslationError("the trade has no lines", "orders.order", advice)
    lines: list[Line] = []
    ids: set[str] = set()
    for place, fields in enumerate(orders.order):
        where = f"orders.order[{place}]"
        line = _line(context, fields, where, totals)
        if line.id in ids:
            raise TranslationError(f"two lines have the id {line.id}", f"{where}.oid")
        ids.add(line.id)
        lines.append(line)
    return lines, totals


def _line(context: _Context, fields: LineFields, where: str, totals: _Totals) -> Line:
    line_id = same_id(fields.oid, fields.oid_str, "oid", where)
    if not line_id:
        raise TranslationError("the line has no id", f"{where}.oid")
    declared = LINE.declared(fields)
    native = fields.status or context.native
    if native != context.native:
        if native not in STATUSES:
            raise TranslationError(f"unknown status {native[:60]!r}", f"{where}.status", _ADD_TO_TABLE)
        declared["status"] = native
    refund = fields.refund_status or ""
    after_sale = AFTER_SALES.get(refund)
    if after_sale is None:
        raise TranslationError(f"unknown refund status {refund[:60]!r}", f"{where}.refund_status", _ADD_TO_TABLE)
    if after_sale:
        declared["refund_status"] = refund
    quantity = quantity_of(fields.num, "num", where)
    price = yuan_of(fields.price, "price", where) or 0
    goods = goods_value(price, quantity, "price", where)
    amount = _line_amounts(context, fields, where, goods, totals, declared)
    consigned = _line_times(context, fields, where, line_id, totals, declared)
    state: Literal["open", "shipped", "cancelled"] = "open"
    if consigned or native in SHIPPED:
        state = "shipped"
    elif native in CLOSED or refund == "SUCCESS":
        state = "cancelled"
    unknown = context.unknown.pop(where, None) if context.unknown else None
    if fields.customization:
        declared["customized"] = True
        unknown = {**(unknown or {}), "customization": keep(fields.customization, where)}
    if unknown:
        context.of_lines[line_id] = unknown
    sku = fields.outer_sku_id or fields.outer_iid or ""
    if fields.outer_iid and fields.outer_iid != sku:
        declared["outer_iid"] = fields.outer_iid
    title, item, sku_id = fields.title or "", id_of(fields.num_iid, "num_iid", where), fields.sku_id
    return Line(
        line_id,
        sku,
        quantity,
        title,
        f"{item}/{id_of(sku_id, 'sku_id', where)}" if sku_id else item,
        fields.sku_properties_name or "",
        price,
        goods - amount,
        amount,
        price == 0 and ("赠" in title or item in context.gifts),
        state,
        after_sale,
        id_of(fields.refund_id, "refund_id", where),
        declared,
    )


def _line_amounts(
    context: _Context, fields: LineFields, where: str, goods: int, totals: _Totals, declared: dict[str, Any]
) -> int:
    """Return what the customer pays for the line: its share of the payment, as far as the platform states one."""
    stated = yuan_of(fields.total_fee, "total_fee", where)
    payment = yuan_of(fields.payment, "payment", where)
    amount = yuan_of(fields.divide_order_fee, "divide_order_fee", where)
    total = goods
    discount = fields.discount_fee
    if discount is not None and discount != "0.00":
        total -= yuan_of(discount, "discount_fee", where, signed=True) or 0
        declared["discount_fee"] = discount
    adjust = fields.adjust_fee
    if adjust is not None and adjust != "0.00":
        total += yuan_of(adjust, "adjust_fee", where, signed=True) or 0
        declared["adjust_fee"] = adjust
    if fields.part_mjz_discount is not None and fields.part_mjz_discount != "0.00":
        declared["part_mjz_discount"] = fields.part_mjz_discount
    if stated is not None and stated != total:
        rule = f"{where}.total_fee = price x num + adjust - discount"
        context.wrong.append({"rule": rule, "stated": stated, "computed": total})
        total = stated
    if amount is None:
        amount = total if payment is None else payment
        totals.undivided = True
    if payment is not None and payment != amount:
        declared["payment"] = fields.payment
    if stated is not None and stated != amount:
        declared["total_fee"] = fields.total_fee
    totals.goods += goods
    totals.total += total
    totals.divided += amount
    return amount


def _line_times(
    context: _Context, fields: LineFields, where: str, line_id: str, totals: _Totals, declared: dict[str, Any]
) -> bool:
    """Put the line into its parcel and return whether it has left. Times that say no more than the order's go."""
    consigned = at = None
    if fields.consign_time is not None:
        consigned = time_of(context.times, fields.consign_time, "consign_time", where)
    if fields.logistics_company or fields.invoice_no:
        name = fields.logistics_company or "", fields.invoice_no or ""
        ids, at = context.parcels.setdefault(name, ([], consigned))
        ids.append(line_id)
    if consigned is not None and (at is None or at.text != consigned.text):
        declared["consign_time"] = consigned.text
    if fields.end_time is not None:
        ended = time_of(context.times, fields.end_time, "end_time", where)
        if ended is not None and ended.text != context.trade.end_time:
            declared["end_time"] = ended.text
    if fields.timeout_action_time is not None:
        due = time_of(context.times, fields.timeout_action_time, "timeout_action_time", where)
        if due is not None:
            if totals.pay_by is None or due.utc_ms < totals.pay_by.utc_ms:
                totals.pay_by = due
            declared["timeout_action_time"] = due.text
    return consigned is not None


def _amounts(context: _Context, totals: _Totals, status: Status, step: str, attributes: dict[str, Any]) -> Amounts:
    """Read the order's amounts and note where the sum rules do not hold; nothing is refused for that."""
    trade, wrong = context.trade, context.wrong
    payable = yuan_of(trade.payment, "payment")
    if payable is None:
        raise TranslationError("the trade has no amount", "payment", "fetch it with the field payment")
    goods = yuan_of(trade.total_fee, "total_fee")
    freight = yuan_of(trade.post_fee, "post_fee") or 0
    discount = yuan_of(trade.discount_fee, "discount_fee", signed=True) or 0
    discount -= yuan_of(trade.adjust_fee, "adjust_fee", signed=True) or 0
    deposit = yuan_of(trade.step_paid_fee, "step_paid_fee") or 0
    owed = totals.total - discount + freight
    if goods is not None and goods != totals.goods:
        wrong.append({"rule": "total_fee = sum of price x num", "stated": goods, "computed": totals.goods})
    if payable != owed and not trade.coupon_fee:  # a red packet is paid for by the platform
        rule = "payment = sum of line totals - discount + adjust + post"
        wrong.append({"rule": rule, "stated": payable, "computed": owed})
    if not totals.undivided and totals.divided != payable - freight:
        rule = "sum of divide_order_fee = payment - post"
        wrong.append({"rule": rule, "stated": totals.divided, "computed": payable - freight})
    if wrong:
        attributes["amount_mismatch"] = wrong
    if status == "awaiting_payment":
        paid = deposit if step == "FRONT_PAID_FINAL_NOPAID" else 0
    elif trade.pay_time or (status != "cancelled" and trade.type != "cod"):
        paid = payable
    else:
        paid = 0
    goods = totals.goods if goods is None else goods
    return Amounts("CNY", goods, totals.goods - totals.total + discount, freight, 0, payable, paid)


def _personal(context: _Context) -> Personal:
    trade = context.trade
    attributes = context.unknown.pop("", {}) if context.unknown else {}
    attributes.update(context.unknown)  # of objects inside the trade, under their paths
    nick, uid = trade.buyer_nick or "", trade.buyer_open_uid or ""
    if nick and uid:
        attributes["buyer_nick"] = nick
    for name in SEALED:
        value = getattr(trade, name)
        if value:
            attributes[name] = value
    return Personal(
        uid or nick,
        {place: text for name, place in RECEIVER.items() if (text := getattr(trade, name))},
        {name: text for name in MESSAGES if (text := getattr(trade, name))},
        attributes,
        context.of_lines,
    )


def _region(trade: TradeFields) -> str:
    """Province and city; cities directly under a province stand in the district's place."""
    city, district = trade.receiver_city, trade.receiver_district
    if not city and district and district.endswith("市"):
        city = district
    return f"{trade.receiver_state or ''} {city or ''}".strip()
