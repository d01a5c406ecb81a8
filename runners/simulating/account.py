"""Accounts for what was sent: is every payload and every act in the log, and did nothing promise what is not there?"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from adapters.storage.sealing import SealBroken, Sealer
from domain import stock, warehouse
from domain.catalogue import decode_event
from domain.ids import kind_of
from domain.ports import EventLog, Vault
from runners.simulating.courier import Ledger, fingerprint

PAGE: Final = 5_000


class _Facts(msgspec.Struct, gc=False):
    payload: str = ""
    command: str = ""
    document: str = ""


class _Message(msgspec.Struct, gc=False):
    message: str


_facts = msgspec.json.Decoder(_Facts).decode
_message = msgspec.json.Decoder(_Message).decode


class Account(msgspec.Struct):
    """What the log holds."""

    events: int = 0
    orders: int = 0
    tags: dict[str, int] = {}
    lost_payloads: int = 0
    lost_commands: int = 0
    first_lost: list[str] = []
    """A few of the acts that are missing."""
    oversold: int = 0
    """SKUs of which at some moment more was promised than was there."""

    @property
    def lost(self) -> int:
        """How much of what was sent is nowhere in the log."""
        return self.lost_payloads + self.lost_commands


def account(log: EventLog, vault: Vault, sent: Ledger) -> Account:
    """Read the whole log and compare it with what was sent.

    Bytes are opened with their keys and compared as they were handed in: a digest in an event alone would not show
    that they are there.
    """
    payloads = set(sent.payloads)
    commands = dict(sent.commands)
    sequences: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for (stream, own), sequence in commands.items():
        sequences.setdefault((stream, sequence), []).append((stream, own))
    sealer = Sealer()
    tags: Counter[str] = Counter()
    ledgers: dict[str, stock.Ledger] = {}
    oversold: set[tuple[str, str]] = set()
    position = 0
    while page := log.read(position, PAGE):
        position = page[-1].position
        digests: dict[bytes, str] = {}
        for event in page:
            tags[event.tag] += 1
            facts = _facts(event.data)
            if facts.payload:
                with_bytes = _digest(facts.payload)
                if with_bytes:
                    digests[with_bytes] = event.stream
            for own in (facts.command, facts.document):
                if own:
                    commands.pop((event.stream, own), None)
            if sequences and (kept := sequences.get((event.stream, _sequence(event.envelope)))):
                for each in kept:
                    commands.pop(each, None)
            if kind_of(event.stream) == "warehouse":
                before = ledgers.get(event.stream, warehouse.warehouse.initial)
                ledger = warehouse.evolve(before, decode_event(event.tag, event.data))
                ledgers[event.stream] = ledger
                oversold.update(_below(event.stream, ledger, event.tag, event.data))
        payloads -= _opened(log, vault, sealer, digests)
    return Account(
        events=position,
        orders=tags["order.received"],
        tags={tag: count for tag, count in tags.items() if count},
        lost_payloads=len(payloads),
        lost_commands=len(commands),
        first_lost=[f"{stream} {own}" for stream, own in list(commands)[:5]],
        oversold=len(oversold),
    )


def _digest(text: str) -> bytes:
    """Return the digest that an event names; b"" where it names a message instead."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _sequence(envelope: bytes) -> int:
    return int(_message(envelope).message.rpartition("-")[2] or 0)


def _opened(log: EventLog, vault: Vault, sealer: Sealer, digests: Mapping[bytes, str]) -> set[bytes]:
    found = log.payloads(digests)
    keys = vault.keys({payload.stream for payload in found.values()}, create=False)
    opened = set()
    for payload in found.values():
        key = keys.get(payload.stream)
        if key is None:
            continue
        try:
            # Asides are sealed under keys of other names than their intake's.
            raw = sealer.open_sealed(key, payload.stream, payload.sealed)
            opened.add(fingerprint(digests[payload.digest], raw))
        except SealBroken:
            continue  # counted as lost, and `audit verify` says where
    return opened


class _Touched(msgspec.Struct, gc=False):
    lines: list[tuple[str, int]] = []
    sku: str = ""


_touched = msgspec.json.Decoder(_Touched).decode


def _below(stream: str, ledger: stock.Ledger, tag: str, data: bytes) -> list[tuple[str, str]]:
    """Return the SKUs of an event of which less than nothing is available behind it."""
    if tag in ("stock.reservation_refused", "stock.refused"):
        return []
    facts = _touched(data)
    skus = [sku for sku, _ in facts.lines] + ([facts.sku] if facts.sku else [])
    return [(stream, sku) for sku in skus if (level := ledger.levels.get(sku)) and level.available < 0]
