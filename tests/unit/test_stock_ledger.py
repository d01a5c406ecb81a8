"""What a warehouse's ledger does, refuses and keeps quiet about."""

from typing import Any

import pytest

from domain.decider import Command
from domain.order import ScanOut
from domain.reorder import SetReorderLevel
from domain.shelf import CountStock, StockCounted
from domain.stock import (
    DOCUMENT_MAX,
    DOCUMENTS_KEPT_MS,
    DOCUMENTS_LEAP_MS,
    QUANTITY_MAX,
    SKU_MAX,
    AdjustStock,
    BadArrival,
    BadDocument,
    BadQuantity,
    BadSku,
    ExpectStock,
    Held,
    Issue,
    Level,
    MissingDocument,
    NotEnoughOnHand,
    PickOut,
    PreReserve,
    PromiseCovered,
    PromiseDropped,
    ProtectStock,
    ReceiveStock,
    Release,
    ReservationRefused,
    Reserve,
    StockAdjusted,
    StockExpected,
    StockIssued,
    StockPickedOut,
    StockPreReserved,
    StockPromised,
    StockProtected,
    StockReceived,
    StockRefused,
    StockReleased,
    StockReserved,
    StockReturned,
    StockReturnedDamaged,
    TakeBack,
    WrongActor,
    from_snapshot,
    to_snapshot,
)
from domain.time_units import DAY_MS
from domain.timehub import MS_MAX
from domain.warehouse import warehouse
from tests.spec import T0, Spec

TEN = StockReceived("d-0", (("S1", 10), ("S2", 10)), T0)
HELD = StockReserved("o/1", "o", (("S1", 4), ("S2", 1)))
GIFTS = StockPreReserved("o/g", "o", (("S1", 2),))


def ten() -> Spec:
    return Spec(warehouse).given(TEN)


def held() -> Spec:
    return ten().given(HELD, GIFTS)


def level(spec: Spec, sku: str) -> Level:
    found = spec.state.levels[sku]
    assert isinstance(found, Level)
    return found


# --- documents: receipts, counts, protection


def test_goods_that_come_in_are_on_hand() -> None:
    Spec(warehouse).when(ReceiveStock("d-1", (("S1", 2), ("S2", 1), ("S1", 3)))).then(
        StockReceived("d-1", (("S1", 5), ("S2", 1)), T0)
    )


def test_a_count_puts_the_figure_right_and_protection_sets_some_aside() -> None:
    spec = ten().when(AdjustStock("d-1", "S1", -3, "count")).then(StockAdjusted("d-1", "S1", -3, "count", T0))
    spec.when(ProtectStock("d-2", "S1", 7)).then(StockProtected("d-2", "S1", 7, T0))
    assert level(spec, "S1").available == 0


@pytest.mark.parametrize(
    "command", [ReceiveStock("d-0", (("S1", 2),)), AdjustStock("d-0", "S1", 1, ""), ProtectStock("d-0", "S1", 1)]
)
def test_a_document_counts_once(command: Command) -> None:
    ten().when(command).then_nothing()


@pytest.mark.parametrize(
    "command", [ReceiveStock("", (("S1", 2),)), AdjustStock("", "S1", 1, ""), ProtectStock("", "S1", 1)]
)
def test_a_document_needs_a_number(command: Command) -> None:
    ten().when(command).then_raises(MissingDocument)


@pytest.mark.parametrize(
    "command",
    [
        ReceiveStock("d-1", ()),
        ReceiveStock("d-1", (("S1", 0),)),
        ReceiveStock("d-1", (("S1", 1), ("S2", -1))),
        ReceiveStock("d-1", (("", 1),)),
        ReceiveStock("d-1", (("S1", QUANTITY_MAX + 1),)),
        AdjustStock("d-1", "S1", 0, ""),
        AdjustStock("d-1", "", 1, ""),
        AdjustStock("d-1", "S1", -QUANTITY_MAX - 1, ""),
        ProtectStock("d-1", "S1", -1),
        ProtectStock("d-1", "S1", 11),
        ProtectStock("d-1", "", 0),
        Reserve("o/2", "o", ()),
        Reserve("o/2", "o", (("S1", 0),)),
        PreReserve("o/2", "o", (("S1", -1),)),
    ],
)
def test_quantities_that_cannot_be_are_refused(command: Command) -> None:
    ten().when(command).then_raises(BadQuantity)


@pytest.mark.parametrize("sku", ["S" * (SKU_MAX + 1), "S\n1", "S\x001", "\x1b[2J"])
def test_what_nobody_can_type_is_no_sku(sku: str) -> None:
    for command in (
        ReceiveStock("d-1", (("S2", 1), (sku, 1))),
        ExpectStock("d-1", "PO-1", ((sku, 1),), T0),
        AdjustStock("d-1", sku, 1, ""),
        ProtectStock("d-1", sku, 0),
        CountStock("d-1", ((sku, 1),)),
        SetReorderLevel("d-1", sku, 1, 2),
    ):
        ten().when(command).then_raises(BadSku)


def test_a_sku_that_a_ledger_took_before_can_be_cleared_away() -> None:
    odd = "S\n1"
    spec = ten().given(StockReceived("d-0", ((odd, 3),), T0))
    spec.when(CountStock("d-1", ((odd, 0),))).then_some(StockCounted, StockAdjusted)


@pytest.mark.parametrize("document", ["d" * (DOCUMENT_MAX + 1), "d\n1", "d\x001"])
def test_what_nobody_can_type_is_no_document(document: str) -> None:
    ten().when(ReceiveStock(document, (("S1", 1),))).then_raises(BadDocument)


def test_a_count_cannot_take_away_what_is_promised() -> None:
    held().when(AdjustStock("d-1", "S1", -5, "")).then_raises(NotEnoughOnHand)
    held().when(AdjustStock("d-1", "S1", -4, "")).then_some(StockAdjusted)


def test_a_refusal_does_not_use_up_the_documents_number() -> None:
    spec = ten().given(StockRefused("AdjustStock", "NotEnoughOnHand", "", "m-1"))
    spec.when(AdjustStock("d-1", "S1", -1, "")).then_some(StockAdjusted)


@pytest.mark.parametrize(("age_ms", "known"), [(DOCUMENTS_KEPT_MS, True), (DOCUMENTS_KEPT_MS + 1, False)])
def test_documents_are_remembered_for_400_days(age_ms: int, known: bool) -> None:
    later = range(T0, T0 + age_ms, DOCUMENTS_LEAP_MS)
    spec = ten().given(*(StockReceived(f"d-{at_ms}", (("S1", 1),), at_ms) for at_ms in (*later, T0 + age_ms)))
    assert ("d-0" in spec.state.documents) == known


def test_a_document_of_a_clock_that_was_wrong_is_remembered_as_long_as_others() -> None:
    wrong_ms = T0 - 2 * DOCUMENTS_KEPT_MS
    spec = ten().given(StockReceived("d-1", (("S1", 1),), wrong_ms), StockReceived("d-2", (("S1", 1),), T0 + DAY_MS))
    spec.when(ReceiveStock("d-1", (("S1", 1),))).then_nothing()


def test_a_clock_that_is_far_ahead_makes_no_document_older() -> None:
    ahead_ms = T0 + 2 * DOCUMENTS_KEPT_MS
    wrong = (StockReceived(f"d-{day}", (("S1", 1),), ahead_ms + day * DAY_MS) for day in range(1, 4))
    spec = ten().given(*wrong)
    spec.when(ReceiveStock("d-0", (("S1", 1),))).then_nothing()
    spec.given(StockReceived("d-4", (("S1", 1),), T0 + DAY_MS)).when(ReceiveStock("d-4", (("S1", 1),))).then_nothing()


def test_old_documents_are_looked_for_once_a_day_only() -> None:
    spec = ten().given(StockReceived("d-1", (("S1", 1),), T0 + DAY_MS), StockReceived("d-2", (("S1", 1),), T0 + DAY_MS))
    assert spec.state.expired_ms == T0 + DAY_MS


# --- allocations


def test_an_allocation_is_reserved_whole() -> None:
    ten().when(Reserve("o/1", "o", (("S1", 3), ("S2", 1), ("S1", 1)))).then(HELD)


def test_one_missing_unit_refuses_the_whole_allocation() -> None:
    command = Reserve("o/1", "o", (("S1", 10), ("S2", 11), ("S3", 1)))
    ten().when(command).then(ReservationRefused("o/1", "o", (("S2", 11, 10), ("S3", 1, 0))))


def test_gifts_are_held_apart_and_whole() -> None:
    spec = ten().when(PreReserve("o/g", "o", (("S1", 2),))).then(GIFTS)
    assert (level(spec, "S1").pre_reserved, level(spec, "S1").available) == (2, 8)
    spec.when(PreReserve("o/h", "o", (("S1", 9),))).then(ReservationRefused("o/h", "o", (("S1", 9, 8),)))


@pytest.mark.parametrize("kind", [Reserve, PreReserve])
def test_an_allocation_that_is_held_is_not_held_twice(kind: Any) -> None:
    held().when(kind("o/1", "o", (("S1", 1),))).then_nothing()


def test_release_gives_back_all_or_some() -> None:
    held().when(Release("o/1")).then(StockReleased("o/1", HELD.lines))
    spec = held().when(Release("o/1", (("S1", 1), ("S9", 5)))).then(StockReleased("o/1", (("S1", 1),)))
    assert dict(spec.state.allocations)["o/1"] == Held((("S1", 3), ("S2", 1)))
    assert held().when(Release("o/g")).then_some(StockReleased).state.levels["S1"].pre_reserved == 0


def test_picking_out_takes_from_the_shelf_all_or_some() -> None:
    spec = held().when(PickOut("o/1")).then(StockPickedOut("o/1", HELD.lines))
    assert (level(spec, "S1").on_hand, level(spec, "S1").reserved) == (6, 0)
    spec = held().when(PickOut("o/1", (("S1", 99),))).then(StockPickedOut("o/1", (("S1", 4),)))
    assert dict(spec.state.allocations)["o/1"] == Held((("S2", 1),))
    spec = held().when(PickOut("o/g")).then_some(StockPickedOut)
    assert (level(spec, "S1").on_hand, level(spec, "S1").pre_reserved) == (8, 0)


@pytest.mark.parametrize("command", [Release("o/9"), PickOut("o/9"), Release("o/1", (("S9", 1),))])
def test_what_is_not_held_cannot_be_given_back_or_picked(command: Command) -> None:
    held().when(command).then_nothing()


def test_a_reservation_takes_the_place_only_of_goods_that_are_held_for_it() -> None:
    lines = (("S1", 5),)
    reserved = StockReserved("o/2", "o", lines)
    held().when(Reserve("o/2", "o", lines, (), ("o/g",))).then(StockReleased("o/g", GIFTS.lines), reserved)
    held().when(Reserve("o/2", "o", (("S1", 4),), (), ("o/9", "o/1"))).then(StockReserved("o/2", "o", (("S1", 4),)))
    waits = held().given(StockPromised("o/p", "o", (("S1", 1),), T0 + DAY_MS))
    waits.when(Reserve("o/2", "o", (("S1", 4),), (), ("o/p",))).then(StockReserved("o/2", "o", (("S1", 4),)))


# --- goods that are yet to arrive


def expected(sku: str, units: int, days: int) -> StockExpected:
    return StockExpected(f"e-{sku}-{days}", f"PO-{sku}-{days}", ((sku, units),), T0 + days * DAY_MS, T0)


def test_goods_are_promised_for_the_day_on_which_the_last_of_them_is_expected() -> None:
    spec = ten().given(expected("S9", 9, 1), expected("S3", 2, 2), expected("S3", 2, 4), expected("S3", 9, 8))
    command = PreReserve("o/p", "o", (("S3", 3),), future=True)
    spec.when(command).then(StockPromised("o/p", "o", (("S3", 3),), T0 + 4 * DAY_MS))
    assert (level(spec, "S3").promised, spec.state.promises) == (3, ("o/p",))
    spec.when(PreReserve("o/q", "q", (("S9", 10),), future=True)).then_some(ReservationRefused)


def test_a_promise_of_which_nothing_has_come_leaves_nothing_behind_when_it_is_given_back() -> None:
    spec = ten().given(StockPromised("o/p", "o", (("S3", 3),), T0 + DAY_MS))
    spec.when(Release("o/p")).then(PromiseDropped("o/p", (("S3", 3),)))
    assert (level(spec, "S3").promised, spec.state.promises, len(spec.state.allocations)) == (0, (), 0)


def test_what_arrives_is_for_those_who_wait_for_it_and_for_nobody_else() -> None:
    promised = (StockPromised("a/p", "a", (("S3", 3),), T0), StockPromised("b/p", "b", (("S4", 2),), T0))
    arrived = StockReceived("d-1", (("S4", 5),), T0)
    spec = ten().given(*promised).when(ReceiveStock("d-1", (("S4", 5),)))
    spec.then(arrived, PromiseCovered("b/p", "b", (("S4", 2),), whole=True))
    assert spec.state.promises == ("a/p",)
    assert (level(spec, "S4").available, level(spec, "S4").pre_reserved) == (3, 2)


def test_one_unit_that_arrives_is_for_the_first_who_waits_and_never_for_two() -> None:
    wanted = {"a": 1, "b": 3, "c": 2, "d": 1}
    spec = ten().given(*(StockPromised(f"{name}/p", name, (("S3", units),), T0) for name, units in wanted.items()))
    spec.when(ReceiveStock("d-1", (("S3", 5),))).then(
        StockReceived("d-1", (("S3", 5),), T0),
        PromiseCovered("a/p", "a", (("S3", 1),), whole=True),
        PromiseCovered("b/p", "b", (("S3", 3),), whole=True),
        PromiseCovered("c/p", "c", (("S3", 1),), whole=False),
    )
    assert (level(spec, "S3").available, spec.state.promises) == (0, ("c/p", "d/p"))


def test_an_arrival_is_announced_once() -> None:
    command = ExpectStock("e-1", "PO-1", (("S3", 2),), T0 + DAY_MS)
    ten().when(command).then(StockExpected("e-1", "PO-1", (("S3", 2),), T0 + DAY_MS, T0)).when(command).then_nothing()


@pytest.mark.parametrize("due_ms", [0, -1, MS_MAX + 1, 2**64 - 1])
def test_goods_arrive_on_a_day_that_a_calendar_has(due_ms: int) -> None:
    ten().when(ExpectStock("e-1", "PO-1", (("S3", 2),), due_ms)).then_raises(BadArrival)


def test_calling_off_what_was_never_announced_changes_no_figure() -> None:
    command = ExpectStock("e-1", "PO-9", (), T0 + DAY_MS)
    spec = ten().given(expected("S3", 2, 1))
    before = spec.state
    spec.when(command).then(StockExpected("e-1", "PO-9", (), T0 + DAY_MS, T0)).when(command).then_nothing()
    assert (spec.state.arrivals, spec.state.levels) == (before.arrivals, before.levels)


# --- goods that came back


def test_goods_that_come_back_count_once_the_good_ones_to_be_sold_again() -> None:
    command = TakeBack("back-1", "o", (("S1", 2),), (("S1", 1), ("S2", 1)))
    spec = ten().when(command)
    spec.then(
        StockReturned("back-1", "o", (("S1", 2),), T0), StockReturnedDamaged("back-1", "o", (("S1", 1), ("S2", 1)), T0)
    )
    assert (level(spec, "S1").on_hand, level(spec, "S1").available, level(spec, "S2").available) == (13, 12, 10)
    spec.when(command).then_nothing()


# --- goods that left without a reservation


def test_goods_that_left_elsewhere_are_deducted_where_they_were_counted() -> None:
    command = Issue("o/issued-1", "o", (("S1", 3), ("S9", 2)), T0)
    ten().when(command).then(StockIssued("o/issued-1", "o", (("S1", 3),)))


def test_goods_that_left_before_the_count_began_are_not_deducted() -> None:
    ten().when(Issue("o/issued-1", "o", (("S1", 3),), T0 - 1)).then_nothing()


def test_a_sku_that_was_only_protected_is_not_counted() -> None:
    spec = Spec(warehouse).given(StockProtected("d-1", "S1", 0, T0))
    spec.when(Issue("o/issued-1", "o", (("S1", 3),), T0)).then_nothing()


def test_what_is_there_is_deducted_and_what_is_short_is_reported() -> None:
    held().when(Issue("o/issued-1", "o", (("S1", 6), ("S2", 2)), T0)).then(
        StockIssued("o/issued-1", "o", (("S1", 4), ("S2", 2))), ReservationRefused("o/issued-1", "o", (("S1", 6, 4),))
    )
    empty = ten().given(StockReserved("x/1", "x", (("S1", 10),)))
    empty.when(Issue("o/issued-1", "o", (("S1", 6),), T0)).then(ReservationRefused("o/issued-1", "o", (("S1", 6, 0),)))


# --- the rest


def test_a_command_for_another_kind_of_actor_is_refused() -> None:
    ten().when(ScanOut("c-1")).then_raises(WrongActor)


def test_refusals_change_no_figure() -> None:
    spec = held()
    before = spec.state
    refusals = (StockRefused("x", "y", "z"), ReservationRefused("o/9", "o", (("S1", 1, 0),)))
    assert spec.given(*refusals).state == before


def test_a_snapshot_is_the_ledger() -> None:
    state = held().state
    assert from_snapshot(to_snapshot(state)) == state
    assert to_snapshot(from_snapshot(to_snapshot(state))) == to_snapshot(state)


def test_the_past_is_never_refused_even_where_nothing_is_held() -> None:
    spec = ten().given(StockReceived("d-1", (("S3", 1),), T0), StockReleased("o/9", (("S3", 0),)))
    assert len(spec.state.allocations) == 0
