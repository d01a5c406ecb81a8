"""Publishing to derived streams, both ways, on a real server: what is stored after refusals, rivals and crashes."""

import asyncio
import json
import os
import random
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.errors import Error as NatsError

from adapters.nats.address import Address
from adapters.nats.chain import ChainPublisher, DerivedPublisher
from adapters.nats.client import Connection
from adapters.nats.connection import api, connect
from adapters.nats.errors import BrokerBusy, BrokerError, BrokerUnavailable, MessageTooLarge, WrongLastSequence
from adapters.nats.kv import KvWriter
from adapters.nats.publish import Message
from adapters.nats.server import EmbeddedServer
from adapters.nats.streams import ensure_documents, ensure_events, ensure_kv, get_stored, how_stored, last_seq
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from adapters.storage.sqlite_log import SqliteEventLog
from projections.orders import Orders
from runners.bootstrap import ADDRESS_FILE, LOG_FILE
from runners.documents import MARKER, Documents
from runners.projector import Projector
from runners.settings import FILE as SETTINGS_FILE
from tests.integration.following import follower
from tests.trade import Trade, trade_day, view

STREAM = "EVENTS_main"
SUBJECT = "events.main.order.s.paid"
CONFIG: dict[str, Any] = {"name": STREAM, "subjects": ["events.main.>"], "storage": "file", "allow_direct": True}
WAYS: dict[str, dict[str, Any]] = {"derived": {"persist_mode": "async"}, "atomic": {"allow_atomic": True}}


def messages(first: int, count: int, subject: str = SUBJECT) -> list[Message]:
    return [(subject, b"%d" % number, b"ce-position: %d\r\n" % number) for number in range(first, first + count)]


async def payloads(nc: Connection, stream: str = STREAM) -> list[int]:
    found = []
    for sequence in range(1, (await last_seq(nc, stream) or 0) + 1):
        stored = await get_stored(nc, stream, seq=sequence)
        assert stored is not None
        found.append(int(stored.payload))
    return found


async def made(nc: Connection, way: str, **more: object) -> DerivedPublisher:
    await api(nc, f"STREAM.CREATE.{STREAM}", CONFIG | WAYS[way] | more)
    return DerivedPublisher(nc, STREAM)


@pytest.fixture
async def rival(nats_address: Address) -> AsyncIterator[Connection]:
    other = await connect(nats_address, "rival")
    yield other
    await other.close()


# --- either way


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_published_is_stored_in_order_with_its_headers(nc: Connection, way: str) -> None:
    publisher = await made(nc, way)
    assert (await publisher.publish(messages(1, 2500), 0)).last_seq == 2500
    assert (await publisher.publish(messages(2501, 1))).last_seq == 2501
    assert (await publisher.publish([("events.main.a", b"2502", {"x": "1", "y": "z"})], 2501)).count == 1
    last = await get_stored(nc, STREAM, seq=2502)
    assert last is not None
    assert last.headers == {"x": "1", "y": "z"}
    assert await payloads(nc) == list(range(1, 2503))
    await publisher.close()


@pytest.mark.parametrize("way", WAYS)
async def test_of_two_writers_one_is_refused_whole(nc: Connection, rival: Connection, way: str) -> None:
    one = await made(nc, way)
    two = DerivedPublisher(rival, STREAM)
    await one.publish(messages(1, 10), 0)
    for count in (1, 2, 1000):
        with pytest.raises(WrongLastSequence):
            await two.publish(messages(500, count), 9)
    await two.publish(messages(11, 10), 10)
    with pytest.raises(WrongLastSequence):
        await one.publish(messages(11, 10), 10)
    assert await payloads(nc) == list(range(1, 21))


@pytest.mark.parametrize("way", WAYS)
async def test_writers_at_once_never_mix_their_messages(nc: Connection, rival: Connection, way: str) -> None:
    await made(nc, way)

    async def write(connection: Connection, name: bytes) -> None:
        publisher = DerivedPublisher(connection, STREAM)
        for number in range(60):
            end = await last_seq(connection, STREAM) or 0
            await asyncio.sleep(0)
            try:
                # Some believe in an end that is not there any more: what they write fits in nowhere.
                await publisher.publish([(SUBJECT, name, None)] * 25, max(0, end - number % 3))
            except WrongLastSequence:
                continue
            written.append(name)

    written: list[bytes] = []
    await asyncio.gather(write(nc, b"one"), write(rival, b"other"))
    stored = []
    for sequence in range(1, (await last_seq(nc, STREAM) or 0) + 1):
        each = await get_stored(nc, STREAM, seq=sequence)
        stored.append(each and each.payload)
    chunks = [stored[start : start + 25] for start in range(0, len(stored), 25)]
    assert all(len(set(chunk)) == 1 for chunk in chunks)
    assert sorted(chunk[0] or b"" for chunk in chunks) == sorted(written)
    assert set(written) == {b"one", b"other"}


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_that_breaks_the_protocol_is_sent(nc: Connection, way: str) -> None:
    publisher = await made(nc, way)
    with pytest.raises(MessageTooLarge):
        await publisher.publish([*messages(1, 3), ("events.main.a", bytes(nc.max_payload), None)], 0)
    for subject in ("", "events.main.a b", "events.main.a\r\nPING"):
        with pytest.raises(ValueError, match="cannot be a subject"):
            await publisher.publish([*messages(1, 3), (subject, b"", None)], 0)
    assert await last_seq(nc, STREAM) == 0
    assert (await publisher.publish(messages(1, 3), 0)).last_seq == 3


@pytest.mark.parametrize("way", WAYS)
async def test_a_full_stream_names_its_reason_in_the_end(nc: Connection, way: str) -> None:
    """In the middle of a chain it comes at the second attempt, from where the stream then ends."""
    publisher = await made(nc, way, discard="new", max_msgs=7)
    with pytest.raises(BrokerError):
        await publisher.publish(messages(1, 20), 0)
    for _ in range(2):
        end = await last_seq(nc, STREAM) or 0
        if way == "derived" and end < 7:
            raise AssertionError("a prefix is stored")
        with pytest.raises(BrokerBusy):
            await publisher.publish(messages(end + 1, 20), end)
    # Also where the attempt begins before what is refused.
    await api(nc, f"STREAM.PURGE.{STREAM}", {"keep": 3})
    end = await last_seq(nc, STREAM) or 0
    with pytest.raises(BrokerBusy):
        await publisher.publish(messages(end + 1, 20), end)


@pytest.mark.parametrize("way", WAYS)
async def test_an_end_that_went_back_is_told_before_anything_follows(nc: Connection, way: str) -> None:
    publisher = await made(nc, way)
    await publisher.publish(messages(1, 10))
    await api(nc, f"STREAM.DELETE.{STREAM}")
    with pytest.raises(BrokerUnavailable):
        await publisher.publish(messages(11, 10))
    await made(nc, way)
    with pytest.raises(WrongLastSequence, match="ended at 10 and ends at 0 now"):
        await publisher.publish(messages(11, 10))
    assert (await publisher.publish(messages(1, 10))).last_seq == 10
    assert await payloads(nc) == list(range(1, 11))


async def test_a_stream_made_anew_in_the_other_way_is_written_in_that_way(nc: Connection) -> None:
    publisher = await made(nc, "atomic")
    await publisher.publish(messages(1, 10), 0)
    await api(nc, f"STREAM.DELETE.{STREAM}")
    await made(nc, "derived")
    with pytest.raises(BrokerError):
        await publisher.publish(messages(1, 10), 0)
    assert (await publisher.publish(messages(1, 10), 0)).last_seq == 10


async def test_a_chain_cut_off_with_its_connection_is_a_prefix(nc: Connection, rival: Connection) -> None:
    await made(nc, "derived")
    chance = random.Random(5)
    for _ in range(8):
        end = await last_seq(nc, STREAM) or 0
        frames = ChainPublisher(rival)._frames(messages(end + 1, 500), end)
        rival.send_now(frames[: chance.randrange(len(frames))])
        assert rival._transport is not None
        rival._transport.close()  # type: ignore[no-untyped-call]
        await asyncio.sleep(0.05)
        await rival.until_connected(5)
        end = await last_seq(nc, STREAM) or 0
        await DerivedPublisher(rival, STREAM).publish(messages(end + 1, 20), end)
    assert await payloads(nc) == list(range(1, (await last_seq(nc, STREAM) or 0) + 1))


# --- which way a stream is made


async def test_new_streams_are_derived_and_old_ones_stay_as_they_are(nc: Connection) -> None:
    await api(nc, f"STREAM.CREATE.{STREAM}", CONFIG | WAYS["atomic"])
    for bucket in ("main_orders", "main_desk"):
        if bucket == "main_orders":
            await ensure_kv(nc, bucket)  # as it was made before
        for _ in range(2):
            await ensure_documents(nc, bucket, told_on="changes.main.x")
    for cell in ("main", "fresh"):
        for _ in range(2):
            await ensure_events(nc, cell, max_bytes=1 << 20)
    found = {name: await how_stored(nc, name) for name in (STREAM, "EVENTS_fresh", "KV_main_orders", "KV_main_desk")}
    assert {name: how is not None and how.derived for name, how in found.items()} == {
        STREAM: False,
        "EVENTS_fresh": True,
        "KV_main_orders": False,
        "KV_main_desk": True,
    }


async def test_a_server_that_does_not_want_it_gets_atomic_batches(
    nc: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server refuses the two together.
    monkeypatch.setattr("adapters.nats.streams.ASYNC", {"persist_mode": "async", "allow_atomic": True})
    await ensure_events(nc, "main", max_bytes=1 << 20)
    how = await how_stored(nc, STREAM)
    assert how is not None
    assert not how.derived
    assert (await DerivedPublisher(nc, STREAM).publish(messages(1, 10), 0)).last_seq == 10


# --- the server dies


async def kill(server: EmbeddedServer) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.wait()


async def test_a_server_killed_again_and_again_under_a_relay_ends_with_every_event_once(
    tmp_path: Path, nc: Connection, nats_server: EmbeddedServer, nats_address: Address
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    nats_address.write(data / ADDRESS_FILE)
    (data / SETTINGS_FILE).write_text(f'{{"events_bytes_max": {64 << 20}}}')
    log, chance = SqliteEventLog(data / LOG_FILE, generation="life"), random.Random(11)
    trade = Trade(log)
    with follower("relay", data) as relay:
        relay.start()
        for seed in range(4):
            before = await last_seq(nc, STREAM) or 0
            trade_day(trade, seed, 120)
            while (await last_seq(nc, STREAM) or 0) <= before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            trade_day(trade, seed + 10, 40)
            await asyncio.sleep(chance.random() * 0.1)
            await kill(nats_server)
            await nats_server.start()
            await nc.until_connected(10)
        for _ in range(600):
            if await last_seq(nc, STREAM) == log.tracked().head:
                break
            await asyncio.sleep(0.05)
        assert relay.terminate() == 0
    found = [await get_stored(nc, STREAM, seq=sequence) for sequence in range(1, log.tracked().head + 1)]
    assert [stored and stored.headers["ce-position"] for stored in found] == [
        str(position) for position in range(1, log.tracked().head + 1)
    ]
    log.close()


async def test_a_durable_consumer_goes_on_where_the_stream_lost_its_tail(
    nc: Connection, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    """What it had read of the tail comes again, at the same sequences; nothing is passed over."""
    await ensure_events(nc, "main", max_bytes=1 << 20)
    await api(
        nc,
        f"CONSUMER.DURABLE.CREATE.{STREAM}.reader",
        {"stream_name": STREAM, "config": {"durable_name": "reader", "ack_policy": "explicit"}},
    )
    publisher = DerivedPublisher(nc, STREAM)
    jetstream = nc.jetstream()

    async def read() -> list[int]:
        subscription = await jetstream.pull_subscribe_bind("reader", STREAM)
        found: list[int] = []
        try:
            while True:
                for message in await subscription.fetch(100, timeout=0.5):
                    await message.ack_sync()
                    found.append(int(message.data))
        except (NatsError, TimeoutError):  # the library raises either, as its clock has it
            await subscription.unsubscribe()
            return found

    await publisher.publish(messages(1, 60), 0)
    assert await read() == list(range(1, 61))
    await nats_server.stop()
    (stored,) = (each / "msgs" for each in nats_server.directory.rglob(STREAM))
    shutil.copytree(stored, tmp_path / "earlier")
    await nats_server.start()
    await nc.until_connected(10)
    await publisher.publish(messages(61, 40), 60)
    assert await read() == list(range(61, 101))
    await nats_server.stop()
    shutil.rmtree(stored)
    shutil.copytree(tmp_path / "earlier", stored)
    await nats_server.start()
    await nc.until_connected(10)
    assert await last_seq(nc, STREAM) == 60
    with pytest.raises(WrongLastSequence):
        await publisher.publish(messages(101, 5), 100)
    await publisher.publish(messages(61, 45), 60)
    assert await read() == list(range(61, 106))


async def test_documents_whose_tail_was_lost_are_not_said_to_be_there(
    nc: Connection, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    """The bucket goes back between two writes of one writer: the marker must not pass over what is gone."""
    read_models, log = ReadModels(f"sqlite:///{tmp_path}/rm.db"), MemoryEventLog("life")
    projector, trade = Projector(log, read_models), Trade(log)

    def project() -> Projector:
        projector.run()
        return projector

    trade.take(view("1"))
    orders = next(each for each in project().following if isinstance(each.projection, Orders))
    projection = orders.projection
    documents = Documents(nc, "main", projection, read_models)
    await documents.settle(orders.checkpoint)
    await nats_server.stop()
    (stored,) = (each / "msgs" for each in nats_server.directory.rglob("KV_main_orders"))
    shutil.copytree(stored, tmp_path / "earlier")
    await nats_server.start()
    await nc.until_connected(10)

    async def follow(number: str) -> None:
        key = trade.take(view(number))
        project()
        found = projection.load(read_models.load(projection, [key]))
        projection.changes(found)
        await documents.follow(found, orders.checkpoint)

    await follow("2")
    await documents.settle(orders.checkpoint)
    await nats_server.stop()
    shutil.rmtree(stored)
    shutil.copytree(tmp_path / "earlier", stored)
    await nats_server.start()
    await nc.until_connected(10)
    await follow("3")
    await documents.settle(orders.checkpoint)
    await documents.settle(orders.checkpoint)
    writer = KvWriter(nc, "main_orders")
    found = await writer.get_many(await writer.keys())
    assert json.loads(found.pop(MARKER))["position"] == log.tracked().head
    assert sorted(json.loads(document)["key"] for document in found.values()) == [
        f"order-taobao:s1:{number}" for number in (1, 2, 3)
    ]
    await documents.close()
    read_models.close()
