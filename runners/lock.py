"""One program at a time in a data directory, and no build older than the data.

The lock is the kernel's (`flock`): it ends with its holder, however that ends. The file says who holds it, for people.
"""

import fcntl
import os
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

LOCK_FILE = "lock"
BUILD_FILE = "build.json"
SCHEMA = 1
"""Raised whenever an older build could not read what this one writes in a data directory."""
_WAIT_S = 0.5
"""Long enough to outlast somebody who only looks whether the lock is held."""


class Holder(msgspec.Struct, frozen=True):
    """Who holds a data directory."""

    pid: int
    since: str
    """Local time, ISO 8601."""


class Build(msgspec.Struct, frozen=True):
    """Which build wrote a data directory last."""

    schema: int
    version: str


class DataInUse(Exception):
    """Another program runs on this data directory."""


class DataTooNew(Exception):
    """A newer build wrote this data directory."""


class DataUnreadable(Exception):
    """The data directory cannot be made, read or written."""


class DataLock:
    """Holds a data directory for this process; a context manager.

    Entering raises:
        DataInUse: another process holds it; the message names it.
        DataTooNew: a newer build wrote it.
        DataUnreadable: it cannot be made or written.
    """

    def __init__(self, data: Path) -> None:
        """Name the directory; it is made when entered."""
        self._data = data
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock, then check and write the build."""
        try:
            self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(self._data / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DataUnreadable(
                f"the data directory {self._data} cannot be used: {error.strerror}. "
                "Name one that you may write to with --data"
            ) from error
        try:
            self._take()
            check_build(self._data)
            self._write_build()
        except BaseException:
            self.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give it back."""
        self.release()

    def release(self) -> None:
        """Give the directory back; harmless when done twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _take(self) -> None:
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DataInUse(_in_use(self._data)) from None
                time.sleep(0.05)
        holder = Holder(os.getpid(), time.strftime("%Y-%m-%dT%H:%M:%S%z"))
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, msgspec.json.encode(holder), 0)
        except OSError as error:
            raise DataUnreadable(f"{self._data / LOCK_FILE} cannot be written: {error.strerror}") from error

    def _write_build(self) -> None:
        fresh = self._data / f".{BUILD_FILE}.{os.getpid()}"
        try:
            fresh.write_bytes(msgspec.json.encode(Build(SCHEMA, build_version())))
            fresh.replace(self._data / BUILD_FILE)
        except OSError as error:
            raise DataUnreadable(f"{self._data / BUILD_FILE} cannot be written: {error.strerror}") from error


def holder_of(data: Path) -> Holder | None:
    """Return who holds a data directory, None if nobody does (or there is none)."""
    try:
        descriptor = os.open(data / LOCK_FILE, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _named(data)
    finally:
        os.close(descriptor)
    return None


def check_build(data: Path) -> None:
    """Refuse a directory that a newer build wrote.

    Raises:
        DataTooNew: it is newer than this program.
        DataUnreadable: `build.json` is damaged or may not be read.
    """
    path = data / BUILD_FILE
    try:
        build = msgspec.json.decode(path.read_bytes(), type=Build)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataUnreadable(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise DataUnreadable(f"{path} is damaged ({error}); restore the directory from a backup") from error
    if build.schema > SCHEMA:
        raise DataTooNew(
            f"{data} was written by OrderSpine {build.version} (data schema {build.schema}); "
            f"this is {build_version()} (schema {SCHEMA}). Install that version or a newer one"
        )


def build_version() -> str:
    """Return this program's version."""
    try:
        return version("orderspine")
    except PackageNotFoundError:
        return "unknown"


def _named(data: Path) -> Holder:
    try:
        return msgspec.json.decode((data / LOCK_FILE).read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):  # it is being written at this moment
        return Holder(0, "a moment ago")


def _in_use(data: Path) -> str:
    holder = _named(data)
    who = f"process {holder.pid}" if holder.pid else "another process"
    return (
        f"OrderSpine runs on {data} already ({who}, since {holder.since}). "
        "Stop it first (Ctrl-C there), or give this one its own directory with --data"
    )
