"""Inventory: what each warehouse has of each SKU, what is promised, and what may still be."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from sqlalchemy import BigInteger, Column, Text

from domain.ids import decode_id, encode_id, warehouse_key
from domain.ports import Recorded
from domain.stock import Quantities
from projections.base import Change, Projection, Public, as_text, stamp_of, versioned

VERSION = 3

TABLE = versioned(
    "inventory",
    VERSION,
    Column("warehouse", Text, primary_key=True),
    Column("sku", Text, primary_key=True),
    Column("on_hand", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("pre_reserved", BigInteger, nullable=False),
    Column("protected", BigInteger, nullable=False),
    Column("promised", BigInteger, nullable=False),
    Column("damaged", BigInteger, nullable=False),
    Column("available", BigInteger, nullable=False),
    Column("reorder_level", BigInteger, nullable=False),
    Column("reorder_target", BigInteger, nullable=False),
    Column("to_order", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("updated_by", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Quantities in units; available = on hand − reserved − pre-reserved − protected − damaged. `reorder_level`:
fewer available are too few, 0 = never; `to_order`: units that a signal asks to buy, 0 = there is none open."""

HELD_TABLE = versioned(
    "inventory_pre_reserved",
    VERSION,
    Column("warehouse", Text, primary_key=True),
    Column("allocation", Text, primary_key=True),
    Column("lines", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What open pre-reservations still hold: their release and pick-out events do not say that they were such."""


class Level(msgspec.Struct, gc=False):
    """Quantities of one SKU in one warehouse."""

    warehouse: str
    sku: str
    on_hand: int = 0
    reserved: int = 0
    pre_reserved: int = 0
    protected: int = 0
    promised: int = 0
    """Units of presales that wait for goods to arrive."""
    damaged: int = 0
    available: int = 0
    reorder_level: int = 0
    reorder_target: int = 0
    to_order: int = 0
    position: int = 0
    updated_at: int = 0
    """UTC ms."""
    updated_by: str = ""


class PreReserved(msgspec.Struct, gc=False):
    """What a pre-reservation still holds, in units by SKU."""

    lines: dict[str, int]
    position: int


LevelKey = tuple[str, str, str]
"""("level", warehouse, SKU) or ("held", warehouse, allocation)."""


class _Lines(msgspec.Struct, frozen=True, gc=False):
    lines: Quantities


class _Allocated(msgspec.Struct, frozen=True, gc=False):
    allocation: str
    lines: Quantities


class _Adjusted(msgspec.Struct, frozen=True, gc=False):
    sku: str
    delta: int


class _Damaged(msgspec.Struct, frozen=True, gc=False):
    sku: str
    delta: int = 0
    quantity: int = 0


class _Reorder(msgspec.Struct, frozen=True, gc=False):
    sku: str
    level: int = 0
    target: int = 0
    quantity: int = 0


class _Protected(msgspec.Struct, frozen=True, gc=False):
    sku: str
    quantity: int


_lines = msgspec.json.Decoder(_Lines).decode
_allocated = msgspec.json.Decoder(_Allocated).decode
_adjusted = msgspec.json.Decoder(_Adjusted).decode
_protected = msgspec.json.Decoder(_Protected).decode
_damaged = msgspec.json.Decoder(_Damaged).decode
_reorder = msgspec.json.Decoder(_Reorder).decode
_encode = msgspec.json.Encoder().encode
_held_lines = msgspec.json.Decoder(dict[str, int]).decode


class _Batch:
    """The documents of one batch while it is folded."""

    __slots__ = ("changed", "current", "events")

    def __init__(self, current: Mapping[LevelKey, Level | PreReserved]) -> None:
        self.current = current
        self.changed: dict[LevelKey, Level | PreReserved | None] = {}
        self.events: dict[LevelKey, Recorded] = {}
        """Last event of each changed level."""

    def level(self, warehouse: str, sku: str, event: Recorded) -> Level:
        key = ("level", warehouse, sku)
        level: Any = self.changed.get(key)
        if level is None:
            level = self.changed[key] = self.current.get(key) or Level(warehouse, sku)
        self.events[key] = event
        return level  # type: ignore[no-any-return]

    def held(self, warehouse: str, allocation: str) -> PreReserved | None:
        key = ("held", warehouse, allocation)
        found: Any = self.changed[key] if key in self.changed else self.current.get(key)
        return found  # type: ignore[no-any-return]

    def take(self, warehouse: str, allocation: str, held: PreReserved, lines: Quantities) -> None:
        """Take units from a pre-reservation; an empty one goes."""
        for sku, quantity in lines:
            held.lines[sku] = held.lines.get(sku, 0) - quantity
        held.lines = {sku: quantity for sku, quantity in held.lines.items() if quantity > 0}
        self.changed["held", warehouse, allocation] = held if held.lines else None


def _receive(batch: _Batch, warehouse: str, event: Recorded) -> None:
    for sku, quantity in _lines(event.data).lines:
        batch.level(warehouse, sku, event).on_hand += quantity


def _receive_damaged(batch: _Batch, warehouse: str, event: Recorded) -> None:
    for sku, quantity in _lines(event.data).lines:
        level = batch.level(warehouse, sku, event)
        level.on_hand += quantity
        level.damaged += quantity


def _adjust(batch: _Batch, warehouse: str, event: Recorded) -> None:
    facts = _adjusted(event.data)
    batch.level(warehouse, facts.sku, event).on_hand += facts.delta


def _protect(batch: _Batch, warehouse: str, event: Recorded) -> None:
    facts = _protected(event.data)
    batch.level(warehouse, facts.sku, event).protected = facts.quantity


def _reserve(batch: _Batch, warehouse: str, event: Recorded) -> None:
    for sku, quantity in _lines(event.data).lines:
        batch.level(warehouse, sku, event).reserved += quantity


def _pre_reserve(batch: _Batch, warehouse: str, event: Recorded) -> None:
    facts = _allocated(event.data)
    for sku, quantity in facts.lines:
        batch.level(warehouse, sku, event).pre_reserved += quantity
    batch.changed["held", warehouse, facts.allocation] = PreReserved(dict(facts.lines), event.position)


def _promise(batch: _Batch, warehouse: str, event: Recorded) -> None:
    for sku, quantity in _lines(event.data).lines:
        batch.level(warehouse, sku, event).promised += quantity


def _cover(batch: _Batch, warehouse: str, event: Recorded) -> None:
    facts = _allocated(event.data)
    held = batch.held(warehouse, facts.allocation) or PreReserved({}, event.position)
    for sku, quantity in facts.lines:
        level = batch.level(warehouse, sku, event)
        level.promised -= quantity
        level.pre_reserved += quantity
        held.lines[sku] = held.lines.get(sku, 0) + quantity
    batch.changed["held", warehouse, facts.allocation] = held


def _drop(batch: _Batch, warehouse: str, event: Recorded) -> None:
    for sku, quantity in _lines(event.data).lines:
        batch.level(warehouse, sku, event).promised -= quantity


def _release(batch: _Batch, warehouse: str, event: Recorded) -> None:
    facts = _allocated(event.data)
    held = batch.held(warehouse, facts.allocation)
    for sku, quantity in facts.lines:
        level = batch.level(warehouse, sku, event)
        if held is None:
            level.reserved -= quantity
        else:
            level.pre_reserved -= quantity
    if held is not None:
        batch.take(warehouse, facts.allocation, held, facts.lines)


def _pick_out(batch: _Batch, warehouse: str, event: Recorded) -> None:
    facts = _allocated(event.data)
    held = batch.held(warehouse, facts.allocation)
    for sku, quantity in facts.lines:
        level = batch.level(warehouse, sku, event)
        level.on_hand -= quantity
        if held is None:
            level.reserved -= quantity
        else:
            level.pre_reserved -= quantity
    if held is not None:
        batch.take(warehouse, facts.allocation, held, facts.lines)


def _issue(batch: _Batch, warehouse: str, event: Recorded) -> None:
    for sku, quantity in _lines(event.data).lines:
        batch.level(warehouse, sku, event).on_hand -= quantity


def _damage(batch: _Batch, warehouse: str, event: Recorded) -> None:
    facts = _damaged(event.data)
    batch.level(warehouse, facts.sku, event).damaged += facts.delta


def _scrap(batch: _Batch, warehouse: str, event: Recorded) -> None:
    facts = _damaged(event.data)
    level = batch.level(warehouse, facts.sku, event)
    level.on_hand -= facts.quantity
    level.damaged -= facts.quantity


def _set_reorder_level(batch: _Batch, warehouse: str, event: Recorded) -> None:
    facts = _reorder(event.data)
    level = batch.level(warehouse, facts.sku, event)
    level.reorder_level, level.reorder_target, level.to_order = facts.level, facts.target, 0


def _signal(batch: _Batch, warehouse: str, event: Recorded) -> None:
    facts = _reorder(event.data)
    batch.level(warehouse, facts.sku, event).to_order = facts.quantity


HANDLERS: Mapping[str, Callable[[_Batch, str, Recorded], None]] = {
    "stock.received": _receive,
    "stock.returned": _receive,
    "stock.returned_damaged": _receive_damaged,
    "stock.adjusted": _adjust,
    "stock.protected": _protect,
    "stock.reserved": _reserve,
    "stock.pre_reserved": _pre_reserve,
    "stock.promised": _promise,
    "stock.promise_covered": _cover,
    "stock.promise_dropped": _drop,
    "stock.released": _release,
    "stock.picked_out": _pick_out,
    "stock.issued": _issue,
    "stock.moved_out": _issue,
    "stock.moved_in": _receive,
    "stock.damaged": _damage,
    "stock.scrapped": _scrap,
    "stock.reorder_level_set": _set_reorder_level,
    "stock.reorder_signalled": _signal,
    "stock.reorder_cleared": _signal,
}

_PREFIX = len("warehouse-")


class Inventory(Projection[LevelKey, Level | PreReserved]):
    """One row for each warehouse and SKU."""

    name: ClassVar = "inventory"
    version: ClassVar = VERSION
    tables: ClassVar = (TABLE, HELD_TABLE)
    whole: ClassVar = True
    bucket: ClassVar = "inventory"

    def keys(self, events: Sequence[Recorded]) -> Iterable[LevelKey]:
        """Return nothing: all documents are in memory."""
        del events
        return ()

    def load(self, rows: Mapping[str, Sequence[Sequence[Any]]]) -> dict[LevelKey, Level | PreReserved]:
        """Return the levels and open pre-reservations of these rows."""
        documents: dict[LevelKey, Level | PreReserved] = {
            ("level", row[0], row[1]): Level(*row) for row in rows[TABLE.name]
        }
        for warehouse, allocation, lines, position in rows[HELD_TABLE.name]:
            documents["held", warehouse, allocation] = PreReserved(_held_lines(lines), position)
        return documents

    def fold(
        self, events: Sequence[Recorded], current: Mapping[LevelKey, Level | PreReserved]
    ) -> dict[LevelKey, Level | PreReserved | None]:
        """Return the changed levels and pre-reservations."""
        batch = _Batch(current)
        handlers = HANDLERS
        stream = warehouse = ""
        for event in events:
            handler = handlers.get(event.tag)
            if handler is not None:
                if event.stream != stream:
                    stream = event.stream
                    warehouse = as_text(decode_id(stream[_PREFIX:]))
                handler(batch, warehouse, event)
        stamps: dict[bytes, tuple[int, str]] = {}
        changed: dict[LevelKey, Any] = batch.changed
        for key, event in batch.events.items():
            envelope = event.envelope
            told = stamps.get(envelope)
            if told is None:
                stamp = stamp_of(envelope)
                told = stamps[envelope] = (stamp.at, stamp.who)
            level = changed[key]
            level.available = level.on_hand - level.reserved - level.pre_reserved - level.protected - level.damaged
            level.position = event.position
            level.updated_at, level.updated_by = told
        return batch.changed

    def changes(self, changed: Mapping[LevelKey, Level | PreReserved | None]) -> list[Change]:
        """Return the rows of both tables."""
        levels, held, gone = [], [], []
        for (_, warehouse, name), document in changed.items():
            if isinstance(document, Level):
                levels.append(msgspec.structs.astuple(document))
            elif document is None:
                gone.append((warehouse, name))
            else:
                held.append((warehouse, name, _encode(document.lines).decode(), document.position))
        return [Change(TABLE, levels), Change(HELD_TABLE, held, gone)]

    def stream_of(self, values: Mapping[str, str]) -> str:
        """Return the warehouse's ledger."""
        return warehouse_key(values["warehouse"]) if values.get("warehouse") else ""

    def public(self, changed: Mapping[LevelKey, Level | PreReserved | None]) -> list[Public]:
        """Return the levels; the key is the encoded `warehouse:sku`."""
        return [
            Public(encode_id(f"{level.warehouse}:{level.sku}"), level.position, _encode(level))
            for level in changed.values()
            if isinstance(level, Level)
        ]
