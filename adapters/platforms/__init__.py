"""Sales platforms: the protocols of each one's own interface (signatures, tokens, pages, pushes, ship notices).

A platform is one module with the functions `connect(connection, keys, now_ms) -> Platform` and `wants(connection) ->
Wants`, and one line in `MODULES`. Whose bytes mean what is not told here but in `adapters/channels/`.
"""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from adapters.platforms.connection import Connection, Keys, Wants
from domain.platforms import Platform

MODULES: dict[str, str] = {
    name: f"adapters.platforms.{name}"
    for name in ("taobao", "jd", "douyin", "pinduoduo", "wechat_shop", "miniprogram", "shopify", "generic")
}
"""Channel → module."""
OPTIONS = frozenset({"calls_per_s", "carrier."})
"""Options that every platform has."""


class NoPlatform(ValueError):
    """The channel has no interface to connect to (a till's files, for example)."""


def connect(connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> Platform:
    """Make a shop's connection. Nothing is sent yet; call it in a running event loop.

    Args:
        connection: addresses and options.
        keys: its secrets and token.
        now_ms: the clock, UTC ms: requests are dated and tokens refreshed by it.

    Raises:
        NoPlatform: the channel has none.
        ValueError: an option is missing or wrong; the text says which.
    """
    platform: Platform = _module(connection).connect(connection, keys, now_ms)
    return platform


def wants(connection: Connection) -> Wants:
    """Return what the connection's platform reads of it.

    Raises:
        NoPlatform: the channel has none.
    """
    read: Wants = _module(connection).wants(connection)
    return read._replace(options=read.options | OPTIONS)


def _module(connection: Connection) -> ModuleType:
    module = MODULES.get(connection.channel)
    if module is None:
        raise NoPlatform(f"channel {connection.channel!r} has no interface to connect to; known: {', '.join(MODULES)}")
    return import_module(module)
