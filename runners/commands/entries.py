"""What the verbs on entries of settings files have in common: connections, warehouses, services, receivers."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from runners.commands.common import Exit, Failure, escape, print_json, show


class Named(Protocol):
    """An entry."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...


N = TypeVar("N", bound=Named)


@contextlib.contextmanager
def usable(unusable: Exit = Exit.USAGE) -> Iterator[None]:
    """Turn what is wrong with a file, with a secret, or with who was asked, into the end of a verb."""
    from adapters.platforms.connection import BadSettings, MissingSecret  # noqa: PLC0415
    from domain.platforms import PlatformError  # noqa: PLC0415

    try:
        yield
    except BadSettings as error:
        raise Failure(unusable, str(error)) from error
    except (MissingSecret, PlatformError) as error:
        raise Failure(Exit.REFUSED, str(error)) from error


def named(entries: Sequence[N], name: str, what: str) -> N:
    """Return the entry of that name.

    Raises:
        Failure: there is none.
    """
    for each in entries:
        if each.name == name:
            return each
    known = ", ".join(each.name for each in entries) or "none"
    raise Failure(Exit.REFUSED, f"there is no {what} {name[:80]!r}; there are: {known}")


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Read NAME=VALUE, several of them.

    Raises:
        Failure: one is none.
    """
    found = {}
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name:
            # Not shown: it may be a secret that was put in the wrong place.
            raise Failure(Exit.USAGE, f"{option} must be NAME=VALUE")
        found[name] = value
    return found


def merged(before: dict[str, str], said: dict[str, str]) -> dict[str, str]:
    """Return settings with what was said anew; an empty value takes one away."""
    return {name: value for name, value in {**before, **said}.items() if value}


def from_here(place: str) -> str:
    """Return where a secret is found, a file's path from the root on: it begins here, not at the data directory."""
    kind, _, path = place.partition(":")
    return f"file:{Path(path).expanduser().absolute()}" if kind == "file" and path.strip() else place


def places(texts: Sequence[str]) -> dict[str, str]:
    """Read where secrets are found, NAME=PLACE, several of them.

    Raises:
        Failure: one says no name.
    """
    return {name: from_here(place) for name, place in pairs(texts, "--secret").items()}


def removed(name: str, *, json: bool) -> Exit:
    """Say that an entry is gone."""
    if json:
        print_json({"removed": name})
    else:
        show(f"removed: {escape(name)}")
    return Exit.OK


def switched(name: str, *, on: bool, json: bool, more: str = "") -> Exit:
    """Say that an entry is used, or left alone."""
    if json:
        print_json({"name": name, "enabled": on})
    else:
        show(f"{escape(name)} is {'on' if on else 'off'}{more}")
    return Exit.OK
