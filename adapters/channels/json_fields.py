"""What the JSON channels share: reading ids, amounts and times without losing or guessing any.

Each reader raises `TranslationError` with the field's path: `where` is that of its object, `name` its own. Ids are
exact text and never pass through a float.
"""

from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any, Final

import msgspec

from adapters.channels.json_halves import decoded, split
from domain.canonical import SourceTime, TranslationError
from domain.ids import PART_BYTES_MAX
from domain.money import BadMoney, minor
from domain.timehub import TimeReader, UnreadableTime

DEPTH_MAX: Final = 64
"""Deepest nesting that is kept. Real payloads have less than ten levels; encoders have limits."""
FEN_MAX: Final = 10**11
"""Largest amount an order of a shop may have: a thousand million yuan. More is a wrong unit or a broken source."""
EARLY_DAYS_MAX: Final = 1
"""So far before the order something may lie that follows it: clocks and zones of a platform's services differ."""
LATE_DAYS_MAX: Final = 3_660
"""No platform touches an order that long after it was made: a later time is a broken clock."""

_PLAIN: Final = frozenset({str, bool, type(None)})
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1
_SHOWN_MAX: Final = 60
_QUANTITY_LIMIT: Final = 1_000_000_000
_SAFE_ID_LENGTH: Final = PART_BYTES_MAX // 4
_DAY_MS: Final = 86_400_000

_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)
_raw_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_yuan: Final = lru_cache(maxsize=65_536)(minor)


def decode(raw: bytes | msgspec.Raw) -> Any:
    """Decode JSON; fractions become Decimals, halves of characters the text of their escapes.

    Raises:
        TranslationError: it is no JSON (also: not UTF-8, NaN, nested absurdly deep).
    """
    try:
        return decoded(_decoder.decode, raw)
    except (ValueError, RecursionError) as error:
        raise TranslationError(
            f"not readable as JSON: {error}", advice="send the platform's answer unchanged"
        ) from None
    except ArithmeticError:
        raise TranslationError(
            "holds a number with an exponent beyond all measure", advice="send the platform's answer unchanged"
        ) from None


def decode_object(raw: bytes | msgspec.Raw) -> dict[str, Any]:
    """Decode JSON that must be an object.

    Raises:
        TranslationError: it is no JSON object.
    """
    value = decode(raw)
    if type(value) is not dict:
        raise TranslationError(f"JSON, but {kind_of(value)} and no order")
    return value


def split_object(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    """Return the members of an object as the exact bytes they are, or None if it is no JSON object."""
    try:
        return _raw_object.decode(raw)
    except (ValueError, RecursionError):
        pieces = split(bytes(raw), "{}")
        return None if pieces is None else {name: msgspec.Raw(piece) for name, piece in pieces}


def split_list(raw: bytes | msgspec.Raw) -> list[msgspec.Raw] | None:
    """Return the elements of an array as the exact bytes they are, or None if it is no JSON array."""
    try:
        return _raw_list.decode(raw)
    except (ValueError, RecursionError):
        pieces = split(bytes(raw), "[]")
        return None if pieces is None else [msgspec.Raw(piece) for _, piece in pieces]


def why_unreadable(raw: bytes) -> str:
    """Say for people why these bytes are no JSON object."""
    try:
        decode_object(raw)
    except TranslationError as error:
        return str(error)
    return "an object with members that are no JSON"


def id_of(value: object, name: str, where: str = "") -> str:
    """Return an id as the text it is; "" where it is absent (missing, null, "", 0, "0").

    Raises:
        TranslationError: it is neither text nor a whole number, or too long.
    """
    if type(value) is int:
        return str(value) if value else ""
    if type(value) is str:
        if len(value) > _SAFE_ID_LENGTH and len(value.encode("utf-8", "surrogatepass")) > PART_BYTES_MAX:
            raise TranslationError(f"longer than {PART_BYTES_MAX} bytes: {value[:_SHOWN_MAX]!r}…", path(where, name))
        return value if value != "0" else ""
    if value is None:
        return ""
    if isinstance(value, (float, Decimal)):
        advice = "send ids as text or whole numbers"
        raise TranslationError(f"{value} is a fraction; an id is exact", path(where, name), advice)
    raise TranslationError(f"{kind_of(value)} is no id", path(where, name))


def same_id(number: object, text: object, name: str, where: str = "") -> str:
    """Return an id that is given as a number and as text; "" where both are absent.

    Raises:
        TranslationError: they differ, as they do where one has passed a float.
    """
    first, second = id_of(number, name, where), id_of(text, f"{name}_str", where)
    if first and second and first != second:
        reason = f"{name} says {first}, {name}_str says {second}"
        raise TranslationError(reason, path(where, name), "keep ids away from floating point")
    return second or first


def whole_of(value: object, name: str, where: str = "") -> int:
    """Return a whole number, given as number or digits; 0 where it is absent.

    Raises:
        TranslationError: it is something else.
    """
    if type(value) is int:
        return value
    if value is None or value == "":
        return 0
    if isinstance(value, str) and len(value) < _SHOWN_MAX and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    raise TranslationError(f"{_shown(value)} is no whole number", path(where, name))


def quantity_of(value: object, name: str, where: str = "") -> int:
    """Return how many units a line has: more than none, fewer than a thousand million.

    Raises:
        TranslationError: it is no such number.
    """
    number = value if type(value) is int else whole_of(value, name, where)
    if not 0 < number < _QUANTITY_LIMIT:
        raise TranslationError(f"{_shown(value)} is no quantity", path(where, name), "a line has one unit or more")
    return number


def yuan_of(value: object, name: str, where: str = "", *, signed: bool = False) -> int | None:
    """Return an amount given in yuan as fen; None where it is absent. Only a `signed` one may be below nothing.

    Raises:
        TranslationError: it is no amount, or none that an order can have.
    """
    if value is None or value == "":
        return None
    try:
        amount = _yuan(value) if type(value) is str else minor(value)
    except BadMoney as error:
        raise TranslationError(str(error), path(where, name), "an amount in yuan belongs here") from None
    if (-FEN_MAX if signed else 0) <= amount <= FEN_MAX:
        return amount
    raise _absurd(amount, value, name, where)


def fen_of(value: object, name: str, where: str = "", *, signed: bool = False) -> int:
    """Return an amount given in fen; 0 where it is absent. Only a `signed` one may be below nothing.

    Raises:
        TranslationError: it is no amount, or none that an order can have.
    """
    if value is None or value == "":
        return 0
    try:
        amount = minor(value, unit="fen")
    except BadMoney as error:
        raise TranslationError(str(error), path(where, name), "a whole number of fen belongs here") from None
    if (-FEN_MAX if signed else 0) <= amount <= FEN_MAX:
        return amount
    raise _absurd(amount, value, name, where)


def goods_value(price: int, quantity: int, name: str, where: str) -> int:
    """Return price times quantity, in fen.

    Raises:
        TranslationError: it is more than an order can have.
    """
    goods = price * quantity
    if goods > FEN_MAX:
        reason = f"{quantity} times {price / 100:,.2f} yuan is absurdly much"
        raise TranslationError(reason, path(where, name), "correct price or quantity at their source")
    return goods


def time_of(reader: TimeReader, value: object, name: str, where: str = "") -> SourceTime | None:
    """Read a time; None where the source says that there is none.

    Raises:
        TranslationError: it cannot be told.
    """
    try:
        return reader.read(value)
    except UnreadableTime as error:
        reason = f"cannot read the time {error.text[:_SHOWN_MAX]!r}: {error.why}"
        raise TranslationError(reason, path(where, name), error.advice) from None


def follows(at: SourceTime | None, ordered_at: SourceTime, name: str) -> SourceTime | None:
    """Return the time of something that comes after the order, if it can be.

    Raises:
        TranslationError: it lies days before the order, or many years after it; one of the two times is wrong.
    """
    if at is None or -EARLY_DAYS_MAX <= (at.utc_ms - ordered_at.utc_ms) / _DAY_MS <= LATE_DAYS_MAX:
        return at
    days = (at.utc_ms - ordered_at.utc_ms) // _DAY_MS
    apart = f"{-days:,} days before" if days < 0 else f"{days:,} days after"
    reason = f"{at.text[:_SHOWN_MAX]!r} lies {apart} the order ({ordered_at.text[:_SHOWN_MAX]!r})"
    raise TranslationError(reason, name, "one of the two times is wrong: correct it at its source")


def keep(value: Any, where: str, depth: int = 0) -> Any:
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
        return _kept_fraction(value)
    if depth >= DEPTH_MAX:
        raise TranslationError(f"nested deeper than {DEPTH_MAX} levels", where)
    if kind is dict:
        return {name: keep(inner, where, depth + 1) for name, inner in value.items()}
    return [keep(inner, where, depth + 1) for inner in value]


def path(where: str, name: str) -> str:
    """Return the path of a field for people: `orders.order[0].num`."""
    return f"{where}.{name}" if where else name


def kind_of(value: object) -> str:
    """Name the kind of a decoded value, for people."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


def _absurd(amount: int, value: object, name: str, where: str) -> TranslationError:
    if amount < 0:
        advice = "correct it at its source; what is given back is told by the after-sale fields"
        return TranslationError(f"{_shown(value)} is negative", path(where, name), advice)
    reason = f"{_shown(value)} is absurdly large for an order"
    return TranslationError(reason, path(where, name), "correct it at its source; is the unit right?")


def _kept_fraction(value: Decimal) -> float | str:
    number = float(value)
    return number if isfinite(number) and Decimal(repr(number)) == value else str(value)


def _shown(value: object) -> str:
    text = kind_of(value) if isinstance(value, (dict, list)) else str(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
