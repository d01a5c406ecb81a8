"""The orders of a simulated shop: what changed when, and what was shipped."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import msgspec

from adapters.simulators.orders import SimLine, SimOrder, SimParcel

Kind = Literal["created", "paid", "shipped", "partly_shipped", "completed", "cancelled", "after_sale", "changed"]
"""What happened to an order, in words of no platform."""


class Shipment(NamedTuple):
    """A ship notice that was accepted."""

    order_no: str
    carrier: str
    """Neutral code."""
    tracking: str
    lines: tuple[int, ...]
    """Places of the lines."""
    at_ms: int
    request_id: str = ""


class Store:
    """Orders by number. Changing one moves its modified time on, as platforms do."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._orders: dict[str, SimOrder] = {}
        self.shipments: list[Shipment] = []
        self.watchers: list[Callable[[SimOrder, Kind], None]] = []
        """Called after each change."""

    def __len__(self) -> int:
        return len(self._orders)

    def get(self, number: str) -> SimOrder | None:
        """Return an order, None where there is none of that number."""
        return self._orders.get(number)

    def all(self) -> Iterable[SimOrder]:
        """Return every order."""
        return self._orders.values()

    def add(self, order: SimOrder) -> SimOrder:
        """Take in an order as it is, in place of an older view of the same."""
        self._orders[order.order_no] = order
        self._tell(order, kind_of(order, None))
        return order

    def change(self, number: str, **fields: Any) -> SimOrder:
        """Change fields of an order. Unless it is given, its modified time moves on to now.

        Raises:
            KeyError: there is no such order.
        """
        old = self._orders[number]
        fields.setdefault("modified_ms", max(self._now_ms(), old.modified_ms + 1000))
        new = msgspec.structs.replace(old, **fields)
        self._orders[number] = new
        self._tell(new, kind_of(new, old))
        return new

    def ship(
        self, number: str, carrier: str, tracking: str, lines: Iterable[int] | None = None, request_id: str = ""
    ) -> SimOrder:
        """Let lines leave (None = all that are still here): the order is then partly or wholly shipped."""
        order = self._orders[number]
        here = [at for at, line in enumerate(order.lines) if not line.shipped]
        leaving = sorted(here if lines is None else lines)
        now = self._now_ms()
        after: tuple[SimLine, ...] = tuple(
            msgspec.structs.replace(line, shipped=line.shipped or at in leaving) for at, line in enumerate(order.lines)
        )
        done = all(line.shipped for line in after)
        self.shipments.append(Shipment(number, carrier, tracking, tuple(leaving), now, request_id))
        return self.change(
            number,
            lines=after,
            parcels=(*order.parcels, SimParcel(carrier, tracking, now, tuple(leaving))),
            status="shipped" if done else "allocating",
            shipped_ms=now if done else order.shipped_ms,
        )

    def changed_between(self, start_ms: int, end_ms: int) -> list[SimOrder]:
        """Return orders whose modified time lies in a window, to the second and both ends included, newest first."""
        first, last = start_ms // 1000, end_ms // 1000
        found = [order for order in self._orders.values() if first <= order.modified_ms // 1000 <= last]
        return sorted(found, key=lambda order: (-(order.modified_ms // 1000), order.order_no))

    def created_between(self, start_ms: int, end_ms: int) -> list[SimOrder]:
        """Return orders whose order time lies in a window, newest first."""
        first, last = start_ms // 1000, end_ms // 1000
        found = [order for order in self._orders.values() if first <= order.ordered_ms // 1000 <= last]
        return sorted(found, key=lambda order: (-(order.ordered_ms // 1000), order.order_no))

    def _tell(self, order: SimOrder, kind: Kind) -> None:
        for watch in list(self.watchers):
            watch(order, kind)


_KINDS: dict[str, Kind] = {
    "awaiting_payment": "created",
    "paid": "paid",
    "allocating": "partly_shipped",
    "shipped": "shipped",
    "completed": "completed",
    "cancelled": "cancelled",
}


def kind_of(new: SimOrder, old: SimOrder | None) -> Kind:
    """Tell what happened to an order, by what is different from its older view."""
    if old is None or new.status != old.status:
        return _KINDS[new.status]
    if [line.after_sale for line in new.lines] != [line.after_sale for line in old.lines]:
        return "after_sale"
    return "changed"
