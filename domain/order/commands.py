"""What can be asked of an order."""

from typing import Literal

import msgspec

from domain.canonical import Snapshot
from domain.decider import Command
from domain.order.basics import Allocation, Quantities
from domain.rulings import UNRULED, Ruling


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

    allocations: tuple[Allocation, ...]


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
