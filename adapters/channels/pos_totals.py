"""The total rows of a POS export: they are no receipts, but their sums tell whether rows are missing."""

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import Final, NamedTuple

from adapters.channels.pos_columns import Layout
from domain.money import BadMoney, format_minor, minor

_TOTAL: Final = re.compile(r"(?:本页|本日|当日|全天|门店|本店)?\s*(?:合计|总计|小计|共计)")
_LINE_SUMS: Final = ("quantity", "line_discount", "line_amount")
_RECEIPT_SUMS: Final = ("order_discount", "rounding", "freight", "payable", "paid", "change")


class Counted(NamedTuple):
    """A data row, and which receipt's it is."""

    cells: Sequence[str]
    receipt: Hashable


def is_total(cells: Iterable[str]) -> bool:
    """Tell a total row by the first word in it."""
    first = next((text for cell in cells if (text := cell.strip())), "")
    return _TOTAL.match(first) is not None


def differences(layout: Layout, total: Sequence[str], section: Sequence[Counted], above: Sequence[Counted]) -> str:
    """Compare a total row with the rows since the last total (`section`) and with all rows above it.

    Amounts of a whole receipt count once, or on each row, as the report does it.

    Returns:
        What differs, for people; "" where nothing does.
    """
    found = []
    for meaning in (*_LINE_SUMS, *_RECEIPT_SUMS, *(f"means:{name}" for name in layout.means)):
        text = layout.value(total, meaning)
        if not text:
            continue
        try:
            stated = _amount(text)
            ways = (_each,) if meaning in _LINE_SUMS else (_once, _each)
            fits = any(way(layout, meaning, rows) == stated for rows in (section, above) for way in ways)
            if not fits:
                sums = _shown(ways[0](layout, meaning, above or section))
                found.append(f"{layout.name(meaning)}: the total row says {text}, the rows add up to {sums}")
        except BadMoney as error:
            found.append(f"{layout.name(meaning)} cannot be checked: {error}")
    return "; ".join(found)


def _each(layout: Layout, meaning: str, rows: Sequence[Counted]) -> int:
    return sum(_amount(text) for row in rows if (text := layout.value(row.cells, meaning)))


def _once(layout: Layout, meaning: str, rows: Sequence[Counted]) -> int:
    first: dict[Hashable, int] = {}
    for row in rows:
        text = layout.value(row.cells, meaning)
        if text:
            first.setdefault(row.receipt, _amount(text))
    return sum(first.values())


def _amount(text: str) -> int:
    """Read any number of at most two decimals, in hundredths."""
    return minor(text, "CNY")


def _shown(amount: int) -> str:
    return format_minor(amount, "CNY").removesuffix(".00")
