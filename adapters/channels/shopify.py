"""Shopify orders, as webhooks and `orders.json` give them.

One slice is one bare order: webhooks about orders bring it whole. Those about refunds, fulfillments and payments name
it only, so they are hints. Times are ISO 8601 with an offset, amounts decimal texts in the shop's currency.
"""

import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from adapters.channels.json_fields import decode, id_of, split_list, split_object, why_unreadable
from adapters.channels.shopify_fields import ORDER
from adapters.channels.shopify_order import NAME, translate
from domain.canonical import Translated, TranslationError
from domain.ids import BadId, checked_part
from domain.mapping_table import AS_THE_PLATFORM, Payment, Times
from domain.ports import Aside, Sliced

_NESTED_MAX: Final = 3
_DOMAIN: Final = ".myshopify.com"
_GID: Final = re.compile(rb'^"gid://shopify/Order/(\d+)"$')
_LOOKS: Final = re.compile(
    rb'"gid://shopify/|"financial_status"\s*:|"refund_line_items"\s*:|"line_items_by_fulfillment_order"\s*:'
    rb'|"tracking_company"\s*:'
)
_PARTS: Final = ("order", "orders", "refund", "refunds", "fulfillment", "fulfillments", "transaction", "transactions")


class Shopify:
    """The channel.

    `merchant_zone` is the zone of the people who read times, `zone` that of text without one. With `manual_capture` an
    authorized payment counts as paid: the merchant takes the money when the goods leave.
    """

    name = NAME
    harmless = ORDER.harmless_paths()

    def __init__(
        self,
        merchant_zone: str = "Asia/Shanghai",
        zone: str = "+00:00",
        times: Times = AS_THE_PLATFORM,
        *,
        manual_capture: bool = False,
    ) -> None:
        self._zones = merchant_zone, zone
        self._written = times
        self._times = times.reader(zone, merchant_zone)
        self._manual_capture = manual_capture

    def with_times(self, times: Times) -> "Shopify":
        """Return the same channel, reading times as a mapping says."""
        return Shopify(*self._zones, times, manual_capture=self._manual_capture)

    def with_payment(self, payment: Payment) -> "Shopify":
        """Return the same channel, with or without manual capture as a mapping says."""
        return Shopify(*self._zones, self._written, manual_capture=bool(payment.manual_capture))

    def sniff(self, raw: bytes) -> bool:
        """Tell whether these bytes look like Shopify's."""
        return _LOOKS.search(raw) is not None

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        """Cut a webhook's body, an answer, a page or an array of them into orders."""
        return _cut(raw, shop, 0)

    def translate(self, raw: bytes, shop: str) -> Translated:
        """Turn one order into the canonical order."""
        return translate(
            raw, shop or _domain(split_object(raw) or {}), self._times, manual_capture=self._manual_capture
        )


def channel(merchant_zone: str) -> Shopify:
    """Make the channel for a merchant."""
    return Shopify(merchant_zone)


def _cut(raw: bytes, shop: str, depth: int) -> list[Sliced | Aside]:
    body = raw.removeprefix(b"\xef\xbb\xbf")
    if depth > _NESTED_MAX:
        return [Aside("refused", "nested too deeply to be an answer of Shopify", raw)]
    members = split_object(body)
    if members is None:
        elements = split_list(body)
        if elements is None:
            return [Aside("refused", why_unreadable(body), raw)]
        if not elements:
            return [Aside("ignored", "an empty page: nothing to take in", raw)]
        return [found for element in elements for found in _cut(bytes(element), shop, depth + 1)]
    if "errors" in members or "error" in members:
        said = bytes(members.get("errors", members.get("error", b"")))[:200].decode(errors="replace")
        return [Aside("refused", f"Shopify answered with an error: {said}", raw)]
    if "line_items" in members and "order_id" not in members:
        return [_order(body, members, shop)]
    if "order_id" in members:
        return [_about(members, raw, shop)]
    if "line_items_by_fulfillment_order" in members:
        return [Aside("refused", "a request to Shopify, not an answer from it: send the answer", raw)]
    for name in _PARTS:
        if name in members:
            return _cut(bytes(members[name]), shop, depth + 1)
    gid = _GID.match(bytes(members.get("admin_graphql_api_id", b"")))
    if gid is not None or ("id" in members and "financial_status" in members):
        return [_part_of_order(members, raw, shop)]
    if "data" in members:
        return [Aside("refused", "an answer of the GraphQL interface: send the orders as orders.json gives them", raw)]
    names = ", ".join(list(members)[:5])[:100]
    return [Aside("refused", f"not an answer of Shopify that is known here (its fields: {names})", raw)]


def _order(raw: bytes, members: dict[str, msgspec.Raw], shop: str) -> Sliced | Aside:
    """Tell whose an order is."""
    try:
        number = id_of(_member(members, "id"), "id")
        shop = shop or _domain(members)
        checked_part(shop, "shop")
        checked_part(number, "order id")
        ORDER.refuse_repeated_names(raw)
    except (BadId, TranslationError) as error:
        return Aside("refused", f"{error}{'' if shop.strip() else ' (name the shop)'}", raw)
    return Sliced(shop, number, raw)


def _part_of_order(members: dict[str, msgspec.Raw], raw: bytes, shop: str) -> Aside:
    """Tell which order a part of its fields is of."""
    try:
        number = checked_part(id_of(_member(members, "id"), "id"), "order id")
    except (BadId, TranslationError) as error:
        return Aside("refused", str(error), raw)
    shop = shop or _domain(members)
    return Aside("hint", f"order {number} without its lines: fetch it whole", raw, shop, number)


def _about(members: dict[str, msgspec.Raw], raw: bytes, shop: str) -> Aside:
    """Tell which order a refund, a fulfillment or a payment is of: what it did to it stands in the order."""
    try:
        number = checked_part(id_of(_member(members, "order_id"), "order_id"), "order_id")
    except (BadId, TranslationError) as error:
        return Aside("refused", str(error), raw)
    what = "refund" if "refund_line_items" in members else "fulfillment" if "line_items" in members else "change"
    return Aside("hint", f"{what} of order {number}: fetch it", raw, shop, number)


def _domain(members: dict[str, msgspec.Raw]) -> str:
    """Return the shop's own domain where the order names it; a domain of the merchant's may change, and is not it."""
    try:
        url = _member(members, "order_status_url")
        host = urlsplit(url).hostname if isinstance(url, str) else None
    except (TranslationError, ValueError):
        return ""
    return host if host is not None and host.endswith(_DOMAIN) else ""


def _member(members: dict[str, msgspec.Raw], name: str) -> Any:
    return decode(members[name]) if name in members else None
