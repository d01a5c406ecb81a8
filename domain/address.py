"""What is wrong with a receiver's address: words that name no person, told while the address itself is at hand.

Platforms show addresses in many ways (whole, masked, encrypted, split into levels), so a part counts as there when any
form of it is. An order without any receiver (picked up, sent by the platform, not released yet) has no flaws here.
"""

import re
from collections.abc import Mapping

FLAWS = ("no_name", "no_phone", "bad_phone", "no_detail")
"""Every word there is."""
_PHONES = ("phone", "mobile", "tel", "virtual")
_DETAILS = ("detail", "address", "street", "line1", "line2", "line3", "town", "location")
_DIGITS_MIN = 5
"""Shorter numbers are service lines or slips."""
_CLEAR = re.compile(r"[\d +()./ext-]+", re.IGNORECASE)
"""A telephone number that is neither masked nor encrypted."""


def flaws_of(receiver: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is wrong with a receiver as his channel tells of him, worst first; nothing of none at all."""
    there = {part: text for part, text in receiver.items() if text.strip()}
    if not there:
        return ()
    found = []
    if not any(part.startswith(("name", "first", "last", "company")) for part in there):
        found.append("no_name")
    phones = [text for part, text in there.items() if part.startswith(_PHONES)]
    if not phones:
        found.append("no_phone")
    elif all(_is_no_number(text) for text in phones):
        found.append("bad_phone")
    if not any(part.startswith(_DETAILS) for part in there):
        found.append("no_detail")
    return tuple(found)


def _is_no_number(text: str) -> bool:
    return _CLEAR.fullmatch(text) is not None and sum(letter.isdigit() for letter in text) < _DIGITS_MIN
