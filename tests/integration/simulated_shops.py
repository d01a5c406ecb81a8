"""What the tests of the platforms' clients against the simulators share: a shop, its client, and what is read of it."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import msgspec

from adapters.platforms import connect
from adapters.platforms.connection import Connection, Token
from adapters.simulators import SHOP, SimOrder, SimShop, Simulated, an_order
from adapters.simulators.documents import document
from domain.canonical import Snapshot
from domain.platforms import Platform, Puller, Seller, ShipNotice, ShippedLine, Window
from domain.ports import Aside, Channel, Sliced
from tests.platform_world import NOW_MS, MemoryKeys

MINUTE = 60_000
WINDOW = Window(NOW_MS - 25 * MINUTE, NOW_MS - 5 * MINUTE)
FEEDS = {
    "taobao": "increment.get",
    "jd": "order.search",
    "douyin": "order.searchList",
    "pinduoduo": "increment.get",
    "wechat_shop": "list/get",
    "shopify": "GET orders",
    "generic": "GET orders",
}
"""Platforms that are pulled, and the name of their change feed."""
NOTICES = {
    "taobao": "logistics.online.send",
    "jd": "outship,shipment",
    "douyin": "logisticsAdd",
    "pinduoduo": "logistics.online.send",
    "wechat_shop": "delivery/send",
    "shopify": "POST fulfillments",
    "miniprogram": "upload_shipping_info",
    "generic": "POST shipments",
}
"""Platforms that want to know of parcels, and the name of the notice."""


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


class Shop(NamedTuple):
    """A simulated shop and a client of it."""

    sim: Simulated
    platform: Platform
    keys: MemoryKeys
    connection: Connection
    channel: Channel
    clock: Clock

    @property
    def puller(self) -> Puller:
        assert self.platform.puller is not None
        return self.platform.puller

    @property
    def seller(self) -> Seller:
        assert self.platform.seller is not None
        return self.platform.seller

    async def pulled(self, window: Window = WINDOW) -> dict[str, Snapshot]:
        """Return what a window shows, by order number."""
        found: dict[str, Snapshot] = {}
        async for page in self.puller.changed(window):
            found.update(self.read(page))
        return found

    def read(self, documents: Iterable[bytes]) -> dict[str, Snapshot]:
        """Read documents with the shop's channel."""
        found = {}
        for each in documents:
            for part in self.channel.identify(each, self.connection.shop):
                assert isinstance(part, Sliced), part
                translated = self.channel.translate(part.raw, part.shop)
                found[part.order_no] = translated.snapshot  # type: ignore[union-attr]
        return found

    def hints(self, documents: Iterable[bytes]) -> list[str]:
        """Return the numbers of the orders that documents only name."""
        parts = [part for one in documents for part in self.channel.identify(one, self.connection.shop)]
        return [part.order_no for part in parts if isinstance(part, Aside) and part.kind == "hint"]

    def fill(self, count: int, **fields: Any) -> list[SimOrder]:
        """Add paid orders, one a half minute inside the window; the first is the oldest."""
        orders = []
        for at in range(count):
            # Paid a minute after it was ordered.
            at_ms = WINDOW.start_ms + (at + 1) * 30_000 - MINUTE
            orders.append(an_order(self.sim.channel, at + 1, at_ms, **fields))
        self.sim.add(*orders)
        return orders


@contextlib.asynccontextmanager
async def shop_on(
    channel: str, *, per_page: int = 100, secret: str = "", options: Mapping[str, str] | None = None, **fields: Any
) -> AsyncIterator[Shop]:
    """Serve a simulated shop and connect to it; `secret` is a wrong one, `fields` are the shop's."""
    clock = Clock()
    shop: SimShop = msgspec.structs.replace(SHOP, per_page_max=per_page, **fields)
    async with Simulated(channel, shop, now_ms=clock, resend_s=0.2) as sim:
        told = sim.letting_in()
        connection = msgspec.convert(told["connection"], Connection)
        usual = {"calls_per_s": "1000"}
        connection = msgspec.structs.replace(connection, options={**connection.options, **usual, **(options or {})})
        secrets = {name: secret or value for name, value in told["secrets"].items()}
        connection = msgspec.structs.replace(connection, secrets=dict.fromkeys(secrets, "env:UNUSED"))
        keys = MemoryKeys(msgspec.convert(told["token"], Token))
        keys._secrets = secrets  # one of WeChat's is called `token`
        platform = connect(connection, keys, clock)
        try:
            module = import_module(f"adapters.channels.{channel}")
            yield Shop(sim, platform, keys, connection, module.channel("Asia/Shanghai"), clock)
        finally:
            if platform.close is not None:
                await platform.close()


def notice_of(shop: Shop, order: SimOrder, places: Iterable[int] | None = None, **changed: Any) -> ShipNotice:
    """Return the notice of a parcel with these lines of an order (None = all), as the spine would make it."""
    snapshot = shop.read([document(shop.sim.channel, order, SHOP)])[order.order_no]
    chosen = range(len(order.lines)) if places is None else list(places)
    lines = tuple(
        ShippedLine(line.id, line.quantity, line.item, line.sku, line.name)
        for line in (snapshot.lines[at] for at in chosen)
    )
    usual: dict[str, Any] = {
        "key": f"order-{shop.sim.channel}:{shop.connection.shop}:{order.order_no}@7",
        "order_no": order.order_no,
        "carrier": "UPS" if shop.sim.channel == "shopify" else "SF",
        "tracking": "SF1400000000077",
        "shipped_ms": shop.clock(),
        "lines": lines,
        "whole": len(chosen) == len(order.lines),
    }
    return ShipNotice(**{**usual, **changed})
