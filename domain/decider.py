"""The shape every aggregate has: commands in, events out, state is the fold of the events."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Base of all events: something that happened, in the business's own words. Their tag is in the catalogue."""


class Command(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Base of all commands: what somebody wants of one actor."""


class DomainError(Exception):
    """A rule forbids it. Caught in the turn, recorded once as the actor's refusal, answered to who asked."""

    def __init__(self, reason: str) -> None:
        """Keep the reason, for people."""
        super().__init__(reason)
        self.reason = reason

    @property
    def rule(self) -> str:
        """Name of the broken rule."""
        return type(self).__name__


class RefusedBefore(DomainError):
    """This very message was refused before, for this reason: it is answered alike, and recorded no second time."""


class Decider(NamedTuple):
    """Pure functions that make up one kind of actor."""

    initial: Any
    decide: Callable[[Any, Any, int], Sequence[Event]]
    """`decide(command, state, now_ms)`: the events that follow, none if it is done already. Raises DomainError.

    `now_ms` is the message's observed time, UTC ms: the only clock a decision knows."""
    evolve: Callable[[Any, Any], Any]
    """`evolve(state, event)`: the state after the event. Never refuses: what happened, happened."""


class Worked(list[Event]):
    """Events of a decision together with the state they lead to, where the decision worked that out on its way."""

    __slots__ = ("state",)

    def __init__(self, state: Any) -> None:
        """Begin without events, at `state`."""
        self.state = state


def fold(decider: Decider, events: Sequence[Event], state: Any = None) -> Any:
    """Return the state after these events, from `state` or from the beginning."""
    current = decider.initial if state is None else state
    for event in events:
        current = decider.evolve(current, event)
    return current
