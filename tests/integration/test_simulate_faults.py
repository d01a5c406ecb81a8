"""`orderspine simulate --faults`: each fault is stopped for its own reason, nothing else is, nothing leaves then."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runners.simulating.fault_kinds import KINDS
from tests.integration.running import Running, Said, until

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
    kpis_tell_what_was_put_in(cell, said.json)
    # Nothing of it stays: nobody is told of anything any more, and another day can follow.
    assert cell.run("receivers", "list", "--json").json["receivers"] == []
    assert cell.run("channels", "list", "--json").json == []


def kpis_tell_what_was_put_in(cell: Running, said: dict[str, Any]) -> None:
    """The figures of the day are those of the account, which is kept without any read model."""
    until(lambda: all(not each["events"] for each in cell.run("kpi", "show", "--json").json["lag"]))
    verdict = said["verdict"]
    figures = {each["kpi"]: each for each in cell.run("kpi", "show", "--json").json["figures"]}
    orders, updates = figures["pass_through_orders"], figures["pass_through_updates"]
    assert (orders["top"], orders["bottom"]) == (verdict["hands_off"], verdict["orders"])
    assert orders["value"] == pytest.approx(said["pass_through"]["per_order"], abs=0.001)
    assert updates["value"] == pytest.approx(said["pass_through"]["transitions"], abs=0.001)
    stages = cell.run("kpi", "show", "pass_through_updates", "--by", "stage", "--json").json["figures"]
    assert {each["group"]: (each["bottom"], each["bottom"] - each["top"]) for each in stages} == {
        stage: tuple(counts) for stage, counts in verdict["stages"].items() if counts[0]
    }
    stops = cell.run("kpi", "show", "interceptions", "--by", "reason", "--json").json["figures"]
    assert {each["group"]: each["top"] for each in stops} == verdict["reasons"]
    assert figures["advised"]["value"] == 100
    assert figures["intercept_latency"]["top"] == sum(verdict["reasons"].values()), "somebody heard of each"
    for name, counted in (("pass_through_orders", "hands_off"), ("interceptions", "")):
        behind = cell.run("kpi", "explain", name, "--json").json
        assert behind["counted"] == len(behind["events"]) == figures[name]["top"]
        assert not counted or behind["counted"] == verdict[counted]
    short = cell.run("kpi", "explain", "interceptions", "--of", "stock_short", "--json").json["events"]
    first = cell.run("audit", "history", short[0]["order"], "--json").json["events"]
    version = int(short[0]["event"].rpartition("@")[2])
    assert first[version - 1]["tag"] == "order.intercepted"
    assert first[version - 1]["position"] == short[0]["position"]


def test_a_kpi_that_there_is_not_and_days_that_are_none_are_refused(cell: Running) -> None:
    for words, said in (
        (("show", "happiness"), "pass_through_orders"),
        (("show", "rounds", "--by", "stage"), "roles"),
        (("explain", "machine_share", "--of", "x"), "no parts"),
        (("show", "--from", "yesterday"), "YYYY-MM-DD"),
        (("show", "--from", "2026-11-12", "--to", "2026-11-11"), "before"),
    ):
        asked = cell.run("kpi", *words)
        assert asked.code == 2
        assert said in asked.err


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
