"""A service that was bought with an order opens one work order, once the order is paid, and never a second one."""

from typing import Any

import msgspec
import pytest

from domain.canonical import Line, Snapshot
from domain.order import ServiceOpened, order
from tests.spec import Spec, line, snapshot, taking

KEY = "order-taobao:shop1:o-1"
INSTALL = {"oid": "77", "item_oid": "2", "title": "上门安装服务包", "status": "open"}


def view(package: Any = None, status: Any = "paid", minute: int = 1, *, of_line: Any = None) -> Snapshot:
    lines: list[Line] = [line("1"), line("2")]
    if of_line is not None:
        lines[1] = msgspec.structs.replace(lines[1], attributes={"service_package": of_line})
    attributes = {} if package is None else {"service_package": package}
    return msgspec.structs.replace(snapshot(status, minute, lines), attributes=attributes)


def opened(*views: Snapshot) -> list[ServiceOpened]:
    spec = Spec(order)
    found: list[ServiceOpened] = []
    for each in views:
        spec.when(taking(each))
        found += [event for event in spec._events if isinstance(event, ServiceOpened)]
        spec.given(*spec._events)
    return found


def test_a_paid_order_with_a_service_opens_a_work_order_for_its_line() -> None:
    (event,) = opened(view([INSTALL]))
    assert event == ServiceOpened(f"{KEY}/service-1", ":77", "上门安装服务包", ("2",), INSTALL)


def test_a_service_that_names_no_line_is_for_all_of_them() -> None:
    (event,) = opened(view("安装"))
    assert (event.service, event.lines, event.details) == ("安装", ("1", "2"), "安装")


def test_a_service_of_a_line_is_for_that_line() -> None:
    (event,) = opened(view(of_line="premium"))
    assert (event.identity, event.lines) == ("2:premium", ("2",))


def test_it_opens_with_the_payment_and_not_before() -> None:
    assert not opened(view([INSTALL], "awaiting_payment"))
    assert len(opened(view([INSTALL], "awaiting_payment"), view([INSTALL], "paid", 2))) == 1


@pytest.mark.parametrize("status", ["shipped", "completed", "allocating"])
def test_an_order_that_is_further_along_has_its_service_too(status: Any) -> None:
    assert len(opened(view([INSTALL], status))) == 1


def test_a_cancelled_order_needs_no_service() -> None:
    assert not opened(view([INSTALL], "cancelled"))


def test_whatever_changes_it_is_opened_once() -> None:
    later = {**INSTALL, "status": "done", "price": "1.00"}
    assert len(opened(view([INSTALL]), view([later], minute=2), view([later], "shipped", 3), view([], minute=4))) == 1


def test_a_service_that_is_bought_later_is_one_more() -> None:
    more = {"oid": "78", "title": "清洗"}
    found = opened(view([INSTALL]), view([INSTALL, more], minute=2, of_line="premium"))
    assert [event.reference for event in found] == [f"{KEY}/service-{number}" for number in (1, 2, 3)]


@pytest.mark.parametrize("package", [None, "", "0", 0, False, [], {}, [None, ""]])
def test_nothing_is_no_service(package: Any) -> None:
    assert not opened(view(package, of_line=package))


def test_a_service_without_a_name_of_its_own_is_told_by_its_whole() -> None:
    (event,) = opened(view({"kind": 3, "at": {"floor": 2}}))
    assert event.identity == ':{"at":{"floor":2},"kind":3}'
