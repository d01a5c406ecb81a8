"""A small file of real-looking order lines, with a cancellation of each kind."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

COLUMNS = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country")
DAY = "2010-06-01 10:00:00"
NEXT_DAY = "2010-06-02 10:00:00"
LATER = "2010-06-20 10:00:00"

LINES: list[tuple[Any, ...]] = [
    # 536000: shipped the same evening; taken back in part later
    ("536000", "85048", "GLASS BALL LIGHTS", 12, DAY, 6.95, 17.0, "United Kingdom"),
    ("536000", "22041", "RECORD FRAME", 4, DAY, 2.1, 17.0, "United Kingdom"),
    ("536000", "POST", "POSTAGE", 1, DAY, 18.0, 17.0, "United Kingdom"),
    # 536001: taken back on the same day, before the evening
    ("536001", "21232", "TRINKET BOX", 24, DAY, 1.25, 18.0, "France"),
    ("C536002", "21232", "TRINKET BOX", -24, DAY, 1.25, 18.0, "France"),
    # nobody is named: a counter sale, or an order of a guest
    ("536003", "85048", "GLASS BALL LIGHTS", 1, DAY, 7.5, None, "United Kingdom"),
    # counts of the warehouse: one fits, one takes away what is not there
    ("536004", "22041", "found", 3, DAY, 0.0, None, "United Kingdom"),
    ("536005", "99999", "damaged", -5, DAY, 0.0, None, "United Kingdom"),
    # no goods
    ("536006", "M", "Manual", 1, DAY, 12.5, 17.0, "United Kingdom"),
    ("A536007", "B", "Adjust bad debt", 1, DAY, -5000.0, None, "United Kingdom"),
    # so much that the opening stock is not enough
    ("536008", "21232", "TRINKET BOX", 500, NEXT_DAY, 1.25, 19.0, "Germany"),
    # taken back after shipping; in part without an order; by nobody; services only
    ("C536010", "85048", "GLASS BALL LIGHTS", -2, NEXT_DAY, 6.95, 17.0, "United Kingdom"),
    ("C536011", "22041", "RECORD FRAME", -1, LATER, 2.1, 17.0, "United Kingdom"),
    ("C536011", "77777", "NEVER SOLD", -1, LATER, 2.1, 17.0, "United Kingdom"),
    ("C536012", "85048", "GLASS BALL LIGHTS", -1, LATER, 7.5, None, "United Kingdom"),
    ("C536013", "D", "Discount", -1, LATER, 9.95, 17.0, "United Kingdom"),
    ("C536014", "85048", "GLASS BALL LIGHTS", -500, LATER, 6.95, 17.0, "United Kingdom"),
    # later demand, of which the opening stock is a share
    ("536009", "85048", "GLASS BALL LIGHTS", 40, LATER, 6.95, 21.0, "EIRE"),
    ("536009", "22041", "RECORD FRAME", 20, LATER, 2.1, 21.0, "EIRE"),
    ("536015", "79323P", "PINK CHERRY LIGHTS", 1, LATER, 6.75, 20.0, "EIRE"),
]


def write_lines(path: Path) -> Path:
    """Write the file and return its path."""
    table = {name: [line[at] for line in LINES] for at, name in enumerate(COLUMNS)}
    parquet.write_table(pa.table(table), path)
    return path
