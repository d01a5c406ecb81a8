"""The event loop of OrderSpine's processes: uvloop where it exists, asyncio's own elsewhere."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

GC_YOUNG = 100_000
"""Allocations between two looks for cycles. Our objects have none to speak of, and a batch makes tens of thousands."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a new loop."""
    look_rarely()
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def look_rarely() -> None:
    """Have Python look for cycles rarely, and never again among what is there by now."""
    gc.freeze()
    gc.set_threshold(GC_YOUNG, 20, 20)
