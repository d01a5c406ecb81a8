"""WeChat shop: each payload of the platform becomes the order it is, or says why it is none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.channels.wechat_shop import WechatShop
from domain.canonical import Amounts, Line, Parcel, SourceTime, Translated, TranslationError
from domain.mapping_table import Times
from domain.ports import Aside, Sliced

SAMPLES = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples/wechat_miniprogram"
SHOP = WechatShop()


def line(**fields: Any) -> dict[str, Any]:
    return {
        "product_id": "1001",
        "sku_id": "2001",
        "sku_code": "DRL-01",
        "title": "电钻",
        "sku_cnt": 1,
        "sale_price": 32900,
        "real_price": 32900,
        "sku_attrs": [{"attr_key": "规格", "attr_value": "标准"}],
        **fields,
    }


def order(*lines: dict[str, Any], detail: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    found = list(lines) or [line()]
    total = sum(one["real_price"] for one in found)
    goods = sum(one["sale_price"] * one["sku_cnt"] for one in found)
    return {
        "order_id": "3737550999277696002",
        "status": 20,
        "openid": "open-1",
        "create_time": 1794326700,
        "update_time": 1794326725,
        "order_detail": {
            "product_infos": found,
            "pay_info": {"payment_method": 1, "pay_time": 1794326720},
            "price_info": {
                "product_price": goods,
                "order_price": total,
                "freight": 0,
                "discounted_price": goods - total,
            },
            **(detail or {}),
        },
        **fields,
    }


def parcel(*goods: tuple[str, int], **fields: Any) -> dict[str, Any]:
    return {
        "waybill_id": "SF1",
        "delivery_id": "SF",
        "delivery_name": "顺丰速运",
        "delivery_time": 1794366700,
        "product_infos": [
            {"product_id": item.split("/")[0], "sku_id": item.split("/")[1], "product_cnt": units}
            for item, units in goods
        ],
        **fields,
    }


def delivered(*parcels: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"delivery_info": {"delivery_product_info": list(parcels), **fields}}


def translated(fields: dict[str, Any], shop: str = "wx") -> Translated:
    return SHOP.translate(json.dumps(fields, ensure_ascii=False).encode(), shop)


def sample(name: str) -> bytes:
    path = SAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip("the reference samples are not here")
    return path.read_bytes()


def from_sample(name: str) -> Translated:
    (found,) = SHOP.identify(sample(name), "wx")
    assert isinstance(found, Sliced)
    return SHOP.translate(found.raw, found.shop)


def at(seconds: int, local: str) -> SourceTime:
    return SourceTime(str(seconds), seconds * 1000, 0, f"2026-11-{local}.000+08:00")


# ---- The reference samples, expected by hand -------------------------------------------------------------------------


def test_golden_paid_with_a_gift_and_a_sharer() -> None:
    order, personal = (found := from_sample("shop_order_paid_multi_with_gift_and_sharer")).snapshot, found.personal
    assert (order.order_no, order.status, order.native_status, order.kind) == (
        "3737550999277696002",
        "paid",
        "20",
        "normal",
    )
    # 2 x 329.00 + 3 x 59.00 + 9.90 = 844.90 of goods, 39.90 off, 6.00 freight
    assert order.amounts == Amounts("CNY", 84490, 3990, 600, 0, 81100, 81100)
    assert (order.ordered_at, order.paid_at) == (at(1794326700, "11T00:05:00"), at(1794326720, "11T00:05:20"))
    assert [(one.id, one.sku, one.quantity, one.discount, one.amount, one.gift) for one in order.lines] == [
        ("1001/2001", "DRL-18V-01", 2, 3000, 62800, False),
        ("1002/2002", "BIT-HSS-13", 3, 0, 17700, False),
        ("1099/2099", "GFT-TAPE-5", 1, 990, 0, True),
    ]
    assert order.attributes["referrer_id"] == "oUpF8uSHARER"
    assert (order.attributes["finder_id"], order.attributes["live_id"]) == ("sph0001", "2100000001")
    assert "amount_mismatch" not in order.attributes
    assert order.region == "广东省 广州市"
    assert personal.messages == {"customer_notes": "发票抬头见备注"}
    assert personal.customer_id == "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
    assert personal.receiver["detail"] == "新港中路***号"
    assert personal.attributes["order_detail.pay_info.transaction_id"] == "4200000000202611110000000002"


def test_golden_presale_names_the_day_it_will_be_sent() -> None:
    order = from_sample("shop_order_presale").snapshot
    assert (order.status, order.kind) == ("paid", "presale")
    assert order.lines[0].attributes["predict_delivery_time"] == "1795190400"


def test_golden_after_sale_is_a_matter_of_the_line() -> None:
    order = from_sample("shop_order_aftersale").snapshot
    assert order.status == "shipped"
    (one,) = order.lines
    assert (one.state, one.after_sale, one.after_sale_id) == ("shipped", "open", "2000000000000000001")


@pytest.mark.parametrize(
    ("name", "status", "paid"),
    [("shop_order_unpaid", "awaiting_payment", 0), ("shop_order_cancelled_unpaid", "cancelled", 0)],
)
def test_golden_nothing_is_paid(name: str, status: str, paid: int) -> None:
    order = from_sample(name).snapshot
    assert (order.status, order.amounts.paid, order.paid_at) == (status, paid, None)


@pytest.mark.parametrize(
    ("name", "kind", "says", "order_no"),
    [
        ("push_order_pay_plain", "hint", "paid", "3737550999277696002"),
        ("push_aftersale_update_plain", "hint", "after-sale", "3737550999277696005"),
        ("shop_aftersale_order", "hint", "MERCHANT_PROCESSING", "3737550999277696005"),
        ("shop_delivery_send_request", "refused", "a request to WeChat", ""),
        ("own_backend_order_push", "refused", "not an answer of a WeChat shop", ""),
    ],
)
def test_what_is_no_order_ends_as_the_page_says(name: str, kind: str, says: str, order_no: str) -> None:
    (found,) = SHOP.identify(sample(name), "wx")
    assert isinstance(found, Aside)
    assert (found.kind, found.order_no) == (kind, order_no)
    assert says in found.reason


# ---- Cutting ---------------------------------------------------------------------------------------------------------


def test_a_slice_is_the_exact_bytes_of_its_order() -> None:
    body = b'{ "order_id" : "12","order_detail":{"product_infos":[{"sku_cnt":1, "x": 1.50}]}}'
    for raw in (body, b"[" + body + b"]", b'{"errcode":0,"errmsg":"ok","order": ' + body + b"}"):
        assert SHOP.identify(raw, "wx") == [Sliced("wx", "12", body)]


def test_a_pushed_id_stays_exact_although_it_is_a_number() -> None:
    push = b'{"MsgType":"event","Event":"channels_ec_order_pay","order_info":{"order_id":3737550999277696003}}'
    (found,) = SHOP.identify(push, "wx")
    assert found.order_no == "3737550999277696003"


def test_the_change_feed_names_orders_only() -> None:
    found = SHOP.identify(b'{"errcode":0,"order_id_list":["1",2],"has_more":false}', "wx")
    assert [(one.kind, one.order_no) for one in found if isinstance(one, Aside)] == [("hint", "1"), ("hint", "2")]


@pytest.mark.parametrize(
    ("raw", "kind", "says"),
    [
        (b"", "refused", "JSON"),
        (b"\xff", "refused", "JSON"),
        (b"[]", "ignored", "empty"),
        (b"<xml><Encrypt>x</Encrypt></xml>", "refused", "JSON as the format"),
        (b'{"ToUserName":"gh","Encrypt":"x"}', "refused", "still encrypted"),
        (b'{"errcode":40001,"errmsg":"invalid credential"}', "refused", "errcode 40001, invalid credential"),
        (b'{"errcode":0,"order_id_list":[]}', "ignored", "empty page"),
        (b'{"errcode":0,"order_id_list":5}', "refused", "no list"),
        (b'{"errcode":0,"order_id_list":[1.5]}', "refused", "fraction"),
        (b'{"errcode":0,"after_sale_order_id_list":["1"]}', "refused", "fetch each"),
        (b'{"order_id":"1","status":20}', "hint", "fetch it whole"),
        (b'{"order_id":1.5,"order_detail":{"product_infos":[{}]}}', "refused", "fraction"),
        (b'{"order_id":"","order_detail":{"product_infos":[{}]}}', "refused", "empty"),
        (b'{"order_id":"1","order_id":"2","order_detail":{"product_infos":[{}]}}', "refused", "twice"),
        (b'{"MsgType":"event","Event":"channels_ec_order_gift","order_info":{"order_id":7}}', "hint", "order 7"),
        (b'{"MsgType":"event","Event":"channels_ec_order_pay","order_info":{}}', "refused", "empty"),
        (b'{"MsgType":"event","Event":"product_spu_audit"}', "ignored", "not about an order"),
        (b'{"MsgType":"text","Content":"hi"}', "ignored", "without an event"),
        (b"[" * 100_000, "refused", "JSON"),
    ],
)
def test_what_cannot_be_told_to_be_an_order_is_set_aside_with_its_reason(raw: bytes, kind: str, says: str) -> None:
    (found,) = SHOP.identify(raw, "wx")
    assert isinstance(found, Aside)
    assert found.kind == kind
    assert says in found.reason


# ---- Statuses, lines, amounts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status", "state"),
    [
        (10, "awaiting_payment", "open"),
        (20, "paid", "open"),
        (21, "allocating", "open"),
        (30, "shipped", "shipped"),
        (100, "completed", "shipped"),
        (190, "cancelled", "cancelled"),
        (200, "cancelled", "cancelled"),
        (250, "cancelled", "cancelled"),
        ("20", "paid", "open"),
    ],
)
def test_each_native_status_has_its_meaning(code: int, status: str, state: str) -> None:
    found = translated(order(status=code)).snapshot
    assert (found.status, found.lines[0].state) == (status, state)


def test_a_refund_of_everything_after_shipping_leaves_the_order_shipped() -> None:
    before = translated(order(status=200)).snapshot
    after = translated(
        order(status=200, detail=delivered(parcel(("1001/2001", 1)), ship_done_time=1794366700))
    ).snapshot
    assert (before.status, before.cancel_reason, before.lines[0].after_sale) == ("cancelled", "refunded", "refunded")
    assert (after.status, after.lines[0].state, after.lines[0].after_sale) == ("shipped", "shipped", "refunded")
    assert after.attributes["closed_after_shipping"] is True


def test_a_part_shipped_order_knows_its_lines_and_parcels() -> None:
    found = translated(
        order(
            line(),
            line(product_id="1002", sku_id="2002"),
            status=21,
            detail=delivered(parcel(("1001/2001", 1))),
        )
    ).snapshot
    assert [one.state for one in found.lines] == ["shipped", "open"]
    assert found.parcels == (Parcel("顺丰速运", "SF1", ("1001/2001",), at(1794366700, "11T11:11:40")),)
    assert (found.shipped_at, found.holds) == (None, ())


def test_a_line_that_left_in_part_holds_the_order() -> None:
    found = translated(order(line(sku_cnt=3, real_price=98700), status=21, detail=delivered(parcel(("1001/2001", 2)))))
    assert found.snapshot.holds == ("line_partly_shipped",)
    assert found.snapshot.lines[0].state == "open"
    assert found.snapshot.attributes["partly_shipped"] == ["1001/2001"]


def test_units_refunded_before_shipping_are_not_wanted_any_more() -> None:
    found = translated(order(line(sku_cnt=3, real_price=98700, finish_aftersale_sku_cnt=1))).snapshot
    (one,) = found.lines
    assert (one.quantity, one.amount, one.state, one.after_sale) == (2, 65800, "open", "")
    assert "amount_mismatch" not in found.attributes


def test_a_line_refunded_whole_before_shipping_is_cancelled() -> None:
    (one,) = translated(order(line(finish_aftersale_sku_cnt=1))).snapshot.lines
    assert (one.state, one.after_sale, one.quantity) == ("cancelled", "refunded", 1)


def test_two_lines_of_the_same_goods_keep_their_ids_in_any_order() -> None:
    paid, gift = line(), line(real_price=0, title="【赠品】电钻")
    first = translated(order(paid, gift)).snapshot.lines
    second = translated(order(gift, paid)).snapshot.lines
    assert {one.id: one.gift for one in first} == {"1001/2001": False, "1001/2001#2": True}
    assert {one.id: one.gift for one in second} == {one.id: one.gift for one in first}


@pytest.mark.parametrize("method", [2, 4])
def test_no_cash_comes_in_when_it_is_paid_later_or_with_points(method: int) -> None:
    pay = {"pay_info": {"payment_method": method, "pay_time": 1794326720}}
    found = translated(order(detail=pay)).snapshot
    assert (found.status, found.amounts.paid, found.paid_at) == ("paid", 0, None)
    assert (found.attributes["payment_method"], found.attributes["pay_time"]) == (method, "1794326720")


def test_the_sharer_of_one_sku_is_the_referrer_of_its_line() -> None:
    detail = {
        "sku_sharer_infos": [
            {"sku_id": "2001", "sharer_openid": "sharer-1", "sharer_unionid": "union-1"},
            {"sku_id": "9", "sharer_openid": "sharer-2"},
        ]
    }
    found = translated(order(detail=detail))
    assert found.snapshot.lines[0].attributes["referrer_id"] == "sharer-1"
    assert found.snapshot.attributes["sku_sharer_infos"] == [{"sku_id": "9", "referrer_id": "sharer-2"}]
    assert "union-1" not in repr(found.snapshot)
    assert "union-1" in repr(found.personal)


def test_names_of_who_earns_a_commission_are_sealed() -> None:
    found = translated(order(detail={"commission_infos": [{"nickname": "小李", "amount": 5}]}))
    assert "小李" not in repr(found.snapshot)
    assert found.personal.attributes["order_detail.commission_infos"] == [{"nickname": "小李", "amount": 5}]


def test_sums_that_do_not_agree_are_noted_with_their_figures() -> None:
    price = {"price_info": {"product_price": 33000, "order_price": 30000, "freight": 0}}
    found = translated(order(detail=price)).snapshot
    assert [(one["stated"], one["computed"]) for one in found.attributes["amount_mismatch"]] == [
        (33000, 32900),
        (30000, 33000),
        (30000, 32900),
    ]


def test_a_line_reads_as_the_canonical_line() -> None:
    assert translated(order()).snapshot.lines == (
        Line("1001/2001", "DRL-01", 1, "电钻", "1001/2001", "规格:标准", 32900, 0, 32900),
    )


def test_a_mapping_may_say_in_which_zone_a_shop_writes() -> None:
    fields = json.dumps(order(create_time="2026-11-11 00:05:00")).encode()
    found = SHOP.with_times(Times(zone="+09:00")).translate(fields, "wx")
    assert found.snapshot.ordered_at.utc_ms == 1794326700000 - 3_600_000


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        (order(status=12), "status"),
        (order(status=None), "status"),
        (order(status="paid"), "status"),
        (order(create_time=0), "create_time"),
        (order(create_time=17943267), "create_time"),
        (order(update_time=1234567890), "update_time"),
        (order(order_id=None), "order_id"),
        (order(order_detail={}), "order_detail.product_infos"),
        (order(detail={"price_info": {}}), "order_detail.price_info.order_price"),
        (order(detail={"price_info": {"order_price": -1}}), "order_detail.price_info.order_price"),
        (order(detail={"pay_info": {"pay_time": 1}}), "order_detail.pay_info.pay_time"),
        (order(line(sku_cnt=1) | {"sku_cnt": 0}), "order_detail.product_infos[0].sku_cnt"),
        (order(line(product_id="")), "order_detail.product_infos[0].product_id"),
        (order(line(on_aftersale_sku_cnt=-1)), "order_detail.product_infos[0].on_aftersale_sku_cnt"),
        (order(line(title={"a": 1})), "order_detail.product_infos[0].title"),
        (
            order(detail=delivered(parcel(("1/2", 1), waybill_id=1.5))),
            "order_detail.delivery_info.delivery_product_info[0].waybill_id",
        ),
    ],
)
def test_what_cannot_be_translated_names_its_place(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(TranslationError) as refused:
        translated(fields)
    assert refused.value.where == where


def test_an_order_without_a_shop_asks_for_one() -> None:
    with pytest.raises(TranslationError, match="name the shop"):
        translated(order(), shop="")
