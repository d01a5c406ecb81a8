"""A simulated platform, served: what tests and simulations hold in their hands."""

import contextlib
import random
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from adapters.simulators.douyin import Douyin
from adapters.simulators.exchange import Seen
from adapters.simulators.faults import How
from adapters.simulators.generic import Generic
from adapters.simulators.jd import Jd
from adapters.simulators.miniprogram import MiniProgram
from adapters.simulators.orders import SimOrder
from adapters.simulators.pinduoduo import Pinduoduo
from adapters.simulators.pinduoduo_socket import PinduoduoSocket
from adapters.simulators.platform import Push, SimPlatform
from adapters.simulators.pushing import Delivery, deliver
from adapters.simulators.server import served
from adapters.simulators.shop import SimShop
from adapters.simulators.shopify import Shopify
from adapters.simulators.sockets import SimSocket
from adapters.simulators.store import Kind, Shipment, Store, kind_of
from adapters.simulators.taobao import Taobao
from adapters.simulators.taobao_socket import TaobaoSocket
from adapters.simulators.wechat_shop import WechatShop

PLATFORMS: Final[dict[str, type[SimPlatform]]] = {
    platform.channel: platform
    for platform in (Taobao, Jd, Douyin, Pinduoduo, WechatShop, Shopify, MiniProgram, Generic)
}
"""Channel → simulator."""
_SOCKETS: Final[dict[str, type[SimSocket]]] = {"taobao": TaobaoSocket, "pinduoduo": PinduoduoSocket}
SHOP: Final = SimShop("toolshop", "7000000000000000001", "simulated-secret")


def posts(channel: str) -> bool:
    """Tell whether a platform posts messages to a webhook."""
    return PLATFORMS[channel].push is not SimPlatform.push


class Simulated:
    """One platform with one shop on a port of loopback, for the time of an `async with`.

    Args:
        channel: which platform.
        shop: its keys; an invented shop where none is given.
        now_ms: the platform's clock, UTC ms; the machine's where none is given.
        port: to serve on, 0 = a free one.
        socket_port: the same for the message socket, where the platform has one.
        resend_s: after so long a socket's message comes again that was not acknowledged.
        announce: whether every change of an order is told on the socket by itself.
    """

    def __init__(
        self,
        channel: str,
        shop: SimShop = SHOP,
        *,
        now_ms: Callable[[], int] | None = None,
        port: int = 0,
        socket_port: int = 0,
        resend_s: float = 1.0,
        announce: bool = False,
    ) -> None:
        if channel not in PLATFORMS:
            raise ValueError(f"no platform {channel!r} to simulate: {', '.join(PLATFORMS)}")
        self.channel = channel
        self.shop = shop
        self.platform = PLATFORMS[channel](shop, now_ms or _machine_ms)
        self.socket = _SOCKETS[channel](self.platform, resend_s) if channel in _SOCKETS else None
        self.base_url = ""
        """Of the interface."""
        self.token_url = ""
        """Where tokens are made and refreshed."""
        self.socket_url = ""
        """Of the message socket; "" = the platform has none."""
        self._ports = (port, socket_port)
        self._open = contextlib.AsyncExitStack()
        if announce and self.socket is not None:
            self.store.watchers.append(self._announce)

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            self.base_url = self.token_url = await stack.enter_async_context(served(self.platform, self._ports[0]))
            if isinstance(self.platform, Shopify):
                self.platform.base_url = self.base_url
            if self.socket is not None:
                self.socket_url = await stack.enter_async_context(self.socket.served(self._ports[1]))
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.__aexit__(kind, error, trace)

    @property
    def store(self) -> Store:
        """The orders."""
        return self.platform.store

    @property
    def requests(self) -> list[Seen]:
        """Every request so far."""
        return self.platform.requests

    @property
    def shipments(self) -> list[Shipment]:
        """Every ship notice that was accepted."""
        return self.store.shipments

    def letting_in(self) -> dict[str, Any]:
        """Return what a client must be told, in the words of a connection: `connection`, `secrets`, `token`."""
        shop, token = self.shop, self.platform.tokens.current
        options, secrets = _words(self.channel, shop, self.platform)
        return {
            "connection": {
                "name": f"{shop.name}-{self.channel}",
                "channel": self.channel,
                "shop": shop.name,
                "base_url": self.base_url,
                "token_url": self.token_url,
                "socket_url": self.socket_url,
                "options": options,
            },
            "secrets": secrets,
            "token": {
                "access": token.access,
                "expires_ms": token.expires_ms,
                "refresh": token.refresh,
                "refresh_expires_ms": token.refresh_expires_ms,
            },
        }

    def add(self, *orders: SimOrder) -> None:
        """Take in orders as they are."""
        for order in orders:
            self.store.add(order)

    def change(self, order_no: str, **fields: Any) -> SimOrder:
        """Change an order; its modified time moves on to now unless it is given."""
        return self.store.change(order_no, **fields)

    def expire_tokens(self, *, refresh: bool = False) -> None:
        """End the access tokens that were given out, with `refresh` the refresh tokens too."""
        self.platform.tokens.expire(refresh=refresh)

    def fail_next(self, count: int, how: How, operation: str = "") -> None:
        """Let the next requests fail (`adapters.simulators.faults`), with `operation` only those of that name."""
        self.platform.faults.plan(count, how, operation)

    def limit(self, per_s: float) -> None:
        """Answer at most so many requests a second; 0 = any number."""
        self.platform.faults.limit(per_s)

    def when(self, operation: str, count: int, act: Callable[[], object]) -> None:
        """Do something once, right after the `count`-th answer to an operation of that name."""
        self.platform.when(operation, count, act)

    def push(self, order_no: str, kind: Kind | None = None) -> Push:
        """Return the platform's message about an order as it is now."""
        order = self.store.get(order_no)
        if order is None:
            raise KeyError(order_no)
        return self.platform.push(order, kind or kind_of(order, None))

    async def deliver(
        self,
        url: str,
        pushes: Iterable[Push],
        *,
        copies: int = 1,
        disorder: random.Random | None = None,
        tries: int = 3,
        gap_s: float = 0.05,
    ) -> list[Delivery]:
        """Post messages to a receiver (`adapters.simulators.pushing.deliver`)."""
        return await deliver(self.platform, url, pushes, copies=copies, disorder=disorder, tries=tries, gap_s=gap_s)

    def announce(self, order_no: str, kind: Kind | None = None) -> int:
        """Let a message about an order go over the socket; return its id."""
        order = self.store.get(order_no)
        if order is None:
            raise KeyError(order_no)
        if self.socket is None:
            raise ValueError(f"{self.channel} has no message socket")
        return self.socket.announce(order, kind or kind_of(order, None))

    def _announce(self, order: SimOrder, kind: Kind) -> None:
        assert self.socket is not None
        self.socket.announce(order, kind)


def _words(channel: str, shop: SimShop, platform: SimPlatform) -> tuple[dict[str, str], dict[str, str]]:
    """Return a connection's options and secrets: each platform has its own names for them."""
    match channel:
        case "pinduoduo":
            return {"client_id": shop.app_key}, {"client_secret": shop.app_secret}
        case "wechat_shop":
            return {"app_id": shop.app_key}, {
                "app_secret": shop.app_secret,
                "token": shop.push_token,
                "encoding_aes_key": shop.aes_key,
            }
        case "shopify":
            assert isinstance(platform, Shopify)
            return {"shop_domain": platform.domain, "app_key": shop.app_key}, {"app_secret": shop.app_secret}
        case "miniprogram":
            return {"app_id": shop.app_key, "mchid": shop.mchid, "consignor_contact": "189****1234"}, {
                "app_secret": shop.app_secret,
                "push_secret": shop.app_secret,
                "api_v3_key": shop.api_v3_key,
            }
        case "generic":
            return {}, {"push_secret": shop.app_secret}
    return {"app_key": shop.app_key}, {"app_secret": shop.app_secret}


def _machine_ms() -> int:
    return time.time_ns() // 1_000_000


def shop_named(name: str, **fields: Any) -> SimShop:
    """Return a shop like the usual one under another name."""
    return msgspec.structs.replace(SHOP, name=name, **fields)
