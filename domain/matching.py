"""The three-way match: what an order's log says of money and goods, held against what statements say.

Pure: the same facts, in any order, give the same findings. What is only late (money that the next day's statement
will show, a settlement that follows the trade by days) is told apart from what is wrong, and is gone by itself once the
later statement is there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from domain.after_sale import OrderRefunded
from domain.decider import Event
from domain.finance import Finding, Judged, Line
from domain.order import (
    DepositPaid,
    OrderAmended,
    OrderCancelled,
    OrderCompleted,
    OrderNormalized,
    OrderPaid,
    OrderShipped,
    PartiallyShipped,
)
from domain.payments import PaymentRecorded
from domain.time_units import DAY_MS, HOUR_MS

CLOCK_MS: Final = 8 * HOUR_MS
"""The clock that the platforms' days and statements go by: UTC+8, all year."""
_EPOCH: Final = date(1970, 1, 1)


class Reason(NamedTuple):
    """Why two figures differ, in words for people, and what to do."""

    chinese: str
    words: str
    action: str


REASONS: Final[Mapping[str, Reason]] = {
    "missing_in_statement": Reason(
        "账单缺失", "we know of a payment that no statement shows", "ask the channel for the payment by its number"
    ),
    "missing_in_log": Reason(
        "系统缺失",
        "a statement shows a payment of an order that we do not know, or know as unpaid",
        "pull the order (`orderspine channels reconcile`); if the channel has none, ask whose money it is",
    ),
    "amount_differs": Reason(
        "金额不符", "paid amounts differ", "compare discounts and freight; have the channel or the order corrected"
    ),
    "currency_differs": Reason("币种不符", "the currencies differ", "ask the channel which one was charged"),
    "refund_missing": Reason(
        "退款未出账", "we know of a refund that no statement shows", "see whether the refund went through; repeat it"
    ),
    "refund_not_in_log": Reason(
        "退款未入账", "a statement shows a refund that we do not know", "find its after-sale and record the refund"
    ),
    "fee_unknown": Reason(
        "未知费用", "the channel took money under a name that is not known", "ask what it is, and explain it here"
    ),
    "paid_not_shipped": Reason(
        "已付未发", "paid, and not shipped within the agreed days", "ship it, or cancel it and give the money back"
    ),
    "shipped_not_paid": Reason(
        "已发未付", "shipped, and neither the log nor a statement shows money", "stop the parcel, or collect the money"
    ),
    "duplicate_payment": Reason("重复支付", "the customer paid more than once", "give the second payment back"),
    "statement_contradicts": Reason(
        "账单矛盾", "two statements say different things of the same movement", "ask the channel which one is true"
    ),
    "settled_later": Reason(
        "在途", "not in a statement yet, and not late either", "nothing: the next statement resolves it"
    ),
}
"""All there are."""


def is_unexplained(difference: Mapping[str, Any]) -> bool:
    """Whether a difference, as it is shown (`state`, `reason`), wants an explanation: what is only late wants none."""
    return bool(difference["state"] == "open" and difference["reason"] != "settled_later")


class Tolerance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much is taken for equal, and how long for in time."""

    amount: int = 0
    """Minor units by which paid or refunded amounts of an order may differ."""
    settle_days: int = 10
    """Days from the end of a trade to its settlement, where a channel settles."""
    ship_days: int = 3
    """Days from the payment to the shipment."""


EXACT: Final = Tolerance()


class Money(msgspec.Struct, frozen=True, gc=False):
    """What the log says of one order's money and goods. Minor units; times in UTC ms, 0 = not so."""

    known: bool = False
    currency: str = ""
    owed: int = 0
    """By the channel's last view."""
    paid: int = 0
    paid_ms: int = 0
    on_delivery: bool = False
    """Whether the customer pays when the goods come."""
    moved: tuple[tuple[str, int], ...] = ()
    """(transaction, amount) of payments that payment services told of."""
    refunded: int = 0
    transferred: int = 0
    """Of that: by transfer (转账), which goes past the channel: no statement of its has to show it."""
    back: tuple[tuple[str, int], ...] = ()
    """(transaction, amount) of refunds that payment services told of."""
    refund_ms: int = 0
    """Of the last refund."""
    shipped_ms: int = 0
    done_ms: int = 0
    """When the trade was over: completed, or cancelled."""
    cancelled: bool = False

    @property
    def received(self) -> int:
        """What the customer paid, whoever told of it."""
        return max(self.paid, sum(amount for _, amount in self.moved))

    @property
    def given_back(self) -> int:
        """What he got back; of a cancelled order that is all he paid."""
        back = max(self.refunded, sum(amount for _, amount in self.back))
        return max(back, self.received) if self.cancelled else back


class Cover(NamedTuple):
    """Which days of a shop have statements that were read to their end."""

    payments: frozenset[str] = frozenset()
    """Days whose bill of payments is there."""
    settlements: frozenset[str] = frozenset()
    """Days whose settlement is there."""

    @property
    def last(self) -> str:
        """The last of them; "" where there are none."""
        return max(self.payments | self.settlements, default="")


# --- what the log says

_replace = msgspec.structs.replace


def _seen(money: Money, event: OrderNormalized | OrderAmended, _: int) -> Money:
    amounts = event.snapshot.amounts
    return _replace(money, known=True, currency=amounts.currency, owed=amounts.payable)


def _paid(money: Money, event: OrderPaid, _: int) -> Money:
    on_delivery = event.amount == 0
    return _replace(money, paid=event.amount, paid_ms=money.paid_ms or event.paid_ms, on_delivery=on_delivery)


def _recorded(money: Money, event: PaymentRecorded, _: int) -> Money:
    moved = (event.transaction, event.amount)
    if event.currency != money.currency:
        return money
    if event.kind == "paid":
        return _replace(money, moved=(*money.moved, moved), paid_ms=money.paid_ms or event.at_ms)
    return _replace(money, back=(*money.back, moved), refund_ms=max(money.refund_ms, event.at_ms))


def _shipped(money: Money, event: OrderShipped | PartiallyShipped, at_ms: int) -> Money:
    return _replace(money, shipped_ms=money.shipped_ms or event.shipped_ms or at_ms)


def _refunded(money: Money, event: OrderRefunded, at_ms: int) -> Money:
    transferred = money.transferred + (event.amount if event.method == "transfer" else 0)
    refunded, refund_ms = money.refunded + event.amount, max(money.refund_ms, at_ms)
    return _replace(money, refunded=refunded, transferred=transferred, refund_ms=refund_ms)


def _cancelled(money: Money, _: OrderCancelled, at_ms: int) -> Money:
    refund_ms = max(money.refund_ms, at_ms) if money.received else money.refund_ms
    return _replace(money, cancelled=True, done_ms=at_ms, refund_ms=refund_ms)


TELLS: Final[Mapping[type[Event], Callable[[Money, Any, int], Money]]] = {
    OrderNormalized: _seen,
    OrderAmended: _seen,
    OrderPaid: _paid,
    DepositPaid: lambda money, event, at_ms: _replace(money, paid=event.amount, paid_ms=money.paid_ms or at_ms),
    PaymentRecorded: _recorded,
    OrderRefunded: _refunded,
    PartiallyShipped: _shipped,
    OrderShipped: _shipped,
    OrderCompleted: lambda money, event, _: _replace(money, done_ms=event.completed_ms),
    OrderCancelled: _cancelled,
}
"""Events that say something of money or goods."""


def evolve(money: Money, event: Event, at_ms: int) -> Money:
    """Return what is known after an event that happened at `at_ms`, UTC ms."""
    tell = TELLS.get(type(event))
    return money if tell is None else tell(money, event, at_ms)


# --- days


def day_of(at_ms: int) -> str:
    """Return the day of an instant by the platforms' clock, YYYY-MM-DD."""
    return _named((at_ms + CLOCK_MS) // DAY_MS)


@lru_cache(maxsize=1024)
def _named(days: int) -> str:
    """Return the name of the day that is so many behind 1970-01-01: many events are of few days."""
    return (_EPOCH + timedelta(days=days)).isoformat()


def days_after(day: str, days: int) -> str:
    """Return the day so many days behind (or before) another."""
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


# --- the match


class _Sums(NamedTuple):
    """What statements say of one order."""

    paid: int
    subsidy: int
    refunded: int
    payments: int
    """How many there are."""


def judge(
    order: str, money: Money, lines: Iterable[Line], cover: Cover, today: str, tolerance: Tolerance = EXACT
) -> Judged:
    """Compare one order.

    Args:
        order: its key.
        money: what the log says.
        lines: all that statements say of it, contradicting lines included.
        cover: which days have statements.
        today: the day by which lateness is judged, YYYY-MM-DD.
        tolerance: what is taken for equal and in time.
    """
    said: dict[str, list[Line]] = {}
    for line in sorted(set(lines)):
        said.setdefault(line.id, []).append(line)
    found: list[Finding] = []
    for name, variants in said.items():
        if len(variants) > 1:
            amounts = " / ".join(f"{each.kind} {each.amount} {each.currency}" for each in variants)
            first = variants[0]
            found.append(
                Finding("statement_contradicts", 0, first.amount, first.currency, name, f"statements say {amounts}")
            )
    true = [variants[-1] for variants in said.values()]
    found += [_unknown(line) for line in true if line.kind == "unknown"]
    foreign = [line for line in true if money.currency and line.currency != money.currency]
    if foreign:
        evidence = f"{money.currency} in the log, {foreign[0].currency} in the statement"
        found.append(Finding("currency_differs", money.received, foreign[0].amount, foreign[0].currency, "", evidence))
    else:
        found += _compared(money, true, cover, today, tolerance)
    first_ms = money.paid_ms or min((line.at_ms for line in true), default=0)
    return Judged(order, day_of(first_ms) if first_ms else today, tuple(found))


def judge_line(line: Line) -> Judged:
    """Judge a line that is of no order: only what is not known by its name is a difference."""
    return Judged(f"line-{line.id}", day_of(line.at_ms), (_unknown(line),) if line.kind == "unknown" else ())


def _unknown(line: Line) -> Finding:
    return Finding("fee_unknown", 0, line.amount, line.currency, line.id, line.word)


def _compared(money: Money, lines: Sequence[Line], cover: Cover, today: str, tolerance: Tolerance) -> Sequence[Finding]:
    payments = [line.amount for line in lines if line.kind == "paid"]
    sums = _Sums(
        sum(payments),
        sum(line.amount for line in lines if line.kind == "subsidy"),
        sum(line.amount for line in lines if line.kind == "refunded"),
        len(payments),
    )
    currency = money.currency or next((line.currency for line in lines), "")
    found: list[Finding] = []
    if not _same_after_all(money, sums, cover, tolerance):
        paid = _payment(money, sums, payments, cover, tolerance)
        unseen = paid is not None and not sums.payments
        refund = None if unseen else _refund(money, sums, cover, tolerance)
        found += [each for each in (paid, refund) if each is not None]
    goods = _goods(money, sums, cover, today, tolerance)
    if goods is not None:
        found.append(goods)
    return [msgspec.structs.replace(each, currency=currency) for each in found]


def _same_after_all(money: Money, sums: _Sums, cover: Cover, tolerance: Tolerance) -> bool:
    """Whether only what is left counts, and is the same: a channel that settles leaves out what went back before."""
    if not cover.settlements:
        return False
    ours, theirs = money.received - money.given_back, sums.paid - sums.refunded
    return any(abs(ours - each) <= tolerance.amount for each in (theirs, theirs + sums.subsidy)) and (
        ours == 0 or sums.payments > 0
    )


def _payment(money: Money, sums: _Sums, payments: Sequence[int], cover: Cover, tolerance: Tolerance) -> Finding | None:
    ours = money.received
    if not sums.payments:
        return _unseen(money, ours, cover, tolerance) if ours else None
    if any(abs(ours - each) <= tolerance.amount for each in (sums.paid, sums.paid + sums.subsidy)):
        return None
    if not money.known or not (ours or money.on_delivery):
        known = "known as unpaid" if money.known else "not known"
        return Finding("missing_in_log", ours, sums.paid, evidence=f"the order is {known}")
    if money.on_delivery:
        return None
    if sums.payments > 1 and sums.paid - ours in payments:
        return Finding("duplicate_payment", ours, sums.paid, evidence=f"{sums.payments} payments in statements")
    return Finding("amount_differs", ours, sums.paid, evidence=f"subsidy {sums.subsidy}" if sums.subsidy else "")


def _unseen(money: Money, ours: int, cover: Cover, tolerance: Tolerance) -> Finding | None:
    """Judge a payment that no statement shows: late, or missing, or nothing that can be known yet."""
    if cover.settlements:
        if not money.done_ms or money.cancelled:
            return None
        start, due = day_of(money.done_ms), days_after(day_of(money.done_ms), tolerance.settle_days)
        return _late(Finding("missing_in_statement", ours, 0), start, due, cover.settlements)
    start = day_of(money.paid_ms)
    return _late(Finding("missing_in_statement", ours, 0), start, days_after(start, 1), cover.payments)


def _refund(money: Money, sums: _Sums, cover: Cover, tolerance: Tolerance) -> Finding | None:
    ours, theirs = money.given_back, sums.refunded
    if any(abs(each - theirs) <= tolerance.amount for each in (ours, ours - money.transferred)):
        return None
    if theirs > ours:
        return Finding("refund_not_in_log", ours, theirs)
    if cover.settlements and not sums.payments:
        return None  # what goes back before the settlement is in no settlement
    days = cover.settlements or cover.payments
    start = day_of(money.refund_ms)
    due = days_after(start, tolerance.settle_days if cover.settlements else 1)
    return _late(Finding("refund_missing", ours, theirs), start, due, days)


def _late(finding: Finding, start: str, due: str, days: frozenset[str]) -> Finding | None:
    """Return the finding where all days in which it could have shown have statements.

    Where only the first ones have, it may still come; where not even the first one has, nothing can be said.
    """
    if start not in days:
        return None
    day = start
    while day < due:
        day = days_after(day, 1)
        if day not in days:
            return Finding("settled_later", finding.ours, finding.theirs, evidence=f"expected by {due}")
    return finding


def _goods(money: Money, sums: _Sums, cover: Cover, today: str, tolerance: Tolerance) -> Finding | None:
    if money.shipped_ms:
        if money.received or sums.paid or money.cancelled or not money.owed:
            return None
        left = day_of(money.shipped_ms)
        unpaid = Finding("shipped_not_paid", 0, 0, evidence=f"shipped on {left}")
        if not money.on_delivery:
            return unpaid
        return _late(unpaid, left, days_after(left, tolerance.settle_days), cover.settlements or cover.payments)
    paid = money.received - money.given_back
    if paid <= 0 or money.cancelled or money.done_ms:
        return None
    due = days_after(day_of(money.paid_ms), tolerance.ship_days)
    return Finding("paid_not_shipped", paid, sums.paid, evidence=f"due on {due}") if today > due else None
