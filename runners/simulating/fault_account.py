"""What the log says of a day with faults: was each stopped for the right reason, was anything shipped meanwhile?

Read from the events alone. What holds an order is kept account of here once more, by plain bookkeeping, and not by the
code that decides; no read model is asked.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from domain.envelope import Envelope, decode_envelope
from domain.ids import kind_of
from domain.ports import EventLog, Recorded
from projections.kpi_story import STAGES, TIMERS
from runners.simulating.fault_kinds import APPROVAL, KINDS, QUARANTINE

PAGE: Final = 5_000
_ENDS: Final = frozenset({"signed_for", "cancelled"})
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Stop(NamedTuple):
    """An order was stopped."""

    stream: str
    version: int
    position: int
    reason: str
    """Of the interception; else `APPROVAL` or `QUARANTINE`."""
    role: str
    advised: bool
    """Whether it is said what to do."""
    derivable_ms: int
    """When it could be known: a timer's due time, else the broker's stamp of the message that showed it."""

    @property
    def told_by(self) -> str:
        """The event that people are told by: of an act that was given up, its failure, recorded just before."""
        return f"{self.stream}@{self.version - (self.reason == 'effect_failed')}"


class Story(msgspec.Struct):
    """What happened to an order."""

    stops: list[Stop] = []
    state: str = ""
    open: set[str] = set()
    """What holds it."""
    moves: list[tuple[str, bool]] = []
    """(state that it came into, whether a person's decision had it go on)."""
    decided: bool = False
    """Whether a person had to decide anything of it."""
    shipped_held: int = 0
    """Times that we let it leave, or asked for its picking, although something held it."""
    told: bool = False
    """Whether its shop took the ship notice."""
    timers: dict[str, int] = {}
    """Timer → when it was set, by the broker's stamp."""


def read_stories(log: EventLog, after: int, streams: Iterable[str]) -> dict[str, Story]:
    """Read what the log says of these orders behind a position."""
    stories = {stream: Story() for stream in streams}
    message, root = "", False
    while page := log.read(after, PAGE):
        after = page[-1].position
        for event in page:
            envelope = decode_envelope(event.envelope)
            if envelope.message != message:
                # The first event of a turn is by whoever sent the message.
                message, root = envelope.message, envelope.by.kind == "person" and envelope.by.role != "keeper"
            story = stories.get(event.stream)
            if story is not None and kind_of(event.stream) == "order":
                _take(story, event, envelope, decided=root)
    return stories


def _take(story: Story, event: Recorded, envelope: Envelope, *, decided: bool) -> None:
    data = _decode(event.data)
    tag = event.tag
    story.decided |= decided
    leaves = tag in ("order.shipped", "order.partially_shipped") and data.get("command")
    if (leaves or tag == "order.pick_list_issued") and story.open:
        story.shipped_held += 1
    state = STAGES.get(tag, "")
    if state and state != story.state:
        story.moves.append((state, decided))
        story.state = state
    elif tag == "order.released" and story.state == "allocated":
        story.state = "paid"
    _hold(story, tag, data)
    if tag == "order.timer_set":
        story.timers[data["timer"]] = envelope.at
    elif tag == "order.promised":
        story.timers["promise"] = envelope.at
    elif tag == "order.effect_succeeded" and data["effect"] == "ship_notice":
        story.told = True
    reason, role = _stop_of(tag, data)
    if reason:
        timer = TIMERS.get(reason, "")
        derivable = max(data["risk_ms"], story.timers.get(timer, 0)) if timer else envelope.at
        advised = tag == "order.approval_requested" or bool(data["advice"] and data.get("evidence", True))
        story.stops.append(Stop(event.stream, event.version, event.position, reason, role, advised, derivable))


def _stop_of(tag: str, data: Mapping[str, Any]) -> tuple[str, str]:
    match tag:
        case "order.intercepted":
            return data["reason"], data["role"]
        case "order.quarantined":
            return QUARANTINE, "operations"
        case "order.approval_requested":
            return APPROVAL, data["role"]
    return "", ""


def _hold(story: Story, tag: str, data: Mapping[str, Any]) -> None:
    """Note what holds the order behind this event."""
    match tag:
        case "order.intercepted":
            story.open.add(f"interception {data['interception']}")
        case "order.resolved":
            story.open.discard(f"interception {data['interception']}")
        case "order.approval_requested":
            story.open.add(f"approval {data['approval']}")
        case "order.approval_withdrawn":
            story.open.discard(f"approval {data['approval']}")
        case "order.approved":
            if data["complete"]:
                story.open.discard(f"approval {data['approval']}")
        case "order.quarantined":
            story.open.add(QUARANTINE)
        case "order.queue_released":
            story.open.discard(QUARANTINE)
        case "order.normalized" | "order.amended":
            story.open -= {each for each in story.open if each.startswith("platform ")}
            story.open |= {f"platform {hold}" for hold in data["snapshot"].get("holds", ())}


class Verdict(msgspec.Struct):
    """Whether the promises were kept."""

    orders: int = 0
    faults: dict[str, int] = {}
    """Kind → how many were put into the day."""
    caught: dict[str, int] = {}
    """Kind → how many went as they must: stopped for the right reason with advice for the right role, or not at all."""
    reasons: dict[str, int] = {}
    """Reason → stops."""
    missed: list[str] = []
    """Orders with a fault that nothing stopped as it must."""
    false_stops: list[str] = []
    """Orders that were stopped for something that is not wrong with them."""
    unfinished: list[str] = []
    """Orders that came to no end."""
    shipped_held: int = 0
    stages: dict[str, tuple[int, int]] = {}
    """State → (orders that came into it, those that a person had to decide on for that)."""
    hands_off: int = 0
    """Orders of which nobody had to decide anything."""

    @property
    def transitions(self) -> float:
        """Share of transitions that came about by themselves, in percent; of a day stopped before any, all of them."""
        moves = sum(count for count, _ in self.stages.values())
        by_hand = sum(by_hand for _, by_hand in self.stages.values())
        return 100 * (moves - by_hand) / moves if moves else 100.0

    @property
    def per_order(self) -> float:
        """Share of orders that nobody had to decide on, in percent."""
        return 100 * self.hands_off / self.orders

    @property
    def right(self) -> bool:
        """Whether each fault was stopped as it must be, nothing else was, and nothing left while it was held."""
        return not (self.missed or self.false_stops or self.unfinished or self.shipped_held)


def judge(stories: Mapping[str, Story], faults: Mapping[str, str]) -> Verdict:
    """Compare what happened with what was put in; `faults` is order → kind, "" = none."""
    verdict = Verdict(len(faults))
    reasons: Counter[str] = Counter()
    put: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    stages: dict[str, list[int]] = {stage: [0, 0] for stage in STAGES.values()}
    for stream, fault in faults.items():
        story = stories[stream]
        reasons.update(stop.reason for stop in story.stops)
        for state, decided in story.moves:
            stages[state][0] += 1
            stages[state][1] += decided
        verdict.hands_off += not story.decided
        verdict.shipped_held += story.shipped_held
        wanted = KINDS[fault].reason if fault else ""
        strange = sorted({stop.reason for stop in story.stops if stop.reason != wanted})
        if strange:
            verdict.false_stops.append(f"{stream} ({fault or 'no fault'}): {', '.join(strange)}")
        if story.state not in _ENDS or story.open:
            held = ", ".join(sorted(story.open))
            verdict.unfinished.append(f"{stream} ({fault or 'no fault'}): {story.state or 'unknown'} {held}".rstrip())
        if not fault:
            continue
        put[fault] += 1
        if _as_it_must(story, fault):
            caught[fault] += 1
        else:
            seen = ", ".join(f"{stop.reason} to {stop.role}" for stop in story.stops) or "nothing"
            verdict.missed.append(f"{stream} ({fault}): {seen}")
    verdict.reasons = dict(reasons.most_common())
    verdict.faults = {kind: put[kind] for kind in KINDS if put[kind]}
    verdict.caught = {kind: caught[kind] for kind in verdict.faults}
    verdict.stages = {stage: (moves, by_hand) for stage, (moves, by_hand) in stages.items()}
    return verdict


def _as_it_must(story: Story, fault: str) -> bool:
    kind = KINDS[fault]
    if not kind.reason:
        return not story.stops and story.told
    return any(stop.reason == kind.reason and stop.role == kind.role and stop.advised for stop in story.stops)


class Delays(msgspec.Struct):
    """How long something took, in milliseconds."""

    count: int
    expected: int
    """How many there should be; what never came is missing in the rest."""
    within_15_s: float
    """Percent of those expected."""
    mean: float
    p50: float
    p95: float
    p99: float
    most: float


def delays(found: Sequence[float], expected: int) -> Delays:
    """Return the figures of some delays."""
    ordered = sorted(found)
    count = len(ordered)

    def at(share: float) -> float:
        return round(ordered[min(count - 1, int(share * count))], 1) if ordered else 0.0

    within = sum(delay <= 15_000 for delay in ordered)  # noqa: PLR2004  the promise
    mean = round(sum(ordered) / count, 1) if count else 0.0
    share = round(100 * within / expected, 2) if expected else 100.0
    return Delays(count, expected, share, mean, at(0.5), at(0.95), at(0.99), at(1.0))
