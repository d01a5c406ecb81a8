"""`finance`: what is handed over to finance. `self-check`: whether people see what the log says."""

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from runners.commands.acting import person, send
from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    print_json,
    say,
    settings_of,
    show,
    table,
)
from runners.commands.reconcile import level
from runners.commands.statements import day_given

app = App(
    name="finance",
    help="What is handed over to finance 财务.",
    help_epilogue="Example: orderspine finance export --day 2026-02-09 --to finance-2026-02-09.csv",
)
ORDERS = 500


@app.command
def export(
    *,
    day: Annotated[str, Parameter(help="YYYY-MM-DD of the payment or refund, by the platforms' clock (UTC+8).")],
    to: Annotated[Path, Parameter(help="The CSV file; it must not be there yet.")],
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Write the orders of a day with paid, refunded, invoice type and what statements say. Nothing personal."""
    from runners.bootstrap import open_log, open_read_models  # noqa: PLC0415
    from runners.exporting.whole_file import NoPlainFile  # noqa: PLC0415
    from runners.finance_export import rows, write  # noqa: PLC0415

    settings = settings_of(data)
    wanted = day_given(day)
    with closing(open_log(settings, read_only=True)) as log, closing(open_read_models(settings)) as views:
        level(settings, views, log.tracked().head)
        try:
            count = write(to, rows(log, views, wanted))
        except (FileExistsError, NoPlainFile):
            raise Failure(Exit.USAGE, f"{to} is there already: name another file with --to") from None
        except OSError as error:
            raise Failure(Exit.USAGE, f"{to} cannot be written: {error.strerror or error}") from None
    if json:
        print_json({"file": str(to), "day": wanted, "orders": count})
    else:
        show(f"{count} orders of {wanted} in {escape(str(to))}")
    return Exit.OK


def self_check(
    *,
    orders: Annotated[
        int, Parameter(validator=validators.Number(gte=1, lte=1_000_000), help="How many orders are drawn.")
    ] = ORDERS,
    every: Annotated[
        bool, Parameter(name="--all", negative="", help="Every row of every read model, built anew; takes longer.")
    ] = False,
    record: Annotated[bool, Parameter(help="Whether the result is recorded, where `up` runs.")] = True,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Hold what people see, and what the channels say, against the log; name each row that differs."""
    import msgspec  # noqa: PLC0415

    from runners.bootstrap import READ_MODELS_FILE, open_log, open_read_models  # noqa: PLC0415
    from runners.post import NotRunning  # noqa: PLC0415
    from runners.selfcheck import check_all, check_sample, mail_of  # noqa: PLC0415

    settings = settings_of(data)
    with closing(open_log(settings, read_only=True)) as log, closing(open_read_models(settings)) as views:
        level(settings, views, log.tracked().head)
        if every:
            live = None if settings.postgres else (settings.path / READ_MODELS_FILE)
            with tempfile.TemporaryDirectory(prefix="orderspine-check-") as scratch:
                checked = check_all(log, views, Path(scratch), live)
        else:
            checked = check_sample(log, views, orders)
    if record:
        try:
            (reply,) = send(settings, [mail_of(checked, person("operations"), time.time_ns() // 1_000_000)]).replies
        except NotRunning:
            say("nobody runs here, so that the result is shown and not recorded")
        else:
            if reply.outcome not in ("accepted", "repeated"):
                raise Failure(Exit.REFUSED, f"the check was not recorded: {reply.reason}")
    if json:
        print_json(
            {
                "as_of": checked.position,
                "orders": checked.orders,
                "rows": checked.rows,
                "differing_orders": checked.differing_orders,
                "differ": msgspec.to_builtins(checked.differ),
                "notes": list(checked.notes),
            }
        )
    else:
        if checked.differ:
            shown = table("view", "row", "differs")
            for each in checked.differ[:100]:
                shown.add_row(escape(each.view), escape(each.row), escape(each.what))
            show(shown)
        for note in checked.notes:
            say(note)
        show(
            f"{checked.orders} orders, {checked.rows} rows; "
            f"视图不一致的订单 orders whose views differ: {checked.differing_orders}"
        )
    return Exit.REFUSED if checked.differ else Exit.OK


def checks(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Show what self-checks found, the last one first."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    with closing(open_read_models(settings_of(data))) as views:
        found = views.checks()
    if json:
        print_json(found)
        return Exit.OK
    made = table("position", "orders", "rows", "orders whose views differ", "by", right=("position", "orders", "rows"))
    for row in found:
        counts = (str(row["as_of"]), str(row["orders"]), str(row["rows_compared"]), str(row["differing_orders"]))
        made.add_row(*counts, escape(row["by_whom"]))
    show(made)
    return Exit.OK
