"""What the gateway asks of the cell behind it: take this in, show that, say how things stand."""

from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from domain.platforms import Receiver


class Busy(Exception):
    """Not now; nothing that matters is half done, and sending again is harmless. The text says why."""

    def __init__(self, reason: str, *, retry_after_s: int = 2, advice: str = "send it again a little later") -> None:
        """`retry_after_s` is told to whoever asked."""
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.advice = advice


class UnknownChannel(LookupError):
    """There is no channel of that name. The text lists those there are."""


class TooMany(ValueError):
    """More parts than are taken in one request. Nothing was taken; the text says how many may come."""


class Handed(NamedTuple):
    """Bytes that somebody with the right to do so handed in."""

    raw: bytes
    channel: str
    """Whose form it is."""
    shop: str
    """Used where the bytes name none."""
    pipe: Literal["push", "webhook"]
    source: str
    """Name of the token or the connection."""
    form: Literal["json", "table", ""] = ""
    """What the bytes claim to be; "" = no claim."""


class Taken(msgspec.Struct, frozen=True, gc=False):
    """One part of what was handed in, and what became of it."""

    key: str
    """Of the order; "" where no order can be told."""
    order_no: str
    outcome: str
    """One of `domain.cell.Outcome`; `durable` where nobody waited for it."""
    reason: str


class Intake(Protocol):
    """Takes bytes in, whatever they are."""

    @property
    def channels(self) -> Collection[str]:
        """Names of the channels."""
        ...

    async def take(self, handed: Sequence[Handed], *, committed: bool, correlation: str) -> list[Taken]:
        """Return once all of it is durable and, with `committed`, committed to the log.

        Raises:
            UnknownChannel, TooMany: nothing was taken.
            Busy: it may or may not have been taken in.
        """
        ...


class Hook(NamedTuple):
    """A connection that takes pushes."""

    name: str
    channel: str
    shop: str
    receiver: Receiver
    committed: bool
    """Whether only a commit is good enough for a success answer: there is no pull that would fetch what got lost."""


class HookAway(Exception):
    """The connection is there, but cannot judge pushes now (a secret is missing, an option wrong). For our log only."""


class Hooks(Protocol):
    """The connections by name."""

    def find(self, name: str) -> Hook | None:
        """Return the connection of that name, or the only one of that channel; None where there is none.

        Raises:
            HookAway: it cannot be used now.
        """
        ...


class Question(NamedTuple):
    """What orders are asked for."""

    state: str = ""
    channel: str = ""
    shop: str = ""
    text: str = ""
    """Order number or tracking number, exactly."""
    since_ms: int | None = None
    """Only orders that changed at or after this time, UTC ms."""
    before: int | None = None
    """Only orders that changed last before this position of the log."""
    limit: int = 50


class Page(NamedTuple):
    """Orders, the last changed first, as the read models show them."""

    rows: list[dict[str, Any]]
    position: int
    """Of the log, up to which the read models show what happened."""


class Records(Protocol):
    """The read models. Nothing personal is in them but sealed."""

    async def orders(self, question: Question) -> Page:
        """Return the orders that fit.

        Raises:
            Busy: the read models cannot be read now.
        """
        ...

    async def order(self, key: str) -> dict[str, Any] | None:
        """Return all there is of one order, without its sealed block.

        Raises:
            Busy: the read models cannot be read now.
        """
        ...


class Standing(msgspec.Struct, frozen=True):
    """How things stand, as seen within the last second or so. None = it cannot be told."""

    broker: bool = False
    """Whether broker and mail answer."""
    worker: bool = False
    """Whether a worker holds the cell."""
    failing_parts: int = 0
    """Parts that die again and again."""
    worker_lag_s: float = 0.0
    """For how long there has been mail and nothing of it was handled."""
    mail_backlog: int | None = None
    """Messages that wait for the worker."""
    mail_free_bytes: int | None = None
    log_head: int | None = None
    """Position of the last event."""
    projection_lag: int | None = None
    """Events the read models are behind the log."""
    differing_orders: int | None = None
    """Orders whose views differ, as the last self-check found; None also where none was recorded."""
    disk_free_bytes: int | None = None
    sealer_refusing: bool | None = None
    """Whether the sealer signs nothing because the log does not fit, or it cannot write."""
    unsealed: int | None = None
    """Events behind the newest signed checkpoint."""
    witness_troubled: bool | None = None
    """Whether the outside witness is away, or holds something else."""
    refusal: str = ""
    """Why nothing is taken in now; "" = it is."""
    advice: str = ""
    """What to do about the refusal."""


class Watch(Protocol):
    """Looks at the cell, again and again."""

    @property
    def standing(self) -> Standing:
        """What was seen last."""
        ...
