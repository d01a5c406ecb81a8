"""Pinduoduo: each payload of the platform becomes the order it is, or says why it is none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.channels import load, recognise
from adapters.channels.pinduoduo import Pinduoduo
from domain.canonical import Amounts, Line, Parcel, SourceTime, Translated, TranslationError
from domain.mapping_table import Times
from domain.ports import Aside, Sliced

SAMPLES = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples/pinduoduo"
PDD = Pinduoduo()
SHOP = "mall-1"


def item(**fields: Any) -> dict[str, Any]:
    return {
        "goods_id": "2525296157",
        "sku_id": "51972265894",
        "outer_id": "DRL-01",
        "outer_goods_id": "DRL",
        "goods_name": "电钻",
        "goods_price": 329.0,
        "goods_spec": "标准",
        "goods_count": 1,
        **fields,
    }


def order(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "order_sn": "261111-481803633911509",
        "created_time": "2026-11-11 00:04:01",
        "confirm_time": "2026-11-11 00:04:12",
        "pay_time": "2026-11-11 00:04:10",
        "updated_at": "2026-11-11 00:04:12",
        "shipping_time": "",
        "receive_time": "",
        "confirm_status": 1,
        "order_status": 1,
        "refund_status": 1,
        "after_sales_status": 0,
        "group_status": 1,
        "risk_control_status": 0,
        "trade_type": 0,
        "goods_amount": 329.0,
        "discount_amount": 0,
        "postage": 0,
        "pay_amount": 329.0,
        "item_list": list(items) or [item()],
        **fields,
    }


def encoded(fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def translated(fields: dict[str, Any], shop: str = SHOP) -> Translated:
    return PDD.translate(encoded(fields), shop)


def sample(name: str) -> bytes:
    path = SAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip("the reference samples are not here")
    return path.read_bytes()


def from_sample(name: str) -> Translated:
    (found,) = PDD.identify(sample(name), SHOP)
    assert isinstance(found, Sliced)
    return PDD.translate(found.raw, found.shop)


def at(text: str, utc_ms: int) -> SourceTime:
    return SourceTime(text, utc_ms, 480, f"{text.replace(' ', 'T')}.000+08:00")


# ---- The reference samples, expected by hand -------------------------------------------------------------------------


def test_a_paid_order() -> None:
    found = from_sample("paid_single")
    snapshot = found.snapshot
    assert (snapshot.shop, snapshot.order_no, snapshot.status) == (SHOP, "261111-481803633911509", "paid")
    assert snapshot.native_status == "confirm_status=1 order_status=1 refund_status=1"
    assert snapshot.ordered_at == at("2026-11-11 00:04:01", 1794326641000)
    assert snapshot.paid_at == at("2026-11-11 00:04:10", 1794326650000)
    assert snapshot.modified_at == at("2026-11-11 00:04:12", 1794326652000)
    assert snapshot.amounts == Amounts("CNY", 32900, 3000, 0, 0, 29900, 29900)
    assert snapshot.region == "上海市 上海市"
    assert snapshot.attributes["last_ship_time"] == "2026-11-13 00:04:12"
    assert snapshot.attributes["platform_discount"] == "20.00"
    assert snapshot.attributes["invoice_type"] == "none"
    (line,) = snapshot.lines
    assert (line.id, line.sku, line.item) == ("51972265894", "DRL-18V-01", "2525296157/51972265894")
    assert (line.unit_price, line.discount, line.amount, line.spec) == (32900, 3000, 29900, "标准")
    assert found.personal.receiver["phone_masked"] == "1********76"
    assert found.personal.attributes["pay_no"] == "4200000000202611110000000001"


def test_amounts_as_text_count_the_same() -> None:
    found = from_sample("paid_amounts_as_strings")
    assert found.snapshot.amounts == Amounts("CNY", 1770, 0, 77, 0, 1847, 1847)
    assert [(one.quantity, one.unit_price, one.amount) for one in found.snapshot.lines] == [(3, 590, 1770)]
    assert found.personal.messages == {"buyer_message": "开发票"}
    assert found.snapshot.attributes["invoice_status"] == 1
    assert "invoice_type" not in found.snapshot.attributes


def test_a_gift_outside_the_lines_is_a_line_of_its_own() -> None:
    snapshot = from_sample("paid_with_gift").snapshot
    drill, gift = snapshot.lines
    assert (drill.id, drill.gift, drill.amount) == ("51972265894", False, 32900)
    assert (gift.id, gift.sku, gift.gift, gift.unit_price, gift.amount) == (
        "gift-51972269999",
        "GFT-TAPE-5",
        True,
        0,
        0,
    )
    assert gift.attributes["goods_price"] == "9.90"
    assert snapshot.amounts == Amounts("CNY", 32900, 0, 0, 0, 32900, 32900)


def test_a_presale_whose_deposit_is_paid() -> None:
    snapshot = from_sample("presale_deposit_paid_final_unpaid").snapshot
    assert (snapshot.status, snapshot.kind, snapshot.holds) == ("awaiting_payment", "presale", ())
    assert snapshot.amounts == Amounts("CNY", 189900, 20000, 0, 0, 169900, 10000)
    assert snapshot.attributes["step_order_info"]["advanced_paid_fee"] == "100.00"


def test_a_group_that_is_not_formed_waits_with_its_money_and_must_not_ship() -> None:
    snapshot = from_sample("group_not_formed").snapshot
    assert (snapshot.status, snapshot.holds) == ("awaiting_payment", ("group_not_formed",))
    assert (snapshot.amounts.payable, snapshot.amounts.paid, snapshot.paid_at) == (29900, 29900, None)
    assert snapshot.attributes["pay_time"] == "2026-11-11 00:04:10"


def test_an_order_under_review_is_paid_and_held() -> None:
    snapshot = from_sample("risk_review_hold").snapshot
    assert (snapshot.status, snapshot.holds) == ("paid", ("risk_review",))


def test_an_order_cancelled_and_refunded_before_shipping() -> None:
    snapshot = from_sample("cancelled_refunded_before_ship").snapshot
    assert (snapshot.status, snapshot.cancel_reason) == ("cancelled", "refunded")
    assert [(one.state, one.after_sale) for one in snapshot.lines] == [("cancelled", "refunded")]


def test_an_after_sale_after_shipping_leaves_the_order_shipped() -> None:
    snapshot = from_sample("shipped_aftersale_in_progress").snapshot
    assert snapshot.status == "shipped"
    assert [(one.state, one.after_sale) for one in snapshot.lines] == [("shipped", "open")]
    left = at("2026-11-06 09:00:00", 1793926800000)
    assert snapshot.shipped_at == left
    assert snapshot.parcels == (Parcel("44", "SF1400000000007", (), left), Parcel("44", "SF1400000000008"))


@pytest.mark.parametrize(
    ("name", "kind", "order_no", "says"),
    [
        ("refund_list_increment", "hint", "261105-481803633911516", "an after-sale"),
        ("refund_information_in_fen", "hint", "261105-481803633911516", "an after-sale"),
        ("message_trade_confirmed", "hint", "261111-481803633911509", "pdd_trade_TradeConfirmed"),
        ("message_refund_created", "hint", "261105-481803633911516", "pdd_refund_RefundCreated"),
        ("logistics_online_send_request", "refused", "", "a request to Pinduoduo"),
        ("signature_vectors", "refused", "", "not an answer of Pinduoduo"),
    ],
)
def test_what_is_no_order_ends_as_the_page_says(name: str, kind: str, order_no: str, says: str) -> None:
    (found,) = PDD.identify(sample(name), "")
    assert isinstance(found, Aside)
    assert (found.kind, found.order_no) == (kind, order_no)
    assert says in found.reason


def test_a_pushed_message_names_its_shop() -> None:
    (found,) = PDD.identify(sample("message_trade_confirmed"), "")
    assert isinstance(found, Aside)
    assert found.shop == "171504183"


def test_heartbeats_and_acknowledgements_are_nothing_to_take_in() -> None:
    assert [one.kind for one in PDD.identify(sample("message_heartbeat_and_ack"), "") if isinstance(one, Aside)] == [
        "ignored",
        "ignored",
    ]


def test_no_field_of_a_sample_is_lost() -> None:
    for path in sorted(SAMPLES.glob("*.json")):
        for part in PDD.identify(path.read_bytes(), SHOP):
            if isinstance(part, Sliced):
                assert missing(part, PDD.translate(part.raw, part.shop)) == [], path.name


def missing(part: Sliced, found: Translated) -> list[tuple[str, Any]]:
    """Return the leaves of a source that are found nowhere in what was made of it."""
    there = set(texts(found))
    told = ("confirm_status", "order_status", "refund_status", "group_status", "is_lucky_flag")  # by other words
    nothing = ("", 0, "0.00", None, -1)
    lost = []
    for name, value in leaves(json.loads(part.raw)):
        spelled = {str(value)}
        if isinstance(value, (int, float)):
            spelled.add(f"{value:.2f}")
        if isinstance(value, float) or str(value)[-3:-2] == ".":
            spelled.add(str(round(float(value) * 100)))
        if name in told or value in nothing or (name, value) == ("name", "delivery_one_day"):
            continue
        if there.isdisjoint(spelled):
            lost.append((name, value))
    return lost


def leaves(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        for member, inner in value.items():
            yield from leaves(inner, member)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, name)
    else:
        yield name, value


def texts(value: Any) -> Any:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from texts(inner)
    elif hasattr(value, "__struct_fields__"):
        yield from texts([getattr(value, name) for name in value.__struct_fields__])
    else:
        yield str(value)
        yield from str(value).split("/")


# ---- Cutting ---------------------------------------------------------------------------------------------------------


def test_a_slice_is_the_exact_bytes_of_its_order() -> None:
    body = b'{ "order_sn" : "26-1","mall_id":7 , "item_list":[{"goods_price": 1.50}]}'
    for raw in (
        body,
        b'{"order_sn_increment_get_response":{"total_count":1,"order_sn_list":[ ' + body + b" ]}}",
        b'{"order_list_get_response":{"order_list":[' + body + b"]}}",
        b'{"order_info_get_response":{"order_info":' + body + b',"request_id":"1"}}',
        b'{"order_info":' + body + b"}",
        b'{"order_list":[' + body + b"]}",
        b"[" + body + b"]",
        b"\xef\xbb\xbf" + body,
    ):
        assert PDD.identify(raw, "") == [Sliced("7", "26-1", body)]
        assert PDD.identify(raw, "given") == [Sliced("given", "26-1", body)]


def test_a_page_is_cut_into_its_orders_and_hints() -> None:
    whole = [encoded(order(order_sn=f"26-{number}")) for number in range(3)]
    page = b'{"order_sn_increment_get_response":{"order_sn_list":[' + b",".join(whole) + b',{"order_sn":"26-9"}]}}'
    found = PDD.identify(page, SHOP)
    assert [one.order_no for one in found] == ["26-0", "26-1", "26-2", "26-9"]
    assert [type(one) for one in found] == [Sliced, Sliced, Sliced, Aside]


@pytest.mark.parametrize(
    ("raw", "kind", "says"),
    [
        (b"", "refused", "JSON"),
        (b"not json", "refused", "JSON"),
        (b"\xff\xfe{", "refused", "JSON"),
        (b"5", "refused", "a number"),
        (b'"26-1"', "refused", "a text"),
        (b"[]", "ignored", "empty"),
        (b"[5]", "refused", "a number"),
        (b"[" * 100_000, "refused", "JSON"),
        (b'{"order_list":' * 50 + b"1" + b"}" * 50, "refused", "nested"),
        (b'{"error_response":{"error_code":10019,"error_msg":"expired","sub_code":null}}', "refused", "10019"),
        (b'{"error_response":null}', "refused", "without a reason"),
        (b'{"order_info_get_response":{"error_code":50001,"error_msg":"busy"}}', "refused", "busy"),
        (b'{"order_sn_increment_get_response":{"total_count":0,"order_sn_list":[]}}', "ignored", "empty page"),
        (b'{"order_list_get_response":{"total_count":0,"order_list":null}}', "ignored", "empty page"),
        (b'{"refund_increment_get_response":{"refund_list":[]}}', "ignored", "empty page"),
        (b'{"order_info_get_response":{"order_info":null}}', "refused", "holds no order"),
        (b'{"order_sn_increment_get_response":{"total_count":0}}', "refused", "holds no order"),
        (b'{"logistics_online_send_response":{"is_success":true}}', "refused", "holds no order"),
        (b'{"order_list_get_response":5}', "refused", "no object"),
        (b'{"refund_increment_get_response":{"refund_list":[{"id":1}]}}', "refused", "names no order"),
        (b'{"refund_increment_get_response":{"refund_list":[5]}}', "refused", "names no order"),
        (b'{"order_sn": "1", "order_status": 1}', "hint", "without its lines"),
        (b'{"order_basic_list_get_response":{"order_list":[{"order_sn":"1","item_list":[{}]}]}}', "hint", "receiver"),
        (b'{"order_sn_increment_get_response":{"order_sn_list":["26-1"]}}', "hint", "fetch order 26-1"),
        (b'{"order_sn": 1.5, "item_list":[{}]}', "refused", "fraction"),
        (b'{"order_sn": {}, "item_list":[{}]}', "refused", "no id"),
        (b'{"order_sn": "", "item_list":[{}]}', "refused", "empty"),
        (b'{"order_sn": "1", "x": {"c": 1, "c": 2}, "item_list":[{}]}', "refused", "twice"),
        (b'{"commandType":"Fail","id":1}', "refused", "Fail"),
        (b'{"commandType":"Common","message":null}', "refused", "without a message"),
        (b'{"type":"pdd_chat_OrderPromise","mallID":1,"content":"{}"}', "ignored", "not about an order"),
        (b'{"type":"pdd_trade_TradeSuccess","mallID":1,"content":"{}"}', "refused", "empty"),
        (b'{"type":"pdd_trade_TradeSuccess","mallID":1,"content":"{"}', "refused", "JSON"),
        (b'{"type":"pdd_trade_TradeSuccess","mallID":1.5,"content":"{\\"tid\\":\\"1\\"}"}', "hint", "fetch order 1"),
        (b'{"type":"pdd_chat_OrderPromise","content":{"tid":"26-1"}}', "hint", "fetch order 26-1"),
        (b'{"type":"pdd.order.information.get","order_sn":"1"}', "refused", "a request"),
    ],
)
def test_what_cannot_be_told_to_be_an_order_is_set_aside_with_its_reason(raw: bytes, kind: str, says: str) -> None:
    (found,) = PDD.identify(raw, "shop")
    assert isinstance(found, Aside)
    assert found.kind == kind
    assert found.raw in raw
    assert says in found.reason


def test_ids_above_2_to_the_53_stay_exact() -> None:
    big = 9223372036854775807
    snapshot = translated(order(item(goods_id=big, sku_id=big))).snapshot
    assert (snapshot.lines[0].id, snapshot.lines[0].item) == (str(big), f"{big}/{big}")
    (found,) = PDD.identify(b'{"type":"pdd_trade_TradeSuccess","content":{"tid":%d}}' % big, "s")
    assert found.order_no == str(big)


def test_exactly_one_channel_recognises_each_order() -> None:
    channels = load()
    for raw in (encoded(order()), encoded({"order_info_get_response": {"order_info": order()}})):
        found = recognise(channels, raw)
        assert found is not None
        assert found.name == "pinduoduo"
    for path in sorted(SAMPLES.parent.glob("*/*.json")):
        raw = path.read_bytes()
        if any(isinstance(part, Sliced) for part in PDD.identify(raw, "shop")) or path.parent.name == "pinduoduo":
            looks = [name for name, channel in channels.items() if channel.sniff(raw)]
            assert looks == ["pinduoduo"] or (path.name == "signature_vectors.json" and not looks)


# ---- Status, after-sale, holds ---------------------------------------------------------------------------------------

STEP = {"step_trade_status": 1, "advanced_paid_fee": 100, "step_paid_fee": "100.00", "step_discount_amount": 0}


@pytest.mark.parametrize(
    ("codes", "status", "state", "after_sale"),
    [
        # confirm, order, refund, after-sale
        ((2, 1, 1, 0), "cancelled", "cancelled", ""),
        ((2, 1, 2, 2), "cancelled", "cancelled", ""),
        ((2, 1, 4, 10), "cancelled", "cancelled", "refunded"),
        ((1, 1, 4, 10), "cancelled", "cancelled", "refunded"),
        ((0, 1, 4, 10), "cancelled", "cancelled", "refunded"),
        ((1, 1, 2, 2), "paid", "open", "open"),
        ((1, 1, 3, 4), "paid", "open", "open"),
        ((1, 2, 2, 3), "shipped", "shipped", "open"),
        ((1, 3, 3, 5), "completed", "shipped", "open"),
        ((1, 2, 4, 10), "shipped", "shipped", "refunded"),
        ((1, 3, 4, 10), "completed", "shipped", "refunded"),
        ((0, 1, 1, 0), "awaiting_payment", "open", ""),
        ((0, 1, 2, 2), "awaiting_payment", "open", "open"),
        ((1, 1, 1, 0), "paid", "open", ""),
        ((1, 2, 1, 0), "shipped", "shipped", ""),
        ((1, 3, 1, 0), "completed", "shipped", ""),
        ((1, 2, 1, 11), "shipped", "shipped", "closed"),
        ((1, 2, 1, 15), "shipped", "shipped", "open"),
    ],
)
def test_several_codes_decide_the_status_the_first_rule_that_fits(
    codes: tuple[int, int, int, int], status: str, state: str, after_sale: str
) -> None:
    names = ("confirm_status", "order_status", "refund_status", "after_sales_status")
    for spelled in (codes, tuple(str(code) for code in codes)):
        snapshot = translated(order(**dict(zip(names, spelled, strict=True)))).snapshot
        assert snapshot.status == status
        assert (snapshot.lines[0].state, snapshot.lines[0].after_sale) == (state, after_sale)
        assert snapshot.native_status == f"confirm_status={codes[0]} order_status={codes[1]} refund_status={codes[2]}"


@pytest.mark.parametrize(
    ("codes", "axis"),
    [
        ((0,), ""),
        ((2, 3, 4, 5, 7, 8), "open"),
        ((10,), "refunded"),
        ((6, 9, 11, 12, 13), "closed"),
        ((14, 15, 18, 32), "open"),
        ((16, 17), "closed"),
        ((21, 22, 23, 27), "open"),
        ((24, 25), "closed"),
        ((31, 33), "open"),
    ],
)
def test_each_after_sale_code_has_its_place_on_the_axis(codes: tuple[int, ...], axis: str) -> None:
    for code in codes:
        snapshot = translated(order(order_status=2, after_sales_status=code)).snapshot
        assert snapshot.lines[0].after_sale == axis
        assert snapshot.attributes.get("after_sales_status", 0) == code


@pytest.mark.parametrize(
    ("stage", "pay_time", "status", "paid"),
    [
        (0, "", "awaiting_payment", 0),
        (1, "", "awaiting_payment", 10000),
        (1, "2026-11-11 00:04:10", "awaiting_payment", 10000),
        (2, "2026-11-11 00:04:10", "paid", 32900),
    ],
)
def test_the_stages_of_a_deposit_presale(stage: int, pay_time: str, status: str, paid: int) -> None:
    step = {**STEP, "step_trade_status": stage}
    snapshot = translated(order(trade_type=1, step_order_info=step, pay_time=pay_time)).snapshot
    assert (snapshot.status, snapshot.kind, snapshot.amounts.paid, snapshot.holds) == (status, "presale", paid, ())


def test_an_ordinary_order_that_carries_an_empty_presale_is_no_presale() -> None:
    empty = {"step_trade_status": 0, "advanced_paid_fee": 0, "step_paid_fee": 0, "step_discount_amount": 0}
    snapshot = translated(order(step_order_info=empty)).snapshot
    assert (snapshot.status, snapshot.kind) == ("paid", "normal")
    assert "step_order_info" not in snapshot.attributes


def test_goods_that_are_presold_and_paid_in_full_are_a_presale() -> None:
    snapshot = translated(order(is_pre_sale=1, pre_sale_time="2026-11-20 23:59:59")).snapshot
    assert (snapshot.status, snapshot.kind) == ("paid", "presale")
    assert snapshot.attributes["pre_sale_time"] == "2026-11-20 23:59:59"


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ({"risk_control_status": 1}, ("risk_review",)),
        ({"risk_control_status": 1, "order_status": 2}, ()),
        ({"risk_control_status": 1, "confirm_status": 2}, ()),
        ({"confirm_status": 0, "group_status": 0}, ("group_not_formed",)),
        ({"confirm_status": 0, "group_status": 2}, ("group_failed",)),
        ({"confirm_status": 0, "group_status": 0, "pay_time": ""}, ()),
        ({"confirm_status": 0, "group_status": None}, ()),
        ({"group_status": 0}, ()),
        ({"order_tag_list": [{"name": "ship_hold", "value": 1}]}, ("ship_hold",)),
        ({"order_tag_list": [{"name": "ship_hold", "value": 0}]}, ()),
        ({"gift_list": [item()], "gift_order_status": 0}, ("gift_order_pending",)),
        ({"gift_list": [item()], "gift_order_status": 2}, ()),
        ({"gift_list": [], "gift_order_status": 0}, ()),
    ],
)
def test_holds_of_the_platform_are_kept(fields: dict[str, Any], holds: tuple[str, ...]) -> None:
    assert translated(order(**fields)).snapshot.holds == holds


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"refund_status": 4}, "refunded"),
        ({"confirm_status": 2, "group_status": 2}, "group_failed"),
        ({"confirm_status": 2}, "cancelled"),
        ({"confirm_status": 2, "pay_time": ""}, "closed_before_payment"),
    ],
)
def test_a_cancelled_order_says_why(fields: dict[str, Any], reason: str) -> None:
    assert translated(order(**fields)).snapshot.cancel_reason == reason


def test_an_order_cancelled_after_it_left_does_not_take_its_goods_back() -> None:
    snapshot = translated(order(confirm_status=2, shipping_time="2026-11-12 10:00:00")).snapshot
    assert (snapshot.status, snapshot.lines[0].state) == ("cancelled", "shipped")
    assert snapshot.shipped_at is not None


def test_a_signed_order_is_completed_when_it_was_received() -> None:
    snapshot = translated(
        order(order_status=3, shipping_time="2026-11-12 10:00:00", receive_time="2026-11-14 10:00:00")
    ).snapshot
    assert snapshot.completed_at == at("2026-11-14 10:00:00", 1794621600000)


# ---- Lines, gifts, parcels -------------------------------------------------------------------------------------------


def test_a_line_reads_as_the_canonical_line() -> None:
    assert translated(order()).snapshot.lines == (
        Line(
            "51972265894",
            "DRL-01",
            1,
            "电钻",
            "2525296157/51972265894",
            "标准",
            32900,
            0,
            32900,
            attributes={"outer_goods_id": "DRL"},
        ),
    )


def test_an_item_that_is_not_mapped_has_no_sku() -> None:
    def sku(**fields: Any) -> str:
        return translated(order(item(**fields))).snapshot.lines[0].sku

    assert sku(outer_id="", outer_goods_id="") == ""
    assert sku(outer_id="", outer_goods_id="DRL") == "DRL"
    assert sku(outer_id=77) == "77"


def test_lines_of_one_sku_keep_their_ids_in_any_order() -> None:
    dear, cheap = item(goods_price="5.00"), item(goods_price="4.00")
    for items in ((dear, cheap), (cheap, dear)):
        found = translated(order(*items, goods_amount="9.00", pay_amount="9.00")).snapshot.lines
        assert {one.id: one.unit_price for one in found} == {"51972265894": 500, "51972265894#2": 400}


def test_a_gift_of_the_same_sku_as_the_goods_has_an_id_of_its_own() -> None:
    lines = translated(order(gift_list=[item(goods_price="329.00"), item()])).snapshot.lines
    assert [(one.id, one.gift) for one in lines] == [
        ("51972265894", False),
        ("gift-51972265894", True),
        ("gift-51972265894#2", True),
    ]


def test_gifts_that_are_an_order_of_their_own_must_not_ship_twice() -> None:
    snapshot = translated(order(gift_list=[item(order_sn="261111-2", sku_id="9")], gift_order_status=1)).snapshot
    assert [one.id for one in snapshot.lines] == ["51972265894"]
    assert snapshot.attributes["gift_list"] == [
        {
            "order_sn": "261111-2",
            "item": "2525296157/9",
            "goods_count": 1,
            "goods_price": "329.00",
            "goods_name": "电钻",
            "goods_spec": "标准",
            "outer_id": "DRL-01",
            "outer_goods_id": "DRL",
        }
    ]


def test_parcels_of_gifts_and_of_goods_know_their_lines() -> None:
    snapshot = translated(
        order(
            order_status=2,
            shipping_time="2026-11-12 10:00:00",
            logistics_id=44,
            tracking_number="SF1",
            gift_list=[item(sku_id="9")],
            extra_delivery_list=[{"logistics_id": 44, "tracking_number": "SF1"}],
            resend_delivery_list=[{"logistics_id": "85", "tracking_number": "YT1"}],
            gift_delivery_list=[{"logistics_id": 85, "tracking_number": "YT2"}],
        )
    ).snapshot
    assert [(one.carrier, one.tracking, one.lines) for one in snapshot.parcels] == [
        ("44", "SF1", ("51972265894",)),
        ("85", "YT1", ("51972265894",)),
        ("85", "YT2", ("gift-9",)),
    ]
    assert snapshot.parcels[0].at == snapshot.shipped_at
    assert snapshot.attributes["resend_delivery_list"] == [{"logistics_id": "85", "tracking_number": "YT1"}]


def test_a_carrier_without_a_number_is_no_parcel_and_not_lost() -> None:
    snapshot = translated(order(logistics_id=44, extra_delivery_list=[{"logistics_id": 7}])).snapshot
    assert snapshot.parcels == ()
    assert snapshot.attributes["logistics_id"] == "44"
    assert snapshot.attributes["extra_delivery_list"] == [{"logistics_id": "7", "tracking_number": ""}]


# ---- Amounts, services, the rest -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", [329, 329.0, "329", "329.00", "329.0"])
def test_yuan_count_the_same_as_number_and_as_text(spelled: Any) -> None:
    fields = order(item(goods_price=spelled), goods_amount=spelled, pay_amount=spelled)
    assert translated(fields) == translated(order())


def test_discounts_are_shared_out_to_the_last_fen() -> None:
    items = [item(sku_id=str(number), goods_price=f"{number}.01", goods_count=3) for number in range(1, 8)]
    goods = sum(number * 100 + 1 for number in range(1, 8)) * 3
    pay = goods - 1001 + 77
    snapshot = translated(
        order(
            *items,
            goods_amount=f"{goods / 100:.2f}",
            discount_amount="10.01",
            platform_discount="10.00",
            seller_discount="0.01",
            postage="0.77",
            pay_amount=f"{pay / 100:.2f}",
        )
    ).snapshot
    assert snapshot.amounts == Amounts("CNY", goods, 1001, 77, 0, pay, pay)
    assert sum(one.amount for one in snapshot.lines) == pay - 77
    assert "amount_mismatch" not in snapshot.attributes


def test_a_changed_price_is_a_discount() -> None:
    snapshot = translated(order(order_change_amount="29.00", goods_amount="300.00", pay_amount="300.00")).snapshot
    assert snapshot.amounts == Amounts("CNY", 32900, 2900, 0, 0, 30000, 30000)
    assert snapshot.attributes["order_change_amount"] == "29.00"
    assert "amount_mismatch" not in snapshot.attributes


def test_sums_that_do_not_agree_are_noted_with_their_figures() -> None:
    snapshot = translated(
        order(goods_amount=330, discount_amount=10, platform_discount=4, seller_discount=5, pay_amount=300)
    ).snapshot
    assert snapshot.amounts.payable == 30000
    assert [(one["stated"], one["computed"]) for one in snapshot.attributes["amount_mismatch"]] == [
        (33000, 32900),
        (1000, 900),
        (30000, 32000),
    ]


@pytest.mark.parametrize(
    ("fields", "services"),
    [
        ({"home_delivery_type": 0}, None),
        ({"home_delivery_type": 1}, [("delivery_home_value", "送货入户", "0.00")]),
        (
            {"home_delivery_type": 2, "delivery_install_value": "30.00", "pay_amount": "359.00"},
            [("delivery_install_value", "送货入户并安装", "30.00")],
        ),
        ({"home_install_value": 20, "pay_amount": 349}, [("install_fee", "上门安装服务", "20.00")]),
        (
            {
                "service_fee_detail": [
                    {"service_name": "install_fee", "service_fee": 20.0},
                    {"service_name": "sf_express_fee", "service_fee": 5},
                ],
                "home_install_value": "20.00",
                "pay_amount": 354,
            },
            [("install_fee", "上门安装服务", "20.00")],
        ),
        (
            {"service_fee_detail": [{"service_name": "lamp_install_fee", "service_fee": 1}], "pay_amount": 330},
            [("lamp_install_fee", "lamp_install_fee", "1.00")],
        ),
    ],
)
def test_services_at_the_customers_are_a_service_package(
    fields: dict[str, Any], services: list[tuple[str, str, str]] | None
) -> None:
    attributes = translated(order(**fields)).snapshot.attributes
    found = attributes.get("service_package")
    assert (found and [(one["service_id"], one["title"], one["payment"]) for one in found]) == services
    assert "amount_mismatch" not in attributes


def test_labels_of_the_platform_are_kept_where_they_are_set() -> None:
    tags = [{"name": "free_sf", "value": 1}, {"name": "delivery_one_day", "value": 0}, {"name": "odd", "value": "2"}]
    assert translated(order(order_tag_list=tags)).snapshot.attributes["order_tag_list"] == [tags[0], tags[2]]


def test_the_warehouse_and_its_kits_are_kept() -> None:
    depot = {"depot_code": "W1", "ware_type": 1, "ware_sub_info_list": [{"ware_sn": "A", "ware_quantity": 2}]}
    assert translated(order(order_depot_info=depot)).snapshot.attributes["order_depot_info"] == depot


@pytest.mark.parametrize("none", [None, "", 0, [], "1970-01-01 00:00:00", "0000-00-00 00:00:00"])
def test_absent_times_of_any_spelling_are_absent(none: Any) -> None:
    snapshot = translated(order(order_status=2, shipping_time=none, receive_time=none, confirm_time=none)).snapshot
    assert (snapshot.shipped_at, snapshot.completed_at) == (None, None)
    assert "confirm_time" not in snapshot.attributes


def test_empty_structures_of_any_spelling_are_absent() -> None:
    names = ("gift_list", "step_order_info", "order_depot_info", "extra_delivery_list", "card_info_list")
    spellings: tuple[Any, ...] = (None, "", [])
    for none in spellings:
        assert translated(order(**dict.fromkeys(names, none))) == translated(order())


def test_the_shop_given_wins_over_the_malls_number() -> None:
    assert translated(order(mall_id=171504183), shop="").snapshot.shop == "171504183"
    snapshot = translated(order(mall_id=171504183)).snapshot
    assert (snapshot.shop, snapshot.attributes["mall_id"]) == (SHOP, "171504183")


def test_nothing_personal_is_in_the_snapshot() -> None:
    names = ("receiver_name", "receiver_phone", "receiver_address", "receiver_name_mask", "address", "address_mask")
    more = (
        "contact_mobile",
        "open_address_id",
        "buyer_memo",
        "remark",
        "pay_no",
        "inner_transaction_id",
        "id_card_num",
    )
    secret: dict[str, Any] = {name: f"secret-{name}" for name in (*names, *more)}
    found = translated(
        order(
            item(unknown="secret-line"),
            **secret,
            card_info_list=[{"card_no": "secret-card"}],
            gift_list=[item(unknown="secret-gift")],
            order_tag_list=[{"name": "a", "value": 1, "who": "secret-tag"}],
        )
    )
    assert "secret" not in repr(found.snapshot)
    for text in (*secret.values(), "secret-line", "secret-card", "secret-gift", "secret-tag"):
        assert text in repr(found.personal)


# ---- What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        (order(confirm_status=3), "confirm_status"),
        (order(confirm_status=None), "confirm_status"),
        (order(confirm_status=""), "confirm_status"),
        (order(confirm_status=True), "confirm_status"),
        (order(order_status=0), "order_status"),
        (order(order_status="x"), "order_status"),
        (order(order_status=10**30), "order_status"),
        (order(refund_status=0), "refund_status"),
        (order(refund_status=5), "refund_status"),
        (order(after_sales_status=1), "after_sales_status"),
        (order(after_sales_status=19), "after_sales_status"),
        (order(group_status=3), "group_status"),
        (order(risk_control_status=2), "risk_control_status"),
        (order(gift_order_status=3), "gift_order_status"),
        (order(trade_type=1, step_order_info={"step_trade_status": 3}), "step_order_info.step_trade_status"),
        (order(trade_type=1, step_order_info={"advanced_paid_fee": 1}), "step_order_info.step_trade_status"),
        (order(created_time=""), "created_time"),
        (order(created_time="11/11/2026 00:05"), "created_time"),
        (order(updated_at="2046-11-11 00:00:00"), "updated_at"),
        (order(pay_time="2026-11-09 00:00:00"), "pay_time"),
        (order(pay_amount=None), "pay_amount"),
        (order(pay_amount=-1), "pay_amount"),
        (order(pay_amount=12.345), "pay_amount"),
        (order(pay_amount="1000000000.01"), "pay_amount"),
        (order(postage="-0.77"), "postage"),
        (order(item_list=[]), "item_list"),
        (order(item_list=5), "item_list"),
        (order(item_list=["x"]), "item_list[0]"),
        (order(item(goods_id=None, sku_id="")), "item_list[0].sku_id"),
        (order(item(sku_id=1.5)), "item_list[0].sku_id"),
        (order(item(goods_count=0)), "item_list[0].goods_count"),
        (order(item(goods_count=-1)), "item_list[0].goods_count"),
        (order(item(goods_price="-1")), "item_list[0].goods_price"),
        (order(item(goods_price=[1])), "item_list[0].goods_price"),
        (order(item(goods_price="999999999", goods_count=2)), "item_list[0].goods_price"),
        (order(gift_list=[item(goods_count="none")]), "gift_list[0].goods_count"),
        (order(item(sku_id="gift-51972265894"), gift_list=[item()]), "gift_list"),
        (order(service_fee_detail=[{"service_fee": "-1"}]), "service_fee_detail[0].service_fee"),
        (order(extra_delivery_list=[{"tracking_number": 1.5}]), "extra_delivery_list[0].tracking_number"),
        (order(receiver_name={"a": 1}), "receiver_name"),
        (order(order_sn=None), "order_sn"),
        (order(unknown=json.loads("[" * 100 + "]" * 100)), ""),
    ],
)
def test_what_cannot_be_translated_names_its_place(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(TranslationError) as refused:
        translated(fields)
    assert refused.value.where == where
    assert refused.value.reason


def test_a_shop_may_write_times_of_another_zone() -> None:
    found = PDD.with_times(Times(zone="+00:00")).translate(encoded(order()), SHOP)
    assert isinstance(found, Translated)
    assert found.snapshot.ordered_at.utc_ms == translated(order()).snapshot.ordered_at.utc_ms + 8 * 3_600_000


def test_the_channel_declares_what_is_nobodys() -> None:
    assert "item_list[].goods_img" in PDD.harmless
    assert "receiver_name" not in PDD.harmless


def test_an_order_without_a_shop_is_refused_and_says_what_to_do() -> None:
    (found,) = PDD.identify(encoded(order()), "")
    assert isinstance(found, Aside)
    assert "name the shop" in found.reason
    with pytest.raises(TranslationError, match="name the shop"):
        translated(order(), shop="")


def test_400_lines_are_an_order() -> None:
    items = [item(sku_id=str(number), goods_name=f"钻头 {number} 🔩", goods_price="1.00") for number in range(1, 401)]
    snapshot = translated(order(*items, goods_amount=400, discount_amount="300.00", pay_amount=100)).snapshot
    assert len({one.id for one in snapshot.lines}) == 400
    assert sum(one.amount for one in snapshot.lines) == snapshot.amounts.payable == 10000
