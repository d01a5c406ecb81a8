"""The guard judges the path that is routed: no other spelling of an address gets round a token or a limit."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.web.app import make_app
from adapters.web.guard import Guard, Limits
from adapters.web.memory import Memory
from adapters.web.metrics import Metrics
from adapters.web.ports import Handed, Page, Question, Standing, Taken
from adapters.web.tokens import TokenBook, add_token

SPELLINGS = [
    "".join(parts)
    for parts in itertools.product(
        ("/", "//", "///"), ("api",), ("/", "//"), ("v1",), ("/", "//"), ("orders",), ("", "/")
    )
]


class Inside:
    """What must not be reached."""

    channels = ("generic",)
    standing = Standing(broker=True, worker=True)

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def take(self, handed: Sequence[Handed], *, committed: bool, correlation: str) -> list[Taken]:
        assert committed
        assert correlation
        self.reached += [each.source for each in handed]
        return [Taken("", "", "accepted", "") for _ in handed]

    async def orders(self, question: Question) -> Page:
        self.reached.append(question.state)
        return Page([], 0)

    async def order(self, key: str) -> dict[str, Any] | None:
        self.reached.append(key)
        return None

    def find(self, *names: str) -> None:
        self.reached.append(names[-1])

    async def deliver(self, *args: Any) -> list[str]:
        raise AssertionError(args)


@pytest.fixture
def inside() -> Inside:
    return Inside()


@pytest_asyncio.fixture
async def guard(tmp_path: Path, inside: Inside) -> AsyncIterator[Guard]:
    memory = Memory(tmp_path / "memory.db")
    yield make_app(
        intake=inside,
        hooks=inside,
        records=inside,
        callbacks=inside,
        watch=inside,
        tokens=TokenBook(tmp_path / "tokens.json"),
        memory=memory,
        metrics=Metrics(),
        limits=Limits(),
        now_ms=lambda: 0,
        version="0",
    )
    await memory.close()


async def status_of(guard: Guard, method: str, path: str, token: str = "", *, body_comes: bool = True) -> int:
    """Ask as a server does, with the path as it came."""
    told: list[Any] = []
    body = iter([{"type": "http.request", "body": b"{}", "more_body": False}] if body_comes else [])

    async def receive() -> Any:
        message = next(body, None)
        if message is None:
            await asyncio.Event().wait()
        return message

    async def send(message: Any) -> None:
        told.append(message)

    headers = [(b"host", b"test")] + ([(b"authorization", f"Bearer {token}".encode())] if token else [])
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": headers, "root_path": "", "scheme": "http", "http_version": "1.1", "client": ("::1", 1)}
    await guard({**scope, "server": ("::1", 1), "asgi": {"version": "3.0"}}, receive, send)
    status: int = told[0]["status"]
    return status


@pytest.mark.asyncio
@pytest.mark.parametrize("path", SPELLINGS)
async def test_no_spelling_of_an_address_gets_round_its_token(
    guard: Guard, inside: Inside, tmp_path: Path, path: str
) -> None:
    reads = add_token(tmp_path / "tokens.json", "reads", ("read",))
    for method in ("GET", "POST"):
        assert await status_of(guard, method, path) == 401
    assert await status_of(guard, "GET", f"{path}/key") == 401
    assert await status_of(guard, "POST", path, reads) == 403
    assert inside.reached == []
    assert await status_of(guard, "GET", path, reads) == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/webhooks/x", "//webhooks/x", "/webhooks//x", "/webhooks/x/", "/api/v1/orders/"])
async def test_no_spelling_of_an_address_gets_round_a_full_mail(
    guard: Guard, inside: Inside, tmp_path: Path, path: str
) -> None:
    inside.standing = Standing(refusal="the mail is nearly full")
    pushes = add_token(tmp_path / "tokens.json", "pushes", ("push",))
    assert await status_of(guard, "POST", path, pushes) == 503
    assert inside.reached == []


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/", "", "//", "/nothing", "/API/v1/orders", "/./api/v1/orders", "/webhooks"])
async def test_what_has_no_address_is_not_handed_on(guard: Guard, inside: Inside, path: str) -> None:
    assert await status_of(guard, "POST", path) == 404
    assert inside.reached == []


@pytest.mark.asyncio
async def test_strangers_that_send_slowly_keep_nobody_out_who_has_a_token(
    guard: Guard, inside: Inside, tmp_path: Path
) -> None:
    pushes = add_token(tmp_path / "tokens.json", "pushes", ("push",))
    slow = [asyncio.create_task(status_of(guard, "POST", "/webhooks/x", body_comes=False)) for _ in range(300)]
    await asyncio.sleep(0.05)
    assert await status_of(guard, "POST", "/webhooks/x") == 503
    assert await status_of(guard, "POST", "/api/v1/orders", pushes) == 200
    assert await status_of(guard, "GET", "/healthz") == 200
    assert inside.reached == ["pushes"]
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    assert await status_of(guard, "POST", "/webhooks/x") == 404


@pytest.mark.asyncio
async def test_probes_that_are_sent_slowly_take_nobodys_place(guard: Guard, tmp_path: Path) -> None:
    pushes = add_token(tmp_path / "tokens.json", "pushes", ("push",))
    slow = [asyncio.create_task(status_of(guard, "GET", "/healthz", body_comes=False)) for _ in range(300)]
    await asyncio.sleep(0.05)
    assert await status_of(guard, "POST", "/webhooks/x") == 404
    assert await status_of(guard, "POST", "/api/v1/orders", pushes) == 200
    assert await status_of(guard, "GET", "/healthz") == 200
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
