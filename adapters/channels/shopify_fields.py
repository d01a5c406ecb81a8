"""What Shopify's words mean: statuses, returns, and which fields are not personal.

A word that is not here is never guessed: the order goes to quarantine.
"""

from typing import Any, Final

import msgspec

from adapters.channels.json_form import NO_DEFAULT, Form, Id, Listed, Money, Text, When

Whole = int | str | None
"""A whole number, now and then as digits."""

FINANCIAL: Final = frozenset(
    {"pending", "authorized", "partially_paid", "paid", "partially_refunded", "refunded", "voided"}
)
UNPAID: Final = frozenset({"pending", "authorized", "partially_paid"})
FULFILLMENT: Final = frozenset({"", "partial", "fulfilled", "restocked"})
LINE_FULFILLMENT: Final = frozenset({"", "partial", "fulfilled", "not_eligible", "restocked"})
PARCEL_SENT: Final = "success"
PARCELS: Final = frozenset({"pending", "open", "success", "cancelled", "error", "failure"})
CANCELLED_BEFORE: Final = "cancel"
"""`restock_type` of units that were refunded before they were shipped."""
RESTOCKS: Final = frozenset({"", "no_restock", "cancel", "return", "legacy_restock"})
RETURNS_OPEN: Final = frozenset({"open", "requested"})
RETURNS: Final = RETURNS_OPEN | {"closed", "canceled", "cancelled", "declined"}

PRESALE_WORDS: Final = frozenset({"presale", "pre-sale", "preorder", "pre-order", "预售"})
"""Tags, or names of a line's properties, that apps set on presales (inferred)."""

NOTES: Final = {
    "referrer_id": "referrer_id",
    "推荐人ID": "referrer_id",
    "service_package": "service_package",
    "安装服务包": "service_package",
    "invoice_type": "invoice_type",
    "发票类型": "invoice_type",
}
"""Note attributes and properties of lines that are no person's words. All others are sealed."""

RECEIVER: Final = {
    "name": "name",
    "first_name": "first_name",
    "last_name": "last_name",
    "phone": "phone",
    "country": "country",
    "country_code": "country_code",
    "province": "province",
    "province_code": "province_code",
    "city": "city",
    "address1": "detail",
    "address2": "detail_2",
    "company": "company",
    "zip": "zip",
}

SEALED: Final = (
    "billing_address",
    "browser_ip",
    "cart_token",
    "checkout_token",
    "client_details",
    "company",
    "contact_email",
    "email",
    "landing_site",
    "landing_site_ref",
    "order_status_url",
    "payment_details",
    "payment_terms",
    "phone",
    "po_number",
    "referring_site",
    "source_identifier",
    "source_url",
    "tags",
    "token",
)
"""Fields of an order that name a person or lead to one; they are kept as they are, sealed."""

SETS: Final = {
    "total_price_set": "total_price",
    "subtotal_price_set": "subtotal_price",
    "total_discounts_set": "total_discounts",
    "total_line_items_price_set": "total_line_items_price",
    "total_tax_set": "total_tax",
    "total_shipping_price_set": "",
    "current_total_price_set": "current_total_price",
    "current_subtotal_price_set": "current_subtotal_price",
    "current_total_discounts_set": "current_total_discounts",
    "current_total_tax_set": "current_total_tax",
    "current_shipping_price_set": "",
    "current_total_duties_set": "",
    "current_total_additional_fees_set": "",
    "original_total_duties_set": "",
    "original_total_additional_fees_set": "",
    "total_cash_rounding_payment_adjustment_set": "",
    "total_cash_rounding_refund_adjustment_set": "",
}
"""Amounts in two currencies, and the plain field that says the same in the shop's."""


class AddressFields(msgspec.Struct, kw_only=True):
    """Where the goods go."""

    name: Text = None
    first_name: Text = None
    last_name: Text = None
    phone: Text = None
    country: Text = None
    country_code: Text = None
    province: Text = None
    province_code: Text = None
    city: Text = None
    address1: Text = None
    address2: Text = None
    company: Text = None
    zip: Text = None
    latitude: Any = None
    longitude: Any = None


class TaxFields(msgspec.Struct, kw_only=True):
    """A tax, of the order, a line or its shipping."""

    price: Money = None
    rate: Money = None
    price_set: Any = None


class AllocationFields(msgspec.Struct, kw_only=True):
    """A line's share of a discount."""

    amount: Money = None
    amount_set: Any = None
    discount_application_index: Whole = None


class LineFields(msgspec.Struct, kw_only=True):
    """What is read of a line (`line_items[]`)."""

    id: Id = None
    product_id: Id = None
    variant_id: Id = None
    sku: Text = None
    title: Text = None
    variant_title: Text = None
    name: Text = None
    quantity: Whole = None
    current_quantity: Whole = None
    price: Money = None
    price_set: Any = None
    total_discount: Money = None
    total_discount_set: Any = None
    discount_allocations: list[AllocationFields] | None = None
    fulfillment_status: Text = None
    tax_lines: list[TaxFields] | None = None
    duties: Any = None
    properties: Any = None
    """Name and value: the text to engrave, for example. Also seen: `[]` and an object."""
    attributed_staffs: Any = None
    origin_location: Any = None


class ShippingFields(msgspec.Struct, kw_only=True):
    """A charge for shipping (`shipping_lines[]`)."""

    id: Id = None
    price: Money = None
    price_set: Any = None
    discounted_price: Money = None
    discounted_price_set: Any = None
    current_discounted_price_set: Any = None
    tax_lines: list[TaxFields] | None = None
    discount_allocations: list[AllocationFields] | None = None
    phone: Text = None


class ParcelFields(msgspec.Struct, kw_only=True):
    """A parcel (`fulfillments[]`)."""

    id: Id = None
    order_id: Id = None
    status: Text = None
    created_at: When = None
    tracking_company: Text = None
    tracking_number: Id = None
    tracking_numbers: list[Id] | None = None
    tracking_url: Text = None
    tracking_urls: Any = None
    line_items: Any = None
    receipt: Any = None
    origin_address: Any = None


class RefundLineFields(msgspec.Struct, kw_only=True):
    """Units of a line that were refunded."""

    id: Id = None
    line_item_id: Id = None
    quantity: Whole = None
    restock_type: Text = None
    subtotal: Money = None
    subtotal_set: Any = None
    total_tax: Money = None
    total_tax_set: Any = None
    line_item: Any = None


class RefundFields(msgspec.Struct, kw_only=True):
    """A refund (`refunds[]`)."""

    id: Id = None
    order_id: Id = None
    note: Text = None
    refund_line_items: list[RefundLineFields] | None = None
    transactions: Any = None
    order_adjustments: Any = None


class ReturnFields(msgspec.Struct, kw_only=True):
    """A return that is on its way (`returns[]`)."""

    id: Id = None
    status: Text = None


class CodeFields(msgspec.Struct, kw_only=True):
    """A discount code the customer entered."""

    amount: Money = None


class ApplicationFields(msgspec.Struct, kw_only=True):
    """A discount and what it applies to."""

    value: Money = None


class OrderFields(msgspec.Struct, kw_only=True):
    """What is read of an order."""

    id: Id = None
    admin_graphql_api_id: Text = None
    created_at: When = None
    updated_at: When = None
    processed_at: When = None
    closed_at: When = None
    cancelled_at: When = None
    cancel_reason: Text = None
    currency: Text = None
    presentment_currency: Text = None
    financial_status: Text = None
    fulfillment_status: Text = None
    test: bool | None = None
    taxes_included: bool | None = None
    total_line_items_price: Money = None
    subtotal_price: Money = None
    total_discounts: Money = None
    total_tax: Money = None
    total_tip_received: Money = None
    total_price: Money = None
    total_outstanding: Money = None
    current_total_price: Money = None
    current_subtotal_price: Money = None
    current_total_discounts: Money = None
    current_total_tax: Money = None
    total_price_set: Any = None
    subtotal_price_set: Any = None
    total_discounts_set: Any = None
    total_line_items_price_set: Any = None
    total_tax_set: Any = None
    total_shipping_price_set: Any = None
    current_total_price_set: Any = None
    current_subtotal_price_set: Any = None
    current_total_discounts_set: Any = None
    current_total_tax_set: Any = None
    current_shipping_price_set: Any = None
    current_total_duties_set: Any = None
    current_total_additional_fees_set: Any = None
    original_total_duties_set: Any = None
    original_total_additional_fees_set: Any = None
    total_cash_rounding_payment_adjustment_set: Any = None
    total_cash_rounding_refund_adjustment_set: Any = None
    note: Text = None
    note_attributes: Any = None
    payment_gateway_names: Any = None
    tax_lines: list[TaxFields] | None = None
    customer: Any = None
    billing_address: Any = None
    browser_ip: Any = None
    cart_token: Any = None
    checkout_token: Any = None
    client_details: Any = None
    company: Any = None
    contact_email: Any = None
    email: Any = None
    landing_site: Any = None
    landing_site_ref: Any = None
    order_status_url: Any = None
    payment_details: Any = None
    payment_terms: Any = None
    phone: Any = None
    po_number: Any = None
    referring_site: Any = None
    source_identifier: Any = None
    source_url: Any = None
    tags: Any = None
    token: Any = None
    shipping_address: AddressFields | None = None
    line_items: list[LineFields] | None = None
    shipping_lines: list[ShippingFields] | None = None
    fulfillments: list[ParcelFields] | None = None
    refunds: list[RefundFields] | None = None
    returns: list[ReturnFields] | None = None
    discount_codes: list[CodeFields] | None = None
    discount_applications: list[ApplicationFields] | None = None


TAX: Final = Form(TaxFields, {"title": NO_DEFAULT, "channel_liable": NO_DEFAULT, "source": NO_DEFAULT})
ALLOCATION: Final = Form(AllocationFields)

LINE: Final = Form(
    LineFields,
    {
        "admin_graphql_api_id": NO_DEFAULT,
        **dict.fromkeys(("vendor", "fulfillable_quantity", "grams", "variant_inventory_management"), NO_DEFAULT),
        "fulfillment_service": "manual",
        "requires_shipping": True,
        "taxable": True,
        "product_exists": True,
        "gift_card": False,
        "pre_tax_price": NO_DEFAULT,
        "tax_code": "",
        "sales_line_item_group_id": NO_DEFAULT,
    },
    discount_allocations=Listed(ALLOCATION),
    tax_lines=Listed(TAX),
)

SHIPPING: Final = Form(
    ShippingFields,
    {
        **dict.fromkeys(("code", "title", "source", "carrier_identifier", "delivery_category"), NO_DEFAULT),
        "requested_fulfillment_service_id": NO_DEFAULT,
        "is_removed": False,
    },
    discount_allocations=Listed(ALLOCATION),
    tax_lines=Listed(TAX),
)

PARCEL: Final = Form(
    ParcelFields,
    {
        **dict.fromkeys(("admin_graphql_api_id", "updated_at", "location_id", "name", "shipment_status"), NO_DEFAULT),
        "service": "manual",
    },
)

REFUND_LINE: Final = Form(RefundLineFields, {"location_id": NO_DEFAULT})
REFUND: Final = Form(
    RefundFields,
    dict.fromkeys(("admin_graphql_api_id", "created_at", "processed_at", "restock", "user_id"), NO_DEFAULT),
    refund_line_items=Listed(REFUND_LINE),
)
RETURN: Final = Form(ReturnFields, {"name": NO_DEFAULT, "admin_graphql_api_id": NO_DEFAULT})
CODE: Final = Form(CodeFields, dict.fromkeys(("code", "type"), NO_DEFAULT))
APPLICATION: Final = Form(
    ApplicationFields,
    dict.fromkeys(
        (
            "allocation_method",
            "code",
            "description",
            "target_selection",
            "target_type",
            "title",
            "type",
            "value_type",
        ),
        NO_DEFAULT,
    ),
)

ORDER: Final = Form(
    OrderFields,
    {
        **dict.fromkeys(("app_id", "name", "number", "order_number", "confirmation_number"), NO_DEFAULT),
        "confirmed": True,
        "source_name": "web",
        **dict.fromkeys(("gateway", "processing_method", "customer_locale", "location_id", "user_id"), NO_DEFAULT),
        **dict.fromkeys(("checkout_id", "device_id", "reference", "merchant_of_record_app_id"), NO_DEFAULT),
        "merchant_business_entity_id": NO_DEFAULT,
        **dict.fromkeys(("buyer_accepts_marketing", "duties_included", "estimated_taxes", "tax_exempt"), False),
        "total_weight": 0,
        "total_price_usd": NO_DEFAULT,
    },
    shipping_address=Form(AddressFields),
    tax_lines=Listed(TAX),
    line_items=Listed(LINE),
    shipping_lines=Listed(SHIPPING),
    fulfillments=Listed(PARCEL),
    refunds=Listed(REFUND),
    returns=Listed(RETURN),
    discount_codes=Listed(CODE),
    discount_applications=Listed(APPLICATION),
)
"""What is not personal, beside what is read. A name that is in no form is sealed."""
