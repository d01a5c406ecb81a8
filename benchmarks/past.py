"""How soon are the past of one order and its proof there, in a log of a million events? How fast is all of it proved?

The log is made by the real engine in this process (125,000 orders make 1,000,001 events). Commands are measured as a
person types them, start of Python included; what they read of the log is counted in this process.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from adapters.storage.checkpoints import CheckpointFolder, Signer
from adapters.storage.kept_tree import KeptTree
from adapters.storage.scan import SqliteScan
from adapters.storage.sqlite_log import SqliteEventLog
from benchmarks.replay import build_log
from benchmarks.rig import machine
from benchmarks.workload import DAY, SHOP, trade
from domain.ids import order_key
from domain.ports import Recorded
from runners.audited import checkpoints_of
from runners.history import history, read_moment, state_at
from runners.lock import DataLock
from runners.order_proof import prove
from runners.sealer import Sealing, sealing_of
from runners.settings import BATCH_MESSAGES, Settings

ZONE = "Asia/Shanghai"


class _Counting:
    """A log that counts the rows it gives."""

    def __init__(self, log: SqliteEventLog) -> None:
        self._log = log
        self.rows = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def select(self, stream: str, **limits: Any) -> list[Recorded]:
        """Return events of one stream."""
        found = self._log.select(stream, **limits)
        self.rows += len(found)
        return found

    def read(self, after: int, limit: int) -> list[Recorded]:
        """Return events by position."""
        found = self._log.read(after, limit)
        self.rows += len(found)
        return found


def _command(*words: str) -> tuple[dict[str, float], dict[str, Any]]:
    """Run `orderspine`; return its seconds, those of the processor too, and the document it printed.

    On a machine with other work the processor's seconds say what an idle one would need.
    """
    name = words[1]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "runners.cli", *words], capture_output=True, check=True, env={**os.environ}
    )
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {f"{name}_s": round(seconds, 3), f"{name}_cpu_s": round(used, 3)}, json.loads(
        done.stdout
    ) if "--json" in words else {}


def measure(orders: int, batch_messages: int = BATCH_MESSAGES) -> dict[str, Any]:
    """Make a log of `orders` orders, measure, and delete it."""
    with tempfile.TemporaryDirectory(prefix="orderspine-past-") as scratch:
        data = Path(scratch) / "data"
        with DataLock(data):  # makes it a data directory
            begun = time.perf_counter()
            build_log(data, orders, batch_messages).close()
            built = time.perf_counter() - begun
        return {"orders": orders, "build_s": round(built, 1), **_measured(data, orders), **machine()}


def _measured(data: Path, orders: int) -> dict[str, Any]:
    settings = Settings(str(data))
    sealing = sealing_of(settings)
    begun = time.perf_counter()
    sealed = sealing.seal()
    seal_s = time.perf_counter() - begun
    assert sealed is not None
    number = orders // 2
    order_no = trade(number)[0]
    key = order_key("taobao", SHOP, order_no)
    at = f"{DAY} 23:59:59"
    where = ("--data", str(data))
    proof = data.with_name("proof.json")
    history_s, told = _command("audit", "history", key, "--json", *where)
    number_s, _ = _command("audit", "history", order_no, "--json", *where)
    state_s, _ = _command("audit", "state", key, "--at", at, "--json", *where)
    export_s, _ = _command("audit", "export", key, "--out", str(proof), *where)
    public = next(checkpoints_of(settings).glob("*.public.pem"))
    check_s, _ = _command("audit", "check", str(proof), "--key", str(public))
    verify_s, verified = _command("audit", "verify", "--json", *where)
    replay_s, replayed = _command("audit", "replay", "--json", *where)
    return {
        "events": sealed.position,
        "log_bytes": (data / "log.db").stat().st_size,
        "first_seal_s": round(seal_s, 2),
        "first_seal_events_per_s": round(sealed.position / seal_s),
        **_rows(data, key, at),
        **_incremental(data, settings, orders),
        **history_s,
        "history_events": len(told["events"]),
        **{f"by_number_{name}": value for name, value in number_s.items()},
        **state_s,
        **export_s,
        "export_bytes": proof.stat().st_size,
        **check_s,
        **verify_s,
        "verify_events_per_s": verified["events_per_s"],
        "verify_ok": verified["ok"],
        **replay_s,
        "replay_ok": replayed["ok"],
        "replay_states_events_per_s": replayed["states"]["events_per_s"],
        "replay_read_models_events_per_s": replayed["read_models"]["events_per_s"],
    }


def _rows(data: Path, key: str, at: str) -> dict[str, int]:
    """Count what each look at one order reads of the log."""
    read: dict[str, int] = {}
    settings = Settings(str(data))
    folder = CheckpointFolder(checkpoints_of(settings))
    with closing(SqliteEventLog(data / "log.db", read_only=True)) as log:
        counting: Any = _Counting(log)
        list(history(counting, key, ZONE))
        read["history_rows_read"] = counting.rows
        counting.rows = 0
        state_at(counting, key, ZONE, time_ms=read_moment(at, ZONE))
        read["state_at_rows_read"] = counting.rows
        _, cost = prove(counting, key, cell="main", folder=folder)
        read["export_rows_read"], read["export_leaves_read"] = cost.events, cost.leaves
        read["export_map_rows_read"] = cost.map_rows
        generation = log.tracked().generation
    tree = KeptTree(folder.leaves(generation))
    tree.root(0, tree.leaves.count)
    read["root_leaves_read"] = tree.leaves_read
    return read


def _incremental(data: Path, settings: Settings, orders: int) -> dict[str, Any]:
    """Commit one more event, then one for each of up to 500 orders, and seal in a process that knows nothing yet."""
    figures: dict[str, Any] = {}
    folder = CheckpointFolder(checkpoints_of(settings))
    for name, count in (("next_seal", 1), ("seal_500", min(500, orders))):
        with closing(SqliteEventLog(data / "log.db")) as log:
            records = []
            for number in range(0, orders, max(orders // count, 1))[:count]:
                last = log.select(order_key("taobao", SHOP, trade(number)[0]))[-1]
                records.append((last.stream, last.version + 1, last.tag, last.envelope, last.data, last.sealed))
            log.append(records)  # type: ignore[arg-type]  # only their bytes count here
        signer = Signer.open(data / "checkpoint_key.pem")
        sealing = Sealing(partial(SqliteScan, data / "log.db"), "main", folder, signer)
        begun, used = time.perf_counter(), time.process_time()
        assert sealing.seal() is not None
        figures |= {
            f"{name}_ms": round((time.perf_counter() - begun) * 1000),
            f"{name}_cpu_ms": round((time.process_time() - used) * 1000),
            f"{name}_rows_read": sealing.rows_read,
            f"{name}_map_rows_read": sealing.map_rows_read,
            f"{name}_map_rows_written": sealing.map_rows_written,
        }
    (map_file,) = folder.path.glob("*.ends")
    return {**figures, "map_bytes": map_file.stat().st_size}
