"""The gate before a published contract: additions pass, whatever would break a reader does not, version or not."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import pytest

from domain.decider import Event
from projections.inventory import Inventory
from runners import contract_shapes, docs_contract
from runners.contract import Contract, Schema, named
from runners.contract_changes import breaks
from runners.contract_shapes import contract
from runners.docs_contract import NOTHING, breaches, main, merged, stored


class Piece(msgspec.Struct, omit_defaults=True):
    sku: str
    units: int
    note: str = ""


class Item(msgspec.Struct, omit_defaults=True):
    """A piece, under another name."""

    sku: str
    units: int
    """How many."""
    note: str = ""


class Sent(Event, frozen=True):
    pieces: tuple[Piece, ...]
    way: Literal["road", "air"]
    to: tuple[str, int]
    weights: dict[str, int]
    promise: int | None = None
    grade: Literal["", "a", "b"] = ""


OLD: dict[str, type[msgspec.Struct]] = {"order.sent": Sent}


def changed(**fields: Any) -> type[msgspec.Struct]:
    """Return `Sent` with fields changed (type, or type and default), left out (None), or added."""
    own = {
        "pieces": tuple[Piece, ...],
        "way": Literal["road", "air"],
        "to": tuple[str, int],
        "weights": dict[str, int],
        "promise": (int | None, None),
        "grade": (Literal["", "a", "b"], ""),
    }
    merged_fields = {name: kind for name, kind in {**own, **fields}.items() if kind is not None}
    return msgspec.defstruct(
        "Sent",
        [(name, *kind) if isinstance(kind, tuple) else (name, kind) for name, kind in merged_fields.items()],
        kw_only=True,
    )


def piece(*fields: Any) -> Any:
    return tuple[msgspec.defstruct("Piece", list(fields)), ...]  # type: ignore[misc]


def schema_of(kind: type[msgspec.Struct]) -> Schema:
    return contract({"order.sent": kind}, ()).shapes["order.sent"]["1"]


COMPATIBLE: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a new field that may be left out": {"more": (str, "")},
    "a new value": {"way": Literal["road", "air", "sea"]},
    "a new value of a field with a default": {"grade": (Literal["", "a", "b", "c"], "")},
    "a new field of a part": {"pieces": piece(("sku", str), ("units", int), ("note", str, ""), ("gift", bool, False))},
}
BREAKING: dict[str, tuple[dict[str, Any], str]] = {
    "a field is gone": ({"way": None}, "way: the field is gone"),
    "a field with a default is gone": ({"grade": None}, "grade: the field is gone"),
    "another type": ({"way": int}, "way: "),
    "a type grew": ({"weights": dict[str, int | None]}, "weights{}: "),
    "a type may be null now": ({"to": tuple[str, int | None]}, "to[1]: "),
    "null is gone": ({"promise": (int, 0)}, "promise: "),
    "a tuple grew": ({"to": tuple[str, int, int]}, "to: "),
    "a tuple became a list": ({"to": tuple[str, ...]}, "to: "),
    "a new field must be there": ({"more": str}, "more: a new field must be there"),
    "a field must be there now": ({"grade": Literal["", "a", "b"]}, "grade: the field must be there now"),
    "a field may be left out now": ({"way": (Literal["road", "air"], "road")}, "way: the field may be left out now"),
    "a value is gone": ({"way": Literal["road"]}, "way: values are gone: 'air'"),
    "a value got another name": ({"grade": (Literal["", "a", "c"], "")}, "grade: values are gone: 'b'"),
    "values became any text": ({"way": str}, "way: "),
    "another default": ({"grade": (Literal["", "a", "b"], "a")}, "grade: its default changed: '' became 'a'"),
    "a field got another name": ({"way": None, "mode": Literal["road", "air"]}, "way: the field is gone"),
    "a bound": ({"to": tuple[str, Annotated[int, msgspec.Meta(ge=1)]]}, "to[1]: its minimum"),
    "a field of a part is gone": ({"pieces": piece(("sku", str), ("units", int))}, "pieces[].note: the field is gone"),
    "a part's field of another type": (
        {"pieces": piece(("sku", str), ("units", float), ("note", str, ""))},
        "pieces[].units: its type changed: 'integer' became 'number'",
    ),
}


@pytest.mark.parametrize("case", COMPATIBLE)
def test_what_is_added_passes(case: str) -> None:
    assert breaks(schema_of(Sent), schema_of(changed(**COMPATIBLE[case]))) == []


@pytest.mark.parametrize("case", BREAKING)
def test_what_breaks_a_reader_does_not_pass(case: str) -> None:
    fields, said = BREAKING[case]
    found = breaks(schema_of(Sent), schema_of(changed(**fields)))
    assert any(each.startswith(said) for each in found), found


def test_texts_and_names_of_parts_may_change() -> None:
    assert breaks(schema_of(Sent), schema_of(changed(pieces=tuple[Item, ...]))) == []


def test_a_shape_that_holds_itself_is_compared_and_ends() -> None:
    old = {"$ref": "#/$defs/Node", "$defs": {"Node": node("string")}}
    assert breaks(old, old) == []
    new = {"$ref": "#/$defs/Node", "$defs": {"Node": node("integer")}}
    assert breaks(old, new) == ["name: its type changed: 'string' became 'integer'"]


def node(kind: str) -> Schema:
    below = {"type": "array", "items": {"$ref": "#/$defs/Node"}}
    return {"type": "object", "properties": {"name": {"type": kind}, "below": below}, "required": ["name"]}


def release(types: Mapping[str, type[msgspec.Struct]], before: Contract = NOTHING) -> Contract:
    return merged(before, contract(types, ()))


def test_a_new_version_may_be_anything_while_the_old_one_can_be_read() -> None:
    before = release(OLD)
    types = {"order.sent.v2": changed(way=int)}
    upcasts = {"order.sent": ("order.sent.v2", dict)}
    assert breaches(before, contract(types, ()), types, upcasts) == []
    after = release(types, before)
    assert after.shapes["order.sent"] == {
        "1": before.shapes["order.sent"]["1"],
        "2": contract(types, ()).shapes["order.sent"]["2"],
    }
    assert breaches(after, contract(types, ()), types, upcasts) == []


def test_a_new_version_without_a_way_to_read_the_old_one_does_not_pass() -> None:
    types = {"order.sent.v2": changed(way=int)}
    for upcasts in ({}, {"order.sent": ("order.elsewhere", dict)}, {"order.sent": ("order.sent", dict)}):
        assert breaches(release(OLD), contract(types, ()), types, upcasts) == [
            "order.sent version 1: events of it can no longer be read; add it to UPCASTS"
        ]


def test_a_tag_that_got_another_name_does_not_pass() -> None:
    types = {"order.dispatched": Sent}
    found = breaches(release(OLD), contract(types, ()), types, {"order.sent": ("order.dispatched", dict)})
    assert [each.partition(":")[0] for each in found] == [
        "feed events.{cell}.order.{scope}.{type}",
        "order.sent",
    ]


def test_a_version_does_not_go_back() -> None:
    types = {"order.sent.v2": Sent}
    found = breaches(release(types), contract(OLD, ()), OLD, {})
    assert any("version 2 was released, and now it is 1" in each for each in found)


def test_a_feed_does_not_go_and_a_new_one_may_come() -> None:
    both = {"order.sent": Sent, "stock.sent": Sent}
    assert breaches(release(OLD), contract(both, ()), both, {}) == []
    found = breaches(release(both), contract(OLD, ()), OLD, {})
    assert "feed events.{cell}.warehouse.{scope}.{type}: it is gone" in found


def test_documents_are_released_by_the_version_of_their_projection() -> None:
    class Next(Inventory):
        version = Inventory.version + 1

    before = merged(NOTHING, contract({}, (Inventory(),)))
    shape = before.shapes["inventory"][str(Inventory.version)]
    older = {**shape, "properties": {**shape["properties"], "on_hand": {"type": "string"}}}
    changed_before = Contract(before.feeds, {**before.shapes, "inventory": {str(Inventory.version): older}})
    assert any("on_hand" in each for each in breaches(changed_before, contract({}, (Inventory(),)), {}, {}))
    assert breaches(changed_before, contract({}, (Next(),)), {}, {}) == []


def test_the_command_refuses_to_write_over_a_broken_contract(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, page = tmp_path / "released.json", tmp_path / "asyncapi.yaml"
    monkeypatch.setattr(docs_contract, "RELEASED", file)
    monkeypatch.setattr(docs_contract, "PAGE", page)
    monkeypatch.setattr(docs_contract, "released", lambda: msgspec.json.decode(file.read_bytes(), type=Contract))
    monkeypatch.setattr(docs_contract, "TYPES", OLD)

    def today(kind: type[msgspec.Struct]) -> None:
        monkeypatch.setattr(contract_shapes, "contract", lambda: contract({"order.sent": kind}, ()))

    today(Sent)
    assert main([]) == 1  # nothing was released
    assert main(["--write"]) == 0
    assert main([]) == 0
    first = file.read_bytes()
    today(changed(more=(str, "")))
    assert main([]) == 1
    assert "not current: released.json, asyncapi.yaml; run `make docs`" in capsys.readouterr().err
    assert main(["--write"]) == 0
    assert main([]) == 0
    second = file.read_bytes()
    assert second != first
    today(changed(way=None))
    for arguments in ([], ["--write"]):
        assert main(arguments) == 1
        assert "order.sent version 1: way: the field is gone" in capsys.readouterr().err
    assert file.read_bytes() == second


def test_the_stored_form_can_be_read_again() -> None:
    made = contract()
    assert msgspec.json.decode(stored(made), type=Contract) == made


def test_tags_name_their_version() -> None:
    assert named("order.paid") == ("order.paid", 1)
    assert named("order.paid.v2") == ("order.paid", 2)
