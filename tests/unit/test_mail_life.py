"""Where reading starts, case by case."""

from hashlib import sha256
from typing import NamedTuple

import pytest

from adapters.nats.errors import Gap, ReaderLost
from domain.cellular import NoteBrokerReset
from domain.ports import Tracked
from runners.mail_life import (
    GONE,
    OTHER,
    WENT_BACK,
    Begin,
    begin,
    begin_made,
    begin_renamed,
    in_doubt,
    lost,
    must_read_back,
)


class Info(NamedTuple):
    incarnation: str
    first_seq: int
    last_seq: int


class Stored(NamedTuple):
    time_ms: int
    payload: bytes


LAST = Stored(7, b"last")
TRACKED = Tracked("life1", 3, 50, sha256(LAST.payload).digest(), LAST.time_ms, 90, "g")
FRESH = Tracked("", 1, 0, b"", 0, 0, "g")
BEGUN = Tracked("life1", 3, 50, b"", 0, 90, "g")


@pytest.mark.parametrize(
    ("tracked", "info", "last", "expected"),
    [
        (TRACKED, Info("life1", 1, 50), LAST, None),
        (TRACKED, Info("life1", 50, 80), LAST, None),
        (BEGUN, Info("life1", 51, 50), None, None),
        (BEGUN, Info("life1", 1, 80), None, None),
        (BEGUN, Info("life1", 1, 80), LAST, Begin(0, WENT_BACK, rename=True)),
        (FRESH, Info("life1", 1, 20), None, Begin(0, "", rename=False)),
        (FRESH, Info("", 5, 20), None, Begin(4, "", rename=True)),
        (TRACKED, Info("life2", 1, 80), None, Begin(0, OTHER, rename=False)),
        (TRACKED, Info("", 1, 80), None, Begin(0, OTHER, rename=True)),
        (TRACKED, Info("life1", 3, 49), None, Begin(2, WENT_BACK, rename=True)),
        (TRACKED, Info("life1", 1, 80), Stored(7, b"another"), Begin(0, WENT_BACK, rename=True)),
        (TRACKED, Info("life1", 1, 80), Stored(8, LAST.payload), Begin(0, WENT_BACK, rename=True)),
        (TRACKED, Info("life1", 1, 80), None, Begin(0, WENT_BACK, rename=True)),
    ],
)
def test_a_stream_that_is_not_surely_the_one_that_was_read_is_read_from_its_beginning(
    tracked: Tracked, info: Info, last: Stored | None, expected: Begin | None
) -> None:
    assert begin(tracked, info, last) == expected


@pytest.mark.parametrize(
    ("info", "asks"),
    [(Info("life1", 1, 50), True), (Info("life1", 1, 49), False), (Info("life2", 1, 50), False)],
)
def test_the_last_handled_message_is_asked_for_only_where_it_can_tell_something(info: Info, *, asks: bool) -> None:
    assert must_read_back(TRACKED, info) is asks
    assert must_read_back(BEGUN, info) is asks
    assert not must_read_back(FRESH, info)


def test_a_stream_that_somebody_faster_has_made_is_read_from_where_it_begins() -> None:
    assert begin_made(TRACKED, Info("life2", 51, 50)) == Begin(50, GONE, rename=False)
    assert begin_made(TRACKED, Info("other", 1, 0)) == Begin(0, GONE, rename=False)
    assert begin_made(TRACKED, Info("", 1, 7)) == Begin(0, GONE, rename=True)


def test_where_a_renamed_stream_begins_is_asked_after_it_has_its_name() -> None:
    start = Begin(58, WENT_BACK, rename=True)
    assert begin_renamed(start, Info("life2", 31, 54), "life2").position == 30
    for changed in (None, Info("life1", 31, 54)):
        with pytest.raises(ReaderLost):
            begin_renamed(start, changed, "life2")


def test_the_first_life_needs_no_note_and_every_other_says_what_it_follows() -> None:
    start = Begin(0, OTHER, rename=False)
    assert start.note(FRESH, "life2") is None
    assert start.note(TRACKED, "life2") == NoteBrokerReset("life1", "life2", 50, OTHER)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [([], None), ([(51, 53)], (51, 53)), ([(40, 53)], (51, 53)), ([(52, 53)], None), ([(51, 51), (53, 60)], (51, 51))],
)
def test_only_mail_right_behind_the_handled_is_given_up(
    missing: list[tuple[int, int]], expected: tuple[int, int] | None
) -> None:
    assert lost(TRACKED, missing) == expected


def test_a_stream_is_in_doubt_when_it_is_gone_another_one_or_begins_too_late() -> None:
    assert in_doubt(TRACKED, Info("life1", 1, 80), LAST) is None
    assert isinstance(in_doubt(TRACKED, None, None), ReaderLost)
    assert isinstance(in_doubt(TRACKED, Info("life1", 1, 80), None), ReaderLost)
    gap = in_doubt(BEGUN, Info("life1", 60, 80), None)
    assert isinstance(gap, Gap)
    assert (gap.expected, gap.got) == (51, 60)
