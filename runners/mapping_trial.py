"""What a payload becomes, side by side with its source: where each of its fields ends, by one mapping and another."""

from itertools import zip_longest
from typing import Any, Literal, NamedTuple

import msgspec

from domain.canonical import TranslationError
from domain.mapping import InForce
from domain.mapping_apply import Mapped
from domain.ports import Channel, Sliced, Unchecked
from runners.mapping_trace import Traced, leaves_of, trace
from runners.reading import Reading, table_of

Mark = Literal["mapped", "read", "attribute", "sealed", "left", "unknown"]
"""`mapped`: by the mapping; `read`: has a place of its own, or is checked and has none that can be told; `attribute`:
anyone may see it; `sealed`: personal or not declared; `left`: nothing depends on it here (a default, a repetition), it
is kept in the payload itself; `unknown`: it was not looked at."""


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
    table = table_of(channel.name, in_force)
    reading = Reading(channel, table, zone)
    try:
        document = reading.document(piece.raw)
        leaves = list(leaves_of(document))
    except TranslationError as error:
        return {}, str(error)
    try:
        _, values = reading.mapped(piece.raw, piece.shop)
    except TranslationError as error:
        return {path: [_Field(value, Became("left"))] for path, value in leaves}, str(error)
    taken = [each.source for each in values if each.source]
    asked = {path for path, _ in leaves if not any(_within(path, source) for source in taken)}
    readings = [reading, *([Reading(channel.unchecked(), table, zone)] if isinstance(channel, Unchecked) else [])]
    return _ended(leaves, trace(readings, piece.raw, piece.shop, asked), values), ""


def _ended(leaves: list[tuple[str, Any]], traced: dict[str, Traced], values: list[Mapped]) -> _Fields:
    found: _Fields = {}
    for path, value in leaves:
        taken = [_became(each) for each in values if each.source and _within(path, each.source)]
        found[path] = [_Field(value, became) for became in taken or _places(value, traced.get(path))]
    defaults = [_Field(None, _became(each)) for each in values if not each.source]
    return {**found, "": defaults} if defaults else found


def _became(each: Mapped) -> Became:
    return Became("mapped", each.target, each.became, each.line)


def _within(path: str, source: str) -> bool:
    return path == source or path.startswith((f"{source}.", f"{source}["))


def _places(value: Any, traced: Traced | None) -> list[Became]:
    """Return where a value that no mapping named has ended."""
    if value in ("", None, [], {}):
        return [Became("left")]
    if traced is None:
        return [Became("unknown")]
    if not traced.places:
        return [Became("read" if traced.read else "left")]
    return [Became(_mark(target), target, became) for target, became in traced.places]


def _mark(target: str) -> Mark:
    if target.startswith("personal."):
        return "sealed"
    return "attribute" if "attributes." in target else "read"


def changed(row: Row) -> bool:
    """Whether the candidate makes something else of a field."""
    return row.then is not None and row.then != row.now
