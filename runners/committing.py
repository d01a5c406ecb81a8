"""Large commits, written by a process of their own: `python -m runners.committing --data DIR`.

Hashing the events of a batch and binding their values holds the interpreter for half of a commit, and while it is held
the worker decides nothing. So the worker gives a large batch to this process, which appends it to the log exactly as
the worker would: the same transaction, the same compare-and-set, the same bytes. Small ones, and all of them while it
starts, the worker writes itself.

Who may write is settled by the log's row alone. A process that was forgotten by a dead worker is refused like any other
writer whose epoch has passed.
"""

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from adapters.storage.sqlite import bind_bytes_as_they_are
from domain.ports import Advance, Conflict, Payload, Record, StoredSnapshot
from runners.beside import Beside, Gone, serve
from runners.bootstrap import open_log
from runners.settings import Settings, load_settings

if TYPE_CHECKING:  # this process starts quickly: it knows nothing of deciding
    from runners.engine import Batch, Engine

MODULE = "runners.committing"
WORTH_IT = 128
"""Fewer events than this are written by the worker: the way there would cost more."""
TIMEOUT_S = 60.0
"""A commit that takes longer hangs: its disk, or another writer."""


class CommitFailed(Exception):
    """A batch could not be written, or it is not known whether it was. Only the log can tell, after a new start."""


class Frame(msgspec.Struct, array_like=True, gc=False):
    """What `EventLog.append` takes."""

    records: list[Record]
    payloads: list[Payload]
    snapshots: list[StoredSnapshot]
    advance: Advance


class Outcome(msgspec.Struct, array_like=True, gc=False):
    """What became of it: the log's head, or why not."""

    head: int = 0
    conflict: str = ""
    failure: str = ""


_encode = msgspec.msgpack.Encoder().encode
_frames = msgspec.msgpack.Decoder(Frame)
_outcomes = msgspec.msgpack.Decoder(Outcome)


class Committer:
    """The worker's side, used by one thread at a time."""

    def __init__(self, beside: Beside, engine: "Engine") -> None:
        """Where the process does not run, it is started when there is work for it."""
        self._engine = engine
        self._beside = beside
        beside.greet(b"")

    def commit(self, batch: "Batch") -> int:
        """Write a batch in one durable transaction and return the log's head.

        Raises:
            Conflict: another worker has taken over, or what is tracked is not what was decided upon.
            CommitFailed: the process that writes could not, or ended.
        """
        if len(batch.records) < WORTH_IT or not self._beside.ready():
            return self._engine.commit(batch)
        frame = Frame(batch.records, batch.payloads, batch.snapshots, batch.advance)
        try:
            outcome = _outcomes.decode(self._beside.ask(_encode(frame), TIMEOUT_S))
        except Gone as gone:
            raise CommitFailed(f"whether a commit was written is not known: {gone}") from gone
        if outcome.conflict:
            raise Conflict(outcome.conflict)
        if outcome.failure:
            raise CommitFailed(outcome.failure)
        return outcome.head

    def close(self) -> None:
        """End the process."""
        self._beside.close()


def program(settings: Settings) -> None:
    """Serve the worker until it closes the pipe; it does so by dying, too."""

    def begin(_: bytes) -> Callable[[bytes], bytes]:
        bind_bytes_as_they_are()
        event_log = open_log(settings)

        def answer(question: bytes) -> bytes:
            frame = _frames.decode(question)
            try:
                head = event_log.append(
                    frame.records, payloads=frame.payloads, snapshots=frame.snapshots, advance=frame.advance
                )
                return _encode(Outcome(head))
            except Conflict as conflict:
                return _encode(Outcome(0, str(conflict) or repr(conflict)))
            except Exception as error:  # noqa: BLE001  the worker must know why, and ends of it
                return _encode(Outcome(0, "", f"{type(error).__name__}: {error}"))

        return answer

    serve(begin)


def main() -> int:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    program(load_settings(parser.parse_args().data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
