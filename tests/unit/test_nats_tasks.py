"""Tasks are ended for good."""

import asyncio
import gc

import pytest

from adapters.nats import tasks
from adapters.nats.tasks import end_tasks


async def _swallows(times: int) -> str:
    for _ in range(times):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue
    await asyncio.sleep(60)
    return "never"


async def _breaks() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        raise ValueError("at its end")


async def test_a_task_that_swallows_its_cancellation_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "SWALLOWED_S", 0.01)
    unheard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    everyone = [asyncio.create_task(_swallows(times)) for times in (0, 1, 3)] + [asyncio.create_task(_breaks())]
    finished = asyncio.create_task(asyncio.sleep(0))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        await end_tasks([*everyone, finished])
    assert [task.cancelled() for task in everyone] == [True, True, True, False]
    assert finished.done()
    del everyone, finished
    gc.collect()
    assert unheard == []
