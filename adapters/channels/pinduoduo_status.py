"""How far a Pinduoduo order got: several codes decide together, and each of them must be known."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from adapters.channels.json_fields import whole_of
from adapters.channels.pinduoduo_fields import (
    AFTER_SALES,
    CANCELLED,
    CONFIRMED,
    GIFT_PENDING,
    GIFT_STATES,
    GROUP_HOLDS,
    HOLD_TAGS,
    NOT_MADE,
    ORDER_STATES,
    REFUND_STATES,
    REFUNDED,
    TO_SHIP,
    OrderFields,
    TagFields,
)
from adapters.channels.pinduoduo_money import FETCH, Step
from domain.canonical import AfterSale, SourceTime, Status, TranslationError

_ADD_TO_TABLE: Final = "add it to the channel's table"


class Codes(NamedTuple):
    """What the status fields say, each known."""

    confirm: int
    order: int
    refund: int
    after_sale: int
    group: int | None
    at_risk: bool
    gift: int | None


def read_codes(order: OrderFields) -> Codes:
    """Read the status fields.

    Raises:
        TranslationError: one is missing, or holds a code that is in no table.
    """
    confirm = _code(order.confirm_status, "confirm_status", CONFIRMED)
    state = _code(order.order_status, "order_status", ORDER_STATES)
    refund = _code(order.refund_status, "refund_status", REFUND_STATES)
    after_sale = _code(order.after_sales_status, "after_sales_status", AFTER_SALES, absent=0)
    group = _code_or_none(order.group_status, "group_status", GROUP_HOLDS)
    at_risk = _code(order.risk_control_status, "risk_control_status", (0, 1), absent=0) == 1
    gift = _code_or_none(order.gift_order_status, "gift_order_status", GIFT_STATES)
    return Codes(confirm, state, refund, after_sale, group, at_risk, gift)


def _code(value: object, name: str, known: Iterable[int], *, absent: int | None = None) -> int:
    if value is None or value == "":
        if absent is None:
            raise TranslationError("the order does not say it", name, FETCH)
        return absent
    code = whole_of(value, name)
    if code not in known:
        raise TranslationError(f"unknown code {str(code)[:60]}", name, _ADD_TO_TABLE)
    return code


def _code_or_none(value: object, name: str, known: Iterable[int]) -> int | None:
    return None if value is None or value == "" else _code(value, name, known)


def status_of(codes: Codes, step: Step | None) -> Status:
    """Tell how far the order got; the first rule that fits decides. After-sales stand beside it, by line."""
    if codes.confirm == CANCELLED or (codes.refund == REFUNDED and codes.order == TO_SHIP):
        return "cancelled"
    if codes.confirm == NOT_MADE or (step is not None and step.owes):
        return "awaiting_payment"
    return ORDER_STATES[codes.order]


def cancel_reason(codes: Codes, paid: SourceTime | None) -> str:
    """Tell why a cancelled order ended."""
    if codes.refund == REFUNDED:
        return "refunded"
    if GROUP_HOLDS.get(codes.group if codes.group is not None else 1) == "group_failed":
        return "group_failed"
    return "cancelled" if paid is not None else "closed_before_payment"


def after_sale_of(codes: Codes, status: Status) -> AfterSale:
    """Tell the after-sale of the lines: `refund_status` decides, the finer code tells closed from never asked."""
    if status == "cancelled":
        return "refunded" if codes.refund == REFUNDED else ""
    return REFUND_STATES[codes.refund] or AFTER_SALES[codes.after_sale]


def is_set(tag: TagFields) -> bool:
    """Tell whether a label is on the order: the platform lists all of them, most at 0."""
    return tag.value not in (None, 0, "0", "", False)


def holds_of(
    order: OrderFields, codes: Codes, stage: tuple[Status, Step | None], came_in: bool, gifts: bool
) -> tuple[str, ...]:
    """Tell what the platform says must not ship yet. `came_in`: the money did; `gifts`: some go with the order."""
    status, step = stage
    if status not in ("awaiting_payment", "paid"):
        return ()
    holds = []
    if codes.at_risk:
        holds.append("risk_review")
    if status == "awaiting_payment" and came_in and step is None and codes.group is not None:
        holds.append(GROUP_HOLDS[codes.group])
    holds.extend(tag.name or "" for tag in order.order_tag_list or () if tag.name in HOLD_TAGS and is_set(tag))
    if gifts and codes.gift == GIFT_PENDING:
        holds.append("gift_order_pending")
    return tuple(hold for hold in dict.fromkeys(holds) if hold)
