"""The verbs that look back work on the files alone, read little, and say what is wrong with a question."""

import stat
from pathlib import Path

import pytest

from runners.lock import DataLock
from tests.audit_log import key_of, make_log
from tests.integration.running import orderspine


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("travel") / "data"
    make_log(made, 40)
    with DataLock(made):
        pass
    return made


def test_one_order_is_looked_at_without_reading_the_log(data: Path) -> None:
    history = orderspine("audit", "history", "10003", "--json", "--data", data)
    assert history.code == 0, history.err
    events = history.json["events"]
    assert history.json["turns"][0]["caused"][0]["version"] == 1
    look = orderspine("audit", "as-of", "orders", "--key", "10003", "--json", "--data", data).json
    assert look["folded_from"] == "stream"
    assert [row["key"] for row in look["rows"]["orders"]] == [key_of(3)]
    assert look["rows"]["orders"][0]["document"]["key"] == key_of(3)
    assert look["events_read"] <= len(events) + 3
    assert look["events_read"] < look["position"] / 10


def test_looks_back_begin_at_snapshots(data: Path) -> None:
    before = orderspine("audit", "as-of", "orders", "--json", "--data", data).json
    assert before["folded_from"] == "beginning"
    made = orderspine("audit", "snapshot", "--every", 200, "--json", "--data", data).json
    assert made["made"] == len(made["kept"]) > 0
    after = orderspine("audit", "as-of", "orders", "--json", "--data", data).json
    assert after["folded_from"] == "snapshot"
    assert after["rows"] == before["rows"]
    assert after["events_read"] < before["events_read"]
    early = orderspine("audit", "as-of", "orders", "--position", 0, "--json", "--data", data).json
    assert (early["rows"]["orders"], early["at"]) == ([], 0)


def test_a_difference_of_one_order_and_of_all(data: Path) -> None:
    one = orderspine("audit", "diff", "10003", "--from", "@0", "--json", "--data", data).json
    assert one["changes"]["status"][0] == ""
    assert [step["version"] for step in one["events"]] == list(range(1, len(one["events"]) + 1))
    everything = orderspine("audit", "diff", "--from", "@0", "--json", "--data", data).json
    assert len(everything["orders"]) == 40
    assert sum(after for _, after in everything["states"].values()) == 40
    assert all(before == 0 for before, _ in everything["states"].values())
    nothing = orderspine("audit", "diff", "--from", "@100", "--to", "@100", "--json", "--data", data).json
    assert (nothing["orders"], nothing["stock"]) == ([], [])


def test_a_page_is_for_its_owner_only(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "life.html"
    assert orderspine("audit", "history", "10003", "--html", file, "--data", data).code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key_of(3) in file.read_text()
    assert "Wang" not in file.read_text()
    again = orderspine("audit", "history", "10003", "--reveal", "--html", file, "--json", "--data", data)
    assert again.code == 2
    assert again.json["error"] == f"{file} exists already; name another file"
    assert "Wang" not in file.read_text(), "a page that somebody keeps is not written over"
    revealed = tmp_path / "revealed.html"
    assert orderspine("audit", "history", "10003", "--reveal", "--html", revealed, "--data", data).code == 0
    assert "Wang" in revealed.read_text()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["life.html", "revealed.html"]


def test_recorded_rules_change_nothing_and_history_is_not_touched(data: Path) -> None:
    log = (data / "log.db").read_bytes()
    found = orderspine("audit", "what-if", "--json", "--data", data)
    assert found.code == 0, found.err
    assert found.json["otherwise"] == []
    assert (data / "log.db").read_bytes() == log


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("as-of", "colours"), 2, "there are orders, inventory"),
        (("as-of", "orders", "--where", "state"), 2, "COLUMN=VALUE"),
        (("as-of", "orders", "--where", "colour=red"), 2, "has no column 'colour'"),
        (("as-of", "orders", "--position", "99999999"), 1, "the log ends at position"),
        (("as-of", "orders", "--at", "soon"), 2, "--at: cannot read the time 'soon'"),
        (("state", "10003", "--at", "soon"), 2, "--at: cannot read the time 'soon'"),
        (("as-of", "orders", "--at", "2026-02-09", "--position", "1"), 2, "not both"),
        (("as-of", "orders", "--key", "nobody"), 1, "the log knows no 'nobody'"),
        (("diff", "--from", "@20", "--to", "@10"), 2, "--from is behind --to"),
        (("diff", "--from", "soon"), 2, "--from"),
        (("history", "10003", "--payloads"), 2, "--reveal"),
        (("history", "10003", "--html", "/nowhere/at/all.html"), 2, "cannot be written"),
        (("what-if", "--rules", "/nowhere/rules.toml"), 2, "cannot be read"),
        (("what-if", "--rules", __file__), 1, "test_audit_travel.py"),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(data: Path, words: tuple[str, ...], code: int, told: str) -> None:
    said = orderspine("audit", *words, "--data", data)
    assert said.code == code
    assert told in said.err
