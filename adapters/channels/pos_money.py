"""The money of one whole receipt: what was taken off, owed and paid, and whether it adds up."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from adapters.channels.pos_columns import Layout, Template
from adapters.channels.pos_lines import Goods, money
from adapters.channels.pos_receipt import Cells, nature_of
from domain.canonical import TranslationError
from domain.money import AMOUNT_MAX, BadMoney, format_minor, minor

_STATED: Final = ("payable", "paid", "change", "order_discount", "rounding", "freight")
_PAYMENT: Final = re.compile(r"([^\d:：=;；+/|,，]{1,20})[:：=]([^:：=;；+/|]+)")
_NEGATIVE_PART: Final = re.compile(r"[:：=]\s*[-－−(（]")
_MEANS: Final = re.compile(r"[^\d:：=;；+/|,，]{1,20}")
_UNSIGNED: Final = ("payable", "paid", "freight", "means:")
"""Of a sale these are never below nothing. Tills do write what they take off, and the change, as negative."""
_NUMBERED: Final = re.compile(r"0*([0-9]{1,9})", re.ASCII)


class PartOfReceipt(TranslationError):
    """Rows of the receipt are missing, as far as its sums or line numbers show: they may be in another file."""

    def __init__(self, reason: str) -> None:
        """Say what shows it."""
        super().__init__(
            reason,
            "receipt",
            "import a file that holds the whole receipt; if this till's sums never agree, or if it leaves line "
            "numbers out, switch `sums_checked` off in its template",
        )


class Bill(NamedTuple):
    """A receipt's money, without sign, in minor units."""

    goods: int
    discount: int
    freight: int
    payable: int
    paid: int
    payments: Mapping[str, int]
    """Amount by means of payment, where the receipt tells."""
    amounts: Mapping[str, int]
    """What each line comes to after everything that was taken off, by line id; adds up to `payable` less freight."""


def bill_of(layout: Layout, rows: Sequence[Cells], goods: Mapping[str, Goods], template: Template) -> Bill:
    """Add a receipt up.

    A receipt's own amounts stand on its first row or are repeated on each, and then count once; some tills spread them
    over the rows, and then they are summed. The reading that adds up is the right one.

    Raises:
        PartOfReceipt: no reading adds up, or lines are missing.
        TranslationError: an amount cannot be read, or cannot be.
    """
    live = {line: item.amount for line, item in goods.items() if not item.void}
    if not live:  # void as a whole, or without goods
        live = {line: item.amount for line, item in goods.items()}
    payments = payments_of(layout, rows, template)
    columns = {meaning: _column(layout, rows, meaning, template) for meaning in _STATED}
    if template.sums_checked:
        _check_presence(layout, columns, payments, goods)
    total = sum(live.values()) if goods else None
    readings = list(_readings(columns))
    for stated in readings:
        bill = _balanced(stated, total, payments, layout, rows, template)
        if bill is not None:
            if template.sums_checked and not (payments or _own_amounts(layout, rows, stated, template)):
                _check_numbers(goods)
            return _spread(bill, goods, live)
    if template.sums_checked or not goods:
        raise PartOfReceipt(
            f"the receipt does not add up: lines {_text(total, template)}, "
            + ", ".join(
                f"{layout.name(meaning)} {_text(amount, template)}"
                for meaning, amount in readings[0].items()
                if amount is not None
            )
        )
    payable = max((total or 0) - (readings[0]["order_discount"] or 0) - (readings[0]["rounding"] or 0), 0)
    paid = readings[0]["paid"]
    return _spread(Bill(0, 0, 0, payable, payable if paid is None else paid, payments, {}), goods, live)


def payments_of(layout: Layout, rows: Sequence[Cells], template: Template) -> dict[str, int]:
    """Return amounts by means of payment, from `现金:100;支付宝:200` or from a column for each means."""
    columns = {name: _column(layout, rows, f"means:{name}", template) for name in layout.means}
    found = {name: amounts[0] for name, amounts in columns.items() if amounts and amounts[0]}
    for text, cells in {layout.text(cells, "payment"): cells for cells in rows}.items():
        parts = split_payment(text, template.currency)
        if parts and _NEGATIVE_PART.search(text):
            _refuse_negative(layout, cells, "payment", template)
        for name, amount in (parts or {}).items():
            found.setdefault(name, amount)
    return dict(sorted(found.items()))


def split_payment(text: str, currency: str) -> dict[str, int] | None:
    """Read `现金:100;支付宝:200`; None where it is anything else."""
    found: dict[str, int] = {}
    for part in re.split(r"[;；+|]", text):
        match = _PAYMENT.fullmatch(part.strip())
        if match is None:
            return None
        try:
            found[match[1].strip()] = found.get(match[1].strip(), 0) + abs(minor(match[2], currency))
        except BadMoney:
            return None
    return found


def is_means(text: str) -> bool:
    """Tell whether a payment cell is only the name of a means, without any number that could name a person."""
    return _MEANS.fullmatch(text) is not None


def _column(layout: Layout, rows: Sequence[Cells], meaning: str, template: Template) -> tuple[int, ...]:
    """Return the possible amounts of a receipt in one column: counted once, summed; () where it has none."""
    values = [money(layout, cells, meaning, "", template.currency) for cells in rows]
    if meaning.startswith(_UNSIGNED):
        for cells, value in zip(rows, values, strict=True):
            if value is not None and value < 0:
                _refuse_negative(layout, cells, meaning, template)
    stated = [value if meaning == "rounding" else abs(value) for value in values if value is not None]
    if not stated:
        return ()
    once = stated[:1] if len(set(stated)) == 1 else []
    return tuple(dict.fromkeys((*once, sum(stated))))


def _refuse_negative(layout: Layout, cells: Cells, meaning: str, template: Template) -> None:
    if nature_of(layout, cells, template) == "sale":
        raise TranslationError(
            f"a sale with a negative amount: {layout.value(cells, meaning)[:40]}", layout.name(meaning), "correct it"
        )


def _readings(columns: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, int | None]]:
    """Return the two ways to read a receipt's amounts (once, summed), each with what was rounded off or up."""
    for place in (0, -1):
        stated: dict[str, int | None] = {
            meaning: amounts[place] if amounts else None for meaning, amounts in columns.items()
        }
        rounding = abs(stated["rounding"] or 0)
        yield {**stated, "rounding": rounding}
        if rounding:
            yield {**stated, "rounding": -rounding}


def _check_presence(
    layout: Layout, columns: Mapping[str, tuple[int, ...]], payments: Mapping[str, int], goods: Mapping[str, Goods]
) -> None:
    """See whether the rows that tell what was paid are missing."""
    if not goods or columns["paid"] or columns["payable"] or payments:
        return
    if layout.has("paid", "payable") or layout.means:
        raise PartOfReceipt("no row says what was owed or paid")


def _own_amounts(layout: Layout, rows: Sequence[Cells], stated: Mapping[str, int | None], template: Template) -> bool:
    """Tell whether a row states an amount of the whole receipt, and not only each row its own share."""
    return any(
        stated[meaning] is not None
        and any(
            abs(value) == stated[meaning]
            for cells in rows
            if (value := money(layout, cells, meaning, "", template.currency)) is not None
        )
        for meaning in ("paid", "payable")
    )


def _check_numbers(goods: Mapping[str, Goods]) -> None:
    """See whether line numbers are missing, where no sum tells that the receipt is whole. Places are never missing."""
    found = [_NUMBERED.fullmatch(line) for line in goods]
    numbers = sorted({int(match[1]) for match in found if match})
    if not numbers or not all(found):
        return
    if numbers[0] > 1:
        raise PartOfReceipt(f"its lines begin with {numbers[0]}")
    for before, after in itertools.pairwise(numbers):
        if after - before > 1:
            one = after - before == 2  # noqa: PLR2004 -- a gap of one number
            raise PartOfReceipt(
                f"line {before + 1} is missing" if one else f"lines {before + 1} to {after - 1} are missing"
            )


def _balanced(
    stated: Mapping[str, int | None],
    total: int | None,
    payments: Mapping[str, int],
    layout: Layout,
    rows: Sequence[Cells],
    template: Template,
) -> Bill | None:
    """Return the money if this reading adds up."""
    off, rounding, freight, change = (stated[m] or 0 for m in ("order_discount", "rounding", "freight", "change"))
    payable, paid = stated["payable"], stated["paid"]
    split = sum(payments.values()) if payments else None
    if total is None:
        amount = money(layout, rows[0], "line_amount", "", template.currency)
        if amount is not None:
            total = abs(amount)
        elif paid is not None:
            total = paid - change + off + rounding - freight
        elif payable is not None:
            total = payable - freight
        elif split is not None:
            total = split - change + off + rounding - freight
        else:
            raise TranslationError("the receipt has no amount", "receipt", "export the amounts as well")
    for taken in dict.fromkeys((off, 0)):  # some tills have it in the lines' amounts already
        if max(total, off) > AMOUNT_MAX:
            raise TranslationError("the amounts are absurdly large", "receipt", "correct them")
        net = total - taken - rounding + freight
        owed = {net, total, total + freight, net + rounding, total - taken + freight}
        given = {net, net + change}
        if (
            net >= 0
            and (payable is None or payable in owed)
            and (paid is None or paid in given)
            and (split is None or split in given)
            and (taken == off or paid is not None)
        ):
            return Bill(total, 0, freight, net, net, payments, {})
    return None


def _spread(bill: Bill, goods: Mapping[str, Goods], live: Mapping[str, int]) -> Bill:
    """Spread what was taken off the whole over the lines, by their amounts, to the last minor unit."""
    if not goods:
        net = bill.payable - bill.freight
        return bill._replace(goods=max(bill.goods, net), discount=max(bill.goods, net) - net)
    net, total = bill.payable - bill.freight, sum(live.values())
    shares = {line: net * amount // total if total else 0 for line, amount in live.items()}
    if total:
        largest_first = sorted(live, key=lambda line: -(net * live[line] % total))  # stable: ties in line order
        for line in largest_first[: net - sum(shares.values())]:
            shares[line] += 1
    listed = sum(max(goods[line].amount + goods[line].discount, shares[line]) for line in live)
    return bill._replace(goods=listed, discount=listed - net, amounts=shares)


def _text(amount: int | None, template: Template) -> str:
    return "none" if amount is None else format_minor(amount, template.currency)
