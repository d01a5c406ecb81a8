"""What people do at the shelves of a warehouse: count, move to another warehouse, set damaged goods apart.

Parts of the warehouse's actor, beside its ledger: they never take what is promised to an order, protected or damaged.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from domain.decider import Command, DomainError, Event
from domain.ids import BadId, warehouse_key
from domain.stock import (
    NONE,
    QUANTITY_MAX,
    BadQuantity,
    Floor,
    Ledger,
    Level,
    NotEnoughOnHand,
    Quantities,
    StockAdjusted,
    check_skus,
    covering,
    evolve,
    is_known,
    noted,
    some_lines,
)

COUNTED_MAX = 5_000
"""Most SKUs of one count."""
TOLD_MAX = 10
"""Most SKUs that one reason lists."""


# --- commands


class CountStock(Command, frozen=True):
    """Shelves were counted: `lines` are (SKU, units found), damaged ones among them. SKUs left out were not counted."""

    document: str
    lines: Quantities


class MoveStock(Command, frozen=True):
    """Goods go to another warehouse: all of these lines, or none."""

    document: str
    to: str
    """Code of the other warehouse."""
    lines: Quantities


class TakeMoved(Command, frozen=True):
    """In-turn: goods came from another warehouse."""

    document: str
    source: str
    """Its code."""
    lines: Quantities


class MarkDamaged(Command, frozen=True):
    """Available units were found damaged; below 0: damaged ones are good after all."""

    document: str
    sku: str
    delta: int
    reason: str


class ScrapDamaged(Command, frozen=True):
    """Damaged units were thrown away or sent back."""

    document: str
    sku: str
    quantity: int
    reason: str


class SetPicking(Command, frozen=True):
    """Say whether goods leave the warehouse only when all of them were scanned (`verified`), or as people say."""

    document: str
    verified: bool


# --- events


class StockCounted(Event, frozen=True):
    """Shelves were counted; the adjustments that follow from it come right behind."""

    document: str
    lines: Quantities
    """(SKU, units found)."""
    at_ms: int
    refused: tuple[tuple[str, int, int], ...] = ()
    """(SKU, units found, units that must be there) of what was not followed: more is promised, or set apart."""

    @property
    def reason(self) -> str:
        """What was not followed and what to do, for who counted."""
        if not self.refused:
            return ""
        lines = [
            f"{sku}: {found} counted, {least} promised, protected or damaged"
            for sku, found, least in self.refused[:TOLD_MAX]
        ]
        more = f", and {len(self.refused) - TOLD_MAX} more" if len(self.refused) > TOLD_MAX else ""
        return (
            f"{len(self.refused)} of {len(self.lines)} SKUs are left as they were: {'; '.join(lines)}{more}. "
            "Cancel or release what is promised, scrap what is gone of the damaged, protect less; then count them again"
        )


class StockMovedOut(Event, frozen=True):
    """Goods went to another warehouse."""

    document: str
    to: str
    """Its code."""
    lines: Quantities
    at_ms: int


class StockMovedIn(Event, frozen=True):
    """Goods came from another warehouse."""

    document: str
    source: str
    """Its code."""
    lines: Quantities
    at_ms: int


class StockDamaged(Event, frozen=True):
    """Units were set apart as damaged; below 0: they went back to the good ones."""

    document: str
    sku: str
    delta: int
    reason: str
    at_ms: int


class StockScrapped(Event, frozen=True):
    """Damaged units are gone: on hand and damaged fell alike."""

    document: str
    sku: str
    quantity: int
    reason: str
    at_ms: int


class PickingSet(Event, frozen=True):
    """It was set whether goods leave the warehouse only when all of them were scanned."""

    document: str
    verified: bool
    at_ms: int


# --- refusals


class BadCount(DomainError):
    """A count that cannot be: of nothing, of a SKU twice, of less than nothing."""


class BadWarehouse(DomainError):
    """The code names no warehouse."""


# --- what happened

_replace = msgspec.structs.replace


def _counted(state: Ledger, event: StockCounted) -> Ledger:
    levels = state.levels
    for sku, _ in event.lines:
        level = levels.get(sku, NONE)
        if not level.since_ms:
            levels = levels.set(sku, _replace(level, since_ms=event.at_ms))
    return noted(state, event.document, event.at_ms, levels)


def _moved_out(state: Ledger, event: StockMovedOut) -> Ledger:
    levels = state.levels
    for sku, units in event.lines:
        level = levels.get(sku, NONE)
        levels = levels.set(sku, _replace(level, on_hand=level.on_hand - units))
    return noted(state, event.document, event.at_ms, levels)


def _moved_in(state: Ledger, event: StockMovedIn) -> Ledger:
    # The other ledger has handled the document: a receipt of the same number here is another thing.
    levels = state.levels
    for sku, units in event.lines:
        level = levels.get(sku, NONE)
        since_ms = level.since_ms or event.at_ms
        levels = levels.set(sku, _replace(level, on_hand=level.on_hand + units, since_ms=since_ms))
    return _replace(state, levels=levels)


def _level_set(state: Ledger, event: Any, change: Callable[[Level], Level]) -> Ledger:
    level = change(state.levels.get(event.sku, NONE))
    return noted(state, event.document, event.at_ms, state.levels.set(event.sku, level))


def _picking_set(state: Ledger, event: PickingSet) -> Ledger:
    floor: Floor = _replace(state.floor, verified=event.verified)
    return _replace(noted(state, event.document, event.at_ms, state.levels), floor=floor)


EVOLVE: Mapping[type[Event], Callable[[Ledger, Any], Ledger]] = {
    StockCounted: _counted,
    StockMovedOut: _moved_out,
    StockMovedIn: _moved_in,
    StockDamaged: lambda state, event: _level_set(
        state, event, lambda level: _replace(level, damaged=level.damaged + event.delta)
    ),
    StockScrapped: lambda state, event: _level_set(
        state,
        event,
        lambda level: _replace(level, on_hand=level.on_hand - event.quantity, damaged=level.damaged - event.quantity),
    ),
    PickingSet: _picking_set,
}


# --- decisions


def _covers(state: Ledger, happened: Event) -> list[Event]:
    """Return what else follows where goods became available: presales that wait for them get them."""
    return [*covering(EVOLVE[type(happened)](state, happened))] if state.promises else []


def _count(command: CountStock, state: Ledger, now_ms: int) -> Sequence[Event]:
    if is_known(command.document, state):
        return ()
    if not 0 < len(command.lines) <= COUNTED_MAX:
        raise BadCount(f"a count is of 1 to {COUNTED_MAX:,} SKUs, not {len(command.lines):,}")
    refused: list[tuple[str, int, int]] = []
    adjusted: list[Event] = []
    seen: set[str] = set()
    for sku, found in command.lines:
        if not sku or sku in seen or not 0 <= found <= QUANTITY_MAX:
            raise BadCount(
                f"{found} units of SKU {sku[:40]!r}: a count names each SKU once, with 0 to {QUANTITY_MAX:,} units"
            )
        seen.add(sku)
        check_skus((sku,), state)
        level = state.levels.get(sku, NONE)
        least = level.on_hand - level.available
        if found < least:
            refused.append((sku, found, least))
        elif found != level.on_hand:
            adjusted.append(StockAdjusted(command.document, sku, found - level.on_hand, "count", now_ms))
    counted = StockCounted(command.document, command.lines, now_ms, tuple(refused))
    if not state.promises:
        return (counted, *adjusted)
    after = _counted(state, counted)
    for each in adjusted:
        after = evolve(after, each)
    return (counted, *adjusted, *covering(after))


def _move(command: MoveStock, state: Ledger, now_ms: int) -> Sequence[Event]:
    if is_known(command.document, state):
        return ()
    try:
        warehouse_key(command.to)
    except BadId as error:
        raise BadWarehouse(str(error)) from error
    lines = some_lines(command.lines)
    short = [
        f"{sku}: {units} to move, {available} available"
        for sku, units in lines
        if (available := state.levels.get(sku, NONE).available) < units
    ]
    if short:
        more = f", and {len(short) - TOLD_MAX} more" if len(short) > TOLD_MAX else ""
        raise NotEnoughOnHand(f"nothing was moved: {'; '.join(short[:TOLD_MAX])}{more}. Move less, or release first")
    return (StockMovedOut(command.document, command.to, lines, now_ms),)


def _take_moved(command: TakeMoved, state: Ledger, now_ms: int) -> Sequence[Event]:
    moved = StockMovedIn(command.document, command.source, command.lines, now_ms)
    return (moved, *_covers(state, moved))


def _mark_damaged(command: MarkDamaged, state: Ledger, now_ms: int) -> Sequence[Event]:
    if is_known(command.document, state):
        return ()
    level = state.levels.get(command.sku, NONE)
    if not command.sku or command.delta == 0 or abs(command.delta) > QUANTITY_MAX:
        raise BadQuantity(f"{command.delta} damaged units of SKU {command.sku[:40]!r}")
    if not -level.damaged <= command.delta <= level.available:
        raise NotEnoughOnHand(
            f"{command.sku}: {command.delta:+} damaged; {level.available} are available, {level.damaged} damaged. "
            "Cancel or release what is promised first"
        )
    damaged = StockDamaged(command.document, command.sku, command.delta, command.reason, now_ms)
    return (damaged, *(_covers(state, damaged) if command.delta < 0 else ()))


def _scrap(command: ScrapDamaged, state: Ledger, now_ms: int) -> Sequence[Event]:
    if is_known(command.document, state):
        return ()
    level = state.levels.get(command.sku, NONE)
    if not 0 < command.quantity <= level.damaged:
        raise NotEnoughOnHand(
            f"{command.sku}: {command.quantity} to scrap, {level.damaged} damaged; say first what is damaged"
        )
    return (StockScrapped(command.document, command.sku, command.quantity, command.reason, now_ms),)


def _set_picking(command: SetPicking, state: Ledger, now_ms: int) -> Sequence[Event]:
    if is_known(command.document, state) or command.verified is state.floor.verified:
        return ()
    return (PickingSet(command.document, command.verified, now_ms),)


DECIDE: Mapping[type[Command], Callable[[Any, Ledger, int], Sequence[Event]]] = {
    CountStock: _count,
    MoveStock: _move,
    TakeMoved: _take_moved,
    MarkDamaged: _mark_damaged,
    ScrapDamaged: _scrap,
    SetPicking: _set_picking,
}
