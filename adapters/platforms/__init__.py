"""Sales platforms: the protocols of each one's own interface (signatures, tokens, pages, pushes, ship notices).

A platform is one module with a function `connect(connection, keys, now_ms) -> Platform`, and one line in `MODULES`.
Whose bytes mean what is not told here but in `adapters/channels/`.
"""

from collections.abc import Callable
from importlib import import_module

from adapters.platforms.connection import Connection, Keys
from domain.platforms import Platform

MODULES: dict[str, str] = {
    name: f"adapters.platforms.{name}"
    for name in ("taobao", "jd", "douyin", "pinduoduo", "wechat_shop", "miniprogram", "shopify", "generic")
}
"""Channel → module."""


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
    module = MODULES.get(connection.channel)
    if module is None:
        raise NoPlatform(f"channel {connection.channel!r} has no interface to connect to; known: {', '.join(MODULES)}")
    platform: Platform = import_module(module).connect(connection, keys, now_ms)
    return platform
