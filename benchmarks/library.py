"""The library's own way: `eventsourcing`'s Application with its Aggregate, one save for each step of an order.

SQLite on a file, `synchronous=FULL`, the default JSON transcoder. Five steps an order (received, normalized, paid,
reserved, shipped) on one aggregate, without a stock ledger, payloads, encryption or hashes: less work than ours, in
its favour.
"""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.workload import trade


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


def measure(orders: int) -> dict[str, Any]:
    """Measure the library."""
    directory = Path(tempfile.mkdtemp(prefix="orderspine-library-"))
    try:
        application: Application[Any] = Application(
            env={
                "PERSISTENCE_MODULE": "eventsourcing.sqlite",
                "SQLITE_DBNAME": str(directory / "library.db"),
                "SQLITE_LOCK_TIMEOUT": "5",
            }
        )
        started = time.perf_counter()
        for number in range(orders):
            order_no, raw = trade(number)
            order = Order(order_no=order_no, raw=raw.decode())
            application.save(order)
            order.normalize(lines=[{"sku": "SKU-0001", "quantity": 2}], amount=29_900)
            application.save(order)
            order.pay(amount=29_900)
            application.save(order)
            order.reserve(warehouse="A", allocation=f"{order_no}/1")
            application.save(order)
            order.ship(tracking=f"SF{number:012}")
            application.save(order)
        seconds = time.perf_counter() - started
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return {
        "orders": orders,
        "seconds": round(seconds, 3),
        "library_orders_per_s": round(orders / seconds, 1),
        "library_events_per_s": round(orders * 5 / seconds, 1),
        "sync": "FULL (the build's default)",
        "batch_messages": 1,
    }
