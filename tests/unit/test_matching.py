"""The three-way match: each reason for a difference, and what is none."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from domain.after_sale import OrderRefunded
from domain.decider import Event
from domain.finance import Line, LineKind
from domain.matching import (
    REASONS,
    Cover,
    Money,
    Tolerance,
    day_of,
    days_after,
    evolve,
    judge,
    judge_line,
)
from domain.order import (
    DepositPaid,
    OrderCancelled,
    OrderCompleted,
    OrderNormalized,
    OrderPaid,
    OrderShipped,
    PartiallyShipped,
)
from domain.payments import PaymentRecorded
from domain.time_units import DAY_MS, HOUR_MS
from tests.spec import T0, snapshot

KEY = "order-miniprogram:s:1"
DAY = day_of(T0)
NEXT = days_after(DAY, 1)
BILLS = Cover(frozenset({DAY, NEXT}))
PAID = Money(known=True, currency="CNY", paid=19_900, paid_ms=T0, shipped_ms=T0 + HOUR_MS)
DONE = msgspec.structs.replace(PAID, done_ms=T0 + DAY_MS)
SETTLED = Cover(frozenset(), frozenset(days_after(DAY, each) for each in range(30)))


def said(kind: LineKind, amount: int, name: str = "", currency: str = "CNY", word: str = "") -> Line:
    return Line(name or f"{kind}-{amount}", kind, amount, currency, T0, KEY, word)


def reasons(money: Money, lines: Sequence[Line], cover: Cover = BILLS, today: str = NEXT, **taken: int) -> list[str]:
    found = judge(KEY, money, lines, cover, today, Tolerance(**taken)).findings
    assert {each.reason for each in found} <= REASONS.keys()
    return [each.reason for each in found]


def test_a_refund_by_transfer_need_be_in_no_statement() -> None:
    money = evolve(PAID, OrderRefunded(("1",), 500, "", "c-1", 1, method="transfer"), T0)
    money = evolve(money, OrderRefunded(("1",), 300, "", "c-2", 1, method="original"), T0)
    for theirs, reason in ((300, []), (800, []), (500, ["refund_missing"]), (900, ["refund_not_in_log"])):
        assert reasons(money, [said("paid", 19_900), said("refunded", theirs)]) == reason
    assert reasons(money, [said("paid", 19_900)]) == ["refund_missing"], "what went back as it was paid is in none"


def test_what_agrees_is_no_difference() -> None:
    assert reasons(PAID, [said("paid", 19_900), said("fee", 119)]) == []


@pytest.mark.parametrize(
    ("money", "lines", "reason"),
    [
        (PAID, [], "missing_in_statement"),
        (Money(), [said("paid", 100)], "missing_in_log"),
        (msgspec.structs.replace(PAID, paid=0, shipped_ms=0), [said("paid", 100)], "missing_in_log"),
        (PAID, [said("paid", 19_800)], "amount_differs"),
        (PAID, [said("paid", 19_900, currency="USD")], "currency_differs"),
        (msgspec.structs.replace(PAID, refunded=500, refund_ms=T0), [said("paid", 19_900)], "refund_missing"),
        (PAID, [said("paid", 19_900), said("refunded", 500)], "refund_not_in_log"),
        (PAID, [said("paid", 19_900), said("unknown", 7, word="神秘扣除")], "fee_unknown"),
        (msgspec.structs.replace(PAID, paid=0, owed=19_900), [], "shipped_not_paid"),
        (PAID, [said("paid", 19_900, "a"), said("paid", 19_900, "b")], "duplicate_payment"),
        (PAID, [said("paid", 19_900, "a"), said("paid", 19_800, "a")], "statement_contradicts"),
    ],
)
def test_each_difference_has_its_reason(money: Money, lines: Sequence[Line], reason: str) -> None:
    assert reason in reasons(money, lines)
    alone = [each for each in reasons(money, lines) if each != "amount_differs" or reason == "amount_differs"]
    assert alone == [reason]


def test_what_is_paid_must_leave_in_time() -> None:
    open_yet = msgspec.structs.replace(PAID, shipped_ms=0)
    lines = [said("paid", 19_900)]
    assert reasons(open_yet, lines, today=days_after(DAY, 3), ship_days=3) == []
    assert reasons(open_yet, lines, today=days_after(DAY, 4), ship_days=3) == ["paid_not_shipped"]


@pytest.mark.parametrize(
    ("covered", "reason"),
    [(frozenset(), []), (frozenset({NEXT}), []), ({DAY}, ["settled_later"]), ({DAY, NEXT}, ["missing_in_statement"])],
)
def test_a_payment_is_missing_only_when_its_day_and_the_next_are_there(covered: set[str], reason: list[str]) -> None:
    assert reasons(PAID, [], Cover(frozenset(covered))) == reason


def test_a_channel_that_settles_is_waited_for() -> None:
    until = Cover(frozenset(), frozenset(days_after(DAY, each) for each in range(5)))
    assert reasons(PAID, [], SETTLED, settle_days=10) == [], "the trade is not over"
    assert reasons(DONE, [], until, settle_days=10) == ["settled_later"]
    assert reasons(DONE, [], SETTLED, settle_days=10) == ["missing_in_statement"]
    assert reasons(DONE, [said("paid", 19_900)], SETTLED) == []


def test_a_settlement_may_leave_out_what_went_back_before() -> None:
    part = msgspec.structs.replace(DONE, refunded=900, refund_ms=T0 + HOUR_MS)
    assert reasons(part, [said("paid", 19_000)], SETTLED) == []
    assert reasons(part, [said("paid", 19_000)]) == ["amount_differs", "refund_missing"], "a bill of payments may not"
    open_yet = msgspec.structs.replace(part, done_ms=0)
    assert reasons(open_yet, [], SETTLED) == []
    gone = msgspec.structs.replace(PAID, cancelled=True, done_ms=T0 + HOUR_MS, shipped_ms=0)
    assert reasons(gone, [], SETTLED) == []


def test_a_share_of_the_platform_may_count_as_paid_or_not() -> None:
    assert reasons(PAID, [said("paid", 19_000), said("subsidy", 900)]) == []
    assert reasons(PAID, [said("paid", 19_900), said("subsidy", 900)]) == []


def test_small_differences_are_tolerated_as_far_as_it_says() -> None:
    assert reasons(PAID, [said("paid", 19_895)], amount=5) == []
    assert reasons(PAID, [said("paid", 19_894)], amount=5) == ["amount_differs"]


def test_a_cancelled_order_owes_all_that_was_paid() -> None:
    gone = msgspec.structs.replace(PAID, cancelled=True, shipped_ms=0, refund_ms=T0)
    assert reasons(gone, [said("paid", 19_900), said("refunded", 19_900)]) == []
    assert reasons(gone, [said("paid", 19_900)]) == ["refund_missing"]


def test_cash_on_delivery_is_waited_for_and_then_asked_for() -> None:
    cod = Money(known=True, currency="CNY", paid_ms=T0, on_delivery=True, shipped_ms=T0)
    assert reasons(cod, []) == [], "nothing is owed"
    cod = msgspec.structs.replace(cod, owed=19_900)
    assert reasons(cod, [said("paid", 19_900)]) == []
    assert reasons(cod, [], settle_days=10) == ["settled_later"]
    assert reasons(cod, [], SETTLED, settle_days=10) == ["shipped_not_paid"], "nobody has handed the money over"


def test_a_line_of_no_order_is_a_difference_only_where_nobody_knows_its_name() -> None:
    assert judge_line(said("transfer", 100)).findings == ()
    assert [each.reason for each in judge_line(said("unknown", 100)).findings] == ["fee_unknown"]


def test_the_log_says_what_was_paid_whoever_told_of_it() -> None:
    money = Money()
    story = [
        OrderNormalized(snapshot("paid"), "d", "a"),
        PaymentRecorded("t-1", "paid", 5_000, "CNY", T0),
        OrderPaid(5_000, "CNY", T0),
        PaymentRecorded("t-2", "paid", 5_000, "CNY", T0 + 1),
        PaymentRecorded("t-3", "paid", 1, "USD", T0 + 1),
        PaymentRecorded("r-1", "refunded", 5_000, "CNY", T0 + 2),
        OrderShipped((), T0 + 3),
    ]
    for event in story:
        money = evolve(money, event, T0 + 9)
    assert (money.received, money.given_back, money.shipped_ms, money.refund_ms) == (10_000, 5_000, T0 + 3, T0 + 2)
    assert evolve(money, OrderCancelled("late"), T0 + 9).given_back == 10_000


def told(*story: tuple[Event, int]) -> Money:
    money = Money(known=True, currency="CNY", owed=100)
    for event, at_ms in story:
        money = evolve(money, event, at_ms)
    return money


PAYING: list[Event] = [
    OrderPaid(100, "CNY", T0 + 1),
    PaymentRecorded("t-1", "paid", 100, "CNY", T0 + 1),
    DepositPaid(100, "CNY"),
]
"""Each says that money came a moment after `T0`."""


@pytest.mark.parametrize("second", PAYING, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("first", PAYING, ids=lambda event: type(event).__name__)
def test_the_first_word_of_a_payment_says_when_it_was_whoever_gives_it(first: Event, second: Event) -> None:
    later: dict[str, Any] = {"paid_ms": T0 + 7} if isinstance(second, OrderPaid) else {}
    later |= {"transaction": "t-2", "at_ms": T0 + 7} if isinstance(second, PaymentRecorded) else {}
    assert told((first, T0 + 1)).paid_ms == T0 + 1
    assert told((first, T0 + 1), (msgspec.structs.replace(second, **later), T0 + 7)).paid_ms == T0 + 1


GIVING_BACK: list[tuple[Event, Event]] = [
    (OrderRefunded(("1",), 50), OrderRefunded(("2",), 50)),
    (PaymentRecorded("r-1", "refunded", 50, "CNY", T0 + 9), PaymentRecorded("r-2", "refunded", 50, "CNY", T0 + 4)),
    (OrderRefunded(("1",), 50), PaymentRecorded("r-2", "refunded", 50, "CNY", T0 + 4)),
    (OrderRefunded(("1",), 50), OrderCancelled("late")),
]


@pytest.mark.parametrize(("one", "other"), GIVING_BACK)
def test_the_last_refund_is_the_latest_in_whatever_order_they_are_told(one: Event, other: Event) -> None:
    paid = (PAYING[0], T0 + 1)
    assert told(paid, (one, T0 + 9)).refund_ms == T0 + 9
    assert told(paid, (one, T0 + 9), (other, T0 + 4)).refund_ms == T0 + 9
    assert told(paid, (other, T0 + 4), (one, T0 + 9)).refund_ms == T0 + 9


def test_an_order_that_was_cancelled_before_it_was_paid_gives_nothing_back() -> None:
    gone = told((OrderCancelled("late"), T0 + 4))
    assert (gone.cancelled, gone.done_ms, gone.refund_ms, gone.given_back) == (True, T0 + 4, 0, 0)


def test_the_first_parcel_says_when_goods_left_and_completion_when_the_trade_was_over() -> None:
    money = told((PartiallyShipped(("1",), (), T0 + 3), T0 + 5), (OrderShipped((), T0 + 8), T0 + 9))
    assert money.shipped_ms == T0 + 3
    assert told((OrderShipped((), 0), T0 + 5)).shipped_ms == T0 + 5, "nobody says when: when it was recorded"
    assert told((OrderCompleted(T0 + 6), T0 + 9)).done_ms == T0 + 6


@pytest.mark.parametrize("off", [-6, -5, 5, 6])
def test_small_differences_are_tolerated_up_and_down_in_refunds_and_settlements_too(off: int) -> None:
    taken = abs(off) <= 5
    back = msgspec.structs.replace(DONE, refunded=900, refund_ms=T0)
    bill = reasons(back, [said("paid", 19_900), said("refunded", 900 + off)], amount=5)
    assert bill == ([] if taken else ["refund_missing" if off < 0 else "refund_not_in_log"])
    assert (reasons(DONE, [said("paid", 19_900 + off)], amount=5) == []) is taken
    assert (reasons(back, [said("paid", 19_000 + off)], SETTLED, amount=5) == []) is taken
    assert (reasons(back, [said("paid", 18_000 + off), said("subsidy", 1_000)], SETTLED, amount=5) == []) is taken


def test_days_begin_at_midnight_of_the_platforms() -> None:
    midnight = 1_770_566_400_000  # 2026-02-09 00:00 UTC+8
    assert (day_of(midnight), day_of(midnight - 1), day_of(midnight + DAY_MS - 1)) == (
        "2026-02-09", "2026-02-08", "2026-02-09"
    )  # fmt: skip


def test_the_last_day_that_is_covered_is_of_either_kind() -> None:
    assert (Cover().last, BILLS.last) == ("", NEXT)
    assert Cover(frozenset({DAY}), frozenset({NEXT})).last == NEXT


def test_money_that_went_back_by_the_channels_word_counts_too() -> None:
    back = evolve(PAID, OrderRefunded(("1",), 500), T0 + DAY_MS)
    assert (back.refunded, back.refund_ms) == (500, T0 + DAY_MS)
