"""A process beside its owner: a fork at first, started by its name after that; it never outlives its owner."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from runners.beside import Beside, Gone
from tests.integration.answering import MODULE, program
from tests.integration.following import ROOT, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


@pytest.fixture
def forked() -> Iterator[Beside]:
    with closing(Beside(MODULE, "somewhere")) as one:
        one.fork(program)
        one.greet(b"hello")
        wait_until(one.ready)
        yield one


def test_its_first_life_is_a_fork_that_is_there_at_once_and_later_ones_are_told_the_same(forked: Beside) -> None:
    said, pid, asked = forked.ask(b"first", 5).split()
    assert (said, asked) == (b"hello", b"first")
    assert psutil.Process(int(pid)).cmdline() == psutil.Process().cmdline()
    assert psutil.Process(int(pid)).name() == "answering"
    with pytest.raises(Gone, match="ended"):
        forked.ask(b"die", 5)
    assert not forked.ready()
    wait_until(forked.ready)
    said, other, asked = forked.ask(b"second", 5).split()
    assert (said, asked) == (b"hello", b"second")
    assert other != pid
    assert MODULE in psutil.Process(int(other)).cmdline()
    assert forked.lives == 2


def test_one_that_does_not_answer_is_killed_and_leaves_no_zombie(forked: Beside) -> None:
    pid = int(forked.ask(b"?", 5).split()[1])
    with pytest.raises(Gone, match=r"did not answer within 0\.1 s"):
        forked.ask(b"sleep", 0.1)
    assert not psutil.pid_exists(pid)


def test_a_fork_has_nothing_open_that_its_owner_had_open(tmp_path: Path) -> None:
    with (tmp_path / "held").open("w"), closing(Beside(MODULE, "")) as other, closing(Beside(MODULE, "")) as one:
        other.fork(program)
        one.fork(program)
        one.greet(b"hello")
        wait_until(one.ready)
        # 0, 1, 2, the copies of 0 and 1, and the directory that is listed.
        assert len(json.loads(one.ask(b"files", 5))) == 6


def _raises() -> None:
    raise RuntimeError("the program is broken")


def _returns() -> None:
    pass


@pytest.mark.parametrize("broken", [_raises, _returns])
def test_a_fork_whose_program_ends_is_no_second_copy_of_its_owner(
    broken: Callable[[], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = os.getpid()
    with closing(Beside(MODULE, "")) as one:
        one.fork(broken)
        (tmp_path / str(os.getpid())).touch()
        time.sleep(0.3)
        one.greet(b"hello")
        assert not one.ready()
        wait_until(one.ready)
        assert one.ask(b"?", 5).startswith(b"hello ")
    assert [each.name for each in tmp_path.iterdir()] == [str(before)]
    assert ("the program is broken" in capfd.readouterr().err) == (broken is _raises)


def test_a_fork_s_end_is_noticed_where_nobody_tells_of_it() -> None:
    """Whoever started us may have had SIGCHLD ignored."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with closing(Beside(MODULE, "")) as one:
            one.fork(program)
            one.greet(b"hello")
            wait_until(one.ready)
            with pytest.raises(Gone):
                one.ask(b"die", 5)
            wait_until(one.ready)
            assert one.ask(b"?", 5).startswith(b"hello ")
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_an_owner_that_may_print_nowhere_can_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with closing(Beside(MODULE, "")) as one:
        one.fork(program)
        one.greet(b"hello")
        wait_until(one.ready)
        assert one.ask(b"?", 5).startswith(b"hello ")


def test_it_ends_with_its_owner() -> None:
    command = [sys.executable, "-m", MODULE]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        own, pid = map(int, owner.stdout.readline().split())
        assert own == owner.pid
        assert psutil.pid_exists(pid)
        owner.kill()
        owner.wait()
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
