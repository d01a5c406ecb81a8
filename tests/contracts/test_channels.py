"""What every channel promises, whatever its platform: the same suite for all, driven by `tests.channel_samples`."""

import json
import os
import random
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.channels import load
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.sealing import open_sealed
from adapters.storage.vault import MemoryVault
from domain.canonical import SourceTime, Translated, TranslationError
from domain.catalogue import decode_event
from domain.mail import Reply, encode_mail
from domain.order import OrderNormalized, OrderQuarantined
from domain.ports import Aside, Channel, Recorded, Sliced
from domain.timehub import read_time
from runners.cutting import Cutter, Source
from runners.engine import Delivered, Engine
from runners.preparing import Preparer
from tests.channel_samples import (
    MINUTE_MS,
    ORDERED_MS,
    SAMPLES,
    SAYS_NOTHING,
    STATUSES,
    Sample,
    china,
    cut,
    encoded,
    leaves,
    spellings,
    translated,
    words_of,
)

REFERENCE = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples"
FOLDERS = {"wechat_miniprogram": ("wechat_shop", "miniprogram"), "pos_csv": ("pos",)}
"""Folders of the reference samples that are not named after their channel."""
REGISTERED = load()
EACH = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
HEADER = "小票号,门店编号,销售时间,行号,商品编码,商品名称,数量,单价,小计,实收金额,支付方式\r\n"
RECEIPT = "{number},S1,{time},1,DRILL,电钻,1,200.00,200.00,200.00,现金\r\n"


def order(sample: Sample, status: str = "paid", minutes: int = 5, number: int = 1) -> dict[str, Any]:
    return sample.make(number, status, ORDERED_MS, ORDERED_MS + minutes * MINUTE_MS)  # type: ignore[arg-type]


def receipts(*numbers: str, time: str = "2026-11-11 09:12:33") -> bytes:
    return "".join([HEADER, *(RECEIPT.format(number=number, time=time) for number in numbers)]).encode()


class _NoSpool:
    def put(self, raw: bytes) -> str:
        raise AssertionError(f"{len(raw)} bytes are too large for a test")


class Desk:
    """A cell in memory that one channel's documents come in at."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._channels = {channel.name: channel}
        self.log = MemoryEventLog()
        self.vault = MemoryVault()
        self._engine = Engine(self.log, self.vault, Preparer(self._channels, self.vault.digest_key()))
        self._engine.take_over()
        self._engine.begin_life("life", 0, None, 0)
        self._sequence = 0

    def take(self, fields: Any) -> list[Reply]:
        """Let a document come in; return what became of each of its parts."""
        return self._take(*((fields, "table") if isinstance(fields, bytes) else (encoded(fields), "json")))

    def take_json(self, raw: bytes) -> list[Reply]:
        """Let JSON come in, byte by byte as it is."""
        return self._take(raw, "json")

    def _take(self, raw: bytes, form: str) -> list[Reply]:
        source = Source("test", "document", 1, form)  # type: ignore[arg-type]
        cutter = Cutter(self._channels, _NoSpool(), channel=self._channel.name, shop="shop")
        delivered = []
        for mail in cutter.cut(raw, source, ORDERED_MS):
            self._sequence += 1
            letter = encode_mail(msgspec.structs.replace(mail, reply_to="desk"))
            delivered.append(Delivered(self._sequence, ORDERED_MS + self._sequence, letter))
        batch = self._engine.decide(delivered)
        answers = self._engine.committed(batch, self._engine.commit(batch))
        return list(answers["desk"].replies)

    def events(self) -> list[Recorded]:
        """Return the events of orders."""
        return [event for event in self.log.read(0, 1_000) if event.stream.startswith("order-")]

    def tags(self) -> list[str]:
        """Return the tags of all events."""
        return [event.tag for event in self.log.read(0, 1_000)]


# ---- Whose it is -----------------------------------------------------------------------------------------------------


def test_every_channel_that_speaks_json_is_in_the_table() -> None:
    assert set(REGISTERED) - {"pos"} == set(SAMPLES)


@EACH
def test_a_channel_recognises_its_own_and_no_other_does(sample: Sample) -> None:
    for status in STATUSES:
        body = encoded(order(sample, status))
        for raw in (body, sample.page([body, encoded(order(sample, status, number=2))])):
            assert [name for name, channel in REGISTERED.items() if channel.sniff(raw)] == [sample.name]
    assert [name for name, channel in REGISTERED.items() if channel.sniff(receipts("0001"))] == ["pos"]


@EACH
def test_a_page_is_cut_into_the_exact_bytes_of_its_orders(sample: Sample) -> None:
    bodies = [json.dumps(order(sample, number=number), ensure_ascii=False, indent=1).encode() for number in (1, 2, 3)]
    alone = [cut(sample, body) for body in bodies]
    found = sample.channel.identify(sample.page(bodies), "shop")
    assert found == alone
    assert [part.raw for part in alone] == bodies
    assert {part.shop for part in alone} == {"shop"}
    assert len({part.order_no for part in alone}) == 3


@EACH
def test_an_order_means_the_same_alone_and_in_a_page(sample: Sample) -> None:
    body = encoded(order(sample))
    page = sample.page([encoded(order(sample, number=2)), body])
    (part,) = [
        one for one in sample.channel.identify(page, "shop") if one.order_no == cut(sample, body).order_no
    ]  # fmt: skip
    again = load()[sample.name].translate(part.raw, part.shop)
    assert again == sample.channel.translate(body, "shop") == translated(sample, order(sample))


@EACH
def test_a_translation_is_the_order_that_was_cut(sample: Sample) -> None:
    part = cut(sample, encoded(order(sample)))
    found = translated(sample, order(sample))
    assert (found.snapshot.channel, found.snapshot.shop) == (sample.name, "shop")
    assert found.snapshot.order_no == part.order_no


# ---- What it means ---------------------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("status", STATUSES)
def test_each_status_has_its_place(sample: Sample, status: str) -> None:
    snapshot = translated(sample, order(sample, status)).snapshot
    assert snapshot.status == status
    assert snapshot.native_status
    assert snapshot.ordered_at.utc_ms == ORDERED_MS
    assert snapshot.modified_at.utc_ms == ORDERED_MS + 5 * MINUTE_MS
    assert {line.state for line in snapshot.lines} == {
        {"shipped": "shipped", "completed": "shipped", "cancelled": "cancelled"}.get(status, "open")
    }
    assert snapshot.amounts.payable == 20000
    assert snapshot.amounts.paid == (0 if status in ("awaiting_payment", "cancelled") else 20000)
    assert "amount_mismatch" not in snapshot.attributes
    assert sum(line.quantity for line in snapshot.lines) == 2


@EACH
def test_an_unknown_status_is_refused_and_never_guessed(sample: Sample) -> None:
    fields = order(sample)
    sample.break_status(fields)
    with pytest.raises(TranslationError) as refused:
        translated(sample, fields)
    assert refused.value.where == sample.status_field
    assert refused.value.reason
    assert refused.value.advice


@EACH
def test_who_the_customer_is_stays_in_the_sealed_half(sample: Sample) -> None:
    found = translated(sample, order(sample))
    shown = msgspec.json.encode(found.snapshot).decode()
    personal = found.personal
    secrets = {told for told in (personal.customer_id, *personal.receiver.values()) if len(told) > 2}
    secrets -= {found.snapshot.attributes.get("ship_to_country"), *found.snapshot.region.split()}
    assert secrets or personal.receiver
    assert not [told for told in secrets if told in shown]


@EACH
@given(st.data())
def test_a_number_too_big_for_a_float_stays_exact(sample: Sample, data: st.DataObject) -> None:
    fields = order(sample, number=data.draw(st.integers(1, 10**5)))
    body = encoded(fields)
    for text in (str(2**53 + 1), "9" * 30):
        fields["x_number"] = int(text)
        told = msgspec.json.encode(translated(sample, fields)).decode()
        assert text in told
    assert cut(sample, body).order_no in body.decode()


# ---- In a cell -------------------------------------------------------------------------------------------------------


@EACH
def test_a_duplicate_is_harmless(sample: Sample) -> None:
    desk = Desk(sample.channel)
    assert [reply.outcome for reply in desk.take(order(sample))] == ["accepted"]
    before = desk.tags()
    for _ in range(3):
        assert [reply.outcome for reply in desk.take(order(sample))] == ["repeated"]
    assert desk.tags() == [*before, "order.repeated", "order.repeated", "order.repeated"]
    assert len(desk.log.payloads([bytes.fromhex(payload_of(desk.events()[0]))])) == 1


def payload_of(event: Recorded) -> str:
    found: str = json.loads(event.data)["payload"]
    return found


@EACH
def test_a_stale_view_changes_nothing(sample: Sample) -> None:
    desk = Desk(sample.channel)
    desk.take(order(sample, "shipped", 30))
    before = desk.tags()
    for status, minutes in (("awaiting_payment", 1), ("paid", 5), ("cancelled", 29)):
        assert [reply.outcome for reply in desk.take(order(sample, status, minutes))] == ["outdated"]
    assert desk.tags() == [*before, "order.outdated", "order.outdated", "order.outdated"]
    (normalized,) = [event for event in desk.events() if event.tag == "order.normalized"]
    known = decode_event(normalized.tag, normalized.data)
    assert isinstance(known, OrderNormalized)
    assert known.snapshot.status == "shipped"


@EACH
def test_views_end_alike_in_whatever_order_they_come(sample: Sample) -> None:
    views = [order(sample, "awaiting_payment", 0), order(sample, "paid", 5), order(sample, "shipped", 9)]
    ends = set()
    for way in permutations(views):
        desk = Desk(sample.channel)
        for fields in way:
            desk.take(fields)
        last = [event for event in desk.events() if event.tag in ("order.normalized", "order.amended")][-1]
        ends.add(json.loads(last.data)["snapshot"]["status"])
        assert desk.tags().count("order.shipped") == 1
        assert desk.tags().count("order.paid") == 1
    assert ends == {"shipped"}


@EACH
def test_an_unknown_status_is_kept_with_its_bytes_until_somebody_decides(sample: Sample) -> None:
    desk = Desk(sample.channel)
    fields = order(sample)
    sample.break_status(fields)
    (reply,) = desk.take(fields)
    assert reply.outcome == "quarantined"
    (event,) = desk.events()
    kept = decode_event(event.tag, event.data)
    assert isinstance(kept, OrderQuarantined)
    assert kept.where == sample.status_field
    assert kept.reason in reply.reason
    digest = bytes.fromhex(kept.payload)
    payload = desk.log.payloads([digest])[digest]
    key = desk.vault.keys([event.stream], create=False)[event.stream]
    assert json.loads(open_sealed(key, event.stream, payload.sealed)) == fields
    assert [reply.outcome for reply in desk.take(order(sample, "shipped", 9))] == ["queued"]


@EACH
def test_an_order_that_came_before_is_amended_by_what_changed(sample: Sample) -> None:
    desk = Desk(sample.channel)
    for status, minutes in (("awaiting_payment", 0), ("paid", 5), ("shipped", 9), ("completed", 20)):
        assert [reply.outcome for reply in desk.take(order(sample, status, minutes))] == ["accepted"]
    tags = desk.tags()
    assert tags.count("order.received") == 1
    assert [tags.count(f"order.{word}") for word in ("paid", "shipped", "completed")] == [1, 1, 1]


@EACH
def test_a_page_with_one_bad_order_brings_the_others(sample: Sample) -> None:
    desk = Desk(sample.channel)
    bad = order(sample, number=2)
    sample.break_status(bad)
    page = json.loads(sample.page([encoded(order(sample)), encoded(bad), encoded(order(sample, number=3))]))
    assert [reply.outcome for reply in desk.take(page)] == ["accepted", "quarantined", "accepted"]


@EACH
def test_half_a_character_holds_up_neither_its_order_nor_its_page(sample: Sample) -> None:
    """Programs that cut a text amid an emoji write it so; not every reader of JSON takes it."""
    desk = Desk(sample.channel)
    cut_off = encoded({**order(sample, number=2), "x_words": "half"}).replace(b'"half"', rb'"half \ud83d"')
    page = sample.page([encoded(order(sample)), cut_off, encoded(order(sample, number=3))])
    assert [reply.outcome for reply in desk.take_json(page)] == ["accepted"] * 3
    (piece,) = (piece for piece in sample.channel.identify(cut_off, "shop") if isinstance(piece, Sliced))
    assert piece.raw == cut_off
    found = sample.channel.translate(piece.raw, piece.shop)
    assert isinstance(found, Translated)
    assert found.personal.attributes["x_words"] == r"half \ud83d"


def test_a_table_imported_twice_or_cut_differently_is_the_same_receipts() -> None:
    desk = Desk(REGISTERED["pos"])
    assert [reply.outcome for reply in desk.take(receipts("0001", "0002"))] == ["accepted", "accepted"]
    before = desk.tags()
    assert [reply.outcome for reply in desk.take(receipts("0001", "0002"))] == ["repeated", "repeated"]
    assert [reply.outcome for reply in desk.take(receipts("0002", "0003"))] == ["repeated", "accepted"]
    assert desk.tags()[: len(before)] == before
    assert desk.tags().count("order.received") == 3
    assert desk.tags().count("order.repeated") == 3


# ---- Time (all channels in one stream) -------------------------------------------------------------------------------


def instants() -> list[int]:
    """Seconds around midnight in China and around both changes of the clocks in New York, and some of a whole year."""
    chance = random.Random(59)
    anchors = [
        "2026-03-08T07:00:00Z",  # New York leaps from 02:00 to 03:00
        "2026-11-01T06:00:00Z",  # New York passes 01:00 to 02:00 twice
        "2026-11-10T16:00:00Z",  # midnight in China
        "2026-11-11T05:00:00Z",  # midnight in New York
        "2026-12-31T16:00:00Z",  # new year in China
    ]
    found = {ORDERED_MS + chance.randrange(-15_000_000, 15_000_000) * 1000 for _ in range(100)}
    for anchor in anchors:
        at = read_time(anchor)
        assert at is not None
        found |= {at.utc_ms + offset * 1000 for offset in (-3601, -1, 0, 1, 3599, 3600, 3601)}
        found |= {at.utc_ms + chance.randrange(-7_300, 7_300) * 1000 for _ in range(60)}
    mixed = sorted(found)
    chance.shuffle(mixed)
    return mixed


def of_till(ms: int) -> SourceTime:
    """Return when the tills of a shop say that a receipt was written."""
    channel = REGISTERED["pos"]
    (part,) = channel.identify(receipts("0001", time=china(ms)), "")
    found = channel.translate(part.raw, part.shop)
    assert isinstance(found, Translated)
    return found.snapshot.ordered_at


def test_a_mixed_stream_of_all_channels_sorts_by_what_really_came_first() -> None:
    channels = [*SAMPLES, "pos"]
    stream = []
    for place, true_ms in enumerate(instants()):
        name = channels[place % len(channels)]
        if name == "pos":
            at = of_till(true_ms)
        else:
            sample = SAMPLES[name]
            at = translated(sample, sample.make(place, "paid", true_ms, true_ms + 5 * MINUTE_MS)).snapshot.ordered_at
        assert at.utc_ms == true_ms, (name, at)
        stream.append((at, true_ms))
    assert len(stream) > 300
    assert len({len(at.text) for at, _ in stream}) > 3, "the stream must mix notations"
    in_order = sorted(stream, key=lambda one: one[0].utc_ms)
    assert [true_ms for _, true_ms in in_order] == sorted(true_ms for _, true_ms in stream)
    # what people read says the same instant, in the merchant's zone
    assert all(at.local.endswith("+08:00") for at, _ in stream)
    assert [at.local for at, _ in in_order] == sorted(at.local for at, _ in stream)


# ---- The reference samples -------------------------------------------------------------------------------------------


def reference_files() -> Iterator[Any]:
    """Return every sample that a registered channel could get."""
    if REFERENCE.is_dir():
        for folder in sorted(REFERENCE.iterdir()):
            names = [name for name in FOLDERS.get(folder.name, (folder.name,)) if name in REGISTERED]
            for file in sorted(folder.iterdir()) if names else ():
                yield pytest.param(names, file, id=f"{folder.name}/{file.name}")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["msg_id", "tag", "topic", "order_no", "trade_", "type", "p_id"])
def test_a_document_that_repeats_a_name_without_end_is_looked_at_in_no_time(name: str) -> None:
    raw = b"{" + f'"{name}":'.encode() * 50_000
    for channel in REGISTERED.values():
        channel.sniff(raw)


@pytest.mark.parametrize(
    ("names", "file"), list(reference_files()) or [pytest.param([], Path(), marks=pytest.mark.skip)]
)
def test_a_reference_sample_is_its_channels_and_understood(names: list[str], file: Path) -> None:
    raw = file.read_bytes()
    fitting = [name for name, channel in REGISTERED.items() if channel.sniff(raw)]
    assert set(fitting) <= set(names)
    assert len(fitting) <= 1
    for name in fitting:
        channel = REGISTERED[name]
        for part in channel.identify(raw, "shop"):
            if isinstance(part, Aside):
                assert part.kind in ("hint", "ignored", "refused")
                assert part.reason
                assert bool(part.order_no) == (part.kind == "hint")
            else:
                assert_no_leaf_is_lost(channel.translate(part.raw, part.shop), part)


TOLD_BY_STATUS = frozenset(
    {
        "status",
        "refund_status",
        "order_status",
        "main_status",
        "pre_sale_type",
        "confirm_status",
        "group_status",
        "risk_control_status",
        "is_gift",
        "test",
    }
)
"""Codes that canonical fields say in their own words; the unit tests of each channel check how."""
SUMS = frozenset(
    {
        "order_amount",
        "sum_amount",
        "orderSellerPrice",
        "platform_discount",
        "seller_discount",
        "advanced_paid_fee",
        "step_discount_amount",
        "step_paid_fee",
        "subtotal_price",
        "original_order_price",
        "admin_graphql_api_id",
    }
)
"""What follows from other fields, and is left out where it does."""
USUAL = frozenset(
    {
        "order_level=3",
        "orderType=22",
        "payType=4-在线支付",
        "stock_out_handle_status=-1",
        "name=delivery_one_day",
        "confirmed=True",
        "source_name=web",
        "fulfillment_service=manual",
        "service=manual",
        "product_exists=True",
        "requires_shipping=True",
        "taxable=True",
        "type=fixed",
        "shipping_type=express",
        "has_post_fee=True",
        "seller_type=B",
        'itemExt={"cid": "13288", "newStoreId": "0", "isVMI": 0}',
    }
)
"""What nearly every order says; the channels' tables declare it as a default."""


def assert_no_leaf_is_lost(found: Any, part: Sliced) -> None:
    """Find each value that says something again, in the snapshot or sealed. Tables have tests of their own."""
    if not isinstance(found, Translated) or found.snapshot.channel == "pos":
        return
    assert found.snapshot.order_no == part.order_no
    there = words_of(msgspec.to_builtins(found))
    lost = [
        (name, value)
        for name, value in leaves(json.loads(part.raw))
        if name not in TOLD_BY_STATUS | SUMS
        and value not in SAYS_NOTHING
        and f"{name}={value}" not in USUAL
        and spellings(value).isdisjoint(there)
    ]
    assert lost == []
