"""An order as Douyin gives it. Fen, Unix seconds (0 = not yet), text ids in pull and integers in push."""

from typing import Any, Final

from adapters.simulators.carriers import native
from adapters.simulators.numbers import number_of, token_of
from adapters.simulators.orders import SimLine, SimOrder, has_left, shares
from adapters.simulators.texts import seconds

_STATUSES: Final = {
    "awaiting_payment": (1, "待支付"),
    "paid": (2, "待发货"),
    "allocating": (101, "部分发货"),
    "shipped": (3, "已发货"),
    "completed": (5, "已完成"),
    "cancelled": (4, "已关闭"),
}
_REVIEWED: Final = (105, "已支付")
_PART_PAID: Final = (103, "部分支付")
_REFUNDED: Final = (21, "发货前退款完结")
_AFTER_SALES: Final = {"": (0, 0), "open": (6, 1), "refunded": (12, 3), "closed": (51, 0)}
HOLDS: Final = frozenset({"", "risk_review"})


def status_of(order: SimOrder) -> tuple[int, int]:
    """Return `order_status` and `main_status`."""
    (code, _), (detail, _) = _status(order)
    return code, detail


def _status(order: SimOrder) -> tuple[tuple[int, str], tuple[int, str]]:
    whole = _REVIEWED if order.hold and order.status == "paid" else _STATUSES[order.status]
    if order.deposit_fen and order.status == "awaiting_payment":
        return whole, _PART_PAID
    if order.status == "cancelled" and order.paid_ms:
        return whole, _REFUNDED
    return whole, whole


def line_ids(order: SimOrder) -> tuple[str, ...]:
    """Return the ids of the lines; the only line of an order has the order's own."""
    if len(order.lines) == 1:
        return (order.order_no,)
    return tuple(str(int(order.order_no) + at + 1) for at in range(len(order.lines)))


def shop_order(order: SimOrder, shop_id: int, shop: str) -> dict[str, Any]:
    """Return the whole order."""
    if order.hold not in HOLDS:
        raise ValueError(f"Douyin knows no hold {order.hold!r}")
    common = _common(order)
    buyer = order.buyer
    return {
        "shop_id": shop_id,
        "shop_name": shop,
        "open_id": "",
        "order_id": order.order_no,
        "order_level": 2,
        **common,
        "order_amount": order.sold_fen + order.freight_fen,
        "pay_amount": order.payable_fen,
        "post_amount": order.freight_fen,
        "post_insurance_amount": 0,
        "modify_amount": 0,
        "modify_post_amount": 0,
        **_promotion(order.reduced_fen),
        "promotion_redpack_amount": 0,
        "total_promotion_amount": order.reduced_fen,
        "encrypt_post_receiver": f"##{token_of('name', buyer.name)}*#1##",
        "encrypt_post_tel": f"$${token_of('tel', buyer.phone)}*$1$$",
        "mask_post_receiver": f"{buyer.name[:1]}*",
        "mask_post_tel": f"1********{buyer.phone[-2:]}",
        "post_addr": {
            "province": {"name": buyer.province, "id": "35"},
            "city": {"name": buyer.city, "id": "350200"},
            "town": {"name": buyer.district, "id": "350203"},
            "street": {"name": "", "id": ""},
            "encrypt_detail": f"##{token_of('address', buyer.address)}*#1##",
        },
        "open_address_id": f"#{token_of('oaid', buyer.id + buyer.address)}",
        "doudian_open_id": f"1@#{token_of('uid', buyer.id)}",
        "buyer_words": order.message,
        "seller_words": "",
        "seller_remark_stars": 0,
        "logistics_info": _parcels(order),
        "promotion_detail": {},
        "order_phase_list": _phases(order) if order.presale else [],
        "serial_number_list": [],
        "shop_order_tag_ui": [],
        "user_tag_ui": [],
        "sku_order_list": [
            _line(order, at, line, share, common)
            for at, (line, share) in enumerate(zip(order.lines, shares(order), strict=True))
        ],
        "sku_order_count": len(order.lines),
    }


def _common(order: SimOrder) -> dict[str, Any]:
    """Return what order and lines both carry."""
    (code, text), (detail, detail_text) = _status(order)
    reason = ""
    if order.status == "cancelled":
        reason = "退款成功" if order.paid_ms else "支付超时"
    term = (order.pay_by_ms - order.ordered_ms) // 1000 if order.pay_by_ms else 1800
    return {
        "biz": 2,
        "biz_desc": "小店",
        "order_type": 0,
        "order_type_desc": "普通订单",
        "trade_type": 2 if order.presale else 0,
        "trade_type_desc": "定金预售" if order.presale else "普通",
        "order_status": code,
        "order_status_desc": text,
        "main_status": detail,
        "main_status_desc": detail_text,
        "create_time": seconds(order.ordered_ms),
        "update_time": seconds(order.modified_ms),
        "pay_time": seconds(order.paid_ms),
        "order_expire_time": term,
        "finish_time": seconds(order.ended_ms) if order.status == "completed" else 0,
        "ship_time": seconds(order.shipped_ms),
        "exp_ship_time": seconds(order.paid_ms) + 172_800 if order.paid_ms else 0,
        "cancel_reason": reason,
        "pay_type": 2 if order.paid_ms else 0,
        "channel_payment_no": f"20261111{int(order.order_no) % 10**12:012d}" if order.paid_ms else "",
        "b_type": 2,
        "b_type_desc": "抖音",
        "sub_b_type": 1,
    }


def _promotion(amount: int) -> dict[str, Any]:
    return {
        "promotion_amount": amount,
        "promotion_shop_amount": amount,
        "promotion_platform_amount": 0,
        "promotion_talent_amount": 0,
        "promotion_pay_amount": 0,
        "shop_cost_amount": amount,
        "platform_cost_amount": 0,
    }


def _line(order: SimOrder, at: int, line: SimLine, share: int, common: dict[str, Any]) -> dict[str, Any]:
    after_sale, refund = _AFTER_SALES[line.after_sale]
    product = number_of("product", line.sku, 19) % 5 * 10**17 + 3_000_000_000_000_000_000 + number_of("p", line.sku, 17)
    price = 0 if line.gift else line.unit_price_fen
    ids = line_ids(order)
    state: dict[str, Any] = {}
    if order.status == "allocating":
        code, text = (3, "已发货") if line.shipped else (2, "备货中")
        state = {"order_status": code, "order_status_desc": text, "main_status": code, "main_status_desc": text}
        state["ship_time"] = _left_at(order, at)
    given = any(one.gift for one in order.lines)
    kind = "FREE" if line.gift else "MASTER" if given and at == 0 else ""
    return {
        "order_id": ids[at],
        "parent_order_id": order.order_no,
        "order_level": 3,
        **common,
        **state,
        "product_id": product,
        "product_id_str": str(product),
        "sku_id": number_of("sku", line.sku, 16),
        "out_product_id": "",
        "out_sku_id": line.sku,
        "code": line.sku,
        "product_name": f"【赠品】{line.name}" if line.gift else line.name,
        "spec": [{"name": "规格", "value": "标准"}],
        "goods_type": 0,
        "item_num": line.quantity,
        "origin_amount": price,
        "goods_price": price,
        "sum_amount": price * line.quantity,
        "order_amount": price * line.quantity,
        "pay_amount": share,
        "post_amount": 0,
        **_promotion(price * line.quantity - share),
        "modify_amount": 0,
        "modify_post_amount": 0,
        "post_insurance_amount": 0,
        "author_id": 98_765_432_101 if order.live else 0,
        "author_name": "直播间" if order.live else "",
        "theme_type": "1" if order.live else "0",
        "room_id": 7_437_000_000_000_000_001 if order.live else 0,
        "room_id_str": "7437000000000000001" if order.live else "0",
        "content_id": "0",
        "video_id": "",
        "c_biz": 2 if order.live else 8,
        "reduce_stock_type": 1,
        "inventory_list": [],
        "pre_sale_type": 1 if order.presale else 0,
        "receive_type": 1,
        "need_serial_number": False,
        "given_product_type": kind,
        "master_sku_order_id_list": [ids[0]] if line.gift else [],
        "bundle_sku_info": [],
        "sku_customization_info": [],
        "after_sale_info": {"after_sale_status": after_sale, "after_sale_type": 0, "refund_status": refund},
        "is_comment": 0,
    }


def _left_at(order: SimOrder, at: int) -> int:
    if not has_left(order, at):
        return 0
    times = [parcel.at_ms for parcel in order.parcels if at in parcel.lines or not parcel.lines]
    return seconds(max(times, default=order.shipped_ms))


def _parcels(order: SimOrder) -> list[dict[str, Any]]:
    ids = line_ids(order)
    found = []
    for parcel in order.parcels:
        code, name = native("douyin", parcel.carrier)
        found.append(
            {
                "tracking_no": parcel.tracking,
                "company": code,
                "company_name": name,
                "ship_time": seconds(parcel.at_ms),
                "delivery_id": str(number_of("parcel", order.order_no + parcel.tracking, 19)),
                "product_info": [
                    {
                        "product_name": order.lines[at].name,
                        "price": 0 if order.lines[at].gift else order.lines[at].unit_price_fen,
                        "outer_sku_id": order.lines[at].sku,
                        "sku_id": number_of("sku", order.lines[at].sku, 16),
                        "sku_specs": [{"name": "规格", "value": "标准"}],
                        "product_count": order.lines[at].quantity,
                        "sku_order_id": ids[at],
                    }
                    for at in parcel.lines or range(len(ids))
                ],
            }
        )
    return found


def _phases(order: SimOrder) -> list[dict[str, Any]]:
    """Return the two stages of a presale: deposit and balance."""
    deposit = order.deposit_fen or order.payable_fen // 5
    found = []
    for place, paid in enumerate((bool(order.deposit_fen or order.paid_ms), bool(order.paid_ms))):
        owed = order.payable_fen - deposit if place else deposit
        paid_at = seconds(order.paid_ms) if place else seconds(order.ordered_ms) + 25
        found.append(
            {
                "phase_order_id": str(int(order.order_no) + 900 + place),
                "total_phase": 2,
                "current_phase": place + 1,
                "pay_success": paid,
                "sku_order_id": line_ids(order)[0],
                "campaign_id": 7_000_001,
                "phase_payable_price": owed,
                "phase_pay_type": 2 if paid else 0,
                "phase_open_time": seconds(order.ordered_ms),
                "phase_pay_time": paid_at if paid else 0,
                "phase_close_time": seconds(order.pay_by_ms or order.ordered_ms + 1_800_000),
                "channel_payment_no": f"20261111{int(order.order_no) % 10**9:09d}{place}" if paid else "",
                "phase_order_amount": owed,
                "phase_sum_amount": owed,
                "phase_post_amount": 0,
                "phase_pay_amount": owed if paid else 0,
                "phase_promotion_amount": 0,
                "current_phase_status_desc": "已支付" if paid else "待支付",
                "sku_price": order.lines[0].unit_price_fen,
            }
        )
    return found
