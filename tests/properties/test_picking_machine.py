"""Whatever is scanned, twice, too much, put back, cancelled, or cut off: exactly what is allocated leaves, once."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from domain.barcodes import SetBarcodes
from domain.catalogue import decode_event
from domain.cell import Held
from domain.ids import BARCODES_KEY, order_key, warehouse_key
from domain.order import CancelLines, OrderShipped, PartiallyShipped, ResolveInterception, Ship
from domain.picking import PickError, ScanItem, UnscanItem
from domain.rulings import Route, Ruling
from domain.shelf import SetPicking
from domain.stock import StockPickedOut
from tests.spec import Cell, line, replayed, snapshot

KEY = order_key("taobao", "shop1", "o-1")
SKUS = ("S1", "S2", "S3")
STOCK = 20
CODES = st.sampled_from(("S1", "S2", "S3", "690", "691", "S9", "???"))
TABLE = {"690": "S1", "691": "S2", "692": "S9"}
names = st.sampled_from(("A", "B", ""))
RULING = Ruling(1, routes=(Route("b", ("3",), ("B",)),))


class PickingMachine(RuleBasedStateMachine):
    """An order of two allocations, in warehouses that let only verified goods leave."""

    sent = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()
        for code in "AB":
            self.cell.receive(*((sku, STOCK) for sku in SKUS), warehouse=code)
            self.cell.send(warehouse_key(code), SetPicking("p-1", verified=True))
        self.cell.send(BARCODES_KEY, SetBarcodes("b-1", tuple(TABLE.items())))
        self.cell.take(snapshot(lines=(line("1", quantity=2), line("2"), line("3", quantity=2))), ruling=RULING)
        assert [each.warehouse for each in self.cell.order().allocations] == ["A", "B"]
        self.scanned: dict[str, dict[str, int]] = {each.id: {} for each in self.cell.order().allocations}
        self.left: dict[str, dict[str, int]] = {}
        self.numbers = 0

    def send(self, make: Any) -> Any:
        """Send a command made with a new id; keep the model by what was recorded."""
        self.numbers += 1
        command = make(f"c-{self.numbers}")
        self.follow(command)
        return command

    def follow(self, command: Any) -> None:
        before = {each.id: dict(each.lines) for each in self.cell.order().allocations}
        turn = self.cell.send(KEY, command)
        events = [decode_event(record.tag, record.data) for record in turn.records if record.stream == KEY]
        moved = [decode_event(each.tag, each.data) for each in turn.records if each.tag == "stock.picked_out"]
        if isinstance(command, Ship) and turn.outcome == "accepted":
            (gone,) = [event for event in events if isinstance(event, OrderShipped | PartiallyShipped)]
            (taken,) = [event for event in moved if isinstance(event, StockPickedOut)]
            assert gone.allocation not in self.left, "one shipment of each allocation"
            assert taken.allocation == gone.allocation
            assert dict(taken.lines) == before[gone.allocation] == self.scanned[gone.allocation]
            self.left[gone.allocation] = dict(taken.lines)
        else:
            assert not moved
        if isinstance(command, ScanItem | UnscanItem) and turn.outcome == "accepted":
            (event,) = events
            assert not isinstance(event, PickError)
            sku = TABLE.get(command.code, command.code)
            units = self.scanned[event.allocation]  # type: ignore[attr-defined]
            units[sku] = units.get(sku, 0) + (command.units if isinstance(command, ScanItem) else -command.units)
            self.scanned[event.allocation] = {each: number for each, number in units.items() if number}  # type: ignore[attr-defined]

    @rule(target=sent, code=CODES, name=names, units=st.integers(1, 3))
    def scan(self, code: str, name: str, units: int) -> Any:
        return self.send(lambda own: ScanItem(own, code, name, units))

    @rule(target=sent, name=st.sampled_from(("A", "B")))
    def scan_all_that_is_left(self, name: str) -> Any:
        code, missing = "S1", 1
        for each in self.cell.order().allocations:
            for sku, units in each.lines if each.warehouse == name else ():
                if units > (have := self.scanned[each.id].get(sku, 0)):
                    code, missing = sku, units - have
        return self.send(lambda own: ScanItem(own, code, name, missing))

    @rule(target=sent, code=CODES, name=names)
    def put_back(self, code: str, name: str) -> Any:
        return self.send(lambda own: UnscanItem(own, code, name))

    @rule(target=sent, name=names)
    def ship(self, name: str) -> Any:
        return self.send(lambda own: Ship(own, f"T{own}", "SF", name))

    @rule(command=sent)
    def double_click(self, command: Any) -> None:
        before = self.cell.order()
        turn = self.cell.send(KEY, command)
        assert turn.records == []
        assert self.cell.order() == before

    @rule(target=sent, own=st.sampled_from(("1", "3")))
    def cancel_a_unit(self, own: str) -> Any:
        return self.send(lambda number: CancelLines(number, ((own, 1),), "one less"))

    @rule()
    def release_what_holds_it(self) -> None:
        for name, _ in self.cell.order().interceptions:
            self.send(lambda own, name=name: ResolveInterception(own, name, "release"))

    @rule()
    def killed(self) -> None:
        """The worker starts again from what was recorded."""
        self.cell.states = {key: Held(*held) for key, held in replayed(self.cell.records).items()}

    @invariant()
    def what_is_on_hand_is_what_has_not_left(self) -> None:
        for sku in SKUS:
            gone = sum(units.get(sku, 0) for units in self.left.values())
            assert sum(self.cell.level(sku, code).on_hand for code in "AB") == 2 * STOCK - gone

    @invariant()
    def the_order_knows_what_is_scanned(self) -> None:
        for each in self.cell.order().allocations:
            assert dict(each.scanned) == self.scanned[each.id]


TestPickingMachine = PickingMachine.TestCase
TestPickingMachine.settings = settings(max_examples=settings().max_examples // 2)
