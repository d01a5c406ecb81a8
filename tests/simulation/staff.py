"""What people do where there are rules: stock in several warehouses, rule books, approvals, talk, craft, parcels.

They act on what is seen, or on what they think they see; and now and then they click twice.
"""

from random import Random
from typing import Any

import msgspec

from domain import approvals, rulebook, stock, talk
from domain.envelope import By
from domain.ids import RULEBOOK_KEY, warehouse_key
from domain.mail import Body
from domain.order import CancelLines, ConfirmProcessing, Lot, Order, ResolveInterception, ScanOut, Ship
from domain.ports import Vault
from runners.words import seal_words
from tests.simulation import books
from tests.simulation.letters import BEGIN_MS, SECRET, SKUS, Letter, letter

WAREHOUSES = "ABC"
GOODS = (*SKUS, books.GLOVES, books.BAG, books.KIT)
ARRIVALS = 3
PEOPLE = ("p1", "p2", "p3")
ROLES = ("workshop", "finance", "head", "service")
_KEEPER = By("person", "k1", "keeper")


def stock_letter(chance: Random, number: int, now_ms: int) -> Letter:
    """Goods come in, are announced, counted, or kept back, in one of the warehouses."""
    to = warehouse_key(chance.choice("AAABBC"))
    sku = chance.choice(GOODS)
    arrival = f"PO-{chance.randrange(ARRIVALS)}"
    lines = tuple((each, chance.randrange(1, 10)) for each in chance.sample(GOODS, chance.randrange(1, 5)))
    body: Body
    match chance.randrange(10):
        case 0:
            body = stock.AdjustStock(f"many-count-{number}", sku, chance.randrange(-4, 5) or 1, "counted")
        case 1:
            body = stock.ProtectStock(f"many-protect-{number}", sku, chance.randrange(3))
        case 2 | 3 | 4:
            due_ms = now_ms + chance.randrange(1, 40) * 3_600_000
            body = stock.ExpectStock(f"many-expect-{number}", arrival, lines if chance.random() < 0.9 else (), due_ms)
        case 5:
            body = stock.ReceiveStock(f"many-in-{number}", lines, arrival)
        case _:
            body = stock.ReceiveStock(f"many-in-{number}", lines)
    return letter(to, body, "command", _KEEPER, now_ms)


def opening(chance: Random) -> list[Letter]:
    """Return what the warehouses begin with: little, or plenty."""
    found = []
    for code in WAREHOUSES:
        most = chance.choice((2, 15, 50))
        lines = tuple((sku, units) for sku in GOODS if (units := chance.randrange(most + 1)) > 0)
        if lines:
            body = stock.ReceiveStock(f"open-{code}", lines)
            found.append(letter(warehouse_key(code), body, "command", _KEEPER, BEGIN_MS))
    for code in WAREHOUSES if chance.random() < 0.7 else "":
        coming = tuple((sku, chance.randrange(1, 20)) for sku in GOODS)
        due_ms = BEGIN_MS + chance.randrange(1, 30) * 3_600_000
        announced = stock.ExpectStock(f"open-coming-{code}", "PO-0", coming, due_ms)
        found.insert(0, letter(warehouse_key(code), announced, "command", _KEEPER, BEGIN_MS))
    return found


def to_do(state: Order) -> bool:
    """Whether somebody sees something to do on an order."""
    asked = any(each.verdict == "open" for each in state.people.approvals.asked)
    return bool(asked or state.interceptions or state.allocations)


def book_letter(chance: Random, number: int) -> Letter:
    """Operations puts another rule book in force; one in six cannot be read."""
    text = books.refused(chance) if chance.random() < 1 / 6 else books.written(chance)
    body = rulebook.ChangeRules(f"book-{number}", text, "the season")
    return letter(RULEBOOK_KEY, body, "command", By("person", "o1", "operations"), BEGIN_MS, silent=True)


def act(chance: Random, key: str, state: Order, number: int, now_ms: int, vault: Vault) -> list[Letter]:
    """Return what somebody does about an order; several letters where he clicks more than once."""
    body, by, silent = _act(chance, key, state, number, vault)
    found = [letter(key, body, "command", by, now_ms, silent=silent)]
    if chance.random() < 0.15:
        # A double click: the same act under an id of its own, milliseconds later.
        twice: Any = msgspec.structs.replace(body, command_id=f"{body.command_id}-twice")  # type: ignore[union-attr]
        found.append(letter(key, twice, "command", by, now_ms + chance.randrange(1, 300), silent=True))
    return found


def _act(chance: Random, key: str, state: Order, number: int, vault: Vault) -> tuple[Body, By, bool]:
    asked = [each for each in state.people.approvals.asked if each.verdict == "open"]
    person = By("person", chance.choice(PEOPLE), chance.choice(ROLES))
    told, sealed = _words(chance, key, vault)
    if any(each.unprocessed for each in state.allocations) and chance.random() < 0.5:
        which = chance.choice(state.allocations).id if chance.random() < 0.5 else ""
        return ConfirmProcessing(f"craft-{number}", which), _KEEPER, False
    if state.interceptions and chance.random() < 0.6:
        name, reason = chance.choice(state.interceptions)
        decision: Any = chance.choice(("release", "release", "release", "cancel"))
        if reason == "gift_short" or chance.random() < 0.05:
            decision = chance.choice(("waive", "waive", "release"))
        return ResolveInterception(f"resolve-{number}", name, decision), person, False
    if asked and chance.random() < 0.7:
        approval = chance.choice(asked)
        if chance.random() < 0.8:
            person = msgspec.structs.replace(person, role=chance.choice(approval.roles))
        name = approval.asked.approval
        if chance.random() < 0.15:
            return approvals.Reject(f"reject-{number}", told=told, sealed=sealed, approval=name), person, False
        attempt = chance.choice((0, approval.asked.attempt))
        return (
            approvals.Approve(f"approve-{number}", told=told, sealed=sealed, approval=name, attempt=attempt),
            person,
            False,
        )
    if state.allocations and state.lines and chance.random() < 0.25:
        line = chance.choice([line for line in state.lines if line.quantity > 1] or state.lines)
        return CancelLines(f"cut-{number}", ((line.id, 1),), "one less"), person, False
    if state.allocations and chance.random() < 0.6:
        return _parcel(chance, state, number), _KEEPER, True
    match chance.randrange(6):
        case 0:
            return talk.Comment(f"say-{number}", told=told, sealed=sealed), person, False
        case 1:
            return talk.ReadMentions(f"read-{number}", upto=chance.randrange(1, 5)), person, True
        case 2:
            form = chance.choice(("craft", "credit", "export"))
            within_ms = chance.choice((0, 3_600_000))
            asks = approvals.RequestApproval(
                f"ask-{number}",
                form=form,
                role="finance",
                due_within_ms=within_ms,
                escalate_to="head" if within_ms else "",
            )
            return asks, person, False
        case 3 | 4 if state.lines:
            line = chance.choice(state.lines)
            return CancelLines(f"cut-{number}", ((line.id, 1),), "one less"), person, False
        case _:
            return ScanOut(f"out-{number}", f"SF{number}", "SF"), _KEEPER, False


def _parcel(chance: Random, state: Order, number: int) -> ScanOut | Ship:
    """Send one of the order's allocations, with its lots where they are asked for (or forgotten)."""
    allocation = chance.choice(state.allocations)
    lots: tuple[Lot, ...] = ()
    if state.ruled.lots and chance.random() < 0.9:
        lots = tuple(Lot(sku, "L1", units, "1.5", "kgCO2e", "ISO 14067", "maker") for sku, units in allocation.lines)
    if chance.random() < (0.1 if lots else 0.5):
        return ScanOut(f"out-{number}", "", "", allocation.id, lots)
    which = chance.choice((allocation.id, allocation.id, allocation.warehouse, ""))
    kind = chance.choice((ScanOut, Ship))
    return kind(f"out-{number}", f"SF{number}", "SF", which, lots)


def _words(chance: Random, key: str, vault: Vault) -> tuple[tuple[str, ...], bytes]:
    """Write what an act may need; now and then nothing at all."""
    data_key = vault.keys([key], create=False).get(key)
    if data_key is None or chance.random() < 0.1:
        return (), b""
    text = f"{SECRET}Word @finance @p2 about {chance.randrange(10)}"
    return seal_words(data_key, key, {"text": text, "reason": text, "text_checked": text})
