"""Messages that wait: behind one that nobody could handle, or for an order that no channel has sent yet."""

import pytest

from domain.order import (
    ORDER_TIMER,
    QUEUE_MAX,
    WAIT_FOR_ORDER_MS,
    DiscardQuarantined,
    InterceptionResolved,
    NoSuchQuarantine,
    OrderIntercepted,
    OrderNormalized,
    OrderQuarantined,
    OrderReceived,
    Quarantine,
    QueueBehind,
    QueuedBehind,
    QueueFull,
    QueueReleased,
    ResendQuarantined,
    ResolveInterception,
    TimerCleared,
    TimerDue,
    TimerSet,
    order,
)
from tests.spec import T0, Spec, normalized, snapshot, taking

BAD = Quarantine("m-1", "no such status", "status", "correct it", "p-1", "")
KEPT = OrderQuarantined("m-1", "no such status", "status", "correct it", "p-1", "")
WAITS = QueuedBehind("m-2", "order", "", "{}")
UNPAID = snapshot("awaiting_payment")


def known() -> Spec:
    return Spec(order).given(*normalized(UNPAID))


def test_what_nobody_can_handle_is_kept_with_reason_place_and_advice() -> None:
    known().when(BAD).then(KEPT)


def test_what_follows_waits_behind_it() -> None:
    known().given(KEPT).when(QueueBehind("m-2", "p-2", "")).then(QueuedBehind("m-2", "m-1", "p-2", ""))


def test_a_second_bad_message_waits_as_well() -> None:
    known().given(KEPT).when(Quarantine("m-3", "bad", "", "", "p-3", "")).then(QueuedBehind("m-3", "m-1", "p-3", ""))


@pytest.mark.parametrize("again", [BAD, QueueBehind("m-9", "p-1", "")])
def test_a_sender_that_tries_again_does_not_fill_the_queue(again: Quarantine | QueueBehind) -> None:
    known().given(KEPT).when(again).then_nothing()


def test_the_queue_has_an_end() -> None:
    full = [QueuedBehind(f"q-{number}", "m-1", f"q-{number}") for number in range(QUEUE_MAX)]
    known().given(KEPT, *full).when(QueueBehind("m-2", "p-2", "")).then_raises(QueueFull)


def test_resending_and_discarding_set_the_queue_free_once() -> None:
    for command, event in (
        (ResendQuarantined("c-1", "m-1"), QueueReleased("m-1", "resend", "", "c-1")),
        (DiscardQuarantined("c-1", "m-1", "junk"), QueueReleased("m-1", "discard", "junk", "c-1")),
    ):
        spec = known().given(KEPT).when(command).then(event)
        assert (spec.state.quarantined, spec.state.queue) == (None, ())
        spec.when(command).then_nothing()


@pytest.mark.parametrize("item", ["m-2", "order"])
def test_only_what_is_quarantined_can_be_settled(item: str) -> None:
    known().given(KEPT).when(ResendQuarantined("c-1", item)).then_raises(NoSuchQuarantine)
    known().given(KEPT).when(DiscardQuarantined("c-1", item, "")).then_raises(NoSuchQuarantine)
    known().when(DiscardQuarantined("c-1", item, "")).then_raises(NoSuchQuarantine)


def test_a_message_for_an_unknown_order_waits_with_a_timer() -> None:
    spec = Spec(order).when(QueueBehind("m-2", "", "{}")).then(WAITS, TimerSet(ORDER_TIMER, T0 + WAIT_FOR_ORDER_MS))
    spec.when(QueueBehind("m-3", "", "[]")).then(QueuedBehind("m-3", "order", "", "[]"))


def test_the_timer_is_not_set_twice_when_the_queue_forms_again() -> None:
    spec = Spec(order).given(WAITS, TimerSet(ORDER_TIMER, T0 + 9), KEPT, QueueReleased("m-1", "discard"))
    spec.when(QueueBehind("m-2", "", "{}")).then(WAITS)


def test_an_order_that_does_not_come_in_time_is_intercepted() -> None:
    spec = Spec(order).given(WAITS, TimerSet(ORDER_TIMER, T0 + 9)).when(TimerDue(ORDER_TIMER, T0 + 9))
    assert spec.then_some(TimerCleared, OrderIntercepted).state.interceptions[0][1] == "order_unknown"
    assert spec.state.queue


def test_who_lets_go_what_waits_for_an_unknown_order_gives_it_as_long_again() -> None:
    spec = Spec(order).given(WAITS, OrderIntercepted("x", "order_unknown", "", "", "operations", T0))
    spec.when(ResolveInterception("c-1", "x", "release"))
    spec.then_some(InterceptionResolved, TimerSet)
    assert spec.state.timers == ((ORDER_TIMER, T0 + WAIT_FOR_ORDER_MS),)


def test_the_timer_of_a_known_order_says_nothing() -> None:
    known().given(TimerSet(ORDER_TIMER, T0)).when(TimerDue(ORDER_TIMER, T0)).then_some(TimerCleared)


def test_when_the_order_comes_what_waited_runs() -> None:
    spec = Spec(order).given(
        WAITS, TimerSet(ORDER_TIMER, T0), OrderIntercepted("x", "order_unknown", "", "", "operations", T0)
    )
    spec.when(taking(UNPAID))
    spec.then_some(OrderReceived, OrderNormalized, TimerCleared, InterceptionResolved, TimerSet, QueueReleased)
    assert spec.state.queue == ()


def test_what_waits_for_an_unknown_order_can_be_given_up() -> None:
    spec = Spec(order).given(WAITS, TimerSet(ORDER_TIMER, T0 + 9)).when(DiscardQuarantined("c-1", "order", "mistake"))
    spec.then(QueueReleased("order", "discard", "mistake", "c-1"), TimerCleared(ORDER_TIMER, fired=False))


def test_giving_up_the_queue_never_takes_a_quarantined_message_with_it() -> None:
    spec = Spec(order).given(WAITS, TimerSet(ORDER_TIMER, T0 + 9), KEPT)
    spec.when(DiscardQuarantined("c-1", "order", "mistake")).then_raises(NoSuchQuarantine)
