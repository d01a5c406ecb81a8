"""What the columns of each channel's statement mean.

Names of columns are public: WeChat Pay documents its trade bill (pay.weixin.qq.com, 交易账单文件格式说明). Alipay's two
bills (账务明细, 业务明细), JD's settlement details, Pinduoduo's 货款明细 and Douyin's 动账明细 are known from public
programs that read their exports. Marked *inferred*: which words count as fees, signs of Alipay's service fee, and how
a row that has no number of its own is told from others.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from adapters.statements.row import BadRow, Row
from domain.finance import Line, LineKind
from domain.money import MINOR_DIGITS

Read = Callable[[Row], list[Line]]
"""Returns what a row says; nothing where it says nothing of money that moved. Orders are the channel's numbers yet."""


class Format(NamedTuple):
    """One way of writing a statement."""

    name: str
    settles: bool
    """Whether it tells of settlements with the merchant, and not of payments on the day they are made."""
    columns: tuple[str, ...]
    """Columns that tell it from others (see `row.column_name`)."""
    read: Read
    lacks: str = ""
    """Column that only other statements have: a bill of refunds alone is no whole day."""
    totals: str = ""
    """First column of the totals behind the rows, as their header names it."""
    service: str = ""
    """Kind of the payment service that writes it, whose settings may say how it writes order numbers."""
    ticked: bool = False
    """Whether each cell begins with a backtick, and none is quoted."""


_FEES: Final = re.compile(r"费|佣金|扣点|保险|保费|分成|推广|赔付|罚|违约|广告|运费|扣款|返佣|京豆|短信|积分|税")
"""*Inferred*: what a channel's share, penalty or service is called."""
_TRANSFERS: Final = re.compile(r"提现|充值|转账|划转|转入|转出|余额|保证金|结转|冻结|解冻")
_TAOBAO_NUMBER: Final = re.compile(r"T[0-9]+P([0-9]+)")


def order_number(channel: str, text: str) -> str:
    """Return the channel's order number as its orders carry it: Alipay writes T200P before Taobao's."""
    if channel == "taobao":
        found = _TAOBAO_NUMBER.fullmatch(text)
        return found[1] if found else text
    return text


def _kind_of(word: str, remark: str = "") -> LineKind:
    """Tell fees and transfers by the channel's word, or by its remark where the word says nothing (其它)."""
    if _TRANSFERS.search(word):
        return "transfer"
    return "fee" if _FEES.search(word) or _FEES.search(remark) else "unknown"


def _wechat(row: Row) -> list[Line]:
    """A trade bill of WeChat Pay: payments and refunds of the day, each with its fee."""
    at_ms, order = row.moment("交易时间"), row.number("商户订单号")
    currency = row.text("货币种类", "货币类型") or "CNY"
    if currency not in MINOR_DIGITS:
        raise BadRow(f"货币种类 {currency[:10]!r} is no currency (ISO 4217)")
    state = row.text("交易状态")
    fee = row.money("手续费", currency=currency)
    if state == "SUCCESS":
        number = row.needed("微信订单号")
        amount = row.money("订单金额", "总金额", currency=currency)
        if amount <= 0:
            raise BadRow("a payment of nothing: 订单金额 is not above 0; ask WeChat Pay, and export again")
        lines = [Line(number, "paid", amount, currency, at_ms, order, state)]
    elif state in ("REFUND", "REVOKED"):
        number = row.number("微信退款单号") or f"{row.needed('微信订单号')}/{state.lower()}"
        if row.text("退款状态") in ("FAIL", "CHANGE"):
            return []  # it did not reach the customer; a later one has a number of its own
        amount = row.money("申请退款金额", currency=currency) or row.money("退款金额", currency=currency)
        if amount <= 0:
            raise BadRow("a refund of nothing: 退款金额 is not above 0; ask WeChat Pay, and export again")
        lines = [Line(number, "refunded", amount, currency, at_ms, order, state)]
        fee = -abs(fee)
    else:
        raise BadRow(f"交易状态 {state[:20]!r} is none of SUCCESS, REFUND, REVOKED: has it been cut inside a row?")
    return [*lines, *_fee(f"{number}/fee", fee, currency, at_ms, order, "手续费")]


def _alipay_trades(row: Row) -> list[Line]:
    """Alipay's 业务明细: trades and refunds of the day. Signs are left aside; the kind says the direction."""
    at_ms, order = row.moment("完成时间", "创建时间"), row.number("商户订单号")
    number, word = row.needed("支付宝交易号"), row.text("业务类型")
    amount, fee = abs(row.money("订单金额")), abs(row.money("服务费"))
    if word == "交易":
        lines = [Line(number, "paid", amount, "CNY", at_ms, order, word)]
    elif word == "退款":
        number = f"{number}/{row.number('退款批次号/请求号', '退款批次号') or 'refund'}"
        lines = [Line(number, "refunded", amount, "CNY", at_ms, order, word)]
        fee = -fee
    else:
        lines = [Line(number, "unknown", amount, "CNY", at_ms, order, word)]
    return [*lines, *_fee(f"{number}/fee", fee, "CNY", at_ms, order, "服务费")]


_ALIPAY_PAID: Final = ("在线支付", "交易付款", "交易收款", "交易分账", "收款")
_ALIPAY_BACK: Final = ("交易退款", "退款")


def _alipay_account(row: Row) -> list[Line]:
    """Alipay's 账务明细: every movement of the account; of a Taobao trade, when the customer confirms."""
    at_ms, order = row.moment("发生时间"), row.number("商户订单号")
    number, word = row.needed("账务流水号", "财务流水号"), row.text("业务类型")
    amount = abs(row.money("收入金额")) - abs(row.money("支出金额"))
    if amount > 0 and word.startswith(_ALIPAY_PAID):
        return [Line(number, "paid", amount, "CNY", at_ms, order, word)]
    if amount < 0 and word.startswith(_ALIPAY_BACK):
        return [Line(number, "refunded", -amount, "CNY", at_ms, order, word)]
    remark = f"{row.text('业务描述')} {row.text('备注')}"
    return [_other(number, amount, at_ms, order, word, remark)] if amount else []


def _pinduoduo(row: Row) -> list[Line]:
    """Pinduoduo's 货款明细. It numbers no movement: what sets a row apart is all that it says (*inferred*)."""
    at_ms, order, word = row.moment("发生时间"), row.number("商户订单号"), row.text("账务类型")
    income, outgo = abs(row.money("收入金额")), abs(row.money("支出金额"))
    amount = income - outgo
    number = row.made_number(order, str(at_ms), str(amount), word, row.text("业务描述"))
    if word == "交易收入" and amount > 0:
        return [Line(number, "paid", amount, "CNY", at_ms, order, word)]
    if word.startswith("优惠券") and amount > 0:
        return [Line(number, "subsidy", amount, "CNY", at_ms, order, word)]
    if word.startswith("退款") and amount < 0:
        return [Line(number, "refunded", -amount, "CNY", at_ms, order, word)]
    return [_other(number, amount, at_ms, order, word)] if amount else []


def _jd(row: Row) -> list[Line]:
    """JD's settlement details: one row for each order, goods and kind of charge; those not settled yet say nothing."""
    if row.has("费用结算时间") and not row.text("费用结算时间"):
        return []
    at_ms, order = row.moment("费用结算时间", "结算时间"), row.number("订单编号", "订单号")
    word = row.text("费用项", "费用名称")
    direction = row.text("商家应收/应付", "收支方向")
    amount = row.money("金额", "应结金额")
    if direction in ("应付", "支出"):
        amount = -abs(amount)
    elif direction not in ("应收", "收入", ""):
        raise BadRow(f"商家应收/应付 {direction[:20]!r} is neither 应收 nor 应付; export again")
    number = row.made_number(row.number("单据编号"), order, row.number("商品编号"), word, str(amount), str(at_ms))
    if word == "货款":
        kind: LineKind = "paid" if amount > 0 else "refunded"
        return [Line(number, kind, abs(amount), "CNY", at_ms, order, word)] if amount else []
    return [_other(number, amount, at_ms, order, word)] if amount else []


_DOUYIN_PARTS: Final[Mapping[str, LineKind]] = {
    "订单实付应结": "paid",
    "运费实付": "paid",
    "平台补贴": "subsidy",
    "实际平台补贴": "subsidy",
    "达人补贴": "subsidy",
    "抖音支付补贴": "subsidy",
    "订单退款": "refunded",
    "平台服务费": "fee",
    "技术服务费": "fee",
    "佣金": "fee",
    "渠道分成": "fee",
    "招商服务费": "fee",
    "站外推广费": "fee",
    "其他分成": "fee",
}
"""Columns that a movement of Douyin's is made up of."""


def _douyin(row: Row) -> list[Line]:
    """Douyin's 动账明细: a movement of the account, with the parts it is made up of where it settles an order."""
    at_ms, number = row.moment("动账时间"), row.needed("动账流水号")
    order = row.number("订单号", "主订单编号")
    word, direction = row.text("动账场景", "动账摘要"), row.text("动账方向")
    amount = abs(row.money("动账金额"))
    if direction == "出账":
        amount = -amount
    elif direction != "入账":
        raise BadRow(f"动账方向 {direction[:20]!r} is neither 入账 nor 出账; export again")
    parts = [(name, kind, row.money(name)) for name, kind in _DOUYIN_PARTS.items() if row.has(name)]
    parts = [each for each in parts if each[2]]
    if not parts:
        if direction == "入账" and order and "结算" in word:
            return [Line(number, "paid", amount, "CNY", at_ms, order, word)]
        if direction == "出账" and order and "退款" in word:
            return [Line(number, "refunded", -amount, "CNY", at_ms, order, word)]
        return [_other(number, amount, at_ms, order, word)] if amount else []
    whole = sum(value for _, _, value in parts)
    lines = [
        Line(f"{number}/{name}", kind, -value if kind in ("refunded", "fee") else value, "CNY", at_ms, order, name)
        for name, kind, value in parts
    ]
    if whole != amount:  # a column that is new: what it took is told as unknown, and not lost
        lines.append(Line(f"{number}/rest", "unknown", whole - amount, "CNY", at_ms, order, f"{word} 其余"))
    return lines


def _other(number: str, amount: int, at_ms: int, order: str, word: str, remark: str = "") -> Line:
    """Return a movement that is neither payment nor refund; what the channel takes counts above nothing."""
    return Line(number, _kind_of(word, remark), -amount, "CNY", at_ms, order, word)


def _fee(number: str, fee: int, currency: str, at_ms: int, order: str, word: str) -> Sequence[Line]:
    return (Line(number, "fee", fee, currency, at_ms, order, word),) if fee else ()


FORMATS: Final[Sequence[Format]] = (
    Format(
        "wechat-trade",
        settles=False,
        columns=("交易时间", "微信订单号", "商户订单号", "交易状态", "微信退款单号", "退款金额"),
        lacks="退款申请时间",
        read=_wechat,
        totals="总交易单数",
        service="wechat_pay",
        ticked=True,
    ),
    Format(
        "alipay-trade",
        settles=False,
        columns=("支付宝交易号", "商户订单号", "业务类型", "订单金额"),
        read=_alipay_trades,
    ),
    Format(
        "alipay-account",
        settles=True,
        columns=("账务流水号", "商户订单号", "业务类型", "收入金额", "支出金额", "发生时间"),
        read=_alipay_account,
    ),
    Format("jd-settlement", settles=True, columns=("订单编号", "单据编号", "费用项", "金额"), read=_jd),
    Format("jd-orders", settles=True, columns=("订单编号", "费用名称", "应结金额", "收支方向"), read=_jd),
    Format(
        "pinduoduo-payments",
        settles=True,
        columns=("商户订单号", "发生时间", "收入金额", "支出金额", "账务类型"),
        read=_pinduoduo,
    ),
    Format("douyin-movements", settles=True, columns=("动账时间", "动账流水号", "动账方向", "动账金额"), read=_douyin),
)
"""Every statement that can be read; the first one whose columns are all there is taken."""
