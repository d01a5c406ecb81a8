"""The channel of shops that export their till's receipts as CSV files.

Each receipt of a file becomes one slice, whatever the file's encoding, separator, column names and row order are. What
cannot be trusted is refused with its row number and with what to do; nothing is guessed. The reading is in the modules
beside: `pos_table` (bytes to cells), `pos_columns` (names and words), `pos_receipt` (identity), `pos_lines` and
`pos_money` (goods and sums), `pos_sale` (meaning), `pos_totals` (total rows).
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from adapters.channels.pos_columns import IDS, Layout, Template, clean, destroyed, knower, said
from adapters.channels.pos_lines import in_order
from adapters.channels.pos_receipt import (
    Identity,
    Slice,
    business_day,
    nature_of,
    original_of,
    reference_of,
    shop_of,
    time_of,
)
from adapters.channels.pos_sale import missing, translate_receipt
from adapters.channels.pos_table import Row, Table, UnreadableFile, guess, header_of, read_table
from adapters.channels.pos_template import template_text, templated
from adapters.channels.pos_totals import Counted, differences, is_total
from domain.canonical import Return, Translated, TranslationError
from domain.ids import BadId, checked_part
from domain.money import digits_of
from domain.ports import Aside, Channel, Sliced
from domain.till import BadTill, Till
from domain.timehub import UnreadableTime, zone_of

FORMAT: Final = "pos-csv/1"
_TOTALS_CHECKED_WHOLE_MAX: Final = 100
_LAYOUTS_MAX: Final = 256
_FAULTS_SHOWN_MAX: Final = 20
_SLICES: Final = msgspec.json.Decoder(Slice)
_RETYPE: Final = "export the file again with this column as text, without opening it in a spreadsheet"


def channel(merchant_zone: str = "Asia/Shanghai") -> Channel:
    """Return the channel for tills that need no template."""
    return PosCsv(Template(target=merchant_zone))


class PosCsv:
    """Receipts in files; one instance for each way of writing them (see `Template`)."""

    def __init__(self, template: Template | None = None) -> None:
        """Take the shop's template.

        Raises:
            ValueError: the template names a meaning, zone or currency that does not exist.
        """
        self._template = template or Template()
        self._known = knower(self._template)
        Layout(list(self._template.columns), self._template)
        self._layouts: dict[tuple[str, ...], Layout] = {}
        digits_of(self._template.currency)
        zone_of(self._template.zone)
        zone_of(self._template.target)

    @property
    def name(self) -> str:
        """Name in keys and settings."""
        return self._template.channel

    def sniff(self, raw: bytes) -> bool:
        """Tell whether these bytes begin like a table with known columns."""
        template = self._template
        layout = Layout(header_of(raw, self._known, template.encoding, template.separator), template)
        return layout.has("receipt") and layout.has("moment", "day", "clock")

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        """Cut a file into receipts; returns come with the identity of the order that the goods come from.

        Never raises: rows and receipts that cannot be trusted are `refused`, with their row numbers.
        """
        try:
            table = read_table(raw, self._known, self._template.encoding, self._template.separator)
        except UnreadableFile as error:
            return [Aside("refused", str(error), raw, shop)]
        layout = Layout(table.header.cells, self._template)
        if not layout.has("receipt") or not layout.has("moment", "day", "clock"):
            missing = "receipt numbers" if not layout.has("receipt") else "times"
            return [Aside("refused", f"no column of {missing} (name it in the shop's template)", raw, shop)]
        return _Reading(table, layout, shop, self._template).pieces()

    def translate(self, raw: bytes, shop: str) -> Translated | Return:
        """Turn one slice into a sale, or into a return of goods of an earlier one.

        Raises:
            TranslationError: with what is wrong, where and what to do.
        """
        piece = _piece_of(raw)
        return translate_receipt(self._layout(piece.header), piece.rows, shop, self._template)

    def document(self, raw: bytes) -> dict[str, Any]:
        """Return a receipt as a mapping's paths walk through it: the columns of its first row, and all `rows`.

        A cell that is spelled empty (`-`, `无`) says nothing.

        Raises:
            TranslationError: it is no slice of this channel.
        """
        piece = _piece_of(raw)
        rows = [
            {clean(name): said(cell) or None for name, cell in zip(piece.header, cells, strict=True)}
            for cells in piece.rows
        ]
        return {**rows[0], "rows": rows}

    def with_template(self, till: Till) -> "PosCsv":
        """Return the same channel, reading files as a mapping says.

        Raises:
            BadTill: it names a meaning, word, zone, currency, encoding or separator that there is not.
        """
        return PosCsv(templated(self._template, till))

    def template_of(self, raw: bytes) -> str:
        """Return the template that a file seems to need, as TOML for people to correct.

        Raises:
            BadTill: it is no table.
        """
        try:
            found = guess(raw, self._known, self._template.encoding, self._template.separator)
        except UnreadableFile as error:
            raise BadTill(str(error)) from None
        return template_text(found, self._template)

    def unchecked(self) -> "PosCsv":
        """Return the same channel, taking receipts whose money does not add up."""
        return PosCsv(msgspec.structs.replace(self._template, sums_checked=False))

    def _layout(self, header: tuple[str, ...]) -> Layout:
        """Return the layout of a header; receipts of one till come one after the other."""
        layout = self._layouts.get(header)
        if layout is None:
            if len(self._layouts) >= _LAYOUTS_MAX:
                self._layouts.clear()
            layout = self._layouts[header] = Layout(header, self._template)
        return layout


def _piece_of(raw: bytes) -> Slice:
    try:
        piece = _SLICES.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TranslationError(f"not a slice of a POS file: {error}", "", "import the file again") from None
    if not piece.rows or any(len(cells) != len(piece.header) for cells in piece.rows):
        raise TranslationError("the slice has no rows, or rows of another width", "", "import the file again")
    return piece


def _numbers(rows: Sequence[Row]) -> tuple[int, ...]:
    return tuple(row.number for row in rows)


class _Receipt:
    """The rows of a file that have one identity, and what is wrong with them."""

    __slots__ = ("faults", "identity", "rows")

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.rows: list[Row] = []
        self.faults: list[str] = []


class _Reading:
    """One file on its way into receipts."""

    def __init__(self, table: Table, layout: Layout, shop: str, template: Template) -> None:
        self._table = table
        self._layout = layout
        self._shop = shop
        self._template = template
        self._width = len(table.header.cells)
        self._receipts: dict[Identity, _Receipt] = {}
        self._nameless: list[Aside] = []
        """Rows without a receipt number."""
        self._beside: list[Aside] = []
        """Titles, totals, notes."""
        self._days: dict[tuple[str, ...], str] = {}

    def pieces(self) -> list[Sliced | Aside]:
        if self._table.before:
            self._set_aside("titles above the header", self._table.before)
        if not self._table.rows:
            self._set_aside("the file has a header and no rows", [])
        self._sort_rows()
        self._share_faults()
        pieces = [*map(self._piece, self._receipts.values()), *self._nameless, *self._beside]
        return sorted(pieces, key=lambda piece: piece.rows[:1])  # as in the file: stable where several begin alike

    def _sort_rows(self) -> None:
        """Put each row to its receipt, or aside."""
        section: list[Counted] = []
        above: list[Counted] = []
        totals = 0
        previous: Identity | None = None
        last = self._table.rows[-1] if self._table.cut and self._table.rows else None
        for row in self._table.rows:
            cells = row.cells
            if is_total(cells):
                totals += 1
                whole = above if totals <= _TOTALS_CHECKED_WHOLE_MAX else []
                self._total(row, section, whole)
                section = []
            elif cells == self._table.header.cells:
                self._set_aside(f"row {row.number}: the header again", [row])
            elif sum(1 for cell in cells if cell.strip()) == 1 and row is not last:
                self._set_aside(f"row {row.number}: a note, no receipt", [row])
            else:
                fitted = self._fitted(row)
                previous = self._sale_row(row, fitted, previous, cut=row is last and len(cells) < self._width)
                counted = Counted(fitted.cells, previous)
                section.append(counted)
                above.append(counted)

    def _sale_row(self, row: Row, fitted: Row, previous: Identity | None, *, cut: bool) -> Identity | None:
        """Give a row to its receipt, with what is wrong with it; return whose it is."""
        layout, cells = self._layout, fitted.cells
        faults = self._faults(row, cells, cut=cut)
        number = layout.text(cells, "receipt")
        shop = shop_of(layout, cells, "")
        if not shop:
            shop = previous.shop if previous and previous.number == number else self._shop
        if not number:
            faults.append("it has no receipt number (fill it in)")
        day = ""
        if not self._template.receipt_numbers_unique:
            try:
                day = self._day(cells)
            except UnreadableTime as error:
                faults.append(str(error))
            else:
                if not day and previous and (previous.shop, previous.number) == (shop, number):
                    day = previous.day
                elif not day:
                    faults.append("it has no time (fill it in)")
        if not number or destroyed(number):
            self._nameless.append(self._refused([row], [f"row {row.number}: " + "; ".join(faults)], shop))
            return None
        identity = Identity(shop, number, day)
        for part, what in ((shop, "the store"), (identity.order_no, "the receipt number")):
            try:
                checked_part(part, what)
            except BadId as error:
                faults.append(str(error))
        receipt = self._receipts.setdefault(identity, _Receipt(identity))
        receipt.rows.append(row if faults else fitted)
        if faults:
            receipt.faults.append(f"row {row.number}: " + "; ".join(faults))
        return identity

    def _day(self, cells: tuple[str, ...]) -> str:
        """Return the business date of a row; "" where it has no time. Rows of a receipt mostly share their time."""
        meanings = ("moment", "day", "clock", "business_day", "receipt")
        key = tuple(self._layout.value(cells, meaning) for meaning in meanings)
        if key not in self._days:
            at = time_of(self._layout, cells, self._template)
            self._days[key] = business_day(self._layout, cells, at, self._template) if at else ""
        return self._days[key]

    def _faults(self, row: Row, fitted: tuple[str, ...], *, cut: bool) -> list[str]:
        """Return what is wrong with a row by itself."""
        faults = []
        if len(row.cells) > self._width and any(cell.strip() for cell in row.cells[self._width :]):
            faults.append(
                f"it has {len(row.cells)} cells, the header {self._width} (quote the cell that holds the separator)"
            )
        if cut:
            faults.append("the file ends in the middle of it (export the file again)")
        for meaning in IDS:
            text = self._layout.value(fitted, meaning)
            if text and destroyed(text):
                faults.append(f"{self._layout.name(meaning)} {text} was destroyed by a spreadsheet ({_RETYPE})")
        return faults

    def _share_faults(self) -> None:
        """Refuse whole receipts: a receipt without one of its rows would be a wrong one."""
        by_number: dict[str, list[_Receipt]] = {}
        for receipt in self._receipts.values():
            by_number.setdefault(receipt.identity.number, []).append(receipt)
        for same in by_number.values():
            undated = [receipt for receipt in same if not receipt.identity.day and receipt.faults]
            for receipt in undated:
                for other in same:
                    if other is not receipt and other.identity.shop == receipt.identity.shop:
                        other.faults.extend(receipt.faults)
        for receipt in list(self._receipts.values()):
            for row in receipt.rows:
                if len(row.cells) > self._width:  # shifted cells: its number may stand in any of them
                    for other in {
                        other.identity: other for text in map(clean, row.cells) for other in by_number.get(text, ())
                    }.values():
                        if other is not receipt:
                            other.faults.append(f"row {row.number} may be a part of it, and has too many cells")

    def _piece(self, receipt: _Receipt) -> Sliced | Aside:
        """Return a receipt as the slice of an order, or why not."""
        own, rows = receipt.identity, receipt.rows
        tills = dict.fromkeys(till for row in rows if (till := self._layout.text(self._fitted(row).cells, "till")))
        if len(tills) > 1:
            column, told = self._layout.name("till"), ", ".join(tills)
            receipt.faults.append(
                f"row {rows[0].number}: receipt {own.number} is of several tills ({told}), so it is several sales "
                f'(where each till counts for itself, let the template take it for a store: {column} = "store_code")'
            )
        if receipt.faults:
            certain = bool(own.day) or self._template.receipt_numbers_unique
            order_no = own.order_no if certain and not self._only_returns(rows) else ""
            return self._refused(rows, receipt.faults, own.shop, order_no)
        part = missing(self._layout, tuple(row.cells for row in rows), self._template)
        if part:  # kept beside its order, which the whole receipt must find open
            faults = [f"row {rows[0].number}: receipt {own.number}: {part}"]
            return self._refused(rows, faults, own.shop, "" if self._only_returns(rows) else own.order_no)
        if not self._only_returns(rows):
            return Sliced(own.shop, own.order_no, self._slice(rows), _numbers(rows))
        return self._returned(receipt)

    def _only_returns(self, rows: list[Row]) -> bool:
        """Tell a return: its number names no order."""
        return all(nature_of(self._layout, self._fitted(row).cells, self._template) == "return" for row in rows)

    def _returned(self, receipt: _Receipt) -> Sliced | Aside:
        own, rows = receipt.identity, receipt.rows
        where = f"row {rows[0].number}: return {own.number}"
        try:
            originals = {original_of(self._layout, row.cells, own, self._template) for row in rows}
        except UnreadableTime as error:
            return self._refused(rows, [f"{where}: {error}"], own.shop)
        named = {reference_of(self._layout, row.cells) for row in rows}
        original = originals.pop()
        if "" in named:
            why = "it does not name the receipt that the goods come from (enter its number, or the after-sale by hand)"
        elif originals:
            why = "it names more than one original receipt (enter a return for each)"
        elif original is None:
            why = (
                f"the date of its original {named.pop()} cannot be told (add a column with it, "
                "or say in the template that receipt numbers are unique)"
            )
        else:
            try:
                checked_part(original.order_no, "the original's number")
                return Sliced(original.shop, original.order_no, self._slice(rows), _numbers(rows))
            except BadId as error:
                why = str(error)
        return self._refused(rows, [f"{where}: {why}"], own.shop)

    def _total(self, row: Row, section: list[Counted], above: list[Counted]) -> None:
        found = differences(self._layout, self._fitted(row).cells, section, above)
        reason = f"row {row.number}: a total row; " + (
            f"rows may be missing: {found} (compare with the till)" if found else "its sums agree"
        )
        self._set_aside(reason, [row])

    def _fitted(self, row: Row) -> Row:
        """Make a row as wide as the header; what is cut off is empty, or a fault of the row."""
        if len(row.cells) == self._width:
            return row
        cells = row.cells[: self._width]
        return Row(row.number, cells + ("",) * (self._width - len(cells)))

    def _slice(self, rows: list[Row]) -> bytes:
        ordered = in_order(self._layout, tuple(row.cells for row in rows))
        return msgspec.json.encode(Slice(FORMAT, self._table.header.cells, tuple(tuple(cells) for cells in ordered)))

    def _set_aside(self, reason: str, rows: list[Row]) -> None:
        self._beside.append(Aside("ignored", reason, self._slice_exact(rows), self._shop, "", _numbers(rows)))

    def _refused(self, rows: list[Row], faults: list[str], shop: str, order_no: str = "") -> Aside:
        shown = " | ".join(faults[:_FAULTS_SHOWN_MAX])
        more = f" | and {len(faults) - _FAULTS_SHOWN_MAX} more" if len(faults) > _FAULTS_SHOWN_MAX else ""
        return Aside("refused", shown + more, self._slice_exact(rows), shop, order_no, _numbers(rows))

    def _slice_exact(self, rows: list[Row]) -> bytes:
        """Keep rows with every cell they have, also those beyond the header."""
        return msgspec.json.encode(Slice(FORMAT, self._table.header.cells, tuple(row.cells for row in rows)))
