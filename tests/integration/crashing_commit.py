"""The real process that writes commits, with a trap at the place that `ORDERSPINE_TEST_BESIDE` names.

As for the worker: `<place>:<nth passing>:<kill|stop>`. Places: `append`, and `write` inside of its transaction.
"""

import os
import sys

from adapters.storage.sqlite_log import SqliteEventLog
from runners import committing
from tests.integration.crashing_worker import Trap

PLACES = {"append": "append", "write": "_write"}


def main() -> int:
    """Set the trap, and serve."""
    at = os.environ["ORDERSPINE_TEST_BESIDE"]
    if at != "-":
        trap = Trap(at)
        name = PLACES[trap.place]
        setattr(SqliteEventLog, name, trap.around(getattr(SqliteEventLog, name)))
    return committing.main()


if __name__ == "__main__":
    sys.exit(main())
