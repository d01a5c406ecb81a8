"""The log as object-centric events: what each event is about."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain import order, stock
from domain.after_sale import AfterSaleOpened, OrderRefunded, ReplacementAsked, ReplacementReserved
from domain.approvals import ApprovalGiven, ApprovalRequested
from domain.canonical import Parcel
from domain.catalogue import TAGS, TYPES
from domain.decider import Event
from domain.envelope import By
from domain.intake import IntakeIgnored
from domain.tracking import ParcelTracked, Scan
from domain.trail import OrderNoted
from projections.object_log import (
    COMMON,
    EVENTS,
    LEFT_OUT,
    OBJECTS,
    OF_LINES,
    PICKING,
    STAGES,
    VERDICTS,
    Logged,
    Seen,
    logged,
    seen_after,
    seen_first,
)
from tests.trade import view
from tests.unit.test_catalogue import SAMPLES

KEY = "order-taobao:s1:7"
RULE = By("rule", "test")
SEEN = view("7", units=2)
NORMAL = order.OrderNormalized(SEEN, "digest", "address")


def told(*events: Event, stream: str = KEY, by: By = RULE) -> Logged:
    """Return the last of these events of one stream, as OCEL has it."""
    seen = seen_first(stream)
    found: Logged | None = None
    for number, event in enumerate(events, 1):
        before, seen = seen, seen_after(seen, stream, event)
        found = logged(TAGS[type(event)], stream, number, event, by, before, seen)
    assert found is not None
    return found


def about(found: Logged) -> set[tuple[str, str]]:
    return {(touch.id, qualifier) for touch, qualifier in found.objects}


def whole(found: Logged, name: str) -> dict[str, Any]:
    return dict(next(touch.whole for touch, _ in found.objects if touch.id == name))


def changed(found: Logged, name: str) -> dict[str, Any]:
    return dict(next(touch.changed for touch, _ in found.objects if touch.id == name))


def test_an_order_that_was_understood_is_about_its_lines_and_its_customer() -> None:
    found = told(NORMAL)
    assert about(found) == {
        (KEY, "order"),
        ("customer-taobao:c0ffee", "customer"),
        (f"{KEY}/line-1", "line"),
        (f"{KEY}/line-2", "line"),
    }
    assert whole(found, KEY) == {
        "channel": "taobao",
        "shop": "s1",
        "order_no": "7",
        "kind": "normal",
        "currency": "CNY",
        "payable": 2500,
        "state": "awaiting_payment",
        "held": False,
    }
    assert whole(found, f"{KEY}/line-1") == {"sku": "SKU-1", "units": 2, "amount": 2000, "gift": False}
    links = {link for touch, _ in found.objects for link in touch.links}
    assert {
        (KEY, "shop-taobao:s1", "sold in"),
        (KEY, "customer-taobao:c0ffee", "placed by"),
        (KEY, f"{KEY}/line-1", "contains"),
        (f"{KEY}/line-1", "sku-SKU-1", "of"),
    } <= links


def test_an_event_tells_what_it_changed_of_an_order_and_nothing_else() -> None:
    found = told(NORMAL, order.OrderPaid(2500, "CNY", 1))
    assert changed(found, KEY) == {"state": "paid"}
    assert found.attributes == {
        "log_position": 2,
        "by": "rule:test",
        "amount": 2500,
        "currency": "CNY",
        "paid_ms": 1,
    }
    found = told(NORMAL, order.OrderIntercepted("i1", "risk", "", "", "finance", 1, rule="big"))
    assert changed(found, KEY) == {"held": True}
    assert about(found) == {(KEY, "order"), (f"{KEY}/hold-i1", "hold"), ("rule-big", "rule")}


def test_an_amended_line_changes_and_a_new_one_is_whole() -> None:
    lines = (msgspec.structs.replace(SEEN.lines[0], quantity=3), SEEN.lines[1])
    amended = order.OrderAmended(msgspec.structs.replace(SEEN, lines=lines), "other", "address", ("lines",), "payload")
    found = told(NORMAL, amended)
    assert changed(found, f"{KEY}/line-1") == {"units": 3}
    assert changed(found, f"{KEY}/line-2") == {}


def test_a_pick_list_is_about_its_warehouse_its_goods_and_what_it_picks() -> None:
    held = order.OrderReserved(f"{KEY}/1", "A", (("SKU-1", 2), ("SKU-2", 1)))
    listed = order.PickListIssued(f"pick-{KEY}/1", f"{KEY}/1", "A", (("SKU-1", 2), ("SKU-2", 1)), priority="urgent")
    assert about(told(NORMAL, held)) == {
        (KEY, "order"),
        (f"{KEY}/1", "allocation"),
        ("warehouse-A", "warehouse"),
        ("sku-SKU-1", "goods"),
        ("sku-SKU-2", "goods"),
    }
    found = told(NORMAL, order.OrderPaid(2500, "CNY", 1), held, listed)
    assert (f"pick-{KEY}/1", "pick list") in about(found)
    assert whole(found, f"pick-{KEY}/1") == {"warehouse": "A", "priority": "urgent"}
    # Where the facts name no warehouse, the order knows it.
    picked = told(NORMAL, order.OrderPaid(2500, "CNY", 1), held, listed, order.OrderPicked(f"{KEY}/1", "c"))
    assert {("warehouse-A", "warehouse"), (f"pick-{KEY}/1", "pick list")} <= about(picked)


def test_what_left_is_about_its_parcel_and_the_lines_in_it() -> None:
    shipped = order.OrderShipped((Parcel("SF", "SF/1", ("1", "2")),), 5, f"{KEY}/1", "c")
    found = told(NORMAL, order.OrderPaid(2500, "CNY", 1), shipped)
    assert {("parcel-SF=2F1", "parcel"), (f"{KEY}/line-1", "line"), (f"{KEY}/line-2", "line")} <= about(found)
    scanned = ParcelTracked("SF/1", "SF", (Scan(9, "signed"),))
    found = told(NORMAL, order.OrderPaid(2500, "CNY", 1), shipped, scanned)
    assert changed(found, "parcel-SF=2F1") == {"state": "signed"}


def test_cases_are_numbered_as_the_order_numbers_them() -> None:
    opened = AfterSaleOpened((("1", 1),), "quality", kind="refund_only")
    found = told(NORMAL, opened)
    assert whole(found, f"{KEY}/case-1") == {"kind": "refund_only", "reason": "quality", "stage": "opened"}
    assert (f"{KEY}/line-1", "line") in about(found)
    assert changed(found, KEY)["state"] == "after_sale"
    # A refund by the channel names no case: it is of the one that it ends.
    found = told(NORMAL, opened, OrderRefunded(("1",), 1000))
    assert changed(found, f"{KEY}/case-1") == {"stage": "refunded"}
    asked = ReplacementAsked(1, 1, (("SKU-9", 1),), "B")
    reserved = ReplacementReserved(1, f"{KEY}/case-1-1", "B", (("SKU-9", 1),))
    assert {
        (f"{KEY}/case-1", "case"),
        (f"{KEY}/case-1-1", "allocation"),
        ("warehouse-B", "warehouse"),
        ("sku-SKU-9", "goods"),
    } <= about(told(NORMAL, opened, asked, reserved))


def test_an_approval_has_a_verdict_and_its_person_no_name() -> None:
    asked = ApprovalRequested("credit", "credit", "finance", 1, asked_by="li.wei")
    found = told(NORMAL, asked)
    assert whole(found, f"{KEY}/approval-credit") == {"form": "credit", "role": "finance", "verdict": "open"}
    given = ApprovalGiven("credit", 1, "zhao", "finance", 1, True)
    found = told(NORMAL, asked, given, by=By("person", "zhao", "finance"))
    assert changed(found, f"{KEY}/approval-credit") == {"verdict": "approved"}
    assert found.attributes["by"] == "person"
    assert found.attributes["by_role"] == "finance"
    assert "zhao" not in msgspec.json.encode(found).decode()


def test_the_ledger_tells_the_levels_that_it_moved() -> None:
    received = stock.StockReceived("d", (("SKU-1", 10), ("SKU-2", 5)), 1)
    held = stock.StockReserved(f"{KEY}/1", KEY, (("SKU-1", 2),))
    found = told(received, held, stream="warehouse-A")
    assert about(found) == {
        ("warehouse-A", "warehouse"),
        ("warehouse-A/SKU-1", "level"),
        (KEY, "order"),
        (f"{KEY}/1", "allocation"),
    }
    assert whole(found, "warehouse-A/SKU-1") == {"on_hand": 10, "reserved": 2, "available": 8}
    assert changed(found, "warehouse-A/SKU-1") == {"reserved": 2, "available": 8}
    # A release names the allocation alone: its order is in its name.
    freed = stock.StockReleased(f"{KEY}/1", (("SKU-1", 2),))
    assert (KEY, "order") in about(told(received, held, freed, stream="warehouse-A"))


def test_a_trail_is_the_customers() -> None:
    found = told(OrderNoted(KEY, "goods", 1), stream="trail-taobao:c0ffee")
    assert about(found) == {("customer-taobao:c0ffee", "customer"), (KEY, "order")}


@pytest.mark.parametrize(
    "stream", ["intake-taobao:s1", "skus-taobao:s1", "finance-taobao:s1", "finance-taobao:s1:2026-02-09"]
)
def test_what_a_shop_sends_is_the_shops(stream: str) -> None:
    assert about(told(IntakeIgnored("nothing", "payload"), stream=stream)) == {("shop-taobao:s1", "shop")}


@pytest.mark.parametrize("tag", TYPES)
def test_every_event_has_an_object_and_only_attributes_that_are_declared(tag: str) -> None:
    noun = tag.partition(".")[0]
    stream = {
        "order": KEY,
        "stock": "warehouse-A",
        "rules": "rulebook-main",
        "trail": "trail-taobao:c0ffee",
        "intake": "intake-taobao:s1",
        "skus": "skus-taobao:s1",
        "finance": "finance-taobao:s1",
        "mapping": "mapping-taobao",
    }.get(noun, f"{noun}-main")
    facts = SAMPLES[tag]
    before = seen_first(stream)
    if noun == "order":
        before = Seen(order.evolve(before.state, NORMAL))
    found = logged(tag, stream, 1, facts, RULE, before, before)
    assert found.objects
    assert found.attributes.keys() <= EVENTS[tag].keys()
    for name, value in found.attributes.items():
        assert type(value) is {"string": str, "integer": int, "boolean": bool}[EVENTS[tag][name]]
    for touch, _ in found.objects:
        assert touch.whole.keys() <= OBJECTS[touch.type].keys()
        assert touch.changed.items() <= touch.whole.items()


def test_fields_that_name_people_or_may_hold_long_texts_are_left_out() -> None:
    shown = {name for attributes in EVENTS.values() for name in attributes}
    assert not shown & LEFT_OUT
    assert not [name for name in shown if name == "who" or "person" in name or "text" in name or "message" in name]


def test_every_tag_that_is_named_is_in_the_catalogue() -> None:
    assert {*OF_LINES, *PICKING, *VERDICTS, *STAGES} <= TYPES.keys()
    assert not [tag for tag, kind in TYPES.items() if set(kind.__struct_fields__) & COMMON.keys()]


def test_the_docs_tell_of_every_type_of_object_and_its_attributes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "exports.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for kind, attributes in OBJECTS.items():
        row = next(row for row in rows if f"`{kind}`" in row.split("|")[1])
        told = set(re.findall(r"\w+", row.split("|")[3]))
        assert attributes.keys() <= told or kind == "shop"
