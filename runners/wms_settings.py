"""The warehouses of a data directory: `wms.json` read, checked, changed; and their clients."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from adapters.platforms.connection import Connection
from adapters.wms.client import QimenWms
from adapters.wms.settings import FILE, SECRET, BadWms, WmsSettings, check, parse
from runners.connection_keys import FileKeys
from runners.connections import write_durably

_LOCK_FILE = ".wms.lock"
_OTHERS_WRITE = 0o022


def load(data: Path) -> tuple[WmsSettings, ...]:
    """Return the warehouses of a data directory; none where there is no file.

    Raises:
        BadWms: the file is not as it must be.
        OSError: it cannot be read.
    """
    file = data / FILE
    try:
        with file.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & _OTHERS_WRITE:
                raise BadWms(f"{file} can be written by others, who could have goods sent to them: chmod 600 {file}")
            raw = stream.read()
    except FileNotFoundError:
        return ()
    return parse(raw, str(file))


@contextlib.contextmanager
def editing(data: Path) -> Iterator[list[WmsSettings]]:
    """Hold the file while it is changed; it is checked and written at the end.

    Raises:
        BadWms: it cannot be used as it is, or would not be as it must be; nothing is written.
    """
    descriptor = os.open(data / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        found = list(load(data))
        yield found
        save(data, found)
    finally:
        os.close(descriptor)


def save(data: Path, found: list[WmsSettings]) -> None:
    """Write the file whole, or not at all; only its owner can read it.

    Raises:
        BadWms: a warehouse is not as it must be; nothing is written.
    """
    check(found, str(data / FILE))
    write_durably(data / FILE, msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")


def stamp(data: Path) -> tuple[int, int, int, int] | None:
    """Return what tells one state of the file from another; None where there is no file."""
    with contextlib.suppress(FileNotFoundError):
        found = (data / FILE).stat()
        return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode
    return None


def secret_of(data: Path, settings: WmsSettings) -> str:
    """Return the secret of signatures.

    Raises:
        MissingSecret: it is not where the settings say.
    """
    keys = FileKeys(data, Connection(settings.name, "wms", settings.name, secrets={SECRET: settings.secret}))
    return keys.secret(SECRET)


def client_of(data: Path, settings: WmsSettings, now_ms: Callable[[], int], *, timeout_s: float = 15.0) -> QimenWms:
    """Return a client. Close it."""
    return QimenWms(settings, lambda: secret_of(data, settings), now_ms, timeout_s=timeout_s)
