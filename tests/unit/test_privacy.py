"""Who asked that a person be forgotten: decided at once for all orders, recorded for ever, done once."""

from typing import Any

import msgspec
import pytest

from domain.acts import NobodyActs, UnknownRole
from domain.buyers import BuyerOwes, BuyerSet, buyers
from domain.decider import Command
from domain.envelope import By
from domain.erasure import (
    AwaitForget,
    BuyerForgotten,
    Forget,
    OrderForgettingAwaited,
    OrderForgettingWithdrawn,
    OrderForgotten,
    OrderIsForgotten,
    StopAwaiting,
    TrailForgotten,
)
from domain.handled import MissingCommandId
from domain.ids import trail_key
from domain.order import Order, OrderQuarantined, QueuedBehind, RecordEffect, TimerCleared, TimerSet, order
from domain.privacy import (
    LOOK_MS,
    SETTLED_MS,
    AwaitedAlready,
    DataDisclosed,
    ErasureDelayed,
    ForgetPerson,
    ForgettingAsked,
    ForgettingAwaited,
    ForgettingWithdrawn,
    LookAgain,
    NobodyFound,
    NothingAwaited,
    NotToldWhy,
    PersonForgotten,
    PrivacyRefused,
    RecordDisclosure,
    RepeatForgetting,
    StillOwes,
    StillUnderWay,
    TooMuchAtOnce,
    WithdrawForgetting,
    WrongActor,
    informed,
    privacy,
    react,
    react_to_awaited,
    streams_of,
    why_unfinished,
)
from domain.talk import Comment
from domain.trail import OrderNoted, trail
from tests.spec import T0, Spec

LI = By("person", "Li.Wei", "service")
KEY, BUYER, ASIDE = "order-b2b:s:1", "b2b:00aa", "aside-00ff"
NAMED = ((KEY,), (BUYER,), (ASIDE,))
ASKED = ForgettingAsked("c-1", "customer", "asked by phone", "li.wei", "service", *NAMED)


def forget(own: str = "c-1", **fields: Any) -> ForgetPerson:
    told: dict[str, Any] = {"who": LI, "asked": "customer", "reason": "asked by phone"}
    told |= {"orders": (KEY,), "buyers": (BUYER,), "asides": (ASIDE,)}
    return ForgetPerson(own, **(told | fields))


def report(outcome: Any = "succeeded", reference: str = "c-1", tries: int = 1) -> RecordEffect:
    own = f"erasure/privacy-main@1/{outcome}/{tries}"
    return RecordEffect(own, "erasure", "privacy-main@1", outcome, reference, "busy", tries, final=outcome != "failed")


def test_a_request_is_recorded_and_done_once() -> None:
    spec = Spec(privacy).when(forget()).then(ASKED)
    spec.when(forget()).then_nothing()
    spec.when(report("failed", "", 1)).then(ErasureDelayed("erasure", "privacy-main@1", "busy", "", 1, final=False))
    spec.when(report(tries=2)).then(PersonForgotten("erasure", "privacy-main@1", "c-1", 2))
    spec.when(report(tries=3)).then_nothing()
    spec.when(report(reference="nobody's")).then_nothing()


def test_a_reason_may_be_as_long_as_its_refusal_says() -> None:
    Spec(privacy).when(forget(reason="x" * 500)).then_some(ForgettingAsked)


# --- requests that wait


WAITS = ForgettingAwaited("c-1", "customer", "asked by phone", "li.wei", "service", *NAMED)
TIMED = TimerSet("forget-c-1", T0 + LOOK_MS)
PAID = ((KEY, "it is paid"),)


def later(own: str = "c-1", **fields: Any) -> ForgetPerson:
    return forget(own, when_finished=True, **({"unfinished": PAID} | fields))


def test_a_request_waits_until_nothing_stands_against_it_and_is_then_carried_out_once() -> None:
    spec = Spec(privacy).when(later()).then(WAITS, TIMED)
    spec.when(later()).then_nothing()
    spec.when(LookAgain("c-1", unfinished=PAID)).then_nothing()
    spec.when(LookAgain("c-1", owing=(BUYER,))).then_nothing()
    spec.when(LookAgain("c-1")).then(TimerCleared("forget-c-1", fired=False), ASKED)
    spec.when(LookAgain("c-1")).then_nothing()
    spec.when(report()).then(PersonForgotten("erasure", "privacy-main@1", "c-1", 1))


def test_where_nothing_stands_against_it_it_does_not_wait() -> None:
    Spec(privacy).when(later(unfinished=())).then(ASKED)


def test_its_timer_looks_again_each_day_for_what_no_order_tells() -> None:
    spec = Spec(privacy).given(WAITS, TIMED)
    again = (TimerCleared("forget-c-1", fired=True), TimerSet("forget-c-1", T0 + LOOK_MS))
    spec.when(LookAgain("c-1", "forget-c-1", owing=(BUYER,))).then(*again)
    spec.when(LookAgain("c-1", "forget-c-1")).then(TimerCleared("forget-c-1", fired=True), ASKED)
    spec.when(LookAgain("c-1", "forget-c-1")).then_nothing()


def test_a_request_that_waits_can_be_withdrawn_and_nothing_else_can() -> None:
    withdraw = WithdrawForgetting("c-2", who=LI, request="c-1", reason="changed his mind")
    spec = Spec(privacy).given(WAITS, TIMED)
    told = ForgettingWithdrawn("c-1", "c-2", "changed his mind", "li.wei", "service", (KEY,))
    spec.when(withdraw).then(TimerCleared("forget-c-1", fired=False), told).when(withdraw).then_nothing()
    spec.when(LookAgain("c-1")).then_nothing()
    for request in ("c-1", "c-9", ""):
        spec.when(msgspec.structs.replace(withdraw, command_id=f"w-{request}", request=request)).then_raises(
            NothingAwaited
        )
    Spec(privacy).given(WAITS, TIMED, ASKED).when(withdraw).then_raises(NothingAwaited)
    silent = msgspec.structs.replace(withdraw, reason=" ")
    Spec(privacy).given(WAITS, TIMED).when(silent).then_raises(NotToldWhy)


def test_what_waits_already_does_not_wait_twice() -> None:
    spec = Spec(privacy).given(WAITS, TIMED)
    spec.when(later("c-2")).then_raises(AwaitedAlready)
    more = (KEY, "order-b2b:s:2")
    wider = ForgettingAwaited("c-3", "customer", "asked by phone", "li.wei", "service", more, (BUYER,), (ASIDE,))
    spec.when(later("c-3", orders=more)).then(wider, TimerSet("forget-c-3", T0 + LOOK_MS))


def test_a_restore_carries_out_what_waits_in_its_log() -> None:
    """It was carried out after the backup was made."""
    spec = Spec(privacy).given(WAITS, TIMED)
    repeat = RepeatForgetting(**msgspec.structs.asdict(forget()))
    spec.when(repeat).then(TimerCleared("forget-c-1", fired=False), ASKED).when(repeat).then_nothing()


def test_an_order_knows_which_requests_wait_for_it() -> None:
    spec = Spec(order).when(AwaitForget("c-1")).then(OrderForgettingAwaited("c-1"))
    spec.when(AwaitForget("c-1")).then_nothing()
    spec.when(AwaitForget("c-2")).then(OrderForgettingAwaited("c-2"))
    spec.when(StopAwaiting("c-1")).then(OrderForgettingWithdrawn("c-1")).when(StopAwaiting("c-1")).then_nothing()
    spec.when(Forget("c-2")).then(OrderForgotten("c-2"))
    spec.when(AwaitForget("c-3")).then_nothing()


def test_only_a_step_that_leaves_an_awaited_order_finished_asks() -> None:
    paid, done = (Order(status=status, awaited=("c-1", "c-2")) for status in ("paid", "completed"))
    looks = [each.command for each in react_to_awaited(paid, done, T0)]
    assert looks == [LookAgain("c-1"), LookAgain("c-2")]
    assert react_to_awaited(paid, paid, T0) == []
    assert react_to_awaited(done, msgspec.structs.replace(paid), T0) == []
    assert react_to_awaited(Order(status="paid"), done, T0) == [], "it was told just now: the request knows"


def test_a_disclosure_is_recorded_without_what_was_given_out() -> None:
    command = RecordDisclosure("c-2", who=LI, asked="authority", reason="file 7", orders=(KEY,))
    told = DataDisclosed("c-2", "authority", "file 7", "li.wei", "service", (KEY,))
    Spec(privacy).when(command).then(told).when(command).then_nothing()


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        (forget(unfinished=((KEY, "it is paid"),)), StillUnderWay),
        (forget(owing=(BUYER,)), StillOwes),
        (forget(who=By("system")), NobodyActs),
        (forget(who=By("person", "li", "the boss")), UnknownRole),
        (forget(asked="the neighbour"), NotToldWhy),
        (forget(reason=" "), NotToldWhy),
        (forget(reason="x" * 501), NotToldWhy),
        (forget(orders=(), buyers=(), asides=()), NobodyFound),
        (forget(orders=("warehouse-A",)), NobodyFound),
        (forget(asides=("privacy-main",)), NobodyFound),
        (forget(buyers=("x y",)), NobodyFound),
        (forget(orders=tuple(f"order-a:b:{number}" for number in range(1_001))), TooMuchAtOnce),
        (forget(""), MissingCommandId),
        (Forget("c-1"), WrongActor),
        (RecordEffect("r", "erp", "k", "succeeded"), WrongActor),
    ],
)
def test_what_cannot_be_is_refused(command: Command, rule: Any) -> None:
    Spec(privacy).when(command).then_raises(rule)


def test_a_refused_request_is_answered_alike_for_ever() -> None:
    refused = PrivacyRefused("ForgetPerson", "StillUnderWay", "not yet", "c-1")
    spec = Spec(privacy).given(refused)
    with pytest.raises(AssertionError, match="not yet"):
        spec.when(forget()).then_nothing()


def test_a_restore_records_it_whatever_stands_against_it() -> None:
    fields = msgspec.structs.asdict(forget(unfinished=((KEY, "it is paid"),), owing=(BUYER,)))
    Spec(privacy).when(RepeatForgetting(**fields)).then(ASKED)


def test_what_stands_against_it_is_looked_up_and_never_believed() -> None:
    known = buyers.evolve(
        buyers.evolve(buyers.initial, BuyerSet(BUYER, "", (), "CNY", 5_00, (), "c-0")), BuyerOwes(BUYER, KEY, 1)
    )
    states = {KEY: Order(status="paid"), "buyers-main": known}
    asked = informed(forget(), lambda keys: [states[key] for key in keys], T0)
    assert isinstance(asked, ForgetPerson)
    assert (asked.unfinished, asked.known, asked.owing) == (((KEY, "it is paid"),), (BUYER,), (BUYER,))
    states = {KEY: Order(status="completed"), "buyers-main": buyers.initial}
    lying = forget(unfinished=((KEY, "x"),), known=(BUYER,), owing=(BUYER,))
    asked = informed(lying, lambda keys: [states[key] for key in keys], T0)
    assert isinstance(asked, ForgetPerson)
    assert (asked.unfinished, asked.known, asked.owing) == ((), (), ())
    assert [each.to for each in react([ASKED], asked)] == [KEY, f"trail-{BUYER}"]


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (Order(), ""),
        (Order(status="completed"), ""),
        (Order(status="cancelled"), ""),
        (Order(status="shipped", modified_ms=T0 - SETTLED_MS - 1), ""),
        (Order(status="shipped", modified_ms=T0 - 1), "it is shipped"),
        (Order(status="awaiting_payment"), "it is awaiting_payment"),
        (Order(status="completed", interceptions=(("i", "x"),)), "it waits for a decision"),
        (Order(status="completed", after_sales=(("1", "open"),)), "an after-sale of it is open"),
        (order.evolve(Order(), OrderQuarantined("m", "r", "", "", "", "")), "a message of it waits for a decision"),
        (order.evolve(Order(), QueuedBehind("m", "order", "", "{}")), "a message of it waits for a decision"),
        (Order(status="paid", forgotten="c-0"), ""),
    ],
)
def test_an_order_can_be_forgotten_when_it_is_finished(state: Order, why: str) -> None:
    assert why_unfinished(state, T0) == why


def test_each_actor_lets_go_of_what_it_holds_once() -> None:
    Spec(order).when(Forget("c-1")).then(OrderForgotten("c-1")).when(Forget("c-2")).then_nothing()
    noted = OrderNoted(KEY, "goods", T0)
    Spec(trail).given(noted).when(Forget("c-1")).then(TrailForgotten("c-1")).when(Forget("c-1")).then_nothing()
    set_ = BuyerSet(BUYER, "dealer", (), "CNY", 0, (), "c-0")
    spec = Spec(buyers).given(set_).when(Forget("c-1", BUYER)).then(BuyerForgotten(BUYER, "c-1"))
    spec.when(Forget("c-1", BUYER)).then_nothing()


def test_words_about_a_forgotten_person_are_refused() -> None:
    act = Comment("c-9", who=LI, told=("text",), sealed=b"\1" * 60)
    Spec(order).given(OrderForgotten("c-1")).when(act).then_raises(OrderIsForgotten)


def test_a_request_destroys_the_keys_of_orders_trails_and_asides() -> None:
    assert streams_of(ASKED) == (KEY, trail_key(BUYER), ASIDE)
