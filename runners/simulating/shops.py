"""Simulated shops that are open for a while: platforms served here, connected to a cell as real ones are.

Nothing of the cell knows that they are simulated: it has connections, secrets in files of their own, and tokens.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from adapters.platforms import connect
from adapters.platforms.connection import Connection, Token
from adapters.simulators import SHOP, Simulated
from domain.platforms import PullRules
from domain.time_units import SECOND_MS
from runners.connection_keys import FileKeys
from runners.connections import editing
from runners.pulling_store import Pulls
from runners.settings_file import write_durably

PREFIX: Final = "sim-"
"""Begins the names of the connections."""
FOLDER: Final = "simulated"
"""Directory of their secrets, below the data directory."""
SEEN_MS: Final = 30 * SECOND_MS
"""For so long pulls see a change, again and again."""
BEHIND_MAX_MS: Final = 570 * SECOND_MS
BEHIND_POSTING_MAX_MS: Final = 280 * SECOND_MS
"""How far behind a platform's clock may be, by the age at which requests, and posts, are not believed any more."""
NOTICED_S: Final = 1.5
"""Within so long the cell has noticed that a connection is gone, and asks no more for its secrets."""
_OPTIONS: Final = {"calls_per_s": "500", "since_days": "0.02"}


class OpenShop(msgspec.Struct, frozen=True):
    """A simulated shop and the connection to it."""

    channel: str
    sim: Simulated
    connection: Connection
    pulled: bool
    """Whether its orders can be pulled."""

    @property
    def told(self) -> str:
        """How the platform tells of changes: `post`, `socket`, or "" (it does not)."""
        if self.sim.socket is not None:
            return "socket"
        return "post" if self.channel in POSTING else ""


POSTING: Final = ("douyin", "wechat_shop", "shopify", "miniprogram", "generic")
"""Platforms that post what happens to an address of ours."""


@contextlib.asynccontextmanager
async def open_shops(
    data: Path, channels: Sequence[str], shop: str, *, pull_every_s: int, keep: bool
) -> AsyncIterator[dict[str, OpenShop]]:
    """Serve these platforms, each with one shop, and connect them to the cell of a data directory.

    Args:
        data: of the cell.
        channels: which of `PLATFORMS`.
        shop: name of all the shops, another one each time: orders of an earlier simulation are not meant. It begins
            with `PREFIX`, and names of connections begin with it.
        pull_every_s: how often each is pulled.
        keep: whether connections, secrets and tokens stay at the end (switched off, for nobody serves them any more).

    Raises:
        BadConnections, OSError: the file of connections cannot be used.
    """
    await asyncio.to_thread(_clear, data)
    async with contextlib.AsyncExitStack() as stack:
        opened: dict[str, OpenShop] = {}
        for channel in channels:
            clock = _Clock()
            made = Simulated(channel, msgspec.structs.replace(SHOP, name=shop), now_ms=clock)
            sim = await stack.enter_async_context(made)
            connection = await asyncio.to_thread(_write_keys, data, sim, pull_every_s)
            platform = connect(connection, FileKeys(data, connection), clock)
            if platform.puller is not None:
                clock.behind_ms = behind_ms(channel, platform.puller.rules)
            if platform.close is not None:
                await platform.close()
            opened[channel] = OpenShop(channel, sim, connection, platform.puller is not None)
        stack.push_async_callback(_close, data, opened, keep=keep)
        await asyncio.to_thread(_connect, data, opened)
        yield opened


def behind_ms(channel: str, rules: PullRules) -> int:
    """Return how far a platform's clock is to be behind, so that what changes there can be pulled at once.

    Feeds may lag, so pulls end some minutes before now; nobody wants to wait for them here. They overlap by minutes as
    well, which would show each change a hundred times: the further behind, the fewer.
    """
    most = BEHIND_POSTING_MAX_MS if channel in POSTING else BEHIND_MAX_MS
    return max(rules.margin_ms + 10 * SECOND_MS, min(rules.margin_ms + rules.overlap_ms - SEEN_MS, most))


class _Clock:
    """A platform's clock."""

    def __init__(self) -> None:
        self.behind_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 - self.behind_ms


def _clear(data: Path) -> None:
    """Take away what simulations left behind that were killed."""
    with editing(data) as connections:
        for each in list(connections):
            parts = urlsplit(each.base_url)
            ours = each.name.startswith(PREFIX) and each.name == f"{each.shop}-{each.channel}"
            # What was kept on purpose is switched off.
            if ours and each.enabled and parts.hostname == "127.0.0.1" and not _answers(parts.port or 0):
                connections.remove(each)
                _forget(data, each)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


def _write_keys(data: Path, sim: Simulated, pull_every_s: int) -> Connection:
    told = sim.letting_in()
    name = told["connection"]["name"]
    (data / FOLDER).mkdir(mode=0o700, exist_ok=True)
    secrets = {}
    for secret, value in told["secrets"].items():
        secrets[secret] = f"file:{FOLDER}/{name}.{secret}"
        write_durably(data / FOLDER / f"{name}.{secret}", f"{value}\n".encode())
    connection = msgspec.convert({**told["connection"], "secrets": secrets, "pull_every_s": pull_every_s}, Connection)
    connection = msgspec.structs.replace(connection, options={**connection.options, **_OPTIONS})
    FileKeys(data, connection).keep(msgspec.convert(told["token"], Token))
    return connection


def _connect(data: Path, opened: Mapping[str, OpenShop]) -> None:
    with editing(data) as connections:
        connections.extend(shop.connection for shop in opened.values())


async def _close(data: Path, opened: Mapping[str, OpenShop], *, keep: bool) -> None:
    ours = {shop.connection.name: shop.connection for shop in opened.values()}
    with editing(data) as connections:
        connections[:] = [
            msgspec.structs.replace(each, enabled=False) if each.name in ours else each
            for each in connections
            if keep or each.name not in ours
        ]
    try:
        await asyncio.sleep(NOTICED_S)
    finally:
        if not keep:
            for connection in ours.values():
                _forget(data, connection)
            with contextlib.suppress(OSError):
                (data / FOLDER).rmdir()


def _forget(data: Path, connection: Connection) -> None:
    """Take away token, secrets, and how far it was pulled."""
    keys = FileKeys(data, connection)
    keys.forget()
    keys.token_file.with_suffix(".lock").unlink(missing_ok=True)
    for place in connection.secrets.values():
        (data / place.removeprefix("file:")).unlink(missing_ok=True)
    pulls = Pulls(data)
    try:
        pulls.forget(connection.name)
    finally:
        pulls.close()
