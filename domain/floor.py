"""What an order asks of the warehouse floor before it decides: which SKU a code is, and whether scans are demanded.

Both stand with other actors of the cell, so the turn looks them up and fills them into the command; whatever a message
says there itself counts for nothing.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from domain.decider import Command, DomainError
from domain.ids import BARCODES_KEY, warehouse_key
from domain.order import Order, ScanOut, Ship, allocation_of
from domain.picking import ScanItem, UnscanItem

_replace = msgspec.structs.replace

ASKING: frozenset[type[Any]] = frozenset({ScanItem, UnscanItem, ScanOut, Ship})
"""Commands that ask."""


def informed(command: Any, state: Any, state_of: Callable[[str], Any]) -> Command:
    """Return a command of `ASKING` with its answers; `state_of` returns the state of another actor of the cell."""
    told: Command
    if isinstance(command, ScanItem | UnscanItem):
        told = _replace(command, sku=state_of(BARCODES_KEY).table.get(command.code, ""))
    else:
        told = _replace(command, verify=_demanded(command, state, state_of))
    return told


def _demanded(command: ScanOut | Ship, state: Any, state_of: Callable[[str], Any]) -> bool:
    if not isinstance(state, Order):
        return False
    try:
        allocation = allocation_of(state, command.allocation)
    except DomainError:
        return False  # no goods can leave; the order says why
    verified: bool = state_of(warehouse_key(allocation.warehouse)).floor.verified
    return verified
