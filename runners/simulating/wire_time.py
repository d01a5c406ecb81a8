"""Times as the wire formats write them."""

from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

CHINA = timezone(timedelta(hours=8))
"""Wall clock of the domestic platforms: UTC+8 all year."""


@lru_cache(maxsize=4096)
def _minute(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).astimezone(CHINA).strftime("%Y-%m-%d %H:%M:")


def wall(at_ms: int) -> str:
    """Return `YYYY-MM-DD HH:MM:SS` in UTC+8."""
    minute, second = divmod(at_ms // 1000, 60)
    return f"{_minute(minute)}{second:02d}"


def day(at_ms: int) -> str:
    """Return `YYYYMMDD` in UTC+8."""
    return wall(at_ms)[:10].replace("-", "")


def seconds(at_ms: int) -> int:
    """Return Unix seconds; 0 stays 0 and means that it has not happened."""
    return at_ms // 1000


def yuan(amount: int) -> str:
    """Return minor units as a decimal text of two digits."""
    sign = "-" if amount < 0 else ""
    whole, part = divmod(abs(amount), 100)
    return f"{sign}{whole}.{part:02d}"
