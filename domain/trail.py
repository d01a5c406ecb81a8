"""Trails: what a buyer has ordered of late, to notice an order that was placed twice. One stream for each buyer.

Only kept while the rule book asks for it (`[[duplicate]]`); each order that comes in notes itself in its own turn.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from domain.canonical import Snapshot
from domain.decider import Command, Decider, DomainError, Event
from domain.erasure import Forget, TrailForgotten
from domain.time_units import DAY_MS

RECENT_MAX = 50
"""How many of a buyer's orders are looked through for one of the same goods."""
RECENT_MS = 7 * DAY_MS
"""How long an order may be taken for a repeated one, at most."""


class NoteOrder(Command, frozen=True):
    """In-turn: an order of the buyer came in."""

    order: str
    goods: str
    """Fingerprint of what was ordered (`goods_of`)."""
    ordered_ms: int
    within_ms: int
    """An order of the same goods within this time is suspected to be the same one."""


class OrderNoted(Event, frozen=True):
    """An order of the buyer came in."""

    order: str
    goods: str
    ordered_ms: int


class DuplicateSuspected(Event, frozen=True):
    """The buyer ordered the same goods twice within a short time."""

    order: str
    of: str
    """The other order's key."""
    apart_ms: int


class TrailRefused(Event, frozen=True):
    """A message broke a rule; nothing else happened."""

    what: str
    rule: str
    reason: str


class WrongActor(DomainError):
    """A trail knows no such command."""


class Noted(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An order of late."""

    order: str
    goods: str
    ordered_ms: int


class Trail(msgspec.Struct, frozen=True, gc=False):
    """State of a buyer's trail."""

    recent: tuple[Noted, ...] = ()
    """In the order in which they came in."""


def goods_of(snapshot: Snapshot) -> str:
    """Return the fingerprint of what an order is for: which goods, and how many units of each."""
    units: dict[str, int] = {}
    for line in snapshot.lines:
        units[line.sku or line.item] = units.get(line.sku or line.item, 0) + line.quantity
    return blake2b(msgspec.json.encode(sorted(units.items())), digest_size=8).hexdigest()


def decide(command: Command, state: Trail, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows; nothing for an order that was noted.

    Raises:
        DomainError: it breaks a rule.
    """
    del now_ms
    if isinstance(command, Forget):
        return (TrailForgotten(command.request),) if state.recent else ()
    if not isinstance(command, NoteOrder):
        raise WrongActor(f"{type(command).__name__} is nothing that a buyer's trail could do")
    if any(each.order == command.order for each in state.recent):
        return ()
    noted = OrderNoted(command.order, command.goods, command.ordered_ms)
    for each in reversed(state.recent):
        apart_ms = abs(command.ordered_ms - each.ordered_ms)
        if each.goods == command.goods and apart_ms <= command.within_ms:
            return (noted, DuplicateSuspected(command.order, each.order, apart_ms))
    return (noted,)


def _noted(state: Trail, event: OrderNoted) -> Trail:
    fresh = Noted(event.order, event.goods, event.ordered_ms)
    recent = [each for each in (*state.recent, fresh) if event.ordered_ms - each.ordered_ms <= RECENT_MS]
    return Trail(tuple(recent[-RECENT_MAX:]))


EVOLVE: Mapping[type[Event], Callable[[Trail, Any], Trail]] = {
    OrderNoted: _noted,
    DuplicateSuspected: lambda state, _: state,
    TrailForgotten: lambda _, __: Trail(),
    TrailRefused: lambda state, _: state,
}


def evolve(state: Trail, event: Event) -> Trail:
    """Return the state after the event."""
    return EVOLVE[type(event)](state, event)


trail = Decider(Trail(), decide, evolve)
