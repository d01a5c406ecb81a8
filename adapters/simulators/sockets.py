"""Message sockets: what is not acknowledged comes again."""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from adapters.simulators.orders import SimOrder
from adapters.simulators.platform import SimPlatform
from adapters.simulators.store import Kind

FIRST_ID: Final = 9_007_199_254_740_993
"""Above 2^53: no float holds it."""

_silent = logging.getLogger(f"{__name__}.silent")
_silent.disabled = True


class SimSocket(ABC):
    """A platform's message socket. Messages wait here until a client acknowledges them."""

    def __init__(self, platform: SimPlatform, resend_s: float) -> None:
        self.platform = platform
        self.resend_s = resend_s
        """What was sent and not acknowledged comes again after so long, and at once on a new connection."""
        self.waiting: dict[int, tuple[SimOrder, Kind]] = {}
        """Not acknowledged, by id."""
        self.sent: list[int] = []
        """Ids in the order in which they were sent, repeats included."""
        self.acknowledged: list[int] = []
        self.refused = 0
        """Connections that were not let in."""
        self.connections: set[ServerConnection] = set()
        self._next_id = FIRST_ID
        self._news = asyncio.Event()

    def announce(self, order: SimOrder, kind: Kind) -> int:
        """Let a message about an order wait; return its id."""
        number = self._next_id
        self._next_id += 2
        self.waiting[number] = (order, kind)
        self._news.set()
        return number

    async def cut(self) -> None:
        """Break every connection, as networks do."""
        for connection in list(self.connections):
            connection.transport.abort()
        for connection in list(self.connections):
            await connection.wait_closed()

    @abstractmethod
    async def let_in(self, connection: ServerConnection) -> bool:
        """Greet a client; tell whether it may stay."""

    @abstractmethod
    async def received(self, connection: ServerConnection, raw: bytes | str) -> None:
        """Handle what a client sent."""

    @abstractmethod
    def message(self, number: int, order: SimOrder, kind: Kind) -> bytes | str:
        """Return a message as it goes over the wire."""

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Look at the opening request; an answer refuses it."""
        del connection, request
        return None

    def heartbeat(self) -> str | None:
        """Return what is sent now and then, None where nothing is."""
        return None

    def acknowledge(self, number: int) -> None:
        """Forget a message."""
        self.acknowledged.append(number)
        self.waiting.pop(number, None)

    async def _serve(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            if not await self.let_in(connection):
                self.refused += 1
                return
            self.connections.add(connection)
            sending = asyncio.create_task(self._send(connection))
            try:
                async for raw in connection:
                    await self.received(connection, raw)
            finally:
                self.connections.discard(connection)
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                    await sending

    async def _send(self, connection: ServerConnection) -> None:
        loop = asyncio.get_running_loop()
        at: dict[int, float] = {}
        with contextlib.suppress(ConnectionClosed):
            beat = self.heartbeat()
            if beat is not None:
                await connection.send(beat)
            while True:
                now = loop.time()
                for number, (order, kind) in list(self.waiting.items()):
                    if number in self.waiting and now - at.get(number, -self.resend_s) >= self.resend_s:
                        at[number] = now
                        self.sent.append(number)
                        await connection.send(self.message(number, order, kind))
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.resend_s / 2):
                        await self._news.wait()

    @contextlib.asynccontextmanager
    async def served(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on a port of loopback (0 = a free one) and return the address."""
        server: Server = await serve(
            self._serve,
            "127.0.0.1",
            port,
            process_request=self.check,
            logger=_silent,
            ping_interval=None,
            close_timeout=0.5,
            compression=None,
        )
        try:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            await server.wait_closed()
