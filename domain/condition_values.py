"""What a condition can ask of an order, and how values are compared: total, so that no order can make a rule fail.

Missing is None, and any comparison with it is false. So is one of values that do not go together, which only values
of unknown kind (custom attributes, what is known of a customer) can be.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from fnmatch import translate
from operator import attrgetter
from typing import Any, Literal, NamedTuple, get_args

from domain.address import FLAWS
from domain.canonical import Line, Snapshot, Status
from domain.rulings import Facts

Kind = Literal["text", "number", "money", "flag", "words", "any", "nothing"]
"""What a part of a condition gives. `flag` = yes or no; `words` = several texts; `any` = told only by the order."""
Run = Callable[["Scope"], Any]


class Scope:
    """One order while rules look at it."""

    __slots__ = ("amounts", "currency", "facts", "line", "lines", "snapshot", "tags")

    def __init__(self, facts: Facts) -> None:
        """Begin without tags, at no line."""
        snapshot: Snapshot = facts.snapshot
        self.facts = facts
        self.snapshot = snapshot
        self.amounts = snapshot.amounts
        self.currency = snapshot.amounts.currency
        self.lines = [line for line in snapshot.lines if line.state != "cancelled"]
        """Those that count."""
        self.line: Line | None = None
        self.tags: list[str] = []


class Field(NamedTuple):
    """What a name stands for."""

    kind: Kind
    get: Run
    known: frozenset[str] = frozenset()
    """The only words there are; empty = any."""
    sure: bool = True
    """It is never missing."""


def _hour(scope: Scope) -> int | None:
    text = scope.snapshot.ordered_at.local[11:13]
    return int(text) if text.isdecimal() and text.isascii() else None


def _weekday(scope: Scope) -> int | None:
    try:
        return date.fromisoformat(scope.snapshot.ordered_at.local[:10]).isoweekday()
    except ValueError:
        return None


ORDER_FIELDS: Mapping[str, Field] = {
    "channel": Field("text", attrgetter("snapshot.channel")),
    "shop": Field("text", attrgetter("snapshot.shop")),
    "kind": Field("text", attrgetter("snapshot.kind"), frozenset({"normal", "presale", "counter"})),
    "status": Field("text", attrgetter("snapshot.status"), frozenset(get_args(Status))),
    "native_status": Field("text", attrgetter("snapshot.native_status")),
    "region": Field("text", attrgetter("snapshot.region")),
    "currency": Field("text", attrgetter("currency")),
    "payable": Field("money", attrgetter("amounts.payable")),
    "paid": Field("money", attrgetter("amounts.paid")),
    "goods": Field("money", attrgetter("amounts.goods")),
    "freight": Field("money", attrgetter("amounts.freight")),
    "discount": Field("money", attrgetter("amounts.discount")),
    "units": Field("number", lambda scope: sum(line.quantity for line in scope.lines)),
    "line_count": Field("number", lambda scope: len(scope.lines)),
    "tags": Field("words", attrgetter("tags")),
    "flaws": Field("words", attrgetter("facts.flaws"), frozenset(FLAWS)),
    "holds": Field("words", attrgetter("snapshot.holds")),
    "hour": Field("number", _hour, sure=False),
    "weekday": Field("number", _weekday, sure=False),
}
"""Names of the order."""

LINE_FIELDS: Mapping[str, Field] = {
    "sku": Field("text", attrgetter("line.sku")),
    "item": Field("text", attrgetter("line.item")),
    "name": Field("text", attrgetter("line.name")),
    "spec": Field("text", attrgetter("line.spec")),
    "quantity": Field("number", attrgetter("line.quantity")),
    "unit_price": Field("money", attrgetter("line.unit_price")),
    "amount": Field("money", attrgetter("line.amount")),
    "gift": Field("flag", attrgetter("line.gift")),
}
"""Names of a line."""


def attribute(of: Callable[[Any], Mapping[str, Any]], name: str) -> Run:
    """Return what finds a custom attribute: the one of the whole name, or else along its dots."""
    path = name.split(".")
    if len(path) == 1:
        return lambda scope: of(scope).get(name)

    def nested(scope: Scope) -> Any:
        value: Any = of(scope)
        if name in value:
            return value[name]
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    return nested


# --- comparing

_NUMBERS = frozenset({int, float, Decimal})
_TYPES: Mapping[Kind, frozenset[type]] = {
    "text": frozenset({str}),
    "number": _NUMBERS,
    "money": _NUMBERS,
    "flag": frozenset({bool}),
}


def compared(compare: Callable[[Any, Any], bool], left: Run, right: Run, kinds: tuple[Kind, Kind]) -> Run:
    """Return a comparison of two values, of which either may be missing or of another kind than is hoped for."""
    kind = kinds[0] if kinds[1] == "any" else kinds[1]
    if "any" not in kinds:

        def sound(scope: Scope) -> bool:
            one, two = left(scope), right(scope)
            return one is not None and two is not None and compare(one, two)

        return sound

    types = _TYPES.get(kind)

    def guarded(scope: Scope) -> bool:
        one, two = left(scope), right(scope)
        if types is None:
            fit = any(type(one) in each and type(two) in each for each in _TYPES.values())
        else:
            fit = type(one) in types and type(two) in types
        try:
            return fit and compare(one, two)
        except ArithmeticError:  # a decimal that is no number
            return False

    return guarded


_PLAIN = _NUMBERS | {str, bool}


def among(left: Run, values: frozenset[Any], *, wanted: bool) -> Run:
    """Return whether a value is (or is not) one of these; false where it is missing."""

    def run(scope: Scope) -> bool:
        value = left(scope)
        return type(value) in _PLAIN and (value in values) is wanted

    return run


def within(left: Run, right: Run, *, wanted: bool) -> Run:
    """Return whether a value is (or is not) in a list or a text; false where either is missing or neither."""

    def run(scope: Scope) -> bool:
        value, whole = left(scope), right(scope)
        if type(whole) is str:
            return type(value) is str and (value in whole) is wanted
        return isinstance(whole, list | tuple) and type(value) in _PLAIN and (value in whole) is wanted

    return run


def of_texts(check: Callable[[str, str], bool], left: Run, right: Run) -> Run:
    """Return whether something is true of two texts; false where either is none."""

    def run(scope: Scope) -> bool:
        one, two = left(scope), right(scope)
        return type(one) is str and type(two) is str and check(one, two)

    return run


def fits(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a whole text fits a pattern: `*` any text, `?` any character, `[ab]` one of these."""
    match = re.compile(translate(pattern)).match
    return lambda text: match(text) is not None


# --- reckoning


def reckoned(reckon: Callable[[Any, Any], Any], left: Run, right: Run) -> Run:
    """Return the result of two numbers; missing where either is none, or where there is no result."""

    def run(scope: Scope) -> Any:
        one, two = left(scope), right(scope)
        if type(one) not in _NUMBERS or type(two) not in _NUMBERS:
            return None
        try:
            return reckon(one, two)
        except (ArithmeticError, TypeError):  # too large, or a decimal and a binary fraction
            return None

    return run


def lowered(of: Run) -> Run:
    """Return a text in lower case; missing where it is none."""

    def run(scope: Scope) -> str | None:
        value = of(scope)
        return value.lower() if type(value) is str else None

    return run


_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


def as_number(of: Run) -> Run:
    """Return the number that a text says, or the number itself; missing where it says none."""

    def run(scope: Scope) -> Any:
        value = of(scope)
        if type(value) is str and (match := _NUMBER.fullmatch(value)) is not None:
            return float(value) if match[1] else int(value)
        return value if type(value) in _NUMBERS else None

    return run


# --- over lines


def any_line(holds: Run) -> Run:
    """Return whether the condition holds for a line."""

    def run(scope: Scope) -> bool:
        for line in scope.lines:
            scope.line = line
            if holds(scope):
                return True
        return False

    return run


def every_line(holds: Run) -> Run:
    """Return whether there are lines, and the condition holds for each."""

    def run(scope: Scope) -> bool:
        for line in scope.lines:
            scope.line = line
            if not holds(scope):
                return False
        return bool(scope.lines)

    return run


def lines_of(scope: Scope, holds: Run | None) -> list[Line]:
    """Return the lines for which the condition holds; all where there is none."""
    if holds is None:
        return scope.lines
    found = []
    for line in scope.lines:
        scope.line = line
        if holds(scope):
            found.append(line)
    return found


def units_of(holds: Run) -> Run:
    """Return how many units are on these lines."""
    return lambda scope: sum(line.quantity for line in lines_of(scope, holds))


def amount_of(holds: Run) -> Run:
    """Return what these lines come to."""
    return lambda scope: sum(line.amount for line in lines_of(scope, holds))


def count_of(holds: Run) -> Run:
    """Return how many of these lines there are."""
    return lambda scope: len(lines_of(scope, holds))
