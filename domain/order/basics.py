"""What an order's life is made of: its statuses and how they follow each other, its timers, its limits."""

from collections.abc import Mapping

import msgspec

from domain.canonical import Status
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

PAYMENT_TIMER = "payment"
ORDER_TIMER = "order"
PROMISE_TIMER = "promise"
PRESALE_TIMER = "presale"
APPROVAL_TIMER = "approval"
"""Open while an approval is to be escalated, for the first of them."""
COMPLETE_TIMER = "complete"
"""Open from the delivery on, until the order completes by rule."""


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
