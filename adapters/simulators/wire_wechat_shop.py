"""An order as the WeChat shop gives it. Fen, Unix seconds, ids as text in pull and as integers in push."""

from typing import Any, Final

from adapters.simulators.carriers import native
from adapters.simulators.numbers import number_of, token_of
from adapters.simulators.orders import SimLine, SimOrder, shares
from adapters.simulators.texts import masked_phone, seconds

_STATUSES: Final = {"awaiting_payment": 10, "paid": 20, "allocating": 21, "shipped": 30, "completed": 100}
_AFTER_SALES: Final = {
    "open": "MERCHANT_PROCESSING",
    "refunded": "MERCHANT_REFUND_SUCCESS",
    "closed": "USER_CANCELD",
}
HOLDS: Final = frozenset({""})


def status_of(order: SimOrder) -> int:
    """Return the code of the order's state."""
    if order.status == "cancelled":
        return 200 if order.paid_ms else 190
    return _STATUSES[order.status]


def items(order: SimOrder) -> tuple[tuple[str, str], ...]:
    """Return product and SKU number of each line: the lines have no id of their own."""
    return tuple(
        (str(number_of("wx-product", line.sku, 12)), str(number_of("wx-sku", line.sku, 10))) for line in order.lines
    )


def after_sale_ids(order: SimOrder) -> tuple[str, ...]:
    """Return the ids of the after-sales of an order."""
    base = 2_000_000_000_000_000_000 + int(order.order_no) % 10**12 * 100
    return tuple(str(base + at) for at, line in enumerate(order.lines) if line.after_sale)


def order(found: SimOrder) -> dict[str, Any]:
    """Return the whole order."""
    if found.hold not in HOLDS:
        raise ValueError(f"the WeChat shop knows no hold {found.hold!r}")
    buyer = found.buyer
    return {
        "order_id": found.order_no,
        "status": status_of(found),
        "openid": "oUpF8u" + token_of("openid", buyer.id, 22),
        "unionid": "",
        "create_time": seconds(found.ordered_ms),
        "update_time": seconds(found.modified_ms),
        "order_detail": {
            "product_infos": [
                _product(found, at, line, share)
                for at, (line, share) in enumerate(zip(found.lines, shares(found), strict=True))
            ],
            "pay_info": {
                "payment_method": 1,
                "prepay_id": f"wx{token_of('prepay', found.order_no, 20)}",
                "prepay_time": seconds(found.ordered_ms),
                "pay_time": seconds(found.paid_ms),
                "transaction_id": f"4200{number_of('wx-pay', found.order_no, 18)}" if found.paid_ms else "",
            },
            "price_info": {
                "product_price": found.goods_fen,
                "order_price": found.payable_fen,
                "freight": found.freight_fen,
                "discounted_price": found.off_fen,
                "is_discounted": bool(found.off_fen),
                "original_order_price": found.goods_fen + found.freight_fen,
            },
            "delivery_info": {
                "address_info": {
                    "user_name": f"{buyer.name[:1]}*",
                    "postal_code": buyer.zip,
                    "province_name": buyer.province,
                    "city_name": buyer.city,
                    "county_name": buyer.district,
                    "detail_info": f"{buyer.address[:4]}***号",
                    "tel_number": masked_phone(buyer.phone),
                    "use_tel_number": 0,
                },
                "deliver_method": 0,
                "delivery_product_info": _parcels(found),
                "ship_done_time": seconds(found.shipped_ms),
            },
            "ext_info": {
                "customer_notes": found.message,
                "merchant_notes": "",
                "confirm_receipt_time": seconds(found.ended_ms) if found.status == "completed" else 0,
                "finder_id": "sph0001" if found.live else "",
                "live_id": "2100000001" if found.live else "",
                "order_scene": 2 if found.live else 1,
            },
            "coupon_info": {},
            "settle_info": {"predict_commission_fee": 0},
            "commission_infos": [],
            "sharer_info": {},
        },
        "aftersale_detail": {
            "on_aftersale_order_cnt": sum(line.after_sale == "open" for line in found.lines),
            "aftersale_order_list": [{"aftersale_order_id": one} for one in after_sale_ids(found)],
        },
    }


def _product(found: SimOrder, at: int, line: SimLine, share: int) -> dict[str, Any]:
    product, sku = items(found)[at]
    fields: dict[str, Any] = {
        "product_id": product,
        "sku_id": sku,
        "sku_code": line.sku,
        "out_product_id": "",
        "out_sku_id": line.sku,
        "thumb_img": "https://store.mp.video.tencent-cloud.example/a.jpg",
        "title": f"【赠品】{line.name}" if line.gift else line.name,
        "sku_cnt": line.quantity,
        "sale_price": line.unit_price_fen,
        "market_price": line.unit_price_fen,
        "real_price": share,
        "sku_attrs": [{"attr_key": "规格", "attr_value": "标准"}],
        "on_aftersale_sku_cnt": line.quantity if line.after_sale == "open" else 0,
        "finish_aftersale_sku_cnt": line.quantity if line.after_sale == "refunded" else 0,
        "is_discounted": share != line.goods_fen,
        "estimate_price": share,
        "is_change_price": False,
        "change_price": 0,
        "sku_deliver_info": {"stock_type": 0},
        "delivery_deadline": seconds(found.ordered_ms) + 172_800,
    }
    if found.presale:
        predicted = str(seconds(found.ordered_ms) + 864_000)
        fields["sku_deliver_info"] = {"stock_type": 1, "predict_delivery_time": predicted}
    return fields


def _parcels(found: SimOrder) -> list[dict[str, Any]]:
    numbers = items(found)
    return [
        {
            "waybill_id": parcel.tracking,
            "delivery_id": native("wechat_shop", parcel.carrier)[0],
            "delivery_name": native("wechat_shop", parcel.carrier)[1],
            "delivery_time": seconds(parcel.at_ms),
            "deliver_type": 1,
            "product_infos": [
                {"product_id": numbers[at][0], "sku_id": numbers[at][1], "product_cnt": found.lines[at].quantity}
                for at in parcel.lines or range(len(numbers))
            ],
        }
        for parcel in found.parcels
    ]


def after_sale(found: SimOrder, after_sale_id: str) -> dict[str, Any]:
    """Return one after-sale."""
    place = [at for at, line in enumerate(found.lines) if line.after_sale][after_sale_ids(found).index(after_sale_id)]
    line, (product, sku) = found.lines[place], items(found)[place]
    return {
        "after_sale_order_id": after_sale_id,
        "status": _AFTER_SALES[line.after_sale],
        "type": "RETURN" if found.shipped_ms else "REFUND",
        "order_id": found.order_no,
        "openid": "oUpF8u" + token_of("openid", found.buyer.id, 22),
        "product_info": {"product_id": product, "sku_id": sku, "count": line.quantity, "fast_refund": False},
        "refund_info": {"amount": shares(found)[place], "refund_reason": 1},
        "return_info": {},
        "reason": "QUALITY",
        "reason_text": "质量问题",
        "create_time": seconds(found.modified_ms),
        "update_time": seconds(found.modified_ms),
        "deadline": seconds(found.modified_ms) + 86_400,
    }
