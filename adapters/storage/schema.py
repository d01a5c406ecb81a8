"""What all event logs agree on: the number of their shape, and the checks that need no database."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from secrets import token_hex
from typing import Any

from domain.ports import Advance, Conflict, LogDamaged, Record

SCHEMA = 1
"""Number of the tables' shape; raised with each change an older build would misread."""


TOLD = "position, stream, version, tag, envelope, data"
"""Columns of an event that anyone may be told of."""
FIELDS = f"{TOLD}, sealed, leaf"
"""Columns of an event, as `domain.ports.Recorded` has them."""
ROW = "incarnation, epoch, position, digest, at_ms, head, generation"
"""Columns of the cell's row, as `domain.ports.Tracked` has them."""


def running_build() -> str:
    """Return the version of the running program."""
    try:
        return version("orderspine")
    except PackageNotFoundError:
        return "unpackaged"


def new_generation() -> str:
    """Make the name of a new life of a log."""
    return token_hex(8)


def check_schema(where: str, schema: int, build: str) -> None:
    """Refuse a store of another shape than this build's.

    Raises:
        LogDamaged: with both numbers and what to do.
    """
    if schema > SCHEMA:
        raise LogDamaged(
            f"{where} was written by a newer build ({build}, schema {schema}); this build ({running_build()}) knows "
            f"schema {SCHEMA} and would misread it: run that build or a later one"
        )
    if schema < SCHEMA:
        raise LogDamaged(f"{where} has schema {schema}, this build ({running_build()}) needs {SCHEMA}")


def check_end(where: str, head: int, last: int) -> None:
    """Refuse a log whose last event is not where its row says.

    Raises:
        LogDamaged: with both positions.
    """
    if head != last:
        raise LogDamaged(f"{where} ends at event {last}, but should end at {head}")


def check_page(where: str, after: int, rows: Sequence[tuple[Any, ...]]) -> None:
    """Refuse events, read in order from behind `after`, that do not follow each other; each begins with its position.

    Raises:
        LogDamaged: positions are missing.
    """
    if rows and rows[-1][0] - after != len(rows):
        raise LogDamaged(f"{where}: positions {after + 1} to {rows[-1][0]} hold only {len(rows)} events")


def check_needed(needed: Sequence[tuple[str, int]], found: int) -> None:
    """Refuse a batch where not all versions that it follows are stored; see `check_batch`.

    Raises:
        Conflict: so many of them were found only.
    """
    if found != len(needed):
        names = ", ".join(stream for stream, _ in needed[:5])
        raise Conflict(f"versions are not the next ones of some of {len(needed)} streams: {names} …")


def check_advance(advance: Advance) -> None:
    """Refuse an advance that does not go forward.

    Raises:
        Conflict: its position is not behind the previous one.
    """
    if advance.position <= advance.previous:
        raise Conflict(f"the mail position would go from {advance.previous} to {advance.position}, not forward")


def check_batch(records: Sequence[Record]) -> list[tuple[str, int]]:
    """Check that versions follow each other inside the batch; return (stream, version) that must be stored already.

    Raises:
        Conflict: a stream's versions begin below 1 or do not follow each other.
    """
    last: dict[str, int] = {}
    needed: list[tuple[str, int]] = []
    for record in records:
        stream, version_ = record[0], record[1]
        before = last.get(stream)
        if before is None:
            if version_ != 1:
                if version_ < 1:
                    raise Conflict(f"{stream} has no version {version_}: versions begin at 1")
                needed.append((stream, version_ - 1))
        elif version_ != before + 1:
            raise Conflict(f"{stream} goes from version {before} to {version_} in one batch")
        last[stream] = version_
    return needed
