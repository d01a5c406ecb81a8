"""Which acts outside an event asks for: pure looking, from recorded events to jobs.

An act is asked for by what was recorded, never by a read model: that a parcel left by our own hand asks for a ship
notice to its channel; what an ERP beside us should know asks for a row there. What has ended is in the log, too.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from adapters.erp.fields import ErpLine, ErpRecord
from domain.canonical import Parcel, Snapshot
from domain.catalogue import decode_event
from domain.envelope import decode_envelope
from domain.ids import parts_of
from domain.order import (
    EffectFailed,
    EffectSucceeded,
    OrderAmended,
    OrderNormalized,
    OrderRefunded,
    OrderShipped,
)
from domain.platforms import ShipNotice, ShippedLine
from domain.time_units import DAY_MS
from runners.effects_store import Job

if TYPE_CHECKING:
    from domain.ports import EventLog, Recorded

SHIP = "ship_notice"
ERP = "erp"
ACT_WITHIN_MS = 7 * DAY_MS
"""What happened longer ago is not told to anybody by itself any more (a log that is followed from its beginning)."""
_ENDS = frozenset({"order.effect_succeeded", "order.effect_failed"})
ERP_WORDS: Mapping[str, str] = {
    "order.paid": "paid",
    "order.shipped": "shipped",
    "order.completed": "completed",
    "order.cancelled": "cancelled",
    "order.refunded": "refunded",
    "order.amended": "completed",
}
"""Tag → what an ERP is told. Of amended orders only of a counter sale that was complete before: goods of it follow."""
_LAST_WORDS = ("completed", "shipped", "paid")
"""A counter sale is all of these at once; an ERP hears of its change by the last of them that it wants to hear."""


class Wanted(NamedTuple):
    """What a batch of events means for the acts outside."""

    begun: list[Job]
    ended: list[tuple[str, str]]
    """(key, effect)."""


class Looking:
    """Looks at batches of recorded events."""

    def __init__(
        self, log: "EventLog", seller_of: Callable[[str, str], str | None], erp_tells: Callable[[], frozenset[str]]
    ) -> None:
        """Connect.

        Args:
            log: where the rest of an order is read.
            seller_of: (channel, shop) → name of the connection that can be told, or None.
            erp_tells: what the ERP wants to be told now (words of `ERP_WORDS`); empty = there is none.
        """
        self._log = log
        self._seller_of = seller_of
        self._erp_tells = erp_tells

    def look(self, events: "Sequence[Recorded]", now_ms: int) -> Wanted:
        """Return which acts these events ask for, and which they say have ended."""
        begun: list[Job] = []
        ended: list[tuple[str, str]] = []
        for event in events:
            if event.tag in _ENDS:
                fact = decode_event(event.tag, event.data)
                if isinstance(fact, EffectSucceeded) or (isinstance(fact, EffectFailed) and fact.final):
                    ended.append((fact.key, fact.effect))
            elif event.tag in ERP_WORDS:
                begun += self.asked_by(event, now_ms)
        return Wanted(begun, ended)

    def asked_by(self, event: "Recorded", now_ms: int, *, within_ms: int = ACT_WITHIN_MS) -> list[Job]:
        """Return the acts that one event asks for."""
        told = self._erp_tells()
        if event.tag == _AMENDED and not told:
            return []
        envelope = decode_envelope(event.envelope)
        if now_ms - envelope.at > within_ms:
            return []
        fact = decode_event(event.tag, event.data)
        jobs = []
        if isinstance(fact, OrderShipped) and fact.command:
            channel, shop, order_no = parts_of(event.stream)
            target = self._seller_of(channel, shop)
            if target is not None:
                jobs += self._notices(event, fact, target, order_no, envelope.at, now_ms)
        if isinstance(fact, OrderAmended):
            word = next((word for word in _LAST_WORDS if word in told), "")
            if word and self._is_sale_that_grew(event, fact.snapshot):
                jobs.append(self._erp(event, fact, word, envelope.at, now_ms))
        elif ERP_WORDS[event.tag] in told:
            jobs.append(self._erp(event, fact, ERP_WORDS[event.tag], envelope.at, now_ms))
        return jobs

    def _is_sale_that_grew(self, event: "Recorded", now: Snapshot) -> bool:
        """Tell whether this is a counter sale that was complete, and is another one now."""
        if now.kind != "counter" or now.status != "completed":
            return False
        earlier = [
            each for each in self._log.select_many([event.stream])[event.stream].events if each.version < event.version
        ]
        ends = [each.tag for each in earlier if each.tag in _ENDS_OF_SALE]
        return ends[-1:] == ["order.completed"] and _lines(_last_view(earlier)) != _lines(now)

    def _notices(
        self, event: "Recorded", fact: OrderShipped, target: str, order_no: str, at_ms: int, now_ms: int
    ) -> list[Job]:
        parcels = [parcel for parcel in fact.parcels if parcel.tracking]
        if not parcels:
            return []
        snapshot = self._snapshot(event)
        jobs = []
        for number, parcel in enumerate(parcels):
            key = f"{event.stream}@{event.version}" + (f"#{number}" if number else "")
            notice = ShipNotice(
                # Platforms bound the length of such keys.
                sha256(f"{SHIP}/{key}".encode()).hexdigest()[:32],
                order_no,
                parcel.carrier,
                parcel.tracking,
                fact.shipped_ms,
                _in_parcel(parcel, snapshot),
                number == len(parcels) - 1,
                _plain(snapshot.attributes),
            )
            jobs.append(Job(key, SHIP, target, event.stream, msgspec.json.encode(notice), at_ms, now_ms))
        return jobs

    def _erp(self, event: "Recorded", fact: Any, word: str, at_ms: int, now_ms: int) -> Job:
        snapshot = self._snapshot(event)
        tracking = next((parcel.tracking for parcel in fact.parcels), "") if isinstance(fact, OrderShipped) else ""
        record = ErpRecord(
            f"{event.stream}@{event.version}",
            word,
            snapshot.order_no,
            snapshot.channel,
            snapshot.shop,
            snapshot.ordered_at.local,
            snapshot.customer,
            snapshot.amounts.currency,
            tracking,
            _lines(snapshot, fact),
        )
        key = f"{event.stream}@{event.version}"
        return Job(key, ERP, ERP, event.stream, msgspec.json.encode(record), at_ms, now_ms)

    def _snapshot(self, event: "Recorded") -> Snapshot:
        """Return the channel's view of the order as it was known when the event happened."""
        loaded = self._log.select_many([event.stream])[event.stream]
        return _last_view([each for each in loaded.events if each.version <= event.version])


_AMENDED = "order.amended"
_VIEWS = frozenset({"order.normalized", _AMENDED})
_ENDS_OF_SALE = frozenset({"order.completed", "order.cancelled"})


def _last_view(events: "Sequence[Recorded]") -> Snapshot:
    for event in reversed(events):
        fact = decode_event(event.tag, event.data) if event.tag in _VIEWS else None
        if isinstance(fact, OrderNormalized | OrderAmended):
            return fact.snapshot
    raise LookupError("no channel's view among the events of an order")


def _lines(snapshot: Snapshot, fact: Any = None) -> tuple[ErpLine, ...]:
    return tuple(
        ErpLine(line.sku or line.item, line.name, line.quantity, line.unit_price, line.amount)
        for line in snapshot.lines
        if _concerned(fact, line.id)
    )


def _in_parcel(parcel: Parcel, snapshot: Snapshot) -> tuple[ShippedLine, ...]:
    """Return the lines of a parcel; one that names none holds all that had not left before."""
    return tuple(
        ShippedLine(line.id, line.quantity, line.item, line.sku, line.name)
        for line in snapshot.lines
        if (line.id in parcel.lines if parcel.lines else line.state == "open")
    )


def _concerned(fact: Any, line: str) -> bool:
    return not isinstance(fact, OrderRefunded) or not fact.lines or line in fact.lines


def _plain(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in attributes.items() if isinstance(value, str | int | bool)}
