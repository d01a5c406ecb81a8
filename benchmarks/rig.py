"""A cell on real parts in a temporary directory: server, prefilled mail, processes, and how far they are."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec

from adapters.nats.client import Connection
from adapters.nats.connection import connect
from adapters.nats.publish import BatchPublisher
from adapters.nats.server import EmbeddedServer
from adapters.nats.streams import ensure_mail, events_stream, last_seq, mail_stream
from adapters.storage.read_models import ReadModels
from domain.mail import Mail, encode_mail, subject_of
from domain.ports import Tracked
from runners.bootstrap import ADDRESS_FILE, BROKER_DIRECTORY, open_log, open_read_models
from runners.settings import BATCH_MESSAGES, FILE, Settings

CELL = "main"
PUBLISH_BATCH = 1_000
MAIL_BYTES_MAX = 16 << 30
FOLLOWERS_S = 30.0


class Rig(msgspec.Struct):
    """A running broker with a cell's mail, and the directory of that cell."""

    settings: Settings
    server: EmbeddedServer
    nc: Connection
    last: int = 0
    """Sequence of the last prefilled message."""

    async def fill(self, mails: Iterable[Mail]) -> None:
        """Publish the backlog, before anyone reads it."""
        publisher = BatchPublisher(self.nc, timeout_s=60)
        batch: list[tuple[str, bytes, None]] = []
        for mail in mails:
            batch.append((subject_of(CELL, mail.to), encode_mail(mail), None))
            if len(batch) == PUBLISH_BATCH:
                self.last = (await publisher.publish_batch(batch, stream=mail_stream(CELL))).last_seq
                batch.clear()
        if batch:
            self.last = (await publisher.publish_batch(batch, stream=mail_stream(CELL))).last_seq

    def start(self, module: str) -> "subprocess.Popen[bytes]":
        """Start one of the cell's processes."""
        log = (self.settings.path / f"{module}.log").open("ab")
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", module, "--data", self.settings.data], stdout=log, stderr=log
            )

    async def follow(self) -> "list[subprocess.Popen[bytes]]":
        """Start projector and relay on an empty log, and wait until both are at work."""
        open_log(self.settings).close()
        followers = [self.start("runners.projector"), self.start("runners.relay")]
        models = open_read_models(self.settings)
        try:
            async with asyncio.timeout(FOLLOWERS_S):
                await self._until_at_work(models)
        except BaseException:
            end(*followers)
            raise
        finally:
            models.close()
        return followers

    async def _until_at_work(self, models: ReadModels) -> None:
        while True:
            if models.positions() and await last_seq(self.nc, events_stream(CELL)) is not None:
                return
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def rig(clock: str = "mail", batch_messages: int = BATCH_MESSAGES) -> AsyncIterator[Rig]:
    """Start a broker in a temporary directory; all of it is gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="orderspine-bench-"))
    settings = Settings(str(directory), clock="mail" if clock == "mail" else "real", batch_messages=batch_messages)
    (directory / FILE).write_bytes(msgspec.json.encode({"clock": clock, "batch_messages": batch_messages}))
    server = EmbeddedServer(directory / BROKER_DIRECTORY, max_store_bytes=32 << 30)
    try:
        address = await server.start()
        address.write(directory / ADDRESS_FILE)
        nc = await connect(address, "bench")
        try:
            await ensure_mail(nc, CELL, incarnation="bench", first_seq=1, max_bytes=MAIL_BYTES_MAX)
            yield Rig(settings, server, nc)
        finally:
            await nc.close()
    finally:
        await server.stop()
        shutil.rmtree(directory, ignore_errors=True)


async def until_handled(settings: Settings, last: int, worker: "subprocess.Popen[bytes]") -> tuple[float, Tracked]:
    """Wait until the log has handled the mail up to `last`; return the seconds since the first commit's epoch began."""
    log = None
    started = 0.0
    try:
        while True:
            if worker.poll() is not None:
                said = (settings.path / "runners.worker.log").read_text(errors="replace")[-2_000:]
                raise RuntimeError(f"the worker ended with status {worker.returncode}:\n{said}")
            if log is None and (settings.path / "log.db").exists():
                with contextlib.suppress(Exception):
                    log = open_log(settings, read_only=True)
            if log is not None:
                tracked = log.tracked()
                if not started and tracked.incarnation:
                    started = time.perf_counter()
                if tracked.position >= last:
                    return time.perf_counter() - started, tracked
            await asyncio.sleep(0.01)
    finally:
        if log is not None:
            log.close()


def end(*processes: "subprocess.Popen[bytes]") -> None:
    """End our own processes, by their ids."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def machine() -> dict[str, Any]:
    """Return what a figure must be read with."""
    return {"cores": os.cpu_count(), "python": sys.version.split()[0], "sync": "FULL / sync_interval always"}
