"""Recorded events as CloudEvents 1.0: one mapping, for the EVENTS stream, webhooks and exports alike.

Attributes are worked out from what is recorded, never made up: an event has the same id, source, type, subject and time
wherever and whenever it is passed on. Nothing personal is in a record's data, so nothing is in these.
"""

from datetime import UTC, datetime
from typing import NamedTuple

from domain.ports import Recorded
from projections.base import at_of

SECONDS_KEPT = 1_000


class Attributes(NamedTuple):
    """The context attributes of an event, in ASCII: what is in them needs no escaping in headers nor in JSON."""

    id: bytes
    """Generation of the log and position in it: `life:17`."""
    source: bytes
    """`/orderspine/<cell>/<stream>`."""
    type: bytes
    """The event's tag."""
    subject: bytes
    """Its stream."""
    time: bytes
    """When it was recorded, RFC 3339 in UTC with milliseconds."""


class CloudEvents:
    """Makes the attributes of events of one generation of a cell's log."""

    def __init__(self, cell: str, generation: str) -> None:
        """Name the cell and its log's generation."""
        self._source = f"/orderspine/{cell}/".encode()
        self._lead = f"{generation}:".encode()
        self._generation = generation.encode()
        self._time = Clock()

    def attributes(self, event: Recorded) -> Attributes:
        """Return the attributes of an event."""
        name = event.stream.encode()
        return Attributes(
            b"%b%d" % (self._lead, event.position),
            self._source + name,
            event.tag.encode(),
            name,
            self._time.of(event.envelope),
        )

    def line(self, event: Recorded) -> bytes:
        """Return an event in the JSON event format, as one line.

        `generation`, `position` and `version` are extension attributes; they are texts, as an integer of CloudEvents
        ends at 2,147,483,647.
        """
        return (
            b'{"specversion":"1.0","id":"%b","source":"%b","type":"%b","subject":"%b","time":"%b",'
            b'"datacontenttype":"application/json","generation":"%b","position":"%d","version":"%d","data":%b}\n'
        ) % (*self.attributes(event), self._generation, event.position, event.version, event.data)


class Clock:
    """Times of envelopes as RFC 3339; the events of a step carry the same bytes, those of a batch the same second."""

    def __init__(self) -> None:
        self._envelope = b""
        self._text = b""
        self._seconds: dict[int, bytes] = {}

    def of(self, envelope: bytes) -> bytes:
        """Return the time of an envelope."""
        if envelope != self._envelope:
            second, ms = divmod(_at(envelope), 1000)
            prefix = self._seconds.get(second)
            if prefix is None:
                if len(self._seconds) > SECONDS_KEPT:
                    self._seconds.clear()
                text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
                prefix = self._seconds[second] = text.encode()
            self._text = b"%b.%03dZ" % (prefix, ms)
            self._envelope = envelope
        return self._text


def _at(envelope: bytes) -> int:
    """Return the time of an envelope; it is its first field, so that decoding the rest can be spared."""
    if envelope[:6] == b'{"at":':
        digits = envelope[6 : envelope.find(b",", 6)]
        if digits.isdigit():
            return int(digits)
    return at_of(envelope)
