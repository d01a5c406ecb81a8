"""Which SKU a barcode is of: one table for the whole cell, since a label says the same in every warehouse.

A SKU may have several barcodes (of the piece, of an older label); a barcode is of one SKU.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import immutables
import msgspec

from domain.decider import Command, Decider, DomainError, Event, RefusedBefore
from domain.picking import CODE_MAX
from domain.stock import SKU_MAX

PAIRS_MAX = 2_000
"""Most barcodes of one message."""

Pairs = tuple[tuple[str, str], ...]
"""(barcode, SKU)."""


class SetBarcodes(Command, frozen=True):
    """Enter barcodes, or give entered ones another SKU."""

    command_id: str
    barcodes: Pairs


class RemoveBarcodes(Command, frozen=True):
    """Take barcodes out of the table."""

    command_id: str
    codes: tuple[str, ...]


class BarcodesSet(Event, frozen=True):
    """Barcodes were entered."""

    barcodes: Pairs
    """(barcode, SKU), as far as they are new."""
    command: str


class BarcodesRemoved(Event, frozen=True):
    """Barcodes were taken out."""

    codes: tuple[str, ...]
    command: str


class BarcodesRefused(Event, frozen=True):
    """A message broke a rule; nothing else happened."""

    what: str
    rule: str
    reason: str
    command: str = ""


class BadBarcode(DomainError):
    """A barcode or SKU that is empty, too long or contradicts another one of the same message."""


class NoSuchBarcode(DomainError):
    """The table has no such barcode."""


class MissingCommandId(DomainError):
    """Without an id of its author's a repeat could not be told from a new act."""


class WrongActor(DomainError):
    """A table of barcodes knows no such command."""


class Barcodes(msgspec.Struct, frozen=True):
    """The table."""

    table: "immutables.Map[str, str]" = immutables.Map()
    """Barcode → SKU."""
    commands: "immutables.Map[str, str]" = immutables.Map()
    """Id of each command that was handled → why it was refused; "" = it was not."""


def flaw_of(code: str, sku: str) -> str:
    """Return why a barcode or a SKU cannot be one; "" where both can."""
    for what, text, longest in (("barcode", code, CODE_MAX), ("SKU", sku, SKU_MAX)):
        if not text or text != text.strip() or len(text) > longest or not text.isprintable():
            return f"{text[:40]!r} is no {what}: it has 1 to {longest} characters, no blanks around it"
    return ""


def _set(command: SetBarcodes, state: Barcodes) -> Sequence[Event]:
    wanted: dict[str, str] = {}
    if not 0 < len(command.barcodes) <= PAIRS_MAX:
        raise BadBarcode(f"a message enters 1 to {PAIRS_MAX:,} barcodes, not {len(command.barcodes):,}")
    for code, sku in command.barcodes:
        if flaw := flaw_of(code, sku):
            raise BadBarcode(flaw)
        if wanted.setdefault(code, sku) != sku:
            raise BadBarcode(f"the barcode {code} is of two SKUs: {wanted[code]} and {sku}")
    fresh = tuple((code, sku) for code, sku in wanted.items() if state.table.get(code) != sku)
    return (BarcodesSet(fresh, command.command_id),) if fresh else ()


def _remove(command: RemoveBarcodes, state: Barcodes) -> Sequence[Event]:
    codes = tuple(code for code in dict.fromkeys(command.codes) if code in state.table)
    if not codes:
        raise NoSuchBarcode(f"the table has none of these barcodes: {', '.join(command.codes)[:200]}")
    return (BarcodesRemoved(codes, command.command_id),)


DECIDE: Mapping[type[Command], Callable[[Any, Barcodes], Sequence[Event]]] = {
    SetBarcodes: _set,
    RemoveBarcodes: _remove,
}


def decide(command: Command, state: Barcodes, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows; nothing for a command that was handled, or for what is so already.

    Raises:
        RefusedBefore: it was refused when it came first.
        DomainError: it breaks a rule.
    """
    del now_ms
    handler = DECIDE.get(type(command))
    if handler is None:
        raise WrongActor(f"{type(command).__name__} is nothing that a table of barcodes could do")
    command_id: str = getattr(command, "command_id", "")
    if not command_id:
        raise MissingCommandId("the message has no command id; its sender must give it one of its own")
    if command_id in state.commands:
        if state.commands[command_id]:
            raise RefusedBefore(state.commands[command_id])
        return ()
    return handler(command, state)


def _noted(state: Barcodes, table: "immutables.Map[str, str]", command: str, refused: str = "") -> Barcodes:
    return Barcodes(table, state.commands.set(command, refused) if command else state.commands)


def _removed(state: Barcodes, event: BarcodesRemoved) -> Barcodes:
    table = state.table
    for code in event.codes:
        if code in table:
            table = table.delete(code)
    return _noted(state, table, event.command)


EVOLVE: Mapping[type[Event], Callable[[Barcodes, Any], Barcodes]] = {
    BarcodesSet: lambda state, event: _noted(state, state.table.update(dict(event.barcodes)), event.command),
    BarcodesRemoved: _removed,
    BarcodesRefused: lambda state, event: _noted(state, state.table, event.command, event.reason),
}


def evolve(state: Barcodes, event: Event) -> Barcodes:
    """Return the table after the event."""
    return EVOLVE[type(event)](state, event)


barcodes = Decider(Barcodes(), decide, evolve)
