"""Paths into a channel's document, as people write them in a mapping: `orders.order[].customization`.

Steps are names with dots between them; a name with a dot, bracket or blank in it stands in double quotes. Behind a
name, `[]` is every element of a list, `[2]` the third one, `[name=VAT]` those whose member says so.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

PATH_MAX = 500
"""Longest path, in characters."""
STEPS_MAX = 30

_STEP = re.compile(
    r"""(?P<dot>\.)?(?:"(?P<quoted>[^"]+)"|(?P<name>[^.\[\]"\s]+)"""
    r"""|\[(?:(?P<every>)|(?P<place>[0-9]{1,6})|(?P<key>[^.\[\]"=]+)=(?P<value>[^\[\]]*))\])"""
)


class BadPath(ValueError):
    """A path that cannot be followed: why."""


class Member(NamedTuple):
    """A member of an object, by its name."""

    name: str


class Every(NamedTuple):
    """Every element of a list; one object alone counts as a list of one."""


class Place(NamedTuple):
    """One element of a list, counted from 0."""

    number: int


class Where(NamedTuple):
    """The elements of a list whose member `key` is `value`, as text."""

    key: str
    value: str


Step = Member | Every | Place | Where
Path = tuple[Step, ...]


def parse_path(text: str) -> Path:
    """Read a path.

    Raises:
        BadPath: it is empty, too long, or not written as paths are.
    """
    if not text.strip():
        raise BadPath("the path is empty")
    if len(text) > PATH_MAX:
        raise BadPath(f"the path is longer than {PATH_MAX} characters")
    steps: list[Step] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        selects = match is not None and match["quoted"] is None and match["name"] is None
        if match is None or (at == 0 and selects) or bool(match["dot"]) == (at == 0 or selects):
            raise BadPath(f"the path {text[:80]!r} cannot be read from {text[at : at + 20]!r} on")
        steps.append(_step(match))
        at = match.end()
    if len(steps) > STEPS_MAX:
        raise BadPath(f"the path has more than {STEPS_MAX} steps")
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["quoted"] is not None:
        return Member(match["quoted"])
    if match["name"] is not None:
        return Member(match["name"])
    if match["place"] is not None:
        return Place(int(match["place"]))
    if match["key"] is not None:
        return Where(match["key"], match["value"])
    return Every()


def follow(document: Any, path: Path, where: str = "") -> Iterator[tuple[str, Any]]:
    """Return what stands at a path, each with the exact path it stands at; what is missing or null is left out."""
    if document is None:
        return
    if not path:
        yield where, document
        return
    step, rest = path[0], path[1:]
    if isinstance(step, Member):
        if type(document) is dict and step.name in document:
            yield from follow(document[step.name], rest, joined(where, step.name))
        return
    for number, element in enumerate(_elements(document)):
        if _chooses(step, number, element):
            yield from follow(element, rest, f"{where}[{number}]")


def joined(where: str, name: str) -> str:
    """Return the path of a member for people, as `parse_path` reads it."""
    shown = name if name and not any(char in '.[]"' or char.isspace() for char in name) else f'"{name}"'
    return f"{where}.{shown}" if where else shown


def plain_path(path: Path) -> str:
    """Return a path with every choice of elements as `[]`: what tables of harmless fields are asked by."""
    text = ""
    for step in path:
        text = joined(text, step.name) if isinstance(step, Member) else f"{text}[]"
    return text


def begins_with(path: Path, beginning: Path) -> bool:
    """Tell whether a path goes through what another one names."""
    return path[: len(beginning)] == beginning


def _elements(value: Any) -> list[Any]:
    if type(value) is list:
        return value
    return [value] if type(value) is dict and value else []


def _chooses(step: Every | Place | Where, number: int, element: Any) -> bool:
    if isinstance(step, Every):
        return True
    if isinstance(step, Place):
        return step.number == number
    if type(element) is not dict:
        return False
    value = element.get(step.key)
    return not isinstance(value, (dict, list, bool)) and value is not None and str(value) == step.value
