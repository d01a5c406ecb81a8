"""Any text is a rule book or is refused; any condition, of any order, says yes or no and never fails."""

from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from domain.canonical import Amounts, Line, SourceTime
from domain.condition_values import LINE_FIELDS, ORDER_FIELDS, Scope
from domain.conditions import BadCondition, read_condition
from domain.rule_shapes import TABLES
from domain.rule_table import BadRules, read_rules
from domain.rules import judge
from domain.rulings import Facts, Ruling
from tests.spec import snapshot

# --- orders

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.decimals(),
    st.sampled_from(("", "1", "2.5", "x", "taobao")),
    st.text(st.characters(codec="utf-8"), max_size=4),
)
names = st.sampled_from(("a", "b", "a.b"))
values: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)
attributes = st.dictionaries(names, values, max_size=3)
amounts = st.integers(-(10**13), 10**13)
lines = st.lists(
    st.builds(
        Line,
        st.text(max_size=2),
        st.sampled_from(("", "A", "B", "x")),
        st.integers(1, 10**6),
        st.text(max_size=3),
        amount=amounts,
        unit_price=amounts,
        gift=st.booleans(),
        state=st.sampled_from(("open", "shipped", "cancelled")),
        attributes=attributes,
    ),
    max_size=4,
).map(tuple)
times = st.one_of(st.just("2026-11-11T20:15:00.000+08:00"), st.text(max_size=12))


@st.composite
def orders(draw: st.DrawFn) -> Facts:
    view = msgspec.structs.replace(
        snapshot(),
        channel=draw(st.sampled_from(("taobao", "x", ""))),
        lines=draw(lines),
        attributes=draw(attributes),
        ordered_at=SourceTime("", 0, 0, draw(times)),
        amounts=Amounts(draw(st.sampled_from(("CNY", "USD", "?"))), payable=draw(amounts), freight=draw(amounts)),
        holds=draw(st.lists(st.text(max_size=2), max_size=2).map(tuple)),
    )
    return Facts(view, draw(st.sampled_from(((), ("no_name",)))), draw(st.integers()), 0, draw(attributes))


# --- conditions, mostly such as make sense

atoms = st.one_of(
    st.sampled_from((*ORDER_FIELDS, *LINE_FIELDS)),
    st.sampled_from(('attr("a")', 'attr("a.b")', 'customer("b")', "CNY(199)", 'USD("0.5")', "None", "True", '"x"')),
    st.sampled_from(("0", "3", "-2.5", "1e308", '("x", "A")', "(1, 2)", 'number(attr("a"))', 'lower(attr("a"))')),
)
numbers = st.builds("{} {} {}".format, atoms, st.sampled_from(("+", "-", "*")), atoms)
sides = st.one_of(atoms, atoms, numbers)
plain = st.one_of(
    st.builds("{} {} {}".format, sides, st.sampled_from(("==", "!=", "<", "<=", ">", ">=", "in", "not in")), sides),
    st.builds("{} < {} <= {}".format, sides, sides, sides),
    st.builds("{}({}, {})".format, st.sampled_from(("startswith", "contains", "endswith", "matches")), atoms, atoms),
    st.builds('matches({}, "{}")'.format, atoms, st.sampled_from(("*", "[a-", "?*?", "[!", "\\\\"))),
)
conditions = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(("and", "or")), inner),
        st.builds("not {}".format, inner),
        st.builds("{}({})".format, st.sampled_from(("any_line", "every_line")), inner),
        st.builds("{}({}) >= 1".format, st.sampled_from(("units_of", "count_of", "amount_of")), inner),
    ),
    max_leaves=5,
)


@given(conditions, st.booleans(), st.lists(orders(), min_size=1, max_size=3))
def test_a_condition_says_yes_or_no_of_any_order(text: str, of_line: bool, seen: list[Facts]) -> None:
    try:
        condition = read_condition(text, of_line=of_line)
    except BadCondition:
        return
    for facts in seen:
        scope = Scope(facts)
        for line in scope.lines if of_line else [None]:
            scope.line = line
            assert type(condition(scope)) is bool


@given(st.text(max_size=80))
def test_any_text_is_a_condition_or_is_refused(text: str) -> None:
    try:
        read_condition(text)
    except BadCondition as error:
        place = (error.line, error.column)
        rows = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    else:
        return
    assert 1 <= place[0] <= len(rows)
    assert 1 <= place[1] <= len(rows[place[0] - 1]) + 2


# --- books

keys = st.sampled_from(
    sorted({field.encode_name for shape in TABLES.values() for field in msgspec.structs.fields(shape)} | {"zz"})
)
units = st.integers(-1, 9)
contents = st.one_of(
    st.booleans(),
    units,
    st.text(max_size=6),
    plain,
    st.sampled_from(("CNY(5)", "USD(1.5)", "freight", "2h", "{units}", "urgent", "never", "big", "A", "order.paid")),
    st.lists(st.sampled_from(("A", "S1", "order.paid", "x y")), max_size=2),
    st.dictionaries(st.sampled_from(("sku", "units", "S1", "warehouse")), st.one_of(units, st.just("S1")), max_size=2),
    st.sampled_from(("2026-01-01T00:00:00+08:00", "2026-01-01T00:00:00", "2026-01-01")),
    st.lists(st.fixed_dictionaries({"over": st.one_of(units, st.just("CNY(5)"))}), max_size=2),
)
good: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "tag": st.fixed_dictionaries({"tag": st.just("x")}),
    "route": st.fixed_dictionaries({"warehouses": st.just(["A"]), "lines": conditions}),
    "promotion": st.fixed_dictionaries({"every": st.integers(1, 3), "gift": st.just({"units": 2}), "buy": plain}),
    "intercept": st.just({"reason": "big", "evidence": "{payable} {skus}", "advice": "", "role": "x"}),
    "promise": st.just({"ship_within": "2h"}),
    "kit": st.just({"sku": "A", "parts": {"S1": 2}}),
    "lots": st.just({}),
}


@st.composite
def books(draw: st.DrawFn) -> str:
    book: dict[str, Any] = {"format": 1}
    for number in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            kind = draw(st.sampled_from(sorted(good)))
            row = {"id": f"r{number}", "when": draw(conditions), **draw(good[kind])}
        else:
            kind = draw(st.sampled_from(sorted(TABLES)))
            row = {"id": f"r{number}", **draw(st.dictionaries(keys, contents, max_size=6))}
        book.setdefault(kind, []).append(row)
    return msgspec.json.encode(book).decode()


@given(books(), st.lists(orders(), min_size=1, max_size=2))
def test_a_book_is_refused_or_rules_on_any_order(text: str, seen: list[Facts]) -> None:
    try:
        book = read_rules(text)
    except BadRules:
        return
    for facts in seen:
        ruling = judge(book, facts, 1)
        assert judge(book, facts, 1) == ruling
        assert msgspec.json.decode(msgspec.json.encode(ruling), type=Ruling) == ruling
        assert all(gift.units > 0 for gift in ruling.gifts)
        assert sum(saving.amount for saving in ruling.savings) <= max(facts.snapshot.amounts.payable, 0)


@given(st.text(max_size=200))
def test_any_text_is_a_rule_book_or_is_refused(text: str) -> None:
    with suppress(BadRules):
        read_rules(text)


@given(st.lists(st.sampled_from(
    ("format = 1", "[[tag]]", "[[promotion]]", "[[promotion.tiers]]", "[promotion.gift]", 'id = "a"', 'tag = "x"',
     'when = """', '"""', "units > 1", "when = '''", "'''", "over = 3", "a.b.c = 1", "[[tag.x]]", "{", "#", '"x" = 1',
     '"q\\"" = 1', "[[", "id = 1979-05-27", "x = 1e999", "x = 99999999999999999999999999", "[[ tag ]] # x"),
), max_size=14))  # fmt: skip
def test_any_lines_are_a_rule_book_or_are_refused(rows: list[str]) -> None:
    with suppress(BadRules):
        read_rules("\n".join(rows))
