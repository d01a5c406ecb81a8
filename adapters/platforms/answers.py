"""Reading a platform's JSON without touching it: members as the exact bytes they are, ids as exact text."""

from typing import Any, Final

import msgspec

from adapters.channels.json_fields import split_list, split_object
from domain.platforms import OutcomeUnknown, PlatformBusy

Members = dict[str, msgspec.Raw]

ASK_FIRST: Final = "it may have been done: ask before telling it again"
SHOWN_MAX: Final = 200

_any: Final = msgspec.json.Decoder()


def members(raw: bytes | msgspec.Raw) -> Members:
    """Return the members of an object; none where it is something else."""
    return split_object(raw) or {}


def answered(body: bytes, platform: str, *, repeatable: bool = True) -> Members:
    """Return the members of an answer.

    Raises:
        PlatformBusy: it is no JSON object: something stands between us and the platform, or it is broken.
        OutcomeUnknown: the same, where the call must not be repeated.
    """
    found = split_object(body.removeprefix(b"\xef\xbb\xbf"))
    if found is not None:
        return found
    reason = f"{platform} answered with something that is no JSON object ({len(body):,} bytes)"
    if repeatable:
        raise PlatformBusy(reason)
    raise OutcomeUnknown(reason, ASK_FIRST)


def elements(raw: msgspec.Raw | None) -> list[msgspec.Raw]:
    """Return the elements of a list: also of what was one element once (made from XML), or is not there."""
    if raw is None or bytes(raw) in {b"null", b'""', b"{}"}:
        return []
    found = split_list(raw)
    return [raw] if found is None else found


def within(found: Members, *names: str) -> Members:
    """Return the members of an object deep inside; none where it is not there."""
    for name in names:
        found = members(found[name]) if name in found else {}
    return found


def value(found: Members, name: str) -> Any:
    """Return a plain value, None where it is not there."""
    if name not in found:
        return None
    try:
        return _any.decode(found[name])
    except (ValueError, RecursionError):
        return None


def text(found: Members, *names: str) -> str:
    """Return the first of these members that says something, as text: whole numbers exactly, "" where none does."""
    for name in names:
        said = value(found, name)
        if isinstance(said, str) and said:
            return said
        if type(said) is int:
            return str(said)
    return ""


def count(found: Members, name: str) -> int | None:
    """Return a whole number, given as number or digits; None where it is neither."""
    said = value(found, name)
    if type(said) is int:
        return said
    return int(said) if isinstance(said, str) and said.isascii() and said.isdigit() else None


def said(*parts: str) -> str:
    """Join what a platform said into one line for people."""
    return ": ".join(part[:SHOWN_MAX] for part in parts if part) or "without a reason"
