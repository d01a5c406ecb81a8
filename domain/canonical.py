"""The canonical order: what every channel's payload is translated into.

Two halves. `Snapshot` holds what decisions, feeds and boards may see: nothing personal. `Personal` holds what names or
could name a person, and every field nobody has declared harmless; it is sealed under the order's own key before it
is stored. Together with the raw payload they hold every field of the source.
"""

from typing import Any, Literal

import msgspec

Status = Literal["awaiting_payment", "paid", "allocating", "shipped", "completed", "cancelled"]
"""The fulfilment axis, in the order of its transition table (待付款 已付款 配货中 已发货 已完成 已取消)."""

AfterSale = Literal["", "open", "refunded", "closed"]
"""The after-sale axis of one line (售后中 while `open`)."""


class TranslationError(ValueError):
    """A payload that cannot become a canonical order: what is wrong, where, and what to do about it."""

    def __init__(self, reason: str, where: str = "", advice: str = "") -> None:
        """Keep the three parts; the text joins them."""
        super().__init__(": ".join(part for part in (where, reason) if part) + (f" ({advice})" if advice else ""))
        self.reason = reason
        self.where = where
        self.advice = advice


class SourceTime(msgspec.Struct, frozen=True, gc=False):
    """A time as a source gave it: original text, instant, and text for people (three values, none guessed)."""

    text: str
    """Exactly as in the source."""
    utc_ms: int
    """The instant, UTC milliseconds since 1970."""
    offset_min: int
    """The source's offset from UTC in minutes (480 = UTC+8); 0 for epoch numbers, which have none."""
    local: str
    """ISO 8601 with milliseconds and offset in the merchant's zone, e.g. `2026-02-09T22:03:04.294+08:00`."""


class Line(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One line of an order. Money in minor units of the order's currency."""

    id: str
    """The channel's line id, exact text; unique in the order."""
    sku: str
    """The merchant's own SKU; "" where the channel's item is not mapped."""
    quantity: int
    """Units ordered, > 0."""
    name: str = ""
    item: str = ""
    """The channel's item and variant id, for mapping."""
    spec: str = ""
    unit_price: int = 0
    discount: int = 0
    amount: int = 0
    """What the customer pays for the line after all discounts spread over it."""
    gift: bool = False
    state: Literal["open", "shipped", "cancelled"] = "open"
    """What the channel says of this line. One that has left stays `shipped`, whatever becomes of its refund."""
    after_sale: AfterSale = ""
    after_sale_id: str = ""
    attributes: dict[str, Any] = {}
    """Declared, not personal."""


class Parcel(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A shipment as the channel reports it."""

    carrier: str
    tracking: str
    lines: tuple[str, ...] = ()
    """Ids of the lines in it; empty = all."""
    at: SourceTime | None = None


class Amounts(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Money of the whole order, in minor units of `currency`."""

    currency: str
    """ISO 4217."""
    goods: int = 0
    """Sum of price times quantity."""
    discount: int = 0
    freight: int = 0
    tax: int = 0
    payable: int = 0
    """What the customer owes in all, freight included."""
    paid: int = 0
    """What has been paid so far (a deposit before its balance)."""


class Snapshot(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An order as its channel sees it at one moment. Nothing personal."""

    channel: str
    shop: str
    order_no: str
    status: Status
    native_status: str
    """The channel's own word, exact."""
    amounts: Amounts
    ordered_at: SourceTime
    modified_at: SourceTime
    """When the channel last changed it; business time (the order time) where the source has none."""
    lines: tuple[Line, ...]
    kind: Literal["normal", "presale", "counter"] = "normal"
    """`counter`: paid and handed over at once (POS), no fulfilment."""
    customer: str = ""
    """Keyed digest of the channel's customer id (filled in by the shell), good for search and grouping."""
    region: str = ""
    """Province / city, as far as no person can be told by it."""
    pay_by: SourceTime | None = None
    """When the channel closes the order if it is not paid."""
    paid_at: SourceTime | None = None
    shipped_at: SourceTime | None = None
    completed_at: SourceTime | None = None
    cancelled_at: SourceTime | None = None
    cancel_reason: str = ""
    holds: tuple[str, ...] = ()
    """What the platform says must not ship: `risk_review`, `group_not_formed`, `locked` …"""
    parcels: tuple[Parcel, ...] = ()
    attributes: dict[str, Any] = {}
    """Custom attributes the channel's table declares as not personal."""
    revision: int = 0
    """How complete this view is, where times cannot tell (POS: rows of the receipt). Of two views with the same
    `modified_at` the greater one is the newer."""


class Personal(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The sealed half: who the customer is, and every field nobody declared harmless."""

    customer_id: str = ""
    receiver: dict[str, str] = {}
    """name, phone, province, city, district, town, detail, zip, address_id … as the channel gives them."""
    messages: dict[str, str] = {}
    """buyer_message, seller_memo …"""
    attributes: dict[str, Any] = {}
    """Unknown fields of the order, by their name in the source; nested values kept whole."""
    line_attributes: dict[str, dict[str, Any]] = {}
    """Unknown fields of lines, by line id."""


class Translated(msgspec.Struct, frozen=True, gc=False):
    """What a channel makes of one payload."""

    snapshot: Snapshot
    personal: Personal


class ReturnLine(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Goods brought back. Money in minor units of the return's currency."""

    sku: str
    quantity: int
    """Units brought back, > 0."""
    amount: int
    """What the customer gets back for them, >= 0 (0: a gift came back)."""
    item: str = ""
    """The channel's item id (POS: the barcode), for mapping where there is no SKU."""
    name: str = ""


class Return(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A return told by a document of its own (a POS receipt): an after-sale on the original order, done at once."""

    channel: str
    shop: str
    original_order_no: str
    """Order number of the order the goods came from, in the form in which that order carries it."""
    reference: str
    """Number of the return's own document, in the same form; the same return always carries the same one."""
    at: SourceTime
    currency: str
    lines: tuple[ReturnLine, ...]
    native_status: str = ""
    """The channel's own word for it, exact."""
    reason: str = ""
    """Why, as far as it is not personal."""
    attributes: dict[str, Any] = {}
    """Declared, not personal."""
    personal: Personal = Personal()
    """To be sealed."""
