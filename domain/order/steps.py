"""What many decisions do: collect events and where they lead, stop the order, note what is paid and promised."""

from domain.decider import Event, Worked
from domain.order.basics import PAYMENT_TIMER, TRANSITIONS, Allocation
from domain.order.events import (
    InterceptionResolved,
    OrderIntercepted,
    OrderPaid,
    OrderPromised,
    OrderReleased,
    PickListIssued,
    TimerCleared,
)
from domain.order.evolving import EVOLVE
from domain.order.questions import on_hold
from domain.order.refusals import IllegalTransition
from domain.order.state import Order
from domain.rulings import Promise


def guard(state: Order, to: str) -> None:
    """Refuse a status that the table does not lead to. Raises IllegalTransition."""
    if to not in TRANSITIONS[state.status]:
        raise IllegalTransition(f"from {state.status or 'nothing'} there is no way to {to}")


def resolve_all(state: Order, decision: str) -> list[Event]:
    """Return what lifts every interception that is open."""
    return [InterceptionResolved(interception, decision) for interception, _ in state.interceptions]


def resolve_reason(state: Order, reason: str, decision: str) -> list[Event]:
    """Return what lifts the interceptions of a reason."""
    if not state.interceptions:
        return []
    return [InterceptionResolved(name, decision) for name, known in state.interceptions if known == reason]


def clear_timers(state: Order) -> list[Event]:
    """Return what clears every timer that is set."""
    return [TimerCleared(timer, fired=False) for timer, _ in state.timers]


class Steps(Worked):
    """Collects the events of one decision and the state after each."""

    __slots__ = ()

    def add(self, *events: Event) -> None:
        """Add what happens next, and go on from where it leads."""
        state = self.state
        for event in events:
            state = EVOLVE[type(event)](state, event)
            self.append(event)
        self.state = state


def note_paid(steps: Steps, paid: OrderPaid) -> None:
    """Note that an order is paid, and that nobody waits for it any more."""
    state = steps.state
    steps.add(
        paid,
        *[TimerCleared(name, fired=False) for name, _ in state.timers if name == PAYMENT_TIMER],
        *resolve_reason(state, "payment_timeout", "paid"),
    )


def intercept(steps: Steps, reason: str, evidence: str, advice: str, role: str, risk_ms: int) -> None:
    """Stop the order for a reason, unless it is stopped for it already."""
    if all(known != reason for _, known in steps.state.interceptions):
        name = f"{reason}-{steps.state.digest[:12]}"
        steps.add(OrderIntercepted(name, reason, evidence, advice, role, risk_ms))


def note_promise(steps: Steps, promise: Promise | None, rules: int, now_ms: int) -> None:
    """Record what is promised of a paid order, once."""
    state = steps.state
    if promise is not None and not state.ruled.promised and state.status in ("paid", "allocating"):
        paid_ms = now_ms
        for event in steps:
            if isinstance(event, OrderPaid):
                paid_ms = event.paid_ms
                break
        deliver_by_ms = paid_ms + promise.deliver_within_ms if promise.deliver_within_ms else 0
        steps.add(OrderPromised(promise.rule, rules, paid_ms + promise.ship_within_ms, deliver_by_ms))


def release_holds(state: Order, reason: str) -> list[Event]:
    """Return what gives back everything that is pre-reserved."""
    return [OrderReleased(hold.id, hold.warehouse, hold.lines, reason) for hold in state.ruled.pre_holds]


def issue_pick_lists(steps: Steps) -> None:
    """Ask warehouses to pick what is held, once all is and nothing blocks it."""
    state = steps.state
    if state.allocations and not on_hold(state) and all(each.held for each in state.allocations):
        steps.add(*(pick_list_of(each, state) for each in state.allocations if not each.listed))


def pick_list_of(allocation: Allocation, state: Order) -> PickListIssued:
    """Return the pick list of an allocation."""
    name = f"pick-{allocation.id}"
    return PickListIssued(
        name, allocation.id, allocation.warehouse, allocation.lines, allocation.area, state.ruled.priority
    )
