"""Which pick lists are picked next, together or alone, and in which order their goods are fetched.

A *wave* is several pick lists that one walk through the shelves serves. An `express` list is a walk of its own, at
once: it neither waits for a wave nor makes one wait for its packing.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

EXPRESS = "express"
_NUMBERS = re.compile(r"(\d+)")


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """A pick list that waits, as far as it is asked here."""

    pick_list: str
    priority: str
    lines: tuple[tuple[str, int], ...]
    """(SKU, units) still to be fetched."""


class Stop(msgspec.Struct, frozen=True, gc=False):
    """A stop of a walk: one SKU, and which lists want how many of it."""

    sku: str
    units: int
    lists: tuple[tuple[str, int], ...]
    """(pick list, units)."""


def next_wave(waiting: Sequence[Waiting], size: int) -> list[Waiting]:
    """Return the lists to be picked now, of those that wait in this order: the first express one, or up to `size`."""
    express = next((each for each in waiting if each.priority == EXPRESS), None)
    return [express] if express is not None else list(waiting[:size])


def walk(lists: Iterable[Waiting]) -> list[Stop]:
    """Return the stops that serve these lists, each SKU once, by SKU: numbers in it count as numbers."""
    wanted: dict[str, list[tuple[str, int]]] = {}
    for each in lists:
        for sku, units in each.lines:
            wanted.setdefault(sku, []).append((each.pick_list, units))
    return [
        Stop(sku, sum(units for _, units in shares), tuple(shares))
        for sku, shares in sorted(wanted.items(), key=lambda pair: _natural(pair[0]))
    ]


def _natural(sku: str) -> list[tuple[int, Any]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in _NUMBERS.split(sku) if part]
