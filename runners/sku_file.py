"""A file of entries for the table of SKUs: CSV with a header, in the usual encodings and with the usual separators."""

import csv
import io
import re

from domain.skus import TEXT_MAX

ITEM = frozenset(
    {"item", "item id", "item_id", "商品id", "渠道商品", "渠道商品id", "宝贝id", "goods_id", "product_id", "num_iid"}
)
VARIANT = frozenset({"variant", "variant id", "variant_id", "规格id", "sku id", "sku_id", "skuid"})
SKU = frozenset({"sku", "商家编码", "sku编码", "商品编码", "货号", "merchant sku", "outer_id", "outer_sku_id"})
"""Names of the columns, in lower case."""
DESTROYED = re.compile(r"[0-9](?:\.[0-9]+)?[eE]\+?[0-9]+")
"""What a spreadsheet makes of a long number."""
_SEPARATORS = ",;\t|"


def read_skus(raw: bytes) -> tuple[list[tuple[str, str]], list[str]]:
    """Return (item, SKU) of each row, and what is wrong with the file, by row.

    An item with a variant is `ITEM/VARIANT`, as orders name it.
    """
    text = decoded(raw)
    if text is None:
        return [], ["the file is neither UTF-8, UTF-16 nor GB18030"]
    head = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=head.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        return [], [f"not a CSV file: {error}"]
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    places = [_place(header, names) for names in (ITEM, VARIANT, SKU)]
    if places[0] is None or places[2] is None:
        return [], [
            f"row 1: the header must have the columns item and sku, and is {','.join(header)[:80] or 'missing'}"
        ]
    pairs: dict[str, str] = {}
    errors: list[str] = []
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        item, variant, sku = ("" if at is None or at >= len(cells) else cells[at].strip() for at in places)
        name = f"{item}/{variant}" if variant else item
        wrong = _wrong(item, variant, sku)
        if wrong:
            errors.append(f"row {number}: {wrong}")
        elif pairs.setdefault(name, sku) != sku:
            errors.append(f"row {number}: {name} is {sku} here and {pairs[name]} above")
    if not pairs and not errors:
        errors.append("there are no rows below the header")
    return list(pairs.items()), errors


def _wrong(item: str, variant: str, sku: str) -> str:
    if not item:
        return "no item"
    for what, text in (("item", f"{item}/{variant}" if variant else item), ("SKU", sku)):
        if not text:
            return f"no {what}"
        if len(text) > TEXT_MAX:
            return f"the {what} is longer than {TEXT_MAX} characters"
    for text in (item, variant):
        if DESTROYED.fullmatch(text):
            return f"the item {text} was destroyed by a spreadsheet: export the file again, with this column as text"
    return ""


def _place(header: list[str], names: frozenset[str]) -> int | None:
    return next((place for place, name in enumerate(header) if name in names), None)


def decoded(raw: bytes) -> str | None:
    """Return the text of a file in one of the usual encodings, or None."""
    encodings = ("utf-16",) if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "gb18030")
    for encoding in encodings:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None
