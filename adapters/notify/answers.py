"""What robots' answers mean, and how messages are made to fit: the same for all of them."""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple, Never

import msgspec

from adapters.platforms.http import Answer
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused

OK: Final = range(200, 300)
TIMEOUT_S: Final = 5.0
"""A robot answers in a fraction of a second; who waits longer holds up the next note."""
_SAID_MAX: Final = 200


class Codes(NamedTuple):
    """What a service's own codes mean; every other one is a refusal for good."""

    busy: Collection[str]
    """Not now, nothing was sent."""
    keys: Collection[str]
    """A person must put something right: the robot is gone, the key wrong."""
    pause_s: float = 60.0
    """How long to leave it alone when it is busy."""


def read(answer: Answer, who: str) -> Mapping[str, Any]:
    """Return an answer's object.

    Raises:
        NotAuthorised, PlatformRefused: by its status.
        OutcomeUnknown: it is no object; whether the message was taken cannot be told.
    """
    if answer.status in (401, 403):
        raise NotAuthorised(f"{who} answered with status {answer.status}", "look at the address and its key")
    try:
        found = msgspec.json.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = None
    if isinstance(found, dict):
        return found
    if answer.status not in OK:
        raise PlatformRefused(
            f"{who} answered with status {answer.status}", "look at the address", code=str(answer.status)
        )
    raise OutcomeUnknown(f"{who} answered with something that cannot be read")


def fail(who: str, code: str, said: str, codes: Codes, advice: str = "") -> Never:
    """Raise what a service's own code means; `said` is its text."""
    words = " ".join(said.split())[:_SAID_MAX]
    reason = f"{who} answered {code or 'without a code'}" + (f": {words}" if words else "")
    if code in codes.busy:
        raise PlatformBusy(reason, advice, retry_after_s=codes.pause_s)
    if code in codes.keys:
        raise NotAuthorised(reason, advice or "look at the receiver's address, key and security settings")
    raise PlatformRefused(reason, advice, code=code)


def shortened(text: str, bytes_max: int) -> str:
    """Return as much of a text as fits, with an ellipsis where something is left out."""
    raw = text.encode()
    if len(raw) <= bytes_max:
        return text
    return raw[: bytes_max - 3].decode(errors="ignore") + "…"


def markdown(title: str, text: str) -> str:
    """Return a title and plain lines as Markdown in which nothing of them is taken for markup."""
    lines = [f"### {_escaped(title)}", *(_escaped(line) for line in text.splitlines() if line.strip())]
    return "\n\n".join(lines)


def _escaped(text: str) -> str:
    # The robots' dialects know no common escape for angle brackets and link brackets: full-width ones look alike.
    return text.translate(_PLAIN)


_PLAIN: Final = str.maketrans(
    {"<": "＜", ">": "＞", "[": "［", "]": "］", "*": "＊", "_": "\\_", "`": "'", "#": "＃", "!": "！"}
)
