"""Which keys were destroyed, and destroying them again: after a restore, and wherever old keys were brought back.

Two records say it. The log: what it says to be forgotten has no key, whatever a restored store of keys holds. And a
register beside the signed checkpoints, outside the data directory: a backup that was made before a person was forgotten
knows nothing of it, and its copy of the keys opens everything again. Neither holds anything personal.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from adapters.storage.vault import KeysHeld
from domain.catalogue import decode_event
from domain.cell import DECIDERS, Held, Message, Missing, run_turn
from domain.decider import fold
from domain.envelope import By, decode_envelope
from domain.ids import PRIVACY_KEY, RULEBOOK_KEY, kind_of
from domain.mail import Mail
from domain.ports import LogDamaged
from domain.privacy import ForgettingAsked, RepeatForgetting, streams_of
from runners.settings_file import write_durably

if TYPE_CHECKING:
    from adapters.storage.vault import DestroyingVault
    from domain.ports import EventLog, Recorded

KEYS_AT_ONCE = 500


class Erasure(msgspec.Struct, frozen=True):
    """A line of the register: a person was forgotten."""

    asked: ForgettingAsked
    at_ms: int
    """When it was asked for, UTC ms."""


_line = msgspec.json.Decoder(Erasure)


class RegisterDamaged(LogDamaged):
    """The register cannot be read: which line."""


def register_of(folder: Path, cell: str) -> Path:
    """Return the register's file in a folder of checkpoints."""
    return folder / f"erasures-{cell}.jsonl"


def registered(file: Path) -> list[Erasure]:
    """Return what a register says; nothing where there is none.

    Raises:
        RegisterDamaged: a line of it cannot be read.
    """
    if not file.exists():
        return []
    found = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            found.append(_line.decode(line))
        except msgspec.MsgspecError as error:
            raise RegisterDamaged(f"{file}, line {number} cannot be read: bring back a copy of it") from error
    return found


def register(file: Path, *erasures: Erasure) -> None:
    """Write what the register does not say yet, durably and once; a crash leaves the old register or the new one."""
    known = registered(file)
    said = {each.asked.request: each for each in known}
    for each in erasures:
        said.setdefault(each.asked.request, each)
    if len(said) > len(known):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_durably(file, b"".join(msgspec.json.encode(each) + b"\n" for each in said.values()))


def erasures_in(log: "EventLog") -> list[Erasure]:
    """Return every request of a log to forget a person, in order."""
    loaded = log.select_many([PRIVACY_KEY]).get(PRIVACY_KEY)
    facts = [(decode_event(each.tag, each.data), each.envelope) for each in loaded.events] if loaded else []
    return [Erasure(fact, decode_envelope(by).at) for fact, by in facts if isinstance(fact, ForgettingAsked)]


def asked_in(log: "EventLog") -> list[ForgettingAsked]:
    """Return what every such request asks for, in order."""
    return [each.asked for each in erasures_in(log)]


def destroy(vault: "DestroyingVault", asked: Iterable[ForgettingAsked]) -> int:
    """Destroy the keys of these requests that are there; return how many there were. Harmless when done twice.

    Raises:
        KeysHeld: all are destroyed, but the bytes of some could not be taken out of the store yet: destroy again.
    """
    streams = [stream for each in asked for stream in streams_of(each)]
    there = 0
    held: KeysHeld | None = None
    for at in range(0, len(streams), KEYS_AT_ONCE):
        try:
            there += vault.destroy(streams[at : at + KEYS_AT_ONCE])
        except KeysHeld as error:
            held = error
    if held is not None:
        raise held
    return there


def destroy_again(log: "EventLog", vault: "DestroyingVault") -> int:
    """Destroy what the log says is destroyed, where old keys were brought back; return how many keys there were."""
    held = [each for each in asked_in(log) if vault.keys(streams_of(each), create=False)]
    return destroy(vault, held)


def repeat(log: "EventLog", erasures: Sequence[Erasure], at_ms: int) -> int:
    """Record in a restored log, before anybody serves it, who was forgotten after its backup; return how many were.

    Each is recorded as it was asked for, whatever state its orders are in here. The keys are not touched.
    """
    known = {each.request for each in asked_in(log)}
    fresh = [each for each in erasures if each.asked.request not in known]
    for number, each in enumerate(fresh, 1):
        _append(log, each.asked, f"{log.tracked().generation}-{number}", at_ms)
    return len(fresh)


def repeat_all(log: "EventLog", given: Path, own: Path) -> int:
    """Repeat what a register says, and complete a log's `own` by both: older copies of the keys are held against it.

    Returns how many were fresh to the log. Raises RegisterDamaged: one of the two cannot be read.
    """
    known = registered(given)
    fresh = repeat(log, known, time.time_ns() // 1_000_000)
    register(own, *known, *erasures_in(log))
    return fresh


def _append(log: "EventLog", asked: ForgettingAsked, message: str, at_ms: int) -> None:
    body = RepeatForgetting(
        asked.request,
        asked=asked.asked,
        reason=asked.reason,
        orders=asked.orders,
        buyers=asked.buyers,
        asides=asked.asides,
    )
    by = By("person", asked.who, asked.role)
    # A command that never travels: the mail around it gives it time and author.
    mail = msgspec.structs.replace(Mail(PRIVACY_KEY, None, at_ms, by, "restore"), body=body)  # type: ignore[arg-type]
    states: dict[str, Held] = {}
    wanted: Sequence[str] = (PRIVACY_KEY, RULEBOOK_KEY)
    while True:
        found = log.select_many(wanted, snapshots=False)
        for stream in wanted:
            events = found[stream].events if stream in found else ()
            states[stream] = _held(stream, events)
        try:
            turn = run_turn(Message(message, at_ms, mail), states)
        except Missing as missing:
            wanted = missing.streams
        else:
            log.append(turn.records)
            return


def _held(stream: str, events: "Sequence[Recorded]") -> Held:
    decider = DECIDERS[kind_of(stream)]
    return Held(len(events), fold(decider, [decode_event(each.tag, each.data) for each in events]))
