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


def hand_over(descriptor: int, folder: Path) -> None:
    """Give what root has just made in another user's folder to him, as SQLite does with its own files.

    Whoever runs `up` there goes on reading and writing it. Only for what this process made itself: given away by a name
    that the other one can turn into a link, it could be any file of root's.
    """
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def opened(path: Path, mode: int) -> int:
    """Open a file for reading and writing, and make it where it is not there; it is its folder's owner's then."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags | os.O_EXCL, mode)
    except FileExistsError:
        return os.open(path, flags, mode)
    hand_over(descriptor, path.parent)
    return descriptor


def make_folder(path: Path, mode: int) -> None:
    """Make a folder where it is not there; it is its parent's owner's then."""
    try:
        path.mkdir(mode)
    except FileExistsError:
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        hand_over(descriptor, path.parent)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes, mode: int, *, handed_over: bool = False) -> None:
    """Replace a file in one step; what it says is on the disk when this returns.

    With `handed_over` it is its folder's owner's, also where root writes it.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    with suppress(FileNotFoundError):
        fresh.unlink()  # of one of these numbers that died in the middle
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if handed_over:
                hand_over(descriptor, path.parent)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            fresh.unlink()
        raise
    sync(path.parent)
