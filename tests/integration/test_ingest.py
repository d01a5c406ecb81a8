"""`orderspine ingest`: everything handed in ends as an order or as a record of why not; twice changes nothing."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from adapters.storage.sqlite_log import SqliteEventLog
from tests.integration.running import Running, Said, until

pytestmark = pytest.mark.xdist_group("ingest")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("ingest") / "data") as running:
        yield running


def trade(tid: str, **more: Any) -> dict[str, Any]:
    """A paid Taobao trade of one line."""
    return {
        "tid": tid,
        "status": "WAIT_SELLER_SEND_GOODS",
        "type": "fixed",
        "created": "2026-03-01 10:00:00",
        "pay_time": "2026-03-01 10:01:00",
        "modified": "2026-03-01 10:01:00",
        "payment": "19.90",
        "total_fee": "19.90",
        "receiver_name": "李四",
        "receiver_mobile": "13800138001",
        "receiver_address": "转塘街道 2 号",
        "orders": {
            "order": [{"oid": tid, "num": 1, "price": "19.90", "payment": "19.90", "outer_sku_id": "SKU-1"}],
        },
        **more,
    }


def written(folder: Path, name: str, *documents: Any) -> Path:
    file = folder / name
    file.write_bytes(b"".join(json.dumps(document, ensure_ascii=False).encode() + b"\n" for document in documents))
    return file


def only(said: Said, outcome: str) -> dict[str, Any]:
    """The one reason for the one message that was taken in."""
    assert said.json["outcomes"] == {outcome: 1}, said
    (reason,) = said.json["reasons"]
    found: dict[str, Any] = reason
    return found


def test_a_folder_is_taken_in_and_a_second_time_changes_nothing(up: Running, tmp_path: Path) -> None:
    written(tmp_path, "a.json", trade("1001"))
    (tmp_path / "sub").mkdir()
    written(tmp_path / "sub", "b.jsonl", *(trade(str(2000 + number)) for number in range(30)))
    (tmp_path / "notes.md").write_text("not an order")
    (tmp_path / ".hidden.json").write_text("{")
    first = up.run("ingest", tmp_path, "--channel", "taobao", "--shop", "s1", "--json")
    assert first.code == 0, first.err
    assert first.json["outcomes"] == {"accepted": 31}
    assert (first.json["files"], first.json["documents"]) == (2, 31)
    assert first.json["skipped_files"] == ["notes.md"]
    second = up.run("ingest", tmp_path, "--shop", "s1", "--json")
    assert second.code == 0
    assert second.json["outcomes"] == {"repeated": 31}
    until(lambda: len(up.run("orders", "--shop", "s1", "--limit", "100", "--json").json) == 31)


def test_where_an_order_came_from_is_kept_without_directories(up: Running, tmp_path: Path) -> None:
    up.run("ingest", written(tmp_path, "page.jsonl", trade("3001"), trade("3002")), "--shop", "s2")
    until(lambda: up.run("order", "taobao:s2:3002", "--json").code == 0)
    assert up.run("order", "3002", "--json").json["source_tag"] == "taobao/file/page.jsonl#2"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"tid": "1", ', "broken JSON"),
        (json.dumps(trade("1"), ensure_ascii=False).encode("gb18030"), "not UTF-8 at byte"),
        (b'{"hello": "world"}', "no channel recognises this"),
        (b"", "broken JSON"),
    ],
)
def test_what_nobody_understands_is_kept_with_its_reason(up: Running, tmp_path: Path, raw: bytes, reason: str) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(raw)
    said = up.run("ingest", file, "--json")
    assert said.code == 1
    found = only(said, "quarantined")
    assert reason in found["reason"]
    assert found["places"] == ["unknown/file/bad.json#1"]
    until(lambda: any(reason in item["reason"] for item in up.run("quarantine", "list", "--json").json))
    (item,) = [item for item in up.run("quarantine", "list", "--json").json if reason in item["reason"]]
    shown = up.run("quarantine", "show", item["id"], "--raw")
    assert shown.raw == raw
    assert only(up.run("ingest", file, "--json"), "repeated")
    assert up.run("quarantine", "discard", item["id"], "--reason", "a test").code == 0
    until(lambda: all(other["id"] != item["id"] for other in up.run("quarantine", "list", "--json").json))


def test_an_order_without_a_shop_is_refused_with_what_to_do(up: Running, tmp_path: Path) -> None:
    said = up.run("ingest", written(tmp_path, "no_shop.json", trade("4000")), "--json")
    assert said.code == 1
    assert "name the shop" in only(said, "refused")["reason"]


def test_bytes_of_no_known_channel_are_sent_again_when_a_person_names_it(up: Running, tmp_path: Path) -> None:
    disguised = json.dumps(trade("4001")).replace('"tid"', '"\\u0074id"')
    (tmp_path / "disguised.json").write_text(disguised)
    only(up.run("ingest", tmp_path / "disguised.json", "--json"), "quarantined")
    until(lambda: any("disguised" in item["source_tag"] for item in up.run("quarantine", "list", "--json").json))
    (item,) = [item for item in up.run("quarantine", "list", "--json").json if "disguised" in item["source_tag"]]
    stuck = up.run("quarantine", "resend", item["id"][:12])
    assert stuck.code == 1
    assert "stays quarantined: no channel recognises this" in stuck.err
    said = up.run("quarantine", "resend", item["id"][:12], "--channel", "taobao", "--shop", "late", "--json")
    assert said.code == 0, said.err
    assert [each["outcome"] for each in said.json["sent"]] == ["accepted"]
    until(lambda: up.run("order", "taobao:late:4001", "--json").code == 0)
    assert all("disguised" not in each["source_tag"] for each in up.run("quarantine", "list", "--json").json)


@pytest.mark.parametrize("number", ["7.1", "a b", "x*", ">", "单号", "a:b=c", "\u200b", "'; DROP TABLE orders"])
def test_an_order_number_of_any_letters_is_taken_as_it_is(up: Running, tmp_path: Path, number: str) -> None:
    said = up.run("ingest", written(tmp_path, "odd.json", trade(number)), "--shop", "odd", "--json")
    assert said.json["outcomes"] == {"accepted": 1}, said
    until(lambda: up.run("order", f"taobao:odd:{number}", "--json").code == 0)
    assert up.run("order", f"taobao:odd:{number}", "--json").json["order_no"] == number


def test_an_order_number_that_is_too_long_is_refused_or_kept(up: Running, tmp_path: Path) -> None:
    said = up.run("ingest", written(tmp_path, "long.json", trade("9" * 300)), "--shop", "s1", "--json")
    assert said.code == 1
    assert "longer than 200 bytes" in said.json["reasons"][0]["reason"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"created": "2026-13-41 10:00:00"}, "2026-13-41"),
        ({"created": "9999-01-01 00:00:00"}, "9999"),
        ({"payment": "1e99"}, "1e99"),
        ({"payment": "99999999999999999999.00"}, "99999999999999999999"),
    ],
)
def test_absurd_times_and_amounts_are_quarantined_with_the_order(
    up: Running, tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    tid = str(crc32(reason.encode()))
    said = up.run("ingest", written(tmp_path, "absurd.json", trade(tid, **change)), "--shop", "s3", "--json")
    assert said.code == 1
    assert reason in only(said, "quarantined")["reason"]
    healed = up.run("ingest", written(tmp_path, "healed.json", trade(tid)), "--shop", "s3", "--json")
    assert healed.json["outcomes"] == {"queued": 1}
    until(lambda: any(item["stream"].endswith(f":{tid}") for item in up.run("quarantine", "list", "--json").json))
    (item,) = [item for item in up.run("quarantine", "list", "--json").json if item["stream"].endswith(f":{tid}")]
    again = up.run("quarantine", "resend", item["id"])
    assert again.code == 1
    assert "quarantined again" in again.err
    until(lambda: item["id"] in json.dumps(up.run("quarantine", "list", "--json").json))
    assert up.run("quarantine", "discard", item["id"], "--reason", "the later one is right").code == 0
    until(lambda: up.run("order", f"taobao:s3:{tid}", "--json").json["fulfilment"] == "paid")


def test_ten_megabytes_of_one_order_are_taken_in(up: Running, tmp_path: Path) -> None:
    big = trade("5001", something_new="x" * 10_000_000)
    said = up.run("ingest", written(tmp_path, "big.json", big), "--shop", "s4", "--json")
    assert said.json["outcomes"] == {"accepted": 1}, said
    until(lambda: up.run("order", "5001", "--json").code == 0)
    revealed = up.run("order", "5001", "--reveal", "--json").json
    assert len(revealed["personal"]["attributes"]["something_new"]) == 10_000_000


def test_one_bad_document_among_many_stops_none(up: Running, tmp_path: Path) -> None:
    documents = [trade(str(6000 + number)) for number in range(20)]
    file = tmp_path / "mixed.jsonl"
    lines = [json.dumps(document).encode() for document in documents]
    lines.insert(7, b'{"tid": ')
    lines.insert(3, b"")
    file.write_bytes(b"\n".join(lines))
    said = up.run("ingest", file, "--channel", "taobao", "--shop", "s5", "--json")
    assert said.code == 1
    assert said.json["outcomes"] == {"accepted": 20, "quarantined": 1}
    assert said.json["reasons"][0]["places"] == ["taobao/file/mixed.jsonl#9"]


def test_nothing_is_lost_when_the_worker_is_killed_on_the_way(up: Running, tmp_path: Path) -> None:
    orders = 3_000
    file = written(tmp_path, "many.jsonl", *(trade(str(70_000 + number)) for number in range(orders)))
    words = ["ingest", str(file), "--shop", "s6", "--json", "--data", str(up.data)]
    with subprocess.Popen([sys.executable, "-m", "runners.cli", *words], stdout=subprocess.PIPE) as ingesting:
        for _ in range(3):
            time.sleep(0.7)
            if (pid := up.parts().get("worker")) is not None:
                os.kill(pid, signal.SIGKILL)
        said = json.loads(ingesting.communicate(timeout=60.0)[0])
    assert ingesting.returncode == 0
    assert said["messages"] == orders
    # An answer that died with the worker is asked for again, and is then "repeated".
    assert set(said["outcomes"]) <= {"accepted", "repeated"}
    until(lambda: up.run("status", "--json").json["projector_lag"] == 0, 30.0)
    rows = {(row["channel"], row["shop"]): row for row in up.run("intake", "--json").json}
    assert rows["taobao", "s6"]["accepted"] == orders


def test_wrong_use_is_told_in_a_sentence(up: Running, tmp_path: Path) -> None:
    unknown = up.run("ingest", tmp_path, "--channel", "nosuch")
    assert unknown.code == 2
    assert "there is no channel 'nosuch'; known are" in unknown.err
    missing = up.run("ingest", tmp_path / "nosuch.json")
    assert missing.code == 2
    assert "no such file" in missing.err
    assert up.run("ingest").code == 2


def test_every_row_is_told_what_became_of_it(up: Running, tmp_path: Path) -> None:
    file, results = tmp_path / "till.csv", tmp_path / "results.csv"
    rows = [f"{number},S9,2026-03-01 10:00:00,{line},A,1,5.00" for number in (1, 2) for line in (1, 2)]
    file.write_text("\n".join(("小票号,门店编号,销售时间,行号,货号,数量,金额", *rows[:3])))
    assert up.run("ingest", file, "--results", results).code == 0
    told = results.read_text("utf-8-sig").splitlines()
    assert [line.split(",")[1:4] for line in told] == [
        ["row", "order", "outcome"],
        ["2", "pos:S9:20260301-1", "已接收 accepted"],
        ["3", "pos:S9:20260301-1", "已接收 accepted"],
        ["4", "pos:S9:20260301-2", "已接收 accepted"],
    ]
    before = results.read_bytes()
    again = up.run("ingest", file, "--results", results)
    assert again.code == 2
    assert "is there already" in again.err
    assert results.read_bytes() == before
    assert up.run("ingest", file, "--results", tmp_path / "no" / "where.csv").code == 2


HEADER = "小票号,销售时间,数量,小计,商品编码"


@pytest.mark.parametrize(
    ("name", "raw", "outcome", "reason"),
    [
        ("deep.json", b'{"tid": "9000", "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "quarantined", "recursion"),
        ("level.json", json.dumps(trade("9001", x=0)).replace(": 0", ": " + "[" * 99 + "]" * 99), "quarantined", "64"),
        ("nan.json", json.dumps(trade("9002", x=0)).replace(": 0", ": NaN"), "quarantined", "broken JSON"),
        ("int.json", json.dumps(trade("9003", x=0)).replace(": 0", ": " + "9" * 5000), "quarantined", "Integer value"),
        ("twice.json", '{"tid": "9004", ' + json.dumps(trade("9004"))[1:], "refused", "'tid' is there twice"),
        ("null.json", json.dumps(trade("x")).replace('"x"', "null", 1), "refused", "trade id is empty"),
        ("blank.json", json.dumps(trade("   ")), "refused", "trade id is empty"),
        ("nul.json", json.dumps(trade("9005")) + "\0", "quarantined", "broken JSON"),
        ("utf16.json", json.dumps(trade("9006")).encode("utf-16"), "quarantined", "not UTF-8"),
        ("list.json", "[1, 2]", "quarantined", "no channel recognises this"),
        ("rubbish.csv", bytes(range(256)) * 9, "quarantined", "no channel recognises this"),
        ("quote.csv", f'{HEADER}\n"R1,2026-03-01 10:00:00,1,5,A\n', "refused", "row 2"),
        ("negative.json", json.dumps(trade("9007", payment="-19.90")), "quarantined", "-19.90 is negative"),
        ("before.json", json.dumps(trade("9008", modified="2005-03-01 10:00:00")), "quarantined", "days before"),
    ],
)
def test_what_is_wrong_is_named_and_its_bytes_are_kept(
    up: Running, tmp_path: Path, name: str, raw: str | bytes, outcome: str, reason: str
) -> None:
    raw = raw if isinstance(raw, bytes) else raw.encode()
    (tmp_path / name).write_bytes(raw)
    said = up.run("ingest", tmp_path / name, "--shop", "wild", "--json")
    assert said.code == 1
    assert reason in only(said, outcome)["reason"]
    if outcome == "quarantined":
        until(lambda: any(name in item["source_tag"] for item in up.run("quarantine", "list", "--json").json))
        (item,) = [item for item in up.run("quarantine", "list", "--json").json if name in item["source_tag"]]
        assert up.run("quarantine", "show", item["id"], "--raw").raw == raw


def test_marks_and_line_ends_do_not_matter_and_a_table_may_be_wide(up: Running, tmp_path: Path) -> None:
    one, two = (json.dumps(trade(number)).encode() for number in ("9100", "9101"))
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + one + b"\r\n\r\n" + two + b"\r\n")
    columns = ",".join(f"c{number}" for number in range(1_000))
    row = f"W1,2026-03-01 10:00:00,1,5,A,{','.join('v' * 1_000)}"
    (tmp_path / "b.csv").write_text(f"{HEADER},{columns}\n{row}\n")
    (tmp_path / "c.jsonl").write_bytes(b"\n\n")
    said = up.run("ingest", tmp_path, "--shop", "wide", "--json")
    assert (said.code, said.json["outcomes"]) == (0, {"accepted": 3})
    assert said.json["empty_files"] == ["c.jsonl"]
    until(lambda: up.run("order", "pos:wide:20260301-W1", "--json").code == 0)
    sealed = up.run("order", "pos:wide:20260301-W1", "--reveal", "--json").json["personal"]["attributes"]
    assert len(sealed) == 1_000


def test_more_than_32_mb_are_refused_with_what_to_do_and_the_rest_goes_on(up: Running, tmp_path: Path) -> None:
    too_much = json.dumps(trade("9200", x="x" * (33 << 20)))
    (tmp_path / "huge.jsonl").write_text(f"{too_much}\n{json.dumps(trade('9201'))}\n")
    said = up.run("ingest", tmp_path / "huge.jsonl", "--shop", "huge", "--json")
    assert said.code == 1
    assert said.json["outcomes"] == {"accepted": 1, "refused": 1}
    assert "at most 32 MB" in said.json["reasons"][0]["reason"]


def test_links_pipes_and_files_that_vanish_stop_nothing(
    up: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "circle").symlink_to(tmp_path)
    (tmp_path / "broken.json").symlink_to("nowhere.json")
    os.mkfifo(tmp_path / "pipe.json")
    vanishing = written(tmp_path, "a.json", trade("9300"))
    written(tmp_path, "b.json", trade("9301"))
    was_open = Path.open

    def opened(self: Path, *words: Any, **more: Any) -> Any:
        if self == vanishing:
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return was_open(self, *words, **more)

    monkeypatch.setattr(Path, "open", opened)
    said = up.run("ingest", tmp_path, "--shop", "links", "--json")
    assert said.code == 1
    assert said.json["outcomes"] == {"accepted": 1}
    assert said.json["unread_files"] == [{"file": "a.json", "reason": "No such file or directory"}]
    assert sorted(said.json["skipped_files"]) == ["broken.json", "circle", "pipe.json"]


def test_a_file_whose_name_is_no_utf_8_is_taken_in_and_told(up: Running, tmp_path: Path) -> None:
    """As archives made on Chinese Windows leave them on other machines."""
    file = Path(os.fsdecode(os.fsencode(tmp_path) + "/订单.json".encode("gbk")))
    try:
        file.write_text(json.dumps(trade("9310")))
    except OSError:
        pytest.skip("this file system takes no such name")
    shown = r"\xb6\xa9\xb5\xa5"
    Path(file.with_suffix(".md")).write_text("")
    Path(file.with_suffix(".csv")).write_text("")
    said = up.run("ingest", tmp_path, "--shop", "names", "--results", tmp_path / "told", "--json")
    assert said.json["outcomes"] == {"accepted": 1, "quarantined": 1}
    assert said.json["skipped_files"] == [f"{shown}.md"]
    assert f"/{shown}.json,1,taobao:names:9310" in (tmp_path / "told").read_text("utf-8-sig")


def test_nothing_from_outside_steers_a_terminal(up: Running, tmp_path: Path) -> None:
    evil = "\x1b[31m\x1b]0;mine\x07\x9b2J\u202e[bold]"
    lines = {"order": [{"oid": "1", "num": 1, "price": "19.90", "title": evil, "outer_sku_id": evil}]}
    said = up.run("ingest", written(tmp_path, f"{evil}.json", trade(evil, orders=lines)), "--shop", "evil")
    assert said.code == 0
    until(lambda: up.run("order", f"taobao:evil:{evil}", "--json").code == 0)
    for words in (["orders", "--shop", "evil"], ["order", f"taobao:evil:{evil}"], ["quarantine", "list"]):
        shown = up.run(*words)
        assert not set("\x1b\x07\x9b\u202e") & set(shown.out + shown.err + said.out), words
    assert "[bold]" in up.run("orders", "--shop", "evil").out


def _grown(log: SqliteEventLog, before: int) -> bool:
    return log.tracked().head > before


def test_ctrl_c_tells_what_was_answered_and_a_kill_loses_nothing(up: Running, tmp_path: Path) -> None:
    orders = 6_000
    file = written(tmp_path, "long.jsonl", *(trade(str(800_000 + number)) for number in range(orders)))
    words = [sys.executable, "-m", "runners.cli", "ingest", str(file), "--shop", "long", "--data", str(up.data)]
    results = tmp_path / "results.csv"

    for ending, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        # Looked at directly and often: the moment must not be missed, however fast the file is taken in.
        with closing(SqliteEventLog(up.data / "log.db", read_only=True)) as log:
            before = log.tracked().head
            options = ["--results", str(results)] if ending == signal.SIGINT else []
            with subprocess.Popen([*words, "--json", *options], stdout=subprocess.PIPE) as ingesting:
                until(partial(_grown, log, before), 30.0)
                ingesting.send_signal(ending)
                out = ingesting.communicate(timeout=30.0)[0]
        assert ingesting.returncode == code
        if ending == signal.SIGINT:
            assert json.loads(out)["whole"] is False
            answered = json.loads(out)["messages"]
            assert (
                len(results.read_text("utf-8-sig").splitlines()) == answered + 1 if answered else not results.exists()
            )
    both = [subprocess.Popen([*words, "--json"], stdout=subprocess.PIPE) for _ in range(2)]
    for ingesting in both:
        said = json.loads(ingesting.communicate(timeout=90.0)[0])
        assert ingesting.returncode == 0
        assert sum(said["outcomes"].values()) == orders
        assert set(said["outcomes"]) <= {"accepted", "repeated"}
    until(lambda: up.run("status", "--json").json["projector_lag"] == 0, 60.0)
    rows = {(row["channel"], row["shop"]): row for row in up.run("intake", "--json").json}
    assert rows["taobao", "long"]["accepted"] == orders


def test_the_same_large_file_is_put_aside_once(up: Running, tmp_path: Path) -> None:
    file = written(tmp_path, "large.json", trade("9400", x="x" * 2_000_000))
    for outcome in ("accepted", "repeated", "repeated"):
        assert up.run("ingest", file, "--shop", "spool", "--json").json["outcomes"] == {outcome: 1}
    with sqlite3.connect(up.data / "spool.db") as db:
        sizes = [size for (size,) in db.execute("SELECT length(sealed) FROM spooled")]
    db.close()
    assert len([size for size in sizes if 2_000_000 < size < 2_100_000]) == 1


def test_an_order_shows_what_happened_to_it(up: Running, tmp_path: Path) -> None:
    up.run("ingest", written(tmp_path, "one.json", trade("9500")), "--shop", "past")
    until(lambda: up.run("order", "taobao:past:9500", "--json").code == 0)
    order = up.run("order", "taobao:past:9500", "--json").json
    assert [(each["version"], each["tag"]) for each in order["timeline"]][:3] == [
        (1, "order.received"),
        (2, "order.normalized"),
        (3, "order.paid"),
    ]
    assert order["timeline"][0]["by"] == "channel taobao"
    assert "订单接收 received" in up.run("order", "taobao:past:9500").out


def test_a_failure_is_a_json_document_too(up: Running, tmp_path: Path) -> None:
    for words, code in ((["ingest", tmp_path / "nosuch"], 2), (["order", "nosuch"], 1)):
        said = up.run(*words, "--json")
        assert said.code == code
        assert said.json["exit"] == code
        assert said.json["error"] in said.err
