"""Every KPI, however it is split, is what a slow recount of the events says; and so are the events behind it."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from ddsketch.mapping import LogarithmicMapping
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain.catalogue import TAGS, encode_event
from domain.envelope import By, Envelope, encode_envelope
from domain.ids import order_key
from domain.ports import Record
from projections.kpi_behind import Behind, behind
from projections.kpi_figures import ALL, Figure, Filter, figures, window_of
from projections.kpi_list import DETAILS, KPIS
from projections.kpis import ACCURACY, Hour, Kpis, bin_of, hour_of, story_of
from runners.projector import Projector
from tests.kpi_again import Counted, Tables, recount
from tests.trade import NOON_MS, Trade, trade_day
from tests.unit.test_catalogue import SAMPLES

ZONE = "Asia/Shanghai"
KEYS = [order_key("taobao", "s1", "1"), order_key("pos", "s 2", "2"), order_key("jd", "s1", "3")]
SHAPES = [event for tag, event in SAMPLES.items() if tag.startswith("order.")]
OFTEN = [SAMPLES[f"order.{name}"] for name in ("reserved", "released", "paid", "intercepted", "timer_set", "promised")]
WHO = [
    By("channel", "taobao"),
    By("rule", "fulfilment"),
    By("person", "li", "service"),
    By("person", "wu", "keeper"),
    By("system", "timers"),
]
CHOICES: dict[str, list[Any]] = {
    "warehouse": ["A", "B"],
    "reason": ["wrong_item", "quality", "stock_short", "payment_timeout", "overdue_promise", "effect_failed", "words"],
    "role": ["service", "finance", "sales"],
    "cause": ["gift_missing", "missing_item", "late"],
    "gift": [True, False],
    "topic": ["logistics", "refund"],
    "self_service": [True, False],
    "repeats": [0, 2],
    "case": [0, 1, 2],
    "timer": ["payment", "promise", "complete"],
    "effect": ["notify", "notify", "erp"],
    "error": ["wrong_item", "too_many"],
    "advice": ["", "call"],
}


def _shaped(draw: Any, event: Any, now: int, versions: int, key: str) -> Any:
    """Return an event like the sample, with other values where KPIs look."""
    other = {name: draw(st.sampled_from(CHOICES[name])) for name in event.__struct_fields__ if name in CHOICES}
    if type(event).__name__ not in ("OrderIntercepted", "AfterSaleOpened"):
        other.pop("reason", None)
    for name in event.__struct_fields__:
        if name in ("risk_ms", "ship_by_ms", "deliver_by_ms", "shipped_ms", "delivered_ms"):
            other[name] = draw(st.sampled_from([0, now - 20_000, now, now + 7_200_000]))
    if "effect" in other:
        other["key"] = f"{key}@{draw(st.integers(1, versions + 1))}/{draw(st.sampled_from(['boss', 'customer']))}"
    return msgspec.structs.replace(event, **other)


@st.composite
def logs(draw: Any) -> MemoryEventLog:
    """A log of a few orders, to which anything happens, in turns of several events."""
    log, now, versions = MemoryEventLog(), NOON_MS, dict.fromkeys(KEYS, 0)
    ever: Counter[str] = Counter()
    for turn in range(draw(st.integers(1, 25))):
        now += draw(st.sampled_from([0, 4_000, 20_000, 3_000_000, 40_000_000]))
        who, records = draw(st.sampled_from(WHO)), []
        for place in range(draw(st.integers(1, 4))):
            key = draw(st.sampled_from(KEYS))
            sample = (
                SAMPLES["order.received"] if not ever[key] else draw(st.sampled_from(SHAPES) | st.sampled_from(OFTEN))
            )
            if not ever[key] and draw(st.integers(0, 3)) == 0:
                sample = draw(st.sampled_from(SHAPES))
            ever[key] += type(sample).__name__ == "OrderReceived"
            event = _shaped(draw, sample, now, versions[key], key)
            versions[key] += 1
            message = f"m-{turn}"
            by = who if not place else draw(st.sampled_from([who, WHO[1]]))
            cause = message if not place else f"{key}@{versions[key]}"
            envelope = encode_envelope(Envelope(now + 7, now, by, message, cause, message))
            records.append(Record(key, versions[key], TAGS[type(event)], envelope, encode_event(event), None))
        log.append(records)
    return log


class Board:
    """The read model of a log, asked without a database."""

    def __init__(self, log: MemoryEventLog, batch: int = 7) -> None:
        views = ReadModels("sqlite://")
        Projector(log, views, [Kpis()], batch=batch).run()
        self.hours: list[Hour] = [hour_of(document) for document in views.kpi_hours(0, 1 << 40)]
        self.orders = [(key, channel, story_of(document)) for key, channel, document in views.kpi_orders(0, 1 << 40)]
        views.close()

    def figures(self, name: str, by: Any, wanted: Filter = ALL) -> list[Figure]:
        return figures(self.hours, [name], wanted, by, ZONE)

    def behind(self, name: str, wanted: Filter = ALL, detail: str | None = None) -> tuple[list[Behind], list[Behind]]:
        return behind(name, self.orders, wanted, detail)


def compare(log: MemoryEventLog) -> None:
    """See that figures and what is behind them are as recounted, split in every way."""
    board = Board(log)
    again = recount(log)
    for name, kpi in KPIS.items():
        for by in ("", "channel", "warehouse", "day", *([kpi.by] if kpi.by in DETAILS else [])):
            _compare_split(board, again, name, by)
        top, bottom = board.behind(name)
        wanted = again.get(name, ([], []))
        for found, counted in ((top, wanted[0]), (bottom, wanted[1])):
            if name != "pass_through_orders" or found is bottom:
                assert len(found) == len(counted), name
        if name != "pass_through_orders":
            assert Counter(each.event for each in top) == Counter(f"{c.order}@{c.version}" for c in wanted[0]), name


def _compare_split(board: Board, again: Tables, name: str, by: Any) -> None:
    kpi = KPIS[name]
    top, bottom = again.get(name, ([], []))
    found = {each.group: each for each in board.figures(name, by)}
    groups = {_group(each, by) for each in (*top, *bottom)}
    assert {group for group, each in found.items() if each.top or each.bottom} <= groups
    for group in groups:
        mine = [each for each in top if _group(each, by) == group]
        whole = by in DETAILS and kpi.bottom is not None and kpi.bottom.kind in ("orders", "shipped")
        its = [each for each in bottom if whole or _group(each, by) == group]
        figure = found.get(group)
        if figure is None:
            assert not mine, (name, by, group)
            continue
        assert figure.top == len(mine), (name, by, group)
        if kpi.bottom is not None:
            assert figure.bottom == len(its), (name, by, group)
            assert figure.value == (round(kpi.per * len(mine) / len(its), 3) if its else None)
        if kpi.unit_ms and mine:
            _compare_times(figure.times, sorted(each.ms for each in mine), kpi.unit_ms)


def _compare_times(times: Any, exact: Sequence[int], unit_ms: float) -> None:
    near = 0.0006
    assert times.mean == pytest.approx(sum(exact) / len(exact) / unit_ms, abs=near)
    assert times.most == pytest.approx(exact[-1] / unit_ms, abs=near)
    for share, found in ((0.5, times.p50), (0.95, times.p95), (0.99, times.p99)):
        right = exact[int(share * (len(exact) - 1))] / unit_ms
        assert abs(found - right) <= ACCURACY * right + near


def _group(each: Counted, by: str) -> str:
    if by == "day":
        return datetime.fromtimestamp(each.hour * 3600, UTC).astimezone(ZoneInfo(ZONE)).date().isoformat()
    if by in DETAILS:
        return each.detail
    return {"channel": each.channel, "warehouse": each.warehouse}.get(by, "")


@settings(max_examples=20, deadline=None)
@given(log=logs())
def test_kpis_of_anything_that_can_happen_are_as_recounted(log: MemoryEventLog) -> None:
    compare(log)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_kpis_of_a_day_of_trade_are_as_recounted(seed: int) -> None:
    log = MemoryEventLog()
    trade_day(Trade(log), seed, 80)
    compare(log)


@settings(max_examples=12, deadline=None)
@given(log=logs(), batches=st.lists(st.integers(1, 9), max_size=6))
def test_where_batches_end_leaves_no_trace(log: MemoryEventLog, batches: list[int]) -> None:
    rows = []
    for sizes in ([], batches):
        views = ReadModels("sqlite://")
        for size in sizes:
            Projector(log, views, [Kpis()], batch=size).run_once()
        Projector(log, views, [Kpis()]).run()
        rows.append(list(views.rows(Kpis())))
        views.close()
    assert rows[0] == rows[1]


@settings(max_examples=12, deadline=None)
@given(log=logs(), first=st.integers(0, 9), days=st.integers(0, 3), channel=st.sampled_from([None, "taobao", "pos"]))
def test_what_is_behind_a_figure_is_as_much_as_it_says(
    log: MemoryEventLog, first: int, days: int, channel: str | None
) -> None:
    board = Board(log)
    begin = date(2026, 2, 8 + first)
    window = window_of(begin, date.fromordinal(begin.toordinal() + days), ZONE)
    for warehouse in (None, "", "A"):
        wanted = Filter(window, channel, warehouse)
        for name, kpi in KPIS.items():
            figure = board.figures(name, "", wanted)[0]
            top, bottom = board.behind(name, wanted)
            assert (figure.top, figure.bottom) == (len(top), len(bottom) if kpi.bottom else None), name
            for each in board.figures(name, kpi.by, wanted) if kpi.by else ():
                assert len(board.behind(name, wanted, each.group)[0]) == each.top, (name, each.group)


def test_percentiles_are_right_to_one_percent_of_any_duration() -> None:
    value = LogarithmicMapping(ACCURACY).value
    for ms in (*range(1, 3_000), *(round(1.07**power) for power in range(120, 400))):
        assert value(int(bin_of(ms))) == pytest.approx(ms, rel=ACCURACY)
        assert LogarithmicMapping(ACCURACY).key(ms) == int(bin_of(ms))
        assert LogarithmicMapping(ACCURACY).key(value(int(bin_of(ms)))) == int(bin_of(ms))
    assert bin_of(0) == "-1"
