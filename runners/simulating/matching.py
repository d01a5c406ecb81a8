"""Which order a cancellation means: a line of an earlier order of the same customer with that SKU, the latest first."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec


class Wanted(NamedTuple):
    """One line of a cancellation."""

    sku: str
    quantity: int


class Found(NamedTuple):
    """The line of an order that a cancellation's line takes back."""

    order: str
    """Key."""
    line: str
    quantity: int


class _Line(msgspec.Struct, gc=False):
    order: str
    line: str
    left: int


class Matcher:
    """Remembers the lines that a later cancellation may mean. Only pairs that some cancellation names are kept."""

    def __init__(self, pairs: Collection[tuple[int, str]]) -> None:
        """Take the (customer, SKU) pairs that cancellations of the file name."""
        self._lines: dict[tuple[int, str], list[_Line]] = {pair: [] for pair in pairs}

    def sold(self, customer: int, sku: str, quantity: int, order: str, line: str) -> None:
        """Note a line of an order; lines come in the order of time."""
        lines = self._lines.get((customer, sku))
        if lines is not None:
            lines.append(_Line(order, line, quantity))

    def match(self, customer: int, wanted: Iterable[Wanted]) -> tuple[list[Found], list[Wanted]]:
        """Return what each line takes back, and the lines for which there is none with enough left."""
        found, unmatched = [], []
        for each in wanted:
            lines = self._lines.get((customer, each.sku), ())
            line = next((line for line in reversed(lines) if line.left >= each.quantity), None)
            if line is None:
                unmatched.append(each)
            else:
                line.left -= each.quantity
                found.append(Found(line.order, line.line, each.quantity))
        return found, unmatched
