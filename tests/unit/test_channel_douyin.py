"""Douyin: each payload of the platform becomes the order it is, or says why it is none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.channels.douyin import Douyin
from domain.canonical import Amounts, Line, Parcel, SourceTime, Translated, TranslationError
from domain.ports import Aside, Sliced

SAMPLES = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples/douyin"
DOUYIN = Douyin()


def line(**fields: Any) -> dict[str, Any]:
    return {
        "order_id": "6900000000000000002",
        "parent_order_id": "6900000000000000001",
        "order_status": 2,
        "main_status": 2,
        "product_id": 3660207428038974464,
        "product_id_str": "3660207428038974464",
        "sku_id": 3410716076201730,
        "out_sku_id": "DRL-01",
        "product_name": "电钻",
        "spec": [{"name": "规格", "value": "标准"}],
        "item_num": 1,
        "origin_amount": 32900,
        "pay_amount": 32900,
        "after_sale_info": {"after_sale_status": 0, "after_sale_type": 0, "refund_status": 0},
        **fields,
    }


def shop_order(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "shop_id": 7784061,
        "order_id": "6900000000000000001",
        "order_status": 2,
        "main_status": 2,
        "create_time": 1794326700,
        "update_time": 1794326725,
        "pay_time": 1794326720,
        "order_amount": 32900,
        "pay_amount": 32900,
        "sku_order_list": list(lines) or [line()],
        **fields,
    }


def translated(fields: dict[str, Any], shop: str = "") -> Translated:
    return DOUYIN.translate(json.dumps(fields, ensure_ascii=False).encode(), shop)


def sample(name: str) -> bytes:
    path = SAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip("the reference samples are not here")
    return path.read_bytes()


def from_sample(name: str) -> Translated:
    (found,) = DOUYIN.identify(sample(name), "")
    assert isinstance(found, Sliced)
    assert found.shop == "7784061"
    return DOUYIN.translate(found.raw, found.shop)


def at(seconds: int, local: str) -> SourceTime:
    return SourceTime(str(seconds), seconds * 1000, 0, f"2026-11-{local}.000+08:00")


ORDERED = at(1794326700, "11T00:05:00")
PAID = at(1794326720, "11T00:05:20")


# ---- The reference samples, expected by hand -------------------------------------------------------------------------


def test_golden_paid_in_a_live_room_with_a_gift() -> None:
    order, personal = (found := from_sample("paid_multi_item_with_gift_live")).snapshot, found.personal
    assert (order.order_no, order.shop, order.status, order.kind) == (
        "6937476692437472002",
        "7784061",
        "paid",
        "normal",
    )
    # 2 x 329.00 + 3 x 59.00 = 835.00 of goods, 30.00 off, 6.00 post
    assert order.amounts == Amounts("CNY", 83500, 3000, 600, 0, 81100, 81100)
    assert (order.ordered_at, order.paid_at) == (ORDERED, PAID)
    assert order.modified_at == at(1794326725, "11T00:05:25")
    assert [(one.id, one.sku, one.quantity, one.unit_price, one.amount, one.gift) for one in order.lines] == [
        ("6937476692437472003", "DRL-18V-01", 2, 32900, 62800, False),
        ("6937476692437472004", "BIT-HSS-13", 3, 5900, 17700, False),
        ("6937476692437472005", "GFT-TAPE-5", 1, 0, 0, True),
    ]
    live = order.lines[0].attributes
    assert (live["room_id"], live["author_id"], live["author_name"]) == (
        "7437000000000000001",
        "98765432101",
        "老李工具",
    )
    assert order.lines[2].attributes["master_sku_order_id_list"] == ["6937476692437472003"]
    assert "amount_mismatch" not in order.attributes
    assert order.region == "福建省 厦门市"
    assert personal.messages == {"buyer_words": "尽快发货"}
    assert personal.customer_id == "1@#VrtJKX59ewuPyvUhIKiAtxNZ0wt2BBDARCd6"
    assert (personal.receiver["name_masked"], personal.receiver["district"]) == ("王*", "思明区")
    assert personal.attributes == {"channel_payment_no": "2026111122001496910000000001"}


def test_golden_unpaid_is_closed_after_half_an_hour() -> None:
    order = from_sample("unpaid").snapshot
    assert (order.status, order.paid_at) == ("awaiting_payment", None)
    assert order.amounts == Amounts("CNY", 32900, 3000, 0, 0, 29900, 0)
    assert order.pay_by == SourceTime("1800", 1794328500000, 0, "2026-11-11T00:35:00.000+08:00")


def test_golden_a_risk_review_is_a_hold_on_a_paid_order() -> None:
    order = from_sample("paid_risk_review").snapshot
    assert (order.status, order.holds) == ("paid", ("risk_review",))
    assert order.amounts == Amounts("CNY", 32900, 0, 0, 0, 32900, 32900)
    assert order.paid_at == PAID


def test_golden_a_deposit_does_not_make_a_presale_paid() -> None:
    order = from_sample("presale_deposit_paid").snapshot
    assert (order.status, order.kind) == ("awaiting_payment", "presale")
    assert order.amounts == Amounts("CNY", 189900, 20000, 0, 0, 169900, 10000)
    assert order.pay_by == at(1795449900, "24T00:05:00")
    assert [one["pay_success"] for one in order.attributes["order_phase_list"]] == [True, False]
    assert order.paid_at is None


def test_a_time_of_payment_before_the_balance_is_that_of_the_deposit() -> None:
    phases = [{"pay_success": True, "phase_pay_amount": 1000}, {"pay_success": False, "phase_payable_price": 31900}]
    found = translated(shop_order(order_status=1, main_status=103, pay_time=1794326725, order_phase_list=phases))
    order = found.snapshot
    assert (order.status, order.amounts.paid, order.paid_at) == ("awaiting_payment", 1000, None)
    assert order.attributes["pay_time"] == "1794326725"
    whole = translated(shop_order(order_status=1, main_status=1, pay_time=1794326725))
    assert whole.snapshot.amounts.paid == 0


def test_golden_cancelled_when_nobody_paid() -> None:
    order = from_sample("cancelled_timeout").snapshot
    assert (order.status, order.cancel_reason) == ("cancelled", "支付超时")
    assert order.amounts == Amounts("CNY", 32900, 0, 0, 0, 32900, 0)
    assert order.modified_at == at(1794328501, "11T00:35:01")
    assert [one.state for one in order.lines] == ["cancelled"]


def test_golden_after_sale_is_a_matter_of_the_line() -> None:
    order = from_sample("shipped_then_aftersale").snapshot
    assert order.status == "shipped"
    assert [(one.state, one.after_sale) for one in order.lines] == [("shipped", "open")]
    left = at(1794366700, "11T11:11:40")
    assert order.shipped_at == left
    assert order.parcels == (Parcel("顺丰速运", "SF1400000000005", ("6937476692437472040",), left),)
    assert order.attributes["logistics_info"][0]["delivery_id"] == "7438525010135810342"


@pytest.mark.parametrize(
    ("name", "kinds", "says"),
    [
        ("push_100_created", ["hint"], ["order created"]),
        ("push_101_paid", ["hint"], ["paid"]),
        ("push_106_cancelled", ["hint"], ["cancelled"]),
        ("push_200_aftersale_created", ["hint"], ["after-sale requested"]),
        ("push_batch_mixed_unknown_tag", ["hint", "ignored"], ["paid", "tag 999"]),
        ("logistics_add_single_pack_request", ["refused"], ["a request to Douyin"]),
        ("signature_vectors", ["refused"], ["not an answer of Douyin"]),
    ],
)
def test_what_is_no_order_ends_as_the_page_says(name: str, kinds: list[str], says: list[str]) -> None:
    found = [one for one in DOUYIN.identify(sample(name), "shop") if isinstance(one, Aside)]
    assert [one.kind for one in found] == kinds
    assert all(word in one.reason for word, one in zip(says, found, strict=True))


def test_a_push_names_the_order_to_fetch_exactly() -> None:
    (pushed,) = DOUYIN.identify(sample("push_101_paid"), "")
    assert (pushed.shop, pushed.order_no) == ("7784061", "6937476692437472002")


# ---- Cutting ---------------------------------------------------------------------------------------------------------


def test_a_slice_is_the_exact_bytes_of_its_order() -> None:
    body = b'{ "order_id" : "12","shop_id":7 , "sku_order_list":[{"item_num":1, "x": 1.50}]}'
    for raw in (
        body,
        b"[" + body + b"]",
        b'{"code":10000,"data":{"shop_order_detail": ' + body + b"}}",
        b'{"code":10000,"data":{"page":0,"size":1,"total":1,"shop_order_list":[' + body + b"]}}",
    ):
        assert DOUYIN.identify(raw, "") == [Sliced("7", "12", body)]
        assert DOUYIN.identify(raw, "given") == [Sliced("given", "12", body)]


@pytest.mark.parametrize(
    ("raw", "kind", "says"),
    [
        (b"", "refused", "JSON"),
        (b"{", "refused", "JSON"),
        (b"\xff", "refused", "JSON"),
        (b'"x"', "refused", "a text"),
        (b"[]", "ignored", "empty"),
        (b'{"code":40003,"msg":"token expired","data":{}}', "refused", "token expired"),
        (b'{"code":10000,"data":{"page":0,"total":0,"shop_order_list":[]}}', "ignored", "empty page"),
        (b'{"code":10000,"data":{"items":[]}}', "refused", "without orders"),
        (b'{"code":10000,"data":5}', "refused", "no object"),
        (b'{"order_id":"1","shop_id":7}', "hint", "fetch it whole"),
        (b'{"order_id":1.5,"sku_order_list":[{}]}', "refused", "fraction"),
        (b'{"order_id":"","sku_order_list":[{}]}', "refused", "empty"),
        (b'{"order_id":"1","order_id":"2","sku_order_list":[{}]}', "refused", "twice"),
        (b'[{"tag":"0","msg_id":"x","data":"test"}]', "ignored", "probe"),
        (b'[{"tag":0,"msg_id":"x","data":"test"}]', "ignored", "probe"),
        (b'[{"tag":"101","msg_id":"x","data":"{"}]', "refused", "JSON"),
        (b'[{"tag":"101","msg_id":"x","data":"{}"}]', "refused", "empty"),
        (b'[{"tag":"101","msg_id":"x","data":"{\\"p_id\\":6.9e18}"}]', "refused", "fraction"),
        (b"[" * 100_000, "refused", "JSON"),
    ],
)
def test_what_cannot_be_told_to_be_an_order_is_set_aside_with_its_reason(raw: bytes, kind: str, says: str) -> None:
    (found,) = DOUYIN.identify(raw, "shop")
    assert isinstance(found, Aside)
    assert found.kind == kind
    assert found.raw in raw
    assert says in found.reason


# ---- Statuses, lines, amounts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order_status", "main_status", "status", "state"),
    [
        (1, 1, "awaiting_payment", "open"),
        (1, 103, "awaiting_payment", "open"),
        (105, 105, "paid", "open"),
        (2, 2, "paid", "open"),
        (101, 101, "allocating", "open"),
        (3, 3, "shipped", "shipped"),
        (5, 5, "completed", "shipped"),
        (5, 39, "completed", "shipped"),
        (4, 4, "cancelled", "cancelled"),
        (4, 21, "cancelled", "cancelled"),
        (4, 22, "shipped", "shipped"),
        (4, None, "cancelled", "cancelled"),
    ],
)
def test_each_native_status_has_its_meaning(order_status: int, main_status: int, status: str, state: str) -> None:
    codes = {"order_status": order_status, "main_status": main_status}
    order = translated(shop_order(line(**codes), **codes)).snapshot
    assert (order.status, order.lines[0].state) == (status, state)


def test_a_refund_in_full_is_a_refund_of_the_lines() -> None:
    before = translated(shop_order(line(order_status=4, main_status=21), order_status=4, main_status=21)).snapshot
    after = translated(shop_order(line(order_status=4, main_status=22), order_status=4, main_status=22)).snapshot
    assert (before.cancel_reason, before.lines[0].after_sale) == ("refunded_before_shipping", "refunded")
    assert (after.lines[0].after_sale, after.attributes["closed_after_shipping"]) == ("refunded", True)


@pytest.mark.parametrize(
    ("after_sale_status", "refund_status", "axis"),
    [
        (0, 0, ""),
        *((code, 1, "open") for code in (6, 7, 8, 11, 27, 29)),
        (12, 3, "refunded"),
        (12, 0, "closed"),
        (13, 0, "closed"),
        (28, 4, "closed"),
        (51, 0, "closed"),
        (53, 3, "refunded"),
    ],
)
def test_each_after_sale_code_has_its_place_on_the_axis(after_sale_status: int, refund_status: int, axis: str) -> None:
    info = {"after_sale_status": after_sale_status, "refund_status": refund_status}
    assert translated(shop_order(line(after_sale_info=info))).snapshot.lines[0].after_sale == axis


def test_a_part_shipped_order_knows_its_lines_and_parcels() -> None:
    sent, waiting = line(order_id="1", main_status=3, order_status=3), line(order_id="2")
    parcel = {
        "tracking_no": "SF1",
        "company": "shunfeng",
        "ship_time": 1794366700,
        "product_info": [{"sku_order_id": "1"}],
    }
    order = translated(
        shop_order(
            sent,
            waiting,
            order_status=101,
            main_status=101,
            order_amount=65800,
            pay_amount=65800,
            logistics_info=[parcel],
        )
    ).snapshot
    assert (order.status, order.shipped_at) == ("allocating", None)
    assert [one.state for one in order.lines] == ["shipped", "open"]
    assert [(one.carrier, one.lines) for one in order.parcels] == [("shunfeng", ("1",))]


def test_a_term_may_be_a_duration_or_a_time() -> None:
    unpaid = {"order_status": 1, "main_status": 1, "pay_time": 0}
    duration = translated(shop_order(**unpaid, order_expire_time=600)).snapshot.pay_by
    moment = translated(shop_order(**unpaid, order_expire_time=1794327300)).snapshot.pay_by
    assert duration is not None
    assert moment is not None
    assert (duration.utc_ms, moment.utc_ms) == (1794327300000, 1794327300000)
    assert translated(shop_order(**unpaid, order_expire_time=0)).snapshot.pay_by is None


def test_cash_on_delivery_is_not_paid_yet() -> None:
    order = translated(shop_order(pay_time=0, pay_type=0)).snapshot
    assert (order.status, order.amounts.paid) == ("paid", 0)


def test_sums_that_do_not_agree_are_noted_with_their_figures() -> None:
    order = translated(shop_order(order_amount=33000, pay_amount=30000)).snapshot
    assert [(one["stated"], one["computed"]) for one in order.attributes["amount_mismatch"]] == [
        (33000, 32900),
        (30000, 33000),
        (30000, 32900),
    ]


def test_engraving_is_flagged_and_its_text_sealed() -> None:
    found = translated(shop_order(line(sku_customization_info=[{"detail": {"text": "赠李明"}}])))
    assert found.snapshot.lines[0].attributes["customized"] is True
    assert "李明" not in repr(found.snapshot)
    assert "李明" in repr(found.personal.line_attributes["6900000000000000002"])


def test_a_kit_keeps_its_components_in_the_open_and_the_rest_sealed() -> None:
    kit = [{"out_sku_id": "BIT-1", "item_num": 2, "picture_url": "x"}]
    found = translated(shop_order(line(bundle_sku_info=kit)))
    assert found.snapshot.lines[0].attributes["bundle_sku_info"] == [{"item_num": 2, "out_sku_id": "BIT-1"}]
    assert found.personal.line_attributes["6900000000000000002"]["bundle_sku_info"] == kit


@pytest.mark.parametrize(
    ("text", "kept"), [("1.5", 1.5), ("[1e300]", [1e300]), ("0.12345678901234567890123", "0.12345678901234567890123")]
)
def test_a_sealed_number_says_exactly_what_the_source_said(text: str, kept: object) -> None:
    raw = json.dumps(shop_order()).replace("{", f'{{"promotion_detail": {text}, ', 1).encode()
    assert DOUYIN.translate(raw, "").personal.attributes == {"promotion_detail": kept}


def test_the_shop_given_wins_over_the_platforms_id() -> None:
    order = translated(shop_order(), shop="main").snapshot
    assert (order.shop, order.attributes["shop_id"]) == ("main", "7784061")


def test_a_line_reads_as_the_canonical_line() -> None:
    assert translated(shop_order()).snapshot.lines == (
        Line(
            "6900000000000000002",
            "DRL-01",
            1,
            "电钻",
            "3660207428038974464/3410716076201730",
            "规格:标准",
            32900,
            0,
            32900,
        ),
    )


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        (shop_order(order_status=77, main_status=None), "order_status"),
        (shop_order(main_status=77), "main_status"),
        (shop_order(order_status=None, main_status=None), "order_status"),
        (shop_order(order_status="two"), "order_status"),
        (shop_order(create_time=0), "create_time"),
        (shop_order(create_time=17943267), "create_time"),
        (shop_order(create_time={}), "create_time"),
        (shop_order(pay_amount=None), "pay_amount"),
        (shop_order(pay_amount={}), "pay_amount"),
        (shop_order(pay_amount="329.00"), "pay_amount"),
        (shop_order(pay_amount=10**15), "pay_amount"),
        (shop_order(buyer_words={"a": 1}), "buyer_words"),
        (shop_order(sku_order_list=[]), "sku_order_list"),
        (shop_order(sku_order_list="x"), "sku_order_list"),
        (shop_order(line(item_num=0)), "sku_order_list[0].item_num"),
        (shop_order(line(order_id="")), "sku_order_list[0].order_id"),
        (shop_order(line(main_status=77)), "sku_order_list[0].main_status"),
        (shop_order(line(product_id_str="3")), "sku_order_list[0].product_id"),
        (
            shop_order(line(after_sale_info={"after_sale_status": 99})),
            "sku_order_list[0].after_sale_info.after_sale_status",
        ),
        (shop_order(line(), line()), "sku_order_list[1].order_id"),
        (shop_order(order_id=None), "order_id"),
        (shop_order(order_id=1.5), "order_id"),
    ],
)
def test_what_cannot_be_translated_names_its_place(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(TranslationError) as refused:
        translated(fields)
    assert refused.value.where == where


# ---- Amounts and times that no order has -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        (shop_order(pay_amount=-32900), "pay_amount"),
        (shop_order(post_amount=-1), "post_amount"),
        (shop_order(order_amount=10**11 + 1), "order_amount"),
        (shop_order(line(origin_amount=-1)), "sku_order_list[0].origin_amount"),
        (shop_order(line(pay_amount=-1)), "sku_order_list[0].pay_amount"),
        (shop_order(line(origin_amount=10**10, item_num=999_999_999)), "sku_order_list[0].origin_amount"),
        (shop_order(update_time=1234567890), "update_time"),
        (shop_order(update_time=4102444799), "update_time"),
        (shop_order(pay_time=1794240299), "pay_time"),
        (shop_order(create_time=631152000), "create_time"),
        (shop_order(create_time=4260211200), "create_time"),
    ],
)
def test_what_no_order_can_have_is_refused_with_the_field(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(TranslationError) as caught:
        translated(fields)
    assert caught.value.where == where


def test_a_price_changed_by_the_seller_may_take_something_off() -> None:
    fields = shop_order(line(pay_amount=30000), modify_amount=-2900, pay_amount=30000)
    assert translated(fields).snapshot.attributes["modify_amount"] == -2900
