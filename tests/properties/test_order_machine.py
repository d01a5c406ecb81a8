"""Any message at any time: orders and their warehouse keep what they promise."""

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from domain import order, stock
from domain import skus as skus_table
from domain.canonical import Return, ReturnLine, Snapshot
from domain.cell import Prepared, Returned, Taken, Turn, Untranslatable
from domain.ids import order_key, skus_key, warehouse_key
from domain.order import Order
from domain.order.views import is_newer
from domain.rulings import UNRULED, Found, Gift, Kit, Promise, Route, Ruling
from tests.properties.shadow import PROVENANCE, Shadow
from tests.spec import T0, WAREHOUSE, Cell, at, line, snapshot, taking

NUMBERS = ("o-1", "o-2", "o-3")
SKUS = ("SA", "SB")
LINES = ("1", "2", "3")
TABLE = skus_key("taobao", "shop1")

numbers = st.sampled_from(NUMBERS)
skus = st.sampled_from((*SKUS, "SA", ""))
stages: st.SearchStrategy[Any] = st.sampled_from(("", "", "", "open", "refunded", "closed"))
states: st.SearchStrategy[Any] = st.sampled_from(("open", "open", "open", "shipped", "cancelled"))
statuses = st.sampled_from(
    ("awaiting_payment", "awaiting_payment", "paid", "paid", "paid", "allocating", "shipped", "completed", "cancelled")
)
seldom = st.integers(0, 9).map(lambda number: number == 0)


rulings = st.sampled_from(
    (
        UNRULED,
        UNRULED,
        UNRULED,
        Ruling(1, gifts=(Gift("g", "GA", 1),)),
        Ruling(2, gifts=(Gift("g", "GA", 2, "B"), Gift("h", "SA", 1)), routes=(Route("both", warehouses=("A", "B")),)),
        Ruling(3, routes=(Route("any", warehouses=("A", "B"), split="units"),)),
        Ruling(4, routes=(Route("craft", ("1",), area="C", processing=True),), priority="urgent"),
        Ruling(
            5,
            routes=(Route("b", warehouses=("B", "A")),),
            kits=(Kit("2", (("SA", 2), ("SB", 1))),),
            gifts=(Gift("g", "GA", 1),),
        ),
        Ruling(6, found=(Found("big", "large", "many", "ask", "sales"),), keep=(("SA", 15),)),
        Ruling(7, promise=Promise("p", 600_000), lots=True),
    )
)


@st.composite
def views(draw: st.DrawFn) -> Snapshot:
    """Draw any view at all, also such that no honest channel would send."""
    ids = draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=3))
    if draw(st.integers(0, 9)):
        ids = sorted(set(ids))
    quantity = st.integers(0 if draw(st.integers(0, 9)) == 0 else 1, 3)
    lines = tuple(line(name, draw(skus), draw(quantity), draw(states), draw(stages)) for name in ids)
    status: Any = draw(statuses)
    return snapshot(
        status,
        draw(st.integers(1, 30)),
        lines,
        number=draw(numbers),
        kind=draw(st.sampled_from(("normal", "normal", "normal", "presale", "counter"))),
        paid=draw(st.sampled_from((None, None, 0, 50))),
        holds=draw(st.sampled_from(((), (), (), ("risk_review",), ("locked", "risk_review")))),
        pay_by=draw(st.sampled_from((None, at(20), at(40)))),
        shipped=draw(st.sampled_from((None, 1, 30))),
    )


@st.composite
def honest_views(draw: st.DrawFn) -> Snapshot:
    """Draw what most views are like: paid, mapped, waiting to be sent."""
    lines = tuple(
        line(name, draw(st.sampled_from(SKUS)), draw(st.integers(1, 2))) for name in LINES[: draw(st.integers(1, 3))]
    )
    status: Any = draw(st.sampled_from(("awaiting_payment", "paid", "paid", "paid", "shipped")))
    return snapshot(
        status, draw(st.integers(1, 30)), lines, number=draw(numbers), pay_by=draw(st.sampled_from((None, at(20))))
    )


class OrderMachine(RuleBasedStateMachine):
    """Two orders, one warehouse, and senders that know nothing of manners."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()
        self.shadow = Shadow(self.cell)
        self.sent: list[tuple[str, Any, Prepared | None]] = []
        self.run: dict[str, dict[str, order.TakeSnapshot]] = {order_key("taobao", "shop1", n): {} for n in NUMBERS}
        """Order → payload → the view in it, of all that reached it and was not given up."""
        self.ids = 0
        self.receive("SA", 20, "d-0")
        self.receive("SB", 5, "d-1")
        self.receive("GA", 3, "d-2")
        self.receive("SB", 4, "d-3", "B")
        self.receive("GA", 2, "d-4", "B")

    def new_id(self) -> str:
        self.ids += 1
        return f"c-{self.ids}"

    def states_of(self) -> dict[str, Order]:
        return {key: self.cell.states[key].state for key in self.run if key in self.cell.states}

    # --- sending

    def put(self, to: str, body: Any, prepared: Prepared | None = None) -> Turn:
        self.sent.append((to, body, prepared))
        turn = self.deliver(to, body, prepared)
        again = self.deliver(to, body, prepared)
        waits = isinstance(body, order.ResendQuarantined | order.DiscardQuarantined) or turn.outcome == "quarantined"
        assert waits or {record.tag for record in again.records} <= PROVENANCE
        return turn

    def deliver(self, to: str, body: Any, prepared: Prepared | None) -> Turn:
        before = self.cell.states.get(to)
        turn = self.cell.send(to, body) if prepared is None else self.cell.channel(prepared, to)
        self.note_given_up(to, before.state if before else None, body, turn)
        self.shadow.follow(turn)
        self.nothing_vanishes()
        return turn

    def note_given_up(self, to: str, before: Any, body: Any, turn: Turn) -> None:
        if isinstance(body, order.DiscardQuarantined) and turn.outcome == "accepted" and isinstance(before, Order):
            given_up = before.queue if body.item == "order" else (before.quarantined,)
            for waiting in given_up:
                assert waiting is not None
                self.run[to].pop(waiting.payload, None)

    def nothing_vanishes(self) -> None:
        """The view that counts is the newest of all that were not given up and do not wait."""
        for key, views_by_payload in self.run.items():
            held = self.cell.states.get(key)
            if held is None:
                continue
            state = held.state
            waiting = {each.payload for each in state.queue}
            if state.quarantined:
                waiting.add(state.quarantined.payload)
            known = [command for payload, command in views_by_payload.items() if payload not in waiting]
            if not known:
                continue
            assert state.status
            assert not any(is_newer(command, state) for command in known)

    # --- rules

    @initialize(first=honest_views(), second=views())
    def orders_come_in(self, first: Snapshot, second: Snapshot) -> None:
        self.channel_tells(first, "addr-1")
        self.channel_tells(second, "addr-1")

    @rule(view=honest_views(), ruling=rulings)
    def channel_tells_honestly(self, view: Snapshot, ruling: Ruling) -> None:
        self.channel_tells(view, "addr-1", ruling)

    @rule(view=views(), address=st.sampled_from(("addr-1", "addr-1", "addr-2")), ruling=rulings)
    def channel_tells(self, view: Snapshot, address: str, ruling: Ruling = UNRULED) -> None:
        command = taking(view, address, ruling=ruling)
        key = order_key("taobao", "shop1", view.order_no)
        if not order.flaw_of(view):
            self.run[key][command.payload] = command
        self.put(key, None, Taken(command))

    @precondition(lambda self: self.ids % 7 == 0)
    @rule(number=numbers, nonsense=st.integers(0, 5))
    def channel_tells_nonsense(self, number: str, nonsense: int) -> None:
        key = order_key("taobao", "shop1", number)
        self.put(key, None, Untranslatable("no such status", "status", "correct it", f"nonsense-{nonsense}"))

    @precondition(lambda self: any(state.quarantined for state in self.states_of().values()))
    @rule(number=numbers, view=views())
    def translation_is_repaired(self, number: str, view: Snapshot) -> None:
        key = order_key("taobao", "shop1", number)
        held = self.cell.states.get(key)
        waiting = held.state.quarantined if held else None
        if waiting and waiting.payload.startswith("nonsense") and not order.flaw_of(view):
            command = msgspec.structs.replace(taking(view), payload=waiting.payload)
            self.cell.payloads[waiting.payload] = Taken(command)
            self.run[key][waiting.payload] = command

    @rule(number=numbers, reference=st.integers(0, 3), sku=st.sampled_from(SKUS), units=st.integers(1, 2))
    def goods_come_back(self, number: str, reference: int, sku: str, units: int) -> None:
        goods = Return("taobao", "shop1", number, f"r-{reference}", at(9), "CNY", (ReturnLine(sku, units, 100),))
        self.put(order_key("taobao", "shop1", number), None, Returned(goods, f"return-{reference}-{sku}-{units}"))

    @rule(number=numbers, tracking=st.sampled_from(("", "T1")))
    def keeper_scans(self, number: str, tracking: str) -> None:
        self.put(order_key("taobao", "shop1", number), order.ScanOut(self.new_id(), tracking, tracking and "SF"))

    @rule(number=numbers)
    def keeper_ships(self, number: str) -> None:
        self.put(order_key("taobao", "shop1", number), order.Ship(self.new_id(), "T2", "SF"))

    @precondition(lambda self: any(len(state.allocations) > 1 for state in self.states_of().values()))
    @rule(which=st.integers(0, 5), scan=st.booleans())
    def keeper_ships_one_of_several(self, which: int, scan: bool) -> None:
        known = [(key, each) for key, state in self.states_of().items() for each in state.allocations
                 if len(state.allocations) > 1]  # fmt: skip
        key, allocation = known[which % len(known)]
        lots = tuple(order.Lot(sku, "L", units, "1", "kg", "m", "s") for sku, units in allocation.lines)
        command = order.ScanOut if scan else order.Ship
        self.put(key, command(self.new_id(), "T4", "SF", allocation.id, lots))

    @rule(number=numbers)
    def craftsmen_are_done(self, number: str) -> None:
        self.put(order_key("taobao", "shop1", number), order.ConfirmProcessing(self.new_id()))

    @rule(units=st.integers(0, 6), sku=st.sampled_from(SKUS), days=st.integers(1, 3))
    def goods_are_announced(self, units: int, sku: str, days: int) -> None:
        lines = ((sku, units),) if units else ()
        self.put(WAREHOUSE, stock.ExpectStock(self.new_id(), f"PO-{sku}", lines, T0 + days))

    @rule(units=st.integers(1, 4), sku=st.sampled_from(SKUS))
    def announced_goods_arrive(self, units: int, sku: str) -> None:
        self.put(WAREHOUSE, stock.ReceiveStock(self.new_id(), ((sku, units),), f"PO-{sku}"))

    @rule(
        number=numbers,
        lines=st.lists(st.tuples(st.sampled_from(LINES), st.integers(-1, 3)), max_size=2),
    )
    def somebody_cancels(self, number: str, lines: list[tuple[str, int]]) -> None:
        self.put(order_key("taobao", "shop1", number), order.CancelLines(self.new_id(), tuple(lines), "changed mind"))

    @precondition(lambda self: any(state.allocations for state in self.states_of().values()))
    @rule(which=st.integers(0, 5), units=st.integers(1, 2), ship=st.booleans())
    def something_allocated_is_cancelled_or_shipped(self, which: int, units: int, ship: bool) -> None:
        known = [(key, state) for key, state in self.states_of().items() if state.allocations]
        key, state = known[which % len(known)]
        live = order.live_lines(state)
        if ship or not live:
            self.put(key, order.Ship(self.new_id(), "T3", "SF"))
        else:
            wanted, have = live[which % len(live)]
            self.put(key, order.CancelLines(self.new_id(), ((wanted.id, min(units, have)),), "less"))

    @precondition(lambda self: any(state.interceptions for state in self.states_of().values()))
    @rule(which=st.integers(0, 5), decision=st.sampled_from(("release", "release", "waive", "cancel")), wrong=seldom)
    def somebody_decides(self, which: int, decision: Any, wrong: bool) -> None:
        open_ones = [(key, name) for key, state in self.states_of().items() for name, _ in state.interceptions]
        key, name = open_ones[which % len(open_ones)]
        self.put(key, order.ResolveInterception(self.new_id(), "none" if wrong else name, decision))

    @rule(
        number=numbers,
        key=st.sampled_from(("k-1", "k-2")),
        outcome=st.sampled_from(("succeeded", "failed", "failed")),
        tries=st.integers(0, 3),
        final=st.booleans(),
    )
    def the_outside_answers(self, number: str, key: str, outcome: Any, tries: int, final: bool) -> None:
        to = order_key("taobao", "shop1", number)
        before = len(self.cell.records)
        self.put(to, order.RecordEffect(self.new_id(), "ship_notice", key, outcome, "r", "why", tries, final))
        tags = [record.tag for record in self.cell.records[before:]]
        assert not tags or tags[0] == f"order.effect_{outcome}"

    @rule(
        number=numbers, timer=st.sampled_from(("payment", "order", "promise", "presale", "other")), late=st.booleans()
    )
    def time_comes(self, number: str, timer: str, late: bool) -> None:
        key = order_key("taobao", "shop1", number)
        due = self.shadow.timers.get((key, timer), at(20).utc_ms) - (0 if late else 1)
        self.put(key, order.TimerDue(timer, due))

    @precondition(lambda self: any(state.quarantined or state.queue for state in self.states_of().values()))
    @rule(which=st.integers(0, 1), resend=st.booleans(), wrong=seldom)
    def somebody_settles_the_quarantine(self, which: int, resend: bool, wrong: bool) -> None:
        waiting = [(key, state) for key, state in self.states_of().items() if state.quarantined or state.queue]
        key, state = waiting[which % len(waiting)]
        item = "none" if wrong else state.quarantined.item if state.quarantined else "order"
        command = self.new_id()
        self.put(
            key, order.ResendQuarantined(command, item) if resend else order.DiscardQuarantined(command, item, "bad")
        )

    @rule(name=st.sampled_from(LINES), sku=st.sampled_from(SKUS))
    def somebody_enters_an_item(self, name: str, sku: str) -> None:
        self.put(TABLE, skus_table.SetSkus(self.new_id(), ((f"item-{name}", sku),)))

    @rule(name=st.sampled_from(LINES))
    def somebody_takes_an_item_out(self, name: str) -> None:
        self.put(TABLE, skus_table.RemoveSkus(self.new_id(), (f"item-{name}",)))

    @rule(sku=st.sampled_from(SKUS), units=st.integers(0, 5), document=st.integers(0, 9).map("d-{}".format))
    def receive(self, sku: str, units: int, document: str, warehouse: str = "A") -> None:
        self.put(warehouse_key(warehouse), stock.ReceiveStock(document, ((sku, units),)))

    @rule(sku=st.sampled_from(SKUS), delta=st.integers(-3, 3), document=st.integers(0, 9).map("d-{}".format))
    def count(self, sku: str, delta: int, document: str) -> None:
        self.put(WAREHOUSE, stock.AdjustStock(document, sku, delta, "count"))

    @rule(index=st.integers(0, 10_000))
    def something_comes_again(self, index: int) -> None:
        to, body, prepared = self.sent[index % len(self.sent)]
        if isinstance(prepared, Untranslatable):
            return
        self.deliver(to, body, prepared)

    @rule(hours=st.integers(1, 50))
    def time_passes(self, hours: int) -> None:
        self.cell.now_ms += hours * 3_600_000


TestOrderMachine = OrderMachine.TestCase
TestOrderMachine.settings = settings(max_examples=settings().max_examples // 2)
