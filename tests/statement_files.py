"""Statements as channels export them, made from movements of money, for tests."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from adapters.statements.row import ZONE
from domain.money import format_minor

WECHAT = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,"
    "代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,"
    "申请退款金额,费率备注"
)
WECHAT_TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
ALIPAY_ACCOUNT = (
    "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,"
    "收入金额（+元）,支出金额（-元）,账户余额（元）,交易渠道,业务类型,备注"
)
ALIPAY_TRADES = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,"
    "支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,"
    "退款批次号/请求号,服务费（元）,分润（元）,备注"
)
JD = (
    "订单编号,单据编号,单据类型,商品编号,商户订单号,商品名称,结算状态,费用发生时间,费用计费时间,费用结算时间,费用项,金额,币种,"
    "商家应收/应付,钱包结算备注,店铺号,京东门店编号,品牌门店编号,门店名称,备注"
)
PINDUODUO = "商户订单号,发生时间,收入金额（+元）,支出金额（-元）,账务类型,备注,业务描述"
DOUYIN = (
    "动账时间,动账流水号,动账方向,动账金额,动账账户,动账场景,子订单号,订单号,"
    "订单实付应结,平台补贴,订单退款,平台服务费,佣金,备注"
)
PERSON = "张三 (13800138000)"
"""Who pays, where a statement names him; nothing of it may get into the log."""


class Movement(NamedTuple):
    """Money that moves. Minor units."""

    order_no: str
    at_ms: int
    amount: int
    kind: str = "paid"
    """paid, refunded, or any other word the statement is to say."""
    fee: int = 0
    number: str = ""
    """Of the movement; made of the rest where it is left out."""
    currency: str = "CNY"
    subsidy: int = 0

    @property
    def id(self) -> str:
        return self.number or f"42{self.order_no}{self.kind[:1]}"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, ZONE).strftime("%Y-%m-%d %H:%M:%S")


def _yuan(amount: int) -> str:
    return format_minor(amount, "CNY")


def wechat(moves: Sequence[Movement], encoding: str = "utf-8-sig") -> bytes:
    """WeChat Pay's trade bill: backticks, totals in the last two lines."""
    rows = []
    for each in moves:
        paid = each.kind == "paid"
        cells = [
            _time(each.at_ms), "wx01", "1900000109", "0", "", each.id if paid else f"42{each.order_no}p", each.order_no,
            "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "JSAPI", "SUCCESS" if paid else "REFUND", "OTHERS", each.currency,
            _yuan(each.amount) if paid else "0.00", "0.00", "0" if paid else each.id, "0" if paid else each.order_no,
            "0.00" if paid else _yuan(each.amount), "0.00", "" if paid else "ORIGINAL", "" if paid else "SUCCESS",
            "鞋, 黑色", "", f"{each.fee / 100:.5f}", "0.60%", _yuan(each.amount) if paid else "0.00",
            "0.00" if paid else _yuan(each.amount), "",
        ]  # fmt: skip
        rows.append(",".join("`" + cell for cell in cells))
    totals = f"`{len(moves)},`0.00,`0.00,`0.00,`0.00,`0.00,`0.00"
    return "\r\n".join([WECHAT, *rows, WECHAT_TOTALS, totals, ""]).encode(encoding)


def alipay_account(moves: Sequence[Movement], encoding: str = "gb18030", prefix: str = "T200P") -> bytes:
    """Alipay's 账务明细: comments around, tabs behind numbers, counts of the rows at the end."""
    words = {"paid": "交易付款", "refunded": "交易退款"}
    rows, income, outgo = [], 0, 0
    for each in moves:
        parts = [(each.id, words.get(each.kind, each.kind), each.amount if each.kind == "paid" else -each.amount)]
        if each.fee:
            parts.append((f"{each.id}F", "收费", -each.fee))
        for number, word, amount in parts:
            income, outgo = income + (amount > 0), outgo + (amount < 0)
            order = f"{prefix}{each.order_no}" if each.order_no else ""
            rows.append(
                f"{number}\t,B{number}\t,{order}\t,鞋\t,{_time(each.at_ms)},{PERSON}\t,"
                f"{_yuan(max(amount, 0))},{_yuan(min(amount, 0))},0.00,支付宝,{word},"
            )
    head = ["#支付宝账务明细查询", "#账号：[20880000]", "#---账务明细列表---", ALIPAY_ACCOUNT]
    tail = [
        "#---账务明细列表结束---",
        f"#支出合计：{outgo}笔，共0.00元",
        f"#收入合计：{income}笔，共0.00元",
        "#导出时间：[x]",
    ]
    return "\r\n".join([*head, *rows, *tail, ""]).encode(encoding)


def alipay_trades(moves: Sequence[Movement], encoding: str = "gb18030") -> bytes:
    """Alipay's 业务明细: refunds with amounts below nothing."""
    rows = []
    for each in moves:
        paid, sign = each.kind == "paid", 1 if each.kind == "paid" else -1
        word = {"paid": "交易", "refunded": "退款"}.get(each.kind, each.kind)
        cells = [
            f"42{each.order_no}p\t", f"{each.order_no}\t", word, "鞋", _time(each.at_ms), _time(each.at_ms), "", "",
            "", "", PERSON, _yuan(sign * each.amount), _yuan(sign * each.amount), "0.00", "0.00", "0.00", "0.00",
            "0.00", "", "0.00", "0.00", "" if paid else f"{each.id}\t", _yuan(-sign * each.fee), "0.00", "",
        ]  # fmt: skip
        rows.append(",".join(cells))
    head = ["#支付宝业务明细查询", "#---业务明细列表---", ALIPAY_TRADES]
    return "\r\n".join([*head, *rows, "#---业务明细列表结束---", ""]).encode(encoding)


def jd(moves: Sequence[Movement], encoding: str = "gb18030") -> bytes:
    """JD's settlement details: a row for each charge."""
    rows = []
    for each in moves:
        goods = each.kind in ("paid", "refunded")
        charges = [("货款" if goods else each.kind, each.amount if each.kind == "paid" else -each.amount)]
        if each.fee:
            charges.append(("佣金", -each.fee))
        for word, amount in charges:
            time, side = _time(each.at_ms), "应收" if amount > 0 else "应付"
            cells = [each.order_no, each.id, "订单", "100", "", "鞋", "已结算", time, time, time, word,
                     _yuan(abs(amount)), "CNY", side, "", "1", "", "", "", ""]  # fmt: skip
            rows.append(",".join(f'="{cell}"' if cell == each.order_no else cell for cell in cells))
    return "\r\n".join([JD, *rows, "合计" + "," * JD.count(","), ""]).encode(encoding)


def pinduoduo(moves: Sequence[Movement], encoding: str = "utf-8-sig") -> bytes:
    """Pinduoduo's 货款明细: titles above, no number for any row."""
    words = {"paid": ("交易收入", "0010002|交易收入-订单收入"), "refunded": ("退款", "0020002|交易退款")}
    rows = []
    for each in moves:
        word, text = words.get(each.kind, (each.kind, each.kind))
        parts = [(word, text, each.amount if each.kind == "paid" else -each.amount)]
        if each.subsidy:
            parts.append(("优惠券结算", "0010005|优惠券结算", each.subsidy))
        if each.fee:
            parts.append(("技术服务费", "0030002|技术服务费", -each.fee))
        for kind, told, amount in parts:
            income, outgo = _yuan(max(amount, 0)), _yuan(min(amount, 0))
            rows.append(f"{each.order_no}\t,{_time(each.at_ms)},{income},{outgo},{kind},,{told}")
    return "\n".join(["货款明细", "店铺,测试", "", PINDUODUO, *rows, ""]).encode(encoding)


def douyin(moves: Sequence[Movement], encoding: str = "utf-8-sig") -> bytes:
    """Douyin's 动账明细: one row is made up of parts."""
    rows = []
    for each in moves:
        paid = each.kind == "paid"
        whole = (each.amount if paid else -each.amount) + each.subsidy - each.fee
        known = each.kind in ("paid", "refunded")
        cells = [
            _time(each.at_ms), f"'{each.id}", "入账" if whole > 0 else "出账", _yuan(abs(whole)), "聚合账户",
            "货款结算入账" if paid else "退款" if known else each.kind, f"'{each.order_no}", f"'{each.order_no}",
            _yuan(each.amount) if paid else "0", _yuan(each.subsidy) if each.subsidy else "0",
            _yuan(-each.amount) if known and not paid else "0", _yuan(-each.fee) if each.fee else "0", "0", "",
        ]  # fmt: skip
        rows.append(",".join(cells))
    return "\n".join([DOUYIN, *rows, ""]).encode(encoding)


def written(file: Path, content: bytes) -> Path:
    """Write a statement."""
    file.write_bytes(content)
    return file
