"""Keeps the parts of a running OrderSpine alive: starts them, restarts what dies, stops them in order, leaves none.

A part is a program of its own (`runners.child` ties its life to this process). One that dies is started again within a
second; one that keeps dying is said so about, clearly, and tried more slowly. The broker is stopped last.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from runners.part_log import PartLog
from runners.part_troubles import Troubles

log = structlog.get_logger(__name__)

PIDS_FILE = "parts.json"
LOG_DIRECTORY = "log"
QUICK_S = 10.0
"""A part that lived shorter than this died quickly."""
QUICK_DEATHS_MAX = 10
"""After so many quick deaths in a row it is tried slowly."""
SLOW_S = 15.0


class Part(NamedTuple):
    """A program the supervisor keeps running."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    restart: bool = True
    """False: it may come to its own end, and is then done."""
    stop_s: float = 10.0
    """How long it may take to end by itself."""
    nice: int = 0
    """By how much it makes way for others from its start on."""
    late: bool = False
    """Whether it is started only when the others are at work: their start is waited for."""


def delay_s(quick_deaths: int) -> float:
    """Return how long to wait before a part is started again."""
    if quick_deaths >= QUICK_DEATHS_MAX:
        return SLOW_S
    return min(0.05 * (1 << quick_deaths), 0.8)


class Keeper:
    """Keeps one part running until it is stopped."""

    def __init__(self, part: Part, logs: Path, pids: "Pids", troubles: Troubles, show: Callable[[str], None]) -> None:
        """Prepare; nothing is started yet."""
        self.part = part
        self.restarts = 0
        self.done = False
        """Whether a part that need not be restarted has ended."""
        self._log = PartLog(logs, part.name, show)
        self._pids = pids
        self._troubles = troubles
        self._show = show
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The part's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def start(self) -> None:
        """Begin to keep it running. Harmless when done twice."""
        if self._task is None and not self._stopping.is_set():
            self._task = asyncio.create_task(self._keep(), name=f"keep-{self.part.name}")

    async def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL where it does not end in its time. Harmless when done twice."""
        self._stopping.set()
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(self.part.stop_s):
                    await process.wait()
            except TimeoutError:
                self._show(f"{self.part.name} did not end within {self.part.stop_s:g} s and was killed")
                self.kill()
        if self._task is not None:
            await self._task
        self._log.close()

    def kill(self) -> None:
        """End it at once."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _keep(self) -> None:
        quick_deaths = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                with self._troubles.living(self.part.name):
                    code = await self._live()
                how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            except OSError as error:  # the system has no process, memory or descriptor to spare for a while
                code, how = -1, f"could not be started ({error.strerror})"
            if self._stopping.is_set():
                return
            if code == 0 and not self.part.restart:
                self.done = True
                return
            quick_deaths = quick_deaths + 1 if time.monotonic() - began < QUICK_S else 0
            self.restarts += 1
            wait_s = delay_s(quick_deaths)
            how += f" ({self._log.last_words})" if self._log.last_words else ""
            self._troubles.died(self.part.name, how)
            self._say_why(how, quick_deaths, wait_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)

    async def _live(self) -> int:
        """Start the part, keep what it says, and return how it ended.

        Raises:
            OSError: it cannot be started.
        """
        reading, writing = os.pipe()
        part = self.part
        self._log.forget()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "runners.child", part.name, str(os.getpid()), str(reading), part.module),
                *part.arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                limit=256 * 1024,
                pass_fds=(reading,),
                # A terminal's Ctrl-C must reach the supervisor alone: it stops the parts in their order. No session of
                # its own for that: Linux shares the processor among sessions first, and `nice` counts inside of each.
                process_group=0,
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        self._process = process
        if part.nice:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.setpriority(os.PRIO_PROCESS, process.pid, part.nice)
        self._pids.note(part.name, process.pid)
        if self._stopping.is_set():  # asked to stop while it was being started
            process.terminate()
        assert process.stderr is not None
        try:
            await self._log.follow(process.stderr)
            return await process.wait()
        finally:
            os.close(writing)
            self._pids.note(part.name, None)

    def _say_why(self, how: str, quick_deaths: int, wait_s: float) -> None:
        if quick_deaths < QUICK_DEATHS_MAX:
            self._show(f"{self.part.name} {how}; it is started again")
        else:
            self._show(
                f"{self.part.name} {how}. It has now ended {quick_deaths} times in a row right after its start, "
                f"and is tried again every {wait_s:g} s. Everything it said is in {self._log.path}"
            )


class Supervisor:
    """The parts of one data directory; they are started in order and stopped in the same order."""

    def __init__(
        self, data: Path, parts: Sequence[Part], show: Callable[[str], None], troubles: Troubles | None = None
    ) -> None:
        """Prepare; end what an earlier supervisor may have left."""
        troubles = troubles or Troubles(data)
        self._pids = Pids(data)
        self._pids.end_left_over(show)
        self.keepers = [Keeper(part, data / LOG_DIRECTORY, self._pids, troubles, show) for part in parts]

    def start(self, *, late: bool = True) -> None:
        """Start all parts that do not run yet; without `late` only those that come first."""
        for keeper in self.keepers:
            if late or not keeper.part.late:
                keeper.start()

    async def stop(self, before: Mapping[str, Callable[[], Awaitable[None]]] | None = None) -> None:
        """Stop the parts one after the other; `before` holds, by name, what to wait for before a part is stopped."""
        for keeper in self.keepers:
            pause = (before or {}).get(keeper.part.name)
            if pause is not None:
                await pause()
            await keeper.stop()

    def kill(self) -> None:
        """End all parts at once."""
        for keeper in self.keepers:
            keeper.kill()

    def running(self) -> dict[str, int | None]:
        """Return the process id of each part."""
        return {keeper.part.name: keeper.pid for keeper in self.keepers}


class Pids:
    """The parts' process ids, in a file: a writer left behind by a killed supervisor must not go on beside a new one.

    The kernel ends orphans already where it can; this is for where it cannot.
    """

    def __init__(self, data: Path) -> None:
        """Read the file, if there is one."""
        self._path = data / PIDS_FILE
        self._known: dict[str, int] = {}
        try:
            self._known = msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])
        except (FileNotFoundError, msgspec.DecodeError):
            self._known = {}

    def note(self, name: str, pid: int | None) -> None:
        """Write down that a part runs, or (None) that it does not."""
        if pid is None:
            self._known.pop(name, None)
        else:
            self._known[name] = pid
        fresh = self._path.with_name(f".{PIDS_FILE}.{os.getpid()}")
        try:
            fresh.write_bytes(msgspec.json.encode(self._known))
            fresh.replace(self._path)
        except OSError as error:  # a full disk must not end the supervisor
            log.warning("pids.not_written", error=str(error))

    def end_left_over(self, show: Callable[[str], None]) -> None:
        """Kill the parts an earlier supervisor started, where they still run."""
        for name, pid in list(self._known.items()):
            if _is_part(name, pid):
                show(f"{name} of an earlier run was still there (process {pid}) and is ended")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._known.clear()


def _is_part(name: str, pid: int) -> bool:
    """Tell whether a process is a part of that name, and not a stranger that was given the same number."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
        shown = subprocess.run(  # noqa: S603
            ["/bin/ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
        )
        words = shown.stdout.split()
    return "runners.child" in words and name in words
