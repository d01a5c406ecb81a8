"""`stock count`, `move`, `damage`, `scrap`, `reorder`, `low`: what people do at the shelves of a warehouse."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

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
    say,
    settings_of,
    show,
    table,
)
from runners.commands.fulfil import pair_of
from runners.commands.stock import (
    NewWarehouse,
    OwnDocument,
    Row,
    WarehouseOption,
    check_warehouses,
    checked_units,
    ledger_of,
    read_file,
    warehouse_of,
)

if TYPE_CHECKING:
    from domain.mail import Mail

COUNT_LINES = 5_000
"""SKUs of one message; a longer file becomes several, numbered ones."""


def count(
    *lines: Annotated[str, Parameter(name="SKU=FOUND", help="What was found, for example SKU-1=17; 0 = none.")],
    file: Annotated[Path | None, Parameter(help="CSV with the header sku,quantity[,warehouse] instead.")] = None,
    document: OwnDocument = "",
    warehouse: WarehouseOption = "A",
    new_warehouse: NewWarehouse = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Shelves were counted: put on hand right, but never below what is promised. SKUs left out stay as they are."""
    if bool(lines) is (file is not None):
        raise Failure(Exit.USAGE, "say what was found, `orderspine stock count SKU-1=17`, or name a --file; not both")
    # The same figures are another count when they are counted on another day: a file's content makes no number.
    own = command_id_of(document)
    if file is not None:
        rows, _ = read_file(file, warehouse, least=0)
    else:
        rows = [Row(warehouse, *pair_of(text, "SKU=FOUND", least=0)) for text in lines]
    settings = settings_of(data)
    check_warehouses(settings, {row.warehouse for row in rows}, new=new_warehouse)
    mails = _counts(rows, own)
    replies, position = send(settings, mails)
    answers = [
        {"warehouse": mail.to, "document": getattr(mail.body, "document", ""), "outcome": r.outcome, "reason": r.reason}
        for mail, r in zip(mails, replies, strict=True)
    ]
    if json:
        print_json({"counts": answers, "skus": len(rows), "position": position})
    else:
        for answer in answers:
            where = answer["warehouse"].partition("-")[2]
            show(f"{outcome_word(answer['outcome'])}: count {escape(answer['document'])}, warehouse {escape(where)}")
            if answer["reason"]:
                say(answer["reason"])
    return Exit.OK if all(reply.outcome in GOOD and not reply.reason for reply in replies) else Exit.REFUSED


def _counts(rows: "list[Row]", document: str) -> "list[Mail]":
    """Return the mail of a count: for each warehouse one, or several numbered ones."""
    from domain.shelf import CountStock  # noqa: PLC0415

    by_warehouse: dict[str, list[tuple[str, int]]] = {}
    for row in rows:
        by_warehouse.setdefault(row.warehouse, []).append((row.sku, row.quantity))
    mails = []
    for code, pairs in by_warehouse.items():
        _once(pairs)
        for start in range(0, len(pairs), COUNT_LINES):
            number = f"{document}/{start // COUNT_LINES + 1}" if len(pairs) > COUNT_LINES else document
            body = CountStock(number, tuple(pairs[start : start + COUNT_LINES]))
            mails.append(mail_of(warehouse_of(code), body, "keeper", "stock-count"))
    return mails


def _once(pairs: list[tuple[str, int]]) -> None:
    seen: set[str] = set()
    for sku, _ in pairs:
        if sku in seen:
            raise Failure(Exit.USAGE, f"{sku} is counted twice: add its figures up, a count names each SKU once")
        seen.add(sku)


def move(
    *lines: Annotated[str, Parameter(name="SKU=QTY", help="What goes, for example SKU-1=20.")],
    to: Annotated[str, Parameter(help="Code of the warehouse that it goes to.")],
    document: OwnDocument = "",
    warehouse: WarehouseOption = "A",
    new_warehouse: NewWarehouse = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Goods go to another warehouse: all of them, or, where one is not available, none."""
    from domain.shelf import MoveStock  # noqa: PLC0415

    if not lines:
        raise Failure(Exit.USAGE, "say what goes, for example `orderspine stock move SKU-1=20 --to B`")
    pairs = tuple(pair_of(text, "SKU=QTY") for text in lines)
    if warehouse_of(to) == warehouse_of(warehouse):
        raise Failure(Exit.USAGE, f"--to: goods of warehouse {warehouse} are there already; name another one")
    settings = settings_of(data)
    check_warehouses(settings, {to}, new=new_warehouse)
    own = command_id_of(document)
    mail = mail_of(ledger_of(settings, warehouse), MoveStock(own, to, pairs), "keeper", "stock-move")
    what = f"{', '.join(lines)} from {warehouse} to {to}"
    return act(settings, mail, what, json=json, document=own)


def damage(
    sku: Annotated[str, Parameter(name="SKU")],
    /,
    *,
    by: Annotated[int, Parameter(help="Units found damaged; negative: so many are good after all.")] = 1,
    reason: Annotated[str, Parameter(validator=not_blank, help="Why; it is recorded.")],
    document: OwnDocument = "",
    warehouse: WarehouseOption = "A",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Set available units apart as damaged: they stay on hand, and nobody is promised them."""
    from domain.shelf import MarkDamaged  # noqa: PLC0415

    checked_units(by, "--by")
    own = command_id_of(document)
    settings = settings_of(data)
    mail = mail_of(ledger_of(settings, warehouse), MarkDamaged(own, sku, by, reason), "keeper", "stock-damage")
    return act(settings, mail, f"{by:+d} damaged of {sku}", json=json, document=own)


def scrap(
    sku: Annotated[str, Parameter(name="SKU")],
    quantity: Annotated[int, Parameter(name="UNITS")],
    /,
    *,
    reason: Annotated[str, Parameter(validator=not_blank, help="What became of them; it is recorded.")],
    document: OwnDocument = "",
    warehouse: WarehouseOption = "A",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Damaged units are gone: thrown away, or back at the supplier's."""
    from domain.shelf import ScrapDamaged  # noqa: PLC0415

    checked_units(quantity, "UNITS")
    own = command_id_of(document)
    settings = settings_of(data)
    mail = mail_of(ledger_of(settings, warehouse), ScrapDamaged(own, sku, quantity, reason), "keeper", "stock-scrap")
    return act(settings, mail, f"{quantity} damaged units of {sku} scrapped", json=json, document=own)


def reorder(
    sku: Annotated[str, Parameter(name="SKU")],
    level: Annotated[int, Parameter(name="LEVEL", help="Fewer units available than this are too few; 0 = never.")],
    /,
    *,
    target: Annotated[int | None, Parameter(help="Units wanted then; twice the level if left out.")] = None,
    document: OwnDocument = "",
    warehouse: WarehouseOption = "A",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Say from which level on a SKU is to be bought again; `stock low` lists what is."""
    from domain.reorder import SetReorderLevel  # noqa: PLC0415

    wanted = 2 * level if target is None else target
    checked_units(level, "LEVEL")
    checked_units(wanted, "--target")
    own = command_id_of(document)
    settings = settings_of(data)
    mail = mail_of(
        ledger_of(settings, warehouse), SetReorderLevel(own, sku, level, wanted), "purchasing", "stock-reorder"
    )
    what = f"{sku} is bought below {level:,}, up to {wanted:,}" if level else f"{sku} is never to be bought again"
    return act(settings, mail, what, json=json, document=own)


def low(
    *,
    warehouse: Annotated[str | None, Parameter(help="Only this warehouse.")] = None,
    limit: Annotated[Rows, Parameter(help="Most rows.")] = 1_000,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """What is to be bought, and how much of it; works without a running `up`."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    with closing(open_read_models(settings_of(data))) as views:
        rows = views.low_stock(warehouse, limit)
    if json:
        print_json(rows)
        return Exit.OK
    words = ("可用 available", "安全库存 level", "目标 target", "补货 to order")
    made = table("warehouse", "SKU", *words, right=words)
    for row in rows:
        numbers = (row[name] for name in ("available", "reorder_level", "reorder_target", "to_order"))
        made.add_row(escape(row["warehouse"]), escape(row["sku"]), *(f"{number:,}" for number in numbers))
    show(made)
    if not rows:
        say("nothing is to be bought: `orderspine stock reorder SKU LEVEL` says from when on something is")
    return Exit.OK
