"""A log that cannot be read is nobody's message's fault: nothing is quarantined for it."""

from collections.abc import Collection

import pytest

from adapters.channels import load
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.vault import MemoryVault
from domain.envelope import By
from domain.ids import order_key
from domain.mail import ChannelPayload, Mail, encode_mail
from domain.ports import Loaded
from runners.engine import Delivered, Engine
from runners.preparing import Preparer
from tests.integration.mixed_mail import trade
from tests.spec import T0


class Torn(MemoryEventLog):
    """A log whose tables of SKUs cannot be read for a while."""

    torn = True

    def select_many(self, streams: Collection[str]) -> dict[str, Loaded]:
        if self.torn and any(stream.startswith("skus-") for stream in streams):
            raise OSError("input/output error")
        return super().select_many(streams)


def test_what_cannot_be_read_within_a_turn_ends_the_batch_and_not_the_message() -> None:
    log, vault = Torn("test"), MemoryVault(b"seed")
    engine = Engine(log, vault, Preparer(load(), vault.digest_key()))
    engine.take_over()
    engine.begin_life("life", 0, None, 0)
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
