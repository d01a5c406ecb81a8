"""What projector and relay share: they run beside the worker, at a lower priority, woken by hints and a clock."""

import asyncio
import contextlib
import os
import signal

import structlog

from adapters.nats.connection import Connection, connect
from adapters.nats.errors import BrokerError
from adapters.nats.hint import Hints
from domain.ports import EventLog
from runners.bootstrap import broker_address, open_log
from runners.settings import Settings

NICE = 5
"""A quarter of the processor where the worker wants all of it as well: read models never stand still."""
LOWEST = 19
"""What hardly anything waits for."""
REST = 19
"""How many times as long as it worked a part rests while the cell is behind its mail."""
REST_MAX_S = 2.0
POLL_S = 1.0
"""How long a lost hint can delay anything."""
LOG_WAIT_S = 0.2
CONNECT_S = 2.0
AGAIN_S = 2.0
"""Pause between two attempts to reach the broker."""

log = structlog.get_logger()


class Background:
    """Stop signals, priority and waiting of a process beside the worker."""

    def __init__(self) -> None:
        """Nothing is changed yet."""
        self.stopping = asyncio.Event()

    def begin(self) -> None:
        """Give way to the worker, and end at SIGTERM or SIGINT when the batch under way is done."""
        give_way(NICE)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)

    async def pause(self, seconds: float, hints: Hints | None = None) -> None:
        """Wait for a hint, for the end, or for `seconds`, whatever comes first."""
        waiting: set[asyncio.Future[bool]] = {asyncio.ensure_future(_ended(self.stopping))}
        if hints is not None:
            waiting.add(asyncio.ensure_future(_hinted(hints, seconds)))
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def rest(self, worked_s: float, hints: Hints | None) -> None:
        """Make way while the cell is behind its mail: work a twentieth of the time, but every other second.

        Priorities alone do not do it: what the broker does for us, it does at its own.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + min(REST * worked_s, REST_MAX_S)
        await asyncio.sleep(0)
        while hints is not None and hints.behind and not self.stopping.is_set() and (left := until - loop.time()) > 0:
            await self.pause(left, hints)

    async def log_of(self, settings: Settings) -> EventLog | None:
        """Open the log for reading, once the worker has made it; None when the end came first."""
        while not self.stopping.is_set():
            with contextlib.suppress(FileNotFoundError):
                return open_log(settings, read_only=True)
            await self.pause(LOG_WAIT_S)
        return None


def give_way(nice: int) -> None:
    """Make way for others by so much; nothing changes for a process that makes way by more."""
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), nice))


async def _ended(stopping: asyncio.Event) -> bool:
    return await stopping.wait()


async def _hinted(hints: Hints, seconds: float) -> bool:
    return await hints.wait(seconds) is not None


class Link:
    """A connection that is made when it can be, with the cell's hints."""

    def __init__(self, settings: Settings, name: str) -> None:
        """Nothing is connected yet."""
        self._settings = settings
        self._name = name
        self._not_before = 0.0
        self.nc: Connection | None = None
        self.hints: Hints | None = None

    @property
    def behind(self) -> bool:
        """Whether the cell is known to be behind its mail."""
        return self.hints is not None and self.hints.behind

    async def up(self) -> Connection | None:
        """Return the connection, made anew where the last one was given up; None while the broker cannot be reached."""
        if self.nc is not None and not self.nc.is_closed:
            return self.nc
        now = asyncio.get_running_loop().time()
        if now < self._not_before:
            return None
        self._not_before = now + AGAIN_S
        self.nc = self.hints = None
        try:
            nc = await connect(broker_address(self._settings), self._name, timeout_s=CONNECT_S)
        except (BrokerError, FileNotFoundError) as trouble:
            log.info("broker.absent", reason=str(trouble))
            return None
        try:
            self.hints = await Hints(nc, self._settings.cell).open()
        except BrokerError as trouble:
            log.info("broker.absent", reason=str(trouble))
            await nc.close()
            return None
        self.nc = nc
        return nc

    async def close(self) -> None:
        """Close the connection."""
        if self.nc is not None:
            await self.nc.close()
