"""A file of real order lines (Parquet), read as invoices in the order of time. Columns as in `COLUMNS`."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

COLUMNS: Final = (
    "Invoice",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "Price",
    "Customer ID",
    "Country",
)
ZONE: Final = ZoneInfo("Europe/London")
"""Zone of the file's times, which name none. Of a time that clocks pass twice, the first is meant."""
_PAGE_ROWS: Final = 20_000


class BadSource(Exception):
    """The file cannot be used. The message says why and what to do."""


class Row(NamedTuple):
    """One line of an invoice."""

    sku: str
    name: str
    quantity: int
    price: float
    """Of one unit, in pounds."""


class Invoice(NamedTuple):
    """One invoice."""

    number: str
    at_ms: int
    customer: int
    """0 = the file names none."""
    country: str
    rows: list[Row]

    @property
    def cancels(self) -> bool:
        """Whether it is a cancellation."""
        return self.number[:1] in ("C", "c")


class RetailFile:
    """The file in memory as columns; invoices are made one by one."""

    def __init__(self, path: Path) -> None:
        """Read it, and bring the lines of each invoice together.

        Raises:
            BadSource: it cannot be read, or lacks a column.
        """
        try:
            import pyarrow as pa  # noqa: PLC0415  slow to import
            from pyarrow import compute, parquet  # noqa: PLC0415
        except ImportError:
            raise BadSource(
                "reading Parquet needs the package pyarrow, which is missing here: run `make setup` (it is in "
                "requirements.lock), or install pyarrow"
            ) from None
        try:
            missing = [name for name in COLUMNS if name not in parquet.read_schema(path).names]
            if missing:
                raise BadSource(
                    f"{path} has no column {', '.join(repr(name) for name in missing)}; needed are {', '.join(COLUMNS)}"
                )
            table = parquet.read_table(path, columns=list(COLUMNS))
        except (OSError, pa.ArrowInvalid) as error:
            raise BadSource(f"{path} cannot be read as Parquet: {error}") from error
        empty = [
            name for name in ("Invoice", "StockCode", "Quantity", "InvoiceDate", "Price") if table[name].null_count
        ]
        if empty:
            raise BadSource(f"{path} has lines without {', '.join(empty)}")
        self.lines: int = table.num_rows
        # The place of an invoice's first line is its place; lines keep their order inside it.
        codes = compute.cast(table["Invoice"], pa.string()).combine_chunks().dictionary_encode().indices
        numbered = pa.table({"invoice": codes, "line": pa.array(range(self.lines), pa.int64())})
        order = compute.sort_indices(numbered, [("invoice", "ascending"), ("line", "ascending")])
        self._table = table.take(order)
        self.invoices: int = compute.count_distinct(codes).as_py()
        self._codes = codes.take(order)

    def cancelled_pairs(self) -> set[tuple[int, str]]:
        """Return the (customer, SKU) pairs that cancellations name."""
        return {
            (invoice.customer, row.sku)
            for invoice in self
            if invoice.cancels and invoice.customer
            for row in invoice.rows
        }

    def __iter__(self) -> Iterator[Invoice]:
        """Yield the invoices, by their first lines."""
        known: Invoice | None = None
        for start in range(0, self.lines, _PAGE_ROWS):
            page: dict[str, list[Any]] = self._table.slice(start, _PAGE_ROWS).to_pydict()
            for number, sku, name, quantity, at, price, customer, country in zip(
                *(page[column] for column in COLUMNS), strict=True
            ):
                if known is None or number != known.number:
                    if known is not None:
                        yield known
                    known = Invoice(number, _instant(str(at)), int(customer or 0), country or "", [])
                code = " ".join(str(sku).split())
                text = " ".join(str(name or "").split())
                known.rows.append(Row(code, text or code, int(quantity), float(price)))
        if known is not None:
            yield known


def _instant(text: str) -> int:
    """Return UTC ms of a local time.

    Raises:
        BadSource: it is no time.
    """
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()) * 1000
    except ValueError:
        raise BadSource(f"{text!r} is no time such as 2009-12-01 07:45:00") from None
