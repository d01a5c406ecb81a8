"""An order as a merchant's own shop or ERP pushes it: the product's documented JSON."""

from typing import Any, Final

from adapters.simulators.numbers import number_of
from adapters.simulators.orders import SimOrder, has_left, shares
from adapters.simulators.texts import iso

HOLDS: Final = frozenset({"", "risk_review", "group_not_formed", "forbid_consign", "locked"})


def line_ids(order: SimOrder) -> tuple[str, ...]:
    """Return the ids of the lines."""
    return tuple(f"L{at + 1}" for at in range(len(order.lines)))


def body(order: SimOrder, shop: str) -> dict[str, Any]:
    """Return the whole order."""
    ids, buyer = line_ids(order), order.buyer
    found: dict[str, Any] = {
        "shop": shop,
        "order_no": order.order_no,
        "status": order.status,
        "currency": order.currency,
        "kind": "presale" if order.presale else "normal",
        "ordered_at": iso(order.ordered_ms),
        "modified_at": iso(order.modified_ms),
        "goods_minor": order.goods_fen,
        "discount_minor": order.off_fen,
        "freight_minor": order.freight_fen,
        "payable_minor": order.payable_fen,
        "paid_minor": order.paid_fen,
        "customer_id": f"C{number_of('customer', buyer.id, 8)}",
        "receiver": {
            "name": buyer.name,
            "phone": buyer.phone,
            "province": buyer.province,
            "city": buyer.city,
            "district": buyer.district,
            "detail": buyer.address,
            "zip": buyer.zip,
        },
        "lines": [
            {
                "id": line_id,
                "sku": line.sku,
                "item": str(number_of("generic-item", line.sku, 9)),
                "name": line.name,
                "quantity": line.quantity,
                "unit_price_minor": line.unit_price_fen,
                "discount_minor": line.goods_fen - share,
                "amount_minor": share,
                "gift": line.gift,
                "state": "shipped" if has_left(order, at) else "open",
                "after_sale": line.after_sale,
            }
            for at, (line, line_id, share) in enumerate(zip(order.lines, ids, shares(order), strict=True))
        ],
        "parcels": [
            {
                "carrier": parcel.carrier,
                "tracking": parcel.tracking,
                "lines": [ids[at] for at in parcel.lines or range(len(ids))],
                "shipped_at": iso(parcel.at_ms),
            }
            for parcel in order.parcels
        ],
    }
    if order.status == "cancelled":
        for line in found["lines"]:
            line["state"] = "cancelled"
    times = {
        "pay_by": order.pay_by_ms if order.status == "awaiting_payment" else 0,
        "paid_at": order.paid_ms,
        "shipped_at": order.shipped_ms,
        "completed_at": order.ended_ms if order.status == "completed" else 0,
        "cancelled_at": order.ended_ms if order.status == "cancelled" else 0,
    }
    found |= {name: iso(at_ms) for name, at_ms in times.items() if at_ms}
    if order.hold:
        found["holds"] = [order.hold]
    if order.message:
        found["messages"] = {"buyer_message": order.message}
    texts = {"invoice_type": order.invoice_title and "electronic", "service_package": order.service}
    found |= {name: text for name, text in texts.items() if text}
    if order.referrer:
        found["referrer_id"] = order.referrer
    return found
