"""The projector: folds the log into the read models. `python -m runners.projector --data DIR`.

One read of the log feeds all projections; rows and checkpoints of a batch are one transaction. The documents in the
broker's buckets follow the rows and are made again from them whenever their own marker does not fit.
"""

import argparse
import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError

from adapters.nats.client import Connection
from adapters.storage.read_models import Checkpoint, OutOfStep, ReadModels, Step
from domain.ports import EventLog, LogDamaged, Recorded
from projections import PROJECTIONS
from projections.base import Projection, in_current_shape
from runners import writing
from runners.aio import run
from runners.background import NICE, POLL_S, Background, Link, give_way
from runners.beside import Beside
from runners.bootstrap import open_read_models
from runners.documents import Documents
from runners.settings import Settings, load_settings
from runners.writing import Writer

BATCH_EVENTS = 4_000
"""Most events of one batch. A larger one writes rows that many orders share (stock levels) less often."""
DOCUMENTS_KEPT = 20_000
"""Most documents a projection that is not kept whole holds in memory."""
STOP_S = 3.0
"""How long a batch under way may still take when the process is to end; the supervisor waits for 5 s."""
SHOW_S = 5.0
"""How long a change waits at most for its buckets while there is more to fold: what changes again is written once."""

log = structlog.get_logger()


class Following:
    """One projection on its way through the log."""

    def __init__(self, projection: Projection[Any, Any], read_models: ReadModels) -> None:
        """Begin where the checkpoint is."""
        self.projection = projection
        self._read_models = read_models
        self.documents: dict[Any, Any] = {}
        self.checkpoint = Checkpoint("", 0, live=False)
        self.position = 0
        """How far it is folded, which may be beyond what is in the tables."""
        self.reload()

    def reload(self) -> None:
        """Forget what is in memory and believe the tables."""
        projection = self.projection
        self.checkpoint = self._read_models.checkpoint(projection)
        self.position = self.checkpoint.position
        self.documents = projection.load(self._read_models.load_all(projection)) if projection.whole else {}

    def begin(self, generation: str) -> None:
        """Build from the beginning of this life of the log."""
        self._read_models.reset(self.projection, generation, self.checkpoint)
        self.reload()

    def fold(self, events: Sequence[Recorded], position: int) -> tuple[Step, dict[Any, Any]]:
        """Fold a batch that ends at `position`; return what is to be written, and what it changed (None = it went).

        It is written, or all of it forgotten by `reload`.
        """
        projection = self.projection
        self._load(projection.keys(events))
        self._load(projection.beyond(events, self.documents))
        changed = projection.fold(events, self.documents)
        step = Step(projection, projection.changes(changed), self.checkpoint.generation, self.position, position)
        self.position = position
        self._keep(changed)
        return step, changed

    def _load(self, keys: Iterable[Any]) -> None:
        if self.projection.whole:
            return
        # What the batch before changed is in memory: it need not be in the tables yet.
        missing = [key for key in keys if key not in self.documents]
        if missing:
            self.documents.update(self.projection.load(self._read_models.load(self.projection, missing)))

    def _keep(self, changed: dict[Any, Any]) -> None:
        documents = self.documents
        if self.projection.whole:
            documents.update(changed)
            for key in [key for key, document in changed.items() if document is None]:
                del documents[key]
            return
        for key, document in changed.items():
            documents.pop(key, None)  # to the young end
            documents[key] = document
        surplus = len(documents) - max(DOCUMENTS_KEPT, len(changed))
        if surplus > 0:
            for key in list(islice(documents, surplus)):
                del documents[key]


class Folded(NamedTuple):
    """A batch that is folded, but not written."""

    steps: list[Step]
    position: int
    """Of its last event."""
    events: int
    more: bool
    """Whether the log may go on behind it."""
    changed: dict[str, dict[Any, Any]]
    """Projection → what it changed there; None = it went."""


class Projector:
    """Folds a log into read models, batch by batch. Synchronous; replay, tests and the process use it alike.

    `run_once` does all there is to a batch. Who would rather fold the next one while one is written does as it does:
    `fold` in one thread, `write` in another, in the same order, one of each at a time, and `written` behind each
    `write`; after any error `reload`, with nothing under way.
    """

    def __init__(
        self,
        event_log: EventLog,
        read_models: ReadModels,
        projections: Sequence[Projection[Any, Any]] = PROJECTIONS,
        batch: int = BATCH_EVENTS,
        apply: Callable[..., None] | None = None,
    ) -> None:
        """Make missing tables and find the checkpoints. `apply` writes steps instead of the read models' own."""
        self._log = event_log
        self._read_models = read_models
        self._batch = batch
        self._apply = apply or read_models.apply
        read_models.prepare(projections)
        self.following = [Following(projection, read_models) for projection in projections]

    @property
    def position(self) -> int:
        """Position that every projection has reached, in its tables."""
        return min(following.checkpoint.position for following in self.following)

    def run_once(self) -> int:
        """Fold up to one batch into all projections that are behind; return the number of events read.

        Raises:
            OutOfStep: another projector writes. Nothing was written; the next call goes on from the tables.
            LogDamaged: the log ends before a checkpoint of its own generation.
            UnknownTag: a newer build wrote an event.
        """
        try:
            folded = self.fold()
            if folded is None:
                self.show_finished()
                return 0
            self.write(folded)
        except BaseException:
            self.reload()
            raise
        self.written(folded)
        return folded.events

    def run(self, upto: int | None = None) -> int:
        """Fold until the end of the log, or at least to position `upto`; return the number of events read."""
        total = 0
        while (upto is None or self.position < upto) and (count := self.run_once()):
            total += count
        if upto is None:
            self.show_finished()
        return total

    def run_ahead(self, progress: Callable[[int], None]) -> None:
        """Fold until the end of the log, each batch while the one before is written in a thread of its own.

        Worth it where `apply` leaves the interpreter alone. `progress` is told the position that was reached. Raises
        what `run_once` does.
        """
        under_way: tuple[Folded, Future[None]] | None = None
        with ThreadPoolExecutor(1, "write") as thread:
            try:
                while True:
                    folded = self.fold()
                    if under_way is not None:
                        before, writing = under_way
                        writing.result()
                        self.written(before)
                        progress(before.position)
                    if folded is None:
                        break
                    under_way = folded, thread.submit(self.write, folded)
            except BaseException:
                thread.shutdown()
                self.reload()
                raise
        self.show_finished()

    def reload(self) -> None:
        """Believe the tables: what was folded may not be in them."""
        for following in self.following:
            following.reload()

    def fold(self) -> Folded | None:
        """Fold up to one batch in memory; None at the end of the log.

        Raises:
            LogDamaged, UnknownTag: see `run_once`.
        """
        generation = self._same_life()
        start = min(following.position for following in self.following)
        read = self._log.read(start, self._batch)
        if not read:
            self._check_head(generation, start)
            return None
        if read[0].position != start + 1 or read[-1].position != start + len(read):
            raise LogDamaged(f"events behind {start} are not without gaps")
        end = read[-1].position
        events = in_current_shape(read)
        tags = {event.tag for event in events}
        steps: list[Step] = []
        changed: dict[str, dict[Any, Any]] = {}
        for following in self.following:
            known = following.position - start
            if known < len(events):
                wanted = following.projection.tags
                new = () if wanted is not None and wanted.isdisjoint(tags) else events[known:] if known else events
                step, changed[following.projection.name] = following.fold(new, end)
                steps.append(step)
        return Folded(steps, end, len(read), len(read) == self._batch, changed)

    def write(self, folded: Folded) -> None:
        """Write a batch. Raises OutOfStep; see `run_once`."""
        self._apply(*folded.steps)

    def written(self, folded: Folded) -> None:
        """Note that a batch is in the tables."""
        for following in self.following:
            if following.checkpoint.position < folded.position:
                following.checkpoint = following.checkpoint._replace(position=folded.position)

    def _same_life(self) -> str:
        """Return the log's generation; projections of another one begin anew."""
        generation = self._log.tracked().generation
        for following in self.following:
            if following.checkpoint.generation != generation:
                if following.position != following.checkpoint.position:
                    raise OutOfStep("the log began a new life while a batch was written")
                if following.checkpoint.generation:
                    log.warning("projector.new_generation", projection=following.projection.name)
                following.begin(generation)
        return generation

    def _check_head(self, generation: str, position: int) -> None:
        tracked = self._log.tracked()
        if tracked.generation == generation and tracked.head < position:
            raise LogDamaged(f"the log ends at {tracked.head}; the read models have seen {position}")

    def show_finished(self) -> None:
        """Show the versions that have caught up with the log instead of the older ones."""
        for following in self.following:
            if not following.checkpoint.live:
                self._read_models.go_live(following.projection)
                following.checkpoint = following.checkpoint._replace(live=True)
                log.info("projector.live", projection=following.projection.name, version=following.projection.version)


class Shown:
    """The buckets of a projector's documents, on one connection. What is told of a batch must be in the tables."""

    def __init__(self, projector: Projector, read_models: ReadModels, settings: Settings) -> None:
        """Nothing is connected yet."""
        self._projector = projector
        self._read_models = read_models
        self._settings = settings
        self._nc: Connection | None = None
        self._buckets: list[tuple[Following, Documents, dict[Any, Any]]] = []
        """Each with what has changed since it was shown."""
        self._waiting_since: float | None = None
        """When the oldest change that is not shown was folded; None = there is none."""

    @property
    def due(self) -> bool:
        """Whether something that has changed has waited long enough."""
        return self._waiting_since is not None and time.monotonic() - self._waiting_since >= SHOW_S

    def on(self, nc: Connection) -> None:
        """Go on with this connection, if it is a new one."""
        if nc is self._nc:
            return
        self._nc = nc
        self._buckets = [
            (following, Documents(nc, self._settings.cell, following.projection, self._read_models), {})
            for following in self._projector.following
            if following.projection.bucket
        ]

    def note(self, folded: Folded) -> None:
        """Remember what a batch changed, to be shown together: what changes again is shown once."""
        for following, _, waiting in self._buckets:
            waiting.update(folded.changed.get(following.projection.name, {}))
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()

    async def forget(self) -> None:
        """Remember nothing: it may not be in the tables."""
        self._waiting_since = None
        for _, documents, waiting in self._buckets:
            waiting.clear()
            await documents.forget()

    async def follow(self) -> None:
        """Show what has changed."""
        self._waiting_since = None
        for following, documents, waiting in self._buckets:
            await documents.follow(waiting, following.checkpoint)
            waiting.clear()

    async def settle(self) -> None:
        """Show all that is in the rows."""
        await self.follow()
        for following, documents, _ in self._buckets:
            await documents.settle(following.checkpoint)

    async def close(self) -> None:
        """Finish what is being written."""
        for _, documents, _ in self._buckets:
            await documents.close()


class Written:
    """Writes one batch after the other in a thread of its own, while the next one is folded."""

    def __init__(self, projector: Projector) -> None:
        """Nothing is under way."""
        self._projector = projector
        self._thread = ThreadPoolExecutor(1, "write")
        self._under_way: tuple[Folded, asyncio.Future[None]] | None = None

    @property
    def all(self) -> bool:
        """Whether nothing is under way."""
        return self._under_way is None

    async def after(self, folded: Folded) -> None:
        """Begin to write a batch when the one before is in the tables. Raises what `done` does."""
        await self.done()
        writing = asyncio.get_running_loop().run_in_executor(self._thread, self._projector.write, folded)
        self._under_way = folded, writing

    async def done(self) -> None:
        """Wait until what is under way is in the tables.

        Raises:
            OutOfStep: it is not; nothing is under way any more.
        """
        if self._under_way is None:
            return
        folded, writing = self._under_way
        try:
            await writing
        finally:
            self._under_way = None
        self._projector.written(folded)

    async def ended(self) -> None:
        """Wait until nothing is under way, whatever became of it: the tables tell."""
        try:
            await self.done()
        except Exception as trouble:  # noqa: BLE001
            log.warning("projector.not_written", reason=str(trouble) or repr(trouble))

    async def close(self) -> None:
        """Wait until nothing is under way, and end the thread."""
        await self.ended()
        self._thread.shutdown()


async def _end_in_time(stopping: asyncio.Event, beside: Beside) -> None:
    """Wait for no batch for ever once we are to end: what is not in the tables is folded again."""
    await stopping.wait()
    await asyncio.sleep(STOP_S)
    beside.kill()


async def project(settings: Settings, beside: Beside, *, broker: bool = True) -> None:
    """Follow the log until SIGTERM or SIGINT."""
    background = Background()
    background.begin()
    gc.set_threshold(100_000, 50, 100)  # hardly anything here is part of a cycle
    event_log = await background.log_of(settings)
    if event_log is None:
        return
    read_models = open_read_models(settings)
    link = Link(settings, f"projector-{settings.cell}")
    projector = Projector(event_log, read_models, batch=BATCH_EVENTS, apply=Writer(beside, read_models).apply)
    shown = Shown(projector, read_models, settings)
    written = Written(projector)
    ending = asyncio.create_task(_end_in_time(background.stopping, beside))
    log.info("projector.started", position=projector.position)
    try:
        while not background.stopping.is_set():
            nc = await link.up() if broker else None
            if nc is not None:
                shown.on(nc)
            began = time.monotonic()
            try:
                folded = projector.fold()
                if folded is not None:
                    await written.after(folded)
                    shown.note(folded)
                showing = folded is None or not folded.more or shown.due
                if showing or link.behind:
                    await written.done()
            except OutOfStep as trouble:
                log.warning("projector.out_of_step", reason=str(trouble))
                await written.ended()
                projector.reload()
                await shown.forget()
                await background.pause(POLL_S)
                continue
            if folded is None:
                projector.show_finished()
                await shown.settle()
                await background.pause(POLL_S, link.hints)
                continue
            if showing:
                await shown.follow()
            if written.all:
                await background.rest(time.monotonic() - began, link.hints)
        await written.ended()
        await shown.close()
    finally:
        await written.close()
        ending.cancel()
        await link.close()
        read_models.close()
        event_log.close()


def main() -> int:
    """Parse the arguments and follow."""
    parser = argparse.ArgumentParser(prog="python -m runners.projector", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    parser.add_argument("--no-broker", action="store_true", help="write the tables only")
    arguments = parser.parse_args()
    settings = load_settings(arguments.data)
    try:
        with contextlib.closing(Beside(writing.MODULE, settings.data)) as beside:
            give_way(NICE)
            beside.fork(writing.program)
            run(project(settings, beside, broker=not arguments.no_broker))
    except SQLAlchemyError as error:
        from runners.failures import of_read_models  # noqa: PLC0415  heavy, and needed at the end only

        raise of_read_models(error) from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
