"""The rule book: which rules are in force. One stream for the whole cell.

A change takes effect at its place in the mail: orders that come behind it are judged by it, what was ruled before stays
as it was ruled. Version 0 is what ships: no rules.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from domain.decider import Command, Decider, DomainError, Event
from domain.handled import Handled
from domain.rule_parts import Book
from domain.rule_table import BadRules, read_rules


class ChangeRules(Command, frozen=True):
    """Put another rule book in force."""

    command_id: str
    text: str
    """The whole document, TOML or JSON; "" = no rules."""
    reason: str
    """Why, for the record."""


class RulesChanged(Event, frozen=True):
    """Another rule book is in force from here on."""

    version: int
    """From 1; rulings name the one that they were made by."""
    text: str
    """The whole document."""
    digest: str
    """SHA-256 of the text, hex."""
    reason: str
    command: str


class RulesRefused(Event, frozen=True):
    """A message broke a rule; the rule book is as before."""

    what: str
    rule: str
    reason: str
    """What is wrong, with its line in the document."""
    command: str = ""


class RefusedRules(DomainError):
    """The document cannot be a rule book."""


class MissingReason(DomainError):
    """A change that nobody explains is not made."""


class WrongActor(DomainError):
    """The rule book knows no such command."""


class InForce(msgspec.Struct, frozen=True, gc=False):
    """Which rule book is in force."""

    version: int = 0
    """0 = what ships."""
    digest: str = ""
    text: str = ""

    @property
    def book(self) -> Book:
        """The rules, ready to be used; read once for each text.

        Raises:
            BadRules: this build cannot read what an older or newer one took.
        """
        return read_rules(self.text)


SHIPPED = InForce()


class State(msgspec.Struct, frozen=True, gc=False):
    """The cell's rule book."""

    in_force: InForce = SHIPPED
    handled: Handled = Handled()


def decide(command: Command, state: State, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows; nothing for a command that was handled, or for the document that is in force.

    Raises:
        RefusedBefore: it was refused when it came first.
        DomainError: it breaks a rule.
    """
    del now_ms
    if not isinstance(command, ChangeRules):
        raise WrongActor(f"{type(command).__name__} is nothing that the rule book could do")
    if state.handled.has(command.command_id):
        return ()
    if not command.reason.strip():
        raise MissingReason("say why the rules are changed")
    try:
        read_rules(command.text)
    except BadRules as error:
        raise RefusedRules(str(error)) from None
    if command.text == state.in_force.text:
        return ()
    digest = sha256(command.text.encode("utf-8", "surrogatepass")).hexdigest()
    version = state.in_force.version + 1
    return (RulesChanged(version, command.text, digest, command.reason, command.command_id),)


def _changed(state: State, event: RulesChanged) -> State:
    in_force = InForce(event.version, event.digest, event.text)
    return State(in_force, state.handled.with_(event.command))


def _refused(state: State, event: RulesRefused) -> State:
    return State(state.in_force, state.handled.with_(event.command, event.reason))


EVOLVE: Mapping[type[Event], Callable[[State, Any], State]] = {RulesChanged: _changed, RulesRefused: _refused}


def evolve(state: State, event: Event) -> State:
    """Return the state after the event."""
    return EVOLVE[type(event)](state, event)


rulebook = Decider(State(), decide, evolve)
