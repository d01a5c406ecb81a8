"""Key figures of a stretch of history, counted from its events: what was stopped, went by itself, was promised."""

from collections import Counter, defaultdict
from collections.abc import Collection
from statistics import median
from typing import Any

import msgspec

from domain import approvals, order
from domain.catalogue import TYPES, decode_event
from domain.time_units import HOUR_MS


class Side(msgspec.Struct, frozen=True):
    """Figures of one side."""

    orders: int
    """Orders with events in the window."""
    taken_in: int
    """Of them, those that came in it for the first time."""
    automatic: float | None
    """Share of those that were neither intercepted nor asked an approval of in the window, without orders of which
    it is unknown; None where there are none."""
    interceptions: dict[str, int]
    """Reason → how many."""
    approvals: dict[str, int]
    """Form → how often asked for."""
    routes: dict[str, int]
    """Warehouse → reservations for orders."""
    gifts: dict[str, int]
    """SKU → units granted, by the last word on each order."""
    promised: int
    """Orders that were promised a time."""
    promise_hours: float | None
    """From payment to the time promised for leaving, median; None where nothing was promised."""
    shipped: int
    """Orders all of whose goods left."""


class Figures:
    """Counts events."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._orders: set[str] = set()
        self._new: set[str] = set()
        self._stopped: set[str] = set()
        self._shipped: set[str] = set()
        self._interceptions: Counter[str] = Counter()
        self._approvals: Counter[str] = Counter()
        self._routes: Counter[str] = Counter()
        self._gifts: dict[str, Counter[str]] = defaultdict(Counter)
        self._paid: dict[str, int] = {}
        self._promised: dict[str, int] = {}

    def add(self, stream: str, tag: str, data: bytes) -> None:
        """Take an event of an order; others count for nothing."""
        if not stream.startswith("order-"):
            return
        self._orders.add(stream)
        if TYPES.get(tag) not in _COUNTED:
            return
        facts: Any = decode_event(tag, data)
        match facts:
            case order.OrderReceived():
                self._new.add(stream)
            case order.OrderIntercepted():
                self._stopped.add(stream)
                self._interceptions[facts.reason] += 1
            case approvals.ApprovalRequested():
                self._stopped.add(stream)
                self._approvals[facts.form] += 1
            case order.OrderReserved():
                self._routes[facts.warehouse] += 1
            case order.GiftsGranted():
                granted: Counter[str] = Counter()
                for gift in facts.gifts:
                    granted[gift.sku] += gift.units
                self._gifts[stream] = granted
            case order.OrderPaid():
                self._paid[stream] = facts.paid_ms
            case order.OrderPromised():
                self._promised[stream] = facts.ship_by_ms
            case order.OrderShipped():
                self._shipped.add(stream)

    def side(self, unknown: Collection[str] = ()) -> Side:
        """Return the figures; whether an order of `unknown` goes by itself counts only where it was stopped already."""
        told = {key for key in self._new if key not in unknown or key in self._stopped}
        gifts: Counter[str] = Counter()
        for granted in self._gifts.values():
            gifts.update(granted)
        hours = [(due - self._paid[key]) / HOUR_MS for key, due in self._promised.items() if key in self._paid]
        return Side(
            len(self._orders),
            len(self._new),
            round(1 - len(told & self._stopped) / len(told), 4) if told else None,
            dict(sorted(self._interceptions.items())),
            dict(sorted(self._approvals.items())),
            dict(sorted(self._routes.items())),
            dict(sorted(gifts.items())),
            len(self._promised),
            round(median(hours), 2) if hours else None,
            len(self._shipped),
        )


_COUNTED = frozenset(
    {
        order.OrderReceived,
        order.OrderIntercepted,
        order.OrderReserved,
        order.GiftsGranted,
        order.OrderPaid,
        order.OrderPromised,
        order.OrderShipped,
        approvals.ApprovalRequested,
    }
)
