"""The relay: EVENTS holds the log's events, in order, without gaps, whoever dies or competes."""

import asyncio
import contextlib
import random
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters.nats.address import Address
from adapters.nats.client import Connection
from adapters.nats.connection import api, connect
from adapters.nats.errors import BrokerError, WrongLastSequence
from adapters.nats.kv import KvWriter
from adapters.nats.streams import Stored, events_stream, get_stored, last_seq
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.sqlite_log import SqliteEventLog
from domain.ids import order_key
from domain.intake import IntakeIgnored
from domain.order import OrderReceived
from domain.ports import LogDamaged
from runners.bootstrap import ADDRESS_FILE
from runners.contract import documents_of, released
from runners.contract_shown import show_contract
from runners.relay import Feed, Relay
from runners.settings import FILE as SETTINGS_FILE
from runners.settings import Settings
from tests.integration.following import follower
from tests.trade import SECRET, Trade, trade_day, view

STREAM = "EVENTS_main"


def relay_of(log: SqliteEventLog | MemoryEventLog, nc: Connection, batch: int = 1000) -> Relay:
    return Relay(log, nc, Settings(".", events_bytes_max=16 << 20), batch)


async def stored_events(nc: Connection) -> list[Stored]:
    found = []
    for sequence in range(1, (await last_seq(nc, STREAM) or 0) + 1):
        stored = await get_stored(nc, STREAM, seq=sequence)
        assert stored is not None
        found.append(stored)
    return found


def positions(stored: list[Stored]) -> list[int]:
    return [int(message.headers["ce-position"]) for message in stored]


async def test_events_are_passed_on_as_they_were_recorded(log: SqliteEventLog, nc: Connection) -> None:
    trade = Trade(log)
    trade.receive()
    trade.take(view("1 / ü"))
    assert await relay_of(log, nc).run_once() == log.tracked().head
    events, stored = log.read(0, 100), await stored_events(nc)
    assert [message.payload for message in stored] == [event.data for event in events]
    assert [message.headers["ce-type"] for message in stored] == [event.tag for event in events]
    assert [message.headers["ce-subject"] for message in stored] == [event.stream for event in events]
    received, normalized = events[1], next(m for m in stored if m.headers["ce-type"] == "order.normalized")
    assert stored[0].subject == "events.main.warehouse.A.received"
    assert normalized.subject == "events.main.order.taobao.normalized"
    assert received.tag == "order.received"
    assert stored[1].headers == {
        "ce-specversion": "1.0",
        "ce-id": "life:2",
        "ce-source": "/orderspine/main/order-taobao:s1:1=20=2F=20=C3=BC",
        "ce-type": "order.received",
        "ce-time": "2026-02-09T01:20:02.000Z",
        "ce-subject": "order-taobao:s1:1=20=2F=20=C3=BC",
        "ce-position": "2",
        "ce-version": "1",
        "ce-generation": "life",
        "content-type": "application/json",
    }


async def test_nothing_sealed_leaves(log: SqliteEventLog, nc: Connection) -> None:
    Trade(log).take(view("1"))
    assert any(event.sealed == SECRET for event in log.read(0, 100))
    await relay_of(log, nc).run_once()
    for message in await stored_events(nc):
        assert SECRET not in message.payload
        assert SECRET.decode() not in str(message.headers)


async def test_a_relay_goes_on_where_the_stream_ends(log: SqliteEventLog, nc: Connection) -> None:
    trade = Trade(log)
    trade.take(view("1"))
    first = relay_of(log, nc, batch=2)
    await first.run_once()
    trade.take(view("2"))
    await relay_of(log, nc).run_once()
    trade.take(view("3"))
    with pytest.raises(BrokerError):  # it came late: the stream has moved on without it
        await first.run_once()
    await first.run_once()
    assert positions(await stored_events(nc)) == list(range(1, log.tracked().head + 1))


async def test_two_relays_at_once_send_each_event_once(
    log: SqliteEventLog, nc: Connection, nats_address: Address
) -> None:
    other = await connect(nats_address, "other")
    trade = Trade(log)
    relays = [relay_of(log, connection, batch=3) for connection in (nc, other)]

    async def pass_on(relay: Relay) -> None:
        for _ in range(30):
            with contextlib.suppress(BrokerError):
                await relay.run_once()
            await asyncio.sleep(0)

    async def act() -> None:
        for number in range(30):
            trade.take(view(str(number)))
            await asyncio.sleep(0.01)

    await asyncio.gather(*map(pass_on, relays), act())
    for relay in relays:
        while relay.position < log.tracked().head:
            with contextlib.suppress(BrokerError):
                await relay.run_once()
    # Both are level and send the same: of two that send at once, one is refused.
    trade.take(view("last"))
    sent = await asyncio.gather(*[relay.run_once() for relay in relays], return_exceptions=True)
    assert [type(each) for each in sent if not isinstance(each, int)] == [WrongLastSequence]
    assert positions(await stored_events(nc)) == list(range(1, log.tracked().head + 1))
    await other.close()


async def test_a_wiped_stream_is_filled_again(log: SqliteEventLog, nc: Connection) -> None:
    trade = Trade(log)
    trade.take(view("1"))
    relay = relay_of(log, nc)
    await relay.run_once()
    await nc.request(f"$JS.API.STREAM.DELETE.{STREAM}", b"")
    relay._watched = 0.0
    await relay.watch()
    assert relay.doubt
    await relay.run_once()
    assert positions(await stored_events(nc)) == list(range(1, log.tracked().head + 1))


async def test_another_life_of_the_log_follows_the_one_before(nc: Connection) -> None:
    before, after = MemoryEventLog("before"), MemoryEventLog("after")
    for log in (before, after):
        Trade(log).take(view("1"))
        await relay_of(log, nc).run_once()
    heads = [(m.headers["ce-generation"], m.headers["ce-position"]) for m in await stored_events(nc)]
    assert heads == [
        (life, str(position))
        for life, log in (("before", before), ("after", after))
        for position in range(1, log.tracked().head + 1)
    ]


@pytest.mark.parametrize("over", range(-5_000, 300, 500))
async def test_facts_of_any_length_pass_whatever_the_length_of_their_key(nc: Connection, over: int) -> None:
    """The key stands in the headers twice, and the broker's largest message counts them."""
    log = MemoryEventLog("life")
    trade = Trade(log)
    name = "单" * 66
    trade.append(order_key(name, name, name), OrderReceived(name, name, name, "x" * (nc.max_payload + over)))
    trade.append("intake-taobao:s1", IntakeIgnored("small", "other"))
    await relay_of(log, nc).run_once()
    large, small = await stored_events(nc)
    assert bool(large.payload) is not ("ce-dataref" in large.headers)
    assert small.payload == log.read(1, 1)[0].data


async def test_a_stream_that_knows_more_than_the_log_is_not_written_to(nc: Connection) -> None:
    longer, shorter = MemoryEventLog("life"), MemoryEventLog("life")
    Trade(longer).take(view("1"))
    await relay_of(longer, nc).run_once()
    Trade(shorter).receive()
    with pytest.raises(LogDamaged):
        await relay_of(shorter, nc).run_once()


async def test_facts_too_large_for_the_broker_are_referred_to(nc: Connection) -> None:
    log = MemoryEventLog("life")
    trade = Trade(log)
    trade.append("intake-taobao:s1", IntakeIgnored("x" * 1_100_000, "digest"), IntakeIgnored("small", "other"))
    await relay_of(log, nc).run_once()
    large, small = await stored_events(nc)
    assert (large.payload, large.headers["ce-dataref"]) == (b"", "/orderspine/main/log/1")
    assert small.payload == log.read(1, 1)[0].data


def test_the_time_is_the_envelopes_whatever_its_fields_order() -> None:
    feed = Feed("main", "life", 1000)
    log = MemoryEventLog()
    Trade(log).receive()
    (event,) = log.read(0, 1)
    shuffled = event._replace(envelope=b'{"by":{"kind":"rule"},' + event.envelope[1:])
    (plain, turned) = feed.messages([event[:6], shuffled[:6]])
    assert plain == turned
    assert b"ce-time: 2026-02-09T01:20:01.000Z\r\n" in plain[2]


@pytest.mark.usefixtures("log")
async def test_a_relay_shows_the_published_schemas(data: Path, nc: Connection, nats_address: Address) -> None:
    nats_address.write(data / ADDRESS_FILE)
    bucket = KvWriter(nc, "main_schemas")
    documents = documents_of(released())
    with follower("relay", data) as relay:
        relay.start()
        for _ in range(400):
            if await last_seq(nc, "KV_main_schemas") == len(documents):
                break
            await asyncio.sleep(0.05)
        assert await bucket.get_many(documents) == documents
        assert await show_contract(nc, "main") == 0  # nothing is written twice
        await bucket.put_many({"order.paid.1": b"{}", "order.gone.1": b"{}"})
        assert await show_contract(nc, "main") == 1
        assert await bucket.get_many(["order.paid.1", "order.gone.1"]) == {
            "order.paid.1": documents["order.paid.1"],
            "order.gone.1": b"{}",
        }
        assert relay.terminate() == 0


async def test_relays_killed_again_and_again_leave_no_gap(
    data: Path, log: SqliteEventLog, nc: Connection, nats_address: Address
) -> None:
    nats_address.write(data / ADDRESS_FILE)
    (data / SETTINGS_FILE).write_text(f'{{"events_bytes_max": {16 << 20}}}')
    chance = random.Random(3)
    trade = Trade(log)
    with follower("relay", data) as relay:
        for seed in range(2):
            relay.start()
            reached = await last_seq(nc, STREAM) or 0
            trade_day(trade, seed, 40)
            for _ in range(400):
                if (await last_seq(nc, STREAM) or 0) > reached:
                    break
                await asyncio.sleep(0.02)
            trade_day(trade, seed + 10, 40)
            await asyncio.sleep(chance.random() * 0.1)
            relay.kill()
        relay.start()
        for _ in range(400):
            if await last_seq(nc, STREAM) == log.tracked().head:
                break
            await asyncio.sleep(0.05)
        assert relay.terminate() == 0
    assert positions(await stored_events(nc)) == list(range(1, log.tracked().head + 1))


async def test_what_a_broker_has_lost_amid_its_stream_is_told(log: SqliteEventLog, nc: Connection) -> None:
    """The oldest ones may go; a message amid others went by itself, with its machine's power perhaps."""
    Trade(log).take(view("1"))
    await relay_of(log, nc).run_once()
    for gone, told in ((1, []), (3, [1])):
        await api(nc, f"STREAM.MSG.DELETE.{events_stream('main')}", {"seq": gone})
        with capture_logs() as logs:
            await relay_of(log, nc).run_once()
        assert [each["missing"] for each in logs if each["event"] == "relay.hole"] == told
