"""What of an order counts for the KPIs: its events become facts, each of which adds to one figure.

A fact names what it counts (`<kind>/<detail>`), whether it went well, how long it took, and the event that shows it, so
that behind each figure stand the very events it is made of.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from domain.after_sale import REASONS
from domain.notices import CUSTOMER
from domain.notices import EFFECT as NOTIFY
from domain.time_units import HOUR_MS

STAGES: Final[Mapping[str, str]] = {
    "order.received": "placed",
    "order.paid": "paid",
    "order.reserved": "allocated",
    "order.shipped": "shipped",
    "order.completed": "signed_for",
    "order.cancelled": "cancelled",
}
"""Event → the stage that an order comes into by it."""
TIMERS: Final[Mapping[str, str]] = {
    "payment_timeout": "payment",
    "overdue_promise": "promise",
    "presale_overdue": "presale",
}
"""Reason of an interception → the timer at whose time it can be known."""
_WATCHED: Final = frozenset(TIMERS.values())
APPROVAL: Final = "approval"
QUARANTINE: Final = "quarantined"
"""Reasons of the stops that are no interceptions."""
OPEN: Final = frozenset({"paid", "allocated"})
"""Stages in which an order waits for us."""
IN_TIME_MS: Final = 15_000
"""Within so long a stop must be pushed."""
_SHIPPED, _DELIVERED, _MISSHIPPED = 1, 2, 4


class Fact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What one event adds to one figure; it counts for the order's hour, and for the warehouse that the order is in."""

    name: str
    """`<kind>/<detail>`; see `docs/kpis.md`."""
    hit: int
    """1 = it is one of those that the figure looks for."""
    version: int
    position: int
    """Of the event."""
    value: int = -1
    """Milliseconds that it took; -1 = it is none that takes time."""


class Settled(Fact, frozen=True, gc=False, array_like=True):
    """One that stays where it is, whatever becomes of the order."""

    hour: int = 0
    """Hours since 1970 in UTC."""
    warehouse: str = ""


class Stopped(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A stop that nobody has been told of yet."""

    version: int
    """Of the event that people are told by."""
    reason: str
    derivable_ms: int
    hour: int
    warehouse: str


class Story(msgspec.Struct, gc=False, array_like=True):
    """An order, as far as KPIs go."""

    at: int
    """When it reached us, observed time, UTC ms."""
    facts: list[Fact] = []
    settled: list[Settled] = []
    warehouse: str = ""
    """Where it was reserved last; "" = nowhere."""
    stage: str = ""
    received: tuple[int, int] = (0, 0)
    """(version, position) of the event by which it counts as an order; (0, 0) = it does not yet."""
    decided: tuple[int, int] = (0, 0)
    """The same of the first event for which a person had to decide something; (0, 0) = there is none."""
    paid_ms: int = 0
    """Since when it waits for us, observed time, UTC ms."""
    nodes: list[str] = []
    """Systems that it has crossed."""
    node_ms: int = 0
    """When it came to the last of them."""
    role: str = ""
    """Who spoke last."""
    ship_by_ms: int = 0
    deliver_by_ms: int = 0
    timers: dict[str, int] = {}
    """Timer → when it was set, observed time, UTC ms."""
    untold: tuple[Stopped, ...] = ()
    cases: tuple[int, ...] = ()
    """After-sale case, by its number → place of its settled fact."""
    stages: int = 0
    """Bits of the stages that it has come into."""
    flags: int = 0
    last_hour: int = 0
    """The latest hour of a settled fact; 0 = there is none."""

    @property
    def hour(self) -> int:
        """Hours since 1970 in UTC until it reached us."""
        return self.at // HOUR_MS


class By(msgspec.Struct, frozen=True, gc=False):
    """As much of who did it as is asked here."""

    kind: Literal["channel", "rule", "system", "person"]
    role: str = ""

    @property
    def decides(self) -> bool:
        """Whether what he sends is a decision: a keeper's work on goods is none."""
        return self.kind == "person" and self.role != "keeper"


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """As much of an envelope as is asked here."""

    observed_at: int
    by: By
    message: str
    causation: str


stamp_of = msgspec.json.Decoder(Stamp).decode
NOBODY: Final = By("system")


@dataclass(slots=True)
class Moment:
    """An event of an order, with what stands around it; one object that is written anew for each event of a batch."""

    version: int
    position: int
    at: int
    """Observed time, UTC ms."""
    by: By
    by_hand: bool
    """Whether a person's decision brought about the turn that the event is of."""


# --- what each event adds


def _add(story: Story, moment: Moment, name: str, hit: int = 1, value: int = -1) -> None:
    """Add a fact that follows the order."""
    story.facts.append(Fact(name, hit, moment.version, moment.position, value))


def _settle(story: Story, moment: Moment, name: str, hit: int, value: int = -1, hour: int | None = None) -> None:
    """Add a fact that stays where it is, by default in the hour in which it happened."""
    at = moment.at // HOUR_MS if hour is None else hour
    story.settled.append(Settled(name, hit, moment.version, moment.position, value, at, story.warehouse))
    story.last_hour = max(story.last_hour, at)


_STAGE: Mapping[str, tuple[str, int]] = {
    stage: (f"update/{stage}", 1 << place) for place, stage in enumerate(STAGES.values())
}
"""Stage → (name of its fact, its bit)."""


def _come_to(story: Story, moment: Moment, stage: str) -> None:
    if stage == story.stage:
        return
    name, bit = _STAGE[stage]
    facts, stages = story.facts, story.stages
    if stages & bit:
        facts.append(Fact(f"again/{stage}", 1, moment.version, moment.position, -1))
    facts.append(Fact(name, 0 if moment.by_hand else 1, moment.version, moment.position, -1))
    story.stage = stage
    story.stages = stages | bit


def _cross(story: Story, moment: Moment, node: str) -> None:
    nodes = story.nodes
    if node not in nodes:
        nodes.append(node)
        at, since = moment.at, story.node_ms
        story.node_ms = at
        took = at - since if 0 < since < at else 0
        story.facts.append(Fact(_node_name(node), 1, moment.version, moment.position, took))


@lru_cache(maxsize=256)
def _node_name(node: str) -> str:
    """Return the name of the facts of a node: one text for all of them, whose hash is known."""
    return f"node/{node}"


def _received(story: Story, _: None, moment: Moment) -> None:
    if not story.received[0]:
        story.received = moment.version, moment.position
    _come_to(story, moment, "placed")
    _cross(story, moment, "channel")


class _At(msgspec.Struct, frozen=True, gc=False):
    utc_ms: int


class _Modified(msgspec.Struct, frozen=True, gc=False):
    modified_at: _At


class _Viewed(msgspec.Struct, frozen=True, gc=False):
    snapshot: _Modified


def _viewed(story: Story, facts: _Viewed, moment: Moment) -> None:
    delay = max(0, moment.at - facts.snapshot.modified_at.utc_ms)
    # Which warehouse is to serve the order has nothing to do with it.
    story.settled.append(Settled("channel_delay/", 1, moment.version, moment.position, delay, story.at // HOUR_MS, ""))


def _paid(story: Story, _: None, moment: Moment) -> None:
    _come_to(story, moment, "paid")
    if not story.paid_ms:
        story.paid_ms = moment.at


class _Reserved(msgspec.Struct, frozen=True, gc=False):
    warehouse: str


def _reserved(story: Story, facts: _Reserved, moment: Moment) -> None:
    story.warehouse = facts.warehouse
    _come_to(story, moment, "allocated")
    _cross(story, moment, "inventory")


def _released(story: Story, _: None, __: Moment) -> None:
    if story.stage == "allocated":
        story.stage = "paid"


def _to_node(node: str) -> "_Rule":
    def rule(story: Story, _: None, moment: Moment) -> None:
        _cross(story, moment, node)

    return rule


class _Promised(msgspec.Struct, frozen=True, gc=False):
    ship_by_ms: int
    deliver_by_ms: int = 0


def _promised(story: Story, facts: _Promised, moment: Moment) -> None:
    story.ship_by_ms, story.deliver_by_ms = facts.ship_by_ms, facts.deliver_by_ms
    story.timers["promise"] = moment.at
    _decided(story, None, moment)


class _ShippedAt(msgspec.Struct, frozen=True, gc=False):
    shipped_ms: int = 0


def _shipped(story: Story, facts: _ShippedAt, moment: Moment) -> None:
    _come_to(story, moment, "shipped")
    _cross(story, moment, "carrier")
    if not story.flags & _SHIPPED:
        story.flags |= _SHIPPED
        promised = story.ship_by_ms
        in_time = promised != 0 and (facts.shipped_ms or moment.at) <= promised
        took = max(0, moment.at - story.at)
        name = "shipped/promised" if promised else "shipped/unpromised"
        _settle(story, moment, name, int(in_time), took, story.at // HOUR_MS)


class _DeliveredAt(msgspec.Struct, frozen=True, gc=False):
    delivered_ms: int


def _delivered(story: Story, facts: _DeliveredAt, moment: Moment) -> None:
    if not story.flags & _DELIVERED:
        story.flags |= _DELIVERED
        promised = bool(story.deliver_by_ms)
        in_time = promised and facts.delivered_ms <= story.deliver_by_ms
        _add(story, moment, f"delivered/{'' if promised else 'un'}promised", int(in_time))


def _completed(story: Story, _: None, moment: Moment) -> None:
    _come_to(story, moment, "signed_for")


def _cancelled(story: Story, _: None, moment: Moment) -> None:
    _come_to(story, moment, "cancelled")
    _decided_here(story, None, moment)


def _decided_here(story: Story, _: None, moment: Moment) -> None:
    """Count a decision of ours; a channel that tells of its own has not decided for us."""
    if moment.by.kind != "channel":
        _decided(story, None, moment)


def _decided(story: Story, _: None, moment: Moment) -> None:
    person = moment.by.kind == "person"
    _add(story, moment, "decision/person" if person else "decision/machine", 0 if person else 1)


class _TimerSet(msgspec.Struct, frozen=True, gc=False):
    timer: str


def _timer_set(story: Story, facts: _TimerSet, moment: Moment) -> None:
    if facts.timer in _WATCHED:
        story.timers[facts.timer] = moment.at


class _Intercepted(msgspec.Struct, frozen=True, gc=False):
    reason: str
    risk_ms: int
    evidence: str = ""
    advice: str = ""


def _intercepted(story: Story, facts: _Intercepted, moment: Moment) -> None:
    timer = TIMERS.get(facts.reason, "")
    derivable = max(facts.risk_ms, story.timers.get(timer, 0)) if timer else moment.at
    _stop(story, moment, facts.reason, derivable, advised=bool(facts.advice and facts.evidence))
    _decided(story, None, moment)


class _Quarantined(msgspec.Struct, frozen=True, gc=False):
    advice: str = ""


def _quarantined(story: Story, facts: _Quarantined, moment: Moment) -> None:
    _stop(story, moment, QUARANTINE, moment.at, advised=bool(facts.advice))


def _approval_requested(story: Story, _: None, moment: Moment) -> None:
    _stop(story, moment, APPROVAL, moment.at, advised=True)
    _decided(story, None, moment)


def _stop(story: Story, moment: Moment, reason: str, derivable_ms: int, *, advised: bool) -> None:
    _settle(story, moment, f"stop/{reason}", int(advised), max(0, moment.at - derivable_ms))
    # Of an act that was given up people are told by its failure, recorded just before.
    told_by = moment.version - (reason == "effect_failed")
    story.untold += (Stopped(told_by, reason, derivable_ms, moment.at // HOUR_MS, story.warehouse),)
    _cross(story, moment, "desk")


class _Effect(msgspec.Struct, frozen=True, gc=False):
    effect: str
    key: str


def _effect_succeeded(story: Story, facts: _Effect, moment: Moment) -> None:
    _add(story, moment, f"effect/{facts.effect}")
    _cross(story, moment, facts.effect)
    if facts.effect != NOTIFY or not story.untold:
        return
    told, _, receiver = facts.key.rpartition("/")
    version = told.rpartition("@")[2]
    if receiver == CUSTOMER:
        return
    for place, stop in enumerate(story.untold):
        if str(stop.version) == version:
            took = max(0, moment.at - stop.derivable_ms)
            name, hit = f"push/{stop.reason}", int(took <= IN_TIME_MS)
            story.settled.append(Settled(name, hit, moment.version, moment.position, took, stop.hour, stop.warehouse))
            story.untold = (*story.untold[:place], *story.untold[place + 1 :])
            return


def _effect_failed(story: Story, facts: _Effect, moment: Moment) -> None:
    _add(story, moment, f"effect/{facts.effect}", 0)
    _cross(story, moment, facts.effect)


def _item_scanned(story: Story, _: None, moment: Moment) -> None:
    _add(story, moment, "scan/right")


class _PickError(msgspec.Struct, frozen=True, gc=False):
    error: str


def _pick_error(story: Story, facts: _PickError, moment: Moment) -> None:
    _add(story, moment, f"scan/{facts.error}", 0)


class _Commented(msgspec.Struct, frozen=True, gc=False):
    role: str


def _commented(story: Story, facts: _Commented, moment: Moment) -> None:
    if facts.role != story.role:
        _add(story, moment, f"round/{story.role or 'nobody'}>{facts.role}")
        story.role = facts.role


class _Complained(msgspec.Struct, frozen=True, gc=False):
    cause: str
    gift: bool = False


def _complained(story: Story, facts: _Complained, moment: Moment) -> None:
    gift = facts.cause == "gift_missing" or (facts.gift and facts.cause == "missing_item")
    _settle(story, moment, f"complaint/{facts.cause}", int(gift))
    if not gift:
        _misshipped(story, moment, facts.cause)


def _misshipped(story: Story, moment: Moment, why: str) -> None:
    if why in ("wrong_item", "missing_item") and not story.flags & _MISSHIPPED:
        story.flags |= _MISSHIPPED
        _add(story, moment, f"misshipped/{why}")


class _Enquired(msgspec.Struct, frozen=True, gc=False):
    topic: str
    self_service: bool
    repeats: int


def _enquired(story: Story, facts: _Enquired, moment: Moment) -> None:
    _settle(story, moment, f"enquiry/{facts.topic}", int(facts.self_service))
    if facts.repeats:
        _settle(story, moment, f"repeat/{facts.topic}", 1)


class _AfterSale(msgspec.Struct, frozen=True, gc=False):
    reason: str
    case: int = 0
    kind: str = ""


def _after_sale_opened(story: Story, facts: _AfterSale, moment: Moment) -> None:
    # Free words of a channel have no place in a figure.
    reason = facts.reason if facts.reason in REASONS else "not_told"
    if not 0 < facts.case <= len(story.cases):
        story.cases += (len(story.settled),)
        _settle(story, moment, f"return/{reason}", 1)
    elif facts.kind:
        # A person knows better than the channel why; the case stays in the hour in which it was opened.
        place = story.cases[facts.case - 1]
        known = story.settled[place]
        if known.name != f"return/{reason}":
            story.settled[place] = msgspec.structs.replace(
                known, name=f"return/{reason}", version=moment.version, position=moment.position
            )
    _misshipped(story, moment, reason)


_Rule = Callable[[Story, Any, Moment], None]
Rule = tuple[Callable[[bytes], Any] | None, _Rule | None, bool]
"""How a kind of event is folded: what decodes its data (None = they are not looked at), what adds its facts, and
whether a person who brings it about has decided something of the order's way.

A plain tuple: it is unpacked for each event."""


def _of(kind: type | None, show: _Rule | None, *, flow: bool = False) -> Rule:
    return msgspec.json.Decoder(kind).decode if kind is not None else None, show, flow


RULES: Final[Mapping[str, Rule]] = {
    "order.received": _of(None, _received, flow=True),
    "order.normalized": _of(_Viewed, _viewed, flow=True),
    "order.amended": _of(_Viewed, _viewed, flow=True),
    "order.paid": _of(None, _paid, flow=True),
    "order.reserved": _of(_Reserved, _reserved, flow=True),
    "order.released": _of(None, _released, flow=True),
    "order.pick_list_issued": _of(None, _to_node("warehouse"), flow=True),
    "order.promised": _of(_Promised, _promised, flow=True),
    "order.partially_shipped": _of(None, _to_node("carrier"), flow=True),
    "order.shipped": _of(_ShippedAt, _shipped, flow=True),
    "order.delivered": _of(_DeliveredAt, _delivered),
    "order.completed": _of(None, _completed, flow=True),
    "order.cancelled": _of(None, _cancelled, flow=True),
    "order.timer_set": _of(_TimerSet, _timer_set),
    "order.intercepted": _of(_Intercepted, _intercepted, flow=True),
    "order.quarantined": _of(_Quarantined, _quarantined),
    "order.approval_requested": _of(None, _approval_requested, flow=True),
    "order.effect_succeeded": _of(_Effect, _effect_succeeded),
    "order.effect_failed": _of(_Effect, _effect_failed),
    "order.item_scanned": _of(None, _item_scanned),
    "order.pick_error": _of(_PickError, _pick_error),
    "order.commented": _of(_Commented, _commented),
    "order.complained": _of(_Complained, _complained),
    "order.enquired": _of(_Enquired, _enquired),
    "order.after_sale_opened": _of(_AfterSale, _after_sale_opened),
    "order.after_sale_approved": _of(None, _decided_here),
    "order.after_sale_declined": _of(None, _decided_here),
    "order.lines_cancelled": _of(None, _decided_here, flow=True),
    "order.payment_recorded": _of(None, _to_node("payment"), flow=True),
    "order.payment_failed": _of(None, _to_node("payment")),
    **dict.fromkeys(
        (
            "order.routed",
            "order.gifts_granted",
            "order.gifts_waived",
            "order.allocated",
            "order.resolved",
            "order.approved",
            "order.rejected",
            "order.queue_released",
            "order.skus_mapped",
        ),
        _of(None, _decided, flow=True),
    ),
    "order.approval_withdrawn": _of(None, None, flow=True),
}
"""By tag. What is not here counts for no figure."""

BEGINS: Final = frozenset({"order.received", "order.quarantined"})
"""Events by which an order reaches us. What is recorded of its number before (an act that waits) counts for nothing."""
OWN_HOUR: Final = frozenset(
    {
        "order.intercepted",
        "order.quarantined",
        "order.approval_requested",
        "order.complained",
        "order.enquired",
        "order.after_sale_opened",
    }
)
"""Events with facts that count for their own time."""
BACK: Final = frozenset({"order.effect_succeeded", "order.after_sale_opened"})
"""Events with facts that count for the time of an earlier one of the order."""
