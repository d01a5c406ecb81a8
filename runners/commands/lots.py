"""Lots of goods that leave, from the command line or a file."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from runners.commands.common import Exit, Failure

if TYPE_CHECKING:
    from domain.order import Lot

FIELDS = ("sku", "lot", "units", "carbon", "unit", "method", "source")
LotOption = Annotated[
    tuple[str, ...],
    Parameter(
        name="--lot",
        help="SKU=LOT:UNITS:CARBON:UNIT:METHOD:SOURCE, for example S1=L7:2:1.84:kgCO2e:ISO 14067:maker; or the name of "
        f"a CSV file with the header {','.join(FIELDS)}. May be given again.",
    ),
]


def lots_of(given: tuple[str, ...]) -> "tuple[Lot, ...]":
    """Read lots as `LotOption` says.

    Raises:
        Failure: one cannot be read.
    """
    return tuple(lot for text in given for lot in ([_lot(text)] if "=" in text else _file(Path(text))))


def _lot(text: str) -> "Lot":
    sku, _, rest = text.partition("=")
    # A source may have colons of its own; a SKU and a lot may not.
    parts = [part.strip() for part in rest.split(":", len(FIELDS) - 2)]
    parts += [""] * (len(FIELDS) - 1 - len(parts))
    return _made((sku.strip(), *parts), f"--lot {text[:80]!r}")


def _file(path: Path) -> "list[Lot]":
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except OSError as error:
        told = "" if path.suffix else "; a lot itself is SKU=LOT:UNITS:CARBON:UNIT:METHOD:SOURCE"
        raise Failure(Exit.USAGE, f"--lot {path}: cannot be read: {error.strerror}{told}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise Failure(Exit.USAGE, f"--lot {path}: is no CSV file in UTF-8: {error}") from error
    if not rows or not {"sku", "lot", "units"} <= rows[0].keys():
        raise Failure(Exit.USAGE, f"--lot {path}: the header must be {','.join(FIELDS)}, with rows below it")
    return [
        _made([(row.get(name) or "").strip() for name in FIELDS], f"--lot {path}, row {number}")
        for number, row in enumerate(rows, 2)
    ]


def _made(values: "tuple[str, ...] | list[str]", where: str) -> "Lot":
    from domain.order import Lot  # noqa: PLC0415
    from domain.stock import QUANTITY_MAX  # noqa: PLC0415

    sku, lot, units, *carbon = values
    number = int(units) if units.isascii() and units.isdigit() and len(units) <= len(str(QUANTITY_MAX)) else 0
    if not sku or not lot or not 0 < number <= QUANTITY_MAX:
        raise Failure(
            Exit.USAGE,
            f"{where}: needs a SKU, a lot and units from 1 to {QUANTITY_MAX:,}, for example "
            "S1=L7:2:1.84:kgCO2e:ISO 14067:maker",
        )
    return Lot(sku, lot, number, *carbon)
