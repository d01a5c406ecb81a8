"""A mapping at work: every value arrives as its converter says, exactly, or is an error with its path."""

from decimal import Decimal
from typing import Any

import pytest

from domain.canonical import Line, Personal, Translated, TranslationError
from domain.mapping_apply import apply, mapped
from domain.mapping_table import read_mapping
from domain.timehub import time_reader
from tests.spec import line, snapshot

TIMES = time_reader("+08:00", "Asia/Shanghai")
LINES = '[lines]\npath = "rows[]"\nid = ["no_str", "no"]\n'


def translated(*lines: Line) -> Translated:
    return Translated(
        snapshot(lines=lines or (line("1"), line("2"))),
        Personal("c-1", {"name": "王"}, {"memo": "m"}, {"odd": 1}, {"1": {"odd": 2}}),
    )


def field(target: str, source: str = "x", **more: Any) -> str:
    rows = [f'from = "{source}"', f'to = "{target}"']
    rows += [f"{name} = {value}" for name, value in more.items()]
    return "[[field]]\n" + "\n".join(rows) + "\n"


def run(text: str, document: Any, before: Translated | None = None) -> Translated:
    table = read_mapping('[times]\nzone = "+08:00"\n' + text)
    return apply(table, document, before or translated(), TIMES)


@pytest.mark.parametrize(
    ("convert", "value", "became"),
    [
        ("text", "abc", "abc"),
        ("text", 12345678901234567890, "12345678901234567890"),
        ("text", True, "true"),
        ("text", Decimal("1.50"), "1.50"),
        ("integer", "42", 42),
        ("integer", -7, -7),
        ("integer", 2**63 - 1, 2**63 - 1),
        ("integer", -(2**63), -(2**63)),
        ("decimal", "12.50", "12.50"),
        ("decimal", Decimal("0.1"), "0.1"),
        ("yuan", "299.00", 29900),
        ("yuan", Decimal("0.5"), 50),
        ("fen", 29900, 29900),
        ("fen", "29900", 29900),
        ("boolean", "是", True),
        ("boolean", 0, False),
        ("boolean", "FALSE", False),
        ("list", "one", ["one"]),
        ("list", ["a", 1, {"b": Decimal("1.5")}], ["a", 1, {"b": 1.5}]),
        ("json", {"a": [1, {"b": 2**70}]}, {"a": [1, {"b": str(2**70)}]}),
        ("json", "plain", "plain"),
    ],
)
def test_each_converter_gives_exactly_what_the_source_says(convert: str, value: Any, became: Any) -> None:
    found = run(field("attributes.a", convert=f'"{convert}"'), {"x": value}).snapshot.attributes["a"]
    assert found == became
    assert type(found) is type(became)


def test_a_time_keeps_its_text_and_its_instant() -> None:
    found = run(field("attributes.a", convert='"time"'), {"x": "2026-11-11 00:04:10"}).snapshot.attributes["a"]
    assert found == {
        "text": "2026-11-11 00:04:10",
        "utc_ms": 1794326650000,
        "offset_min": 480,
        "local": "2026-11-11T00:04:10.000+08:00",
    }


@pytest.mark.parametrize(
    ("convert", "value"),
    [
        ("text", {"a": 1}),
        ("text", ["a", "b"]),
        ("integer", "4.5"),
        ("integer", True),
        ("integer", 2**63),
        ("integer", -(2**63) - 1),
        ("integer", "９"),
        ("decimal", "abc"),
        ("decimal", "NaN"),
        ("decimal", "1_000"),
        ("decimal", "１２.50"),
        ("yuan", "1.005"),
        ("yuan", True),
        ("fen", "1.5"),
        ("time", "tomorrow"),
        ("time", "2026-13-01 00:00:00"),
        ("time", True),
        ("boolean", "maybe"),
        ("boolean", ["true"]),
    ],
)
def test_what_cannot_be_converted_is_an_error_with_its_path(convert: str, value: Any) -> None:
    with pytest.raises(TranslationError) as caught:
        run(field("attributes.a", "deep.x", convert=f'"{convert}"'), {"deep": {"x": value}})
    assert caught.value.where == "deep.x"
    assert "attributes.a, line 3 of the mapping" in caught.value.reason
    assert caught.value.advice


@pytest.mark.parametrize(("convert", "unit"), [("yuan", "major units of CNY"), ("fen", "whole minor units of CNY")])
def test_money_that_cannot_be_is_told_in_the_unit_that_it_should_have(convert: str, unit: str) -> None:
    with pytest.raises(TranslationError) as caught:
        run(field("attributes.a", convert=f'"{convert}"'), {"x": "1.005"})
    assert f"is no exact amount in {unit} (" in caught.value.reason


def choice(default: str = "") -> str:
    return (
        field("invoice_type", convert='"choice"', **({"default": default} if default else {}))
        + '[field.values]\n0 = ""\n1 = "normal"\n2 = "vat"\n'
    )


def test_a_choice_takes_only_the_words_it_knows() -> None:
    assert run(choice(), {"x": "2"}).snapshot.attributes["invoice_type"] == "vat"
    assert run(choice(), {"x": 1}).snapshot.attributes["invoice_type"] == "normal"
    assert "invoice_type" not in run(choice(), {"x": "0"}).snapshot.attributes
    with pytest.raises(TranslationError, match="none of the words"):
        run(choice('"none"'), {"x": "3"})


@pytest.mark.parametrize("document", [{}, {"x": None}, {"x": ""}, {"x": []}, {"other": 1}, [], "text", None])
def test_what_the_source_does_not_say_changes_nothing(document: Any) -> None:
    before = translated()
    assert run(LINES + field("attributes.a") + field("lines.sku", "rows[].s"), document, before) == before


def test_a_default_fills_what_is_empty_and_only_that() -> None:
    text = field("attributes.a", default='"d"') + field("messages.memo", "y", default='"d"')
    found = run(text + field("region", "z", default='"d"'), {})
    assert found.snapshot.attributes["a"] == "d"
    assert found.personal.messages["memo"] == "m"
    assert found.snapshot.region == "d"


def test_the_first_source_that_says_something_counts() -> None:
    text = '[[field]]\nfrom = ["x", "y"]\nto = "attributes.a"\n'
    assert run(text, {"x": "1", "y": "2"}).snapshot.attributes["a"] == "1"
    assert run(text, {"x": "", "y": "2"}).snapshot.attributes["a"] == "2"


def test_several_values_need_a_list_unless_they_agree() -> None:
    document = {"rows": [{"t": "a"}, {"t": "b"}]}
    with pytest.raises(TranslationError, match="2 values that differ"):
        run(field("attributes.a", "rows[].t"), document)
    assert run(field("attributes.a", "rows[].t", convert='"list"'), document).snapshot.attributes["a"] == ["a", "b"]
    same = {"rows": [{"t": "a"}, {"t": "a"}]}
    assert run(field("attributes.a", "rows[].t"), same).snapshot.attributes["a"] == "a"
    assert run(field("attributes.a", "rows[t=b].t"), document).snapshot.attributes["a"] == "b"


def test_every_target_is_where_it_says() -> None:
    text = LINES + "".join(
        field(target, f"rows[].{name}" if "lines" in target else name)
        for name, target in {
            "a": "service_package",
            "b": "region",
            "c": "customer_id",
            "d": "receiver.phone",
            "e": "messages.note",
            "f": "personal.attributes.f",
            "g": "lines.sku",
            "h": "lines.name",
            "i": "lines.spec",
            "j": "lines.attributes.j",
            "k": "personal.lines.attributes.k",
        }.items()
    )
    row = dict.fromkeys("ghijk", "new")
    found = run(text, {**dict.fromkeys("abcdef", "new"), "rows": [{"no": 2, **row}]})
    view, personal = found.snapshot, found.personal
    assert (view.attributes["service_package"], view.region) == ("new", "new")
    assert (personal.customer_id, personal.receiver["phone"], personal.messages["note"]) == ("new", "new", "new")
    assert personal.attributes == {"odd": 1, "f": "new"}
    first, second = view.lines
    assert first == line("1")
    assert (second.sku, second.name, second.spec, second.attributes["j"]) == ("new",) * 4
    assert personal.line_attributes == {"1": {"odd": 2}, "2": {"k": "new"}}


def test_lines_go_by_their_id_whatever_their_order() -> None:
    text = LINES + field("lines.attributes.a", "rows[].t")
    document = {"rows": [{"no_str": "2", "no": 9, "t": "two"}, {"no": 1, "t": "one"}, {"no": 3, "t": "nobody"}]}
    assert [each.attributes["a"] for each in run(text, document).snapshot.lines] == ["one", "two"]


def test_lines_of_one_name_go_by_the_numbers_that_the_channel_gives_them() -> None:
    rows = [{"no": "A", "x": "first"}, {"no": "B", "x": "other"}, {"no": "A", "x": "second"}]
    text = LINES + field("lines.attributes.a", "rows[].x", personal="false")
    found = run(text, {"rows": rows}, translated(line("A#2"), line("B"), line("A"), line("gift-A")))
    assert [(each.id, each.attributes.get("a")) for each in found.snapshot.lines] == [
        ("A#2", "first"),
        ("B", "other"),
        ("A", "second"),
        ("gift-A", None),
    ]
    again = run(text, {"rows": [*rows[:2], rows[1], {"no": "A", "x": "second"}]}, translated(line("B")))
    assert again.snapshot.lines[0].attributes == {"a": "other"}, "the same line, told twice"


@pytest.mark.parametrize(
    ("rows", "lines", "reason"),
    [
        ([{"no": "A", "x": 1}, {"no": "A", "x": 2}], ["A"], "2 lines of the payload have one id here, 1 of the order"),
        ([{"no": "A"}], ["A", "A#2"], "1 lines of the payload have one id here, 2 of the order"),
        ([{"no": "C"}, {"other": "A"}], ["A", "B"], "none of the payload's 2 lines names a line of the order"),
    ],
)
def test_lines_whose_id_does_not_tell_them_apart_are_refused(
    rows: list[dict[str, Any]], lines: list[str], reason: str
) -> None:
    text = LINES + field("lines.attributes.a", "rows[].x", personal="false")
    with pytest.raises(TranslationError, match=reason) as error:
        run(text, {"rows": rows}, translated(*map(line, lines)))
    assert error.value.where == "rows[]"
    assert "[lines] id" in error.value.advice


def test_lines_without_an_id_go_by_their_place_if_there_are_as_many() -> None:
    text = '[lines]\npath = "rows"\n' + field("lines.attributes.a", "rows[].t")
    rows = [{"t": "one"}, {"t": "two"}]
    assert [each.attributes["a"] for each in run(text, {"rows": rows}).snapshot.lines] == ["one", "two"]
    with pytest.raises(TranslationError, match="3 lines here, the order 2"):
        run(text, {"rows": [*rows, {}]})


def test_one_line_that_is_no_list_is_a_line_all_the_same() -> None:
    text = LINES + field("lines.attributes.a", "rows[].t")
    assert run(text, {"rows": {"no": "1", "t": "one"}}).snapshot.lines[0].attributes["a"] == "one"


def test_people_can_see_where_each_value_came_from() -> None:
    text = (
        LINES
        + field("lines.attributes.a", "rows[].t")
        + field("receiver.phone")
        + field("attributes.b", "q", default=1)
    )
    found = mapped(read_mapping(text), {"x": 1380, "rows": [{"no": "2", "t": "v"}]}, translated(), TIMES)
    assert [(each.source, each.value, each.target, each.became, each.line, each.personal) for each in found] == [
        ("x", 1380, "receiver.phone", "1380", "", True),
        ("", None, "attributes.b", 1, "", False),
        ("rows[0].t", "v", "lines.attributes.a", "v", "2", False),
    ]


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    with pytest.raises(TranslationError, match="nested deeper"):
        run(field("attributes.a", convert='"json"'), {"x": deep})
