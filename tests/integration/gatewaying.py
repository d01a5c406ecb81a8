"""A gateway before a running cell: broker, worker and projector are processes, the gateway is served here."""

import asyncio
import contextlib
import hashlib
import hmac
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec

from adapters.platforms.connection import Connection
from adapters.web.tokens import add_token
from domain.platforms import NotGenuine, Platform, PushAnswer, Pushed, PushRequest
from runners.bootstrap import API_TOKENS_FILE
from runners.connections import save
from runners.gateway import serving
from runners.gateway_hooks import ConnectedHooks
from runners.lock import DataLock
from tests.integration.harness import ROOT, Cell, end, running_cell
from tests.integration.mixed_mail import BEGIN_MS, trade

SECRET = "webhook-secret"
SUCCESS = PushAnswer(200, "application/json", b'{"code":0}')


def signed(body: bytes, nonce: str = "", secret: str = SECRET) -> dict[str, str]:
    """Return the headers of a genuine push to the fake platform."""
    return {"x-nonce": nonce, "x-sign": hmac.digest(secret.encode(), nonce.encode() + body, hashlib.sha256).hex()}


class Receiver:
    """A platform that signs nonce and body, and asks for an echo."""

    def receive(self, request: PushRequest) -> Pushed:
        if request.method == "GET":
            if request.query.get("token") != SECRET:
                raise NotGenuine("wrong token")
            return Pushed((), PushAnswer(200, "text/plain", request.query["echo"].encode()))
        nonce = request.headers.get("x-nonce", "")
        expected = signed(request.body, nonce)["x-sign"]
        if not hmac.compare_digest(expected, request.headers.get("x-sign", "")):
            raise NotGenuine("the signature is wrong")
        if request.body == b"choke":
            raise ValueError(request.body)
        return Pushed((request.body,) if request.body else (), SUCCESS, nonce)


class Gateway:
    """A served gateway, a client of it, and the cell behind it."""

    def __init__(self, cell: Cell, client: httpx.AsyncClient, hooks: ConnectedHooks, app: Any) -> None:
        self.cell = cell
        self.app = app
        self.client = client
        self.hooks = hooks
        self.projector: subprocess.Popen[bytes] | None = None

    async def push(self, body: bytes, headers: dict[str, str] | None = None, **query: str) -> httpx.Response:
        """Push documents of Taobao's form over the API."""
        query.setdefault("channel", "taobao")
        query.setdefault("shop", "hardware")
        return await self.client.post("/api/v1/orders", params=query, content=body, headers=headers)

    async def webhook(self, body: bytes, nonce: str = "", name: str = "shop-a") -> httpx.Response:
        return await self.client.post(f"/webhooks/{name}", content=body, headers=signed(body, nonce))

    def start_projector(self) -> None:
        with (self.cell.path / "projector.log").open("ab") as log:
            self.projector = subprocess.Popen(
                [sys.executable, "-m", "runners.projector", "--data", str(self.cell.path)],
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def tags(self) -> list[str]:
        """Return the tags of all recorded events."""
        return [event.tag for event in self.cell.recorded()]

    async def figure(self, name: str) -> float:
        """Return one figure of /metrics, labels and all; 0 where it is not there."""
        lines = (await self.client.get("/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + " "))


def connection(name: str = "shop-a", **more: Any) -> Connection:
    return Connection(name, "taobao", "hardware", **more)


@contextlib.asynccontextmanager
async def running_gateway(
    path: Path,
    *,
    worker: bool = True,
    platform: Callable[[Connection], Platform] = lambda _: Platform(receiver=Receiver()),
    connections: tuple[Connection, ...] = (connection(),),
    **settings: Any,
) -> AsyncIterator[Gateway]:
    """Serve a gateway on a cell of its own; all of it ends with the context."""
    async with running_cell(path, **settings) as cell:
        with DataLock(path):
            save(path, connections)
            token = add_token(path / API_TOKENS_FILE, "tests", ("push", "read"))
            if worker:
                cell.start()
                await until_async(lambda: cell.tracked() is not None and cell.tracked().epoch > 0)  # type: ignore[union-attr]
            hooks = ConnectedHooks(path, lambda: time.time_ns() // 1_000_000, platform)
            async with serving(cell.settings, hooks) as server:
                headers = {"authorization": f"Bearer {token}"}
                async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30.0) as client:
                    made = Gateway(cell, client, hooks, server.config.app)
                    await until_ready(made)
                    try:
                        yield made
                    finally:
                        if made.projector is not None:
                            end(made.projector)


async def until_ready(gateway: Gateway) -> None:
    """Wait until the gateway has looked at its cell once."""
    deadline = time.monotonic() + 10
    while not (await gateway.client.get("/readyz")).json()["broker"]:
        assert time.monotonic() < deadline, "the gateway finds no broker"
        await asyncio.sleep(0.05)


async def until_async(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def order(number: int, status: str = "WAIT_SELLER_SEND_GOODS", modified_ms: int = BEGIN_MS) -> bytes:
    """Return an order as Taobao tells it."""
    return trade(number, status, BEGIN_MS, modified_ms)


def orders(*numbers: int) -> bytes:
    """Return several in one body."""
    return b"[" + b",".join(order(number) for number in numbers) + b"]"


def decoded(response: httpx.Response) -> Any:
    return msgspec.json.decode(response.content)
