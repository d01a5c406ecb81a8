"""What forgetting a person means for each actor that holds something of him: an in-turn command, and what it records.

The personal blocks themselves stay where they are, so that every hash still holds; they cannot be opened any more once
the keys are destroyed (`domain.privacy`). What is recorded here says that from this event on they count as gone.
"""

from domain.decider import Command, DomainError, Event


class Forget(Command, frozen=True):
    """In-turn: nothing of the person is to be known here any more."""

    request: str
    """Id of the request."""
    buyer: str = ""
    """Who, where an actor knows several."""


class AwaitForget(Command, frozen=True):
    """In-turn: the person is to be forgotten as soon as everything of him is finished."""

    request: str


class StopAwaiting(Command, frozen=True):
    """In-turn: the request was withdrawn."""

    request: str


class DropMessage(Command, frozen=True):
    """In-turn: a channel's message cannot be followed now, and nothing of it may be kept until it can."""


class OrderForgotten(Event, frozen=True):
    """The person of the order is forgotten: its personal blocks count as erased, and none is taken in again."""

    request: str


class OrderForgettingAwaited(Event, frozen=True):
    """The person of the order is to be forgotten when it and his others are finished; each step of it is looked at."""

    request: str


class OrderForgettingWithdrawn(Event, frozen=True):
    """The person of the order is not to be forgotten by this request any more."""

    request: str


class TrailForgotten(Event, frozen=True):
    """What a buyer had ordered of late is forgotten."""

    request: str


class BuyerForgotten(Event, frozen=True):
    """What was agreed with a buyer is forgotten."""

    buyer: str
    request: str


class OrderIsForgotten(DomainError):
    """The order's person was forgotten: nothing can be written about him again."""
