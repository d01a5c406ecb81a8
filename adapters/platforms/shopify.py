"""Shopify: connect a shop.

Options: `shop_domain` (name.myshopify.com); where wanted `api_version`, `notify_customer`, `calls_per_s`,
`carrier.CODE`; `app_key` and `scopes` for an app that is authorised in the browser. Secrets: `app_secret` (signs
webhooks), and `access_token` for an app made in the shop's own settings.
"""

import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from adapters.platforms.answers import answered, elements
from adapters.platforms.connection import Connection, Keys, Token, Wants
from adapters.platforms.fetching import PAGES_MAX
from adapters.platforms.http import Answer
from adapters.platforms.places import needed
from adapters.platforms.shopify_client import ShopifyClient, domain_of
from adapters.platforms.shopify_push import ShopifyReceiver
from adapters.platforms.shopify_ship import ShopifySeller, is_id
from domain.platforms import Platform, PlatformBusy, PlatformRefused, PullRules, Window
from domain.time_units import DAY_MS, MINUTE_MS

PAGE_SIZE: Final = 250
RULES: Final = PullRules(
    window_ms=DAY_MS,
    margin_ms=MINUTE_MS,
    overlap_ms=5 * MINUTE_MS,
    # [inferred] Further back an app needs the permission read_all_orders.
    reach_ms=60 * DAY_MS,
)
SCOPES: Final = (
    "read_orders,read_merchant_managed_fulfillment_orders,write_merchant_managed_fulfillment_orders"  # [inferred]
)
OPTIONS: Final = frozenset({"shop_domain", "api_version", "notify_customer", "app_key", "scopes", "redirect_uri"})
_NEXT: Final = re.compile(r"<([^<>]*)>\s*;\s*rel=\"?next\"?")
_NOT_THERE: Final = "404"


def connect(connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> Platform:
    """Make a shop's connection; see `adapters.platforms.connect`."""
    client = ShopifyClient(connection, keys, now_ms)
    return Platform(
        puller=ShopifyPuller(client, now_ms),
        seller=ShopifySeller(client, connection.options),
        receiver=ShopifyReceiver(client.shop_domain, lambda: keys.secret("app_secret")),
        close=client.close,
    )


def wants(connection: Connection) -> Wants:
    """Return what is read of a connection; see `adapters.platforms.wants`."""
    # An app made in the shop's own settings has its token from the start, and needs its secret for pushes only.
    needed = "access_token" if "access_token" in connection.secrets else "app_secret"
    return Wants(OPTIONS, frozenset({"app_secret", "access_token"}), frozenset({needed}))


def authorise_url(connection: Connection, redirect: str) -> str:
    """Return where the shop's owner lets us in; the platform then sends the browser to `redirect?code=…`.

    Raises:
        ValueError: an option is missing.
    """
    query = {
        "client_id": needed(connection, "app_key", "the client id of your app"),
        "scope": connection.options.get("scopes", "") or SCOPES,
        "redirect_uri": redirect,
        "state": connection.name,
    }
    return f"https://{domain_of(connection)}/admin/oauth/authorize?{urlencode(query)}"


async def authorise(connection: Connection, keys: Keys, now_ms: Callable[[], int], code: str) -> Token:
    """Exchange the code that came back for a token, and keep it.

    Raises:
        PlatformError: see its kinds.
        ValueError: an option is missing.
    """
    needed(connection, "app_key", "the client id of your app")
    client = ShopifyClient(connection, keys, now_ms)
    try:
        token = await client.token({"code": code})
    finally:
        await client.close()
    keys.keep(token)
    return token


class ShopifyPuller:
    """Fetches orders: the feed gives them whole."""

    rules = RULES

    def __init__(self, client: ShopifyClient, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        self._client = client
        self._now_ms = now_ms

    async def changed(self, window: Window) -> AsyncIterator[list[bytes]]:
        """Return the orders that changed in a window; see `Puller.changed`."""
        params = {
            "status": "any",
            "order": "updated_at asc",
            "updated_at_min": iso(window.start_ms),
            "updated_at_max": iso(window.end_ms, up=True),
            "limit": str(PAGE_SIZE),
        }
        seen = {""}
        for _ in range(PAGES_MAX):
            answer = await self._client.call("GET", "orders.json", params=params, repeatable=True)
            if _count(answer):
                yield [answer.body]
            following = next_page(answer.headers.get("link", ""))
            if following is None:
                return
            if following in seen:
                break
            seen.add(following)
            # The cursor holds the question; with any other part of it beside, it is refused.
            params = {"limit": str(PAGE_SIZE), "page_info": following}
        raise PlatformBusy("Shopify goes on giving pages of one window", "pull less at once")

    async def order(self, order_no: str) -> bytes | None:
        """Return one order; see `Puller.order`."""
        if not is_id(order_no):
            return None
        try:
            answer = await self._client.call("GET", f"orders/{order_no}.json", repeatable=True)
        except PlatformRefused as refused:
            if refused.code == _NOT_THERE:
                return None
            raise
        return answer.body

    async def check(self) -> str:
        """Ask for what changed in the last minutes; see `Puller.check`."""
        now_ms = self._now_ms()
        params = {"status": "any", "updated_at_min": iso(now_ms - 10 * MINUTE_MS), "limit": str(PAGE_SIZE)}
        found = _count(await self._client.call("GET", "orders.json", params=params, repeatable=True))
        more = " or more" if found >= PAGE_SIZE else ""
        return f"{self._client.shop_domain} answers: {found:,}{more} orders changed in the last ten minutes"


def next_page(link: str) -> str | None:
    """Return the cursor of the next page from a `Link` header; only the cursor, never its address, is followed.

    Raises:
        PlatformBusy: there is a next page, and no cursor.
    """
    found = _NEXT.search(link)
    if found is None:
        return None
    cursors = parse_qs(urlsplit(found[1]).query).get("page_info", [])
    if not cursors:
        raise PlatformBusy("Shopify names a next page without a cursor")
    return cursors[0]


def iso(ms: int, *, up: bool = False) -> str:
    """Return UTC ms as ISO 8601 to the second; `up` goes on to the next whole second."""
    seconds = -(-ms // 1_000) if up else ms // 1_000
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _count(answer: Answer) -> int:
    found = answered(answer.body, "Shopify")
    if "orders" not in found:
        raise PlatformBusy("Shopify answered with success, and without orders")
    return len(elements(found["orders"]))
