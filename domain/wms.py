"""What the core asks of a warehouse that others run: take a delivery order, say whether it has one, give one back.

A delivery order is a pick list with a receiver. Its code is made of the pick list's id, so that the same one is never
picked twice. Errors are those of `domain.platforms`: whoever is outside is busy, refuses, or leaves us without answer.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol

import msgspec

CODE_MAX = 50
"""Longest code of a delivery order that warehouses keep (Qimen: string (50))."""
_REVISION_ROOM = 8
_PLAIN = re.compile(r"[A-Za-z0-9_=:/-]+")


class WmsLine(msgspec.Struct, frozen=True, gc=False):
    """What is to be picked of one SKU."""

    sku: str
    quantity: int
    """Units."""
    name: str = ""


class Receiver(msgspec.Struct, frozen=True, gc=False):
    """Where a parcel goes. Personal: opened when it is sent, kept nowhere."""

    name: str = ""
    phone: str = ""
    country: str = ""
    province: str = ""
    city: str = ""
    district: str = ""
    town: str = ""
    detail: str = ""
    zip: str = ""
    token: str = ""
    """What the platform gives in the place of an address it keeps to itself (Taobao's OAID)."""

    def __repr__(self) -> str:
        return "Receiver(…)"


class DeliveryOrder(NamedTuple):
    """What a warehouse is asked to pick, pack and send. Times are UTC ms; 0 = unknown."""

    code: str
    """See `code_of`."""
    warehouse: str
    """Our code of the warehouse."""
    channel: str
    shop: str
    order_no: str
    lines: tuple[WmsLine, ...]
    receiver: Receiver
    created_ms: int
    ordered_ms: int = 0
    paid_ms: int = 0
    urgent: bool = False
    """Whether it goes before others."""
    collect: str = ""
    """What the receiver still pays when it is handed over, as a decimal of the order's currency; "" = nothing."""


class WmsStock(NamedTuple):
    """What a warehouse says it has of a SKU, sellable units only."""

    sku: str
    units: int
    """On the shelf: the free ones and those locked for delivery orders."""


class Wms(Protocol):
    """A warehouse's own system."""

    async def create(self, order: DeliveryOrder) -> str:
        """Have it picked; return the warehouse's own number. A code it has already counts as taken.

        Raises:
            PlatformError: see its kinds.
        """
        ...

    async def knows(self, code: str, warehouse: str) -> bool:
        """Tell whether the warehouse has a delivery order of this code that is not cancelled.

        Raises:
            PlatformError: see its kinds.
        """
        ...

    async def cancel(self, code: str, warehouse: str) -> str:
        """Call a delivery order off; return what became of it. One it never had, or has cancelled, is off already.

        Raises:
            PlatformRefused: it is too late (`code` is `picked`), or it will not.
            PlatformError: see its kinds.
        """
        ...

    async def stock(self, warehouse: str, skus: Sequence[str]) -> list[WmsStock]:
        """Return what the warehouse has of these SKUs; one it does not know is left out.

        Raises:
            PlatformError: see its kinds.
        """
        ...


def code_of(pick_list: str, revision: int = 0) -> str:
    """Return the code of the delivery order for a pick list, the same for ever.

    It is the pick list's own id where that is short and plain enough, else a digest of it. A pick list that lost units
    after it was sent out goes out again as a `revision` of its own (any number above 0), told apart by its ending.
    """
    room = CODE_MAX - _REVISION_ROOM
    base = pick_list
    if len(base) > room or not _PLAIN.fullmatch(base):
        base = f"pick-{sha256(pick_list.encode('utf-8', 'surrogatepass')).hexdigest()[: room - 5]}"
    return f"{base}.{revision}" if revision else base


def base_of(code: str) -> str:
    """Return a code without its revision."""
    return code.partition(".")[0]
