"""What kills the process is found by halving; who is killed from outside blames nobody."""

import random
from pathlib import Path

import pytest

from domain.ports import Tracked
from runners.suspect import TRIES_ALONE, Suspect

FULL = 64
FIRST = 16
"""Most messages of a process's first batch."""


class Log:
    """As much of a log as counts: its position."""

    def __init__(self) -> None:
        self.position = 0

    @property
    def row(self) -> Tracked:
        return Tracked("life", 1, self.position, b"", 0, 0, "g")


def live(directory: Path, log: Log, messages: int, poison: set[int], lifetime: int = 1 << 30) -> int | None:
    """Run a process until all is handled (None), or it dies of poison or after some batches; return whom it blames."""
    suspect = Suspect(directory, FULL)
    blamed = suspect.begin(log.row, FIRST)
    most = FIRST
    while log.position < messages:
        if lifetime <= 0:
            return blamed
        lifetime -= 1
        batch = range(log.position + 1, min(log.position + min(most, suspect.size), messages) + 1)
        if poison & (set(batch) - {blamed}):
            return blamed
        log.position = batch[-1]
        suspect.passed(log.row)
        most = FULL
    return None


@pytest.mark.parametrize("poison", [{1}, {64}, {65}, {100}, {200}, {7, 8}, {30, 31, 150}])
def test_each_message_that_kills_is_blamed_and_no_other(tmp_path: Path, poison: set[int]) -> None:
    log = Log()
    blamed = set()
    for _ in range(200):
        found = live(tmp_path, log, 200, poison)
        if found:
            blamed.add(found)
        if found is None:
            break
    assert log.position == 200
    assert blamed <= poison


def deaths_until(directory: Path, messages: int, poison: set[int]) -> int:
    log = Log()
    deaths = 0
    while log.position < messages:
        live(directory, log, messages, poison)
        deaths += log.position < messages
    return deaths


def test_the_search_takes_few_deaths(tmp_path: Path) -> None:
    assert deaths_until(tmp_path, 3000, {100}) <= 2 * FULL.bit_length() + TRIES_ALONE
    assert not (tmp_path / "suspect.json").exists()


def test_a_death_in_the_first_batch_begins_the_search_at_its_size(tmp_path: Path) -> None:
    assert deaths_until(tmp_path, 200, {1}) == FIRST.bit_length() - 1 + TRIES_ALONE


@pytest.mark.parametrize("seed", range(5))
def test_kills_from_outside_blame_nobody(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    log = Log()
    for _ in range(200):
        lifetime = 0 if chance.random() < 0.2 else chance.randrange(1, 30)
        assert not live(tmp_path, log, 1 << 30, set(), lifetime)


def test_a_torn_marker_is_no_marker(tmp_path: Path) -> None:
    (tmp_path / "suspect.json").write_bytes(b'{"incarn')
    assert Suspect(tmp_path, FULL).begin(Log().row, FIRST) == 0
