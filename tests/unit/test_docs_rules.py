"""The page on rules is true: its examples are read, and it names everything there is."""

import re
from pathlib import Path

import pytest

from domain.address import FLAWS
from domain.condition_values import LINE_FIELDS, ORDER_FIELDS
from domain.conditions import _FUNCTIONS, DEPTH_MAX, TEXT_MAX, read_condition
from domain.rule_shapes import TABLES
from domain.rule_table import RULES_MAX, read_rules, rows_of
from domain.rule_table import TEXT_MAX as BOOK_MAX
from domain.rule_texts import EVIDENCE_PLACES, NOTICE_PLACES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "rules.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_of_the_page_are_rule_books(text: str) -> None:
    assert read_rules(text).ruled


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 2
    (condition,) = re.findall(r"^    (channel == .*)$", PAGE, re.MULTILINE)
    read_condition(condition)


def test_the_page_names_everything_there_is() -> None:
    for name in (*ORDER_FIELDS, *LINE_FIELDS, *FLAWS):
        assert f"`{name}`" in PAGE, name
    for name in _FUNCTIONS:
        assert f"`{name}(" in PAGE, name
    for name in (*EVIDENCE_PLACES, *NOTICE_PLACES):
        assert f"`{{{name}}}`" in PAGE, name
    for name, shape in TABLES.items():
        assert f"`[[{name}]]`" in PAGE, name
        for key in shape.__struct_encode_fields__:
            assert f"`{key}" in PAGE, (name, key)
    assert {field.known for field in ORDER_FIELDS.values()} <= {frozenset(), frozenset(FLAWS)} | {
        frozenset(words) for words in (re.findall(r"`\"(\w+)\"`", row) for row in PAGE.splitlines()) if words
    }


def test_the_limits_are_those_of_the_page() -> None:
    assert f"At most {RULES_MAX} rules and {BOOK_MAX:,}" in PAGE
    assert f"At most {TEXT_MAX:,} characters and {DEPTH_MAX} parts" in PAGE


def test_every_rule_that_the_page_names_is_in_the_example() -> None:
    named = re.findall(r"`([a-z0-9-]+)`", PAGE[PAGE.index("## The example, rule by rule") :])
    ids = {name for _, name in rows_of((DOCS / "examples" / "rules.toml").read_text())}
    assert named
    assert set(named) <= ids
