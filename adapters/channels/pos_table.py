"""From the bytes of a POS export to a table of exact cells: encoding, separator, header, rows."""

import codecs
import contextlib
import csv
import io
import itertools
from collections.abc import Callable
from typing import Final, NamedTuple

SEPARATORS: Final = (",", "\t", ";", "|", "，")
NAMES_MIN: Final = 3
"""A row with so many known column names is the header."""
TITLE_ROWS_MAX: Final = 5
_HEAD_CHARS: Final = 65_536
_SNIFF_BYTES: Final = 8_192
_UTF16: Final = codecs.BOM_UTF16_LE


class Row(NamedTuple):
    """One row of the file."""

    number: int
    """As a spreadsheet counts: the first row of the file is 1, blank rows count."""
    cells: tuple[str, ...]
    """Exact texts, without the quoting of CSV."""


class Table(NamedTuple):
    """A file as read."""

    before: list[Row]
    """Titles above the header."""
    header: Row
    rows: list[Row]
    """All rows below the header that are not blank."""
    cut: bool
    """The last row has no line end: it may be cut off."""


class UnreadableFile(ValueError):
    """A file of which no row can be trusted. The message says why and what to do."""


def read_table(raw: bytes, known: Callable[[str], bool]) -> Table:
    """Read a whole file; `known` tells whether a cell is a column name.

    Raises:
        UnreadableFile: unknown encoding, no header, or broken quoting.
    """
    text = decode(raw)
    separator = _separator(text[:_HEAD_CHARS], known)
    rows = []
    number = 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for number, cells in enumerate(reader, 1):
            if any(cell.strip() for cell in cells):
                rows.append(Row(number, tuple(cells)))
    except csv.Error as error:
        raise UnreadableFile(
            f"row {number + 1}: {error}; from there on rows cannot be told apart "
            "(close or remove the quotation mark there, or export the file again)"
        ) from None
    place = _header_place([row.cells for row in rows], known)
    if place is None:  # the head is read more leniently than the whole
        raise UnreadableFile(_NO_HEADER)
    return Table(rows[:place], rows[place], rows[place + 1 :], not text.endswith(("\n", "\r")))


def header_of(raw: bytes, known: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the header, from the first bytes of a file alone; () where it has none of known names."""
    try:
        head = decode(raw[:_SNIFF_BYTES], whole=len(raw) <= _SNIFF_BYTES)
        rows = _rows(head, _separator(head, known))
    except UnreadableFile:
        return ()
    place = _header_place(rows, known)
    return () if place is None else tuple(rows[place])


def decode(raw: bytes, *, whole: bool = True) -> str:
    """Return the text of a file: by its BOM, else strict UTF-8, else strict GB18030 (which holds GBK).

    With `whole` False, `raw` is the beginning of a file and may end inside a character.

    Raises:
        UnreadableFile: it is none of these.
    """
    if not raw.strip():
        raise UnreadableFile("the file is empty (export it again)")
    if raw.startswith(_UTF16):
        names: tuple[str, ...] = ("utf-16-le",)
        raw = raw[len(_UTF16) :]
    else:
        names = ("utf-8",) if raw.startswith(codecs.BOM_UTF8) else ("utf-8", "gb18030")
        raw = raw.removeprefix(codecs.BOM_UTF8)
    for name in names:
        try:
            return codecs.getincrementaldecoder(name)("strict").decode(raw, final=whole)
        except UnicodeDecodeError:
            continue
    raise UnreadableFile(
        "the encoding is none of UTF-8, GB18030/GBK and UTF-16 LE with a byte order mark, or the file is damaged "
        "(save it as UTF-8)"
    )


_NO_HEADER: Final = (
    f"no header: none of the first {TITLE_ROWS_MAX + 1} rows has {NAMES_MIN} known column names "
    "(add the names of this shop's columns to its template)"
)


def _separator(head: str, known: Callable[[str], bool]) -> str:
    """Choose the separator by which the rows have as many cells as the header."""
    best: tuple[float, int] = (0.0, 0)
    found = ""
    for separator in SEPARATORS:
        rows = _rows(head, separator)
        place = _header_place(rows, known)
        if place is None:
            continue
        header, body = rows[place], rows[place + 1 :]
        constant = sum(len(cells) == len(header) for cells in body) / len(body) if body else 1.0
        score = (constant, sum(map(known, header)))
        if score > best or not found:
            best, found = score, separator
    if not found:
        raise UnreadableFile(_NO_HEADER)
    return found


def _rows(text: str, separator: str) -> list[list[str]]:
    """Read the rows that can be read and are not blank, quietly: this is only for looking."""
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        rows.extend(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    return [cells for cells in rows if any(cell.strip() for cell in cells)]


def _header_place(rows: list[list[str]] | list[tuple[str, ...]], known: Callable[[str], bool]) -> int | None:
    for place, cells in enumerate(itertools.islice(rows, TITLE_ROWS_MAX + 1)):
        if sum(map(known, cells)) >= NAMES_MIN:
            return place
    return None
