"""A comparison with the platform's past finds what was missed, takes it in, and says so in the log."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from domain.envelope import By
from domain.intake import IntakeReconciled
from domain.platforms import PlatformBusy, Window
from domain.time_units import DAY_MS, HOUR_MS
from runners.pulling_feed import Feed
from runners.reconciling import Progress, Reconciliation, Result
from tests.fake_platform import FolderPuller, _Client
from tests.platform_world import MemoryKeys
from tests.pulling_world import NOW_MS, STREAM, Office

SPAN = Window(NOW_MS - 5 * HOUR_MS, NOW_MS)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with Office(tmp_path) as office:
        office.pulls.begin(office.connection, NOW_MS - 5 * HOUR_MS, NOW_MS)
        yield office


def puller_of(office: Office) -> FolderPuller:
    return FolderPuller(_Client(office.connection, MemoryKeys()), office.connection.options)


async def pull(office: Office) -> None:
    await Feed(office.connection, puller_of(office), office.pulls, office.room, office.clock).pull()


async def compare(office: Office, puller: FolderPuller | None = None, told: list[Progress] | None = None) -> Result:
    one = Reconciliation(
        office.connection,
        puller or puller_of(office),
        office.pulls,
        office.room,
        office.log,
        office.clock,
        By("person", "eve", "operations"),
    )
    return await one.run(SPAN, "asked", (told if told is not None else []).append)


async def test_missed_changed_known_fresh_and_refused_orders_are_told_apart(office: Office) -> None:
    office.platform.change(1, NOW_MS - 4 * HOUR_MS)
    office.platform.change(2, NOW_MS - 3 * HOUR_MS)
    await pull(office)
    # As if the feed had kept silent about these.
    office.platform.change(2, NOW_MS - 2 * HOUR_MS, "WAIT_BUYER_CONFIRM_GOODS")
    office.platform.change(3, NOW_MS - HOUR_MS)
    office.platform.put(
        "4", NOW_MS - HOUR_MS, b'{"tid":4,"status":"WAIT_PAINT","orders":{"order":[{"oid":1,"num":1}]}}'
    )
    office.clock.ms += 60_000
    office.platform.change(5, NOW_MS + 1_000)
    told: list[Progress] = []
    one = Reconciliation(
        office.connection, puller_of(office), office.pulls, office.room, office.log, office.clock, By("system", "test")
    )
    result = await one.run(Window(SPAN.start_ms, NOW_MS + 60_000), "asked", told.append)
    found = result.found
    assert (found.known, found.fresh) == ({f"{STREAM}1"}, {f"{STREAM}5"})
    assert (list(found.missed), list(found.changed), list(found.refused)) == (
        [f"{STREAM}3"],
        [f"{STREAM}2"],
        [f"{STREAM}4"],
    )
    assert result.recorded
    assert office.orders() == {"1", "2", "3", "4", "5"}
    (event,) = office.events("intake.reconciled")
    assert isinstance(event, IntakeReconciled)
    assert (event.found, event.known, event.missed, event.changed, event.fresh, event.refused) == (5, 1, 1, 1, 1, 1)
    assert event.keys == (f"{STREAM}3", f"{STREAM}2")
    assert (event.start_ms, event.end_ms, event.reason) == (SPAN.start_ms, NOW_MS + 60_000, "asked")
    assert told[-1].share == 1.0
    assert [each.share for each in told] == sorted(each.share for each in told)


async def test_a_second_comparison_finds_nothing_missed(office: Office) -> None:
    office.platform.change(3, NOW_MS - HOUR_MS)
    await pull(office)
    first = await compare(office)
    assert (first.found.missed, first.found.known) == ({}, {f"{STREAM}3"})
    office.clock.ms += 1
    assert (await compare(office)).found.number == 1
    assert len(office.events("intake.reconciled")) == 2
    assert len(office.events("order.received")) == 1


async def test_what_the_pull_has_not_come_to_yet_is_not_missed(office: Office) -> None:
    office.platform.change(1, NOW_MS - HOUR_MS)
    result = await compare(office)
    assert (result.found.missed, result.found.fresh) == ({}, {f"{STREAM}1"})


async def test_without_timed_pulls_whatever_was_not_pushed_is_missed(office: Office) -> None:
    office.connection = msgspec.structs.replace(office.connection, pull_every_s=0)
    office.platform.change(1, NOW_MS - HOUR_MS)
    assert list((await compare(office)).found.missed) == [f"{STREAM}1"]


async def test_a_comparison_that_breaks_off_records_how_far_it_came(office: Office) -> None:
    office.platform.change(1, NOW_MS - 4 * HOUR_MS - 60_000)
    puller = puller_of(office)
    changed = puller.changed

    async def failing(window: Window) -> AsyncIterator[list[bytes]]:
        if window.end_ms > NOW_MS - 2 * HOUR_MS:
            raise PlatformBusy("later")
        async for page in changed(window):
            yield page

    puller.changed = failing  # type: ignore[method-assign]
    result = await compare(office, puller)
    assert isinstance(result.stopped, PlatformBusy)
    assert result.window.start_ms == SPAN.start_ms
    assert NOW_MS - 3 * HOUR_MS < result.window.end_ms <= NOW_MS - 2 * HOUR_MS
    (event,) = office.events("intake.reconciled")
    assert isinstance(event, IntakeReconciled)
    assert (event.end_ms, event.found) == (result.window.end_ms, 1)


async def test_a_comparison_that_cannot_begin_records_nothing(office: Office) -> None:
    office.platform.fault("refused")
    result = await compare(office)
    assert (str(result.stopped), result.recorded) == ("this is not allowed", False)
    assert office.events("intake.reconciled") == []


async def test_only_what_the_platform_remembers_is_compared(office: Office) -> None:
    office.connection = msgspec.structs.replace(
        office.connection, options={**office.connection.options, "reach_ms": str(2 * HOUR_MS)}
    )
    assert (await compare(office)).window.start_ms == NOW_MS - 2 * HOUR_MS


async def test_mail_that_does_not_get_through_is_the_end_of_a_comparison_and_no_lie(office: Office) -> None:
    office.platform.change(1, NOW_MS - DAY_MS // 12)
    office.room.away = 1
    result = await compare(office)
    assert str(result.stopped) == "nobody handles mail"
    assert result.found.number == 0
