"""Sales channels: how each one's bytes are cut into orders and what they mean.

A channel is one module with a function `channel(merchant_zone: str) -> Channel`, and one line in `BUILT_IN`. A
merchant's own channel needs no line here: the settings name its module.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module

from domain.ports import Channel

BUILT_IN = (
    "adapters.channels.taobao",
    "adapters.channels.douyin",
    "adapters.channels.jd",
    "adapters.channels.pinduoduo",
    "adapters.channels.pos_csv",
    "adapters.channels.wechat_shop",
    "adapters.channels.miniprogram",
    "adapters.channels.shopify",
    "adapters.channels.generic",
)


class ChannelSetupError(ValueError):
    """The settings name a channel that cannot be used. The message says which and why."""


def load(extra: Sequence[str] = (), *, merchant_zone: str = "Asia/Shanghai") -> dict[str, Channel]:
    """Return the channels by name: those of OrderSpine and those of the modules in `extra`.

    `merchant_zone` is the zone of the times that people read.

    Raises:
        ChannelSetupError: a module cannot be imported, has no `channel` function, or a name is taken already.
    """
    channels: dict[str, Channel] = {}
    for module_name in (*BUILT_IN, *extra):
        channel = _make(module_name, merchant_zone)
        if channel.name in channels:
            raise ChannelSetupError(f"{module_name}: there is a channel {channel.name!r} already")
        channels[channel.name] = channel
    return channels


def recognise(channels: Mapping[str, Channel], raw: bytes) -> Channel | None:
    """Return the one channel that these bytes look like, or None where none or several do."""
    fitting = [channel for channel in _in_order(channels.values()) if channel.sniff(raw)]
    return fitting[0] if len(fitting) == 1 else None


def _in_order(channels: Iterable[Channel]) -> list[Channel]:
    return sorted(channels, key=lambda channel: channel.name)


def _make(module_name: str, merchant_zone: str) -> Channel:
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise ChannelSetupError(f"the channel module {module_name!r} cannot be imported: {error}") from error
    make = getattr(module, "channel", None)
    if not callable(make):
        raise ChannelSetupError(f"{module_name!r} is no channel: it has no function channel(merchant_zone)")
    channel: Channel = make(merchant_zone)
    return channel
