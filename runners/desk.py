"""The gateway's desk: what is handed in is cut into mail, gathered with that of other requests, and seen through.

Gathering waits for nobody: while one batch is on its way to the broker the mail of further requests collects, and
leaves together as the next one. So a lone request is quick, and many share one sync of the disk.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec
import structlog

from adapters.channels.json_halves import decoded
from adapters.nats.errors import BrokerError
from adapters.nats.tasks import end_tasks
from adapters.web.ports import Busy, Handed, Taken, TooMany, UnknownChannel
from domain.mail import AsideReport, ChannelPayload, Mail, Reply
from domain.mapping_table import BadMapping
from domain.ports import Channel, Conflict, Templated
from runners.cutting import Cutter, Source, Spool
from runners.post import MailFull, NoAnswer
from runners.vitals import STORE_AWAY

log = structlog.get_logger(__name__)

R = TypeVar("R")

BATCH_MESSAGES_MAX = 200
BATCH_BYTES_MAX = 2 * 1024 * 1024
COMMIT_LANES = 2
"""Batches that may wait for their commit at the same time: one is committed while the next one gathers."""
DURABLE_LANES = 2
"""One on its way, one being made ready."""
ANSWER_S = 15.0
"""Longest wait for a commit."""
WEBHOOK_S = 4.5
"""The same for a platform: they hang up after five seconds, and come again."""
MESSAGES_PER_S = 200
"""A request with many orders may take a second longer for each so many."""
IN_PLACE_BYTES_MAX = 64 * 1024
"""Larger documents are cut in a thread, so that other requests need not wait."""
CUTS_AT_ONCE = 2
CLOSE_S = 3.0
PARTS_MAX = 20_000
"""Most orders of one push."""
COMMAS_MAX = 2_000_000
"""More of them are no orders: in 32 MiB of orders there are about a million."""
SOURCE_NUMBER = 1
FULL_RETRY_S = 5

Send = Callable[[Sequence[Mail]], Awaitable[Sequence[R]]]


class _Waiting(NamedTuple, Generic[R]):
    mails: Sequence[Mail]
    answer: "asyncio.Future[Sequence[R]]"


class Gathering(Generic[R]):
    """Gathers mail of many requests into few batches."""

    def __init__(self, send: "Send[R]", lanes: int) -> None:
        """Send with `send`, up to `lanes` batches at the same time."""
        self._send = send
        self._waiting: deque[_Waiting[R]] = deque()
        self._more = asyncio.Condition()
        self._lanes = [asyncio.create_task(self._serve(), name="gateway-lane") for _ in range(lanes)]
        self._closing = False

    async def send(self, mails: Sequence[Mail]) -> Sequence[R]:
        """Return what became of these, in their order. Whoever gives up waiting stops nothing.

        Raises:
            NoAnswer, BrokerError: they may or may not have been delivered.
        """
        answer: asyncio.Future[Sequence[R]] = asyncio.get_running_loop().create_future()
        async with self._more:
            self._waiting.append(_Waiting(mails, answer))
            self._more.notify()
        return await answer

    async def close(self, wait_s: float = CLOSE_S) -> None:
        """Send what waits, then end; what takes longer than `wait_s` is given up (who waited for it has gone)."""
        self._closing = True
        async with self._more:
            self._more.notify_all()
        await asyncio.wait(self._lanes, timeout=wait_s)
        await end_tasks(self._lanes)

    async def _serve(self) -> None:
        while True:
            async with self._more:
                while not self._waiting and not self._closing:
                    await self._more.wait()
                if not self._waiting:
                    return
                batch = self._take()
            await self._deliver(batch)

    def _take(self) -> "list[_Waiting[R]]":
        """Take as many requests as make a good batch, at least one."""
        batch = [self._waiting.popleft()]
        messages, size = len(batch[0].mails), _size(batch[0].mails)
        while self._waiting:
            following = self._waiting[0].mails
            messages, size = messages + len(following), size + _size(following)
            if messages > BATCH_MESSAGES_MAX or size > BATCH_BYTES_MAX:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _deliver(self, batch: "list[_Waiting[R]]") -> None:
        mails = [mail for each in batch for mail in each.mails]
        try:
            replies = await self._send(mails)
        except* (NoAnswer, BrokerError) as errors:
            self._fail(batch, _first(errors))
        except* Exception as errors:  # noqa: BLE001  whoever sent it is told
            # A mail that cannot be sent must not take those of other requests along.
            if len(batch) > 1:
                for each in batch:
                    await self._deliver([each])
            else:
                self._fail(batch, _first(errors))
        else:
            at = 0
            for each in batch:
                if not each.answer.done():
                    each.answer.set_result(replies[at : at + len(each.mails)])
                at += len(each.mails)

    @staticmethod
    def _fail(batch: "list[_Waiting[R]]", error: BaseException) -> None:
        for each in batch:
            if not each.answer.done():
                each.answer.set_exception(error)


class Desk:
    """The port `adapters.web.ports.Intake`."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        spool: Spool,
        send: "Send[Reply]",
        hand_over: Callable[[Sequence[Mail]], Awaitable[None]],
        now_ms: Callable[[], int],
        cutting: Callable[[Channel], Channel] = lambda channel: channel,
    ) -> None:
        """Take the channels by name; `send` waits for the commit, `hand_over` until it is durable.

        `cutting` returns a channel of tables as it cuts them now.
        """
        self._channels = channels
        self._cutting = cutting
        self._spool = spool
        self._now_ms = now_ms
        self._cuts = asyncio.Semaphore(CUTS_AT_ONCE)
        self._committed: Gathering[Reply] = Gathering(send, COMMIT_LANES)

        async def durable(mails: Sequence[Mail]) -> Sequence[None]:
            await hand_over(mails)
            return [None] * len(mails)

        self._durable: Gathering[None] = Gathering(durable, DURABLE_LANES)

    @property
    def channels(self) -> Collection[str]:
        """Names of the channels."""
        return self._channels.keys()

    async def take(self, handed: Sequence[Handed], *, committed: bool, correlation: str) -> list[Taken]:
        """Take in; see `Intake.take`."""
        mails = [mail for each in handed for mail in await self._cut(each, correlation)]
        longest_s = WEBHOOK_S if any(each.pipe == "webhook" for each in handed) else ANSWER_S
        began = time.monotonic()
        try:
            async with asyncio.timeout(longest_s + len(mails) / MESSAGES_PER_S):
                if committed:
                    replies = await self._committed.send(mails)
                    return [
                        Taken(_key(mail), _order_no(mail), reply.outcome, reply.reason or _reason(mail))
                        for mail, reply in zip(mails, replies, strict=True)
                    ]
                await self._durable.send(mails)
                return [Taken(_key(mail), _order_no(mail), _foreseen(mail), _reason(mail)) for mail in mails]
        except TimeoutError:
            waited = time.monotonic() - began
            log.warning("desk.no_answer", messages=len(mails), seconds=round(waited, 1), correlation=correlation)
            raise Busy(
                f"nobody has handled it within {waited:.0f} s; it may be safe already",
                retry_after_s=5,
                advice="send the same again: what is known already changes nothing",
            ) from None
        except MailFull as error:
            raise Busy(str(error), retry_after_s=FULL_RETRY_S) from error
        except (NoAnswer, BrokerError) as error:
            log.warning("desk.not_delivered", messages=len(mails), error=str(error), correlation=correlation)
            raise Busy(
                "the broker takes nothing now", advice="send the same again: what is known already changes nothing"
            ) from error

    async def close(self) -> None:
        """See through what waits."""
        await asyncio.gather(self._committed.close(), self._durable.close())

    async def _cut(self, handed: Handed, correlation: str) -> list[Mail]:
        if handed.channel not in self._channels:
            known = ", ".join(sorted(self._channels))
            raise UnknownChannel(f"there is no channel {handed.channel[:40]!r}; known are {known}")
        channel = self._channels[handed.channel]
        source = Source(handed.pipe, handed.source, SOURCE_NUMBER, handed.form)
        now_ms = self._now_ms()

        def cut() -> list[Mail]:
            cutter = Cutter(
                {channel.name: self._cutting(channel)}, self._spool, channel=handed.channel, shop=handed.shop
            )
            return [
                msgspec.structs.replace(mail, correlation=correlation)
                for mail in cutter.cut(handed.raw, source, now_ms)
            ]

        if len(handed.raw) <= IN_PLACE_BYTES_MAX and not isinstance(channel, Templated):
            return cut()
        async with self._cuts:
            if handed.pipe == "push" and await asyncio.to_thread(_too_many, handed.raw):
                raise TooMany(f"there are more than {PARTS_MAX:,} orders in it")
            try:
                return await asyncio.to_thread(cut)
            except BadMapping as error:
                log.warning("desk.mapping_unreadable", channel=channel.name, reason=str(error), correlation=correlation)
                raise Busy(
                    f"this build cannot read the mapping of {channel.name} in force",
                    retry_after_s=FULL_RETRY_S,
                    advice="apply one that it can read, then send the same again",
                ) from None
            except (Conflict, *STORE_AWAY) as error:
                # Large documents are put aside on the disk first.
                log.warning("desk.not_kept", error=type(error).__name__, correlation=correlation)
                raise Busy("large documents cannot be kept now", retry_after_s=FULL_RETRY_S) from error


class _Several(msgspec.Struct):
    orders: list[msgspec.Raw] = []


_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_several = msgspec.json.Decoder(_Several).decode


def _too_many(raw: bytes) -> bool:
    """Tell whether there are more parts in it than anybody sends at once, before anything is built of them."""
    if raw.count(b",") > COMMAS_MAX:
        return True
    try:
        if raw.lstrip()[:1] == b"[":
            return len(decoded(_list, raw)) > PARTS_MAX
        return len(decoded(_several, raw).orders) > PARTS_MAX
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False  # what it is instead is said where it is cut


def _size(mails: Sequence[Mail]) -> int:
    return sum(len(mail.body.raw) for mail in mails if isinstance(mail.body, ChannelPayload | AsideReport))


def _key(mail: Mail) -> str:
    return mail.to if isinstance(mail.body, ChannelPayload) else ""


def _order_no(mail: Mail) -> str:
    return mail.body.order_no if isinstance(mail.body, ChannelPayload | AsideReport) else ""


def _reason(mail: Mail) -> str:
    return mail.body.reason if isinstance(mail.body, AsideReport) else ""


def _foreseen(mail: Mail) -> str:
    """Return the outcome where nobody waits for it: what is no order is known to be none."""
    return mail.body.kind if isinstance(mail.body, AsideReport) else "durable"


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
