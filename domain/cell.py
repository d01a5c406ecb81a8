"""The cell: one message of the mail in, one turn out. Pure, so that it runs from a seed, without broker or disk.

A **turn** runs a message to completion: the addressed actor decides and evolves, then the process managers' messages to
other actors of the cell run first in, first out, in the same turn. What a turn needs and does not have it names in
`Missing`; the shell loads it and starts the turn again. Nothing of a turn is seen before all of it is done.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from domain import (
    barcodes,
    buyers,
    cellular,
    finance,
    floor,
    fulfilment,
    intake,
    mapping,
    order,
    people,
    picking,
    privacy,
    rulebook,
    shelf,
    skus,
    stock,
    trail,
    views,
    warehouse,
)
from domain.acts import Act
from domain.canonical import Return, Snapshot
from domain.catalogue import TAGS
from domain.catalogue import encode_event as _encode
from domain.decider import Command, Decider, DomainError, Event, RefusedBefore, Worked
from domain.envelope import By, Envelope, encode_envelope
from domain.erasure import DropMessage
from domain.ids import BUYERS_KEY, RULEBOOK_KEY, buyer_of, kind_of, skus_key_of, warehouse_key
from domain.mail import AsideReport, ChannelPayload, Mail, decode_body, encode_body
from domain.ports import Record
from domain.routing import Stock
from domain.rule_table import BadRules
from domain.rules import judge
from domain.rulings import UNRULED, Facts, Ruling

STEPS_MAX = 50_000
"""Most steps in one turn; a loop of process managers is an error, not a hang. (A released queue holds up to 1,000
messages, and each may give an allocation back, reserve anew and hear of it. Goods that arrive are told to every presale
that was promised them, and each reserves them and hears of it.)"""

Outcome = Literal[
    "accepted", "repeated", "outdated", "refused", "quarantined", "queued", "hint", "ignored", "unmatched"
]
"""What became of a message, as its sender is told."""

DECIDERS: Mapping[str, Decider] = {
    "order": order.order,
    "warehouse": warehouse.warehouse,
    "intake": intake.intake,
    "cell": cellular.cell_actor,
    "mapping": mapping.mapping,
    "skus": skus.skus,
    "rulebook": rulebook.rulebook,
    "buyers": buyers.buyers,
    "trail": trail.trail,
    "goods": barcodes.barcodes,
    "finance": finance.finance,
    "views": views.views,
    "privacy": privacy.privacy,
}
"""Every kind of actor."""

_OUTCOMES: Mapping[type[Event], Outcome] = {
    order.OrderRepeated: "repeated",
    order.OrderOutdated: "outdated",
    order.OrderRefused: "refused",
    stock.StockRefused: "refused",
    shelf.StockCounted: "accepted",
    cellular.CellRefused: "refused",
    mapping.MappingRefused: "refused",
    skus.SkusRefused: "refused",
    rulebook.RulesRefused: "refused",
    buyers.BuyersRefused: "refused",
    trail.TrailRefused: "refused",
    barcodes.BarcodesRefused: "refused",
    finance.FinanceRefused: "refused",
    views.ViewsRefused: "refused",
    privacy.PrivacyRefused: "refused",
    picking.PickError: "refused",
    order.OrderQuarantined: "quarantined",
    order.QueuedBehind: "queued",
    intake.IntakeHinted: "hint",
    intake.IntakeIgnored: "ignored",
    intake.IntakeRefused: "refused",
    intake.IntakeQuarantined: "quarantined",
    intake.IntakeUnmatched: "unmatched",
}

_BY_INITIAL = {kind[0]: (decider.decide, decider.evolve) for kind, decider in DECIDERS.items()}
"""The same by the first letter of a key, for the hot path; kinds have different ones."""
assert len(_BY_INITIAL) == len(DECIDERS)

_VIEWS = frozenset({order.OrderNormalized, order.OrderAmended})
"""Events with which the sealed personal half of their snapshot is stored."""
_TIMED = frozenset({order.TimerSet, order.TimerCleared, order.OrderPromised, order.OrderShipped})
_SPECIAL = _VIEWS | _TIMED | people.WORDED | {order.QueueReleased}
"""Events the turn itself looks at. With what people do the sealed words that they wrote are stored."""

_KEEPS_NO_PAYLOAD = frozenset({"repeated"})


class Message(msgspec.Struct, frozen=True, gc=False):
    """A mail and where it stood in the stream."""

    id: str
    """`<incarnation>-<sequence>`."""
    at_ms: int
    """The broker's time stamp."""
    mail: Mail


class Taken(msgspec.Struct, frozen=True, gc=False):
    """A payload that was translated: the command for its order."""

    command: order.TakeSnapshot


class Returned(msgspec.Struct, frozen=True, gc=False):
    """A payload that turned out to be a return of goods."""

    goods: Return
    payload: str


class Untranslatable(msgspec.Struct, frozen=True, gc=False):
    """A payload that nobody could translate, and why."""

    reason: str
    where: str
    advice: str
    payload: str
    mapping: int = 0
    """Version of the field mapping that was in force."""


Prepared = Taken | Returned | Untranslatable
"""What the shell made of a payload before the turn."""


class Missing(Exception):
    """The turn needs these streams' states, or these payloads translated, and does not have them."""

    def __init__(self, streams: Sequence[str] = (), payloads: Sequence[str] = ()) -> None:
        """Name what is missing."""
        super().__init__(f"missing streams {streams!r} payloads {payloads!r}")
        self.streams = tuple(streams)
        self.payloads = tuple(payloads)


class EndlessTurn(Exception):
    """More steps than any honest turn has: process managers answer each other for ever. A bug."""


class Held(msgspec.Struct, frozen=True, gc=False):
    """An actor in memory."""

    version: int
    state: Any

    def __iter__(self) -> Iterator[Any]:
        """Unpack as (version, state)."""
        return iter((self.version, self.state))


class Timer(NamedTuple):
    """A timer that a turn set (`due_ms`) or cleared (None)."""

    stream: str
    id: str
    due_ms: int | None


class Turn(msgspec.Struct, frozen=True, gc=False):
    """What a message led to; all of it is committed, or none."""

    records: list[Record]
    states: dict[str, Held]
    """The touched actors afterwards."""
    timers: list[Timer]
    outcome: Outcome
    reason: str
    keeps_payload: bool
    """Whether the raw bytes must be stored with it."""


def _refusal(kind: str, command: Any, refusal: DomainError, message_id: str) -> Event:
    """Return the event that records a broken rule in the actor's own stream."""
    what = type(command).__name__
    if kind == "order":
        return order.OrderRefused(what, refusal.rule, refusal.reason, getattr(command, "command_id", ""))
    if kind == "warehouse":
        return stock.StockRefused(what, refusal.rule, refusal.reason, message_id)
    if kind == "mapping":
        return mapping.MappingRefused(what, refusal.rule, refusal.reason, getattr(command, "command_id", ""))
    if kind == "skus":
        return skus.SkusRefused(what, refusal.rule, refusal.reason, getattr(command, "command_id", ""))
    if kind == "rulebook":
        return rulebook.RulesRefused(what, refusal.rule, refusal.reason, getattr(command, "command_id", ""))
    if kind == "trail":
        return trail.TrailRefused(what, refusal.rule, refusal.reason)
    if kind == "buyers":
        return buyers.BuyersRefused(what, refusal.rule, refusal.reason, getattr(command, "command_id", ""))
    if kind == "goods":
        return barcodes.BarcodesRefused(what, refusal.rule, refusal.reason, getattr(command, "command_id", ""))
    if kind == "finance":
        return finance.FinanceRefused(what, refusal.rule, refusal.reason, getattr(command, "command_id", ""))
    if kind == "views":
        return views.ViewsRefused(what, refusal.rule, refusal.reason)
    if kind == "privacy":
        return privacy.PrivacyRefused(what, refusal.rule, refusal.reason, getattr(command, "command_id", ""))
    if kind == "cell":
        return cellular.CellRefused(what, refusal.rule, refusal.reason)
    return intake.IntakeRefused(f"{what}: {refusal.reason}", "")


def _outcome(command: Any, events: Sequence[Event]) -> tuple[Outcome, str]:
    """Return what the sender is told, by what its message led to at the first actor."""
    if not events:
        return ("accepted" if isinstance(command, cellular.Tick) else "repeated"), ""
    for event in events:
        outcome = _OUTCOMES.get(type(event))
        if outcome is not None:
            return outcome, _told(event) if isinstance(event, order.OrderQuarantined) else getattr(event, "reason", "")
    return "accepted", ""


def _told(event: order.OrderQuarantined) -> str:
    """Return in one line what is wrong, where, and what to do."""
    return ": ".join(part for part in (event.where, event.reason) if part) + (
        f" ({event.advice})" if event.advice else ""
    )


class _Step(msgspec.Struct, frozen=True, gc=False):
    to: str
    command: "Command | _Again"
    by: By
    causation: str
    sealed: bytes | None = None


_new = tuple.__new__
"""Makes a named tuple without the detour over its own constructor: eight of them an order are worth it."""
_RULE = By("rule", fulfilment.RULE)
NO_PAYLOADS: Mapping[str, Prepared] = {}
NOTHING: Mapping[str, Held] = {}


class _World(msgspec.Struct, frozen=True, gc=False):
    """What a turn sees beside the actor that is addressed."""

    touched: Mapping[str, Held]
    """What it has changed so far."""
    loaded: Mapping[str, Held]
    """What it began with."""
    now_ms: int

    def state(self, key: str) -> Any:
        """Return an actor's state as it stands. Raises Missing where it is not loaded."""
        held = self.touched.get(key) or self.loaded.get(key)
        if held is None:
            raise Missing(streams=(key,))
        return held.state

    def states(self, keys: Sequence[str]) -> list[Any]:
        """Return many actors' states. Raises Missing with all of them that are not loaded."""
        absent = [key for key in keys if key not in self.touched and key not in self.loaded]
        if absent:
            raise Missing(streams=absent)
        return [self.state(key) for key in keys]


def run_turn(
    message: Message,
    states: Mapping[str, Held],
    prepared: Prepared | None = None,
    payloads: Mapping[str, Prepared] = NO_PAYLOADS,
) -> Turn:
    """Run one message to completion.

    Args:
        message: the mail.
        states: every actor the turn may need; an actor without events is `Held(0, initial)`.
        prepared: what the shell made of the mail's raw bytes, where it has any.
        payloads: translations of stored payloads by digest, for a resend.

    Raises:
        Missing: a state or a translation is needed and not there.
        EndlessTurn: more than `STEPS_MAX` steps.
    """
    mail = message.mail
    first = _first_step(message, states, prepared)
    return _run(message, first, states, payloads, mail)


def quarantine_turn(message: Message, states: Mapping[str, Held], reason: str, payload: str) -> Turn:
    """Run the turn of a message that cannot be handled: keep it, and let the rest go on.

    Orders keep their own; a message to any other actor is recorded in the cell's intake, and blocks nobody.
    """
    mail = message.mail
    raw = isinstance(mail.body, ChannelPayload | AsideReport)
    # A source's bytes are kept sealed or not at all: where they are not, their order's person was forgotten.
    body = "" if payload or raw else encode_body(_signed(mail))
    if kind_of(mail.to) == "order":
        advice = "repair the cause and resend it, or discard it"
        command: Command = order.Quarantine(message.id, reason, "", advice, payload, body)
        if not payload and not body:
            command = DropMessage()
        step = _Step(mail.to, command, mail.by, message.id)
    else:
        to = mail.to if kind_of(mail.to) == "intake" else "intake-cell:mail"
        aside = intake.RecordAside(
            "quarantined", f"{mail.to}: {reason}", payload or message.id, message=body, to=mail.to if body else ""
        )
        step = _Step(to, aside, mail.by, message.id)
    return _run(message, step, states, NO_PAYLOADS, mail)


def _run(
    message: Message, first: _Step, states: Mapping[str, Held], payloads: Mapping[str, Prepared], mail: Mail
) -> Turn:
    records: list[Record] = []
    timers: list[Timer] = []
    touched: dict[str, Held] = {}
    queue: deque[_Step] = deque((first,))
    waiting: deque[_Step] = deque()
    steps = 0
    outcome: Outcome = "accepted"
    reason = ""
    now_ms = mail.observed_at
    world = _World(touched, states, now_ms)

    def ledger_of(code: str) -> stock.Ledger:
        ledger: stock.Ledger = world.state(warehouse_key(code))
        return ledger

    warehouses: Any = None
    rules = 0
    while queue or waiting:
        steps += 1
        if steps > STEPS_MAX:
            raise EndlessTurn(f"more than {STEPS_MAX} steps in the turn of {message.id}")
        step = queue.popleft() if queue else waiting.popleft()
        to = step.to
        held = touched.get(to) or states.get(to)
        if held is None:
            raise Missing(streams=(to,))
        version, state = held.version, held.state
        if type(step.command) is _Again:
            step = _again(step, step.command, state, world)
        initial = to[0]
        if initial == "o" and warehouses is None:
            # No turn that reaches an order changes the rule book before.
            in_force = world.state(RULEBOOK_KEY).in_force
            rules = in_force.version
            warehouses = Stock(in_force.book.codes, ledger_of)
        decide, evolve = _BY_INITIAL[initial]
        command = step.command
        if type(command) in floor.ASKING:
            command = floor.informed(command, state, world.state)
        elif initial == "p":
            command = privacy.informed(command, world.states, now_ms)
        try:
            events = decide(command, state, now_ms)
        except RefusedBefore as refusal:
            if steps == 1:
                outcome, reason = "refused", refusal.reason
            continue
        except DomainError as refusal:
            events = (_refusal(kind_of(to), step.command, refusal, message.id),)
        if steps == 1:
            outcome, reason = _outcome(step.command, events)
        if not events:
            continue
        envelope = encode_envelope(
            Envelope(
                message.at_ms,
                now_ms,
                step.by,
                message.id,
                step.causation,
                mail.correlation or message.id,
                mail.source_tag,
                rules if initial == "o" else 0,
            )
        )
        before = state
        worked = events if isinstance(events, Worked) else None
        released: order.QueueReleased | None = None
        for event in events:
            version += 1
            kind = type(event)
            sealed = None
            if kind in _SPECIAL:
                if kind in _VIEWS:
                    sealed = step.sealed
                elif kind in _TIMED:
                    for timer, due_ms in order.timers_of(event):
                        timers.append(_new(Timer, (to, timer, due_ms)))
                elif isinstance(event, order.QueueReleased):
                    released = event
                else:
                    sealed = (step.command.sealed or None) if isinstance(step.command, Act) else None
            records.append(_new(Record, (to, version, TAGS[kind], envelope, _encode(event), sealed)))
            if worked is None:
                state = evolve(state, event)
        if worked is not None:
            state = worked.state
        touched[to] = Held(version, state)
        if initial == "o":
            reactions = fulfilment.react_to_order(to, events, before, state, warehouses)
            if before.awaited:
                reactions += privacy.react_to_awaited(before, state, now_ms)
        elif initial == "w":
            reactions = fulfilment.react_to_ledger(to, events)
        elif initial == "p":
            reactions = privacy.react(events, command)
        elif initial == "t":
            reactions = fulfilment.react_to_trail(events)
        elif initial == "s":
            reactions = fulfilment.react_to_skus(events, before, state)
        else:
            continue
        if reactions or released:
            if len(reactions) > 1:
                # All at once: goods that arrive may be promised to thousands of orders, and each asking begins anew.
                absent = [each.to for each in reactions if each.to not in touched and each.to not in states]
                if absent:
                    raise Missing(streams=tuple(dict.fromkeys(absent)))
            cause = f"{to}@{version}"
            for reaction in reactions:
                queue.append(_Step(reaction.to, reaction.command, _RULE, cause))
            if released:
                # What a released message releases in turn came before all that still waits.
                again = [_Step(to, item, step.by, cause) for item in _released(released, before, payloads)]
                waiting.extendleft(reversed(again))
    return Turn(records, touched, timers, outcome, reason, bool(records) and outcome not in _KEEPS_NO_PAYLOAD)


def _first_step(message: Message, states: Mapping[str, Held], prepared: Prepared | None) -> _Step:
    mail = message.mail
    body = mail.body
    if isinstance(body, AsideReport):
        payload = (prepared.payload if isinstance(prepared, Untranslatable) else "") or message.id
        kind: Any = body.kind if body.kind in ("hint", "ignored", "refused", "quarantined") else "refused"
        return _Step(mail.to, intake.RecordAside(kind, body.reason, payload, body.order_no), mail.by, message.id)
    held = states.get(mail.to)
    if held is None:
        raise Missing(streams=(mail.to,))
    if isinstance(body, ChannelPayload):
        if prepared is None:
            raise Missing(payloads=(message.id,))
        world = _World(NOTHING, states, mail.observed_at)
        return _payload_step(mail.to, held.state, message.id, prepared, mail.by, message.id, world)
    if isinstance(body, order.RecordEffect) and body.final and body.outcome == "failed":
        policy = _World(NOTHING, states, 0).state(RULEBOOK_KEY).in_force.book.acts.get(body.effect)
        if policy is not None:
            body = msgspec.structs.replace(body, then=policy.then)
    if isinstance(body, Act):
        body = _signed(mail)
    return _Step(mail.to, _or_queued(held.state, body, message.id), mail.by, message.id)


def _signed(mail: Mail) -> Any:
    """Return a mail's body; what a person does is done by who sent it, whatever it says."""
    return msgspec.structs.replace(mail.body, who=mail.by) if isinstance(mail.body, Act) else mail.body


def _filled(to: str, command: order.TakeSnapshot, state: order.Order, world: _World) -> order.TakeSnapshot:
    """Return the command with the SKUs that the channel does not name, as far as its table of SKUs knows them."""
    for line in command.snapshot.lines:
        if not line.sku and line.item:
            break
    else:
        return command
    snapshot, mapped = skus.fill(command.snapshot, state, world.state(skus_key_of(to)).table)
    return msgspec.structs.replace(command, snapshot=snapshot, mapped=mapped) if mapped else command


def _judged(to: str, command: order.TakeSnapshot, state: order.Order, world: _World) -> order.TakeSnapshot:
    """Return the command with what the rule book in force says of the order, unless it brings nothing new.

    What was judged beforehand stands if it was by the same book, of the same lines, and of a buyer nobody knows.
    """
    in_force: rulebook.InForce = world.state(RULEBOOK_KEY).in_force
    if not in_force.version or command.digest == state.digest:
        return command
    snapshot = command.snapshot
    book = in_force.book
    buyer, known = "", NOTHING_KNOWN
    if book.asks_buyer and snapshot.customer and (profiles := world.state(BUYERS_KEY).known):
        buyer = buyer_of(snapshot.channel, snapshot.customer)
        profile = profiles.get(buyer)
        if profile is not None:
            known = buyers.facts_of(profile, to, snapshot)
    if command.ruling.rules == in_force.version and not command.mapped and known is NOTHING_KNOWN:
        return command
    facts = Facts(snapshot, command.flaws, world.now_ms, snapshot.ordered_at.utc_ms, known, buyer)
    return msgspec.structs.replace(command, ruling=judge(book, facts, in_force.version))


NOTHING_KNOWN: Mapping[str, Any] = {}


def judged_beforehand(snapshot: Snapshot, flaws: tuple[str, ...], now_ms: int, in_force: rulebook.InForce) -> Ruling:
    """Return what a rule book says of an order whose buyer nobody knows, for a turn that finds that book in force.

    Args:
        snapshot: as its channel brought it.
        flaws: of the receiver's address.
        now_ms: observed time of its message.
        in_force: the book; one that this build cannot read says nothing.
    """
    if not in_force.version:
        return UNRULED
    try:
        book = in_force.book
    except BadRules:
        return UNRULED
    facts = Facts(snapshot, flaws, now_ms, snapshot.ordered_at.utc_ms, NOTHING_KNOWN, "")
    return judge(book, facts, in_force.version)


def _payload_step(
    to: str, state: order.Order, item: str, prepared: Prepared, by: By, causation: str, world: _World
) -> _Step:
    """Return the step for a channel's bytes: taken, or kept, or queued behind what is kept already."""
    waits = state.quarantined is not None
    if isinstance(prepared, Taken):
        command = prepared.command
        flaw = order.flaw_of(command.snapshot)
        if (waits or flaw) and not command.payload:
            return _Step(to, DropMessage(), by, causation)
        if waits:
            return _Step(to, order.QueueBehind(item, command.payload, ""), by, causation)
        if flaw:
            advice = "have the channel (or its translation) corrected, then resend; or discard it"
            flawed = order.Quarantine(item, flaw, "lines", advice, command.payload, "", command.mapping)
            return _Step(to, flawed, by, causation)
        return _Step(
            to, _judged(to, _filled(to, command, state, world), state, world), by, causation, command.sealed or None
        )
    if isinstance(prepared, Returned):
        goods = prepared.goods
        lines = tuple((line.sku or line.item, line.quantity, line.amount) for line in goods.lines)
        back = order.ReturnGoods(f"return-{goods.reference}", goods.reference, lines, goods.reason)
        if waits or state.status == "":
            queued = order.QueueBehind(item, prepared.payload, "") if prepared.payload else DropMessage()
            return _Step(to, queued, by, causation)
        return _Step(to, back, by, causation)
    if not prepared.payload:
        return _Step(to, DropMessage(), by, causation)
    failed = order.Quarantine(
        item, prepared.reason, prepared.where, prepared.advice, prepared.payload, "", prepared.mapping
    )
    return _Step(to, failed, by, causation)


def _again(step: _Step, again: "_Again", state: order.Order, world: _World) -> _Step:
    """Return the step a waiting message has become, now that it runs."""
    if isinstance(again.what, Command):
        by = again.what.who if isinstance(again.what, Act) else step.by
        return msgspec.structs.replace(step, command=_or_queued(state, again.what, again.item), by=by)
    return _payload_step(step.to, state, again.item, again.what, step.by, step.causation, world)


_ALWAYS_RUN: frozenset[type[Command]] = people.AT_ONCE | {
    order.ResendQuarantined,
    order.DiscardQuarantined,
    order.TimerDue,
    order.ResolveInterception,
    order.RecordEffect,
    picking.ScanItem,
    picking.UnscanItem,
}


def _or_queued(state: Any, body: Command, item: str) -> Command:
    """Return the command itself, or the one that lets it wait (an order's open quarantine, or no order yet)."""
    if not isinstance(state, order.Order) or type(body) in _ALWAYS_RUN:
        return body
    if getattr(body, "command_id", "") in state.commands:
        return body
    if state.quarantined is not None or (state.status == "" and type(body) in order.NEEDS_ORDER):
        return order.QueueBehind(item, "", encode_body(body))
    return body


def _released(event: order.QueueReleased, before: order.Order, payloads: Mapping[str, Prepared]) -> list["_Again"]:
    """Return what waited, in order; each runs in this turn when everything before it has come to rest."""
    waiting = list(before.queue)
    if event.behind == "order" and event.decision == "discard":
        return []
    if event.decision == "resend" and before.quarantined is not None:
        waiting.insert(0, before.quarantined)
    missing = [item.payload for item in waiting if item.payload and item.payload not in payloads]
    if missing:
        raise Missing(payloads=missing)
    return [
        _Again(item.item, payloads[item.payload] if item.payload else decode_body(item.message)) for item in waiting
    ]


class _Again(msgspec.Struct, frozen=True, gc=False):
    """A message that waited; what it asks of its order is settled when it runs."""

    item: str
    what: Any
    """`Prepared`, or a command."""
