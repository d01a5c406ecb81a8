"""What the command line does with one connection, once: look whether it can work, try it, let us in, pull, compare."""

import asyncio
import contextlib
import difflib
import time
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from types import ModuleType
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from adapters.platforms import MODULES, connect, wants
from adapters.platforms.connection import Connection, MissingSecret, Token
from domain.platforms import NotAuthorised, Platform, PlatformBusy, PlatformError, PlatformRefused, Puller, Window
from runners.bootstrap import open_log
from runners.commands.acting import person
from runners.commands.common import Exit, Failure
from runners.connection_keys import FileKeys
from runners.connections import BadConnections, check, secrets_of
from runners.pulling_feed import SINCE_OPTION, BadOption, Feed, since_of
from runners.pulling_line import COMPARE_OPTION, compare_every_ms
from runners.pulling_mail import Mailroom
from runners.pulling_store import Pulls
from runners.reconciling import Progress, Reconciliation, Result
from runners.settings import Settings
from runners.shops import gateway_url

CHECK_S = 60.0
"""Longest a check may take."""
TOLD_S = 2.0
"""How often somebody who waits is told how far it is."""
ROLE = "operations"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
LOOK = "look at the address and the network, and try again later"


class Checked(msgspec.Struct, frozen=True):
    """What trying a connection has shown."""

    name: str
    good: bool
    said: str
    """By the platform, or what is wrong."""
    advice: str = ""


class Pulled(NamedTuple):
    """What a pull brought."""

    outcomes: dict[str, int]
    cursor_ms: int | None


async def weaknesses(settings: Settings, connection: Connection) -> list[str]:
    """See that a connection can work, and return what is still to be done before it does.

    Raises:
        Failure: it cannot work as it is.
    """
    try:
        check(connection)
        _check_options(connection)
    except (BadConnections, BadOption) as error:
        raise Failure(Exit.USAGE, str(error)) from error
    keys = FileKeys(settings.path, connection)
    found = [
        f"{field} is not encrypted ({urlsplit(url).scheme}://): whoever listens on the way reads keys and orders"
        for field, url in (("base_url", connection.base_url), ("token_url", connection.token_url))
        if url.startswith("http://") and urlsplit(url).hostname not in LOOPBACK
    ]
    for name in secrets_of(connection):
        try:
            keys.secret(name)
        except MissingSecret as error:
            # What this shell has set says nothing of what the one has that starts `up`.
            if not connection.secrets.get(name, "").startswith("env:"):
                found.append(str(error))
    platform = await _connected(connection, keys, found)
    if platform is None:
        return found
    await _close(platform)
    if platform.receiver is not None:
        gateway = gateway_url(settings) or "http://GATEWAY"
        found.append(
            f"let the platform push to {gateway}/webhooks/{connection.name} (from outside: through whatever ends TLS "
            "before the gateway)"
        )
    if hasattr(_module(connection), "authorise_url"):
        with contextlib.suppress(MissingSecret, ValueError):
            page_needed = keys.token() is None and bool(_module(connection).authorise_url(connection, ""))
            if page_needed:
                found.append(f"let us into the shop: orderspine channels authorise {connection.name}")
    return found


async def checked(settings: Settings, connection: Connection) -> Checked:
    """Try a connection with a harmless call."""
    name = connection.name
    try:
        _check_options(connection)
        async with asyncio.timeout(CHECK_S), _platform(settings, connection) as platform:
            if platform.puller is not None:
                return Checked(name, True, await platform.puller.check())
            _each_secret(settings, connection)
            return Checked(name, True, "its secrets are there; it only pushes, so there is nothing to call")
    except NotAuthorised as error:
        advice = error.advice or "correct its secrets, or authorise the shop anew"
        if "authorise" in advice:
            advice += f": orderspine channels authorise {name}"
        return Checked(name, False, f"the platform does not let us in: {error.reason}", advice)
    except MissingSecret as error:
        return Checked(name, False, str(error))
    except PlatformBusy as error:
        return Checked(
            name, False, error.reason, error.advice or "try again later; look at the address and the network"
        )
    except PlatformRefused as error:
        return Checked(name, False, f"the platform refuses: {error.reason}", error.advice)
    except PlatformError as error:
        return Checked(name, False, error.reason, error.advice)
    except (Failure, BadOption) as error:
        return Checked(name, False, str(error))
    except TimeoutError:
        return Checked(name, False, f"no answer within {CHECK_S:g} s", LOOK)


def page_of(connection: Connection, redirect: str) -> str:
    """Return the platform's page on which a shop's owner lets us in.

    Raises:
        Failure: there is none, or an option is missing.
    """
    make = getattr(_module(connection), "authorise_url", None)
    if make is None:
        raise Failure(Exit.USAGE, f"{connection.channel} asks for no such thing: its keys are enough")
    try:
        return str(make(connection, redirect))
    except ValueError as error:
        raise Failure(Exit.USAGE, str(error)) from error


async def exchange(settings: Settings, connection: Connection, code: str) -> Token:
    """Exchange the code that the platform gave the shop's owner for a token, which is kept.

    Raises:
        Failure: the platform does not, or there is no such thing.
    """
    do = getattr(_module(connection), "authorise", None)
    if do is None:
        raise Failure(Exit.USAGE, f"{connection.channel} asks for no such thing: its keys are enough")
    keys = FileKeys(settings.path, connection)
    try:
        token: Token = await do(connection, keys, _now_ms, code)
    except (MissingSecret, PlatformError) as error:
        raise Failure(Exit.REFUSED, f"no token: {error}") from error
    except ValueError as error:
        raise Failure(Exit.USAGE, str(error)) from error
    return token


async def pulled(settings: Settings, connection: Connection, since_ms: int | None) -> Pulled:
    """Pull a shop once.

    Raises:
        Failure: the platform did not do it, or there is nothing to pull.
        NotRunning, NoAnswer: see `Postman`.
    """
    async with _at_work(settings, connection) as (puller, pulls, mailroom):
        feed = Feed(connection, puller, pulls, mailroom, _now_ms)
        outcomes = await feed.pull(since_ms)
        return Pulled(dict(outcomes), pulls.cursor(connection))


async def compared(
    settings: Settings, connection: Connection, span: Window, tell: Callable[[str], None] | None
) -> Result:
    """Compare a span of a shop's past; `tell` gets a line now and then, and one at the end.

    Raises:
        Failure: there is nothing to compare with.
        NotRunning, NoAnswer: see `Postman`.
    """
    said = 0.0

    def told(progress: Progress) -> None:
        nonlocal said
        now = time.monotonic()
        if tell is not None and (progress.share >= 1 or now - said >= TOLD_S):
            said = now
            tell(f"{progress.share:6.1%}  {progress.found:,} found, {progress.missed:,} missed")

    async with _at_work(settings, connection) as (puller, pulls, mailroom):
        event_log = await asyncio.to_thread(open_log, settings, read_only=True)
        try:
            one = Reconciliation(connection, puller, pulls, mailroom, event_log, _now_ms, person(ROLE))
            return await one.run(span, "asked for", told)
        finally:
            event_log.close()


@contextlib.asynccontextmanager
async def _at_work(settings: Settings, connection: Connection) -> AsyncIterator[tuple[Puller, Pulls, Mailroom]]:
    """Hold all that a pull needs.

    Raises:
        Failure: what the platform or the connection said against it.
    """
    async with Mailroom(settings, "orderspine-channels") as mailroom:
        await mailroom.ready()
        pulls = Pulls(settings.path)
        try:
            async with _platform(settings, connection) as platform:
                if platform.puller is None:
                    raise Failure(Exit.USAGE, f"{connection.channel} has nothing to pull: it only pushes")
                yield platform.puller, pulls, mailroom
        except (MissingSecret, PlatformError) as error:
            raise Failure(Exit.REFUSED, f"{connection.name}: {error}") from error
        except BadOption as error:
            raise Failure(Exit.USAGE, str(error)) from error
        finally:
            pulls.close()


@contextlib.asynccontextmanager
async def _platform(settings: Settings, connection: Connection) -> AsyncIterator[Platform]:
    try:
        platform = connect(connection, FileKeys(settings.path, connection), _now_ms)
    except (ValueError, ImportError) as error:
        raise Failure(Exit.USAGE, str(error)) from error
    try:
        yield platform
    finally:
        await _close(platform)


async def _connected(connection: Connection, keys: FileKeys, found: list[str]) -> Platform | None:
    try:
        return connect(connection, keys, _now_ms)
    except (MissingSecret, PlatformError) as error:
        if str(error) not in found:
            found.append(str(error))
    except (ValueError, ImportError) as error:
        raise Failure(Exit.USAGE, str(error)) from error
    return None


async def _close(platform: Platform) -> None:
    if platform.close is not None:
        await platform.close()


def _each_secret(settings: Settings, connection: Connection) -> None:
    keys = FileKeys(settings.path, connection)
    for name in secrets_of(connection):
        keys.secret(name)


def _check_options(connection: Connection) -> None:
    """See that every option and secret is one that somebody reads, and that what pulling reads means something.

    Raises:
        BadOption: it is not so: which, and which there are.
    """
    since_of(connection)
    compare_every_ms(connection)
    known = wants(connection)
    known = known._replace(options=known.options | {SINCE_OPTION, COMPARE_OPTION})
    strange = [("option", name, known.options) for name in connection.options if not known.knows_option(name)]
    strange += [("secret", name, known.secrets) for name in connection.secrets if name not in known.secrets]
    for what, name, names in strange:
        near = difflib.get_close_matches(name, names, 1)
        meant = f"did you mean {_shown(near[0])}? " if near else ""
        shown = ", ".join(map(_shown, sorted(names)))
        raise BadOption(
            f"connection {connection.name}: {connection.channel} has no {what} {name[:80]!r}; {meant}It has: {shown}. "
            f"One that is there already is taken away with `--{what} {name[:80]}= --replace`"
        )


def _shown(name: str) -> str:
    return f"{name}…" if name.endswith(".") else name


def _module(connection: Connection) -> ModuleType:
    return import_module(MODULES[connection.channel])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
