"""Any message to warehouses at any time: nothing is promised twice, nothing gets lost, also on the way between two."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain import reorder, shelf, stock
from domain.catalogue import decode_event
from domain.decider import DomainError, Event, fold
from domain.ids import warehouse_key
from domain.stock import DOCUMENTS_KEPT_MS, DOCUMENTS_LEAP_MS, NONE, Ledger, from_snapshot, to_snapshot
from domain.time_units import DAY_MS
from domain.warehouse import decide, evolve, warehouse
from tests.spec import T0, Cell, replayed

SKUS = ("SA", "SB", "SC")
skus = st.sampled_from(SKUS)
lines = st.lists(st.tuples(skus, st.integers(0, 4)), max_size=3).map(tuple)
allocations = st.integers(0, 5).map("order-x/{}".format)
documents = st.integers(0, 8).map("d-{}".format)


class StockMachine(RuleBasedStateMachine):
    """One ledger beside a model of plain numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.state = Ledger()
        self.events: list[Event] = []
        self.now_ms = T0
        self.on_hand = dict.fromkeys(SKUS, 0)
        self.held: dict[str, dict[str, int]] = {}
        self.protected = dict.fromkeys(SKUS, 0)
        self.damaged = dict.fromkeys(SKUS, 0)
        self.documents: dict[str, int] = {}

    def available(self, sku: str) -> int:
        promised = sum(held.get(sku, 0) for held in self.held.values())
        return self.on_hand[sku] - promised - self.protected[sku] - self.damaged[sku]

    def ask(self, command: Any) -> bool:
        """Return whether the ledger acted; asking again must never act twice."""
        try:
            events = decide(command, self.state, self.now_ms)
        except DomainError:
            return False
        for event in events:
            self.state = evolve(self.state, event)
            self.events.append(event)
        if not isinstance(command, stock.Release | stock.PickOut | stock.Issue) or not command.lines:
            again = () if isinstance(command, stock.Issue) else decide(command, self.state, self.now_ms)
            assert all(isinstance(event, stock.ReservationRefused) for event in again)
        self.check()
        signals = [event for event in events if isinstance(event, reorder.ReorderSignalled | reorder.ReorderCleared)]
        for sku, entry in self.state.floor.reorder.items():
            assert entry.signalled == (self.state.levels.get(sku, NONE).available < entry.level)
        assert len({signal.sku for signal in signals}) == len(signals)
        return bool(events) and not isinstance(events[0], stock.ReservationRefused)

    def check(self) -> None:
        assert fold(warehouse, self.events) == self.state
        assert from_snapshot(to_snapshot(self.state)) == self.state
        assert set(self.state.documents) == set(self.documents)
        for level in self.state.levels.values():
            assert level.available >= 0
            assert min(level.on_hand, level.reserved, level.pre_reserved, level.protected, level.damaged) >= 0

    def agree(self) -> None:
        assert {name: dict(held.lines) for name, held in self.state.allocations.items()} == self.held
        for sku in SKUS:
            level = self.state.levels.get(sku, NONE)
            assert level.on_hand == self.on_hand[sku]
            assert level.protected == self.protected[sku]
            assert level.damaged == self.damaged[sku]
            assert level.available == self.available(sku)

    def documented(self, document: str, command: Any) -> bool:
        """Ask for something that a document backs, with the model of which numbers are known."""
        known = document in self.documents
        if known:
            assert decide(command, self.state, self.now_ms) == ()
            return False
        try:
            acts = bool(decide(command, self.state, self.now_ms))
        except DomainError:
            acts = False
        if acts:
            gone_on_ms = self.now_ms - self.state.expired_ms
            kept = {name: seen for name, seen in self.documents.items() if self.now_ms - seen <= DOCUMENTS_KEPT_MS}
            if gone_on_ms > DOCUMENTS_LEAP_MS:
                kept = dict.fromkeys(self.documents, self.now_ms)
            forgets = gone_on_ms >= DAY_MS
            self.documents = {**(kept if forgets else self.documents), document: self.now_ms}
        return self.ask(command)

    @rule(document=documents, what=lines)
    def receive(self, document: str, what: tuple[tuple[str, int], ...]) -> None:
        if self.documented(document, stock.ReceiveStock(document, what)):
            for sku, units in what:
                self.on_hand[sku] += units
        self.agree()

    @rule(document=documents, sku=skus, delta=st.integers(-4, 4))
    def count(self, document: str, sku: str, delta: int) -> None:
        fits = delta != 0 and self.available(sku) + delta >= 0 and document not in self.documents
        acted = self.documented(document, stock.AdjustStock(document, sku, delta, "count"))
        assert acted == fits
        if acted:
            self.on_hand[sku] += delta
        self.agree()

    @rule(document=documents, sku=skus, units=st.integers(-1, 5))
    def protect(self, document: str, sku: str, units: int) -> None:
        fits = 0 <= units <= self.available(sku) + self.protected[sku] and document not in self.documents
        acted = self.documented(document, stock.ProtectStock(document, sku, units))
        assert acted == fits
        if acted:
            self.protected[sku] = units
        self.agree()

    @rule(document=documents, what=lines)
    def shelves_are_counted(self, document: str, what: tuple[tuple[str, int], ...]) -> None:
        fits = bool(what) and len({sku for sku, _ in what}) == len(what) and document not in self.documents
        assert self.documented(document, shelf.CountStock(document, what)) == fits
        for sku, found in what if fits else ():
            if found >= self.on_hand[sku] - self.available(sku):
                self.on_hand[sku] = found
        self.agree()

    @rule(document=documents, what=lines)
    def move_out(self, document: str, what: tuple[tuple[str, int], ...]) -> None:
        wanted = dict.fromkeys(SKUS, 0)
        for sku, units in what:
            wanted[sku] += units
        fits = bool(what) and all(units > 0 for _, units in what) and document not in self.documents
        fits = fits and all(self.available(sku) >= units for sku, units in wanted.items())
        assert self.documented(document, shelf.MoveStock(document, "B", what)) == fits, "all or nothing"
        for sku, units in wanted.items() if fits else ():
            self.on_hand[sku] -= units
        self.agree()

    @rule(document=documents, sku=skus, delta=st.integers(-3, 3))
    def damage(self, document: str, sku: str, delta: int) -> None:
        fits = delta != 0 and -self.damaged[sku] <= delta <= self.available(sku) and document not in self.documents
        assert self.documented(document, shelf.MarkDamaged(document, sku, delta, "wet")) == fits
        self.damaged[sku] += delta if fits else 0
        self.agree()

    @rule(document=documents, sku=skus, units=st.integers(0, 3))
    def scrap(self, document: str, sku: str, units: int) -> None:
        fits = 0 < units <= self.damaged[sku] and document not in self.documents
        assert self.documented(document, shelf.ScrapDamaged(document, sku, units, "bin")) == fits
        self.damaged[sku] -= units if fits else 0
        self.on_hand[sku] -= units if fits else 0
        self.agree()

    @rule(document=documents, sku=skus, level=st.integers(-1, 5), more=st.integers(-1, 5))
    def reorder_level(self, document: str, sku: str, level: int, more: int) -> None:
        fits = level >= 0 and more >= 0 and document not in self.documents
        assert self.documented(document, reorder.SetReorderLevel(document, sku, level, level + more)) == fits
        self.agree()

    @rule(allocation=allocations, what=lines, gifts=st.booleans())
    def reserve(self, allocation: str, what: tuple[tuple[str, int], ...], gifts: bool) -> None:
        wanted: dict[str, int] = {}
        for sku, units in what:
            wanted[sku] = wanted.get(sku, 0) + units
        fits = (
            allocation not in self.held
            and bool(what)
            and all(units > 0 for _, units in what)
            and all(self.available(sku) >= units for sku, units in wanted.items())
        )
        kind = stock.PreReserve if gifts else stock.Reserve
        assert self.ask(kind(allocation, "order-x", what)) == fits, "all or nothing"
        if fits:
            self.held[allocation] = wanted
        self.agree()

    def take(self, allocation: str, what: tuple[tuple[str, int], ...]) -> dict[str, int]:
        """Take lines out of the model's allocation, as far as it holds them."""
        held = self.held.get(allocation, {})
        wanted = dict(held)
        if what:
            wanted = dict.fromkeys(SKUS, 0)
            for sku, units in what:
                wanted[sku] += units
        taken = {sku: min(units, held.get(sku, 0)) for sku, units in wanted.items()}
        left = {sku: units - taken.get(sku, 0) for sku, units in held.items() if units > taken.get(sku, 0)}
        self.held.pop(allocation, None)
        if left:
            self.held[allocation] = left
        return taken

    @rule(allocation=allocations, what=lines, out=st.booleans())
    def give_back_or_pick(self, allocation: str, what: tuple[tuple[str, int], ...], out: bool) -> None:
        what = tuple(pair for pair in what if pair[1])
        self.ask((stock.PickOut if out else stock.Release)(allocation, what))
        taken = self.take(allocation, what)
        for sku, units in taken.items():
            self.on_hand[sku] -= units if out else 0
        self.agree()

    @rule(sku=skus, units=st.integers(1, 4), before=st.booleans())
    def goods_left_elsewhere(self, sku: str, units: int, before: bool) -> None:
        since = self.state.levels.get(sku, NONE).since_ms
        shipped_ms = since - 1 if before else self.now_ms
        gone = min(units, self.available(sku)) if since and not before else 0
        self.ask(stock.Issue("order-y/issued-1", "order-y", ((sku, units),), shipped_ms))
        self.on_hand[sku] -= gone
        self.agree()

    @rule(days=st.sampled_from((0, 1, 30, 200, 401)))
    def time_passes(self, days: int) -> None:
        self.now_ms += days * DAY_MS + 1


TestStockMachine = StockMachine.TestCase
TestStockMachine.settings = settings(max_examples=settings().max_examples // 2)


CODES = ("A", "B", "C")
codes = st.sampled_from(CODES)


class WarehousesMachine(RuleBasedStateMachine):
    """Several warehouses of one cell beside one sum: what came in, less what left for good."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()
        self.total = dict.fromkeys(SKUS, 0)
        self.numbers = 0

    def send(self, code: str, make: Any) -> tuple[str, list[Event]]:
        """Send a command made with a new document number, and again; return what became of the first."""
        self.numbers += 1
        command = make(f"d-{self.numbers}")
        turn = self.cell.send(warehouse_key(code), command)
        again = self.cell.send(warehouse_key(code), command)
        if turn.outcome == "accepted":
            assert (again.outcome, again.records) == ("repeated", [])
        return turn.outcome, [decode_event(record.tag, record.data) for record in turn.records]

    @rule(code=codes, sku=skus, units=st.integers(1, 9))
    def receive(self, code: str, sku: str, units: int) -> None:
        self.send(code, lambda number: stock.ReceiveStock(number, ((sku, units),)))
        self.total[sku] += units

    @rule(source=codes, to=codes, what=lines)
    def move(self, source: str, to: str, what: tuple[tuple[str, int], ...]) -> None:
        before = [self.cell.level(sku, code) for code in CODES for sku in SKUS]
        outcome, _ = self.send(source, lambda number: shelf.MoveStock(number, to, what))
        if outcome == "refused" or source == to:
            after = [self.cell.level(sku, code) for code in CODES for sku in SKUS]
            assert [level.on_hand for level in after] == [level.on_hand for level in before]

    @rule(code=codes, what=lines)
    def count(self, code: str, what: tuple[tuple[str, int], ...]) -> None:
        _, events = self.send(code, lambda number: shelf.CountStock(number, what))
        for event in events:
            if isinstance(event, stock.StockAdjusted):
                self.total[event.sku] += event.delta

    @rule(code=codes, sku=skus, delta=st.integers(-3, 3))
    def damage(self, code: str, sku: str, delta: int) -> None:
        self.send(code, lambda number: shelf.MarkDamaged(number, sku, delta, "wet"))

    @rule(code=codes, sku=skus, units=st.integers(1, 3))
    def scrap(self, code: str, sku: str, units: int) -> None:
        outcome, _ = self.send(code, lambda number: shelf.ScrapDamaged(number, sku, units, "bin"))
        self.total[sku] -= units if outcome == "accepted" else 0

    @rule(code=codes, sku=skus, units=st.integers(1, 5))
    def protect(self, code: str, sku: str, units: int) -> None:
        self.send(code, lambda number: stock.ProtectStock(number, sku, units))

    @invariant()
    def nothing_is_lost_or_promised_twice(self) -> None:
        for sku in SKUS:
            levels = [self.cell.level(sku, code) for code in CODES]
            assert sum(level.on_hand for level in levels) == self.total[sku]
            assert min(level.available for level in levels) >= 0

    def teardown(self) -> None:
        assert replayed(self.cell.records) == self.cell.living


TestWarehousesMachine = WarehousesMachine.TestCase
TestWarehousesMachine.settings = settings(max_examples=settings().max_examples // 4)
