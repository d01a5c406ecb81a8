"""Hints: an order that a push named is fetched once, soon, whatever dies, and never given up in silence."""

import math
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from adapters.storage.memory_log import MemoryEventLog
from domain.cellular import NoteBrokerReset, NoteMailLost
from domain.intake import IntakeRefused
from domain.platforms import NotAuthorised, PlatformBusy, Window
from domain.time_units import DAY_MS, HOUR_MS, MINUTE_MS
from runners.post import NoAnswer
from runners.pulling_hints import TRIES_ABSENT, TRIES_BUSY, Fetching
from runners.pulling_log import NOTE_MS, RESTORED_SPAN_MS, LogFollower
from runners.pulling_store import Hinted
from tests.fake_platform import FolderPuller, _Client
from tests.fake_platform import hint as message
from tests.platform_world import MemoryKeys
from tests.pulling_world import NOW_MS, EngineRoom, Office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with Office(tmp_path) as office:
        office.pulls.begin(office.connection, NOW_MS - HOUR_MS, NOW_MS)
        yield office


def follower_of(office: Office) -> LogFollower:
    return LogFollower(office.log, office.pulls, lambda: [office.connection], office.clock)


def fetching_of(office: Office) -> Fetching:
    puller = FolderPuller(_Client(office.connection, MemoryKeys()), office.connection.options)
    return Fetching(office.connection, puller, office.pulls, office.room, office.clock)


async def pushed(office: Office, *documents: bytes, pipe: str = "webhook") -> None:
    """Let pushes come in by a gateway."""
    await office.room.send(await office.room.cut(office.connection, documents, pipe, office.clock()))


async def fetch_all(office: Office) -> None:
    """Let time pass until nothing waits any more."""
    fetching = fetching_of(office)
    while True:
        try:
            wait_s = await fetching.run_once()
        except PlatformBusy:
            wait_s = 1.0
        if wait_s == math.inf:
            return
        office.clock.ms += round(wait_s * 1000) + 1


async def test_an_order_that_a_push_named_is_fetched_and_taken_in(office: Office) -> None:
    office.platform.change(7, NOW_MS)
    await pushed(office, message(7))
    assert office.orders() == set()
    count, names = follower_of(office).run_once()
    assert (count, names) == (1, {"flagship"})
    await fetch_all(office)
    assert office.orders() == {"7"}
    assert office.pulls.hints_waiting("flagship") == 0


async def test_many_hints_for_one_order_are_one_fetch(office: Office) -> None:
    office.platform.change(7, NOW_MS)
    follower = follower_of(office)
    for stamp in range(5):
        await pushed(office, message(7, stamp), message(7, 100 + stamp))
        follower.run_once()
    await fetch_all(office)
    assert len(office.platform.calls("order 7")) == 1


async def test_a_hint_that_comes_during_the_fetch_makes_another_one(office: Office) -> None:
    office.platform.change(7, NOW_MS)
    follower = follower_of(office)
    await pushed(office, message(7, 1))
    follower.run_once()
    office.clock.ms += 1000
    fetching = fetching_of(office)
    take = fetching._take

    async def slow(hint: Hinted) -> None:
        await take(hint)
        if len(office.platform.calls("order 7")) == 1:
            office.platform.change(7, NOW_MS + 1, "WAIT_BUYER_CONFIRM_GOODS")
            await pushed(office, message(7, 2))
            follower.run_once()

    fetching._take = slow  # type: ignore[method-assign]
    await fetching.run_once()
    assert office.pulls.hints_waiting("flagship") == 1, "the newer state of affairs is still to be fetched"
    await fetch_all(office)
    assert len(office.events("order.shipped")) == 1


async def test_a_follower_that_dies_repeats_nothing_and_forgets_nothing(office: Office) -> None:
    office.platform.change(7, NOW_MS)
    office.platform.change(8, NOW_MS)
    await pushed(office, message(7))
    follower_of(office).run_once()
    await fetch_all(office)
    await pushed(office, message(8))
    follower_of(office).run_once()
    assert [each.order_no for each in office.pulls.hints_due("flagship", 10**15, 9)] == ["8"]


async def test_the_place_in_the_log_is_noted_now_and_then(office: Office) -> None:
    follower = follower_of(office)
    await pushed(office, b'{"topic":"taobao_item_Update","content":"{}"}')
    follower.run_once()
    office.clock.ms += NOTE_MS
    await pushed(office, b'{"topic":"taobao_item_Update","content":"{ }"}')
    follower.run_once()
    assert office.pulls.followed() == (office.log.tracked().generation, 2)


async def test_a_fetch_survives_that_nobody_handles_mail(office: Office) -> None:
    office.platform.change(7, NOW_MS)
    await pushed(office, message(7))
    follower_of(office).run_once()
    office.clock.ms += 1000
    office.room.away = 1
    with pytest.raises(NoAnswer):
        await fetching_of(office).run_once()
    assert office.pulls.hints_due("flagship", office.clock(), 1)[0].tries == 0
    await fetch_all(office)
    assert office.orders() == {"7"}


async def test_an_order_that_the_platform_does_not_know_is_given_up_in_the_log(office: Office) -> None:
    await pushed(office, message(7))
    follower_of(office).run_once()
    await fetch_all(office)
    (told,) = office.events("intake.refused")
    assert isinstance(told, IntakeRefused)
    assert told.reason.startswith("order 7 was named by a push and could not be fetched")
    assert len(office.platform.calls("order 7")) == TRIES_ABSENT
    assert MINUTE_MS < office.clock.ms - NOW_MS < HOUR_MS
    assert office.pulls.hints_waiting("flagship") == 0


async def test_one_order_that_always_fails_does_not_hold_up_the_others(office: Office) -> None:
    for number in (7, 8, 9):
        office.platform.change(number, NOW_MS)
    office.platform.fault("busy 7")
    await pushed(office, message(7), message(8), message(9))
    follower_of(office).run_once()
    await fetch_all(office)
    assert office.orders() == {"8", "9"}
    assert len(office.platform.calls("order 7")) == TRIES_BUSY
    assert len(office.events("intake.refused")) == 1


async def test_a_platform_that_asks_for_a_rest_gets_it(office: Office) -> None:
    office.platform.fault("rest 30")
    await pushed(office, message(7))
    follower_of(office).run_once()
    office.clock.ms += 1000
    with pytest.raises(PlatformBusy) as busy:
        await fetching_of(office).run_once()
    assert busy.value.retry_after_s == 30
    assert office.pulls.hints_next("flagship") == office.clock.ms + 30_000


async def test_not_being_let_in_costs_no_tries(office: Office) -> None:
    office.platform.fault("shut")
    await pushed(office, message(7))
    follower_of(office).run_once()
    office.clock.ms += 1000
    with pytest.raises(NotAuthorised):
        await fetching_of(office).run_once()
    assert office.pulls.hints_due("flagship", office.clock(), 1)[0].tries == 0


async def test_an_answer_that_is_only_a_hint_again_does_not_go_round_for_ever(office: Office) -> None:
    office.platform.put("7", NOW_MS, b'{"tid":7,"status":"WAIT_BUYER_PAY"}')
    await pushed(office, message(7))
    follower = follower_of(office)
    follower.run_once()
    await fetch_all(office)
    assert len(office.events("intake.hinted")) == 1
    assert "not with the whole order" in str(office.events("intake.refused")[0])


async def test_what_pulls_have_brought_long_ago_is_not_fetched_again(office: Office) -> None:
    await pushed(office, message(7))
    follower_of(office).run_once()
    office.clock.ms += DAY_MS + HOUR_MS
    office.pulls.advance(office.connection, Window(NOW_MS - HOUR_MS, office.clock.ms))
    assert await fetching_of(office).run_once() == math.inf
    assert office.platform.calls("order") == []


async def test_a_pull_alone_is_not_believed_to_have_brought_what_a_push_has_just_named(office: Office) -> None:
    office.platform.change(7, NOW_MS + 10**9)  # not in the feed
    await pushed(office, message(7))
    follower_of(office).run_once()
    office.clock.ms += HOUR_MS
    office.pulls.advance(office.connection, Window(NOW_MS - HOUR_MS, office.clock.ms))
    await fetch_all(office)
    assert office.orders() == {"7"}


async def test_without_timed_pulls_every_hint_is_fetched(office: Office) -> None:
    office.connection = msgspec.structs.replace(office.connection, pull_every_s=0)
    office.platform.change(7, NOW_MS)
    await pushed(office, message(7))
    follower_of(office).run_once()
    office.clock.ms += DAY_MS
    await fetch_all(office)
    assert office.orders() == {"7"}


async def test_a_hint_goes_to_the_connection_it_came_by_else_to_its_shops(office: Office) -> None:
    twin = msgspec.structs.replace(office.connection, name="twin")
    other = msgspec.structs.replace(office.connection, name="other", shop="elsewhere")
    follower = LogFollower(office.log, office.pulls, lambda: [other, office.connection, twin], office.clock)
    await office.room.send(await office.room.cut(twin, [message(1)], "webhook", NOW_MS))
    unnamed = msgspec.structs.replace(other, name="gateway")
    await office.room.send(await office.room.cut(unnamed, [message(2)], "webhook", NOW_MS))
    nobody = msgspec.structs.replace(other, name="gateway", shop="nobody")
    await office.room.send(await office.room.cut(nobody, [message(3)], "webhook", NOW_MS))
    assert follower.run_once() == (3, {"twin", "other"})
    assert [each.order_no for each in office.pulls.hints_due("twin", 10**15, 9)] == ["1"]
    assert [each.order_no for each in office.pulls.hints_due("other", 10**15, 9)] == ["2"]


@pytest.mark.parametrize("note", [NoteMailLost(1, 9), NoteBrokerReset("life", "next", 0, "the directory was wiped")])
async def test_lost_mail_asks_for_a_comparison_of_the_time_it_may_tell_of(
    office: Office, note: NoteMailLost | NoteBrokerReset
) -> None:
    follower = follower_of(office)
    await pushed(office, message(7))
    follower.run_once()
    office.clock.ms += HOUR_MS
    office.room.engine.begin_life("next", 1, note, NOW_MS)
    assert follower.run_once() == (1, {"flagship"})
    (asked,) = office.pulls.comparisons("flagship")
    assert asked.window == Window(NOW_MS - 10 * MINUTE_MS, NOW_MS + HOUR_MS)
    assert asked.reason in {"mail was lost", "the broker was reset"}


async def test_what_befell_before_pulling_began_asks_for_nothing(office: Office) -> None:
    office.room.engine.begin_life("next", 0, NoteMailLost(1, 9), NOW_MS)
    assert follower_of(office).run_once() == (1, set())
    assert office.pulls.comparisons("flagship") == []


async def test_a_restored_log_is_compared_and_its_hints_are_looked_at_again(office: Office) -> None:
    await pushed(office, message(7))
    follower_of(office).run_once()
    office.pulls.hint_done(office.pulls.hints_due("flagship", 10**15, 1)[0])
    office.log = MemoryEventLog("another life")
    office.room = EngineRoom(office.settings, office.log, office.clock)
    await pushed(office, message(8))
    follower_of(office).run_once()
    (asked,) = office.pulls.comparisons("flagship")
    assert asked.window == Window(NOW_MS - HOUR_MS - RESTORED_SPAN_MS, NOW_MS)
    assert asked.reason == "the log was restored"
    assert [each.order_no for each in office.pulls.hints_due("flagship", 10**15, 9)] == ["8"]
