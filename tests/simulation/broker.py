"""A broker in memory with what the design relies on, and with what it must survive.

Sequences, atomic batches, readers by start sequence; unknown outcomes, lost connections, a wiped store, an older copy
put back (also grown past the old position), messages that are gone, redelivery.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from adapters.nats.errors import BrokerBusy, BrokerUnavailable, Gap, ReaderLost
from adapters.nats.streams import MailInfo
from runners.engine import Delivered
from tests.fakes import Faults, Trace


class Stored(NamedTuple):
    """A message in the stream."""

    time_ms: int
    payload: bytes


class Stream(msgspec.Struct):
    """The mail stream of one cell."""

    incarnation: str
    first_seq: int
    last_seq: int
    messages: dict[int, Stored]

    def copy(self) -> "Stream":
        return Stream(self.incarnation, self.first_seq, self.last_seq, dict(self.messages))


class Broker:
    """One server, seen by everybody."""

    def __init__(self, chance: Random, faults: Faults, trace: Trace, clock: Callable[[], int]) -> None:
        self._chance = chance
        self._faults = faults
        self._trace = trace
        self._clock = clock
        self.stream: Stream | None = None
        self._copies: list[Stream] = []
        self.connection = 0
        """Raised whenever all connections break."""
        self.cut_off = 0
        """For how long no worker reaches the server, while senders do."""
        self.destroyed: set[bytes] = set()
        """Payloads that an accident has taken out of the stream at some time."""
        self.silent: set[bytes] = set()
        """Those of them that nobody had read when an older copy was put back: nothing can tell that they were there."""
        self.read_to: Callable[[], tuple[str, int]] = lambda: ("", 0)
        """The log's incarnation and position, to know what is lost in silence."""

    # --- what a client may ask

    def publish(self, payloads: Sequence[bytes]) -> int:
        """Store a batch whole and return its last sequence.

        Raises:
            BrokerUnavailable: whether it was stored is unknown.
            BrokerBusy: nothing of it was stored.
        """
        self._suffer()
        if self._faults.fires("broker.full"):
            raise BrokerBusy(10077, "maximum bytes exceeded")
        if self._faults.fires("broker.publish_lost") or self.stream is None:
            raise BrokerUnavailable("no acknowledgement")
        stream = self.stream
        for payload in payloads:
            stream.last_seq += 1
            stream.messages[stream.last_seq] = Stored(self._clock(), payload)
        self._trace.note("stored", stream.incarnation, stream.last_seq - len(payloads) + 1, stream.last_seq)
        if self._faults.fires("broker.publish_unanswered"):
            raise BrokerUnavailable("the acknowledgement was lost")
        return stream.last_seq

    def info(self) -> MailInfo | None:
        """Describe the stream; None if there is none."""
        self._suffer()
        stream = self.stream
        if stream is None:
            return None
        return MailInfo(stream.incarnation, stream.first_seq, stream.last_seq, len(stream.messages), 0, 0)

    def ensure(self, incarnation: str, first_seq: int) -> MailInfo:
        """Make the stream if there is none; return what is there."""
        self._suffer()
        if self.stream is None and self._faults.fires("broker.somebody_makes_it"):
            self.stream = Stream("", 1, 0, {})
        if self.stream is None:
            self.stream = Stream(incarnation, first_seq, first_seq - 1, {})
        stream = self.stream
        return MailInfo(stream.incarnation, stream.first_seq, stream.last_seq, len(stream.messages), 0, 0)

    def rename(self, incarnation: str) -> None:
        """Give the stream another incarnation."""
        self._suffer()
        if self.stream is None:
            raise BrokerUnavailable("no such stream")
        self.stream.incarnation = incarnation

    def read_back(self, seq: int) -> Stored | None:
        """Return one message; None if it is not there."""
        self._suffer()
        if self.stream is None:
            raise BrokerUnavailable("no such stream")
        return self.stream.messages.get(seq)

    def missing(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return which ranges are gone for good; none above the last sequence, which are yet to come."""
        self._suffer()
        stream = self.stream
        if stream is None:
            return []
        gone: list[tuple[int, int]] = []
        for seq in range(first, min(last, stream.last_seq) + 1):
            if seq in stream.messages:
                continue
            if gone and gone[-1][1] == seq - 1:
                gone[-1] = (gone[-1][0], seq)
            else:
                gone.append((seq, seq))
        return gone

    def purge(self, upto: int) -> None:
        """Drop what is handled; of a stream that ends earlier all goes, and numbers go on behind `upto`."""
        before = self.stream
        self._suffer()
        stream = self.stream
        if stream is None or upto < stream.first_seq:
            return
        dropped = {seq for seq in stream.messages if seq <= upto}
        if stream is not before:
            # Nothing can see an accident between the last look and the purge.
            self._gone(dropped)
        for seq in dropped:
            del stream.messages[seq]
        stream.first_seq = upto + 1
        stream.last_seq = max(stream.last_seq, upto)

    def open(self, start_seq: int) -> "Reader":
        """Begin to read at a sequence.

        Raises:
            ReaderLost: there is no such stream.
            Gap: the mail ends before the message in front of `start_seq`.
        """
        self._suffer()
        if self.stream is None:
            raise ReaderLost("no such stream")
        if self.stream.last_seq + 1 < start_seq:
            raise Gap(start_seq, self.stream.last_seq + 1)
        return Reader(self, start_seq, self._faults, self._chance)

    # --- accidents

    def _suffer(self) -> None:
        """Let befall what may befall between any two requests."""
        if self._faults.fires("broker.wiped"):
            self._gone(set(self.stream.messages) if self.stream else set())
            self.stream = None
            self.connection += 1
        if self._faults.fires("broker.copied") and self.stream is not None:
            self._copies.append(self.stream.copy())
        if self._copies and self._faults.fires("broker.rolled_back"):
            self._roll_back()
        if self._faults.fires("broker.loses_messages"):
            self._lose()
        if self._faults.fires("broker.breaks"):
            self.connection += 1
        if self._faults.fires("broker.unavailable"):
            raise BrokerUnavailable("no answer")

    def _roll_back(self) -> None:
        copy = self._chance.choice((self._copies[-1], self._chance.choice(self._copies))).copy()
        now = self.stream
        if now is not None:
            kept = {seq for seq, stored in now.messages.items() if copy.messages.get(seq) == stored}
            incarnation, position = self.read_to()
            if copy.incarnation == incarnation and copy.last_seq >= position:
                self.silent.update(now.messages[seq].payload for seq in now.messages if seq not in kept)
                self._faults.saw("broker.lost_in_silence")
            self._gone(set(now.messages) - kept)
        self.stream = copy
        self.connection += 1
        self.cut_off = self._chance.choice((0, 10, 40))
        self._trace.note("rolled back", copy.incarnation, copy.first_seq, copy.last_seq)

    def _lose(self) -> None:
        stream = self.stream
        if stream is None or not stream.messages:
            return
        first = self._chance.choice(sorted(stream.messages))
        lost = {seq for seq in range(first, first + self._chance.randrange(1, 6)) if seq in stream.messages}
        self._gone(lost)
        for seq in lost:
            del stream.messages[seq]
        stream.first_seq = min(stream.messages, default=stream.last_seq + 1)
        self.connection += 1
        self._trace.note("lost", sorted(lost))

    def _gone(self, seqs: set[int]) -> None:
        if self.stream is not None:
            self.destroyed.update(self.stream.messages[seq].payload for seq in seqs)


class Reader:
    """A consumer of its own, by start sequence; nothing is acknowledged."""

    def __init__(self, broker: Broker, start_seq: int, faults: Faults, chance: Random) -> None:
        self._broker = broker
        self._expected = start_seq
        self._next = start_seq
        self._faults = faults
        self._chance = chance
        self._connection = broker.connection
        self._stream = broker.stream

    def next(self, limit: int) -> list[Delivered]:
        """Return what is there, up to `limit`; [] when nothing is.

        Raises:
            Gap: the next message is not the expected one; those before it were returned by the call before.
            ReaderLost: the connection broke, or the stream is another one.
        """
        broker = self._broker
        if broker.connection != self._connection or broker.stream is not self._stream or broker.stream is None:
            raise ReaderLost("the connection broke")
        stream = broker.stream
        if self._faults.fires("reader.repeats"):
            self._next = max(1, self._next - self._chance.randrange(1, 4))
        if self._faults.fires("reader.skips"):
            self._next += self._chance.randrange(1, 4)
        found: list[Delivered] = []
        while len(found) < limit and self._next <= stream.last_seq:
            seq = self._next
            stored = stream.messages.get(seq)
            if stored is None:
                self._next = min((kept for kept in stream.messages if kept > seq), default=stream.last_seq + 1)
                continue
            if seq != self._expected:
                if not found:
                    raise Gap(self._expected, seq)
                break
            found.append(Delivered(seq, stored.time_ms, stored.payload))
            self._next = self._expected = seq + 1
        return found
