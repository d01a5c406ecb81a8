"""A merchant with a shop on every simulated platform: connected, pulled, pushed, told of parcels, by the real thing."""

import asyncio
import random
import re
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from adapters.simulators import PLATFORMS, SimOrder, Simulated, an_order
from adapters.simulators.making import LINES, MINUTE_MS
from tests.integration.running import Running, Said, orderspine, until

T = TypeVar("T")

PULLED = ("taobao", "jd", "douyin", "pinduoduo", "wechat_shop", "shopify", "generic")
AUTHORISED = ("taobao", "jd", "douyin", "pinduoduo", "shopify")
PUSHED = ("douyin", "wechat_shop", "shopify", "miniprogram", "generic")
HEARD = ("taobao", "pinduoduo")
SHOP = "toolshop"


class Merchant:
    """A running order centre, and the platforms where the merchant sells, in a loop of their own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.sims: dict[str, Simulated] = {}
        self.running = Running(data)
        self.made = 0

    def on(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the platforms' loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def say(self, *words: object) -> Said:
        said = orderspine(*words, "--data", self.data)
        assert said.code == 0, said.err + said.out
        return said

    def sell(self, channel: str) -> SimOrder:
        """Let a customer have ordered and paid some minutes ago."""
        self.made += 1
        now_ms = time.time_ns() // 1_000_000
        order = an_order(channel, self.made, now_ms - 40 * MINUTE_MS + self.made * 10_000, lines=LINES[:1])

        async def add() -> None:
            self.sims[channel].add(order)

        self.on(add())
        return order

    def states(self) -> dict[str, str]:
        """Return the state of every order that the order centre shows."""
        shown = self.say("orders", "--limit", "200", "--json").json
        return {f"{one['channel']}:{one['shop']}:{one['order_no']}": str(one["state"]) for one in shown}


@pytest.fixture
def merchant(tmp_path: Path) -> Iterator[Merchant]:
    found = Merchant(tmp_path / "cell")
    found.thread.start()

    async def serve(channel: str) -> Simulated:
        return await Simulated(channel, announce=False).__aenter__()

    try:
        with found.running:
            found.sims = {channel: found.on(serve(channel)) for channel in PLATFORMS}
            yield found
    finally:
        for sim in found.sims.values():
            found.on(sim.__aexit__(None, None, None))
        found.loop.call_soon_threadsafe(found.loop.stop)
        found.thread.join()
        found.loop.close()


def connect(merchant: Merchant, channel: str) -> None:
    told = merchant.sims[channel].letting_in()
    connection = told["connection"]
    words: list[object] = ["channels", "add", channel, "--channel", channel, "--shop", SHOP]
    words += ["--base-url", connection["base_url"], "--token-url", connection["token_url"]]
    if connection["socket_url"]:
        words += ["--socket-url", connection["socket_url"]]
    for name, value in connection["options"].items():
        words += ["--option", f"{name}={value}"]
    for name, value in told["secrets"].items():
        file = merchant.data.with_name(f"{channel}.{name}")
        file.write_text(value)
        file.chmod(0o600)
        words += ["--secret", f"{name}=file:{file}"]
    merchant.say(*words, "--pull-every", 0)
    if channel in AUTHORISED:
        merchant.say("channels", "authorise", channel, "--code", merchant.sims[channel].platform.tokens.code())


def key(channel: str, order: SimOrder) -> str:
    return f"{channel}:{SHOP}:{order.order_no}"


def test_orders_come_from_every_platform_and_parcels_are_told_to_every_one(merchant: Merchant) -> None:
    merchant.say("stock", "receive", f"{LINES[0].sku}=1000", "--document", "D-1")
    sold = {channel: [merchant.sell(channel) for _ in range(3)] for channel in PULLED}
    for channel in PLATFORMS:
        connect(merchant, channel)
    merchant.say("channels", "check")
    for channel in PULLED:
        merchant.say("channels", "pull", channel, "--since", "1h")
    expected = {key(channel, order) for channel, orders in sold.items() for order in orders}
    until(lambda: merchant.states().keys() == expected, 30)
    until(lambda: set(merchant.states().values()) == {"allocating"}, 30)  # there is stock for all of them

    # New ones, told by pushes and sockets alone: doubled, in disorder, posted again until they are taken.
    until(lambda: "http://127.0.0.1:" in merchant.running.said, 30)  # it comes after the worker
    gateway = re.search(r"http://127\.0\.0\.1:\d+", merchant.running.said)
    assert gateway is not None
    for channel in PUSHED:
        orders = [merchant.sell(channel) for _ in range(3)]
        sold.setdefault(channel, []).extend(orders)
        sim = merchant.sims[channel]
        pushes = [sim.push(order.order_no) for order in orders]
        url = f"{gateway[0]}/webhooks/{channel}"
        told = merchant.on(sim.deliver(url, pushes, copies=2, disorder=random.Random(3)))
        assert all(one.accepted for one in told), [(one.status, one.body) for one in told]
    for channel in HEARD:
        orders = [merchant.sell(channel) for _ in range(3)]
        sold[channel].extend(orders)
        for order in orders:
            merchant.sims[channel].announce(order.order_no)
    expected = {key(channel, order) for channel, orders in sold.items() for order in orders}
    until(lambda: merchant.states().keys() == expected, 60)
    sockets = [merchant.sims[channel].socket for channel in HEARD]
    until(lambda: all(socket is not None and not socket.waiting for socket in sockets), 30)

    # A parcel of each: the platform hears of it once.
    for channel, orders in sold.items():
        name = key(channel, orders[0])
        merchant.say("scan-out", name)
        carrier = "UPS" if channel == "shopify" else "SF"
        merchant.say("ship", name, "--tracking", f"SF0000000000{len(channel):03d}", "--carrier", carrier)
    until(lambda: all(len(sim.shipments) == 1 for sim in merchant.sims.values()), 60)
    for channel, orders in sold.items():
        shipment = merchant.sims[channel].shipments[0]
        assert (shipment.order_no, shipment.tracking) == (orders[0].order_no, f"SF0000000000{len(channel):03d}")
    assert merchant.states()[key("taobao", sold["taobao"][0])] == "shipped"

    # Whatever was asked was asked well, and the log is whole.
    for channel, sim in merchant.sims.items():
        assert [one for one in sim.requests if one.outcome != "ok"] == [], channel
    merchant.say("audit", "verify")
