"""`simulate --faults`: a day with a known number of faults, and which promises the cell kept on it."""

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from runners.commands.common import Exit, Failure, escape, print_json, say, settings_of, show, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runners.settings import Settings
    from runners.simulating.fault_trade import FaultReport

_SHOWN_MAX = 20


def simulate_faults(words: str, orders: int, seed: int, speed: float, *, data: Path, json: bool) -> Exit:
    """Run such a day on the cell of a data directory."""
    from adapters.notify.receivers import BadReceivers  # noqa: PLC0415
    from runners.connections import BadConnections  # noqa: PLC0415
    from runners.post import NoAnswer, NotRunning  # noqa: PLC0415
    from runners.simulating.fault_kinds import BadKinds, shares_of  # noqa: PLC0415
    from runners.simulating.fault_outside import InTheWay  # noqa: PLC0415
    from runners.simulating.feed import FeedBehind  # noqa: PLC0415

    try:
        shares = shares_of(words)
    except BadKinds as error:
        raise Failure(Exit.USAGE, str(error)) from error
    tell: Callable[[str], None] = (lambda _: None) if json else say
    try:
        report = asyncio.run(_run(settings_of(data), words, shares, orders, seed, speed, tell))
    except (BadReceivers, BadConnections, InTheWay) as error:
        raise Failure(Exit.REFUSED, str(error)) from error
    except (FeedBehind, NoAnswer, NotRunning) as error:
        raise Failure(Exit.NOT_RUNNING, f"{error}; look at `orderspine status --data {data}`") from error
    except asyncio.CancelledError:
        return Exit.INTERRUPTED
    if json:
        print_json(report.document())
    else:
        show_faults(report)
    if report.stopped:
        return Exit.INTERRUPTED
    return Exit.OK if report.good else Exit.REFUSED


async def _run(
    settings: "Settings",
    words: str,
    shares: "Mapping[str, float]",
    orders: int,
    seed: int,
    speed: float,
    tell: "Callable[[str], None]",
) -> "FaultReport":
    from runners.simulating.fault_trade import trade_faults  # noqa: PLC0415

    stop = asyncio.Event()
    task = asyncio.current_task()

    def ask() -> None:
        if stop.is_set() and task is not None:
            task.cancel()  # asked twice: at once
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ask)
    return await trade_faults(
        settings, orders=orders, seed=seed, scenario=words, shares=shares, speed=speed, stop=stop, tell=tell
    )


def show_faults(report: "FaultReport") -> None:
    """Show what was put in, what was stopped, how fast, and which promises were kept."""
    from runners.simulating.fault_kinds import KINDS  # noqa: PLC0415

    verdict = report.verdict
    faults = table("fault", "what", "stops for", "put in", "as it must", right=("put in", "as it must"))
    for kind, count in verdict.faults.items():
        its = KINDS[kind]
        faults.add_row(kind, its.what, its.reason or "goes on", f"{count:,}", f"{verdict.caught[kind]:,}")
    stages = table("came to be", "orders", "by decision", right=("orders", "by decision"))
    for stage, (moves, by_hand) in verdict.stages.items():
        stages.add_row(stage, f"{moves:,}", f"{by_hand:,}")
    checks = table("promise", "result", "")
    for name, text, kept in report.checks():
        checks.add_row(name, text, "[green]✓[/green]" if kept else "[red]✗[/red]")
    show(faults, stages)
    names = ("stops", "mean", "p50", "p95", "p99", "most")
    if report.visible is not None and report.pushed is not None:
        took = table("ms from risk to", *names, right=names)
        rows = {"the log": report.visible, "a robot": report.pushed, **report.by_reason}
        for name, each in rows.items():
            took.add_row(
                name, f"{each.count:,}", *(f"{ms:,.0f}" for ms in (each.mean, each.p50, each.p95, each.p99, each.most))
            )
        show(took)
    show(checks)
    share = f"{verdict.transitions:.2f} % of transitions, {verdict.per_order:.2f} % of orders"
    say(f"pass-through: {share} without a person's decision")
    for line in (*verdict.missed, *verdict.false_stops, *verdict.unfinished)[:_SHOWN_MAX]:
        say(f"  {escape(line)}")
    how = "stopped" if report.stopped else "all promises kept" if report.good else "a promise was broken"
    show(f"{how}: {verdict.orders:,} orders in {report.seconds:.1f} s")
