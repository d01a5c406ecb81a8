"""What the JSON channels share: reading fields without losing or guessing any, and keeping those nobody declared.

Every reader takes the field's path (`where`) and raises `TranslationError` with it. Numbers with a fraction are
Decimals until they are kept; ids are exact text and never pass through a float.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

from domain.canonical import SourceTime, TranslationError
from domain.ids import PART_BYTES_MAX
from domain.money import BadMoney, minor
from domain.timehub import TimeReader, UnreadableTime

READ: Final = object()
"""In a table of fields: its value has a place of its own in the canonical order."""

NO_DEFAULT: Final = object()
"""In a table of fields: declared harmless, and kept whatever its value."""

DEPTH_MAX: Final = 64
"""Deepest nesting that is kept. Real payloads have less than ten levels; encoders have limits."""

_UNKNOWN: Final = object()
_PLAIN: Final = frozenset({str, bool, type(None)})
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1
_SHOWN_MAX: Final = 60

_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)
_raw_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_list: Final = msgspec.json.Decoder(list[msgspec.Raw])

_yuan: Final = lru_cache(maxsize=65_536)(minor)


def decode(raw: bytes | msgspec.Raw) -> Any:
    """Decode JSON; fractions become Decimals.

    Raises:
        TranslationError: it is no JSON (also: not UTF-8, NaN, nested absurdly deep).
    """
    try:
        return _decoder.decode(raw)
    except (ValueError, RecursionError) as error:
        raise TranslationError(
            f"not readable as JSON: {error}", advice="send the platform's answer unchanged"
        ) from None


def decode_object(raw: bytes | msgspec.Raw) -> dict[str, Any]:
    """Decode JSON that must be an object.

    Raises:
        TranslationError: it is no JSON object.
    """
    value = decode(raw)
    if type(value) is not dict:
        raise TranslationError(f"a JSON {_kind(value)} is no order")
    return value


def split_object(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    """Return the members of an object as the exact bytes they are, or None if it is no JSON object."""
    try:
        return _raw_object.decode(raw)
    except (ValueError, RecursionError):
        return None


def split_list(raw: bytes | msgspec.Raw) -> list[msgspec.Raw] | None:
    """Return the elements of an array as the exact bytes they are, or None if it is no JSON array."""
    try:
        return _raw_list.decode(raw)
    except (ValueError, RecursionError):
        return None


def exact_id(value: object, where: str) -> str:
    """Return an id as the text it is; "" where it is absent (missing, null, "", 0, "0").

    Raises:
        TranslationError: it is neither text nor a whole number, or too long.
    """
    kind = type(value)
    if kind is int:
        text = str(value) if value else ""
    elif kind is str:
        text = value if value != "0" else ""  # type: ignore[assignment] # a str, as the line above says
    elif value is None:
        return ""
    elif isinstance(value, (float, Decimal)):
        raise TranslationError(f"{value} is a fraction; an id is exact", where, "send ids as text or whole numbers")
    else:
        raise TranslationError(f"a {_kind(value)} is no id", where)
    if len(text) * 4 > PART_BYTES_MAX and len(text.encode("utf-8", "surrogatepass")) > PART_BYTES_MAX:
        raise TranslationError(f"longer than {PART_BYTES_MAX} bytes: {text[:_SHOWN_MAX]!r}…", where)
    return text


def text_of(value: object, where: str) -> str:
    """Return text; "" where it is absent; whole numbers as their digits.

    Raises:
        TranslationError: it is something else.
    """
    if type(value) is str:
        return value
    if value is None:
        return ""
    if type(value) is int:
        return str(value)
    raise TranslationError(f"a {_kind(value)} where text belongs", where)


def whole_of(value: object, where: str) -> int | None:
    """Return a whole number, given as number or digits; None where it is absent.

    Raises:
        TranslationError: it is something else.
    """
    if type(value) is int:
        return value
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) < _SHOWN_MAX and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    raise TranslationError(f"{_shown(value)} is no whole number", where)


def quantity_of(value: object, where: str) -> int:
    """Return how many units a line has: more than none, fewer than a thousand million.

    Raises:
        TranslationError: it is no such number.
    """
    number = whole_of(value, where)
    if number is None or not 0 < number < 1_000_000_000:  # noqa: PLR2004 -- the docstring says what it is
        raise TranslationError(f"{_shown(value)} is no quantity", where, "a line has one unit or more")
    return number


def yuan_of(value: object, where: str) -> int | None:
    """Return an amount given in yuan as fen; None where it is absent.

    Raises:
        TranslationError: it is no amount.
    """
    if value is None or value == "":
        return None
    try:
        return _yuan(value) if type(value) is str else minor(value)
    except BadMoney as error:
        raise TranslationError(str(error), where, "an amount in yuan with two decimals belongs here") from None


def fen_of(value: object, where: str) -> int | None:
    """Return an amount given in fen; None where it is absent.

    Raises:
        TranslationError: it is no amount.
    """
    if value is None or value == "":
        return None
    try:
        return minor(value, unit="fen")
    except BadMoney as error:
        raise TranslationError(str(error), where, "a whole number of fen belongs here") from None


def time_of(reader: TimeReader, value: object, where: str) -> SourceTime | None:
    """Read a time; None where the source says that there is none.

    Raises:
        TranslationError: it cannot be told.
    """
    try:
        return reader.read(value)
    except UnreadableTime as error:
        raise TranslationError(
            f"cannot read the time {error.text[:_SHOWN_MAX]!r}: {error.why}", where, error.advice
        ) from None


def object_of(value: object, where: str) -> dict[str, Any]:
    """Return an object; an empty one where it is absent (missing, null, "", or [] as some platforms write).

    Raises:
        TranslationError: it is something else.
    """
    if type(value) is dict:
        return value
    if value is None or value in ("", []):
        return {}
    raise TranslationError(f"a {_kind(value)} where an object belongs", where)


def objects_of(value: object, where: str) -> list[dict[str, Any]]:
    """Return a list of objects; a single object counts as a list of one, as data made from XML has it.

    Raises:
        TranslationError: it is something else.
    """
    if type(value) is dict:
        return [value] if value else []
    if value is None or value == "":
        return []
    if type(value) is not list:
        raise TranslationError(f"a {_kind(value)} where a list belongs", where)
    for number, item in enumerate(value):
        if type(item) is not dict:
            raise TranslationError(f"a {_kind(item)} where an object belongs", f"{where}[{number}]")
    return value


def sort_out(
    fields: Mapping[str, Any], table: Mapping[str, object], where: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the fields that are not `READ` into declared (harmless) and unknown (to be sealed) ones.

    A declared field at its default says nothing and is left out. A declared field that holds a structure was not
    declared to, so it counts as unknown.

    Raises:
        TranslationError: an unknown field is nested deeper than `DEPTH_MAX`.
    """
    declared: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for name, value in fields.items():
        rule = table.get(name, _UNKNOWN)
        if rule is READ:
            continue
        if rule is _UNKNOWN:
            unknown[name] = keep(value, where, 0)
        elif value != rule or type(value) is not type(rule):
            kind = type(value)
            if kind in _PLAIN:
                declared[name] = value
            elif kind is dict or kind is list:
                unknown[name] = keep(value, where, 0)
            else:
                declared[name] = keep(value, where, 0)
    return declared, unknown


def keep(value: Any, where: str, depth: int) -> Any:
    """Return a value that can be stored and read back the same; numbers that no machine type holds become text.

    Raises:
        TranslationError: it is nested deeper than `DEPTH_MAX`.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int:
        return value if _INT_MIN <= value <= _INT_MAX else str(value)
    if kind is Decimal:
        number = float(value) if -300 < value.adjusted() < 300 or not value else 0.0  # noqa: PLR2004 -- a float's range
        return number if Decimal(repr(number)) == value else str(value)
    if depth >= DEPTH_MAX:
        raise TranslationError(f"nested deeper than {DEPTH_MAX} levels", where)
    if kind is dict:
        return {name: keep(inner, where, depth + 1) for name, inner in value.items()}
    return [keep(inner, where, depth + 1) for inner in value]


def count_keys(value: Any) -> int:
    """Count the members of all objects in a value."""
    kind = type(value)
    if kind is dict:
        return len(value) + sum(map(count_keys, value.values()))
    if kind is list:
        return sum(map(count_keys, value))
    return 0


def refuse_repeated_names(raw: bytes, keys: int) -> None:
    """Refuse JSON in which an object has two members of one name: nobody can tell which one counts.

    Decoders keep the last and say nothing. `keys` is how many members were decoded; only if the text seems to have
    another number is it looked at closely.

    Raises:
        TranslationError: with the name.
    """
    if raw.count(b'":') - raw.count(b'\\":') == keys and b'\\\\":' not in raw:
        return

    def once(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise TranslationError(f"the field {name[:_SHOWN_MAX]!r} is there twice", advice="send one of them")
            seen.add(name)

    try:
        json.loads(raw, object_pairs_hook=once, parse_int=str, parse_float=str)
    except TranslationError:
        raise
    except (ValueError, RecursionError) as error:
        raise TranslationError(f"not readable as JSON: {error}") from None


def _kind(value: object) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "truth value", type(None): "null"}
    return names.get(type(value), "number")


def _shown(value: object) -> str:
    text = str(value) if not isinstance(value, (dict, list)) else f"a {_kind(value)}"
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
