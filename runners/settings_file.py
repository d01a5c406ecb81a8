"""Files of the data directory that hold settings: read safely, held while they are changed, replaced whole."""

import contextlib
import fcntl
import os
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from adapters.storage.durable import opened, write_whole

Stamp = tuple[int, int, int, int]
_OTHERS_WRITE = 0o022


def read(file: Path, bad: type[ValueError], harm: str) -> bytes | None:
    """Return the content of a file that no other user can write; None where there is none.

    The mark that Windows editors put before UTF-8 is left out.

    Raises:
        ValueError: others can write it; of the kind that is given, with the harm that they could do.
        OSError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & _OTHERS_WRITE:
                raise bad(f"{file} can be written by others, who could {harm}: `chmod 600 {file}`")
            return stream.read().removeprefix(BOM_UTF8)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def held(file: Path) -> Iterator[None]:
    """Keep every other process from changing a file meanwhile."""
    descriptor = opened(file.with_name(f".{file.stem}.lock"), 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write(file: Path, settings: Any) -> None:
    """Write a file whole, or not at all, as JSON for people; only its owner can read it."""
    write_durably(file, msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n")


def stamp(file: Path) -> Stamp | None:
    """Return what tells one state of a file from another; None where there is none."""
    with contextlib.suppress(OSError):
        found = file.stat()
        return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode
    return None


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file in one step, for its folder's owner only; what it says is on the disk when this returns."""
    write_whole(path, content, 0o600, handed_over=True)
