"""The few private names of nats-py the client builds on: a new release that changes them fails here first."""

import asyncio
import importlib.metadata
import inspect

import pytest
from nats.aio.client import Client

from adapters.nats.client import Connection
from adapters.nats.errors import BrokerUnavailable
from adapters.nats.hint import BEHIND_S, Hints, publish_hint
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


async def test_a_hint_tells_whether_the_cell_is_behind_its_mail(nc: Connection) -> None:
    async with Hints(nc, "c1") as hints:
        assert not hints.behind
        for position, behind in ((3, True), (4, False), (5, True)):
            publish_hint(nc, "c1", position, behind=behind)
            assert await hints.wait(5) == position
            assert hints.behind is behind
        # Whoever said so may have died since.
        await asyncio.sleep(BEHIND_S + 0.1)
        assert not hints.behind


class Recording(Connection):
    """A connection that was never made: keeps what the library's own path would have handled."""

    def __init__(self) -> None:
        super().__init__()
        self.usual: list[tuple[int, bytes, bytes, bytes, bytes | None]] = []
        self.direct: list[tuple[bytes, bytes, bytes, bytes | None]] = []
        self.pings = 0
        self._sinks[7] = lambda *message: self.direct.append(message)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        if sid in self._sinks:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            self.usual.append((sid, subject, reply, data, headers))

    async def _process_ping(self) -> None:
        self.pings += 1


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 50, 1000, 32768, 10**7])
async def test_messages_are_cut_out_whole_however_the_bytes_arrive(piece: int) -> None:
    head = b"NATS/1.0\r\nk: v\r\n\r\n"
    big = b"MSG 7 7 1 5\r\n" * (20_000 if piece > 50 else 20)  # a payload that looks like the protocol
    wire = b"".join(
        (
            b"MSG a.b 7 5\r\nhello\r\n",
            b"MSG a.b 7 re.ply 2\r\n\r\n\r\n",
            b"PING\r\n",
            b"HMSG a.c 7 %d %d\r\n%b\r\n" % (len(head), len(head), head),
            b"HMSG a.c 7 re.ply %d %d\r\n%bbody\r\n" % (len(head), len(head) + 4, head),
            b"MSG other 8 3\r\nabc\r\n",
            b"MSG big 7 %d\r\n%b\r\n" % (len(big), big),
            b"HMSG other 9 r %d %d\r\n%bx\r\n" % (len(head), len(head) + 1, head),
            b"MSG a.b 7 0\r\n\r\n",
        )
    )
    nc = Recording()
    for start in range(0, len(wire), piece):
        await nc._ps.parse(wire[start : start + piece])
    assert nc.direct == [
        (b"a.b", b"", b"hello", None),
        (b"a.b", b"re.ply", b"\r\n", None),
        (b"a.c", b"", b"", head),
        (b"a.c", b"re.ply", b"body", head),
        (b"big", b"", big, None),
        (b"a.b", b"", b"", None),
    ]
    assert nc.usual == [(8, b"other", b"", b"abc", None), (9, b"other", b"r", b"x", head)]
    assert nc.pings == 1
    assert not nc._ps.buf
