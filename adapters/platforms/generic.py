"""A merchant's own shop or ERP: our own contract, in both directions.

It pushes orders to us (see `own_contract`); that is enough. Where it also offers the following below the connection's
`base_url`, orders are pulled from it and it is told of parcels. JSON in UTF-8; times RFC 3339 in UTC with milliseconds
(`2026-11-11T00:05:20.000Z`); every request is signed as a push is, with an empty body for GET.

- `GET /orders?updated_from=…&updated_to=…[&cursor=…]`: orders that changed at or after the first and before the second
  time. Answer: `{"orders": [ … ], "next_cursor": "…"}`; without a cursor (or "" or null) the page is the last.
- `GET /orders/{order_no}`: the order, or status 404.
- `POST /shipments` with the header `Idempotency-Key` (= `shipment_id`): `{"shipment_id", "order_no", "carrier",
  "carrier_name", "tracking_number", "shipped_at", "complete", "lines": [{"line_id", "quantity", "item", "sku",
  "name"}]}`; `complete` says whether the order is wholly shipped with it. Answer: status 200 or 201 and
  `{"reference": "…"}`, or 409 where it is known already; the same key twice is one shipment.
- `GET /shipments/{shipment_id}`: status 200 where the shipment is known, or 404.

Refusals: any other status of 400 to 499 with `{"error": "…"}`; "not now": 429 or 503, with `Retry-After` where known.

Options: where wanted `calls_per_s`, `carrier.CODE`. Secret: `push_secret`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from adapters.platforms.answers import answered, elements, members, text
from adapters.platforms.carriers import CARRIERS
from adapters.platforms.connection import Connection, Keys, Wants
from adapters.platforms.fetching import PAGES_MAX
from adapters.platforms.http import WAIT_S_MAX, Answer, Http
from adapters.platforms.own_contract import OwnReceiver, signed_headers
from adapters.platforms.places import address, rate
from adapters.platforms.tokens import secret
from domain.platforms import NotAuthorised, Platform, PlatformBusy, PlatformRefused, PullRules, ShipNotice, Window
from domain.time_units import DAY_MS, MINUTE_MS

SECRET: Final = "push_secret"  # noqa: S105
CALLS_PER_S: Final = 10.0
RULES: Final = PullRules(window_ms=DAY_MS, margin_ms=10_000, overlap_ms=5 * MINUTE_MS, reach_ms=365 * DAY_MS)
_OK: Final = frozenset({200, 201, 202, 204})
_NOT_THERE: Final = "404"
_KNOWN: Final = "409"
_NOT_LET_IN: Final = frozenset({401, 403})
_SHOWN_MAX: Final = 200
_TRIES: Final = 4
_BACKOFF_S: Final = 0.5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def connect(connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> Platform:
    """Make a shop's connection; see `adapters.platforms.connect`. Without a `base_url` it takes pushes only."""
    receiver = OwnReceiver(lambda: keys.secret(SECRET))
    if not connection.base_url:
        return Platform(receiver=receiver)
    client = OwnClient(connection, keys, now_ms)
    return Platform(
        puller=OwnPuller(client, now_ms),
        seller=OwnSeller(client, connection.options),
        receiver=receiver,
        close=client.close,
    )


def wants(connection: Connection) -> Wants:
    """Return what is read of a connection; see `adapters.platforms.wants`."""
    return Wants(frozenset(), frozenset({SECRET}), frozenset({SECRET}), pulls=bool(connection.base_url))


class OwnClient:
    """Signed calls to the merchant's own program."""

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        now_ms: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Nothing is sent yet.

        Raises:
            ValueError: the address or an option is wrong.
        """
        self._keys = keys
        self._now_ms = now_ms
        per_s, burst = rate(connection, CALLS_PER_S)
        # Repeated here and not there: every try has a nonce of its own.
        self._http = Http(address(connection.base_url, "", ""), per_s=per_s, burst=burst, tries=1)
        self._sleep = sleep

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
    ) -> bytes:
        """Make a call that may be repeated, as all of the contract may; return the answer of success.

        Raises:
            PlatformError: see its kinds; the code of a refusal is its status.
        """
        for attempt in range(1, _TRIES + 1):
            signed = signed_headers(secret(self._keys, SECRET), self._now_ms(), content)
            try:
                answer = await self._http.call(
                    method,
                    path,
                    params=params,
                    headers={"accept": "application/json", **signed, **(headers or {})},
                    content=content,
                    repeatable=True,
                    judge=_judge,
                )
            except PlatformBusy as busy:
                wait_s = busy.retry_after_s if busy.retry_after_s is not None else _BACKOFF_S * 2 ** (attempt - 1)
                if attempt == _TRIES or wait_s > WAIT_S_MAX:
                    raise
                await self._sleep(wait_s)
            else:
                return answer.body
        raise AssertionError("every try returns or raises")

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()


class OwnPuller:
    """Fetches orders: the feed gives them whole."""

    rules = RULES

    def __init__(self, client: OwnClient, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        self._client = client
        self._now_ms = now_ms

    async def changed(self, window: Window) -> AsyncIterator[list[bytes]]:
        """Return the orders that changed in a window; see `Puller.changed`."""
        params = {"updated_from": rfc3339(window.start_ms), "updated_to": rfc3339(window.end_ms)}
        seen = {""}
        for _ in range(PAGES_MAX):
            page = answered(await self._client.call("GET", "orders", params=params), "the shop")
            if "orders" not in page:
                raise PlatformBusy("the shop answered with success, and without orders")
            orders = [bytes(order) for order in elements(page["orders"])]
            if orders:
                yield orders
            cursor = text(page, "next_cursor")
            if not cursor:
                return
            if cursor in seen:
                break
            seen.add(cursor)
            params["cursor"] = cursor
        raise PlatformBusy("the shop goes on giving pages of one window", "look at its next_cursor")

    async def order(self, order_no: str) -> bytes | None:
        """Return one order; see `Puller.order`."""
        return await _found(self._client, f"orders/{quote(order_no, safe='')}")

    async def check(self) -> str:
        """Ask for what changed in the last minutes; see `Puller.check`."""
        now_ms = self._now_ms()
        found = 0
        async for orders in self.changed(Window(now_ms - 10 * MINUTE_MS, now_ms)):
            found += len(orders)
        return f"the shop answers: {found:,} orders changed in the last ten minutes"


class OwnSeller:
    """Tells the merchant's own program that parcels left."""

    def __init__(self, client: OwnClient, options: Mapping[str, str]) -> None:
        """Nothing is sent yet."""
        self._client = client
        self._options = options

    async def ship(self, notice: ShipNotice) -> str:
        """Tell that a parcel left; see `Seller.ship`."""
        known = CARRIERS.get(notice.carrier)
        shipment = {
            "shipment_id": notice.key,
            "order_no": notice.order_no,
            "carrier": self._options.get(f"carrier.{notice.carrier}") or notice.carrier,
            "carrier_name": known.name if known else notice.carrier,
            "tracking_number": notice.tracking,
            "shipped_at": rfc3339(notice.shipped_ms),
            "complete": notice.whole,
            "lines": [
                {
                    "line_id": line.line,
                    "quantity": line.quantity,
                    "item": line.item,
                    "sku": line.sku,
                    "name": line.name,
                }
                for line in notice.lines
            ],
        }
        headers = {"content-type": "application/json", "idempotency-key": quote(notice.key, safe=":@/+=")}
        content = json.dumps(shipment, ensure_ascii=False).encode()
        try:
            body = await self._client.call("POST", "shipments", headers=headers, content=content)
        except PlatformRefused as refused:
            if refused.code == _KNOWN:
                return ""
            raise
        return text(members(body), "reference")

    async def knows(self, notice: ShipNotice) -> bool:
        """Tell whether the shipment is known there; see `Seller.knows`."""
        return await _found(self._client, f"shipments/{quote(notice.key, safe='')}") is not None


async def _found(client: OwnClient, path: str) -> bytes | None:
    try:
        return await client.call("GET", path)
    except PlatformRefused as refused:
        if refused.code == _NOT_THERE:
            return None
        raise


def rfc3339(ms: int) -> str:
    """Return UTC ms as RFC 3339."""
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _judge(answer: Answer) -> None:
    if answer.status in _OK:
        return
    told = text(members(answer.body), "error")[:_SHOWN_MAX]
    reason = f"the shop answered with status {answer.status} {told}".rstrip()
    if answer.status in _NOT_LET_IN:
        raise NotAuthorised(reason, f"look whether {SECRET} is the same on both sides, and at the clocks")
    raise PlatformRefused(reason, code=str(answer.status))
