"""What a channel's view of an order leads to."""

import msgspec
import pytest

from domain.after_sale import AfterSaleClosed, AfterSaleOpened, OrderRefunded
from domain.canonical import Snapshot, Status
from domain.order import (
    PAYMENT_TERM_MS,
    DepositPaid,
    InterceptionResolved,
    LinesCancelled,
    OrderAmended,
    OrderCancelled,
    OrderCompleted,
    OrderIntercepted,
    OrderNormalized,
    OrderOutdated,
    OrderPaid,
    OrderPicked,
    OrderReceived,
    OrderReleased,
    OrderRepeated,
    OrderReserved,
    OrderShipped,
    PartiallyShipped,
    PickListIssued,
    TimerCleared,
    TimerDue,
    TimerSet,
    order,
    shown_status,
)
from tests.spec import T0, Spec, at, digest_of, line, normalized, snapshot, taking

UNPAID = snapshot("awaiting_payment")
PAID = snapshot("paid")
RESERVED = OrderReserved("o/1", "A", (("S1", 1),))
LISTED = PickListIssued("pick-o/1", "o/1", "A", (("S1", 1),))
DUE = T0 + PAYMENT_TERM_MS


def amended(view: Snapshot, *changed: str, address: str = "addr-1") -> OrderAmended:
    command = taking(view, address)
    return OrderAmended(view, command.digest, address, changed, command.payload)


def paid(view: Snapshot = PAID) -> Spec:
    money = OrderPaid(view.amounts.paid, "CNY", view.modified_at.utc_ms)
    return Spec(order).given(*normalized(view), money)


def allocated(view: Snapshot = PAID) -> Spec:
    return paid(view).given(RESERVED, LISTED)


def test_an_unpaid_order_is_received_and_waits_for_its_money() -> None:
    Spec(order).when(taking(UNPAID)).then(*normalized(UNPAID), TimerSet("payment", DUE))


def test_the_channels_own_deadline_counts() -> None:
    view = snapshot("awaiting_payment", pay_by=at(30))
    Spec(order).when(taking(view)).then(*normalized(view), TimerSet("payment", at(30).utc_ms))


def test_a_paid_order_arrives_whole() -> None:
    Spec(order).when(taking(PAID)).then(*normalized(PAID), OrderPaid(100, "CNY", at(1).utc_ms))


def test_a_payment_that_is_dated_and_not_told_is_of_all_that_was_to_be_paid() -> None:
    view = msgspec.structs.replace(snapshot("paid", paid=0, freight=50), paid_at=at(7))
    money = OrderPaid(150, "CNY", at(7).utc_ms)
    Spec(order).when(taking(view)).then(*normalized(view), money)


def test_what_is_paid_on_delivery_may_go_and_counts_as_nothing_paid_yet() -> None:
    view = snapshot("paid", paid=0)
    Spec(order).when(taking(view)).then(*normalized(view), OrderPaid(0, "CNY", view.modified_at.utc_ms))


def test_payment_closes_the_deadline() -> None:
    later = snapshot("paid", 5)
    Spec(order).given(*normalized(UNPAID), TimerSet("payment", DUE)).when(taking(later)).then(
        amended(later, "amounts"), OrderPaid(100, "CNY", at(5).utc_ms), TimerCleared("payment", fired=False)
    )


def test_the_same_view_again_is_only_repeated() -> None:
    allocated().when(taking(PAID)).then(OrderRepeated(digest_of(PAID)))


def test_an_older_view_is_kept_and_not_followed() -> None:
    old = snapshot("awaiting_payment", 0)
    spec = allocated().when(taking(old))
    spec.then(OrderOutdated(T0, at(1).utc_ms, digest_of(old), taking(old).payload))
    assert spec.state.status == "allocating"


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        (snapshot("shipped"), PAID),
        (snapshot(revision=2), snapshot("cancelled", revision=1)),
        (
            snapshot("allocating", lines=(line("1", state="shipped"), line("2", state="shipped"))),
            snapshot("allocating", lines=(line("1", state="shipped"), line("2"))),
        ),
        (snapshot("completed", lines=(line("1", after_sale="refunded"),)), snapshot("completed")),
    ],
)
def test_of_two_views_of_one_moment_the_one_further_along_wins(newer: Snapshot, older: Snapshot) -> None:
    Spec(order).given(*normalized(newer)).when(taking(older)).then_some(OrderOutdated)
    assert isinstance(Spec(order).given(*normalized(older)).when(taking(newer))._events[0], OrderAmended)


def test_of_two_equal_views_of_one_moment_the_greater_digest_wins() -> None:
    greater, less = sorted((snapshot(freight=1), snapshot(freight=2)), key=digest_of, reverse=True)
    paid(greater).when(taking(less)).then_some(OrderOutdated)
    paid(less).when(taking(greater)).then_some(OrderAmended)


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        ("shipped", (OrderPaid, OrderShipped)),
        ("completed", (OrderPaid, OrderShipped, OrderCompleted)),
        ("cancelled", (OrderCancelled,)),
    ],
)
def test_a_late_first_view_goes_every_step_of_the_table(status: Status, kinds: tuple[type, ...]) -> None:
    view = snapshot(status)
    Spec(order).when(taking(view)).then_some(OrderReceived, OrderNormalized, *kinds)


def test_a_counter_sale_is_over_at_once() -> None:
    view = snapshot("completed", kind="counter")
    spec = Spec(order).when(taking(view))
    spec.then_some(OrderReceived, OrderNormalized, OrderPaid, OrderShipped, OrderCompleted)
    assert spec.state.status == "completed"


def test_goods_that_a_later_view_adds_to_a_counter_sale_were_handed_over_with_the_others() -> None:
    gone = line("1", state="shipped")
    sold = Spec(order).when(taking(snapshot("completed", 1, (gone,), kind="counter")))
    sold.then_some(OrderReceived, OrderNormalized, OrderPaid, OrderShipped, OrderCompleted)
    both = snapshot("completed", 2, (gone, line("2", state="shipped")), kind="counter")
    assert sold.when(taking(both)).then_some(OrderAmended).state.shipped == {"1", "2"}


def test_goods_that_a_later_view_adds_to_any_other_order_are_not_said_to_have_left() -> None:
    spec = Spec(order).given(*normalized(PAID), OrderPaid(100, "CNY", T0), OrderShipped((), T0), OrderCompleted(T0))
    both = snapshot("completed", 9, (line("1", state="shipped"), line("2")))
    assert spec.when(taking(both)).then_some(OrderAmended).state.shipped == {"1"}


def test_a_voided_counter_sale_is_cancelled_though_it_was_complete() -> None:
    sale = snapshot("completed", kind="counter")
    void = snapshot("cancelled", kind="counter", lines=(line("1", state="cancelled"),))
    sold = Spec(order).when(taking(sale)).then_some(
        OrderReceived, OrderNormalized, OrderPaid, OrderShipped, OrderCompleted
    )  # fmt: skip
    assert sold.when(taking(void)).then_some(OrderAmended, OrderCancelled).state.status == "cancelled"


def test_a_completed_order_of_a_shop_is_not_cancelled_but_becomes_an_after_sale() -> None:
    spec = Spec(order).given(*normalized(PAID), OrderPaid(100, "CNY", T0), OrderShipped((), T0), OrderCompleted(T0))
    view = snapshot("cancelled", 9, (line("1", state="shipped"),))
    spec.when(taking(view)).then_some(OrderAmended, AfterSaleOpened)
    assert (spec.state.status, shown_status(spec.state)) == ("completed", "after_sale")


def test_a_deposit_waits_for_its_balance_and_the_balance_pays() -> None:
    deposit = snapshot("awaiting_payment", 3, kind="presale", paid=50, pay_by=at(90))
    balance = snapshot("paid", 60, kind="presale")
    spec = Spec(order).given(*normalized(UNPAID), TimerSet("payment", DUE)).when(taking(deposit))
    spec.then(
        amended(deposit, "amounts"),
        DepositPaid(50, "CNY"),
        TimerCleared("payment", fired=False),
        TimerSet("payment", at(90).utc_ms),
    )
    spec.when(taking(balance)).then_some(OrderAmended, OrderPaid, TimerCleared)


def test_a_deposit_without_a_date_for_the_balance_has_no_deadline() -> None:
    deposit = snapshot("awaiting_payment", 3, paid=50)
    spec = Spec(order).given(*normalized(UNPAID), TimerSet("payment", DUE)).when(taking(deposit))
    assert spec.then_some(OrderAmended, DepositPaid, TimerCleared).state.timers == ()


def test_a_moved_deadline_replaces_the_old_one() -> None:
    moved = snapshot("awaiting_payment", 3, pay_by=at(500))
    spec = Spec(order).given(*normalized(UNPAID), TimerSet("payment", DUE)).when(taking(moved))
    spec.then(amended(moved), TimerCleared("payment", fired=False), TimerSet("payment", at(500).utc_ms))


def overdue() -> Spec:
    spec = Spec(order).given(*normalized(UNPAID), TimerSet("payment", DUE))
    return spec.when(TimerDue("payment", DUE)).then_some(TimerCleared, OrderIntercepted)


def test_an_order_unpaid_at_its_deadline_is_intercepted_once() -> None:
    overdue().when(TimerDue("payment", DUE)).then_nothing()


def test_a_late_payment_lifts_the_interception() -> None:
    late = snapshot("paid", 9_000)
    spec = overdue().when(taking(late))
    assert spec.then_some(OrderAmended, OrderPaid, InterceptionResolved).state.interceptions == ()


def test_a_deadline_that_was_dealt_with_is_not_set_again() -> None:
    again = snapshot("awaiting_payment", 9, freight=5)
    overdue().when(taking(again)).then_some(OrderAmended)


def test_a_longer_deadline_lifts_the_interception_and_counts_anew() -> None:
    longer = snapshot("awaiting_payment", 9, pay_by=at(9_000))
    spec = overdue().when(taking(longer)).then_some(OrderAmended, InterceptionResolved, TimerSet)
    assert spec.state.timers == (("payment", at(9_000).utc_ms),)


def test_part_of_an_order_ships_and_then_the_rest() -> None:
    lines = (line("1"), line("2"))
    part = snapshot("allocating", 4, (line("1", state="shipped"), line("2")))
    whole = snapshot("shipped", 8, (line("1", state="shipped"), line("2", state="shipped")))
    spec = paid(snapshot(lines=lines)).given(OrderReserved("o/1", "A", (("S1", 1), ("S2", 1))))
    spec.when(taking(part)).then_some(OrderAmended, PartiallyShipped, PickListIssued)
    assert spec.state.shipped == {"1"}
    assert spec.state.allocations[0].lines == (("S2", 1),)
    spec.when(taking(whole)).then_some(OrderAmended, OrderShipped)
    assert (spec.state.status, spec.state.shipped) == ("shipped", {"1", "2"})


def test_cancelling_what_is_left_of_a_partly_shipped_order_ends_it_as_shipped() -> None:
    view = snapshot("cancelled", 9, (line("1", state="shipped"), line("2")))
    spec = Spec(order).when(taking(view))
    spec.then_some(
        OrderReceived, OrderNormalized, OrderPaid, PartiallyShipped, LinesCancelled, OrderShipped, AfterSaleOpened
    )
    assert spec.state.status == "shipped"


def test_a_cancelled_order_that_has_left_by_its_shipping_time_is_an_after_sale() -> None:
    view = snapshot("cancelled", 9, shipped=5)
    spec = Spec(order).when(taking(view))
    spec.then_some(OrderReceived, OrderNormalized, OrderPaid, PartiallyShipped, OrderShipped, AfterSaleOpened)


def test_cancelling_again_says_nothing_new() -> None:
    first, second = snapshot("cancelled", 2), snapshot("cancelled", 3)
    Spec(order).when(taking(first)).then_some(OrderReceived, OrderNormalized, OrderCancelled).when(
        taking(second)
    ).then_some(OrderAmended)


def test_after_sales_follow_the_channel_line_by_line() -> None:
    spec = Spec(order).given(*normalized(PAID), OrderPaid(100, "CNY", T0), OrderShipped((), T0))
    spec.when(taking(snapshot("shipped", 2, (line("1", after_sale="open"),)))).then_some(OrderAmended, AfterSaleOpened)
    assert shown_status(spec.state) == "after_sale"
    spec.when(taking(snapshot("shipped", 3, (line("1", after_sale="refunded"),)))).then_some(
        OrderAmended, OrderRefunded
    )
    assert shown_status(spec.state) == "shipped"
    spec.when(taking(snapshot("shipped", 4, (line("1", after_sale="open"),)))).then_some(OrderAmended, AfterSaleOpened)
    spec.when(taking(snapshot("shipped", 5, (line("1", after_sale="closed"),)))).then_some(
        OrderAmended, AfterSaleClosed
    )
    assert spec.state.after_sales == ()


@pytest.mark.parametrize("now", [(line("1"),), (line("2"),)])
def test_an_after_sale_that_the_channel_no_longer_names_is_closed(now: tuple[object, ...]) -> None:
    spec = Spec(order).given(*normalized(PAID), OrderPaid(100, "CNY", T0), OrderShipped((), T0))
    spec.when(taking(snapshot("shipped", 2, (line("1", after_sale="open"),)))).then_some(OrderAmended, AfterSaleOpened)
    view = snapshot("shipped", 3, now)  # type: ignore[arg-type]
    assert spec.when(taking(view)).then_some(OrderAmended, AfterSaleClosed).state.after_sales == ()


def test_a_channel_that_cancels_what_has_left_leaves_its_after_sale_open() -> None:
    spec = Spec(order).given(*normalized(PAID), OrderPaid(100, "CNY", T0), OrderShipped((), T0))
    spec.when(taking(snapshot("shipped", 2, (line("1", after_sale="open"),)))).then_some(OrderAmended, AfterSaleOpened)
    spec.when(taking(snapshot("cancelled", 3, shipped=1))).then_some(OrderAmended)
    assert (spec.state.status, spec.state.after_sales) == ("shipped", (("1", "open"),))


def test_an_after_sale_of_goods_that_never_left_is_over_when_the_channel_cancels_them() -> None:
    spec = paid().when(taking(snapshot("paid", 2, (line("1", after_sale="open"),))))
    spec.then_some(OrderAmended, AfterSaleOpened)
    spec.when(taking(snapshot("cancelled", 3))).then_some(OrderAmended, OrderCancelled, AfterSaleClosed)
    assert (spec.state.status, spec.state.after_sales) == ("cancelled", ())


def test_an_after_sale_of_ours_is_not_closed_by_a_channel_that_knows_nothing_of_it() -> None:
    spec = Spec(order).given(*normalized(PAID), OrderPaid(100, "CNY", T0), OrderShipped((), T0))
    spec.given(AfterSaleOpened((("1", 1),), "too big", command="c-1"))
    assert spec.when(taking(snapshot("shipped", 3))).then_some(OrderAmended).state.after_sales == (("1", "open"),)


def test_an_unmapped_line_stops_the_order_until_it_is_mapped() -> None:
    unmapped, mapped = snapshot(lines=(line("1", ""),)), snapshot("paid", 4, (line("1"),))
    spec = Spec(order).when(taking(unmapped)).then_some(OrderReceived, OrderNormalized, OrderPaid, OrderIntercepted)
    assert spec.when(taking(mapped)).then_some(OrderAmended, InterceptionResolved).state.interceptions == ()


def test_an_allocation_that_no_longer_fits_is_given_back() -> None:
    more = snapshot("paid", 4, (line("1", quantity=2),))
    spec = allocated().when(taking(more))
    spec.then(
        amended(more, "lines", "amounts"), OrderReleased("o/1", "A", (("S1", 1),), "changed_after_allocation")
    )  # fmt: skip
    assert (spec.state.status, spec.state.allocations) == ("paid", ())


def test_a_change_that_needs_the_same_goods_keeps_the_allocation() -> None:
    view = snapshot("paid", 4, (line("1"),), freight=700)
    assert allocated().when(taking(view)).then_some(OrderAmended).state.allocations[0].id == "o/1"


@pytest.mark.parametrize(("lines", "address"), [((line("1", quantity=2),), "addr-1"), ((line("1"),), "addr-2")])
def test_a_change_after_picking_stops_the_parcel(lines: tuple[object, ...], address: str) -> None:
    view = snapshot("paid", 4, lines)  # type: ignore[arg-type]
    spec = allocated().given(OrderPicked("o/1", "c-1")).when(taking(view, address))
    spec.then_some(OrderAmended, OrderIntercepted)
    assert spec.state.interceptions[0][1] == "changed_after_allocation"


def test_a_change_after_picking_that_leaves_goods_and_address_as_they_are_stops_nothing() -> None:
    view = snapshot("paid", 5, freight=9)
    allocated().given(OrderPicked("o/1", "c-1")).when(taking(view)).then(amended(view, "amounts"))


def test_a_platform_hold_comes_and_goes_with_the_view() -> None:
    held = snapshot("paid", 4, holds=("risk_review",))
    spec = allocated().when(taking(held)).then(amended(held, "holds"))
    assert spec.state.holds == ("risk_review",)
    assert spec.when(taking(snapshot("paid", 5))).then_some(OrderAmended).state.holds == ()


def test_a_held_order_gets_its_pick_list_when_the_hold_is_lifted() -> None:
    held = snapshot("paid", 1, holds=("risk_review",))
    spec = paid(held).given(RESERVED).when(taking(snapshot("paid", 5)))
    assert spec.then_some(OrderAmended, PickListIssued).state.allocations[0].listed


@pytest.mark.parametrize(("status", "before"), [("awaiting_payment", "paid"), ("paid", "shipped")])
def test_a_channel_that_goes_back_is_looked_into_and_changes_nothing(status: Status, before: Status) -> None:
    first = snapshot(before, 2)
    spec = Spec(order).given(*normalized(first), OrderPaid(100, "CNY", T0))
    if before == "shipped":
        spec.given(OrderShipped((), T0))
    spec.when(taking(snapshot(status, 7))).then_some(OrderAmended, OrderIntercepted)
    assert (spec.state.status, spec.state.interceptions[0][1]) == (before, "moved_backwards")
    spec.when(taking(snapshot(before, 9)))
    assert any(isinstance(event, InterceptionResolved) for event in spec._events)


def test_money_for_an_order_that_we_cancelled_is_not_overlooked() -> None:
    spec = Spec(order).given(*normalized(UNPAID), OrderCancelled("too late", "c-1"))
    spec.when(taking(snapshot("paid", 7))).then_some(OrderAmended, OrderIntercepted)
    assert spec.state.interceptions[0][1] == "alive_after_cancelling"
    assert spec.state.status == "cancelled"
    spec.when(taking(snapshot("cancelled", 9))).then_some(OrderAmended, InterceptionResolved)


def test_a_channel_that_follows_our_cancellation_does_not_take_it_off_twice() -> None:
    three, two = snapshot(lines=(line("1", quantity=3),)), snapshot("paid", 5, (line("1", quantity=2),))
    spec = paid(three).given(LinesCancelled((("1", 1),), "one less", "c-1"), OrderReserved("o/1", "A", (("S1", 2),)))
    spec.when(taking(two)).then_some(OrderAmended, PickListIssued)
    assert (spec.state.cancelled, spec.state.allocations[0].lines) == ((), (("S1", 2),))


def test_a_channel_that_has_not_heard_of_our_cancellation_yet_alarms_nobody_until_it_goes_on() -> None:
    cancelled = Spec(order).given(*normalized(snapshot()), OrderPaid(100, "CNY", T0), OrderCancelled("no stock"))
    assert not intercepted(cancelled.when(taking(snapshot(minute=5, freight=1))))
    assert intercepted(cancelled.when(taking(snapshot("shipped", 6)))) == ["alive_after_cancelling"]


def test_a_counter_that_goes_back_on_a_sale_alarms_nobody() -> None:
    sold = Spec(order).when(taking(snapshot("completed", 1, kind="counter")))
    sold.given(*sold._events)
    assert not intercepted(sold.when(taking(snapshot("paid", 2, kind="counter"))))


def intercepted(spec: Spec) -> list[str]:
    return [each.reason for each in spec._events if isinstance(each, OrderIntercepted)]
