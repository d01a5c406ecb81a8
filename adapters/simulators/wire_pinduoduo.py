"""An order as Pinduoduo gives it. Yuan, as numbers or texts; wall-clock times of UTC+8, "" = not yet."""

from typing import Any, Final

from adapters.simulators.carriers import native
from adapters.simulators.numbers import number_of, token_of
from adapters.simulators.orders import SimLine, SimOrder
from adapters.simulators.texts import wall, yuan

_CONFIRM: Final = {"awaiting_payment": 0, "cancelled": 2}
_ORDER: Final = {"shipped": 2, "completed": 3}
_REFUND: Final = {"": 1, "open": 2, "refunded": 4, "closed": 1}
_AFTER_SALE: Final = {"": 0, "open": 3, "refunded": 10, "closed": 11}
HOLDS: Final = frozenset({"", "risk_review", "group_not_formed"})


def line_ids(order: SimOrder) -> tuple[str, ...]:
    """Return the SKU numbers of the lines: Pinduoduo's lines have no id of their own."""
    return tuple(str(number_of("pdd-sku", line.sku, 11)) for line in order.lines)


def in_feed(order: SimOrder) -> bool:
    """Tell whether the change feed shows the order: an ordinary unpaid one is not there."""
    return (
        order.status != "awaiting_payment" or order.presale or order.hold == "group_not_formed" or bool(order.paid_ms)
    )


def order_info(order: SimOrder, *, with_receiver: bool = True) -> dict[str, Any]:
    """Return the whole order."""
    if order.hold not in HOLDS:
        raise ValueError(f"Pinduoduo knows no hold {order.hold!r}")
    unformed = order.hold == "group_not_formed"
    reviewed = order.hold == "risk_review"
    confirm = 0 if unformed else _CONFIRM.get(order.status, 1)
    parcel = order.parcels[0] if order.parcels else None
    off, buyer = order.reduced_fen, order.buyer
    asked = next((line.after_sale for line in order.lines if line.after_sale), "")
    if order.status == "cancelled" and order.paid_ms:
        asked = "refunded"
    reached = with_receiver and order.status in ("paid", "allocating") and not reviewed and not unformed
    return {
        "order_sn": order.order_no,
        "created_time": wall(order.ordered_ms),
        "confirm_time": wall(order.paid_ms) if confirm and order.paid_ms else "",
        "pay_time": wall(order.paid_ms) if order.paid_ms else "",
        "updated_at": wall(order.modified_ms),
        "shipping_time": wall(order.shipped_ms) if order.shipped_ms else "",
        "receive_time": wall(order.ended_ms) if order.status == "completed" and order.ended_ms else "",
        "last_ship_time": wall(order.paid_ms + 172_800_000) if confirm == 1 and order.paid_ms else "",
        "confirm_status": confirm,
        "order_status": _ORDER.get(order.status, 1),
        "refund_status": _REFUND[asked],
        "after_sales_status": _AFTER_SALE[asked],
        "group_status": 1 if confirm == 1 else 0,
        "group_role": 1,
        "group_order_id": number_of("group", order.order_no, 19),
        "risk_control_status": 1 if reviewed else 0,
        "is_lucky_flag": 1,
        "trade_type": 1 if order.presale else 0,
        "is_pre_sale": 1 if order.presale else 0,
        "pre_sale_time": wall(order.ordered_ms + 1_987_200_000) if order.presale else "",
        "step_order_info": _step(order),
        "mkt_biz_type": 0,
        "goods_amount": _amount(order, order.sold_fen),
        "discount_amount": _amount(order, off),
        "platform_discount": 0,
        "seller_discount": _amount(order, off),
        "capital_free_discount": 0,
        "postage": _amount(order, order.freight_fen),
        "order_change_amount": 0,
        "pay_amount": _amount(order, order.payable_fen),
        "pay_type": "WEIXIN" if order.paid_ms else "",
        "pay_no": f"4200000000{number_of('pay', order.order_no, 18)}" if order.paid_ms else "",
        "inner_transaction_id": "",
        "country": "中国",
        "country_id": 0,
        "province": buyer.province,
        "province_id": 25,
        "city": buyer.city,
        "city_id": 321,
        "town": buyer.district,
        "town_id": 2703,
        "receiver_name": f"~{token_of('name', buyer.name)}~0~" if reached else "",
        "receiver_name_mask": f"{buyer.name[:1]}*",
        "receiver_phone": f"${token_of('phone', buyer.phone)}$0$" if reached else "",
        "receiver_phone_mask": f"1********{buyer.phone[-2:]}",
        "receiver_address": f"~{token_of('address', buyer.address)}~0~" if reached else "",
        "receiver_address_mask": f"{buyer.address[:1]}**路***号",
        "address": f"~{token_of('address', buyer.address)}~0~" if reached else "",
        "address_mask": f"{buyer.address[:1]}**路***号",
        "logistics_id": int(native("pinduoduo", parcel.carrier)[0]) if parcel else 0,
        "tracking_number": parcel.tracking if parcel else "",
        "buyer_memo": order.message,
        "remark": "",
        "remark_tag": 0,
        "remark_tag_name": "",
        "invoice_status": 1 if order.invoice_title else 0,
        "free_sf": 0,
        "is_stock_out": 0,
        "stock_out_handle_status": -1,
        "home_delivery_type": 2 if order.service else 0,
        "delivery_one_day": 0,
        "shipping_type": 0,
        "self_contained": 0,
        "order_tag_list": [{"name": "delivery_one_day", "value": 0}],
        "service_fee_detail": [],
        "gift_list": [_item(order, line) for line in order.lines if line.gift],
        "gift_delivery_list": [],
        "extra_delivery_list": [
            {"logistics_id": int(native("pinduoduo", more.carrier)[0]), "tracking_number": more.tracking}
            for more in order.parcels[1:]
        ],
        "resend_delivery_list": [],
        "card_info_list": [],
        "cat_id_1": 6209,
        "cat_id_2": 6227,
        "cat_id_3": 6228,
        "cat_id_4": 0,
        "item_list": [_item(order, line) for line in order.lines if not line.gift],
    }


def _amount(order: SimOrder, amount: int) -> float | str:
    """Return yuan: newer orders carry text, older ones a number."""
    text = yuan(amount)
    return text if int(order.order_no[-1]) % 2 else float(text)


def _step(order: SimOrder) -> dict[str, Any] | None:
    if not order.presale:
        return None
    return {
        "advanced_paid_fee": _amount(order, order.deposit_fen),
        "step_discount_amount": 0,
        "step_paid_fee": _amount(order, order.deposit_fen),
        "step_trade_status": 2 if order.paid_ms else 1 if order.deposit_fen else 0,
    }


def _item(order: SimOrder, line: SimLine) -> dict[str, Any]:
    goods, sku = number_of("pdd-goods", line.sku, 10), number_of("pdd-sku", line.sku, 11)
    as_text = int(order.order_no[-1]) % 3 != 0
    return {
        "goods_id": str(goods) if as_text else goods,
        "sku_id": str(sku) if as_text else sku,
        "outer_id": line.sku,
        "outer_goods_id": line.sku.rsplit("-", 1)[0],
        "goods_name": line.name,
        "goods_price": _amount(order, line.unit_price_fen),
        "goods_spec": "标准",
        "goods_count": line.quantity,
        "goods_img": "https://img.pddpic.example/a.jpg",
    }


def refunds(order: SimOrder) -> list[dict[str, Any]]:
    """Return the after-sales of an order as the feed lists them (yuan texts)."""
    return [
        {
            "id": number_of("refund", order.order_no + line.sku, 10),
            "order_sn": order.order_no,
            "after_sales_type": 3 if order.shipped_ms else 2,
            "after_sales_status": _AFTER_SALE[line.after_sale],
            "after_sale_reason": "质量问题",
            "order_amount": yuan(order.payable_fen),
            "refund_amount": yuan(line.goods_fen - line.off_fen),
            "discount_amount": yuan(line.discount_fen),
            "goods_price": yuan(line.unit_price_fen),
            "goods_number": str(line.quantity),
            "goods_id": number_of("pdd-goods", line.sku, 10),
            "sku_id": str(number_of("pdd-sku", line.sku, 11)),
            "outer_id": line.sku,
            "outer_goods_id": line.sku.rsplit("-", 1)[0],
            "goods_name": line.name,
            "confirm_time": wall(order.paid_ms) if order.paid_ms else "",
            "created_time": wall(order.modified_ms),
            "updated_time": wall(order.modified_ms),
            "tracking_number": "",
            "shipping_name": "",
            "speed_refund_flag": 0,
            "speed_refund_status": "0",
            "user_shipping_status": "2" if order.shipped_ms else "0",
            "dispute_refund_status": 0,
        }
        for line in order.lines
        if line.after_sale
    ]


def refund_in_fen(order: SimOrder, line: SimLine) -> dict[str, Any]:
    """Return one after-sale as `pdd.refund.information.get` gives it: fen, where the feed gives yuan."""
    return {
        "id": number_of("refund", order.order_no + line.sku, 10),
        "order_sn": order.order_no,
        "after_sales_type": 3 if order.shipped_ms else 2,
        "after_sales_status": _AFTER_SALE[line.after_sale],
        "refund_amount": line.goods_fen - line.off_fen,
        "order_amount": order.payable_fen,
        "out_sku_sn": line.sku,
        "goods_number": line.quantity,
    }
