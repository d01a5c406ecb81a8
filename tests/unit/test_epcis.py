"""Shipments with lots as EPCIS events, judged by the rules of the standard that can be written down."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import pytest

from domain.after_sale import ReplacementShipped
from domain.canonical import Parcel
from domain.decider import Event
from domain.order import Lot, LotsRecorded, OrderShipped, PartiallyShipped
from projections.epcis import BadBase, Names, Told, checked_base, events_of, gtin_of

KEY = "order-shopify:s1:7"
BASE = "https://id.example.com"
LOT = Lot("S1", "L-2026/07", 2, "1.840", "kgCO2e", "ISO 14067", "maker")
OTHER = Lot("S2", "M1", 1)
PARCEL = Parcel("SF", "SF 1", ("1",))
PLACES = {f"{KEY}/1": "A"}
STEPS = {"commissioning": "ADD", "shipping": "OBSERVE"}


def check_event(event: Mapping[str, Any]) -> None:
    """Check what EPCIS 2.0 asks of an ObjectEvent, and CBV 2.0 of its words."""
    assert event["type"] == "ObjectEvent"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", event["eventTime"])
    assert re.fullmatch(r"[+-](0\d|1[0-3]):[0-5]\d|[+-]14:00", event["eventTimeZoneOffset"])
    assert event["eventID"] == UUID(event["eventID"].removeprefix("urn:uuid:")).urn
    assert event["action"] == STEPS[event["bizStep"]]
    assert event["disposition"] in ("active", "in_transit")
    # Only where something begins may it be told what is true of it for ever.
    assert ("ilmd" in event) is (event["action"] == "ADD")
    assert event["quantityList"]
    for element in event["quantityList"]:
        assert element.keys() == {"epcClass", "quantity"}
        assert element["quantity"] > 0
        check_address(element["epcClass"])
    for each in event.get("bizTransactionList", ()):
        assert each["type"] in ("po", "bol")
        check_address(each["bizTransaction"])
    for place in ("readPoint", "bizLocation"):
        if place in event:
            assert event[place].keys() == {"id"}
            check_address(event[place]["id"])
    standard = {
        *("type", "eventID", "eventTime", "eventTimeZoneOffset", "action", "bizStep", "disposition"),
        *("quantityList", "bizTransactionList", "readPoint", "bizLocation", "ilmd"),
    }
    # Whatever else there is has a namespace of its own.
    assert all(name.startswith("orderspine:") for name in event.keys() - standard)
    assert all(re.match(r"(cbvmda|orderspine):\w", name) for name in event.get("ilmd", ()))


def check_address(text: str) -> None:
    parts = urlsplit(text)
    assert parts.scheme == "https"
    assert parts.hostname
    assert re.fullmatch(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+", text), text


def made(*facts: Event, gtins: Mapping[str, str] | None = None, wanted: bool = True) -> list[dict[str, Any]]:
    """Return what these events of an order are in EPCIS, as it is written."""
    story = [
        Told(each, f"log#{number}", "2026-02-09T01:20:02.000Z", "+08:00", PLACES, wanted)
        for number, each in enumerate(facts)
    ]
    events = msgspec.json.decode(msgspec.json.encode(list(events_of(KEY, story, Names(BASE, gtins or {})))))
    for event in events:
        check_event(event)
    found: list[dict[str, Any]] = events
    return found


def test_each_lot_is_commissioned_and_all_of_them_are_shipped() -> None:
    lot, other, left = made(
        LotsRecorded(f"{KEY}/1", (LOT, OTHER)), OrderShipped((PARCEL,), 1_770_600_002_000, f"{KEY}/1", "c")
    )
    goods = f"{BASE}/sku/S1/lot/L-2026%2F07"
    assert lot["ilmd"] == {
        "cbvmda:lotNumber": "L-2026/07",
        "orderspine:carbonFootprint": {
            "orderspine:value": 1.84,
            "orderspine:unit": "kgCO2e",
            "orderspine:method": "ISO 14067",
            "orderspine:source": "maker",
        },
    }
    assert lot["quantityList"] == [{"epcClass": goods, "quantity": 2}]
    assert lot["bizLocation"] == lot["readPoint"] == {"id": f"{BASE}/warehouse/A"}
    assert other["ilmd"] == {"cbvmda:lotNumber": "M1"}
    assert [each["epcClass"] for each in left["quantityList"]] == [goods, f"{BASE}/sku/S2/lot/M1"]
    assert left["bizTransactionList"] == [
        {"type": "po", "bizTransaction": f"{BASE}/order/order-shopify%3As1%3A7"},
        {"type": "bol", "bizTransaction": f"{BASE}/waybill/SF%201"},
    ]
    assert left["orderspine:lots"][0]["orderspine:carbonFootprint"]["orderspine:value"] == 1.84
    assert "bizLocation" not in left, "where goods are that are on their way nobody knows"
    assert len({each["eventID"] for each in (lot, other, left)}) == 3


def test_figures_are_written_as_their_source_gave_them() -> None:
    story = [Told(LotsRecorded("a", (LOT,)), "n", "t", "+08:00", {})]
    assert b'"orderspine:value":1.840,' in msgspec.json.encode(list(events_of(KEY, story, Names(BASE, {}))))
    (told,) = made(LotsRecorded("a", (msgspec.structs.replace(LOT, carbon="about 2"),)))
    assert told["ilmd"]["orderspine:carbonFootprint"]["orderspine:value"] == "about 2"


def test_goods_with_a_gtin_are_named_by_it() -> None:
    (lot,) = made(LotsRecorded("a", (LOT,)), gtins={"S1": "06901234567892"})
    assert lot["quantityList"][0]["epcClass"] == "https://id.gs1.org/01/06901234567892/10/L-2026%2F07"
    (lot,) = made(LotsRecorded("a", (Lot("6901234567892", "批 1", 1),)))
    assert lot["quantityList"][0]["epcClass"] == f"{BASE}/sku/6901234567892/lot/%E6%89%B9%201", "GS1 knows no such lot"


def test_what_left_without_lots_is_not_told() -> None:
    assert made(OrderShipped((PARCEL,), 1, f"{KEY}/1", "c")) == []
    assert made(PartiallyShipped(("1",), (PARCEL,), 1)) == []


def test_a_replacement_is_a_shipment_too() -> None:
    name = f"{KEY}/case-1-1"
    left = made(LotsRecorded(name, (LOT,)), ReplacementShipped(1, name, "B", PARCEL, 1, "c"))[-1]
    assert left["bizStep"] == "shipping"


def test_of_parts_each_has_its_own_lots() -> None:
    first, second = LotsRecorded("a", (LOT,)), LotsRecorded("b", (OTHER,))
    told = made(first, second, PartiallyShipped(("1",), (PARCEL,), 1, "a"), PartiallyShipped(("2",), (PARCEL,), 1, "b"))
    assert [len(each["quantityList"]) for each in told if each["bizStep"] == "shipping"] == [1, 1]


def test_lots_that_were_told_before_the_span_belong_to_what_left_in_it() -> None:
    lots, left = LotsRecorded("a", (LOT,)), OrderShipped((PARCEL,), 1, "a", "c")
    story = [Told(lots, "1", "t", "+08:00", {}, False), Told(left, "2", "t", "+08:00", {}, True)]
    assert [each["bizStep"] for each in events_of(KEY, story, Names(BASE, {}))] == ["shipping"]
    assert made(lots, left, wanted=False) == []


@pytest.mark.parametrize(
    ("code", "gtin"),
    [
        ("6901234567892", "06901234567892"),
        ("96385074", "00000096385074"),
        ("036000291452", "00036000291452"),
        ("16901234567899", "16901234567899"),
        ("6901234567893", ""),  # the check digit is wrong
        ("2012345678900", ""),  # for use in a shop
        ("0000000000000", ""),
        ("٦٩٠١٢٣٤٥٦٧٨٩٢", ""),
        ("SKU-1", ""),
    ],
)
def test_only_codes_that_are_the_same_everywhere_are_gtins(code: str, gtin: str) -> None:
    assert gtin_of(code) == gtin


def test_the_base_is_a_web_address() -> None:
    assert checked_base("https://id.example.com/shop/") == "https://id.example.com/shop"
    for wrong in (
        "",
        "id.example.com",
        "ftp://id.example.com",
        "https://",
        "https://a.b?c",
        "https://a.b#c",
        "http://[",
        "https://a b",
        "https://甲.cn",
        "https://a.b/\n",
        "https://u@a.b",
    ):
        with pytest.raises(BadBase):
            checked_base(wrong)
