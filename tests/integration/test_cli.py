"""The command line: what it teaches, how it ends, and a day's work with it."""

import asyncio
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.nats.address import Address
from adapters.nats.client import Connection
from adapters.nats.streams import ensure_mail
from adapters.storage.scan import Unreadable
from domain.cellular import Tick
from domain.envelope import By
from domain.ids import CELL_KEY
from domain.mail import Mail, Replies, Reply, decode_mail, encode_replies
from runners.bootstrap import open_log
from runners.cli import VERBS, build_app
from runners.failures import explain
from runners.part_troubles import Troubles
from runners.post import NoAnswer, Postman
from runners.settings import Settings
from tests.integration.running import Running, orderspine, until

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("orderspine")
pytestmark = pytest.mark.xdist_group("cli")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("cli") / "data", "--clock", "mail") as running:
        yield running


def trade(number: str, *, status: str = "WAIT_SELLER_SEND_GOODS", sku: str = "SKU-1", units: int = 1) -> dict[str, Any]:
    line = {"oid": f"{number}1", "num": units, "price": "5.00", "payment": f"{5 * units}.00", "outer_sku_id": sku}
    return {
        "tid": number,
        "status": status,
        "created": "2026-03-01 10:00:00",
        "pay_time": "2026-03-01 10:01:00",
        "modified": "2026-03-01 10:01:00",
        "payment": f"{5 * units}.00",
        "total_fee": f"{5 * units}.00",
        "receiver_name": "王小明",
        "receiver_mobile": "13800138000",
        "receiver_state": "浙江省",
        "receiver_address": "转塘街道 1 号",
        "orders": {"order": [line]},
    }


def taken_in(up: Running, folder: Path, *trades: dict[str, Any]) -> None:
    file = folder / "trades.jsonl"
    file.write_text("\n".join(json.dumps(each) for each in trades))
    assert up.run("ingest", file, "--shop", "s1").code == 0
    until(lambda: all(up.run("order", f"taobao:s1:{each['tid']}", "--json").code == 0 for each in trades))


def state_of(up: Running, number: str) -> str:
    state: str = up.run("order", f"taobao:s1:{number}", "--json").json["state"]
    return state


# --- what it teaches


def test_help_names_every_verb_with_an_example() -> None:
    said = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    there = [verb for verb in VERBS if verb.name in build_app()]
    assert {"up", "ingest", "stock", "scan-out", "ship", "orders", "order", "status", "quarantine"} <= {
        verb.name for verb in there
    }
    for verb in there:
        assert f"orderspine {verb.example}" in said
    assert "Exit codes: 0 done" in said


def test_the_examples_of_the_help_are_understood() -> None:
    app = build_app()
    for verb in VERBS:
        if verb.name in app:
            app.parse_args(shlex.split(verb.example), exit_on_error=False, print_error=False)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_the_commands_of_the_documents_are_understood(page: Path) -> None:
    """Each command that stands in a block by itself; `…` and `[` are for what the reader puts there."""
    app = build_app()
    text = re.sub(r" *\\\n *", " ", page.read_text())
    for line in re.findall(r"^(?: {4})?(?:\.venv/bin/)?orderspine (.*)$", text, re.MULTILINE):
        command = re.split(r"\s+#| > |\s*[…\[]", line)[0]
        app.parse_args(shlex.split(command), exit_on_error=False, print_error=False)


def test_help_needs_nothing_heavy() -> None:
    heavy = "sorted({'nats', 'sqlalchemy', 'psycopg', 'cryptography', 'structlog'} & set(sys.modules))"
    program = (
        "import sys, io, contextlib\n"
        "from runners.cli import run\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): run(['--help'])\n"
        f"print({heavy})"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


# --- how it ends


@pytest.mark.parametrize("name", ["taobao:s1:7701", "order-taobao:s1:7701"])
def test_an_act_on_an_order_that_nobody_has_told_of_is_not_sent(up: Running, name: str) -> None:
    colleague = ("--person", "wu", "--role", "sales")
    for words in (
        ("cancel", name, "--reason", "a slip"),
        ("scan-out", name),
        ("scan", name, "SKU-1"),
        ("resolve", name, "stock", "--decision", "release"),
        ("comment", name, "is it there?", *colleague),
        ("complain", name, "--cause", "late", "--channel", "phone", *colleague),
    ):
        said = up.run(*words)
        assert (said.code, "no channel has sent such an order as taobao:s1:7701, so nothing was done" in said.err) == (
            1,
            True,
        ), (words, said.err)
    assert up.run("audit", "history", name).code == 1, "nothing of it stands in the log"


def test_an_act_may_come_before_its_order_where_that_is_meant(up: Running, tmp_path: Path) -> None:
    early = up.run("cancel", "taobao:s1:7702", "--reason", "customer", "--early")
    assert (early.code, "waits for its order" in early.err) == (0, True)
    assert up.run("scan-out", "taobao:s1:7702").code == 1, "what waits is no word of a channel"
    taken_in(up, tmp_path, trade("7702"))
    until(lambda: state_of(up, "7702") == "cancelled")


def test_an_order_that_came_in_just_now_can_be_acted_on(up: Running, tmp_path: Path) -> None:
    """The log knows it before the read models do."""
    file = tmp_path / "trades.json"
    file.write_text(json.dumps(trade("7703")))
    assert up.run("ingest", file, "--shop", "s1").code == 0
    assert up.run("cancel", "taobao:s1:7703", "--reason", "customer").code == 0


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["nosuch"], 2, "nosuch"),
        (["orders", "--state", "lost"], 2, "lost"),
        (["stock", "receive", "SKU-1", "--document", "D"], 2, "NAME=UNITS"),
        (["stock", "receive", "SKU-1=0", "--document", "D"], 2, "from 1 to"),
        (["cancel", "1", "--reason", "r", "--line", "a=b"], 2, "--line 'a=b'"),
        (["orders", "--limit", "9" * 30], 2, "--limit. Must be <= 1000000"),
        (["orders", "--limit", "-1"], 2, "--limit. Must be >= 1"),
        (["stock", "show", "--limit", "9" * 30], 2, "--limit. Must be <= 1000000"),
        (["stock", "show", "--limit", "-5"], 2, "--limit. Must be >= 1"),
        (["stock", "receive", f"SKU-1={'9' * 30}", "--document", "D"], 2, "from 1 to 1,000,000,000"),
        (["cancel", "1", "--reason", "r", "--line", f"a={'9' * 5000}"], 2, "from 1 to 1,000,000,000"),
        (["simulate", "--speed", "nan"], 2, "--speed"),
        (["simulate", "--orders", "0"], 2, "--orders. Must be >= 1"),
        (["simulate", "--keep"], 2, "--keep goes with --platforms"),
        (["ship", "1", "--tracking", "", "--carrier", "SF"], 2, "may not be empty"),
        (["scan-out", "1", "--tracking", "SF1"], 2, "both --tracking and --carrier"),
        (["stock", "adjust", "SKU-1", "--by", f"-{'9' * 30}", "--reason", "r"], 2, "--by: at most 1,000,000,000"),
        (["stock", "protect", "SKU-1", "9" * 30], 2, "UNITS: at most 1,000,000,000 units"),
        (["audit", "history", "1", "--last", "-1"], 2, "--last. Must be >= 0"),
        (["audit", "state", "1", "--position", "-1"], 2, "--position. Must be >= 0"),
        (["audit", "verify", "--jobs", "-1"], 2, "--jobs. Must be >= 0"),
        (["audit", "verify", "--jobs", "9" * 30], 2, "--jobs. Must be <= 1024"),
        (["cancel", "1", "--reason", " "], 2, "--reason. Must not be blank"),
        (["reject", "1", "credit", "--reason", ""], 2, "--reason. Must not be blank"),
        (["stock", "adjust", "SKU-1", "--by", "1", "--reason", ""], 2, "--reason. Must not be blank"),
        (["stock", "receive", "SKU-1=1", "--document", " "], 2, "--document. Must not be blank"),
        (["cancel", "1", "--reason", "r", "--empty-line"], 2, "Unknown option"),
        (["orders"], 4, "there is no OrderSpine data in"),
        (["status"], 4, "orderspine up --data"),
    ],
)
def test_wrong_use_ends_with_its_code_and_a_sentence(
    tmp_path: Path, words: list[str], code: int, sentence: str
) -> None:
    data = () if words[0] == "nosuch" else ("--data", str(tmp_path / "none"))
    said = orderspine(*words, *data)
    assert said.code == code
    assert sentence in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["order", "77"],
        ["order", "taobao:s1:77"],
        ["thread", "taobao:s1:77"],
        ["service", "list", "taobao:s1:77"],
        ["after-sale", "list", "taobao:s1:77"],
        ["track", "taobao:s1:77"],
        ["audit", "history", "taobao:s1:77"],
        ["audit", "state", "warehouse-Z"],
        ["audit", "as-of", "orders", "--position", "999999"],
        ["webhooks", "add", "erp", "http://127.0.0.1:9/", "--from", "999999"],
        ["quarantine", "show", "nosuch"],
        ["webhooks", "pause", "nosuch"],
        ["channels", "remove", "nosuch"],
        ["wms", "remove", "nosuch"],
        ["carriers", "remove", "nosuch"],
        ["payments", "remove", "nosuch"],
        ["receivers", "remove", "nosuch"],
        ["subscribers", "revoke", "nosuch"],
        ["api-token", "remove", "nosuch"],
    ],
    ids=" ".join,
)
def test_what_the_data_do_not_know_is_told_with_one_code(up: Running, words: list[str]) -> None:
    said = up.run(*words)
    assert (said.code, said.out) == (1, ""), said.out
    assert re.fullmatch(r"orderspine: .*\b(no|knows no|nothing|ends at)\b.*\n", said.err)


def test_a_part_that_dies_again_and_again_is_seen_where_people_look(up: Running) -> None:
    def figures() -> str:
        gateway = up.run("status", "--json").json["gateway"]
        return httpx.get(f"{gateway}/metrics").text if gateway else ""

    until(lambda: "orderspine_failing_parts 0.0" in figures())
    try:
        troubles = Troubles(up.data)
        for _ in range(4):
            troubles.died("worker", "ended with code 1 (OSError: No space left on device)")
        said = up.run("status")
        assert said.code == 1
        assert re.search(r"worker does not run\W+ended 4 times in a row since 20\d\d-", said.out)
        assert "worker does not run: it ended with code 1 (OSError: No space left on device)" in said.err
        assert str(up.data / "log" / "worker.log") in said.err
        told = up.run("status", "--json")
        assert told.code == 1
        assert [(each["part"], each["deaths"]) for each in told.json["failing_parts"]] == [("worker", 4)]
        until(lambda: "orderspine_failing_parts 1.0" in figures())
    finally:
        Troubles(up.data)
    assert up.run("status").code == 0


def test_a_zone_that_there_is_not_is_told_before_anything_is_shown(
    up: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORDERSPINE_ZONE", "Mars/Olympus")
    for words in (("orders",), ("audit", "history", "1"), ("kpi", "show"), ("status",)):
        said = up.run(*words)
        assert (said.code, said.out) == (2, "")
        assert said.err == (
            "orderspine: zone: no time zone is called 'Mars/Olympus': use a name such as Asia/Shanghai or +08:00\n"
        )


@pytest.mark.parametrize(
    "words",
    [
        ["orders", "--data", ""],
        ["up", "--data="],
        ["up", "--data", "nosuch", "--witness", " "],
        ["restore", "nosuch", "--data", ""],
    ],
    ids=" ".join,
)
def test_an_unset_variable_of_a_script_is_no_name_of_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = orderspine(*words)
    assert (said.code, said.out) == (2, "")
    assert re.search(r"--(data|witness): Must not be empty", said.err), said.err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_name_in_the_environment_is_none_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERSPINE_DATA", "")
    said = orderspine("up")
    assert (said.code, said.out) == (2, "")
    assert "Must not be empty" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["schemas", "nosuch"],
        ["kpi", "show", "nosuch"],
        ["subscribe", "nosuch"],
        ["audit", "as-of", "nosuch"],
        ["webhooks", "add", "erp", "http://127.0.0.1:9/", "--types", "nosuch"],
        ["restore", "nosuch", "--data", "nowhere"],
        ["ingest", "nosuch"],
    ],
    ids=" ".join,
)
def test_a_word_or_a_file_that_there_is_not_is_wrong_use(up: Running, words: list[str]) -> None:
    said = orderspine(*words) if words[0] in ("restore", "schemas") else up.run(*words)
    assert (said.code, said.out) == (2, "")
    assert re.search(r"there is no .*nosuch|nosuch: no such file", said.err), said.err


@pytest.mark.parametrize(
    "words",
    [
        ["subscribers", "add", "erp", "--feeds", "events", "--channel", "taobaoo"],
        ["webhooks", "add", "erp", "http://127.0.0.1:9/", "--channels", "taobao,taobaoo"],
    ],
)
def test_nobody_waits_for_events_of_a_channel_that_there_is_not(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "build.json").write_text('{"schema": 1, "version": "0"}')
    said = orderspine(*words, "--data", tmp_path)
    assert said.code == 2
    assert "there is no channel 'taobaoo'; known are douyin" in said.err


def test_who_reads_no_further_has_made_no_mistake() -> None:
    """`orderspine … | head`: nothing is wrong, whoever printed it (a page of help, a table, a document)."""
    for words in (("--help",), ("statements", "formats"), ("after-sale", "words", "--json")):
        with subprocess.Popen([COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert (process.stderr.read(), process.wait(60.0)) == (b"", 0), words


def test_a_terminal_without_some_letters_shows_the_others() -> None:
    """What was done must not look undone because its answer has a letter that the terminal's encoding lacks."""
    for encoding in ("ascii", "gbk", "latin-1"):
        said = subprocess.run(
            [COMMAND, "statements", "formats"],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            check=False,
        )
        assert (said.returncode, said.stderr, b"wechat" in said.stdout) == (0, b"", True), encoding


def test_a_document_for_a_file_has_all_its_letters_whatever_the_terminal_has() -> None:
    def shown(encoding: str) -> bytes:
        return subprocess.run(
            [COMMAND, "channels", "map", "pos"],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            check=True,
        ).stdout

    assert "安装服务包" in shown("utf-8").decode()
    assert shown("latin-1") == shown("utf-8")


def test_ctrl_c_is_heard_while_the_command_is_still_being_loaded(tmp_path: Path) -> None:
    (tmp_path / "cyclopts.py").write_text("raise KeyboardInterrupt\n")
    said = subprocess.run(
        [sys.executable, "-m", "runners.entry", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
        check=False,
    )
    assert (said.returncode, said.stdout, said.stderr) == (130, "", "orderspine: interrupted\n")


@pytest.mark.parametrize("closed", ["0<&-", ">&-", "2>&-", "0<&- >&- 2>&-"])
def test_who_closes_what_is_written_to_has_made_no_mistake_either(closed: str) -> None:
    for words, code in (("after-sale words", 0), ("after-sale words --json", 0), ("orders --limit 0", 2)):
        line = f"exec {COMMAND} {words} {closed}"
        said = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
        assert (said.returncode, "Traceback" in said.stderr) == (code, False), said.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nosuch"], 'Unknown command "nosuch". Available commands: up, demo'),
        (["stock", "nosuch"], 'Unknown command "nosuch". Available commands: receive, expect'),
        (["order"], 'Command "order" parameter ORDER requires an argument.'),
        (["orders", "--limt", "3"], "Unknown option: --limt. Did you mean --limit?"),
        (["orders", "--state", "lost"], 'Invalid value "lost" for --state. Choose from: "awaiting_payment", "paid"'),
        (["simulate", "--orders", "many"], 'Invalid value for --orders: unable to convert "many" into int.'),
        (["stock", "receive", "SKU-1", "--document", "D"], "SKU=QTY 'SKU-1': write NAME=UNITS"),
    ],
)
def test_wrong_use_is_said_to_people_and_to_machines_alike(words: list[str], sentence: str) -> None:
    said = orderspine(*words, "--json")
    assert said.code == 2
    assert said.json["error"].startswith(sentence)
    assert said.json["exit"] == 2
    assert said.err == f"orderspine: {said.json['error']}\n"


def test_a_bad_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text('{"schema": 1, "version": "0"}')
    (tmp_path / "settings.json").write_text('{"colour": "red"}')
    said = orderspine("orders", "--data", tmp_path)
    assert said.code == 2
    assert "colour" in said.err


@pytest.mark.parametrize(("damaged", "words"), [(0, "not a database"), (4096, "malformed")])
def test_damaged_read_models_are_said_to_be_made_anew(tmp_path: Path, damaged: int, words: str) -> None:
    (tmp_path / "build.json").write_text('{"schema": 1, "version": "0"}')
    read_models = tmp_path / "read_models.db"
    with closing(sqlite3.connect(read_models)) as db:
        db.execute("CREATE TABLE read_models (name, version, generation, position, live, tables)")
    content = read_models.read_bytes()
    read_models.write_bytes(content[:damaged] + b"?" * (len(content) - damaged))
    said = orderspine("orders", "--data", tmp_path)
    assert said.code == 4
    assert words in said.err
    assert "derived from the log: stop `orderspine up`, delete read_models.db" in said.err
    assert "sqlalche.me" not in said.err


@pytest.mark.parametrize("verb", [("history", "1"), ("state", "1"), ("diff", "1", "--from", "@1")])
def test_a_damaged_log_is_said_in_a_sentence(tmp_path: Path, verb: tuple[str, ...]) -> None:
    (tmp_path / "build.json").write_text('{"schema": 1, "version": "0"}')
    (tmp_path / "log.db").write_bytes(b"?" * 40_000)
    said = orderspine("audit", *verb, "--data", tmp_path)
    assert said.code == 4
    assert said.err == (
        f"orderspine: the log cannot be read: {tmp_path / 'log.db'}: file is not a database; `orderspine audit verify` "
        "says how far it can be read; restore it from a backup\n"
    )


def test_data_that_may_only_be_read_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE events (position)")
    with (
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db,
        pytest.raises(sqlite3.OperationalError, match="readonly") as raised,
    ):
        db.execute("INSERT INTO events VALUES (1)")
    unreadable = Unreadable(f"{path}: {raised.value}")
    unreadable.__cause__ = raised.value
    for error in (raised.value, unreadable):
        failure = explain(error)
        assert failure is not None
        assert failure.code == 4
        assert "or on a copy of your own (--data)" in str(failure)
        assert "full" not in str(failure)


# --- a day's work


def test_an_order_from_payment_to_shipment(up: Running, tmp_path: Path) -> None:
    assert up.run("stock", "receive", "SKU-1=10", "--document", "open").code == 0
    taken_in(up, tmp_path, trade("11"))
    until(lambda: state_of(up, "11") == "allocating")
    assert [row["order_no"] for row in up.run("orders", "--pick", "--json").json] == ["11"]
    done = up.run("scan-out", "11", "--command-id", "scan-1", "--json").json
    assert (done["outcome"], done["command_id"]) == ("accepted", "scan-1")
    assert up.run("scan-out", "11", "--command-id", "scan-1", "--json").json["outcome"] == "repeated"
    assert up.run("ship", "11", "--tracking", "SF1", "--carrier", "SF").code == 0
    until(lambda: state_of(up, "11") == "shipped")
    assert [row["order_no"] for row in up.run("orders", "--tracking", "SF1", "--json").json] == ["11"]
    again = up.run("ship", "11", "--tracking", "SF2", "--carrier", "SF")
    assert again.code == 1
    assert "拒绝 refused" in again.out
    (level,) = up.run("stock", "show", "--sku", "SKU-1", "--json").json
    assert (level["on_hand"], level["available"]) == (9, 9)


def test_a_shortage_is_shown_and_resolved(up: Running, tmp_path: Path) -> None:
    taken_in(up, tmp_path, trade("12", sku="SCARCE", units=3))
    until(lambda: up.run("order", "12", "--json").json.get("interceptions"))
    assert "12" in {row["order_no"] for row in up.run("orders", "--hold", "--json").json}
    assert "SCARCE: wants 3" in up.run("order", "12").out
    assert up.run("stock", "receive", "SCARCE=3", "--document", "more").code == 0
    assert up.run("resolve", "12", "stock", "--decision", "release").code == 0
    until(lambda: state_of(up, "12") == "allocating")
    assert up.run("cancel", "12", "--line", "121=1", "--reason", "customer").code == 0
    until(lambda: up.run("order", "12", "--json").json["items"][0].get("cancelled") == 1)
    assert up.run("cancel", "12", "--reason", "customer").code == 0
    until(lambda: state_of(up, "12") == "cancelled")
    wrong = up.run("cancel", "12", "--line", "nosuch=1", "--reason", "customer")
    assert wrong.code == 1


def test_stock_is_imported_whole_or_not_at_all(up: Running, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("sku,quantity\nIMP-1,5\n,3\nIMP-2,many\n")
    said = up.run("stock", "import", bad)
    assert said.code == 1
    assert "row 3: no SKU" in said.err
    assert "row 4: quantity 'many' of IMP-2" in said.err
    good = tmp_path / "good.csv"
    good.write_bytes("\ufeffSKU,Quantity,Warehouse\nIMP-1,5,A\n螺丝,7,B\n".encode())
    assert up.run("stock", "receive", "IMP-0=1", "--document", "before").code == 0
    until(lambda: up.run("stock", "show", "--sku", "IMP-0", "--json").json)
    said = up.run("stock", "import", good)
    assert said.code == 1
    assert "no warehouse 'B' is known" in said.err
    told = up.run("stock", "import", good, "--new-warehouse", "--json").json
    assert [each["outcome"] for each in told["receipts"]] == ["accepted"] * 2
    assert [each["outcome"] for each in up.run("stock", "import", good, "--json").json["receipts"]] == ["repeated"] * 2
    until(lambda: up.run("stock", "show", "--warehouse", "B", "--json").json)
    assert [(row["sku"], row["on_hand"]) for row in up.run("stock", "show", "--warehouse", "B", "--json").json] == [
        ("螺丝", 7)
    ]


def test_a_slip_in_the_code_of_a_warehouse_begins_no_ledger(up: Running) -> None:
    assert up.run("stock", "receive", "SLIP=5", "--document", "slip").code == 0
    until(lambda: up.run("stock", "show", "--sku", "SLIP", "--json").json)
    for words in (
        ("receive", "SLIP=5", "--document", "slip-2"),
        ("expect", "SLIP=5", "--arrival", "P", "--due", "2027-01-01", "--document", "slip-3"),
        ("adjust", "SLIP", "--by", "1", "--reason", "found"),
        ("protect", "SLIP", "1"),
        ("count", "SLIP=5"),
        ("damage", "SLIP", "--reason", "wet"),
        ("scrap", "SLIP", "1", "--reason", "bin"),
        ("reorder", "SLIP", "5"),
    ):
        said = up.run("stock", *words, "--warehouse", "a")
        assert said.code == 1, words
        assert "no warehouse 'a' is known, so nothing was done; known are A" in said.err
    assert up.run("pick", "verified", "on", "--warehouse", "a").code == 1
    assert up.run("stock", "show", "--warehouse", "a", "--json").json == []


def test_an_adjustment_that_would_take_too_much_is_refused_with_the_figures(up: Running) -> None:
    assert up.run("stock", "receive", "ADJ=5", "--document", "adj").code == 0
    assert up.run("stock", "adjust", "ADJ", "--by", "-2", "--reason", "broken").code == 0
    said = up.run("stock", "adjust", "ADJ", "--by", "-9", "--reason", "broken", "--json")
    assert said.code == 1
    assert "3 on hand" in said.json["reason"]


def test_personal_data_is_masked_unless_asked_for_and_never_in_lists(up: Running, tmp_path: Path) -> None:
    taken_in(up, tmp_path, trade("13"))
    masked = up.run("order", "13", "--json")
    assert "王小明" not in masked.out
    assert "13800138000" not in masked.out
    assert "王小明" in up.run("order", "13", "--reveal", "--json").out
    assert "王小明" not in up.run("order", "13").out
    assert "王小明" not in up.run("orders", "--json").out


def test_states_are_shown_in_both_languages(up: Running, tmp_path: Path) -> None:
    taken_in(up, tmp_path, trade("14", status="WAIT_BUYER_PAY"))
    assert "待付款 awaiting payment" in up.run("order", "14").out
    assert "待付款 awaiting payment" in up.run("status").out


def test_an_order_number_of_two_shops_must_be_said_in_full(up: Running, tmp_path: Path) -> None:
    taken_in(up, tmp_path, trade("15"))
    file = tmp_path / "other.json"
    file.write_text(json.dumps(trade("15")))
    up.run("ingest", file, "--shop", "s2")
    until(lambda: up.run("order", "taobao:s2:15", "--json").code == 0)
    said = up.run("order", "15")
    assert said.code == 2
    assert "taobao:s1:15" in said.err
    assert "taobao:s2:15" in said.err


def test_what_came_in_is_counted(up: Running, tmp_path: Path) -> None:
    def counted(name: str) -> int:
        rows = {(row["channel"], row["shop"]): row for row in up.run("intake", "--json").json}
        return int(rows.get(("taobao", "s1"), {}).get(name, 0))

    taken_in(up, tmp_path, trade("16"))
    until(lambda: counted("accepted") >= 1)
    repeated = counted("repeated")
    taken_in(up, tmp_path, trade("16"))
    until(lambda: counted("repeated") == repeated + 1)


# --- the postman


def settings_for(tmp_path: Path, address: Address) -> Settings:
    host = address.url.removeprefix("nats://")
    return Settings(str(tmp_path), broker=f"nats://{address.user}:{address.password}@{host}")


def tick(number: int) -> Mail:
    return Mail(CELL_KEY, Tick(), number, By("system", "test"))


async def test_mail_that_nobody_handles_is_said_to_be_safe(
    nc: Connection, nats_address: Address, tmp_path: Path
) -> None:
    await ensure_mail(nc, "main", incarnation="one", first_seq=1, max_bytes=1 << 20)
    settings = settings_for(tmp_path, nats_address)
    await asyncio.to_thread(lambda: open_log(settings).close())
    async with Postman(settings, timeout_s=1.5) as postman:
        with pytest.raises(ExceptionGroup) as caught:
            await postman.send([tick(1)])
    (why,) = caught.value.exceptions
    assert isinstance(why, NoAnswer)
    assert "safe in the broker" in str(why)


async def test_answers_come_back_in_the_order_of_the_mail(
    nc: Connection, nats_address: Address, tmp_path: Path
) -> None:
    await ensure_mail(nc, "main", incarnation="one", first_seq=1, max_bytes=1 << 24)
    handled: list[bytes] = []

    async def answer_backwards(message: Any) -> None:
        handled.append(message.data)
        if len(handled) < 1_200:
            return
        replies = [Reply(at + 1, "accepted", str(decode_mail(data).observed_at)) for at, data in enumerate(handled)]
        to = decode_mail(message.data).reply_to
        for start in range(1_100, -1, -100):
            part = tuple(reversed(replies[start : start + 100]))
            await nc.publish(to, encode_replies(Replies(start, part)))

    await nc.subscribe("mail.main.>", cb=answer_backwards)
    await nc.flush()
    async with Postman(settings_for(tmp_path, nats_address), timeout_s=5.0) as postman:
        replies = await postman.send([tick(number) for number in range(1_200)])
        assert [reply.reason for reply in replies] == [str(number) for number in range(1_200)]
        assert postman.position == 1_100


def test_ctrl_c_ends_with_a_sentence_for_people_and_a_document_for_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runners.commands.orders.settings_of", interrupted)
    said = orderspine("orders", "--data", tmp_path, "--json")
    assert (said.code, said.json) == (130, {"error": "interrupted", "exit": 130})
    assert said.err.strip() == "orderspine: interrupted"


def test_a_presale_waits_for_goods_that_were_announced(up: Running, tmp_path: Path) -> None:
    data = ("--data", str(up.data))
    announce = ("stock", "expect", "SKU-P=5", "--arrival", "PO-77", "--due", "2036-12-01 08:00:00")
    assert orderspine(*announce, "--document", "PO-77/1", *data).code == 0
    said = orderspine("stock", "expect", "SKU-P=5", "--arrival", "PO-77", "--due", "soon", "--document", "x", *data)
    assert (said.code, "--due" in said.err) == (2, True)
    presale = trade("8801", sku="SKU-P", units=2) | {"type": "step", "step_trade_status": "FRONT_PAID_FINAL_PAID"}
    taken_in(up, tmp_path, presale)
    until(lambda: orderspine("order", "8801", "--json", *data).code == 0)
    shown = orderspine("order", "8801", "--json", *data).json
    assert (shown["fulfilment"], shown.get("interceptions", [])) == ("paid", [])
    receive = ("stock", "receive", "SKU-P=5", "--arrival", "PO-77", "--document", "PO-77/in")
    assert orderspine(*receive, *data).code == 0
    until(lambda: orderspine("order", "8801", "--json", *data).json["fulfilment"] == "allocating")
