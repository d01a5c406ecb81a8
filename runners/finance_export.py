"""The hand-over to finance: one row for each order of a day, with the invoice's type as a field of its own.

The ERP's twelve fields stay as they are: an ERP that knows twelve keeps twelve. What finance needs besides is here,
from log and statements. Title, tax number and address of an invoice are personal: they stay sealed, and are left out.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from adapters.erp.outlets import harmless
from domain.after_sale import OrderRefunded
from domain.catalogue import decode_event
from domain.decider import fold
from domain.ids import parts_of
from domain.matching import Money, day_of
from domain.matching import evolve as tell
from domain.money import format_minor
from domain.order import DepositPaid, Order, OrderAmended, OrderCancelled, OrderNormalized, OrderPaid, order
from domain.payments import PaymentRecorded
from projections.base import observed_at_of
from runners.exporting.whole_file import WholeFile
from runners.matching import AT_ONCE

if TYPE_CHECKING:
    from adapters.storage.read_models import ReadModels
    from domain.ports import EventLog

FIELDS: Final = (
    "day",
    "channel",
    "shop",
    "order_no",
    "status",
    "currency",
    "paid",
    "refunded",
    "invoice_type",
    "statement_paid",
    "statement_refunded",
    "statement_subsidy",
    "statement_fees",
    "open_differences",
)
"""Columns, in their order. Amounts are decimals of the currency."""
INVOICE: Final = "invoice_type"


def rows(log: "EventLog", views: "ReadModels", day: str) -> Iterator[dict[str, str]]:
    """Walk the orders that were paid or refunded on a day (YYYY-MM-DD, by the platforms' clock)."""
    keys = sorted(views.finance_days([day]))
    differing = Counter(row["key"] for row in views.finance_differences(state="open"))
    for start in range(0, len(keys), AT_ONCE):
        part = keys[start : start + AT_ONCE]
        said = _sums(views.finance_lines(part))
        for key, loaded in log.select_many(part, snapshots=False).items():
            facts = [decode_event(each.tag, each.data) for each in loaded.events]
            money = Money()
            moved: set[str] = set()
            for fact, event in zip(facts, loaded.events, strict=True):
                at_ms = observed_at_of(event.envelope)
                money = tell(money, fact, at_ms)
                if isinstance(fact, _MOVES) and (money.received or money.given_back):
                    moved.add(day_of(getattr(fact, "paid_ms", 0) or getattr(fact, "at_ms", 0) or at_ms))
            if day in moved:
                yield _row(day, key, money, facts, said.get(key, {}), differing[key])


_MOVES: Final = (OrderPaid, DepositPaid, PaymentRecorded, OrderRefunded, OrderCancelled)
"""Events by which money moved, each at its own time, else when it was observed; a cancelled order gives it back."""


def write(file: Path, found: Iterator[dict[str, str]]) -> int:
    """Write rows as CSV that spreadsheets read (UTF-8 with a byte order mark), all or none; return how many there are.

    Raises:
        FileExistsError, NoPlainFile: something is there already.
        OSError: it cannot be written.
    """
    count = 0
    with WholeFile(file) as whole, whole.part.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS)
        writer.writeheader()
        for row in found:
            writer.writerow({name: harmless(value) for name, value in row.items()})
            count += 1
    return count


def _row(
    day: str, key: str, money: Money, facts: Sequence[Any], said: Mapping[tuple[str, str], int], differing: int
) -> dict[str, str]:
    channel, shop, number = parts_of(key)
    state: Order = fold(order, facts)
    view = next((fact.snapshot for fact in reversed(facts) if isinstance(fact, OrderNormalized | OrderAmended)), None)
    currency = money.currency or "CNY"
    amounts = {
        "paid": money.received,
        "refunded": money.given_back,
        **{f"statement_{name}": said.get((kind, currency), 0) for name, kind in _KINDS},
    }
    return {
        "day": day,
        "channel": channel,
        "shop": shop,
        "order_no": number,
        "status": state.status,
        "currency": currency,
        **{name: format_minor(amount, currency) for name, amount in amounts.items()},
        INVOICE: str(view.attributes.get(INVOICE, "")) if view is not None else "",
        "open_differences": str(differing),
    }


_KINDS: Final = (("paid", "paid"), ("refunded", "refunded"), ("subsidy", "subsidy"), ("fees", "fee"))


def _sums(lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Mapping[tuple[str, str], int]]:
    """Return order → (kind, currency) → minor units."""
    # Where statements contradict each other, the movement that the match goes by (`domain.matching.judge`): the last.
    true = {(line["key"], line["line"]): line for line in sorted(lines, key=itemgetter("kind", "amount", "currency"))}
    found: dict[str, dict[tuple[str, str], int]] = defaultdict(lambda: defaultdict(int))
    for line in true.values():
        found[line["key"]][line["kind"], line["currency"]] += line["amount"]
    return found
