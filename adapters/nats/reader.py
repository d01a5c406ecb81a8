"""Reading a cell's mail: in order, without gaps, fast, and never trusting what the broker says was acknowledged."""

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Self

import nats.errors

from adapters.nats.client import Connection
from adapters.nats.connection import api
from adapters.nats.errors import ApiRefused, BrokerError, BrokerUnavailable, Gap, ReaderLost
from adapters.nats.streams import mail_info, mail_stream

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

_HEARTBEAT = b"100"
_PULL_ENDED = {b"404", b"408"}
_BYTES_REACHED = (b"message size exceeds maxbytes", b"batch completed")
_ACK = b"$JS.ACK."
_LONG_FORM = 11
"""From this many tokens on, domain and account stand before the stream's name."""


class Msg(NamedTuple):
    """One message of the mail."""

    seq: int
    time_ms: int
    """The broker's time stamp, UTC ms."""
    subject: str
    payload: bytes
    headers: dict[str, str] | None
    """The sender's headers (`Nats-…` left out), or None."""


class MailReader:
    """Reads the mail from `start_seq` on, through a consumer of its own that nobody else ever uses.

    Standing pull requests keep up to `read_ahead` messages under way or waiting; that is all the flow control. After
    `Gap` or `ReaderLost` only `close` is left to do: open a new reader behind the tracked position.
    """

    def __init__(
        self,
        nc: Connection,
        cell: str,
        start_seq: int,
        *,
        batch: int = 1000,
        read_ahead: int = 0,
        pull_bytes: int = 8 * 1024 * 1024,
        expires_s: float = 30.0,
        heartbeat_s: float = 1.0,
        inactive_s: float = 60.0,
    ) -> None:
        """Describe the reader; `open` makes its consumer.

        Args:
            nc: the connection; the reader is lost when it breaks.
            cell: whose mail.
            start_seq: sequence of the first message wanted.
            batch: messages per pull request.
            read_ahead: messages under way or waiting at most; 0 = two batches.
            pull_bytes: bytes per pull request at most (at least the server's largest message).
            expires_s: life of a pull request.
            heartbeat_s: how often an idle server says that it is there; silence of twice that is a loss.
            inactive_s: when the server forgets the consumer of a reader that died.
        """
        self._nc = nc
        self._cell = cell
        self._stream = mail_stream(cell)
        self._expected = start_seq
        self._batch = batch
        self._read_ahead = max(batch, read_ahead or 2 * batch)
        self._heartbeat_s = heartbeat_s
        self._inactive_s = inactive_s
        self._name = f"reader-{nc.new_inbox()[7:]}"
        self._inbox = nc.new_inbox().encode()
        pull = b'{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d}' % (
            batch,
            max(pull_bytes, 2 * 1024 * 1024),
            round(max(expires_s, 3 * heartbeat_s) * 1e9),
            round(heartbeat_s * 1e9),
        )
        self._pull = b"PUB $JS.API.CONSUMER.MSG.NEXT.%b.%b %b %d\r\n%b\r\n" % (
            self._stream.encode(),
            self._name.encode(),
            self._inbox,
            len(pull),
            pull,
        )
        self._asked = 0
        """Messages the server still owes us."""
        self._waiting: deque[tuple[bytes, bytes, bytes, bytes | None]] = deque()
        self._lead = 0
        """Length of what all our messages' reply subjects begin with."""
        self._heard = 0.0
        self.behind = 0
        """Messages of the mail behind those that `next` has returned, when the server sent the last of these."""
        self._lost: BrokerError | None = None
        self._wake: asyncio.Future[None] | None = None
        self._subscription: Subscription | None = None

    async def open(self) -> Self:
        """Make the consumer and ask for the first messages.

        Raises:
            ReaderLost: there is no such stream.
            Gap: the mail ends before the message in front of `start_seq`: the broker went back.
            BrokerUnavailable: no connection or no answer.
        """
        config = {
            "name": self._name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": max(1, self._expected),
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": round(self._inactive_s * 1e9),
        }
        request = {"stream_name": self._stream, "config": config, "action": "create"}
        self._nc.on_break(self._broke)
        try:
            self._subscription = await self._nc.listen(self._inbox.decode(), self._take)
            # A request and its answer: the subscription has reached the server before the first pull is sent.
            await api(self._nc, f"CONSUMER.CREATE.{self._stream}.{self._name}", request)
            # A consumer that starts beyond the end waits in silence until the numbers have grown that far.
            info = await mail_info(self._nc, self._cell)
            if info is not None and info.last_seq + 1 < self._expected:
                self._lose(Gap(self._expected, info.last_seq + 1))
        except ApiRefused as refused:
            await self.close()
            raise ReaderLost(f"no consumer on {self._stream}: {refused}") from refused
        except nats.errors.Error as error:
            await self.close()
            raise BrokerUnavailable(f"no consumer on {self._stream}: {error!r}") from error
        except BaseException:
            await self.close()
            raise
        lost = self._lost
        if lost is not None:
            await self.close()
            raise lost
        self._heard = time.monotonic()
        self._top_up()
        return self

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def expected(self) -> int:
        """Sequence the next message must have."""
        return self._expected

    @property
    def waiting(self) -> int:
        """Messages that are here and not yet taken."""
        return len(self._waiting)

    async def next(self, max_messages: int, timeout: float) -> list[Msg]:  # noqa: ASYNC109  part of the pull's meaning
        """Return what is there, up to `max_messages`, waiting up to `timeout` seconds for the first; [] if none came.

        Raises:
            Gap: the next message is not the expected one; those before it were returned by the call before.
            ReaderLost: consumer gone, connection lost (even if it is back) or the server fell silent.
        """
        now = time.monotonic()
        until = now + timeout
        # What arrived while the caller worked is still in the socket: give it one heartbeat before calling it silence.
        patience = now + self._heartbeat_s
        while not self._waiting:
            if self._lost is not None:
                raise self._lost
            silence = max(patience, self._heard + 2 * self._heartbeat_s)
            now = time.monotonic()
            if now >= silence:
                self._lose(ReaderLost(f"{self._stream}: no heartbeat for {now - self._heard:.1f} s"))
                continue
            if now >= until:
                return []
            await self._sleep(min(until, silence) - now)
        if self._lost is not None:
            raise self._lost
        messages = self._parse(max_messages)
        self._top_up()
        return messages

    async def close(self) -> None:
        """End the reader and delete its consumer, as far as the server can be reached (else it forgets by itself)."""
        self._lose(ReaderLost("the reader is closed"))
        self._nc.off_break(self._broke)
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        try:
            await self._nc.unlisten(subscription)
            if self._nc.is_connected:
                await api(self._nc, f"CONSUMER.DELETE.{self._stream}.{self._name}", timeout_s=2.0)
        except (BrokerError, nats.errors.Error):
            return  # the inactive threshold removes it

    def _parse(self, max_messages: int) -> list[Msg]:
        messages: list[Msg] = []
        append, pop = messages.append, self._waiting.popleft
        expected = self._expected
        lead = self._lead = self._lead or _lead(self._waiting[0][1])
        for _ in range(min(max_messages, len(self._waiting))):
            subject, reply, payload, headers = pop()
            tokens = reply[lead:].split(b".")  # delivered, stream sequence, consumer sequence, time (ns), pending …
            seq = int(tokens[1])
            if seq != expected:
                gap = Gap(expected, seq)
                self._lose(gap)
                if not messages:
                    raise gap
                break
            expected += 1
            append(
                Msg(
                    seq,
                    int(tokens[3]) // 1_000_000,
                    subject.decode(),
                    payload,
                    None if headers is None else _sender_headers(headers),
                )
            )
        self._expected = expected
        if messages:
            self.behind = int(tokens[4])
        return messages

    def _take(self, subject: bytes, reply: bytes, payload: bytes, headers: bytes | None) -> None:
        """Sink: enqueue a message, or note what the server says of a pull."""
        self._heard = time.monotonic()
        if reply.startswith(_ACK):
            self._asked -= 1
            self._waiting.append((subject, reply, payload, headers))
        elif headers is not None and headers.startswith(b"NATS/1.0 "):
            self._status(headers)
        if self._wake is not None and not self._wake.done() and (self._waiting or self._lost):
            self._wake.set_result(None)

    def _status(self, headers: bytes) -> None:
        line, _, rest = headers[9:].partition(b"\r\n")
        code, text = line[:3], line[4:].lower()
        if code == _HEARTBEAT:
            return
        if code in _PULL_ENDED or text.startswith(_BYTES_REACHED):
            self._asked = max(0, self._asked - _pending(rest))
            self._top_up()
        else:
            self._lose(ReaderLost(f"{self._stream}: {line.decode(errors='replace')}"))

    def _top_up(self) -> None:
        """Ask for more while there is room for a whole batch."""
        while self._lost is None and self._asked + len(self._waiting) + self._batch <= self._read_ahead:
            if self._asked == 0:
                self._heard = time.monotonic()  # nobody owed us a sign of life until now
            try:
                self._nc.send_now(self._pull)
            except BrokerUnavailable as error:
                self._lose(ReaderLost(str(error)))
                return
            self._asked += self._batch

    def _broke(self) -> None:
        self._lose(ReaderLost(f"{self._stream}: the connection broke"))

    def _lose(self, why: BrokerError) -> None:
        if self._lost is None:
            self._lost = why
        self._waiting.clear()
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _sleep(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._wake = wake = loop.create_future()
        timer = loop.call_later(seconds, _done, wake)
        try:
            await wake
        finally:
            timer.cancel()
            self._wake = None


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _lead(reply: bytes) -> int:
    """Return where the numbers of a reply subject begin: behind stream and consumer, in either form."""
    tokens = reply.split(b".")
    return sum(len(token) + 1 for token in tokens[: 6 if len(tokens) >= _LONG_FORM else 4])


def _pending(headers: bytes) -> int:
    """Return how many messages an ended pull was still owed."""
    for line in headers.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key == b"Nats-Pending-Messages":
            return int(value)
    return 0


def _sender_headers(block: bytes) -> dict[str, str] | None:
    # Most mail has only the batch's own headers; two counts tell that without taking the block apart.
    if block.count(b"\r\nNats-") == block.count(b": "):
        return None
    headers: dict[str, str] = {}
    for line in block.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key and not key.startswith(b"Nats-"):
            headers[key.decode("ascii", "replace")] = value.strip().decode("utf-8", "replace")
    return headers or None
