"""Start one part of OrderSpine under the supervisor: tie its life to the supervisor's, set up its log, run it.

`python -m runners.child NAME PARENT PIPE MODULE ARGUMENT…`. The kernel kills this process when its parent ends (Linux);
elsewhere a thread does when PIPE, whose other end only the parent holds, is closed. Log lines go to stderr as JSON, one
a line; the supervisor keeps them.
"""

import ctypes
import os
import runpy
import signal
import sys
import threading

import structlog

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
EXIT_ORPHAN = 76


def main(name: str, parent: int, pipe: int, module: str, arguments: list[str]) -> None:
    """Run a module as this process's program; what it raises is logged as the reason of its end."""
    tie(parent, pipe)
    set_up_log(name)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Exception as error:  # noqa: BLE001
        # The outermost frame of a process: whatever it was, people must be able to read why it ended.
        structlog.get_logger().critical(
            "ended", error=type(error).__name__, reason=str(error) or repr(error), exc_info=True
        )
        sys.exit(1)


def tie(parent: int, pipe: int) -> None:
    """See to it that this process does not outlive `parent`."""
    if die_with_parent() and os.getppid() != parent:  # it ended before the kernel was asked
        sys.exit(EXIT_ORPHAN)
    threading.Thread(target=_watch, args=(pipe,), name="watch-parent", daemon=True).start()


def die_with_parent() -> bool:
    """Have the kernel kill this process when the thread that started it ends; False where it cannot."""
    if sys.platform != "linux":
        return False
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return True


def call_itself(name: str) -> None:
    """Name this process where programs list processes by their names (Linux: 15 bytes); others see its command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15])


def _watch(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def set_up_log(name: str) -> None:
    """Log JSON lines to stderr."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=repr),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(part=name)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:])
