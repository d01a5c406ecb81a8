"""Forgetting and giving out on a running OrderSpine, from its command line, with a document and a large file."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.storage.vault import SqliteVault
from runners.bootstrap import KEYS_FILE
from tests.integration.running import Running, Said, until
from tests.privacy_world import CUSTOMER, NAME, PHONE, SECRETS, needles, traces, trade

pytestmark = pytest.mark.xdist_group("privacy")
LI = ("--person", "li.wei", "--role", "service")
ASKED = ("--by", "customer", "--reason", "asked by phone")
FIRST = "generic:erp:A-100001"
CONTRACT = os.urandom(1_500_000).hex().encode()
"""Too large for the mail, so that it goes over the spool."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("privacy")
    raw = [trade("A-100001"), trade("A-100002"), trade("A-100003", "paid"), trade("B-1", person=False)]
    (folder / "orders.jsonl").write_bytes(b"\n".join(raw))
    (folder / "broken.json").write_bytes(f'{{"order": "of {PHONE}", "name": "{NAME}"'.encode())
    (folder / "contract.pdf").write_bytes(CONTRACT)
    with Running(folder / "data") as running:
        running.run("ingest", folder / "orders.jsonl", "--shop", "erp", "--channel", "generic")
        running.run("ingest", folder / "broken.json", "--shop", "erp", "--channel", "generic")
        until(lambda: len(running.run("orders", "--json").json) == 4)
        done(running.run("attach", FIRST, folder / "contract.pdf", "--kind", "contract", *LI))
        done(running.run("comment", FIRST, f"{NAME} 来电", *LI))
        yield running


def done(said: Said) -> Said:
    assert said.code == 0, (said.out, said.err)
    return said


def test_it_is_said_beforehand_what_would_go_and_what_stands_against_it(up: Running) -> None:
    said = up.run("privacy", "forget", PHONE, *ASKED, "--dry-run", "--json")
    assert said.code == 1
    assert [key.rpartition(":")[2] for key in said.json["orders"]] == ["A-100001", "A-100002", "A-100003"]
    assert list(said.json["against"]) == ["order-generic:erp:A-100003"]
    assert len(said.json["asides"]) == 1
    refused = up.run("privacy", "forget", PHONE, *ASKED, *LI)
    assert refused.code == 1
    assert "A-100003" in refused.out
    assert up.run("privacy", "forget", PHONE, "--by", "customer", "--reason", f"{NAME} rang", *LI).code == 2
    assert up.run("privacy", "forget", PHONE, *ASKED).code == 2, "nobody says who acts"
    assert up.run("privacy", "forget", "nobody at all", *ASKED, *LI).code == 1


def test_all_that_is_held_is_given_out_and_that_is_recorded(up: Running) -> None:
    out, page = up.data.with_name("his.json"), up.data.with_name("his.html")
    done(up.run("privacy", "disclose", f"generic:{CUSTOMER}", *ASKED, *LI, "--out", out))
    text = out.read_text()
    assert [secret for secret in SECRETS if secret not in text] == []
    assert CONTRACT.decode() in text
    assert "赵一" not in text
    assert out.stat().st_mode & 0o077 == 0
    done(up.run("privacy", "disclose", FIRST, *ASKED, *LI, "--out", page))
    assert NAME in page.read_text()
    assert up.run("privacy", "disclose", FIRST, *ASKED, *LI, "--out", out).code == 2, "it is there already"
    rows = done(up.run("privacy", "list", "--json")).json
    assert [(row["what"], row["who"], row["asked"]) for row in rows] == [("disclose", "li.wei", "customer")] * 2
    out.unlink()
    page.unlink()


def test_a_person_is_forgotten_while_everything_runs(up: Running) -> None:
    done(up.run("cancel", "generic:erp:A-100003", "--reason", "his wish"))
    with_keys = {stream: key for stream, key in keys_of(up.data).items() if "A-1" in stream}
    said = done(up.run("privacy", "forget", FIRST, *ASKED, *LI))
    assert "the keys are destroyed" in said.err
    until(lambda: "erased" in up.run("order", FIRST, "--json").out)
    shown = up.run("order", FIRST).out
    assert "已删除" in shown
    assert up.run("comment", FIRST, "x", *LI).code == 1
    assert up.run("privacy", "forget", FIRST, *ASKED, *LI).code == 1, "there is nothing left"
    rows = done(up.run("privacy", "list", "--json")).json
    assert (rows[-1]["what"], rows[-1]["done"]) == ("forget", True)
    # The same order comes once more, as platforms do.
    again = up.data.with_name("again.json")
    again.write_bytes(trade("A-100001", modified_at="2026-12-01T00:00:00+08:00"))
    done(up.run("ingest", again, "--shop", "erp", "--channel", "generic"))
    until(lambda: up.run("order", FIRST, "--json").json["amended"] == 1)
    proof = done(up.run("audit", "verify", "--open", "--json")).json
    assert proof["forgotten"] > 0
    done(up.run("audit", "replay"))
    # The mail, in the broker's directory, holds what came in for its stated time; the spool holds none of it any more
    # than the vault does.
    assert traces(up.data, [*needles(), *with_keys.values()], skipping=["broker"]) == []


def test_a_request_waits_is_listed_can_be_withdrawn_and_is_carried_out_by_itself_after_a_restart(
    tmp_path: Path,
) -> None:
    def sold(running: Running, status: str, day: str) -> None:
        file = tmp_path / f"{status}.json"
        file.write_bytes(trade("W-100001", status, modified_at=f"2026-11-{day}T00:00:00+08:00"))
        done(running.run("ingest", file, "--shop", "erp", "--channel", "generic"))

    order = "generic:erp:W-100001"
    with Running(tmp_path / "data") as running:
        sold(running, "paid", "12")
        until(lambda: running.run("orders", "--json").json)
        assert running.run("privacy", "forget", order, *ASKED, *LI).code == 1
        said = done(running.run("privacy", "forget", order, *ASKED, "--when-finished", *LI, "--command-id", "w-1"))
        assert "it waits" in said.err
        (row,) = done(running.run("privacy", "waiting", "--json")).json
        assert (row["request"], row["who"], row["asked"]) == ("w-1", "li.wei", "customer")
        assert list(row["against"].values()) == ["it waits for a decision"], "its goods are not there"
        shown = done(running.run("privacy", "waiting")).out
        assert "w-1" in shown
        assert "order-" not in shown, "orders are named as their channels name them"
        again = running.run("privacy", "forget", order, *ASKED, "--when-finished", *LI)
        assert (again.code, "waits for that already" in again.out) == (1, True)
        assert running.run("privacy", "withdraw", "w-1", "--reason", f"{NAME} rang", *LI).code == 2
        done(running.run("privacy", "withdraw", "w-1", "--reason", "changed his mind", *LI))
        assert running.run("privacy", "withdraw", "w-1", "--reason", "changed his mind", *LI).code == 1
        assert running.run("privacy", "waiting", "--json").json == []
        done(running.run("privacy", "forget", order, *ASKED, "--when-finished", *LI, "--command-id", "w-2"))
        told = json.loads(done(running.run("privacy", "disclose", order, *ASKED, *LI)).out)["requests"]
        assert [each["request"] for each in told] == ["w-1", "w-1", "w-2", told[-1]["request"]], "these, and itself"
        assert keys_of(running.data)
    with Running(tmp_path / "data") as running:
        rows = done(running.run("privacy", "list", "--json")).json
        assert [(row["request"], row["stage"]) for row in rows][:2] == [("w-1", "withdrawn"), ("w-2", "waits")]
        sold(running, "cancelled", "13")
        until(lambda: not keys_of(running.data))
        until(lambda: running.run("privacy", "list", "--json").json[1]["stage"] == "yes")
        until(lambda: "erased" in running.run("order", order, "--json").out)
        assert running.run("privacy", "waiting", "--json").json == []
        done(running.run("audit", "verify"))
        done(running.run("audit", "replay"))
        assert traces(running.data, needles(), skipping=["broker"]) == []


def keys_of(data: Path) -> dict[str, bytes]:
    vault = SqliteVault(data / KEYS_FILE)
    try:
        return dict(vault._db.execute("SELECT stream, key FROM keys WHERE key IS NOT NULL"))
    finally:
        vault.close()


def test_what_it_prints_is_a_document(up: Running) -> None:
    assert json.loads(done(up.run("privacy", "disclose", "generic:erp:B-1", *ASKED, *LI)).out)["orders"]
