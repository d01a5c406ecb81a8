"""What the columns of a POS export mean: their names, the words in their cells, the template of a shop."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal

import msgspec

from domain.timehub import DateOrder

Nature = Literal["sale", "return", "void", "to_deliver", "handed_over"]
"""What a word in a kind, state or delivery column says of its row."""

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "receipt": (
        "小票号",
        "小票编号",
        "销售单号",
        "交易号",
        "交易单号",
        "单据号",
        "单号",
        "流水号",
        "交易流水号",
        "订单编号",
        "订单号",
        "receipt_no",
    ),
    "store_code": ("门店编号", "门店编码", "门店代码", "店号", "机构编号", "机构编码", "store_code"),
    "store_name": ("门店名称", "门店", "店铺", "店铺名称", "机构", "机构名称", "store_name"),
    "till": ("收银台", "收款台", "POS机号", "POS号", "款台号", "机号", "till"),
    "cashier": ("收银员", "收款员", "收银员代码", "收款员代码", "cashier"),
    "salesperson": ("营业员", "导购", "导购员"),
    "moment": ("销售时间", "交易时间", "消费时间", "结账时间", "sold_at"),
    "day": ("日期", "销售日期", "交易日期", "消费日期"),
    "clock": ("时间",),
    "business_day": ("营业日期", "营业日"),
    "line": ("行号", "line_no"),
    "index": ("序号",),
    "sku": ("商品编码", "货号", "SKU", "商品编号", "商品代码"),
    "barcode": ("条码", "国际条码", "商品条码", "barcode"),
    "name": ("商品名称", "品名", "name"),
    "spec": ("规格", "规格型号"),
    "unit": ("单位",),
    "quantity": ("数量", "销售数量", "quantity"),
    "price": ("单价", "零售价", "售价", "price"),
    "line_discount": ("折扣金额", "优惠", "优惠金额"),
    "line_amount": ("小计", "成交金额", "金额", "销售金额", "消费金额", "amount"),
    "payable": ("应收", "应收金额"),
    "order_discount": ("整单优惠", "整单折扣"),
    "rounding": ("抹零", "抹零金额"),
    "freight": ("运费", "配送费"),
    "paid": ("实收金额", "实收", "实付金额", "paid"),
    "change": ("找零", "找零金额"),
    "payment": ("支付方式", "付款方式", "收款方式"),
    "member": ("会员卡号", "会员号", "会员编号"),
    "phone": ("手机号", "手机号码", "会员手机", "手机"),
    "kind": ("类型", "交易类型", "单据类型"),
    "state": ("状态", "单据状态"),
    "reference": ("原单号", "原小票号", "原单流水号", "原流水号"),
    "reference_day": ("原单日期", "原销售日期"),
    "reference_store": ("原单门店", "原门店编号"),
    "remark": ("备注",),
    "delivery": ("配送方式", "提货方式", "取货方式", "交付方式"),
    "receiver_name": ("收货人", "收货人姓名"),
    "receiver_phone": ("收货电话", "收货人电话", "收货手机"),
    "receiver_detail": ("收货地址", "配送地址"),
    "means:现金": ("现金",),
    "means:微信": ("微信", "微信支付"),
    "means:支付宝": ("支付宝",),
    "means:银行卡": ("银行卡", "刷卡", "银联"),
    "means:储值卡": ("储值卡",),
    "means:购物券": ("购物券", "代金券", "礼券"),
}
"""Meaning of a column → its names. Where a file has several names of one meaning, the first here is taken."""

IDS: Final = ("receipt", "reference", "store_code", "reference_store", "line", "sku", "barcode", "member", "phone")
"""Columns whose numbers a spreadsheet destroys."""

WORDS: Final[Mapping[str, Nature]] = {
    **dict.fromkeys(("销售", "零售", "正常", "正常销售", "消费", "收银", "sale"), "sale"),
    **dict.fromkeys(("完成", "已完成", "已结账", "已支付", "已付款", "交易成功"), "sale"),
    **dict.fromkeys(("退货", "退款", "退", "销售退货", "已退货", "return"), "return"),
    **dict.fromkeys(("作废", "已作废", "废单", "已取消", "撤销", "void"), "void"),
    **dict.fromkeys(("自提", "到店自提", "门店自提", "配送", "送货", "送货上门", "快递", "邮寄", "外送"), "to_deliver"),
    **dict.fromkeys(("现场", "现场自带", "自带", "带走", "现货", "当场提货", "已提货", "店内"), "handed_over"),
}
"""What the words of kind, state and delivery columns say."""

_EMPTY: Final = frozenset({"", "-", "--", "—", "无", "null", "none"})
_EMPTY_CHARS_MAX: Final = max(map(len, _EMPTY))
_DESTROYED: Final = re.compile(
    r"[+-]?[0-9]+(?:\.[0-9]+)?[eE][+-][0-9]+|[+-]?[0-9]+\.[0-9]+[eE][0-9]+"  # 2.02611E+15
    r"|#+|#(?:N/A|NAME\?|REF!|VALUE!|NUM!|NULL!|DIV/0!)"  # a column too narrow, a formula gone wrong
)
_GUARDS: Final = ("=", "'")
_UNIT: Final = re.compile(r"\((?:元|¥|rmb|cny|件)\)$")


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """How one shop's POS writes its files, where that cannot be told from the file."""

    channel: str = "pos"
    """Name of the channel in keys and settings."""
    receipt_numbers_unique: bool = False
    """Receipt numbers never come again in a store; otherwise the business date goes before them."""
    date_order: DateOrder | None = None
    """How `11/12/2026` is meant; without it such a row is refused."""
    fold: Literal["earlier", "later"] | None = None
    """Which hour is meant of the one that comes twice when clocks go back; without it such a row is refused."""
    zone: str = "+08:00"
    """Zone of the till's clock: an offset or an IANA name."""
    target: str = "Asia/Shanghai"
    """Zone of the times that people read."""
    currency: str = "CNY"
    columns: Mapping[str, str] = {}
    """Name in the file → meaning (a key of `NAMES`, `means:<name>`, or "" for a column to be kept as unknown)."""
    words: Mapping[str, Nature] = {}
    """More words of kind, state and delivery columns."""
    sums_checked: bool = True
    """A receipt whose money does not add up is refused: rows of it may be in another file."""
    encoding: str = ""
    """Of the files; "" = each file tells it."""
    separator: str = ""
    """Between cells; "" = each file tells it."""


class Layout:
    """Which column of a file means what. The rows are always as wide as the header."""

    __slots__ = ("_places", "header", "means", "unknown")

    def __init__(self, header: Sequence[str], template: Template) -> None:
        """Find the columns.

        Raises:
            ValueError: the template names a meaning that does not exist.
        """
        self.header = header
        found: dict[str, tuple[int, int]] = {}
        for place, text in enumerate(header):
            meaning, rank = _meaning(text, template)
            if meaning and (meaning not in found or rank < found[meaning][0]):
                found[meaning] = (rank, place)
        self._places = {meaning: place for meaning, (_, place) in found.items()}
        self.means = {m.removeprefix("means:"): p for m, p in self._places.items() if m.startswith("means:")}
        taken = set(self._places.values())
        self.unknown = _distinct((place, clean(text)) for place, text in enumerate(header) if place not in taken)

    @property
    def places(self) -> Mapping[str, int]:
        """Meaning → number of its column, from 0."""
        return self._places

    def has(self, *meanings: str) -> bool:
        """Tell whether one of these columns is there."""
        return any(meaning in self._places for meaning in meanings)

    def name(self, meaning: str) -> str:
        """Return the file's own name of a column, for people."""
        place = self._places.get(meaning)
        return meaning if place is None else clean(self.header[place])

    def value(self, cells: Sequence[str], meaning: str) -> str:
        """Return a cell without guards; "" where it, or its column, is missing or spelled empty."""
        place = self._places.get(meaning)
        if place is None or not cells[place]:
            return ""
        return said(cells[place])

    def text(self, cells: Sequence[str], meaning: str) -> str:
        """Return a cell in which `0` means nothing too: an id, a name, a word."""
        text = self.value(cells, meaning)
        return "" if text == "0" else text


def knower(template: Template) -> Callable[[str], bool]:
    """Return what tells whether a cell is a known column name."""
    return lambda cell: bool(_meaning(cell, template)[0])


def clean(cell: str) -> str:
    """Take off what only guards a cell against spreadsheets: `="0012"`, a leading `'` or tab, blanks around."""
    text = cell.strip()
    if text[:1] not in _GUARDS:
        return text
    if text.startswith('="') and text.endswith('"') and len(text) > 2:  # noqa: PLR2004 -- `="` alone is no guard
        text = text[2:-1].strip()
    return text[1:].strip() if text.startswith("'") else text


def said(cell: str) -> str:
    """Return what a cell says; "" where it is spelled empty."""
    text = clean(cell)
    return "" if len(text) <= _EMPTY_CHARS_MAX and text.lower() in _EMPTY else text


def destroyed(text: str) -> bool:
    """Tell whether a spreadsheet has turned an id into something from which it cannot be had back."""
    return _DESTROYED.fullmatch(text) is not None


def _meaning(text: str, template: Template) -> tuple[str, int]:
    """Return what a column name means, and its rank among the names of that meaning."""
    name = clean(text)
    if name in template.columns:
        meaning = template.columns[name]
        if meaning and meaning not in NAMES and not meaning.startswith("means:"):
            raise ValueError(f"the template gives column {name!r} the meaning {meaning!r}, which does not exist")
        return meaning, -1
    return _ALIASES.get(_normal(name), ("", 0))


@lru_cache(maxsize=4096)
def _normal(name: str) -> str:
    """Fold what does not matter in a name: width, case, blanks, the unit in brackets."""
    return _UNIT.sub("", "".join(unicodedata.normalize("NFKC", name).lower().split()))


_ALIASES: Final = {
    _normal(name): (meaning, rank) for meaning, names in NAMES.items() for rank, name in enumerate(names)
}


def _distinct(columns: Iterable[tuple[int, str]]) -> dict[str, int]:
    """Name each unknown column once; one without a name by its place, further ones of a name by their number."""
    named: dict[str, int] = {}
    for place, text in columns:
        base = text or f"column {place + 1}"
        name, number = base, 1
        while name in named:
            number += 1
            name = f"{base} ({number})"
        named[name] = place
    return dict(sorted(named.items()))
