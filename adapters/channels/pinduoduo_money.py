"""The money of a Pinduoduo order: its sums, its stages, and the services that were bought with it."""

from typing import Any, Final, NamedTuple

from adapters.channels.json_fields import goods_value, id_of, quantity_of, whole_of, yuan_of
from adapters.channels.pinduoduo_fields import (
    ALL_PAID,
    DEPOSIT_PAID,
    DEPOSIT_TRADE,
    DOOR_SERVICES,
    FEE,
    SERVICE_VALUES,
    SERVICES,
    STEP,
    STEPS,
    ItemFields,
    OrderFields,
    StepFields,
)
from domain.canonical import Amounts, Status, TranslationError
from domain.money import format_minor

FETCH: Final = "fetch it whole (pdd.order.information.get)"
_PARTS: Final = ("platform_discount", "seller_discount", "capital_free_discount")
_PAID_BY_OTHERS: Final = ("duo_duo_pay_reduction", "trade_in_national_subsidy_amount")
_STEP_AMOUNTS: Final = ("advanced_paid_fee", "step_paid_fee", "step_discount_amount")


class Goods(NamedTuple):
    """What a line, or a gift, is of. Money in fen."""

    item: str
    """Product and SKU of the platform."""
    name: str
    """What stands for the line: the SKU, else the product."""
    price: int
    quantity: int
    value: int
    """Price times quantity."""


def read_goods(fields: ItemFields, where: str) -> Goods:
    """Read what a line asks for.

    Raises:
        TranslationError: it names no goods, or price or quantity are none.
    """
    product, sku = id_of(fields.goods_id, "goods_id", where), id_of(fields.sku_id, "sku_id", where)
    if not product and not sku:
        raise TranslationError("the line names no goods", f"{where}.sku_id", FETCH)
    price = yuan_of(fields.goods_price, "goods_price", where) or 0
    quantity = quantity_of(fields.goods_count, "goods_count", where)
    item = f"{product}/{sku}" if product and sku else product or sku
    return Goods(item, sku or product, price, quantity, goods_value(price, quantity, "goods_price", where))


class Step(NamedTuple):
    """The stage of a deposit presale."""

    stage: int
    deposit: int
    """What has been paid so far, in fen."""

    @property
    def owes(self) -> bool:
        """Whether deposit or balance are still owed."""
        return self.stage != ALL_PAID


def read_step(order: OrderFields, attributes: dict[str, Any]) -> Step | None:
    """Read the stage of a deposit presale; None where the order is none.

    Raises:
        TranslationError: the stage is unknown.
    """
    fields = order.step_order_info
    if fields is None:
        return None
    where = "step_order_info"
    amounts = {name: yuan_of(getattr(fields, name), name, where) or 0 for name in _STEP_AMOUNTS}
    told = {name: format_minor(amount, "CNY") for name, amount in amounts.items() if amount}
    if order.trade_type is not None and whole_of(order.trade_type, "trade_type") != DEPOSIT_TRADE:
        if told:
            attributes["step_order_info"] = {**told, **_stage_of(fields)}
        return None  # an ordinary order may carry the structure, too, with nothing in it
    stage = whole_of(fields.step_trade_status, "step_trade_status", where)
    if fields.step_trade_status in (None, "") or stage not in STEPS:
        shown = str(fields.step_trade_status)[:60]
        raise TranslationError(f"unknown stage {shown}", f"{where}.step_trade_status", "add it to the channel's table")
    attributes["step_order_info"] = {**told, **_stage_of(fields), **STEP.declared(fields)}
    paid = (amounts["step_paid_fee"] or amounts["advanced_paid_fee"]) if stage == DEPOSIT_PAID else 0
    return Step(stage, paid)


def _stage_of(fields: StepFields) -> dict[str, Any]:
    return {} if fields.step_trade_status is None else {"step_trade_status": fields.step_trade_status}


def read_amounts(
    order: OrderFields, goods: int, stage: tuple[Status, Step | None, bool], attributes: dict[str, Any]
) -> Amounts:
    """Read the order's amounts and note where the sum rules do not hold; nothing is refused for that.

    `stage` is how far the order got, the presale's stage, and whether the platform says that money came in.

    Raises:
        TranslationError: an amount is none, or none that an order can have.
    """
    payable = yuan_of(order.pay_amount, "pay_amount")
    if payable is None:
        raise TranslationError("the order has no amount", "pay_amount", FETCH)
    wrong: list[dict[str, Any]] = []
    change = yuan_of(order.order_change_amount, "order_change_amount", signed=True) or 0
    stated = yuan_of(order.goods_amount, "goods_amount")
    if stated is not None and stated != goods - change:
        rule = "goods_amount = sum of goods_price x goods_count - order_change_amount"
        wrong.append({"rule": rule, "stated": stated, "computed": goods - change})
    stated = goods - change if stated is None else stated
    parts = {name: yuan_of(getattr(order, name), name) or 0 for name in _PARTS}
    discount = yuan_of(order.discount_amount, "discount_amount")
    if discount is None:
        discount = sum(parts.values())
    elif any(parts.values()) and sum(parts.values()) != discount:
        rule = "discount_amount = platform_discount + seller_discount + capital_free_discount"
        wrong.append({"rule": rule, "stated": discount, "computed": sum(parts.values())})
    others = {name: yuan_of(getattr(order, name), name) or 0 for name in _PAID_BY_OTHERS}
    freight = yuan_of(order.postage, "postage") or 0
    fees = read_services(order, attributes)
    owed = stated - discount + freight
    extra, allowed = payable - owed, {0, *fees}
    if extra not in allowed and not any(others.values()):
        rule = "pay_amount = goods_amount - discount_amount + postage + service fees"
        wrong.append({"rule": rule, "stated": payable, "computed": owed + max(fees, default=0)})
    told = {**parts, **others, "order_change_amount": change}
    attributes.update({name: _yuan(amount) for name, amount in told.items() if amount})
    if wrong:
        attributes["amount_mismatch"] = wrong
    status, step, came_in = stage
    if step is not None and step.owes:
        paid = step.deposit
    elif status in ("awaiting_payment", "cancelled"):
        paid = payable if came_in else 0  # a group that is not formed yet: the platform holds the money
    else:
        paid = payable
    return Amounts("CNY", goods, discount + change, freight, 0, payable, paid)


def read_services(order: OrderFields, attributes: dict[str, Any]) -> tuple[int, ...]:
    """Keep the services bought with the order (`service_package`); return what they may have cost together.

    The platform states fees twice, in a list and in fields of their own; which of them are in `pay_amount` is not
    public, so either sum will do.
    """
    fees: list[dict[str, Any]] = []
    packages: dict[str, dict[str, Any]] = {}
    listed = 0
    for place, fields in enumerate(order.service_fee_detail or ()):
        name, fee = (
            fields.service_name or "",
            yuan_of(fields.service_fee, "service_fee", f"service_fee_detail[{place}]"),
        )
        fees.append({"service_name": name, "service_fee": _yuan(fee or 0), **FEE.declared(fields)})
        listed += fee or 0
        if name in SERVICES or name.endswith("install_fee"):
            packages[name] = {"service_id": name, "title": SERVICES.get(name, name), "payment": _yuan(fee or 0)}
    if fees:
        attributes["service_fee_detail"] = fees
    door = whole_of(order.home_delivery_type, "home_delivery_type")
    if door:
        attributes["home_delivery_type"] = door
    values = {name: yuan_of(getattr(order, name), name) or 0 for name in SERVICE_VALUES}
    attributes.update({name: _yuan(amount) for name, amount in values.items() if amount})
    if values["home_install_value"] and "install_fee" not in packages:
        packages["install_fee"] = {
            "service_id": "install_fee",
            "title": SERVICES["install_fee"],
            "payment": _yuan(values["home_install_value"]),
        }
    for code, name in ((1, "delivery_home_value"), (2, "delivery_install_value")):
        if values[name] or door == code:
            title = DOOR_SERVICES[code]
            packages[name] = {"service_id": name, "title": title, "payment": _yuan(values[name])}
    if packages:
        attributes["service_package"] = list(packages.values())
    separate = sum(values.values())
    return listed, separate, listed + separate


def _yuan(amount: int) -> str:
    return format_minor(amount, "CNY")
