"""Service work orders: opened with the order, then a day, then done; or cancelled."""

from typing import Any

import pytest

from domain.decider import Command, DomainError
from domain.order import ServiceOpened, order
from domain.service_work import (
    BadDay,
    CancelService,
    CompleteService,
    NoSuchService,
    ScheduleService,
    ServiceCancelled,
    ServiceDone,
    ServiceOver,
    ServiceScheduled,
    UnknownCancelReason,
)
from tests.spec import Spec, normalized, snapshot

KEY = "order-taobao:shop1:o-1"
DAY = "2026-03-01"


def opened() -> Spec:
    services = [ServiceOpened(f"{KEY}/service-{number}", f":{number}", "安装", ("1",)) for number in (1, 2)]
    return Spec(order).given(*normalized(snapshot()), *services)


def test_a_day_is_agreed_and_may_be_changed() -> None:
    spec = opened().when(ScheduleService("c-1", 1, DAY)).then(ServiceScheduled(1, DAY, "c-1"))
    spec.when(ScheduleService("c-1", 1, DAY)).then_nothing()
    spec.when(ScheduleService("c-2", 1, DAY)).then_nothing()
    spec.when(ScheduleService("c-3", 1, "2026-03-02")).then(ServiceScheduled(1, "2026-03-02", "c-3"))
    assert spec.state.service_stages == ((1, "scheduled", "2026-03-02"),)


@pytest.mark.parametrize("scheduled", [True, False])
def test_the_work_is_done_once(scheduled: Any) -> None:
    spec = opened()
    if scheduled:
        spec.given(ServiceScheduled(2, DAY, "c-0"))
    spec.when(CompleteService("c-1", 2)).then(ServiceDone(2, "c-1"))
    assert spec.state.service_stages == ((2, "done", DAY if scheduled else ""),)
    spec.when(CompleteService("c-2", 2)).then_nothing()
    spec.when(CancelService("c-3", 2, "customer")).then_raises(ServiceOver)
    spec.when(ScheduleService("c-4", 2, DAY)).then_raises(ServiceOver)


def test_work_that_is_cancelled_is_not_done() -> None:
    spec = opened().given(ServiceScheduled(1, DAY, "c-0"))
    spec.when(CancelService("c-1", 1, "refunded")).then(ServiceCancelled(1, "refunded", "c-1"))
    spec.when(CancelService("c-2", 1, "customer")).then_nothing()
    spec.when(CompleteService("c-3", 1)).then_raises(ServiceOver)
    spec.when(CompleteService("c-4", 2)).then(ServiceDone(2, "c-4"))


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (ScheduleService("c-1", 3, DAY), NoSuchService),
        (CompleteService("c-1", 0), NoSuchService),
        (CancelService("c-1", -1, "customer"), NoSuchService),
        (ScheduleService("c-1", 1, "tomorrow"), BadDay),
        (ScheduleService("c-1", 1, "2026-02-30"), BadDay),
        (CancelService("c-1", 1, "because"), UnknownCancelReason),
    ],
)
def test_work_orders_days_and_reasons_must_exist(command: Command, refusal: type[DomainError]) -> None:
    opened().when(command).then_raises(refusal)
