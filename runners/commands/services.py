"""What the commands for track and payment services have in common."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from runners.commands.common import Exit, Failure


@contextlib.contextmanager
def usable() -> Iterator[None]:
    """Turn what is wrong with a file of services into a sentence."""
    from runners.services import BadServices  # noqa: PLC0415

    try:
        yield
    except BadServices as error:
        raise Failure(Exit.REFUSED, str(error)) from error


def pairs(texts: Sequence[str], where: str) -> dict[str, str]:
    """Read NAME=VALUE, several of them.

    Raises:
        Failure: one is none.
    """
    found = {}
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name:
            # Not shown whole: it may hold a secret.
            raise Failure(Exit.USAGE, f"{where} {name[:20]!r}…: write NAME=VALUE")
        found[name] = value
    return found


def merged(before: dict[str, str], said: dict[str, str]) -> dict[str, str]:
    """Return settings with what was said anew; an empty value takes one away."""
    return {name: value for name, value in {**before, **said}.items() if value}


def places(secrets: dict[str, str]) -> dict[str, str]:
    """Return where secrets are, `file:` from the root on (relative ones begin here, not at the data directory)."""
    return {
        name: f"file:{Path(place.removeprefix('file:')).expanduser().absolute()}"
        if place.startswith("file:")
        else place
        for name, place in secrets.items()
    }
