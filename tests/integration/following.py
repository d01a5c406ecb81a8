"""Processes that follow a log, for tests that maltreat them, and what is to come of it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.storage.read_models import ReadModels
from domain.ports import EventLog
from projections import PROJECTIONS
from runners.projector import Projector

ROOT = Path(__file__).resolve().parents[2]


class Follower:
    """`python -m runners.<name> --data DIR`, started again after each kill."""

    def __init__(self, name: str, data: Path, *options: str, **environment: str) -> None:
        module = name if "." in name else f"runners.{name}"
        self._command = [sys.executable, "-m", module, "--data", str(data), *options]
        self._environment = environment
        self._errors = (data / f"{name}.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERSPINE_")}
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, env=environment | self._environment, stdout=self._errors, stderr=self._errors
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def terminate(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=20)
        self._process = None
        return code

    def close(self) -> None:
        self.kill()
        self._errors.close()


@contextmanager
def follower(name: str, data: Path, *options: str, **environment: str) -> Iterator[Follower]:
    """A process that is surely gone afterwards."""
    one = Follower(name, data, *options, **environment)
    try:
        yield one
    finally:
        one.close()


def wait_until(done: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"did not happen within {seconds:g} s"
        time.sleep(0.02)


async def wait_for(done: Callable[[], bool], seconds: float = 30.0) -> None:
    """The same, where the event loop must go on."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"did not happen within {seconds:g} s"
        await asyncio.sleep(0.02)


def everything(read_models: ReadModels) -> list[Any]:
    """All rows of all read models."""
    return [row for projection in PROJECTIONS for row in read_models.rows(projection)]


def rebuilt(log: EventLog) -> list[Any]:
    """The same of read models that are built from a log without any trouble."""
    read_models = ReadModels("sqlite://")
    Projector(log, read_models).run()
    found = everything(read_models)
    read_models.close()
    return found


def level(read_models: ReadModels, log: EventLog) -> bool:
    """Whether all read models are level with a log."""
    positions = [row["position"] for row in read_models.positions()]
    return len(positions) == len(PROJECTIONS) and min(positions) == log.tracked().head
