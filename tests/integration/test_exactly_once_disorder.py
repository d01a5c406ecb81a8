"""Any order of delivery, each message one to five times, ends in the same state; and memory does not grow with it."""

import random
from pathlib import Path
from typing import Any

import psutil
import pytest

from domain.cell import DECIDERS
from domain.decider import fold
from domain.ids import kind_of, warehouse_key
from domain.mail import Mail
from domain.order import Order
from domain.stock import ReceiveStock
from tests.integration.harness import LONG, Cell, running_cell
from tests.integration.mixed_mail import KEEPER, mixed, snapshot, trade

pytestmark = pytest.mark.timeout(300)

NOW = 1_794_326_400_000
LIVES = (
    ("WAIT_BUYER_PAY", "WAIT_SELLER_SEND_GOODS", "WAIT_BUYER_CONFIRM_GOODS", "TRADE_FINISHED"),
    ("WAIT_BUYER_PAY", "WAIT_SELLER_SEND_GOODS"),
    ("WAIT_BUYER_PAY", "TRADE_CLOSED_BY_TAOBAO"),
    ("WAIT_SELLER_SEND_GOODS", "WAIT_BUYER_CONFIRM_GOODS"),
)


def lives() -> list[Mail]:
    """Return the histories of some orders, in order."""
    return [
        snapshot(number, trade(number, status, NOW, NOW + step * 60_000), NOW + step * 60_000)
        for number, life in enumerate(LIVES, 1)
        for step, status in enumerate(life)
    ]


def seen(cell: Cell) -> dict[str, Any]:
    """Return what people see in the end."""
    streams: dict[str, list[Any]] = {}
    for stream, event in cell.events():
        streams.setdefault(stream, []).append(event)
    found: dict[str, Any] = {}
    for stream, events in streams.items():
        state = fold(DECIDERS[kind_of(stream)], events)
        if isinstance(state, Order):
            found[stream] = (state.status, state.lines, sorted(state.shipped), state.amounts, state.holds, state.queue)
        elif kind_of(stream) == "warehouse":
            found[stream] = {
                sku: (level.on_hand, level.reserved, level.pre_reserved) for sku, level in state.levels.items()
            }
    return found


async def test_any_order_and_any_number_of_deliveries_end_alike(tmp_path: Path) -> None:
    chance = random.Random(11)
    stock = Mail(warehouse_key("A"), ReceiveStock("opening", tuple((f"SKU-{n}", 50) for n in range(7))), NOW, KEEPER)
    results = []
    for run in range(4):
        mails = lives()
        if run:
            mails = [mail for mail in mails for _ in range(chance.randrange(1, 6))]
            chance.shuffle(mails)
        async with running_cell(tmp_path / str(run), clock="mail", batch_messages=7) as cell:
            async with cell.kept():
                await cell.publish([stock, *mails])
                await cell.until()
            results.append(seen(cell))
            await cell.assert_exactly_once()
    assert len(results[0]) == len(LIVES) + 1
    assert all(result == results[0] for result in results)


async def test_idle_actors_leave_and_come_back_as_they_were(tmp_path: Path) -> None:
    rounds, messages = (20, 4000) if LONG else (4, 1500)
    async with running_cell(tmp_path, actors_max=100, batch_messages=100) as cell:
        async with cell.kept() as keeper:
            sizes = []
            for seed in range(1, rounds + 1):
                await cell.publish(mixed(messages, seed))
                await cell.until(timeout_s=120)
                sizes.append(psutil.Process(keeper.process.pid).memory_info().rss >> 20)
            assert keeper.deaths == []
        assert await cell.assert_exactly_once() > rounds * messages
        # From the second round on: the first one fills caches.
        assert sizes[-1] - sizes[1] <= 24, f"MB after each round: {sizes}"
