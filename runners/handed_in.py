"""Files and folders as documents: a JSON file or a table is one, a JSONL file one a line. Memory stays bounded."""

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


def files_under(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the files to take in, sorted by folder, and what is in folders and is passed over.

    A file that is named is always taken; in folders only known kinds are, and nothing that is hidden. Links to folders
    are not followed (they may lead in a circle), and what is no file is not read (a pipe would never end).

    Raises:
        FileNotFoundError: a path does not exist.
    """
    taken: list[Path] = []
    passed: list[Path] = []
    for path in paths:
        if path.is_file():
            taken.append(path)
        elif path.is_dir():
            for file in sorted(path.rglob("*")):
                if any(part.startswith(".") for part in file.relative_to(path).parts):
                    continue
                if file.is_dir() and not file.is_symlink():
                    continue
                known = file.suffix.lower() in LINES or file.suffix.lower() in FORMS
                (taken if known and file.is_file() else passed).append(file)
        else:
            raise FileNotFoundError(path)
    return list(dict.fromkeys(taken)), passed


def documents_of(file: Path) -> Iterator[Document]:
    """Return the documents of a file, one by one."""
    suffix = file.suffix.lower()
    with file.open("rb") as stream:
        if suffix in LINES:
            yield from _lines(stream, file.name)
            return
        source = Source("file", file.name, 1, FORMS.get(suffix, ""))
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
        source = Source("file", name, number, "json")
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
