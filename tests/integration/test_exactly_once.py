"""Exactly once, with the real server and real processes: whatever is killed or stopped, there is one right log."""

import asyncio
import random
import time
from pathlib import Path

import pytest

from tests.integration.harness import KILLED, LONG, Cell, Keeper, ended, running_cell
from tests.integration.mixed_mail import mixed


async def slowly(cell: Cell, messages: int, seed: int = 1) -> None:
    """Publish in small pieces while things happen, so that there is always something to do."""
    mails = list(mixed(messages, seed))
    for at in range(0, len(mails), 50):
        tracked = cell.tracked()
        while tracked is not None and at - tracked.position > 1000:
            await asyncio.sleep(0.02)
            tracked = cell.tracked()
        await cell.publish(mails[at : at + 50])
        await asyncio.sleep(0.05)


async def test_an_undisturbed_worker_writes_the_right_log(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell:
        worker = cell.start()
        await cell.publish(mixed(600))
        await cell.until()
        worker.terminate()
        assert await ended(worker) == 0
        assert await cell.assert_exactly_once() > 600


def epoch_of(cell: Cell) -> int:
    """Return how many workers have taken over so far."""
    tracked = cell.tracked()
    return tracked.epoch if tracked else 0


async def until_at_work(cell: Cell, keeper: Keeper, epoch: int) -> None:
    """Wait until a worker has taken over behind this epoch, and is soon to commit."""
    deadline = time.monotonic() + 30
    while epoch_of(cell) == epoch:
        assert time.monotonic() < deadline, f"never at work; died {keeper.deaths}"
        await asyncio.sleep(0.005)


PLACES = [
    "take_over.before:1",
    "take_over.after:1",
    "begin_life.before:1",
    "begin_life.after:1",
    "marker.before:1",
    "marker.after:1",
    "keys.before:2",
    "keys.after:2",
    "decide.before:2",
    "decide.after:3",
    "commit.before:2",
    "write.before:2",
    "write.after:2",
    "commit.after:2",
    "committed.before:2",
    "committed.after:2",
    "passed.before:2",
    "passed.after:1",
    "answer.before:2",
    "answer.after:2",
    "mail_timers.before:1",
    "mail_timers.after:1",
    "snapshot.before:1",
    "snapshot.after:1",
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", [0, 1])
async def test_workers_that_die_at_every_step_around_the_commit_leave_no_trace(tmp_path: Path, first: int) -> None:
    """Each worker dies at another step; the next one finds what it left, and mail to do."""
    async with running_cell(tmp_path, batch_messages=20) as cell:
        for number, place in enumerate(PLACES[first::2]):
            await cell.publish(mixed(100, seed=1 + number, reply_to="answers"))
            dying = cell.crashing(place, ORDERSPINE_TEST_SNAPSHOTS="40")
            assert await ended(dying) == KILLED, place
        async with cell.kept() as keeper:
            await cell.until()
            assert keeper.deaths == []
        assert await cell.assert_exactly_once() > 1000


@pytest.mark.timeout(7200 if LONG else 300)
async def test_many_kills_at_random_moments_leave_no_trace(tmp_path: Path) -> None:
    kills, messages = (1000, 60_000) if LONG else (40, 3_000)
    chance = random.Random(7)
    async with running_cell(tmp_path, actors_max=300) as cell:
        async with cell.kept() as keeper:
            publishing = asyncio.create_task(slowly(cell, messages))
            try:
                epoch = 0
                for number in range(kills):
                    if chance.random() < 0.85:  # at work; else while it starts
                        await until_at_work(cell, keeper, epoch)
                    await asyncio.sleep(chance.uniform(0.0, 0.5) ** 2)
                    keeper.process.kill()
                    await keeper.until_deaths(number + 1)
                    epoch = epoch_of(cell)
                await publishing
            finally:
                publishing.cancel()
            await cell.until(timeout_s=120)
        assert set(keeper.deaths) == {KILLED}
        assert await cell.assert_exactly_once() > messages
        tracked = cell.tracked()
        assert tracked is not None
        assert tracked.epoch > kills // 2, "most kills hit a worker that had not begun"
