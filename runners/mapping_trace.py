"""Where each field of a payload ends, told by changing it: what moves in the canonical order is what it is read into.

Equal values tell nothing (`1` is found in many places), so each field is changed by itself, the payload is translated
again, and the places that carry the change are its own. Fields that are checked against each other are changed
together. What cannot be told so is said to be read, without a place.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

import msgspec

from domain.canonical import Return, SourceTime, Translated, TranslationError
from domain.mapping_path import joined
from domain.money import MINOR_DIGITS
from runners.reading import Reading

LEAVES_MAX = 1_000
"""Most fields of a payload that are changed one by one."""
PLACES_MAX = 4
"""Most places that are told of one field."""

_EMPTY: Final[tuple[Any, ...]] = ("", None, [], {})
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode

Steps = tuple[str | int, ...]
"""Way to a value: names of members, numbers of elements."""
Places = Mapping[str, Any]
"""Values of a canonical order, by their places."""


class Traced(NamedTuple):
    """What was found out about one field."""

    read: bool
    """Something depends on it, if only whether the order can be read."""
    places: tuple[tuple[str, Any], ...] = ()
    """Where it ends, and what stands there; empty where that cannot be told."""
    said: bool = False
    """The places say what the field says; else they only depend on it."""


class _Leaf(NamedTuple):
    steps: Steps
    value: Any
    paths: tuple[str, ...]
    """Where it stands in the document that mappings walk through."""


def trace(readings: Sequence[Reading], raw: bytes, shop: str, paths: Collection[str]) -> dict[str, Traced]:
    """Return what each of these paths of a payload is read into, as far as that can be told.

    Args:
        readings: the channel, by the mapping that is tried; what the first one refuses the next one may take.
        raw: the payload; it can be read.
        shop: whose it is.
        paths: of the fields that are asked for. Of a payload's fields the first `LEAVES_MAX` are looked at.
    """
    try:
        tree = _decode(raw.removeprefix(b"\xef\xbb\xbf"))
        probe = _Probe(readings, shop, tree)
        if probe.before != places_of(readings[0].read(raw, shop)):
            return {}  # written anew it is another payload
        leaves = list(_asked(readings[0], tree, paths))
    except (TranslationError, ValueError, ArithmeticError, RecursionError):
        return {}
    alone = {leaf: probe.alone(leaf) for leaf in leaves}
    return {path: _surely(probe, leaf, alone) for leaf in leaves for path in leaf.paths}


def _surely(probe: "_Probe", leaf: "_Leaf", alone: "Mapping[_Leaf, Traced | None]") -> Traced:
    """Return what was found out about a field alone, or, where that tells no place, together with others."""
    traced = alone[leaf]
    if traced is not None and traced.said:
        return traced
    same = [each for each in alone if _text(each.value) == _text(leaf.value)]
    if traced is None:
        return probe.together(leaf, [each for each in same if alone[each] is None])
    if not traced.read:
        return probe.shop(leaf, same)
    again = probe.together(leaf, [each for each in same if _field(each) == _field(leaf)])
    return again if again.said else traced


class _Probe:
    """Translates one payload with other values in it."""

    def __init__(self, readings: Sequence[Reading], shop: str, tree: Any) -> None:
        self._shop = shop
        self._tree = tree
        self._moved: set[str] = set()
        """Places that some field moves."""
        translated = readings[0].read(_encode(tree), shop)
        self.before = places_of(translated)
        currency = translated.currency if isinstance(translated, Return) else translated.snapshot.amounts.currency
        self._digits = MINOR_DIGITS.get(currency, 2)
        self._readings = [each for each in readings if places_of(each.read(_encode(tree), shop)) == self.before]

    def alone(self, leaf: _Leaf) -> Traced | None:
        """Return what changing a field moves; None where every change is refused, or one is and none moves a thing."""
        refused = False
        for value in _others(leaf.value):
            for reading in self._readings:
                after = self._after(reading, [leaf.steps], value)
                if after is not None and after != self.before:
                    return self._carried(leaf.value, value, after)
                if after is not None:
                    break
                refused = True
        return None if refused else Traced(False)

    def together(self, leaf: _Leaf, alike: list[_Leaf]) -> Traced:
        """Return what changing a field moves together with others that say the same, or what it is by elimination.

        Where they fill several places it cannot be told which of them fills which, unless all are one field that
        every row of a receipt repeats: then what they fill together is a place of the order, not of a line.
        """
        one_field = len({_field(each) for each in alike}) == 1
        for value in _others(leaf.value) if len(alike) > 1 else ():
            for reading in self._readings:
                after = self._after(reading, [each.steps for each in alike], value)
                if after is None or after == self.before:
                    continue
                traced = self._carried(leaf.value, value, after)
                places = tuple(place for place in traced.places if not (one_field and _of_line(place[0])))
                told = traced.said and bool(places) and (one_field or len(places) == 1)
                return Traced(True, places, said=True) if told else Traced(True)
        if not _is_word(leaf.value) or [each for each in alike if _of_order(each)] != [leaf]:
            return Traced(True)
        # Nothing else moves the place with exactly this text in it, and nothing else of the order says it.
        own = [place for place in self.before.items() if place[0] not in self._moved and place[1] == leaf.value]
        return Traced(True, tuple(own), said=True) if len(own) == 1 else Traced(True)

    def shop(self, leaf: _Leaf, alike: list[_Leaf]) -> Traced:
        """Return whether a field that moves nothing is the shop's, which is told before a payload is translated."""
        shop = self.before["shop"]
        if shop == leaf.value and "shop" not in self._moved and len({_field(each) for each in alike}) == 1:
            return Traced(True, (("shop", shop),), said=True)
        return Traced(False)

    def _after(self, reading: Reading, places: list[Steps], value: Any) -> Places | None:
        tree = self._tree
        for steps in places:
            tree = _with(tree, steps, _typed(value, _at(self._tree, steps)))
        try:
            return places_of(reading.read(_encode(tree), self._shop))
        except (TranslationError, OverflowError):
            return None

    def _carried(self, old: Any, new: Any, after: Places) -> Traced:
        """Return the places that say what the field says, before and after; else all that changed."""
        before = self.before
        moved = [place for place in before if before[place] != after.get(place)]
        self._moved.update(moved)
        own = [
            place
            for place in moved
            if self._says(before[place], old)
            and (after.get(place) in (*_EMPTY, 0) if new in _EMPTY else self._says(after.get(place), new))
        ]
        appeared = [place for place in after if place not in before]
        if not own and not any(self._says(before[place], old) for place in moved):
            own = [place for place in appeared if self._says(after[place], new)]  # a default is not kept
        shown = own or moved or appeared
        if own and "status" in moved:
            shown = [*own, "status"]
        return Traced(True, tuple((place, before.get(place)) for place in shown[:PLACES_MAX]), said=bool(own))

    def _says(self, canonical: Any, value: Any) -> bool:
        """Tell whether a place says what a field says: the same text or amount, or a text with it as one part."""
        text = _text(value)
        if type(canonical) is int:
            with suppress(InvalidOperation, ValueError):
                number = Decimal(text.replace(",", "").lstrip("¥￥"))
                return number in (canonical, Decimal(canonical).scaleb(-self._digits))
            return False
        said = _text(canonical)
        return said == text or (isinstance(canonical, str) and (_within(text, said) or _within(said, text)))


# --- payloads


def _asked(reading: Reading, tree: Any, paths: Collection[str]) -> Iterator[_Leaf]:
    """Return the values of a payload that stand at one of these paths of its document."""
    whole = dict(leaves_of(reading.document(_encode(tree))))
    for number, (steps, value) in enumerate(_leaves(tree, ())):
        if number >= LEAVES_MAX:
            return
        if value in _EMPTY:
            continue
        at = _places_in(reading, tree, steps, whole) if reading.has_documents else (_path(steps),)
        if any(path in paths for path in at):
            yield _Leaf(steps, value, at)


def _places_in(reading: Reading, tree: Any, steps: Steps, whole: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where a value of a slice stands in its document; nowhere, where it is what the document is made by."""
    try:
        other = dict(leaves_of(reading.document(_encode(_with(tree, steps, _others(_at(tree, steps))[0])))))
    except TranslationError:
        return ()
    return tuple(path for path in whole if whole[path] != other[path]) if other.keys() == whole.keys() else ()


def leaves_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Return every value of a document that is no object or list, with its path."""
    for steps, leaf in _leaves(value, ()):
        yield _path(steps), str(leaf) if isinstance(leaf, Decimal) else leaf


def _leaves(value: Any, steps: Steps) -> Iterator[tuple[Steps, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*steps, name))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*steps, number))
    else:
        yield steps, value


def _path(steps: Steps) -> str:
    path = ""
    for step in steps:
        path = f"{path}[{step}]" if isinstance(step, int) else joined(path, step)
    return path


def _field(leaf: _Leaf) -> str:
    """Return which field of the payload it is, in whatever element of its list."""
    return re.sub(r"\[\d+\]", "[]", leaf.paths[-1])


def _of_order(leaf: _Leaf) -> bool:
    return any("[" not in path for path in leaf.paths)


def _of_line(place: str) -> bool:
    return place.startswith(("lines[", "personal.line_attributes"))


def _at(tree: Any, steps: Steps) -> Any:
    for step in steps:
        tree = tree[step]
    return tree


def _with(tree: Any, steps: Steps, value: Any) -> Any:
    """Return a payload with another value in one place."""
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    changed: Any = dict(tree) if isinstance(tree, dict) else list(tree)
    changed[step] = _with(tree[step], rest, value)
    return changed


# --- values


def _others(value: Any) -> list[Any]:
    """Return other values like this one, for a field to be changed to; the first that is not refused will do."""
    if isinstance(value, bool):
        return [not value]
    text = _text(value)
    found = [_next(text, 1), _next(text, -1)]
    if isinstance(value, str):
        return [*found, _next(text, 10), ""]
    return [_typed(each, value) for each in (*found, _next(text, 10))]


def _next(text: str, by: int) -> str:
    """Return a text that is another one: the next number in its last place, or another last letter."""
    digits = text.replace(".", "", 1)
    if digits.isascii() and digits.isdigit() and not text.startswith("."):
        number = str(abs(int(digits) + by)).zfill(len(digits))
        point = len(text) - text.index(".") - 1 if "." in text else 0
        return f"{number[:-point]}.{number[-point:]}" if point else number
    for place in range(len(text) - 1, -1, -1):
        if text[place].isdecimal():
            return f"{text[:place]}{(int(text[place]) + by) % 10}{text[place + 1 :]}"
        if text[place].isalpha():
            return f"{text[:place]}{'x' if text[place] != 'x' else 'y'}{text[place + 1 :]}"
    return f"{text}x"


def _typed(value: Any, like: Any) -> Any:
    """Return a value in the type of another one: an id stands as text in one field and as a number in the next."""
    if isinstance(value, str) and isinstance(like, (int, Decimal)) and not isinstance(like, bool):
        return int(value) if isinstance(like, int) else Decimal(value)
    return str(value) if isinstance(like, str) and not isinstance(value, str) else value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _within(part: str, text: str) -> bool:
    """Tell whether a text is composed of this part and others: an item with its variant, a province with its city."""
    return bool(part) and re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) is not None


def _is_word(value: Any) -> bool:
    """Tell a value that nothing else says by chance."""
    return isinstance(value, str) and any(char.isalpha() for char in value)


# --- canonical orders


def places_of(translated: Translated | Return) -> Places:
    """Return every value of a canonical order, by its place."""
    if isinstance(translated, Return):
        return dict(_canonical(translated, ""))
    return {**dict(_canonical(translated.personal, "personal")), **dict(_canonical(translated.snapshot, ""))}


def _canonical(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, SourceTime):
        yield where, value.text
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _canonical(getattr(value, name), joined(where, name))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _canonical(inner, joined(where, str(name)))
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _canonical(inner, f"{where}[{number}]")
    else:
        yield where, value
