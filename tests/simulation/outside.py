"""The world outside behind its ports: a warehouse's own system and sales channels that are slow, deaf, or dead.

The effects' runner drives them: its own code, on an event loop that goes step by step, with notes in memory. What it
reports, and what the warehouse confirms, comes back as mail.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch
from weakref import WeakValueDictionary

import msgspec

from domain.catalogue import decode_event
from domain.delivery import ConfirmDelivery, Packed
from domain.envelope import By
from domain.ids import order_key, parts_of
from domain.mail import Mail, Reply, encode_mail
from domain.order import Order, OrderShipped, PartiallyShipped, PickListIssued
from domain.platforms import OutcomeUnknown, PlatformBusy, PlatformRefused, ShipNotice
from domain.wms import DeliveryOrder, Receiver, WmsStock, base_of, code_of
from runners import effects
from runners.effects_kinds import Kinds
from runners.effects_ship import ShipNotices
from runners.effects_store import _BY_STREAM, _GIVEN_UP, _RESTING, _TABLES, Job, Jobs
from runners.effects_wms import Warehouses, WmsCancels, WmsCreates
from runners.post import NoAnswer
from runners.pulling_mail import Sent
from tests.fakes import Faults, SkewedClock
from tests.simulation.letters import Letter, letter
from tests.simulation.musts import must
from tests.simulation.rules_watch import held_back

if TYPE_CHECKING:
    from tests.simulation.world import World

OUTSIDE_RATES = {
    **{
        f"{port}.{fault}": rate
        for port in ("wms", "channel")
        for fault, rate in (
            ("dies", 0.05),
            ("is_slow", 0.3),
            ("loses_question", 0.06),
            ("loses_answer", 0.1),
            ("is_told_twice", 0.05),
            ("refuses", 0.04),
        )
    },
    "channel.is_told_late": 0.1,
    "wms.confirms_twice": 0.2,
    "wms.packs_other_goods": 0.2,
    "wms.confirms_in_parts": 0.5,
    "wms.names_no_parcel": 0.15,
    "effects.crash": 0.02,
    "effects.lose_notes": 0.004,
    "effects.hear_no_answer": 0.05,
    "effects.clock_jumps": 0.01,
}
"""Chance of each misfortune outside, each time it could happen."""
SERVED = ("BC", "BC", "ABC")
"""Warehouses of ours that somebody else runs, in one run or another."""
_LEFT = frozenset({"order.shipped", "order.partially_shipped"})
TOLD = frozenset({"taobao", "douyin", "generic"})
"""Channels that are told of parcels."""
PATIENCE = 150
"""Steps of the loop that a report waits for its commit."""


class Port:
    """The way to somebody outside, with everything that may befall a question on it."""

    def __init__(self, name: str, chance: Random, faults: Faults, late: list[Callable[[], object]]) -> None:
        self._name = name
        self._chance = chance
        self._faults = faults
        self._late = late
        self.dead = 0
        """For how many questions more nobody is there."""

    async def ask(self, act: Callable[[], Any], *, may_come_late: bool = False) -> Any:
        """Have something done there.

        Raises:
            PlatformError: as the ports say.
        """
        name, faults = self._name, self._faults
        if faults.fires(f"{name}.dies"):
            self.dead = self._chance.randrange(2, 20)
        await self._pass()
        if faults.quiet:
            self.dead = 0
        if self.dead:
            self.dead -= 1
            raise PlatformBusy("nobody is there")
        if faults.fires(f"{name}.refuses"):
            raise PlatformRefused("it will not", "ask there")
        if faults.fires(f"{name}.loses_question"):
            raise OutcomeUnknown("no answer")
        if may_come_late and faults.fires(f"{name}.is_told_late"):
            self._late.append(act)
            raise OutcomeUnknown("no answer in time")
        answer = act()
        if faults.fires(f"{name}.is_told_twice"):
            act()
        await self._pass()
        if faults.fires(f"{name}.loses_answer"):
            raise OutcomeUnknown("the answer was lost")
        return answer

    async def _pass(self) -> None:
        for _ in range(self._chance.randrange(1, 40) if self._faults.fires(f"{self._name}.is_slow") else 0):
            await asyncio.sleep(0)


class SimWms:
    """A warehouse's own system. Implements `domain.wms.Wms`."""

    def __init__(self, port: Port, world: "World") -> None:
        self._port = port
        self._world = world
        self.taken: dict[str, DeliveryOrder] = {}
        """By code: what it ever took."""
        self.off: set[str] = set()
        self.packed: set[str] = set()

    @property
    def active(self) -> list[str]:
        """Return the codes of what is still to be picked."""
        return [code for code in self.taken if code not in self.off and code not in self.packed]

    async def create(self, order: DeliveryOrder) -> str:
        def take() -> str:
            if order.code not in self.taken:
                rivals = [code for code in self.taken if code not in self.off and base_of(code) == base_of(order.code)]
                must(not rivals, "a pick list is picked twice", order.code, rivals)
                self.taken[order.code] = order
                self._world.trace.note("wms took", order.code)
            return f"W-{order.code}"

        return str(await self._port.ask(take))

    async def knows(self, code: str, warehouse: str) -> bool:
        del warehouse
        return bool(await self._port.ask(lambda: code in self.taken and code not in self.off))

    async def cancel(self, code: str, warehouse: str) -> str:
        del warehouse

        def call_off() -> str:
            if code in self.packed:
                raise PlatformRefused("it is packed", "have it stopped", code="picked")
            if code in self.taken:
                self.off.add(code)
                self._world.trace.note("wms called off", code)
            return "cancelled"

        return str(await self._port.ask(call_off))

    async def stock(self, warehouse: str, skus: Sequence[str]) -> list[WmsStock]:
        raise NotImplementedError("no effect asks for it: stock is compared by a runner that no simulated run has")

    def work(self, chance: Random, faults: Faults, number: int, now_ms: int) -> list[Letter]:
        """Pack one of the delivery orders, and say so: not always once, nor what was asked for."""
        active = self.active
        if not active:
            return []
        code = chance.choice(active)
        self.packed.add(code)
        order = self.taken[code]
        stream = order_key(order.channel, order.shop, order.order_no)
        pick_list, allocation = self._named(stream, code)
        packed = tuple((line.sku, line.quantity) for line in order.lines)
        if faults.fires("wms.packs_other_goods"):
            packed = packed[1:] if len(packed) > 1 else ((packed[0][0], packed[0][1] + 1),)
        tracking = "" if faults.fires("wms.names_no_parcel") else f"WT{number}"
        parts = [(packed, True)]
        if len(packed) > 1 and faults.fires("wms.confirms_in_parts"):
            parts = [(packed[:1], False), (packed[1:], True)]
        found = [
            ConfirmDelivery(
                f"wms-{number}-{part}",
                pick_list,
                allocation,
                (Packed("SF", tracking and f"{tracking}-{part}", lines),),
                lines,
                final,
                f"W-{code}",
            )
            for part, (lines, final) in enumerate(parts)
        ]
        if faults.fires("wms.confirms_twice"):
            found.append(msgspec.structs.replace(found[-1], command_id=f"wms-{number}-again"))
        by = By("system", "wms")
        return [letter(stream, each, "command", by, now_ms, silent=True) for each in found]

    def _named(self, stream: str, code: str) -> tuple[str, str]:
        for event in self._world.log.select_many([stream])[stream].events:
            fact = decode_event(event.tag, event.data) if event.tag == "order.pick_list_issued" else None
            if isinstance(fact, PickListIssued) and code_of(fact.pick_list) == base_of(code):
                return fact.pick_list, fact.allocation
        raise AssertionError(f"nobody asked for {code}")


class SimSeller:
    """A sales channel's platform. Implements `domain.platforms.Seller`."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self.told: dict[tuple[str, str], set[str]] = {}
        """(order number, parcel) → keys under which it was told."""

    async def ship(self, notice: ShipNotice) -> str:
        def take() -> str:
            keys = self.told.setdefault((notice.order_no, notice.tracking), set())
            keys.add(notice.key)
            must(len(keys) == 1, "a parcel was told twice, as if it were two", notice)
            return f"R-{notice.key[:6]}"

        return str(await self._port.ask(take, may_come_late=True))

    async def knows(self, notice: ShipNotice) -> bool:
        return bool(await self._port.ask(lambda: (notice.order_no, notice.tracking) in self.told))


# --- the runner's surroundings


class Notes(Jobs):
    """The runner's notes, in memory."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        for made in (*_TABLES, _GIVEN_UP, _RESTING, _BY_STREAM):
            self._db.execute(made)


class SimWarehouses(Warehouses):
    """The one WMS there is."""

    def __init__(self, wms: SimWms, served: str, world: "World") -> None:
        self._wms = wms
        self._served = served
        self._world = world
        self._alone = WeakValueDictionary()

    async def refresh(self) -> None: ...

    def serving(self, warehouse: str) -> str | None:
        return "wms" if warehouse in self._served else None

    def any(self) -> bool:
        return True

    def client(self, name: str) -> Any:
        del name
        return self._wms

    def story(self, stream: str) -> Any:
        return self._world.log.select_many([stream])[stream].events

    async def close(self) -> None: ...


class SimCreates(WmsCreates):
    def _receiver(self, stream: str, sealed: bytes | None) -> Receiver:
        del stream, sealed
        return Receiver()


class SimNotices(ShipNotices):
    """Ship notices, to channels that have a seller's side."""

    def __init__(self, sellers: dict[str, SimSeller]) -> None:
        super().__init__(Path(), lambda: 0)
        self._sellers = sellers

    async def refresh(self) -> None: ...

    def seller_of(self, channel: str, shop: str) -> str | None:
        del shop
        return channel if channel in self._sellers else None

    def _seller(self, job: Job) -> Any:
        return self._sellers[job.target]

    async def close(self) -> None: ...


class Inline(ThreadPoolExecutor):
    """Does at once what is handed to a thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  it is raised where the result is asked for
            future.set_exception(error)
        return future


class SimMailroom:
    """Sends reports, and waits until they are committed; not for ever."""

    def __init__(self, world: "World", faults: Faults) -> None:
        self._world = world
        self._faults = faults

    async def send(self, mails: Sequence[Mail]) -> list[Sent]:
        world = self._world
        found = [Letter(mail, "command", encode_mail(mail), silent=True) for mail in mails]
        if not world.post(found):
            raise NoAnswer("the broker is away")
        if self._faults.fires("effects.hear_no_answer"):
            raise NoAnswer("nobody answered in time")
        for _ in range(PATIENCE):
            if all(each.payload in world.watch.handled_in for each in found):
                return [Sent(mail, Reply(0, "accepted")) for mail in mails]
            await asyncio.sleep(0)
        raise NoAnswer("nobody answered in time")


class _Time(NamedTuple):
    """What the runner takes for the modules `time` and `random`."""

    clock: Callable[[], int]
    true_ms: Callable[[], int]
    chance: Random

    def time_ns(self) -> int:
        return self.clock() * 1_000_000

    def monotonic(self) -> float:
        return self.true_ms() / 1000

    def uniform(self, low: float, high: float) -> float:
        return self.chance.uniform(low, high)


class Outside:
    """Everything outside, and the process that acts there."""

    def __init__(self, world: "World", faults: Faults) -> None:
        chance = world.chance
        self._world = world
        self._faults = faults
        self._chance = chance
        self._late: list[Callable[[], object]] = []
        self._served = chance.choice(SERVED)
        self.wms = SimWms(Port("wms", chance, faults, self._late), world)
        self.sellers = {name: SimSeller(Port("channel", chance, faults, self._late)) for name in sorted(TOLD)}
        self.notes = Notes()
        self._clock = SkewedClock()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(Inline())
        self._runner: effects.Effects | None = None
        self._number = 0

    def close(self) -> None:
        """Release the loop, and what is under way on it."""
        self._die()
        self._loop.close()
        self.notes.close()

    def step(self) -> None:
        """Let something happen outside."""
        chance, faults = self._chance, self._faults
        self._number += 1
        if self._late and chance.random() < 0.3:
            self._late.pop(0)()
        if faults.fires("effects.clock_jumps"):
            self._clock.offset_ms = chance.randrange(-600_000, 600_001)
        if chance.random() < 0.4:
            self._world.post(self.wms.work(chance, faults, self._number, self._world.now_ms))
        if self._runner is not None and faults.fires("effects.crash"):
            self._die()
        if faults.fires("effects.lose_notes"):
            self._die()
            self.notes.close()
            self.notes = Notes()
        self._go(self._run(chance.choice((1, 5, 20))))

    def finish(self) -> bool:
        """Go on with the runner alone; return whether anything is left for it to do."""
        for late in self._late:
            late()
        self._late.clear()
        self._go(self._run(PATIENCE + 20))
        return any(not self._waits_at_home(job) for job in self.notes.waiting())

    def _waits_at_home(self, job: Job) -> bool:
        return job.reason != "" and ("is held" in job.reason or "has not confirmed" in job.reason)

    def _go(self, coroutine: Coroutine[Any, Any, None]) -> None:
        world = self._world
        now = _Time(lambda: self._clock.read(world.now_ms), lambda: world.now_ms, self._chance)
        with patch.object(effects, "time", now), patch.object(effects, "random", now):
            self._loop.run_until_complete(coroutine)

    async def _run(self, steps: int) -> None:
        if self._runner is None:
            warehouses = SimWarehouses(self.wms, self._served, self._world)
            kinds = Kinds(Path(), (SimNotices(self.sellers), SimCreates(warehouses), WmsCancels(warehouses)))
            mailroom: Any = SimMailroom(self._world, self._faults)
            self._runner = effects.Effects(self._world.log, self.notes, kinds, mailroom)
        runner = self._runner
        await runner.refresh()
        while runner.follow():
            pass
        runner.start_due()
        for _ in range(steps):
            await asyncio.sleep(0)

    def _die(self) -> None:
        """End the process; what was under way is left as it is."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        tasks = [task for _, task in runner._running.values()]
        for task in tasks:
            task.cancel()

        async def ended() -> None:
            await asyncio.gather(*tasks, return_exceptions=True)

        self._go(ended())

    # --- the end

    def settled(self) -> None:
        """Check that what the outside has is what the log wants it to have, as far as it would take it."""
        busy = {job.stream for job in self.notes.waiting()}
        wanted: dict[str, dict[str, int]] = {}
        for key, held in sorted(self._world.watch.states.items()):
            state = held.state
            if not isinstance(state, Order) or key in busy or _given_up(state, "wms_create", "wms_cancel"):
                busy.add(key)
                continue
            for each in state.allocations:
                if each.listed and each.warehouse in self._served:
                    wanted[code_of(f"pick-{each.id}")] = dict(each.lines)
        had: dict[str, dict[str, int]] = {}
        for code, order in self.wms.taken.items():
            stream = order_key(order.channel, order.shop, order.order_no)
            if code in self.wms.off or stream in busy:
                continue
            lines = {line.sku: line.quantity for line in order.lines}
            if code not in self.wms.packed:
                must(wanted.get(base_of(code)) == lines, "the warehouse picks what nobody wants", code, lines)
            had[base_of(code)] = lines
        for key, held in sorted(self._world.watch.states.items()):
            state = held.state
            if isinstance(state, Order) and key not in busy and not held_back(state):
                for each in state.allocations:
                    if each.listed and each.warehouse in self._served and not each.unprocessed and not each.picked:
                        must(code_of(f"pick-{each.id}") in had, "the warehouse was not asked for", each)
        self._parcels(busy)

    def _parcels(self, busy: set[str]) -> None:
        """Check that each parcel that we sent was told to its channel, and no other one."""
        sent: set[tuple[str, str]] = set()
        for event in self._world.log._events:
            fact = decode_event(event.tag, event.data) if event.tag in _LEFT else None
            if not isinstance(fact, OrderShipped | PartiallyShipped) or not fact.command:
                continue
            channel, _, order_no = parts_of(event.stream)
            state = self._world.watch.states[event.stream].state
            for parcel in fact.parcels:
                sent.add((order_no, parcel.tracking))
                # The channel has no line for a gift of ours: a parcel with nothing else is not its business.
                goods = any(not line.startswith("gift:") for line in parcel.lines)
                if channel in TOLD and goods and parcel.tracking and not _given_up(state, "ship_notice"):
                    there = (order_no, parcel.tracking) in self.sellers[channel].told
                    must(there or event.stream in busy, "a channel was not told of a parcel", event.stream, parcel)
        for seller in self.sellers.values():
            must(seller.told.keys() <= sent, "a channel was told of a parcel that nobody sent", seller.told)


def _given_up(state: Order, *acts: str) -> bool:
    """Whether one of these acts failed for good: then people see to it."""
    return any(effect in acts and not done and final for effect, _, (done, _, final) in state.effects)
