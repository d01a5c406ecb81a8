"""When a SKU is to be bought again: told once when too little of it is available, and once when there is enough again.

Whatever moves goods may make them too few, so the signals are worked out behind every decision of the warehouse, from
the levels before and after.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from domain.decider import Command, Event
from domain.stock import NONE, QUANTITY_MAX, BadQuantity, Floor, Ledger, Reorder, check_skus, is_known, noted


class SetReorderLevel(Command, frozen=True):
    """Say from which level on a SKU is to be bought again."""

    document: str
    sku: str
    level: int
    """Fewer units available than this are too few; 0 = never told."""
    target: int
    """So many are wanted then: what lacks is the quantity to order."""


class ReorderLevelSet(Event, frozen=True):
    """It was set from which level on a SKU is to be bought again; an open signal of it is over."""

    document: str
    sku: str
    level: int
    """Fewer units available than this are too few; 0 = never told."""
    target: int
    at_ms: int


class ReorderSignalled(Event, frozen=True):
    """Too little of a SKU is available: it is to be bought."""

    sku: str
    available: int
    level: int
    quantity: int
    """Units to order."""


class ReorderCleared(Event, frozen=True):
    """Enough of a SKU is available again."""

    sku: str
    available: int


def _level_set(state: Ledger, event: ReorderLevelSet) -> Ledger:
    entries = state.floor.reorder
    if event.level:
        entries = entries.set(event.sku, Reorder(event.level, event.target))
    elif event.sku in entries:
        entries = entries.delete(event.sku)
    floor = Floor(state.floor.verified, entries)
    return _replace(noted(state, event.document, event.at_ms, state.levels), floor=floor)


def _told(state: Ledger, event: ReorderSignalled | ReorderCleared) -> Ledger:
    entry = state.floor.reorder.get(event.sku)
    if entry is None:
        return state
    told = Reorder(entry.level, entry.target, isinstance(event, ReorderSignalled))
    return _replace(state, floor=Floor(state.floor.verified, state.floor.reorder.set(event.sku, told)))


_replace = msgspec.structs.replace
EVOLVE: Mapping[type[Event], Callable[[Ledger, Any], Ledger]] = {
    ReorderLevelSet: _level_set,
    ReorderSignalled: _told,
    ReorderCleared: _told,
}


def _set(command: SetReorderLevel, state: Ledger, now_ms: int) -> Sequence[Event]:
    if is_known(command.document, state):
        return ()
    level, target = command.level, command.target
    if not command.sku or not 0 <= level <= QUANTITY_MAX or not level <= target <= QUANTITY_MAX:
        raise BadQuantity(
            f"SKU {command.sku[:40]!r}, level {level}, target {target}: the target is not below the level, and both "
            f"are from 0 to {QUANTITY_MAX:,}"
        )
    check_skus((command.sku,), state)
    return (ReorderLevelSet(command.document, command.sku, level, target, now_ms),)


DECIDE: Mapping[type[Command], Callable[[Any, Ledger, int], Sequence[Event]]] = {SetReorderLevel: _set}


def signals(events: Sequence[Event], after: Ledger) -> list[ReorderSignalled | ReorderCleared]:
    """Return what is to be told of the SKUs that these events are of, by the ledger after them."""
    told: list[ReorderSignalled | ReorderCleared] = []
    for sku in dict.fromkeys(sku for event in events for sku in _skus(event)):
        entry = after.floor.reorder.get(sku)
        if entry is None:
            continue
        available = after.levels.get(sku, NONE).available
        if available < entry.level and not entry.signalled:
            told.append(ReorderSignalled(sku, available, entry.level, entry.target - available))
        elif available >= entry.level and entry.signalled:
            told.append(ReorderCleared(sku, available))
    return told


def _skus(event: Event) -> list[str]:
    sku = getattr(event, "sku", "")
    return [sku] if sku else [each for each, _ in getattr(event, "lines", ())]
