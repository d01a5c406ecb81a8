"""Scan-verified picking: right scans count, wrong ones are refused and recorded, and goods leave as scanned."""

import msgspec
import pytest

from domain.barcodes import SetBarcodes
from domain.ids import BARCODES_KEY, order_key, warehouse_key
from domain.order import (
    Allocation,
    CancelLines,
    NothingToShip,
    Order,
    OrderOnHold,
    OrderUnknown,
    Quarantine,
    ScanOut,
    Ship,
    Waiting,
    WhichAllocation,
    order,
)
from domain.picking import (
    BadScan,
    ItemScanned,
    ItemUnscanned,
    NotScanned,
    NotVerified,
    PickError,
    ScanItem,
    UnscanItem,
    left_of,
    require_verified,
    surplus_of,
)
from domain.rulings import Route, Ruling
from domain.shelf import SetPicking
from domain.stock import QUANTITY_MAX
from tests.spec import PERSON, Cell, Spec, line, snapshot

KEY = order_key("taobao", "shop1", "o-1")
LIST = Allocation("o/1", "A", (("S1", 2), ("S2", 1)), listed=True)
PICKING = Order(status="allocating", lines=(line("1", quantity=2), line("2")), allocations=(LIST,))


def given(state: Order = PICKING, **changes: object) -> Spec:
    spec = Spec(order)
    spec._state = msgspec.structs.replace(state, **changes)
    return spec


def test_a_right_scan_says_what_is_left() -> None:
    spec = given().when(ScanItem("c-1", "S1")).then(ItemScanned("o/1", "S1", 1, 1, 2, "c-1"))
    spec.when(ScanItem("c-2", "6901", lot="L7", sku="S1")).then(ItemScanned("o/1", "S1", 1, 0, 1, "c-2", "6901", "L7"))
    spec.when(ScanItem("c-3", "S2")).then(ItemScanned("o/1", "S2", 1, 0, 0, "c-3"))
    assert spec.state.allocations[0].scanned == (("S1", 2), ("S2", 1))


def test_a_scan_of_several_units_is_one_event() -> None:
    given().when(ScanItem("c-1", "S1", units=2)).then(ItemScanned("o/1", "S1", 2, 0, 1, "c-1"))


def test_a_scan_that_comes_again_changes_nothing() -> None:
    given().when(ScanItem("c-1", "S1")).then_some(ItemScanned).when(ScanItem("c-1", "S1")).then_nothing()


def test_a_wrong_item_is_recorded_and_answered_alike_when_it_comes_again() -> None:
    spec = given().when(ScanItem("c-1", "6909", sku="S9"))
    reason = "6909 is S9: it is not on the pick list; put it back. Still wanted: 2 × S1, 1 × S2"
    spec.then(PickError("o/1", "wrong_item", "6909", "S9", 1, (("S1", 2), ("S2", 1)), reason, "c-1"))
    assert spec.state.allocations[0].scanned == ()
    spec.when(ScanItem("c-1", "6909", sku="S9"))
    assert spec._refusal is not None
    assert spec._refusal.reason == reason


def test_a_code_that_nobody_knows_is_a_wrong_item() -> None:
    spec = given().when(ScanItem("c-1", "4711"))
    (error,) = spec._events
    assert isinstance(error, PickError)
    assert (error.error, error.code, error.sku) == ("wrong_item", "4711", "")


@pytest.mark.parametrize(
    "code", ["13800138000", "+8613800138000", "王小明", "面单 13800138000", "https://x/?tel=1", "9" * 41]
)
def test_what_may_be_a_customer_s_label_is_not_written_down(code: str) -> None:
    spec = given().when(ScanItem("c-1", code))
    (error,) = spec._events
    assert isinstance(error, PickError)
    assert error.code == f"{code[0]}… ({len(code)} characters)"
    assert code not in error.reason
    spec = given().when(UnscanItem("c-1", code)).then_raises(NotScanned)
    assert spec._refusal is not None
    assert code not in spec._refusal.reason
    known = given().when(ScanItem("c-1", code, sku="S9"))._events[0]
    assert isinstance(known, PickError)
    assert known.code == code


def test_more_than_the_list_wants_is_refused_whole() -> None:
    spec = given().when(ScanItem("c-1", "S1", units=3))
    (error,) = spec._events
    assert isinstance(error, PickError)
    assert (error.error, error.sku, error.units) == ("too_many", "S1", 3)
    assert error.reason.startswith("S1: 3 scanned, 2 wanted; leave the rest")
    full = msgspec.structs.replace(LIST, scanned=LIST.lines)
    spec = given(allocations=(full,)).when(ScanItem("c-1", "S1"))
    (error,) = spec._events
    assert isinstance(error, PickError)
    assert error.reason.endswith("Still wanted: nothing, all of it is scanned")
    assert error.wanted == ()


def test_a_pick_error_lists_only_so_many_of_a_long_list() -> None:
    long = msgspec.structs.replace(LIST, lines=tuple((f"S{number}", 1) for number in range(700)))
    spec = given(allocations=(long,)).when(ScanItem("c-1", "T"))
    (error,) = spec._events
    assert isinstance(error, PickError)
    assert len(error.wanted) == 20
    assert len(error.reason) < 400


@pytest.mark.parametrize("code", ["", " S1", "S1 ", "S" * 81, "S\x1b1"])
def test_what_is_no_code_is_no_pick_error(code: str) -> None:
    given().when(ScanItem("c-1", code)).then_raises(BadScan)
    given().when(UnscanItem("c-1", code)).then_raises(BadScan)


@pytest.mark.parametrize("units", [0, -1, 10**9 + 1])
def test_units_that_no_scan_has_are_refused(units: int) -> None:
    given().when(ScanItem("c-1", "S1", units=units)).then_raises(BadScan)


def test_one_scan_may_be_of_as_many_units_as_a_line_can_have() -> None:
    most = msgspec.structs.replace(LIST, lines=(("S1", QUANTITY_MAX),))
    given(allocations=(most,)).when(ScanItem("c-1", "S1", units=QUANTITY_MAX)).then_some(ItemScanned)


def test_what_was_scanned_can_be_put_back() -> None:
    spec = given().when(ScanItem("c-1", "S1", units=2)).then_some(ItemScanned)
    spec.when(UnscanItem("c-2", "6901", sku="S1")).then(ItemUnscanned("o/1", "S1", 1, 1, 2, "c-2", "6901"))
    spec.when(UnscanItem("c-2", "6901", sku="S1")).then_nothing()
    spec.when(UnscanItem("c-3", "S1", units=2)).then_raises(NotScanned)
    spec.when(UnscanItem("c-4", "S1")).then(ItemUnscanned("o/1", "S1", 1, 2, 3, "c-4"))
    assert spec.state.allocations[0].scanned == ()


def test_picking_stops_while_the_order_is_held_and_goods_may_go_back() -> None:
    scanned = (msgspec.structs.replace(LIST, scanned=(("S1", 1),)),)
    for block in (
        {"holds": ("risk",)},
        {"interceptions": (("i-1", "address"),)},
        {"quarantined": Waiting("m", "", "")},
    ):
        given(allocations=scanned, **block).when(ScanItem("c-1", "S1")).then_raises(OrderOnHold)
        given(allocations=scanned, **block).when(UnscanItem("c-1", "S1")).then_some(ItemUnscanned)


def test_nothing_is_scanned_without_a_pick_list() -> None:
    given(allocations=(msgspec.structs.replace(LIST, listed=False),)).when(ScanItem("c", "S1")).then_raises(
        NothingToShip
    )
    given(allocations=()).when(ScanItem("c-1", "S1")).then_raises(NothingToShip)
    Spec(order).when(ScanItem("c-1", "S1")).then_raises(OrderUnknown)
    Spec(order).when(UnscanItem("c-1", "S1")).then_raises(OrderUnknown)


def test_of_several_allocations_one_is_named() -> None:
    other = msgspec.structs.replace(LIST, id="o/2", warehouse="B")
    given(allocations=(LIST, other)).when(ScanItem("c-1", "S1")).then_raises(WhichAllocation)
    spec = given(allocations=(LIST, other)).when(ScanItem("c-1", "S1", "B")).then_some(ItemScanned)
    assert [each.scanned for each in spec.state.allocations] == [(), (("S1", 1),)]


def test_verified_is_exactly_what_is_wanted() -> None:
    assert left_of((("S1", 2), ("S2", 1)), (("S1", 1),)) == (("S1", 1), ("S2", 1))
    assert surplus_of((("S1", 1),), (("S1", 2), ("S9", 1))) == (("S1", 1), ("S9", 1))
    require_verified(LIST.lines, LIST.lines)
    with pytest.raises(NotVerified, match=r"first scan 2 × S1, 1 × S2$"):
        require_verified(LIST.lines, ())
    with pytest.raises(NotVerified, match=r"first put back and scan back 1 × S1$"):
        require_verified((("S1", 1),), (("S1", 2),))


@pytest.mark.parametrize("command", [Ship("c-9", "T1", "SF", verify=True), ScanOut("c-9", verify=True)])
def test_a_warehouse_that_demands_scans_lets_nothing_else_leave(command: Ship | ScanOut) -> None:
    given().when(command).then_raises(NotVerified)
    scanned = (msgspec.structs.replace(LIST, scanned=(("S2", 1), ("S1", 2))),)
    given(allocations=scanned).when(command)
    assert given(allocations=scanned).when(command)._refusal is None


# --- in the cell


def cell(*, verified: bool = True) -> Cell:
    made = Cell()
    made.receive(("S1", 9), ("S2", 9))
    if verified:
        made.send(warehouse_key("A"), SetPicking("p-1", verified=True))
    made.send(BARCODES_KEY, SetBarcodes("b-1", (("6901", "S1"), ("6909", "S9"))))
    made.take(snapshot(lines=(line("1", quantity=2), line("2"))))
    return made


def test_the_table_of_barcodes_says_what_a_code_is_and_a_message_cannot() -> None:
    made = cell()
    assert made.send(KEY, ScanItem("c-1", "6901")).outcome == "accepted"
    turn = made.send(KEY, ScanItem("c-2", "6909", sku="S1"))
    assert (turn.outcome, turn.reason.startswith("6909 is S9")) == ("refused", True)
    again = made.send(KEY, ScanItem("c-2", "6909"))
    assert (again.outcome, again.reason, again.records) == ("refused", turn.reason, [])
    assert made.order().allocations[0].scanned == (("S1", 1),)


def test_the_warehouse_s_setting_counts_and_a_message_s_does_not() -> None:
    made = cell()
    assert made.send(KEY, Ship("c-1", "T1", "SF", verify=False)).outcome == "refused"
    made.send(warehouse_key("A"), SetPicking("p-2", verified=False))
    assert made.send(KEY, Ship("c-2", "T1", "SF", verify=True)).outcome == "accepted"
    assert made.level("S1").on_hand == 7


def test_scanned_goods_leave_and_a_double_click_sends_nothing_more() -> None:
    made = cell()
    for number, code in enumerate(("6901", "S1", "S2")):
        assert made.send(KEY, ScanItem(f"c-{number}", code)).outcome == "accepted"
    assert made.send(KEY, Ship("c-8", "T1", "SF")).outcome == "accepted"
    assert made.send(KEY, Ship("c-9", "T1", "SF")).outcome == "refused"
    assert (made.level("S1").on_hand, made.level("S2").on_hand) == (7, 8)
    assert made.tags(KEY).count("order.shipped") == 1


def test_units_that_are_cancelled_after_their_scan_go_back_before_the_rest_leaves() -> None:
    made = cell()
    made.send(KEY, ScanItem("c-1", "S1", units=2))
    made.send(KEY, ScanItem("c-2", "S2"))
    made.send(KEY, CancelLines("c-3", (("1", 1),), "one less"))
    refused = made.send(KEY, Ship("c-4", "T1", "SF"))
    assert refused.reason == "first put back and scan back 1 × S1"
    assert made.send(KEY, UnscanItem("c-5", "6901")).outcome == "accepted"
    assert made.send(KEY, Ship("c-6", "T1", "SF")).outcome == "accepted"
    assert made.level("S1").on_hand == 8


def test_a_scan_while_a_message_is_quarantined_is_refused_at_once_and_not_queued() -> None:
    made = cell()
    made.send(KEY, Quarantine("m-1", "unreadable", "", "", "p", ""))
    assert made.send(KEY, ScanItem("c-1", "S1")).outcome == "refused"
    assert made.send(KEY, ScanOut("c-2")).outcome == "queued"
    assert made.order().allocations[0].scanned == ()


def test_who_scanned_wrong_is_in_the_envelope() -> None:
    made = cell()
    (record,) = made.send(KEY, ScanItem("c-1", "S2", units=2)).records
    assert record.tag == "order.pick_error"
    assert PERSON.id.encode() in record.envelope


def test_a_message_to_another_actor_asks_for_nothing() -> None:
    made = cell()
    for body in (ScanItem("c-1", "S1"), Ship("c-2", "T1", "SF")):
        assert made.send(warehouse_key("A"), body).outcome == "refused"


def test_each_warehouse_of_a_split_order_has_its_own_setting() -> None:
    made = Cell()
    made.receive(("S1", 1), warehouse="A")
    made.receive(("S2", 1), warehouse="B", document="b")
    made.send(warehouse_key("B"), SetPicking("p-1", verified=True))
    routes = (Route("all", warehouses=("A", "B")),)
    made.take(snapshot(lines=(line("1"), line("2"))), ruling=Ruling(1, routes=routes))
    assert [each.warehouse for each in made.order().allocations] == ["A", "B"]
    assert made.send(KEY, Ship("c-1", "T1", "SF", "A")).outcome == "accepted"
    assert made.send(KEY, Ship("c-2", "T2", "SF", "B")).outcome == "refused"
    assert made.send(KEY, ScanItem("c-3", "S2", "B")).outcome == "accepted"
    assert made.send(KEY, Ship("c-4", "T2", "SF", "B")).outcome == "accepted"
    assert made.order().status == "shipped"
