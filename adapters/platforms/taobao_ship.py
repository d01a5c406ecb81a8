"""Tell Taobao that a parcel left."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from adapters.platforms.answers import ASK_FIRST, Members, elements, members, text, value, within
from adapters.platforms.carriers import platform_code
from adapters.platforms.taobao_client import TaobaoClient, response
from domain.platforms import OutcomeUnknown, PlatformRefused, ShipNotice

SEND: Final = "taobao.logistics.online.send"
CARRIERS: Final[Mapping[str, str]] = {"SF": "SF", "POST": "POST"}
"""Our code → Taobao's `company_code`."""
# [inferred] The same, from general knowledge; `taobao.logistics.companies.get` lists them all.
INFERRED_CARRIERS: Final[Mapping[str, str]] = {
    "EMS": "EMS",
    "YTO": "YTO",
    "ZTO": "ZTO",
    "STO": "STO",
    "YUNDA": "YUNDA",
    "JD": "JDKD",
    "JT": "HTKY",
    "DBL": "DBKD",
}
_ALL: Final = {**INFERRED_CARRIERS, **CARRIERS}
CLOSED: Final = frozenset({"TRADE_CLOSED", "TRADE_CLOSED_BY_TAOBAO"})


class TaobaoSeller:
    """Ship notices of one shop."""

    def __init__(
        self,
        client: TaobaoClient,
        order: Callable[[str], Awaitable[bytes | None]],
        options: Mapping[str, str],
    ) -> None:
        """`order` fetches a whole trade."""
        self._client = client
        self._order = order
        self._options = options

    async def ship(self, notice: ShipNotice) -> str:
        """Tell that a parcel left; see `Seller.ship`."""
        company = platform_code(notice.carrier, _ALL, self._options)
        lines = await self._lines(notice.order_no)
        if has(lines, notice):
            return ""
        params = {"tid": notice.order_no, "out_sid": notice.tracking, "company_code": company}
        parcel = [line.line for line in notice.lines]
        if not {text(line, "oid") for line in lines if not closed(line)} <= set(parcel):
            # The platform ships the whole trade unless it is told which lines; some may have left before.
            params |= {"is_split": "1", "sub_tid": ",".join(dict.fromkeys(parcel))}
        else:
            params["is_split"] = "0"
        try:
            body = await self._client.call(SEND, params, repeatable=False)
        except PlatformRefused:
            # Somebody may have entered the same parcel by hand: what the platform knows already is a success.
            if await self.knows(notice):
                return ""
            raise
        taken = response(body, "logistics_online_send")
        if not taken:
            raise OutcomeUnknown("Taobao answered the ship notice without a result", ASK_FIRST)
        if value(within(taken, "shipping"), "is_success") is False:
            raise PlatformRefused("Taobao did not take the ship notice, and gave no reason", code="not-success")
        return ""

    async def knows(self, notice: ShipNotice) -> bool:
        """Tell whether the trade has this parcel; see `Seller.knows`."""
        return has(await self._lines(notice.order_no), notice)

    async def _lines(self, order_no: str) -> list[Members]:
        body = await self._order(order_no)
        if body is None:
            raise PlatformRefused(f"Taobao knows no trade {order_no} of this shop", code="unknown-order")
        trade = within(response(body, "trade_fullinfo_get"), "trade")
        return [members(line) for line in elements(within(trade, "orders").get("order"))]


def has(lines: list[Members], notice: ShipNotice) -> bool:
    """Tell whether the notice's lines carry its waybill (any line, where the notice names none of them)."""
    parcel = {line.line for line in notice.lines}
    ours = [line for line in lines if text(line, "oid") in parcel] or lines
    return notice.tracking.strip() in {text(line, "invoice_no").strip() for line in ours} - {""}


def closed(line: Members) -> bool:
    """Tell whether a line will never leave."""
    return text(line, "status") in CLOSED
