"""Nothing is lost: each field of a source is found again, in the snapshot or sealed, whatever else was added to it."""

import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.channels.douyin import Douyin
from adapters.channels.douyin_fields import ORDER as DOUYIN_FORM
from adapters.channels.douyin_fields import Code
from adapters.channels.generic import GenericLine, GenericOrder, GenericParcel, GenericReceiver
from adapters.channels.json_form import Form, Id, Listed, Money
from adapters.channels.miniprogram_fields import EVENT as MINIPROGRAM_FORM
from adapters.channels.shopify_fields import ORDER as SHOPIFY_FORM
from adapters.channels.taobao import Taobao
from adapters.channels.taobao_fields import TRADE as TAOBAO_FORM
from adapters.channels.wechat_shop_fields import ORDER as WECHAT_FORM
from domain.canonical import Translated, TranslationError
from domain.ports import Channel, Sliced
from tests.channel_samples import ORDERED_MS, SAMPLES, STATUSES, Sample, encoded, objects, translated
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


EACH = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)


@EACH
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)
@given(st.data())
def test_whatever_is_added_to_any_object_of_a_payload_is_sealed_whole(sample: Sample, data: st.DataObject) -> None:
    fields = json.loads(encoded(sample.make(1, data.draw(st.sampled_from(STATUSES)), ORDERED_MS, ORDERED_MS + 1000)))
    plain = stored(translated(sample, fields))
    spots = list(objects(fields, sample.free))
    added = []
    for number, spot in enumerate(data.draw(st.lists(st.sampled_from(range(len(spots))), min_size=1, max_size=4))):
        name = f"x_{number}_{data.draw(st.text(st.characters(exclude_categories=['Cs']), max_size=5))}"
        spots[spot][name] = data.draw(json_s)
        added.append((name, kept(spots[spot][name])))
    found = stored(translated(sample, fields))
    assert found.snapshot == plain.snapshot
    sealed = list(objects(msgspec.to_builtins(found.personal)))
    for name, value in added:
        assert [each[name] for each in sealed if name in each] == [value]


@EACH
def test_a_field_that_is_called_like_the_path_of_an_object_is_kept_beside_what_stands_there(sample: Sample) -> None:
    def made() -> dict[str, Any]:
        return json.loads(encoded(sample.make(1, STATUSES[-1], ORDERED_MS, ORDERED_MS + 1000)))  # type: ignore[no-any-return]

    for spot in range(1, len(list(objects(made(), sample.free)))):
        fields = made()
        list(objects(fields, sample.free))[spot]["x_inner"] = spot
        sealed = stored(translated(sample, fields)).personal.attributes
        for name in [name for name, value in sealed.items() if value == {"x_inner": spot} and name not in fields]:
            fields[name] = "outer"
            fields[f'"{name}"'] = "quoted"
            found = stored(translated(sample, fields)).personal.attributes
            assert found[name] == {"x_inner": spot}
            assert {"outer", "quoted"} <= {value for value in found.values() if isinstance(value, str)}


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


TOLD_BY_STATUS = (
    *("status", "refund_status", "order_status", "main_status", "pre_sale_type"),
    *("kind", "state", "after_sale", "is_gift", "test", "taxes_included", "current_quantity", "total_outstanding"),
)
"""Canonical fields say them in their own words; the unit tests of each channel check how."""


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
        elif name.endswith(("_time", "_at")) or name in ("created", "modified", "pay_by"):
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


WECHAT_CHOICES: dict[str, Any] = {
    "status": 30,
    "sku_cnt": 7,
    "payment_method": 2,
    "stock_type": 1,
    "on_aftersale_sku_cnt": 3,
    "finish_aftersale_sku_cnt": 2,
    "delivery_deadline": 1794999999,
    "unionid": "union-1",
}
MINIPROGRAM_CHOICES: dict[str, Any] = {
    "status": "shipped",
    "kind": "presale",
    "state": "cancelled",
    "after_sale": "open",
    "currency": "KWD",
    "qty": 7,
    "is_gift": True,
    "holds": ["hold-1", "hold-2"],
    "line_ids": ["a", "b"],
}
SHOPIFY_CHOICES: dict[str, Any] = {
    "financial_status": "paid",
    "fulfillment_status": "fulfilled",
    "status": "success",
    "currency": "USD",
    "quantity": 7,
    "current_quantity": 6,
    "restock_type": "return",
    "returns": [{"id": 71, "status": "closed", "name": "#1-R1"}],
    "tracking_numbers": ["T-1", "T-2"],
    "test": True,
    "taxes_included": True,
}


@pytest.mark.parametrize(
    ("name", "form", "choices", "needed", "of_lines"),
    [
        (
            "wechat_shop",
            WECHAT_FORM,
            WECHAT_CHOICES,
            {"order_id", "status", "create_time", "order_detail"},
            {"product_id", "sku_cnt", "sale_price"},
        ),
        (
            "miniprogram",
            MINIPROGRAM_FORM.nested["order"],
            MINIPROGRAM_CHOICES,
            {"order_no", "status", "created_at", "payable_fen", "lines"},
            {"line_id", "qty", "unit_price_fen"},
        ),
        (
            "shopify",
            SHOPIFY_FORM,
            SHOPIFY_CHOICES,
            {"id", "financial_status", "created_at", "currency", "total_price", "line_items"},
            {"id", "quantity", "price"},
        ),
    ],
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=30)
@given(st.data())
def test_every_known_field_is_reproduced(
    name: str, form: Form[Any], choices: dict[str, Any], needed: set[str], of_lines: set[str], data: st.DataObject
) -> None:
    fields = filled(form, count(1001), choices)
    thin_out(data, fields, needed)
    lines = fields.get("order_detail", fields)
    for line in next(lines[word] for word in ("product_infos", "line_items", "lines") if word in lines):
        thin_out(data, line, of_lines)
    assert missing(SAMPLES[name].channel, form, fields) == []


def generic_filled(kind: type[msgspec.Struct], numbers: Iterator[int]) -> dict[str, Any]:
    """Fill each field of our own contract, amounts in decimals."""
    given_values: dict[str, Any] = {
        "status": "已发货",
        "kind": "预售",
        "state": "cancelled",
        "after_sale": "售后中",
        "currency": "KWD",
        "quantity": 7,
        "gift": True,
        "zone": "America/New_York",
        "revision": 41,
    }
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        name, number = field.name, next(numbers)
        if name in given_values:
            fields[name] = given_values[name]
        elif name.endswith("_minor"):
            continue
        elif f"{name}_minor" in kind.__struct_fields__:
            fields[name] = f"{number}.573"
        elif name.endswith("_at") or name == "pay_by":
            fields[name] = f"2026-11-11 {number // 100 % 24:02d}:{number % 60:02d}:07"
        elif name in ("attributes", "private", "messages"):
            fields[name] = {f"name-{number}": f"text-{number}"}
        elif name == "holds":
            fields[name] = [f"hold-{number}"]
        elif name == "receiver":
            fields[name] = generic_filled(GenericReceiver, numbers)
        elif name == "parcels":
            fields[name] = [{**generic_filled(GenericParcel, numbers), "lines": None}]
        elif kind is GenericOrder and name == "lines":
            fields[name] = [generic_filled(GenericLine, numbers) for _ in range(2)]
        elif name != "lines":
            fields[name] = f"text-{number}"
    return fields


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=30)
@given(st.data())
def test_our_own_contract_is_reproduced_field_by_field(data: st.DataObject) -> None:
    fields = generic_filled(GenericOrder, count(1001))
    thin_out(data, fields, {"order_no", "status", "currency", "ordered_at", "payable", "lines", "revision", "kind"})
    for line in fields["lines"]:
        thin_out(data, line, {"id", "quantity", "unit_price"})
    there = set(texts(msgspec.to_builtins(translate(SAMPLES["generic"].channel, fields))))
    lost = [
        (name, value)
        for name, value, _ in leaves(fields)
        if value is not None
        and name not in ("status", "kind", "state", "after_sale", "zone")
        and {str(value), str(value).replace(".", "")}.isdisjoint(there)
    ]
    assert lost == []


def thin_out(data: st.DataObject, fields: dict[str, Any], needed: set[str]) -> None:
    """Leave some fields out, never the needed ones."""
    for name in data.draw(st.sets(st.sampled_from(sorted(set(fields) - needed)), max_size=8)):
        del fields[name]


# ---- Anything at all -------------------------------------------------------------------------------------------------

wrong_s: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "x", 0, -1, 1.5, 10**30, True, [], {}, [1], {"a": 1}, [[]], [{}], "2026-13-01 00:00:00", "1e5", "\x00"]
)


@EACH
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=100)
@given(st.data())
def test_a_damaged_order_is_translated_or_refused_and_nothing_else(sample: Sample, data: st.DataObject) -> None:
    fields = json.loads(encoded(sample.make(1, data.draw(st.sampled_from(STATUSES)), ORDERED_MS, ORDERED_MS + 1000)))
    form = FORMS.get(sample.name)
    if form is not None and data.draw(st.booleans()):
        fields = deepcopy(filled(form[0], count(1001), form[1]))  # what it is filled from serves the next one, too
    for _ in range(data.draw(st.integers(1, 4))):
        spot: Any = fields
        while True:
            name = data.draw(st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot))))
            if not isinstance(spot[name], (dict, list)) or not spot[name] or data.draw(st.booleans()):
                break
            spot = spot[name]
        if isinstance(spot, dict) and data.draw(st.booleans()):
            del spot[name]
        else:
            spot[name] = deepcopy(data.draw(wrong_s))
        if not fields:
            break
    for part in sample.channel.identify(encoded(fields), "shop"):
        if isinstance(part, Sliced):
            try:
                found = sample.channel.translate(part.raw, part.shop)
            except TranslationError as refused:
                assert refused.reason  # noqa: PT017 -- either way is right; the reason must be there
            else:
                assert isinstance(found, Translated)
                assert stored(found) == found


FORMS: dict[str, tuple[Form[Any], dict[str, Any]]] = {
    "taobao": (TAOBAO_FORM, TAOBAO_CHOICES),
    "douyin": (DOUYIN_FORM, DOUYIN_CHOICES),
    "wechat_shop": (WECHAT_FORM, WECHAT_CHOICES),
    "miniprogram": (MINIPROGRAM_FORM, MINIPROGRAM_CHOICES),
    "shopify": (SHOPIFY_FORM, SHOPIFY_CHOICES),
}


@EACH
@given(st.binary(max_size=200) | json_s.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_cut_and_translated_or_refused(sample: Sample, raw: bytes) -> None:
    channel = sample.channel
    channel.sniff(raw)
    parts = channel.identify(raw, "shop")
    assert parts
    assert all(part.raw in raw for part in parts)
    with suppress(TranslationError):
        channel.translate(raw, "shop")


@given(
    st.integers(0, 2000),
    st.sampled_from(
        [b"[", b'{"a":', b'{"tid":1,"orders":', b'{"sku_order_list":', b'{"orders":', b'{"order":', b'{"order_detail":']
    ),
)
def test_depth_is_never_a_crash(depth: int, opening: bytes) -> None:
    raw = opening * depth
    for sample in SAMPLES.values():
        sample.channel.identify(raw, "shop")
        with suppress(TranslationError):
            sample.channel.translate(raw, "shop")
