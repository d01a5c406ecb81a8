"""Files that are there whole or not at all, also after a power cut."""

import os
import threading
from contextlib import suppress
from pathlib import Path


def sync(path: Path) -> None:
    """Return when what a file or a directory holds is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Replace a file in one step; what it says is on the disk when this returns."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    with suppress(FileNotFoundError):
        fresh.unlink()  # of one of these numbers that died in the middle
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            fresh.unlink()
        raise
    sync(path.parent)
