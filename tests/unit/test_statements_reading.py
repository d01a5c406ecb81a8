"""Statements as channels export them: any encoding and ornament, the right meaning, nothing personal or lost."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest

from adapters.payments.settings import PaymentService, order_of
from adapters.statements.reading import ReadRow, Statement, UnreadableStatement
from domain.finance import Line
from tests import statement_files as made
from tests.spec import T0
from tests.statement_files import Movement, written

MOVES = (
    Movement("1001", T0, 19_900, fee=119),
    Movement("1002", T0 + 60_000, 5),
    Movement("1001", T0 + 120_000, 2_900, "refunded"),
)
Write = Callable[[Sequence[Movement]], bytes]
FORMATS: dict[str, tuple[str, Write]] = {
    "wechat-trade": ("miniprogram", made.wechat),
    "alipay-account": ("taobao", made.alipay_account),
    "alipay-trade": ("taobao", made.alipay_trades),
    "jd-settlement": ("jd", made.jd),
    "pinduoduo-payments": ("pinduoduo", made.pinduoduo),
    "douyin-movements": ("douyin", made.douyin),
}


def read(tmp_path: Path, content: bytes, channel: str = "taobao") -> tuple[Statement, list[ReadRow], list[Line]]:
    statement = Statement(written(tmp_path / "bill.csv", content), channel, "s")
    rows = list(statement.rows())
    return statement, rows, [line for row in rows for line in row.lines]


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_says_what_was_paid_refunded_and_kept(tmp_path: Path, name: str) -> None:
    channel, write = FORMATS[name]
    statement, rows, lines = read(tmp_path, write(MOVES), channel)
    assert (statement.format.name, statement.refused, statement.cut) == (name, 0, ""), [row.problem for row in rows]
    told = [(line.order.rpartition(":")[2], line.kind, line.amount, line.currency) for line in lines]
    assert sorted(told) == sorted(
        [("1001", "paid", 19_900, "CNY"), ("1001", "fee", 119, "CNY"), ("1002", "paid", 5, "CNY"),
         ("1001", "refunded", 2_900, "CNY")]
    )  # fmt: skip
    assert {line.at_ms for line in lines} == {each.at_ms for each in MOVES}
    assert len({line.id for line in lines}) == len(lines)


@pytest.mark.parametrize("name", FORMATS)
def test_who_paid_is_never_read(tmp_path: Path, name: str) -> None:
    channel, write = FORMATS[name]
    _, _, lines = read(tmp_path, write(MOVES), channel)
    stored = msgspec.json.encode(lines).decode()
    for personal in ("张三", "13800138000", "oUpF8u", "鞋"):
        assert personal not in stored


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("write", [made.wechat, made.pinduoduo, made.alipay_account])
def test_encodings_mean_the_same(
    tmp_path: Path, write: Callable[[Sequence[Movement], str], bytes], encoding: str
) -> None:
    assert read(tmp_path, write(MOVES, encoding))[2] == read(tmp_path, write(MOVES, "utf-8"))[2]


def test_a_comma_in_a_name_of_goods_moves_no_cell(tmp_path: Path) -> None:
    """WeChat quotes nothing; cells are told by their backticks."""
    assert "鞋, 黑色" in made.wechat(MOVES).decode("utf-8-sig")
    assert read(tmp_path, made.wechat(MOVES), "miniprogram")[0].refused == 0


def test_a_service_that_writes_order_numbers_otherwise_is_understood(tmp_path: Path) -> None:
    service = PaymentService("wxpay", "miniprogram", "s", order_no="W{out_trade_no}", suffix="_")
    file = written(tmp_path / "bill.csv", made.wechat([Movement("W77_2", T0, 5), Movement("X1", T0, 5)]))
    good, bad = Statement(file, "miniprogram", "s", {"wechat_pay": partial(order_of, service)}).rows()
    assert [line.order for line in good.lines] == ["order-miniprogram:s:77"]
    assert "is not written as W{out_trade_no}" in bad.problem


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("`421001p", "`4.21E+27", "no number any more"),
        ("`199.00,`0.00,`\r\n", "`much,`0.00,`\r\n", "no amount of money"),
        ("`SUCCESS,`OTHERS", "`WAITING,`OTHERS", "none of SUCCESS"),
        ("`CNY", "`yuan", "no currency"),
        (",`0.60%,`199.00,`0.00,`\r\n", "\r\n", "cut inside this row"),
    ],
)
def test_a_bad_row_is_named_and_the_rest_goes_on(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = made.wechat(MOVES, "utf-8").decode()
    assert old in text
    statement, rows, _ = read(tmp_path, text.replace(old, new, 1).encode(), "miniprogram")
    bad = [row for row in rows if row.problem]
    assert [row.number for row in bad] == [2]
    assert says in bad[0].problem
    assert bad[0].raw == text.replace(old, new, 1).splitlines()[1]
    assert (statement.read, statement.refused, statement.cut) == (2, 1, "")


def test_a_row_without_time_or_with_an_open_quotation_mark_is_its_own_row_only(tmp_path: Path) -> None:
    text = made.pinduoduo(MOVES, "utf-8").decode()
    rows = text.splitlines()
    rows[5] = rows[5].replace("2026", "soon")
    rows[6] = '"' + rows[6]
    statement, found, _ = read(tmp_path, "\n".join(rows).encode(), "pinduoduo")
    assert [row.number for row in found if row.problem] == [6, 7]
    assert statement.read == 2


@pytest.mark.parametrize("write", [made.wechat, made.alipay_account])
def test_a_file_that_lost_rows_is_noticed_by_its_totals(tmp_path: Path, write: Write) -> None:
    encoding = "gb18030" if write is made.alipay_account else "utf-8-sig"
    lines = write(MOVES).decode(encoding).split("\r\n")
    del lines[5 if write is made.alipay_account else 2]
    assert "totals count" in read(tmp_path, "\r\n".join(lines).encode(encoding))[0].cut
    cut = "\r\n".join(lines[:3]).encode(encoding)
    if write is made.wechat:
        assert "are missing" in read(tmp_path, cut)[0].cut


def test_equal_rows_of_a_statement_without_numbers_count_each(tmp_path: Path) -> None:
    """Two equal coupons of one order in one second are two, and the same two when the file comes again."""
    twice = made.pinduoduo((MOVES[1], MOVES[1]))
    first, second = read(tmp_path, twice, "pinduoduo")[2]
    assert first.id != second.id
    assert {line.id for line in read(tmp_path, made.pinduoduo(MOVES), "pinduoduo")[2]} > {first.id}


def test_rows_that_differ_only_in_what_is_not_read_count_each(tmp_path: Path) -> None:
    """The remark is no part of a row's number; two movements that it alone tells apart are two all the same."""
    twice = made.pinduoduo((MOVES[1], MOVES[1]), "utf-8").decode()
    *rows, last = twice.splitlines()
    cells = last.split(",")
    cells[made.PINDUODUO.split(",").index("备注")] = "again"
    remarked = "\n".join([*rows, ",".join(cells)])
    assert remarked != twice
    assert read(tmp_path, remarked.encode(), "pinduoduo")[2] == read(tmp_path, twice.encode(), "pinduoduo")[2]
    assert len({line.id for line in read(tmp_path, remarked.encode(), "pinduoduo")[2]}) == 2


def test_a_row_that_was_cut_below_a_header_with_a_nameless_column_is_its_own_row_only(tmp_path: Path) -> None:
    text = (
        "商户订单号,,发生时间,收入金额,支出金额,账务类型,业务描述\n"
        "1,,2026-02-09 10:00:00,10.00,0,交易收入\n"
        "2,,2026-02-09 10:00:00,10.00,0,交易收入,x\n"
    )
    statement, rows, lines = read(tmp_path, text.encode(), "pinduoduo")
    assert ["cut inside this row" in row.problem for row in rows] == [True, False]
    assert (statement.read, len(lines)) == (1, 1)


def test_what_douyin_takes_under_a_column_nobody_knows_is_told(tmp_path: Path) -> None:
    text = made.douyin(MOVES[:1], "utf-8").decode().replace(",197.81,", ",190.00,")
    unknown = [line for line in read(tmp_path, text.encode(), "douyin")[2] if line.kind == "unknown"]
    assert [line.amount for line in unknown] == [781]


def test_a_charge_under_an_unknown_name_is_unknown_and_a_withdrawal_is_none(tmp_path: Path) -> None:
    moves = [Movement("", T0, 100, "神秘扣除", number="a"), Movement("", T0, 100, "提现", number="b")]
    kinds = [line.kind for line in read(tmp_path, made.alipay_account(moves))[2]]
    assert kinds == ["unknown", "transfer"]


def test_a_word_that_says_nothing_is_told_by_the_remark_which_is_not_kept(tmp_path: Path) -> None:
    """Tmall's commission comes as 其它 with a remark."""
    text = made.alipay_account([Movement("", T0, 100, "其它", number="a")], "utf-8").decode()
    (line,) = read(tmp_path, text.replace(",其它,", ",其它,天猫佣金（类目）扣款").encode())[2]
    assert (line.kind, line.amount, line.word) == ("fee", 100, "其它")


@pytest.mark.parametrize("wrong", ["0026-02-02 10:40:00", "9026-02-02 10:40:00"])
def test_a_time_of_another_age_is_none(tmp_path: Path, wrong: str) -> None:
    text = made.wechat(MOVES[:1], "utf-8").decode()
    right = text.splitlines()[1].split(",")[0].lstrip("`")
    statement, rows, _ = read(tmp_path, text.replace(right, wrong).encode(), "miniprogram")
    assert statement.refused == 1
    assert "is no time" in rows[0].problem


def test_a_bill_of_payments_or_of_refunds_alone_is_no_whole_day(tmp_path: Path) -> None:
    """WeChat gives three bills; a day that seems to have no refunds would make each one of them a difference."""
    text = made.wechat(MOVES, "utf-8").decode()
    for bill in (text.replace("微信退款单号,", "退款号,"), text.replace("交易时间,", "退款申请时间,交易时间,", 1)):
        with pytest.raises(UnreadableStatement, match="no header"):
            read(tmp_path, bill.encode(), "miniprogram")


def test_a_word_without_end_is_cut(tmp_path: Path) -> None:
    moves = [Movement("", T0, 100, "谜" * 5_000, number="a")]
    assert [len(line.word) for line in read(tmp_path, made.alipay_account(moves))[2]] == [61]


def test_what_jd_has_not_settled_yet_says_nothing(tmp_path: Path) -> None:
    text = made.jd(MOVES[:1], "utf-8").decode()
    time = text.splitlines()[1].split(",")[9]
    open_yet = text.replace(f"{time},货款", ",货款").replace(f"{time},佣金", ",佣金")
    assert read(tmp_path, open_yet.encode(), "jd")[2] == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04", "ZIP or Excel"),
        ("日期,收入合计\n2026-02-09,1\n".encode(), "statements formats"),
        ("商户订单号,发生时间\n".encode(), "it has only"),
        (b"", "no header"),
    ],
)
def test_what_is_no_statement_is_refused_whole(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(UnreadableStatement, match=says):
        Statement(written(tmp_path / "x.csv", content), "taobao", "s")
