"""Small parts of the command line: masking, the status line, logs of bounded size."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from domain.ids import RULEBOOK_KEY
from domain.rulebook import ChangeRules
from domain.stock import ReceiveStock
from runners import part_log
from runners.commands.common import Failure, escape
from runners.commands.order_page import interceptions_of, masked
from runners.commands.stock import ledger_of, read_rows, receipts
from runners.part_log import FILES_KEPT, PartLog
from runners.part_troubles import Trouble
from runners.settings import load_settings
from runners.statusline import StatusLine, line_of
from runners.vitals import Vitals
from tests.audit_log import open_story


def test_masking_leaves_no_value_whole_and_keeps_the_shape() -> None:
    personal = {
        "receiver": {"name": "王小明", "city": "杭州", "zip": 310000},
        "messages": {"m": ""},
        "list": ["ab", None],
    }
    assert masked(personal) == {
        "receiver": {"name": "王***", "city": "杭州", "zip": "3***"},
        "messages": {"m": ""},
        "list": ["a***", None],
    }


def test_the_status_line_says_what_it_does_not_know() -> None:
    line = line_of(Vitals(head=1_200, backlog=None, projector_lag=0, relay_lag=3, orders=7), 12.4)
    assert line == (
        "orders 7 · events 1,200 (12/s) · mail waiting ? · read models level · feed 3 behind · held 0 · quarantined 0"
    )


def test_a_log_is_turned_over_and_only_so_many_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_log, "FILE_BYTES_MAX", 100)
    kept = PartLog(tmp_path, "worker", lambda _: None)
    for number in range(200):
        kept.keep(b'{"event": "%05d"}\n' % number)
    kept.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == FILES_KEPT + 1
    assert all(file.stat().st_size <= 120 for file in files)
    assert b"00199" in b"".join(file.read_bytes() for file in files)


def test_a_log_that_could_not_be_turned_over_goes_on_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_log, "FILE_BYTES_MAX", 1)
    folder, away = tmp_path / "log", tmp_path / "away"
    shown: list[str] = []
    kept = PartLog(folder, "worker", shown.append)
    folder.rename(away)
    for number in range(2):
        kept.keep(b'{"event": "%d"}\n' % number)
    assert len(shown) == 1
    assert "what worker says is lost meanwhile" in shown[0]
    away.rename(folder)
    kept.keep(b'{"event": "2"}\n')
    kept.close()
    assert b'"2"' in b"".join(file.read_bytes() for file in folder.iterdir())


def test_nobody_who_listens_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed terminal, `… 2>&1 | head`: what runs goes on."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        with StatusLine() as line:
            for _ in range(2):
                line.note("it runs")
                line.show(Vitals(), 0.0)


def test_a_remark_for_a_full_disk_is_left_out_and_the_next_one_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w") as stderr, (tmp_path / "err").open("w") as later:  # noqa: SIM117
        with StatusLine() as line:
            monkeypatch.setattr("sys.stderr", stderr)
            line.note("lost")
            os.dup2(later.fileno(), stderr.fileno())
            line.note("told")
    assert "told" in (tmp_path / "err").read_text()


def test_errors_are_shown_and_a_traceback_s_last_line_remembered(tmp_path: Path) -> None:
    shown: list[str] = []
    kept = PartLog(tmp_path, "relay", shown.append)
    kept.keep(b'{"event": "all.well", "level": "info"}\n')
    kept.keep(b'{"event": "feed.refused", "level": "error", "position": 7}\n')
    kept.keep(b"MemoryError: no more\n")
    kept.close()
    assert shown == ["relay: feed.refused: position=7"]
    assert kept.last_words == "MemoryError: no more"


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    assert escape("a\x1b[31mb[red]") == "a\ufffd[31mb\\[red]"


def test_a_stock_file_of_another_encoding_is_read() -> None:
    rows, errors = read_rows("sku,quantity\n螺丝,3\n".encode("gb18030"), "A")
    assert (rows, errors) == ([("A", "螺丝", 3)], [])


@pytest.mark.parametrize("raw", [b"", b"a,b\n1,2\n", b"sku,quantity\n", b'sku,quantity\n"A,1', b"\xff\xff\xff"])
def test_a_stock_file_without_stock_says_why(raw: bytes) -> None:
    rows, errors = read_rows(raw, "A")
    assert rows == []
    assert errors


@pytest.mark.parametrize("quantity", ["0", "-1", "1000000001", "9" * 30, "9" * 5_000])
def test_a_quantity_that_cannot_be_counted_is_named_with_its_row(quantity: str) -> None:
    rows, (error,) = read_rows(f"sku,quantity\nA,{quantity}\n".encode(), "A")
    assert rows == []
    assert error.startswith(f"row 2: quantity '{quantity[:40]}' of A: a whole number from 1 to 1,000,000,000")
    assert len(error) < 120


@pytest.mark.parametrize("sku", ["S" * 201, "S\x1b[2J", '"A\nB"'])
def test_a_sku_that_no_ledger_takes_is_named_with_its_row(sku: str) -> None:
    rows, (error,) = read_rows(f"sku,quantity\nA,1\n{sku},1\n".encode(), "A")
    assert [row.sku for row in rows] == ["A"]
    assert error.startswith("row 3: ")
    assert "is no SKU, which has at most 200 characters" in error


def test_a_long_import_becomes_numbered_receipts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.commands.stock.LINES_MAX", 2)
    rows, _ = read_rows(b"sku,quantity,warehouse\na,1,A\nb,1,B\nc,1,A\nd,1,A\n", "A")
    made = [(mail.to, getattr(mail.body, "document", "")) for mail in receipts(rows, "D")]
    assert made == [("warehouse-A", "D/1"), ("warehouse-A", "D/2"), ("warehouse-B", "D")]


def test_a_full_disk_ends_no_supervisor_and_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "worker.log").symlink_to("/dev/full")
    shown: list[str] = []
    part_log = PartLog(tmp_path, "worker", shown.append)
    part_log.keep(b'{"event": "one", "level": "info"}\n')
    part_log.keep(b'{"event": "disk", "level": "error"}\n')
    part_log.close()
    assert [text for text in shown if "No space left" in text] == shown[:1]
    assert shown[1:] == ["worker: disk"]


def test_the_line_names_the_parts_that_do_not_run() -> None:
    troubles = (Trouble("worker", 4, 1, "ended with code 1"), Trouble("relay", 3, 1, "ended with code 1"))
    assert line_of(Vitals(failing_parts=troubles), 0.0).endswith(" · NOT RUNNING: worker, relay")


def test_the_page_of_an_order_tells_moments_in_the_merchants_zone() -> None:
    stopped = {
        "interception": "payment_timeout-1770600000000",
        "reason": "payment_timeout",
        "evidence": "unpaid past its deadline (UTC ms 1770600000000)",
        "advice": "ask the customer",
        "role": "service",
    }
    shown = io.StringIO()
    Console(width=200, file=shown).print(interceptions_of([stopped], "Asia/Shanghai"))
    assert "unpaid past its deadline (2026-02-09T09:20:00+08:00)" in shown.getvalue()


def test_the_first_goods_name_their_warehouse_and_a_rule_book_names_them_all(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    for story in open_story(tmp_path):
        assert ledger_of(settings, "HZ") == "warehouse-HZ"
        named = 'format = 1\n[[warehouse]]\ncode = "HZ"\n[[warehouse]]\ncode = "SH"\n'
        story.send(RULEBOOK_KEY, ChangeRules("r-1", named, "two of them"))
        assert [ledger_of(settings, code) for code in ("HZ", "SH")] == ["warehouse-HZ", "warehouse-SH"]
        with pytest.raises(Failure, match="no warehouse 'hz' is known, so nothing was done; known are HZ, SH"):
            ledger_of(settings, "hz")
        assert ledger_of(settings, "BJ", new=True) == "warehouse-BJ"
        story.send("warehouse-BJ", ReceiveStock("d-1", (("SKU1", 1),)))
        assert ledger_of(settings, "BJ") == "warehouse-BJ"
