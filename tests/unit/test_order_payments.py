"""Payments as payment services tell them: once for ever, judged against what is owed, alike in any order."""

from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.after_sale import ApproveAfterSale, OpenAfterSale, OrderRefunded, RefundAfterSale
from domain.canonical import Amounts, Snapshot
from domain.ids import order_key
from domain.money import AMOUNT_MAX
from domain.order import (
    CancelLines,
    DepositPaid,
    InterceptionResolved,
    OrderPaid,
    ResolveInterception,
    ScanOut,
    TimerCleared,
    TimerDue,
    TimerSet,
    order,
)
from domain.payments import (
    MOVEMENTS_MAX,
    BadPayment,
    Kind,
    PaymentFailed,
    PaymentRecorded,
    RecordPayment,
    SettlePayments,
    TooManyMovements,
    TransactionDiffers,
)
from domain.timehub import MS_MAX
from tests.spec import T0, Cell, Spec, line, normalized, replayed, snapshot

KEY = order_key("taobao", "shop1", "o-1")
UNPAID = snapshot("awaiting_payment")
"""Owes 100."""


def paid(
    amount: int = 100, number: str = "p-1", kind: Kind = "paid", currency: str = "CNY", at_ms: int = T0, of: str = ""
) -> RecordPayment:
    return RecordPayment(
        f"payment/{number}/{kind}/{amount}{currency}", number, amount, currency, kind, at_ms, "wechat", of
    )


def back(amount: int, number: str = "r-1", kind: Kind = "refunded") -> RecordPayment:
    return paid(amount, number, kind, at_ms=T0 + 9, of="p-1")


def recorded(command: RecordPayment) -> PaymentRecorded | PaymentFailed:
    kind = PaymentRecorded if command.kind in ("paid", "refunded") else PaymentFailed
    return kind(
        command.transaction,
        command.kind,
        command.amount,
        command.currency,
        command.at_ms,
        command.service,
        command.payment,
        command.command_id,
    )


def cell_of(*views: Snapshot) -> Cell:
    cell = Cell()
    cell.receive(("S1", 50), ("S2", 50))
    for view in views:
        cell.take(view)
    return cell


def questions(cell: Cell) -> list[str]:
    return sorted(reason for _, reason in cell.order().interceptions)


def spec(view: Snapshot = UNPAID) -> Spec:
    return Spec(order).given(*normalized(view))


# --- recording


def test_a_payment_is_recorded_once_for_ever() -> None:
    known = spec().when(paid()).then(recorded(paid()))
    known.when(paid()).then_nothing()
    again = msgspec.structs.replace(paid(), command_id="another")
    known.when(again).then_nothing()


def test_a_payment_that_failed_may_still_be_made_and_one_that_was_made_cannot_fail() -> None:
    failed, late = paid(kind="failed"), paid(kind="timed_out")
    known = spec().when(failed).then(recorded(failed))
    known.when(msgspec.structs.replace(failed, command_id="again")).then_nothing()
    known.when(late).then(recorded(late))
    known.when(paid()).then(recorded(paid()))
    known.when(msgspec.structs.replace(failed, command_id="later")).then_nothing()


def test_the_same_transaction_with_other_words_is_refused() -> None:
    known = spec().given(recorded(paid()))
    known.when(paid(99)).then_raises(TransactionDiffers)
    known.when(paid(currency="USD")).then_raises(TransactionDiffers)
    known.when(back(100, "p-1")).then_raises(TransactionDiffers)


@pytest.mark.parametrize("wrong", [paid(0), paid(-5), paid(number=" "), paid(number="9" * 200), paid(currency="XXQ")])
def test_a_movement_without_number_amount_or_currency_is_refused(wrong: RecordPayment) -> None:
    spec().when(wrong).then_raises(BadPayment)


@pytest.mark.parametrize("at_ms", [-1, 0, 1_770_000_000, MS_MAX + 1, 253_402_300_799_000, 2**63])
def test_a_movement_of_no_year_of_ours_is_refused(at_ms: int) -> None:
    """It would be of a day that no calendar has, and read models are of days."""
    spec().when(msgspec.structs.replace(paid(), at_ms=at_ms)).then_raises(BadPayment)


@pytest.mark.parametrize("amount", [AMOUNT_MAX + 1, 2**63, 10**30])
def test_a_movement_of_more_than_any_amount_is_refused(amount: int) -> None:
    spec().when(paid(amount)).then_raises(BadPayment)


def test_money_that_never_rests_is_refused_in_the_end() -> None:
    many = [recorded(paid(1, f"p-{number}", "failed")) for number in range(MOVEMENTS_MAX)]
    spec().given(*many).when(paid(number="one more")).then_raises(TooManyMovements)


def test_with_nothing_to_settle_nothing_is_said() -> None:
    spec().when(SettlePayments()).then_nothing()


# --- what follows


def test_an_order_is_paid_by_a_notice_and_the_rest_follows_in_the_same_turn() -> None:
    cell = cell_of(UNPAID)
    turn = cell.send(KEY, paid())
    assert [record.tag for record in turn.records] == [
        "order.payment_recorded",
        "order.paid",
        "order.timer_cleared",
        "stock.reserved",
        "order.reserved",
        "order.pick_list_issued",
    ]
    assert turn.outcome == "accepted"
    assert cell.send(KEY, paid()).outcome == "repeated"
    cell.send(KEY, ScanOut("out-1", "T1", "SF"))
    assert cell.order().status == "shipped"
    assert replayed(cell.records) == cell.living


def test_what_the_channel_says_afterwards_changes_nothing_twice() -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, paid())
    cell.take(snapshot("paid", 5))
    assert cell.tags(KEY).count("order.paid") == 1
    assert cell.tags(KEY).count("order.reserved") == 1


def test_what_the_channel_said_before_is_confirmed_by_the_notice() -> None:
    cell = cell_of(UNPAID, snapshot("paid", 5))
    turn = cell.send(KEY, paid())
    assert [record.tag for record in turn.records] == ["order.payment_recorded"]


def test_a_notice_for_an_order_nobody_has_seen_waits_for_it() -> None:
    cell = cell_of()
    assert cell.send(KEY, paid()).outcome == "queued"
    cell.take(UNPAID)
    assert cell.order().status == "allocating"


def test_a_late_payment_lifts_what_its_lateness_led_to() -> None:
    cell = cell_of(UNPAID)
    due = dict(cell.order().timers)["payment"]
    cell.send(KEY, TimerDue("payment", due))
    assert questions(cell) == ["payment_timeout"]
    cell.send(KEY, paid())
    assert questions(cell) == []
    assert cell.order().status == "allocating"


def test_the_payment_is_dated_by_the_last_part_of_it() -> None:
    view = snapshot("awaiting_payment", kind="presale")
    parts = recorded(paid(30, "p-1", at_ms=T0 + 8)), recorded(paid(70, "p-2", at_ms=T0 + 5))
    spec(view).given(*parts, TimerSet("payment", T0 + 99)).when(SettlePayments()).then(
        OrderPaid(100, "CNY", T0 + 8), TimerCleared("payment", fired=False)
    )


def test_deposit_and_balance_of_a_presale_add_up() -> None:
    cell = cell_of(snapshot("awaiting_payment", kind="presale", paid=0))
    cell.send(KEY, paid(30, "deposit"))
    assert cell.order().status == "awaiting_payment"
    assert cell.order().deposit == 30
    assert questions(cell) == []
    cell.take(snapshot("awaiting_payment", 5, kind="presale", paid=30))
    assert cell.tags(KEY).count("order.deposit_paid") == 1
    cell.send(KEY, paid(70, "balance"))
    assert cell.tags(KEY).count("order.paid") == 1


def test_a_deposit_that_the_channel_told_is_not_recorded_again() -> None:
    view = snapshot("awaiting_payment", kind="presale")
    spec(view).given(DepositPaid(30, "CNY"), recorded(paid(30))).when(SettlePayments()).then_nothing()


@pytest.mark.parametrize(
    ("wrong", "word"),
    [(paid(60), "less than is owed"), (paid(160), "more than is owed"), (paid(currency="USD"), "another currency")],
)
def test_another_amount_than_is_owed_is_a_question_for_finance(wrong: RecordPayment, word: str) -> None:
    cell = cell_of(UNPAID)
    turn = cell.send(KEY, wrong)
    assert questions(cell) == ["amount_mismatch"]
    stopped = msgspec.json.decode(next(each.data for each in turn.records if each.tag == "order.intercepted"))
    assert stopped["role"] == "finance"
    assert word in stopped["evidence"]
    assert "1.00 CNY" in stopped["evidence"]
    assert not cell.order().allocations or not cell.order().allocations[0].listed
    assert cell.order().status == ("paid" if wrong.amount > 100 else "awaiting_payment")


def test_the_rest_being_paid_answers_the_question() -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, paid(60))
    cell.send(KEY, paid(40, "p-2"))
    assert questions(cell) == []
    assert cell.order().status == "allocating"


def test_a_price_that_the_channel_lowers_answers_the_question() -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, paid(80))
    view = snapshot("awaiting_payment", 5)
    cell.take(msgspec.structs.replace(view, amounts=Amounts("CNY", payable=80)))
    assert questions(cell) == []
    assert cell.order().status == "allocating"


@pytest.mark.parametrize("amount", [60, 160])
def test_finance_may_take_it_as_it_is(amount: int) -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, paid(amount))
    name = cell.order().interceptions[0][0]
    cell.send(KEY, ResolveInterception("decide-1", name, "release"))
    assert questions(cell) == []
    assert cell.order().status == "allocating"
    assert cell.order().allocations[0].listed
    cell.take(snapshot("paid", 5))
    assert questions(cell) == []


def test_finance_may_take_another_currency_for_the_price() -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, paid(20, currency="USD"))
    (name, _), *_ = cell.order().interceptions
    turn = cell.send(KEY, ResolveInterception("decide-1", name, "release"))
    (told,) = [msgspec.json.decode(each.data) for each in turn.records if each.tag == "order.paid"]
    assert (told["amount"], told["currency"], told["paid_ms"]) == (100, "CNY", T0)
    assert (questions(cell), cell.order().status) == ([], "allocating")
    assert cell.order().allocations[0].listed


def test_money_of_another_currency_for_a_cancelled_order_is_asked_about_until_it_is_given_back() -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, CancelLines("c-1", (), "changed his mind"))
    cell.send(KEY, paid(2_000, currency="USD"))
    assert questions(cell) == ["paid_after_cancelling"]
    cell.send(KEY, paid(30, "p-2"))
    turn = cell.send(KEY, paid(30, "r-2", "refunded"))
    assert questions(cell) == ["paid_after_cancelling"]
    told = [msgspec.json.decode(each.data) for each in turn.records if each.tag == "order.intercepted"]
    assert "20.00 USD of the customer's money are here" in told[0]["evidence"]
    cell.send(KEY, paid(2_000, "r-1", "refunded", "USD"))
    assert questions(cell) == []


def test_what_is_released_for_one_amount_is_asked_again_for_another() -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, paid(60))
    cell.send(KEY, ResolveInterception("decide-1", cell.order().interceptions[0][0], "release"))
    cell.send(KEY, paid(60, "p-2"))
    assert questions(cell) == ["amount_mismatch"]


def test_finance_may_have_it_cancelled_and_owes_the_money() -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, paid(60))
    cell.send(KEY, ResolveInterception("decide-1", cell.order().interceptions[0][0], "cancel"))
    assert cell.order().status == "cancelled"
    assert questions(cell) == ["paid_after_cancelling"]
    cell.send(KEY, back(60))
    assert questions(cell) == []


def test_an_answer_to_another_question_accepts_no_amount() -> None:
    known = spec().given(InterceptionResolved("amount_mismatch-60of100CNY", "settled"))
    assert known.state.payments.accepted == ()
    known.given(InterceptionResolved("stock_short-1", "release", "", "c-1"))
    assert known.state.payments.accepted == ()


def test_a_payment_of_a_cancelled_order_must_be_given_back() -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, CancelLines("c-1", (), "not wanted"))
    cell.send(KEY, paid())
    assert questions(cell) == ["paid_after_cancelling"]
    cell.send(KEY, back(40))
    assert questions(cell) == ["paid_after_cancelling"]
    cell.send(KEY, back(60, "r-2"))
    assert questions(cell) == []
    assert cell.order().payments.refunded == 100


def test_a_refund_is_recorded_by_its_amount() -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, paid())
    turn = cell.send(KEY, back(30))
    assert msgspec.json.decode(turn.records[-1].data) == {"lines": [], "amount": 30, "reference": "r-1"}
    assert questions(cell) == []


def test_goods_whose_money_went_back_do_not_leave_by_themselves() -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, paid())
    cell.send(KEY, back(100))
    assert questions(cell) == ["refunded_before_shipping"]
    assert cell.send(KEY, ScanOut("out-1", "T1", "SF")).outcome == "refused"


def test_a_refund_that_both_tell_counts_once_whoever_is_first() -> None:
    after_sale = (line("1", state="shipped", after_sale="refunded"), line("2", state="shipped"))
    plain = (line("1", state="shipped"), line("2", state="shipped"))
    later = (line("1", state="shipped", after_sale="refunded"), line("2", state="shipped", after_sale="refunded"))
    shipped = snapshot("shipped", 5, plain)
    first = cell_of(shipped)
    first.send(KEY, back(100))
    first.take(snapshot("shipped", 9, after_sale))
    assert first.order().payments.refunded == 100
    second = cell_of(shipped, snapshot("shipped", 9, after_sale))
    second.send(KEY, back(100))
    assert second.order().payments.refunded == 100
    assert second.tags(KEY)[-1] == "order.payment_recorded"
    for cell in (first, second):
        cell.take(snapshot("shipped", 10, later))
        assert cell.order().payments.refunded == 200
        cell.send(KEY, back(100, "r-2"))
        assert cell.order().payments.refunded == 200


@pytest.mark.parametrize("transfer_first", [True, False])
def test_a_transfer_is_other_money_than_what_a_service_gave_back(transfer_first: bool) -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, paid())
    cell.send(KEY, ScanOut("c-1", "T1", "SF"))
    acts: list[Any] = [RefundAfterSale("c-4", 1, (("1", 30),), "transfer"), back(50)]
    cell.send(KEY, OpenAfterSale("c-2", "price_protection", "price"))
    cell.send(KEY, ApproveAfterSale("c-3", 1))
    for act in acts if transfer_first else reversed(acts):
        assert cell.send(KEY, act).outcome == "accepted"
    assert cell.order().payments.refunded == 80
    assert cell.send(KEY, RefundAfterSale("c-5", 1, (("1", 21),))).outcome == "refused", "20 are left"
    assert cell.send(KEY, RefundAfterSale("c-6", 1, (("1", 20),))).outcome == "accepted"
    assert cell.order().payments.refunded == 100


@pytest.mark.parametrize(("amount", "most"), [(60, 60), (160, 160), (100, 100)])
def test_what_was_paid_may_go_back_no_less_and_no_more(amount: int, most: int) -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, paid(amount))
    for name, _ in cell.order().interceptions:
        cell.send(KEY, ResolveInterception("decide-1", name, "release"))
    cell.send(KEY, ScanOut("c-1", "T1", "SF"))
    cell.send(KEY, OpenAfterSale("c-2", "refund_only", "price"))
    cell.send(KEY, ApproveAfterSale("c-3", 1))
    assert cell.send(KEY, RefundAfterSale("c-4", 1, (("", most + 1),))).outcome == "refused"
    assert cell.send(KEY, RefundAfterSale("c-5", 1, (("", most),))).outcome == "accepted"


def test_a_transfer_that_is_told_by_hand_as_well_counts_once() -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, paid())
    cell.send(KEY, ScanOut("c-1", "T1", "SF"))
    cell.send(KEY, OpenAfterSale("c-2", "price_protection", "price"))
    cell.send(KEY, ApproveAfterSale("c-3", 1))
    cell.send(KEY, RefundAfterSale("c-4", 1, (("1", 30),), "transfer"))
    by_hand = msgspec.structs.replace(back(30, "BANK-7"), service="")
    cell.send(KEY, by_hand)
    assert cell.order().payments.refunded == 30
    cell.send(KEY, msgspec.structs.replace(by_hand, command_id="c-5", transaction="BANK-8", amount=5))
    assert cell.order().payments.refunded == 35


def test_refunds_without_a_payment_service_are_counted_as_the_channel_tells_them() -> None:
    cell = cell_of(snapshot("shipped", 9, (line("1", state="shipped", after_sale="refunded"),)))
    assert cell.order().payments.refunded == 100
    Spec(order).given(*normalized(UNPAID), OrderRefunded(("1",), 0)).when(SettlePayments()).then_nothing()


def test_a_refund_that_only_the_channel_tells_counts_though_the_payment_was_told_by_its_service() -> None:
    lines = (line("1", state="shipped"), line("2", quantity=3, state="shipped"))
    cell = cell_of(snapshot("awaiting_payment", 1, (line("1"), line("2", quantity=3))))
    cell.send(KEY, paid(400))
    cell.take(snapshot("shipped", 5, lines))
    cell.take(snapshot("shipped", 9, (lines[0], line("2", quantity=3, state="shipped", after_sale="refunded"))))
    assert cell.order().payments.refunded == 300


def test_a_refund_that_does_not_arrive_is_a_question_until_it_does() -> None:
    cell = cell_of(UNPAID)
    cell.send(KEY, paid())
    cell.send(KEY, back(30, kind="refund_failed"))
    assert questions(cell) == ["refund_failed"]
    cell.send(KEY, back(30))
    assert questions(cell) == []
    assert cell.order().payments.refunded == 30


def test_a_failed_payment_changes_nothing_but_the_record() -> None:
    cell = cell_of(UNPAID)
    turn = cell.send(KEY, paid(kind="failed"))
    assert [record.tag for record in turn.records] == ["order.payment_failed"]
    assert cell.order().status == "awaiting_payment"


# --- in any order

Told = RecordPayment | Snapshot


@st.composite
def histories(draw: st.DrawFn) -> list[Told]:
    """Draw an unpaid order, what its channel tells of it, and what a payment service tells."""
    kind: Literal["normal", "presale"] = draw(st.sampled_from(("normal", "normal", "presale")))
    told: list[Told] = [snapshot("awaiting_payment", 1, kind=kind)]
    if draw(st.booleans()):
        payable = draw(st.sampled_from((80, 100)))
        told.append(
            msgspec.structs.replace(snapshot("awaiting_payment", 2, kind=kind), amounts=Amounts("CNY", payable=payable))
        )
        last = told[-1]
        assert isinstance(last, Snapshot)
        amounts = last.amounts
    else:
        amounts = Amounts("CNY", payable=100)
    if ends := draw(st.sampled_from(("", "", "paid", "cancelled"))):
        end: Any = ends
        told.append(msgspec.structs.replace(snapshot(end, 3, kind=kind), amounts=amounts))
    for number in range(draw(st.integers(1, 4))):
        amount, currency = draw(st.sampled_from((20, 40, 80, 100))), draw(st.sampled_from(("CNY",) * 5 + ("USD",)))
        what: Kind = draw(st.sampled_from(("paid", "paid", "failed", "refunded", "refund_failed")))
        told.append(paid(amount, f"t-{number}", what, currency, T0 + number))
    return told


def ending(told: list[Told]) -> object:
    cell = cell_of()
    for each in told:
        if isinstance(each, Snapshot):
            cell.take(each)
        else:
            cell.send(KEY, each)
    assert replayed(cell.records) == cell.living
    state = cell.order()
    movements = sorted(msgspec.structs.astuple(each) for each in state.payments.movements)
    refunds = sum(msgspec.json.decode(each.data)["amount"] for each in cell.records if each.tag == "order.refunded")
    status = "paid" if state.status in ("paid", "allocating") else state.status
    return status, movements, state.payments.refunded, refunds, questions(cell), state.amounts


@given(histories(), st.randoms(use_true_random=False))
def test_notices_and_snapshots_in_any_order_and_number_end_alike(told: list[Told], chance: Any) -> None:
    shuffled = [*told, *chance.choices(told, k=3)]
    chance.shuffle(shuffled)
    assert ending(told) == ending(shuffled)
