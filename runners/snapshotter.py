"""Makes snapshots of the read models while the log grows, beside everything else: nobody waits for it.

Each time `snapshot_every` events have come, every read model is folded on from its last snapshot, and kept as it was
at that round position; when a person was forgotten, he is taken out of what was made before. `python -m
runners.snapshotter --data DIR`.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from domain.ids import PRIVACY_KEY
from runners.aio import run
from runners.background import Background
from runners.settings import Settings, load_settings
from runners.snapshots import FOLDER, NoRoom, Snapshots
from runners.vitals import STORE_AWAY

if TYPE_CHECKING:
    from domain.ports import EventLog, Recorded

LOOK_S = 2.0
"""How often the log is asked whether a snapshot is due."""
AGAIN_S = 60.0
"""How long what failed is left alone."""

log = structlog.get_logger()


class Stopped(Exception):
    """The process is to end: what was under way is begun again by the next one."""


class Stoppable:
    """A log that is read until the process is to end."""

    def __init__(self, event_log: "EventLog", stopping: Callable[[], bool]) -> None:
        """Read on until `stopping` says so."""
        self._log, self._stopping = event_log, stopping

    def read(self, after: int, limit: int) -> "list[Recorded]":
        """Return events by position.

        Raises:
            Stopped: no more.
        """
        if self._stopping():
            raise Stopped
        return self._log.read(after, limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


class Snapshotting:
    """Keeps the snapshots of one log level with it, again and again."""

    def __init__(self, event_log: Any, settings: Settings) -> None:
        """Read nothing yet."""
        self._log = event_log
        self._settings = settings
        self._snapshots: Snapshots | None = None
        self._generation = ""
        self._done: tuple[str, int, int] | None = None

    def run_once(self) -> bool:
        """Make what is due; say whether anything was.

        Raises:
            Stopped: the process is to end.
            NoRoom: the disk has none.
            STORE_AWAY: log or folder cannot be used.
        """
        settings = self._settings
        tracked = self._log.tracked()
        requests = self._log.select(PRIVACY_KEY, desc=True, limit=1)
        every = settings.snapshot_every
        due = (tracked.generation, tracked.head // every if every else 0, requests[-1].version if requests else 0)
        if due == self._done:
            return False
        if self._snapshots is None or self._generation != tracked.generation:
            self._snapshots = Snapshots(settings.path / FOLDER, tracked.generation)
            self._generation = tracked.generation
        spare = settings.disk_spare_bytes
        made, dropped = self._snapshots.make(self._log, every, bytes_max=settings.snapshot_bytes_max, spare=spare)
        self._done = due
        if made or dropped:
            newest = max((each.position for each in made), default=0)
            log.info("snapshots.made", position=newest, made=len(made), dropped=len(dropped))
        for name, version in self._snapshots.too_large:
            log.warning("snapshots.too_large", read_model=name, version=version, advice="raise snapshot_bytes_max")
        return True


async def keep_snapshots(settings: Settings) -> None:
    """Follow the log until SIGTERM or SIGINT."""
    background = Background()
    background.begin()
    event_log = await background.log_of(settings)
    if event_log is None:
        return
    snapshotting = Snapshotting(Stoppable(event_log, background.stopping.is_set), settings)
    try:
        while not background.stopping.is_set():
            wait_s = LOOK_S
            try:
                await asyncio.to_thread(snapshotting.run_once)
            except Stopped:
                break
            except (NoRoom, *STORE_AWAY) as trouble:
                log.warning("snapshots.not_made", reason=str(trouble))
                wait_s = AGAIN_S
            await background.pause(wait_s)
    finally:
        event_log.close()


def main() -> int:
    """Parse the arguments and make snapshots."""
    parser = argparse.ArgumentParser(prog="python -m runners.snapshotter", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    arguments = parser.parse_args()
    run(keep_snapshots(load_settings(arguments.data)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
