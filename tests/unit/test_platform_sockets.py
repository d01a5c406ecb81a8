"""Message sockets of Taobao and Pinduoduo: let in by signature, confirmed only after what came is durable."""

import asyncio
import hashlib
import json
import logging
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from http import HTTPStatus
from typing import cast
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from adapters.channels.taobao import Taobao
from adapters.platforms import connect, pinduoduo_socket, sockets, taobao_socket
from adapters.platforms.connection import Connection
from adapters.platforms.taobao_frames import CONNECT, CONNECTED, SEND, BadFrame, TmcFrame, Value, read, write
from domain.platforms import Frame, Listener, NotAuthorised, PlatformBusy
from domain.ports import Aside
from tests.platform_world import NOW_MS, MemoryKeys

SECRET = "app-s3cr3t"
TID = 2960318827740212345
MESSAGE = 4160600490938325004
Speak = Callable[[ServerConnection], Awaitable[None]]


def md5(text: str) -> str:
    return hashlib.new("md5", text.encode(), usedforsecurity=False).hexdigest()


@asynccontextmanager
async def served(
    speak: Speak, gate: Callable[[ServerConnection, Request], Response | None] | None = None
) -> AsyncIterator[str]:
    async with serve(speak, "127.0.0.1", 0, process_request=gate) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


def listener(channel: str, url: str, **options: str) -> Listener:
    options = {"app_key": "12345678", "client_id": "app", **options}
    connection = Connection("flagship", channel, "shop1", socket_url=url, options=options)
    platform = connect(connection, MemoryKeys(app_secret=SECRET, client_secret=SECRET), lambda: NOW_MS)
    assert platform.listener is not None
    # Nothing was called through the client's pool, so there is nothing to close but the pool itself.
    return platform.listener


def listening(listener: Listener) -> AbstractAsyncContextManager[AsyncIterator[Frame]]:
    """Close the connection at the end."""
    return aclosing(cast("AsyncGenerator[Frame, None]", listener.frames()))


async def heard(channel: str, url: str, count: int, *, confirm: bool = True, **options: str) -> list[Frame]:
    """Listen for so many frames, acknowledge them, and go."""
    found: list[Frame] = []
    async with listening(listener(channel, url, **options)) as frames:
        async for frame in frames:
            found.append(frame)
            if confirm:
                await frame.acknowledge()
            if len(found) == count:
                break
    return found


# Frames of Taobao's socket.


def test_a_frame_is_the_known_one() -> None:
    """As a public client's own test has it."""
    token = "32e88d28-20b1-40dd-8e2d-abec197277fe"
    known = b"\x02\x01\x04\x00\x01\x00\x00\x00\x05\x00$\x00\x00\x00" + token.encode() + b"\x00\x00"
    frame = TmcFrame(CONNECTED, token=token, flag=1)
    assert write(frame) == known
    assert read(known) == frame


VALUES = st.none() | st.integers(0, 2**64 - 1) | st.text() | st.binary()


@given(st.dictionaries(st.text(), VALUES), st.text(), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read(values: dict[str, Value], token: str, status: int) -> None:
    frame = TmcFrame(SEND, values, token, 1, status, "a phrase")
    assert read(write(frame)) == frame


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_none(raw: bytes) -> None:
    for start in (b"", b"\x02\x02", b"\x02\x02\x01\x00"):
        try:
            read(start + raw)
        except BadFrame:
            continue


def test_a_frame_that_ends_early_is_none() -> None:
    whole = write(TmcFrame(SEND, {"topic": "t", "id": MESSAGE}, "token"))
    for cut in range(len(whole)):
        with pytest.raises(BadFrame):
            read(whole[:cut])


class Tmc:
    """Taobao's side of the socket."""

    def __init__(self, *messages: TmcFrame | bytes) -> None:
        self.messages = messages
        self.got: list[TmcFrame] = []
        self.confirmed = asyncio.Event()
        self.refusal: TmcFrame | None = None

    async def speak(self, connection: ServerConnection) -> None:
        hello = read(_bytes(await connection.recv()))
        assert (hello.kind, hello.flag) == (CONNECT, 1)
        base = "".join(f"{name}{hello.values[name]!s}" for name in ("app_key", "group_name", "timestamp"))
        assert hello.values["sign"] == md5(f"{SECRET}{base}{SECRET}").upper()
        if self.refusal is not None:
            await connection.send(write(self.refusal))
            return
        await connection.send(write(TmcFrame(CONNECTED, token="t0ken", flag=1)))
        for message in self.messages:
            await connection.send(message if isinstance(message, bytes) else write(message))
        async for raw in connection:
            frame = read(_bytes(raw))
            assert frame.token == "t0ken"
            self.got.append(frame)
            if frame.values["__kind"] == taobao_socket.CONFIRM:
                self.confirmed.set()

    @property
    def ids(self) -> list[Value]:
        return [frame.values["id"] for frame in self.got if frame.values["__kind"] == taobao_socket.CONFIRM]


def _bytes(raw: bytes | str) -> bytes:
    assert isinstance(raw, bytes)
    return raw


def tmc(number: int = MESSAGE, nick: str = "五金旗舰店", topic: str = "taobao_trade_TradeBuyerPay") -> TmcFrame:
    content = json.dumps({"tid": TID, "oid": TID, "seller_nick": nick, "payment": "766.90"})
    values: dict[str, Value] = {
        "__kind": 1,
        "id": number,
        "topic": topic,
        "content": content,
        "time": 1_794_326_763_000,
        "userid": 2074082786,
        "nick": nick,
        "publisher": "12497914",
    }
    return TmcFrame(SEND, values)


async def test_a_pushed_message_is_a_hint_with_the_exact_number() -> None:
    side = Tmc(tmc())
    async with served(side.speak) as url:
        (frame,) = await heard("taobao", url, 1)
        await side.confirmed.wait()
    (document,) = frame.documents
    assert json.loads(document)["id"] == MESSAGE
    assert json.loads(document)["pub_time"] == "2026-11-11 00:06:03"
    (part,) = Taobao().identify(document, "shop1")
    assert isinstance(part, Aside)
    assert (part.kind, part.order_no) == ("hint", str(TID))
    assert side.ids == [MESSAGE]


async def test_a_message_is_confirmed_only_when_it_was_acknowledged() -> None:
    side = Tmc(tmc(MESSAGE), tmc(MESSAGE + 2))
    async with served(side.speak) as url:
        async with listening(listener("taobao", url)) as frames:
            first, second = await anext(frames), await anext(frames)
            await asyncio.sleep(0.05)
            assert side.ids == [], "both came, none is durable yet"
            await second.acknowledge()
            await side.confirmed.wait()
            assert side.ids == [MESSAGE + 2]
        with pytest.raises(PlatformBusy, match="is closed"):
            await first.acknowledge()


async def test_waiting_messages_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taobao_socket, "ASK_S", 0.01)
    side = Tmc(tmc())
    async with served(side.speak) as url, listening(listener("taobao", url)) as frames:
        await anext(frames)
        await asyncio.sleep(0.05)
    assert [frame.values["__kind"] for frame in side.got].count(taobao_socket.ASK) >= 3


async def test_messages_of_other_sellers_are_left_for_others() -> None:
    side = Tmc(tmc(1, "another"), tmc(MESSAGE))
    async with served(side.speak) as url:
        (frame,) = await heard("taobao", url, 1, seller_nick="五金旗舰店")
        await side.confirmed.wait()
    assert json.loads(frame.documents[0])["id"] == MESSAGE
    assert side.ids == [MESSAGE]


async def test_a_frame_nobody_can_read_keeps_no_other_waiting() -> None:
    side = Tmc(b"\x02\x02\xff\xff", write(TmcFrame(SEND, {"__kind": 3}, "")), tmc())
    async with served(side.speak) as url:
        assert len(await heard("taobao", url, 1)) == 1


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (TmcFrame(CONNECTED, status=403, phrase="sign is wrong"), NotAuthorised),
        (TmcFrame(CONNECTED, status=500, phrase="try later"), PlatformBusy),
        (TmcFrame(SEND), PlatformBusy),
    ],
)
async def test_not_being_let_in_says_why(refusal: TmcFrame, kind: type[Exception]) -> None:
    side = Tmc()
    side.refusal = refusal
    async with served(side.speak) as url:
        with pytest.raises(kind, match="does not let us in"):
            await heard("taobao", url, 1)


async def test_a_socket_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taobao_socket, "_CONNECTED_S", 0.05)

    async def silent(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with served(silent) as url:
        with pytest.raises(PlatformBusy, match="said nothing"):
            await heard("taobao", url, 1)


# Pinduoduo.


def pdd(number: int = 9007199254740993, mall: int = 171504183) -> str:
    content = json.dumps({"mall_id": mall, "tid": "261111-481803633911509"})
    message = {"type": "pdd_trade_TradeConfirmed", "mallID": mall, "content": content}
    return json.dumps({"id": number, "commandType": "Common", "sendTime": 1794326652123, "message": message})


class Pdd:
    """Pinduoduo's side of the socket."""

    def __init__(self, *frames: str) -> None:
        self.frames = frames
        self.got: list[str] = []
        self.came = asyncio.Event()
        self.path = ""

    def gate(self, connection: ServerConnection, request: Request) -> Response | None:
        self.path = request.path
        digest = f"app{NOW_MS}{SECRET}"
        right = f"/message/app/{NOW_MS}/"
        if not request.path.startswith(right) or md5(digest) not in _opened(request.path.removeprefix(right)):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "")
        return None

    async def speak(self, connection: ServerConnection) -> None:
        for frame in self.frames:
            await connection.send(frame)
        async for raw in connection:
            assert isinstance(raw, str)
            self.got.append(raw)
            self.came.set()


def _opened(digest: str) -> str:
    return b64decode(unquote(digest)).decode()


async def test_a_message_of_pinduoduo_is_acknowledged_digit_for_digit() -> None:
    side = Pdd(pdd())
    async with served(side.speak, side.gate) as url, listening(listener("pinduoduo", url)) as frames:
        frame = await anext(frames)
        await asyncio.sleep(0.05)
        assert side.got == [], "not before it is durable"
        await frame.acknowledge()
        await side.came.wait()
    assert frame.documents == (pdd().encode(),)
    assert json.loads(side.got[0]) == {
        "commandType": "Ack",
        "id": 9007199254740993,
        "sendTime": 1794326652123,
        "type": "pdd_trade_TradeConfirmed",
        "mallID": 171504183,
    }
    assert "9007199254740993" in side.got[0]


async def test_a_heartbeat_brings_no_document() -> None:
    side = Pdd('{"commandType":"HeartBeat","time":1794326660000}', pdd())
    async with served(side.speak, side.gate) as url:
        beat, message = await heard("pinduoduo", url, 2)
    assert beat.documents == ()
    assert len(message.documents) == 1


async def test_we_send_heartbeats_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinduoduo_socket, "HEARTBEAT_S", 0.01)
    side = Pdd(pdd())
    async with served(side.speak, side.gate) as url, listening(listener("pinduoduo", url)) as frames:
        await anext(frames)
        await side.came.wait()
    assert json.loads(side.got[0]) == {"commandType": "HeartBeat", "time": NOW_MS}


async def test_messages_of_other_malls_and_frames_nobody_can_read_are_left() -> None:
    side = Pdd("no json", "[]", '{"commandType":"New"}', '{"commandType":"Common"}', pdd(1, 7), pdd(3))
    async with served(side.speak, side.gate) as url:
        (frame,) = await heard("pinduoduo", url, 1, mall_id="171504183")
        await side.came.wait()
    assert frame.documents == (pdd(3).encode(),)
    assert len(side.got) == 1


async def test_wrong_keys_need_a_person() -> None:
    side = Pdd()
    async with served(side.speak, side.gate) as url:
        with pytest.raises(NotAuthorised, match="status 401") as caught:
            await heard("pinduoduo", url, 1, client_id="another")
    assert caught.value.__cause__ is None


# Both.


@pytest.mark.parametrize("channel", ["taobao", "pinduoduo"])
async def test_where_nobody_listens_the_platform_is_busy(channel: str) -> None:
    async with served(Pdd().speak) as url:
        pass
    with pytest.raises(PlatformBusy, match="cannot reach"):
        await heard(channel, url, 1)


async def test_frames_end_where_the_platform_ends_them() -> None:
    async def brief(connection: ServerConnection) -> None:
        await connection.send(pdd())

    async with served(brief) as url:
        found = [frame async for frame in listener("pinduoduo", url).frames()]
    assert len(found) == 1


async def test_a_broken_connection_is_an_error_after_what_came() -> None:
    async def brief(connection: ServerConnection) -> None:
        await connection.send(pdd())
        await asyncio.sleep(0.02)
        connection.transport.abort()

    async with served(brief) as url:
        frames = listener("pinduoduo", url).frames()
        assert (await anext(frames)).documents == (pdd().encode(),)
        with pytest.raises(PlatformBusy, match="broke"):
            await anext(frames)


async def test_no_secret_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    side, other = Tmc(tmc()), Pdd(pdd())
    async with served(side.speak) as url:
        await heard("taobao", url, 1)
    ours = [record for record in caplog.records if record.name not in {"websockets.server", "asyncio"}]
    async with served(other.speak, other.gate) as url:
        await heard("pinduoduo", url, 1)
        ours += [record for record in caplog.records if record.name not in {"websockets.server", "asyncio"}]
    told = " ".join(record.getMessage() for record in ours)
    assert other.path not in told
    assert str(TID) not in told
    assert sockets._silent.disabled
