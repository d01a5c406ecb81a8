"""What works beside the worker makes way for it while the cell is behind its mail, and never for ever."""

import asyncio
import time

import pytest

from runners import background
from runners.background import Background


class Said:
    """Hints that never come; what was said last stays so for a while."""

    def __init__(self, behind_s: float) -> None:
        self._until = time.monotonic() + behind_s

    @property
    def behind(self) -> bool:
        return time.monotonic() < self._until

    async def wait(self, timeout: float) -> int | None:  # noqa: ASYNC109  as the hints have it
        await asyncio.sleep(min(timeout, 0.01))
        return 1


async def rested(worked_s: float, hints: Said | None, made: Background | None = None) -> float:
    began = time.monotonic()
    await (made or Background()).rest(worked_s, hints)  # type: ignore[arg-type]
    return time.monotonic() - began


async def test_it_rests_for_many_times_as_long_as_it_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "REST_MAX_S", 60.0)
    assert await rested(0.02, Said(60)) >= background.REST * 0.02


async def test_it_never_rests_for_longer_than_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "REST_MAX_S", 0.1)
    async with asyncio.timeout(30):
        assert await rested(600, Said(600)) >= 0.1


async def test_it_goes_on_as_soon_as_the_mail_is_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "REST_MAX_S", 600.0)
    async with asyncio.timeout(30):
        assert await rested(600, Said(0.1)) >= 0.1


async def test_it_rests_for_nobody_where_nothing_waits_or_nothing_is_known() -> None:
    async with asyncio.timeout(30):
        await rested(600, Said(0))
        await rested(600, None)


async def test_it_ends_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "REST_MAX_S", 600.0)
    made = Background()
    asyncio.get_running_loop().call_later(0.05, made.stopping.set)
    async with asyncio.timeout(30):
        await rested(600, Said(600), made)
