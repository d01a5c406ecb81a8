"""Subscribers: each reads its feeds from any position on, in order and without gaps, and reaches nothing else."""

import asyncio
import itertools
import json
import sqlite3
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import nats
import nats.errors
import pytest

from adapters.nats.accounts import CONNECTIONS_MAX
from adapters.nats.connection import Connection, api, connect
from adapters.nats.errors import BrokerError, BrokerUnauthorized, BrokerUnavailable
from adapters.nats.feed import NEW, Event, Feed, FeedBroken, FeedRefused, Inbox, NewGeneration, Page, Place
from adapters.nats.publish import BatchPublisher
from adapters.nats.streams import ensure_events, ensure_mail, ensure_quarantine, get_stored, last_seq
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from projections.orders import Orders
from runners.feeds import Ask, Feeds
from runners.lock import DataLock
from runners.outlet import Served
from runners.projector import Projector
from runners.subscribers import MODELS, Filter
from tests.integration.following import wait_for
from tests.integration.running import orderspine
from tests.integration.subscribing import World, keys_of, next_entry, world
from tests.trade import SECRET, Trade, trade_day, view


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "data") as made:
        yield made


START = Place()


async def whole(feed: Feed, place: Place = START, most: int = 500) -> list[Event]:
    """Everything a feed has behind a place."""
    found: list[Event] = []
    while True:
        page = await feed.ask(place, most=most)
        found += page.events
        place = page.place
        if place.position == page.head:
            return found


async def test_events_come_as_cloud_events_from_any_position_on_without_gaps(cell: World) -> None:
    trade_day(cell.trade, 1, 40)
    head = cell.log.tracked().head
    feed = await cell.feed(await cell.admit("erp", "events"))
    events = await whole(feed, most=7)
    assert [event.position for event in events] == list(range(1, head + 1))
    assert [(event.stream, event.type, event.data) for event in events] == [
        (recorded.stream, recorded.tag, recorded.data) for recorded in cell.log.read(0, head)
    ]
    assert {event.headers["ce-generation"] for event in events} == {"life"}
    assert [event.headers["ce-id"] for event in events] == [f"life:{position}" for position in range(1, head + 1)]
    for place in (0, 1, head // 2, head - 1, head):
        later = await whole(feed, Place("life", place))
        assert [event.position for event in later] == list(range(place + 1, head + 1))
    await feed.close()


async def test_nothing_personal_leaves_by_a_feed(cell: World) -> None:
    cell.trade.take(view("1"))
    trade_day(cell.trade, 2, 30)
    assert any(event.sealed == SECRET for event in cell.log.read(0, 1000))
    known = await cell.admit("erp", "events", "orders", "inventory", "intake", "after_sales")
    await cell.level()
    for name in known["feeds"]:
        feed = await cell.feed(known, name)
        events = await whole(feed)
        assert events, name
        for event in events:
            assert SECRET not in event.data
            assert SECRET.decode() not in str(event.headers)
        await feed.close()


async def test_a_question_waits_for_what_is_new(cell: World) -> None:
    feed = await cell.feed(await cell.admit("erp", "events"))
    cell.trade.receive()
    place = (await feed.ask(NEW, most=0)).place
    assert place.position == cell.log.tracked().head
    asking = asyncio.create_task(feed.ask(place, wait_s=10))
    await asyncio.sleep(0.1)
    assert not asking.done()
    cell.trade.receive(7)
    page = await asking
    assert [event.type for event in page.events] == ["stock.received"]
    assert page.place.position == cell.log.tracked().head
    quiet = await feed.ask(page.place, wait_s=0.1)
    assert (quiet.events, quiet.place) == ([], page.place)
    await feed.close()


async def test_what_was_granted_and_what_is_asked_both_filter(cell: World) -> None:
    trade_day(cell.trade, 3, 60)
    head = cell.log.tracked().head
    recorded = cell.log.read(0, head)
    known = await cell.admit(
        "erp", "events", kinds=("order",), types=("order.paid", "order.received", "stock.received")
    )
    feed = await cell.feed(known)
    events = await whole(feed, most=3)
    expected = [each.position for each in recorded if each.tag in {"order.paid", "order.received"}]
    assert [event.position for event in events] == expected
    page = await feed.ask(Place())
    assert page.place.position == head, "how far it was read is told, whatever came of it"
    await feed.close()
    narrow = await cell.feed(known, types=["order.paid", "stock.received"])
    assert {event.type for event in await whole(narrow)} == {"order.paid"}, "asking cannot widen what was granted"
    await narrow.close()
    elsewhere = await cell.feed(await cell.admit("jd", "events", channels=("jd",)))
    assert await whole(elsewhere) == []
    await elsewhere.close()
    shop = await cell.feed(await cell.admit("shop", "events", channels=("taobao",)))
    assert {event.stream.partition("-")[0] for event in await whole(shop)} <= {"order", "intake", "trail"}
    await shop.close()


async def test_while_nothing_passes_the_filter_the_chain_still_holds(cell: World) -> None:
    feed = await cell.feed(await cell.admit("erp", "events"), types=["order.paid"])
    cell.trade.receive()
    first = await feed.ask(Place())
    asking = asyncio.create_task(feed.ask(first.place, wait_s=10))
    for units in range(1, 4):
        cell.trade.receive(units)
        await asyncio.sleep(0.05)
    cell.trade.take(view("1"))
    (paid,) = (await asking).events
    assert int(paid.headers["ce-prior"]) == first.place.position
    await feed.close()


async def test_a_restored_log_is_noticed(cell: World) -> None:
    trade_day(cell.trade, 1, 10)
    feed = await cell.feed(await cell.admit("erp", "events"))
    with pytest.raises(NewGeneration) as told:
        await feed.ask(Place("another life", 3))
    assert told.value.generation == "life"
    assert await whole(feed, Place("life", 0))
    with pytest.raises(FeedRefused, match="ends at") as ahead:
        await feed.ask(Place("life", 1_000_000))
    assert ahead.value.code == "ahead"
    await feed.close()


@pytest.mark.parametrize(
    "question",
    [
        b"x",
        b"[]",
        b'{"after":-1}',
        b'{"max":100000}',
        b'{"wait_ms":99999999}',
        b'{"kinds":["nope"]}',
        b'{"feed":"orders"}',
    ],
)
async def test_a_question_that_means_nothing_is_told_so(cell: World, question: bytes) -> None:
    guest = await cell.guest(await cell.admit("erp", "events"))
    answer = json.loads((await guest.request("read.main.events", question, timeout=5)).data)
    assert answer["error"] == "bad_request"
    assert answer["text"]
    await guest.close()


def test_replay_goes_back_beyond_what_the_broker_keeps() -> None:
    log = MemoryEventLog("life")
    trade_day(Trade(log), 1, 50)
    feeds = Feeds("main", log, ReadModels("sqlite://"))
    found, after = [], 0
    while True:
        page = feeds.page("events", Filter(), Ask(after=after, max=9))
        found += [message.payload for message in page.messages]
        after = page.end.position
        if after == page.end.head:
            break
    assert found == [event.data for event in log.read(0, 10_000)]


def test_while_a_read_model_is_built_anew_its_feed_is_not_ready() -> None:
    """After an update its positions begin at 0 again: whoever stored a later one has done nothing wrong."""

    class Before(Orders):
        version = Orders.version - 1

    log, views = MemoryEventLog("life"), ReadModels("sqlite://")
    trade_day(Trade(log), 1, 20)
    views.prepare([Before()])
    building = Projector(log, views, [MODELS["orders"]], batch=5)
    building.run_once()
    feeds, stored = Feeds("main", log, views), Ask(after=log.tracked().head, generation="life")
    assert feeds.page("orders", Filter(), stored).end.error == "not_ready"
    building.run()
    assert feeds.page("orders", Filter(), stored).end.error == ""


async def test_changed_documents_come_in_the_order_of_their_positions(cell: World) -> None:
    trade_day(cell.trade, 4, 60)
    known = await cell.admit("erp", "orders", "inventory", "intake", "after_sales")
    cell.project()
    for name in known["feeds"]:
        feed = await cell.feed(known, name)
        events = await whole(feed, most=2)
        positions = [event.position for event in events]
        assert positions == sorted(positions)
        assert len({event.stream for event in events}) == len(events), "each document once"
        for event in events:
            document = json.loads(event.data)
            assert (document["position"], document["generation"]) == (event.position, "life")
        # A position is stored only when all documents that it changed were handed over.
        for event, after in itertools.pairwise(events):
            assert event.resume < after.position
        place = (await feed.ask(NEW, most=0)).place
        cell.trade.receive(5)
        cell.project()
        later = [json.loads(event.data)["sku"] for event in await whole(feed, place)]
        assert later == (["SKU-1", "SKU-2"] if name == "inventory" else [])
        await feed.close()


async def test_a_document_too_large_for_the_broker_holds_up_no_other(cell: World) -> None:
    one = view("1")
    lines = tuple(msgspec.structs.replace(one.lines[0], id=str(number)) for number in range(20_000))
    cell.trade.take(msgspec.structs.replace(one, lines=lines))
    cell.trade.take(view("2"))
    known = await cell.admit("erp", "orders")
    await cell.level()
    feed = await cell.feed(known, "orders")
    large, small = await whole(feed)
    assert (large.data, large.headers["ce-dataref"]) == (b"", f"/orderspine/main/orders/{large.stream}")
    assert json.loads(small.data)["position"] == small.position == cell.log.tracked().head
    await feed.close()
    guest = await nats.connect(known["url"], user=known["user"], password=known["password"])
    bucket = await guest.jetstream().key_value("main_orders")
    stub = json.loads((await bucket.get(large.stream)).value or b"")
    assert (stub["position"], stub["generation"], stub["too_large"] > 1_000_000) == (large.position, "life", True)
    assert json.loads((await bucket.get(small.stream)).value or b"")["position"] == small.position
    await guest.close()


async def test_a_bucket_can_be_watched_by_any_client(cell: World) -> None:
    cell.trade.receive()
    cell.trade.take(view("1"))
    known = await cell.admit("erp", "inventory", "orders", channels=("taobao",))
    jd = await cell.admit("jd", "orders", channels=("jd",))
    await cell.level()
    nc = await nats.connect(known["url"], user=known["user"], password=known["password"])
    told: list[str] = []

    async def tell(message: Any) -> None:
        told.append(message.subject)

    await nc.subscribe("changes.main.inventory.>", cb=tell)
    bucket = await nc.jetstream().key_value("main_inventory")
    entry = await bucket.get("A=3ASKU-1")
    assert json.loads(entry.value or b"")["sku"] == "SKU-1"
    watcher: Any = await bucket.watchall()
    assert {(await next_entry(watcher)).key for _ in range(3)} == {"A=3ASKU-1", "A=3ASKU-2", "_checkpoint"}
    cell.trade.receive(5)
    await cell.level()
    update = await next_entry(watcher)
    assert json.loads(update.value or b"")["position"] == cell.log.tracked().head
    await wait_for(lambda: "changes.main.inventory.A=3ASKU-1" in told)
    orders = await nc.jetstream().key_value("main_orders")
    assert len(await keys_of(orders)) == 2, "one order and the checkpoint"
    await nc.close()
    other = await nats.connect(jd["url"], user=jd["user"], password=jd["password"])
    assert await keys_of(await other.jetstream().key_value("main_orders")) == {"_checkpoint"}
    await other.close()


# --- what a subscriber cannot do


async def silence(nc: Connection, subject: str, payload: bytes = b"") -> None:
    """Show that nobody answers a request."""
    with pytest.raises(nats.errors.Error):
        await nc.request(subject, payload, timeout=0.15)


async def test_an_enemy_with_credentials_reaches_nothing_else(cell: World) -> None:
    owner = await connect(cell.address, "owner")
    await ensure_mail(owner, "main", incarnation="one", first_seq=1, max_bytes=1024**2)
    await ensure_events(owner, "main", max_bytes=1024**2)
    await ensure_quarantine(owner, "main", max_bytes=1024**2)
    publisher = BatchPublisher(owner)
    await publisher.publish_batch([("mail.main.order.1", b"secret mail", None)], stream="MAIL_main")
    await publisher.publish_batch([("quarantine.main.order.1", b"secret quarantine", None)], stream="QUARANTINE_main")
    await publisher.publish_batch([("events.main.order.s.paid", b"not granted", None)], stream="EVENTS_main")
    cell.trade.receive()
    enemy = await cell.guest(await cell.admit("enemy", "inventory"))
    victim = await cell.guest(await cell.admit("victim", "events", "inventory"))
    await cell.level()
    owned: list[bytes] = []
    heard: list[bytes] = []
    await owner.listen(">", lambda subject, *_: owned.append(subject))
    for subject in (
        ">",
        "*",
        "mail.>",
        "events.>",
        "quarantine.>",
        "$SYS.>",
        "$JS.>",
        "$KV.>",
        "read.>",
        "_R_.>",
        "hint.>",
    ):
        await enemy.listen(subject, lambda subject, *_: heard.append(subject))
    await enemy.listen("_INBOX.>", lambda *_: None)
    await enemy.flush()
    await owner.flush()
    owned.clear()

    # plain messages into the cell, with and without a reply subject that leads there
    for subject in (
        "mail.main.order.1",
        "events.main.order.s.paid",
        "hint.main",
        "quarantine.main.x",
        "$KV.main_inventory.A=3ASKU-1",
        "read.main.events",
        "read.main.orders",
    ):
        await enemy.publish(subject, b"forged")
        await enemy.publish(subject, b"forged", reply="mail.main.order.1")
    for reply in ("mail.main.order.1", "$JS.API.STREAM.DELETE.KV_main_inventory", "$KV.main_inventory.A=3ASKU-1"):
        await enemy.publish("read.main.inventory", b"{}", reply=reply)
    # other streams, and what would change its own
    forbidden = (
        "STREAM.NAMES", "STREAM.LIST", "STREAM.INFO.MAIL_main", "STREAM.INFO.EVENTS_main", "STREAM.MSG.GET.MAIL_main",
        "DIRECT.GET.MAIL_main", "DIRECT.GET.EVENTS_main", "DIRECT.GET.QUARANTINE_main", "DIRECT.GET.KV_main_orders",
        "STREAM.DELETE.KV_main_inventory", "STREAM.PURGE.KV_main_inventory", "STREAM.MSG.DELETE.KV_main_inventory",
        "STREAM.UPDATE.KV_main_inventory", "STREAM.SNAPSHOT.KV_main_inventory", "STREAM.RESTORE.X",
        "CONSUMER.CREATE.MAIL_main", "CONSUMER.CREATE.EVENTS_main.c.events.>", "CONSUMER.DURABLE.CREATE.MAIL_main.c",
        "CONSUMER.MSG.NEXT.MAIL_main.c", "CONSUMER.LIST.MAIL_main", "ACCOUNT.PURGE.ORDERSPINE", "META.LEADER.STEPDOWN",
    )  # fmt: skip
    await asyncio.gather(*(silence(enemy, f"$JS.API.{request}", b'{"seq":1}') for request in forbidden))
    mirror = {"name": "STOLEN", "mirror": {"name": "MAIL_main"}}
    source = {"name": "STOLEN", "sources": [{"name": "MAIL_main", "external": {"api": "$JS.ORDERSPINE.API"}}]}
    for config in (mirror, source, {"name": "STOLEN", "subjects": ["mail.>"]}):
        await silence(enemy, "$JS.API.STREAM.CREATE.STOLEN", json.dumps(config).encode())
    for request in ("$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.ORDERSPINE.CONNZ", "$SYS.REQ.USER.INFO2"):
        await silence(enemy, request)
    # what it may make, turned against the cell: deliveries into the mail, and to other subscribers
    for number, target in enumerate(
        (
            "mail.main.order.1",
            "read.main.events",
            "events.main.order.s.paid",
            "$JS.API.STREAM.PURGE.MAIL_main",
            "_INBOX.owner",
        )
    ):
        push = {"name": f"push{number}", "deliver_subject": target, "ack_policy": "none", "deliver_policy": "all"}
        wanted = {"stream_name": "KV_main_inventory", "config": push}
        try:
            await api(enemy, f"CONSUMER.CREATE.KV_main_inventory.push{number}", wanted, timeout_s=1)
        except BrokerError:
            continue
    # a consumer of its own stream that asks for another's subjects, or names another stream inside
    for wanted in (
        {"stream_name": "MAIL_main", "config": {"name": "c", "ack_policy": "none"}},
        {"stream_name": "KV_main_inventory", "config": {"name": "c", "ack_policy": "none", "filter_subject": "mail.>"}},
    ):
        try:
            answer = await api(enemy, "CONSUMER.CREATE.KV_main_inventory.c", wanted, timeout_s=1)
        except BrokerError:
            continue
        assert (answer["stream_name"], answer["num_pending"]) == ("KV_main_inventory", 0)
    await enemy.flush()
    await asyncio.sleep(0.3)
    await owner.flush()
    assert [subject for subject in owned if not subject.startswith((b"_INBOX", b"$JS.EVENT"))] == []
    assert [subject for subject in heard if not subject.startswith(b"_INBOX")] == []
    for stream, text in (
        ("MAIL_main", b"secret mail"),
        ("QUARANTINE_main", b"secret quarantine"),
        ("EVENTS_main", b"not granted"),
    ):
        assert await last_seq(owner, stream) == 1
        stored = await get_stored(owner, stream, seq=1)
        assert stored is not None
        assert stored.payload == text
    assert (await api(owner, "STREAM.NAMES"))["streams"] == ["EVENTS_main", "MAIL_main", "QUARANTINE_main"]
    theirs = await get_stored(victim, "KV_main_inventory", last_on="$KV.main_inventory.A=3ASKU-1")
    assert theirs is not None
    assert json.loads(theirs.payload)["sku"] == "SKU-1"
    for nc in (owner, enemy, victim):
        await nc.close()


async def test_who_is_revoked_is_out_at_once_and_others_stay(cell: World) -> None:
    cell.trade.receive()
    owner = await connect(cell.address, "owner")
    known, other = await cell.admit("erp", "events", "inventory"), await cell.admit("other", "events")
    out, stays = await cell.guest(known), await cell.feed(other)
    await cell.revoke("erp")
    await wait_for(lambda: out.breaks > 0, 5.0)
    with pytest.raises(BrokerUnauthorized):
        await cell.guest(known)
    with pytest.raises(ConnectionError, match="revoked"):
        await cell.feed(known)
    assert await whole(stays)
    assert owner.breaks == 0
    again = await cell.admit("erp", "events")
    assert not await _lets(cell, known), "the old password stays out"
    feed = await cell.feed(again)
    assert await whole(feed)
    for one in (owner, out, stays, feed):
        await one.close()


async def test_new_credentials_end_the_old_ones(cell: World) -> None:
    old = await cell.admit("erp", "events")
    out = await cell.guest(old)
    new = await cell.admit("erp", "events")
    await wait_for(lambda: out.breaks > 0, 5.0)
    assert not await _lets(cell, old)
    assert await _lets(cell, new)
    await out.close()


async def _lets(cell: World, known: dict[str, Any]) -> bool:
    try:
        await (await cell.guest(known)).close()
    except BrokerUnauthorized:
        return False
    return True


async def test_nobody_finds_a_password_in_the_files(cell: World) -> None:
    known = await cell.admit("erp", "events")
    for file in (cell.data / "subscribers.json", cell.server.directory / "nats-server.conf"):
        assert known["password"].encode() not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0


async def test_what_is_asked_too_often_at_once_is_answered_busy(cell: World) -> None:
    feed = await cell.feed(await cell.admit("erp", "events"))
    cell.trade.receive()
    place = (await feed.ask(NEW, most=0)).place
    waiting = [asyncio.create_task(feed.ask(place, wait_s=5)) for _ in range(8)]
    await asyncio.sleep(0.2)
    with pytest.raises(FeedRefused) as told:
        await feed.ask(place)
    assert told.value.code == "busy"
    cell.trade.receive()
    answers = await asyncio.gather(*waiting)
    assert all(answer.events for answer in answers)
    await feed.close()


# --- dead letters


def numbered(position: int, stream: str) -> Event:
    return Event(position, stream, "order.paid", b"{}", {"ce-type": "order.paid", "ce-resume": str(position)})


def page(*events: Event) -> Page:
    return Page(Place(), events, Place("life", events[-1].position), events[-1].position)


def test_what_cannot_be_handled_is_parked_and_its_order_waits_behind_it() -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE done (position INTEGER PRIMARY KEY)")
    inbox = Inbox(db)
    bad = {2}

    def handle(db: sqlite3.Connection, event: Event) -> None:
        db.execute("INSERT INTO done VALUES (?)", (event.position,))
        if event.position in bad:
            raise ValueError("no")

    def done() -> list[int]:
        return [row[0] for row in db.execute("SELECT position FROM done ORDER BY rowid")]

    inbox.take(page(*[numbered(position, stream) for position, stream in enumerate("abcaba", 1)]), handle)
    assert done() == [1, 3, 4, 6], "what the bad one did is taken back"
    assert inbox.parked() == [(2, "b", "ValueError('no')"), (5, "b", "")]
    assert inbox.place() == Place("life", 6)
    assert inbox.retry(handle) == 0
    assert [position for position, *_ in inbox.parked()] == [2, 5]
    bad.clear()
    assert inbox.retry(handle) == 2
    assert inbox.parked() == []
    assert done() == [1, 2, 3, 4, 5, 6]


async def test_a_subscriber_that_is_revoked_is_told_so(cell: World) -> None:
    cell.trade.receive()
    feed = await cell.feed(await cell.admit("erp", "events"))
    place = (await feed.ask(START)).place
    asking = asyncio.create_task(feed.ask(place, wait_s=1))
    await asyncio.sleep(0.05)
    await cell.revoke("erp")
    with pytest.raises((FeedRefused, FeedBroken)):
        await asking
    await wait_for(feed._refused.is_set, 10.0)
    with pytest.raises(FeedRefused, match="not accept"):
        await asyncio.wait_for(feed.ask(place), 20)
    await feed.close()


async def test_an_answer_that_a_lost_connection_tore_a_hole_into_is_none(cell: World) -> None:
    """Documents have no chain to miss one by; the connection is back before the rest of the answer is there."""
    asks, answers = await connect(cell.address, "asks"), await connect(cell.address, "answers")
    asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    await answers.listen("read.main.orders", lambda _, reply, *__: asked.set_result(reply.decode()))
    await answers.flush()
    question = asyncio.create_task(Feed(asks, "main", "orders").ask(START))
    inbox, lead = await asked, {"ce-id": "life:1:orders:a", "ce-position": "1", "ce-resume": "1"}
    assert asks._transport is not None
    asks._transport.close()  # type: ignore[no-untyped-call]
    await answers.publish(inbox, b"{}", headers={**lead, "ce-subject": "lost", "ce-type": "orders.changed"})
    await wait_for(lambda: asks.stats["reconnects"] > 0 and asks.is_connected)
    await asks.flush()
    await answers.publish(inbox, b'{"generation": "life", "position": 2, "head": 2}')
    with pytest.raises(FeedBroken):
        await question
    await asks.close()
    await answers.close()


def test_a_tail_goes_on_while_the_broker_is_away_or_a_read_model_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    creds = tmp_path / "creds.json"
    creds.write_text(json.dumps({"url": "nats://x", "user": "u", "password": "p", "cell": "main"}))
    monkeypatch.setattr("runners.commands.subscribe.POLL_S", 0.0)
    headers = {"ce-resume": "1"}
    told: deque[Any] = deque(
        [
            Page(START, [Event(1, "order-a", "order.paid", b"{}", headers)], Place("life", 1), 1),
            FeedBroken("no whole answer"),
            ConnectionError("no broker answers"),
            FeedRefused("not_ready", "ask again in a moment"),
            Page(Place("life", 1), [Event(2, "order-b", "order.paid", b"{}", headers)], Place("life", 2), 2),
            FeedBroken("no whole answer"),
            ConnectionRefusedError("were they revoked?"),
        ]
    )

    class Reader:
        @classmethod
        async def connect(cls, *_: object) -> "Reader":
            if isinstance(told[0], OSError):
                raise told.popleft()
            return cls()

        async def pages(self, *_: object, **__: object) -> AsyncIterator[Page]:
            while not isinstance(told[0], Exception):
                yield told.popleft()
            raise told.popleft()

        async def close(self) -> None:
            pass

    monkeypatch.setattr("adapters.nats.feed.Feed", Reader)
    said = orderspine("subscribe", "events", "--from", "start", "--creds", creds)
    assert said.code == 3, said.err
    assert "revoked" in said.err
    assert [line.split()[2] for line in said.out.splitlines()] == ["order-a", "order-b"]


async def test_a_broker_of_ones_own_lets_in_whom_the_printed_configuration_names(cell: World, tmp_path: Path) -> None:
    data = tmp_path / "elsewhere"
    with DataLock(data):
        (data / "settings.json").write_text(json.dumps({"broker": cell.address.url.replace("://", "://me:secret@")}))
    said = await asyncio.to_thread(
        orderspine, "subscribers", "add", "erp", "--feeds", "orders", "--data", data, "--json"
    )
    assert said.code == 0, said.err
    known = said.json["credentials"]
    assert known["url"] == cell.address.url, "without our own password"
    assert not await _lets(cell, known)
    shown = await asyncio.to_thread(orderspine, "subscribers", "show", "erp", "--data", data)
    snippet = json.loads(shown.out[shown.out.index("{") :])
    await cell.server.reload(snippet["accounts"])
    assert await _lets(cell, known)


async def test_an_account_that_cannot_be_served_for_a_while_is_not_filled_with_connections(
    cell: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runners.outlet.AGAIN_S", 0.0)

    async def tidy(_: Served) -> None:
        raise BrokerUnavailable("no answer to STREAM.NAMES")

    with monkeypatch.context() as away:
        away.setattr(Served, "_tidy", tidy)
        known = await cell.admit("erp", "events", "orders")
        for _ in range(CONNECTIONS_MAX):
            await cell.outlet.agree()
    await cell.outlet.agree()
    feed = await cell.feed(known)
    assert (await feed.ask(START)).head == cell.log.tracked().head
    await feed.close()


async def test_a_bucket_without_room_leaves_mail_and_feeds_alone(cell: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.outlet.BUCKET_BYTES_MAX", 4 << 30)
    cell.trade.receive()
    known = await cell.admit("erp", "inventory")
    await cell.level()
    feed = await cell.feed(known, "inventory")
    assert len(await whole(feed)) == 2
    owner = await connect(cell.address, "owner")
    await ensure_mail(owner, "main", incarnation="one", first_seq=1, max_bytes=1024**2)
    await BatchPublisher(owner).publish_batch([("mail.main.order.1", b"mail", None)], stream="MAIL_main")
    for one in (feed, owner):
        await one.close()
