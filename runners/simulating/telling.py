"""How platforms tell of changes: late, twice, out of order, sometimes never, and again until somebody says yes."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Self

import httpx

from adapters.nats.tasks import end_tasks
from adapters.simulators import SimOrder
from adapters.simulators.platform import Push
from adapters.simulators.store import Kind
from runners.simulating.people import draw
from runners.simulating.shops import OpenShop

LOST: Final = 0.1
"""Part of the messages that never leave, where a pull finds the order all the same."""
TWICE: Final = 0.15
LATE: Final = 0.25
LATE_S: Final = 1.5
AT_ONCE: Final = 16
"""Posts of one platform on their way at the same time."""
ANSWER_S: Final = 5.0
"""How long a platform waits for an answer: a shop that is slower hears it again."""
AGAIN_S: Final = (0.2, 3.0)
"""Pause before the next try: at first, at last."""


class Teller:
    """Tells the merchant of what happens on all platforms. An async context manager."""

    def __init__(self, seed: int | str, shops: Mapping[str, OpenShop], gateway: Callable[[], str]) -> None:
        """Prepare to be told of changes of these shops; `gateway` returns where to post to now, "" = nowhere."""
        self.counts: dict[str, Counter[str]] = {channel: Counter() for channel in shops}
        """Channel → messages `told`, `lost`, `twice`, `late`, posts `again`."""
        self.unaccepted = 0
        """Posts that nobody has said yes to so far."""
        self._shops = shops
        self._gateway = gateway
        self._chance = draw(seed, "telling")
        self._slots = {channel: asyncio.Semaphore(AT_ONCE) for channel in shops}
        self._tasks: set[asyncio.Task[None]] = set()
        self._client = httpx.AsyncClient(timeout=ANSWER_S, trust_env=False, limits=httpx.Limits(max_connections=64))

    async def __aenter__(self) -> Self:
        for shop in self._shops.values():
            shop.sim.store.watchers.append(self._watcher(shop))
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_tasks(self._tasks)
        await self._client.aclose()

    @property
    def waiting(self) -> int:
        """Messages that are not with the merchant yet, those on sockets included."""
        sockets = (shop.sim.socket for shop in self._shops.values())
        return len(self._tasks) + sum(len(socket.waiting) for socket in sockets if socket is not None)

    def cut_sockets(self) -> None:
        """Break all message sockets, as networks do."""
        for shop in self._shops.values():
            if shop.sim.socket is not None:
                self._keep(asyncio.create_task(shop.sim.socket.cut()))

    def _watcher(self, shop: OpenShop) -> Callable[[SimOrder, Kind], None]:
        def watch(order: SimOrder, kind: Kind) -> None:
            if shop.told:
                self._tell(shop, order, kind)

        return watch

    def _tell(self, shop: OpenShop, order: SimOrder, kind: Kind) -> None:
        chance, count = self._chance, self.counts[shop.channel]
        if shop.pulled and chance.random() < LOST:
            count["lost"] += 1
            return
        count["told"] += 1
        # What it says is what is so now, whenever it arrives.
        push = shop.sim.platform.push(order, kind) if shop.told == "post" else None
        times = 2 if chance.random() < TWICE else 1
        count["twice"] += times - 1
        for _ in range(times):
            late_s = chance.random() * LATE_S if chance.random() < LATE else 0.0
            count["late"] += bool(late_s)
            self._keep(asyncio.create_task(self._send(shop, order, kind, push, late_s)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, shop: OpenShop, order: SimOrder, kind: Kind, push: Push | None, late_s: float) -> None:
        await asyncio.sleep(late_s)
        if push is None:
            assert shop.sim.socket is not None
            shop.sim.socket.announce(order, kind)
            return
        self.unaccepted += 1
        pause_s = AGAIN_S[0]
        while not await self._post(shop, push):
            self.counts[shop.channel]["again"] += 1
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  spread, no secret
            pause_s = min(2 * pause_s, AGAIN_S[1])
        self.unaccepted -= 1

    async def _post(self, shop: OpenShop, push: Push) -> bool:
        url = self._gateway()
        if not url:
            return False
        async with self._slots[shop.channel]:
            with contextlib.suppress(httpx.TransportError):
                answer = await self._client.request(
                    push.method,
                    f"{url}/webhooks/{shop.connection.name}",
                    params=dict(push.query) or None,
                    headers=dict(push.headers),
                    content=push.body,
                )
                return shop.sim.platform.push_accepted(answer.status_code, answer.content)
        return False
