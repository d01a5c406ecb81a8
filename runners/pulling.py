"""The puller: keeps every shop's line to its platform. `python -m runners.pulling --data DIR`.

For each connection of `channels.json`: timed pulls of what changed, orders that pushes only named, the platform's
message socket, comparisons with its past. The file is looked at each second; what changes there takes effect at once.
One process for each data directory (`up` starts it and holds the lock).
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping

import structlog

from adapters.platforms.connection import Connection
from runners.aio import run
from runners.background import POLL_S, Background, Link
from runners.connections import FILE, BadConnections, load
from runners.pulling_line import Line, Shared
from runners.pulling_log import BATCH_EVENTS, LogFollower
from runners.pulling_mail import Mailroom
from runners.pulling_store import Pulls
from runners.settings import Settings, load_settings
from runners.settings_file import stamp

log = structlog.get_logger(__name__)


class Wiring:
    """The connections as the file has them now, each with its running line."""

    def __init__(self, shared: Shared) -> None:
        """Nothing is read or running yet."""
        self._shared = shared
        self._stamp: object = ()
        self._problem = ""
        self._lines: dict[str, tuple[Line, asyncio.Task[None]]] = {}

    async def refresh(self) -> None:
        """Look whether the file has changed; start what is new, stop what is gone, change what is changed.

        A file that cannot be used changes nothing.
        """
        for _, task in self._lines.values():
            if task.done():
                task.result()  # a line ends only where it cannot even note what is wrong: so does the process
        now = stamp(self._shared.settings.path / FILE)
        if now == self._stamp:
            return
        problem = ""
        try:
            wanted = {each.name: each for each in load(self._shared.settings.path) if each.enabled}
        except (BadConnections, OSError) as error:
            problem = str(error)
        if problem:
            # Looked at again each second: it may be in the middle of being written by hand.
            if problem != self._problem:
                log.error("channels.unusable", reason=f"{problem}; until then the connections stay as they were")
            self._problem = problem
            return
        self._stamp, self._problem = now, ""
        await self._become(wanted)

    def fetching(self) -> list[Connection]:
        """Return the connections whose orders can be fetched by number."""
        return [line.connection for line, _ in self._lines.values() if line.can_fetch]

    def wake(self, names: set[str]) -> None:
        """Tell lines that there is something for them."""
        for name in names & self._lines.keys():
            self._lines[name][0].wake()

    async def close(self) -> None:
        """Stop all lines."""
        await self._become({})

    async def _become(self, wanted: Mapping[str, Connection]) -> None:
        gone = [name for name, (line, _) in self._lines.items() if wanted.get(name) != line.connection]
        ending = [self._lines.pop(name) for name in gone]
        for line, _ in ending:
            line.stop()
        for result in await asyncio.gather(*(task for _, task in ending), return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        for name, connection in wanted.items():
            if name not in self._lines:
                line = Line(connection, self._shared)
                self._lines[name] = (line, line.start())
                log.info("line.started", connection=name, channel=connection.channel)


async def pull(settings: Settings) -> None:
    """Keep all lines until SIGTERM or SIGINT."""
    background = Background()
    background.begin()
    event_log = await background.log_of(settings)
    if event_log is None:
        return
    pulls = Pulls(settings.path)
    link = Link(settings, f"puller-{settings.cell}")
    try:
        async with Mailroom(settings, f"puller-mail-{settings.cell}") as mailroom:
            wiring = Wiring(Shared(settings, pulls, mailroom, event_log, _now_ms))
            follower = LogFollower(event_log, pulls, wiring.fetching, _now_ms)
            try:
                while not background.stopping.is_set():
                    await wiring.refresh()
                    if not wiring.fetching():
                        # Nobody to fetch for: the log is followed when there is, from where it was left.
                        await background.pause(POLL_S)
                        continue
                    await link.up()
                    count, names = await asyncio.to_thread(follower.run_once)
                    wiring.wake(names)
                    if count < BATCH_EVENTS:
                        await background.pause(POLL_S, link.hints)
            finally:
                await wiring.close()
    finally:
        await link.close()
        pulls.close()
        event_log.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> int:
    """Parse the arguments and pull."""
    parser = argparse.ArgumentParser(prog="python -m runners.pulling", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    run(pull(load_settings(parser.parse_args().data)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
