"""A worker that was stopped and wakes behind its successor writes nothing more; a clean end loses nothing."""

import signal
from pathlib import Path

import pytest

from tests.integration.harness import ended, running_cell, said, stopped, stopped_outside_transactions
from tests.integration.mixed_mail import mixed

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("place", ["decide.before:3", "commit.before:3", "answer.before:2"])
async def test_a_stopped_worker_that_wakes_behind_its_successor_is_refused(tmp_path: Path, place: str) -> None:
    async with running_cell(tmp_path) as cell:
        await cell.publish(mixed(300))
        stopping = cell.crashing(place, "stop")
        await stopped_outside_transactions(cell, stopping)
        successor = cell.start()
        await cell.until()
        stopping.send_signal(signal.SIGCONT)
        assert await ended(stopping) == 1
        assert "worker.lost_the_cell" in cell.worker_log()
        await cell.publish(mixed(100, seed=2))
        await cell.until()
        successor.terminate()
        assert await ended(successor) == 0
        assert await cell.assert_exactly_once() > 300


async def test_an_idle_worker_that_was_passed_over_ends_without_new_mail(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell:
        idle = cell.start()
        await cell.publish(mixed(50))
        await cell.until()
        idle.send_signal(signal.SIGSTOP)
        await stopped_outside_transactions(cell, idle)
        successor = cell.start()
        await cell.publish(mixed(50, seed=2))
        await cell.until()
        idle.send_signal(signal.SIGCONT)
        assert await ended(idle) == 1
        successor.terminate()
        assert await ended(successor) == 0
        assert await cell.assert_exactly_once() > 50


async def test_one_stopped_inside_its_commit_keeps_sqlite_until_it_is_killed(tmp_path: Path) -> None:
    """That is why the supervisor kills the old worker, by its id, before it starts another."""
    async with running_cell(tmp_path) as cell:
        await cell.publish(mixed(200))
        stopping = cell.crashing("write.after:3", "stop")
        await stopped(stopping)
        held = cell.tracked()
        successor = cell.start()
        assert await ended(successor, 30) == 1
        assert "locked" in cell.worker_log()
        assert cell.tracked() == held
        stopping.kill()
        await ended(stopping)
        heir = cell.start()
        await cell.until()
        heir.terminate()
        assert await ended(heir) == 0
        assert await cell.assert_exactly_once() > 200


async def test_one_stopped_inside_its_commit_cannot_keep_postgresql(tmp_path: Path, postgres: str) -> None:
    async with running_cell(tmp_path, store=postgres) as cell:
        await cell.publish(mixed(200))
        stopping = cell.crashing("write.after:3", "stop")
        await stopped(stopping)
        async with cell.kept() as keeper:
            await cell.until()
            stopping.send_signal(signal.SIGCONT)
            assert await ended(stopping) == 1
            await cell.publish(mixed(50, seed=2))
            await cell.until()
            assert len(keeper.deaths) <= 3
        assert await cell.assert_exactly_once() > 200


async def test_kills_leave_no_trace_on_postgresql_either(tmp_path: Path, postgres: str) -> None:
    async with running_cell(tmp_path, store=postgres) as cell:
        for number, place in enumerate(("write.after:2", "commit.after:2", "committed.after:1")):
            await cell.publish(mixed(150, seed=number + 1))
            assert await ended(cell.crashing(place)) == -signal.SIGKILL
        async with cell.kept():
            await cell.until()
        assert await cell.assert_exactly_once() > 400


async def test_sigterm_under_load_ends_with_0_and_loses_nothing(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell:
        await cell.publish(mixed(1500))
        for handled in (300, 800):
            worker = cell.start()
            await cell.until(handled)
            worker.terminate()
            assert await ended(worker) == 0
        worker = cell.start()
        await cell.until()
        worker.terminate()
        assert await ended(worker) == 0
        assert await cell.assert_exactly_once() > 1500


async def test_one_that_waits_for_the_lease_still_ends_when_told(tmp_path: Path) -> None:
    async with running_cell(tmp_path) as cell:
        holder = cell.start()
        await cell.publish(mixed(20))
        await cell.until()
        (tmp_path / "holder").write_text("somebody else's name")
        waiting = cell.start()
        await said(cell, "worker.waits_for_the_lease")
        waiting.terminate()
        assert await ended(waiting) == 0
        holder.terminate()
        assert await ended(holder) == 0
        assert await cell.assert_exactly_once() > 20
