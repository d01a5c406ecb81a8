"""What the invoices of a file are: orders, cancellations, corrections of stock, or nothing that has goods.

Rules, each counted where it applies:
- SKU: the stock code in capitals. Codes of `SERVICES` and vouchers are no goods; their amounts go with the freight.
- An invoice beginning with C takes back; one with another letter is a correction of the books, and refused.
- Lines of negative quantity outside a cancellation, and whole invoices at price 0 without a customer, correct stock.
- Prices have two decimals; the few below a penny are taken as 0. A line at price 0 is a gift.
- None of the three formats names a currency: pounds and pence stand in the place of yuan and fen, one to one.
"""

from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

from runners.simulating import wire_douyin
from runners.simulating.neutral import Buyer, Deal, Item
from runners.simulating.retail_file import Invoice, Row
from runners.simulating.wire_time import day
from runners.simulating.world import SHOPS, number_of

SERVICES: Final = frozenset(
    {"POST", "DOT", "C2", "C3", "M", "D", "S", "B", "ADJUST", "ADJUST2", "BANK CHARGES", "AMAZONFEE", "CRUK", "GIFT"}
)
_VOUCHER: Final = "GIFT_0001_"

Kind = Literal["order", "cancellation", "correction", "refused"]


class Read(NamedTuple):
    """An invoice as it is understood."""

    kind: Kind
    goods: list[Row]
    """With SKUs in capitals."""
    services: int
    """Amount of the lines that are no goods, in pence."""
    reason: str


def read(invoice: Invoice, rules: Counter[str]) -> Read:
    """Tell what an invoice is."""
    goods: list[Row] = []
    services = 0
    for row in invoice.rows:
        sku = row.sku.upper()
        if is_service(sku):
            rules["lines that are services or vouchers"] += 1
            services += pence(row.price) * row.quantity
        else:
            goods.append(row._replace(sku=sku))
    if invoice.cancels:
        return Read("cancellation", goods, services, "" if goods else "a refund of services, without goods")
    if not invoice.number.isdigit():
        return Read("refused", goods, services, "a correction of the books, no order (bad debt)")
    if any(row.quantity < 0 for row in goods) or (
        goods and not invoice.customer and not any(pence(row.price) for row in goods) and not services
    ):
        return Read("correction", goods, services, "")
    if not goods:
        return Read("refused", goods, services, "services only, no goods")
    if services < 0:
        return Read("refused", goods, services, "discounts beyond its services")
    return Read("order", goods, services, "")


def is_service(sku: str) -> bool:
    """Tell codes that are no goods."""
    return sku in SERVICES or sku.startswith(_VOUCHER)


def pence(price: float) -> int:
    """Return a price in whole pence; less than half a penny is 0."""
    return int((Decimal(repr(price)) * 100).quantize(Decimal(1), ROUND_HALF_UP))


def channel_of(invoice: Invoice, known: tuple[str, ...], lines: int) -> str:
    """Return the channel an invoice goes to: always the same one, and one that takes so many lines."""
    fitting = tuple(name for name in known if name != "douyin" or lines <= wire_douyin.LINES_MAX)
    place = int.from_bytes(blake2b(invoice.number.encode(), digest_size=4).digest(), "big")
    return fitting[place % len(fitting)]


def deal_of(invoice: Invoice, found: Read, channel: str, rules: Counter[str]) -> Deal:
    """Return the order of an invoice: paid, and to be sent; over the counter where nobody is named."""
    items = []
    for row in found.goods:
        price = pence(row.price)
        if not price:
            rules["lines at price 0 (gifts)"] += 1
            if row.price:
                rules["lines below a penny, taken as 0"] += 1
        items.append(Item(row.sku, row.name, row.quantity, price))
    shop = SHOPS[channel]
    tail = int(invoice.number)
    counter = channel == "pos" and not invoice.customer
    if channel == "pos":
        number = f"{shop}-{day(invoice.at_ms)}-{invoice.number}"
    elif channel == "taobao":
        number = number_of(channel, invoice.at_ms, 0, tail)
    else:
        number = f"69{invoice.at_ms // 1000 - 946_684_800:09d}{tail % 1_000_000:06d}00"
    return Deal(
        channel=channel,
        shop=shop,
        number=number,
        buyer=_buyer(invoice),
        items=tuple(items),
        ordered_ms=invoice.at_ms,
        modified_ms=invoice.at_ms,
        status="completed" if counter else "paid",
        freight=found.services,
        counter=counter,
        paid_ms=invoice.at_ms,
    )


def _buyer(invoice: Invoice) -> Buyer:
    own = str(invoice.customer or f"guest-{invoice.number}")
    phone = f"0{invoice.customer or int(invoice.number):09d}"
    return Buyer(own, f"Customer {own}", phone, invoice.country, "", "", f"{invoice.country} {own}")
