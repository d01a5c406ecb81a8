"""`subscribers`: which services downstream may read which feeds over the broker."""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
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
    moment_said,
    print_json,
    print_text,
    say,
    settings_of,
    show,
    table,
)

if TYPE_CHECKING:
    from runners.settings import Settings
    from runners.subscribers import Credentials, Subscriber

INSTALLED_S = 10.0
"""How long the running broker may take to know of a change."""

app = App(
    name="subscribers",
    help="Services downstream 下游服务: each reads just its feeds, in a broker account of its own.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine subscribers add erp --feeds events,orders --to erp.creds.json\n"
        "  orderspine subscribers add dashboard --feeds events --kind order --channel taobao\n"
        "  orderspine subscribers rotate erp --to erp.creds.json\n"
        "  orderspine subscribers revoke erp\n"
        "A running `up` lets subscribers in and out within a second. See docs/subscriptions.md."
    ),
)

FEED_NAMES = "events, orders, inventory, intake, after_sales, kpis, desk, finance, checks"
"""What `--help` says; the names themselves are in a module that is slow to load."""

Name = Annotated[str, Parameter(name="NAME", help="The subscriber: letters, digits, - and _.")]
To = Annotated[
    Path | None, Parameter(name="--to", help="Write the credentials into this file (0600) instead of showing them.")
]
KindOption = Annotated[
    list[str] | None,
    Parameter(
        name="--kind", negative="", help="Of events only this kind: order, warehouse … May be given several times."
    ),
]
ChannelOption = Annotated[
    list[str] | None,
    Parameter(name="--channel", negative="", help="Only what belongs to this channel. May be given several times."),
]
TypeOption = Annotated[
    list[str] | None,
    Parameter(name="--type", negative="", help="Of events only this one: order.paid … May be given several times."),
]


@app.command
def add(
    name: Name,
    /,
    *,
    feeds: Annotated[str, Parameter(help=f"What it may read, with commas: {FEED_NAMES}.")],
    kind: KindOption = None,
    channel: ChannelOption = None,
    type_: TypeOption = None,
    to: To = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Let a service read feeds, and make its credentials: shown once, nobody can show them again."""
    from runners.commands.mapping import channel_of  # noqa: PLC0415
    from runners.subscribers import BUCKETS_MAX, Filter, Subscriber, check, editing, new_password  # noqa: PLC0415

    settings = settings_of(data)
    password, hashed = new_password()
    outlet_password, _ = new_password()
    asked = tuple(dict.fromkeys(feed.strip() for feed in feeds.split(",") if feed.strip()))
    for each in channel or ():
        channel_of(settings, each)
    filter_ = Filter(tuple(kind or ()), tuple(channel or ()), tuple(type_ or ()))
    made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    subscriber = Subscriber(name, asked, hashed, outlet_password, made, filter_)
    with _usable(), editing(settings.path) as entries:
        if any(each.name == name for each in entries):
            raise Failure(
                Exit.REFUSED,
                f"there is a subscriber {name} already: `rotate` gives it new credentials, `revoke` ends it",
            )
        entries.append(subscriber)
        check(tuple(entries))
        if settings.broker == "embedded" and sum(len(each.member.buckets) for each in entries) > BUCKETS_MAX:
            raise Failure(
                Exit.REFUSED,
                f"the broker has room for {BUCKETS_MAX} buckets of documents, and they are taken: `revoke` one, or "
                "name fewer feeds (events need none)",
            )
        credentials = _made(settings, subscriber, password, to)
    return _hand_over(settings, subscriber, credentials, to, json=json)


@app.command(name="list")
def list_(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Name the subscribers, and what each may read."""
    from runners.subscribers import load  # noqa: PLC0415

    settings = settings_of(data)
    with _usable():
        found = load(settings.path)
    if json:
        print_json([_shown(each) for each in found])
        return Exit.OK
    made = table("name", "feeds", "only", "made at")
    for each in found:
        made.add_row(
            escape(each.name),
            escape(", ".join(each.feeds)),
            escape(_only(each)),
            escape(moment_said(each.created, settings.zone)),
        )
    show(made)
    return Exit.OK


@app.command(name="show")
def show_(name: Name, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Show one subscriber, with what a broker of your own must have for it."""
    import msgspec  # noqa: PLC0415

    from runners.subscribers import broker_accounts  # noqa: PLC0415

    settings = settings_of(data)
    subscriber = _one(settings, name)
    accounts = broker_accounts(settings.cell, (subscriber,))
    if json:
        print_json(_shown(subscriber) | ({"accounts": accounts} if settings.broker != "embedded" else {}))
        return Exit.OK
    show(
        f"subscriber {escape(subscriber.name)}, made at {escape(moment_said(subscriber.created, settings.zone))}",
        f"feeds: {escape(', '.join(subscriber.feeds))}",
        f"only:  {escape(_only(subscriber) or 'all of them')}",
    )
    if settings.broker != "embedded":
        say("The broker's configuration must have (its password for the outlet is a secret):")
        print_text(msgspec.json.format(msgspec.json.encode({"accounts": accounts}), indent=2).decode() + "\n")
    return Exit.OK


@app.command
def rotate(name: Name, /, *, to: To = None, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Give a subscriber new credentials; the old ones end at once, and connections made with them are closed."""
    import msgspec  # noqa: PLC0415

    from runners.subscribers import editing, new_password  # noqa: PLC0415

    settings = settings_of(data)
    password, hashed = new_password()
    _one(settings, name)
    with _usable(), editing(settings.path) as entries:
        for index, each in enumerate(entries):
            if each.name == name:
                entries[index] = subscriber = msgspec.structs.replace(each, password_hash=hashed)
                break
        else:
            raise _unknown(name)
        credentials = _made(settings, subscriber, password, to)
    return _hand_over(settings, subscriber, credentials, to, json=json)


@app.command
def revoke(name: Name, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """End a subscriber: its connections are closed at once, and it is not let in again."""
    from runners.subscribers import editing  # noqa: PLC0415

    settings = settings_of(data)
    _one(settings, name)
    with _usable(), editing(settings.path) as entries:
        entries[:] = [each for each in entries if each.name != name]
    remark = _installed(settings)
    if json:
        print_json({"name": name, "revoked": True, "remark": remark})
        return Exit.OK
    show(f"subscriber {escape(name)} is not let in any more")
    if settings.broker != "embedded":
        say(f"On {_place(settings)}: take the account SUBSCRIBER_{name} out of the configuration and reload it.")
    elif remark:
        say(remark)
    return Exit.OK


def _made(settings: "Settings", subscriber: "Subscriber", password: str, to: Path | None) -> "Credentials":
    """Return the credentials, written where they are wanted: before anybody is let in with them.

    Raises:
        Failure: the file cannot be written.
    """
    import msgspec  # noqa: PLC0415

    from adapters.nats.accounts import user_of  # noqa: PLC0415
    from adapters.nats.address import write_secret  # noqa: PLC0415
    from runners.subscribers import Credentials  # noqa: PLC0415

    made = Credentials(_place(settings), user_of(subscriber.name), password, settings.cell, subscriber.feeds)
    if to is not None:
        if to.is_dir():
            raise Failure(Exit.USAGE, f"--to {to} is a directory: name a file in it; nothing was changed")
        try:
            write_secret(to, msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
        except OSError as error:
            raise Failure(Exit.USAGE, f"{to} cannot be written ({error.strerror}); nothing was changed") from error
    return made


def _hand_over(
    settings: "Settings", subscriber: "Subscriber", credentials: "Credentials", to: Path | None, *, json: bool
) -> Exit:
    """Give out the credentials, once the broker knows of them."""
    import msgspec  # noqa: PLC0415

    remark = _installed(settings)
    if json:
        print_json({"subscriber": _shown(subscriber), "remark": remark} | _unless_written(credentials, to))
        return Exit.OK
    if to is not None:
        show(f"credentials of {escape(subscriber.name)} are in {escape(str(to))}")
    else:
        say(f"Credentials of {subscriber.name}. Keep them now, they are not shown again:")
        print_text(msgspec.json.format(msgspec.json.encode(credentials), indent=2).decode() + "\n")
    if settings.broker != "embedded":
        say(f"`orderspine subscribers show {subscriber.name}` prints what the broker's configuration must have.")
    elif remark:
        say(remark)
    return Exit.OK


def _unless_written(credentials: "Credentials", to: Path | None) -> dict[str, Any]:
    return {"credentials": credentials} if to is None else {"file": str(to)}


def _installed(settings: "Settings") -> str:
    """Wait until the running broker knows of the file's change; return a remark where it does not.

    Raises:
        Failure: it runs, and did not take the change over.
    """
    from runners.bootstrap import ADDRESS_FILE, BROKER_DIRECTORY  # noqa: PLC0415
    from runners.lock import holder_of  # noqa: PLC0415
    from runners.subscribers import INSTALLED_FILE, stamp  # noqa: PLC0415

    if settings.broker != "embedded":
        return "the broker's own configuration must be changed"
    if holder_of(settings.path) is None:
        known = (settings.path / ADDRESS_FILE).exists()
        url = "" if known else " The address in the credentials is not known before that."
        return f"`orderspine up` does not run: its next start has the change.{url}"
    deadline = time.monotonic() + INSTALLED_S
    wanted = stamp(settings.path)
    file = settings.path / BROKER_DIRECTORY / INSTALLED_FILE
    while time.monotonic() < deadline:
        if file.exists() and file.read_text() == wanted:
            return ""
        time.sleep(0.05)
    raise Failure(Exit.NOT_RUNNING, "the running broker did not take the change over; what `up` says tells why")


def _place(settings: "Settings") -> str:
    """Return the broker's address, without a password."""
    from runners.bootstrap import broker_address  # noqa: PLC0415

    try:
        return broker_address(settings).url
    except FileNotFoundError:
        return "nats://127.0.0.1:PORT"


def _one(settings: "Settings", name: str) -> "Subscriber":
    from runners.subscribers import load  # noqa: PLC0415

    with _usable():
        for each in load(settings.path):
            if each.name == name:
                return each
    raise _unknown(name)


def _unknown(name: str) -> Failure:
    return Failure(Exit.REFUSED, f"there is no subscriber {name[:80]!r}; `orderspine subscribers list` names them")


def _shown(subscriber: "Subscriber") -> dict[str, Any]:
    """Return what may be shown of a subscriber: no password, and no hash of one."""
    only = subscriber.filter
    return {
        "name": subscriber.name,
        "feeds": subscriber.feeds,
        "kinds": only.kinds,
        "channels": only.channels,
        "types": only.types,
        "created": subscriber.created,
    }


def _only(subscriber: "Subscriber") -> str:
    only = subscriber.filter
    told = (("kind", only.kinds), ("channel", only.channels), ("type", only.types))
    return "; ".join(f"{what} {', '.join(values)}" for what, values in told if values)


@contextlib.contextmanager
def _usable() -> Iterator[None]:
    """What is wrong with the file becomes the verb's end."""
    from runners.subscribers import BadSubscribers  # noqa: PLC0415

    try:
        yield
    except BadSubscribers as error:
        raise Failure(Exit.USAGE, str(error)) from error
