"""What-if: recorded history run again through the real cell with other rules, in memory; nothing is written anywhere.

The cell begins as it was at a position. Each message is made again from its events and run; where what follows differs
from what was recorded, an order has gone another way, and its life goes on from there. What the outside would have said
to that life the log cannot know: a recorded answer is taken only where the very same thing was asked. An order whose
next recorded answer fits no question of its other life is followed no further: what would have become of it is unknown.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from domain import order
from domain.catalogue import decode_event
from domain.cell import DECIDERS, Held, Message, Missing, Prepared, Taken, Turn, run_turn
from domain.envelope import By, decode_envelope
from domain.ids import RULEBOOK_KEY, kind_of
from domain.labels import label_of
from domain.mail import Mail
from domain.ports import Record, Recorded, Vault
from domain.rulebook import InForce, RulesChanged
from domain.rulebook import State as RuleBook
from runners.log_pages import pages
from runners.preparing import Preparer
from runners.rebuilt_mail import Group, Rebuilder, Rebuilt, is_view
from runners.replay import ReplayLog
from runners.what_if_figures import Figures, Side

_PAGE = 2_000
_TIMER = By("system", "timer")
_SETTLED_IN_STOCK = frozenset({"stock.released", "stock.picked_out", "stock.issued", "stock.returned"})
"""What an order does to stock that it holds already: the same whatever else the ledger holds."""

_TALK = frozenset(
    {"order.commented", "order.mentions_read", "order.complained", "order.complaint_closed", "order.enquired"}
)
"""What people and customers say of an order: it asks for nothing of it, and changes nothing of its way."""
_GONE = ("shipped", "completed")

Fact = tuple[str, bytes]
"""Tag and data of an event."""


class Told(msgspec.Struct, frozen=True):
    """An event, for people."""

    tag: str
    label: str
    facts: Any


class Otherwise(msgspec.Struct):
    """An order that would have gone another way."""

    key: str
    position: int
    """Of the first event of the message behind which it goes another way; where time alone did it, of the next one."""
    recorded: Told | None
    """The first event that would have been another one; None = there would have been one more."""
    instead: Told | None
    """What would have happened instead; None = nothing."""
    rules: list[str]
    """Rules that decide it: named by one side of that message's turn and not by the other; empty = it follows from what
    other orders did, as a rule because the goods were there, or were not."""
    state: str = ""
    """State of the order at the end of the window, as recorded."""
    state_instead: str = ""
    """The same, in its other life, as far as that is known."""
    unknown: str = ""
    """Why it could not be followed to the end of the window; "" = it could."""


class WhatIf(msgspec.Struct):
    """What other rules would have changed."""

    after: int
    upto: int
    messages: int = 0
    rebuilt: int = 0
    """Messages that were run by the cell again."""
    misread: int = 0
    """Messages made again wrongly, as by the recorded rules they lead elsewhere; they are taken like the next."""
    taken: int = 0
    """Messages that do not tell what they were: taken with what they led to, where nothing they touch differs."""
    guessed: int = 0
    """Views whose address can be read no more: rules that ask what is wrong with one saw nothing there."""
    otherwise: list[Otherwise] = []
    unknown: int = 0
    """Orders of those that could not be followed to the end."""
    figures: dict[str, Side] = {}
    """`recorded` and `instead`: what happened in the window, and what would have."""


def what_if(
    log: ReplayLog,
    text: str | None,
    after: int,
    upto: int,
    *,
    vault: Vault | None = None,
    preparer: Preparer | None = None,
) -> WhatIf:
    """Run the mail that led to the events behind `after`, up to and with `upto`, through other rules.

    Args:
        log: the log.
        text: a rule book that stands in the whole window; None = as recorded, which must change nothing.
        after: position that the cell begins at; one amid the events of a message means the one in front of them.
        upto: last position, likewise.
        vault: opens what came in, for what is wrong with an address; without it rules see nothing there.
        preparer: reads what came in, likewise.

    Raises:
        BadRules: the text cannot be a rule book.
    """
    after, upto = _whole(log, after), _whole(log, upto)
    world = _World(log, text, after, upto, Rebuilder(log, vault, preparer))
    for group in _groups(log, after, upto):
        world.take(group)
    return world.finish()


def _whole(log: ReplayLog, position: int) -> int:
    """Return the last position up to this one that the events of no message lie on both sides of."""
    while position and len(pair := log.read(position - 1, 2)) > 1:
        one, two = (decode_envelope(event.envelope).message for event in pair)
        if one != two:
            break
        position -= 1
    return position


def _groups(log: ReplayLog, after: int, upto: int) -> Iterator[list[Recorded]]:
    """Yield the events of each message; they stand together."""
    group: list[Recorded] = []
    message = ""
    for page in pages(log, upto, after, _PAGE):
        for event in page:
            its = decode_envelope(event.envelope).message
            if its != message and group:
                yield group
                group = []
            message = its
            group.append(event)
    if group:
        yield group


class _World:
    """The cell in its other life, beside the recorded one."""

    def __init__(self, log: ReplayLog, text: str | None, after: int, upto: int, rebuilder: Rebuilder) -> None:
        self._log = log
        self._text = text
        self._after = after
        self._rebuilder = rebuilder
        self._states: dict[str, Held] = {}
        self._was: dict[str, Held] = {}
        """The same actors as recorded."""
        self._happened: dict[str, set[Fact]] = {}
        """All events of their other life."""
        self._otherwise: dict[str, Otherwise] = {}
        self._frozen: set[str] = set()
        self._other_actors: set[str] = set()
        """Warehouses and the like that are not as recorded any more."""
        self._timers: list[tuple[int, str, str]] = []
        self._now = 0
        self._fired = 0
        self._result = WhatIf(after, upto)
        self._figures = Figures(), Figures()
        if text is not None:
            self._load((RULEBOOK_KEY,))
            held = self._states[RULEBOOK_KEY]
            self._put_in_force(held.version, held.state, held.state.in_force.version)

    # --- one message

    def take(self, group: Group) -> None:
        """Run a message again, and see whether what follows is what was recorded."""
        first = group[0]
        self._load({event.stream for event in group})
        self._result.messages += 1
        self._now = max(self._now, decode_envelope(first.envelope).observed_at)
        self._fire_due(first.position)
        for event in group:
            self._figures[0].add(event.stream, event.tag, event.data)
        if first.stream == RULEBOOK_KEY:
            self._take_rules(group)
        elif first.stream in self._frozen:
            self._differ(group, {})
        else:
            self._take(group)
        for event in group:
            self._was[event.stream] = _evolved(self._was[event.stream], event)

    def _take(self, group: Group) -> None:
        first = group[0]
        stream = first.stream
        goes_otherwise = stream in self._otherwise
        timers = dict(getattr(self._was[stream].state, "timers", ()))
        rebuilt = self._rebuilder.rebuilt(group, timers, self._state)
        if rebuilt is None or not self._leads_to(rebuilt, group):
            self._take_as_recorded(group)
            return
        if goes_otherwise and (why := self._unfit(rebuilt, first)):
            self._drop(group, rebuilt, why)
            return
        envelope = decode_envelope(first.envelope)
        turn = self._run(rebuilt, envelope.message, envelope.at, self._states)
        if goes_otherwise and not is_view(first.tag) and (turn.outcome == "refused" or not turn.records):
            self._drop(group, rebuilt, turn.reason or "it would have changed nothing")
            return
        self._result.rebuilt += 1
        self._result.guessed += rebuilt.guessed
        self._believe(turn)
        self._differ(group, _by_stream(turn.records))

    def _leads_to(self, rebuilt: Rebuilt, group: Group) -> bool:
        """Whether a message, by the recorded rules and states, leads to what was recorded: else it was another one."""
        envelope = decode_envelope(group[0].envelope)
        turn = self._run(rebuilt, envelope.message, envelope.at, self._was)
        same = _by_stream(turn.records) == _by_stream(group)
        self._result.misread += not same
        return same

    def _unfit(self, rebuilt: Rebuilt, first: Recorded) -> str:
        """Return why a recorded message cannot have come in an order's other life; "" = it can."""
        stream, question = first.stream, self._rebuilder.question(rebuilt.mail.body, first)
        if question is not None and question not in self._happened[stream]:
            return "what it answers was not asked in this life"
        if isinstance(rebuilt.prepared, Taken):
            mine, theirs = self._states[stream].state, self._was[stream].state
            if (
                rebuilt.prepared.command.snapshot.status in _GONE
                and theirs.status in _GONE
                and mine.status not in _GONE
            ):
                return "its channel tells of goods that have not left in this life"
        return ""

    def _drop(self, group: Group, rebuilt: Rebuilt, why: str) -> None:
        """Leave a message out, and follow its order no further, unless it only says how an act of ours went."""
        # What was never done outside is never reported, and a timer that is not open never rings: nothing is missed.
        if not isinstance(rebuilt.mail.body, order.RecordEffect | order.TimerDue):
            self._freeze(group[0].stream, f"{type(rebuilt.mail.body).__name__}: {why}")
        self._differ(group, {})

    def _take_as_recorded(self, group: Group) -> None:
        """Take a message that cannot be made again: with its events, where these cannot be any others."""
        stream = group[0].stream
        touched = {event.stream for event in group}
        mixed = any(event.tag not in _SETTLED_IN_STOCK for event in group if event.stream in self._other_actors)
        own_other = (stream in self._other_actors and kind_of(stream) == "warehouse") or stream in self._otherwise
        if own_other and (
            all(event.tag in _TALK for event in group) or (len(group) == 1 and self._is_refused_alike(group[0]))
        ):
            own_other = False
        if own_other or mixed:
            what = label_of(group[0].tag)
            for each in sorted(touched):
                if each in self._otherwise or (kind_of(each) == "order" and mixed):
                    self._differ([event for event in group if event.stream == each], {})
                    self._freeze(each, f"{what}: the log does not tell what was asked")
        self._result.taken += 1
        mine: dict[str, list[Fact]] = defaultdict(list)
        for event in group:
            if event.stream in self._frozen:
                continue
            self._states[event.stream] = _evolved(self._states[event.stream], event)
            mine[event.stream].append((event.tag, event.data))
            if event.stream in self._happened:
                self._happened[event.stream].add((event.tag, event.data))
            self._figures[1].add(event.stream, event.tag, event.data)
        self._differ([event for event in group if event.stream not in self._frozen], mine)

    def _is_refused_alike(self, event: Recorded) -> bool:
        """Whether goods were not let go that could not leave in the order's other life either."""
        facts = decode_event(event.tag, event.data)
        if not isinstance(facts, order.OrderRefused) or facts.what not in ("ScanOut", "Ship"):
            return False
        state = self._states[event.stream].state
        return state.status not in ("paid", "allocating") or not state.allocations or order.on_hold(state)

    def _take_rules(self, group: Group) -> None:
        """Follow the recorded version numbers; the rules stay the other ones, where there are any."""
        self._load((RULEBOOK_KEY,))
        for event in group:
            held = self._states[RULEBOOK_KEY] = _evolved(self._states[RULEBOOK_KEY], event)
            if self._text is not None and isinstance(facts := decode_event(event.tag, event.data), RulesChanged):
                self._put_in_force(held.version, held.state, facts.version)

    def _put_in_force(self, version: int, state: RuleBook, number: int) -> None:
        """Let the other rules stand under the number of the recorded ones: it is no difference of its own."""
        text = self._text or ""
        in_force = InForce(number or (1 if text else 0), "", text)
        _ = in_force.book  # raises where it is none
        self._states[RULEBOOK_KEY] = Held(version, RuleBook(in_force, state.handled))

    # --- running

    def _run(self, rebuilt: Rebuilt, message: str, at_ms: int, states: Mapping[str, Held]) -> Turn:
        payloads: dict[str, Prepared] = {}
        mail = rebuilt.mail
        self._load((RULEBOOK_KEY,))
        while True:
            try:
                return run_turn(Message(message, at_ms, mail), states, rebuilt.prepared, payloads)
            except Missing as missing:
                self._load(missing.streams)
                payloads.update(self._rebuilder.stored(mail.to, missing.payloads, self._state))

    def _believe(self, turn: Turn) -> None:
        """Go on from what a turn led to."""
        self._states.update(turn.states)
        for record in turn.records:
            self._figures[1].add(record.stream, record.tag, record.data)
            if record.stream in self._happened:
                self._happened[record.stream].add((record.tag, record.data))

    def _state(self, key: str) -> Any:
        self._load((key,))
        return self._states[key].state

    def _load(self, streams: Sequence[str] | set[str]) -> None:
        """Bring actors into memory as they were at the beginning of the window."""
        for stream in streams:
            if stream in self._states:
                continue
            decider = DECIDERS[kind_of(stream)]
            version, state = 0, decider.initial
            for event in self._log.select(stream):
                if event.position > self._after:
                    break
                version, state = event.version, decider.evolve(state, decode_event(event.tag, event.data))
            self._states[stream] = self._was[stream] = Held(version, state)

    # --- timers of the other life

    def _fire_due(self, position: int) -> None:
        """Let timers ring that only an order's other life has open; the others ring as recorded."""
        while self._timers and self._timers[0][0] <= self._now:
            due_ms, stream, timer = heapq.heappop(self._timers)
            mine, theirs = self._states[stream].state, self._was[stream].state
            if stream in self._frozen or (timer, due_ms) not in mine.timers or (timer, due_ms) in theirs.timers:
                continue
            self._fired += 1
            mail = Mail(stream, order.TimerDue(timer, due_ms), due_ms, _TIMER)
            turn = self._run(Rebuilt(mail), f"what-if-{self._fired}", due_ms, self._states)
            self._believe(turn)
            self._differ((), _by_stream(turn.records), position)

    def _watch(self, stream: str) -> None:
        for timer, due_ms in self._states[stream].state.timers:
            heapq.heappush(self._timers, (due_ms, stream, timer))

    # --- differences

    def _differ(self, group: Group, mine: Mapping[str, Sequence[Fact]], position: int = 0) -> None:
        """Note which actors go another way from here; follow both lives of those that did before.

        Args:
            group: what was recorded.
            mine: what happened instead, by stream.
            position: where the log stands, where nothing was recorded.
        """
        theirs = _by_stream(group)
        where = group[0].position if group else position
        rules = {rule for rule, _ in _said(theirs) ^ _said(mine)}
        for stream in {**theirs, **mine}:
            recorded, instead = theirs.get(stream, []), list(mine.get(stream, ()))
            if kind_of(stream) != "order":
                if recorded != instead:
                    self._other_actors.add(stream)
                continue
            if stream not in self._otherwise and recorded != instead:
                self._part(stream, where, recorded, instead, rules)
            if stream in self._otherwise:
                self._watch(stream)

    def _part(
        self,
        stream: str,
        position: int,
        recorded: Sequence[Fact],
        instead: Sequence[Fact],
        rules: set[str],
    ) -> None:
        """Note that an order goes another way from here."""
        at = next(
            (place for place, pair in enumerate(zip(recorded, instead, strict=False)) if pair[0] != pair[1]),
            min(len(recorded), len(instead)),
        )
        was, now = (_told(side[at]) if at < len(side) else None for side in (recorded, instead))
        self._otherwise[stream] = Otherwise(stream, position, was, now, sorted(rules))
        past = [event for event in self._log.select(stream) if event.position < position]
        self._happened[stream] = {*((event.tag, event.data) for event in past), *instead}

    def _freeze(self, stream: str, why: str) -> None:
        if stream not in self._frozen:
            self._frozen.add(stream)
            self._otherwise[stream].unknown = _waits(self._states[stream].state, self._was[stream].state) or why

    # --- the end

    def finish(self) -> WhatIf:
        """Return what was found."""
        result = self._result
        self._fire_due(result.upto)
        for stream, each in self._otherwise.items():
            mine, theirs = self._states[stream].state, self._was[stream].state
            each.state, each.state_instead = order.shown_status(theirs), order.shown_status(mine)
            each.unknown = each.unknown or _waits(mine, theirs)
        result.otherwise = sorted(self._otherwise.values(), key=lambda each: (each.position, each.key))
        result.unknown = sum(bool(each.unknown) for each in result.otherwise)
        lost = {each.key for each in result.otherwise if each.unknown}
        result.figures = {"recorded": self._figures[0].side(), "instead": self._figures[1].side(lost)}
        return result


def _waits(mine: order.Order, theirs: order.Order) -> str:
    """Return what an order waits for in its other life that nobody was asked for in the recorded one."""
    known = dict(theirs.interceptions)
    for name, reason in mine.interceptions:
        if name not in known:
            return f"it waits for a decision on {reason}, which nobody was asked for"
    asked = {each.asked.approval for each in theirs.people.approvals.asked}
    for approval in mine.people.approvals.asked:
        if approval.blocks and approval.asked.approval not in asked:
            return f"it waits for approval {approval.asked.approval}, which nobody was asked for"
    if mine.status == "allocating" and mine.status != theirs.status:
        return "it waits for a warehouse, which was not asked to pick like this"
    return ""


def _evolved(held: Held, event: Recorded) -> Held:
    decider = DECIDERS[kind_of(event.stream)]
    return Held(held.version + 1, decider.evolve(held.state, decode_event(event.tag, event.data)))


def _by_stream(records: Sequence[Record | Recorded]) -> dict[str, list[Fact]]:
    found: dict[str, list[Fact]] = defaultdict(list)
    for record in records:
        found[record.stream].append((record.tag, record.data))
    return found


def _told(fact: Fact) -> Told:
    return Told(fact[0], label_of(fact[0]), msgspec.json.decode(fact[1]))


def _said(facts: Mapping[str, Sequence[Fact]]) -> set[tuple[str, bytes]]:
    """Return (rule, all that it says) of every place in these events that names a rule."""
    found: set[tuple[str, bytes]] = set()
    for _, data in (fact for each in facts.values() for fact in each):
        if b'"rule":' in data:
            found.update(_named(msgspec.json.decode(data)))
    return found


def _named(value: Any) -> Iterator[tuple[str, bytes]]:
    if isinstance(value, dict):
        if isinstance(value.get("rule"), str) and value["rule"]:
            yield value["rule"], msgspec.json.encode(value)
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _named(each)
