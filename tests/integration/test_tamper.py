"""Whatever is done to a log, the audit finds it and names the order: a sample of `python -m benchmarks tamper`."""

from pathlib import Path

import pytest

from benchmarks.tamper import IDLE, Bench, campaign, prepare


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return prepare(tmp_path_factory.mktemp("tamper"), 12)


@pytest.mark.parametrize(("kind", "count"), [("bits", 60), ("acts", 60), ("file", 30)])
def test_every_change_is_found_and_its_orders_are_named(bench: Bench, kind: str, count: int) -> None:
    trials = list(campaign(bench, kind, range(count)))
    missed = [trial for trial in trials if trial.where not in IDLE and not (trial.found and trial.named)]
    assert missed == []
    assert sum(trial.found for trial in trials) > count // 3


def test_the_honest_log_is_not_accused(bench: Bench) -> None:
    bench.fresh()
    found = bench.verify(full=True)
    assert found is not None
    assert found.problems == []
    Path(bench.copy).unlink()
