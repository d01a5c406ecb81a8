"""Open pick lists, as rows: what each warehouse is still asked to pick, and in which order.

`express` goes before `urgent`, that before the rest; of equals first what was promised to leave first, then the oldest.
A list of an order that something blocks is shown as stopped. A list is open from its issue until it is scanned out, or
its allocation is gone; what it is of is what the allocation still holds. What is sent for an after-sale has lists, too.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Index, SmallInteger, Text

from domain.after_sale_case import case_of_allocation
from domain.order import on_hold, why_held
from projections.base import FIXED, versioned
from projections.order_document import VERSION
from projections.order_fold import Entry

RANKS: Mapping[str, int] = {"express": 0, "urgent": 1}
"""Priority → place in the queue."""
LAST = len(RANKS)

TABLE = versioned(
    "pick_lists",
    VERSION,
    Column("pick_list", Text, primary_key=True),
    Column("key", Text, nullable=False, info={FIXED: True}),
    Column("order_no", Text, nullable=False, info={FIXED: True}),
    Column("allocation", Text, nullable=False, info={FIXED: True}),
    Column("warehouse", Text, nullable=False, info={FIXED: True}),
    Column("area", Text, nullable=False, info={FIXED: True}),
    Column("rank", SmallInteger, nullable=False),
    Column("priority", Text, nullable=False),
    Column("ship_by_ms", BigInteger, nullable=False),
    Column("issued_ms", BigInteger, nullable=False),
    Column("stopped", Text, nullable=False),
    Column("processing", SmallInteger, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("open", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("picker", Text, nullable=False),
    Column("lines", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
)
"""Open pick lists. `ship_by_ms`: what was promised, UTC ms; 0 = nothing was, as of what is sent for an after-sale.
`stopped`: why nothing of it may be picked now, or "". `processing`: 1 while an area has still to work on it. `units`:
of all SKUs; `open`: of them, those not scanned yet. `errors`: wrong scans. `picker`: who scanned last. `lines`: JSON of
[SKU, units, scanned]. `position`: of the last event that may have changed the list."""

_IN_TURN = Index(f"pick_lists_v{VERSION}_turn", TABLE.c.warehouse, TABLE.c.area, TABLE.c.rank)

_encode = msgspec.json.Encoder().encode


def list_of(allocation: str) -> str:
    """Return the id of an allocation's pick list."""
    return f"pick-{allocation}"


def list_rows(entry: Entry) -> list[tuple[Any, ...]]:
    """Return the rows of an order's open lists, as they stand after `entry.picking_at`."""
    document = entry.document
    priority = document.ruled.priority
    rank = RANKS.get(priority, LAST)
    promised_ms = document.promise.ship_by_ms if document.promise is not None else 0
    stopped = _stopped(entry)
    known = {each.allocation: each for each in document.picking}
    rows: list[tuple[Any, ...]] = []
    for each in entry.open_lists:
        picking = known[each.id]
        if each.scanned:
            lines, units, left = _progress(each.lines, each.scanned)
        else:
            lines = [(sku, wanted, 0) for sku, wanted in each.lines]
            units = left = sum([wanted for _, wanted in each.lines])
        rows.append(
            (
                list_of(each.id),
                document.key,
                document.order_no,
                each.id,
                each.warehouse,
                each.area,
                rank,
                priority,
                promised_ms if not case_of_allocation(each.id) else 0,
                picking.issued_ms,
                stopped,
                int(each.unprocessed),
                units,
                left,
                picking.errors,
                picking.picker,
                _encode(lines).decode(),
                entry.picking_at,
            )
        )
    return rows


def _stopped(entry: Entry) -> str:
    """Return why nothing of the order may be picked, or ""."""
    told = why_held(entry.state) if on_hold(entry.state) else ""
    if entry.document.quarantine is None:
        return told
    return f"{told}, quarantined" if told else "quarantined"


def _progress(
    wanted: tuple[tuple[str, int], ...], scanned: tuple[tuple[str, int], ...]
) -> tuple[list[tuple[str, int, int]], int, int]:
    """Return the lines, with what was scanned and is wanted no longer; the units wanted; and those left to scan."""
    have = dict(scanned)
    lines = [(sku, units, have.pop(sku, 0)) for sku, units in wanted]
    units = sum(each for _, each, _ in lines)
    left = sum(max(each - seen, 0) for _, each, seen in lines)
    return [*lines, *((sku, 0, seen) for sku, seen in have.items())], units, left
