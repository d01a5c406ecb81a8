"""What became of our acts outside is an event of the order, told once, in whatever state the order is by then."""

import pytest

from domain.order import (
    EffectFailed,
    EffectSucceeded,
    OrderCancelled,
    OrderNormalized,
    OrderPaid,
    OrderQuarantined,
    RecordEffect,
    UnnamedEffect,
    order,
)
from tests.spec import T0, Cell, Spec, normalized, snapshot

NOTICE, KEY = "ship_notice", "order-taobao:shop1:o-1@7"
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
    spec.when(failed(3, final=True)).then(EffectFailed(NOTICE, KEY, "busy", tries=3))
    spec.when(failed(3)).then_nothing()


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
