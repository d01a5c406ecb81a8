"""The connections of a data directory: `channels.json`, where their secrets are found, and the tokens kept for them.

The file holds no secret, only where secrets are: in the environment or in a file that only its owner can read.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from adapters.platforms import MODULES, wants
from adapters.platforms.connection import BadSettings, Connection, is_name, is_place
from domain.ids import BadId, checked_part
from runners import settings_file

FILE = "channels.json"
PULL_EVERY_S_MIN = 1
PULL_EVERY_S_MAX = 31_536_000
"""A year."""
_SECRET_WORDS = ("secret", "token", "password", "passphrase", "private_key")
_URLS = {"base_url": ("http", "https"), "token_url": ("http", "https"), "socket_url": ("ws", "wss")}


class BadConnections(BadSettings):
    """`channels.json`, or a connection in it, cannot be used: where, what is wrong, what to do."""


def load(data: Path) -> tuple[Connection, ...]:
    """Return the connections of a data directory; none where there is no file.

    Raises:
        BadConnections: the file, or one of its connections, is not as it must be.
        OSError: it cannot be read.
    """
    raw = settings_file.read(data / FILE, BadConnections, "send the shop's keys elsewhere")
    return () if raw is None else parse(raw, str(data / FILE))


def parse(raw: bytes, place: str) -> tuple[Connection, ...]:
    """Read the file's content.

    Raises:
        BadConnections: see `load`.
    """
    try:
        elements = msgspec.json.decode(raw, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadConnections(
            f"{place}: {error}; it must be a JSON list of connections (`orderspine channels add` writes it)"
        ) from error
    found: list[Connection] = []
    for number, element in enumerate(elements, 1):
        try:
            connection = msgspec.json.decode(element, type=Connection)
        except (msgspec.ValidationError, UnicodeDecodeError) as error:
            raise BadConnections(f"{place}, connection {number}: {error}") from error
        try:
            check(connection)
        except BadConnections as error:
            raise BadConnections(f"{place}, connection {number}: {error}") from error
        found.append(connection)
    _check_names(found, place)
    return tuple(found)


def check(connection: Connection) -> None:
    """See that a connection means something, as far as it can be told without its platform.

    Raises:
        BadConnections: it does not; never tells what might be a secret.
    """
    if not is_name(connection.name):
        raise BadConnections(
            f"name {connection.name[:80]!r}: use letters, digits, - and _ (at most 64); files are named after it"
        )
    where = f"connection {connection.name}"
    if connection.channel not in MODULES:
        raise BadConnections(
            f"{where}: channel {connection.channel[:80]!r} has no interface to connect to; known: {', '.join(MODULES)}"
        )
    try:
        checked_part(connection.shop, "shop")
    except BadId as error:
        raise BadConnections(f"{where}: {error}") from error
    if connection.pull_every_s and not PULL_EVERY_S_MIN <= connection.pull_every_s <= PULL_EVERY_S_MAX:
        raise BadConnections(
            f"{where}: pull_every_s {connection.pull_every_s}: seconds above 0, at most a year, or 0 for no timed pull "
            "(300 is usual)"
        )
    for field, schemes in _URLS.items():
        _check_url(where, field, getattr(connection, field), schemes)
    for name in connection.options:
        if any(word in name.lower() for word in _SECRET_WORDS):
            raise BadConnections(
                f"{where}: option {name} holds a secret, and channels.json must not: give it as "
                f"--secret {name}=env:VARIABLE or --secret {name}=file:PATH"
            )
    for name, place in connection.secrets.items():
        if not is_place(place):
            # Not shown: it may be the secret itself.
            raise BadConnections(
                f"{where}: secret {name} must say where it is found, env:VARIABLE or file:PATH, and not what it is"
            )


@contextlib.contextmanager
def editing(data: Path) -> Iterator[list[Connection]]:
    """Hold the file while its connections are changed; they are checked and written at the end.

    Raises:
        BadConnections: it cannot be used as it is, or would not be as it must be; nothing is written.
    """
    with settings_file.held(data / FILE):
        connections = list(load(data))
        yield connections
        save(data, connections)


def save(data: Path, connections: Sequence[Connection]) -> None:
    """Write the file whole, or not at all; only its owner can read it.

    Raises:
        BadConnections: a connection is not as it must be; nothing is written.
    """
    for connection in connections:
        check(connection)
    _check_names(connections, str(data / FILE))
    settings_file.write(data / FILE, list(connections))


def named(connections: Sequence[Connection], name: str) -> Connection | None:
    """Return the connection of that name."""
    return next((each for each in connections if each.name == name), None)


def secrets_of(connection: Connection) -> list[str]:
    """Return the names of the secrets that a connection gives, or that its platform needs."""
    return list(connection.secrets) + sorted(wants(connection).needed - connection.secrets.keys())


def _check_names(connections: Sequence[Connection], place: str) -> None:
    seen: set[str] = set()
    for connection in connections:
        # Files are named after it, and some file systems do not tell cases apart.
        if connection.name.lower() in seen:
            raise BadConnections(f"{place}: there are two connections named {connection.name}; rename one of them")
        seen.add(connection.name.lower())


def _check_url(where: str, field: str, url: str, schemes: tuple[str, ...]) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # the port is no number
        raise BadConnections(f"{where}: {field} has no valid port") from None
    if parts.username or parts.password:
        raise BadConnections(f"{where}: {field} holds a user or password; give secrets with --secret NAME=env:VARIABLE")
    if not good:
        raise BadConnections(f"{where}: {field} must be an address such as {schemes[-1]}://host/path")
