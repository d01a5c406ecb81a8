"""`payments`: the payment services that tell of payments; `record-payment`: what finance knows besides."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from runners.commands.acting import SENDING, Sending
from runners.commands.carriers import moment_of
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
from runners.commands.entries import merged, named, pairs, places, removed, usable
from runners.commands.fulfil import OrderName

ServiceName = Annotated[str, Parameter(name="NAME", help="Name of the service.")]

app = App(
    name="payments",
    help="Payment services: they tell of money that was paid or given back, at /payments/NAME of the gateway.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine payments add wxpay --channel miniprogram --shop wx0123456789abcdef --mchid 1900000109 \\\n"
        "    --key PUB_KEY_ID_01=/etc/orderspine/wxpay.pem --secret api_v3_key=file:/etc/orderspine/wxpay.key"
    ),
)


@app.command(name="list")
def list_(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """List the payment services; works without a running `up`."""
    import msgspec  # noqa: PLC0415

    from runners.services import PAYMENTS  # noqa: PLC0415

    with usable(Exit.REFUSED):
        found = PAYMENTS.load(settings_of(data).path)
    if json:
        print_json([msgspec.to_builtins(each) for each in found])
        return Exit.OK
    made = table("name", "kind", "orders of", "order number", "merchant", "keys", "state")
    for each in found:
        made.add_row(
            escape(each.name),
            each.kind,
            escape(f"{each.channel}:{each.shop}"),
            escape(each.order_no),
            escape(each.mchid),
            escape(", ".join(each.keys)),
            "on" if each.enabled else "off",
        )
    show(made)
    if not found:
        say("no payment service is heard yet: `orderspine payments add --help` says how")
    return Exit.OK


@app.command
def add(
    name: ServiceName,
    /,
    *,
    channel: Annotated[str | None, Parameter(help="Channel of the orders that are paid through it.")] = None,
    shop: Annotated[str | None, Parameter(help="Their shop.")] = None,
    mchid: Annotated[str | None, Parameter(help="Your number at the service; notices of others are refused.")] = None,
    order_no: Annotated[
        str | None, Parameter(help="How your order number is written as out_trade_no, {out_trade_no} unless said.")
    ] = None,
    suffix: Annotated[
        str | None, Parameter(help="A mark behind which a further payment of the same order has its own number.")
    ] = None,
    key: Annotated[
        tuple[str, ...],
        Parameter(name="--key", negative="", help="SERIAL=/path/to/key.pem: the service's certificate or public key."),
    ] = (),
    secret: Annotated[
        tuple[str, ...],
        Parameter(name="--secret", negative="", help="api_v3_key=env:VARIABLE or file:PATH. Never the secret itself."),
    ] = (),
    enabled: Annotated[bool | None, Parameter(help="Whether it is heard. So unless said.")] = None,
    replace: Annotated[bool, Parameter(negative="", help="Change the service of that name; the rest stays.")] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Hear a payment service. A running `up` notices within seconds."""
    import msgspec  # noqa: PLC0415

    from adapters import payments  # noqa: PLC0415
    from adapters.payments.settings import PaymentService  # noqa: PLC0415
    from runners.services import PAYMENTS, secrets_of  # noqa: PLC0415

    settings = settings_of(data)
    fields = {
        "channel": channel,
        "shop": shop,
        "mchid": mchid,
        "order_no": order_no,
        "suffix": suffix,
        "enabled": enabled,
    }
    said = {field: value for field, value in fields.items() if value is not None}
    keys = {serial: place and str(Path(place).expanduser().absolute()) for serial, place in pairs(key, "--key").items()}
    secrets = places(secret)
    with usable(Exit.REFUSED), PAYMENTS.editing(settings.path) as services:
        known = next((each for each in services if each.name == name), None)
        if known is not None and not replace:
            raise Failure(Exit.REFUSED, f"there is a service {name} already; --replace changes it")
        before = known or PaymentService(name, "", "")
        fresh = msgspec.structs.replace(
            before, **said, keys=merged(before.keys, keys), secrets=merged(before.secrets, secrets)
        )
        try:
            payments.connect(fresh, secrets_of(settings.path, fresh))
        except ValueError as error:
            raise Failure(Exit.REFUSED, str(error)) from error
        services[:] = [each for each in services if each is not known] + [fresh]
    if json:
        print_json(msgspec.to_builtins(fresh))
        return Exit.OK
    show(f"{'changed' if known else 'added'}: {escape(name)}; have it send its notices to /payments/{escape(name)}")
    return Exit.OK


@app.command
def remove(name: ServiceName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Hear a service no longer."""
    from runners.services import PAYMENTS  # noqa: PLC0415

    with usable(Exit.REFUSED), PAYMENTS.editing(settings_of(data).path) as services:
        services.remove(named(services, name, "payment service"))
    return removed(name, json=json)


def record_payment(
    order: OrderName,
    /,
    *,
    transaction: Annotated[str, Parameter(help="Number of the payment (of a refund: the refund's): it counts once.")],
    amount: Annotated[str, Parameter(help="For example 199.00.")],
    currency: Annotated[str, Parameter(help="Its currency, ISO 4217. Left out: the order's.")] = "",
    kind: Annotated[
        Literal["paid", "failed", "timed_out", "refunded", "refund_failed"], Parameter(help="What happened.")
    ] = "paid",
    payment: Annotated[str, Parameter(help="Of a refund: the payment it gives back.")] = "",
    at: Annotated[str, Parameter(help="When it was, for example 2026-03-01T10:00+08:00; now unless said.")] = "",
    sending: Sending = SENDING,
) -> Exit:
    """Record a payment or a refund that no service told of (a transfer, cash)."""
    from domain.money import BadMoney, minor  # noqa: PLC0415
    from domain.payments import RecordPayment  # noqa: PLC0415

    on = sending.on(order)
    currency = currency or on.currency()
    try:
        units = minor(amount, currency)
    except BadMoney as error:
        raise Failure(Exit.USAGE, f"--amount {amount[:40]!r}: {error}") from error
    body = RecordPayment(on.own, transaction, units, currency, kind, moment_of(at), "", payment)
    return on.send(body, "finance", "record-payment", f"{kind} {amount} {currency} of {order}")
