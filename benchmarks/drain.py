"""How fast a backlog is drained by the real processes, beside the floor and the library in one run.

*drain*: a prefilled backlog, from mail to committed, full life of each order, rules, hashes and encryption on,
projector and relay running at lower priority. *settled*: until every read model and EVENTS are level with the log.
*shown*: until the buckets with the read models' documents are level as well.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.nats.kv import KvWriter
from adapters.nats.streams import events_stream, last_seq
from adapters.storage.read_models import ReadModels
from benchmarks import floor, library
from benchmarks.rig import CELL, Rig, end, machine, rig, until_handled
from benchmarks.workload import EVENTS_PER_ORDER, mails
from domain.mail import Mail
from projections import PROJECTIONS
from runners.bootstrap import open_read_models
from runners.documents import MARKER, Marker
from runners.settings import BATCH_MESSAGES

if TYPE_CHECKING:
    import subprocess

LIBRARY_ORDERS = 500
ROUNDS = 5
LOOK_S = 0.05
"""How often we look whether the followers are level: looking costs what is measured."""


async def drained(work: Iterable[Mail], orders: int, batch_messages: int, events_per_order: int) -> dict[str, Any]:
    """Drain a backlog by the real processes, and wait until everything is level with the log."""
    async with rig(batch_messages=batch_messages) as made:
        await made.fill(work)
        followers = await made.follow()
        worker = made.start("runners.worker")
        try:
            seconds, tracked = await until_handled(made.settings, made.last, worker)
            started = time.perf_counter() - seconds
            await _until(made, _level, tracked.head, followers)
            settled = time.perf_counter() - started
            await _until(made, _shown, tracked.head, followers)
            shown = time.perf_counter() - started
        finally:
            end(worker, *followers)
    events = tracked.head
    expected = orders * events_per_order
    assert 1 <= events - expected <= 2, f"{events} events for {orders} orders: the workload has changed"  # noqa: PLR2004
    return {
        "orders": orders,
        "seconds": round(seconds, 3),
        "orders_per_s": round(orders / seconds),
        "events_per_s": round(events / seconds),
        "settled_seconds": round(settled, 3),
        "settled_orders_per_s": round(orders / settled),
        "shown_orders_per_s": round(orders / shown),
        "batch_messages": batch_messages,
    }


async def _until(
    made: Rig,
    there: Callable[[Rig, ReadModels, int], Awaitable[bool]],
    head: int,
    followers: "Sequence[subprocess.Popen[bytes]]",
) -> None:
    """Wait until what follows the log is there. Raises RuntimeError where a follower has ended."""
    models = open_read_models(made.settings)
    try:
        while not await there(made, models, head):
            if ended := [each.args for each in followers if each.poll() is not None]:
                raise RuntimeError(f"{ended} ended before it was level with the log")
            await asyncio.sleep(LOOK_S)
    finally:
        models.close()


async def _level(made: Rig, models: ReadModels, head: int) -> bool:
    positions = [int(row["position"]) for row in models.positions()]
    return bool(positions) and min(positions) >= head and await last_seq(made.nc, events_stream(CELL)) == head


async def _shown(made: Rig, _: ReadModels, head: int) -> bool:
    buckets = [f"{CELL}_{projection.bucket}" for projection in PROJECTIONS if projection.bucket]
    markers = [(await KvWriter(made.nc, bucket).get_many([MARKER])).get(MARKER) for bucket in buckets]
    return all(marker and msgspec.json.decode(marker, type=Marker).position >= head for marker in markers)


def measure(orders: int, batch_messages: int = BATCH_MESSAGES) -> dict[str, Any]:
    """Measure drain, floor and library one after the other, five times; every figure is the median of its rounds."""
    rounds = [_round(orders, batch_messages) for _ in range(ROUNDS)]
    middle = {name: median(each[name] for each in rounds) for name in rounds[0]}
    ratios = [each["ratio_to_floor"] for each in rounds]
    return {
        "orders": orders,
        **middle,
        "rounds": ROUNDS,
        "ratio_to_floor_from_to": f"{min(ratios)}-{max(ratios)}",
        "batch_messages": batch_messages,
        **machine(),
    }


def _round(orders: int, batch_messages: int) -> dict[str, float]:
    found = asyncio.run(drained(mails(orders), orders, batch_messages, EVENTS_PER_ORDER))
    least = floor.measure(orders, batch_messages)["floor_orders_per_s"]
    theirs = library.measure(min(orders, LIBRARY_ORDERS))
    rates = ("seconds", "orders_per_s", "events_per_s", "settled_seconds", "settled_orders_per_s", "shown_orders_per_s")
    return {
        **{name: found[name] for name in rates},
        "floor_orders_per_s": least,
        "library_orders_per_s": theirs["library_orders_per_s"],
        "library_in_hand_orders_per_s": theirs["library_in_hand_orders_per_s"],
        "ratio_to_library": round(found["orders_per_s"] / theirs["library_orders_per_s"], 2),
        "ratio_to_library_in_hand": round(found["orders_per_s"] / theirs["library_in_hand_orders_per_s"], 2),
        "ratio_to_floor": round(found["orders_per_s"] / least, 3),
        "settled_to_floor": round(found["settled_orders_per_s"] / least, 3),
    }
