"""Every decision of an order, by its command."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain import after_sale_acts, payments, service_work, tracking
from domain.decider import Command, Event, RefusedBefore
from domain.delivery import ConfirmDelivery
from domain.order import after_sales, approving, cancelling, confirming, holding, leaving, reserving, settling, views
from domain.order.commands import CancelLines, ConfirmProcessing, ReturnGoods, ScanOut, Ship
from domain.order.questions import require_known
from domain.order.refusals import MissingCommandId, WrongActor
from domain.order.state import Order

DECIDE: Mapping[type[Command], Callable[[Any, Order, int], Sequence[Event]]] = {
    **approving.DECIDE,
    **cancelling.DECIDE,
    **after_sales.DECIDE,
    **views.DECIDE,
    **leaving.DECIDE,
    **confirming.DECIDE,
    **reserving.DECIDE,
    **holding.DECIDE,
    **settling.DECIDE,
    **dict.fromkeys(
        service_work.DECIDE,
        lambda command, state, _: service_work.decide(command, state.service_stages, len(state.services)),
    ),
}


NEEDS_ORDER: frozenset[type[Command]] = frozenset(
    {
        ScanOut,
        Ship,
        ConfirmDelivery,
        ConfirmProcessing,
        CancelLines,
        ReturnGoods,
        tracking.RecordTrack,
        payments.RecordPayment,
        *after_sale_acts.DECIDE,
        *service_work.DECIDE,
    }
)
"""Commands that wait, with a timer, while the order they name is unknown."""


def decide(command: Command, state: Order, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows from a command; `now_ms` is the message's observed time.

    A command whose `command_id` was handled before changes nothing, for ever.

    Raises:
        RefusedBefore: it was refused when it came first.
        DomainError: it breaks a rule.
    """
    command_id = getattr(command, "command_id", None)
    if command_id is not None:
        if command_id in state.commands:
            reason = dict(state.refused).get(command_id) if state.refused else None
            if reason is not None:
                raise RefusedBefore(reason)
            return ()
        if not command_id:
            raise MissingCommandId("the message has no command id; its sender must give it one of its own")
    kind = type(command)
    if kind in NEEDS_ORDER:
        require_known(state)
    handler = DECIDE.get(kind)
    if handler is None:
        raise WrongActor(f"{kind.__name__} is nothing that an order could do")
    return handler(command, state, now_ms)
