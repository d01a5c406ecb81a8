"""Parcels of a mini-program's orders, told to WeChat's shipping management.

Every call is for a payment, named by merchant account and order number. We look at it first: it tells who paid, which
WeChat wants to hear again, and which parcels it knows.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from adapters.platforms.answers import Members, answered, elements, members, text, within
from adapters.platforms.carriers import platform_code
from adapters.platforms.wechat_client import WechatClient
from domain.platforms import PlatformRefused, ShipNotice

GET: Final = "/wxa/sec/order/get_order"
UPLOAD: Final = "/wxa/sec/order/upload_shipping_info"
BY_ORDER_NO: Final = 1
"""`order_number_type`: merchant account and the merchant's own order number."""
EXPRESS: Final = 1
"""`logistics_type`."""
UNIFIED, SPLIT = 1, 2
"""`delivery_mode`: one parcel for the whole order, or several."""
DESCRIPTION_MAX: Final = 120
CONTACT_FOR: Final = "SF"
"""Its parcels are told only with somebody's telephone."""
# [inferred] from public clients: no such payment (or not yet: it may take a minute); nothing new was told.
UNKNOWN_PAYMENT: Final = "10060001"
NOTHING_NEW: Final = "10060023"
# [inferred] but for SF; WeChat's own list is at /cgi-bin/express/delivery/open_msg/get_delivery_list.
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
_CHINA: Final = timedelta(hours=8)


class MiniProgramSeller:
    """Tells WeChat that parcels left."""

    def __init__(
        self, client: WechatClient, merchant: str, options: Mapping[str, str], now_ms: Callable[[], int]
    ) -> None:
        """`merchant` is the merchant account at WeChat Pay."""
        self._client = client
        self._merchant = merchant
        self._options = options
        self._now_ms = now_ms
        self._turn = asyncio.Lock()

    async def ship(self, notice: ShipNotice) -> str:
        """Tell that a parcel left; see `Seller.ship`."""
        # In turn: whether a parcel is the only one is told by those before it, and WeChat takes no two at once.
        async with self._turn:
            return await self._ship(notice)

    async def _ship(self, notice: ShipNotice) -> str:
        parcel = {
            "tracking_no": notice.tracking,
            "express_company": platform_code(notice.carrier, CARRIERS, self._options),
            "item_desc": description(notice),
            **self._contact(notice),
        }
        payment = await self._payment(notice.order_no)
        if payment is None:
            reason = f"WeChat knows no payment of order {notice.order_no[:40]}"
            raise PlatformRefused(reason, "was it paid with WeChat Pay, to this mchid?", code=UNKNOWN_PAYMENT)
        parcels = parcels_of(payment)
        if notice.tracking in parcels:
            return text(payment, "transaction_id")
        whole = notice.whole and not parcels
        asked: dict[str, Any] = {
            "order_key": {
                "order_number_type": BY_ORDER_NO,
                "mchid": self._merchant,
                "out_trade_no": notice.order_no,
            },
            "logistics_type": EXPRESS,
            "delivery_mode": UNIFIED if whole else SPLIT,
            "is_all_delivered": notice.whole,
            "shipping_list": [parcel],
            "upload_time": rfc3339(self._now_ms()),
            "payer": {"openid": text(payment, "openid")},
        }
        try:
            await self._client.call(UPLOAD, asked, repeatable=False)
        except PlatformRefused as refused:
            if refused.code != NOTHING_NEW and not await self.knows(notice):
                raise
        return text(payment, "transaction_id")

    async def knows(self, notice: ShipNotice) -> bool:
        """Tell whether WeChat has this parcel on the payment; see `Seller.knows`."""
        payment = await self._payment(notice.order_no)
        return payment is not None and notice.tracking in parcels_of(payment)

    async def _payment(self, order_no: str) -> Members | None:
        # Other names than in the call above; so it is.
        asked = {"merchant_id": self._merchant, "merchant_trade_no": order_no}
        try:
            body = await self._client.call(GET, asked, repeatable=True)
        except PlatformRefused as refused:
            if refused.code == UNKNOWN_PAYMENT:
                return None
            raise
        return within(answered(body, "WeChat"), "order") or None

    def _contact(self, notice: ShipNotice) -> dict[str, Any]:
        sender = self._options.get("consignor_contact", "")
        if sender:
            return {"contact": {"consignor_contact": sender}}
        if notice.carrier != CONTACT_FOR:
            return {}
        raise PlatformRefused(
            "WeChat takes parcels of SF only with a telephone",
            "add the option consignor_contact to the connection: the sender's, masked but for the last four digits",
            code="contact-missing",
        )


def parcels_of(payment: Members) -> list[str]:
    """Return the tracking numbers that WeChat knows of a payment."""
    shipping = within(payment, "shipping")
    return [text(members(parcel), "tracking_no") for parcel in elements(shipping.get("shipping_list"))]


def description(notice: ShipNotice) -> str:
    """Return what is in the parcel, for people: "name*units" of each line, cut to what WeChat takes."""
    told = ";".join(f"{line.name or line.sku or line.line}*{line.quantity}" for line in notice.lines) or notice.order_no
    return told if len(told) <= DESCRIPTION_MAX else told[: DESCRIPTION_MAX - 1] + "…"


def rfc3339(ms: int) -> str:
    """Return UTC ms as WeChat wants it: RFC 3339 with milliseconds, at UTC+8. The later call counts."""
    local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms) + _CHINA
    return local.replace(tzinfo=None).isoformat(timespec="milliseconds") + "+08:00"
