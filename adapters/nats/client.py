"""The connection: nats-py's client with the three things OrderSpine needs and the library does not offer.

Everything that touches the library's private names is in this file and `parser.py`;
`tests/integration/test_nats_client.py` guards them.

- *sinks*: a plain function called for each message of a subscription, before any `Msg` is built or header is parsed;
- *send_now*: ready-made protocol bytes straight to the socket. They never wait in the library's buffer, so a frame that
  did not leave before a connection broke is not sent by surprise after the reconnect;
- *breaks*: a counter and callbacks that tell readers that the connection was lost, even if it is back already.
"""

# ruff: noqa: SLF001  the one place for the library's private names
import asyncio
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.subscription import Subscription

from adapters.nats.errors import BrokerUnavailable
from adapters.nats.parser import Sink, SinkParser


class Connection(Client):  # type: ignore[misc,unused-ignore]
    """A NATS client with sinks, raw sending and a count of broken connections."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.breaks = 0
        """How often the connection was lost so far."""
        self.closing = False
        """Whether somebody asked for the end: what follows is then no fault."""
        self._sinks: dict[int, Sink] = {}
        self._ps = SinkParser(self, self._sinks)
        self._settled = asyncio.Event()
        self._on_break: set[Callable[[], None]] = set()

    async def close(self) -> None:
        """Close for good."""
        self.closing = True
        await super().close()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        sink = self._sinks.get(sid)
        if sink is None:
            await super()._process_msg(sid, subject, reply, data, headers)  # type: ignore[arg-type,unused-ignore]
        else:
            sink(subject, reply, data, headers)

    async def listen(self, subject: str, sink: Sink) -> Subscription:
        """Subscribe with a sink. The subscription survives reconnects; end it with `unlisten`."""
        subscription = await self.subscribe(subject)
        self._sinks[subscription._id] = sink
        return subscription

    async def unlisten(self, subscription: Subscription) -> None:
        """End a subscription made by `listen`; harmless on a closed connection."""
        self._sinks.pop(subscription._id, None)
        if not self.is_closed and not self.is_draining:
            await subscription.unsubscribe()

    def send_now(self, frames: bytes) -> None:
        """Hand protocol bytes to the socket at once.

        Raises:
            BrokerUnavailable: not connected; nothing was sent.
        """
        transport = self._transport
        if not self.is_connected or transport is None:
            raise BrokerUnavailable("not connected to the broker")
        transport.write(frames)

    async def drain_socket(self) -> None:
        """Wait until the socket has taken most of what was sent."""
        transport = self._transport
        if self.is_connected and transport is not None:
            await transport.drain()  # type: ignore[no-untyped-call]

    async def until_connected(self, timeout_s: float) -> None:
        """Wait until the connection is there (again).

        Raises:
            BrokerUnavailable: it is not within `timeout_s`, or it is closed for good.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not self.is_connected and not self.is_closed:
                    self._settled.clear()  # the library says that it reconnects before it says that it was cut off
                    await self._settled.wait()
        except TimeoutError:
            raise BrokerUnavailable(f"no connection to the broker within {timeout_s:g} s") from None
        if self.is_closed:
            raise BrokerUnavailable("the connection to the broker is closed")

    def on_break(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever the connection is lost or closed; end with `off_break`."""
        self._on_break.add(callback)

    def off_break(self, callback: Callable[[], None]) -> None:
        """Stop calling `callback`."""
        self._on_break.discard(callback)

    def broken(self) -> None:
        """Note that the connection was lost (called by the connection's own callbacks)."""
        self.breaks += 1
        for callback in tuple(self._on_break):
            callback()

    def settled(self) -> None:
        """Note that the connection is back or closed for good (called by the connection's own callbacks)."""
        self._settled.set()
