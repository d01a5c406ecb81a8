r"""JSON that holds halves of characters: `\ud83d` without its other half, as programs write it that cut texts.

RFC 8259 (8.2) allows such escapes and leaves open what they mean; the fast decoder refuses the document for them. A
half of an emoji in somebody's name must hold up neither its order nor the page that the order stands on.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")

_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_BLANKS: Final = re.compile(r"[ \t\r\n]*")


def spelled_out(raw: bytes) -> bytes:
    """Return JSON in which each half is the text of its escape, so that no two texts become one."""
    if b"\\u" not in raw:
        return raw
    return _ESCAPE.sub(lambda match: b"\\\\" + match[1] if match[1] else match[0], raw)


def decoded(decode: Callable[[bytes | msgspec.Raw], T], raw: bytes | msgspec.Raw) -> T:
    """Return what a fast decoder makes of JSON; where it refuses it, of the JSON in which halves are spelled out.

    Raises:
        ValueError, RecursionError: what the decoder raises of the latter.
    """
    try:
        return decode(raw)
    except ValueError:
        told = spelled_out(bytes(raw))
        if told == bytes(raw):
            raise
        return decode(told)


def split(raw: bytes, brackets: str) -> list[tuple[str, bytes]] | None:
    """Return the members of an object (`{}`) or the elements of an array (`[]`) as the exact bytes they are.

    Each with its name, "" in an array. None where it is no such JSON, or holds no halves: others split it faster.
    """
    if spelled_out(raw) == raw:
        return None
    try:
        return list(_pieces(raw.decode(), brackets[0], brackets[1]))
    except (ValueError, IndexError, RecursionError):
        return None


def _pieces(text: str, opening: str, closing: str) -> Iterator[tuple[str, bytes]]:
    at = _past(text, 0, opening)
    if text[at] == closing:
        at += 1
    else:
        while True:
            name = ""
            if opening == "{":
                name, at = _decode(text, at)
                if not isinstance(name, str) or text[at - 1] != '"':
                    raise ValueError("a name is no text")
                at = _past(text, at, ":")
            _, end = _decode(text, at)
            yield name, text[at:end].encode()
            at = _blanks(text, end)
            if text[at] == closing:
                at += 1
                break
            at = _past(text, at, ",")
    if _blanks(text, at) != len(text):
        raise ValueError("something stands behind it")


def _past(text: str, at: int, sign: str) -> int:
    """Return the place of what comes behind a sign."""
    at = _blanks(text, at)
    if text[at] != sign:
        raise ValueError(f"no {sign} at {at}")
    return _blanks(text, at + 1)


def _blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return at if match is None else match.end()


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


_decode: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_number).raw_decode
