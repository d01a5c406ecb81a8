"""What all receivers of pushes share: reading headers strictly, telling secrets apart in constant time, freshness.

The texts of `NotGenuine` hold nothing of the request: they become counters.
"""

import base64
import hmac
from collections.abc import Mapping
from typing import Final

from domain.platforms import NotGenuine, PushRequest

TOLERANCE_S: Final = 300
"""So far from our clock, either way, a push may be dated."""
_DIGITS_MAX: Final = 12


def one_of(values: Mapping[str, str], *names: str) -> str:
    """Return the value that stands under one of several spellings of a name.

    Raises:
        NotGenuine: it is not there, empty, not plain ASCII, or two spellings differ.
    """
    found = {values[name] for name in names if name in values}
    if len(found) > 1:
        raise NotGenuine(f"{names[0]} is there twice")
    value = found.pop() if found else ""
    if not value:
        raise NotGenuine(f"no {names[0]}")
    if not value.isascii() or not value.isprintable():
        raise NotGenuine(f"{names[0]} is no plain text")
    return value


def check_same(given: str, expected: str, what: str) -> None:
    """Compare in constant time.

    Raises:
        NotGenuine: they differ.
    """
    # As bytes: the comparison of texts refuses what is not ASCII with an error of its own.
    if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass")):
        raise NotGenuine(what)


def read_base64(text: str, what: str) -> bytes:
    """Read Base64 in its one exact spelling: no other text stands for the same bytes.

    Raises:
        NotGenuine: it is none.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise NotGenuine(f"{what} is not Base64") from None
    if base64.b64encode(raw) != text.encode():
        raise NotGenuine(f"{what} is not Base64")
    return raw


def check_fresh(timestamp: str, now_ms: int, tolerance_s: int = TOLERANCE_S) -> None:
    """Check a time in whole seconds of the epoch.

    Raises:
        NotGenuine: it is none, too old, or from the future.
    """
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _DIGITS_MAX):
        raise NotGenuine("timestamp is no number of seconds")
    apart_ms = now_ms - int(timestamp) * 1_000
    if apart_ms > tolerance_s * 1_000:
        raise NotGenuine("timestamp is too old")
    if apart_ms < -tolerance_s * 1_000:
        raise NotGenuine("timestamp is in the future")


def check_posted(request: PushRequest) -> None:
    """Check that something was sent.

    Raises:
        NotGenuine: it is another method than POST.
    """
    if request.method.upper() != "POST":
        raise NotGenuine("method is not POST")
