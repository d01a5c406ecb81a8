"""The result file of an ingest: every source row with what became of it, in the order of the source."""

import asyncio
import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.channels import load
from domain.mail import AsideReport, Mail, Reply
from runners.commands import ingest
from runners.cutting import Cutter
from runners.result_file import Answered, ResultFile

TILL = """销售日报
小票号,门店编号,销售时间,行号,货号,数量,金额
7,S1,2026-11-11 09:12:33,1,A,1,10.00
8,S1,2026-11-11 09:15:00,2,B,1,5.00
,S1,2026-11-11 09:16:00,1,B,1,5.00

7,S1,2026-11-11 09:12:33,2,C,1,20.00
合计,,,,,3,35.00
"""


class Nowhere:
    """A spool that nothing is put into."""

    def put(self, raw: bytes) -> str:
        raise AssertionError(raw)


async def answer(mails: Sequence[Mail]) -> list[Reply]:
    """Take every order; of the rest, say what its sender said."""
    return [Reply(1, mail.body.kind if isinstance(mail.body, AsideReport) else "accepted") for mail in mails]


def taken_in(place: Path, *files: Path, shop: str = "given") -> list[list[str]]:
    tally = ingest.Tally()
    cutter = Cutter(load(), Nowhere(), shop=shop)
    with ResultFile(place) as tally.results:
        source = ingest.batches(files, cutter, tally, lambda: 1_770_600_000_000)
        asyncio.run(ingest._send_all(answer, source, tally, lambda _: None))
    return read(place)


def read(file: Path) -> list[list[str]]:
    assert file.read_bytes().startswith(b"\xef\xbb\xbf"), "spreadsheets take it for their own encoding otherwise"
    with file.open(encoding="utf-8-sig", newline="") as stream:
        head, *rows = csv.reader(stream)
    assert head == ["file", "row", "order", "outcome", "reason"]
    return rows


def test_each_row_of_a_table_gets_the_outcome_of_its_receipt(tmp_path: Path) -> None:
    file = tmp_path / "till.csv"
    file.write_text(TILL, encoding="utf-8")
    rows = taken_in(tmp_path / "results.csv", file)
    assert {row[0] for row in rows} == {str(file)}
    assert [(row[1], row[2], row[3]) for row in rows] == [
        ("1", "", "忽略 ignored"),
        ("3", "pos:S1:20261111-7", "已接收 accepted"),
        ("7", "pos:S1:20261111-7", "已接收 accepted"),
        ("4", "pos:S1:20261111-8", "拒绝 refused"),
        ("5", "", "拒绝 refused"),
        ("8", "", "忽略 ignored"),
    ]
    reasons = {row[1]: row[4] for row in rows}
    assert reasons["3"] == ""
    assert "its lines begin with 2" in reasons["4"]
    assert "it has no receipt number" in reasons["5"]


def test_a_table_that_cannot_be_read_and_a_file_that_is_gone_have_a_row_as_a_whole(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text('小票号,销售时间,货号\n"R1,2026-03-01\n', encoding="utf-8")
    gone = tmp_path / "gone.csv"
    rows = taken_in(tmp_path / "results.csv", bad, gone)
    assert [(row[0], row[1], row[3]) for row in rows] == [
        (str(bad), "", "拒绝 refused"),
        (str(gone), "", "未读完 not read to its end"),
    ]


def test_json_has_a_row_for_each_element_and_each_line(tmp_path: Path) -> None:
    page = tmp_path / "page.json"
    page.write_text('{"orders": [{"order_no": "1"}, {"order_no": "2"}, {}]}')
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"order_no": "3"}\n\n{"order_no": \n')
    tally = ingest.Tally()
    cutter = Cutter(load(), Nowhere(), shop="s", channel="generic")
    with ResultFile(tmp_path / "results.csv") as tally.results:
        asyncio.run(
            ingest._send_all(answer, ingest.batches([page, lines], cutter, tally, lambda: 1), tally, lambda _: None)
        )
    assert [(Path(row[0]).name, row[1], row[2], row[3]) for row in read(tmp_path / "results.csv")] == [
        ("page.json", "1", "generic:s:1", "已接收 accepted"),
        ("page.json", "2", "generic:s:2", "已接收 accepted"),
        ("page.json", "3", "", "拒绝 refused"),
        ("lines.jsonl", "1", "generic:s:3", "已接收 accepted"),
        ("lines.jsonl", "3", "", "隔离 quarantined"),
    ]


def rows_of(number: int) -> list[Answered]:
    return [Answered("a.csv", (number,), "pos:s:1", "accepted", "")]


def test_batches_stand_in_the_order_they_were_sent_in_and_a_hole_loses_none(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    with ResultFile(file) as results:
        for number in (1, 0, 4, 3):
            results.add(number, rows_of(number))
        assert not file.exists(), "it has its name when it is whole"
    assert [row[1] for row in read(file)] == ["0", "1", "3", "4"]
    assert list(tmp_path.iterdir()) == [file]


def break_off(file: Path, answers: int) -> None:
    with ResultFile(file) as results:
        for number in range(answers):
            results.add(number, rows_of(number))
        raise KeyboardInterrupt


def test_it_is_there_also_when_the_work_breaks_off_and_not_where_nothing_was_answered(tmp_path: Path) -> None:
    for name, answers in (("some.csv", 1), ("none.csv", 0)):
        with pytest.raises(KeyboardInterrupt):
            break_off(tmp_path / name, answers)
    assert [file.name for file in tmp_path.iterdir()] == ["some.csv"]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_text("mine")
    with pytest.raises(FileExistsError):
        ResultFile(file)
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_nothing_from_outside_is_a_formula_to_a_spreadsheet(tmp_path: Path, text: str) -> None:
    with ResultFile(tmp_path / "results.csv") as results:
        results.add(0, [Answered("a.csv", (1,), text, "accepted", text)])
    ((_, _, order, _, reason),) = read(tmp_path / "results.csv")
    assert (order, reason) == (f"'{text}", f"'{text}")
