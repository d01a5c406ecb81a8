"""WeChat shop (微信小店): connect a shop.

Options: `app_id`; where wanted `calls_per_s`, `carrier.CODE`. Secrets: `app_secret`; for pushes `token` and
`encoding_aes_key`, both as entered in the shop's settings for pushed messages ("safe mode", JSON or XML).
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from adapters.platforms.answers import answered, elements, members, text, value, within
from adapters.platforms.carriers import platform_code
from adapters.platforms.connection import Connection, Keys, Wants
from adapters.platforms.fetching import PAGES_MAX, chunks, fetched, windows_of
from adapters.platforms.wechat_client import WechatClient
from adapters.platforms.wechat_shop_push import WechatShopReceiver
from domain.platforms import Platform, PlatformBusy, PlatformRefused, PullRules, ShipNotice, ShippedLine, Window
from domain.time_units import DAY_MS, MINUTE_MS, SECOND_MS

LIST: Final = "/channels/ec/order/list/get"
ORDER: Final = "/channels/ec/order/get"
SEND: Final = "/channels/ec/order/delivery/send"
PAGE_SIZE: Final = 100
RULES: Final = PullRules(
    # Seven days are allowed; a day keeps what is repeated after an error small.
    window_ms=DAY_MS,
    margin_ms=MINUTE_MS,
    overlap_ms=5 * MINUTE_MS,
    # [inferred] No limit is told.
    reach_ms=90 * DAY_MS,
)
NARROW: Final = "31042"
"""Too many orders in the window: it is to be made narrower."""
# [inferred] What WeChat says to a number that the shop does not have: no code of ours is published, the words vary.
UNKNOWN_ORDER: Final = ("订单不存在", "order not exist", "order not found")
EXPRESS: Final = 1
"""`deliver_type`: the merchant's own courier."""
# [inferred] but for SF; the shop's own list is at /channels/ec/order/deliverycompanylist/get.
CARRIERS: Final[Mapping[str, str]] = {
    "SF": "SF",
    "EMS": "EMS",
    "POST": "YZPY",
    "JD": "JD",
    "YTO": "YTO",
    "ZTO": "ZTO",
    "STO": "STO",
    "YUNDA": "YD",
    "JT": "JTSD",
    "DBL": "DBL",
}
WANTS: Final = Wants(
    frozenset({"app_id"}), frozenset({"app_secret", "token", "encoding_aes_key"}), frozenset({"app_secret"})
)


def connect(connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> Platform:
    """Make a shop's connection; see `adapters.platforms.connect`."""
    client = WechatClient(connection, keys, now_ms)
    puller = WechatShopPuller(client, now_ms)
    return Platform(
        puller=puller,
        seller=WechatShopSeller(client, puller, connection.options),
        receiver=WechatShopReceiver(
            client.app_id, lambda: keys.secret("token"), lambda: keys.secret("encoding_aes_key")
        ),
        close=client.close,
    )


def wants(_: Connection) -> Wants:
    """Return what is read of a connection; see `adapters.platforms.wants`."""
    return WANTS


class WechatShopPuller:
    """Fetches orders: the feed names them, each is fetched whole."""

    rules = RULES

    def __init__(self, client: WechatClient, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        self._client = client
        self._now_ms = now_ms

    async def changed(self, window: Window) -> AsyncIterator[list[bytes]]:
        """Return the orders that changed in a window; see `Puller.changed`."""
        for part in windows_of(window, self.rules.window_ms):
            # All numbers first, then the orders: reading the pages is quick, so that little moves meanwhile.
            numbers = await self._numbers(part.start_ms // SECOND_MS, -(-part.end_ms // SECOND_MS))
            for some in chunks(numbers, PAGE_SIZE):
                yield await fetched(some, self._whole)

    async def order(self, order_no: str) -> bytes | None:
        """Return one order; see `Puller.order`."""
        try:
            body = await self._client.call(ORDER, {"order_id": order_no}, repeatable=True)
        except PlatformRefused as refused:
            if any(words in refused.reason.lower() for words in UNKNOWN_ORDER):
                return None
            raise
        return body if within(answered(body, "WeChat"), "order") else None

    async def check(self) -> str:
        """Ask for what changed in the last minutes; see `Puller.check`."""
        now_s = self._now_ms() // SECOND_MS
        numbers = await self._numbers(now_s - 600, now_s)
        return f"WeChat answers: {len(numbers):,} orders changed in the last ten minutes"

    async def _numbers(self, start_s: int, end_s: int) -> list[str]:
        """Return the numbers of the orders that changed; narrower windows where WeChat asks for them."""
        found: list[str] = []
        spans = [(start_s, end_s)]
        while spans:
            start, end = spans.pop()
            try:
                found += await self._listed(start, end)
            except PlatformRefused as refused:
                if refused.code != NARROW or end - start <= 1:
                    raise
                middle = (start + end) // 2
                spans += [(middle, end), (start, middle)]
        return found

    async def _listed(self, start_s: int, end_s: int) -> list[str]:
        asked: dict[str, Any] = {
            "update_time_range": {"start_time": start_s, "end_time": end_s},
            "page_size": PAGE_SIZE,
        }
        found: list[str] = []
        seen = {""}
        for _ in range(PAGES_MAX):
            page = answered(await self._client.call(LIST, asked, repeatable=True), "WeChat")
            for element in elements(page.get("order_id_list")):
                number = text({"order_id": element}, "order_id")
                if not number:
                    raise PlatformBusy("WeChat answered with a page on which an order has no number")
                found.append(number)
            if value(page, "has_more") is not True:
                return found
            following = text(page, "next_key")
            if following in seen:
                break
            seen.add(following)
            # Window and page size stay as they were: WeChat refuses a cursor of another question.
            asked["next_key"] = following
        raise PlatformBusy("WeChat goes on giving pages of one window", "pull less at once")

    async def _whole(self, order_no: str) -> bytes:
        body = await self.order(order_no)
        # It was in the feed a moment ago. A hint keeps it in sight: it is fetched again, or somebody asks why not.
        return json.dumps({"order_id_list": [order_no]}).encode() if body is None else body


class WechatShopSeller:
    """Tells WeChat that parcels left."""

    def __init__(self, client: WechatClient, puller: WechatShopPuller, options: Mapping[str, str]) -> None:
        """Nothing is sent yet."""
        self._client = client
        self._puller = puller
        self._options = options

    async def ship(self, notice: ShipNotice) -> str:
        """Tell that a parcel left; see `Seller.ship`."""
        parcel = {
            "deliver_type": EXPRESS,
            "delivery_id": platform_code(notice.carrier, CARRIERS, self._options),
            "waybill_id": notice.tracking,
            "product_infos": [_product(line) for line in notice.lines],
        }
        asked = {"order_id": notice.order_no, "delivery_list": [parcel]}
        try:
            await self._client.call(SEND, asked, repeatable=False)
        except PlatformRefused:
            # "Has been delivered" (109001) is said of a parcel that is told twice, and of one not known there, too.
            if not await self.knows(notice):
                raise
        return ""

    async def knows(self, notice: ShipNotice) -> bool:
        """Tell whether the order has a parcel with this number; see `Seller.knows`."""
        body = await self._puller.order(notice.order_no)
        if body is None:
            return False
        delivery = within(answered(body, "WeChat"), "order", "order_detail", "delivery_info")
        parcels = [members(parcel) for parcel in elements(delivery.get("delivery_product_info"))]
        return any(text(parcel, "waybill_id") == notice.tracking for parcel in parcels)


def _product(line: ShippedLine) -> dict[str, Any]:
    """Return a line as WeChat names it: the channel's item is product and SKU."""
    product, _, sku = (line.item or line.line.partition("#")[0]).partition("/")
    return {"product_id": product, "sku_id": sku, "product_cnt": line.quantity}
