"""Deals as a till exports them: CSV rows, one for each line, receipt amounts on the first; yuan, store-local times."""

import csv
import io
from collections.abc import Iterable
from typing import Any, Final, Literal, Protocol

from runners.simulating.neutral import Deal, Item, Return
from runners.simulating.wire_time import day, wall, yuan

LINES_MAX: Final = 2_000
HEADER: Final = (
    *("小票号", "门店编号", "门店名称", "收银台", "收银员", "销售时间", "行号", "商品编码", "商品名称", "数量"),
    *("单价", "折扣金额", "小计", "整单优惠", "运费", "实收金额", "支付方式", "会员卡号", "类型", "状态"),
    *("原单号", "配送方式", "收货人", "收货电话", "收货地址", "备注"),
)


class Rows(Protocol):
    """Takes the rows of a file."""

    def writerow(self, row: Iterable[Any], /) -> Any:
        """Write one."""
        ...


Encoding = Literal["utf-8", "utf-8-sig", "gb18030"]


def write(receipts: Iterable[Deal | Return], encoding: Encoding = "utf-8-sig") -> bytes:
    """Return a file with these receipts."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(HEADER)
    for receipt in receipts:
        if isinstance(receipt, Deal):
            _sale(writer, receipt)
        else:
            _return(writer, receipt)
    return out.getvalue().encode(encoding, "replace")


def line_id(deal: Deal, at: int) -> str:
    """Return the number of a row."""
    del deal
    return str(at + 1)


def order_no(number: str, at_ms: int) -> str:
    """Return the order number that a receipt gets: its business day before its own number."""
    return f"{day(at_ms)}-{number}"


def _sale(writer: Rows, deal: Deal) -> None:
    at = wall(deal.ordered_ms).replace("-", "/")
    void = deal.status == "cancelled"
    for place, item in enumerate(deal.items):
        first = place == 0
        writer.writerow(
            (
                *(deal.number, deal.shop, f"{deal.shop} 店", "01", "收银01", at, place + 1, item.sku, item.name),
                *(item.quantity, yuan(item.price), yuan(item.discount), yuan(item.total)),
                yuan(deal.discount) if first else "",
                yuan(deal.freight) if first else "",
                yuan(deal.payable) if first else "",
                "微信",
                deal.buyer.id,
                "销售",
                "作废" if void else "已完成",
                "",
                "现场" if deal.counter else "配送",
                *(("", "", "") if deal.counter else (deal.buyer.name, deal.buyer.phone, deal.buyer.address)),
                deal.message,
            )
        )


def _return(writer: Rows, back: Return) -> None:
    at = wall(back.at_ms).replace("-", "/")
    for place, item in enumerate(back.items):
        writer.writerow(_return_row(back, at, place, item))


def _return_row(back: Return, at: str, place: int, item: Item) -> tuple[object, ...]:
    refund = sum(each.total for each in back.items)
    return (
        *(back.number, back.shop, f"{back.shop} 店", "02", "收银02", at, place + 1, item.sku, item.name),
        *(-item.quantity, yuan(item.price), yuan(item.discount), yuan(-item.total)),
        *("", "", yuan(-refund) if place == 0 else "", "微信", "", "退货", "已完成"),
        *(back.original, "", "", "", "", "退货"),
    )
