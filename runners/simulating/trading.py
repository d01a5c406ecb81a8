"""A day of trade over simulated platforms: buyers there, the merchant here, the real protocols between them."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from adapters.nats.tasks import end_tasks
from adapters.simulators.faults import How
from runners.bootstrap import channels as channels_of
from runners.bootstrap import open_log, open_spool, open_vault
from runners.post import Postman
from runners.shops import gateway_url
from runners.simulating.buyers import SHARES, Buyers
from runners.simulating.comparing import Compared, compare, pending, records_of, troubles
from runners.simulating.courier import Courier, Ledger
from runners.simulating.drive import RealClock, drive, first_moment
from runners.simulating.feed import open_feed
from runners.simulating.people import draw
from runners.simulating.shops import PREFIX, OpenShop, open_shops
from runners.simulating.staff import Staff
from runners.simulating.telling import Teller
from runners.simulating.world import World, key_of

if TYPE_CHECKING:
    from runners.settings import Settings

RATE: Final = 25.0
"""Orders a second, where no speed is asked for."""
DAY_S_MIN: Final = 5.0
PULL_EVERY_S: Final = (2, 10)
"""Bounds of how often shops are pulled: ten times a day."""
POS_SHARE: Final = 8
"""One order in so many is sold over a counter; its receipts come as a file."""
LOOK_S: Final = 0.5
PATIENCE_S: Final = 60.0
"""After so long without any progress it is said what does not agree."""
TROUBLE: Final[tuple[How, ...]] = ("503", "cut_before", "limited", "500", "429")
"""What goes wrong at platforms by itself."""
TROUBLES_EACH: Final = 3
REFRESHING: Final = frozenset({"taobao", "jd", "douyin", "pinduoduo", "wechat_shop", "miniprogram"})
"""Platforms whose tokens end and are renewed without a person."""
NOTICES: Final[Mapping[str, str]] = {
    "taobao": "logistics.online.send",
    "jd": "shipment",
    "douyin": "logisticsAdd",
    "pinduoduo": "logistics.online.send",
    "wechat_shop": "delivery/send",
    "shopify": "POST fulfillments",
    "miniprogram": "upload_shipping_info",
    "generic": "POST shipments",
}
"""Each platform's name for a ship notice."""


class Traded(msgspec.Struct):
    """What came of a day."""

    platforms: list[Compared]
    told: dict[str, dict[str, int]]
    """Channel → messages told, lost, twice, late; posts again."""
    outcomes: dict[str, int]
    """What became of what people and tills sent."""
    receipts: int
    receipts_missing: int
    stopped_for: dict[str, int]
    problems: list[str]
    seconds: float
    trade_s: float
    stopped: bool
    sent: Ledger

    @property
    def good(self) -> bool:
        """Whether every platform and the cell agree, and nothing is missing."""
        return all(each.good for each in self.platforms) and not self.receipts_missing and not self.problems

    def checks(self) -> Iterator[tuple[str, str, bool]]:
        """Yield (what, how it stands, whether it is as it should be)."""
        orders = sum(each.orders for each in self.platforms)
        wrong = [each.channel for each in self.platforms if not each.good]
        said = f"{orders:,} orders on {len(self.platforms)} platforms, {', '.join(wrong) or 'none'} disagree"
        yield "platforms agree", said, self.good
        parcels = sum(each.parcels for each in self.platforms)
        bad = sum(each.untold + each.told_twice + each.strange for each in self.platforms)
        yield "parcels told once each", f"{parcels:,} parcels, {bad} untold, told twice or strange", not bad

    def said(self) -> list[str]:
        """Return examples of what does not agree, and what the platforms refused there."""
        found = []
        for each in self.platforms:
            found += each.examples
            found += [] if each.good else [f"{what} × {count}" for what, count in each.refusals.items()]
        return found + self.problems

    def document(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "good": self.good,
            "orders": sum(each.orders for each in self.platforms),
            "parcels": sum(each.parcels for each in self.platforms),
            "platforms": {
                each.channel: msgspec.to_builtins(each) | {"good": each.good, "messages": self.told[each.channel]}
                for each in self.platforms
            },
            "receipts": self.receipts,
            "receipts_missing": self.receipts_missing,
            "outcomes": self.outcomes,
            "stopped_for": self.stopped_for,
            "problems": self.problems,
            "trade_seconds": round(self.trade_s, 3),
            "seconds": round(self.seconds, 3),
            "stopped": self.stopped,
        }


async def trade(
    settings: "Settings",
    *,
    orders: int,
    seed: int | str,
    speed: float,
    wanted: Sequence[str],
    keep: bool,
    stop: asyncio.Event,
    tell: Callable[[str], None],
) -> Traded:
    """Let a day pass over the platforms of a running cell, and compare all of them with it at the end.

    Args:
        settings: of the cell.
        orders: of the day, receipts of the stores included.
        seed: the same one leads to the same purchases.
        speed: seconds of the day in one real second; 0 = as is usual for so many orders.
        wanted: channels: names of platforms, and `pos`.
        keep: see `open_shops`.
        stop: ends it early, without a comparison.
        tell: is told how it goes.

    Raises:
        NotRunning, NoAnswer, FeedBehind: the cell is not there, or does not come along.
        BadConnections: see `open_shops`.
    """
    began = time.monotonic()
    platforms = [name for name in SHARES if name in wanted]
    known = channels_of(settings)
    receipts = orders // POS_SHARE if "pos" in wanted and "pos" in known else 0
    if not platforms:
        receipts = orders
    name = f"{PREFIX}{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    day_s = 86_400 / speed if speed else max(DAY_S_MIN, orders / RATE)
    pull_every_s = min(max(PULL_EVERY_S[0], round(day_s / 10)), PULL_EVERY_S[1])
    async with AsyncExitStack() as stack:
        postman = await stack.enter_async_context(Postman(settings))
        vault = stack.enter_context(closing(open_vault(settings)))
        log = stack.enter_context(closing(open_log(settings, read_only=True)))
        spool = open_spool(settings, vault)
        shops = await stack.enter_async_context(
            open_shops(settings.path, platforms, name, pull_every_s=pull_every_s, keep=keep)
        )
        tell(f"{len(shops)} platforms are served, and connected as {name}-…; the day takes {day_s:.0f} s")
        courier = Courier(postman, known, spool, RealClock())
        stack.push_async_callback(courier.cancel)
        feed = await open_feed(postman.connection, settings.cell, open_log(settings, read_only=True))
        stack.push_async_callback(feed.close)
        teller = await stack.enter_async_context(Teller(seed, shops, lambda: gateway_url(settings)))
        buyers = Buyers(seed, orders - receipts, shops, day_s)
        staff = Staff(name, buyers.lives, courier, feed)
        day = _Day(settings, shops, buyers, staff, teller, stop, tell, pull_every_s)
        await staff.open(buyers.demand)
        tills = Courier(postman, known, spool, RealClock())
        tills.sent, tills.tally = courier.sent, courier.tally
        stack.push_async_callback(tills.cancel)
        world = World(f"{seed}-{name}", receipts, first_moment(log, real=True, speed=0), ("pos",))
        tasks = [
            asyncio.create_task(buyers.live(stop), name="buyers"),
            asyncio.create_task(staff.work(), name="staff"),
            asyncio.create_task(_trouble(draw(seed, "trouble"), shops, teller, day_s), name="trouble"),
        ]
        stack.push_async_callback(end_tasks, tasks)
        if receipts:
            of_tills = await open_feed(postman.connection, settings.cell, open_log(settings, read_only=True))
            stack.push_async_callback(of_tills.close)
            tasks.append(asyncio.create_task(_till(world, tills, of_tills, stop), name="tills"))
        compared = await day.see_through(tasks)
        trade_s = time.monotonic() - began
        missing = 0
        if receipts and not stop.is_set():
            keys = {key_of(life.deal) for life in world.lives.values()}
            missing = await asyncio.to_thread(_missing, settings, keys)
        return Traded(
            platforms=compared,
            told={channel: dict(sorted(counts.items())) for channel, counts in teller.counts.items()},
            outcomes=dict(sorted(courier.tally.outcomes.items())),
            receipts=receipts,
            receipts_missing=missing,
            stopped_for=dict(staff.stopped.most_common()),
            problems=day.problems,
            seconds=time.monotonic() - began,
            trade_s=trade_s,
            stopped=stop.is_set(),
            sent=courier.sent,
        )


class _Day:
    """Sees a day through to its end: until everybody has come to rest and all agree, or nothing moves any more."""

    def __init__(
        self,
        settings: "Settings",
        shops: Mapping[str, OpenShop],
        buyers: Buyers,
        staff: Staff,
        teller: Teller,
        stop: asyncio.Event,
        tell: Callable[[str], None],
        pull_every_s: int,
    ) -> None:
        self.problems: list[str] = []
        self._settings = settings
        self._shops = shops
        self._buyers = buyers
        self._staff = staff
        self._teller = teller
        self._stop = stop
        self._tell = tell
        self._pull_every_s = pull_every_s

    async def see_through(self, tasks: list[asyncio.Task[None]]) -> list[Compared]:
        """Wait for the end and return the last comparison.

        Raises:
            What ended one of `tasks`.
        """
        restocked = False
        seen: object = None
        moved = told = time.monotonic()
        agreed_at = 0.0
        last = ""
        compared: list[Compared] = []
        while not self._stop.is_set():
            for task in tasks:
                if task.done():
                    task.result()
            if not restocked and self._placed():
                restocked = True
                await self._staff.restock(self._buyers.demand)
            compared = compare(
                self._shops, await asyncio.to_thread(records_of, self._settings, self._shops), self._staff.parcels
            )
            waits = (self._teller.waiting, *await asyncio.to_thread(pending, self._settings, self._shops))
            resting = restocked and self._buyers.resting and self._staff.idle and _ended(tasks, "tills")
            if resting and not any(waits) and all(each.good for each in compared):
                # What is pulled once more must change nothing.
                agreed_at = agreed_at or time.monotonic()
                if time.monotonic() - agreed_at > self._pull_every_s + 2 * LOOK_S:
                    return compared
            else:
                agreed_at = 0.0
            now = (
                waits,
                self._buyers.placed,
                len(self._staff.parcels),
                [msgspec.to_builtins(each) for each in compared],
            )
            if now != seen or not resting:
                seen, moved = now, time.monotonic()
            if time.monotonic() - moved > PATIENCE_S:
                self.problems.append(
                    f"nothing has moved for {PATIENCE_S:g} s, and {sum(waits)} things are still on their way"
                )
                self.problems += troubles(self._settings, self._shops)
                return compared
            if time.monotonic() - told > 2.0:  # noqa: PLR2004
                told = time.monotonic()
                here = sum(each.orders - each.missing for each in compared)
                said = (
                    f"  {self._buyers.placed:,} orders placed, {here:,} known here, "
                    f"{len(self._staff.parcels):,} parcels left; on their way: {waits[0]:,} messages, "
                    f"{waits[1]:,} fetches, {waits[2]:,} ship notices"
                )
                if said != last:
                    self._tell(said)
                last = said
            await asyncio.sleep(LOOK_S)
        return compared

    def _placed(self) -> bool:
        """Whether all orders are placed."""
        return self._buyers.placed == self._buyers.orders


async def _till(world: World, courier: Courier, feed: Any, stop: asyncio.Event) -> None:
    """Take the stores' receipts in, file by file, as ever."""
    await drive(world, courier, feed, ticks=False, stop=stop)


async def _trouble(chance: random.Random, shops: Mapping[str, OpenShop], teller: Teller, day_s: float) -> None:
    """Let things go wrong at the platforms and on the way, and tokens end before their time."""
    plan: list[tuple[float, Callable[[], object]]] = []
    for channel, shop in shops.items():
        fail = shop.sim.fail_next
        plan += [(chance.uniform(0.1, 0.9), partial(fail, 1, chance.choice(TROUBLE))) for _ in range(TROUBLES_EACH)]
        # The notice takes effect, and the answer is lost.
        plan.append((chance.uniform(0.3, 0.7), partial(fail, 1, "cut_after", NOTICES[channel])))
        if channel in REFRESHING:
            plan.append((chance.uniform(0.3, 0.7), shop.sim.expire_tokens))
    plan.append((chance.uniform(0.4, 0.6), teller.cut_sockets))
    began = time.monotonic()
    for at, act in sorted(plan, key=lambda one: one[0]):
        await asyncio.sleep(max(0.0, began + at * day_s - time.monotonic()))
        act()


def _missing(settings: "Settings", keys: set[str]) -> int:
    """Return how many of these orders no stream of the log holds."""
    with closing(open_log(settings, read_only=True)) as log:
        return len(keys) - len(log.select_many(keys))


def _ended(tasks: Sequence[asyncio.Task[None]], name: str) -> bool:
    return all(task.done() for task in tasks if task.get_name() == name)
