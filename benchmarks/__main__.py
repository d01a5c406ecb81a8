"""`python -m benchmarks QUESTION [--orders N] [--json]`: day, drain, export, floor, intake, replay, rules and more."""

import argparse
import json
import logging
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import structlog
from rich.console import Console
from rich.table import Table

from runners.settings import BATCH_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Callable

QUESTIONS = {
    "day": "how soon are risks stopped and pushed on a day with faults, and what goes through by itself?",
    "drain": "how fast is a backlog drained, beside the floor and the library?",
    "export": "does an export need more memory where the log is ten times as long, and how fast is it?",
    "floor": "what is the least a durable, exactly-once pipeline costs?",
    "intake": "how many requests a second does the HTTP gateway answer, durable before the answer?",
    "kpis": "what do the KPIs add to the projector for each order?",
    "library": "how fast is the eventsourcing library's own Application?",
    "past": "how soon are past and proof of one order there in a long log? (--orders 125000: 1,000,001 events)",
    "replay": "how fast are states and read models rebuilt from the log?",
    "ruled": "what does the full rule book cost a drain, beside the same one without rules?",
    "tamper": "does the audit find every flipped bit and every act of an intruder, and name the order?",
    "rules": "what does judging an order by the full example rule book cost?",
}
TAMPERED_ORDERS = 120
"""Orders of the log that is tampered with, at most: it is verified whole, thousands of times."""
TARGETS = {
    **{
        f"{day}_{name}": target
        for day in ("reference", "all")
        for name, target in (
            ("false_stops", "0"),
            ("shipped_while_held", "0"),
            ("pushed_within_15_s_percent", "100"),
            ("pushed_p99_ms", "≤ 1,000"),
        )
    },
    "reference_pass_through_transitions": "≥ 99.2",
    "reference_pass_through_orders": "≥ 99.2",
    "ratio_to_library": "≥ 15 now, goal 30",
    "ratio_to_floor": "≥ 0.5 now, goal 0.7",
    "settled_to_floor": "≥ 0.3 now, goal 0.4",
    "states_events_per_s": "goal 100,000",
    "read_models_events_per_s": "goal 40,000",
    "kpi_fold_us_per_order": "≤ 15",
    "history_s": "≤ 1",
    "state_s": "≤ 1",
    "missed": "none",
    "typical_us_per_order": "≤ 30",
    **{f"{form}_growth_mib": "≤ 64" for form in ("ocel_json", "ocel_sqlite", "xes", "cloudevents", "epcis")},
    "ratio_ruled": "≥ 0.8",
}


def main() -> int:
    """Ask one question."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "question", choices=QUESTIONS, help="; ".join(f"{name}: {what}" for name, what in QUESTIONS.items())
    )
    parser.add_argument(
        "--orders", type=int, default=10_000, help="orders in the backlog, or of the day (default 10000)"
    )
    parser.add_argument(
        "--batch", type=int, default=BATCH_MESSAGES, help=f"messages of one commit (default {BATCH_MESSAGES})"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="intake: length of each case (default 10)")
    parser.add_argument("--connections", type=int, default=32, help="intake: clients at once (default 32)")
    parser.add_argument("--flips", type=int, default=10_000, help="tamper: flipped bits (default 10000)")
    parser.add_argument("--edits", type=int, default=1_000, help="tamper: acts of an intruder (default 1000)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    arguments = parser.parse_args()
    if min(arguments.orders, arguments.batch, arguments.seconds, arguments.connections) < 1:
        parser.error("--orders, --batch, --seconds and --connections need at least 1")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    measure: Callable[..., dict[str, Any]] = import_module(f"benchmarks.{arguments.question}").measure
    if arguments.question == "intake":
        figures = measure(arguments.seconds, arguments.connections)
    elif arguments.question == "tamper":
        figures = measure(min(arguments.orders, TAMPERED_ORDERS), arguments.flips, arguments.edits)
    elif arguments.question in ("day", "library", "rules"):
        figures = measure(arguments.orders)
    else:
        figures = measure(arguments.orders, arguments.batch)
    if arguments.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return 0
    table = Table("figure", "value", "target", title=f"{arguments.question}: {QUESTIONS[arguments.question]}")
    for name, value in figures.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int | float) else str(value), TARGETS.get(name, ""))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
