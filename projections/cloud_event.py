"""Recorded events as CloudEvents 1.0: one mapping, for the EVENTS stream, webhooks and exports alike.

Attributes are worked out from what is recorded, never made up: an event has the same id, source, type, subject and time
wherever and whenever it is passed on. Nothing personal is in a record's data, so nothing is in these.
"""

from datetime import UTC, datetime

from domain.ports import Recorded
from projections.base import at_of

MINUTES_KEPT = 1_000


class CloudEvents:
    """Writes events of one generation of a cell's log.

    All that is written of an event beside its data is ASCII that needs no escaping, neither in headers nor in JSON.
    """

    def __init__(self, cell: str, generation: str) -> None:
        """Name the cell and its log's generation."""
        self._source = f"/orderspine/{cell}/"
        self._generation = generation
        self._headers = f"ce-specversion: 1.0\r\ncontent-type: application/json\r\nce-generation: {generation}\r\n"
        self._time = Clock().of

    def id_of(self, event: Recorded) -> str:
        """Return generation of the log and position in it: `life:17`."""
        return f"{self._generation}:{event.position}"

    def headers(self, event: Recorded) -> bytes:
        """Return the attributes of an event in binary mode, as header lines, each ended by CR LF."""
        position, stream, version, tag, envelope, _, _, _ = event
        return (
            f"{self._headers}ce-id: {self._generation}:{position}\r\nce-source: {self._source}{stream}\r\n"
            f"ce-type: {tag}\r\nce-subject: {stream}\r\nce-time: {self._time(envelope)}\r\n"
            f"ce-position: {position}\r\nce-version: {version}\r\n"
        ).encode()

    def line(self, event: Recorded) -> bytes:
        """Return an event in the JSON event format, as one line.

        `generation`, `position` and `version` are extension attributes; they are texts, as an integer of CloudEvents
        ends at 2,147,483,647.
        """
        position, stream, version, tag, envelope, data, _, _ = event
        lead = (
            f'{{"specversion":"1.0","id":"{self._generation}:{position}","source":"{self._source}{stream}",'
            f'"type":"{tag}","subject":"{stream}","time":"{self._time(envelope)}",'
            f'"datacontenttype":"application/json","generation":"{self._generation}","position":"{position}",'
            f'"version":"{version}","data":'
        )
        return b"%b%b}\n" % (lead.encode(), data)


class Clock:
    """Times of envelopes, RFC 3339 in UTC; events of a step carry the same bytes, those of a batch the same minute."""

    def __init__(self) -> None:
        self._envelope = b""
        self._text = ""
        self._minutes: dict[int, str] = {}

    def of(self, envelope: bytes) -> str:
        """Return the time of an envelope, with milliseconds."""
        if envelope != self._envelope:
            minute, ms = divmod(_at(envelope), 60_000)
            prefix = self._minutes.get(minute)
            if prefix is None:
                if len(self._minutes) > MINUTES_KEPT:
                    self._minutes.clear()
                prefix = datetime.fromtimestamp(60 * minute, UTC).strftime("%Y-%m-%dT%H:%M:")
                self._minutes[minute] = prefix
            self._text = f"{prefix}{ms // 1000:02d}.{ms % 1000:03d}Z"
            self._envelope = envelope
        return self._text


def _at(envelope: bytes) -> int:
    """Return the time of an envelope; it is its first field, so that decoding the rest can be spared."""
    if envelope[:6] == b'{"at":':
        digits = envelope[6 : envelope.find(b",", 6)]
        if digits.isdigit():
            return int(digits)
    return at_of(envelope)
