"""An ERP's twelve standard fields, and how an order's lines become rows of them.

An ERP of the usual kind knows twelve fields and cuts off what is longer than they are. Nothing is cut here: what does
not fit is refused with the field's name, so that a person sees it. Amounts are decimals of the order's currency.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from domain.money import format_minor
from domain.platforms import PlatformRefused

FIELDS: Final = (
    "order_no",
    "channel",
    "shop",
    "ordered_at",
    "customer",
    "sku",
    "name",
    "quantity",
    "unit_price",
    "amount",
    "status",
    "tracking",
)
"""The twelve, by our names."""


class ErpLine(msgspec.Struct, frozen=True, gc=False):
    """A line. Money in minor units."""

    sku: str
    """The merchant's SKU, the channel's item where that is not known."""
    name: str
    quantity: int
    unit_price: int
    amount: int


class ErpRecord(msgspec.Struct, frozen=True, gc=False):
    """What an ERP is told of one event of one order. Nothing personal."""

    key: str
    """Names this telling for ever: the same one again is the same file, or the same request."""
    status: str
    order_no: str
    channel: str
    shop: str
    ordered_at: str
    """ISO 8601 in the merchant's zone."""
    customer: str
    """Keyed digest."""
    currency: str
    tracking: str
    lines: tuple[ErpLine, ...]


def rows(record: ErpRecord, names: Mapping[str, str], limits: Mapping[str, int]) -> list[dict[str, str]]:
    """Return a record as rows of the ERP's own field names, one a line.

    Args:
        record: what is told.
        names: our field → the ERP's name; a field that is not there keeps ours.
        limits: our field → the most characters the ERP keeps.

    Raises:
        PlatformRefused: a value is longer than the ERP keeps.
    """
    found = []
    for line in record.lines:
        values = (
            record.order_no,
            record.channel,
            record.shop,
            record.ordered_at,
            record.customer,
            line.sku,
            line.name,
            str(line.quantity),
            format_minor(line.unit_price, record.currency),
            format_minor(line.amount, record.currency),
            record.status,
            record.tracking,
        )
        for field, value in zip(FIELDS, values, strict=True):
            if len(value) > limits.get(field, len(value)):
                raise PlatformRefused(
                    f"{field} of order {record.order_no} has {len(value)} characters; the ERP keeps {limits[field]}",
                    "shorten it at its source, or raise the limit in erp.json if the ERP keeps more",
                    code="too-long",
                )
        found.append({names.get(field, field): value for field, value in zip(FIELDS, values, strict=True)})
    return found
