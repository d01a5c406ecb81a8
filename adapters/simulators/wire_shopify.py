"""An order as Shopify gives it. Decimal texts and a currency, ISO 8601 times with the shop's offset, integer ids."""

from typing import Any, Final

from adapters.simulators.carriers import native
from adapters.simulators.numbers import number_of, token_of
from adapters.simulators.orders import SimLine, SimOrder, has_left, shares
from adapters.simulators.texts import iso, yuan

OFFSET_H: Final = -5
"""Offset of the simulated shop's zone, all year."""
HOLDS: Final = frozenset({""})


def line_ids(order: SimOrder) -> tuple[str, ...]:
    """Return the ids of the lines."""
    base = 866_550_000_000_000_000 + int(order.order_no) % 10**9 * 100
    return tuple(str(base + at) for at in range(len(order.lines)))


def fulfillment_order_id(order: SimOrder) -> int:
    """Return the id of what is to be shipped of an order."""
    return 1_046_000_000_000 + int(order.order_no) % 10**9


def fulfillment_line_ids(order: SimOrder) -> tuple[int, ...]:
    """Return the ids of the lines of the fulfillment order: others than the lines' own."""
    base = 1_058_000_000_000 + int(order.order_no) % 10**9 * 100
    return tuple(base + at for at in range(len(order.lines)))


def _financial(order: SimOrder) -> str:
    if order.status == "cancelled":
        return "refunded" if order.paid_ms else "voided"
    if not order.paid_ms:
        return "partially_paid" if order.deposit_fen else "pending"
    refunded = [line.after_sale == "refunded" for line in order.lines if not line.gift]
    return "refunded" if all(refunded) else "partially_refunded" if any(refunded) else "paid"


def _fulfillment(order: SimOrder) -> str | None:
    return {"allocating": "partial", "shipped": "fulfilled", "completed": "fulfilled"}.get(order.status)


def order(found: SimOrder) -> dict[str, Any]:
    """Return the whole order."""
    if found.hold not in HOLDS or found.refunding:
        raise ValueError("a Shopify order shows neither a hold nor an open after-sale")
    number = int(found.order_no)
    buyer, currency = found.buyer, found.currency
    cancelled, closed = found.status == "cancelled", found.status == "completed"
    total = yuan(found.payable_fen)
    first, last = [*buyer.name.split(" ", 1), ""][:2]
    return {
        "id": number,
        "admin_graphql_api_id": f"gid://shopify/Order/{number}",
        "app_id": 580111,
        "name": f"#{number % 10**6}",
        "number": number % 10**6 - 1000,
        "order_number": number % 10**6,
        "confirmed": True,
        "confirmation_number": token_of("confirmation", found.order_no, 9).upper(),
        "test": False,
        "created_at": iso(found.ordered_ms, OFFSET_H),
        "updated_at": iso(found.modified_ms, OFFSET_H),
        "processed_at": iso(found.ordered_ms, OFFSET_H),
        "closed_at": iso(found.ended_ms, OFFSET_H) if closed else None,
        "cancelled_at": iso(found.ended_ms, OFFSET_H) if cancelled else None,
        "cancel_reason": "customer" if cancelled else None,
        "currency": currency,
        "presentment_currency": currency,
        "financial_status": _financial(found),
        "fulfillment_status": _fulfillment(found),
        "taxes_included": False,
        "total_line_items_price": yuan(found.goods_fen),
        "subtotal_price": yuan(found.goods_fen - found.off_fen),
        "total_discounts": yuan(found.off_fen),
        "total_tax": "0.00",
        "total_price": total,
        "total_outstanding": "0.00" if found.paid_ms or cancelled else yuan(found.payable_fen - found.deposit_fen),
        "current_total_price": "0.00" if cancelled else total,
        "total_price_set": _money(total, currency),
        "total_shipping_price_set": _money(yuan(found.freight_fen), currency),
        "email": f"{buyer.id}@example.com",
        "phone": None,
        "contact_email": f"{buyer.id}@example.com",
        "note": found.message or None,
        "note_attributes": [],
        "tags": "presale" if found.presale else "",
        "source_name": "web",
        "gateway": None,
        "payment_gateway_names": ["shopify_payments"],
        "buyer_accepts_marketing": False,
        "customer_locale": "en",
        "landing_site": "/",
        "referring_site": None,
        "token": token_of("token", found.order_no, 32),
        "discount_codes": [],
        **_discounts(found),
        "tax_lines": [],
        "shipping_lines": [
            {
                "id": 271_878_346_596_884_015,
                "code": "STD",
                "title": "Standard",
                "source": "shopify",
                "price": yuan(found.freight_fen),
                "price_set": _money(yuan(found.freight_fen), currency),
                "discounted_price": yuan(found.freight_fen),
                "tax_lines": [],
                "discount_allocations": [],
            }
        ],
        "fulfillments": fulfillments(found),
        "refunds": _refunds(found),
        "customer": {
            "id": number_of("customer", buyer.id, 12),
            "email": f"{buyer.id}@example.com",
            "first_name": first,
            "last_name": last,
            "tags": "",
            "state": "enabled",
        },
        "shipping_address": {
            "first_name": first,
            "last_name": last,
            "name": buyer.name,
            "address1": buyer.address,
            "address2": None,
            "city": buyer.city,
            "province": buyer.province,
            "province_code": None,
            "country": "United States",
            "country_code": "US",
            "zip": buyer.zip,
            "phone": buyer.phone,
            "company": None,
        },
    }


def _money(amount: str, currency: str) -> dict[str, Any]:
    money = {"amount": amount, "currency_code": currency}
    return {"shop_money": money, "presentment_money": money}


def _discounts(found: SimOrder) -> dict[str, Any]:
    """Return the discounts and the lines they fall on."""
    applications: list[dict[str, Any]] = []
    lines = []
    for at, (line, share) in enumerate(zip(found.lines, shares(found), strict=True)):
        allocations = []
        off = line.goods_fen - share
        if off:
            allocations.append(
                {
                    "amount": yuan(off),
                    "amount_set": _money(yuan(off), found.currency),
                    "discount_application_index": len(applications),
                }
            )
            applications.append(
                {
                    "target_type": "line_item",
                    "type": "automatic",
                    "value": "100.0" if line.gift else yuan(off),
                    "value_type": "percentage" if line.gift else "fixed_amount",
                    "allocation_method": "each",
                    "target_selection": "entitled",
                    "title": "Free gift" if line.gift else "Discount",
                }
            )
        lines.append(_line(found, at, line, allocations))
    return {"discount_applications": applications, "line_items": lines}


def _line(found: SimOrder, at: int, line: SimLine, allocations: list[dict[str, Any]]) -> dict[str, Any]:
    own = line_ids(found)[at]
    left = has_left(found, at)
    return {
        "id": int(own),
        "admin_graphql_api_id": f"gid://shopify/LineItem/{own}",
        "product_id": number_of("product", line.sku, 12),
        "variant_id": number_of("variant", line.sku, 12),
        "sku": line.sku,
        "title": line.name,
        "variant_title": "Standard",
        "name": f"{line.name} - Standard",
        "vendor": "ToolCo",
        "quantity": line.quantity,
        "current_quantity": 0 if line.after_sale == "refunded" else line.quantity,
        "fulfillable_quantity": 0 if left else line.quantity,
        "fulfillment_service": "manual",
        "fulfillment_status": "fulfilled" if left else None,
        "grams": 1500,
        "price": yuan(line.unit_price_fen),
        "price_set": _money(yuan(line.unit_price_fen), found.currency),
        "total_discount": "0.00",
        "total_discount_set": _money("0.00", found.currency),
        "discount_allocations": allocations,
        "properties": [],
        "product_exists": True,
        "requires_shipping": True,
        "taxable": True,
        "gift_card": False,
        "tax_lines": [],
        "duties": [],
    }


def fulfillments(found: SimOrder) -> list[dict[str, Any]]:
    """Return the parcels."""
    ids = line_ids(found)
    return [
        {
            "id": 255_000_000_000 + int(found.order_no) % 10**9 * 10 + place,
            "order_id": int(found.order_no),
            "status": "success",
            "created_at": iso(parcel.at_ms, OFFSET_H),
            "updated_at": iso(parcel.at_ms, OFFSET_H),
            "service": "manual",
            "tracking_company": native("shopify", parcel.carrier)[1],
            "tracking_number": parcel.tracking,
            "tracking_numbers": [parcel.tracking],
            "tracking_urls": [],
            "line_items": [
                {"id": int(ids[at]), "sku": found.lines[at].sku, "quantity": found.lines[at].quantity}
                for at in parcel.lines or range(len(ids))
            ],
        }
        for place, parcel in enumerate(found.parcels)
    ]


def _refunds(found: SimOrder) -> list[dict[str, Any]]:
    """Return the refunds; the amounts of their lines are JSON numbers, unlike all others."""
    gone = [at for at, line in enumerate(found.lines) if line.after_sale == "refunded"]
    if not gone:
        return []
    parts, ids, number = shares(found), line_ids(found), int(found.order_no)
    return [
        {
            "id": 509_000_000_000 + number % 10**9,
            "order_id": number,
            "created_at": iso(found.modified_ms, OFFSET_H),
            "note": "damaged",
            "restock": True,
            "refund_line_items": [
                {
                    "id": 104_000_000_000 + number % 10**9 * 10 + at,
                    "line_item_id": int(ids[at]),
                    "quantity": found.lines[at].quantity,
                    "restock_type": "return",
                    "subtotal": float(yuan(parts[at])),
                    "total_tax": 0.0,
                }
                for at in gone
            ],
            "transactions": [
                {
                    "id": 179_000_000_000 + number % 10**9,
                    "kind": "refund",
                    "status": "success",
                    "amount": yuan(sum(parts[at] for at in gone)),
                    "currency": found.currency,
                }
            ],
            "order_adjustments": [],
        }
    ]
