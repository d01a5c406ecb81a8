"""What every simulated receiver of notes has in common: what it took, what goes wrong, the log of requests."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from adapters.simulators.exchange import Refused, Reply, Request, Seen
from adapters.simulators.faults import BEFORE, Faults, How
from adapters.simulators.platform import Cut

_HTML: Final = b"<!DOCTYPE html><html><body><h1>Service temporarily unavailable</h1></body></html>"


class Message(NamedTuple):
    """What people see of a note."""

    title: str
    text: str
    to: tuple[str, ...] = ()
    """Phones, addresses or ids that are named."""
    id: str = ""
    """What tells it from others, where it carries such a thing."""
    at_s: float = 0.0
    """When it was taken, by the event loop's clock."""
    extra: Any = None


class SimReceiver(ABC):
    """Somebody who can be told over HTTP."""

    def __init__(self, secret: str, now_ms: Callable[[], int]) -> None:
        self.secret = secret
        self.now_ms = now_ms
        self.faults = Faults(lambda: asyncio.get_running_loop().time())
        self.taken: list[Message] = []
        self.requests: list[Seen] = []
        self.closing = asyncio.Event()

    @abstractmethod
    def operation(self, request: Request) -> str:
        """Return the name of what is asked."""

    @abstractmethod
    def handle(self, request: Request) -> Reply:
        """Take a message.

        Raises:
            Refused: no.
            ValueError: it is none.
        """

    @abstractmethod
    def refusal(self, refused: Refused) -> Reply:
        """Return the form of a refusal."""

    @abstractmethod
    def limited(self) -> Refused:
        """Return what is said to whoever tells too often."""

    @abstractmethod
    def system_error(self) -> Refused:
        """Return what is said in trouble, in an answer of status 200."""

    def take(self, message: Message) -> None:
        """Keep a message."""
        self.taken.append(message._replace(at_s=asyncio.get_running_loop().time()))

    async def answer(self, request: Request) -> Reply:
        """Answer a request, or let it go wrong as planned.

        Raises:
            Cut: the connection is to be cut.
        """
        operation = self.operation(request)
        how = self.faults.take(operation)
        given = self._given(request, how)
        outcome = f"fault {how}" if how is not None else given.outcome
        self.requests.append(Seen(operation, outcome, self.now_ms(), {}))
        if how in ("cut_before", "cut_after"):
            raise Cut
        if how in ("timeout", "timeout_after"):
            await self.closing.wait()
            raise Cut
        return given

    def _given(self, request: Request, how: How | None) -> Reply:
        if how in BEFORE:
            return self._failed(how)
        if self.faults.too_often():
            return self.refusal(self.limited())._replace(outcome="limited")
        try:
            given = self.handle(request)
        except Refused as refused:
            given = self.refusal(refused)._replace(outcome=f"refused {refused.code}")
        except (ValueError, KeyError, TypeError) as error:
            given = Reply(str(error).encode(), 400, outcome="refused form")
        if how == "500_after":
            return Reply(_HTML, 500, {"content-type": "text/html"})
        if how == "wrong_json":
            return given._replace(body=given.body[: max(1, len(given.body) // 2)])
        return given

    def _failed(self, how: How | None) -> Reply:
        match how:
            case "limited":
                return self.refusal(self.limited())
            case "inner_error":
                return self.refusal(self.system_error())
            case "html":
                return Reply(_HTML, 404, {"content-type": "text/html"})
            case "429":
                return Reply(b"{}", 429, {"content-type": "application/json", "retry-after": "1"})
            case "500" | "502" | "503":
                return Reply(_HTML, int(how), {"content-type": "text/html"})
        return Reply(b"")
