"""Any act on after-sales at any time: money, units and stock are conserved, repeats add nothing, replay is the same."""

from collections import Counter
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain import order
from domain.after_sale import (
    DECLINES,
    KINDS,
    REASONS,
    AnnounceReturn,
    ApproveAfterSale,
    CloseAfterSale,
    DeclineAfterSale,
    OpenAfterSale,
    OrderRefunded,
    ReceiveReturn,
    RefundAfterSale,
    ReturnReceived,
    SendReplacement,
)
from domain.canonical import Return, ReturnLine
from domain.catalogue import decode_event
from domain.cell import Returned, Turn
from domain.decider import Command
from domain.ids import order_key
from domain.rulings import Kit, Ruling
from tests.properties.shadow import PROVENANCE
from tests.spec import Cell, at, line, replayed, snapshot

KEY = order_key("taobao", "shop1", "o-1")
STOCK = {"SA": 9, "SB": 9, "P1": 20}
LINES = (line("1", "SA", 3), line("2", "SB", 2), line("3", "SK", 1))
KITS = Ruling(1, kits=(Kit("3", (("P1", 2),)),))
PARTS = {"1": (("SA", 1),), "2": (("SB", 1),), "3": (("P1", 2),)}
RESENT = ("case-1:SA", "case-1:SB", "case-2:SA", "case-2:P1")

pairs = st.lists(st.tuples(st.sampled_from(("1", "2", "3", "9", *RESENT)), st.integers(0, 3)), max_size=3).map(tuple)
some = st.lists(st.tuples(st.sampled_from(("1", "2", "3", *RESENT)), st.integers(1, 2)), max_size=2).map(tuple)
picks = st.integers(0, 5)
"""Which of the cases there are; sometimes none."""
names: st.SearchStrategy[Any] = st.sampled_from(tuple(KINDS))


class AfterSaleMachine(RuleBasedStateMachine):
    """One order, its channel, its counter, and people who press every button."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()
        self.cell.receive(*STOCK.items())
        self.ids = 0
        self.minute = 1
        self.view = snapshot("paid", 1, LINES, freight=50)
        self.left: Counter[str] = Counter()
        """SKU → units that left the warehouse."""
        self.back: Counter[str] = Counter()
        self.damaged: Counter[str] = Counter()
        self.paid_back = 0
        """By people, minor units."""

    @property
    def state(self) -> order.Order:
        return self.cell.order()

    def act(self, command: Command) -> Turn:
        turn = self.cell.send(KEY, command)
        self.follow(turn)
        again = self.cell.send(KEY, command)
        assert again.records == [], "a repeat added something"
        assert (again.outcome == "refused") == (turn.outcome == "refused")
        return turn

    def follow(self, turn: Turn) -> None:
        for record in turn.records:
            event = decode_event(record.tag, record.data)
            match event:
                case ReturnReceived():
                    for taken, kept in ((event.good, self.back), (event.damaged, self.damaged)):
                        for name, units in taken:
                            parts = PARTS.get(name, ((name.partition(":")[2], 1),))
                            kept.update({sku: units * each for sku, each in parts})
                case OrderRefunded() if event.method:
                    self.paid_back += event.amount
                    assert self.paid_back <= self.view.amounts.payable
                case _:
                    if record.tag in ("stock.picked_out", "stock.issued"):
                        self.left.update(dict(event.lines))  # type: ignore[attr-defined]

    def new_id(self) -> str:
        self.ids += 1
        return f"c-{self.ids}"

    def case(self, pick: int) -> int:
        return pick % (len(self.state.cases) + 1)

    @initialize(pay_on_delivery=st.booleans(), ships=st.sampled_from((True, True, False)))
    def order_comes(self, pay_on_delivery: bool, ships: bool) -> None:
        if pay_on_delivery:
            amounts = msgspec.structs.replace(self.view.amounts, paid=0)
            self.view = msgspec.structs.replace(self.view, amounts=amounts)
        self.follow(self.cell.take(self.view, ruling=KITS))
        if ships:
            self.it_ships("")

    def tell(self, **changes: Any) -> None:
        self.minute += 1
        self.view = msgspec.structs.replace(self.view, modified_at=at(self.minute), **changes)
        self.follow(self.cell.take(self.view, ruling=KITS))
        again = self.cell.take(self.view, ruling=KITS)
        assert {record.tag for record in again.records} <= PROVENANCE

    # --- what happens

    @precondition(lambda self: self.state.status in ("paid", "allocating"))
    @rule(allocation=st.sampled_from(("", f"{KEY}/1")))
    def it_ships(self, allocation: str) -> None:
        self.act(order.Ship(self.new_id(), "T1", "SF", allocation))

    @precondition(lambda self: any(case.replacement for case in self.state.cases))
    @rule(data=st.data(), tracking=st.sampled_from(("", "T9", "T9")))
    def a_replacement_ships(self, data: st.DataObject, tracking: str) -> None:
        sending = [case.replacement.allocation for case in self.state.cases if case.replacement]
        name = data.draw(st.sampled_from((*sending, f"pick-{sending[0]}", f"{KEY}/case-9-1")))
        self.act(order.ScanOut(self.new_id(), tracking, "SF" if tracking else "", name))

    @rule(
        kind=names, reason=st.sampled_from(tuple(REASONS)), lines=pairs, reference=st.sampled_from(("", "", "R1", "R2"))
    )
    def people_open(self, kind: Any, reason: str, lines: Any, reference: str) -> None:
        self.act(OpenAfterSale(self.new_id(), kind, reason, lines, reference))

    @rule(kind=st.sampled_from(("return_refund", "exchange", "reship")), line=st.sampled_from(("1", "2", "3")))
    def a_wish_is_granted(self, kind: Any, line: str) -> None:
        self.act(OpenAfterSale(self.new_id(), kind, "quality", ((line, 1),)))
        self.act(ApproveAfterSale(self.new_id(), len(self.state.cases)))

    @rule(pick=picks)
    def people_approve(self, pick: int) -> None:
        self.act(ApproveAfterSale(self.new_id(), self.case(pick)))

    @rule(pick=picks, reason=st.sampled_from(tuple(DECLINES)))
    def people_decline(self, pick: int, reason: str) -> None:
        self.act(DeclineAfterSale(self.new_id(), self.case(pick), reason))

    @rule(pick=picks)
    def people_announce(self, pick: int) -> None:
        self.act(AnnounceReturn(self.new_id(), self.case(pick), "SF", "SF9"))

    @rule(pick=picks, good=some, damaged=some, missing=some)
    def goods_come_back(self, pick: int, good: Any, damaged: Any, missing: Any) -> None:
        self.act(ReceiveReturn(self.new_id(), self.case(pick), good, damaged, missing))

    @rule(
        pick=picks, amounts=st.lists(st.tuples(st.sampled_from(("1", "2", "3", "")), st.integers(1, 300)), max_size=2)
    )
    def people_refund(self, pick: int, amounts: Any) -> None:
        self.act(RefundAfterSale(self.new_id(), self.case(pick), tuple(amounts)))

    @rule(pick=picks, lines=st.sampled_from(((), (("SA", 1),), (("SB", 9),))))
    def people_replace(self, pick: int, lines: Any) -> None:
        self.act(SendReplacement(self.new_id(), self.case(pick), lines))

    @rule(pick=picks)
    def people_close(self, pick: int) -> None:
        self.act(CloseAfterSale(self.new_id(), self.case(pick)))

    @rule(lines=some)
    def people_cancel(self, lines: Any) -> None:
        self.act(order.CancelLines(self.new_id(), lines, "too late"))

    @rule(reference=st.integers(0, 3), units=st.integers(1, 2))
    def goods_come_to_a_counter(self, reference: int, units: int) -> None:
        goods = Return("taobao", "shop1", "o-1", f"C{reference}", at(9), "CNY", (ReturnLine("SA", units, 10),))
        self.follow(self.cell.channel(Returned(goods, f"return-{reference}-{units}"), KEY))

    @rule(place=st.integers(0, 2), stage=st.sampled_from(("", "open", "open", "refunded", "closed")),
          reference=st.sampled_from(("", "R1", "R2")))  # fmt: skip
    def the_channel_tells(self, place: int, stage: Any, reference: str) -> None:
        lines = list(self.view.lines)
        lines[place] = msgspec.structs.replace(lines[place], after_sale=stage, after_sale_id=reference)
        self.tell(lines=tuple(lines))

    # --- what holds

    @invariant()
    def replaying_gives_what_lives(self) -> None:
        assert replayed(self.cell.records) == self.cell.living

    @invariant()
    def no_more_came_back_than_had_left(self) -> None:
        if KEY not in self.cell.states:
            return
        for sku in STOCK:
            assert self.back[sku] + self.damaged[sku] <= self.left[sku]
        sold = order.stand_of(self.state).lines
        for name, units in self.state.returned:
            assert units <= sold[name].bought
        for case in self.state.cases:
            for name, units in case.lines:
                assert units > 0
                assert dict(case.back).get(name, 0) >= 0

    @invariant()
    def stock_is_conserved(self) -> None:
        ledger = self.cell.ledger
        reserved: Counter[str] = Counter()
        for held in ledger.allocations.values():
            reserved.update(dict(held.lines))
        for sku, units in STOCK.items():
            level = ledger.levels[sku]
            assert level.on_hand == units - self.left[sku] + self.back[sku] + self.damaged[sku]
            assert level.damaged == self.damaged[sku]
            assert level.reserved == reserved[sku]
            assert level.available >= 0

    @invariant()
    def what_is_held_is_known_to_the_order(self) -> None:
        if KEY not in self.cell.states:
            return
        ours = [each.id for each in self.state.allocations if each.held]
        sending = [case.replacement.allocation for case in self.state.cases if case.replacement]
        assert sorted(self.cell.ledger.allocations) == sorted(ours + sending)

    @invariant()
    def a_line_is_open_while_a_case_is(self) -> None:
        if KEY not in self.cell.states:
            return
        state = self.state
        open_lines = {name for case in state.cases for name, _ in case.lines if case.open_for(name)}
        assert {name for name, stage in state.after_sales if stage == "open"} == open_lines
        assert all(any(case.open_for(name) for name, _ in case.lines) for case in state.cases if case.open)
        assert [case.number for case in state.cases] == list(range(1, len(state.cases) + 1))


TestAfterSaleMachine = AfterSaleMachine.TestCase
