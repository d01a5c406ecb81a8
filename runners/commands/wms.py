"""`wms`: warehouses that others run (奇门 Qimen): which serve ours, how they are called, what they say they have."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    print_json,
    say,
    settings_of,
    show,
    table,
)
from runners.commands.entries import from_here, named, pairs, removed, switched, usable

if TYPE_CHECKING:
    from adapters.wms.settings import WmsSettings
    from runners.settings import Settings
    from runners.wms_compare import Compared

app = App(
    name="wms",
    help="Warehouses that others run, spoken with in the style of Qimen (奇门). A running `up` notices changes within "
    "seconds.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine wms add north --url https://wms.example/qimen --app-key 12345678 --customer-id C001 \\\n"
        "    --owner-code OWNER1 --warehouse A=HZ01 --secret file:/etc/orderspine/wms.secret\n"
        "  orderspine wms test north\n"
        "  orderspine wms compare north"
    ),
)

WmsName = Annotated[str, Parameter(name="NAME", help="Name of the WMS.")]
Pairs = tuple[str, ...]
SHOWN_MAX = 50


@app.command(name="list")
def list_(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """List them, and the address each calls us at; works without a running `up`."""
    import msgspec  # noqa: PLC0415

    from runners.gateway import place_of  # noqa: PLC0415
    from runners.wms_settings import load  # noqa: PLC0415

    settings = settings_of(data)
    with usable():
        found = load(settings.path)
    place = place_of(settings.path)
    base = place.url if place is not None else "(the gateway's address)"
    if json:
        print_json([{**msgspec.to_builtins(each), "calls_us_at": f"{base}/wms/{each.name}"} for each in found])
        return Exit.OK
    made = table("name", "serves", "customer", "is called at", "calls us at", "state")
    for each in found:
        serves = ", ".join(f"{ours}={theirs}" for ours, theirs in each.warehouses.items())
        row = (each.name, serves, each.customer_id, each.url, f"{base}/wms/{each.name}")
        made.add_row(*map(escape, row), "on" if each.enabled else "off")
    show(made)
    if not found:
        say("no warehouse is run by others: `orderspine wms add --help` says how to add one")
    return Exit.OK


@app.command
def add(
    name: WmsName,
    /,
    *,
    url: Annotated[str, Parameter(help="Where it is called.")],
    app_key: Annotated[str, Parameter(help="The agreed app_key.")],
    customer_id: Annotated[str, Parameter(help="What it calls you (customerId).")],
    owner_code: Annotated[str, Parameter(help="Whose goods they are, in its words (ownerCode).")],
    warehouse: Annotated[
        Pairs,
        Parameter(
            name="--warehouse",
            negative="",
            help="A warehouse of yours that it serves, OURS=ITS_CODE. Several may be given.",
        ),
    ],
    secret: Annotated[
        str,
        Parameter(help="Where the secret of signatures is found, env:VARIABLE or file:PATH (chmod 600). Never itself."),
    ],
    logistics: Annotated[str, Parameter(help="logisticsCode of what is sent to it; OTHER = it chooses.")] = "OTHER",
    carrier: Annotated[
        Pairs,
        Parameter(name="--carrier", negative="", help="Its code of a carrier and ours, ITS_CODE=OURS."),
    ] = (),
    sender: Annotated[
        Pairs,
        Parameter(
            name="--sender", negative="", help="Part of senderInfo: name=…, mobile=…, province=…, detailAddress=…"
        ),
    ] = (),
    compare_every: Annotated[int, Parameter(help="Seconds between two comparisons of stock; 0 = none.")] = 3600,
    enabled: Annotated[bool, Parameter(help="Whether it is used.")] = True,
    replace: Annotated[bool, Parameter(negative="", help="Put this in the place of the WMS of that name.")] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Have pick lists of a warehouse picked by another one's system, from the next one on."""
    import msgspec  # noqa: PLC0415

    from adapters.wms.settings import WmsSettings  # noqa: PLC0415
    from runners.wms_settings import editing  # noqa: PLC0415

    settings = settings_of(data)
    fresh = WmsSettings(
        name,
        url,
        app_key,
        customer_id,
        from_here(secret),
        _pairs(warehouse, "--warehouse"),
        owner_code,
        logistics,
        _pairs(carrier, "--carrier"),
        _pairs(sender, "--sender"),
        compare_every,
        enabled,
    )
    with usable(), editing(settings.path) as found:
        known = [each for each in found if each.name == name]
        if known and not replace:
            raise Failure(Exit.REFUSED, f"there is a WMS {name} already; --replace puts this in its place")
        found[:] = [each for each in found if each.name != name] + [fresh]
    if json:
        print_json({"wms": msgspec.to_builtins(fresh), "replaced": bool(known)})
        return Exit.OK
    show(f"{'changed' if known else 'added'}: {escape(name)}")
    if url.startswith("http://"):
        say("to do: its address is http, so receivers travel unencrypted; use https unless it is in your own network")
    say(f"`orderspine wms test {name}` tries it; it calls us at /wms/{name} of the gateway")
    return Exit.OK


@app.command
def remove(name: WmsName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Forget a WMS. What it was asked for and has not confirmed stays with it: pick lists go nowhere else by this."""
    from runners.wms_settings import editing  # noqa: PLC0415

    settings = settings_of(data)
    with usable(), editing(settings.path) as found:
        found.remove(named(found, name, "WMS"))
    return removed(name, json=json)


@app.command
def enable(name: WmsName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Use a WMS (again), from the next pick list on."""
    return _switch(name, data, on=True, json=json)


@app.command
def disable(name: WmsName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Leave a WMS alone: it is asked for nothing and its calls are not taken; everything of it is kept."""
    return _switch(name, data, on=False, json=json)


def _switch(name: str, data: Path, *, on: bool, json: bool) -> Exit:
    import msgspec  # noqa: PLC0415

    from runners.wms_settings import editing  # noqa: PLC0415

    settings = settings_of(data)
    with usable(), editing(settings.path) as found:
        one = named(found, name, "WMS")
        found[found.index(one)] = msgspec.structs.replace(one, enabled=on)
    return switched(name, on=on, json=json)


@app.command(name="test")
def try_(name: WmsName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Try address and keys with a harmless question."""
    settings = settings_of(data)
    with usable():
        said = asyncio.run(_test(settings, _load_one(settings, name)))
    if json:
        print_json({"name": name, "said": said})
    else:
        show(f"好 good  {escape(name)}: {escape(said)}")
    return Exit.OK


@app.command
def compare(name: WmsName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Compare its stock with our ledger now, and record what differs (needs a running `up`). Puts nothing right."""
    settings = settings_of(data)
    with usable():
        compared = asyncio.run(_compare(settings, _load_one(settings, name)))
    if json:
        print_json([{**each._asdict(), "differ": [list(one) for one in each.differ]} for each in compared])
    else:
        for each in compared:
            made = table("SKU", "here", "there", title=f"warehouse {escape(each.warehouse)}", right=("here", "there"))
            for sku, here, there in each.differ[:SHOWN_MAX]:
                made.add_row(escape(sku), str(here), str(there))
            show(made, f"{len(each.differ):,} of {each.skus:,} SKUs differ")
    return Exit.REFUSED if any(each.differ for each in compared) else Exit.OK


async def _test(settings: "Settings", wms: "WmsSettings") -> str:
    from runners.wms_settings import client_of  # noqa: PLC0415

    client = client_of(settings.path, wms, _now_ms)
    try:
        return await client.check()
    finally:
        await client.close()


async def _compare(settings: "Settings", wms: "WmsSettings") -> "list[Compared]":
    from runners.bootstrap import open_log  # noqa: PLC0415
    from runners.commands.acting import person  # noqa: PLC0415
    from runners.post import Postman  # noqa: PLC0415
    from runners.wms_compare import compare as compare_all  # noqa: PLC0415
    from runners.wms_compare import record_of  # noqa: PLC0415
    from runners.wms_settings import client_of  # noqa: PLC0415

    client = client_of(settings.path, wms, _now_ms)
    log = open_log(settings, read_only=True)
    try:
        async with Postman(settings, name="orderspine-cli") as postman:
            compared = await compare_all(wms, client, log)
            await postman.send([record_of(wms, each, _now_ms(), person("operations")) for each in compared])
    finally:
        log.close()
        await client.close()
    return compared


def _load_one(settings: "Settings", name: str) -> "WmsSettings":
    from runners.wms_settings import load  # noqa: PLC0415

    return named(load(settings.path), name, "WMS")


def _pairs(given: Pairs, option: str) -> dict[str, str]:
    found = pairs(given, option)
    if not all(found.values()):
        raise Failure(Exit.USAGE, f"{option} must be NAME=VALUE")
    return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
