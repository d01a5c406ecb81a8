"""The puller dies at any place: no order is lost, none doubled, and the platform hears of nothing that is not kept."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.platforms.connection import Connection
from domain.intake import IntakeReconciled
from domain.platforms import Window
from runners.connections import save
from runners.lock import DataLock
from runners.pulling_store import Pulls
from tests.fake_platform import FolderPlatform, hint
from tests.integration.crashing_puller import PLACES
from tests.integration.following import wait_for
from tests.integration.harness import KILLED, LONG, Cell, ended, running_cell

PULLER = "tests.integration.crashing_puller"
TRAPS = [(place, side) for place in PLACES for side in ("before", "after") if place not in {"compare", "compared"}]
BEGIN = 1_000


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[Cell]:
    async with running_cell(tmp_path / "data") as cell:
        with DataLock(cell.path):
            cell.start()
            yield cell


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def connected(cell: Cell) -> FolderPlatform:
    platform = FolderPlatform(cell.path / "platform")
    options = {"folder": str(platform.folder), "socket": "1", "since_days": "0.01"}
    save(cell.path, [Connection("flagship", "taobao", "hardware", pull_every_s=1, options=options)])
    return platform


def received(cell: Cell) -> Counter[str]:
    """Return how often each order was received, by its number."""
    events = cell.recorded()
    return Counter(event.stream.rpartition(":")[2] for event in events if event.tag == "order.received")


async def test_wherever_the_puller_is_killed_nothing_is_lost_and_nothing_is_doubled(cell: Cell) -> None:
    platform = connected(cell)
    expected: set[str] = set()
    # In short runs every place is passed once, by turns before and after.
    traps = TRAPS if LONG else [trap for at, trap in enumerate(TRAPS) if at % 2 == at // 2 % 2]
    for turn, (place, side) in enumerate(traps):
        first = BEGIN + 10 * turn
        for number in range(first, first + 4):
            platform.change(number, now_ms() - 20)
        # Hints for orders that no timed pull brings: they are not in the feed.
        platform.change(first + 4, now_ms() + 10**9)
        platform.push(f"{turn}", hint(first + 4))
        expected |= {str(number) for number in range(first, first + 5)}
        process = cell.start(PULLER, ORDERSPINE_TEST_AT=f"{place}.{side}:1:kill")
        assert await ended(process) == KILLED, (place, side)
    survivor = cell.start(PULLER)
    await wait_for(lambda: received(cell).keys() >= expected)
    await wait_for(lambda: not platform.unacknowledged())
    pulls = Pulls(cell.path)
    try:
        await wait_for(lambda: not pulls.hints_waiting("flagship"))
    finally:
        pulls.close()
    survivor.terminate()
    assert await ended(survivor) == 0
    assert received(cell) == dict.fromkeys(expected, 1)
    # What was fetched again after a crash was known: each hint led to its order, and to no refusal.
    assert not [event for event in cell.recorded() if event.tag == "intake.refused"]


async def test_a_comparison_that_dies_is_made_again(cell: Cell) -> None:
    platform = connected(cell)
    quiet = cell.start(PULLER)
    await wait_for(lambda: bool(platform.calls("changed")))
    quiet.terminate()
    assert await ended(quiet) == 0
    pulls = Pulls(cell.path)
    try:
        generation, position = pulls.followed()
        tracked = cell.tracked()
        assert tracked is not None
        begin = now_ms()
        # The feed had kept silent about it: an order of long before the cursor.
        platform.change(77, begin - 3_600_000)
        span = Window(begin - 7_200_000, begin - 60_000)
        pulls.follow(generation or tracked.generation, position, (), [("flagship", span, "mail was lost")])
        for place, side in (("compare", "before"), ("compare", "after"), ("compared", "before")):
            process = cell.start(PULLER, ORDERSPINE_TEST_AT=f"{place}.{side}:1:kill")
            assert await ended(process) == KILLED, (place, side)
        cell.start(PULLER)
        await wait_for(lambda: not pulls.comparisons("flagship"))
    finally:
        pulls.close()
    assert received(cell) == {"77": 1}
    recorded = [event for _, event in cell.events() if isinstance(event, IntakeReconciled)]
    assert sum(event.missed for event in recorded) <= 1
    assert recorded[-1].known == 1
    assert recorded[-1].reason == "mail was lost"
