"""The generic channel: what a merchant's own shop or ERP sends becomes the order it is, or is told what is wrong."""

import json
from typing import Any, get_args

import msgspec
import pytest

from adapters.channels import own_words
from adapters.channels.generic import Generic, GenericOrder, GenericOrders
from adapters.channels.generic_contract import AfterSaleWord, KindWord, StateWord, StatusWord
from domain.canonical import Amounts, Line, Parcel, SourceTime, Translated, TranslationError
from domain.mapping_table import Times
from domain.ports import Aside, Sliced

GENERIC = Generic()


def line(**fields: Any) -> dict[str, Any]:
    return {"id": "1", "sku": "DRL-01", "quantity": 2, "unit_price": "329.00", **fields}


def order(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "order_no": "A-1",
        "status": "paid",
        "currency": "CNY",
        "ordered_at": "2026-11-11T00:05:00+08:00",
        "modified_at": "2026-11-11T00:05:20+08:00",
        "payable": "658.00",
        "lines": list(lines) or [line()],
        **fields,
    }


def translated(fields: dict[str, Any], shop: str = "erp") -> Translated:
    return GENERIC.translate(json.dumps(fields, ensure_ascii=False).encode(), shop)


def test_the_smallest_order_that_can_be_sent() -> None:
    found = translated(order()).snapshot
    assert (found.channel, found.shop, found.order_no) == ("generic", "erp", "A-1")
    assert (found.status, found.native_status, found.kind) == ("paid", "paid", "normal")
    assert found.amounts == Amounts("CNY", 65800, 0, 0, 0, 65800, 65800)
    assert found.ordered_at == SourceTime(
        "2026-11-11T00:05:00+08:00", 1794326700000, 480, "2026-11-11T00:05:00.000+08:00"
    )
    assert found.modified_at.utc_ms == 1794326720000
    assert found.lines == (Line("1", "DRL-01", 2, unit_price=32900, amount=65800),)
    assert found.attributes == {}


def test_everything_that_can_be_said_has_its_place() -> None:
    fields = order(
        line(
            item="I/V",
            name="电钻",
            spec="标准",
            discount="58.00",
            gift=False,
            state="shipped",
            after_sale="售后中",
            after_sale_id="as-1",
            attributes={"colour": "red"},
            private={"engraving": "老王"},
        ),
        status="已发货",
        native_status="OUT",
        kind="预售",
        shop="their name",
        revision=7,
        goods="658.00",
        discount="58.00",
        freight="6.00",
        tax="0.00",
        payable="606.00",
        paid="606.00",
        paid_at=1794326720,
        shipped_at="1794366700000",
        customer_id="C-1",
        receiver={"name": "王五", "province": "广东省", "city": "广州市", "detail": "x 号"},
        messages={"buyer_message": "尽快"},
        holds=["locked"],
        parcels=[{"carrier": "SF", "tracking": "SF1", "lines": ["1"]}],
        invoice_type="vat_special",
        service_package="P1",
        referrer_id="R1",
        attributes={"source": {"app": [1, 2.5]}},
        private={"wishes": "x"},
    )
    found = translated(fields)
    snapshot, personal = found.snapshot, found.personal
    assert (snapshot.status, snapshot.native_status, snapshot.kind) == ("shipped", "OUT", "presale")
    assert snapshot.amounts == Amounts("CNY", 65800, 5800, 600, 0, 60600, 60600)
    assert snapshot.lines == (
        Line(
            *("1", "DRL-01", 2, "电钻", "I/V", "标准", 32900, 5800, 60000),
            state="shipped",
            after_sale="open",
            after_sale_id="as-1",
            attributes={"colour": "red"},
        ),
    )
    assert (snapshot.revision, snapshot.holds, snapshot.region) == (7, ("locked",), "广东省 广州市")
    assert snapshot.parcels == (Parcel("SF", "SF1", ("1",)),)
    assert snapshot.attributes == {
        "source": {"app": [1, 2.5]},
        "invoice_type": "vat_special",
        "service_package": "P1",
        "referrer_id": "R1",
        "shop": "their name",
    }
    assert snapshot.paid_at is not None
    assert snapshot.shipped_at is not None
    assert (snapshot.paid_at.utc_ms, snapshot.shipped_at.utc_ms) == (1794326720000, 1794366700000)
    assert (personal.customer_id, personal.messages) == ("C-1", {"buyer_message": "尽快"})
    assert personal.receiver == {"name": "王五", "province": "广东省", "city": "广州市", "detail": "x 号"}
    assert personal.attributes == {"private": {"wishes": "x"}}
    assert personal.line_attributes == {"1": {"private": {"engraving": "老王"}}}


def test_unknown_fields_are_kept_sealed_and_never_cut() -> None:
    found = translated(order(line(x=1), y={"z": [1]}, receiver={"name": "王五", "floor": 7}))
    assert found.snapshot.attributes == {}
    assert found.personal.attributes == {"y": {"z": [1]}, "receiver": {"floor": 7}}
    assert found.personal.line_attributes == {"1": {"x": 1}}


# ---- Cutting ---------------------------------------------------------------------------------------------------------


def test_one_order_an_array_or_an_object_of_orders() -> None:
    body = b'{"order_no": "A-1" , "lines":[{"x":1.50}]}'
    for raw in (body, b"[" + body + b"]", b'{"orders": [ ' + body + b"]}", b"\xef\xbb\xbf" + body):
        assert GENERIC.identify(raw, "erp") == [Sliced("erp", "A-1", body)]


def test_the_shop_given_wins_over_the_orders_own() -> None:
    body = json.dumps(order(shop="own")).encode()
    assert [part.shop for part in GENERIC.identify(body, "")] == ["own"]
    assert [part.shop for part in GENERIC.identify(body, "given")] == ["given"]
    assert GENERIC.translate(body, "given").snapshot.shop == "given"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "JSON"),
        (b'{"orders": 5}', "a number"),
        (b'{"orders": [{"no": 1}]}', "needs its order_no"),
        (b'{"order_no": ""}', "empty"),
        (b'{"order_no": 1.5}', "fraction"),
        (b'{"order_no": "1", "order_no": "2"}', "twice"),
        (b'{"order_no": "1", "attributes": {"a": 1, "a": 2}}', "twice"),
        (b'[[[[{"order_no": "1"}]]]]', "nested too deeply"),
    ],
)
def test_what_is_no_order_is_refused_with_its_reason(raw: bytes, says: str) -> None:
    (found,) = GENERIC.identify(raw, "erp")
    assert isinstance(found, Aside)
    assert found.kind == "refused"
    assert says in found.reason


def test_an_order_with_a_clear_number_is_that_orders_whatever_else_is_wrong() -> None:
    (part,) = GENERIC.identify(b'{"order_no": 17, "status": "?"}', "erp")
    assert isinstance(part, Sliced)
    assert part.order_no == "17"
    with pytest.raises(TranslationError, match="in quotes"):
        GENERIC.translate(part.raw, part.shop)


# ---- Meaning ---------------------------------------------------------------------------------------------------------


def test_the_contract_and_the_tables_know_the_same_words() -> None:
    assert set(get_args(StatusWord)) == set(own_words.STATUSES)
    assert set(get_args(AfterSaleWord)) == set(own_words.AFTER_SALES)
    assert set(get_args(StateWord)) == set(own_words.STATES)
    assert set(get_args(KindWord)) == set(own_words.KINDS)


@pytest.mark.parametrize("word", get_args(StatusWord))
def test_each_status_word_is_understood(word: str) -> None:
    found = translated(order(status=word)).snapshot
    assert found.status == own_words.STATUSES[word]
    assert found.amounts.paid == (0 if found.status in ("awaiting_payment", "cancelled") else 65800)


def test_cash_on_delivery_is_said_by_what_was_paid() -> None:
    assert translated(order(paid="0")).snapshot.amounts.paid == 0
    assert translated(order(paid_minor=0)).snapshot.amounts.paid == 0


def test_amounts_in_minor_units_mean_the_same() -> None:
    minor = order(line(unit_price=None, unit_price_minor=32900), payable=None, payable_minor=65800)
    assert translated(minor).snapshot == translated(order()).snapshot


@pytest.mark.parametrize(("currency", "text", "expected"), [("JPY", "658", 658), ("KWD", "65.800", 65800)])
def test_each_currency_has_its_own_decimals(currency: str, text: str, expected: int) -> None:
    found = translated(order(line(unit_price=None, amount=text), currency=currency, payable=text)).snapshot
    assert found.amounts == Amounts(currency, expected, 0, 0, 0, expected, expected)
    assert found.lines[0].unit_price == expected // 2


def test_sums_that_do_not_agree_are_noted_with_their_figures() -> None:
    found = translated(order(line(amount="600.00", discount="8.00"), payable="610.00", goods="700.00")).snapshot
    assert [(one["stated"], one["computed"]) for one in found.attributes["amount_mismatch"]] == [
        (60000, 65000),
        (70000, 65800),
        (61000, 64200),
        (61000, 60000),
    ]


@pytest.mark.parametrize(
    ("text", "zone", "utc_ms"),
    [
        ("2026-11-11 00:05:00", None, 1794326700000),
        ("2026-11-11 00:05:00", "America/New_York", 1794373500000),
        ("2026-11-11 00:05:00", "-05:00", 1794373500000),
        ("2026-11-11T00:05:00-05:00", "+08:00", 1794373500000),
        (1794326700, None, 1794326700000),
        ("1794326700123", None, 1794326700123),
    ],
)
def test_times_are_read_in_any_format_in_the_zone_that_is_named(text: Any, zone: str | None, utc_ms: int) -> None:
    fields = order(ordered_at=text, modified_at=None, revision=1, **({"zone": zone} if zone else {}))
    assert translated(fields).snapshot.ordered_at.utc_ms == utc_ms


def test_a_mapping_may_say_in_which_zone_a_shop_writes_but_the_order_knows_better() -> None:
    generic = GENERIC.with_times(Times(zone="+09:00", fold="later"))
    fields = order(ordered_at="2026-11-11 00:05:00", modified_at=None, revision=1)
    found = generic.translate(json.dumps(fields).encode(), "erp").snapshot
    assert found.ordered_at.utc_ms == 1794326700000 - 3_600_000
    named = json.dumps({**fields, "zone": "America/New_York", "ordered_at": "2026-11-01 01:30:00"}).encode()
    assert generic.translate(named, "erp").snapshot.ordered_at.utc_ms == 1793514600000  # the second 01:30


def test_where_no_time_tells_it_the_revision_does() -> None:
    found = translated(order(modified_at=None, revision=3)).snapshot
    assert (found.modified_at, found.revision) == (found.ordered_at, 3)


def test_a_line_in_a_parcel_has_left() -> None:
    parcels = [{"carrier": "SF", "tracking": "SF1", "lines": ["1"]}]
    found = translated(order(line(), line(id="2"), status="allocating", parcels=parcels)).snapshot
    assert [one.state for one in found.lines] == ["shipped", "open"]


def test_a_time_that_does_not_fit_the_status_stays_an_attribute() -> None:
    found = translated(order(completed_at="2026-11-20 00:00:00", cancel_reason="x", attributes={"cancel_reason": "y"}))
    assert found.snapshot.attributes == {
        "completed_at": "2026-11-20 00:00:00",
        "cancel_reason": "y",
        "cancel_reason (field)": "x",
    }


# ---- Errors that help ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "where", "says"),
    [
        ({"order_no": "A-1"}, "status", "is missing"),
        (order(status="done"), "status", "待付款"),
        (order(status="售后中"), "status", "told by the lines"),
        (order(order_no=17), "order_no", "in quotes"),
        (order(payable=658.0), "payable", "in quotes"),
        (order(payable="-1.00"), "payable", "without signs"),
        (order(payable="1e3"), "payable", "329.00"),
        (order(payable=None), "payable", "what the customer owes"),
        (order(payable_minor=1), "payable", "one of the two"),
        (order(payable="6.585", payable_minor=None), "payable", "decimals"),
        (order(payable=None, payable_minor=-1), "payable_minor", ">= 0"),
        (order(currency="cny"), "currency", "regex"),
        (order(currency="XXX"), "currency", "ISO 4217"),
        (order(modified_at=None), "modified_at", "revision"),
        (order(ordered_at="0"), "ordered_at", "no order time"),
        (order(ordered_at="11/12/2026 10:00"), "ordered_at", "day and month"),
        (order(ordered_at="2026-11-11"), "ordered_at", "time of day"),
        (order(paid_at="2020-01-01 00:00:00"), "paid_at", "before the order"),
        (order(zone="Mars/Base"), "zone", "Mars/Base"),
        (order(lines=[]), "lines", "no lines"),
        (order(lines=None), "lines", "no lines"),
        (order(lines="x"), "lines", "list"),
        (order(line(), line()), "lines[1].id", "two lines"),
        (order(line(quantity="2")), "lines[0].quantity", "int"),
        (order(line(quantity=0)), "lines[0].quantity", ">= 1"),
        (order(line(unit_price=None)), "lines[0].unit_price", "neither"),
        (order(line(unit_price=None, amount="0.01")), "lines[0].unit_price", "divided"),
        (order(line(discount="900.00")), "lines[0].discount", "more than"),
        (order(line(unit_price="9999999999.00")), "lines[0].unit_price", "absurdly"),
        (order(line(after_sale="maybe")), "lines[0].after_sale", "contract's words"),
        (order(line(state="gone")), "lines[0].state", "contract's words"),
        (order(line(attributes=[1])), "lines[0].attributes", "object"),
        (order(kind="gift"), "kind", "contract's words"),
        (order(receiver={"name": 5}), "receiver.name", "in quotes"),
        (order(parcels=[{"carrier": "SF"}]), "parcels[0].tracking", "is missing"),
        (order(parcels=[{"carrier": "SF", "tracking": "1", "lines": ["9"]}]), "parcels", "no line"),
        (order(holds=[""]), "holds[0]", "length >= 1"),
        (order(messages={"a": 5}), "messages[...]", "str"),
        (order(referrer_id="R1", attributes={"referrer_id": "R2"}), "referrer_id", "differ"),
        (order(cancel_reason="x" * 201), "cancel_reason", "length <= 200"),
    ],
)
def test_whatever_is_wrong_is_told_with_its_place_and_what_to_do(fields: Any, where: str, says: str) -> None:
    with pytest.raises(TranslationError) as refused:
        translated(fields)
    assert refused.value.where == where
    assert says in str(refused.value)
    assert refused.value.advice


# ---- The document that others read -----------------------------------------------------------------------------------


def test_every_field_of_the_contract_is_described_and_bounded() -> None:
    _, parts = msgspec.json.schema_components([GenericOrders])
    assert {"GenericOrder", "GenericLine", "GenericReceiver", "GenericParcel"} <= set(parts)
    for name, part in parts.items():
        assert part["description"], name
        for field, said in part["properties"].items():
            shown = json.dumps(said)
            assert "description" in shown or "$ref" in shown, (name, field)
            plain = [one for one in flat(said) if one.get("type") in ("string", "integer", "array", "object")]
            assert all(bounded(one) for one in plain), (name, field, said)


def flat(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a schema and those it chooses from."""
    return [schema, *(inner for one in schema.get("anyOf", ()) for inner in flat(one))]


def bounded(schema: dict[str, Any]) -> bool:
    """Whether a sender is told how much is too much (a time as a number is bounded by what times there are)."""
    limits = ("maxLength", "maximum", "maxItems", "maxProperties", "pattern", "enum")
    return any(name in schema for name in limits) or schema == {"type": "integer"}


def test_the_contract_itself_reads_what_the_channel_reads() -> None:
    raw = json.dumps(order()).encode()
    assert msgspec.json.decode(raw, type=GenericOrder).order_no == translated(order()).snapshot.order_no
