"""Files and folders as documents: a JSON file or a table is one, a JSONL file one a line. Memory stays bounded."""

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from runners.cutting import STORED_BYTES_MAX, Source

LINES = frozenset({".jsonl", ".ndjson"})
FORMS: dict[str, Literal["json", "table"]] = {".json": "json", ".csv": "table", ".txt": "table", ".tsv": "table"}
WHOLE_BYTES_MAX = 256 << 20
"""Largest file that is read whole (a page or a table is cut by its channel, which needs all of it)."""
_READ_BYTES = 1 << 20


class Document(NamedTuple):
    """One document."""

    source: Source
    raw: bytes | None
    """None = too large to be taken."""
    size: int
    digest: str
    """SHA-256, hex, of one that is too large."""


class Found(NamedTuple):
    """What there is to take in."""

    taken: list[Path]
    passed: list[Path]
    """In folders, of no known kind."""
    unread: list[tuple[Path, str]]
    """(folder or file, why) of those that cannot even be looked at."""


def files_under(paths: Sequence[Path]) -> Found:
    """Return the files to take in, sorted by folder, and what else was met.

    A file that is named is always taken; in folders only known kinds are, and nothing that is hidden. Links to folders
    are not followed (they may lead in a circle), and what is no file is not read (a pipe would never end).

    Raises:
        FileNotFoundError: a path does not exist, or is no file; in words.
    """
    found = Found([], [], [])
    for path in paths:
        try:
            if path.is_file():
                found.taken.append(path)
            elif path.is_dir():
                _look_through(path, found)
            elif path.exists():
                raise FileNotFoundError(f"{name_of(path)} is a pipe or a device: write what it gives to a file first")
            else:
                raise FileNotFoundError(f"{name_of(path)}: no such file or folder")
        except PermissionError as error:
            found.unread.append((path, _why(error)))
    return found._replace(taken=list(dict.fromkeys(found.taken)))


def _look_through(folder: Path, found: Found) -> None:
    """Sort what stands in a folder, and below it; what keeps us out of one part of it keeps us out of no other."""

    def locked(error: OSError) -> None:
        found.unread.append((Path(error.filename), _why(error)))

    files: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=locked):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = (name for name in folders if os.path.islink(os.path.join(place, name)))  # noqa: PTH114, PTH118
        files.extend(Path(place, name) for name in (*names, *links) if not name.startswith("."))
    for file in sorted(files):
        known = file.suffix.lower() in LINES or file.suffix.lower() in FORMS
        try:
            (found.taken if known and file.is_file() else found.passed).append(file)
        except PermissionError as error:
            found.unread.append((file, _why(error)))


def name_of(file: Path | str) -> str:
    """Return a file's name as text that can be stored and shown: bytes of it that are no UTF-8 by their hex digits."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def documents_of(file: Path) -> Iterator[Document]:
    """Return the documents of a file, one by one."""
    suffix = file.suffix.lower()
    with file.open("rb") as stream:
        if suffix in LINES:
            yield from _lines(stream, name_of(file.name))
            return
        source = Source("file", name_of(file.name), 1, FORMS.get(suffix, ""))
        raw = stream.read(WHOLE_BYTES_MAX + 1)
        if len(raw) <= WHOLE_BYTES_MAX:
            yield Document(source, raw, len(raw), "")
            return
        digest = sha256(raw)
        size = len(raw)
        while more := stream.read(_READ_BYTES):
            digest.update(more)
            size += len(more)
        yield Document(source, None, size, digest.hexdigest())


def _lines(stream: BinaryIO, name: str) -> Iterator[Document]:
    number = 0
    while line := stream.readline(STORED_BYTES_MAX + 2):
        number += 1
        source = Source("file", name, number, "line")
        if len(line) > STORED_BYTES_MAX and not line.endswith(b"\n"):
            digest, size = sha256(line), len(line)
            while rest := stream.readline(_READ_BYTES):
                digest.update(rest)
                size += len(rest)
                if rest.endswith(b"\n"):
                    break
            yield Document(source, None, size, digest.hexdigest())
        elif line.strip():
            yield Document(source, line.rstrip(b"\r\n"), len(line), "")
