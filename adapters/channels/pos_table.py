"""From the bytes of a POS export to a table of exact cells: encoding, separator, header, rows."""

import codecs
import contextlib
import csv
import io
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

SEPARATORS: Final = (",", "\t", ";", "|", "，")
NAMES_MIN: Final = 3
"""A row with so many known column names is the header."""
TITLE_ROWS_MAX: Final = 5
_HEAD_CHARS: Final = 65_536
_SNIFF_BYTES: Final = 8_192
_UTF16: Final = codecs.BOM_UTF16_LE
_MARK: Final = "\ufeff"


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


def read_table(raw: bytes, known: Callable[[str], bool], encoding: str = "", separator: str = "") -> Table:
    """Read a whole file; `known` tells whether a cell is a column name.

    Encoding and separator are told by the file where they are not given.

    Raises:
        UnreadableFile: unknown encoding, no header, or broken quoting.
    """
    text, _ = decode(raw, encoding)
    separator = separator or _separator(text[:_HEAD_CHARS], known)
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


def header_of(raw: bytes, known: Callable[[str], bool], encoding: str = "", separator: str = "") -> tuple[str, ...]:
    """Return the header, from the first bytes of a file alone; () where it has none of known names."""
    try:
        head, _ = decode(raw[:_SNIFF_BYTES], encoding, whole=len(raw) <= _SNIFF_BYTES)
        rows = _rows(head, separator or _separator(head, known))
    except UnreadableFile:
        return ()
    place = _header_place(rows, known)
    return () if place is None else tuple(rows[place])


class Guess(NamedTuple):
    """What a file seems to be written like."""

    encoding: str
    separator: str
    header: tuple[str, ...]


def guess(raw: bytes, known: Callable[[str], bool], encoding: str = "", separator: str = "") -> Guess:
    """Tell how a file is written, also one of whose column names none is known: by the shape of its rows.

    Raises:
        UnreadableFile: unknown encoding, or nothing of it looks like a table.
    """
    text, encoding = decode(raw, encoding)
    head = text[:_HEAD_CHARS]
    try:
        separator = separator or _separator(head, known)
    except UnreadableFile:
        shapes = {each: Counter(map(len, _rows(head, each))) for each in SEPARATORS}
        # The most rows of one width, and of such the widest; a single column is no table.
        separator = max(
            SEPARATORS, key=lambda each: max((n, width) if width > 1 else (0, 0) for width, n in shapes[each].items())
        )
    rows = _rows(head, separator)
    place = _header_place(rows, known)
    if place is None:
        width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
        place = next((n for n, cells in enumerate(rows) if len(cells) == width > 1), None)
    if place is None:
        raise UnreadableFile("nothing in it looks like a table: rows of several cells, with a header (export it again)")
    return Guess(encoding, separator, tuple(rows[place]))


def decode(raw: bytes, encoding: str = "", *, whole: bool = True) -> tuple[str, str]:
    """Return the text of a file and its encoding: by its BOM, else strict UTF-8, else strict GB18030 (which holds GBK).

    With `whole` False, `raw` is the beginning of a file and may end inside a character.

    Raises:
        UnreadableFile: it is none of these, or not in the encoding that was given.
    """
    if not raw.strip():
        raise UnreadableFile("the file is empty (export it again)")
    if encoding:
        try:
            return codecs.getincrementaldecoder(encoding)("strict").decode(raw, final=whole).removeprefix(
                _MARK
            ), encoding
        except UnicodeError:
            raise UnreadableFile(
                f"the encoding is not {encoding}, as the template says (correct the template, or export the file again)"
            ) from None
    if raw.startswith(_UTF16):
        names: tuple[str, ...] = ("utf-16-le",)
        raw = raw[len(_UTF16) :]
    else:
        names = ("utf-8",) if raw.startswith(codecs.BOM_UTF8) else ("utf-8", "gb18030")
        raw = raw.removeprefix(codecs.BOM_UTF8)
    for name in names:
        try:
            return codecs.getincrementaldecoder(name)("strict").decode(raw, final=whole), name
        except UnicodeDecodeError:
            continue
    raise UnreadableFile(
        "the encoding is none of UTF-8, GB18030/GBK and UTF-16 LE with a byte order mark, or the file is damaged "
        "(save it as UTF-8)"
    )


_NO_HEADER: Final = (
    f"no header: none of the first {TITLE_ROWS_MAX + 1} rows has {NAMES_MIN} known column names "
    "(add the names of this shop's columns to its template: orderspine channels map pos --template FILE)"
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
