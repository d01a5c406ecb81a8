"""`processed`, `scan-out`, `ship`, `resolve`, `cancel`: what people do with an order. Answered after the commit."""

from typing import Annotated, Literal

from cyclopts import Parameter

from runners.commands.acting import act, command_id_of, interception_of, mail_of, order_of
from runners.commands.common import (
    DATA_DEFAULT,
    CommandIdOption,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    settings_of,
)
from runners.commands.lots import LotOption, lots_of

OrderName = Annotated[
    str, Parameter(name="ORDER", help="Its key, channel:shop:number, or just its number where only one order has it.")
]


AllocationOption = Annotated[
    str,
    Parameter(
        name="--allocation",
        help="Which of several: its id, its pick list's, or its warehouse's code; needed only where there are several.",
    ),
]


def processed(
    order: OrderName,
    /,
    *,
    allocation: AllocationOption = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """A processing area has done its work on an order's goods (engraved, cut to length …): they may leave."""
    from domain.order import ConfirmProcessing  # noqa: PLC0415

    settings = settings_of(data)
    key = order_of(settings, order)
    own = command_id_of(command_id)
    mail = mail_of(key, ConfirmProcessing(own, allocation), "keeper", "processed")
    return act(settings, mail, f"processing of {order}", json=json, command_id=own)


def scan_out(
    order: OrderName,
    /,
    *,
    tracking: Annotated[str, Parameter(help="The parcel's number, where it goes to the carrier at once.")] = "",
    carrier: Annotated[str, Parameter(help="Who carries it.")] = "",
    allocation: AllocationOption = "",
    lot: LotOption = (),
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """The warehouse scanned the goods of an order's pick list out."""
    from domain.order import ScanOut  # noqa: PLC0415

    if bool(tracking.strip()) is not bool(carrier.strip()):
        raise Failure(Exit.USAGE, "a parcel has a number and a carrier: give both --tracking and --carrier, or neither")
    lots = lots_of(lot)
    settings = settings_of(data)
    key = order_of(settings, order)
    own = command_id_of(command_id)
    mail = mail_of(key, ScanOut(own, tracking, carrier, allocation, lots), "keeper", "scan-out")
    return act(settings, mail, f"scan-out of {order}", json=json, command_id=own)


def ship(
    order: OrderName,
    /,
    *,
    tracking: Annotated[str, Parameter(help="The parcel's number.")],
    carrier: Annotated[str, Parameter(help="Who carries it.")],
    allocation: AllocationOption = "",
    lot: LotOption = (),
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """The parcel of an order went to the carrier."""
    from domain.order import Ship  # noqa: PLC0415

    if not tracking.strip() or not carrier.strip():
        raise Failure(Exit.USAGE, "--tracking and --carrier may not be empty: nobody could follow such a parcel")
    lots = lots_of(lot)
    settings = settings_of(data)
    key = order_of(settings, order)
    own = command_id_of(command_id)
    mail = mail_of(key, Ship(own, tracking, carrier, allocation, lots), "keeper", "ship")
    return act(settings, mail, f"shipment of {order} with {carrier} {tracking}", json=json, command_id=own)


def resolve(
    order: OrderName,
    interception: Annotated[str, Parameter(name="INTERCEPTION", help="Its id, or how it begins (`order` shows it).")],
    /,
    *,
    decision: Annotated[
        Literal["release", "cancel", "waive"],
        Parameter(help="Go on with the order; cancel it; or go on without gifts."),
    ],
    note: Annotated[str, Parameter(help="Why; it is recorded. Name no customer in it.")] = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Record a decision on an order's open interception."""
    from domain.order import ResolveInterception  # noqa: PLC0415

    settings = settings_of(data)
    key = order_of(settings, order)
    own = command_id_of(command_id)
    name = interception_of(settings, key, interception)
    mail = mail_of(key, ResolveInterception(own, name, decision, note), "operations", "resolve")
    return act(settings, mail, f"{decision} decided on {name} of {order}", json=json, command_id=own)


def cancel(
    order: OrderName,
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; it is recorded. Name no customer in it.")],
    line: Annotated[
        tuple[str, ...], Parameter(help="LINE=UNITS: only so many units of this line; may be given again.")
    ] = (),
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Cancel an order or units of its lines; what has left already becomes an after-sale."""
    from domain.order import CancelLines  # noqa: PLC0415

    lines = tuple(pair_of(text, "--line") for text in line)
    settings = settings_of(data)
    key = order_of(settings, order)
    own = command_id_of(command_id)
    mail = mail_of(key, CancelLines(own, lines, reason), "service", "cancel")
    return act(settings, mail, f"cancellation of {order}", json=json, command_id=own)


def pair_of(text: str, where: str, *, least: int = 1) -> tuple[str, int]:
    """Read `NAME=UNITS`, of `least` units or more.

    Raises:
        Failure: it is none.
    """
    from domain.stock import QUANTITY_MAX  # noqa: PLC0415

    name, sign, units = (part.strip() for part in text.rpartition("="))
    number = int(units) if units.isascii() and units.isdigit() and len(units) <= len(str(QUANTITY_MAX)) else -1
    if not sign or not name or not least <= number <= QUANTITY_MAX:
        raise Failure(
            Exit.USAGE,
            f"{where} {text[:80]!r}: write NAME=UNITS with a whole number from {least} to {QUANTITY_MAX:,}, "
            "for example SKU-1=3",
        )
    return name, number
