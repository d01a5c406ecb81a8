"""A reference of orders and stock, written from the rules: one message after another, plain dicts, no events.

It knows what letters mean from their senders, and says what every order and the ledger must be like in the end.
"""

from collections.abc import Mapping
from typing import Any

from domain import stock
from domain.mail import ChannelPayload, encode_body
from domain.order import (
    CancelLines,
    DiscardQuarantined,
    Order,
    ResendQuarantined,
    ResolveInterception,
    ScanOut,
    TimerDue,
)
from tests.simulation.letters import BEGIN_MS, GoodsBack, Item, Letter, View, item_of
from tests.simulation.musts import must

RANK = {"awaiting_payment": 0, "paid": 1, "allocating": 2, "shipped": 3, "completed": 4, "cancelled": 5}
DAY_MS = 86_400_000


class Refused(Exception):
    """A rule forbids it; nothing happens but that it is remembered."""


class ModelOrder:
    """What there is to know of an order."""

    def __init__(self, key: str = "") -> None:
        self.key = key
        self.view: View | None = None
        self.given: dict[str, str] = {}
        """Line → the SKU that the table gave it."""
        self.read_by = 0
        """Version of the field mapping that the view was read by."""
        self.status = ""
        self.held: dict[str, int] | None = None
        self.picked = False
        self.cut: dict[str, int] = {}
        self.gone: set[str] = set()
        self.after: dict[str, str] = {}
        self.back: dict[str, int] = {}
        self.alerts: list[tuple[str, str]] = []
        self.attempts = 0
        self.overdue = 0
        self.timers: dict[str, int] = {}
        self.commands: set[str] = set()
        self.blocked: tuple[str, Letter] | None = None
        self.queue: list[tuple[str, Letter]] = []

    @property
    def items(self) -> tuple[Item, ...]:
        return self.view.items if self.view else ()

    def live(self) -> dict[str, tuple[str, int]]:
        """Line → (SKU, units) still wanted."""
        return {
            item.id: (item.sku, item.units - self.cut.get(item.id, 0))
            for item in self.items
            if item.state != "cancelled" and item.units > self.cut.get(item.id, 0)
        }

    def needs(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for line, (sku, units) in self.live().items():
            if line not in self.gone:
                total[sku] = total.get(sku, 0) + units
        return total

    def wants(self) -> dict[str, int]:
        """What it waits for from the warehouse."""
        assert self.view is not None or self.status == ""
        if self.status not in ("paid", "allocating") or self.held is not None or self.alerts or self.blocked:
            return {}
        needs = self.needs()
        return needs if self.view and not self.view.counter and all(needs) else {}

    def stopped(self) -> bool:
        asked = any(self.after.get(line) == "open" for line in self.live() if line not in self.gone)
        return bool((self.view and self.view.held) or self.alerts or asked)

    def lift(self, reason: str) -> None:
        self.alerts = [alert for alert in self.alerts if alert[1] != reason]

    def alert(self, reason: str) -> None:
        """Stop it, unless it is stopped for that already; the alert is named after the view that gave rise to it."""
        if all(known != reason for _, known in self.alerts):
            assert self.view is not None
            self.alerts.append((f"{reason}-{self.view.modified}-{self.view.rows}-{self.view.status}", reason))

    def trim(self, keep: dict[str, int]) -> None:
        if self.held is not None:
            self.held = {sku: keep[sku] for sku in self.held if keep.get(sku, 0) > 0} or None
            self.picked = self.picked and self.held is not None

    def ship(self) -> None:
        self.status, self.held, self.picked, self.gone = "shipped", None, False, set(self.live())


class Model:
    """A cell with one warehouse and no rules; of one that has them, only what channels said and what waits."""

    def __init__(self, views: Mapping[str, str], *, ruled: bool = False) -> None:
        """Take what tells a view from others by the first digits of the digest under which alerts name it."""
        self._views = views
        self._ruled = ruled
        self.orders: dict[str, ModelOrder] = {}
        self.on_hand: dict[str, int] = {}
        self.protected: dict[str, int] = {}
        self.since: dict[str, int] = {}
        self.documents: set[str] = set()
        self.skus: dict[str, dict[str, str]] = {}
        """Channel → item → SKU."""
        self.waiting: dict[str, None] = {}
        """Orders that wait for a SKU, those first that began to first."""
        self.mappings: dict[str, list[str]] = {}
        """Channel → the field mappings that were in force, one after the other."""

    def reserved(self, sku: str) -> int:
        return sum((order.held or {}).get(sku, 0) for order in self.orders.values())

    def available(self, sku: str) -> int:
        return self.on_hand.get(sku, 0) - self.reserved(sku) - self.protected.get(sku, 0)

    def take(self, item: str, letter: Letter, *, suspect: bool) -> None:
        """Handle one message."""
        to, now = letter.mail.to, letter.mail.observed_at
        if letter.facts in ("nobody", "garbage"):
            return
        if to.startswith("warehouse-"):
            if not suspect and not self._ruled:
                self._ledger(letter.mail.body, now)
        elif to.startswith("mapping-"):
            if not suspect:
                self._mapping(to.partition("-")[2], letter.mail.body)
        elif to.startswith("skus-"):
            if not suspect:
                self._entries(to.partition("-")[2].partition(":")[0], letter.mail.body)
        elif to.startswith("order-"):
            order = self.orders.setdefault(to, ModelOrder(to))
            self._run(order, item, letter, now, suspect=suspect)

    def _ledger(self, body: Any, now: int) -> None:
        if body.document in self.documents:
            return
        match body:
            case stock.ReceiveStock():
                for sku, units in body.lines:
                    self.on_hand[sku] = self.on_hand.get(sku, 0) + units
                    self.since.setdefault(sku, now)
            case stock.AdjustStock():
                if self.available(body.sku) + body.delta < 0:
                    return
                self.on_hand[body.sku] = self.on_hand.get(body.sku, 0) + body.delta
                self.since.setdefault(body.sku, now)
            case stock.ProtectStock():
                if self.available(body.sku) + self.protected.get(body.sku, 0) < body.quantity:
                    return
                self.protected[body.sku] = body.quantity
        self.documents.add(body.document)

    # --- tables

    def _mapping(self, channel: str, body: Any) -> None:
        texts = self.mappings.setdefault(channel, [])
        bad = body.text.endswith("[[field]]\n")
        if not bad and body.text not in texts:  # the world sends each document under one id
            texts.append(body.text)

    def _entries(self, channel: str, body: Any) -> None:
        table = self.skus.setdefault(channel, {})
        table.update(body.skus)
        for key in [key for key in self.waiting if key.startswith(f"order-{channel}:")]:
            order = self.orders[key]
            if not any(item_of(channel, line) in table for line in _bare(order)):
                continue
            del self.waiting[key]
            wanted, held, known = (
                bool(order.wants()),
                dict(order.held or {}),
                {each.id: each.sku for each in order.items},
            )
            assert order.view is not None
            order.view = order.view._replace(items=self._filled(order, order.view))
            self._unmapped(order)
            gone = self._left(order, set(order.gone), known)
            self._settle(order, held, gone, BEGIN_MS + order.view.modified * 1000, wanted=wanted)
            self._note(order)

    def _filled(self, order: ModelOrder, view: View) -> tuple[Item, ...]:
        """Return the lines with the SKUs that the channel does not name."""
        table, given = self.skus.get(view.channel, {}), order.given
        found: list[Item] = []
        order.given = {line: sku for line, sku in given.items() if any(each.id == line for each in view.items)}
        for each in view.items:
            before = given.get(each.id, "")
            sku = (before if each.id in order.gone else "") or table.get(item_of(view.channel, each.id), "") or before
            if not each.sku and sku:
                order.given[each.id] = sku
            found.append(each._replace(sku=each.sku or sku))
        return tuple(found)

    def _note(self, order: ModelOrder) -> None:
        """Note whether an order waits for a SKU."""
        if _bare(order):
            self.waiting.setdefault(order.key)
        else:
            self.waiting.pop(order.key, None)

    # --- one step of an order, and what it means for the warehouse

    def _run(self, order: ModelOrder, item: str, letter: Letter, now: int, *, suspect: bool = False) -> None:
        wanted, held = bool(order.wants()), dict(order.held or {})
        gone_before, known = set(order.gone), {each.id: each.sku for each in order.items}
        waiting: list[tuple[str, Letter]] = []
        shipped_ms, by_us = now, False
        body = letter.mail.body
        if suspect or letter.facts == "broken":
            self._keep(order, item, letter, now)
        elif isinstance(letter.facts, View):
            shipped_ms = BEGIN_MS + letter.facts.modified * 1000
            if order.blocked:
                self._wait(order, item, letter, now)
            else:
                waiting = self._view(order, letter.facts)
        else:
            command = (
                f"return-{letter.facts.reference}"
                if isinstance(letter.facts, GoodsBack)
                else getattr(body, "command_id", "")
            )
            always = isinstance(body, ResendQuarantined | DiscardQuarantined | ResolveInterception | TimerDue)
            again = command in order.commands and not isinstance(letter.facts, GoodsBack)
            if not always and not again and (order.blocked or order.status == ""):
                self._wait(order, item, letter, now)
            elif not command or command not in order.commands:
                try:
                    did, waiting = self._command(order, letter, now)
                except Refused:
                    did = True
                if did and command:
                    order.commands.add(command)
                by_us = isinstance(body, ScanOut) and order.status == "shipped" and bool(held)
        gone = dict(held) if by_us and order.held is None else self._left(order, gone_before, known)
        self._settle(order, held, gone, shipped_ms, wanted=wanted)
        self._note(order)
        for each, again_letter in waiting:
            self._run(order, each, again_letter, now)

    def _left(self, order: ModelOrder, before: set[str], known: dict[str, str]) -> dict[str, int]:
        """SKU → units that left in this step, or whose SKU became known after they had."""
        gone: dict[str, int] = {}
        if order.view and order.view.counter:
            return gone
        for line, (sku, units) in order.live().items():
            if line in order.gone and (line not in before or (sku and line in known and not known[line])):
                gone[sku] = gone.get(sku, 0) + units
        return gone

    def _settle(
        self, order: ModelOrder, held: dict[str, int], gone: dict[str, int], shipped_ms: int, *, wanted: bool
    ) -> None:
        if self._ruled:
            return
        for sku, units in held.items():
            left = min(units, gone.get(sku, 0))
            gone[sku] = gone.get(sku, 0) - left
            self.on_hand[sku] = self.on_hand.get(sku, 0) - left
        number = order.attempts + 1
        counted = {
            sku: units for sku, units in gone.items() if units and sku and 0 < self.since.get(sku, 0) <= shipped_ms
        }
        short = any(self.available(sku) < units for sku, units in counted.items())
        for sku, units in counted.items():
            self.on_hand[sku] -= max(min(units, self.available(sku)), 0)
        wants = {} if wanted else order.wants()
        if short:
            order.attempts += 1
            order.alerts.append((f"stock_short-issued-{number}", "shipped_without_stock"))
        if not wants:
            return
        order.attempts += 1
        if all(self.available(sku) >= units for sku, units in wants.items()):
            order.held, order.status = wants, "allocating"
        else:
            order.alerts.append((f"stock_short-{number}", "stock_short"))

    # --- what waits

    def _keep(self, order: ModelOrder, item: str, letter: Letter, now: int) -> None:
        if order.blocked:
            self._wait(order, item, letter, now)
        else:
            order.blocked = item, letter

    def _wait(self, order: ModelOrder, item: str, letter: Letter, now: int) -> None:
        if any(_same(letter, other) for _, other in (*([order.blocked] if order.blocked else []), *order.queue)):
            return
        if not order.blocked and not order.queue:
            order.timers.setdefault("order", now + 2 * DAY_MS)
        order.queue.append((item, letter))

    # --- the channel's view

    def _view(self, order: ModelOrder, view: View) -> list[tuple[str, Letter]]:
        before, status = order.view, order.status
        if before is not None:
            said = view.modified, view.rows, RANK[view.status]
            known = before.modified, before.rows, RANK[before.status]
            version = len(self.mappings.get(view.channel, ()))
            if said == known and version > order.read_by:
                self._read_again(order, view, before, version)
            if said <= known:
                return []
            now = {item.id: item.units for item in view.items if item.state != "cancelled"}
            was = {item.id: item.units for item in before.items}
            left = {line: units - max(was.get(line, 0) - now.get(line, 0), 0) for line, units in order.cut.items()}
            order.cut = {line: units for line, units in left.items() if line in now and units > 0}
            if view.counter and order.status in ("shipped", "completed"):
                order.gone |= {item.id for item in view.items if item.state == "shipped"}
        view = order.view = view._replace(items=self._filled(order, view))
        order.read_by = len(self.mappings.get(view.channel, ()))
        waiting: list[tuple[str, Letter]] = []
        if before is None:
            order.status, order.timers, order.alerts = "awaiting_payment", {}, []
            waiting, order.queue = order.queue, []
        elif RANK[view.status] != RANK[before.status] and not before.counter:
            self._look_back(order, view, before, status)
        self._advance(order, view)
        self._after_sales(order, view, before)
        self._look_at_the_held(order, view, before)
        self._unmapped(order)
        return waiting

    def _read_again(self, order: ModelOrder, view: View, before: View, version: int) -> None:
        """The same view, read by a newer field mapping: only SKUs that are known by now can be new."""
        order.read_by = version
        order.view = view._replace(items=self._filled(order, view))
        self._look_at_the_held(order, order.view, before)
        self._unmapped(order)

    def _look_at_the_held(self, order: ModelOrder, view: View, before: View | None) -> None:
        if order.held is not None:
            differs = view.items != (before.items if before else ()) and order.needs() != order.held
            moved = before is not None and view.address != before.address
            if order.picked and (differs or moved):
                order.alert("changed_after_allocation")
            elif not order.picked and differs:
                order.held = None
                order.status = "allocating" if order.gone else "paid"
                order.lift("changed_after_allocation")

    def _look_back(self, order: ModelOrder, view: View, before: View, status: str) -> None:
        rank = RANK[view.status]
        if rank > RANK[before.status]:
            order.lift("moved_backwards")
        if status == "cancelled":
            if view.status == "cancelled":
                order.lift("alive_after_cancelling")
            elif view.status != "awaiting_payment":
                order.alert("alive_after_cancelling")
        elif rank < RANK[before.status] and rank < RANK["shipped"] and rank < RANK[status]:
            order.alert("moved_backwards")

    def _advance(self, order: ModelOrder, view: View) -> None:
        if view.status == "awaiting_payment":
            if order.status == "awaiting_payment":
                due = BEGIN_MS + view.pay_by * 1000 if view.pay_by else BEGIN_MS + view.created * 1000 + DAY_MS
                open_due = order.timers.get("payment")
                if due != open_due and not (open_due is None and due == order.overdue):
                    order.timers["payment"] = due
                    order.lift("payment_timeout")
            return
        if view.status == "cancelled":
            self._cancel(order, command=False)
            return
        if order.status == "awaiting_payment":
            order.status, order.timers = "paid", {}
            order.lift("payment_timeout")
        if view.status == "allocating":
            newly = {item.id for item in view.items if item.state == "shipped"} - order.gone
            if newly and order.status in ("paid", "allocating"):
                held = dict(order.held or {})
                for line, (sku, units) in order.live().items():
                    if line in newly:
                        held[sku] = held.get(sku, 0) - units
                order.trim(held)
                order.gone |= newly
                order.status = "allocating"
            return
        if view.status in ("shipped", "completed") and order.status in ("paid", "allocating"):
            order.ship()
            order.alerts = []
        if view.status == "completed" and order.status == "shipped":
            order.status = "completed"

    def _cancel(self, order: ModelOrder, *, command: bool) -> bool:
        """Cancel what has not left; for what has, open an after-sale. Says whether anything happened."""
        did = False
        voided = order.status == "completed" and order.view is not None and order.view.counter and not command
        if voided or (order.status in ("awaiting_payment", "paid", "allocating") and not order.gone):
            order.status, order.held, order.picked, order.timers, order.alerts = "cancelled", None, False, {}, []
            return True
        if order.status == "allocating":
            for line, (_, units) in order.live().items():
                if line not in order.gone:
                    order.cut[line] = order.cut.get(line, 0) + units
            order.ship()
            order.alerts = []
            did = True
        if order.status in ("shipped", "completed"):
            said = {item.id: item.after_sale for item in order.items}
            for line in order.live():
                if line not in order.after and (command or not said[line]):
                    order.after[line] = "open"
                    did = True
        return did

    def _after_sales(self, order: ModelOrder, view: View, before: View | None) -> None:
        says = {item.id: item.after_sale for item in view.items}
        known = dict(order.after)
        withdrawn = {
            item.id for item in (before.items if before else ()) if item.after_sale == "open" and not says.get(item.id)
        }
        for line, said in says.items():
            if said in ("open", "refunded"):
                order.after[line] = said
        over = view.status != "cancelled" or order.status == "cancelled"
        for line, stage in known.items():
            if says.get(line) == "closed" or (stage == "open" and line in withdrawn and over):
                del order.after[line]

    def _unmapped(self, order: ModelOrder) -> None:
        if order.status in ("paid", "allocating") and order.view and not order.view.counter:
            if "" in order.needs():
                order.alert("unmapped_sku")
            else:
                order.lift("unmapped_sku")

    # --- acts

    def _command(self, order: ModelOrder, letter: Letter, now: int) -> tuple[bool, list[tuple[str, Letter]]]:
        if isinstance(letter.facts, GoodsBack):
            return self._goods_back(order, letter.facts), []
        body = letter.mail.body
        match body:
            case ResendQuarantined() | DiscardQuarantined():
                if order.blocked is None or order.blocked[0] != body.item:
                    raise Refused
                waiting = [order.blocked] * isinstance(body, ResendQuarantined) + order.queue
                order.blocked, order.queue = None, []
                return True, waiting
            case TimerDue():
                return self._timer(order, body), []
            case ResolveInterception():
                return self._resolve(order, body, now), []
            case ScanOut():
                return self._scan(order, body), []
            case CancelLines():
                return self._cancel_lines(order, body), []
        assert self._ruled, body
        return False, []

    def _timer(self, order: ModelOrder, body: TimerDue) -> bool:
        if order.timers.get(body.timer) != body.due_ms:
            return False
        del order.timers[body.timer]
        if body.timer == "payment":
            order.overdue = body.due_ms
        if (body.timer, order.status) == ("payment", "awaiting_payment"):
            order.alerts.append((f"payment_timeout-{body.due_ms}", "payment_timeout"))
        if (body.timer, order.status) == ("order", ""):
            order.alerts.append((f"order_unknown-{body.due_ms}", "order_unknown"))
        return True

    def name(self, interception: str) -> str:
        """Return an interception's name as it is here: views are named by themselves and not by digests."""
        reason, _, digest = interception.rpartition("-")
        view = self._views.get(digest)
        return f"{reason}-{view}" if view else interception

    def _resolve(self, order: ModelOrder, body: ResolveInterception, now: int) -> bool:
        name = self.name(body.interception)
        reason = dict(order.alerts).get(name)
        if reason is None or (body.decision == "cancel" and order.status == ""):
            raise Refused
        if reason == "unmapped_sku" and body.decision == "release" and "" in order.needs():
            raise Refused
        order.alerts = [alert for alert in order.alerts if alert[0] != name]
        if body.decision == "cancel":
            self._cancel(order, command=True)
        elif reason == "order_unknown":
            order.timers.setdefault("order", now + 2 * DAY_MS)
        return True

    def _scan(self, order: ModelOrder, body: ScanOut) -> bool:
        if order.status not in ("paid", "allocating") or order.stopped() or order.held is None:
            raise Refused
        if not body.tracking:
            did, order.picked = not order.picked, True
            return did
        order.ship()
        return True

    def _cancel_lines(self, order: ModelOrder, body: CancelLines) -> bool:
        live = order.live()
        if order.status == "cancelled" or any(units > live.get(line, ("", 0))[1] for line, units in body.lines):
            raise Refused
        if not body.lines:
            return self._cancel(order, command=True)
        for line, units in body.lines:
            if order.status in ("shipped", "completed") or line in order.gone:
                order.after[line] = "open"
                continue
            order.cut[line] = order.cut.get(line, 0) + units
            needs = order.needs()
            order.trim({sku: min(units, needs.get(sku, 0)) for sku, units in (order.held or {}).items()})
            if not needs and order.gone:
                order.ship()
                order.alerts = []
            elif not needs:
                self._cancel(order, command=True)
        self._unmapped(order)
        return True

    def _goods_back(self, order: ModelOrder, facts: GoodsBack) -> bool:
        if order.status not in ("shipped", "completed"):
            raise Refused
        left = {line: units - order.back.get(line, 0) for line, (_, units) in order.live().items()}
        taken: dict[str, int] = {}
        for sku, units in facts.lines:
            missing = units
            for item in order.items:
                if item.sku == sku and (units_here := min(left.get(item.id, 0), missing)) > 0:
                    left[item.id] -= units_here
                    missing -= units_here
                    taken[item.id] = taken.get(item.id, 0) + units_here
            if missing:
                raise Refused
        for line, units in taken.items():
            order.back[line] = order.back.get(line, 0) + units
            order.after[line] = "refunded"
        return True

    # --- the end

    def compare(self, key: str, state: Order) -> None:
        """Check that an order is as it must be."""
        if self._ruled:
            self._compare_told(key, state)
            return
        order = self.orders.get(key, ModelOrder())
        allocation = state.allocations[0] if state.allocations else None
        here: dict[str, Any] = {
            "status": order.status,
            "modified": BEGIN_MS + order.view.modified * 1000 if order.view else 0,
            "units": [(item.id, item.sku, item.units, item.state) for item in order.items],
            "held": order.held,
            "picked": order.picked,
            "cut": order.cut,
            "gone": order.gone,
            "after": order.after,
            "back": order.back,
            "alerts": sorted(order.alerts),
            "timers": order.timers,
            "commands": order.commands,
            "blocked": order.blocked[0] if order.blocked else None,
            "queue": [item for item, _ in order.queue],
        }
        there: dict[str, Any] = {
            "status": state.status,
            "modified": state.modified_ms,
            "units": [(line.id, line.sku, line.quantity, line.state) for line in state.lines],
            "held": dict(allocation.lines) if allocation else None,
            "picked": bool(allocation and allocation.picked),
            "cut": dict(state.cancelled),
            "gone": set(state.shipped),
            "after": dict(state.after_sales),
            "back": dict(state.returned),
            "alerts": sorted((self.name(name), reason) for name, reason in state.interceptions),
            "timers": dict(state.timers),
            "commands": set(state.commands),
            "blocked": state.quarantined.item if state.quarantined else None,
            "queue": [each.item for each in state.queue],
        }
        for fact, expected in here.items():
            must(expected == there[fact], f"{key}: {fact} should be", expected, "and is", there[fact])

    def _compare_told(self, key: str, state: Order) -> None:
        """Check what depends neither on rules nor on stock."""
        order = self.orders.get(key, ModelOrder())
        modified = BEGIN_MS + order.view.modified * 1000 if order.view else 0
        lines = [(item.id, item.units, item.state) for item in order.items]
        there = [(line.id, line.quantity, line.state) for line in state.lines]
        must((modified, lines) == (state.modified_ms, there), f"{key}: the view should be", modified, lines, there)
        blocked = order.blocked[0] if order.blocked else None
        must(blocked == (state.quarantined and state.quarantined.item), f"{key}: blocked should be by", blocked)
        waiting = [item for item, letter in order.queue if isinstance(letter.mail.body, ChannelPayload)]
        must(waiting == [each.item for each in state.queue if each.payload], f"{key}: waiting should be", waiting)


def _bare(order: ModelOrder) -> list[str]:
    """Return the lines of a paid order that have no SKU, also such as have left."""
    if order.status not in ("paid", "allocating", "shipped", "completed") or order.view is None or order.view.counter:
        return []
    return [line for line, (sku, _) in order.live().items() if not sku]


def _same(one: Letter, other: Letter) -> bool:
    here, there = one.mail.body, other.mail.body
    if isinstance(here, ChannelPayload) and isinstance(there, ChannelPayload):
        return here.raw == there.raw
    return encode_body(here) == encode_body(there)
