"""The connections that take pushes, as `channels.json` says now."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import structlog

from adapters.platforms import NoPlatform, connect
from adapters.platforms.connection import Connection, MissingSecret
from adapters.web.ports import Hook, HookAway
from domain.platforms import Platform, PlatformError
from runners.connection_keys import FileKeys
from runners.connections import FILE, BadConnections, load
from runners.settings_file import stamp

log = structlog.get_logger(__name__)

Connect = Callable[[Connection], Platform]


class ConnectedHooks:
    """The port `adapters.web.ports.Hooks`. Use it in one event loop."""

    def __init__(self, data: Path, now_ms: Callable[[], int], connect_to: Connect | None = None) -> None:
        """Prepare; `refresh` reads."""
        self._data = data
        self._connect = connect_to or (lambda each: connect(each, FileKeys(data, each), now_ms))
        self._seen: tuple[int, int, int, int] | None = None
        self._by_name: dict[str, Connection] = {}
        self._only: dict[str, str] = {}
        """Channel → name of its only connection."""
        self._platforms: dict[str, Platform] = {}
        self._leaving: list[Platform] = []
        """Of connections that are no more, or not as they were; `refresh` closes them."""

    def find(self, name: str) -> Hook | None:
        """Return a connection, also one that was added a moment ago; see `Hooks.find`."""
        connection = self._named(name)
        if connection is None and self._read():
            connection = self._named(name)
        if connection is None:
            return None
        platform = self._platforms.get(connection.name)
        if platform is None:
            try:
                platform = self._platforms[connection.name] = self._connect(connection)
            except NoPlatform:
                return None
            except (MissingSecret, PlatformError, ValueError, ImportError) as error:
                raise HookAway(f"{type(error).__name__}: {error}") from error
        if platform.receiver is None:
            return None
        # What a pull fetches again anyway is safe enough once the broker has it.
        pulled = platform.puller is not None and connection.pull_every_s > 0
        return Hook(connection.name, connection.channel, connection.shop, platform.receiver, committed=not pulled)

    async def refresh(self) -> None:
        """Read the connections again where the file has changed; a file that cannot be used changes nothing."""
        self._read()
        await self._let_go()

    async def close(self) -> None:
        """Release the connections."""
        self._leaving += self._platforms.values()
        self._platforms.clear()
        await self._let_go()

    async def _let_go(self) -> None:
        leaving, self._leaving = self._leaving, []
        for platform in leaving:
            if platform.close is not None:
                await platform.close()

    def _named(self, name: str) -> Connection | None:
        return self._by_name.get(name) or self._by_name.get(self._only.get(name, ""))

    def _read(self) -> bool:
        """Read the file where it has changed; tell whether it has, and can be used."""
        seen = stamp(self._data / FILE)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            connections = [each for each in load(self._data) if each.enabled]
        except (BadConnections, OSError) as error:
            log.error("gateway.connections_not_usable", reason=str(error))  # noqa: TRY400  not a crash
            return False
        counts = Counter(each.channel for each in connections)
        before, self._by_name = self._by_name, {each.name: each for each in connections}
        self._only = {each.channel: each.name for each in connections if counts[each.channel] == 1}
        changed = [name for name, known in before.items() if self._by_name.get(name) != known]
        self._leaving += [self._platforms.pop(name) for name in changed if name in self._platforms]
        log.info("gateway.connections", names=sorted(self._by_name))
        return True
