"""Douyin shop (抖店): connect a shop.

Options: `app_key`; `shop_id` for an app of the shop's own, which lets itself in, or else `service_id`, with which the
shop's owner does; where wanted `reject_refunds`, `calls_per_s`, `carrier.CODE`. Secret: `app_secret`.
"""

from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from adapters.platforms.answers import count, elements, members, text
from adapters.platforms.connection import Connection, Keys, Token, Wants
from adapters.platforms.douyin_client import UNKNOWN_ORDER, DouyinClient, data_of
from adapters.platforms.douyin_push import DouyinReceiver
from adapters.platforms.douyin_ship import DouyinSeller
from adapters.platforms.fetching import Page, fetched, from_last
from adapters.platforms.places import needed
from domain.platforms import Platform, PlatformBusy, PlatformRefused, PullRules, Window
from domain.time_units import DAY_MS, MINUTE_MS, SECOND_MS

FEED: Final = "order.searchList"
DETAIL: Final = "order.orderDetail"
PAGE_SIZE: Final = 100
ROWS_MAX: Final = 50_000
"""Page times size may not pass it: a window with more orders is cut in two."""
RULES: Final = PullRules(
    # 90 days are allowed; a day keeps what is repeated after an error small.
    window_ms=DAY_MS,
    margin_ms=MINUTE_MS,
    overlap_ms=5 * MINUTE_MS,
    # An hour less than the platform's limit, for the way there.
    reach_ms=90 * DAY_MS - 60 * MINUTE_MS,
)
# [inferred] Where a shop's owner lets an app in.
AUTHORISE_URL: Final = "https://fuwu.jinritemai.com/authorize"
WANTS: Final = Wants(
    frozenset({"app_key", "shop_id", "service_id", "reject_refunds", "redirect_uri"}),
    frozenset({"app_secret"}),
    frozenset({"app_secret"}),
)


def connect(connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> Platform:
    """Make a shop's connection; see `adapters.platforms.connect`."""
    client = DouyinClient(connection, keys, now_ms)
    puller = DouyinPuller(client, now_ms)
    return Platform(
        puller=puller,
        seller=DouyinSeller(client, puller.order, connection.options),
        receiver=DouyinReceiver(connection.options["app_key"].strip(), lambda: keys.secret("app_secret")),
        close=client.close,
    )


def wants(_: Connection) -> Wants:
    """Return what is read of a connection; see `adapters.platforms.wants`."""
    return WANTS


def authorise_url(connection: Connection, redirect: str) -> str:
    """Return where the shop's owner lets us in; the browser then goes where the app's settings say, with `?code=…`.

    Raises:
        ValueError: an option is missing, or the app needs no authorisation.
    """
    if connection.options.get("shop_id"):
        raise ValueError(
            f"connection {connection.name}: an app of the shop's own (option shop_id) lets itself in; "
            "nobody needs to authorise it"
        )
    service = needed(connection, "service_id", "the number of your app in Douyin's service market")
    return f"{AUTHORISE_URL}?{urlencode({'service_id': service, 'state': connection.name, 'redirect_uri': redirect})}"


async def authorise(connection: Connection, keys: Keys, now_ms: Callable[[], int], code: str) -> Token:
    """Exchange the code that came back for a token, and keep it.

    Raises:
        PlatformError: see its kinds.
        ValueError: an option is missing.
    """
    client = DouyinClient(connection, keys, now_ms)
    try:
        token = await client.token(code)
    finally:
        await client.close()
    keys.keep(token)
    return token


class _Span(NamedTuple):
    """Of modified time, in seconds of the epoch, both ends included."""

    start_s: int
    end_s: int


class DouyinPuller:
    """Fetches orders: the feed gives them whole."""

    rules = RULES

    def __init__(self, client: DouyinClient, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        self._client = client
        self._now_ms = now_ms

    async def changed(self, window: Window) -> AsyncIterator[list[bytes]]:
        """Return the orders that changed in a window; see `Puller.changed`."""
        spans = [_Span(window.start_ms // SECOND_MS, -(-window.end_ms // SECOND_MS))]
        while spans:
            span = spans.pop()
            first = await self._page(span, 0, PAGE_SIZE)
            if first.total > ROWS_MAX:
                spans.extend(reversed(_halves(span)))
                continue
            known = [first]

            async def ask(number: int, *, span: _Span = span, known: list[Page] = known) -> Page:
                return known.pop() if known and number == 1 else await self._page(span, number - 1, PAGE_SIZE)

            async for body in from_last(ask, PAGE_SIZE):
                orders = await self._whole(body)
                if orders:
                    yield orders

    async def order(self, order_no: str) -> bytes | None:
        """Return one order; see `Puller.order`."""
        try:
            body = await self._client.call(DETAIL, {"shop_order_id": order_no}, repeatable=True)
        except PlatformRefused as refused:
            if UNKNOWN_ORDER in refused.reason:
                return None
            raise
        return body if members(data_of(body).get("shop_order_detail", b"")) else None

    async def check(self) -> str:
        """Ask for what changed in the last minutes; see `Puller.check`."""
        now_s = self._now_ms() // SECOND_MS
        page = await self._page(_Span(now_s - 600, now_s), 0, 1)
        return f"Douyin answers: {page.total:,} orders changed in the last ten minutes; the feed reaches back 90 days"

    async def _page(self, span: _Span, number: int, size: int) -> Page:
        params = {
            "update_time_start": span.start_s,
            "update_time_end": span.end_s,
            "order_by": "update_time",
            "order_asc": True,
            "page": number,
            "size": size,
        }
        body = await self._client.call(FEED, params, repeatable=True)
        total = count(data_of(body), "total")
        if total is None:
            raise PlatformBusy("Douyin answered with a page that does not say how many orders there are")
        return Page(total, len(orders_of(body)), body)

    async def _whole(self, body: bytes) -> list[bytes]:
        """Return a page as it is; where orders are without their lines, each order on its own, whole."""
        orders = orders_of(body)
        lacking = [raw for raw in orders if not elements(members(raw).get("sku_order_list"))]
        if not lacking:
            return [body] if orders else []
        numbers = [text(members(raw), "order_id") for raw in lacking]
        details = await fetched(numbers, self.order)
        # One that is gone a moment later stays in sight as a hint.
        found = [bytes(raw) if detail is None else detail for raw, detail in zip(lacking, details, strict=True)]
        return [bytes(raw) for raw in orders if raw not in lacking] + found


def _halves(span: _Span) -> list[_Span]:
    if span.end_s - span.start_s <= 1:
        reason = f"Douyin counts more than {ROWS_MAX:,} orders within a second: no window is short enough to page"
        raise PlatformRefused(reason, "import an export of these orders")
    middle = (span.start_s + span.end_s) // 2
    return [_Span(span.start_s, middle), _Span(middle, span.end_s)]


def orders_of(body: bytes) -> list[msgspec.Raw]:
    """Return the orders on a page."""
    return elements(data_of(body).get("shop_order_list"))
