"""The subscribers of docs/examples do what their first lines promise."""

import asyncio
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.following import ROOT, wait_for
from tests.integration.subscribing import World, world
from tests.trade import trade_day

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "data") as made:
        trade_day(made.trade, 1, 40)
        yield made


async def until_line(process: asyncio.subprocess.Process, ending: str) -> list[str]:
    """Read lines until one ends so, and end the program with a kill."""
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(30):
        while line := (await process.stdout.readline()).decode().rstrip("\n"):
            lines.append(line)
            if line.endswith(ending):
                break
    process.kill()
    await process.wait()
    return lines


async def test_python(cell: World, tmp_path: Path) -> None:
    creds = tmp_path / "creds.json"
    creds.write_text(json.dumps(await cell.admit("erp", "events")))
    for seed in (2, 3):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(EXAMPLES / "subscriber.py"), str(creds), str(tmp_path / "mine.db")),
            stdout=asyncio.subprocess.PIPE,
        )
        await until_line(process, f"level with {cell.log.tracked().head}")
        paid = [(each.stream, each.position) for each in cell.log.read(0, 10_000) if each.tag == "order.paid"]
        with sqlite3.connect(tmp_path / "mine.db") as db:
            assert db.execute("SELECT stream, position FROM paid ORDER BY rowid").fetchall() == paid
        trade_day(cell.trade, seed, 20)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
async def test_node(cell: World, tmp_path: Path) -> None:
    creds = tmp_path / "creds.json"
    creds.write_text(json.dumps(await cell.admit("erp", "events")))
    seen: list[int] = []
    for seed in (2, 3):
        head = cell.log.tracked().head
        process = await asyncio.create_subprocess_exec(
            *("node", str(EXAMPLES / "subscriber.mjs"), str(creds), str(tmp_path / "place.json")),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            while not seen or seen[-1] < head:
                event = json.loads(await process.stdout.readline())
                assert event["data"] == json.loads(cell.log.read(event["position"] - 1, 1)[0].data)
                seen.append(event["position"])
        await wait_for(lambda: json.loads((tmp_path / "place.json").read_text())["position"] == seen[-1])
        process.kill()
        await process.wait()
        assert seen == list(range(1, head + 1))
        trade_day(cell.trade, seed, 20)


async def test_shell(cell: World) -> None:
    known = await cell.admit("erp", "events")
    host, _, port = str(known["url"]).removeprefix("nats://").partition(":")
    head = cell.log.tracked().head
    process = await asyncio.create_subprocess_exec(
        *("bash", str(EXAMPLES / "subscriber.sh"), host, port),
        *(known["user"], known["password"], "main", "events", str(head - 2)),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    lines = out.decode().splitlines()
    assert process.returncode == 0
    assert [line for line in lines if line.startswith("ce-position")] == [
        f"ce-position: {head - 1}",
        f"ce-position: {head}",
    ]
    assert json.loads(lines[-1]) == {"generation": "life", "position": head, "head": head}
