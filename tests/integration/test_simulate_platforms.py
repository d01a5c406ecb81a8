"""`simulate --platforms`: a day over every simulated platform, both ways; nothing is lost, doubled or left behind."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from adapters.platforms.connection import Connection
from adapters.simulators import PLATFORMS
from runners.connections import editing, load
from tests.integration.running import Running, orderspine, until

pytestmark = [pytest.mark.xdist_group("up"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("platforms") / "data") as running:
        until(lambda: running.parts().keys() >= {"gateway", "puller", "effects"}, 20.0)
        yield running


def nothing_left(data: Path) -> bool:
    return not load(data) and not (data / "simulated").exists() and not list((data / "tokens").glob("*"))


def test_every_platform_and_the_cell_agree_at_the_end_of_a_day(running: Running) -> None:
    said = running.run("simulate", "--platforms", "--orders", 40, "--seed", 3, "--json")
    assert said.code == 0, said.out + said.err
    done = said.json
    assert done["good"] is True
    assert done["platforms"].keys() == PLATFORMS.keys()
    assert all(each["good"] for each in done["platforms"].values())
    assert done["orders"] == 35
    assert (done["receipts"], done["receipts_missing"]) == (5, 0)
    assert done["parcels"] > 15
    assert sum(each["messages"].get("lost", 0) for each in done["platforms"].values()) > 0
    assert sum(each["messages"].get("twice", 0) for each in done["platforms"].values()) > 0
    assert nothing_left(running.data)
    # What the platforms were told is in the orders.
    assert running.run("audit", "verify").code == 0


def test_what_is_kept_is_switched_off_and_a_killed_one_is_cleared_away(running: Running) -> None:
    said = running.run("simulate", "--platforms", "--orders", 2, "--channel", "generic", "--keep", "--json")
    assert said.code == 0, said.out + said.err
    (kept,) = load(running.data)
    assert (kept.channel, kept.enabled) == ("generic", False)
    secrets = list((running.data / "simulated").iterdir())
    assert secrets
    assert all(file.stat().st_mode & 0o077 == 0 for file in secrets)
    own = Connection("sim-own", "generic", "shop", base_url="http://127.0.0.1:9", pull_every_s=0)
    with editing(running.data) as connections:
        # As a simulation leaves it that was killed, and one of the merchant's own whose name looks like ours.
        connections[:] = [msgspec.structs.replace(kept, enabled=True), own]
    said = running.run("simulate", "--platforms", "--orders", 2, "--channel", "generic", "--json")
    assert said.code == 0, said.out + said.err
    assert load(running.data) == (own,)
    with editing(running.data) as connections:
        connections.clear()
    assert nothing_left(running.data)


def test_ctrl_c_takes_the_connections_away(running: Running) -> None:
    words = ["simulate", "--platforms", "--orders", "400", "--data", str(running.data)]
    process = subprocess.Popen([sys.executable, "-m", "runners.cli", *words], stdout=subprocess.PIPE, text=True)
    until(lambda: load(running.data), 20.0)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "stopped" in out
    assert nothing_left(running.data)


def test_wrong_use_is_said_before_anything_is_connected(running: Running, tmp_path: Path) -> None:
    assert running.run("simulate", "--platforms", "--channel", "market").code == 2
    assert running.run("simulate", "--platforms", "--from", tmp_path / "lines.parquet").code == 2
    assert orderspine("simulate", "--platforms", "--data", tmp_path / "absent").code == 4
    assert nothing_left(running.data)
