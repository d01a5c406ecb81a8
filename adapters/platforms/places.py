"""Where a platform is, and what its connection must say: addresses, options, its local time."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from adapters.platforms.connection import Connection
from adapters.platforms.http import host_of

CHINA: Final = timedelta(hours=8)
_BURST_S: Final = 1.0


def address(given: str, usual: str, path: str) -> str:
    """Return an address: what the connection gives, with the path unless it is there already; else the usual one.

    Raises:
        ValueError: it is none.
    """
    place = (given or usual).rstrip("/")
    host_of(place.replace("ws://", "http://", 1).replace("wss://", "https://", 1))
    return place if not path or place.endswith(path) else place + path


def needed(connection: Connection, option: str, what: str) -> str:
    """Return an option that there must be.

    Raises:
        ValueError: it is missing.
    """
    value = connection.options.get(option, "").strip()
    if not value:
        raise ValueError(f"connection {connection.name}: the option {option} is missing: {what}")
    return value


def flag(options: Mapping[str, str], option: str, *, usual: bool) -> bool:
    """Return an option that is true or false, else what is usual.

    Raises:
        ValueError: it is neither.
    """
    given = options.get(option, "").strip().lower()
    if given not in ("", "true", "false"):
        raise ValueError(f"the option {option} must be true or false")
    return given == "true" if given else usual


def rate(connection: Connection, usual: float) -> tuple[float, int]:
    """Return calls a second (the option `calls_per_s`, else the usual) and how many may be made at once.

    Raises:
        ValueError: the option is no positive number.
    """
    given = connection.options.get("calls_per_s", "")
    try:
        per_s = float(given) if given else usual
    except ValueError:
        per_s = 0.0
    if not 0 < per_s < float("inf"):
        raise ValueError(f"connection {connection.name}: the option calls_per_s must be a positive number")
    return per_s, max(1, round(per_s * _BURST_S))


def wall(ms: int, *, up: bool = False, fraction: bool = False) -> str:
    """Return UTC ms as the domestic platforms write times: `YYYY-MM-DD HH:MM:SS` of UTC+8.

    Args:
        ms: the time.
        up: go on to the next whole second where there is a fraction (the end of a window).
        fraction: with milliseconds.
    """
    seconds, rest = divmod(ms, 1000)
    if up and rest:
        seconds += 1
    text = (datetime.fromtimestamp(seconds, UTC) + CHINA).strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{rest:03d}" if fraction else text
