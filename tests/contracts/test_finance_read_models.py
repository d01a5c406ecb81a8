"""What finance is shown: the same on SQLite and PostgreSQL, wherever batches end; and what the match makes of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain.envelope import By
from domain.finance import CloseStatement, ExplainDifference, Line, TakeLines, difference_id
from domain.ids import VIEWS_KEY, finance_key, order_key
from domain.mail import Mail
from domain.matching import Tolerance, day_of, days_after
from domain.views import Differing, RecordCheck
from projections import PROJECTIONS
from runners.finance_export import rows
from runners.matching import compare, mails_of
from runners.projector import Projector
from tests.trade import NOON_MS, Trade, view

BY = By("person", "fin", "finance")
DAY = day_of(NOON_MS)
KEY = order_key("taobao", "s1", "1")
SHOP = finance_key("taobao", "s1")
Open = Callable[[], ReadModels]


@pytest.fixture(params=["sqlite", "postgres"])
def read_models(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReadModels]:
    if request.param == "sqlite":
        made = ReadModels(f"sqlite:///{tmp_path}/read_models.db")
    else:
        schema = request.getfixturevalue("postgres_schema")
        made = ReadModels(request.getfixturevalue("postgres_dsn"), f"{schema}_read")
    yield made
    made.close()


class Finance:
    """A shop whose statements come in and are compared."""

    def __init__(self, read_models: ReadModels, batch: int) -> None:
        self.views = read_models
        self.trade = Trade(MemoryEventLog())
        self.trade.receive()
        self._batch = batch

    def project(self) -> None:
        Projector(self.trade.log, self.views, PROJECTIONS, batch=self._batch).run()

    def lines(self, day: str, *lines: Line, statement: str = "s") -> None:
        to = finance_key("taobao", "s1", day)
        self.trade.send(to, TakeLines(statement, lines), by=BY)
        self.trade.send(to, CloseStatement(statement, "alipay-trade", False, len(lines), 0), by=BY)

    def compare(self, day: str) -> list[Mail]:
        self.project()
        mails = mails_of(compare(self.trade.log, self.views, day, Tolerance(ship_days=99)), BY, NOON_MS)
        for mail in mails:
            self.trade.send(mail.to, mail.body, by=BY)
        self.project()
        return mails

    def shown(self) -> list[tuple[Any, ...]]:
        return [
            (row["key"], row["reason"], row["state"], row["explanation"]) for row in self.views.finance_differences()
        ]


@pytest.mark.parametrize("batch", [1, 1_000])
def test_a_difference_is_shown_from_its_first_day_to_its_last(read_models: ReadModels, batch: int) -> None:
    finance = Finance(read_models, batch)
    finance.trade.take(view("1", "paid"))
    paid = Line("42", "paid", view("1", "paid").amounts.paid, "CNY", NOON_MS, KEY)
    finance.lines(DAY)
    finance.compare(DAY)
    assert finance.shown() == [(KEY, "settled_later", "open", "")]
    finance.lines(days_after(DAY, 1))
    finance.compare(days_after(DAY, 1))
    missing = (KEY, "missing_in_statement")
    assert finance.shown() == [(*missing, "open", ""), (KEY, "settled_later", "resolved", "")]
    (name,) = (row["id"] for row in read_models.finance_differences(state="open"))
    finance.trade.send(SHOP, ExplainDifference("c-1", name, "the channel looks for it"), by=BY)
    finance.compare(days_after(DAY, 1))
    assert finance.shown()[0] == (*missing, "explained", "the channel looks for it")
    finance.lines(DAY, paid, statement="corrected")
    finance.compare(days_after(DAY, 2))
    assert {row[2] for row in finance.shown()} == {"resolved"}
    counts = read_models.finance_counts(DAY)
    assert [(row["channel"], row["reason"], row["state"], row["number"]) for row in counts] == [
        ("taobao", "missing_in_statement", "resolved", 1), ("taobao", "settled_later", "resolved", 1)
    ]  # fmt: skip
    assert name not in finance.trade.states[SHOP].state.differences
    assert len(read_models.finance_statements("taobao", "s1")) == 3


def test_statements_that_come_days_late_are_made_up_for(read_models: ReadModels) -> None:
    """Nobody compared while they were missing: the next comparison looks back."""
    finance = Finance(read_models, 1_000)
    finance.trade.take(view("1", "paid"))
    assert [mail.body.judged for mail in finance.compare(days_after(DAY, 3))] == [()]  # type: ignore[union-attr]
    assert finance.shown() == []
    for each in range(3):
        finance.lines(days_after(DAY, each))
    finance.compare(days_after(DAY, 4))
    assert finance.shown() == [(KEY, "missing_in_statement", "open", "")]


def test_lines_that_contradict_each_other_are_two_rows_and_odd_ids_are_kept(read_models: ReadModels) -> None:
    finance = Finance(read_models, 1)
    odd = "é/'\"🙂" + "9" * 150
    finance.lines(DAY, Line(odd, "paid", 100, "CNY", NOON_MS, KEY), Line(odd, "paid", 90, "CNY", NOON_MS, KEY))
    finance.project()
    assert sorted((row["line"], row["amount"]) for row in read_models.finance_lines([KEY])) == [(odd, 90), (odd, 100)]
    finance.compare(DAY)
    assert {row[1] for row in finance.shown()} == {"missing_in_log", "statement_contradicts"}
    finance.trade.take(view("1", "paid"))
    finance.project()
    (handed,) = rows(finance.trade.log, read_models, DAY)
    assert handed["statement_paid"] == "1.00", "the same movement, told twice, is one"
    differences = finance.trade.states[SHOP].state.differences
    assert {difference_id(KEY, each.finding) for each in differences.values()} == set(differences)


def test_checks_are_shown_the_last_one_first(read_models: ReadModels) -> None:
    finance = Finance(read_models, 1_000)
    for number, differ in (("c-1", (Differing("orders_v6", KEY, "state"),)), ("c-2", ())):
        finance.trade.send(VIEWS_KEY, RecordCheck(number, 5, 20, len(differ), differ, 9), by=BY)
    finance.project()
    last, first = read_models.checks()
    assert (last["differing_orders"], first["differing_orders"], first["differ"][0]["row"]) == (0, 1, KEY)
