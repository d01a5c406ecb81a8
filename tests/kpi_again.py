"""The KPIs once more, slowly: counted from the recorded events alone, one plain rule after the other.

Nothing of `projections` is used. Each KPI is two lists of `Counted`: what its top counts, and what its bottom does.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from domain.after_sale import REASONS
from domain.catalogue import decode_event
from domain.envelope import Envelope, decode_envelope
from domain.ids import parts_of
from domain.ports import EventLog

HOUR = 3_600_000
KEEPER = "keeper"


class Counted(NamedTuple):
    """One event that counts."""

    order: str
    version: int
    channel: str
    warehouse: str
    hour: int
    detail: str
    ms: int = -1


class Seen(NamedTuple):
    """A recorded event of an order."""

    version: int
    tag: str
    facts: Any
    envelope: Envelope
    by_hand: bool


Tables = dict[str, tuple[list[Counted], list[Counted]]]


def recount(log: EventLog) -> Tables:
    """Count all KPIs."""
    found: Tables = {}

    def add(kpi: str, top: list[Counted], bottom: list[Counted]) -> None:
        mine = found.setdefault(kpi, ([], []))
        mine[0].extend(top)
        mine[1].extend(bottom)

    for key, events in _stories(log):
        for kpi, (top, bottom) in _Recount(key, events).tables().items():
            add(kpi, top, bottom)
    return found


def _stories(log: EventLog) -> Iterator[tuple[str, list[Seen]]]:
    stories: dict[str, list[Seen]] = {}
    message, by_hand = "", False
    for event in log.read(0, 1_000_000):
        envelope = decode_envelope(event.envelope)
        if envelope.message != message:
            message = envelope.message
            by_hand = envelope.by.kind == "person" and envelope.by.role != KEEPER
        if event.stream.startswith("order-"):
            seen = Seen(event.version, event.tag, decode_event(event.tag, event.data), envelope, by_hand)
            stories.setdefault(event.stream, []).append(seen)
    for key, events in stories.items():
        begun = [place for place, each in enumerate(events) if each.tag in ("order.received", "order.quarantined")]
        if begun:
            yield key, events[begun[0] :]


class _Recount:
    def __init__(self, key: str, events: list[Seen]) -> None:
        self.key, self.events = key, events
        self.channel = parts_of(key)[0]
        self.began = events[0].envelope.observed_at
        reserved = self.tagged("order.reserved")
        self.home = reserved[-1].facts.warehouse if reserved else ""

    def tagged(self, *tags: str) -> list[Seen]:
        return [each for each in self.events if each.tag in tags]

    def of_order(self, each: Seen, detail: str = "", ms: int = -1) -> Counted:
        return Counted(self.key, each.version, self.channel, self.home, self.began // HOUR, detail, ms)

    def of_its_time(self, each: Seen, detail: str, ms: int = -1) -> Counted:
        hour = each.envelope.observed_at // HOUR
        return Counted(self.key, each.version, self.channel, self.warehouse_at(each), hour, detail, ms)

    def warehouse_at(self, when: Seen) -> str:
        so_far = [each for each in self.tagged("order.reserved") if each.version < when.version]
        return so_far[-1].facts.warehouse if so_far else ""

    def tables(self) -> Tables:
        found: Tables = {}
        received = self.tagged("order.received")[:1]
        decided = [each for each in self.events if each.by_hand and each.tag in FLOW]
        orders = [self.of_order(each) for each in received]
        found["pass_through_orders"] = ([] if decided else orders, orders)
        moves = self.moves()
        found["pass_through_updates"] = (
            [self.of_order(each, stage) for each, stage in moves if not each.by_hand],
            [self.of_order(each, stage) for each, stage in moves],
        )
        first: dict[str, Seen] = {}
        for each, stage in moves:
            first.setdefault(stage, each)
        found["funnel"] = ([self.of_order(each, stage) for stage, each in first.items()], [])
        self.stops(found)
        views = self.tagged("order.normalized", "order.amended")
        delays = [
            Counted(
                self.key, each.version, self.channel, "", self.began // HOUR, "",
                max(0, each.envelope.observed_at - each.facts.snapshot.modified_at.utc_ms),
            )
            for each in views
        ]  # fmt: skip
        found["channel_delay"] = (delays, [])
        rounds, role = [], "nobody"
        for each in self.tagged("order.commented"):
            if each.facts.role != role:
                rounds.append(self.of_order(each, f"{role}>{each.facts.role}"))
                role = each.facts.role
        found["rounds"] = (rounds, orders)
        nodes: dict[str, Counted] = {}
        for each in self.events:
            node = self.node(each)
            if node:
                nodes.setdefault(node, self.of_order(each, node))
        found["nodes"] = (list(nodes.values()), orders)
        acts = self.tagged("order.effect_succeeded", "order.effect_failed")
        failed = [each for each in acts if each.tag == "order.effect_failed"]
        found["acts_failed"] = (
            [self.of_order(each, each.facts.effect) for each in failed],
            [self.of_order(each, each.facts.effect) for each in acts],
        )
        decisions = [each for each in self.events if self.is_decision(each)]
        by_machine = [each for each in decisions if each.envelope.by.kind != "person"]
        found["machine_share"] = ([self.of_order(e) for e in by_machine], [self.of_order(e) for e in decisions])
        self.on_the_way(found)
        self.care(found, orders)
        return found

    def moves(self) -> list[tuple[Seen, str]]:
        stage, moves = "", []
        for each in self.events:
            new = STAGES.get(each.tag, "")
            if new and new != stage:
                moves.append((each, new))
                stage = new
            elif each.tag == "order.released" and stage == "allocated":
                stage = "paid"
        return moves

    def stops(self, found: Tables) -> None:
        stops: list[Counted] = []
        advised: list[Counted] = []
        pushed: list[Counted] = []
        for each in self.tagged("order.intercepted", "order.quarantined", "order.approval_requested"):
            at = each.envelope.observed_at
            reason, told, derivable = "approval", True, at
            if each.tag == "order.quarantined":
                reason, told = "quarantined", bool(each.facts.advice)
            elif each.tag == "order.intercepted":
                reason, told = each.facts.reason, bool(each.facts.advice) and bool(each.facts.evidence)
                timer = {"payment_timeout": "payment", "overdue_promise": "promise", "presale_overdue": "presale"}
                if reason in timer:
                    derivable = max(each.facts.risk_ms, self.timer_set_at(timer[reason], each))
            stop = self.of_its_time(each, reason, max(0, at - derivable))
            stops.append(stop)
            if told:
                advised.append(stop)
            version = each.version - 1 if reason == "effect_failed" else each.version
            push = self.push_of(version, each)
            if push is not None:
                took = max(0, push.envelope.observed_at - derivable)
                pushed.append(stop._replace(version=push.version, ms=took))
        found["interceptions"] = found["intercept_recorded"] = (stops, [])
        found["advised"] = (advised, stops)
        found["intercept_latency"] = (pushed, [])
        found["intercepts_in_time"] = ([each for each in pushed if each.ms <= 15_000], stops)

    def timer_set_at(self, timer: str, before: Seen) -> int:
        at = 0
        for each in self.events:
            if each.version < before.version:
                if each.tag == "order.timer_set" and each.facts.timer == timer:
                    at = each.envelope.observed_at
                if each.tag == "order.promised" and timer == "promise":
                    at = each.envelope.observed_at
        return at

    def push_of(self, version: int, stop: Seen) -> Seen | None:
        for each in self.tagged("order.effect_succeeded"):
            told, _, receiver = each.facts.key.rpartition("/")
            of_it = told.rpartition("@")[2] == str(version) and each.version > stop.version
            if of_it and each.facts.effect == "notify" and receiver != "customer":
                return each
        return None

    def node(self, each: Seen) -> str:
        if each.tag in ("order.effect_succeeded", "order.effect_failed"):
            return str(each.facts.effect)
        return NODES.get(each.tag, "")

    def is_decision(self, each: Seen) -> bool:
        if each.tag in (
            "order.cancelled",
            "order.lines_cancelled",
            "order.after_sale_approved",
            "order.after_sale_declined",
        ):
            return each.envelope.by.kind != "channel"
        return each.tag in DECISIONS

    def on_the_way(self, found: Tables) -> None:
        shipped = self.tagged("order.shipped")[:1]
        took = []
        in_time: list[Counted] = []
        promised: list[Counted] = []
        for each in shipped:
            its = self.of_order(each, "", max(0, each.envelope.observed_at - self.began))
            its = its._replace(warehouse=self.warehouse_at(each))
            took.append(its)
            ship_by = self.promise_before(each).ship_by_ms if self.promise_before(each) else 0
            if ship_by:
                promised.append(its)
                if (each.facts.shipped_ms or each.envelope.observed_at) <= ship_by:
                    in_time.append(its)
        found["processing_time"] = (took, [])
        found["shipped_on_time"] = (in_time, promised)
        in_time, promised = [], []
        for each in self.tagged("order.delivered")[:1]:
            promise = self.promise_before(each)
            if promise and promise.deliver_by_ms:
                promised.append(self.of_order(each))
                if each.facts.delivered_ms <= promise.deliver_by_ms:
                    in_time.append(self.of_order(each))
        found["delivered_on_time"] = (in_time, promised)
        wrong = [
            self.of_order(each, reason)
            for each in self.tagged("order.complained", "order.after_sale_opened")
            for reason in [each.facts.cause if each.tag == "order.complained" else each.facts.reason]
            if reason in ("wrong_item", "missing_item") and not self.of_gift(each)
        ]
        found["mis_shipments"] = (wrong[:1], took)
        scans = self.tagged("order.item_scanned", "order.pick_error")
        errors = [self.of_order(each, each.facts.error) for each in scans if each.tag == "order.pick_error"]
        right = [self.of_order(each, "right") for each in scans if each.tag == "order.item_scanned"]
        found["pick_errors"] = (errors, [*errors, *right])

    def promise_before(self, when: Seen) -> Any:
        so_far = [each.facts for each in self.tagged("order.promised") if each.version < when.version]
        return so_far[-1] if so_far else None

    def of_gift(self, each: Seen) -> bool:
        if each.tag != "order.complained":
            return False
        return bool(each.facts.cause == "gift_missing" or (each.facts.gift and each.facts.cause == "missing_item"))

    def care(self, found: Tables, orders: list[Counted]) -> None:
        complaints = self.tagged("order.complained")
        found["complaints"] = ([self.of_its_time(each, each.facts.cause) for each in complaints], orders)
        gifts = [self.of_its_time(each, each.facts.cause) for each in complaints if self.of_gift(each)]
        found["gift_complaints"] = (gifts, orders)
        enquiries = self.tagged("order.enquired")
        asked = [self.of_its_time(each, each.facts.topic) for each in enquiries]
        repeats = [self.of_its_time(each, each.facts.topic) for each in enquiries if each.facts.repeats]
        alone = [self.of_its_time(each, each.facts.topic) for each in enquiries if each.facts.self_service]
        found["repeat_enquiries"] = (repeats, asked)
        found["self_service"] = (alone, asked)
        cases: list[Counted] = []
        for each in self.tagged("order.after_sale_opened"):
            reason = each.facts.reason if each.facts.reason in REASONS else "not_told"
            known = 0 < each.facts.case <= len(cases)
            if not known:
                cases.append(self.of_its_time(each, reason))
            elif each.facts.kind and cases[each.facts.case - 1].detail != reason:
                cases[each.facts.case - 1] = cases[each.facts.case - 1]._replace(detail=reason, version=each.version)
        found["return_reasons"] = (cases, [])


STAGES = {
    "order.received": "placed",
    "order.paid": "paid",
    "order.reserved": "allocated",
    "order.shipped": "shipped",
    "order.completed": "signed_for",
    "order.cancelled": "cancelled",
}
NODES = {
    "order.received": "channel",
    "order.reserved": "inventory",
    "order.pick_list_issued": "warehouse",
    "order.partially_shipped": "carrier",
    "order.shipped": "carrier",
    "order.intercepted": "desk",
    "order.quarantined": "desk",
    "order.approval_requested": "desk",
    "order.payment_recorded": "payment",
    "order.payment_failed": "payment",
}
DECISIONS = {
    "order.routed",
    "order.gifts_granted",
    "order.gifts_waived",
    "order.promised",
    "order.allocated",
    "order.intercepted",
    "order.resolved",
    "order.approval_requested",
    "order.approved",
    "order.rejected",
    "order.queue_released",
    "order.skus_mapped",
}
FLOW = {
    "order.received",
    "order.normalized",
    "order.amended",
    "order.paid",
    "order.reserved",
    "order.released",
    "order.pick_list_issued",
    "order.promised",
    "order.partially_shipped",
    "order.shipped",
    "order.completed",
    "order.cancelled",
    "order.intercepted",
    "order.approval_requested",
    "order.payment_recorded",
    "order.routed",
    "order.gifts_granted",
    "order.gifts_waived",
    "order.allocated",
    "order.resolved",
    "order.approved",
    "order.rejected",
    "order.lines_cancelled",
    "order.queue_released",
    "order.skus_mapped",
    "order.approval_withdrawn",
}
