"""Decisions: what people do on an order, and what must be approved of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain import approvals, people
from domain.acts import Act
from domain.decider import Command, Event
from domain.erasure import OrderIsForgotten
from domain.order.basics import APPROVAL_TIMER, PAID
from domain.order.events import TimerCleared, TimerSet
from domain.order.questions import require_known, to_be_sent
from domain.order.state import Order
from domain.order.steps import Steps, issue_pick_lists
from domain.rulings import Ruling


def ask_approvals(steps: Steps, ruling: Ruling, now_ms: int) -> None:
    """Ask for what the rule book wants approved of a paid order, and again for what was approved of another one."""
    state = steps.state
    known = state.people.approvals
    if (ruling.forms or known.asked) and to_be_sent(state):
        forms = ruling.forms if state.status in PAID else ()
        subject = approvals.subject_of(state.lines, state.amounts)
        steps.add(*approvals.request_approvals(known, forms, ruling.rules, subject, now_ms))
    follow_approvals(steps)


def follow_approvals(steps: Steps) -> None:
    """Withdraw approvals that nothing is left for, and keep the timer at the next one that is due."""
    state = steps.state
    known = state.people.approvals
    if not known.asked:
        return
    if not to_be_sent(state):
        steps.add(*approvals.withdraw(known, "cancelled" if state.status == "cancelled" else "nothing_left"))
    due_ms = approvals.next_due(steps.state.people.approvals)
    set_ms = dict(state.timers).get(APPROVAL_TIMER)
    if set_ms != due_ms:
        if set_ms is not None:
            steps.add(TimerCleared(APPROVAL_TIMER, fired=False))
        if due_ms is not None:
            steps.add(TimerSet(APPROVAL_TIMER, due_ms))


def _act(command: Act, state: Order, now_ms: int) -> Sequence[Event]:
    """What people do on an order: also on one of which nothing but a quarantined message is known."""
    if state.forgotten and command.told:
        raise OrderIsForgotten("the person of this order was forgotten; nothing can be written about him again")
    if state.quarantined is None:
        require_known(state)
    steps = Steps(state)
    stand = people.Stand(to_be_sent(state), approvals.subject_of(state.lines, state.amounts))
    steps.add(*people.decide(command, state.people, stand, now_ms))
    follow_approvals(steps)
    issue_pick_lists(steps)
    return steps


DECIDE: Mapping[type[Command], Callable[[Any, Order, int], Sequence[Event]]] = {
    **dict.fromkeys(people.ACTS, _act),
}
