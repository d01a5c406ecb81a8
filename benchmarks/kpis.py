"""What the KPIs add to the projector, in µs of processor time for each order: the fold alone, and with its rows.

The log is made by the real engine; batches and documents in memory are the projector's own. Each figure is the least of
several rounds, since other work on the machine only adds to it.
"""

import gc
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.storage.read_models import ReadModels
from benchmarks.replay import build_log
from benchmarks.rig import machine
from projections.kpis import Kpis
from runners.projector import BATCH_EVENTS, Projector
from runners.settings import BATCH_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.ports import Recorded

ROUNDS = 5


def measure(orders: int, batch_messages: int = BATCH_MESSAGES) -> dict[str, Any]:
    """Measure on a log of so many orders."""
    directory = Path(tempfile.mkdtemp(prefix="orderspine-kpis-"))
    try:
        log = build_log(directory, orders, batch_messages)
        events = log.read(0, 100 * orders + 100)
        gc.set_threshold(100_000, 50, 100)  # as in the projector
        keys, fold, rows = (
            1e6 / orders * min(each) for each in zip(*(_fold(events) for _ in range(ROUNDS)), strict=True)
        )
        whole = []
        for number in range(2):
            models = ReadModels(f"sqlite:///{directory / f'read_models-{number}.db'}")
            projector = Projector(log, models, [Kpis()])
            began = time.process_time()
            projector.run()
            whole.append(time.process_time() - began)
            models.close()
        log.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return {
        "orders": orders,
        "events": len(events),
        "kpi_keys_us_per_order": round(keys, 1),
        "kpi_fold_us_per_order": round(fold, 1),
        "kpi_rows_us_per_order": round(rows, 1),
        "kpi_with_reading_and_sqlite_us_per_order": round(1e6 / orders * min(whole), 1),
        **machine(),
    }


def _fold(events: "Sequence[Recorded]") -> tuple[float, float, float]:
    """Return the seconds that finding keys, folding, and making rows took."""
    projection = Kpis()
    documents: dict[str, Any] = {}
    keys = fold = rows = 0.0
    for start in range(0, len(events), BATCH_EVENTS):
        batch = events[start : start + BATCH_EVENTS]
        times = [time.process_time()]
        set(projection.keys(batch))
        set(projection.beyond(batch, documents))
        times.append(time.process_time())
        changed = projection.fold(batch, documents)
        times.append(time.process_time())
        projection.changes(changed)
        times.append(time.process_time())
        documents.update(changed)
        keys, fold, rows = keys + times[1] - times[0], fold + times[2] - times[1], rows + times[3] - times[2]
    return keys, fold, rows
