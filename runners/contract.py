"""What others may rely on: the shapes of public events and documents, by name and version, and the feeds they come in.

The shapes are JSON Schemas (2020-12) made from the types themselves. `released_contract.json` keeps every version that
was ever published; it is written by `python -m runners.docs_contract`, which refuses what would break a reader. At run
time only that file is read.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

RELEASED: Final = Path(__file__).with_name("released_contract.json")
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_VERSIONED: Final = re.compile(r"(.+)\.v([1-9][0-9]*)")

Schema = dict[str, Any]


class Contract(msgspec.Struct, frozen=True):
    """Shapes and feeds."""

    feeds: dict[str, list[str]]
    """Address, with its parameters in braces → names of the shapes that come there."""
    shapes: dict[str, dict[str, Schema]]
    """Name → version, in decimal → schema."""

    def newest(self, name: str) -> int:
        """Return the highest version of a shape.

        Raises:
            KeyError: there is no such shape.
        """
        return max(int(version) for version in self.shapes[name])


class Listed(msgspec.Struct, frozen=True):
    """A shape in a list of all."""

    name: str
    version: int
    """The newest one."""
    versions: tuple[int, ...]
    about: str


def named(tag: str) -> tuple[str, int]:
    """Return name and version of a tag: `order.paid.v2` is version 2 of `order.paid`."""
    found = _VERSIONED.fullmatch(tag)
    return (found[1], int(found[2])) if found else (tag, 1)


def tag_of(name: str, version: int) -> str:
    """Return the tag that a version of an event is recorded and published under."""
    return name if version == 1 else f"{name}.v{version}"


@cache
def released() -> Contract:
    """Return the contract as it is published with this build.

    Raises:
        FileNotFoundError: nothing was ever released.
        msgspec.MsgspecError: the file is damaged.
    """
    return msgspec.json.decode(RELEASED.read_bytes(), type=Contract)


def listed(contract: Contract) -> Iterator[Listed]:
    """List the shapes, by name."""
    for name, versions in sorted(contract.shapes.items()):
        numbers = tuple(sorted(map(int, versions)))
        newest = versions[str(numbers[-1])]
        yield Listed(name, numbers[-1], numbers, newest.get("description", ""))


def documents_of(contract: Contract) -> Mapping[str, bytes]:
    """Return the schemas as documents: `<name>.<version>` → JSON."""
    return {
        f"{name}.{version}": msgspec.json.encode(schema)
        for name, versions in contract.shapes.items()
        for version, schema in versions.items()
    }
