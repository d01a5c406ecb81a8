"""Taobao and Tmall: connect a shop. Options: `app_key`, and where wanted `sign_method` (md5 or hmac), `types`,
`redirect_uri`, `group` and `seller_nick` (see `taobao_socket`), `calls_per_s`. Secret: `app_secret`.
"""  # noqa: D205

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final
from urllib.parse import urlencode

import msgspec

from adapters.platforms.answers import count, elements, members, text, within
from adapters.platforms.connection import Connection, Keys, Token, Wants
from adapters.platforms.fetching import Page, chunks, fetched, from_last, windows_of
from adapters.platforms.places import needed, wall
from adapters.platforms.taobao_client import AUTHORISE_URL, TaobaoClient, response
from adapters.platforms.taobao_ship import TaobaoSeller
from adapters.platforms.taobao_socket import TaobaoListener
from domain.platforms import Platform, PlatformBusy, PlatformRefused, PullRules, Window
from domain.time_units import DAY_MS, MINUTE_MS

FEED: Final = "taobao.trades.sold.increment.get"
TRADE: Final = "taobao.trade.fullinfo.get"
PAGE_SIZE: Final = 50
"""Of the feed; 40 to 50 are advised, 100 is the limit."""
RULES: Final = PullRules(
    # A day is allowed, half an hour advised.
    window_ms=30 * MINUTE_MS,
    margin_ms=3 * MINUTE_MS,
    overlap_ms=5 * MINUTE_MS,
    reach_ms=90 * DAY_MS,
)
FEED_FIELDS: Final = "tid,tid_str,status,modified"
FIELDS: Final = (
    "tid,tid_str,status,type,step_trade_status,step_paid_fee,created,modified,pay_time,consign_time,end_time,"
    "timeout_action_time,est_con_time,title,seller_nick,buyer_nick,buyer_open_uid,buyer_message,buyer_memo,"
    "seller_memo,seller_flag,buyer_rate,seller_rate,shipping_type,trade_from,alipay_no,"
    "total_fee,discount_fee,adjust_fee,post_fee,payment,received_payment,coupon_fee,has_post_fee,point_fee,"
    "real_point_fee,buyer_obtain_point_fee,o2o_step_trade_detail,o2o_voucher_price,"
    "receiver_name,receiver_state,receiver_city,receiver_district,receiver_town,receiver_address,receiver_zip,"
    "receiver_mobile,receiver_phone,oaid,"
    "is_part_consign,is_daixiao,has_yfx,cross_bonded_declare,top_hold,team_buy_hold,forbid_consign,ofp_hold,"
    "orders,promotion_details,service_orders,service_tags"
)
"""All that the channel reads: only the fields that are named come back."""
# [inferred] The answer to a number that the shop does not have.
UNKNOWN: Final = ("isv.trade-not-exist", "isv.invalid-parameter:tid", "isv.order-not-exist")
WANTS: Final = Wants(
    frozenset({"app_key", "sign_method", "types", "redirect_uri", "group", "seller_nick"}),
    frozenset({"app_secret"}),
    frozenset({"app_secret"}),
)


def connect(connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> Platform:
    """Make a shop's connection; see `adapters.platforms.connect`."""
    client = TaobaoClient(connection, keys, now_ms)
    puller = TaobaoPuller(client, connection, now_ms)
    return Platform(
        puller=puller,
        seller=TaobaoSeller(client, puller.order, connection.options),
        listener=TaobaoListener(connection, keys, now_ms),
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
    app_key = needed(connection, "app_key", "the number of your app at open.taobao.com")
    query = {"response_type": "code", "client_id": app_key, "redirect_uri": redirect, "view": "web"}
    return f"{AUTHORISE_URL}?{urlencode(query)}"


async def authorise(connection: Connection, keys: Keys, now_ms: Callable[[], int], code: str) -> Token:
    """Exchange the code that came back for a token, and keep it.

    Raises:
        PlatformError: see its kinds.
        ValueError: an option is missing.
    """
    client = TaobaoClient(connection, keys, now_ms)
    redirect = connection.options.get("redirect_uri", "")
    try:
        token = await client.token({"grant_type": "authorization_code", "code": code, "redirect_uri": redirect})
    finally:
        await client.close()
    keys.keep(token)
    return token


class TaobaoPuller:
    """Fetches trades: the feed names them, each is fetched whole."""

    rules = RULES

    def __init__(self, client: TaobaoClient, connection: Connection, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        self._client = client
        self._types = connection.options.get("types", "")
        self._now_ms = now_ms

    async def changed(self, window: Window) -> AsyncIterator[list[bytes]]:
        """Return the trades that changed in a window; see `Puller.changed`."""
        for part in windows_of(window, self.rules.window_ms):
            # All numbers first, then the trades: reading the pages is quick, so that little moves meanwhile.
            found: list[str] = []
            async for body in from_last(partial(self._page, part, PAGE_SIZE), PAGE_SIZE):
                found.extend(reversed(trades_of(body)))
            for ids in chunks(found, PAGE_SIZE):
                yield await fetched(ids, self._whole)

    async def order(self, order_no: str) -> bytes | None:
        """Return one trade; see `Puller.order`."""
        try:
            body = await self._client.call(TRADE, {"fields": FIELDS, "tid": order_no}, repeatable=True)
        except PlatformRefused as refused:
            if refused.code in UNKNOWN:
                return None
            raise
        return body if within(response(body, "trade_fullinfo_get"), "trade") else None

    async def check(self) -> str:
        """Ask for what changed in the last minutes; see `Puller.check`."""
        now_ms = self._now_ms()
        page = await self._page(Window(now_ms - 10 * MINUTE_MS, now_ms), 1, 1)
        return f"Taobao answers: {page.total:,} trades changed in the last ten minutes; the feed reaches back 90 days"

    async def _whole(self, order_no: str) -> bytes:
        body = await self.order(order_no)
        if body is not None:
            return body
        # It was in the feed a moment ago. A hint keeps it in sight: it is fetched again, or somebody asks why not.
        hint = {"trades_sold_increment_get_response": {"trades": {"trade": [{"tid_str": order_no}]}}}
        return msgspec.json.encode(hint)

    async def _page(self, window: Window, size: int, number: int) -> Page:
        params = {
            "fields": FEED_FIELDS,
            "start_modified": wall(window.start_ms),
            "end_modified": wall(window.end_ms, up=True),
            "page_no": str(number),
            "page_size": str(size),
            "use_has_next": "false",
        }
        if self._types:
            params["type"] = self._types
        body = await self._client.call(FEED, params, repeatable=True)
        total = count(response(body, "trades_sold_increment_get"), "total_results")
        if total is None:
            raise PlatformBusy("Taobao answered with a page that does not say how many trades there are")
        return Page(total, len(trades_of(body)), body)


def trades_of(body: bytes) -> list[str]:
    """Return the numbers of the trades on a page of the feed, as exact text.

    Raises:
        PlatformBusy: one has no number: the page cannot be trusted.
    """
    listed = within(response(body, "trades_sold_increment_get"), "trades")
    found = [text(members(trade), "tid_str", "tid") for trade in elements(listed.get("trade"))]
    if not all(found):
        raise PlatformBusy("Taobao answered with a page on which a trade has no number")
    return found
