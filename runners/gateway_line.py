"""The gateway's line to the cell's mail: one postman, and another one where its connection was given up."""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from adapters.nats.client import Connection
from adapters.nats.errors import BrokerError, BrokerUnavailable
from domain.mail import Mail, Reply
from runners.post import NoAnswer, NotRunning, Postman
from runners.settings import Settings

log = structlog.get_logger(__name__)

LOOK_S = 0.2
TIMEOUT_S = 20.0
"""How long nothing at all may happen to mail before it counts as not delivered."""


class Line:
    """Sends mail as long as there is a way to the broker. A context manager would wait for one; this does not."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; `keep` connects."""
        self._settings = settings
        self._postman: Postman | None = None
        self._old: list[Postman] = []
        self._said = ""

    @property
    def connection(self) -> Connection | None:
        """The connection, while there is one."""
        return self._postman.connection if self._postman is not None else None

    async def keep(self) -> None:
        """Connect, and again whenever the connection was given up, until cancelled."""
        while True:
            if self._postman is None or self._postman.connection.is_closed:
                await self._connect()
            await asyncio.sleep(LOOK_S)

    async def send(self, mails: Sequence[Mail]) -> list[Reply]:
        """Send and wait for the commit; see `Postman.send`."""
        return await self._there().send(mails)

    async def hand_over(self, mails: Sequence[Mail]) -> None:
        """Send and wait until it is durable; see `Postman.hand_over`."""
        await self._there().hand_over(mails)

    async def close(self) -> None:
        """Disconnect."""
        for postman in (*self._old, self._postman):
            if postman is not None:
                await postman.__aexit__(None, None, None)
        self._old, self._postman = [], None

    def _there(self) -> Postman:
        if self._postman is None:
            raise BrokerUnavailable("there is no connection to the broker yet")
        return self._postman

    async def _connect(self) -> None:
        postman = Postman(self._settings, name="orderspine-gateway", timeout_s=TIMEOUT_S, patient=False)
        try:
            await postman.__aenter__()
        except (NotRunning, BrokerError) as error:
            if str(error) != self._said:
                log.warning("gateway.no_broker", reason=str(error))
                self._said = str(error)
            return
        if self._postman is not None:
            # Mail under way on it ends by itself, with an error; it is released with the rest.
            self._old.append(self._postman)
            await self._drop_old()
        self._postman, self._said = postman, ""
        log.info("gateway.connected")

    async def _drop_old(self) -> None:
        with contextlib.suppress(NoAnswer, BrokerError):
            while len(self._old) > 1:
                await self._old.pop(0).__aexit__(None, None, None)
