"""Tell JD that a parcel left."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from adapters.platforms.answers import elements, members, text, within
from adapters.platforms.carriers import platform_code
from adapters.platforms.jd_client import JdClient, response
from domain.platforms import PlatformRefused, ShipNotice

SHIPMENT: Final = "jingdong.pop.order.shipment"
PARTIAL: Final = "jingdong.pop.order.partial.outship"
ONE: Final = "jingdong.pop.order.get"
CARRIERS: Final[Mapping[str, str]] = {"SF": "467"}
"""Our code → JD's number of the carrier."""
# [inferred] The same, from general knowledge; `jingdong.get.vender.carrier` lists those of the shop.
INFERRED_CARRIERS: Final[Mapping[str, str]] = {
    "JD": "2087",
    "EMS": "465",
    "POST": "2170",
    "YTO": "463",
    "ZTO": "1499",
    "STO": "470",
    "YUNDA": "1327",
    "DBL": "3046",
    "JT": "773574",
}
_ALL: Final = {**INFERRED_CARRIERS, **CARRIERS}
_BETWEEN_WAYBILLS: Final = re.compile(r"[|,]")


class JdSeller:
    """Ship notices of one shop."""

    def __init__(
        self,
        client: JdClient,
        order: Callable[[str], Awaitable[bytes | None]],
        options: Mapping[str, str],
    ) -> None:
        """`order` fetches a whole order."""
        self._client = client
        self._order = order
        self._options = options

    async def ship(self, notice: ShipNotice) -> str:
        """Tell that a parcel left; see `Seller.ship`."""
        carrier = platform_code(notice.carrier, _ALL, self._options)
        # A second ordinary notice is refused, but a parcel among several might be taken twice.
        if not notice.whole and await self.knows(notice):
            return ""
        try:
            # The ordinary notice ends the order: where more parcels follow, only the other one fits.
            if notice.whole:
                await self._client.call(SHIPMENT, shipment(notice, carrier), repeatable=False)
            else:
                await self._client.call(PARTIAL, partial(notice, carrier), repeatable=False)
        except PlatformRefused:
            # Told before, or entered by hand: what the platform knows already is a success.
            if await self.knows(notice):
                return ""
            raise
        return ""

    async def knows(self, notice: ShipNotice) -> bool:
        """Tell whether the order has this parcel; see `Seller.knows`."""
        body = await self._order(notice.order_no)
        if body is None:
            raise PlatformRefused(f"JD knows no order {notice.order_no} of this shop", code="unknown-order")
        info = within(response(body, ONE), "orderDetailInfo", "orderInfo")
        # Carriers are joined by "|", several parcels of one by ",".
        waybills = set(_BETWEEN_WAYBILLS.split(text(info, "waybill")))
        waybills |= {text(members(parcel), "waybillId") for parcel in elements(info.get("partialLogisticsInfoModel"))}
        return notice.tracking.strip() in {waybill.strip() for waybill in waybills} - {""}


def shipment(notice: ShipNotice, carrier: str) -> dict[str, Any]:
    """Return the notice that ends an order."""
    return {
        "orderId": whole_number(notice.order_no),
        # Sic.
        "logiCoprId": whole_number(carrier),
        "logiNo": notice.tracking,
        "installId": "",
    }


def partial(notice: ShipNotice, carrier: str) -> dict[str, Any]:
    """Return the notice after which more parcels follow.

    [inferred] The names are those of the platform's published Java classes, except in the list of goods.
    """
    goods = [{"skuId": whole_number(line.item or line.line), "num": line.quantity} for line in notice.lines]
    parcel = {
        "deliveryId": whole_number(carrier),
        "deliveryNums": [notice.tracking],
        "partialShipmentGoodsList": goods,
    }
    order = {"orderIds": [whole_number(notice.order_no)], "deliveryNumberDtoList": [parcel]}
    return {"request": {"data": [order]}}


def whole_number(text_of_it: str) -> int | str:
    """Return a number as JD takes it in JSON: a whole number where it is one and stays exactly the same."""
    plain = text_of_it.isascii() and text_of_it.isdigit()
    return int(text_of_it) if plain and str(int(text_of_it)) == text_of_it else text_of_it
