"""`stock barcodes`: which SKU a barcode is of."""

import csv
import io
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from runners.commands.acting import GOOD, command_id_of, mail_of, send
from runners.commands.common import (
    DATA_DEFAULT,
    CommandIdOption,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    outcome_word,
    print_json,
    rows_in,
    say,
    settings_of,
    show,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.mail import Body
    from runners.settings import Settings

CHUNK = 1_000
"""Barcodes of one message."""
SKU_NAMES = ("sku", "商家编码", "sku编码", "商品编码", "货号")
CODE_NAMES = ("barcode", "code", "条码", "商品条码", "条形码", "ean", "upc", "gtin")
"""Names of the columns, in lower case."""

app = App(
    name="barcodes",
    help="Which SKU a barcode is of.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine stock barcodes import barcodes.csv\n"
        "  orderspine stock barcodes set 6901234567892 SKU-1\n"
        "  orderspine stock barcodes list"
    ),
)


@app.command(name="import")
def import_(
    file: Annotated[Path, Parameter(name="FILE.csv", help="CSV with the columns sku and barcode (商家编码, 条码).")],
    /,
    *,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Enter what a file lists: all of it, or, where a row is wrong, nothing."""
    from domain.barcodes import SetBarcodes  # noqa: PLC0415

    pairs, _ = rows_in(file, read_barcodes, "nothing was entered")
    chunks = [tuple(pairs[start : start + CHUNK]) for start in range(0, len(pairs), CHUNK)]
    bodies = [SetBarcodes(command_id_of(""), chunk) for chunk in chunks]
    return _send(settings_of(data), bodies, f"{len(pairs):,} barcodes of {file.name}", json=json)


@app.command(name="set")
def set_(
    code: Annotated[str, Parameter(name="BARCODE")],
    sku: Annotated[str, Parameter(name="SKU")],
    /,
    *,
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Enter one barcode, or give it another SKU."""
    from domain.barcodes import SetBarcodes  # noqa: PLC0415

    body = SetBarcodes(command_id_of(command_id), ((code, sku),))
    return _send(settings_of(data), [body], f"{code} is {sku}", json=json)


@app.command
def remove(
    *codes: Annotated[str, Parameter(name="BARCODE")],
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Take barcodes out of the table."""
    from domain.barcodes import RemoveBarcodes  # noqa: PLC0415

    if not codes:
        raise Failure(Exit.USAGE, "say which barcodes, for example `orderspine stock barcodes remove 6901234567892`")
    body = RemoveBarcodes(command_id_of(command_id), codes)
    return _send(settings_of(data), [body], f"removed {', '.join(codes)}", json=json)


@app.command(name="list")
def list_(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """The entries; works without a running `up`."""
    from domain.barcodes import barcodes  # noqa: PLC0415
    from domain.catalogue import decode_event  # noqa: PLC0415
    from domain.decider import fold  # noqa: PLC0415
    from domain.ids import BARCODES_KEY  # noqa: PLC0415
    from runners.bootstrap import open_log  # noqa: PLC0415

    with closing(open_log(settings_of(data), read_only=True)) as log:
        events = log.select(BARCODES_KEY)
    entries = fold(barcodes, [decode_event(event.tag, event.data) for event in events]).table
    rows = [{"barcode": code, "sku": sku} for code, sku in sorted(entries.items(), key=lambda pair: (pair[1], pair[0]))]
    if json:
        print_json(rows)
        return Exit.OK
    made = table("barcode", "SKU")
    for row in rows:
        made.add_row(escape(row["barcode"]), escape(row["sku"]))
    show(made)
    if not rows:
        say("no barcodes yet: `orderspine stock barcodes import FILE.csv`; a SKU itself may be scanned without")
    return Exit.OK


def read_barcodes(raw: bytes) -> tuple[list[tuple[str, str]], list[str]]:
    """Return (barcode, SKU) of each row, and what is wrong with the file, by row."""
    from domain.barcodes import flaw_of  # noqa: PLC0415
    from runners.sku_file import DESTROYED, decoded  # noqa: PLC0415

    text = decoded(raw)
    if text is None:
        return [], ["the file is neither UTF-8, UTF-16 nor GB18030"]
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        return [], [f"not a CSV file: {error}"]
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    at_sku, at_code = (next((header.index(n) for n in names if n in header), None) for names in (SKU_NAMES, CODE_NAMES))
    if at_sku is None or at_code is None:
        told = ",".join(header)[:80] or "missing"
        return [], [f"row 1: the header must have the columns sku and barcode, and is {told}"]
    pairs: dict[str, str] = {}
    errors: list[str] = []
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        sku, code = (cells[at].strip() if at < len(cells) else "" for at in (at_sku, at_code))
        if not sku or not code:
            errors.append(f"row {number}: no {'barcode' if sku else 'SKU'}")
        elif DESTROYED.fullmatch(code):
            errors.append(
                f"row {number}: the barcode {code} was destroyed by a spreadsheet: export this column as text"
            )
        elif flaw := flaw_of(code, sku):
            errors.append(f"row {number}: {flaw}")
        elif pairs.setdefault(code, sku) != sku:
            errors.append(f"row {number}: {code} is {sku} here and {pairs[code]} above")
    if not pairs and not errors:
        errors.append("there are no rows below the header")
    return list(pairs.items()), errors


def _send(settings: "Settings", bodies: "Sequence[Body]", what: str, *, json: bool) -> Exit:
    from domain.ids import BARCODES_KEY  # noqa: PLC0415

    replies, position = send(settings, [mail_of(BARCODES_KEY, body, "keeper", "barcodes") for body in bodies])
    outcomes = Counter(reply.outcome for reply in replies)
    reasons = sorted({reply.reason for reply in replies if reply.reason})
    if json:
        print_json({"outcomes": dict(outcomes), "reasons": reasons, "position": position})
    else:
        words = ", ".join(outcome_word(outcome) for outcome in outcomes)
        show(f"{words}: {escape(what)}" + (f" ({escape('; '.join(reasons))})" if reasons else ""))
    return Exit.OK if all(reply.outcome in GOOD for reply in replies) else Exit.REFUSED
