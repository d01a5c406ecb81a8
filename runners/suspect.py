"""A message that kills the process is found by halving: a small fsynced marker remembers what was being tried.

While all goes well nothing is written. The marker is made before the first batch after a start and moved on with each
commit as long as batches are reduced. A process that starts and finds the log where the marker stood died on that
batch: it tries half of it. One message alone on which `TRIES_ALONE` processes in a row have died is named as the
suspect. Batches grow again while all goes well, so that a process that is killed from outside, again and again, does
not come down to single messages and blame one of them.
"""

import os
from pathlib import Path

import msgspec

from domain.ports import Tracked

FILE = "suspect.json"
TRIES_ALONE = 6
WELL = 4
"""After so many batches that went well the next ones are twice as large."""


class _Marker(msgspec.Struct):
    incarnation: str
    position: int
    size: int
    tries: int


class Suspect:
    """How many messages to take at once, in the light of how earlier processes ended."""

    def __init__(self, directory: Path, full: int) -> None:
        """Read the marker of an earlier process; `full` is the normal batch size."""
        self._file = directory / FILE
        self._full = full
        self._found: _Marker | None = None
        if self._file.exists():
            try:
                self._found = msgspec.json.decode(self._file.read_bytes(), type=_Marker)
            except msgspec.MsgspecError:
                self._found = None
        self._size = full
        self._tries = 0
        self._begun = False
        self._marked = False
        self._well = 0

    @property
    def size(self) -> int:
        """Most messages of the next batch."""
        return self._size

    @property
    def searching(self) -> bool:
        """Whether batches are reduced, because earlier processes died."""
        return self._size < self._full

    def begin(self, tracked: Tracked, most: int) -> int:
        """Note durably that the first batch behind `tracked`, of no more than `most` messages, is tried now.

        Returns:
            The sequence of the message to quarantine unhandled, or 0.
        """
        if self._begun:
            return 0
        self._begun = True
        found = self._found
        suspect = 0
        if found and (found.incarnation, found.position) == (tracked.incarnation, tracked.position):
            if found.size > 1:
                self._size, self._tries = min(found.size // 2, self._full), 0
            else:
                self._size, self._tries = 1, found.tries + 1
                if self._tries >= TRIES_ALONE:
                    suspect = tracked.position + 1
        elif found and found.size < self._full and found.incarnation == tracked.incarnation:
            self._size = found.size
        self._write(tracked, min(self._size, most))
        return suspect

    def passed(self, tracked: Tracked) -> None:
        """Note that a batch was committed; go back to full batches step by step."""
        if not self._marked:
            return
        self._tries = 0
        self._well += 1
        if self._well >= WELL:
            self._well = 0
            self._size = min(2 * self._size, self._full)
        if self._size >= self._full:
            self._marked = False
            self._file.unlink()
        else:
            self._write(tracked, self._size)

    def _write(self, tracked: Tracked, size: int) -> None:
        marker = _Marker(tracked.incarnation, tracked.position, size, self._tries)
        fresh = self._file.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(marker))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._file)
        self._marked = True
