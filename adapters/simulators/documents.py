"""A whole order in a platform's own form: the answer to a question for one order, or the push that holds it."""

from typing import Any

from adapters.simulators import (
    wire_douyin,
    wire_generic,
    wire_jd,
    wire_miniprogram,
    wire_pinduoduo,
    wire_shopify,
    wire_taobao,
    wire_wechat_shop,
)
from adapters.simulators.exchange import encode
from adapters.simulators.numbers import token_of
from adapters.simulators.orders import SimOrder
from adapters.simulators.shop import SimShop


def document(channel: str, order: SimOrder, shop: SimShop) -> bytes:
    """Return an order as the platform gives it.

    Raises:
        ValueError: there is no such platform, or it has no words for such an order.
    """
    value: Any
    match channel:
        case "taobao":
            value = {"trade_fullinfo_get_response": {"trade": wire_taobao.trade(order, shop.name)}}
        case "jd":
            info = {"apiResult": {"success": True}, "orderInfo": wire_jd.order_info(order, shop.shop_id)}
            value = {"jingdong_pop_order_get_responce": {"code": "0", "orderDetailInfo": info}}
        case "douyin":
            detail = wire_douyin.shop_order(order, shop.shop_id, shop.name)
            value = {"code": 10000, "msg": "success", "data": {"shop_order_detail": detail}}
        case "pinduoduo":
            value = {"order_info_get_response": {"order_info": wire_pinduoduo.order_info(order)}}
        case "wechat_shop":
            value = {"errcode": 0, "errmsg": "ok", "order": wire_wechat_shop.order(order)}
        case "shopify":
            value = {"order": wire_shopify.order(order)}
        case "miniprogram":
            event_id = token_of("event", f"{order.order_no}{order.modified_ms}", 26).upper()
            value = wire_miniprogram.push(order, "changed", event_id)
        case "generic":
            value = wire_generic.body(order, shop.name)
        case _:
            raise ValueError(f"no platform {channel!r}")
    return encode(value)
