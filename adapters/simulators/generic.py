"""A merchant's own shop or ERP, both ways by the product's contract: it pushes orders, lists them, takes shipments."""

import hmac
from datetime import datetime
from typing import Any, Final

from adapters.simulators import own_contract, signatures, wire_generic
from adapters.simulators.exchange import Refused, Reply, Request, encode, reply
from adapters.simulators.numbers import token_of
from adapters.simulators.orders import SimOrder
from adapters.simulators.platform import Push, SimPlatform
from adapters.simulators.store import Kind

_TOLERANCE_MS: Final = 300_000


class Generic(SimPlatform):
    """`GET /orders`, `GET /orders/{order_no}`, `POST /shipments`, `GET /shipments/{shipment_id}`; all signed."""

    channel = "generic"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._references: dict[str, str] = {}
        """Reference of each shipment that was accepted, by its id."""
        self._nonces: set[str] = set()

    def operation(self, request: Request) -> str:
        """Return method and first part of the path."""
        return f"{request.method} {request.path.strip('/').split('/')[0]}"

    def handle(self, request: Request) -> Reply:
        """Answer a signed call."""
        self._check_signed(request)
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["orders"]:
                return self._changed(request)
            case "GET", ["orders", number]:
                order = self.store.get(number)
                if order is None:
                    raise Refused("unknown", f"no order {number}", status=404)
                return reply(wire_generic.body(order, self.shop.name))
            case "POST", ["shipments"]:
                return self._ship(request.json(), request.headers.get("idempotency-key", ""))
            case "GET", ["shipments", shipment_id]:
                if shipment_id not in self._references:
                    raise Refused("unknown", "no such shipment", status=404)
                return reply({"shipment_id": shipment_id, "reference": self._references[shipment_id]})
        raise Refused("unknown", "no such address", status=404)

    def _check_signed(self, request: Request) -> None:
        headers = request.headers
        timestamp, nonce = headers.get("x-timestamp", ""), headers.get("x-nonce", "")
        right = signatures.own(timestamp, nonce, request.body, self.shop.app_secret)
        fresh = timestamp.isdigit() and abs(int(timestamp) * 1000 - self.now_ms()) <= _TOLERANCE_MS
        if not hmac.compare_digest(headers.get("x-signature", ""), right) or not fresh:
            raise Refused("unauthorized", "the signature is wrong or too old", status=401)
        if not nonce or nonce in self._nonces:
            raise Refused("unauthorized", "the nonce was used before", status=401)
        self._nonces.add(nonce)

    def _changed(self, request: Request) -> Reply:
        start, end = (_instant(request.query[name]) for name in ("updated_from", "updated_to"))
        found = sorted(
            (order for order in self.store.all() if start <= order.modified_ms < end),
            key=lambda order: (order.modified_ms, order.order_no),
        )
        behind = request.query.get("cursor", "")
        if behind:
            at_ms, _, number = behind.partition("~")
            found = [order for order in found if (order.modified_ms, order.order_no) > (int(at_ms), number)]
        page = found[: self.shop.per_page_max]
        ahead = f"{page[-1].modified_ms}~{page[-1].order_no}" if len(found) > len(page) else None
        return reply({"orders": [wire_generic.body(order, self.shop.name) for order in page], "next_cursor": ahead})

    def _ship(self, asked: dict[str, Any], key: str) -> Reply:
        shipment_id, number = str(asked["shipment_id"]), str(asked["order_no"])
        if key != shipment_id:
            raise Refused("invalid", "Idempotency-Key is not the shipment's id", status=400)
        if shipment_id in self._references:
            return reply({"reference": self._references[shipment_id]})
        order = self.store.get(number)
        if order is None:
            raise Refused("unknown", f"no order {number}", status=404)
        if any(parcel.tracking == asked["tracking_number"] for parcel in order.parcels):
            raise Refused("known", "the parcel is known already", status=409)
        if order.status not in ("paid", "allocating") or order.hold:
            raise Refused("not-possible", f"the order is {order.status} {order.hold}".strip(), status=422)
        ids = wire_generic.line_ids(order)
        lines = [ids.index(line["line_id"]) for line in asked["lines"]]
        if any(order.lines[at].shipped for at in lines):
            raise Refused("not-possible", "a line has left already", status=422)
        self.store.ship(number, str(asked["carrier"]), str(asked["tracking_number"]), lines or None, shipment_id)
        reference = self._references[shipment_id] = token_of("reference", shipment_id, 12)
        return reply({"reference": reference}, 201)

    def refusal(self, refused: Refused, request: Request) -> Reply:
        """Return the error in words."""
        del request
        return reply({"error": f"{refused.code}: {refused.text}"}, refused.status)

    def wrong_parameter(self, text: str) -> Refused:
        """Return status 400."""
        return Refused("invalid", text, status=400)

    def limited(self) -> Refused:
        """Return status 429."""
        return Refused("too-many", "too many requests", status=429)

    def system_error(self) -> Refused:
        """Return status 500: a merchant's own program has no other word for it."""
        return Refused("internal", "internal error", status=500)

    def push(self, order: SimOrder, kind: Kind) -> Push:
        """Return the push of the whole order, whatever happened to it."""
        del kind
        return self.signed(encode(wire_generic.body(order, self.shop.name)), order.order_no)

    def signed(self, body: bytes, number: str = "", nonce: str = "") -> Push:
        """Return any body as a signed push."""
        return Push("POST", {}, own_contract.headers(self.now_ms(), body, self.shop.app_secret, nonce), body, number)

    def push_accepted(self, status: int, body: bytes) -> bool:
        """Tell whether the status says success."""
        del body
        return 200 <= status < 300  # noqa: PLR2004 - HTTP


def _instant(text: str) -> int:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without an offset")
    return round(found.timestamp() * 1000)
