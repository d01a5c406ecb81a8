"""What must hold, looked at after each commit by somebody who trusts nobody: own bookkeeping, own fold of the log."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from adapters.storage.memory_log import MemoryEventLog
from domain import stock
from domain.catalogue import decode_event
from domain.cell import DECIDERS, Held
from domain.cellular import BrokerReset, MailLost
from domain.envelope import decode_envelope
from domain.ids import CELL_KEY, kind_of
from domain.order import TRANSITIONS, Order, QueueReleased, TimerCleared
from domain.ports import Advance, Record
from domain.proof import leaf_hash
from runners.engine import Delivered
from tests.fakes import Faults, Trace
from tests.simulation.letters import SECRET
from tests.simulation.musts import must
from tests.simulation.rules_watch import RulesWatch


class Handled(NamedTuple):
    """A message whose turn is committed."""

    incarnation: str
    message: Delivered
    suspect: bool


class Began(NamedTuple):
    """A life of the mail that began."""

    incarnation: str
    position: int
    note: BrokerReset | MailLost | None
    at_ms: int


NOTABLE = {
    "order.queued_behind": "order.waited",
    "order.reservation_failed": "order.short",
    "order.resolved": "order.resolved",
    "order.outdated": "order.late_snapshot",
    "order.repeated": "order.repeated",
    "order.released": "order.released",
    "order.partially_shipped": "order.partially_shipped",
    "order.refunded": "order.refunded",
    "order.lines_cancelled": "order.lines_cancelled",
    "order.refused": "order.refused",
    "stock.picked_out": "stock.picked_out",
    "stock.issued": "stock.issued",
    "stock.refused": "stock.refused",
    "intake.quarantined": "mail.unreadable",
    "order.skus_mapped": "order.skus_mapped",
    "skus.unmapped": "skus.unmapped",
    "skus.settled": "skus.settled",
    "mapping.changed": "mapping.changed",
    "mapping.refused": "mapping.refused",
}
"""Events that runs must have shown, and what for."""

RULED_NOTABLE = {
    "rules.changed": "rules.changed",
    "rules.refused": "rules.refused",
    "order.routed": "order.routed",
    "order.gifts_granted": "order.gifts_granted",
    "order.gift_pre_reserved": "order.gift_held",
    "order.gifts_waived": "order.gifts_waived",
    "order.presale_locked": "order.presale_locked",
    "order.presale_arrived": "order.presale_arrived",
    "order.deposit_paid": "order.deposit_paid",
    "order.promised": "order.promised",
    "order.processed": "order.processed",
    "order.lots_recorded": "order.lots_recorded",
    "order.commented": "people.commented",
    "order.mentions_read": "people.read",
    "order.approval_requested": "people.asked",
    "order.approved": "people.approved",
    "order.rejected": "people.rejected",
    "order.approval_escalated": "people.escalated",
    "order.approval_withdrawn": "people.withdrawn",
    "order.effect_succeeded": "effects.done",
    "order.effect_failed": "effects.failed",
    "order.delivery_confirmed": "wms.confirmed",
    "buyers.set": "buyers.set",
    "buyers.owes": "buyers.owes",
    "stock.promised": "stock.promised",
    "stock.promise_covered": "stock.promise_covered",
    "stock.promise_dropped": "stock.promise_dropped",
    "trail.duplicate_suspected": "trail.duplicate",
}
"""The same of runs with rules."""
STOPS = (
    "stock_short",
    "gift_short",
    "overdue_promise",
    "presale_overdue",
    "payment_timeout",
    "large_quantity",
    "suspected_duplicate",
    "effect_failed",
    "packed_differently",
    "left_while_held",
)
"""Reasons for which runs with rules must have stopped orders."""


_ONCE = frozenset(
    {
        "stock.reserved",
        "stock.pre_reserved",
        "stock.promised",
        "order.reserved",
        "order.gift_pre_reserved",
        "order.presale_locked",
        "order.presale_arrived",
        "order.received",
        "order.normalized",
    }
)
"""Tags of what happens once to an allocation, or to an order."""


class Watch:
    """Sees every commit that took effect, whoever wrote it and whether or not the writer learned of it."""

    def __init__(self, log: MemoryEventLog, faults: Faults, trace: Trace) -> None:
        self._log = log
        self._faults = faults
        self._trace = trace
        self.script: list[Handled | Began] = []
        """Everything that had an effect, in order: enough to do it all again without faults."""
        self.states: dict[str, Held] = {}
        self.by_message: Counter[str] = Counter()
        """Events by the id of the message that caused them."""
        self.handled_in: dict[bytes, list[str]] = defaultdict(list)
        """Payload → ids under which it was handled."""
        self.delivered: dict[str, dict[int, Delivered]] = defaultdict(dict)
        """What each writer was given, by sequence; set by the worker."""
        self.suspects: dict[str, int] = {}
        """Which message of its batch a writer quarantines unhandled; set by the worker before each commit."""
        self.epochs: list[tuple[str, int]] = []
        self.moved: dict[tuple[str, str], int] = {}
        """(ledger, SKU) → units on hand by what came in and went out, counted apart from the ledgers."""
        self._rules = RulesWatch(self.states, faults)
        self._incarnation = ""
        self._position = 0
        self._head = 0
        self._once: set[tuple[str, ...]] = set()
        self.lost_mail: list[tuple[int, int]] = []

    # --- what took effect

    def committed(self, writer: str, records: Sequence[Record], advance: Advance | None) -> None:
        """Check one commit."""
        must(advance is not None, "a commit without its place in the mail")
        assert advance is not None
        must(advance.incarnation == self._incarnation, "a commit of another life", advance)
        must(advance.previous == self._position, "a message was passed over or handled twice", advance)
        must(self.epochs[-1] == (writer, advance.epoch), "a commit by a writer whose time is over", writer, advance)
        ids = {f"{advance.incarnation}-{seq}": seq for seq in range(advance.previous + 1, advance.position + 1)}
        self._follow(records, ids)
        suspect = self.suspects.get(writer, 0)
        for message_id, seq in ids.items():
            given = self.delivered[writer].get(seq)
            must(given is not None, "a commit of a message that was never delivered", message_id)
            assert given is not None
            self.script.append(Handled(advance.incarnation, given, seq == suspect))
            self.handled_in[given.payload].append(message_id)
        self._position = advance.position
        self._trace.note("commit", writer, advance.previous, advance.position, len(records), self._tip())

    def began(self, writer: str, epoch: int, incarnation: str, position: int, records: Sequence[Record]) -> None:
        """Check the beginning of a life, and that what befell is said in the same commit."""
        must(self.epochs[-1] == (writer, epoch), "a life begun by a writer whose time is over", writer)
        note: BrokerReset | MailLost | None = None
        at_ms = 0
        if records:
            must(len(records) == 1 and records[0].stream == CELL_KEY, "a life begins with one event of the cell")
            event = decode_event(records[0].tag, records[0].data)
            assert isinstance(event, BrokerReset | MailLost)
            note, at_ms = event, decode_envelope(records[0].envelope).at
        must(bool(records) == bool(self._incarnation), "a life began and nobody said why", incarnation)
        if isinstance(note, BrokerReset):
            self._faults.saw(f"life.{note.reason}")
            must((note.lost, note.after) == (self._incarnation, self._position), "a reset of another life", note)
        elif isinstance(note, MailLost):
            self._faults.saw("life.mail_lost")
            must(incarnation == self._incarnation, "lost mail of another life", note)
            must((note.first, note.last) == (self._position + 1, position), "other mail was lost than is said", note)
            self.lost_mail.append((note.first, note.last))
        else:
            self._faults.saw("life.first")
        self.script.append(Began(incarnation, position, note, at_ms))
        self._follow(records, {f"{incarnation}-{position}": position})
        self._incarnation, self._position = incarnation, position
        self._trace.note("life", writer, incarnation, position, self._tip())

    def _tip(self) -> str:
        tip = self._log.read(self._head - 1, 1)
        return tip[0].leaf.hex()[:16] if tip else "-"

    # --- following the log

    def _follow(self, records: Sequence[Record], ids: dict[str, int]) -> None:
        """Fold new events and check each."""
        stored = self._log.read(self._head, len(records) + 1)
        must([Record(*event[1:7]) for event in stored] == list(records), "the log holds other events than were written")
        last_seq = 0
        touched: set[str] = set()
        for event in stored:
            position, stream, version, tag, envelope, data, sealed, leaf = event
            self._head += 1
            must(position == self._head, "a hole in the positions", position)
            must(leaf == leaf_hash(position, stream, version, tag, envelope, data, sealed or b""), "a wrong leaf")
            must(SECRET.encode() not in envelope + data, "personal data in the clear", tag, data)
            message = decode_envelope(envelope).message
            must(message in ids, "an event of a message outside its commit", message)
            must(ids[message] >= last_seq, "events out of the order of the mail", message)
            last_seq = ids[message]
            self.by_message[message] += 1
            facts = decode_event(tag, data)
            held = self.states.get(stream) or Held(0, DECIDERS[kind_of(stream)].initial)
            must(version == held.version + 1, "a hole in the versions of", stream, version)
            after = DECIDERS[kind_of(stream)].evolve(held.state, facts)
            self.states[stream] = Held(version, after)
            touched.add(stream)
            self._rules.event(stream, held.state, facts, after, decode_envelope(envelope))
            if tag in NOTABLE:
                self._faults.saw(NOTABLE[tag])
            elif tag in RULED_NOTABLE:
                self._faults.saw(RULED_NOTABLE[tag])
            elif isinstance(facts, QueueReleased):
                self._faults.saw(f"queue.{facts.decision}")
            elif isinstance(facts, TimerCleared) and facts.fired:
                self._faults.saw("timer.took_effect")
            self._only_once(stream, tag, facts)
            if isinstance(after, Order):
                before: Order = held.state
                if after.status != before.status:
                    must(after.status in TRANSITIONS[before.status], "no such way", stream, before.status, after.status)
            elif isinstance(after, stock.Ledger):
                self._count(stream, facts)
                self._levels(stream, after, facts)
                if hasattr(facts, "allocation"):
                    touched.add(facts.allocation.rpartition("/")[0])
        self._rules.rest(sorted(touched))

    def _only_once(self, stream: str, tag: str, facts: Any) -> None:
        """Check that no act has its effect twice."""
        kind = tag.partition(".")[0]
        names: list[tuple[str, ...]] = []
        if kind == "stock" and hasattr(facts, "document"):
            names.append((stream, "document", facts.document))
        if tag in _ONCE:
            names.append((stream, tag, getattr(facts, "allocation", "")))
        command: str = getattr(facts, "command", "") or ""
        if command and tag not in ("stock.refused", "order.resolved"):
            names.append((stream, tag, command))
        if kind == "intake" and hasattr(facts, "payload") and facts.payload:
            names.append((stream, "payload", facts.payload))
        if tag == "order.effect_succeeded":
            names.append((stream, tag, facts.effect, facts.key))
        for name in names:
            must(name not in self._once, "an effect came twice", name)
            self._once.add(name)

    def _count(self, ledger: str, facts: Any) -> None:
        moved = self.moved
        match facts:
            case stock.StockReceived() | stock.StockReturned() | stock.StockReturnedDamaged():
                for sku, units in facts.lines:
                    moved[ledger, sku] = moved.get((ledger, sku), 0) + units
            case stock.StockAdjusted():
                moved[ledger, facts.sku] = moved.get((ledger, facts.sku), 0) + facts.delta
            case stock.StockPickedOut() | stock.StockIssued():
                for sku, units in facts.lines:
                    moved[ledger, sku] = moved.get((ledger, sku), 0) - units

    def _levels(self, stream: str, ledger: stock.Ledger, facts: Any) -> None:
        """Check the levels that an event has changed."""
        skus = [sku for sku, *_ in getattr(facts, "lines", ())] or [getattr(facts, "sku", "")]
        for sku in skus:
            level = ledger.levels.get(sku)
            if level is None:
                continue
            must(level.available >= 0, "oversold", stream, sku, level)
            least = min(level.on_hand, level.reserved, level.pre_reserved, level.protected, level.promised)
            must(least >= 0, "below nothing", stream, sku, level)
            must(level.on_hand == self.moved.get((stream, sku), 0), "units appeared or vanished", stream, sku, level)

    # --- others' memory

    def same_memory(self, states: dict[str, Held], streams: Sequence[str]) -> None:
        """Check that what a worker remembers is the fold of the log."""
        for stream in streams:
            ours = self.states.get(stream) or Held(0, DECIDERS[kind_of(stream)].initial)
            theirs = states.get(stream)
            if theirs is not None:
                must(theirs == ours, "a worker remembers something else of", stream, theirs, ours)


def timers_of(states: dict[str, Held]) -> dict[tuple[str, str], int]:
    """Return the open timers as the orders themselves know them."""
    return {
        (stream, name): due
        for stream, held in states.items()
        if isinstance(held.state, Order)
        for name, due in held.state.timers
    }
