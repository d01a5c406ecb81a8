"""One POS receipt: its rows, what they say it is, when and where it was, which order it belongs to."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, NamedTuple

import msgspec

from adapters.channels.pos_columns import WORDS, Layout, Nature, Template, clean
from domain.canonical import SourceTime
from domain.timehub import Fold, UnreadableTime, read_time, zone_of

Cells = Sequence[str]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCK_ONLY: Final = re.compile(r"\d{1,2}[:：]\d{2}(?:[:：]\d{2})?(?:\.\d+)?|\d{6}|0?\.\d+", re.ASCII)
_NUMBER: Final = re.compile(r"\d+(?:\.\d*)?", re.ASCII)
_NO_MOMENT: Final = re.compile(r"\d{5}(?:\.0*)?|0\d+(?:\.\d*)?", re.ASCII)
"""A spreadsheet's day without a time, or a time of day (`71233`, `071233`) that is no spreadsheet's number at all."""
_MIDNIGHT: Final = re.compile(r"[ T]0?0:00(?::00)?(?:\.0+)?$")
_DATE: Final = re.compile(r"(?<!\d)(20\d{2})-?(\d{2})-?(\d{2})", re.ASCII)
_REFERENCE: Final = re.compile(r"原(?:销售)?(?:单|小票|流水)(?:号|编号)?\s*+[:：]?\s*+([A-Za-z0-9][A-Za-z0-9_./-]*)")
_DELIVER: Final = re.compile(r"(?<![不非无免勿未])(?<!无需)(?<!不需)(?<!不用)(?:自提|配送|送货)(?!费)")
_NEGATIVE: Final = re.compile(r"[-－−(（]\s*+[¥￥]?\s*+[0-9.,]*[1-9]")


class Slice(msgspec.Struct, frozen=True):
    """A receipt's share of a file: what is kept as its raw payload, as JSON.

    No row numbers, encoding or separator, so that the same rows out of another file give the same bytes.
    """

    format: Literal["pos-csv/1"]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Exact cells, each row as wide as the header; in the order of their line numbers, else of the file."""


class Identity(NamedTuple):
    """Which receipt a row belongs to."""

    shop: str
    number: str
    day: str
    """Business date as YYYYMMDD; "" where receipt numbers are unique without it."""

    @property
    def order_no(self) -> str:
        """Number of the order."""
        return f"{self.day}-{self.number}" if self.day else self.number


def shop_of(layout: Layout, cells: Cells, given: str) -> str:
    """Return the store's code, else its name, else the shop that was given."""
    return layout.text(cells, "store_code") or layout.text(cells, "store_name") or given


def time_of(layout: Layout, cells: Cells, template: Template) -> SourceTime | None:
    """Return when the row says it was, from one column or two; None where it says nothing.

    Raises:
        UnreadableTime: it says something that cannot be read, or only half of it.
    """
    moment, day, clock = (layout.text(cells, meaning) for meaning in ("moment", "day", "clock"))
    value: str | tuple[str, str] = moment or clock or day
    if day and (part := moment or clock) and _CLOCK_ONLY.fullmatch(part):
        value = _joined(_MIDNIGHT.sub("", day), part)
    if not value:
        return None
    if isinstance(value, str) and _NO_MOMENT.fullmatch(value):
        why = "it is a date without a time of day, or a time of day that has lost its first digit"
        raise UnreadableTime(value, why, "export date and time as text")
    at = _read(value, template)
    if at is not None and day and value is not day and isinstance(value, str) and _NUMBER.fullmatch(value):
        apart = abs(_date_of(at, template) - date.fromisoformat(read_day(day, template)))
        if apart > timedelta(days=1):
            raise UnreadableTime(value, f"as a number it is a time of another day than {day}", "export it as text")
    return at


def _read(value: str | tuple[str, str], template: Template) -> SourceTime | None:
    fold: Fold | None = None if template.fold is None else (0 if template.fold == "earlier" else 1)
    return read_time(
        value, zone=template.zone, target=template.target, order=template.date_order, fold=fold, excel=True
    )


def _date_of(at: SourceTime, template: Template) -> date:
    """Return the day of an instant by the till's clock."""
    return (_EPOCH + timedelta(milliseconds=at.utc_ms)).astimezone(zone_of(template.zone)).date()


def _joined(day: str, clock: str) -> str | tuple[str, str]:
    if "." in clock and ":" not in clock:  # both are a spreadsheet's numbers: whole days and a part of one
        return day.removesuffix(".0") + clock[clock.index(".") :]
    if clock.isdigit():
        clock = f"{clock[:2]}:{clock[2:4]}:{clock[4:]}"
    return day, clock


def business_day(layout: Layout, cells: Cells, at: SourceTime, template: Template) -> str:
    """Return the day a receipt counts for, as YYYYMMDD.

    It is what a column says, else the date in the receipt's own number where that is the day of the sale or one
    beside it (tills close after midnight), else the day of the sale.

    Raises:
        UnreadableTime: the column's date cannot be read.
    """
    stated = layout.text(cells, "business_day")
    if stated:
        return read_day(stated, template)
    sold = _date_of(at, template)
    held = date_in(layout.text(cells, "receipt"))
    return f"{held if held and abs(held - sold) <= timedelta(days=1) else sold:%Y%m%d}"


def read_day(text: str, template: Template) -> str:
    """Read a date without a time as YYYYMMDD.

    Raises:
        UnreadableTime: it is none, or ambiguous.
    """
    day = _MIDNIGHT.sub("", text)
    noon = day if day.isdigit() and len(day) == 5 else (day, "12:00:00")  # noqa: PLR2004 -- a spreadsheet's day number
    at = _read(noon, template)
    if at is None:
        raise UnreadableTime(text, "there is no date")
    return f"{_date_of(at, template):%Y%m%d}"


def date_in(number: str) -> date | None:
    """Return the date that a receipt number holds, as `S01-20261111-0001` does."""
    for year, month, day in _DATE.findall(number):
        try:
            return date(int(year), int(month), int(day))
        except ValueError:
            continue
    return None


def nature_of(layout: Layout, cells: Cells, template: Template) -> Nature | Literal["unknown"]:
    """Tell what a row records; `unknown` where a word of it is in no list."""
    kind, state = (_word(layout, cells, meaning, template) for meaning in ("kind", "state"))
    if "void" in (kind, state):
        return "void"
    if "unknown" in (kind, state):
        return "unknown"
    if "return" in (kind, state) or _negative(layout, cells):
        return "return"
    return "return" if kind != "sale" and reference_of(layout, cells) else "sale"


def to_deliver(layout: Layout, cells: Cells, template: Template) -> bool | None:
    """Tell whether the goods are still to be fetched or sent; None where the word is in no list."""
    word = _word(layout, cells, "delivery", template)
    if word == "unknown":
        return None
    return word == "to_deliver" or (word == "" and bool(_DELIVER.search(layout.text(cells, "remark"))))


def reference_of(layout: Layout, cells: Cells) -> str:
    """Return the number of the receipt that goods come back to, from its column or from a remark on a return."""
    stated = layout.text(cells, "reference")
    remark = layout.text(cells, "remark")
    if stated or "退" not in remark:
        return stated
    match = _REFERENCE.search(remark)
    return match[1].rstrip("./-") if match else ""


def original_of(layout: Layout, cells: Cells, own: Identity, template: Template) -> Identity | None:
    """Return which receipt is returned to; None where its date cannot be told.

    Raises:
        UnreadableTime: the column with the original's date cannot be read.
    """
    number = reference_of(layout, cells)
    shop = layout.text(cells, "reference_store") or own.shop
    if template.receipt_numbers_unique:
        return Identity(shop, number, "")
    stated = layout.text(cells, "reference_day")
    if stated:
        return Identity(shop, number, read_day(stated, template))
    held = date_in(number)
    if held is None or f"{held:%Y%m%d}" > own.day:
        return None
    return Identity(shop, number, f"{held:%Y%m%d}")


def _word(layout: Layout, cells: Cells, meaning: str, template: Template) -> Nature | Literal["", "unknown"]:
    word = clean(layout.text(cells, meaning))
    if not word:
        return ""
    return template.words.get(word) or WORDS.get(word.lower()) or "unknown"


def _negative(layout: Layout, cells: Cells) -> bool:
    amounts = ("quantity", "line_amount") if layout.has("quantity", "line_amount") else ("paid", "payable")
    return any(_NEGATIVE.match(layout.value(cells, meaning)) for meaning in amounts)
