"""One run of OrderSpine, from the lock on the data directory to the last part's end."""

import asyncio
import contextlib
import importlib.util
import math
import shlex
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import psycopg

from adapters.nats.connection import api, connect
from adapters.nats.errors import BrokerError
from adapters.nats.lease import holder_of_lease
from adapters.nats.server import EmbeddedServer
from adapters.storage.vault import KeysHeld, KeysMissing
from domain.ports import Conflict, LogDamaged
from runners import settings_file
from runners.audited import checkpoints_of
from runners.background import LOWEST, NICE
from runners.bootstrap import ADDRESS_FILE, BROKER_DIRECTORY, broker_address, channels, open_log, open_vault
from runners.erasures import RegisterDamaged, destroy_again, erasures_in, register, register_of
from runners.lock import DataLock, build_version
from runners.part_troubles import Troubles
from runners.settings import FILE, BadSetting, Settings, load_settings, written_settings
from runners.shops import gateway_url
from runners.snapshots import FOLDER as SNAPSHOTS
from runners.spool_upkeep import EVERY_S, drop_before, droppable_before, now_ms
from runners.statusline import StatusLine
from runners.subscribers import (
    BUCKET_BYTES_MAX,
    BUCKETS_MAX,
    INSTALLED_FILE,
    BadSubscribers,
    broker_accounts,
    load,
    stamp,
)
from runners.supervisor import LOG_DIRECTORY, Part, Supervisor
from runners.vitals import STORE_AWAY, Gauge, Vitals

if TYPE_CHECKING:
    from adapters.nats.address import Address
    from adapters.nats.client import Connection
    from domain.ports import EventLog

KEPT = ("cell", "store", "broker", "clock", "zone")
"""Settings that are written down on the first start: data made with one value mean something else with another."""
CATCH_UP_S = 2.0
"""How long projector and relay may follow the log after the worker's end."""
BROKER_ANSWERS_S = 10.0
PAYLOAD_BYTES_MIN = 1_000_000
"""Larger than what travels inline, the mail around it included."""
PATIENCE_S = 4.0
"""After so long without a worker it is said that one is waited for, and why."""
DISK_BYTES_SPARE = 3 << 30
"""What the broker's store may take beside mail and events (documents, lease, quarantine)."""
SUBSCRIBERS_BYTES = BUCKETS_MAX * BUCKET_BYTES_MAX
"""What the broker's store may take for the subscribers' buckets; each is set aside when it is made."""
HOLDER_FILE = "holder"
"""Written by the worker: the name under which this directory's workers hold the cell."""
BESIDE = 4
BEHIND = NICE
"""What makes way for the worker: its start comes first, and its work."""
SUBSCRIBERS_S = 0.2
"""How often the file of subscribers is looked at: who is revoked is out within this."""
UNKNOWN = -1
"""The epoch while the log cannot be read."""
SIMULATE_MODULE = "runners.commands.simulate"


class Conflicting(Exception):
    """The command line says another thing than the data directory."""


class BrokerUnfit(BrokerError):
    """The broker answers, and cannot do what is asked of it."""


class StoreUnusable(Exception):
    """Log or keys cannot be opened: the disk, the database, or what is in them."""


@contextlib.contextmanager
def prepared(
    data: Path,
    *,
    clock: str | None,
    store: str | None,
    broker: str | None,
    witness: str | None = None,
    new_keys: bool = False,
) -> Iterator[Settings]:
    """Hold the data directory, agree on the settings, and see that all can be used.

    With `new_keys`, a store of keys is made where events have lost theirs.

    Raises:
        DataInUse, DataTooNew, DataUnreadable: see `DataLock`.
        Conflicting, BadSetting, ChannelSetupError: the settings.
        StoreUnusable: log or keys.
        BrokerError: the broker the settings name.
    """
    with DataLock(data):
        settings = agreed_settings(data, {"clock": clock, "store": store, "broker": broker, "witness": witness})
        check_settings(settings)
        check_store(settings, new_keys=new_keys)
        if settings.broker != "embedded":
            asyncio.run(check_broker(settings))
        # Only now: a mistyped address must not become what the directory was begun with.
        write_settings(settings, witness=witness)
        yield settings


def agreed_settings(data: Path, chosen: dict[str, str | None]) -> Settings:
    """Return the settings of a run.

    Raises:
        BadSetting: see `load_settings`.
        Conflicting: `chosen` (None = not said) differs from what the directory was begun with.
    """
    file = data / FILE
    settings = load_settings(data, **chosen)
    known = written_settings(file)
    for name in KEPT:
        value = getattr(settings, name)
        if name in known and known[name] != value:
            raise Conflicting(
                f"{data} was begun with {name}={known[name]}, and now {name}={value} is asked for. Leave it out, name "
                f"another directory with --data, or (if you mean to change it for good) change it in {file}"
            )
    return settings


def write_settings(settings: Settings, witness: str | None = None) -> None:
    """Write the essential settings down, as far as they are not yet, and the witness that was named now."""
    file = settings.path / FILE
    known = written_settings(file)
    new = {name: getattr(settings, name) for name in KEPT if name not in known}
    if witness is not None and known.get("witness") != witness:
        new["witness"] = witness
    if new:
        # For the owner alone: the address of a store or broker may hold a password.
        settings_file.write(file, {**known, **new})


def check_settings(settings: Settings) -> None:
    """See that the settings mean something, so that what is wrong with them is said here and not by a part that dies.

    Raises:
        BadSetting, ChannelSetupError: one does not.
    """
    try:
        str(settings.path.resolve()).encode()
    except UnicodeEncodeError:
        raise BadSetting(
            f"the data directory's name, {str(settings.path.resolve())!r}, is no UTF-8: give it another name, or (if "
            "it looks right elsewhere) set LC_ALL=C.UTF-8"
        ) from None
    for name in ("batch_messages", "mail_bytes_max", "mail_span_s", "events_bytes_max", "actors_max"):
        if getattr(settings, name) < 1:
            raise BadSetting(f"{name} {getattr(settings, name)}: a number above 0 is needed")
    if settings.broker != "embedded":
        try:
            parts = urlsplit(settings.broker)
            good = parts.scheme in {"nats", "tls"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:  # the port is no number
            good = False
        if not good:
            raise BadSetting(
                "broker: say `embedded`, or give an address such as nats://user:password@host:4222 "
                "(tls:// for an encrypted connection)"
            )
    channels(settings)


async def check_broker(settings: Settings) -> None:
    """See that the broker the settings name can do what is asked of it.

    Raises:
        BrokerError: it cannot; the text says why and what to do.
    """
    address = broker_address(settings)
    nc = await connect(address, "orderspine-check", timeout_s=BROKER_ANSWERS_S)
    try:
        if nc.max_payload < PAYLOAD_BYTES_MIN:
            raise BrokerUnfit(
                f"{address.url} takes messages of at most {nc.max_payload:,} bytes: set its max_payload to 1MB or more"
            )
        try:
            await api(nc, "INFO")
        except BrokerError as error:
            raise BrokerUnfit(
                f"{address.url} has no JetStream for this user ({error}): enable it on the server and for the account"
            ) from error
    finally:
        await nc.close()


def check_store(settings: Settings, *, new_keys: bool = False) -> None:
    """Open log and keys once, so that what is wrong with them is said here, to a person.

    Both are made where there is nothing yet; keys beside events only with `new_keys`.

    Raises:
        StoreUnusable: they cannot be used.
    """
    where = "the PostgreSQL database" if settings.postgres else f"the files in {settings.data}"
    try:
        with closing(open_log(settings)) as log:
            head = log.tracked().head
            # Destroyed they are in any case; what holds their bytes may outlive many starts.
            vault = open_vault(settings, make=new_keys or head == 0)
            with closing(vault), contextlib.suppress(KeysHeld):
                destroy_again(log, vault)
                vault.wipe()
            # One that was lost, or left behind, is made good; where it cannot be, the next erasure waits and says so.
            with contextlib.suppress(OSError, RegisterDamaged):
                register(register_of(checkpoints_of(settings), settings.cell), *erasures_in(log))
    except KeysMissing as error:
        raise StoreUnusable(
            f"the log has {head:,} events, and their keys are gone ({error}). Bring the keys back from their backup. "
            "Without them personal data cannot be read, and orders that come again are taken for changed ones; "
            "if they are lost for good, `orderspine up --new-keys` goes on with new ones"
        ) from error
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

    def __init__(self, settings: Settings, line: StatusLine, troubles: Troubles) -> None:
        """Prepare."""
        self._settings = settings
        self._line = line
        self._troubles = troubles
        self._server: EmbeddedServer | None = None
        self._task: asyncio.Task[None] | None = None
        self._subscribers: asyncio.Task[None] | None = None
        self._admitted = ""
        self.restarts = 0
        if settings.broker == "embedded":
            self._server = EmbeddedServer(
                settings.path / BROKER_DIRECTORY,
                max_store_bytes=(
                    settings.mail_bytes_max + settings.events_bytes_max + DISK_BYTES_SPARE + SUBSCRIBERS_BYTES
                ),
            )

    @property
    def pid(self) -> int | None:
        """The embedded server's process id while it runs."""
        return self._server.pid if self._server else None

    async def start(self) -> "Address":
        """Start it, unless the settings name another, and return where it is.

        Raises:
            BrokerError: it does not start.
        """
        if self._server is None:
            return broker_address(self._settings)
        await self._admit(self._server)
        address = await self._server.start()
        address.write(self._settings.path / ADDRESS_FILE)
        self._subscribers = asyncio.create_task(self._keep_subscribers(self._server), name="keep-subscribers")
        self._task = asyncio.create_task(self._keep(self._server), name="keep-broker")
        return address

    async def stop(self) -> None:
        """Stop the embedded server."""
        for task in (self._task, self._subscribers):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if self._server is not None:
            await self._server.stop()

    async def _keep_subscribers(self, server: EmbeddedServer) -> None:
        """Have the broker know the subscribers of the file, as soon as it changes."""
        told = ""
        while True:
            await asyncio.sleep(SUBSCRIBERS_S)
            try:
                await self._admit(server)
                told = ""
            except (BrokerError, OSError) as error:
                if told != str(error):
                    self._line.note(f"the broker does not take over the subscribers ({error}); it is tried again")
                told = str(error)

    async def _admit(self, server: EmbeddedServer) -> None:
        """Let the subscribers of the file in, and nobody else; where the file cannot be used, nobody.

        Raises:
            BrokerError: the running server did not take them over.
        """
        seen = stamp(self._settings.path)
        if seen == self._admitted:
            return
        try:
            subscribers = load(self._settings.path)
        except (BadSubscribers, OSError) as error:
            self._line.note(f"no subscriber is let in: {error}")
            subscribers = ()
        await server.reload(broker_accounts(self._settings.cell, subscribers))
        self._admitted = seen
        server.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        (server.directory / INSTALLED_FILE).write_text(seen)

    async def _keep(self, server: EmbeddedServer) -> None:
        """Start the server again whenever it ends."""
        while True:
            with self._troubles.living("broker"):
                code = await server.wait()
            self.restarts += 1
            self._troubles.died("broker", f"ended with code {code}")
            wait_s = 0.1
            while True:
                self._line.note(f"the broker ended with code {code}; it is started again")
                try:
                    address = await server.start()
                except BrokerError as error:
                    self._line.note(f"the broker does not start: {error}")
                    self._troubles.died("broker", f"does not start: {error}")
                    wait_s = min(2 * wait_s, 15.0)
                    await asyncio.sleep(wait_s)
                else:
                    # What it says has not changed, unless somebody took the broker's files away meanwhile.
                    with contextlib.suppress(OSError):
                        address.write(self._settings.path / ADDRESS_FILE)
                    break


def parts_of(settings: Settings, *, simulate: bool) -> list[Part]:
    """Return the programs of a run, in the order they are stopped."""
    data = ("--data", settings.data)
    parts = [
        # The gateway finishes the requests it has taken.
        Part("gateway", "runners.gateway", data, stop_s=25.0, nice=BESIDE, late=True),
        Part("puller", "runners.pulling", data, stop_s=5.0, nice=BEHIND, late=True),
        Part("effects", "runners.effects", data, stop_s=5.0, nice=BEHIND, late=True),
        # A delivery under way may take a quarter of a minute; one that is cut off is sent again.
        Part("webhooks", "runners.webhooks", data, stop_s=5.0, nice=BEHIND, late=True),
        Part("worker", "runners.worker", data),
        Part("projector", "runners.projector", data, stop_s=5.0, nice=BEHIND),
        Part("relay", "runners.relay", data, stop_s=5.0, nice=BEHIND),
        Part("outlet", "runners.outlet", data, stop_s=5.0, nice=BEHIND, late=True),
        # Behind the worker: its last checkpoint is of all that was committed.
        Part("sealer", "runners.sealer", (*data, "--witness", settings.witness), stop_s=15.0, nice=BEHIND, late=True),
    ]
    if settings.snapshot_every or (settings.path / SNAPSHOTS).is_dir():
        parts.insert(0, Part("snapshots", "runners.snapshotter", data, stop_s=5.0, nice=LOWEST, late=True))
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
        # `nohup orderspine up &` has it ignored: that must last when the terminal is closed.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, ask, number)

    with StatusLine() as line:
        troubles = Troubles(settings.path)
        broker = Broker(settings, line, troubles)
        gauge = Gauge(settings)
        try:
            line.note(f"OrderSpine {build_version()} starts on {settings.data}")
            address = await broker.start()
            log = await asyncio.to_thread(open_log, settings, read_only=True)
            epoch = await asyncio.to_thread(_epoch, log)
            supervisor = Supervisor(settings.path, parts_of(settings, simulate=simulate), line.note, troubles)
            supervisor.start(late=False)
            async with asyncio.TaskGroup() as tasks:
                beside = (
                    tasks.create_task(_say_when_it_works(settings, address, line, log, epoch, supervisor)),
                    tasks.create_task(_tidy(settings, address, line)),
                )
                await _watch(address, gauge, line, stop)
                for task in beside:
                    task.cancel()
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


async def _say_when_it_works(
    settings: Settings, address: "Address", line: StatusLine, log: "EventLog", epoch: int, supervisor: Supervisor
) -> None:
    """Say that it runs once the worker has taken the cell over; while it has not, say why.

    Then start what need not be there before.
    """
    try:
        deadline = time.monotonic() + PATIENCE_S
        while await asyncio.to_thread(_epoch, log) in {epoch, UNKNOWN}:
            if time.monotonic() > deadline:
                line.note(await _why_it_waits(settings, address))
                deadline = math.inf
                supervisor.start()
            await asyncio.sleep(0.1)
    finally:
        await asyncio.to_thread(log.close)
    line.note(_welcome(settings))
    supervisor.start()
    while True:
        url = gateway_url(settings)
        if url:
            break
        await asyncio.sleep(0.2)
    line.note(f"Shops push to, and programs ask, {url} (`orderspine channels --help`, `orderspine api-token --help`)")


def _epoch(log: "EventLog") -> int:
    """Return the number of the worker that may write (each one that takes the cell over raises it), or `UNKNOWN`."""
    with contextlib.suppress(*STORE_AWAY):
        return log.tracked().epoch
    return UNKNOWN


async def _why_it_waits(settings: Settings, address: "Address") -> str:
    worker_log = settings.path / LOG_DIRECTORY / "worker.log"
    holder_file = settings.path / HOLDER_FILE
    holder = ""
    with contextlib.suppress(BrokerError, msgspec.MsgspecError):
        nc = await connect(address, "orderspine-up", timeout_s=2.0)
        try:
            holder = await holder_of_lease(nc, settings.cell) or ""
        finally:
            await nc.close()
    if holder and not (holder_file.exists() and holder_file.read_text().strip() == holder):
        return (
            f"another OrderSpine (holder {holder}) works on cell {settings.cell} of this broker: this one waits, and "
            "takes over when that one ends"
        )
    return f"the worker has not begun to work yet; what it says is in {worker_log}"


async def _tidy(settings: Settings, address: "Address", line: StatusLine) -> None:
    """Drop from the spool, now and then, what no mail names any more."""
    while True:
        try:
            nc = await connect(address, "orderspine-up", timeout_s=5.0)
            try:
                put_ms = await droppable_before(nc, settings, now_ms())
            finally:
                await nc.close()
            if put_ms is not None:
                await asyncio.to_thread(drop_before, settings, put_ms)
        except (BrokerError, Conflict, *STORE_AWAY) as error:
            line.note(f"large input that is not needed any more could not be dropped ({error}); it is tried again")
        await asyncio.sleep(EVERY_S)


async def _caught_up(gauge: Gauge) -> None:
    """Wait until projector and relay are level with the log, but not for long."""
    deadline = time.monotonic() + CATCH_UP_S
    while time.monotonic() < deadline:
        if (await gauge.read(None)).projector_lag == 0:
            return
        await asyncio.sleep(0.1)


def _welcome(settings: Settings) -> str:
    data = "" if settings.data == ".orderspine" else f" --data {shlex.quote(settings.data)}"
    command = "orderspine"
    if shutil.which(command) is None and Path(sys.argv[0]).name == command:  # started by its path, as in .venv/bin
        command = sys.argv[0]
    return (
        f"OrderSpine {build_version()} runs on {settings.data}"
        f" (cell {settings.cell}, {'PostgreSQL' if settings.postgres else 'SQLite'}). Ctrl-C stops it.\n"
        "Try in another terminal:\n"
        f"  {command} status{data}\n"
        f"  {command} stock receive SKU-1=100 --document D-1{data}\n"
        f"  {command} ingest orders.csv --shop NAME{data}\n"
        f"  {command} orders{data}"
    )
