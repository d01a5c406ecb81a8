"""`channels`: the shops' connections to their platforms: add, check, authorise, pull, compare with the past."""

import asyncio
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    moment,
    print_json,
    say,
    settings_of,
    show,
    table,
)
from runners.commands.entries import pairs, places, removed, switched, usable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.platforms.connection import Connection
    from runners.settings import Settings
    from runners.shops import Shop

app = App(
    name="channels",
    help="The shops' connections to their platforms. A running `up` notices changes within seconds.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine channels add flagship --channel taobao --shop flagship \\\n"
        "    --option app_key=12345678 --secret app_secret=file:/etc/orderspine/taobao.secret\n"
        "  orderspine channels authorise flagship\n"
        "  orderspine channels check\n"
        "  orderspine channels pull flagship --since 12h\n"
        "  orderspine channels reconcile flagship --from 2026-11-10\n"
        "  orderspine channels map taobao --try order.json --with mapping.toml"
    ),
)

app.command(
    "runners.commands.mapping:map_", name="map", help="What a channel's fields become: show, try, put in force."
)

ConnectionName = Annotated[str, Parameter(name="NAME", help="Name of the connection.")]
Pairs = tuple[str, ...]
KEYS_SHOWN_MAX = 20
_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


@app.command(name="list")
def list_(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """How each connection does: last pull, how far behind, what does not work; works without a running `up`."""
    import msgspec  # noqa: PLC0415

    from runners.shops import runs, shops  # noqa: PLC0415

    settings = settings_of(data)
    found = shops(settings.path, _now_ms())
    if json:
        print_json([msgspec.to_builtins(shop) for shop in found])
        return Exit.OK
    made = table("name", "channel", "shop", "pulled", "up to", "behind", "to fetch", "token until", "state")
    for shop in found:
        made.add_row(
            escape(shop.name),
            escape(shop.channel),
            escape(shop.shop),
            moment(shop.pulled_ms, settings.zone) if shop.pulled_ms else "",
            moment(shop.cursor_ms, settings.zone) if shop.cursor_ms else "",
            "" if shop.lag_ms is None else _span(shop.lag_ms),
            f"{shop.hints:,}" if shop.hints else "",
            _until(shop, settings),
            _state(shop),
        )
    show(made)
    for shop in found:
        for what, reason in shop.problems.items():
            again = f"; tried again at {moment(shop.again_ms, settings.zone)}" if shop.again_ms else ""
            say(f"{shop.name}: {what}: {reason}{again}")
    if not found:
        say("no shop is connected yet: `orderspine channels add --help` says how")
    elif not runs(settings.path):
        say("`orderspine up` does not run here: nothing is pulled and no push is taken until it does")
    return Exit.OK


@app.command
def add(
    name: ConnectionName,
    /,
    *,
    channel: Annotated[str, Parameter(help="Whose interface it is, for example taobao. It cannot be changed later.")],
    shop: Annotated[str, Parameter(help="The shop's name in the keys of its orders. It cannot be changed later.")],
    base_url: Annotated[
        str | None, Parameter(help="Address of the interface, where it is not the platform's own.")
    ] = None,
    token_url: Annotated[str | None, Parameter(help="Where tokens are made, where that is another address.")] = None,
    socket_url: Annotated[
        str | None, Parameter(help="Address of the message socket, where it is not the usual one.")
    ] = None,
    option: Annotated[
        Pairs,
        Parameter(name="--option", negative="", help="A setting of the platform, NAME=VALUE. Several may be given."),
    ] = (),
    secret: Annotated[
        Pairs,
        Parameter(
            name="--secret",
            negative="",
            help="Where a secret is found, NAME=env:VARIABLE or NAME=file:PATH (chmod 600). Never the secret itself.",
        ),
    ] = (),
    pull_every: Annotated[int | None, Parameter(help="Seconds between two pulls; 0 = none. 300 unless said.")] = None,
    listen: Annotated[
        bool | None, Parameter(help="Listen to the platform's message socket, where it has one. So unless said.")
    ] = None,
    enabled: Annotated[bool | None, Parameter(help="Whether it is used. So unless said.")] = None,
    replace: Annotated[
        bool,
        Parameter(
            negative="",
            help="Change the connection of that name. What is not said again stays; `--option NAME=` and "
            "`--secret NAME=` take one away, `--base-url ''` goes back to the platform's own.",
        ),
    ] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Connect a shop. Only what can work is written down; say `channels check` to try it."""
    import msgspec  # noqa: PLC0415

    from adapters.platforms.connection import Connection  # noqa: PLC0415
    from runners.connecting import weaknesses  # noqa: PLC0415
    from runners.connections import editing, named  # noqa: PLC0415

    settings = settings_of(data)
    fields = {
        "base_url": base_url,
        "token_url": token_url,
        "socket_url": socket_url,
        "enabled": enabled,
        "pull_every_s": pull_every,
        "listen": listen,
    }
    said = {field: value for field, value in fields.items() if value is not None}
    options = pairs(option, "--option")
    secrets = places(secret)
    with usable(), editing(settings.path) as connections:
        known = named(connections, name)
        if known is not None:
            _check_same(known, channel, shop, replace=replace)
        before = known or Connection(name, channel, shop)
        fresh = msgspec.structs.replace(
            before,
            **said,
            options=_merged(before.options, options, "--option"),
            secrets=_merged(before.secrets, secrets, "--secret"),
        )
        _check_alone(connections, fresh)
        weak = asyncio.run(weaknesses(settings, fresh))
        connections[:] = [each for each in connections if each is not known] + [fresh]
    kept = _kept(before, said, options, secrets)
    if json:
        print_json(
            {"connection": msgspec.to_builtins(fresh), "replaced": known is not None, "kept": kept, "to_do": weak}
        )
        return Exit.OK
    show(f"{'changed' if known else 'connected'}: {escape(name)} ({escape(channel)}, shop {escape(shop)})")
    if kept:
        say(f"as before: {', '.join(kept)}")
    for text in weak:
        say(f"to do: {text}")
    if not fresh.enabled:
        say(f"it is off: `orderspine channels enable {name}`")
    say(f"`orderspine channels check {name}` tries it")
    return Exit.OK


def _check_same(known: "Connection", channel: str, shop: str, *, replace: bool) -> None:
    """See that a connection of this name may be changed so.

    Raises:
        Failure: it may not.
    """
    if not replace:
        raise Failure(Exit.REFUSED, f"there is a connection {known.name} already; --replace changes it")
    if (known.channel, known.shop) != (channel, shop):
        raise Failure(
            Exit.REFUSED,
            f"{known.name} is shop {known.shop} of {known.channel}, and channel and shop cannot be changed: they are "
            "part of every order's key, so the same orders would come in again as new ones. Add a new connection under "
            "another name for another shop",
        )


def _check_alone(connections: "Sequence[Connection]", one: "Connection") -> None:
    """See that no other connection that is on has the shop of one that is to be on.

    Raises:
        Failure: one has.
    """
    for other in connections:
        same = (other.channel, other.shop) == (one.channel, one.shop)
        if same and other.name != one.name and other.enabled and one.enabled:
            raise Failure(
                Exit.REFUSED,
                f"{other.name} connects shop {one.shop} of {one.channel} already, and two would pull it twice and not "
                f"know which of them tells of parcels: change that one (`channels add {other.name} … --replace`), or "
                f"switch it off first (`orderspine channels disable {other.name}`)",
            )


def _merged(before: dict[str, str], given: dict[str, str], option: str) -> dict[str, str]:
    """Return what was there before with what is given in its place; what is given empty is taken away."""
    for name, value in given.items():
        if not value.strip() and name not in before:
            raise Failure(Exit.USAGE, f"{option} {name}= says nothing, and there is no {name} to take away")
    return {name: value for name, value in {**before, **given}.items() if name not in given or value.strip()}


def _kept(before: "Connection", said: dict[str, Any], options: dict[str, str], secrets: dict[str, str]) -> list[str]:
    """Return the names of what was set before and not said again."""
    usual = type(before)(before.name, before.channel, before.shop)
    fields = ("base_url", "token_url", "socket_url", "enabled", "pull_every_s", "listen")
    kept = [name for name in fields if name not in said and getattr(before, name) != getattr(usual, name)]
    kept += [f"option {name}" for name in before.options if name not in options]
    return kept + [f"secret {name}" for name in before.secrets if name not in secrets]


@app.command
def remove(name: ConnectionName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Forget a connection, its token and how far it was pulled. Orders stay."""
    from runners.connection_keys import FileKeys  # noqa: PLC0415
    from runners.connections import editing  # noqa: PLC0415
    from runners.pulling_store import Pulls  # noqa: PLC0415

    settings = settings_of(data)
    with usable(), editing(settings.path) as connections:
        found = _one(connections, name, settings)
        connections.remove(found)
    FileKeys(settings.path, found).forget()
    with closing(Pulls(settings.path)) as pulls:
        pulls.forget(name)
    return removed(name, json=json)


@app.command
def enable(name: ConnectionName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Use a connection (again)."""
    return _switch(name, data, on=True, json=json)


@app.command
def disable(name: ConnectionName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Leave a connection alone: no pulls, no pushes, no ship notices; everything of it is kept."""
    return _switch(name, data, on=False, json=json)


def _switch(name: str, data: Path, *, on: bool, json: bool) -> Exit:
    import msgspec  # noqa: PLC0415

    from runners.connections import editing  # noqa: PLC0415

    settings = settings_of(data)
    with usable(), editing(settings.path) as connections:
        found = _one(connections, name, settings)
        fresh = msgspec.structs.replace(found, enabled=on)
        _check_alone(connections, fresh)
        connections[connections.index(found)] = fresh
    return switched(name, on=on, json=json, more="; a running `up` takes it over within a second")


@app.command
def check(
    *names: Annotated[str, Parameter(name="NAME", help="Connections; all that are on where none is named.")],
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Try keys and addresses with a harmless call, and say what is wrong and what to do."""
    import msgspec  # noqa: PLC0415

    from runners.connecting import checked  # noqa: PLC0415

    settings = settings_of(data)
    connections = _connections(settings)
    chosen = [_one(connections, name, settings) for name in names] or [each for each in connections if each.enabled]

    async def all_of_them() -> list[Any]:
        return list(await asyncio.gather(*(checked(settings, each) for each in chosen)))

    results = asyncio.run(all_of_them())
    if json:
        print_json([msgspec.to_builtins(result) for result in results])
    else:
        for result in results:
            show(f"{'好 good' if result.good else '坏 BAD'}  {escape(result.name)}: {escape(result.said)}")
            if result.advice:
                say(f"  what to do: {result.advice}")
        if not results:
            say("no connection is on")
    return Exit.OK if all(result.good for result in results) else Exit.REFUSED


@app.command
def authorise(
    name: ConnectionName,
    /,
    *,
    code: Annotated[
        str, Parameter(help="What stands behind `code=` in the address that the platform sent you to.")
    ] = "",
    redirect: Annotated[
        str, Parameter(help="Address the platform sends you to afterwards, as it is registered for your app.")
    ] = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Let OrderSpine into a shop: prints the platform's page; with --code, exchanges the code for a token."""
    from runners.connecting import exchange, page_of  # noqa: PLC0415

    settings = settings_of(data)
    connection = _one(_connections(settings), name, settings)
    if not code:
        page = page_of(connection, redirect or connection.options.get("redirect_uri", ""))
        if json:
            print_json({"url": page})
            return Exit.OK
        if "redirect_uri=&" in f"{page}&":
            say(
                "This page lacks the address it sends you to afterwards: give the one that is registered for your app "
                f"with --redirect, or for good with --option redirect_uri=ADDRESS (`channels add {name} … --replace`)"
            )
        say("Open this page as the shop's owner and agree:")
        show(escape(page))
        say(f"Then: orderspine channels authorise {name} --code CODE (what stands behind `code=` in the address)")
        return Exit.OK
    token = asyncio.run(exchange(settings, connection, code))
    if json:
        print_json({"name": name, "expires_ms": token.expires_ms, "refresh_expires_ms": token.refresh_expires_ms})
        return Exit.OK
    until = f"until {moment(token.expires_ms, settings.zone)}" if token.expires_ms else "without an end"
    show(f"authorised: {escape(name)}, {until}" + (", refreshed by itself" if token.refresh else ""))
    return Exit.OK


@app.command
def pull(
    name: ConnectionName,
    /,
    *,
    since: Annotated[
        str, Parameter(help="From then on: `2026-11-10 20:00` (merchant's zone), ISO 8601, or a span: 90m, 12h, 3d.")
    ] = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Pull one shop once, now; says what became of it after the commit."""
    from runners.connecting import pulled  # noqa: PLC0415

    settings = settings_of(data)
    connection = _one(_connections(settings), name, settings)
    begin = _since(since, settings) if since else None
    if begin is not None and begin > _now_ms():
        raise Failure(Exit.USAGE, f"--since {since} is still to come: nothing has changed since then")
    outcome = asyncio.run(pulled(settings, connection, begin))
    bad = any(outcome.outcomes.get(word) for word in ("refused", "quarantined"))
    if json:
        print_json({"name": name, "outcomes": outcome.outcomes, "cursor_ms": outcome.cursor_ms})
    else:
        from runners.commands.common import outcome_word  # noqa: PLC0415

        made = table("outcome", "count", title="What became of it", right=("count",))
        for word, count in sorted(outcome.outcomes.items()):
            made.add_row(outcome_word(word), f"{count:,}")
        show(made)
        if not outcome.outcomes:
            say("nothing has changed")
        if outcome.cursor_ms:
            say(f"pulled up to {moment(outcome.cursor_ms, settings.zone)}")
    return Exit.REFUSED if bad else Exit.OK


@app.command
def reconcile(
    name: ConnectionName,
    /,
    *,
    from_: Annotated[
        str, Parameter(name="--from", help="Beginning: a time, or a span back from now (90m, 12h, 3d).")
    ] = "3d",
    to: Annotated[str, Parameter(help="End: a time, or a span back from now; now where it is left out.")] = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Compare a shop's past with its platform: take in what was missed, and record what was found."""
    from domain.platforms import Window  # noqa: PLC0415
    from runners.connecting import compared  # noqa: PLC0415

    settings = settings_of(data)
    connection = _one(_connections(settings), name, settings)
    span = Window(_since(from_, settings), _since(to, settings, begins=False) if to else _now_ms())
    if span.start_ms >= span.end_ms:
        raise Failure(Exit.USAGE, f"--from {from_} is not before the end ({moment(span.end_ms, settings.zone)})")
    result = asyncio.run(compared(settings, connection, span, None if json else say))
    found = result.found
    if json:
        print_json(
            {
                "name": name,
                "start_ms": result.window.start_ms,
                "end_ms": result.window.end_ms,
                "whole": result.stopped is None,
                "error": str(result.stopped or ""),
                "recorded": result.recorded,
                "found": found.number,
                "known": len(found.known),
                "missed": list(found.missed),
                "changed": list(found.changed),
                "fresh": len(found.fresh),
                "refused": found.refused,
            }
        )
    else:
        _show_comparison(settings, name, result)
    return Exit.REFUSED if result.stopped is not None or found.refused else Exit.OK


def _show_comparison(settings: "Settings", name: str, result: Any) -> None:
    found = result.found
    start, end = moment(result.window.start_ms, settings.zone), moment(result.window.end_ms, settings.zone)
    made = table("", "", title=escape(f"{name}, {start} to {end}"))
    made.show_header = False
    made.add_row("平台 found at the platform", f"{found.number:,}")
    made.add_row("已知 known", f"{len(found.known):,}")
    made.add_row("漏单 missed, taken in now", f"{len(found.missed):,}")
    made.add_row("漏更新 changed unnoticed, taken in now", f"{len(found.changed):,}")
    made.add_row("新 new since the last pull", f"{len(found.fresh):,}")
    made.add_row("拒绝 refused or quarantined", f"{len(found.refused):,}")
    show(made)
    for word, keys in (("missed", found.missed), ("changed", found.changed)):
        for key in list(keys)[:KEYS_SHOWN_MAX]:
            show(f"{word}: {escape(key)}")
        if len(keys) > KEYS_SHOWN_MAX:
            show(f"and {len(keys) - KEYS_SHOWN_MAX:,} more {word} (--json tells all of them)")
    for key, reason in list(found.refused.items())[:KEYS_SHOWN_MAX]:
        show(f"refused: {escape(key)}: {escape(reason)}")
    if result.stopped is not None:
        say(f"it broke off: {result.stopped}; do it again for the rest")
    if not result.recorded:
        say("nothing was recorded in the log")


def _connections(settings: "Settings") -> "tuple[Connection, ...]":
    from runners.connections import load  # noqa: PLC0415

    with usable():
        return load(settings.path)


def _one(connections: "Sequence[Connection]", name: str, settings: "Settings") -> "Connection":
    from runners.connections import named  # noqa: PLC0415

    found = named(connections, name)
    if found is None:
        known = ", ".join(each.name for each in connections)
        raise Failure(
            Exit.REFUSED,
            f"there is no connection {name!r} in {settings.data}; "
            + (f"known are {known}" if known else "none has been added yet (`orderspine channels add`)"),
        )
    return found


def _since(text: str, settings: "Settings", *, begins: bool = True) -> int:
    """Return a time that a person gave, or a span before now, UTC ms; of a date its beginning, or else its end."""
    from runners.history import read_moment  # noqa: PLC0415

    number, unit = text.strip()[:-1], text.strip()[-1:].lower()
    if unit in _UNITS_MS and number.replace(".", "", 1).isdecimal():
        return _now_ms() - round(float(number) * _UNITS_MS[unit])
    try:
        at_ms = read_moment(text, settings.zone, begins=begins)
    except ValueError as error:
        raise Failure(Exit.USAGE, f"{error}: write a time (2026-11-10 20:00) or a span (90m, 12h, 3d)") from error
    return at_ms


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _span(ms: int) -> str:
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms >= 2 * size:
            return f"{ms / size:.0f} {unit}"
    return f"{ms / 1000:.0f} s"


def _until(shop: "Shop", settings: "Settings") -> str:
    if shop.token_until_ms is None:
        return ""
    return moment(shop.token_until_ms, settings.zone) if shop.token_until_ms else "∞"


def _state(shop: "Shop") -> str:
    if not shop.enabled:
        return "停用 off"
    if shop.problems:
        return f"异常 {', '.join(shop.problems)}"
    if not shop.pulls:
        return "正常 pushes only"
    if not shop.pulled_ms and shop.pull_every_s:
        return "等待 not pulled yet"
    return "正常 listening" if shop.listening else "正常 good"
