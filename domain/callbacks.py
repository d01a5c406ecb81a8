"""What the core asks of carriers' track services and of payment services: ask to be told, and understand what is told.

Their calls are no channel's documents: each becomes commands of the orders it is about. Nothing here does anything;
`adapters/carriers/` and `adapters/payments/` implement it.
"""

from typing import Literal, NamedTuple, Protocol

import msgspec

from domain.decider import Command
from domain.ids import intake_key
from domain.mail import AsideReport
from domain.platforms import PushAnswer, PushRequest


class Told(NamedTuple):
    """A genuine call."""

    mails: tuple[tuple[str, Command], ...]
    """(key of the actor, command), in their order. A call that means nothing for an order is kept as what came in
    beside orders: see `aside`."""
    answer: PushAnswer
    """Given once all of it is committed."""


def aside(
    channel: str, shop: str, kind: Literal["ignored", "refused"], reason: str, raw: bytes
) -> tuple[tuple[str, Command], ...]:
    """Return the mail that keeps a genuine call of which no command can be made, with its bytes (sealed)."""
    return ((intake_key(channel, shop), AsideReport(channel, shop, kind, reason, raw)),)


class Called(Protocol):
    """Tells a genuine call of a service from any other request. Pure: same request and secrets, same answer."""

    def call(self, request: PushRequest, place: str) -> Told:
        """Verify and understand a call.

        Args:
            request: as it came.
            place: what stands behind the connection's name in the address; a track service is given an order's key
                there, a payment service nothing.

        Raises:
            NotGenuine: it must be refused with 401 and leave no trace but a counter.
            MissingSecret: a secret is not there.
        """
        ...

    def refusal(self, status: int, reason: str) -> PushAnswer:
        """Return what the service wants to hear where its call was not taken; it then comes again."""
        ...


class Subscription(msgspec.Struct, frozen=True, gc=False):
    """A parcel that a track service is asked to follow."""

    order: str
    """Key of the order."""
    carrier: str
    """Our code of it."""
    tracking: str


class Subscriber(Protocol):
    """A track service that can be asked."""

    def knows(self, carrier: str) -> bool:
        """Whether it can follow parcels of a carrier, by our code of it."""
        ...

    async def subscribe(self, wanted: Subscription) -> str:
        """Ask it to tell of a parcel from now on; return its reference, "" where it gives none.

        Asking twice is harmless: what is followed already counts as success.

        Raises:
            PlatformError: see its kinds.
        """
        ...

    async def check(self) -> str:
        """Try address and key without following anything; return what to tell a person.

        Raises:
            PlatformError: see its kinds.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
