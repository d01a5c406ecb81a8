"""A mapping at work: what stands in a channel's payload becomes canonical fields and custom attributes. Pure.

What a source does not say (missing, null, empty) changes nothing. What it says and cannot be converted is an error with
the exact path, never a guess: the order is kept until the value or the mapping is put right. Errors tell the path and
never the value, which may be personal.
"""

from collections.abc import Callable, Container, Mapping
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, NamedTuple

import msgspec

from domain.canonical import Line, Translated, TranslationError
from domain.mapping_path import follow
from domain.mapping_table import Rule, Table
from domain.money import BadMoney, minor
from domain.timehub import TimeReader, UnreadableTime

DEPTH_MAX = 64
"""Deepest nesting of a value that is kept as it is."""
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_TRUE = frozenset({"true", "1", "yes", "y", "是", "有"})
_FALSE = frozenset({"false", "0", "no", "n", "否", "无"})
_ADVICE = "correct the value at its source, or the mapping, then resend"

_replace = msgspec.structs.replace


class Mapped(NamedTuple):
    """One value on its way."""

    source: str
    """Exact path in the payload; "" where the mapping's default was used."""
    value: Any
    """As it stands there."""
    target: str
    """As people write it in the mapping."""
    became: Any
    """None = the target was left as it is."""
    line: str
    """Id of the order's line; "" = of the order itself."""
    personal: bool


def apply(table: Table, document: Any, translated: Translated, times: TimeReader) -> Translated:
    """Return the canonical order with what a mapping adds to it.

    Args:
        table: the mapping.
        document: the decoded payload; fractions are Decimals.
        translated: what the channel made of the same payload.
        times: reads times of this channel and shop.

    Raises:
        TranslationError: a value cannot be converted, or the payload's lines cannot be told to be the order's.
    """
    return _put(translated, mapped(table, document, translated, times), table)


def mapped(table: Table, document: Any, translated: Translated, times: TimeReader) -> list[Mapped]:
    """Return every value that a mapping takes over. Arguments and errors: see `apply`."""
    currency = translated.snapshot.amounts.currency
    found = [_one(rule, document, "", "", times, currency) for rule in table.orders]
    if table.lines:
        for line_id, where, element in _lines(table, document, translated.snapshot.lines):
            found += [_one(rule, element, where, line_id, times, currency) for rule in table.lines]
    return [each for each in found if each is not None]


# --- reading


def _lines(table: Table, document: Any, lines: tuple[Line, ...]) -> list[tuple[str, str, Any]]:
    """Return the payload's lines that are lines of the order: (line id, path, element)."""
    elements = list(follow(document, table.line_list))
    if not table.line_ids:
        if len(elements) != len(lines):
            reason = f"the payload has {len(elements)} lines here, the order {len(lines)}: they cannot be told apart"
            raise TranslationError(reason, _told(table), "name the line's id in the mapping ([lines] id)")
        return [(line.id, where, element) for line, (where, element) in zip(lines, elements, strict=True)]
    names: dict[str, list[tuple[str, Any]]] = {}
    for where, element in elements:
        ids = (str(value) for path in table.line_ids for _, value in follow(element, path) if value not in ("", 0))
        names.setdefault(next(ids, ""), []).append((where, element))
    named: dict[str, list[str]] = {}
    for line in lines:
        named.setdefault(_name_of(line.id, names), []).append(line.id)
    found = [one for name, its in names.items() if name in named for one in _same(its, named[name], table)]
    if elements and not found:
        reason = f"none of the payload's {len(elements)} lines names a line of the order"
        raise TranslationError(reason, _told(table), "correct the line's id in the mapping ([lines] id)")
    return found


def _name_of(line_id: str, names: Container[str]) -> str:
    """Return what the payload calls a line: of several with one name, channels call the later ones `NAME#2` …."""
    name, sign, number = line_id.rpartition("#")
    return name if line_id not in names and sign and number.isdecimal() else line_id


def _same(elements: list[tuple[str, Any]], ids: list[str], table: Table) -> list[tuple[str, str, Any]]:
    """Return the elements of one name with their lines, which stand in the same order."""
    if len(ids) == 1 and all(element == elements[0][1] for _, element in elements):
        elements = elements[:1]  # the same line, told again
    if len(elements) != len(ids):
        reason = (
            f"{len(elements)} lines of the payload have one id here, {len(ids)} of the order: they cannot be told apart"
        )
        raise TranslationError(reason, _told(table), "name an id that each line has for itself ([lines] id)")
    return [(line_id, where, element) for line_id, (where, element) in zip(ids, elements, strict=True)]


def _told(table: Table) -> str:
    return ".".join(getattr(step, "name", "[]") for step in table.line_list).replace(".[]", "[]")


def _one(rule: Rule, document: Any, where: str, line: str, times: TimeReader, currency: str) -> Mapped | None:
    """Return what a rule finds, from the first source that says something; its default where none does."""
    target, personal = rule.shown, rule.target.personal
    many = rule.convert in ("list", "json")
    for path in rule.sources:
        values = [(place, value) for place, value in follow(document, path, where) if many or value not in ("", [], {})]
        if not values:
            continue
        source, value = values[0]
        if len(values) > 1 and many:
            value = [each for _, each in values]
        elif any(each != value for _, each in values[1:]):
            reason = f"{len(values)} values that differ; {target} has room for one"
            raise _wrong(rule, source, reason, 'convert = "list" keeps them all')
        became = _converted(rule, source, value, times, currency)
        return Mapped(source, value, target, _fitting(rule, became), line, personal)
    if rule.default is not None:
        return Mapped("", None, target, _fitting(rule, rule.default), line, personal)
    return None


def _fitting(rule: Rule, became: Any) -> Any:
    """Return a value as its target holds it; None where it says nothing."""
    if became in ("", []):
        return None
    return _text(became) if rule.target.group in ("field", "receiver", "messages") else became


def _converted(rule: Rule, source: str, value: Any, times: TimeReader, currency: str) -> Any:
    try:
        return _CONVERTERS[rule.convert](value, rule, times, currency)
    except UnreadableTime as error:
        raise _wrong(rule, source, f"{_shown(value)} is no time that can be told: {error.why}", error.advice) from None
    except BadMoney:
        unit = f"whole minor units of {currency}" if rule.convert == "fen" else f"major units of {currency}"
        raise _wrong(rule, source, f"{_shown(value)} is no exact amount in {unit}", "") from None
    except ValueError as error:
        raise _wrong(rule, source, f"{_shown(value)} {error}", "") from None


def _wrong(rule: Rule, source: str, reason: str, advice: str) -> TranslationError:
    line = f", line {rule.number} of the mapping" if rule.number else ""
    return TranslationError(f"{reason} (for {rule.shown}{line})", source, advice or _ADVICE)


# --- converters: a value that is not theirs is a ValueError that says so


def _text(value: Any, *_: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        raise ValueError('is no text; convert = "json" or "list" keeps it')  # noqa: TRY004  a value, not a type, is wrong
    return str(value)


def _integer(value: Any, *_: Any) -> int:
    text = str(value).strip()
    if isinstance(value, (bool, dict, list)) or not text.isascii() or not text.removeprefix("-").isdigit():
        raise ValueError("is no whole number")
    if len(text.removeprefix("-")) > 19 or not _INT_MIN <= int(text) <= _INT_MAX:  # noqa: PLR2004  digits of 2**63
        raise ValueError("is too large for a whole number; keep it as text")
    return int(text)


def _decimal(value: Any, *_: Any) -> str:
    text = str(value).strip()
    try:
        if isinstance(value, (bool, dict, list)) or not text.isascii() or "_" in text or not Decimal(text).is_finite():
            raise ValueError("is no number")
    except InvalidOperation:
        raise ValueError("is no number") from None
    return text


def _yuan(value: Any, _: Rule, __: TimeReader, currency: str) -> int:
    return minor(_amount(value), currency)


def _fen(value: Any, _: Rule, __: TimeReader, currency: str) -> int:
    return minor(_amount(value), currency, "fen")


def _amount(value: Any) -> Any:
    if isinstance(value, (bool, dict, list)):
        raise ValueError("is no amount of money")  # noqa: TRY004  a value, not a type, is wrong
    return value.strip() if isinstance(value, str) else value


def _time(value: Any, _: Rule, times: TimeReader, __: str) -> Any:
    if isinstance(value, (bool, dict, list)):
        raise ValueError("is no time")  # noqa: TRY004  a value, not a type, is wrong
    at = times.read(value)
    return "" if at is None else msgspec.to_builtins(at)


def _boolean(value: Any, *_: Any) -> bool:
    word = str(value).strip().lower()
    if isinstance(value, (dict, list)) or word not in _TRUE | _FALSE:
        raise ValueError("is neither yes nor no")
    return word in _TRUE


def _choice(value: Any, rule: Rule, *_: Any) -> str | int | bool:
    word = _text(value)
    if word in rule.values:
        return rule.values[word]
    raise ValueError("is none of the words in [field.values]")


def _list(value: Any, *_: Any) -> list[Any]:
    return [kept(each) for each in value] if isinstance(value, list) else [kept(value)]


_CONVERTERS: Mapping[str, Callable[..., Any]] = {
    "text": _text,
    "integer": _integer,
    "decimal": _decimal,
    "yuan": _yuan,
    "fen": _fen,
    "time": _time,
    "boolean": _boolean,
    "choice": _choice,
    "list": _list,
    "json": lambda value, *_: kept(value),
}


def kept(value: Any, depth: int = 0) -> Any:
    """Return a value that can be stored and read back the same; numbers that no machine type holds become text.

    Raises:
        ValueError: it is nested deeper than `DEPTH_MAX`.
    """
    if type(value) is int:
        return value if _INT_MIN <= value <= _INT_MAX else str(value)
    if isinstance(value, Decimal):
        number = float(value)
        return number if isfinite(number) and Decimal(repr(number)) == value else str(value)
    if not isinstance(value, (dict, list)):
        return value
    if depth >= DEPTH_MAX:
        raise ValueError(f"is nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, dict):
        return {name: kept(inner, depth + 1) for name, inner in value.items()}
    return [kept(inner, depth + 1) for inner in value]


def _shown(value: Any) -> str:
    """Say what kind of value it is; never what it says: it may be somebody's name."""
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "a value"


# --- writing


def _put(translated: Translated, values: list[Mapped], table: Table) -> Translated:
    groups: dict[str, dict[str, Any]] = {}
    of_lines: dict[str, dict[str, dict[str, Any]]] = {}
    rules = {rule.shown: rule for rule in (*table.orders, *table.lines)}
    for each in values:
        if each.became is None:
            continue
        target = rules[each.target].target
        group = of_lines.setdefault(each.line, {}) if target.line else groups
        # A default fills what is empty; what a source says goes over what the channel made of the payload.
        group.setdefault(f"{target.group}?" if not each.source else target.group, {})[target.name] = each.became
    snapshot, personal = translated.snapshot, translated.personal
    attributes = {**groups.get("attributes?", {}), **snapshot.attributes, **groups.get("attributes", {})}
    lines = snapshot.lines
    line_attributes = personal.line_attributes
    if of_lines:
        lines = tuple(_line(line, of_lines.get(line.id, {})) for line in lines)
        line_attributes = dict(line_attributes)
        for line_id, its in of_lines.items():
            merged = {**its.get("personal?", {}), **line_attributes.get(line_id, {}), **its.get("personal", {})}
            if merged:
                line_attributes[line_id] = merged
    fields = _fields(groups, {"region": snapshot.region, "customer_id": personal.customer_id})
    return Translated(
        _replace(snapshot, region=fields["region"], attributes=attributes, lines=lines),
        _replace(
            personal,
            customer_id=fields["customer_id"],
            receiver={**groups.get("receiver?", {}), **personal.receiver, **groups.get("receiver", {})},
            messages={**groups.get("messages?", {}), **personal.messages, **groups.get("messages", {})},
            attributes={**groups.get("personal?", {}), **personal.attributes, **groups.get("personal", {})},
            line_attributes=line_attributes,
        ),
    )


def _line(line: Line, its: Mapping[str, Mapping[str, Any]]) -> Line:
    if not its:
        return line
    attributes = {**its.get("attributes?", {}), **line.attributes, **its.get("attributes", {})}
    fields = _fields(its, {"sku": line.sku, "name": line.name, "spec": line.spec})
    return _replace(line, attributes=attributes, **fields)


def _fields(groups: Mapping[str, Mapping[str, Any]], known: Mapping[str, str]) -> dict[str, str]:
    """Return the text of the fields that have a place of their own."""
    said, defaults = groups.get("field", {}), groups.get("field?", {})
    return {name: said.get(name) or text or defaults.get(name, "") for name, text in known.items()}
