"""`simulate`: a believable day of trade, or a file of real orders, over the channels of a running cell."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    Orders,
    Speed,
    escape,
    outcome_word,
    print_json,
    say,
    settings_of,
    show,
    table,
)

if TYPE_CHECKING:
    from runners.settings import Settings
    from runners.simulating.courier import Courier

FEED_ORDERS = 1_420
FEED_SPEED = 288.0
"""Of the feed beside `up --simulate`: a peak day of the reference merchant passes in five minutes."""
FEED_START_S = 60.0


def simulate(
    *,
    orders: Annotated[Orders, Parameter(help="Orders of the day.")] = 1420,
    seed: Annotated[int, Parameter(help="The same seed leads to the same payloads in an empty cell.")] = 1,
    speed: Annotated[
        Speed, Parameter(help="Seconds of the simulated day in one real second; 0 = as fast as they are taken.")
    ] = 0.0,
    channel: Annotated[
        tuple[str, ...], Parameter(negative="", help="Only these channels; may be given several times.")
    ] = (),
    source: Annotated[
        Path | None, Parameter(name="--from", help="Real order lines (Parquet) instead of a simulated day.")
    ] = None,
    platforms: Annotated[
        bool, Parameter(negative="", help="Trade on simulated platforms, over their real protocols, both ways.")
    ] = False,
    keep: Annotated[
        bool, Parameter(negative="", help="With --platforms: keep the connections sim-…, switched off.")
    ] = False,
    faults: Annotated[
        str, Parameter(help="A day with these faults, and which promises the cell keeps: all, reference, or KIND,KIND.")
    ] = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Feed a running cell with a day of trade: orders, doubles, late views, shortages, returns, broken bytes.

    The warehouse is simulated too: it scans what its pick lists ask for, and people release what waited for goods.

    With --platforms nothing is fed: buyers order on simulated platforms, which push, are pulled, and want to know of
    parcels, while connections break and tokens end. In the end each platform and the cell must agree (else exit 1).

    With --faults orders are short, late, wrong or doubled on purpose, under a rule book of its own; exit 1 where one is
    not stopped for the right reason, something else is, something leaves meanwhile, or people hear too late.
    """
    if faults:
        from runners.commands.simulate_faults import simulate_faults  # noqa: PLC0415

        if platforms or source is not None or channel or keep:
            raise Failure(
                Exit.USAGE, "--faults makes orders of its own: leave --platforms, --from, --channel, --keep out"
            )
        return simulate_faults(faults, orders, seed, speed, data=data, json=json)
    if platforms:
        from runners.commands.simulate_platforms import simulate_platforms  # noqa: PLC0415

        if source is not None:
            raise Failure(Exit.USAGE, "--from takes a file and --platforms makes orders: leave one out")
        return simulate_platforms(orders, seed, speed, channel, keep=keep, data=data, json=json)
    if keep:
        raise Failure(Exit.USAGE, "--keep goes with --platforms: a day without them makes no connections")
    from runners.simulating.feed import FeedBehind  # noqa: PLC0415
    from runners.simulating.retail import BadSource  # noqa: PLC0415
    from runners.simulating.world import CHANNELS  # noqa: PLC0415

    unknown = sorted(set(channel) - set(CHANNELS))
    if unknown:
        raise Failure(Exit.USAGE, f"no simulated channel {', '.join(unknown)}; there are {', '.join(CHANNELS)}")
    settings = settings_of(data)
    tell: Callable[[str], None] = (lambda _: None) if json else say
    wanted = tuple(name for name in CHANNELS if not channel or name in channel)
    try:
        done = asyncio.run(_run(settings, orders, seed, speed, wanted, source, tell))
    except BadSource as error:
        raise Failure(Exit.USAGE, str(error)) from error
    except FeedBehind as error:
        raise Failure(Exit.NOT_RUNNING, f"{error}; look at `orderspine status --data {data}`") from error
    except asyncio.CancelledError:
        return Exit.INTERRUPTED
    if json:
        print_json(done)
    else:
        _print(done)
    if done["stopped"]:
        return Exit.INTERRUPTED
    return Exit.REFUSED if done.get("invoices", {}).get("lost") else Exit.OK


async def _run(
    settings: "Settings",
    orders: int,
    seed: int | str,
    speed: float,
    wanted: tuple[str, ...],
    source: Path | None,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    from runners.bootstrap import channels, open_log, open_spool, open_vault  # noqa: PLC0415
    from runners.post import Postman  # noqa: PLC0415
    from runners.simulating.courier import Courier  # noqa: PLC0415
    from runners.simulating.drive import RealClock, WorldClock, drive, first_moment  # noqa: PLC0415
    from runners.simulating.feed import open_feed  # noqa: PLC0415
    from runners.simulating.retail import Retail, trade_file  # noqa: PLC0415
    from runners.simulating.world import World  # noqa: PLC0415

    began = time.monotonic()
    real = settings.clock == "real"
    if source is not None and real:
        raise Failure(
            Exit.USAGE,
            f"{settings.data} goes by this machine's clock, and old orders would set off all timers at once. "
            "Start another cell by the clock of its mail: `orderspine up --clock mail --data DIR`",
        )
    known = channels(settings)
    wanted = tuple(name for name in wanted if name in known)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def ask() -> None:
        if stop.is_set() and task is not None:
            task.cancel()  # asked twice: at once
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
    retail = Retail(source, wanted) if source is not None else None
    async with Postman(settings) as postman:
        with closing(open_vault(settings)) as vault, closing(open_log(settings, read_only=True)) as log:
            courier = Courier(postman, known, open_spool(settings, vault), RealClock() if real else WorldClock())
            feed = await open_feed(postman.connection, settings.cell, open_log(settings, read_only=True))
            try:
                if retail is not None:
                    await trade_file(retail, courier, feed, stop=stop, tell=tell)
                else:
                    begin = first_moment(log, real=real, speed=speed)
                    tell(_what_time(real, speed, begin))
                    lay = _laid(begin, speed) if real and speed else _as_it_is
                    world = World(f"{seed}", orders, begin, wanted, lay)
                    await drive(world, courier, feed, speed=speed, ticks=not real, stop=stop, show=_progress(tell))
                if not stop.is_set():
                    await courier.settled(settings.cell, lambda: log.tracked().position)
            finally:
                await courier.cancel()
                await feed.close()
    return _document(courier, retail.summary() if retail else {}, time.monotonic() - began, stopped=stop.is_set())


def _as_it_is(at_ms: int) -> int:
    return at_ms


def _laid(begin_ms: int, speed: float) -> Callable[[int], int]:
    """Press the day: what is an hour in the world is an hour by `speed` on the wire."""
    return lambda at_ms: begin_ms + round((at_ms - begin_ms) / speed)


def _what_time(real: bool, speed: float, begin_ms: int) -> str:
    from runners.simulating.wire_time import wall  # noqa: PLC0415

    pace = f"{speed:g} times as fast as time" if speed else "as fast as the cell takes them"
    if not real:
        return (
            f"the simulated day is {wall(begin_ms)[:10]} (UTC+8); the cell goes by the clock of its mail, orders {pace}"
        )
    if speed:
        return f"this cell goes by the real clock: the day begins now and is pressed, {pace}"
    return f"this cell goes by the real clock: orders of {wall(begin_ms)[:10]} (UTC+8), seen now, {pace}"


def _progress(tell: Callable[[str], None]) -> Callable[[Any], None]:
    last = 0.0

    def progress(now: Any) -> None:
        nonlocal last
        if time.monotonic() - last > 2.0:  # noqa: PLR2004
            from runners.simulating.wire_time import wall  # noqa: PLC0415

            last = time.monotonic()
            tell(f"  {wall(now.now_ms)[:16]}  {now.sent:,} messages sent, {now.answers:,} answers of the cell seen")

    return progress


def _document(courier: "Courier", invoices: dict[str, Any], seconds: float, *, stopped: bool) -> dict[str, Any]:
    tally = courier.tally
    return {
        "messages": courier.sent.messages,
        "seconds": round(seconds, 3),
        "outcomes": dict(sorted(tally.outcomes.items())),
        "sent": dict(sorted(tally.kinds.items())),
        "reasons": dict(tally.reasons.most_common(20)),
        "position": courier.postman.position,
        "stopped": stopped,
        **({"invoices": invoices} if invoices else {}),
    }


def _print(done: dict[str, Any]) -> None:
    from runners.commands.demo import retail_table  # noqa: PLC0415

    outcomes = table("what became of it", "messages", right=("messages",))
    for outcome, count in done["outcomes"].items():
        outcomes.add_row(outcome_word(outcome), f"{count:,}")
    sent = table("sent", "messages", right=("messages",))
    for kind, count in done["sent"].items():
        sent.add_row(kind, f"{count:,}")
    show(sent, outcomes)
    if done.get("invoices"):
        show(retail_table(done["invoices"]))
    for reason, count in done["reasons"].items():
        say(f"  {count:>6,} × {escape(reason)[:140]}")
    how = "stopped" if done["stopped"] else "done"
    show(f"{how}: {done['messages']:,} messages in {done['seconds']:.1f} s; the log stands at {done['position']:,}")


async def _feed(settings: "Settings") -> None:
    """Feed a cell that is starting up with a small day of trade."""
    from runners.post import NotRunning  # noqa: PLC0415
    from runners.simulating.world import CHANNELS  # noqa: PLC0415

    deadline = time.monotonic() + FEED_START_S
    while True:
        try:
            await _run(settings, FEED_ORDERS, str(time.time_ns()), FEED_SPEED, CHANNELS, None, lambda _: None)
        except NotRunning:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)
        else:
            return


def main() -> int:
    """Run as a part of `up --simulate`: one day, five minutes long, then the end."""
    from runners.settings import load_settings  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="python -m runners.commands.simulate", description=__doc__)
    parser.add_argument("--feed", action="store_true", required=True, help="a day of trade, pressed into five minutes")
    parser.add_argument("--data", required=True, help="data directory of the cell")
    asyncio.run(_feed(load_settings(parser.parse_args().data)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
