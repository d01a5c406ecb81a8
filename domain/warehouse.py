"""A warehouse: its ledger, what its people do at the shelves, and when it asks for goods. One actor, one stream."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain import reorder, shelf, stock
from domain.decider import Command, Decider, Event, Worked
from domain.stock import Ledger

EVOLVE: Mapping[type[Event], Callable[[Ledger, Any], Ledger]] = {**stock.EVOLVE, **shelf.EVOLVE, **reorder.EVOLVE}
_OWN: Mapping[type[Command], Callable[[Any, Ledger, int], Sequence[Event]]] = {**shelf.DECIDE, **reorder.DECIDE}


def evolve(state: Ledger, event: Event) -> Ledger:
    """Return the warehouse after the event."""
    return EVOLVE[type(event)](state, event)


def decide(command: Command, state: Ledger, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows from a command; `now_ms` is the message's observed time.

    Raises:
        DomainError: it breaks a rule.
    """
    kind = type(command)
    own = _OWN.get(kind)
    events = stock.decide(command, state, now_ms) if own is None else own(command, state, now_ms)
    if not events or not (state.floor.reorder or kind is reorder.SetReorderLevel):
        return events
    worked = Worked(state)
    worked.extend(events)
    after = state
    for event in events:
        after = evolve(after, event)
    for signal in reorder.signals(events, after):
        worked.append(signal)
        after = evolve(after, signal)
    worked.state = after
    return worked


warehouse = Decider(Ledger(), decide, evolve)
