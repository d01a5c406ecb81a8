"""`statements`: take in what channels say of money; what was taken in."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from runners.commands.common import (
    DATA_DEFAULT,
    ERRORS_SHOWN_MAX,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    outcome_word,
    print_json,
    printable,
    say,
    settings_of,
    show,
    table,
)
from runners.commands.mapping import channel_of

if TYPE_CHECKING:
    from domain.mail import Mail, Reply
    from runners.settings import Settings
    from runners.statements import Taken

app = App(
    name="statements",
    help="Statements of account 对账单 of channels and payment services.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine statements import bill-20260209.csv --channel miniprogram --shop wx01\n"
        "  orderspine statements list"
    ),
)
ROLE = "finance"


@app.command(name="import")
def import_(
    *files: Annotated[Path, Parameter(help="CSV files as the channel exports them, details and not summaries.")],
    channel: Annotated[str, Parameter(help="Channel of the orders, for example taobao or miniprogram.")],
    shop: Annotated[str, Parameter(help="Its shop.")],
    day: Annotated[str, Parameter(help="YYYY-MM-DD of a statement without rows, so that the day counts as read.")] = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Take statements in; doing it twice, or going on after it was stopped, changes nothing."""
    import asyncio  # noqa: PLC0415

    if not files:
        raise Failure(Exit.USAGE, "name the files to take in, for example `orderspine statements import bill.csv …`")
    if day:
        day = day_given(day)
    for file in files:
        if not file.is_file():
            raise Failure(Exit.USAGE, f"{file} is not there, or is no file; nothing was taken in")
    settings = settings_of(data)
    channel_of(settings, channel)
    taken, failed = asyncio.run(_take_in(settings, files, channel, shop, day))
    if json:
        print_json({"statements": [_document(each) for each in taken], "unread": [list(each) for each in failed]})
    else:
        _show(taken, failed)
    good = not failed and all(not each.refused and not each.open for each in taken)
    return Exit.OK if good else Exit.REFUSED


@app.command(name="list")
def list_(
    *,
    channel: Annotated[str | None, Parameter(help="Only this one.")] = None,
    shop: Annotated[str | None, Parameter(help="Only this one.")] = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Show which days have statements."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    with closing(open_read_models(settings_of(data))) as views:
        found = views.finance_statements(channel, shop)
    if json:
        print_json(found)
        return Exit.OK
    made = table("day", "channel", "shop", "format", "lines", "rows refused", right=("lines", "rows refused"))
    for row in sorted(found, key=lambda row: (row["day"], row["channel"], row["shop"])):
        words = (row["day"], row["channel"], row["shop"], row["format"], str(row["lines"]), str(row["refused"]))
        made.add_row(*map(escape, words))
    show(made)
    if not found:
        say("no statement was taken in yet: `orderspine statements import --help` says how")
    return Exit.OK


@app.command
def formats(*, json: JsonOption = False) -> Exit:
    """List the statements that can be read, and the columns they are known by."""
    from adapters.statements.formats import FORMATS  # noqa: PLC0415

    if json:
        print_json([{"name": each.name, "settles": each.settles, "columns": each.columns} for each in FORMATS])
        return Exit.OK
    made = table("format", "tells of", "columns")
    for each in FORMATS:
        made.add_row(each.name, "结算 settlements" if each.settles else "支付 payments", escape(" ".join(each.columns)))
    show(made)
    return Exit.OK


def day_given(text: str) -> str:
    """Return a day as it was given.

    Raises:
        Failure: it is none.
    """
    from datetime import date  # noqa: PLC0415

    from domain.timehub import YEAR_MAX, YEAR_MIN  # noqa: PLC0415

    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise Failure(Exit.USAGE, f"{text[:40]!r} is no day: write it like 2026-02-09") from None
    if not YEAR_MIN <= found.year <= YEAR_MAX:
        raise Failure(Exit.USAGE, f"{text!r} is of none of the years {YEAR_MIN} to {YEAR_MAX}")
    return found.isoformat()


async def _take_in(
    settings: "Settings", files: Sequence[Path], channel: str, shop: str, day: str
) -> "tuple[list[Taken], list[tuple[str, str]]]":
    from adapters.payments.settings import order_of  # noqa: PLC0415
    from adapters.statements.reading import Statement, UnreadableStatement  # noqa: PLC0415
    from domain.ids import BadId  # noqa: PLC0415
    from runners.bootstrap import open_read_models  # noqa: PLC0415
    from runners.commands.acting import person  # noqa: PLC0415
    from runners.commands.entries import usable  # noqa: PLC0415
    from runners.post import Postman  # noqa: PLC0415
    from runners.services import PAYMENTS  # noqa: PLC0415
    from runners.statements import take_in  # noqa: PLC0415

    with closing(open_read_models(settings)) as views:
        formats = {row["format"] for row in views.finance_statements(channel, shop)}
    with usable(Exit.REFUSED):
        services = [each for each in PAYMENTS.load(settings.path) if (each.channel, each.shop) == (channel, shop)]
    keys = {each.kind: partial(order_of, each) for each in services}
    taken: list[Taken] = []
    failed: list[tuple[str, str]] = []
    async with Postman(settings, name="orderspine-statements") as postman:

        async def send(mails: "Sequence[Mail]") -> "Sequence[Reply]":
            return await postman.send(mails)

        for file in files:
            try:
                statement = Statement(file, channel, shop, keys)
                name = statement.format.name
                if formats and name not in formats:
                    other = ", ".join(sorted(formats))
                    failed.append(
                        (file.name, f"it is {name}, and this shop's are {other}: two kinds would count money twice")
                    )
                    continue
                taken.append(await take_in(send, statement, person(ROLE), _now_ms, day))
                formats.add(name)
            except UnreadableStatement as error:
                failed.append((file.name, str(error)))
            except BadId as error:
                raise Failure(Exit.USAGE, str(error)) from error
            except OSError as error:
                failed.append((file.name, error.strerror or str(error)))
    return taken, failed


def _document(taken: "Taken") -> dict[str, Any]:
    return {
        "file": taken.file,
        "format": taken.format,
        "statement": taken.statement,
        "rows": taken.rows,
        "refused": taken.refused,
        "lines": taken.lines,
        "days": list(taken.days),
        "open": taken.open,
        "outcomes": dict(sorted(taken.outcomes.items())),
        "problems": [each._asdict() for each in taken.problems],
    }


def _show(taken: "Sequence[Taken]", failed: Sequence[tuple[str, str]]) -> None:
    made = table("file", "format", "rows", "lines", "rows refused", "days", "messages", right=("rows", "lines"))
    for each in taken:
        days = f"{each.days[0]} … {each.days[-1]}" if len(each.days) > 1 else "".join(each.days)
        messages = ", ".join(f"{outcome_word(name)} {count}" for name, count in sorted(each.outcomes.items()))
        counts = (str(each.rows), str(each.lines), str(each.refused))
        made.add_row(escape(each.file), each.format, *counts, days, messages)
    show(made)
    for each in taken:
        for problem in each.problems[:ERRORS_SHOWN_MAX]:
            say(printable(f"{problem.file}, line {problem.line}: {problem.reason}"))
        if each.refused > ERRORS_SHOWN_MAX:
            say(f"and {each.refused - ERRORS_SHOWN_MAX} more")
        if each.open:
            say(printable(f"{each.file}: its days do not count as read: {each.open}"))
    for name, reason in failed:
        say(printable(f"{name}: {reason}; nothing of it was taken in"))


def _now_ms() -> int:
    import time  # noqa: PLC0415

    return time.time_ns() // 1_000_000
