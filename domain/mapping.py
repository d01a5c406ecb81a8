"""The field mapping of a channel: which document is in force. One stream for each channel.

A change takes effect at its place in the mail: what comes behind it is read by it, what came before is not read anew
unless it is sent again. Version 0 is what ships with the channel.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from domain.decider import Command, Decider, DomainError, Event
from domain.handled import Handled
from domain.mapping_table import BadMapping, read_mapping


class ChangeMapping(Command, frozen=True):
    """Put another mapping in force."""

    command_id: str
    text: str
    """The whole document, TOML or JSON; "" = nothing is mapped."""
    reason: str
    """Why, for the record."""
    harmless: tuple[str, ...] = ()
    """Of the paths it reads, those that the channel itself declares to be nobody's."""


class MappingChanged(Event, frozen=True):
    """Another mapping is in force from here on."""

    version: int
    """From 1; orders name the one that they were read by."""
    text: str
    """The whole document."""
    digest: str
    """SHA-256 of the text, hex."""
    reason: str
    command: str


class MappingRefused(Event, frozen=True):
    """A message broke a rule; the mapping is as before."""

    what: str
    rule: str
    reason: str
    """What is wrong, with its line in the document."""
    command: str = ""


class RefusedMapping(DomainError):
    """The document cannot be a mapping."""


class MissingReason(DomainError):
    """A change that nobody explains is not made."""


class WrongActor(DomainError):
    """A mapping knows no such command."""


class InForce(msgspec.Struct, frozen=True, gc=False):
    """Which mapping is in force."""

    version: int = 0
    """0 = what ships with the channel."""
    digest: str = ""
    text: str = ""


SHIPPED = InForce()


class State(msgspec.Struct, frozen=True, gc=False):
    """A channel's mapping."""

    in_force: InForce = SHIPPED
    handled: Handled = Handled()


def decide(command: Command, state: State, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows; nothing for a command that was handled, or for the document that is in force.

    Raises:
        RefusedBefore: it was refused when it came first.
        DomainError: it breaks a rule.
    """
    del now_ms
    if not isinstance(command, ChangeMapping):
        raise WrongActor(f"{type(command).__name__} is nothing that a mapping could do")
    if state.handled.has(command.command_id):
        return ()
    if not command.reason.strip():
        raise MissingReason("say why the mapping is changed")
    try:
        read_mapping(command.text, command.harmless)
    except BadMapping as error:
        raise RefusedMapping(str(error)) from None
    digest = sha256(command.text.encode("utf-8", "surrogatepass")).hexdigest()
    if digest == state.in_force.digest:
        return ()
    version = state.in_force.version + 1
    return (MappingChanged(version, command.text, digest, command.reason, command.command_id),)


def _changed(state: State, event: MappingChanged) -> State:
    in_force = InForce(event.version, event.digest, event.text)
    return State(in_force, state.handled.with_(event.command))


def _refused(state: State, event: MappingRefused) -> State:
    return State(state.in_force, state.handled.with_(event.command, event.reason))


EVOLVE: Mapping[type[Event], Callable[[State, Any], State]] = {MappingChanged: _changed, MappingRefused: _refused}


def evolve(state: State, event: Event) -> State:
    """Return the state after the event."""
    return EVOLVE[type(event)](state, event)


mapping = Decider(State(), decide, evolve)
