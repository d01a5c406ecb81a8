"""What people and the warehouse may do with an order: each act acts, refuses, and stays quiet when it is repeated."""

from typing import Any

import msgspec
import pytest

from domain.after_sale import AfterSaleOpened, OrderRefunded
from domain.canonical import Parcel, Snapshot
from domain.decider import Command, RefusedBefore
from domain.order import (
    Allocation,
    CancelLines,
    ConfirmReserved,
    IllegalTransition,
    InterceptionResolved,
    LinesCancelled,
    MissingCommandId,
    NoParcel,
    NoSuchInterception,
    NothingToShip,
    OrderCancelled,
    OrderCompleted,
    OrderIntercepted,
    OrderOnHold,
    OrderPaid,
    OrderPicked,
    OrderRefused,
    OrderReserved,
    OrderShipped,
    OrderUnknown,
    PartiallyShipped,
    PickListIssued,
    Quantities,
    ReportShort,
    ReservationFailed,
    ResolveInterception,
    ReturnGoods,
    ScanOut,
    Ship,
    StillUnmapped,
    TimerDue,
    TimerSet,
    UnknownLine,
    WrongActor,
    order,
)
from domain.stock import ReceiveStock
from tests.spec import T0, Spec, line, normalized, snapshot

TWO = snapshot(lines=(line("1"), line("2", quantity=3)))
RESERVED = OrderReserved("o/1", "A", (("S1", 1), ("S2", 3)))
LISTED = PickListIssued("pick-o/1", "o/1", "A", RESERVED.lines)
STOPPED = OrderIntercepted("i-1", "stock_short", "none left", "receive some", "operations", T0)


def paid(view: Snapshot = TWO) -> Spec:
    return Spec(order).given(*normalized(view), OrderPaid(400, "CNY", T0))


def allocated() -> Spec:
    return paid().given(RESERVED, LISTED)


def shipped() -> Spec:
    return allocated().given(OrderShipped((), T0, "o/1", "c-0"))


def cancelled() -> Spec:
    return paid().given(OrderCancelled("no stock"))


# --- scan-out and shipping


def test_a_scan_without_tracking_number_means_picked() -> None:
    allocated().when(ScanOut("c-1")).then(OrderPicked("o/1", "c-1"))


def test_a_scan_with_tracking_number_ships() -> None:
    parcel = Parcel("SF", "T1", ("1", "2"))
    allocated().when(ScanOut("c-1", "T1", "SF"), T0 + 5).then(OrderShipped((parcel,), T0 + 5, "o/1", "c-1"))


def test_what_was_picked_is_shipped() -> None:
    allocated().given(OrderPicked("o/1", "c-1")).when(Ship("c-2", "T1", "SF")).then_some(OrderShipped)


def test_picking_twice_is_said_once() -> None:
    allocated().given(OrderPicked("o/1", "c-1")).when(ScanOut("c-2")).then_nothing()


@pytest.mark.parametrize(
    "spec", [shipped, cancelled, lambda: Spec(order).given(*normalized(snapshot("awaiting_payment")))]
)
def test_goods_leave_only_while_the_order_is_allocating(spec: Any) -> None:
    spec().when(Ship("c-9", "T1", "SF")).then_raises(NothingToShip)


def test_without_stock_there_is_nothing_to_scan() -> None:
    paid().when(ScanOut("c-9")).then_raises(NothingToShip)


def test_an_intercepted_order_does_not_ship() -> None:
    allocated().given(STOPPED).when(ScanOut("c-1", "T1", "SF")).then_raises(OrderOnHold)


def test_a_platform_hold_stops_shipping() -> None:
    held = snapshot(lines=TWO.lines, holds=("locked",))
    paid(held).given(RESERVED).when(Ship("c-1", "T1", "SF")).then_raises(OrderOnHold)


def test_a_refund_asked_for_before_shipping_stops_shipping() -> None:
    spec = allocated().given(AfterSaleOpened((("1", 1),), "channel"))
    spec.when(Ship("c-1", "T1", "SF")).then_raises(OrderOnHold)


# --- cancelling


def test_cancelling_everything_cancels_the_order() -> None:
    allocated().when(CancelLines("c-1", (), "too late")).then(OrderCancelled("too late", "c-1"))


def test_cancelling_every_line_by_name_cancels_the_order() -> None:
    allocated().when(CancelLines("c-1", (("1", 1), ("2", 3)), "no")).then_some(LinesCancelled, OrderCancelled)


def test_cancelling_some_units_keeps_the_rest_allocated() -> None:
    spec = allocated().when(CancelLines("c-1", (("2", 1), ("2", 1)), "less"))
    spec.then(LinesCancelled((("2", 2),), "less", "c-1"))
    assert spec.state.allocations[0].lines == (("S1", 1), ("S2", 1))


@pytest.mark.parametrize("lines", [(("1", 2),), (("9", 1),), (("1", 0),), (("1", -1),), (("2", 2), ("2", 2))])
def test_only_what_was_ordered_can_be_cancelled(lines: tuple[tuple[str, int], ...]) -> None:
    allocated().when(CancelLines("c-1", lines, "")).then_raises(UnknownLine)


def test_units_cannot_be_cancelled_twice() -> None:
    spec = allocated().given(LinesCancelled((("2", 2),), "less", "c-1"))
    spec.when(CancelLines("c-2", (("2", 2),), "")).then_raises(UnknownLine)


def test_a_cancelled_order_cannot_be_cancelled() -> None:
    cancelled().when(CancelLines("c-1", (), "")).then_raises(IllegalTransition)


def test_cancelling_after_shipping_is_an_after_sale() -> None:
    shipped().when(CancelLines("c-1", (("2", 1),), "broken")).then(
        AfterSaleOpened((("2", 1),), "broken", command="c-1", skus=("S2",))
    )


def test_cancelling_everything_after_shipping_twice_opens_one_after_sale() -> None:
    spec = shipped().when(CancelLines("c-1", (), "broken")).then_some(AfterSaleOpened)
    spec.when(CancelLines("c-2", (), "broken")).then_nothing()


def test_cancelling_what_is_left_after_partial_shipping_ends_the_order_as_shipped() -> None:
    spec = allocated().given(PartiallyShipped(("1",), ()), STOPPED)
    spec.when(CancelLines("c-1", (("1", 1), ("2", 3)), "no"))
    spec.then_some(AfterSaleOpened, LinesCancelled, OrderShipped, InterceptionResolved)
    assert (spec.state.status, spec.state.allocations) == ("shipped", ())


def test_cancelling_the_unmapped_line_lets_the_rest_go() -> None:
    view = snapshot(lines=(line("1"), line("2", "")))
    stop = OrderIntercepted("u-1", "unmapped_sku", "", "", "operations", T0)
    paid(view).given(stop).when(CancelLines("c-1", (("2", 1),), "")).then_some(LinesCancelled, InterceptionResolved)


# --- decisions on interceptions


def test_release_resolves() -> None:
    paid().given(STOPPED).when(ResolveInterception("c-1", "i-1", "release", "seen")).then(
        InterceptionResolved("i-1", "release", "seen", "c-1")
    )


def test_release_of_a_held_allocation_issues_the_pick_list() -> None:
    paid().given(RESERVED, STOPPED).when(ResolveInterception("c-1", "i-1", "release")).then_some(
        InterceptionResolved, PickListIssued
    )


def test_cancel_cancels_the_order() -> None:
    spec = paid().given(STOPPED).when(ResolveInterception("c-1", "i-1", "cancel"))
    spec.then_some(InterceptionResolved, OrderCancelled)


def test_an_interception_is_resolved_once() -> None:
    spec = paid().given(STOPPED).when(ResolveInterception("c-1", "i-1", "release")).then_some(InterceptionResolved)
    spec.when(ResolveInterception("c-1", "i-1", "release")).then_nothing()
    spec.when(ResolveInterception("c-2", "i-1", "release")).then_raises(NoSuchInterception)


def test_an_unmapped_line_cannot_be_released() -> None:
    stop = OrderIntercepted("u-1", "unmapped_sku", "", "", "operations", T0)
    spec = paid(snapshot(lines=(line("1", ""),))).given(stop)
    spec.when(ResolveInterception("c-1", "u-1", "release")).then_raises(StillUnmapped)


def test_waiting_on_for_an_unknown_order_sets_the_timer_again_and_there_is_nothing_to_cancel() -> None:
    spec = Spec(order).given(OrderIntercepted("x-1", "order_unknown", "", "", "operations", T0))
    spec.when(ResolveInterception("c-1", "x-1", "cancel")).then_raises(OrderUnknown)
    spec.when(ResolveInterception("c-2", "x-1", "release")).then_some(InterceptionResolved, TimerSet)


# --- goods that come back


def test_goods_that_come_back_are_an_after_sale_done_at_once() -> None:
    shipped().when(ReturnGoods("r-1", "R1", (("S2", 2, 200),), "too big")).then(
        AfterSaleOpened((("2", 2),), "too big", "R1", "r-1", skus=("S2",)), OrderRefunded(("2",), 200, "R1", "r-1")
    )


def test_the_same_return_counts_once() -> None:
    spec = shipped().when(ReturnGoods("r-1", "R1", (("S2", 2, 200),), "")).then_some(AfterSaleOpened, OrderRefunded)
    spec.when(ReturnGoods("r-1", "R1", (("S2", 2, 200),), "")).then_nothing()


def test_no_more_comes_back_than_was_bought_however_often() -> None:
    spec = shipped().when(ReturnGoods("r-1", "R1", (("S2", 2, 200),), "")).then_some(AfterSaleOpened, OrderRefunded)
    spec.when(ReturnGoods("r-2", "R2", (("S2", 2, 200),), "")).then_raises(UnknownLine)
    spec.when(ReturnGoods("r-3", "R3", (("S2", 1, 100),), "")).then_some(AfterSaleOpened, OrderRefunded)


def test_one_return_may_span_lines_and_name_a_sku_twice() -> None:
    spec = Spec(order).given(*normalized(snapshot(lines=(line("1", "X"), line("2", "X", 2)))), OrderPaid(1, "CNY", T0))
    spec.given(OrderShipped((), T0)).when(ReturnGoods("r-1", "R1", (("X", 2, 0), ("X", 1, 0)), ""))
    spec.then(
        AfterSaleOpened((("1", 1), ("2", 2)), "", "R1", "r-1", skus=("X", "X")),
        OrderRefunded(("1", "2"), 0, "R1", "r-1"),
    )


@pytest.mark.parametrize("lines", [(), (("S1", 0, 0),), (("S1", -1, 0),), (("S9", 1, 0),)])
def test_a_return_needs_goods_of_the_order(lines: tuple[tuple[str, int, int], ...]) -> None:
    shipped().when(ReturnGoods("r-1", "R1", lines, "")).then_raises(UnknownLine)


def test_goods_cannot_come_back_before_they_left() -> None:
    allocated().when(ReturnGoods("r-1", "R1", (("S1", 1, 0),), "")).then_raises(IllegalTransition)


# --- what the warehouse answers


def test_a_reservation_is_noted_and_the_pick_list_goes_out() -> None:
    paid().when(ConfirmReserved("o/1", "A", RESERVED.lines)).then(RESERVED, LISTED)


def test_the_pick_list_of_a_held_order_waits() -> None:
    paid(snapshot(lines=TWO.lines, holds=("locked",))).when(ConfirmReserved("o/1", "A", RESERVED.lines)).then(RESERVED)


def test_a_reservation_for_an_order_that_is_over_is_refused() -> None:
    cancelled().when(ConfirmReserved("o/1", "A", RESERVED.lines)).then_raises(IllegalTransition)


def test_too_little_stock_stops_the_order_with_its_evidence() -> None:
    spec = paid().when(ReportShort("o/1", "A", (("S2", 3, 1),))).then_some(ReservationFailed, OrderIntercepted)
    assert spec.state.interceptions == (("stock_short-1", "stock_short"),)


def test_goods_that_left_without_stock_are_a_matter_of_their_own() -> None:
    spec = shipped().when(ReportShort("o/issued-2", "A", (("S2", 3, 1),)))
    assert spec.then_some(ReservationFailed, OrderIntercepted).state.interceptions[0][1] == "shipped_without_stock"


# --- who may ask, and how often


ACTS = [
    ScanOut("c-1"),
    Ship("c-1", "T", "SF"),
    CancelLines("c-1", (), ""),
    ResolveInterception("c-1", "i-1", "release"),
    ReturnGoods("c-1", "R", (), ""),
]


@pytest.mark.parametrize("command", ACTS)
def test_a_command_that_was_handled_is_quiet_for_ever(command: Command) -> None:
    spec = allocated().given(OrderPicked("o/1", "c-1"), STOPPED)
    spec.when(command).then_nothing()
    spec.given(OrderShipped((), T0), OrderCompleted(T0)).when(command).then_nothing()


@pytest.mark.parametrize("command", ACTS)
def test_a_command_that_was_refused_stays_refused_for_ever(command: Command) -> None:
    spec = allocated().given(OrderRefused("Anything", "Rule", "no", "c-1"), STOPPED)
    spec.when(command).then_raises(RefusedBefore)
    spec.given(OrderShipped((), T0), OrderCompleted(T0)).when(command).then_raises(RefusedBefore)


@pytest.mark.parametrize(
    "command",
    [Ship("c-1", "", ""), Ship("c-1", " ", "SF"), Ship("c-1", "T", ""), ScanOut("c-1", "T"), ScanOut("c-1", "", "SF")],
)
def test_a_parcel_that_nobody_could_follow_does_not_leave(command: Command) -> None:
    allocated().when(command).then_raises(NoParcel)


def test_a_command_without_an_id_is_refused() -> None:
    allocated().when(ScanOut("")).then_raises(MissingCommandId)


@pytest.mark.parametrize(
    "command", [ScanOut("c"), Ship("c", "T", "SF"), CancelLines("c", (), ""), ReturnGoods("c", "R", (), "")]
)
def test_an_order_that_nobody_knows_can_do_nothing(command: Command) -> None:
    Spec(order).when(command).then_raises(OrderUnknown)


def test_a_command_for_another_kind_of_actor_is_refused() -> None:
    allocated().when(ReceiveStock("d", (("S1", 1),))).then_raises(WrongActor)


def test_a_timer_that_is_not_open_is_ignored() -> None:
    allocated().when(TimerDue("payment", T0)).then_nothing()


def test_a_timer_of_no_meaning_is_only_cleared() -> None:
    spec = allocated().given(TimerSet("odd", T0)).when(TimerDue("odd", T0))
    assert spec.given(*spec._events).state.timers == ()


PLANNED = Allocation("o/1-1", "A", (("S1", 1), ("S2", 5)), held=True, units=(("1", 1), ("2", 2), ("3", 3)))
"""Two lines are of one SKU."""


@pytest.mark.parametrize(
    ("cancelled", "goods", "units"),
    [
        ((("1", 1),), (("S2", 5),), (("2", 2), ("3", 3))),
        ((("2", 1),), (("S1", 1), ("S2", 4)), (("1", 1), ("2", 1), ("3", 3))),
        ((("2", 2),), (("S1", 1), ("S2", 3)), (("1", 1), ("3", 3))),
        ((("2", 2), ("3", 3)), (("S1", 1),), (("1", 1),)),
        ((("1", 1), ("3", 2)), (("S2", 3),), (("2", 2), ("3", 1))),
    ],
)
def test_what_is_left_of_a_plan_names_only_what_it_still_holds(
    cancelled: Quantities, goods: Quantities, units: Quantities
) -> None:
    lines = (line("1"), line("2", "S2", 2), line("3", "S2", 3))
    state = Spec(order).given(*normalized(snapshot(lines=lines))).state
    state = msgspec.structs.replace(state, status="allocating", allocations=(PLANNED,))
    (left,) = order.evolve(state, LinesCancelled(cancelled, "no")).allocations
    assert (left.lines, left.units) == (goods, units)
