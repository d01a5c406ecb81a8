"""Files of real order lines: what each invoice is, and which order a cancellation means."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from adapters.channels import load
from domain.ports import Sliced
from runners.simulating.matching import Found, Matcher, Wanted
from runners.simulating.retail_file import COLUMNS, BadSource, Invoice, RetailFile, Row
from runners.simulating.retail_rules import channel_of, deal_of, pence, read
from runners.simulating.world import CHANNELS, key_of, write

NOON = 1_275_390_000_000


def invoice(number: str, *rows: Row, customer: int = 17) -> Invoice:
    return Invoice(number, NOON, customer, "United Kingdom", list(rows))


def kind_of(number: str, *rows: Row, customer: int = 17) -> str:
    return read(invoice(number, *rows, customer=customer), Counter()).kind


def test_the_latest_line_with_enough_left_is_meant() -> None:
    matcher = Matcher({(17, "A")})
    matcher.sold(17, "A", 5, "order-1", "1")
    matcher.sold(17, "A", 2, "order-2", "1")
    matcher.sold(18, "A", 9, "order-3", "1")
    assert matcher.match(17, [Wanted("A", 3)]) == ([Found("order-1", "1", 3)], [])
    assert matcher.match(17, [Wanted("A", 1)]) == ([Found("order-2", "1", 1)], [])
    assert matcher.match(17, [Wanted("A", 3)]) == ([], [Wanted("A", 3)])


def test_no_unit_is_taken_back_twice() -> None:
    matcher = Matcher({(17, "A")})
    matcher.sold(17, "A", 3, "order-1", "1")
    found, rest = matcher.match(17, [Wanted("A", 2), Wanted("A", 2)])
    assert [each.quantity for each in found] == [2]
    assert rest == [Wanted("A", 2)]


def test_invoices_are_told_apart() -> None:
    ware, free, post = Row("85048", "LIGHTS", 2, 6.95), Row("22041", "FRAME", 1, 0.0), Row("POST", "POSTAGE", 1, 18.0)
    assert kind_of("489434", ware, post) == "order"
    assert kind_of("C489449", ware._replace(quantity=-1)) == "cancellation"
    assert kind_of("489464", ware._replace(quantity=-9, price=0.0), customer=0) == "correction"
    assert kind_of("489465", free, customer=0) == "correction"
    assert kind_of("489466", free) == "order"
    assert kind_of("489467", post) == "refused"
    assert kind_of("A506401", Row("B", "Adjust bad debt", 1, -53594.36)) == "refused"


def test_amounts_are_exact_to_the_penny() -> None:
    assert [pence(price) for price in (6.95, 0.29, 1.1, 0.001, 1157.15)] == [695, 29, 110, 0, 115715]


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("customer", [0, 17])
def test_an_invoice_is_the_same_order_on_each_channel(channel: str, customer: int) -> None:
    rows = [Row("85048", 'RECORD, 7" ', 12, 6.95), Row("22041a", "TRINKET", 3, 0.0), Row("POST", "POSTAGE", 1, 18.0)]
    one = invoice("489434", *rows, customer=customer)
    deal = deal_of(one, read(one, Counter()), channel, Counter())
    (piece,) = load()[channel].identify(write(deal), "" if channel == "pos" else deal.shop)
    assert isinstance(piece, Sliced)
    snapshot = load()[channel].translate(piece.raw, piece.shop).snapshot  # type: ignore[union-attr]  # a sale
    assert key_of(deal).endswith(piece.order_no)
    assert [(line.sku, line.quantity, line.amount) for line in snapshot.lines] == [
        ("85048", 12, 8340),
        ("22041A", 3, 0),
    ]
    assert (snapshot.amounts.payable, snapshot.amounts.freight) == (10_140, 1_800)
    assert snapshot.ordered_at.utc_ms == NOON
    assert snapshot.kind == ("counter" if channel == "pos" and not customer else "normal")


def test_no_order_of_more_than_forty_lines_goes_to_douyin() -> None:
    chosen = {channel_of(invoice(str(number)), CHANNELS, 41) for number in range(489_000, 489_060)}
    assert chosen == {"taobao", "pos"}
    assert "douyin" in {channel_of(invoice(str(number)), CHANNELS, 40) for number in range(489_000, 489_060)}


def file_of(path: Path, rows: list[tuple[Any, ...]], columns: tuple[str, ...] = COLUMNS) -> Path:
    table = {name: [row[at] for row in rows] for at, name in enumerate(columns)}
    parquet.write_table(pa.table(table), path)
    return path


LINE = ("489434", "85048", "LIGHTS", 2, "2009-12-01 07:45:00", 6.95, 17.0, "United Kingdom")


def test_lines_of_an_invoice_belong_together_wherever_they_stand(tmp_path: Path) -> None:
    other = ("489435", *LINE[1:])
    path = file_of(tmp_path / "lines.parquet", [LINE, other, ("489434", " 79323p", None, 1, *LINE[4:])])
    invoices = list(RetailFile(path))
    assert [(each.number, [row.sku for row in each.rows]) for each in invoices] == [
        ("489434", ["85048", "79323p"]),
        ("489435", ["85048"]),
    ]
    assert invoices[0].rows[1].name == "79323p"
    assert (invoices[0].at_ms, invoices[0].customer) == (1_259_653_500_000, 17)


def test_summer_time_counts(tmp_path: Path) -> None:
    summer = (*LINE[:4], "2010-06-01 12:00:00", *LINE[5:])
    (one,) = RetailFile(file_of(tmp_path / "lines.parquet", [summer]))
    assert one.at_ms == NOON


def test_a_file_without_a_column_is_refused_by_name(tmp_path: Path) -> None:
    path = file_of(tmp_path / "lines.parquet", [LINE[:7]], COLUMNS[:7])
    with pytest.raises(BadSource, match="no column 'Country'"):
        RetailFile(path)


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lines.parquet"
    path.write_text("Invoice,StockCode")
    with pytest.raises(BadSource, match="cannot be read as Parquet"):
        RetailFile(path)
    with pytest.raises(BadSource):
        RetailFile(tmp_path / "absent.parquet")
