"""What must hold where there are rules, several warehouses and people: looked at event by event, and after each commit.

Written from what is promised, without the functions that the product decides by; of the product only the states as
the log's events leave them are read.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from domain import approvals, stock
from domain.cell import Held
from domain.envelope import Envelope
from domain.ids import warehouse_key
from domain.order import (
    Allocation,
    GiftsWaived,
    InterceptionResolved,
    Order,
    OrderAllocated,
    OrderAmended,
    OrderIntercepted,
    OrderNormalized,
    OrderPromised,
    OrderReserved,
    OrderShipped,
    PartiallyShipped,
    PickListIssued,
    TimerCleared,
    TimerSet,
)
from domain.rulebook import RulesChanged
from domain.rulings import Gift
from domain.stock import Ledger
from tests.fakes import Faults
from tests.simulation import books
from tests.simulation.musts import must


def held_back(state: Order) -> bool:
    """Whether anything keeps an order from leaving."""
    if state.holds or state.interceptions:
        return True
    if any(each.verdict in ("open", "rejected") for each in state.people.approvals.asked):
        return True
    asked_back = {line for line, stage in state.after_sales if stage == "open"}
    return any(line in asked_back and line not in state.shipped for line in _live(state))


def _live(state: Order) -> dict[str, int]:
    """Line → units still wanted."""
    cut = dict(state.cancelled)
    left = {line.id: line.quantity - cut.get(line.id, 0) for line in state.lines if line.state != "cancelled"}
    return {line: units for line, units in left.items() if units > 0}


def pieces_of(state: Order) -> dict[str, dict[str, int]]:
    """Line, or gift → SKU → units that must still leave."""
    sent, parts = dict(state.sent), {kit.line: kit.parts for kit in state.ruled.kits}
    found: dict[str, dict[str, int]] = {}
    skus = {line.id: line.sku for line in state.lines}
    live = _live(state)
    for line, units in live.items():
        left = units - sent.get(line, 0)
        if line not in state.shipped and left > 0:
            found[line] = {sku: each * left for sku, each in parts.get(line, ((skus[line], 1),))}
    for gift in state.ruled.gifts if live else ():
        name = f"gift:{gift.rule}:{gift.sku}"
        if name not in state.shipped:
            found[name] = {gift.sku: gift.units}
    return found


def _lines_left(state: Order) -> dict[str, int]:
    """Line, or gift → units that must still leave."""
    sent = dict(state.sent)
    left = {line: units - sent.get(line, 0) for line, units in _live(state).items() if line not in state.shipped}
    if _live(state):
        left |= {name: gift.units for gift in state.ruled.gifts if (name := _gift(gift)) not in state.shipped}
    return {line: units for line, units in left.items() if units > 0}


def _gift(gift: Gift) -> str:
    return f"gift:{gift.rule}:{gift.sku}"


def _sum(all_lines: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for lines in all_lines:
        total.update(lines)
    return {sku: units for sku, units in total.items() if units}


class RulesWatch:
    """Looks at each event beside the states before and after it."""

    def __init__(self, states: dict[str, Held], faults: Faults) -> None:
        self._states = states
        self._faults = faults
        self._books: dict[int, books.Clauses] = {0: books.NONE}
        self._views: dict[str, int] = {}
        """Order → version of the rule book at its latest view, if nothing of it was picked then."""
        self._once: set[tuple[Any, ...]] = set()
        self._yes: dict[tuple[str, str, int], set[str]] = {}
        self._then: dict[str, dict[str, Ledger]] = {}
        """Order → the ledgers as they stood at its latest event: plans are made by them."""
        self._ledgers: dict[str, Ledger] = {}
        self._set: Counter[tuple[str, str]] = Counter()
        """(order, timer) → how often it was set."""
        self._rang: set[tuple[str, str]] = set()
        """(order, timer) of those that have fired."""

    def _one(self, *name: Any) -> None:
        must(name not in self._once, "an effect came twice", *name)
        self._once.add(name)

    # --- event by event

    def event(self, stream: str, before: Any, facts: Any, after: Any, envelope: Envelope) -> None:
        """Look at one event."""
        if isinstance(after, Ledger):
            self._ledgers[stream] = after
        if isinstance(after, Order):
            self._order(stream, before, facts, after, envelope)
        elif isinstance(facts, RulesChanged):
            self._books[facts.version] = books.read(facts.text)
        elif isinstance(facts, stock.StockReserved | stock.StockPreReserved):
            self._kept(facts, after)

    def _kept(self, facts: stock.StockReserved | stock.StockPreReserved, ledger: Ledger) -> None:
        """Check that what an order must leave on the shelf is left."""
        keep = dict(self._states[facts.order].state.ruled.keep)
        for sku, _ in facts.lines:
            must(ledger.levels[sku].available >= keep.get(sku, 0), "kept stock was eaten", facts, ledger.levels[sku])
        if any(keep.get(sku) for sku, _ in facts.lines):
            self._faults.saw("rules.kept_stock")

    def _order(self, stream: str, before: Order, facts: Any, after: Order, envelope: Envelope) -> None:
        match facts:
            case OrderNormalized() | OrderAmended():
                self._views[stream] = envelope.rules
                if any(each.picked for each in before.allocations):
                    del self._views[stream]
            case OrderShipped() | PartiallyShipped() if facts.command and facts.allocation:
                self._left(stream, before, facts)
            case OrderReserved():
                asked = _sum(dict(each.lines) for each in before.allocations) or dict(facts.lines)
                given = _sum(lines for name, lines in pieces_of(before).items() if name.startswith("gift:"))
                must(given.keys() <= asked.keys(), "main goods are promised and their gift is not", stream, facts)
            case OrderAllocated():
                self._plan(stream, before, facts)
            case PickListIssued():
                must(not held_back(before), "a pick list of an order that is held", stream, facts)
                self._one("pick list", facts.pick_list)
            case OrderIntercepted():
                must(bool(facts.advice and facts.role and facts.evidence), "stopped without advice", stream, facts)
                must(facts.interception not in dict(before.interceptions), "stopped twice for one thing", stream, facts)
                self._faults.saw(f"stopped.{facts.reason}")
            case InterceptionResolved():
                must(facts.interception in dict(before.interceptions), "nothing to resolve", stream, facts)
            case OrderPromised():
                self._one("promise", stream)
            case TimerSet():
                must(facts.timer not in dict(before.timers), "a timer is set twice", stream, facts)
                self._set[stream, facts.timer] += 1
            case TimerCleared():
                must(facts.timer in dict(before.timers), "a timer that is not open ends", stream, facts)
                if facts.fired:
                    due_ms = dict(before.timers)[facts.timer]
                    self._one("timer", stream, facts.timer, due_ms, self._set[stream, facts.timer])
                    self._rang.add((stream, facts.timer))
                    must(envelope.observed_at >= due_ms, "a timer fired before its time", stream, facts)
                    self._faults.saw(f"timer.{facts.timer}")
            case approvals.ApprovalGiven():
                self._approved(stream, before, facts)
            case GiftsWaived():
                must(not after.ruled.gifts and after.ruled.waived, "gifts were waived and are still there", stream)
        self._then[stream] = dict(self._ledgers)

    def _left(self, stream: str, before: Order, facts: OrderShipped | PartiallyShipped) -> None:
        """Check that what we sent might leave, and leaves once."""
        must(not held_back(before), "something left while it was held", stream, facts)
        self._one("left", facts.allocation)
        (sent,) = [each for each in before.allocations if each.id == facts.allocation]
        must(sent.listed and not sent.unprocessed, "it left before its work was done", stream, sent)
        if isinstance(facts, PartiallyShipped):
            self._faults.saw("order.sent_in_parts")

    def _approved(self, stream: str, before: Order, facts: approvals.ApprovalGiven) -> None:
        (approval,) = [each for each in before.people.approvals.asked if each.asked.approval == facts.approval]
        people = self._yes.setdefault((stream, facts.approval, facts.attempt), set())
        must(facts.person not in people, "one person counts for two", stream, facts)
        must(facts.person != approval.asked.asked_by, "somebody approved what he asked for", stream, facts)
        must(facts.role in approval.roles, "somebody approved what is not his", stream, facts)
        people.add(facts.person)
        must(facts.complete is (len(people) >= approval.asked.people), "too few people agreed", stream, facts)

    # --- routing

    def _plan(self, stream: str, before: Order, facts: OrderAllocated) -> None:
        """Check a plan of several allocations against what it is for and what there was."""
        self._faults.saw("routing.planned")
        pieces = pieces_of(before)
        planned: dict[str, int] = Counter()
        for each in facts.allocations:
            units = {line: sum(lines.values()) for line, lines in pieces.items()}
            for line, count in each.units:
                planned[line] += count
            must(bool(each.lines) and set(dict(each.units)) <= set(units), "a parcel of nothing", stream, each)
        live, sent = _live(before), dict(before.sent)
        gifts = {f"gift:{gift.rule}:{gift.sku}": gift for gift in before.ruled.gifts}
        wanted = {line: gifts[line].units if line in gifts else live[line] - sent.get(line, 0) for line in pieces}
        must(dict(planned) == wanted, "a plan for something else", stream, planned, wanted)
        must(_sum(dict(each.lines) for each in facts.allocations) == _sum(pieces.values()), "other goods", stream)
        routes = self._routes(before, [line for line in pieces if line not in gifts])
        for route, lines in routes.items():
            mine = [each for each in facts.allocations if set(dict(each.units)) & set(lines)]
            self._one_route(stream, before, route, lines, mine, pieces)
        for name, gift in gifts.items():
            codes = {each.warehouse for each in facts.allocations if name in dict(each.units)}
            must(len(codes) <= 1, "a gift in two parcels", stream, facts)
            locked = {hold.warehouse for hold in before.ruled.pre_holds if gift.sku in dict(hold.lines)}
            if gift.warehouse and codes and not locked:
                must(codes == {gift.warehouse}, "a gift from where it does not lie", stream, facts)

    def _routes(self, state: Order, lines: list[str]) -> dict[Any, list[str]]:
        """Route (codes, split, area, processing) → its lines."""
        found: dict[Any, list[str]] = {}
        for line in lines:
            for route in state.ruled.routes:
                if not route.lines or line in route.lines:
                    found.setdefault((route.warehouses, route.split, route.area, route.processing), []).append(line)
                    break
            else:
                found.setdefault(((), "lines", "", False), []).append(line)
        return found

    def _one_route(
        self,
        stream: str,
        before: Order,
        route: Any,
        lines: list[str],
        mine: list[Allocation],
        pieces: dict[str, dict[str, int]],
    ) -> None:
        named, split, area, processing = route
        must(all((each.area, each.unprocessed) == (area, processing) for each in mine), "a wrong area", stream, mine)
        codes = {each.warehouse for each in mine}
        must(not named or codes <= set(named), "from a warehouse that its route does not name", stream, route, mine)
        if split == "never":
            must(len(codes) == 1, "split, and should not be", stream, mine)
        if split == "lines":
            for line in lines:
                must(sum(line in dict(each.units) for each in mine) == 1, "a line was split", stream, line, mine)
        if len(codes) > 1:
            self._faults.saw("routing.split")
            # A single parcel goes before everything else.
            wanted = _sum(pieces[line] for line in lines)
            for code in named:
                must(not self._could(stream, before, code, wanted), "split, and one could serve all", stream, code)

    def _could(self, stream: str, before: Order, code: str, wanted: dict[str, int]) -> bool:
        """Whether one warehouse could have served it all alone, whatever else was planned."""
        if len(self._routes(before, list(pieces_of(before)))) > 1:
            return False  # another route of the order may have taken its goods first
        ledger = self._then[stream].get(warehouse_key(code))
        keep = dict(before.ruled.keep)
        own = _sum(dict(hold.lines) for hold in before.ruled.pre_holds if hold.warehouse == code)
        levels = ledger.levels if ledger is not None else {}
        return all(
            (levels[sku].available if sku in levels else 0) + own.get(sku, 0) - keep.get(sku, 0) >= units
            for sku, units in wanted.items()
        )

    # --- after each commit

    def rest(self, touched: Iterable[str]) -> None:
        """Check what must hold between turns."""
        orders = set()
        for stream in touched:
            state = self._states[stream].state
            if isinstance(state, Order):
                orders.add(stream)
            elif isinstance(state, Ledger):
                self._ledger(stream, state)
        for stream in sorted(orders):
            self._agrees(stream, self._states[stream].state)
            self._obeys(stream, self._states[stream].state)
        held = sum(len(held.state.allocations) for held in self._states.values() if isinstance(held.state, Ledger))
        believed = sum(
            len(held.state.allocations) + len(held.state.ruled.pre_holds)
            for held in self._states.values()
            if isinstance(held.state, Order)
        )
        must(held == believed, "ledgers and orders disagree on what is held", held, believed)

    def _ledger(self, stream: str, ledger: Ledger) -> None:
        waiting = sorted(name for name, held in ledger.allocations.items() if held.missing)
        must(sorted(ledger.promises) == waiting, "who waits for goods is not who was promised them", stream, waiting)
        for sku, level in ledger.levels.items():
            mine = list(ledger.allocations.values())
            reserved = sum(dict(held.lines).get(sku, 0) for held in mine if not held.pre)
            locked = sum(dict(held.lines).get(sku, 0) for held in mine if held.pre)
            promised = sum(dict(held.missing).get(sku, 0) for held in mine)
            there = (level.reserved, level.pre_reserved, level.promised)
            must(there == (reserved, locked, promised), "promised to nobody", stream, sku, level)
            must(level.available >= 0, "oversold", stream, sku, level)
            kept = max((dict(held.keep).get(sku, 0) for held in mine if dict(held.missing).get(sku)), default=0)
            must(not level.promised or level.available <= kept, "sold past those who wait for it", stream, sku, level)

    def _agrees(self, stream: str, state: Order) -> None:
        """Check that an order holds what the ledgers hold for it, and waits for nothing that it could have."""
        for each in (*state.allocations, *state.ruled.pre_holds):
            ledger = self._states[warehouse_key(each.warehouse)].state
            held = ledger.allocations.get(each.id)
            must(held is not None, "the ledger knows nothing of", each.id)
            must(_sum((dict(held.lines), dict(held.missing))) == dict(each.lines), "they hold different things", each)
        must(all(each.held for each in state.allocations), "a plan outlives its turn", stream)
        if state.allocations:
            must(state.status == "allocating", "goods are held for an order that is", stream, state.status)
            must(held_back(state) or all(each.listed for each in state.allocations), "nobody was asked to pick", stream)
        waits = state.kind == "presale" and any(hold.due_ms for hold in state.ruled.pre_holds)
        stopped = state.interceptions or state.quarantined is not None or state.kind == "counter" or waits
        if state.status in ("paid", "allocating") and not stopped:
            wanted = _sum(pieces_of(state).values())
            must(bool(state.allocations) or not wanted, "an order that nothing stops waits for ever", stream, wanted)
            if state.allocations and not any(each.picked for each in state.allocations):
                holds = _sum(dict(each.lines) for each in state.allocations)
                must(holds == wanted, "an order holds something else than it needs", stream, holds, wanted)
                lines = _sum(dict(each.units) for each in state.allocations)
                if lines:
                    must(lines == _lines_left(state), "its parcels are for other lines", stream, lines)
        timers = dict(state.timers)
        must("payment" not in timers or state.status == "awaiting_payment", "it is paid and awaited", stream)
        must("promise" not in timers or state.status in ("paid", "allocating", "cancelled"), "kept and due", stream)
        if waits and (stream, "presale") not in self._rang:
            must("presale" in timers, "goods are waited for and nobody looks when they should be here", stream)
        due = [
            each.asked.due_ms
            for each in state.people.approvals.asked
            if each.verdict == "open" and each.asked.due_ms and each.asked.escalate_to and not each.escalated
        ]
        must(timers.get("approval") == min(due, default=None), "an escalation that nobody waits for", stream, due)

    def _obeys(self, stream: str, state: Order) -> None:
        """Check that what the book said at the order's latest view was done."""
        if stream not in self._views or state.kind == "counter":
            return
        if state.status not in ("awaiting_payment", "paid", "allocating"):
            return
        book = self._books[self._views[stream]]
        ruled = state.ruled
        if not ruled.waived and not any(each.picked for each in state.allocations) and not state.sent:
            expected = books.gifts(book, state.lines)
            there = [(gift.rule, gift.sku, gift.units) for gift in ruled.gifts]
            must(there == expected, "other gifts than the book gives", stream, there, expected)
        if "promise" in book.names and state.status in ("paid", "allocating"):
            must(ruled.promised, "nothing was promised", stream)
