"""The words of our own contracts (own mini-program, generic): ours in English, the merchant's in Chinese."""

from typing import Final, Literal

from domain.canonical import AfterSale, Status

STATUSES: Final[dict[str, Status]] = {
    "awaiting_payment": "awaiting_payment",
    "paid": "paid",
    "allocating": "allocating",
    "shipped": "shipped",
    "completed": "completed",
    "cancelled": "cancelled",
    "待付款": "awaiting_payment",
    "已付款": "paid",
    "配货中": "allocating",
    "已发货": "shipped",
    "已完成": "completed",
    "已取消": "cancelled",
}

AFTER_SALES: Final[dict[str, AfterSale]] = {
    "": "",
    "none": "",
    "open": "open",
    "refunded": "refunded",
    "closed": "closed",
    "售后中": "open",
    "已退款": "refunded",
    "售后关闭": "closed",
}

STATES: Final[dict[str, Literal["open", "shipped", "cancelled"]]] = {
    "open": "open",
    "shipped": "shipped",
    "cancelled": "cancelled",
    "待发货": "open",
    "已发货": "shipped",
    "已取消": "cancelled",
}
"""Of one line."""

KINDS: Final[dict[str, Literal["normal", "presale", "counter"]]] = {
    "normal": "normal",
    "presale": "presale",
    "counter": "counter",
    "普通": "normal",
    "预售": "presale",
    "门店": "counter",
}

STATUS_ADVICE: Final = f"one of {', '.join(STATUSES)}; an after-sale (售后中) is told by the lines"
