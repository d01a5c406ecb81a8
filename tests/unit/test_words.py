"""What people write: sealed at the edge, checked by the worker, and never taken at its sender's word."""

from typing import Any

import pytest

from adapters.channels import load
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.sealing import SealBroken, payload_digest, seal
from adapters.storage.vault import MemoryVault
from domain import approvals, care, order, talk
from domain.approvals import AttachDocument
from domain.envelope import By, decode_envelope
from domain.ids import order_key
from domain.mail import ChannelPayload, Mail, encode_mail
from domain.ports import Payload
from runners.engine import Delivered, Engine
from runners.preparing import Preparer
from runners.words import checked, open_words, seal_words
from tests.colleagues import LI, QIAN, WU
from tests.integration.mixed_mail import trade
from tests.spec import T0

ORDER = order_key("taobao", "s", "1")
KEY = order_key("taobao", "shop1", "o-1")
DATA_KEY = b"k" * 64
OTHER_KEY = b"o" * 64


def nothing(_: str) -> bytes | None:
    return None


def test_words_come_back_as_they_were_written_and_blanks_are_left_out() -> None:
    told, sealed = seal_words(DATA_KEY, KEY, {"text": "请看 @财务", "note": "  ", "b": "x"})
    assert told == ("b", "text")
    assert open_words(DATA_KEY, KEY, sealed) == {"text": "请看 @财务", "b": "x"}
    assert "请看".encode() not in sealed


def test_nothing_written_is_nothing_sealed() -> None:
    assert seal_words(DATA_KEY, KEY, {"note": " "}) == ((), b"")


@pytest.mark.parametrize(
    ("sealed", "stream", "key"),
    [
        (seal(DATA_KEY, KEY, b'{"text":"x"}'), KEY, OTHER_KEY),
        (seal(DATA_KEY, KEY, b'{"text":"x"}'), "order-a:b:c", DATA_KEY),
        (seal(DATA_KEY, KEY, b"no json"), KEY, DATA_KEY),
        (b"", KEY, DATA_KEY),
    ],
)
def test_what_was_not_sealed_for_this_order_does_not_open(sealed: bytes, stream: str, key: bytes) -> None:
    with pytest.raises(SealBroken):
        open_words(key, stream, sealed)


def test_names_and_mentions_are_what_the_text_says_and_not_what_the_sender_claims() -> None:
    _, sealed = seal_words(DATA_KEY, KEY, {"text": "@财务 please"})
    lying = talk.Comment("c-1", WU, ("text", "limit"), sealed, mentions=("Mr Wang of Nanjing Road",))
    assert checked(lying, KEY, DATA_KEY, nothing) == (
        talk.Comment("c-1", WU, ("text",), sealed, mentions=("finance",)),
        None,
    )


@pytest.mark.parametrize("key", [None, OTHER_KEY])
def test_words_that_do_not_open_are_not_kept(key: bytes | None) -> None:
    told, sealed = seal_words(DATA_KEY, KEY, {"limit": "5"})
    act = approvals.Approve("c-1", LI, told, sealed, approval="credit")
    assert checked(act, KEY, key, nothing) == (approvals.Approve("c-1", LI, ("limit",), approval="credit"), None)


def test_an_act_without_words_stays_as_it_is() -> None:
    act = talk.ReadMentions("c-1", WU, upto=1)
    assert checked(act, KEY, None, nothing) == (act, None)


def document(**more: Any) -> AttachDocument:
    told, sealed = seal_words(DATA_KEY, KEY, {"name": "scan.pdf"})
    return AttachDocument("c-1", WU, told, sealed, kind="invoice", **more)


def test_a_document_leaves_its_message_for_the_payloads() -> None:
    raw = seal(DATA_KEY, KEY, b"%PDF")
    inline, payload = checked(document(raw=raw, size=999), KEY, DATA_KEY, nothing)
    assert isinstance(payload, Payload)
    assert (payload.stream, payload.sealed) == (KEY, raw)
    assert (inline.raw, inline.ref, inline.size, inline.payload) == (b"", "", 4, payload.digest.hex())
    aside, same = checked(document(ref="spool-1"), KEY, DATA_KEY, {"spool-1": raw}.get)
    assert (aside, same) == (inline, payload)


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"ref": "spool-1"}, DATA_KEY),
        ({"raw": b"in clear"}, DATA_KEY),
        ({}, DATA_KEY),
        ({"raw": seal(DATA_KEY, KEY, b"%PDF")}, None),
        ({"payload": "00ff"}, DATA_KEY),
    ],
)
def test_a_document_that_did_not_arrive_sealed_is_none(more: dict[str, Any], key: bytes | None) -> None:
    act, payload = checked(document(**more), KEY, key, nothing)
    assert (act.payload, act.raw, payload) == ("", b"", None)


class World:
    """An engine with one paid order."""

    def __init__(self) -> None:
        self.log = MemoryEventLog("test")
        self.vault = MemoryVault(b"seed")
        self.engine = Engine(self.log, self.vault, Preparer(load(), self.vault.digest_key()))
        self.engine.take_over()
        self.engine.begin_life("life", 0, None, 0)
        self.sequence = 0
        raw = trade(1, "WAIT_SELLER_SEND_GOODS", T0, T0)
        self.send(ChannelPayload("taobao", "s", "1", raw), By("channel", "taobao"))
        self.key = self.vault.keys([ORDER], create=False)[ORDER]

    def send(self, body: Any, by: By = WU, *, kills: bool = False) -> str:
        self.sequence += 1
        mail = encode_mail(Mail(ORDER, body, T0, by, "test", reply_to="me"))
        batch = self.engine.decide([Delivered(self.sequence, T0, mail)], self.sequence if kills else 0)
        return self.engine.committed(batch, self.engine.commit(batch))["me"].replies[0].outcome

    def words(self, **words: str) -> dict[str, Any]:
        told, sealed = seal_words(self.key, ORDER, words)
        return {"told": told, "sealed": sealed}

    def last(self) -> Any:
        return self.log.select(ORDER)[-1]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_a_lying_edge_fills_in_no_form(world: World) -> None:
    asked = approvals.RequestApproval("c-1", form="credit", role="finance", fields=("limit",))
    assert world.send(asked) == "accepted"
    words = world.words(note="fine")
    lying = approvals.Approve("c-2", QIAN, ("limit",), words["sealed"], approval="credit")
    assert world.send(lying, LI) == "refused"
    assert b"limit" in world.last().data
    assert world.send(approvals.Approve("c-3", **world.words(limit="5"), approval="credit"), LI) == "accepted"


def test_a_document_is_stored_once_and_sealed(world: World) -> None:
    raw = seal(world.key, ORDER, b"%PDF")
    assert world.send(AttachDocument("c-4", **world.words(name="a.pdf"), kind="invoice", raw=raw)) == "accepted"
    assert world.send(AttachDocument("c-5", **world.words(name="b.pdf"), kind="invoice", raw=raw)) == "repeated"
    digest = payload_digest(raw)
    assert world.log.payloads([digest]) == {digest: Payload(digest, ORDER, raw)}
    assert digest.hex().encode() in world.last().data


def test_a_document_whose_message_kills_waits_with_its_bytes_and_its_author(
    world: World,
) -> None:
    raw = seal(world.key, ORDER, b"%PDF of a killer")
    body = AttachDocument("c-6", LI, **world.words(name="c.pdf"), kind="drawing", raw=raw)
    assert world.send(body, kills=True) == "quarantined"
    quarantined = world.last()
    assert quarantined.tag == "order.quarantined"
    assert payload_digest(raw) in world.log.payloads([payload_digest(raw)])
    assert world.send(order.ResendQuarantined("c-7", f"life-{world.sequence}"), QIAN) == "accepted"
    assert world.last().tag == "order.document_attached"
    assert (decode_envelope(world.last().envelope).by, b'"person":"wu"' in world.last().data) == (WU, True)


def test_what_a_refused_document_brought_is_not_kept(world: World) -> None:
    raw = seal(world.key, ORDER, b"%PDF of nobody")
    assert world.send(AttachDocument("c-8", **world.words(name="d.pdf"), kind="two words", raw=raw)) == "refused"
    assert world.log.payloads([payload_digest(raw)]) == {}


def test_the_same_mail_writes_the_same_log() -> None:
    logs = []
    for _ in range(2):
        world = World()
        world.send(talk.Comment("c-1", **world.words(text="@财务 x")))
        logs.append([(event.data, event.sealed, event.leaf) for event in world.log.select(ORDER)])
    assert logs[0] == logs[1]


def test_after_the_key_is_destroyed_nothing_can_be_written_and_facts_still_can() -> None:
    world = World()
    words = world.words(text="x")
    world.vault.destroy([ORDER])
    assert world.send(talk.Comment("c-1", **words)) == "refused"
    assert world.send(care.Enquire("c-2", topic="logistics", channel="phone")) == "accepted"
