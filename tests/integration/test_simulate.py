"""`orderspine simulate`: feeds a running cell, and stops cleanly."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.running import Running, orderspine, until
from tests.retail_lines import write_lines

pytestmark = [pytest.mark.xdist_group("up"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def by_mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cell that goes by the clock of its mail."""
    with Running(tmp_path_factory.mktemp("simulate") / "data", "--clock", "mail") as running:
        yield running


@pytest.fixture(scope="module")
def by_clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cell that goes by the machine's clock."""
    with Running(tmp_path_factory.mktemp("simulate") / "data") as running:
        yield running


def test_a_day_goes_through_and_the_next_one_follows_it(by_mail: Running) -> None:
    first = by_mail.run("simulate", "--orders", 20, "--channel", "taobao", "--json")
    assert first.code == 0, first.err
    done = first.json
    assert done["outcomes"]["accepted"] > 40
    assert "douyin" not in done["sent"]
    assert done["sent"]["ScanOut"] > 5
    again = by_mail.run("simulate", "--orders", 20, "--channel", "taobao", "--json")
    assert again.code == 0, again.err
    assert again.json["outcomes"]["accepted"] > 40
    assert again.json["position"] > done["position"]


def test_a_cell_by_the_real_clock_sees_the_day_now(by_clock: Running) -> None:
    said = by_clock.run("simulate", "--orders", 8)
    assert said.code == 0, said.err
    assert "real clock" in said.err
    assert "accepted" in said.out


def test_old_orders_are_refused_by_a_cell_of_the_real_clock(by_clock: Running, tmp_path: Path) -> None:
    said = by_clock.run("simulate", "--from", write_lines(tmp_path / "lines.parquet"))
    assert said.code == 2
    assert "--clock mail" in said.err


def test_a_file_goes_through(by_mail: Running, tmp_path: Path) -> None:
    said = by_mail.run("simulate", "--from", write_lines(tmp_path / "lines.parquet"), "--json")
    assert said.code == 0, said.err
    assert said.json["invoices"]["lost"] == 0
    assert said.json["invoices"]["invoices"] == 16


def test_ctrl_c_ends_it_after_what_is_under_way(by_mail: Running) -> None:
    words = ["simulate", "--orders", "50", "--speed", "3600", "--data", str(by_mail.data)]
    process = subprocess.Popen([sys.executable, "-m", "runners.cli", *words], stdout=subprocess.PIPE, text=True)
    before = by_mail.run("status", "--json").json["head"]
    until(lambda: by_mail.run("status", "--json").json["head"] > before, 30.0)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "stopped" in out
    assert time.monotonic() - asked < 10


def test_it_says_when_nothing_runs(tmp_path: Path) -> None:
    assert orderspine("simulate", "--data", tmp_path / "absent").code == 4
    assert orderspine("simulate", "--channel", "market", "--data", tmp_path / "absent").code == 2


def test_up_can_bring_a_small_feed(tmp_path: Path) -> None:
    with Running(tmp_path / "data", "--simulate") as running:
        until(lambda: running.run("orders", "--json").json, 40.0)
        assert "simulate" in running.parts()
