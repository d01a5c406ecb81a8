"""The contract by which a merchant's own mini-program pushes its orders: which fields there are, which are personal.

Amounts end in `_fen` and are whole numbers of the currency's minor unit. A name that is in no form is sealed.
"""

from typing import Final

import msgspec

from adapters.channels.json_form import NO_DEFAULT, Form, Id, Listed, Text, When

Whole = int | str | None
"""A whole number, now and then as digits."""


class ReceiverFields(msgspec.Struct, kw_only=True):
    """Who gets the goods, masked or not."""

    name: Text = None
    phone: Text = None
    country: Text = None
    province: Text = None
    city: Text = None
    district: Text = None
    town: Text = None
    address: Text = None
    zip: Text = None
    address_id: Id = None


class InvoiceFields(msgspec.Struct, kw_only=True):
    """The invoice asked for."""

    type: Text = None
    title: Text = None
    tax_no: Text = None
    email: Text = None


class LineFields(msgspec.Struct, kw_only=True):
    """A line."""

    line_id: Id = None
    sku: Text = None
    product_id: Id = None
    sku_id: Id = None
    title: Text = None
    spec: Text = None
    qty: Whole = None
    unit_price_fen: Whole = None
    discount_fen: Whole = None
    amount_fen: Whole = None
    is_gift: bool | None = None
    state: Text = None
    after_sale: Text = None
    after_sale_id: Id = None
    engraving: Text = None
    """The text to engrave: often a name, so it is sealed."""


class ParcelFields(msgspec.Struct, kw_only=True):
    """A parcel."""

    carrier: Text = None
    tracking_no: Id = None
    shipped_at: When = None
    line_ids: list[Id] | None = None


class OrderFields(msgspec.Struct, kw_only=True):
    """An order, whole."""

    order_no: Id = None
    appid: Text = None
    status: Text = None
    kind: Text = None
    member_id: Id = None
    openid: Text = None
    unionid: Text = None
    created_at: When = None
    updated_at: When = None
    paid_at: When = None
    pay_by: When = None
    shipped_at: When = None
    completed_at: When = None
    cancelled_at: When = None
    cancel_reason: Text = None
    currency: Text = None
    goods_amount_fen: Whole = None
    discount_fen: Whole = None
    freight_fen: Whole = None
    tax_fen: Whole = None
    payable_fen: Whole = None
    paid_fen: Whole = None
    wx_transaction_id: Id = None
    buyer_message: Text = None
    seller_memo: Text = None
    holds: list[str] | None = None
    receiver: ReceiverFields | None = None
    invoice: InvoiceFields | None = None
    lines: list[LineFields] | None = None
    parcels: list[ParcelFields] | None = None


class EventFields(msgspec.Struct, kw_only=True):
    """The envelope."""

    appid: Text = None
    occurred_at: When = None
    order: OrderFields | None = None


LINE: Final = Form(LineFields, {"service_package": NO_DEFAULT, "warehouse": NO_DEFAULT})
PARCEL: Final = Form(ParcelFields)
ORDER: Final = Form(
    OrderFields,
    {"referrer_id": NO_DEFAULT, "service_package": NO_DEFAULT, "source": NO_DEFAULT, "store_code": NO_DEFAULT},
    receiver=Form(ReceiverFields),
    invoice=Form(InvoiceFields),
    lines=Listed(LINE),
    parcels=Listed(PARCEL),
)
EVENT: Final = Form(EventFields, {"event_id": NO_DEFAULT, "event_type": NO_DEFAULT}, order=ORDER)

ORDER_EVENTS: Final = "order."
AFTER_SALE_EVENTS: Final = "aftersale."
"""An event of either family that brings a whole order is that order; what happened stands in the order."""

PAYMENTS: Final = {
    "TRANSACTION.SUCCESS": "paid",
    "REFUND.SUCCESS": "refunded",
    "REFUND.ABNORMAL": "a refund that failed",
    "REFUND.CLOSED": "a refund that was closed",
}
"""What WeChat Pay's notices tell."""
