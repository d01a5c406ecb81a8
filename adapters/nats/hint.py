"""Hints: "the log has reached this position", and whether more mail waits. Plain NATS, may be lost, so waiters poll."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

import nats.errors

from adapters.nats.client import Connection
from adapters.nats.errors import BrokerUnavailable

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription


BEHIND_S = 1.0
"""How long a hint's word that more mail waits is believed."""
_BEHIND = b"+"


def publish_hint(nc: Connection, cell: str, position: int, *, behind: bool = False) -> None:
    """Tell who listens that the log has reached `position`, and whether the cell is behind its mail.

    Does nothing while there is no connection.
    """
    number = b"%d%b" % (position, _BEHIND if behind else b"")
    with contextlib.suppress(BrokerUnavailable):
        nc.send_now(b"PUB hint.%b %d\r\n%b\r\n" % (cell.encode(), len(number), number))


class Hints:
    """Waits for the next hint; several that come close together count as one."""

    def __init__(self, nc: Connection, cell: str) -> None:
        """Describe; `open` begins to listen."""
        self._nc = nc
        self._subject = f"hint.{cell}"
        self._latest = 0
        self._fresh = asyncio.Event()
        self._behind_until = 0.0
        self._subscription: Subscription | None = None

    async def open(self) -> Self:
        """Begin to listen; the server knows of it when this returns.

        Raises:
            BrokerUnavailable: it does not answer.
        """
        try:
            self._subscription = await self._nc.listen(self._subject, self._take)
            await self._nc.flush()
        except nats.errors.Error as error:
            raise BrokerUnavailable(f"no hints: {error!r}") from error
        return self

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def wait(self, timeout: float) -> int | None:  # noqa: ASYNC109  the poll's interval
        """Return the highest position hinted since the last call; None if no hint came within `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._fresh.wait()
        if not self._fresh.is_set():
            return None
        self._fresh.clear()
        return self._latest

    @property
    def behind(self) -> bool:
        """Whether the cell is behind its mail, as far as is known."""
        return asyncio.get_running_loop().time() < self._behind_until

    async def close(self) -> None:
        """Stop listening."""
        if self._subscription is not None:
            await self._nc.unlisten(self._subscription)
            self._subscription = None

    def _take(self, _subject: bytes, _reply: bytes, payload: bytes, _headers: bytes | None) -> None:
        number = payload.removesuffix(_BEHIND)
        if number.isdigit():
            self._latest = max(self._latest, int(number))
            self._behind_until = asyncio.get_running_loop().time() + BEHIND_S if number != payload else 0.0
            self._fresh.set()
