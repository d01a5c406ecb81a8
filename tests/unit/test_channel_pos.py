"""Receipts of offline shops: what each file shape, value form and kind of receipt becomes."""

import codecs
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.channels import load
from adapters.channels.pos_columns import Template
from adapters.channels.pos_csv import PosCsv
from domain.canonical import (
    Amounts,
    Line,
    Personal,
    Return,
    ReturnLine,
    Snapshot,
    SourceTime,
    Translated,
    TranslationError,
)
from domain.ports import Aside, Sliced

SAMPLES = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples/pos_csv"
POS = PosCsv()

COLUMNS = "小票号,门店编号,销售时间,行号,商品编码,商品名称,数量,单价,折扣金额,小计,整单优惠,实收金额,支付方式,备注"
DRILL = "0001,S1,2026-11-11 09:12:33,1,DRILL,电钻,1,329.00,0.00,329.00,29.00,359.00,现金,"
BITS = "0001,S1,2026-11-11 09:12:33,2,BITS,钻头,1,59.00,0.00,59.00,,,,"


def table(*rows: str, header: str = COLUMNS) -> bytes:
    return "".join(f"{row}\r\n" for row in (header, *rows)).encode()


def orders(raw: bytes, channel: PosCsv = POS, shop: str = "given") -> dict[tuple[str, str], Translated | Return]:
    """Every slice of a file, translated; nothing of it may be refused."""
    pieces = channel.identify(raw, shop)
    assert [piece.reason for piece in pieces if isinstance(piece, Aside) and piece.kind == "refused"] == []
    return {
        (piece.shop, piece.order_no): channel.translate(piece.raw, piece.shop)
        for piece in pieces
        if isinstance(piece, Sliced)
    }


def sale(raw: bytes, channel: PosCsv = POS) -> Translated:
    """Return the only receipt of a file, which is a sale."""
    (found,) = orders(raw, channel).values()
    assert isinstance(found, Translated)
    return found


def refused(raw: bytes, channel: PosCsv = POS, shop: str = "given") -> list[Aside]:
    """Return what a file's reading refuses; nothing of it may have become an order."""
    pieces = channel.identify(raw, shop)
    assert [piece for piece in pieces if isinstance(piece, Sliced)] == []
    return [piece for piece in pieces if isinstance(piece, Aside) and piece.kind == "refused"]


def untranslatable(raw: bytes, channel: PosCsv = POS) -> TranslationError:
    """Return why the only receipt of a file cannot be translated."""
    (piece,) = (piece for piece in channel.identify(raw, "given") if isinstance(piece, Sliced))
    with pytest.raises(TranslationError) as caught:
        channel.translate(piece.raw, piece.shop)
    return caught.value


def at(text: str, clock: str = "09:12:33") -> SourceTime:
    """Return a time of 11 November 2026 in UTC+8."""
    hours, minutes, seconds = map(int, clock.split(":"))
    utc_ms = 1_794_326_400_000 + ((hours * 60 + minutes) * 60 + seconds) * 1000
    return SourceTime(text, utc_ms, 480, f"2026-11-11T{clock}.000+08:00")


def counter_sale(number: str, moment: SourceTime, amounts: Amounts, lines: Sequence[Line], **more: Any) -> Snapshot:
    return Snapshot(
        channel="pos",
        shop="S01",
        order_no=f"20261111-{number}",
        status="completed",
        native_status="",
        amounts=amounts,
        ordered_at=moment,
        modified_at=moment,
        lines=tuple(msgspec.structs.replace(line, state="shipped") for line in lines),
        kind="counter",
        paid_at=moment,
        shipped_at=moment,
        completed_at=moment,
        revision=len(lines),
        **more,
    )


FIRST = Translated(
    counter_sale(
        "S01-20261111-0001",
        at("2026/11/11 09:12:33"),
        Amounts("CNY", goods=38800, discount=3000, payable=35800, paid=35800),
        [
            Line(
                *("1", "DRL-18V-01", 1, "充电电钻 18V", "6901234567890", "标准"),
                unit_price=32900,
                discount=3000,
                amount=29900,
            ),
            Line(*("2", "BIT-HSS-13", 1, "高速钢钻头 13 件套", "6901234567891", "标准"), unit_price=5900, amount=5900),
        ],
        attributes={
            "receipt_no": "S01-20261111-0001",
            "till": "01",
            "store_name": "五金城一店",
            "payments": {"微信": 35800},
        },
    ),
    Personal(customer_id="M100238", attributes={"cashier": "张三", "member": "M100238"}),
)
SECOND = Translated(
    counter_sale(
        "S01-20261111-0002",
        at("2026/11/11 09:20:01", "09:20:01"),
        Amounts("CNY", goods=32900, discount=2900, payable=30000, paid=30000),
        [
            Line(
                *("1", "DRL-18V-01", 1, "充电电钻 18V", "6901234567890", "标准"),
                unit_price=32900,
                discount=2900,
                amount=30000,
            ),
            Line("2", "GFT-TAPE-5", 1, "卷尺 5m(赠)", "6901234567899", "5m", gift=True),
        ],
        attributes={
            "receipt_no": "S01-20261111-0002",
            "till": "01",
            "store_name": "五金城一店",
            "payments": {"支付宝": 20000, "现金": 10000},
        },
    ),
    Personal(
        messages={"remark": '备注含逗号,"引号"\n赠品'},
        attributes={"cashier": "张三"},
        line_attributes={"1": {"remark": '备注含逗号,"引号"'}, "2": {"remark": "赠品"}},
    ),
)
THIRD = Return(
    channel="pos",
    shop="S01",
    original_order_no="20261111-S01-20261111-0001",
    reference="20261111-S01-20261111-0003",
    at=at("2026/11/11 10:02:45", "10:02:45"),
    currency="CNY",
    lines=(ReturnLine("BIT-HSS-13", 1, 5900, "6901234567891", "高速钢钻头 13 件套"),),
    reason="退货",
    attributes={
        "receipt_no": "S01-20261111-0003",
        "till": "02",
        "store_name": "五金城一店",
        "payments": {"微信": 5900},
    },
    personal=Personal(
        customer_id="M100238",
        messages={"remark": "退货 原单 S01-20261111-0001"},
        attributes={"cashier": "李四", "member": "M100238"},
    ),
)
GOLDEN: dict[str, list[Translated | Return]] = {
    "receipts_utf8_bom.csv": [FIRST, SECOND, THIRD],
    "receipts_gbk.csv": [FIRST, SECOND, THIRD],
    "receipts_gb18030_title_and_total_rows.csv": [FIRST, SECOND, THIRD],
    "receipts_tab_utf16le.txt": [FIRST],
}

needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the reference samples are not here")


@needs_samples
@pytest.mark.parametrize("name", GOLDEN)
def test_a_sample_file_becomes_exactly_these_orders(name: str) -> None:
    raw = (SAMPLES / name).read_bytes()
    assert POS.sniff(raw)
    pieces = [piece for piece in POS.identify(raw, "given") if isinstance(piece, Sliced)]
    assert [POS.translate(piece.raw, piece.shop) for piece in pieces] == GOLDEN[name]
    assert [(piece.shop, piece.order_no) for piece in pieces] == [
        ("S01", found.original_order_no if isinstance(found, Return) else found.snapshot.order_no)
        for found in GOLDEN[name]
    ]


@needs_samples
def test_the_samples_of_all_encodings_give_the_same_bytes() -> None:
    def raws(name: str) -> list[bytes]:
        return [p.raw for p in POS.identify((SAMPLES / name).read_bytes(), "x") if isinstance(p, Sliced)]

    first = raws("receipts_utf8_bom.csv")
    assert raws("receipts_gbk.csv") == raws("receipts_gb18030_title_and_total_rows.csv") == first
    assert raws("receipts_tab_utf16le.txt") == first[:1]


@needs_samples
def test_every_cell_of_the_sample_is_in_a_slice() -> None:
    expected = json.loads((SAMPLES / "receipts_expected_rows.json").read_bytes())
    found = []
    for piece in POS.identify((SAMPLES / "receipts_utf8_bom.csv").read_bytes(), "x"):
        kept = json.loads(piece.raw)
        found += [dict(zip(kept["header"], row, strict=True)) for row in kept["rows"]]
    assert found == expected


@needs_samples
def test_rows_that_a_spreadsheet_destroyed_are_refused_each_with_its_number_and_what_to_do() -> None:
    first, second = refused((SAMPLES / "damaged_by_spreadsheet_utf8.csv").read_bytes())
    for row, aside in ((2, first), (3, second)):
        assert aside.reason.startswith(f"row {row}: 小票号 2.02611E+15 was destroyed by a spreadsheet (export")
        assert "条码 6.90123E+12 was destroyed" in aside.reason
        assert aside.order_no == ""
    assert "time" not in first.reason
    assert "'11/11/2026 9:13': day and month cannot be told apart (give the day's order" in second.reason


@needs_samples
def test_titles_and_totals_of_the_sample_are_set_aside_and_agree() -> None:
    raw = (SAMPLES / "receipts_gb18030_title_and_total_rows.csv").read_bytes()
    beside = [piece for piece in POS.identify(raw, "x") if isinstance(piece, Aside)]
    assert [(piece.kind, piece.reason) for piece in beside] == [
        ("ignored", "titles above the header"),
        ("ignored", "row 10: a total row; its sums agree"),
    ]
    assert "制表人" in beside[0].raw.decode()


def test_the_channel_is_registered_as_pos() -> None:
    assert load()["pos"].name == "pos"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
@pytest.mark.parametrize("separator", [",", "\t", ";", "|", "，"])
@pytest.mark.parametrize("line_end", ["\r\n", "\n", "\r"])
def test_encoding_separator_and_line_end_do_not_matter(encoding: str, separator: str, line_end: str) -> None:
    text = line_end.join((COLUMNS, DRILL, BITS, "")).replace(",", separator)
    raw = codecs.BOM_UTF16_LE + text.encode("utf-16-le") if encoding == "utf-16" else text.encode(encoding)
    assert POS.identify(raw, "x") == POS.identify(table(DRILL, BITS), "x")
    assert POS.sniff(raw)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "empty"),
        (b"\xff\xff\xff", "encoding"),
        (table(DRILL).replace("电钻".encode(), b"\xff"), "encoding"),
        (COLUMNS.encode("utf-16-be"), "encoding"),
        ("receipt_no,time,sku,quantity\n".encode("utf-16-le"), "no header"),
        (b"a,b,c\n1,2,3\n", "no header"),
        (table(header="门店,商品编码,数量,金额"), "no column of receipt numbers"),
        (table(header="小票号,商品编码,数量,金额"), "no column of times"),
        (table(DRILL.replace("电钻", '"电钻')), "quotation mark"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_whole(raw: bytes, why: str) -> None:
    (aside,) = refused(raw)
    assert why in aside.reason
    assert aside.raw == raw


def test_a_file_without_rows_says_so() -> None:
    (aside,) = POS.identify(table(), "x")
    assert isinstance(aside, Aside)
    assert (aside.kind, aside.reason) == ("ignored", "the file has a header and no rows")


def test_up_to_five_title_rows_stand_above_the_header() -> None:
    titles = [f"报表 {n}" for n in range(5)]
    assert len(orders(table(COLUMNS, DRILL, BITS, header="\n".join(titles)))) == 1
    assert "no header" in refused(table("更多", COLUMNS, DRILL, BITS, header="\n".join(titles)))[0].reason


def test_guards_against_spreadsheets_are_no_part_of_a_value() -> None:
    guarded = sale(table('="0001",S1,2026-11-11 09:12:33,1,\'0012,"\t电钻",1,329,0,329,0,329,现金,')).snapshot
    assert guarded.order_no == "20261111-0001"
    assert (guarded.lines[0].sku, guarded.lines[0].name) == ("0012", "电钻")


def test_a_line_break_inside_quotes_belongs_to_the_cell() -> None:
    found = sale(table(DRILL.replace("电钻", '"电钻\n18V"').replace("359", "300")))
    assert found.snapshot.lines[0].name == "电钻\n18V"


def test_amounts_of_the_receipt_count_once_whether_on_the_first_row_or_on_all() -> None:
    on_all = BITS.replace("59.00,,,,", "59.00,29.00,359.00,现金,")
    assert on_all != BITS
    for rows in ((DRILL, BITS), (DRILL, on_all)):
        amounts = sale(table(*rows)).snapshot.amounts
        assert amounts == Amounts("CNY", goods=38800, discount=2900, payable=35900, paid=35900)


def test_amounts_that_a_till_spreads_over_the_rows_are_summed() -> None:
    rows = (DRILL.replace("29.00,359.00", "0,329"), BITS.replace("59.00,,,,", "59.00,0,59,现金,"))
    assert sale(table(*rows)).snapshot.amounts.paid == 38800


def test_a_discount_on_the_whole_receipt_is_spread_over_its_lines_to_the_fen() -> None:
    lines = sale(table(DRILL, BITS)).snapshot.lines
    assert [(line.amount, line.discount) for line in lines] == [(30441, 2459), (5459, 441)]


def test_rounding_off_is_a_discount() -> None:
    header = COLUMNS.replace("整单优惠", "抹零")
    amounts = sale(table("0001,S1,2026-11-11 09:12:33,1,A,a,1,10.05,,10.05,0.05,10.00,现金,", header=header))
    assert amounts.snapshot.amounts == Amounts("CNY", goods=1005, discount=5, payable=1000, paid=1000)


def test_change_is_not_paid() -> None:
    header = COLUMNS.replace("整单优惠", "找零")
    found = sale(table("0001,S1,2026-11-11 09:12:33,1,A,a,1,10,,10,10,20,现金,", header=header))
    assert found.snapshot.amounts == Amounts("CNY", goods=1000, payable=1000, paid=1000)


def test_one_column_for_each_means_of_payment() -> None:
    header = "小票号,销售时间,商品编码,数量,金额,现金,支付宝,微信"
    found = sale(table("0001,2026-11-11 09:12:33,A,2,300,100,200,0", header=header)).snapshot
    assert found.attributes["payments"] == {"支付宝": 20000, "现金": 10000}
    assert found.amounts.paid == 30000


def test_one_row_for_each_receipt_is_an_order_without_lines() -> None:
    header = "小票号,门店名称,消费时间,消费金额,应收,整单优惠,实收金额"
    found = sale(table("0001,一店,2026-11-11 09:12:33,100.00,100.00,5.00,95.00", header=header)).snapshot
    assert (found.shop, found.lines) == ("一店", ())
    assert found.amounts == Amounts("CNY", goods=10000, discount=500, payable=9500, paid=9500)


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        ("销售时间", "2026-11-11 09:12:00"),
        ("消费时间", "2026/11/11 9:12"),
        ("交易时间", "20261111091200"),
        ("交易时间", "2026年11月11日 09:12"),
        ("交易时间", "46337.383333333"),
        ("日期,时间", "2026-11-11,09:12:00"),
        ("日期,时间", "2026/11/11 0:00:00,9:12"),
        ("日期,时间", "20261111,091200"),
        ("日期,时间", "46337,0.383333333"),
        ("销售日期,销售时间", "2026/11/11,9:12"),
    ],
)
def test_every_form_of_time_is_the_same_instant(columns: str, cells: str) -> None:
    found = sale(table(f"0001,{cells},A,1,5", header=f"小票号,{columns},商品编码,数量,金额")).snapshot
    assert found.ordered_at.utc_ms == at("", "09:12:00").utc_ms
    assert found.order_no == "20261111-0001"


@pytest.mark.parametrize(
    ("columns", "cells", "why"),
    [
        ("日期,时间", "2026-11-11,71233", "lost its first digit"),
        ("销售日期,销售时间", "2026-11-11,71233", "lost its first digit"),
        ("日期,时间", "2026-11-11,71233.5", "of another day than 2026-11-11"),
        ("日期,时间", "2026-11-11,071233.5", "lost its first digit"),
        ("日期,时间", "2026-11-11,1762823553", "of another day than 2026-11-11"),
        ("时间", "071233", "lost its first digit"),
        ("日期", "46337", "a date without a time of day"),
        ("销售时间", "46337.0", "a date without a time of day"),
        ("日期,销售时间", "46337,46337", "a date without a time of day"),
    ],
)
def test_a_number_that_need_not_be_a_moment_is_refused(columns: str, cells: str, why: str) -> None:
    (aside,) = refused(table(f"0001,{cells},A,1,5", header=f"小票号,{columns},商品编码,数量,金额"))
    assert why in aside.reason


def test_a_spreadsheets_moment_may_stand_beside_its_day() -> None:
    header = "小票号,日期,销售时间,商品编码,数量,金额"
    assert list(orders(table("0001,46337,46338.01,A,1,5", header=header))) == [("given", "20261112-0001")]


def test_an_ambiguous_date_needs_the_order_of_the_template() -> None:
    raw = table("0001,05/11/2026 09:00,A,1,5", header="小票号,销售时间,商品编码,数量,金额")
    (aside,) = refused(raw)
    assert aside.reason.startswith("row 2: cannot read the time '05/11/2026 09:00'")
    assert list(orders(raw, PosCsv(Template(date_order="dmy")))) == [("given", "20261105-0001")]
    assert list(orders(raw, PosCsv(Template(date_order="mdy")))) == [("given", "20260511-0001")]


def test_the_same_number_on_two_days_and_in_two_stores_is_three_orders() -> None:
    rows = [
        DRILL.replace("29.00,359", "0.00,329"),
        DRILL.replace("29.00,359", "0.00,329").replace("11-11", "11-12"),
        DRILL.replace("29.00,359", "0.00,329").replace("S1", "S2"),
    ]
    assert set(orders(table(*rows))) == {("S1", "20261111-0001"), ("S1", "20261112-0001"), ("S2", "20261111-0001")}


def test_two_tills_that_gave_one_number_have_not_made_one_sale() -> None:
    header = "小票号,门店编号,销售时间,收银台,商品编码,数量,小计,实收金额"
    first = "0001,S1,2026-11-11 09:12:33,1,A,1,5,5"
    raw = table(first, "0001,S1,2026-11-11 15:40:02,2,B,1,7,7", header=header)
    (aside,) = refused(raw)
    assert "row 2: receipt 0001 is of several tills (1, 2), so it is several sales" in aside.reason
    assert (aside.order_no, aside.rows) == ("20261111-0001", (2, 3))
    apart = PosCsv(Template(columns={"收银台": "store_code"}))
    assert set(orders(raw, apart)) == {("1", "20261111-0001"), ("2", "20261111-0001")}
    assert set(orders(table(first, first.replace(",1,A", ",,B"), header=header))) == {("S1", "20261111-0001")}


def test_unique_receipt_numbers_are_order_numbers_as_they_are() -> None:
    assert list(orders(table(DRILL, BITS), PosCsv(Template(receipt_numbers_unique=True)))) == [("S1", "0001")]


def test_a_receipt_after_midnight_counts_for_the_day_in_its_number() -> None:
    row = DRILL.replace("29.00,359", "0.00,329").replace("0001,S1,2026-11-11 09", "N20261111-99,S1,2026-11-12 00")
    assert list(orders(table(row))) == [("S1", "20261111-N20261111-99")]


def test_one_bad_row_refuses_its_whole_receipt_and_no_other() -> None:
    bad = BITS.replace("BITS", "6.90123E+12")
    good = DRILL.replace("0001", "0002").replace("29.00,359", "0.00,329")
    pieces = POS.identify(table(DRILL, bad, good), "x")
    assert [(type(p), p.order_no) for p in pieces] == [(Aside, "20261111-0001"), (Sliced, "20261111-0002")]
    assert isinstance(pieces[0], Aside)
    assert pieces[0].reason.startswith("row 3: 商品编码 6.90123E+12 was destroyed")
    assert b"DRILL" in pieces[0].raw
    assert b"6.90123E+12" in pieces[0].raw


def test_a_row_without_a_readable_time_refuses_the_receipt_of_its_number() -> None:
    asides = refused(table(DRILL, BITS.replace("2026-11-11 09:12:33", "neun Uhr")))
    assert all("row 3: cannot read the time 'neun Uhr'" in aside.reason for aside in asides)
    assert {aside.order_no for aside in asides} == {"20261111-0001", ""}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (BITS + ",x", "row 3: it has 15 cells, the header 14"),
        (BITS.replace("0001", "无"), "row 3: it has no receipt number"),
        (BITS.replace("0001", "#####"), "row 3: 小票号 ##### was destroyed"),
        ("0003,S1,,1,A,a,1,1,0,1,0,1,现金,", "row 3: it has no time"),
        ("9" * 300 + BITS[4:], "longer than 200 bytes"),
    ],
)
def test_a_row_without_identity_is_refused_with_its_number(row: str, why: str) -> None:
    reasons = [p.reason for p in POS.identify(table(DRILL, row), "x") if isinstance(p, Aside) and p.kind == "refused"]
    assert any(why in reason for reason in reasons)


def test_a_row_cut_off_at_the_end_of_the_file_is_refused() -> None:
    raw = table(DRILL.replace("29.00,359", "0.00,329"), DRILL.replace("0001", "0002"))
    (aside,) = (p for p in POS.identify(raw[:-40], "x") if isinstance(p, Aside))
    assert aside.reason.startswith("row 3: the file ends in the middle of it")
    assert aside.order_no == "20261111-0002"


def test_half_a_receipt_is_noticed_by_its_sums_and_not_taken_for_the_whole() -> None:
    (half,) = refused(table(DRILL))
    assert half.reason.startswith("row 2: receipt 0001: the receipt does not add up: lines 329.00, ")
    assert "实收金额 359.00" in half.reason
    assert "whole receipt" in half.reason
    assert half.order_no == "20261111-0001"
    (half,) = refused(table(BITS))
    assert "no row says what was owed or paid" in half.reason


PLAIN = "小票号,销售时间,行号,商品编码,数量,金额"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("3", "its lines begin with 3"),
        ("13", "line 2 is missing"),
        ("1457", "lines 2 to 3 are missing"),
        ("2", "its lines begin with 2"),
    ],
)
def test_a_part_of_a_receipt_without_amounts_is_noticed_by_its_line_numbers(lines: str, why: str) -> None:
    rows = [f"0001,2026-11-11 09:12:33,{line},A,1,5" for line in lines]
    (part,) = refused(table(*rows, header=PLAIN))
    assert part.reason.startswith(f"row 2: receipt 0001: {why}")
    assert "import a file that holds the whole receipt" in part.reason
    assert len(json.loads(part.raw)["rows"]) == len(lines)
    assert list(orders(table(*rows, header=PLAIN), PosCsv(Template(sums_checked=False))))


def test_line_numbers_may_begin_with_0_and_hold_what_the_till_voided() -> None:
    rows = [f"0001,2026-11-11 09:12:33,{line},A,1,5" for line in ("0", "01", "2")]
    assert len(sale(table(*rows, header=PLAIN)).snapshot.lines) == 3


def test_a_receipt_whose_sum_was_paid_is_whole_though_line_numbers_are_missing() -> None:
    header = PLAIN + ",实收金额"
    rows = ["0001,2026-11-11 09:12:33,2,A,1,5,12", "0001,2026-11-11 09:12:33,4,B,1,7,"]
    assert [line.id for line in sale(table(*rows, header=header)).snapshot.lines] == ["2", "4"]
    spread = [rows[0].replace(",12", ",5"), rows[1] + "7"]  # paid by row: it says nothing of rows that are elsewhere
    (part,) = refused(table(*spread, header=header))
    assert "its lines begin with 2" in part.reason


def test_a_part_of_a_return_is_no_return() -> None:
    row = "0009,2026-11-11 09:12:33,2,A,-1,-5,20261111-0001"
    (part,) = refused(table(row, header=PLAIN + ",原单号"))
    assert "its lines begin with 2" in part.reason


def test_a_slice_with_a_part_of_a_receipt_is_refused_wherever_it_comes_from() -> None:
    row = ["0001", "2026-11-11 09:12:33", "3", "A", "1", "5"]
    raw = json.dumps({"format": "pos-csv/1", "header": PLAIN.split(","), "rows": [row]})
    with pytest.raises(TranslationError) as caught:
        POS.translate(raw.encode(), "S1")
    assert "begin with 3" in caught.value.reason


def test_of_two_views_of_a_receipt_the_one_with_more_rows_has_the_greater_revision() -> None:
    gift = BITS.replace(",2,BITS,钻头,1,59.00,0.00,59.00", ",3,TAPE,卷尺,1,0,0,0")
    assert sale(table(DRILL, BITS, gift)).snapshot.revision == 3
    assert sale(table(DRILL, BITS)).snapshot.revision == 2


def test_a_template_can_take_sums_that_never_agree() -> None:
    found = sale(table(DRILL), PosCsv(Template(sums_checked=False))).snapshot
    assert (found.amounts.payable, found.amounts.paid) == (30000, 35900)


def test_a_row_that_stands_twice_is_one_line_and_two_contents_of_one_line_are_refused() -> None:
    assert len(sale(table(DRILL, BITS, BITS)).snapshot.lines) == 2
    assert "twice" in untranslatable(table(DRILL, BITS, BITS.replace("钻头", "钻头 B"))).reason


def test_a_running_number_of_the_report_is_not_the_line_number() -> None:
    header = "小票号,销售时间,序号,商品编码,数量,金额"
    rows = ("0001,2026-11-11 09:12:33,57,A,1,5", "0001,2026-11-11 09:12:33,58,B,1,7")
    found = sale(table(*rows, header=header)).snapshot
    assert [(line.id, line.sku) for line in found.lines] == [("1", "A"), ("2", "B")]


def test_goods_at_no_price_or_called_a_gift_are_gifts_and_paid_goods_are_not() -> None:
    header = "小票号,销售时间,行号,商品编码,商品名称,数量,单价,折扣金额,小计"
    rows = [
        "0001,2026-11-11 09:12:33,1,A,电钻(赠卷尺),1,100,0,100",
        "0001,2026-11-11 09:12:33,2,B,卷尺,1,0,0,0",
        "0001,2026-11-11 09:12:33,3,C,赠品手套,1,9,9,0",
        "0001,2026-11-11 09:12:33,4,D,手套,1,9,9,0",
    ]
    assert [line.gift for line in sale(table(*rows, header=header)).snapshot.lines] == [False, True, True, False]


@pytest.mark.parametrize(
    ("remark", "status", "kind"),
    [
        ("明天送货上门", "paid", "normal"),
        ("顾客自提", "paid", "normal"),
        ("不需配送", "completed", "counter"),
        ("自己带走", "completed", "counter"),
    ],
)
def test_goods_that_are_still_to_be_fetched_or_sent_go_through_fulfilment(remark: str, status: str, kind: str) -> None:
    found = sale(table(DRILL + remark, BITS)).snapshot
    assert (found.status, found.kind, found.shipped_at is None) == (status, kind, status == "paid")
    assert found.paid_at == found.ordered_at


def test_a_delivery_column_says_it_in_its_words_and_receiver_columns_are_personal() -> None:
    header = "小票号,销售时间,商品编码,数量,金额,配送方式,收货人,收货电话,收货地址"
    row = "0001,2026-11-11 09:12:33,A,1,5,{},王五,13800000000,一路 1 号"
    found = sale(table(row.format("配送"), header=header))
    assert (found.snapshot.status, found.snapshot.attributes["delivery"]) == ("paid", "配送")
    assert found.personal.receiver == {"name": "王五", "phone": "13800000000", "detail": "一路 1 号"}
    assert sale(table(row.format("自带"), header=header)).snapshot.status == "completed"
    assert "no known way of delivery" in untranslatable(table(row.format("飞鸽"), header=header)).reason
    pigeons = PosCsv(Template(words={"飞鸽": "to_deliver"}))
    assert sale(table(row.format("飞鸽"), header=header), pigeons).snapshot.status == "paid"


KINDS = "小票号,门店编号,销售时间,商品编码,数量,金额,类型,原单号,原单日期"


@pytest.mark.parametrize(
    "row",
    [
        "0009,S1,2026-11-12 10:00:00,A,-1,-59.00,,0001,2026-11-11",
        "0009,S1,2026-11-12 10:00:00,A,1,59.00,退货,0001,2026/11/11",
        "0009,S1,2026-11-12 10:00:00,A,-1,(59.00),退货,0001,20261111",
        "0009,S1,2026-11-12 10:00:00,A,1,59.00,,0001,46337",
    ],
)
def test_a_return_belongs_to_the_original_order_and_counts_upwards(row: str) -> None:
    ((identity, found),) = orders(table(row, header=KINDS)).items()
    assert identity == ("S1", "20261111-0001")
    assert isinstance(found, Return)
    assert (found.reference, found.lines) == ("20261112-0009", (ReturnLine("A", 1, 5900),))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("0009,S1,2026-11-12 10:00:00,A,-1,-59.00,退货,,", "row 2: return 0009: it does not name the receipt"),
        ("0009,S1,2026-11-12 10:00:00,A,-1,-59.00,退货,0001,", "the date of its original 0001 cannot be told"),
        ("0009,S1,2026-11-12 10:00:00,A,-1,-59.00,退货,20261113-1,", "the date of its original 20261113-1 cannot"),
        ("0009,S1,2026-11-12 10:00:00,A,-1,-59.00,退货,2.02E+12,", "原单号 2.02E+12 was destroyed"),
    ],
)
def test_a_return_without_a_certain_original_is_refused(row: str, why: str) -> None:
    (aside,) = refused(table(row, header=KINDS))
    assert why in aside.reason
    assert aside.order_no == ""


def test_with_unique_numbers_the_reference_is_the_order() -> None:
    raw = table("0009,S1,2026-11-12 10:00:00,A,-1,-59.00,退货,0001,", header=KINDS)
    ((identity, found),) = orders(raw, PosCsv(Template(receipt_numbers_unique=True))).items()
    assert identity == ("S1", "0001")
    assert isinstance(found, Return)
    assert found.reference == "0009"


def test_a_discount_on_a_whole_return_lowers_what_is_paid_back() -> None:
    row = "0009,S1,2026-11-12 10:00:00,1,A,a,-2,30,0,-60,-10,-50,现金,退货 原单号:20261111-1"
    (found,) = orders(table(row)).values()
    assert isinstance(found, Return)
    assert found.lines == (ReturnLine("A", 2, 5000, name="a"),)


def test_an_exchange_on_one_receipt_is_left_to_people() -> None:
    rows = ("9,S1,2026-11-12 10:00:00,A,-1,-59,,,", "9,S1,2026-11-12 10:00:00,B,1,69,,,")
    assert "exchange" in untranslatable(table(*rows, header=KINDS)).reason


def test_a_void_receipt_is_a_cancelled_order() -> None:
    found = sale(table("9,S1,2026-11-12 10:00:00,A,1,59,作废,,", header=KINDS)).snapshot
    assert (found.status, found.native_status, found.amounts.payable, found.amounts.paid) == (
        "cancelled",
        "作废",
        5900,
        0,
    )
    assert found.cancelled_at == found.ordered_at
    assert found.completed_at is None


def test_goods_are_handed_over_with_the_receipt_unless_they_are_still_to_be_fetched() -> None:
    assert [line.state for line in sale(table(DRILL, BITS)).snapshot.lines] == ["shipped", "shipped"]
    fetched = sale(table(DRILL.replace("现金,", "现金,到店自提"), BITS)).snapshot
    assert (fetched.kind, [line.state for line in fetched.lines]) == ("normal", ["open", "open"])


def test_a_void_row_takes_back_its_line_only() -> None:
    header = "小票号,销售时间,行号,商品编码,数量,金额,状态"
    rows = ("9,2026-11-12 10:00:00,{},A,1,5,", "9,2026-11-12 10:00:00,{},B,1,7,作废")
    found = sale(table(rows[0].format(1), rows[1].format(2), header=header)).snapshot
    assert (found.status, found.amounts.payable) == ("completed", 500)
    assert [line.state for line in found.lines] == ["shipped", "cancelled"]
    assert sale(table(rows[0].format(1), rows[1].format(1), header=header)).snapshot.status == "cancelled"


@pytest.mark.parametrize(
    ("row", "why", "where"),
    [
        ("9,S1,2026-11-12 10:00:00,A,0.5,5,,,", "part of a unit", "line 1, 数量"),
        ("9,S1,2026-11-12 10:00:00,A,0,5,,,", "the quantity is 0", "line 1, 数量"),
        ("9,S1,2026-11-12 10:00:00,A,,5,,,", "the quantity is missing", "line 1, 数量"),
        ("9,S1,2026-11-12 10:00:00,A,viel,5,,,", "'viel' is no quantity", "line 1, 数量"),
        ("9,S1,2026-11-12 10:00:00,A,1,fünf,,,", "no amount of money", "line 1, 金额"),
        ("9,S1,2026-11-12 10:00:00,A,1,,,,", "neither an amount nor a price", "line 1"),
        ("9,S1,2026-11-12 10:00:00,A,1,5,挂单,,", "'挂单' is no known kind", "receipt"),
        ("9,S1,2026-11-12 10:00:00,A,1,5,作废,8,", "takes back receipt 8", "receipt"),
    ],
)
def test_what_cannot_be_an_order_says_where_and_what_to_do(row: str, why: str, where: str) -> None:
    error = untranslatable(table(row, header=KINDS))
    assert why in error.reason
    assert error.where == where
    assert error.advice


def test_whole_quantities_may_be_written_with_decimals_and_groups() -> None:
    found = sale(table('9,S1,2026-11-12 10:00:00,A,"1,200.000","¥1,200.00元",销售,,', header=KINDS)).snapshot
    assert (found.lines[0].quantity, found.lines[0].amount) == (1200, 120000)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("quantity", "remark"), [("-{}x", ""), ("({}x", ""), ("1", "退 原单号{}"), ("1", "退 原单{}:{}")]
)
def test_a_cell_full_of_blanks_is_read_in_no_time(quantity: str, remark: str) -> None:
    cells = f"{quantity},5,{remark}".replace("{}", " " * 60_000)
    raw = table(f"0001,2026-11-11 09:12:33,A,{cells}", header="小票号,销售时间,商品编码,数量,金额,备注")
    for piece in POS.identify(raw, "given"):
        if isinstance(piece, Sliced):
            with suppress(TranslationError):
                POS.translate(piece.raw, piece.shop)


def test_nobody_is_named_outside_the_sealed_half() -> None:
    header = "小票号,销售时间,商品编码,数量,金额,收银员,会员卡号,手机号,备注,支付方式,发票抬头"
    row = "9,2026-11-12 10:00:00,A,1,5,赵六,M77,13900000000,给王五,支付宝:5:2088123,钱七"
    found = sale(table(row, header=header))
    shown = repr(found.snapshot)
    for secret in ("赵六", "M77", "13900000000", "王五", "2088123", "钱七"):
        assert secret not in shown
        assert secret in repr(found.personal)
    assert found.personal.customer_id == "M77"


def test_an_unknown_column_is_kept_for_the_order_or_for_its_lines() -> None:
    header = COLUMNS + ",班次,序列号"
    found = sale(table(DRILL + ",早班,SN1", BITS + ",早班,SN2", header=header)).personal
    assert found.attributes["班次"] == "早班"
    assert {line: more["序列号"] for line, more in found.line_attributes.items()} == {"1": "SN1", "2": "SN2"}


def test_a_template_names_columns_that_nobody_else_knows() -> None:
    raw = table("7,2026-11-11 09:12:33,A,1,5", header="Bon,销售时间,Artikel,数量,金额")
    channel = PosCsv(Template(columns={"Bon": "receipt", "Artikel": "sku"}))
    assert sale(raw, channel).snapshot.lines[0].sku == "A"
    with pytest.raises(ValueError, match="does not exist"):
        PosCsv(Template(columns={"Bon": "bon"}))


@pytest.mark.parametrize(
    ("total", "says"),
    [
        ("合计,,,,,,2,,,388.00,29.00,359.00,,", "its sums agree"),
        ("总计,,,,,,3,,,388.00,29.00,359.00,,", "数量: the total row says 3, the rows add up to 2"),
        ("合计,,,,,,2,,,447.00,29.00,359.00,,", "小计: the total row says 447.00, the rows add up to 388"),
        ("合计,,,,,,viele,,,,,,,", "数量 cannot be checked"),
    ],
)
def test_a_total_row_is_no_receipt_but_its_difference_is_told(total: str, says: str) -> None:
    pieces = POS.identify(table(DRILL, BITS, total), "x")
    assert isinstance(pieces[0], Sliced)
    (aside,) = pieces[1:]
    assert isinstance(aside, Aside)
    assert aside.kind == "ignored"
    assert says in aside.reason


def test_subtotals_are_compared_with_their_own_rows_and_the_total_with_all() -> None:
    second = DRILL.replace("0001", "0002").replace("29.00,359", "0.00,329")
    rows = (DRILL, BITS, "小计,,,,,,2,,,388,,359,,", second, "小计,,,,,,1,,,329,,329,,", "合计,,,,,,3,,,717,,688,,")
    reasons = [p.reason for p in POS.identify(table(*rows), "x") if isinstance(p, Aside)]
    assert [reason.endswith("its sums agree") for reason in reasons] == [True, True, True]


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"format":"pos-csv/1","header":[],"rows":[]}', b"\xff"])
def test_bytes_that_are_no_slice_are_a_translation_error(raw: bytes) -> None:
    with pytest.raises(TranslationError):
        POS.translate(raw, "x")


@pytest.mark.parametrize(
    ("row", "where"),
    [
        ("0001,S1,2026-11-11 09:12:33,1,D,电钻,1,-5,,5,,5,现金,", "line 1, 单价"),
        ("0001,S1,2026-11-11 09:12:33,1,D,电钻,1,5,,5,,-5,现金,", "实收金额"),
        ("0001,S1,2026-11-11 09:12:33,1,D,电钻,1,5,,5,,,现金:-5,", "支付方式"),
    ],
)
def test_a_sale_has_no_negative_amounts(row: str, where: str) -> None:
    error = untranslatable(table(row))
    assert "negative amount" in error.reason
    assert error.where == where


def test_a_return_may_write_its_amounts_as_negative_and_a_sale_what_it_takes_off() -> None:
    unique = PosCsv(Template(receipt_numbers_unique=True))
    (back,) = orders(table("R2,S1,2026-11-11 10:00:00,1,D,电钻,-1,5,,-5,,-5,现金:-5,退 原单号 R1"), unique).values()
    assert isinstance(back, Return)
    assert [each.amount for each in back.lines] == [500]
    off = sale(table("R1,S1,2026-11-11 09:12:33,1,D,电钻,1,5,-1,4,-1,3,现金,"))
    assert off.snapshot.amounts.payable == 300


@pytest.mark.parametrize("year", ["1990", "2105"])
def test_a_receipt_of_another_age_is_refused_with_its_row(year: str) -> None:
    (aside,) = refused(table(f"0001,S1,{year}-11-11 09:12:33,1,D,电钻,1,5,,5,,5,现金,"))
    assert f"row 2: cannot read the time '{year}-11-11 09:12:33'" in aside.reason
