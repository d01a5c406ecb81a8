"""What the simulation found, in the smallest form, and that the faulty disk without faults is a log like any other."""

from collections.abc import Callable
from random import Random

import pytest

from adapters.channels import load
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.recorder import RecorderLog
from adapters.storage.vault import MemoryVault
from domain.envelope import By
from domain.mail import ChannelPayload
from domain.order import CancelLines, DiscardQuarantined
from runners.engine import Delivered, Engine
from runners.preparing import Preparer
from tests.contracts.event_log_contract import EventLogContract
from tests.fakes import Faults, Trace
from tests.simulation.disk import FaultyLog
from tests.simulation.letters import BEGIN_MS, Item, Letter, key_of, letter, receipt
from tests.simulation.world import RATES

NUMBER = "P-20261111-0001"
KEY = key_of("pos", f"20261111-{NUMBER}")
POS = By("channel", "pos")
SERVICE = By("person", "s1", "service")


def slice_of(raw: bytes) -> Letter:
    return letter(KEY, ChannelPayload("pos", "shop", f"20261111-{NUMBER}", raw), "command", POS, BEGIN_MS)


SALE = slice_of(receipt(NUMBER, 60, (Item("1", "DRILL", 2),)))
RETURN = slice_of(receipt("P-20261111-9001", 120, (Item("1", "DRILL", 1),), back_to=NUMBER))


def handle(batches: list[list[Letter]], suspect: int = 0) -> list[str]:
    """Return the tags of the order's events."""
    log, vault = MemoryEventLog("g"), MemoryVault(b"seed")
    engine = Engine(log, vault, Preparer(load(), vault.digest_key()))
    engine.take_over()
    engine.begin_life("life1", 0, None, BEGIN_MS)
    seq = 0
    for batch in batches:
        delivered = [Delivered(seq + place, BEGIN_MS, each.payload) for place, each in enumerate(batch, 1)]
        seq += len(batch)
        decided = engine.decide(delivered, suspect if suspect == delivered[0].seq else 0)
        engine.committed(decided, engine.commit(decided))
    return [event.tag for event in log.select(KEY)]


def test_a_return_and_its_sale_may_come_in_one_batch() -> None:
    apart = handle([[RETURN], [SALE]])
    assert handle([[RETURN, SALE]]) == apart
    assert "order.refunded" in apart
    assert "order.quarantined" not in apart


def test_what_a_released_message_releases_runs_before_what_still_waits() -> None:
    cancel = letter(KEY, CancelLines("cancel-1", (("1", 1),), "void"), "command", SERVICE, BEGIN_MS)
    discard = letter(KEY, DiscardQuarantined("discard-1", "life1-2", "junk"), "command", SERVICE, BEGIN_MS)
    tags = handle([[RETURN], [slice_of(b"not a slice")], [SALE, cancel, discard]], suspect=2)
    # The return, which waited for the sale, and only then the cancellation, which came last.
    assert tags[-3:] == ["order.after_sale_opened", "order.refunded", "order.after_sale_opened"]


class TestFaultyLogWithoutFaults(EventLogContract):
    """Only the port; the recorder's own methods are the inner log's."""

    @pytest.fixture
    def log(self) -> RecorderLog:
        return Transparent()

    @pytest.fixture
    def other(self, log: RecorderLog) -> Callable[[], RecorderLog]:
        return lambda: log


class Nobody:
    def committed(self, *_: object) -> None: ...

    def began(self, *_: object) -> None: ...


class Transparent(MemoryEventLog):
    """A memory log that is written through the faulty disk, quiet."""

    def __init__(self) -> None:
        super().__init__()
        trace = Trace()
        faults = Faults(Random(1), RATES, trace)
        faults.quiet = True
        inner = super()
        disk = FaultyLog(inner, faults, Nobody(), "w")  # type: ignore[arg-type]
        self.append = disk.append  # type: ignore[method-assign]
        self.take_over = disk.take_over  # type: ignore[method-assign]
        self.set_incarnation = disk.set_incarnation  # type: ignore[method-assign]
        self.select_many = disk.select_many  # type: ignore[method-assign]
        self.payloads = disk.payloads  # type: ignore[method-assign]
