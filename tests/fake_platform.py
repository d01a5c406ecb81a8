"""A sales platform in a folder, behind the port: whole trades as files, faults as files, calls in a log.

`connect` is what a platform's module has; `FolderPlatform` is the platform's own side, for tests.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from adapters.platforms.connection import Connection, Keys, MissingSecret, Token, Wants
from domain.platforms import (
    Frame,
    NotAuthorised,
    Platform,
    PlatformBusy,
    PlatformRefused,
    PullRules,
    Window,
)
from tests.integration.mixed_mail import trade

PAGE = 3
HOUR_MS = 3_600_000


class FolderPlatform:
    """The platform's side: orders change, things go wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "orders").mkdir(parents=True, exist_ok=True)
        (folder / "socket").mkdir(exist_ok=True)

    def change(self, number: int, modified_ms: int, status: str = "WAIT_SELLER_SEND_GOODS", **more: Any) -> None:
        """An order is as it is since then."""
        raw = trade(number, status, modified_ms - 60_000, modified_ms, **more)
        self.put(str(number), modified_ms, raw)

    def put(self, order_no: str, modified_ms: int, raw: bytes) -> None:
        whole = b'{"trade_fullinfo_get_response":{"trade":%b}}' % raw
        file = self.folder / "orders" / order_no
        fresh = file.with_name(f".{order_no}")
        fresh.write_bytes(b"%d\n%b" % (modified_ms, whole))
        fresh.replace(file)

    def push(self, name: str, document: bytes) -> None:
        """A message waits on the socket."""
        fresh = self.folder / f".{name}"
        fresh.write_bytes(document)
        fresh.replace(self.folder / "socket" / name)

    def unacknowledged(self) -> list[str]:
        return sorted(file.name for file in (self.folder / "socket").iterdir())

    def fault(self, text: str) -> None:
        """From now on calls fail so: `busy`, `rest 0.5`, `refused`, `shut`, `bug`, `busy 17` (that order); "" = no."""
        (self.folder / "fault").write_text(text)

    def calls(self, what: str = "") -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            lines = (self.folder / "calls").read_text().splitlines()
            return [line for line in lines if line.startswith(what)]
        return []


def hint(number: int | str, stamp: int = 0) -> bytes:
    """Return the message by which the platform says that an order has changed."""
    content = {"tid": number if isinstance(number, int) else 0, "n": stamp}
    return msgspec.json.encode(
        {"topic": "taobao_trade_TradeBuyerPay", "content": msgspec.json.encode(content).decode()}
    )


class _Client:
    def __init__(self, connection: Connection, keys: Keys) -> None:
        self.folder = Path(connection.options["folder"])
        self._keys = keys
        self._needs = connection.secrets.keys()

    def call(self, text: str, order_no: str = "") -> None:
        with (self.folder / "calls").open("a") as log:
            log.write(text + "\n")
        for name in self._needs:
            try:
                if self._keys.secret(name) != "right":
                    raise NotAuthorised("the platform refuses our signature", "correct the secret")
            except MissingSecret as error:
                raise NotAuthorised(str(error)) from None
        fault = ""
        with contextlib.suppress(FileNotFoundError):
            fault = (self.folder / "fault").read_text()
        word, _, rest = fault.partition(" ")
        if not word or (rest and rest != order_no and word != "rest"):
            return
        if word == "busy":
            raise PlatformBusy("the platform is down")
        if word == "rest":
            raise PlatformBusy("too many calls", retry_after_s=float(rest))
        if word == "refused":
            raise PlatformRefused("this is not allowed", code="no")
        if word == "shut":
            raise NotAuthorised("the token has ended", "authorise the shop anew")
        if word == "bug":
            raise KeyError("a secret or a name could stand here")

    def orders(self) -> list[tuple[int, str, bytes]]:
        found = []
        for file in (self.folder / "orders").iterdir():
            if not file.name.startswith("."):
                modified, _, raw = file.read_bytes().partition(b"\n")
                found.append((int(modified), file.name, raw))
        return sorted(found)


class FolderPuller:
    """The port `Puller`."""

    def __init__(self, client: _Client, options: dict[str, str]) -> None:
        self._client = client
        times = {name: int(options.get(name, default)) for name, default in RULES.items()}
        self.rules = PullRules(**times)
        self._size = int(options.get("page", PAGE))

    async def changed(self, window: Window) -> AsyncIterator[list[bytes]]:
        assert window.end_ms - window.start_ms <= self.rules.window_ms
        self._client.call(f"changed {window.start_ms} {window.end_ms}")
        found = [raw for modified, _, raw in self._client.orders() if window.start_ms <= modified < window.end_ms]
        for at in range(0, len(found), self._size):
            await asyncio.sleep(0)
            self._client.call(f"page {at}")
            yield found[at : at + self._size]

    async def order(self, order_no: str) -> bytes | None:
        await asyncio.sleep(0)
        self._client.call(f"order {order_no}", order_no)
        return next((raw for _, name, raw in self._client.orders() if name == order_no), None)

    async def check(self) -> str:
        self._client.call("check")
        return "a platform in a folder answers"


RULES = {"window_ms": HOUR_MS, "margin_ms": 0, "overlap_ms": 1_000, "reach_ms": 90 * 24 * HOUR_MS}


class FolderListener:
    """The port `Listener`: a message is there until it is acknowledged."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    async def frames(self) -> AsyncIterator[Frame]:
        self._client.call("listen")
        seen: set[str] = set()
        while True:
            for file in sorted((self._client.folder / "socket").iterdir()):
                if file.name not in seen:
                    seen.add(file.name)
                    yield _frame(file)
            if (self._client.folder / "hang_up").exists():
                return
            await asyncio.sleep(0.02)


def _frame(file: Path) -> Frame:
    async def acknowledge() -> None:
        await asyncio.to_thread(file.unlink)

    return Frame((file.read_bytes(),), acknowledge)


def wants(_: Connection) -> Wants:
    return Wants(frozenset({"folder", "reach_ms", "app_key"}), frozenset({"app_secret"}), frozenset())


def connect(connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> Platform:
    """As `adapters.platforms` calls it."""
    del now_ms
    if "folder" not in connection.options:
        raise ValueError("option folder is missing: name the platform's folder")
    client = _Client(connection, keys)

    async def close() -> None:
        client.call("close") if not (client.folder / "fault").exists() else None

    listener = FolderListener(client) if "socket" in connection.options else None
    return Platform(FolderPuller(client, connection.options), listener=listener, close=close)


def authorise_url(connection: Connection, redirect: str) -> str:
    """As `orderspine channels authorise` calls it."""
    return f"https://platform.invalid/authorise?client={connection.options['app_key']}&redirect={redirect}"


async def authorise(connection: Connection, keys: Keys, now_ms: Callable[[], int], code: str) -> Token:
    """As `orderspine channels authorise` calls it."""
    del connection
    if code != "good-code":
        raise NotAuthorised("the code is not known or has ended", "ask for a new one")
    token = Token("access-1", now_ms() + HOUR_MS, "refresh-1")
    keys.keep(token)
    return token
