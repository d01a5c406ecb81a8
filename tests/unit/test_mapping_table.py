"""A mapping is data that people edit: faults are told with their line, and nothing personal slips into public."""

import json
from typing import Any

import pytest

from domain.mapping_path import BadPath, follow, parse_path, plain_path
from domain.mapping_table import (
    FIELDS_MAX,
    PAID_AS_THE_PLATFORM,
    TEXT_MAX,
    BadMapping,
    Times,
    line_of,
    read_mapping,
    sources_of,
)

GOOD = """\
note = "our Taobao shops"

[lines]
path = "orders.order[]"
id = ["oid_str", "oid"]

[times]
zone = "+08:00"

[shops."flagship".times]
zone = "America/New_York"
fold = "earlier"

[[field]]
from = "orders.order[].customization"
to = "personal.lines.attributes.engraving"

[[field]]
from = ["trade_from", "source"]
to = "attributes.source"
convert = "choice"
personal = false
default = "unknown"
note = "where it was bought"
[field.values]
WAP = "mobile"
"PC" = "desk"
"""


def test_a_mapping_says_where_what_comes_from_and_how_shops_write_time() -> None:
    table = read_mapping(GOOD, ())
    assert [rule.shown for rule in table.orders] == ["attributes.source"]
    assert [rule.shown for rule in table.lines] == ["personal.lines.attributes.engraving"]
    assert table.orders[0].values == {"WAP": "mobile", "PC": "desk"}
    assert table.times_of("other") == Times("+08:00")
    assert table.times_of("flagship") == Times("America/New_York", None, "earlier")
    assert sources_of(GOOD) == ["orders.order[].customization", "trade_from", "source"]


def test_a_mapping_says_when_an_order_counts_as_paid_for_the_channel_or_one_shop() -> None:
    table = read_mapping(
        "[payment]\nmanual_capture = true\n[shops.by_itself.payment]\nmanual_capture = false\n"
        '[shops.elsewhere.times]\nzone = "Europe/Berlin"\n'
    )
    found = {shop: table.payment_of(shop).manual_capture for shop in ("any", "by_itself", "elsewhere")}
    assert found == {"any": True, "by_itself": False, "elsewhere": True}
    assert read_mapping(GOOD, ()).payment_of("any") == PAID_AS_THE_PLATFORM


def test_the_same_as_json_is_the_same_mapping() -> None:
    field = {"from": "a.b", "to": "attributes.c", "personal": False}
    toml = '[[field]]\nfrom = "a.b"\nto = "attributes.c"\npersonal = false\n'
    ours, theirs = read_mapping(json.dumps({"field": [field]})), read_mapping(toml)
    assert ours.orders[0]._replace(number=0) == theirs.orders[0]._replace(number=0)


def test_an_empty_document_maps_nothing() -> None:
    assert read_mapping("", ()).orders == ()


def field(*lines: str, head: str = "") -> str:
    return f"{head}\n[[field]]\n" + "\n".join(lines)


OPEN = "personal = false"


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ('from = "x', 1, "not TOML"),
        ("a = 1\na = 2", 2, "not TOML"),
        ('{"field": [}', 1, "not JSON"),
        ('{"field": [],\n "field": []}', 0, "twice"),
        ('titel = "x"', 1, "titel"),
        (field('from = "a"', 'to = "attributes.b"', OPEN, 'color = "red"'), 6, "color"),
        (field('to = "attributes.b"'), 2, "'from' is missing"),
        (field('from = "a"', "to = 5"), 4, "str"),
        (field('from = "a"', 'to = "status"', OPEN), 4, "no target 'status'"),
        (field('from = "a"', 'to = "amounts.paid"', OPEN), 4, "no target"),
        (field('from = "a"', 'to = "attributes."', OPEN), 4, "no target"),
        (field('from = "a"', 'to = "attributes.a.b"', OPEN), 4, "no target"),
        (field('from = "a"', 'to = "receiver.shoe_size"'), 4, "no target"),
        (field('from = "a"', 'to = "attributes.b"', OPEN, 'convert = "number"'), 6, "no such converter"),
        (field('from = "a..b"', 'to = "attributes.b"', OPEN), 3, "cannot be read from"),
        (field('from = "a[x]"', 'to = "attributes.b"', OPEN), 3, "cannot be read from"),
        (field('from = ""', 'to = "attributes.b"', OPEN), 3, "the path is empty"),
        (field("from = []", 'to = "attributes.b"', OPEN), 3, "no source"),
        (field('from = "a"', 'to = "lines.attributes.b"', OPEN), 3, "say where they are"),
        (
            field('from = "a"', 'to = "lines.attributes.b"', OPEN, head='[lines]\npath = "orders[]"'),
            4,
            "not in the lines",
        ),
        (field('from = "a"', 'to = "attributes.b"', OPEN, 'convert = "choice"'), 6, "[field.values]"),
        (field('from = "a"', 'to = "attributes.b"', OPEN, "[field.values]", 'x = "y"'), 2, "[field.values]"),
        (field('from = "a"', 'to = "region"', OPEN, 'convert = "json"'), 6, "holds text"),
        (field('from = "a"', 'to = "attributes.b"', OPEN, 'convert = "time"'), 6, "needs [times]"),
        ('[times]\nzone = "Mars"', 2, "Mars"),
        ('[shops.x.times]\nzone = "+99:00"', 2, "no place on earth"),
        ('[times]\ndate_order = "ymd"', 2, "ymd"),
        ('[lines]\npath = "a[["', 2, "cannot be read from"),
        ('[payment]\nmanual_capture = "yes"', 2, "Expected `bool"),
        ("[payment]\nmanual_captur = true", 2, "there is no 'manual_captur' in a mapping"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, told: str) -> None:
    with pytest.raises(BadMapping) as caught:
        read_mapping(text, ())
    assert caught.value.line == line
    assert told in str(caught.value)


def test_converters_are_named_where_one_is_wrong_and_nowhere_else() -> None:
    with pytest.raises(BadMapping, match="there is no such converter: use one of text, integer, "):
        read_mapping(field('from = "a"', 'to = "attributes.b"', OPEN, 'convert = "number"'), ())
    for text in (field('from = "a"', "to = 5"), '[times]\ndate_order = "ymd"'):
        with pytest.raises(BadMapping) as caught:
            read_mapping(text, ())
        assert "converter" not in str(caught.value)


def test_two_fields_for_one_target_are_refused_at_the_second() -> None:
    one = field('from = "a"', 'to = "attributes.b"', OPEN)
    with pytest.raises(BadMapping, match=r"line 9: the field in line 2 has the target 'attributes\.b' already"):
        read_mapping(one + "\n" + field('from = "c"', 'to = "attributes.b"', OPEN), ())
    with pytest.raises(BadMapping, match="already"):
        read_mapping(one.replace(".b", ".invoice_type") + "\n" + field('from = "c"', 'to = "invoice_type"', OPEN), ())


@pytest.mark.parametrize(
    "target",
    ["service_package", "region", "lines.sku", "lines.name", "lines.spec", "attributes.b", "lines.attributes.b"],
)
def test_every_place_that_anyone_sees_needs_that_word(target: str) -> None:
    text = '[lines]\npath = "rows[]"\nid = "no"\n' + field('from = "rows[].note"', f'to = "{target}"')
    with pytest.raises(BadMapping, match="nobody has declared it harmless"):
        read_mapping(text, ())
    with pytest.raises(BadMapping, match="is personal, and anyone may see"):
        read_mapping(text + "\npersonal = true", {"rows[].note"})
    (rule,) = (table := read_mapping(text + "\npersonal = false", ())).orders or table.lines
    assert not rule.target.personal


@pytest.mark.parametrize(
    "target", ["customer_id", "receiver.phone", "messages.b", "personal.attributes.b", "personal.lines.attributes.b"]
)
def test_no_sealed_place_needs_a_word(target: str) -> None:
    text = '[lines]\npath = "rows[]"\nid = "no"\n' + field('from = "rows[].note"', f'to = "{target}"')
    (rule,) = (table := read_mapping(text, ())).orders or table.lines
    assert rule.target.personal


def test_what_nobody_declared_harmless_needs_a_word_to_become_public() -> None:
    text = field('from = "orders[2].note"', 'to = "attributes.b"')
    with pytest.raises(BadMapping, match="line 3: 'orders\\[2\\]\\.note' would be seen by anyone"):
        read_mapping(text, {"orders[].other"})
    assert read_mapping(text, {"orders[].note"}).orders
    assert read_mapping(text + "\npersonal = false", ()).orders
    assert read_mapping(field('from = "orders[2].note"', 'to = "personal.attributes.b"'), ()).orders
    with pytest.raises(BadMapping, match=r"line 5: .* is personal"):
        read_mapping(text + "\npersonal = true", {"orders[].note"})


def test_a_mapping_that_was_accepted_is_not_asked_again_whether_it_is_public() -> None:
    assert read_mapping(field('from = "a"', 'to = "attributes.b"'), None).orders


def test_a_document_has_an_end() -> None:
    with pytest.raises(BadMapping, match="longer than"):
        read_mapping("#" * (TEXT_MAX + 1))
    row = '{from="a", to="attributes.b"},'
    with pytest.raises(BadMapping, match="more than"):
        read_mapping("field = [" + row * (FIELDS_MAX + 1) + "]")


@pytest.mark.parametrize(
    ("head", "line"),
    [('note = """\n[[field]]\n"""', 6), ('# """\n[[field]]\nfrom="a"\nto="attributes.b"\n# """\n# """', 0)],
)
def test_a_line_that_cannot_be_told_is_not_guessed(head: str, line: int) -> None:
    with pytest.raises(BadMapping, match="nowhere") as caught:
        read_mapping(f'{head}\n[[field]]\nfrom = "a"\nto = "nowhere"\n')
    assert caught.value.line == line


def test_a_key_is_found_in_its_line_or_in_that_of_its_table() -> None:
    assert line_of(GOOD, "times", "zone") == 8
    assert line_of(GOOD, "times", "fold") == 7
    with pytest.raises(BadMapping) as caught:
        line_of('note = "x"\n[[field]\n', "field")
    assert caught.value.line == 2


def test_the_paths_of_a_mapping_that_is_wrong_are_those_that_can_be_read() -> None:
    assert sources_of(field('from = ["a.", "b[2].c"]', 'to = "attributes.x"')) == ["b[].c"]


DOCUMENT: dict[str, Any] = {
    "a": {"b.c": 1, "d": [{"k": "x", "v": 1}, {"k": "y", "v": None}, {"k": 7, "v": 3}]},
    "one": {"v": 9},
    "empty": [],
    "mixed": [1, None, {"k": "x", "v": 5}],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("one.v", [("one.v", 9)]),
        ('a."b.c"', [('a."b.c"', 1)]),
        ("a.d[].v", [("a.d[0].v", 1), ("a.d[2].v", 3)]),
        ("a.d[0].v", [("a.d[0].v", 1)]),
        ("a.d[9].v", []),
        ("a.d[k=x].v", [("a.d[0].v", 1)]),
        ("a.d[k=7].v", [("a.d[2].v", 3)]),
        ("one[].v", [("one[0].v", 9)]),
        ("empty[].v", []),
        ("a.d.v", []),
        ("mixed[k=x].v", [("mixed[2].v", 5)]),
        ("mixed[]", [("mixed[0]", 1), ("mixed[2]", {"k": "x", "v": 5})]),
        ("none.of.this", []),
    ],
)
def test_a_path_finds_what_stands_there_and_says_where(path: str, found: list[tuple[str, Any]]) -> None:
    assert list(follow(DOCUMENT, parse_path(path))) == found


def test_a_path_without_its_choices_is_what_tables_are_asked_by() -> None:
    assert plain_path(parse_path('a."b.c".d[0].e[k=x].f[]')) == 'a."b.c".d[].e[].f[]'


@pytest.mark.parametrize("path", ["a[]b", ".a", "a.", "[]", "a b", "a" * 501, ".".join("a" * 40), 'a."', "a.[]"])
def test_a_path_that_cannot_be_read_is_none(path: str) -> None:
    with pytest.raises(BadPath):
        parse_path(path)
