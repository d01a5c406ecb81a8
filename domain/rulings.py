"""What the rule book says of one order: worked out in the turn that takes the order in, and handed to its decision.

Rules are data and change; orders record what was ruled, by which rule and which version of the book, so that nothing is
judged twice by different books. Here are the answers only; the questions are in `domain.rules`.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from domain.canonical import Snapshot

Quantities = tuple[tuple[str, int], ...]
"""(SKU, units) pairs."""


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What rules may ask about: the order as its channel sees it, and what else is known of it. Nothing personal."""

    snapshot: Snapshot
    flaws: tuple[str, ...] = ()
    """What is wrong with the address: `no_name`, `no_phone`, `bad_phone`, `no_detail`."""
    now_ms: int = 0
    """The message's observed time, UTC ms: rules with a time window apply by it."""
    taken_ms: int = 0
    """When the order was first taken in, UTC ms: promotions apply by it, so that an amended order keeps its gifts."""
    customer: Mapping[str, Any] = {}
    """What the merchant knows of the customer (tags, grade); empty for one he does not know."""
    buyer: str = ""
    """The customer's name among buyers (`domain.ids.buyer_of`); "" where the rules ask for none."""


class Found(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A risk that a rule saw: the order must be stopped."""

    rule: str
    reason: str
    """Stable word for it, for example `large_quantity`."""
    evidence: str
    advice: str
    role: str


class Gift(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Goods that come with the order for nothing."""

    rule: str
    sku: str
    units: int
    warehouse: str = ""
    """Where they lie; "" = wherever the order is sent from."""


class Saving(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Money that a promotion takes off, in minor units of the order's currency."""

    rule: str
    amount: int


class Route(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where lines are sent from."""

    rule: str
    lines: tuple[str, ...] = ()
    """Ids of the lines it is for; empty = all that no earlier route is for."""
    warehouses: tuple[str, ...] = ()
    """Codes, the first preferred; empty = as the rule book lists them."""
    split: Literal["never", "lines", "units"] = "lines"
    """Whether several warehouses may share the work: not at all, each line from one, or even units of a line."""
    area: str = ""
    """Part of the warehouse that works on these lines by themselves (a processing line); "" = the normal one."""
    processing: bool = False
    """Whether they must not be picked with the others, nor leave, before their processing is confirmed."""


class Kit(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A line that is sold as one and picked as several."""

    line: str
    """Line id."""
    parts: Quantities
    """(SKU, units in one kit)."""


class Promise(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is promised once the order is paid; times run from the payment."""

    rule: str
    ship_within_ms: int
    deliver_within_ms: int = 0
    """0 = nothing is promised of it."""


class Form(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Somebody must approve the order before it ships."""

    rule: str
    form: str
    """What is asked for: `credit`, `craft`, `customs` …"""
    role: str
    fields: tuple[str, ...] = ()
    """What the one who approves must fill in."""
    documents: tuple[str, ...] = ()
    """Kinds of documents that must be attached before."""
    people: int = 1
    """How many different people must approve; 2 = four eyes."""
    due_within_ms: int = 0
    """After so long it is escalated; 0 = never."""
    escalate_to: str = ""
    """Role that it goes to then."""


class Ruling(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Everything the rule book says of one order at one moment."""

    rules: int = 0
    """Version of the rule book; 0 = what ships."""
    found: tuple[Found, ...] = ()
    gifts: tuple[Gift, ...] = ()
    savings: tuple[Saving, ...] = ()
    routes: tuple[Route, ...] = ()
    kits: tuple[Kit, ...] = ()
    tags: tuple[str, ...] = ()
    """What rules call the order, for example `urgent`."""
    priority: Literal["", "urgent", "express"] = ""
    """`urgent` is picked first; `express` never waits for a batch, and has a clock of its own."""
    promise: Promise | None = None
    forms: tuple[Form, ...] = ()
    keep: Quantities = ()
    """(SKU, units) that this order's reservation must leave available in each warehouse: stock kept from campaigns."""
    lots: bool = False
    """Whether each shipped line must name its production lot and carbon figure (goods into the EU)."""
    suspect_within_ms: int = 0
    """An order of the same goods by the same buyer within this time is suspected to be a repeated one; 0 = none is."""
    buyer: str = ""
    """Who owes what is not paid yet, where he is a buyer with a credit limit."""


UNRULED = Ruling()
"""Of an order that no rule is about."""
