"""An order as the simulated world knows it, before any channel's format: one moment of it is one `Deal`.

Money is in minor units of the deal's currency, times are UTC milliseconds, 0 = has not happened.
"""

from typing import Literal

import msgspec

from domain.canonical import Status


class Item(msgspec.Struct, frozen=True, gc=False):
    """One line."""

    sku: str
    name: str
    quantity: int
    price: int
    """Of one unit."""
    discount: int = 0
    """Taken off the whole line."""
    shipped: bool = False
    """Left before the rest of the order did."""
    refund: Literal["", "open", "refunded", "closed"] = ""

    @property
    def total(self) -> int:
        """What the line comes to before what is taken off the whole order."""
        return self.price * self.quantity - self.discount


class Buyer(msgspec.Struct, frozen=True, gc=False):
    """Who ordered: an invented person."""

    id: str
    name: str
    phone: str
    province: str
    city: str
    district: str
    address: str


class Deal(msgspec.Struct, frozen=True, gc=False):
    """An order at one moment of its life."""

    channel: str
    shop: str
    number: str
    """The channel's order number; a POS receipt's own number."""
    buyer: Buyer
    items: tuple[Item, ...]
    ordered_ms: int
    modified_ms: int
    status: Status = "awaiting_payment"
    freight: int = 0
    discount: int = 0
    """Taken off the whole order."""
    presale: bool = False
    deposit: int = 0
    """What was paid ahead, while the rest is owed."""
    hold: bool = False
    """The platform forbids shipping."""
    counter: bool = False
    """Sold over a counter and taken away at once."""
    live: bool = False
    """Sold in a live-commerce room."""
    pay_by_ms: int = 0
    paid_ms: int = 0
    shipped_ms: int = 0
    ended_ms: int = 0
    """Completed or cancelled."""
    carrier: str = ""
    tracking: str = ""
    message: str = ""

    @property
    def goods(self) -> int:
        """Sum of price times quantity."""
        return sum(item.price * item.quantity for item in self.items)

    @property
    def payable(self) -> int:
        """What the customer owes in all."""
        return sum(item.total for item in self.items) - self.discount + self.freight


def shares(deal: Deal) -> list[int]:
    """Return what each line comes to after the whole order's discount was spread over the lines, to the last unit."""
    totals = [item.total for item in deal.items]
    whole = sum(totals)
    if not deal.discount or not whole:
        return totals
    net = whole - deal.discount
    spread = [net * total // whole for total in totals]
    largest_first = sorted(range(len(totals)), key=lambda at: -(net * totals[at] % whole))
    for at in largest_first[: net - sum(spread)]:
        spread[at] += 1
    return spread


class Return(msgspec.Struct, frozen=True, gc=False):
    """Goods brought back to a counter."""

    number: str
    """Of the return's own receipt."""
    original: str
    """Number of the receipt of the sale."""
    shop: str
    at_ms: int
    items: tuple[Item, ...]
