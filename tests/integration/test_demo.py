"""`orderspine demo`: real processes, a day of trade, and checks that hold."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.running import orderspine
from tests.retail_lines import write_lines

pytestmark = [pytest.mark.xdist_group("up"), pytest.mark.timeout(180)]

PROMISED = {
    *("orders", "events", "seconds", "states", "repeated", "quarantined", "lost", "oversold"),
    *("read_models_match_log", "chain_verified"),
}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_day_of_trade_loses_nothing_and_leaves_nothing_behind(scratch: Path) -> None:
    said = orderspine("demo", "--orders", 60, "--seed", 5, "--json")
    assert said.code == 0, said.err + said.out
    shown = said.json
    assert set(shown) >= PROMISED
    assert shown["orders"] == 60
    assert shown["events"] > 400
    assert (shown["lost"], shown["oversold"]) == (0, 0)
    assert shown["read_models_match_log"] is True
    assert shown["chain_verified"] is True
    assert shown["invariants_hold"] is True
    assert shown["repeated"] > 0
    assert shown["quarantined"] > 0
    assert sum(shown["states"].values()) == 60
    assert shown["states"]["shipped"] + shown["states"]["completed"] > 30
    assert list(scratch.iterdir()) == []


def test_every_invoice_of_a_file_is_accounted_for(scratch: Path) -> None:
    said = orderspine("demo", "--from", write_lines(scratch / "lines.parquet"), "--json")
    assert said.code == 0, said.err + said.out
    shown = said.json
    invoices = {name: count for name, count in shown["invoices"].items() if not name.startswith("rule: ")}
    assert invoices == {
        "lines": 20,
        "invoices": 16,
        "orders: accepted": 6,
        "cancellations matched": 2,
        "cancellations matched in part": 1,
        "cancellations not matched": 2,
        "cancellations of services only": 1,
        "stock corrections": 1,
        "stock corrections: refused": 1,
        "refused: a correction of the books, no order (bad debt)": 1,
        "refused: services only, no goods": 1,
        "lost": 0,
        "scanned out": invoices["scanned out"],
        "released after a receipt of goods": invoices["released after a receipt of goods"],
    }
    assert invoices["released after a receipt of goods"] >= 1
    assert (shown["orders"], shown["lost"], shown["oversold"]) == (6, 0, 0)
    assert shown["events_by_tag"]["order.cancelled"] == 1
    assert shown["events_by_tag"]["order.after_sale_opened"] >= 1
    assert shown["read_models_match_log"] is True
    assert shown["chain_verified"] is True


def test_wrong_use_is_said_before_anything_starts(scratch: Path) -> None:
    assert orderspine("demo", "--orders", 0).code == 2
    said = orderspine("demo", "--from", scratch / "absent.parquet")
    assert said.code == 2
    assert "absent.parquet" in said.err
    assert list(scratch.iterdir()) == []


def test_ctrl_c_stops_all_parts_and_removes_the_directory(scratch: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "runners.cli", "demo", "--orders", "2000"],
        env={"TMPDIR": str(scratch), "PATH": "/usr/bin:/bin"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "a day of trade" in line:
                break
        time.sleep(0.5)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        assert process.wait(30) == 130
    assert not [child for child in children if child.is_running()]
    assert list(scratch.iterdir()) == []
