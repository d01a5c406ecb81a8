"""One order, as each channel writes it: small payloads of our own that the contract of all channels is driven by.

A new channel is one entry of `SAMPLES`: how it writes an order of two lines, how several of them come in together, and
what an unknown status looks like.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from adapters.channels.douyin import Douyin
from adapters.channels.generic import Generic
from adapters.channels.jd import Jd
from adapters.channels.miniprogram import MiniProgram
from adapters.channels.pinduoduo import Pinduoduo
from adapters.channels.shopify import Shopify
from adapters.channels.taobao import Taobao
from adapters.channels.wechat_shop import WechatShop
from domain.canonical import Status, Translated
from domain.ports import Channel, Sliced

ORDERED_MS = 1_794_326_700_000
"""2026-11-11 00:05:00 in Shanghai."""
MINUTE_MS = 60_000
NEW_YORK = ZoneInfo("America/New_York")
STATUSES: tuple[Status, ...] = ("awaiting_payment", "paid", "shipped", "completed", "cancelled")
"""What every channel can say."""

Fields = dict[str, Any]


class Sample(NamedTuple):
    """How a channel writes orders."""

    channel: Channel
    make: Callable[[int, Status, int, int], Fields]
    """Return the order of a number in a status: ordered and last changed at these times, UTC ms."""
    page: Callable[[Sequence[bytes]], bytes]
    """Return what several orders come in together as."""
    break_status: Callable[[Fields], None]
    """Give an order a status that nobody knows."""
    status_field: str
    """The field that must be named then."""
    free: tuple[str, ...] = ()
    """Fields whose inside is the sender's own: what is added there is not unknown."""

    @property
    def name(self) -> str:
        """The channel's name."""
        return self.channel.name


def encoded(fields: Any) -> bytes:
    """Write a payload as its sender would."""
    return json.dumps(fields, ensure_ascii=False).encode()


def cut(sample: Sample, raw: bytes, shop: str = "shop") -> Sliced:
    """Return the one order in these bytes."""
    (part,) = sample.channel.identify(raw, shop)
    assert isinstance(part, Sliced), part
    return part


def translated(sample: Sample, fields: Fields, shop: str = "shop") -> Translated:
    """Cut and translate one order."""
    part = cut(sample, encoded(fields), shop)
    found = sample.channel.translate(part.raw, part.shop)
    assert isinstance(found, Translated)
    return found


def objects(value: Any, free: Sequence[str] = ()) -> Iterator[Fields]:
    """Return every object inside a payload, the payload itself first."""
    if isinstance(value, dict):
        yield value
        for name, inner in value.items():
            if name not in free:
                yield from objects(inner, free)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner, free)


SAYS_NOTHING: tuple[Any, ...] = (None, "", 0, "0", False, "0.00", "0001-01-01 00:00:00")
"""What platforms write where there is nothing to say."""


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Return name and value of every leaf of a payload."""
    if isinstance(value, dict):
        for member, inner in value.items():
            yield from leaves(inner, member)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, name)
    else:
        yield name, value


def words_of(value: Any) -> set[str]:
    """Return every value of what was made of a payload, whole and in its parts."""
    if isinstance(value, dict):
        return {word for name, inner in value.items() for word in (name, *words_of(inner))}
    if isinstance(value, (list, tuple)):
        return {word for inner in value for word in words_of(inner)}
    text = str(value)
    return {text, *text.replace(";", "/").replace(":", "/").split("/")}


def spellings(value: Any) -> set[str]:
    """Return the ways in which a value may be found again: an amount in decimals counts minor units there."""
    text = str(value)
    found = {text, text.split(" - ", maxsplit=1)[0]}  # Shopify names a line by its title and its variant
    if isinstance(value, float) or (isinstance(value, str) and text[-3:-2] == "."):
        found.add(str(round(float(text) * 100)))
    return found


# ---- Times, as platforms write them ----------------------------------------------------------------------------------


def china(ms: int) -> str:
    """Return text without a zone, meant in UTC+8."""
    return f"{_wall(ms, timezone(timedelta(hours=8))):%Y-%m-%d %H:%M:%S}"


def iso(ms: int, zone: Any = UTC) -> str:
    """Return ISO 8601 with the offset of a zone at that time."""
    return _wall(ms, zone).isoformat()


def _wall(ms: int, zone: Any) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(zone)


def any_notation(ms: int, turn: int) -> str | int:
    """Return a time in one of the notations that are read without being told which."""
    return (ms // 1000, str(ms // 1000), ms, str(ms), iso(ms), iso(ms, NEW_YORK), china(ms))[turn % 7]


# ---- The channels ----------------------------------------------------------------------------------------------------


def _list(bodies: Sequence[bytes]) -> bytes:
    return b"[" + b", ".join(bodies) + b"]"


def _setting(*way: str | int, to: Any) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        spot: Any = fields
        for step in way[:-1]:
            spot = spot[step]
        spot[way[-1]] = to

    return change


def taobao(number: int, status: Status, ordered_ms: int, modified_ms: int) -> Fields:
    """Return a trade."""
    native = {
        "awaiting_payment": "WAIT_BUYER_PAY",
        "paid": "WAIT_SELLER_SEND_GOODS",
        "shipped": "WAIT_BUYER_CONFIRM_GOODS",
        "completed": "TRADE_FINISHED",
        "cancelled": "TRADE_CLOSED_BY_TAOBAO",
    }[status]
    paid = status not in ("awaiting_payment", "cancelled")
    line = {"num": 1, "price": "100.00", "divide_order_fee": "100.00", "status": native, "refund_status": "NO_REFUND"}
    return {
        "tid": 2960000000000000000 + number,
        "tid_str": str(2960000000000000000 + number),
        "status": native,
        "created": china(ordered_ms),
        "modified": china(modified_ms),
        **({"pay_time": china(ordered_ms + MINUTE_MS)} if paid else {}),
        "total_fee": "200.00",
        "payment": "200.00",
        "buyer_open_uid": "uid-1",
        "receiver_name": "王**",
        "orders": {
            "order": [
                {**line, "oid": 2960000000000000000 + number * 10 + place, "outer_sku_id": f"SKU-{place}"}
                for place in (1, 2)
            ]
        },
    }


def douyin(number: int, status: Status, ordered_ms: int, modified_ms: int) -> Fields:
    """Return a shop order."""
    code = {"awaiting_payment": 1, "paid": 2, "shipped": 3, "completed": 5, "cancelled": 4}[status]
    codes = {"order_status": code, "main_status": code}
    paid = ordered_ms // 1000 + 60 if status not in ("awaiting_payment", "cancelled") else 0
    line = {**codes, "item_num": 1, "origin_amount": 10000, "pay_amount": 10000}
    return {
        **codes,
        "order_id": str(6900000000000000000 + number),
        "shop_id": 7784061,
        "create_time": ordered_ms // 1000,
        "update_time": modified_ms // 1000,
        "pay_time": paid,
        "order_amount": 20000,
        "pay_amount": 20000,
        "doudian_open_id": "open-1",
        "post_addr": {"province": {"name": "福建省", "id": "35"}, "encrypt_detail": "##d##"},
        "sku_order_list": [
            {**line, "order_id": str(6900000000000000000 + number * 10 + place), "out_sku_id": f"SKU-{place}"}
            for place in (1, 2)
        ],
    }


def jd(number: int, status: Status, ordered_ms: int, modified_ms: int) -> Fields:
    """Return an order."""
    native = {
        "awaiting_payment": "NOT_PAY",
        "paid": "WAIT_SELLER_STOCK_OUT",
        "shipped": "WAIT_GOODS_RECEIVE_CONFIRM",
        "completed": "FINISHED_L",
        "cancelled": "TRADE_CANCELED",
    }[status]
    unpaid = status in ("awaiting_payment", "cancelled")
    return {
        "orderId": str(301000000000 + number),
        "venderId": "10622317",
        "payType": "4-在线支付",
        "orderTotalPrice": "200.00",
        "sellerDiscount": "0.00",
        "orderSellerPrice": "200.00",
        "orderPayment": "200.00",
        "freightPrice": "0.00",
        "orderState": native,
        "orderStartTime": china(ordered_ms),
        "orderEndTime": "0001-01-01 00:00:00",
        "paymentConfirmTime": "0001-01-01 00:00:00" if unpaid else china(ordered_ms + MINUTE_MS),
        "modified": china(modified_ms),
        "openIdBuyer": "buyer-1",
        "consigneeInfo": {"fullname": "王**", "province": "广东", "city": "广州市"},
        "itemInfoList": [
            {"skuId": f"1005488770{place}", "outerSkuId": f"SKU-{place}", "jdPrice": "100.00", "itemTotal": "1"}
            for place in (1, 2)
        ],
    }


def pinduoduo(number: int, status: Status, ordered_ms: int, modified_ms: int) -> Fields:
    """Return an order; the platform sells one item an order."""
    codes = {
        "awaiting_payment": (0, 1),
        "paid": (1, 1),
        "shipped": (1, 2),
        "completed": (1, 3),
        "cancelled": (2, 1),
    }[status]
    unpaid = status in ("awaiting_payment", "cancelled")
    paid = "" if unpaid else china(ordered_ms + MINUTE_MS)
    return {
        "order_sn": f"261111-{number:015d}",
        "created_time": china(ordered_ms),
        "confirm_time": paid,
        "pay_time": paid,
        "updated_at": china(modified_ms),
        "confirm_status": codes[0],
        "order_status": codes[1],
        "refund_status": 1,
        "after_sales_status": 0,
        "group_status": 1,
        "risk_control_status": 0,
        "goods_amount": 200.0,
        "discount_amount": 0,
        "platform_discount": 0,
        "seller_discount": 0,
        "postage": 0,
        "pay_amount": 200.0,
        "province": "上海市",
        "city": "上海市",
        "receiver_name": "~AgAAAAF0~0~",
        "order_tag_list": [{"name": "delivery_one_day", "value": 0}],
        "item_list": [
            {"goods_id": "2525296157", "sku_id": "519", "outer_id": "SKU-1", "goods_price": 100.0, "goods_count": 2}
        ],
    }


def wechat_shop(number: int, status: Status, ordered_ms: int, modified_ms: int) -> Fields:
    """Return an order."""
    code = {"awaiting_payment": 10, "paid": 20, "shipped": 30, "completed": 100, "cancelled": 250}[status]
    paid = ordered_ms // 1000 + 60 if status not in ("awaiting_payment", "cancelled") else 0
    line = {"sku_cnt": 1, "sale_price": 10000, "real_price": 10000, "title": "电钻"}
    return {
        "order_id": str(3737550000000000000 + number),
        "status": code,
        "openid": "open-1",
        "create_time": ordered_ms // 1000,
        "update_time": modified_ms // 1000,
        "order_detail": {
            "product_infos": [
                {
                    **line,
                    "product_id": f"100{place}",
                    "sku_id": f"200{place}",
                    "sku_code": f"SKU-{place}",
                    "sku_attrs": [{"attr_key": "规格", "attr_value": "标准"}],
                    "sku_deliver_info": {"stock_type": 0},
                }
                for place in (1, 2)
            ],
            "pay_info": {"payment_method": 1, "pay_time": paid},
            "price_info": {"product_price": 20000, "order_price": 20000, "freight": 0},
            "delivery_info": {"address_info": {"user_name": "王*", "province_name": "广东省"}},
            "ext_info": {"customer_notes": "", "order_scene": 1},
            "sharer_info": {"sharer_openid": "sharer-1"},
        },
        "aftersale_detail": {"on_aftersale_order_cnt": 0, "aftersale_order_list": []},
    }


def miniprogram(number: int, status: Status, ordered_ms: int, modified_ms: int) -> Fields:
    """Return an event with its order."""
    china_zone = timezone(timedelta(hours=8))
    paid = status not in ("awaiting_payment", "cancelled")
    return {
        "event_id": f"event-{number}-{status}-{modified_ms}",
        "event_type": "order.updated",
        "occurred_at": iso(modified_ms, china_zone),
        "order": {
            "order_no": f"MP{number}",
            "status": status,
            "member_id": "M1",
            "referrer_id": "R1",
            "created_at": iso(ordered_ms, china_zone),
            **({"paid_at": iso(ordered_ms + MINUTE_MS, china_zone)} if paid else {}),
            "payable_fen": 20000,
            "receiver": {"name": "王**", "province": "广东省"},
            "invoice": {"type": "electronic_normal", "title": "个人"},
            "lines": [
                {"line_id": str(place), "sku": f"SKU-{place}", "qty": 1, "unit_price_fen": 10000} for place in (1, 2)
            ],
        },
    }


def shopify(number: int, status: Status, ordered_ms: int, modified_ms: int) -> Fields:
    """Return an order of a shop in New York."""
    financial = {"awaiting_payment": "pending", "cancelled": "voided"}.get(status, "paid")
    fulfilled = "fulfilled" if status in ("shipped", "completed") else None
    money = {"amount": "100.00", "currency_code": "USD"}
    return {
        "id": 5940139000000 + number,
        "admin_graphql_api_id": f"gid://shopify/Order/{5940139000000 + number}",
        "created_at": iso(ordered_ms, NEW_YORK),
        "updated_at": iso(modified_ms, NEW_YORK),
        "closed_at": iso(modified_ms, NEW_YORK) if status == "completed" else None,
        "cancelled_at": iso(modified_ms, NEW_YORK) if status == "cancelled" else None,
        "currency": "USD",
        "financial_status": financial,
        "fulfillment_status": fulfilled,
        "total_line_items_price": "200.00",
        "total_price": "200.00",
        "total_tax": "0.00",
        "customer": {"id": 207119551, "email": "a@example.com"},
        "shipping_address": {"name": "A", "country_code": "US"},
        "note_attributes": [{"name": "engraving", "value": "A"}],
        "line_items": [
            {
                "id": 866550311766000000 + number * 10 + place,
                "sku": f"SKU-{place}",
                "title": "Drill",
                "quantity": 1,
                "price": "100.00",
                "price_set": {"shop_money": money, "presentment_money": money},
                "fulfillment_status": fulfilled,
                "tax_lines": [{"title": "VAT", "rate": 0.0, "price": "0.00"}],
            }
            for place in (1, 2)
        ],
    }


def generic(number: int, status: Status, ordered_ms: int, modified_ms: int) -> Fields:
    """Return an order by our own contract; its times come in all notations, by turns."""
    return {
        "order_no": f"G-{number}",
        "status": status,
        "currency": "CNY",
        "ordered_at": any_notation(ordered_ms, number),
        "modified_at": any_notation(modified_ms, number + 1),
        "payable": "200.00",
        "customer_id": "c-1",
        "receiver": {"name": "王**", "province": "广东省"},
        "attributes": {"source": "counter 3"},
        "lines": [{"id": str(place), "sku": f"SKU-{place}", "quantity": 1, "unit_price": "100.00"} for place in (1, 2)],
    }


SAMPLES: Mapping[str, Sample] = {
    sample.name: sample
    for sample in (
        Sample(
            Taobao(),
            taobao,
            lambda bodies: (
                b'{"trades_sold_increment_get_response":{"trades":{"trade":' + _list(bodies) + b'},"has_next":false}}'
            ),
            _setting("status", to="WAIT_FOR_GODOT"),
            "status",
        ),
        Sample(
            Douyin(),
            douyin,
            lambda bodies: b'{"code":10000,"data":{"shop_order_list":' + _list(bodies) + b"}}",
            _setting("main_status", to=77),
            "main_status",
        ),
        Sample(
            Jd(),
            jd,
            lambda bodies: (
                b'{"jingdong_pop_order_search_responce":{"code":"0","searchorderinfo_result":'
                b'{"apiResult":{"success":true},"orderInfoList":' + _list(bodies) + b"}}}"
            ),
            _setting("orderState", to="WAIT_FOR_GODOT"),
            "orderState",
        ),
        Sample(
            Pinduoduo(),
            pinduoduo,
            lambda bodies: (
                b'{"order_sn_increment_get_response":{"total_count":9,"order_sn_list":' + _list(bodies) + b"}}"
            ),
            _setting("order_status", to=77),
            "order_status",
        ),
        Sample(
            WechatShop(),
            wechat_shop,
            lambda bodies: _list([b'{"errcode":0,"errmsg":"ok","order":' + body + b"}" for body in bodies]),
            _setting("status", to=12),
            "status",
        ),
        Sample(MiniProgram(), miniprogram, _list, _setting("order", "status", to="lost"), "order.status"),
        Sample(
            Shopify(),
            shopify,
            lambda bodies: b'{"orders": ' + _list(bodies) + b"}",
            _setting("financial_status", to="bartered"),
            "financial_status",
        ),
        Sample(
            Generic(),
            generic,
            lambda bodies: b'{"orders": ' + _list(bodies) + b"}",
            _setting("status", to="lost"),
            "status",
            free=("attributes",),
        ),
    )
}
"""By channel: all that speak JSON."""
