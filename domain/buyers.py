"""Buyers: what the merchant agreed with customers whom he knows. One stream for all of them, always in memory.

Grade, tags, prices and credit limit are entered by people; what a buyer with a credit limit owes is noted by his
orders in their own turns. Rules ask of it with `customer("…")`. A buyer is named by the channel that knows him and the
keyed digest of its id of him, so that nobody is named here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import immutables
import msgspec

from domain.canonical import Snapshot
from domain.decider import Command, Decider, DomainError, Event
from domain.erasure import BuyerForgotten, Forget
from domain.handled import Handled

PRICES_MAX = 20_000
TEXT_MAX = 60

Prices = tuple[tuple[str, int], ...]


class SetBuyer(Command, frozen=True):
    """Enter what was agreed with a buyer; it takes the place of what was entered before."""

    command_id: str
    buyer: str
    """`<channel>:<keyed digest>` (`domain.ids.buyer_of`)."""
    grade: str = ""
    """The merchant's own word, for example `dealer`."""
    tags: tuple[str, ...] = ()
    currency: str = "CNY"
    """Of credit limit and prices."""
    credit_limit: int = 0
    """Minor units that he may owe; 0 = he has no credit."""
    prices: Prices = ()
    """(SKU, price of a unit in minor units)."""
    reason: str = ""


class NoteOwed(Command, frozen=True):
    """In-turn: what a buyer owes for one of his orders changed."""

    order: str
    buyer: str
    owed: int
    """Minor units; 0 = nothing (any more)."""


class BuyerSet(Event, frozen=True):
    """What was agreed with a buyer."""

    buyer: str
    grade: str
    tags: tuple[str, ...]
    currency: str
    credit_limit: int
    prices: Prices
    command: str
    reason: str = ""


class BuyerOwes(Event, frozen=True):
    """What a buyer owes for an order changed."""

    buyer: str
    order: str
    owed: int


class BuyersRefused(Event, frozen=True):
    """A message broke a rule; nothing else happened."""

    what: str
    rule: str
    reason: str
    command: str = ""


class BadTerms(DomainError):
    """Terms that cannot be: an amount below zero, an empty SKU, a word that is too long."""


class WrongActor(DomainError):
    """Buyers know no such command."""


class Buyer(msgspec.Struct, frozen=True):
    """What is known of a buyer."""

    grade: str = ""
    tags: tuple[str, ...] = ()
    currency: str = "CNY"
    credit_limit: int = 0
    prices: "immutables.Map[str, int]" = immutables.Map()
    owes: "immutables.Map[str, int]" = immutables.Map()
    """Order → minor units that he owes for it."""


class Buyers(msgspec.Struct, frozen=True):
    """All buyers whom the merchant knows."""

    known: "immutables.Map[str, Buyer]" = immutables.Map()
    """`<channel>:<keyed digest>` → what is known of him."""
    handled: Handled = Handled()


_replace = msgspec.structs.replace
STRANGER = Buyer()


def facts_of(buyer: Buyer, order: str, snapshot: Snapshot) -> dict[str, Any]:
    """Return what rules may ask of a buyer about one of his orders. Money in minor units of the order's currency."""
    facts: dict[str, Any] = {"grade": buyer.grade or None, "tags": list(buyer.tags)}
    amounts = snapshot.amounts
    if amounts.currency == buyer.currency:
        others = sum(owed for name, owed in buyer.owes.items() if name != order)
        facts["credit_limit"] = buyer.credit_limit
        facts["owed"] = others
        facts["credit_left"] = buyer.credit_limit - others - max(amounts.payable - amounts.paid, 0)
        facts["price_differs"] = any(
            line.unit_price != buyer.prices[line.sku]
            for line in snapshot.lines
            if line.sku in buyer.prices and line.state != "cancelled" and not line.gift
        )
    return facts


def _set(command: SetBuyer, state: Buyers) -> Sequence[Event]:
    words = (command.grade, *command.tags)
    if not all(part and part == part.strip() for part in command.buyer.partition(":")):
        raise BadTerms(
            f"{command.buyer[:TEXT_MAX]!r} names no buyer: a channel, a colon, and the digest of its customer"
        )
    if any(len(word) > TEXT_MAX or word != word.strip() for word in words) or "" in command.tags:
        raise BadTerms(f"grade and tags are words of at most {TEXT_MAX} characters without blanks around them")
    if command.credit_limit < 0:
        raise BadTerms(f"a credit limit of {command.credit_limit}: it is 0 or more, in minor units")
    if len(command.currency) != 3 or not command.currency.isupper():  # noqa: PLR2004  ISO 4217
        raise BadTerms(f"{command.currency!r} is no currency: three capital letters, for example CNY")
    if len(command.prices) > PRICES_MAX or any(not sku or price < 0 for sku, price in command.prices):
        raise BadTerms(f"a price list has at most {PRICES_MAX:,} lines, each with a SKU and a price of 0 or more")
    event = BuyerSet(
        command.buyer,
        command.grade,
        command.tags,
        command.currency,
        command.credit_limit,
        command.prices,
        command.command_id,
        command.reason,
    )
    known = state.known.get(command.buyer, STRANGER)
    return () if _agreed(known, event) == known else (event,)


def decide(command: Command, state: Buyers, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows; nothing for a command that was handled, or for what is so already.

    Raises:
        RefusedBefore: it was refused when it came first.
        DomainError: it breaks a rule.
    """
    del now_ms
    if isinstance(command, NoteOwed):
        owed = state.known.get(command.buyer, STRANGER).owes.get(command.order, 0)
        return () if owed == command.owed else (BuyerOwes(command.buyer, command.order, command.owed),)
    if isinstance(command, Forget):
        return (BuyerForgotten(command.buyer, command.request),) if command.buyer in state.known else ()
    if not isinstance(command, SetBuyer):
        raise WrongActor(f"{type(command).__name__} is nothing that buyers could do")
    return () if state.handled.has(command.command_id) else _set(command, state)


def _agreed(known: Buyer, event: BuyerSet) -> Buyer:
    return Buyer(event.grade, event.tags, event.currency, event.credit_limit, immutables.Map(event.prices), known.owes)


def _was_set(state: Buyers, event: BuyerSet) -> Buyers:
    known = state.known.get(event.buyer, STRANGER)
    return Buyers(state.known.set(event.buyer, _agreed(known, event)), state.handled.with_(event.command))


def _owes(state: Buyers, event: BuyerOwes) -> Buyers:
    known = state.known.get(event.buyer, STRANGER)
    owes = known.owes
    if event.owed:
        owes = owes.set(event.order, event.owed)
    elif event.order in owes:
        owes = owes.delete(event.order)
    return _replace(state, known=state.known.set(event.buyer, _replace(known, owes=owes)))


def _forgotten(state: Buyers, event: BuyerForgotten) -> Buyers:
    return _replace(state, known=state.known.delete(event.buyer)) if event.buyer in state.known else state


EVOLVE: Mapping[type[Event], Callable[[Buyers, Any], Buyers]] = {
    BuyerSet: _was_set,
    BuyerOwes: _owes,
    BuyerForgotten: _forgotten,
    BuyersRefused: lambda state, event: Buyers(state.known, state.handled.with_(event.command, event.reason)),
}


def evolve(state: Buyers, event: Event) -> Buyers:
    """Return the state after the event."""
    return EVOLVE[type(event)](state, event)


buyers = Decider(Buyers(), decide, evolve)
