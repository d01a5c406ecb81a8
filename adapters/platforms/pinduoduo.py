"""Pinduoduo: connect a shop.

Options: `client_id`; where wanted `carrier.CODE`, `mall_id` (see `pinduoduo_socket`), `calls_per_s`, `redirect_uri`.
Secret: `client_secret`.
"""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final
from urllib.parse import urlencode

import msgspec

from adapters.platforms.answers import Members, count, elements, members, text, within
from adapters.platforms.connection import Connection, Keys, Token, Wants
from adapters.platforms.fetching import Page, chunks, fetched, from_last, windows_of
from adapters.platforms.pinduoduo_client import AUTHORISE_URL, PinduoduoClient, response
from adapters.platforms.pinduoduo_ship import ONE_ANSWER, PinduoduoSeller
from adapters.platforms.pinduoduo_socket import PinduoduoListener
from adapters.platforms.places import needed
from domain.platforms import Platform, PlatformBusy, PlatformRefused, PullRules, Window
from domain.time_units import DAY_MS, MINUTE_MS, SECOND_MS

FEED: Final = "pdd.order.number.list.increment.get"
FEED_ANSWER: Final = "order_sn_increment_get_response"
ONE: Final = "pdd.order.information.get"
PAGE_SIZE: Final = 100
RULES: Final = PullRules(
    window_ms=30 * MINUTE_MS,
    # Three minutes are demanded; our clock and the platform's are not the same.
    margin_ms=4 * MINUTE_MS,
    overlap_ms=5 * MINUTE_MS,
    reach_ms=90 * DAY_MS,
)
ALL: Final = "5"
"""Of `order_status` and of `refund_status`."""
# [inferred] The answer to a number that the shop does not have, by code or by words.
UNKNOWN: Final = frozenset({"50002", "60010"})
UNKNOWN_WORDS: Final = ("订单不存在", "not exist")
WANTS: Final = Wants(
    frozenset({"client_id", "mall_id", "redirect_uri"}), frozenset({"client_secret"}), frozenset({"client_secret"})
)


def connect(connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> Platform:
    """Make a shop's connection; see `adapters.platforms.connect`."""
    client = PinduoduoClient(connection, keys, now_ms)
    puller = PinduoduoPuller(client, now_ms)
    return Platform(
        puller=puller,
        seller=PinduoduoSeller(client, puller.order, connection.options),
        listener=PinduoduoListener(connection, keys, now_ms),
        close=client.close,
    )


def wants(_: Connection) -> Wants:
    """Return what is read of a connection; see `adapters.platforms.wants`."""
    return WANTS


def authorise_url(connection: Connection, redirect: str) -> str:
    """Return where the shop's owner lets us in; the platform then sends the browser to `redirect?code=…`.

    Raises:
        ValueError: an option is missing.
    """
    client_id = needed(connection, "client_id", "the number of your app at open.pinduoduo.com")
    query = {"response_type": "code", "client_id": client_id, "redirect_uri": redirect, "state": connection.name}
    return f"{AUTHORISE_URL}?{urlencode(query)}"


async def authorise(connection: Connection, keys: Keys, now_ms: Callable[[], int], code: str) -> Token:
    """Exchange the code that came back for a token, and keep it.

    Raises:
        PlatformError: see its kinds.
        ValueError: an option is missing.
    """
    client = PinduoduoClient(connection, keys, now_ms)
    grant = {"grant_type": "authorization_code", "code": code}
    redirect = connection.options.get("redirect_uri", "")
    try:
        token = await client.token(grant | ({"redirect_uri": redirect} if redirect else {}))
    finally:
        await client.close()
    keys.keep(token)
    return token


class PinduoduoPuller:
    """Fetches orders: what the feed gives whole is taken from it, the rest is fetched by its number."""

    rules = RULES

    def __init__(self, client: PinduoduoClient, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        self._client = client
        self._now_ms = now_ms

    async def changed(self, window: Window) -> AsyncIterator[list[bytes]]:
        """Return the orders that changed in a window; see `Puller.changed`."""
        for part in windows_of(window, self.rules.window_ms):
            bare: list[str] = []
            async for body in from_last(partial(self._page, part, PAGE_SIZE), PAGE_SIZE):
                orders = orders_of(body)
                whole = [raw for raw, head in orders if "item_list" in head]
                bare.extend(text(head, "order_sn") for _, head in orders if "item_list" not in head)
                if whole and len(whole) == len(orders):
                    yield [body]
                elif whole:
                    yield [as_page(whole)]
            for ids in chunks(bare, PAGE_SIZE):
                yield await fetched(ids, self._whole)

    async def order(self, order_no: str) -> bytes | None:
        """Return one order; see `Puller.order`."""
        try:
            body = await self._client.call(ONE, {"order_sn": order_no}, repeatable=True)
        except PlatformRefused as refused:
            if refused.code in UNKNOWN or any(word in refused.reason for word in UNKNOWN_WORDS):
                return None
            raise
        return body if within(response(body, ONE_ANSWER), "order_info") else None

    async def check(self) -> str:
        """Ask for what changed in the last minutes; see `Puller.check`."""
        now_ms = self._now_ms() - self.rules.margin_ms
        page = await self._page(Window(now_ms - 10 * MINUTE_MS, now_ms), 1, 1)
        return f"Pinduoduo answers: {page.total:,} orders changed in ten minutes; the feed reaches back 90 days"

    async def _whole(self, order_no: str) -> bytes:
        body = await self.order(order_no)
        if body is not None:
            return body
        # It was in the feed a moment ago. As the feed gave it, it stays in sight, and somebody can ask why.
        return as_page([msgspec.Raw(msgspec.json.encode({"order_sn": order_no}))])

    async def _page(self, window: Window, size: int, number: int) -> Page:
        params = {
            "start_updated_at": str(window.start_ms // SECOND_MS),
            "end_updated_at": str(-(-window.end_ms // SECOND_MS)),
            "order_status": ALL,
            "refund_status": ALL,
            "is_lucky_flag": "0",
            "page": str(number),
            "page_size": str(size),
            "use_has_next": "false",
        }
        body = await self._client.call(FEED, params, repeatable=True)
        total = count(response(body, FEED_ANSWER), "total_count")
        if total is None:
            raise PlatformBusy("Pinduoduo answered with a page that does not say how many orders there are")
        return Page(total, len(orders_of(body)), body)


def orders_of(body: bytes) -> list[tuple[msgspec.Raw, Members]]:
    """Return the orders on a page of the feed: exact bytes and members. Numbers alone become bare orders.

    Raises:
        PlatformBusy: one has no number: the page cannot be trusted.
    """
    found: list[tuple[msgspec.Raw, Members]] = []
    for raw in elements(response(body, FEED_ANSWER).get("order_sn_list")):
        head = members(raw) or {"order_sn": raw}
        if not text(head, "order_sn"):
            raise PlatformBusy("Pinduoduo answered with a page on which an order has no number")
        found.append((raw, head))
    return found


def as_page(orders: list[msgspec.Raw]) -> bytes:
    """Return orders in the form in which the feed gives them."""
    return msgspec.json.encode({FEED_ANSWER: {"order_sn_list": orders}})
