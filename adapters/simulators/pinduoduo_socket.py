"""Pinduoduo's message socket: keys in the path, JSON frames, heartbeats, an `Ack` for each message."""

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, unquote

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from adapters.simulators import signatures
from adapters.simulators.exchange import decode, encode
from adapters.simulators.numbers import number_of
from adapters.simulators.orders import SimOrder
from adapters.simulators.sockets import SimSocket
from adapters.simulators.store import Kind

_TOLERANCE_MS: Final = 600_000
_PARTS: Final = 4
_TYPES: Final[dict[Kind, str]] = {
    "created": "pdd_trade_TradeConfirmed",
    "paid": "pdd_trade_TradeConfirmed",
    "shipped": "pdd_trade_TradeSellerShip",
    "partly_shipped": "pdd_trade_TradeSellerShip",
    "completed": "pdd_trade_TradeSuccess",
    "cancelled": "pdd_refund_RefundAgreeAgreement",
    "changed": "pdd_trade_TradeMemoModified",
    "after_sale": "pdd_refund_RefundCreated",
}


class PinduoduoSocket(SimSocket):
    """One app's messages."""

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Let in who knows the secret: `/message/<client_id>/<ts_ms>/<digest>`."""
        parts = request.path.strip("/").split("/")
        shop = self.platform.shop
        good = (
            len(parts) == _PARTS
            and parts[0] == "message"
            and parts[1] == shop.app_key
            and parts[2].isdigit()
            and abs(int(parts[2]) - self.platform.now_ms()) <= _TOLERANCE_MS
            and quote(unquote(parts[3]), safe="")
            == signatures.pinduoduo_socket(shop.app_key, parts[2], shop.app_secret)
        )
        if good:
            return None
        self.refused += 1
        return connection.respond(HTTPStatus.UNAUTHORIZED, "")

    async def let_in(self, connection: ServerConnection) -> bool:
        """Let everybody in whose path was right."""
        del connection
        return True

    def heartbeat(self) -> str:
        """Return a heartbeat."""
        return encode({"commandType": "HeartBeat", "time": self.platform.now_ms()}).decode()

    async def received(self, connection: ServerConnection, raw: bytes | str) -> None:
        """Take an acknowledgement or a heartbeat; break the connection over anything else."""
        try:
            frame = decode(raw)
            command = frame.get("commandType")
        except (ValueError, AttributeError):
            command = None
        if command == "Ack":
            known = {"id", "sendTime", "mallID"} <= frame.keys() and frame["mallID"] == self.platform.shop.shop_id
            if known:
                self.acknowledge(int(frame["id"]))
        elif command != "HeartBeat":
            await connection.close(1003, "commandType")

    def message(self, number: int, order: SimOrder, kind: Kind) -> str:
        """Return a message: what happened to which order, without lines and address."""
        mall = self.platform.shop.shop_id
        content: dict[str, Any] = {"mall_id": mall, "tid": order.order_no}
        if kind in ("after_sale", "cancelled"):
            content |= {
                "refund_id": number_of("refund", order.order_no + order.lines[0].sku, 10),
                "refund_fee": order.payable_fen,
                "bill_type": 2,
                "operation": 1000,
                "modified": order.modified_ms,
            }
        message = {"type": _TYPES[kind], "mallID": mall, "content": encode(content).decode()}
        frame = {"id": number, "commandType": "Common", "sendTime": self.platform.now_ms(), "message": message}
        return encode(frame).decode()
