"""Serves a simulated platform over HTTP on loopback, in the running event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from adapters.simulators.exchange import Reply, Request
from adapters.simulators.platform import Cut, SimPlatform

_BODY_MAX: Final = 8 << 20
_CUT: Final = "orderspine.cut"

Scope = dict[str, Any]
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]


class _Cuttable(HttpToolsProtocol):
    """Lets an application cut the connection: how a platform looks that went away."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[_CUT] = self.transport.abort  # type: ignore[typeddict-unknown-key]


class _Server(uvicorn.Server):
    """A server inside somebody else's program: signals are not its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def served(platform: SimPlatform, port: int = 0) -> AsyncIterator[str]:
    """Serve a platform on a port of loopback (0 = a free one) and return its address."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    config = uvicorn.Config(
        _application(platform),
        http=_Cuttable,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        platform.closing.set()
        server.should_exit = True
        await task
        bound.close()


def _application(platform: SimPlatform) -> Callable[[Scope, Receive, Send], Any]:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        request = Request(
            scope["method"],
            unquote(scope["path"]),
            dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True)),
            {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]},
            await _body(receive),
        )
        try:
            answer = await platform.answer(request)
        except Cut:
            scope[_CUT]()
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await _send(send, answer)

    return application


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body") or len(body) > _BODY_MAX:
            return bytes(body)


async def _send(send: Send, answer: Reply) -> None:
    headers = {**answer.headers, "content-length": str(len(answer.body))}
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    await send({"type": "http.response.body", "body": answer.body})
