"""Message sockets of platforms: connected, kept alive, and their errors told without secrets."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from domain.platforms import NotAuthorised, PlatformBusy

FRAME_BYTES_MAX: Final = 4 << 20
WAITING_MAX: Final = 64
"""Frames that may wait unread; then the platform has to."""
OPEN_S: Final = 15.0
PING_S: Final = 20.0
_DENIED: Final = frozenset({401, 403})

# The library tells addresses and frames, and these hold signatures and personal data.
_silent = logging.getLogger(f"{__name__}.silent")
_silent.disabled = True


@contextlib.asynccontextmanager
async def socket(url: str, name: str) -> AsyncIterator[ClientConnection]:
    """Connect; the socket is closed at the end.

    Args:
        url: ws or wss.
        name: of the platform, for people.

    Raises:
        NotAuthorised: the platform does not let us in.
        PlatformBusy: it cannot be reached, or the connection broke.
    """
    try:
        async with connect(
            url,
            open_timeout=OPEN_S,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            close_timeout=2.0,
            max_size=FRAME_BYTES_MAX,
            max_queue=WAITING_MAX,
            logger=_silent,
            # What is sent goes where the connection says.
            proxy=None,
        ) as connection:
            yield connection
    except InvalidStatus as error:
        status = error.response.status_code
        reason = f"the message socket of {name} answered with status {status}"
        if status in _DENIED:
            raise NotAuthorised(reason, "look at the keys, and at the clock of this machine") from None
        raise PlatformBusy(reason) from None
    except ConnectionClosed as error:
        raise PlatformBusy(f"the message socket of {name} broke: {_why(error)}") from None
    except (OSError, TimeoutError, InvalidHandshake) as error:
        raise PlatformBusy(f"cannot reach the message socket of {name}: {type(error).__name__}") from None


async def send(connection: ClientConnection, frame: bytes | str, name: str) -> None:
    """Send a frame.

    Raises:
        PlatformBusy: the connection is gone.
    """
    try:
        await connection.send(frame)
    except ConnectionClosed as error:
        raise PlatformBusy(f"the message socket of {name} is closed: {_why(error)}") from None


@contextlib.asynccontextmanager
async def repeating(act: Callable[[], Awaitable[None]], every_s: float) -> AsyncIterator[None]:
    """Do something again and again meanwhile; it ends by itself where the connection does."""

    async def beat() -> None:
        with contextlib.suppress(PlatformBusy):
            while True:
                await asyncio.sleep(every_s)
                await act()

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _why(error: ConnectionClosed) -> str:
    received = error.rcvd
    return f"code {received.code}" if received is not None else "without a word"
