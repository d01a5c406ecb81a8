"""The money of a JD order: its discounts, its sums, and what each line costs in the end."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from adapters.channels.jd_fields import COUPON_KNOWN, EMPTY, FETCH, PAID_LATER, LineFields, OrderFields
from adapters.channels.json_fields import goods_value, id_of, keep, kind_of, quantity_of, yuan_of
from adapters.channels.wire_lines import spread
from domain.canonical import Amounts, SourceTime, Status, TranslationError
from domain.money import format_minor

_NESTED_MAX: Final = 3


class Coupon(NamedTuple):
    """A discount: of one SKU, or of the whole order ("")."""

    sku: str
    kind: str
    amount: int


class Goods(NamedTuple):
    """What a line asks for. Money in fen."""

    sku: str
    """JD's."""
    price: int
    quantity: int
    value: int
    """Price times quantity."""


def read_goods(fields: LineFields, where: str) -> Goods:
    """Read what a line asks for.

    Raises:
        TranslationError: it names no SKU, or price or quantity are none.
    """
    sku = id_of(fields.skuId, "skuId", where)
    if not sku:
        raise TranslationError("the line has no id", f"{where}.skuId", "fetch the order whole (jingdong.pop.order.get)")
    price = yuan_of(fields.jdPrice, "jdPrice", where) or 0
    quantity = quantity_of(fields.itemTotal, "itemTotal", where)
    return Goods(sku, price, quantity, goods_value(price, quantity, "jdPrice", where))


def pay_code(order: OrderFields) -> str:
    """Return the code of the way to pay: `4` of `4-在线支付`."""
    return str(order.payType or "").partition("-")[0].strip()


def read_coupons(order: OrderFields, attributes: dict[str, Any], sealed: dict[str, Any]) -> list[Coupon]:
    """Read the discounts; keep them as attributes, and what is unknown of them sealed.

    Raises:
        TranslationError: with the place of what is no coupon.
    """
    found: list[Coupon] = []
    native: list[dict[str, Any]] = []
    own = id_of(order.orderId, "orderId")
    for place, fields in enumerate(_flat(order.couponDetailList)):
        where = f"couponDetailList[{place}]"
        if not isinstance(fields, dict):
            raise TranslationError(f"{kind_of(fields)} where an object belongs", where)
        sku = id_of(fields.get("skuId"), "skuId", where)
        number = id_of(fields.get("orderId"), "orderId", where)
        kind = fields.get("couponType")
        if kind is not None and type(kind) not in (str, int):
            raise TranslationError(f"{kind_of(kind)} is no type of a coupon", f"{where}.couponType")
        amount = yuan_of(fields.get("couponPrice"), "couponPrice", where) or 0
        found.append(Coupon(sku, str(kind or ""), amount))
        told: dict[str, Any] = {"couponType": keep(kind, where), "couponPrice": format_minor(amount, "CNY")}
        if sku:
            told["skuId"] = sku
        if number and number != own:
            told["orderId"] = number
        native.append(told)
        rest = {name: keep(value, where) for name, value in fields.items() if name not in COUPON_KNOWN}
        if rest:
            sealed[where] = rest
    if native:
        attributes["couponDetailList"] = native
    return found


def _flat(value: Any, depth: int = 0) -> Iterator[Any]:
    """Walk a list of coupons; lists inside it have been seen."""
    if value in EMPTY:
        return
    if isinstance(value, list):
        if depth == _NESTED_MAX:
            raise TranslationError("lists nested too deeply", "couponDetailList")
        for inner in value:
            yield from _flat(inner, depth + 1)
    else:
        yield value


def read_amounts(
    order: OrderFields,
    goods: int,
    coupons: list[Coupon],
    stage: tuple[Status, SourceTime | None],
    attributes: dict[str, Any],
) -> Amounts:
    """Read the order's amounts and note where the sum rules do not hold; nothing is refused for that.

    `stage` is how far the order got, and when it was paid.

    Raises:
        TranslationError: an amount is none, or none that an order can have.
    """
    status, paid_at = stage
    wrong: list[dict[str, Any]] = []
    payment = yuan_of(order.orderPayment, "orderPayment")
    if payment is None:
        raise TranslationError("the order has no amount", "orderPayment", FETCH)
    total = yuan_of(order.orderTotalPrice, "orderTotalPrice")
    if total is not None and total != goods:
        wrong.append({"rule": "orderTotalPrice = sum of jdPrice x itemTotal", "stated": total, "computed": goods})
    total = goods if total is None else total
    seller = yuan_of(order.sellerDiscount, "sellerDiscount") or 0
    price = yuan_of(order.orderSellerPrice, "orderSellerPrice")
    if price is not None and price != total - seller:
        wrong.append(
            {"rule": "orderSellerPrice = orderTotalPrice - sellerDiscount", "stated": price, "computed": total - seller}
        )
    price = total - seller if price is None else price
    freight, tax = yuan_of(order.freightPrice, "freightPrice") or 0, yuan_of(order.taxFee, "taxFee") or 0
    balance = yuan_of(order.balanceUsed, "balanceUsed") or 0
    for name, amount in (("sellerDiscount", seller), ("balanceUsed", balance)):
        if amount:
            attributes[name] = format_minor(amount, "CNY")
    if order.couponDetailList is None:
        platform = max(price + freight + tax - payment - balance, 0)  # not fetched: what else made it cheaper
    else:
        # The list holds the seller's discounts, too; what is above them is the platform's.
        platform = max(sum(coupon.amount for coupon in coupons) - seller, 0)
    owed = price - platform + freight + tax
    payable = payment
    if payment != owed:
        if balance and payment + balance == owed:
            payable = owed  # the balance at JD is a way to pay
            attributes["orderPayment"] = format_minor(payment, "CNY")
        else:
            rule = "orderPayment = orderSellerPrice - platform's coupons + freightPrice + taxFee [- balanceUsed]"
            wrong.append({"rule": rule, "stated": payment, "computed": owed})
    if wrong:
        attributes["amount_mismatch"] = wrong
    if paid_at is not None and status != "awaiting_payment":
        paid = payable
    elif status in ("awaiting_payment", "cancelled") or pay_code(order) in PAID_LATER:
        paid = 0
    else:
        paid = payable
    return Amounts("CNY", goods, seller + platform, freight, tax, payable, paid)


def discounts(goods: list[Goods], coupons: list[Coupon], discount: int) -> list[int]:
    """Return what is taken off each line: the coupons of its SKU, and its share of what the whole order is given."""
    own: dict[str, int] = {}
    for coupon in coupons:
        if coupon.sku:
            own[coupon.sku] = own.get(coupon.sku, 0) + coupon.amount
    off: list[int] = []
    for one in goods:
        taken = min(own.get(one.sku, 0), one.value, discount - sum(off))
        if taken:
            own[one.sku] -= taken
        off.append(taken)
    rests = [one.value - taken for one, taken in zip(goods, off, strict=True)]
    shared = spread(min(discount - sum(off), sum(rests)), rests)
    return [taken + share for taken, share in zip(off, shared, strict=True)]
