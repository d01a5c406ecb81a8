"""The cell's own stream: which acts outside came of its events, and nothing that is not its own."""

import pytest

from domain.cellular import (
    BrokerReset,
    CellEffectFailed,
    CellEffectSucceeded,
    CellRefused,
    MailLost,
    Tick,
    WrongActor,
    cell_actor,
)
from domain.order import OrderPaid, RecordEffect, Ship
from tests.spec import T0, Spec

ACT = ("notify", "cell-main@2/operations")


def failed(tries: int, *, final: bool) -> RecordEffect:
    return RecordEffect(f"c-{tries}", *ACT, "failed", reason="busy", tries=tries, final=final)


def test_each_try_of_an_act_is_told_once_until_it_has_succeeded() -> None:
    spec = Spec(cell_actor).given(BrokerReset("a", "b", 9, "wiped"))
    spec.when(failed(1, final=False)).then(CellEffectFailed(*ACT, "busy", tries=1, final=False))
    spec.when(failed(1, final=False)).then_nothing()
    spec.when(failed(2, final=True)).then(CellEffectFailed(*ACT, "busy", tries=2))
    done = RecordEffect("c-3", *ACT, "succeeded", "r-1", tries=3)
    spec.when(done).then(CellEffectSucceeded(*ACT, "r-1", 3))
    spec.when(done).then_nothing()
    spec.when(failed(4, final=True)).then_nothing()


def test_other_acts_are_told_by_themselves() -> None:
    spec = Spec(cell_actor).given(CellEffectSucceeded(*ACT))
    other = RecordEffect("c-1", "notify", "cell-main@2/finance", "succeeded")
    spec.when(other).then(CellEffectSucceeded("notify", "cell-main@2/finance"))


def test_what_is_lost_is_counted_message_by_message() -> None:
    spec = Spec(cell_actor).given(MailLost(5, 9), MailLost(11, 11), BrokerReset("a", "b", 9, "wiped"))
    assert (spec.state.lost, spec.state.resets) == (6, 1)


def test_refusals_and_the_passing_of_time_change_nothing() -> None:
    spec = Spec(cell_actor).given(MailLost(5, 9))
    before = spec.state
    assert spec.given(CellRefused("Ship", "WrongActor", "no")).state is before
    spec.when(Tick()).then_nothing()


def test_commands_and_events_of_other_actors_are_none_of_the_cell() -> None:
    Spec(cell_actor).when(Ship("c-1", "T1", "SF")).then_raises(WrongActor)
    with pytest.raises(TypeError, match="not an event of the cell: OrderPaid"):
        Spec(cell_actor).given(OrderPaid(1, "CNY", T0))
