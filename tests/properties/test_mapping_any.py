"""Any document, any payload: a mapping is refused or works, and what it cannot convert is an error of its own kind."""

from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from domain.canonical import Personal, Translated, TranslationError
from domain.mapping_apply import apply, mapped
from domain.mapping_table import BadMapping, Converter, read_mapping
from domain.timehub import time_reader
from tests.spec import line, snapshot

TIMES = time_reader("+08:00", "Asia/Shanghai")
NAMES = ("a", "b", "rows")
names = st.sampled_from(NAMES)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
    st.sampled_from(("", "1", "1.5", "true", "2026-01-02 03:04:05", "x")),
    st.text(st.characters(codec="utf-8"), max_size=5),
)
documents: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=12,
)
steps = st.sampled_from(("a", "b", "rows[]", "a[0]", "b[a=1]"))
targets = st.sampled_from(
    (
        "attributes.x",
        "lines.attributes.x",
        "personal.attributes.x",
        "personal.lines.attributes.x",
        "lines.sku",
        "lines.name",
        "region",
        "customer_id",
        "receiver.phone",
        "messages.x",
        "invoice_type",
        "nowhere",
    )
)
converters = st.sampled_from(Converter.__args__)  # type: ignore[attr-defined]  # a Literal's members


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    target = draw(targets)
    source = ".".join((["rows[]"] if "lines" in target else []) + draw(st.lists(steps, min_size=1, max_size=3)))
    row: dict[str, Any] = {"from": source, "to": target, "convert": draw(converters)}
    if row["convert"] == "choice":
        row["values"] = {"1": "one", "x": False}
    if draw(st.booleans()):
        row["default"] = draw(st.sampled_from((1, "d", True)))
    return row


@given(
    st.lists(rows(), max_size=4),
    st.sampled_from((None, [], ["a"])),
    documents,
)
def test_a_mapping_gives_an_order_that_can_be_stored_or_says_what_it_cannot_convert(
    fields: list[dict[str, Any]], ids: list[str] | None, document: Any
) -> None:
    text = {"field": fields, "times": {"zone": "+08:00"}, "lines": {"path": "rows[]", "id": ids or []}}
    try:
        table = read_mapping(msgspec.json.encode(text).decode())
    except BadMapping:
        return
    before = Translated(snapshot(lines=(line("1"), line("x"))), Personal("c", {"name": "n"}, {}, {"kept": 1}))
    if type(document) is dict and document.get("rows") is not None and not isinstance(document["rows"], dict | list):
        document = {**document, "rows": []}
    try:
        after = apply(table, document, before, TIMES)
    except TranslationError:
        return
    assert len(after.snapshot.lines) == 2
    assert after.personal.attributes["kept"] == 1, "a mapping takes nothing away"
    assert after.personal.receiver["name"] == "n"
    assert (after.snapshot.status, after.snapshot.amounts) == (before.snapshot.status, before.snapshot.amounts)
    found = mapped(table, document, before, TIMES)
    assert (after == before) or found
    stored = msgspec.json.decode(msgspec.json.encode(after), type=Translated)
    assert msgspec.json.encode(stored) == msgspec.json.encode(after)


@given(st.text(max_size=200))
def test_any_text_is_a_mapping_or_is_refused(text: str) -> None:
    with suppress(BadMapping):
        assert read_mapping(text, ()) is not None
