"""The library's own way: `eventsourcing`'s Application with its Aggregate, one command for each step of an order.

SQLite on a file, `synchronous=FULL`, the default JSON transcoder. Five steps an order (received, normalized, paid,
reserved, shipped) on one aggregate, without a stock ledger, payloads, encryption or hashes: less work than ours, in
its favour.

`library_orders_per_s` is an application as the library's documentation writes one: the steps of an order come one by
one, so each command gets the aggregate from the repository. `library_in_hand_orders_per_s` keeps the aggregate in hand
from the first step to the last, which nobody can whose payments and scans come in by themselves.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.workload import trade

EVENTS = 5
LINES = [{"sku": "SKU-0001", "quantity": 2}]
AMOUNT = 29_900
"""Minor units."""


class Order(Aggregate):
    """An order as the library's examples would write it."""

    @event("Received")
    def __init__(self, order_no: str, raw: str) -> None:
        """Receive it."""
        self.order_no = order_no
        self.raw = raw
        self.status = "received"

    @event("Normalized")
    def normalize(self, lines: list[dict[str, Any]], amount: int) -> None:
        """Understand it."""
        self.lines = lines
        self.amount = amount
        self.status = "awaiting_payment"

    @event("Paid")
    def pay(self, amount: int) -> None:
        """Take the payment."""
        self.paid = amount
        self.status = "paid"

    @event("Reserved")
    def reserve(self, warehouse: str, allocation: str) -> None:
        """Hold the goods."""
        self.warehouse = warehouse
        self.allocation = allocation
        self.status = "allocating"

    @event("Shipped")
    def ship(self, tracking: str) -> None:
        """Send it."""
        self.tracking = tracking
        self.status = "shipped"


class Orders(Application[Any]):
    """An application as the library's documentation has it: each command gets the aggregate, changes and saves it."""

    def receive(self, order_no: str, raw: str) -> Any:
        """Take an order in and return its id."""
        order = Order(order_no=order_no, raw=raw)
        self.save(order)
        return order.id

    def normalize(self, order_id: Any, lines: list[dict[str, Any]], amount: int) -> None:
        """Understand it."""
        order: Order = self.repository.get(order_id)
        order.normalize(lines=lines, amount=amount)
        self.save(order)

    def pay(self, order_id: Any, amount: int) -> None:
        """Take the payment."""
        order: Order = self.repository.get(order_id)
        order.pay(amount=amount)
        self.save(order)

    def reserve(self, order_id: Any, warehouse: str, allocation: str) -> None:
        """Hold the goods."""
        order: Order = self.repository.get(order_id)
        order.reserve(warehouse=warehouse, allocation=allocation)
        self.save(order)

    def ship(self, order_id: Any, tracking: str) -> None:
        """Send it."""
        order: Order = self.repository.get(order_id)
        order.ship(tracking=tracking)
        self.save(order)


def _by_commands(application: Orders, number: int) -> None:
    order_no, raw = trade(number)
    order_id = application.receive(order_no, raw.decode())
    application.normalize(order_id, LINES, AMOUNT)
    application.pay(order_id, AMOUNT)
    application.reserve(order_id, "A", f"{order_no}/1")
    application.ship(order_id, f"SF{number:012}")


def _in_hand(application: Orders, number: int) -> None:
    order_no, raw = trade(number)
    order = Order(order_no=order_no, raw=raw.decode())
    application.save(order)
    order.normalize(lines=LINES, amount=AMOUNT)
    application.save(order)
    order.pay(amount=AMOUNT)
    application.save(order)
    order.reserve(warehouse="A", allocation=f"{order_no}/1")
    application.save(order)
    order.ship(tracking=f"SF{number:012}")
    application.save(order)


def _measure(orders: int, life: Callable[[Orders, int], None]) -> float:
    directory = Path(tempfile.mkdtemp(prefix="orderspine-library-"))
    try:
        application = Orders(
            env={
                "PERSISTENCE_MODULE": "eventsourcing.sqlite",
                "SQLITE_DBNAME": str(directory / "library.db"),
                "SQLITE_LOCK_TIMEOUT": "5",
            }
        )
        started = time.perf_counter()
        for number in range(orders):
            life(application, number)
        return orders / (time.perf_counter() - started)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def measure(orders: int) -> dict[str, Any]:
    """Measure the library, both ways."""
    by_commands = _measure(orders, _by_commands)
    return {
        "orders": orders,
        "library_orders_per_s": round(by_commands, 1),
        "library_events_per_s": round(by_commands * EVENTS, 1),
        "library_in_hand_orders_per_s": round(_measure(orders, _in_hand), 1),
        "sync": "FULL (the build's default)",
        "batch_messages": 1,
    }
