"""Pick lists: what each warehouse is still asked to pick, and in which order.

`express` goes before `urgent`, that before the rest; of equals first what was promised to leave first, then the oldest.
A list of an order that something blocks is shown as stopped; it goes when its goods have left or were given back. What
a list is of is told by the ledger's events, which say what the allocation still holds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from sqlalchemy import BigInteger, Column, Index, SmallInteger, Text

from domain.after_sale import ReplacementPicked
from domain.after_sale_case import EVENTS, Case, case_of_allocation
from domain.approvals import ApprovalGiven, ApprovalRejected, ApprovalRequested, Approvals, ApprovalWithdrawn
from domain.catalogue import TAGS
from domain.decider import Event
from domain.ids import decode_id
from domain.order import (
    EVOLVE,
    InterceptionResolved,
    LinesCancelled,
    Order,
    OrderAllocated,
    OrderAmended,
    OrderIntercepted,
    OrderPicked,
    OrderProcessed,
    OrderPromised,
    OrderQuarantined,
    OrderRouted,
    PartiallyShipped,
    PickListIssued,
    on_hold,
    why_held,
)
from domain.people import NO_APPROVALS, People
from domain.picking import ItemScanned, ItemUnscanned, PickError
from domain.ports import Recorded
from domain.stock import Quantities
from projections.base import FIXED, Change, Projection, Stamp, at_of, stamp_of, versioned
from projections.order_document import Viewed, ViewedLine

VERSION = 2
RANKS: Mapping[str, int] = {"express": 0, "urgent": 1}
"""Priority → place in the queue."""
LAST = len(RANKS)

ORDERS = versioned(
    "pick_orders",
    VERSION,
    Column("key", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)
"""Of each order that may still be picked: what decides when its lists are, and whether something blocks them."""

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
"""Open pick lists. `ship_by_ms`: what was promised, UTC ms; 0 = nothing was. `stopped`: why nothing of it may be picked
now, or "". `processing`: 1 while an area has still to work on it. `units`: of all SKUs; `open`: of them, those not
scanned yet. `errors`: wrong scans. `picker`: who scanned last. `lines`: JSON of [SKU, units, scanned]."""

_IN_TURN = Index(f"pick_lists_v{VERSION}_turn", TABLE.c.warehouse, TABLE.c.area, TABLE.c.rank, TABLE.c.issued_ms)


class List(msgspec.Struct, gc=False, omit_defaults=True):
    """An open pick list."""

    warehouse: str
    area: str
    issued_ms: int
    lines: dict[str, int]
    """SKU → units that the ledger holds for it."""
    scanned: dict[str, int] = {}
    errors: int = 0
    picker: str = ""


class Kept(msgspec.Struct, gc=False, omit_defaults=True):
    """As much of an order as is needed later: what may block it, and its lists."""

    lines: tuple[ViewedLine, ...] = ()
    holds: tuple[str, ...] = ()
    interceptions: tuple[tuple[str, str], ...] = ()
    cases: tuple[Case, ...] = ()
    cancelled: Quantities = ()
    shipped: tuple[str, ...] = ()
    sent: Quantities = ()
    approvals: Approvals = NO_APPROVALS
    quarantined: bool = False
    priority: str = ""
    ship_by_ms: int = 0
    processing: list[str] = []
    """Allocations that an area has still to work on."""
    lists: dict[str, List] = {}
    """By allocation."""
    gone: bool = False
    """Whether the order itself has left, and only replacements for after-sales are still picked."""


class Entry(msgspec.Struct, gc=False):
    """An order while it is folded."""

    key: str
    kept: Kept
    state: Order
    """As decisions know it, as far as `domain.order.on_hold` reads it."""
    position: int = 0
    gone: set[str] = set()
    """Allocations whose lists went in the batch."""
    over: bool = False
    """Whether nothing of it will be picked any more."""
    written: bool = False
    """Whether there may be rows of it."""
    issued: set[str] = set()
    """Allocations whose lists were issued in the batch: of them there are no rows yet."""


class _Allocated(msgspec.Struct, frozen=True, gc=False):
    allocation: str
    lines: Quantities


class _NewView(msgspec.Struct, frozen=True, gc=False):
    lines: tuple[ViewedLine, ...]
    kind: str = "normal"
    holds: tuple[str, ...] = ()


class _New(msgspec.Struct, frozen=True, gc=False):
    """A first view, as far as it is looked at."""

    snapshot: _NewView


_new = msgspec.json.Decoder(_New).decode
_viewed = msgspec.json.Decoder(Viewed).decode
_allocated = msgspec.json.Decoder(_Allocated).decode
_kept = msgspec.json.Decoder(Kept).decode
_encode = msgspec.json.Encoder().encode


def _restored(key: str, kept: Kept) -> Entry:
    state = Order(
        status="allocating",
        lines=kept.lines,  # type: ignore[arg-type]
        holds=kept.holds,
        interceptions=kept.interceptions,
        cases=kept.cases,
        cancelled=kept.cancelled,
        shipped=frozenset(kept.shipped),
        sent=kept.sent,
        people=People(kept.approvals),
    )
    return Entry(key, kept, state, written=True)


def _begun(event: Recorded) -> Entry | None:
    """Return the entry of a new order; None for a sale over the counter, of which nothing is picked."""
    view = _new(event.data).snapshot
    if view.kind == "counter":
        return None
    state = Order(status="awaiting_payment", lines=view.lines, holds=view.holds)  # type: ignore[arg-type]
    return Entry(event.stream, Kept(), state, event.position)


def _again(key: str, over: Entry | None) -> Entry:
    """Return the entry of an order that has left, and of which a replacement is to be picked."""
    entry = Entry(key, Kept(gone=True), Order(status="shipped"))
    if over is not None:
        entry.gone, entry.written = over.gone, over.written
    return entry


def _finish(entry: Entry) -> None:
    kept, state = entry.kept, entry.state
    kept.lines = state.lines  # type: ignore[assignment]
    kept.holds = state.holds
    kept.interceptions = state.interceptions
    kept.cases = state.cases
    kept.cancelled = state.cancelled
    if state.shipped:
        kept.shipped = tuple(sorted(state.shipped))
    kept.sent = state.sent
    kept.approvals = state.people.approvals


def _stopped(entry: Entry) -> str:
    """Return why nothing of the order may be picked, or ""."""
    told = [why_held(entry.state)] if on_hold(entry.state) else []
    return ", ".join((*told, "quarantined") if entry.kept.quarantined else told)


# --- what each event means for the lists


def _issued(entry: Entry, facts: PickListIssued, event: Recorded) -> None:
    entry.issued.add(facts.allocation)
    entry.kept.lists[facts.allocation] = List(facts.warehouse, facts.area, at_of(event.envelope), dict(facts.lines))


def _planned(entry: Entry, facts: OrderAllocated, _: Recorded) -> None:
    entry.kept.processing = [each.id for each in facts.allocations if each.unprocessed]


def _processed(entry: Entry, facts: OrderProcessed, _: Recorded) -> None:
    entry.kept.processing = [each for each in entry.kept.processing if each != facts.allocation]


def _picked(entry: Entry, facts: OrderPicked | ReplacementPicked, _: Recorded) -> None:
    _drop(entry, facts.allocation)


def _drop(entry: Entry, allocation: str) -> None:
    if entry.kept.lists.pop(allocation, None) is not None and allocation not in entry.issued:
        entry.gone.add(allocation)
    entry.over = entry.kept.gone and not entry.kept.lists


def _scanned(entry: Entry, facts: ItemScanned | ItemUnscanned, event: Recorded) -> None:
    found = entry.kept.lists.get(facts.allocation)
    if found is not None:
        units = facts.units if isinstance(facts, ItemScanned) else -facts.units
        found.scanned = {**found.scanned, facts.sku: found.scanned.get(facts.sku, 0) + units}
        found.picker = _person(stamp_of(event.envelope))


def _erred(entry: Entry, facts: PickError, event: Recorded) -> None:
    found = entry.kept.lists.get(facts.allocation)
    if found is not None:
        found.errors += 1
        found.picker = _person(stamp_of(event.envelope))


def _person(stamp: Stamp) -> str:
    return stamp.by.id or stamp.by.kind


def _routed(entry: Entry, facts: OrderRouted, _: Recorded) -> None:
    entry.kept.priority = facts.priority


def _promised(entry: Entry, facts: OrderPromised, _: Recorded) -> None:
    entry.kept.ship_by_ms = facts.ship_by_ms


def _quarantined(entry: Entry, _: OrderQuarantined, __: Recorded) -> None:
    entry.kept.quarantined = True


def _queue_released(entry: Entry, _: Any, __: Recorded) -> None:
    entry.kept.quarantined = False


def _over(entry: Entry, _: Any, __: Recorded) -> None:
    entry.kept.gone = True
    for allocation in [each for each in entry.kept.lists if not case_of_allocation(each)]:
        _drop(entry, allocation)
    entry.over = not entry.kept.lists


def _blocks(kind: type) -> Callable[[Entry, Any, Recorded], None]:
    evolve = EVOLVE[kind]

    def follow(entry: Entry, facts: Any, _: Recorded) -> None:
        entry.state = evolve(entry.state, facts)

    return follow


Handler = tuple[Callable[[bytes], Any] | None, Callable[[Entry, Any, Recorded], None]]
"""How an event's facts are read (None = they are not looked at), and what they mean."""

_BLOCKING: tuple[type[Event], ...] = (
    *EVENTS,
    OrderIntercepted,
    InterceptionResolved,
    LinesCancelled,
    PartiallyShipped,
    ApprovalRequested,
    ApprovalGiven,
    ApprovalRejected,
    ApprovalWithdrawn,
)
"""What may stop an order or let it go on."""
_SHOWN: Mapping[type, Callable[[Entry, Any, Recorded], None]] = {
    OrderRouted: _routed,
    OrderPromised: _promised,
    OrderAllocated: _planned,
    OrderProcessed: _processed,
    PickListIssued: _issued,
    ItemScanned: _scanned,
    ItemUnscanned: _scanned,
    PickError: _erred,
    OrderPicked: _picked,
    **{kind: _blocks(kind) for kind in _BLOCKING},
    ReplacementPicked: _picked,
}
HANDLERS: Mapping[str, Handler] = {
    **{TAGS[kind]: (msgspec.json.Decoder(kind).decode, handler) for kind, handler in _SHOWN.items()},
    "order.quarantined": (None, _quarantined),
    "order.queue_released": (None, _queue_released),
    "order.shipped": (None, _over),
    "order.cancelled": (None, _over),
    "order.completed": (None, _over),
}
"""By tag, of an order that is known; what begins and amends one, and what ledgers say, is told apart in the fold."""

_ISSUED = TAGS[PickListIssued]
_VIEWS = frozenset({"order.normalized", "order.amended"})
_GIVEN = frozenset({"stock.released", "stock.picked_out"})
_AMENDED = EVOLVE[OrderAmended]


def order_of(allocation: str) -> str:
    """Return the key of the order that an allocation is for."""
    return allocation.rpartition("/")[0]


class PickLists(Projection[str, Entry]):
    """One row for each open pick list."""

    name: ClassVar = "pick_lists"
    version: ClassVar = VERSION
    tables: ClassVar = (ORDERS, TABLE)

    def keys(self, events: Sequence[Recorded]) -> Iterable[str]:
        """Return the orders that may be known: of a ledger's event, those whose goods moved."""
        known: set[str] = set()
        for event in events:
            tag = event.tag
            if tag in HANDLERS or tag == "order.amended":
                known.add(event.stream)
            elif tag in _GIVEN:
                known.add(order_of(_allocated(event.data).allocation))
        return known

    def load(self, rows: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, Entry]:
        """Return the orders of these rows."""
        return {key: _restored(key, _kept(document)) for key, _, document in rows[ORDERS.name]}

    def fold(self, events: Sequence[Recorded], current: Mapping[str, Entry]) -> dict[str, Entry | None]:
        """Return the changed orders."""
        changed: dict[str, Entry] = {}
        for event in events:
            tag = event.tag
            if tag in _GIVEN:
                self._give(event, changed, current)
                continue
            handler = HANDLERS.get(tag)
            if handler is None and tag not in _VIEWS:
                continue
            if tag == "order.normalized":
                begun = _begun(event)
                if begun is not None:
                    changed[event.stream] = begun
                continue
            entry = self._entry(event.stream, changed, current)
            if entry is None and tag == _ISSUED:
                entry = changed[event.stream] = _again(event.stream, changed.get(event.stream))
            if entry is None:
                continue
            entry.position = event.position
            if handler is None:
                entry.state = _AMENDED(entry.state, _viewed(event.data))
            else:
                decode, follow = handler
                follow(entry, decode(event.data) if decode is not None else None, event)
        for entry in changed.values():
            if not entry.over:
                _finish(entry)
        return dict(changed)

    @staticmethod
    def _entry(key: str, changed: dict[str, Entry], current: Mapping[str, Entry]) -> Entry | None:
        """Return an order that is folded on, or None where it is over, or was never begun."""
        entry = changed.get(key)
        if entry is None:
            entry = current.get(key)
            if entry is None or entry.over:
                return None
            entry.gone, entry.issued, entry.written = set(), set(), True
            changed[key] = entry
        return None if entry.over else entry

    def _give(self, event: Recorded, changed: dict[str, Entry], current: Mapping[str, Entry]) -> None:
        """Take from a list what its allocation holds no longer."""
        facts = _allocated(event.data)
        entry = self._entry(order_of(facts.allocation), changed, current)
        found = entry.kept.lists.get(facts.allocation) if entry is not None else None
        if entry is None or found is None:
            return
        entry.position = event.position
        lines = dict(found.lines)
        for sku, units in facts.lines:
            lines[sku] = lines.get(sku, 0) - units
        found.lines = {sku: units for sku, units in lines.items() if units > 0}
        if not found.lines:
            _drop(entry, facts.allocation)

    def changes(self, changed: Mapping[str, Entry | None]) -> list[Change]:
        """Return the rows of the orders and of their lists."""
        orders, over, lists, gone = [], [], [], []
        for key, entry in changed.items():
            assert entry is not None
            gone += [(f"pick-{allocation}",) for allocation in entry.gone]
            if entry.over:
                if entry.written:
                    over.append((key,))
                continue
            orders.append((key, entry.position, _encode(entry.kept).decode()))
            lists += _rows(entry)
        return [Change(ORDERS, orders, over), Change(TABLE, lists, gone)]


def _rows(entry: Entry) -> list[tuple[Any, ...]]:
    """Return the rows of an order's lists."""
    kept = entry.kept
    if not kept.lists:
        return []
    order_no = entry.key.rpartition(":")[2]
    if "=" in order_no:
        # An id may hold what no text column can.
        order_no = decode_id(order_no).encode("utf-8", "replace").decode()
    stopped = _stopped(entry)
    rows: list[tuple[Any, ...]] = []
    for allocation, each in kept.lists.items():
        scanned = each.scanned
        lines = [(sku, units, scanned.get(sku, 0)) for sku, units in each.lines.items()]
        total = sum(each.lines.values())
        left = total
        if scanned:
            lines += [(sku, 0, units) for sku, units in scanned.items() if units and sku not in each.lines]
            left = sum(max(units - seen, 0) for _, units, seen in lines)
        rows.append(
            (
                f"pick-{allocation}",
                entry.key,
                order_no,
                allocation,
                each.warehouse,
                each.area,
                RANKS.get(kept.priority, LAST),
                kept.priority,
                kept.ship_by_ms,
                each.issued_ms,
                stopped,
                int(allocation in kept.processing),
                total,
                left,
                each.errors,
                each.picker,
                _encode(lines).decode(),
                entry.position,
            )
        )
    return rows
