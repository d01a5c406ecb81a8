"""What every simulated platform has in common: shop, tokens, orders, faults, the log of requests."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, NamedTuple

from adapters.simulators.exchange import Refused, Reply, Request, Seen, reply
from adapters.simulators.faults import BEFORE, Faults, How
from adapters.simulators.orders import SimOrder
from adapters.simulators.shop import SimShop, Tokens
from adapters.simulators.store import Kind, Store

SECRET: Final = frozenset(
    {"sign", "session", "access_token", "app_key", "app_secret", "client_id", "client_secret", "refresh_token", "code"}
)
_HTML: Final = b"<!DOCTYPE html><html><body><h1>Service temporarily unavailable</h1></body></html>"


class Cut(Exception):
    """The connection is to be cut without an answer."""


class Push(NamedTuple):
    """A signed message, ready to be posted."""

    method: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    order_no: str = ""


class SimPlatform(ABC):
    """One platform with one shop."""

    channel: ClassVar[str]
    access_s: ClassVar[int] = 86_400
    """Life of an access token."""
    refresh_s: ClassVar[int] = 30 * 86_400

    def __init__(self, shop: SimShop, now_ms: Callable[[], int]) -> None:
        self.shop = shop
        self.now_ms = now_ms
        self.tokens = Tokens(now_ms, self.access_s, self.refresh_s)
        self.store = Store(now_ms)
        self.faults = Faults(lambda: asyncio.get_running_loop().time())
        self.requests: list[Seen] = []
        self.closing = asyncio.Event()
        self._after: list[tuple[str, int, Callable[[], object]]] = []

    @abstractmethod
    def operation(self, request: Request) -> str:
        """Return the platform's name of what is asked."""

    @abstractmethod
    def handle(self, request: Request) -> Reply:
        """Answer a request.

        Raises:
            Refused: the platform says no.
            ValueError: a parameter is wrong; the platform's answer to that is `wrong_parameter`.
        """

    @abstractmethod
    def refusal(self, refused: Refused, request: Request) -> Reply:
        """Return the platform's form of a refusal."""

    @abstractmethod
    def wrong_parameter(self, text: str) -> Refused:
        """Return what the platform says to a wrong parameter."""

    @abstractmethod
    def limited(self) -> Refused:
        """Return what the platform says to whoever asks too often."""

    @abstractmethod
    def system_error(self) -> Refused:
        """Return what the platform says when it is in trouble, in an answer of status 200."""

    def push(self, order: SimOrder, kind: Kind) -> Push:
        """Return the message that the platform posts about a change.

        Raises:
            ValueError: the platform posts nothing.
        """
        raise ValueError(f"{self.channel} posts no messages ({kind} of {order.order_no})")

    def push_accepted(self, status: int, body: bytes) -> bool:
        """Tell whether a receiver's answer is the success that the platform waits for."""
        raise ValueError(f"{self.channel} posts no messages (answer {status}, {len(body)} bytes)")

    def when(self, operation: str, count: int, act: Callable[[], object]) -> None:
        """Call `act` once, right after the `count`-th answer from now on whose operation holds this name."""
        self._after.append((operation, count, act))

    async def answer(self, request: Request) -> Reply:
        """Answer a request, or let it go wrong as planned.

        Raises:
            Cut: the connection is to be cut.
        """
        operation = self.operation(request)
        how = self.faults.take(operation)
        given = await self._answer(request, how)
        params = {name: text for name, text in request.form().items() if name not in SECRET}
        outcome = f"fault {how}" if how is not None else given.outcome
        self.requests.append(Seen(operation, outcome, self.now_ms(), params))
        self._acts(operation)
        if how in ("cut_before", "cut_after"):
            raise Cut
        if how in ("timeout", "timeout_after"):
            await self.closing.wait()
            raise Cut
        return given

    async def _answer(self, request: Request, how: How | None) -> Reply:
        if how in BEFORE:
            return self._failed(how, request)
        if self.faults.too_often():
            return self._refused(self.limited(), request, "limited")
        try:
            given = self.handle(request)
        except Refused as refused:
            given = self._refused(refused, request, f"refused {refused.sub_code or refused.code}")
        except (ValueError, KeyError, TypeError) as error:
            wrong = self.wrong_parameter(str(error))
            given = self._refused(wrong, request, f"refused {wrong.sub_code or wrong.code}")
        if how == "500_after":
            return Reply(_HTML, 500, {"content-type": "text/html"})
        if how == "wrong_json":
            return given._replace(body=given.body[: max(1, len(given.body) // 2)])
        return given

    def _failed(self, how: How | None, request: Request) -> Reply:
        match how:
            case "limited":
                return self._refused(self.limited(), request, "limited")
            case "inner_error":
                return self._refused(self.system_error(), request, "system error")
            case "html":
                return Reply(_HTML, 200, {"content-type": "text/html"})
            case "429":
                return Reply(b"{}", 429, {"content-type": "application/json", "retry-after": "1"})
            case "500" | "502" | "503":
                return Reply(_HTML, int(how), {"content-type": "text/html"})
        return reply({})

    def _refused(self, refused: Refused, request: Request, outcome: str) -> Reply:
        return self.refusal(refused, request)._replace(outcome=outcome)

    def _acts(self, operation: str) -> None:
        left: list[tuple[str, int, Callable[[], object]]] = []
        due: list[Callable[[], object]] = []
        for name, count, act in self._after:
            if name not in operation:
                left.append((name, count, act))
            elif count > 1:
                left.append((name, count - 1, act))
            else:
                due.append(act)
        self._after = left
        for act in due:
            act()
