"""A day of trade with a known number of faults in it, and the people who put them right.

Times are wire times: a pressed day lies in the minutes in which it happens. The day knows which order got which fault;
whether the cell saw it is for `fault_account` to say.
"""

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from domain.approvals import Approve
from domain.ids import order_key, skus_key, warehouse_key
from domain.mail import Body
from domain.order import DiscardQuarantined, ResolveInterception, ScanOut
from domain.payments import RecordPayment
from domain.skus import SetSkus
from domain.stock import ExpectStock, ReceiveStock
from domain.time_units import DAY_MS, MINUTE_MS, SECOND_MS
from runners.simulating.fault_kinds import PROMISED_MS
from runners.simulating.feed import Happened
from runners.simulating.people import WARES, WEIGHTS, buyer, draw
from runners.simulating.world import HOURS, Act, Actor, Handed

CHANNEL: Final = "generic"
CARRIERS: Final = ("SF", "YTO", "ZTO", "YUNDA")
TARGETS: Final = ("dead", "slow", "refusing")
"""Shops of a day that are hard to tell anything; all other orders are of one that listens."""
STOPS_MAX: Final = 5
"""After so many stops nobody does anything for an order any more."""
_LIVE_SHARE: Final = 0.08
_LARGE_FEN: Final = 500_000
_FLAWS: Final[Sequence[Mapping[str, str]]] = (
    {"name": ""},
    {"phone": ""},
    {"phone": "110"},
    {"detail": "", "town": ""},
)
_WAITS_FOR_STOP: Final = frozenset({"changed_address", "overdue_promise"})
"""Faults of orders that are held back at the shelf until they are stopped."""


class Life(msgspec.Struct):
    """An order on its way."""

    number: str
    shop: str
    fault: str
    """Kind of its fault; "" = none."""
    chance: random.Random
    view: dict[str, Any]
    """The order as its shop sees it, by the generic contract."""
    variant: int = 0
    """Of its kind of fault, running number: which flaw, which decision."""
    lists: dict[str, str] = {}
    """Allocation → pick list that has not left."""
    stops: int = 0
    tries: int = 0
    over: bool = False

    @property
    def key(self) -> str:
        """Key of the order in the cell."""
        return order_key(CHANNEL, self.shop, self.number)


class FaultDay:
    """The trade of one day with faults, from a seed."""

    def __init__(
        self, seed: int | str, run: str, orders: int, shares: Mapping[str, float], begin_ms: int, day_ms: int = DAY_MS
    ) -> None:
        """Draw it.

        Args:
            seed: the same one leads to the same faults.
            run: begins numbers and names, another one each time.
            orders: how many.
            shares: kind of fault → part of the orders; of each kind there is at least one order.
            begin_ms: when it begins, UTC ms.
            day_ms: how long a day takes.
        """
        self.run = run
        self.begin_ms = begin_ms
        self.end_ms = begin_ms + 10 * DAY_MS
        """Everything happens within days of hours."""
        self.lives: dict[str, Life] = {}
        self._minute = day_ms / (24 * 60)
        self._late = max(round(70 * self._minute), 5 * SECOND_MS)
        """How late is late: in a pressed day as well long enough to be stopped."""
        self._heap: list[tuple[int, int, Callable[[int], None]]] = []
        self._out: list[Handed | Act] = []
        self._count = 0
        rng = draw(seed, "faults")
        wanted = {kind: max(1, round(orders * share)) for kind, share in shares.items()}
        faults = [kind for kind, count in wanted.items() for _ in range(count)]
        faults = faults[:orders] + [""] * (orders - len(faults))
        rng.shuffle(faults)
        demand: dict[str, int] = {"SIM-GLOVES": 2 * orders}
        variants: dict[str, int] = {}
        moments = sorted(self._moment(rng) for _ in range(orders))
        for place, (minute, fault) in enumerate(zip(moments, faults, strict=True)):
            variants[fault] = variants.get(fault, -1) + 1
            self._begin(draw(seed, "order", place), place, fault, variants[fault], minute, demand)
        self._stock(demand)

    # --- time; see `world.World`

    @property
    def next_ms(self) -> int | None:
        """When something will happen next; None = nothing is known to."""
        return self._heap[0][0] if self._heap else None

    def until(self, end_ms: int) -> list[Handed | Act]:
        """Let time pass and return what reaches the cell before `end_ms`, in order."""
        while self._heap and self._heap[0][0] < end_ms:
            at_ms, _, step = heapq.heappop(self._heap)
            step(at_ms)
        out, self._out = self._out, []
        return out

    @property
    def waiting(self) -> list[Life]:
        """Orders that have not come to rest."""
        return [life for life in self.lives.values() if not life.over]

    def answer(self, happened: Sequence[Happened], now_ms: int) -> None:
        """Take note of what the cell did, and have people act on it after `now_ms`."""
        for event in happened:
            life = self.lives.get(event.stream)
            if life is None:
                continue
            match event.tag:
                case "order.pick_list_issued":
                    allocation = str(event.data["allocation"])
                    life.lists[allocation] = str(event.data["pick_list"])
                    self._picking(life, allocation, now_ms)
                case "order.released":
                    life.lists.pop(str(event.data["allocation"]), None)
                case "order.intercepted":
                    self._stopped(life, str(event.data["interception"]), str(event.data["reason"]), now_ms)
                case "order.approval_requested":
                    self._asked(life, str(event.data["approval"]), int(event.data["attempt"]), now_ms)
                case "order.quarantined":
                    self._set_aside(life, str(event.data["item"]), now_ms)
                case "order.shipped":
                    life.lists.clear()
                    if life.fault != "refusing_target" or life.stops:
                        self._delivered(life, now_ms)
                case "order.cancelled":
                    life.over = True

    def _in(self, now_ms: int, minutes: float, step: Callable[[int], None]) -> None:
        self._at(now_ms + round(minutes * self._minute), step)

    def _at(self, at_ms: int, step: Callable[[int], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (at_ms, self._count, step))

    def _moment(self, rng: random.Random) -> float:
        if rng.random() < _LIVE_SHARE:
            return 20 * 60 + rng.random() * 10
        return rng.choices(range(24), HOURS)[0] * 60 + rng.random() * 60

    # --- what is ordered

    def _begin(
        self, rng: random.Random, place: int, fault: str, variant: int, minute: float, demand: dict[str, int]
    ) -> None:
        who = buyer(rng)
        shop = f"{self.run}-{fault.partition('_')[0]}" if fault.endswith("_target") else self.run
        wares = list(dict.fromkeys(rng.choices(WARES, WEIGHTS, k=rng.choices((1, 2, 3), (60, 28, 12))[0])))
        lines: list[dict[str, Any]] = [
            {
                "id": f"L{at}",
                "sku": ware.sku,
                "name": ware.name,
                "quantity": rng.choices((1, 2, 3), (80, 15, 5))[0],
                "unit_price_minor": ware.price,
            }
            for at, ware in enumerate(wares, 1)
        ]
        while sum(line["unit_price_minor"] * line["quantity"] for line in lines) > _LARGE_FEN - 1_000:
            lines[0]["quantity"] = 1
            del lines[1:]
        view: dict[str, Any] = {
            "shop": shop,
            "order_no": f"{self.run[4:]}-{place:05d}",
            "status": "awaiting_payment",
            "currency": "CNY",
            "customer_id": f"C-{self.run}-{place}",
            "receiver": {
                "name": who.name,
                "phone": who.phone,
                "province": who.province,
                "city": who.city,
                "district": who.district,
                "detail": who.address,
            },
            "lines": lines,
            "freight_minor": 600,
            "revision": 0,
            "attributes": {},
        }
        life = Life(view["order_no"], shop, fault, rng, view, variant)
        self.lives[life.key] = life
        self._flaw(life, place)
        view["payable_minor"] = 600 + sum(line["unit_price_minor"] * line["quantity"] for line in view["lines"])
        if fault == "wrong_sum":
            view["payable_minor"] += 1_000
        for line in view["lines"]:
            sku = line.get("sku", "")
            if sku and not sku.startswith("RARE-") and fault != "late_presale":
                orders = 2 if fault == "placed_twice" else 1
                demand[sku] = demand.get(sku, 0) + orders * line["quantity"]
        self._at(self.begin_ms + round(minute * self._minute), lambda at_ms: self._born(life, at_ms))

    def _flaw(self, life: Life, place: int) -> None:
        """Put the fault into what is ordered, where it lies there."""
        view, line = life.view, life.view["lines"][0]
        match life.fault:
            case "short_stock":
                line["sku"] = f"RARE-{self.run[4:]}-{place}"
            case "short_gift":
                view["attributes"]["campaign"] = "scarf"
            case "bad_address":
                view["receiver"] |= _FLAWS[life.variant % len(_FLAWS)]
            case "unmapped_sku":
                line["item"] = f"item-{self.run[4:]}-{place}"
                del line["sku"]
            case "late_presale":
                view["kind"] = "presale"
                line["sku"] = f"RARE-{self.run[4:]}-{place}"
                del view["lines"][1:]
            case "many_units":
                view["lines"] = [line | {"quantity": 201, "unit_price_minor": 1_000}]
            case "large_amount":
                view["lines"] = [line | {"quantity": 1, "unit_price_minor": _LARGE_FEN}]

    def _stock(self, demand: Mapping[str, int]) -> None:
        """Each warehouse has what the day will want of every second SKU: some orders go out in two parcels."""
        for at, code in enumerate("AB"):
            # Gifts of presales are held in the first warehouse alone.
            skus = sorted(demand, key=lambda sku: (sku != "SIM-GLOVES", sku))
            goods = tuple((sku, demand[sku]) for place, sku in enumerate(skus) if place % 2 == at)
            document = f"{self.run}-opening-{code}"
            self._at(
                self.begin_ms - SECOND_MS,
                lambda at_ms, code=code, document=document, goods=goods: self._act(  # type: ignore[misc]
                    at_ms, warehouse_key(code), ReceiveStock(document, goods), "keeper"
                ),
            )

    # --- an order's life

    def _born(self, life: Life, at_ms: int) -> None:
        rng, view, fault = life.chance, life.view, life.fault
        view["ordered_at"] = at_ms
        term = max(60 * self._minute, 10 * SECOND_MS)
        view["pay_by"] = at_ms + round(term)
        pays_in = rng.uniform(1, 15)
        shown = rng.random() < 0.4  # noqa: PLR2004
        match fault:
            case "late_payment" | "missing_payment":
                view["pay_by"] = at_ms + round(30 * self._minute)
                self._show(life, at_ms)
                if fault == "late_payment":
                    self._at(view["pay_by"] + self._late, lambda then: self._paid(life, then))
                return
            case "wrong_payment":
                self._show(life, at_ms)
                self._in(at_ms, 2, lambda then: self._pay_less(life, then))
                return
            case "late_presale":
                self._presell(life, at_ms)
                return
            case "unknown_status":
                if life.variant % 2:
                    self._show(life, at_ms)
                self._in(at_ms, pays_in, lambda then: self._show(life, then, status="half_packed"))
                return
            case "placed_twice":
                self._twice(life, at_ms)
                return
            case "short_gift":
                shown = bool(life.variant % 2)
        if shown:
            self._show(life, at_ms)
        self._in(at_ms, pays_in, lambda then: self._paid(life, then))

    def _paid(self, life: Life, at_ms: int) -> None:
        paid_at = at_ms
        if life.fault == "overdue_promise":
            # A shop that was away tells of it shortly before it was to leave.
            paid_at = at_ms - PROMISED_MS + round(20 * self._minute)
            life.view["ordered_at"] = min(life.view["ordered_at"], paid_at - MINUTE_MS)
        self._show(life, at_ms, status="paid", paid_at=paid_at)

    def _pay_less(self, life: Life, at_ms: int) -> None:
        number = f"pay-{life.number}"
        amount = life.view["payable_minor"] - 500
        self._act(at_ms, life.key, RecordPayment(number, number, amount, "CNY", "paid", at_ms), "channel")

    def _presell(self, life: Life, at_ms: int) -> None:
        """Take a deposit for goods that are expected, and come later than that."""
        line = life.view["lines"][0]
        goods = ((line["sku"], line["quantity"]),)
        name, to = f"{self.run}-{life.number}", warehouse_key("A")
        due_ms = at_ms + round(60 * self._minute)
        self._act(at_ms, to, ExpectStock(f"{name}-expected", name, goods, due_ms), "keeper")
        self._show(life, at_ms, paid_minor=life.view["payable_minor"] // 5, pay_by=None)
        come = ReceiveStock(f"{name}-came", goods, name)
        self._at(due_ms + self._late, lambda then: self._act(then, to, come, "keeper"))
        self._in(
            due_ms + self._late, 20, lambda then: self._show(life, then, status="paid", paid_at=then, paid_minor=None)
        )

    def _twice(self, life: Life, at_ms: int) -> None:
        """Have the buyer order the same goods first: nothing is wrong with that one."""
        first = Life(f"{life.number}-1", life.shop, "", life.chance, msgspec.convert(life.view, dict[str, Any]))
        first.view["order_no"] = first.number
        self.lives[first.key] = first
        self._show(first, at_ms)
        self._in(at_ms, 2, lambda then: self._paid(first, then))
        life.view["ordered_at"] = at_ms + round(5 * self._minute)
        self._in(at_ms, 5, lambda then: self._show(life, then))
        self._in(at_ms, 8, lambda then: self._paid(life, then))

    def _delivered(self, life: Life, now_ms: int) -> None:
        """Let the shop see the parcel leave, and the customer sign for it."""
        self._in(now_ms, 10, lambda then: self._show(life, then, status="shipped", shipped_at=then))
        self._in(now_ms, life.chance.uniform(60, 180), lambda then: self._completed(life, then))

    def _completed(self, life: Life, at_ms: int) -> None:
        self._show(life, at_ms, status="completed", completed_at=at_ms)
        life.over = True

    def _show(self, life: Life, at_ms: int, **changes: Any) -> None:
        """Let the shop tell of the order as it is now: one time in ten twice."""
        life.view.update(changes)
        life.view["revision"] += 1
        life.view["modified_at"] = max(at_ms, life.view["ordered_at"])
        raw = msgspec.json.encode({name: value for name, value in life.view.items() if value is not None})
        handed = Handed(at_ms, CHANNEL, life.shop, raw, "json")
        self._out.append(handed)
        if life.chance.random() < 0.1:  # noqa: PLR2004
            self._in(at_ms, 3, lambda then: self._out.append(handed._replace(at_ms=then)))

    # --- people

    def _act(self, at_ms: int, to: str, command: Body, who: Actor) -> None:
        self._out.append(Act(at_ms, to, command, who))

    def _picking(self, life: Life, allocation: str, now_ms: int) -> None:
        """Send somebody to the shelf."""
        if life.fault in _WAITS_FOR_STOP and not life.stops:
            if life.fault == "changed_address":
                self._in(now_ms, 5, lambda then: self._scan(life, then, leaves=False))
                self._in(now_ms, 10, lambda then: self._move_house(life, then))
            return
        self._in(now_ms, life.chance.uniform(5, 30), lambda then: self._scan(life, then, (allocation,)))

    def _move_house(self, life: Life, at_ms: int) -> None:
        life.view["receiver"] = life.view["receiver"] | {"detail": "另一条路 7 号"}
        self._show(life, at_ms)

    def _scan(self, life: Life, at_ms: int, only: Sequence[str] = (), *, leaves: bool = True) -> None:
        """Scan all out that is to be picked; an order that is stopped is tried as well, and must be refused."""
        for allocation in only or list(life.lists) or [""]:
            life.tries += 1
            number, carrier = f"scan-{life.number}-{life.tries}", CARRIERS[life.tries % len(CARRIERS)]
            tracking = f"{carrier}{life.chance.randrange(10**12):012d}" if leaves else ""
            self._act(at_ms, life.key, ScanOut(number, tracking, carrier if leaves else "", allocation), "keeper")

    def _stopped(self, life: Life, name: str, reason: str, now_ms: int) -> None:
        """Have a hasty keeper try it all the same, and then the one who is asked decide."""
        life.stops += 1
        if life.stops > STOPS_MAX:
            return
        if reason != "effect_failed":
            self._in(now_ms, 1, lambda then: self._scan(life, then))
        answers: dict[str, Callable[[int], None]] = {
            "stock_short": lambda at_ms: self._restock(life, name, at_ms),
            "gift_short": lambda at_ms: self._decide(life, name, "waive", at_ms),
            "suspected_duplicate": lambda at_ms: self._decide(life, name, _either(life, "cancel", "release"), at_ms),
            "unmapped_sku": lambda at_ms: self._map(life, at_ms),
            "address_anomaly": lambda at_ms: self._correct(life, name, at_ms),
            "payment_timeout": lambda at_ms: self._give_up(life, name, at_ms),
            "presale_overdue": lambda _: None,
        }
        usual: Callable[[int], None] = lambda at_ms: self._decide(life, name, "release", at_ms)  # noqa: E731
        self._in(now_ms, life.chance.uniform(10, 40), answers.get(reason, usual))

    def _decide(self, life: Life, name: str, decision: Any, at_ms: int) -> None:
        who: Mapping[str, Actor] = {"wrong_payment": "finance", "wrong_sum": "finance", "bad_address": "service"}
        resolve = ResolveInterception(f"resolve-{name}", name, decision, "decided in a simulation")
        self._act(at_ms, life.key, resolve, who.get(life.fault, "operations"))
        if life.fault == "wrong_payment":
            self._in(at_ms, 3, lambda then: self._paid(life, then))
        if life.fault == "refusing_target":
            self._delivered(life, at_ms)
        elif life.lists:
            self._in(at_ms, 5, lambda then: self._scan(life, then))

    def _restock(self, life: Life, name: str, at_ms: int) -> None:
        """Two of three wait for goods; the others are given up."""
        if life.variant % 3 == 2:  # noqa: PLR2004
            self._decide(life, name, "cancel", at_ms)
            return
        line = life.view["lines"][0]
        come = ReceiveStock(f"{life.shop}-{life.number}-came", ((line["sku"], line["quantity"]),))
        self._act(at_ms, warehouse_key("A"), come, "keeper")
        self._decide(life, name, "release", at_ms)

    def _map(self, life: Life, at_ms: int) -> None:
        pair = (life.view["lines"][0]["item"], WARES[0].sku)
        more = ReceiveStock(f"{life.shop}-{life.number}-came", ((WARES[0].sku, life.view["lines"][0]["quantity"]),))
        self._act(at_ms, warehouse_key("A"), more, "keeper")
        entered = SetSkus(f"sku-{life.number}", (pair,), "simulated")
        self._act(at_ms, skus_key(CHANNEL, life.shop), entered, "operations")

    def _correct(self, life: Life, name: str, at_ms: int) -> None:
        """Every second customer corrects the address himself; to the others it is sent as it is."""
        if life.variant // len(_FLAWS) % 2:
            self._decide(life, name, "release", at_ms)
            return
        life.view["receiver"] |= {"name": "王伟", "phone": "13800000000", "detail": "文三路 1 号"}
        self._show(life, at_ms)

    def _give_up(self, life: Life, name: str, at_ms: int) -> None:
        if life.fault == "missing_payment":
            self._decide(life, name, "cancel", at_ms)

    def _asked(self, life: Life, approval: str, attempt: int, now_ms: int) -> None:
        life.stops += 1
        number = f"approve-{life.number}-{attempt}"
        self._in(now_ms, 1, lambda then: self._scan(life, then))
        self._in(
            now_ms,
            life.chance.uniform(10, 40),
            lambda then: self._act(then, life.key, Approve(number, approval=approval, attempt=attempt), "finance"),
        )

    def _set_aside(self, life: Life, item: str, now_ms: int) -> None:
        """Have operations give the message up, and the shop tell of the order in words that we know."""
        life.stops += 1
        discard = DiscardQuarantined(f"discard-{life.number}-{life.stops}", item, "the shop has corrected it")
        self._in(now_ms, 20, lambda then: self._act(then, life.key, discard, "operations"))
        if life.stops == 1:
            self._in(now_ms, 25, lambda then: self._paid(life, then))


def _either(life: Life, one: str, other: str) -> str:
    return other if life.variant % 2 else one
