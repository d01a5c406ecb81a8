"""The rows of one receipt as goods: quantities, prices, what each row comes to."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from adapters.channels.pos_columns import Layout, Template
from adapters.channels.pos_receipt import Cells, nature_of
from domain.canonical import TranslationError
from domain.money import AMOUNT_MAX, BadMoney, minor

_QUANTITY: Final = re.compile(r"(\()?\s*+([+-]?)\s*+([0-9]{1,9}|[0-9]{1,3}(?:,[0-9]{3}){1,2})(?:\.([0-9]*))?\s*(\))?")
_NUMBER: Final = re.compile(r"0*([0-9]{1,9})(?:\.0+)?", re.ASCII)
_ITEM: Final = ("sku", "barcode", "name")


class Goods(NamedTuple):
    """One row with goods; amounts without sign, before what is taken off the whole receipt."""

    id: str
    cells: Cells
    quantity: int
    price: int
    discount: int
    amount: int
    void: bool


def goods_of(layout: Layout, rows: tuple[Cells, ...], template: Template) -> dict[str, Goods]:
    """Return the rows with goods by line id, in line order; empty where the receipt is one row without goods.

    Raises:
        TranslationError: a row contradicts another or itself, or has no whole quantity.
    """
    numbered = _numbered(layout, rows, template)
    with_goods = [any(layout.text(cells, meaning) for meaning in _ITEM) for cells in numbered.values()]
    if not any(with_goods) and len(numbered) == 1:
        return {}
    return {line: _goods(layout, line, cells, template) for line, cells in numbered.items()}


def money(layout: Layout, cells: Cells, meaning: str, where: str, currency: str) -> int | None:
    """Return the amount in a cell; None where it is empty.

    Raises:
        TranslationError: it is no amount.
    """
    text = layout.value(cells, meaning)
    if not text:
        return None
    try:
        return minor(text, currency)
    except BadMoney as error:
        raise TranslationError(str(error), f"{where}{layout.name(meaning)}", "correct the amount") from None


def _numbered(layout: Layout, rows: tuple[Cells, ...], template: Template) -> Mapping[str, Cells]:
    """Give each row its line id: its line number, or its place in the receipt where the rows have none."""
    ids = [layout.value(cells, "line") for cells in rows]
    if not all(ids):
        return {str(place): cells for place, cells in enumerate(in_order(layout, rows), 1)}
    numbered: dict[str, Cells] = {}
    for line, cells in sorted(zip(ids, rows, strict=True), key=lambda pair: _rank(pair[0])):
        other = numbered.get(line)
        if other is None or tuple(other) == tuple(cells):
            numbered[line] = cells
            continue
        voids = [nature_of(layout, either, template) == "void" for either in (other, cells)]
        if voids[0] == voids[1]:
            raise TranslationError(
                "the line number stands twice with different contents",
                f"line {line}",
                "remove the row that does not hold, or join the files by hand if a receipt number was given twice",
            )
        numbered[line] = cells if voids[1] else other
    return numbered


def in_order(layout: Layout, rows: tuple[Cells, ...]) -> list[Cells]:
    """Sort rows by line number, else by running number, where every row has one; else leave them as they stand."""
    for meaning in ("line", "index"):
        ids = [layout.value(cells, meaning) for cells in rows]
        if all(_NUMBER.fullmatch(text) for text in ids):
            return [cells for _, cells in sorted(zip(ids, rows, strict=True), key=lambda pair: _rank(pair[0]))]
    return list(rows)


def _rank(line: str) -> tuple[int, str]:
    match = _NUMBER.fullmatch(line)
    return (int(match[1]), "") if match else (10**9, line)


def _goods(layout: Layout, line: str, cells: Cells, template: Template) -> Goods:
    where = f"line {line}, "
    if not any(layout.text(cells, meaning) for meaning in _ITEM):
        raise TranslationError("the row names no goods", f"line {line}", "give the item, or remove the row")
    quantity = _quantity(layout.value(cells, "quantity"), f"{where}{layout.name('quantity')}")
    signed = {
        meaning: money(layout, cells, meaning, where, template.currency)
        for meaning in ("price", "line_discount", "line_amount")
    }
    for meaning in ("line_amount", "price"):
        if quantity > 0 and (signed[meaning] or 0) < 0 and nature_of(layout, cells, template) == "sale":
            raise TranslationError("a sale of a negative amount", f"{where}{layout.name(meaning)}", "correct it")
    price, discount, amount = (None if value is None else abs(value) for value in signed.values())
    quantity = abs(quantity)
    if (price or 0) * quantity > AMOUNT_MAX:
        raise TranslationError("price times quantity is absurdly large", f"line {line}", "correct the row")
    if amount is None:
        if price is None:
            raise TranslationError("neither an amount nor a price", f"line {line}", "export one of them")
        amount = price * quantity - (discount or 0)
        if amount < 0:
            raise TranslationError("the discount is more than the price", f"line {line}", "correct the row")
    if price is None:
        return Goods(
            line,
            cells,
            quantity,
            (amount + (discount or 0)) // quantity,
            discount or 0,
            amount,
            _void(layout, cells, template),
        )
    if discount is None:
        discount = max(price * quantity - amount, 0)
    # Tills write the discount for the row or for one unit, and the price before or after it.
    readings = (price * quantity - discount, price * quantity, (price - discount) * quantity)
    if template.sums_checked and amount not in readings:
        raise TranslationError(
            "price, quantity, discount and amount do not go together", f"line {line}", "correct the row"
        )
    if amount == readings[2] != readings[0]:
        discount *= quantity
    return Goods(line, cells, quantity, price, discount, amount, _void(layout, cells, template))


def _void(layout: Layout, cells: Cells, template: Template) -> bool:
    return nature_of(layout, cells, template) == "void"


def _quantity(text: str, where: str) -> int:
    match = _QUANTITY.fullmatch(text.replace("－", "-").replace("−", "-"))
    if match is None or bool(match[1]) != bool(match[5]):
        reason = f"{text[:40]!r} is no quantity" if text else "the quantity is missing"
        raise TranslationError(reason, where, "give a whole number")
    if match[4] and match[4].strip("0"):
        raise TranslationError(
            f"{text!r} is a part of a unit",
            where,
            "goods are counted in whole units: sell weighed or cut goods in their smallest unit, such as gram",
        )
    count = int(match[3].replace(",", ""))
    if count == 0:
        raise TranslationError("the quantity is 0", where, "remove the row, or give the quantity")
    return -count if match[1] or match[2] == "-" else count
