"""What came in on a channel and is no order's message: hints, things to ignore, refusals, bytes nobody understands.

One stream for each channel and shop, so that "nothing is lost" can be shown: whatever reached an edge ends either in an
order's stream or here, with its reason and the digest of its bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import immutables
import msgspec

from domain.decider import Command, Decider, DomainError, Event

SEEN_MAX = 10_000
"""How many digests are remembered to know repeats; older ones are recorded again when they come again."""
RECONCILED_KEYS_MAX = 1_000
"""Most streams that the record of a reconciliation names."""


class RecordAside(Command, frozen=True):
    """Something that is no order came in."""

    kind: Literal["hint", "ignored", "refused", "quarantined"]
    reason: str
    payload: str
    """Digest of the stored bytes, hex; doubles as identity."""
    order_no: str = ""
    message: str = ""
    """JSON of a message's body, where it was no raw bytes."""
    to: str = ""
    """Key of the actor that message was for."""


class RecordUnmatched(Command, frozen=True):
    """A cancellation whose order could not be found."""

    command_id: str
    what: str
    reason: str


class RecordReconciled(Command, frozen=True):
    """A span of a shop's past was compared with its platform; fields as in `IntakeReconciled`."""

    command_id: str
    connection: str
    start_ms: int
    end_ms: int
    found: int
    known: int
    missed: int
    changed: int
    fresh: int
    refused: int
    keys: tuple[str, ...] = ()
    reason: str = ""


class RecordStockCompared(Command, frozen=True):
    """A warehouse's own stock was compared with our ledger; fields as in `StockCompared`."""

    command_id: str
    warehouse: str
    compared: int
    differ: tuple[tuple[str, int, int], ...] = ()


class DiscardAside(Command, frozen=True):
    """A person gives quarantined bytes up (they stay stored), or says that they were sent again."""

    item: str
    reason: str


class IntakeHinted(Event, frozen=True):
    """A push named an order that must be fetched."""

    order_no: str
    reason: str
    payload: str


class IntakeIgnored(Event, frozen=True):
    """Understood, and nothing to do."""

    reason: str
    payload: str


class IntakeRefused(Event, frozen=True):
    """Understood to be no order; why, and what to do."""

    reason: str
    payload: str


class IntakeQuarantined(Event, frozen=True):
    """Not understood; the bytes are kept until somebody decides."""

    reason: str
    payload: str
    """Digest of the stored bytes, hex; the id of the mail where `message` holds it."""
    message: str = ""
    """JSON of a message's body, where it was no raw bytes."""
    to: str = ""
    """Key of the actor that message was for."""


class IntakeUnmatched(Event, frozen=True):
    """A cancellation without its order."""

    what: str
    reason: str
    command: str


class IntakeDiscarded(Event, frozen=True):
    """Quarantined bytes were given up or sent again."""

    item: str
    reason: str


class IntakeReconciled(Event, frozen=True):
    """A span of a shop's past was compared with its platform, and what had been missed was taken in."""

    connection: str
    """Name of the shop's connection."""
    start_ms: int
    """Span of the platform's modified time, UTC ms, its beginning."""
    end_ms: int
    """Its end."""
    found: int
    """Orders that the platform named."""
    known: int
    """Of them: known here as the platform has them."""
    missed: int
    """Of them: unknown here although they had been there when this time was pulled."""
    changed: int
    """Of them: known here, with a change that had gone unnoticed."""
    fresh: int
    """Of them: new or changed since the last pull, so that nobody has missed them."""
    refused: int
    """Of them: not to be taken as they are (refused or quarantined)."""
    command: str
    """Id of the act."""
    keys: tuple[str, ...] = ()
    """Streams of the missed and the changed ones, the first of them."""
    reason: str = ""
    """What it was asked for."""


class StockCompared(Event, frozen=True):
    """The stock of a warehouse that others run was compared with our ledger. Nothing was put right by it."""

    warehouse: str
    """Our code of it."""
    compared: int
    """SKUs that were looked at."""
    differ: tuple[tuple[str, int, int], ...] = ()
    """(SKU, units here, units there) where the two differ, the first of them."""
    differing: int = 0
    """SKUs that differ, in all."""
    command: str = ""
    """Id of the act."""


class NothingQuarantined(DomainError):
    """There are no quarantined bytes of that digest."""


class WrongActor(DomainError):
    """An intake knows no such command."""


class Intake(msgspec.Struct, frozen=True):
    """What is remembered of a channel's asides."""

    seen: "immutables.Map[str, int]" = immutables.Map()
    """Digest or command id → running number."""
    count: int = 0
    quarantined: "immutables.Map[str, str]" = immutables.Map()
    """Digest → reason, of the open ones."""


def _see(state: Intake, item: str) -> tuple["immutables.Map[str, int]", int]:
    count = state.count + 1
    seen = state.seen.set(item, count)
    if len(seen) > SEEN_MAX:
        seen = immutables.Map({key: number for key, number in seen.items() if number > count - SEEN_MAX // 2})
    return seen, count


def _seen(state: Intake, item: str) -> Intake:
    return Intake(*_see(state, item), state.quarantined)


def _quarantined(state: Intake, event: IntakeQuarantined) -> Intake:
    return Intake(*_see(state, event.payload), state.quarantined.set(event.payload, event.reason))


def _discarded(state: Intake, event: IntakeDiscarded) -> Intake:
    if event.item not in state.quarantined:
        return state
    return Intake(state.seen, state.count, state.quarantined.delete(event.item))


EVOLVE: Mapping[type[Event], Callable[[Intake, Any], Intake]] = {
    IntakeHinted: lambda state, event: _seen(state, event.payload),
    IntakeIgnored: lambda state, event: _seen(state, event.payload),
    IntakeRefused: lambda state, event: _seen(state, event.payload),
    IntakeQuarantined: _quarantined,
    IntakeUnmatched: lambda state, event: _seen(state, event.command),
    IntakeReconciled: lambda state, event: _seen(state, event.command),
    StockCompared: lambda state, event: _seen(state, event.command),
    IntakeDiscarded: _discarded,
}


def evolve(state: Intake, event: Event) -> Intake:
    """Return the state after the event."""
    return EVOLVE[type(event)](state, event)


def decide(command: Command, state: Intake, now_ms: int = 0) -> Sequence[Event]:
    """Return what is to be recorded; nothing for bytes that are remembered."""
    del now_ms
    match command:
        case RecordAside():
            known = command.payload in state.seen or command.payload in state.quarantined
            return () if known else (_aside(command),)
        case RecordUnmatched():
            if command.command_id in state.seen:
                return ()
            return (IntakeUnmatched(command.what, command.reason, command.command_id),)
        case RecordReconciled():
            if command.command_id in state.seen:
                return ()
            return (_reconciled(command),)
        case RecordStockCompared():
            if command.command_id in state.seen:
                return ()
            shown = command.differ[:RECONCILED_KEYS_MAX]
            return (StockCompared(command.warehouse, command.compared, shown, len(command.differ), command.command_id),)
        case DiscardAside():
            if command.item not in state.quarantined:
                raise NothingQuarantined(f"no quarantined bytes {command.item!r} in this intake")
            return (IntakeDiscarded(command.item, command.reason),)
    raise WrongActor(f"{type(command).__name__} is nothing that an intake could do")


def _aside(command: RecordAside) -> Event:
    if command.kind == "hint":
        return IntakeHinted(command.order_no, command.reason, command.payload)
    if command.kind == "ignored":
        return IntakeIgnored(command.reason, command.payload)
    if command.kind == "refused":
        return IntakeRefused(command.reason, command.payload)
    return IntakeQuarantined(command.reason, command.payload, command.message, command.to)


def _reconciled(command: RecordReconciled) -> IntakeReconciled:
    return IntakeReconciled(
        command.connection,
        command.start_ms,
        command.end_ms,
        command.found,
        command.known,
        command.missed,
        command.changed,
        command.fresh,
        command.refused,
        command.command_id,
        command.keys[:RECONCILED_KEYS_MAX],
        command.reason,
    )


intake = Decider(Intake(), decide, evolve)
