"""Shipments with lots and carbon figures, as one EPCIS 2.0 document."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import msgspec

from domain import order as orders
from domain.barcodes import barcodes
from domain.catalogue import decode_event
from domain.ids import BARCODES_KEY
from domain.ports import EventLog, Recorded
from domain.timehub import zone_of
from projections.base import in_current_shape, observed_at_of
from projections.epcis import Names, Told, events_of, gtin_of, head
from runners.exporting.reading import Progress, Span, by_order, iso

_encode = msgspec.json.Encoder().encode
_LOTS = "order.lots_recorded"


def write_epcis(
    log: EventLog, file: Path, cell: str, zone: str, base: str, span: Span, progress: Progress
) -> dict[str, Any]:
    """Write what left in a span, and return what was written.

    Args:
        log: the log.
        file: to be written.
        cell: name of the cell.
        zone: the merchant's zone.
        base: what the merchant's identifiers begin with (see `projections.epcis.checked_base`).
        span: which shipments.
        progress: told how far it is.
    """
    names = Names(base, _gtins(log))
    generation = log.tracked().generation
    orders_told = events = 0
    with file.open("wb") as out:
        opening = _encode(head(base, iso(int(datetime.now(UTC).timestamp() * 1000))))
        out.write(opening[:-1] + b',"epcisBody":{"eventList":[')
        for stream, recorded in by_order(log, span, progress):
            if not any(event.tag == _LOTS for event in recorded):
                continue
            story = _story(recorded, f"/orderspine/{cell}/{stream}#{generation}", zone_of(zone), span)
            count = events
            for made in events_of(stream, story, names):
                out.write((b",\n" if events else b"\n") + _encode(made))
                events += 1
            orders_told += events > count
        out.write(b"\n]}}\n")
    return {"orders": orders_told, "events": events}


def _story(recorded: Sequence[Recorded], source: str, zone: tzinfo, span: Span) -> Iterator[Told]:
    state = orders.order.initial
    for event in recorded:
        facts = decode_event(event.tag, event.data)
        held = (*state.allocations, *orders.replacements_of(state))
        ms = getattr(facts, "shipped_ms", 0) or observed_at_of(event.envelope)
        offset = f"{datetime.fromtimestamp(ms // 1000, zone):%z}"
        yield Told(
            facts,
            f"{source}:{event.position}",
            iso(ms),
            f"{offset[:3]}:{offset[3:5]}",
            {each.id: each.warehouse for each in held},
            span.covers(ms),
        )
        state = orders.evolve(state, facts)


def _gtins(log: EventLog) -> dict[str, str]:
    """Return SKU → GTIN, of the barcodes that are one; of several the lowest."""
    state = barcodes.initial
    loaded = log.select_many((BARCODES_KEY,), snapshots=False).get(BARCODES_KEY)
    for event in in_current_shape(loaded.events if loaded else ()):
        state = barcodes.evolve(state, decode_event(event.tag, event.data))
    found = sorted((gtin, sku) for code, sku in state.table.items() if (gtin := gtin_of(code)))
    return {sku: gtin for gtin, sku in reversed(found)}
