"""JD (POP merchants): connect a shop.

Options: `app_key`; where wanted `order_states`, `carrier.CODE`, `calls_per_s`. Secret: `app_secret`. Without a
listener: JD's message service is not publicly documented, so orders come by pulling.
"""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final
from urllib.parse import urlencode

from adapters.platforms.answers import count, elements, within
from adapters.platforms.connection import Connection, Keys, Token, Wants
from adapters.platforms.fetching import Page, from_last, windows_of
from adapters.platforms.jd_client import AUTHORISE_URL, JdClient, response
from adapters.platforms.jd_ship import ONE, JdSeller, whole_number
from adapters.platforms.places import needed, wall
from domain.platforms import Platform, PlatformBusy, PlatformRefused, PullRules, Window
from domain.time_units import DAY_MS, MINUTE_MS

SEARCH: Final = "jingdong.pop.order.search"
PAGE_SIZE: Final = 50
"""100 is allowed; older contracts say 50."""
RULES: Final = PullRules(
    # A month is allowed.
    window_ms=DAY_MS,
    margin_ms=3 * MINUTE_MS,
    overlap_ms=10 * MINUTE_MS,
    reach_ms=90 * DAY_MS,
)
FIELDS: Final = (
    "orderId,venderId,orderType,payType,orderTotalPrice,sellerDiscount,orderSellerPrice,orderPayment,freightPrice,"
    "balanceUsed,orderState,orderStateRemark,orderStartTime,orderEndTime,paymentConfirmTime,modified,outBoundDate,"
    "dataVersion,deliveryType,invoiceInfo,invoiceEasyInfo,invoiceCode,vatInfo,orderRemark,venderRemark,pin,openIdBuyer,"
    "orderSource,returnOrder,storeOrder,idSopShipmenttype,waybill,logisticsId,partialLogisticsInfoModel,parentOrderId,"
    "directParentOrderId,consigneeInfo,couponDetailList,itemInfoList"
)
"""All that the channel reads: only the fields that are named come back."""
# [inferred] Which states the search takes is a matter of contract: the option `order_states` replaces this list.
STATES: Final = (
    "NOT_PAY,WAIT_SELLER_STOCK_OUT,WAIT_SELLER_DELIVERY,WAIT_GOODS_RECEIVE_CONFIRM,SEND_TO_DISTRIBUTION_CENER,"
    "DISTRIBUTION_CENTER_RECEIVED,RECEIPTS_CONFIRM,FINISHED_L,TRADE_CANCELED,LOCKED,PAUSE,POP_ORDER_PAUSE,"
    "WAIT_SEND_CODE,DELIVERY_RETURN"
)
NEWEST_FIRST: Final = "1"
# [inferred] Any `dateType` but 1 (creation) means modification.
BY_MODIFICATION: Final = "0"
# [inferred] The words for a number that the shop does not have.
UNKNOWN_WORDS: Final = ("订单不存在", "not exist")
WANTS: Final = Wants(
    frozenset({"app_key", "order_states", "redirect_uri"}), frozenset({"app_secret"}), frozenset({"app_secret"})
)


def connect(connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> Platform:
    """Make a shop's connection; see `adapters.platforms.connect`."""
    client = JdClient(connection, keys, now_ms)
    puller = JdPuller(client, connection, now_ms)
    return Platform(puller=puller, seller=JdSeller(client, puller.order, connection.options), close=client.close)


def wants(_: Connection) -> Wants:
    """Return what is read of a connection; see `adapters.platforms.wants`."""
    return WANTS


def authorise_url(connection: Connection, redirect: str) -> str:
    """Return where the shop's owner lets us in; the platform then sends the browser to `redirect?code=…`.

    Raises:
        ValueError: an option is missing.
    """
    app_key = needed(connection, "app_key", "the key of your app at open.jd.com")
    query = {
        "app_key": app_key,
        "response_type": "code",
        "redirect_uri": redirect,
        "state": connection.name,
        "scope": "snsapi_base",
    }
    return f"{AUTHORISE_URL}?{urlencode(query)}"


async def authorise(connection: Connection, keys: Keys, now_ms: Callable[[], int], code: str) -> Token:
    """Exchange the code that came back for a token, and keep it.

    Raises:
        PlatformError: see its kinds.
        ValueError: an option is missing.
    """
    client = JdClient(connection, keys, now_ms)
    try:
        token = await client.token("access_token", {"grant_type": "authorization_code", "code": code})
    finally:
        await client.close()
    keys.keep(token)
    return token


class JdPuller:
    """Fetches orders: the search gives them whole."""

    rules = RULES

    def __init__(self, client: JdClient, connection: Connection, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        self._client = client
        self._states = connection.options.get("order_states") or STATES
        self._now_ms = now_ms

    async def changed(self, window: Window) -> AsyncIterator[list[bytes]]:
        """Return the orders that changed in a window; see `Puller.changed`."""
        for part in windows_of(window, self.rules.window_ms):
            async for body in from_last(partial(self._page, part, PAGE_SIZE), PAGE_SIZE):
                yield [body]

    async def order(self, order_no: str) -> bytes | None:
        """Return one order; see `Puller.order`."""
        try:
            body = await self._client.call(
                ONE, {"order_id": whole_number(order_no), "optional_fields": FIELDS}, repeatable=True
            )
        except PlatformRefused as refused:
            if any(word in refused.reason for word in UNKNOWN_WORDS):
                return None
            raise
        return body if within(response(body, ONE), "orderDetailInfo", "orderInfo") else None

    async def check(self) -> str:
        """Ask for what changed in the last minutes; see `Puller.check`."""
        now_ms = self._now_ms()
        page = await self._page(Window(now_ms - 10 * MINUTE_MS, now_ms), 1, 1)
        return f"JD answers: {page.total:,} orders changed in the last ten minutes; the feed reaches back 90 days"

    async def _page(self, window: Window, size: int, page_no: int) -> Page:
        asked = {
            "start_date": wall(window.start_ms),
            "end_date": wall(window.end_ms, up=True),
            "order_state": self._states,
            "optional_fields": FIELDS,
            "page": str(page_no),
            "page_size": str(size),
            "sortType": NEWEST_FIRST,
            "dateType": BY_MODIFICATION,
        }
        body = await self._client.call(SEARCH, asked, repeatable=True)
        found = within(response(body, SEARCH), "searchorderinfo_result")
        total = count(found, "orderTotal")
        if total is None:
            raise PlatformBusy("JD answered with a page that does not say how many orders there are")
        return Page(total, len(elements(found.get("orderInfoList"))), body)
