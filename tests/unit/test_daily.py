"""The daily comparison goes on, whatever one of its days meets."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from domain.catalogue import UnknownTag
from domain.time_units import DAY_MS
from runners import daily
from runners.settings import Settings

NOON = 20_000 * DAY_MS + DAY_MS // 2


async def test_a_day_that_breaks_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    done = asyncio.Event()

    async def run_day(_: Any, __: Any, ___: Any, day: str, ____: int) -> None:
        tried.append(day)
        if len(tried) == 1:
            raise UnknownTag("a newer build wrote it")
        done.set()

    monkeypatch.setattr(daily, "run_day", run_day)
    monkeypatch.setattr(daily, "LOOK_S", 0.001)
    unused: Any = None
    with capture_logs() as logs:
        checking = asyncio.create_task(daily.keep_checking(Settings(str(tmp_path)), unused, unused, lambda: NOON))
        async with asyncio.timeout(10):
            await done.wait()
        checking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await checking
    assert tried[0] == tried[1]
    assert [each["reason"] for each in logs if each["event"] == "daily.broken"] == ["a newer build wrote it"]
