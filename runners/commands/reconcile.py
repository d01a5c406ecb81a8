"""`reconcile`: compare orders, payments and shipments with statements; show and explain what differs."""

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from runners.commands.acting import act, command_id_of, mail_of, person, send
from runners.commands.common import (
    DATA_DEFAULT,
    CommandIdOption,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    not_blank,
    print_json,
    say,
    settings_of,
    show,
    table,
)
from runners.commands.statements import ROLE, day_given
from runners.naming import orders_named

if TYPE_CHECKING:
    from adapters.storage.read_models import ReadModels
    from runners.matching import Compared, ShopDay
    from runners.settings import Settings

app = App(
    name="reconcile",
    help="Three-way match 三方对账: orders, payments and shipments against the channels' statements.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine reconcile day 2026-02-09\n"
        "  orderspine reconcile differences --open\n"
        '  orderspine reconcile explain d-3f9a12bc44aa --reason "coupon of the platform, agreed in March"'
    ),
)
LEVEL_S = 15.0
"""How long the read models are waited for."""
DayArgument = Annotated[str, Parameter(help="YYYY-MM-DD, by the platforms' clock (UTC+8).")]


@app.command
def day(date: DayArgument, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Compare a day, and record what differs; what has settled itself is resolved."""
    from domain.matching import day_of, is_unexplained  # noqa: PLC0415
    from runners.bootstrap import open_log, open_read_models  # noqa: PLC0415
    from runners.matching import BadTolerance, compare, mails_of, tolerance_of  # noqa: PLC0415

    settings = settings_of(data)
    wanted = day_given(date)
    if wanted > day_of(time.time_ns() // 1_000_000):
        say(f"{wanted} is still to come: what is only due by then is shown as if it were late")
    with closing(open_log(settings, read_only=True)) as log, closing(open_read_models(settings)) as views:
        try:
            tolerance = tolerance_of(settings.path)
        except BadTolerance as error:
            raise Failure(Exit.REFUSED, str(error)) from error
        level(settings, views, log.tracked().head)
        compared = compare(log, views, wanted, tolerance)
    mails = mails_of(compared, person(ROLE), time.time_ns() // 1_000_000)
    if mails:
        answered = send(settings, mails)
        refused = [reply.reason for reply in answered.replies if reply.outcome not in ("accepted", "repeated")]
        if refused:
            raise Failure(Exit.REFUSED, f"the comparison was not recorded: {refused[0]}")
        with closing(open_read_models(settings)) as views:
            level(settings, views, answered.position)
    with closing(open_read_models(settings)) as views:
        unsettled = [*views.finance_differences(state="open"), *views.finance_differences(state="explained")]
    concerned = {judged.order for each in compared.shops for judged in each.judged}
    mine = [row for row in unsettled if row["key"] in concerned]
    if json:
        print_json(_document(compared, mine))
    else:
        _show_day(compared, mine)
    return Exit.REFUSED if any(map(is_unexplained, mine)) else Exit.OK


@app.command
def differences(
    *,
    open: Annotated[bool, Parameter(negative="", help="Only those that nobody has explained.")] = False,  # noqa: A002
    day: Annotated[str | None, Parameter(help="Only of trades of this day.")] = None,
    channel: Annotated[str | None, Parameter(help="Only of this channel.")] = None,
    reason: Annotated[str | None, Parameter(help="Only for this reason, for example amount_differs.")] = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """List what differs, with the reason and what to do; without --open also what is explained or resolved."""
    from domain.matching import REASONS  # noqa: PLC0415
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    settings = settings_of(data)
    if reason is not None and reason not in REASONS:
        raise Failure(Exit.USAGE, f"there is no reason {reason!r}; there are {', '.join(REASONS)}")
    with closing(open_read_models(settings)) as views:
        found = views.finance_differences(
            state="open" if open else None, day=day and day_given(day), channel=channel, reason=reason
        )
    if json:
        print_json([_with_words(row) for row in found])
        return Exit.OK
    show(_table(found))
    if not found:
        say("nothing differs" if not open else "nothing is unexplained")
    return Exit.OK


@app.command
def explain(
    difference: Annotated[str, Parameter(help="Id of the difference (d-…).")],
    /,
    *,
    reason: Annotated[
        str, Parameter(validator=not_blank, help="Why the two differ; it is recorded as it is. Name no person in it.")
    ],
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Say why two figures differ; it holds as long as the figures stay as they are."""
    from domain.finance import ExplainDifference  # noqa: PLC0415
    from domain.ids import finance_key  # noqa: PLC0415
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    settings = settings_of(data)
    with closing(open_read_models(settings)) as views:
        found = views.finance_differences(id=difference)
    if not found:
        raise Failure(
            Exit.REFUSED, f"there is no difference {difference!r}; `orderspine reconcile differences` lists them"
        )
    own = command_id_of(command_id)
    to = finance_key(found[0]["channel"], found[0]["shop"])
    mail = mail_of(to, ExplainDifference(own, difference, reason), ROLE, "reconcile explain")
    return act(settings, mail, f"explanation of {difference}", json=json, command_id=own)


@app.command
def summary(
    *,
    day: Annotated[str | None, Parameter(help="Only of trades of this day.")] = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Count differences by day, channel and reason; the goal is 0 open."""
    from domain.matching import is_unexplained  # noqa: PLC0415
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    with closing(open_read_models(settings_of(data))) as views:
        counts = views.finance_counts(day and day_given(day))
    if json:
        print_json(counts)
        return Exit.OK
    made = table("day", "channel", "reason", "state", "number", right=("number",))
    for row in counts:
        made.add_row(row["day"], escape(row["channel"]), _reason(row["reason"]), row["state"], str(row["number"]))
    show(made)
    say(f"未解释 unexplained: {sum(row['number'] for row in counts if is_unexplained(row))}")
    return Exit.OK


def level(settings: "Settings", views: "ReadModels", head: int) -> None:
    """Wait until the read models of finance show what the log says.

    Raises:
        Failure: they do not.
    """
    deadline = time.monotonic() + LEVEL_S
    while True:
        live = [each for each in views.positions() if each["live"] and each["name"] in ("finance", "orders")]
        if len(live) > 1 and all(each["position"] >= head for each in live):
            return
        if time.monotonic() > deadline:
            raise Failure(
                Exit.NOT_RUNNING,
                f"the read models of {settings.data} are behind the log: start `orderspine up`, and try again when "
                "`orderspine status` says that they are level",
            )
        time.sleep(0.1)


def _reason(name: str) -> str:
    from domain.matching import REASONS  # noqa: PLC0415

    return f"{REASONS[name].chinese} {name}" if name in REASONS else name


def _with_words(row: dict[str, Any]) -> dict[str, Any]:
    from domain.matching import REASONS  # noqa: PLC0415

    known = REASONS.get(row["reason"])
    return {**row, "words": known.words if known else "", "action": known.action if known else ""}


def _table(rows: list[dict[str, Any]]) -> Any:
    from domain.matching import REASONS  # noqa: PLC0415
    from domain.money import MINOR_DIGITS, format_minor  # noqa: PLC0415

    made = table("id", "day", "order", "reason", "ours", "theirs", "state", "what to do", right=("ours", "theirs"))
    for row in rows:
        currency = row["currency"] if row["currency"] in MINOR_DIGITS else "CNY"
        ours, theirs = (format_minor(row[side], currency) for side in ("ours", "theirs"))
        known = REASONS.get(row["reason"])
        todo = row["explanation"] or (known.action if known and row["state"] == "open" else "")
        evidence = f" ({row['evidence']})" if row["evidence"] else ""
        order = orders_named(str(row["key"]))
        words = (row["id"], row["day"], order, _reason(row["reason"]) + evidence, ours, theirs, row["state"], todo)
        made.add_row(*map(escape, words))
    return made


def _document(compared: "Compared", rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "day": compared.day,
        "as_of": compared.as_of,
        "shops": [
            {
                "channel": each.channel,
                "shop": each.shop,
                "orders": each.agreeing + len(each.judged),
                "agree": _agree(each),
                "statement": each.covered,
            }
            for each in compared.shops
        ],
        "differences": [_with_words(row) for row in rows],
    }


def _agree(shop: "ShopDay") -> int:
    return shop.agreeing + sum(1 for judged in shop.judged if not judged.findings)


def _show_day(compared: "Compared", rows: list[dict[str, Any]]) -> None:
    from domain.matching import is_unexplained  # noqa: PLC0415

    made = table("channel", "shop", "orders", "agree", "statement of the day", right=("orders", "agree"))
    for each in compared.shops:
        statement = "yes" if each.covered else "none" if each.silent else "not yet"
        orders = each.agreeing + len(each.judged)
        made.add_row(escape(each.channel), escape(each.shop), str(orders), str(_agree(each)), statement)
    show(made)
    if rows:
        show(_table(rows))
    late = sum(1 for row in rows if row["reason"] == "settled_later")
    unexplained = sum(map(is_unexplained, rows))
    say(f"未解释 unexplained: {unexplained}, 在途 only late: {late}")
