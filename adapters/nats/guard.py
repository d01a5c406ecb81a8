"""Become the broker, and die with whoever started it.

Run as a program of its own: `guard.py LOCK PARENT MODE COMMAND…`. It takes the directory's lock (kept by the broker
until it ends, so two servers never share a store), arranges its own end, and then replaces itself by COMMAND, so that
the process id the parent knows is the broker's.

MODE `prctl` (Linux): the kernel kills it when the thread that started it ends. The parent starts it from a thread that
does nothing but wait for it.
MODE a number: that descriptor is the reading end of a pipe whose other end only the parent holds; a small watchdog
process kills the broker when the pipe is closed.
"""

import ctypes
import fcntl
import os
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
LOCK_WAIT_S = 10.0
EXIT_LOCKED = 75
EXIT_ORPHAN = 76


def main(lock: str, parent: int, mode: str, command: list[str]) -> None:
    """Take the lock, tie the process to its parent, become `command`."""
    if mode == "prctl":
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
        if os.getppid() != parent:  # it ended before the kernel was asked
            sys.exit(EXIT_ORPHAN)
    else:
        watch(int(mode))
    hold(lock)
    os.execv(command[0], command)  # noqa: S606  the command is the parent's own


def hold(path: str) -> None:
    """Lock the file and leave it open for the program that follows."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                sys.stderr.write(f"another broker still holds {path}\n")
                sys.exit(EXIT_LOCKED)
            time.sleep(0.02)
        else:
            os.set_inheritable(descriptor, True)
            return


def watch(pipe: int) -> None:
    """Leave a watchdog behind that kills this process when the pipe's other end is closed."""
    server = os.getpid()
    if os.fork() != 0:
        os.close(pipe)
        return
    while os.getppid() == server:
        readable, _, _ = select.select([pipe], [], [], 0.2)
        if readable and os.getppid() == server:
            os.kill(server, signal.SIGKILL)
            break
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:])
