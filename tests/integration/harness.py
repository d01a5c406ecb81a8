"""A cell on real parts in a directory of its own: server, worker processes that are maltreated, and the one right log.

The right log is made without processes, broker or faults: a fresh log fed with the same mail and the same keys.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

import msgspec

from adapters.nats.address import Address
from adapters.nats.client import Connection
from adapters.nats.connection import connect
from adapters.nats.errors import BrokerError
from adapters.nats.publish import BatchPublisher
from adapters.nats.server import EmbeddedServer
from adapters.nats.streams import MailInfo, ensure_mail, get_stored, mail_info, mail_stream
from adapters.storage.postgres_log import PostgresEventLog
from adapters.storage.sqlite_log import SqliteEventLog
from domain.catalogue import decode_event
from domain.decider import Event
from domain.mail import Mail, encode_mail, subject_of
from domain.ports import LogDamaged, Recorded, Tracked
from runners.bootstrap import ADDRESS_FILE, BROKER_DIRECTORY, KEYS_FILE, LOG_FILE, channels, open_log, open_vault
from runners.engine import Delivered, Engine
from runners.preparing import Preparer
from runners.settings import FILE, Settings, load_settings
from runners.upstart import check_store

ROOT = Path(__file__).resolve().parents[2]
CRASHING = "tests.integration.crashing_worker"
WORKER = "runners.worker"
MAIL_BYTES = 256 << 20

LONG = os.environ.get("ORDERSPINE_LONG") == "1"
"""Whether the long variants run: a thousand kills, tens of thousands of messages."""

Process = subprocess.Popen[bytes]
Log = SqliteEventLog | PostgresEventLog


class Cell:
    """A running server, the cell's directory, and its workers."""

    def __init__(self, settings: Settings, server: EmbeddedServer, environment: dict[str, str]) -> None:
        self.settings = settings
        self.server = server
        self.processes: list[Process] = []
        self.acknowledged: dict[int, bytes] = {}
        """Payload by sequence, of everything the broker said it has."""
        self.deaths: list[int] = []
        """Exit codes of kept workers."""
        self._environment = environment
        self._nc: Connection | None = None
        self._publisher: BatchPublisher | None = None
        self._watching: Log | None = None

    @property
    def path(self) -> Path:
        return self.settings.path

    async def nc(self) -> Connection:
        """Return a connection that is there, a new one where the old one was given up."""
        if self._nc is None or self._nc.is_closed:
            self._nc = await connect(Address.read(self.path / ADDRESS_FILE), "harness")
            self._publisher = BatchPublisher(self._nc)
        return self._nc

    # --- mail

    async def publish(self, mails: Iterable[Mail], *, batch: int = 500) -> int:
        """Publish until everything is acknowledged (what is in doubt goes twice); return the last sequence."""
        everything = list(mails)
        last = 0
        for at in range(0, len(everything), batch):
            last = await self._publish([encode_mail(mail) for mail in everything[at : at + batch]], everything[at:])
        return last

    async def publish_raw(self, payloads: Sequence[bytes], subject: str = "mail.main.order.x") -> int:
        """Publish bytes that need not be mail."""
        nc = await self.nc()
        ack = await BatchPublisher(nc).publish_batch([(subject, each, None) for each in payloads], stream=self.stream)
        self._acknowledge(payloads, ack.last_seq)
        return ack.last_seq

    @property
    def stream(self) -> str:
        return mail_stream(self.settings.cell)

    async def _publish(self, payloads: list[bytes], mails: Sequence[Mail]) -> int:
        messages = [
            (subject_of(self.settings.cell, mail.to), payload, None)
            for mail, payload in zip(mails, payloads, strict=False)
        ]
        for _ in range(400):
            with contextlib.suppress(BrokerError):
                await self.nc()
                assert self._publisher is not None
                ack = await self._publisher.publish_batch(messages, stream=self.stream)
                self._acknowledge(payloads, ack.last_seq)
                return ack.last_seq
            await asyncio.sleep(0.05)
        raise AssertionError("the broker takes no mail")

    def _acknowledge(self, payloads: Sequence[bytes], last: int) -> None:
        self.acknowledged.update(enumerate(payloads, last - len(payloads) + 1))

    async def info(self) -> MailInfo:
        info = await mail_info(await self.nc(), self.settings.cell)
        assert info is not None
        return info

    async def mail(self) -> list[Delivered]:
        """Read the whole mail back, message by message, so that no reader of ours is asked for its opinion."""
        nc = await self.nc()
        info = await self.info()
        found = []
        for at in range(info.first_seq, info.last_seq + 1, 200):
            numbers = range(at, min(at + 200, info.last_seq + 1))
            stored = await asyncio.gather(*(get_stored(nc, self.stream, seq=seq) for seq in numbers))
            found += [Delivered(each.seq, each.time_ms, each.payload) for each in stored if each is not None]
        return found

    # --- workers

    def start(self, module: str = WORKER, **environment: str) -> Process:
        """Start a worker of this cell."""
        with (self.path / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", module, "--data", str(self.path)],
                stdout=log,
                stderr=log,
                env=os.environ | self._environment | environment,
                cwd=ROOT,
            )
        self.processes.append(process)
        return process

    def crashing(self, at: str, action: str = "kill", **environment: str) -> Process:
        """Start a worker that kills (or stops) itself at a named place: `<place>:<nth passing>`."""
        return self.start(CRASHING, ORDERSPINE_TEST_AT=f"{at}:{action}", **environment)

    @contextlib.asynccontextmanager
    async def kept(self, module: str = WORKER, **environment: str) -> AsyncIterator["Keeper"]:
        """Keep one worker alive: whenever it ends another is started at once."""
        keeper = Keeper(self, module, environment)
        task = asyncio.create_task(keeper.keep())
        try:
            yield keeper
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self.deaths += keeper.deaths
            end(keeper.process)

    async def until(self, position: int | None = None, timeout_s: float = 30.0) -> Tracked:
        """Wait until the mail up to `position` (by default all there is, and stays) is handled."""
        deadline = time.monotonic() + timeout_s
        while True:
            tracked = self.tracked()
            wanted = position
            if position is None:
                with contextlib.suppress(BrokerError):
                    wanted = (await self.info()).last_seq
            if tracked is not None and wanted is not None and tracked.position >= wanted:
                return tracked
            assert time.monotonic() < deadline, f"at {tracked}, wanted {wanted}: {self.worker_log()[-3000:]}"
            await asyncio.sleep(0.02)

    def tracked(self) -> Tracked | None:
        """Return the log's row as it is now; None before the log is there."""
        if self._watching is None:
            if not self.settings.postgres and not (self.path / LOG_FILE).exists():
                return None
            try:
                self._watching = open_log(self.settings, read_only=True)
            except (FileNotFoundError, sqlite3.OperationalError, LogDamaged):  # it is being made
                return None
        return self._watching.tracked()

    def worker_log(self) -> str:
        return (self.path / "worker.log").read_text(errors="replace") if (self.path / "worker.log").exists() else ""

    # --- what came of it

    def recorded(self) -> list[Recorded]:
        """Return the whole log."""
        log = open_log(self.settings, read_only=True)
        try:
            return log.read(0, 1 << 40)
        finally:
            log.close()

    def events(self) -> list[tuple[str, Event]]:
        """Return every event with its stream."""
        return [(each.stream, decode_event(each.tag, each.data)) for each in self.recorded()]

    def fresh(self, mail: Sequence[Delivered], tracked: Tracked, seed: int = 1) -> "SqliteEventLog":
        """Feed a fresh log with this mail and a copy of the keys, in batches of any size, in one go."""
        place = self.path / f"fresh-{seed}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        if not self.settings.postgres:
            copy(self.path / KEYS_FILE, place / KEYS_FILE)
        vault = open_vault(msgspec.structs.replace(self.settings, data=str(place)))
        log = SqliteEventLog(place / LOG_FILE)
        engine = Engine(log, vault, Preparer(channels(self.settings), vault.digest_key()), actors_max=200)
        engine.take_over()
        engine.begin_life(tracked.incarnation, mail[0].seq - 1 if mail else 0, None, 0)
        chance = random.Random(seed)
        at = 0
        while at < len(mail):
            size = chance.choice((1, 3, 40, 300))
            batch = engine.decide(mail[at : at + size])
            engine.committed(batch, engine.commit(batch))
            at += size
        vault.close()
        return log

    async def assert_exactly_once(self, seed: int = 1) -> int:
        """Compare the log with the right one, every byte of it; return the number of events compared.

        No worker may be at work. Timers may have mailed more since; what is compared is what was handled.
        """
        mail = await self.mail()
        assert {each.seq: each.payload for each in mail if each.seq in self.acknowledged} == self.acknowledged
        tracked = self.tracked()
        assert tracked is not None
        assert tracked.position >= max(self.acknowledged)
        mail = [each for each in mail if each.seq <= tracked.position]
        assert [each.seq for each in mail] == list(range(1, tracked.position + 1))
        right = self.fresh(mail, tracked, seed)
        try:
            row = right.tracked()
            assert msgspec.structs.replace(row, epoch=0, generation="") == msgspec.structs.replace(
                tracked, epoch=0, generation=""
            )
        finally:
            right.close()
        return self.assert_same(right.path)

    def assert_same(self, other: Path) -> int:
        """Compare events and payloads with another log's, all columns; return the number of events."""
        if self.settings.postgres:
            return self._assert_same_as_read(other)
        db = sqlite3.connect(self.path / LOG_FILE)
        try:
            db.execute("ATTACH ? AS other", (str(other),))
            for table in ("events", "payloads"):
                for one, two in (("main", "other"), ("other", "main")):
                    differing = db.execute(
                        f"SELECT * FROM {one}.{table} EXCEPT SELECT * FROM {two}.{table} LIMIT 3"  # noqa: S608
                    ).fetchall()
                    assert not differing, f"{table} of {one} only: {differing}"
            (count,) = db.execute("SELECT count(*) FROM main.events").fetchone()
        finally:
            db.close()
        return int(count)

    def _assert_same_as_read(self, other: Path) -> int:
        right = SqliteEventLog(other, read_only=True)
        log = open_log(self.settings, read_only=True)
        try:
            events = log.read(0, 1 << 40)
            assert events == right.read(0, 1 << 40)
            digests = [bytes(row[0]) for row in sqlite3.connect(other).execute("SELECT digest FROM payloads")]
            assert log.payloads(digests) == right.payloads(digests)
            assert len(log.payloads(digests)) == len(digests)
        finally:
            right.close()
            log.close()
        return len(events)

    async def close(self) -> None:
        end(*self.processes)
        if self._watching is not None:
            self._watching.close()
        if self._nc is not None:
            await self._nc.close()


class Keeper:
    """Restarts a worker at once whenever it ends."""

    def __init__(self, cell: Cell, module: str, environment: dict[str, str]) -> None:
        self.cell = cell
        self.deaths: list[int] = []
        self._how = module, environment
        self.process = cell.start(module, **environment)

    async def keep(self) -> None:
        while True:
            code = self.process.poll()
            if code is not None:
                self.deaths.append(code)
                module, environment = self._how
                self.process = self.cell.start(module, **environment)
            await asyncio.sleep(0.01)

    async def until_deaths(self, number: int, timeout_s: float = 30.0) -> None:
        """Wait for the nth end of a kept worker."""
        deadline = time.monotonic() + timeout_s
        while len(self.deaths) < number:
            assert time.monotonic() < deadline, f"died {self.deaths}, {number} wanted: {self.cell.worker_log()[-2000:]}"
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running_cell(path: Path, *, channel: str = "", **settings: str | int) -> AsyncIterator[Cell]:
    """Start a server on a free port, make the mail stream, name the settings; end all of it afterwards."""
    values: dict[str, object] = {
        "batch_messages": 40,
        "mail_bytes_max": MAIL_BYTES,
        "events_bytes_max": MAIL_BYTES,
        **settings,
    }
    if channel:
        values["channels"] = [channel]
    await asyncio.to_thread(path.mkdir, parents=True, exist_ok=True)
    (path / FILE).write_bytes(msgspec.json.encode(values))
    server = EmbeddedServer(path / BROKER_DIRECTORY, max_store_bytes=1 << 30)
    address = await server.start()
    address.write(path / ADDRESS_FILE)
    cell = Cell(load_settings(path), server, {"PYTHONPATH": str(ROOT)})
    check_store(cell.settings)  # makes log and keys, as `up` does before it starts anybody
    try:
        await ensure_mail(await cell.nc(), cell.settings.cell, incarnation="first", first_seq=1, max_bytes=MAIL_BYTES)
        yield cell
    finally:
        await cell.close()
        await server.stop()


def end(*processes: Process) -> None:
    """End our own processes, stopped ones too, by their ids."""
    for process in processes:
        if process.poll() is None:
            process.kill()
    for process in processes:
        process.wait(20)


def copy(source: Path, target: Path) -> None:
    """Copy a SQLite file that may be in use."""
    one, two = sqlite3.connect(source), sqlite3.connect(target)
    try:
        one.backup(two)
    finally:
        one.close()
        two.close()


async def ended(process: Process, timeout_s: float = 20.0) -> int:
    """Wait for a process's end; return its exit code (negative: the signal)."""
    try:
        return await asyncio.to_thread(process.wait, timeout_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # its log then says where it hangs
        await asyncio.to_thread(process.wait, 5)
        raise


async def said(cell: Cell, text: str, timeout_s: float = 20.0) -> None:
    """Wait until a worker's log holds a text."""
    deadline = time.monotonic() + timeout_s
    while text not in cell.worker_log():
        assert time.monotonic() < deadline, f"nobody said {text!r}"
        await asyncio.sleep(0.05)


async def stopped(process: Process, timeout_s: float = 20.0) -> None:
    """Wait until a process has stopped itself."""
    deadline = time.monotonic() + timeout_s
    while _state(process) != "T":
        assert process.poll() is None, "it ended instead of stopping"
        assert time.monotonic() < deadline, "it does not stop"
        await asyncio.sleep(0.01)


async def stopped_outside_transactions(cell: Cell, process: Process) -> None:
    """See to it that a process is stopped while it holds no lock of a store: another can work then."""
    await stopped(process)
    while not all(_writable(cell.path / name) for name in (LOG_FILE, KEYS_FILE)):
        process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        await stopped(process)


def _writable(path: Path) -> bool:
    db = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        db.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        db.close()
    return True


def _state(process: Process) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


KILLED = -signal.SIGKILL
