"""The broker dies, forgets, goes back or loses messages: it is noticed, named, and the cell goes on."""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from adapters.nats.connection import api
from adapters.nats.streams import events_stream, get_stored, last_seq, purge_mail
from domain.cellular import BrokerReset, MailLost, Tick
from domain.envelope import By
from domain.ids import CELL_KEY
from domain.mail import Mail
from domain.order import OrderReceived, TimerCleared, TimerSet
from tests.integration.harness import Cell, running_cell, stopped
from tests.integration.mixed_mail import china, key_of, mixed, snapshot, trade

pytestmark = pytest.mark.timeout(300)


def orders(first: int, count: int, now_ms: int = 1_794_326_400_000) -> list[Mail]:
    """Return paid orders, one message each."""
    status = "WAIT_SELLER_SEND_GOODS"
    return [snapshot(number, trade(number, status, now_ms, now_ms), now_ms) for number in range(first, first + count)]


def unpaid(number: int, seconds: float) -> Mail:
    """Return an order whose payment is due in some seconds."""
    now_ms = time.time_ns() // 1_000_000
    due = china(now_ms + round(seconds * 1000))
    return snapshot(number, trade(number, "WAIT_BUYER_PAY", now_ms, now_ms, timeout_action_time=due), now_ms)


async def kill_server(cell: Cell) -> None:
    assert cell.server.pid is not None
    os.kill(cell.server.pid, signal.SIGKILL)
    await cell.server.wait()


def received(cell: Cell) -> list[str]:
    return [stream for stream, event in cell.events() if isinstance(event, OrderReceived)]


def resets(cell: Cell) -> list[BrokerReset]:
    return [event for _, event in cell.events() if isinstance(event, BrokerReset)]


async def until_fired(cell: Cell, number: int, timeout_s: float = 20.0) -> None:
    """Wait until the order's payment timer has fired."""
    deadline = time.monotonic() + timeout_s
    while not fired(cell, number):
        assert time.monotonic() < deadline, "the timer never fired"
        await asyncio.sleep(0.1)


def fired(cell: Cell, number: int) -> int:
    """Count how often the order's payment timer fired."""
    return sum(
        stream == key_of(number) and isinstance(event, TimerCleared) and event.fired for stream, event in cell.events()
    )


async def test_a_server_killed_under_load_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell:
        async with cell.kept():
            publishing = asyncio.create_task(cell.publish(mixed(2000), batch=60))
            for _ in range(4):
                await asyncio.sleep(0.7)
                await kill_server(cell)
                await asyncio.sleep(0.1)
                await cell.server.start()
            await publishing
            await cell.until()
        assert await cell.assert_exactly_once() > 2000


async def test_a_wiped_broker_is_noticed_and_named_and_the_cell_goes_on(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell, cell.kept() as keeper:
        relay = cell.start("runners.relay")
        await cell.publish([*orders(1, 60), unpaid(77, 6)])
        await cell.until(61)
        keeper.process.send_signal(signal.SIGSTOP)
        await stopped(keeper.process)
        await cell.publish(orders(501, 40))  # acknowledged, never handled: a reconciliation must bring it back
        await cell.server.stop()
        shutil.rmtree(tmp_path / "broker" / "store")
        await cell.server.start()
        keeper.process.send_signal(signal.SIGCONT)
        await cell.publish(orders(1001, 80))
        await cell.until()
        (reset,) = resets(cell)
        assert (reset.lost, reset.reason) == ("first", "the mail stream was gone")
        assert reset.after in range(61, 102)  # what had been read before the wipe was still committed
        assert reset.begun == (await cell.info()).incarnation != "first"
        assert {key_of(number) for number in (*range(1, 61), 77, *range(1001, 1081))} <= set(received(cell))
        assert len(received(cell)) == len(set(received(cell))) == 141 + reset.after - 61
        await until_fired(cell, 77)
        await cell.publish(orders(2001, 10))
        tracked = await cell.until()
        assert fired(cell, 77) == 1
        nc = await cell.nc()
        for _ in range(600):  # what it had asked of the broker that was wiped is given up after ten seconds
            last = await last_seq(nc, events_stream("main"))
            stored = await get_stored(nc, events_stream("main"), seq=last) if last else None
            if stored is not None and stored.headers["ce-position"] == str(tracked.head):
                break
            assert relay.poll() is None, cell.worker_log()[-3000:]
            await asyncio.sleep(0.1)
        else:
            said = cell.worker_log()[-3000:]
            raise AssertionError(f"the relay stopped at {stored}, the log at {tracked.head}: {said}")
        assert relay.poll() is None


@pytest.mark.parametrize("grown", ["shorter", "longer", "same last message"])
async def test_a_broker_that_went_back_is_read_again_from_its_beginning(tmp_path: Path, grown: str) -> None:
    async with running_cell(tmp_path) as cell, cell.kept() as keeper:
        store, older = tmp_path / "broker" / "store", tmp_path / "older"
        await cell.publish([*orders(1, 50), unpaid(77, 12)])
        await cell.until(51)
        await cell.server.stop()
        shutil.copytree(store, older)
        await cell.server.start()
        same = Mail(CELL_KEY, Tick(), 5, By("system", "clock"))
        await cell.publish([*orders(101, 48), same])
        assert (await cell.until(100)).position == 100
        keeper.process.send_signal(signal.SIGSTOP)
        await stopped(keeper.process)
        await cell.server.stop()
        shutil.rmtree(store)
        older.rename(store)
        await cell.server.start()
        cell.acknowledged.clear()
        after = {
            "shorter": orders(1001, 20),
            "longer": orders(1001, 120),
            "same last message": [*orders(1001, 48), same],
        }[grown]
        await cell.publish(after, batch=1000)
        assert (await cell.info()).last_seq == 51 + len(after)
        keeper.process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 30
        while not resets(cell):
            assert time.monotonic() < deadline, "nobody noticed"
            await asyncio.sleep(0.1)
        await cell.publish(orders(2001, 20))
        await cell.until()
        (reset,) = resets(cell)
        assert (reset.lost, reset.after) == ("first", 100)
        assert reset.begun == (await cell.info()).incarnation != "first"
        assert "older copy" in reset.reason
        ours = [mail.to for mail in after if mail.to != CELL_KEY]
        before = [key_of(number) for number in (*range(1, 51), 77, *range(101, 149))]
        assert sorted(received(cell)) == sorted([*before, *ours, *(key_of(number) for number in range(2001, 2021))])
        await until_fired(cell, 77)
        assert fired(cell, 77) == 1


async def test_messages_that_are_gone_are_named_and_passed_over(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell:
        first = cell.start()
        await cell.publish(orders(1, 30))
        await cell.until(30)
        first.terminate()
        first.wait(20)
        await cell.publish(orders(101, 170))
        nc = await cell.nc()
        for seq in (*range(31, 46), *range(60, 66), 70, 180):
            await api(nc, f"STREAM.MSG.DELETE.{cell.stream}", {"seq": seq, "no_erase": True})
        async with cell.kept() as keeper:
            await cell.until(200)
            assert keeper.deaths == []
        lost = [(event.first, event.last) for _, event in cell.events() if isinstance(event, MailLost)]
        assert lost == [(31, 45), (60, 65), (70, 70), (180, 180)]
        assert len(received(cell)) == 30 + 170 - 15 - 6 - 2


async def test_mail_purged_to_the_end_is_named_without_waiting_for_more(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell, cell.kept() as keeper:
        await cell.publish(orders(1, 30))
        await cell.until(30)
        keeper.process.send_signal(signal.SIGSTOP)
        await stopped(keeper.process)
        await cell.publish(orders(101, 20))
        await purge_mail(await cell.nc(), "main", 50)
        keeper.process.send_signal(signal.SIGCONT)
        await cell.until(50)
        lost = [event for _, event in cell.events() if isinstance(event, MailLost)]
        handled = len(received(cell)) - 30
        assert lost == ([MailLost(31 + handled, 50)] if handled < 20 else [])
        await cell.publish(orders(201, 5))
        await cell.until(55)


async def test_a_death_while_a_new_life_begins_says_it_once(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell:
        first = cell.start()
        await cell.publish(orders(1, 30))
        await cell.until(30)
        first.terminate()
        first.wait(20)
        await cell.server.stop()
        shutil.rmtree(tmp_path / "broker" / "store")
        await cell.server.start()
        for place in ("begin_life.before:1", "write.after:1"):
            cell.crashing(place).wait(20)
            assert resets(cell) == []
        cell.crashing("begin_life.after:1").wait(20)
        async with cell.kept():
            await cell.publish(orders(101, 10))
            await cell.until()
        (reset,) = resets(cell)
        assert reset.lost == "first"
        assert len(received(cell)) == 40


async def test_a_foreign_stream_is_given_a_name_and_read_from_its_beginning(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell:
        nc = await cell.nc()
        config = (await api(nc, f"STREAM.INFO.{cell.stream}"))["config"]
        await api(nc, f"STREAM.DELETE.{cell.stream}")
        await api(nc, f"STREAM.CREATE.{cell.stream}", {**config, "metadata": {}, "first_seq": 7})
        async with cell.kept():
            await cell.publish(orders(1, 10))
            await cell.until()
        assert (await cell.info()).incarnation
        assert len(received(cell)) == 10
        assert resets(cell) == []
        assert {type(event) for _, event in cell.events()}.isdisjoint({MailLost, TimerSet})
