"""Buyers: terms, credit, price lists, repeated orders; and what rules make of them in a cell."""

from typing import Any

import msgspec
import pytest

from domain import trail as trails
from domain.buyers import (
    BadTerms,
    Buyer,
    BuyerOwes,
    Buyers,
    BuyerSet,
    BuyersRefused,
    NoteOwed,
    SetBuyer,
    WrongActor,
    buyers,
    evolve,
    facts_of,
)
from domain.canonical import Amounts, Line, Snapshot
from domain.decider import RefusedBefore
from domain.handled import MissingCommandId
from domain.ids import BUYERS_KEY, RULEBOOK_KEY, buyer_of, order_key
from domain.order import CancelLines, ScanOut, order, owed_of
from domain.payments import RecordPayment
from domain.rulebook import ChangeRules
from domain.trail import RECENT_MS, DuplicateSuspected, NoteOrder, OrderNoted, trail
from tests.spec import T0, Cell, Spec, line, normalized, replayed, snapshot

WHO = buyer_of("taobao", "cafe")
TERMS = SetBuyer("c-1", WHO, "dealer", ("vip",), "CNY", 1_000, (("S1", 100),), "contract")
SET = BuyerSet(WHO, "dealer", ("vip",), "CNY", 1_000, (("S1", 100),), "c-1", "contract")
MINUTE_MS = 60_000


def test_terms_are_entered_once_and_replace_those_before() -> None:
    spec = Spec(buyers).when(TERMS).then(SET)
    spec.when(TERMS).then_nothing()
    spec.when(msgspec.structs.replace(TERMS, command_id="c-2")).then_nothing()
    spec.when(SetBuyer("c-3", WHO, "dealer")).then(BuyerSet(WHO, "dealer", (), "CNY", 0, (), "c-3"))


@pytest.mark.parametrize("bad", [
    {"credit_limit": -1}, {"prices": (("S1", -1),)}, {"prices": (("", 1),)}, {"grade": " dealer"}, {"tags": ("",)},
    {"tags": ("x" * 61,)}, {"currency": "yuan"}, {"buyer": "taobao"}, {"buyer": ":cafe"},
])  # fmt: skip
def test_terms_that_cannot_be_are_refused_and_answered_alike_again(bad: dict[str, Any]) -> None:
    command = msgspec.structs.replace(TERMS, **bad)
    spec = Spec(buyers).when(command).then_raises(BadTerms)
    spec.given(BuyersRefused("SetBuyer", "BadTerms", "no", "c-1")).when(command).then_raises(RefusedBefore)
    Spec(buyers).given(BuyersRefused("Ship", "WrongActor", "no")).when(TERMS).then(SET)


def test_a_message_without_an_id_or_of_another_actor_is_refused() -> None:
    Spec(buyers).when(SetBuyer("", WHO, "dealer")).then_raises(MissingCommandId)
    Spec(buyers).when(ScanOut("c-1")).then_raises(WrongActor)
    Spec(trail).when(ScanOut("c-1")).then_raises(trails.WrongActor)


def note(number: int, goods: str = "g", minute: int = 0, within: int = 30) -> NoteOrder:
    return NoteOrder(f"o-{number}", goods, T0 + minute * MINUTE_MS, within * MINUTE_MS)


def test_the_same_goods_within_the_time_are_suspected_and_others_are_not() -> None:
    spec = Spec(trail).when(note(1)).then(OrderNoted("o-1", "g", T0))
    spec.when(note(1)).then_nothing()
    spec.when(note(2, "other", 5)).then(OrderNoted("o-2", "other", T0 + 5 * MINUTE_MS))
    spec.when(note(3, minute=31)).then(OrderNoted("o-3", "g", T0 + 31 * MINUTE_MS))
    late = OrderNoted("o-5", "g", T0 + 12 * MINUTE_MS)
    spec.when(note(5, minute=12)).then(late, DuplicateSuspected("o-5", "o-3", 19 * MINUTE_MS))


def test_orders_that_are_just_so_far_apart_are_suspected() -> None:
    spec = Spec(trail).when(note(1)).then_some(OrderNoted)
    apart = DuplicateSuspected("o-2", "o-1", 30 * MINUTE_MS)
    spec.when(note(2, minute=30)).then(OrderNoted("o-2", "g", T0 + 30 * MINUTE_MS), apart)


def test_the_first_day_and_the_last_of_a_week_are_both_remembered() -> None:
    spec = Spec(trail).given(OrderNoted("o-1", "g", T0), OrderNoted("o-2", "h", T0 + RECENT_MS))
    assert [each.order for each in spec.state.recent] == ["o-1", "o-2"]


def test_orders_of_last_week_are_no_candidates() -> None:
    spec = Spec(trail).when(note(1)).then_some(OrderNoted)
    spec.when(NoteOrder("o-2", "g", T0 + RECENT_MS + 1, RECENT_MS)).then_some(OrderNoted)
    assert [each.order for each in spec.state.recent] == ["o-2"]


def test_what_is_owed_is_kept_by_order_until_it_is_paid() -> None:
    spec = Spec(buyers).given(SET).when(NoteOwed("o-1", WHO, 300)).then(BuyerOwes(WHO, "o-1", 300))
    spec.when(NoteOwed("o-1", WHO, 300)).then_nothing()
    spec.when(NoteOwed("o-1", WHO, 0)).then(BuyerOwes(WHO, "o-1", 0))
    assert dict(spec.state.known[WHO].owes) == {}
    assert evolve(spec.state, BuyerOwes(WHO, "o-9", 0)) == spec.state


def view(price: int = 100, payable: int = 400, paid: int = 0, currency: str = "CNY", **more: Any) -> Snapshot:
    lines = (Line("1", "S1", 4, unit_price=price, **more),)
    amounts = Amounts(currency, payable=payable, paid=paid)
    return msgspec.structs.replace(snapshot(lines=lines), amounts=amounts)


def known(owes: dict[str, int] | None = None) -> Buyer:
    state = evolve(Buyers(), SET)
    for name, owed in (owes or {}).items():
        state = evolve(state, BuyerOwes(WHO, name, owed))
    buyer: Buyer = state.known[WHO]
    return buyer


def test_rules_learn_what_credit_this_order_would_leave() -> None:
    state = known({"o-1": 500, "o-2": 400})
    facts = facts_of(state, "o-2", view())
    assert (facts["credit_limit"], facts["owed"], facts["credit_left"]) == (1_000, 500, 100)
    assert (facts["grade"], facts["tags"]) == ("dealer", ["vip"])
    assert facts_of(state, "o-3", view(paid=400))["credit_left"] == 100
    assert "credit_left" not in facts_of(state, "o-3", view(currency="EUR"))


@pytest.mark.parametrize(("price", "more", "differs"), [
    (100, {}, False), (99, {}, True), (0, {"gift": True}, False), (99, {"state": "cancelled"}, False),
])  # fmt: skip
def test_rules_learn_whether_the_price_list_is_kept(price: int, more: dict[str, Any], differs: bool) -> None:
    assert facts_of(known(), "o-1", view(price, **more))["price_differs"] is differs


BOOK = """
format = 1
[[duplicate]]
id = "twice"
within = "30m"
[[intercept]]
id = "over-credit"
when = 'customer("credit_left") < 0'
reason = "over_credit"
evidence = "{payable} on account"
advice = "have it paid, or raise the limit"
role = "finance"
"""


def ordered(cell: Cell, number: str, minute: int = 0, payable: int = 400, units: int = 1) -> None:
    at = snapshot(number=number, lines=(line("1", quantity=units),)).ordered_at
    when = msgspec.structs.replace(at, utc_ms=T0 + minute * MINUTE_MS)
    made = snapshot(number=number, lines=(line("1", quantity=units),), paid=0)
    amounts = msgspec.structs.replace(made.amounts, payable=payable)
    cell.take(msgspec.structs.replace(made, customer="cafe", ordered_at=when, amounts=amounts))


def ruled() -> Cell:
    cell = Cell()
    cell.receive(("S1", 99))
    cell.send(RULEBOOK_KEY, ChangeRules("r-1", BOOK, "for the test"))
    cell.send(BUYERS_KEY, SetBuyer("c-1", WHO, "dealer", (), "CNY", 1_000))
    return cell


def reasons(cell: Cell, number: str) -> list[str]:
    return [reason for _, reason in cell.order(number).interceptions]


def test_an_order_that_was_placed_twice_is_stopped_with_the_other_one_as_evidence() -> None:
    cell = ruled()
    ordered(cell, "o-1")
    ordered(cell, "o-2", 5)
    ordered(cell, "o-3", 6, units=2)
    assert (reasons(cell, "o-1"), reasons(cell, "o-2"), reasons(cell, "o-3")) == (
        [],
        ["suspected_duplicate"],
        ["over_credit"],
    )
    assert replayed(cell.records) == cell.living


@pytest.mark.parametrize(
    ("status", "kind", "paid", "owed"),
    [
        ("paid", "normal", 0, 400),
        ("paid", "normal", 150, 250),
        ("paid", "normal", 400, 0),
        ("paid", "normal", 500, 0),
        ("completed", "normal", 150, 250),
        ("awaiting_payment", "normal", 0, 0),
        ("cancelled", "normal", 0, 0),
        ("paid", "counter", 150, 0),
    ],
)
def test_a_buyer_owes_what_is_left_to_pay_of_what_goes_on(status: Any, kind: Any, paid: int, owed: int) -> None:
    state = Spec(order).given(*normalized(snapshot(status, kind=kind, lines=(line("1", quantity=4),)))).state
    amounts = msgspec.structs.replace(state.amounts, payable=400, paid=paid)
    assert owed_of(msgspec.structs.replace(state, status=status, amounts=amounts)) == owed


def test_credit_is_freed_by_what_finance_records_as_paid() -> None:
    cell = ruled()
    ordered(cell, "o-1", payable=700)
    key = order_key("taobao", "shop1", "o-1")
    cell.send(key, ScanOut("c-1", "T1", "SF"))
    for number, amount, currency in (("BANK-1", 300, "CNY"), ("BANK-2", 900, "USD"), ("BANK-3", 400, "CNY")):
        cell.send(key, RecordPayment(f"pay-{number}", number, amount, currency, "paid", T0))
    owes = [msgspec.json.decode(each.data)["owed"] for each in cell.records if each.tag == "buyers.owes"]
    assert owes == [700, 400, 0]
    ordered(cell, "o-2", 60, payable=900)
    assert reasons(cell, "o-2") == []
    assert replayed(cell.records) == cell.living


def test_credit_is_used_by_orders_on_account_and_freed_when_they_are_cancelled() -> None:
    cell = ruled()
    ordered(cell, "o-1", payable=700)
    ordered(cell, "o-2", 60, payable=400)
    assert (reasons(cell, "o-1"), reasons(cell, "o-2")) == ([], ["over_credit"])
    assert dict(cell.states[BUYERS_KEY].state.known[WHO].owes) == {order_key("taobao", "shop1", f"o-{number}"): owed
                                                 for number, owed in ((1, 700), (2, 400))}  # fmt: skip
    cell.send(order_key("taobao", "shop1", "o-1"), CancelLines("x-1", (), "no more"))
    assert dict(cell.states[BUYERS_KEY].state.known[WHO].owes) == {order_key("taobao", "shop1", "o-2"): 400}
    ordered(cell, "o-3", 120, payable=500)
    assert reasons(cell, "o-3") == []


def test_a_buyer_whom_nobody_has_terms_with_has_no_credit_that_could_be_exceeded() -> None:
    cell = Cell()
    cell.receive(("S1", 99))
    cell.send(RULEBOOK_KEY, ChangeRules("r-1", BOOK, "for the test"))
    ordered(cell, "o-1", payable=10**6)
    assert (reasons(cell, "o-1"), cell.order("o-1").status) == ([], "allocating")
    cell.send(BUYERS_KEY, SetBuyer("c-1", WHO, "dealer", (), "CNY", 1_000))
    ordered(cell, "o-2", 60, payable=10**6)
    assert reasons(cell, "o-2") == ["over_credit"]
