"""Shopify's admin interface: REST with cursors in the `Link` header, a leaky bucket, webhooks with a HMAC."""

import base64
import re
import uuid
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from adapters.simulators import signatures, wire_shopify
from adapters.simulators.carriers import neutral
from adapters.simulators.exchange import JSON, Refused, Reply, Request, decode, encode, reply
from adapters.simulators.orders import SimOrder
from adapters.simulators.platform import Push, SimPlatform
from adapters.simulators.store import Kind
from adapters.simulators.texts import iso

_PATH: Final = re.compile(r"/admin/api/(?P<version>\d{4}-\d{2}|unstable)/(?P<what>.+)\.json")
_LIMIT_MAX: Final = 250
_TOPICS: Final[dict[Kind, str]] = {
    "created": "orders/create",
    "paid": "orders/paid",
    "shipped": "orders/fulfilled",
    "partly_shipped": "orders/partially_fulfilled",
    "cancelled": "orders/cancelled",
    "completed": "orders/updated",
    "changed": "orders/updated",
    "after_sale": "orders/updated",
}


class Shopify(SimPlatform):
    """`/admin/api/<version>/…` and `/admin/oauth/access_token`. The token has no end unless a test ends it."""

    channel = "shopify"
    access_s = 10 * 365 * 86_400
    refresh_s = 10 * 365 * 86_400
    version: str = "2026-07"
    base_url: str = ""
    """Where it is served: the `Link` header names whole addresses."""

    def operation(self, request: Request) -> str:
        """Return method and what is asked for."""
        found = _PATH.fullmatch(request.path)
        return f"{request.method} {found['what'] if found else request.path}"

    def handle(self, request: Request) -> Reply:
        """Answer a call."""
        if request.path == "/admin/oauth/access_token":
            return self._token(request)
        if self.tokens.state(request.headers.get("x-shopify-access-token", "")) != "ok":
            wrong = "[API] Invalid API key or access token (unrecognized login or wrong password)"
            raise Refused("unauthorized", wrong, status=401)
        found = _PATH.fullmatch(request.path)
        if found is None:
            raise Refused("not-found", "Not Found", status=404)
        what = found["what"].split("/")
        match (request.method, what):
            case ("GET", ["shop"]):
                shop = {"id": self.shop.shop_id, "name": self.shop.name, "myshopify_domain": self.domain}
                return self._done({"shop": shop | {"currency": "USD", "iana_timezone": "America/New_York"}})
            case ("GET", ["orders"]):
                return self._changed(request)
            case ("GET", ["orders", number]):
                return self._done({"order": wire_shopify.order(self._order(number))})
            case ("GET", ["orders", number, "fulfillments"]):
                return self._done({"fulfillments": wire_shopify.fulfillments(self._order(number))})
            case ("GET", ["orders", number, "fulfillment_orders"]):
                return self._done({"fulfillment_orders": self._fulfillment_orders(self._order(number))})
            case ("POST", ["fulfillments"]):
                return self._ship(request.json())
        raise Refused("not-found", "Not Found", status=404)

    @property
    def domain(self) -> str:
        """The shop's own domain."""
        return f"{self.shop.name}.myshopify.com"

    def refusal(self, refused: Refused, request: Request) -> Reply:
        """Return `errors`."""
        del request
        given = reply({"errors": refused.text}, refused.status)
        if refused.code == "too-many":
            return given._replace(headers={**self._headers(), "retry-after": "2.0"})
        return given._replace(headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {"content-type": JSON, "x-shopify-shop-api-call-limit": "1/40", "x-shopify-api-version": self.version}

    def _done(self, value: Any, status: int = 200) -> Reply:
        return reply(value, status)._replace(headers=self._headers())

    def wrong_parameter(self, text: str) -> Refused:
        """Return status 400."""
        return Refused("bad-request", text, status=400)

    def limited(self) -> Refused:
        """Return status 429."""
        return Refused("too-many", "Exceeded 2 calls per second for api client.", status=429)

    def system_error(self) -> Refused:
        """Return errors in an answer of status 200."""
        return Refused("internal", "Internal Server Error")

    def _token(self, request: Request) -> Reply:
        asked = request.json() if "json" in request.headers.get("content-type", "") else request.form()
        if asked.get("client_id") != self.shop.app_key or asked.get("client_secret") != self.shop.app_secret:
            raise Refused("invalid_client", "invalid_client", status=400)
        granted = self.tokens.exchange(str(asked.get("code", "")))
        if granted is None:
            raise Refused("invalid_request", "The authorization code was not found or was already used", status=400)
        return reply({"access_token": granted.access, "scope": "read_orders,write_fulfillments"})

    def _order(self, number: str) -> SimOrder:
        order = self.store.get(number)
        if order is None:
            raise Refused("not-found", "Not Found", status=404)
        return order

    def _changed(self, request: Request) -> Reply:
        query = dict(request.query)
        asked_limit = int(query.pop("limit", "50"))
        if not 1 <= asked_limit <= _LIMIT_MAX:
            raise Refused("bad-request", f"limit must lie between 1 and {_LIMIT_MAX}", status=400)
        limit = min(asked_limit, self.shop.per_page_max)
        cursor = query.pop("page_info", "")
        fields = query.pop("fields", "")
        behind: list[Any] = []
        if cursor:
            if query:  # a cursor carries the filter; no other may be given beside it
                raise Refused("bad-request", f"{', '.join(query)} cannot be passed with page_info", status=400)
            query, behind = decode(base64.urlsafe_b64decode(cursor + "=="))
        if not behind and query.get("status", "open") != "any":
            raise Refused("bad-request", "this simulator lists status=any only", status=400)
        descending, keyed = self._keyed(query)
        found = [(key, order) for key, order in keyed if not behind or (key < behind if descending else key > behind)]
        page = found[:limit]
        orders = [wire_shopify.order(order) for _, order in page]
        if fields:
            names = set(fields.split(","))
            orders = [{name: value for name, value in order.items() if name in names} for order in orders]
        given = self._done({"orders": orders})
        if len(found) <= limit:
            return given
        ahead = base64.urlsafe_b64encode(encode([query, page[-1][0]])).decode().rstrip("=")
        address = f"{self.base_url}{request.path}?{urlencode({'limit': asked_limit, 'page_info': ahead})}"
        return given._replace(headers={**given.headers, "link": f'<{address}>; rel="next"'})

    def _keyed(self, query: dict[str, str]) -> tuple[bool, list[tuple[list[Any], SimOrder]]]:
        """Return the orders that fit, sorted, each with what it is sorted by; and whether the greatest comes first."""
        name, _, direction = query.get("order", "created_at desc").partition(" ")
        descending = direction.strip().lower() != "asc"
        bounds = {side: query.get(f"updated_at_{side}") for side in ("min", "max")}
        keyed = []
        for order in self.store.all():
            at_s = order.modified_ms // 1000
            if bounds["min"] and at_s < _instant(bounds["min"]):
                continue
            if bounds["max"] and at_s > _instant(bounds["max"]):
                continue
            if query.get("ids") and order.order_no not in query["ids"].split(","):
                continue
            by = order.modified_ms if name == "updated_at" else order.ordered_ms
            keyed.append(([by // 1000, int(order.order_no)], order))
        return descending, sorted(keyed, key=lambda one: one[0], reverse=descending)

    def _fulfillment_orders(self, order: SimOrder) -> list[dict[str, Any]]:
        ids, own = wire_shopify.fulfillment_line_ids(order), wire_shopify.line_ids(order)
        if order.status == "awaiting_payment" and not order.deposit_fen:
            status = "on_hold"
        else:
            status = {"shipped": "closed", "completed": "closed", "cancelled": "cancelled"}.get(order.status, "open")
            status = "in_progress" if order.status == "allocating" else status
        lines = [
            {
                "id": ids[at],
                "fulfillment_order_id": wire_shopify.fulfillment_order_id(order),
                "quantity": line.quantity,
                "line_item_id": int(own[at]),
                "fulfillable_quantity": 0 if line.shipped else line.quantity,
                "variant_id": None,
            }
            for at, line in enumerate(order.lines)
        ]
        return [
            {
                "id": wire_shopify.fulfillment_order_id(order),
                "order_id": int(order.order_no),
                "assigned_location_id": 655_441_491,
                "status": status,
                "request_status": "unsubmitted",
                "supported_actions": ["create_fulfillment"] if status in ("open", "in_progress") else [],
                "line_items": lines,
            }
        ]

    def _ship(self, asked: dict[str, Any]) -> Reply:
        notice = asked["fulfillment"]
        tracking = notice.get("tracking_info") or {}
        planned: list[tuple[SimOrder, list[int]]] = []
        for part in notice["line_items_by_fulfillment_order"]:
            order = next(
                (
                    one
                    for one in self.store.all()
                    if wire_shopify.fulfillment_order_id(one) == part["fulfillment_order_id"]
                ),
                None,
            )
            if order is None:
                raise Refused("not-found", "Not Found", status=404)
            if order.status not in ("paid", "allocating"):
                raise Refused(
                    "closed",
                    f"Fulfillment order {part['fulfillment_order_id']} has an unfulfillable status",
                    status=422,
                )
            planned.append((order, self._leaving(order, part.get("fulfillment_order_line_items"))))
        number = str(tracking.get("number") or "")
        # Shopify takes any carrier's name.
        carrier = neutral("shopify", str(tracking.get("company") or "")) or str(tracking.get("company") or "")
        for order, lines in planned:
            shipped = self.store.ship(order.order_no, carrier, number, lines)
        return self._done({"fulfillment": wire_shopify.fulfillments(shipped)[-1]}, 201)

    @staticmethod
    def _leaving(order: SimOrder, parts: list[dict[str, Any]] | None) -> list[int]:
        ids = wire_shopify.fulfillment_line_ids(order)
        if not parts:
            return [at for at, line in enumerate(order.lines) if not line.shipped]
        lines = []
        for part in parts:
            at = ids.index(part["id"]) if part["id"] in ids else -1
            if at < 0 or order.lines[at].shipped or not 0 < int(part["quantity"]) <= order.lines[at].quantity:
                raise Refused("invalid", "Invalid fulfillment order line item quantity requested.", status=422)
            lines.append(at)
        return lines

    def push(self, order: SimOrder, kind: Kind) -> Push:
        """Return a webhook with the whole order."""
        return self.signed(encode(wire_shopify.order(order)), _TOPICS[kind], order.order_no)

    def signed(self, body: bytes, topic: str, number: str = "", webhook_id: str = "") -> Push:
        """Return any body as a webhook."""
        headers = {
            "content-type": "application/json",
            "x-shopify-topic": topic,
            "x-shopify-shop-domain": self.domain,
            "x-shopify-api-version": self.version,
            "x-shopify-webhook-id": webhook_id or str(uuid.uuid4()),
            "x-shopify-event-id": str(uuid.uuid4()),
            "x-shopify-triggered-at": iso(self.now_ms(), 0),
            "x-shopify-hmac-sha256": signatures.shopify(body, self.shop.app_secret),
        }
        return Push("POST", {}, headers, body, number)

    def push_accepted(self, status: int, body: bytes) -> bool:
        """Tell whether the status says success."""
        del body
        return 200 <= status < 300  # noqa: PLR2004 - HTTP


def _instant(text: str) -> int:
    """Read ISO 8601 with an offset; return Unix seconds."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without an offset")
    return int(found.timestamp())
