"""A process beside the worker, spoken with over its standard input and output in frames behind their length.

The worker asks, the process answers, one question at a time. It says with an empty frame that it is there; until then
whoever wants it does the work itself, so that nobody waits for a start. It ends when the worker does: its input ends,
and on Linux the kernel kills it.
"""

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO

from runners.aio import look_rarely
from runners.child import die_with_parent

PIPE_BYTES = 1 << 20
"""What Linux lets anybody ask for."""
AGAIN_S = 1.0
"""Least time between two starts: one that cannot start is not started for each batch."""
_LENGTH = struct.Struct(">I")


class Gone(Exception):
    """The process has ended, or does not answer; whether it did what it was asked is not known."""


class Beside:
    """The worker's side. Used by one thread at a time, but for `kill`."""

    def __init__(self, module: str, data: str, greeting: bytes = b"") -> None:
        """Name what is run as `python -m <module> --data <data>`; it reads the greeting first."""
        self._command = (sys.executable, "-m", module, "--data", data)
        self._greeting = greeting
        self._process: subprocess.Popen[bytes] | None = None
        self._there = False
        self.lives = 0
        """How often it was started: what an earlier one was told, this one does not know."""
        self._not_before = 0.0

    def ready(self) -> bool:
        """Whether it can be asked; where it does not run, it is started, and is ready some time later."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            if time.monotonic() >= self._not_before:
                self._start()
        elif not self._there:
            self._there = self._says_so(self._process)
        return self._there

    def ask(self, question: bytes, timeout_s: float) -> bytes:
        """Return the answer; only when it is ready.

        Raises:
            Gone: it has died, or was killed because it did not answer in its time.
        """
        process = self._process
        assert process is not None, "only who is ready can be asked"
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if _sent(process.stdin, question, timeout_s) and _readable(process.stdout, timeout_s):
                return _read(process.stdout)
            why = f"did not answer within {timeout_s:g} s"
        except (OSError, EOFError):
            why = "ended"
        self.close()
        raise Gone(f"{self._command[2]} {why}")

    def kill(self) -> None:
        """End it, from any thread; whoever waits for its answer learns of it."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End it, and release its pipes. Harmless when done twice."""
        process, self._process, self._there = self._process, None, False
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what it had not read yet
                    pipe.close()

    def _start(self) -> None:
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603  our own
        self._process = process
        self._not_before = time.monotonic() + AGAIN_S
        self.lives += 1
        assert process.stdin is not None
        assert process.stdout is not None
        for pipe in (process.stdin, process.stdout):
            _widen(pipe.fileno())
        os.set_blocking(process.stdin.fileno(), False)
        with contextlib.suppress(OSError):  # it died at once, which is noticed when it is wanted
            _sent(process.stdin, self._greeting, 0)

    def _says_so(self, process: "subprocess.Popen[bytes]") -> bool:
        assert process.stdout is not None
        try:
            return _readable(process.stdout, 0) and _read(process.stdout) == b""
        except EOFError:
            return False


def serve(begin: Callable[[bytes], Callable[[bytes], bytes]]) -> None:
    """Be such a process until the worker ends: `begin` takes the greeting and returns what answers questions."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no frame
    die_with_parent()
    # The worker ends it, by its input: a terminal's Ctrl-C and a stop of all parts must not come before that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(EOFError, BrokenPipeError):
        answer = begin(_read(source))
        look_rarely()
        _write(sink, b"")
        while True:
            _write(sink, answer(_read(source)))


def _widen(pipe: int) -> None:
    """Let a pipe hold a whole frame where the system allows it: each side then waits for the other less often."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _readable(source: IO[bytes], timeout_s: float) -> bool:
    """Wait until something is to be read, or the end. Nothing of a frame may be in the buffer."""
    waiting = select.poll()
    waiting.register(source, select.POLLIN)
    return bool(waiting.poll(timeout_s * 1000))


def _sent(sink: IO[bytes], frame: bytes, timeout_s: float) -> bool:
    """Write a frame to a pipe that does not block; False where the other side takes nothing for so long."""
    descriptor = sink.fileno()
    waiting = select.poll()
    waiting.register(descriptor, select.POLLOUT)
    for part in (_LENGTH.pack(len(frame)), frame):
        left = memoryview(part)
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:
                if not waiting.poll(timeout_s * 1000):
                    return False
    return True


def _write(sink: IO[bytes], frame: bytes) -> None:
    sink.write(_LENGTH.pack(len(frame)))
    sink.write(frame)
    sink.flush()


def _read(source: IO[bytes]) -> bytes:
    """Read one frame. Raises EOFError when the other side is gone."""
    head = source.read(_LENGTH.size)
    if len(head) == _LENGTH.size:
        (length,) = _LENGTH.unpack(head)
        frame = source.read(length)
        if len(frame) == length:
            return frame
    raise EOFError
