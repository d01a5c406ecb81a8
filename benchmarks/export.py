"""Does an export need more memory where the log is ten times as long, and how fast is it?

Two logs by the real engine on SQLite, one ten times as long as the other. Each format is written by a process of its
own, whose greatest memory the system tells (Linux); `growth` is how much more that is for the longer log. What may grow
is what is bounded (SQLite's caches, the orders last met) and a warehouse's ledger, by what is reserved in it.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.replay import build_log
from benchmarks.rig import machine
from runners.bootstrap import LOG_FILE
from runners.settings import BATCH_MESSAGES

_CHILD = """
import json, sys
from pathlib import Path
from adapters.storage.sqlite_log import SqliteEventLog
from runners.exporting.cloud_events import write_cloud_events
from runners.exporting.epcis import write_epcis
from runners.exporting.ocel import write_ocel_json, write_ocel_sqlite
from runners.exporting.reading import Span
from runners.exporting.xes import write_xes
form, place, out = sys.argv[1:]
log, file, span = SqliteEventLog(Path(place), read_only=True), Path(out), Span()
on = lambda done, total: None
written = {
    "ocel_json": lambda: write_ocel_json(log, file, span, on),
    "ocel_sqlite": lambda: write_ocel_sqlite(log, file, span, on),
    "xes": lambda: write_xes(log, file, "main", span, on),
    "cloudevents": lambda: write_cloud_events(log, file, "main", span, on),
    "epcis": lambda: write_epcis(log, file, "main", "Asia/Shanghai", "https://id.example.com", span, on),
}[form]()
status = Path("/proc/self/status").read_text()
kib = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
print(json.dumps({"kib": kib, "head": log.tracked().head, "written": written}))
"""
"""Says what it wrote and how much memory it had at most. (`ru_maxrss` counts what its parent had before `exec`.)"""
FORMS = ("ocel_json", "ocel_sqlite", "xes", "cloudevents", "epcis")


def peak_of(form: str, log: Path, out: Path) -> dict[str, Any]:
    """Write a log in a form by a process of its own; return what it says, `kib` its greatest memory."""
    out.unlink(missing_ok=True)
    done = subprocess.run([sys.executable, "-c", _CHILD, form, str(log), str(out)], check=True, capture_output=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def measure(orders: int, batch_messages: int = BATCH_MESSAGES) -> dict[str, Any]:
    """Measure every format on a log of so many orders, beside one of a tenth of them."""
    directory = Path(tempfile.mkdtemp(prefix="orderspine-export-"))
    figures: dict[str, Any] = {"orders": orders}
    try:
        places = {}
        for name, many in (("small", max(orders // 10, 1)), ("large", orders)):
            place = directory / name
            place.mkdir()
            build_log(place, many, batch_messages).close()
            places[name] = place / LOG_FILE
        for form in FORMS:
            small = peak_of(form, places["small"], directory / "out")
            started = time.perf_counter()
            large = peak_of(form, places["large"], directory / "out")
            seconds = time.perf_counter() - started
            figures["events"] = large["head"]
            figures[f"{form}_mib"] = round(large["kib"] / 1024, 1)
            figures[f"{form}_growth_mib"] = round((large["kib"] - small["kib"]) / 1024, 1)
            figures[f"{form}_events_per_s"] = round(large["head"] / seconds)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return {**figures, **machine()}
