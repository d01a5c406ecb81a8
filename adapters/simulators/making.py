"""Makes orders: one call for an order at any moment of its life, on any platform."""

from typing import Any, Final

import msgspec

from adapters.simulators.numbers import order_no
from adapters.simulators.orders import SimLine, SimOrder, SimParcel, SimPerson
from domain.canonical import Status

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000

BUYER: Final = SimPerson("buyer-1", "王小明", "13800138821", "浙江省", "杭州市", "西湖区", "转塘街道望江路1号")
BUYER_ABROAD: Final = SimPerson(
    "buyer-2", "Sam Doe", "+1-555-625-1199", "Kentucky", "Louisville", "", "92 Chestnut Street", "40202"
)
LINES: Final = (
    SimLine("DRL-18V-01", 2, 32_900, "充电电钻 18V", 6_000),
    SimLine("BIT-HSS-13", 3, 5_900, "高速钢钻头 13 件套"),
)
GIFT: Final = SimLine("GFT-TAPE-5", 1, 990, "卷尺 5m", gift=True)
_REACHED: Final[dict[Status, int]] = {
    "awaiting_payment": 0,
    "paid": 1,
    "allocating": 2,
    "shipped": 3,
    "completed": 4,
    "cancelled": 0,
}


def an_order(channel: str, seq: int, at_ms: int, status: Status = "paid", **fields: Any) -> SimOrder:
    """Return an order of a platform that was ordered at `at_ms` and has come as far as `status`.

    Paid after a minute, shipped after an hour, completed after three days; a cancelled one was never paid. Whatever
    `fields` names is as it says there.
    """
    reached = _REACHED[status]
    lines: tuple[SimLine, ...] = fields.pop("lines", LINES if channel != "pinduoduo" else LINES[:1])
    buyer = BUYER_ABROAD if channel == "shopify" else BUYER
    times = {
        "paid_ms": at_ms + MINUTE_MS if reached > 0 else 0,
        "shipped_ms": at_ms + HOUR_MS if reached > 2 else 0,  # noqa: PLR2004 - places in the table above
        "ended_ms": at_ms + 72 * HOUR_MS
        if status == "completed"
        else at_ms + 24 * HOUR_MS
        if status == "cancelled"
        else 0,
    }
    parcels: tuple[SimParcel, ...] = ()
    left_ms = at_ms + HOUR_MS
    if status == "allocating":
        lines = (msgspec.structs.replace(lines[0], shipped=True), *lines[1:])
        parcels = (SimParcel("SF", f"SF{seq:013d}", left_ms, (0,)),)
    elif reached > 2:  # noqa: PLR2004
        lines = tuple(msgspec.structs.replace(line, shipped=True) for line in lines)
        parcels = (SimParcel("UPS" if channel == "shopify" else "SF", f"SF{seq:013d}", left_ms),)
    known: dict[str, Any] = {
        "order_no": order_no(channel, seq, at_ms),
        "status": status,
        "lines": lines,
        "buyer": buyer,
        "ordered_ms": at_ms,
        "pay_by_ms": at_ms + 30 * MINUTE_MS if status == "awaiting_payment" else 0,
        "freight_fen": 600,
        "parcels": parcels,
        "currency": "USD" if channel == "shopify" else "CNY",
        **times,
    }
    known["modified_ms"] = max(at_ms, left_ms if status == "allocating" else 0, *times.values())
    return SimOrder(**(known | fields))
