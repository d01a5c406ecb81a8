"""What became of our acts outside is an event of the order, told once, in whatever state the order is by then."""

from typing import Any

import pytest

from domain.ids import RULEBOOK_KEY
from domain.order import (
    EffectFailed,
    EffectSucceeded,
    InterceptionResolved,
    OrderCancelled,
    OrderIntercepted,
    OrderNormalized,
    OrderPaid,
    OrderQuarantined,
    RecordEffect,
    UnnamedEffect,
    on_hold,
    order,
)
from domain.rulebook import ChangeRules
from tests.spec import T0, Cell, Spec, normalized, snapshot

NOTICE, KEY = "ship_notice", "order-taobao:shop1:o-1@7"
STOPPED = OrderIntercepted(
    "effect_failed-ship_notice-7",
    "effect_failed",
    "ship_notice failed after 3 tries: busy",
    "repair the cause and have it tried again (orderspine effects retry); or do it by hand and release",
    "operations",
    T0,
)
DONE = EffectSucceeded(NOTICE, KEY, "r-1")


def known() -> Spec:
    return Spec(order).given(*normalized(snapshot()), OrderPaid(100, "CNY", T0))


def failed(tries: int, *, final: bool = False, command: str = "c") -> RecordEffect:
    return RecordEffect(f"{command}-{tries}", NOTICE, KEY, "failed", reason="busy", tries=tries, final=final)


def test_a_success_is_told_with_the_outsides_own_number() -> None:
    known().when(RecordEffect("c-1", NOTICE, KEY, "succeeded", "r-1")).then(DONE)


def test_a_success_is_told_once_however_often_it_is_reported() -> None:
    spec = known().given(DONE)
    spec.when(RecordEffect("c-1", NOTICE, KEY, "succeeded", "r-1")).then_nothing()
    spec.when(RecordEffect("c-2", NOTICE, KEY, "succeeded", "r-2", tries=9)).then_nothing()


def test_a_failure_that_comes_after_the_success_is_old_news() -> None:
    known().given(DONE).when(failed(5, final=True)).then_nothing()


def test_each_try_that_fails_is_told_once_and_the_last_one_as_final() -> None:
    spec = known()
    spec.when(failed(1)).then(EffectFailed(NOTICE, KEY, "busy", tries=1, final=False))
    spec.when(failed(1, command="again")).then_nothing()
    spec.when(failed(3)).then(EffectFailed(NOTICE, KEY, "busy", tries=3, final=False))
    spec.when(failed(2)).then_nothing()
    spec.when(failed(3, final=True)).then(EffectFailed(NOTICE, KEY, "busy", tries=3), STOPPED)
    spec.when(failed(3)).then_nothing()
    spec.when(failed(4, final=True)).then(EffectFailed(NOTICE, KEY, "busy", tries=4))


def test_an_end_is_told_also_where_tries_were_counted_anew() -> None:
    spec = known().given(EffectFailed(NOTICE, KEY, "busy", tries=5, final=False))
    spec.when(failed(1)).then_nothing()
    spec.when(failed(1, final=True)).then_some(EffectFailed, OrderIntercepted)
    spec.when(failed(1, final=True, command="sent-again")).then_nothing()
    # Released, and tried again by a person who had counted from nothing.
    given_up = known().given(EffectFailed(NOTICE, KEY, "busy", tries=12))
    given_up.when(failed(1)).then_nothing()
    given_up.when(failed(1, final=True)).then_some(EffectFailed, OrderIntercepted)


def test_an_act_that_is_given_up_stops_its_order_until_it_is_done_after_all() -> None:
    spec = known().when(failed(3, final=True)).then(EffectFailed(NOTICE, KEY, "busy", tries=3), STOPPED)
    assert on_hold(spec.state)
    done = RecordEffect("c-9", NOTICE, KEY, "succeeded", "r-1", tries=4)
    spec.when(done).then(
        EffectSucceeded(NOTICE, KEY, "r-1", 4), InterceptionResolved(STOPPED.interception, "succeeded")
    )


@pytest.mark.parametrize(("effect", "then", "stops"), [
    ("ship_notice", "", True), ("wms_create", "", True), ("erp", "", False), ("notify:stopped", "", False),
    ("ship_notice", "give_up", False), ("erp", "intercept", True),
])  # fmt: skip
def test_which_acts_stop_an_order_is_known_and_can_be_ruled(effect: str, then: Any, stops: bool) -> None:
    command = RecordEffect("c-1", effect, KEY, "failed", reason="gone", then=then)
    spec = known().when(command)
    spec.then_some(EffectFailed, OrderIntercepted) if stops else spec.then_some(EffectFailed)


def test_nothing_stops_an_order_that_is_over() -> None:
    known().given(OrderCancelled("no")).when(failed(3, final=True)).then(EffectFailed(NOTICE, KEY, "busy", tries=3))


def test_the_rule_book_in_force_says_what_a_failure_leads_to() -> None:
    cell = Cell()
    cell.take(snapshot())
    book = 'format = 1\n[[act]]\nid = "notices"\neffect = "ship_notice"\nthen = "give_up"\n'
    cell.send(RULEBOOK_KEY, ChangeRules("r-1", book, "no alarms"))
    key = "order-taobao:shop1:o-1"
    before = cell.order().interceptions
    cell.send(key, failed(3, final=True))
    assert (cell.tags(key)[-1], cell.order().interceptions) == ("order.effect_failed", before)


def test_what_was_given_up_may_still_succeed() -> None:
    spec = known().given(EffectFailed(NOTICE, KEY, "busy", tries=4))
    spec.when(RecordEffect("c-1", NOTICE, KEY, "succeeded", "r-1", tries=5)).then(
        EffectSucceeded(NOTICE, KEY, "r-1", 5)
    )


def test_other_keys_and_other_effects_are_acts_of_their_own() -> None:
    spec = known().given(DONE)
    spec.when(RecordEffect("c-1", NOTICE, "other", "succeeded")).then(EffectSucceeded(NOTICE, "other"))
    spec.when(RecordEffect("c-2", "erp", KEY, "succeeded")).then(EffectSucceeded("erp", KEY))


@pytest.mark.parametrize(
    "before",
    [
        (),
        (*normalized(snapshot("awaiting_payment")),),
        (*normalized(snapshot()), OrderCancelled("changed mind")),
        (*normalized(snapshot()), OrderQuarantined("m-1", "no such status")),
    ],
)
def test_it_is_told_in_any_state_and_moves_nothing(before: tuple[object, ...]) -> None:
    spec = Spec(order).given(*before)  # type: ignore[arg-type]
    status = spec.state.status
    spec.when(RecordEffect("c-1", NOTICE, KEY, "succeeded", "r-1")).then(DONE)
    assert spec.state.status == status


def test_an_outcome_known_before_the_order_is_not_forgotten_when_the_order_comes() -> None:
    spec = Spec(order).given(DONE, OrderNormalized(snapshot(), "d", "a"))
    spec.when(RecordEffect("c-2", NOTICE, KEY, "succeeded", "r-1")).then_nothing()


def test_nothing_without_a_name_succeeds() -> None:
    known().when(RecordEffect("c-1", "", KEY, "succeeded")).then_raises(UnnamedEffect)
    known().when(RecordEffect("c-2", NOTICE, "", "failed")).then_raises(UnnamedEffect)


def test_a_report_does_not_wait_behind_a_quarantined_message() -> None:
    cell = Cell()
    cell.take(snapshot())
    key = "order-taobao:shop1:o-1"
    cell.take(snapshot(minute=2, lines=()))
    cell.send(key, RecordEffect("c-1", NOTICE, KEY, "succeeded"))
    assert cell.tags(key)[-1] == "order.effect_succeeded"
    assert cell.send(key, RecordEffect("c-1", NOTICE, KEY, "succeeded")).outcome == "repeated"
