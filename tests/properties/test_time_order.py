"""The same instant in all notations is the same; mixed streams sort by what really came first."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from domain.canonical import SourceTime
from domain.timehub import UnreadableTime, read_time

SHANGHAI = ZoneInfo("Asia/Shanghai")
NEW_YORK = ZoneInfo("America/New_York")

instants_s = st.integers(
    int(datetime(2000, 1, 3, tzinfo=UTC).timestamp()), int(datetime(2100, 12, 29, tzinfo=UTC).timestamp())
)
around_midnight_and_clock_change_s = st.builds(
    lambda day, seconds: int(day.timestamp()) + seconds,
    st.sampled_from(
        [
            datetime(2026, 11, 11, tzinfo=SHANGHAI),
            datetime(2026, 3, 8, 7, tzinfo=UTC),
            datetime(2026, 11, 1, 6, tzinfo=UTC),
            datetime(2027, 1, 1, tzinfo=UTC),
        ]
    ),
    st.integers(-7300, 7300),
)

NOTATIONS = (
    read_time,
    lambda s: read_time(str(s)),
    lambda s: read_time(s * 1000),
    lambda s: read_time(str(s * 1000)),
    lambda s: read_time(f"{_at(s, SHANGHAI):%Y-%m-%d %H:%M:%S}"),
    lambda s: read_time(f"{_at(s, SHANGHAI):%Y/%m/%d %H:%M:%S}"),
    lambda s: read_time(f"{_at(s, SHANGHAI):%Y%m%d%H%M%S}"),
    lambda s: read_time(f"{_at(s, SHANGHAI):%Y年%m月%d日 %H:%M:%S}"),
    lambda s: read_time(f"{_at(s, UTC):%Y-%m-%d %H:%M:%S}", zone="Z"),
    lambda s: read_time(f"{_at(s, UTC):%Y-%m-%d %H:%M:%S}", zone="+00:00", target="America/New_York"),
    lambda s: read_time(f"{_at(s, UTC):%Y-%m-%dT%H:%M:%S}Z"),
    lambda s: read_time(_at(s, SHANGHAI).isoformat()),
    lambda s: read_time(_at(s, NEW_YORK).isoformat(timespec="milliseconds")),
    lambda s: read_time((f"{_at(s, SHANGHAI):%Y-%m-%d}", f"{_at(s, SHANGHAI):%H:%M:%S}")),
    lambda s: read_time(
        f"{_at(s, NEW_YORK):%Y-%m-%d %H:%M:%S}", zone="America/New_York", fold=1 if _at(s, NEW_YORK).fold else 0
    ),
)


def _at(seconds: int, zone: ZoneInfo | object) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).astimezone(zone)  # type: ignore[arg-type]


def _read(notation: int, seconds: int) -> SourceTime:
    found = NOTATIONS[notation](seconds)
    assert found is not None
    return found


@given(instants_s | around_midnight_and_clock_change_s)
def test_the_same_instant_in_all_notations_is_the_same(seconds: int) -> None:
    for notation in range(len(NOTATIONS)):
        found = _read(notation, seconds)
        assert found.utc_ms == seconds * 1000, notation
        assert datetime.fromisoformat(found.local).timestamp() == seconds, notation


@given(
    st.lists(
        st.tuples(instants_s | around_midnight_and_clock_change_s, st.integers(0, len(NOTATIONS) - 1)), max_size=30
    )
)
def test_a_mixed_stream_sorts_right(stream: list[tuple[int, int]]) -> None:
    read = [(_read(notation, seconds).utc_ms, seconds) for seconds, notation in stream]
    assert [seconds for _, seconds in sorted(read)] == sorted(seconds for seconds, _ in stream)


@given(
    st.one_of(
        st.text(max_size=40),
        st.text(alphabet="0123456789-/: .TZ年月日", max_size=25),
        st.integers(),
        st.floats(),
        st.decimals(),
        st.booleans(),
        st.lists(st.text(max_size=12), max_size=3),
    ),
    st.sampled_from(["+08:00", "America/New_York"]),
    st.booleans(),
)
def test_anything_is_read_absent_or_refused(value: object, zone: str, excel: bool) -> None:
    try:
        found = read_time(value, zone=zone, excel=excel)
    except UnreadableTime:
        return
    if found is not None:
        assert 2000 <= int(found.local[:4]) <= 2101
        assert round(datetime.fromisoformat(found.local).timestamp() * 1000) == found.utc_ms
