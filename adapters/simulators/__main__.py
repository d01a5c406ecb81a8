"""Serves one simulated platform until it is stopped: `python -m adapters.simulators --channel taobao --port 8101`.

It prints one line of JSON that says where it is and how to be let in; all keys and people are invented. With
`--every-s` orders come in and move on meanwhile; with `--webhook` each change is posted there. `--channel wms` serves a
warehouse, which confirms to `--webhook`, `--every-s` after a delivery order came.
"""

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import time

from adapters.simulators.exchange import encode
from adapters.simulators.living import Trade
from adapters.simulators.simulated import PLATFORMS, Simulated, posts
from adapters.simulators.wms import APP_KEY, CUSTOMER, OWNER, SECRET, SimWms, serving

WMS = "wms"


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m adapters.simulators", description=__doc__)
    parser.add_argument("--channel", required=True, choices=[*sorted(PLATFORMS), WMS])
    parser.add_argument("--port", type=int, default=0, help="of the interface; 0 = a free one")
    parser.add_argument("--socket-port", type=int, default=0, help="of the message socket; 0 = a free one")
    parser.add_argument("--orders", type=int, default=20, help="orders of the last hours to begin with")
    parser.add_argument("--every-s", type=float, default=0.0, help="something happens this often; 0 = nothing does")
    parser.add_argument("--webhook", default="", help="where changes are posted, for platforms that post")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.channel == WMS:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve_wms(given.port, given.webhook, given.every_s))
        return
    if given.webhook and not posts(given.channel):
        posting = ", ".join(filter(posts, sorted(PLATFORMS)))
        parser.error(f"--webhook: {given.channel} posts no messages (these do: {posting}); leave it out")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            _serve(given.channel, given.port, given.socket_port, given.orders, given.every_s, given.webhook, given.seed)
        )


async def _serve_wms(port: int, webhook: str, pick_after_s: float) -> None:
    stopped = asyncio.Event()
    for asked in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(asked, stopped.set)
    wms = SimWms(lambda: time.time_ns() // 1_000_000, callback=webhook, pick_after_s=pick_after_s)
    async with serving(wms, port) as url:
        known = {"url": url, "app_key": APP_KEY, "customer_id": CUSTOMER, "owner_code": OWNER, "secret": SECRET}
        sys.stdout.write(encode(known).decode() + "\n")
        sys.stdout.flush()
        await stopped.wait()


async def _serve(
    channel: str, port: int, socket_port: int, orders: int, every_s: float, webhook: str, seed: int
) -> None:
    stopped = asyncio.Event()
    for asked in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(asked, stopped.set)
    # Two platforms may run beside each other; chance decides only what is bought.
    trade = Trade(channel, random.Random(seed))  # noqa: S311
    async with Simulated(channel, port=port, socket_port=socket_port, announce=True) as sim:
        now_ms = time.time_ns() // 1_000_000
        for _ in range(orders):
            trade.past(sim, now_ms)
        described = sim.letting_in() | {"code": sim.platform.tokens.code()}
        sys.stdout.write(encode(described).decode() + "\n")
        sys.stdout.flush()
        while not stopped.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), every_s or None)
            if every_s and not stopped.is_set():
                number = trade.step(sim, time.time_ns() // 1_000_000)
                if webhook:
                    await sim.deliver(webhook, [sim.push(number)])


if __name__ == "__main__":
    main()
