"""An order as the simulated world knows it, before any platform's format; one moment of it is one `SimOrder`.

Money is in minor units of the order's currency (fen, cents), times are UTC milliseconds, 0 = has not happened.
"""

from typing import Literal

import msgspec

from domain.canonical import AfterSale, Status

Hold = Literal["", "risk_review", "group_not_formed", "forbid_consign", "locked"]
"""Why a platform forbids shipping."""


class SimPerson(msgspec.Struct, frozen=True, gc=False):
    """An invented customer, who is also the receiver."""

    id: str
    name: str
    phone: str
    province: str
    city: str
    district: str
    address: str
    zip: str = "310000"


class SimLine(msgspec.Struct, frozen=True, gc=False):
    """One line."""

    sku: str
    quantity: int
    unit_price_fen: int
    name: str = ""
    discount_fen: int = 0
    """Taken off the whole line."""
    gift: bool = False
    """Given away: whatever its price, nothing is paid for it."""
    shipped: bool = False
    """Has left, perhaps before the rest of the order."""
    after_sale: AfterSale = ""

    @property
    def goods_fen(self) -> int:
        """Price times quantity."""
        return self.unit_price_fen * self.quantity

    @property
    def off_fen(self) -> int:
        """What is taken off the line; all of it where it is a gift."""
        return self.goods_fen if self.gift else self.discount_fen


class SimParcel(msgspec.Struct, frozen=True, gc=False):
    """A parcel that left."""

    carrier: str
    """Neutral code (`adapters.simulators.carriers`)."""
    tracking: str
    at_ms: int
    lines: tuple[int, ...] = ()
    """Places of the lines in it; empty = all."""


class SimOrder(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An order at one moment of its life."""

    order_no: str
    """The platform's number, in the platform's form (`adapters.simulators.numbers`)."""
    status: Status = "awaiting_payment"
    lines: tuple[SimLine, ...]
    buyer: SimPerson
    ordered_ms: int
    modified_ms: int
    paid_ms: int = 0
    shipped_ms: int = 0
    ended_ms: int = 0
    """Completed or cancelled."""
    pay_by_ms: int = 0
    freight_fen: int = 0
    discount_fen: int = 0
    """Taken off the whole order."""
    presale: bool = False
    deposit_fen: int = 0
    """What was paid ahead, while the rest is owed."""
    hold: Hold = ""
    live: bool = False
    """Sold in a live-commerce room."""
    parcels: tuple[SimParcel, ...] = ()
    message: str = ""
    service: str = ""
    """An installation service that was bought along."""
    invoice_title: str = ""
    """Whom the invoice is for; "" = none asked."""
    referrer: str = ""
    currency: str = "CNY"

    @property
    def goods_fen(self) -> int:
        """Sum of price times quantity, gifts included."""
        return sum(line.goods_fen for line in self.lines)

    @property
    def off_fen(self) -> int:
        """All that is taken off `goods_fen`: of lines, of the whole order, and the worth of gifts."""
        return sum(line.off_fen for line in self.lines) + self.discount_fen

    @property
    def sold_fen(self) -> int:
        """Sum of price times quantity of what is not given away; most platforms price a gift at nothing."""
        return sum(line.goods_fen for line in self.lines if not line.gift)

    @property
    def reduced_fen(self) -> int:
        """All that is taken off `sold_fen`."""
        return sum(line.discount_fen for line in self.lines if not line.gift) + self.discount_fen

    @property
    def payable_fen(self) -> int:
        """What the customer owes in all."""
        return self.goods_fen - self.off_fen + self.freight_fen

    @property
    def paid_fen(self) -> int:
        """What has been paid so far."""
        return self.payable_fen if self.paid_ms else self.deposit_fen

    @property
    def refunding(self) -> bool:
        """Whether an after-sale is open on any line."""
        return any(line.after_sale == "open" for line in self.lines)


def shares(order: SimOrder) -> list[int]:
    """Return what each line comes to after the order's discount was spread over the lines, to the last unit."""
    totals = [line.goods_fen - line.off_fen for line in order.lines]
    whole = sum(totals)
    if not order.discount_fen or not whole:
        return totals
    net = whole - order.discount_fen
    spread = [net * total // whole for total in totals]
    largest_rest_first = sorted(range(len(totals)), key=lambda at: -(net * totals[at] % whole))
    for at in largest_rest_first[: net - sum(spread)]:
        spread[at] += 1
    return spread


def has_left(order: SimOrder, at: int) -> bool:
    """Tell whether a line has left."""
    return order.lines[at].shipped or order.status in ("shipped", "completed")
