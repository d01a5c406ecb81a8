"""Ship notices to Douyin: one parcel with its lines; the platform knows a repeated one by `request_id`."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from adapters.platforms.answers import elements, members, text
from adapters.platforms.carriers import platform_code
from adapters.platforms.douyin_client import DouyinClient, data_of
from adapters.platforms.places import flag
from domain.platforms import PlatformRefused, ShipNotice

ADD: Final = "order.logisticsAddSinglePack"
# [inferred] but for shunfeng; `order.logisticsCompanyList` names them all.
CARRIERS: Final[Mapping[str, str]] = {
    "SF": "shunfeng",
    "EMS": "ems",
    "POST": "youzhengguonei",
    "JD": "jd",
    "YTO": "yuantong",
    "ZTO": "zhongtong",
    "STO": "shentong",
    "YUNDA": "yunda",
    "JT": "jtexpress",
    "DBL": "debangkuaidi",
}


class DouyinSeller:
    """Tells Douyin that parcels left."""

    def __init__(
        self, client: DouyinClient, order: Callable[[str], Awaitable[bytes | None]], options: Mapping[str, str]
    ) -> None:
        """`order` fetches one order; the option `reject_refunds` = true ships although a refund is asked for.

        Raises:
            ValueError: it is neither true nor false.
        """
        self._client = client
        self._order = order
        self._options = options
        self._reject_refunds = flag(options, "reject_refunds", usual=False)

    async def ship(self, notice: ShipNotice) -> str:
        """Tell that a parcel left; see `Seller.ship`."""
        params: dict[str, Any] = {
            "order_id_list": [notice.order_no],
            "logistics_code": notice.tracking,
            "company_code": platform_code(notice.carrier, CARRIERS, self._options),
            "request_id": request_id(notice.key),
        }
        if notice.lines:
            lines = [{"shipped_order_id": line.line, "shipped_num": line.quantity} for line in notice.lines]
            params["shipped_order_info"] = lines
        if self._reject_refunds:
            params["is_reject_refund"] = True
        try:
            # Repeatable: the first success under a request_id is given again.
            body = await self._client.call(ADD, params, repeatable=True)
        except PlatformRefused:
            if await self.knows(notice):
                return ""
            raise
        return text(data_of(body), "pack_id")

    async def knows(self, notice: ShipNotice) -> bool:
        """Tell whether the order has a parcel with this number; see `Seller.knows`."""
        body = await self._order(notice.order_no)
        if body is None:
            return False
        order = members(data_of(body)["shop_order_detail"])
        parcels = [members(parcel) for parcel in elements(order.get("logistics_info"))]
        return any(text(parcel, "tracking_no") == notice.tracking for parcel in parcels)


def request_id(key: str) -> str:
    """Return the idempotency key in a form that any platform takes."""
    return "ship-" + hashlib.sha256(key.encode()).hexdigest()[:32]
