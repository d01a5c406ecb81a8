"""What changed between two positions of the log: in one actor, or in the orders' states and the stock of all."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from adapters.storage.read_models import ReadModels
from domain.catalogue import decode_event
from domain.cell import DECIDERS
from domain.envelope import By, decode_envelope
from domain.ids import kind_of
from domain.labels import label_of
from projections.base import Projection
from projections.inventory import Inventory
from projections.orders import Orders
from runners.history import differences, local
from runners.replay import ReplayLog
from runners.snapshots import Snapshots, advance, build

QUANTITIES = ("on_hand", "reserved", "pre_reserved", "protected", "promised", "damaged", "available", "to_order")


class Step(msgspec.Struct, frozen=True):
    """An event between the two positions."""

    position: int
    version: int
    at: str
    tag: str
    label: str
    by: By


class ActorDiff(msgspec.Struct, frozen=True):
    """What changed in one actor."""

    stream: str
    after: int
    """Position that is compared from."""
    upto: int
    """Position that is compared to."""
    changes: dict[str, tuple[Any, Any]]
    """Field of the state → (before, after); None = it was not there."""
    events: list[Step]


class Moved(msgspec.Struct, frozen=True):
    """An order or a stock level that is not what it was."""

    key: str
    """Of the order, or `warehouse:SKU`."""
    changes: dict[str, tuple[Any, Any]]
    """What → (before, after); None = there was none."""


class CellDiff(msgspec.Struct, frozen=True):
    """What changed in all orders' states and all stock."""

    after: int
    upto: int
    states: dict[str, tuple[int, int]]
    """State of orders, as people see it → how many were in it (before, after)."""
    orders: list[Moved]
    stock: list[Moved]


def diff_actor(log: ReplayLog, stream: str, after: int, upto: int, zone: str) -> ActorDiff:
    """Return what changed in an actor behind position `after`, up to and with `upto`."""
    decider = DECIDERS[kind_of(stream)]
    before = state = decider.initial
    steps = []
    for event in log.select(stream):
        if event.position > upto:
            break
        state = decider.evolve(state, decode_event(event.tag, event.data))
        if event.position <= after:
            before = state
            continue
        envelope = decode_envelope(event.envelope)
        at = local(envelope.at, zone)
        steps.append(Step(event.position, event.version, at, event.tag, label_of(event.tag), envelope.by))
    return ActorDiff(stream, after, upto, differences(before, state), steps)


def diff_cell(log: ReplayLog, after: int, upto: int, snapshots: Snapshots | None = None) -> CellDiff:
    """Return what changed in all orders and all stock behind position `after`, up to and with `upto`."""
    orders = _twice(log, Orders(), ("state", "held", "quarantined"), after, upto, snapshots)
    stock = _twice(log, Inventory(), QUANTITIES, after, upto, snapshots)
    states = [Counter(row["state"] for row in side.values()) for side in orders]
    return CellDiff(
        after,
        upto,
        {state: (states[0][state], states[1][state]) for state in sorted({*states[0], *states[1]})},
        _moved(*orders),
        _moved(*stock),
    )


Rows = dict[str, dict[str, Any]]


def _twice(
    log: ReplayLog,
    projection: Projection[Any, Any],
    columns: tuple[str, ...],
    after: int,
    upto: int,
    snapshots: Snapshots | None,
) -> tuple[Rows, Rows]:
    """Return these columns of a read model's first table, as of both positions, by primary key."""
    with TemporaryDirectory(prefix="orderspine-diff-") as scratch:
        models, _ = build(log, projection, after, Path(scratch) / "read_models.db", snapshots)
        try:
            before = _columns(projection, models, columns)
            advance(log, projection, upto, models)
            return before, _columns(projection, models, columns)
        finally:
            models.close()


def _columns(projection: Projection[Any, Any], models: ReadModels, columns: tuple[str, ...]) -> Rows:
    main = projection.tables[0]
    names = list(main.columns.keys())
    keys = [names.index(column.name) for column in main.primary_key]
    places = [(name, names.index(name)) for name in columns]
    return {
        ":".join(str(row[place]) for place in keys): {name: row[place] for name, place in places}
        for table, row in models.rows(projection)
        if table == main.name
    }


def _moved(before: Rows, after: Rows) -> list[Moved]:
    found = []
    for key in sorted({*before, *after}):
        old, new = before.get(key, {}), after.get(key, {})
        changes = {name: (old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)}
        if changes:
            found.append(Moved(key, changes))
    return found
