"""Runs a simulated day against a running cell: time passes in slots, the cell acts, people answer, time goes on."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from domain.cellular import Tick
from domain.envelope import By, decode_envelope
from domain.ids import CELL_KEY
from domain.mail import Mail
from domain.ports import EventLog
from domain.time_units import DAY_MS, HOUR_MS
from runners.simulating.courier import Courier
from runners.simulating.feed import Feed
from runners.simulating.world import World

SLOT_MS: Final = HOUR_MS
SLOT_AFTER_MS: Final = 12 * HOUR_MS
"""Slot of the days behind the day of trade, when little happens."""
AFTERMATH_MS: Final = 7 * DAY_MS
"""How long a day's orders go on being completed, sent back, or given up."""
FIRST_DAY_MS: Final = 1_794_326_400_000
"""2026-11-11 00:00 in UTC+8: the day of a simulation in a cell without a past."""


class WorldClock:
    """Observed time is the world's own (a cell whose clock goes by its mail)."""

    def observed(self, at_ms: int) -> int:
        """See `courier.Clock`."""
        return at_ms


class RealClock:
    """Observed time is now (a cell whose clock is the machine's)."""

    def observed(self, at_ms: int) -> int:
        """See `courier.Clock`."""
        del at_ms
        return time.time_ns() // 1_000_000


def first_moment(log: EventLog, *, real: bool, speed: float) -> int:
    """Return when the simulated day begins, UTC ms.

    By the mail's clock it is a fixed day, or the one after the latest the cell knows of. By the real clock it is the
    day that begins now, or (without a speed) one so far back that all of its aftermath is over.
    """
    if real:
        now = time.time_ns() // 1_000_000
        return now if speed else now - DAY_MS - AFTERMATH_MS
    head = log.tracked().head
    last = log.read(head - 1, 1) if head else []
    if not last:
        return FIRST_DAY_MS
    seen = decode_envelope(last[0].envelope).observed_at
    return max(FIRST_DAY_MS, FIRST_DAY_MS + ((seen - FIRST_DAY_MS) // DAY_MS + 1) * DAY_MS)


class Progress(msgspec.Struct):
    """How far a simulation has got."""

    now_ms: int = 0
    """Time in the world."""
    sent: int = 0
    answers: int = 0


async def drive(
    world: World,
    courier: Courier,
    feed: Feed,
    *,
    speed: float = 0.0,
    ticks: bool,
    stop: asyncio.Event,
    show: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Let the world's trade happen.

    Args:
        world: the trade.
        courier: takes it to the cell.
        feed: what the cell does.
        speed: seconds of the world in one real second; 0 = as fast as the cell takes it.
        ticks: whether time itself must be mailed (a cell whose clock goes by its mail).
        stop: ends it early, after the present slot.
        show: is told how far it got.
    """
    progress = Progress(world.begin_ms)
    began = time.monotonic()
    while (next_ms := world.next_ms) is not None and not stop.is_set():
        slot = SLOT_MS if next_ms < world.end_ms else SLOT_AFTER_MS
        slot = min(slot, max(1, round(speed * 500))) if speed else slot
        edge = (next_ms // slot + 1) * slot
        if speed:
            ahead = (edge - world.begin_ms) / 1000 / speed - (time.monotonic() - began)
            if await _stopped(stop, ahead):
                break
        mails = [mail for what in world.until(edge) for mail in courier.mails(what)]
        if mails:
            await courier.send(mails)
            position = await courier.answered()
            happened = await feed.upto(position)
            world.answer(happened, edge)
            progress.answers += len(happened)
            progress.sent += len(mails)
        progress.now_ms = edge
        show(progress)
    if ticks and not stop.is_set():
        await tick(courier, progress.now_ms + DAY_MS)
    return progress


async def tick(courier: Courier, at_ms: int) -> None:
    """Tell the cell what time it is, so that what is due by then happens."""
    await courier.send([Mail(CELL_KEY, Tick(), at_ms, By("system", "simulate"), "simulate")])
    await courier.answered()


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    if seconds <= 0:
        return stop.is_set()
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True
