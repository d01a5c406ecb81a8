"""Recorded events as CloudEvents 1.0: one mapping, for the EVENTS stream, webhooks and exports alike.

Attributes are worked out from what is recorded, never made up: an event has the same id, source, type, subject and time
wherever and whenever it is passed on. Nothing personal is in a record's data, so nothing is in these.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from domain.ports import Recorded, Told
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

    def headers(self, events: Iterable[Told]) -> list[bytes]:
        """Return the attributes of each event in binary mode, as header lines, each ended by CR LF."""
        lead, source, time = f"{self._headers}ce-id: {self._generation}:", self._source, self._time
        return [
            (
                f"{lead}{position}\r\nce-source: {source}{stream}\r\nce-type: {tag}\r\nce-subject: {stream}\r\n"
                f"ce-time: {time(envelope)}\r\nce-position: {position}\r\nce-version: {version}\r\n"
            ).encode()
            for position, stream, version, tag, envelope, _ in events
        ]

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
    """Times of envelopes, RFC 3339 in UTC; what a step records has one time, what a batch records mostly one minute."""

    def __init__(self) -> None:
        self._lead, self._text = b'{"at":0,', "1970-01-01T00:00:00.000Z"
        self._minutes: dict[int, str] = {}

    def of(self, envelope: bytes) -> str:
        """Return the time of an envelope, with milliseconds."""
        if not envelope.startswith(self._lead):
            at, lead = _at(envelope)
            minute, ms = divmod(at, 60_000)
            prefix = self._minutes.get(minute)
            if prefix is None:
                if len(self._minutes) > MINUTES_KEPT:
                    self._minutes.clear()
                prefix = datetime.fromtimestamp(60 * minute, UTC).strftime("%Y-%m-%dT%H:%M:")
                self._minutes[minute] = prefix
            digits = str(100_000 + ms)  # with a one in front, which spares padding
            self._text = f"{prefix}{digits[1:3]}.{digits[3:]}Z"
            self._lead = lead
        return self._text


def _at(envelope: bytes) -> tuple[int, bytes]:
    """Return the time of an envelope, and how all envelopes of that time begin.

    It is the first field, so that decoding the rest can be spared.
    """
    lead = envelope[: envelope.find(b",") + 1]
    if lead[:6] == b'{"at":' and lead[6:-1].isdigit():
        return int(lead[6:-1]), lead
    return at_of(envelope), envelope
