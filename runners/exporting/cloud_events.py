"""The log as CloudEvents 1.0, one JSON document a line: what the EVENTS stream carries, with the same attributes."""

from pathlib import Path
from typing import Any

from domain.ports import EventLog
from projections.base import at_of
from projections.cloud_event import CloudEvents
from runners.exporting.reading import Progress, Span, pages


def write_cloud_events(log: EventLog, file: Path, cell: str, span: Span, progress: Progress) -> dict[str, Any]:
    """Write the events of a span, by the time they were recorded at, and return what was written.

    Old shapes are written as current ones: a reader needs to know the catalogue of this build only.
    """
    line = CloudEvents(cell, log.tracked().generation).line
    count = 0
    with file.open("wb") as out:
        for page in pages(log, progress):
            wanted = [event for event in page if span.takes(event.stream) and span.covers(at_of(event.envelope))]
            out.writelines(map(line, wanted))
            count += len(wanted)
    return {"events": count}
