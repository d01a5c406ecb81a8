"""`receivers`: who is told of what happened, and by which way; and whether the way works."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

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
from runners.commands.entries import named, pairs, places, removed, usable

if TYPE_CHECKING:
    from adapters.notify.receivers import Receiver
    from domain.notices import Note
    from runners.settings import Settings

app = App(
    name="receivers",
    help="Who is told of what happened, and by which way. A running `up` notices changes within a second.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine receivers add operations --kind dingtalk --secret url=file:/etc/orderspine/ops.url \\\n"
        "    --secret sign=file:/etc/orderspine/ops.sign --number 13800000000\n"
        "  orderspine receivers add customer --kind sms --option access_key_id=LTAI0000 --option sign_name=某店 \\\n"
        "    --secret access_key_secret=file:/etc/orderspine/sms.secret --template shipped=SMS_1:no=order_no\n"
        "  orderspine receivers test operations"
    ),
)

ReceiverName = Annotated[str, Parameter(name="NAME", help="Name of the receiver.")]
Many = tuple[str, ...]
ROLES = ("operations", "service", "finance", "keeper")
"""Roles that events name by themselves."""


@app.command(name="list")
def list_(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """List the receivers, and which roles have none; works without a running `up`."""
    import msgspec  # noqa: PLC0415

    from runners.receivers import load  # noqa: PLC0415

    settings = settings_of(data)
    with usable():
        told = load(settings.path)
    words = {word for each in told.receivers if each.enabled for word in (each.name, *each.roles)}
    nobody = [role for role in ROLES if role not in words]
    if json:
        print_json({"receivers": msgspec.to_builtins(told.receivers), "link": told.link, "roles_without": nobody})
        return Exit.OK
    made = table("name", "kind", "roles", "goes to", "state")
    for each in told.receivers:
        people = len(each.numbers) + len(each.addresses)
        where = each.url or ("the robot's group" if not each.numbers or each.kind != "sms" else "")
        goes = "the order's own number" if each.name == "customer" else where + (f", {people} people" if people else "")
        made.add_row(
            escape(each.name), each.kind, escape(", ".join(each.roles)), escape(goes), "on" if each.enabled else "off"
        )
    show(made)
    if nobody:
        say(f"nobody is told of what {', '.join(nobody)} should see: `orderspine receivers add --help`")
    return Exit.OK


@app.command
def add(
    name: ReceiverName,
    /,
    *,
    kind: Annotated[str, Parameter(help="dingtalk, wecom, feishu, webhook, email or sms.")],
    url: Annotated[
        str, Parameter(help="webhook: its address; email: smtp://HOST:PORT or smtps://HOST:PORT. Robots: a secret.")
    ] = "",
    role: Annotated[Many, Parameter(name="--role", negative="", help="A role it stands for beside its name.")] = (),
    number: Annotated[
        Many,
        Parameter(
            name="--number", negative="", help="sms: who gets it; dingtalk, wecom: who is mentioned; feishu: ou_… ids."
        ),
    ] = (),
    address: Annotated[Many, Parameter(name="--address", negative="", help="email: who gets it.")] = (),
    format: Annotated[str, Parameter(name="--format", help="dingtalk, wecom: text or markdown.")] = "text",  # noqa: A002
    option: Annotated[Many, Parameter(name="--option", negative="", help="A setting of the kind, NAME=VALUE.")] = (),
    template: Annotated[
        Many,
        Parameter(
            name="--template",
            negative="",
            help="sms: RULE=CODE, and RULE=CODE:PLACE=PLACEHOLDER,… where it has places; * is every rule without one.",
        ),
    ] = (),
    secret: Annotated[
        Many,
        Parameter(
            name="--secret",
            negative="",
            help="Where a secret is found, NAME=env:VARIABLE or NAME=file:PATH (chmod 600). Never the secret itself.",
        ),
    ] = (),
    enabled: Annotated[bool, Parameter(help="Whether it is told anything.")] = True,
    replace: Annotated[
        bool, Parameter(negative="", help="Put it in the place of the one of that name, whole.")
    ] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Write down who can be told. Only what can work is written; say `receivers test` to try it."""
    import msgspec  # noqa: PLC0415

    from adapters.notify.receivers import Receiver, check  # noqa: PLC0415
    from runners.receivers import editing  # noqa: PLC0415

    settings = settings_of(data)
    fields: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "roles": role,
        "url": url,
        "format": format,
        "numbers": number,
        "addresses": address,
        "options": pairs(option, "--option"),
        "templates": {rule: _template(text) for rule, text in pairs(template, "--template").items()},
        "secrets": places(secret),
        "enabled": enabled,
    }
    try:
        fresh = msgspec.convert(fields, Receiver)
    except msgspec.ValidationError as error:
        raise Failure(Exit.USAGE, f"receiver {name}: {error}") from error
    with usable():
        check(fresh)
        with editing(settings.path) as told:
            known = next((each for each in told.receivers if each.name == name), None)
            if known is not None and not replace:
                raise Failure(Exit.REFUSED, f"there is a receiver {name} already; --replace puts this one in its place")
            told.receivers = [each for each in told.receivers if each is not known] + [fresh]
    if json:
        print_json({"receiver": msgspec.to_builtins(fresh), "replaced": known is not None})
        return Exit.OK
    show(f"{'changed' if known else 'added'}: {escape(name)} ({fresh.kind})")
    say(f"`orderspine receivers test {name}` tells it something")
    return Exit.OK


@app.command
def remove(name: ReceiverName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Forget a receiver. What it was told stays recorded."""
    from runners.receivers import editing  # noqa: PLC0415

    settings = settings_of(data)
    with usable(), editing(settings.path) as told:
        told.receivers.remove(named(told.receivers, name, "receiver"))
    return removed(name, json=json)


@app.command(name="test")
def try_(
    name: ReceiverName,
    /,
    *,
    number: Annotated[str, Parameter(help="customer: the phone that the test goes to.")] = "",
    rule: Annotated[str, Parameter(help="sms: the rule whose template is tried.")] = "test",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Tell a receiver that this is a test, and say what came back; works without a running `up`."""
    from domain.notices import CUSTOMER  # noqa: PLC0415
    from runners.receivers import load  # noqa: PLC0415

    settings = settings_of(data)
    with usable():
        receiver = named(load(settings.path).receivers, name, "receiver")
    if (name == CUSTOMER) != bool(number):
        raise Failure(Exit.USAGE, f"--number goes with {CUSTOMER}, and with nobody else: it is the phone of a test")
    with usable():
        reference = asyncio.run(_tried(settings, receiver, rule, number))
    if json:
        print_json({"name": name, "reference": reference})
    else:
        show(f"taken: {escape(name)}" + (f" (its number for it: {escape(reference)})" if reference else ""))
    return Exit.OK


@app.command
def link(
    address: Annotated[str, Parameter(name="ADDRESS", help="With {order} where the order's name goes; '' = none.")],
    /,
    *,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Say where an order's page is, for the links in notes."""
    from runners.receivers import editing  # noqa: PLC0415

    settings = settings_of(data)
    with usable(), editing(settings.path) as told:
        told.link = address
    if json:
        print_json({"link": address})
    else:
        show(f"links lead to {escape(address)}" if address else "notes have no links")
    return Exit.OK


async def _tried(settings: "Settings", receiver: "Receiver", rule: str, number: str) -> str:
    from adapters.notify import notifier  # noqa: PLC0415
    from domain.platforms import OutcomeUnknown  # noqa: PLC0415
    from runners.receivers import keys_of  # noqa: PLC0415

    try:
        way = notifier(receiver, keys_of(settings.path, receiver), _now_ms)
    except ValueError as error:
        raise Failure(Exit.REFUSED, f"the address (or a secret) of receiver {receiver.name}: {error}") from error
    try:
        return await way.send(_test_note(receiver.name, rule), (number,) if number else ())
    except OutcomeUnknown as error:
        raise Failure(Exit.REFUSED, f"{error.reason}: look whether the test arrived") from error
    finally:
        await way.close()


def _test_note(receiver: str, rule: str) -> "Note":
    import secrets  # noqa: PLC0415

    from domain.notices import PLACEHOLDERS, Note  # noqa: PLC0415

    return Note(
        secrets.token_hex(16),
        rule,
        "test",
        receiver,
        "OrderSpine 测试 test",
        "这是一条测试消息。This is a test; there is nothing to do.",
        dict.fromkeys(PLACEHOLDERS, "test"),
        _now_ms(),
    )


def _template(text: str) -> dict[str, Any]:
    code, _, places = text.partition(":")
    params = pairs(tuple(each for each in places.split(",") if each), "--template RULE=CODE:PLACE=PLACEHOLDER")
    return {"code": code.strip(), "params": params}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
