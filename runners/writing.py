"""The process beside the projector that writes large batches: `python -m runners.writing --data DIR`.

Binding rows and keeping indexes takes as long as folding; here it takes another core. It writes what it is told in one
transaction with the checkpoints (`ReadModels.apply`), and only behind the batch before. Whatever becomes of it, the
tables say how far they go: the projector believes them and folds again what is not in them.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from adapters.storage.read_models import OutOfStep, Place, ReadModels, Step
from projections import PROJECTIONS
from projections.base import Change
from runners.beside import Beside, Gone, serve

MODULE = "runners.writing"
WORTH_IT = 256
"""Fewer rows than this are written by the projector: the way there would cost more."""
TIMEOUT_S = 60.0
DONE, FAILED = b"done", b"failed"

log = structlog.get_logger()
Row = tuple[Any, ...]


class Changed(msgspec.Struct, array_like=True, gc=False):
    """What happens to one table."""

    table: str
    rows: Sequence[Row]
    deletes: Sequence[Row]
    forgets: Mapping[str, Sequence[Any]]


class Stepped(msgspec.Struct, array_like=True, gc=False):
    """A step of one projection."""

    projection: str
    generation: str
    previous: int
    position: int
    changes: list[Changed]


_encode = msgspec.msgpack.Encoder().encode
_steps = msgspec.msgpack.Decoder(list[Stepped])
_json = msgspec.json.Encoder().encode
_place = msgspec.json.Decoder(Place).decode

_NAMED = {projection.name: projection for projection in PROJECTIONS}
_TABLES = {made.name: made for projection in PROJECTIONS for made in projection.tables}


class Writer:
    """The projector's side, used by one thread at a time."""

    def __init__(self, beside: Beside, read_models: ReadModels) -> None:
        """Where the process does not run, it is started when there is work for it."""
        self._beside = beside
        self._read_models = read_models
        beside.greet(_json(read_models.place))

    def apply(self, *steps: Step) -> None:
        """Write the steps' rows and checkpoints in one transaction.

        Raises:
            OutOfStep: a checkpoint is elsewhere, or it is not known whether it is: nothing but the tables can tell.
        """
        rows = sum(len(change.rows) for step in steps for change in step.changes)
        if rows < WORTH_IT or not self._beside.ready():
            self._read_models.apply(*steps)
            return
        try:
            done = self._beside.ask(_encode([_stepped(step) for step in steps]), TIMEOUT_S) == DONE
        except Gone as gone:
            raise OutOfStep(f"whether a batch was written is not known: {gone}") from gone
        if not done:  # why, comes out where it can be told
            self._read_models.apply(*steps)


def _stepped(step: Step) -> Stepped:
    changes = [
        Changed(str(change.table.name), change.rows, change.deletes, change.forgets)
        for change in step.changes
        if change.rows or change.deletes or change.forgets
    ]
    return Stepped(step.projection.name, step.generation, step.previous, step.position, changes)


def _step(told: Stepped) -> Step:
    changes = [Change(_TABLES[each.table], each.rows, each.deletes, each.forgets) for each in told.changes]
    return Step(_NAMED[told.projection], changes, told.generation, told.previous, told.position)


def program() -> None:
    """Serve the projector until it closes the pipe; it does so by dying, too."""

    def begin(greeting: bytes) -> Callable[[bytes], bytes]:
        place = _place(greeting)
        read_models = ReadModels(place.url, place.schema, scratch=place.scratch)

        def answer(question: bytes) -> bytes:
            try:
                read_models.apply(*map(_step, _steps.decode(question)))
            except Exception as error:  # noqa: BLE001  the projector finds out which
                log.warning("writing.failed", error=repr(error))
                return FAILED
            return DONE

        return answer

    serve(begin)


def main() -> int:
    """Serve; where the read models are, the projector says."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--data", help="data directory of the cell")
    parser.parse_args()
    program()
    return 0


if __name__ == "__main__":
    sys.exit(main())
