"""One run of OrderSpine, from the lock on the data directory to the last part's end."""

import asyncio
import contextlib
import importlib.util
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psycopg

from adapters.nats.connection import connect
from adapters.nats.errors import BrokerError
from adapters.nats.server import EmbeddedServer
from domain.ports import LogDamaged
from runners.bootstrap import ADDRESS_FILE, BROKER_DIRECTORY, broker_address, open_log, open_vault
from runners.lock import DataLock, build_version
from runners.settings import FILE, Settings, load_settings
from runners.statusline import StatusLine
from runners.supervisor import Part, Supervisor
from runners.vitals import Gauge, Vitals

if TYPE_CHECKING:
    from adapters.nats.address import Address
    from adapters.nats.client import Connection

KEPT = ("cell", "store", "broker", "clock", "zone")
"""Settings that are written down on the first start: data made with one value mean something else with another."""
CATCH_UP_S = 2.0
"""How long projector and relay may follow the log after the worker's end."""
DISK_BYTES_SPARE = 3 << 30
"""What the broker's store may take beside mail and events (documents, lease, quarantine)."""
SIMULATE_MODULE = "runners.commands.simulate"


class Conflicting(Exception):
    """The command line says another thing than the data directory."""


class StoreUnusable(Exception):
    """Log or keys cannot be opened: the disk, the database, or what is in them."""


@contextlib.contextmanager
def prepared(data: Path, *, clock: str | None, store: str | None, broker: str | None) -> Iterator[Settings]:
    """Hold the data directory, agree on the settings, and see that log and keys can be opened.

    Raises:
        DataInUse, DataTooNew, DataUnreadable: see `DataLock`.
        Conflicting, BadSetting: the settings.
        StoreUnusable: log or keys.
    """
    with DataLock(data):
        settings = agreed_settings(data, {"clock": clock, "store": store, "broker": broker})
        check_store(settings)
        yield settings


def agreed_settings(data: Path, chosen: dict[str, str | None]) -> Settings:
    """Return the settings, and write the essential ones down on the first start.

    Raises:
        Conflicting: `chosen` (None = not said) differs from what the directory was begun with.
    """
    file = data / FILE
    settings = load_settings(data, **chosen)
    known: dict[str, object] = msgspec.json.decode(file.read_bytes()) if file.exists() else {}
    for name in KEPT:
        value = getattr(settings, name)
        if name in known and known[name] != value:
            raise Conflicting(
                f"{data} was begun with {name}={known[name]}, and now {name}={value} is asked for. Leave it out, name "
                f"another directory with --data, or (if you mean to change it for good) change it in {file}"
            )
    missing = {name: getattr(settings, name) for name in KEPT if name not in known}
    if missing:
        fresh = file.with_name(f".{FILE}.{os.getpid()}")
        # The address of a store or broker may hold a password.
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(msgspec.json.format(msgspec.json.encode({**known, **missing}), indent=2) + b"\n")
        fresh.replace(file)
    return settings


def check_store(settings: Settings) -> None:
    """Open log and keys once, so that what is wrong with them is said here, to a person.

    Raises:
        StoreUnusable: they cannot be used.
    """
    where = "the PostgreSQL database" if settings.postgres else f"the files in {settings.data}"
    try:
        open_vault(settings).close()
        log = open_log(settings)
        log.tracked()
        log.close()
    except LogDamaged as error:
        raise StoreUnusable(
            f"the event log or the keys cannot be trusted: {error}. Restore them from a backup; nothing was changed"
        ) from error
    except (sqlite3.Error, psycopg.Error, OSError) as error:
        raise StoreUnusable(
            f"{where} cannot be opened: {error}. Look whether the disk is full or read-only, and whether the address "
            "and password are right"
        ) from error


class Broker:
    """The embedded server, kept running; or nothing, where the settings name another."""

    def __init__(self, settings: Settings, line: StatusLine) -> None:
        """Prepare."""
        self._settings = settings
        self._line = line
        self._server: EmbeddedServer | None = None
        self._task: asyncio.Task[None] | None = None
        self.restarts = 0
        if settings.broker == "embedded":
            self._server = EmbeddedServer(
                settings.path / BROKER_DIRECTORY,
                max_store_bytes=settings.mail_bytes_max + settings.events_bytes_max + DISK_BYTES_SPARE,
            )

    @property
    def pid(self) -> int | None:
        """The embedded server's process id while it runs."""
        return self._server.pid if self._server else None

    async def start(self) -> "Address":
        """Start it (or see that the given one answers) and return where it is.

        Raises:
            BrokerError: it does not start, or does not answer.
        """
        if self._server is None:
            address = broker_address(self._settings)
            await (await connect(address, "orderspine-up", timeout_s=10.0)).close()
            return address
        address = await self._server.start()
        address.write(self._settings.path / ADDRESS_FILE)
        self._task = asyncio.create_task(self._keep(self._server), name="keep-broker")
        return address

    async def stop(self) -> None:
        """Stop the embedded server."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._server is not None:
            await self._server.stop()

    async def _keep(self, server: EmbeddedServer) -> None:
        """Start the server again whenever it ends."""
        while True:
            code = await server.wait()
            self.restarts += 1
            wait_s = 0.1
            while True:
                self._line.note(f"the broker ended with code {code}; it is started again")
                try:
                    address = await server.start()
                except BrokerError as error:
                    self._line.note(f"the broker does not start: {error}")
                    wait_s = min(2 * wait_s, 15.0)
                    await asyncio.sleep(wait_s)
                else:
                    address.write(self._settings.path / ADDRESS_FILE)
                    break


def parts_of(settings: Settings, *, simulate: bool) -> list[Part]:
    """Return the programs of a run, in the order they are stopped."""
    data = ("--data", settings.data)
    parts = [
        Part("worker", "runners.worker", data),
        Part("projector", "runners.projector", data, stop_s=5.0),
        Part("relay", "runners.relay", data, stop_s=5.0),
    ]
    parts = [part for part in parts if importlib.util.find_spec(part.module) is not None]
    if simulate:
        parts.insert(0, Part("simulate", SIMULATE_MODULE, ("--feed", *data), restart=False, stop_s=3.0))
    return parts


async def run(settings: Settings, *, simulate: bool) -> int:
    """Run until a signal; return the exit code: 130 after Ctrl-C, else 0.

    Raises:
        BrokerError: the broker does not start.
    """
    if simulate and importlib.util.find_spec(SIMULATE_MODULE) is None:
        sys.stderr.write("there is no simulated feed in this build; starting without it\n")
        simulate = False
    stop = asyncio.Event()
    code = 0
    loop = asyncio.get_running_loop()
    supervisor: Supervisor | None = None

    def ask(number: signal.Signals) -> None:
        nonlocal code
        if stop.is_set() and supervisor is not None:
            supervisor.kill()  # asked twice: at once
        if number == signal.SIGINT:
            code = 130
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ask, number)

    with StatusLine() as line:
        broker = Broker(settings, line)
        gauge = Gauge(settings)
        try:
            address = await broker.start()
            supervisor = Supervisor(settings.path, parts_of(settings, simulate=simulate), line.note)
            supervisor.start()
            line.note(_welcome(settings))
            await _watch(address, gauge, line, stop)
        finally:
            line.note("stopping")
            if supervisor is not None:
                await supervisor.stop({"projector": lambda: _caught_up(gauge)})
            await broker.stop()
            gauge.close()
        line.note("stopped")
    return code


async def _watch(address: "Address", gauge: Gauge, line: StatusLine, stop: asyncio.Event) -> None:
    """Show how things stand until it is time to stop."""
    nc: Connection | None = None
    before: Vitals | None = None
    began = time.monotonic()
    try:
        while not stop.is_set():
            if nc is None or nc.is_closed:
                with contextlib.suppress(BrokerError):
                    nc = await connect(address, "orderspine-up", timeout_s=2.0, reconnect_s=86_400.0)
            now = await gauge.read(nc)
            began, seconds = time.monotonic(), time.monotonic() - began
            line.show(now, (now.head - before.head) / seconds if before and seconds else 0.0)
            before = now
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), line.every_s)
    finally:
        if nc is not None:
            await nc.close()


async def _caught_up(gauge: Gauge) -> None:
    """Wait until projector and relay are level with the log, but not for long."""
    deadline = time.monotonic() + CATCH_UP_S
    while time.monotonic() < deadline:
        if (await gauge.read(None)).projector_lag == 0:
            return
        await asyncio.sleep(0.1)


def _welcome(settings: Settings) -> str:
    data = "" if settings.data == ".orderspine" else f" --data {settings.data}"
    return (
        f"OrderSpine {build_version()} runs on {settings.data}"
        f" (cell {settings.cell}, {'PostgreSQL' if settings.postgres else 'SQLite'}). Ctrl-C stops it.\n"
        "Try in another terminal:\n"
        f"  orderspine status{data}\n"
        f"  orderspine stock receive SKU-1=100 --document D-1{data}\n"
        f"  orderspine ingest orders.csv --shop NAME{data}\n"
        f"  orderspine orders{data}"
    )
