"""KPIs: sums and sketches for each hour and channel, and behind them each order with the facts they are made of.

The fold has no clock and no zone: hours are UTC, and whoever asks puts them together to days of the merchant's zone. An
order's facts are kept, so that what an order brought about can be taken out of the sums again when it turns out to
belong elsewhere. Durations are counted in the bins of a DDSketch (1 % relative error), whose merges are exact; they are
never taken out again, so that the largest one is exact as well.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final

import msgspec
from ddsketch.mapping import LogarithmicMapping
from sqlalchemy import BigInteger, Column, Index, SmallInteger, Text

from domain.ids import decode_id, encode_id
from domain.ports import Recorded
from domain.time_units import HOUR_MS
from projections.base import FIXED, Change, Projection, Public, as_text, observed_at_of, versioned
from projections.kpi_story import (
    BACK,
    BEGINS,
    NOBODY,
    OPEN,
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
    settled: int = 0
    """How many of those that stay are in the sums."""
    cases: tuple[Settled, ...] = ()
    """Those of them that are of after-sale cases, as they are in the sums: a case may turn out to be another."""
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
_BEYOND = BEGINS | OWN_HOUR | BACK


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
                hours.add((known.story.at // HOUR_MS, known.channel))
        for event in [event for event in events if event.tag in _BEYOND]:
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
            summed = len(story.facts), len(story.settled), _cases_of(story), story.warehouse
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
        turn: Turn = current.get(TURN, _NO_TURN)
        message, by_hand = turn.message, turn.by_hand
        moment = Moment(0, 0, 0, NOBODY, by_hand=False)
        envelope = b""
        rule_of, known = RULES.get, orders.get
        for place, event in enumerate(events):
            rule = rule_of(event.tag)
            if rule is None:
                continue
            position = event.position
            moment.version, moment.position = event.version, position
            if event.envelope != envelope:  # events of one turn often have the same
                envelope = event.envelope
                stamp = stamp_of(envelope)
                if stamp.message != message:
                    message, by_hand = stamp.message, _by_hand(events, place, stamp)
                moment.at, moment.by, moment.by_hand = stamp.observed_at, stamp.by, by_hand
            stream = event.stream
            order = known(stream)
            if order is None:
                order = current.get(stream)
                if order is None:
                    if event.tag not in BEGINS:
                        continue
                    order = Order(stream, _channel_of(stream), Story(moment.at))
                orders[stream] = order
            decode, show, flow = rule
            if show is not None:
                show(order.story, None if decode is None else decode(event.data), moment)
            if by_hand and flow and not order.story.decided[0]:
                order.story.decided = moment.version, position
            order.position = position
        sums = _Sums(current)
        for order in orders.values():
            _count(order, sums)
        for (_, _, warehouse), added in sums.items():
            added.add(warehouse)
        return {**orders, **sums.hours, TURN: _last_turn(events, message, by_hand)}

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


def _by_hand(events: Sequence[Recorded], place: int, stamp: Stamp) -> bool:
    """Tell whether a person's decision began the turn of this event of a batch, if it began in it.

    The first event of a turn is by whoever sent its mail.
    """
    first, message = stamp, stamp.message
    if stamp.causation != message:
        while place and (before := stamp_of(events[place - 1].envelope)).message == message:
            place, first = place - 1, before
    return first.by.decides


def _last_turn(events: Sequence[Recorded], message: str, by_hand: bool) -> Turn:
    """Return the turn that a batch ends in; of one of its turns it is known whether a decision began it."""
    place = len(events) - 1
    stamp = stamp_of(events[place].envelope)
    if stamp.message != message:
        by_hand = _by_hand(events, place, stamp)
    return Turn(stamp.message, by_hand, events[place].position)


class _Sum(msgspec.Struct, gc=False):
    """What a batch adds to one hour, channel and warehouse."""

    hour: Hour
    positions: list[int] = []
    """Of the events that change it, or count for its hour."""
    facts: list[Fact] = []
    settled: list[Settled] = []

    def add(self, warehouse: str) -> None:
        """Add it, all facts of one name together."""
        hour, facts = self.hour, [*self.facts, *self.settled]
        hour.position = max(hour.position, *self.positions)
        if not facts:
            return
        cells = hour.cells.setdefault(warehouse, {})
        for name, count in Counter([fact.name for fact in facts]).items():
            cell = cells.get(name)
            if cell is None:
                cell = cells[name] = Cell()
            cell.count += count
            cell.hits += count
        for name, missed in Counter([fact.name for fact in facts if not fact.hit]).items():
            cells[name].hits -= missed
        for fact in [fact for fact in facts if fact.value > 0]:
            cells[fact.name].total += fact.value
        durations: defaultdict[str, list[int]] = defaultdict(list)
        for fact in self.settled:
            if fact.value >= 0:
                durations[fact.name].append(fact.value)
        for name, took in durations.items():
            cell = cells[name]
            cell.most = max(cell.most, *took)
            for where, count in Counter(map(bin_of, took)).items():
                cell.bins[where] = cell.bins.get(where, 0) + count


class _Sums(dict[tuple[int, str, str], _Sum]):
    """(hour, channel as it stands in keys, warehouse) → what is to be added there."""

    def __init__(self, current: Mapping[str, Any]) -> None:
        super().__init__()
        self._current = current
        self.hours: dict[str, Hour] = {}
        """Those that change."""

    def __missing__(self, place: tuple[int, str, str]) -> _Sum:
        hour, channel, _ = place
        key = hour_key(hour, channel)
        found = self.hours.get(key)
        if found is None:
            found = self.hours[key] = self._current.get(key) or Hour(hour, channel_name(channel))
        self[place] = made = _Sum(found)
        return made


def _count(order: Order, sums: _Sums) -> None:
    """Add what the sums do not hold of an order, and take out of them what is no longer so."""
    story, channel = order.story, order.channel
    facts, counted = story.facts, order.facts
    before, after = order.warehouse, story.warehouse
    received, by_hand = story.received[0] > 0, story.decided[0] > 0
    added = sums[story.at // HOUR_MS, channel, after]
    own = added.hour
    added.positions.append(order.position)
    if before == after:
        added.facts += facts[counted:]
    else:
        for fact in facts[:counted]:
            _take(own.cells, before, fact)
        added.facts += facts
        order.warehouse = after
    if received and (by_hand != order.by_hand or before != after or not order.received):
        if order.received:
            _take(own.cells, before, _ORDER[order.by_hand])
        added.facts.append(_ORDER[by_hand])
    order.facts, order.received, order.by_hand = len(facts), received, by_hand
    settled = story.settled
    if order.settled < len(settled):
        for each in settled[order.settled :]:
            _put(each, channel, sums)
        order.settled = len(settled)
    if story.cases:
        cases = _cases_of(story)
        for known, each in zip(order.cases, cases, strict=False):  # those that are new are put above
            if each is not known:
                _take(sums[known.hour, channel, known.warehouse].hour.cells, known.warehouse, known)
                _put(each, channel, sums)
        order.cases = cases


def _put(settled: Settled, channel: str, sums: _Sums) -> None:
    there = sums[settled.hour, channel, settled.warehouse]
    there.settled.append(settled)
    there.positions.append(settled.position)


def _cases_of(story: Story) -> tuple[Settled, ...]:
    return tuple([story.settled[place] for place in story.cases])


_ORDER = (Fact(ORDERS, 1, 0, 0), Fact(ORDERS, 0, 0, 0))


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
    """Return a channel as it is shown."""
    return as_text(decode_id(channel))


def _order_row(key: str, order: Order) -> tuple[Any, ...]:
    story = order.story
    hour = story.hour
    return (
        key,
        order.position,
        channel_name(order.channel),
        hour,
        max(hour, story.last_hour),
        1 if story.stage in OPEN else 0,
        story.paid_ms,
        _encode(story).decode(),
    )
