"""Payments as payment services tell them: idempotent by transaction id for ever, judged against what is owed.

A sub-state of the order. It holds every movement of money that was told; what follows for the order (paid, deposit
paid, refunded, a question for finance) is worked out anew from all of them and from what the channel says now, so
notices and snapshots may come late, doubled, in any order, and end alike.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from domain.canonical import Amounts
from domain.decider import Command, DomainError, Event
from domain.money import AMOUNT_MAX, MINOR_DIGITS, format_minor
from domain.timehub import MS_MAX, MS_MIN, YEAR_MAX, YEAR_MIN

Kind = Literal["paid", "failed", "timed_out", "refunded", "refund_failed"]
NUMBER_MAX = 128
MOVEMENTS_MAX = 200
"""Most movements of money of one order; more is a loop, and is refused."""

MISMATCH = "amount_mismatch"
LATE = "paid_after_cancelling"
TAKEN_BACK = "refunded_before_shipping"
STUCK = "refund_failed"
REASONS: tuple[str, ...] = (MISMATCH, LATE, TAKEN_BACK, STUCK)
"""Of the interceptions that ask finance."""


class RecordPayment(Command, frozen=True):
    """A payment service, or a person of finance, tells of money that moved or did not."""

    command_id: str
    transaction: str
    """The service's own number of this movement (of a refund: the refund's); the same one counts once."""
    amount: int
    """Minor units, > 0."""
    currency: str
    """ISO 4217."""
    kind: Kind
    at_ms: int
    """When it happened by the service's clock, UTC ms."""
    service: str = ""
    """Name of the connection in `payments.json`; "" where a person tells it."""
    payment: str = ""
    """Of a refund: the payment it gives back."""


class SettlePayments(Command, frozen=True):
    """In-turn: what was paid so far means something for the order."""


# --- events


class PaymentRecorded(Event, frozen=True):
    """Money moved: it was paid, or given back. `amount` is in minor units."""

    transaction: str
    kind: Kind
    amount: int
    currency: str
    at_ms: int
    service: str = ""
    payment: str = ""
    command: str = ""


class PaymentFailed(Event, frozen=True):
    """Money did not move: a payment or a refund failed, or was not made in time. `amount` is in minor units."""

    transaction: str
    kind: Kind
    amount: int
    currency: str
    at_ms: int
    service: str = ""
    payment: str = ""
    command: str = ""


EVENTS: tuple[type[Event], ...] = (PaymentRecorded, PaymentFailed)


# --- refusals


class BadPayment(DomainError):
    """A movement of money without number, amount or currency."""


class TransactionDiffers(DomainError):
    """The same transaction was told before, of another amount or another kind."""


class TooManyMovements(DomainError):
    """More was told of the order's money than any order lives through."""


# --- state


class Movement(msgspec.Struct, frozen=True, gc=False):
    """One movement of money, by its last word."""

    transaction: str
    kind: Kind
    amount: int
    currency: str
    at_ms: int
    by_hand: bool = False
    """Whether a person told of it, and no payment service."""


class Payments(msgspec.Struct, frozen=True, gc=False):
    """All that payment services told of an order."""

    movements: tuple[Movement, ...] = ()
    refunded: int = 0
    """Sum of what the order's refunds amount to so far, whoever told them."""
    transferred: int = 0
    """Of that: what people paid back for after-sales by transfer. No payment service tells of it."""
    accepted: tuple[str, ...] = ()
    """Interceptions of `REASONS` that a person has released: the question is answered."""


NO_PAYMENTS = Payments()
_replace = msgspec.structs.replace


def evolve(state: Payments, event: Event) -> Payments:
    """Return the state after an event of `EVENTS`."""
    assert isinstance(event, PaymentRecorded | PaymentFailed)
    told = Movement(event.transaction, event.kind, event.amount, event.currency, event.at_ms, by_hand=not event.service)
    others = tuple(each for each in state.movements if each.transaction != event.transaction)
    return _replace(state, movements=(*others, told))


def given_back(state: Payments, amount: int, *, transfer: bool) -> Payments:
    """Return the state after a refund of the order was recorded."""
    if not amount:
        return state
    transferred = state.transferred + amount if transfer else state.transferred
    return _replace(state, refunded=state.refunded + amount, transferred=transferred)


def resolved(state: Payments, interception: str, decision: str, command: str) -> Payments:
    """Return the state after an interception ended: what a person released is not asked again."""
    if decision != "release" or not command or not interception.startswith(REASONS):
        return state
    return _replace(state, accepted=(*state.accepted, interception))


# --- decisions


def record(command: RecordPayment, state: Payments) -> Event | None:
    """Return the event of a movement that is new; None where it was told before.

    Raises:
        BadPayment, TransactionDiffers, TooManyMovements: it is refused.
    """
    if not command.transaction.strip() or len(command.transaction) > NUMBER_MAX or command.amount <= 0:
        raise BadPayment(
            f"a movement of money has a number (at most {NUMBER_MAX} characters) and an amount above nothing"
        )
    if command.amount > AMOUNT_MAX or not MS_MIN <= command.at_ms <= MS_MAX:
        raise BadPayment(
            f"money moves by at most {AMOUNT_MAX:,} minor units, in one of the years {YEAR_MIN} to {YEAR_MAX}"
        )
    if command.currency not in MINOR_DIGITS:
        raise BadPayment(f"{command.currency[:10]!r} is no currency (ISO 4217)")
    known = next((each for each in state.movements if each.transaction == command.transaction), None)
    if known is not None:
        if _is_refund(known.kind) is not _is_refund(command.kind):
            raise TransactionDiffers(f"transaction {command.transaction} was told as {known.kind} before")
        if (known.amount, known.currency) != (command.amount, command.currency):
            raise TransactionDiffers(
                f"transaction {command.transaction} was told before of {_money(known.amount, known.currency)}, "
                f"now of {_money(command.amount, command.currency)}; ask the payment service which is true"
            )
        if _moved(known.kind) or (not _moved(command.kind) and known.kind == command.kind):
            return None  # what has moved has moved, whatever comes late
    elif len(state.movements) >= MOVEMENTS_MAX:
        raise TooManyMovements(f"{MOVEMENTS_MAX} movements of money are known of this order already")
    kind = PaymentRecorded if _moved(command.kind) else PaymentFailed
    return kind(
        command.transaction,
        command.kind,
        command.amount,
        command.currency,
        command.at_ms,
        command.service,
        command.payment,
        command.command_id,
    )


def _is_refund(kind: Kind) -> bool:
    return kind in ("refunded", "refund_failed")


def _moved(kind: Kind) -> bool:
    return kind in ("paid", "refunded")


def received(state: Payments, currency: str) -> int:
    """Return what was paid in a currency, as far as it was told, minor units."""
    return sum(each.amount for each in state.movements if each.kind == "paid" and each.currency == currency)


class Stand(NamedTuple):
    """What must be known of the order to judge its payments."""

    status: str
    presale: bool
    amounts: Amounts
    deposit: int
    """Deposit that is known to be paid, minor units."""
    channel_refunds: int
    """What the channel's own view says was refunded, by lines, minor units."""


class Question(NamedTuple):
    """What finance must look at."""

    interception: str
    """Names the question by its figures: other figures are another question."""
    reason: str
    evidence: str
    advice: str


class Verdict(NamedTuple):
    """What all movements together mean."""

    paid: int = 0
    """The order is paid with this much; 0 = it is not, or was before."""
    paid_ms: int = 0
    deposit: int = 0
    """The deposit that is paid now; 0 = nothing new."""
    refund: int = 0
    """Refunded beyond what is recorded."""
    reference: str = ""
    """Of the last refund."""
    questions: tuple[Question, ...] = ()


NOTHING = Verdict()


def judge(state: Payments, stand: Stand) -> Verdict:
    """Work out what the movements of money mean for an order that stands so."""
    currency = stand.amounts.currency
    payable = stand.amounts.payable
    paid = [each for each in state.movements if each.kind == "paid"]
    own = [each for each in paid if each.currency == currency]
    received = sum(each.amount for each in own)
    backs = [each for each in state.movements if each.kind == "refunded" and each.currency == currency]
    back = sum(each.amount for each in backs)
    asked = list(_stuck(state))
    verdict = NOTHING
    if stand.status in _BEFORE_SHIPPING and paid and len(own) < len(paid):
        asked.append(_mismatch(paid, received, stand, "paid in another currency"))
    elif stand.status in _BEFORE_SHIPPING and received > payable:
        asked.append(_mismatch(paid, received, stand, "more than is owed"))
    elif stand.status in _BEFORE_SHIPPING and 0 < received < payable and not stand.presale:
        asked.append(_mismatch(paid, received, stand, "less than is owed"))
    if stand.status == "awaiting_payment":
        accepted = any(each.reason == MISMATCH and each.interception in state.accepted for each in asked)
        if (received and received >= payable) or (paid and accepted):
            # What finance took in another currency was taken for the price.
            verdict = Verdict(paid=received or payable, paid_ms=max(each.at_ms for each in own or paid))
        elif received > stand.deposit and stand.presale:
            verdict = Verdict(deposit=received)
    elif stand.status == "cancelled" and (here := _kept(state)):
        others = "".join(f"+{amount}{code}" for code, amount in here.items() if code != currency)
        told = " and ".join(_money(amount, code) for code, amount in here.items())
        asked.append(
            Question(
                f"{LATE}-{received}-{back}{currency}{others}",
                LATE,
                f"the order is cancelled; {told} of the customer's money are here",
                "refund it, or have it ordered again; its refund lifts this by itself",
            )
        )
    elif stand.status in ("paid", "allocating") and back and back >= (received or payable):
        asked.append(
            Question(
                f"{TAKEN_BACK}-{back}{currency}",
                TAKEN_BACK,
                f"{_money(back, currency)} were given back, and the goods have not left",
                "cancel the order; release it only if the goods are a present",
            )
        )
    # A transfer that people recorded may be told by hand as well; what a service tells of is other money.
    again = min(sum(each.amount for each in backs if each.by_hand), state.transferred)
    news = max(back - again + state.transferred, stand.channel_refunds)
    refund = news - state.refunded if backs else 0
    return verdict._replace(
        refund=max(refund, 0),
        reference=max(backs, key=lambda each: (each.at_ms, each.transaction)).transaction if refund > 0 else "",
        questions=tuple(each for each in asked if each.interception not in state.accepted),
    )


def _kept(state: Payments) -> dict[str, int]:
    """Return currency → minor units that were paid and not given back, where there are any."""
    sums: dict[str, int] = {}
    for each in state.movements:
        if _moved(each.kind):
            sums[each.currency] = sums.get(each.currency, 0) + (each.amount if each.kind == "paid" else -each.amount)
    return {code: amount for code, amount in sorted(sums.items()) if amount > 0}


_BEFORE_SHIPPING = ("awaiting_payment", "paid", "allocating")


def _mismatch(paid: Sequence[Movement], received: int, stand: Stand, what: str) -> Question:
    currency, payable = stand.amounts.currency, stand.amounts.payable
    foreign = sorted((each.currency, each.amount) for each in paid if each.currency != currency)
    others = "".join(f"+{amount}{code}" for code, amount in foreign)
    told = [_money(received, currency), *(_money(amount, code) for code, amount in foreign)]
    return Question(
        f"{MISMATCH}-{received}{others}of{payable}{currency}",
        MISMATCH,
        f"{what}: {' and '.join(told)} of {_money(payable, currency)}, in {len(paid)} payment(s)",
        "ask customer and payment service; refund what is too much, or release to take it as it is",
    )


def _stuck(state: Payments) -> Sequence[Question]:
    return [
        Question(
            f"{STUCK}-{each.transaction}",
            STUCK,
            f"refund {each.transaction} of {_money(each.amount, each.currency)} did not reach the customer",
            "give the money back in another way; a later success of the same refund lifts this by itself",
        )
        for each in state.movements
        if each.kind == "refund_failed"
    ]


def open_questions(verdict: Verdict, interceptions: Sequence[tuple[str, str]]) -> tuple[list[Question], list[str]]:
    """Return (questions that are not asked yet, interceptions that ask what is no question any more)."""
    wanted = {each.interception for each in verdict.questions}
    known = {name for name, reason in interceptions if reason in REASONS}
    return [each for each in verdict.questions if each.interception not in known], sorted(known - wanted)


def unsettled(verdict: Verdict, interceptions: Sequence[tuple[str, str]]) -> bool:
    """Whether something follows from the movements of money that is not recorded yet."""
    return bool(verdict.paid or verdict.deposit or verdict.refund or any(open_questions(verdict, interceptions)))


def _money(amount: int, currency: str) -> str:
    return f"{format_minor(amount, currency)} {currency}"
