"""What the tests of the platforms' clients share: keys in memory, pushes made by hand, a small server on loopback."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

from adapters.platforms import connect
from adapters.platforms.connection import Connection, Keys, MissingSecret, Token
from domain.platforms import Puller, PullRules, PushRequest, Seller, ShipNotice, ShippedLine, Window

NOW_S = 1_794_326_730
NOW_MS = NOW_S * 1_000


class MemoryKeys:
    """The port `Keys`; `kept` is every token that was kept, in order."""

    def __init__(self, token: Token | None = None, /, **secrets: str) -> None:
        self._secrets = secrets
        self._token = token
        self.kept: list[Token] = []

    def secret(self, name: str) -> str:
        if name not in self._secrets:
            raise MissingSecret(f"no secret {name}")
        return self._secrets[name]

    def token(self) -> Token | None:
        return self._token

    def keep(self, token: Token) -> None:
        self._token = token
        self.kept.append(token)


def pushed(
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    query: Mapping[str, str] | None = None,
    method: str = "POST",
    now_ms: int = NOW_MS,
) -> PushRequest:
    lowered = {name.lower(): value for name, value in (headers or {}).items()}
    return PushRequest(method, query or {}, lowered, body, now_ms)


class Asked(NamedTuple):
    """A request that the server got."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Reply(NamedTuple):
    """What the server is to answer."""

    body: Any = b""
    """Bytes as they are, anything else as JSON."""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    cut: bool = False
    """Take the request, then cut the line without a word."""


class Served:
    """An HTTP server that answers by a function and remembers what it was asked."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self._answer = answer
        self.asked: list[Asked] = []
        self.url = ""
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._open.values():
            writer.close()
        await asyncio.gather(*self._open)
        await self._server.wait_closed()

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._exchange(reader, writer):
                    pass
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        finally:
            del self._open[task]

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; tell whether another may follow."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        parts = urlsplit(target)
        asked = Asked(method, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)
        self.asked.append(asked)
        reply = self._answer(asked)
        if reply.cut:
            return False
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        lines = [f"HTTP/1.1 {reply.status} Said", f"content-length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        await writer.drain()
        return True


@contextlib.asynccontextmanager
async def connected(
    answer: Callable[[Asked], Reply],
    connection: Callable[[str], Connection],
    keys: Keys,
    now_ms: Callable[[], int] = lambda: NOW_MS,
) -> AsyncIterator[tuple[Puller, Seller, Served]]:
    """Connect to a platform on loopback that pulls are asked of and parcels are told to."""
    async with Served(answer) as served:
        platform = connect(connection(served.url), keys, now_ms)
        assert platform.close is not None
        try:
            yield platform.puller or _Nothing(), platform.seller or _Nothing(), served
        finally:
            await platform.close()


class _Nothing:
    """What a platform does not have."""

    rules = PullRules(0, 0, 0, 0)

    async def changed(self, window: Window) -> AsyncIterator[list[bytes]]:
        raise AssertionError(f"it has no puller: {window}")
        yield []

    async def order(self, order_no: str) -> bytes | None:
        raise AssertionError(f"it has no puller: {order_no}")

    async def check(self) -> str:
        raise AssertionError("it has no puller")

    async def ship(self, notice: ShipNotice) -> str:
        raise AssertionError(f"it has no seller: {notice}")

    async def knows(self, notice: ShipNotice) -> bool:
        raise AssertionError(f"it has no seller: {notice}")


async def gathered(pages: AsyncIterator[list[bytes]]) -> list[bytes]:
    """Return all documents of all pages."""
    return [document async for page in pages for document in page]


def notice(**changed: Any) -> ShipNotice:
    """Return a notice of a parcel with two lines of three."""
    lines = (
        ShippedLine("6937476692437472003", 2, "1001/2001", "DRL-18V-01", "充电电钻 18V"),
        ShippedLine("6937476692437472004", 1),
    )
    usual: dict[str, Any] = {
        "key": "order-douyin:shop1:6937476692437472002@7",
        "order_no": "6937476692437472002",
        "carrier": "SF",
        "tracking": "SF1400000000006",
        "shipped_ms": NOW_MS,
        "lines": lines,
        "whole": False,
    }
    return ShipNotice(**{**usual, **changed})


def unanswered(times: int, then: Callable[[Asked], Reply]) -> Callable[[Asked], Reply]:
    """Cut the line after so many requests have been taken, then answer."""
    left = times

    def answer(asked: Asked) -> Reply:
        nonlocal left
        if left:
            left -= 1
            return Reply(cut=True)
        return then(asked)

    return answer
