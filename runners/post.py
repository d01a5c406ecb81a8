"""The postman: acts on a running cell through its mail, and waits for what became of it.

What is sent is durable when the broker has acknowledged it, and answered when the worker has committed it. Where an
outcome is unknown (a broken connection, an answer that never came) the same mail is sent again: repeats are harmless,
because channel snapshots are compared and every command carries an id made before it was first sent.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec
import nats.errors
import structlog

from adapters.nats.connection import Connection, connect
from adapters.nats.errors import ApiRefused, BatchRefused, BrokerBusy, BrokerError, BrokerUnavailable
from adapters.nats.publish import BatchPublisher
from adapters.nats.streams import mail_stream
from domain.mail import Mail, Reply, decode_replies, encode_mail, subject_of
from runners.bootstrap import broker_address, open_log
from runners.lock import holder_of
from runners.settings import Settings

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

    from domain.ports import EventLog

log = structlog.get_logger(__name__)

CHUNK_MESSAGES_MAX = 500
CHUNK_BYTES_MAX = 4 * 1024 * 1024
CHUNKS_IN_FLIGHT_MAX = 4
_EARLY_MAX = 20_000
"""Answers kept that overtook the acknowledgement of their mail."""
SENT_MAX = 5
"""How often a message that is handled without an answer is sent, before its sender is told so."""
_LOOK_S = 1.0
"""How often the log is asked whether an answer got lost."""


class NotRunning(Exception):
    """Nobody runs on this data directory, or its broker cannot be reached."""


class NoAnswer(Exception):
    """The mail could not be delivered, or nobody answered, in time. The message says which."""


class MailFull(NoAnswer):
    """The broker's mail is full: nothing of it was stored."""


class Postman:
    """Sends mail to a running cell. An async context manager.

    Entering raises NotRunning where `up` does not run.
    """

    def __init__(
        self, settings: Settings, *, name: str = "orderspine-post", timeout_s: float = 60.0, patient: bool = True
    ) -> None:
        """Prepare.

        Args:
            settings: of the cell.
            name: shown in the broker's list of connections.
            timeout_s: how long nothing at all may happen before `send` gives up.
            patient: whether a full mail is waited for, or told at once.
        """
        self._patient = patient
        self._settings = settings
        self._name = name
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(CHUNKS_IN_FLIGHT_MAX)
        self._nc: Connection | None = None
        self._publisher: BatchPublisher | None = None
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._early: OrderedDict[int, Reply] = OrderedDict()
        self._log: EventLog | None = None
        self.position = 0
        """Highest log position any answer named: a read model that has reached it shows what happened."""

    async def __aenter__(self) -> Self:
        """Connect."""
        settings = self._settings
        hint = f"start it with `orderspine up --data {settings.data}` in another terminal, and try again"
        if settings.broker == "embedded" and holder_of(settings.path) is None:
            raise NotRunning(f"OrderSpine does not run on {settings.data}: {hint}")
        try:
            self._nc = await connect(broker_address(settings), self._name, timeout_s=5.0, reconnect_s=30.0)
        except FileNotFoundError:
            raise NotRunning(f"OrderSpine on {settings.data} is still starting, or has no broker yet: {hint}") from None
        except BrokerError as error:
            raise NotRunning(f"the broker of {settings.data} cannot be reached ({error}): {hint}") from error
        self._publisher = BatchPublisher(self._nc)
        self._inbox = self._nc.new_inbox()
        try:
            self._subscription = await self._nc.listen(self._inbox, self._take)
            await self._nc.flush()
        except nats.errors.Error as error:  # it went away again
            await self._nc.close()
            raise NotRunning(f"the broker of {settings.data} does not answer ({error!r}): {hint}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Disconnect."""
        if self._publisher is not None:
            with contextlib.suppress(BrokerError):
                await self._publisher.close()
        if self._nc is not None:
            await self._nc.close()
        if self._log is not None:
            await asyncio.to_thread(self._log.close)

    @property
    def connection(self) -> Connection:
        """The connection to the broker, while entered."""
        assert self._nc is not None
        return self._nc

    async def send(self, mails: Sequence[Mail]) -> list[Reply]:
        """Send these and return what became of each, in their order, after their commit.

        Call it from several tasks to keep more under way; what is in flight is bounded all the same.

        Raises:
            NoAnswer: it could not be delivered, or nobody answered.
            MessageTooLarge: a mail exceeds the broker's limit (put its bytes into the spool); nothing was sent.
        """
        ready = [
            (subject_of(self._settings.cell, mail.to), encode_mail(msgspec.structs.replace(mail, reply_to=self._inbox)))
            for mail in mails
        ]
        chunks = list(_chunks(ready))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._deliver(chunk)) for chunk in chunks]
        return [reply for task in tasks for reply in task.result()]

    async def hand_over(self, mails: Sequence[Mail]) -> None:
        """Send these and return when they are durable; nobody is told what becomes of them.

        Raises:
            NoAnswer: not all could be delivered.
            MessageTooLarge: a mail exceeds the broker's limit; nothing was sent.
        """
        ready = [(subject_of(self._settings.cell, mail.to), encode_mail(mail)) for mail in mails]
        for chunk in _chunks(ready):
            await self._publish(chunk)

    async def _deliver(self, chunk: list[tuple[str, bytes]]) -> list[Reply]:
        """See one atomic batch through to its answers."""
        answers: list[Reply | None] = [None] * len(chunk)
        pending = list(range(len(chunk)))
        async with self._slots:
            for sent in range(1, SENT_MAX + 1):
                first = await self._publish([chunk[at] for at in pending])
                replies = await self._answers(first, len(pending))
                for at, reply in zip(pending, replies, strict=True):
                    answers[at] = reply
                pending = [at for at, reply in zip(pending, replies, strict=True) if reply is None]
                if not pending:
                    break
                log.warning("post.not_answered", messages=len(pending), sent=sent)
        if pending:
            raise NoAnswer(
                f"{len(pending)} messages were handled {SENT_MAX} times, and nobody said what became of them; see "
                f"{self._settings.path / 'log' / 'worker.log'}, and look before you send them again"
            )
        return [reply for reply in answers if reply is not None]

    async def _publish(self, messages: list[tuple[str, bytes]]) -> int:
        """Publish one batch, again where it must be, and return the sequence of its first message."""
        assert self._publisher is not None
        deadline = time.monotonic() + self._timeout_s
        wait_s = 0.1
        stream = mail_stream(self._settings.cell)
        while True:
            try:
                ack = await self._publisher.publish_batch([(*message, None) for message in messages], stream=stream)
            except (
                BatchRefused,
                BrokerUnavailable,
                ApiRefused,
            ) as error:  # nothing stored, or unknown: both may go again
                busy = isinstance(error, BrokerBusy)
                if busy and not self._patient:
                    raise MailFull("the mail is full: more came in than was handled") from error
                if time.monotonic() + wait_s > deadline:
                    raise NoAnswer(
                        f"the broker took no mail for {self._timeout_s:g} s ("
                        + ("its mail is full: the worker is behind or not running" if busy else str(error))
                        + f"); look at `orderspine status --data {self._settings.data}` and try again"
                    ) from error
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, 2.0)
            else:
                return ack.last_seq - ack.count + 1

    async def _answers(self, first: int, count: int) -> list[Reply | None]:
        """Wait for the answers to consecutive sequences; None where one got lost although the mail was handled."""
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Reply]] = []
        for sequence in range(first, first + count):
            future = self._waiting.setdefault(sequence, loop.create_future())
            if (early := self._early.pop(sequence, None)) is not None:
                future.set_result(early)
            futures.append(future)
        try:
            await self._settle(futures, first + count - 1)
        finally:
            for sequence in range(first, first + count):
                self._waiting.pop(sequence, None)
        return [future.result() if future.done() else None for future in futures]

    async def _settle(self, futures: list["asyncio.Future[Reply]"], last: int) -> None:
        """Return when all are answered, or when the log shows that the rest was handled without an answer."""
        seen, position, moved = -1, -2, time.monotonic()
        handled = False
        while True:
            _, open_ = await asyncio.wait(futures, timeout=_LOOK_S)
            if not open_ or handled:
                return
            tracked = await asyncio.to_thread(self._tracked)
            # An answer follows its commit closely; it gets one more look before it counts as lost.
            handled = tracked >= last
            if (len(open_), tracked) != (seen, position):
                seen, position, moved = len(open_), tracked, time.monotonic()
            elif time.monotonic() - moved > self._timeout_s:
                raise NoAnswer(
                    f"{len(open_)} messages are safe in the broker, but nobody has handled them for "
                    f"{self._timeout_s:g} s. They will be handled when the worker is back; see "
                    f"`orderspine status --data {self._settings.data}` and {self._settings.path / 'log' / 'worker.log'}"
                )

    def _tracked(self) -> int:
        """Return how far the mail is handled; -1 while the log cannot be asked (no worker has made it yet)."""
        from runners.vitals import STORE_AWAY  # noqa: PLC0415  imports databases' drivers that are rarely needed here

        try:
            if self._log is None:
                self._log = open_log(self._settings, read_only=True)
            return self._log.tracked().position
        except STORE_AWAY:
            return -1

    def _take(self, _subject: bytes, _reply: bytes, payload: bytes, _headers: bytes | None) -> None:
        try:
            answer = decode_replies(payload)
        except msgspec.DecodeError:
            log.warning("post.no_answer_of_ours", bytes=len(payload))
            return
        self.position = max(self.position, answer.position)
        for reply in answer.replies:
            future = self._waiting.get(reply.sequence)
            if future is None:
                self._early[reply.sequence] = reply
            elif not future.done():
                future.set_result(reply)
        while len(self._early) > _EARLY_MAX:
            self._early.popitem(last=False)


def _chunks(messages: Sequence[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    chunk: list[tuple[str, bytes]] = []
    size = 0
    for message in messages:
        if chunk and (len(chunk) >= CHUNK_MESSAGES_MAX or size + len(message[1]) > CHUNK_BYTES_MAX):
            yield chunk
            chunk, size = [], 0
        chunk.append(message)
        size += len(message[1])
    if chunk:
        yield chunk
