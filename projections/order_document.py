"""What the orders read model shows of an order: nothing personal.

Two halves, because most events move an order on and few change what its channel says of it: the `Document`, and the
view, which is stored as its event's bytes.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import msgspec

from domain.after_sale_case import Case
from domain.canonical import Parcel, SourceTime, Status
from domain.order import NOT_RULED, Allocation, Lot, Ruled
from domain.tracking import TrackState

VERSION = 8
"""Of the read model: raised with every change of its fold or its tables."""


class ShownParcel(msgspec.Struct, gc=False, omit_defaults=True):
    """A shipment."""

    carrier: str
    tracking: str
    lines: tuple[str, ...] = ()
    at: SourceTime | None = None
    own: bool = False
    """Whether we sent it; otherwise the channel reported it."""
    state: TrackState = ""
    """What its carrier said last, by the carrier's own time."""
    where: str = ""
    """Place of the last scan that names one."""
    state_ms: int = 0
    where_ms: int = 0
    """When either was, by the carrier's clock, UTC ms."""
    case: int = 0
    """The after-sale that it was sent for; 0 = it is the order's own."""


class ShownPayment(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A movement of money, by the last word of a payment service or of finance. Minor units."""

    transaction: str
    kind: str
    amount: int
    currency: str
    at_ms: int
    service: str = ""
    payment: str = ""


class Interception(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An open interception: why, on what evidence, what to do, and who should."""

    interception: str
    reason: str
    evidence: str
    advice: str
    role: str
    risk_ms: int


class Quarantined(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The message nobody could handle."""

    item: str
    reason: str
    where: str = ""
    advice: str = ""
    payload: str = ""


class Refusal(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The last act that broke a rule."""

    what: str
    rule: str
    reason: str
    command: str = ""


class Effect(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How something that we did outside because of the order stands, by the last report."""

    effect: str
    key: str
    outcome: Literal["succeeded", "failed", "given_up"]
    """`failed` is tried again; `given_up` waits for a person."""
    reference: str = ""
    reason: str = ""
    tries: int = 1
    at: int = 0
    """When it was reported, UTC ms."""


class Service(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A service work order."""

    reference: str
    service: str
    lines: tuple[str, ...] = ()
    stage: str = "opened"
    """opened, scheduled, done or cancelled."""
    day: str = ""
    """YYYY-MM-DD that was agreed with the customer."""


class Promise(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What the customer was promised, and by which rule. UTC ms."""

    rule: str
    ship_by_ms: int
    deliver_by_ms: int = 0


class Picking(msgspec.Struct, gc=False, omit_defaults=True):
    """What is shown of an open pick list beside its allocation."""

    allocation: str
    issued_ms: int
    """When it was issued, UTC ms."""
    errors: int = 0
    """Wrong scans."""
    picker: str = ""
    """Who scanned last."""


class Document(msgspec.Struct, gc=False, omit_defaults=True):
    """What became of an order. What its channel says of it is the view beside it. `_ms`: UTC ms.

    Thousands are kept in memory, and most of what may befall an order befalls few: so there are no lists, of which each
    document would have its own empty ones, and mappings are replaced, not changed: those that are empty can be shared.
    """

    key: str
    channel: str
    shop: str
    order_no: str
    position: int = 0
    """Of the last event that changed this document."""
    version: int = 0
    """Place of that event in the order's stream."""
    received_at: int = 0
    """When it first reached us, UTC ms."""
    updated_at: int = 0
    """When the order last changed, UTC ms. Repeats, late views and refusals change only their counters."""
    updated_by: str = ""
    updated_role: str = ""
    """Role of the person who did it."""
    source_tag: str = ""
    state: str = ""
    fulfilment: str = ""
    amount_paid: int = 0
    refunded: int = 0
    paid_ms: int = 0
    shipped_ms: int = 0
    completed_ms: int = 0
    cancel_reason: str = ""
    interceptions: tuple[Interception, ...] = ()
    approvals: Mapping[str, str] = {}
    """Approval that keeps the order from shipping → open or rejected."""
    allocations: tuple[Allocation, ...] = ()
    """What a warehouse holds for it now."""
    ruled: Ruled = NOT_RULED
    """Where it is sent from and how, its gifts, as the rule book says."""
    sent_units: Mapping[str, int] = {}
    """Line id → units that have left, of lines of which something is still to be sent."""
    promise: Promise | None = None
    lots: tuple[Lot, ...] = ()
    """Lots of what has left, where they must be told."""
    pick_list: str = ""
    """The last one issued that is not void."""
    picking: tuple[Picking, ...] = ()
    """Of open pick lists."""
    parcels: tuple[ShownParcel, ...] = ()
    delivered_ms: int = 0
    """When the last parcel was signed for, by the carrier's clock; 0 = not all are."""
    payments: tuple[ShownPayment, ...] = ()
    after_sales: tuple[Case, ...] = ()
    shipped_lines: tuple[str, ...] = ()
    cancelled_units: Mapping[str, int] = {}
    """Line id → units cancelled by our own acts."""
    after_sale_lines: Mapping[str, str] = {}
    """Line id → open or refunded."""
    amended: int = 0
    repeated: int = 0
    outdated: int = 0
    refused: int = 0
    last_refusal: Refusal | None = None
    quarantine: Quarantined | None = None
    queued: int = 0
    """Messages that wait behind the quarantined one, or for the order itself."""
    mapping: int = 0
    """Version of the field mapping that the view was read by; 0 = what ships with the channel."""
    skus: Mapping[str, str] = {}
    """Line id → the SKU that the line got after its view came in: it goes over the one in the view."""
    services: tuple[Service, ...] = ()
    """Work orders for services that were bought with the order."""
    effects: tuple[Effect, ...] = ()
    """What was told to channels and other systems, each by its last report, in the order they were first reported."""
    erased: str = ""
    """The request by which its person was forgotten; his sealed block is gone from the view then."""


class ViewedLine(msgspec.Struct, frozen=True, gc=False):
    """As much of a line as decides what became of it."""

    id: str
    sku: str
    quantity: int
    state: str = "open"


class ViewedAmounts(msgspec.Struct, frozen=True, gc=False):
    """As much of the amounts as the order record has."""

    currency: str
    paid: int = 0


class ViewedInstant(msgspec.Struct, frozen=True, gc=False):
    """As much of a time as the fold needs."""

    utc_ms: int


class ViewedTime(msgspec.Struct, frozen=True, gc=False):
    """As much of a time as the order record has."""

    utc_ms: int
    local: str


class View(msgspec.Struct, frozen=True, gc=False):
    """As much of the channel's view as the fold and the order record need; the rest is stored as it came."""

    status: Status | Literal[""]
    native_status: str
    amounts: ViewedAmounts
    ordered_at: ViewedTime
    modified_at: ViewedInstant
    lines: tuple[ViewedLine, ...]
    kind: str = "normal"
    customer: str = ""
    holds: tuple[str, ...] = ()
    parcels: tuple[Parcel, ...] = ()
    revision: int = 0


class Viewed(msgspec.Struct, frozen=True, gc=False):
    """An event that brings a view (normalized or amended), as far as it is looked at."""

    digest: ClassVar = ""
    address: ClassVar = ""
    """Both are there for `domain.order.evolve`, which copies them; nothing that is shown follows from them."""

    snapshot: View
    mapping: int = 0
    mapped: tuple[str, ...] = ()


NO_VIEW = View("", "", ViewedAmounts("CNY"), ViewedTime(0, ""), ViewedInstant(0), ())
"""Of an order that no channel has sent yet."""
