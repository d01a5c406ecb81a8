"""People on a running OrderSpine: asked, called, read, approved, shipped; and what they write is nowhere in clear."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runners.bootstrap import open_log, open_vault
from runners.settings import load_settings
from tests.integration.running import Running, Said, until
from tests.integration.test_cli import trade

pytestmark = pytest.mark.xdist_group("people")
SECRET = "王小明住在南京路五号"
WU = ("--person", "wu", "--role", "sales")
LI = ("--person", "li.wei", "--role", "财务")
ZHAO = ("--person", "zhao", "--role", "finance")
CHEN = ("--person", "chen", "--role", "service")
ORDER = "taobao:s1:9001"
WHOLE = {"receiver_city": "杭州市", "receiver_district": "西湖区", "receiver_address": "文一路 1 号"}
KEY = "order-taobao:s1:9001"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("people")
    with Running(folder / "data", "--clock", "mail") as running:
        file = folder / "trades.jsonl"
        numbers = ("9001", "9002", "9003")
        file.write_text("\n".join(json.dumps({**trade(number), **WHOLE}) for number in numbers))
        assert running.run("stock", "receive", "SKU-1=50", "--document", "first").code == 0
        assert running.run("ingest", file, "--shop", "s1").code == 0
        until(lambda: len(running.run("orders", "--json").json) == 3)
        yield running


def done(said: Said) -> Any:
    assert said.code == 0, (said.out, said.err)
    return said


def desk(up: Running, *words: str) -> list[tuple[str, str, str]]:
    rows = up.run("desk", *words, "--json").json
    return [(row["kind"], row["item"], row["state"]) for row in rows]


def test_asked_called_read_approved_shipped(up: Running, tmp_path: Path) -> None:
    scan = tmp_path / "王小明的合同.pdf"
    scan.write_bytes(SECRET.encode() * 9)
    done(
        up.run(
            *("request-approval", ORDER, "credit", "--of", "finance", "--field", "limit", "--document", "contract"),
            *("--people", "2", *WU, "--note", SECRET),
        )
    )
    said = done(up.run("comment", ORDER, f"@财务 {SECRET}, is the credit fine? @Li.Wei", *WU, "--json")).json
    assert (said["outcome"], said["mentions"]) == ("accepted", ["finance", "li.wei"])
    assert up.run("scan-out", ORDER, "--tracking", "SF1", "--carrier", "SF").code == 1
    until(lambda: len(desk(up, "--role", "finance")) == 2)
    assert desk(up, "--role", "财务") == [("approval", "credit", "open"), ("mention", "1/finance", "open")]

    read = done(up.run("mentions", "--read", *LI, "--json")).json
    assert [row["for"] for row in read["mentions"]] == ["finance", "li.wei"]
    assert SECRET in read["mentions"][0]["text"]
    assert read["read"] == ["accepted"]
    until(lambda: desk(up, "--role", "finance") == [("approval", "credit", "open")])
    assert done(up.run("mentions", *LI)).err.startswith("nothing is unread")

    refused = up.run("approve", ORDER, "credit", "--field", "limit=50000", *LI)
    assert (refused.code, "not attached: contract" in refused.out) == (1, True)
    done(up.run("attach", ORDER, scan, "--kind", "contract", *WU))
    done(up.run("approve", ORDER, "cre", "--field", f"limit={SECRET}", "--note", SECRET, *LI))
    again = up.run("approve", ORDER, "credit", "--field", "limit=50000", *LI)
    assert (again.code, "another person must" in again.out) == (1, True)
    assert up.run("scan-out", ORDER, "--tracking", "SF1", "--carrier", "SF").code == 1
    done(up.run("approve", ORDER, "credit", "--field", "limit=50000", *ZHAO))
    done(up.run("scan-out", ORDER, "--tracking", "SF1", "--carrier", "SF"))

    until(lambda: up.run("order", ORDER, "--json").json["state"] == "shipped")
    thread = done(up.run("thread", ORDER, "--json")).json
    assert [row["tag"].removeprefix("order.") for row in thread["thread"]] == [
        *("approval_requested", "commented", "document_attached", "approved", "approved"),
    ]
    assert thread["thread"][3]["words"] == {"limit": SECRET, "note": SECRET}
    assert (thread["counts"]["messages"], thread["counts"]["rounds"]) == (1, 1)
    assert SECRET in done(up.run("thread", ORDER)).out
    copy = tmp_path / "copy.pdf"
    done(up.run("document", ORDER, "contract-1", "--to", copy))
    assert copy.read_bytes() == scan.read_bytes()
    assert up.run("document", ORDER, "contract-1", "--to", copy).code == 2


def test_what_was_written_is_nowhere_in_clear(up: Running) -> None:
    """In no file: log, keys, read models, spool, broker's store, logs."""
    done(up.run("comment", ORDER, f"{SECRET} once more @service", *ZHAO))
    done(up.run("complain", "taobao:s1:9002", "--cause", "late", "--words", SECRET, *CHEN))
    until(lambda: ("complaint", "complaint-1", "open") in desk(up, "--role", "service"))
    spellings = [SECRET.encode(), json.dumps(SECRET).strip('"').encode(), SECRET.encode("utf-16-le")]
    for path in sorted(path for path in up.data.rglob("*") if path.is_file()):
        found = path.read_bytes()
        assert not any(spelling in found for spelling in spellings), path
    settings = load_settings(up.data)
    with closing(open_log(settings, read_only=True)) as log:
        sealed = [event for event in log.select(KEY) if event.tag == "order.commented"]
    assert sealed
    assert all(event.sealed for event in sealed)


def test_a_large_document_travels_aside(up: Running, tmp_path: Path) -> None:
    large = tmp_path / "drawing.bin"
    large.write_bytes(bytes(range(256)) * 8_000)
    done(up.run("attach", "taobao:s1:9002", large, "--kind", "drawing", *WU))
    until(lambda: "drawing" in up.run("thread", "taobao:s1:9002", "--json").out)
    done(up.run("document", "taobao:s1:9002", "drawing-1", "--to", tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == large.read_bytes()


def test_a_no_stands_on_the_desk_until_somebody_asks_again(up: Running) -> None:
    other = "taobao:s1:9003"
    done(up.run("request-approval", other, "craft", "--of", "engineer", *WU))
    done(up.run("reject", other, "craft", "--reason", "too thin", "--person", "sun", "--role", "工程师"))
    until(lambda: ("approval", "craft", "rejected") in desk(up, "--role", "operations"))
    assert up.run("scan-out", other).code == 1
    done(up.run("request-approval", other, "craft", *WU))
    done(up.run("approve", other, "craft", "--person", "sun", "--role", "engineer"))
    until(lambda: not desk(up, "--role", "operations"))
    done(up.run("scan-out", other))


def test_enquiries_are_counted_with_their_repeats(up: Running) -> None:
    done(up.run("complain", ORDER, "--cause", "attitude", *CHEN))
    done(up.run("enquire", ORDER, "logistics", "--self-service"))
    done(up.run("enquire", ORDER, "logistics", "--link", "SF1", *CHEN))
    done(up.run("close-complaint", ORDER, "complaint-1", *CHEN))

    def counts() -> dict[str, int]:
        counted: dict[str, int] = up.run("thread", ORDER, "--json").json["counts"]
        return counted

    until(lambda: counts()["enquiries"] == 2)
    found = counts()
    assert (found["self_service"], found["repeats"], found["complaints"], found["gift_complaints"]) == (1, 1, 1, 0)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("comment", ORDER, "x"), 2, "--person (or ORDERSPINE_PERSON) and --role (or ORDERSPINE_ROLE)"),
        (("comment", ORDER, "x", "--person", "wu"), 2, "--role (or ORDERSPINE_ROLE)"),
        (
            ("comment", ORDER, "x", "--person", "wu", "--role", "the boss"),
            2,
            "one word, usually sales 销售",
        ),
        (("comment", ORDER, " ", *WU), 2, "needs a text"),
        (("comment", "taobao:s1:77", "x", *WU), 1, "no channel has sent such an order"),
        (("approve", ORDER, "credit", "--field", "limit", *LI), 2, "write NAME=VALUE"),
        (("approve", ORDER, "credit", "--field", "a=1", "--field", "a=2", *LI), 2, "given twice"),
        (("approve", ORDER, "nothing", *LI), 1, "nobody has asked for it"),
        (("complain", ORDER, "--cause", "weather", *CHEN), 1, "known are gift_missing"),
        (("attach", ORDER, "none.pdf", "--kind", "invoice", *WU), 2, "none.pdf cannot be read: No such file"),
        (("document", ORDER, "x-1", "--to", "nowhere"), 1, "was ever attached"),
        (("document", ORDER, "contract-1", "--to", "/proc/x"), 2, "/proc/x cannot be written: No such file"),
        (("request-approval", ORDER, "credit", "--of", "a b", *WU), 2, "--of 'a b' is no role"),
    ],
)
def test_a_slip_is_answered_with_what_to_do(up: Running, words: tuple[str, ...], code: int, told: str) -> None:
    said = up.run(*words)
    assert (said.code, told in said.out.replace("\n", "") + said.err) == (code, True), (said.out, said.err)


def test_who_acts_may_be_said_once_for_all(up: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERSPINE_PERSON", "Qian")
    monkeypatch.setenv("ORDERSPINE_ROLE", "运营")
    done(up.run("comment", ORDER, "x"))
    until(lambda: "operations" in [row["role"] for row in up.run("thread", ORDER, "--json").json["thread"]])


def test_a_role_of_the_merchants_own_is_called_and_reads(up: Running) -> None:
    sun = ("--person", "sun", "--role", "workshop")
    done(up.run("comment", "taobao:s1:9002", "@workshop, is it cut?", *WU))
    until(lambda: desk(up, "--role", "workshop") == [("mention", "1/workshop", "open")])
    said = done(up.run("mentions", "--read", *sun))
    assert "workshop is none of the usual roles" in said.err
    until(lambda: not desk(up, "--role", "workshop"))


def test_everything_verifies_and_replays(up: Running) -> None:
    done(up.run("audit", "verify"))
    done(up.run("audit", "replay"))
    history = done(up.run("audit", "history", ORDER, "--json")).json
    assert SECRET not in json.dumps(history, ensure_ascii=False)


def test_what_is_forgotten_is_shown_as_erased_and_takes_no_more_words(up: Running) -> None:
    settings = load_settings(up.data)
    vault = open_vault(settings)
    try:
        vault.destroy([KEY])
    finally:
        vault.close()
    thread = done(up.run("thread", ORDER, "--json")).json["thread"]
    assert {"text": "(erased)"} in [row["words"] for row in thread]
    assert up.run("comment", ORDER, "x", *WU).code == 1
    done(up.run("enquire", ORDER, "invoice", *CHEN))
    with closing(sqlite3.connect(up.data / "read_models.db")) as db:
        assert db.execute("SELECT count(*) FROM desk_v2 WHERE key = ?", (KEY,)).fetchone() == (1,)
