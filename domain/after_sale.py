"""The language of after-sale (售后): what may be asked, what can have happened, and which rules can be broken.

How cases stand is told in `domain.after_sale_case`, what may be done about them in `domain.after_sale_acts`. Lines of
an order go by their ids, a gift that came with it by `domain.order.gift_line`, goods that were sent for a case by
`domain.order.questions.resent_line`. Money is in minor units of the order's
currency.
"""

from collections.abc import Mapping
from typing import Literal

from domain.canonical import Parcel
from domain.decider import Command, DomainError, Event
from domain.stock import Quantities

Kind = Literal["", "refund_only", "return_refund", "exchange", "reship", "repair", "price_protection"]
"""What is to be done about it; "" = nobody has said yet (a channel tells of lines, not of ways)."""
KINDS: Mapping[Kind, str] = {
    "refund_only": "仅退款",
    "return_refund": "退货退款",
    "exchange": "换货",
    "reship": "补发",
    "repair": "维修",
    "price_protection": "价保",
}
"""Kind → the merchant's word."""
REASONS: Mapping[str, str] = {
    "quality": "质量问题",
    "wrong_item": "发错货",
    "missing_item": "少件/漏发",
    "damaged": "破损",
    "no_reason": "七天无理由",
    "not_as_described": "描述不符",
    "gift_missing": "赠品缺失",
    "logistics": "物流问题",
    "refused_delivery": "拒收",
    "price": "降价补差",
    "other": "其他",
}
"""Why customers want something put right → the merchant's word. What they write is personal and has no place here."""
DECLINES: Mapping[str, str] = {
    "too_late": "超过期限",
    "used": "人为损坏/影响二次销售",
    "no_proof": "凭证不足",
    "not_ours": "非本店商品",
    "withdrawn": "买家撤销",
    "other": "其他",
}
"""Why a case is declined → the merchant's word."""

Stage = Literal["opened", "approved", "returning", "received", "refunded", "replaced", "declined", "closed"]
OPEN: frozenset[str] = frozenset({"opened", "approved", "returning", "received"})
"""Stages of a case that still shows 售后中."""
OVER: frozenset[str] = frozenset({"declined", "closed"})
"""Stages after which nothing more can happen to a case; a refunded or replaced one may still get goods back."""
BRINGS_GOODS: frozenset[str] = frozenset({"", "return_refund", "exchange", "repair"})
SENDS_GOODS: frozenset[str] = frozenset({"", "exchange", "reship", "repair"})
OF_GOODS_THAT_LEFT: frozenset[str] = frozenset({"return_refund", "exchange", "reship", "repair"})
Method = Literal["original", "transfer"]
METHODS: Mapping[Method, str] = {"original": "原路退回", "transfer": "转账"}
"""How money goes back → the merchant's word."""
CASE_MARK = "/case-"
"""Stands between an order's key and a case's number; allocations of replacements have it in their ids."""


# --- commands


class OpenAfterSale(Command, frozen=True):
    """A customer wants something put right."""

    command_id: str
    kind: Kind
    reason: str
    """One of `REASONS`."""
    lines: Quantities = ()
    """(line id, units); empty = all that can be."""
    reference: str = ""
    """The channel's number of it, where it has one."""


class ApproveAfterSale(Command, frozen=True):
    """The merchant agrees. Of what has not left, a refund cancels the units."""

    command_id: str
    case: int


class DeclineAfterSale(Command, frozen=True):
    """The merchant does not agree."""

    command_id: str
    case: int
    reason: str
    """One of `DECLINES`."""


class AnnounceReturn(Command, frozen=True):
    """The customer has sent the goods back."""

    command_id: str
    case: int
    carrier: str
    tracking: str


class ReceiveReturn(Command, frozen=True):
    """Goods came back to a warehouse, and somebody looked at them. Pairs are (line id, units)."""

    command_id: str
    case: int = 0
    """0 = the open case of these lines; where there is none, one is opened."""
    good: Quantities = ()
    """May be sold again."""
    damaged: Quantities = ()
    missing: Quantities = ()
    """Should have been in the parcel, and were not."""
    warehouse: str = ""
    """Code; "" = the one that is asked first for goods of the order."""
    reason: str = "other"
    """One of `REASONS`, for a case that is opened by it."""


class RefundAfterSale(Command, frozen=True):
    """Money goes back to the customer."""

    command_id: str
    case: int
    amounts: Quantities = ()
    """(line id, minor units); the id "" is for what is no line's (freight …). Empty = all that its units cost."""
    method: Method = "original"
    reference: str = ""
    """Number of the payment, where it has one."""
    approval: str = ""
    """Which approval allows it, where it is above the limit."""


class SendReplacement(Command, frozen=True):
    """Send other goods for it: they are reserved and picked beside what the order itself still needs."""

    command_id: str
    case: int
    lines: Quantities = ()
    """(SKU, units); empty = the same goods again."""
    warehouse: str = ""
    """As in `ReceiveReturn`."""


class CloseAfterSale(Command, frozen=True):
    """Nothing more is to be done."""

    command_id: str
    case: int


# --- events


class AfterSaleOpened(Event, frozen=True):
    """The customer wants something put right after shipping. `lines` are (line id, quantity)."""

    lines: Quantities
    reason: str
    """One of `REASONS`; `channel`, or words of whoever cancelled goods that had left, where none was chosen."""
    reference: str = ""
    command: str = ""
    case: int = 0
    """Number of the case in its order; 0 = the next one. One that is known already gets these facts."""
    kind: Kind = ""
    skus: tuple[str, ...] = ()
    """SKU of each line at that time, to count reasons by."""


class AfterSaleMatched(Event, frozen=True):
    """What the channel tells of is a case that is known; `reference` is the channel's number of it."""

    case: int
    reference: str


class AfterSaleApproved(Event, frozen=True):
    """The merchant agreed."""

    case: int
    command: str


class AfterSaleDeclined(Event, frozen=True):
    """The merchant did not agree."""

    case: int
    reason: str
    """One of `DECLINES`."""
    command: str


class AfterSaleClosed(Event, frozen=True):
    """The after-sale of these lines ended without (further) refund."""

    lines: tuple[str, ...]
    case: int = 0
    """The case that was closed; 0 = all cases of these lines, by the channel."""
    command: str = ""


class OrderRefunded(Event, frozen=True):
    """Money of these lines went back. `amount` is in minor units, 0 where the channel does not say."""

    lines: tuple[str, ...]
    amount: int
    reference: str = ""
    command: str = ""
    case: int = 0
    """The case that it was paid for; 0 = the open ones of these lines, by the channel or over a counter."""
    amounts: Quantities = ()
    """(line id, minor units) where it is of several lines; the id "" is for what is no line's."""
    method: Literal["", "original", "transfer"] = ""
    """"" = as the channel or the till pays back."""
    approval: str = ""
    """The approval that allowed it."""


class ReturnAnnounced(Event, frozen=True):
    """Goods are on their way back."""

    case: int
    carrier: str
    tracking: str
    command: str


class ReturnReceived(Event, frozen=True):
    """Goods came back and were looked at: the good ones may be sold again. Pairs are (line id, units)."""

    case: int
    receipt: int
    """Which of the case, from 1: with the case it is the warehouse's document."""
    good: Quantities = ()
    damaged: Quantities = ()
    missing: Quantities = ()
    warehouse: str = ""
    """Code; "" = the one that is asked first for goods of the order."""
    command: str = ""


class ReplacementAsked(Event, frozen=True):
    """Other goods are to be sent for a case. `lines` are (SKU, units)."""

    case: int
    attempt: int
    """Which of the case, from 1."""
    lines: Quantities
    warehouse: str = ""
    """As in `ReturnReceived`."""
    command: str = ""


class ReplacementReserved(Event, frozen=True):
    """A warehouse holds the goods of a replacement. `lines` are (SKU, units)."""

    case: int
    allocation: str
    warehouse: str
    lines: Quantities


class ReplacementShort(Event, frozen=True):
    """A warehouse could not reserve a replacement: `short` is (SKU, wanted, available). It may be asked for again."""

    case: int
    allocation: str
    warehouse: str
    short: tuple[tuple[str, int, int], ...]


class ReplacementPicked(Event, frozen=True):
    """A replacement was scanned out, and is not with a carrier yet."""

    case: int
    allocation: str
    command: str


class ReplacementShipped(Event, frozen=True):
    """A replacement is on its way."""

    case: int
    allocation: str
    warehouse: str
    parcel: Parcel
    shipped_ms: int
    command: str


class ReplacementReleased(Event, frozen=True):
    """A replacement is not sent after all: what was held for it is given back, its pick list is void."""

    case: int
    allocation: str
    warehouse: str


# --- refusals


class NoSuchCase(DomainError):
    """The order has no case of that number."""


class CaseOver(DomainError):
    """The case is declined or closed, or at a stage where this can no longer be done."""


class WhichCase(DomainError):
    """Several open cases are about these lines."""


class AfterSaleKnown(DomainError):
    """The channel's number stands for a case that is known already."""


class NothingSold(DomainError):
    """Only of an order that is paid, and not cancelled, something can be put right."""


class UnknownKind(DomainError):
    """There is no such kind of after-sale."""


class UnknownReason(DomainError):
    """The reason is none of the list."""


class UnknownMethod(DomainError):
    """There is no such way to pay back."""


class TooManyUnits(DomainError):
    """So many units were not bought, have not left, came back already, or another case is about them."""


class NotApproved(DomainError):
    """The merchant has not agreed to the case."""


class NothingComesBack(DomainError):
    """A case of this kind brings no goods back."""


class NothingIsSent(DomainError):
    """For a case of this kind no goods are sent."""


class NoReturnParcel(DomainError):
    """A parcel that nobody could follow: its number or its carrier is missing."""


class SkuUnknown(DomainError):
    """Of a line without a SKU no warehouse can take goods back, or send others."""


class TooMuchMoney(DomainError):
    """More than was paid, less what went back before; or nothing at all."""


class ApprovalMissing(DomainError):
    """A refund of so much money needs an approval."""


class BadWarehouse(DomainError):
    """No warehouse can have this code."""


class ReplacementUnderWay(DomainError):
    """Goods are being sent for the case already."""
