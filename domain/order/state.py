"""What is known of an order: the fold of its events."""

from typing import Literal

import msgspec

from domain import service_work
from domain.after_sale_case import Case
from domain.canonical import Amounts, Line, Status
from domain.delivery import Delivered
from domain.order.basics import Allocation, Effects, Quantities
from domain.order.events import WhenPaid
from domain.payments import NO_PAYMENTS, Payments
from domain.people import NO_PEOPLE, People
from domain.rulings import Gift, Kit, Route
from domain.tracking import NO_TRACKING, Tracking


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
    replaced: Quantities = ()
    """(id, units) of what was sent for cases, sorted; ids as `resent_line` makes them."""
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
