"""What a warehouse says it packed and sent for a pick list, and how that differs from what it was asked for.

Goods that have left have left: a confirmation is never refused for what it says. It is recorded whole, and where it is
not what was asked for, people look at it before the order counts as shipped.
"""

from collections.abc import Iterable

import msgspec

from domain.decider import Command, Event

Quantities = tuple[tuple[str, int], ...]
"""(SKU, units) pairs."""


class Packed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A parcel as the warehouse packed it."""

    carrier: str
    tracking: str
    """"" where goods left without a number."""
    lines: Quantities = ()
    """(SKU, units) in it; empty = the warehouse does not say."""


class ConfirmDelivery(Command, frozen=True):
    """A warehouse says what has left for a pick list."""

    command_id: str
    pick_list: str
    allocation: str
    parcels: tuple[Packed, ...]
    packed: Quantities
    """(SKU, units) that left, in all parcels of this message."""
    final: bool = True
    """Whether nothing more will follow; quantities of several messages add up."""
    reference: str = ""
    """The warehouse's own number of it."""


class DeliveryConfirmed(Event, frozen=True):
    """A warehouse said what has left for a pick list. `packed` are (SKU, units)."""

    pick_list: str
    allocation: str
    parcels: tuple[Packed, ...]
    packed: Quantities
    final: bool = True
    """Whether the warehouse says that nothing more will follow."""
    reference: str = ""
    """The warehouse's own number of it."""
    command: str = ""


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """All that has been confirmed for one pick list."""

    pick_list: str
    messages: tuple[tuple[tuple[Packed, ...], Quantities], ...] = ()
    """(parcels, packed) of each message."""
    final: bool = False

    @property
    def parcels(self) -> tuple[Packed, ...]:
        """All parcels."""
        return tuple(parcel for parcels, _ in self.messages for parcel in parcels)

    @property
    def packed(self) -> Quantities:
        """(SKU, units) of all messages together."""
        return summed(line for _, packed in self.messages for line in packed)


def added(known: tuple[Delivered, ...], event: DeliveryConfirmed) -> tuple[Delivered, ...]:
    """Return what has been confirmed, with one message more."""
    before = of_pick_list(known, event.pick_list)
    messages = (*before.messages, (event.parcels, event.packed))
    after = Delivered(event.pick_list, messages, before.final or event.final)
    return (*(each for each in known if each.pick_list != event.pick_list), after)


def of_pick_list(known: tuple[Delivered, ...], pick_list: str) -> Delivered:
    """Return what has been confirmed for a pick list so far."""
    return next((each for each in known if each.pick_list == pick_list), Delivered(pick_list))


def is_repeat(known: Delivered, command: ConfirmDelivery) -> bool:
    """Whether a message says, under another id, what was said before.

    Parcels have numbers of their own; where there is none, two like messages are two parts of one delivery until it is
    final.
    """
    told = (command.parcels, summed(command.packed)) in known.messages
    return told and (known.final or any(parcel.tracking for parcel in command.parcels))


def differences(asked: Quantities, packed: Quantities) -> tuple[tuple[str, int, int], ...]:
    """Return (SKU, units asked for, units packed) where the two differ."""
    wanted, got = dict(summed(asked)), dict(summed(packed))
    return tuple(
        (sku, wanted.get(sku, 0), got.get(sku, 0))
        for sku in sorted(wanted.keys() | got.keys())
        if wanted.get(sku, 0) != got.get(sku, 0)
    )


def summed(lines: Iterable[tuple[str, int]]) -> Quantities:
    """Return units added up by SKU, in the order of the SKUs; without those of which there are none."""
    total: dict[str, int] = {}
    for sku, units in lines:
        total[sku] = total.get(sku, 0) + units
    return tuple((sku, units) for sku, units in sorted(total.items()) if units)
