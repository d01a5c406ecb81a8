"""How the shops' connections do, for people: what the puller noted, and how far behind each one is."""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from adapters.platforms import wants
from adapters.platforms.connection import MissingSecret
from domain.ports import LogDamaged
from runners.bootstrap import GATEWAY_FILE
from runners.connection_keys import FileKeys
from runners.connections import BadConnections, load, secrets_of
from runners.lock import holder_of
from runners.pulling_store import Pulls, State

if TYPE_CHECKING:
    from adapters.platforms.connection import Connection
    from runners.settings import Settings


class Shop(msgspec.Struct, frozen=True):
    """One connection and how it does. Times are UTC milliseconds."""

    name: str
    channel: str
    shop: str
    enabled: bool
    pulls: bool
    """Whether orders are fetched from it; else it only pushes."""
    pull_every_s: int
    cursor_ms: int | None
    """All that the platform had changed before is in the log; None before the first pull."""
    lag_ms: int | None
    """How long ago that is."""
    pulled_ms: int
    """End of the last pull that worked; 0 = none yet."""
    pulled: dict[str, int]
    """What became of what it brought: outcome → number."""
    hints: int
    """Orders that pushes have named and that wait to be fetched."""
    comparisons: int
    """Spans that wait to be compared with the platform."""
    listening: bool
    """To its message socket, now."""
    token_until_ms: int | None
    """When access ends or must be refreshed; 0 = never, None = there is no token."""
    problems: dict[str, str]
    """What does not work → why, and what to do."""
    again_ms: int
    """When it is tried again; 0 = it goes on by itself."""


def runs(data: Path) -> bool:
    """Tell whether somebody runs here who keeps the lines up."""
    return holder_of(data) is not None


def shops(data: Path, now_ms: int) -> list[Shop]:
    """Return all connections in the order of their file.

    Raises:
        BadConnections: the file cannot be used.
    """
    connections = load(data)
    if not connections:
        return []
    try:
        pulls = Pulls(data, read_only=True)
    except FileNotFoundError:
        return [_shop(data, each, None, now_ms) for each in connections]
    try:
        return [_shop(data, each, pulls, now_ms) for each in connections]
    finally:
        pulls.close()


def troubled(data: Path, now_ms: int) -> tuple[int, int]:
    """Return how many connections are on, and how many of them have a problem; (0, 0) where that cannot be told."""
    with contextlib.suppress(BadConnections, OSError, sqlite3.Error, LogDamaged):
        on = [shop for shop in shops(data, now_ms) if shop.enabled]
        return len(on), sum(bool(shop.problems) for shop in on)
    return 0, 0


class _Place(msgspec.Struct):
    url: str
    pid: int


def gateway_url(settings: "Settings") -> str:
    """Return where the HTTP gateway is now, "" where none runs."""
    try:
        place = msgspec.json.decode((settings.path / GATEWAY_FILE).read_bytes(), type=_Place)
    except (OSError, msgspec.MsgspecError):
        return ""
    # The file is kept for the next start; a killed gateway leaves its number in it.
    return place.url if place.pid and _alive(place.pid) else ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _shop(data: Path, connection: "Connection", pulls: Pulls | None, now_ms: int) -> Shop:
    state = State() if pulls is None else pulls.state(connection.name)
    cursor = None if pulls is None else pulls.cursor(connection)
    problems = dict(state.problems) if connection.enabled else {}
    pulls_orders = wants(connection).pulls
    if connection.enabled and not pulls_orders:
        problems = _secrets_there(data, connection, problems)
    token = None
    try:
        token = FileKeys(data, connection).token()
    except MissingSecret as error:
        problems.setdefault("access", str(error))
    return Shop(
        connection.name,
        connection.channel,
        connection.shop,
        connection.enabled,
        pulls_orders,
        connection.pull_every_s,
        cursor,
        None if cursor is None else max(0, now_ms - cursor),
        state.pulled_ms,
        state.pulled,
        0 if pulls is None else pulls.hints_waiting(connection.name),
        0 if pulls is None else len(pulls.comparisons(connection.name)),
        # What was noted outlives the one who listened.
        state.listening and runs(data),
        None if token is None else token.expires_ms,
        problems,
        state.again_ms if problems else 0,
    )


def _secrets_there(data: Path, connection: "Connection", problems: dict[str, str]) -> dict[str, str]:
    """Return the problems with what is missing now: no pull will ever show it.

    Variables are seen by the one that runs under `up`: what this process has set says nothing of what that one has.
    """
    keys = FileKeys(data, connection)
    for name in secrets_of(connection):
        if connection.secrets.get(name, "").startswith("env:"):
            continue
        try:
            keys.secret(name)
        except MissingSecret as error:
            return {**problems, "access": str(error)}
    return problems
