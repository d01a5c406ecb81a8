"""The outside witness: a folder that follows the checkpoints and is only ever added to.

Checkpoints prove something against somebody with all rights on a machine only where he cannot write: on a share of
another machine, a write-once bucket that is mounted, an auditor's disk. What is there is never replaced.
"""

import os
from pathlib import Path

from adapters.storage.checkpoints import CheckpointError
from adapters.storage.durable import write_whole

_WHOLE = ("*.public.pem", "*.checkpoint.json")
_GROWING = ("*.leaves", "*.names")
_PAGE = 1 << 20


def follow(folder: Path, witness: Path) -> int:
    """Bring a witness up to a folder of checkpoints; return how many files are new in it.

    Raises:
        CheckpointError: the witness holds something else than the folder: one of the two was changed.
        OSError: the witness cannot be reached or written.
    """
    _check_there(witness)
    fresh = 0
    # Leaves first: a checkpoint in the witness finds the leaves it stands for.
    for pattern in _GROWING:
        for file in sorted(folder.glob(pattern)):
            _append(file, witness / file.name)
    there = {file.name for pattern in _WHOLE for file in witness.glob(pattern)}
    for pattern in _WHOLE:
        for file in sorted(folder.glob(pattern)):
            if file.name not in there:
                write_whole(witness / file.name, file.read_bytes(), 0o644)
                fresh += 1
            elif pattern == _WHOLE[0] and (witness / file.name).read_bytes() != file.read_bytes():
                raise CheckpointError(f"{witness / file.name} is another key than {file}: one of the two was changed")
    return fresh


def held(witness: Path) -> set[str]:
    """Return the names of the checkpoints that a witness has.

    Raises:
        OSError: it cannot be reached.
    """
    _check_there(witness)
    return {file.name for file in witness.glob(_WHOLE[1])}


def _check_there(witness: Path) -> None:
    if not witness.is_dir():
        raise FileNotFoundError(f"the witness folder {witness} is not there: make it, or mount what it is on")


def _append(source: Path, target: Path) -> None:
    done = target.stat().st_size if target.exists() else 0
    size = source.stat().st_size
    if done > size:
        raise CheckpointError(f"{target} is longer than {source}: the log, or the folder beside it, was cut")
    with source.open("rb") as theirs, target.open("ab") as ours:
        begin = max(done - _PAGE, 0)
        theirs.seek(begin)
        with target.open("rb") as kept:
            kept.seek(begin)
            if kept.read(done - begin) != theirs.read(done - begin):
                raise CheckpointError(f"{target} is not how {source} begins: one of the two was changed")
        left = size - done
        while left > 0 and (page := theirs.read(min(_PAGE, left))):
            ours.write(page)
            left -= len(page)
        ours.flush()
        os.fsync(ours.fileno())
