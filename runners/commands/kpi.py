"""`kpi`: the merchant's figures, for any days, by where and when; and the orders and events behind each of them."""

from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    Rows,
    escape,
    moment,
    print_json,
    say,
    settings_of,
    show,
    table,
)
from runners.naming import orders_named

if TYPE_CHECKING:
    from projections.kpi_behind import Behind
    from projections.kpi_figures import Figure, Filter, Window
    from runners.kpi import Lag, Pending
    from runners.settings import Settings

app = App(
    name="kpi",
    help="Pass-through, delays, rounds and the other figures, and the orders behind them. 经营指标",
    help_epilogue=(
        "Examples:\n"
        "  orderspine kpi show\n"
        "  orderspine kpi show pass_through_updates --by stage --from 2026-11-01 --to 2026-11-11\n"
        "  orderspine kpi explain intercepts_in_time --of stock_short\n"
        "What each KPI means: docs/kpis.md"
    ),
)

From = Annotated[str | None, Parameter(name="--from", help="First day, YYYY-MM-DD in the merchant's zone.")]
To = Annotated[str | None, Parameter(name="--to", help="Last day, included.")]
Channel = Annotated[str | None, Parameter(help="Only of this channel.")]
Warehouse = Annotated[str | None, Parameter(help="Only of this warehouse; `-` = of orders that were in none.")]
SplitBy = Literal["channel", "warehouse", "day", "stage", "reason", "roles", "node"]


@app.command(name="show")
def show_kpis(
    *names: Annotated[str, Parameter(name="NAME", help="Only these KPIs.")],
    from_: From = None,
    to: To = None,
    by: Annotated[
        SplitBy | None, Parameter(help="Split by this; by stage, reason, roles or node, those that have it.")
    ] = None,
    channel: Channel = None,
    warehouse: Warehouse = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Show the KPIs of some days, beside what the merchant wants them to be."""
    import msgspec  # noqa: PLC0415

    from projections.kpi_list import DETAILS, KPIS  # noqa: PLC0415
    from runners.bootstrap import open_log, open_read_models  # noqa: PLC0415
    from runners.kpi import differences, lags, pending, shown  # noqa: PLC0415

    settings = settings_of(data)
    wanted = _filter(settings, from_, to, channel, warehouse)
    for name in names:
        kpi = _known(name)
        if by in DETAILS and kpi.by != by:
            parts = f"it has parts by {kpi.by}" if kpi.by else "it has no parts of its own"
            raise Failure(Exit.USAGE, f"{name} cannot be split by {by}: {parts}")
    board = json or not (names or by)
    with closing(open_log(settings, read_only=True)) as log, closing(open_read_models(settings)) as views:
        found = shown(views, names or list(KPIS), wanted, by or "", settings.zone)
        behind = lags(log, views)
        if board:
            waits = pending(views, _now_ms(settings, log), wanted.channel, wanted.warehouse)
            differ = differences(views, from_ or "", to or "", wanted.channel)
    if json:
        print_json(
            {
                "from": from_,
                "to": to,
                "zone": settings.zone,
                "by": by or "",
                "figures": msgspec.to_builtins(found),
                "waiting": msgspec.to_builtins(waits),
                "finance_differences": differ,
                "lag": msgspec.to_builtins(behind),
            }
        )
        return Exit.OK
    _show_figures(found, by or "")
    if board:
        _show_waiting(waits, settings.zone)
        _show_differences(differ)
        _show_lags(behind)
    _say_if_behind(behind)
    return Exit.OK


@app.command
def explain(
    name: Annotated[str, Parameter(name="NAME", help="A KPI, as `kpi show` names it; or `waiting`.")],
    /,
    *,
    from_: From = None,
    to: To = None,
    channel: Channel = None,
    warehouse: Warehouse = None,
    of: Annotated[str | None, Parameter(help="Only of this stage, reason, pair of roles or node.")] = None,
    limit: Annotated[Rows, Parameter(help="Most events shown; --json has all.")] = 50,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Show the orders and events that a KPI counts: as many as it says."""
    import msgspec  # noqa: PLC0415

    from runners.bootstrap import open_log, open_read_models  # noqa: PLC0415
    from runners.kpi import explained, lags, pending  # noqa: PLC0415

    settings = settings_of(data)
    wanted = _filter(settings, from_, to, channel, warehouse)
    if name == "waiting":
        with closing(open_log(settings, read_only=True)) as log, closing(open_read_models(settings)) as views:
            waits = pending(views, _now_ms(settings, log), wanted.channel, wanted.warehouse)
        if json:
            print_json(msgspec.to_builtins(waits))
        else:
            _show_waiting(waits, settings.zone)
        return Exit.OK
    kpi = _known(name)
    if of is not None and not kpi.by:
        raise Failure(Exit.USAGE, f"{name} has no parts that --of could choose")
    with closing(open_log(settings, read_only=True)) as log, closing(open_read_models(settings)) as views:
        top, bottom = explained(views, name, wanted, of)
        behind = lags(log, views)
    if json:
        print_json(
            {
                "kpi": name,
                "counted": len(top),
                "of": len(bottom) if kpi.bottom else None,
                "events": msgspec.to_builtins(top),
                "among": msgspec.to_builtins(bottom),
            }
        )
        return Exit.OK
    counted = {(each.event, each.fact) for each in top}
    rest = [each for each in bottom if (each.event, each.fact) not in counted]
    same = bool(bottom) and len(rest) == len(bottom) - len(top)
    # Where most is as it should be, the others are what somebody looks for.
    few, what = (rest, "not counted") if same and kpi.top.what == "hits" else (top, "counted")
    _show_behind(few[:limit], f"{name}: {what}")
    whole = f" of {len(bottom):,}" if kpi.bottom else ""
    say(f"{name}: {len(top):,}{whole}; {min(len(few), limit):,} of {len(few):,} {what} are shown")
    _say_if_behind(behind)
    return Exit.OK


def _known(name: str) -> Any:
    from projections.kpi_list import KPIS  # noqa: PLC0415

    if name not in KPIS:
        raise Failure(Exit.USAGE, f"there is no KPI {name[:40]!r}; there are {', '.join(KPIS)}")
    return KPIS[name]


def _filter(
    settings: "Settings", first: str | None, last: str | None, channel: str | None, warehouse: str | None
) -> "Filter":
    from projections.kpi_figures import Filter, window_of  # noqa: PLC0415

    days = _day(first, "--from"), _day(last, "--to")
    if days[0] and days[1] and days[1] < days[0]:
        raise Failure(Exit.USAGE, f"--to {days[1]} lies before --from {days[0]}")
    window: Window = window_of(*days, settings.zone)
    return Filter(window, channel, "" if warehouse == "-" else warehouse)


def _day(text: str | None, option: str) -> date | None:
    try:
        day = None if text is None else date.fromisoformat(text)
    except ValueError:
        day = date.min
    if day is not None and day.isoformat() != text:
        raise Failure(Exit.USAGE, f"{option} {text!r:.40}: write a day as YYYY-MM-DD")
    if day is not None and not 1970 < day.year < 9999:  # noqa: PLR2004  what a zone can place
        raise Failure(Exit.USAGE, f"{option} {text}: a year from 1971 to 9998 is needed")
    return day


def _now_ms(settings: "Settings", log: Any) -> int:
    """Return the time by the cell's clock."""
    import time  # noqa: PLC0415

    from runners.kpi import last_moment  # noqa: PLC0415

    return last_moment(log) if settings.clock == "mail" else time.time_ns() // 1_000_000


def _show_figures(found: "list[Figure]", by: str) -> None:
    from projections.kpi_list import KPIS  # noqa: PLC0415

    right = ("value", "p50", "p95", "p99", "max", "counted", "of", "goal")
    made = table("KPI", *([by] if by else []), *right[:-1], "goal", "", "指标", right=right)
    for each in found:
        times = each.times
        spread = [f"{number:,.6g}" for number in (times.p50, times.p95, times.p99, times.most)] if times else [""] * 4
        value = "" if each.value is None else f"{each.value:,.6g} {each.unit}".rstrip()
        met = "" if each.met is None else "[green]✓[/green]" if each.met else "[red]✗[/red]"
        made.add_row(
            each.kpi,
            *([escape(each.group or "-")] if by else []),
            value,
            *spread,
            f"{each.top:,}",
            "" if each.bottom is None else f"{each.bottom:,}",
            each.goal,
            met,
            KPIS[each.kpi].words,
        )
    show(made)


def _show_waiting(waits: "Pending", zone: str) -> None:
    made = table("waits longest", "channel", "warehouse", "paid at", "hours", right=("hours",))
    for each in waits.oldest:
        made.add_row(
            escape(orders_named(each.order)),
            escape(each.channel),
            escape(each.warehouse or "-"),
            moment(each.since_ms, zone)[:16],
            f"{each.waits_ms / 3_600_000:,.1f}",
        )
    if waits.oldest:
        show(made)
    late = f"{waits.too_long:,} of them for more than 2 hours"
    show(
        f"待处理 orders that are paid and have not left: {waits.pending:,}; {late} ({moment(waits.now_ms, zone)[:16]})"
    )


def _show_differences(differ: "list[dict[str, Any]]") -> None:
    from domain.matching import is_unexplained  # noqa: PLC0415

    every, unexplained = (sum(row["number"] for row in found) for found in (differ, filter(is_unexplained, differ)))
    show(f"财务差异 differences: {every:,}, {unexplained:,} of them unexplained (`orderspine reconcile differences`)")


def _show_lags(behind: "list[Lag]") -> None:
    made = table("read model", "events behind", "s behind", right=("events behind", "s behind"))
    for each in behind:
        made.add_row(f"{each.read_model} {each.version}", f"{each.events:,}", f"{each.ms / 1000:,.1f}")
    show(made)


def _show_behind(found: "list[Behind]", title: str) -> None:
    made = table("event", "position", "fact", "ms", title=title, right=("position", "ms"))
    for each in found:
        took = "" if each.ms is None else f"{each.ms:,}"
        made.add_row(escape(orders_named(each.event)), f"{each.position}", escape(each.fact), took)
    show(made)


def _say_if_behind(behind: "list[Lag]") -> None:
    kpis = next((each for each in behind if each.read_model == "kpis"), None)
    if kpis is None:
        say("the KPIs have not been built yet: `orderspine up` builds them")
    elif kpis.events:
        say(f"the KPIs are {kpis.events:,} events behind the log: the newest may be missing here")
