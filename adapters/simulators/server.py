"""Serves a simulated platform over HTTP on loopback, in the running event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from adapters.simulators.exchange import Reply, Request
from adapters.simulators.platform import Cut

_BODY_MAX: Final = 8 << 20
_CUT: Final = "orderspine.cut"


class Answers(Protocol):
    """What can be served: a simulated platform, or a receiver of notes."""

    closing: asyncio.Event

    async def answer(self, request: Request) -> Reply:
        """Answer a request.

        Raises:
            Cut: the connection is to be cut.
        """
        ...


Scope = dict[str, Any]
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]


class _Cuttable(HttpToolsProtocol):
    """Lets an application cut the connection: how a platform looks that went away."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[_CUT] = self.transport.abort  # type: ignore[typeddict-unknown-key]


@contextlib.asynccontextmanager
async def served(platform: Answers, port: int = 0) -> AsyncIterator[str]:
    """Serve one on a port of loopback (0 = a free one) and return its address."""
    config = uvicorn.Config(
        _application(platform), lifespan="off", log_config=None, access_log=False, server_header=False
    )
    config.load()
    state = ServerState()
    # uvicorn's own server looks ten times a second whether it is to end; here it ends at once.
    server = await asyncio.get_running_loop().create_server(
        lambda: _Cuttable(config=config, server_state=state, app_state={}), "127.0.0.1", port
    )
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        platform.closing.set()
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        while state.tasks:
            await asyncio.wait(list(state.tasks))
        await server.wait_closed()


def _application(platform: Answers) -> Callable[[Scope, Receive, Send], Any]:
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
