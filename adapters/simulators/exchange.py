"""A request to a simulated platform, its answer, and what the simulator remembers of the two."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

JSON: Final = "application/json;charset=utf-8"

encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder().decode
"""Whole numbers stay exact up to 2^64."""


class Request(NamedTuple):
    """A request, whole."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def form(self) -> dict[str, str]:
        """Return the parameters of query and form body together, decoded."""
        found = dict(self.query)
        kind = self.headers.get("content-type", "")
        if self.body and kind.startswith("application/x-www-form-urlencoded"):
            found.update(parse_qsl(self.body.decode(), keep_blank_values=True))
        return found

    def json(self) -> dict[str, Any]:
        """Return the body's object.

        Raises:
            ValueError: it is none.
        """
        found = decode(self.body)
        if not isinstance(found, dict):
            raise ValueError("the body is no object")  # noqa: TRY004 - wrong text, not a wrong type in the program
        return found


class Reply(NamedTuple):
    """An answer."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {"content-type": JSON}
    outcome: str = "ok"
    """For the log: `ok`, or what was refused."""


class Seen(NamedTuple):
    """One request in the log."""

    operation: str
    """The platform's name of what was asked."""
    outcome: str
    """`ok`, `refused <code>`, `limited`, or `fault <how>`."""
    at_ms: int
    params: Mapping[str, str]
    """The plain parameters, without keys, tokens and signatures."""


class Refused(Exception):
    """The platform says no: its code and words. The platform's module gives it the platform's form."""

    def __init__(self, code: int | str, text: str, sub_code: str = "", sub_text: str = "", status: int = 200) -> None:
        """Keep the parts."""
        super().__init__(f"{code} {text} {sub_code} {sub_text}".strip())
        self.code = code
        self.text = text
        self.sub_code = sub_code
        self.sub_text = sub_text
        self.status = status


def reply(value: Any, status: int = 200, outcome: str = "ok") -> Reply:
    """Return an answer of JSON."""
    return Reply(encode(value), status, outcome=outcome)


def whole(text: str | int | None, name: str, least: int, most: int, default: int | None = None) -> int:
    """Read a whole number of a parameter.

    Raises:
        ValueError: it is missing, no number, or out of bounds.
    """
    if text is None or text == "":
        if default is None:
            raise ValueError(f"{name} is missing")
        return default
    number = int(text)
    if not least <= number <= most:
        raise ValueError(f"{name} must lie between {least} and {most}")
    return number
