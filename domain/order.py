"""The order: what a channel says of it, what we do for it, and what must not be done.

Three axes. *Fulfilment* is `status`, moved only along `TRANSITIONS`. *After-sale* is kept per line and never overwrites
the first. *Hold* (platform holds, open interceptions) blocks allocation and shipping. A channel message is a snapshot
of the order as the channel sees it; what is new in it becomes events, so messages may come late, doubled, in any order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from domain import (
    after_sale,
    after_sale_acts,
    after_sale_case,
    approvals,
    payments,
    people,
    picking,
    service_work,
    tracking,
)
from domain.acts import Act
from domain.after_sale import AfterSaleClosed, AfterSaleOpened, OrderRefunded
from domain.after_sale_case import AfterSales, Case
from domain.canonical import Amounts, Line, Parcel, Snapshot, Status
from domain.decider import Command, Decider, DomainError, Event, RefusedBefore, Worked
from domain.delivery import (
    ConfirmDelivery,
    Delivered,
    DeliveryConfirmed,
    added,
    differences,
    is_repeat,
    of_pick_list,
    summed,
)
from domain.erasure import (
    AwaitForget,
    DropMessage,
    Forget,
    OrderForgettingAwaited,
    OrderForgettingWithdrawn,
    OrderForgotten,
    OrderIsForgotten,
    StopAwaiting,
)
from domain.ids import order_key
from domain.payments import NO_PAYMENTS, Payments
from domain.people import NO_PEOPLE, People
from domain.picking import ItemScanned, ItemUnscanned, PickError, ScanItem, UnscanItem
from domain.rulings import UNRULED, Form, Gift, Kit, Promise, Route, Ruling, Saving
from domain.stock import QUANTITY_MAX, taken_of
from domain.time_units import DAY_MS, HOUR_MS
from domain.tracking import NO_TRACKING, Tracking

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
    "completed": frozenset({"cancelled"}),
    "cancelled": frozenset(),
}
"""Fulfilment axis. A paid order ships without being allocated when the channel says so; an allocation given back makes
an order merely paid again. After shipping there is no cancelling, only after-sale; the one exception is a counter sale
whose receipt is voided."""

PAID: frozenset[str] = frozenset({"paid", "allocating", "shipped", "completed"})
"""Statuses of an order that is paid (or to be paid on delivery) and not cancelled."""

Quantities = tuple[tuple[str, int], ...]
"""(line id or SKU, quantity) pairs; which of the two is said where it is used."""

Effects = tuple[tuple[str, str, tuple[bool, int, bool]], ...]
"""(effect, key, (succeeded, tries, final)) of acts outside: how each stands by its last report."""


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
    mapping: int = 0
    """Version of the field mapping that it was read by; 0 = what ships with the channel."""
    mapped: tuple[str, ...] = ()
    """Ids of the lines whose SKU the table of SKUs gave, because the channel names none."""
    flaws: tuple[str, ...] = ()
    """What is wrong with the receiver's address (see `domain.rulings.Facts`)."""
    ruling: Ruling = UNRULED
    """What the rule book in force says of it."""


class Lot(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Which production lot shipped goods are of, and their carbon figure (as goods into the EU must tell)."""

    sku: str
    lot: str
    units: int
    carbon: str = ""
    """Decimal number as its source gives it, of all the units."""
    unit: str = ""
    """Of the carbon figure, for example `kgCO2e`."""
    method: str = ""
    """How it was worked out, for example `ISO 14067`."""
    source: str = ""
    """Whose figure it is."""


class ScanOut(Command, frozen=True):
    """The warehouse scanned the goods of a pick list out; with a tracking number they are on their way as well."""

    command_id: str
    tracking: str = ""
    carrier: str = ""
    allocation: str = ""
    """Which of several: its id, its pick list's, or its warehouse's code; may be "" where there is but one."""
    lots: tuple[Lot, ...] = ()
    verify: bool = False
    """In-turn: whether its warehouse lets only verified goods leave; a message cannot say so."""


class Ship(Command, frozen=True):
    """The parcel went to the carrier."""

    command_id: str
    tracking: str
    carrier: str
    allocation: str = ""
    """As in `ScanOut`."""
    lots: tuple[Lot, ...] = ()
    verify: bool = False
    """As in `ScanOut`."""


class ConfirmProcessing(Command, frozen=True):
    """A processing area has done its work on an allocation (engraved, cut to length …)."""

    command_id: str
    allocation: str = ""
    """As in `ScanOut`."""


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
    decision: Literal["release", "cancel", "waive"]
    """`release`: go on (an allocation is tried again); `cancel`: cancel the order; `waive`: go on without gifts."""
    note: str = ""


class TimerDue(Command, frozen=True):
    """The time of a timer has come. Ignored where the timer is not open."""

    timer: str
    due_ms: int


class RecordEffect(Command, frozen=True):
    """What became of something we did outside because of this order (told a channel, wrote to another system)."""

    command_id: str
    effect: str
    """What was done, for example `ship_notice`."""
    key: str
    """Idempotency key of that act: with `effect` it is the act's identity, however often it was tried."""
    outcome: Literal["succeeded", "failed"]
    reference: str = ""
    """The outside's own number for it, where it gives one."""
    reason: str = ""
    """Why it failed, as far as it is not personal."""
    tries: int = 1
    """How often it has been tried so far; grows with each report of the same act."""
    final: bool = True
    """Whether nobody will try again by himself."""
    then: Literal["", "intercept", "give_up"] = ""
    """What a final failure leads to, as the rule book has it; "" = as `PAUSING` says."""


PAUSING = frozenset({"ship_notice", "wms_create", "wms_cancel"})
"""Acts outside without which the order cannot go its way: where one fails for good, somebody must look."""


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


class ConfirmPreReserved(Command, frozen=True):
    """In-turn: the ledger holds gifts for the unpaid order, or goods for the presale."""

    allocation: str
    warehouse: str
    lines: Quantities
    due_ms: int = 0
    """When what has been promised is expected, UTC ms; 0 = it is here."""


class ConfirmArrived(Command, frozen=True):
    """In-turn: what was promised to a presale is here, and the ledger holds it."""

    allocation: str


class TakePlan(Command, frozen=True):
    """In-turn: several allocations serve the order; each is reserved in its turn, and any refusal gives all back."""

    allocations: "tuple[Allocation, ...]"


class ReportShort(Command, frozen=True):
    """In-turn: the ledger could not reserve; `short` is (SKU, wanted, available)."""

    allocation: str
    warehouse: str
    short: tuple[tuple[str, int, int], ...]


class ReportDuplicate(Command, frozen=True):
    """In-turn: the same buyer has ordered the same goods shortly before."""

    of: str
    """Key of the earlier order."""
    apart_ms: int


class MapSkus(Command, frozen=True):
    """In-turn: items that the order waited for are in the table of SKUs now."""

    skus: tuple[tuple[str, str], ...]
    """(item, SKU)."""


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
    mapping: int = 0
    """Version of the field mapping that was in force; 0 = what ships with the channel."""


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
    mapping: int = 0
    """Version of the field mapping that it was read by; 0 = what ships with the channel."""
    mapped: tuple[str, ...] = ()
    """Ids of the lines whose SKU the table of SKUs gave, because the channel names none."""


class OrderAmended(Event, frozen=True):
    """The channel's view changed. `changed` names what differs in substance."""

    snapshot: Snapshot
    digest: str
    address: str
    changed: tuple[str, ...]
    payload: str
    mapping: int = 0
    """Version of the field mapping that it was read by; 0 = what ships with the channel."""
    mapped: tuple[str, ...] = ()
    """Ids of the lines whose SKU the table of SKUs gave, because the channel names none."""


class OrderSkusMapped(Event, frozen=True):
    """Lines got the SKUs that the channel does not name. `lines` are (line id, SKU)."""

    lines: tuple[tuple[str, str], ...]


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
    """Paid in full, or to be paid on delivery: either way the goods may go."""

    amount: int
    """Minor units; 0 where the customer pays on delivery."""
    currency: str
    paid_ms: int


class DepositPaid(Event, frozen=True):
    """A presale's deposit was paid; the balance is owed."""

    amount: int
    currency: str


class WhenPaid(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What follows a payment that is told by somebody who knows nothing else of the order."""

    rules: int
    """Version of the rule book that said so."""
    promise: Promise | None = None
    forms: tuple[Form, ...] = ()
    flaws: tuple[str, ...] = ()


class OrderRouted(Event, frozen=True):
    """The rule book says how the order is to be fulfilled: from where, ahead of whom, in which parts."""

    rules: int
    """Version of the rule book; each route names its rule."""
    routes: tuple[Route, ...] = ()
    kits: tuple[Kit, ...] = ()
    tags: tuple[str, ...] = ()
    priority: str = ""
    keep: Quantities = ()
    """(SKU, units) that must stay available in the warehouse: stock that is kept from campaigns."""
    lots: bool = False
    """Whether shipped goods must name their lot and carbon figure."""
    buyer: str = ""
    """Who owes what is not paid yet, where he is a buyer with a credit limit."""
    suspect_within_ms: int = 0
    """Another order of the same goods by the same buyer within this time is suspected to be the same one."""
    when_paid: WhenPaid | None = None
    """What is to follow its payment, while it waits for that."""


class GiftsGranted(Event, frozen=True):
    """Promotions give goods (and take money off); what an earlier such event granted no longer counts."""

    rules: int
    gifts: tuple[Gift, ...]
    savings: tuple[Saving, ...] = ()


class GiftPreReserved(Event, frozen=True):
    """A warehouse holds gifts of the order, which is not paid yet. `lines` are (SKU, quantity)."""

    allocation: str
    warehouse: str
    lines: Quantities


class PresaleLocked(Event, frozen=True):
    """Goods of a presale are locked: on the shelf, or of what is to arrive. `lines` are (SKU, quantity)."""

    allocation: str
    warehouse: str
    lines: Quantities
    due_ms: int = 0
    """When the last of them is expected, UTC ms; 0 = all are here."""


class PresaleArrived(Event, frozen=True):
    """What had been promised to a presale is on the shelf now, and held for it."""

    allocation: str


class GiftsWaived(Event, frozen=True):
    """Somebody decided that the order goes without its gifts."""

    gifts: tuple[Gift, ...]
    command: str


class OrderPromised(Event, frozen=True):
    """What the customer was promised, from the payment on. Sets the timer `promise`; shipping ends it."""

    rule: str
    rules: int
    ship_by_ms: int
    deliver_by_ms: int = 0
    """0 = nothing was promised of it."""


class OrderAllocated(Event, frozen=True):
    """Several allocations are to serve the order; none is held yet."""

    allocations: "tuple[Allocation, ...]"


class OrderReserved(Event, frozen=True):
    """A warehouse holds everything of an allocation. `lines` are (SKU, quantity)."""

    allocation: str
    warehouse: str
    lines: Quantities


class ReservationFailed(Event, frozen=True):
    """A warehouse could not reserve. `short` is (SKU, wanted, available)."""

    allocation: str
    warehouse: str
    short: tuple[tuple[str, int, int], ...]


class OrderReleased(Event, frozen=True):
    """What an allocation held is given back, its pick list is void: the order was changed, or not paid in time."""

    allocation: str
    warehouse: str
    lines: Quantities
    """(SKU, quantity)."""
    reason: str


class PickListIssued(Event, frozen=True):
    """The warehouse was asked to pick. `lines` are (SKU, quantity)."""

    pick_list: str
    allocation: str
    warehouse: str
    lines: Quantities
    area: str = ""
    """Part of the warehouse that works on them by themselves."""
    priority: str = ""
    """`urgent` goes first, `express` before that and without waiting for a batch."""


class OrderProcessed(Event, frozen=True):
    """A processing area has done its work on an allocation: it may leave."""

    allocation: str
    command: str


class OrderPicked(Event, frozen=True):
    """Scanned out at the warehouse, not handed to a carrier yet."""

    allocation: str
    command: str


class LotsRecorded(Event, frozen=True):
    """Which lots goods that leave are of, with their carbon figures."""

    allocation: str
    lots: tuple[Lot, ...]


class PartiallyShipped(Event, frozen=True):
    """Some lines are on their way. `lines` are ids of lines of which nothing is left to be sent."""

    lines: tuple[str, ...]
    parcels: tuple[Parcel, ...]
    shipped_ms: int = 0
    allocation: str = ""
    """The one that we sent; "" where the channel said so."""
    units: Quantities = ()
    """(line id, units) in it, of lines that go in several parcels."""
    command: str = ""


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
    rule: str = ""
    """Rule that saw it; "" where the program itself did."""
    rules: int = 0
    """Version of the rule book."""


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
    mapping: int = 0
    """Version of the field mapping that was in force; 0 = what ships with the channel."""


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


class ServiceOpened(Event, frozen=True):
    """A service was bought with the order (installation …): a work order for it, once it is paid."""

    reference: str
    """Number of the work order: the order's key and a running number."""
    identity: str
    """What tells this service from others of the same order, whatever becomes of its details."""
    service: str
    """Its name, for people."""
    lines: tuple[str, ...]
    """Ids of the lines it is for."""
    details: Any = None
    """The attribute `service_package` as the order holds it."""


class EffectSucceeded(Event, frozen=True):
    """The outside took what we told it because of this order."""

    effect: str
    key: str
    reference: str = ""
    """The outside's own number for it, where it gives one."""
    tries: int = 1


class EffectFailed(Event, frozen=True):
    """The outside did not take what we told it; while it is not final, it is tried again."""

    effect: str
    key: str
    reason: str
    reference: str = ""
    tries: int = 1
    final: bool = True


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


class WhichAllocation(DomainError):
    """The order goes out in several parcels, and the message does not say which of them."""


class NotProcessed(DomainError):
    """A processing area has not confirmed its work on these goods."""


class LotsMissing(DomainError):
    """Goods into the EU leave only with their lot and carbon figure."""


class NoParcel(DomainError):
    """A parcel that nobody could follow: its number or its carrier is missing."""


class OrderOnHold(DomainError):
    """A hold or an open interception blocks shipping."""


class UnknownLine(DomainError):
    """The order has no such line, or not so many units of it."""


class NoSuchInterception(DomainError):
    """There is no open interception of that id."""


class NothingToWaive(DomainError):
    """Only an order that is stopped for want of its gifts can go without them."""


class NoSuchQuarantine(DomainError):
    """There is no quarantined message of that id."""


class IllegalTransition(DomainError):
    """The transition table has no such step."""


class QueueFull(DomainError):
    """Too many messages wait behind one."""


class StillUnmapped(DomainError):
    """A line has no SKU yet, so there is nothing that a warehouse could pick."""


class UnnamedEffect(DomainError):
    """Without the effect's name and key nobody can tell what succeeded or failed."""


class MissingCommandId(DomainError):
    """Without an id of its author's a repeat could not be told from a new act."""


class WrongActor(DomainError):
    """An order knows no such command."""


# --- state


class Allocation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a warehouse was asked to hold for the order."""

    id: str
    warehouse: str
    lines: Quantities
    """(SKU, quantity): exactly what the ledger still holds for it."""
    picked: bool = False
    listed: bool = False
    """Whether the pick list is out; it waits while a hold blocks shipping."""
    units: Quantities = ()
    """(line id, units) that it is for, where there are several allocations; empty = all that is left."""
    area: str = ""
    """Part of the warehouse that works on it by itself."""
    held: bool = True
    """Whether the ledger holds it; a planned one is asked for in its turn."""
    due_ms: int = 0
    """Of a presale: when the goods that were promised to it are expected, UTC ms; 0 = they are here."""
    unprocessed: bool = False
    """Whether a processing area has still to confirm its work."""
    scanned: Quantities = ()
    """(SKU, units) that were scanned into the parcel."""


class Ruled(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What was ruled of the order, as far as later decisions need it."""

    routes: tuple[Route, ...] = ()
    kits: tuple[Kit, ...] = ()
    tags: tuple[str, ...] = ()
    priority: str = ""
    keep: Quantities = ()
    lots: bool = False
    buyer: str = ""
    when_paid: WhenPaid | None = None
    gifts: tuple[Gift, ...] = ()
    waived: bool = False
    """Whether somebody decided that it goes without gifts."""
    pre_holds: tuple[Allocation, ...] = ()
    """What is pre-reserved: gifts of an order that is not paid, goods of a presale."""
    pre_attempts: int = 0
    found: tuple[str, ...] = ()
    """Rules that intercepted the order once: a person's release of it stands."""
    promised: bool = False


NOT_RULED = Ruled()


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
    mapping: int = 0
    """Version of the field mapping that it was read by."""
    modified_ms: int = 0
    revision: int = 0
    rank: int = -1
    """`STATUS_RANK` of that snapshot."""
    address: str = ""
    lines: tuple[Line, ...] = ()
    """As in that snapshot; a SKU that the table of SKUs gave is in it."""
    mapped: frozenset[str] = frozenset()
    """Ids of the lines whose SKU the table of SKUs gave."""
    services: tuple[str, ...] = ()
    """Identities of the services that a work order was opened for."""
    service_stages: service_work.Stages = ()
    """How these stand."""
    amounts: Amounts = Amounts("CNY")
    holds: tuple[str, ...] = ()
    interceptions: tuple[tuple[str, str], ...] = ()
    """(id, reason) of the open ones."""
    allocations: tuple[Allocation, ...] = ()
    attempts: int = 0
    ruled: Ruled = NOT_RULED
    sent: Quantities = ()
    """(line id, units) that have left of lines of which something is still to be sent."""
    cancelled: tuple[tuple[str, int], ...] = ()
    """(line id, units) cancelled by our own acts."""
    shipped: frozenset[str] = frozenset()
    """Ids of the lines on their way."""
    after_sales: tuple[tuple[str, str], ...] = ()
    """(line id, "open" | "refunded"); a closed one leaves nothing behind."""
    returned: tuple[tuple[str, int], ...] = ()
    """(line id, units) that came back, to a counter or a warehouse."""
    cases: tuple[Case, ...] = ()
    """After-sales, each as far as it has got."""
    deposit: int = 0
    overdue_ms: int = 0
    """The payment deadline that has passed and was dealt with, UTC ms."""
    timers: tuple[tuple[str, int], ...] = ()
    """(id, due UTC ms) of the open ones."""
    commands: tuple[str, ...] = ()
    """Ids of the commands that were handled (or refused)."""
    refused: tuple[tuple[str, str], ...] = ()
    """(command id, reason) of those that were refused."""
    quarantined: Waiting | None = None
    queue: tuple[Waiting, ...] = ()
    effects: Effects = ()
    """How each act outside stands by its last report."""
    people: People = NO_PEOPLE
    """Approvals, talk, complaints and enquiries."""
    deliveries: tuple[Delivered, ...] = ()
    """What warehouses of others have confirmed, one for each pick list."""
    tracking: Tracking = NO_TRACKING
    payments: Payments = NO_PAYMENTS
    forgotten: str = ""
    """The request by which its person was forgotten; "" = he was not."""
    awaited: tuple[str, ...] = ()
    """Requests to forget him that wait until it is finished."""


_replace = msgspec.structs.replace


def _normalized(state: Order, event: OrderNormalized) -> Order:
    snapshot = event.snapshot
    return Order(
        status="awaiting_payment",
        kind=snapshot.kind,
        digest=event.digest,
        mapping=event.mapping,
        modified_ms=snapshot.modified_at.utc_ms,
        revision=snapshot.revision,
        rank=STATUS_RANK[snapshot.status],
        address=event.address,
        lines=snapshot.lines,
        mapped=frozenset(event.mapped),
        amounts=snapshot.amounts,
        holds=snapshot.holds,
        interceptions=state.interceptions,
        timers=state.timers,
        commands=state.commands,
        refused=state.refused,
        quarantined=state.quarantined,
        queue=state.queue,
        effects=state.effects,
        people=state.people,
        payments=state.payments,
        forgotten=state.forgotten,
        awaited=state.awaited,
    )


def _amended(state: Order, event: OrderAmended) -> Order:
    snapshot = event.snapshot
    shipped = state.shipped
    if snapshot.kind == "counter" and state.status in ("shipped", "completed"):
        # Goods that are added to a sale over the counter went over it with the others: nothing else will say so.
        shipped |= {line.id for line in snapshot.lines if line.state == "shipped"}
    return _replace(
        state,
        digest=event.digest,
        mapping=event.mapping,
        modified_ms=snapshot.modified_at.utc_ms,
        revision=snapshot.revision,
        rank=STATUS_RANK[snapshot.status],
        address=event.address,
        lines=snapshot.lines,
        mapped=frozenset(event.mapped),
        amounts=snapshot.amounts,
        holds=snapshot.holds,
        shipped=shipped,
        tracking=tracking.corrected(state.tracking, snapshot.parcels) if state.shipped else state.tracking,
        cancelled=_followed(state, snapshot.lines) if state.cancelled else (),
    )


def _followed(state: Order, lines: Sequence[Line]) -> tuple[tuple[str, int], ...]:
    """Return what of our own cancellations the channel's newer lines do not show yet.

    A channel that lowers a line has followed them; taking them off once more would ship too little.
    """
    before = {line.id: line.quantity for line in state.lines}
    now = {line.id: line.quantity for line in lines if line.state != "cancelled"}
    return tuple(
        (line_id, left)
        for line_id, units in state.cancelled
        if line_id in now and (left := units - max(before.get(line_id, 0) - now[line_id], 0)) > 0
    )


def _skus_mapped(state: Order, event: OrderSkusMapped) -> Order:
    skus = dict(event.lines)
    lines = tuple(_replace(line, sku=skus[line.id]) if line.id in skus else line for line in state.lines)
    return _replace(state, lines=lines, mapped=state.mapped | skus.keys())


def _routed(state: Order, event: OrderRouted) -> Order:
    ruled = _replace(
        state.ruled,
        routes=event.routes,
        kits=event.kits,
        tags=event.tags,
        priority=event.priority,
        keep=event.keep,
        lots=event.lots,
        buyer=event.buyer,
        when_paid=event.when_paid,
    )
    return _replace(state, ruled=ruled)


def _pre_reserved(state: Order, event: GiftPreReserved | PresaleLocked) -> Order:
    due_ms = event.due_ms if isinstance(event, PresaleLocked) else 0
    hold = Allocation(event.allocation, event.warehouse, event.lines, due_ms=due_ms)
    holds = (*state.ruled.pre_holds, hold)
    return _replace(state, ruled=_replace(state.ruled, pre_holds=holds, pre_attempts=state.ruled.pre_attempts + 1))


def _presale_arrived(state: Order, event: PresaleArrived) -> Order:
    holds = tuple(_replace(each, due_ms=0) if each.id == event.allocation else each for each in state.ruled.pre_holds)
    return _replace(state, ruled=_replace(state.ruled, pre_holds=holds))


def _promised(state: Order, event: OrderPromised) -> Order:
    timers = (*state.timers, (PROMISE_TIMER, event.ship_by_ms))
    return _replace(state, timers=timers, ruled=_replace(state.ruled, promised=True))


def _allocated(state: Order, event: OrderAllocated) -> Order:
    return _replace(state, allocations=event.allocations, attempts=state.attempts + 1)


def _reserved(state: Order, event: OrderReserved) -> Order:
    planned = tuple(_replace(each, held=True) if each.id == event.allocation else each for each in state.allocations)
    ruled = state.ruled
    if ruled.pre_holds:
        others = any(not each.held for each in planned)
        ruled = _replace(ruled, pre_holds=_not_taken(ruled.pre_holds, event) if others else ())
    return _replace(
        state,
        status="allocating",
        allocations=planned or (Allocation(event.allocation, event.warehouse, event.lines),),
        attempts=state.attempts if planned else state.attempts + 1,
        ruled=ruled,
    )


def _not_taken(holds: tuple[Allocation, ...], reserved: OrderReserved) -> tuple[Allocation, ...]:
    """Return what is still pre-reserved when the ledger has put a part of a plan in the place of the rest."""
    left = dict(reserved.lines)
    kept = []
    for hold in holds:
        taken = dict(taken_of(hold.lines, left)) if hold.warehouse == reserved.warehouse else {}
        lines = tuple((sku, units - taken.get(sku, 0)) for sku, units in hold.lines if units > taken.get(sku, 0))
        if lines:
            kept.append(_replace(hold, lines=lines))
    return tuple(kept)


def _reservation_failed(state: Order, event: ReservationFailed) -> Order:
    if any(each.id == event.allocation for each in state.allocations):
        # One of several was refused: the others are given back.
        return _replace(state, status="allocating" if state.shipped or state.sent else "paid", allocations=())
    return _replace(state, attempts=state.attempts + 1)


def _gifts_short(state: Order) -> Order:
    return _replace(state, ruled=_replace(state.ruled, pre_attempts=state.ruled.pre_attempts + 1))


def _released(state: Order, event: OrderReleased) -> Order:
    ruled = state.ruled
    if any(hold.id == event.allocation for hold in ruled.pre_holds):
        holds = tuple(hold for hold in ruled.pre_holds if hold.id != event.allocation)
        return _replace(state, ruled=_replace(ruled, pre_holds=holds))
    left = tuple(each for each in state.allocations if each.id != event.allocation)
    return _replace(state, status="allocating" if left or state.shipped or state.sent else "paid", allocations=left)


def _of_allocation(state: Order, allocation: str, change: Callable[[Allocation], Allocation]) -> Order:
    allocations = tuple(change(each) if each.id == allocation else each for each in state.allocations)
    return _replace(state, allocations=allocations)


def _kept(allocations: Sequence[Allocation], wanted: Mapping[str, int]) -> tuple[Allocation, ...]:
    """Return what the allocations still hold if only so many units of each SKU are wanted; the last ones give first."""
    left = dict(wanted)
    kept = []
    for each in allocations:
        lines = []
        for sku, units in each.lines:
            keep = min(units, left.get(sku, 0))
            if keep > 0:
                left[sku] -= keep
                lines.append((sku, keep))
        if lines:
            kept.append(_replace(each, lines=tuple(lines)))
    return tuple(kept)


def _left_by_line(state: Order) -> dict[str, int]:
    """Return line id, or a gift's, → units that must still leave."""
    left = {line.id: units for line, units in live_lines(state)}
    if left:
        left.update((gift_line(gift), gift.units) for gift in state.ruled.gifts)
    for line_id, sent in state.sent:
        left[line_id] = left.get(line_id, 0) - sent
    for line_id in state.shipped:
        left.pop(line_id, None)
    return {line_id: units for line_id, units in left.items() if units > 0}


def _fits(state: Order) -> bool:
    """Whether the allocations are for just what must still leave; where they are told by line, line by line."""
    planned: dict[str, int] = {}
    for each in state.allocations:
        for line_id, units in each.units:
            planned[line_id] = planned.get(line_id, 0) + units
    if planned and planned != _left_by_line(state):
        return False
    return dict(needs(state)) == held_of(state.allocations)


def _kept_by_line(state: Order) -> tuple[Allocation, ...]:
    """Return what the allocations still hold of what is wanted, line by line; of a shared line the last ones give."""
    parts: dict[str, Quantities] = {line.id: ((line.sku, 1),) for line in state.lines}
    parts.update((gift_line(gift), ((gift.sku, 1),)) for gift in state.ruled.gifts)
    parts.update((kit.line, kit.parts) for kit in state.ruled.kits)
    left = _left_by_line(state)
    kept = []
    for each in state.allocations:
        lines = dict(each.lines)
        units = []
        for line_id, held in each.units:
            keep = max(min(held, left.get(line_id, 0)), 0)
            left[line_id] = left.get(line_id, 0) - keep
            if keep:
                units.append((line_id, keep))
            for sku, of_one in parts.get(line_id, ()):
                lines[sku] = lines.get(sku, 0) - (held - keep) * of_one
        still = tuple((sku, quantity) for sku, quantity in lines.items() if quantity > 0)
        if still:
            kept.append(_replace(each, lines=still, units=tuple(units)))
    return tuple(kept)


def _partially_shipped(state: Order, event: PartiallyShipped) -> Order:
    gone = frozenset(event.lines)
    state = _replace(state, tracking=tracking.sent(state.tracking, event.parcels, own=bool(event.command)))
    if event.allocation:
        left = tuple(each for each in state.allocations if each.id != event.allocation)
        units = dict(state.sent)
        for line_id, sent in event.units:
            units[line_id] = units.get(line_id, 0) + sent
        sent_so_far = tuple((line_id, sent) for line_id, sent in units.items() if line_id not in gone)
        return _replace(
            state,
            status="allocating",
            shipped=state.shipped | gone,
            sent=sent_so_far,
            allocations=left,
            commands=_with_command(state, event.command),
        )
    left = state.allocations
    if any(each.units for each in left):
        left = _kept_by_line(_replace(state, shipped=state.shipped | gone))
    elif left:
        leaves = _units(state, gone - state.shipped)
        left = _kept(left, {sku: held - leaves.get(sku, 0) for sku, held in held_of(left).items()})
    return _replace(state, status="allocating", shipped=state.shipped | gone, allocations=left)


def _shipped(state: Order, event: OrderShipped) -> Order:
    timers = state.timers
    if timers:
        timers = tuple([pair for pair in timers if pair[0] != PROMISE_TIMER])
    gone = frozenset([line.id for line, _ in live_lines(state)])
    ruled = state.ruled
    if ruled.gifts or ruled.pre_holds:
        gone |= {gift_line(gift) for gift in ruled.gifts}
        ruled = _replace(ruled, pre_holds=())
    return _replace(
        state,
        status="shipped",
        shipped=gone,
        sent=(),
        allocations=(),
        timers=timers,
        ruled=ruled,
        tracking=tracking.sent(state.tracking, event.parcels, own=bool(event.command)),
        commands=_with_command(state, event.command),
    )


def _cancelled(state: Order, event: OrderCancelled) -> Order:
    ruled = _replace(state.ruled, pre_holds=()) if state.ruled.pre_holds else state.ruled
    return _replace(
        state, status="cancelled", allocations=(), ruled=ruled, commands=_with_command(state, event.command)
    )


def _lines_cancelled(state: Order, event: LinesCancelled) -> Order:
    units = dict(state.cancelled)
    for line_id, quantity in event.lines:
        units[line_id] = units.get(line_id, 0) + quantity
    after = _replace(state, cancelled=tuple(sorted(units.items())), commands=_with_command(state, event.command))
    if not state.allocations:
        return after
    if any(each.units for each in state.allocations):
        return _replace(after, allocations=_kept_by_line(after))
    return _replace(after, allocations=_kept(state.allocations, dict(needs(after))))


def after_sales_of(state: Order) -> AfterSales:
    """Return the after-sale axis of an order."""
    return AfterSales(state.cases, state.returned)


def _after_sale_moved(state: Order, event: Event) -> Order:
    after = after_sale_case.evolve(after_sales_of(state), event)
    commands = _with_command(state, getattr(event, "command", ""))
    paid = payments.given_back(state.payments, event.amount) if isinstance(event, OrderRefunded) else state.payments
    return _replace(
        state,
        cases=after.cases,
        after_sales=after.stages,
        returned=after.returned,
        payments=paid,
        commands=commands,
    )


def _service_moved(state: Order, event: Any) -> Order:
    stages = service_work.evolve(state.service_stages, event)
    return _replace(state, service_stages=stages, commands=_with_command(state, event.command))


def _with_command(state: Order, command: str) -> tuple[str, ...]:
    return (*state.commands, command) if command and command not in state.commands else state.commands


def _intercepted(state: Order, event: OrderIntercepted) -> Order:
    ruled = state.ruled
    if event.rule and event.rule not in ruled.found:
        ruled = _replace(ruled, found=(*ruled.found, event.rule))
    return _replace(state, interceptions=(*state.interceptions, (event.interception, event.reason)), ruled=ruled)


def _without_interception(state: Order, event: InterceptionResolved) -> Order:
    return _replace(
        state,
        interceptions=tuple(pair for pair in state.interceptions if pair[0] != event.interception),
        payments=payments.resolved(state.payments, event.interception, event.decision, event.command),
        commands=_with_command(state, event.command),
    )


def _timer_cleared(state: Order, event: TimerCleared) -> Order:
    overdue_ms = state.overdue_ms
    if event.fired and event.timer == PAYMENT_TIMER:
        overdue_ms = dict(state.timers).get(PAYMENT_TIMER, overdue_ms)
    timers = tuple(pair for pair in state.timers if pair[0] != event.timer)
    track = state.tracking
    if event.fired and event.timer == COMPLETE_TIMER:
        track = tracking.overdue(track)
    return _replace(state, timers=timers, overdue_ms=overdue_ms, tracking=track)


def _refused(state: Order, event: OrderRefused | PickError) -> Order:
    if not event.command:
        return state
    refused = (*state.refused, (event.command, event.reason))
    return _replace(state, commands=_with_command(state, event.command), refused=refused)


def _queue_released(state: Order, event: QueueReleased) -> Order:
    return _replace(state, quarantined=None, queue=(), commands=_with_command(state, event.command))


def _scanned(state: Order, event: ItemScanned | ItemUnscanned) -> Order:
    units = event.units if isinstance(event, ItemScanned) else -event.units
    if after_sale_case.case_of_allocation(event.allocation):
        cases = after_sale_case.scanned(state.cases, event.allocation, event.sku, units)
        return _replace(state, cases=cases, commands=_with_command(state, event.command))
    return _replace(
        _of_allocation(
            state, event.allocation, lambda each: _replace(each, scanned=picking.taken(each.scanned, event.sku, units))
        ),
        commands=_with_command(state, event.command),
    )


def _effect_known(state: Order, event: EffectSucceeded | EffectFailed) -> Order:
    return _replace(state, effects=effects_after(state.effects, event))


def effects_after(effects: Effects, event: EffectSucceeded | EffectFailed) -> Effects:
    """Return how acts outside stand after a report that was recorded."""
    stands = (isinstance(event, EffectSucceeded), event.tries, isinstance(event, EffectSucceeded) or event.final)
    others = tuple(each for each in effects if each[:2] != (event.effect, event.key))
    return (*others, (event.effect, event.key, stands))


def _of_people(state: Order, event: Event) -> Order:
    commands = _with_command(state, getattr(event, "command", ""))
    return _replace(state, people=people.evolve(state.people, event), commands=commands)


def _delivery_confirmed(state: Order, event: DeliveryConfirmed) -> Order:
    deliveries = added(state.deliveries, event)
    return _replace(state, deliveries=deliveries, commands=_with_command(state, event.command))


def _of_tracking(state: Order, event: Event) -> Order:
    commands = _with_command(state, getattr(event, "command", ""))
    return _replace(state, tracking=tracking.evolve(state.tracking, event), commands=commands)


def _of_payments(state: Order, event: Event) -> Order:
    commands = _with_command(state, getattr(event, "command", ""))
    return _replace(state, payments=payments.evolve(state.payments, event), commands=commands)


def _forgotten(state: Order, event: OrderForgotten) -> Order:
    """Let go of the digests that the personal half is in: the next view is told apart by its public half alone."""
    return _replace(state, forgotten=event.request, digest="", address="", awaited=())


EVOLVE: Mapping[type[Event], Callable[[Order, Any], Order]] = {
    OrderReceived: lambda state, _: state,
    OrderNormalized: _normalized,
    OrderAmended: _amended,
    OrderSkusMapped: _skus_mapped,
    ServiceOpened: lambda state, event: _replace(state, services=(*state.services, event.identity)),
    OrderRepeated: lambda state, _: state,
    OrderOutdated: lambda state, _: state,
    OrderPaid: lambda state, _: _replace(state, status="paid"),
    DepositPaid: lambda state, event: _replace(state, deposit=event.amount),
    OrderRouted: _routed,
    GiftsGranted: lambda state, event: _replace(state, ruled=_replace(state.ruled, gifts=event.gifts)),
    GiftPreReserved: _pre_reserved,
    PresaleLocked: _pre_reserved,
    PresaleArrived: _presale_arrived,
    GiftsWaived: lambda state, event: _replace(
        state,
        ruled=_replace(state.ruled, gifts=(), waived=True),
        commands=_with_command(state, event.command),
    ),
    OrderPromised: _promised,
    OrderAllocated: _allocated,
    OrderReserved: _reserved,
    ReservationFailed: lambda state, event: (
        _gifts_short(state) if is_pre_hold(event.allocation) else _reservation_failed(state, event)
    ),
    OrderReleased: _released,
    PickListIssued: lambda state, event: _of_allocation(
        state, event.allocation, lambda each: _replace(each, listed=True)
    ),
    OrderProcessed: lambda state, event: _replace(
        _of_allocation(state, event.allocation, lambda each: _replace(each, unprocessed=False)),
        commands=_with_command(state, event.command),
    ),
    ItemScanned: _scanned,
    ItemUnscanned: _scanned,
    PickError: _refused,
    OrderPicked: lambda state, event: _replace(
        _of_allocation(state, event.allocation, lambda each: _replace(each, picked=True)),
        commands=_with_command(state, event.command),
    ),
    LotsRecorded: lambda state, _: state,
    PartiallyShipped: _partially_shipped,
    OrderShipped: _shipped,
    OrderCompleted: lambda state, _: _replace(state, status="completed"),
    OrderCancelled: _cancelled,
    LinesCancelled: _lines_cancelled,
    OrderIntercepted: _intercepted,
    InterceptionResolved: _without_interception,
    OrderRefused: _refused,
    OrderQuarantined: lambda state, event: _replace(
        state, quarantined=Waiting(event.item, event.payload, event.message)
    ),
    QueuedBehind: lambda state, event: _replace(
        state, queue=(*state.queue, Waiting(event.item, event.payload, event.message))
    ),
    QueueReleased: _queue_released,
    EffectSucceeded: _effect_known,
    EffectFailed: _effect_known,
    DeliveryConfirmed: _delivery_confirmed,
    OrderForgotten: _forgotten,
    OrderForgettingAwaited: lambda state, event: _replace(state, awaited=(*state.awaited, event.request)),
    OrderForgettingWithdrawn: lambda state, event: _replace(
        state, awaited=tuple(each for each in state.awaited if each != event.request)
    ),
    TimerSet: lambda state, event: _replace(state, timers=(*state.timers, (event.timer, event.due_ms))),
    TimerCleared: _timer_cleared,
    **dict.fromkeys(people.EVENTS, _of_people),
    **dict.fromkeys(tracking.EVENTS, _of_tracking),
    **dict.fromkeys(payments.EVENTS, _of_payments),
    **dict.fromkeys(after_sale_case.EVENTS, _after_sale_moved),
    **dict.fromkeys(service_work.EVENTS, _service_moved),
}


def timers_of(event: Event) -> tuple[tuple[str, int | None], ...]:
    """Return (timer, due UTC ms, or None where it is cleared) of what an event does to timers of its stream."""
    match event:
        case TimerSet():
            return ((event.timer, event.due_ms),)
        case TimerCleared():
            return ((event.timer, None),)
        case OrderPromised():
            return ((PROMISE_TIMER, event.ship_by_ms),)
        case OrderShipped():
            return ((PROMISE_TIMER, None),)
        case _:
            return ()


def evolve(state: Order, event: Event) -> Order:
    """Return the order after the event."""
    return EVOLVE[type(event)](state, event)


# --- questions to the state


def live_lines(state: Order) -> list[tuple[Line, int]]:
    """Return the lines that are still wanted, each with its units: what neither the channel nor we cancelled."""
    if not state.cancelled:
        return [(line, line.quantity) for line in state.lines if line.state != "cancelled"]
    cut = dict(state.cancelled)
    return [
        (line, units)
        for line in state.lines
        if line.state != "cancelled" and (units := line.quantity - cut.get(line.id, 0)) > 0
    ]


PRE_HOLD = "/pre-"
"""What tells pre-reservations from allocations, in their ids."""


def is_pre_hold(allocation: str) -> bool:
    """Whether it is the id of a pre-reservation."""
    return PRE_HOLD in allocation


def gift_line(gift: Gift) -> str:
    """Return the id that a gift goes by where lines do."""
    return f"gift:{gift.rule}:{gift.sku}"


def goods(state: Order) -> list[tuple[str, str, int]]:
    """Return (line id, SKU, units) of what must still leave: kits by their parts, gifts as lines of their own."""
    shipped = state.shipped
    sent = dict(state.sent)
    parts = {kit.line: kit.parts for kit in state.ruled.kits}
    found = []
    lines = live_lines(state)
    for line, units in lines:
        if line.id in shipped:
            continue
        left = units - sent.get(line.id, 0)
        for sku, each in parts.get(line.id, ((line.sku, 1),)):
            if left > 0:
                found.append((line.id, sku, left * each))
    if lines:
        gifts = ((gift_line(gift), gift.sku, gift.units) for gift in state.ruled.gifts)
        found += [each for each in gifts if each[0] not in shipped]
    return found


def _units(state: Order, lines: frozenset[str]) -> dict[str, int]:
    """SKU → units of these lines."""
    total: dict[str, int] = {}
    for line_id, sku, units in goods(state):
        if line_id in lines:
            total[sku] = total.get(sku, 0) + units
    return total


def needs(state: Order) -> Quantities:
    """(SKU, units) that must still leave a warehouse, summed by SKU."""
    total: dict[str, int] = {}
    shipped = state.shipped
    ruled = state.ruled
    if ruled.kits or ruled.gifts or state.sent:
        for _, sku, units in goods(state):
            total[sku] = total.get(sku, 0) + units
        return tuple(total.items())
    for line, units in live_lines(state):
        if line.id not in shipped:
            total[line.sku] = total.get(line.sku, 0) + units
    return tuple(total.items())


def held_of(allocations: Sequence[Allocation]) -> dict[str, int]:
    """SKU → units that these allocations are for."""
    if len(allocations) == 1:
        return dict(allocations[0].lines)
    total: dict[str, int] = {}
    for each in allocations:
        for sku, units in each.lines:
            total[sku] = total.get(sku, 0) + units
    return total


def unmapped(state: Order) -> tuple[tuple[str, str], ...]:
    """(item, name) of the goods of a paid order whose SKU nobody knows, also of such as have left."""
    if state.status not in PAID or state.kind == "counter":
        return ()
    return tuple(
        {line.item: (line.item, line.name) for line, _ in live_lines(state) if line.item and not line.sku}.values()
    )


def on_hold(state: Order) -> bool:
    """Whether something blocks shipping: a hold, an interception, a refund asked for, an approval that is not given."""
    return bool(
        state.holds
        or state.interceptions
        or (state.cases and _refund_asked(state))
        or (state.people.approvals.asked and approvals.blocking(state.people.approvals))
    )


def why_held(state: Order) -> str:
    """Return for people what blocks shipping."""
    asked = (f"approval {each.asked.approval} is {each.verdict}" for each in approvals.blocking(state.people.approvals))
    return ", ".join((*state.holds, *(reason for _, reason in state.interceptions), *asked)) or "a refund is asked for"


def _refund_asked(state: Order) -> bool:
    asked = [case for case in state.cases if case.open and not case.approved]
    return any(
        case.open_for(line.id) for line, _ in live_lines(state) if line.id not in state.shipped for case in asked
    )


def flaw_of(snapshot: Snapshot) -> str:
    """Return why no order can be kept by this snapshot, or "": its lines cannot be told apart or counted."""
    lines = snapshot.lines
    if len(lines) > 1 and len({line.id for line in lines}) != len(lines):
        return "two lines have the same id"
    total = 0
    for line in lines:
        if line.quantity <= 0:
            return f"line {line.id[:40]} is of {line.quantity} units"
        total += line.quantity
    if total > QUANTITY_MAX:
        return f"{total} units are more than any order has"
    return ""


def shown_status(state: Order) -> str:
    """What people see: an open after-sale shows 售后中 and loses nothing underneath."""
    if any(stage == "open" for _, stage in state.after_sales):
        return "after_sale"
    return state.status


# --- decisions


PAYMENT_TIMER = "payment"
ORDER_TIMER = "order"
PROMISE_TIMER = "promise"
PRESALE_TIMER = "presale"
APPROVAL_TIMER = "approval"
"""Open while an approval is to be escalated, for the first of them."""
COMPLETE_TIMER = "complete"
"""Open from the delivery on, until the order completes by rule."""


def _guard(state: Order, to: str) -> None:
    if to not in TRANSITIONS[state.status]:
        raise IllegalTransition(f"from {state.status or 'nothing'} there is no way to {to}")


def _resolve_all(state: Order, decision: str) -> list[Event]:
    return [InterceptionResolved(interception, decision) for interception, _ in state.interceptions]


def _resolve_reason(state: Order, reason: str, decision: str) -> list[Event]:
    if not state.interceptions:
        return []
    return [InterceptionResolved(name, decision) for name, known in state.interceptions if known == reason]


def _clear_timers(state: Order) -> list[Event]:
    return [TimerCleared(timer, fired=False) for timer, _ in state.timers]


class _Steps(Worked):
    """Collects the events of one decision and the state after each."""

    __slots__ = ()

    def add(self, *events: Event) -> None:
        state = self.state
        for event in events:
            state = EVOLVE[type(event)](state, event)
            self.append(event)
        self.state = state


def _take_snapshot(command: TakeSnapshot, state: Order, now_ms: int) -> Sequence[Event]:
    snapshot = command.snapshot
    steps = _Steps(state)
    if state.status == "":
        steps.add(
            OrderReceived(snapshot.channel, snapshot.shop, snapshot.order_no, command.payload),
            OrderNormalized(snapshot, command.digest, command.address, command.mapping, command.mapped),
            *(TimerCleared(timer, fired=False) for timer, _ in state.timers),
        )
        for interception, _ in state.interceptions:
            steps.add(InterceptionResolved(interception, "order_known"))
    else:
        if command.digest == state.digest:
            return (OrderRepeated(command.digest),)
        if not _is_newer(command, state):
            modified_ms = snapshot.modified_at.utc_ms
            return (OrderOutdated(modified_ms, state.modified_ms, command.digest, command.payload),)
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
        amended = (snapshot, command.digest, command.address, changed, command.payload)
        steps.add(OrderAmended(*amended, command.mapping, command.mapped))
        _look_back(steps, state, snapshot, now_ms)
    if command.mapping == state.mapping or not _is_reread(snapshot, state):
        _advance(steps, snapshot)
        _follow_lines(steps, state.lines, snapshot)
    if steps.state.status in PAID:
        _open_services(steps, snapshot)
    unpaid = steps.state.status == "awaiting_payment"
    if command.ruling is not UNRULED or state.ruled is not NOT_RULED or (unpaid and command.flaws):
        _obey(steps, command.ruling, command.flaws, state, now_ms)
    _look_for_changes(steps, state, now_ms)
    _look_for_flaws(steps, command.flaws, now_ms)
    _look_for_risks(steps, now_ms)
    _ask_approvals(steps, command.ruling, now_ms)
    _issue_pick_lists(steps)
    if state.status == "" and state.queue:
        steps.add(QueueReleased("order", "order_known"))
    return steps


def _is_newer(command: TakeSnapshot, state: Order) -> bool:
    """Whether a view is newer than the one we have; of the same moment (channels count in seconds), further along.

    A total order, so that views end alike in whatever order they come. What a later mapping reads from the same bytes
    goes before what an earlier one did.
    """
    snapshot = command.snapshot
    said = (snapshot.modified_at.utc_ms, snapshot.revision, STATUS_RANK[snapshot.status])
    known = (state.modified_ms, state.revision, state.rank)
    if said != known:
        return said > known
    read = (*_done(snapshot.lines), command.mapping, command.digest)
    return read > (*_done(state.lines), state.mapping, state.digest)


def _is_reread(snapshot: Snapshot, state: Order) -> bool:
    """Whether a view, read by another mapping, says of the order what was known: nothing is to be followed again."""
    known = (state.modified_ms, state.revision, state.rank)
    return (snapshot.modified_at.utc_ms, snapshot.revision, STATUS_RANK[snapshot.status]) == known and [
        (line.id, line.quantity, line.state, line.after_sale) for line in snapshot.lines
    ] == [(line.id, line.quantity, line.state, line.after_sale) for line in state.lines]


def _done(lines: Sequence[Line]) -> tuple[int, int, int]:
    """Count what cannot be undone: lines that have left, lines that were refunded, lines whose SKU is known."""
    return (
        sum(line.state == "shipped" for line in lines),
        sum(line.after_sale == "refunded" for line in lines),
        sum(line.sku != "" for line in lines),
    )


def _advance(steps: _Steps, snapshot: Snapshot) -> None:
    """Move the fulfilment axis as far as the channel's view says, step by step along the table."""
    target = snapshot.status
    if target == "awaiting_payment":
        if steps.state.status == "awaiting_payment":
            _wait_for_payment(steps, snapshot)
        return
    gone = _said_to_be_gone(snapshot) if target in ("allocating", "cancelled") else ()
    if target == "cancelled" and not gone:
        _cancel(steps, snapshot.cancel_reason or snapshot.native_status, snapshot.modified_at.utc_ms)
        return
    if steps.state.status == "awaiting_payment":
        paid_at = snapshot.paid_at or snapshot.modified_at
        amount = snapshot.amounts.paid
        if not amount and snapshot.paid_at is not None:
            amount = snapshot.amounts.payable
        _pay(steps, OrderPaid(amount, snapshot.amounts.currency, paid_at.utc_ms))
    shipped_at = (snapshot.shipped_at or snapshot.modified_at).utc_ms
    if target in ("allocating", "cancelled"):
        newly = tuple(line_id for line_id in gone if line_id not in steps.state.shipped)
        if newly and steps.state.status in ("paid", "allocating"):
            steps.add(PartiallyShipped(newly, snapshot.parcels, shipped_at))
        if target == "cancelled":
            _cancel(steps, snapshot.cancel_reason or snapshot.native_status, shipped_at)
        return
    if target in ("shipped", "completed") and steps.state.status in ("paid", "allocating"):
        allocations = steps.state.allocations
        steps.add(
            OrderShipped(snapshot.parcels, shipped_at, allocations[0].id if len(allocations) == 1 else ""),
            *_resolve_all(steps.state, "shipped_by_channel"),
        )
    if target == "completed" and steps.state.status == "shipped":
        steps.add(OrderCompleted((snapshot.completed_at or snapshot.modified_at).utc_ms))


def _pay(steps: _Steps, paid: OrderPaid) -> None:
    """Note that an order is paid, and that nobody waits for it any more."""
    steps.add(paid)
    steps.add(*(TimerCleared(name, fired=False) for name, _ in steps.state.timers if name == PAYMENT_TIMER))
    steps.add(*_resolve_reason(steps.state, "payment_timeout", "paid"))


def _said_to_be_gone(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the lines that have left, as the channel says: by line, or of the whole order by a shipping time."""
    gone = tuple(line.id for line in snapshot.lines if line.state == "shipped")
    if not gone and snapshot.shipped_at is not None and snapshot.status == "cancelled":
        return tuple(line.id for line in snapshot.lines if line.state == "open")
    return gone


def _look_back(steps: _Steps, before: Order, snapshot: Snapshot, now_ms: int) -> None:
    """Have people look where the channel's status does not follow from what it, or we, said before."""
    rank = STATUS_RANK[snapshot.status]
    if rank == before.rank or before.kind == "counter":
        return
    if rank > before.rank:
        steps.add(*_resolve_reason(steps.state, "moved_backwards", "moved_on"))
    if before.status == "cancelled":
        if snapshot.status == "cancelled":
            steps.add(*_resolve_reason(steps.state, "alive_after_cancelling", "cancelled"))
        elif snapshot.status != "awaiting_payment":
            _intercept(
                steps,
                "alive_after_cancelling",
                f"the order is cancelled here; the channel now says {snapshot.native_status}",
                "cancel and refund it on the channel, or have it ordered again; "
                "where goods have left, put the stock right",
                "service",
                now_ms,
            )
    elif rank < before.rank and rank < STATUS_RANK["shipped"] and rank < _rank_of(before):
        _intercept(
            steps,
            "moved_backwards",
            f"the order is {before.status} here; the channel went back to {snapshot.native_status}",
            "ask the channel what happened (payment taken back? shipping called off?); release to go on as before",
            "operations",
            now_ms,
        )


def _rank_of(state: Order) -> int:
    return STATUS_RANK[state.status] if state.status else -1


def _intercept(steps: _Steps, reason: str, evidence: str, advice: str, role: str, risk_ms: int) -> None:
    """Stop the order for a reason, unless it is stopped for it already."""
    if all(known != reason for _, known in steps.state.interceptions):
        name = f"{reason}-{steps.state.digest[:12]}"
        steps.add(OrderIntercepted(name, reason, evidence, advice, role, risk_ms))


def _wait_for_payment(steps: _Steps, snapshot: Snapshot) -> None:
    paid = snapshot.amounts.paid
    if paid and paid != steps.state.deposit:
        steps.add(DepositPaid(paid, snapshot.amounts.currency))
    open_due = dict(steps.state.timers).get(PAYMENT_TIMER)
    if paid and not snapshot.pay_by:
        if open_due is not None:
            steps.add(TimerCleared(PAYMENT_TIMER, fired=False))
        return
    due = snapshot.pay_by.utc_ms if snapshot.pay_by else snapshot.ordered_at.utc_ms + PAYMENT_TERM_MS
    if due == open_due or (open_due is None and due == steps.state.overdue_ms):
        return
    if open_due is not None:
        steps.add(TimerCleared(PAYMENT_TIMER, fired=False))
    steps.add(*_resolve_reason(steps.state, "payment_timeout", "deadline_moved"))
    steps.add(TimerSet(PAYMENT_TIMER, due))


def _cancel(steps: _Steps, reason: str, at_ms: int, command: str = "") -> None:
    """Cancel what has not left; for what has left, open an after-sale."""
    state = steps.state
    voided = state.status == "completed" and state.kind == "counter" and not command
    if voided or (state.status in ("awaiting_payment", "paid", "allocating") and not state.shipped):
        _guard(state, "cancelled")
        steps.add(OrderCancelled(reason, command), *_clear_timers(state), *_resolve_all(state, "cancelled"))
        return
    if state.status == "allocating":
        rest = tuple((line.id, units) for line, units in live_lines(state) if line.id not in state.shipped)
        if rest:
            steps.add(LinesCancelled(rest, reason, command))
        _ship_what_left(steps, at_ms, command)
    if steps.state.status not in ("shipped", "completed"):
        return
    stages = dict(steps.state.after_sales)
    lines = tuple(
        (line.id, units)
        for line, units in live_lines(steps.state)
        if line.id not in stages and (command or not line.after_sale)
    )
    if lines:
        skus = after_sale_acts.skus_of(stand_of(steps.state), lines)
        steps.add(AfterSaleOpened(lines, f"cancelled after shipping: {reason}", command=command, skus=skus))


def _ship_what_left(steps: _Steps, at_ms: int, command: str) -> None:
    """Note that nothing more will follow what is on its way."""
    _guard(steps.state, "shipped")
    steps.add(OrderShipped((), at_ms, "", command), *_resolve_all(steps.state, "nothing_left"))


def _follow_lines(steps: _Steps, before: Sequence[Line], snapshot: Snapshot) -> None:
    """Follow the after-sale axis, line by line."""
    known = dict(steps.state.after_sales)
    if not known and not [line for line in snapshot.lines if line.after_sale]:
        return
    says = {line.id: line.after_sale for line in snapshot.lines}
    # A channel that cancels what has left may stop showing the after-sale: it stays open here until it is settled.
    over = steps.state.status == "cancelled"
    withdrawn = {
        line.id
        for line in before
        if line.after_sale == "open" and not says.get(line.id) and (snapshot.status != "cancelled" or over)
    }
    lines = snapshot.lines
    closed = tuple(
        line_id
        for line_id, stage in known.items()
        if says.get(line_id) == "closed" or (stage == "open" and line_id in withdrawn)
    )
    said = [(line.id, line.quantity, line.after_sale_id, line.sku) for line in lines if line.after_sale == "open"]
    open_before = frozenset(line.id for line in before if line.after_sale == "open")
    steps.add(*after_sale_acts.follow_open(after_sales_of(steps.state), said, open_before))
    paid_back = _said_to_be_paid_back(steps.state, before, lines)
    unasked = [
        (line.id, line.quantity, line.after_sale_id, line.sku)
        for line in lines
        if line.id in paid_back and after_sale_case.open_case(steps.state.cases, line.id) is None
    ]
    every = frozenset(says)
    steps.add(*after_sale_acts.follow_open(after_sales_of(steps.state), unasked, every, paid_back=True))
    steps.add(*after_sale_acts.follow_refunds(after_sales_of(steps.state), paid_back))
    if closed:
        steps.add(AfterSaleClosed(closed))


def _said_to_be_paid_back(state: Order, before: Sequence[Line], lines: Sequence[Line]) -> dict[str, int]:
    """Return (line id → money) of what the channel says was paid back, as far as it is news.

    Of a line that it said so of before, a person may have opened another case: that one is not settled by it. What a
    payment service told before is not counted again.
    """
    known = dict(state.after_sales)
    told = {line.id for line in before if line.after_sale == "refunded"}
    found: dict[str, int] = {}
    for line in lines:
        if line.after_sale == "refunded" != known.get(line.id):
            case = after_sale_case.open_case(state.cases, line.id)
            if line.id not in told or case is None or not case.kind:
                found[line.id] = 0 if line.id in told and case is not None else line.amount
    if state.payments.movements:
        in_all = sum(line.amount for line in lines if line.id in found or known.get(line.id) == "refunded")
        left = max(in_all - state.payments.refunded, 0)
        for line_id, amount in found.items():
            found[line_id] = min(amount, left)
            left -= found[line_id]
    return found


SERVICE = "service_package"
"""The custom attribute, of an order or a line, that opens a work order."""
_SERVICE_IDS = ("oid", "id", "service_id", "code", "sku", "title", "name")
_SERVICE_NAMES = ("title", "name", "service_name")


def _open_services(steps: _Steps, snapshot: Snapshot) -> None:
    """Open a work order for each service that has none yet."""
    found = _services(snapshot.attributes[SERVICE], "", snapshot) if SERVICE in snapshot.attributes else []
    for line in snapshot.lines:
        if SERVICE in line.attributes:
            found += _services(line.attributes[SERVICE], line.id, snapshot)
    for identity, service, lines, details in found:
        known = steps.state.services
        if identity not in known:
            key = order_key(snapshot.channel, snapshot.shop, snapshot.order_no)
            steps.add(ServiceOpened(f"{key}/service-{len(known) + 1}", identity, service, lines, details))


def _services(package: Any, line: str, snapshot: Snapshot) -> list[tuple[str, str, tuple[str, ...], Any]]:
    """Return (identity, name, lines, details) of what a `service_package` says was bought."""
    found = []
    for each in package if isinstance(package, list) else [package]:
        if each in (None, "", 0, "0", False, [], {}):
            continue
        fields = each if isinstance(each, dict) else {}
        said = next((str(fields[name]) for name in _SERVICE_IDS if fields.get(name)), "")
        said = said or (str(each) if not isinstance(each, (dict, list)) else _canonical(each).decode())
        name = next((str(fields[name]) for name in _SERVICE_NAMES if fields.get(name)), said)
        named = {str(value) for value in fields.values() if not isinstance(value, (dict, list))}
        every = tuple(one.id for one in snapshot.lines)
        lines = (line,) if line else tuple(one for one in every if one in named) or every
        found.append((f"{line}:{said}"[:_IDENTITY_MAX], name[:_IDENTITY_MAX], lines, each))
    return found


_IDENTITY_MAX = 200
_canonical = msgspec.json.Encoder(order="deterministic").encode


def _obey(steps: _Steps, ruling: Ruling, flaws: tuple[str, ...], before: Order, now_ms: int) -> None:
    """Record what the rule book says, as far as it is new, and stop what a rule sees as a risk."""
    state = steps.state
    if state.kind == "counter" or state.status not in ("awaiting_payment", "paid", "allocating"):
        return
    rules = ruling.rules
    ruled = state.ruled
    kits = ruling.kits if state.lines != before.lines or not ruled.kits else ruled.kits
    buyer = ruled.buyer or ruling.buyer
    when_paid = ruled.when_paid
    if state.status == "awaiting_payment":
        follows = ruling.promise is not None or ruling.forms or flaws
        when_paid = WhenPaid(rules, ruling.promise, ruling.forms, flaws) if follows else None
    routed = (ruling.routes, kits, ruling.tags, ruling.priority, ruling.keep, ruling.lots, buyer)
    known = (ruled.routes, ruled.kits, ruled.tags, ruled.priority, ruled.keep, ruled.lots, ruled.buyer)
    within_ms = 0 if before.status else ruling.suspect_within_ms
    if routed != known or within_ms or when_paid != ruled.when_paid:
        steps.add(OrderRouted(rules, *routed, within_ms, when_paid))
    if ruling.gifts != ruled.gifts and not ruled.waived and not any(each.picked for each in state.allocations):
        steps.add(GiftsGranted(rules, ruling.gifts, ruling.savings), *_release_holds(state, "gifts_changed"))
    _promise(steps, ruling.promise, rules, now_ms)
    seen = {found.rule for found in ruling.found}
    for name, _ in state.interceptions:
        rule = name.partition(RULE_MARK)[2]
        if rule and rule not in seen:
            steps.add(InterceptionResolved(name, "no_longer"))
    for found in ruling.found:
        if found.rule not in ruled.found:
            name = f"{found.reason}-{state.digest[:12]}{RULE_MARK}{found.rule}"
            told = (found.reason, found.evidence, found.advice, found.role)
            steps.add(OrderIntercepted(name, *told, now_ms, found.rule, rules))


def _promise(steps: _Steps, promise: Promise | None, rules: int, now_ms: int) -> None:
    """Record what is promised of a paid order, once."""
    state = steps.state
    if promise is not None and not state.ruled.promised and state.status in ("paid", "allocating"):
        paid_ms = now_ms
        for event in steps:
            if isinstance(event, OrderPaid):
                paid_ms = event.paid_ms
                break
        deliver_by_ms = paid_ms + promise.deliver_within_ms if promise.deliver_within_ms else 0
        steps.add(OrderPromised(promise.rule, rules, paid_ms + promise.ship_within_ms, deliver_by_ms))


RULE_MARK = "@"
"""Stands in an interception's id before the rule that saw the risk."""


def _release_holds(state: Order, reason: str) -> list[Event]:
    return [OrderReleased(hold.id, hold.warehouse, hold.lines, reason) for hold in state.ruled.pre_holds]


def _look_for_changes(steps: _Steps, before: Order, now_ms: int) -> None:
    """Give allocations back that no longer fit the order; once one is picked, have people look instead."""
    state = steps.state
    allocations = state.allocations
    if not allocations:
        _look_for_locks(steps)
        return
    changed = state.lines != before.lines or state.ruled is not before.ruled
    differs = changed and not _fits(state)
    if not any(each.picked for each in allocations):
        if differs:
            steps.add(
                *(OrderReleased(each.id, each.warehouse, each.lines, CHANGED) for each in allocations),
                *_resolve_reason(state, CHANGED, "released"),
            )
    elif differs or state.address != before.address:
        held = tuple(held_of(allocations).items())
        _intercept(
            steps,
            CHANGED,
            f"the channel now wants {_spelled(needs(state))}; picked are {_spelled(held)}"
            + ("; the address is another" if state.address != before.address else ""),
            "check the parcel against the order; release to ship what is picked, or cancel",
            "operations",
            now_ms,
        )


def _look_for_locks(steps: _Steps) -> None:
    """Give the goods of a presale back where more is locked than it wants; what it wants now is locked anew."""
    state = steps.state
    holds = state.ruled.pre_holds
    if holds and state.kind == "presale":
        wanted = dict(needs(state))
        if any(units > wanted.get(sku, 0) for sku, units in held_of(holds).items()):
            steps.add(*_release_holds(state, CHANGED))


CHANGED = "changed_after_allocation"
ADDRESS = "address_anomaly"


def _look_for_flaws(steps: _Steps, flaws: tuple[str, ...], now_ms: int) -> None:
    """Stop what no carrier could deliver; an address that was put right lifts it."""
    state = steps.state
    if not flaws:
        steps.add(*_resolve_reason(state, ADDRESS, "corrected"))
    elif state.kind != "counter" and state.status in ("paid", "allocating"):
        _intercept(
            steps,
            ADDRESS,
            f"of the receiver's address: {', '.join(flaws)}",
            "ask the customer and have the address corrected on the channel; release to ship to it as it is, or cancel",
            "service",
            now_ms,
        )


def _look_for_risks(steps: _Steps, now_ms: int) -> None:
    """Stop what cannot be fulfilled as it stands."""
    state = steps.state
    if state.kind == "counter" or state.status not in ("paid", "allocating"):
        return
    unmapped = [
        line.item or line.name for line, _ in live_lines(state) if not line.sku and line.id not in state.shipped
    ]
    if unmapped:
        _intercept(
            steps,
            "unmapped_sku",
            f"channel items without a SKU: {', '.join(unmapped)[:200]}",
            "enter the SKU of these items (orderspine skus set), or on the channel, or cancel these lines",
            "operations",
            now_ms,
        )
    elif state.interceptions:
        steps.add(*_resolve_reason(state, "unmapped_sku", "mapped"))


def _ask_approvals(steps: _Steps, ruling: Ruling, now_ms: int) -> None:
    """Ask for what the rule book wants approved of a paid order, and again for what was approved of another one."""
    state = steps.state
    known = state.people.approvals
    if (ruling.forms or known.asked) and _to_be_sent(state):
        forms = ruling.forms if state.status in PAID else ()
        subject = approvals.subject_of(state.lines, state.amounts)
        steps.add(*approvals.request_approvals(known, forms, ruling.rules, subject, now_ms))
    _follow_approvals(steps)


def _follow_approvals(steps: _Steps) -> None:
    """Withdraw approvals that nothing is left for, and keep the timer at the next one that is due."""
    state = steps.state
    known = state.people.approvals
    if not known.asked:
        return
    if not _to_be_sent(state):
        steps.add(*approvals.withdraw(known, "cancelled" if state.status == "cancelled" else "nothing_left"))
    due_ms = approvals.next_due(steps.state.people.approvals)
    set_ms = dict(state.timers).get(APPROVAL_TIMER)
    if set_ms != due_ms:
        if set_ms is not None:
            steps.add(TimerCleared(APPROVAL_TIMER, fired=False))
        if due_ms is not None:
            steps.add(TimerSet(APPROVAL_TIMER, due_ms))


def _to_be_sent(state: Order) -> bool:
    return state.status in ("awaiting_payment", "paid", "allocating")


def _act(command: Act, state: Order, now_ms: int) -> Sequence[Event]:
    """What people do on an order: also on one of which nothing but a quarantined message is known."""
    if state.forgotten and command.told:
        raise OrderIsForgotten("the person of this order was forgotten; nothing can be written about him again")
    if state.quarantined is None:
        _known(state)
    steps = _Steps(state)
    stand = people.Stand(_to_be_sent(state), approvals.subject_of(state.lines, state.amounts))
    steps.add(*people.decide(command, state.people, stand, now_ms))
    _follow_approvals(steps)
    _issue_pick_lists(steps)
    return steps


def _issue_pick_lists(steps: _Steps) -> None:
    """Ask warehouses to pick what is held, once all is and nothing blocks it."""
    state = steps.state
    if state.allocations and not on_hold(state) and all(each.held for each in state.allocations):
        steps.add(*(_pick_list(each, state) for each in state.allocations if not each.listed))


def _pick_list(allocation: Allocation, state: Order) -> PickListIssued:
    name = f"pick-{allocation.id}"
    return PickListIssued(
        name, allocation.id, allocation.warehouse, allocation.lines, allocation.area, state.ruled.priority
    )


def _spelled(lines: Quantities) -> str:
    return ", ".join(f"{quantity} × {sku or '?'}" for sku, quantity in lines)[:200] or "nothing"


def _known(state: Order) -> None:
    if state.status == "":
        raise OrderUnknown("no channel has sent this order yet")


def _scan_item(command: ScanItem | UnscanItem, state: Order, now_ms: int) -> Sequence[Event]:
    """Take a scan, unless picking must stop; what was scanned may be put back at any time."""
    del now_ms
    _known(state)
    if isinstance(command, ScanItem):
        if on_hold(state):
            raise OrderOnHold(f"stop: held ({why_held(state)}); resolve it first")
        if state.quarantined is not None:
            raise OrderOnHold(f"stop: message {state.quarantined.item} of the order is quarantined; resolve it first")
    allocation = allocation_of(state, command.allocation)
    if not allocation.listed:
        raise NothingToShip(f"no pick list of {allocation.id} is out, so there is nothing to scan")
    if isinstance(command, UnscanItem):
        return picking.unscan(command, allocation.id, allocation.lines, allocation.scanned)
    return picking.scan(command, allocation.id, allocation.lines, allocation.scanned)


def _scan_out(command: ScanOut | Ship, state: Order, now_ms: int) -> Sequence[Event]:
    sent_for = _sent_for(command, state) if state.cases else 0
    allocation = allocation_of(state, command.allocation) if sent_for else _to_leave(command, state)
    if bool(command.tracking.strip()) is not bool(command.carrier.strip()) or (
        isinstance(command, Ship) and not command.tracking.strip()
    ):
        raise NoParcel(f"a parcel has a number and a carrier; given are {command.tracking!r} and {command.carrier!r}")
    if sent_for:
        return _scan_replacement(command, sent_for, allocation, state, now_ms)
    if isinstance(command, ScanOut) and not command.tracking.strip():
        if allocation.picked:
            return ()
        return (OrderPicked(allocation.id, command.command_id),)
    if len(state.allocations) > 1:
        return _ship_one(command, allocation, state, now_ms)
    _guard(state, "shipped")
    left = tuple(line.id for line, _ in live_lines(state) if line.id not in state.shipped)
    parcel = Parcel(command.carrier, command.tracking, left)
    shipped = OrderShipped((parcel,), now_ms, allocation.id, command.command_id)
    return (LotsRecorded(allocation.id, command.lots), shipped) if command.lots else (shipped,)


def _to_leave(command: ScanOut | Ship, state: Order) -> Allocation:
    """Return the allocation whose goods leave, if they may."""
    if state.status not in ("paid", "allocating"):
        raise NothingToShip(f"the order is {state.status}; goods leave only while it is allocating")
    if on_hold(state):
        raise OrderOnHold(f"held ({why_held(state)}); resolve it first")
    if not state.allocations or state.status != "allocating":
        raise NothingToShip("no stock is allocated to the order, so there is no pick list to scan")
    allocation = allocation_of(state, command.allocation)
    if allocation.unprocessed:
        raise NotProcessed(f"area {allocation.area} has not confirmed its work on {_spelled(allocation.lines)}")
    if command.verify:
        picking.require_verified(allocation.lines, allocation.scanned)
    _check_lots(command, allocation.lines, state)
    return allocation


def _check_lots(command: ScanOut | Ship, lines: Quantities, state: Order) -> None:
    if not state.ruled.lots or not command.tracking.strip():
        return
    told: dict[str, int] = {}
    for lot in command.lots:
        if lot.lot and lot.carbon and lot.unit and lot.method and lot.source and lot.units > 0:
            told[lot.sku] = told.get(lot.sku, 0) + lot.units
    if told != dict(lines):
        raise LotsMissing(
            f"goods into the EU need lot, carbon figure, unit, method and source of {_spelled(lines)}; "
            f"told of {_spelled(tuple(told.items()))}"
        )


def replacements_of(state: Order) -> tuple[Allocation, ...]:
    """Return what warehouses hold for after-sales of the order, beside its own allocations."""
    return tuple(
        Allocation(each.allocation, each.warehouse, each.lines, each.picked, listed=True, scanned=each.scanned)
        for each in after_sale_case.replacements(state.cases)
    )


def allocation_of(state: Order, name: str) -> Allocation:
    """Return the allocation of this id, pick list or warehouse; the only one where `name` is "".

    What is sent for an after-sale goes by its id or pick list, or "" where the order itself has none.

    Raises:
        NothingToShip: there is none of that name.
        WhichAllocation: there are several.
    """
    if not name and len(state.allocations) == 1:
        return state.allocations[0]
    found = [each for each in state.allocations if not name or name in (each.id, f"pick-{each.id}", each.warehouse)]
    sending = replacements_of(state)
    if name or not state.allocations:
        found += [each for each in sending if not name or name in (each.id, f"pick-{each.id}")]
    if len(found) == 1:
        return found[0]
    there = (*state.allocations, *sending)
    left = ", ".join(f"{each.id} ({each.warehouse}{each.area and f', area {each.area}'})" for each in there)
    if not found:
        raise NothingToShip(f"no allocation {name!r} is to leave; there are {left or 'none'}")
    raise WhichAllocation(f"the order goes out in several parcels: name one of {left}")


def _ship_one(command: ScanOut | Ship, allocation: Allocation, state: Order, now_ms: int) -> Sequence[Event]:
    parcel = Parcel(command.carrier, command.tracking, tuple(dict(allocation.units)))
    gone = _one_gone((parcel,), allocation, state, now_ms, command.command_id)
    return (LotsRecorded(allocation.id, command.lots), gone) if command.lots else (gone,)


def _one_gone(
    parcels: tuple[Parcel, ...], allocation: Allocation, state: Order, now_ms: int, command: str
) -> PartiallyShipped:
    """Send one of several allocations: of lines whose units it holds to the last nothing is left."""
    units = dict(allocation.units)
    left: dict[str, int] = {}
    for line, wanted in live_lines(state):
        left[line.id] = wanted
    for gift in state.ruled.gifts:
        left[gift_line(gift)] = gift.units
    for line_id, sent in state.sent:
        left[line_id] = left.get(line_id, 0) - sent
    whole = tuple(line_id for line_id, sent in units.items() if sent >= left.get(line_id, 0))
    return PartiallyShipped(whole, parcels, now_ms, allocation.id, allocation.units, command)


def _confirm_processing(command: ConfirmProcessing, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    waiting = tuple(each for each in state.allocations if each.unprocessed)
    name = command.allocation
    if not name and len(waiting) == 1:
        name = waiting[0].id
    allocation = allocation_of(state, name)
    if not allocation.unprocessed:
        raise NothingToShip(f"{allocation.id} needs no processing, or it is confirmed already")
    return (OrderProcessed(allocation.id, command.command_id),)


def _confirm_delivery(command: ConfirmDelivery, state: Order, now_ms: int) -> Sequence[Event]:
    """Record what a warehouse sent, and follow it where it is what was asked for and nothing holds it back."""
    before = of_pick_list(state.deliveries, command.pick_list)
    if is_repeat(before, command):
        return ()
    steps = _Steps(state)
    steps.add(
        DeliveryConfirmed(
            command.pick_list,
            command.allocation,
            command.parcels,
            summed(command.packed),
            command.final,
            command.reference,
            command.command_id,
        )
    )
    sent = of_pick_list(steps.state.deliveries, command.pick_list)
    if any(each.id == command.allocation for each in replacements_of(state)):
        _replacement_confirmed(steps, sent, command, now_ms)
        return steps
    allocation = next((each for each in state.allocations if each.id == command.allocation), None)
    stop = _why_not_shipped(before, sent, allocation, state)
    if stop is not None:
        _intercept(steps, *stop, "operations", now_ms)
    elif sent.final and allocation is not None:
        parcels = _parcels(sent, allocation, state)
        if not parcels:
            if not allocation.picked:
                steps.add(OrderPicked(allocation.id, command.command_id))
        elif len(state.allocations) > 1:
            steps.add(_one_gone(parcels, allocation, state, now_ms, command.command_id))
        else:
            steps.add(OrderShipped(parcels, now_ms, allocation.id, command.command_id))
    return steps


def _replacement_confirmed(steps: _Steps, sent: Delivered, command: ConfirmDelivery, now_ms: int) -> None:
    """Follow what a warehouse sent for an after-sale, where it is what was asked for."""
    sending = allocation_of(steps.state, command.allocation)
    numbered = [parcel for parcel in sent.parcels if parcel.tracking]
    if not sent.final:
        return
    if differ := differences(sending.lines, sent.packed):
        evidence = ", ".join(f"{sku}: asked {asked}, packed {packed}" for sku, asked, packed in differ)[:400]
        advice = "ask the warehouse, and put the stock right; then release, and scan the parcel out by its number"
        _intercept(steps, "packed_differently", evidence, advice, "operations", now_ms)
    elif numbered:
        case = after_sale_case.case_of_allocation(sending.id)
        parcel = Parcel(numbered[0].carrier, numbered[0].tracking)
        told = (sending.id, sending.warehouse, parcel, now_ms, command.command_id)
        steps.add(after_sale.ReplacementShipped(case, *told))


def _why_not_shipped(
    before: Delivered, sent: Delivered, allocation: Allocation | None, state: Order
) -> tuple[str, str, str] | None:
    """Return (reason, evidence, advice) of what people must look at before a confirmed delivery is followed."""
    numbers = ", ".join(parcel.tracking for parcel in sent.parcels if parcel.tracking)[:200] or "no parcel number"
    left = f"{_spelled(sent.packed)} left ({numbers})"
    if before.final:
        evidence = f"{sent.pick_list} was confirmed before; with this, {left}"
        return "confirmed_twice", evidence, "ask the warehouse what has left, and put the stock right"
    if state.status in ("shipped", "completed"):
        return None
    if allocation is None:
        evidence = f"{sent.pick_list} is not asked for any more, and {left}"
        return "left_after_release", evidence, "have the parcel stopped or brought back, and put the stock right"
    if not sent.final:
        return None
    differ = differences(allocation.lines, sent.packed)
    if differ:
        evidence = ", ".join(f"{sku}: asked {asked}, packed {packed}" for sku, asked, packed in differ)[:400]
        advice = (
            "ask the warehouse; cancel what will not come, have wrong goods brought back and put the stock right; then "
            "release, and scan the parcel out by its number"
        )
        return "packed_differently", f"{evidence} ({numbers})", advice
    advice = "have the parcel stopped; or release, and scan it out by its number"
    if on_hold(state):
        return "left_while_held", f"while the order was held, {left}", advice
    if allocation.unprocessed:
        return "left_unprocessed", f"before area {allocation.area} had confirmed its work, {left}", advice
    if state.ruled.lots:
        return "left_without_lots", f"without lots and carbon figures, {left}", f"{advice} and its lots"
    return None


def _parcels(sent: Delivered, allocation: Allocation, state: Order) -> tuple[Parcel, ...]:
    """Return the parcels that can be followed, with the lines whose goods are in each."""
    mine = dict(allocation.units)
    goods_of = [(line_id, sku) for line_id, sku, _ in goods(state) if not mine or line_id in mine]
    return tuple(
        Parcel(
            parcel.carrier,
            parcel.tracking,
            tuple(dict.fromkeys(line_id for line_id, sku in goods_of if not parcel.lines or sku in dict(parcel.lines))),
        )
        for parcel in sent.parcels
        if parcel.tracking
    )


def _cancel_lines(command: CancelLines, state: Order, now_ms: int) -> Sequence[Event]:
    if state.status == "cancelled":
        raise IllegalTransition("the order is cancelled already")
    live = {line.id: units for line, units in live_lines(state)}
    wanted: dict[str, int] = {}
    for line_id, quantity in command.lines:
        wanted[line_id] = wanted.get(line_id, 0) + quantity
        if quantity <= 0 or wanted[line_id] > live.get(line_id, 0):
            raise UnknownLine(f"cannot cancel {quantity} units of line {line_id}: the order has {live.get(line_id, 0)}")
    steps = _Steps(state)
    if not command.lines:
        _cancel(steps, command.reason, now_ms, command.command_id)
        _follow_approvals(steps)
        return steps
    gone = frozenset(live) if state.status in ("shipped", "completed") else state.shipped
    back = tuple((line_id, quantity) for line_id, quantity in wanted.items() if line_id in gone)
    rest = tuple((line_id, quantity) for line_id, quantity in wanted.items() if line_id not in gone)
    for number, lines in after_sale_case.by_case(state.cases, back):
        skus = after_sale_acts.skus_of(stand_of(state), lines)
        steps.add(AfterSaleOpened(lines, command.reason, command=command.command_id, case=number, skus=skus))
    if rest:
        _cut(steps, rest, command.reason, now_ms, command.command_id)
    _follow_approvals(steps)
    return steps


def _cut(steps: _Steps, rest: Quantities, reason: str, now_ms: int, command: str) -> None:
    """Cancel units that have not left, and see what that means for the others."""
    steps.add(LinesCancelled(rest, reason, command))
    if not needs(steps.state):
        if steps.state.shipped:
            _ship_what_left(steps, now_ms, command)
        else:
            _cancel(steps, reason, now_ms, command)
    _look_for_locks(steps)
    _look_for_risks(steps, now_ms)
    _issue_pick_lists(steps)


def _resolve(command: ResolveInterception, state: Order, now_ms: int) -> Sequence[Event]:
    reason = dict(state.interceptions).get(command.interception)
    if reason is None:
        raise NoSuchInterception(f"no open interception {command.interception!r}")
    steps = _Steps(state)
    steps.add(InterceptionResolved(command.interception, command.decision, command.note, command.command_id))
    if command.decision == "cancel":
        _known(state)
        _cancel(steps, f"decided on {command.interception}", now_ms, command.command_id)
        _follow_approvals(steps)
        return steps
    if command.decision == "waive":
        if reason != GIFT_SHORT:
            raise NothingToWaive(f"{reason} is no lack of gifts; release the order, or cancel it")
        waived = GiftsWaived(state.ruled.gifts, command.command_id)
        steps.add(waived, *_release_holds(state, "gifts_waived"))
    if reason == "unmapped_sku" and any(not sku for sku, _ in needs(state)):
        raise StillUnmapped("a line has no SKU yet; enter its item (orderspine skus set), or cancel the line")
    if reason == "order_unknown" and ORDER_TIMER not in dict(state.timers):
        steps.add(TimerSet(ORDER_TIMER, now_ms + WAIT_FOR_ORDER_MS))
    _issue_pick_lists(steps)
    return steps


def _timer_due(command: TimerDue, state: Order, now_ms: int) -> Sequence[Event]:
    if (command.timer, command.due_ms) not in state.timers:
        return ()
    steps = _Steps(state)
    steps.add(TimerCleared(command.timer, fired=True))
    if command.timer == PROMISE_TIMER and state.status in ("paid", "allocating"):
        steps.add(
            OrderIntercepted(
                f"overdue_promise-{command.due_ms}",
                "overdue_promise",
                f"it was promised to leave before now (UTC ms {command.due_ms}), and has not",
                "tell the customer; release it and ship it first of all, or cancel it",
                "operations",
                command.due_ms,
            )
        )
    elif command.timer == PRESALE_TIMER and any(hold.due_ms for hold in state.ruled.pre_holds):
        steps.add(
            OrderIntercepted(
                f"{PRESALE_OVERDUE}-{command.due_ms}",
                PRESALE_OVERDUE,
                f"goods promised to the presale were expected by now (UTC ms {command.due_ms}), and have not arrived",
                "ask the supplier and tell the customer the new date; their arrival lifts this by itself; or cancel",
                "operations",
                command.due_ms,
            )
        )
    elif command.timer == PAYMENT_TIMER and state.status == "awaiting_payment":
        steps.add(*_release_holds(state, "payment_timeout"))
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
    elif command.timer == APPROVAL_TIMER:
        steps.add(*approvals.escalate(steps.state.people.approvals, max(now_ms, command.due_ms)))
        _follow_approvals(steps)
    return steps


def _return_goods(command: ReturnGoods, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if state.status not in ("shipped", "completed"):
        raise IllegalTransition(f"goods of an order that is {state.status} cannot come back")
    back = dict(state.returned)
    left = {line.id: units - back.get(line.id, 0) for line, units in live_lines(state)}
    taken: dict[str, int] = {}
    for sku, quantity, _ in command.lines:
        missing = quantity
        for line in state.lines:
            same = (line.sku or line.item) == sku or (line.item == sku and line.id in state.mapped)
            if same and missing > 0 and (units := min(left.get(line.id, 0), missing)) > 0:
                left[line.id] -= units
                missing -= units
                taken[line.id] = taken.get(line.id, 0) + units
        if missing or quantity <= 0:
            raise UnknownLine(f"{quantity} × {sku} came back, but so many were not bought or have come back already")
    if not taken:
        raise UnknownLine("a return without goods")
    amount = sum(refund for _, _, refund in command.lines)
    steps = _Steps(state)
    for number, lines in after_sale_case.by_case(state.cases, tuple(taken.items())):
        skus = after_sale_acts.skus_of(stand_of(state), lines)
        steps.add(AfterSaleOpened(lines, command.reason, command.reference, command.command_id, number, skus=skus))
    steps.add(OrderRefunded(tuple(taken), amount, command.reference, command.command_id))
    return steps


def stand_of(state: Order) -> after_sale_acts.Stand:
    """Return what an after-sale must know of the order. Whoever pays on delivery has paid what was to be paid."""
    parts = {kit.line: kit.parts for kit in state.ruled.kits}
    sent = dict(state.sent)
    all_gone = state.status in ("shipped", "completed")
    lines = {}
    for line, units in live_lines(state):
        gone = units if all_gone or line.id in state.shipped else sent.get(line.id, 0)
        its = parts.get(line.id, ((line.sku, 1),))
        lines[line.id] = after_sale_acts.Sold(units, gone, line.quantity, line.amount, its)
    for line in state.lines:
        if line.id not in lines:
            its = parts.get(line.id, ((line.sku, 1),))
            lines[line.id] = after_sale_acts.Sold(0, 0, line.quantity, line.amount, its)
    for gift in state.ruled.gifts:
        gone = gift.units if gift_line(gift) in state.shipped else sent.get(gift_line(gift), 0)
        lines[gift_line(gift)] = after_sale_acts.Sold(gift.units, gone, gift.units, 0, ((gift.sku, 1),))
    given = frozenset(each.asked.approval for each in state.people.approvals.asked if each.verdict == "approved")
    paid = state.amounts.paid or state.amounts.payable
    return after_sale_acts.Stand(state.status in PAID, lines, paid, state.payments.refunded, approvals=given)


def _act_on_after_sale(command: Command, state: Order, now_ms: int) -> Sequence[Event]:
    """What people do about after-sales; a refund that is approved before the goods left cancels them."""
    if isinstance(command, after_sale.SendReplacement):
        _check_stopped(state)
    steps = _Steps(state)
    steps.add(*after_sale_acts.decide(command, after_sales_of(state), stand_of(state)))
    if isinstance(command, after_sale.ApproveAfterSale) and steps and state.status in ("paid", "allocating"):
        case = state.cases[command.case - 1]
        still = {line_id: sold.units - sold.gone for line_id, sold in stand_of(state).lines.items()}
        lines = {line.id for line in state.lines}
        rest = tuple((line, min(units, still[line])) for line, units in case.lines if line in lines and still[line] > 0)
        if rest and case.kind in ("", "refund_only"):
            _cut(steps, rest, f"after-sale case {case.number}", now_ms, command.command_id)
    _follow_approvals(steps)
    _issue_pick_lists(steps)
    return steps


def _check_stopped(state: Order) -> None:
    if state.holds or state.interceptions:
        why = ", ".join((*state.holds, *(reason for _, reason in state.interceptions)))
        raise OrderOnHold(f"held ({why}); resolve it first")


def _sent_for(command: ScanOut | Ship, state: Order) -> int:
    """Return the number of the case whose replacement leaves; 0 where it is the order's own goods."""
    if not command.allocation and state.status in ("paid", "allocating"):
        return 0
    names = [each.id for each in replacements_of(state)]
    name = command.allocation.removeprefix("pick-") or (names[0] if names else "")
    return after_sale_case.case_of_allocation(name) if name in names else 0


def _scan_replacement(
    command: ScanOut | Ship, case: int, sending: Allocation, state: Order, now_ms: int
) -> Sequence[Event]:
    """The goods of a replacement leave: of what the order itself still needs nothing changes."""
    _check_stopped(state)
    if command.verify:
        picking.require_verified(sending.lines, sending.scanned)
    _check_lots(command, sending.lines, state)
    if not command.tracking.strip():
        if sending.picked:
            return ()
        return (after_sale.ReplacementPicked(case, sending.id, command.command_id),)
    parcel = Parcel(command.carrier, command.tracking)
    gone = after_sale.ReplacementShipped(case, sending.id, sending.warehouse, parcel, now_ms, command.command_id)
    return (LotsRecorded(sending.id, command.lots), gone) if command.lots else (gone,)


def _take_plan(command: TakePlan, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    return () if state.allocations else (OrderAllocated(command.allocations),)


def _confirm_reserved(command: ConfirmReserved, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if number := after_sale_case.case_of_allocation(command.allocation):
        held = after_sale.ReplacementReserved(number, command.allocation, command.warehouse, command.lines)
        return (held, _pick_list(Allocation(command.allocation, command.warehouse, command.lines), state))
    if state.status != "allocating":
        _guard(state, "allocating")
    reserved = OrderReserved(command.allocation, command.warehouse, command.lines)
    if state.allocations:
        steps = _Steps(state)
        steps.add(reserved)
        _issue_pick_lists(steps)
        return steps
    if on_hold(state):
        return (reserved,)
    return (reserved, _pick_list(Allocation(command.allocation, command.warehouse, command.lines), state))


def _confirm_pre_reserved(command: ConfirmPreReserved, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    hold = (command.allocation, command.warehouse, command.lines)
    if state.kind != "presale":
        return (GiftPreReserved(*hold),)
    locked = PresaleLocked(*hold, command.due_ms)
    if not command.due_ms or PRESALE_TIMER in dict(state.timers):
        return (locked,)
    return (locked, TimerSet(PRESALE_TIMER, command.due_ms))


def _confirm_arrived(command: ConfirmArrived, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    steps = _Steps(state)
    steps.add(PresaleArrived(command.allocation))
    if not any(hold.due_ms for hold in steps.state.ruled.pre_holds):
        steps.add(*(TimerCleared(PRESALE_TIMER, fired=False) for name, _ in state.timers if name == PRESALE_TIMER))
        steps.add(*_resolve_reason(steps.state, PRESALE_OVERDUE, "arrived"))
    return steps


PRESALE_OVERDUE = "presale_overdue"


GIFT_SHORT = "gift_short"


def _report_short(command: ReportShort, state: Order, now_ms: int) -> Sequence[Event]:
    if case := after_sale_case.case_of_allocation(command.allocation):
        return (after_sale.ReplacementShort(case, command.allocation, command.warehouse, command.short),)
    short = ", ".join(f"{sku}: wants {wanted}, {available} available" for sku, wanted, available in command.short[:5])
    number = command.allocation.rpartition("/")[2]
    goods_wanted = {line.sku for line, _ in live_lines(state)} | {
        sku for kit in state.ruled.kits for sku, _ in kit.parts
    }
    reason = "shipped_without_stock" if number.startswith("issued") else "stock_short"
    advice = "receive or move stock and release the order, offer the customer a substitute, or cancel the lines"
    if state.ruled.gifts and not any(sku in goods_wanted for sku, _, _ in command.short):
        reason = GIFT_SHORT
        advice = "receive or move gifts and release the order, waive the gifts with the customer's consent, or cancel"
    return (
        ReservationFailed(command.allocation, command.warehouse, command.short),
        OrderIntercepted(
            f"{'gift_short' if is_pre_hold(command.allocation) else 'stock_short'}-{number}",
            reason,
            f"warehouse {command.warehouse}: {short}",
            advice,
            "operations",
            now_ms,
        ),
    )


DUPLICATE = "suspected_duplicate"


def _report_duplicate(command: ReportDuplicate, state: Order, now_ms: int) -> Sequence[Event]:
    if state.status not in ("awaiting_payment", "paid", "allocating"):
        return ()
    steps = _Steps(state)
    evidence = f"the same buyer ordered the same goods {command.apart_ms // 1000} s apart: {command.of}"
    advice = "ask the customer whether both are meant; release this one, or cancel it"
    _intercept(steps, DUPLICATE, evidence, advice, "service", now_ms)
    return steps


def owed_of(state: Order) -> int:
    """Return what the buyer owes for an order that goes on account, in minor units."""
    if state.status not in PAID or state.kind == "counter":
        return 0
    return max(state.amounts.payable - state.amounts.paid, 0)


def _waits_already(command: Quarantine | QueueBehind, state: Order) -> bool:
    """Whether the same bytes (or the same body) wait: a sender that tries again must not fill the queue."""
    waiting = state.queue if state.quarantined is None else (state.quarantined, *state.queue)
    return any((each.payload, each.message) == (command.payload, command.message) for each in waiting)


def _quarantine(command: Quarantine, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if state.quarantined is not None:
        return _queue(QueueBehind(command.item, command.payload, command.message), state, 0)
    return (
        OrderQuarantined(
            command.item,
            command.reason,
            command.where,
            command.advice,
            command.payload,
            command.message,
            command.mapping,
        ),
    )


def _queue(command: QueueBehind, state: Order, now_ms: int) -> Sequence[Event]:
    if _waits_already(command, state):
        return ()
    if len(state.queue) >= QUEUE_MAX:
        raise QueueFull(f"{QUEUE_MAX} messages wait already; resend or discard what blocks them")
    behind = state.quarantined.item if state.quarantined else "order"
    events: list[Event] = [QueuedBehind(command.item, behind, command.payload, command.message)]
    if behind == "order" and not state.queue and ORDER_TIMER not in dict(state.timers):
        events.append(TimerSet(ORDER_TIMER, now_ms + WAIT_FOR_ORDER_MS))
    return events


def _resend(command: ResendQuarantined, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if state.quarantined is None or state.quarantined.item != command.item:
        raise NoSuchQuarantine(f"no quarantined message {command.item!r}")
    return (QueueReleased(command.item, "resend", command=command.command_id),)


def _discard(command: DiscardQuarantined, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    if command.item == "order" and state.status == "" and state.queue and state.quarantined is None:
        return (
            QueueReleased("order", "discard", command.reason, command.command_id),
            *_clear_timers(state),
            *_resolve_all(state, "discarded"),
        )
    if state.quarantined is None or state.quarantined.item != command.item:
        raise NoSuchQuarantine(f"no quarantined message {command.item!r}")
    return (QueueReleased(command.item, "discard", command.reason, command.command_id),)


def _map_skus(command: MapSkus, state: Order, now_ms: int) -> Sequence[Event]:
    """Give lines the SKUs of their items; what had stopped the order for want of them is over."""
    skus = dict(command.skus)
    lines = tuple((line.id, skus[line.item]) for line in state.lines if not line.sku and line.item in skus)
    if not lines:
        return ()
    steps = _Steps(state)
    steps.add(OrderSkusMapped(lines))
    _look_for_risks(steps, now_ms)
    _issue_pick_lists(steps)
    return steps


def _record_effect(command: RecordEffect, state: Order, now_ms: int) -> Sequence[Event]:
    """Record a report, in any state of the order; an act that is given up may stop the order until it succeeds."""
    found = reported(command, state.effects)
    if not found:
        return ()
    name = f"{EFFECT_FAILED}-{command.effect}-{command.key.rpartition('@')[2]}"
    if isinstance(found[0], EffectSucceeded):
        steps = _Steps(state)
        steps.add(found[0])
        if name in dict(state.interceptions):
            steps.add(InterceptionResolved(name, "succeeded"))
            _issue_pick_lists(steps)
        return steps
    pauses = command.then == "intercept" or (not command.then and command.effect in PAUSING)
    if not command.final or not pauses or state.status in ("", "completed", "cancelled"):
        return found
    if name in dict(state.interceptions):
        return found
    evidence = f"{command.effect} failed after {command.tries} tries: {command.reason}"[:EVIDENCE_MAX]
    advice = "repair the cause and have it tried again (orderspine effects retry); or do it by hand and release"
    return (*found, OrderIntercepted(name, EFFECT_FAILED, evidence, advice, "operations", now_ms))


def reported(command: RecordEffect, effects: Effects) -> Sequence[EffectSucceeded | EffectFailed]:
    """Return what a report says beyond the one before; what has succeeded stays so.

    Raises:
        UnnamedEffect: it does not say of what act it is.
    """
    effect, key, tries = command.effect, command.key, command.tries
    if not effect or not key:
        raise UnnamedEffect("an effect's outcome needs the effect's name and its key")
    done, known, ended = next((stands for *name, stands in effects if name == [effect, key]), (False, -1, False))
    if done:
        return ()
    if command.outcome == "succeeded":
        return (EffectSucceeded(effect, key, command.reference, tries),)
    # Tries are counted anew where the runner lost its notes, or a person has it tried again: an end is an end all the
    # same, unless it is the one that is known.
    if tries <= known and (not command.final or (tries == known and ended)):
        return ()
    return (EffectFailed(effect, key, command.reason, command.reference, tries, command.final),)


EFFECT_FAILED = "effect_failed"
EVIDENCE_MAX = 500


def _record_track(command: tracking.RecordTrack, state: Order, now_ms: int) -> Sequence[Event]:
    """Keep what a carrier tells, and have service look at a parcel that does not arrive."""
    tracked, failed = tracking.record(command, state.tracking, now_ms)
    if tracked is None:
        return ()
    steps = _Steps(state)
    steps.add(tracked)
    name = f"{DELIVERY_FAILED}-{tracked.tracking}-"
    parcel = next(each for each in steps.state.tracking.parcels if each.tracking == tracked.tracking)
    if failed is not None or parcel.state not in tracking.FAILURES:
        decision = "superseded" if failed is not None else "moved_on"
        steps.add(*(InterceptionResolved(each, decision) for each, _ in state.interceptions if each.startswith(name)))
    if failed is not None:
        means, advice = tracking.FAILURES[failed.state]
        evidence = f"parcel {failed.tracking} ({failed.carrier}): {means}"
        stopped = (DELIVERY_FAILED, evidence, advice, "service", now_ms)
        steps.add(failed, OrderIntercepted(f"{name}{failed.at_ms}", *stopped))
    _issue_pick_lists(steps)
    return steps


DELIVERY_FAILED = "delivery_failed"


def _settle_delivery(command: tracking.SettleDelivery, state: Order, now_ms: int) -> Sequence[Event]:
    """Note that everything was signed for; complete the order when the time to object is over."""
    del command
    steps = _Steps(state)
    if arrived(state):
        delivered_ms = tracking.signed_ms(state.tracking)
        steps.add(tracking.OrderDelivered(delivered_ms))
        if COMPLETE_TIMER in dict(state.timers):
            steps.add(TimerCleared(COMPLETE_TIMER, fired=False))
        if state.status == "shipped":
            steps.add(TimerSet(COMPLETE_TIMER, min(delivered_ms, now_ms) + tracking.COMPLETE_AFTER_MS))
    elif over(state):
        steps.add(OrderCompleted(now_ms))
    return steps


def arrived(state: Order) -> bool:
    """Whether all of the order was signed for, and this is not recorded yet."""
    return (
        state.status in ("shipped", "completed")
        and not state.tracking.delivered
        and tracking.all_signed(state.tracking)
    )


def over(state: Order) -> bool:
    """Whether nothing is left to wait for: delivered, the time to object is over, and nobody has objected."""
    return (
        state.status == "shipped"
        and state.tracking.delivered
        and state.tracking.due
        and not state.interceptions
        and all(stage != "open" for _, stage in state.after_sales)
    )


def _record_payment(command: payments.RecordPayment, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    told = payments.record(command, state.payments)
    return () if told is None else (told,)


def verdict(state: Order) -> payments.Verdict:
    """Return what all payments that were told mean for the order as it stands."""
    refunds = sum(line.amount for line in state.lines if line.after_sale == "refunded")
    stand = payments.Stand(state.status, state.kind == "presale", state.amounts, state.deposit, refunds)
    return payments.judge(state.payments, stand)


def _settle_payments(command: payments.SettlePayments, state: Order, now_ms: int) -> Sequence[Event]:
    """Follow what was paid and given back, and ask finance about what does not add up."""
    del command
    steps = _Steps(state)
    found = verdict(state)
    currency = state.amounts.currency
    if found.deposit:
        steps.add(DepositPaid(found.deposit, currency))
    if found.paid:
        _pay(steps, OrderPaid(found.paid, currency, found.paid_ms))
        terms = state.ruled.when_paid
        if terms is not None:
            _promise(steps, terms.promise, terms.rules, now_ms)
            _look_for_flaws(steps, terms.flaws, now_ms)
            _ask_approvals(steps, Ruling(terms.rules, forms=terms.forms), now_ms)
    if found.refund:
        steps.add(OrderRefunded((), found.refund, found.reference))
    asked, answered = payments.open_questions(verdict(steps.state), state.interceptions)
    steps.add(*(InterceptionResolved(name, "settled") for name in answered))
    for each in asked:
        told = (each.interception, each.reason, each.evidence, each.advice)
        steps.add(OrderIntercepted(*told, "finance", now_ms))
    _look_for_risks(steps, now_ms)
    _issue_pick_lists(steps)
    return steps


def _forget(command: Forget, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    return () if state.forgotten else (OrderForgotten(command.request),)


def _await_forget(command: AwaitForget, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    known = state.forgotten or command.request in state.awaited
    return () if known else (OrderForgettingAwaited(command.request),)


def _stop_awaiting(command: StopAwaiting, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    return (OrderForgettingWithdrawn(command.request),) if command.request in state.awaited else ()


def _drop(command: DropMessage, state: Order, now_ms: int) -> Sequence[Event]:
    del command, state, now_ms
    raise OrderIsForgotten(
        "the person of this order was forgotten, and a message for it can neither be followed as it stands nor be kept"
    )


DECIDE: Mapping[type[Command], Callable[[Any, Order, int], Sequence[Event]]] = {
    Forget: _forget,
    AwaitForget: _await_forget,
    StopAwaiting: _stop_awaiting,
    DropMessage: _drop,
    TakeSnapshot: _take_snapshot,
    ScanItem: _scan_item,
    UnscanItem: _scan_item,
    ScanOut: _scan_out,
    Ship: _scan_out,
    ConfirmDelivery: _confirm_delivery,
    CancelLines: _cancel_lines,
    ResolveInterception: _resolve,
    TimerDue: _timer_due,
    ReturnGoods: _return_goods,
    RecordEffect: _record_effect,
    tracking.RecordTrack: _record_track,
    tracking.SettleDelivery: _settle_delivery,
    payments.RecordPayment: _record_payment,
    payments.SettlePayments: _settle_payments,
    MapSkus: _map_skus,
    ConfirmProcessing: _confirm_processing,
    TakePlan: _take_plan,
    ConfirmReserved: _confirm_reserved,
    ConfirmPreReserved: _confirm_pre_reserved,
    ConfirmArrived: _confirm_arrived,
    ReportShort: _report_short,
    ReportDuplicate: _report_duplicate,
    Quarantine: _quarantine,
    QueueBehind: _queue,
    ResendQuarantined: _resend,
    DiscardQuarantined: _discard,
    **dict.fromkeys(people.ACTS, _act),
    **dict.fromkeys(after_sale_acts.DECIDE, _act_on_after_sale),
    **dict.fromkeys(
        service_work.DECIDE,
        lambda command, state, _: service_work.decide(command, state.service_stages, len(state.services)),
    ),
}

NEEDS_ORDER: frozenset[type[Command]] = frozenset(
    {
        ScanOut,
        Ship,
        ConfirmDelivery,
        ConfirmProcessing,
        CancelLines,
        ReturnGoods,
        tracking.RecordTrack,
        payments.RecordPayment,
        *after_sale_acts.DECIDE,
        *service_work.DECIDE,
    }
)
"""Commands that wait, with a timer, while the order they name is unknown."""


def decide(command: Command, state: Order, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows from a command; `now_ms` is the message's observed time.

    A command whose `command_id` was handled before changes nothing, for ever.

    Raises:
        RefusedBefore: it was refused when it came first.
        DomainError: it breaks a rule.
    """
    command_id = getattr(command, "command_id", None)
    if command_id is not None:
        if command_id in state.commands:
            reason = dict(state.refused).get(command_id) if state.refused else None
            if reason is not None:
                raise RefusedBefore(reason)
            return ()
        if not command_id:
            raise MissingCommandId("the message has no command id; its sender must give it one of its own")
    kind = type(command)
    if kind in NEEDS_ORDER:
        _known(state)
    handler = DECIDE.get(kind)
    if handler is None:
        raise WrongActor(f"{kind.__name__} is nothing that an order could do")
    return handler(command, state, now_ms)


order = Decider(Order(), decide, evolve)
