"""What Taobao's words mean: statuses, after-sale states, holds, and which fields are not personal.

A status that is not here is never guessed: the trade goes to quarantine.
"""

from typing import Any, Final, NamedTuple

import msgspec

from adapters.channels.json_form import NO_DEFAULT, Form, Id, Listed, Money, Text, When
from domain.canonical import AfterSale, Status


class Meaning(NamedTuple):
    """What a native status says of the order."""

    status: Status
    holds: tuple[str, ...] = ()
    cancel_reason: str = ""


STATUSES: Final[dict[str, Meaning]] = {
    "TRADE_NO_CREATE_PAY": Meaning("awaiting_payment"),
    "WAIT_BUYER_PAY": Meaning("awaiting_payment"),
    "PAY_PENDING": Meaning("awaiting_payment"),
    "WAIT_PRE_AUTH_CONFIRM": Meaning("awaiting_payment"),
    "PAID_FORBID_CONSIGN": Meaning("paid", holds=("forbid_consign",)),
    "WAIT_SELLER_SEND_GOODS": Meaning("paid"),
    "SELLER_CONSIGNED_PART": Meaning("allocating"),
    "WAIT_BUYER_CONFIRM_GOODS": Meaning("shipped"),
    "TRADE_BUYER_SIGNED": Meaning("shipped"),
    "TRADE_FINISHED": Meaning("completed"),
    "TRADE_CLOSED": Meaning("cancelled", cancel_reason="refunded"),
    "TRADE_CLOSED_BY_TAOBAO": Meaning("cancelled", cancel_reason="closed_before_payment"),
}

AFTER_SALES: Final[dict[str, AfterSale]] = {
    "": "",
    "NO_REFUND": "",
    "WAIT_SELLER_AGREE": "open",
    "WAIT_BUYER_RETURN_GOODS": "open",
    "WAIT_SELLER_CONFIRM_GOODS": "open",
    "SELLER_REFUSE_BUYER": "open",
    "SUCCESS": "refunded",
    "CLOSED": "closed",
}

STEPS: Final = frozenset({"", "FRONT_NOPAID_FINAL_NOPAID", "FRONT_PAID_FINAL_NOPAID", "FRONT_PAID_FINAL_PAID"})

HOLDS: Final = {
    "top_hold": "top_hold",
    "team_buy_hold": "group_not_formed",
    "forbid_consign": "forbid_consign",
    "ofp_hold": "ofp_hold",
}

RECEIVER: Final = {
    "receiver_name": "name",
    "receiver_state": "province",
    "receiver_city": "city",
    "receiver_district": "district",
    "receiver_town": "town",
    "receiver_address": "detail",
    "receiver_zip": "zip",
    "receiver_mobile": "phone",
    "receiver_phone": "telephone",
    "oaid": "address_id",
}

MESSAGES: Final = ("buyer_message", "buyer_memo", "seller_memo")

SEALED: Final = ("alipay_no", "buyer_alipay_no")


class LineFields(msgspec.Struct, kw_only=True):
    """What is read of a line (`orders.order[]`)."""

    oid: Id = None
    oid_str: Text = None
    num_iid: Id = None
    sku_id: Id = None
    outer_sku_id: Text = None
    outer_iid: Text = None
    title: Text = None
    sku_properties_name: Text = None
    price: Money = None
    num: int | str | None = None
    total_fee: Money = None
    payment: Money = None
    divide_order_fee: Money = None
    adjust_fee: Money = None
    discount_fee: Money = None
    part_mjz_discount: Money = None
    status: Text = None
    refund_status: Text = None
    refund_id: Id = None
    consign_time: When = None
    end_time: When = None
    timeout_action_time: When = None
    logistics_company: Text = None
    invoice_no: Text = None
    customization: Any = None
    """The text to engrave: often a name, so it is sealed."""


class PromotionFields(msgspec.Struct, kw_only=True):
    """What is read of a promotion; gifts are named here."""

    id: Id = None
    gift_item_id: Id = None


class ServiceFields(msgspec.Struct, kw_only=True):
    """What is read of an attached service."""

    oid: Id = None
    item_oid: Id = None


class Orders(msgspec.Struct, kw_only=True):
    """Taobao wraps each list once."""

    order: list[LineFields] | None = None


class Promotions(msgspec.Struct, kw_only=True):
    """The wrapper of the promotions."""

    promotion_detail: list[PromotionFields] | None = None


class Services(msgspec.Struct, kw_only=True):
    """The wrapper of the attached services."""

    service_order: list[ServiceFields] | None = None


class TradeFields(msgspec.Struct, kw_only=True):
    """What is read of a trade."""

    tid: Id = None
    tid_str: Text = None
    status: Text = None
    type: Text = None
    step_trade_status: Text = None
    step_paid_fee: Money = None
    created: When = None
    modified: When = None
    pay_time: When = None
    consign_time: When = None
    end_time: When = None
    timeout_action_time: When = None
    total_fee: Money = None
    payment: Money = None
    post_fee: Money = None
    discount_fee: Money = None
    adjust_fee: Money = None
    coupon_fee: int | str | None = None
    seller_nick: Text = None
    buyer_nick: Text = None
    buyer_open_uid: Text = None
    alipay_no: Text = None
    buyer_alipay_no: Text = None
    receiver_name: Text = None
    receiver_state: Text = None
    receiver_city: Text = None
    receiver_district: Text = None
    receiver_town: Text = None
    receiver_address: Text = None
    receiver_zip: Text = None
    receiver_mobile: Text = None
    receiver_phone: Text = None
    oaid: Text = None
    buyer_message: Text = None
    buyer_memo: Text = None
    seller_memo: Text = None
    top_hold: int | str | bool | None = None
    team_buy_hold: int | str | bool | None = None
    forbid_consign: int | str | bool | None = None
    ofp_hold: int | str | bool | None = None
    orders: Orders | None = None
    promotion_details: Promotions | None = None
    service_orders: Services | None = None


LINE: Final = Form(
    LineFields,
    {
        **dict.fromkeys(("cid", "store_code", "bind_oids", "snapshot_url", "pic_path", "order_from"), NO_DEFAULT),
        **dict.fromkeys(("buyer_rate", "seller_rate", "is_oversold", "is_daixiao"), False),
        "seller_type": "B",
    },
)

PROMOTION: Final = Form(
    PromotionFields,
    dict.fromkeys(
        ("promotion_id", "promotion_name", "promotion_desc", "discount_fee", "gift_item_name", "gift_item_num"),
        NO_DEFAULT,
    ),
)

SERVICE: Final = Form(
    ServiceFields,
    dict.fromkeys(
        ("service_id", "title", "num", "price", "payment", "total_fee", "refund_id", "status", "service_detail_url"),
        NO_DEFAULT,
    ),
)

TRADE: Final = Form(
    TradeFields,
    {
        **dict.fromkeys(
            ("title", "trade_from", "est_con_time", "o2o_step_trade_detail", "o2o_voucher_price"), NO_DEFAULT
        ),
        "shipping_type": "express",
        "received_payment": "0.00",
        **dict.fromkeys(("seller_flag", "point_fee", "real_point_fee", "buyer_obtain_point_fee"), 0),
        **dict.fromkeys(("has_yfx", "buyer_rate", "seller_rate", "is_part_consign", "is_daixiao"), False),
        "has_post_fee": True,
        "cross_bonded_declare": False,
    },
    orders=Form(Orders, order=Listed(LINE)),
    promotion_details=Form(Promotions, promotion_detail=Listed(PROMOTION)),
    service_orders=Form(Services, service_order=Listed(SERVICE)),
)
"""What is not personal, beside what is read. A name that is in no form is sealed."""

SHIPPED: Final = frozenset({"WAIT_BUYER_CONFIRM_GOODS", "TRADE_BUYER_SIGNED", "TRADE_FINISHED"})
CLOSED: Final = frozenset({"TRADE_CLOSED", "TRADE_CLOSED_BY_TAOBAO"})
SET: Final = (True, 1, "1", "true", "True")
UNSET: Final = (False, 0, "0", "false", "False", "", None)
