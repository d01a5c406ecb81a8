"""Old checkpoints are thinned out by a rule, and what proves more than another one is never among them."""

import random
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from adapters.storage.checkpoints import Checkpoint, CheckpointFolder, Signer, file_name
from adapters.storage.thinning import DAY_MS, HOUR_MS, note_anchors, superfluous, thin

NOW = 1_770_000_000_000
FIVE_MINUTES = 300_000


def checkpoint(number: int, at_ms: int, generation: str = "life1") -> Checkpoint:
    return Checkpoint("main", generation, number, f"{number:064x}", at_ms, ends=f"{number + 1:064x}")


def every_five_minutes(days: int) -> list[Checkpoint]:
    count = days * 288
    return [checkpoint(number, NOW - (count - number) * FIVE_MINUTES) for number in range(1, count + 1)]


def left_of(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    gone = set(map(file_name, superfluous(checkpoints)))
    return [each for each in checkpoints if file_name(each) not in gone]


def test_all_of_two_days_then_one_an_hour_then_one_a_day_are_left() -> None:
    checkpoints = every_five_minutes(100)
    left = left_of(checkpoints)
    ages = [NOW - each.at_ms for each in left]
    assert sum(age <= 2 * DAY_MS for age in ages) == 2 * 288 + 1
    hourly = [age for age in ages if 2 * DAY_MS < age <= 32 * DAY_MS]
    assert abs(len(hourly) - 30 * 24) <= 1
    daily = [age for age in ages if age > 32 * DAY_MS]
    assert abs(len(daily) - 68) <= 2, "one a day, and the first of all"
    assert left[0] == checkpoints[0]
    assert left[-1] == checkpoints[-1]


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_no_stretch_of_time_is_left_without_its_last_one_and_again_changes_nothing(seed: int, days: int) -> None:
    chance = random.Random(seed)
    at = NOW
    checkpoints = []
    for number in range(1, 120):
        at += chance.choice((FIVE_MINUTES, HOUR_MS, days * DAY_MS // 20))
        checkpoints.append(checkpoint(number, at))
    left = left_of(checkpoints)
    assert left_of(left) == left
    for each in checkpoints:
        if at - each.at_ms > 2 * DAY_MS:
            length = HOUR_MS if at - each.at_ms <= 32 * DAY_MS else DAY_MS
            assert any(
                other.at_ms - each.at_ms >= 0 and each.at_ms // length == other.at_ms // length for other in left
            )
        else:
            assert each in left


def test_a_log_at_rest_keeps_what_it_has_and_each_life_is_thinned_by_itself() -> None:
    old = [msgspec.structs.replace(each, at_ms=each.at_ms - 400 * DAY_MS) for each in every_five_minutes(2)]
    fresh = [msgspec.structs.replace(each, generation="life2") for each in every_five_minutes(2)]
    assert left_of([*old, *fresh]) == [*old, *fresh]


def test_what_begins_a_restored_log_and_what_contradicts_is_left() -> None:
    checkpoints = every_five_minutes(60)
    restored = checkpoints[1000] = msgspec.structs.replace(checkpoints[1000], restored_from="life0")
    other_root = msgspec.structs.replace(checkpoints[2000], root="ab" * 32)
    other_map = msgspec.structs.replace(checkpoints[3000], ends="cd" * 32)
    first_form = msgspec.structs.replace(checkpoints[4001], ends="")
    left = left_of([*checkpoints, other_root, other_map, first_form])
    for each in (restored, checkpoints[2000], other_root, checkpoints[3000], other_map):
        assert each in left
    assert first_form not in left, "it says nothing that the second form does not"


def test_files_are_removed_but_for_those_that_others_hold_on_to(tmp_path: Path) -> None:
    folder, signer = CheckpointFolder(tmp_path / "folder"), Signer.open(tmp_path / "key.pem")
    # ten days, one each half an hour
    checkpoints = [checkpoint(number, NOW + number * HOUR_MS // 2) for number in range(1, 481)]
    for each in checkpoints:
        folder.write(each, signer)
    gone = sorted(map(file_name, superfluous(checkpoints)))
    assert len(gone) > 100
    (folder.path / "000000000007-broken.checkpoint.json").write_bytes(b"{")
    forged = folder.path / gone[3]
    forged.write_bytes(forged.read_bytes().replace(b'"mail": 0', b'"mail": 1'))
    note_anchors(folder.path, [each for each in checkpoints if file_name(each) == gone[1]])
    note_anchors(folder.path, [each for each in checkpoints if file_name(each) in gone[:2]])
    assert thin(folder, "main", {gone[2], "another.checkpoint.json"}) == len(gone) - 4
    assert thin(folder, "main", {gone[2]}) == 0
    left = {file.name for file in folder.path.glob("*.checkpoint.json")}
    assert {*gone[:4], "000000000007-broken.checkpoint.json"} <= left
    assert not left & {*gone[4:]}
    assert len(left) == 481 - len(gone) + 4
