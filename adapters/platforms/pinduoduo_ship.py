"""Tell Pinduoduo that a parcel left."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from adapters.platforms.answers import ASK_FIRST, Members, count, elements, members, text, value, within
from adapters.platforms.carriers import platform_code
from adapters.platforms.pinduoduo_client import PinduoduoClient, response
from domain.platforms import OutcomeUnknown, PlatformRefused, ShipNotice

SEND: Final = "pdd.logistics.online.send"
SEND_ANSWER: Final = "logistics_online_send_response"
EXTRA: Final = "pdd.order.upload.extra.logistics"
EXTRA_ANSWER: Final = "upload_extra_logistics_response"
ONE_ANSWER: Final = "order_info_get_response"
FIRST_DELIVERY: Final = "1"
ON_ITS_WAY: Final = frozenset({2, 3})
"""`order_status` from shipping on."""
# [inferred] 1 = the order travels in several parcels.
SEVERAL_PARCELS: Final = "1"
CARRIERS: Final[Mapping[str, str]] = {"SF": "44"}
"""Our code → Pinduoduo's number of the carrier."""
# [inferred] The same, from general knowledge; `pdd.logistics.companies.get` lists them all.
INFERRED_CARRIERS: Final[Mapping[str, str]] = {
    "STO": "1",
    "YTO": "85",
    "ZTO": "115",
    "EMS": "118",
    "JD": "120",
    "YUNDA": "121",
    "DBL": "131",
    "POST": "132",
    "JT": "384",
}
_ALL: Final = {**INFERRED_CARRIERS, **CARRIERS}
_MORE_PARCELS: Final = ("extra_delivery_list", "resend_delivery_list", "gift_delivery_list")


class PinduoduoSeller:
    """Ship notices of one shop. An order is shipped with its first parcel; further ones are told beside it."""

    def __init__(
        self,
        client: PinduoduoClient,
        order: Callable[[str], Awaitable[bytes | None]],
        options: Mapping[str, str],
    ) -> None:
        """`order` fetches a whole order."""
        self._client = client
        self._order = order
        self._options = options

    async def ship(self, notice: ShipNotice) -> str:
        """Tell that a parcel left; see `Seller.ship`.

        Raises:
            PlatformError: see its kinds.
        """
        carrier = platform_code(notice.carrier, _ALL, self._options)
        if not (carrier.isascii() and carrier.isdigit()):
            raise PlatformRefused(
                f"Pinduoduo numbers its carriers, and {carrier!r} is no number",
                f"correct the option carrier.{notice.carrier} of the connection",
                code="unknown-carrier",
            )
        params = {
            "order_sn": notice.order_no,
            "logistics_id": carrier,
            "tracking_number": notice.tracking,
            "redelivery_type": FIRST_DELIVERY,
        }
        try:
            body = await self._client.call(SEND, params, repeatable=False)
            _succeeded(response(body, SEND_ANSWER))
        except PlatformRefused:
            info = await self._info(notice.order_no)
            # Told before, or entered by hand: what the platform knows already is a success.
            if has(info, notice):
                return ""
            if count(info, "order_status") not in ON_ITS_WAY:
                raise
            await self._another(notice, carrier)
        return ""

    async def knows(self, notice: ShipNotice) -> bool:
        """Tell whether the order has this parcel; see `Seller.knows`."""
        return has(await self._info(notice.order_no), notice)

    async def _another(self, notice: ShipNotice, carrier: str) -> None:
        """Tell of a parcel of an order that is on its way already."""
        track = {"shipping_id": int(carrier), "tracking_number": notice.tracking}
        params = {
            "order_sn": notice.order_no,
            "extra_track_type": SEVERAL_PARCELS,
            "extra_track_list": msgspec.json.encode([track]).decode(),
        }
        body = await self._client.call(EXTRA, params, repeatable=False)
        _succeeded(response(body, EXTRA_ANSWER) or response(body, "order_" + EXTRA_ANSWER))

    async def _info(self, order_no: str) -> Members:
        body = await self._order(order_no)
        if body is None:
            raise PlatformRefused(f"Pinduoduo knows no order {order_no} of this shop", code="unknown-order")
        return within(response(body, ONE_ANSWER), "order_info")


def has(info: Members, notice: ShipNotice) -> bool:
    """Tell whether an order has this parcel, as its first or as one more."""
    parcels = [info] + [members(parcel) for name in _MORE_PARCELS for parcel in elements(info.get(name))]
    return notice.tracking.strip() in {text(parcel, "tracking_number").strip() for parcel in parcels} - {""}


def _succeeded(answer: Members) -> None:
    if not answer:
        raise OutcomeUnknown("Pinduoduo answered the ship notice without a result", ASK_FIRST)
    if value(answer, "is_success") is False or value(answer, "success") is False:
        raise PlatformRefused("Pinduoduo did not take the ship notice, and gave no reason", code="not-success")
