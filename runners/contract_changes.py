"""Which changes of a published JSON Schema break those who read by the old one, or what was written by it.

Data in a new shape must still be understood by an old reader that ignores fields it does not know, and stored data in
an old shape by a new reader. So a shape may gain fields that may be left out, and values of an enumeration; whatever
else a schema demands or promises stays as it is. Texts for people are no part of that.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_TEXTS: Final = frozenset({"$id", "$schema", "$defs", "$comment", "title", "description", "examples"})
_WALKED: Final = frozenset({"properties", "required", "enum", "items", "prefixItems", "anyOf", "additionalProperties"})
_NEVER: Final[Schema] = {}


def breaks(old: Schema, new: Schema) -> list[str]:
    """Return what of `new` is incompatible with `old`, each as a path and what happened there; none if all is well.

    Both are whole schemas, each with its own `$defs`, as msgspec writes them.
    """
    return list(_Comparison(old, new).walk(old, new, ""))


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old: Schema = old.get("$defs", _NEVER)
        self._new: Schema = new.get("$defs", _NEVER)
        self._seen: set[tuple[str, str]] = set()
        """Pairs of definitions that are being compared or have been: a shape may hold itself."""

    def walk(self, old: Any, new: Any, path: str) -> Iterator[str]:
        old_name, new_name = _name(old), _name(new)
        if old_name and new_name:
            if (old_name, new_name) in self._seen:
                return
            self._seen.add((old_name, new_name))
        old, new = _followed(old, self._old), _followed(new, self._new)
        yield from _constraints(old, new, path)
        yield from self._fields(old, new, path)
        yield from _values(old, new, path)
        for word, mark in (("items", "[]"), ("additionalProperties", "{}")):
            if isinstance(old.get(word), dict) and isinstance(new.get(word), dict):
                yield from self.walk(old[word], new[word], path + mark)
            elif old.get(word) != new.get(word):
                yield _at(path, f"`{word}` changed")
        for word in ("prefixItems", "anyOf"):
            before, after = old.get(word, ()), new.get(word, ())
            if len(before) != len(after):
                yield _at(path, f"its type changed: {len(before)} `{word}` became {len(after)}")
                continue
            for place, (one, other) in enumerate(zip(before, after, strict=True)):
                yield from self.walk(one, other, f"{path}[{place}]" if word == "prefixItems" else path)

    def _fields(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, after = old.get("properties", _NEVER), new.get("properties", _NEVER)
        needed_before, needed = set(old.get("required", ())), set(new.get("required", ()))
        for field in before:
            place = f"{path}.{field}" if path else field
            if field not in after:
                yield _at(place, "the field is gone")
                continue
            if field in needed - needed_before:
                yield _at(place, "the field must be there now; it could be left out")
            if field in needed_before - needed:
                yield _at(place, "the field may be left out now; it was always there")
            yield from self.walk(before[field], after[field], place)
        for field in sorted(needed - before.keys()):
            yield _at(f"{path}.{field}" if path else field, "a new field must be there; give it a default")


def _constraints(old: Schema, new: Schema, path: str) -> Iterator[str]:
    """Compare all that is neither a text nor gone into."""
    words = (old.keys() | new.keys()) - _TEXTS - _WALKED
    for word in sorted(words):
        if old.get(word, _NEVER) != new.get(word, _NEVER) or (word in old) != (word in new):
            before, after = (repr(each[word]) if word in each else "nothing" for each in (old, new))
            yield _at(path, f"its {word} changed: {before} became {after}")


def _values(old: Schema, new: Schema, path: str) -> Iterator[str]:
    if ("enum" in old) != ("enum" in new):
        yield _at(path, "its type changed: a list of values began or ended")
    elif gone := [value for value in old.get("enum", ()) if value not in new["enum"]]:
        yield _at(path, f"values are gone: {', '.join(map(repr, gone))}")


def _name(schema: Any) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _followed(schema: Any, definitions: Schema) -> Schema:
    """Return what a reference leads to; what stands beside it (a default) counts too."""
    while "$ref" in schema:
        beside = {word: value for word, value in schema.items() if word != "$ref"}
        schema = {**definitions[_name(schema)], **beside}
    return schema  # type: ignore[no-any-return]


def _at(path: str, what: str) -> str:
    return f"{path or 'the whole'}: {what}"
