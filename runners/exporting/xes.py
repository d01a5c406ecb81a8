"""Orders as XES (IEEE 1849-2016): one trace for each order, one event for each of its events.

Structure and names of the standard extensions (concept, time, lifecycle, organizational) as the standard has them.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from domain.catalogue import decode_event
from domain.decider import Event
from domain.envelope import decode_envelope
from domain.ids import parts_of
from domain.order import shown_status
from domain.ports import EventLog, Recorded
from projections.base import as_text, observed_at_of
from projections.object_log import Seen, Value, attributes_of, seen_after, seen_first
from runners.exporting.reading import Progress, Span, Ticks, by_order

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no place for."""
_EXTENSIONS = (("Concept", "concept"), ("Time", "time"), ("Lifecycle", "lifecycle"), ("Organizational", "org"))
_STANDARD = {"by": "org:resource", "by_role": "org:role"}
"""Our attributes that have a name in the standard."""


def write_xes(log: EventLog, file: Path, cell: str, span: Span, progress: Progress) -> dict[str, Any]:
    """Write the orders that have events in a span, with these events, and return what was written."""
    traces = events = 0
    with file.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(_head(cell))
        for stream, recorded in by_order(log, span, progress):
            trace = list(_trace(stream, recorded, span))
            if trace:
                traces += 1
                events += len(trace) - 1
                out.write("<trace>\n")
                out.writelines(trace)
                out.write("</trace>\n")
        out.write("</log>\n")
    return {"traces": traces, "events": events}


def _head(cell: str) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield '<log xes.version="1849.2016" xes.features="" xmlns="http://www.xes-standard.org/">\n'
    for name, prefix in _EXTENSIONS:
        yield f'<extension name="{name}" prefix="{prefix}" uri="http://www.xes-standard.org/{prefix}.xesext"/>\n'
    yield '<global scope="trace"><string key="concept:name" value=""/></global>\n'
    yield (
        '<global scope="event"><string key="concept:name" value=""/>'
        '<date key="time:timestamp" value="1970-01-01T00:00:00.000Z"/>'
        '<string key="lifecycle:transition" value="complete"/></global>\n'
    )
    yield '<classifier name="Activity" keys="concept:name"/>\n'
    yield f"{_attribute('concept:name', f'orders of {cell}')}\n"


def _trace(stream: str, recorded: Sequence[Recorded], span: Span) -> Iterator[str]:
    """Yield the attributes of an order and its events; nothing where none is in the span."""
    seen = seen_first(stream)
    ticks = Ticks()
    shown: list[str] = []
    for event in recorded:
        facts = decode_event(event.tag, event.data)
        seen = seen_after(seen, stream, facts)
        time = ticks.of(ms := observed_at_of(event.envelope))
        if span.covers(ms):
            shown.append(_event(event, facts, time))
    if shown:
        yield _of_order(stream, seen)
        yield from shown


def _of_order(stream: str, seen: Seen) -> str:
    channel, shop, number = parts_of(stream)
    values: dict[str, Value] = {"concept:name": stream, "channel": channel, "shop": shop, "order_no": number}
    if seen.customer:
        values["customer"] = seen.customer
    values["state"] = shown_status(seen.state)
    return "".join(_attribute(key, value) for key, value in values.items()) + "\n"


def _event(event: Recorded, facts: Event, time: str) -> str:
    values = attributes_of(event.tag, event.position, facts, decode_envelope(event.envelope).by)
    told = "".join(_attribute(_STANDARD.get(key, key), value) for key, value in values.items())
    name = _attribute("concept:name", event.tag)
    return (
        f'<event>{name}<date key="time:timestamp" value="{time}"/>'
        f'<string key="lifecycle:transition" value="complete"/>{told}</event>\n'
    )


def _attribute(key: str, value: Value) -> str:
    if isinstance(value, bool):
        return f'<boolean key="{key}" value="{str(value).lower()}"/>'
    if isinstance(value, int):
        return f'<int key="{key}" value="{value}"/>'
    text = quoteattr(_FORBIDDEN.sub("\ufffd", as_text(value)))
    return f'<string key="{key}" value={text}/>'
