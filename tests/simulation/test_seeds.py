"""A cell in a world that fails keeps its promises, seed by seed; the same seed is the same run."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.simulation.run import STEPS, shown
from tests.simulation.world import MUST_COME_UP, RULED_MUST_COME_UP, Outcome, simulate

SEEDS = 200
CHUNK = 20
ROOT = Path(__file__).parents[2]
KNOWN = [
    (int(line.split()[0]), line.split()[1] == "rules")
    for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    if line[:1].isdigit()
]


pytestmark = pytest.mark.timeout(600)  # a chunk takes five seconds, on a machine that has nothing else to do

_fired: dict[int, Counter[str]] = {}
"""By seed, of those this process has run: the last test need not run them again."""


def run(seed: int, *, ruled: bool | None = None) -> Outcome:
    try:
        with capture_logs():
            outcome = simulate(seed, STEPS, ruled=ruled)
    except Exception as error:  # noqa: BLE001  any error is a finding; it is shown with its seed
        pytest.fail(shown(seed, STEPS, error), pytrace=False)
    if ruled is None:
        _fired[seed] = outcome.faults.fired
    return outcome


@pytest.mark.xdist_group("simulation-a")
@pytest.mark.parametrize("first", range(0, SEEDS // 2, CHUNK))
def test_nothing_that_goes_wrong_breaks_a_promise(first: int) -> None:
    for seed in range(first, first + CHUNK):
        run(seed)


@pytest.mark.xdist_group("simulation-b")
@pytest.mark.parametrize("first", range(SEEDS // 2, SEEDS, CHUNK))
def test_nothing_else_that_goes_wrong_breaks_a_promise(first: int) -> None:
    for seed in range(first, first + CHUNK):
        run(seed)


@pytest.mark.xdist_group("simulation-b")
def test_everything_that_may_go_wrong_does_so_in_some_seed() -> None:
    missing = {*MUST_COME_UP, *RULED_MUST_COME_UP}
    # What is rare may need some seeds more than are run in any case.
    for seed in range(SEEDS // 2, 3 * SEEDS):
        if seed >= SEEDS and not missing:
            break
        if seed not in _fired:
            run(seed)
        missing -= set(_fired[seed])
    assert sorted(missing) == []


@pytest.mark.parametrize(("seed", "ruled"), KNOWN)
def test_what_was_found_once_stays_mended(seed: int, ruled: bool) -> None:
    run(seed, ruled=ruled)


def test_the_same_seed_is_the_same_run_twice_in_a_row_and_in_another_process() -> None:
    here = run(1)
    assert run(1).digest == here.digest
    assert run(2).digest != here.digest
    environment = os.environ | {"PYTHONHASHSEED": "4321"}
    command = [sys.executable, "-m", "tests.simulation.run", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert f"trace {here.digest}" in done.stdout
