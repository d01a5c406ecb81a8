"""Rules in a cell: a change takes effect at its place in the mail, and what was ruled names rule and version."""

from typing import Any

from domain.catalogue import decode_event
from domain.envelope import decode_envelope
from domain.ids import RULEBOOK_KEY, order_key
from domain.order import GiftsGranted, OrderIntercepted, OrderRouted
from domain.rulebook import ChangeRules
from tests.spec import Cell, line, replayed, snapshot

KEY = order_key("taobao", "shop1", "o-1")
BOOK = """
format = 1
[[warehouse]]
code = "A"
[[warehouse]]
code = "B"
[[promotion]]
id = "buy-2"
buy = 'sku == "S1"'
every = 2
gift = { sku = "G1", units = 1 }
[[intercept]]
id = "big"
when = "units >= 50"
reason = "large_quantity"
evidence = "{units} units"
advice = "ask the buyer"
role = "sales"
"""


def changed(cell: Cell, text: str, number: int = 1) -> None:
    turn = cell.send(RULEBOOK_KEY, ChangeRules(f"r-{number}", text, "for the test"))
    assert turn.outcome == "accepted", turn.reason


def facts(cell: Cell, kind: type) -> list[Any]:
    found = [decode_event(record.tag, record.data) for record in cell.records]
    return [event for event in found if isinstance(event, kind)]


def test_orders_behind_a_change_are_ruled_by_it_and_those_before_are_not() -> None:
    cell = Cell()
    cell.receive(("S1", 90), ("G1", 9))
    four = (line("1", quantity=4),)
    cell.take(snapshot(lines=four, number="o-0"))
    changed(cell, BOOK)
    cell.take(snapshot(lines=four))
    changed(cell, BOOK.replace("units = 1", "units = 2"), 2)
    cell.take(snapshot(lines=four, number="o-2"))
    assert [cell.order(number).ruled.gifts for number in ("o-0", "o-1", "o-2")] == [
        (),
        cell.order().ruled.gifts,
        cell.order("o-2").ruled.gifts,
    ]
    assert [
        (event.rules, [(gift.rule, gift.units) for gift in event.gifts]) for event in facts(cell, GiftsGranted)
    ] == [
        (1, [("buy-2", 2)]),
        (2, [("buy-2", 4)]),
    ]
    versions = {record.stream: decode_envelope(record.envelope).rules for record in cell.records}
    assert [versions[order_key("taobao", "shop1", number)] for number in ("o-0", "o-1", "o-2")] == [0, 1, 2]
    assert versions["warehouse-A"] == versions[RULEBOOK_KEY] == 0, "no rule decides there"
    assert replayed(cell.records) == cell.living


def test_an_order_that_is_stopped_by_a_rule_names_it() -> None:
    cell = Cell()
    changed(cell, BOOK)
    cell.take(snapshot(lines=(line("2", quantity=50),)))
    (stopped,) = facts(cell, OrderIntercepted)
    assert (stopped.rule, stopped.rules, stopped.reason, stopped.evidence) == ("big", 1, "large_quantity", "50 units")


def test_warehouses_of_the_book_serve_orders_without_a_route() -> None:
    cell = Cell()
    cell.receive(("S1", 9), warehouse="B")
    changed(cell, BOOK)
    cell.take(snapshot())
    (allocation,) = cell.order().allocations
    assert allocation.warehouse == "B"
    assert facts(cell, OrderRouted) == [], "no rule said anything of it"


def test_a_repeated_view_asks_no_rules_anew() -> None:
    cell = Cell()
    cell.receive(("S1", 90))
    cell.take(snapshot(lines=(line("1", quantity=1),)))
    changed(cell, BOOK)
    turn = cell.take(snapshot(lines=(line("1", quantity=1),)))
    assert [record.tag for record in turn.records] == ["order.repeated"]
