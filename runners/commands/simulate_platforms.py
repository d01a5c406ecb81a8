"""`simulate --platforms`: the day of trade over simulated platforms, and the table of how they and the cell agree."""

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from runners.commands.common import Exit, Failure, escape, print_json, say, settings_of, show, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runners.settings import Settings
    from runners.simulating.trading import Traded


def simulate_platforms(
    orders: int, seed: int, speed: float, channel: "Sequence[str]", *, keep: bool, data: Path, json: bool
) -> Exit:
    """Trade on the platforms of these channels (none named = all, and the stores)."""
    from runners.connections import BadConnections  # noqa: PLC0415
    from runners.post import NoAnswer  # noqa: PLC0415
    from runners.simulating.buyers import SHARES  # noqa: PLC0415
    from runners.simulating.feed import FeedBehind  # noqa: PLC0415

    known = (*SHARES, "pos")
    unknown = sorted(set(channel) - set(known))
    if unknown:
        raise Failure(Exit.USAGE, f"no simulated platform {', '.join(unknown)}; there are {', '.join(known)}")
    settings = settings_of(data)
    tell: Callable[[str], None] = (lambda _: None) if json else say
    try:
        traded = asyncio.run(_run(settings, orders, seed, speed, channel or known, keep, tell))
    except BadConnections as error:
        raise Failure(Exit.USAGE, str(error)) from error
    except (FeedBehind, NoAnswer) as error:
        raise Failure(Exit.NOT_RUNNING, f"{error}; look at `orderspine status --data {data}`") from error
    except asyncio.CancelledError:
        return Exit.INTERRUPTED
    if json:
        print_json(traded.document())
    else:
        show_traded(traded)
    if traded.stopped:
        return Exit.INTERRUPTED
    return Exit.OK if traded.good else Exit.REFUSED


async def _run(
    settings: "Settings",
    orders: int,
    seed: int,
    speed: float,
    wanted: "Sequence[str]",
    keep: bool,
    tell: "Callable[[str], None]",
) -> "Traded":
    from runners.simulating.trading import trade  # noqa: PLC0415

    stop = asyncio.Event()
    task = asyncio.current_task()

    def ask() -> None:
        if stop.is_set() and task is not None:
            task.cancel()  # asked twice: at once
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ask)
    return await trade(settings, orders=orders, seed=seed, speed=speed, wanted=wanted, keep=keep, stop=stop, tell=tell)


def show_traded(traded: "Traded") -> None:
    """Show how platforms and cell agree, and what does not."""
    show_platforms(traded)
    if traded.stopped_for:
        what = ", ".join(f"{escape(reason)} {count:,}" for reason, count in traded.stopped_for.items())
        say(f"  orders that were stopped meanwhile: {what}")
    for line in traded.said():
        say(f"  {escape(line)}")
    orders = sum(each.orders for each in traded.platforms)
    how = "stopped" if traded.stopped else "platforms and cell agree" if traded.good else "they do not agree"
    show(f"{how}: {orders:,} orders on {len(traded.platforms)} platforms in {traded.seconds:.1f} s")


def show_platforms(traded: "Traded") -> None:
    """Show the table of the platforms."""
    names: tuple[str, ...] = (
        "orders",
        "parcels",
        "missing",
        "extra",
        "wrong state",
        "wrong amount",
        "not shipped",
        "untold",
    )
    names = (*names, "told ×2", "strange", "messages", "lost", "again")
    made = table("platform", *names, "", right=names)
    for each in traded.platforms:
        told = traded.told[each.channel]
        figures = (
            *(each.orders, each.parcels, each.missing, each.extra, each.wrong_state, each.wrong_amount),
            *(each.unshipped, each.untold, each.told_twice, each.strange),
            *(told.get("told", 0) + told.get("twice", 0), told.get("lost", 0), told.get("again", 0)),
        )
        mark = "[green]✓[/green]" if each.good else "[red]✗[/red]"
        made.add_row(each.channel, *(f"{figure:,}" for figure in figures), mark)
    if traded.receipts:
        missing = traded.receipts_missing
        mark = "[green]✓[/green]" if not missing else "[red]✗[/red]"
        made.add_row("pos (files)", f"{traded.receipts:,}", "", f"{missing:,}", *[""] * (len(names) - 3), mark)
    show(made)
