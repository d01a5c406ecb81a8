"""Ship notices to Shopify: a fulfillment with its tracking number, for the lines that are open to be fulfilled.

A fulfillment names fulfillment orders, of one location each. So we look first what is open and what this parcel's
number has told already, and tell what is left of it: telling it again tells nothing.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from adapters.platforms.answers import Members, answered, count, elements, members, text, within
from adapters.platforms.carriers import platform_code
from adapters.platforms.places import flag
from adapters.platforms.shopify_client import ShopifyClient
from domain.platforms import PlatformBusy, PlatformRefused, ShipNotice

# [inferred] Shopify makes a link to follow the parcel from a company's name, where it knows it.
CARRIERS: Final[Mapping[str, str]] = {
    "SF": "SF Express",
    "EMS": "China Post EMS",
    "POST": "China Post",
    "JD": "JD Logistics",
    "YTO": "YTO Express",
    "ZTO": "ZTO Express",
    "STO": "STO Express",
    "YUNDA": "Yunda Express",
    "JT": "J&T Express",
    "DBL": "Deppon",
    "DHL": "DHL",
    "UPS": "UPS",
    "FEDEX": "FedEx",
}
OPEN: Final = frozenset({"open", "in_progress"})
"""Statuses of a fulfillment order from which something can be shipped."""
VOID: Final = frozenset({"cancelled", "error", "failure"})
"""Statuses of a fulfillment that never was."""
_NOT_THERE: Final = "404"


class ShopifySeller:
    """Tells Shopify that parcels left."""

    def __init__(self, client: ShopifyClient, options: Mapping[str, str]) -> None:
        """The option `notify_customer` = false keeps Shopify from writing to the customer.

        Raises:
            ValueError: it is neither true nor false.
        """
        self._client = client
        self._options = options
        self._notify = flag(options, "notify_customer", usual=True)

    async def ship(self, notice: ShipNotice) -> str:
        """Tell that a parcel left; see `Seller.ship`."""
        company = platform_code(notice.carrier, CARRIERS, self._options)
        order = await self._order(notice.order_no)
        if order is None:
            raise PlatformRefused(f"Shopify knows no order {notice.order_no[:40]}", code=_NOT_THERE)
        told, reference = told_of(order, notice.tracking)
        left = _wanted(notice) - told if notice.lines else None
        if told and not left:
            return reference
        answer = await self._client.call("GET", f"orders/{notice.order_no}/fulfillment_orders.json", repeatable=True)
        for parts in allocated(answered(answer.body, "Shopify"), left):
            fulfillment = {
                "line_items_by_fulfillment_order": parts,
                "tracking_info": {"number": notice.tracking, "company": company},
                "notify_customer": self._notify,
            }
            sent = await self._client.call(
                "POST", "fulfillments.json", content={"fulfillment": fulfillment}, repeatable=False
            )
            reference = text(within(members(sent.body), "fulfillment"), "id")
        return reference

    async def knows(self, notice: ShipNotice) -> bool:
        """Tell whether the order has all of this parcel; see `Seller.knows`."""
        order = await self._order(notice.order_no)
        if order is None:
            return False
        told, _ = told_of(order, notice.tracking)
        return bool(told) and not _wanted(notice) - told

    async def _order(self, order_no: str) -> Members | None:
        if not is_id(order_no):
            return None
        try:
            answer = await self._client.call("GET", f"orders/{order_no}.json", repeatable=True)
        except PlatformRefused as refused:
            if refused.code == _NOT_THERE:
                return None
            raise
        order = within(answered(answer.body, "Shopify"), "order")
        if not order:
            raise PlatformBusy("Shopify answered with success, and without the order")
        return order


def is_id(order_no: str) -> bool:
    """Tell whether a text can be the number of an order; it becomes part of an address."""
    return order_no.isascii() and order_no.isdigit()


def told_of(order: Members, tracking: str) -> tuple[Counter[str], str]:
    """Return how many units of each line the order's fulfillments with this number hold, and the last one's id."""
    told: Counter[str] = Counter()
    reference = ""
    for each in elements(order.get("fulfillments")):
        fulfillment = members(each)
        numbers = [text({"number": raw}, "number") for raw in elements(fulfillment.get("tracking_numbers"))]
        if text(fulfillment, "status") in VOID or tracking not in (*numbers, text(fulfillment, "tracking_number")):
            continue
        reference = text(fulfillment, "id")
        for raw in elements(fulfillment.get("line_items")):
            line = members(raw)
            told[text(line, "id")] += count(line, "quantity") or 0
    return told, reference


def allocated(found: Members, wanted: Counter[str] | None) -> list[list[dict[str, Any]]]:
    """Return what to fulfil, a list for each location: the lines' units where they are open; None = all that is open.

    Raises:
        PlatformRefused: some units are open nowhere.
    """
    left = Counter(wanted or {})
    by_location: dict[str, list[dict[str, Any]]] = {}
    for each in elements(found.get("fulfillment_orders")):
        order = members(each)
        if text(order, "status") not in OPEN:
            continue
        parts = []
        for raw in elements(order.get("line_items")):
            line = members(raw)
            name = text(line, "line_item_id")
            units = count(line, "fulfillable_quantity") or 0
            if wanted is not None:
                units = min(left[name], units)
                left[name] -= units
            if units > 0:
                parts.append({"id": count(line, "id"), "quantity": units})
        if parts:
            part = {"fulfillment_order_id": count(order, "id"), "fulfillment_order_line_items": parts}
            by_location.setdefault(text(order, "assigned_location_id"), []).append(part)
    if not by_location and not +left:
        raise PlatformRefused("Shopify has nothing open to be fulfilled for this order", code="not-open")
    if +left:
        lines = ", ".join(f"{units} of line {name[:40]}" for name, units in sorted((+left).items()))
        reason = f"Shopify has nothing open to be fulfilled for {lines}"
        raise PlatformRefused(reason, "the units were fulfilled, refunded or put on hold there", code="not-open")
    return list(by_location.values())


def _wanted(notice: ShipNotice) -> Counter[str]:
    wanted: Counter[str] = Counter()
    for line in notice.lines:
        wanted[line.line] += line.quantity
    return wanted
