"""Where reading the mail starts: decided from what the log tracks and what the broker says. Pure; the worker acts.

A *life* of the mail is one stretch of sequences that belong together, named by the stream's incarnation. Nothing that a
broker still holds is ever passed over: a stream that is not surely the one that was read is read from its beginning.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol

from adapters.nats.errors import BrokerError, Gap, ReaderLost
from domain.cellular import NoteBrokerReset
from domain.ports import Tracked

GONE = "the mail stream was gone"
OTHER = "the mail stream has begun another life"
WENT_BACK = "the mail stream went back to an older copy"


class Info(Protocol):
    """As much as is asked of a broker's description of the mail stream (`adapters.nats.streams.MailInfo`)."""

    @property
    def incarnation(self) -> str:
        """Name of the stream's life; "" if somebody else made it."""
        ...

    @property
    def first_seq(self) -> int:
        """Sequence of the oldest message kept; last_seq + 1 in an empty stream."""
        ...

    @property
    def last_seq(self) -> int:
        """Sequence of the newest message ever stored."""
        ...


class Stored(Protocol):
    """As much as is asked of a message that was read back (`adapters.nats.streams.Stored`)."""

    @property
    def time_ms(self) -> int:
        """The broker's time stamp, UTC ms."""
        ...

    @property
    def payload(self) -> bytes:
        """Its bytes."""
        ...


class Begin(NamedTuple):
    """Begin to read another life of the mail."""

    position: int
    """Sequence in front of the first message to read."""
    reason: str
    """Why, for people; "" where the log has read no mail before."""
    rename: bool
    """Whether the stream needs an incarnation of its own first: it has none, or the one whose positions are wrong."""

    def note(self, tracked: Tracked, incarnation: str) -> NoteBrokerReset | None:
        """Return what is recorded of it; None for the first life."""
        if not tracked.incarnation:
            return None
        return NoteBrokerReset(tracked.incarnation, incarnation, tracked.position, self.reason)


def must_read_back(tracked: Tracked, info: Info) -> bool:
    """Whether what is at the tracked position must be fetched to know that the stream is the one that was read."""
    return tracked.position > 0 and info.incarnation == tracked.incarnation and info.last_seq >= tracked.position


def begin(tracked: Tracked, info: Info, last: Stored | None) -> Begin | None:
    """Tell what to do about a stream that is there; None: go on behind the tracked position.

    Args:
        tracked: the log's row.
        info: what the broker says of the stream.
        last: the message at the tracked position, where `must_read_back`; None if it is not there.
    """
    if not tracked.incarnation:
        reason = ""
    elif info.incarnation != tracked.incarnation:
        reason = OTHER
    elif info.last_seq < tracked.position or not _same(tracked, last):
        reason = WENT_BACK
    else:
        return None
    return _from_the_beginning(tracked, info, reason)


def begin_made(tracked: Tracked, info: Info) -> Begin:
    """Tell where to begin in a stream that was gone and has just been made, by us or by somebody faster."""
    return _from_the_beginning(tracked, info, GONE)


def begin_renamed(start: Begin, info: Info | None, incarnation: str) -> Begin:
    """Tell where a stream begins that has got its new name: an older copy may have been put back before it did.

    Copies made from now on carry the name, and hold everything up to there.

    Raises:
        ReaderLost: it is gone, or has another name already: look again.
    """
    if info is None or info.incarnation != incarnation:
        raise ReaderLost("the mail stream changed while it was given its name")
    return start._replace(position=info.first_seq - 1)


def in_doubt(tracked: Tracked, info: Info | None, last: Stored | None) -> BrokerError | None:
    """Return why the stream must not be read, or purged, any further as if it were the one that was read."""
    if info is None or begin(tracked, info, last) is not None:
        return ReaderLost("the mail stream, or the last handled message in it, is not the one that was read")
    if info.first_seq > tracked.position + 1:
        return Gap(tracked.position + 1, info.first_seq)
    return None


def lost(tracked: Tracked, missing: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the first and last sequence of mail that is gone right behind the tracked position; None: read again.

    Args:
        tracked: the log's row.
        missing: ranges that the broker confirms to be gone, in order, both ends included.
    """
    for first, last in missing:
        if first <= tracked.position + 1 <= last:
            return tracked.position + 1, last
    return None


def _from_the_beginning(tracked: Tracked, info: Info, reason: str) -> Begin:
    rename = not info.incarnation or info.incarnation == tracked.incarnation
    return Begin(info.first_seq - 1, reason, rename)


def _same(tracked: Tracked, last: Stored | None) -> bool:
    """Whether it is the message that was handled: its bytes and its time (the same bytes may have come again).

    A life that began behind mail that is gone has nothing there: what is found there is of another life.
    """
    if not tracked.digest:
        return last is None
    return last is not None and last.time_ms == tracked.at_ms and sha256(last.payload).digest() == tracked.digest
