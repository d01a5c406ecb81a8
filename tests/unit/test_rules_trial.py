"""What changed rules would change: by rule, and in orders of the log."""

import pytest

from adapters.storage.memory_log import MemoryEventLog
from domain.rule_table import read_rules
from domain.rulings import Promise
from runners import rules_trial
from runners.rules_trial import Change, changes, recent, sighting, try_rules
from tests.spec import T0, Cell, line, snapshot

HEAD = "format = 1\n"


def tag(name: str, *more: str) -> str:
    return "\n".join(("[[tag]]", f'id = "{name}"', f'tag = "{name}"', *more, ""))


def test_documents_differ_rule_by_rule_and_not_by_how_they_are_written() -> None:
    before = HEAD + tag("a") + tag("b", 'when = "units > 1"') + tag("c")
    after = '{"format":1,"tag":[{"id":"a","tag":"a"},{"id":"b","tag":"b","when":"units > 2"},{"id":"d","tag":"d"}]}'
    assert changes(before, after) == [
        Change("tag", "c", "removed"),
        Change("tag", "b", "changed", {"when": ("units > 1", "units > 2")}),
        Change("tag", "d", "added"),
    ]
    assert changes(before, "# the same\n" + before) == []
    assert changes("", HEAD + '[[warehouse]]\ncode = "B"') == [Change("warehouse", "B", "added")]


def test_a_rule_that_stands_elsewhere_has_moved() -> None:
    a, b, c = tag("a"), tag("b"), tag("c")
    assert changes(HEAD + a + b + c, HEAD + c + a + b) == [Change("tag", "c", "moved")]
    assert changes(HEAD + a + b + c, HEAD + b + a + c) == [Change("tag", "b", "moved")]
    assert changes(HEAD + a + b + c, HEAD + a + c) == [Change("tag", "b", "removed")]


@pytest.fixture
def log() -> MemoryEventLog:
    cell = Cell()
    for number in range(1, 5):
        cell.now_ms = T0 + number
        cell.take(snapshot("awaiting_payment", 1, (line("1", quantity=number),), number=f"o-{number}"))
    cell.now_ms = T0 + 100
    cell.take(snapshot("paid", 2, (line("1", quantity=9),), number="o-2"))
    made = MemoryEventLog("test")
    made.append(cell.records)
    return made


@pytest.mark.parametrize("page", [1, 3, 10_000])
def test_the_orders_that_channels_told_of_last_come_first(
    log: MemoryEventLog, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules_trial, "PAGE_EVENTS", page)
    assert [key.rpartition(":")[2] for key in recent(log, 3)] == ["o-2", "o-4", "o-3"]
    assert len(list(recent(log, 100))) == 4


def test_an_order_is_seen_as_its_channel_told_of_it_last(log: MemoryEventLog) -> None:
    seen = sighting(log, "order-taobao:shop1:o-2")
    assert seen is not None
    assert (seen.facts.snapshot.status, seen.facts.snapshot.lines[0].quantity) == ("paid", 9)
    assert (seen.facts.taken_ms, seen.facts.now_ms) == (T0, T0 + 100)
    assert sighting(log, "order-taobao:shop1:none") is None
    assert sighting(log, "warehouse-A") is None


def test_a_trial_says_which_orders_would_be_ruled_otherwise(log: MemoryEventLog) -> None:
    seen = [each for key in recent(log, 9) if (each := sighting(log, key)) is not None]
    now = read_rules(HEAD + '[[promise]]\nid = "p"\nship_within = "2d"\n')
    then = read_rules(HEAD + '[[promise]]\nid = "q"\nwhen = "units > 3"\nship_within = "1d"\n')
    trial = try_rules(now, then, seen)
    assert (trial.orders, trial.differing, trial.rules) == (4, 4, {"p": (4, 0), "q": (0, 2)})
    first = trial.verdicts[0]
    assert first.then.promise == Promise("q", 86_400_000)
    assert set(first.differs) == {"promise"}
    assert try_rules(now, now, seen).differing == 0
