"""`after-sale list`, `reasons`, `words`: looking at after-sales; they work without a running `up`."""

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from runners.commands.acting import name_of, order_of
from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    Rows,
    escape,
    print_json,
    say,
    settings_of,
    show,
    table,
)

if TYPE_CHECKING:
    from runners.settings import Settings

STAGES = {
    "opened": "待处理 opened",
    "approved": "已同意 approved",
    "returning": "退货中 returning",
    "received": "已收货 received",
    "refunded": "已退款 refunded",
    "replaced": "已换发 replaced",
    "declined": "已拒绝 declined",
    "closed": "已关闭 closed",
}
DAY_MS = 86_400_000
TOP = 3


def list_(
    order: Annotated[str, Parameter(name="ORDER", help="Only of this order, also what is over.")] = "",
    /,
    *,
    every: Annotated[bool, Parameter(name="--all", negative="", help="Also what is settled or over.")] = False,
    limit: Annotated[Rows, Parameter(help="Most rows.")] = 1_000,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """List open cases, the oldest first; works without a running `up`."""
    import time  # noqa: PLC0415

    settings = settings_of(data)
    rows = cases_of(
        settings, order_of(settings, order) if order else None, open_only=not every and not order, limit=limit
    )
    now = time.time_ns() // 1_000_000
    for row in rows:
        row["age_days"] = round(max(now - row["opened_ms"], 0) / DAY_MS, 1)
    if json:
        print_json(rows)
        return Exit.OK
    columns = ("order", "case", "kind", "stage", "days", "reason", "lines", "refunded", "channel's number")
    made = table(*columns, title="售后 After-sales", right=("case", "days", "refunded"))
    for row in rows:
        made.add_row(escape(name_of(row)), *case_cells(row, str(row["age_days"])))
    show(made)
    say(f"{len(rows):,} case{'' if len(rows) == 1 else 's'}" + (" (--limit shows more)" if len(rows) == limit else ""))
    return Exit.OK


def case_cells(row: dict[str, Any], age: str) -> list[str]:
    """Return the cells of a case in a list."""
    from domain.after_sale import KINDS  # noqa: PLC0415
    from domain.money import format_minor  # noqa: PLC0415

    case = row["case"]
    kind = case.get("kind", "")
    refunded, currency = case.get("refunded", 0), row.get("currency", "")
    return [
        str(case["number"]),
        f"{KINDS[kind]} {kind}" if kind in KINDS else "",
        STAGES.get(case.get("stage", "opened"), ""),
        age,
        escape(reason_word(case.get("reason", ""))),
        escape(", ".join(f"{units} × {line}" for line, units in case["lines"])),
        (f"{format_minor(refunded, currency)} {currency}" if currency else str(refunded)) if refunded else "",
        escape(case.get("reference", "")),
    ]


def reasons(
    *,
    quarter: Annotated[str, Parameter(help="For example 2026Q1, in the merchant's zone. Left out: this one.")] = "",
    sku: Annotated[str, Parameter(help="Only this SKU.")] = "",
    top: Annotated[int, Parameter(help="So many reasons of each SKU.", validator=validators.Number(gte=1))] = TOP,
    every: Annotated[
        bool, Parameter(name="--all", negative="", help="Of every after-sale, also where no goods come back.")
    ] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Why goods come back: the most frequent reasons of each SKU in a quarter; works without a running `up`."""
    from domain.after_sale import BRINGS_GOODS  # noqa: PLC0415
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    settings = settings_of(data)
    name, from_ms, to_ms = quarter_of(quarter, settings.zone)
    with closing(open_read_models(settings)) as views:
        counted = views.after_sale_reasons(from_ms, to_ms, () if every else BRINGS_GOODS)
    found = top_reasons(counted, top, sku)
    if json:
        print_json({"quarter": name, "reasons": found})
        return Exit.OK
    made = table("SKU", "reason", "cases", "units", title=f"退货原因 Reasons, {name}", right=("cases", "units"))
    for row in found:
        told = (row["sku"] or "(unknown)", reason_word(row["reason"]))
        made.add_row(*(escape(text) for text in told), f"{row['cases']:,}", f"{row['units']:,}")
    show(made)
    return Exit.OK


def words(*, json: JsonOption = False) -> Exit:
    """Show the words for kinds, reasons, and reasons to decline."""
    from domain.after_sale import DECLINES, KINDS, METHODS, REASONS  # noqa: PLC0415

    lists: dict[str, Mapping[Any, str]] = {"kind": KINDS, "reason": REASONS, "decline": DECLINES, "method": METHODS}
    if json:
        print_json({name: dict(known) for name, known in lists.items()})
        return Exit.OK
    made = table("list", "word", "词")
    for name, known in lists.items():
        for code, chinese in known.items():
            made.add_row(name, code, chinese)
    show(made)
    return Exit.OK


def reason_word(reason: str) -> str:
    """Return a reason's Chinese and English words; what is none of the list as not told."""
    from domain.after_sale import REASONS  # noqa: PLC0415

    return f"{REASONS[reason]} {reason}" if reason in REASONS else "未说明 not told"


def top_reasons(counted: Mapping[tuple[str, str], tuple[int, int]], top: int, sku: str = "") -> list[dict[str, Any]]:
    """Return the `top` most frequent reasons of each SKU, by SKU; what is none of the list counts as one."""
    from domain.after_sale import REASONS  # noqa: PLC0415

    by_sku: dict[str, dict[str, tuple[int, int]]] = {}
    for (its, reason), (cases, units) in counted.items():
        known = by_sku.setdefault(its, {})
        name = reason if reason in REASONS else ""
        before = known.get(name, (0, 0))
        known[name] = before[0] + cases, before[1] + units
    return [
        {"sku": its, "reason": reason, "cases": cases, "units": units}
        for its, known in sorted(by_sku.items())
        if not sku or its == sku
        for reason, (cases, units) in sorted(known.items(), key=lambda each: (-each[1][0], -each[1][1], each[0]))[:top]
    ]


def quarter_of(text: str, zone: str) -> tuple[str, int, int]:
    """Return (name, begin, end) of a quarter in a zone, UTC ms; of this one where `text` is "".

    Raises:
        Failure: it is no quarter.
    """
    import re  # noqa: PLC0415
    from datetime import datetime  # noqa: PLC0415

    from domain.timehub import zone_of  # noqa: PLC0415

    here = zone_of(zone)
    if not text:
        now = datetime.now(here)
        text = f"{now.year}Q{(now.month + 2) // 3}"
    match = re.fullmatch(r"(20\d\d)-?[Qq]([1-4])", text.strip(), re.ASCII)
    if match is None:
        raise Failure(Exit.USAGE, f"--quarter {text[:20]!r}: write a year and a quarter, for example 2026Q1")
    year, number = int(match[1]), int(match[2])
    begin = datetime(year, 3 * number - 2, 1, tzinfo=here)
    end = datetime(year + number // 4, 3 * (number % 4) + 1, 1, tzinfo=here)
    return f"{year}Q{number}", int(begin.timestamp() * 1000), int(end.timestamp() * 1000)


def cases_of(settings: "Settings", key: str | None, *, open_only: bool, limit: int) -> list[dict[str, Any]]:
    """Return the rows of cases, of one order or of all."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    with closing(open_read_models(settings)) as views:
        return views.after_sales(key, open_only=open_only, limit=limit)
