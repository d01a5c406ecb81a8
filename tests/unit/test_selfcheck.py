"""What a channel says last of an order, and its state: the one may be behind, never ahead."""

import msgspec
import pytest

from domain.canonical import Status
from domain.catalogue import TAGS
from domain.envelope import By
from domain.order import OrderReceived, ResolveInterception, ScanOut, Ship
from domain.ports import Recorded
from domain.time_units import DAY_MS, MINUTE_MS
from domain.views import COUNT_MAX, DIFFER_MAX, BadCheck, Differing, RecordCheck, Views, ViewsCompared, decide, evolve
from runners.daily import CATCH_UP_DAYS, days_due
from runners.selfcheck import ALIVE, Checked, channel_differs, mail_of
from tests.spec import T0, Cell, line, snapshot

KEY = "order-taobao:shop1:o-1"


def story(cell: Cell) -> list[Recorded]:
    records = [each for each in cell.records if each.stream == KEY]
    return [Recorded(at, *each[:5], None, b"") for at, each in enumerate(records, 1)]


def told(*views: Status) -> Cell:
    cell = Cell()
    cell.receive(("S1", 9))
    for minute, status in enumerate(views, 1):
        cell.take(snapshot(status, minute, (line("1"),)))
    return cell


@pytest.mark.parametrize(
    "views", [("paid",), ("awaiting_payment", "paid"), ("paid", "shipped", "completed"), ("cancelled",)]
)
def test_an_order_that_followed_its_channel_differs_in_nothing(views: tuple[Status, ...]) -> None:
    assert channel_differs(story(told(*views))) == ""


def test_an_order_that_nobody_described_yet_differs_in_nothing() -> None:
    assert channel_differs([]) == ""
    (first, *_) = story(told("paid"))
    assert first.tag == TAGS[OrderReceived]
    assert channel_differs([first]) == ""


def test_a_channel_that_is_further_than_we_are_is_told() -> None:
    """As it would look where the fold lost a step: the channel's view says shipped, and nothing follows."""
    whole = story(told("shipped"))
    views = [each for each in whole if each.tag in ("order.received", "order.normalized")]
    assert channel_differs(views) == "awaiting_payment here, shipped at the channel"


@pytest.mark.parametrize(("minutes", "said"), [(30, ""), (200, "shipped here, paid at the channel")])
def test_a_channel_that_goes_on_saying_that_nothing_was_shipped_is_told_after_an_hour(minutes: int, said: str) -> None:
    cell = told("paid")
    cell.send(KEY, ScanOut("c-1"))
    cell.send(KEY, Ship("c-2", "T1", "SF"))
    assert cell.order().status == "shipped"
    assert channel_differs(story(cell)) == "", "it has not spoken since"
    cell.take(snapshot("paid", minutes, (line("1"),)))
    assert channel_differs(story(cell)) == said


def test_what_people_are_asked_about_shows_as_that_and_is_no_difference() -> None:
    cell = told("cancelled", "shipped")
    assert cell.order().status == "cancelled"
    assert [reason for _, reason in cell.order().interceptions] == [ALIVE]
    assert channel_differs(story(cell)) == ""
    (asked,) = (name for name, _ in cell.order().interceptions)
    cell.send(KEY, ResolveInterception("c-9", asked, "release", "seen"))
    assert channel_differs(story(cell)) == "", "a person has decided"
    undecided = [each for each in story(cell) if each.tag not in ("order.intercepted", "order.resolved")]
    assert channel_differs(undecided) == "cancelled here, shipped at the channel"


def test_a_check_names_so_many_and_counts_all() -> None:
    differ = tuple(Differing("orders_v6", str(each), "state") for each in range(DIFFER_MAX + 5))
    command = RecordCheck("c-1", 500, 900, 205, differ, 7)
    (event,) = decide(command, Views())
    assert isinstance(event, ViewsCompared)
    assert (len(event.differ), event.differing, event.differing_orders) == (DIFFER_MAX, DIFFER_MAX + 5, 205)
    assert decide(command, evolve(Views(), event)) == ()


def test_of_a_check_that_finds_thousands_all_are_counted() -> None:
    differ = tuple(Differing("orders_v6", str(each), "state") for each in range(1_500))
    mail = mail_of(Checked(7, 2_000, 9_000, differ, (), 40), By("rule", "self-check"), T0)
    assert isinstance(mail.body, RecordCheck)
    (event,) = decide(mail.body, Views())
    assert isinstance(event, ViewsCompared)
    assert (event.differing_orders, event.differing) == (1_500, 1_540)


@pytest.mark.parametrize("field", ["orders", "rows", "differing_orders", "position", "differing"])
@pytest.mark.parametrize("count", [-1, COUNT_MAX + 1])
def test_a_check_counts_what_there_can_be(field: str, count: int) -> None:
    most = RecordCheck("c-1", COUNT_MAX, COUNT_MAX, 0, (), COUNT_MAX)
    assert decide(most, Views())
    with pytest.raises(BadCheck):
        decide(msgspec.structs.replace(most, **{field: count}), Views())


def test_a_day_is_due_when_its_statements_can_be_there() -> None:
    ten, noon = 1_770_602_400_000, 1_770_609_600_000  # 2026-02-09, UTC+8
    assert days_due(ten, "") == []
    assert days_due(noon, "") == ["2026-02-08"]
    assert days_due(noon, "2026-02-08") == []
    assert days_due(noon, "2026-02-05") == ["2026-02-06", "2026-02-07", "2026-02-08"]
    assert len(days_due(noon, "2020-01-01")) == CATCH_UP_DAYS
    assert days_due(noon + DAY_MS - MINUTE_MS * 61, "2026-02-08") == []
    assert days_due(noon, "2031-01-01") == ["2026-02-08"], "the clock was wrong for a while"
