"""A payment timeout fires exactly once, whatever is killed around its time; the log is the timer."""

import asyncio
import random
import time
from pathlib import Path

import pytest

from domain.cellular import Tick
from domain.envelope import By
from domain.ids import CELL_KEY
from domain.mail import Mail
from domain.order import OrderIntercepted, OrderPaid, TimerCleared
from tests.integration.harness import KILLED, Cell, ended, running_cell
from tests.integration.mixed_mail import china, key_of, snapshot, trade

pytestmark = pytest.mark.timeout(300)

CLOCK = By("system", "clock")


def unpaid(number: int, due_ms: int, now_ms: int) -> Mail:
    raw = trade(number, "WAIT_BUYER_PAY", now_ms - 5000, now_ms - 1000, timeout_action_time=china(due_ms))
    return snapshot(number, raw, now_ms)


def fired(cell: Cell) -> dict[str, int]:
    """Count the fired timers by order."""
    counts: dict[str, int] = {}
    for stream, event in cell.events():
        if isinstance(event, TimerCleared) and event.fired:
            counts[stream] = counts.get(stream, 0) + 1
    return counts


def reminded(cell: Cell) -> list[str]:
    return sorted(
        stream
        for stream, event in cell.events()
        if isinstance(event, OrderIntercepted) and event.interception.startswith("payment_timeout")
    )


async def until_fired(cell: Cell, number: int, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while len(fired(cell)) < number:
        assert time.monotonic() < deadline, f"only {fired(cell)} fired"
        await asyncio.sleep(0.05)


async def test_timers_fire_once_each_through_kills_around_their_time(tmp_path: Path) -> None:
    chance = random.Random(3)
    async with running_cell(tmp_path) as cell:
        now = time.time_ns() // 1_000_000
        late = [unpaid(number, now + 4000 + number % 3 * 1000, now) for number in range(1, 13)]
        paid = [snapshot(12, trade(12, "WAIT_SELLER_SEND_GOODS", now - 5000, now), now)]
        await cell.publish([*late, *paid])
        assert await ended(cell.crashing("mail_timers.before:1")) == KILLED
        assert await ended(cell.crashing("mail_timers.after:1")) == KILLED
        async with cell.kept() as keeper:
            while len(keeper.deaths) < 4:
                await asyncio.sleep(chance.uniform(0.4, 1.6))
                number = len(keeper.deaths)
                keeper.process.kill()
                await keeper.until_deaths(number + 1)
            await until_fired(cell, 11)
            await asyncio.sleep(0.6)
            await cell.until()
        assert fired(cell) == {key_of(number): 1 for number in range(1, 12)}
        assert reminded(cell) == sorted(key_of(number) for number in range(1, 12))
        assert [stream for stream, event in cell.events() if isinstance(event, OrderPaid)] == [key_of(12)]
        await cell.assert_exactly_once()


async def test_timers_fire_in_time_without_any_kill(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell, cell.kept():
        now = time.time_ns() // 1_000_000
        due = (now // 1000 + 6) * 1000
        await cell.publish([unpaid(1, due, now)])
        await cell.until(1)
        await until_fired(cell, 1)
        assert due <= (await cell.mail())[-1].time_ms < due + 3000
        assert fired(cell) == {key_of(1): 1}


async def test_by_the_mails_clock_a_timer_due_at_the_last_mail_survives_a_kill(tmp_path: Path) -> None:
    """Nobody sends anything any more: the worker must know by itself what time it was."""
    async with running_cell(tmp_path, clock="mail") as cell:
        now = 1_794_326_400_000
        await cell.publish([unpaid(1, now + 60_000, now), unpaid(2, now + 3_600_000, now)])
        await cell.publish([Mail(CELL_KEY, Tick(), now + 60_000, CLOCK)])
        assert await ended(cell.crashing("mail_timers.before:1")) == KILLED
        assert fired(cell) == {}
        async with cell.kept():
            await until_fired(cell, 1)
            await cell.until()
            assert fired(cell) == {key_of(1): 1}
            await cell.publish([Mail(CELL_KEY, Tick(), now + 3_600_000, CLOCK)])
            await until_fired(cell, 2)
            await cell.until()
        assert fired(cell) == {key_of(1): 1, key_of(2): 1}
        await cell.assert_exactly_once()
