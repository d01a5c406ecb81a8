"""Ending tasks for good."""

import asyncio
from collections.abc import Iterable
from typing import Any

SWALLOWED_S = 0.5
"""A task that goes on for so long after it was cancelled has not heard of it."""


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel these until they have ended, whatever they end with.

    Once is not enough: asyncio's `wait_for`, and so the broker's library, swallows a cancellation that comes in the
    same round of the loop as what it waits for.
    """
    everyone = list(tasks)
    left = {task for task in everyone if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=SWALLOWED_S)
    await asyncio.gather(*everyone, return_exceptions=True)  # takes note of what they ended with
