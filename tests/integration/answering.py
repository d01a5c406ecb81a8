"""A process for `test_beside`: it answers with its greeting, its id and what it was asked, or does as it is asked.

`python -m tests.integration.answering --data DIR` is its second life. `python -m tests.integration.answering` is an
owner of one, which tells both ids and waits.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from runners.beside import Beside, serve

MODULE = "tests.integration.answering"


def program() -> None:
    """Answer."""

    def begin(greeting: bytes) -> Callable[[bytes], bytes]:
        def answer(question: bytes) -> bytes:
            match question:
                case b"die":
                    os._exit(3)
                case b"sleep":
                    time.sleep(60)
                case b"files":
                    return json.dumps([each.name for each in Path("/proc/self/fd").iterdir()]).encode()
            print("what a library prints")  # noqa: T201  it must not get between the frames
            return b"%b %d %b" % (greeting, os.getpid(), question)

        return answer

    serve(begin)


def own() -> None:
    """Own one, and wait for the end."""
    one = Beside(MODULE, "")
    one.fork(program)
    one.greet(b"hello")
    while not one.ready():
        time.sleep(0.01)
    print(os.getpid(), one.ask(b"?", 5).split()[1].decode(), flush=True)  # noqa: T201
    time.sleep(60)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        program()
    else:
        own()
