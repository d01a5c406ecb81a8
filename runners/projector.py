"""The projector: folds the log into the read models. `python -m runners.projector --data DIR`.

One read of the log feeds all projections; rows and checkpoints of a batch are one transaction. The documents in the
broker's buckets follow the rows and are made again from them whenever their own marker does not fit.
"""

import argparse
import gc
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from adapters.nats.client import Connection
from adapters.storage.read_models import Checkpoint, OutOfStep, ReadModels, Step
from domain.ports import EventLog, LogDamaged, Recorded
from projections import PROJECTIONS
from projections.base import Projection, in_current_shape
from runners.aio import run
from runners.background import POLL_S, Background, Link
from runners.bootstrap import open_read_models
from runners.documents import Documents
from runners.settings import Settings, load_settings

BATCH_EVENTS = 4_000
"""Most events of one batch. A larger one writes rows that many orders share (stock levels) less often."""
DOCUMENTS_KEPT = 8_192
"""Most documents a projection that is not kept whole holds in memory."""

log = structlog.get_logger()


class Following:
    """One projection on its way through the log."""

    def __init__(self, projection: Projection[Any, Any], read_models: ReadModels) -> None:
        """Begin where the checkpoint is."""
        self.projection = projection
        self._read_models = read_models
        self.documents: dict[Any, Any] = {}
        self.changed: dict[Any, Any] = {}
        """What the last batch changed; None = it went."""
        self.checkpoint = Checkpoint("", 0, live=False)
        self.reload()

    def reload(self) -> None:
        """Forget what is in memory and believe the tables."""
        projection = self.projection
        self.checkpoint = self._read_models.checkpoint(projection)
        self.documents = projection.load(self._read_models.load_all(projection)) if projection.whole else {}

    def begin(self, generation: str) -> None:
        """Build from the beginning of this life of the log."""
        self._read_models.reset(self.projection, generation, self.checkpoint)
        self.reload()

    def fold(self, events: Sequence[Recorded], position: int) -> Step:
        """Fold a batch that ends at `position`; `keep` or `reload` must follow."""
        projection = self.projection
        self._load(projection.keys(events))
        self._load(projection.beyond(events, self.documents))
        self.changed = projection.fold(events, self.documents)
        changes = projection.changes(self.changed)
        return Step(projection, changes, self.checkpoint.generation, self.checkpoint.position, position)

    def _load(self, keys: Iterable[Any]) -> None:
        missing = [key for key in keys if key not in self.documents]
        if missing:
            self.documents.update(self.projection.load(self._read_models.load(self.projection, missing)))

    def keep(self, position: int) -> None:
        """Believe what was folded: it is in the tables."""
        self.checkpoint = self.checkpoint._replace(position=position)
        documents = self.documents
        if self.projection.whole:
            documents.update(self.changed)
            for key in [key for key, document in self.changed.items() if document is None]:
                del documents[key]
            return
        for key, document in self.changed.items():
            documents.pop(key, None)  # to the young end
            documents[key] = document
        if len(documents) > DOCUMENTS_KEPT:
            for key in list(islice(documents, len(documents) - DOCUMENTS_KEPT)):
                del documents[key]


class Projector:
    """Folds a log into read models, batch by batch. Synchronous; replay, tests and the process use it alike."""

    def __init__(
        self,
        event_log: EventLog,
        read_models: ReadModels,
        projections: Sequence[Projection[Any, Any]] = PROJECTIONS,
        batch: int = BATCH_EVENTS,
    ) -> None:
        """Make missing tables and find the checkpoints."""
        self._log = event_log
        self._read_models = read_models
        self._batch = batch
        read_models.prepare(projections)
        self.following = [Following(projection, read_models) for projection in projections]

    @property
    def position(self) -> int:
        """Position that every projection has reached."""
        return min(following.checkpoint.position for following in self.following)

    def run_once(self) -> int:
        """Fold up to one batch into all projections that are behind; return the number of events read.

        Raises:
            OutOfStep: another projector writes. Nothing was written; the next call goes on from the tables.
            LogDamaged: the log ends before a checkpoint of its own generation.
            UnknownTag: a newer build wrote an event.
        """
        try:
            return self._run_once()
        except BaseException:
            # The folds may have changed documents in memory that are not in the tables.
            for following in self.following:
                following.reload()
            raise

    def run(self, upto: int | None = None) -> int:
        """Fold until the end of the log, or at least to position `upto`; return the number of events read."""
        total = 0
        while (upto is None or self.position < upto) and (count := self.run_once()):
            total += count
        if upto is None:
            self._show_finished()
        return total

    def _run_once(self) -> int:
        generation = self._same_life()
        start = self.position
        read = self._log.read(start, self._batch)
        if not read:
            self._check_head(generation)
            self._show_finished()
            return 0
        if read[0].position != start + 1 or read[-1].position != start + len(read):
            raise LogDamaged(f"events behind {start} are not without gaps")
        end = read[-1].position
        events = in_current_shape(read)
        steps = []
        for following in self.following:
            known = following.checkpoint.position - start
            following.changed = {}
            if known < len(events):
                steps.append(following.fold(events[known:] if known else events, end))
        self._read_models.apply(*steps)
        for following in self.following:
            if following.checkpoint.position < end:
                following.keep(end)
        return len(read)

    def _same_life(self) -> str:
        """Return the log's generation; projections of another one begin anew."""
        generation = self._log.tracked().generation
        for following in self.following:
            if following.checkpoint.generation != generation:
                if following.checkpoint.generation:
                    log.warning("projector.new_generation", projection=following.projection.name)
                following.begin(generation)
        return generation

    def _check_head(self, generation: str) -> None:
        tracked = self._log.tracked()
        if tracked.generation == generation and tracked.head < self.position:
            raise LogDamaged(f"the log ends at {tracked.head}; the read models have seen {self.position}")

    def _show_finished(self) -> None:
        """Show the versions that have caught up with the log instead of the older ones."""
        for following in self.following:
            if not following.checkpoint.live:
                self._read_models.go_live(following.projection)
                following.checkpoint = following.checkpoint._replace(live=True)
                log.info("projector.live", projection=following.projection.name, version=following.projection.version)


class Shown:
    """The buckets of a projector's documents, on one connection."""

    def __init__(self, projector: Projector, read_models: ReadModels, settings: Settings) -> None:
        """Nothing is connected yet."""
        self._projector = projector
        self._read_models = read_models
        self._settings = settings
        self._nc: Connection | None = None
        self._buckets: list[tuple[Following, Documents]] = []

    def on(self, nc: Connection) -> None:
        """Go on with this connection, if it is a new one."""
        if nc is self._nc:
            return
        self._nc = nc
        self._buckets = [
            (following, Documents(nc, self._settings.cell, following.projection, self._read_models))
            for following in self._projector.following
            if following.projection.bucket
        ]

    async def follow(self) -> None:
        """Show what the last batch changed."""
        for following, documents in self._buckets:
            await documents.follow(following.changed, following.checkpoint)

    async def settle(self) -> None:
        """Show all that is in the rows."""
        for following, documents in self._buckets:
            await documents.settle(following.checkpoint)

    async def close(self) -> None:
        """Finish what is being written."""
        for _, documents in self._buckets:
            await documents.close()


async def project(settings: Settings, *, broker: bool = True) -> None:
    """Follow the log until SIGTERM or SIGINT."""
    background = Background()
    background.begin()
    gc.set_threshold(100_000, 50, 100)  # hardly anything here is part of a cycle
    event_log = await background.log_of(settings)
    if event_log is None:
        return
    read_models = open_read_models(settings)
    link = Link(settings, f"projector-{settings.cell}")
    projector = Projector(event_log, read_models)
    shown = Shown(projector, read_models, settings)
    log.info("projector.started", position=projector.position)
    try:
        while not background.stopping.is_set():
            nc = await link.up() if broker else None
            if nc is not None:
                shown.on(nc)
            began = time.monotonic()
            try:
                count = projector.run_once()
            except OutOfStep as trouble:
                log.warning("projector.out_of_step", reason=str(trouble))
                await background.pause(POLL_S)
                continue
            if count:
                await shown.follow()
                await background.rest(time.monotonic() - began, link.hints)
                continue
            await shown.settle()
            await background.pause(POLL_S, link.hints)
        await shown.close()
    finally:
        await link.close()
        read_models.close()
        event_log.close()


def main() -> int:
    """Parse the arguments and follow."""
    parser = argparse.ArgumentParser(prog="python -m runners.projector", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    parser.add_argument("--no-broker", action="store_true", help="write the tables only")
    arguments = parser.parse_args()
    try:
        run(project(load_settings(arguments.data), broker=not arguments.no_broker))
    except SQLAlchemyError as error:
        from runners.failures import of_read_models  # noqa: PLC0415  heavy, and needed at the end only

        raise of_read_models(error) from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
