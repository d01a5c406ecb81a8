# ruff: noqa: N815 -- the fields carry the names that JD gives them
"""What JD's words mean: states, invoices, and which fields are not personal.

A state that is not here is never guessed: the order goes to quarantine.
"""

from typing import Any, Final, NamedTuple

import msgspec

from adapters.channels.json_form import NO_DEFAULT, Form, Id, Listed, Money, Text, When
from domain.canonical import Status

Number = int | str | None
"""A whole number, mostly written as text."""


class Meaning(NamedTuple):
    """What a native state says of the order."""

    status: Status | None
    """None: the state only stops the order; how far it got is told by its times."""
    hold: str = ""
    cancel_reason: str = ""


STATES: Final[dict[str, Meaning]] = {
    **dict.fromkeys(("NOT_PAY", "TRADE_CREATED", "UNPAID", "DengDaiFuKuan"), Meaning("awaiting_payment")),
    **dict.fromkeys(("WAIT_SELLER_STOCK_OUT", "DengDaiChuKu", "TRADE_PAYMENT"), Meaning("paid")),
    **dict.fromkeys(("DengDaiDaYin", "DengDaiDaBao", "DengDaiFaHuo", "WAIT_SELLER_DELIVERY"), Meaning("allocating")),
    **dict.fromkeys(("PAUSE", "ZanTing", "POP_ORDER_PAUSE"), Meaning(None, hold="paused")),
    "WAIT_SEND_CODE": Meaning(None, hold="wait_send_code"),
    **dict.fromkeys(("LOCKED", "SuoDing"), Meaning(None, hold="locked")),
    **dict.fromkeys(
        (
            "WAIT_GOODS_RECEIVE_CONFIRM",
            "DengDaiQueRenShouHuo",
            "POP_ORDER_OUT_STORAGE",
            "SEND_TO_DISTRIBUTION_CENER",
            "DISTRIBUTION_CENTER_RECEIVED",
        ),
        Meaning("shipped"),
    ),
    **dict.fromkeys(("DELIVERY_RETURN", "PeiSongTuiHuo", "ZiTiTuiHuo"), Meaning("shipped")),
    **dict.fromkeys(("FINISHED_L", "WanCheng", "FINISH", "RECEIPTS_CONFIRM"), Meaning("completed")),
    **dict.fromkeys(("TRADE_CANCELED", "CANCEL"), Meaning("cancelled")),
    "PARENT_TRADE_CANCELED": Meaning("cancelled", cancel_reason="parent_cancelled"),
}
"""`PARENT_TRADE_CANCELED` mostly means that the order was split: its children come as orders of their own."""

RETURNING: Final = frozenset({"DELIVERY_RETURN", "PeiSongTuiHuo", "ZiTiTuiHuo"})
"""Refused or returned on delivery: shipped, and an after-sale is open."""

PAID_ONLINE: Final = "4-在线支付"
"""`payType` of most orders."""
PAID_LATER: Final = ("1", "3")
"""`payType` of orders that are paid at the door or where they are picked up."""

INVOICE_TYPES: Final = {"0": "none", "1": "normal", "2": "vat_special", "3": "electronic"}
"""By `invoiceEasyInfo.invoiceType`."""
INVOICE_WORDS: Final = (("不需要", "none"), ("专用", "vat_special"), ("电子", "electronic"), ("普通", "normal"))
"""In the type's part of `invoiceInfo`, first match."""

RECEIVER: Final = {
    "fullname": "name",
    "mobile": "phone",
    "telephone": "telephone",
    "desen_mobile": "phone_masked",
    "desen_telephone": "telephone_masked",
    "fullAddress": "detail",
    "province": "province",
    "city": "city",
    "county": "district",
    "town": "town",
    "provinceId": "province_id",
    "cityId": "city_id",
    "countyId": "district_id",
    "townId": "town_id",
}

MESSAGES: Final = {"orderRemark": "buyer_message", "venderRemark": "seller_memo"}

EMPTY: Final[tuple[Any, ...]] = (None, "", [], {})
"""How "none" of a structure is written."""
FETCH: Final = "name it in optional_fields (jingdong.pop.order.get)"
"""What to do about a field that is missing: the answer holds only what was asked for."""

COUPON_KNOWN: Final = ("orderId", "skuId", "couponType", "couponPrice")
ITEM_EXT_KNOWN: Final = ("cid", "newStoreId", "isVMI")


class InvoiceFields(msgspec.Struct, kw_only=True):
    """What is read of `invoiceEasyInfo`."""

    invoiceState: Id = None
    invoiceType: Id = None
    invoiceContentId: Id = None
    invoiceTitle: Text = None
    """A company, or a person."""
    invoiceConsigneeEmail: Text = None
    invoiceConsigneePhone: Text = None
    invoiceCode: Text = None


class ConsigneeFields(msgspec.Struct, kw_only=True):
    """What is read of the receiver."""

    fullname: Text = None
    mobile: Text = None
    telephone: Text = None
    desen_mobile: Text = None
    desen_telephone: Text = None
    fullAddress: Text = None
    province: Text = None
    city: Text = None
    county: Text = None
    town: Text = None
    provinceId: Id = None
    cityId: Id = None
    countyId: Id = None
    townId: Id = None


class SentFields(msgspec.Struct, kw_only=True):
    """Goods in a parcel."""

    skuId: Id = None
    num: Number = None


class ParcelFields(msgspec.Struct, kw_only=True):
    """What is read of a shipment (`partialLogisticsInfoModel[]`)."""

    logicId: Id = None
    waybillId: Id = None
    shipmentTime: When = None
    skus: list[SentFields] | None = None


class LineFields(msgspec.Struct, kw_only=True):
    """What is read of a line (`itemInfoList[]`)."""

    skuId: Id = None
    wareId: Id = None
    outerSkuId: Text = None
    skuName: Text = None
    jdPrice: Money = None
    itemTotal: Number = None
    itemExt: Any = None
    """JSON in a string."""


class OrderFields(msgspec.Struct, kw_only=True):
    """What is read of an order."""

    orderId: Id = None
    venderId: Id = None
    parentOrderId: Id = None
    directParentOrderId: Id = None
    orderState: Text = None
    orderStartTime: When = None
    paymentConfirmTime: When = None
    orderEndTime: When = None
    modified: When = None
    dataVersion: Number = None
    outBoundDate: When = None
    orderTotalPrice: Money = None
    sellerDiscount: Money = None
    orderSellerPrice: Money = None
    orderPayment: Money = None
    freightPrice: Money = None
    balanceUsed: Money = None
    taxFee: Money = None
    payType: Id = None
    waybill: Text = None
    logisticsId: Id = None
    pin: Text = None
    openIdBuyer: Text = None
    orderRemark: Text = None
    venderRemark: Text = None
    invoiceInfo: Text = None
    invoiceCode: Text = None
    invoiceEasyInfo: InvoiceFields | None = None
    consigneeInfo: ConsigneeFields | None = None
    itemInfoList: list[LineFields] | None = None
    partialLogisticsInfoModel: list[ParcelFields] | None = None
    couponDetailList: Any = None
    """A list of coupons; lists of them inside it have been seen."""
    vatInfo: Any = None
    """An object, `[]` where there is none."""


SENT: Final = Form(SentFields, {"skuUuid": NO_DEFAULT})

PARCEL: Final = Form(
    ParcelFields, dict.fromkeys(("shipmentId", "packageNum", "shipmentModifyTime"), NO_DEFAULT), skus=Listed(SENT)
)

LINE: Final = Form(
    LineFields,
    {
        "giftPoint": "0",
        "newStoreId": "0",
        "invoiceContentId": "",
        **dict.fromkeys(("productNo", "serviceName", "skuUuid"), NO_DEFAULT),
    },
)

ORDER: Final = Form(
    OrderFields,
    {
        "orderType": "22",
        "orderStateRemark": NO_DEFAULT,
        "deliveryType": NO_DEFAULT,
        "orderSource": NO_DEFAULT,
        "returnOrder": "0",
        "storeOrder": "",
        "idSopShipmenttype": NO_DEFAULT,
        **dict.fromkeys(("storeId", "menDianId", "mdbStoreId", "orderSign", "scDT", "serviceFee"), NO_DEFAULT),
        **dict.fromkeys(
            ("customs", "customsModel", "tuiHuoWuYou", "declarationStatus", "totalOriginalPrice"), NO_DEFAULT
        ),
        **dict.fromkeys(("totalSellerDiscount", "totalSellerReceivable", "shouldPay", "actualPay"), NO_DEFAULT),
        **dict.fromkeys(("payDiscount", "venderRemarkFlagAlias", "venderRemarkLevelFlag"), NO_DEFAULT),
    },
    invoiceEasyInfo=Form(InvoiceFields),
    consigneeInfo=Form(ConsigneeFields),
    itemInfoList=Listed(LINE),
    partialLogisticsInfoModel=Listed(PARCEL),
)
"""What is not personal, beside what is read. A name that is in no form is sealed."""
