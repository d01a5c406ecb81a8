"""A day of trade from a seed: who orders what and when, and what happens to each order until it comes to rest.

The world knows only its own time. It answers what the cell did (pick lists, shortages) with what people and channels
would do next; each order draws from a source of chance of its own, so that the same seed leads to the same payloads
whatever the machine's speed is.
"""

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from domain.ids import order_key, warehouse_key
from domain.mail import Body
from domain.order import CancelLines, DiscardQuarantined, ResolveInterception, ScanOut, Ship
from domain.stock import ReceiveStock
from domain.time_units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from runners.simulating import broken, wire_douyin, wire_pos, wire_taobao
from runners.simulating.feed import Happened
from runners.simulating.neutral import Deal, Item, Return
from runners.simulating.people import WARES, WEIGHTS, buyer, draw
from runners.simulating.wire_time import day

CHANNELS: Final = ("taobao", "douyin", "pos")
SHOPS: Final = {"taobao": "五金旗舰店", "douyin": "7784061", "pos": "S01"}
STORES: Final = ("S01", "S02")
HOURS: Final = (2, 1, 1, 1, 1, 1, 2, 3, 5, 6, 7, 7, 6, 6, 6, 6, 6, 6, 8, 12, 18, 17, 12, 6)
"""Share of each hour of the day: people buy in the evening."""
_CARRIERS: Final = ("SF", "YTO", "ZTO", "YUNDA")
_PAY_TERM_MS: Final = {"taobao": DAY_MS, "douyin": 30 * MINUTE_MS}
OPENING_SHARE: Final = 0.72
"""Opening stock as a share of what the day will want; two receipts of goods bring more, and then nearly all."""
_RECEIPTS: Final = ((14 * HOUR_MS, 0.18), (21 * HOUR_MS + HOUR_MS // 2, 0.16))

Actor = Literal["channel", "keeper", "service", "operations", "finance"]


class Handed(NamedTuple):
    """What a channel hands in: bytes as they came over the wire."""

    at_ms: int
    channel: str
    """"" = nobody says whose it is."""
    shop: str
    raw: bytes
    form: Literal["json", "table", ""]


class Act(NamedTuple):
    """What a person does."""

    at_ms: int
    to: str
    command: Body
    who: Actor


class _View(NamedTuple):
    """A channel will show this moment of an order."""

    deal: Deal
    step: str
    """What follows in the order's life once it is shown."""


class _Life(msgspec.Struct):
    """An order on its way."""

    deal: Deal
    rng: random.Random
    fate: str
    shown: bytes = b""
    before: bytes = b""
    pick_list: str = ""
    over: bool = False
    """Cancelled, shipped or given back: nothing is to be picked."""
    scanned: bool = False
    discards: int = 0


class World:
    """The simulated trade of one day and its aftermath."""

    def __init__(
        self,
        seed: int | str,
        orders: int,
        begin_ms: int,
        channels: Sequence[str] = CHANNELS,
        lay: Callable[[int], int] = lambda at_ms: at_ms,
    ) -> None:
        """Draw the day that begins at `begin_ms` (UTC ms).

        Args:
            seed: the same one leads to the same day.
            orders: how many.
            begin_ms: midnight before it.
            channels: which of `CHANNELS` trade.
            lay: where a time of the world lies on the wire (a day that is pressed into minutes).
        """
        self._lay = lay
        self.begin_ms = begin_ms
        self.end_ms = begin_ms + DAY_MS
        self.orders = orders
        self._seed = seed
        self.lives: dict[str, _Life] = {}
        self._heap: list[tuple[int, int, Handed | Act | tuple[_Life, str]]] = []
        self._count = 0
        self._receipts_ms: list[int] = []
        demand: dict[str, int] = {}
        receipts: dict[tuple[str, str], int] = {}
        rng = draw(seed, "day")
        for number, at_ms in enumerate(sorted(self._moment(rng) for _ in range(orders))):
            own = draw(seed, "order", number)
            channel = own.choices(channels, [{"taobao": 5, "douyin": 4, "pos": 3}[name] for name in channels])[0]
            deal, fate = self._order(own, channel, number, at_ms, receipts)
            life = _Life(deal, own, fate)
            self.lives[key_of(deal)] = life
            if not deal.counter:
                for item in deal.items:
                    demand[item.sku] = demand.get(item.sku, 0) + item.quantity
            self._push(at_ms, (life, "born"))
        self._stock(demand)
        for oddity in broken.oddities(draw(seed, "broken"), orders, begin_ms, channels):
            self._push(oddity[0], Handed(*oddity))

    # --- time

    @property
    def next_ms(self) -> int | None:
        """When something will happen next; None = all has come to rest."""
        return self._heap[0][0] if self._heap else None

    def until(self, end_ms: int) -> list[Handed | Act]:
        """Let time pass and return what reaches the cell before `end_ms`, in order."""
        found: list[Handed | Act] = []
        while self._heap and self._heap[0][0] < end_ms:
            at_ms, _, what = heapq.heappop(self._heap)
            if isinstance(what, Handed):
                found.append(what)
            elif isinstance(what, Act):
                act = what._replace(at_ms=at_ms)
                if self._still_wanted(act):
                    found.append(act)
            else:
                self._step(what[0], what[1], at_ms)
        return found

    def answer(self, happened: Sequence[Happened], now_ms: int) -> None:
        """Take note of what the cell did, and have people act on it after `now_ms`."""
        for event in happened:
            life = self.lives.get(event.stream)
            if life is None:
                continue
            match event.tag:
                case "order.pick_list_issued":
                    self._pick(life, event, now_ms)
                case "order.intercepted":
                    self._resolve(event, now_ms)
                case "order.released":
                    life.pick_list = ""
                case "order.cancelled":
                    life.over = True
                case "order.shipped":
                    life.over = True
                case "order.quarantined":
                    item = str(event.data["item"])
                    life.discards += 1
                    own = f"discard-{event.stream}-{life.discards}"
                    discard = DiscardQuarantined(own, item, "the channel has corrected it")
                    self._push(now_ms + 50 * MINUTE_MS, Act(now_ms, event.stream, discard, "operations"))

    def _push(self, at_ms: int, what: "Handed | Act | tuple[_Life, str]") -> None:
        self._count += 1
        heapq.heappush(self._heap, (at_ms, self._count, what))

    def _moment(self, rng: random.Random) -> int:
        if rng.random() < 0.08:  # noqa: PLR2004  a live room sells in ten minutes what takes others hours
            return self.begin_ms + 20 * HOUR_MS + rng.randrange(10 * MINUTE_MS)
        return self.begin_ms + rng.choices(range(24), HOURS)[0] * HOUR_MS + rng.randrange(HOUR_MS)

    # --- what is ordered

    def _order(
        self, rng: random.Random, channel: str, number: int, at_ms: int, receipts: dict[tuple[str, str], int]
    ) -> tuple[Deal, str]:
        lines = rng.choices((1, 2, 3, 4), (60, 25, 10, 5))[0]
        wares = list(dict.fromkeys(rng.choices(WARES, WEIGHTS, k=lines)))
        items = tuple(
            Item(
                ware.sku,
                ware.name,
                rng.choices((1, 2, 3, 6), (75, 16, 6, 3))[0],
                ware.price,
                rng.choice((0, 0, 0, 500)),
            )
            for ware in wares
        )
        at_ms -= at_ms % SECOND_MS
        shop = SHOPS[channel]
        if channel == "pos":
            shop = rng.choice(STORES)
            place = receipts[shop, day(at_ms)] = receipts.get((shop, day(at_ms)), 0) + 1
            text = f"{shop}-{day(at_ms)}-{place:04d}"
        else:
            text = number_of(channel, at_ms, number % 10_000, rng.randrange(1_000_000))
        total = sum(item.total for item in items)
        deal = Deal(
            channel=channel,
            shop=shop,
            number=text,
            buyer=buyer(rng),
            items=items,
            ordered_ms=at_ms,
            modified_ms=at_ms,
            freight=0 if channel == "pos" or total > 9_900 else 600,  # noqa: PLR2004  free from 99 yuan
            discount=rng.choice((0, 0, 0, 300)) if total > 2_000 else 0,  # noqa: PLR2004
            live=channel == "douyin" and self.begin_ms + 20 * HOUR_MS <= at_ms < self.begin_ms + 21 * HOUR_MS,
            message=rng.choice(("", "", "", "周末送货", "请尽快发货")),
        )
        if channel == "pos":
            fate = rng.choices(("sold", "delivered", "returned", "voided"), (76, 14, 7, 3))[0]
            deal = _replace(deal, counter=fate != "delivered", status="paid" if fate == "delivered" else "completed")
            return deal, fate
        fates = {"plain": 60, "late": 8, "unpaid": 8, "forgotten": 2, "presale": 5, "held": 5, "cancelled": 4}
        fates |= {"called_off": 2, "returned": 6, "refused_refund": 2, "parted": 4, "regretted": 2}
        fate = rng.choices(list(fates), list(fates.values()))[0]
        if fate == "parted" and len(items) < 2:  # noqa: PLR2004
            fate = "plain"
        return deal, fate

    def _stock(self, demand: dict[str, int]) -> None:
        key = warehouse_key("A")
        name = f"GR-{day(self.begin_ms)}-{self._seed}"
        opening = tuple((sku, max(1, round(units * OPENING_SHARE))) for sku, units in sorted(demand.items()))
        if opening:
            self._push(self.begin_ms - HOUR_MS, Act(0, key, ReceiveStock(f"{name}-0", opening), "keeper"))
        for number, (after_ms, share) in enumerate(_RECEIPTS, 1):
            more = tuple((sku, units) for sku, wanted in sorted(demand.items()) if (units := round(wanted * share)))
            self._receipts_ms.append(self.begin_ms + after_ms)
            if more:
                self._push(self._receipts_ms[-1], Act(0, key, ReceiveStock(f"{name}-{number}", more), "keeper"))

    # --- an order's life, step by step

    def _step(self, life: _Life, step: str, at_ms: int) -> None:
        deal, rng = life.deal, life.rng
        match step:
            case "born":
                self._born(life, at_ms)
            case "deposit":
                self._show(life, at_ms, presale=True, deposit=deal.payable // 5)
                self._push(at_ms + rng.randrange(HOUR_MS, 9 * HOUR_MS), (life, "paid"))
            case "paid":
                self._paid(life, at_ms)
            case "lifted":
                self._show(life, at_ms, hold=False)
            case "closed":
                self._show(life, at_ms, status="cancelled", hold=False, ended_ms=at_ms)
            case "parted":
                if not life.over:
                    first = (_replace_item(deal.items[0], shipped=True), *deal.items[1:])
                    self._parcel(life)
                    self._show(life, at_ms, status="allocating", items=first)
            case "shipped":
                self._shipped(life, at_ms)
            case "completed":
                self._show(life, at_ms, status="completed", ended_ms=at_ms)
            case "refund_open" | "refund_closed" | "refund_done":
                stage: Literal["open", "closed", "refunded"] = "open"
                if step != "refund_open":
                    stage = "closed" if step == "refund_closed" else "refunded"
                self._show(life, at_ms, items=(_replace_item(deal.items[0], refund=stage), *deal.items[1:]))
            case "voided":
                self._show(life, at_ms, status="cancelled")
            case "returned":
                self._bring_back(life, at_ms)

    def _born(self, life: _Life, at_ms: int) -> None:
        deal, rng, fate = life.deal, life.rng, life.fate
        if deal.channel == "pos":
            self._show(life, at_ms)
            if fate in ("voided", "returned"):
                self._push(at_ms + rng.randrange(2 * MINUTE_MS, 3 * HOUR_MS), (life, fate))
            return
        term = 3 * DAY_MS if fate == "presale" else _PAY_TERM_MS[deal.channel]
        life.deal = _replace(deal, pay_by_ms=deal.ordered_ms + term, presale=fate == "presale")
        pays_at = at_ms + rng.randrange(5 * SECOND_MS, 4 * MINUTE_MS)
        if fate in ("late", "unpaid", "forgotten", "presale") or rng.random() < 0.4:  # noqa: PLR2004
            self._show(life, at_ms)
        match fate:
            case "late":
                self._push(at_ms + rng.randrange(20 * MINUTE_MS, 6 * HOUR_MS), (life, "paid"))
            case "unpaid":
                self._push(at_ms + term + rng.randrange(MINUTE_MS, HOUR_MS), (life, "closed"))
            case "forgotten":
                pass
            case "presale":
                self._push(pays_at, (life, "deposit"))
            case _:
                self._push(pays_at, (life, "paid"))

    def _paid(self, life: _Life, at_ms: int) -> None:
        rng = life.rng
        self._show(life, at_ms, status="paid", paid_ms=at_ms, hold=life.fate == "held")
        later = at_ms + rng.randrange(2 * MINUTE_MS, 9 * MINUTE_MS)
        match life.fate:
            case "held":
                self._push(at_ms + rng.randrange(20 * MINUTE_MS, 4 * HOUR_MS), (life, "lifted"))
            case "cancelled":
                self._push(later, (life, "closed"))
            case "parted":
                self._push(later, (life, "parted"))
            case "called_off":
                self._call_off(life, later)

    def _shipped(self, life: _Life, at_ms: int) -> None:
        rng, fate = life.rng, life.fate
        self._show(life, at_ms, status="shipped", shipped_ms=at_ms)
        later = at_ms + rng.randrange(DAY_MS, 4 * DAY_MS)
        match fate:
            case "returned" | "refused_refund":
                self._push(later, (life, "refund_open"))
                done = "refund_done" if fate == "returned" else "refund_closed"
                self._push(later + rng.randrange(HOUR_MS, DAY_MS), (life, done))
            case "regretted":
                self._call_off(life, later)
            case _ if rng.random() < 0.8:  # noqa: PLR2004
                self._push(later, (life, "completed"))

    def _call_off(self, life: _Life, at_ms: int) -> None:
        """The customer telephones: one line, or all of a short order, is not wanted any more."""
        deal = life.deal
        lines = ((line_id_of(deal, 0), 1),) if len(deal.items) > 1 or deal.items[0].quantity > 1 else ()
        cancel = CancelLines(f"service-{deal.number}", lines, "the customer called")
        self._push(at_ms, Act(0, key_of(deal), cancel, "service"))

    def _bring_back(self, life: _Life, at_ms: int) -> None:
        deal = life.deal
        one = _replace_item(deal.items[0], quantity=1, discount=0)
        number = f"{deal.shop}-{day(at_ms)}-9{deal.number[-3:]}"
        back = Return(number, deal.number, deal.shop, self._lay(at_ms) // SECOND_MS * SECOND_MS, (one,))
        self._hand(life, wire_pos.write([back], _encoding(deal.shop)), at_ms)

    def _show(self, life: _Life, at_ms: int, **changes: object) -> None:
        """Let the channel show its next moment of an order: at once, late, or twice."""
        at_ms -= at_ms % SECOND_MS
        if life.deal.channel == "pos":
            at_ms = max(at_ms, life.deal.ordered_ms)
        modified = at_ms if life.deal.channel != "pos" else life.deal.ordered_ms
        life.deal = _replace(life.deal, modified_ms=max(modified, life.deal.modified_ms), **changes)
        life.before, life.shown = life.shown, write(laid(life.deal, self._lay))
        raw = life.shown
        if life.fate == "plain" and life.deal.status == "paid" and life.rng.random() < 0.01:  # noqa: PLR2004
            self._hand(life, broken.unknown_status(raw), at_ms)
            at_ms += 20 * MINUTE_MS
        self._hand(life, raw, at_ms)

    def _hand(self, life: _Life, raw: bytes, at_ms: int) -> None:
        rng, deal = life.rng, life.deal
        pulled = at_ms + rng.randrange(2 * SECOND_MS, MINUTE_MS)
        if rng.random() < 0.04:  # noqa: PLR2004  a pull that failed and was made up for later
            pulled += rng.randrange(5 * MINUTE_MS, HOUR_MS)
        form: Literal["json", "table"] = "table" if deal.channel == "pos" else "json"
        shop = "" if deal.channel == "pos" else deal.shop
        self._push(pulled, Handed(pulled, deal.channel, shop, raw, form))
        if rng.random() < 0.1:  # noqa: PLR2004  windows of pulls overlap
            again = pulled + rng.randrange(MINUTE_MS, HOUR_MS)
            self._push(again, Handed(again, deal.channel, shop, raw, form))
        if life.before and rng.random() < 0.05:  # noqa: PLR2004  a page of a slow pull comes after a quick one
            again = pulled + rng.randrange(MINUTE_MS, HOUR_MS)
            self._push(again, Handed(again, deal.channel, shop, life.before, form))

    # --- answers

    def _pick(self, life: _Life, event: Happened, now_ms: int) -> None:
        """Send somebody to the shelf; a part of the goods is scanned first and leaves later."""
        life.pick_list = str(event.data["pick_list"])
        if life.over:
            return
        rng = draw(self._seed, life.pick_list)
        at_ms = now_ms + rng.randrange(20 * MINUTE_MS, 2 * HOUR_MS)
        self._parcel(life)
        tracking, carrier = life.deal.tracking, life.deal.carrier
        name = life.pick_list
        if rng.random() < 0.15:  # noqa: PLR2004
            self._push(at_ms, Act(0, event.stream, ScanOut(f"scan-{name}"), "keeper"))
            at_ms += rng.randrange(10 * MINUTE_MS, HOUR_MS)
            self._push(at_ms, Act(0, event.stream, Ship(f"ship-{name}", tracking, carrier), "keeper"))
        else:
            self._push(at_ms, Act(0, event.stream, ScanOut(f"scan-{name}", tracking, carrier), "keeper"))

    def _parcel(self, life: _Life) -> None:
        if not life.deal.tracking:
            rng = draw(self._seed, "parcel", life.deal.number)
            carrier = rng.choice(_CARRIERS)
            life.deal = _replace(life.deal, carrier=carrier, tracking=f"{carrier}{rng.randrange(10**12):012d}")

    def _resolve(self, event: Happened, now_ms: int) -> None:
        """Have people decide: goods that are short are waited for, some orders are given up."""
        name, reason = str(event.data["interception"]), str(event.data["reason"])
        rng = draw(self._seed, event.stream, name)
        decision: Literal["release", "cancel"] = "release"
        at_ms = now_ms + rng.randrange(10 * MINUTE_MS, 40 * MINUTE_MS)
        if reason == "stock_short":
            arrivals = [at for at in self._receipts_ms if at >= now_ms]
            if not arrivals:
                if rng.random() < 0.5:  # noqa: PLR2004  the others still wait for goods when the day is over
                    return
                decision = "cancel"
            else:
                at_ms = arrivals[0] + rng.randrange(5 * MINUTE_MS, 40 * MINUTE_MS)
        elif reason == "payment_timeout" or rng.random() < 0.3:  # noqa: PLR2004
            return
        note = "goods are here" if decision == "release" else "no goods to be had"
        resolve = ResolveInterception(f"resolve-{event.stream}-{name}", name, decision, note)
        self._push(at_ms, Act(0, event.stream, resolve, "operations"))

    def _still_wanted(self, act: Act) -> bool:
        """Whether a person at the shelf still finds the order to be picked; note what leaves."""
        life = self.lives.get(act.to)
        command = act.command
        if life is None or not isinstance(command, ScanOut | Ship):
            return True
        if life.over or command.command_id.partition("-")[2] != life.pick_list:
            return False
        if command.tracking and not life.scanned:
            life.scanned = life.over = True
            if life.deal.channel != "pos":
                told = act.at_ms + life.rng.randrange(5 * MINUTE_MS, HOUR_MS)
                self._push(told, (life, "shipped"))
        return True


LINE_IDS: Final[Mapping[str, Callable[[Deal, int], str]]] = {
    "taobao": wire_taobao.line_id,
    "douyin": wire_douyin.line_id,
    "pos": wire_pos.line_id,
}
_replace = msgspec.structs.replace
_replace_item = msgspec.structs.replace


def key_of(deal: Deal) -> str:
    """Return the key of a deal's order."""
    if deal.channel == "pos":
        return order_key("pos", deal.shop, wire_pos.order_no(deal.number, deal.ordered_ms))
    return order_key(deal.channel, deal.shop, deal.number)


def laid(deal: Deal, lay: Callable[[int], int]) -> Deal:
    """Return the deal with its times where they lie on the wire."""
    names = ("ordered_ms", "modified_ms", "pay_by_ms", "paid_ms", "shipped_ms", "ended_ms")
    return _replace(deal, **{name: lay(at_ms) if (at_ms := getattr(deal, name)) else 0 for name in names})


def line_id_of(deal: Deal, at: int) -> str:
    """Return the id that a line has on its channel."""
    return LINE_IDS[deal.channel](deal, at)


def write(deal: Deal) -> bytes:
    """Return the bytes with which the deal's channel shows it."""
    if deal.channel == "taobao":
        return wire_taobao.write(deal)
    if deal.channel == "douyin":
        return wire_douyin.write(deal)
    return wire_pos.write([deal], _encoding(deal.shop))


def number_of(channel: str, at_ms: int, place: int, tail: int) -> str:
    """Return an order number of 19 digits: it grows with time and ends in digits of its buyer's."""
    second = at_ms // 1000 - 946_684_800
    if channel == "taobao":
        return f"2{second:09d}{place % 1000:03d}{tail % 1_000_000:06d}"
    return f"69{second:09d}{place:04d}{tail // 1000 % 100:02d}00"


def _encoding(shop: str) -> wire_pos.Encoding:
    """Each store has a till of its own make."""
    return "utf-8-sig" if shop == STORES[0] else "gb18030"
