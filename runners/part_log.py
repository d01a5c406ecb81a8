"""What the parts of a running OrderSpine say: kept in files of bounded size, and what is wrong is shown at once."""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

FILE_BYTES_MAX = 8 * 1024 * 1024
FILES_KEPT = 3
"""Older files of a part, beside the one being written."""
LINE_BYTES_MAX = 256 * 1024
_LOUD = frozenset({"error", "critical", "exception"})
_PLUMBING = frozenset({"event", "level", "timestamp", "part", "exception"})


class PartLog:
    """The log of one part: `<directory>/<name>.log`, JSON lines, turned over at `FILE_BYTES_MAX`."""

    def __init__(self, directory: Path, name: str, show: Callable[[str], None]) -> None:
        """Open the file; `show` gets a line for people for each error."""
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / f"{name}.log"
        self._name = name
        self._show = show
        self._file = self.path.open("ab", buffering=0)
        self._last: deque[str] = deque(maxlen=1)
        self._lost = False
        """Whether the last line could not be kept."""

    @property
    def last_words(self) -> str:
        """What it said last that was not a log line (a traceback's last line), or the last error."""
        return self._last[0] if self._last else ""

    def forget(self) -> None:
        """Begin a new life of the part."""
        self._last.clear()

    async def follow(self, stream: asyncio.StreamReader) -> None:
        """Keep every line of a part until it closes its stderr."""
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than any honest line; the reader has dropped it
                line = b"(a line too long to keep)\n"
            if not line:
                return
            self.keep(line)

    def keep(self, line: bytes) -> None:
        """Keep one line."""
        fields = _fields(line)
        if fields is None:
            text = line.decode("utf-8", "replace").rstrip()
            if not text:
                return
            self._last.append(text)
            now = datetime.now(UTC).isoformat()
            line = msgspec.json.encode({"event": "output", "text": text, "timestamp": now}) + b"\n"
        elif fields.get("level") in _LOUD:
            said = _for_people(fields)
            self._last.append(said)
            self._show(f"{self._name}: {said}")
        try:
            self._write(line)
        except OSError as error:  # a full disk must not end the supervisor; once is enough to say so
            if not self._lost:
                self._show(
                    f"{self.path} cannot be written ({error.strerror}): what {self._name} says is lost meanwhile"
                )
            self._lost = True
        else:
            self._lost = False

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, line: bytes) -> None:
        if self._file.closed:  # turned over, and the next one could not be opened
            self._file = self.path.open("ab", buffering=0)
        self._file.write(line)
        if self._file.tell() < FILE_BYTES_MAX:
            return
        self._file.close()
        for number in range(FILES_KEPT, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path.with_name(f"{self.path.name}.{number - 1}") if number > 1 else self.path
            if newer.exists():
                os.replace(newer, older)  # noqa: PTH105  the one call that overwrites everywhere
        self._file = self.path.open("ab", buffering=0)


def _fields(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        fields = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    return fields if isinstance(fields, dict) else None


def _for_people(fields: dict[str, Any]) -> str:
    facts = ", ".join(f"{key}={value}" for key, value in fields.items() if key not in _PLUMBING)
    return f"{fields.get('event', '')}{': ' if facts else ''}{facts}"
