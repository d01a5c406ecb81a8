"""A supervisor keeps its parts running, ends them in order, and leaves none behind."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from runners import part_troubles
from runners.part_troubles import TROUBLES_FILE, Troubles, troubles_of
from runners.supervisor import QUICK_DEATHS_MAX, SLOW_S, Part, Supervisor, delay_s


@pytest.fixture
def parts_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules the children can run."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(Path.cwd()))))
    return folder


def module(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return name


SLEEPER = """
    import time
    time.sleep(60)
"""


async def until(true: "object", seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    assert callable(true)
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_a_part_that_is_killed_runs_again(tmp_path: Path, parts_dir: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(tmp_path, [Part("sleeper", module(parts_dir, "sleeper", SLEEPER))], said.append)
    supervisor.start()
    await until(lambda: supervisor.running()["sleeper"])
    first = supervisor.running()["sleeper"]
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.running()["sleeper"] not in (None, first))
    await supervisor.stop()
    assert any("sleeper was ended by SIGKILL" in line for line in said)
    assert supervisor.running() == {"sleeper": None}


async def test_parts_end_in_their_order_and_a_deaf_one_is_killed(tmp_path: Path, parts_dir: Path) -> None:
    deaf = module(
        parts_dir,
        "deaf",
        """
        import signal, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready", file=sys.stderr, flush=True)
        time.sleep(60)
        """,
    )
    said: list[str] = []
    ended: list[str] = []
    sleeper = module(parts_dir, "sleeper", SLEEPER)
    supervisor = Supervisor(tmp_path, [Part("one", sleeper), Part("two", deaf, stop_s=0.3)], said.append)
    supervisor.start()
    await until(lambda: (tmp_path / "log" / "two.log").exists() and (tmp_path / "log" / "two.log").stat().st_size)

    async def note() -> None:
        ended.append(str([part for part, pid in supervisor.running().items() if pid]))

    await supervisor.stop({"one": note, "two": note})
    assert ended == ["['one', 'two']", "['two']"]
    assert "two did not end within 0.3 s and was killed" in said


async def test_why_a_part_died_is_said_and_kept(tmp_path: Path, parts_dir: Path) -> None:
    broken = module(parts_dir, "broken", "raise SystemError('the disk is on fire')")
    said: list[str] = []
    supervisor = Supervisor(tmp_path, [Part("broken", broken)], said.append)
    supervisor.start()
    await until(lambda: any("started again" in line for line in said))
    await supervisor.stop()
    assert any(line.startswith("broken:") and "the disk is on fire" in line for line in said)
    kept = (tmp_path / "log" / "broken.log").read_text()
    assert "the disk is on fire" in kept
    assert '"part":"broken"' in kept.replace(" ", "")


async def test_a_part_that_the_system_has_no_room_for_is_started_when_it_has(
    tmp_path: Path, parts_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, refused = asyncio.create_subprocess_exec, 0

    async def full(*words: str, **options: Any) -> asyncio.subprocess.Process:
        nonlocal refused
        if words[3] == "one" and refused < 2:
            refused += 1
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return await start(*words, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", full)
    said: list[str] = []
    sleeper = module(parts_dir, "sleeper", SLEEPER)
    supervisor = Supervisor(tmp_path, [Part("one", sleeper), Part("two", sleeper)], said.append)
    supervisor.start()
    await until(lambda: all(supervisor.running().values()))
    await supervisor.stop()
    assert said == ["one could not be started (Resource temporarily unavailable); it is started again"] * 2
    assert supervisor.running() == {"one": None, "two": None}


async def test_a_part_that_may_end_is_done_when_it_ends_well(tmp_path: Path, parts_dir: Path) -> None:
    brief = module(parts_dir, "brief", "")
    said: list[str] = []
    supervisor = Supervisor(tmp_path, [Part("brief", brief, restart=False)], said.append)
    supervisor.start()
    await until(lambda: supervisor.keepers[0].done)
    await supervisor.stop()
    assert said == []


async def test_a_part_left_by_an_earlier_supervisor_is_ended_first(tmp_path: Path, parts_dir: Path) -> None:
    sleeper = module(parts_dir, "sleeper", SLEEPER)
    supervisor = Supervisor(tmp_path, [Part("worker", sleeper)], lambda _: None)
    supervisor.start()
    await until(lambda: supervisor.running()["worker"])
    left = supervisor.running()["worker"]
    assert left is not None
    said: list[str] = []
    Supervisor(tmp_path, [], said.append)
    await until(lambda: supervisor.running()["worker"] != left)
    assert said == [f"worker of an earlier run was still there (process {left}) and is ended"]
    await supervisor.stop()


def test_a_stranger_with_a_recycled_number_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        (tmp_path / "parts.json").write_text(f'{{"worker": {stranger.pid}}}')
        Supervisor(tmp_path, [], lambda _: None)
        assert stranger.poll() is None
        stranger.kill()


def test_no_part_outlives_a_supervisor_that_is_killed(tmp_path: Path, parts_dir: Path) -> None:
    module(parts_dir, "sleeper", "import sys, time; print('ready', file=sys.stderr, flush=True); time.sleep(60)")
    module(
        parts_dir,
        "supervising",
        f"""
        import asyncio, pathlib
        from runners.supervisor import Part, Supervisor
        async def main():
            data = pathlib.Path({str(tmp_path)!r})
            supervisor = Supervisor(data, [Part("a", "sleeper"), Part("b", "sleeper")], print)
            supervisor.start()
            while not all((data / "log" / f"{{name}}.log").stat().st_size for name in "ab"):
                await asyncio.sleep(0.01)
            print(*supervisor.running().values(), flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
        """,
    )
    with subprocess.Popen([sys.executable, "-m", "supervising"], stdout=subprocess.PIPE, text=True) as supervising:
        assert supervising.stdout is not None
        pids = [int(word) for word in supervising.stdout.readline().split()]
        assert len(pids) == 2
        # A stopped process hears nothing; it must go all the same.
        os.kill(pids[0], signal.SIGSTOP)
        supervising.kill()
    deadline = time.monotonic() + 5.0
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < deadline, "a part outlived its supervisor"
        time.sleep(0.02)


def test_a_part_that_keeps_dying_is_tried_at_once_and_then_slowly() -> None:
    waits = [delay_s(deaths) for deaths in range(QUICK_DEATHS_MAX + 2)]
    assert max(waits[:QUICK_DEATHS_MAX]) < 1.0
    assert waits[QUICK_DEATHS_MAX:] == [SLOW_S, SLOW_S]


async def test_a_part_that_dies_again_and_again_is_noted_until_it_lives(
    tmp_path: Path, parts_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_troubles, "STEADY_S", 4.0)
    mended = tmp_path / "mended"
    broken = module(
        parts_dir,
        "broken",
        f"""
        import pathlib, time
        if not pathlib.Path({str(mended)!r}).exists():
            raise OSError("No space left on device")
        time.sleep(60)
        """,
    )
    began_ms = time.time_ns() // 1_000_000
    parts = [Part("worker", broken), Part("relay", module(parts_dir, "sleeper", SLEEPER))]
    supervisor = Supervisor(tmp_path, parts, lambda _: None)
    supervisor.start()
    await until(lambda: troubles_of(tmp_path), 20.0)
    (trouble,) = troubles_of(tmp_path)
    assert (trouble.part, trouble.deaths >= 3) == ("worker", True)
    assert began_ms <= trouble.since_ms <= time.time_ns() // 1_000_000
    assert trouble.why == "ended with code 1 (ended: error=OSError, reason=No space left on device)"
    mended.touch()
    await until(lambda: not troubles_of(tmp_path), 20.0)
    await supervisor.stop()


def test_trouble_needs_no_room_on_the_disk(tmp_path: Path) -> None:
    troubles = Troubles(tmp_path)
    room = (tmp_path / TROUBLES_FILE).stat()
    for part in range(12):
        for _ in range(3):
            troubles.died(f"part{part}", "\x00" * 5_000)
    assert len(troubles_of(tmp_path)) == 12
    kept = (tmp_path / TROUBLES_FILE).stat()
    assert (kept.st_ino, kept.st_size) == (room.st_ino, room.st_size)


def test_a_new_run_begins_without_trouble(tmp_path: Path) -> None:
    troubles = Troubles(tmp_path)
    for _ in range(3):
        troubles.died("worker", "ended with code 1")
    assert troubles_of(tmp_path)
    Troubles(tmp_path)
    assert not troubles_of(tmp_path)
    (tmp_path / TROUBLES_FILE).write_text("[{")
    assert not troubles_of(tmp_path)
