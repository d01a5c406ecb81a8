"""A timed pull: everything that changed ends in the log, the cursor goes forward behind it and never before."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from domain.intake import IntakeRefused
from domain.platforms import PlatformBusy, Window
from domain.ports import LogDamaged
from domain.time_units import DAY_MS, HOUR_MS
from runners.post import NoAnswer
from runners.pulling_feed import BadOption, Feed
from runners.pulling_store import FILE, Pulls
from tests.fake_platform import FolderPuller, _Client
from tests.platform_world import MemoryKeys
from tests.pulling_world import NOW_MS, Office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with Office(tmp_path) as office:
        yield office


def feed_of(office: Office, **options: str) -> Feed:
    connection = msgspec.structs.replace(office.connection, options={**office.connection.options, **options})
    puller = FolderPuller(_Client(connection, MemoryKeys()), connection.options)
    return Feed(connection, puller, office.pulls, office.room, office.clock)


async def test_the_first_pull_takes_in_the_last_day_and_the_next_one_what_changed_since(office: Office) -> None:
    for hours, number in ((30, 1), (23, 2), (1, 3)):
        office.platform.change(number, NOW_MS - hours * HOUR_MS)
    assert await feed_of(office).pull() == {"accepted": 2}
    assert office.orders() == {"2", "3"}
    assert office.pulls.cursor(office.connection) == NOW_MS
    office.clock.ms += HOUR_MS // 2
    office.platform.change(4, NOW_MS + 5)
    office.platform.change(2, NOW_MS + 6, "WAIT_BUYER_CONFIRM_GOODS")
    assert await feed_of(office).pull() == {"accepted": 2}
    assert office.orders() == {"2", "3", "4"}
    assert len(office.platform.calls("changed")) == 25 + 1


async def test_more_days_can_be_asked_for_but_not_more_than_the_platform_remembers(office: Office) -> None:
    office.platform.change(1, NOW_MS - 30 * HOUR_MS)
    office.platform.change(2, NOW_MS - 50 * HOUR_MS)
    await feed_of(office, since_days="9", reach_ms=str(2 * DAY_MS)).pull()
    assert office.orders() == {"1"}
    assert office.events("intake.refused") == [], "nothing was promised for the time before the first pull"
    with pytest.raises(BadOption, match="since_days 'many'"):
        await feed_of(office, since_days="many").pull()


async def test_what_comes_again_by_the_overlap_is_known(office: Office) -> None:
    office.platform.change(1, NOW_MS - 500)
    assert await feed_of(office).pull() == {"accepted": 1}
    office.clock.ms += 100
    assert await feed_of(office).pull() == {"repeated": 1}


async def test_the_cursor_stays_where_the_platform_failed_and_keeps_the_windows_before(office: Office) -> None:
    office.pulls.begin(office.connection, NOW_MS - 3 * HOUR_MS, NOW_MS)
    for minutes in (170, 100, 10):
        office.platform.change(minutes, NOW_MS - minutes * 60_000)
    feed = feed_of(office)
    puller = feed._puller
    changed = puller.changed

    async def failing(window: Window) -> AsyncIterator[list[bytes]]:
        if window.end_ms > NOW_MS - HOUR_MS:
            raise PlatformBusy("later")
        async for page in changed(window):
            yield page

    puller.changed = failing  # type: ignore[method-assign]
    with pytest.raises(PlatformBusy):
        await feed.pull()
    cursor = office.pulls.cursor(office.connection)
    assert cursor is not None
    assert NOW_MS - 2 * HOUR_MS < cursor <= NOW_MS - HOUR_MS
    assert office.orders() == {"170", "100"}
    assert await feed_of(office).pull() == {"accepted": 1}
    assert office.orders() == {"170", "100", "10"}


async def test_what_came_before_a_failure_in_the_middle_of_a_window_is_kept_and_comes_again(office: Office) -> None:
    for number in range(1, 8):
        office.platform.change(number, NOW_MS - 1000 + number)
    feed = feed_of(office, since_days="0.01")
    puller = feed._puller
    changed = puller.changed

    async def failing(window: Window) -> AsyncIterator[list[bytes]]:
        number = 0
        async for page in changed(window):
            yield page
            number += 1
            if number == 2:
                raise PlatformBusy("later")

    puller.changed = failing  # type: ignore[method-assign]
    with pytest.raises(PlatformBusy):
        await feed.pull()
    assert office.pulls.cursor(office.connection) == NOW_MS - round(0.01 * DAY_MS)
    assert {"1", "2", "3"} <= office.orders()
    await feed_of(office, since_days="0.01").pull()
    assert office.orders() == {str(number) for number in range(1, 8)}
    assert len(office.events("order.received")) == 7


async def test_the_cursor_waits_for_the_answers(office: Office) -> None:
    office.platform.change(1, NOW_MS - 1000)
    office.room.away = 1
    with pytest.raises(NoAnswer):
        await feed_of(office, since_days="0.01").pull()
    assert office.pulls.cursor(office.connection) == NOW_MS - round(0.01 * DAY_MS)
    await feed_of(office).pull()
    assert office.orders() == {"1"}


async def test_a_time_that_the_feed_has_forgotten_is_recorded_and_passed_over(office: Office) -> None:
    feed = feed_of(office, reach_ms=str(DAY_MS))
    office.pulls.begin(office.connection, NOW_MS - 3 * DAY_MS, NOW_MS)
    office.platform.change(1, NOW_MS - HOUR_MS)
    await feed.pull()
    (told,) = office.events("intake.refused")
    assert isinstance(told, IntakeRefused)
    assert "cannot be pulled any more" in told.reason
    assert "orderspine ingest" in told.reason
    assert office.orders() == {"1"}
    assert office.pulls.cursor(office.connection) == NOW_MS
    await feed.pull()
    assert len(office.events("intake.refused")) == 1


async def test_a_pull_from_an_earlier_time_moves_the_cursor_only_where_it_leaves_no_gap(office: Office) -> None:
    office.pulls.begin(office.connection, NOW_MS - 2 * HOUR_MS, NOW_MS)
    office.platform.change(1, NOW_MS - 30 * 60_000)
    await feed_of(office).pull(NOW_MS - HOUR_MS)
    assert office.orders() == {"1"}
    assert office.pulls.cursor(office.connection) == NOW_MS - 2 * HOUR_MS, "an hour has not been pulled"
    await feed_of(office).pull(NOW_MS - 3 * HOUR_MS)
    assert office.pulls.cursor(office.connection) == NOW_MS


async def test_another_shop_under_the_same_name_begins_anew(office: Office) -> None:
    await feed_of(office).pull()
    other = msgspec.structs.replace(office.connection, shop="other")
    assert office.pulls.cursor(other) is None
    assert office.pulls.begin(other, 5, NOW_MS) == 5
    real = msgspec.structs.replace(other, base_url="https://elsewhere.invalid")
    assert office.pulls.cursor(real) is None


@pytest.mark.parametrize("days", [0.5, 5.0], ids=["nothing waits", "five days wait"])
async def test_another_address_of_a_shop_skips_nothing_and_trusts_nothing(office: Office, days: float) -> None:
    before = NOW_MS - round(days * DAY_MS)
    office.pulls.begin(office.connection, before, before)
    moved = msgspec.structs.replace(office.connection, base_url="https://elsewhere.invalid")
    assert office.pulls.cursor(moved) is None, "nothing came from there yet"
    assert office.pulls.begin(moved, NOW_MS - DAY_MS, NOW_MS) == min(before, NOW_MS - DAY_MS)
    assert office.pulls.compared(moved) == before
    office.pulls.advance(office.connection, Window(0, NOW_MS))
    assert office.pulls.cursor(moved) == min(before, NOW_MS - DAY_MS), "the old address does not count any more"


async def test_a_gap_that_an_address_left_and_the_next_one_has_forgotten_is_recorded(office: Office) -> None:
    office.pulls.begin(office.connection, NOW_MS - 5 * DAY_MS, NOW_MS)
    office.connection = msgspec.structs.replace(office.connection, base_url="https://elsewhere.invalid")
    await feed_of(office, reach_ms=str(2 * DAY_MS)).pull()
    (told,) = office.events("intake.refused")
    assert isinstance(told, IntakeRefused)
    assert "cannot be pulled any more" in told.reason
    assert office.pulls.cursor(office.connection) == NOW_MS


async def test_a_first_pull_from_a_late_time_leaves_no_gap_behind_it(office: Office) -> None:
    office.platform.change(1, NOW_MS - 10 * HOUR_MS)
    await feed_of(office).pull(NOW_MS - HOUR_MS)
    assert office.orders() == set()
    assert office.pulls.cursor(office.connection) == NOW_MS - DAY_MS
    await feed_of(office).pull()
    assert office.orders() == {"1"}


async def test_a_clock_that_was_ahead_stops_no_pull_and_loses_nothing(office: Office) -> None:
    office.clock.ms += 5 * HOUR_MS
    await feed_of(office).pull()
    office.clock.ms = NOW_MS + HOUR_MS
    office.platform.change(1, NOW_MS + HOUR_MS // 2)
    assert await feed_of(office).pull() == {"accepted": 1}
    assert office.pulls.cursor(office.connection) == office.clock.ms
    office.clock.ms += HOUR_MS
    office.platform.change(2, NOW_MS + HOUR_MS + 5)
    assert await feed_of(office).pull() == {"accepted": 1}


async def test_cursors_only_go_forward(office: Office) -> None:
    office.pulls.begin(office.connection, 100, NOW_MS)
    office.pulls.advance(office.connection, Window(90, 200))
    office.pulls.advance(office.connection, Window(50, 150))
    office.pulls.skip(office.connection, 120)
    assert office.pulls.cursor(office.connection) == 200


def test_a_store_that_is_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Pulls(tmp_path, read_only=True)
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(LogDamaged):
        Pulls(tmp_path)
