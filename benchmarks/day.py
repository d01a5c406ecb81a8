"""A peak day with faults on all real processes: how soon is a risk stopped and pushed, and what goes through by itself?

Twice: the reference day, with a believable share of faults, and one with two in a hundred orders of each kind. From the
time a risk can be known (a timer's due time, else the broker's stamp of the message that shows it) to its stop in the
log as a poll sees it, and to its arrival at a simulated robot over HTTP.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.rig import machine
from runners.settings import BATCH_MESSAGES
from runners.simulating.embedded import running
from runners.simulating.fault_kinds import shares_of
from runners.simulating.fault_trade import FaultReport, trade_faults


async def _day(orders: int, words: str) -> FaultReport:
    with tempfile.TemporaryDirectory(prefix="orderspine-day-") as directory:
        async with running(Path(directory), "real") as settings:
            return await trade_faults(
                settings,
                orders=orders,
                seed=1,
                scenario=words,
                shares=shares_of(words),
                speed=0,
                stop=asyncio.Event(),
                tell=lambda _: None,
            )


def measure(orders: int, batch_messages: int = BATCH_MESSAGES) -> dict[str, Any]:
    """Measure both days."""
    del batch_messages  # the cell's own
    figures: dict[str, Any] = {"orders": orders}
    for words in ("reference", "all"):
        report = asyncio.run(_day(orders, words))
        verdict = report.verdict
        assert report.visible is not None
        assert report.pushed is not None
        found: dict[str, Any] = {
            "day_s": report.day_s,
            "faults": sum(verdict.faults.values()),
            "stopped_as_they_must": sum(verdict.caught.values()),
            "false_stops": len(verdict.false_stops),
            "shipped_while_held": verdict.shipped_held,
            "unfinished": len(verdict.unfinished),
            "pushed_within_15_s_percent": report.pushed.within_15_s,
        }
        for name, took in (("visible", report.visible), ("pushed", report.pushed)):
            found |= {f"{name}_{what}_ms": getattr(took, what) for what in ("mean", "p50", "p95", "p99", "most")}
        found["pass_through_transitions"] = round(verdict.transitions, 3)
        found["pass_through_orders"] = round(verdict.per_order, 3)
        figures |= {f"{words}_{name}": value for name, value in found.items()}
    return figures | machine()
