"""A deal as Douyin answers it: `order.orderDetail`. Amounts in fen, times in Unix seconds (0 = not yet), text ids."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import msgspec

from runners.simulating.neutral import Deal, Item, shares
from runners.simulating.wire_time import seconds

LINES_MAX: Final = 40
"""An order has at most so many lines."""
_STATUSES: Final = {
    "awaiting_payment": (1, "待支付"),
    "paid": (2, "待发货"),
    "allocating": (101, "部分发货"),
    "shipped": (3, "已发货"),
    "completed": (5, "已完成"),
    "cancelled": (4, "已取消"),
}
_HELD: Final = (105, "已支付")
_AFTER_SALES: Final = {"": (0, 0), "open": (6, 1), "refunded": (12, 3), "closed": (51, 0)}

_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode


def write(deal: Deal) -> bytes:
    """Return the answer that holds this moment of the deal."""
    status, text = _HELD if deal.hold and deal.status == "paid" else _STATUSES[deal.status]
    owed = deal.deposit and not deal.paid_ms
    common: dict[str, Any] = {
        "biz": 2,
        "order_type": 0,
        "order_type_desc": "普通订单",
        "trade_type": 2 if deal.presale else 0,
        "order_status": status,
        "order_status_desc": text,
        "main_status": 103 if owed else status,
        "main_status_desc": "部分支付" if owed else text,
        "create_time": seconds(deal.ordered_ms),
        "update_time": seconds(deal.modified_ms),
        "pay_time": seconds(deal.paid_ms),
        "order_expire_time": max(seconds(deal.pay_by_ms - deal.ordered_ms), 0) or 1800,
        "finish_time": seconds(deal.ended_ms) if deal.status == "completed" else 0,
        "ship_time": seconds(deal.shipped_ms),
        "exp_ship_time": seconds(deal.paid_ms) + 172_800 if deal.paid_ms else 0,
        "cancel_reason": "" if deal.status != "cancelled" else "退款成功" if deal.paid_ms else "超时未支付",
        "pay_type": 2,
    }
    off = sum(item.discount for item in deal.items) + deal.discount
    parts = shares(deal)
    detail: dict[str, Any] = {
        "shop_id": 7_784_061,
        "shop_name": deal.shop,
        "order_id": deal.number,
        "order_level": 2,
        **common,
        "order_amount": deal.goods + deal.freight,
        "pay_amount": deal.payable,
        "post_amount": deal.freight,
        "modify_amount": 0,
        "promotion_amount": off,
        "promotion_shop_amount": off,
        "promotion_platform_amount": 0,
        "promotion_talent_amount": 0,
        "promotion_pay_amount": 0,
        "shop_cost_amount": off,
        "platform_cost_amount": 0,
        "encrypt_post_receiver": f"##{_token('name', deal.buyer.name)}*#1##",
        "encrypt_post_tel": f"$${_token('tel', deal.buyer.phone)}*$1$$",
        "mask_post_receiver": f"{deal.buyer.name[:1]}*",
        "mask_post_tel": f"1********{deal.buyer.phone[-2:]}",
        "post_addr": {
            "province": {"name": deal.buyer.province, "id": "35"},
            "city": {"name": deal.buyer.city, "id": "350200"},
            "town": {"name": deal.buyer.district, "id": "350203"},
            "street": {"name": "", "id": ""},
            "encrypt_detail": f"##{_token('address', deal.buyer.address)}*#1##",
        },
        "open_address_id": f"#{_token('oaid', deal.buyer.id + deal.buyer.address)}",
        "doudian_open_id": f"1@#{_token('uid', deal.buyer.id)}",
        "buyer_words": deal.message,
        "seller_words": "",
        "seller_remark_stars": 0,
        "logistics_info": _parcels(deal),
        "order_phase_list": _phases(deal) if deal.presale else [],
        "sku_order_list": [
            _line(deal, at, item, part, common) for at, (item, part) in enumerate(zip(deal.items, parts, strict=True))
        ],
        "sku_order_count": len(deal.items),
    }
    answer = {
        "code": 10000,
        "msg": "success",
        "sub_code": "",
        "sub_msg": "",
        "log_id": _token("log", f"{deal.number}{deal.modified_ms}"),
        "data": {"shop_order_detail": detail},
    }
    return _encode(answer)


def line_id(deal: Deal, at: int) -> str:
    """Return the id of a line; the only line of an order has the order's own."""
    return deal.number if len(deal.items) == 1 else str(int(deal.number) + at + 1)


def _line(deal: Deal, at: int, item: Item, share: int, common: dict[str, Any]) -> dict[str, Any]:
    after_sale, refund = _AFTER_SALES[item.refund]
    state: dict[str, Any] = {}
    if item.shipped and deal.status == "allocating":
        state = {
            "order_status": 3,
            "order_status_desc": "已发货",
            "main_status": 3,
            "main_status_desc": "已发货",
            "ship_time": seconds(deal.shipped_ms or deal.modified_ms),
        }
    elif deal.status == "allocating":
        state = {"order_status": 2, "order_status_desc": "待发货", "main_status": 2, "main_status_desc": "备货中"}
    product = 3_660_000_000_000_000_000 + _number(item.sku) % 999_999_999_999_999
    return {
        "order_id": line_id(deal, at),
        "parent_order_id": deal.number,
        "order_level": 3,
        **common,
        **state,
        "product_id": product,
        "product_id_str": str(product),
        "sku_id": 3_410_000_000_000_000 + _number("sku" + item.sku) % 999_999_999_999,
        "out_product_id": "",
        "out_sku_id": item.sku,
        "code": item.sku,
        "product_name": item.name,
        "spec": [{"name": "规格", "value": "标准"}],
        "item_num": item.quantity,
        "origin_amount": item.price,
        "goods_price": item.price,
        "sum_amount": item.price * item.quantity,
        "order_amount": item.price * item.quantity,
        "pay_amount": share,
        "post_amount": 0,
        "promotion_amount": item.price * item.quantity - share,
        "promotion_shop_amount": item.price * item.quantity - share,
        "promotion_platform_amount": 0,
        "promotion_talent_amount": 0,
        "promotion_pay_amount": 0,
        "shop_cost_amount": item.price * item.quantity - share,
        "platform_cost_amount": 0,
        "author_id": 98_765_432_101 if deal.live else 0,
        "author_name": "直播间" if deal.live else "",
        "theme_type": "1" if deal.live else "0",
        "room_id": 7_437_000_000_000_000_001 if deal.live else 0,
        "room_id_str": "7437000000000000001" if deal.live else "0",
        "pre_sale_type": 1 if deal.presale else 0,
        "receive_type": 1,
        "given_product_type": "",
        "master_sku_order_id_list": [],
        "after_sale_info": {"after_sale_status": after_sale, "after_sale_type": 0, "refund_status": refund},
    }


def _parcels(deal: Deal) -> list[dict[str, Any]]:
    if not deal.tracking:
        return []
    whole = deal.status in ("shipped", "completed")
    return [
        {
            "tracking_no": deal.tracking,
            "company": deal.carrier,
            "company_name": deal.carrier,
            "ship_time": seconds(deal.shipped_ms or deal.modified_ms),
            "delivery_id": _token("parcel", deal.tracking)[:16],
            "product_info": [
                {"sku_order_id": line_id(deal, at), "product_count": item.quantity, "outer_sku_id": item.sku}
                for at, item in enumerate(deal.items)
                if whole or item.shipped
            ],
        }
    ]


def _phases(deal: Deal) -> list[dict[str, Any]]:
    """Return the two stages of a presale: deposit and balance."""
    stages = ((deal.deposit or deal.payable // 5, bool(deal.deposit)), (0, bool(deal.paid_ms)))
    first = stages[0][0]
    found = []
    for place, (_, paid) in enumerate(stages):
        owed = deal.payable - first if place else first
        found.append(
            {
                "phase_order_id": str(int(deal.number) + 900 + place),
                "total_phase": 2,
                "current_phase": place + 1,
                "pay_success": paid,
                "phase_payable_price": owed,
                "phase_open_time": seconds(deal.ordered_ms),
                "phase_pay_time": (seconds(deal.paid_ms) if place else seconds(deal.ordered_ms) + 60) if paid else 0,
                "phase_close_time": seconds(deal.pay_by_ms if place else deal.ordered_ms + 1_800_000),
                "phase_order_amount": owed,
                "phase_pay_amount": owed if paid else 0,
                "current_phase_status_desc": "已支付" if paid else "待支付",
            }
        )
    return found


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _token(kind: str, text: str) -> str:
    return blake2b(f"{kind}:{text}".encode(), digest_size=18).hexdigest()
