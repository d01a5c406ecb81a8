"""A running OrderSpine for tests: the real command as a process of its own."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from unittest.mock import patch

import psutil
import structlog

from runners.cli import run

PARTS = (
    "worker",
    "projector",
    "relay",
    "broker",
    "puller",
    "gateway",
    "effects",
    "outlet",
    "webhooks",
    "sealer",
    "snapshots",
)
"""What runs when all does."""


class Said(NamedTuple):
    """What a command line ended with."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        """What it wrote on stdout."""
        return self.raw.decode()

    @property
    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)


class _Stream(io.TextIOWrapper):
    """Text in memory that also takes bytes."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def content(self) -> bytes:
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue()


def orderspine(*words: object) -> Said:
    """Run a command line in this process, without making way for others: what tests start later would do so, too."""
    out, err = _Stream(), _Stream()
    try:
        with redirect_stdout(out), redirect_stderr(err), patch.object(os, "setpriority"):
            try:
                code = run([str(word) for word in words])
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
    finally:
        structlog.reset_defaults()
    return Said(code, out.content(), err.content().decode())


class Running:
    """`orderspine up` on a directory. A context manager; what it leaves is killed."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        self._options = options
        self._err = data.with_name(f"{data.name}.err")

    def __enter__(self) -> Self:
        with self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runners.cli", "up", "--data", str(self.data), *self._options],
                stdout=subprocess.DEVNULL,
                stderr=err,
            )
        until(lambda: " runs on " in self.said or self.process.poll() is not None, 40.0)
        assert self.process.poll() is None, self.said
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        parts = self.parts()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5.0)
        for pid in parts.values():
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)

    @property
    def said(self) -> str:
        """What it said on stderr so far."""
        return self._err.read_text()

    def parts(self) -> dict[str, int]:
        """Return the process id of each part that runs now, the broker's too."""
        try:
            children = psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return {}
        found = {}
        for child in children:
            try:
                words = child.cmdline()
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            if "runners.child" in words:
                found[words[words.index("runners.child") + 1]] = child.pid
            elif words and "nats-server" in words[0]:
                found["broker"] = child.pid
        return found

    def run(self, *words: object) -> Said:
        """Run another command line on the same data."""
        return orderspine(*words, "--data", self.data)


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something is so.

    What is asked for may not be there yet (a read model that follows has no such row, an answer is empty): that
    counts as not so, and is raised when the time is over. A long look is followed by a longer pause: whoever is waited
    for needs the processor, too.
    """
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        try:
            if true():
                return
        except (LookupError, json.JSONDecodeError):
            if time.monotonic() >= deadline:
                raise
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(max(0.02, 2 * (time.monotonic() - began)))
