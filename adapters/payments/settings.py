"""`payments.json`: the payment services a merchant uses, and where their secrets are found. It holds no secret."""

import re

import msgspec

from domain.ids import BadId, order_key

FILE = "payments.json"
PLACE = "{out_trade_no}"
"""Stands in `order_no` for the merchant's order number as the service tells it."""


class PaymentService(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One account at a payment service."""

    name: str
    """What people and addresses call it: letters, digits, `-`, `_`; unique in the file."""
    channel: str
    """Channel of the orders that are paid through it."""
    shop: str
    """Their shop."""
    kind: str = "wechat_pay"
    order_no: str = PLACE
    """How an order number is written as `out_trade_no`: `W{out_trade_no}` = the service sees a W before it."""
    suffix: str = ""
    """What may follow behind this mark (`-` or `_`): a second payment of one order has a number of its own."""
    enabled: bool = True
    mchid: str = ""
    """The merchant's number; a notice of another one is refused where it is given."""
    keys: dict[str, str] = {}
    """Serial number → PEM file with the service's certificate or public key."""
    secrets: dict[str, str] = {}
    """`api_v3_key` → `env:VARIABLE` or `file:PATH`."""


def order_of(service: PaymentService, out_trade_no: str) -> str:
    """Return the key of the order that a merchant's order number names.

    Raises:
        BadId: it is not written as the settings say.
    """
    before, _, behind = service.order_no.partition(PLACE)
    found = re.fullmatch(re.escape(before) + "(.+)" + re.escape(behind), out_trade_no, re.DOTALL)
    if found is None:
        raise BadId(f"out_trade_no {out_trade_no[:40]!r} is not written as {service.order_no}")
    number = found[1].partition(service.suffix)[0] if service.suffix else found[1]
    return order_key(service.channel, service.shop, number)
