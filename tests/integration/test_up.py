"""`orderspine up`: one program per directory, parts that come back, nothing left behind, a clean end."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import msgspec
import psutil
import pytest

from runners.upstart import Conflicting, agreed_settings, prepared, write_settings
from tests.integration.running import PARTS, Running, Said, orderspine, until

pytestmark = pytest.mark.xdist_group("up")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("up") / "data") as running:
        yield running


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_it_says_what_to_try_next(up: Running) -> None:
    assert "Ctrl-C stops it" in up.said
    assert f"orderspine ingest orders.csv --shop NAME --data {up.data}" in up.said


def test_a_second_one_is_refused_and_told_of_the_first(up: Running) -> None:
    said = orderspine("up", "--data", up.data)
    assert said.code == 4
    assert f"process {up.process.pid}" in said.err
    assert "Traceback" not in said.err


def test_what_was_chosen_is_kept_with_the_data(up: Running) -> None:
    settings = msgspec.json.decode((up.data / "settings.json").read_bytes())
    assert (settings["store"], settings["broker"], settings["clock"]) == ("sqlite", "embedded", "real")
    assert (up.data / "settings.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_killed_runs_again_and_the_others_run_on(up: Running, part: str) -> None:
    until(lambda: set(up.parts()) == set(PARTS), 20.0)
    others = {name: pid for name, pid in up.parts().items() if name != part}
    killed = up.parts()[part]
    os.kill(killed, signal.SIGKILL)
    until(lambda: up.parts().get(part, killed) != killed, 10.0)
    assert {name: pid for name, pid in up.parts().items() if name in others} == others
    said = up.run("stock", "receive", "SKU-1=1", "--document", f"after-{part}", "--json")
    assert said.code == 0, said.err
    assert said.json["outcome"] in {"accepted", "repeated"}


def test_status_tells_what_runs(up: Running) -> None:
    status = up.run("status", "--json").json
    assert status["running"]["pid"] == up.process.pid
    assert status["head"] >= 1


def test_it_says_where_the_gateway_is(up: Running) -> None:
    until(lambda: "Shops push to, and programs ask, http://127.0.0.1:" in up.said, 30.0)
    until(lambda: up.run("status", "--json").json["gateway"], 20.0)  # an earlier test has killed it
    url = up.run("status", "--json").json["gateway"]
    assert url in up.said, "it came back where it was"
    assert httpx.get(f"{url}/healthz", timeout=5.0).status_code == 200
    assert url in up.run("status").out


def test_the_parts_that_can_wait_make_way_for_the_worker(up: Running) -> None:
    until(lambda: set(up.parts()) == set(PARTS), 20.0)
    nice = {name: psutil.Process(pid).nice() for name, pid in up.parts().items()}
    assert nice["worker"] == nice["broker"] < nice["gateway"] < nice["puller"] == nice["effects"] == nice["relay"]
    assert nice["relay"] < nice["snapshots"]
    # Linux shares the processor among sessions first: in sessions of their own they would make way for nobody.
    assert {os.getsid(pid) for pid in up.parts().values()} == {os.getsid(up.process.pid)}


def test_ctrl_c_stops_it_clean_and_it_goes_on_where_it_was(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Running(data) as running:
        assert running.run("stock", "receive", "SKU-1=7", "--document", "D").code == 0
        until(lambda: running.run("stock", "show", "--json").json)
        parts = running.parts()
        began = time.monotonic()
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(15.0) == 130
        assert time.monotonic() - began < 8.0
        assert all(gone(pid) for pid in parts.values())
        assert running.said.rstrip().endswith("stopped")
    said = orderspine("stock", "receive", "SKU-1=7", "--document", "D2", "--data", data)
    assert said.code == 3
    assert "does not run" in said.err
    shown = orderspine("stock", "show", "--json", "--data", data)
    assert [row["on_hand"] for row in shown.json] == [7]
    with Running(data) as running:
        said = running.run("stock", "receive", "SKU-1=7", "--document", "D", "--json")
        assert said.json["outcome"] == "repeated"
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(15.0) == 0


def test_a_closed_terminal_stops_it_unless_it_was_started_to_outlive_it(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may be started to outlive theirs
    try:
        with Running(tmp_path / "data") as running:
            running.process.send_signal(signal.SIGHUP)
            assert running.process.wait(15.0) == 0
            assert running.said.rstrip().endswith("stopped")
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
        with Running(tmp_path / "data") as running:
            running.process.send_signal(signal.SIGHUP)
            assert running.run("stock", "receive", "SKU-1=7", "--document", "D").code == 0
            assert running.process.poll() is None
            assert "stopping" not in running.said
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nothing_is_left_when_it_is_killed(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        until(lambda: set(running.parts()) == set(PARTS), 20.0)
        parts = running.parts()
        running.process.kill()
        running.process.wait(5.0)
        until(lambda: all(gone(pid) for pid in parts.values()), 5.0)
    with Running(tmp_path / "data") as running:
        assert running.run("stock", "receive", "SKU-1=1", "--document", "D").code == 0


def test_a_damaged_log_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"this is no database, and was one yesterday" * 100)
    said = orderspine("up", "--data", tmp_path)
    assert said.code == 4
    assert "Traceback" not in said.err
    assert "log.db" in said.err or "event log" in said.err


def test_a_store_that_does_not_answer_is_said_in_a_sentence(tmp_path: Path) -> None:
    said = orderspine("up", "--data", tmp_path / "data", "--store", "postgresql://nobody@127.0.0.1:1/none")
    assert said.code == 4
    assert "PostgreSQL" in said.err
    assert "Traceback" not in said.err


def test_another_choice_than_the_first_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write_settings(agreed_settings(tmp_path, {"clock": "mail", "store": None, "broker": None}))
    assert agreed_settings(tmp_path, {"clock": None, "store": None, "broker": None}).clock == "mail"
    with pytest.raises(Conflicting, match="begun with clock=mail, and now clock=real"):
        agreed_settings(tmp_path, {"clock": "real", "store": None, "broker": None})


def test_a_witness_that_was_named_once_is_followed_at_every_start(tmp_path: Path) -> None:
    for named, followed in (("/mnt/one", "/mnt/one"), (None, "/mnt/one"), ("/mnt/two", "/mnt/two"), (None, "/mnt/two")):
        with prepared(tmp_path, clock=None, store=None, broker=None, witness=named) as settings:
            assert settings.witness == followed


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ZONE", "Mars/Olympus", "no time zone is called 'Mars/Olympus'"),
        ("CELL", "c" * 53, "53 characters; use 52 at most"),
        ("BATCH_MESSAGES", "0", "batch_messages 0: a number above 0"),
        ("CHANNELS", "no.such.channel", "'no.such.channel' cannot be imported"),
        ("BROKER", "somewhere", "nats://user:password@host:4222"),
        ("BROKER", "nats://host:port", "nats://user:password@host:4222"),
    ],
)
def test_a_setting_that_means_nothing_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"ORDERSPINE_{name}", value)
    said = orderspine("up", "--data", tmp_path)
    assert said.code == 2, said.err
    assert sentence in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "settings.json").exists()


def test_a_directory_whose_name_is_no_utf_8_is_refused_before_its_parts_die_of_it(tmp_path: Path) -> None:
    said = orderspine("up", "--data", tmp_path / os.fsdecode("分店".encode("gb18030")))
    assert (said.code, "is no UTF-8: give it another name" in said.err) == (2, True), said.err


def test_it_says_that_it_runs_only_when_a_worker_has_taken_over(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        assert running.said.index(" starts on ") < running.said.index(" runs on ")
        worker_log = (running.data / "log" / "worker.log").read_text()
        assert "worker.took_over" in worker_log


def test_a_subscriber_is_let_in_given_new_credentials_and_thrown_out_while_it_runs(up: Running) -> None:
    creds = up.data / "erp.creds.json"
    up.run("stock", "receive", "SKU-1=1", "--document", "for-erp")
    said = up.run("subscribers", "add", "erp", "--feeds", "events,inventory", "--kind", "warehouse", "--to", creds)
    assert said.code == 0, said.err
    assert creds.stat().st_mode & 0o077 == 0

    def tail(*options: object) -> Said:
        return up.run("subscribe", *options, "--from", "start", "--until-end", "--creds", creds, "--json")

    until(lambda: tail("events").code == 0, 20.0)
    events = [msgspec.json.decode(line) for line in tail("events").out.splitlines()]
    assert {event["type"] for event in events} == {"stock.received"}
    own = up.run("subscribe", "events", "--from", "start", "--until-end", "--kind", "warehouse", "--json")
    assert own.out == tail("events").out, "the data directory itself says the same"
    shown = up.run("subscribe", "events", "--from", "start", "--until-end", "--kind", "warehouse").out.splitlines()
    told = datetime.fromisoformat(events[0]["time"]).astimezone(ZoneInfo("Asia/Shanghai"))
    assert f"  {told:%Y-%m-%d %H:%M:%S}  stock.received" in shown[0], "in the merchant's zone, as everywhere"
    until(lambda: "SKU-1" in tail("inventory").out, 20.0)
    assert tail("orders").code == 1
    listed = up.run("subscribers", "list", "--json").json
    assert [(each["name"], each["kinds"]) for each in listed] == [("erp", ["warehouse"])]
    old = creds.read_bytes()
    assert up.run("subscribers", "add", "erp", "--feeds", "events").code == 1
    assert up.run("subscribers", "rotate", "erp", "--to", creds).code == 0
    until(lambda: tail("events").code == 0, 20.0)
    creds.write_bytes(old)
    assert tail("events").code == 3
    assert up.run("subscribers", "revoke", "erp").code == 0
    assert up.run("subscribers", "revoke", "erp").code == 1
    assert "subscriber-erp" not in (up.data / "broker" / "nats-server.conf").read_text()
