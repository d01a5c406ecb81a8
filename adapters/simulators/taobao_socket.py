"""Taobao's message socket (TMC). Frames are binary, little-endian: version, type, then numbered headers up to a 0.

The platform's own documents do not show frames; their form follows public clients of the socket.
"""

import secrets
import struct
from typing import Final

from websockets.asyncio.server import ServerConnection

from adapters.simulators import signatures
from adapters.simulators.exchange import encode
from adapters.simulators.orders import SimOrder
from adapters.simulators.platform import SimPlatform
from adapters.simulators.sockets import SimSocket
from adapters.simulators.store import Kind
from adapters.simulators.texts import yuan

CONNECT, CONNECTED, SEND = 0, 1, 2
_END, _CUSTOM, _STATUS, _PHRASE, _FLAG, _TOKEN = range(6)
_VOID, _TEXT, _BYTE, _INT16, _INT32, _INT64, _DATE, _BYTES = range(8)
_NUMBERS: Final = {_BYTE: "<B", _INT16: "<H", _INT32: "<I", _INT64: "<Q", _DATE: "<Q"}
_ASK, _CONFIRM = 1, 2
_VERSION: Final = 2
_TOLERANCE_MS: Final = 600_000
_TOPICS: Final[dict[Kind, str]] = {
    "created": "taobao_trade_TradeCreate",
    "paid": "taobao_trade_TradeBuyerPay",
    "shipped": "taobao_trade_TradeSellerShip",
    "partly_shipped": "taobao_trade_TradePartlySellerShip",
    "completed": "taobao_trade_TradeSuccess",
    "cancelled": "taobao_trade_TradeClose",
    "changed": "taobao_trade_TradeChanged",
    "after_sale": "taobao_refund_RefundCreated",
}

Value = int | str | bytes | None


class Date(int):
    """A time, UTC ms, which has a format of its own in a frame."""


def write(kind: int, values: dict[str, Value], *, token: str = "", status: int = 0, phrase: str = "") -> bytes:
    """Return a frame."""
    frame = bytearray(struct.pack("<BB", _VERSION, kind))
    if status:
        frame += struct.pack("<HI", _STATUS, status)
    if phrase:
        frame += struct.pack("<H", _PHRASE) + _text(phrase)
    if token:
        frame += struct.pack("<H", _TOKEN) + _text(token)
    for name, value in values.items():
        frame += struct.pack("<H", _CUSTOM) + _text(name) + _value(value)
    return bytes(frame + struct.pack("<H", _END))


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<I", len(raw)) + raw


def _value(value: Value) -> bytes:
    if value is None:
        return bytes([_VOID])
    if isinstance(value, Date):
        return struct.pack("<BQ", _DATE, value)
    if isinstance(value, int):
        return struct.pack("<BQ", _INT64, value)
    if isinstance(value, bytes):
        return struct.pack("<BI", _BYTES, len(value)) + value
    return bytes([_TEXT]) + _text(value)


def read(frame: bytes) -> tuple[int, dict[str, Value], str]:
    """Return a frame's type, values and token.

    Raises:
        ValueError: it is none.
    """
    try:
        return _Reader(frame).whole()
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"no frame: {error}") from None


class _Reader:
    def __init__(self, frame: bytes) -> None:
        self._frame = frame
        self._at = 0

    def whole(self) -> tuple[int, dict[str, Value], str]:
        version, kind = self._number("<B"), self._number("<B")
        if version != _VERSION:
            raise ValueError(f"version {version}")
        values: dict[str, Value] = {}
        token = ""
        while (header := self._number("<H")) != _END:
            match header:
                case 1:
                    name = self._text()
                    values[name] = self._value()
                case 2 | 4:
                    self._number("<I")
                case 3:
                    self._text()
                case 5:
                    token = self._text()
                case _:
                    raise ValueError(f"header {header}")
        return kind, values, token

    def _number(self, form: str) -> int:
        found: int = struct.unpack_from(form, self._frame, self._at)[0]
        self._at += struct.calcsize(form)
        return found

    def _raw(self) -> bytes:
        size = self._number("<I")
        found = self._frame[self._at : self._at + size]
        if len(found) != size:
            raise ValueError("broken off")
        self._at += size
        return found

    def _text(self) -> str:
        return self._raw().decode()

    def _value(self) -> Value:
        form = self._number("<B")
        if form in _NUMBERS:
            return self._number(_NUMBERS[form])
        if form == _VOID:
            return None
        return self._raw() if form == _BYTES else self._text()


class TaobaoSocket(SimSocket):
    """One group of messages of one app."""

    def __init__(self, platform: SimPlatform, resend_s: float) -> None:
        super().__init__(platform, resend_s)
        self._tokens: set[str] = set()

    async def let_in(self, connection: ServerConnection) -> bool:
        """Check the signed name of a client and give it a token."""
        kind, values, _ = read(_bytes(await connection.recv()))
        named = {name: str(values.get(name) or "") for name in ("app_key", "group_name", "timestamp")}
        wrong = ""
        if kind != CONNECT:
            wrong = "connect first"
        elif named["app_key"] != self.platform.shop.app_key:
            wrong = "app_key is unknown"
        elif not named["timestamp"].isdigit() or abs(int(named["timestamp"]) - self.platform.now_ms()) > _TOLERANCE_MS:
            wrong = "timestamp is out of time"
        elif values.get("sign") != signatures.wrapped_md5(signatures.joined(named), self.platform.shop.app_secret):
            wrong = "sign is wrong"
        if wrong:
            await connection.send(write(CONNECTED, {}, status=403, phrase=wrong))
            return False
        given = secrets.token_hex(16)
        self._tokens.add(given)
        await connection.send(write(CONNECTED, {}, token=given))
        return True

    async def received(self, connection: ServerConnection, raw: bytes | str) -> None:
        """Take a confirmation; send what waits to whoever asks."""
        kind, values, token = read(_bytes(raw))
        if kind != SEND or token not in self._tokens:
            await connection.close(1008, "token")
        elif values.get("__kind") == _CONFIRM:
            number = values.get("id")
            if isinstance(number, int):
                self.acknowledge(number)
        elif values.get("__kind") == _ASK:
            self._news.set()

    def message(self, number: int, order: SimOrder, kind: Kind) -> bytes:
        """Return a message: what happened to which trade, without lines and address."""
        shop = self.platform.shop
        content = {
            "buyer_nick": f"{order.buyer.id[:1]}**{order.buyer.id[-1:]}",
            "payment": yuan(order.payable_fen),
            "post_fee": yuan(order.freight_fen),
            "oid": int(order.order_no),
            "tid": int(order.order_no),
            "type": "guarantee_trade",
            "seller_nick": shop.name,
        }
        values: dict[str, Value] = {
            "__kind": 1,
            "id": number,
            "topic": _TOPICS[kind],
            "content": encode(content).decode(),
            "time": Date(order.modified_ms),
            "userid": shop.shop_id,
            "nick": shop.name,
            "publisher": "12497914",
        }
        return write(SEND, values)


def _bytes(raw: bytes | str) -> bytes:
    return raw if isinstance(raw, bytes) else raw.encode()
