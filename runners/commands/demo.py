"""`demo`: all of OrderSpine once, on parts of its own in a temporary directory, with checks at the end."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from runners.commands.common import (
    Exit,
    Failure,
    JsonOption,
    Orders,
    escape,
    outcome_word,
    print_json,
    quiet_log,
    say,
    show,
    state_word,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from runners.simulating.showing import Shown


def demo(
    *,
    orders: Annotated[Orders, Parameter(help="Orders of the simulated day.")] = 200,
    seed: Annotated[int, Parameter(help="The same seed leads to the same day.")] = 1,
    source: Annotated[
        Path | None, Parameter(name="--from", help="Real order lines (Parquet) instead of the simulated day.")
    ] = None,
    platforms: Annotated[
        bool, Parameter(negative="", help="Trade on simulated platforms, over their real protocols, both ways.")
    ] = False,
    keep: Annotated[bool, Parameter(negative="", help="Keep the data directory, and say where it is.")] = False,
    json: JsonOption = False,
) -> Exit:
    """Run a day of trade on real parts, then check that nothing is lost, oversold or changed.

    Needs nothing running and leaves nothing behind.
    """
    import asyncio  # noqa: PLC0415
    import shutil  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    from runners.simulating.embedded import NotSettled  # noqa: PLC0415
    from runners.simulating.feed import FeedBehind  # noqa: PLC0415
    from runners.simulating.retail import BadSource  # noqa: PLC0415
    from runners.simulating.showing import run_demo  # noqa: PLC0415

    quiet_log()
    if platforms and source is not None:
        raise Failure(Exit.USAGE, "--from takes a file and --platforms makes orders: leave one out")
    directory = Path(tempfile.mkdtemp(prefix="orderspine-demo-"))
    data = directory / "data"  # what is kept beside it (checkpoints) is in the directory, too
    data.mkdir()
    tell: Callable[[str], None] = (lambda _: None) if json else say
    try:
        shown = asyncio.run(run_demo(data, orders, seed, source, tell, platforms=platforms))
    except BadSource as error:
        raise Failure(Exit.USAGE, str(error)) from error
    except (NotSettled, FeedBehind) as error:
        raise Failure(Exit.REFUSED, f"the demo did not come to its end: {error}") from error
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    if json:
        print_json(shown.document() | ({"data": str(data)} if keep else {}))
    else:
        _print(shown)
        if keep:
            say(f"the data is in {data}: try `orderspine orders --data {data}`")
    return Exit.OK if shown.ok else Exit.REFUSED


def _print(shown: "Shown") -> None:
    states = table("状态 state", "orders", right=("orders",))
    for state, count in shown.states.items():
        if count:
            states.add_row(state_word(state), f"{count:,}")
    outcomes = table("what came in, and what became of it", "messages", right=("messages",))
    for outcome, count in sorted(shown.outcomes.items()):
        outcomes.add_row(outcome_word(outcome), f"{count:,}")
    checks = table("check", "result", "")
    for name, text, good in shown.checks():
        checks.add_row(name, escape(text), "[green]✓[/green]" if good else "[red]✗[/red]")
    show(states, outcomes)
    if shown.retail:
        show(retail_table(shown.retail))
    if shown.traded is not None:
        from runners.commands.simulate_platforms import show_platforms  # noqa: PLC0415

        show_platforms(shown.traded)
    show(checks)
    settling = shown.seconds - shown.trade_s
    how_long = f"{shown.seconds:.1f} s (trade {shown.trade_s:.1f} s, settling and checks {settling:.1f} s)"
    show(f"{shown.account.orders:,} orders, {shown.account.events:,} events in {how_long}")
    for problem in shown.problems[:20]:
        say(f"  {problem}")


def retail_table(summary: dict[str, Any]) -> Any:
    """Return a table of what became of the invoices of a file."""
    made = table("invoices of the file", "count", right=("count",))
    for name, count in summary.items():
        made.add_row(escape(name), f"{count:,}" if isinstance(count, int) else escape(str(count)))
    return made
