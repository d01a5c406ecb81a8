"""A rule book is a document that people edit: every fault is told with its line, and what would be right."""

import json
import tomllib
from pathlib import Path

import pytest

from domain.rule_parts import EMPTY, Warehouse
from domain.rule_table import RESERVED_REASONS, RULES_MAX, TEXT_MAX, BadRules, read_rules, rows_of
from domain.rulings import Facts
from domain.time_units import HOUR_MS
from tests.spec import snapshot

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "rules.toml"
HEAD = "format = 1\n"
"""So a rule's first line is line 2."""


def faulty(text: str) -> str:
    with pytest.raises(BadRules) as caught:
        read_rules(HEAD + text)
    return str(caught.value)


def rule(kind: str, *lines: str, name: str = "r") -> str:
    return "\n".join([f"[[{kind}]]", f'id = "{name}"', *lines, ""])


def test_a_book_without_rules_is_the_empty_one() -> None:
    assert read_rules("") is read_rules(" \n") is EMPTY
    assert read_rules(HEAD) == EMPTY
    assert not EMPTY.ruled
    assert EMPTY.warehouses == (Warehouse("A", ""),)
    assert rows_of("") == {}


def test_the_full_example_is_read_and_read_once() -> None:
    text = EXAMPLE.read_text()
    book = read_rules(text)
    assert read_rules(text) is book
    assert [each.code for each in book.warehouses] == ["A", "B", "C"]
    assert book.ruled
    assert set(book.acts) == {"ship_notice"}
    rows = rows_of(text)
    assert ("warehouse", "C") in rows
    assert rows["kit", "drill-set"]["parts"]["BAT-18V-2"] == 2


def test_what_is_delivered_on_the_day_it_is_sent_may_be_promised() -> None:
    (promising,) = read_rules(HEAD + rule("promise", 'ship_within = "4h"', 'deliver_within = "240m"')).promises
    assert promising.promise.deliver_within_ms == promising.promise.ship_within_ms == 4 * HOUR_MS
    assert "shorter than ship_within" in faulty(rule("promise", 'ship_within = "4h"', 'deliver_within = "239m"'))


def test_the_same_as_json_is_the_same_book() -> None:
    text = EXAMPLE.read_text()
    as_json = json.dumps(tomllib.loads(text), default=lambda time: time.isoformat())
    assert rows_of(as_json) == rows_of(text)
    assert read_rules(as_json).warehouses == read_rules(text).warehouses
    with pytest.raises(BadRules, match=r"^line 3: when, column 1: there is no 'unts'"):
        read_rules('{"format": 1,\n "tag": [{"id": "a", "tag": "x", "when": "units > 1"},\n'
                   '  {"id": "b", "tag": "y", "when": "unts > 1"}]}')  # fmt: skip


FAULTS = (
    # the document
    ("[[tagg]]", "line 2: there is no 'tagg' in a rule book here: there are [[warehouse]], [[tag]]"),
    (rule("tag", 'tag = "x"', 'wen = "units > 1"'), "line 5: there is no 'wen' in a rule book here: [[tag]] has id, "),
    (rule("tag"), "line 2: 'tag' is missing: [[tag]] has id, enabled, note, when, from, until, tag"),
    (rule("tag", "tag = 3"), "line 4: Expected `str`, got `int`"),
    ("x =", "line 2: not TOML: Invalid value"),
    ('[[tag]]\nid = "A"\ntag = "x"', "line 3: id: 'A' is no id: lower-case"),
    (rule("tag", 'tag = "x"') + rule("tag", 'tag = "y"'), "line 6: id: the rule in line 2 has the id 'r' already"),
    (rule("lots", 'when = "units >"'), "line 4: when, column 8: invalid syntax"),
    (rule("lots", 'when = """', "units > 1", "and unts > 1", '"""'), "line 6: when, column 5: there is no 'unts'"),
    (rule("lots", 'when = """units > 1', 'and unts > 1"""'), "line 5: when, column 5: there is no 'unts'"),
    # time
    (rule("lots", "from = 2026-11-11"), "line 4: Expected `datetime`, got `date`: write a time with its offset"),
    (rule("lots", "until = 2026-11-11T00:00:00"), "line 4: until: it has no offset: write a time"),
    (rule("lots", 'from = "yesterday"'), "line 4: Invalid RFC3339 encoded datetime: write a time"),
    (
        rule("lots", "from = 2026-11-11T00:00:00+08:00", "until = 2026-11-10T16:00:00Z"),
        "line 5: until: it ends before it begins",
    ),
    # warehouses, tags, routes
    ('[[warehouse]]\ncode = ""', "line 3: code: warehouse code is empty"),
    ('[[warehouse]]\ncode = "A"\n[[warehouse]]\ncode = "A"', "line 5: code: the warehouse 'A' is there already"),
    (rule("tag", 'tag = "two words"'), "line 4: tag: 'two words' is no tag"),
    (rule("tag", 'tag = "a"', "when = '\"b\" in tags'") + rule("tag", 'tag = "b"', name="s"), "line 5: when, column"),
    (rule("lots", "when = '\"urgnt\" in tags'") + rule("tag", 'tag = "urgent"', name="s"), "did you mean 'urgent'?"),
    (rule("route"), "line 3: id: the route says nothing"),
    (rule("route", 'warehouses = ["B"]'), "line 4: warehouses: there is no warehouse 'B' (there are A): declare it"),
    (rule("route", 'warehouses = ["A", "A"]'), "line 4: warehouses: a warehouse is there twice"),
    (rule("route", 'area = "a b"'), "line 4: area: 'a b' is no area"),
    (rule("route", 'priority = "fast"'), "line 4: Invalid enum value 'fast'"),
    (rule("route", 'priority = "urgent"', 'lines = "skku == 1"'), "line 5: lines, column 1: there is no 'skku'"),
    # kits
    (rule("kit", 'sku = "S"', "parts = {}"), "line 5: parts: it has none"),
    (rule("kit", 'sku = "S"', "parts = { A = 0 }"), "line 5: parts: 0 is no number of units"),
    (rule("kit", 'sku = "S"', "parts = { S = 1 }"), "line 5: parts: 'S' is a kit itself"),
    (rule("kit", 'sku = ""', "parts = { S = 1 }"), "line 4: sku: SKU is empty"),
    # promotions
    (rule("promotion"), "line 3: id: a promotion is one of: every = N with gift"),
    (rule("promotion", "every = 2"), "line 3: id: a promotion is one of"),
    (rule("promotion", "every = 2", 'gift = { sku = "G" }', 'over = "CNY(1)"'), "line 3: id: a promotion is one of"),
    (rule("promotion", "every = 0", 'gift = { sku = "G" }'), "line 4: every: 0 is no number of units"),
    (rule("promotion", "every = 2", 'gift = { sku = "G", units = 0 }'), "line 5: gift: 0 is no number"),
    (rule("promotion", "every = 2", 'gift = { sku = "G", warehouse = "X" }'), "line 5: gift: there is no"),
    (rule("promotion", "every = 2", 'gift = { sku = "G" }', "most = -1"), "line 6: most: -1 is no number"),
    (rule("promotion", 'over = "CNY(1)"'), "line 4: over: say what is given there: gift or save"),
    (rule("promotion", 'over = "CNY(1)"', "gift = {}"), "line 5: gift: SKU is empty"),
    (rule("promotion", 'over = "199"', 'save = "freight"'), "line 4: over: '199' is no money: write \"CNY(199)\""),
    (rule("promotion", 'over = "XXX(1)"', 'save = "freight"'), "line 4: over: the currency 'XXX' is unknown"),
    (rule("promotion", 'over = "CNY(0)"', 'save = "freight"'), "line 4: over: money here is more than nothing"),
    (rule("promotion", 'over = "CNY(1.2.3)"', 'save = "freight"'), "line 4: over: '1.2.3' is no amount"),
    (rule("promotion", "over = 0", 'save = "freight"'), "line 4: over: 0 is no number of units"),
    (rule("promotion", 'over = "CNY(9)"', 'save = "USD(1)"'), "line 5: save: USD is saved where CNY is spent"),
    (rule("promotion", 'over = "CNY(9)"', 'save = "CNY(1)"', "most = 2"), "line 6: most: it goes with every = true"),
    (
        rule("promotion", "tiers = [{ over = 1, save = 'freight' }, { over = 'CNY(1)', save = 'freight' }]"),
        "line 4: tiers: all tiers are of units, or of money of one currency",
    ),
    (
        rule("promotion", "tiers = [{ over = 1, save = 'freight' }, { over = 1, save = 'CNY(1)' }]"),
        "line 4: tiers: two tiers begin at the same",
    ),
    (rule("promotion", "most = 1", "[[promotion.tiers]]", "over = 1", "save = 'freight'"), "line 3: id: a prom"),
    (rule("promotion", "[[promotion.tiers]]", "over = 1", "[[promotion.tiers]]", "over = 2"), "line 5: over: say what"),
    (
        rule("promotion", "every = 2", 'gift = { sku = "K" }') + rule("kit", 'sku = "K"', "parts = {A=1}", name="k"),
        "line 5: gift: 'K' is a kit: give its parts",
    ),
    # the rest
    (rule("intercept", 'reason = "Big"', "evidence = ''", "advice = ''", "role = 'x'"), "line 4: reason: 'Big'"),
    (
        rule("intercept", 'reason = "stock_short"', "evidence = ''", "advice = ''", "role = 'x'"),
        "line 4: reason: for 'stock_short' orders stop by themselves",
    ),
    (
        rule("intercept", 'reason = "big"', "evidence = '{unit}'", "advice = ''", "role = 'x'"),
        "line 5: evidence: there is no place {unit}: there are channel, ",
    ),
    (
        rule("intercept", 'reason = "big"', "evidence = '{units'", "advice = ''", "role = 'x'"),
        "line 5: evidence: a brace stands alone",
    ),
    (
        rule("intercept", 'reason = "big"', "evidence = ''", f"advice = '{'x' * 1001}'", "role = 'x'"),
        "line 6: advice: a text has at most 1,000",
    ),
    (rule("intercept", 'reason = "big"', "evidence = ''", "advice = ''", "role = ''"), "line 7: role: '' is no role"),
    (rule("promise", 'ship_within = ""'), "line 4: ship_within: it is empty"),
    (rule("promise", 'ship_within = "4 hours"'), "line 4: ship_within: '4 hours' is no span of time: write"),
    (rule("promise", 'ship_within = "0h"'), "line 4: ship_within: '0h' is no span of time: more than nothing"),
    (rule("promise", 'ship_within = "401d"'), "line 4: ship_within: '401d' is no span of time"),
    (rule("promise", 'ship_within = "4h"', 'deliver_within = "1h"'), "line 5: deliver_within: it is shorter"),
    (rule("approve", 'form = "credit"', 'role = "f"', "people = 0"), "line 6: people: 0 people cannot approve"),
    (rule("approve", 'form = "credit"', 'role = "f"', 'due_within = "4h"'), "line 6: due_within: due_within and"),
    (
        rule("approve", 'form = "credit"', 'role = "f"', 'due_within = "4h"', 'escalate_to = "a b"'),
        "line 7: escalate_to: 'a b' is no role",
    ),
    (rule("approve", 'form = "credit"', 'role = "f"', 'fields = ["a b"]'), "line 6: fields: 'a b' is no field"),
    (rule("protect", "skus = []", "keep = 1"), "line 4: skus: it names no SKU"),
    (rule("protect", 'skus = ["S"]', "keep = 0"), "line 5: keep: 0 is no number of units"),
    (rule("notify", 'on = ["order.payed"]', 'to = ["a"]', 'title = "x"'), "did you mean 'order.paid'?"),
    (rule("notify", 'on = ["zzz"]', 'to = ["a"]', 'title = "x"'), "line 4: on: there is no event 'zzz'; docs"),
    (rule("notify", "on = []", 'to = ["a"]', 'title = "x"'), "line 4: on: it is empty"),
    (rule("notify", 'on = ["order.paid"]', "to = []", 'title = "x"'), "line 5: to: it is empty"),
    (rule("notify", 'on = ["order.paid"]', 'to = ["a"]', 'title = " "'), "line 6: title: it is empty"),
    (rule("notify", 'on = ["order.paid"]', 'to = ["a"]', 'title = "{x}"'), "line 6: title: there is no place {x}"),
    (rule("duplicate", 'within = "8d"'), "line 4: within: '8d': a time up to 7 days"),
    (rule("act", 'effect = "e"', "tries = 101"), "line 5: tries: 101 tries"),
    (rule("act", 'effect = "e"') + rule("act", 'effect = "e"', name="s"), "line 7: effect: 'r' says already how 'e'"),
    (rule("act", 'effect = "e"', 'backoff = "x"'), "line 5: backoff: 'x' is no span of time"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), FAULTS, ids=[row[1][:60] for row in FAULTS])
def test_a_fault_is_told_with_its_line_and_what_would_be_right(text: str, reason: str) -> None:
    told = faulty(text)
    assert reason in told
    if reason.startswith("line"):
        assert told.startswith(reason)


@pytest.mark.parametrize("text", ["format = 2", "note = 'x'", "format = '1'"])
def test_a_book_says_its_format(text: str) -> None:
    with pytest.raises(BadRules, match="a rule book begins with format = 1"):
        read_rules(text)


def test_a_book_that_could_not_be_stored_is_refused() -> None:
    with pytest.raises(BadRules, match="half of a character"):
        read_rules('{"format": 1, "tag": [{"id": "a", "tag": "\\ud800"}]}')


def test_where_a_line_cannot_be_told_the_rule_is() -> None:
    text = '# """\n' + HEAD + rule("tag", 'tag = "x"') + rule("tag", 'tag = "a b"', name="s") + '# """'
    with pytest.raises(BadRules, match=r"^tag\.1\.tag: 'a b' is no tag"):
        read_rules(text)
    with pytest.raises(BadRules, match=r"^tag\.1\.id: another rule has the id 'r' already"):
        read_rules(text.replace('id = "s"', 'id = "r"'))
    with pytest.raises(BadRules, match=r"^lots\.0\.when: there is no 'unts'"):
        read_rules('# """\n' + HEAD + rule("lots", 'when = "unts > 1"') + '# """')


def test_a_book_has_an_end() -> None:
    with pytest.raises(BadRules, match="longer than"):
        read_rules("#" * (TEXT_MAX + 1))
    rows = "".join(f'{{id="r{number}"}},' for number in range(RULES_MAX + 1))
    with pytest.raises(BadRules, match="more than"):
        read_rules(f"{HEAD}lots = [{rows}]")


def test_a_rule_that_is_switched_off_is_checked_and_says_nothing() -> None:
    off = "enabled = false"
    book = read_rules(HEAD + rule("tag", 'tag = "x"', off) + rule("act", 'effect = "e"', off, name="s")
                      + rule("lots", "when = '\"x\" in tags'", off, name="t"))  # fmt: skip
    assert (book.tags, book.lots, book.acts) == ((), (), {})
    assert "no tag" in faulty(rule("tag", 'tag = "a b"', off))


def test_spans_and_acts_are_as_written() -> None:
    book = read_rules(HEAD + rule("act", 'effect = "erp"', "tries = 3", 'backoff = "1m30s"', 'timeout = "10s"',
                                  'then = "intercept"'))  # fmt: skip
    act = book.acts["erp"]
    assert (act.tries, act.backoff_ms, act.timeout_ms, act.then) == (3, 90_000, 10_000, "intercept")


@pytest.mark.parametrize("row", ["every = 2", "over = 2", "over = 'CNY(2)'", "over = 2\nevery = true"])
def test_a_promotion_that_gives_goods_takes_nothing_off(row: str) -> None:
    (offer,) = read_rules(HEAD + rule("promotion", row, 'gift = { sku = "G" }')).offers
    assert [(step.save, step.save_currency) for step in offer.steps] == [(0, "")]


def test_who_is_told_of_an_event_is_found_by_its_tag_and_order() -> None:
    notify = ('on = ["order.shipped", "order.paid"]', 'to = ["desk"]', 'title = "{order_no} {reason}"', 'text = "x"')
    book = read_rules(HEAD + rule("tag", 'tag = "big"', 'when = "units > 5"', name="t") + rule("notify", *notify)
                      + rule("notify", *notify, "when = '\"big\" in tags'", name="s"))  # fmt: skip
    small = Facts(snapshot())
    assert [each.rule for each in book.notices_on("order.shipped")] == ["r"]
    assert [each.rule for each in book.notices_on("order.paid", small)] == ["r"]
    assert book.notices_on("order.cancelled", small) == []
    every = read_rules(HEAD + rule("notify", *notify) + rule("notify", *notify, 'when = "units > 0"', name="s")
                       + rule("notify", *notify, 'when = "units < 0"', name="u"))  # fmt: skip
    assert [each.rule for each in every.notices_on("order.paid", small)] == ["r", "s"]
    assert every.notices[0].written({"order_no": "7"}) == ("7 ", "x")


def test_reasons_that_orders_have_of_their_own_are_kept_for_them() -> None:
    source = "".join(part.read_text() for part in (Path(__file__).parents[2] / "domain" / "order").glob("*.py"))
    assert all(f'"{reason}"' in source for reason in RESERVED_REASONS)
