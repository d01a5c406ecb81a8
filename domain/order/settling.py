"""Decisions: what acts outside, carriers and payment services report; and who must be forgotten."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain import payments, tracking
from domain.after_sale import OrderRefunded
from domain.decider import Command, Event
from domain.erasure import (
    AwaitForget,
    DropMessage,
    Forget,
    OrderForgettingAwaited,
    OrderForgettingWithdrawn,
    OrderForgotten,
    OrderIsForgotten,
    StopAwaiting,
)
from domain.order.approving import ask_approvals
from domain.order.basics import COMPLETE_TIMER, Effects
from domain.order.commands import PAUSING, RecordEffect
from domain.order.events import (
    DepositPaid,
    EffectFailed,
    EffectSucceeded,
    InterceptionResolved,
    OrderCompleted,
    OrderIntercepted,
    OrderPaid,
    TimerCleared,
    TimerSet,
)
from domain.order.questions import arrived, over, verdict
from domain.order.refusals import UnnamedEffect
from domain.order.risks import look_for_flaws, look_for_risks
from domain.order.state import Order
from domain.order.steps import Steps, issue_pick_lists, note_paid, note_promise
from domain.rulings import Ruling


def _record_effect(command: RecordEffect, state: Order, now_ms: int) -> Sequence[Event]:
    """Record a report, in any state of the order; an act that is given up may stop the order until it succeeds."""
    found = reported(command, state.effects)
    if not found:
        return ()
    name = f"{EFFECT_FAILED}-{command.effect}-{command.key.rpartition('@')[2]}"
    if isinstance(found[0], EffectSucceeded):
        steps = Steps(state)
        steps.add(found[0])
        if name in dict(state.interceptions):
            steps.add(InterceptionResolved(name, "succeeded"))
            issue_pick_lists(steps)
        return steps
    pauses = command.then == "intercept" or (not command.then and command.effect in PAUSING)
    if not command.final or not pauses or state.status in ("", "completed", "cancelled"):
        return found
    if name in dict(state.interceptions):
        return found
    evidence = f"{command.effect} failed after {command.tries} tries: {command.reason}"[:EVIDENCE_MAX]
    advice = "repair the cause and have it tried again (orderspine effects retry); or do it by hand and release"
    return (*found, OrderIntercepted(name, EFFECT_FAILED, evidence, advice, "operations", now_ms))


def reported(command: RecordEffect, effects: Effects) -> Sequence[EffectSucceeded | EffectFailed]:
    """Return what a report says beyond the one before; what has succeeded stays so.

    Raises:
        UnnamedEffect: it does not say of what act it is.
    """
    effect, key, tries = command.effect, command.key, command.tries
    if not effect or not key:
        raise UnnamedEffect("an effect's outcome needs the effect's name and its key")
    done, known, ended = next((stands for *name, stands in effects if name == [effect, key]), (False, -1, False))
    if done:
        return ()
    if command.outcome == "succeeded":
        return (EffectSucceeded(effect, key, command.reference, tries),)
    # Tries are counted anew where the runner lost its notes, or a person has it tried again: an end is an end all the
    # same, unless it is the one that is known.
    if tries <= known and (not command.final or (tries == known and ended)):
        return ()
    return (EffectFailed(effect, key, command.reason, command.reference, tries, command.final),)


EFFECT_FAILED = "effect_failed"
EVIDENCE_MAX = 500


def _record_track(command: tracking.RecordTrack, state: Order, now_ms: int) -> Sequence[Event]:
    """Keep what a carrier tells, and have service look at a parcel that does not arrive."""
    tracked, failed = tracking.record(command, state.tracking, now_ms)
    if tracked is None:
        return ()
    steps = Steps(state)
    steps.add(tracked)
    name = f"{DELIVERY_FAILED}-{tracked.tracking}-"
    parcel = next(each for each in steps.state.tracking.parcels if each.tracking == tracked.tracking)
    if failed is not None or parcel.state not in tracking.FAILURES:
        decision = "superseded" if failed is not None else "moved_on"
        steps.add(*(InterceptionResolved(each, decision) for each, _ in state.interceptions if each.startswith(name)))
    if failed is not None:
        means, advice = tracking.FAILURES[failed.state]
        evidence = f"parcel {failed.tracking} ({failed.carrier}): {means}"
        stopped = (DELIVERY_FAILED, evidence, advice, "service", now_ms)
        steps.add(failed, OrderIntercepted(f"{name}{failed.at_ms}", *stopped))
    issue_pick_lists(steps)
    return steps


DELIVERY_FAILED = "delivery_failed"


def _settle_delivery(command: tracking.SettleDelivery, state: Order, now_ms: int) -> Sequence[Event]:
    """Note that everything was signed for; complete the order when the time to object is over."""
    del command
    steps = Steps(state)
    if arrived(state):
        delivered_ms = tracking.signed_ms(state.tracking)
        steps.add(tracking.OrderDelivered(delivered_ms))
        if COMPLETE_TIMER in dict(state.timers):
            steps.add(TimerCleared(COMPLETE_TIMER, fired=False))
        if state.status == "shipped":
            steps.add(TimerSet(COMPLETE_TIMER, min(delivered_ms, now_ms) + tracking.COMPLETE_AFTER_MS))
    elif over(state):
        steps.add(OrderCompleted(now_ms))
    return steps


def _record_payment(command: payments.RecordPayment, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    told = payments.record(command, state.payments)
    return () if told is None else (told,)


def _settle_payments(command: payments.SettlePayments, state: Order, now_ms: int) -> Sequence[Event]:
    """Follow what was paid and given back, and ask finance about what does not add up."""
    del command
    steps = Steps(state)
    found = verdict(state)
    currency = state.amounts.currency
    if found.deposit:
        steps.add(DepositPaid(found.deposit, currency))
    if found.paid:
        note_paid(steps, OrderPaid(found.paid, currency, found.paid_ms))
        terms = state.ruled.when_paid
        if terms is not None:
            note_promise(steps, terms.promise, terms.rules, now_ms)
            look_for_flaws(steps, terms.flaws, now_ms)
            ask_approvals(steps, Ruling(terms.rules, forms=terms.forms), now_ms)
    if found.refund:
        steps.add(OrderRefunded((), found.refund, found.reference))
    asked, answered = payments.open_questions(verdict(steps.state), state.interceptions)
    steps.add(*(InterceptionResolved(name, "settled") for name in answered))
    for each in asked:
        told = (each.interception, each.reason, each.evidence, each.advice)
        steps.add(OrderIntercepted(*told, "finance", now_ms))
    look_for_risks(steps, now_ms)
    issue_pick_lists(steps)
    return steps


def _forget(command: Forget, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    return () if state.forgotten else (OrderForgotten(command.request),)


def _await_forget(command: AwaitForget, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    known = state.forgotten or command.request in state.awaited
    return () if known else (OrderForgettingAwaited(command.request),)


def _stop_awaiting(command: StopAwaiting, state: Order, now_ms: int) -> Sequence[Event]:
    del now_ms
    return (OrderForgettingWithdrawn(command.request),) if command.request in state.awaited else ()


def _drop(command: DropMessage, state: Order, now_ms: int) -> Sequence[Event]:
    del command, state, now_ms
    raise OrderIsForgotten(
        "the person of this order was forgotten, and a message for it can neither be followed as it stands nor be kept"
    )


DECIDE: Mapping[type[Command], Callable[[Any, Order, int], Sequence[Event]]] = {
    Forget: _forget,
    AwaitForget: _await_forget,
    StopAwaiting: _stop_awaiting,
    DropMessage: _drop,
    RecordEffect: _record_effect,
    tracking.RecordTrack: _record_track,
    tracking.SettleDelivery: _settle_delivery,
    payments.RecordPayment: _record_payment,
    payments.SettlePayments: _settle_payments,
}
