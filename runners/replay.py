"""Replay: everything folded again from the log alone, held against what is stored, and against what must always hold.

States are folded by the deciders themselves and compared with every stored snapshot at its version. On the way the
invariants are checked at each event, by sums of their own where there is one: stock is conserved, nothing available
goes below zero, orders move along the transition table only, order and ledger agree on every reservation, every
message was applied once. Read models are built anew by the projections in a scratch place and compared row by row.
"""

import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import msgspec

from adapters.storage.read_models import ReadModels
from domain import after_sale, order, shelf, stock
from domain.catalogue import TAGS, decode_event
from domain.cell import DECIDERS
from domain.decider import Event
from domain.ids import kind_of, parts_of, warehouse_key
from domain.ports import EventLog, LogDamaged, Recorded, StoredSnapshot, Tracked
from projections import PROJECTIONS
from projections.base import Projection
from runners import timers, writing
from runners.beside import Beside
from runners.log_pages import pages
from runners.projector import BATCH_EVENTS, Projector
from runners.writing import Writer

STATES_MAX = 50_000
"""Most states in memory; those that were not needed for longest leave and are folded again from their stream."""
LONG = 20_000
"""Events from which on a second process, which takes half a second to start, is worth it."""
DIFFERENCES_MAX = 200
"""Most differences and broken invariants that are told one by one; the rest is counted."""

_SHOWN_MAX = 120
_PICK_LIST = TAGS[order.PickListIssued]

Progress = Callable[[int, int], None]
"""Told (events folded, events to fold)."""


class ReplayLog(EventLog, Protocol):
    """A log of which a part of one stream can be asked for; all of ours are."""

    def select(
        self, stream: str, *, after: int = 0, upto: int | None = None, desc: bool = False, limit: int | None = None
    ) -> list[Recorded]:
        """Return one stream's events with `after` < version <= `upto`."""
        ...


class ReplayedStates(msgspec.Struct):
    """What folding every state from zero showed."""

    events: int = 0
    streams: dict[str, int] = {}
    """Number of actors of each kind."""
    states: dict[str, int] = {}
    """Number of orders in each state of the fulfilment axis; "" = orders that only messages know of."""
    snapshots: int = 0
    """Stored snapshots that were compared."""
    problems: list[str] = []
    """Broken invariants and snapshots that differ, each beginning with its kind and a colon."""
    more: int = 0
    """Problems beyond those listed."""
    seconds: float = 0.0
    events_per_s: int = 0

    def add(self, problem: str) -> None:
        """Take a problem, up to `DIFFERENCES_MAX`."""
        if len(self.problems) < DIFFERENCES_MAX:
            self.problems.append(problem)
        else:
            self.more += 1

    def count(self, kind: str) -> int:
        """Return how many of the listed problems are of a kind (`oversold`, `twice`, `transition` …)."""
        return sum(problem.startswith(kind + ":") for problem in self.problems)


def _nothing(done: int, events: int) -> None:
    del done, events


def replay_states(log: ReplayLog, progress: Progress = _nothing) -> ReplayedStates:
    """Fold every state of the log from zero, compare snapshots, and check the invariants. Memory is bounded.

    Raises:
        LogDamaged: positions or versions are not without gaps; `audit verify` tells more.
        UnknownTag, msgspec.DecodeError: an event cannot be read.
    """
    begun = time.monotonic()
    head = log.tracked().head
    replay = _Replay(log)
    for page in pages(log, head):
        replay.take(page)
        progress(replay.result.events, head)
    result = replay.finish()
    result.seconds = round(time.monotonic() - begun, 3)
    result.events_per_s = round(result.events / max(result.seconds, 1e-3))
    return result


def check_invariants(log: ReplayLog) -> list[str]:
    """Return every broken invariant of a log, beginning with its kind: oversold, stock, transition, allocation, twice.

    Raises:
        LogDamaged: see `replay_states`.
    """
    return replay_states(log).problems


class _Message(msgspec.Struct, frozen=True, gc=False):
    message: str


_message_of = msgspec.json.Decoder(_Message).decode


_KINDS = {kind: (decider.initial, decider.evolve) for kind, decider in DECIDERS.items()}


class _Replay:
    """The states on their way through the log."""

    def __init__(self, log: ReplayLog) -> None:
        self._log = log
        self._states: dict[str, tuple[int, Any]] = {}
        self._by_status: Counter[str] = Counter()
        self._streams: Counter[str] = Counter()
        self._on_hand: dict[str, defaultdict[str, int]] = {}
        """Warehouse stream → SKU → received + adjusted − picked out − issued."""
        self._allocations: dict[str, order.Allocation] = {}
        """What orders believe to hold, by the allocation's id."""
        self._snapshots: dict[str, StoredSnapshot] = {}
        self._last_mail: dict[str, int] = {}
        self._last_message = ""
        self._timers: dict[tuple[str, str], int] = {}
        self.result = ReplayedStates()
        loaded = log.select_many((timers.STREAM,)).get(timers.STREAM)
        self._timer_snapshot = loaded.snapshot if loaded else None

    def take(self, page: Sequence[Recorded]) -> None:
        """Fold a page of events."""
        states = self._states
        self._bring_back(page)
        kinds = _KINDS
        envelope = b""
        for event in page:
            stream, tag = event.stream, event.tag
            kind = stream[: stream.index("-")]
            initial, evolve = kinds[kind]
            version, before = states.get(stream) or (0, initial)
            if event.version != version + 1:
                raise LogDamaged(
                    f"{stream} goes from version {version} to {event.version} at position {event.position}"
                )
            if version == 0:
                self._begin(stream, kind)
            facts = decode_event(tag, event.data)
            after = evolve(before, facts)
            states[stream] = event.version, after
            if kind == "order":
                moved = after.status != before.status or after.allocations is not before.allocations
                if moved or tag == _PICK_LIST:
                    self._check_order(event, facts, before, after)
            elif kind == "warehouse":
                self._check_ledger(event, facts, before, after)
            if event.envelope != envelope and kind != "cell":  # the events of one step share theirs
                envelope = event.envelope
                self._check_message(event)
            if self._snapshots or self._timer_snapshot is not None:
                self._check_snapshots(event, after)
        self.result.events = page[-1].position
        self._evict()

    def finish(self) -> ReplayedStates:
        """Check what must hold at the end."""
        for stream, sums in self._on_hand.items():
            self._check_sums(stream, self._states[stream][1], sums)
        for stream, snapshot in self._snapshots.items():
            if self._log.tracked().head == self.result.events:
                self.result.add(
                    f"snapshot: that of {stream} has seen version {snapshot.version}, which the log does not have"
                )
        self.result.streams = dict(sorted(self._streams.items()))
        self.result.states = {status: count for status, count in sorted(self._by_status.items()) if count}
        return self.result

    # --- memory

    def _begin(self, stream: str, kind: str) -> None:
        self._streams[kind] += 1
        if kind == "order":
            self._by_status[""] += 1
            return
        if kind == "warehouse":
            self._on_hand[stream] = defaultdict(int)
        loaded = self._log.select_many((stream,)).get(stream)
        if loaded is not None and loaded.snapshot is not None and loaded.snapshot.tag == stock.SNAPSHOT_TAG:
            self._snapshots[stream] = loaded.snapshot

    def _bring_back(self, page: Sequence[Recorded]) -> None:
        states = self._states
        for event in page:
            stream = event.stream
            if event.version > 1 and stream not in states:
                decider = DECIDERS[kind_of(stream)]
                state = decider.initial
                past = self._log.select(stream, upto=event.version - 1)
                for each in past:
                    state = decider.evolve(state, decode_event(each.tag, each.data))
                states[stream] = len(past), state
            elif event.version == 1 and stream not in states:
                states[stream] = 0, DECIDERS[kind_of(stream)].initial

    def _evict(self) -> None:
        states = self._states
        if len(states) <= STATES_MAX:
            return
        for stream in [each for each in states if kind_of(each) == "order"][: len(states) - STATES_MAX // 2]:
            del states[stream]

    # --- what must hold at each event

    def _check_order(self, event: Recorded, facts: Event, before: order.Order, after: order.Order) -> None:
        if after.status != before.status:
            self._by_status[before.status] -= 1
            self._by_status[after.status] += 1
            if after.status not in order.TRANSITIONS[before.status]:
                self._tell("transition", event, f"from {before.status or 'nothing'!r} to {after.status!r}")
        if isinstance(facts, order.OrderReserved | after_sale.ReplacementReserved):
            _, ledger = self._states.get(warehouse_key(facts.warehouse), (0, None))
            held = ledger.allocations.get(facts.allocation) if ledger is not None else None
            if held is None or held.lines != facts.lines:
                said = f"the order is told {facts.lines} of {facts.allocation}, the ledger holds"
                self._tell("allocation", event, f"{said} {held.lines if held else 'nothing'}")
        elif isinstance(facts, order.PickListIssued):
            held_now = (*before.allocations, *order.replacements_of(before))
            allocated = next((each for each in held_now if each.id == facts.allocation), None)
            if allocated is None or allocated.lines != facts.lines:
                self._tell("allocation", event, f"pick list {facts.pick_list} is not what was allocated")
        if after.allocations is not before.allocations:
            for each in before.allocations:
                self._allocations.pop(each.id, None)
            for each in after.allocations:
                self._allocations[each.id] = each
        if after.cases is not before.cases:
            for each in order.replacements_of(before):
                self._allocations.pop(each.id, None)
            for each in order.replacements_of(after):
                self._allocations[each.id] = each

    def _check_ledger(self, event: Recorded, facts: Any, before: stock.Ledger, after: stock.Ledger) -> None:
        sums = self._on_hand[event.stream]
        touched: Sequence[tuple[str, int]] = getattr(facts, "lines", ())
        match facts:
            case stock.StockReceived() | stock.StockReturned() | stock.StockReturnedDamaged():
                for sku, quantity in facts.lines:
                    sums[sku] += quantity
            case stock.StockAdjusted():
                touched = ((facts.sku, facts.delta),)
                sums[facts.sku] += facts.delta
            case shelf.StockMovedIn():
                for sku, quantity in facts.lines:
                    sums[sku] += quantity
            case shelf.StockMovedOut():
                for sku, quantity in facts.lines:
                    sums[sku] -= quantity
            case shelf.StockDamaged():
                touched = ((facts.sku, facts.delta),)
            case shelf.StockScrapped():
                touched = ((facts.sku, facts.quantity),)
                sums[facts.sku] -= facts.quantity
            case stock.StockProtected():
                touched = ((facts.sku, facts.quantity),)
            case stock.StockPickedOut() | stock.StockReleased():
                held = before.allocations.get(facts.allocation)
                have = dict(held.lines) if held else {}
                if any(have.get(sku, 0) < quantity for sku, quantity in facts.lines):
                    self._tell(
                        "allocation", event, f"{facts.allocation} gave {facts.lines} and held {have or 'nothing'}"
                    )
                if isinstance(facts, stock.StockPickedOut):
                    for sku, quantity in facts.lines:
                        sums[sku] -= quantity
            case stock.StockIssued():
                for sku, quantity in facts.lines:
                    sums[sku] -= quantity
        for sku, _ in touched:
            level = after.levels.get(sku, stock.NONE)
            if level.available < 0:
                self._tell("oversold", event, f"{-level.available} units of {sku} more are promised than are there")
            if level.on_hand != sums[sku]:
                self._tell("stock", event, f"{level.on_hand} of {sku} are on hand, by what came and went {sums[sku]}")

    def _check_message(self, event: Recorded) -> None:
        message = _message_of(event.envelope).message
        if message == self._last_message:
            return
        self._last_message = message
        incarnation, _, number = message.rpartition("-")
        if not number.isdigit():
            return
        sequence = int(number)
        if sequence <= self._last_mail.get(incarnation, 0):
            self._tell("twice", event, f"message {message} comes after {incarnation}-{self._last_mail[incarnation]}")
        self._last_mail[incarnation] = sequence

    def _check_snapshots(self, event: Recorded, after: Any) -> None:
        snapshot = self._snapshots.get(event.stream)
        if snapshot is not None and snapshot.version == event.version:
            del self._snapshots[event.stream]
            self.result.snapshots += 1
            if stock.from_snapshot(snapshot.data) != after:
                self._tell("snapshot", event, f"the stored state at version {snapshot.version} is not the folded one")
        timer_snapshot = self._timer_snapshot
        if timer_snapshot is None:
            return
        if event.tag in ("order.timer_set", "order.timer_cleared"):
            facts: Any = decode_event(event.tag, event.data)
            if isinstance(facts, order.TimerSet):
                self._timers[event.stream, facts.timer] = facts.due_ms
            else:
                self._timers.pop((event.stream, facts.timer), None)
        if timer_snapshot.version == event.position:
            self._timer_snapshot = None
            self.result.snapshots += 1
            rows = msgspec.json.decode(timer_snapshot.data, type=list[tuple[str, str, int]])
            if {(stream, timer): due for stream, timer, due in rows} != self._timers:
                self._tell("snapshot", event, "the stored open timers are not the folded ones")

    # --- what must hold at the end

    def _check_sums(self, stream: str, ledger: stock.Ledger, sums: dict[str, int]) -> None:
        (warehouse,) = parts_of(stream)
        reserved: Counter[str] = Counter()
        pre_reserved: Counter[str] = Counter()
        for allocation, held in ledger.allocations.items():
            (pre_reserved if held.pre else reserved).update(dict(held.lines))
            believed = self._allocations.get(allocation)
            if not held.pre and (believed is None or _sorted(believed.lines) != _sorted(held.lines)):
                wanted = f"its order holds {believed.lines}" if believed else "no order does"
                self.result.add(f"allocation: warehouse {warehouse} holds {held.lines} for {allocation}, {wanted}")
        for allocation, believed in self._allocations.items():
            if believed.warehouse == warehouse and believed.lines and allocation not in ledger.allocations:
                self.result.add(f"allocation: an order holds {allocation}, warehouse {warehouse} does not")
        for sku in {*sums, *ledger.levels}:
            level = ledger.levels.get(sku, stock.NONE)
            summed = (sums.get(sku, 0), reserved[sku], pre_reserved[sku])
            if (level.on_hand, level.reserved, level.pre_reserved) != summed:
                self.result.add(f"stock: warehouse {warehouse}, {sku}: {level} is not the sum of its events {summed}")

    def _tell(self, kind: str, event: Recorded, text: str) -> None:
        self.result.add(f"{kind}: event {event.position} ({event.stream}, version {event.version}): {text}")


def _sorted(lines: order.Quantities) -> list[tuple[str, int]]:
    return sorted(line for line in lines if line[1])


# --- read models


class ReplayedReadModels(msgspec.Struct):
    """What building the read models anew showed."""

    events: int = 0
    rows: dict[str, int] = {}
    """Rows compared, by table."""
    differences: list[str] = []
    more: int = 0
    """Differences beyond those listed."""
    notes: list[str] = []
    seconds: float = 0.0
    """Of the building alone."""
    events_per_s: int = 0

    def add(self, difference: str) -> None:
        """Take a difference, up to `DIFFERENCES_MAX`."""
        if len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(difference)
        else:
            self.more += 1


class Upto:
    """A log as it was at a position."""

    def __init__(self, log: EventLog, head: int) -> None:
        """Take the log, and the position that it is to end at."""
        self._log, self._head = log, head

    def read(self, after: int, limit: int) -> list[Recorded]:
        """Return events up to that position."""
        return self._log.read(after, min(limit, self._head - after)) if after < self._head else []

    def tracked(self) -> Tracked:
        """Return the row with that position as the log's end."""
        return msgspec.structs.replace(self._log.tracked(), head=self._head)


def replay_read_models(
    log: EventLog,
    scratch: Path,
    live: ReadModels | None = None,
    *,
    live_file: Path | None = None,
    projections: Sequence[Projection[Any, Any]] = PROJECTIONS,
    progress: Progress = _nothing,
    hurry: bool = False,
) -> ReplayedReadModels:
    """Build all read models anew in the directory `scratch`, and compare them with the live ones.

    Each is compared as of the position the live one has reached. Without `live` and `live_file` they are only built,
    to the end of the log.

    Args:
        log: the log.
        scratch: an empty directory; the caller removes it.
        live: the live read models; of rows that change meanwhile the newer ones are not compared.
        live_file: their SQLite file instead: it is copied first, so that all of it is compared.
        projections: what to build.
        progress: is told how far it got.
        hurry: whether a long log may take a second core.
    """
    result = ReplayedReadModels()
    if live_file is not None:
        _copy(live_file, scratch / "live.db")
        live = ReadModels(f"sqlite:///{scratch / 'live.db'}")
    try:
        known = {(each["name"], each["version"]): each for each in live.positions()} if live is not None else {}
        tracked = log.tracked()  # after the positions: both may be growing
        generation, head = tracked.generation, tracked.head
        targets: dict[int, list[Projection[Any, Any]]] = {}
        for projection in projections:
            position = head
            if live is not None:
                found = known.get((projection.name, projection.version))
                if found is None or found["generation"] != generation:
                    result.notes.append(f"{projection.name} version {projection.version} has not been built yet")
                    continue
                position = found["position"]
                if position > head:
                    result.add(f"{projection.name}: has seen event {position}, but the log ends at {head}")
                    continue
            targets.setdefault(position, []).append(projection)
        for position, group in sorted(targets.items()):
            built = _build(log, scratch / f"replay-{position}.db", position, group, result, progress, hurry=hurry)
            try:
                if live is not None:
                    for projection in group:
                        _compare(projection, live, built, position, result)
            finally:
                built.close()
    finally:
        if live_file is not None and live is not None:
            live.close()
    result.events_per_s = round(result.events / max(result.seconds, 1e-3))
    result.seconds = round(result.seconds, 3)
    return result


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy)


def _build(
    log: EventLog,
    file: Path,
    position: int,
    projections: Sequence[Projection[Any, Any]],
    result: ReplayedReadModels,
    progress: Progress,
    *,
    hurry: bool,
) -> ReadModels:
    begun = time.monotonic()
    built = ReadModels(f"sqlite:///{file}", scratch=True)
    bounded: Any = Upto(log, position)
    if hurry and position > LONG:
        with closing(Beside(writing.MODULE, "")) as beside:
            projector = Projector(bounded, built, projections, BATCH_EVENTS, Writer(beside, built).apply)
            projector.run_ahead(lambda reached: progress(reached, position))
    else:
        projector = Projector(bounded, built, projections, BATCH_EVENTS)
        while projector.run_once():
            progress(projector.position, position)
    result.seconds += time.monotonic() - begun
    result.events += position
    return built


class _Side:
    """One side of the comparison: rows in order, the next one in view."""

    def __init__(self, projection: Projection[Any, Any], models: ReadModels) -> None:
        self._places = {made.name: place for place, made in enumerate(projection.tables)}
        self._keys = {
            made.name: [place for place, column in enumerate(made.columns) if column.primary_key]
            for made in projection.tables
        }
        self._rows = models.rows(projection)
        self.key: tuple[Any, ...] | None = ()
        """Table's place and primary key of the row in view; None behind the last one."""
        self.table = ""
        self.row: tuple[Any, ...] = ()
        self.advance()

    def advance(self) -> None:
        """Bring the next row into view."""
        found = next(self._rows, None)
        if found is None:
            self.key = None
            return
        self.table, self.row = found
        self.key = (self._places[self.table], *(self.row[place] for place in self._keys[self.table]))


def _compare(
    projection: Projection[Any, Any], live: ReadModels, built: ReadModels, position: int, result: ReplayedReadModels
) -> None:
    """Merge both sides, which come in the same order."""
    columns = {made.name: [column.name for column in made.columns] for made in projection.tables}
    theirs, ours = _Side(projection, live), _Side(projection, built)
    result.rows.update(dict.fromkeys(columns, 0))
    found: list[str] = []
    while theirs.key is not None or ours.key is not None:
        if theirs.key == ours.key:
            result.rows[ours.table] += 1
            if theirs.row != ours.row and not _newer(columns[theirs.table], theirs.row, position):
                found.append(f"{_row(theirs)}: {_changes(columns[ours.table], theirs.row, ours.row)}")
            theirs.advance()
            ours.advance()
        elif ours.key is None or (theirs.key is not None and theirs.key < ours.key):
            if not _newer(columns[theirs.table], theirs.row, position):
                found.append(f"{_row(theirs)}: is in the live read model, and nothing in the log made it")
            theirs.advance()
        else:
            found.append(f"{_row(ours)}: the live read model does not have it")
            ours.advance()
    moved = next((each["position"] for each in live.positions() if each["name"] == projection.name), position)
    if found and moved != position:
        result.notes.append(
            f"{projection.name} went on from {position} to {moved} while it was compared: {len(found)} row(s) were "
            "left out; compare again when less is happening"
        )
        return
    for difference in found:
        result.add(difference)


def _newer(columns: Sequence[str], row: tuple[Any, ...], position: int) -> bool:
    return "position" in columns and row[columns.index("position")] > position


def _row(side: _Side) -> str:
    key = side.key or ()
    return f"{side.table} {' / '.join(str(part) for part in key[1:])}"


def _changes(columns: Sequence[str], live: tuple[Any, ...], built: tuple[Any, ...]) -> str:
    return "; ".join(
        f"{name} is {_short(theirs)}, by the log {_short(ours)}"
        for name, theirs, ours in zip(columns, live, built, strict=True)
        if theirs != ours
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
