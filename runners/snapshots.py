"""Snapshots of read models: what a look back begins at, so that it reads only what came after.

SQLite files, one for each read model and position, each made from the one before it by the projector itself. They hold
nothing that the log does not, can be thrown away at any time, and are never a proof of anything. Sealed blocks are left
out of them, and what names a person who was forgotten is taken out of those that were made before.

A file has a mark: the leaf of the event at its position, so that it is never taken for another life's, and how far the
requests to forget were followed. A file without one, or whose mark does not fit the log, is not used, and goes.
"""

import fcntl
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from adapters.storage.durable import sync
from adapters.storage.read_models import ReadModels
from domain.catalogue import decode_event
from domain.ids import PRIVACY_KEY
from domain.privacy import ForgettingAsked
from projections import PROJECTIONS
from projections.base import Projection
from runners.projector import BATCH_EVENTS, Projector
from runners.replay import ReplayLog, Upto

EVERY_EVENTS = 50_000
"""Events between two snapshots, if not said otherwise."""
NEWEST_KEPT = 4
"""So many of the newest snapshots are kept all; see `kept`."""
FOLDER = "read_model_snapshots"
"""Folder of the snapshots, in the data directory."""
_MAKING = ".making"
"""Where files are made; what a crash left there is removed by the next."""


class NoRoom(Exception):
    """The disk has less room left than is to be spared: no snapshot is made."""


class Snapshot(NamedTuple):
    """A read model as it was at a position, in a file."""

    name: str
    version: int
    position: int
    file: Path


class Mark(NamedTuple):
    """What a file says of itself."""

    leaf: bytes
    """Of the event at its position."""
    forgotten: int
    """Version of the stream of requests up to which the persons forgotten are taken out."""


class Forgotten(NamedTuple):
    """Whom a log says to be forgotten."""

    version: int
    """Of the last event of the stream of requests; 0 = there was none."""
    asked: tuple[tuple[int, tuple[str, ...]], ...]
    """(version, orders) of each request to forget."""

    def since(self, version: int) -> list[str]:
        """Return the orders of the requests behind a version."""
        return [key for number, orders in self.asked if number > version for key in orders]


def forgotten_in(log: ReplayLog) -> Forgotten:
    """Return whom a log says to be forgotten, whenever it was."""
    events = log.select(PRIVACY_KEY)
    facts = [(event.version, decode_event(event.tag, event.data)) for event in events]
    asked = tuple((version, fact.orders) for version, fact in facts if isinstance(fact, ForgettingAsked))
    return Forgotten(events[-1].version if events else 0, asked)


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
    """The snapshots of one life of a log. Files appear whole or not at all; one process at a time changes them."""

    def __init__(self, folder: Path, generation: str) -> None:
        """Take a folder, which need not exist yet, and the log's generation."""
        self._folder = folder / generation
        self.too_large: dict[tuple[str, int], int] = {}
        """(name, version) of read models of which one file alone is more than is allowed → its bytes."""

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
        found = self._before(projection, position)
        return found[-1] if found else None

    def _before(self, projection: Projection[Any, Any], position: int) -> list[Snapshot]:
        mine = (projection.name, projection.version)
        return [each for each in self.all() if each[:2] == mine and each.position <= position]

    def copy(self, log: ReplayLog, projection: Projection[Any, Any], position: int, to: Path) -> Snapshot | None:
        """Copy the last snapshot that fits the log and has not seen more than `position`; None = there is none."""
        for each in reversed(self._before(projection, position)):
            try:
                if fitting_mark(log, each) is not None:
                    shutil.copyfile(each.file, to)
                    return each
            except FileNotFoundError:  # it was dropped just now
                continue
        return None

    def make(
        self,
        log: ReplayLog,
        every: int = EVERY_EVENTS,
        projections: Sequence[Projection[Any, Any]] = PROJECTIONS,
        *,
        bytes_max: int | None = None,
        spare: int = 0,
    ) -> tuple[list[Snapshot], list[Snapshot]]:
        """Make the snapshots that are due, drop those that are no longer kept; return both.

        Args:
            log: the log.
            every: events between two of them; must be the same each time. 0 = none are made, those there are stay.
            projections: of what.
            bytes_max: most bytes of all files; older ones go first. None = any.
            spare: bytes of the disk that are left alone.

        Raises:
            NoRoom: the disk has less room left than `spare`; what was made before stays.
            OSError: the folder cannot be written.
        """
        head = log.tracked().head
        with self._changing():
            dropped = self._tidy(log, forgotten := forgotten_in(log))
            if not every:
                return [], dropped
            wanted = {number * every for number in kept(head // every)}
            current = {(each.name, each.version) for each in projections}
            stale = [each for each in self.all() if each.position not in wanted or each[:2] not in current]
            for each in stale:
                each.file.unlink(missing_ok=True)
            dropped += stale
            made: list[Snapshot] = []
            for projection in projections:
                have = {each.position for each in self.all() if each[:2] == (projection.name, projection.version)}
                for position in sorted(wanted - have):
                    if self._has_room(projection, position, bytes_max, spare, dropped):
                        made.append(self._make(log, projection, position, forgotten))
                        dropped += self._trim(bytes_max, made[-1])
        gone = set(dropped)
        return [each for each in made if each not in gone], dropped

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the folder while its files are changed, without what a crash left."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder.parent / ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(self._folder / _MAKING, ignore_errors=True)
            for left in self._folder.glob("*.part*"):  # of an earlier build
                left.unlink(missing_ok=True)
            (self._folder / _MAKING).mkdir()
            try:
                yield
            finally:
                shutil.rmtree(self._folder / _MAKING, ignore_errors=True)

    def _tidy(self, log: ReplayLog, forgotten: Forgotten) -> list[Snapshot]:
        """Drop what does not fit the log, and take out of the rest who was forgotten since it was made."""
        for other in self._folder.parent.iterdir():  # another life of the log: nothing of it holds any more
            if other != self._folder and other.is_dir():
                shutil.rmtree(other)
        dropped = []
        for each in self.all():
            mark = fitting_mark(log, each)
            if mark is None:
                each.file.unlink(missing_ok=True)
                dropped.append(each)
                continue
            orders = forgotten.since(mark.forgotten)
            if orders:
                self._take_out(each, orders, mark._replace(forgotten=forgotten.version))
        return dropped

    def _take_out(self, each: Snapshot, orders: Sequence[str], mark: Mark) -> None:
        projection = next((one for one in PROJECTIONS if (one.name, one.version) == each[:2]), None)
        if projection is None:  # of another build
            each.file.unlink(missing_ok=True)
            return
        building = self._folder / _MAKING / "building.db"
        shutil.copyfile(each.file, building)
        with closing(ReadModels(f"sqlite:///{building}")) as models:
            models.take_out(projection, orders)
        self._publish(building, mark, each.file)

    def _make(self, log: ReplayLog, projection: Projection[Any, Any], position: int, forgotten: Forgotten) -> Snapshot:
        file = self._folder / f"{projection.name}.v{projection.version}.{position}.db"
        building = self._folder / _MAKING / "building.db"
        models, _ = build(log, projection, position, building, self)
        with closing(models):
            models.take_out(projection, forgotten.since(0))
            models.leave_out_sealed(projection)
        (last,) = log.read(position - 1, 1)
        self._publish(building, Mark(last.leaf, forgotten.version), file)
        return Snapshot(projection.name, projection.version, position, file)

    def _publish(self, building: Path, mark: Mark, file: Path) -> None:
        """Write the mark, and let the file appear: whole, on the disk, and without anything of rows that went."""
        whole = building.with_name("whole.db")
        with closing(sqlite3.connect(building, isolation_level=None)) as db:
            db.execute("CREATE TABLE IF NOT EXISTS snapshot_mark (leaf BLOB NOT NULL, forgotten INTEGER NOT NULL)")
            db.execute("DELETE FROM snapshot_mark")
            db.execute("INSERT INTO snapshot_mark VALUES (?, ?)", mark)
            db.execute("VACUUM INTO ?", (str(whole),))
        sync(whole)
        whole.replace(file)
        sync(self._folder)
        for left in building.parent.iterdir():
            left.unlink()

    def _has_room(
        self,
        projection: Projection[Any, Any],
        position: int,
        bytes_max: int | None,
        spare: int,
        dropped: list[Snapshot],
    ) -> bool:
        """Say whether a snapshot may be made, by the size of those of its read model; make room for a new newest one.

        Raises:
            NoRoom: the disk has none.
        """
        mine = [each for each in self.all() if each[:2] == (projection.name, projection.version)]
        sizes = {each.position: _size(each) for each in mine}
        later = [at for at in sizes if at > position]
        near = sizes[min(later)] if later else sizes.get(max(sizes, default=0), 0)
        if shutil.disk_usage(self._folder).free - near < spare:
            raise NoRoom(f"the disk of {self._folder} has less than {spare:,} bytes to spare")
        if bytes_max is None:
            return True
        if self.too_large.get((projection.name, projection.version), 0) > bytes_max:
            return False
        if later:  # where older ones were dropped for want of room, there is less than this left: they do not come back
            held = self.all()
            return sum(map(_size, (*held, *{each[:2]: each for each in held}.values()))) <= bytes_max
        dropped += self._trim(bytes_max - near, None)
        return True

    def _trim(self, bytes_max: int | None, made: Snapshot | None) -> list[Snapshot]:
        """Drop the oldest until the rest fits; the newest of each read model stay, but for one that is too large."""
        if bytes_max is None:
            return []
        held = self.all()
        total = sum(map(_size, held))
        newest = {each[:2]: each for each in held}
        older = sorted((each for each in held if newest[each[:2]] != each), key=lambda each: each.position)
        dropped = []
        last = [made] if made is not None and made == newest[made[:2]] else []
        for each in (*older, *last):
            if total <= bytes_max:
                break
            size = _size(each)
            total -= size
            each.file.unlink(missing_ok=True)
            dropped.append(each)
            if each in last:
                self.too_large[each[:2]] = bytes_max + 1
        return dropped


def mark_of(file: Path) -> Mark | None:
    """Return the mark of a file; None = it has none, or cannot be read.

    Raises:
        FileNotFoundError: it is not there.
    """
    if not file.exists():
        raise FileNotFoundError(file)
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
            rows = db.execute("SELECT leaf, forgotten FROM snapshot_mark").fetchall()
    except sqlite3.DatabaseError:
        return None
    return Mark(*rows[0]) if len(rows) == 1 else None


def fitting_mark(log: ReplayLog, snapshot: Snapshot) -> Mark | None:
    """Return a snapshot's mark if it was made of this very log: its event is there, and is the one that it was."""
    mark = mark_of(snapshot.file)
    if mark is None:
        return None
    last = [(event.position, event.leaf) for event in log.read(snapshot.position - 1, 1)]
    return mark if last == [(snapshot.position, mark.leaf)] else None


def _size(snapshot: Snapshot) -> int:
    return snapshot.file.stat().st_size if snapshot.file.exists() else 0


def build(
    log: ReplayLog, projection: Projection[Any, Any], position: int, file: Path, snapshots: Snapshots | None = None
) -> tuple[ReadModels, Snapshot | None]:
    """Make a read model as it was at a position, in a new file; return it, and the snapshot it was begun from."""
    begun = snapshots.copy(log, projection, position, file) if snapshots is not None else None
    models = ReadModels(f"sqlite:///{file}")
    advance(log, projection, position, models)
    return models, begun


def advance(log: ReplayLog, projection: Projection[Any, Any], position: int, models: ReadModels) -> None:
    """Fold a read model on to a position of the log."""
    bounded: Any = Upto(log, position)
    projector = Projector(bounded, models, (projection,), BATCH_EVENTS)
    while projector.run_once():
        pass
