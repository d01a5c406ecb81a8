"""`processed`, `scan-out`, `ship`, `resolve`, `cancel`: what people do with an order. Answered after the commit."""

from typing import Annotated, Literal

from cyclopts import Parameter

from runners.commands.acting import SENDING, Sending, interception_of
from runners.commands.common import Exit, Failure, not_blank
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
    sending: Sending = SENDING,
) -> Exit:
    """A processing area has done its work on an order's goods (engraved, cut to length …): they may leave."""
    from domain.order import ConfirmProcessing  # noqa: PLC0415

    on = sending.on(order)
    return on.send(ConfirmProcessing(on.own, allocation), "keeper", "processed", f"processing of {order}")


def scan_out(
    order: OrderName,
    /,
    *,
    tracking: Annotated[str, Parameter(help="The parcel's number, where it goes to the carrier at once.")] = "",
    carrier: Annotated[str, Parameter(help="Who carries it.")] = "",
    allocation: AllocationOption = "",
    lot: LotOption = (),
    sending: Sending = SENDING,
) -> Exit:
    """The warehouse scanned the goods of an order's pick list out."""
    from domain.order import ScanOut  # noqa: PLC0415

    if bool(tracking.strip()) is not bool(carrier.strip()):
        raise Failure(Exit.USAGE, "a parcel has a number and a carrier: give both --tracking and --carrier, or neither")
    lots = lots_of(lot)
    on = sending.on(order)
    return on.send(ScanOut(on.own, tracking, carrier, allocation, lots), "keeper", "scan-out", f"scan-out of {order}")


def ship(
    order: OrderName,
    /,
    *,
    tracking: Annotated[str, Parameter(help="The parcel's number.")],
    carrier: Annotated[str, Parameter(help="Who carries it.")],
    allocation: AllocationOption = "",
    lot: LotOption = (),
    sending: Sending = SENDING,
) -> Exit:
    """The parcel of an order went to the carrier."""
    from domain.order import Ship  # noqa: PLC0415

    if not tracking.strip() or not carrier.strip():
        raise Failure(Exit.USAGE, "--tracking and --carrier may not be empty: nobody could follow such a parcel")
    lots = lots_of(lot)
    on = sending.on(order)
    body = Ship(on.own, tracking, carrier, allocation, lots)
    return on.send(body, "keeper", "ship", f"shipment of {order} with {carrier} {tracking}")


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
    sending: Sending = SENDING,
) -> Exit:
    """Record a decision on an order's open interception."""
    from domain.order import ResolveInterception  # noqa: PLC0415

    on = sending.on(order)
    name = interception_of(on.settings, on.key, interception)
    body = ResolveInterception(on.own, name, decision, note)
    return on.send(body, "operations", "resolve", f"{decision} decided on {name} of {order}")


def cancel(
    order: OrderName,
    /,
    *,
    reason: Annotated[str, Parameter(validator=not_blank, help="Why; it is recorded. Name no customer in it.")],
    line: Annotated[
        tuple[str, ...], Parameter(help="LINE=UNITS: only so many units of this line; may be given again.")
    ] = (),
    sending: Sending = SENDING,
) -> Exit:
    """Cancel an order or units of its lines; what has left already becomes an after-sale."""
    from domain.order import CancelLines  # noqa: PLC0415

    lines = tuple(pair_of(text, "--line") for text in line)
    on = sending.on(order)
    return on.send(CancelLines(on.own, lines, reason), "service", "cancel", f"cancellation of {order}")


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
