"""`carriers`: the track services that follow parcels; `track` and `record-track`: where parcels are."""

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runners.commands.acting import SENDING, Sending, order_of
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
from runners.commands.entries import merged, named, pairs, places, removed, usable
from runners.commands.fulfil import OrderName

if TYPE_CHECKING:
    from adapters.carriers.settings import TrackService
    from runners.settings import Settings

Failing = Literal["problem", "refused", "returning", "returned"]
State = Literal["collected", "in_transit", "delivering", "signed", "forwarded", "customs"] | Failing
ServiceName = Annotated[str, Parameter(name="NAME", help="Name of the service.")]

app = App(
    name="carriers",
    help="Track services: they are asked to follow each parcel that leaves, and tell what becomes of it.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine carriers add kuaidi --callback-url https://orders.example.com \\\n"
        "    --secret key=file:/etc/orderspine/kuaidi.key --secret salt=file:/etc/orderspine/kuaidi.salt\n"
        "  orderspine carriers test kuaidi"
    ),
)


@app.command(name="list")
def list_(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """List the track services; works without a running `up`."""
    import msgspec  # noqa: PLC0415

    from runners.services import CARRIERS  # noqa: PLC0415

    with usable(Exit.REFUSED):
        found = CARRIERS.load(settings_of(data).path)
    if json:
        print_json([msgspec.to_builtins(each) for each in found])
        return Exit.OK
    made = table("name", "kind", "reached at", "further codes", "state")
    for each in found:
        codes = ", ".join(f"{ours}={theirs}" for ours, theirs in each.codes.items())
        made.add_row(
            escape(each.name), each.kind, escape(each.callback_url), escape(codes), "on" if each.enabled else "off"
        )
    show(made)
    if not found:
        say("no parcel is followed yet: `orderspine carriers add --help` says how")
    return Exit.OK


@app.command
def add(
    name: ServiceName,
    /,
    *,
    callback_url: Annotated[
        str | None, Parameter(help="Where the gateway is reached from outside, for example https://orders.example.com.")
    ] = None,
    base_url: Annotated[str | None, Parameter(help="Of the service, where it is not its own.")] = None,
    code: Annotated[
        tuple[str, ...],
        Parameter(name="--code", negative="", help="A carrier's code, OURS=THEIRS. Several may be given."),
    ] = (),
    sender_phone: Annotated[str | None, Parameter(help="Your telephone on the labels: SF asks for it.")] = None,
    secret: Annotated[
        tuple[str, ...],
        Parameter(
            name="--secret",
            negative="",
            help="Where a secret is found: key=… (the service's) and salt=… (yours, any long text), each env:VARIABLE "
            "or file:PATH (chmod 600). Never the secret itself.",
        ),
    ] = (),
    enabled: Annotated[bool | None, Parameter(help="Whether it is used. So unless said.")] = None,
    replace: Annotated[bool, Parameter(negative="", help="Change the service of that name; the rest stays.")] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Use a track service. A running `up` notices within seconds."""
    import msgspec  # noqa: PLC0415

    from adapters.carriers.settings import TrackService  # noqa: PLC0415
    from runners.services import CARRIERS  # noqa: PLC0415

    fields = {"callback_url": callback_url, "base_url": base_url, "sender_phone": sender_phone, "enabled": enabled}
    said = {field: value for field, value in fields.items() if value is not None}
    codes, secrets = pairs(code, "--code"), places(secret)
    with usable(Exit.REFUSED), CARRIERS.editing(settings_of(data).path) as services:
        known = next((each for each in services if each.name == name), None)
        if known is not None and not replace:
            raise Failure(Exit.REFUSED, f"there is a service {name} already; --replace changes it")
        before = known or TrackService(name, "")
        fresh = msgspec.structs.replace(
            before, **said, codes=merged(before.codes, codes), secrets=merged(before.secrets, secrets)
        )
        services[:] = [each for each in services if each is not known] + [fresh]
    if json:
        print_json(msgspec.to_builtins(fresh))
        return Exit.OK
    show(f"{'changed' if known else 'added'}: {escape(name)}; `orderspine carriers test {name}` tries it")
    return Exit.OK


@app.command(name="test")
def try_(name: ServiceName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Try a service's address and key; nothing is subscribed."""
    from runners.services import CARRIERS  # noqa: PLC0415

    settings = settings_of(data)
    with usable(Exit.REFUSED):
        service = named(CARRIERS.load(settings.path), name, "track service")
        said = asyncio.run(_check(settings, service))
    if json:
        print_json({"service": name, "said": said})
    else:
        show(escape(said))
    return Exit.OK


@app.command
def remove(name: ServiceName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Use a service no longer; what it still tells of parcels is not taken any more."""
    from runners.services import CARRIERS  # noqa: PLC0415

    with usable(Exit.REFUSED), CARRIERS.editing(settings_of(data).path) as services:
        services.remove(named(services, name, "track service"))
    return removed(name, json=json)


def track(order: OrderName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Show where the parcels of an order are."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415
    from runners.commands.order_page import parcels_of  # noqa: PLC0415

    settings = settings_of(data)
    key = order_of(settings, order)
    with closing(open_read_models(settings)) as views:
        found = views.order(key)
    if found is None:
        raise Failure(Exit.REFUSED, f"no order {key} in {settings.data}")
    if json:
        names = ("key", "state", "fulfilment", "parcels", "delivered_ms")
        print_json({name: found[name] for name in names if name in found})
        return Exit.OK
    if not found.get("parcels"):
        say("no parcel has left yet")
        return Exit.OK
    show(parcels_of(found, settings.zone))
    if found.get("delivered_ms"):
        say(f"delivered at {moment(found['delivered_ms'], settings.zone)}")
    return Exit.OK


def record_track(
    order: OrderName,
    /,
    *,
    tracking: Annotated[str, Parameter(help="The parcel's number.")],
    state: Annotated[State, Parameter(help="What the carrier said.")],
    at: Annotated[str, Parameter(help="When it was, for example 2026-03-01T10:00+08:00; now unless said.")] = "",
    where: Annotated[str, Parameter(help="A town or a depot; no address and no name.")] = "",
    sending: Sending = SENDING,
) -> Exit:
    """Record what a carrier told a person of a parcel."""
    from domain.tracking import RecordTrack, Scan  # noqa: PLC0415

    on = sending.on(order)
    body = RecordTrack(on.own, tracking, "", (Scan(moment_of(at), state, where.strip()),))
    return on.send(body, "service", "record-track", f"parcel {tracking} of {order} is {state}")


def moment_of(text: str) -> int:
    """Read a time with its offset; "" = now.

    Raises:
        Failure: it is none.
    """
    import time  # noqa: PLC0415
    from datetime import datetime  # noqa: PLC0415

    from domain.timehub import YEAR_MAX, YEAR_MIN  # noqa: PLC0415

    if not text:
        return time.time_ns() // 1_000_000
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or not YEAR_MIN <= at.year <= YEAR_MAX:
        raise Failure(
            Exit.USAGE,
            f"--at {text[:40]!r}: write a time with its offset, 2026-03-01T10:00:00+08:00, of the years {YEAR_MIN} to "
            f"{YEAR_MAX}",
        )
    return round(at.timestamp() * 1000)


async def _check(settings: "Settings", service: "TrackService") -> str:
    from adapters import carriers  # noqa: PLC0415
    from runners.services import secrets_of  # noqa: PLC0415

    made = carriers.connect(service, secrets_of(settings.path, service))
    try:
        return await made.check()
    finally:
        await made.close()
