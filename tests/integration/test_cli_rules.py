"""The rule book from the command line: checked, tried on orders, applied, in force at once, its history kept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.running import Running, orderspine, until

pytestmark = pytest.mark.xdist_group("cli")

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "rules.toml"
RULES = """\
format = 1
[[promise]]
id = "all"
ship_within = "48h"
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("cli-rules") / "data", "--clock", "mail") as running:
        yield running


def written(folder: Path, text: str, name: str = "rules.toml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def trade(number: str) -> dict[str, Any]:
    line = {"oid": f"{number}1", "num": 3, "price": "5.00", "payment": "15.00", "outer_iid": "S-1", "title": "电钻"}
    return {
        "tid": number,
        "status": "WAIT_SELLER_SEND_GOODS",
        "created": "2026-03-01 10:00:00",
        "pay_time": "2026-03-01 10:01:00",
        "modified": "2026-03-01 10:01:00",
        "payment": "15.00",
        "total_fee": "15.00",
        "orders": {"order": [line]},
    }


def test_a_file_is_checked_without_anything_running(tmp_path: Path) -> None:
    good = orderspine("rules", "check", EXAMPLE, "--json")
    assert (good.code, good.json["rules"]["warehouse"]) == (0, 3)
    bad = orderspine("rules", "check", written(tmp_path, RULES + '[[lots]]\nid = "l"\nwhen = "unts > 1"\n'))
    assert bad.code == 1
    assert "rules.toml: line 7: when, column 1: there is no 'unts': did you mean 'units'?" in bad.err
    (tmp_path / "gbk.toml").write_bytes("# 规则".encode("gb18030"))
    assert "not UTF-8 at byte 2" in orderspine("rules", "check", tmp_path / "gbk.toml").err
    assert orderspine("rules", "check", tmp_path / "none.toml").code == 2
    for verb in (("show",), ("history",), ("diff", EXAMPLE)):
        said = orderspine("rules", *verb, "--data", tmp_path / "nowhere")
        assert (said.code, "there is no OrderSpine data in" in said.err) == (0, True), "a slip in --data is seen"


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_an_emptied_file_takes_no_rule_away(up: Running, tmp_path: Path, text: str) -> None:
    rules = written(tmp_path, text)
    before = up.run("rules", "history", "--json").json
    for said in (orderspine("rules", "check", rules), up.run("rules", "apply", rules, "--reason", "a slip")):
        assert (said.code, "rules.toml is empty; a book without any rule is the line `format = 1`" in said.err) == (
            1,
            True,
        )
    assert up.run("rules", "history", "--json").json == before


def test_rules_are_tried_and_applied_and_their_history_is_kept(up: Running, tmp_path: Path) -> None:
    file = written(tmp_path, json.dumps(trade("9001")), "trades.jsonl")
    assert up.run("ingest", file, "--shop", "s1").code in (0, 1)
    until(lambda: up.run("order", "taobao:s1:9001", "--json").code == 0)

    rules = written(tmp_path, RULES)
    tried = up.run("rules", "try", rules, "--json").json["trial"]
    assert (tried["orders"], tried["differing"], tried["rules"]) == (1, 1, {"all": [0, 1]})
    shown = up.run("rules", "try", rules, "--order", "taobao:s1:9001")
    assert (shown.code, "1 of 1 order(s) would be ruled otherwise" in shown.err) == (0, True)
    assert up.run("rules", "try", rules, "--order", "taobao:s1:none").code == 1

    assert up.run("rules", "apply", rules).code == 2, "without a reason"
    done = up.run("rules", "apply", rules, "--reason", "Double 11", "--command-id", "c-1", "--json")
    assert (done.code, done.json["outcome"]) == (0, "accepted")
    again = up.run("rules", "apply", rules, "--reason", "Double 11", "--command-id", "c-1", "--json")
    assert (again.code, again.json["outcome"]) == (0, "repeated")
    now = up.run("rules", "show")
    assert (now.out, now.err) == (RULES, "# version 1\n")
    assert up.run("rules", "show", "--at", "2001-01-01", "--json").json["version"] == 0
    assert up.run("rules", "show", "--at", "the day before").code == 2
    assert up.run("rules", "try", rules, "--json").json["trial"]["differing"] == 0

    changed = written(tmp_path, RULES.replace("48h", "24h") + '[[lots]]\nid = "l"\n', "new.toml")
    found = up.run("rules", "diff", changed, "--json").json
    assert (found["version"], [(each["id"], each["what"]) for each in found["changes"]]) == (
        1,
        [("all", "changed"), ("l", "added")],
    )
    table = up.run("rules", "diff", changed)
    assert "promise all" in table.out
    assert "24h" in table.out
    (change,) = up.run("rules", "history", "--json").json
    assert (change["version"], change["reason"], change["text"]) == (1, "Double 11", RULES)
    assert "Double 11" in up.run("rules", "history").out
    assert "rules.changed" in up.run("audit", "history", "rulebook-main").out
    assert up.run("audit", "replay").code == 0
