"""A running OrderSpine keeps its read models as they were, by itself; killed or not, and without whom it forgot."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from runners.snapshots import FOLDER
from tests.integration.running import Running, Said, until
from tests.privacy_world import needles, trade

pytestmark = pytest.mark.xdist_group("snapshots")
EVERY = 200
LI = ("--person", "li.wei", "--role", "service")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("snapshots")
    data = folder / "data"
    data.mkdir()
    (data / "settings.json").write_text(f'{{"snapshot_every": {EVERY}, "disk_spare_bytes": 1000000}}')
    with Running(data) as running:
        sell(running, "A", 2, person=True)
        sell(running, "B", 60)
        until(lambda: newest(running) >= EVERY)
        yield running


def sell(up: Running, name: str, count: int, *, person: bool = False) -> None:
    file = up.data.with_name(f"{name}.jsonl")
    file.write_bytes(b"\n".join(trade(f"{name}-{number}", person=person) for number in range(count)))
    done(up.run("ingest", file, "--shop", "erp", "--channel", "generic"))


def done(said: Said) -> Said:
    assert said.code == 0, (said.out, said.err)
    return said


def kept(up: Running) -> dict[str, Any]:
    found: dict[str, Any] = done(up.run("status", "--json")).json["snapshots"]
    return found


def newest(up: Running) -> int:
    found = kept(up)
    return (
        int(found["newest"]) if found["read_models"] == len(done(up.run("status", "--json")).json["read_models"]) else 0
    )


def test_the_newest_is_shown_and_a_look_back_reads_only_what_came_after(up: Running) -> None:
    status = done(up.run("status", "--json")).json
    assert status["snapshots"]["newest"] == status["head"] // EVERY * EVERY
    assert status["snapshots"]["behind"] == status["head"] - status["snapshots"]["newest"]
    assert status["snapshots"]["at_ms"] > 0
    assert f"newest at position {status['snapshots']['newest']:,}" in done(up.run("status")).out
    for name in ("orders", "inventory", "kpis", "desk"):
        look = done(up.run("audit", "as-of", name, "--json")).json
        assert look["folded_from"] == "snapshot"
        # Beside those: the event that the file is checked by, and the last one's time.
        assert look["events_read"] <= status["head"] - status["snapshots"]["newest"] + 2


def test_more_events_bring_the_next_one_also_after_a_kill(up: Running) -> None:
    before = newest(up)
    folder = up.data / FOLDER
    os.kill(up.parts()["snapshots"], signal.SIGKILL)
    (life,) = [each for each in folder.iterdir() if each.is_dir()]
    (life / ".making").mkdir(exist_ok=True)
    (life / ".making" / "building.db").write_bytes(b"half of a file")
    sell(up, "C", 60)
    until(lambda: newest(up) >= before + EVERY)
    until(lambda: not (life / ".making").exists())
    head = done(up.run("status", "--json")).json["head"]
    look = done(up.run("audit", "as-of", "orders", "--json")).json
    assert len(look["rows"]["orders"]) == 122
    assert look["events_read"] <= head - newest(up) + 2
    done(up.run("audit", "snapshot", "--json"))
    assert newest(up) == head // EVERY * EVERY


def test_whom_it_forgets_is_taken_out_of_what_was_kept(up: Running) -> None:
    look = done(up.run("audit", "as-of", "orders", "--key", "generic:erp:A-0", "--json")).json
    digest = look["rows"]["orders"][0]["customer"]
    assert digest
    files = list((up.data / FOLDER).rglob("orders.*.db"))
    assert any(digest.encode() in each.read_bytes() for each in files)
    asked = ("--by", "customer", "--reason", "asked by phone")
    done(up.run("privacy", "forget", "generic:erp:A-0", *asked, *LI))

    def traces() -> list[bytes]:
        held = [each.read_bytes() for each in (up.data / FOLDER).rglob("*.db")]
        return [each for each in (digest.encode(), *needles()) for data in held if each in data]

    until(lambda: traces() == [])
    assert kept(up)["kept"] >= len(files), "they are kept, without him"
    then = done(up.run("audit", "as-of", "orders", "--position", newest(up), "--json")).json
    assert then["folded_from"] == "snapshot"
    rows = {row["key"]: row["customer"] for row in then["rows"]["orders"]}
    assert rows["order-generic:erp:A-0"] == rows["order-generic:erp:A-1"] == ""
    assert rows["order-generic:erp:B-1"] != ""
    done(up.run("audit", "replay"))
