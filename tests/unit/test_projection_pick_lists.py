"""The pick lists: which stand in the rows after which events, in which order, and what stops them."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain import after_sale, approvals, order
from domain.envelope import By
from domain.ids import order_key
from domain.order import Allocation
from domain.picking import ItemScanned, ItemUnscanned, PickError
from projections.order_picking import TABLE
from projections.orders import Orders
from runners.projector import Projector
from tests.trade import NOON_MS, Trade, view

KEEPER = By("person", "keeper-1", "keeper")


class World:
    """Events of a few orders, and the rows that follow."""

    def __init__(self) -> None:
        self.log = MemoryEventLog()
        self.trade = Trade(self.log)
        self.read_models = ReadModels("sqlite://")
        self.projector = Projector(self.log, self.read_models, (Orders(),))

    def taken(self, number: str, *events: Any, warehouse: str = "A", area: str = "", priority: str = "") -> str:
        """Let an order be taken in, these events befall it, and its pick list be issued."""
        key = order_key("taobao", "s1", number)
        lines = (("SKU-1", 2), ("SKU-2", 1))
        held = (f"{key}/1", warehouse, lines)
        self.trade.append(
            key,
            order.OrderReceived("taobao", "s1", number, "p"),
            order.OrderNormalized(view(number, units=2), "d", "a"),
            *events,
            order.OrderReserved(*held),
            order.PickListIssued(f"pick-{key}/1", *held, area, priority),
        )
        return key

    def rows(self, **asked: str) -> list[dict[str, Any]]:
        self.projector.run()
        return self.read_models.pick_lists(asked)

    def numbers(self, **asked: str) -> list[str]:
        return [row["order_no"] for row in self.rows(**asked)]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.read_models.close()


def routed(priority: str) -> order.OrderRouted:
    return order.OrderRouted(1, priority=priority)


def test_a_list_says_what_is_to_be_picked(world: World) -> None:
    key = world.taken("1", order.OrderPromised("r", 1, NOON_MS + 9))
    (row,) = world.rows()
    assert row.pop("position") > 0
    assert row == {
        "pick_list": f"pick-{key}/1",
        "key": key,
        "order_no": "1",
        "allocation": f"{key}/1",
        "warehouse": "A",
        "area": "",
        "rank": 2,
        "priority": "",
        "ship_by_ms": NOON_MS + 9,
        "issued_ms": NOON_MS,
        "stopped": "",
        "processing": False,
        "units": 3,
        "open": 3,
        "errors": 0,
        "picker": "",
        "lines": [["SKU-1", 2, 0], ["SKU-2", 1, 0]],
    }


def test_lists_stand_in_the_order_in_which_they_are_picked(world: World) -> None:
    world.taken("old")
    world.taken("late", order.OrderPromised("r", 1, NOON_MS + 9))
    world.taken("soon", order.OrderPromised("r", 1, NOON_MS + 5))
    world.taken("urgent", routed("urgent"), priority="urgent")
    key = world.taken("fast")
    assert world.numbers() == ["urgent", "soon", "late", "fast", "old"]
    world.trade.append(key, routed("express"))
    assert world.numbers() == ["fast", "urgent", "soon", "late", "old"]


def test_warehouses_and_areas_stand_apart(world: World) -> None:
    world.taken("1")
    world.taken("2", warehouse="B")
    key = world.taken(
        "3",
        order.OrderAllocated(
            (Allocation(f"{order_key('taobao', 's1', '3')}/1", "A", (("SKU-1", 2),), area="C", unprocessed=True),)
        ),
        area="C",
    )
    assert world.numbers(warehouse="A", area="") == ["1"]
    assert world.numbers(warehouse="B") == ["2"]
    (row,) = world.rows(area="C")
    assert row["processing"]
    world.trade.append(key, order.OrderProcessed(f"{key}/1", "c-1"))
    assert not world.rows(area="C")[0]["processing"]


def test_scans_and_errors_show_as_progress(world: World) -> None:
    key = world.taken("1")
    scanned = ItemScanned(f"{key}/1", "SKU-1", 1, 1, 2, "c-1")
    wrong = PickError(f"{key}/1", "wrong_item", "X", "", 1, (), "no", "c-2")
    world.trade.append(key, scanned, wrong, by=KEEPER)
    (row,) = world.rows()
    assert (row["open"], row["errors"], row["picker"], row["lines"][0]) == (2, 1, "keeper-1", ["SKU-1", 2, 1])
    world.trade.append(key, ItemUnscanned(f"{key}/1", "SKU-1", 1, 2, 3, "c-3"))
    assert world.rows()[0]["open"] == 3
    # Nothing is scanned into a list that went.
    world.trade.append(key, ItemScanned(f"{key}/9", "SKU-1", 1, 1, 2, "c-4"), wrong)
    assert world.rows()[0]["open"] == 3


def test_units_that_were_scanned_and_are_wanted_no_longer_are_shown(world: World) -> None:
    key = world.taken("1")
    world.trade.append(key, ItemScanned(f"{key}/1", "SKU-2", 1, 0, 2, "c-1"))
    world.trade.append(key, order.LinesCancelled((("2", 1),), "late"))
    (row,) = world.rows()
    assert (row["units"], row["open"], row["lines"]) == (2, 2, [["SKU-1", 2, 0], ["SKU-2", 0, 1]])


def test_what_blocks_an_order_stops_its_lists_and_lifting_it_frees_them(world: World) -> None:
    key = world.taken("1")
    intercepted = order.OrderIntercepted("i-1", "address", "none", "ask", "service", NOON_MS)
    for stop, go, why in (
        (intercepted, order.InterceptionResolved("i-1", "release"), "address"),
        (order.OrderQuarantined("m-1", "unreadable"), order.QueueReleased("m-1", "discard"), "quarantined"),
        (
            after_sale.AfterSaleOpened((("1", 2),), "late"),
            after_sale.AfterSaleClosed(("1",)),
            "a refund is asked for",
        ),
        (
            approvals.ApprovalRequested("a-1", "credit", "finance", 1),
            approvals.ApprovalGiven("a-1", 1, "p-1", "finance", 1, complete=True),
            "approval a-1 is open",
        ),
        (
            approvals.ApprovalRequested("a-2", "credit", "finance", 1),
            approvals.ApprovalWithdrawn("a-2", 1, "no_longer"),
            "approval a-2 is open",
        ),
        (
            order.OrderAmended(order_view("risk"), "d2", "a", ("holds",), "p"),
            order.OrderAmended(order_view(), "d3", "a", ("holds",), "p"),
            "risk",
        ),
    ):
        world.trade.append(key, stop)
        assert world.rows()[0]["stopped"] == why
        world.trade.append(key, go)
        assert world.rows()[0]["stopped"] == ""


def order_view(*holds: str) -> Any:
    return msgspec.structs.replace(view("1", units=2), holds=holds)


def test_a_refund_of_a_line_that_is_cancelled_stops_nothing(world: World) -> None:
    key = world.taken("1")
    world.trade.append(
        key, after_sale.AfterSaleOpened((("2", 1),), "late"), order.LinesCancelled((("2", 1),), "refund")
    )
    assert world.rows()[0]["stopped"] == ""


def test_a_list_shrinks_with_its_goods_and_goes_with_the_last(world: World) -> None:
    for number, gone in (
        ("1", lambda line: order.LinesCancelled((line,), "late")),
        ("2", lambda line: order.PartiallyShipped((line[0],), (), NOON_MS)),
    ):
        key = world.taken(number)
        world.trade.append(key, gone(("1", 2)))
        (row,) = world.rows()
        assert (row["units"], row["open"], row["lines"]) == (1, 1, [["SKU-2", 1, 0]])
        world.trade.append(key, gone(("2", 1)))
        assert world.rows() == []


def test_a_list_goes_when_it_is_given_back_or_not_all_can_be_reserved(world: World) -> None:
    released = world.taken("1")
    world.trade.append(released, order.OrderReleased(f"{released}/1", "A", (("SKU-1", 2), ("SKU-2", 1)), "amended"))
    assert world.rows() == []
    short = world.taken("2")
    parts = (Allocation(f"{short}/2", "A", (("SKU-1", 2),), listed=True), Allocation(f"{short}/3", "B", (), held=False))
    world.trade.append(short, order.OrderAllocated(parts), order.PickListIssued("p", f"{short}/2", "A", parts[0].lines))
    assert [row["allocation"] for row in world.rows()] == [f"{short}/2"]
    world.trade.append(short, order.ReservationFailed(f"{short}/3", "B", (("SKU-2", 1, 0),)))
    assert world.rows() == []


def test_a_list_goes_when_it_is_scanned_out_and_all_that_are_open_when_the_order_is_over(world: World) -> None:
    picked = world.taken("1")
    world.trade.append(picked, order.OrderPicked(f"{picked}/1", "c-1"))
    over = world.taken("2")
    world.trade.append(over, order.OrderShipped((), NOON_MS))
    assert world.rows() == []
    world.trade.append(over, order.OrderIntercepted("i-1", "x", "", "", "", 0), order.OrderCompleted(NOON_MS))
    world.trade.append(picked, order.OrderCancelled("late"))
    assert world.rows() == []
    for key in (picked, over):
        shown = world.read_models.order(key)
        assert "picking" not in (shown or {"picking": "no such order"})


def test_a_batch_that_issues_a_list_and_removes_it_leaves_no_row(world: World) -> None:
    key = world.taken("1")
    world.trade.append(key, order.OrderPicked(f"{key}/1", "c-1"))
    assert world.rows() == []
    shown = world.read_models.order(key)
    assert "picking" not in (shown or {"picking": "no such order"})


def test_what_does_not_touch_a_list_does_not_write_its_row(world: World) -> None:
    key = world.taken("1")
    (before,) = world.rows()
    world.trade.append(key, order.OrderRepeated("d"), order.EffectSucceeded("wms_create", "k"))
    assert world.rows() == [before]
    world.trade.append(key, order.OrderPromised("r", 1, NOON_MS + 9))
    (after,) = world.rows()
    assert after["position"] == before["position"] + 3


def test_an_order_that_is_given_back_and_reserved_anew_has_one_list(world: World) -> None:
    key = world.taken("1")
    world.rows()
    world.trade.append(
        key,
        order.OrderReleased(f"{key}/1", "A", (("SKU-1", 2), ("SKU-2", 1)), "amended"),
        order.OrderReserved(f"{key}/2", "B", (("SKU-1", 1),)),
        order.PickListIssued(f"pick-{key}/2", f"{key}/2", "B", (("SKU-1", 1),)),
    )
    assert [(row["pick_list"], row["warehouse"]) for row in world.rows()] == [(f"pick-{key}/2", "B")]


def test_a_sale_over_the_counter_is_not_picked(world: World) -> None:
    key = order_key("taobao", "s1", "9")
    counter = msgspec.structs.replace(view("9"), kind="counter")
    world.trade.append(key, order.OrderNormalized(counter, "d", "a"), order.OrderPaid(1, "CNY", NOON_MS))
    assert world.rows() == []
    assert TABLE.name not in {name for name, _ in world.read_models.rows(Orders())}


def test_a_replacement_is_picked_though_the_order_has_left(world: World) -> None:
    key = world.taken("1", order.OrderPromised("r", 1, NOON_MS + 9))
    name, lines = f"{key}/case-1-1", (("SKU-1", 1),)
    wish = after_sale.AfterSaleOpened((("1", 1),), "quality", kind="exchange")
    world.trade.append(key, order.OrderShipped((), NOON_MS, f"{key}/1"))
    assert world.rows() == []
    world.trade.append(key, wish, after_sale.AfterSaleApproved(1, "c-1"), after_sale.ReplacementAsked(1, 1, lines))
    world.trade.append(key, after_sale.ReplacementReserved(1, name, "A", lines))
    assert world.rows() == []
    world.trade.append(key, order.PickListIssued(f"pick-{name}", name, "A", lines))
    (row,) = world.rows()
    assert (row["pick_list"], row["stopped"], row["open"]) == (f"pick-{name}", "", 1)
    assert row["ship_by_ms"] == 0, "the promise was of what has left"
    world.trade.append(key, ItemScanned(name, "SKU-1", 1, 0, 0, "c-2"), order.OrderCompleted(NOON_MS))
    assert [each["open"] for each in world.rows()] == [0], "that the trade is over ends no replacement"
    world.trade.append(key, after_sale.ReplacementReleased(1, name, "A"))
    assert world.rows() == []
    again = f"{key}/case-1-2"
    held = after_sale.ReplacementReserved(1, again, "A", lines)
    world.trade.append(key, held, order.PickListIssued(f"pick-{again}", again, "A", lines))
    assert [each["pick_list"] for each in world.rows()] == [f"pick-{again}"]
    world.trade.append(key, after_sale.ReplacementPicked(1, again, "c-4"))
    assert world.rows() == []


def test_a_replacement_beside_what_the_order_still_needs_is_a_list_of_its_own(world: World) -> None:
    key = world.taken("1")
    name, lines = f"{key}/case-1-1", (("SKU-2", 1),)
    world.trade.append(
        key,
        after_sale.AfterSaleOpened((("2", 1),), "quality", kind="reship"),
        after_sale.AfterSaleApproved(1, "c-1"),
        after_sale.ReplacementReserved(1, name, "A", lines),
        order.PickListIssued(f"pick-{name}", name, "A", lines),
    )
    assert len(world.rows()) == 2
    world.trade.append(key, order.OrderShipped((), NOON_MS, f"{key}/1"))
    assert [each["allocation"] for each in world.rows()] == [name]
