"""The rule document as people write it: tables, keys, and what is known of them by their shape alone.

`format = 1`, then arrays of tables, one for each kind of rule. What the rules mean together is checked by
`domain.rule_table`; what they say of an order is in `domain.rules`.
"""

from datetime import datetime
from typing import Literal

import msgspec


class _Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of everything in the document: an unknown key is an error."""


class RuleRow(_Shape, frozen=True, kw_only=True, rename={"since": "from"}):
    """What every rule has."""

    id: str
    """Unique in the book: lower-case letters, digits, dashes."""
    enabled: bool = True
    note: str = ""
    """For people."""
    when: str = ""
    """Condition of the order; "" = always."""
    since: datetime | None = None
    """From when it applies, with offset."""
    until: datetime | None = None
    """The first moment at which it applies no more, with offset."""


class WarehouseRow(_Shape, frozen=True, kw_only=True):
    """`[[warehouse]]`: where goods are; the order of the list is the preference where no route says otherwise."""

    code: str
    name: str = ""
    note: str = ""


class TagRow(RuleRow, frozen=True, kw_only=True):
    """`[[tag]]`: a word for orders, which later conditions may ask for."""

    tag: str


class RouteRow(RuleRow, frozen=True, kw_only=True):
    """`[[route]]`: where lines are sent from, and how urgent the order is."""

    lines: str = ""
    """Condition of a line; "" = every line."""
    warehouses: list[str] = []
    split: Literal["never", "lines", "units"] | None = None
    area: str = ""
    processing: bool = False
    priority: Literal["", "urgent", "express"] = ""


class KitRow(RuleRow, frozen=True, kw_only=True):
    """`[[kit]]`: sold as one, picked as several."""

    sku: str
    parts: dict[str, int]


class GiftRow(_Shape, frozen=True, kw_only=True):
    """What is given."""

    sku: str = ""
    """"" = the goods that were bought, each SKU for itself."""
    units: int = 1
    warehouse: str = ""


class TierRow(_Shape, frozen=True, kw_only=True):
    """One step of a promotion."""

    over: str | int
    """Money (`CNY(199)`) or units, from which on it counts."""
    gift: GiftRow | None = None
    save: str = ""
    """Money, or `freight`."""


class PromotionRow(RuleRow, frozen=True, kw_only=True):
    """`[[promotion]]`: buy N get M, spend and save, or tiers."""

    buy: str = ""
    """Condition of the lines that count; "" = all. Gifts never count."""
    every: int | bool = False
    """With `over`: true = for each full `over`. Without: units to buy for one gift."""
    over: str | int = ""
    gift: GiftRow | None = None
    save: str = ""
    most: int = 0
    """How often at most in one order; 0 = no limit."""
    tiers: list[TierRow] = []
    each: bool = False
    """Every tier that is reached counts, and not only the highest."""


class InterceptRow(RuleRow, frozen=True, kw_only=True):
    """`[[intercept]]`: a risk; the order is stopped."""

    reason: str
    evidence: str
    advice: str
    role: str


class PromiseRow(RuleRow, frozen=True, kw_only=True):
    """`[[promise]]`: what is promised from the payment on; the first that fits counts."""

    ship_within: str
    deliver_within: str = ""


class ApproveRow(RuleRow, frozen=True, kw_only=True):
    """`[[approve]]`: somebody must agree before the order ships; the first that fits of each form counts."""

    form: str
    role: str
    fields: list[str] = []
    documents: list[str] = []
    people: int = 1
    due_within: str = ""
    escalate_to: str = ""


class ProtectRow(RuleRow, frozen=True, kw_only=True):
    """`[[protect]]`: stock that these orders must leave."""

    skus: list[str]
    keep: int
    """Units, in each warehouse."""


class LotsRow(RuleRow, frozen=True, kw_only=True):
    """`[[lots]]`: shipped lines name their production lot and carbon figure."""


class DuplicateRow(RuleRow, frozen=True, kw_only=True):
    """`[[duplicate]]`: an order of the same goods by the same buyer within a time is stopped as a repeated one."""

    within: str


class NotifyRow(RuleRow, frozen=True, kw_only=True):
    """`[[notify]]`: who is told of what."""

    on: list[str]
    """Tags of events."""
    to: list[str]
    """Names of receivers."""
    title: str
    text: str = ""


class ActRow(_Shape, frozen=True, kw_only=True):
    """`[[act]]`: how an act outside is tried again."""

    id: str
    effect: str
    enabled: bool = True
    note: str = ""
    tries: int = 0
    """0 = as it ships; so are the next two where they are empty."""
    backoff: str = ""
    """First wait between tries; it doubles."""
    timeout: str = ""
    """How long one try may take."""
    then: Literal["intercept", "give_up"] = "give_up"
    """What happens when all tries failed."""


class BookRow(_Shape, frozen=True, kw_only=True):
    """The whole document."""

    format: Literal[1]
    note: str = ""
    warehouse: list[WarehouseRow] = []
    tag: list[TagRow] = []
    route: list[RouteRow] = []
    kit: list[KitRow] = []
    promotion: list[PromotionRow] = []
    intercept: list[InterceptRow] = []
    promise: list[PromiseRow] = []
    approve: list[ApproveRow] = []
    protect: list[ProtectRow] = []
    lots: list[LotsRow] = []
    duplicate: list[DuplicateRow] = []
    notify: list[NotifyRow] = []
    act: list[ActRow] = []


TABLES: dict[str, type[msgspec.Struct]] = {
    "warehouse": WarehouseRow,
    "tag": TagRow,
    "route": RouteRow,
    "kit": KitRow,
    "promotion": PromotionRow,
    "intercept": InterceptRow,
    "promise": PromiseRow,
    "approve": ApproveRow,
    "protect": ProtectRow,
    "lots": LotsRow,
    "duplicate": DuplicateRow,
    "notify": NotifyRow,
    "act": ActRow,
}
"""Name of each table → its shape."""
