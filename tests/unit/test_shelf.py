"""What people do at the shelves: count, move, set damaged goods apart; and when a SKU is to be bought again."""

from typing import Any

import pytest

from domain.ids import warehouse_key
from domain.reorder import ReorderCleared, ReorderLevelSet, ReorderSignalled, SetReorderLevel
from domain.shelf import (
    BadCount,
    BadWarehouse,
    CountStock,
    MarkDamaged,
    MoveStock,
    PickingSet,
    ScrapDamaged,
    SetPicking,
    StockCounted,
    StockDamaged,
    StockMovedIn,
    StockMovedOut,
    StockScrapped,
    TakeMoved,
)
from domain.stock import (
    QUANTITY_MAX,
    AdjustStock,
    Arrival,
    BadQuantity,
    ExpectStock,
    Issue,
    Ledger,
    MissingDocument,
    NotEnoughOnHand,
    PreReserve,
    PromiseCovered,
    ProtectStock,
    ReceiveStock,
    Release,
    Reserve,
    StockAdjusted,
    StockIssued,
    StockPreReserved,
    StockProtected,
    StockReceived,
    StockReleased,
    StockReserved,
    from_snapshot,
    to_snapshot,
)
from domain.warehouse import warehouse
from tests.spec import T0, Cell, Spec

TEN = StockReceived("d-0", (("S1", 10), ("S2", 10)), T0)
PROMISED = StockReserved("o/1", "o", (("S1", 3),))
A, B = warehouse_key("A"), warehouse_key("B")


def given(*events: Any) -> Spec:
    return Spec(warehouse).given(TEN, PROMISED, StockProtected("d-00", "S1", 1, T0), *events)


# --- counting


def test_a_count_puts_on_hand_right_and_says_what_was_found() -> None:
    spec = given().when(CountStock("c-1", (("S1", 12), ("S2", 9), ("S3", 0))))
    spec.then(
        StockCounted("c-1", (("S1", 12), ("S2", 9), ("S3", 0)), T0),
        StockAdjusted("c-1", "S1", 2, "count", T0),
        StockAdjusted("c-1", "S2", -1, "count", T0),
    )
    assert [spec.state.levels[sku].on_hand for sku in ("S1", "S2", "S3")] == [12, 9, 0]
    assert spec.state.levels["S3"].since_ms == T0
    spec.when(CountStock("c-1", (("S1", 1),))).then_nothing()


def test_a_count_that_finds_nothing_new_is_recorded_once() -> None:
    spec = given().when(CountStock("c-1", (("S1", 10),))).then(StockCounted("c-1", (("S1", 10),), T0))
    spec.when(CountStock("c-1", (("S1", 10),))).then_nothing()


def test_counting_again_does_not_move_the_time_from_which_a_sku_is_counted() -> None:
    spec = given().when(CountStock("c-1", (("S1", 10),)), T0 + 60_000).then_some(StockCounted)
    assert spec.state.levels["S1"].since_ms == T0
    spec.when(Issue("o/issued-1", "o", (("S1", 2),), T0 + 1)).then(StockIssued("o/issued-1", "o", (("S1", 2),)))


def test_a_count_never_takes_what_is_promised_protected_or_damaged() -> None:
    spec = given(StockDamaged("d-01", "S1", 2, "wet", T0)).when(CountStock("c-1", (("S1", 5), ("S2", 0))))
    counted = StockCounted("c-1", (("S1", 5), ("S2", 0)), T0, (("S1", 5, 6),))
    spec.then(counted, StockAdjusted("c-1", "S2", -10, "count", T0))
    assert spec.state.levels["S1"].on_hand == 10
    assert counted.reason.startswith(
        "1 of 2 SKUs are left as they were: S1: 5 counted, 6 promised, protected or damaged"
    )
    assert given().when(CountStock("c-2", (("S1", 4),)))._events[1:] == (StockAdjusted("c-2", "S1", -6, "count", T0),)


def test_a_long_list_of_what_was_not_followed_is_cut() -> None:
    refused = tuple((f"S{number}", 0, 1) for number in range(12))
    reason = StockCounted("c-1", tuple((sku, 0) for sku, _, _ in refused), T0, refused).reason
    assert "S9:" in reason
    assert "S10:" not in reason
    assert ", and 2 more." in reason


@pytest.mark.parametrize("lines", [(), (("S1", -1),), (("S1", 1), ("S1", 2)), (("", 1),), (("S1", 10**9 + 1),)])
def test_a_count_that_cannot_be_is_refused_whole(lines: tuple[tuple[str, int], ...]) -> None:
    given().when(CountStock("c-1", lines)).then_raises(BadCount)


def test_who_counts_hears_what_was_not_followed() -> None:
    made = Cell()
    made.receive(("S1", 5))
    made.send(A, Reserve("o/1", "order-x:y:1", (("S1", 3),)))
    turn = made.send(A, CountStock("c-1", (("S1", 1),)))
    assert (turn.outcome, turn.reason[:12]) == ("accepted", "1 of 1 SKUs ")
    assert made.send(A, CountStock("c-2", (("S1", 4),))).reason == ""


# --- moving


def test_goods_leave_one_ledger_and_come_into_the_other_in_one_turn() -> None:
    made = Cell()
    made.receive(("S1", 5), ("S2", 2))
    turn = made.send(A, MoveStock("m-1", "B", (("S1", 2), ("S1", 1), ("S2", 2))))
    assert turn.outcome == "accepted"
    assert [(record.stream, record.tag) for record in turn.records] == [(A, "stock.moved_out"), (B, "stock.moved_in")]
    assert [made.level(sku, code).on_hand for sku in ("S1", "S2") for code in "AB"] == [2, 3, 0, 2]
    assert made.send(A, MoveStock("m-1", "B", (("S1", 2),))).outcome == "repeated"
    assert made.level("S1", "B").since_ms > 0


def test_a_move_of_more_than_is_available_moves_nothing() -> None:
    spec = given().when(MoveStock("m-1", "B", (("S2", 1), ("S1", 7)))).then_raises(NotEnoughOnHand)
    assert spec._refusal is not None
    assert spec._refusal.reason.startswith("nothing was moved: S1: 7 to move, 6 available. ")
    many = tuple((f"T{number}", 1) for number in range(12))
    spec = given().when(MoveStock("m-1", "B", many)).then_raises(NotEnoughOnHand)
    assert spec._refusal is not None
    assert ", and 2 more." in spec._refusal.reason


def test_a_receipt_of_the_same_number_in_the_other_warehouse_does_not_swallow_a_move() -> None:
    made = Cell()
    made.receive(("S1", 5))
    made.receive(("S1", 1), document="m-1", warehouse="B")
    made.send(A, MoveStock("m-1", "B", (("S1", 2),)))
    assert made.level("S1", "B").on_hand == 3
    made.send(B, MoveStock("m-2", "A", (("S1", 3),)))
    assert (made.level("S1").on_hand, made.level("S1", "B").on_hand) == (6, 0)


def test_a_move_needs_goods_and_a_warehouse() -> None:
    given().when(MoveStock("m-1", "B", ())).then_raises(BadQuantity)
    given().when(MoveStock("m-1", " ", (("S2", 1),))).then_raises(BadWarehouse)
    given().when(MoveStock("m-1", "B", (("S2", 0),))).then_raises(BadQuantity)


# --- damaged goods


def test_damaged_goods_stay_on_hand_and_are_not_available() -> None:
    spec = given().when(MarkDamaged("d-1", "S1", 4, "wet")).then(StockDamaged("d-1", "S1", 4, "wet", T0))
    assert (spec.state.levels["S1"].on_hand, spec.state.levels["S1"].available) == (10, 2)
    spec.when(MarkDamaged("d-1", "S1", 1, "wet")).then_nothing()
    spec.when(MarkDamaged("d-2", "S1", 3, "wet")).then_raises(NotEnoughOnHand)
    spec.when(AdjustStock("d-3", "S1", -3, "count")).then_raises(NotEnoughOnHand)
    spec.when(MarkDamaged("d-4", "S1", -1, "dry")).then(StockDamaged("d-4", "S1", -1, "dry", T0))
    spec.when(MarkDamaged("d-5", "S1", -4, "dry")).then_raises(NotEnoughOnHand)
    spec.when(ScrapDamaged("d-6", "S1", 3, "bin")).then(StockScrapped("d-6", "S1", 3, "bin", T0))
    assert (spec.state.levels["S1"].on_hand, spec.state.levels["S1"].available) == (7, 3)
    spec.when(ScrapDamaged("d-6", "S1", 1, "bin")).then_nothing()
    spec.when(ScrapDamaged("d-7", "S1", 1, "bin")).then_raises(NotEnoughOnHand)


@pytest.mark.parametrize(("sku", "delta"), [("", 1), ("S1", 0), ("S1", 10**9 + 1), ("S1", -(10**9) - 1)])
def test_damage_that_cannot_be_is_refused(sku: str, delta: int) -> None:
    given().when(MarkDamaged("d-1", sku, delta, "wet")).then_raises(BadQuantity)


def test_nothing_less_than_one_is_scrapped() -> None:
    given(StockDamaged("d-1", "S1", 1, "wet", T0)).when(ScrapDamaged("d-2", "S1", 0, "")).then_raises(NotEnoughOnHand)


# --- what becomes available serves presales that wait


def waiting() -> Spec:
    """Return a ledger where an order waits for five of S1, of which none is on the shelf."""
    spec = Spec(warehouse).when(ExpectStock("e-1", "po-1", (("S1", 9),), T0 + 1))
    spec = spec.given(*spec._events).when(PreReserve("o/pre-1", "o", (("S1", 5),), future=True))
    return spec.given(*spec._events)


@pytest.mark.parametrize(
    "command",
    [
        CountStock("c-1", (("S1", 5),)),
        TakeMoved("m-1", "B", (("S1", 5),)),
        ReceiveStock("r-1", (("S1", 5),)),
    ],
)
def test_goods_that_turn_up_go_to_those_who_were_promised_them(command: Any) -> None:
    events = waiting().when(command)._events
    assert events[-1] == PromiseCovered("o/pre-1", "o", (("S1", 5),), whole=True)


@pytest.mark.parametrize("command", [Release("p/1"), ProtectStock("pr-2", "S1", 0)])
def test_goods_that_become_free_go_to_those_who_were_promised_them(command: Any) -> None:
    spec = waiting().given(
        StockReceived("r-1", (("S1", 4),), T0),
        StockReserved("p/1", "p", (("S1", 2),)),
        StockProtected("pr-1", "S1", 2, T0),
    )
    events = spec.when(command)._events
    assert events[-1] == PromiseCovered("o/pre-1", "o", (("S1", 2),), whole=False)


def test_goods_that_are_good_after_all_go_to_those_who_were_promised_them() -> None:
    spec = waiting().given(StockReceived("r-1", (("S1", 2),), T0), StockDamaged("d-1", "S1", 2, "wet", T0))
    assert isinstance(spec.state.arrivals["po-1"], Arrival)
    events = spec.when(MarkDamaged("d-2", "S1", -2, "dry"))._events
    assert events[-1] == PromiseCovered("o/pre-1", "o", (("S1", 2),), whole=False)


def test_a_reservation_takes_no_more_of_a_pre_reservation_than_it_is_for() -> None:
    held = StockPreReserved("o/pre-1", "o", (("S1", 2), ("S2", 1)))
    spec = Spec(warehouse).given(TEN, held).when(Reserve("o/1", "o", (("S1", 1),), instead_of=("o/pre-1",)))
    spec.then(StockReleased("o/pre-1", (("S1", 1),)), StockReserved("o/1", "o", (("S1", 1),)))


# --- what was set


def test_scans_are_demanded_or_not() -> None:
    spec = given().when(SetPicking("p-1", verified=True)).then(PickingSet("p-1", verified=True, at_ms=T0))
    spec.when(SetPicking("p-1", verified=False)).then_nothing()
    spec.when(SetPicking("p-2", verified=True)).then_nothing()
    spec.when(SetPicking("p-3", verified=False)).then(PickingSet("p-3", verified=False, at_ms=T0))


LEVEL = ReorderLevelSet("r-1", "S1", 5, 20, T0)


def test_too_few_are_told_once_until_there_are_enough() -> None:
    spec = given().when(SetReorderLevel("r-1", "S1", 5, 20)).then(LEVEL)
    spec.when(Reserve("o/2", "o", (("S1", 1),))).then(StockReserved("o/2", "o", (("S1", 1),)))
    spec.when(Reserve("o/3", "o", (("S1", 2), ("S2", 1)))).then(
        StockReserved("o/3", "o", (("S1", 2), ("S2", 1))), ReorderSignalled("S1", 3, 5, 17)
    )
    spec.when(Reserve("o/4", "o", (("S1", 1),))).then(StockReserved("o/4", "o", (("S1", 1),)))
    spec.when(Release("o/4")).then(StockReleased("o/4", (("S1", 1),)))
    spec.when(Release("o/3")).then(StockReleased("o/3", (("S1", 2), ("S2", 1))), ReorderCleared("S1", 5))
    spec.when(MarkDamaged("d-1", "S1", 1, "wet")).then(
        StockDamaged("d-1", "S1", 1, "wet", T0), ReorderSignalled("S1", 4, 5, 16)
    )
    spec.when(ReceiveStock("r-9", (("S1", 16),))).then(
        StockReceived("r-9", (("S1", 16),), T0), ReorderCleared("S1", 20)
    )


def test_a_level_above_what_is_there_is_told_at_once_and_anew_when_it_changes() -> None:
    spec = given().when(SetReorderLevel("r-1", "S1", 7, 20))
    spec.then(ReorderLevelSet("r-1", "S1", 7, 20, T0), ReorderSignalled("S1", 6, 7, 14))
    spec.when(SetReorderLevel("r-1", "S1", 1, 1)).then_nothing()
    spec.when(SetReorderLevel("r-2", "S1", 8, 30))
    spec.then(ReorderLevelSet("r-2", "S1", 8, 30, T0), ReorderSignalled("S1", 6, 8, 24))
    spec.when(SetReorderLevel("r-3", "S1", 0, 0)).then(ReorderLevelSet("r-3", "S1", 0, 0, T0))
    spec.when(SetReorderLevel("r-4", "S1", 0, 0)).then(ReorderLevelSet("r-4", "S1", 0, 0, T0))
    assert not spec.state.floor.reorder
    spec.when(SetReorderLevel("r-5", "S9", 2, 2))
    spec.then(ReorderLevelSet("r-5", "S9", 2, 2, T0), ReorderSignalled("S9", 0, 2, 2))


def test_a_level_may_be_as_great_as_any_quantity() -> None:
    spec = given().when(SetReorderLevel("r-1", "S1", QUANTITY_MAX, QUANTITY_MAX))
    spec.then(
        ReorderLevelSet("r-1", "S1", QUANTITY_MAX, QUANTITY_MAX, T0),
        ReorderSignalled("S1", 6, QUANTITY_MAX, QUANTITY_MAX - 6),
    )


@pytest.mark.parametrize(("sku", "level", "target"), [("", 1, 1), ("S1", -1, 1), ("S1", 5, 4), ("S1", 1, 10**9 + 1)])
def test_a_level_that_cannot_be_is_refused(sku: str, level: int, target: int) -> None:
    given().when(SetReorderLevel("r-1", sku, level, target)).then_raises(BadQuantity)


def test_a_signal_of_a_sku_without_a_level_is_read_and_changes_nothing() -> None:
    assert given(ReorderSignalled("S1", 1, 2, 3), ReorderCleared("S1", 9)).state == given().state


@pytest.mark.parametrize(
    "command",
    [
        CountStock("", (("S1", 1),)),
        MoveStock("", "B", (("S1", 1),)),
        MarkDamaged("", "S1", 1, ""),
        ScrapDamaged("", "S1", 1, ""),
        SetPicking("", verified=True),
        SetReorderLevel("", "S1", 1, 1),
    ],
)
def test_an_act_without_a_number_of_its_own_is_refused(command: Any) -> None:
    given().when(command).then_raises(MissingDocument)


def test_a_snapshot_keeps_what_was_set_and_what_is_damaged() -> None:
    spec = given(StockDamaged("d-1", "S1", 1, "wet", T0), PickingSet("p-1", verified=True, at_ms=T0), LEVEL)
    state = spec.given(ReorderSignalled("S1", 4, 5, 16), StockMovedOut("m-1", "B", (("S2", 1),), T0)).state
    assert isinstance(state, Ledger)
    assert from_snapshot(to_snapshot(state)) == state
    moved = Spec(warehouse).given(StockMovedIn("m-1", "A", (("S2", 1),), T0)).state
    assert from_snapshot(to_snapshot(moved)) == moved
