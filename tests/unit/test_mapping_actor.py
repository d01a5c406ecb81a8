"""Which mapping is in force is told by events: numbered, explained, refused with a reason, in force from there on."""

from typing import Any

import msgspec
import pytest

from adapters.channels import load
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.vault import MemoryVault
from domain.catalogue import decode_event
from domain.cell import Taken
from domain.envelope import By
from domain.handled import MissingCommandId
from domain.ids import mapping_key, order_key
from domain.mail import ChannelPayload, Mail, encode_mail
from domain.mapping import (
    ChangeMapping,
    InForce,
    MappingChanged,
    MappingRefused,
    MissingReason,
    RefusedMapping,
    WrongActor,
    mapping,
)
from domain.order import OrderAmended, OrderNormalized, ResendQuarantined, ScanOut
from runners.engine import Delivered, Engine
from runners.prepare import Job, do, ready
from runners.preparing import Preparer, Ready
from tests.integration.mixed_mail import trade
from tests.spec import PERSON, T0, Cell, Spec

FIELD = '[[field]]\nfrom = "{}"\nto = "attributes.said"\npersonal = false\n'
TEXT = FIELD.format("buyer_message")


def changed(version: int, text: str, command: str) -> MappingChanged:
    (event,) = mapping.decide(ChangeMapping(command, text, "why"), mapping.initial, T0)
    assert isinstance(event, MappingChanged)
    return msgspec.structs.replace(event, version=version)


def test_changes_are_numbered_and_said_once() -> None:
    spec = Spec(mapping).when(ChangeMapping("c-1", TEXT, "why")).then(changed(1, TEXT, "c-1"))
    spec.when(ChangeMapping("c-1", TEXT, "why")).then_nothing()
    spec.when(ChangeMapping("c-2", TEXT, "why")).then_nothing()
    spec.when(ChangeMapping("c-3", "", "back to nothing")).then_some(MappingChanged)
    assert spec.state.in_force.version == 2
    assert spec.state.in_force.text == ""


def test_a_bad_document_is_refused_with_its_line_and_changes_nothing() -> None:
    spec = Spec(mapping).given(changed(1, TEXT, "c-1"))
    spec.when(ChangeMapping("c-2", "[[field]]\n", "why")).then_raises(RefusedMapping)
    assert spec._refusal is not None
    assert spec._refusal.reason.startswith("line 1:")
    spec.when(ChangeMapping("c-3", TEXT, "  ")).then_raises(MissingReason)
    spec.when(ChangeMapping("", TEXT, "why")).then_raises(MissingCommandId)
    spec.when(ScanOut("c-4")).then_raises(WrongActor)


def test_whether_a_source_is_harmless_is_told_by_who_sends_the_change() -> None:
    text = TEXT.replace("personal = false\n", "")
    Spec(mapping).when(ChangeMapping("c-1", text, "why")).then_raises(RefusedMapping)
    Spec(mapping).when(ChangeMapping("c-1", text, "why", ("buyer_message",))).then_some(MappingChanged)


def test_a_refusal_is_recorded_once() -> None:
    cell = Cell()
    key = mapping_key("taobao")
    bad = ChangeMapping("c-1", "x =", "why")
    turn = cell.send(key, bad)
    assert (turn.outcome, cell.tags(key)) == ("refused", ["mapping.refused"])
    assert "line 1" in turn.reason
    again = cell.send(key, bad)
    assert (again.outcome, again.reason) == ("refused", turn.reason)
    assert cell.tags(key) == ["mapping.refused"]


def test_a_refusal_of_a_change_without_an_id_is_no_change_that_was_handled() -> None:
    spec = Spec(mapping).given(MappingRefused("ChangeMapping", "MissingCommandId", "no id"))
    assert spec.state == mapping.initial
    spec.when(ChangeMapping("", TEXT, "why")).then_raises(MissingCommandId)


# --- the engine: what is in force at a message


class Shop:
    """An engine and its mail."""

    def __init__(self) -> None:
        self.vault = MemoryVault(b"seed")
        self.log = MemoryEventLog("test")
        self.preparer = Preparer(load(), self.vault.digest_key())
        self.engine = Engine(self.log, self.vault, self.preparer)
        self.engine.take_over()
        self.engine.begin_life("life", 0, None, 0)
        self.seq = 0

    def delivered(self, *mails: Mail) -> list[Delivered]:
        found = []
        for mail in mails:
            self.seq += 1
            found.append(Delivered(self.seq, T0, encode_mail(mail)))
        return found

    def send(self, *mails: Mail, beforehand: Any = None) -> None:
        batch = self.engine.decide(self.delivered(*mails), 0, beforehand or {})
        self.engine.committed(batch, self.engine.commit(batch))

    def events(self, number: int) -> list[Any]:
        stream = order_key("taobao", "s", str(number))
        return [decode_event(e.tag, e.data) for e in self.log._events if e.stream == stream]


def order(number: int, **more: Any) -> Mail:
    raw = trade(number, "WAIT_SELLER_SEND_GOODS", 1_794_326_400_000, 1_794_326_400_000, **more)
    to = order_key("taobao", "s", str(number))
    return Mail(to, ChannelPayload("taobao", "s", str(number), raw), T0, By("channel", "taobao"))


def change(text: str, command: str) -> Mail:
    return Mail(mapping_key("taobao"), ChangeMapping(command, text, "why"), T0, PERSON)


def test_a_change_is_in_force_for_what_comes_behind_it_in_the_same_batch() -> None:
    shop = Shop()
    shop.send(order(1), change(TEXT, "c-1"), order(2), change("", "c-2"), order(3))
    views = [next(e for e in shop.events(number) if isinstance(e, OrderNormalized)) for number in (1, 2, 3)]
    assert [view.mapping for view in views] == [0, 1, 2]
    assert [view.snapshot.attributes.get("said") for view in views] == [None, "周末送货，谢谢", None]


def test_what_was_prepared_by_an_older_mapping_is_prepared_again() -> None:
    shop = Shop()
    mails = [change(TEXT, "c-1"), order(1), order(2)]
    opened = shop.engine.open(shop.delivered(*mails))

    def prepared(at: int, in_force: InForce) -> Ready:
        mail = mails[at]
        assert isinstance(mail.body, ChannelPayload)
        job = Job("taobao", "s", mail.to, mail.body.raw, opened.keys[mail.to])
        return ready(mail.to, do(shop.preparer, job, in_force), in_force)

    digest = changed(1, TEXT, "c-1").digest
    right = prepared(2, InForce(1, digest, TEXT))
    other = prepared(1, InForce(1, "another text of the same number", FIELD.format("receiver_state")))
    batch = shop.engine.decide(opened, 0, {2: other, 3: right})
    shop.engine.committed(batch, shop.engine.commit(batch))
    for number in (1, 2):
        view = shop.events(number)[1]
        assert (view.mapping, view.snapshot.attributes["said"]) == (1, "周末送货，谢谢")
    assert isinstance(right.prepared, Taken)
    assert shop.events(2)[1].snapshot == right.prepared.command.snapshot


def test_the_same_payload_again_is_a_repeat_until_the_mapping_changes() -> None:
    shop = Shop()
    shop.send(order(1), order(1), change(TEXT, "c-1"), order(1), order(1))
    kinds = [type(event).__name__ for event in shop.events(1)]
    assert kinds.count("OrderRepeated") == 2
    (amended,) = (event for event in shop.events(1) if isinstance(event, OrderAmended))
    assert (amended.mapping, amended.changed, amended.snapshot.attributes["said"]) == (1, (), "周末送货，谢谢")


def test_what_an_older_mapping_reads_never_goes_before_what_a_newer_one_read() -> None:
    for text in (TEXT, FIELD.format("receiver_state"), FIELD.format("receiver_city")):
        shop = Shop()
        shop.send(order(1), change(text, "c-1"), order(1))
        assert isinstance(shop.events(1)[-1], OrderAmended), "whatever the digests are"


def test_a_kept_message_that_is_sent_again_is_read_by_the_corrected_mapping() -> None:
    shop = Shop()
    broken = FIELD.format("buyer_message") + 'convert = "integer"\n'
    shop.send(change(broken, "c-1"), order(1))
    (kept,) = shop.events(1)
    assert (kept.mapping, kept.where) == (1, "buyer_message")
    assert "line 1 of the mapping" in kept.reason
    assert "周末" not in kept.reason, "the value may be personal"
    to = order_key("taobao", "s", "1")
    shop.send(change(TEXT, "c-2"), Mail(to, ResendQuarantined("c-3", kept.item), T0, PERSON))
    view = next(event for event in shop.events(1) if isinstance(event, OrderNormalized))
    assert (view.mapping, view.snapshot.attributes["said"]) == (2, "周末送货，谢谢")


def test_a_restarted_engine_goes_on_with_the_mapping_in_force() -> None:
    shop = Shop()
    shop.send(change(TEXT, "c-1"))
    shop.engine = Engine(shop.log, shop.vault, shop.preparer)
    shop.engine.take_over()
    shop.send(order(1))
    assert shop.events(1)[1].mapping == 1


def test_a_shop_may_write_its_times_in_another_zone() -> None:
    shop = Shop()
    text = '[times]\nzone = "+08:00"\n[shops.s.times]\nzone = "-05:00"\n'
    shop.send(order(1), change(text, "c-1"), order(2))
    first, second = (shop.events(number)[1].snapshot.ordered_at for number in (1, 2))
    assert (first.text, first.offset_min, second.offset_min) == (second.text, 480, -300)
    assert second.utc_ms - first.utc_ms == 13 * 3_600_000


@pytest.mark.parametrize("channel", sorted(load()))
def test_every_channel_can_be_read_by_its_shipped_mapping(channel: str) -> None:
    from adapters.channels.mappings import shipped  # noqa: PLC0415
    from domain.mapping_table import read_mapping  # noqa: PLC0415
    from domain.ports import Declares, KeepsTime  # noqa: PLC0415

    it = load()[channel]
    table = read_mapping(shipped(channel), it.harmless if isinstance(it, Declares) else ())
    if table.times.zone:
        assert isinstance(it, KeepsTime), "its times can be set, so the file may say how they are"
