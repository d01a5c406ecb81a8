"""The order: what a channel says of it, what we do for it, and what must not be done.

Three axes. *Fulfilment* is `status`, moved only along `TRANSITIONS`. *After-sale* is kept per line and never overwrites
the first. *Hold* (platform holds, open interceptions) blocks allocation and shipping. A channel message is a snapshot
of the order as the channel sees it; what is new in it becomes events, so messages may come late, doubled, in any order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from domain.canonical import Amounts, Line, Parcel, Snapshot, Status
from domain.decider import Command, Decider, DomainError, Event
from domain.time_units import DAY_MS, HOUR_MS

PAYMENT_TERM_MS = DAY_MS
"""How long an order may stay unpaid where its channel names no deadline."""
WAIT_FOR_ORDER_MS = 48 * HOUR_MS
"""How long a message for an order nobody has seen yet may wait before people are asked."""
QUEUE_MAX = 1_000
"""Most messages that wait behind one quarantined message; more is an attack or a loop, and is refused."""

STATUS_RANK: Mapping[Status, int] = {
    "awaiting_payment": 0,
    "paid": 1,
    "allocating": 2,
    "shipped": 3,
    "completed": 4,
    "cancelled": 5,
}
"""How far along the transition table a channel's status is; settles two snapshots of the same moment."""

TRANSITIONS: Mapping[str, frozenset[str]] = {
    "": frozenset({"awaiting_payment"}),
    "awaiting_payment": frozenset({"paid", "cancelled"}),
    "paid": frozenset({"allocating", "shipped", "cancelled"}),
    "allocating": frozenset({"paid", "shipped", "cancelled"}),
    "shipped": frozenset({"completed"}),
    "completed": frozenset(),
    "cancelled": frozenset(),
}
"""Fulfilment axis. A paid order ships without being allocated when the channel says so; an allocation given back makes
an order merely paid again. After shipping there is no cancelling, only after-sale."""

Quantities = tuple[tuple[str, int], ...]
"""(line id or SKU, quantity) pairs; which of the two is said where it is used."""


# --- commands


class TakeSnapshot(Command, frozen=True):
    """The channel's view of the order, translated; its personal half is sealed and travels beside the events."""

    snapshot: Snapshot
    digest: str
    """Keyed digest of the whole canonical order, to know a repeat."""
    address: str
    """Keyed digest of the receiver, to know a changed address."""
    payload: str
    """Digest of the stored raw payload, hex."""
    sealed: bytes


class ScanOut(Command, frozen=True):
    """The warehouse scanned the goods of the pick list out; with a tracking number they are on their way as well."""

    command_id: str
    tracking: str = ""
    carrier: str = ""


class Ship(Command, frozen=True):
    """The parcel went to the carrier."""

    command_id: str
    tracking: str
    carrier: str


class CancelLines(Command, frozen=True):
    """Cancel quantities of lines: before shipping they are cancelled, afterwards it is an after-sale."""

    command_id: str
    lines: Quantities
    """(line id, quantity); empty = everything."""
    reason: str


class ResolveInterception(Command, frozen=True):
    """A person's (or rule's) recorded decision on an interception."""

    command_id: str
    interception: str
    decision: Literal["release", "cancel"]
    """`release`: go on (an allocation is tried again); `cancel`: cancel the order."""
    note: str = ""


class TimerDue(Command, frozen=True):
    """The time of a timer has come. Ignored where the timer is not open."""

    timer: str
    due_ms: int


class ReturnGoods(Command, frozen=True):
    """Goods of a counter sale came back: an after-sale, opened and settled at once."""

    command_id: str
    reference: str
    lines: tuple[tuple[str, int, int], ...]
    """(SKU, quantity, refunded amount in minor units)."""
    reason: str


class ConfirmReserved(Command, frozen=True):
    """In-turn: the ledger holds the whole allocation."""

    allocation: str
    warehouse: str
    lines: Quantities


class ReportShort(Command, frozen=True):
    """In-turn: the ledger could not reserve; `short` is (SKU, wanted, available)."""

    allocation: str
    warehouse: str
    short: tuple[tuple[str, int, int], ...]


class Quarantine(Command, frozen=True):
    """Nobody could handle this message: keep it, with what follows behind it, until somebody decides."""

    item: str
    """Id of the message."""
    reason: str
    where: str
    advice: str
    payload: str
    """Digest of its raw bytes, hex; "" where `message` holds it."""
    message: str
    """JSON of the message's body where it is not raw bytes."""


class QueueBehind(Command, frozen=True):
    """In-turn: a message for an order with an open quarantine, or for an order nobody has seen yet."""

    item: str
    payload: str
    message: str


class ResendQuarantined(Command, frozen=True):
    """Try the quarantined message again, then those queued behind it."""

    command_id: str
    item: str


class DiscardQuarantined(Command, frozen=True):
    """Give the quarantined message up (its bytes stay), then run those queued behind it."""

    command_id: str
    item: str
    reason: str


# --- events


class OrderReceived(Event, frozen=True):
    """A channel's order reached us for the first time."""

    channel: str
    shop: str
    order_no: str
    payload: str


class OrderNormalized(Event, frozen=True):
    """It was understood: the canonical order. The personal half is sealed beside it."""

    snapshot: Snapshot
    digest: str
    address: str


class OrderAmended(Event, frozen=True):
    """The channel's view changed. `changed` names what differs in substance."""

    snapshot: Snapshot
    digest: str
    address: str
    changed: tuple[str, ...]
    payload: str


class OrderRepeated(Event, frozen=True):
    """The same canonical order came again."""

    digest: str


class OrderOutdated(Event, frozen=True):
    """A view older than the one we have came late. Kept, not followed."""

    modified_ms: int
    known_ms: int
    digest: str
    payload: str


class OrderPaid(Event, frozen=True):
    """Paid in full."""

    amount: int
    """Minor units."""
    currency: str
    paid_ms: int


class DepositPaid(Event, frozen=True):
    """A presale's deposit was paid; the balance is owed."""

    amount: int
    currency: str


class OrderReserved(Event, frozen=True):
    """A warehouse holds everything the order needs. `lines` are (SKU, quantity)."""

    allocation: str
    warehouse: str
    lines: Quantities


class ReservationFailed(Event, frozen=True):
    """A warehouse could not reserve. `short` is (SKU, wanted, available)."""

    allocation: str
    warehouse: str
    short: tuple[tuple[str, int, int], ...]


class PickListIssued(Event, frozen=True):
    """The warehouse was asked to pick. `lines` are (SKU, quantity)."""

    pick_list: str
    allocation: str
    warehouse: str
    lines: Quantities


class OrderPicked(Event, frozen=True):
    """Scanned out at the warehouse, not handed to a carrier yet."""

    allocation: str
    command: str


class PartiallyShipped(Event, frozen=True):
    """Some lines are on their way. `lines` are line ids."""

    lines: tuple[str, ...]
    parcels: tuple[Parcel, ...]


class OrderShipped(Event, frozen=True):
    """Everything that was left is on its way."""

    parcels: tuple[Parcel, ...]
    shipped_ms: int
    allocation: str = ""
    command: str = ""
    """Id of our own act; "" where the channel said so."""


class OrderCompleted(Event, frozen=True):
    """The trade is over on the channel's side."""

    completed_ms: int


class OrderCancelled(Event, frozen=True):
    """Nothing of it will be shipped."""

    reason: str
    command: str = ""


class LinesCancelled(Event, frozen=True):
    """Quantities of lines will not be shipped. `lines` are (line id, quantity)."""

    lines: Quantities
    reason: str
    command: str = ""


class AfterSaleOpened(Event, frozen=True):
    """The customer wants something put right after shipping. `lines` are (line id, quantity)."""

    lines: Quantities
    reason: str
    reference: str = ""
    command: str = ""


class AfterSaleClosed(Event, frozen=True):
    """The after-sale of these lines ended without (further) refund."""

    lines: tuple[str, ...]


class OrderRefunded(Event, frozen=True):
    """Money of these lines went back. `amount` is in minor units, 0 where the channel does not say."""

    lines: tuple[str, ...]
    amount: int
    reference: str = ""
    command: str = ""


class OrderIntercepted(Event, frozen=True):
    """A risk was stopped: why, on what evidence, and what to do. Blocks shipping until resolved."""

    interception: str
    reason: str
    evidence: str
    advice: str
    role: str
    """Who should act: operations, service, finance, keeper."""
    risk_ms: int
    """When the risk became derivable, UTC ms."""


class InterceptionResolved(Event, frozen=True):
    """An interception ended by a recorded decision, or because its cause went away."""

    interception: str
    decision: str
    note: str = ""
    command: str = ""


class OrderRefused(Event, frozen=True):
    """A message broke a rule; nothing else happened."""

    what: str
    rule: str
    reason: str
    command: str = ""


class OrderQuarantined(Event, frozen=True):
    """A message nobody could handle is kept; later ones of this order queue behind it."""

    item: str
    reason: str
    where: str = ""
    advice: str = ""
    payload: str = ""
    message: str = ""


class QueuedBehind(Event, frozen=True):
    """A message waits: behind a quarantined one, or for the order itself to arrive."""

    item: str
    behind: str
    """Id of the quarantined message, or `order`."""
    payload: str = ""
    message: str = ""


class QueueReleased(Event, frozen=True):
    """What waited runs now, in order; the quarantined message first if it was resent."""

    behind: str
    decision: Literal["resend", "discard", "order_known"]
    reason: str = ""
    command: str = ""


class TimerSet(Event, frozen=True):
    """Something must be looked at when `due_ms` has come."""

    timer: str
    due_ms: int


class TimerCleared(Event, frozen=True):
    """A timer is no longer open: `fired` or not needed."""

    timer: str
    fired: bool


# --- refusals


class OrderUnknown(DomainError):
    """No channel has sent this order yet."""


class NothingToShip(DomainError):
    """The order is not in a state from which goods may leave."""


class OrderOnHold(DomainError):
    """A hold or an open interception blocks shipping."""


class UnknownLine(DomainError):
    """The order has no such line, or not so many units of it."""


class NoSuchInterception(DomainError):
    """There is no open interception of that id."""


class NoSuchQuarantine(DomainError):
    """There is no quarantined message of that id."""


class IllegalTransition(DomainError):
    """The transition table has no such step."""


class QueueFull(DomainError):
    """Too many messages wait behind one."""


# --- state


class Allocation(msgspec.Struct, frozen=True, gc=False):
    """What a warehouse was asked to hold for the order."""

    id: str
    warehouse: str
    lines: Quantities
    """(SKU, quantity)."""
    picked: bool = False


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """A message that waits: raw bytes by digest, or a body as JSON."""

    item: str
    payload: str
    message: str


class Order(msgspec.Struct, frozen=True, gc=False):
    """State of an order: only what decisions read."""

    status: Status | Literal[""] = ""
    kind: str = "normal"
    digest: str = ""
    """Of the snapshot that counts."""
    modified_ms: int = 0
    rank: int = -1
    """`STATUS_RANK` of that snapshot."""
    address: str = ""
    lines: tuple[Line, ...] = ()
    """As in that snapshot."""
    amounts: Amounts = Amounts("CNY")
    holds: tuple[str, ...] = ()
    interceptions: tuple[tuple[str, str], ...] = ()
    """(id, reason) of the open ones."""
    allocation: Allocation | None = None
    attempts: int = 0
    cancelled: tuple[tuple[str, int], ...] = ()
    """(line id, units) cancelled by our own acts."""
    shipped: frozenset[str] = frozenset()
    """Ids of the lines on their way."""
    after_sales: tuple[tuple[str, str], ...] = ()
    """(line id, "open" | "refunded" | "closed")."""
    deposit: int = 0
    timers: tuple[tuple[str, int], ...] = ()
    """(id, due UTC ms) of the open ones."""
    commands: tuple[str, ...] = ()
    """Ids of the commands that were handled (or refused)."""
    quarantined: Waiting | None = None
    queue: tuple[Waiting, ...] = ()


_replace = msgspec.structs.replace


def _normalized(state: Order, event: OrderNormalized) -> Order:
    snapshot = event.snapshot
    return Order(
        status="awaiting_payment",
        kind=snapshot.kind,
        digest=event.digest,
        modified_ms=snapshot.modified_at.utc_ms,
        rank=STATUS_RANK[snapshot.status],
        address=event.address,
        lines=snapshot.lines,
        amounts=snapshot.amounts,
        holds=snapshot.holds,
        interceptions=state.interceptions,
        timers=state.timers,
        commands=state.commands,
        quarantined=state.quarantined,
        queue=state.queue,
    )


def _amended(state: Order, event: OrderAmended) -> Order:
    snapshot = event.snapshot
    return _replace(
        state,
        digest=event.digest,
        modified_ms=snapshot.modified_at.utc_ms,
        rank=STATUS_RANK[snapshot.status],
        address=event.address,
        lines=snapshot.lines,
        amounts=snapshot.amounts,
        holds=snapshot.holds,
    )


def _reserved(state: Order, event: OrderReserved) -> Order:
    return _replace(
        state,
        allocation=Allocation(event.allocation, event.warehouse, event.lines),
        attempts=state.attempts + 1,
    )


def _shipped(state: Order, event: OrderShipped) -> Order:
    return _replace(
        state,
        status="shipped",
        shipped=frozenset(line.id for line in state.lines if live_quantity(state, line) > 0),
        allocation=None,
        commands=_with_command(state, event.command),
    )


def _cancelled(state: Order, event: OrderCancelled) -> Order:
    return _replace(state, status="cancelled", allocation=None, commands=_with_command(state, event.command))


def _lines_cancelled(state: Order, event: LinesCancelled) -> Order:
    units = dict(state.cancelled)
    for line_id, quantity in event.lines:
        units[line_id] = units.get(line_id, 0) + quantity
    return _replace(state, cancelled=tuple(sorted(units.items())), commands=_with_command(state, event.command))


def _after_sale(state: Order, lines: Sequence[str], to: str, command: str = "") -> Order:
    known = dict(state.after_sales)
    known.update((line_id, to) for line_id in lines)
    return _replace(state, after_sales=tuple(sorted(known.items())), commands=_with_command(state, command))


def _with_command(state: Order, command: str) -> tuple[str, ...]:
    return (*state.commands, command) if command and command not in state.commands else state.commands


def _without_interception(state: Order, event: InterceptionResolved) -> Order:
    return _replace(
        state,
        interceptions=tuple(pair for pair in state.interceptions if pair[0] != event.interception),
        commands=_with_command(state, event.command),
    )


def _queue_released(state: Order, event: QueueReleased) -> Order:
    return _replace(state, quarantined=None, queue=(), commands=_with_command(state, event.command))


EVOLVE: Mapping[type[Event], Callable[[Order, Any], Order]] = {
    OrderReceived: lambda state, _: state,
    OrderNormalized: _normalized,
    OrderAmended: _amended,
    OrderRepeated: lambda state, _: state,
    OrderOutdated: lambda state, _: state,
    OrderPaid: lambda state, _: _replace(state, status="paid"),
    DepositPaid: lambda state, event: _replace(state, deposit=event.amount),
    OrderReserved: _reserved,
    ReservationFailed: lambda state, _: _replace(state, attempts=state.attempts + 1),
    PickListIssued: lambda state, _: _replace(state, status="allocating"),
    OrderPicked: lambda state, event: _replace(
        state,
        allocation=_replace(state.allocation, picked=True) if state.allocation else None,
        commands=_with_command(state, event.command),
    ),
    PartiallyShipped: lambda state, event: _replace(
        state, status="allocating", shipped=state.shipped | frozenset(event.lines)
    ),
    OrderShipped: _shipped,
    OrderCompleted: lambda state, _: _replace(state, status="completed"),
    OrderCancelled: _cancelled,
    LinesCancelled: _lines_cancelled,
    AfterSaleOpened: lambda state, event: _after_sale(
        state, [line_id for line_id, _ in event.lines], "open", event.command
    ),
    AfterSaleClosed: lambda state, event: _after_sale(state, event.lines, "closed"),
    OrderRefunded: lambda state, event: _after_sale(state, event.lines, "refunded", event.command),
    OrderIntercepted: lambda state, event: _replace(
        state, interceptions=(*state.interceptions, (event.interception, event.reason))
    ),
    InterceptionResolved: _without_interception,
    OrderRefused: lambda state, event: _replace(state, commands=_with_command(state, event.command)),
    OrderQuarantined: lambda state, event: _replace(
        state, quarantined=Waiting(event.item, event.payload, event.message)
    ),
    QueuedBehind: lambda state, event: _replace(
        state, queue=(*state.queue, Waiting(event.item, event.payload, event.message))
    ),
    QueueReleased: _queue_released,
    TimerSet: lambda state, event: _replace(state, timers=(*state.timers, (event.timer, event.due_ms))),
    TimerCleared: lambda state, event: _replace(
        state, timers=tuple(pair for pair in state.timers if pair[0] != event.timer)
    ),
}


def evolve(state: Order, event: Event) -> Order:
    """Return the order after the event."""
    return EVOLVE[type(event)](state, event)


# --- questions to the state


def live_quantity(state: Order, line: Line) -> int:
    """Units of a line that are still wanted: not cancelled by the channel nor by us."""
    if line.state == "cancelled":
        return 0
    for line_id, units in state.cancelled:
        if line_id == line.id:
            return max(line.quantity - units, 0)
    return line.quantity


def needs(state: Order) -> Quantities:
    """(SKU, units) that must still leave a warehouse, summed by SKU."""
    total: dict[str, int] = {}
    for line in state.lines:
        if line.id not in state.shipped and (units := live_quantity(state, line)):
            total[line.sku] = total.get(line.sku, 0) + units
    return tuple(total.items())


def on_hold(state: Order) -> bool:
    """Whether a platform hold or an open interception blocks allocation and shipping."""
    return bool(state.holds or state.interceptions)


def shown_status(state: Order) -> str:
    """What people see: an open after-sale shows 售后中 and loses nothing underneath."""
    if any(stage == "open" for _, stage in state.after_sales):
        return "after_sale"
    return state.status


# --- decisions


PAYMENT_TIMER = "payment"
ORDER_TIMER = "order"


def _guard(state: Order, to: str) -> None:
    if to not in TRANSITIONS[state.status]:
        raise IllegalTransition(f"from {state.status or 'nothing'} there is no way to {to}")


def _resolve_all(state: Order, decision: str) -> list[Event]:
    return [InterceptionResolved(interception, decision) for interception, _ in state.interceptions]


def _clear_timers(state: Order) -> list[Event]:
    return [TimerCleared(timer, fired=False) for timer, _ in state.timers]


class _Steps:
    """Collects the events of one decision and the state after each."""

    __slots__ = ("events", "state")

    def __init__(self, state: Order) -> None:
        self.state = state
        self.events: list[Event] = []

    def add(self, *events: Event) -> None:
        for event in events:
            self.state = evolve(self.state, event)
            self.events.append(event)


def _take_snapshot(command: TakeSnapshot, state: Order, now_ms: int) -> Sequence[Event]:
    snapshot = command.snapshot
    steps = _Steps(state)
    if state.status == "":
        steps.add(
            OrderReceived(snapshot.channel, snapshot.shop, snapshot.order_no, command.payload),
            OrderNormalized(snapshot, command.digest, command.address),
            *(TimerCleared(timer, fired=False) for timer, _ in state.timers),
        )
        for interception, _ in state.interceptions:
            steps.add(InterceptionResolved(interception, "order_known"))
    else:
        if command.digest == state.digest:
            return (OrderRepeated(command.digest),)
        modified = snapshot.modified_at.utc_ms
        if (modified, STATUS_RANK[snapshot.status], command.digest) <= (state.modified_ms, state.rank, state.digest):
            return (OrderOutdated(modified, state.modified_ms, command.digest, command.payload),)
        changed = tuple(
            name
            for name, differs in (
                ("lines", snapshot.lines != state.lines),
                ("amounts", snapshot.amounts != state.amounts),
                ("address", command.address != state.address),
                ("holds", snapshot.holds != state.holds),
            )
            if differs
        )
        steps.add(OrderAmended(snapshot, command.digest, command.address, changed, command.payload))
    _advance(steps, snapshot, now_ms)
    _follow_lines(steps, snapshot)
    _look_for_risks(steps, snapshot, now_ms)
    if state.status == "" and state.queue:
        steps.add(QueueReleased("order", "order_known"))
    return steps.events


def _advance(steps: _Steps, snapshot: Snapshot, now_ms: int) -> None:
    """Move the fulfilment axis as far as the channel's view says, step by step along the table."""
    target = snapshot.status
    if target == "awaiting_payment":
        if steps.state.status == "awaiting_payment":
            _wait_for_payment(steps, snapshot)
        return
    if target == "cancelled":
        _cancel(steps, snapshot.cancel_reason or snapshot.native_status, now_ms)
        return
    if steps.state.status == "awaiting_payment":
        paid_at = snapshot.paid_at or snapshot.modified_at
        steps.add(
            OrderPaid(snapshot.amounts.paid or snapshot.amounts.payable, snapshot.amounts.currency, paid_at.utc_ms)
        )
        steps.add(*_clear_timers(steps.state))
        for interception, reason in steps.state.interceptions:
            if reason == "payment_timeout":
                steps.add(InterceptionResolved(interception, "paid"))
    if target == "allocating":
        newly = tuple(
            line.id for line in snapshot.lines if line.state == "shipped" and line.id not in steps.state.shipped
        )
        if newly and steps.state.status in ("paid", "allocating"):
            steps.add(PartiallyShipped(newly, snapshot.parcels))
    elif target in ("shipped", "completed"):
        if steps.state.status in ("paid", "allocating"):
            shipped_at = snapshot.shipped_at or snapshot.modified_at
            allocation = steps.state.allocation
            steps.add(
                OrderShipped(snapshot.parcels, shipped_at.utc_ms, allocation.id if allocation else ""),
                *_resolve_all(steps.state, "shipped_by_channel"),
            )
        if target == "completed" and steps.state.status == "shipped":
            steps.add(OrderCompleted((snapshot.completed_at or snapshot.modified_at).utc_ms))


def _wait_for_payment(steps: _Steps, snapshot: Snapshot) -> None:
    paid = snapshot.amounts.paid
    if paid and paid != steps.state.deposit:
        steps.add(DepositPaid(paid, snapshot.amounts.currency))
    due = snapshot.pay_by.utc_ms if snapshot.pay_by else snapshot.ordered_at.utc_ms + PAYMENT_TERM_MS
    open_timers = dict(steps.state.timers)
    if steps.state.deposit and not snapshot.pay_by:
        if PAYMENT_TIMER in open_timers:
            steps.add(TimerCleared(PAYMENT_TIMER, fired=False))
        return
    if open_timers.get(PAYMENT_TIMER) == due or any(
        reason == "payment_timeout" for _, reason in steps.state.interceptions
    ):
        return
    if PAYMENT_TIMER in open_timers:
        steps.add(TimerCleared(PAYMENT_TIMER, fired=False))
    steps.add(TimerSet(PAYMENT_TIMER, due))


def _cancel(steps: _Steps, reason: str, now_ms: int, command: str = "") -> None:
    del now_ms
    if steps.state.status == "cancelled":
        return
    if "cancelled" in TRANSITIONS[steps.state.status]:
        steps.add(
            OrderCancelled(reason, command),
            *_clear_timers(steps.state),
            *_resolve_all(steps.state, "cancelled"),
        )
        return
    stages = dict(steps.state.after_sales)
    lines = tuple(
        (line.id, units)
        for line in steps.state.lines
        if (units := live_quantity(steps.state, line)) and line.id not in stages
    )
    if lines:
        steps.add(AfterSaleOpened(lines, f"cancelled after shipping: {reason}", command=command))


def _follow_lines(steps: _Steps, snapshot: Snapshot) -> None:
    """Follow the after-sale axis, line by line."""
    if not any(line.after_sale for line in snapshot.lines) and not steps.state.after_sales:
        return
    known = dict(steps.state.after_sales)
    opened = tuple(
        (line.id, line.quantity)
        for line in snapshot.lines
        if line.after_sale == "open" and known.get(line.id) != "open"
    )
    refunded = tuple(
        line.id for line in snapshot.lines if line.after_sale == "refunded" and known.get(line.id) != "refunded"
    )
    closed = tuple(
        line.id for line in snapshot.lines if line.after_sale == "closed" and known.get(line.id, "closed") != "closed"
    )
    if opened:
        references = sorted({line.after_sale_id for line in snapshot.lines if line.after_sale == "open"} - {""})
        steps.add(AfterSaleOpened(opened, "channel", ",".join(references)))
    if refunded:
        amount = sum(line.amount for line in snapshot.lines if line.id in refunded)
        steps.add(OrderRefunded(refunded, amount))
    if closed:
        steps.add(AfterSaleClosed(closed))


def _look_for_risks(steps: _Steps, snapshot: Snapshot, now_ms: int) -> None:
    """Stop what cannot be fulfilled as it stands."""
    state = steps.state
    if state.kind == "counter" or state.status not in ("paid", "allocating"):
        return
    reasons = {reason for _, reason in state.interceptions}
    if "unmapped_sku" in reasons and all(sku for sku, _ in needs(state)):
        for interception, reason in state.interceptions:
            if reason == "unmapped_sku":
                steps.add(InterceptionResolved(interception, "mapped"))
    elif "unmapped_sku" not in reasons and any(not sku for sku, _ in needs(state)):
        unmapped = [line.item or line.name for line in state.lines if not line.sku]
        steps.add(
            OrderIntercepted(
                f"unmapped_sku-{state.digest[:12]}",
                "unmapped_sku",
                f"channel items without a SKU: {', '.join(unmapped)[:200]}",
                "enter the merchant SKU of these items on the channel (or map them), then release the order",
                "operations",
                now_ms,
            )
        )
    allocation = state.allocation
    if (
        allocation is not None
        and not allocation.picked
        and "changed_after_allocation" not in reasons
        and _exceeds(needs(state), allocation.lines)
    ):
        steps.add(
            OrderIntercepted(
                f"changed_after_allocation-{state.digest[:12]}",
                "changed_after_allocation",
                f"the channel now wants {_spelled(needs(state))}; allocated are {_spelled(allocation.lines)}",
                "check the pick list against the order; release to ship what is allocated, or cancel",
                "operations",
                now_ms,
            )
        )
    del snapshot


def _exceeds(wanted: Quantities, held: Quantities) -> bool:
    have = dict(held)
    return any(have.get(sku, 0) < quantity for sku, quantity in wanted)


def _spelled(lines: Quantities) -> str:
    return ", ".join(f"{quantity} × {sku or '?'}" for sku, quantity in lines)[:200] or "nothing"


def _known(state: Order) -> None:
    if state.status == "":
        raise OrderUnknown("no channel has sent this order yet")


def _scan_out(command: ScanOut | Ship, state: Order, now_ms: int) -> Sequence[Event]:
    if state.status not in ("paid", "allocating"):
        raise NothingToShip(f"the order is {state.status}; goods leave only while it is allocating")
    if on_hold(state):
        why = ", ".join((*state.holds, *(reason for _, reason in state.interceptions)))
        raise OrderOnHold(f"held ({why}); resolve it first")
    allocation = state.allocation
    if allocation is None or state.status != "allocating":
        raise NothingToShip("no stock is allocated to the order, so there is no pick list to scan")
    if isinstance(command, ScanOut) and not command.tracking:
        if allocation.picked:
            return ()
        return (OrderPicked(allocation.id, command.command_id),)
    left = tuple(line.id for line in state.lines if line.id not in state.shipped and live_quantity(state, line) > 0)
    parcel = Parcel(command.carrier, command.tracking, left)
    return (OrderShipped((parcel,), now_ms, allocation.id, command.command_id),)


def _cancel_lines(command: CancelLines, state: Order, now_ms: int) -> Sequence[Event]:
    by_id = {line.id: line for line in state.lines}
    wanted = command.lines or tuple((line.id, live_quantity(state, line)) for line in state.lines)
    for line_id, quantity in wanted:
        line = by_id.get(line_id)
        if line is None or quantity < 0 or (command.lines and quantity > live_quantity(state, line)):
            have = live_quantity(state, line) if line else 0
            raise UnknownLine(f"cannot cancel {quantity} units of line {line_id}: the order has {have}")
    lines = tuple((line_id, quantity) for line_id, quantity in wanted if quantity)
    steps = _Steps(state)
    if state.status in ("shipped", "completed"):
        if lines:
            steps.add(AfterSaleOpened(lines, command.reason, command=command.command_id))
        return steps.events
    if state.status == "cancelled":
        raise IllegalTransition("the order is cancelled already")
    shipped = tuple((line_id, quantity) for line_id, quantity in lines if line_id in state.shipped)
    rest = tuple((line_id, quantity) for line_id, quantity in lines if line_id not in state.shipped)
    if shipped:
        steps.add(AfterSaleOpened(shipped, command.reason, command=command.command_id))
    if rest:
        steps.add(LinesCancelled(rest, command.reason, command.command_id))
    if not needs(steps.state):
        if steps.state.shipped:
            _guard(steps.state, "shipped")
            steps.add(OrderShipped((), now_ms, "", command.command_id))
        else:
            _cancel(steps, command.reason, now_ms, command.command_id)
    return steps.events


def _resolve(command: ResolveInterception, state: Order, now_ms: int) -> Sequence[Event]:
    if command.interception not in dict(state.interceptions):
        raise NoSuchInterception(f"no open interception {command.interception!r}")
    steps = _Steps(state)
    steps.add(InterceptionResolved(command.interception, command.decision, command.note, command.command_id))
    if command.decision == "cancel":
        _cancel(steps, f"decided on {command.interception}", now_ms, command.command_id)
    return steps.events


def _timer_due(command: TimerDue, state: Order, now_ms: int) -> Sequence[Event]:
    if (command.timer, command.due_ms) not in state.timers:
        return ()
    steps = _Steps(state)
    steps.add(TimerCleared(command.timer, fired=True))
    if command.timer == PAYMENT_TIMER and state.status == "awaiting_payment":
        steps.add(
            OrderIntercepted(
                f"payment_timeout-{command.due_ms}",
                "payment_timeout",
                f"unpaid past its deadline (UTC ms {command.due_ms})",
                "ask the customer, or cancel the order; a late payment lifts this by itself",
                "service",
                command.due_ms,
            )
        )
    elif command.timer == ORDER_TIMER and state.status == "":
        steps.add(
            OrderIntercepted(
                f"order_unknown-{command.due_ms}",
                "order_unknown",
                f"{len(state.queue)} message(s) wait for an order that no channel has sent",
                "run a reconciliation of the channel, or discard the messages",
                "operations",
                command.due_ms,
            )
        )
    del now_ms
    return steps.events


def _return_goods(command: ReturnGoods, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if state.status not in ("shipped", "completed"):
        raise IllegalTransition(f"goods of an order that is {state.status} cannot come back")
    left = {line.id: line for line in state.lines if live_quantity(state, line) > 0}
    lines: list[tuple[str, int]] = []
    for sku, quantity, _ in command.lines:
        fits = [line for line in left.values() if line.sku == sku and line.quantity >= quantity]
        if not fits:
            raise UnknownLine(f"{quantity} × {sku} came back, but the receipt has no such line")
        lines.append((fits[0].id, quantity))
        del left[fits[0].id]
    amount = sum(refund for _, _, refund in command.lines)
    return (
        AfterSaleOpened(tuple(lines), command.reason, command.reference, command.command_id),
        OrderRefunded(tuple(line_id for line_id, _ in lines), amount, command.reference, command.command_id),
    )


def _confirm_reserved(command: ConfirmReserved, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    _guard(state, "allocating")
    return (
        OrderReserved(command.allocation, command.warehouse, command.lines),
        PickListIssued(f"pick-{command.allocation}", command.allocation, command.warehouse, command.lines),
    )


def _report_short(command: ReportShort, state: Order, now_ms: int) -> Sequence[Event]:
    short = ", ".join(f"{sku}: wants {wanted}, {available} available" for sku, wanted, available in command.short[:5])
    return (
        ReservationFailed(command.allocation, command.warehouse, command.short),
        OrderIntercepted(
            f"stock_short-{command.allocation.rpartition('/')[2]}",
            "stock_short" if state.status == "paid" else "shipped_without_stock",
            f"warehouse {command.warehouse}: {short}",
            "receive or move stock and release the order, offer the customer a substitute, or cancel the lines",
            "operations",
            now_ms,
        ),
    )


def _quarantine(command: Quarantine, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if state.quarantined is not None:
        return _queue(QueueBehind(command.item, command.payload, command.message), state, 0)
    return (
        OrderQuarantined(command.item, command.reason, command.where, command.advice, command.payload, command.message),
    )


def _queue(command: QueueBehind, state: Order, now_ms: int) -> Sequence[Event]:
    if len(state.queue) >= QUEUE_MAX:
        raise QueueFull(f"{QUEUE_MAX} messages wait already; resend or discard what blocks them")
    behind = state.quarantined.item if state.quarantined else "order"
    events: list[Event] = [QueuedBehind(command.item, behind, command.payload, command.message)]
    if behind == "order" and not state.queue:
        events.append(TimerSet(ORDER_TIMER, now_ms + WAIT_FOR_ORDER_MS))
    return events


def _resend(command: ResendQuarantined, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if state.quarantined is None or state.quarantined.item != command.item:
        raise NoSuchQuarantine(f"no quarantined message {command.item!r}")
    return (QueueReleased(command.item, "resend", command=command.command_id),)


def _discard(command: DiscardQuarantined, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if command.item == "order" and state.status == "" and state.queue:
        return (
            QueueReleased("order", "discard", command.reason, command.command_id),
            *_clear_timers(state),
            *_resolve_all(state, "discarded"),
        )
    if state.quarantined is None or state.quarantined.item != command.item:
        raise NoSuchQuarantine(f"no quarantined message {command.item!r}")
    return (QueueReleased(command.item, "discard", command.reason, command.command_id),)


DECIDE: Mapping[type[Command], Callable[[Any, Order, int], Sequence[Event]]] = {
    TakeSnapshot: _take_snapshot,
    ScanOut: _scan_out,
    Ship: _scan_out,
    CancelLines: _cancel_lines,
    ResolveInterception: _resolve,
    TimerDue: _timer_due,
    ReturnGoods: _return_goods,
    ConfirmReserved: _confirm_reserved,
    ReportShort: _report_short,
    Quarantine: _quarantine,
    QueueBehind: _queue,
    ResendQuarantined: _resend,
    DiscardQuarantined: _discard,
}

NEEDS_ORDER: frozenset[type[Command]] = frozenset({ScanOut, Ship, CancelLines, ReturnGoods})
"""Commands that wait, with a timer, while the order they name is unknown."""


def decide(command: Command, state: Order, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows from a command; `now_ms` is the message's observed time.

    A command whose `command_id` was handled before changes nothing, for ever.
    """
    command_id = getattr(command, "command_id", "")
    if command_id and command_id in state.commands:
        return ()
    if type(command) in NEEDS_ORDER:
        _known(state)
    return DECIDE[type(command)](command, state, now_ms)


order = Decider(Order(), decide, evolve)
