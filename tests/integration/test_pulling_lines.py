"""Lines: each shop's troubles are its own, are told, and end by themselves; sockets lose nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from adapters import platforms
from adapters.platforms.connection import Connection, Token
from domain.intake import IntakeReconciled
from domain.platforms import NotAuthorised, Window
from domain.time_units import DAY_MS, HOUR_MS
from runners import pulling_line
from runners.connection_keys import FileKeys
from runners.connections import FILE, save
from runners.pulling import Wiring
from runners.pulling_line import Line, backoff_s
from runners.pulling_log import LogFollower
from runners.pulling_store import Hinted
from tests.fake_platform import FolderListener, FolderPlatform, FolderPuller, hint
from tests.integration.following import wait_for
from tests.pulling_world import NOW_MS, Office


@pytest.fixture(autouse=True)
def folder_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(platforms.MODULES, "taobao", "tests.fake_platform")
    for name, value in {"START_SPREAD_S": 0.0, "BACKOFF_S_MIN": 0.02, "REFUSED_S": 0.05, "STAMP_S": 0.02}.items():
        monkeypatch.setattr(pulling_line, name, value)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with Office(tmp_path, since_days="0.01") as office:
        yield office


@contextlib.asynccontextmanager
async def running(*lines: Line) -> AsyncIterator[None]:
    tasks = [line.start() for line in lines]
    try:
        yield
    finally:
        for line in lines:
            line.stop()
        await asyncio.gather(*tasks, return_exceptions=True)


def has(office: Office, *numbers: str) -> Callable[[], bool]:
    return lambda: set(numbers) <= office.orders()


def problem(office: Office, what: str, name: str = "flagship") -> str:
    return office.pulls.state(name).problems.get(what, "")


async def test_a_line_pulls_at_once_and_tells_when(office: Office) -> None:
    office.platform.change(1, NOW_MS - 1000)
    async with running(office.line()):
        await wait_for(lambda: bool(office.pulls.state("flagship").pulled_ms))
    state = office.pulls.state("flagship")
    assert (state.problems, state.pulled, state.pulled_ms) == ({}, {"accepted": 1}, NOW_MS)
    assert office.platform.calls("close") == ["close"]


@pytest.mark.parametrize(
    ("fault", "what", "reason"),
    [
        ("busy", "pull", "the platform is down"),
        ("rest 0.05", "pull", "too many calls"),
        ("refused", "pull", "this is not allowed"),
        ("shut", "access", "the token has ended (authorise the shop anew)"),
        ("bug", "program", "KeyError in "),
    ],
)
async def test_a_trouble_is_told_and_ends_by_itself(
    office: Office, monkeypatch: pytest.MonkeyPatch, fault: str, what: str, reason: str
) -> None:
    monkeypatch.setattr(pulling_line, "ACCESS_S", 0.05)
    office.platform.fault(fault)
    office.platform.change(1, NOW_MS - 1000)
    with capture_logs() as logs:
        async with running(office.line()):
            await wait_for(lambda: reason in problem(office, what))
            await wait_for(lambda: len(office.platform.calls("changed")) > 3)
            office.platform.fault("")
            await wait_for(has(office, "1"))
            await wait_for(lambda: not office.pulls.state("flagship").problems)
    told = [entry for entry in logs if entry["log_level"] == "error"]
    assert [entry["event"] for entry in told] == [f"{what}.failed"], "said once, not at each try"
    assert "a secret or a name" not in str(logs)


async def test_one_bad_shop_stops_no_other(office: Office, tmp_path: Path) -> None:
    office.platform.change(1, NOW_MS - 1000)
    lines = []
    for number, fault in enumerate(("busy", "shut", "bug")):
        folder = FolderPlatform(tmp_path / f"bad{number}")
        folder.fault(fault)
        options = {"folder": str(folder.folder)}
        lines.append(Line(Connection(f"bad{number}", "taobao", f"bad{number}", options=options), office.shared))
    lines.append(Line(Connection("lost", "taobao", "lost"), office.shared))
    async with running(*lines, office.line()):
        await wait_for(has(office, "1"))
        await wait_for(lambda: "option folder is missing" in problem(office, "settings", "lost"))


async def test_a_corrected_secret_ends_the_wait_at_once(office: Office, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("wrong")
    secret.chmod(0o600)
    office.platform.change(1, NOW_MS - 1000)
    office.connection = msgspec.structs.replace(office.connection, secrets={"app_secret": f"file:{secret}"})
    async with running(office.line()):
        await wait_for(lambda: "refuses our signature (correct the secret)" in problem(office, "access"))
        calls = len(office.platform.calls())
        await asyncio.sleep(0.1)
        assert len(office.platform.calls()) == calls, "a shut door is not knocked at all the time"
        secret.write_text("right")
        await wait_for(has(office, "1"), 5.0)


async def test_a_new_token_ends_the_wait_at_once(office: Office, tmp_path: Path) -> None:
    office.platform.fault("shut")
    async with running(office.line()):
        await wait_for(lambda: bool(problem(office, "access")))
        office.platform.fault("")
        office.platform.change(1, NOW_MS - 1000)
        FileKeys(tmp_path, office.connection).keep(Token("fresh"))
        await wait_for(has(office, "1"), 5.0)


async def test_a_missing_worker_is_waited_for(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling_line, "AWAY_S", 0.01)
    office.room.away = 3
    office.platform.change(1, NOW_MS - 1000)
    async with running(office.line()):
        await wait_for(has(office, "1"))
    assert office.pulls.state("flagship").problems == {}, "it is not the shop's fault"


async def test_what_is_pushed_while_the_door_is_shut_is_fetched_when_it_opens(office: Office, tmp_path: Path) -> None:
    office.connection = msgspec.structs.replace(office.connection, pull_every_s=0)
    office.platform.fault("shut")
    office.platform.change(7, NOW_MS)
    save(tmp_path, [office.connection])
    wiring = Wiring(office.shared)
    try:
        await wiring.refresh()
        follower = LogFollower(office.log, office.pulls, wiring.fetching, office.clock)
        await office.room.send(await office.room.cut(office.connection, [hint(8)], "webhook", NOW_MS))
        wiring.wake(follower.run_once()[1])
        office.clock.ms += 1000
        await wait_for(lambda: bool(problem(office, "access")))
        await office.room.send(await office.room.cut(office.connection, [hint(7)], "webhook", NOW_MS))
        wiring.wake(follower.run_once()[1])
        office.clock.ms += 1000
        office.platform.fault("")
        FileKeys(tmp_path, office.connection).keep(Token("fresh"))
        await wait_for(has(office, "7"), 5.0)
    finally:
        await wiring.close()


async def test_a_shop_that_only_pushes_has_nothing_to_fetch(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMEWHERE", "hush")
    own = Connection("own", "generic", "own", secrets={"push_secret": "env:SOMEWHERE"})
    office.pulls.follow("memory", 0, [Hinted("own", "1", 1, NOW_MS, NOW_MS)], [("own", Window(0, 1), "mail was lost")])
    save(tmp_path, [own])
    wiring = Wiring(office.shared)
    try:
        await wiring.refresh()
        await wait_for(lambda: wiring.fetching() == [])
        await wait_for(lambda: not office.pulls.hints_waiting("own"))
        assert office.pulls.comparisons("own") == []
        assert office.pulls.state("own").problems == {}
    finally:
        await wiring.close()


async def test_a_shop_that_only_pushes_tells_when_its_secret_is_not_there(office: Office, tmp_path: Path) -> None:
    own = Connection("own", "generic", "own", secrets={"push_secret": "file:own.secret"})
    secret = tmp_path / "own.secret"
    async with running(Line(own, office.shared)):
        await wait_for(lambda: "there is no file" in problem(office, "access", "own"))
        secret.touch(0o600)
        secret.write_text("hush")
        await wait_for(lambda: not office.pulls.state("own").problems)
        secret.chmod(0o644)
        await wait_for(lambda: "can be read or changed by others" in problem(office, "access", "own"))
        secret.chmod(0o600)
        await wait_for(lambda: not office.pulls.state("own").problems)
    nowhere = Connection("env", "generic", "env", secrets={"push_secret": "env:NOWHERE_AT_ALL"})
    async with running(Line(nowhere, office.shared)):
        await wait_for(lambda: "NOWHERE_AT_ALL is not set" in problem(office, "access", "env"))


async def test_what_the_socket_brings_is_in_the_log_before_it_is_acknowledged(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling_line, "AWAY_S", 0.01)
    office.connection = msgspec.structs.replace(
        office.connection, options={**office.connection.options, "socket": "1"}, pull_every_s=0
    )
    office.room.away = 2
    for number in range(40):
        office.platform.push(f"{number:02}", hint(100 + number))
    async with running(office.line()):
        await wait_for(lambda: not office.platform.unacknowledged())
        assert len(office.events("intake.hinted")) == 40
        assert office.pulls.state("flagship").listening
        (office.platform.folder / "hang_up").touch()
        await wait_for(lambda: bool(problem(office, "socket")))
        assert not office.pulls.state("flagship").listening
        (office.platform.folder / "hang_up").unlink()
        office.platform.push("last", hint(7))
        await wait_for(lambda: not office.platform.unacknowledged())
        assert len(office.events("intake.hinted")) == 41
        await wait_for(lambda: not problem(office, "socket"))


async def test_a_socket_that_is_shut_does_not_stop_the_pulls(office: Office) -> None:
    office.connection = msgspec.structs.replace(
        office.connection, options={**office.connection.options, "socket": "1"}, pull_every_s=1
    )

    async def refused(self: FolderListener) -> AsyncIterator[object]:
        raise NotAuthorised("the app has no permission for messages")
        yield self

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderListener, "frames", refused)
        async with running(office.line()):
            await wait_for(lambda: "no permission for messages" in problem(office, "socket"))
            office.platform.change(1, NOW_MS - 1000)
            office.clock.ms += 10
            await wait_for(has(office, "1"))


async def test_one_order_that_the_platform_stumbles_over_does_not_hold_up_those_that_are_pushed_later(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling_line, "BACKOFF_S_MIN", 60.0)
    office.connection = msgspec.structs.replace(office.connection, pull_every_s=0)
    office.platform.fault("busy 7")
    office.platform.change(8, NOW_MS)
    office.pulls.follow("g", 1, [Hinted("flagship", "7", 1, NOW_MS, NOW_MS)])
    line = office.line()
    async with running(line):
        await wait_for(lambda: bool(office.platform.calls("order 7")))
        office.pulls.follow("g", 2, [Hinted("flagship", "8", 2, NOW_MS, NOW_MS)])
        line.wake()
        await wait_for(has(office, "8"), 5.0)


async def test_an_app_that_may_not_fetch_single_orders_pulls_all_the_same(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = FolderPuller.changed

    async def order(*_: object) -> bytes | None:
        raise NotAuthorised("the app has no permission for single orders")

    async def changed(self: FolderPuller, window: Window) -> AsyncIterator[list[bytes]]:
        await asyncio.sleep(0.2)  # longer than the refusal takes
        async for page in pages(self, window):
            yield page

    monkeypatch.setattr(FolderPuller, "order", order)
    monkeypatch.setattr(FolderPuller, "changed", changed)
    office.platform.change(1, NOW_MS - 1000)
    office.pulls.begin(office.connection, NOW_MS - 5000, NOW_MS)
    office.pulls.follow("g", 1, [Hinted("flagship", "7", 1, NOW_MS, NOW_MS)])
    async with running(office.line()):
        await wait_for(has(office, "1"))
        assert "no permission for single orders" in problem(office, "hints")
        assert not problem(office, "access")
    assert office.pulls.hints_waiting("flagship") == 1


async def test_a_comparison_that_was_asked_for_is_made_and_recorded(office: Office) -> None:
    office.pulls.begin(office.connection, NOW_MS, NOW_MS)
    office.platform.change(1, NOW_MS - HOUR_MS)
    generation = office.log.tracked().generation
    office.pulls.follow(generation, 0, (), [("flagship", Window(NOW_MS - 2 * HOUR_MS, NOW_MS), "mail was lost")])
    async with running(office.line()):
        await wait_for(lambda: bool(office.events("intake.reconciled")))
        await wait_for(lambda: not office.pulls.comparisons("flagship"))
    (event,) = office.events("intake.reconciled")
    assert isinstance(event, IntakeReconciled)
    assert (event.missed, event.reason, event.keys) == (1, "mail was lost", ("order-taobao:hardware:1",))


async def test_each_day_the_day_before_is_compared(office: Office) -> None:
    office.pulls.begin(office.connection, NOW_MS, NOW_MS)
    office.clock.ms += DAY_MS + HOUR_MS
    office.pulls.advance(office.connection, Window(NOW_MS, office.clock.ms))
    office.platform.change(1, NOW_MS + HOUR_MS)
    async with running(office.line()):
        await wait_for(lambda: bool(office.events("intake.reconciled")))
        await wait_for(lambda: not office.pulls.comparisons("flagship"))
    (event,) = office.events("intake.reconciled")
    assert isinstance(event, IntakeReconciled)
    assert (event.missed, event.reason) == (1, "the daily comparison")
    assert office.pulls.compared(office.connection) == office.clock.ms - 1000


async def test_the_file_is_followed_without_a_restart(office: Office, tmp_path: Path) -> None:
    wiring = Wiring(office.shared)
    try:
        await wiring.refresh()
        assert wiring.fetching() == []
        office.platform.change(1, NOW_MS - 1000)
        save(tmp_path, [office.connection])
        await wiring.refresh()
        await wait_for(has(office, "1"))
        assert wiring.fetching() == [office.connection]
        (tmp_path / FILE).write_text("[{")
        with capture_logs() as logs:
            await wiring.refresh()
            await wiring.refresh()
        assert [entry["event"] for entry in logs] == ["channels.unusable"]
        assert wiring.fetching() == [office.connection], "a slip of the pen stops no shop"
        renamed = msgspec.structs.replace(office.connection, name="other")
        save(tmp_path, [renamed, msgspec.structs.replace(office.connection, name="off", enabled=False)])
        await wiring.refresh()
        await wait_for(lambda: wiring.fetching() == [renamed])
    finally:
        await wiring.close()
    assert wiring.fetching() == []


def test_waits_grow_and_differ() -> None:
    waits = [backoff_s(failures) for failures in range(1, 30)]
    assert max(waits) <= pulling_line.BACKOFF_S_MAX
    assert len(set(waits)) > 20
    assert min(waits[20:]) > max(waits[:3])


async def test_a_line_that_fails_while_it_is_stopped_stops(office: Office) -> None:
    office.platform.fault("shut")
    for turn in range(40):
        line = office.line()
        task = line.start()
        await asyncio.sleep(turn / 4000)
        line.stop()
        done, _ = await asyncio.wait({task}, timeout=5.0)
        assert done, "it goes on although it was told to stop"
