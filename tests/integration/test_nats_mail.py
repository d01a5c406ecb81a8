"""The mail of a cell on a real server: durable, in order, without gaps, and honest about what is not there."""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from adapters.nats.address import Address
from adapters.nats.chain import DerivedPublisher
from adapters.nats.client import Connection
from adapters.nats.connection import api, connect
from adapters.nats.errors import (
    BatchRefused,
    BrokerBusy,
    BrokerError,
    BrokerUnavailable,
    Gap,
    MessageTooLarge,
    ReaderLost,
    WrongLastSequence,
)
from adapters.nats.publish import BatchAck, BatchPublisher
from adapters.nats.reader import MailReader, Msg
from adapters.nats.server import EmbeddedServer
from adapters.nats.streams import (
    MailInfo,
    confirm_missing,
    ensure_events,
    ensure_mail,
    ensure_quarantine,
    get_stored,
    mail_info,
    purge_mail,
    read_back,
    recreate_mail,
)

STREAM = "MAIL_c1"
Message = tuple[str, bytes, dict[str, str] | None]


def mails(count: int, size: int = 100, first: int = 0) -> list[Message]:
    return [(f"mail.c1.order.{n}", b"%d " % n + b"x" * size, None) for n in range(first, first + count)]


async def make_mail(nc: Connection, *, first_seq: int = 1, max_bytes: int = 64 * 1024**2) -> BatchPublisher:
    await ensure_mail(nc, "c1", incarnation="one", first_seq=first_seq, max_bytes=max_bytes)
    return BatchPublisher(nc)


async def take(reader: MailReader, count: int) -> list[Msg]:
    got: list[Msg] = []
    while len(got) < count:
        more = await reader.next(700, 5)
        assert more, f"only {len(got)} of {count} came"
        got += more
    return got


async def read_on(reader: MailReader, got: list[Msg]) -> None:
    while True:
        got += await reader.next(1000, 5)


async def read(nc: Connection, start: int, count: int) -> list[Msg]:
    async with MailReader(nc, "c1", start) as reader:
        return await take(reader, count)


async def test_what_was_published_is_read_back_whole_and_in_order(nc: Connection) -> None:
    publisher = await make_mail(nc)
    sent = mails(5000, 600)
    before_ms = time.time_ns() // 1_000_000
    assert await publisher.publish_batch(sent, stream=STREAM) == BatchAck(last_seq=5000, count=5000)
    got = await read(nc, 1, 5000)
    assert [(m.subject, m.payload, m.headers) for m in got] == sent
    assert [m.seq for m in got] == list(range(1, 5001))
    assert all(before_ms - 1 <= m.time_ms <= time.time_ns() // 1_000_000 for m in got)
    stored = await get_stored(nc, STREAM, seq=5000)
    assert stored is not None
    assert stored.time_ms == got[-1].time_ms


async def test_the_senders_headers_arrive_and_the_brokers_do_not(nc: Connection) -> None:
    publisher = await make_mail(nc)
    headers = {"reply_to": "inbox: 1", "Kind": "stück"}
    await publisher.publish_batch([("mail.c1.a", b"1", headers), ("mail.c1.a", b"2", None)], stream=STREAM)
    await publisher.publish_batch([("mail.c1.a", b"3", headers)], stream=STREAM)
    assert [m.headers for m in await read(nc, 1, 3)] == [headers, None, headers]


@pytest.mark.parametrize("count", [1, 5, 1500])
async def test_a_batch_behind_another_last_sequence_is_refused_whole(nc: Connection, count: int) -> None:
    publisher = await make_mail(nc)
    await publisher.publish_batch(mails(10), stream=STREAM)
    with pytest.raises(WrongLastSequence) as refused:
        await publisher.publish_batch(mails(count), stream=STREAM, expected_last=9)
    assert refused.value.stored == 0
    info = await mail_info(nc, "c1")
    assert info is not None
    assert (info.messages, info.last_seq) == (10, 10)
    ack = await publisher.publish_batch(mails(count), stream=STREAM, expected_last=10)
    assert ack == BatchAck(last_seq=10 + count, count=count)


async def test_a_full_mail_answers_busy_and_keeps_what_it_has(nc: Connection) -> None:
    publisher = await make_mail(nc, max_bytes=200_000)
    await publisher.publish_batch(mails(100, 600), stream=STREAM)
    with pytest.raises(BrokerBusy):
        await publisher.publish_batch(mails(500, 600), stream=STREAM)
    info = await mail_info(nc, "c1")
    assert info is not None
    assert (info.first_seq, info.last_seq) == (1, 100)
    await purge_mail(nc, "c1", 100)
    assert (await publisher.publish_batch(mails(100, 600), stream=STREAM)).last_seq == 200


async def test_of_a_long_input_the_error_says_how_many_are_stored(nc: Connection) -> None:
    publisher = await make_mail(nc, max_bytes=1_200_000)
    with pytest.raises(BrokerBusy) as busy:
        await publisher.publish_batch(mails(3000, 600), stream=STREAM)
    info = await mail_info(nc, "c1")
    assert info is not None
    assert busy.value.stored == info.messages == 1000


async def test_a_batch_with_a_message_id_already_seen_is_refused_whole(nc: Connection) -> None:
    publisher = await make_mail(nc)
    once = ("mail.c1.a", b"1", {"Nats-Msg-Id": "a"})
    assert not (await publisher.publish_batch([once], stream=STREAM)).duplicate
    assert (await publisher.publish_batch([once], stream=STREAM)).duplicate
    with pytest.raises(BatchRefused) as refused:
        await publisher.publish_batch([*mails(3), once], stream=STREAM)
    assert refused.value.code == 10201
    assert (await publisher.publish_batch(mails(1), stream=STREAM)).last_seq == 2


async def test_what_cannot_be_sent_is_refused_before_anything_is_sent(nc: Connection) -> None:
    publisher = await make_mail(nc)
    bad: list[tuple[Message, type[Exception]]] = [
        (("mail.c1.a b", b"", None), ValueError),
        (("mail.c1.a\r\nPUB x 0\r\n", b"", None), ValueError),
        (("", b"", None), ValueError),
        (("mail.c1.a", b"", {"a": "1\r\nNats-Msg-Id: 1"}), ValueError),
        (("mail.c1.a", b"", {"a b": "1"}), ValueError),
        (("mail.c1.a", b"x" * nc.max_payload, None), MessageTooLarge),
    ]
    for message, error in bad:
        with pytest.raises(error):
            await publisher.publish_batch([*mails(2), message], stream=STREAM)
    assert (await publisher.publish_batch(mails(1), stream=STREAM)).last_seq == 1


async def test_publishing_where_no_stream_listens_is_no_success(nc: Connection) -> None:
    with pytest.raises(BrokerUnavailable):
        await BatchPublisher(nc).publish_batch(mails(1), stream=STREAM)
    with pytest.raises(BrokerUnavailable):
        await BatchPublisher(nc).publish_batch(mails(3), stream=STREAM)


async def test_publishers_at_the_same_time_do_not_mix_their_batches(nc: Connection) -> None:
    one = await make_mail(nc)
    two = BatchPublisher(nc)
    jobs = [p.publish_batch(mails(40, first=1000 * n), stream=STREAM) for n, p in enumerate([one, two] * 10)]
    acks = await asyncio.gather(*jobs)
    assert sorted(ack.last_seq for ack in acks) == list(range(40, 801, 40))
    numbers = [int(m.payload.split()[0]) for m in await read(nc, 1, 800)]
    for start in range(0, 800, 40):
        assert numbers[start : start + 40] == list(range(numbers[start], numbers[start] + 40))


async def test_messages_of_any_size_come_through(nc: Connection) -> None:
    publisher = await make_mail(nc)
    sizes = [1_000_000, 10, 900_000, 0, 1_000_000, 1_000_000, 1_000_000, 5] * 3
    sent: list[Message] = [("mail.c1.a", bytes(size), None) for size in sizes]
    await publisher.publish_batch(sent, stream=STREAM)
    async with MailReader(nc, "c1", 1, batch=10, pull_bytes=2 * 1024**2) as reader:
        assert [len(m.payload) for m in await take(reader, len(sizes))] == sizes


async def test_a_reader_holds_no_more_than_its_read_ahead(nc: Connection) -> None:
    publisher = await make_mail(nc)
    await publisher.publish_batch(mails(2000), stream=STREAM)
    async with MailReader(nc, "c1", 1, batch=100, read_ahead=300) as reader:
        first = await reader.next(1, 5)
        await asyncio.sleep(0.3)
        assert len(first) == 1
        assert 200 <= reader.waiting <= 300
        assert [m.seq for m in await take(reader, 1999)] == list(range(2, 2001))


async def test_a_reader_knows_how_much_mail_is_behind_what_it_returned(nc: Connection) -> None:
    publisher = await make_mail(nc)
    await publisher.publish_batch(mails(50), stream=STREAM)
    async with MailReader(nc, "c1", 1, batch=10) as reader:
        seen = 0
        while seen < 50:
            seen += len(await reader.next(10, 5))
            assert reader.behind == 50 - seen


async def test_an_idle_reader_outlives_its_pull_requests_and_wakes_at_once(nc: Connection) -> None:
    publisher = await make_mail(nc)
    async with MailReader(nc, "c1", 1, batch=10, expires_s=0.6, heartbeat_s=0.2) as reader:
        assert await reader.next(10, 1.5) == []
        waiting = asyncio.create_task(reader.next(10, 5))
        await asyncio.sleep(0.05)
        start = time.monotonic()
        await publisher.publish_batch(mails(1), stream=STREAM)
        assert [m.seq for m in await waiting] == [1]
        assert time.monotonic() - start < 1
        await publisher.publish_batch(mails(50), stream=STREAM)
        assert [m.seq for m in await take(reader, 50)] == list(range(2, 52))


async def test_what_was_purged_is_in_no_file_of_the_server(nc: Connection, tmp_path: Path) -> None:
    """A purge alone would leave it there for as long as a later message lies in the same file."""

    def there() -> list[bytes]:
        files = [file.read_bytes() for file in (tmp_path / "broker").rglob("*") if file.is_file()]
        return [each for each in (b"13800000007", b"13900000001") if any(each in data for data in files)]

    publisher = await make_mail(nc)
    personal = [("mail.c1.order.1", b"%d: call 13800000007 " % number, None) for number in range(300)]
    await publisher.publish_batch(personal, stream=STREAM)
    await publisher.publish_batch([("mail.c1.order.2", b"call 13900000001", None)], stream=STREAM)
    assert there() == [b"13800000007", b"13900000001"]
    assert await purge_mail(nc, "c1", 300) == 300
    assert there() == [b"13900000001"]
    assert [message.seq for message in await read(nc, 301, 1)] == [301]


async def test_a_purge_in_front_of_the_reader_is_a_gap(nc: Connection) -> None:
    publisher = await make_mail(nc)
    await publisher.publish_batch(mails(100), stream=STREAM)
    assert await purge_mail(nc, "c1", 40) == 40
    async with MailReader(nc, "c1", 31) as reader:
        with pytest.raises(Gap) as gap:
            await reader.next(10, 5)
        assert (gap.value.expected, gap.value.got) == (31, 41)
        with pytest.raises(Gap):
            await reader.next(10, 5)
    assert await confirm_missing(nc, "c1", 31, 40) == [(31, 40)]
    assert await confirm_missing(nc, "c1", 35, 60) == [(35, 40)]
    assert [m.seq for m in await read(nc, 41, 60)] == list(range(41, 101))


async def test_messages_before_a_hole_are_given_and_then_the_gap(nc: Connection) -> None:
    publisher = await make_mail(nc)
    await publisher.publish_batch(mails(20), stream=STREAM)
    for seq in (11, 12, 15):
        await api(nc, f"STREAM.MSG.DELETE.{STREAM}", {"seq": seq})
    async with MailReader(nc, "c1", 5) as reader:
        assert [m.seq for m in await take(reader, 6)] == list(range(5, 11))
        with pytest.raises(Gap):
            await reader.next(10, 5)
    assert await confirm_missing(nc, "c1", 5, 20) == [(11, 12), (15, 15)]
    assert await confirm_missing(nc, "c1", 12, 14) == [(12, 12)]
    assert await confirm_missing(nc, "c1", 18, 30) == []


async def test_a_broker_that_went_back_is_a_gap(nc: Connection) -> None:
    publisher = await make_mail(nc)
    await publisher.publish_batch(mails(10), stream=STREAM)
    with pytest.raises(Gap) as gap:
        await MailReader(nc, "c1", 12).open()
    assert (gap.value.expected, gap.value.got) == (12, 11)
    assert await read(nc, 11, 0) == []


async def test_a_reader_whose_consumer_or_stream_is_gone_says_so(nc: Connection) -> None:
    await make_mail(nc)
    async with MailReader(nc, "c1", 1, heartbeat_s=0.2) as reader:
        await api(nc, f"CONSUMER.DELETE.{STREAM}.{reader._name}")
        with pytest.raises(ReaderLost):
            await reader.next(10, 5)
    await api(nc, f"STREAM.DELETE.{STREAM}")
    with pytest.raises(ReaderLost):
        await MailReader(nc, "c1", 1).open()


async def test_a_connection_that_broke_and_is_back_loses_the_reader(nc: Connection) -> None:
    publisher = await make_mail(nc)
    await publisher.publish_batch(mails(10), stream=STREAM)
    async with MailReader(nc, "c1", 1, heartbeat_s=10) as reader:
        got: list[Msg] = []
        while len(got) < 5:
            got += await reader.next(5 - len(got), 5)
        assert [m.seq for m in got] == [1, 2, 3, 4, 5]
        await nc.force_reconnect()
        await nc.until_connected(5)
        with pytest.raises(ReaderLost, match="broke"):
            await asyncio.wait_for(reader.next(5, 5), 1)
    assert [m.seq for m in await read(nc, 6, 5)] == list(range(6, 11))


async def test_a_silent_server_is_noticed_by_its_missing_heartbeat(nc: Connection, nats_server: EmbeddedServer) -> None:
    await make_mail(nc)
    assert nats_server.pid is not None
    async with MailReader(nc, "c1", 1, heartbeat_s=0.2) as reader:
        assert await reader.next(10, 0.5) == []
        os.kill(nats_server.pid, signal.SIGSTOP)
        try:
            start = time.monotonic()
            with pytest.raises(ReaderLost, match="heartbeat"):
                await reader.next(10, 5)
            assert time.monotonic() - start < 2
        finally:
            os.kill(nats_server.pid, signal.SIGCONT)


async def test_a_caller_that_was_busy_does_not_lose_its_reader(nc: Connection) -> None:
    publisher = await make_mail(nc)
    async with MailReader(nc, "c1", 1, heartbeat_s=0.2) as reader:
        time.sleep(1)  # noqa: ASYNC251  a decider that keeps the loop for itself
        assert await reader.next(10, 0.4) == []
        await publisher.publish_batch(mails(5), stream=STREAM)
        assert [message.seq for message in await take(reader, 5)] == [1, 2, 3, 4, 5]


async def test_a_closed_reader_leaves_no_consumer_behind(nc: Connection) -> None:
    await make_mail(nc)
    async with MailReader(nc, "c1", 1):
        assert (await api(nc, f"STREAM.INFO.{STREAM}"))["state"]["consumer_count"] == 1
    assert (await api(nc, f"STREAM.INFO.{STREAM}"))["state"]["consumer_count"] == 0


async def test_a_killed_server_loses_no_acknowledged_message(nats_server: EmbeddedServer) -> None:
    nc = await connect(Address.read(nats_server.address_file), "test")
    publisher = await make_mail(nc)
    acknowledged: dict[int, bytes] = {}

    async def publish() -> None:
        first = 0
        while True:
            batch = mails(50, first=first)
            ack = await publisher.publish_batch(batch, stream=STREAM)
            acknowledged.update(zip(range(ack.last_seq - 49, ack.last_seq + 1), (m[1] for m in batch), strict=True))
            first += 50

    reader = await MailReader(nc, "c1", 1).open()
    publishing = asyncio.create_task(publish())
    got = await take(reader, 500)
    assert nats_server.pid is not None
    os.kill(nats_server.pid, signal.SIGKILL)
    with pytest.raises(BrokerUnavailable):
        await publishing
    with pytest.raises(ReaderLost):
        await read_on(reader, got)
    await reader.close()
    await nats_server.wait()
    await nats_server.start()
    await nc.until_connected(10)

    info = await mail_info(nc, "c1")
    assert info is not None
    assert info.incarnation == "one"
    assert info.last_seq >= max(acknowledged)
    last = got[-1].seq
    if info.last_seq > last:
        got += await read(nc, last + 1, info.last_seq - last)
    everything = {m.seq: m.payload for m in got}
    assert len(everything) == len(got) == info.last_seq
    assert acknowledged.items() <= everything.items()
    assert await read_back(nc, "c1", last) == everything[last]
    assert (await publisher.publish_batch(mails(2), stream=STREAM)).last_seq == info.last_seq + 2
    await nc.close()


async def test_a_wiped_broker_is_noticed_and_goes_on_above_the_old_numbers(nats_server: EmbeddedServer) -> None:
    nc = await connect(Address.read(nats_server.address_file), "test")
    publisher = await make_mail(nc)
    await publisher.publish_batch(mails(10), stream=STREAM)
    assert await read_back(nc, "c1", 10) == mails(10)[9][1]
    assert await read_back(nc, "c1", 11) is None
    await nats_server.stop()
    shutil.rmtree(nats_server.directory / "store")
    await nats_server.start()
    await nc.until_connected(10)
    assert await mail_info(nc, "c1") is None
    with pytest.raises(BrokerError):
        await read_back(nc, "c1", 10)
    assert await confirm_missing(nc, "c1", 1, 10) == []

    info = await ensure_mail(nc, "c1", incarnation="two", first_seq=11, max_bytes=1024**2)
    assert (info.incarnation, info.first_seq, info.last_seq) == ("two", 11, 10)
    assert (await publisher.publish_batch(mails(3), stream=STREAM)).last_seq == 13
    assert [m.seq for m in await read(nc, 11, 3)] == [11, 12, 13]
    await nc.close()


async def test_a_mail_that_is_there_keeps_its_life_and_takes_new_limits(nc: Connection) -> None:
    publisher = await make_mail(nc, first_seq=500)
    assert (await publisher.publish_batch(mails(2), stream=STREAM)).last_seq == 501
    info = await ensure_mail(nc, "c1", incarnation="other", first_seq=9000, max_bytes=2 * 1024**2)
    assert info == MailInfo("one", 500, 501, 2, info.bytes, 2 * 1024**2)
    await purge_mail(nc, "c1", 501)
    empty = await mail_info(nc, "c1")
    assert empty is not None
    assert (empty.first_seq, empty.last_seq, empty.messages) == (502, 501, 0)
    fresh = await recreate_mail(nc, "c1", incarnation="two", first_seq=1000, max_bytes=1024**2)
    assert (fresh.incarnation, fresh.first_seq, fresh.last_seq) == ("two", 1000, 999)
    assert await recreate_mail(nc, "c2", incarnation="x", first_seq=1, max_bytes=1024) == MailInfo(
        "x", 1, 0, 0, 0, 1024
    )


async def test_a_full_feed_drops_its_oldest(nc: Connection) -> None:
    await ensure_events(nc, "c1", max_bytes=50_000)
    await ensure_quarantine(nc, "c1", max_bytes=50_000)
    for name, subject in (("EVENTS_c1", "events.c1.order.s.paid"), ("QUARANTINE_c1", "quarantine.c1.order.1")):
        messages: list[Message] = [(subject, bytes(600), None)] * 200
        assert (await DerivedPublisher(nc, name).publish(messages)).last_seq == 200
        last = await get_stored(nc, name, last_on=subject)
        assert last is not None
        assert last.seq == 200
        assert await get_stored(nc, name, seq=1) is None


async def test_a_cell_has_a_name_that_cannot_leave_its_subject(nc: Connection) -> None:
    for name in ("", "a.b", "a b", "*", ">", "a\n", "x" * 65):
        with pytest.raises(ValueError, match="cannot name"):
            await mail_info(nc, name)


@pytest.mark.parametrize("lead", ["$JS.ACK.MAIL_c1.me.", "$JS.ACK.hub.AbCdEf.MAIL_c1.me."])
async def test_sequence_and_time_are_read_from_either_form_of_reply_subject(nc: Connection, lead: str) -> None:
    tail = ".a1B2" if "hub" in lead else ""
    reader = MailReader(nc, "c1", 41)
    for seq in (41, 42):
        reader._take(b"mail.c1.a", f"{lead}1.{seq}.7.1795379694550123456.3{tail}".encode(), b"x", None)
    got = await reader.next(10, 0.1)
    assert got == [Msg(seq, 1795379694550, "mail.c1.a", b"x", None) for seq in (41, 42)]
