"""From a platform's documents to mail, and from mail to answers: what pulls, hints, sockets and comparisons share."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from adapters.nats.errors import BrokerError
from adapters.platforms.connection import Connection
from domain.mail import ChannelPayload, Mail, Reply
from runners.bootstrap import channels, open_spool, open_vault
from runners.connections import BadConnections
from runners.cutting import Cutter, Source
from runners.post import NoAnswer, NotRunning, Postman

if TYPE_CHECKING:
    from adapters.storage.postgres_vault import PostgresVault
    from adapters.storage.spool import Spool
    from adapters.storage.vault import SqliteVault
    from domain.ports import Channel
    from runners.settings import Settings

TIMEOUT_S = 20.0
"""How long nothing at all may happen to mail before its sending counts as failed; it is sent again then."""
AWAY = (NotRunning, NoAnswer, BrokerError)
"""What goes wrong while the broker or the worker is away: nobody's fault, and over soon."""


class Sent(NamedTuple):
    """A mail and what became of it."""

    mail: Mail
    reply: Reply


class Mailroom:
    """Cuts documents into mail and sees it through. An async context manager.

    The way to the broker is opened when it is first needed, and anew after it was lost.
    """

    def __init__(self, settings: "Settings", name: str) -> None:
        """Nothing is opened yet; `name` is what the broker knows us by."""
        self._settings = settings
        self._name = name
        self._channels: Mapping[str, Channel] = {}
        self._vault: SqliteVault | PostgresVault | None = None
        self._spool: Spool | None = None
        self._postman: Postman | None = None
        self._opening = asyncio.Lock()
        self._users: Counter[Postman] = Counter()
        self._dismissed: list[Postman] = []

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Release everything."""
        if self._postman is not None:
            self._dismiss(self._postman)
        self._users.clear()  # whoever still waited was cancelled before
        await self._close_unused()
        if self._spool is not None:
            self._spool.close()
        if self._vault is not None:
            self._vault.close()

    async def ready(self) -> None:
        """See that mail can be sent.

        Raises:
            NotRunning: nobody runs here.
        """
        await self._open()

    async def cut(self, connection: Connection, documents: Sequence[bytes], pipe: str, now_ms: int) -> list[Mail]:
        """Return the mail of a connection's documents.

        Raises:
            BadConnections: this build cannot read the channel.
        """
        return await asyncio.to_thread(self._cut, connection, documents, pipe, now_ms)

    async def send(self, mails: Sequence[Mail]) -> list[Sent]:
        """Send and return what became of each, after its commit.

        Raises:
            NotRunning, NoAnswer, BrokerError: it may or may not have arrived; sending it again is harmless.
        """
        if not mails:
            return []
        postman = await self._open()
        self._users[postman] += 1
        try:
            replies = await postman.send(mails)
        except ExceptionGroup as troubles:
            self._dismiss(postman)
            if troubles.split(AWAY)[1] is not None:
                raise
            # One of them, bare: callers tell what to do by its kind.
            raise _first(troubles) from None
        finally:
            self._users[postman] -= 1
            await self._close_unused()
        return [Sent(mail, reply) for mail, reply in zip(mails, replies, strict=True)]

    def _cut(self, connection: Connection, documents: Sequence[bytes], pipe: str, now_ms: int) -> list[Mail]:
        cutter = self._cutter(connection)
        # Named after the connection: whoever follows a hint knows by it whom to ask.
        return [
            mail
            for number, raw in enumerate(documents, 1)
            for mail in cutter.cut(raw, Source(pipe, connection.name, number), now_ms)
        ]

    def _cutter(self, connection: Connection) -> Cutter:
        if self._spool is None:
            self._channels = channels(self._settings)
            self._vault = open_vault(self._settings)
            self._spool = open_spool(self._settings, self._vault)
        if connection.channel not in self._channels:
            raise BadConnections(f"connection {connection.name}: this build cannot read channel {connection.channel}")
        return Cutter(self._channels, self._spool, channel=connection.channel, shop=connection.shop)

    async def _open(self) -> Postman:
        async with self._opening:
            if self._postman is not None and self._postman.connection.is_closed:
                self._dismiss(self._postman)
            if self._postman is None:
                self._postman = await Postman(self._settings, name=self._name, timeout_s=TIMEOUT_S).__aenter__()
            return self._postman

    def _dismiss(self, postman: Postman) -> None:
        """Use another one from now on; others may still wait for this one's answers."""
        if self._postman is postman:
            self._postman = None
            self._dismissed.append(postman)

    async def _close_unused(self) -> None:
        unused = [postman for postman in self._dismissed if not self._users[postman]]
        self._dismissed = [postman for postman in self._dismissed if self._users[postman]]
        for postman in unused:
            del self._users[postman]
            await postman.__aexit__(None, None, None)


def outcomes(sent: Sequence[Sent]) -> Counter[str]:
    """Count what became of mail."""
    return Counter(each.reply.outcome for each in sent)


def is_order(mail: Mail) -> bool:
    """Tell whether a mail carries an order, and not something that is none."""
    return isinstance(mail.body, ChannelPayload)


def _first(troubles: ExceptionGroup[Exception]) -> Exception:
    error: BaseException = troubles
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
