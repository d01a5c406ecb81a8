"""The account of a day with faults: it reads the events alone, and notices each broken promise."""

from typing import Any

import msgspec

from domain.envelope import By, Envelope, encode_envelope
from domain.ports import Recorded
from runners.simulating.fault_account import Verdict, delays, judge, read_stories
from runners.simulating.fault_day import FaultDay
from runners.simulating.fault_kinds import ALL_SHARE, KINDS, shares_of
from runners.simulating.world import Handed

ORDER = "order-generic:s:1"
CHANNEL, PERSON, KEEPER = By("channel", "generic"), By("person", "li", "operations"), By("person", "wu", "keeper")
STOPPED: dict[str, Any] = {
    "interception": "i1", "reason": "stock_short", "evidence": "none there", "advice": "buy more",
    "role": "operations", "risk_ms": 5_000,
}  # fmt: skip


class Log:
    """Events in memory, of one order; each a turn of its own."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []

    def add(self, tag: str, by: By = CHANNEL, **data: Any) -> "Log":
        at = len(self.events) + 1
        envelope = encode_envelope(Envelope(at * 1_000, at * 1_000, by, f"m-{at}", f"m-{at}", f"m-{at}"))
        self.events.append(Recorded(at, ORDER, at, tag, envelope, msgspec.json.encode(data), None, b""))
        return self

    def read(self, after: int, limit: int) -> list[Recorded]:
        return self.events[after : after + limit]

    def verdict(self, fault: str = "short_stock") -> Verdict:
        return judge(read_stories(self, 0, [ORDER]), {ORDER: fault})  # type: ignore[arg-type]


def placed() -> Log:
    return Log().add("order.received").add("order.paid")


def shipped(log: Log) -> Log:
    log.add("order.reserved", PERSON).add("order.shipped", KEEPER, command="scan-1")
    return log.add("order.completed", command="")


def test_an_order_that_is_stopped_released_and_shipped_is_as_it_must_be() -> None:
    log = placed().add("order.intercepted", **STOPPED).add("order.resolved", PERSON, interception="i1")
    verdict = shipped(log).verdict()
    assert verdict.right, verdict
    assert verdict.caught == {"short_stock": 1}
    assert verdict.stages["allocated"] == (1, 1), "a person's decision had it go on"
    assert verdict.stages["shipped"] == (1, 0), "a scan is no decision"
    assert verdict.hands_off == 0


def test_goods_that_leave_while_something_holds_them_are_counted() -> None:
    assert shipped(placed().add("order.intercepted", **STOPPED)).verdict().shipped_held == 1
    asked = placed().add("order.approval_requested", approval="large", role="finance")
    assert shipped(asked).verdict("large_amount").shipped_held == 1
    locked = placed().add("order.amended", snapshot={"holds": ["locked"]})
    assert shipped(locked).verdict("").shipped_held == 1
    lifted = placed().add("order.amended", snapshot={"holds": ["locked"]}).add("order.amended", snapshot={})
    assert shipped(lifted).verdict("").shipped_held == 0


def test_what_nothing_stops_or_the_wrong_thing_or_nobody_is_told_of_is_missed() -> None:
    assert shipped(placed()).verdict().missed
    assert placed().add("order.intercepted", **STOPPED).verdict("bad_address").missed
    for change in ({"role": "service"}, {"advice": ""}):
        assert placed().add("order.intercepted", **{**STOPPED, **change}).verdict().missed


def test_a_stop_without_a_fault_and_an_order_without_an_end_are_named() -> None:
    verdict = placed().add("order.intercepted", **STOPPED).verdict("")
    assert ORDER in verdict.false_stops[0]
    assert "paid interception i1" in verdict.unfinished[0]


def test_a_timer_is_late_from_its_time_on_or_from_when_it_was_set() -> None:
    overdue = {**STOPPED, "reason": "payment_timeout", "role": "service"}
    log = Log().add("order.received").add("order.timer_set", timer="payment", due_ms=5_000)
    (stop,) = read_stories(log.add("order.intercepted", **overdue), 0, [ORDER])[ORDER].stops  # type: ignore[arg-type]
    assert stop.derivable_ms == 5_000
    log = Log().add("order.received").add("order.timer_set", timer="payment", due_ms=500)
    late = log.add("order.intercepted", **{**overdue, "risk_ms": 500})
    (stop,) = read_stories(late, 0, [ORDER])[ORDER].stops  # type: ignore[arg-type]
    assert stop.derivable_ms == 2_000


def test_a_day_that_was_stopped_before_anything_moved_has_a_verdict() -> None:
    verdict = Log().add("order.received").verdict()
    assert (verdict.transitions, verdict.per_order) == (100.0, 100.0)
    assert not verdict.right


def test_what_never_came_counts_against_the_share() -> None:
    found = delays([10.0, 20.0, 15_001.0], 4)
    assert found.within_15_s == 50
    assert (found.count, found.most) == (3, 15_001.0)


def test_a_seed_leads_to_the_same_day_with_as_many_faults_as_asked_for() -> None:
    def drawn(seed: int) -> tuple[list[str], list[bytes]]:
        day = FaultDay(seed, "sim-x", 300, shares_of("all"), 1_794_326_400_000)
        out = day.until(day.end_ms)
        return [life.fault for life in day.lives.values()], [each.raw for each in out if isinstance(each, Handed)]

    faults, raws = drawn(1)
    assert drawn(1) == (faults, raws)
    assert drawn(2) != (faults, raws)
    assert {kind: faults.count(kind) for kind in KINDS} == dict.fromkeys(KINDS, round(300 * ALL_SHARE))
