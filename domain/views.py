"""Views: whether what people see, and what the channels say, is what the log says. One stream for the cell.

An order has one state. A self-check folds orders from the log again, looks at every view of them, and leaves its result
here: how many orders it looked at, and which of them someone could see differently.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from domain.decider import Command, Decider, DomainError, Event

DIFFER_MAX = 200
"""Most differences that a record names; the rest is counted."""
REMEMBERED_MAX = 1_000
COUNT_MAX = 10**15
"""No log has more events, orders or rows; what counts more has miscounted, and no database could hold it."""


class Differing(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A view that does not show what the log says."""

    view: str
    """Table of a read model, or `channel`."""
    row: str
    """Its primary key, for an order the order's key."""
    what: str
    """Names of the columns that differ, `missing`, `surplus`, or the two states."""


class RecordCheck(Command, frozen=True):
    """Orders were folded from the log again and held against every view of them."""

    command_id: str
    orders: int
    rows: int
    differing_orders: int
    differ: tuple[Differing, ...]
    """Those that are named."""
    position: int
    differing: int = 0
    """How many there are, where there are more than are named."""


class ViewsCompared(Event, frozen=True):
    """The views were held against the log. Nothing was put right by it."""

    orders: int
    """Orders that were looked at."""
    rows: int
    """Rows of read models that were compared."""
    differing_orders: int
    """Orders of which any view shows something else; the figure is to be 0."""
    position: int
    """Of the log, as of which it was looked at."""
    command: str
    differ: tuple[Differing, ...] = ()
    """The first of them."""
    differing: int = 0
    """How many rows and states differ, in all."""


class ViewsRefused(Event, frozen=True):
    """A message broke a rule; nothing else happened."""

    what: str
    rule: str
    reason: str


class WrongActor(DomainError):
    """Views know no such command."""


class BadCheck(DomainError):
    """A check that counts less than nothing, or more than there can be."""


class Views(msgspec.Struct, frozen=True, gc=False):
    """State: which checks were recorded, the last ones."""

    commands: tuple[str, ...] = ()


def decide(command: Command, state: Views, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows; nothing for a check that is recorded.

    Raises:
        DomainError: it breaks a rule.
    """
    del now_ms
    if not isinstance(command, RecordCheck):
        raise WrongActor(f"{type(command).__name__} is nothing that could be recorded of views")
    if command.command_id in state.commands:
        return ()
    counts = (command.orders, command.rows, command.differing_orders, command.position, command.differing)
    if not all(0 <= count <= COUNT_MAX for count in counts):
        raise BadCheck(f"a check counts from 0 to {COUNT_MAX:,} orders, rows and events")
    return (
        ViewsCompared(
            command.orders,
            command.rows,
            command.differing_orders,
            command.position,
            command.command_id,
            command.differ[:DIFFER_MAX],
            max(command.differing, len(command.differ)),
        ),
    )


EVOLVE: Mapping[type[Event], Callable[[Views, Any], Views]] = {
    ViewsCompared: lambda state, event: Views((*state.commands, event.command)[-REMEMBERED_MAX:]),
    ViewsRefused: lambda state, _: state,
}


def evolve(state: Views, event: Event) -> Views:
    """Return the state after the event."""
    return EVOLVE[type(event)](state, event)


views = Decider(Views(), decide, evolve)
