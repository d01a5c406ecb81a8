"""A recorded event as the body of a delivery: a CloudEvent 1.0 in its JSON format (structured mode)."""

from datetime import UTC, datetime

import msgspec

from domain.ports import Recorded
from projections.base import at_of


def id_of(generation: str, event: Recorded) -> str:
    """Return the id of an event, the same for ever and everywhere: as the EVENTS stream has it."""
    return f"{generation}:{event.position}"


def body_of(cell: str, generation: str, event: Recorded) -> bytes:
    """Return the event as JSON; `data` is its facts as they were recorded, and nothing of them is personal.

    `generation`, `position` and `version` are extension attributes. The numbers are texts: an integer of CloudEvents
    ends at 2,147,483,647.
    """
    moment = datetime.fromtimestamp(at_of(event.envelope) / 1000, UTC).isoformat(timespec="milliseconds")
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": id_of(generation, event),
            "source": f"/orderspine/{cell}/{event.stream}",
            "type": event.tag,
            "subject": event.stream,
            "time": moment.replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "generation": generation,
            "position": str(event.position),
            "version": str(event.version),
            "data": msgspec.Raw(event.data),
        }
    )
