"""Every read model as a feed and a bucket: who begins with nothing ends with its content, and reaches nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from adapters.nats.client import Connection
from adapters.nats.connection import api
from adapters.nats.errors import BrokerError
from adapters.nats.feed import Feed, Place
from adapters.nats.streams import last_seq
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain.ids import PART_BYTES_MAX, warehouse_key
from domain.stock import SKU_MAX, ReceiveStock
from projections import PROJECTIONS
from projections.base import Projection
from projections.desk import Desk
from runners.documents import MARKER, Documents
from runners.lock import DataLock
from runners.outlet import Outlet
from runners.projector import Projector
from runners.subscribers import EVERYTHING, FEEDS, MODELS, Filter
from tests.colleagues import LI, comment
from tests.integration.running import orderspine
from tests.integration.subscribing import World, keys_of, world
from tests.trade import Trade, money_day, trade_day, view

Content = dict[str, dict[str, Any]]


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "data") as made:
        yield made


def content(read_models: ReadModels, projection: Projection[Any, Any], generation: str = "life") -> Content:
    """What a read model holds, as documents."""
    found = projection.load(read_models.load_all(projection))
    projection.changes(found)
    return {each.key: {"generation": generation, **json.loads(each.json)} for each in projection.public(found)}


def deal(trade: Trade, number: int, shop: str = "s1") -> None:
    """Let an order be taken, talked about, and found to differ: something for every read model but after-sales."""
    trade.receive(number)
    key = trade.take(view(str(number), shop=shop))
    trade.send(key, comment(f"c-{number}", LI, "@sales look"), by=LI)
    money_day(trade, key, at=number)


class Watcher:
    """Any client that watches a bucket from nothing on, and keeps what it is told."""

    def __init__(self, nc: Client, bucket: str) -> None:
        self._nc = nc
        self._bucket = bucket
        self.marker: dict[str, Any] = {}
        self.content: Content = {}
        self.deleted: set[str] = set()
        self._told: Any = None

    async def until(self, generation: str, position: int) -> Content:
        """Watch until the marker says so."""
        if self._told is None:
            self._told = await (await self._nc.jetstream().key_value(self._bucket)).watchall()
        async with asyncio.timeout(20):
            while (self.marker.get("generation"), self.marker.get("position")) != (generation, position):
                self._take(await self._told.updates(timeout=10))
        return self.content

    def _take(self, entry: Any) -> None:
        if entry is None:
            return
        if entry.key == MARKER:
            self.marker = json.loads(entry.value) if entry.operation is None else {}
        elif entry.operation is None:
            self.content[entry.key] = json.loads(entry.value)
        else:
            self.content.pop(entry.key, None)
            self.deleted.add(entry.key)


async def guest(known: dict[str, Any]) -> Client:
    return await nats.connect(known["url"], user=known["user"], password=known["password"])


async def fed(feed: Feed, place: Place, most: int = 4) -> tuple[Content, list[Place]]:
    """What a feed tells behind a place, by key, and where one could go on."""
    found: Content = {}
    places: list[Place] = []
    while True:
        page = await feed.ask(place, most=most)
        found |= {event.stream: json.loads(event.data) for event in page.events}
        places.append(place := page.place)
        if place.position == page.head:
            return found, places


@pytest.mark.parametrize("name", MODELS)
async def test_feed_and_bucket_both_end_with_the_content_of_the_read_model(cell: World, name: str) -> None:
    projection = MODELS[name]
    trade_day(cell.trade, 5, 60)
    deal(cell.trade, 1)
    known = await cell.admit("w", name)
    await cell.level()
    expected = content(cell.read_models, projection)
    assert expected
    nc = await guest(known)
    watcher = Watcher(nc, f"main_{name}")
    assert await watcher.until("life", cell.log.tracked().head) == expected
    feed = await cell.feed(known, name)
    told, places = await fed(feed, Place())
    assert told == expected

    trade_day(cell.trade, 6, 40)
    deal(cell.trade, 2)
    await cell.level()
    later = content(cell.read_models, projection)
    assert later != expected
    assert await watcher.until("life", cell.log.tracked().head) == later
    assert (await fed(feed, Place()))[0] == later, "replayed from the beginning"
    for place in places:
        before = {key: document for key, document in expected.items() if document["position"] <= (place.position or 0)}
        assert before | (await fed(feed, place))[0] == later, "resumed where it was"
    await feed.close()
    await nc.close()


async def test_the_longest_sku_of_the_longest_warehouse_reaches_the_bucket(cell: World) -> None:
    code, sku = "库" * (PART_BYTES_MAX // 3), "𠀀" * SKU_MAX
    cell.trade.send(warehouse_key(code), ReceiveStock("d-1", ((sku, 1),)), by=LI)
    known = await cell.admit("w", "inventory")
    await cell.level()
    nc = await guest(known)
    (document,) = (await Watcher(nc, "main_inventory").until("life", cell.log.tracked().head)).values()
    assert (document["warehouse"], document["sku"]) == (code, sku)
    await nc.close()


def two_lives() -> tuple[MemoryEventLog, MemoryEventLog]:
    """A log, and what a restore of an earlier backup makes of it."""
    lives = MemoryEventLog("before"), MemoryEventLog("after")
    for log, orders in zip(lives, (2, 1), strict=True):
        trade = Trade(log)
        for number in range(1, orders + 1):
            deal(trade, number, f"s {number}")
            trade.take(view(str(number), modified=1, after_sale="open", shop=f"s {number}"))
    return lives


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda each: str(each.name))
async def test_a_row_that_is_no_more_takes_its_key_with_it(
    tmp_path: Path, nc: Connection, projection: Projection[Any, Any]
) -> None:
    read_models = ReadModels(f"sqlite:///{tmp_path}/rm.db")
    bucket = f"main_{projection.bucket}"
    seen: list[Content] = []
    watcher = Watcher(nc, bucket)
    for log in two_lives():
        projector = Projector(log, read_models)
        projector.run()
        (following,) = [each for each in projector.following if each.projection.name == projection.name]
        await Documents(nc, "main", following.projection, read_models).settle(following.checkpoint)
        generation, head = log.tracked().generation, log.tracked().head
        shown = dict(await watcher.until(generation, head))
        assert shown == content(read_models, projection, generation), "whoever watches all the while"
        assert await Watcher(nc, bucket).until(generation, head) == shown, "whoever begins now"
        seen.append(shown)
    before, after = seen
    assert watcher.deleted == before.keys() - after.keys()
    read_models.close()


class NextDesk(Desk):
    """The desk as a later build might show it."""

    version: ClassVar = Desk.version + 1


async def test_documents_of_an_older_read_model_or_of_a_wider_filter_do_not_stay(
    tmp_path: Path, nc: Connection
) -> None:
    read_models = ReadModels(f"sqlite:///{tmp_path}/rm.db")
    log, _ = two_lives()
    projector = Projector(log, read_models)
    projector.run()
    checkpoint = next(each.checkpoint for each in projector.following if each.projection.name == "desk")
    written = []
    for projection, only in (
        (Desk(), EVERYTHING),
        (Desk(), EVERYTHING),
        (NextDesk(), EVERYTHING),
        (NextDesk(), Filter(channels=("jd",))),
    ):
        await Documents(nc, "main", projection, read_models, only=only).settle(checkpoint)
        written.append(await last_seq(nc, "KV_main_desk"))
    documents = 2
    assert written[0] == documents + 1, "the documents and the marker"
    assert written[1] == written[0] + 1, "nothing but the marker is written again"
    assert written[2] == written[1] + 1 + documents + 1, "the marker goes, all are made anew"
    assert await Watcher(nc, "main_desk").until(checkpoint.generation, checkpoint.position) == {}
    read_models.close()


async def test_a_read_model_that_is_built_beside_the_live_one_reaches_nobody_before_it_is_shown(
    cell: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is half built would delete from the buckets what it has not got to yet."""
    for number in (1, 2):
        deal(cell.trade, number)
    known = await cell.admit("w", "desk")
    await cell.level()
    nc = await guest(known)
    watcher = Watcher(nc, "main_desk")
    shown = dict(await watcher.until("life", cell.log.tracked().head))
    await cell.outlet.close()
    monkeypatch.setitem(MODELS, "desk", NextDesk())
    cell.outlet = Outlet(cell.settings, cell.feeds, cell.read_models)
    await cell.outlet.agree()
    newer = Projector(cell.log, cell.read_models, [NextDesk()], batch=1)
    newer.run_once()
    for done in (False, True):
        if done:
            newer.run()
        cell.outlet.tick()
        assert cell.outlet._leveling is not None
        await cell.outlet._leveling
        bucket = await nc.jetstream().key_value("main_desk")
        assert await keys_of(bucket) - {MARKER} == shown.keys()
        found = await bucket.get(MARKER)
        assert json.loads(found.value or b"")["form"] == str(NextDesk.version if done else Desk.version)
    await nc.close()


# --- what a subscriber of one of them cannot do


@pytest.mark.parametrize("name", ["desk", "finance", "checks"])
async def test_a_subscriber_of_one_reaches_nothing_else(cell: World, name: str) -> None:
    deal(cell.trade, 1)
    victim = await cell.admit("victim", *FEEDS)
    known = await cell.admit("enemy", name)
    await cell.level()
    enemy = await cell.guest(known)
    others = [feed for feed in FEEDS if feed != name]
    heard: list[bytes] = []
    for feed in others:
        await enemy.listen(f"changes.main.{feed}.>", lambda subject, *_: heard.append(subject))
    for subject in ("changes.>", "events.>", "$KV.>", "read.>", ">"):
        await enemy.listen(subject, lambda subject, *_: heard.append(subject))
    requests = [f"read.main.{feed}" for feed in others]
    for stream in [*(f"KV_main_{model}" for model in MODELS if model != name), "EVENTS_main", "MAIL_main"]:
        requests += [
            f"$JS.API.{what}.{stream}"
            for what in ("STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET", "CONSUMER.CREATE", "STREAM.DELETE")
        ]
    requests += [f"$JS.API.STREAM.{what}.KV_main_{name}" for what in ("DELETE", "PURGE", "UPDATE", "MSG.DELETE")]
    await asyncio.gather(*(silence(enemy, request) for request in requests))
    (key,) = list(content(cell.read_models, MODELS[name]))[:1]
    await enemy.publish(f"$KV.main_{name}.{key}", b"forged")
    await enemy.flush()
    deal(cell.trade, 2)
    await cell.level()
    await enemy.flush()
    assert [subject for subject in heard if not subject.startswith(b"_INBOX")] == []
    head = cell.log.tracked().head
    for whose in (victim, known):
        nc = await guest(whose)
        assert await Watcher(nc, f"main_{name}").until("life", head) == content(cell.read_models, MODELS[name])
        await nc.close()
    await enemy.close()


async def silence(nc: Connection, subject: str) -> None:
    with pytest.raises((nats.errors.Error, BrokerError)):
        await nc.request(subject, b"{}", timeout=0.3)


async def test_a_channels_subscriber_gets_of_the_desk_and_of_finance_only_its_own(cell: World) -> None:
    deal(cell.trade, 1)
    names = ("desk", "finance", "checks")
    told = {}
    for channel in ("taobao", "jd"):
        known = await cell.admit(channel, *names, channels=(channel,))
        await cell.level()
        nc = await guest(known)
        for name in names:
            watched = await Watcher(nc, f"main_{name}").until("life", cell.log.tracked().head)
            feed = await cell.feed(known, name)
            assert (await fed(feed, Place()))[0] == watched
            await feed.close()
            told[channel, name] = watched
        await nc.close()
    for name in names:
        everything = content(cell.read_models, MODELS[name])
        assert told["taobao", name] == everything
        assert told["jd", name] == (everything if name == "checks" else {}), "a check names no channel's order"


async def test_who_comes_back_under_an_old_name_finds_nothing_of_before(cell: World) -> None:
    deal(cell.trade, 1)
    await cell.admit("erp", "orders", "desk")
    await cell.level()
    await cell.revoke("erp")
    known = await cell.admit("erp", "orders", "kpis", channels=("jd",))
    (served,) = cell.outlet._served.values()
    assert (await api(served.nc, "STREAM.NAMES"))["streams"] is None, "gone before the first question"
    await cell.level()
    nc = await guest(known)
    for name in ("orders", "kpis"):
        assert await Watcher(nc, f"main_{name}").until("life", cell.log.tracked().head) == {}
    await nc.close()
    again = await cell.admit("erp", "orders", "kpis")
    await cell.level()
    nc = await guest(again)
    watched = await Watcher(nc, "main_orders").until("life", cell.log.tracked().head)
    assert watched == content(cell.read_models, MODELS["orders"])
    await nc.close()


# --- on the command line


async def test_the_command_line_grants_and_tails_them(cell: World) -> None:
    deal(cell.trade, 1)
    cell.project()
    with DataLock(cell.data):
        (cell.data / "settings.json").write_text(json.dumps({"broker": cell.address.url}))
    for name in ("desk", "finance", "checks"):
        tail = ("subscribe", name, "--from", "start", "--until-end", "--json", "--data", cell.data)
        said = await asyncio.to_thread(orderspine, *tail)
        assert said.code == 0, said.err
        lines = [json.loads(line) for line in said.out.splitlines()]
        assert len(lines) == len(content(cell.read_models, MODELS[name]))
    add = ("subscribers", "add", "money", "--feeds", "desk,finance,checks", "--data", cell.data, "--json")
    said = await asyncio.to_thread(orderspine, *add)
    assert said.code == 0, said.err
    assert said.json["credentials"]["feeds"] == ["desk", "finance", "checks"]
