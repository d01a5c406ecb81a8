"""Parcels on their way: scans in any order, delivery, failures, and completion by rule."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from domain.after_sale import AfterSaleClosed, AfterSaleOpened
from domain.canonical import Parcel
from domain.ids import order_key
from domain.order import (
    CancelLines,
    InterceptionResolved,
    OrderCompleted,
    OrderIntercepted,
    OrderPaid,
    OrderShipped,
    PartiallyShipped,
    ScanOut,
    TimerCleared,
    TimerDue,
    TimerSet,
    order,
)
from domain.tracking import (
    AHEAD_MS_MAX,
    COMPLETE_AFTER_MS,
    SCANS_MAX,
    DeliveryFailed,
    NoSuchParcel,
    NothingScanned,
    OrderDelivered,
    ParcelTracked,
    RecordTrack,
    Scan,
    SettleDelivery,
    TooManyScans,
)
from tests.spec import T0, Cell, Spec, line, normalized, replayed, snapshot

KEY = order_key("taobao", "shop1", "o-1")
HOUR = 3_600_000
LINES = (line("1"), line("2"))
PAID = (*normalized(snapshot("paid", lines=LINES)), OrderPaid(200, "CNY", T0))
FIRST = PartiallyShipped(("1",), (Parcel("SF", "T1", ("1",)),), T0)
REST = OrderShipped((Parcel("SF", "T1", ("1",)), Parcel("YTO", "T2", ("2",))), T0)
COLLECTED = Scan(T0 + HOUR, "collected", "上海", "a")
MOVING = Scan(T0 + 2 * HOUR, "in_transit", "苏州", "b")
SIGNED = Scan(T0 + 9 * HOUR, "signed", "苏州", "c")


def told(*scans: Scan, tracking: str = "T1", command: str = "c-1", carrier: str = "SF") -> RecordTrack:
    return RecordTrack(command, tracking, carrier, scans)


def spec() -> Spec:
    return Spec(order).given(*PAID, FIRST, REST)


def sent(*, own: bool = True) -> Cell:
    """Return a cell with an order of one parcel on its way."""
    cell = Cell()
    cell.receive(("S1", 5))
    cell.take(snapshot())
    if own:
        cell.send(KEY, ScanOut("out-1", "T1", "SF"))
    else:
        cell.take(snapshot("shipped", 5))
    return cell


def test_what_a_carrier_tells_is_kept_by_its_own_time() -> None:
    spec().when(told(MOVING, COLLECTED)).then(ParcelTracked("T1", "SF", (COLLECTED, MOVING), "c-1"))


def test_what_was_told_before_changes_nothing_and_only_what_is_new_is_recorded() -> None:
    known = spec().when(told(COLLECTED)).then(ParcelTracked("T1", "SF", (COLLECTED,), "c-1"))
    known.when(told(COLLECTED)).then_nothing()
    known.when(told(COLLECTED, command="c-2")).then_nothing()
    known.when(told(COLLECTED, MOVING, command="c-3")).then(ParcelTracked("T1", "SF", (MOVING,), "c-3"))


def test_what_is_dated_in_the_future_decides_nothing_and_the_rest_is_taken() -> None:
    future = Scan(T0 + AHEAD_MS_MAX + 1, "signed")
    spec().when(told(future, COLLECTED)).then(ParcelTracked("T1", "SF", (COLLECTED,), "c-1"))


def test_a_late_scan_is_kept_and_does_not_decide() -> None:
    late = Scan(T0 + HOUR, "problem", "上海", "z")
    spec().given(ParcelTracked("T1", "SF", (MOVING,))).when(told(late)).then(ParcelTracked("T1", "SF", (late,), "c-1"))


def test_a_scan_that_says_no_state_changes_none() -> None:
    silent = Scan(T0 + 10 * HOUR, "", "苏州", "y")
    after = spec().given(ParcelTracked("T1", "SF", (SIGNED,)), ParcelTracked("T1", "SF", (silent,)))
    assert after.state.tracking.parcels[0].state == "signed"


def test_a_carrier_is_the_one_the_parcel_left_with_where_none_is_told() -> None:
    spec().when(told(MOVING, carrier="")).then(ParcelTracked("T1", "SF", (MOVING,), "c-1"))


def test_what_says_nothing_or_is_of_no_parcel_of_the_order_is_refused() -> None:
    spec().when(told()).then_raises(NothingScanned)
    spec().when(told(Scan(T0 + AHEAD_MS_MAX + 1, "signed"))).then_raises(NothingScanned)
    spec().when(told(MOVING, tracking="T9")).then_raises(NoSuchParcel)
    Spec(order).given(*PAID).when(told(MOVING)).then_raises(NoSuchParcel)


def test_a_carrier_that_never_ends_is_refused_in_the_end() -> None:
    many = tuple(Scan(T0 + number, "in_transit") for number in range(SCANS_MAX))
    spec().given(ParcelTracked("T1", "SF", many)).when(told(SIGNED, tracking="T2")).then_raises(TooManyScans)


def test_an_order_is_delivered_when_its_last_parcel_is_signed_for() -> None:
    cell = Cell()
    cell.take(snapshot("allocating", 1, (line("1", state="shipped"), line("2"))))
    cell.send(KEY, told(SIGNED))
    assert "order.delivered" not in cell.tags(KEY)
    cell.take(snapshot("shipped", 9, (line("1", state="shipped"), line("2", state="shipped"))))
    assert cell.tags(KEY)[-2:] == ["order.delivered", "order.timer_set"]
    assert cell.order().status == "shipped"
    assert replayed(cell.records) == cell.living


def test_what_is_left_being_cancelled_makes_a_signed_part_the_whole() -> None:
    cell = Cell()
    cell.take(snapshot("allocating", 1, (line("1", state="shipped"), line("2"))))
    cell.send(KEY, told(SIGNED))
    cell.send(KEY, CancelLines("c-9", (("2", 1),), "not wanted"))
    assert cell.tags(KEY)[-2:] == ["order.delivered", "order.timer_set"]


def test_delivery_is_dated_by_the_carrier_and_the_timer_runs_from_it_but_never_from_the_future() -> None:
    signed = spec().given(ParcelTracked("T1", "SF", (SIGNED,)))
    future = Scan(T0 + 99 * HOUR, "signed")
    signed.given(ParcelTracked("T2", "YTO", (future,))).when(SettleDelivery(), T0 + 10 * HOUR).then(
        OrderDelivered(future.at_ms), TimerSet("complete", T0 + 10 * HOUR + COMPLETE_AFTER_MS)
    )


def test_an_order_that_its_channel_completed_is_delivered_without_a_timer() -> None:
    signed = ParcelTracked("T1", "SF", (SIGNED,)), ParcelTracked("T2", "YTO", (SIGNED,))
    spec().given(OrderCompleted(T0), *signed).when(SettleDelivery()).then(OrderDelivered(SIGNED.at_ms))


def test_with_nothing_to_settle_nothing_is_said() -> None:
    spec().when(SettleDelivery()).then_nothing()


def test_a_delivered_order_completes_by_rule_when_nobody_objects() -> None:
    cell = sent()
    cell.now_ms = SIGNED.at_ms
    cell.send(KEY, told(COLLECTED, SIGNED))
    due = dict(cell.order().timers)["complete"]
    assert due == SIGNED.at_ms + COMPLETE_AFTER_MS
    cell.now_ms = due
    turn = cell.send(KEY, TimerDue("complete", due))
    assert [record.tag for record in turn.records] == ["order.timer_cleared", "order.completed"]
    assert b'"rule"' in turn.records[-1].envelope
    assert cell.order().status == "completed"
    cell.send(KEY, TimerDue("complete", due))
    assert cell.tags(KEY).count("order.completed") == 1


def test_an_open_after_sale_is_waited_for() -> None:
    signed = spec().given(
        ParcelTracked("T1", "SF", (SIGNED,)),
        ParcelTracked("T2", "YTO", (SIGNED,)),
        OrderDelivered(SIGNED.at_ms),
        TimerSet("complete", T0),
        AfterSaleOpened((("1", 1),), "broken"),
    )
    waiting = signed.when(TimerDue("complete", T0)).then(TimerCleared("complete", fired=True))
    waiting.when(SettleDelivery()).then_nothing()
    waiting.given(AfterSaleClosed(("1",))).when(SettleDelivery(), T0 + 5).then(OrderCompleted(T0 + 5))


def test_after_the_channel_completed_it_the_timer_means_nothing() -> None:
    cell = sent(own=False)
    cell.send(KEY, told(SIGNED))
    due = dict(cell.order().timers)["complete"]
    cell.take(snapshot("completed", 9))
    turn = cell.send(KEY, TimerDue("complete", due))
    assert [record.tag for record in turn.records] == ["order.timer_cleared"]


def test_a_parcel_that_leaves_later_makes_an_order_undelivered_until_it_arrives() -> None:
    cell = sent(own=False)
    cell.send(KEY, told(SIGNED))
    first = dict(cell.order().timers)["complete"]
    exchanged = snapshot("shipped", 9)
    more = (*exchanged.parcels, Parcel("YTO", "T2"))
    cell.take(msgspec.structs.replace(exchanged, parcels=more))
    assert not cell.order().tracking.delivered
    cell.now_ms = SIGNED.at_ms + 50 * HOUR
    cell.send(KEY, told(Scan(SIGNED.at_ms + 50 * HOUR, "signed"), tracking="T2", command="c-2"))
    assert cell.order().tracking.delivered
    assert dict(cell.order().timers)["complete"] > first
    assert [timer for timer, _ in cell.order().timers].count("complete") == 1


def test_a_number_that_the_channel_corrects_decides_nothing_any_more() -> None:
    cell = sent(own=False)
    view = snapshot("shipped", 9)
    cell.take(msgspec.structs.replace(view, parcels=(Parcel("SF", "T2"),)))
    cell.send(KEY, told(Scan(T0, "returning")))
    assert not cell.order().interceptions
    cell.send(KEY, told(SIGNED, tracking="T2", command="c-2"))
    assert cell.order().tracking.delivered
    assert replayed(cell.records) == cell.living


def test_our_own_parcel_stays_one_whatever_the_channel_tells() -> None:
    cell = sent()
    cell.take(msgspec.structs.replace(snapshot("shipped", 9), parcels=(Parcel("SF", "T2"),)))
    assert [(each.tracking, each.gone) for each in cell.order().tracking.parcels] == [("T1", False), ("T2", False)]
    cell.take(msgspec.structs.replace(snapshot("shipped", 10), parcels=()))
    assert [(each.tracking, each.gone) for each in cell.order().tracking.parcels] == [("T1", False), ("T2", False)]


def test_a_parcel_that_does_not_arrive_stops_the_order_with_advice_for_service() -> None:
    refused = Scan(T0 + 5 * HOUR, "refused", "苏州", "d")
    decided = spec().when(told(refused), T0 + 6 * HOUR)
    decided.then(
        ParcelTracked("T1", "SF", (refused,), "c-1"),
        DeliveryFailed("T1", "SF", "refused", refused.at_ms),
        OrderIntercepted(
            f"delivery_failed-T1-{refused.at_ms}",
            "delivery_failed",
            "parcel T1 (SF): 拒签 the customer refused the parcel",
            "ask the customer why; send it again, or open an after-sale",
            "service",
            T0 + 6 * HOUR,
        ),
    )
    later = Scan(T0 + 7 * HOUR, "returned", "上海", "e")
    again = decided.when(told(later, command="c-2"))
    again.then_some(ParcelTracked, InterceptionResolved, DeliveryFailed, OrderIntercepted)
    assert len(again.state.interceptions) == 1
    again.when(told(SIGNED, command="c-3")).then(
        ParcelTracked("T1", "SF", (SIGNED,), "c-3"),
        InterceptionResolved(f"delivery_failed-T1-{later.at_ms}", "moved_on"),
    )
    assert not again.state.interceptions


def test_a_failure_that_was_decided_on_is_not_told_again_by_older_scans() -> None:
    problem = Scan(T0 + 5 * HOUR, "problem")
    decided = spec().when(told(problem)).then_some(ParcelTracked, DeliveryFailed, OrderIntercepted)
    name = decided.state.interceptions[0][0]
    decided.given(InterceptionResolved(name, "release", "", "c-8"))
    decided.when(told(Scan(T0 + 4 * HOUR, "problem"), command="c-2")).then_some(ParcelTracked)


def test_a_parcel_that_is_lost_holds_back_the_completion() -> None:
    cell = sent()
    cell.send(KEY, told(SIGNED))
    due = dict(cell.order().timers)["complete"]
    cell.send(KEY, told(Scan(SIGNED.at_ms + 1, "returning"), command="c-2"))
    cell.send(KEY, TimerDue("complete", due))
    assert cell.order().status == "shipped"
    cell.send(KEY, told(Scan(SIGNED.at_ms + 2, "signed"), command="c-3"))
    assert cell.order().status == "completed"


def test_a_track_of_an_order_nobody_has_seen_waits_for_it() -> None:
    cell = Cell()
    assert cell.send(KEY, told(SIGNED)).outcome == "queued"
    cell.take(snapshot("shipped", 5))
    assert cell.order().tracking.delivered


STATES = st.sampled_from(("", "collected", "in_transit", "delivering", "signed", "problem", "refused", "returning"))
SCANS = st.builds(Scan, st.integers(T0, T0 + 5), STATES, st.sampled_from(("", "上海")))


@given(st.lists(SCANS, min_size=1, max_size=8), st.randoms(use_true_random=False), st.integers(1, 4))
def test_scans_in_any_order_and_any_number_end_alike(scans: list[Scan], chance: Any, cuts: int) -> None:
    def run(pushes: list[list[Scan]]) -> object:
        cell = sent()
        for number, push in enumerate(pushes):
            cell.send(KEY, told(*push, command=f"c-{number}"))
        assert replayed(cell.records) == cell.living
        state = cell.order()
        assert state.tracking.delivered or state.tracking.parcels[0].state != "signed"
        return state.tracking.parcels, [reason for _, reason in state.interceptions]

    shuffled = [*scans, *scans[:3]]
    chance.shuffle(shuffled)
    parts = [part for at in range(0, len(shuffled), cuts) if (part := shuffled[at : at + cuts])]
    assert run([scans]) == run(parts)
