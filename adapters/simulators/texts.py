"""Times and amounts as the platforms write them, and texts as they mask them."""

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


def from_wall(text: str) -> int:
    """Return the instant, UTC ms, of `YYYY-MM-DD HH:MM:SS` in UTC+8.

    Raises:
        ValueError: the text has another form.
    """
    return round(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA).timestamp() * 1000)


def iso(at_ms: int, offset_h: int = 8) -> str:
    """Return RFC 3339 with whole seconds and an offset."""
    zone = timezone(timedelta(hours=offset_h))
    return datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone).isoformat()


def seconds(at_ms: int) -> int:
    """Return Unix seconds; 0 stays 0."""
    return at_ms // 1000


def yuan(amount: int) -> str:
    """Return minor units as a decimal text of two digits."""
    sign = "-" if amount < 0 else ""
    whole, part = divmod(abs(amount), 100)
    return f"{sign}{whole}.{part:02d}"


def masked_phone(phone: str) -> str:
    """Return a phone number with its middle hidden."""
    return f"{phone[:3]}****{phone[-4:]}"
