"""Publishing to streams that are derived from the log: a chain of plain messages, with one answer for a whole chunk.

Such a stream is made again from the log wherever it ends, so it need not be synced before it answers (`persist_mode`
async), and that spares the server most of its work; docs/adr/0010. The server does not take atomic batches there. In
their place the first message of a chunk names the sequence it must follow, and each later one the message it must
follow: of a chunk a prefix is stored or all of it, and the messages of two writers never mix. (Sequences alone would
not do: of a chunk that is refused at its beginning, the message whose turn it happens to be would be stored.) Streams
that were made for atomic batches get atomic batches.
"""

import secrets
from collections.abc import Sequence

from adapters.nats.client import Connection
from adapters.nats.errors import BrokerUnavailable, MessageTooLarge, WrongLastSequence
from adapters.nats.publish import Ack, BatchAck, BatchPublisher, Message, check_subject, lines_of
from adapters.nats.streams import how_stored

_HEAD = len("NATS/1.0\r\n\r\nNats-Msg-Id: \r\n\r\n")
"""Bytes of a message's headers beside the changing ones."""


class ChainPublisher(BatchPublisher):
    """Publishes chunks of plain messages that each follow the one before; `expected_last` must be given.

    Header lines are the caller's to check. Errors are those of atomic batches, but refused is the REST of
    the chunk: ask the stream where it ends. A refusal in the middle comes as WrongLastSequence, since the answer to the
    last message knows no more; from then on each message asks for its answer, and the next refusal tells its reason.
    """

    def __init__(self, nc: Connection, *, timeout_s: float = 10.0) -> None:
        """See `BatchPublisher`."""
        super().__init__(nc, timeout_s=timeout_s)
        self._name = secrets.token_urlsafe(6)
        self._asks_all = False

    def _check(self, messages: Sequence[Message]) -> None:
        """Look at each subject once; sizes are known when the frames are made."""
        for subject in {message[0] for message in messages}:
            check_subject(subject)

    def _frames(self, batch: Sequence[Message], expected_last: int | None) -> bytes:
        """Return the protocol bytes of a chunk; its first and its last message ask for an answer."""
        assert expected_last is not None, "a chain begins somewhere"
        limit = self._nc.max_payload
        first = f"{self._inbox}.{self._number}-first "
        answers = [first if self._asks_all else ""] * len(batch)
        answers[0], answers[-1] = first, f"{self._inbox}.{self._number} "
        name = f"{self._name}.{self._number}."
        follows = f"Nats-Expected-Last-Sequence: {expected_last}"
        # Of each message three pieces: what leads its header lines, the lines, the payload. CR LF is behind each piece.
        pieces: list[bytes] = []
        for number, ((subject, payload, headers), answer) in enumerate(zip(batch, answers, strict=True)):
            lines = headers if type(headers) is bytes else lines_of(headers)
            this = f"{name}{number}"
            head = _HEAD + len(follows) + len(this) + len(lines)
            size = head + len(payload)
            if size > limit:
                raise MessageTooLarge(f"{subject}: {size:,} bytes, the server takes {limit:,}")
            lead = f"HPUB {subject} {answer}{head} {size}\r\nNATS/1.0\r\n{follows}\r\nNats-Msg-Id: {this}"
            pieces += lead.encode(), lines, payload
            follows = f"Nats-Expected-Last-Msg-Id: {this}"
        pieces.append(b"")
        return b"\r\n".join(pieces)

    async def _send(self, batch: Sequence[Message], expected_last: int | None) -> Ack:
        try:
            return await super()._send(batch, expected_last)
        except WrongLastSequence:
            self._asks_all = self._asks_all or not self._early
            raise


class DerivedPublisher:
    """The way to one derived stream, as the stream's own settings have it."""

    def __init__(self, nc: Connection, stream: str, *, timeout_s: float = 10.0) -> None:
        """Name the stream; nothing is asked yet."""
        self._nc = nc
        self._stream = stream
        self._chain = ChainPublisher(nc, timeout_s=timeout_s)
        self._atomic = BatchPublisher(nc, timeout_s=timeout_s)
        self._way: BatchPublisher | None = None
        """None = in doubt."""
        self._last = 0
        """Where the stream ended when last we knew."""

    async def publish(self, messages: Sequence[Message], expected_last: int | None = None) -> BatchAck:
        """Publish; without `expected_last` behind what was published here before.

        Raises:
            WrongLastSequence: the stream does not end there: somebody else has published, something in the middle was
                refused, or the server lost what it had acknowledged. Some of the messages may be stored.
            BrokerBusy, BatchRefused: the rest was refused, or all of it where the stream takes atomic batches.
            BrokerUnavailable: no connection, no stream, no answer in time; how much was stored is unknown.
            MessageTooLarge: see `BatchPublisher`.
        """
        before = self._last
        way = self._way or await self._look()
        if expected_last is None:
            if self._last < before:
                raise WrongLastSequence(0, f"{self._stream} ended at {before} and ends at {self._last} now")
            if way is self._chain:
                expected_last = self._last
        self._way = None  # until it has answered
        ack = await way.publish_batch(messages, stream=self._stream, expected_last=expected_last)
        self._way, self._last = way, ack.last_seq
        return ack

    async def close(self) -> None:
        """End the subscriptions for acknowledgements."""
        await self._chain.close()
        await self._atomic.close()

    async def _look(self) -> BatchPublisher:
        """Ask how the stream is stored, and where it ends.

        Raises:
            BrokerUnavailable: there is no such stream.
        """
        found = await how_stored(self._nc, self._stream)
        if found is None:
            raise BrokerUnavailable(f"there is no stream {self._stream}")
        self._last = found.last_seq
        self._way = self._chain if found.derived else self._atomic
        return self._way
