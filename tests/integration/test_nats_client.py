"""The few private names of nats-py the client builds on: a new release that changes them fails here first."""

import importlib.metadata
import inspect

import pytest
from nats.aio.client import Client

from adapters.nats.client import Connection
from adapters.nats.errors import BrokerUnavailable
from adapters.nats.hint import Hints, publish_hint
from adapters.nats.server import EmbeddedServer


def test_the_library_has_the_shape_the_client_builds_on() -> None:
    assert importlib.metadata.version("nats-py").startswith("2."), "read client.py against the new library"
    assert list(inspect.signature(Client._process_msg).parameters) == [
        "self",
        "sid",
        "subject",
        "reply",
        "data",
        "headers",
    ]
    assert inspect.iscoroutinefunction(Client._process_msg)


async def test_a_sink_gets_raw_messages_and_others_are_left_to_the_library(nc: Connection) -> None:
    got: list[tuple[bytes, bytes, bytes, bytes | None]] = []
    usual = await nc.subscribe("usual")
    listening = await nc.listen("raw.>", lambda *message: got.append(message))
    await nc.flush()
    nc.send_now(b"PUB raw.a reply.b 2\r\nhi\r\nPUB usual 1\r\n1\r\n")
    await nc.publish("raw.c", b"", headers={"k": "v"})
    assert (await usual.next_msg(5)).data == b"1"
    await nc.flush()
    assert got == [(b"raw.a", b"reply.b", b"hi", None), (b"raw.c", b"", b"", b"NATS/1.0\r\nk: v\r\n\r\n")]
    await nc.unlisten(listening)
    await nc.publish("raw.d", b"late")
    await nc.flush()
    assert len(got) == 2


async def test_nothing_is_kept_to_be_sent_after_a_reconnect(nc: Connection, nats_server: EmbeddedServer) -> None:
    got: list[bytes] = []
    broken: list[int] = []
    await nc.listen("raw", lambda _s, _r, payload, _h: got.append(payload))
    nc.on_break(lambda: broken.append(nc.breaks))
    await nats_server.stop()
    with pytest.raises(BrokerUnavailable):
        await nc.until_connected(0.3)
    with pytest.raises(BrokerUnavailable):
        nc.send_now(b"PUB raw 3\r\nold\r\n")
    publish_hint(nc, "c1", 1)
    await nats_server.start()
    await nc.until_connected(10)
    nc.send_now(b"PUB raw 3\r\nnew\r\n")
    await nc.flush()
    assert got == [b"new"]
    assert broken == [1]


async def test_a_closed_connection_says_so_at_once(nc: Connection) -> None:
    await nc.close()
    with pytest.raises(BrokerUnavailable, match="closed"):
        await nc.until_connected(30)


async def test_hints_that_come_together_count_as_one(nc: Connection) -> None:
    async with Hints(nc, "c1") as hints:
        assert await hints.wait(0.05) is None
        for position in (3, 7, 5):
            publish_hint(nc, "c1", position)
        publish_hint(nc, "c2", 99)
        await nc.flush()
        assert await hints.wait(5) == 7
        assert await hints.wait(0.05) is None
