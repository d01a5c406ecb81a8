"""One Douyin shop order becomes a canonical order.

Every field ends in one of three places: read (it has a place of its own), declared (an attribute anyone may see) or
unknown (sealed, whole). `douyin_fields` says which is which. A line's field that says the same as the order's is left
out: it is there.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

from adapters.channels.douyin_fields import (
    AFTER_SALES,
    BUNDLE_KNOWN,
    CLOSED,
    GIVEN_KNOWN,
    LINE,
    ORDER,
    PARCEL,
    PARCEL_LINE,
    PART_PAID,
    PHASE,
    PRESALE_TRADES,
    REFUND_STATES,
    REFUNDED,
    REFUNDED_AFTER_SHIPPING,
    SHIPPED,
    STATUSES,
    LineFields,
    OrderFields,
    PhaseFields,
    SpecFields,
)
from adapters.channels.json_fields import (
    fen_of,
    follows,
    goods_value,
    id_of,
    keep,
    quantity_of,
    same_id,
    time_of,
    whole_of,
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

NAME: Final = "douyin"
_ADD_TO_TABLE: Final = "add it to the channel's table"
_DURATION_MAX_S: Final = 315_360_000
"""A smaller `order_expire_time` is a duration: as an epoch it would lie in the 1970s."""
_STRUCTURES: Final = ("promotion_detail", "serial_number_list", "shop_order_tag_ui", "user_tag_ui", "order_tag")


class _Context(NamedTuple):
    """What the parts of one order share while it is translated."""

    order: OrderFields
    code: int
    times: TimeReader
    unknown: dict[str, dict[str, Any]]
    """Unknown fields, by path."""
    of_lines: dict[str, dict[str, Any]]
    """Unknown fields of lines, by line id."""
    wrong: list[dict[str, Any]]
    """Sum rules that do not hold."""
    attributes: dict[str, Any]
    sealed: dict[str, Any]


def translate(raw: bytes, shop: str, times: TimeReader) -> Translated:
    """Turn one shop order into the canonical order.

    Raises:
        TranslationError: with what is wrong, where and what to do.
    """
    order, unknown = ORDER.fill(raw)
    number = id_of(order.order_id, "order_id")
    if not number:
        raise TranslationError("the order has no id", "order_id", "send one bare shop order with its order_id")
    native = whole_of(order.order_status, "order_status")
    detail = whole_of(order.main_status, "main_status") or native
    if native not in STATUSES or detail not in STATUSES:
        name, code = ("order_status", native) if native not in STATUSES else ("main_status", detail)
        raise TranslationError(f"unknown status {str(code)[:60]}", name, _ADD_TO_TABLE)
    meaning = STATUSES[detail]
    ordered_at = time_of(times, order.create_time, "create_time")
    if ordered_at is None:
        raise TranslationError("the order has no order time", "create_time", "fetch it whole (order.orderDetail)")

    attributes = ORDER.declared(order)
    context = _Context(order, detail, times, unknown, {}, [], attributes, unknown.pop("", {}))
    lines, goods = _lines(context)
    phases = _phases(context)
    status = meaning.status
    amounts = _amounts(context, goods, lines, status, phases)
    unpaid, gone = status == "awaiting_payment", status in ("shipped", "completed")
    ended = _stage(context, order.finish_time, "finish_time", status in ("completed", "cancelled"))
    ended = follows(ended, ordered_at, "finish_time")
    paid = follows(_stage(context, order.pay_time, "pay_time", not unpaid), ordered_at, "pay_time")
    shipped = _stage(context, order.ship_time, "ship_time", gone)
    parcels = _parcels(context)
    if shipped is None and gone:
        shipped = max((parcel.at for parcel in parcels if parcel.at), key=_instant, default=None)
    shipped = follows(shipped, ordered_at, "ship_time")
    if detail == REFUNDED_AFTER_SHIPPING:
        attributes["closed_after_shipping"] = True
    if order.cancel_reason and status != "cancelled":
        attributes["cancel_reason"] = order.cancel_reason
    _leftovers(context, native, detail)
    first = order.sku_order_list[0] if order.sku_order_list else None
    kind = _kind(order, first, phases)
    snapshot = Snapshot(
        NAME,
        _shop(context, shop, number),
        number,
        status,
        str(detail),
        amounts,
        ordered_at,
        follows(time_of(times, order.update_time, "update_time"), ordered_at, "update_time") or ordered_at,
        tuple(lines),
        kind,
        region=_region(order),
        pay_by=_pay_by(context, ordered_at, phases) if unpaid else None,
        paid_at=paid,
        shipped_at=shipped,
        completed_at=ended if status == "completed" else None,
        cancelled_at=ended if status == "cancelled" else None,
        cancel_reason=(order.cancel_reason or meaning.reason) if status == "cancelled" else "",
        holds=meaning.holds,
        parcels=parcels,
        attributes=attributes,
    )
    return Translated(snapshot, _personal(context))


def _instant(at: SourceTime) -> int:
    return at.utc_ms


def _shop(context: _Context, shop: str, number: str) -> str:
    """Return the shop; keep the platform's id of it where it is another."""
    own = id_of(context.order.shop_id, "shop_id")
    if shop:
        if own and own != shop:
            context.attributes["shop_id"] = own
    else:
        shop = own
    try:
        checked_part(shop, "shop")
        checked_part(number, "order id")
    except BadId as error:
        raise TranslationError(str(error), advice="name the shop") from None
    return shop


def _stage(context: _Context, value: object, name: str, fits: bool) -> SourceTime | None:
    """Read a time whose meaning hangs on the status; where it does not fit, its text stays an attribute."""
    if not value:
        return None
    found = time_of(context.times, value, name)
    if fits or found is None:
        return found
    context.attributes[name] = found.text
    return None


def _kind(order: OrderFields, line: LineFields | None, phases: list[PhaseFields]) -> Literal["normal", "presale"]:
    """Tell a presale, by the line where it says so (the order's own type may lag behind)."""
    trade = whole_of(order.trade_type, "trade_type")
    if line is not None:
        trade = whole_of(line.trade_type, "trade_type", "sku_order_list[0]") or trade
        if whole_of(line.pre_sale_type, "pre_sale_type", "sku_order_list[0]") == 1:
            return "presale"
    return "presale" if phases or trade in PRESALE_TRADES else "normal"


def _lines(context: _Context) -> tuple[list[Line], int]:
    """Translate the lines; return them and the sum of price times quantity."""
    found = context.order.sku_order_list
    if not found:
        raise TranslationError("the order has no lines", "sku_order_list", "fetch it whole (order.orderDetail)")
    lines: list[Line] = []
    ids: set[str] = set()
    goods = 0
    for place, fields in enumerate(found):
        where = f"sku_order_list[{place}]"
        line = _line(context, fields, where)
        if line.id in ids:
            raise TranslationError(f"two lines have the id {line.id}", f"{where}.order_id")
        ids.add(line.id)
        goods += line.unit_price * line.quantity
        lines.append(line)
    return lines, goods


def _line(context: _Context, fields: LineFields, where: str) -> Line:
    order = context.order
    line_id = id_of(fields.order_id, "order_id", where)
    if not line_id:
        raise TranslationError("the line has no id", f"{where}.order_id")
    declared = {
        name: value
        for name, value in LINE.declared(fields).items()
        if value != getattr(order, name, None) and value != 0
    }
    sealed = context.unknown.pop(where, {}) if context.unknown else {}
    status = whole_of(fields.main_status, "main_status", where) or whole_of(fields.order_status, "order_status", where)
    status = status or context.code
    if status not in STATUSES:
        raise TranslationError(f"unknown status {str(status)[:60]}", f"{where}.main_status", _ADD_TO_TABLE)
    for name in ("order_status", "main_status", "trade_type", "cancel_reason", "ship_time"):
        value = getattr(fields, name)
        if value and value != getattr(order, name):
            declared[name] = value
    parent = id_of(fields.parent_order_id, "parent_order_id", where)
    if parent and parent != id_of(order.order_id, "order_id"):
        declared["parent_order_id"] = parent
    if fields.channel_payment_no and fields.channel_payment_no != order.channel_payment_no:
        sealed["channel_payment_no"] = fields.channel_payment_no
    after_sale = _after_sale(context, fields, where, declared)
    quantity = quantity_of(fields.item_num, "item_num", where)
    price, amount = _line_amounts(context, fields, where, quantity, declared)
    state: Literal["open", "shipped", "cancelled"] = "open"
    if status in SHIPPED or whole_of(fields.ship_time, "ship_time", where):
        state = "shipped"
    elif status in CLOSED or after_sale == "refunded":
        state = "cancelled"
    _line_extras(fields, where, declared, sealed)
    if sealed:
        context.of_lines[line_id] = sealed
    sku = fields.out_sku_id or fields.code or ""
    if fields.code and fields.code != sku:
        declared["code"] = fields.code
    item = same_id(fields.product_id, fields.product_id_str, "product_id", where)
    variant = id_of(fields.sku_id, "sku_id", where)
    return Line(
        line_id,
        sku,
        quantity,
        fields.product_name or "",
        f"{item}/{variant}" if variant else item,
        _spec(fields.spec or ()),
        price,
        price * quantity - amount,
        amount,
        fields.given_product_type == "FREE",
        state,
        after_sale,
        "",
        declared,
    )


def _line_amounts(
    context: _Context, fields: LineFields, where: str, quantity: int, declared: dict[str, Any]
) -> tuple[int, int]:
    """Return unit price and what the customer pays for the line, in fen."""
    price = fen_of(
        fields.origin_amount if fields.origin_amount is not None else fields.goods_price, "origin_amount", where
    )
    goods = goods_value(price, quantity, "origin_amount", where)
    promotion = fen_of(fields.promotion_amount, "promotion_amount", where, signed=True)
    amount = goods - promotion if fields.pay_amount is None else fen_of(fields.pay_amount, "pay_amount", where)
    if promotion:
        declared["promotion_amount"] = promotion
    for name, implied in (("goods_price", price), ("sum_amount", goods), ("order_amount", goods)):
        value = getattr(fields, name)
        if value is not None and fen_of(value, name, where) != implied:
            declared[name] = value
    if amount != goods - promotion and not declared.get("modify_amount"):
        rule = f"{where}.pay_amount = origin_amount x item_num - promotion_amount"
        context.wrong.append({"rule": rule, "stated": amount, "computed": goods - promotion})
    return price, amount


def _after_sale(context: _Context, fields: LineFields, where: str, declared: dict[str, Any]) -> AfterSale:
    info = fields.after_sale_info
    if info is None:
        return "refunded" if context.code in (21, REFUNDED_AFTER_SHIPPING) else ""
    where = f"{where}.after_sale_info"
    code = whole_of(info.after_sale_status, "after_sale_status", where)
    refund = whole_of(info.refund_status, "refund_status", where)
    if code not in AFTER_SALES:
        raise TranslationError(f"unknown after-sale status {code}", f"{where}.after_sale_status", _ADD_TO_TABLE)
    if refund not in REFUND_STATES:
        raise TranslationError(f"unknown refund status {refund}", f"{where}.refund_status", _ADD_TO_TABLE)
    if code or refund:
        form: Any = LINE.nested["after_sale_info"]
        declared["after_sale_info"] = {"after_sale_status": code, "refund_status": refund, **form.declared(info)}
    elif context.code in (21, REFUNDED_AFTER_SHIPPING):
        return "refunded"
    after_sale = AFTER_SALES[code]
    return "refunded" if after_sale != "open" and refund == REFUNDED else after_sale


def _line_extras(fields: LineFields, where: str, declared: dict[str, Any], sealed: dict[str, Any]) -> None:
    """Keep what live rooms, gifts, kits and engraving say."""
    room = same_id(fields.room_id, fields.room_id_str, "room_id", where)
    author = id_of(fields.author_id, "author_id", where)
    live = {"room_id": room, "author_id": author, "author_name": fields.author_name}
    declared.update({name: text for name, text in live.items() if text})
    if fields.given_product_type:
        declared["given_product_type"] = fields.given_product_type
    if fields.pre_sale_type:
        declared["pre_sale_type"] = fields.pre_sale_type
    masters = fields.master_sku_order_id_list
    if masters:
        if isinstance(masters, list) and all(
            isinstance(one, (int, str)) and not isinstance(one, bool) for one in masters
        ):
            declared["master_sku_order_id_list"] = [str(one) for one in masters]
        else:
            sealed["master_sku_order_id_list"] = keep(masters, where)
    if fields.sku_customization_info:
        declared["customized"] = True
    for name, known in (("bundle_sku_info", BUNDLE_KNOWN), ("given_product_activity_info", GIVEN_KNOWN)):
        value = getattr(fields, name)
        if value:
            harmless = _known(value, known)
            if harmless:
                declared[name] = harmless
            if harmless != value:
                sealed[name] = keep(value, where)
    for name in ("sku_customization_info", "inventory_list", "master_sku_order_id"):
        value = getattr(fields, name)
        if value not in (None, "", [], {}, 0, "0"):
            sealed[name] = keep(value, where)


def _known(value: Any, names: tuple[str, ...]) -> Any:
    """Return the part of a structure that is declared harmless: named members that are text or whole numbers."""
    if isinstance(value, list):
        return [_known(item, names) for item in value if isinstance(item, dict)]
    if isinstance(value, dict):
        return {name: value[name] for name in names if isinstance(value.get(name), str) or type(value.get(name)) is int}
    return None


def _spec(specs: Iterable[SpecFields]) -> str:
    return ";".join(f"{spec.name or ''}:{spec.value or ''}" for spec in specs)


def _parcels(context: _Context) -> tuple[Parcel, ...]:
    found = context.order.logistics_info
    if not found:
        return ()
    parcels: list[Parcel] = []
    native: list[dict[str, Any]] = []
    for place, fields in enumerate(found):
        where = f"logistics_info[{place}]"
        ids: dict[str, None] = {}
        products: list[dict[str, Any]] = []
        for number, product in enumerate(fields.product_info or ()):
            line_id = id_of(product.sku_order_id, "sku_order_id", f"{where}.product_info[{number}]")
            if line_id:
                ids[line_id] = None
            specs = {"sku_specs": _spec(product.sku_specs)} if product.sku_specs else {}
            products.append({"sku_order_id": line_id, **PARCEL_LINE.declared(product), **specs})
        tracking = id_of(fields.tracking_no, "tracking_no", where)
        at = time_of(context.times, fields.ship_time, "ship_time", where)
        parcels.append(Parcel(fields.company_name or fields.company or "", tracking, tuple(ids), at))
        native.append({"company": fields.company or "", **PARCEL.declared(fields), "product_info": products})
    context.attributes["logistics_info"] = native
    return tuple(parcels)


def _phases(context: _Context) -> list[PhaseFields]:
    """Keep the stages of a presale; payment numbers are sealed."""
    phases = context.order.order_phase_list or []
    if phases:
        native = context.attributes["order_phase_list"] = []
        for place, phase in enumerate(phases):
            where = f"order_phase_list[{place}]"
            ids = {name: id_of(getattr(phase, name), name, where) for name in ("phase_order_id", "sku_order_id")}
            names = ("pay_success", "phase_payable_price", "phase_pay_amount", "phase_close_time")
            native.append({**ids, **{name: getattr(phase, name) for name in names}, **PHASE.declared(phase)})
            if phase.channel_payment_no:
                context.sealed[f"{where}.channel_payment_no"] = phase.channel_payment_no
    return phases


def _amounts(context: _Context, goods: int, lines: list[Line], status: Status, phases: list[PhaseFields]) -> Amounts:
    """Read the order's amounts and note where the sum rules do not hold; nothing is refused for that."""
    order, wrong, attributes = context.order, context.wrong, context.attributes
    if order.pay_amount is None:
        raise TranslationError("the order has no amount", "pay_amount", "fetch it whole (order.orderDetail)")
    payable, freight = fen_of(order.pay_amount, "pay_amount"), fen_of(order.post_amount, "post_amount")
    tax = fen_of(order.tax_amount, "tax_amount")
    promotion = fen_of(order.promotion_amount, "promotion_amount", signed=True)
    stated = goods + freight if order.order_amount is None else fen_of(order.order_amount, "order_amount")
    if stated != goods + freight:
        attributes["order_amount"] = stated
        wrong.append(
            {"rule": "order_amount = sum of lines + post_amount", "stated": stated, "computed": goods + freight}
        )
    parts = {name: fen_of(getattr(order, name), name, signed=True) for name in _PROMOTION_PARTS}
    attributes.update({name: amount for name, amount in parts.items() if amount})
    if any(parts.values()) and sum(parts.values()) != promotion:
        rule = "promotion_amount = shop + platform + talent"
        wrong.append({"rule": rule, "stated": promotion, "computed": sum(parts.values())})
    changed = {
        name: fen_of(getattr(order, name), name, signed=True) for name in ("modify_amount", "promotion_redpack_amount")
    }
    attributes.update({name: amount for name, amount in changed.items() if amount})
    if not any(changed.values()):
        owed = stated - promotion + tax
        if payable != owed:
            rule = "pay_amount = order_amount - promotion_amount + tax_amount"
            wrong.append({"rule": rule, "stated": payable, "computed": owed})
        shares = sum(line.amount for line in lines) + freight + tax
        if payable != shares:
            wrong.append(
                {"rule": "pay_amount = sum of lines' pay_amount + post", "stated": payable, "computed": shares}
            )
    if wrong:
        attributes["amount_mismatch"] = wrong
    deposits = sum(_paid_of(phase, place) for place, phase in enumerate(phases))
    if status == "awaiting_payment" or (status == "cancelled" and not order.pay_time):
        paid = deposits  # while anything is owed, `pay_time` can only be that of the deposit
    elif order.pay_time or whole_of(order.pay_type, "pay_type"):
        paid = payable
    else:
        paid = 0  # cash on delivery
    return Amounts("CNY", goods, promotion, freight, tax, payable, paid)


_PROMOTION_PARTS: Final = ("promotion_shop_amount", "promotion_platform_amount", "promotion_talent_amount")


def _paid_of(phase: PhaseFields, place: int) -> int:
    if not phase.pay_success:
        return 0
    where = f"order_phase_list[{place}]"
    paid = fen_of(phase.phase_pay_amount, "phase_pay_amount", where)
    return paid or fen_of(phase.phase_payable_price, "phase_payable_price", where)


def _pay_by(context: _Context, ordered_at: SourceTime, phases: list[PhaseFields]) -> SourceTime | None:
    """Tell when the platform closes the order: the open stage of a presale, else the order's own term."""
    times, order = context.times, context.order
    if context.code == PART_PAID:
        for place, phase in enumerate(phases):
            if not phase.pay_success:
                return time_of(times, phase.phase_close_time, "phase_close_time", f"order_phase_list[{place}]")
        return None
    term = whole_of(order.order_expire_time, "order_expire_time")
    if not 0 < term < _DURATION_MAX_S:
        return time_of(times, term, "order_expire_time")
    end = time_of(times, ordered_at.utc_ms // 1000 + term, "order_expire_time")
    return SourceTime(str(term), end.utc_ms, 0, end.local) if end is not None else None


def _leftovers(context: _Context, native: int, detail: int) -> None:
    """Keep what was read but has no place of its own for this order."""
    order, attributes = context.order, context.attributes
    if native != detail:
        attributes["order_status"] = native
    for name in ("trade_type", "pay_type", "order_expire_time"):
        value = getattr(order, name)
        if value:
            attributes[name] = value
    if order.channel_payment_no:
        context.sealed["channel_payment_no"] = order.channel_payment_no
    for name in _STRUCTURES:
        value = getattr(order, name)
        if value not in (None, "", [], {}):
            context.sealed[name] = keep(value, name)


def _personal(context: _Context) -> Personal:
    order, sealed = context.order, context.sealed
    sealed.update(context.unknown)  # of objects inside the order, under their paths
    customer = order.doudian_open_id or order.open_id or ""
    if order.open_id and order.open_id != customer:
        sealed["open_id"] = order.open_id
    receiver: dict[str, str | None] = {
        "name": order.encrypt_post_receiver,
        "phone": order.encrypt_post_tel,
        "name_masked": order.mask_post_receiver,
        "phone_masked": order.mask_post_tel,
        "address_id": order.open_address_id,
    }
    if (address := order.post_addr) is not None:
        receiver["detail"] = address.encrypt_detail
        levels = (
            ("province", address.province),
            ("city", address.city),
            ("district", address.town),
            ("town", address.street),
        )
        for level, place in levels:
            if place is not None:
                receiver[level] = place.name
                receiver[f"{level}_id"] = id_of(place.id, "id", f"post_addr.{level}")
    messages = {"buyer_words": order.buyer_words, "seller_words": order.seller_words}
    return Personal(
        customer,
        {name: text for name, text in receiver.items() if text},
        {name: text for name, text in messages.items() if text},
        sealed,
        context.of_lines,
    )


def _region(order: OrderFields) -> str:
    """Province and city."""
    if order.post_addr is None:
        return ""
    places = order.post_addr.province, order.post_addr.city
    return " ".join(place.name for place in places if place is not None and place.name)
