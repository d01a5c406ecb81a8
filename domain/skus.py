"""Which SKU a channel's item is: one table for each channel and shop, and the orders that wait for an entry in it.

An order's line that names no SKU is looked up here in the turn that takes it in. What is not found stops the order; it
is noted here, and gets its SKU in the turn that enters the item.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import immutables
import msgspec

from domain.canonical import Line, Snapshot
from domain.decider import Command, Decider, DomainError, Event
from domain.handled import Handled
from domain.order import Order, TimerCleared, TimerDue, TimerSet

PAIRS_MAX = 2_000
"""Most items of one message."""
TEXT_MAX = 200
"""Longest item or SKU, in characters."""
RELEASE_MAX = 1_000
"""Most waiting orders that get their SKUs in one turn; the others follow by a timer that is due at once."""
RELEASE_TIMER = "release"

Pairs = tuple[tuple[str, str], ...]


class SetSkus(Command, frozen=True):
    """Enter items, or give entered ones another SKU."""

    command_id: str
    skus: Pairs
    """(item, SKU)."""
    reason: str = ""


class RemoveSkus(Command, frozen=True):
    """Take items out of the table. Orders keep the SKUs that they were given."""

    command_id: str
    items: tuple[str, ...]
    reason: str = ""


class AwaitSkus(Command, frozen=True):
    """In-turn: an order has lines whose items are not in the table; without items: it waits no longer."""

    order: str
    items: Pairs
    """(item, name of the goods)."""


class SkusMapped(Event, frozen=True):
    """Items were entered."""

    skus: Pairs
    """(item, SKU), as far as they are new."""
    command: str
    reason: str = ""
    orders: tuple[str, ...] = ()
    """Keys of orders that waited for them and get them in the same turn."""


class SkusReleased(Event, frozen=True):
    """More orders that waited get the SKUs that were entered meanwhile."""

    orders: tuple[str, ...]


class SkusRemoved(Event, frozen=True):
    """Items were taken out."""

    items: tuple[str, ...]
    command: str
    reason: str = ""


class SkusUnmapped(Event, frozen=True):
    """An order waits for items to be entered."""

    order: str
    items: Pairs
    """(item, name of the goods)."""


class SkusSettled(Event, frozen=True):
    """An order waits no longer: it was cancelled, or its channel names the SKUs by now."""

    order: str


class SkusRefused(Event, frozen=True):
    """A message broke a rule; nothing else happened."""

    what: str
    rule: str
    reason: str
    command: str = ""


class BadEntry(DomainError):
    """An item or SKU that is empty, too long or contradicts another one of the same message."""


class NotMapped(DomainError):
    """The table has no such item."""


class WrongActor(DomainError):
    """A table of SKUs knows no such command."""


class Waits(msgspec.Struct, frozen=True, gc=False):
    """What an order waits for, and when its turn is."""

    number: int
    items: Pairs


class Skus(msgspec.Struct, frozen=True):
    """A channel's and shop's table."""

    table: "immutables.Map[str, str]" = immutables.Map()
    """Item → SKU."""
    waiting: "immutables.Map[str, Waits]" = immutables.Map()
    """Order → what it waits for."""
    count: int = 0
    """How many orders have waited."""
    handled: Handled = Handled()
    timers: tuple[tuple[str, int], ...] = ()
    """(id, due UTC ms) of the open ones."""


_replace = msgspec.structs.replace


def fill(snapshot: Snapshot, known: Order, table: Mapping[str, str]) -> tuple[Snapshot, tuple[str, ...]]:
    """Return a channel's view with the SKUs that the channel does not name, and the ids of the lines that got theirs.

    A line that has left keeps the SKU it was given; any other gets what the table says now, or else the one it has.
    """
    given = {line.id: line for line in known.lines if line.id in known.mapped}
    lines = [_filled(line, given.get(line.id), known, table) for line in snapshot.lines]
    mapped = tuple(new.id for new, line in zip(lines, snapshot.lines, strict=True) if new is not line)
    return (_replace(snapshot, lines=tuple(lines)), mapped) if mapped else (snapshot, ())


def _filled(line: Line, before: Line | None, known: Order, table: Mapping[str, str]) -> Line:
    if line.sku:
        return line
    given = before.sku if before is not None and before.item == line.item else ""
    sku = (given if line.id in known.shipped else "") or table.get(line.item, "") or given
    return _replace(line, sku=sku) if sku else line


def known_by_now(items: Pairs, table: Mapping[str, str]) -> Pairs:
    """Return (item, SKU) of what an order waits for, as far as the table has it."""
    return tuple((item, table[item]) for item, _ in items if item in table)


# --- decisions


def _set(command: SetSkus, state: Skus, now_ms: int) -> Sequence[Event]:
    wanted: dict[str, str] = {}
    if not command.skus or len(command.skus) > PAIRS_MAX:
        raise BadEntry(f"a message enters 1 to {PAIRS_MAX:,} items, not {len(command.skus):,}")
    for item, sku in command.skus:
        for what, text in (("item", item), ("SKU", sku)):
            if not text or text != text.strip() or len(text) > TEXT_MAX:
                raise BadEntry(f"{text[:40]!r} is no {what}: it has 1 to {TEXT_MAX} characters, no blanks around it")
        if wanted.setdefault(item, sku) != sku:
            raise BadEntry(f"the item {item!r} has two SKUs: {wanted[item]!r} and {sku!r}")
    fresh = tuple((item, sku) for item, sku in wanted.items() if state.table.get(item) != sku)
    if not fresh:
        return ()
    entered = state.table.update(dict(fresh))
    orders, more = _served(state, entered)
    events: list[Event] = [SkusMapped(fresh, command.command_id, command.reason, orders)]
    if more and not state.timers:
        events.append(TimerSet(RELEASE_TIMER, now_ms))
    return events


def _served(state: Skus, table: Mapping[str, str]) -> tuple[tuple[str, ...], bool]:
    """Return the waiting orders that the table can serve, first come first served, and whether there are more."""
    served = sorted(
        (waits.number, order) for order, waits in state.waiting.items() if any(item in table for item, _ in waits.items)
    )
    return tuple(order for _, order in served[:RELEASE_MAX]), len(served) > RELEASE_MAX


def _remove(command: RemoveSkus, state: Skus, now_ms: int) -> Sequence[Event]:
    del now_ms
    items = tuple(item for item in dict.fromkeys(command.items) if item in state.table)
    if not items:
        raise NotMapped(f"the table has none of these items: {', '.join(command.items)[:200]}")
    return (SkusRemoved(items, command.command_id, command.reason),)


def _await(command: AwaitSkus, state: Skus, now_ms: int) -> Sequence[Event]:
    del now_ms
    known = state.waiting.get(command.order)
    if not command.items:
        return (SkusSettled(command.order),) if known is not None else ()
    noted = () if known is not None and known.items == command.items else (SkusUnmapped(command.order, command.items),)
    if any(item in state.table for item, _ in command.items):
        return (*noted, SkusReleased((command.order,)))
    return noted


def _timer_due(command: TimerDue, state: Skus, now_ms: int) -> Sequence[Event]:
    if (command.timer, command.due_ms) not in state.timers:
        return ()
    events: list[Event] = [TimerCleared(command.timer, fired=True)]
    orders, more = _served(state, state.table)
    if orders:
        events.append(SkusReleased(orders))
    if more:
        events.append(TimerSet(RELEASE_TIMER, now_ms))
    return events


DECIDE: Mapping[type[Command], Callable[[Any, Skus, int], Sequence[Event]]] = {
    SetSkus: _set,
    RemoveSkus: _remove,
    AwaitSkus: _await,
    TimerDue: _timer_due,
}


def decide(command: Command, state: Skus, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows; nothing for a command that was handled, or for what is so already.

    Raises:
        RefusedBefore: it was refused when it came first.
        DomainError: it breaks a rule.
    """
    command_id = getattr(command, "command_id", None)
    if command_id is not None and state.handled.has(command_id):
        return ()
    handler = DECIDE.get(type(command))
    if handler is None:
        raise WrongActor(f"{type(command).__name__} is nothing that a table of SKUs could do")
    return handler(command, state, now_ms)


# --- what happened


def _mapped(state: Skus, event: SkusMapped) -> Skus:
    table = state.table.update(dict(event.skus))
    return _without(_replace(state, table=table, handled=state.handled.with_(event.command)), event.orders)


def _removed(state: Skus, event: SkusRemoved) -> Skus:
    table = state.table
    for item in event.items:
        if item in table:
            table = table.delete(item)
    return _replace(state, table=table, handled=state.handled.with_(event.command))


def _unmapped(state: Skus, event: SkusUnmapped) -> Skus:
    known = state.waiting.get(event.order)
    count = state.count if known is not None else state.count + 1
    number = known.number if known is not None else count
    return _replace(state, waiting=state.waiting.set(event.order, Waits(number, event.items)), count=count)


def _without(state: Skus, orders: Sequence[str]) -> Skus:
    waiting = state.waiting
    for order in orders:
        if order in waiting:
            waiting = waiting.delete(order)
    return _replace(state, waiting=waiting)


EVOLVE: Mapping[type[Event], Callable[[Skus, Any], Skus]] = {
    SkusMapped: _mapped,
    SkusReleased: lambda state, event: _without(state, event.orders),
    SkusRemoved: _removed,
    SkusUnmapped: _unmapped,
    SkusSettled: lambda state, event: _without(state, (event.order,)),
    SkusRefused: lambda state, event: _replace(state, handled=state.handled.with_(event.command, event.reason)),
    TimerSet: lambda state, event: _replace(state, timers=(*state.timers, (event.timer, event.due_ms))),
    TimerCleared: lambda state, event: _replace(
        state, timers=tuple(pair for pair in state.timers if pair[0] != event.timer)
    ),
}


def evolve(state: Skus, event: Event) -> Skus:
    """Return the state after the event."""
    return EVOLVE[type(event)](state, event)


skus = Decider(Skus(), decide, evolve)
