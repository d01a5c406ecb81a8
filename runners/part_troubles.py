"""Parts that die again and again, in a file of the data directory: `status`, `/metrics` and `up` itself look at it."""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

log = structlog.get_logger(__name__)

TROUBLES_FILE = "troubles.json"
SHOWN_FROM = 3
"""So many deaths in a row are no accident any more."""
STEADY_S = 60.0
"""A part that lived so long runs again; its next death begins a new row."""
WHY_CHARACTERS_MAX = 300
_ROOM_BYTES = 32 * 1024


class Trouble(msgspec.Struct, frozen=True):
    """A part that died several times in a row, never having lived `STEADY_S` in between."""

    part: str
    deaths: int
    since_ms: int
    """When it died first, UTC ms."""
    why: str
    """How it ended last, and its last words."""


class Troubles:
    """Keeps the file.

    It has all the room it will need from the start, and is written in place: a full disk is the first thing that it
    is to tell of.
    """

    def __init__(self, data: Path) -> None:
        """Begin without any."""
        self._path = data / TROUBLES_FILE
        self._known: dict[str, Trouble] = {}
        self._write()

    def died(self, part: str, why: str) -> None:
        """Note a death."""
        before = self._known.get(part)
        deaths, since_ms = (before.deaths, before.since_ms) if before else (0, time.time_ns() // 1_000_000)
        self._known[part] = Trouble(part, deaths + 1, since_ms, why[:WHY_CHARACTERS_MAX])
        self._write()

    @contextlib.contextmanager
    def living(self, part: str) -> Iterator[None]:
        """Surround a life of a part: one that lasts ends its trouble."""
        lasting = asyncio.get_running_loop().call_later(STEADY_S, self._forget, part)
        try:
            yield
        finally:
            lasting.cancel()

    def _forget(self, part: str) -> None:
        if self._known.pop(part, None) is not None:
            self._write()

    def _write(self) -> None:
        content = msgspec.json.encode(list(self._known.values())).ljust(_ROOM_BYTES)
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, content, 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("troubles.not_written", error=str(error))


def troubles_of(data: Path) -> tuple[Trouble, ...]:
    """Return the parts that die again and again, as the last `up` on a data directory noted it."""
    try:
        known = msgspec.json.decode((data / TROUBLES_FILE).read_bytes(), type=tuple[Trouble, ...])
    except (OSError, msgspec.MsgspecError):  # none was noted, or it is being written at this moment
        return ()
    return tuple(trouble for trouble in known if trouble.deaths >= SHOWN_FROM)
