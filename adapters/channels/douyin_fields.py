"""What Douyin's codes mean: statuses, after-sale states, pushed messages, and which fields are not personal."""

from typing import Any, Final, NamedTuple

import msgspec

from adapters.channels.json_form import NO_DEFAULT, Form, Id, Listed, Text
from domain.canonical import AfterSale, Status

Code = int | str | None
"""A code, an amount in fen or an epoch: whole numbers, now and then as digits."""


class Meaning(NamedTuple):
    """What a native status says of the order."""

    status: Status
    holds: tuple[str, ...] = ()
    reason: str = ""
    """Why it ended early, where the code says so."""


STATUSES: Final[dict[int, Meaning]] = {
    1: Meaning("awaiting_payment"),
    103: Meaning("awaiting_payment"),
    105: Meaning("paid", holds=("risk_review",)),
    2: Meaning("paid"),
    101: Meaning("allocating"),
    3: Meaning("shipped"),
    5: Meaning("completed"),
    39: Meaning("completed", reason="refunded_after_receipt"),
    4: Meaning("cancelled"),
    21: Meaning("cancelled", reason="refunded_before_shipping"),
    22: Meaning("shipped", reason="refunded_after_shipping"),
}
"""By `main_status` where it is given (it says more), else by `order_status`."""

PART_PAID: Final = 103
REFUNDED_AFTER_SHIPPING: Final = 22

AFTER_SALES: Final[dict[int, AfterSale]] = {
    0: "",
    **dict.fromkeys((6, 7, 8, 11, 27, 29), "open"),
    **dict.fromkeys((12, 13, 14, 28, 51, 53), "closed"),
}
REFUND_STATES: Final = frozenset(range(5))
REFUNDED: Final = 3

SHIPPED: Final = frozenset({3, 5, 22, 39})
CLOSED: Final = frozenset({4, 21})
PRESALE_TRADES: Final = frozenset({2, 102})

PROBE: Final = "0"
TAGS: Final = {
    "100": "order created",
    "101": "paid",
    "102": "shipped",
    "103": "trade completed",
    "104": "shipping information changed",
    "105": "buyer's address changed",
    "106": "cancelled",
    "108": "partly shipped",
    "109": "amount changed",
    "110": "paid, to be processed",
    "113": "seller remark added",
    "126": "shipping promise changed",
    "200": "after-sale requested",
    "201": "refund agreed",
    "202": "return agreed",
    "203": "buyer sent goods back",
    "204": "refund refused",
    "205": "return refused",
    "206": "refund succeeded",
    "207": "after-sale closed",
    "208": "after-sale changed by the buyer",
}

BUNDLE_KNOWN: Final = ("code", "item_num", "out_product_id", "out_sku_id", "product_id", "product_name", "sku_id")
GIVEN_KNOWN: Final = ("given_product_activity_type", "given_product_activity_value")

_PROMOTIONS: Final = (
    "modify_amount",
    "modify_post_amount",
    "post_insurance_amount",
    "promotion_shop_amount",
    "promotion_platform_amount",
    "promotion_talent_amount",
    "promotion_pay_amount",
    "shop_cost_amount",
    "platform_cost_amount",
    "author_cost_amount",
)
_SOURCE: Final = ("biz", "biz_desc", "b_type", "b_type_desc", "sub_b_type", "sub_b_type_desc", "order_type_desc")
_TIMES: Final = ("create_time", "update_time", "pay_time", "order_expire_time", "finish_time", "exp_ship_time")


class PlaceFields(msgspec.Struct, kw_only=True):
    """A level of the address."""

    name: Text = None
    id: Id = None


class AddressFields(msgspec.Struct, kw_only=True):
    """The address: regions in clear, the rest as ciphertext."""

    province: PlaceFields | None = None
    city: PlaceFields | None = None
    town: PlaceFields | None = None
    street: PlaceFields | None = None
    encrypt_detail: Text = None


class SpecFields(msgspec.Struct, kw_only=True):
    """One property of a variant."""

    name: Text = None
    value: Text = None


class ParcelLineFields(msgspec.Struct, kw_only=True):
    """A line in a parcel."""

    sku_order_id: Id = None
    sku_specs: list[SpecFields] | None = None


class ParcelFields(msgspec.Struct, kw_only=True):
    """A parcel (`logistics_info[]`)."""

    tracking_no: Id = None
    company: Text = None
    company_name: Text = None
    ship_time: Code = None
    product_info: list[ParcelLineFields] | None = None


class PhaseFields(msgspec.Struct, kw_only=True):
    """A stage of a presale (`order_phase_list[]`)."""

    phase_order_id: Id = None
    sku_order_id: Id = None
    pay_success: bool | int | None = None
    phase_payable_price: Code = None
    phase_pay_amount: Code = None
    phase_close_time: Code = None
    channel_payment_no: Text = None


class AfterSaleFields(msgspec.Struct, kw_only=True):
    """The after-sale of a line."""

    after_sale_status: Code = None
    refund_status: Code = None


class LineFields(msgspec.Struct, kw_only=True):
    """What is read of a line (`sku_order_list[]`)."""

    order_id: Id = None
    parent_order_id: Id = None
    order_status: Code = None
    main_status: Code = None
    ship_time: Code = None
    trade_type: Code = None
    pre_sale_type: Code = None
    product_id: Id = None
    product_id_str: Id = None
    sku_id: Id = None
    out_sku_id: Text = None
    code: Text = None
    product_name: Text = None
    spec: list[SpecFields] | None = None
    item_num: Code = None
    origin_amount: Code = None
    goods_price: Code = None
    sum_amount: Code = None
    order_amount: Code = None
    pay_amount: Code = None
    promotion_amount: Code = None
    room_id: Id = None
    room_id_str: Id = None
    author_id: Id = None
    author_name: Text = None
    given_product_type: Text = None
    cancel_reason: Text = None
    channel_payment_no: Text = None
    after_sale_info: AfterSaleFields | None = None
    master_sku_order_id: Any = None
    master_sku_order_id_list: Any = None
    given_product_activity_info: Any = None
    bundle_sku_info: Any = None
    inventory_list: Any = None
    sku_customization_info: Any = None
    """The text to engrave: often a name, so it is sealed."""


class OrderFields(msgspec.Struct, kw_only=True):
    """What is read of a shop order."""

    order_id: Id = None
    shop_id: Id = None
    order_status: Code = None
    main_status: Code = None
    trade_type: Code = None
    create_time: Code = None
    update_time: Code = None
    pay_time: Code = None
    finish_time: Code = None
    ship_time: Code = None
    order_expire_time: Code = None
    cancel_reason: Text = None
    order_amount: Code = None
    pay_amount: Code = None
    post_amount: Code = None
    promotion_amount: Code = None
    promotion_shop_amount: Code = None
    promotion_platform_amount: Code = None
    promotion_talent_amount: Code = None
    modify_amount: Code = None
    promotion_redpack_amount: Code = None
    tax_amount: Code = None
    pay_type: Code = None
    channel_payment_no: Text = None
    open_id: Text = None
    doudian_open_id: Text = None
    open_address_id: Text = None
    encrypt_post_receiver: Text = None
    encrypt_post_tel: Text = None
    mask_post_receiver: Text = None
    mask_post_tel: Text = None
    buyer_words: Text = None
    seller_words: Text = None
    post_addr: AddressFields | None = None
    logistics_info: list[ParcelFields] | None = None
    order_phase_list: list[PhaseFields] | None = None
    sku_order_list: list[LineFields] | None = None
    promotion_detail: Any = None
    serial_number_list: Any = None
    shop_order_tag_ui: Any = None
    user_tag_ui: Any = None
    order_tag: Any = None


_PLACE: Final = Form(PlaceFields)
_SPEC: Final = Form(SpecFields)

LINE: Final = Form(
    LineFields,
    {
        "order_level": 3,
        **dict.fromkeys((*_SOURCE, *_TIMES, "order_status_desc", "main_status_desc", "trade_type_desc"), NO_DEFAULT),
        **dict.fromkeys((*_PROMOTIONS, "post_amount", "order_type", "goods_type", "is_comment"), 0),
        **dict.fromkeys(("c_biz", "c_biz_desc", "pay_type", "reduce_stock_type"), NO_DEFAULT),
        "reduce_stock_type_desc": NO_DEFAULT,
        "out_product_id": "",
        "theme_type": "0",
        "theme_type_desc": "",
        "content_id": "0",
        "video_id": "",
        "receive_type": 1,
        "need_serial_number": False,
        "warehouse_id": NO_DEFAULT,
    },
    after_sale_info=Form(AfterSaleFields, {"after_sale_type": 0}),
    spec=Listed(_SPEC),
)

PARCEL_LINE: Final = Form(
    ParcelLineFields,
    dict.fromkeys(
        ("product_name", "price", "outer_sku_id", "sku_id", "product_count", "product_id", "product_id_str"), NO_DEFAULT
    ),
    sku_specs=Listed(_SPEC),
)

PARCEL: Final = Form(ParcelFields, {"delivery_id": NO_DEFAULT}, product_info=Listed(PARCEL_LINE))

PHASE: Final = Form(
    PhaseFields,
    dict.fromkeys(
        (
            "total_phase",
            "current_phase",
            "campaign_id",
            "phase_pay_type",
            "phase_open_time",
            "phase_pay_time",
            "phase_order_amount",
            "phase_sum_amount",
            "phase_post_amount",
            "phase_promotion_amount",
            "current_phase_status_desc",
            "sku_price",
        ),
        NO_DEFAULT,
    ),
)

ORDER: Final = Form(
    OrderFields,
    {
        "order_level": 2,
        **dict.fromkeys((*_SOURCE, "order_status_desc", "main_status_desc", "trade_type_desc"), NO_DEFAULT),
        **dict.fromkeys(("shop_name", "app_id", "exp_ship_time"), NO_DEFAULT),
        **dict.fromkeys(("receipt_date", "promise_info", "sku_order_count"), NO_DEFAULT),
        **dict.fromkeys(
            (
                "modify_post_amount",
                "post_insurance_amount",
                "post_origin_amount",
                "promotion_pay_amount",
                "shop_cost_amount",
                "platform_cost_amount",
                "author_cost_amount",
                "total_promotion_amount",
                "order_type",
                "seller_remark_stars",
            ),
            0,
        ),
    },
    post_addr=Form(AddressFields, province=_PLACE, city=_PLACE, town=_PLACE, street=_PLACE),
    logistics_info=Listed(PARCEL),
    order_phase_list=Listed(PHASE),
    sku_order_list=Listed(LINE),
)
"""What is not personal, beside what is read. A name that is in no form is sealed."""
