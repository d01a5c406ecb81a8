"""The contract of the generic channel: what a merchant's own shop or ERP sends us as an order.

Strict where a mistake would cost something (ids, amounts, words), and open where senders differ: a field that is not
here is kept, sealed. The gateway's OpenAPI document is made from these Structs.
"""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

MINOR_MAX: Final = 10**11
LINES_MAX: Final = 2_000
QUANTITY_MAX: Final = 999_999_999

StatusWord = Literal[
    "awaiting_payment",
    "paid",
    "allocating",
    "shipped",
    "completed",
    "cancelled",
    "待付款",
    "已付款",
    "配货中",
    "已发货",
    "已完成",
    "已取消",
]
AfterSaleWord = Literal["", "none", "open", "refunded", "closed", "售后中", "已退款", "售后关闭"]
StateWord = Literal["open", "shipped", "cancelled", "待发货", "已发货", "已取消"]
KindWord = Literal["normal", "presale", "counter", "普通", "预售", "门店"]

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=200)] | None
LongText = Annotated[str, Meta(max_length=1_000)] | None
Amount = Annotated[str, Meta(pattern=r"^[0-9]{1,13}(\.[0-9]{1,3})?$")] | None
Minor = Annotated[int, Meta(ge=0, le=MINOR_MAX)] | None
Time = Annotated[str, Meta(max_length=80)] | int | None
Attributes = Annotated[dict[str, Any], Meta(max_length=200)] | None

_TWIN: Final = " In decimals; or as the field of the same name that ends in `_minor`, in the currency's minor unit."
_UNIT: Final = " In the currency's minor unit."
_TIME: Final = " ISO 8601 with an offset; or `YYYY-MM-DD HH:MM:SS` in `zone`; or seconds or milliseconds since 1970."


class GenericReceiver(Struct, kw_only=True):
    """Who gets the goods. Sealed; only province and city are shown."""

    name: Annotated[Text, Meta(description="Name.")] = None
    phone: Annotated[Text, Meta(description="Telephone number.")] = None
    country: Annotated[Text, Meta(description="Country, best as its ISO 3166 code.")] = None
    province: Annotated[Text, Meta(description="Province or state.")] = None
    city: Annotated[Text, Meta(description="City.")] = None
    district: Annotated[Text, Meta(description="District or county (区县).")] = None
    town: Annotated[Text, Meta(description="Town or street office (乡镇街道).")] = None
    detail: Annotated[LongText, Meta(description="The rest of the address.")] = None
    zip: Annotated[Text, Meta(description="Postal code.")] = None
    address_id: Annotated[
        Text, Meta(description="Your id of the address: orders with the same one can go in one parcel.")
    ] = None


class GenericLine(Struct, kw_only=True):
    """One line of an order."""

    id: Annotated[
        Id, Meta(description="Your id of the line; unique in the order, and the same whenever the order is sent again.")
    ]
    quantity: Annotated[int, Meta(description="Units ordered.", ge=1, le=QUANTITY_MAX)]
    sku: Annotated[
        Text,
        Meta(description="The merchant's SKU. Leave out what has none: it is mapped by `item`, or people are asked."),
    ] = None
    item: Annotated[Text, Meta(description="Your id of the item and variant, for mapping where `sku` is left out.")] = (
        None
    )
    name: Annotated[LongText, Meta(description="What people call it.")] = None
    spec: Annotated[LongText, Meta(description="Variant, for example its colour and size.")] = None
    unit_price: Annotated[Amount, Meta(description="Price of one unit." + _TWIN)] = None
    unit_price_minor: Annotated[Minor, Meta(description="Price of one unit." + _UNIT)] = None
    discount: Annotated[Amount, Meta(description="What is taken off the whole line." + _TWIN)] = None
    discount_minor: Annotated[Minor, Meta(description="What is taken off the whole line." + _UNIT)] = None
    amount: Annotated[
        Amount,
        Meta(
            description="What the customer pays for the whole line; default: price times quantity, less discount."
            + _TWIN
        ),
    ] = None
    amount_minor: Annotated[Minor, Meta(description="What the customer pays for the whole line." + _UNIT)] = None
    gift: Annotated[bool, Meta(description="Given away.")] = False
    state: Annotated[StateWord, Meta(description="Of this line; default: as the order's status says.")] | None = None
    after_sale: Annotated[AfterSaleWord, Meta(description="After-sale of this line: 售后中 is said here.")] = ""
    after_sale_id: Annotated[Text, Meta(description="Your id of that after-sale.")] = None
    attributes: Annotated[
        Attributes, Meta(description="Anything else that says nothing about a person; shown to anyone.")
    ] = None
    private: Annotated[
        Attributes, Meta(description="Anything else that may be about a person, a text to engrave for example; sealed.")
    ] = None


class GenericParcel(Struct, kw_only=True):
    """A parcel that left."""

    carrier: Annotated[Id, Meta(description="Code or name of the carrier.")]
    tracking: Annotated[Id, Meta(description="Tracking number.")]
    lines: (
        Annotated[list[str], Meta(description="Ids of the lines in it; none = all.", max_length=LINES_MAX)] | None
    ) = None
    shipped_at: Annotated[Time, Meta(description="When it left." + _TIME)] = None


class GenericOrder(Struct, kw_only=True):
    """An order, whole, as it is now. Send it again whenever it changes; sending the same twice is harmless."""

    order_no: Annotated[Id, Meta(description="Your order number: with the shop it is the order's identity, for ever.")]
    status: Annotated[StatusWord, Meta(description="How far the order is.")]
    currency: Annotated[str, Meta(description="ISO 4217 code of all its amounts.", pattern="^[A-Z]{3}$")]
    lines: Annotated[list[GenericLine], Meta(description="All its lines.", min_length=1, max_length=LINES_MAX)]
    ordered_at: Annotated[
        Annotated[str, Meta(min_length=1, max_length=80)] | int, Meta(description="When it was ordered." + _TIME)
    ]
    shop: Annotated[Text, Meta(description="Your shop, where the connection or `--shop` does not name it.")] = None
    modified_at: Annotated[
        Time,
        Meta(
            description="When the order last changed: tells the newer of two views. This or `revision` is needed."
            + _TIME
        ),
    ] = None
    revision: Annotated[int, Meta(description="Counts the changes of the order.", ge=0, le=2**62)] | None = None
    zone: (
        Annotated[
            str,
            Meta(
                description="Zone of the times that name none: `+08:00` or `America/New_York`; default +08:00.",
                max_length=60,
            ),
        ]
        | None
    ) = None
    native_status: Annotated[Text, Meta(description="Your own word for the status.")] = None
    kind: Annotated[KindWord, Meta(description="`counter`: paid and handed over at once.")] = "normal"
    goods: Annotated[Amount, Meta(description="Sum of price times quantity; default: as the lines say." + _TWIN)] = None
    goods_minor: Annotated[Minor, Meta(description="Sum of price times quantity." + _UNIT)] = None
    discount: Annotated[Amount, Meta(description="All that is taken off; default: as the lines say." + _TWIN)] = None
    discount_minor: Annotated[Minor, Meta(description="All that is taken off." + _UNIT)] = None
    freight: Annotated[Amount, Meta(description="Charge for shipping." + _TWIN)] = None
    freight_minor: Annotated[Minor, Meta(description="Charge for shipping." + _UNIT)] = None
    tax: Annotated[Amount, Meta(description="Tax that comes on top of the prices." + _TWIN)] = None
    tax_minor: Annotated[Minor, Meta(description="Tax that comes on top of the prices." + _UNIT)] = None
    payable: Annotated[
        Amount, Meta(description="What the customer owes in all. This or `payable_minor` is needed." + _TWIN)
    ] = None
    payable_minor: Annotated[Minor, Meta(description="What the customer owes in all." + _UNIT)] = None
    paid: Annotated[
        Amount,
        Meta(
            description="What was paid so far; default: nothing while awaiting payment or cancelled, else all."
            " Cash on delivery: 0." + _TWIN
        ),
    ] = None
    paid_minor: Annotated[Minor, Meta(description="What was paid so far." + _UNIT)] = None
    pay_by: Annotated[Time, Meta(description="When the order is closed if nobody pays." + _TIME)] = None
    paid_at: Annotated[Time, Meta(description="When it was paid." + _TIME)] = None
    shipped_at: Annotated[Time, Meta(description="When all of it had left." + _TIME)] = None
    completed_at: Annotated[Time, Meta(description="When the trade was over." + _TIME)] = None
    cancelled_at: Annotated[Time, Meta(description="When it was cancelled." + _TIME)] = None
    cancel_reason: Annotated[Text, Meta(description="Why it was cancelled; no person's words.")] = None
    customer_id: Annotated[Text, Meta(description="Your id of the customer; sealed.")] = None
    receiver: GenericReceiver | None = None
    messages: (
        Annotated[
            dict[str, Annotated[str, Meta(max_length=5_000)]],
            Meta(description="What people wrote, by who: `buyer_message`, `seller_memo`; sealed.", max_length=20),
        ]
        | None
    ) = None
    holds: (
        Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=60)]],
            Meta(description="Why it must not ship yet, a word each: `risk_review`, `locked` …", max_length=20),
        ]
        | None
    ) = None
    parcels: Annotated[list[GenericParcel], Meta(description="What has left.", max_length=LINES_MAX)] | None = None
    invoice_type: Annotated[Text, Meta(description="Kind of invoice asked for (发票类型).")] = None
    service_package: Annotated[Text, Meta(description="Installation or other service bought with it (安装服务包).")] = (
        None
    )
    referrer_id: Annotated[Text, Meta(description="Id of who recommended the shop (推荐人ID); never a name.")] = None
    attributes: Annotated[
        Attributes, Meta(description="Anything else that says nothing about a person; shown to anyone.")
    ] = None
    private: Annotated[Attributes, Meta(description="Anything else that may be about a person; sealed.")] = None


class GenericOrders(Struct, kw_only=True):
    """Several orders in one request. Each stands for itself: one that is wrong does not stop the others."""

    orders: Annotated[list[GenericOrder], Meta(description="Up to 500 orders.", min_length=1, max_length=500)]
