"""What the full rule book costs a drain: the same backlog without rules and with them, in turn, in one run.

The book is the worked example (docs/examples/rules.toml): 35 rules are asked of each order. The orders are of a day
without its campaign, so that they live the same life but for what is promised of each (one event more).
"""

import asyncio
from collections.abc import Iterator
from itertools import chain
from statistics import median
from typing import Any

from benchmarks.drain import drained
from benchmarks.rig import machine
from benchmarks.rules import BOOK
from benchmarks.workload import BEGIN_MS, EVENTS_PER_ORDER, mails
from domain.envelope import By
from domain.ids import RULEBOOK_KEY
from domain.mail import Mail
from domain.rulebook import ChangeRules
from runners.settings import BATCH_MESSAGES

DAY = "2026-11-05"
ROUNDS = 3
OF_RULES = 1
"""Events of an order that the rules add: its promise."""


def _ruled(orders: int) -> Iterator[Mail]:
    change = ChangeRules("bench", BOOK.read_text(encoding="utf-8"), "what it costs")
    return chain([Mail(RULEBOOK_KEY, change, BEGIN_MS, By("person", "o-1", "operations"), "bench")], mails(orders, DAY))


def measure(orders: int, batch_messages: int = BATCH_MESSAGES) -> dict[str, Any]:
    """Drain without and with rules, in turn."""
    plain: list[int] = []
    ruled: list[int] = []
    for _ in range(ROUNDS):
        without = asyncio.run(drained(mails(orders, DAY), orders, batch_messages, EVENTS_PER_ORDER))
        events = EVENTS_PER_ORDER + OF_RULES
        with_them = asyncio.run(drained(_ruled(orders), orders, batch_messages, events))
        plain.append(without["orders_per_s"])
        ruled.append(with_them["orders_per_s"])
    return {
        "orders": orders,
        "plain_orders_per_s": plain,
        "ruled_orders_per_s": ruled,
        "ratio_ruled": round(median(ruled) / median(plain), 3),
        "batch_messages": batch_messages,
        **machine(),
    }
