"""What is wrong with a receiver's address: words that name no person, told while the address itself is at hand.

Platforms show addresses in many ways (whole, masked, encrypted, split into levels), so a part counts as there when any
form of it is. An order without any receiver (picked up, sent by the platform, not released yet) has no flaws here.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

FLAWS = ("no_name", "no_phone", "bad_phone", "no_detail")
"""Every word there is."""
_NAMES = ("name", "first", "last", "company")
_PHONES = ("phone", "mobile", "tel", "virtual")
_DETAILS = ("detail", "address", "street", "line1", "line2", "line3", "town", "location")
_DIGITS_MIN = 5
"""Shorter numbers are service lines or slips."""
_CLEAR = re.compile(r"[\d +()./ext-]+", re.IGNORECASE)
"""A telephone number that is neither masked nor encrypted."""


def flaws_of(receiver: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is wrong with a receiver as his channel tells of him, worst first; nothing of none at all."""
    names, phones, details = _kinds_of(tuple(receiver))
    found = []
    if not _is_told(receiver, names):
        found.append("no_name")
    numbers = [receiver[part] for part in phones if receiver[part].strip()]
    if not numbers:
        found.append("no_phone")
    elif all(map(_is_no_number, numbers)):
        found.append("bad_phone")
    if not _is_told(receiver, details):
        found.append("no_detail")
    return tuple(found) if found and _is_told(receiver, receiver) else ()


@lru_cache(maxsize=256)
def _kinds_of(parts: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return which of a receiver's parts are names, telephone numbers and places; a channel tells mostly the same."""
    return tuple(tuple(part for part in parts if part.startswith(kind)) for kind in (_NAMES, _PHONES, _DETAILS))


def _is_told(receiver: Mapping[str, str], parts: Iterable[str]) -> bool:
    for part in parts:  # noqa: SIM110  a generator would cost more than the whole question
        if receiver[part].strip():
            return True
    return False


def _is_no_number(text: str) -> bool:
    return _CLEAR.fullmatch(text) is not None and sum(letter.isdigit() for letter in text) < _DIGITS_MIN
