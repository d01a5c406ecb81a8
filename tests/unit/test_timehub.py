"""Times of every source: one instant, or a clear refusal; never a guess."""

from decimal import Decimal

import pytest

from domain import timehub
from domain.canonical import SourceTime
from domain.timehub import TimeReader, UnreadableTime, read_time, time_reader, zone_of

NINE_TWELVE_33 = 1_794_359_553_000  # 2026-11-11 09:12:33 in UTC+8


@pytest.mark.parametrize(
    ("value", "utc_ms"),
    [
        ("2026-11-11 09:12:33", NINE_TWELVE_33),
        ("2026-11-11 09:12:33.123", NINE_TWELVE_33 + 123),
        ("2026-11-11 09:12:33.123999", NINE_TWELVE_33 + 123),
        ("2026/11/11 9:12", NINE_TWELVE_33 - 33_000),
        ("2026/11/11 09:12:33", NINE_TWELVE_33),
        ("2026/11/11 上午9:12:33", NINE_TWELVE_33),
        ("2026/11/11 9:12:33 PM", NINE_TWELVE_33 + 12 * 3_600_000),
        ("2026-11-11 12:00:00 AM", NINE_TWELVE_33 - 33_153_000),
        ("20261111091233", NINE_TWELVE_33),
        ("20261111091233123", NINE_TWELVE_33 + 123),
        (20261111091233, NINE_TWELVE_33),
        ("20261111 09:12:33", NINE_TWELVE_33),
        ("2026-11-11T09:12:33", NINE_TWELVE_33),
        ("2026-11-11T09:12:33+08:00", NINE_TWELVE_33),
        ("2026-11-11T01:12:33Z", NINE_TWELVE_33),
        ("2026-11-10T20:12:33.5-0500", NINE_TWELVE_33 + 500),
        (1_794_359_553, NINE_TWELVE_33),
        ("1794359553", NINE_TWELVE_33),
        (1_794_359_553_123, NINE_TWELVE_33 + 123),
        ("1794359553123", NINE_TWELVE_33 + 123),
        ("1794359553.123", NINE_TWELVE_33 + 123),
        (Decimal("1794359553.123"), NINE_TWELVE_33 + 123),
        (1_794_359_553.5, NINE_TWELVE_33 + 500),
        ("2026年11月11日 09:12", NINE_TWELVE_33 - 33_000),
        ("2026年11月11日09:12:33", NINE_TWELVE_33),
        ("2026年11月11日 9时12分33秒", NINE_TWELVE_33),
        (("2026-11-11", "09:12:33"), NINE_TWELVE_33),
        ("  2026-11-11 09:12:33 ", NINE_TWELVE_33),
    ],
)
def test_every_known_notation_names_the_same_instant(value: object, utc_ms: int) -> None:
    found = read_time(value)
    assert found is not None
    assert found.utc_ms == utc_ms


def test_three_values_are_kept_text_instant_and_text_for_people() -> None:
    assert read_time("2026-02-09 14:03:04.294", zone="Z") == SourceTime(
        "2026-02-09 14:03:04.294", 1_770_645_784_294, 0, "2026-02-09T22:03:04.294+08:00"
    )
    assert read_time("2026-11-11 09:12:33") == SourceTime(
        "2026-11-11 09:12:33", NINE_TWELVE_33, 480, "2026-11-11T09:12:33.000+08:00"
    )
    assert read_time(1_794_359_553, target="Asia/Kathmandu") == SourceTime(
        "1794359553", NINE_TWELVE_33, 0, "2026-11-11T06:57:33.000+05:45"
    )


def test_the_second_time_of_a_day_is_read_like_the_first() -> None:
    reader = time_reader("America/New_York", "Asia/Shanghai")
    for text in ("2026-03-08 01:59:59", "2026-03-08 03:00:00", "2026-03-09 00:00:00", "2026-03-09 23:59:59"):
        again = time_reader("America/New_York", "Asia/Shanghai", None, 0).read(text)
        assert reader.read(text) == reader.read(text) == again
    early, late = reader.read("2026-03-08 01:59:59"), reader.read("2026-03-08 03:00:00")
    assert early is not None
    assert late is not None
    assert late.utc_ms - early.utc_ms == 1000


@pytest.mark.parametrize(
    "text",
    ["2026/11/11 09:12:33", "2026.11.11 09:12:33", "11/11/2026 09:12:33", "2026-11-11T09:12:33", "20261111 09:12:33"],
)
def test_each_notation_of_a_day_is_read_the_second_time_like_the_first(text: str) -> None:
    reader = TimeReader("+08:00", "Asia/Shanghai", "dmy", None, excel=False)
    once = SourceTime(text, NINE_TWELVE_33, 480, "2026-11-11T09:12:33.000+08:00")
    assert [reader.read(text) for _ in range(2)] == [once, once]


def test_a_day_of_one_digit_is_read_the_second_time_like_the_first() -> None:
    reader = TimeReader("+08:00", "Asia/Shanghai", None, None, excel=False)
    first, second = reader.read("2026-11-1  09:12:33"), reader.read("2026-11-1  09:12:33")
    assert first == second
    assert first is not None
    assert first.local == "2026-11-01T09:12:33.000+08:00"


@pytest.mark.parametrize("zone", ["+08:00", "America/New_York"])
@pytest.mark.parametrize("target", ["Asia/Shanghai", "America/New_York"])
@pytest.mark.parametrize("form", ["{} {}", "{}T{}", "{}T{}Z", "{} {}+08:00", "{}T{}-04:00", "{}T{}-0500", "{} {}UTC"])
@pytest.mark.parametrize("day", ["2026-11-11", "2026-11-01", "2026-03-08"])
def test_a_day_that_is_known_already_is_read_as_if_it_were_not(zone: str, target: str, form: str, day: str) -> None:
    reader = TimeReader(zone, target, None, 0, False)
    for clock in ("00:00:00", "01:59:59", "06:00:00", "06:59:59", "12:30:00", "23:59:59"):
        text = form.format(day, clock)
        assert reader.read(text) == TimeReader(zone, target, None, 0, False).read(text)


def test_the_merchants_own_clocks_may_go_back_on_a_day_of_another_offset() -> None:
    reader = TimeReader("Z", "America/New_York", None, None, False)
    read = [reader.read(f"2026-11-01T{clock}Z") for clock in ("00:00:00", "05:59:59", "06:00:00")]
    assert [each and each.local for each in read] == [
        "2026-10-31T20:00:00.000-04:00",
        "2026-11-01T01:59:59.000-04:00",
        "2026-11-01T01:00:00.000-05:00",
    ]


def test_days_are_remembered_up_to_a_limit_and_read_alike_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timehub, "_DAYS_CACHED_MAX", 3)
    reader = TimeReader("+08:00", "Asia/Shanghai", None, None, excel=False)
    for number in [*range(1, 9), *range(1, 9)]:
        text = f"2026-11-0{number} 09:12:33"
        utc_ms = NINE_TWELVE_33 - (11 - number) * 86_400_000
        assert reader.read(text) == SourceTime(text, utc_ms, 480, f"2026-11-0{number}T09:12:33.000+08:00")
        assert reader.read(utc_ms) == SourceTime(str(utc_ms), utc_ms, 0, f"2026-11-0{number}T09:12:33.000+08:00")
        assert 0 < len(reader._days) <= 3
        assert 0 < len(reader._quarters) <= 3


@pytest.mark.parametrize(("later_s", "text"), [(0, "09:19:33"), (45 * 60, "10:04:33"), (57 * 60, "10:16:33")])
def test_a_merchants_zone_may_be_off_by_odd_minutes(later_s: int, text: str) -> None:
    utc_s = NINE_TWELVE_33 // 1000 + later_s
    for _ in range(2):
        found = read_time(utc_s, target="+08:07")
        assert found == SourceTime(str(utc_s), utc_s * 1000, 0, f"2026-11-11T{text}.000+08:07")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "  ",
        0,
        "0",
        0.0,
        Decimal(0),
        "0000-00-00 00:00:00",
        "0001-01-01 00:00:00",
        "0001-01-01T00:00:00Z",
        "1970-01-01 00:00:00",
        "1970-01-01 00:00:00.000",
        "1970-01-01 08:00:00",
        "-",
        "无",
        "null",
        "NULL",
        "[]",
        [],
        {},
        ("", ""),
        (None, None),
    ],
)
def test_absent_is_absent_however_it_is_spelled(value: object) -> None:
    assert read_time(value) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("11/11/2026 9:13", "day and month"),
        ("25/12/2026 9:13", "day and month"),
        ("2026-02-30 00:00:00", "no such time"),
        ("2026-11-11 25:00:00", "no such time"),
        ("2026-11-11 24:00:00", "no such time"),
        ("2026-11-11 09:60:00", "no such time"),
        ("2016-12-31 23:59:60", "leap second"),
        ("1999-12-31 23:59:59", "the year 1999"),
        ("2101-01-01 00:00:00", "the year 2101"),
        ("9999-12-31 23:59:59", "the year 9999"),
        ("2026-11-11", "without a time of day"),
        ("20261111", "outside the years"),
        (("2026-11-11", ""), "time of day is missing"),
        (("", "09:12"), "date is missing"),
        (["2026-11-11", "09:12", "x"], "a list"),
        ("46337.3837", "outside the years"),
        ("2026-11-11 上午9:12 PM", "says 上午 and PM"),
        (179_435_955, "outside the years"),
        (1_794_359_553_123_456, "outside the years"),
        (-1, "outside the years"),
        (10**40, "outside the years"),
        (Decimal("1E+999999"), "not a finite"),
        (Decimal("NaN"), "not a finite"),
        (float("inf"), "not a finite"),
        (True, "a bool"),
        ({"seconds": 1}, "a dict"),
        ("2026-11-11 9:12 下午 下午", "no known form"),
        ("2026-11-11 13:12 PM", "hour 13"),
        ("2026-11-11T09:12:33+25:00", "no place on earth"),
        ("2026-11-11 ٠٩:12:33", "no known form"),
        ("２０２６-11-11 09:12:33", "no known form"),
        ("yesterday", "no known form"),
        ("x" * 5000, "too long"),
    ],
)
def test_what_cannot_be_told_is_refused_with_its_reason(value: object, why: str) -> None:
    with pytest.raises(UnreadableTime, match=why) as refused:
        read_time(value)
    assert len(str(refused.value)) < 300


def test_an_order_of_day_and_month_settles_what_is_ambiguous() -> None:
    european = read_time("11/12/2026 9:13", order="dmy")
    american = read_time("11/12/2026 9:13", order="mdy")
    assert european is not None
    assert american is not None
    assert (european.local, american.local) == ("2026-12-11T09:13:00.000+08:00", "2026-11-12T09:13:00.000+08:00")


def test_spreadsheet_days_are_read_only_where_the_source_has_them() -> None:
    serial = read_time("46337.3837", excel=True)
    assert serial is not None
    assert serial.local == "2026-11-11T09:12:31.680+08:00"
    epoch = read_time("1794359553", excel=True)
    assert epoch is not None
    assert epoch.utc_ms == NINE_TWELVE_33


@pytest.mark.parametrize(("serial", "day"), [("36526", "2000-01-01"), ("73415", "2100-12-31")])
def test_the_first_and_the_last_spreadsheet_day_are_read(serial: str, day: str) -> None:
    read = read_time(serial, excel=True)
    assert read is not None
    assert read.local == f"{day}T00:00:00.000+08:00"


def test_a_replay_of_2009_is_read() -> None:
    assert read_time("2009-12-01 07:45:00", zone="Europe/London") == SourceTime(
        "2009-12-01 07:45:00", 1_259_653_500_000, 0, "2009-12-01T15:45:00.000+08:00"
    )


@pytest.mark.parametrize(
    ("text", "why"), [("2026-11-01 01:30:00", "pass it twice"), ("2026-03-08 02:30:00", "leap over it")]
)
def test_local_times_around_a_clock_change_need_a_choice(text: str, why: str) -> None:
    with pytest.raises(UnreadableTime, match=why):
        read_time(text, zone="America/New_York")
    first = read_time(text, zone="America/New_York", fold=0)
    second = read_time(text, zone="America/New_York", fold=1)
    assert first is not None
    assert second is not None
    assert abs(first.utc_ms - second.utc_ms) == 3_600_000


def test_a_zone_that_does_not_exist_is_a_setting_to_correct() -> None:
    for name in ("Asia/Atlantis", "+99:00", "+8", "-", "+08:00:00", "../etc", ""):
        with pytest.raises(ValueError, match=r"zone|offset|earth"):
            zone_of(name)
