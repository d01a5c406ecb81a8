"""What a payload becomes, side by side with its source: where each of its fields ends, by one mapping and another."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

import msgspec

from domain.canonical import Return, Translated, TranslationError
from domain.mapping import InForce
from domain.mapping_apply import Mapped
from domain.mapping_path import joined
from domain.money import MINOR_DIGITS
from domain.ports import Channel, Sliced
from runners.reading import Reading, table_of

Mark = Literal["mapped", "read", "attribute", "sealed", "left"]
"""`mapped`: by the mapping; `read`: has a place of its own; `attribute`: anyone may see it; `sealed`: personal or not
declared; `left`: says nothing of its own here (a default, a repetition), kept in the payload itself."""

_PERSONAL = "personal"
_TELLING_MIN = 3
"""Fewest characters of a value that is found again under another name."""
_NEVER = 1 << 30
_TIME = frozenset({"text", "utc_ms", "offset_min", "local"})


class Became(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a field of the source ended."""

    mark: Mark
    target: str = ""
    value: Any = None
    line: str = ""
    """Id of the order's line."""


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One field of the source."""

    source: str
    """Path; "" = a default of the mapping."""
    value: Any
    now: Became
    """By the mapping that is in force."""
    then: Became | None = None
    """By the candidate, where there is one."""


class Trial(msgspec.Struct, frozen=True, omit_defaults=True):
    """One order of what was tried."""

    shop: str
    order_no: str
    rows: list[Row] = []
    now_error: str = ""
    """Why it would be quarantined as things are."""
    then_error: str = ""
    """Why it would be quarantined by the candidate."""


def try_payload(
    channel: Channel, piece: Sliced, zone: str, in_force: InForce, candidate: InForce | None = None
) -> Trial:
    """Show what a slice becomes.

    Args:
        channel: whose it is.
        piece: the slice.
        zone: the merchant's zone.
        in_force: the mapping as things are.
        candidate: a mapping that is to be tried, if there is one.

    Raises:
        BadMapping: a mapping cannot be read.
    """
    now, now_error = _read(channel, piece, zone, in_force)
    then, then_error = ({}, "") if candidate is None else _read(channel, piece, zone, candidate)
    rows = []
    for path in dict.fromkeys([*now, *then]):
        pairs = zip_longest(now.get(path, ()), then.get(path, ()), fillvalue=None)
        for before, after in pairs:
            value = (before or after or _NOTHING).of
            fallback = Became("left") if candidate is not None else None
            rows.append(
                Row(path, value, before.became if before else Became("left"), after.became if after else fallback)
            )
    return Trial(piece.shop, piece.order_no, rows, now_error, then_error)


class _Field(NamedTuple):
    of: Any
    """What stands in the source."""
    became: Became


_NOTHING = _Field(None, Became("left"))
_Fields = dict[str, list[_Field]]
"""By path in the source; "" = defaults of the mapping."""


def _read(channel: Channel, piece: Sliced, zone: str, in_force: InForce) -> tuple[_Fields, str]:
    reading = Reading(channel, table_of(channel.name, in_force), zone)
    try:
        document = reading.document(piece.raw)
        leaves = list(_leaves(document, ""))
    except TranslationError as error:
        return {}, str(error)
    try:
        translated, values = reading.mapped(piece.raw, piece.shop)
        if isinstance(translated, Translated):
            whole = reading.read(piece.raw, piece.shop)
            assert isinstance(whole, Translated)
            translated = whole
    except TranslationError as error:
        return {path: [_Field(value, Became("left"))] for path, value in leaves}, str(error)
    return _ended(leaves, translated, values), ""


def _ended(leaves: list[tuple[str, Any]], translated: Translated | Return, values: list[Mapped]) -> _Fields:
    places = _places(translated)
    found: _Fields = {}
    for path, value in leaves:
        taken = [each for each in values if each.source and _within(path, each.source)]
        found[path] = [_Field(value, _became(each)) for each in taken] or [
            _Field(value, _place_of(path, value, places))
        ]
    defaults = [_Field(None, _became(each)) for each in values if not each.source]
    return {**found, "": defaults} if defaults else found


def _became(each: Mapped) -> Became:
    return Became("mapped", each.target, each.became, each.line)


def _within(path: str, source: str) -> bool:
    return path == source or path.startswith((f"{source}.", f"{source}["))


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Return every value of a document that is no object or list, with its path."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, joined(where, name))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{where}[{number}]")
    else:
        yield where, (str(value) if isinstance(value, Decimal) else value)


def _places(translated: Translated | Return) -> Mapping[str, list[tuple[str, Any]]]:
    """Return the values of a canonical order by their text, each with its paths."""
    if isinstance(translated, Translated):
        whole = {_PERSONAL: msgspec.to_builtins(translated.personal), **msgspec.to_builtins(translated.snapshot)}
        currency = translated.snapshot.amounts.currency
    else:
        whole, currency = msgspec.to_builtins(translated), translated.currency
    digits = MINOR_DIGITS.get(currency, 2)
    found: dict[str, list[tuple[str, Any]]] = {}
    for path, value in _canonical(whole, ""):
        for text in _spellings(value, digits):
            found.setdefault(text, []).append((path, value))
    return found


def _canonical(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value.keys() == _TIME:
        yield where, value["text"]
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _canonical(inner, joined(where, name))
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _canonical(inner, f"{where}[{number}]")
    elif value not in ("", None):
        yield where, value


def _spellings(value: Any, digits: int) -> set[str]:
    """Return how a source may have written a canonical value."""
    texts = {str(value).lower() if isinstance(value, bool) else str(value)}
    if type(value) is int and digits:
        whole = Decimal(value).scaleb(-digits)
        texts |= {f"{whole:f}", f"{whole.normalize():f}"}
    if isinstance(value, str) and len(value) < 500:  # noqa: PLR2004  composed texts are short
        texts |= {part for mark in ("/", ";", ":", " ") for part in value.split(mark) if part}
    return texts


def _place_of(path: str, value: Any, places: Mapping[str, list[tuple[str, Any]]]) -> Became:
    """Return where a value that no mapping named has ended, as far as its name and its text tell."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    fits = places.get(text, ())
    if value in ("", None, [], {}) or not fits:
        return Became("left")
    name, of_line = _plain(path), "[" in path
    target, became = min(
        fits, key=lambda each: (_plain(each[0]) != name, each[0].startswith("lines[") != of_line, each[0].count("."))
    )
    telling = _TELLING_MIN - (not text.isascii())
    if not text.strip("0.") or isinstance(value, bool):
        telling = _NEVER
    if _plain(target) != name and len(text) < telling:
        return Became("left")  # the same small number or word is found in many places
    if target.startswith(f"{_PERSONAL}."):
        return Became("sealed", target, became)
    return Became("attribute" if "attributes." in target else "read", target, became)


def _plain(path: str) -> str:
    """Return the last name of a path, however it is written."""
    return path.rpartition(".")[2].partition("[")[0].strip('"').lower().replace("_", "")


def changed(row: Row) -> bool:
    """Whether the candidate makes something else of a field."""
    return row.then is not None and row.then != row.now
