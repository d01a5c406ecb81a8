"""A log that cannot be read is nobody's message's fault: nothing is quarantined for it."""

from collections.abc import Collection

import pytest

from adapters.channels import load
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from adapters.storage.vault import MemoryVault
from domain.envelope import By, decode_envelope
from domain.ids import order_key, warehouse_key
from domain.mail import ChannelPayload, Mail, encode_mail
from domain.ports import Loaded, StoredSnapshot
from domain.stock import ReceiveStock
from domain.timehub import MS_MAX
from runners.engine import Delivered, Engine
from runners.preparing import Preparer
from runners.projector import Projector
from runners.timers import STREAM as TIMERS
from tests.colleagues import LI, comment
from tests.integration.mixed_mail import trade
from tests.spec import T0


class Torn(MemoryEventLog):
    """A log whose tables of SKUs cannot be read for a while."""

    torn = True

    def select_many(self, streams: Collection[str], *, snapshots: bool = True) -> dict[str, Loaded]:
        if self.torn and any(stream.startswith("skus-") for stream in streams):
            raise OSError("input/output error")
        return super().select_many(streams, snapshots=snapshots)


def begun(log: MemoryEventLog) -> Engine:
    vault = MemoryVault(b"seed")
    engine = Engine(log, vault, Preparer(load(), vault.digest_key()))
    engine.take_over()
    engine.begin_life("life", 0, None, 0)
    return engine


def test_what_cannot_be_read_within_a_turn_ends_the_batch_and_not_the_message() -> None:
    log = Torn("test")
    engine = begun(log)
    raw = trade(1, "WAIT_SELLER_SEND_GOODS", T0, T0).replace(b"outer_sku_id", b"outer_sku_no")
    body = ChannelPayload("taobao", "s", "1", raw)
    mail = [Delivered(1, T0, encode_mail(Mail(order_key("taobao", "s", "1"), body, T0, By("channel", "taobao"))))]
    with pytest.raises(OSError, match="input/output"):
        engine.decide(mail)
    log.torn = False
    engine.reload()
    batch = engine.decide(mail)
    engine.committed(batch, engine.commit(batch))
    assert [event.tag for event in log._events if event.tag.startswith("skus")] == ["skus.unmapped"]
    assert not [event for event in log._events if event.tag == "order.quarantined"]


def test_a_snapshot_of_another_build_s_shape_stands_for_nothing() -> None:
    log = MemoryEventLog("test")
    engine = begun(log)
    ledger = warehouse_key("A")

    def receive(seq: int, units: int) -> None:
        body = ReceiveStock(f"d-{seq}", (("S1", units),))
        mail = [Delivered(seq, T0, encode_mail(Mail(ledger, body, T0, By("person", "k", "keeper"))))]
        batch = engine.decide(mail)
        engine.committed(batch, engine.commit(batch))

    receive(1, 5)
    log.append((), snapshots=[StoredSnapshot(ledger, 1, "stock.ledger.0", b"{}")])
    engine.reload()
    receive(2, 3)
    levels = engine._states[ledger].state.levels
    assert levels["S1"].on_hand == 8


@pytest.mark.parametrize("observed_at", [-1, MS_MAX + 1, 2**63])
def test_mail_of_a_time_that_no_calendar_has_is_kept_aside_with_the_broker_s_time(observed_at: int) -> None:
    log = MemoryEventLog("test")
    engine = begun(log)
    mail = Mail(warehouse_key("A"), ReceiveStock("d-1", (("S1", 5),)), observed_at, By("person", "k", "keeper"))
    batch = engine.decide([Delivered(1, T0, encode_mail(mail))])
    engine.committed(batch, engine.commit(batch))
    assert [event.tag for event in log._events] == ["intake.quarantined"]
    assert decode_envelope(log._events[0].envelope).observed_at == T0


def test_mail_to_what_is_only_snapshotted_is_refused_like_any_other() -> None:
    log = MemoryEventLog("test")
    engine = begun(log)
    engine.keep(engine.timers.snapshot(0))
    body = ReceiveStock("d-1", (("S1", 5),))
    batch = engine.decide([Delivered(1, T0, encode_mail(Mail(TIMERS, body, T0, By("person", "k", "keeper"))))])
    engine.committed(batch, engine.commit(batch))
    assert [(event.stream, event.tag) for event in log._events] == [(TIMERS, "cell.refused")]


@pytest.mark.parametrize("cut", ["order-taobao:s1:=E4=B8", "order-taobao:s1", "warehouse-=FF", "intake-a"])
def test_a_key_that_a_person_cut_short_comes_to_be_no_actor_that_the_read_models_stumble_over(cut: str) -> None:
    log = MemoryEventLog("test")
    engine = begun(log)
    batch = engine.decide([Delivered(1, T0, encode_mail(Mail(cut, comment("c", LI, "x"), T0, LI, reply_to="inbox")))])
    engine.committed(batch, engine.commit(batch))
    (reply,) = batch.replies["inbox"]
    assert (reply.outcome, reply.reason) == ("quarantined", f"no actor has the key {cut!r}")
    read_models = ReadModels("sqlite://")
    Projector(log, read_models).run()
    assert [(row["channel"], row["quarantined"]) for row in read_models.intake()] == [("cell", 1)]
    read_models.close()
