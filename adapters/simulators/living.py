"""A little trade, so that a simulated shop is not dead: orders come in and move on."""

import random
from typing import Any, Final

import msgspec

from adapters.simulators.making import GIFT, HOUR_MS, LINES, an_order
from adapters.simulators.simulated import Simulated
from domain.canonical import Status

_NEXT: Final[dict[Status, Status]] = {"awaiting_payment": "paid", "shipped": "completed"}
"""What happens to an order by itself; shipping is the merchant's."""
_PAST: Final[tuple[Status, ...]] = ("awaiting_payment", "paid", "paid", "paid", "shipped", "completed", "cancelled")


class Trade:
    """Makes the orders of one shop, the same ones for the same chance."""

    def __init__(self, channel: str, chance: random.Random) -> None:
        self._channel = channel
        self._chance = chance
        self._made = 0

    def past(self, sim: Simulated, now_ms: int) -> str:
        """Add an order of the last hours that has come some way; return its number."""
        ago_ms = self._chance.randrange(HOUR_MS // 6, 3 * HOUR_MS)
        status = self._chance.choice(_PAST)
        order = an_order(self._channel, self._next(), now_ms - ago_ms, status, **self._fields())
        # What lies ahead of now in the usual course has just happened.
        early = {name: min(getattr(order, name), now_ms) for name in ("shipped_ms", "ended_ms", "modified_ms")}
        parcels = tuple(msgspec.structs.replace(one, at_ms=min(one.at_ms, now_ms)) for one in order.parcels)
        sim.add(msgspec.structs.replace(order, **early, parcels=parcels))
        return order.order_no

    def step(self, sim: Simulated, now_ms: int) -> str:
        """Let a customer order, pay or confirm a receipt; return the order's number."""
        waiting = [order for order in sim.store.all() if order.status in _NEXT]
        if waiting and self._chance.random() < 0.5:  # noqa: PLR2004 - half of what happens
            order = self._chance.choice(waiting)
            status = _NEXT[order.status]
            field = "paid_ms" if status == "paid" else "ended_ms"
            sim.change(order.order_no, status=status, **{field: now_ms})
            return order.order_no
        made = an_order(self._channel, self._next(), now_ms, "awaiting_payment", **self._fields())
        sim.add(made)
        return made.order_no

    def _next(self) -> int:
        self._made += 1
        return self._made

    def _fields(self) -> dict[str, Any]:
        count = 1 if self._channel == "pinduoduo" else self._chance.randint(1, len(LINES))
        lines = LINES[:count]
        return {"lines": (*lines, GIFT) if self._chance.random() < 0.2 else lines}  # noqa: PLR2004 - a fifth
