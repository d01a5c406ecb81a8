"""What happens to an order."""

from typing import Any, Literal

import msgspec

from domain.canonical import Parcel, Snapshot
from domain.decider import Event
from domain.order.basics import Allocation, Quantities
from domain.order.commands import Lot
from domain.rulings import Form, Gift, Kit, Promise, Route, Saving


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

    allocations: tuple[Allocation, ...]


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
    unsent: Quantities = ()
    """(id as of a line, units) of gifts that stay here, where the rest of the order was cancelled."""


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
