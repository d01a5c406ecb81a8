"""Who a person is to us: his orders, the buyers he is known as, and other bytes that name him, found in the log itself.

Orders are told to be one person's by their channel's id of him (a keyed digest), or by the phone or name in their
sealed half, which is opened for it. Nothing found is kept.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import msgspec

from adapters.storage.sealing import SealBroken, Sealer
from domain.canonical import Personal
from domain.catalogue import decode_event
from domain.cell import DECIDERS
from domain.decider import fold
from domain.ids import BadId, buyer_of, encode_id, is_key, kind_of, order_key, parts_of
from domain.order import Order, OrderAmended, OrderNormalized
from domain.privacy import ASIDE
from runners.preparing import customer_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from adapters.storage.scan import Scan
    from adapters.storage.vault import DestroyingVault
    from domain.ports import EventLog, Recorded

PAGE = 5_000
NEEDLE_MIN = 6
"""Shorter numbers stand in too many bytes that are somebody else's."""
PHONE_MIN = 7
"""Digits of the shortest phone number that is looked for."""
_VIEWS = frozenset({"order.normalized", "order.amended"})


class Unclear(ValueError):
    """The text means several persons, or none; what to do."""


class Person(msgspec.Struct):
    """What is held of a person, by name only."""

    orders: list[str]
    buyers: list[str]
    asides: list[str]
    texts: set[str]
    """His names, phones and ids as channels gave them: personal, for comparisons only."""


class _Known(msgspec.Struct):
    """One pass over the log."""

    customers: dict[str, set[str]]
    """Order → buyers it ever had."""
    sealed: dict[str, list[bytes]]
    """Order → sealed halves of its views."""
    forgotten: set[str]


def find(log: "EventLog", scan: "Scan", vault: "DestroyingVault", text: str) -> Person:
    """Return what is held of a person who is named by an order, a buyer, a phone or a name.

    Args:
        log: the log.
        scan: its tables.
        vault: its keys.
        text: an order's key, `channel:shop:number` or number; `channel:` and a buyer's digest or his channel's id of
            him; a phone or a full name.

    Raises:
        Unclear: nothing is known under it, or it means several persons.
    """
    known = _read(log)
    seeds = _orders_named(known, text)
    by_text = False
    if not seeds:
        seeds = _orders_of_buyer(known, vault, text)
    if not seeds:
        by_text = True
        seeds = _orders_telling(known, vault, text)
    orders = set(seeds) if by_text else _with_the_same_buyer(known, seeds)
    orders -= known.forgotten
    of_buyer: defaultdict[str, set[str]] = defaultdict(set)
    for order, buyers in known.customers.items():
        for buyer in buyers:
            of_buyer[buyer].add(order)
    buyers = {name for order in orders for name in known.customers.get(order, ())}
    whole = sorted(name for name in buyers if of_buyer[name] - known.forgotten <= orders)
    texts = {told for each in _opened(known, vault, orders) for told in _texts(each)}
    # What no view tells of (bytes that nobody understood, hints) is found by what stands in it.
    named = _naming(known, scan, vault, texts | {parts_of(order)[2] for order in orders} | {text if by_text else ""})
    asides = {stream for stream in named if stream.startswith(ASIDE)}
    if not seeds and not named:
        raise Unclear("nothing is held under that: name an order, channel:customer-id, a phone or a full name")
    return Person(sorted(orders | (named - asides)), whole, sorted(asides), texts)


def states_of(log: "EventLog", orders: Sequence[str]) -> "dict[str, Order]":
    """Return orders as they stand."""
    found = log.select_many(orders, snapshots=False)
    decider = DECIDERS["order"]
    return {
        key: fold(decider, [decode_event(each.tag, each.data) for each in loaded.events])
        for key, loaded in found.items()
    }


def payloads_of(scan: "Scan", vault: "DestroyingVault", wanted: "Callable[[str], bool]") -> Iterator[tuple[str, bytes]]:
    """Yield (whose, raw bytes) of stored payloads that can be opened."""
    sealer = Sealer()
    row: Any = None
    while page := scan.payloads(row, PAGE):
        row = page[-1].row
        fitting = [each for each in page if wanted(each.stream)]
        keys = vault.keys({each.stream for each in fitting}, create=False)
        for each in fitting:
            if each.stream in keys:
                try:
                    yield each.stream, sealer.open_sealed(keys[each.stream], each.stream, each.sealed)
                except SealBroken:
                    continue  # `audit verify` says so


def _read(log: "EventLog") -> _Known:
    known = _Known({}, {}, set())
    after = 0
    while page := log.read(after, PAGE):
        after = page[-1].position
        for event in page:
            if event.stream.startswith("order-"):
                _note(known, event)
    return known


def _note(known: _Known, event: "Recorded") -> None:
    customers = known.customers.setdefault(event.stream, set())
    if event.tag == "order.forgotten":
        known.forgotten.add(event.stream)
    elif event.tag in _VIEWS:
        fact = decode_event(event.tag, event.data)
        assert isinstance(fact, OrderNormalized | OrderAmended)
        if fact.snapshot.customer:
            customers.add(buyer_of(fact.snapshot.channel, fact.snapshot.customer))
        if event.sealed is not None:
            known.sealed.setdefault(event.stream, []).append(event.sealed)


def _orders_named(known: _Known, text: str) -> set[str]:
    if is_key(text) and kind_of(text) == "order":
        return {text} & known.customers.keys()
    parts = text.split(":", 2)
    if len(parts) == 3:  # noqa: PLR2004  channel, shop, number
        try:
            return {order_key(*parts)} & known.customers.keys()
        except BadId:
            return set()
    ending = f":{encode_id(text)}"
    found = {key for key in known.customers if key.endswith(ending)}
    if len(found) > 1:
        raise Unclear(f"{len(found)} orders have that number: name it channel:shop:number")
    return found


def _orders_of_buyer(known: _Known, vault: "DestroyingVault", text: str) -> set[str]:
    channel, colon, customer = text.partition(":")
    if not colon or not channel or not customer:
        return set()
    try:
        names = {buyer_of(channel, customer), buyer_of(channel, customer_digest(customer, vault.digest_key()))}
    except BadId:
        return set()
    return {order for order, buyers in known.customers.items() if buyers & names}


def _with_the_same_buyer(known: _Known, seeds: set[str]) -> set[str]:
    buyers = {name for order in seeds for name in known.customers[order]}
    return seeds | {order for order, names in known.customers.items() if names & buyers}


def _orders_telling(known: _Known, vault: "DestroyingVault", text: str) -> set[str]:
    """Return the orders in whose sealed half a phone or a name stands."""
    phone, name = phone_in(text), _folded(text)
    found: set[str] = set()
    phones: set[str] = set()
    for order, personal in _each_opened(known, vault, known.sealed):
        told = phone_in(personal.receiver.get("phone", ""))
        if (phone and told == phone) or _folded(personal.receiver.get("name", "")) == name:
            found.add(order)
            phones.add(told)
    if len(phones) > 1:
        raise Unclear(f"that name stands in orders with {len(phones)} different phones: name the person by his phone")
    return found


def phone_in(text: str) -> str:
    """Return the digits of a phone number in one spelling, without blanks, dashes and +86; "" where it is none."""
    bare = "".join(char for char in normalize("NFKC", str(text)) if char not in " -()")
    digits = bare.removeprefix("+86") if bare.startswith("+86") else bare.removeprefix("+")
    return digits if digits.isdecimal() and len(digits) >= PHONE_MIN else ""


def _folded(text: str) -> str:
    return normalize("NFKC", str(text)).strip().casefold()


def _each_opened(known: _Known, vault: "DestroyingVault", orders: Iterable[str]) -> Iterator[tuple[str, Personal]]:
    sealer = Sealer()
    wanted = [order for order in orders if order in known.sealed and order not in known.forgotten]
    for at in range(0, len(wanted), PAGE):
        part = wanted[at : at + PAGE]
        keys: Mapping[str, bytes] = vault.keys(part, create=False)
        for order in part:
            if order not in keys:
                continue
            for block in known.sealed[order]:
                try:
                    plain = sealer.open_sealed(keys[order], order, block)
                    yield order, msgspec.json.decode(plain, type=Personal)
                except (SealBroken, msgspec.MsgspecError):
                    continue  # `audit verify` says so


def _opened(known: _Known, vault: "DestroyingVault", orders: Iterable[str]) -> Iterator[Personal]:
    return (personal for _, personal in _each_opened(known, vault, orders))


def _texts(personal: Personal) -> Iterator[str]:
    receiver = personal.receiver
    for text in (personal.customer_id, receiver.get("name", ""), receiver.get("phone", ""), receiver.get("detail", "")):
        if len(str(text).strip()) > 1:
            yield str(text).strip()


def _naming(known: _Known, scan: "Scan", vault: "DestroyingVault", texts: set[str]) -> set[str]:
    """Return the asides, and the orders that have no view, in whose bytes one of his numbers stands."""
    needles: set[bytes] = set()
    for text in texts:
        if len(text) >= NEEDLE_MIN and any(char.isdecimal() for char in text):
            needles |= {text.encode(), msgspec.json.encode(text)[1:-1], text.encode("gb18030", "ignore")}
    if not needles:
        return set()
    found = payloads_of(scan, vault, lambda stream: stream not in known.sealed and stream not in known.forgotten)
    return {stream for stream, raw in found if any(needle in raw for needle in needles)}
