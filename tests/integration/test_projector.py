"""The projector as a process: killed at any moment it leaves the rows right; documents follow the rows."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

import runners.documents
from adapters.nats.address import Address
from adapters.nats.client import Connection
from adapters.nats.connection import api
from adapters.nats.kv import KvWriter
from adapters.nats.streams import last_seq
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from adapters.storage.sqlite_log import SqliteEventLog
from domain.ids import order_key, token_of
from domain.order import OrderReceived, OrderRepeated
from domain.ports import LogDamaged
from projections.orders import Orders
from runners.bootstrap import ADDRESS_FILE, LOG_FILE, READ_MODELS_FILE
from runners.documents import MARKER, Documents
from runners.projector import SHOW_S, Projector, Shown
from runners.settings import Settings
from tests.integration.following import everything, follower, level, rebuilt, wait_for, wait_until
from tests.trade import SECRET, Trade, trade_day, view


def test_a_projector_killed_again_and_again_leaves_the_rows_of_a_rebuild(
    data: Path, log: SqliteEventLog, read_models: ReadModels
) -> None:
    chance = random.Random(7)
    trade = Trade(log)
    with follower("projector", data, "--no-broker") as projector:
        for seed in range(3):
            projector.start()
            wait_until(lambda: bool(read_models.positions()))
            trade_day(trade, seed, 60)
            time.sleep(chance.random() * 0.2)
            projector.kill()
        projector.start()
        wait_until(lambda: level(read_models, log))
        assert projector.terminate() == 0
    assert everything(read_models) == rebuilt(log)


def test_a_projector_waits_for_a_log_that_is_not_there_yet(data: Path) -> None:
    with follower("projector", data, "--no-broker") as projector:
        projector.start()
        time.sleep(0.7)
        log = SqliteEventLog(data / LOG_FILE)
        Trade(log).take(view("1"))
        read_models = ReadModels(f"sqlite:///{data / READ_MODELS_FILE}")
        wait_until(lambda: len(read_models.orders()) == 1)
        read_models.close()
        log.close()
        assert projector.terminate() == 0


def test_another_life_of_the_log_is_folded_from_its_beginning(tmp_path: Path) -> None:
    log = MemoryEventLog()
    trade = Trade(log)
    trade.take(view("1"))
    read_models = ReadModels(f"sqlite:///{tmp_path}/rm.db")
    projector = Projector(log, read_models)
    projector.run()
    restored = MemoryEventLog("restored")
    Trade(restored).take(view("2"))
    Projector(restored, read_models).run()
    assert [row["order_no"] for row in read_models.orders()] == ["2"]
    assert {row["generation"] for row in read_models.positions()} == {"restored"}
    read_models.close()


def test_a_log_that_lost_its_end_is_not_followed(tmp_path: Path) -> None:
    log = MemoryEventLog()
    Trade(log).take(view("1"))
    read_models = ReadModels(f"sqlite:///{tmp_path}/rm.db")
    Projector(log, read_models).run()
    shorter = MemoryEventLog()
    with pytest.raises(LogDamaged):
        Projector(shorter, read_models).run()
    read_models.close()


async def test_a_change_waits_for_the_buckets_as_long_as_the_oldest_of_them_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr("runners.projector.time.monotonic", lambda: now)
    log = MemoryEventLog()
    trade = Trade(log)
    read_models = ReadModels(f"sqlite:///{tmp_path}/rm.db")
    projector = Projector(log, read_models)
    shown = Shown(projector, read_models, Settings(data=str(tmp_path)))
    assert not shown.due  # nothing waits, however long ago something did

    def fold() -> None:
        trade.take(view(str(now)))
        folded = projector.fold()
        assert folded is not None
        shown.note(folded)

    fold()
    now += SHOW_S - 0.1
    fold()
    assert not shown.due
    now += 0.1
    assert shown.due
    await shown.follow()
    now += SHOW_S
    assert not shown.due
    fold()
    assert not shown.due
    read_models.close()


async def documents_of(nc: Connection, read_models: ReadModels) -> dict[str, Any]:
    keys = [token_of(row["key"]) for row in read_models.orders()]
    found = await KvWriter(nc, "main_orders").get_many([*keys, MARKER])
    return {key: json.loads(value) for key, value in found.items()}


async def test_documents_follow_the_rows_and_come_back_after_a_wipe(
    data: Path, log: SqliteEventLog, read_models: ReadModels, nc: Connection, nats_address: Address
) -> None:
    nats_address.write(data / ADDRESS_FILE)
    trade = Trade(log)
    trade.receive()
    keys = [trade.take(view(str(number))) for number in range(5)]
    marker = {
        "generation": log.tracked().generation,
        "position": log.tracked().head,
        "form": str(Orders.version),
        "keys": 6,
    }
    with follower("projector", data) as projector:
        projector.start()
        await wait_for(lambda: level(read_models, log))
        shown: dict[str, Any] = {}
        for _ in range(100):
            if await last_seq(nc, "KV_main_orders") and await last_seq(nc, "KV_main_inventory"):
                shown = await documents_of(nc, read_models)
                if shown.get(MARKER) == marker:
                    break
            await asyncio.sleep(0.05)
        assert shown.pop(MARKER) == marker
        assert set(shown) == {token_of(key) for key in keys}
        for key in keys:
            row = read_models.order(key)
            assert row is not None
            document = shown[token_of(key)]
            assert (document["generation"], document["position"]) == (marker["generation"], row["position"])
            assert (document["state"], document["key"]) == (row["state"], key)
            assert document["view"]["snapshot"]["lines"][0]["sku"] == row["items"][0]["sku"]
        assert SECRET.decode() not in json.dumps(shown, ensure_ascii=False)

        stock = await KvWriter(nc, "main_inventory").get_many(["A=3ASKU-1"])
        assert json.loads(stock["A=3ASKU-1"])["available"] == 95

        await nc.request("$JS.API.STREAM.DELETE.KV_main_orders", b"")
        keys.append(trade.take(view("after the wipe")))
        for _ in range(200):
            if await last_seq(nc, "KV_main_orders"):
                shown = await documents_of(nc, read_models)
                if len(shown) == 7:
                    break
            await asyncio.sleep(0.05)
        assert set(shown) == {MARKER} | {token_of(key) for key in keys}
        assert projector.terminate() == 0


async def test_documents_missed_by_a_crash_are_made_good_and_no_others_are_written(
    log: SqliteEventLog, read_models: ReadModels, nc: Connection
) -> None:
    trade = Trade(log)
    for number in range(10):
        trade.take(view(str(number)))
    projector = Projector(log, read_models)
    projector.run()
    following = projector.following[0]
    documents = Documents(nc, "main", following.projection, read_models)
    await documents.settle(following.checkpoint)
    assert await last_seq(nc, "KV_main_orders") == 11
    changed = trade.take(view("3", "shipped", modified=5))
    projector.run()  # and the process dies before it has shown that
    successor = Documents(nc, "main", following.projection, read_models)
    await successor.settle(following.checkpoint)
    assert await last_seq(nc, "KV_main_orders") == 13
    found = await KvWriter(nc, "main_orders").get_many([token_of(changed)])
    assert json.loads(found[token_of(changed)])["state"] == "shipped"


async def purge(nc: Connection, key: str) -> None:
    """Take a key out of the bucket's stream, so that nothing tells that there ever was one."""
    await api(nc, "STREAM.PURGE.KV_main_orders", {"filter": f"$KV.main_orders.{key}"})


async def delete(nc: Connection, key: str) -> None:
    """Delete a key, as any client of the bucket can."""
    await KvWriter(nc, "main_orders").delete_many([key])


async def overwrite(nc: Connection, key: str) -> None:
    await KvWriter(nc, "main_orders").put_many({key: b'{"by":"hand"}'})


@pytest.mark.parametrize("harm", [purge, delete, overwrite])
@pytest.mark.parametrize("found_by", ["the one who wrote", "a successor", "the next change"])
async def test_a_bucket_that_misses_documents_is_made_anew_whoever_finds_it(
    log: SqliteEventLog,
    read_models: ReadModels,
    nc: Connection,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Connection, str], Awaitable[None]],
    found_by: str,
) -> None:
    """The marker still fits: how many keys there are, and what stands behind it, tells."""
    monkeypatch.setattr(runners.documents, "WATCH_S", 0.0)
    trade = Trade(log)
    keys = [trade.take(view(str(number))) for number in range(5)]
    projector = Projector(log, read_models)
    projector.run()
    following = projector.following[0]
    documents = Documents(nc, "main", following.projection, read_models)
    for _ in range(3):
        await documents.settle(following.checkpoint)
    lost = (await documents_of(nc, read_models))[token_of(keys[2])]
    await harm(nc, token_of(keys[2]))
    with capture_logs() as told:
        if found_by == "a successor":
            await documents.close()
            documents = Documents(nc, "main", following.projection, read_models)
        if found_by == "the next change":
            trade.take(view("4", "shipped", modified=5))
            folded = projector.fold()
            assert folded is not None
            projector.write(folded)
            projector.written(folded)
            await documents.follow(folded.changed["orders"], following.checkpoint)
            monkeypatch.setattr(runners.documents, "WATCH_S", 0.0 if harm is purge else 60.0)
        for _ in range(2):
            await documents.settle(following.checkpoint)
    after = await documents_of(nc, read_models)
    assert set(after) == {MARKER} | {token_of(key) for key in keys}
    assert after[token_of(keys[2])] == lost
    assert {each["event"] for each in told} & {"documents.hole", "documents.not_ours"}
    quiet = await last_seq(nc, "KV_main_orders")
    for _ in range(2):
        await documents.settle(following.checkpoint)
    assert await last_seq(nc, "KV_main_orders") == quiet, "and that is that"


async def test_keys_that_came_since_the_marker_was_first_written_are_counted(
    log: SqliteEventLog, read_models: ReadModels, nc: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade = Trade(log)
    projector = Projector(log, read_models)
    following = projector.following[0]
    documents = Documents(nc, "main", following.projection, read_models)
    for number in range(4):
        trade.take(view(str(number)))
        folded = projector.fold()
        assert folded is not None
        projector.write(folded)
        projector.written(folded)
        await documents.follow(folded.changed["orders"], following.checkpoint)
        await documents.settle(following.checkpoint)
    monkeypatch.setattr(runners.documents, "WATCH_S", 0.0)
    await documents.settle(following.checkpoint)
    shown = await documents_of(nc, read_models)
    assert shown[MARKER]["keys"] == len(shown) == 5


async def test_a_batch_that_was_cut_off_before_its_marker_is_no_harm(
    log: SqliteEventLog, read_models: ReadModels, nc: Connection
) -> None:
    trade = Trade(log)
    for number in range(700):
        trade.append(order_key("taobao", "s1", str(number)), OrderReceived("taobao", "s1", str(number), "d"))
    projector = Projector(log, read_models)
    projector.run()
    following = projector.following[0]
    documents = Documents(nc, "main", following.projection, read_models)
    await documents.settle(following.checkpoint)
    for number in range(600):
        trade.append(order_key("taobao", "s1", str(number)), OrderRepeated("d"))
    projector.run()
    found = following.projection.load(read_models.load_all(following.projection))
    following.projection.changes(found)
    await documents._put(following.projection.public(found)[:600], None)  # and the process dies
    with capture_logs() as told:
        await Documents(nc, "main", following.projection, read_models).settle(following.checkpoint)
    assert [each["event"] for each in told] == ["documents.level"]
    assert await last_seq(nc, "KV_main_orders") == 701 + 600 + 600 + 1


@pytest.mark.parametrize("restarted", [True, False])
async def test_documents_of_another_life_are_dropped(
    read_models: ReadModels, nc: Connection, *, restarted: bool
) -> None:
    before, after = MemoryEventLog("before"), MemoryEventLog("after")
    old = Trade(before).take(view("1"))
    new = Trade(after).take(view("2"))
    documents = None
    for log in (before, after):
        projector = Projector(log, read_models)
        following = projector.following[0]
        if documents is None or restarted:
            documents = Documents(nc, "main", following.projection, read_models)
        while (folded := projector.fold()) is not None:
            projector.write(folded)
            projector.written(folded)
            await documents.follow(folded.changed["orders"], following.checkpoint)
        await documents.settle(following.checkpoint)
    found = await KvWriter(nc, "main_orders").get_many([token_of(old), token_of(new)])
    assert set(found) == {token_of(new)}
    assert json.loads(found[token_of(new)])["generation"] == "after"


def test_damaged_read_models_end_it_with_what_to_do(data: Path, log: SqliteEventLog) -> None:
    log.take_over()
    (data / READ_MODELS_FILE).write_bytes(b"not a database" * 1000)
    with follower("projector", data, "--no-broker") as projector:
        projector.start()
        said = data / "projector.log"
        wait_until(lambda: "builds them anew" in said.read_text())
    words = said.read_text().rpartition("Failure: ")[2]
    assert words.startswith("the read models cannot be read: file is not a database.")
    assert "delete read_models.db" in words
    assert "sqlalche.me" not in words
