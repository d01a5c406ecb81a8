"""What the orders read model shows of an order: nothing personal, in JSON of these Structs."""

from typing import Literal

import msgspec

from domain.canonical import Amounts, SourceTime
from domain.order import Allocation
from domain.stock import Quantities

NO_ATTRIBUTES = msgspec.Raw(b"{}")


class Item(msgspec.Struct, gc=False, omit_defaults=True):
    """One line as people see it. Money in minor units of the order's currency."""

    id: str
    sku: str
    quantity: int
    name: str = ""
    item: str = ""
    spec: str = ""
    unit_price: int = 0
    discount: int = 0
    amount: int = 0
    gift: bool = False
    state: Literal["open", "shipped", "cancelled"] = "open"
    """What the channel says of it."""
    after_sale: str = ""
    """The same, of its after-sale."""
    after_sale_id: str = ""
    attributes: msgspec.Raw = NO_ATTRIBUTES
    status: Literal["open", "shipped", "cancelled"] = "open"
    """What became of it, by channel and own acts together."""
    after_sale_status: str = ""
    """The same, of its after-sale: open or refunded."""
    cancelled: int = 0
    """Units cancelled by our own acts."""


class ShownParcel(msgspec.Struct, gc=False, omit_defaults=True):
    """A shipment."""

    carrier: str
    tracking: str
    lines: tuple[str, ...] = ()
    at: SourceTime | None = None
    own: bool = False
    """Whether we sent it; otherwise the channel reported it."""


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


class AfterSaleCase(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An after-sale as it was opened; how its lines stand is told by the lines."""

    lines: Quantities
    reason: str
    reference: str = ""


class Document(msgspec.Struct, gc=False, omit_defaults=True):
    """An order as everybody may see it, without its lines (`items`). Times ending in `_ms` are UTC ms."""

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
    kind: str = "normal"
    native_status: str = ""
    customer: str = ""
    region: str = ""
    amounts: Amounts = Amounts("CNY")
    amount_paid: int = 0
    refunded: int = 0
    ordered_at: SourceTime | None = None
    modified_at: SourceTime | None = None
    pay_by: SourceTime | None = None
    paid_at: SourceTime | None = None
    shipped_at: SourceTime | None = None
    completed_at: SourceTime | None = None
    cancelled_at: SourceTime | None = None
    paid_ms: int = 0
    shipped_ms: int = 0
    completed_ms: int = 0
    cancel_reason: str = ""
    holds: tuple[str, ...] = ()
    interceptions: tuple[Interception, ...] = ()
    allocation: Allocation | None = None
    """What a warehouse holds for it now."""
    pick_list: str = ""
    """The last one issued that is not void."""
    parcels: list[ShownParcel] = []
    after_sales: list[AfterSaleCase] = []
    attributes: msgspec.Raw = NO_ATTRIBUTES
    shipped_lines: list[str] = []
    cancelled_units: dict[str, int] = {}
    """Line id → units cancelled by our own acts."""
    after_sale_lines: dict[str, str] = {}
    """Line id → open or refunded."""
    amended: int = 0
    repeated: int = 0
    outdated: int = 0
    refused: int = 0
    last_refusal: Refusal | None = None
    quarantine: Quarantined | None = None
    queued: int = 0
    """Messages that wait behind the quarantined one, or for the order itself."""
