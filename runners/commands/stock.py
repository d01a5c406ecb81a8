"""`stock`: goods come in, counts are put right, and how much there is. What people do at the shelves: `shelf`."""

import csv
import io
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from cyclopts import App, Parameter

from runners.commands.acting import GOOD, act, command_id_of, mail_of, send
from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    Rows,
    escape,
    not_blank,
    outcome_word,
    print_json,
    rows_in,
    say,
    settings_of,
    show,
    table,
    time_of,
)
from runners.commands.fulfil import pair_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from domain.mail import Mail
    from runners.settings import Settings

LINES_MAX = 5_000
"""Most lines of one receipt; a longer file becomes several, numbered ones."""
DIGITS_MAX = 40
"""Digits of a number that are worth reading."""

app = App(
    name="stock",
    help="Receive, count, move, adjust and show stock; what is to be bought.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine stock receive SKU-1=100 SKU-2=50 --document D-2026-17\n"
        "  orderspine stock import opening.csv\n"
        "  orderspine stock expect SKU-1=200 --arrival PO-77 --due '2026-12-01 08:00:00' --document PO-77/1\n"
        "  orderspine stock adjust SKU-1 --by -3 --reason broken --document C-9\n"
        "  orderspine stock count SKU-1=17 SKU-2=0 --document C-10\n"
        "  orderspine stock move SKU-1=20 --to B\n"
        "  orderspine stock damage SKU-1 --by 2 --reason wet\n"
        "  orderspine stock reorder SKU-1 20 --target 100\n"
        "  orderspine stock low\n"
        "  orderspine stock show --sku SKU-1"
    ),
)

WarehouseOption = Annotated[str, Parameter(help="Code of the warehouse.")]
NewWarehouse = Annotated[
    bool,
    Parameter(
        name="--new-warehouse",
        negative="",
        help="It is a new warehouse: neither the rule book nor any stock knows its code yet.",
    ),
]
OwnDocument = Annotated[str, Parameter(name="--document", help="Number of this act; made anew if left out.")]
DocumentOption = Annotated[
    str,
    Parameter(validator=not_blank, help="Number of the document behind it; the same one again changes nothing."),
]


@app.command
def receive(
    *lines: Annotated[str, Parameter(name="SKU=QTY", help="What came in, for example SKU-1=100.")],
    document: DocumentOption,
    arrival: Annotated[str, Parameter(help="The announced arrival that they are part of (`stock expect`).")] = "",
    warehouse: WarehouseOption = "A",
    new_warehouse: NewWarehouse = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Goods came in."""
    from domain.stock import ReceiveStock  # noqa: PLC0415

    if not lines:
        raise Failure(Exit.USAGE, "say what came in, for example `orderspine stock receive SKU-1=100 --document D-1`")
    pairs = tuple(pair_of(text, "SKU=QTY") for text in lines)
    settings = settings_of(data)
    mail = mail_of(
        ledger_of(settings, warehouse, new=new_warehouse),
        ReceiveStock(document, pairs, arrival),
        "keeper",
        "stock-receive",
    )
    return act(settings, mail, f"receipt {document}: {', '.join(lines)}", json=json, document=document)


@app.command
def expect(
    *lines: Annotated[str, Parameter(name="SKU=QTY", help="What is to come; nothing = it is called off.")],
    arrival: Annotated[str, Parameter(help="Its name, for example the purchase order's number.")],
    due: Annotated[str, Parameter(help="When, in the merchant's zone or with offset: 2026-12-01 08:00:00.")],
    document: DocumentOption,
    warehouse: WarehouseOption = "A",
    new_warehouse: NewWarehouse = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Goods are to arrive: presales are locked against them. The same arrival again replaces what was said."""
    from domain.stock import ExpectStock  # noqa: PLC0415

    pairs = tuple(pair_of(text, "SKU=QTY") for text in lines)
    settings = settings_of(data)
    due_ms = time_of("--due", due, settings.zone)
    expected = ExpectStock(document, arrival, pairs, due_ms)
    mail = mail_of(ledger_of(settings, warehouse, new=new_warehouse), expected, "keeper", "stock-expect")
    what = f"arrival {arrival}: {', '.join(lines) or 'called off'}"
    return act(settings, mail, what, json=json, document=document)


@app.command(name="import")
def import_(
    file: Annotated[Path, Parameter(name="FILE.csv", help="CSV with the header sku,quantity[,warehouse].")],
    /,
    *,
    document: Annotated[str, Parameter(help="Number of the receipt; made from the file's content if left out.")] = "",
    warehouse: Annotated[str, Parameter(help="Code of the warehouse of rows that name none.")] = "A",
    new_warehouse: NewWarehouse = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Receive what a file lists: all of it, or, where a row is wrong, nothing."""
    rows, raw = read_file(file, warehouse)
    settings = settings_of(data)
    check_warehouses(settings, {row.warehouse for row in rows}, new=new_warehouse)
    mails = receipts(rows, document or f"import-{sha256(raw).hexdigest()[:16]}")
    replies, position = send(settings, mails)
    answers = [
        {"warehouse": mail.to, "document": getattr(mail.body, "document", ""), "outcome": r.outcome, "reason": r.reason}
        for mail, r in zip(mails, replies, strict=True)
    ]
    if json:
        units = sum(row.quantity for row in rows)
        print_json({"receipts": answers, "rows": len(rows), "units": units, "position": position})
    else:
        made = table("warehouse", "document", "outcome", "why", title=f"{len(rows):,} rows of {file.name}")
        for answer in answers:
            made.add_row(
                answer["warehouse"],
                escape(answer["document"]),
                outcome_word(answer["outcome"]),
                escape(answer["reason"]),
            )
        show(made)
    return Exit.OK if all(reply.outcome in GOOD for reply in replies) else Exit.REFUSED


@app.command
def adjust(
    sku: Annotated[str, Parameter(name="SKU")],
    /,
    *,
    by: Annotated[int, Parameter(help="Units to add; negative to take away.", allow_leading_hyphen=True)],
    reason: Annotated[str, Parameter(validator=not_blank, help="Why; it is recorded.")],
    document: Annotated[str, Parameter(help="Number of the count; made anew if left out.")] = "",
    warehouse: WarehouseOption = "A",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """A count found another figure: put on hand right."""
    from domain.stock import AdjustStock  # noqa: PLC0415

    checked_units(by, "--by")
    settings = settings_of(data)
    own = command_id_of(document)
    mail = mail_of(ledger_of(settings, warehouse), AdjustStock(own, sku, by, reason), "keeper", "stock-adjust")
    return act(settings, mail, f"{sku} by {by:+d}", json=json, document=own)


@app.command
def protect(
    sku: Annotated[str, Parameter(name="SKU")],
    quantity: Annotated[int, Parameter(name="UNITS", help="0 = protect nothing.")],
    /,
    *,
    document: Annotated[str, Parameter(help="Number of this act; made anew if left out.")] = "",
    warehouse: WarehouseOption = "A",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Keep units of a SKU out of what may be promised."""
    from domain.stock import ProtectStock  # noqa: PLC0415

    checked_units(quantity, "UNITS")
    settings = settings_of(data)
    own = command_id_of(document)
    mail = mail_of(ledger_of(settings, warehouse), ProtectStock(own, sku, quantity), "keeper", "stock-protect")
    return act(settings, mail, f"{quantity} units of {sku} protected", json=json, document=own)


@app.command(name="show")
def show_(
    *,
    sku: Annotated[str | None, Parameter(help="Only this SKU.")] = None,
    warehouse: Annotated[str | None, Parameter(help="Only this warehouse.")] = None,
    limit: Annotated[Rows, Parameter(help="Most rows.")] = 1_000,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """How much there is; works without a running `up`."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    settings = settings_of(data)
    with closing(open_read_models(settings)) as views:
        rows = views.inventory(warehouse, sku, limit)
    if json:
        print_json(rows)
        return Exit.OK
    numbers = ("on_hand", "reserved", "pre_reserved", "protected", "damaged", "available", "to_order")
    words = (
        *("在库 on hand", "占用 reserved", "预占 pre-reserved", "保护 protected", "残次 damaged", "可用 available"),
        "补货 to order",
    )
    made = table("warehouse", "SKU", *words, right=words)
    for row in rows:
        made.add_row(escape(row["warehouse"]), escape(row["sku"]), *(f"{row[name]:,}" for name in numbers))
    show(made)
    if not rows and (sku or warehouse):
        say("there is nothing of this; without --sku and --warehouse all there is is shown")
    elif not rows:
        say("no stock yet: `orderspine stock receive SKU-1=100 --document D-1`")
    return Exit.OK


class Row(NamedTuple):
    """A row of an import."""

    warehouse: str
    sku: str
    quantity: int


def read_file(file: Path, warehouse: str, *, least: int = 1) -> tuple[list[Row], bytes]:
    """Return the rows of a stock file, each of `least` units or more, and its bytes.

    Raises:
        Failure: it cannot be read, or a row is wrong.
    """
    return rows_in(file, lambda raw: read_rows(raw, warehouse, least=least), "nothing of it was taken")


def read_rows(raw: bytes, warehouse: str, *, least: int = 1) -> tuple[list[Row], list[str]]:
    """Return the rows of a stock file, and what is wrong with it, by row."""
    from domain.stock import QUANTITY_MAX, SKU_MAX, is_sku  # noqa: PLC0415

    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = raw.decode("gb18030")
        except UnicodeDecodeError as error:
            return [], [f"the file is neither UTF-8 nor GB18030 (byte {error.start:,})"]
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        return [], [f"not a CSV file: {error}"]
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    if "sku" not in header or "quantity" not in header:
        return [], [f"row 1: the header must be sku,quantity[,warehouse], and is {','.join(header)[:80] or 'missing'}"]
    rows: list[Row] = []
    errors: list[str] = []
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        values = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
        sku, quantity = values.get("sku", ""), values.get("quantity", "")
        if not sku:
            errors.append(f"row {number}: no SKU")
        elif not is_sku(sku):
            wanted = f"at most {SKU_MAX} characters, and no control characters"
            errors.append(f"row {number}: {sku[:DIGITS_MAX]!r} is no SKU, which has {wanted}")
        elif not (
            quantity.isascii()
            and quantity.isdigit()
            and len(quantity) <= DIGITS_MAX
            and least <= int(quantity) <= QUANTITY_MAX
        ):
            wanted = f"a whole number from {least} to {QUANTITY_MAX:,} is needed"
            errors.append(f"row {number}: quantity {quantity[:DIGITS_MAX]!r} of {sku}: {wanted}")
        else:
            rows.append(Row(values.get("warehouse", "") or warehouse, sku, int(quantity)))
    if not rows and not errors:
        errors.append("there are no rows below the header")
    return rows, errors


def receipts(rows: list[Row], document: str) -> "list[Mail]":
    """Return the mail that receives the rows: for each warehouse one receipt, or several numbered ones."""
    from domain.stock import ReceiveStock  # noqa: PLC0415

    by_warehouse: dict[str, list[tuple[str, int]]] = {}
    for row in rows:
        by_warehouse.setdefault(row.warehouse, []).append((row.sku, row.quantity))
    mails = []
    for code, pairs in by_warehouse.items():
        for start in range(0, len(pairs), LINES_MAX):
            number = f"{document}/{start // LINES_MAX + 1}" if len(pairs) > LINES_MAX else document
            body = ReceiveStock(number, tuple(pairs[start : start + LINES_MAX]))
            mails.append(mail_of(warehouse_of(code), body, "keeper", "stock-import"))
    return mails


def checked_units(units: int, what: str) -> None:
    """Refuse a number that no message can carry, and no shelf.

    Raises:
        Failure: it is one.
    """
    from domain.stock import QUANTITY_MAX  # noqa: PLC0415

    if abs(units) > QUANTITY_MAX:
        raise Failure(Exit.USAGE, f"{what}: at most {QUANTITY_MAX:,} units can be counted at once")


def warehouse_of(code: str) -> str:
    """Return the key of a warehouse.

    Raises:
        Failure: its code is none.
    """
    from domain.ids import BadId, warehouse_key  # noqa: PLC0415

    try:
        return warehouse_key(code)
    except BadId as error:
        raise Failure(Exit.USAGE, str(error)) from error


def ledger_of(settings: "Settings", code: str, *, new: bool = False) -> str:
    """Return the key of a warehouse. Raises what `check_warehouses` does."""
    check_warehouses(settings, {code}, new=new)
    return warehouse_of(code)


def check_warehouses(settings: "Settings", codes: "Collection[str]", *, new: bool = False) -> None:
    """Refuse warehouses that nobody knows; with `new` none.

    By a slip in its code goods would lie in a ledger of its own, where no order finds them. Where nothing is known yet,
    neither stock nor a rule book, the first goods say what their warehouse is called.

    Raises:
        Failure: a code is none, or nobody knows it.
    """
    from runners.bootstrap import open_log, open_read_models  # noqa: PLC0415

    keys = {code: warehouse_of(code) for code in sorted(codes)}
    if new:
        return
    named = _named_in_rules(settings)
    with closing(open_log(settings, read_only=True)) as log:
        begun = named or ("A",)
        unknown = [code for code, key in keys.items() if code not in begun and not log.select(key, limit=1)]
    if not unknown:
        return
    with closing(open_read_models(settings)) as views:
        stocked = {row["warehouse"] for row in views.inventory()}
    if not (stocked or named):
        return
    known = ", ".join(sorted({*stocked, *named}))
    raise Failure(
        Exit.REFUSED,
        f"no warehouse {unknown[0]!r} is known, so nothing was done; known are {known}. Name a new one in the rule "
        "book, without which no order is served from it, or begin it with "
        "`orderspine stock receive … --new-warehouse`",
    )


def _named_in_rules(settings: "Settings") -> tuple[str, ...]:
    """Return the codes of the warehouses that a rule book names; none where it names none, or cannot be read here."""
    from domain.ids import RULEBOOK_KEY  # noqa: PLC0415
    from domain.rule_parts import EMPTY  # noqa: PLC0415
    from domain.rule_table import BadRules  # noqa: PLC0415
    from runners.commands.changes import changes_of  # noqa: PLC0415

    in_force, _ = changes_of(settings, RULEBOOK_KEY)
    try:
        warehouses = in_force.book.warehouses
    except BadRules:
        return ()
    return () if warehouses == EMPTY.warehouses else tuple(each.code for each in warehouses)


app.command("runners.commands.barcodes:app", name="barcodes", help="Which SKU a barcode is of.")
for _verb, _help in (
    ("count", "Shelves were counted: put on hand right."),
    ("move", "Goods go to another warehouse."),
    ("damage", "Set units apart as damaged, or good again."),
    ("scrap", "Damaged units are gone."),
    ("reorder", "From which level on a SKU is to be bought again."),
    ("low", "What is to be bought; works without a running `up`."),
):
    app.command(f"runners.commands.shelf:{_verb}", name=_verb, help=_help)
