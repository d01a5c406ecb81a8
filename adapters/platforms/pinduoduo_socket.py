"""Pinduoduo's message socket: pushed messages, each acknowledged once it is durable.

The socket is the app's, not the shop's. Where several shops share an app, give each connection the option `mall_id`:
messages of other shops are then left for others, unacknowledged.
"""

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any, Final
from urllib.parse import quote

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection

from adapters.platforms.answers import Members, members, text
from adapters.platforms.connection import Connection, Keys
from adapters.platforms.places import address, needed
from adapters.platforms.sockets import repeating, send, socket
from adapters.platforms.tokens import secret
from domain.platforms import Frame

log = structlog.get_logger(__name__)

SOCKET_URL: Final = "wss://message-api.pinduoduo.com"
MESSAGE: Final = "Common"
HEARTBEAT: Final = "HeartBeat"
ACK: Final = "Ack"
# [inferred] How often, and what a heartbeat says beside its name.
HEARTBEAT_S: Final = 30.0
HEARTBEAT_TIME: Final = "time"


class PinduoduoListener:
    """Listens to the message socket."""

    def __init__(self, connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        self._client_id = needed(connection, "client_id", "the number of your app at open.pinduoduo.com")
        self._url = address(connection.socket_url, SOCKET_URL, "")
        self._mall_id = connection.options.get("mall_id", "")
        self._keys = keys
        self._now_ms = now_ms

    async def frames(self) -> AsyncIterator[Frame]:
        """Connect and return messages until the connection ends; see `Listener.frames`."""
        url = self._url + path(self._client_id, secret(self._keys, "client_secret"), self._now_ms())
        async with socket(url, "Pinduoduo") as connection:

            async def beat() -> None:
                frame = {"commandType": HEARTBEAT, HEARTBEAT_TIME: self._now_ms()}
                await send(connection, msgspec.json.encode(frame).decode(), "Pinduoduo")

            async with repeating(beat, HEARTBEAT_S):
                async for raw in connection:
                    data = raw if isinstance(raw, bytes) else raw.encode()
                    frame = members(data)
                    kind = text(frame, "commandType")
                    if kind == MESSAGE and "message" in frame:
                        if self._ours(frame):
                            yield _message(connection, frame, data)
                    elif kind == HEARTBEAT:
                        yield Frame((), _nothing)
                    elif kind != ACK:
                        # It stays unacknowledged and comes again; those behind it must not wait for it.
                        log.warning("platform.frame.unreadable", platform="pinduoduo", bytes=len(data))

    def _ours(self, frame: Members) -> bool:
        return not self._mall_id or text(members(frame["message"]), "mallID") in {self._mall_id, ""}


def path(client_id: str, client_secret: str, now_ms: int) -> str:
    """Return the path that lets us in: it is signed, and good for this moment only."""
    # The platform demands MD5.
    digest = hashlib.md5(f"{client_id}{now_ms}{client_secret}".encode(), usedforsecurity=False).hexdigest()
    return f"/message/{quote(client_id, safe='')}/{now_ms}/{quote(b64encode(digest.encode()), safe='')}"


def ack(frame: Members, mall_id: msgspec.Raw | None, kind: msgspec.Raw | None) -> bytes:
    """Return the acknowledgement of a message: its own id and times, digit for digit."""
    answer: dict[str, Any] = {"commandType": ACK}
    answer |= {name: frame[name] for name in ("id", "sendTime") if name in frame}
    if kind is not None:
        answer["type"] = kind
    if mall_id is not None:
        answer["mallID"] = mall_id
    return msgspec.json.encode(answer)


def _message(connection: ClientConnection, frame: Members, data: bytes) -> Frame:
    message = members(frame["message"])

    async def acknowledge() -> None:
        await send(connection, ack(frame, message.get("mallID"), message.get("type")).decode(), "Pinduoduo")

    return Frame((data,), acknowledge)


async def _nothing() -> None:
    """A heartbeat wants no answer."""
