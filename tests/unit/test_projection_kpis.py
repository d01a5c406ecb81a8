"""KPIs, by example: given these events, what do the figures say, and which events are behind them?"""

from datetime import date
from typing import Any

import msgspec

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain.after_sale import AfterSaleOpened
from domain.care import OrderComplained, OrderEnquired
from domain.catalogue import TAGS, encode_event
from domain.envelope import By, Envelope, encode_envelope
from domain.ids import order_key
from domain.order import (
    EffectFailed,
    EffectSucceeded,
    InterceptionResolved,
    OrderCompleted,
    OrderIntercepted,
    OrderNormalized,
    OrderPaid,
    OrderPromised,
    OrderReceived,
    OrderReleased,
    OrderReserved,
    OrderShipped,
    TimerSet,
)
from domain.ports import Record
from domain.talk import OrderCommented
from domain.time_units import HOUR_MS
from domain.tracking import OrderDelivered
from projections.kpi_figures import ALL, Figure, Filter, figures, window_of
from projections.kpis import Cell, Hour, Kpis
from runners.kpi import explained, lags, pending, shown
from runners.projector import Projector
from tests.colleagues import LI, QIAN, SHOP
from tests.trade import NOON_MS, view

KEY = order_key("taobao", "s1", "1")
RULE = By("rule", "fulfilment")
WU = By("person", "wu", "keeper")
STOPPED = OrderIntercepted("i-1", "stock_short", "S1: 0 left", "receive some", "operations", NOON_MS)
HOURS = 3_600.0


class Day:
    """Events of a day, each call a turn of its own; time passes between them."""

    def __init__(self) -> None:
        self.log = MemoryEventLog()
        self.now = NOON_MS
        self._versions: dict[str, int] = {}
        self._turns = 0
        self.views = ReadModels("sqlite://")

    def turn(self, *events: Any, by: By = SHOP, s: float = 0.0, key: str = KEY) -> "Day":
        """`s` seconds later: the first event by its sender, the others by rule."""
        self.now += round(s * 1000)
        self._turns += 1
        message, records = f"life-{self._turns}", []
        for place, event in enumerate(events):
            version = self._versions[key] = self._versions.get(key, 0) + 1
            cause = f"{key}@{version - 1}" if place else message
            envelope = Envelope(self.now, self.now, RULE if place else by, message, cause, message)
            record = Record(key, version, TAGS[type(event)], encode_envelope(envelope), encode_event(event), None)
            records.append(record)
        self.log.append(records)
        return self

    def placed(self, key: str = KEY, s: float = 0.0) -> "Day":
        """Received and paid."""
        return self.turn(
            OrderReceived("taobao", "s1", "1", "p"),
            OrderNormalized(msgspec.structs.replace(view("1"), modified_at=_at(self.now)), "d", "a"),
            OrderPaid(1500, "CNY", NOON_MS),
            key=key,
            s=s,
        )

    def to_the_end(self) -> "Day":
        """Reserved, scanned out by a keeper, completed by the channel."""
        self.turn(OrderReserved("a-1", "A", (("S1", 1),)), by=RULE, s=1)
        self.turn(OrderShipped((), 0, "a-1", "c-1"), by=WU, s=HOURS)
        return self.turn(OrderCompleted(0), s=24 * HOURS)

    def figures(self, name: str, by: Any = "", wanted: Filter = ALL, zone: str = "Asia/Shanghai") -> list[Figure]:
        Projector(self.log, self.views, [Kpis()]).run()
        return shown(self.views, [name], wanted, by, zone)

    def figure(self, name: str, wanted: Filter = ALL) -> tuple[int, int | None, float | None]:
        found = self.figures(name, wanted=wanted)[0]
        return found.top, found.bottom, found.value

    def split(self, name: str, by: Any) -> dict[str, tuple[int, int | None]]:
        return {each.group: (each.top, each.bottom) for each in self.figures(name, by)}

    def events_behind(self, name: str, of: str | None = None) -> list[str]:
        Projector(self.log, self.views, [Kpis()]).run()
        return [each.event for each in explained(self.views, name, ALL, of)[0]]


def _at(ms: int) -> Any:
    return msgspec.structs.replace(view("1").modified_at, utc_ms=ms - 700)


def test_an_order_that_nobody_touches_passes_through_in_every_stage() -> None:
    day = Day().placed().to_the_end()
    assert day.figure("pass_through_orders") == (1, 1, 100.0)
    stages = dict.fromkeys(("placed", "paid", "allocated", "shipped", "signed_for"), (1, 1))
    assert day.split("pass_through_updates", "stage") == stages
    assert day.events_behind("pass_through_orders") == [f"{KEY}@1"]


def test_an_order_that_a_person_decides_on_later_moves_in_the_figures() -> None:
    day = Day().placed()
    assert day.figure("pass_through_orders") == (1, 1, 100.0)
    day.turn(STOPPED, by=RULE, s=1)
    day.turn(InterceptionResolved("i-1", "release"), OrderReserved("a-1", "A", ()), by=LI, s=60)
    assert day.figure("pass_through_orders") == (0, 1, 0.0)
    assert day.split("pass_through_updates", "stage")["allocated"] == (0, 1), "it went on because of a decision"
    assert day.figure("machine_share") == (1, 2, 50.0), "stopped by machine, released by a person"


def test_a_keepers_scan_and_talk_are_no_decisions_on_the_way_of_an_order() -> None:
    day = Day().placed().to_the_end().turn(OrderCommented(1, 1, "li", "service"), by=LI)
    assert day.figure("pass_through_orders") == (1, 1, 100.0)


def test_an_order_counts_for_the_warehouse_that_has_it_now_and_for_no_other() -> None:
    day = Day().placed()
    assert day.split("pass_through_orders", "warehouse") == {"": (1, 1)}
    day.turn(OrderReserved("a-1", "A", ()), by=RULE)
    assert day.split("pass_through_orders", "warehouse") == {"A": (1, 1)}
    day.turn(OrderReleased("a-1", "A", (), "changed"), by=LI).turn(OrderReserved("a-2", "B", ()), by=RULE)
    assert day.split("pass_through_orders", "warehouse") == {"B": (0, 1)}
    assert day.split("funnel", "stage")["allocated"] == (1, None), "it came there twice, and is one order"
    assert day.split("pass_through_updates", "stage")["allocated"] == (2, 2)


def test_a_stop_takes_until_somebody_is_told_of_it() -> None:
    day = Day().placed().turn(STOPPED, by=RULE)
    assert day.figure("intercepts_in_time") == (0, 1, 0.0), "nobody has been told"
    day.turn(EffectSucceeded("notify", f"{KEY}@4/customer"), s=1)
    assert day.figure("intercept_latency")[0] == 0, "a customer is nobody who could act"
    day.turn(EffectSucceeded("notify", f"{KEY}@4/boss"), s=7.3)
    assert day.figure("intercept_latency") == (1, None, 8.3)
    assert day.figure("intercepts_in_time") == (1, 1, 100.0)
    day.turn(EffectSucceeded("notify", f"{KEY}@4/second"), s=30)
    assert day.figure("intercept_latency") == (1, None, 8.3), "the first one who is told counts"
    late = OrderIntercepted("i-2", "address_anomaly", "no street", "ask him", "service", NOON_MS)
    day.turn(late, by=RULE).turn(EffectSucceeded("notify", f"{KEY}@8/boss"), s=15.001)
    assert day.split("intercepts_in_time", "reason") == {"stock_short": (1, 1), "address_anomaly": (0, 1)}


def test_a_timers_risk_begins_when_it_was_due_but_not_before_it_was_set() -> None:
    day = Day().placed().turn(TimerSet("payment", NOON_MS - 90_000), by=RULE)
    due = OrderIntercepted("i-1", "payment_timeout", "due", "remind him", "service", NOON_MS - 90_000)
    day.turn(due, by=By("system", "timers"), s=2)
    times = day.figures("intercept_recorded")[0].times
    assert times is not None
    assert times.most == 2.0


def test_of_an_act_that_was_given_up_people_are_told_by_its_failure() -> None:
    day = Day().placed()
    given_up = OrderIntercepted("i-1", "effect_failed", "refused", "tell the shop", "operations", NOON_MS)
    day.turn(EffectFailed("ship_notice", "k", "no"), given_up).turn(EffectSucceeded("notify", f"{KEY}@4/boss"), s=3)
    assert day.figure("intercept_latency") == (1, None, 3.0)
    assert day.figure("acts_failed") == (1, 2, 50.0)


def test_promises_are_kept_or_not() -> None:
    day = Day().placed().turn(OrderPromised("r", 1, NOON_MS + 2 * HOUR_MS, NOON_MS + 24 * HOUR_MS), by=RULE)
    day.turn(OrderReserved("a-1", "A", ()), by=RULE).turn(OrderShipped((), 0, "a-1", "c"), by=WU, s=HOURS * 1.5)
    assert day.figure("shipped_on_time") == (1, 1, 100.0)
    assert day.figure("delivered_on_time") == (0, 0, None), "it is under way"
    day.turn(OrderDelivered(NOON_MS + 25 * HOUR_MS), s=24 * HOURS)
    assert day.figure("delivered_on_time") == (0, 1, 0.0)
    times = day.figures("processing_time")[0].times
    assert times is not None
    assert (times.mean, times.most) == (1.5, 1.5)


def test_rounds_begin_when_the_speaking_role_changes() -> None:
    day = Day().placed()
    for role in ("service", "service", "finance", "service"):
        day.turn(OrderCommented(1, 1, "x", role), by=LI)
    assert day.figure("rounds") == (3, 1, 3.0)
    assert day.split("rounds", "roles") == {
        "finance>service": (1, 1), "nobody>service": (1, 1), "service>finance": (1, 1)
    }  # fmt: skip


def test_complaints_and_enquiries_count_for_the_hour_in_which_they_came() -> None:
    day = Day().placed().turn(OrderComplained("c-1", "gift_missing", "phone", gift=True), by=QIAN, s=24 * HOURS)
    day.turn(OrderComplained("c-2", "wrong_item", "phone"), by=QIAN)
    day.turn(OrderEnquired("logistics", "page", True, 0, 0)).turn(OrderEnquired("logistics", "page", False, 1, 0))
    assert day.split("complaints", "day") == {"2026-02-09": (0, 1), "2026-02-10": (2, 0)}
    assert day.figure("gift_complaints") == (1, 1, 1000.0)
    assert day.figure("mis_shipments")[0] == 1
    assert day.figure("self_service") == (1, 2, 50.0)
    assert day.figure("repeat_enquiries") == (1, 2, 50.0)


def test_a_person_knows_better_than_the_channel_why_goods_come_back() -> None:
    day = Day().placed().turn(AfterSaleOpened((("1", 1),), "the customer's own words", case=1))
    assert day.split("return_reasons", "reason") == {"not_told": (1, None)}
    day.turn(AfterSaleOpened((("1", 1),), "quality", case=1, kind="return_refund"), by=LI, s=3 * 24 * HOURS)
    assert day.split("return_reasons", "reason") == {"quality": (1, None)}
    assert list(day.split("return_reasons", "day")) == ["2026-02-09"], "it counts for when it was opened"


def test_a_day_is_one_of_the_merchants_zone() -> None:
    day = Day().placed()
    day.placed(order_key("taobao", "s1", "2"), s=16 * HOURS)
    assert list(day.split("pass_through_orders", "day")) == ["2026-02-09", "2026-02-10"]
    assert [each.group for each in day.figures("pass_through_orders", "day", zone="UTC")] == ["2026-02-09"]


def test_where_a_zone_is_off_by_half_an_hour_days_and_windows_are_the_same() -> None:
    """In Kolkata a day begins at 18:30 UTC; all of that hour is of the day that begins in it."""
    day = Day()
    ends = 18 * HOURS + 600 - (NOON_MS / 1000) % (24 * HOURS)
    day.placed(s=ends).placed(order_key("taobao", "s1", "2"), s=1_800)
    (group,) = {each.group for each in day.figures("pass_through_orders", "day", zone="Asia/Kolkata")}
    named = date.fromisoformat(group)
    assert day.figure("pass_through_orders", Filter(window_of(named, named, "Asia/Kolkata"))) == (2, 2, 100.0)


def test_a_goal_is_met_by_the_figure_and_not_by_what_it_is_rounded_to() -> None:
    stops = {"stop/x": Cell(300_000), "push/x": Cell(300_000, 299_999)}
    (figure,) = figures([Hour(0, "taobao", 0, {"A": stops})], ["intercepts_in_time"])
    assert (figure.value, figure.met) == (100.0, False)


def test_a_window_holds_the_days_it_names_whole() -> None:
    day = Day().placed()
    first, next_day = date(2026, 2, 9), date(2026, 2, 10)
    assert day.figure("pass_through_orders", Filter(window_of(first, first, "Asia/Shanghai"))) == (1, 1, 100.0)
    assert day.figure("pass_through_orders", Filter(window_of(next_day, None, "Asia/Shanghai"))) == (0, 0, None)
    assert day.figure("pass_through_orders", Filter(window_of(None, first, "Asia/Shanghai"), "pos")) == (0, 0, None)


def test_what_waits_is_asked_of_a_moment() -> None:
    day = Day().placed()
    for number in range(2, 9):
        day.placed(order_key("jd", "s1", str(number)), s=600)
    Projector(day.log, day.views, [Kpis()]).run()
    at_once = pending(day.views, day.now)
    assert (at_once.pending, at_once.too_long, at_once.oldest) == (8, 0, [])
    later = pending(day.views, NOON_MS + 2 * HOUR_MS + 6 * 600_000 + 1)
    assert (later.pending, later.too_long, len(later.oldest)) == (8, 7, 5)
    assert later.oldest[0].order == KEY
    assert pending(day.views, day.now, channel="jd").pending == 7
    day.to_the_end()
    Projector(day.log, day.views, [Kpis()]).run()
    assert pending(day.views, day.now).pending == 7


def test_what_came_of_a_number_before_its_order_counts_for_nothing() -> None:
    day = Day().turn(TimerSet("order", 1), by=RULE)
    assert day.figure("pass_through_orders") == (0, 0, None)
    day.placed(s=8 * HOURS).to_the_end()
    times = day.figures("processing_time")[0].times
    assert times is not None
    assert times.most == 1.0


def test_lag_is_told_in_events_and_in_time() -> None:
    day = Day().placed()
    Projector(day.log, day.views, [Kpis()]).run()
    assert [(each.read_model, each.events, each.ms) for each in lags(day.log, day.views)] == [("kpis", 0, 0)]
    day.turn(STOPPED, by=RULE, s=9)
    assert [(each.events, each.ms) for each in lags(day.log, day.views)] == [(1, 9_000)]
