"""JD: each payload of the platform becomes the order it is, or says why it is none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.channels import load, recognise
from adapters.channels.jd import Jd
from domain.canonical import Amounts, Line, Parcel, SourceTime, Translated, TranslationError
from domain.mapping_table import Times
from domain.ports import Aside, Sliced

SAMPLES = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples/jd"
JD = Jd()
SHOP = "10622317"
NEVER = "0001-01-01 00:00:00"


def line(**fields: Any) -> dict[str, Any]:
    return {
        "skuId": "10054887700001",
        "wareId": "10020665900001",
        "outerSkuId": "DRL-01",
        "skuName": "电钻",
        "jdPrice": "329.00",
        "itemTotal": "1",
        **fields,
    }


def order(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "orderId": "301000000002",
        "venderId": SHOP,
        "payType": "4-在线支付",
        "orderState": "WAIT_SELLER_STOCK_OUT",
        "orderStartTime": "2026-11-11 00:03:10",
        "paymentConfirmTime": "2026-11-11 00:03:40",
        "orderEndTime": NEVER,
        "outBoundDate": NEVER,
        "modified": "2026-11-11 00:03:40",
        "orderPayment": "329.00",
        "vatInfo": [],
        "itemInfoList": list(lines) or [line()],
        **fields,
    }


def encoded(fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def translated(fields: dict[str, Any], shop: str = SHOP) -> Translated:
    return JD.translate(encoded(fields), shop)


def sample(name: str) -> bytes:
    path = SAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip("the reference samples are not here")
    return path.read_bytes()


def from_sample(name: str) -> Translated:
    (found,) = JD.identify(sample(name), "")
    assert isinstance(found, Sliced)
    assert found.shop == SHOP
    return JD.translate(found.raw, found.shop)


def at(text: str, utc_ms: int) -> SourceTime:
    return SourceTime(text, utc_ms, 480, f"{text.replace(' ', 'T')}.000+08:00")


# ---- The reference samples, expected by hand -------------------------------------------------------------------------


def test_an_unpaid_order() -> None:
    found = from_sample("unpaid")
    snapshot = found.snapshot
    assert (snapshot.order_no, snapshot.status, snapshot.native_status) == (
        "301000000001",
        "awaiting_payment",
        "NOT_PAY",
    )
    assert snapshot.ordered_at == snapshot.modified_at == at("2026-11-11 00:01:02", 1794326462000)
    assert (snapshot.paid_at, snapshot.shipped_at, snapshot.completed_at, snapshot.cancelled_at) == (None,) * 4
    assert snapshot.amounts == Amounts("CNY", 32900, 0, 0, 0, 32900, 0)
    assert snapshot.region == "广东 广州市"
    assert snapshot.attributes["invoice_type"] == "none"
    assert found.personal.customer_id == "oaPd9yWq2mK1"
    assert found.personal.receiver["phone"] == "136****0005"
    assert found.personal.receiver["district"] == "海珠区"


def test_a_paid_order_with_coupons_a_special_invoice_and_a_parent() -> None:
    found = from_sample("paid_multi_item_coupon_vat_invoice")
    snapshot = found.snapshot
    assert snapshot.status == "paid"
    assert snapshot.paid_at == at("2026-11-11 00:03:40", 1794326620000)
    assert snapshot.amounts == Amounts("CNY", 83500, 6000, 600, 0, 78100, 78100)
    first, second = snapshot.lines
    assert (first.sku, first.quantity, first.unit_price, first.discount, first.amount) == (
        "DRL-18V-01",
        2,
        32900,
        4927,
        60873,
    )
    assert (second.sku, second.quantity, second.unit_price, second.discount, second.amount) == (
        "BIT-HSS-13",
        3,
        5900,
        1073,
        16627,
    )
    assert first.amount + second.amount + 600 == 78100
    assert snapshot.attributes["invoice_type"] == "vat_special"
    assert snapshot.attributes["parent_order_id"] == "301000000000"
    assert [one["couponType"] for one in snapshot.attributes["couponDetailList"]] == ["28-闪团优惠", "39-京豆优惠"]
    assert "amount_mismatch" not in snapshot.attributes
    assert found.personal.attributes["vatInfo"]["bankAccount"] == "1202********0001"
    assert found.personal.messages == {"buyer_message": "请开专票"}
    assert "某某五金" not in repr(snapshot)


def test_a_gift_is_a_line_that_costs_nothing() -> None:
    snapshot = from_sample("paid_with_gift").snapshot
    assert [(one.sku, one.gift, one.amount) for one in snapshot.lines] == [
        ("DRL-18V-01", False, 29900),
        ("GFT-TAPE-5", True, 0),
    ]
    assert snapshot.amounts == Amounts("CNY", 32900, 3000, 0, 0, 29900, 29900)


def test_a_shipped_order_with_two_carriers_and_three_waybills() -> None:
    snapshot = from_sample("shipped_two_carriers").snapshot
    left = SourceTime("1794389405000", 1794389405000, 0, "2026-11-11T17:30:05.000+08:00")
    assert snapshot.status == "shipped"
    assert snapshot.shipped_at == at("2026-11-11 17:30:05", 1794389405000)
    assert snapshot.parcels == (
        Parcel("467", "SF1400000000003", (), left),
        Parcel("2087", "JDVA00000000001", (), left),
        Parcel("2087", "JDVA00000000002", (), left),
    )
    assert [(one.quantity, one.state) for one in snapshot.lines] == [(10, "shipped")]


def test_a_locked_order_keeps_how_far_it_got_and_is_held() -> None:
    snapshot = from_sample("locked_refund_applied").snapshot
    assert (snapshot.status, snapshot.native_status, snapshot.holds) == ("paid", "LOCKED", ("locked",))
    assert snapshot.amounts.paid == 32900


def test_a_cancelled_order() -> None:
    snapshot = from_sample("cancelled").snapshot
    assert (snapshot.status, snapshot.cancel_reason) == ("cancelled", "closed_before_payment")
    assert snapshot.cancelled_at == at("2026-11-11 01:01:05", 1794330065000)
    assert snapshot.lines[0].state == "cancelled"
    assert snapshot.amounts.paid == 0


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("empty_page", "ignored", "empty page"),
        ("refund_apply_list", "hint", "fetch order 301000000005"),
        ("shipment_request", "refused", "a request to JD"),
        ("signature_vectors", "refused", "not an answer of JD"),
    ],
)
def test_what_is_no_order_ends_as_the_page_says(name: str, kind: str, says: str) -> None:
    (found,) = JD.identify(sample(name), SHOP)
    assert isinstance(found, Aside)
    assert found.kind == kind
    assert says in found.reason


def test_no_field_of_a_sample_is_lost() -> None:
    for path in sorted(SAMPLES.glob("*.json")):
        for part in JD.identify(path.read_bytes(), ""):
            if isinstance(part, Sliced):
                assert missing(part, JD.translate(part.raw, part.shop)) == [], path.name


def missing(part: Sliced, found: Translated) -> list[tuple[str, str]]:
    """Return the leaves of a source that are found nowhere in what was made of it."""
    there = set(texts(found))
    told = {  # by the canonical order itself, or the same for every order
        ("payType", "4-在线支付"),
        ("orderType", "22"),
        ("venderId", SHOP),
        ("orderSellerPrice", "785.00"),
        ("orderSellerPrice", "299.00"),
    }
    lost = []
    for name, value in leaves(json.loads(part.raw)):
        absent = value in ("", "0", "0.00", 0, NEVER, None)
        fen = str(value).replace(".", "") if str(value)[-3:-2] == "." else str(value)
        if not absent and (name, value) not in told and there.isdisjoint((str(value), fen)):
            lost.append((name, value))
    return lost


def leaves(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        for member, inner in value.items():
            yield from leaves(inner, member)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, name)
    elif name == "itemExt":
        yield from leaves(json.loads(value))
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


# ---- Cutting ---------------------------------------------------------------------------------------------------------


def page(result: str, method: str = "jingdong_pop_order_search", code: str = '"0"') -> bytes:
    return f'{{"{method}_responce":{{"code":{code},"searchorderinfo_result":{result}}}}}'.encode()


GOOD = '"apiResult":{"success":true,"numberCode":0}'


def test_a_slice_is_the_exact_bytes_of_its_order() -> None:
    body = b'{ "orderId" : "12","venderId":7 , "orderState":"LOCKED", "itemInfoList":[{"x": 1.50}]}'
    text = body.decode()
    for raw in (
        body,
        page(f'{{{GOOD},"orderInfoList":[ {text} ]}}'),
        page(f'{{"orderInfoList":[{text}]}}'),
        page(f'{{{GOOD},"orderInfoList":[{text}]}}', "jingdong_pop_order_enSearch"),
        f'{{"jingdong_pop_order_get_responce":{{"code":"0","orderDetailInfo":{{{GOOD},"orderInfo":{text}}}}}}}'.encode(),
        f'{{"searchorderinfo_result":{{{GOOD},"orderInfoList":[{text}]}}}}'.encode(),
        b"[" + body + b"]",
        b"\xef\xbb\xbf" + body,
    ):
        assert JD.identify(raw, "") == [Sliced("7", "12", body)]
        assert JD.identify(raw, "given") == [Sliced("given", "12", body)]


def test_a_page_is_cut_into_its_orders() -> None:
    orders = [json.dumps(order(orderId=str(number))) for number in range(1, 4)]
    found = JD.identify(page(f'{{{GOOD},"orderTotal":3,"orderInfoList":[{",".join(orders)}]}}'), "")
    assert [one.order_no for one in found] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("raw", "kind", "says"),
    [
        (b"", "refused", "JSON"),
        (b"not json", "refused", "JSON"),
        (b"\xff\xfe{", "refused", "JSON"),
        (b"5", "refused", "a number"),
        (b"[]", "ignored", "empty"),
        (b"[" * 100_000, "refused", "JSON"),
        (b'{"orderInfo":' * 50 + b"1" + b"}" * 50, "refused", "nested"),
        (b'{"error_response":{"code":"19","zh_desc":"access_token"}}', "refused", "zh_desc access_token"),
        (page("{}", code='"50"'), "refused", "code 50"),
        (page(f"{{{GOOD}}}"), "refused", "holds no order"),
        (page('{"apiResult":{"success":false,"chineseErrCode":"超时"},"orderInfoList":[]}'), "refused", "超时"),
        (page('{"apiResult":{"success":false},"orderInfoList":[{"orderId":"1"}]}'), "refused", "error"),
        (page('{"apiResult":{"success":"no"},"orderInfoList":[]}'), "refused", "error"),
        (page('{"orderInfoList":[]}'), "refused", "does not say that it succeeded"),
        (page(f'{{{GOOD},"orderTotal":0,"orderInfoList":[]}}'), "ignored", "empty page"),
        (page(f'{{{GOOD},"orderTotal":0,"orderInfoList":null}}'), "ignored", "empty page"),
        (page(f'{{{GOOD},"orderInfoList":[{{"orderId":"1","orderState":"LOCKED"}}]}}'), "hint", "without its lines"),
        (page("5"), "refused", "holds no result"),
        (b'{"jingdong_pop_order_search_responce":null}', "refused", "no object"),
        (b'{"orderId": 1.5, "itemInfoList":[{}]}', "refused", "fraction"),
        (b'{"orderId": 3.01e11, "itemInfoList":[{}]}', "refused", "fraction"),
        (b'{"orderId": {}, "itemInfoList":[{}]}', "refused", "no id"),
        (b'{"orderId": "0", "itemInfoList":[{}]}', "refused", "empty"),
        (b'{"orderId": "1", "x": {"c": 1, "c": 2}, "itemInfoList":[{}]}', "refused", "twice"),
        (b'{"method":"jingdong.pop.order.shipment"}', "refused", "a request to JD"),
    ],
)
def test_what_cannot_be_told_to_be_an_order_is_set_aside_with_its_reason(raw: bytes, kind: str, says: str) -> None:
    (found,) = JD.identify(raw, "shop")
    assert isinstance(found, Aside)
    assert found.kind == kind
    assert found.raw in raw
    assert says in found.reason


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id":900000001,"orderId":301000000005,"applyRefundSum":32900,"status":0}',
        b'{"orderId":"301000000005"}',
        b'{"topic":"ct_order","content":"{\\"orderId\\":301000000005}"}',
        b'{"topic":"ct_order","data":{"orderId":"301000000005"}}',
        (
            b'{"jingdong_asc_serviceAndRefund_view_responce":{"code":"0","pageResult":{"success":true,"totalCount":1,'
            b'"data":[{"afsRefundId":1,"refoundAmount":329.0,"sameOrderServiceBill":{"orderId":301000000005}}]}}}'
        ),
        (
            b'{"jingdong_pop_afs_soa_refundapply_queryPageList_responce":{"code":"0","queryResult":{"success":true,'
            b'"result":[{"orderId":"301000000005"}]}}}'
        ),
    ],
)
def test_an_after_sale_or_a_push_that_names_an_order_is_a_hint(raw: bytes) -> None:
    (found,) = JD.identify(raw, SHOP)
    assert isinstance(found, Aside)
    assert (found.kind, found.shop, found.order_no) == ("hint", SHOP, "301000000005")


@pytest.mark.parametrize(
    "raw",
    [
        (
            b'{"jingdong_pop_afs_soa_refundapply_queryPageList_responce":{"code":"0","queryResult":{"success":false,'
            b'"errorMessage":"limit","result":[]}}}'
        ),
        b'{"jingdong_asc_query_list_responce":{"code":"0","pageResult":{"success":true,"data":[{"id":1}]}}}',
        b'{"jingdong_asc_query_list_responce":{"code":"0","pageResult":{"success":true,"data":5}}}',
        b'{"sameOrderServiceBill":5}',
    ],
)
def test_a_failed_after_sale_answer_or_one_that_names_no_order_is_refused(raw: bytes) -> None:
    (found,) = JD.identify(raw, SHOP)
    assert isinstance(found, Aside)
    assert found.kind == "refused"


def test_ids_above_2_to_the_53_stay_exact() -> None:
    big = 9223372036854775807
    (found,) = JD.identify(encoded(order(orderId=big)), "")
    assert found.order_no == str(big)
    assert translated(order(line(skuId=big), orderId=big)).snapshot.lines[0].id == str(big)


def test_exactly_one_channel_recognises_each_order() -> None:
    channels = load()
    wrapped = page(f'{{{GOOD},"orderInfoList":[{json.dumps(order())}]}}')
    for raw in (encoded(order()), wrapped):
        found = recognise(channels, raw)
        assert found is not None
        assert found.name == "jd"
    for path in sorted(SAMPLES.parent.glob("*/*.json")):
        raw = path.read_bytes()
        if any(isinstance(part, Sliced) for part in JD.identify(raw, "shop")) or path.parent.name == "jd":
            looks = [name for name, channel in channels.items() if channel.sniff(raw)]
            assert looks == ["jd"] or (path.name == "signature_vectors.json" and not looks)


# ---- States, holds, after-sales --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("native", "status"),
    [
        *((native, "awaiting_payment") for native in ("NOT_PAY", "TRADE_CREATED", "UNPAID", "DengDaiFuKuan")),
        *((native, "paid") for native in ("WAIT_SELLER_STOCK_OUT", "DengDaiChuKu", "TRADE_PAYMENT")),
        *(
            (native, "allocating")
            for native in ("DengDaiDaYin", "DengDaiDaBao", "DengDaiFaHuo", "WAIT_SELLER_DELIVERY")
        ),
        ("WAIT_GOODS_RECEIVE_CONFIRM", "shipped"),
        ("DengDaiQueRenShouHuo", "shipped"),
        ("POP_ORDER_OUT_STORAGE", "shipped"),
        ("SEND_TO_DISTRIBUTION_CENER", "shipped"),
        ("DISTRIBUTION_CENTER_RECEIVED", "shipped"),
        *((native, "completed") for native in ("FINISHED_L", "WanCheng", "FINISH", "RECEIPTS_CONFIRM")),
        *((native, "cancelled") for native in ("TRADE_CANCELED", "PARENT_TRADE_CANCELED", "CANCEL")),
    ],
)
def test_each_native_state_has_its_meaning(native: str, status: str) -> None:
    snapshot = translated(order(orderState=native)).snapshot
    assert (snapshot.status, snapshot.native_status, snapshot.holds) == (status, native, ())
    lines = {"shipped": "shipped", "completed": "shipped", "cancelled": "cancelled"}
    assert snapshot.lines[0].state == lines.get(status, "open")
    assert snapshot.lines[0].after_sale == ""


@pytest.mark.parametrize(
    ("native", "hold"),
    [
        ("PAUSE", "paused"),
        ("ZanTing", "paused"),
        ("POP_ORDER_PAUSE", "paused"),
        ("WAIT_SEND_CODE", "wait_send_code"),
        ("LOCKED", "locked"),
        ("SuoDing", "locked"),
    ],
)
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"paymentConfirmTime": NEVER}, "awaiting_payment"),
        ({"paymentConfirmTime": NEVER, "payType": "1-货到付款"}, "paid"),
        ({}, "paid"),
        (
            {"partialLogisticsInfoModel": [{"logicId": 1, "waybillId": "A", "shipmentTime": 1794389405000}]},
            "allocating",
        ),
        ({"outBoundDate": "2026-11-12 10:00:00"}, "shipped"),
    ],
)
def test_a_state_that_only_stops_the_order_is_a_hold(
    native: str, hold: str, fields: dict[str, Any], status: str
) -> None:
    snapshot = translated(order(orderState=native, **fields)).snapshot
    assert (snapshot.status, snapshot.holds[0]) == (status, hold)


@pytest.mark.parametrize("native", ["DELIVERY_RETURN", "PeiSongTuiHuo", "ZiTiTuiHuo"])
def test_an_order_refused_on_delivery_is_shipped_and_in_after_sale(native: str) -> None:
    snapshot = translated(order(line(), line(skuId="2"), orderState=native)).snapshot
    assert snapshot.status == "shipped"
    assert [(one.state, one.after_sale) for one in snapshot.lines] == [("shipped", "open")] * 2


def test_a_split_parent_says_so() -> None:
    snapshot = translated(order(orderState="PARENT_TRADE_CANCELED")).snapshot
    assert snapshot.cancel_reason == "parent_cancelled"


def test_an_order_cancelled_after_it_left_does_not_take_its_goods_back() -> None:
    snapshot = translated(order(orderState="TRADE_CANCELED", outBoundDate="2026-11-12 10:00:00")).snapshot
    assert snapshot.shipped_at is not None
    assert snapshot.lines[0].state == "shipped"


def shipment(number: int, *skus: tuple[str, int]) -> dict[str, Any]:
    goods = [{"skuUuid": f"u{sku}", "skuId": int(sku), "num": num} for sku, num in skus]
    return {
        "shipmentId": number,
        "logicId": "467",
        "waybillId": f"SF{number}",
        "shipmentTime": 1794389405000,
        **({"skus": goods} if goods else {}),
    }


def test_a_part_shipped_order_knows_its_lines_and_parcels() -> None:
    snapshot = translated(
        order(line(skuId="1"), line(skuId="2"), partialLogisticsInfoModel=[shipment(8, ("1", 1))])
    ).snapshot
    assert (snapshot.status, snapshot.shipped_at, snapshot.holds) == ("allocating", None, ())
    assert [one.state for one in snapshot.lines] == ["shipped", "open"]
    assert [(one.carrier, one.tracking, one.lines) for one in snapshot.parcels] == [("467", "SF8", ("1",))]


@pytest.mark.parametrize("shipments", [[shipment(8)], [shipment(8, ("1", 2))], [shipment(8, ("1", 5)), shipment(9)]])
def test_where_no_line_can_say_what_is_left_of_it_the_order_is_held(shipments: list[dict[str, Any]]) -> None:
    snapshot = translated(order(line(skuId="1", itemTotal="5"), partialLogisticsInfoModel=shipments)).snapshot
    assert (snapshot.status, snapshot.holds) == ("allocating", ("line_partly_shipped",))


@pytest.mark.parametrize(
    ("carriers", "waybills", "parcels"),
    [
        ("467", "SF1", [("467", "SF1")]),
        ("467|2087", "SF1|JD1,JD2", [("467", "SF1"), ("2087", "JD1"), ("2087", "JD2")]),
        ("467", "SF1|SF2", [("467", "SF1"), ("467", "SF2")]),
        ("467|2087", "SF1", [("", "SF1")]),
        ("", "SF1,SF2", [("", "SF1"), ("", "SF2")]),
        ("467", "", []),
        ("467", " | , ", []),
        ("467", "SF1,SF1", [("467", "SF1")]),
    ],
)
def test_carriers_and_waybills_are_paired_and_none_is_guessed(
    carriers: str, waybills: str, parcels: list[tuple[str, str]]
) -> None:
    found = translated(
        order(orderState="FINISHED_L", logisticsId=carriers, waybill=waybills, outBoundDate="2026-11-12 10:00:00")
    ).snapshot
    assert [(one.carrier, one.tracking) for one in found.parcels] == parcels
    assert all(one.at == found.shipped_at for one in found.parcels)
    there = {*texts(found)}
    assert not carriers or carriers in there or set(carriers.split("|")) <= there


# ---- Lines, amounts, times -------------------------------------------------------------------------------------------


def test_a_line_reads_as_the_canonical_line() -> None:
    assert translated(order()).snapshot.lines == (
        Line(
            "10054887700001",
            "DRL-01",
            1,
            "电钻",
            "10054887700001",
            "",
            32900,
            0,
            32900,
            attributes={"wareId": "10020665900001"},
        ),
    )


def test_lines_of_one_sku_keep_their_ids_in_any_order() -> None:
    bought, gift = line(skuId="1", jdPrice="5.00"), line(skuId="1", jdPrice="0.00", skuName="【赠品】")
    for lines in ((bought, gift), (gift, bought)):
        found = translated(order(*lines, orderPayment="5.00")).snapshot.lines
        assert {one.id: (one.unit_price, one.gift) for one in found} == {"1": (500, False), "1#2": (0, True)}


def test_a_gift_named_by_a_coupon_needs_no_word_in_its_title() -> None:
    coupon = {"skuId": "2", "couponType": "30-满赠优惠", "couponPrice": "0.00"}
    lines = translated(order(line(), line(skuId="2", jdPrice="0.00"), couponDetailList=[coupon])).snapshot.lines
    assert [one.gift for one in lines] == [False, True]


def test_coupons_in_a_nested_list_are_the_same_coupons() -> None:
    coupons = [{"skuId": "", "couponType": "28-闪团优惠", "couponPrice": "29.00"}]
    fields = {"sellerDiscount": "29.00", "orderPayment": "300.00"}
    assert translated(order(couponDetailList=[coupons], **fields)) == translated(
        order(couponDetailList=coupons, **fields)
    )


def test_discounts_are_shared_out_to_the_last_fen() -> None:
    lines = [line(skuId=str(number), jdPrice=f"{number}.01", itemTotal="3") for number in range(1, 8)]
    coupons = [
        {"skuId": "", "couponType": "100-店铺优惠", "couponPrice": "10.00"},
        {"skuId": "3", "couponType": "41-京东券优惠", "couponPrice": "0.07"},
        {"skuId": "9", "couponType": "41-京东券优惠", "couponPrice": "0.10"},
    ]
    goods = sum(number * 100 + 1 for number in range(1, 8)) * 3
    payment = goods - 1000 - 7 - 10 + 600
    snapshot = translated(
        order(
            *lines,
            sellerDiscount="10.00",
            freightPrice="6.00",
            orderPayment=f"{payment / 100:.2f}",
            couponDetailList=coupons,
        )
    ).snapshot
    assert snapshot.amounts == Amounts("CNY", goods, 1017, 600, 0, payment, payment)
    assert sum(one.amount for one in snapshot.lines) == payment - 600
    assert all(one.amount >= 0 for one in snapshot.lines)
    assert "amount_mismatch" not in snapshot.attributes


def test_the_balance_at_jd_is_a_way_to_pay_and_no_discount() -> None:
    snapshot = translated(order(orderPayment="300.00", balanceUsed="29.00", couponDetailList=[])).snapshot
    assert (snapshot.amounts.payable, snapshot.amounts.discount, snapshot.amounts.paid) == (32900, 0, 32900)
    assert snapshot.attributes["balanceUsed"] == "29.00"
    assert "amount_mismatch" not in snapshot.attributes


def test_without_the_list_of_coupons_what_is_missing_is_a_discount() -> None:
    snapshot = translated(order(orderPayment="300.00")).snapshot
    assert (snapshot.amounts.payable, snapshot.amounts.discount) == (30000, 2900)
    assert snapshot.lines[0].amount == 30000
    assert "amount_mismatch" not in snapshot.attributes


def test_sums_that_do_not_agree_are_noted_with_their_figures() -> None:
    snapshot = translated(
        order(orderTotalPrice="330.00", orderSellerPrice="331.00", orderPayment="300.00", couponDetailList=[])
    ).snapshot
    assert snapshot.amounts.payable == 30000
    assert [(one["stated"], one["computed"]) for one in snapshot.attributes["amount_mismatch"]] == [
        (33000, 32900),
        (33100, 33000),
        (30000, 33100),
    ]


@pytest.mark.parametrize("pay_type", ["1-货到付款", "3-自提", 1])
def test_what_is_paid_at_the_door_is_not_paid_yet(pay_type: Any) -> None:
    snapshot = translated(order(payType=pay_type, paymentConfirmTime=NEVER)).snapshot
    assert (snapshot.status, snapshot.amounts.paid, snapshot.paid_at) == ("paid", 0, None)
    assert snapshot.attributes["payType"] == pay_type


@pytest.mark.parametrize("never", [NEVER, "1970-01-01 00:00:00", "", 0, "0", None, []])
def test_absent_times_of_any_spelling_are_absent(never: Any) -> None:
    plain = translated(order(orderState="FINISHED_L")).snapshot
    found = translated(order(orderState="FINISHED_L", outBoundDate=never, orderEndTime=never)).snapshot
    assert found == plain
    assert (found.shipped_at, found.completed_at) == (None, None)


def test_times_whose_meaning_does_not_fit_the_state_stay_attributes() -> None:
    snapshot = translated(
        order(orderState="NOT_PAY", orderEndTime="2026-11-11 01:00:00", outBoundDate="2026-11-11 02:00:00")
    ).snapshot
    assert (snapshot.paid_at, snapshot.shipped_at, snapshot.completed_at) == (None, None, None)
    assert snapshot.attributes["paymentConfirmTime"] == "2026-11-11 00:03:40"
    assert snapshot.attributes["orderEndTime"] == "2026-11-11 01:00:00"
    assert snapshot.attributes["outBoundDate"] == "2026-11-11 02:00:00"
    assert snapshot.lines[0].state == "open"


def test_of_two_views_of_one_second_the_version_stamp_tells_the_newer() -> None:
    first, second = (translated(order(dataVersion=stamp)).snapshot for stamp in ("1794326620001", 1794326620002))
    assert first.modified_at == second.modified_at
    assert first.revision < second.revision == 1794326620002


def test_without_a_modified_time_the_version_stamp_is_it_where_it_is_a_time() -> None:
    assert translated(order(modified=NEVER, dataVersion="1794326620001")).snapshot.modified_at.utc_ms == 1794326620001
    snapshot = translated(order(modified=None, dataVersion="7")).snapshot
    assert (snapshot.modified_at, snapshot.revision) == (snapshot.ordered_at, 7)


# ---- Invoices, parents, JSON in strings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"invoiceInfo": "不需要开具发票"}, "none"),
        ({"invoiceEasyInfo": {"invoiceType": "0"}}, "none"),
        ({"invoiceEasyInfo": {"invoiceType": 1}}, "normal"),
        ({"invoiceEasyInfo": {"invoiceType": "2"}}, "vat_special"),
        ({"invoiceEasyInfo": {"invoiceType": "3"}}, "electronic"),
        ({"invoiceEasyInfo": {"invoiceType": "9"}, "invoiceInfo": "发票类型:普通发票"}, None),
        ({"vatInfo": {"vatNo": "1"}, "invoiceEasyInfo": {"invoiceType": "0"}}, "vat_special"),
        ({"invoiceInfo": "发票类型:普通发票;发票抬头:电子专用公司"}, "normal"),
        ({"invoiceInfo": "发票类型:电子发票；发票抬头:个人"}, "electronic"),
        ({"invoiceInfo": "发票类型:增值税专用发票"}, "vat_special"),
        ({"invoiceInfo": "?"}, None),
        ({"vatInfo": None, "invoiceEasyInfo": []}, None),
        ({"invoiceEasyInfo": ""}, None),
    ],
)
def test_the_type_of_invoice_as_far_as_the_order_tells(fields: dict[str, Any], kind: str | None) -> None:
    assert translated(order(**fields)).snapshot.attributes.get("invoice_type") == kind


def test_a_child_order_names_its_parents() -> None:
    attributes = translated(order(parentOrderId="30", directParentOrderId=31)).snapshot.attributes
    assert (attributes["parent_order_id"], attributes["direct_parent_order_id"]) == ("30", "31")
    only = translated(order(parentOrderId="0", directParentOrderId="31")).snapshot.attributes
    assert only["parent_order_id"] == "31"
    assert "parent_order_id" not in translated(order(parentOrderId="0", directParentOrderId="0")).snapshot.attributes


@pytest.mark.parametrize(
    ("text", "known", "sealed"),
    [
        ('{"cid": "1", "isVMI": 0}', {"cid": "1", "isVMI": 0}, False),
        ('{"cid": "1", "who": "李明"}', {"cid": "1"}, True),
        ('{"cid": {"a": 1}}', None, True),
        ('{"cid": "1", "cid": "2"}', None, True),
        ('{"cid":"1", "cid" :"2"}', None, True),
        ("no JSON", None, True),
        ('["1"]', None, True),
        ({"cid": "1"}, {"cid": "1"}, False),
        (5, None, True),
        ("", None, False),
    ],
)
def test_json_in_a_string_is_read_as_far_as_it_is_known_and_never_lost(text: Any, known: Any, sealed: bool) -> None:
    found = translated(order(line(itemExt=text)))
    assert found.snapshot.lines[0].attributes.get("itemExt") == known
    assert found.personal.line_attributes == ({"10054887700001": {"itemExt": text}} if sealed else {})
    assert "李明" not in repr(found.snapshot)


def test_nothing_personal_is_in_the_snapshot() -> None:
    names = ("pin", "openIdBuyer", "orderRemark", "venderRemark", "invoiceInfo", "invoiceCode", "unknown")
    secret: dict[str, Any] = {name: f"secret-{name}" for name in names}
    consignee = {name: f"secret-{name}" for name in ("fullname", "mobile", "telephone", "fullAddress", "county", "who")}
    easy = {name: f"secret-{name}" for name in ("invoiceTitle", "invoiceConsigneeEmail", "invoiceConsigneePhone")}
    found = translated(
        order(
            line(unknown="secret-line"),
            **secret,
            consigneeInfo=consignee,
            invoiceEasyInfo=easy,
            vatInfo={"userName": "secret-vat"},
            couponDetailList=[{"couponType": "x", "couponPrice": 0, "who": "secret-coupon"}],
        )
    )
    assert "secret" not in repr(found.snapshot)
    for text in (*secret.values(), *consignee.values(), *easy.values(), "secret-line", "secret-vat", "secret-coupon"):
        assert text in repr(found.personal)


def test_the_shop_given_wins_over_the_vendors_number() -> None:
    assert translated(order(), shop="").snapshot.shop == SHOP
    snapshot = translated(order(), shop="main").snapshot
    assert (snapshot.shop, snapshot.attributes["venderId"]) == ("main", SHOP)


# ---- What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        (order(orderState="NEW_STATE"), "orderState"),
        (order(orderState=None), "orderState"),
        (order(orderState=["LOCKED"]), "orderState"),
        (order(orderStartTime=NEVER), "orderStartTime"),
        (order(orderStartTime="11/11/2026 00:05"), "orderStartTime"),
        (order(orderStartTime={}), "orderStartTime"),
        (order(modified="2026-02-30 00:00:00"), "modified"),
        (order(modified="2046-11-11 00:00:00"), "modified"),
        (order(paymentConfirmTime="2026-11-09 00:00:00"), "paymentConfirmTime"),
        (order(dataVersion="v2"), "dataVersion"),
        (order(dataVersion=-1), "dataVersion"),
        (order(dataVersion=10**30), "dataVersion"),
        (order(orderPayment=None), "orderPayment"),
        (order(orderPayment="-1.00"), "orderPayment"),
        (order(orderPayment="12.345"), "orderPayment"),
        (order(orderPayment="1000000000.01"), "orderPayment"),
        (order(sellerDiscount="-5.00"), "sellerDiscount"),
        (order(couponDetailList=[5]), "couponDetailList[0]"),
        (order(couponDetailList=[{"couponPrice": "-1.00"}]), "couponDetailList[0].couponPrice"),
        (order(couponDetailList=[{"skuId": 1.5}]), "couponDetailList[0].skuId"),
        (order(couponDetailList=[{"couponType": []}]), "couponDetailList[0].couponType"),
        (order(couponDetailList=[[[[{"a": 1}]]]]), "couponDetailList"),
        (order(itemInfoList=[]), "itemInfoList"),
        (order(itemInfoList=5), "itemInfoList"),
        (order(itemInfoList=["x"]), "itemInfoList[0]"),
        (order(line(skuId="")), "itemInfoList[0].skuId"),
        (order(line(skuId=1.5)), "itemInfoList[0].skuId"),
        (order(line(itemTotal="0")), "itemInfoList[0].itemTotal"),
        (order(line(itemTotal="-1")), "itemInfoList[0].itemTotal"),
        (order(line(itemTotal="two")), "itemInfoList[0].itemTotal"),
        (order(line(jdPrice="-1.00")), "itemInfoList[0].jdPrice"),
        (order(line(jdPrice=[1])), "itemInfoList[0].jdPrice"),
        (order(line(jdPrice="999999999.00", itemTotal="2")), "itemInfoList[0].jdPrice"),
        (order(line(skuId="1"), line(skuId="1"), line(skuId="1#2")), "itemInfoList"),
        (order(consigneeInfo={"fullname": {"a": 1}}), "consigneeInfo.fullname"),
        (order(partialLogisticsInfoModel=[{"shipmentTime": "soon"}]), "partialLogisticsInfoModel[0].shipmentTime"),
        (
            order(partialLogisticsInfoModel=[{"skus": [{"skuId": 1, "num": -2}]}]),
            "partialLogisticsInfoModel[0].skus[0].num",
        ),
        (order(orderId=None), "orderId"),
        (order(unknown=json.loads("[" * 100 + "]" * 100)), ""),
    ],
)
def test_what_cannot_be_translated_names_its_place(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(TranslationError) as refused:
        translated(fields)
    assert refused.value.where == where
    assert refused.value.reason


def test_a_shop_may_write_times_of_another_zone() -> None:
    found = JD.with_times(Times(zone="+00:00")).translate(encoded(order()), SHOP)
    assert isinstance(found, Translated)
    assert found.snapshot.ordered_at.utc_ms == translated(order()).snapshot.ordered_at.utc_ms + 8 * 3_600_000


def test_the_channel_declares_what_is_nobodys() -> None:
    assert "itemInfoList[].productNo" in JD.harmless
    assert "consigneeInfo.fullname" not in JD.harmless


def test_an_order_without_a_shop_is_refused_and_says_what_to_do() -> None:
    (found,) = JD.identify(encoded(order(venderId=None)), "")
    assert isinstance(found, Aside)
    assert "name the shop" in found.reason
    with pytest.raises(TranslationError, match="name the shop"):
        translated(order(venderId=None), shop="")


def test_400_lines_are_an_order() -> None:
    lines = [line(skuId=str(number), skuName=f"钻头 {number} 🔩", jdPrice="1.00") for number in range(1, 401)]
    snapshot = translated(order(*lines, orderPayment="100.00", couponDetailList=[], sellerDiscount="300.00")).snapshot
    assert len({one.id for one in snapshot.lines}) == 400
    assert sum(one.amount for one in snapshot.lines) == snapshot.amounts.payable == 10000
