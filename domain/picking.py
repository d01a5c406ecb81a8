"""Scan-verified picking: each unit of an allocation is scanned, and what the pick list does not want is told at once.

A scan that is wrong moves nothing and is recorded as a pick error, so that errors can be counted by person and SKU. An
allocation is *verified* while exactly its goods are scanned: units that are cancelled after their scan must be put back
and scanned back before it is verified again.
"""

import re

from domain.decider import Command, DomainError, Event
from domain.stock import QUANTITY_MAX

Quantities = tuple[tuple[str, int], ...]
"""(SKU, units) pairs."""

CODE_MAX = 80
"""Longest code that is taken for one, in characters; what is longer is the label of a parcel, or a whole page."""
_PLAIN = re.compile(r"[A-Za-z0-9._/+-]{1,40}")
_MOBILE = re.compile(r"(?:\+?86)?1[3-9][0-9]{9}")
WANTED_SHOWN_MAX = 20
"""Most SKUs that a pick error lists as wanted."""


# --- commands


class ScanItem(Command, frozen=True):
    """Goods were scanned into the parcel of an allocation."""

    command_id: str
    code: str
    """SKU, or a barcode of it."""
    allocation: str = ""
    """As in `domain.order.ScanOut`."""
    units: int = 1
    lot: str = ""
    """Production lot, where it is told."""
    sku: str = ""
    """In-turn: what the table of barcodes says the code is; whatever a message says here is not looked at."""


class UnscanItem(Command, frozen=True):
    """Scanned goods were put back on the shelf."""

    command_id: str
    code: str
    allocation: str = ""
    """As in `domain.order.ScanOut`."""
    units: int = 1
    sku: str = ""
    """As in `ScanItem`."""


# --- events


class ItemScanned(Event, frozen=True):
    """Goods that the pick list wants were scanned."""

    allocation: str
    sku: str
    units: int
    left: int
    """Units of the SKU still to be scanned."""
    open: int
    """Units of all SKUs still to be scanned; 0 = the allocation is verified."""
    command: str
    code: str = ""
    """What was scanned, where it is not the SKU itself."""
    lot: str = ""


class ItemUnscanned(Event, frozen=True):
    """Scanned goods went back on the shelf."""

    allocation: str
    sku: str
    units: int
    left: int
    """As in `ItemScanned`."""
    open: int
    """As in `ItemScanned`."""
    command: str
    code: str = ""


class PickError(Event, frozen=True):
    """What was scanned is not what the pick list wants; nothing else happened. Who it was, is in the envelope."""

    allocation: str
    error: str
    """`wrong_item`, or `too_many` of a right one."""
    code: str
    """What was scanned; of what nobody knows and might be anything (a label with a customer's data), only its form."""
    sku: str
    """What it is, as far as it is known."""
    units: int
    wanted: Quantities
    """(SKU, units) still to be scanned; the first of them, where they are many."""
    reason: str
    """For who scanned it."""
    command: str


# --- refusals


class BadScan(DomainError):
    """A code or a number of units that no scan can have."""


class NotScanned(DomainError):
    """So many units of it were not scanned, so they cannot be put back."""


class NotVerified(DomainError):
    """The warehouse lets goods leave only when exactly what its pick list wants is scanned."""


# --- questions and decisions


def left_of(lines: Quantities, scanned: Quantities) -> Quantities:
    """Return (SKU, units) that are still to be scanned."""
    have = dict(scanned)
    return tuple((sku, left) for sku, units in lines if (left := units - have.get(sku, 0)) > 0)


def surplus_of(lines: Quantities, scanned: Quantities) -> Quantities:
    """Return (SKU, units) that were scanned and are wanted no longer."""
    return left_of(scanned, lines)


def require_verified(lines: Quantities, scanned: Quantities) -> None:
    """Let exactly what is wanted pass.

    Raises:
        NotVerified: something is not scanned yet, or is to be put back.
    """
    left, surplus = left_of(lines, scanned), surplus_of(lines, scanned)
    if left or surplus:
        told = (("scan", left), ("put back and scan back", surplus))
        raise NotVerified("first " + "; ".join(f"{verb} {_spelled(what)}" for verb, what in told if what))


def scan(command: ScanItem, allocation: str, lines: Quantities, scanned: Quantities) -> tuple[ItemScanned | PickError]:
    """Return what a scan means for an allocation of these lines, of which so much is scanned already.

    Raises:
        BadScan: it is no scan.
    """
    sku = _checked(command)
    before = left_of(lines, scanned)
    wanted = dict(before)
    left = wanted.get(sku, 0) - command.units
    if left >= 0:
        rest = sum(wanted.values()) - command.units
        code = command.code if command.code != sku else ""
        return (ItemScanned(allocation, sku, command.units, left, rest, command.command_id, code, command.lot),)
    on_list = any(sku == each for each, _ in lines)
    known = command.sku or (sku if on_list else "")
    code = command.code if known else _form(command.code)
    what = f"{code} is {known}" if known not in ("", code) else code
    if on_list:
        error, told = "too_many", f"{what}: {command.units} scanned, {wanted.get(sku, 0)} wanted; leave the rest"
    else:
        error, told = "wrong_item", f"{what}: it is not on the pick list; put it back"
    shown = before[:WANTED_SHOWN_MAX]
    reason = f"{told}. Still wanted: {_spelled(shown) if shown else 'nothing, all of it is scanned'}"
    return (PickError(allocation, error, code, known, command.units, shown, reason, command.command_id),)


def unscan(command: UnscanItem, allocation: str, lines: Quantities, scanned: Quantities) -> tuple[ItemUnscanned]:
    """Return what it means that scanned goods were put back.

    Raises:
        BadScan: it is no scan.
        NotScanned: there are not so many of them.
    """
    sku = _checked(command)
    have = dict(scanned).get(sku, 0)
    if have < command.units:
        told = command.code if have or command.sku else _form(command.code)
        raise NotScanned(f"{command.units} × {told} cannot be put back: {have} scanned; check the code")
    left = dict(left_of(lines, taken(scanned, sku, -command.units)))
    code = command.code if command.code != sku else ""
    back = (sku, command.units, left.get(sku, 0), sum(left.values()))
    return (ItemUnscanned(allocation, *back, command.command_id, code),)


def taken(scanned: Quantities, sku: str, units: int) -> Quantities:
    """Return what is scanned after so many more (or fewer) units of a SKU."""
    total = dict(scanned)
    total[sku] = total.get(sku, 0) + units
    return tuple((each, number) for each, number in total.items() if number)


def _checked(command: ScanItem | UnscanItem) -> str:
    """Return the SKU that a scan is of; the code itself where no table knows it."""
    code = command.code
    if not code or code != code.strip() or len(code) > CODE_MAX or not code.isprintable():
        raise BadScan(f"that is no code: one has 1 to {CODE_MAX} characters, without blanks around them")
    if not 0 < command.units <= QUANTITY_MAX:
        raise BadScan(f"{command.units} units cannot be scanned; one scan is of 1 to {QUANTITY_MAX:,}")
    return command.sku or code


def _form(code: str) -> str:
    """Return a code that nobody knows, as far as nothing personal can be in it."""
    if _PLAIN.fullmatch(code) and not _MOBILE.fullmatch(code):
        return code
    return f"{code[0]}… ({len(code)} characters)"


def _spelled(lines: Quantities) -> str:
    return ", ".join(f"{units} × {sku}" for sku, units in lines)[:200]
