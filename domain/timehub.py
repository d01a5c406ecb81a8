"""The time hub: every time of every source passes here first, and comes out as one instant or not at all.

Each channel writes time its own way (zone-less text, epoch seconds or milliseconds, ISO 8601, spreadsheet numbers), and
each has its own word for "has not happened". `read_time` gives three values and guesses none of them: the text as it
was, the instant in UTC milliseconds, and ISO 8601 text in the merchant's zone. Sort by `utc_ms`.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from domain.canonical import SourceTime

YEAR_MIN: Final = 2000
YEAR_MAX: Final = 2100
"""Years outside are a wrong unit or a broken clock, not a sale."""

DateOrder = Literal["dmy", "mdy"]
Fold = Literal[0, 1]

_MS_DAY: Final = 86_400_000
MS_MIN: Final = int(datetime(YEAR_MIN, 1, 1, tzinfo=UTC).timestamp()) * 1000 - _MS_DAY
MS_MAX: Final = int(datetime(YEAR_MAX + 1, 1, 1, tzinfo=UTC).timestamp()) * 1000 + _MS_DAY
"""The same as instants, UTC ms, in any zone."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_SERIAL_EPOCH: Final = date(1899, 12, 30).toordinal() - _EPOCH_DAY
_SERIAL_MIN: Final = date(YEAR_MIN, 1, 1).toordinal() - date(1899, 12, 30).toordinal()
_SERIAL_MAX: Final = date(YEAR_MAX, 12, 31).toordinal() - date(1899, 12, 30).toordinal()
_DAYS_CACHED_MAX: Final = 4096
_UTC_MS: Final = re.compile(r"\bUTC ms ([0-9]{1,14})\b")
_TEXT_MAX: Final = 80
_EXPONENT_MAX: Final = 20

_TWO: Final = {f"{n:02d}": n for n in range(60)}
_ABSENT: Final = frozenset(
    {
        "",
        "0",
        "-",
        "--",
        "—",
        "无",
        "null",
        "none",
        "n/a",
        "[]",
        "{}",
        "0000-00-00",
        "0000-00-00 00:00:00",
        "0001-01-01",
        "0001-01-01 00:00:00",
        "0001-01-01t00:00:00",
        "0001-01-01t00:00:00z",
        "1970-01-01",
        "1970-01-01 00:00:00",
        "1970-01-01 08:00:00",
        "1970-01-01t00:00:00z",
    }
)

_CLOCK: Final = (
    r"(?:(?P<before>上午|下午|[AaPp][Mm])\s*)?(?P<h>\d{1,2}):(?P<mi>\d{2})(?::(?P<s>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
)
_TAIL: Final = r"(?:\s*(?P<after>[AaPp][Mm]))?\s*(?P<zone>[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?"
_YEAR_FIRST: Final = re.compile(
    rf"(?P<y>\d{{4}})(?P<sep>[-/.])(?P<m>\d{{1,2}})(?P=sep)(?P<d>\d{{1,2}})(?:[Tt]|\s+){_CLOCK}{_TAIL}", re.ASCII
)
_YEAR_LAST: Final = re.compile(
    rf"(?P<a>\d{{1,2}})(?P<sep>[-/.])(?P<b>\d{{1,2}})(?P=sep)(?P<y>\d{{4}})(?:[Tt]|\s+){_CLOCK}{_TAIL}", re.ASCII
)
_CHINESE: Final = re.compile(
    rf"(?P<y>\d{{4}})\s*年\s*(?P<m>\d{{1,2}})\s*月\s*(?P<d>\d{{1,2}})\s*日\s*{_CLOCK}{_TAIL}", re.ASCII
)
_CHINESE_CLOCK: Final = re.compile(r"(\d{1,2})\s*[时点]\s*(\d{1,2})\s*分(?:\s*(\d{1,2})\s*秒)?", re.ASCII)
_COMPACT: Final = re.compile(
    r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?:[Tt ]?(?P<h>\d{2})(?P<mi>\d{2})(?P<s>\d{2})(?:\.?(?P<f>\d{1,9}))?"
    r"|[Tt ]\s*(?P<h2>\d{1,2}):(?P<mi2>\d{2})(?::(?P<s2>\d{2})(?:\.(?P<f2>\d{1,9}))?)?)"
    r"\s*(?P<zone>[Zz]|[+-]\d{2}(?::?\d{2})?)?",
    re.ASCII,
)
_NUMBER: Final = re.compile(r"\d{1,18}(?:\.\d{1,12})?", re.ASCII)
_DATE_ONLY: Final = re.compile(r"\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?|\d{8}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}", re.ASCII)
_OFFSET: Final = re.compile(r"([+-])(\d{2}):?(\d{2})?", re.ASCII)
_DIGITS_COMPACT: Final = (14, 17)
_ORDER_ADVICE: Final = "give the day's order (dmy or mdy) in the settings of this source"


class UnreadableTime(ValueError):
    """A time that cannot be told, and is not guessed: the text, why, and what to do."""

    def __init__(self, text: str, why: str, advice: str = "") -> None:
        """Keep the three parts; the message joins them."""
        shown = text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + "…"
        super().__init__(f"cannot read the time {shown!r}: {why}" + (f" ({advice})" if advice else ""))
        self.text = text
        self.why = why
        self.advice = advice


def read_time(
    value: object,
    *,
    zone: str = "+08:00",
    target: str = "Asia/Shanghai",
    order: DateOrder | None = None,
    fold: Fold | None = None,
    excel: bool = False,
) -> SourceTime | None:
    """Read one time of a source.

    Args:
        value: text, number, `(date, time)` of two columns, or any spelling of absent.
        zone: zone of text that names none: a fixed offset (`+08:00`, `Z`) or an IANA name.
        target: the merchant's zone, for `SourceTime.local`.
        order: how `11/12/2026` is meant; without it such text is refused.
        fold: which of two instants a local time means when clocks go back (0 = the first); the same choice carries
            times that clocks leap over. Without it such text is refused.
        excel: whether small numbers are a spreadsheet's days since 1899-12-30.

    Returns:
        The time, or None where the source says that there is none (missing, "", 0, null, `1970-01-01 00:00:00` …).

    Raises:
        UnreadableTime: the text has no known form, names no possible time, or more than one.
        ValueError: `zone` or `target` is no zone.
    """
    return time_reader(zone, target, order, fold, excel).read(value)


@lru_cache(maxsize=256)
def time_reader(
    zone: str = "+08:00",
    target: str = "Asia/Shanghai",
    order: DateOrder | None = None,
    fold: Fold | None = None,
    excel: bool = False,
) -> "TimeReader":
    """Return the reader for these settings (see `read_time`); the same one each time."""
    return TimeReader(zone, target, order, fold, excel)


class TimeReader:
    """Reads the times of one kind of source. Made once per settings, because it remembers days (see `time_reader`)."""

    __slots__ = ("_days", "_excel", "_fold", "_last", "_order", "_quarters", "_target", "_zone")

    def __init__(self, zone: str, target: str, order: DateOrder | None, fold: Fold | None, excel: bool) -> None:
        self._zone = zone_of(zone)
        self._target = zone_of(target)
        self._order = order
        self._fold = fold
        self._excel = excel
        self._last: SourceTime | None = None
        """The last text that was read: of what happened at once, a source tells the same time several times."""
        self._days: dict[str, tuple[int, int, str]] = {}
        self._quarters: dict[int, tuple[str, int, str]] = {}

    def read(self, value: object) -> SourceTime | None:
        """Read one time: see `read_time`."""
        if type(value) is str:
            last = self._last
            if last is not None and last.text == value:
                return last
            if 19 <= len(value) <= 25:  # noqa: PLR2004 -- `YYYY-MM-DD HH:MM:SS`, alone or with an offset
                day = self._days.get(value[:11] + value[19:])
                if day is not None and value[13] == ":" and value[16] == ":":
                    hour = _TWO.get(value[11:13], 24)
                    minute = _TWO.get(value[14:16])
                    second = _TWO.get(value[17:19])
                    if hour < 24 and minute is not None and second is not None:  # noqa: PLR2004
                        midnight, offset, ending = day
                        utc_ms = midnight + (hour * 3600 + minute * 60 + second) * 1000
                        local = f"{value[:10]}T{value[11:19]}{ending}" if ending else self._local(utc_ms)
                        self._last = found = SourceTime(value, utc_ms, offset, local)
                        return found
            self._last = read = self._text(value)
            return read
        if type(value) is int:
            return self._number(value, str(value)) if value else None
        if value is None:
            return None
        if isinstance(value, Decimal):
            if value.is_finite() and not value:
                return None
            if not value.is_finite() or not -_EXPONENT_MAX < value.adjusted() < _EXPONENT_MAX:
                raise UnreadableTime(str(value), "not a finite number in range")
            return self._number(value, str(value))
        if isinstance(value, float):
            return self._float(value)
        if isinstance(value, (list, tuple)):
            return self._columns(value)
        if isinstance(value, Mapping) and not value:
            return None
        raise UnreadableTime(str(value)[:_TEXT_MAX], f"a {type(value).__name__} is no time")

    def _columns(self, parts: list[Any] | tuple[Any, ...]) -> SourceTime | None:
        if not parts:
            return None
        if len(parts) != 2 or not all(isinstance(part, str) or part is None for part in parts):  # noqa: PLR2004
            raise UnreadableTime(str(parts)[:_TEXT_MAX], "a list is no time")
        day, clock = ("" if _absent(part or "") else part.strip() for part in parts)
        if not day and not clock:
            return None
        if not day or not clock:
            missing = "date" if not day else "time of day"
            raise UnreadableTime(f"{day}{clock}", f"the {missing} is missing", "fill in the empty column")
        return self._text(f"{day} {clock}")

    def _float(self, value: float) -> SourceTime | None:
        if value == 0:
            return None
        if not -1e18 < value < 1e18:  # noqa: PLR2004 -- also false for NaN
            raise UnreadableTime(repr(value), "not a finite number in range")
        return self._number(Decimal(repr(value)), repr(value))

    def _text(self, original: str) -> SourceTime | None:
        text = original.strip()
        if _absent(text):
            return None
        if len(text) > _TEXT_MAX:
            raise UnreadableTime(original, "too long for a time")
        if _NUMBER.fullmatch(text) and not (text.isdigit() and len(text) in _DIGITS_COMPACT):
            return self._number(Decimal(text), original)
        text = _CHINESE_CLOCK.sub(_colons, text.replace("：", ":"))  # full-width colon
        match = _YEAR_FIRST.fullmatch(text) or _CHINESE.fullmatch(text) or _COMPACT.fullmatch(text)
        if match is not None:
            return self._fields(original, match, match["m"], match["d"])
        match = _YEAR_LAST.fullmatch(text)
        if match is None:
            if _DATE_ONLY.fullmatch(text):
                raise UnreadableTime(original, "a date without a time of day", "export the time of day as well")
            raise UnreadableTime(original, "no known form", "use YYYY-MM-DD HH:MM:SS")
        if self._order is None:
            raise UnreadableTime(original, "day and month cannot be told apart", _ORDER_ADVICE)
        first, second = match["a"], match["b"]
        month, day = (second, first) if self._order == "dmy" else (first, second)
        return self._fields(original, match, month, day)

    def _fields(self, original: str, match: re.Match[str], month: str, day: str) -> SourceTime:
        got = match.groupdict()
        hour = int(got["h"] or got["h2"])
        minute = int(got["mi"] or got["mi2"])
        second = int(got["s"] or got.get("s2") or 0)
        fraction = got["f"] or got.get("f2") or ""
        if second == 60:  # noqa: PLR2004
            raise UnreadableTime(
                original, "a leap second has no instant in UTC milliseconds", "send the second before or after it"
            )
        before, after = got.get("before"), got.get("after")
        if before and after:
            raise UnreadableTime(original, f"it says {before} and {after}", "correct it at the source")
        half = before or after
        if half:
            hour = _half_day(original, half, hour)
        try:
            wall = datetime(int(got["y"]), int(month), int(day), hour, minute, second)  # noqa: DTZ001 -- zone follows
        except ValueError as error:
            raise UnreadableTime(original, f"no such time: {error}", "correct it at the source") from None
        _plausible(original, wall.year)
        named = got["zone"]
        zone = _offset_zone(original, named) if named else self._zone
        local = wall.replace(tzinfo=zone)
        if not named:
            local = self._folded(original, local)
        offset = local.utcoffset() or timedelta()
        utc_ms = (local - _EPOCH) // timedelta(milliseconds=1) + int(f"{fraction:0<3}"[:3])
        found = SourceTime(original, utc_ms, int(offset.total_seconds()) // 60, self._local(utc_ms))
        if original[:10] == f"{wall.date()}" and original[10] in " T" and original[19:] == (named or ""):
            self._remember_day(original[:11] + original[19:], wall, zone)
        return found

    def _remember_day(self, form: str, wall: datetime, zone: tzinfo) -> None:
        """Let the next times of this day in this form take the short way, if its offset is the same all day.

        Where it is the merchant's, too, their text is the local one.
        """
        start = wall.replace(hour=0, minute=0, second=0, tzinfo=zone)
        noon = start.replace(hour=12)
        end = wall.replace(hour=23, minute=59, second=59, tzinfo=zone)
        offset = start.utcoffset()
        if offset is None or not (offset == noon.utcoffset() == end.utcoffset() == end.replace(fold=1).utcoffset()):
            return
        ending = ""
        if all(offset == moment.astimezone(self._target).utcoffset() for moment in (start, noon, end)):
            ending = start.astimezone(self._target).isoformat(timespec="milliseconds")[19:]
        if len(self._days) >= _DAYS_CACHED_MAX:
            self._days.clear()
        self._days[form] = ((start - _EPOCH) // timedelta(milliseconds=1), int(offset.total_seconds()) // 60, ending)

    def _folded(self, original: str, local: datetime) -> datetime:
        """Choose the instant of a local time that clocks pass twice or never; refuse where nobody chose."""
        if isinstance(self._zone, timezone):
            return local
        early, late = local.replace(fold=0), local.replace(fold=1)
        if early.utcoffset() == late.utcoffset():
            return local
        if self._fold is not None:
            return late if self._fold else early
        back = early.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None)
        why = "clocks pass it twice" if back == early.replace(tzinfo=None) else "clocks leap over it"
        raise UnreadableTime(original, f"{why} in {self._zone}", "send an offset, or set fold for this source")

    def _number(self, number: int | Decimal, original: str) -> SourceTime:
        if self._excel and _SERIAL_MIN <= number <= _SERIAL_MAX:
            return self._serial(number, original)
        if MS_MIN <= number * 1000 <= MS_MAX:
            utc_ms = int(number * 1000)
        elif MS_MIN <= number <= MS_MAX:
            utc_ms = int(number)
        elif len(original.strip()) in _DIGITS_COMPACT and (match := _COMPACT.fullmatch(original.strip())):
            return self._fields(original, match, match["m"], match["d"])
        else:
            raise UnreadableTime(
                original, f"as seconds or milliseconds since 1970 it is outside the years {YEAR_MIN} to {YEAR_MAX}"
            )
        local = self._local(utc_ms)
        _plausible(original, int(local[:4]))
        return SourceTime(original, utc_ms, 0, local)

    def _serial(self, number: int | Decimal, original: str) -> SourceTime:
        """Read a spreadsheet's day number; its fraction is the time of day, to the millisecond."""
        whole = int(number)
        clock_ms = round((number - whole) * _MS_DAY)
        days, clock_ms = whole + clock_ms // _MS_DAY, clock_ms % _MS_DAY
        wall = datetime.combine(date.fromordinal(days + _SERIAL_EPOCH + _EPOCH_DAY), datetime.min.time())
        local = self._folded(original, (wall + timedelta(milliseconds=clock_ms)).replace(tzinfo=self._zone))
        offset = local.utcoffset() or timedelta()
        utc_ms = (local - _EPOCH) // timedelta(milliseconds=1)
        return SourceTime(original, utc_ms, int(offset.total_seconds()) // 60, self._local(utc_ms))

    def _local(self, utc_ms: int) -> str:
        """Format an instant in the merchant's zone. A quarter of an hour has one offset, so its text is kept."""
        quarter, rest_ms = divmod(utc_ms, 900_000)
        known = self._quarters.get(quarter)
        if known is None:
            start = (_EPOCH + timedelta(milliseconds=quarter * 900_000)).astimezone(self._target)
            text = start.isoformat(timespec="milliseconds")
            if start.minute % 15 or start.second:  # an offset of odd minutes: its quarters do not line up
                moment = _EPOCH + timedelta(milliseconds=utc_ms)
                return moment.astimezone(self._target).isoformat(timespec="milliseconds")
            if len(self._quarters) >= _DAYS_CACHED_MAX:
                self._quarters.clear()
            known = self._quarters[quarter] = (text[:14], start.minute, text[23:])
        hour, minute, ending = known
        seconds, ms = divmod(rest_ms, 1000)
        return f"{hour}{minute + seconds // 60:02d}:{seconds % 60:02d}.{ms:03d}{ending}"


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """Return the zone of a setting: a fixed offset (`+08:00`, `Z`) or an IANA name.

    Raises:
        ValueError: there is no such zone.
    """
    if name in ("Z", "z", "UTC", "GMT"):
        return UTC
    if name[:1] in ("+", "-"):
        return _offset_zone(name, name)
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"no time zone is called {name!r}: use a name such as Asia/Shanghai or +08:00") from error


def told_in(zone: str, text: str) -> str:
    """Return recorded words as people read them: moments in them, `UTC ms …`, as ISO 8601 in the merchant's zone."""

    def local(match: re.Match[str]) -> str:
        moment = datetime.fromtimestamp(int(match[1]) // 1000, UTC)
        return moment.astimezone(zone_of(zone)).isoformat(timespec="seconds")

    return _UTC_MS.sub(local, text)


def _offset_zone(original: str, text: str) -> timezone:
    match = _OFFSET.fullmatch(text)
    if match is None:
        if text.upper() in ("Z", "UTC", "GMT"):
            return UTC
        raise UnreadableTime(original, f"{text!r} is no offset from UTC")
    minutes = int(match[2]) * 60 + int(match[3] or 0)
    if minutes > 14 * 60 or int(match[3] or 0) > 59:  # noqa: PLR2004
        raise UnreadableTime(original, f"no place on earth is {text} from UTC")
    return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))


def _half_day(original: str, half: str, hour: int) -> int:
    if not 1 <= hour <= 12:  # noqa: PLR2004
        raise UnreadableTime(original, f"hour {hour} does not go with {half}")
    return hour % 12 + (12 if half in ("下午", "PM", "pm", "Pm", "pM") else 0)


def _colons(match: re.Match[str]) -> str:
    return ":".join(f"{int(part):02d}" for part in match.groups() if part is not None)


def _plausible(original: str, year: int) -> None:
    if not YEAR_MIN <= year <= YEAR_MAX:
        raise UnreadableTime(
            original, f"the year {year} is outside {YEAR_MIN} to {YEAR_MAX}", "correct it at the source"
        )


def _absent(text: str) -> bool:
    text = text.strip()
    if text.endswith((".0", ".00", ".000")):
        text = text[: text.rindex(".")]
    return text.lower() in _ABSENT
