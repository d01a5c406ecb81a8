"""The merchant's own people on a day of trade over platforms: they pick, scan, ship, and take goods in."""

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from domain.ids import warehouse_key
from domain.mail import Body, Mail
from domain.order import ResolveInterception, ScanOut, Ship
from domain.stock import ReceiveStock
from runners.simulating.buyers import DEAD, Life
from runners.simulating.courier import Courier
from runners.simulating.feed import Feed, Happened
from runners.simulating.people import draw
from runners.simulating.world import Act, Actor

OPENING_SHARE: Final = 0.85
"""Opening stock as a share of what will be wanted: some orders wait for goods."""
LOOK_S: Final = 0.1
PICK_S: Final = (0.1, 1.0)
"""How long it takes from pick list to shelf."""
IN_TWO_STEPS: Final = 0.15
"""Part of the parcels that are scanned first and shipped later."""
_CARRIERS: Final = ("SF", "YTO", "ZTO", "YUNDA")
_ABROAD: Final = ("UPS", "DHL", "FEDEX")


class Parcel(NamedTuple):
    """What left."""

    carrier: str
    """Neutral code."""
    tracking: str


class _Due(NamedTuple):
    at_s: float
    number: int
    to: str
    pick_list: str
    """"" = not about a pick list."""
    command: Body
    who: Actor


class Staff:
    """Keeper and operations, who learn what the cell did from its public feed."""

    def __init__(self, name: str, lives: Mapping[str, Life], courier: Courier, feed: Feed) -> None:
        """`name` begins the numbers of documents; nothing is done yet."""
        self.parcels: dict[str, Parcel] = {}
        """Order → the parcel that left."""
        self.stopped: Counter[str] = Counter()
        """Reason → orders that were stopped for it."""
        self._name = name
        self._lives = lives
        self._courier = courier
        self._feed = feed
        self._lists: dict[str, str] = {}
        """Order → its pick list, while it stands."""
        self._short: dict[str, str] = {}
        """Order → its interception, while it waits for goods."""
        self._goods_here = False
        self._heap: list[_Due] = []
        self._count = 0
        self._one_at_a_time = asyncio.Lock()

    @property
    def idle(self) -> bool:
        """Whether nothing is to be done that is known of."""
        return not self._heap and not self._short

    async def open(self, demand: Mapping[str, int]) -> None:
        """Take in the opening stock."""
        await self._receive(f"{self._name}-0", {sku: round(units * OPENING_SHARE) for sku, units in demand.items()})

    async def restock(self, demand: Mapping[str, int]) -> None:
        """Take in enough of everything, and have what was short go on."""
        await self._receive(f"{self._name}-1", demand)
        self._goods_here = True
        self._release_short()

    async def work(self) -> None:
        """Do what is to be done until cancelled.

        Raises:
            FeedBehind, NoAnswer: the cell does not come along.
        """
        while True:
            for event in await self._feed.upto(0):
                self._learn(event)
            mails = [mail for act in self._acts() for mail in self._courier.mails(act)]
            if mails:
                await self._send(mails)
            await asyncio.sleep(LOOK_S)

    async def _receive(self, document: str, units: Mapping[str, int]) -> None:
        goods = tuple((sku, count) for sku, count in sorted(units.items()) if count)
        if goods:
            act = Act(0, warehouse_key("A"), ReceiveStock(document, goods), "keeper")
            await self._send(list(self._courier.mails(act)))

    async def _send(self, mails: Sequence[Mail]) -> None:
        async with self._one_at_a_time:
            await self._courier.send(mails)
            await self._courier.answered()

    def _learn(self, event: Happened) -> None:
        life = self._lives.get(event.stream)
        if life is None:
            return
        match event.tag:
            case "order.pick_list_issued":
                self._lists[event.stream] = str(event.data["pick_list"])
                self._pick(life, event.stream)
            case "order.intercepted":
                reason = str(event.data["reason"])
                self.stopped[reason] += 1
                if reason == "stock_short":
                    self._short[event.stream] = str(event.data["interception"])
                    if self._goods_here:
                        self._release_short()
            case "order.released":
                self._lists.pop(event.stream, None)
            case "order.cancelled" | "order.shipped":
                self._lists.pop(event.stream, None)
                self._short.pop(event.stream, None)

    def _pick(self, life: Life, key: str) -> None:
        if life.fate in DEAD:
            return  # nobody gets round to it before the buyer has called it off
        name = self._lists[key]
        rng = draw("pick", key, name)
        carrier = rng.choice(_ABROAD if life.shop.channel == "shopify" else _CARRIERS)
        tracking = f"{carrier}{rng.randrange(10**12):012d}"
        at_s = time.monotonic() + rng.uniform(*PICK_S)
        if rng.random() < IN_TWO_STEPS:
            self._plan(at_s, key, name, ScanOut(f"scan-{name}"))
            self._plan(at_s + rng.uniform(*PICK_S), key, name, Ship(f"ship-{name}", tracking, carrier))
        else:
            self._plan(at_s, key, name, ScanOut(f"scan-{name}", tracking, carrier))

    def _release_short(self) -> None:
        for key, name in self._short.items():
            decision = ResolveInterception(f"release-{key}-{name}", name, "release", "goods are here")
            self._plan(time.monotonic(), key, "", decision, "operations")
        self._short.clear()

    def _plan(self, at_s: float, to: str, pick_list: str, command: Body, who: Actor = "keeper") -> None:
        self._count += 1
        heapq.heappush(self._heap, _Due(at_s, self._count, to, pick_list, command, who))

    def _acts(self) -> list[Act]:
        """Return what is due and still makes sense."""
        found = []
        while self._heap and self._heap[0].at_s <= time.monotonic():
            due = heapq.heappop(self._heap)
            if due.pick_list and self._lists.get(due.to) != due.pick_list:
                continue
            command = due.command
            if isinstance(command, ScanOut | Ship) and command.tracking:
                self.parcels[due.to] = Parcel(command.carrier, command.tracking)
            found.append(Act(0, due.to, command, due.who))
        return found
