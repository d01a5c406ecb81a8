"""Buyers: what the merchant knows of a customer and agreed with him. One stream for each, named by a keyed digest.

A buyer's grade, tags, prices and credit limit are entered by people; what he has ordered lately, and what he owes for
orders that go on account, is noted by his orders in their own turns. Rules ask of it with `customer("…")`. Consulted
only where the rule book asks.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import immutables
import msgspec

from domain.canonical import Snapshot
from domain.decider import Command, Decider, DomainError, Event, RefusedBefore
from domain.time_units import DAY_MS

RECENT_MAX = 50
"""How many of a buyer's orders are looked through for one of the same goods."""
RECENT_MS = 7 * DAY_MS
"""How long an order may be taken for a repeated one, at most."""
PRICES_MAX = 20_000
COMMANDS_MAX = 200
"""How many command ids are remembered to know repeats."""
TEXT_MAX = 60

Prices = tuple[tuple[str, int], ...]


class SetBuyer(Command, frozen=True):
    """Enter what was agreed with a buyer; it takes the place of what was entered before."""

    command_id: str
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


class NoteOrder(Command, frozen=True):
    """In-turn: an order of the buyer came in."""

    order: str
    goods: str
    """Fingerprint of what was ordered."""
    ordered_ms: int
    owed: int
    """Minor units; 0 = nothing (any more)."""
    within_ms: int = 0
    """An order of the same goods within this time is suspected to be the same one; 0 = none is."""


class NoteOwed(Command, frozen=True):
    """In-turn: what the buyer owes for one of his orders changed."""

    order: str
    owed: int


class BuyerSet(Event, frozen=True):
    """What was agreed with the buyer."""

    grade: str
    tags: tuple[str, ...]
    currency: str
    credit_limit: int
    prices: Prices
    command: str
    reason: str = ""


class BuyerOrdered(Event, frozen=True):
    """An order of the buyer came in."""

    order: str
    goods: str
    ordered_ms: int
    owed: int = 0


class BuyerOwes(Event, frozen=True):
    """What the buyer owes for an order changed."""

    order: str
    owed: int


class DuplicateSuspected(Event, frozen=True):
    """The buyer ordered the same goods twice within a short time."""

    order: str
    of: str
    """The earlier order's key."""
    apart_ms: int


class BuyerRefused(Event, frozen=True):
    """A message broke a rule; nothing else happened."""

    what: str
    rule: str
    reason: str
    command: str = ""


class BadTerms(DomainError):
    """Terms that cannot be: an amount below zero, an empty SKU, a word that is too long."""


class MissingCommandId(DomainError):
    """Without an id of its author's a repeat could not be told from a new act."""


class WrongActor(DomainError):
    """A buyer knows no such command."""


class Recent(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An order of late."""

    order: str
    goods: str
    ordered_ms: int


class Buyer(msgspec.Struct, frozen=True):
    """State of a buyer."""

    grade: str = ""
    tags: tuple[str, ...] = ()
    currency: str = "CNY"
    credit_limit: int = 0
    prices: "immutables.Map[str, int]" = immutables.Map()
    recent: tuple[Recent, ...] = ()
    """Newest last."""
    orders: int = 0
    """How many he has placed."""
    owes: "immutables.Map[str, int]" = immutables.Map()
    """Order → minor units that he owes for it."""
    commands: tuple[tuple[str, str], ...] = ()
    """(command id, why it was refused, "" = it was not) of the newest that were handled."""


_replace = msgspec.structs.replace


def goods_of(snapshot: Snapshot) -> str:
    """Return the fingerprint of what an order is for: which goods, and how many units of each."""
    units: dict[str, int] = {}
    for line in snapshot.lines:
        units[line.sku or line.item] = units.get(line.sku or line.item, 0) + line.quantity
    return blake2b(msgspec.json.encode(sorted(units.items())), digest_size=8).hexdigest()


def facts_of(buyer: Buyer, order: str, snapshot: Snapshot) -> dict[str, Any]:
    """Return what rules may ask of a buyer about one of his orders. Money in minor units of the order's currency."""
    facts: dict[str, Any] = {"grade": buyer.grade or None, "tags": list(buyer.tags), "orders": buyer.orders}
    if any(each.order == order for each in buyer.recent):
        facts["orders"] -= 1
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


def _set(command: SetBuyer, state: Buyer) -> Sequence[Event]:
    words = (command.grade, *command.tags)
    if any(len(word) > TEXT_MAX or word != word.strip() for word in words) or "" in command.tags:
        raise BadTerms(f"grade and tags are words of at most {TEXT_MAX} characters without blanks around them")
    if command.credit_limit < 0:
        raise BadTerms(f"a credit limit of {command.credit_limit}: it is 0 or more, in minor units")
    if len(command.currency) != 3 or not command.currency.isupper():  # noqa: PLR2004  ISO 4217
        raise BadTerms(f"{command.currency!r} is no currency: three capital letters, for example CNY")
    if len(command.prices) > PRICES_MAX or any(not sku or price < 0 for sku, price in command.prices):
        raise BadTerms(f"a price list has at most {PRICES_MAX:,} lines, each with a SKU and a price of 0 or more")
    event = BuyerSet(
        command.grade,
        command.tags,
        command.currency,
        command.credit_limit,
        command.prices,
        command.command_id,
        command.reason,
    )
    after = _was_set(state, event)
    return () if _replace(after, commands=state.commands) == state else (event,)


def _note(command: NoteOrder, state: Buyer) -> Sequence[Event]:
    ordered = BuyerOrdered(command.order, command.goods, command.ordered_ms, command.owed)
    for each in reversed(state.recent if command.within_ms else ()):
        apart_ms = abs(command.ordered_ms - each.ordered_ms)
        if each.goods == command.goods and apart_ms <= command.within_ms:
            return (ordered, DuplicateSuspected(command.order, each.order, apart_ms))
    return (ordered,)


def decide(command: Command, state: Buyer, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows; nothing for a command that was handled, or for what is so already.

    Raises:
        RefusedBefore: it was refused when it came first.
        DomainError: it breaks a rule.
    """
    del now_ms
    if isinstance(command, NoteOrder):
        return _note(command, state)
    if isinstance(command, NoteOwed):
        same = state.owes.get(command.order, 0) == command.owed
        return () if same else (BuyerOwes(command.order, command.owed),)
    if not isinstance(command, SetBuyer):
        raise WrongActor(f"{type(command).__name__} is nothing that a buyer could do")
    for known, refusal in state.commands:
        if known == command.command_id:
            if refusal:
                raise RefusedBefore(refusal)
            return ()
    if not command.command_id:
        raise MissingCommandId("the message has no command id; its sender must give it one of its own")
    return _set(command, state)


def _handled(state: Buyer, command: str, refusal: str = "") -> tuple[tuple[str, str], ...]:
    return (*state.commands, (command, refusal))[-COMMANDS_MAX:] if command else state.commands


def _was_set(state: Buyer, event: BuyerSet) -> Buyer:
    return _replace(
        state,
        grade=event.grade,
        tags=event.tags,
        currency=event.currency,
        credit_limit=event.credit_limit,
        prices=immutables.Map(event.prices),
        commands=_handled(state, event.command),
    )


def _ordered(state: Buyer, event: BuyerOrdered) -> Buyer:
    fresh = Recent(event.order, event.goods, event.ordered_ms)
    recent = [each for each in (*state.recent, fresh) if event.ordered_ms - each.ordered_ms <= RECENT_MS]
    owes = state.owes.set(event.order, event.owed) if event.owed else state.owes
    return _replace(state, recent=tuple(recent[-RECENT_MAX:]), orders=state.orders + 1, owes=owes)


def _owes(state: Buyer, event: BuyerOwes) -> Buyer:
    if event.owed:
        return _replace(state, owes=state.owes.set(event.order, event.owed))
    return _replace(state, owes=state.owes.delete(event.order)) if event.order in state.owes else state


EVOLVE: Mapping[type[Event], Callable[[Buyer, Any], Buyer]] = {
    BuyerSet: _was_set,
    BuyerOrdered: _ordered,
    BuyerOwes: _owes,
    DuplicateSuspected: lambda state, _: state,
    BuyerRefused: lambda state, event: _replace(state, commands=_handled(state, event.command, event.reason)),
}


def evolve(state: Buyer, event: Event) -> Buyer:
    """Return the state after the event."""
    return EVOLVE[type(event)](state, event)


buyer = Decider(Buyer(), decide, evolve)
