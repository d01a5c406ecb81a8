"""The read model of after-sales: one row for each case, and the reasons counted from it."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain import order
from domain.after_sale import (
    AnnounceReturn,
    ApproveAfterSale,
    CloseAfterSale,
    DeclineAfterSale,
    OpenAfterSale,
    OrderRefunded,
    ReceiveReturn,
    RefundAfterSale,
    SendReplacement,
)
from domain.canonical import Snapshot
from domain.envelope import By
from domain.ids import order_key
from domain.service_work import CancelService, CompleteService, ScheduleService
from domain.tracking import RecordTrack, Scan
from projections import PROJECTIONS
from runners.commands.after_sale_looks import quarter_of, top_reasons
from runners.commands.common import Failure
from runners.projector import Projector
from tests.trade import NOON_MS, Trade, view

KEY = order_key("taobao", "s1", "1")
SERVICE = By("person", "p7", "service")
FOR_EVER = (0, 2 * NOON_MS)


class Desk:
    """What people see after which acts; folded together or act by act, it must be the same."""

    def __init__(self, read_models: ReadModels, *, apart: bool) -> None:
        self.trade = Trade(MemoryEventLog())
        self.read_models = read_models
        self._apart = apart
        self.trade.receive()

    def project(self) -> None:
        Projector(self.trade.log, self.read_models, PROJECTIONS).run()

    def does(self, *bodies: Any, key: str = KEY) -> "Desk":
        for body in bodies:
            self.trade.send(key, body, by=SERVICE)
            if self._apart:
                self.project()
        return self

    def takes(self, *views: Snapshot) -> "Desk":
        for each in views:
            self.trade.take(each)
            if self._apart:
                self.project()
        return self

    def shows(self, **asked: Any) -> list[dict[str, Any]]:
        self.project()
        return self.read_models.after_sales(**asked)


@pytest.fixture(params=["together", "apart"])
def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = ReadModels(f"sqlite:///{tmp_path_factory.mktemp('rm')}/read_models.db")
    yield Desk(made, apart=request.param == "apart").takes(view("1", units=3)).does(order.Ship("ship", "T1", "SF"))
    made.close()


def test_what_is_sent_for_a_case_stands_among_the_parcels_and_leads_to_the_order(desk: Desk) -> None:
    desk.does(
        OpenAfterSale("c-1", "reship", "missing_item", (("1", 1),)),
        ApproveAfterSale("c-2", 1),
        SendReplacement("c-3", 1),
        order.Ship("c-4", "T9", "SF"),
        RecordTrack("t-1", "T9", "SF", (Scan(NOON_MS, "in_transit", "苏州"),)),
    )
    desk.project()
    (found,) = desk.read_models.orders({"tracking": "T9"}, 5)
    assert found["key"] == KEY
    shown = desk.read_models.order(KEY)
    assert shown is not None
    told = [(each["tracking"], each.get("case", 0), each.get("state", "")) for each in shown["parcels"]]
    assert told == [("T1", 0, ""), ("T9", 1, "in_transit")]


def test_a_case_is_a_row_with_stage_age_reason_lines_and_money(desk: Desk) -> None:
    desk.does(
        OpenAfterSale("c-1", "return_refund", "quality", (("1", 2),), "R1"),
        ApproveAfterSale("c-2", 1),
        AnnounceReturn("c-3", 1, "SF", "SF9"),
        ReceiveReturn("c-4", 1, (("1", 1),), (("1", 1),)),
        RefundAfterSale("c-5", 1, (("1", 1500),), "transfer", "P1"),
    )
    (row,) = desk.shows()
    names = ("key", "number", "order_no", "kind", "stage", "open", "reason", "reference", "refunded", "currency")
    assert [row[name] for name in names] == [
        KEY, 1, "1", "return_refund", "refunded", False, "quality", "R1", 1500, "CNY"]  # fmt: skip
    assert row["case"]["lines"] == [["1", 2]]
    assert (row["skus"], row["damaged"]) == ({"1": "SKU-1"}, [["1", 1]])
    assert row["coming"] == {"carrier": "SF", "tracking": "SF9"}
    (refund,) = row["refunds"]
    assert (refund["amount"], refund["method"], refund["by"], refund["reference"]) == (
        1500, "transfer", "person:p7", "P1")  # fmt: skip
    assert row["opened_ms"] < refund["at"] == row["updated_ms"]
    shown = desk.read_models.order(KEY)
    assert shown is not None
    assert (shown["state"], shown["refunded"], shown["after_sales"][0]["stage"]) == ("shipped", 1500, "refunded")
    (level,) = desk.read_models.inventory(sku="SKU-1")
    assert (level["on_hand"], level["damaged"], level["available"]) == (99, 1, 98)


def test_replacements_show_what_is_short_and_what_was_sent(desk: Desk) -> None:
    desk.does(
        OpenAfterSale("c-1", "exchange", "wrong_item", (("2", 1),)),
        ApproveAfterSale("c-2", 1),
        SendReplacement("c-3", 1, (("SKU-9", 1),)),
    )
    assert desk.shows()[0]["short"] == [["SKU-9", 1, 0]]
    desk.does(SendReplacement("c-4", 1), order.Ship("c-5", "T9", "SF"))
    (row,) = desk.shows()
    assert (row["stage"], row["sent"][0]["tracking"], "short" in row) == ("replaced", "T9", False)


def test_open_cases_come_by_age_and_those_that_are_over_only_when_asked(desk: Desk) -> None:
    desk.takes(view("2", "shipped", units=2))
    other = order_key("taobao", "s1", "2")
    desk.does(OpenAfterSale("c-1", "refund_only", "price", (("1", 1),)), key=other)
    desk.does(OpenAfterSale("c-2", "refund_only", "other", (("1", 1),)), DeclineAfterSale("c-3", 1, "too_late"))
    desk.does(OpenAfterSale("c-4", "exchange", "quality", (("1", 1),)))
    assert [(row["order_no"], row["number"]) for row in desk.shows(open_only=True)] == [("2", 1), ("1", 2)]
    assert [row["stage"] for row in desk.shows(key=KEY)] == ["declined", "opened"]
    assert desk.shows(key=KEY)[0]["declined"] == "too_late"
    desk.does(CloseAfterSale("c-5", 2))
    assert [(row["order_no"], row["number"]) for row in desk.shows(open_only=True)] == [("2", 1)]


def test_what_the_channel_pays_back_is_a_row_too(desk: Desk) -> None:
    desk.takes(view("1", "shipped", units=3, modified=9, after_sale="open"))
    desk.takes(view("1", "shipped", units=3, modified=19, after_sale="refunded"))
    (row,) = desk.shows()
    assert (row["reason"], row["stage"], row["refunded"]) == ("channel", "refunded", 3000)
    assert [refund["by"] for refund in row["refunds"]] == ["channel:taobao"]


def test_a_refund_of_the_first_builds_is_a_row_too(desk: Desk) -> None:
    desk.trade.append(KEY, OrderRefunded(("1",), 3000))
    (row,) = desk.shows()
    assert (row["stage"], row["refunded"], len(row["refunds"])) == ("refunded", 3000, 1)


def test_reasons_are_counted_by_sku_in_a_span_of_time(desk: Desk) -> None:
    desk.does(
        OpenAfterSale("c-1", "return_refund", "quality", (("1", 2), ("2", 1))),
        OpenAfterSale("c-2", "refund_only", "damaged", (("1", 1),)),
    )
    desk.project()
    counted = desk.read_models.after_sale_reasons(*FOR_EVER)
    assert counted == {("SKU-1", "quality"): (1, 2), ("SKU-2", "quality"): (1, 1), ("SKU-1", "damaged"): (1, 1)}
    assert desk.read_models.after_sale_reasons(0, NOON_MS) == {}
    assert desk.read_models.after_sale_reasons(*FOR_EVER, {"refund_only"}) == {("SKU-1", "damaged"): (1, 1)}


def test_the_most_frequent_reasons_come_first_and_words_of_no_list_are_one() -> None:
    counted = {
        ("S1", "quality"): (5, 5),
        ("S1", "damaged"): (7, 9),
        ("S1", "channel"): (4, 4),
        ("S1", "too big for me"): (2, 2),
        ("S1", "other"): (1, 1),
        ("S2", "price"): (1, 1),
    }
    found = top_reasons(counted, 3)
    assert [(row["sku"], row["reason"], row["cases"]) for row in found] == [
        ("S1", "damaged", 7), ("S1", "", 6), ("S1", "quality", 5), ("S2", "price", 1)]  # fmt: skip
    assert [row["sku"] for row in top_reasons(counted, 1, "S2")] == ["S2"]


def test_a_quarter_begins_and_ends_at_the_merchant_s_midnight() -> None:
    name, begin, end = quarter_of("2026q4", "Asia/Shanghai")
    assert name == "2026Q4"
    assert (begin, end) == (1_790_784_000_000, 1_798_732_800_000)
    assert quarter_of("", "Asia/Shanghai")[1] < quarter_of("", "Asia/Shanghai")[2]
    with pytest.raises(Failure):
        quarter_of("2026Q5", "Asia/Shanghai")


def test_without_any_projection_there_are_no_cases(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = ReadModels(f"sqlite:///{tmp_path_factory.mktemp('rm')}/read_models.db")
    assert made.after_sales() == []
    assert made.after_sale_reasons(*FOR_EVER) == {}
    made.close()


def test_a_service_work_order_shows_its_day(desk: Desk) -> None:
    bought = msgspec.structs.replace(view("3"), attributes={"service_package": "安装"})
    key = order_key("taobao", "s1", "3")
    desk.takes(bought)

    def service() -> tuple[str, str]:
        desk.project()
        shown = desk.read_models.order(key)
        assert shown is not None
        (only,) = shown["services"]
        return only.get("stage", "opened"), only.get("day", "")

    assert service() == ("opened", "")
    desk.does(ScheduleService("c-1", 1, "2026-03-01"), key=key)
    assert service() == ("scheduled", "2026-03-01")
    desk.does(CompleteService("c-2", 1), key=key)
    assert service() == ("done", "2026-03-01")


def test_a_cancelled_service_has_no_day(desk: Desk) -> None:
    desk.takes(msgspec.structs.replace(view("3"), attributes={"service_package": "安装"}))
    key = order_key("taobao", "s1", "3")
    desk.does(ScheduleService("c-1", 1, "2026-03-01"), CancelService("c-2", 1, "customer"), key=key)
    desk.project()
    shown = desk.read_models.order(key)
    assert shown is not None
    assert [(each["stage"], "day" in each) for each in shown["services"]] == [("cancelled", False)]
