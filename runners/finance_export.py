"""The hand-over to finance: one row for each order of a day, with the invoice's type as a field of its own.

The ERP's twelve fields stay as they are: an ERP that knows twelve keeps twelve. What finance needs besides is here,
from log and statements. Title, tax number and address of an invoice are personal: they stay sealed, and are left out.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from adapters.erp.outlets import harmless
from domain.catalogue import decode_event
from domain.decider import fold
from domain.ids import parts_of
from domain.matching import Money, day_of
from domain.money import format_minor
from domain.order import Order, OrderAmended, OrderNormalized, order
from runners.matching import AT_ONCE, money_of

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
_VIEWS: Final = frozenset({"order.normalized", "order.amended"})


def rows(log: "EventLog", views: "ReadModels", day: str) -> Iterator[dict[str, str]]:
    """Walk the orders that were paid or refunded on a day (YYYY-MM-DD, by the platforms' clock)."""
    keys = sorted(views.finance_days([day]))
    for start in range(0, len(keys), AT_ONCE):
        part = keys[start : start + AT_ONCE]
        money = money_of(log, part)
        said = _sums(views.finance_lines(part))
        differing: dict[str, int] = defaultdict(int)
        for row in views.finance_differences(state="open"):
            differing[row["key"]] += 1
        for key, loaded in log.select_many(part, snapshots=False).items():
            mine = money[key]
            if day not in (day_of(mine.paid_ms), day_of(mine.refund_ms)) or not (mine.received or mine.given_back):
                continue
            facts = [decode_event(each.tag, each.data) for each in loaded.events]
            yield _row(day, key, mine, facts, said.get(key, {}), differing[key])


def write(file: Path, found: Iterator[dict[str, str]]) -> int:
    """Write rows as CSV that spreadsheets read (UTF-8 with a byte order mark), and return how many there are.

    Raises:
        FileExistsError: the file is there already.
        OSError: it cannot be written.
    """
    count = 0
    with file.open("x", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS)
        writer.writeheader()
        for row in found:
            writer.writerow({name: harmless(value) for name, value in row.items()})
            count += 1
    return count


def _row(
    day: str, key: str, money: Money, facts: Sequence[Any], said: Mapping[str, int], differing: int
) -> dict[str, str]:
    channel, shop, number = parts_of(key)
    state: Order = fold(order, facts)
    view = next((fact.snapshot for fact in reversed(facts) if isinstance(fact, OrderNormalized | OrderAmended)), None)
    currency = money.currency or "CNY"
    amounts = {
        "paid": money.received,
        "refunded": money.given_back,
        **{f"statement_{name}": said.get(kind, 0) for name, kind in _KINDS},
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


def _sums(lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Mapping[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in lines:
        found[line["key"]][line["kind"]] += line["amount"]
    return found
