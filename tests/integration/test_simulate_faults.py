"""`orderspine simulate --faults`: each fault is stopped for its own reason, nothing else is, nothing leaves then."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runners.simulating.fault_kinds import KINDS
from tests.integration.running import Running, Said

pytestmark = [pytest.mark.xdist_group("up"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("faults") / "data", "--clock", "mail") as running:
        yield running


@pytest.fixture(scope="module")
def said(cell: Running) -> Said:
    """What a day with every kind of fault ended with."""
    return cell.run("simulate", "--faults", "all", "--orders", 150, "--json")


def test_every_kind_of_fault_is_stopped_as_it_must_be_and_nothing_else(cell: Running, said: Said) -> None:
    assert said.raw, said.err
    verdict = said.json["verdict"]
    assert verdict["missed"] == []
    assert verdict["false_stops"] == []
    assert verdict["unfinished"] == []
    assert verdict["shipped_held"] == 0
    assert verdict["caught"] == verdict["faults"]
    assert verdict["faults"].keys() == KINDS.keys()
    assert 0 < said.json["pass_through"]["per_order"] < said.json["pass_through"]["transitions"] < 100
    assert said.code == 0, said.err
    # Nothing of it stays: nobody is told of anything any more, and another day can follow.
    assert cell.run("receivers", "list", "--json").json["receivers"] == []
    assert cell.run("channels", "list", "--json").json == []


@pytest.mark.usefixtures("said")
def test_its_history_run_again_leads_to_what_was_recorded(cell: Running) -> None:
    found = cell.run("audit", "what-if", "--json")
    assert found.code == 0, found.err
    assert found.json["otherwise"] == []
    assert found.json["misread"] == 0
    assert found.json["rebuilt"] > 10 * found.json["taken"] > 0
    assert found.json["figures"]["recorded"] == found.json["figures"]["instead"]


@pytest.mark.usefixtures("said")
def test_other_rules_change_the_orders_that_a_look_at_each_one_says(cell: Running, tmp_path: Path) -> None:
    text = cell.run("rules", "show", "--json").json["text"]
    assert "CNY(5000)" in text
    checks: list[tuple[str, str, Callable[[list[dict[str, Any]]], bool]]] = [
        ("CNY(5000)", "CNY(1500)", lambda events: any(150_000 < view <= 500_000 for view in payable(events))),
        ("CNY(5000)", "CNY(500000)", lambda events: any(500_000 < view <= 50_000_000 for view in payable(events))),
        ('"12h"', '"13h"', lambda events: "half-a-day" in json.dumps(events)),
    ]
    for old, new, concerns in checks:
        (tmp_path / "rules.toml").write_text(text.replace(old, new))
        found = cell.run("audit", "what-if", "--rules", tmp_path / "rules.toml", "--json").json
        expected = {key for key, events in lives(cell).items() if concerns(events)}
        assert expected
        assert {each["key"] for each in found["otherwise"]} == expected
        rule = "half-a-day" if "h" in new else "large-amount"
        assert all(each["rules"] == [rule] for each in found["otherwise"])
        if new == "CNY(1500)":  # nobody was asked, so nobody knows what the answer would have been
            assert all("approval" in each["unknown"] for each in found["otherwise"] if each["state"] == "completed")
            asked = [found["figures"][side]["approvals"]["large_amount"] for side in ("recorded", "instead")]
            assert asked[1] == asked[0] + len(expected)
        elif new == '"13h"':
            assert found["figures"]["instead"]["promise_hours"] == 13
            # Who was held for being late is not late now: what people tried while it was held, nobody can know.
            late = {key for key, events in lives(cell).items() if "overdue_promise" in json.dumps(events)}
            assert {each["key"] for each in found["otherwise"] if each["unknown"]} == late
            shipped = [found["figures"][side]["shipped"] for side in ("recorded", "instead")]
            assert shipped[1] == shipped[0] - len(late)


def lives(cell: Running) -> dict[str, list[dict[str, Any]]]:
    """Every order's events, read plainly from the table."""
    found: dict[str, list[dict[str, Any]]] = {}
    with closing(sqlite3.connect(cell.data / "log.db")) as db:
        for stream, tag, data in db.execute("SELECT stream, tag, data FROM events ORDER BY position"):
            if stream.startswith("order-"):
                found.setdefault(stream, []).append({"tag": tag, "facts": json.loads(data)})
    return found


def payable(events: list[dict[str, Any]]) -> list[int]:
    views = [event["facts"]["snapshot"] for event in events if "snapshot" in event["facts"]]
    return [view["amounts"].get("payable", 0) for view in views]


def test_a_cell_with_people_or_rules_of_its_own_is_left_alone(cell: Running, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("whsec_c2VjcmV0LXRoYXQtaXMtbG9uZy1lbm91Z2g=")
    (tmp_path / "key").chmod(0o600)
    secret = f"sign=file:{tmp_path / 'key'}"
    added = cell.run(
        "receivers", "add", "boss", "--kind", "webhook", "--url", "http://127.0.0.1:9/", "--secret", secret
    )
    assert added.code == 0, added.err
    said = cell.run("simulate", "--faults", "short_stock", "--orders", 5)
    assert said.code == 1
    assert "boss" in said.err
    assert cell.run("receivers", "remove", "boss").code == 0
    (tmp_path / "rules.toml").write_text('format = 1\n[[warehouse]]\ncode = "A"\n')
    assert cell.run("rules", "apply", tmp_path / "rules.toml", "--reason", "ours").code == 0
    said = cell.run("simulate", "--faults", "short_stock", "--orders", 5)
    assert said.code == 1
    assert "rule book of its own" in said.err


def test_kinds_that_there_are_not_are_refused(cell: Running) -> None:
    said = cell.run("simulate", "--faults", "short_stock,flood", "--orders", 5)
    assert said.code == 2
    assert "flood" in said.err
    assert "bad_address" in said.err
