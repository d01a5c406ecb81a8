"""Taobao's message service (TMC): pushed messages over a WebSocket, each confirmed once it is durable.

The socket is the app's, not the shop's. Where several shops share an app, give each connection a message group of its
own (option `group`), or the option `seller_nick`: messages of other sellers are then left for others, unconfirmed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection

from adapters.platforms.connection import Connection, Keys
from adapters.platforms.places import address, needed, wall
from adapters.platforms.signing import md5_between
from adapters.platforms.sockets import repeating, send, socket
from adapters.platforms.taobao_frames import CONNECT, CONNECTED, SEND, BadFrame, TmcFrame, Value, read, write
from adapters.platforms.tokens import secret
from domain.platforms import Frame, NotAuthorised, PlatformBusy

log = structlog.get_logger(__name__)

SOCKET_URL: Final = "ws://mc.api.taobao.com"
GROUP: Final = "default"
ASK_S: Final = 30.0
"""How often messages that wait are asked for; new ones are pushed by themselves."""
_CONNECTED_S: Final = 15.0

# [inferred] From here on, as public clients of the socket have it; the platform's own documents do not show frames.
KIND: Final = "__kind"
ASK: Final = 1
CONFIRM: Final = 2
SDK: Final = "top-sdk-java-201403304"
FLAG: Final = 1
# [inferred] Words in a refusal that only a person can mend.
KEYS_WRONG: Final = ("sign", "app_key", "appkey", "app key", "permission")
# [inferred] Names of values in a frame → names in the envelope that the message API gives.
ENVELOPE: Final = {
    "id": "id",
    "topic": "topic",
    "content": "content",
    "time": "pub_time",
    "userid": "user_id",
    "nick": "user_nick",
    "publisher": "pub_app_key",
}


class TaobaoListener:
    """Listens to the message socket."""

    def __init__(self, connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        self._app_key = needed(connection, "app_key", "the number of your app at open.taobao.com")
        self._url = address(connection.socket_url, SOCKET_URL, "")
        self._group = connection.options.get("group", GROUP)
        self._seller = connection.options.get("seller_nick", "")
        self._keys = keys
        self._now_ms = now_ms

    async def frames(self) -> AsyncIterator[Frame]:
        """Connect and return messages until the connection ends; see `Listener.frames`."""
        async with socket(self._url, "Taobao") as connection:
            token = await self._let_in(connection)

            async def ask() -> None:
                await send(connection, write(TmcFrame(SEND, {KIND: ASK}, token)), "Taobao")

            async with repeating(ask, ASK_S):
                await ask()
                async for raw in connection:
                    try:
                        frame = _read(raw)
                    except BadFrame as error:
                        # It stays unconfirmed and comes again; those behind it must not wait for it.
                        log.warning("platform.frame.unreadable", platform="taobao", bytes=len(raw), reason=str(error))
                        continue
                    # Answers to our own frames have no topic.
                    if frame.kind == SEND and "topic" in frame.values and self._ours(frame):
                        yield _message(connection, frame, token)

    async def _let_in(self, connection: ClientConnection) -> str:
        """Name ourselves; return the token that our further frames carry."""
        signed = {"app_key": self._app_key, "group_name": self._group, "timestamp": str(self._now_ms())}
        values: dict[str, Value] = {**signed, "sdk": SDK, "sign": md5_between(secret(self._keys, "app_secret"), signed)}
        await send(connection, write(TmcFrame(CONNECT, values, flag=FLAG)), "Taobao")
        try:
            async with asyncio.timeout(_CONNECTED_S):
                frame = _read(await connection.recv())
        except TimeoutError:
            raise PlatformBusy("Taobao's message socket took our name and said nothing") from None
        except BadFrame as error:
            raise PlatformBusy(f"Taobao's message socket: {error}") from None
        if frame.kind != CONNECTED or frame.status or not frame.token:
            said = f"Taobao's message socket does not let us in: {frame.phrase[:200] or f'status {frame.status}'}"
            if any(word in frame.phrase.lower() for word in KEYS_WRONG):
                raise NotAuthorised(said, "look at app_key, app_secret and the app's permission for messages")
            raise PlatformBusy(said)
        return frame.token

    def _ours(self, frame: TmcFrame) -> bool:
        return not self._seller or frame.values.get("nick") in {self._seller, None, ""}


def _message(connection: ClientConnection, frame: TmcFrame, token: str) -> Frame:
    async def confirm() -> None:
        number = frame.values.get("id")
        await send(connection, write(TmcFrame(SEND, {KIND: CONFIRM, "id": number}, token)), "Taobao")

    return Frame((document(frame),), confirm)


def document(frame: TmcFrame) -> bytes:
    """Return a pushed message as the message API would give it, with all that came."""
    found: dict[str, Value] = {}
    for name, value in frame.values.items():
        if name == KIND:
            continue
        known = ENVELOPE.get(name, name)
        found[known] = wall(value) if name == "time" and isinstance(value, int) else value
    return msgspec.json.encode(found)


def _read(raw: bytes | str) -> TmcFrame:
    return read(raw if isinstance(raw, bytes) else raw.encode())
