"""What Pinduoduo's codes mean: statuses, after-sale states, services, and which fields are not personal.

A code that is not here is never guessed: the order goes to quarantine.
"""

from typing import Any, Final

import msgspec

from adapters.channels.json_form import NO_DEFAULT, Form, Id, Listed, Money, Text, When
from domain.canonical import AfterSale, Status

Code = int | str | None
"""A code or a count: whole numbers, now and then as digits."""

CONFIRMED: Final = frozenset({0, 1, 2})
"""`confirm_status`: the deal is not made (the group is not formed, the deposit's balance is owed), made, cancelled."""
NOT_MADE: Final = 0
CANCELLED: Final = 2

ORDER_STATES: Final[dict[int, Status]] = {1: "paid", 2: "shipped", 3: "completed"}
"""`order_status`: to ship, shipped, signed."""
TO_SHIP: Final = 1

REFUND_STATES: Final[dict[int, AfterSale]] = {1: "", 2: "open", 3: "open", 4: "refunded"}
"""`refund_status`: none or closed, processing, refunding, refunded. At 1, the finer code tells which of the two."""
REFUNDED: Final = 4

AFTER_SALES: Final[dict[int, AfterSale]] = {
    0: "",
    **dict.fromkeys((2, 3, 4, 5, 7, 8), "open"),
    10: "refunded",
    **dict.fromkeys((6, 9, 11, 12, 13), "closed"),
    **dict.fromkeys((14, 15, 18, 32), "open"),
    **dict.fromkeys((16, 17), "closed"),
    **dict.fromkeys((21, 22, 23, 27), "open"),
    **dict.fromkeys((24, 25), "closed"),
    **dict.fromkeys((31, 33), "open"),
}
"""`after_sales_status`: asked for, agreed or with the platform; refunded; refused, withdrawn or expired; exchange and
reissue (14 to 18, 32); repair (21 to 27); refusal on delivery (31) and recall (33)."""

GROUP_HOLDS: Final = {0: "group_not_formed", 1: "", 2: "group_failed"}
"""By `group_status`, while the deal is not made and the money is there."""
STEPS: Final = frozenset({0, 1, 2})
"""`step_trade_status`: deposit unpaid, deposit paid and balance owed, both paid."""
DEPOSIT_PAID: Final = 1
ALL_PAID: Final = 2
DEPOSIT_TRADE: Final = 1

HOLD_TAGS: Final = frozenset({"ship_hold"})
"""Of `order_tag_list`: the platform says not to ship for now."""

GIFT_STATES: Final = frozenset({0, 1, 2})
GIFT_PENDING: Final = 0
GIFT_APART: Final = 1
"""`gift_order_status`: what becomes of the gifts is open yet; they are an order of their own; (2) they go with this."""

DOOR_SERVICES: Final = {0: "", 1: "送货入户", 2: "送货入户并安装"}
"""By `home_delivery_type`."""
SERVICES: Final = {
    "install_fee": "上门安装服务",
    "store_install_fee": "到店安装服务",
    "take_to_store_install_fee": "携货到店安装",
    "dismantle_and_home_install_fee": "拆旧+上门安装",
    "dismantle_taken_and_home_install_fee": "拆旧安装取旧服务",
    "charge_home_delivery_door": "消费者付费送货上门",
}
"""Of `service_fee_detail`: what somebody has to do at the customer's. Other fees are for the carrier."""
SERVICE_VALUES: Final = ("home_install_value", "delivery_home_value", "delivery_install_value")

RECEIVER: Final = {
    "receiver_name": "name",
    "receiver_phone": "phone",
    "receiver_address": "detail",
    "receiver_name_mask": "name_masked",
    "receiver_phone_mask": "phone_masked",
    "receiver_address_mask": "detail_masked",
    "address": "address",
    "address_mask": "address_masked",
    "contact_mobile": "contact_phone",
    "country": "country",
    "country_id": "country_id",
    "province": "province",
    "province_id": "province_id",
    "city": "city",
    "city_id": "city_id",
    "town": "district",
    "town_id": "district_id",
    "open_address_id": "address_id",
    "open_address_id_2": "address_id_2",
}
MESSAGES: Final = {"buyer_memo": "buyer_message", "remark": "seller_memo"}
SEALED: Final = ("pay_no", "inner_transaction_id")

TOPICS: Final = ("pdd_trade_", "pdd_refund_")


class ItemFields(msgspec.Struct, kw_only=True):
    """What is read of a line or a gift."""

    goods_id: Id = None
    sku_id: Id = None
    outer_id: Id = None
    outer_goods_id: Id = None
    goods_name: Text = None
    goods_spec: Text = None
    goods_price: Money = None
    goods_count: Code = None


class ParcelFields(msgspec.Struct, kw_only=True):
    """A further parcel."""

    logistics_id: Id = None
    tracking_number: Id = None


class StepFields(msgspec.Struct, kw_only=True):
    """The stages of a deposit presale, in yuan."""

    step_trade_status: Code = None
    advanced_paid_fee: Money = None
    step_paid_fee: Money = None
    step_discount_amount: Money = None


class TagFields(msgspec.Struct, kw_only=True):
    """A label the platform puts on an order."""

    name: Text = None
    value: int | str | bool | None = None


class FeeFields(msgspec.Struct, kw_only=True):
    """A fee for a service, in yuan."""

    service_name: Text = None
    service_fee: Money = None


class WareFields(msgspec.Struct, kw_only=True):
    """A part of a kit."""


class DepotFields(msgspec.Struct, kw_only=True):
    """The warehouse the platform names, and what the goods are there."""

    ware_sub_info_list: list[WareFields] | None = None


class RelatedFields(msgspec.Struct, kw_only=True):
    """Another order that belongs to this one."""

    order_sn: Id = None


class OrderFields(msgspec.Struct, kw_only=True):
    """What is read of an order."""

    order_sn: Id = None
    mall_id: Id = None
    created_time: When = None
    confirm_time: When = None
    pay_time: When = None
    shipping_time: When = None
    receive_time: When = None
    updated_at: When = None
    confirm_status: Code = None
    order_status: Code = None
    refund_status: Code = None
    after_sales_status: Code = None
    group_status: Code = None
    risk_control_status: Code = None
    trade_type: Code = None
    is_pre_sale: Code = None
    invoice_status: Code = None
    gift_order_status: Code = None
    home_delivery_type: Code = None
    goods_amount: Money = None
    discount_amount: Money = None
    platform_discount: Money = None
    seller_discount: Money = None
    capital_free_discount: Money = None
    order_change_amount: Money = None
    duo_duo_pay_reduction: Money = None
    trade_in_national_subsidy_amount: Money = None
    postage: Money = None
    pay_amount: Money = None
    home_install_value: Money = None
    delivery_home_value: Money = None
    delivery_install_value: Money = None
    pay_no: Id = None
    inner_transaction_id: Id = None
    logistics_id: Id = None
    tracking_number: Id = None
    receiver_name: Text = None
    receiver_phone: Text = None
    receiver_address: Text = None
    receiver_name_mask: Text = None
    receiver_phone_mask: Text = None
    receiver_address_mask: Text = None
    address: Text = None
    address_mask: Text = None
    contact_mobile: Text = None
    country: Text = None
    country_id: Id = None
    province: Text = None
    province_id: Id = None
    city: Text = None
    city_id: Id = None
    town: Text = None
    town_id: Id = None
    open_address_id: Text = None
    open_address_id_2: Text = None
    buyer_memo: Text = None
    remark: Text = None
    step_order_info: StepFields | None = None
    item_list: list[ItemFields] | None = None
    gift_list: list[ItemFields] | None = None
    extra_delivery_list: list[ParcelFields] | None = None
    resend_delivery_list: list[ParcelFields] | None = None
    gift_delivery_list: list[ParcelFields] | None = None
    order_tag_list: list[TagFields] | None = None
    service_fee_detail: list[FeeFields] | None = None
    related_order_list: list[RelatedFields] | None = None
    order_depot_info: DepotFields | None = None
    card_info_list: Any = None
    """Cards that were bought: number and secret, so it is sealed."""


_WARE: Final = dict.fromkeys(("ware_id", "ware_name", "ware_sn", "ware_quantity"), NO_DEFAULT)

ITEM: Final = Form(ItemFields, {"goods_img": NO_DEFAULT})
GIFT: Final = Form(ItemFields, {"goods_img": NO_DEFAULT, "order_sn": NO_DEFAULT})
PARCEL: Final = Form(ParcelFields)
STEP: Final = Form(StepFields)
FEE: Final = Form(FeeFields)
RELATED: Final = Form(RelatedFields, {"relation_type": NO_DEFAULT})
WARE: Final = Form(WareFields, _WARE)
DEPOT: Final = Form(
    DepotFields,
    {
        **dict.fromkeys(("depot_code", "depot_id", "depot_name", "depot_type"), NO_DEFAULT),
        **dict.fromkeys(("ware_id", "ware_name", "ware_sn", "ware_type"), NO_DEFAULT),
    },
    ware_sub_info_list=Listed(WARE),
)

ORDER: Final = Form(
    OrderFields,
    {
        **dict.fromkeys(
            (
                "last_ship_time",
                "urge_shipping_time",
                "pre_sale_time",
                "promise_delivery_time",
                "yyps_date",
                "yyps_time",
                "remark_tag_name",
                "bonded_warehouse",
                "ship_additional_link_order",
                "ship_additional_origin_order",
            ),
            "",
        ),
        "is_lucky_flag": 1,
        "group_role": NO_DEFAULT,
        "group_order_id": NO_DEFAULT,
        "pay_type": NO_DEFAULT,
        "stock_out_handle_status": -1,
        **dict.fromkeys(
            (
                "mkt_biz_type",
                "remark_tag",
                "free_sf",
                "is_stock_out",
                "delivery_one_day",
                "shipping_type",
                "self_contained",
                "only_support_replace",
                "return_freight_payer",
                "support_nationwide_warranty",
                "duoduo_wholesale",
                "identification_status",
                "weipai_initiator",
                "trade_in_national_subsidy_amount_type",
                "cat_id_1",
                "cat_id_2",
                "cat_id_3",
                "cat_id_4",
            ),
            0,
        ),
    },
    step_order_info=STEP,
    item_list=Listed(ITEM),
    gift_list=Listed(GIFT),
    extra_delivery_list=Listed(PARCEL),
    resend_delivery_list=Listed(PARCEL),
    gift_delivery_list=Listed(PARCEL),
    order_tag_list=Listed(Form(TagFields)),
    service_fee_detail=Listed(FEE),
    related_order_list=Listed(RELATED),
    order_depot_info=DEPOT,
)
"""What is not personal, beside what is read. A name that is in no form is sealed."""
