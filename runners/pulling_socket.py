"""A platform's message socket: each message is in the log before the platform hears that we have it."""

import asyncio
from collections.abc import Awaitable, Callable

from adapters.platforms.connection import Connection
from domain.platforms import Frame, Listener
from runners.pulling_mail import Mailroom

AT_ONCE = 32
"""Messages under way at the same time; the platform is read no further meanwhile."""


async def listen(
    connection: Connection,
    listener: Listener,
    mailroom: Mailroom,
    now_ms: Callable[[], int],
    heard: Callable[[], Awaitable[None]],
) -> None:
    """Take messages in until the socket ends; `heard` is told of each.

    Raises:
        PlatformError: the platform ended it, or did not let us in.
        NotRunning, NoAnswer, BrokerError: the mail did not get through; what is not acknowledged comes again.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def take(frame: Frame) -> None:
        try:
            mails = await mailroom.cut(connection, frame.documents, "socket", now_ms())
            await mailroom.send(mails)
            await frame.acknowledge()
        finally:
            slots.release()

    frames = listener.frames()
    try:
        async with asyncio.TaskGroup() as group:
            async for frame in frames:
                await heard()
                await slots.acquire()
                group.create_task(take(frame))
    except ExceptionGroup as errors:
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
    finally:
        close = getattr(frames, "aclose", None)
        if close is not None:
            await close()
