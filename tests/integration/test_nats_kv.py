"""Documents and the lease on a real server."""

import asyncio
import os
import signal
import time

import pytest

from adapters.nats.address import Address
from adapters.nats.client import Connection
from adapters.nats.connection import connect
from adapters.nats.errors import BrokerBusy
from adapters.nats.kv import KvWriter
from adapters.nats.lease import Lease, LeaseHeld
from adapters.nats.server import EmbeddedServer
from adapters.nats.streams import ensure_kv, last_seq


async def test_documents_are_written_and_read_many_at_once(nc: Connection) -> None:
    await ensure_kv(nc, "c1_orders")
    await ensure_kv(nc, "c1_orders")
    kv = KvWriter(nc, "c1_orders")
    documents = {f"taobao.shop=3A1.{n}": b"%d" % n for n in range(1200)}
    assert (await kv.put_many(documents)).count == 1200
    await kv.put_many({"taobao.shop=3A1.1": b"new", "other": b""}, deletes=["taobao.shop=3A1.2"])
    expected = documents | {"taobao.shop=3A1.1": b"new", "other": b""}
    del expected["taobao.shop=3A1.2"]
    assert await kv.get_many([*documents, "other", "absent"]) == expected
    assert await kv.get_many(["absent"]) == {}
    assert await kv.get_many([]) == {}
    await kv.delete_many(["other"])
    assert await kv.get_many(["other"]) == {}
    assert await kv.keys() == {*documents, "other"}, "deleted ones, too"
    for start in range(0, 1200, 1000):
        await kv.delete_many(list(documents)[start : start + 1000])
    assert await kv.get_many(documents) == {}


async def test_large_documents_come_whole(nc: Connection) -> None:
    await ensure_kv(nc, "big")
    kv = KvWriter(nc, "big")
    documents = {f"k{n}": bytes([n]) * 500_000 for n in range(60)}
    await kv.put_many(documents)
    assert await kv.get_many(documents) == documents


async def test_the_usual_clients_see_what_the_batches_wrote(nc: Connection) -> None:
    await ensure_kv(nc, "c1_orders")
    bucket = await nc.jetstream().key_value("c1_orders")
    watcher = await bucket.watchall()
    assert await watcher.updates() is None  # type: ignore[no-untyped-call]
    kv = KvWriter(nc, "c1_orders")
    await kv.put_many({"a": b"1", "b": b"2"}, deletes=["c"])
    seen = [await watcher.updates() for _ in range(3)]  # type: ignore[no-untyped-call]
    assert [(e.key, e.value, e.operation) for e in seen if e] == [
        ("a", b"1", None),
        ("b", b"2", None),
        ("c", b"", "DEL"),
    ]
    assert (await bucket.get("a")).value == b"1"
    await watcher.stop()  # type: ignore[no-untyped-call]


async def test_a_bucket_that_is_full_refuses_the_batch_whole(nc: Connection) -> None:
    await ensure_kv(nc, "small", max_bytes=10_000)
    kv = KvWriter(nc, "small")
    await kv.put_many({"a": b"1"})
    with pytest.raises(BrokerBusy):
        await kv.put_many({f"k{n}": bytes(1000) for n in range(30)})
    assert await last_seq(nc, "KV_small") == 1


async def test_a_bad_key_is_refused_before_anything_is_written(nc: Connection) -> None:
    await ensure_kv(nc, "b")
    kv = KvWriter(nc, "b")
    for key in ("", "a:b", "a b", ".a", "a.", "a..b", "*", "ü"):
        with pytest.raises(ValueError, match="cannot be a key"):
            await kv.put_many({"good": b"1", key: b"1"})
    assert await last_seq(nc, "KV_b") == 0


async def test_one_holder_at_a_time_and_the_next_after_release(nc: Connection) -> None:
    one, two = Lease(nc, "c1", "one", 0.6), Lease(nc, "c1", "two", 0.6)
    await one.acquire()
    with pytest.raises(LeaseHeld, match="one"):
        await two.acquire(wait_s=1.5)
    assert one.held, "it was renewed past its time"
    waiting = asyncio.create_task(two.acquire(wait_s=5))
    await asyncio.sleep(0.05)
    start = time.monotonic()
    await one.release()
    await waiting
    assert time.monotonic() - start < 0.4
    assert two.held
    assert not one.held
    assert not one.lost.is_set()
    await one.release()
    assert two.held
    await two.release()
    await one.acquire(wait_s=1)
    await one.release()


async def test_two_who_ask_at_once_do_not_both_get_it(nc: Connection) -> None:
    leases = [Lease(nc, "c1", f"w{n}", 5) for n in range(8)]
    outcomes = await asyncio.gather(*(lease.acquire(wait_s=0) for lease in leases), return_exceptions=True)
    assert sorted(outcome is None for outcome in outcomes) == [False] * 7 + [True]
    assert sum(lease.held for lease in leases) == 1
    for lease in leases:
        await lease.release()


async def test_a_holder_that_stopped_is_succeeded_after_its_time_and_notices(
    nats_address: Address, nats_server: EmbeddedServer
) -> None:
    first, second = await connect(nats_address, "first"), await connect(nats_address, "second")
    one, two = Lease(first, "c1", "one", 1.0), Lease(second, "c1", "two", 1.0)
    await one.acquire()
    assert one._renewing is not None
    one._renewing.cancel()  # it hangs: nothing is renewed
    start = time.monotonic()
    await two.acquire(wait_s=5)
    assert 0.5 < time.monotonic() - start < 3
    assert not one.held
    await two.release()

    third = Lease(first, "c1", "three", 1.0)
    await third.acquire()
    assert nats_server.pid is not None
    os.kill(nats_server.pid, signal.SIGSTOP)
    try:
        await asyncio.wait_for(third.lost.wait(), 3)
        assert not third.held
    finally:
        os.kill(nats_server.pid, signal.SIGCONT)
    await third.release()
    await first.close()
    await second.close()


async def test_a_lease_taken_away_is_lost_at_the_next_renewal(nc: Connection) -> None:
    one = Lease(nc, "c1", "one", 0.9)
    await one.acquire()
    await KvWriter(nc, "c1_lease").put_many({"holder": b'{"holder":"thief"}'})
    await asyncio.wait_for(one.lost.wait(), 0.8)
    assert not one.held
    await one.release()


async def test_a_short_absence_of_the_broker_does_not_cost_the_lease(
    nc: Connection, nats_server: EmbeddedServer
) -> None:
    one = Lease(nc, "c1", "one", 2)
    await one.acquire()
    await nats_server.stop()
    await nats_server.start()
    await asyncio.sleep(2.2)
    assert one.held
    await one.release()
