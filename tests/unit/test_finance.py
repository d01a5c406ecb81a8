"""Finance: lines are a set, differences open, are explained, and resolve themselves."""

from contextlib import closing
from typing import Any

import msgspec
import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain.canonical import Parcel
from domain.decider import Command, RefusedBefore, fold
from domain.finance import (
    COUNT_MAX,
    JUDGED_MAX,
    LINE_ID_MAX,
    LINES_MAX,
    SUM_MAX,
    BadFigure,
    BadLine,
    CloseStatement,
    DifferenceExplained,
    DifferenceOpened,
    DifferenceResolved,
    ExplainDifference,
    Finance,
    Finding,
    Judged,
    JudgeOrders,
    Line,
    LineRead,
    NoReason,
    NoSuchDifference,
    OrdersCompared,
    StatementRead,
    TakeLines,
    TooMuchAtOnce,
    decide,
    difference_id,
    finance,
)
from domain.ids import finance_key, order_key
from domain.matching import day_of
from domain.money import AMOUNT_MAX
from domain.order import OrderNormalized, OrderReceived, PartiallyShipped
from domain.stock import ReceiveStock
from domain.time_units import DAY_MS
from runners.projector import Projector
from tests.spec import T0, Cell
from tests.trade import NOON_MS, Trade, view

KEY = "order-taobao:shop1:o-1"
FIRST, SECOND = Line("1", "paid", 100, "CNY", T0, KEY), Line("2", "fee", 1, "CNY", T0, KEY)
LESS = Finding("amount_differs", 100, 90, "CNY")
LATE = Finding("settled_later", 100, 0, "CNY")


def judged(as_of: int, *findings: Finding, command: str = "m") -> JudgeOrders:
    return JudgeOrders(f"{command}-{as_of}", "2026-02-09", as_of, (Judged(KEY, "2026-02-09", findings),))


def after(*commands: object) -> Finance:
    state = Finance()
    for command in commands:
        state = fold(finance, decide(command, state), state)  # type: ignore[arg-type]
    return state


def test_a_line_counts_once_in_whatever_statement_it_comes() -> None:
    state = after(TakeLines("s1", (FIRST,)))
    assert decide(TakeLines("s2", (FIRST, SECOND)), state) == [LineRead("s2", SECOND)]
    assert decide(TakeLines("s1", (FIRST, FIRST)), state) == []


@pytest.mark.parametrize(
    "changes",
    [{"id": ""}, {"id": "x" * (LINE_ID_MAX + 1)}, {"amount": AMOUNT_MAX + 1}, {"amount": -AMOUNT_MAX - 1},
     {"at_ms": -1}, {"at_ms": 2**62}],
)  # fmt: skip
def test_a_line_that_no_database_could_hold_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadLine):
        decide(TakeLines("s1", (FIRST, msgspec.structs.replace(SECOND, **changes))), Finance())


@pytest.mark.parametrize(
    "command",
    [
        CloseStatement("s1", "f", False, COUNT_MAX + 1, 0),
        CloseStatement("s1", "f", False, 1, -1),
        judged(COUNT_MAX + 1, LESS),
        judged(1, Finding("amount_differs", SUM_MAX + 1, 90, "CNY")),
        judged(1, LESS, Finding("amount_differs", 1, -SUM_MAX - 1, "CNY", "x")),
    ],
)
def test_a_figure_that_no_database_could_hold_is_refused(command: Command) -> None:
    with pytest.raises(BadFigure):
        decide(command, Finance())


def test_lines_that_contradict_each_other_are_both_kept_in_any_order() -> None:
    other = Line("1", "paid", 90, "CNY", T0, KEY)
    assert after(TakeLines("s1", (FIRST,)), TakeLines("s2", (other,))) == after(
        TakeLines("s2", (other,)), TakeLines("s1", (FIRST,))
    )


def test_a_statement_ends_once() -> None:
    close = CloseStatement("s1", "wechat-trade", settles=False, lines=2, refused=0)
    assert decide(close, Finance()) == (StatementRead("s1", "wechat-trade", False, 2, 0),)
    assert decide(close, after(close)) == ()


def test_a_difference_opens_once_is_explained_and_opens_again_with_other_figures() -> None:
    name = difference_id(KEY, LESS)
    opened = after(judged(5, LESS))
    assert [type(each) for each in decide(judged(6, LESS), opened)] == [OrdersCompared]
    explained = after(judged(5, LESS), ExplainDifference("c-1", name, " agreed "))
    assert explained.differences[name].explained
    assert [type(each) for each in decide(judged(6, LESS), explained)] == [OrdersCompared]
    again = decide(judged(7, Finding("amount_differs", 100, 80, "CNY")), explained)
    assert [type(each) for each in again] == [OrdersCompared, DifferenceOpened]
    assert not after(judged(5, LESS), ExplainDifference("c-1", name, "x"), judged(7, LATE)).differences.get(name)


def test_what_a_later_look_does_not_show_is_resolved() -> None:
    _, resolved, *more = decide(judged(6), after(judged(5, LATE)))
    assert (resolved, more) == (DifferenceResolved(difference_id(KEY, LATE), KEY, "settled_later"), [])
    assert after(judged(5, LATE), judged(6)).differences == Finance().differences


def test_an_older_look_comes_too_late_and_the_same_one_twice_says_nothing() -> None:
    state = after(judged(5, LESS))
    assert decide(judged(4), state) == ()
    assert decide(judged(5, LESS), state) == ()


def test_an_explanation_is_of_something_and_says_something() -> None:
    state = after(judged(5, LESS))
    name = difference_id(KEY, LESS)
    with pytest.raises(NoReason):
        decide(ExplainDifference("c-1", name, "  "), state)
    with pytest.raises(NoSuchDifference):
        decide(ExplainDifference("c-1", "d-0", "x"), state)
    done = after(judged(5, LESS), ExplainDifference("c-1", name, "x"))
    assert decide(ExplainDifference("c-1", name, "x"), done) == ()
    assert decide(ExplainDifference("c-2", name, "y"), done) == (DifferenceExplained(name, "y", "c-2"),)


def test_a_refused_explanation_is_answered_alike_for_ever() -> None:
    cell = Cell()
    shop = finance_key("taobao", "shop1")
    first, again = (cell.send(shop, ExplainDifference("c-1", "d-0", "x")) for _ in range(2))
    assert (first.outcome, again.outcome, again.reason) == ("refused", "refused", first.reason)
    assert cell.tags(shop) == ["finance.refused"]
    with pytest.raises(RefusedBefore):
        decide(ExplainDifference("c-1", "d-0", "x"), cell.states[shop].state)


def test_a_message_that_is_not_for_finance_is_refused_and_recorded() -> None:
    cell = Cell()
    shop = finance_key("taobao", "shop1")
    assert cell.send(shop, ReceiveStock("d-1", (("S1", 1),))).outcome == "refused"
    assert cell.tags(shop) == ["finance.refused"]


def test_a_message_holds_so_much_and_no_more() -> None:
    lines = tuple(Line(str(each), "paid", 1, "CNY", T0) for each in range(LINES_MAX + 1))
    with pytest.raises(TooMuchAtOnce):
        decide(TakeLines("s", lines), Finance())


def test_a_message_judges_so_many_orders_and_no_more() -> None:
    many = tuple(Judged(f"order-taobao:s:{number}", "2026-02-09") for number in range(JUDGED_MAX + 1))
    with pytest.raises(TooMuchAtOnce):
        decide(JudgeOrders("m-1", "2026-02-09", 1, many), Finance())


def test_a_log_that_explains_or_resolves_what_was_never_opened_is_read_all_the_same() -> None:
    events = (DifferenceExplained("d-0", "a coupon", "c-1"), DifferenceResolved("d-0", KEY, "amount_differs"))
    state = fold(finance, events, Finance())
    assert not state.differences
    assert decide(ExplainDifference("c-1", "d-0", "a coupon"), state) == ()


def test_a_day_is_about_orders_of_which_a_part_left() -> None:
    """Goods that left unpaid are asked about on that day, and not only when the rest has left."""
    log = MemoryEventLog()
    key = order_key("taobao", "s1", "1")
    Trade(log).append(
        key,
        OrderReceived("taobao", "s1", "1", "p"),
        OrderNormalized(view("1", "awaiting_payment"), "digest", "address"),
        PartiallyShipped(("1",), (Parcel("SF", "SF1"),), NOON_MS + DAY_MS),
    )
    with closing(ReadModels("sqlite://")) as read_models:
        Projector(log, read_models).run()
        assert read_models.finance_days([day_of(NOON_MS + DAY_MS)]) == {key}
        assert read_models.finance_days([day_of(NOON_MS)]) == set()
