"""JD and Pinduoduo: nothing is lost, shares add up, and no payload, however damaged, does more than be refused."""

import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from itertools import count
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.channels.jd import Jd
from adapters.channels.jd_fields import ORDER as JD_FORM
from adapters.channels.json_form import Form, Listed, Money
from adapters.channels.pinduoduo import Pinduoduo
from adapters.channels.pinduoduo_fields import ORDER as PDD_FORM
from adapters.channels.wire_lines import numbered, spread
from domain.canonical import Translated, TranslationError
from domain.ports import Aside, Channel, Sliced
from tests.unit import test_channel_jd, test_channel_pinduoduo

JD, PDD = Jd(), Pinduoduo()
SLOW = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=40)

json_s = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
extra_s = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).map("x_{}".format), json_s
)


def kept(value: Any) -> Any:
    """What must be found for a value of the source: numbers that no machine type holds are text."""
    if isinstance(value, dict):
        return {name: kept(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [kept(inner) for inner in value]
    return str(value) if type(value) is int and not -(2**63) <= value < 2**63 else value


def stored(found: Translated) -> Translated:
    """Write and read it back, as the log does."""
    return msgspec.json.decode(msgspec.json.encode(found), type=Translated)


def translate(channel: Channel, fields: dict[str, Any]) -> Translated:
    raw = json.dumps(fields, ensure_ascii=False).encode()
    (part,) = channel.identify(raw, "shop")
    assert isinstance(part, Sliced), part
    assert part.raw == raw
    found = channel.translate(part.raw, part.shop)
    assert isinstance(found, Translated)
    return stored(found)


# ---- Unknown fields --------------------------------------------------------------------------------------------------


@SLOW
@given(extra_s, extra_s, extra_s, extra_s, extra_s)
def test_jd_keeps_every_extra_field_at_every_level(
    of_order: dict[str, Any],
    of_line: dict[str, Any],
    of_parcel: dict[str, Any],
    of_coupon: dict[str, Any],
    of_receiver: dict[str, Any],
) -> None:
    line, order = test_channel_jd.line, test_channel_jd.order
    fields = order(
        line(),
        line(skuId="2"),
        partialLogisticsInfoModel=[{"logicId": "1", "waybillId": "A"}],
        couponDetailList=[{"couponType": "28-闪团优惠", "couponPrice": "1.00"}],
        consigneeInfo={"fullname": "王**"},
        invoiceEasyInfo={"invoiceType": "1"},
    )
    plain = translate(JD, fields)
    fields |= of_order
    fields["itemInfoList"][1] |= of_line
    fields["partialLogisticsInfoModel"][0] |= of_parcel
    fields["couponDetailList"][0] |= of_coupon
    fields["consigneeInfo"] |= of_receiver
    found = translate(JD, fields)
    assert found.snapshot == plain.snapshot
    expected = {**plain.personal.attributes, **kept(of_order)}
    for path, extra in (
        ("partialLogisticsInfoModel[0]", of_parcel),
        ("couponDetailList[0]", of_coupon),
        ("consigneeInfo", of_receiver),
    ):
        if extra:
            expected[path] = kept(extra)
    assert found.personal.attributes == expected
    assert found.personal.line_attributes == ({"2": kept(of_line)} if of_line else {})


@SLOW
@given(extra_s, extra_s, extra_s, extra_s, extra_s)
def test_pinduoduo_keeps_every_extra_field_at_every_level(
    of_order: dict[str, Any],
    of_line: dict[str, Any],
    of_gift: dict[str, Any],
    of_step: dict[str, Any],
    of_ware: dict[str, Any],
) -> None:
    item, order = test_channel_pinduoduo.item, test_channel_pinduoduo.order
    fields = order(
        item(),
        item(sku_id="2"),
        gift_list=[item(sku_id="3")],
        step_order_info=dict(test_channel_pinduoduo.STEP),
        order_depot_info={"depot_code": "W1", "ware_sub_info_list": [{"ware_sn": "A"}]},
    )
    plain = translate(PDD, fields)
    fields |= of_order
    fields["item_list"][1] |= of_line
    fields["gift_list"][0] |= of_gift
    fields["step_order_info"] |= of_step
    fields["order_depot_info"]["ware_sub_info_list"][0] |= of_ware
    found = translate(PDD, fields)
    assert found.snapshot == plain.snapshot
    expected = {**plain.personal.attributes, **kept(of_order)}
    for path, extra in (("step_order_info", of_step), ("order_depot_info.ware_sub_info_list[0]", of_ware)):
        if extra:
            expected[path] = kept(extra)
    assert found.personal.attributes == expected
    lines = {"2": kept(of_line), "gift-3": kept(of_gift)}
    assert found.personal.line_attributes == {name: extra for name, extra in lines.items() if extra}


# ---- Known fields ----------------------------------------------------------------------------------------------------


def filled(form: Form[Any], numbers: Iterator[int], given_values: dict[str, Any]) -> dict[str, Any]:
    """Fill each field of a form with a value that stands nowhere else."""
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(form.struct):
        name, number, nested = field.name, next(numbers), form.nested.get(field.name)
        if name in given_values:
            fields[name] = deepcopy(given_values[name])
        elif isinstance(nested, Listed):
            fields[name] = [filled(nested.item, numbers, given_values) for _ in range(2)]
        elif nested is not None:
            fields[name] = filled(nested, numbers, given_values)
        elif _is_time(name, form):
            fields[name] = f"2026-11-11 {number // 60 % 24:02d}:{number % 60:02d}:07"
        elif field.type == Money:
            fields[name] = f"{number}.57"
        else:
            fields[name] = f"text-{number}" if field.type != int | str | None else number
    return fields


def _is_time(name: str, form: Form[Any]) -> bool:
    read = name not in form.harmless
    return read and name.endswith(("Time", "Date", "_time", "_at", "modified")) and name != "modified_at"


JD_CHOICES: dict[str, Any] = {
    "orderState": "WAIT_GOODS_RECEIVE_CONFIRM",
    "itemTotal": "7",
    "num": 3,
    "dataVersion": 1794326620001,
    "couponDetailList": [
        {"orderId": "99", "skuId": "88", "couponType": "28-闪团优惠", "couponPrice": "1234.57"},
        {"couponType": "39-京豆优惠", "couponPrice": "4321.57", "skuId": ""},
    ],
    "vatInfo": {"vatNo": "text-vat", "inner": [{"deep": "text-deep"}]},
    "itemExt": '{"cid": "text-cid", "who": "text-who"}',
    "waybill": "W1|W2,W3",
    "logisticsId": "C1|C2",
}
PDD_CHOICES: dict[str, Any] = {
    "confirm_status": 1,
    "order_status": 2,
    "refund_status": 2,
    "after_sales_status": 8,
    "group_status": 1,
    "risk_control_status": 1,
    "step_trade_status": 2,
    "trade_type": 1,
    "is_pre_sale": 1,
    "invoice_status": 1,
    "gift_order_status": 2,
    "home_delivery_type": 2,
    "goods_count": 7,
    "card_info_list": [{"card_no": "text-card"}],
}
TOLD = ("confirm_status", "order_status", "refund_status", "group_status", "invoice_status")
"""The native status and the canonical fields say them; the unit tests check how."""


def found_texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from found_texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from found_texts(inner)
    else:
        yield str(value)
        yield from str(value).split("/")


def source_leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for member, inner in value.items():
            yield from source_leaves(inner, member)
    elif isinstance(value, list):
        for inner in value:
            yield from source_leaves(inner, name)
    else:
        yield name, value


def missing(channel: Channel, fields: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the leaves that cannot be found again."""
    there = set(found_texts(msgspec.to_builtins(translate(channel, fields))))
    lost = []
    for name, value in source_leaves(fields):
        fen = str(value).replace(".", "").lstrip("0") if str(value)[-3:-2] == "." else str(value)
        if name not in TOLD and value not in (None, "") and there.isdisjoint((str(value), fen)):
            lost.append((name, value))
    return lost


def thin_out(data: st.DataObject, fields: dict[str, Any], needed: set[str]) -> None:
    """Leave some fields out, never the needed ones."""
    for name in data.draw(st.sets(st.sampled_from(sorted(set(fields) - needed)), max_size=8)):
        del fields[name]


@SLOW
@given(st.data())
def test_jd_reproduces_every_field_it_knows(data: st.DataObject) -> None:
    order = filled(JD_FORM, count(1001), JD_CHOICES)
    thin_out(data, order, {"orderId", "orderState", "orderStartTime", "orderPayment", "itemInfoList"})
    for line in order["itemInfoList"]:
        thin_out(data, line, {"skuId", "itemTotal", "jdPrice"})
    assert missing(JD, order) == []


@SLOW
@given(st.data())
def test_pinduoduo_reproduces_every_field_it_knows(data: st.DataObject) -> None:
    order = filled(PDD_FORM, count(1001), PDD_CHOICES)
    needed = {"order_sn", "created_time", "confirm_status", "order_status", "refund_status", "pay_amount", "item_list"}
    thin_out(data, order, needed)
    for line in order["item_list"]:
        thin_out(data, line, {"sku_id", "goods_count", "goods_price"})
    assert missing(PDD, order) == []


# ---- Anything at all -------------------------------------------------------------------------------------------------

wrong_s: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, "", "x", 0, -1, 1.5, 9.0, 10**30, -(10**30), True, "-5.00", "1e5", "1e999999", "\x00", "٣", "９"),
        *([], {}, [1], {"a": 1}, [[]], [{}], [[{}]], "{}", '{"cid":', "[" * 200, "|", ",", "\u202e", "z" * 5000),
        *("2026-13-01 00:00:00", "0001-01-01 00:00:00", 253402300800000, 99999999999999999999),
    ]
)
CHANNELS: dict[str, tuple[Channel, Form[Any], dict[str, Any]]] = {
    "jd": (JD, JD_FORM, JD_CHOICES),
    "pinduoduo": (PDD, PDD_FORM, PDD_CHOICES),
}
channel_s = st.sampled_from(sorted(CHANNELS))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(st.data(), channel_s)
def test_a_damaged_order_is_translated_or_refused_and_nothing_else(data: st.DataObject, name: str) -> None:
    channel, form, given_values = CHANNELS[name]
    fields = filled(form, count(1001), given_values)
    for _ in range(data.draw(st.integers(1, 4))):
        spot: Any = fields
        while True:
            key = data.draw(st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot))))
            if not isinstance(spot[key], (dict, list)) or not spot[key] or data.draw(st.booleans()):
                break
            spot = spot[key]
        spot[key] = deepcopy(data.draw(wrong_s | json_s))
    raw = json.dumps(fields).encode()
    for part in channel.identify(raw, "shop"):
        if isinstance(part, Sliced):
            try:
                found = channel.translate(part.raw, part.shop)
            except TranslationError as refused:
                assert refused.reason  # noqa: PT017 -- either way is right; the reason must be there
            else:
                assert isinstance(found, Translated)
                assert stored(found) == found
                snapshot = found.snapshot
                assert len({line.id for line in snapshot.lines}) == len(snapshot.lines)
                assert all(
                    0 <= line.amount == line.unit_price * line.quantity - line.discount for line in snapshot.lines
                )
        else:
            assert part.reason
            assert bool(part.order_no) == (part.kind == "hint")


NAMES = (
    *("orderId", "orderState", "itemInfoList", "venderId", "apiResult", "success", "code", "orderInfoList", "result"),
    *("orderInfo", "searchorderinfo_result", "jingdong_pop_order_get_responce", "queryResult", "data", "content"),
    *("order_sn", "item_list", "order_list", "order_sn_list", "order_info", "refund_list", "mall_id", "commandType"),
    *("order_info_get_response", "order_list_get_response", "error_response", "message", "type", "tid", "mallID"),
)
envelope_s = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["0", "Common", "pdd_trade_X", '{"tid":"1"}', "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | json_s.map(lambda value: json.dumps(value).encode())
    | envelope_s.map(lambda value: json.dumps(value).encode()),
    channel_s,
)
def test_any_bytes_are_cut_and_translated_or_refused(raw: bytes, name: str) -> None:
    channel = CHANNELS[name][0]
    channel.sniff(raw)
    parts = channel.identify(raw, "shop")
    assert parts
    assert all(part.raw in raw for part in parts)
    assert all(part.reason for part in parts if isinstance(part, Aside))
    for part in parts:
        with suppress(TranslationError):
            channel.translate(part.raw, "shop")


@given(
    st.integers(0, 2000), st.sampled_from([b"[", b'{"a":', b'{"orderInfo":', b'{"itemInfoList":', b'{"order_info":'])
)
def test_depth_is_never_a_crash(depth: int, opening: bytes) -> None:
    raw = opening * depth
    for channel in (JD, PDD):
        channel.identify(raw, "shop")
        with suppress(TranslationError):
            channel.translate(raw, "shop")


# ---- What lines lack on the wire -------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**9), max_size=40), st.data())
def test_shares_add_up_and_none_is_larger_than_its_line(weights: list[int], data: st.DataObject) -> None:
    amount = data.draw(st.integers(0, sum(weights)))
    shares = spread(amount, weights)
    assert sum(shares) == amount
    assert all(0 <= share <= weight for share, weight in zip(shares, weights, strict=True))
    exact = [amount * weight / sum(weights) if sum(weights) else 0 for weight in weights]
    assert all(abs(share - fair) <= 1 for share, fair in zip(shares, exact, strict=True))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(1, 3)), max_size=8), st.randoms())
def test_lines_are_numbered_alike_in_any_order(lines: list[tuple[str, int, int]], random: Any) -> None:
    def named(found: list[tuple[str, int, int]]) -> list[tuple[str, int, int, str]]:
        ids = numbered([name for name, _, _ in found], [(price, units) for _, price, units in found], "lines")
        assert len(set(ids)) == len(ids)
        return sorted((*line, line_id) for line, line_id in zip(found, ids, strict=True))

    shuffled = list(lines)
    random.shuffle(shuffled)
    assert named(shuffled) == named(lines)
