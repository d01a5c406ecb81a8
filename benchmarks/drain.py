"""How fast a backlog is drained by the real processes, beside the floor and the library in one run.

*drain*: a prefilled backlog, from mail to committed, full life of each order, rules, hashes and encryption on,
projector and relay running at lower priority. *settled*: until every read model and EVENTS are level with the log.
"""

import asyncio
import time
from typing import Any

from adapters.nats.streams import events_stream, last_seq
from benchmarks import floor, library
from benchmarks.rig import CELL, Rig, end, machine, rig, until_handled
from benchmarks.workload import EVENTS_PER_ORDER, mails
from runners.bootstrap import open_read_models

LIBRARY_ORDERS = 1_000


async def _drain(orders: int, batch_messages: int) -> dict[str, Any]:
    async with rig(batch_messages=batch_messages) as made:
        await made.fill(mails(orders))
        followers = [made.start("runners.projector"), made.start("runners.relay")]
        worker = made.start("runners.worker")
        try:
            seconds, tracked = await until_handled(made.settings, made.last, worker)
            started = time.perf_counter() - seconds
            await _until_level(made, tracked.head)
            settled = time.perf_counter() - started
        finally:
            end(worker, *followers)
    events = tracked.head
    assert events == orders * EVENTS_PER_ORDER + 1, f"{events} events for {orders} orders: the workload has changed"
    return {
        "orders": orders,
        "seconds": round(seconds, 3),
        "orders_per_s": round(orders / seconds),
        "events_per_s": round(events / seconds),
        "settled_seconds": round(settled, 3),
        "settled_orders_per_s": round(orders / settled),
        "batch_messages": batch_messages,
    }


async def _until_level(made: Rig, head: int) -> None:
    """Wait until every read model and the feed of events show the whole log."""
    models = open_read_models(made.settings)
    try:
        while True:
            positions = [int(row["position"]) for row in models.positions()]
            relayed = await last_seq(made.nc, events_stream(CELL))
            if positions and min(positions) >= head and relayed == head:
                return
            await asyncio.sleep(0.02)
    finally:
        models.close()


def measure(orders: int, batch_messages: int = 500) -> dict[str, Any]:
    """Measure drain, floor and library one after the other."""
    drained = asyncio.run(_drain(orders, batch_messages))
    ground = floor.measure(orders, batch_messages)
    theirs = library.measure(min(orders, LIBRARY_ORDERS))
    least = ground["floor_orders_per_s"]
    return {
        **drained,
        "floor_orders_per_s": least,
        "library_orders_per_s": theirs["library_orders_per_s"],
        "ratio_to_library": round(drained["orders_per_s"] / theirs["library_orders_per_s"], 2),
        "ratio_to_floor": round(drained["orders_per_s"] / least, 3),
        "settled_to_floor": round(drained["settled_orders_per_s"] / least, 3),
        **machine(),
    }
