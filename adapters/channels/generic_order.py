"""One order by our own contract becomes a canonical order.

Every field ends in one of three places: read, an attribute its sender declares as harmless, or sealed: what is
`private`, and every field that the contract does not know.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from adapters.channels.generic_contract import GenericLine, GenericOrder, GenericParcel, GenericReceiver
from adapters.channels.json_fields import FEN_MAX, follows, keep, path, time_of
from adapters.channels.json_form import Filled, Form, Listed
from adapters.channels.json_money import amount_of, currency_of, total_of
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
from domain.mapping_table import Times
from domain.timehub import TimeReader

NAME: Final = "generic"
ORDER: Final = Form(
    GenericOrder,
    receiver=Form(GenericReceiver),
    lines=Listed(Form(GenericLine)),
    parcels=Listed(Form(GenericParcel)),
)
_OWN_ATTRIBUTES: Final = ("invoice_type", "service_package", "referrer_id")
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
_DOCS: Final = "see the contract of the generic channel"
_ADVICE: Final = (
    (re.compile(r"Invalid enum value .*"), "use one of the contract's words"),
    (re.compile(r"Expected `str[^`]*`, got `(?:int|float)`"), 'write it in quotes: ids, and amounts such as "329.00"'),
    (re.compile(r"Expected `str` matching regex .*"), 'write amounts in decimals such as "329.00", without signs'),
)


class _Context(NamedTuple):
    """What the parts of one order share while it is translated."""

    order: GenericOrder
    status: Status
    times: TimeReader
    currency: str
    unknown: dict[str, dict[str, Any]]
    """Unknown fields, by path."""
    of_lines: dict[str, dict[str, Any]]
    """Sealed fields of lines, by line id."""
    wrong: list[dict[str, Any]]
    """Sum rules that do not hold."""
    attributes: dict[str, Any]
    sealed: dict[str, Any]

    def amount(self, fields: Struct, name: str, where: str = "") -> int | None:
        """Read an amount that is given in decimals, in minor units, or in both alike; None where it is absent."""
        decimals = amount_of(getattr(fields, name), self.currency, name, where)
        minor: int | None = getattr(fields, f"{name}_minor")
        if decimals is not None and minor is not None and decimals != minor:
            reason = f"{name} says {decimals} minor units, {name}_minor says {minor}"
            raise TranslationError(reason, path(where, name), "send one of the two")
        return decimals if minor is None else minor

    def time(self, name: str) -> SourceTime | None:
        return time_of(self.times, getattr(self.order, name), name)


def translate(raw: bytes, shop: str, times: Times, merchant_zone: str, zone: str) -> Translated:
    """Turn one order into the canonical order.

    Args:
        raw: one bare order.
        shop: whose it is; "" = as the order says.
        times: how the shop writes times, as far as the order does not say it.
        merchant_zone: zone of the people who read times.
        zone: zone of times where nobody names one.

    Raises:
        TranslationError: with what is wrong, where and what to do.
    """
    order, unknown = _filled(raw)
    status = STATUSES[order.status]
    attributes = _kept(order.attributes, "attributes")
    context = _Context(
        order,
        status,
        _reader(order, times, merchant_zone, zone),
        currency_of(order.currency, "currency"),
        unknown,
        {},
        [],
        attributes,
        unknown.pop("", {}),
    )
    for name in _OWN_ATTRIBUTES:
        value = getattr(order, name)
        if value and attributes.setdefault(name, value) != value:
            raise TranslationError(f"{name} and attributes.{name} differ", name, "send one of the two")
    ordered_at = context.time("ordered_at")
    if ordered_at is None:
        raise TranslationError("the order has no order time", "ordered_at", _DOCS)
    modified_at = follows(context.time("modified_at"), ordered_at, "modified_at")
    if modified_at is None and order.revision is None:
        reason = "neither modified_at nor revision is given: of two views nobody could tell the newer"
        raise TranslationError(reason, "modified_at", "send when the order last changed, or count its changes")
    shop = _shop(context, shop)
    lines, goods = _lines(context)
    stages = {name: _stage(context, name, ordered_at) for name in _STAGES}
    snapshot = Snapshot(
        NAME,
        shop,
        order.order_no,
        status,
        order.native_status or order.status,
        _amounts(context, goods, lines),
        ordered_at,
        modified_at or ordered_at,
        tuple(lines),
        KINDS[order.kind],
        region=_region(order),
        pay_by=stages["pay_by"],
        paid_at=stages["paid_at"],
        shipped_at=stages["shipped_at"],
        completed_at=stages["completed_at"],
        cancelled_at=stages["cancelled_at"],
        cancel_reason=(order.cancel_reason or "") if status == "cancelled" else "",
        holds=tuple(dict.fromkeys(order.holds or ())),
        parcels=_parcels(context),
        attributes=attributes,
        revision=order.revision or 0,
    )
    if order.cancel_reason and status != "cancelled":
        _declare(context, "cancel_reason", order.cancel_reason)
    return Translated(snapshot, _personal(context))


def _filled(raw: bytes) -> Filled[GenericOrder]:
    """Read an order by the contract, and say what is wrong in words that help whoever sent it."""
    try:
        return ORDER.fill(raw)
    except TranslationError as error:
        missing = _MISSING.fullmatch(error.reason)
        if missing is not None:
            raise TranslationError("is missing", path(error.where, missing[1]), _DOCS) from None
        if error.where == "status":
            raise TranslationError(f"unknown status: {error.reason}", "status", STATUS_ADVICE) from None
        advice = next((told for shape, told in _ADVICE if shape.fullmatch(error.reason)), _DOCS)
        raise TranslationError(error.reason, error.where, advice) from None


def _reader(order: GenericOrder, times: Times, merchant_zone: str, zone: str) -> TimeReader:
    try:
        return (replace(times, zone=order.zone) if order.zone else times).reader(zone, merchant_zone)
    except ValueError as error:
        raise TranslationError(str(error), "zone", "use +08:00 or America/New_York, for example") from None


def _kept(value: Mapping[str, Any] | None, where: str) -> dict[str, Any]:
    return {} if not value else {name: keep(inner, where, 1) for name, inner in value.items()}


def _declare(context: _Context, name: str, value: Any) -> None:
    """Keep what was read but has no place of its own for this order; the sender's attribute of that name stays."""
    if context.attributes.setdefault(name, value) != value:
        context.attributes[f"{name} (field)"] = value


def _shop(context: _Context, shop: str) -> str:
    """Return the shop; keep the sender's own word for it where it is another."""
    own = context.order.shop
    if shop and own and own != shop:
        _declare(context, "shop", own)
    try:
        checked_part(context.order.order_no, "order_no")
        return checked_part(shop or own or "", "shop")
    except BadId as error:
        raise TranslationError(str(error), advice="name the shop") from None


_STAGES: Final[dict[str, tuple[Status, ...]]] = {
    "pay_by": ("awaiting_payment",),
    "paid_at": ("paid", "allocating", "shipped", "completed", "cancelled"),
    "shipped_at": ("shipped", "completed"),
    "completed_at": ("completed",),
    "cancelled_at": ("cancelled",),
}
"""The statuses in which a time means what its name says; in others its text stays an attribute."""


def _stage(context: _Context, name: str, ordered_at: SourceTime) -> SourceTime | None:
    at = context.time(name)
    if at is None or context.status in _STAGES[name]:
        return follows(at, ordered_at, name)
    _declare(context, name, at.text)
    return None


def _lines(context: _Context) -> tuple[list[Line], int]:
    """Translate the lines; return them and the sum of price times quantity."""
    if not context.order.lines:
        raise TranslationError("the order has no lines", "lines", "send the whole order")
    sent = {line_id for parcel in context.order.parcels or () for line_id in parcel.lines or ()}
    lines: list[Line] = []
    ids: set[str] = set()
    goods = 0
    for place, fields in enumerate(context.order.lines):
        where = f"lines[{place}]"
        if fields.id in ids:
            raise TranslationError(f"two lines have the id {fields.id[:60]!r}", f"{where}.id", "give each its own")
        ids.add(fields.id)
        line = _line(context, fields, where, sent)
        goods += line.unit_price * line.quantity
        lines.append(line)
    if goods > FEN_MAX:
        raise TranslationError("its lines cost absurdly much", "lines", "is the unit of their prices right?")
    if sent - ids:
        raise TranslationError(f"no line has the id {min(sent - ids)[:60]!r}", "parcels", "name lines by their id")
    return lines, goods


def _line(context: _Context, fields: GenericLine, where: str, sent: set[str]) -> Line:
    price = context.amount(fields, "unit_price", where)
    amount = context.amount(fields, "amount", where)
    off = context.amount(fields, "discount", where)
    if price is None and amount is None:
        raise TranslationError("the line has neither unit_price nor amount", f"{where}.unit_price", "send one of them")
    if price is None:
        price, left = divmod((amount or 0) + (off or 0), fields.quantity)
        if left:
            reason = "no unit_price, and amount plus discount cannot be divided by quantity"
            raise TranslationError(reason, f"{where}.unit_price", "send it")
    goods = total_of(price, fields.quantity, "unit_price", where)
    if amount is None:
        amount = goods - (off or 0)
        if amount < 0:
            raise TranslationError("more than the line costs", f"{where}.discount", "correct it at its source")
    declared = _kept(fields.attributes, f"{where}.attributes")
    if off is not None and goods - off != amount:
        rule = f"{where}.amount = unit_price x quantity - discount"
        context.wrong.append({"rule": rule, "stated": amount, "computed": goods - off})
        declared.setdefault("discount", off)
    sealed = context.unknown.pop(where, {}) if context.unknown else {}
    if fields.private:
        sealed["private"] = _kept(fields.private, f"{where}.private")
    if sealed:
        context.of_lines[fields.id] = sealed
    by_status = {"shipped": "shipped", "completed": "shipped", "cancelled": "cancelled"}
    default = "shipped" if fields.id in sent else by_status.get(context.status, "open")
    return Line(
        fields.id,
        fields.sku or "",
        fields.quantity,
        fields.name or "",
        fields.item or "",
        fields.spec or "",
        price,
        goods - amount,
        amount,
        fields.gift,
        STATES[fields.state or default],
        AFTER_SALES[fields.after_sale],
        fields.after_sale_id or "",
        declared,
    )


def _parcels(context: _Context) -> tuple[Parcel, ...]:
    return tuple(
        Parcel(
            fields.carrier,
            fields.tracking,
            tuple(fields.lines or ()),
            time_of(context.times, fields.shipped_at, "shipped_at", f"parcels[{place}]"),
        )
        for place, fields in enumerate(context.order.parcels or ())
    )


def _amounts(context: _Context, goods: int, lines: list[Line]) -> Amounts:
    """Read the order's amounts and note where the sum rules do not hold; nothing is refused for that."""
    order = context.order
    payable = context.amount(order, "payable")
    if payable is None:
        raise TranslationError("neither payable nor payable_minor is given", "payable", "send what the customer owes")
    stated, off = context.amount(order, "goods"), context.amount(order, "discount")
    freight, tax = context.amount(order, "freight") or 0, context.amount(order, "tax") or 0
    spread = sum(line.amount for line in lines)
    stated = goods if stated is None else stated
    off = max(goods - spread, 0) if off is None else off
    rules = (
        ("goods = sum of unit_price x quantity", stated, goods),
        ("payable = goods - discount + freight + tax", payable, stated - off + freight + tax),
        ("payable = sum of lines' amounts + freight + tax", payable, spread + freight + tax),
    )
    for rule, said, computed in rules:
        if said != computed:
            context.wrong.append({"rule": rule, "stated": said, "computed": computed})
    if context.wrong:
        _declare(context, "amount_mismatch", context.wrong)
    paid = context.amount(order, "paid")
    if paid is None:
        paid = 0 if context.status in ("awaiting_payment", "cancelled") else payable
    return Amounts(context.currency, stated, off, freight, tax, payable, paid)


def _personal(context: _Context) -> Personal:
    order, sealed = context.order, context.sealed
    if order.private:
        sealed["private"] = _kept(order.private, "private")
    sealed.update(context.unknown)  # of objects inside the order, under their paths
    receiver = order.receiver
    told = {} if receiver is None else {name: getattr(receiver, name) for name in receiver.__struct_fields__}
    return Personal(
        order.customer_id or "",
        {name: text for name, text in told.items() if text},
        {name: text for name, text in (order.messages or {}).items() if text},
        sealed,
        context.of_lines,
    )


def _region(order: GenericOrder) -> str:
    if order.receiver is None:
        return ""
    return f"{order.receiver.province or ''} {order.receiver.city or ''}".strip()
