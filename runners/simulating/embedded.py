"""A whole OrderSpine in a directory of its own, for as long as a simulation needs it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from adapters.nats.client import Connection
from adapters.nats.connection import connect
from adapters.nats.errors import BrokerError
from adapters.nats.streams import events_stream, last_seq, mail_info
from runners.bootstrap import broker_address
from runners.part_troubles import Troubles
from runners.settings import Settings
from runners.statusline import StatusLine
from runners.supervisor import Supervisor
from runners.upstart import Broker, parts_of, prepared
from runners.vitals import Gauge

START_S = 30.0
"""How long the parts may take to start."""
SETTLE_S = 120.0
"""How long read models and feed may take to become level with the log."""


class NotSettled(Exception):
    """A part did not come up, or did not become level with the log, in time. The message says which."""


class Remarks(StatusLine):
    """Keeps what the parts have to say; shown only where something goes wrong."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self.said: list[str] = []

    def note(self, text: str) -> None:
        """Keep a remark."""
        self.said.append(text)


@asynccontextmanager
async def running(data: Path, clock: Literal["mail", "real"] = "mail") -> AsyncIterator[Settings]:
    """Run all parts on a data directory, as `up` does, and stop them behind it.

    Raises:
        NotSettled: they do not come up.
        BrokerError: the broker does not start.
    """
    with prepared(data, clock=clock, store=None, broker=None) as settings:
        remarks = Remarks()
        troubles = Troubles(settings.path)
        broker = Broker(settings, remarks, troubles)
        supervisor: Supervisor | None = None
        try:
            await broker.start()
            supervisor = Supervisor(settings.path, parts_of(settings, simulate=False), remarks.note, troubles)
            supervisor.start()
            await _up(settings, remarks)
            yield settings
        finally:
            if supervisor is not None:
                await supervisor.stop()
            await broker.stop()


async def level(settings: Settings) -> None:
    """Wait until read models and public feed show all that the log holds.

    Raises:
        NotSettled: they do not, in time.
    """
    gauge = Gauge(settings)
    nc = await connect(broker_address(settings), "simulate-gauge")
    deadline = time.monotonic() + SETTLE_S
    try:
        while True:
            vitals = await gauge.read(nc)
            behind = {"read models": vitals.projector_lag, "public feed": vitals.relay_lag, "worker": vitals.backlog}
            if not any(behind.values()) and vitals.projector_lag is not None:
                return
            if time.monotonic() > deadline:
                late = ", ".join(f"{name} {lag}" for name, lag in behind.items() if lag)
                raise NotSettled(f"not level with the log after {SETTLE_S:g} s: {late or 'no read models'}")
            await asyncio.sleep(0.05)
    finally:
        await nc.close()
        gauge.close()


async def _up(settings: Settings, remarks: Remarks) -> None:
    """Wait until the worker has its mail stream and the feed is there."""
    deadline = time.monotonic() + START_S
    nc = await connect(broker_address(settings), "simulate-start")
    try:
        while not await _started(settings, nc):
            if time.monotonic() > deadline:
                said = "; ".join(remarks.said[-5:])
                raise NotSettled(f"the parts did not start within {START_S:g} s {said}")
            await asyncio.sleep(0.05)
    finally:
        await nc.close()


async def _started(settings: Settings, nc: Connection) -> bool:
    try:
        mail = await mail_info(nc, settings.cell)
        return mail is not None and await last_seq(nc, events_stream(settings.cell)) is not None
    except BrokerError:
        return False
