"""Service work orders (服务工单): what becomes of a service that was bought with an order, once it is opened.

opened → scheduled → done; cancelled from either. A date may be changed as long as the work is not done.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Literal

from domain.decider import Command, DomainError, Event

ServiceStage = Literal["scheduled", "done", "cancelled"]
CANCELS: Mapping[str, str] = {
    "customer": "客户取消",
    "refunded": "已退款",
    "no_staff": "无法派单",
    "other": "其他",
}
"""Why a work order is cancelled → the merchant's word."""
Stages = tuple[tuple[int, ServiceStage, str], ...]
"""(number of the work order, stage, day) of those that are no longer only opened, by number."""


class ScheduleService(Command, frozen=True):
    """A day was agreed with the customer."""

    command_id: str
    service: int
    """Running number of the work order in its order."""
    day: str
    """YYYY-MM-DD, in the merchant's zone."""


class CompleteService(Command, frozen=True):
    """The work is done."""

    command_id: str
    service: int


class CancelService(Command, frozen=True):
    """The work will not be done."""

    command_id: str
    service: int
    reason: str
    """One of `CANCELS`."""


class ServiceScheduled(Event, frozen=True):
    """A day was agreed for a work order; a later one takes its place."""

    service: int
    """Running number of the work order in its order."""
    day: str
    """YYYY-MM-DD, in the merchant's zone."""
    command: str


class ServiceDone(Event, frozen=True):
    """The work of a work order is done."""

    service: int
    command: str


class ServiceCancelled(Event, frozen=True):
    """The work of a work order will not be done."""

    service: int
    reason: str
    """One of `CANCELS`."""
    command: str


class NoSuchService(DomainError):
    """The order has no work order of that number."""


class ServiceOver(DomainError):
    """The work is done, or was cancelled."""


class BadDay(DomainError):
    """No day of the calendar."""


class UnknownCancelReason(DomainError):
    """The reason is none of the list."""


def _stage(event: ServiceScheduled | ServiceDone | ServiceCancelled, stages: Stages) -> tuple[ServiceStage, str]:
    if isinstance(event, ServiceScheduled):
        return "scheduled", event.day
    if isinstance(event, ServiceDone):
        return "done", stage_of(stages, event.service)[1]
    return "cancelled", ""


EVENTS = (ServiceScheduled, ServiceDone, ServiceCancelled)


def evolve(stages: Stages, event: ServiceScheduled | ServiceDone | ServiceCancelled) -> Stages:
    """Return how work orders stand after an event."""
    others = [each for each in stages if each[0] != event.service]
    return tuple(sorted([*others, (event.service, *_stage(event, stages))]))


def stage_of(stages: Stages, service: int) -> tuple[str, str]:
    """Return (stage, day) of a work order; it is `opened` where nothing was done about it."""
    return next(((stage, day) for number, stage, day in stages if number == service), ("opened", ""))


def _schedule(command: ScheduleService, stages: Stages) -> Sequence[Event]:
    try:
        day = date.fromisoformat(command.day)
    except ValueError:
        raise BadDay(f"{command.day[:40]!r} is no day; write YYYY-MM-DD") from None
    stage = _open(stages, command.service)
    if stage == ("scheduled", day.isoformat()):
        return ()
    return (ServiceScheduled(command.service, day.isoformat(), command.command_id),)


def _complete(command: CompleteService, stages: Stages) -> Sequence[Event]:
    if stage_of(stages, command.service)[0] == "done":
        return ()
    _open(stages, command.service)
    return (ServiceDone(command.service, command.command_id),)


def _cancel(command: CancelService, stages: Stages) -> Sequence[Event]:
    if command.reason not in CANCELS:
        raise UnknownCancelReason(f"there is no reason {command.reason[:40]!r}; choose one of {', '.join(CANCELS)}")
    if stage_of(stages, command.service)[0] == "cancelled":
        return ()
    _open(stages, command.service)
    return (ServiceCancelled(command.service, command.reason, command.command_id),)


def _open(stages: Stages, service: int) -> tuple[str, str]:
    stage = stage_of(stages, service)
    if stage[0] in ("done", "cancelled"):
        raise ServiceOver(f"work order {service} is {stage[0]}")
    return stage


DECIDE: Mapping[type[Command], Callable[[Any, Stages], Sequence[Event]]] = {
    ScheduleService: _schedule,
    CompleteService: _complete,
    CancelService: _cancel,
}


def decide(command: Any, stages: Stages, opened: int) -> Sequence[Event]:
    """Return what follows from a command; `opened` is how many work orders the order has. Raises DomainError."""
    if not 0 < command.service <= opened:
        raise NoSuchService(f"the order has no work order {command.service}; it has {opened}")
    return DECIDE[type(command)](command, stages)
