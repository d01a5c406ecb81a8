"""Read models as they were: folded up to a position from the nearest snapshot of them, or from one stream alone.

Snapshots are SQLite files, one for each read model and position, each made from the one before it by the projector
itself: they hold nothing that the log does not, can be thrown away at any time, and are never a proof of anything.
Rows of a read model that are folded from one stream (`Projection.stream_of`) need that stream's events only.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import LargeBinary

from adapters.storage.read_models import ReadModels
from domain.envelope import decode_envelope
from projections import PROJECTIONS
from projections.base import Projection, in_current_shape
from runners.projector import BATCH_EVENTS, Following, Projector
from runners.replay import ReplayLog, Upto

EVERY_EVENTS = 50_000
"""Events between two snapshots."""
NEWEST_KEPT = 4
"""So many of the newest snapshots are kept all; see `kept`."""
LONG_STREAM = 20_000
"""A stream of more events is folded from a snapshot, where there is one."""
FOLDER = "read_model_snapshots"
"""Folder of the snapshots, in the data directory."""


class UnknownColumn(LookupError):
    """A read model has no such column, or no table with all of them. The message says which there are."""


# --- snapshots


class Snapshot(NamedTuple):
    """A read model as it was at a position, in a file."""

    name: str
    version: int
    position: int
    file: Path


def kept(count: int) -> list[int]:
    """Return which of the snapshots 1 … `count` are kept.

    The newest `NEWEST_KEPT` all; the further back, the wider apart: the gap between two is never more than half the
    way from there to the newest. What is dropped once is never needed again, so that it is dropped for good.
    """
    found = []
    for number in range(1, count + 1):
        distance = (count - number) // NEWEST_KEPT
        if number % (1 << distance.bit_length()) == 0 or not distance:
            found.append(number)
    return found


class Snapshots:
    """The snapshots of one life of a log. Files appear whole or not at all."""

    def __init__(self, folder: Path, generation: str) -> None:
        """Take a folder, which need not exist yet, and the log's generation."""
        self._folder = folder / generation

    def all(self) -> list[Snapshot]:
        """Return what there is, by name, version and position."""
        found = []
        for file in self._folder.glob("*.db"):
            name, _, rest = file.stem.partition(".v")
            version, _, position = rest.partition(".")
            if version.isdigit() and position.isdigit():
                found.append(Snapshot(name, int(version), int(position), file))
        return sorted(found)

    def nearest(self, projection: Projection[Any, Any], position: int) -> Snapshot | None:
        """Return the last snapshot of a read model that has not seen more than `position`."""
        mine = (projection.name, projection.version)
        found = [each for each in self.all() if each[:2] == mine and each.position <= position]
        return found[-1] if found else None

    def make(
        self,
        log: ReplayLog,
        every: int = EVERY_EVENTS,
        projections: Sequence[Projection[Any, Any]] = PROJECTIONS,
    ) -> tuple[list[Snapshot], list[Snapshot]]:
        """Make the snapshots that are due, drop those that are no longer kept; return both.

        Args:
            log: the log.
            every: events between two of them; must be the same each time.
            projections: of what.
        """
        head = log.tracked().head
        wanted = {number * every for number in kept(head // every)}
        made: list[Snapshot] = []
        self._folder.mkdir(parents=True, exist_ok=True)
        for projection in projections:
            have = {each.position for each in self.all() if each[:2] == (projection.name, projection.version)}
            for position in sorted(wanted - have):
                file = self._folder / f"{projection.name}.v{projection.version}.{position}.db"
                unfinished = file.with_suffix(".part")
                _remove(unfinished)
                build(log, projection, position, unfinished, self).close()
                unfinished.replace(file)
                made.append(Snapshot(projection.name, projection.version, position, file))
        current = {(each.name, each.version) for each in projections}
        dropped = [each for each in self.all() if each.position not in wanted or each[:2] not in current]
        for each in dropped:
            _remove(each.file)
        for other in self._folder.parent.iterdir():  # another life of the log: nothing of it holds any more
            if other != self._folder and other.is_dir():
                shutil.rmtree(other)
        return made, dropped


def _remove(file: Path) -> None:
    for each in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
        each.unlink(missing_ok=True)


def build(
    log: ReplayLog, projection: Projection[Any, Any], position: int, file: Path, snapshots: Snapshots | None = None
) -> ReadModels:
    """Make a read model as it was at a position, in a new file, from the nearest snapshot before."""
    nearest = snapshots.nearest(projection, position) if snapshots is not None else None
    if nearest is not None:
        shutil.copyfile(nearest.file, file)
    models = ReadModels(f"sqlite:///{file}")
    advance(log, projection, position, models)
    return models


def advance(log: ReplayLog, projection: Projection[Any, Any], position: int, models: ReadModels) -> None:
    """Fold a read model on to a position of the log."""
    bounded: Any = Upto(log, position)
    projector = Projector(bounded, models, (projection,), BATCH_EVENTS)
    while projector.run_once():
        pass


# --- a read model as it was


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
            nearest = snapshots.nearest(projection, position) if snapshots is not None else None
            folded_from = "beginning" if nearest is None else "snapshot"
            models = build(log, projection, position, file, snapshots)
        try:
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
        nearest = snapshots.nearest(projection, position)
        if nearest is not None:
            shutil.copyfile(nearest.file, file)
            version, folded_from = version_at(log, stream, nearest.position), "snapshot"
    models = ReadModels(f"sqlite:///{file}")
    models.prepare((projection,))
    following = Following(projection, models)
    while page := log.select(stream, after=version, limit=BATCH_EVENTS):
        upto = [event for event in page if event.position <= position]
        if upto:
            end = upto[-1].position
            models.apply(following.fold(in_current_shape(upto), end))
            following.keep(end)
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
