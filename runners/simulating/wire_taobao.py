"""A deal as Taobao answers it: `taobao.trade.fullinfo.get`. Yuan texts, wall-clock times of UTC+8, numeric ids."""

from hashlib import blake2b
from typing import Any, Final

import msgspec

from runners.simulating.neutral import Deal, Item, shares
from runners.simulating.wire_time import wall, yuan

LINES_MAX: Final = 2_000
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

_encode = msgspec.json.Encoder().encode


def write(deal: Deal) -> bytes:
    """Return the answer that holds this moment of the deal."""
    status = status_of(deal)
    trade: dict[str, Any] = {
        "tid": int(deal.number),
        "tid_str": deal.number,
        "status": status,
        "type": "step" if deal.presale else "fixed",
        "created": wall(deal.ordered_ms),
        "modified": wall(deal.modified_ms),
        "title": deal.shop,
        "seller_nick": deal.shop,
        "buyer_nick": f"{deal.buyer.id[:1]}**{deal.buyer.id[-1:]}",
        "buyer_open_uid": _token("uid", deal.buyer.id),
        "shipping_type": "express",
        "trade_from": "WAP,WAP",
        "total_fee": yuan(deal.goods),
        "payment": yuan(deal.payable),
        "post_fee": yuan(deal.freight),
        "discount_fee": yuan(deal.discount),
        "adjust_fee": "0.00",
        "received_payment": yuan(deal.payable) if deal.status == "completed" else "0.00",
        "has_post_fee": True,
        "has_yfx": False,
        "point_fee": 0,
        "real_point_fee": 0,
        "buyer_obtain_point_fee": 0,
        "coupon_fee": 0,
        "seller_flag": 0,
        "buyer_rate": False,
        "seller_rate": False,
        "is_part_consign": deal.status == "allocating",
        "is_daixiao": False,
        "receiver_name": f"{deal.buyer.name[:1]}**",
        "receiver_state": deal.buyer.province,
        "receiver_city": deal.buyer.city,
        "receiver_district": deal.buyer.district,
        "receiver_address": f"{deal.buyer.address[:4]}**路**号",
        "receiver_mobile": f"*******{deal.buyer.phone[-4:]}",
        "oaid": _token("oaid", deal.buyer.id + deal.buyer.address),
        "orders": {
            "order": [
                _line(deal, at, item, part)
                for at, (item, part) in enumerate(zip(deal.items, shares(deal), strict=True))
            ]
        },
    }
    if deal.presale:
        paid = "FRONT_PAID_FINAL_NOPAID" if deal.deposit else "FRONT_NOPAID_FINAL_NOPAID"
        trade["step_trade_status"] = "FRONT_PAID_FINAL_PAID" if deal.paid_ms else paid
        trade["step_paid_fee"] = yuan(deal.deposit)
    if deal.status == "awaiting_payment" and deal.pay_by_ms:
        trade["timeout_action_time"] = wall(deal.pay_by_ms)
    for name, at_ms in (("pay_time", deal.paid_ms), ("consign_time", deal.shipped_ms), ("end_time", deal.ended_ms)):
        if at_ms:
            trade[name] = wall(at_ms)
    if deal.message:
        trade["buyer_message"] = deal.message
    answer = {"trade_fullinfo_get_response": {"trade": trade, "request_id": _token("request", deal.number)[:13]}}
    return _encode(answer)


def status_of(deal: Deal) -> str:
    """Return Taobao's own word."""
    if deal.status == "cancelled":
        return "TRADE_CLOSED" if deal.paid_ms else "TRADE_CLOSED_BY_TAOBAO"
    if deal.status == "paid" and deal.hold:
        return "PAID_FORBID_CONSIGN"
    return _STATUSES[deal.status]


def line_id(deal: Deal, at: int) -> str:
    """Return the id of a line; the only line of an order has the order's own."""
    return deal.number if len(deal.items) == 1 else str(int(deal.number) + (at + 1) * _STEP)


def _line(deal: Deal, at: int, item: Item, share: int) -> dict[str, Any]:
    own = line_id(deal, at)
    line: dict[str, Any] = {
        "oid": int(own),
        "oid_str": own,
        "num_iid": 600_000_000_000 + _number(item.sku) % 99_999_999_999,
        "sku_id": str(4_700_000_000_000 + _number("sku" + item.sku) % 99_999_999_999),
        "outer_sku_id": item.sku,
        "title": item.name,
        "price": yuan(item.price),
        "num": item.quantity,
        "adjust_fee": "0.00",
        "discount_fee": yuan(item.discount),
        "part_mjz_discount": yuan(item.total - share),
        "total_fee": yuan(item.total),
        "payment": yuan(share),
        "divide_order_fee": yuan(share),
        "refund_status": _REFUNDS[item.refund],
        "status": "WAIT_BUYER_CONFIRM_GOODS" if item.shipped and deal.status == "allocating" else status_of(deal),
        "seller_type": "B",
        "buyer_rate": False,
        "seller_rate": False,
        "is_oversold": False,
        "is_daixiao": False,
    }
    if item.refund:
        line["refund_id"] = str(int(own) + 7)
    if deal.tracking and (item.shipped or deal.status in ("shipped", "completed")):
        line["consign_time"] = wall(deal.shipped_ms or deal.modified_ms)
        line["logistics_company"] = deal.carrier
        line["invoice_no"] = deal.tracking
    return line


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _token(kind: str, text: str) -> str:
    return blake2b(f"{kind}:{text}".encode(), digest_size=12).hexdigest()
