"""Read models as they were: folded up to a position from the nearest snapshot of them, or from one stream alone.

Rows of a read model that are folded from one stream (`Projection.stream_of`) need that stream's events only. Whoever
was forgotten since is not shown as he was: what named him is left out, whatever the rows are folded from.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from sqlalchemy import LargeBinary

from adapters.storage.read_models import ReadModels
from domain.envelope import decode_envelope
from projections.base import Projection, in_current_shape
from runners.projector import BATCH_EVENTS, Following
from runners.replay import ReplayLog
from runners.snapshots import Snapshots, build, forgotten_in

LONG_STREAM = 20_000
"""A stream of more events is folded from a snapshot, where there is one."""


class UnknownColumn(LookupError):
    """A read model has no such column, or no table with all of them. The message says which there are."""


class AsOf(msgspec.Struct, frozen=True):
    """Rows of a read model as they were."""

    read_model: str
    version: int
    position: int
    at: int
    """When its last event before `position` was recorded, UTC ms; 0 = nothing had happened."""
    folded_from: str
    """`stream`: one stream's events; `snapshot`: those behind a snapshot; `beginning`: all up to `position`."""
    rows: dict[str, list[dict[str, Any]]]
    """Table (without its version) → rows; sealed blocks are left out."""


def as_of(
    log: ReplayLog,
    projection: Projection[Any, Any],
    position: int,
    where: Mapping[str, str] | None = None,
    snapshots: Snapshots | None = None,
) -> AsOf:
    """Return the rows of a read model as they were behind the event at `position`.

    Args:
        log: the log.
        projection: which read model.
        position: up to which event; those behind the log's end mean its end.
        where: column → value that rows must have; tables that lack one of the columns are left out.
        snapshots: of read models, where there are any.

    Raises:
        UnknownColumn: no table has all of these columns, or a value is none that a column could have.
    """
    position = min(position, log.tracked().head)
    values = _values(projection, where or {})
    stream = projection.stream_of(where or {})
    with TemporaryDirectory(prefix="orderspine-as-of-") as scratch:
        file = Path(scratch) / "read_models.db"
        if stream:
            models, folded_from = _of_stream(log, projection, stream, position, file, snapshots)
        else:
            models, begun = build(log, projection, position, file, snapshots)
            folded_from = "beginning" if begun is None else "snapshot"
        try:
            models.take_out(projection, forgotten_in(log).since(0))
            rows = _rows(projection, models, values)
        finally:
            models.close()
    last = log.read(position - 1, 1) if position else []
    at = decode_envelope(last[0].envelope).at if last else 0
    return AsOf(projection.name, projection.version, position, at, folded_from, rows)


def _of_stream(
    log: ReplayLog,
    projection: Projection[Any, Any],
    stream: str,
    position: int,
    file: Path,
    snapshots: Snapshots | None,
) -> tuple[ReadModels, str]:
    """Fold what one stream alone leads to; a long one from a snapshot."""
    version, folded_from = 0, "stream"
    last = log.select(stream, desc=True, limit=1)
    if snapshots is not None and last and last[0].version > LONG_STREAM:
        begun = snapshots.copy(log, projection, position, file)
        if begun is not None:
            version, folded_from = version_at(log, stream, begun.position), "snapshot"
    models = ReadModels(f"sqlite:///{file}")
    models.prepare((projection,))
    following = Following(projection, models)
    while page := log.select(stream, after=version, limit=BATCH_EVENTS):
        upto = [event for event in page if event.position <= position]
        if upto:
            end = upto[-1].position
            step, _ = following.fold(in_current_shape(upto), end)
            models.apply(step)
        if len(upto) < len(page):
            break
        version = page[-1].version
    return models, folded_from


def version_at(log: ReplayLog, stream: str, position: int) -> int:
    """Return the version of a stream's last event up to a position; 0 = it has none there."""
    last = log.select(stream, desc=True, limit=1)
    low, high = 0, last[0].version if last else 0
    while low < high:
        middle = (low + high + 1) // 2
        (event,) = log.select(stream, after=middle - 1, upto=middle)
        if event.position <= position:
            low = middle
        else:
            high = middle - 1
    return low


def _values(projection: Projection[Any, Any], where: Mapping[str, str]) -> dict[str, Any]:
    columns = {column.name: column for made in reversed(projection.tables) for column in made.columns}
    values: dict[str, Any] = {}
    for name, text in where.items():
        if name not in columns:
            raise UnknownColumn(f"{projection.name} has no column {name!r}; there are {', '.join(sorted(columns))}")
        try:
            values[name] = columns[name].type.python_type(text)
        except (ValueError, TypeError):
            raise UnknownColumn(f"{name} of {projection.name} is never {text!r}") from None
    if not any(values.keys() <= set(made.columns.keys()) for made in projection.tables):
        raise UnknownColumn(f"no table of {projection.name} has all of {', '.join(values)}")
    return values


def _rows(
    projection: Projection[Any, Any], models: ReadModels, values: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    shown = {
        made.name: [
            (place, column.name)
            for place, column in enumerate(made.columns)
            if not isinstance(column.type, LargeBinary)
        ]
        for made in projection.tables
        if values.keys() <= set(made.columns.keys())
    }
    suffix = f"_v{projection.version}"
    rows: dict[str, list[dict[str, Any]]] = {name.removesuffix(suffix): [] for name in shown}
    for table, row in models.rows(projection, values):
        rows[table.removesuffix(suffix)].append({name: row[place] for place, name in shown[table]})
    return rows
