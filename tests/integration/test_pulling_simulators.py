"""The whole way from simulated platforms: connected by the command line, pulled, pushed, fetched, compared, told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.platforms.connection import Token
from adapters.simulators import SimOrder, Simulated, an_order
from runners.connection_keys import FileKeys
from runners.connections import load
from runners.lock import DataLock
from runners.pulling_store import Pulls
from tests.integration.following import wait_for
from tests.integration.harness import Cell, ended, running_cell
from tests.integration.running import Said, orderspine
from tests.integration.simulated_shops import FEEDS

MINUTE_MS = 60_000
PULLER = "runners.pulling"


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[Cell]:
    async with running_cell(tmp_path / "data") as cell:
        with DataLock(cell.path):
            cell.start()
            await wait_for(lambda: (tracked := cell.tracked()) is not None and tracked.epoch > 0)
            yield cell


async def say(cell: Cell, *words: object) -> Said:
    """Run a command line beside the servers of this loop."""
    return await asyncio.to_thread(orderspine, "channels", *words, "--data", cell.path)


async def connect(cell: Cell, sim: Simulated, *more: object, secret: str = "", every_s: int = 1) -> str:
    """Connect a simulated shop as a person does, and give it the token it has; return the connection's name."""
    told: dict[str, Any] = sim.letting_in()
    given = told["connection"]
    words: list[object] = ["add", given["name"], "--channel", given["channel"], "--shop", given["shop"]]
    for field in ("base_url", "token_url", "socket_url"):
        if given[field]:
            words += ["--" + field.replace("_", "-"), given[field]]
    for name, value in {**given["options"], "calls_per_s": "500"}.items():
        words += ["--option", f"{name}={value}"]
    for name, value in told["secrets"].items():
        file = cell.path / f"{given['name']}.{name}"
        file.write_text((secret or value) + "\n")
        file.chmod(0o600)
        words += ["--secret", f"{name}=file:{file}"]
    said = await say(cell, *words, "--pull-every", every_s, *more)
    assert said.code == 0, said.err
    assert (secret or next(iter(told["secrets"].values()))) not in said.out + said.err
    connection = next(each for each in load(cell.path) if each.name == given["name"])
    FileKeys(cell.path, connection).keep(msgspec.convert(told["token"], Token))
    return str(given["name"])


@contextlib.contextmanager
def puller(cell: Cell) -> Iterator[None]:
    process = cell.start(PULLER)
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(20) == 0, cell.worker_log()[-3000:]


def orders_of(sim: Simulated, count: int, minutes: int = 30, first: int = 1) -> list[SimOrder]:
    """Let orders be there, changed some minutes ago."""
    now = sim.platform.now_ms()
    orders = [an_order(sim.channel, first + at, now - minutes * MINUTE_MS + at * 1000) for at in range(count)]
    sim.add(*orders)
    return orders


def received(cell: Cell, channel: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for event in cell.recorded():
        if event.tag == "order.received" and event.stream.startswith(f"order-{channel}:"):
            number = event.stream.rpartition(":")[2]
            found[number] = found.get(number, 0) + 1
    return found


async def test_every_platform_that_is_pulled_ends_in_one_log_each_order_once(cell: Cell) -> None:
    async with contextlib.AsyncExitStack() as stack:
        sims = [await stack.enter_async_context(Simulated(channel)) for channel in FEEDS]
        expected = {sim.channel: orders_of(sim, 7) for sim in sims}
        with puller(cell):
            # The puller runs already: what is added is noticed.
            for sim in sims:
                await connect(cell, sim)
            for channel, orders in expected.items():
                await wait_for(lambda: received(cell, channel).keys() == {order.order_no for order in orders})  # noqa: B023
                assert set(received(cell, channel).values()) == {1}
            listed = (await say(cell, "list", "--json")).json
            await asyncio.sleep(0)
        assert [shop["problems"] for shop in listed] == [{}] * len(FEEDS)
        checked = await say(cell, "check", "--json")
        assert checked.code == 0, checked.out
        assert {each["good"] for each in checked.json} == {True}


@pytest.mark.parametrize("channel", ["taobao", "pinduoduo"])
async def test_a_message_on_the_socket_brings_the_order_long_before_a_pull(cell: Cell, channel: str) -> None:
    async with Simulated(channel, resend_s=0.3, announce=True) as sim:
        await connect(cell, sim, every_s=3600)
        with puller(cell):
            await wait_for(lambda: bool(sim.requests))
            (order,) = orders_of(sim, 1, minutes=0)
            await wait_for(lambda: order.order_no in received(cell, channel), 20.0)
            sim.change(order.order_no, status="shipped")
            await wait_for(
                lambda: any(
                    event.stream.endswith(f":{order.order_no}") and event.tag in {"order.amended", "order.shipped"}
                    for event in cell.recorded()
                )
            )
        assert received(cell, channel) == {order.order_no: 1}


async def test_a_wrong_secret_is_told_and_mended_while_other_shops_go_on(cell: Cell) -> None:
    async with Simulated("taobao") as bad, Simulated("jd") as good:
        orders_of(bad, 2)
        orders_of(good, 2)
        name = await connect(cell, bad, "--no-listen", secret="not-the-secret")
        await connect(cell, good)
        checked = await say(cell, "check", name)
        assert checked.code == 1
        assert "BAD" in checked.out
        assert "what to do" in checked.err
        assert "not-the-secret" not in checked.out + checked.err
        with puller(cell):
            await wait_for(lambda: len(received(cell, "jd")) == 2)
            await wait_for(lambda: bool(shop_named(cell, name)["problems"]))
            assert "access" in shop_named(cell, name)["problems"]
            (cell.path / f"{name}.app_secret").write_text(bad.letting_in()["secrets"]["app_secret"])
            await wait_for(lambda: len(received(cell, "taobao")) == 2)
            await wait_for(lambda: not shop_named(cell, name)["problems"])
        assert "not-the-secret" not in cell.worker_log()


async def test_a_token_that_ends_is_refreshed_and_kept(cell: Cell) -> None:
    async with Simulated("jd") as sim:
        name = await connect(cell, sim)
        before = (cell.path / "tokens" / f"{name}.json").read_bytes()
        sim.expire_tokens()
        orders_of(sim, 2)
        with puller(cell):
            await wait_for(lambda: len(received(cell, "jd")) == 2)
        assert (cell.path / "tokens" / f"{name}.json").read_bytes() != before
        sim.expire_tokens(refresh=True)
        with puller(cell):
            await wait_for(lambda: "access" in shop_named(cell, name)["problems"])
        assert f"orderspine channels authorise {name}" in (await say(cell, "check", name)).err
        said = await say(cell, "authorise", name, "--code", sim.platform.tokens.code())
        assert said.code == 0, said.err
        assert (await say(cell, "check", name)).code == 0


async def test_a_platform_that_limits_calls_is_pulled_all_the_same(cell: Cell) -> None:
    async with Simulated("douyin") as sim:
        orders_of(sim, 12)
        sim.limit(2.0)
        sim.fail_next(3, "503")
        await connect(cell, sim)
        with puller(cell):
            await wait_for(lambda: len(received(cell, "douyin")) == 12)
        assert set(received(cell, "douyin").values()) == {1}


async def test_a_comparison_finds_what_the_pulls_were_not_told(cell: Cell) -> None:
    async with Simulated("taobao") as sim:
        orders_of(sim, 3, minutes=90)
        name = await connect(cell, sim, "--no-listen")
        assert (await say(cell, "pull", name)).code == 0
        # The platform's feed had lagged behind: these were changed long before the cursor and show up now.
        late = orders_of(sim, 2, minutes=60, first=50)
        dry = await say(cell, "pull", name, "--json")
        assert not {order.order_no for order in late} & received(cell, "taobao").keys(), dry.out
        said = await say(cell, "reconcile", name, "--from", "3h", "--json")
        assert said.code == 0, said.err
        assert (said.json["known"], len(said.json["missed"]), said.json["changed"]) == (3, 2, [])
        assert said.json["recorded"]
        assert {key.rpartition(":")[2] for key in said.json["missed"]} == {order.order_no for order in late}
        again = await say(cell, "reconcile", name, "--from", "3h")
        assert again.code == 0
        assert "漏单 missed, taken in now" in again.out
        events = [event for event in cell.recorded() if event.tag == "intake.reconciled"]
        assert [msgspec.json.decode(event.data)["missed"] for event in events] == [2, 0]


def shop_named(cell: Cell, name: str) -> dict[str, Any]:
    """Return what the puller noted of a connection."""
    pulls = Pulls(cell.path, read_only=True)
    try:
        found: dict[str, Any] = msgspec.to_builtins(pulls.state(name))
    finally:
        pulls.close()
    return {"problems": {}, **found}


async def test_the_command_line_refuses_what_cannot_work(cell: Cell) -> None:
    usual = ("--channel", "taobao", "--shop", "s", "--option", "app_key=1")
    for words, sentence in (
        (("add", "a/b", *usual), "use letters, digits, - and _"),
        (("add", "a", "--channel", "ebay", "--shop", "s"), "known: taobao"),
        (("add", "a", "--channel", "taobao", "--shop", "s"), "option app_key is missing"),
        (("add", "a", *usual, "--option", "app_secret=hush"), "option app_secret holds a secret"),
        (("add", "a", *usual, "--secret", "app_secret=hush"), "secret app_secret must say where it is found"),
        (("add", "a", *usual, "--secret", "hush"), "--secret must be NAME=VALUE"),
        (("add", "a", *usual, "--option", "since_days=many"), "since_days 'many'"),
    ):
        said = await say(cell, *words)
        assert (said.code, sentence in said.err, "hush" in said.err) == (2, True, False), (words, said.err)
    for verb in ("pull", "remove", "reconcile"):
        said = await say(cell, verb, "nobody")
        assert (said.code, "there is no connection 'nobody'" in said.err) == (1, True), said.err
    assert load(cell.path) == ()
    said = await say(cell, "add", "a", *usual, "--secret", f"app_secret=file:{cell.path}/nowhere", "--json")
    assert said.code == 0
    assert "there is no file" in said.json["to_do"][0]
    assert (await say(cell, "add", "a", *usual)).code == 1, "it is there already"
    assert (await say(cell, "add", "a", *usual, "--replace", "--pull-every", "0")).code == 0
    assert [each.pull_every_s for each in load(cell.path)] == [0]
    page = await say(cell, "authorise", "a", "--redirect", "https://shop.invalid/back", "--json")
    assert "client_id=1" in page.json["url"]
    assert (await say(cell, "reconcile", "a", "--from", "1h", "--to", "2h")).code == 2
    assert (await say(cell, "pull", "a", "--since", "yesterdayish")).code == 2
    assert (await say(cell, "remove", "a")).code == 0
    assert load(cell.path) == ()
    assert (await say(cell, "list")).code == 0


async def test_acting_needs_a_running_cell_and_looking_does_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with DataLock(data):
        pass
    words = ("--channel", "generic", "--shop", "s", "--secret", "push_secret=env:NOWHERE", "--data", data)
    assert (await asyncio.to_thread(orderspine, "channels", "add", "own", *words)).code == 0
    assert (await asyncio.to_thread(orderspine, "channels", "list", "--data", data)).code == 0
    assert (await asyncio.to_thread(orderspine, "channels", "check", "--data", data)).code == 1
    taobao = ("--channel", "taobao", "--shop", "s", "--option", "app_key=1", "--data", data)
    assert (await asyncio.to_thread(orderspine, "channels", "add", "tb", *taobao)).code == 0
    said = await asyncio.to_thread(orderspine, "channels", "pull", "tb", "--data", data)
    assert said.code == 3
    assert "does not run" in said.err
    assert (await asyncio.to_thread(orderspine, "channels", "list", "--data", tmp_path / "none")).code == 4


async def test_the_puller_ends_clean_while_it_is_at_work(cell: Cell) -> None:
    async with Simulated("jd") as sim:
        orders_of(sim, 30)
        await connect(cell, sim)
        process = cell.start(PULLER)
        await wait_for(lambda: len(sim.requests) > 2)
        process.terminate()
        assert await ended(process, 6.0) == 0
