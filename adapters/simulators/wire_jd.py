"""An order as JD gives it. Yuan texts, wall-clock times with a sentinel for what has not happened, text ids."""

from typing import Any, Final

from adapters.simulators.carriers import native
from adapters.simulators.numbers import number_of, token_of
from adapters.simulators.orders import SimOrder
from adapters.simulators.texts import masked_phone, wall, yuan

_STATES: Final = {
    "awaiting_payment": ("NOT_PAY", "等待付款"),
    "paid": ("WAIT_SELLER_STOCK_OUT", "等待出库"),
    "allocating": ("WAIT_SELLER_STOCK_OUT", "等待出库"),
    "shipped": ("WAIT_GOODS_RECEIVE_CONFIRM", "等待确认收货"),
    "completed": ("FINISHED_L", "完成"),
    "cancelled": ("TRADE_CANCELED", "取消"),
}
_LOCKED: Final = ("LOCKED", "已锁定")
_SENTINELS: Final = ("0001-01-01 00:00:00", "1970-01-01 00:00:00")
HOLDS: Final = frozenset({"", "locked"})


def state_of(order: SimOrder) -> str:
    """Return JD's word for the state of an order."""
    return _state(order)[0]


def _state(order: SimOrder) -> tuple[str, str]:
    locked = order.hold == "locked" or (order.refunding and order.status in ("paid", "allocating"))
    return _LOCKED if locked else _STATES[order.status]


def line_ids(order: SimOrder) -> tuple[str, ...]:
    """Return the SKU numbers of the lines: JD's lines have no id of their own."""
    return tuple(str(number_of("jd-sku", line.sku, 14)) for line in order.lines)


def order_info(order: SimOrder, vender: int) -> dict[str, Any]:
    """Return the whole order."""
    if order.hold not in HOLDS:
        raise ValueError(f"JD knows no hold {order.hold!r}")
    state, remark = _state(order)
    buyer = order.buyer
    invoiced = bool(order.invoice_title)
    not_yet = _SENTINELS[int(order.order_no) % 2]
    found: dict[str, Any] = {
        "orderId": order.order_no,
        "venderId": str(vender),
        "orderType": "22",
        "payType": "4-在线支付",
        "orderTotalPrice": yuan(order.sold_fen),
        "sellerDiscount": yuan(order.reduced_fen),
        "orderSellerPrice": yuan(order.sold_fen - order.reduced_fen),
        "orderPayment": yuan(order.payable_fen),
        "freightPrice": yuan(order.freight_fen),
        "balanceUsed": "0.00",
        "orderState": state,
        "orderStateRemark": remark,
        "orderStartTime": wall(order.ordered_ms),
        "orderEndTime": wall(order.ended_ms) if order.ended_ms else not_yet,
        "paymentConfirmTime": wall(order.paid_ms) if order.paid_ms else not_yet,
        "modified": wall(order.modified_ms),
        "dataVersion": str(order.modified_ms),
        "outBoundDate": wall(order.shipped_ms) if order.shipped_ms else not_yet,
        "deliveryType": "任意时间",
        "invoiceInfo": f"发票类型:电子发票;发票抬头:{order.invoice_title}" if invoiced else "不需要开具发票",
        "invoiceEasyInfo": {
            "invoiceState": "1" if invoiced else "3",
            "invoiceType": "3" if invoiced else "0",
            "invoiceTitle": order.invoice_title,
            "invoiceContentId": "1",
        },
        "vatInfo": [],
        "orderRemark": order.message,
        "venderRemark": "",
        "pin": f"jd_{token_of('pin', buyer.id, 2)}**",
        "openIdBuyer": "oaPd" + token_of("open", buyer.id, 8),
        "orderSource": "移动端订单",
        "returnOrder": "0",
        "storeOrder": "",
        "idSopShipmenttype": 67,
        "parentOrderId": "0",
        "directParentOrderId": "0",
        "consigneeInfo": {
            "fullname": "AAS/" + token_of("name", buyer.name) + "==",
            "mobile": masked_phone(buyer.phone),
            "telephone": masked_phone(buyer.phone),
            "fullAddress": "AAS/" + token_of("address", buyer.address) + "==",
            "province": buyer.province,
            "city": buyer.city,
            "county": buyer.district,
            "town": "",
            "provinceId": "19",
            "cityId": "1601",
            "countyId": "3634",
            "townId": "0",
        },
        "couponDetailList": _coupons(order),
        "itemInfoList": _items(order),
    }
    return found | _logistics(order)


def _coupons(order: SimOrder) -> list[dict[str, Any]]:
    found = [
        {
            "orderId": order.order_no,
            "skuId": sku,
            "couponType": "30-满赠优惠" if line.gift else "20-套装优惠",
            "couponPrice": "0.00" if line.gift else yuan(line.discount_fen),
        }
        for line, sku in zip(order.lines, line_ids(order), strict=True)
        if line.gift or line.discount_fen
    ]
    if order.discount_fen:
        amount = yuan(order.discount_fen)
        found.append({"orderId": order.order_no, "skuId": "", "couponType": "28-闪团优惠", "couponPrice": amount})
    return found


def _items(order: SimOrder) -> list[dict[str, Any]]:
    return [
        {
            "skuId": sku,
            "wareId": str(number_of("jd-ware", line.sku, 14)),
            "outerSkuId": line.sku,
            "skuName": f"【赠品】{line.name}" if line.gift else line.name,
            "jdPrice": "0.00" if line.gift else yuan(line.unit_price_fen),
            "itemTotal": str(line.quantity),
            "giftPoint": "0",
            "productNo": line.sku.split("-", maxsplit=1)[0],
            "invoiceContentId": "",
            "newStoreId": "0",
            "itemExt": '{"cid": "13288", "newStoreId": "0", "isVMI": 0}',
        }
        for line, sku in zip(order.lines, line_ids(order), strict=True)
    ]


def _logistics(order: SimOrder) -> dict[str, Any]:
    """Return the parcels: carriers and their waybills joined by `|`, waybills of one carrier by a comma."""
    carriers: dict[str, list[str]] = {}
    parts: list[dict[str, Any]] = []
    for place, parcel in enumerate(order.parcels):
        code = native("jd", parcel.carrier)[0]
        carriers.setdefault(code, []).append(parcel.tracking)
        parts.append(
            {
                "shipmentId": str(880_000 + int(order.order_no) % 1_000 * 10 + place),
                "logicId": code,
                "waybillId": parcel.tracking,
                "shipmentTime": parcel.at_ms // 1000 * 1000,
            }
        )
    found: dict[str, Any] = {
        "waybill": "|".join(",".join(trackings) for trackings in carriers.values()),
        "logisticsId": "|".join(carriers),
    }
    if parts:
        found["partialLogisticsInfoModel"] = parts
    return found


def refund_applications(order: SimOrder) -> list[dict[str, Any]]:
    """Return the refund asked for before shipping, as `refundapply.queryPageList` lists it (fen, integer ids)."""
    states = {"open": 0, "refunded": 3, "closed": 2}
    worst = next((line.after_sale for line in order.lines if line.after_sale), "")
    if not worst:
        return []
    return [
        {
            "id": int(order.order_no) % 10**9 + 600_000_000,
            "orderId": int(order.order_no),
            "applyRefundSum": order.payable_fen,
            "status": states[worst],
            "reason": "不想要了",
            "applyTime": wall(order.modified_ms),
            "buyerId": f"jd_{token_of('pin', order.buyer.id, 2)}**",
        }
    ]
