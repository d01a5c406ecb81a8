"""A real `up`: a stopped order reaches a group's robot once, with advice; people add, try and remove receivers."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.simulators.robots import SimDingTalk
from adapters.simulators.server import served
from tests.integration.running import Running, until
from tests.integration.test_ingest import trade, written
from tests.notify_world import SECRET, now_ms

pytestmark = pytest.mark.xdist_group("up")

HOME = {
    "receiver_mobile": "13800000001",
    "receiver_state": "浙江省",
    "receiver_city": "杭州市",
    "receiver_district": "西湖区",
    "receiver_address": "文三路 1 号",
}


@contextlib.asynccontextmanager
async def running(path: Path) -> AsyncIterator[Running]:
    up = Running(path)
    await asyncio.to_thread(up.__enter__)
    try:
        yield up
    finally:
        await asyncio.to_thread(up.__exit__, None, None, None)


async def test_a_stopped_order_reaches_a_robot_once_with_advice(tmp_path: Path) -> None:
    robot = SimDingTalk(SECRET, now_ms)
    async with served(robot) as base, running(tmp_path / "data") as up:

        async def run(*words: object, code: int = 0) -> str:
            said = await asyncio.to_thread(up.run, *words)
            assert said.code == code, said.err
            return said.out + said.err

        for name, text in (("url", base + robot.path), ("sign", SECRET)):
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o600)
        secrets = ("--secret", f"url=file:{tmp_path / 'url'}", "--secret", f"sign=file:{tmp_path / 'sign'}")
        assert "keeper" in await run("receivers", "list"), "it says which roles nobody stands for"
        await run("receivers", "add", "operations", "--kind", "dingtalk", *secrets, "--number", "13800000000")
        await run("receivers", "link", "https://board.example/orders/{order}")
        assert "taken: operations" in await run("receivers", "test", "operations")
        assert robot.taken.pop().text.startswith("这是一条测试消息")

        order = await asyncio.to_thread(written, tmp_path, "short.json", trade("9001", **HOME))
        await run("ingest", order, "--shop", "s1")
        await asyncio.to_thread(until, lambda: robot.taken, 15.0)
        (note,) = robot.taken
        assert "9001" in note.title
        assert "stock_short" in note.title
        assert "advice: receive or move stock" in note.text
        assert "https://board.example/orders/taobao:s1:9001" in note.text
        assert note.to == ("13800000000",)
        await asyncio.to_thread(until, lambda: "notify" in up.run("order", "taobao:s1:9001").out, 10.0)

        # Killed between sending and recording: nobody can say whether it arrived, and it is not sent twice.
        await run("ingest", order, "--shop", "s1")
        robot.faults.plan(1, "timeout_after")
        await run(
            "ingest", await asyncio.to_thread(written, tmp_path, "other.json", trade("9002", **HOME)), "--shop", "s1"
        )
        await asyncio.to_thread(until, lambda: len(robot.taken) > 1, 15.0)
        pid = up.parts()["effects"]
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(until, lambda: up.parts().get("effects", pid) != pid, 10.0)
        await asyncio.to_thread(until, lambda: "given up" in up.run("effects", "list").out, 15.0)
        shown = await run("effects", "list")
        assert "may have arrived" in shown
        titles = [note.title for note in robot.taken]
        assert [sum(number in title for title in titles if "拦截" in title) for number in ("9001", "9002")] == [1, 1]

        (tmp_path / "sign").write_text("SEC-another")
        assert "sign not match" in await run("receivers", "test", "operations", code=1)
        await run("receivers", "remove", "operations")
        assert "there is no receiver" in await run("receivers", "test", "operations", code=1)
