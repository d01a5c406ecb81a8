"""What befalls the cell itself: mail that the broker lost, a broker that went back or was wiped."""

from collections.abc import Mapping, Sequence

import msgspec

from domain.decider import Command, Decider, DomainError, Event
from domain.order import EffectFailed, Effects, EffectSucceeded, RecordEffect, effects_after, reported


class NoteMailLost(Command, frozen=True):
    """The broker confirmed that these sequences are gone."""

    first: int
    last: int


class NoteBrokerReset(Command, frozen=True):
    """The mail stream is gone or not the one that was read: a new life of it begins behind `after`."""

    lost: str
    """Incarnation that was read before; "" where there was none."""
    begun: str
    after: int
    reason: str


class Tick(Command, frozen=True):
    """Time passed (simulated and historic runs): the message's observed time is the news."""


class MailLost(Event, frozen=True):
    """These sequences were in the mail and are gone; a reconciliation of the channels must refill them."""

    first: int
    last: int


class BrokerReset(Event, frozen=True):
    """Mail behind `after` of incarnation `lost` may be lost; a reconciliation of the channels must refill it."""

    lost: str
    begun: str
    after: int
    reason: str


class CellRefused(Event, frozen=True):
    """A message to the cell broke a rule; nothing else happened."""

    what: str
    rule: str
    reason: str


class CellEffectSucceeded(EffectSucceeded, frozen=True):
    """The outside took what we told it because of an event of the cell."""


class CellEffectFailed(EffectFailed, frozen=True):
    """The outside did not take what we told it because of an event of the cell."""


class WrongActor(DomainError):
    """The cell knows no such command."""


class CellState(msgspec.Struct, frozen=True, gc=False):
    """It counts, and knows which acts outside were reported."""

    lost: int = 0
    resets: int = 0
    effects: Effects = ()
    """How each act outside stands by its last report."""


_OF_CELL: Mapping[type[Event], type[Event]] = {
    EffectSucceeded: CellEffectSucceeded,
    EffectFailed: CellEffectFailed,
}


def decide(command: Command, state: CellState, now_ms: int = 0) -> Sequence[Event]:
    """Record it."""
    del now_ms
    match command:
        case NoteMailLost():
            return (MailLost(command.first, command.last),)
        case NoteBrokerReset():
            return (BrokerReset(command.lost, command.begun, command.after, command.reason),)
        case RecordEffect():
            return [_OF_CELL[type(each)](**msgspec.structs.asdict(each)) for each in reported(command, state.effects)]
        case Tick():
            return ()
    raise WrongActor(f"{type(command).__name__} is nothing that the cell itself could do")


def evolve(state: CellState, event: Event) -> CellState:
    """Return the state after the event."""
    match event:
        case MailLost():
            return msgspec.structs.replace(state, lost=state.lost + event.last - event.first + 1)
        case BrokerReset():
            return msgspec.structs.replace(state, resets=state.resets + 1)
        case EffectSucceeded() | EffectFailed():
            return msgspec.structs.replace(state, effects=effects_after(state.effects, event))
        case CellRefused():
            return state
    raise TypeError(f"not an event of the cell: {type(event).__name__}")


cell_actor = Decider(CellState(), decide, evolve)
