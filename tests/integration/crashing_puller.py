"""The real puller on a platform in a folder, with a trap at one named place: `ORDERSPINE_TEST_AT=<place>:<nth>:kill`.

Run as `python -m tests.integration.crashing_puller --data DIR`. The puller's own code knows nothing of it.
"""

import os
import sys
from typing import Any

from adapters import platforms
from runners import pulling, pulling_line, reconciling
from runners.pulling_hints import Fetching
from runners.pulling_log import LogFollower
from runners.pulling_mail import Mailroom
from runners.pulling_store import Pulls
from tests.integration.crashing_worker import Trap

PLACES: dict[str, tuple[Any, str]] = {
    "begin": (Pulls, "begin"),
    "cut": (Mailroom, "cut"),
    "send": (Mailroom, "send"),
    "advance": (Pulls, "advance"),
    "follow": (LogFollower, "run_once"),
    "noted": (Pulls, "follow"),
    "fetch": (Fetching, "_take"),
    "hint_done": (Pulls, "hint_done"),
    "compare": (reconciling.Reconciliation, "_record"),
    "compared": (Pulls, "compared_to"),
}
"""Where a trap can be, before and after."""


def main() -> int:
    """Set the trap that the environment names, and pull."""
    platforms.MODULES["taobao"] = "tests.fake_platform"
    pulling_line.START_SPREAD_S = 0.0
    pulling_line.COMPARE_LOOK_S = 0.2
    if at := os.environ.get("ORDERSPINE_TEST_AT"):
        trap = Trap(at)
        owner, name = PLACES[trap.place]
        setattr(owner, name, trap.around(getattr(owner, name)))
    return pulling.main()


if __name__ == "__main__":
    sys.exit(main())
