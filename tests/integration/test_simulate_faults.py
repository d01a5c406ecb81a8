"""`orderspine simulate --faults`: each fault is stopped for its own reason, nothing else is, nothing leaves then."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runners.simulating.fault_kinds import KINDS
from tests.integration.running import Running

pytestmark = [pytest.mark.xdist_group("up"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("faults") / "data", "--clock", "mail") as running:
        yield running


def test_every_kind_of_fault_is_stopped_as_it_must_be_and_nothing_else(cell: Running) -> None:
    said = cell.run("simulate", "--faults", "all", "--orders", 150, "--json")
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
