"""The accounting finds what is missing and what was promised twice."""

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.vault import MemoryVault
from domain.catalogue import TAGS, encode_event
from domain.decider import Event
from domain.envelope import By, Envelope, encode_envelope
from domain.mail import Mail, Reply
from domain.order import CancelLines, OrderCancelled
from domain.ports import Record
from domain.stock import StockReceived, StockReserved
from runners.simulating.account import account
from runners.simulating.courier import Ledger, fingerprint

KEY = "order-taobao:shop:1"


def log_of(*events: tuple[str, Event]) -> MemoryEventLog:
    log = MemoryEventLog()
    envelope = encode_envelope(Envelope(1, 1, By("system"), "life-5", "life-5", "life-5"))
    versions: dict[str, int] = {}
    records = []
    for stream, event in events:
        versions[stream] = versions.get(stream, 0) + 1
        records.append(Record(stream, versions[stream], TAGS[type(event)], envelope, encode_event(event), None))
    if records:
        log.append(records)
    return log


def sent(*commands: str) -> Ledger:
    ledger = Ledger()
    for place, own in enumerate(commands):
        mail = Mail(KEY, CancelLines(own, (), "why"), 1, By("person"))
        ledger.note(mail, Reply(90 + place, "accepted"), {})
    return ledger


def test_an_act_that_is_nowhere_is_lost() -> None:
    log = log_of((KEY, OrderCancelled("why", "c-1")))
    found = account(log, MemoryVault(), sent("c-1", "c-2"))
    assert (found.lost, found.first_lost) == (1, [f"{KEY} c-2"])


def test_bytes_that_are_nowhere_are_lost() -> None:
    ledger = sent()
    ledger.payloads.add(fingerprint(KEY, b"{}"))
    assert account(log_of(), MemoryVault(), ledger).lost == 1


def test_what_the_log_records_under_another_stream_does_not_count() -> None:
    log = log_of(("order-taobao:shop:2", OrderCancelled("why", "c-1")))
    assert account(log, MemoryVault(), sent("c-1")).lost == 1


def test_a_promise_beyond_stock_is_seen_even_if_it_was_put_right() -> None:
    log = log_of(
        ("warehouse-A", StockReceived("d-1", (("SKU", 1), ("OTHER", 5)), 1)),
        ("warehouse-A", StockReserved("a-1", KEY, (("SKU", 2), ("OTHER", 5)))),
        ("warehouse-A", StockReceived("d-2", (("SKU", 9),), 1)),
    )
    assert account(log, MemoryVault(), Ledger()).oversold == 1
