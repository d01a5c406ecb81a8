"""The lines of a Shopify order: what was ordered, removed, sent and refunded of each.

`quantity` never changes on the wire. Units refunded before shipping (`restock_type` cancel) and units an edit removed
are not wanted any more; units refunded later are an after-sale of a line that has left.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

from adapters.channels.json_fields import decode, id_of, keep, quantity_of, time_of, whole_of
from adapters.channels.json_money import total_of
from adapters.channels.shopify_fields import (
    CANCELLED_BEFORE,
    LINE,
    LINE_FULFILLMENT,
    PARCEL,
    PARCEL_SENT,
    PARCELS,
    REFUND,
    REFUND_LINE,
    RESTOCKS,
    RETURN,
    RETURNS,
    RETURNS_OPEN,
    LineFields,
    ParcelFields,
    RefundFields,
)
from adapters.channels.shopify_parts import EMPTY, Context, allocations, keep_set, taxes, text_of
from domain.canonical import AfterSale, Line, Parcel, Status, TranslationError

_ADD_TO_TABLE: Final = "add it to the channel's table"


class Moved(NamedTuple):
    """What has left, and what came back or never went."""

    parcels: tuple[Parcel, ...]
    sent: dict[str, int]
    """Units on their way, by line id, as far as parcels name them."""
    cancelled: dict[str, int]
    """Units refunded before shipping."""
    refunded: dict[str, int]
    """Units refunded otherwise."""
    given_back: dict[str, int]
    """Minor units of money given back for units that were cancelled."""
    refunds: dict[str, list[str]]
    """Ids of refunds, by line id."""
    returning: frozenset[str] | None
    """Lines with an open return; None where no return is open."""


def moved(context: Context) -> Moved:
    """Read fulfillments, refunds and returns."""
    order = context.order
    originals: dict[str, dict[str, Any]] = {}
    if order.fulfillments or order.refunds:
        # Both repeat whole lines; only what differs from the line itself says something.
        for line in decode(context.raw).get("line_items") or ():
            if isinstance(line, dict):
                originals[str(line.get("id"))] = line
    what = Moved((), {}, {}, {}, {}, {}, _returns(context))
    parcels = [
        parcel
        for place, fields in enumerate(order.fulfillments or ())
        for parcel in _parcels(context, fields, f"fulfillments[{place}]", originals, what.sent)
    ]
    for place, refund in enumerate(order.refunds or ()):
        _refund(context, refund, f"refunds[{place}]", originals, what)
    return what._replace(parcels=tuple(parcels))


def _parcels(
    context: Context, fields: ParcelFields, where: str, originals: dict[str, dict[str, Any]], sent: dict[str, int]
) -> Iterator[Parcel]:
    """Return the parcels of a fulfillment, one for each tracking number; none where it was called off."""
    status = fields.status or ""
    if status not in PARCELS:
        raise TranslationError(f"unknown status {status[:60]!r}", f"{where}.status", _ADD_TO_TABLE)
    ids: list[str] = []
    items = fields.line_items if isinstance(fields.line_items, list) else []
    if fields.line_items not in EMPTY and not items:
        context.sealed[f"{where}.line_items"] = keep(fields.line_items, where)
    for place, item in enumerate(items):
        inner = f"{where}.line_items[{place}]"
        if not isinstance(item, dict):
            raise TranslationError("a line is no object", inner)
        line_id = id_of(item.get("id"), "id", inner)
        units = quantity_of(item.get("quantity"), "quantity", inner)
        ids.append(line_id)
        if status == PARCEL_SENT:
            sent[line_id] = sent.get(line_id, 0) + units
        _keep_rest(context, item, originals.get(line_id, {}), inner, ("id", "quantity"))
    numbers = [id_of(one, "tracking_numbers", where) for one in fields.tracking_numbers or ()]
    first = id_of(fields.tracking_number, "tracking_number", where)
    at = time_of(context.times, fields.created_at, "created_at", where)
    told: dict[str, Any] = {"id": id_of(fields.id, "id", where), "status": status, **PARCEL.declared(fields)}
    if items:
        told["line_items"] = [{"id": one, "quantity": item["quantity"]} for one, item in zip(ids, items, strict=True)]
    if status != PARCEL_SENT:
        told.update({"tracking": [first, *numbers], "tracking_company": fields.tracking_company})
        told["created_at"] = at.text if at is not None else None
    own = id_of(fields.order_id, "order_id", where)
    if own and own != id_of(context.order.id, "id"):
        told["order_id"] = own
    context.attributes.setdefault("fulfillments", []).append(told)
    for name in ("tracking_url", "tracking_urls", "receipt", "origin_address"):
        value = getattr(fields, name)
        if value not in EMPTY:
            context.sealed[f"{where}.{name}"] = keep(value, where)
    if status == PARCEL_SENT:
        for number in dict.fromkeys(([first] if first else []) + numbers) or [""]:
            yield Parcel(fields.tracking_company or "", number, tuple(ids), at)


def _refund(
    context: Context, refund: RefundFields, where: str, originals: dict[str, dict[str, Any]], what: Moved
) -> None:
    """Add up what a refund took from its lines."""
    number = id_of(refund.id, "id", where)
    told: dict[str, Any] = {"id": number, **REFUND.declared(refund)}
    lines: list[dict[str, Any]] = []
    for place, fields in enumerate(refund.refund_line_items or ()):
        inner = f"{where}.refund_line_items[{place}]"
        line_id = id_of(fields.line_item_id, "line_item_id", inner)
        units = quantity_of(fields.quantity, "quantity", inner)
        kind = fields.restock_type or ""
        if kind not in RESTOCKS:
            raise TranslationError(f"unknown restock type {kind[:60]!r}", f"{inner}.restock_type", _ADD_TO_TABLE)
        subtotal = context.amount(_exact(fields.subtotal), "subtotal", inner)
        context.amount(_exact(fields.total_tax), "total_tax", inner)
        if kind == CANCELLED_BEFORE:
            what.cancelled[line_id] = what.cancelled.get(line_id, 0) + units
            if subtotal is not None:
                what.given_back[line_id] = what.given_back.get(line_id, 0) + subtotal
        else:
            what.refunded[line_id] = what.refunded.get(line_id, 0) + units
        what.refunds.setdefault(line_id, []).append(number)
        line = {"id": id_of(fields.id, "id", inner), "line_item_id": line_id, "quantity": units, "restock_type": kind}
        line.update(REFUND_LINE.declared(fields))
        line.update({"subtotal": text_of(fields.subtotal), "total_tax": text_of(fields.total_tax)})
        for name, plain in (("subtotal_set", fields.subtotal), ("total_tax_set", fields.total_tax)):
            keep_set(context, getattr(fields, name), name, plain, (line, context.sealed), inner)
        if isinstance(fields.line_item, dict):
            _keep_rest(context, fields.line_item, originals.get(line_id, {}), f"{inner}.line_item", ())
        elif fields.line_item not in EMPTY:
            context.sealed[f"{inner}.line_item"] = keep(fields.line_item, inner)
        lines.append(line)
    if lines:
        told["refund_line_items"] = lines
    own = id_of(refund.order_id, "order_id", where)
    if own and own != id_of(context.order.id, "id"):
        told["order_id"] = own
    context.attributes.setdefault("refunds", []).append(told)
    for name in ("note", "transactions", "order_adjustments"):
        value = getattr(refund, name)
        if value not in EMPTY:
            context.sealed[f"{where}.{name}"] = keep(value, where)


def _exact(value: object) -> object:
    """Return an amount that came as a JSON number as the decimal it is; some of its platform's services send those."""
    return Decimal(repr(value)) if isinstance(value, float) else value


def _keep_rest(
    context: Context, item: dict[str, Any], original: dict[str, Any], where: str, read: tuple[str, ...]
) -> None:
    rest = {name: value for name, value in item.items() if name not in read and original.get(name, item) != value}
    if rest:
        context.sealed[where] = keep(rest, where)


def _returns(context: Context) -> frozenset[str] | None:
    """Return the lines with an open return: all of the order where the return does not name its lines."""
    found = context.order.returns
    if not found:
        return None
    is_open = False
    native = []
    for place, fields in enumerate(found):
        where = f"returns[{place}]"
        status = (fields.status or "").lower()
        if status not in RETURNS:
            raise TranslationError(f"unknown status {status[:60]!r}", f"{where}.status", _ADD_TO_TABLE)
        is_open = is_open or status in RETURNS_OPEN
        native.append({"id": id_of(fields.id, "id", where), "status": fields.status, **RETURN.declared(fields)})
    context.attributes["returns"] = native
    return frozenset() if is_open else None


# ---- One line --------------------------------------------------------------------------------------------------------


def order_lines(
    context: Context, what: Moved, status: Status, financial: str, fulfillment: str
) -> tuple[list[Line], int]:
    """Translate the lines; return them and the sum of price times quantity as it was ordered."""
    if not context.order.line_items:
        raise TranslationError("the order has no lines", "line_items", "send the whole order")
    lines: list[Line] = []
    ids: set[str] = set()
    goods = 0
    for place, fields in enumerate(context.order.line_items):
        where = f"line_items[{place}]"
        line_id = id_of(fields.id, "id", where)
        if not line_id:
            raise TranslationError("the line has no id", f"{where}.id")
        if line_id in ids:
            raise TranslationError(f"two lines have the id {line_id}", f"{where}.id")
        ids.add(line_id)
        quantity = quantity_of(fields.quantity, "quantity", where)
        price = context.amount(fields.price, "price", where) or 0
        goods += total_of(price, quantity, "price", where)
        lines.append(_line(context, fields, where, (line_id, quantity, price), what, (status, financial, fulfillment)))
    return lines, goods


def _line(
    context: Context,
    fields: LineFields,
    where: str,
    ordered: tuple[str, int, int],
    what: Moved,
    words: tuple[Status, str, str],
) -> Line:
    line_id, quantity, price = ordered
    status, financial, fulfillment = words
    own = fields.fulfillment_status or ""
    if own not in LINE_FULFILLMENT:
        raise TranslationError(f"unknown status {own[:60]!r}", f"{where}.fulfillment_status", _ADD_TO_TABLE)
    declared = LINE.declared(fields)
    cancelled, refunded = what.cancelled.get(line_id, 0), what.refunded.get(line_id, 0)
    edited = _edited(fields, where, quantity, cancelled + refunded)
    wanted = max(quantity - cancelled - edited, 0)
    state: Literal["open", "shipped", "cancelled"] = "open"
    if wanted and (own == "fulfilled" or fulfillment == "fulfilled" or what.sent.get(line_id, 0) >= wanted):
        state = "shipped"
    elif not wanted or status == "cancelled":
        state = "cancelled"
    elif own == "partial":
        what.sent.setdefault(line_id, 1)
    after_sale: AfterSale = ""
    if what.returning is not None and state == "shipped" and refunded < wanted:
        after_sale = "open"
    elif refunded or (cancelled and not wanted) or financial == "refunded":
        after_sale = "refunded"
    off = allocations(context, fields.discount_allocations, where, declared)
    if off is None:
        off = context.amount(fields.total_discount, "total_discount", where) or 0
    elif context.amount(fields.total_discount, "total_discount", where) not in (None, 0, off):
        declared["total_discount"] = fields.total_discount
    whole = max(price * quantity - off, 0)
    units, amount = quantity, whole
    if 0 < wanted < quantity:
        units, declared["ordered_quantity"] = wanted, quantity
        if off and fields.total_discount:
            declared.setdefault("total_discount", fields.total_discount)
        left = max(whole - what.given_back.get(line_id, 0), 0)
        if cancelled and line_id not in what.given_back:
            left = whole * (quantity - cancelled) // quantity
        amount = left - left * edited // (wanted + edited)
    if cancelled or refunded:
        declared["cancelled_units"], declared["refunded_units"] = cancelled, refunded
    _line_extras(context, fields, where, line_id, declared)
    product, variant = id_of(fields.product_id, "product_id", where), id_of(fields.variant_id, "variant_id", where)
    return Line(
        line_id,
        fields.sku or "",
        units,
        fields.title or "",
        f"{product}/{variant}" if variant else product,
        fields.variant_title or "",
        price,
        price * units - amount,
        amount,
        price > 0 and whole == 0 and bool(fields.discount_allocations),
        state,
        after_sale,
        ",".join(dict.fromkeys(what.refunds.get(line_id, ()))),
        declared,
    )


def _edited(fields: LineFields, where: str, quantity: int, told: int) -> int:
    """Return how many units an edit of the order removed: what is missing that no refund tells."""
    if fields.current_quantity is None:
        return 0
    current = whole_of(fields.current_quantity, "current_quantity", where)
    if not 0 <= current <= quantity:
        reason = f"{current} units now, of {quantity} that were ordered"
        raise TranslationError(reason, f"{where}.current_quantity", "correct it at its source")
    return max(quantity - current - told, 0)


def _line_extras(context: Context, fields: LineFields, where: str, line_id: str, declared: dict[str, Any]) -> None:
    """Keep what has no place of its own in the line."""
    sealed = context.unknown.pop(where, {}) if context.unknown else {}
    if fields.fulfillment_status:
        declared["fulfillment_status"] = fields.fulfillment_status
    if fields.current_quantity is not None and fields.current_quantity != fields.quantity:
        declared["current_quantity"] = fields.current_quantity
    named = f"{fields.title or ''} - {fields.variant_title}" if fields.variant_title else fields.title
    if fields.name and fields.name != named:
        declared["name"] = fields.name
    if declared.get("admin_graphql_api_id") == f"gid://shopify/LineItem/{line_id}":
        del declared["admin_graphql_api_id"]
    keep_set(context, fields.price_set, "price_set", fields.price, (declared, sealed), where)
    keep_set(context, fields.total_discount_set, "total_discount_set", fields.total_discount, (declared, sealed), where)
    taxes(context, fields.tax_lines, f"{where}.tax_lines", declared)
    if context.notes(fields.properties, f"{where}.properties", declared, sealed):
        declared["customized"] = True
    for name in ("duties", "attributed_staffs", "origin_location"):
        value = getattr(fields, name)
        if value not in EMPTY:
            sealed[name] = keep(value, where)
    if sealed:
        context.of_lines[line_id] = sealed
