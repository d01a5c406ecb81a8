"""What a WeChat shop's (微信小店) codes mean: statuses, events, and which fields are not personal.

A status that is not here is never guessed: the order goes to quarantine.
"""

from typing import Any, Final, NamedTuple

import msgspec

from adapters.channels.json_form import NO_DEFAULT, Form, Id, Listed, Text
from domain.canonical import Status

Code = int | str | None
"""A code, an amount in fen, a count or an epoch: whole numbers, now and then as digits."""


class Meaning(NamedTuple):
    """What a native status says of the order."""

    status: Status
    reason: str = ""
    """Why it was cancelled."""


STATUSES: Final[dict[int, Meaning]] = {
    10: Meaning("awaiting_payment"),
    20: Meaning("paid"),
    21: Meaning("allocating"),
    30: Meaning("shipped"),
    100: Meaning("completed"),
    190: Meaning("cancelled", "closed_before_payment"),
    200: Meaning("cancelled", "refunded"),
    250: Meaning("cancelled", "closed_before_payment"),
}
REFUNDED_WHOLLY: Final = 200
GONE: Final = frozenset({30, 100})
PRESALE_STOCK: Final = 1
"""`stock_type` of goods sold before they are there (inferred)."""
PAY_LATER: Final = 2
PAID_WITH_POINTS: Final = 4

EVENTS: Final = {
    "channels_ec_order_new": "order created",
    "channels_ec_order_cancel": "cancelled",
    "channels_ec_order_pay": "paid",
    "channels_ec_order_deliver": "shipped",
    "channels_ec_order_confirm": "receipt confirmed",
    "channels_ec_order_settle": "settled",
    "channels_ec_order_ext_info_update": "remarks or address changed",
    "channels_ec_aftersale_update": "after-sale changed",
}
"""What a push may tell."""
FAMILIES: Final = ("channels_ec_order_", "channels_ec_aftersale_")
"""Events not in the table that begin so and name an order are hints all the same: fetching it is harmless."""

RECEIVER: Final = {
    "user_name": "name",
    "tel_number": "phone",
    "virtual_order_tel_number": "phone_virtual",
    "province_name": "province",
    "city_name": "city",
    "county_name": "district",
    "detail_info": "detail",
    "house_number": "house_number",
    "postal_code": "zip",
    "national_code": "national_code",
    "hash_code": "address_id",
}


class AttrFields(msgspec.Struct, kw_only=True):
    """One property of a variant."""

    attr_key: Text = None
    attr_value: Text = None


class DeliverFields(msgspec.Struct, kw_only=True):
    """How a line's goods are promised (`sku_deliver_info`)."""

    stock_type: Code = None
    predict_delivery_time: Code = None


class LineFields(msgspec.Struct, kw_only=True):
    """What is read of a line (`order_detail.product_infos[]`)."""

    product_id: Id = None
    sku_id: Id = None
    sku_code: Text = None
    out_product_id: Id = None
    out_sku_id: Id = None
    title: Text = None
    sku_attrs: list[AttrFields] | None = None
    sku_cnt: Code = None
    sale_price: Code = None
    market_price: Code = None
    real_price: Code = None
    estimate_price: Code = None
    change_price: Code = None
    deduction_price: Code = None
    on_aftersale_sku_cnt: Code = None
    finish_aftersale_sku_cnt: Code = None
    sku_deliver_info: DeliverFields | None = None
    delivery_deadline: Code = None
    extra_service: Any = None


class PayFields(msgspec.Struct, kw_only=True):
    """What is read of the payment."""

    payment_method: Code = None
    prepay_time: Code = None
    pay_time: Code = None
    prepay_id: Text = None
    transaction_id: Id = None


class PriceFields(msgspec.Struct, kw_only=True):
    """What is read of the amounts, in fen."""

    product_price: Code = None
    order_price: Code = None
    freight: Code = None
    discounted_price: Code = None
    original_order_price: Code = None
    change_down_price: Code = None
    change_freight: Code = None
    deduction_price: Code = None


class AddressFields(msgspec.Struct, kw_only=True):
    """The address, masked or not."""

    user_name: Text = None
    tel_number: Text = None
    virtual_order_tel_number: Text = None
    province_name: Text = None
    city_name: Text = None
    county_name: Text = None
    detail_info: Text = None
    house_number: Text = None
    postal_code: Text = None
    national_code: Text = None
    hash_code: Text = None


class ParcelLineFields(msgspec.Struct, kw_only=True):
    """A line in a parcel."""

    product_id: Id = None
    sku_id: Id = None
    product_cnt: Code = None


class ParcelFields(msgspec.Struct, kw_only=True):
    """A parcel (`delivery_product_info[]`)."""

    waybill_id: Id = None
    delivery_id: Text = None
    delivery_name: Text = None
    delivery_time: Code = None
    product_infos: list[ParcelLineFields] | None = None
    delivery_address: Any = None


class DeliveryFields(msgspec.Struct, kw_only=True):
    """What is read of the delivery."""

    address_info: AddressFields | None = None
    delivery_product_info: list[ParcelFields] | None = None
    ship_done_time: Code = None


class ExtFields(msgspec.Struct, kw_only=True):
    """Remarks, and where the customer came from."""

    customer_notes: Text = None
    merchant_notes: Text = None
    confirm_receipt_time: Code = None
    finder_id: Text = None
    live_id: Id = None


class SharerFields(msgspec.Struct, kw_only=True):
    """Who recommended the goods (推荐人), of the order or of one SKU."""

    sku_id: Id = None
    sharer_openid: Text = None
    sharer_unionid: Text = None


class DetailFields(msgspec.Struct, kw_only=True):
    """What is read of `order_detail`."""

    product_infos: list[LineFields] | None = None
    pay_info: PayFields | None = None
    price_info: PriceFields | None = None
    delivery_info: DeliveryFields | None = None
    ext_info: ExtFields | None = None
    sharer_info: SharerFields | None = None
    sku_sharer_infos: list[SharerFields] | None = None
    coupon_info: Any = None
    settle_info: Any = None
    commission_infos: Any = None


class AfterSaleOrderFields(msgspec.Struct, kw_only=True):
    """An after-sale of the order; what it is about stands in its own object."""

    aftersale_order_id: Id = None


class AfterSaleFields(msgspec.Struct, kw_only=True):
    """What is read of `aftersale_detail`."""

    on_aftersale_order_cnt: Code = None
    aftersale_order_list: list[AfterSaleOrderFields] | None = None


class OrderFields(msgspec.Struct, kw_only=True):
    """What is read of an order."""

    order_id: Id = None
    status: Code = None
    openid: Text = None
    unionid: Text = None
    create_time: Code = None
    update_time: Code = None
    order_detail: DetailFields | None = None
    aftersale_detail: AfterSaleFields | None = None


ATTR: Final = Form(AttrFields)

LINE: Final = Form(
    LineFields,
    {
        "thumb_img": NO_DEFAULT,
        "out_warehouse_id": NO_DEFAULT,
        **dict.fromkeys(("is_discounted", "is_change_price", "is_flash_sale", "is_market_price"), False),
    },
    sku_attrs=Listed(ATTR),
    sku_deliver_info=Form(DeliverFields, {"full_payment_presale_delivery_type": 0}),
)

PARCEL_LINE: Final = Form(ParcelLineFields)
PARCEL: Final = Form(ParcelFields, {"deliver_type": NO_DEFAULT}, product_infos=Listed(PARCEL_LINE))
SHARER: Final = Form(SharerFields, dict.fromkeys(("sharer_type", "share_scene", "handling_progress"), NO_DEFAULT))
AFTER_SALE_ORDER: Final = Form(AfterSaleOrderFields, {"status": NO_DEFAULT})

PAY: Final = Form(PayFields)
PRICE: Final = Form(PriceFields, {"is_discounted": False, "is_change_freight": False, "estimate_product_price": 0})
ADDRESS: Final = Form(AddressFields, {"use_tel_number": 0})
DELIVERY: Final = Form(
    DeliveryFields,
    {"deliver_method": 0, "address_apply_time": 0},
    address_info=ADDRESS,
    delivery_product_info=Listed(PARCEL),
)
EXT: Final = Form(ExtFields, {"order_scene": 1})

ORDER: Final = Form(
    OrderFields,
    order_detail=Form(
        DetailFields,
        product_infos=Listed(LINE),
        pay_info=PAY,
        price_info=PRICE,
        delivery_info=DELIVERY,
        ext_info=EXT,
        sharer_info=SHARER,
        sku_sharer_infos=Listed(SHARER),
    ),
    aftersale_detail=Form(AfterSaleFields, aftersale_order_list=Listed(AFTER_SALE_ORDER)),
)
"""What is not personal, beside what is read. A name that is in no form is sealed."""
