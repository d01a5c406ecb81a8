"""A merchant's own shop or ERP: it pushes orders by the product's contract, and takes signed ship notices."""

import hmac
from typing import Any, Final

from adapters.simulators import own_contract, signatures, wire_generic
from adapters.simulators.exchange import Refused, Reply, Request, encode, reply
from adapters.simulators.orders import SimOrder
from adapters.simulators.platform import Push, SimPlatform
from adapters.simulators.store import Kind

_TOLERANCE_MS: Final = 300_000


class Generic(SimPlatform):
    """Any address: a signed `POST` is a ship notice, `GET …/<order number>` gives the order."""

    channel = "generic"

    def operation(self, request: Request) -> str:
        """Return method and path."""
        return f"{request.method} {request.path}"

    def handle(self, request: Request) -> Reply:
        """Answer a signed call."""
        headers = request.headers
        timestamp, nonce = headers.get("x-timestamp", ""), headers.get("x-nonce", "")
        right = signatures.own(timestamp, nonce, request.body, self.shop.app_secret)
        fresh = timestamp.isdigit() and abs(int(timestamp) * 1000 - self.now_ms()) <= _TOLERANCE_MS
        if not fresh or not nonce or not hmac.compare_digest(headers.get("x-signature", ""), right):
            raise Refused("unauthorized", "not signed", status=401)
        if request.method == "GET":
            return self._get(request)
        return self._ship(request.json())

    def _get(self, request: Request) -> Reply:
        number = request.query.get("order_no") or request.path.rsplit("/", 1)[-1]
        order = self.store.get(number)
        if order is None:
            raise Refused("not-found", f"no order {number}", status=404)
        return reply(wire_generic.body(order, self.shop.name))

    def _ship(self, asked: dict[str, Any]) -> Reply:
        order = self.store.get(str(asked.get("order_no", "")))
        if order is None:
            raise Refused("not-found", "no such order", status=404)
        tracking = str(asked.get("tracking", ""))
        if not tracking or not asked.get("carrier"):
            raise Refused("bad-request", "carrier and tracking are needed", status=400)
        if any(parcel.tracking == tracking for parcel in order.parcels):
            return reply({"result": "known"})
        if order.status not in ("paid", "allocating") or order.hold:
            raise Refused("conflict", f"the order is {order.status}", status=409)
        ids = wire_generic.line_ids(order)
        lines = [ids.index(str(line.get("line") or line.get("id"))) for line in asked.get("lines") or []]
        self.store.ship(order.order_no, str(asked["carrier"]), tracking, lines or None, str(asked.get("key", "")))
        return reply({"result": "accepted"})

    def refusal(self, refused: Refused, request: Request) -> Reply:
        """Return an error in words."""
        del request
        return reply({"error": refused.code, "message": refused.text}, refused.status)

    def wrong_parameter(self, text: str) -> Refused:
        """Return status 400."""
        return Refused("bad-request", text, status=400)

    def limited(self) -> Refused:
        """Return status 429."""
        return Refused("too-many", "too many requests", status=429)

    def system_error(self) -> Refused:
        """Return status 500: a merchant's own shop has no other words for it."""
        return Refused("internal", "internal error", status=500)

    def push(self, order: SimOrder, kind: Kind) -> Push:
        """Return the shop's push of the whole order."""
        del kind
        return self.signed(encode(wire_generic.body(order, self.shop.name)), order.order_no)

    def signed(self, body: bytes, number: str = "", nonce: str = "") -> Push:
        """Return any body as a signed push."""
        return Push("POST", {}, own_contract.headers(self.now_ms(), body, self.shop.app_secret, nonce), body, number)

    def push_accepted(self, status: int, body: bytes) -> bool:
        """Tell whether the status says success."""
        del body
        return 200 <= status < 300  # noqa: PLR2004 - HTTP
