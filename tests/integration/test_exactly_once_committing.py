"""Exactly once where a process beside the worker writes the commits: whichever of the two dies, hangs or is stopped."""

import asyncio
import signal
import sys
from pathlib import Path
from random import Random

import psutil
import pytest

from tests.integration.following import wait_for
from tests.integration.harness import CRASHING, KILLED, Cell, Process, ended, running_cell, stopped
from tests.integration.mixed_mail import mixed

pytestmark = pytest.mark.timeout(300)

NONE = "-"


def beside(worker: Process) -> psutil.Process:
    """Return the process that writes commits for a worker."""
    (found,) = [each for each in psutil.Process(worker.pid).children() if "crashing_commit" in " ".join(each.cmdline())]
    return found


async def until_stopped(worker: Process) -> psutil.Process:
    """Wait until the process beside a worker has stopped itself."""
    async with asyncio.timeout(30):
        while True:
            for each in psutil.Process(worker.pid).children():
                if each.status() == psutil.STATUS_STOPPED:
                    return each
            await asyncio.sleep(0.01)


async def rest(cell: Cell) -> None:
    """Let a worker do what is left, and end it."""
    heir = cell.start(CRASHING, ORDERSPINE_TEST_BESIDE=NONE)
    await cell.until()
    heir.terminate()
    assert await ended(heir) == 0


async def test_all_commits_written_beside_make_the_right_log(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell:
        await cell.publish(mixed(600))
        worker = cell.start(CRASHING, ORDERSPINE_TEST_BESIDE=NONE)
        await cell.until()
        pid = beside(worker).pid
        worker.terminate()
        assert await ended(worker) == 0
        assert not psutil.pid_exists(pid), "it is left behind"
        assert await cell.assert_exactly_once() > 600


@pytest.mark.parametrize("place", ["append.before:2", "write.before:2", "write.after:2", "append.after:2"])
async def test_a_worker_ends_where_the_process_that_writes_dies(tmp_path: Path, place: str) -> None:
    async with running_cell(tmp_path) as cell:
        await cell.publish(mixed(300))
        worker = cell.start(CRASHING, ORDERSPINE_TEST_BESIDE=f"{place}:kill")
        assert await ended(worker) == 1
        assert "whether a commit was written is not known" in cell.worker_log()
        await rest(cell)
        assert await cell.assert_exactly_once() > 300


@pytest.mark.parametrize("place", ["commit.before:2", "commit.after:2", "committed.before:2"])
async def test_nothing_is_lost_where_the_worker_dies_beside_it(tmp_path: Path, place: str) -> None:
    async with running_cell(tmp_path) as cell:
        await cell.publish(mixed(300))
        assert await ended(cell.crashing(place, ORDERSPINE_TEST_BESIDE=NONE)) == KILLED
        await rest(cell)
        assert await cell.assert_exactly_once() > 300


@pytest.mark.skipif(sys.platform != "linux", reason="there the process ends when it reads on")
async def test_one_that_was_stopped_inside_its_transaction_dies_with_its_worker(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell:
        await cell.publish(mixed(300))
        worker = cell.start(CRASHING, ORDERSPINE_TEST_BESIDE="write.after:3:stop")
        writing = await until_stopped(worker)
        worker.kill()
        await ended(worker)
        await asyncio.to_thread(writing.wait, 10)
        await rest(cell)
        assert await cell.assert_exactly_once() > 300


async def test_a_commit_that_hangs_ends_the_worker(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell:
        await cell.publish(mixed(300))
        hanging = cell.start(CRASHING, ORDERSPINE_TEST_BESIDE="write.after:3:stop", ORDERSPINE_TEST_COMMIT_S="1")
        assert await ended(hanging) == 1
        assert "did not answer within 1 s" in cell.worker_log()
        await rest(cell)
        assert await cell.assert_exactly_once() > 300


async def test_one_that_takes_nothing_any_more_ends_the_worker(tmp_path: Path) -> None:
    """It is stopped before it reads: a large batch fills the pipe, and whoever writes must not wait for ever."""
    async with running_cell(tmp_path, batch_messages=3000) as cell:
        await cell.publish(mixed(30))
        worker = cell.start(CRASHING, ORDERSPINE_TEST_BESIDE=NONE, ORDERSPINE_TEST_COMMIT_S="1")
        await cell.until()
        beside(worker).suspend()
        await cell.publish(mixed(3000, seed=2), batch=1000)
        assert await ended(worker) == 1
        assert "did not answer within 1 s" in cell.worker_log()
        await rest(cell)
        assert await cell.assert_exactly_once() > 3000


async def test_all_commits_written_beside_make_the_right_log_on_postgresql(tmp_path: Path, postgres: str) -> None:
    async with running_cell(tmp_path, store=postgres) as cell:
        await cell.publish(mixed(300))
        assert await ended(cell.crashing("commit.after:2", ORDERSPINE_TEST_BESIDE=NONE)) == KILLED
        stopping = cell.crashing("commit.before:2", "stop", ORDERSPINE_TEST_BESIDE=NONE)
        await stopped(stopping)
        await rest(cell)
        stopping.send_signal(signal.SIGCONT)
        assert await ended(stopping) == 1
        assert await cell.assert_exactly_once() > 300


@pytest.mark.parametrize("place", ["commit.before:3", "commit.after:3"])
async def test_what_a_stopped_worker_hands_over_behind_its_successor_is_refused(tmp_path: Path, place: str) -> None:
    async with running_cell(tmp_path) as cell:
        await cell.publish(mixed(300))
        stopping = cell.crashing(place, "stop", ORDERSPINE_TEST_BESIDE=NONE)
        await stopped(stopping)
        successor = cell.start(CRASHING, ORDERSPINE_TEST_BESIDE=NONE)
        await cell.until()
        stopping.send_signal(signal.SIGCONT)
        assert await ended(stopping) == 1
        assert "worker.lost_the_cell" in cell.worker_log()
        successor.terminate()
        assert await ended(successor) == 0
        assert await cell.assert_exactly_once() > 300


@pytest.mark.skipif(sys.platform != "linux", reason="it is a fork on Linux only")
async def test_forks_that_are_killed_at_work_leave_no_trace(tmp_path: Path) -> None:
    """The real worker: its first processes beside it are forks. One that commits takes the worker with it."""
    chance = Random(5)
    killed = {"committing": 0, "prepare": 0}
    async with running_cell(tmp_path, batch_messages=300) as cell:
        for number in range(6):
            await cell.publish(mixed(900, seed=1 + number))
            worker = cell.start()
            victim = "prepare" if number % 3 == 2 else "committing"
            before = cell.tracked()
            await wait_for(lambda before=before: cell.tracked() != before)  # type: ignore[misc]
            await asyncio.sleep(chance.random() * 0.1)
            for child in psutil.Process(worker.pid).children():
                if child.name() == victim:
                    child.kill()
                    killed[victim] += 1
            await asyncio.sleep(chance.random() * 0.2)
            if worker.poll() is None:
                worker.kill()
            await ended(worker)
        await cell.publish(mixed(60, seed=9))
        await rest(cell)
        assert await cell.assert_exactly_once() > 3000
    assert killed == {"committing": 4, "prepare": 2}
