"""What the core asks of a sales platform's own interface: whole orders, pushes, and a way to tell it what we did.

The other half of a channel. `domain.ports.Channel` says, purely, what bytes mean; what is here speaks with the
platform and hands its bytes on as they are. Nothing here does anything; `adapters/platforms/` implements it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

import msgspec


class PlatformError(Exception):
    """A platform did not do what it was asked for: what it said, and what to do about it."""

    def __init__(self, reason: str, advice: str = "") -> None:
        """Keep both parts; the text joins them."""
        super().__init__(reason + (f" ({advice})" if advice else ""))
        self.reason = reason
        self.advice = advice


class PlatformBusy(PlatformError):
    """Not now: a limit was reached, the platform or the way to it is down. Nothing was done; try again later."""

    def __init__(self, reason: str, advice: str = "", *, retry_after_s: float | None = None) -> None:
        """`retry_after_s` is what the platform asks for, where it does."""
        super().__init__(reason, advice)
        self.retry_after_s = retry_after_s


class PlatformRefused(PlatformError):
    """It was understood and refused; trying the same again will not help. `code` is the platform's own."""

    def __init__(self, reason: str, advice: str = "", *, code: str = "") -> None:
        """`code` is the platform's own word for it."""
        super().__init__(reason, advice)
        self.code = code


class NotAuthorised(PlatformError):
    """Keys or tokens are wrong or worn out: a person must authorise the shop anew."""


class OutcomeUnknown(PlatformError):
    """The request left and no answer came: it may have been done. Ask before trying again."""


class Window(NamedTuple):
    """A span of a platform's modified time, UTC ms: from `start_ms` on, before `end_ms`."""

    start_ms: int
    end_ms: int


class PullRules(NamedTuple):
    """What a platform's change feed can do. Milliseconds."""

    window_ms: int
    """Longest window that one request may span."""
    margin_ms: int
    """A window ends at least this long before now: the feed lags behind the platform's own clock."""
    overlap_ms: int
    """A window begins this long before the end of the one before."""
    reach_ms: int
    """How far back the feed remembers."""


class Puller(Protocol):
    """Fetches orders from a platform."""

    @property
    def rules(self) -> PullRules:
        """What its change feed can do."""
        ...

    def changed(self, window: Window) -> AsyncIterator[list[bytes]]:
        """Return the orders that changed in a window, whole, as the platform's own answers, a list for each page.

        Each element is something the channel's `identify` cuts. All pages, or an error: never a part without a word.

        Raises:
            PlatformError: see its kinds; what was yielded before stays good.
        """
        ...

    async def order(self, order_no: str) -> bytes | None:
        """Return one whole order as the platform answers, None where it knows none of that number.

        Raises:
            PlatformError: see its kinds.
        """
        ...

    async def check(self) -> str:
        """Try keys and address with a harmless call; return what to tell a person (shop name, reach, limits).

        Raises:
            PlatformError: see its kinds.
        """
        ...


class ShippedLine(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A line in a parcel, with what platforms want to know of it."""

    line: str
    """The channel's line id."""
    quantity: int
    """Units in this parcel."""
    item: str = ""
    """As `canonical.Line.item`."""
    sku: str = ""
    name: str = ""


class ShipNotice(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A parcel that left, to be told to the order's channel."""

    key: str
    """Idempotency key; the same notice always carries the same one."""
    order_no: str
    carrier: str
    """Our code of the carrier (`adapters.platforms.carriers`)."""
    tracking: str
    shipped_ms: int
    lines: tuple[ShippedLine, ...]
    """What is in the parcel."""
    whole: bool = True
    """Whether the order is wholly shipped with it."""
    attributes: Mapping[str, str] = {}
    """Custom attributes of the order that the platform may need (a receiver's phone ending is NOT among them)."""


class Seller(Protocol):
    """Tells a platform what the merchant did."""

    async def ship(self, notice: ShipNotice) -> str:
        """Tell that a parcel left; return the platform's reference, "" where it gives none.

        Telling the same twice is harmless: what the platform knows already counts as success.

        Raises:
            PlatformError: see its kinds.
        """
        ...

    async def knows(self, notice: ShipNotice) -> bool:
        """Tell whether the platform has this parcel on the order already (after an unknown outcome).

        Raises:
            PlatformError: see its kinds.
        """
        ...


class PushRequest(NamedTuple):
    """A request that came to a webhook, exactly."""

    method: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    now_ms: int
    """When it came, by our clock."""


class PushAnswer(NamedTuple):
    """What the platform wants to hear."""

    status: int
    content_type: str
    body: bytes


class Pushed(NamedTuple):
    """A genuine push."""

    documents: tuple[bytes, ...]
    """What came, decrypted where it must be, each for the channel's `identify` (a hint ends as a hint there)."""
    answer: PushAnswer
    """Given once the documents are durable."""
    nonce: str = ""
    """What must not come twice while the request's time is fresh; "" where repeats are harmless by themselves."""


class NotGenuine(Exception):
    """A push that is not the platform's, is too old, or was altered. The text is for our counters, never the sender."""


class Receiver(Protocol):
    """Tells a genuine push from any other request. Pure: same request and secret, same answer."""

    def receive(self, request: PushRequest) -> Pushed:
        """Verify and open a push. Comparisons of secrets take the same time wherever they differ.

        Raises:
            NotGenuine: it must be refused with 401 and leave no trace but a counter.
        """
        ...


class Frame(NamedTuple):
    """A message of a platform's socket."""

    documents: tuple[bytes, ...]
    """For the channel's `identify`; empty for a heartbeat."""
    acknowledge: Callable[[], Awaitable[None]]
    """To be called once the documents are durable; what is not acknowledged comes again."""


class Listener(Protocol):
    """Listens to a platform's message socket."""

    def frames(self) -> AsyncIterator[Frame]:
        """Connect and return frames until the connection ends.

        Raises:
            PlatformError: see its kinds; the caller connects again, later each time.
        """
        ...


class Platform(NamedTuple):
    """What one shop's connection can do; None where the platform has no such thing."""

    puller: Puller | None = None
    seller: Seller | None = None
    receiver: Receiver | None = None
    listener: Listener | None = None
    close: Callable[[], Awaitable[None]] | None = None
    """Release connections."""
