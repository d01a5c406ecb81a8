"""Windows of a pull: together they leave no moment out, and none asks for more than the platform gives."""

from hypothesis import given
from hypothesis import strategies as st

from domain.platforms import PullRules, Window
from runners.pulling_windows import plan, windows

RULES = PullRules(window_ms=60, margin_ms=5, overlap_ms=10, reach_ms=1_000)
rules = st.builds(PullRules, st.integers(1, 90), st.integers(0, 30), st.integers(0, 200), st.integers(1, 2_000))


def test_a_pull_begins_an_overlap_before_the_cursor_and_ends_a_margin_before_now() -> None:
    assert plan(900, 1_000, RULES).windows == (Window(890, 950), Window(940, 995))


def test_what_the_feed_has_forgotten_is_told_and_passed_over() -> None:
    found = plan(100, 2_000, RULES)
    assert found.forgotten == Window(100, 1_000)
    assert found.windows[0].start_ms == 1_000


def test_a_cursor_at_the_end_has_nothing_to_do() -> None:
    assert plan(995, 1_000, RULES).windows == ()
    assert plan(2_000, 1_000, RULES) == ((), None), "a clock that went back"


@given(st.integers(0, 5_000), st.integers(0, 3_000), rules)
def test_no_moment_between_cursor_and_now_is_left_out(cursor: int, ahead: int, rules: PullRules) -> None:
    now = cursor + ahead
    found = plan(cursor, now, rules)
    reached = found.forgotten.end_ms if found.forgotten else cursor
    for window in found.windows:
        assert window.start_ms <= reached, "a gap"
        assert 0 < window.end_ms - window.start_ms <= rules.window_ms
        assert window.start_ms >= now - rules.reach_ms
        assert window.end_ms > reached, "it comes forward"
        reached = window.end_ms
    assert reached >= now - rules.margin_ms or not found.windows


@given(st.integers(0, 500), st.integers(0, 500), rules)
def test_windows_cover_a_span_whole(begin: int, length: int, rules: PullRules) -> None:
    found = list(windows(begin, begin + length, rules))
    assert bool(found) == bool(length)
    if found:
        assert found[0].start_ms <= begin
        assert found[-1].end_ms == begin + length
