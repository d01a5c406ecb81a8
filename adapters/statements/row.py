"""A row of a statement: cells by the names of their columns, read strictly; what cannot be read says what to do."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from hashlib import blake2b
from typing import Final

from domain.ids import PART_BYTES_MAX
from domain.money import BadMoney, minor

ZONE: Final = timezone(timedelta(hours=8))
"""Clock of all these statements (China Standard Time): none of them writes an offset."""
_FORMS: Final = ("%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M", "%Y%m%d%H%M%S")
_AROUND: Final = "\t\r\n =`'\"\ufeff\u00a0"
"""What exports put around cells so that spreadsheets leave their numbers alone."""
_UNIT: Final = re.compile(r"\([+-]?元\)$")
_DESTROYED: Final = re.compile(r"[0-9](?:\.[0-9]+)?[Ee]\+?[0-9]+")
_FULL_WIDTH: Final = str.maketrans("（）＋－：", "()+-:")
_YEARS: Final = range(2000, 2100)
SHOWN_MAX: Final = 40


class BadRow(ValueError):
    """A row that cannot be taken; the message says which cell, why, and what to do."""


def bare(cell: str) -> str:
    """Return a cell without what exports put around it."""
    return cell.strip(_AROUND)


def column_name(cell: str) -> str:
    """Return the name of a column, however its brackets, unit and 账 are written."""
    name = bare(cell).translate(_FULL_WIDTH).replace("帐", "账").replace(" ", "")
    return _UNIT.sub("", name)


class Row:
    """One row of a statement."""

    __slots__ = ("_cells", "_made", "_places")

    def __init__(self, places: Mapping[str, int], cells: Sequence[str], made: Counter[str]) -> None:
        """Take the places of the columns, the cells, and the numbers that were made for rows before in this file."""
        self._places = places
        self._cells = cells
        self._made = made

    def has(self, *names: str) -> bool:
        """Whether the statement has one of these columns."""
        return any(name in self._places for name in names)

    def text(self, *names: str) -> str:
        """Return the cell of the first of these columns that is there; "" where none is, or nothing is in it."""
        for name in names:
            place = self._places.get(name)
            if place is not None:
                return bare(self._cells[place])
        return ""

    def number(self, *names: str) -> str:
        """Return an order or transaction number; "" where there is none.

        Raises:
            BadRow: a spreadsheet has destroyed it, or it is too long.
        """
        text = self.text(*names)
        if text in ("", "0", "-", "/", "--"):
            return ""
        if _DESTROYED.fullmatch(text) or "\ufffd" in text:
            raise BadRow(
                f"{names[0]} {text[:SHOWN_MAX]!r} is no number any more: export the statement again, and do not save "
                "it from a spreadsheet"
            )
        if len(text.encode()) > PART_BYTES_MAX:
            raise BadRow(f"{names[0]} {text[:SHOWN_MAX]!r}… is longer than any number: are commas missing before it?")
        return text

    def needed(self, *names: str) -> str:
        """Return a number that must be there.

        Raises:
            BadRow: it is not, or it is none.
        """
        text = self.number(*names)
        if not text:
            raise BadRow(f"{names[0]} is empty: without it the movement cannot be told from others; export again")
        return text

    def made_number(self, *parts: str) -> str:
        """Return a number for a row that has none: a digest of what it says, and which one of those that say it."""
        digest = blake2b("\0".join(parts).encode(), digest_size=12).hexdigest()
        nth = self._made[digest]
        self._made[digest] += 1
        return f"{digest}.{nth}" if nth else digest

    def money(self, *names: str, currency: str = "CNY") -> int:
        """Return an amount in minor units; 0 where the cell is empty or absent.

        Raises:
            BadRow: it is no amount.
        """
        text = self.text(*names)
        if text in ("", "-", "--", "/"):
            return 0
        try:
            return minor(_trimmed(text), currency)
        except BadMoney as error:
            raise BadRow(f"{names[0]}: {error}; correct it at the channel, and export again") from None

    def moment(self, *names: str) -> int:
        """Return a time as UTC ms.

        Raises:
            BadRow: it is empty, or not written as a time.
        """
        text = self.text(*names)
        for form in _FORMS:
            try:
                found = datetime.strptime(text, form).replace(tzinfo=ZONE)
            except ValueError:
                continue
            if found.year in _YEARS:
                return round(found.timestamp() * 1000)
        raise BadRow(f"{names[0]} {text[:SHOWN_MAX]!r} is no time such as 2026-02-09 22:03:04; export again")


def _trimmed(text: str) -> str:
    """Return an amount without zeros behind the second decimal: fees are written with five."""
    whole, point, part = text.partition(".")
    return f"{whole}.{part[:2]}" if point and part[2:].strip("0") == "" else text
