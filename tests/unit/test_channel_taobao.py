"""Taobao: each payload of the platform becomes the order it is, or says why it is none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.channels.taobao import Taobao
from domain.canonical import Amounts, Line, Parcel, SourceTime, Translated, TranslationError
from domain.ports import Aside, Sliced

SAMPLES = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples/taobao"
TAOBAO = Taobao()
SHOP = "五金旗舰店"


def line(**fields: Any) -> dict[str, Any]:
    return {
        "oid": 2960000000000000011,
        "num_iid": 650012345678,
        "sku_id": "4711",
        "outer_sku_id": "DRL-01",
        "title": "电钻",
        "price": "329.00",
        "num": 1,
        "divide_order_fee": "329.00",
        "status": "WAIT_SELLER_SEND_GOODS",
        "refund_status": "NO_REFUND",
        **fields,
    }


def trade(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "tid": 2960000000000000001,
        "tid_str": "2960000000000000001",
        "status": "WAIT_SELLER_SEND_GOODS",
        "created": "2026-11-11 00:05:41",
        "modified": "2026-11-11 00:06:03",
        "pay_time": "2026-11-11 00:06:03",
        "seller_nick": SHOP,
        "total_fee": "329.00",
        "payment": "329.00",
        "orders": {"order": list(lines) or [line()]},
        **fields,
    }


def translated(fields: dict[str, Any], shop: str = SHOP) -> Translated:
    return TAOBAO.translate(json.dumps(fields, ensure_ascii=False).encode(), shop)


def sample(name: str) -> bytes:
    path = SAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip("the reference samples are not here")
    return path.read_bytes()


def from_sample(name: str) -> Translated:
    (found,) = TAOBAO.identify(sample(name), "")
    assert isinstance(found, Sliced)
    assert found.shop == SHOP
    return TAOBAO.translate(found.raw, found.shop)


def at(text: str, utc_ms: int) -> SourceTime:
    return SourceTime(text, utc_ms, 480, f"{text.replace(' ', 'T')}.000+08:00")


# ---- The reference samples, expected by hand -------------------------------------------------------------------------


def test_golden_paid_with_several_lines() -> None:
    order, personal = (found := from_sample("paid_multi_item")).snapshot, found.personal
    assert (order.order_no, order.status, order.native_status) == (
        "2960318827740212345",
        "paid",
        "WAIT_SELLER_SEND_GOODS",
    )
    # 658.00 + 177.00 + 19.90 = 854.90 of goods; 60.00 off a line and 40.00 off the order; 12.00 post
    assert order.amounts == Amounts("CNY", 85490, 10000, 1200, 0, 76690, 76690)
    assert order.ordered_at == at("2026-11-11 00:05:41", 1794326741000)
    assert order.modified_at == order.paid_at == at("2026-11-11 00:06:03", 1794326763000)
    assert [(one.id, one.sku, one.quantity, one.unit_price, one.discount, one.amount) for one in order.lines] == [
        ("2960318827741212345", "DRL-18V-01", 2, 32900, 8990, 56810),
        ("2960318827742212345", "BIT-HSS-13", 3, 5900, 885, 16815),
        ("2960318827743212345", "GLV-L-02", 1, 1990, 125, 1865),
    ]
    assert {one.state for one in order.lines} == {"open"}
    assert order.lines[2].spec == "尺码:L;颜色:灰"
    assert order.lines[2].item == "650012345701/4711002233472"
    assert order.attributes["service_package"][0]["title"] == "上门安装服务包"
    assert order.attributes["service_package"][0]["item_oid"] == order.lines[0].id
    assert [one["discount_fee"] for one in order.attributes["promotion_details"]] == ["40.00", "60.00"]
    assert "amount_mismatch" not in order.attributes
    assert order.region == "浙江省 杭州市"
    assert personal.customer_id == "AAHd5f0xAAHk2bQpV9sWm1Zc"
    assert personal.messages == {"buyer_message": "周末送货，谢谢", "seller_memo": "老客，发顺丰"}
    assert personal.receiver["address_id"] == "1k5Xw2Lr9bQy7Zt0"
    assert personal.attributes == {"buyer_nick": "t**1", "alipay_no": "2026111122001400480000000001"}


def test_golden_unpaid_tells_when_it_must_be_paid() -> None:
    order = from_sample("unpaid").snapshot
    assert (order.order_no, order.status) == ("2960318827740112345", "awaiting_payment")
    assert order.amounts == Amounts("CNY", 32900, 3000, 0, 0, 29900, 0)
    assert order.ordered_at == order.modified_at == at("2026-11-11 00:02:17", 1794326537000)
    assert order.pay_by == at("2026-11-12 00:02:17", 1794412937000)
    assert order.paid_at is None


def test_golden_a_gift_is_a_line_of_its_own() -> None:
    order = from_sample("paid_with_gift").snapshot
    assert order.status == "paid"
    assert order.amounts == Amounts("CNY", 32900, 3000, 0, 0, 29900, 29900)
    assert [(one.sku, one.gift, one.amount) for one in order.lines] == [
        ("DRL-18V-01", False, 29900),
        ("GFT-TAPE-5", True, 0),
    ]
    assert order.paid_at == at("2026-11-11 08:30:20", 1794357020000)


def test_golden_a_deposit_does_not_make_a_presale_paid() -> None:
    order = from_sample("presale_deposit_paid").snapshot
    assert (order.status, order.kind) == ("awaiting_payment", "presale")
    assert order.amounts == Amounts("CNY", 189900, 20000, 0, 0, 169900, 10000)
    assert order.ordered_at == at("2026-10-28 20:00:03", 1793188803000)
    assert order.attributes["step_trade_status"] == "FRONT_PAID_FINAL_NOPAID"
    assert order.attributes["est_con_time"] == "付款后15天内"
    assert order.paid_at is None


def test_golden_closed_before_payment() -> None:
    order = from_sample("closed_before_payment").snapshot
    assert (order.status, order.cancel_reason) == ("cancelled", "closed_before_payment")
    assert order.amounts == Amounts("CNY", 32900, 0, 0, 0, 32900, 0)
    assert order.completed_at is None
    assert order.cancelled_at == at("2026-11-12 00:02:19", 1794412939000)
    assert [one.state for one in order.lines] == ["cancelled"]


def test_golden_after_sale_is_a_matter_of_the_line() -> None:
    order = from_sample("refund_in_progress_after_ship").snapshot
    assert order.status == "shipped"
    assert [(one.state, one.after_sale, one.after_sale_id) for one in order.lines] == [
        ("shipped", "open", "118820033445501"),
        ("shipped", "", ""),
    ]
    left = at("2026-11-06 09:10:00", 1793927400000)
    assert order.shipped_at == left
    ids = ("2960318827741612345", "2960318827742612345")
    assert order.parcels == (Parcel("顺丰速运", "SF1400000000001", ids, left),)
    assert order.amounts == Amounts("CNY", 38800, 0, 0, 0, 38800, 38800)


@pytest.mark.parametrize(
    ("name", "kinds", "says"),
    [
        ("sold_increment_page", ["hint", "hint"], "fetch it whole"),
        ("tmc_trade_buyer_pay", ["hint"], "taobao_trade_TradeBuyerPay"),
        ("logistics_online_send_request", ["refused"], "a request to Taobao"),
        ("signature_vectors", ["refused"], "not an answer of Taobao"),
    ],
)
def test_what_is_no_order_ends_as_the_page_says(name: str, kinds: list[str], says: str) -> None:
    found = TAOBAO.identify(sample(name), SHOP)
    assert [one.kind for one in found if isinstance(one, Aside)] == kinds
    assert all(says in one.reason for one in found if isinstance(one, Aside))


def test_hints_name_the_order_to_fetch() -> None:
    first, second = TAOBAO.identify(sample("sold_increment_page"), SHOP)
    assert [(one.shop, one.order_no) for one in (first, second)] == [
        (SHOP, "2960318827740212345"),
        (SHOP, "2960318827740112345"),
    ]
    (pushed,) = TAOBAO.identify(sample("tmc_trade_buyer_pay"), "")
    assert (pushed.shop, pushed.order_no) == (SHOP, "2960318827740212345")


# ---- Cutting ---------------------------------------------------------------------------------------------------------


def test_a_slice_is_the_exact_bytes_of_its_trade() -> None:
    body = b'{ "tid" : 12,"seller_nick":"s" , "orders":{"order":[{"num":1, "x": 1.50}]}}'
    for raw in (
        body,
        b'{"trade_fullinfo_get_response":{"trade": ' + body + b',"request_id":"1"}}',
        b'{"trades_sold_get_response":{"trades":{"trade":[' + body + b"]}}}",
        b'{"trades_sold_get_response":{"trades":{"trade":' + body + b"}}}",
        b"[" + body + b"]",
        b'{"jdp_response":'
        + json.dumps('{"trade_fullinfo_get_response":{"trade":' + body.decode() + "}}").encode()
        + b"}",
    ):
        assert TAOBAO.identify(raw, "") == [Sliced("s", "12", body)]
        assert TAOBAO.identify(raw, "given") == [Sliced("given", "12", body)]


@pytest.mark.parametrize(
    ("raw", "kind", "says"),
    [
        (b"", "refused", "JSON"),
        (b"not json", "refused", "JSON"),
        (b'{"tid": 1', "refused", "JSON"),
        (b"\xff\xfe{", "refused", "JSON"),
        (b"5", "refused", "a number"),
        (b"[]", "ignored", "empty"),
        (b'{"error_response":{"code":27,"msg":"Invalid session"}}', "refused", "Invalid session"),
        (b'{"trades_sold_increment_get_response":{"total_results":0}}', "ignored", "empty page"),
        (b'{"refund_get_response":{"refund":{}}}', "refused", "no trade"),
        (b'{"tid": 1.5, "orders":{"order":[{"num":1}]}}', "refused", "fraction"),
        (b'{"tid": 2.96e18, "orders":{"order":[{"num":1}]}}', "refused", "fraction"),
        (b'{"tid": {}, "orders":{"order":[{"num":1}]}}', "refused", "no id"),
        (b'{"tid": 0, "orders":{"order":[{"num":1}]}}', "refused", "empty"),
        (b'{"tid": 1, "tid_str": "2", "orders":{"order":[{"num":1}]}}', "refused", "tid_str says 2"),
        (b'{"tid": 1, "tid": 2, "orders":{"order":[{"num":1}]}}', "refused", "twice"),
        (b'{"tid": 1, "x": {"a": 1, "b": {"c": 1, "c": 2}}, "orders":{"order":[{"num":1}]}}', "refused", "twice"),
        (b'{"tid":1,"title":"a","title":"b","payment" \t:"1","orders":{"order":[{"num":1}]}}', "refused", "twice"),
        (b'{"topic":"taobao_item_ItemUpdate","content":"{}"}', "ignored", "not about a trade"),
        (b'{"topic":"taobao_trade_TradeClose","content":"{"}', "refused", "JSON"),
        (b'{"topic":"taobao_trade_TradeClose","content":"{}"}', "refused", "empty"),
        (b"[" * 100_000, "refused", "JSON"),
        (b'{"trade":' * 50 + b"1" + b"}" * 50, "refused", "nested"),
    ],
)
def test_what_cannot_be_told_to_be_an_order_is_set_aside_with_its_reason(raw: bytes, kind: str, says: str) -> None:
    (found,) = TAOBAO.identify(raw, "shop")
    assert isinstance(found, Aside)
    assert found.kind == kind
    assert found.raw in raw
    assert says in found.reason


def test_an_order_without_a_shop_is_refused_and_says_what_to_do() -> None:
    (found,) = TAOBAO.identify(b'{"tid": 1, "orders":{"order":[{"num":1}]}}', "")
    assert isinstance(found, Aside)
    assert "name the shop" in found.reason


def test_ids_above_2_to_the_53_stay_exact() -> None:
    (found,) = TAOBAO.identify(json.dumps(trade(tid=9223372036854775807, tid_str=None)).encode(), "")
    assert found.order_no == "9223372036854775807"


# ---- Statuses, holds, lines ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("native", "status"),
    [
        ("TRADE_NO_CREATE_PAY", "awaiting_payment"),
        ("WAIT_BUYER_PAY", "awaiting_payment"),
        ("PAY_PENDING", "awaiting_payment"),
        ("WAIT_PRE_AUTH_CONFIRM", "awaiting_payment"),
        ("PAID_FORBID_CONSIGN", "paid"),
        ("WAIT_SELLER_SEND_GOODS", "paid"),
        ("SELLER_CONSIGNED_PART", "allocating"),
        ("WAIT_BUYER_CONFIRM_GOODS", "shipped"),
        ("TRADE_BUYER_SIGNED", "shipped"),
        ("TRADE_FINISHED", "completed"),
        ("TRADE_CLOSED", "cancelled"),
        ("TRADE_CLOSED_BY_TAOBAO", "cancelled"),
    ],
)
def test_each_native_status_has_its_meaning(native: str, status: str) -> None:
    order = translated(trade(line(status=native), status=native)).snapshot
    assert (order.status, order.native_status) == (status, native)


def test_holds_of_the_platform_are_kept() -> None:
    assert translated(trade(status="PAID_FORBID_CONSIGN")).snapshot.holds == ("forbid_consign",)
    assert translated(trade(team_buy_hold=1, top_hold=True, ofp_hold="1", forbid_consign=0)).snapshot.holds == (
        "top_hold",
        "group_not_formed",
        "ofp_hold",
    )
    with pytest.raises(TranslationError, match="top_hold"):
        translated(trade(top_hold="maybe"))


def test_a_part_shipped_order_knows_its_lines_and_parcels() -> None:
    sent = line(oid=1, consign_time="2026-11-12 10:00:00", logistics_company="顺丰速运", invoice_no="SF1")
    order = translated(
        trade(sent, line(oid=2), status="SELLER_CONSIGNED_PART", total_fee="658.00", payment="658.00")
    ).snapshot
    assert (order.status, order.shipped_at) == ("allocating", None)
    assert [one.state for one in order.lines] == ["shipped", "open"]
    assert [(parcel.tracking, parcel.lines) for parcel in order.parcels] == [("SF1", ("1",))]


def test_a_refund_in_full_after_shipping_does_not_unship() -> None:
    back = line(status="TRADE_CLOSED", refund_status="SUCCESS", consign_time="2026-11-12 10:00:00")
    order = translated(trade(back, status="TRADE_CLOSED")).snapshot
    assert (order.status, order.lines[0].state, order.lines[0].after_sale) == ("shipped", "shipped", "refunded")
    before = translated(trade(line(status="TRADE_CLOSED", refund_status="SUCCESS"), status="TRADE_CLOSED")).snapshot
    assert (before.status, before.lines[0].state, before.cancel_reason) == ("cancelled", "cancelled", "refunded")


@pytest.mark.parametrize(
    ("refund", "axis"),
    [
        ("NO_REFUND", ""),
        ("WAIT_SELLER_AGREE", "open"),
        ("WAIT_BUYER_RETURN_GOODS", "open"),
        ("WAIT_SELLER_CONFIRM_GOODS", "open"),
        ("SELLER_REFUSE_BUYER", "open"),
        ("SUCCESS", "refunded"),
        ("CLOSED", "closed"),
    ],
)
def test_each_refund_status_has_its_place_on_the_axis(refund: str, axis: str) -> None:
    assert translated(trade(line(refund_status=refund))).snapshot.lines[0].after_sale == axis


def test_presale_stages() -> None:
    unpaid = translated(trade(type="step", status="WAIT_BUYER_PAY", step_trade_status="FRONT_NOPAID_FINAL_NOPAID"))
    final = translated(trade(type="step", step_trade_status="FRONT_PAID_FINAL_PAID", step_paid_fee="100.00"))
    assert (unpaid.snapshot.kind, unpaid.snapshot.amounts.paid) == ("presale", 0)
    assert (final.snapshot.status, final.snapshot.amounts.paid) == ("paid", 32900)


def test_cash_on_delivery_is_not_paid_yet() -> None:
    order = translated(trade(type="cod", pay_time=None)).snapshot
    assert (order.status, order.amounts.paid, order.paid_at) == ("paid", 0, None)


def test_sums_that_do_not_agree_are_noted_with_their_figures() -> None:
    order = translated(trade(total_fee="330.00", payment="300.00")).snapshot
    assert order.amounts.payable == 30000
    assert [(one["stated"], one["computed"]) for one in order.attributes["amount_mismatch"]] == [
        (33000, 32900),
        (30000, 32900),
        (32900, 30000),
    ]


def test_an_item_that_is_not_mapped_has_no_sku() -> None:
    assert translated(trade(line(outer_sku_id="", outer_iid=None))).snapshot.lines[0].sku == ""
    assert translated(trade(line(outer_sku_id="", outer_iid="DRL"))).snapshot.lines[0].sku == "DRL"


def test_a_gift_named_by_a_promotion_needs_no_word_in_its_title() -> None:
    gift = line(oid=2, num_iid=77, title="卷尺", price="0.00", divide_order_fee="0.00")
    promotion = {"promotion_detail": [{"id": 2960000000000000001, "gift_item_id": "77"}]}
    order = translated(trade(line(), gift, promotion_details=promotion)).snapshot
    assert [one.gift for one in order.lines] == [False, True]


def test_engraving_is_flagged_and_its_text_sealed() -> None:
    found = translated(trade(line(customization="赠李明")))
    assert found.snapshot.lines[0].attributes["customized"] is True
    assert "李明" not in repr(found.snapshot)
    assert found.personal.line_attributes == {"2960000000000000011": {"customization": "赠李明"}}


def test_a_single_object_in_place_of_a_list_is_a_list_of_one() -> None:
    assert translated(trade(orders={"order": line()})) == translated(trade(orders={"order": [line()]}))


def test_empty_structures_of_any_spelling_are_absent() -> None:
    assert translated(trade(promotion_details=[], service_orders="", coupon_fee=None)) == translated(trade())


def test_the_shop_given_wins_over_the_sellers_name() -> None:
    order = translated(trade(), shop="main").snapshot
    assert (order.shop, order.attributes["seller_nick"]) == ("main", SHOP)
    assert translated(trade(), shop="").snapshot.shop == SHOP


def test_a_city_directly_under_a_province_is_the_region() -> None:
    order = translated(trade(receiver_state="海南省", receiver_city="", receiver_district="文昌市")).snapshot
    assert order.region == "海南省 文昌市"


def test_nothing_personal_is_in_the_snapshot() -> None:
    secret = {name: f"secret-{name}" for name in ("buyer_nick", "buyer_open_uid", "receiver_name", "receiver_mobile")}
    secret |= {name: f"secret-{name}" for name in ("receiver_address", "oaid", "buyer_message", "alipay_no", "unknown")}
    found = translated(trade(line(unknown_of_line="secret-line"), **secret))
    assert "secret" not in repr(found.snapshot)
    for text in (*secret.values(), "secret-line"):
        assert text in repr(found.personal)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        (trade(status="NEW_STATUS"), "status"),
        (trade(status=None), "status"),
        (trade(step_trade_status="?"), "step_trade_status"),
        (trade(created=None), "created"),
        (trade(created="0001-01-01 00:00:00"), "created"),
        (trade(created="11/11/2026 00:05"), "created"),
        (trade(created={}), "created"),
        (trade(modified="2026-02-30 00:00:00"), "modified"),
        (trade(payment=None), "payment"),
        (trade(payment={}), "payment"),
        (trade(payment="12.345"), "payment"),
        (trade(payment="99999999999999999"), "payment"),
        (trade(receiver_name={"a": 1}), "receiver_name"),
        (trade(orders={}), "orders.order"),
        (trade(orders=5), "orders"),
        (trade(orders={"order": ["x"]}), "orders.order[0]"),
        (trade(line(num=0)), "orders.order[0].num"),
        (trade(line(num=-1)), "orders.order[0].num"),
        (trade(line(num="two")), "orders.order[0].num"),
        (trade(line(price=[1])), "orders.order[0].price"),
        (trade(line(oid=None)), "orders.order[0].oid"),
        (trade(line(oid=1.5)), "orders.order[0].oid"),
        (trade(line(status="?")), "orders.order[0].status"),
        (trade(line(refund_status="?")), "orders.order[0].refund_status"),
        (trade(line(), line()), "orders.order[1].oid"),
        (trade(tid=None, tid_str=None), "tid"),
        (trade(tid_str="3"), "tid"),
        (trade(unknown=json.loads("[" * 100 + "]" * 100)), ""),
    ],
)
def test_what_cannot_be_translated_names_its_place(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(TranslationError) as refused:
        translated(fields)
    assert refused.value.where == where


def test_a_line_reads_as_the_canonical_line() -> None:
    assert translated(trade()).snapshot.lines == (
        Line("2960000000000000011", "DRL-01", 1, "电钻", "650012345678/4711", "", 32900, 0, 32900),
    )


# ---- Amounts and times that no order has -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        (trade(payment="-329.00"), "payment"),
        (trade(total_fee="-0.01"), "total_fee"),
        (trade(post_fee="-5.00"), "post_fee"),
        (trade(step_paid_fee="-1.00"), "step_paid_fee"),
        (trade(payment="1000000000.01"), "payment"),
        (trade(adjust_fee="-1000000000.01"), "adjust_fee"),
        (trade(line(price="-1.00")), "orders.order[0].price"),
        (trade(line(divide_order_fee="-1.00")), "orders.order[0].divide_order_fee"),
        (trade(line(price="999999999.00", num=2)), "orders.order[0].price"),
        (trade(modified="2016-11-11 00:06:03"), "modified"),
        (trade(modified="2046-11-11 00:06:03"), "modified"),
        (trade(pay_time="2026-11-09 00:05:40"), "pay_time"),
        (trade(created="1990-11-11 00:05:41"), "created"),
        (trade(created="2105-11-11 00:05:41"), "created"),
    ],
)
def test_what_no_order_can_have_is_refused_with_the_field(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(TranslationError) as caught:
        translated(fields)
    assert caught.value.where == where
    assert caught.value.advice


def test_what_sellers_take_off_or_add_by_hand_may_be_negative() -> None:
    amounts = translated(trade(adjust_fee="-29.00", payment="300.00")).snapshot.amounts
    assert (amounts.discount, amounts.payable) == (2_900, 30_000)


def test_the_clocks_of_a_platform_may_differ_by_less_than_a_day() -> None:
    snapshot = translated(trade(pay_time="2026-11-11 00:05:40")).snapshot
    assert snapshot.paid_at is not None
    assert snapshot.paid_at.utc_ms == snapshot.ordered_at.utc_ms - 1_000
