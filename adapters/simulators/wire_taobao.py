"""An order as Taobao gives it. Yuan texts, wall-clock times of UTC+8, ids of 19 digits as JSON integers."""

from typing import Any, Final

from adapters.simulators.carriers import native
from adapters.simulators.numbers import number_of, token_of
from adapters.simulators.orders import SimOrder, has_left, shares
from adapters.simulators.texts import wall, yuan

_STEP: Final = 10**9
"""Distance between the ids of an order's lines."""
_STATUSES: Final = {
    "awaiting_payment": "WAIT_BUYER_PAY",
    "paid": "WAIT_SELLER_SEND_GOODS",
    "allocating": "SELLER_CONSIGNED_PART",
    "shipped": "WAIT_BUYER_CONFIRM_GOODS",
    "completed": "TRADE_FINISHED",
}
_REFUNDS: Final = {"": "NO_REFUND", "open": "WAIT_SELLER_AGREE", "refunded": "SUCCESS", "closed": "CLOSED"}
HOLDS: Final = frozenset({"", "forbid_consign", "group_not_formed"})


def status_of(order: SimOrder) -> str:
    """Return Taobao's word for the state of an order."""
    if order.status == "cancelled":
        return "TRADE_CLOSED" if order.paid_ms else "TRADE_CLOSED_BY_TAOBAO"
    if order.status == "paid" and order.hold:
        return "PAID_FORBID_CONSIGN"
    return _STATUSES[order.status]


def line_ids(order: SimOrder) -> tuple[str, ...]:
    """Return the ids of the lines; the only line of an order has the order's own."""
    if len(order.lines) == 1:
        return (order.order_no,)
    return tuple(str(int(order.order_no) + (at + 1) * _STEP) for at in range(len(order.lines)))


def trade(order: SimOrder, shop: str) -> dict[str, Any]:
    """Return the whole trade."""
    if order.hold not in HOLDS:
        raise ValueError(f"Taobao knows no hold {order.hold!r}")
    buyer = order.buyer
    found: dict[str, Any] = {
        "tid": int(order.order_no),
        "tid_str": order.order_no,
        "status": status_of(order),
        "type": "step" if order.presale else "fixed",
        "created": wall(order.ordered_ms),
        "modified": wall(order.modified_ms),
        "title": shop,
        "seller_nick": shop,
        "buyer_nick": f"{buyer.id[:1]}**{buyer.id[-1:]}",
        "buyer_open_uid": "AAH" + token_of("uid", buyer.id, 21),
        "shipping_type": "express",
        "trade_from": "WAP,WAP",
        "total_fee": yuan(order.sold_fen),
        "payment": yuan(order.payable_fen),
        "post_fee": yuan(order.freight_fen),
        "discount_fee": yuan(order.discount_fen),
        "adjust_fee": "0.00",
        "received_payment": yuan(order.payable_fen) if order.status == "completed" else "0.00",
        "has_post_fee": True,
        "has_yfx": False,
        "point_fee": 0,
        "real_point_fee": 0,
        "buyer_obtain_point_fee": 0,
        "coupon_fee": 0,
        "seller_flag": 0,
        "buyer_rate": False,
        "seller_rate": False,
        "is_part_consign": order.status == "allocating",
        "is_daixiao": False,
        "receiver_name": f"{buyer.name[:1]}**",
        "receiver_state": buyer.province,
        "receiver_city": buyer.city,
        "receiver_district": buyer.district,
        "receiver_town": "",
        "receiver_address": f"{buyer.address[:2]}**路**号",
        "receiver_mobile": f"*******{buyer.phone[-4:]}",
        "receiver_zip": buyer.zip,
        "oaid": token_of("oaid", buyer.id + buyer.address, 16),
        "orders": {"order": _lines(order)},
    }
    found |= _times(order) | _extras(order)
    return found


def _times(order: SimOrder) -> dict[str, Any]:
    times = {
        "pay_time": order.paid_ms,
        "consign_time": order.shipped_ms,
        "end_time": order.ended_ms,
        "timeout_action_time": order.pay_by_ms if order.status == "awaiting_payment" else 0,
    }
    return {name: wall(at_ms) for name, at_ms in times.items() if at_ms}


def _extras(order: SimOrder) -> dict[str, Any]:
    """Return what only some trades have."""
    found: dict[str, Any] = {}
    ids = line_ids(order)
    if order.hold == "group_not_formed":
        found["team_buy_hold"] = 1
    if order.presale:
        owed = "FRONT_PAID_FINAL_NOPAID" if order.deposit_fen else "FRONT_NOPAID_FINAL_NOPAID"
        found["step_trade_status"] = "FRONT_PAID_FINAL_PAID" if order.paid_ms else owed
        found["step_paid_fee"] = yuan(order.deposit_fen)
        found["est_con_time"] = "付款后15天内"
    if order.message:
        found["buyer_message"] = order.message
    if order.service:
        found["service_orders"] = {
            "service_order": [
                {
                    "oid": int(ids[-1]) + _STEP,
                    "item_oid": int(ids[0]),
                    "service_id": 9001,
                    "title": order.service,
                    "num": 1,
                    "price": "0.00",
                    "payment": "0.00",
                    "total_fee": "0.00",
                    "refund_id": 0,
                }
            ]
        }
    promotions = [
        {
            "id": int(order.order_no),
            "promotion_id": f"mjs-{at}",
            "promotion_name": "满赠",
            "promotion_desc": f"满额送{line.name}",
            "discount_fee": "0.00",
            "gift_item_id": str(number_of("item", line.sku, 12)),
            "gift_item_name": line.name,
            "gift_item_num": str(line.quantity),
        }
        for at, line in enumerate(order.lines)
        if line.gift
    ]
    if promotions:
        found["promotion_details"] = {"promotion_detail": promotions}
    return found


def _lines(order: SimOrder) -> list[dict[str, Any]]:
    own = status_of(order)
    found: list[dict[str, Any]] = []
    for at, (line, line_id, share) in enumerate(zip(order.lines, line_ids(order), shares(order), strict=True)):
        # a gift costs nothing here, whatever it is worth
        price, off = (0, 0) if line.gift else (line.unit_price_fen, line.discount_fen)
        total = price * line.quantity - off
        fields: dict[str, Any] = {
            "oid": int(line_id),
            "oid_str": line_id,
            "num_iid": number_of("item", line.sku, 12),
            "sku_id": str(number_of("sku", line.sku, 13)),
            "outer_iid": line.sku.rsplit("-", 1)[0],
            "outer_sku_id": line.sku,
            "title": f"【赠品】{line.name}" if line.gift else line.name,
            "sku_properties_name": "规格:标准",
            "price": yuan(price),
            "num": line.quantity,
            "adjust_fee": "0.00",
            "discount_fee": yuan(off),
            "part_mjz_discount": "0.00",
            "total_fee": yuan(total),
            "payment": yuan(total),
            "divide_order_fee": yuan(share),
            "refund_status": _REFUNDS[line.after_sale],
            "status": "WAIT_BUYER_CONFIRM_GOODS" if line.shipped and order.status == "allocating" else own,
            "cid": 50020485,
            "seller_type": "B",
            "order_from": "WAP,WAP",
            "buyer_rate": False,
            "seller_rate": False,
            "is_oversold": False,
            "is_daixiao": False,
        }
        if line.after_sale:
            fields["refund_id"] = int(line_id) // 10_000 + at
        parcel = next((one for one in order.parcels if at in one.lines or not one.lines), None)
        if parcel is not None and has_left(order, at):
            fields["consign_time"] = wall(parcel.at_ms)
            fields["logistics_company"] = native("taobao", parcel.carrier)[1]
            fields["invoice_no"] = parcel.tracking
        found.append(fields)
    return found


def refunds(order: SimOrder, shop: str) -> list[dict[str, Any]]:
    """Return the after-sales of an order, as `taobao.refunds.receive.get` lists them."""
    return [
        {
            "refund_id": str(int(line_id) // 10_000 + at),
            "tid": int(order.order_no),
            "oid": int(line_id),
            "status": _REFUNDS[line.after_sale],
            "order_status": status_of(order),
            "refund_fee": yuan(share),
            "total_fee": yuan(order.payable_fen),
            "title": line.name,
            "num": line.quantity,
            "seller_nick": shop,
            "has_good_return": has_left(order, at),
            "created": wall(order.modified_ms),
            "modified": wall(order.modified_ms),
            "reason": "七天无理由退换货",
        }
        for at, (line, line_id, share) in enumerate(zip(order.lines, line_ids(order), shares(order), strict=True))
        if line.after_sale
    ]
