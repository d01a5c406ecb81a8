"""From a statement's bytes to its lines: encoding, comments, header, rows, totals. Row by row, of any length.

What exports are like: UTF-8 with or without a byte order mark, or GB18030; lines before the header (`#…`, titles);
backticks, tabs or apostrophes around numbers; totals at the end. A row that cannot be read stops none of the others.
"""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from adapters.statements.formats import FORMATS, Format, order_number
from adapters.statements.row import BadRow, Row, bare, column_name
from domain.finance import Line
from domain.ids import BadId, order_key

_HEAD_BYTES: Final = 1 << 16
_HEADER_WITHIN: Final = 100
"""Lines within which the header must come."""
_TOTALS: Final = ("合计", "总计", "汇总", "小计", "总金额")
_COUNT: Final = re.compile(r"#(?:支出|收入)合计[:：]\s*([0-9]+)\s*笔")
LINE_CHARS_MAX: Final = 100_000
WORD_MAX: Final = 60
"""Characters that are kept of a channel's word for a movement."""
KeyOf = Callable[[str], str]
"""Makes an order's key of a number, or raises BadId."""
NO_KEYS: Final[Mapping[str, KeyOf]] = {}


class UnreadableStatement(ValueError):
    """Nothing of the file can be taken; the message says why and what to do."""


class ReadRow(NamedTuple):
    """A row: what it says, or why it cannot be read."""

    number: int
    """Line in the file, from 1."""
    lines: Sequence[Line]
    problem: str
    raw: str


class Statement:
    """A statement of one shop. Walk `rows` once; what it all comes to is known behind it."""

    def __init__(self, file: Path, channel: str, shop: str, keys: Mapping[str, KeyOf] = NO_KEYS) -> None:
        """Look at the beginning of the file.

        Args:
            file: the statement.
            channel: whose it is.
            shop: its shop.
            keys: by kind of a payment service, what makes an order's key of the number that it writes.

        Raises:
            UnreadableStatement: it is no statement that is known.
            OSError: it cannot be read.
            BadId: channel or shop can be no part of an order's key.
        """
        order_key(channel, shop, "0")
        self.file, self.channel, self.shop = file, channel, shop
        digest = sha256()
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
            digest.update(head)
            while piece := stream.read(1 << 20):
                digest.update(piece)
        self.digest = digest.hexdigest()[:32]
        """Names its bytes."""
        if head[:2] == b"PK" or head[:4] == b"\xd0\xcf\x11\xe0":
            raise UnreadableStatement("this is a ZIP or Excel file: unpack it, or export the statement as CSV")
        self._encoding = _encoding_of(head)
        self._keys = keys
        self._header_at, self._places, self._width, self.format = self._header()
        self.refused = 0
        """Rows that could not be read, so far."""
        self.read = 0
        """Rows that could."""
        self.cut = ""
        """Why the file is not whole; "" where nothing speaks against it."""

    def rows(self) -> Iterator[ReadRow]:
        """Walk the rows."""
        made: Counter[str] = Counter()
        counted = -1
        rows = self._ticked() if self.format.ticked else self._quoted()
        for number, cells, raw in rows:
            if cells is None:
                yield self._bad(number, raw, "the row cannot be taken apart: a quotation mark is not closed")
                continue
            first = bare(cells[0]) if cells else ""
            if not any(bare(cell) for cell in cells):
                continue
            if first.startswith("#"):
                found = _COUNT.match(first)
                if found:
                    counted = max(counted, 0) + int(found[1])
                continue
            if self.format.totals and first == self.format.totals:
                _, totals, _ = next(rows, (0, None, ""))
                count = bare(totals[0]) if totals else ""
                counted = int(count) if count.isdigit() else counted
                break
            if first.startswith(_TOTALS):
                continue
            yield self._row(number, cells, raw, made)
        else:
            if self.format.totals:
                self.cut = f"the totals at the end ({self.format.totals}) are missing"
        if counted > self.read + self.refused:
            self.cut = f"its totals count {counted} rows, and it has {self.read + self.refused}"

    # --- parts

    def _row(self, number: int, cells: Sequence[str], raw: str, made: "Counter[str]") -> ReadRow:
        if len(cells) < self._width:
            return self._bad(
                number,
                raw,
                f"{len(cells)} cells of {self._width}: the file was cut inside this row; export again",
            )
        try:
            lines = [self._named(line) for line in self.format.read(Row(self._places, cells, made))]
        except BadRow as error:
            return self._bad(number, raw, str(error))
        self.read += 1
        return ReadRow(number, lines, "", raw)

    def _named(self, line: Line) -> Line:
        """Return the line with its order's key in place of the channel's number."""
        if len(line.word) > WORD_MAX:
            line = msgspec.structs.replace(line, word=line.word[:WORD_MAX] + "…")
        if not line.order:
            return line
        try:
            key_of = self._keys.get(self.format.service)
            if key_of is not None:
                key = key_of(line.order)
            else:
                key = order_key(self.channel, self.shop, order_number(self.channel, line.order))
        except BadId as error:
            raise BadRow(str(error)) from None
        return msgspec.structs.replace(line, order=key)

    def _bad(self, number: int, raw: str, problem: str) -> ReadRow:
        self.refused += 1
        return ReadRow(number, (), problem, raw)

    def _header(self) -> tuple[int, dict[str, int], int, Format]:
        """Return line, places of the columns, width and format of the header."""
        nearest: set[str] = set()
        for number, text in zip(range(1, _HEADER_WITHIN + 1), self._text(), strict=False):
            try:
                cells = next(csv.reader([text]), [])
            except csv.Error:
                continue
            places = {name: place for place, name in reversed(list(enumerate(map(column_name, cells)))) if name}
            for known in FORMATS:
                if all(name in places for name in known.columns) and known.lacks not in places:
                    return number, places, max(places.values()) + 1, known
                nearest |= places.keys() & set(known.columns)
        seen = f"; of known columns it has only {', '.join(sorted(nearest))}" if nearest else ""
        raise UnreadableStatement(
            f"no header of a statement that is known within its first {_HEADER_WITHIN} lines{seen}: "
            "export the details (明细), not the summary; `orderspine statements formats` lists what can be read"
        )

    def _text(self) -> Iterator[str]:
        with self.file.open(encoding=self._encoding, errors="replace", newline="") as stream:
            while text := stream.readline(LINE_CHARS_MAX):
                yield text

    def _ticked(self) -> Iterator[tuple[int, list[str] | None, str]]:
        """Walk rows whose cells begin with a backtick: a comma inside a cell is none between cells."""
        for number, text in enumerate(self._text(), 1):
            if number > self._header_at and text.strip():
                line = text.rstrip("\r\n")
                cells = line.split(",`")
                if len(cells) != self._width and line.count(",") == self._width - 1:
                    cells = line.split(",")
                yield number, cells if line.startswith("`") else line.split(","), line

    def _quoted(self) -> Iterator[tuple[int, list[str] | None, str]]:
        """Walk rows of quoted cells. Where a quotation mark stays open, its line is lost, and not all that follows."""
        for number, text in enumerate(self._text(), 1):
            if number > self._header_at and text.strip():
                line = text.rstrip("\r\n")
                try:
                    yield number, next(csv.reader([line], strict=True), []), line
                except csv.Error:
                    yield number, None, line


def _encoding_of(head: bytes) -> str:
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "gb18030"
    return "utf-8"
