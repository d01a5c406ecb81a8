"""An order as the merchant's own mini-program pushes it, and WeChat Pay's notice of its payment."""

from typing import Any, Final

from adapters.simulators.numbers import number_of, token_of
from adapters.simulators.orders import SimOrder, has_left, shares
from adapters.simulators.texts import iso, masked_phone

EVENTS: Final = {
    "created": "order.created",
    "paid": "order.paid",
    "cancelled": "order.cancelled",
    "after_sale": "aftersale.created",
}
"""Neutral change → `event_type`; every other change is `order.updated`."""
HOLDS: Final = frozenset({"", "risk_review", "group_not_formed", "forbid_consign", "locked"})


def line_ids(order: SimOrder) -> tuple[str, ...]:
    """Return the ids of the lines."""
    return tuple(str(at + 1) for at in range(len(order.lines)))


def transaction_id(order: SimOrder) -> str:
    """Return WeChat Pay's number of the payment."""
    return f"4200{number_of('mp-pay', order.order_no, 24)}"


def push(order: SimOrder, kind: str, event_id: str) -> dict[str, Any]:
    """Return the envelope with the whole order in it."""
    return {
        "event_id": event_id,
        "event_type": EVENTS.get(kind, "order.updated"),
        "occurred_at": iso(order.modified_ms),
        "order": body(order),
    }


def body(order: SimOrder) -> dict[str, Any]:
    """Return the order."""
    buyer = order.buyer
    found: dict[str, Any] = {
        "order_no": order.order_no,
        "member_id": f"M{number_of('member', buyer.id, 6)}",
        "openid": "oUpF8u" + token_of("openid", buyer.id, 22),
        "status": order.status,
        "created_at": iso(order.ordered_ms),
        "updated_at": iso(order.modified_ms),
        "currency": order.currency,
        "goods_amount_fen": order.goods_fen,
        "discount_fen": order.off_fen,
        "freight_fen": order.freight_fen,
        "payable_fen": order.payable_fen,
        "paid_fen": order.paid_fen,
        "buyer_message": order.message,
        "receiver": {
            "name": f"{buyer.name[:1]}**",
            "phone": masked_phone(buyer.phone),
            "province": buyer.province,
            "city": buyer.city,
            "district": buyer.district,
            "address": f"{buyer.address[:4]}***号",
        },
        "lines": [
            {
                "line_id": line_id,
                "sku": line.sku,
                "title": line.name,
                "qty": line.quantity,
                "unit_price_fen": line.unit_price_fen,
                "discount_fen": line.goods_fen - share,
                "is_gift": line.gift,
                **({"state": "shipped"} if has_left(order, at) else {}),
                **({"after_sale": line.after_sale} if line.after_sale else {}),
            }
            for at, (line, line_id, share) in enumerate(zip(order.lines, line_ids(order), shares(order), strict=True))
        ],
    }
    if order.presale:
        found["kind"] = "presale"
    if order.hold:
        found["holds"] = [order.hold]
    if order.service:
        found["service_package"] = order.service
    if order.parcels:
        ids = line_ids(order)
        found["parcels"] = [
            {
                "carrier": parcel.carrier,
                "tracking_no": parcel.tracking,
                "shipped_at": iso(parcel.at_ms),
                "line_ids": [ids[at] for at in parcel.lines or range(len(ids))],
            }
            for parcel in order.parcels
        ]
    times = {
        "pay_by": order.pay_by_ms if order.status == "awaiting_payment" else 0,
        "paid_at": order.paid_ms,
        "shipped_at": order.shipped_ms,
        "completed_at": order.ended_ms if order.status == "completed" else 0,
        "cancelled_at": order.ended_ms if order.status == "cancelled" else 0,
    }
    found |= {name: iso(at_ms) for name, at_ms in times.items() if at_ms}
    if order.paid_ms:
        found["wx_transaction_id"] = transaction_id(order)
    if order.referrer:
        found["referrer_id"] = order.referrer
    if order.invoice_title:
        found["invoice"] = {"type": "electronic_normal", "title": order.invoice_title}
    return found


def transaction(order: SimOrder, appid: str, mchid: str) -> dict[str, Any]:
    """Return what a WeChat Pay notice holds once it is decrypted."""
    return {
        "appid": appid,
        "mchid": mchid,
        "out_trade_no": order.order_no,
        "transaction_id": transaction_id(order),
        "trade_type": "JSAPI",
        "trade_state": "SUCCESS",
        "trade_state_desc": "支付成功",
        "bank_type": "OTHERS",
        "attach": f"ref={order.referrer}",
        "success_time": iso(order.paid_ms),
        "payer": {"openid": "oUpF8u" + token_of("openid", order.buyer.id, 22)},
        "amount": {
            "total": order.payable_fen,
            "payer_total": order.payable_fen,
            "currency": order.currency,
            "payer_currency": order.currency,
        },
    }
