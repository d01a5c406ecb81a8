"""A process beside another one, its owner, spoken with over standard input and output in frames behind their length.

The owner asks, the process answers, one question at a time. It says with an empty frame that it is there; until then
whoever wants it does the work itself, so that nobody waits for a start. Its first life is a fork of its owner, which
has loaded all that it needs: it is there at once. It ends when its owner does: its input ends, and on Linux the kernel
kills it.
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
import traceback
from collections.abc import Callable
from threading import Lock
from typing import IO, NoReturn, Protocol

from runners.child import call_itself, die_with_parent
from runners.cycles import look_rarely

PIPE_BYTES = 1 << 20
"""What Linux lets anybody ask for."""
FILES_MAX = 1 << 20
"""Where files are without number, so many are looked for to be closed."""
AGAIN_S = 1.0
"""Least time between two starts: one that cannot start is not started for each batch."""
_LENGTH = struct.Struct(">I")


class _Process(Protocol):
    """As much of a `Popen` as is needed."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def poll(self) -> int | None: ...
    def wait(self) -> int: ...
    def kill(self) -> None: ...


class Gone(Exception):
    """The process has ended, or does not answer; whether it did what it was asked is not known."""


class Beside:
    """The owner's side. Used by one thread at a time, but for `kill`."""

    def __init__(self, module: str, data: str) -> None:
        """Name what is run as `python -m <module> --data <data>` in every life but the first."""
        self._command = (sys.executable, "-m", module, "--data", data)
        self._greeting = b""
        self._process: _Process | None = None
        self._there = False
        self.lives = 0
        """How often it was started: what an earlier one was told, this one does not know."""
        self._not_before = 0.0

    def fork(self, program: Callable[[], None]) -> None:
        """Begin its first life as a fork of this process; only before that opens or starts what two must not share.

        Linux only. Elsewhere it is started by its name when there is work for it: libraries there do not expect forks.

        Args:
            program: what the module does when it is run.
        """
        if sys.platform == "linux":
            self._begin(_Fork(self._command[2].rpartition(".")[2], program))

    def greet(self, greeting: bytes) -> None:
        """Say what it must know before it can answer, now and whenever it is started anew."""
        self._greeting = greeting
        if self._process is not None:
            self._say(greeting)

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
        self._begin(subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))  # noqa: S603  our own
        self._say(self._greeting)

    def _begin(self, process: _Process) -> None:
        self._process = process
        self._not_before = time.monotonic() + AGAIN_S
        self.lives += 1
        assert process.stdin is not None
        assert process.stdout is not None
        for pipe in (process.stdin, process.stdout):
            _widen(pipe.fileno())
        os.set_blocking(process.stdin.fileno(), False)

    def _say(self, greeting: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it died at once, which is noticed when it is wanted
            _sent(self._process.stdin, greeting, 0)

    def _says_so(self, process: _Process) -> bool:
        assert process.stdout is not None
        try:
            return _readable(process.stdout, 0) and _read(process.stdout) == b""
        except EOFError:
            return False


class _Fork:
    """A copy of this process that runs a program between two pipes, with nothing else that was open."""

    def __init__(self, name: str, program: Callable[[], None]) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        for written in (sys.stdout, sys.stderr):
            if written is not None:  # closed by whoever started us
                written.flush()
        self._pid = os.fork()
        if self._pid == 0:
            _be(name, program, theirs_in, theirs_out)
        os.close(theirs_in)
        os.close(theirs_out)
        self.stdin: IO[bytes] | None = os.fdopen(ours_out, "wb", 0)
        self.stdout: IO[bytes] | None = os.fdopen(ours_in, "rb")
        self._status: int | None = None
        self._lock = Lock()  # who is waited for has no id any more, and another one may get it

    def poll(self) -> int | None:
        return self._ask(os.WNOHANG)

    def wait(self) -> int:
        status = self._ask(0)
        assert status is not None
        return status

    def kill(self) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._status is None:
                os.kill(self._pid, signal.SIGKILL)

    def _ask(self, options: int) -> int | None:
        with self._lock:
            if self._status is None:
                try:
                    pid, status = os.waitpid(self._pid, options)
                except ChildProcessError:  # whoever started us has SIGCHLD ignored: nobody learns of the end
                    pid, status = self._pid, 0
                if pid:
                    self._status = os.waitstatus_to_exitcode(status)
            return self._status


def _be(name: str, program: Callable[[], None], source: int, sink: int) -> NoReturn:
    try:
        call_itself(name)
        os.dup2(source, 0)
        os.dup2(sink, 1)
        os.closerange(3, min(os.sysconf("SC_OPEN_MAX"), FILES_MAX))
        sys.stdout = sys.stderr = os.fdopen(2, "w", 1, closefd=False)
        program()
    except BaseException:  # noqa: BLE001  it must not come out in a second copy of the owner
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def serve(begin: Callable[[bytes], Callable[[bytes], bytes]]) -> None:
    """Be such a process until the owner ends: `begin` takes the greeting and returns what answers questions."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no frame
    die_with_parent()
    # Its owner ends it, by its input: a terminal's Ctrl-C and a stop of all parts must not come before that.
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
