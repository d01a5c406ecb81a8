"""Buyers on simulated platforms: who orders what and when, pays, calls off, confirms, or sends back.

A day is drawn from a seed and pressed into seconds; what buyers do goes into the platforms' own stores and nowhere
else. How the merchant learns of it is the platforms' business.
"""

import asyncio
import heapq
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from adapters.simulators import SimLine, SimOrder, SimPerson
from adapters.simulators.making import BUYER_ABROAD
from adapters.simulators.numbers import order_no
from adapters.simulators.orders import Hold
from adapters.simulators.store import Kind
from domain.canonical import AfterSale
from domain.ids import order_key
from domain.time_units import DAY_MS, HOUR_MS, MINUTE_MS
from runners.simulating.people import WARES, WEIGHTS, buyer, draw
from runners.simulating.shops import OpenShop
from runners.simulating.world import HOURS

SHARES: Final = {
    "taobao": 5,
    "jd": 3,
    "douyin": 4,
    "pinduoduo": 3,
    "wechat_shop": 2,
    "shopify": 2,
    "miniprogram": 1,
    "generic": 1,
}
HOLDS: Final[Mapping[str, Hold]] = {
    "taobao": "forbid_consign",
    "jd": "locked",
    "douyin": "risk_review",
    "pinduoduo": "risk_review",
    "miniprogram": "risk_review",
    "generic": "locked",
}
"""How a platform forbids shipping for a while; the others cannot."""
RETURNS: Final = frozenset({"taobao", "douyin", "pinduoduo", "wechat_shop", "miniprogram", "generic"})
"""Platforms whose orders show an after-sale from its opening to the refund."""
FATES: Final = {"plain": 56, "late": 10, "unpaid": 8, "forgotten": 3, "cancelled": 6, "held": 7, "returned": 5}
DEAD: Final = frozenset({"unpaid", "forgotten", "cancelled"})
"""Fates in which nothing is ever shipped."""
LIVE_SHARE: Final = 0.08
PAY_TERM_MS: Final = 30 * MINUTE_MS
_LIVE_AT_MS: Final = 20 * HOUR_MS
_FREE_FROM: Final = 9_900
"""No freight from so much on."""


class Life(msgspec.Struct):
    """An order on its way, as the world knows it."""

    shop: OpenShop
    number: str
    fate: str
    chance: random.Random

    @property
    def key(self) -> str:
        """Key of the order in the cell."""
        return order_key(self.shop.channel, self.shop.connection.shop, self.number)

    @property
    def order(self) -> SimOrder:
        """The order as its platform has it now."""
        found = self.shop.sim.store.get(self.number)
        assert found is not None
        return found

    def change(self, **fields: Any) -> None:
        """Let the platform take note of a change."""
        self.shop.sim.change(self.number, **fields)

    def now_ms(self) -> int:
        """Return the time by the platform's clock."""
        return self.shop.sim.platform.now_ms()


class Buyers:
    """All buyers of one day.

    Args:
        seed: the same one leads to the same purchases.
        orders: how many.
        shops: where they buy.
        day_s: seconds in which the day passes.
    """

    def __init__(self, seed: int | str, orders: int, shops: Mapping[str, OpenShop], day_s: float) -> None:
        self.lives: dict[str, Life] = {}
        """By key; filled as orders are placed."""
        self.demand: dict[str, int] = {}
        """SKU → units that all orders will want that come to be shipped."""
        self.placed = 0
        self.orders = orders
        self._day_s = day_s
        self._began = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._changed = asyncio.Event()
        channels = tuple(shops)
        weights = [SHARES[channel] for channel in channels]
        seqs = dict.fromkeys(channels, 0)
        rng = draw(seed, "buyers")
        for number, at_ms in enumerate(sorted(_moment(rng) for _ in range(orders))):
            own = draw(seed, "purchase", number)
            # Each has a first buyer, however few there are.
            channel = channels[number] if number < len(channels) else own.choices(channels, weights)[0]
            seqs[channel] += 1
            fate = _fate(own, channel)
            lines = _lines(own, channel)
            if fate not in DEAD:
                for line in lines:
                    self.demand[line.sku] = self.demand.get(line.sku, 0) + line.quantity
            self._plan(at_ms, self._birth(shops[channel], seqs[channel], own, fate, lines))
        for shop in shops.values():
            shop.sim.store.watchers.append(self._watcher(shop))

    @property
    def resting(self) -> bool:
        """Whether nobody has anything in mind."""
        return not self._heap

    async def live(self, stop: asyncio.Event) -> None:
        """Do what buyers do, when they do it, until cancelled or `stop`."""
        self._began = time.monotonic()
        while not stop.is_set():
            self._changed.clear()
            wait_s = 0.2
            while self._heap:
                wait_s = self._began + self._heap[0][0] - time.monotonic()
                if wait_s > 0:
                    break
                heapq.heappop(self._heap)[2]()
                # Platforms are served in this loop: they must come to their turn.
                await asyncio.sleep(0)
            try:
                async with asyncio.timeout(min(0.2, max(0.0, wait_s))):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _plan(self, at_ms: float, act: Callable[[], None]) -> None:
        """Have something done at a time of the day."""
        self._count += 1
        heapq.heappush(self._heap, (at_ms / DAY_MS * self._day_s, self._count, act))

    def _later(self, life: Life, least_ms: int, most_ms: int, act: Callable[[Life], None]) -> None:
        """Have something done in so much time of the world from now."""
        now = (time.monotonic() - self._began) / self._day_s * DAY_MS
        self._plan(now + life.chance.randrange(least_ms, most_ms), lambda: act(life))
        self._changed.set()

    def _birth(
        self, shop: OpenShop, seq: int, chance: random.Random, fate: str, lines: tuple[SimLine, ...]
    ) -> Callable[[], None]:
        def born() -> None:
            now = shop.sim.platform.now_ms()
            made = order_no(shop.channel, seq, now)
            life = Life(shop, made, fate, chance)
            self.lives[life.key] = life
            self.placed += 1
            goods = sum(line.goods_fen - line.off_fen for line in lines)
            order = SimOrder(
                order_no=made,
                lines=lines,
                buyer=_person(shop.channel, chance),
                ordered_ms=now,
                modified_ms=now,
                pay_by_ms=now + PAY_TERM_MS,
                freight_fen=0 if goods > _FREE_FROM else 600,
                discount_fen=chance.choice((0, 0, 0, 300)) if goods > 2_000 else 0,  # noqa: PLR2004
                live=shop.channel in ("douyin", "wechat_shop") and chance.random() < LIVE_SHARE,
                message=chance.choice(("", "", "", "周末送货", "请尽快发货")),
                currency="USD" if shop.channel == "shopify" else "CNY",
            )
            if fate in ("plain", "returned") and chance.random() < 0.5:  # noqa: PLR2004  paid at once
                order = msgspec.structs.replace(order, status="paid", paid_ms=now, pay_by_ms=0)
                shop.sim.add(order)
                return
            shop.sim.add(order)
            if fate == "late":
                self._later(life, 20 * MINUTE_MS, 6 * HOUR_MS, self._pay)
            elif fate == "unpaid":
                self._later(life, PAY_TERM_MS, PAY_TERM_MS + HOUR_MS, self._close)
            elif fate != "forgotten":
                self._later(life, 10_000, 4 * MINUTE_MS, self._pay)

        return born

    def _pay(self, life: Life) -> None:
        hold: Hold = HOLDS[life.shop.channel] if life.fate == "held" else ""
        life.change(status="paid", paid_ms=life.now_ms(), pay_by_ms=0, hold=hold)
        if life.fate == "held":
            self._later(life, 20 * MINUTE_MS, 4 * HOUR_MS, lambda one: one.change(hold=""))
        elif life.fate == "cancelled":
            self._later(life, 2 * MINUTE_MS, 2 * HOUR_MS, self._close)

    @staticmethod
    def _close(life: Life) -> None:
        life.change(status="cancelled", ended_ms=life.now_ms(), pay_by_ms=0)

    def _watcher(self, shop: OpenShop) -> Callable[[SimOrder, Kind], None]:
        """Have buyers act on a parcel that left."""

        def watch(order: SimOrder, kind: Kind) -> None:
            if kind != "shipped":
                return
            life = self.lives[order_key(shop.channel, shop.connection.shop, order.order_no)]
            if life.fate == "returned":
                self._later(life, HOUR_MS, 3 * HOUR_MS, lambda one: self._give_back(one, "open"))
            elif life.fate == "plain" and life.chance.random() < 0.4:  # noqa: PLR2004
                self._later(life, HOUR_MS, 4 * HOUR_MS, self._confirm)

        return watch

    @staticmethod
    def _confirm(life: Life) -> None:
        life.change(status="completed", ended_ms=life.now_ms())

    def _give_back(self, life: Life, stage: AfterSale) -> None:
        lines = life.order.lines
        life.change(lines=(msgspec.structs.replace(lines[0], after_sale=stage), *lines[1:]))
        if stage == "open":
            self._later(life, HOUR_MS, 3 * HOUR_MS, lambda one: self._give_back(one, "refunded"))


def _moment(rng: random.Random) -> int:
    if rng.random() < LIVE_SHARE:  # a live room sells in ten minutes what takes others hours
        return _LIVE_AT_MS + rng.randrange(10 * MINUTE_MS)
    return rng.choices(range(24), HOURS)[0] * HOUR_MS + rng.randrange(HOUR_MS)


def _fate(rng: random.Random, channel: str) -> str:
    fate = rng.choices(list(FATES), list(FATES.values()))[0]
    if (fate == "held" and channel not in HOLDS) or (fate == "returned" and channel not in RETURNS):
        return "plain"
    return fate


def _lines(rng: random.Random, channel: str) -> tuple[SimLine, ...]:
    # An order on Pinduoduo is of one item.
    count = 1 if channel == "pinduoduo" else rng.choices((1, 2, 3, 4), (60, 25, 10, 5))[0]
    wares: Sequence[Any] = list(dict.fromkeys(rng.choices(WARES, WEIGHTS, k=count)))
    return tuple(
        SimLine(
            ware.sku,
            rng.choices((1, 2, 3, 6), (75, 16, 6, 3))[0],
            ware.price,
            ware.name,
            rng.choice((0, 0, 0, 500)),
        )
        for ware in wares
    )


def _person(channel: str, rng: random.Random) -> SimPerson:
    if channel == "shopify":
        return BUYER_ABROAD
    one = buyer(rng)
    return SimPerson(one.id, one.name, one.phone, one.province, one.city, one.district, one.address)
