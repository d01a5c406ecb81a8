"""A subscriber killed at random points sees every event exactly once in effect, in order per order.

`KILLS=500 .venv/bin/python -m pytest tests/integration/test_subscriber_kills.py -s` is the large version.
"""

import asyncio
import json
import os
import random
import sqlite3
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.integration.following import ROOT
from tests.integration.subscribing import world
from tests.trade import trade_day

KILLS = int(os.environ.get("KILLS", "20"))


@pytest.mark.timeout(60 + KILLS)
async def test_a_subscriber_killed_again_and_again_misses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    async with world(tmp_path / "data") as cell:
        trade_day(cell.trade, 1, 300)
        known = tmp_path / "creds.json"
        known.write_text(json.dumps(await cell.admit("erp", "events")))
        database, chance, began = tmp_path / "mine.db", random.Random(7), time.monotonic()
        subscriber = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "tests/integration/crashing_subscriber.py")),
            *(str(known), str(database), str(KILLS), "3"),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
        ended = asyncio.ensure_future(subscriber.communicate())
        seed = 100
        while not ended.done():
            # Writing goes on all the while, so that there is always something to be in the middle of.
            trade_day(cell.trade, seed, 5)
            seed += 1
            await asyncio.wait({ended}, timeout=0.02 + chance.random() * 0.1)
            if seed > 100 + 2 * KILLS:
                await ended
        said, _ = ended.result()
        assert subscriber.returncode == 0
        head = cell.log.tracked().head
        recorded = [(event.position, event.stream) for event in cell.log.read(0, head)]
    db = sqlite3.connect(database)
    effects = db.execute("SELECT position, stream FROM effects ORDER BY number").fetchall()
    db.close()
    # What was written while the last life ended need not be there; what is there is there once, without a gap.
    assert effects == recorded[: len(effects)]
    assert len(effects) >= 500
    assert int(said) > KILLS // 5, "many of the killed ones had begun to handle something"
    by_stream: dict[str, list[int]] = {}
    for position, stream in effects:
        by_stream.setdefault(stream, []).append(position)
    assert all(earlier < later for places in by_stream.values() for earlier, later in pairwise(places))
    sys.stdout.write(
        f"{KILLS} kills in {time.monotonic() - began:.1f} s: {len(effects)} events of {len(by_stream)} streams, "
        f"{int(said)} lives got on; each exactly once, in order\n"
    )
