"""Nothing is lost: each field of a source is found again, in the snapshot or sealed, whatever else was added to it."""

import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from itertools import count
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.channels.douyin import Douyin
from adapters.channels.douyin_fields import ORDER as DOUYIN_FORM
from adapters.channels.douyin_fields import Code
from adapters.channels.json_form import Form, Id, Listed, Money
from adapters.channels.taobao import Taobao
from adapters.channels.taobao_fields import TRADE as TAOBAO_FORM
from domain.canonical import Translated, TranslationError
from domain.ports import Channel, Sliced
from tests.unit import test_channel_douyin, test_channel_taobao

TAOBAO, DOUYIN = Taobao(), Douyin()

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
    if isinstance(value, bool) or not isinstance(value, (int, dict, list)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, dict):
        return {name: kept(inner) for name, inner in value.items()}
    return [kept(inner) for inner in value]


def stored(found: Translated) -> Translated:
    """Write and read it back, as the log does."""
    return msgspec.json.decode(msgspec.json.encode(found), type=Translated)


def taobao_trade() -> dict[str, Any]:
    line, trade = test_channel_taobao.line, test_channel_taobao.trade
    return trade(
        line(),
        line(oid=2960000000000000012),
        promotion_details={"promotion_detail": [{"id": 1, "promotion_name": "p"}]},
        service_orders={"service_order": [{"oid": 5, "title": "s"}]},
    )


def douyin_order() -> dict[str, Any]:
    line, order = test_channel_douyin.line, test_channel_douyin.shop_order
    address = {"province": {"name": "福建省", "id": "35"}, "encrypt_detail": "##d##"}
    return order(line(), line(order_id="6900000000000000003"), post_addr=address)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=40)
@given(extra_s, extra_s, extra_s, extra_s, extra_s)
def test_taobao_keeps_every_extra_field_at_every_level(
    of_trade: dict[str, Any],
    of_line: dict[str, Any],
    of_orders: dict[str, Any],
    of_promotion: dict[str, Any],
    of_services: dict[str, Any],
) -> None:
    trade = taobao_trade()
    plain = translate(TAOBAO, trade)
    trade |= of_trade
    trade["orders"]["order"][1] |= of_line
    trade["orders"] |= of_orders
    trade["promotion_details"]["promotion_detail"][0] |= of_promotion
    trade["service_orders"] |= of_services
    found = translate(TAOBAO, trade)
    assert found.snapshot == plain.snapshot
    expected = {**plain.personal.attributes, **kept(of_trade)}
    for path, extra in (
        ("orders", of_orders),
        ("promotion_details.promotion_detail[0]", of_promotion),
        ("service_orders", of_services),
    ):
        if extra:
            expected[path] = kept(extra)
    assert found.personal.attributes == expected
    assert found.personal.line_attributes == ({"2960000000000000012": kept(of_line)} if of_line else {})


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=40)
@given(extra_s, extra_s, extra_s, extra_s)
def test_douyin_keeps_every_extra_field_at_every_level(
    of_order: dict[str, Any], of_line: dict[str, Any], of_province: dict[str, Any], of_after_sale: dict[str, Any]
) -> None:
    order = douyin_order()
    plain = translate(DOUYIN, order)
    order |= of_order
    order["sku_order_list"][1] |= of_line
    order["sku_order_list"][1]["after_sale_info"] |= of_after_sale
    order["post_addr"]["province"] |= of_province
    found = translate(DOUYIN, order)
    assert found.snapshot == plain.snapshot
    expected = {**plain.personal.attributes, **kept(of_order)}
    for path, extra in (("post_addr.province", of_province), ("sku_order_list[1].after_sale_info", of_after_sale)):
        if extra:
            expected[path] = kept(extra)
    assert found.personal.attributes == expected
    assert found.personal.line_attributes == ({"6900000000000000003": kept(of_line)} if of_line else {})


def translate(channel: Channel, fields: dict[str, Any]) -> Translated:
    raw = json.dumps(fields, ensure_ascii=False).encode()
    (part,) = channel.identify(raw, "shop")
    assert isinstance(part, Sliced)
    assert part.raw == raw
    found = channel.translate(part.raw, part.shop)
    assert isinstance(found, Translated)
    return stored(found)


# ---- Known fields ----------------------------------------------------------------------------------------------------


def leaves(value: Any, form: Form[Any] | Listed | None = None, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Walk a source: name, value and declared default of each leaf."""
    if isinstance(value, dict):
        for member, inner in value.items():
            nested = form.nested.get(member) if isinstance(form, Form) else None
            default = form.harmless.get(member) if isinstance(form, Form) else None
            if isinstance(inner, (dict, list)):
                yield from leaves(inner, nested, member)
            else:
                yield member, inner, default
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, form.item if isinstance(form, Listed) else None, name)
    else:
        yield name, value, None


def texts(value: Any) -> Iterator[str]:
    """Walk what was made of it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from texts(inner)
    else:
        yield str(value)


TOLD_BY_STATUS = ("status", "refund_status", "order_status", "main_status", "pre_sale_type")
"""The canonical status says them; the unit tests of each channel check how."""


def missing(channel: Channel, form: Form[Any], fields: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the leaves that cannot be found again."""
    there = set(texts(msgspec.to_builtins(translate(channel, fields))))
    parts = {part for text in there for part in text.replace(";", "/").replace(":", "/").split("/")}
    lost = []
    for name, value, default in leaves(fields, form):
        fen = str(value).replace(".", "").lstrip("0") if isinstance(value, str) and value[-3:-2] == "." else None
        if (
            value is None
            or name in TOLD_BY_STATUS
            or value == default
            or not {str(value), fen}.isdisjoint(there | parts)
        ):
            continue
        lost.append((name, value))
    return lost


def filled(form: Form[Any], numbers: Iterator[int], given: dict[str, Any]) -> dict[str, Any]:
    """Fill each field of a form with a value that stands nowhere else."""
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(form.struct):
        name, kind, number = field.name, field.type, next(numbers)
        nested = form.nested.get(name)
        if name in given:
            fields[name] = given[name]
        elif isinstance(nested, Listed):
            fields[name] = [filled(nested.item, numbers, given) for _ in range(2)]
        elif nested is not None:
            fields[name] = filled(nested, numbers, given)
        elif name.endswith("_time") or name in ("created", "modified"):
            fields[name] = (
                1794326700 + number if Code == kind else f"2026-11-11 {number // 100 % 24:02d}:{number % 60:02d}:07"
            )
        elif kind == Money:
            fields[name] = f"{number}.57"
        elif kind in (Id, Code):
            fields[name] = number
        else:
            fields[name] = f"text-{number}"
    return fields


TAOBAO_CHOICES: dict[str, Any] = {
    "tid": 11,
    "tid_str": "11",
    "oid_str": None,
    "status": "WAIT_BUYER_CONFIRM_GOODS",
    "refund_status": "WAIT_SELLER_AGREE",
    "step_trade_status": "FRONT_PAID_FINAL_PAID",
    "top_hold": 1,
    "team_buy_hold": "true",
    "forbid_consign": True,
    "ofp_hold": 1,
    "num": 7,
}
DOUYIN_CHOICES: dict[str, Any] = {
    "order_status": 3,
    "main_status": 3,
    "trade_type": 2,
    "pre_sale_type": 2,
    "product_id_str": None,
    "room_id_str": None,
    "after_sale_status": 6,
    "refund_status": 1,
    "pay_success": True,
    "item_num": 7,
    "order_expire_time": 1807,
    "pay_type": 2,
}


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(st.data())
def test_taobao_reproduces_every_field_it_knows(data: st.DataObject) -> None:
    trade = filled(TAOBAO_FORM, count(1001), TAOBAO_CHOICES)
    thin_out(data, trade, {"tid", "tid_str", "status", "created", "payment", "orders"})
    for line in trade["orders"]["order"]:
        thin_out(data, line, {"oid", "num", "price"})
    assert missing(TAOBAO, TAOBAO_FORM, trade) == []


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(st.data())
def test_douyin_reproduces_every_field_it_knows(data: st.DataObject) -> None:
    order = filled(DOUYIN_FORM, count(1001), DOUYIN_CHOICES)
    thin_out(data, order, {"order_id", "order_status", "create_time", "pay_amount", "sku_order_list"})
    for line in order["sku_order_list"]:
        thin_out(data, line, {"order_id", "item_num", "origin_amount"})
    assert missing(DOUYIN, DOUYIN_FORM, order) == []


def thin_out(data: st.DataObject, fields: dict[str, Any], needed: set[str]) -> None:
    """Leave some fields out, never the needed ones."""
    for name in data.draw(st.sets(st.sampled_from(sorted(set(fields) - needed)), max_size=8)):
        del fields[name]


# ---- Anything at all -------------------------------------------------------------------------------------------------

wrong_s: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "x", 0, -1, 1.5, 10**30, True, [], {}, [1], {"a": 1}, [[]], [{}], "2026-13-01 00:00:00", "1e5", "\x00"]
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=200)
@given(st.data(), st.booleans())
def test_a_damaged_order_is_translated_or_refused_and_nothing_else(data: st.DataObject, of_taobao: bool) -> None:
    form, given_values, channel = (
        (TAOBAO_FORM, TAOBAO_CHOICES, TAOBAO) if of_taobao else (DOUYIN_FORM, DOUYIN_CHOICES, DOUYIN)
    )
    fields = filled(form, count(1001), given_values)
    for _ in range(data.draw(st.integers(1, 4))):
        spot: Any = fields
        while True:
            name = data.draw(st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot))))
            if not isinstance(spot[name], (dict, list)) or not spot[name] or data.draw(st.booleans()):
                break
            spot = spot[name]
        spot[name] = deepcopy(data.draw(wrong_s))
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


@given(st.binary(max_size=200) | json_s.map(lambda value: json.dumps(value).encode()), st.booleans())
def test_any_bytes_are_cut_and_translated_or_refused(raw: bytes, of_taobao: bool) -> None:
    channel: Channel = TAOBAO if of_taobao else DOUYIN
    channel.sniff(raw)
    parts = channel.identify(raw, "shop")
    assert parts
    assert all(part.raw in raw for part in parts)
    with suppress(TranslationError):
        channel.translate(raw, "shop")


@given(st.integers(0, 2000), st.sampled_from([b"[", b'{"a":', b'{"tid":1,"orders":', b'{"sku_order_list":']))
def test_depth_is_never_a_crash(depth: int, opening: bytes) -> None:
    raw = opening * depth
    for channel in (TAOBAO, DOUYIN):
        channel.identify(raw, "shop")
        with suppress(TranslationError):
            channel.translate(raw, "shop")
