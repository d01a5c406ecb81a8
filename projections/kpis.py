"""KPIs: sums and sketches for each hour and channel, and behind them each order with the facts they are made of.

The fold has no clock and no zone: hours are UTC, and whoever asks puts them together to days of the merchant's zone. An
order's facts are kept, so that what an order brought about can be taken out of the sums again when it turns out to
belong elsewhere. Durations are counted in the bins of a DDSketch (1 % relative error), whose merges are exact; they are
never taken out again, so that the largest one is exact as well.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final

import msgspec
from ddsketch.mapping import LogarithmicMapping
from sqlalchemy import BigInteger, Column, Index, SmallInteger, Text

from domain.ids import decode_id, encode_id
from domain.ports import Recorded
from domain.time_units import HOUR_MS
from projections.base import FIXED, Change, Projection, Public, observed_at_of, versioned
from projections.kpi_story import (
    BACK,
    BEGINS,
    NOBODY,
    OWN_HOUR,
    RULES,
    Fact,
    Moment,
    Settled,
    Stamp,
    Story,
    stamp_of,
)

VERSION = 1
ACCURACY: Final = 0.01
"""Relative error of a percentile."""
ORDERS: Final = "orders/"
"""The fact that an order came in; a hit while nobody had to decide anything of it."""
ZERO: Final = "-1"
"""Bin of what took no time at all; the others begin at 0, for one millisecond."""

TABLE = versioned(
    "kpi_hours",
    VERSION,
    Column("key", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("hour", BigInteger, nullable=False, info={FIXED: True}),
    Column("channel", Text, nullable=False, info={FIXED: True}),
    Column("document", Text, nullable=False),
)
"""One row for each hour and channel in which anything counts. `hour`: since 1970, UTC. `document`: JSON of `Hour`."""

_BY_HOUR = Index(f"kpi_hours_v{VERSION}_hour", TABLE.c.hour)

ORDER_TABLE = versioned(
    "kpi_orders",
    VERSION,
    Column("key", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("channel", Text, nullable=False, info={FIXED: True}),
    Column("hour", BigInteger, nullable=False, info={FIXED: True}),
    Column("last_hour", BigInteger, nullable=False),
    Column("waits", SmallInteger, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)
"""One row for each order. `hour`, `last_hour`: its facts count for hours from the one to the other. `waits`: 1 while it
is paid and has not left; `since_ms`: since when, observed time, UTC ms. `document`: JSON of `Story`."""

_BY_LAST_HOUR = Index(f"kpi_orders_v{VERSION}_last_hour", ORDER_TABLE.c.last_hour)
_BY_WAITING = Index(
    f"kpi_orders_v{VERSION}_waits",
    ORDER_TABLE.c.since_ms,
    sqlite_where=ORDER_TABLE.c.waits == 1,
    postgresql_where=ORDER_TABLE.c.waits == 1,
)

TURN_TABLE = versioned(
    "kpi_turn",
    VERSION,
    Column("key", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
    Column("by_hand", SmallInteger, nullable=False),
)
"""One row: the message whose turn the last event is of, and whether a decision of a person began it."""

TURN: Final = "turn"


class Cell(msgspec.Struct, gc=False, array_like=True):
    """The sum of facts of one name."""

    count: int = 0
    hits: int = 0
    total: int = 0
    """Milliseconds."""
    most: int = 0
    """Milliseconds, of facts that stay where they are."""
    bins: dict[str, int] = {}
    """Bin of the sketch → facts, of facts that stay where they are."""


Cells = dict[str, dict[str, Cell]]
"""Warehouse → name of the facts → their sum."""


class Hour(msgspec.Struct, gc=False):
    """All that counts for one hour and channel."""

    hour: int
    channel: str
    position: int = 0
    cells: Cells = {}


class Order(msgspec.Struct, gc=False):
    """An order while it is folded."""

    key: str
    channel: str
    """As it stands in the key."""
    story: Story
    position: int = 0
    facts: int = 0
    """How many of the facts are in the sums."""
    settled: list[Settled] = []
    """Those that are in the sums."""
    warehouse: str = ""
    """Where the others count."""
    received: bool = False
    by_hand: bool = False
    """As in the sums."""


class Turn(msgspec.Struct, frozen=True, gc=False):
    """The turn that an event is of."""

    message: str = ""
    by_hand: bool = False
    position: int = 0


_bin = LogarithmicMapping(ACCURACY).key
_encode = msgspec.json.Encoder().encode
_encode_sums = msgspec.json.Encoder(order="deterministic").encode
story_of = msgspec.json.Decoder(Story).decode
"""Read the document of a row of `kpi_orders`."""
hour_of = msgspec.json.Decoder(Hour).decode
"""Read the document of a row of `kpi_hours`."""
_NO_TURN = Turn()


@lru_cache(maxsize=4096)
def bin_of(ms: int) -> str:
    """Return the bin of a duration of whole milliseconds."""
    return str(_bin(ms)) if ms > 0 else ZERO


@lru_cache(maxsize=4096)
def hour_key(hour: int, channel: str) -> str:
    """Return the key of an hour and a channel (as it stands in keys of orders)."""
    return encode_id(f"{channel}:{hour}")


def _channel_of(stream: str) -> str:
    return stream[len("order-") : stream.index(":")]


class Kpis(Projection[str, Any]):
    """Hours with their sums, orders with their facts, and the turn that the log ends in."""

    name: ClassVar = "kpis"
    version: ClassVar = VERSION
    tables: ClassVar = (TABLE, ORDER_TABLE, TURN_TABLE)
    bucket: ClassVar = "kpis"
    by_channel: ClassVar = True

    def keys(self, events: Sequence[Recorded]) -> Iterable[str]:
        """Return the orders that have events before these, and the turn."""
        begins: set[str] = set()
        known: set[str] = {TURN}
        for event in events:
            if event.tag in RULES:
                (begins if event.version == 1 else known).add(event.stream)
        return known - begins

    def beyond(self, events: Sequence[Recorded], current: Mapping[str, Any]) -> Iterable[str]:
        """Return the hours that these orders count for."""
        hours: set[tuple[int, str]] = set()
        for stream in {event.stream for event in events if event.tag in RULES}:
            if (known := current.get(stream)) is not None:
                hours.add((known.story.hour, known.channel))
        for event in events:
            tag = event.tag
            if tag in BEGINS or tag in OWN_HOUR:
                hours.add((observed_at_of(event.envelope) // HOUR_MS, _channel_of(event.stream)))
            if tag in BACK and (known := current.get(event.stream)) is not None:
                hours.update((fact.hour, known.channel) for fact in known.story.settled)
        return [hour_key(hour, channel) for hour, channel in hours]

    def load(self, rows: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, Any]:
        """Return what these rows hold."""
        found: dict[str, Any] = {row[0]: hour_of(row[-1]) for row in rows[TABLE.name]}
        for row in rows[ORDER_TABLE.name]:
            key, story = row[0], story_of(row[-1])
            summed = len(story.facts), story.settled.copy(), story.warehouse
            in_sums = story.received[0] > 0, story.decided[0] > 0
            found[key] = Order(key, _channel_of(key), story, row[1], *summed, *in_sums)
        for key, position, message, by_hand in rows[TURN_TABLE.name]:
            found[key] = Turn(message, bool(by_hand), position)
        return found

    def fold(self, events: Sequence[Recorded], current: Mapping[str, Any]) -> dict[str, Any]:
        """Return the orders and hours that changed, and the turn."""
        if not events:
            return {}
        orders: dict[str, Order] = {}
        turns = _Turns(events, current.get(TURN, _NO_TURN))
        moment = Moment(events[0], 0, NOBODY, by_hand=False)
        envelope = b""
        rules = RULES
        for place, event in enumerate(events):
            rule = rules.get(event.tag)
            if rule is None:
                continue
            moment.event = event
            if event.envelope != envelope:  # events of one turn often have the same
                envelope = event.envelope
                stamp = stamp_of(envelope)
                moment.at, moment.by, moment.by_hand = stamp.observed_at, stamp.by, turns.by_hand(place, stamp)
            stream = event.stream
            order = orders.get(stream)
            if order is None:
                order = current.get(stream)
                if order is None:
                    if event.tag not in BEGINS:
                        continue
                    order = Order(stream, _channel_of(stream), Story(moment.at))
                orders[stream] = order
            decode, show, flow = rule
            story = order.story
            if show is not None:
                show(story, decode(event.data) if decode is not None else None, moment)
            if flow and moment.by_hand and not story.decided[0]:
                story.decided = event.version, event.position
            order.position = event.position
        hours: dict[str, Hour] = {}
        for order in orders.values():
            _count(order, hours, current)
        return {**orders, **hours, TURN: turns.last()}

    def changes(self, changed: Mapping[str, Any]) -> list[Change]:
        """Return the rows."""
        hours: list[tuple[Any, ...]] = []
        orders: list[tuple[Any, ...]] = []
        turns: list[tuple[Any, ...]] = []
        for key, each in changed.items():
            match each:
                case Order():
                    orders.append(_order_row(key, each))
                case Hour():
                    hours.append((key, each.position, each.hour, each.channel, _encode_sums(each).decode()))
                case Turn():
                    turns.append((key, each.position, each.message, int(each.by_hand)))
        return [Change(TABLE, hours), Change(ORDER_TABLE, orders), Change(TURN_TABLE, turns)]

    def public(self, changed: Mapping[str, Any]) -> list[Public]:
        """Return the hours: sums, in which nobody and no order is named."""
        return [
            Public(key, each.position, _encode_sums(each)) for key, each in changed.items() if isinstance(each, Hour)
        ]


class _Turns:
    """Tells which turns of a batch a person's decision began: the first event of a turn is by whoever sent its mail."""

    def __init__(self, events: Sequence[Recorded], before: Turn) -> None:
        self._events = events
        self._known = before

    def by_hand(self, place: int, stamp: Stamp) -> bool:
        """Tell of the turn of an event."""
        message = stamp.message
        if message != self._known.message:
            first = stamp
            if stamp.causation != message:
                while place and (before := stamp_of(self._events[place - 1].envelope)).message == message:
                    place, first = place - 1, before
            self._known = Turn(message, first.by.decides)
        return self._known.by_hand

    def last(self) -> Turn:
        """Return the turn that the batch ends in."""
        place = len(self._events) - 1
        stamp = stamp_of(self._events[place].envelope)
        return Turn(stamp.message, self.by_hand(place, stamp), self._events[place].position)


def _count(order: Order, hours: dict[str, Hour], current: Mapping[str, Any]) -> None:
    """Put into the sums what they do not hold of an order, and take out what is no longer so."""
    story = order.story
    own = _hour_of(story.hour, order.position, order, hours, current)
    before, after = order.warehouse, story.warehouse
    counted = order.facts
    if before != after:
        for fact in story.facts[:counted]:
            _take(own.cells, before, fact)
        counted = 0
    cells = _cells_of(own.cells, after)
    for fact in story.facts[counted:] if counted else story.facts:
        _add(cells, fact)
    received, by_hand = story.received[0] > 0, story.decided[0] > 0
    if received and (by_hand != order.by_hand or before != after or not order.received):
        if order.received:
            _take(own.cells, before, _ORDER[order.by_hand])
        _add(_cells_of(own.cells, after), _ORDER[by_hand])
    if not cells:
        own.cells.pop(after, None)
    known = order.settled
    for place, settled in enumerate(story.settled):
        if place < len(known):
            if settled is known[place]:
                continue
            there = _hour_of(settled.hour, settled.position, order, hours, current)
            _take(there.cells, known[place].warehouse, known[place])
        elif settled.hour == own.hour:
            there = own
        else:
            there = _hour_of(settled.hour, settled.position, order, hours, current)
        cell = _add(_cells_of(there.cells, settled.warehouse), settled)
        took = settled.value
        if took >= 0:
            where = bin_of(took)
            cell.bins[where] = cell.bins.get(where, 0) + 1
            cell.most = max(cell.most, took)
    order.facts, order.settled, order.warehouse = len(story.facts), story.settled.copy(), after
    order.received, order.by_hand = received, by_hand


_ORDER = (Fact(ORDERS, 1, 0, 0), Fact(ORDERS, 0, 0, 0))


def _hour_of(hour: int, position: int, order: Order, hours: dict[str, Hour], current: Mapping[str, Any]) -> Hour:
    key = hour_key(hour, order.channel)
    found = hours.get(key)
    if found is None:
        found = hours[key] = current.get(key) or Hour(hour, channel_name(order.channel))
    found.position = max(found.position, position)
    return found


def _cells_of(cells: Cells, warehouse: str) -> dict[str, Cell]:
    named = cells.get(warehouse)
    if named is None:
        named = cells[warehouse] = {}
    return named


def _add(cells: dict[str, Cell], fact: Fact) -> Cell:
    name, took = fact.name, fact.value
    cell = cells.get(name)
    if cell is None:
        cells[name] = cell = Cell(1, fact.hit, max(took, 0))
        return cell
    cell.count += 1
    if fact.hit:
        cell.hits += 1
    if took > 0:
        cell.total += took
    return cell


def _take(cells: Cells, warehouse: str, fact: Fact) -> None:
    """Take a fact out; a sum of nothing stands nowhere, however often something was in it."""
    named = cells[warehouse]
    cell = named[fact.name]
    cell.count -= 1
    cell.hits -= fact.hit
    if fact.value > 0:
        cell.total -= fact.value
    if not cell.count:
        del named[fact.name]
        if not named:
            del cells[warehouse]


@lru_cache(maxsize=256)
def channel_name(channel: str) -> str:
    """Return a channel as it is shown; an id may hold what no text column can."""
    return decode_id(channel).encode("utf-8", "replace").decode()


def _order_row(key: str, order: Order) -> tuple[Any, ...]:
    story = order.story
    return (
        key,
        order.position,
        channel_name(order.channel),
        story.hour,
        max(story.hour, story.last_hour),
        int(story.is_open),
        story.paid_ms,
        _encode(story).decode(),
    )
