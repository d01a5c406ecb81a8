"""Durable and fast publishing: atomic batches, written to the socket as one buffer, one acknowledgement each."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import nats.errors

from adapters.nats.client import Connection
from adapters.nats.errors import (
    BatchRefused,
    BrokerBusy,
    BrokerUnavailable,
    MessageTooLarge,
    WrongLastSequence,
)

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

Headers = Mapping[str, str] | bytes | None
"""Bytes are ready-made header lines, each ended by CR LF; nothing looks into them."""
Message = tuple[str, bytes, Headers]
"""Subject, payload, headers."""

BATCH_MESSAGES_MAX = 1000
"""The server's limit."""
BATCH_BYTES_MAX = 8 * 1024 * 1024
_OVERHEAD_BYTES = 256
"""Allowance for the headers added here."""
_WRONG_LAST = {10070, 10071, 10164}
"""Another last message, another last sequence."""
_FULL = {10023, 10028, 10047, 10077, 10122}
"""Insufficient resources, memory or storage exceeded, stream store failed (max_bytes), stream resource limit."""
_UNSAFE = re.compile(r"[\s\x00-\x1f]")
_NO_RESPONDERS = b"NATS/1.0 503"


class Outgoing(NamedTuple):
    """A message to publish. Any (subject, payload, headers) tuple will do."""

    subject: str
    payload: bytes
    headers: Mapping[str, str] | None = None


class BatchAck(msgspec.Struct, frozen=True):
    """All messages are stored, under consecutive sequences that end with `last_seq`.

    They are fsynced as well, unless the stream's `persist_mode` is async.
    """

    last_seq: int
    count: int
    duplicate: bool = False
    """A single message whose `Nats-Msg-Id` was seen before: `last_seq` is the earlier one's."""


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class Ack(msgspec.Struct):
    """An acknowledgement as the server writes it."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


_decode = msgspec.json.Decoder(Ack).decode


class BatchPublisher:
    """Publishes to JetStream in atomic batches, one in flight at a time."""

    def __init__(self, nc: Connection, *, timeout_s: float = 10.0) -> None:
        """Wrap a connection; `timeout_s` bounds the wait for one batch's acknowledgement."""
        self._nc = nc
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._inbox = nc.new_inbox()
        self._subscription: Subscription | None = None
        self._number = 0
        self._answer: asyncio.Future[bytes] | None = None
        self._early = b""
        """First refusal of a message of the batch under way that is not its last; empty where there was none."""

    async def publish_batch(
        self,
        messages: Sequence[Message],
        *,
        stream: str,
        expected_last: int | None = None,
    ) -> BatchAck:
        """Publish to subjects of `stream`. Up to 1,000 messages and 8 MiB are stored all or none; more goes in several.

        With `expected_last` nothing is stored unless the stream's last sequence is that one; of a long input the later
        batches then each expect the one before.

        Raises:
            WrongLastSequence: the stream's last sequence is another.
            BrokerBusy: stream or store is full.
            BatchRefused: refused for another reason. Of these three, nothing of the refused batch is stored.
            BrokerUnavailable: no connection or no answer in time; whether the batch was stored is unknown.
            MessageTooLarge: a message exceeds the server's limit; nothing was sent.
            ValueError: a subject or header that would break the protocol; nothing was sent.
        """
        self._check(messages)
        stored, last, duplicate = 0, expected_last or 0, False
        async with self._turn:
            for batch in _split(messages):
                try:
                    ack = await self._send(batch, last if expected_last is not None else None)
                except (BatchRefused, BrokerUnavailable) as error:
                    error.stored = stored
                    raise
                if ack.stream != stream:
                    raise BatchRefused(0, f"the subjects belong to stream {ack.stream!r}, not {stream!r}")
                stored, last, duplicate = stored + len(batch), ack.seq, ack.duplicate
        return BatchAck(last, stored, duplicate)

    async def close(self) -> None:
        """End the subscription for acknowledgements."""
        if self._subscription is not None:
            await self._nc.unlisten(self._subscription)
            self._subscription = None

    def _check(self, messages: Sequence[Message]) -> None:
        """Let nothing pass that the server would break the connection for."""
        limit = self._nc.max_payload
        for subject, payload, headers in messages:
            size = len(payload) + _OVERHEAD_BYTES
            if isinstance(headers, bytes):
                size += len(headers)
            elif headers:
                size += sum(len(key) + 4 * len(value) + 4 for key, value in headers.items())
                _check_headers(headers)
            if size > limit:
                raise MessageTooLarge(f"{subject}: about {size:,} bytes, the server takes {limit:,}")
            check_subject(subject)

    async def _send(self, batch: Sequence[Message], expected_last: int | None) -> Ack:
        """Send one batch (or one plain message) and wait for its acknowledgement."""
        nc = self._nc
        if self._subscription is None:
            self._subscription = await nc.listen(f"{self._inbox}.*", self._take)
            # Raw bytes overtake what the library still holds: the subscription must have left first.
            await self._flush()
        self._number += 1
        self._early = b""
        self._answer = answer = asyncio.get_running_loop().create_future()
        nc.on_break(self._fail)
        try:
            nc.send_now(self._frames(batch, expected_last))
            async with asyncio.timeout(self._timeout_s):
                await nc.drain_socket()
                reply = await answer
        except TimeoutError:
            raise BrokerUnavailable(f"no acknowledgement within {self._timeout_s:g} s") from None
        except OSError as error:
            raise BrokerUnavailable(f"connection lost: {error}") from error
        finally:
            self._answer = None
            nc.off_break(self._fail)
        return _accepted(reply, self._early)

    async def _flush(self) -> None:
        try:
            await self._nc.flush(timeout=max(1, round(self._timeout_s)))
        except nats.errors.Error as error:
            raise BrokerUnavailable(f"the broker does not answer: {error!r}") from error

    def _frames(self, batch: Sequence[Message], expected_last: int | None) -> bytes:
        """Return the protocol bytes of a whole batch.

        The first message asks for an answer too: a batch that cannot be opened is refused there, and the answer to the
        commit would only say that it is not known.
        """
        expect = b"" if expected_last is None else b"Nats-Expected-Last-Sequence: %d\r\n" % expected_last
        reply = f"{self._inbox}.{self._number}".encode()
        count = len(batch)
        if count == 1:
            subject, payload, headers = batch[0]
            return frame(subject, payload, expect + lines_of(headers), reply)
        parts: list[bytes] = []
        lead = f"Nats-Batch-Id: {self._inbox[7:]}-{self._number}\r\nNats-Batch-Sequence: ".encode()
        for number, (subject, payload, headers) in enumerate(batch, 1):
            lines = b"%b%d\r\n" % (lead, number)
            answer = b""
            if number == 1:
                lines += expect
                answer = reply + b"-first"
            elif number == count:
                lines += b"Nats-Batch-Commit: 1\r\n"
                answer = reply
            parts.append(frame(subject, payload, lines + lines_of(headers) if headers else lines, answer))
        return b"".join(parts)

    def _take(self, subject: bytes, _reply: bytes, payload: bytes, headers: bytes | None) -> None:
        """Sink for acknowledgements; late ones of earlier batches are dropped."""
        number, _, first = subject[len(self._inbox) + 1 :].partition(b"-")
        if self._answer is None or self._answer.done() or int(number) != self._number:
            return
        content = payload or (headers or b"")
        if first:
            if not self._early and b'"error":' in content:
                self._early = content
        else:
            self._answer.set_result(content)

    def _fail(self) -> None:
        """Give up waiting: the connection broke, and the answer may have been lost with it."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(BrokerUnavailable("the connection broke while a batch was under way"))


def _split(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    start = size = 0
    for index, (_, payload, _headers) in enumerate(messages):
        if index > start and (index - start == BATCH_MESSAGES_MAX or size + len(payload) > BATCH_BYTES_MAX):
            yield messages[start:index]
            start, size = index, 0
        size += len(payload) + _OVERHEAD_BYTES
    if start < len(messages):
        yield messages[start:]


def frame(subject: str, payload: bytes, lines: bytes, reply: bytes) -> bytes:
    """Return one message as protocol bytes; `lines` are its header lines, each ended by CR LF."""
    head = len(lines) + 12  # status line, blank line
    size = head + len(payload)
    if reply:
        return b"HPUB %b %b %d %d\r\nNATS/1.0\r\n%b\r\n%b\r\n" % (subject.encode(), reply, head, size, lines, payload)
    return b"HPUB %b %d %d\r\nNATS/1.0\r\n%b\r\n%b\r\n" % (subject.encode(), head, size, lines, payload)


def lines_of(headers: Headers) -> bytes:
    """Return headers as lines, each ended by CR LF."""
    if not headers:
        return b""
    if isinstance(headers, bytes):
        return headers
    return "".join(f"{key}: {value}\r\n" for key, value in headers.items()).encode()


def check_subject(subject: str) -> None:
    """Let no subject pass that would break the protocol.

    Raises:
        ValueError: it would.
    """
    if not subject or _UNSAFE.search(subject):
        raise ValueError(f"{subject!r} cannot be a subject")


def _check_headers(headers: Mapping[str, str]) -> None:
    for key, value in headers.items():
        if not key or ":" in key or _UNSAFE.search(key) or "\r" in value or "\n" in value:
            raise ValueError(f"{key!r}: {value!r} cannot be a header")


def _accepted(reply: bytes, early: bytes) -> Ack:
    """Return the acknowledgement, or raise what it says; a refusal of the first message tells more than the last's."""
    if reply.startswith(_NO_RESPONDERS):
        raise BrokerUnavailable("no stream takes these subjects, or JetStream is not running")
    ack = _decode(reply)
    if ack.error is None:
        return ack
    error = ack.error
    if early.startswith(b"{"):
        error = _decode(early).error or error
    code = error.err_code or error.code
    if code in _WRONG_LAST:
        raise WrongLastSequence(code, error.description)
    if code in _FULL:
        raise BrokerBusy(code, error.description)
    raise BatchRefused(code, error.description)
