"""The orders read model: what is shown of an order after which events."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain import after_sale, order
from domain.canonical import Parcel
from domain.catalogue import UnknownTag
from domain.envelope import By
from domain.ids import order_key
from domain.order import OrderNormalized, OrderReceived
from domain.payments import PaymentFailed, PaymentRecorded
from domain.tracking import OrderDelivered, ParcelTracked, Scan
from projections.base import in_current_shape
from runners.projector import Projector
from tests.trade import NOON_MS, Trade, view

KEY = order_key("taobao", "s1", "1")
PERSON = By("person", "p7", "service")


class Board:
    """Given events, what does the order page show?"""

    def __init__(self, read_models: ReadModels) -> None:
        self.log = MemoryEventLog()
        self._trade = Trade(self.log)
        self._read_models = read_models

    def given(self, *events: Any, by: By | None = None) -> "Board":
        self._trade.append(KEY, *events, by=by)
        return self

    def received(self, **wanted: Any) -> "Board":
        snapshot = view("1", **wanted)
        return self.given(
            OrderReceived("taobao", "s1", "1", "payload"),
            OrderNormalized(snapshot, "digest", "address"),
            by=By("channel", "taobao"),
        )

    def shows(self) -> dict[str, Any]:
        Projector(self.log, self._read_models).run()
        found = self._read_models.order(KEY)
        assert found is not None
        return found

    def record(self) -> dict[str, Any]:
        Projector(self.log, self._read_models).run()
        (found,) = self._read_models.orders({"key": KEY})
        return found


@pytest.fixture
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    made = ReadModels(f"sqlite:///{tmp_path_factory.mktemp('rm')}/read_models.db")
    yield Board(made)
    made.close()


def stages(shown: dict[str, Any]) -> dict[str, str]:
    return {item["id"]: item["status"] for item in shown["items"]}


RESERVED = (
    order.OrderPaid(1500, "CNY", NOON_MS + 1),
    order.OrderReserved("a1", "A", (("SKU-1", 1), ("SKU-2", 1))),
    order.PickListIssued("pick-a1", "a1", "A", (("SKU-1", 1), ("SKU-2", 1))),
)


def test_a_new_order_shows_what_its_channel_says(board: Board) -> None:
    shown = board.received(status="awaiting_payment").shows()
    assert (shown["state"], shown["native_status"], shown.get("amount_paid", 0)) == (
        "awaiting_payment",
        "NATIVE_awaiting_payment",
        0,
    )
    assert shown["ordered_at"] == {
        "text": f"t{NOON_MS}",
        "utc_ms": NOON_MS,
        "offset_min": 480,
        "local": f"local-{NOON_MS}",
    }
    assert shown["attributes"] == {"source": "app"}
    assert shown["items"][1]["attributes"] == {"colour": "red"}
    assert (shown["received_at"], shown["updated_at"], shown["updated_by"]) == (NOON_MS, NOON_MS, "channel:taobao")


def test_payment_and_allocation_lead_to_a_pick_list_to_scan(board: Board) -> None:
    shown = board.received().given(*RESERVED).shows()
    assert (shown["fulfilment"], shown["amount_paid"], shown["paid_ms"]) == ("allocating", 1500, NOON_MS + 1)
    assert [(each["id"], each["warehouse"]) for each in shown["allocations"]] == [("a1", "A")]
    assert board.record()["pick_list"] == "pick-a1"
    board.given(order.OrderPicked("a1", "scan-1"))
    assert board.record()["pick_list"] == ""


def test_an_allocation_given_back_leaves_no_pick_list(board: Board) -> None:
    board.received().given(*RESERVED, order.OrderReleased("a1", "A", (("SKU-1", 1), ("SKU-2", 1)), "changed"))
    assert board.record()["pick_list"] == ""
    shown = board.shows()
    assert (shown["fulfilment"], shown.get("allocation"), shown.get("pick_list", "")) == ("paid", None, "")


def test_lines_show_what_became_of_them(board: Board) -> None:
    board.received().given(*RESERVED, order.LinesCancelled((("2", 1),), "sold out", "c1"))
    assert stages(board.shows()) == {"1": "open", "2": "cancelled"}
    board.given(order.OrderShipped((Parcel("SF", "T1", ("1",)),), NOON_MS + 9, "a1", "ship-1"), by=PERSON)
    shown = board.shows()
    assert stages(shown) == {"1": "shipped", "2": "cancelled"}
    assert shown["items"][1]["cancelled"] == 1
    assert shown["parcels"] == [{"carrier": "SF", "tracking": "T1", "lines": ["1"], "own": True}]
    assert (shown["shipped_ms"], shown["updated_by"], shown["updated_role"]) == (NOON_MS + 9, "person:p7", "service")


def test_a_part_on_its_way_shows_by_line(board: Board) -> None:
    board.received().given(*RESERVED, order.PartiallyShipped(("2",), (Parcel("YTO", "T2", ("2",)),)))
    assert stages(board.shows()) == {"1": "open", "2": "shipped"}
    assert board.shows()["fulfilment"] == "allocating"


@pytest.mark.parametrize("apart", [False, True])
def test_goods_added_to_a_counter_sale_show_as_shipped(board: Board, apart: bool) -> None:
    first = msgspec.structs.replace(view("1", "completed"), kind="counter")
    gone = tuple(msgspec.structs.replace(line, state="shipped") for line in first.lines)
    board.given(
        OrderReceived("taobao", "s1", "1", "payload"),
        OrderNormalized(msgspec.structs.replace(first, lines=gone[:1]), "digest", "address"),
        order.OrderPaid(1000, "CNY", NOON_MS),
        order.OrderShipped((), NOON_MS),
        order.OrderCompleted(NOON_MS),
    )
    if apart:  # what was folded before is read back from its row
        assert stages(board.shows()) == {"1": "shipped"}
    both = msgspec.structs.replace(first, lines=gone)
    board.given(order.OrderAmended(both, "digest2", "address", ("lines",), "payload"))
    assert stages(board.shows()) == {"1": "shipped", "2": "shipped"}


def test_an_open_after_sale_is_what_people_see_and_loses_nothing(board: Board) -> None:
    shipped = order.OrderShipped((), NOON_MS)
    board.received().given(*RESERVED, shipped, after_sale.AfterSaleOpened((("1", 1),), "too small", "r1"))
    shown = board.shows()
    assert (shown["state"], shown["fulfilment"]) == ("after_sale", "shipped")
    assert shown["after_sales"] == [{"number": 1, "lines": [["1", 1]], "reason": "too small", "reference": "r1"}]
    assert shown["items"][0]["after_sale_status"] == "open"
    board.given(after_sale.OrderRefunded(("1",), 1000, "r1"))
    shown = board.shows()
    assert (shown["state"], shown["refunded"], shown["items"][0]["after_sale_status"]) == ("shipped", 1000, "refunded")
    board.given(after_sale.AfterSaleOpened((("2", 1),), "broken"), after_sale.AfterSaleClosed(("2",)))
    assert board.shows()["state"] == "shipped"


def test_what_came_again_or_late_or_was_refused_is_counted_and_changes_nothing_else(board: Board) -> None:
    before = board.received().given(*RESERVED).shows()
    board.given(
        order.OrderRepeated("digest"),
        order.OrderOutdated(1, 2, "digest", "payload"),
        order.OrderRefused("Ship", "OrderOnHold", "held", "c9"),
        by=PERSON,
    )
    shown = board.shows()
    assert (shown.pop("repeated"), shown.pop("outdated"), shown.pop("refused")) == (1, 1, 1)
    assert shown.pop("last_refusal") == {"what": "Ship", "rule": "OrderOnHold", "reason": "held", "command": "c9"}
    assert shown.pop("position") > before.pop("position")
    assert shown.pop("version") > before.pop("version")
    assert shown == before


def test_open_interceptions_are_shown_with_reason_and_advice_and_hold_the_order(board: Board) -> None:
    stopped = order.OrderIntercepted("i1", "stock_short", "0 available", "receive stock", "operations", NOON_MS)
    board.received().given(stopped)
    assert board.record()["held"] is True
    assert board.shows()["interceptions"] == [
        {
            "interception": "i1",
            "reason": "stock_short",
            "evidence": "0 available",
            "advice": "receive stock",
            "role": "operations",
            "risk_ms": NOON_MS,
        }
    ]
    board.given(order.InterceptionResolved("i1", "release"))
    assert board.record()["held"] is False
    assert "interceptions" not in board.shows()


def test_a_message_nobody_understood_shows_before_the_order_itself(board: Board) -> None:
    board.given(order.OrderQuarantined("m1", "no lines", "orders", "resend", "payload"), order.QueuedBehind("m2", "m1"))
    record, shown = board.record(), board.shows()
    assert (record["quarantined"], record["items"], record["order_no"]) == ("m1", [], "1")
    assert (shown["quarantine"]["reason"], shown["queued"], shown.get("state", "")) == ("no lines", 1, "")
    board.given(order.QueueReleased("m1", "discard", "junk"))
    assert board.record()["quarantined"] == ""
    assert "queued" not in board.shows()


def test_an_amendment_replaces_the_channels_view_and_keeps_our_own_parcels(board: Board) -> None:
    board.received().given(*RESERVED, order.OrderShipped((Parcel("SF", "OURS"),), NOON_MS, "a1", "ship-1"))
    newer = view("1", "shipped", modified=7, units=3)
    board.given(order.OrderAmended(newer, "digest 2", "address", ("lines",), "payload 2"))
    shown = board.shows()
    assert (shown["amended"], shown["items"][0]["quantity"], shown["modified_at"]["utc_ms"]) == (1, 3, NOON_MS + 7)
    assert [(parcel["tracking"], parcel.get("own", False)) for parcel in shown["parcels"]] == [
        ("OURS", True),
        ("T-1", False),
    ]
    assert shown["amount_paid"] == 3500


def test_timers_change_no_row(board: Board) -> None:
    before = board.received(status="awaiting_payment").shows()
    board.given(order.TimerSet("payment", NOON_MS), order.TimerCleared("payment", fired=False))
    assert board.shows() == before


def test_ids_that_no_text_can_hold_do_not_stop_the_projector(tmp_path_factory: pytest.TempPathFactory) -> None:
    log = MemoryEventLog()
    key = order_key("taobao", "s1", "a\udc80\0b")
    Trade(log).append(key, order.OrderQuarantined("m1", "odd"))
    read_models = ReadModels(f"sqlite:///{tmp_path_factory.mktemp('rm')}/read_models.db")
    Projector(log, read_models).run()
    assert [row["key"] for row in read_models.orders()] == [key]
    read_models.close()


def test_an_event_of_a_newer_build_stops_the_fold() -> None:
    log = MemoryEventLog()
    Trade(log).take(view("1"))
    (event,) = log.read(0, 1)
    with pytest.raises(UnknownTag):
        in_current_shape([event._replace(tag="order.teleported")])


def test_a_sku_that_came_from_the_table_is_shown_in_its_line_until_the_channels_view_changes(board: Board) -> None:
    board.received().given(order.OrderPaid(1500, "CNY", NOON_MS), order.OrderSkusMapped((("2", "SKU-9"),)))
    shown = board.shows()
    assert [item["sku"] for item in shown["items"]] == ["SKU-1", "SKU-9"]
    board.given(*RESERVED[1:], order.PartiallyShipped(("2",), ()))
    assert stages(board.shows()) == {"1": "open", "2": "shipped"}
    board.given(order.OrderAmended(view("1", "paid", modified=5), "d2", "a", (), "p"))
    assert [item["sku"] for item in board.shows()["items"]] == ["SKU-1", "SKU-2"]


def test_service_work_orders_are_shown(board: Board) -> None:
    opened = order.ServiceOpened("order-x/service-1", ":77", "上门安装服务包", ("1",), {"oid": "77"})
    shown = board.received().given(opened).shows()
    assert shown["services"] == [{"reference": "order-x/service-1", "service": "上门安装服务包", "lines": ["1"]}]


def test_each_effect_is_shown_by_its_last_report_and_changes_nothing_else(board: Board) -> None:
    before = board.received().given(*RESERVED).shows()
    board.given(
        order.EffectFailed("ship_notice", "k-1", "busy", tries=1, final=False),
        order.EffectFailed("erp", "k-1", "no such field", tries=4),
        order.EffectSucceeded("ship_notice", "k-1", "r-1", 2),
        by=PERSON,
    )
    shown = board.shows()
    told, refused = shown["effects"]
    assert (told["effect"], told["outcome"], told["reference"], told["tries"]) == ("ship_notice", "succeeded", "r-1", 2)
    assert (refused["effect"], refused["outcome"], refused["reason"]) == ("erp", "given_up", "no such field")
    assert (shown["updated_by"], shown["state"]) == (before["updated_by"], before["state"])


def test_the_mapping_a_view_was_read_by_is_shown(board: Board) -> None:
    assert "mapping" not in board.received().shows()
    board.given(order.OrderAmended(view("1", "paid", modified=5), "d2", "a", (), "p", 3))
    assert board.shows()["mapping"] == 3


def test_parcels_show_what_their_carriers_said_last_and_keep_it_when_the_channel_tells_them_anew(board: Board) -> None:
    scans = (
        Scan(NOON_MS + 9, "signed", "苏州"),
        Scan(NOON_MS + 5, "collected", "上海"),
        Scan(NOON_MS + 10, "", "园区"),
    )
    shipped = msgspec.structs.replace(view("1", status="shipped"), parcels=(Parcel("SF", "T1"), Parcel("YTO", "T2")))
    board.received().given(
        RESERVED[0],
        order.OrderShipped((Parcel("SF", "T1"),), NOON_MS),
        ParcelTracked("T1", "SF", scans),
        ParcelTracked("T9", "SF", scans),
        OrderDelivered(NOON_MS + 9),
        order.OrderAmended(shipped, "digest-2", "address", (), "payload-2"),
    )
    shown = board.shows()
    assert shown["delivered_ms"] == NOON_MS + 9
    first, second = shown["parcels"]
    assert (first["state"], first["where"], first["where_ms"]) == ("signed", "园区", NOON_MS + 10)
    assert "state" not in second
    assert board.given(ParcelTracked("T1", "SF", (Scan(NOON_MS + 8, "problem", "无锡"),))).shows()["parcels"] == [
        first,
        second,
    ]


def test_payments_show_each_transaction_by_its_last_word(board: Board) -> None:
    told = (1500, "CNY", NOON_MS, "wechat")
    board.received().given(PaymentFailed("4200", "failed", *told), PaymentRecorded("4200", "paid", *told))
    assert board.shows()["payments"] == [
        {
            "transaction": "4200",
            "kind": "paid",
            "amount": 1500,
            "currency": "CNY",
            "at_ms": NOON_MS,
            "service": "wechat",
        }
    ]
