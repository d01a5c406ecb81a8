"""A cell with subscribers, in miniature: a real broker, a log, read models, and the outlet."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from nats.js.errors import NoKeysError
from nats.js.kv import KeyValue

from adapters.nats.accounts import user_of
from adapters.nats.address import Address
from adapters.nats.connection import Connection, connect
from adapters.nats.feed import Feed
from adapters.nats.server import EmbeddedServer
from adapters.storage.read_models import ReadModels
from adapters.storage.sqlite_log import SqliteEventLog
from runners.bootstrap import ADDRESS_FILE, LOG_FILE, READ_MODELS_FILE
from runners.feeds import Feeds
from runners.outlet import Outlet
from runners.projector import Projector
from runners.settings import Settings
from runners.subscribers import Filter, Subscriber, broker_accounts, editing, load, new_password
from tests.trade import Trade


class World:
    """The cell and its subscribers."""

    def __init__(self, data: Path, server: EmbeddedServer, address: Address) -> None:
        self.settings = Settings(str(data))
        self.data = data
        self.server = server
        self.address = address
        self.log = SqliteEventLog(data / LOG_FILE, generation="life")
        self.trade = Trade(self.log)
        self.read_models = ReadModels(f"sqlite:///{data / READ_MODELS_FILE}")
        self.projector = Projector(self.log, self.read_models)
        self.feeds = Feeds("main", self.log, self.read_models)
        self.outlet = Outlet(self.settings, self.feeds, self.read_models)

    def project(self) -> None:
        self.projector.run()

    async def admit(self, name: str, *feeds: str, **only: tuple[str, ...]) -> dict[str, Any]:
        """Let a subscriber in, or give it other feeds or another password; return its credentials."""
        password, hashed = new_password()
        outlet_password, _ = new_password()
        with editing(self.data) as entries:
            entries[:] = [each for each in entries if each.name != name]
            entries.append(Subscriber(name, feeds, hashed, outlet_password, "2026-02-09T00:00:00Z", Filter(**only)))
        await self.reload()
        return {"url": self.address.url, "user": user_of(name), "password": password, "cell": "main", "feeds": feeds}

    async def revoke(self, name: str) -> None:
        with editing(self.data) as entries:
            entries[:] = [each for each in entries if each.name != name]
        await self.reload()

    async def reload(self) -> None:
        await self.server.reload(broker_accounts("main", load(self.data)))
        await self.outlet.agree()

    async def guest(self, known: dict[str, Any]) -> Connection:
        """Connect as a subscriber, by hand."""
        return await connect(
            msgspec.structs.replace(self.address, user=known["user"], password=known["password"]), "guest"
        )

    async def feed(self, known: dict[str, Any], name: str = "events", **only: list[str]) -> Feed:
        return await Feed.connect(known, name, only)

    async def level(self) -> None:
        """Bring the buckets level."""
        self.project()
        self.outlet.tick()
        assert self.outlet._leveling is not None
        await self.outlet._leveling


@contextlib.asynccontextmanager
async def world(data: Path) -> AsyncIterator[World]:
    """A world that is gone afterwards."""
    data.mkdir(exist_ok=True)  # noqa: ASYNC240
    server = EmbeddedServer(data / "broker", max_store_bytes=2 << 30)
    address = await server.start()
    address.write(data / ADDRESS_FILE)
    made = World(data, server, address)
    ticking = asyncio.create_task(_tick(made.outlet))
    try:
        yield made
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        await made.outlet.close()
        made.log.close()
        made.read_models.close()
        await server.stop()


async def _tick(outlet: Outlet) -> None:
    while True:
        await asyncio.sleep(0.02)
        outlet._fresh.set()
        outlet._fresh = asyncio.Event()


async def next_entry(watcher: Any) -> KeyValue.Entry:
    """Return the watcher's next entry. Its sign that all was told comes too early where entries are on their way."""
    while True:
        entry: KeyValue.Entry | None = await watcher.updates(timeout=5)
        if entry is not None:
            return entry


async def keys_of(bucket: KeyValue) -> set[str]:
    """Return the bucket's keys; for the library there are none where its watcher's sign came too early."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(NoKeysError):
                return set(await bucket.keys())
