"""Who is outside on a day with faults: people's robots, which note when they hear, and shops that take ship notices."""

import asyncio
import contextlib
import secrets
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Self

from adapters.notify.receivers import Receiver
from adapters.platforms.connection import Connection
from adapters.simulators.exchange import Reply, Request, reply
from adapters.simulators.platform import Cut
from adapters.simulators.robots import SimWebhook
from adapters.simulators.server import served
from runners import connections, receivers
from runners.bootstrap import open_log
from runners.settings import Settings
from runners.settings_file import write_durably
from runners.simulating.fault_day import CHANNEL, TARGETS
from runners.simulating.shops import FOLDER

ROLES: Final = ("operations", "service", "finance", "keeper")
STOPPING: Final = frozenset({"order.intercepted", "order.quarantined", "order.approval_requested"})
DEAD_S: Final = 5.0
"""How long a dead shop stays away, from the first attempt to tell it on."""
SLOW_S: Final = 2.0
_LOOK_S: Final = 0.005
_NOTICED_S: Final = 1.5
"""Within so long the cell has read its files anew."""
_PAGE: Final = 5_000


class InTheWay(Exception):
    """The cell has people to tell, who must not be told of simulated orders."""


class SimTargets:
    """Shops that take ship notices by the product's own contract, each in its own way; see `fault_kinds`."""

    def __init__(self) -> None:
        """Nobody has told anything yet."""
        self.closing = asyncio.Event()
        self._taken: set[str] = set()
        self._dead_until = 0.0

    async def answer(self, request: Request) -> Reply:
        """Answer a call, or do not.

        Raises:
            Cut: the shop is away.
        """
        shop, _, rest = request.path.strip("/").partition("/")
        await self._wait(shop)
        known = rest.rpartition("/")[2]
        if request.method == "GET":
            return reply({"reference": known}) if known in self._taken else reply({"error": "unknown"}, 404)
        if shop == "refusing":
            return reply({"error": "this order is not to be shipped"}, 422)
        try:
            self._taken.add(str(request.json()["shipment_id"]))
        except ValueError:
            raise Cut from None  # whoever told it has gone before he had said all
        return reply({"reference": "taken"}, 201)

    async def _wait(self, shop: str) -> None:
        now = asyncio.get_running_loop().time()
        if shop == "dead":
            self._dead_until = self._dead_until or now + DEAD_S
            if now < self._dead_until:
                raise Cut
        elif shop == "slow":
            await asyncio.sleep(SLOW_S)


class Robots:
    """One for each role; they note when they hear of an event."""

    def __init__(self) -> None:
        """Nothing is heard yet."""
        self.secret = secrets.token_hex(16)
        self.sims = {role: SimWebhook(self.secret, lambda: time.time_ns() // 1_000_000) for role in ROLES}

    def heard(self) -> dict[str, float]:
        """Return event → when somebody first heard of it, UTC ms."""
        offset = time.time() - asyncio.get_running_loop().time()
        found: dict[str, float] = {}
        for sim in self.sims.values():
            for message in sim.taken:
                found.setdefault(str(message.extra["event"]), (message.at_s + offset) * 1000)
        return found


@contextlib.asynccontextmanager
async def outside(data: Path, run: str) -> AsyncIterator[Robots]:
    """Serve robots and shops, and have the cell know them, for as long as it takes.

    Raises:
        InTheWay: it has others to tell.
        BadReceivers, BadConnections, OSError: its files cannot be used.
    """
    told = receivers.load(data)
    if any(each.enabled for each in told.receivers):
        names = ", ".join(each.name for each in told.receivers if each.enabled)
        raise InTheWay(f"{data} tells {names}, who must not be told of simulated orders: simulate on another cell")
    robots, folder = Robots(), data / FOLDER
    async with contextlib.AsyncExitStack() as stack:
        base = await stack.enter_async_context(served(SimTargets()))
        urls = {role: await stack.enter_async_context(served(sim)) + sim.path for role, sim in robots.sims.items()}
        await asyncio.to_thread(folder.mkdir, mode=0o700, exist_ok=True)
        secret = folder / f"{run}.secret"
        write_durably(secret, f"{robots.secret}\n".encode())
        place = f"file:{FOLDER}/{secret.name}"
        shops = {run: "good", **{f"{run}-{name}": name for name in TARGETS}}
        stack.push_async_callback(_forget, data, run, secret)
        with connections.editing(data) as known:
            known.extend(
                Connection(
                    name=shop,
                    channel=CHANNEL,
                    shop=shop,
                    base_url=f"{base}/{way}",
                    pull_every_s=0,
                    options={"calls_per_s": "500"},
                    secrets={"push_secret": place},
                )
                for shop, way in shops.items()
            )
        with receivers.editing(data) as told:
            told.receivers += [
                Receiver(name=f"{run}-{role}", kind="webhook", roles=(role,), url=url, secrets={"sign": place})
                for role, url in urls.items()
            ]
        await asyncio.sleep(_NOTICED_S)
        yield robots


async def _forget(data: Path, run: str, secret: Path) -> None:
    with receivers.editing(data) as told:
        told.receivers = [each for each in told.receivers if not each.name.startswith(f"{run}-")]
    with connections.editing(data) as known:
        known[:] = [each for each in known if each.name != run and not each.name.startswith(f"{run}-")]
    await asyncio.sleep(_NOTICED_S)
    await asyncio.to_thread(secret.unlink, missing_ok=True)
    with contextlib.suppress(OSError):
        await asyncio.to_thread((data / FOLDER).rmdir)


class Watch:
    """Looks at the log all the time, as a poll would, and notes when each stop could be seen there first."""

    def __init__(self, settings: Settings, after: int) -> None:
        """`after` is where it begins."""
        self.seen: dict[int, float] = {}
        """Position of an event → when it was seen, UTC ms."""
        self._settings = settings
        self._position = after
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _look(self) -> None:
        with contextlib.closing(open_log(self._settings, read_only=True)) as log:
            while not self._ending.wait(_LOOK_S):
                page = log.read(self._position, _PAGE)
                now = time.time() * 1000
                for event in page:
                    self._position = event.position
                    if event.tag in STOPPING:
                        self.seen[event.position] = now
