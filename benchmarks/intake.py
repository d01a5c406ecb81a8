"""Intake over HTTP: requests a second and their times, durable before the answer, from a load in another process.

All parts of a running OrderSpine are there, as under `up`: broker, worker, projector, relay and gateway, each its own
process, and the load is one more. On two cores they share them.
"""

import asyncio
import http.client
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from adapters.nats.streams import mail_info
from adapters.platforms.connection import Connection
from adapters.web.tokens import add_token
from benchmarks.intake_load import Load, Measured
from benchmarks.rig import Rig, end, machine, rig
from runners.bootstrap import API_TOKENS_FILE, open_log
from runners.connections import save
from runners.gateway import place_of
from runners.lock import DataLock

PARTS = ("runners.worker", "runners.projector", "runners.relay", "runners.gateway")
READY_S = 30.0
APART = 1_000_000
"""Numbers of orders between two runs."""


SECRET_FILE = "push-secret"  # noqa: S105  a file's name
CONNECTIONS = (
    Connection("pushes", "generic", "bench", secrets={"push_secret": f"file:{SECRET_FILE}"}),
    # One that could be pulled from, and is not here: its pushes are safe when the broker has them.
    Connection(
        "pulled", "generic", "bench", base_url="http://127.0.0.1:9", secrets={"push_secret": f"file:{SECRET_FILE}"}
    ),
)


class Case(NamedTuple):
    """One way to hand orders in."""

    name: str
    path: str
    orders: int = 1


PUSH = "/api/v1/orders?shop=bench"
CASES = (
    Case("push_commit", f"{PUSH}&wait=commit"),
    Case("push_durable", f"{PUSH}&wait=durable"),
    Case("push_20_commit", f"{PUSH}&wait=commit", 20),
    Case("push_20_durable", f"{PUSH}&wait=durable", 20),
    Case("webhook_commit", "/webhooks/pushes"),
    Case("webhook_durable", "/webhooks/pulled"),
)


def measure(seconds: float, connections: int) -> dict[str, Any]:
    """Return the figures of every case."""
    return asyncio.run(_measure(seconds, connections))


async def _measure(seconds: float, connections: int) -> dict[str, Any]:
    figures: dict[str, Any] = {**machine(), "seconds": seconds, "connections": connections}
    async with rig("real") as made:
        with DataLock(made.settings.path):
            token = add_token(made.settings.path / API_TOKENS_FILE, "bench", ("push", "read"))
            secret = secrets.token_hex(32)
            (made.settings.path / SECRET_FILE).write_text(secret)
            (made.settings.path / SECRET_FILE).chmod(0o600)
            save(made.settings.path, CONNECTIONS)
            processes = [made.start(part) for part in PARTS]
            try:
                url = await _ready(made)
                for number, case in enumerate(CASES):
                    webhook = case.path.startswith("/webhooks/")
                    load = Load(
                        url,
                        case.path,
                        seconds,
                        connections,
                        case.orders,
                        number * APART,
                        token="" if webhook else token,
                        secret=secret if webhook else "",
                    )
                    before_s = _cpu_s(processes[-1].pid)
                    measured = await asyncio.to_thread(_post, load)
                    used_s = _cpu_s(processes[-1].pid) - before_s
                    rate = measured.requests / measured.seconds
                    figures[f"{case.name}_requests_per_s"] = round(rate)
                    if case.orders > 1:
                        figures[f"{case.name}_orders_per_s"] = round(rate * case.orders)
                    posted = measured.orders / case.orders
                    figures[f"{case.name}_gateway_cpu_ms"] = round(1000 * used_s / posted, 2)
                    figures[f"{case.name}_p50_ms"] = measured.p50_ms
                    figures[f"{case.name}_p99_ms"] = measured.p99_ms
                    if measured.refused:
                        figures[f"{case.name}_refused"] = str(measured.refused)
                    await _settled(made)
            finally:
                end(*reversed(processes))
    return figures


def _post(load: Load) -> Measured:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.intake_load"],
        input=msgspec.json.encode(load),
        stdout=subprocess.PIPE,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Measured)


def _cpu_s(pid: int) -> float:
    """Return how long a process has used the processor: what tells most where others use it, too. 0 = not on Linux."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _ready(made: Rig) -> str:
    """Wait until the gateway says that it takes orders in, and return where it is."""
    deadline = time.monotonic() + READY_S
    while True:
        place = place_of(made.settings.path)
        if place is not None and place.pid and await asyncio.to_thread(_asked, place.url) == b"200":
            return place.url
        if time.monotonic() > deadline:
            said = (made.settings.path / "runners.gateway.log").read_text(errors="replace")[-2_000:]
            raise RuntimeError(f"the gateway is not ready after {READY_S:g} s:\n{said}")
        await asyncio.sleep(0.1)


def _asked(url: str) -> bytes:
    host, _, port = url.removeprefix("http://").rpartition(":")
    client = http.client.HTTPConnection(host, int(port), timeout=5)
    try:
        client.request("GET", "/readyz")
        return str(client.getresponse().status).encode()
    except OSError:
        return b""
    finally:
        client.close()


async def _settled(made: Rig) -> None:
    """Wait until the worker has handled what came in, so that a case does not pay for the one before."""
    log = open_log(made.settings, read_only=True)
    try:
        while True:
            info = await mail_info(made.nc, made.settings.cell)
            if info is None or log.tracked().position >= info.last_seq:
                return
            await asyncio.sleep(0.1)
    finally:
        log.close()
