"""The real projector with small batches, all of them written by the process beside it, which has a trap.

`ORDERSPINE_TEST_AT=apply.<before|after>:<nth passing>:<kill|stop>`, or `-` for none; `ORDERSPINE_TEST_WRITE_S`: when a
batch hangs; `ORDERSPINE_TEST_BATCH`: events of a batch. Run as `python -m tests.integration.crashing_projector --data
DIR --no-broker`, and its process beside as `… crashing_projector --data DIR --beside`. What they run knows nothing.
"""

import os
import sys
import time
from collections.abc import Callable

from adapters.storage.read_models import ReadModels
from runners import projector, writing
from runners.beside import Beside
from tests.integration.crashing_worker import Trap


class ByName(Beside):
    """Its first life is a program of its own, too; whoever waits for it, waits for its start."""

    def __init__(self, _: str, data: str) -> None:
        super().__init__("tests.integration.crashing_projector", data)
        self._command = (*self._command, "--beside")  # type: ignore[assignment]

    def fork(self, program: Callable[[], None]) -> None:
        del program

    def ready(self) -> bool:
        while not super().ready():
            time.sleep(0.01)
        return True


def write() -> int:
    """Write, and spring."""
    sys.argv.remove("--beside")
    at = os.environ["ORDERSPINE_TEST_AT"]
    if at != "-":
        trap = Trap(at)
        ReadModels.apply = trap.around(ReadModels.apply)  # type: ignore[method-assign]
    return writing.main()


def main() -> int:
    """Project by small batches."""
    projector.BATCH_EVENTS = int(os.environ.get("ORDERSPINE_TEST_BATCH", "40"))
    projector.Beside = ByName  # type: ignore[attr-defined,assignment]
    writing.WORTH_IT = 0
    writing.TIMEOUT_S = float(os.environ.get("ORDERSPINE_TEST_WRITE_S", "60"))
    return projector.main()


if __name__ == "__main__":
    sys.exit(write() if "--beside" in sys.argv else main())
