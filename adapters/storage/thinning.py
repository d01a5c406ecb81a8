"""Old checkpoints are thinned out: all of two days are kept, then one an hour for 30 days, then one a day.

Age is counted from the newest one, for each life of the log by itself, so that a log at rest keeps what it has. What a
checkpoint proves of the log is proved by every later one, with the tree beside them; so a copy that an auditor holds
stays provable when the one here is gone. Kept in any case are the first of each life of the log, those that begin a
restored one, those that an export names, those that contradict another one, and those that the witness has. Files that
are no valid checkpoint are evidence, and left alone.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from adapters.storage.checkpoints import Checkpoint, CheckpointFolder, file_name

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ALL_MS = 2 * DAY_MS
"""Age up to which every checkpoint is kept."""
HOURLY_MS = 30 * DAY_MS
"""For so long after that the last one of each hour is kept, then the last one of each day (UTC)."""
ANCHORS_FILE = "exported.txt"
"""Names of checkpoints that exports name, one a line."""


def thin(folder: CheckpointFolder, cell: str, kept: Collection[str]) -> int:
    """Remove what the rule does not keep; return how many files.

    Args:
        folder: the checkpoints.
        cell: name of the cell.
        kept: names of files that are kept in any case, besides those that exports name.

    Raises:
        OSError: the folder cannot be read or written.
    """
    with folder.writing():
        named = {*kept, *anchors(folder.path)}
        gone = {file_name(each) for each in superfluous(folder.load(cell).checkpoints)} - named
        for name in gone:
            (folder.path / name).unlink(missing_ok=True)
    return len(gone)


def superfluous(checkpoints: Iterable[Checkpoint]) -> Iterator[Checkpoint]:
    """Yield those that the rule does not keep."""
    by_life = sorted(checkpoints, key=lambda each: (each.generation, each.position, each.at_ms))
    for _, group in groupby(by_life, key=lambda each: each.generation):
        life = list(group)
        newest_ms = max(each.at_ms for each in life)
        slots = [_slot(each.at_ms, newest_ms - each.at_ms) for each in life]
        last_of = dict(zip(slots, life, strict=True))
        disputed = _disputed(life)
        for slot, each in list(zip(slots, life, strict=True))[1:-1]:
            if slot and last_of[slot] is not each and not each.restored_from and each.position not in disputed:
                yield each


def note_anchors(folder: Path, checkpoints: Sequence[Checkpoint]) -> None:
    """Note that an export names these checkpoints.

    Raises:
        OSError: the folder cannot be written.
    """
    fresh = {file_name(each) for each in checkpoints} - anchors(folder)
    if fresh:
        with (folder / ANCHORS_FILE).open("a") as file:
            file.write("".join(f"{name}\n" for name in sorted(fresh)))


def anchors(folder: Path) -> set[str]:
    """Return the names of the checkpoints that exports name."""
    with suppress(FileNotFoundError):
        return set((folder / ANCHORS_FILE).read_text(errors="replace").split())
    return set()


def _slot(at_ms: int, age_ms: int) -> tuple[int, int] | None:
    """Return the stretch of time of which only the last checkpoint is kept; None = all are."""
    if age_ms <= ALL_MS:
        return None
    length = HOUR_MS if age_ms <= ALL_MS + HOURLY_MS else DAY_MS
    return length, at_ms // length


def _disputed(life: Sequence[Checkpoint]) -> set[int]:
    """Return the positions for which more than one root, or more than one map, is signed."""
    said: dict[tuple[int, str], set[str]] = {}
    for each in life:
        said.setdefault((each.position, "root"), set()).add(each.root)
        if each.ends:
            said.setdefault((each.position, "ends"), set()).add(each.ends)
    return {position for (position, _), roots in said.items() if len(roots) > 1}
