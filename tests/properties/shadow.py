"""What must hold of a cell whatever is sent to it: checked on the stored bytes of each turn."""

from collections import Counter

from domain import order, stock
from domain.catalogue import TYPES, decode_event, encode_event
from domain.cell import DECIDERS, Held, Turn
from domain.ids import kind_of, parts_of
from domain.order import TRANSITIONS, Order
from domain.skus import Skus
from domain.stock import summed
from tests.spec import Cell

PROVENANCE = frozenset({"order.repeated", "order.outdated", "order.refused", "stock.refused", "skus.refused"})
"""Tags of what may follow from a message that was handled before."""
OPEN = ("paid", "allocating")


class Shadow:
    """Folds the records of a cell beside it, and looks at every single step."""

    def __init__(self, cell: Cell) -> None:
        """Watch a cell from its beginning."""
        self.cell = cell
        self.states: dict[str, Held] = {}
        self.timers: dict[tuple[str, str], int] = {}
        self.on_hand: Counter[tuple[str, str]] = Counter()
        """(ledger, SKU) → units, by what came in and left."""
        self.shipped: Counter[str] = Counter()
        """Allocation → how often we sent it."""
        self._read = 0

    def follow(self, turn: Turn) -> None:
        """Fold what a turn recorded, then check the whole."""
        for record in self.cell.records[self._read :]:
            event = decode_event(record.tag, record.data)
            assert type(event) is TYPES[record.tag]
            assert encode_event(event) == record.data
            decider = DECIDERS[kind_of(record.stream)]
            version, before = self.states.get(record.stream) or Held(0, decider.initial)
            assert record.version == version + 1
            after = decider.evolve(before, event)
            self.states[record.stream] = Held(record.version, after)
            if isinstance(before, Order):
                self._step(before, event, after)
            else:
                self._goods(record.stream, event)
        self._read = len(self.cell.records)
        for timer in turn.timers:
            if timer.due_ms is None:
                self.timers.pop((timer.stream, timer.id), None)
            else:
                self.timers[timer.stream, timer.id] = timer.due_ms
        self.check()

    def _step(self, before: Order, event: object, after: Order) -> None:
        """Only legal steps; nothing that is held is sent by us."""
        assert after.status == before.status or after.status in TRANSITIONS[before.status], (event, before.status)
        if isinstance(event, order.OrderShipped | order.PartiallyShipped) and event.command and event.allocation:
            assert not order.on_hold(before)
            (sent,) = [each for each in before.allocations if each.id == event.allocation]
            assert (sent.listed, sent.unprocessed) == (True, False)
            self.shipped[event.allocation] += 1
            assert self.shipped[event.allocation] == 1, "one shipment for each allocation"
        if isinstance(event, order.OrderCancelled):
            assert before.kind == "counter" or not order.some_left(before), "cancelled while goods are on their way"
        if isinstance(event, order.OrderReserved):
            gifts = {gift.sku for gift in before.ruled.gifts if order.gift_line(gift) not in before.shipped}
            asked = order.held_of(before.allocations) or dict(event.lines)
            assert gifts <= asked.keys(), "main goods are promised and their gift is not"
        if isinstance(event, order.PickListIssued):
            assert not order.on_hold(before)
        if isinstance(event, order.TimerSet):
            assert event.timer not in dict(before.timers)
        if isinstance(event, order.OrderIntercepted):
            assert event.interception not in dict(before.interceptions)
        if isinstance(event, order.InterceptionResolved):
            assert event.interception in dict(before.interceptions)

    def _goods(self, ledger: str, event: object) -> None:
        match event:
            case stock.StockReceived() | stock.StockReturned() | stock.StockReturnedDamaged():
                self.on_hand.update({(ledger, sku): units for sku, units in event.lines})
            case stock.StockAdjusted():
                self.on_hand[ledger, event.sku] += event.delta
            case stock.StockPickedOut() | stock.StockIssued():
                self.on_hand.subtract({(ledger, sku): units for sku, units in event.lines})

    def check(self) -> None:
        """Check what must hold between turns."""
        live = {key: held for key, held in self.cell.states.items() if held.version}
        assert self.states == live, "replaying the stored bytes gives another state"
        for key, held in live.items():
            if isinstance(held.state, Order):
                self._check_order(key, held.state)
            elif isinstance(held.state, Skus):
                self._check_table(key, held.state)
            elif isinstance(held.state, stock.Ledger):
                self._check_ledger(key, held.state)

    def _check_table(self, key: str, table: Skus) -> None:
        """Who waits for an item is noted, nobody else is, and nobody waits for what is known."""
        shop = key.partition("-")[2]
        waiting = {
            order_: items
            for order_, held in self.cell.states.items()
            if order_.startswith(f"order-{shop}:") and (items := order.unmapped(held.state))
        }
        assert {each: waits.items for each, waits in table.waiting.items()} == waiting
        assert table.timers or not {item for items in waiting.values() for item, _ in items} & set(table.table)

    def _check_order(self, key: str, state: Order) -> None:
        known = {timer: due for (stream, timer), due in self.timers.items() if stream == key}
        assert dict(state.timers) == known
        assert len(known) == len(state.timers)
        assert ("payment" not in known) or state.status == "awaiting_payment"
        assert ("order" not in known) or state.status == ""
        assert len(set(state.commands)) == len(state.commands)
        self._check_holds(key, state)
        allocations = state.allocations
        assert all(each.held for each in allocations), "a plan outlives its turn"
        for each in allocations:
            assert all(units > 0 for _, units in (*each.lines, *each.units)), "an allocation is for nothing"
        if allocations:
            assert state.status == "allocating"
        waits = state.kind == "presale" and any(hold.due_ms for hold in state.ruled.pre_holds)
        stopped = state.interceptions or state.quarantined is not None or state.kind == "counter" or waits
        if state.status in OPEN and not stopped:
            wanted = dict(order.needs(state))
            assert allocations or not wanted, "an order that nothing stops waits for ever"
            if allocations and not any(each.picked for each in allocations):
                assert wanted == order.held_of(allocations)
        if allocations and not order.on_hold(state):
            assert all(each.listed for each in allocations), "nobody was asked to pick"

    def _check_holds(self, key: str, state: Order) -> None:
        """What the ledgers hold for an order is what the order believes, and nothing else."""
        believed = {
            each.id: (each.warehouse, dict(each.lines)) for each in (*state.allocations, *state.ruled.pre_holds)
        }
        held = {
            name: (parts_of(ledger)[0], dict(summed((*its.lines, *its.missing))))
            for ledger, states in self.cell.states.items()
            if isinstance(states.state, stock.Ledger)
            for name, its in states.state.allocations.items()
            if name.startswith(f"{key}/")
        }
        assert held == believed, "reservation leaked or lost"

    def _check_ledger(self, key: str, ledger: stock.Ledger) -> None:
        reserved: Counter[str] = Counter()
        pre_reserved: Counter[str] = Counter()
        promised: Counter[str] = Counter()
        for held in ledger.allocations.values():
            assert held.lines or held.missing
            (pre_reserved if held.pre else reserved).update(dict(held.lines))
            promised.update(dict(held.missing))
        for sku, level in ledger.levels.items():
            assert level.available >= 0, sku
            assert min(level.on_hand, level.reserved, level.pre_reserved, level.protected, level.promised) >= 0
            assert (level.reserved, level.pre_reserved, level.promised) == (
                reserved[sku], pre_reserved[sku], promised[sku])  # fmt: skip
            assert level.on_hand == self.on_hand[key, sku]
            kept = max((dict(each.keep).get(sku, 0) for each in ledger.allocations.values() if each.missing), default=0)
            assert not level.promised or level.available <= kept, "goods are sold past those who were promised them"
        assert sorted(ledger.promises) == sorted(name for name, held in ledger.allocations.items() if held.missing)
        assert stock.from_snapshot(stock.to_snapshot(ledger)) == ledger
