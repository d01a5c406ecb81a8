"""The outlet: answers subscribers and keeps their buckets. `python -m runners.outlet --data DIR`.

It has one connection into each subscriber's account, and answers there on `read.<cell>.<feed>`. Who asks is known by
the account that the question comes from, and by nothing in it. Answers go to inboxes only, so that no reply subject
can make the outlet write elsewhere (docs/adr/0008).
"""

import argparse
import asyncio
import contextlib
import re
import sqlite3
import sys

import msgspec
import nats.errors
import psycopg
import structlog
from sqlalchemy.exc import SQLAlchemyError

from adapters.nats.accounts import outlet_of, read_subject
from adapters.nats.connection import Connection, api, connect
from adapters.nats.errors import BrokerError, BrokerUnavailable
from adapters.nats.parser import Sink
from adapters.nats.publish import frame
from adapters.nats.streams import kv_stream
from adapters.nats.tasks import end_tasks
from adapters.storage.read_models import ReadModels
from runners.aio import run
from runners.background import CONNECT_S, POLL_S, Background, Link
from runners.bootstrap import broker_address, open_read_models
from runners.documents import Documents
from runners.feeds import Ask, End, Feeds, Page, read_ask
from runners.settings import Settings, load_settings
from runners.subscribers import BUCKET_BYTES_MAX, MODELS, BadSubscribers, Subscriber, load, stamp

TICK_S = 0.25
"""How often it is looked whether what somebody waits for is there; hints come before."""
AGAIN_S = 0.4
"""Least pause between two attempts to get into an account: the broker may not know it yet."""
QUESTIONS_MAX = 8
"""Most questions of one subscriber under way."""
BUCKET_AGAIN_S = 5.0
"""Pause before a bucket that could not be brought level is tried again."""
_INBOX = re.compile(rb"_INBOX\.[A-Za-z0-9_.-]{1,200}")
AWAY = (sqlite3.Error, psycopg.Error, SQLAlchemyError)
"""The log or the read models cannot be read just now."""

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


class Outlet:
    """Answers the subscribers of one cell."""

    def __init__(self, settings: Settings, feeds: Feeds, read_models: ReadModels) -> None:
        """Nobody is served yet."""
        self._settings = settings
        self._feeds = feeds
        self._read_models = read_models
        self._fresh = asyncio.Event()
        self._seen = ""
        self._wanted: dict[str, Subscriber] = {}
        self._served: dict[str, Served] = {}
        self._not_before: dict[str, float] = {}
        self._agreeing: asyncio.Task[None] | None = None
        self._leveling: asyncio.Task[None] | None = None
        self.waiting = 0
        """How many questions wait for something new."""

    async def agree(self) -> None:
        """Serve those whom the file names, as it names them, as far as the broker lets it."""
        seen = stamp(self._settings.path)
        if seen != self._seen:
            try:
                self._wanted = {each.name: each for each in load(self._settings.path)}
            except (BadSubscribers, OSError) as error:
                log.error("outlet.subscribers_not_usable", reason=str(error))  # noqa: TRY400  not a crash
                self._wanted = {}
            self._seen = seen
        for name, served in list(self._served.items()):
            if self._wanted.get(name) != served.subscriber or served.nc.is_closed:
                await self._served.pop(name).close()
        missing = [each for each in self._wanted.values() if each.name not in self._served]
        await asyncio.gather(*(self._enter(each) for each in missing))

    async def _enter(self, subscriber: Subscriber) -> None:
        name = subscriber.name
        now = asyncio.get_running_loop().time()
        if now < self._not_before.get(name, 0.0):
            return
        address = msgspec.structs.replace(
            broker_address(self._settings), user=outlet_of(name), password=subscriber.outlet_password
        )
        try:
            nc = await connect(address, f"outlet-{name}", timeout_s=CONNECT_S)
            served = Served(subscriber, self._settings.cell, nc, self._read_models)
            try:
                await served.open(self)
            except BaseException:
                await served.close()  # an account takes a few connections only, its subscriber's among them
                raise
        except (BrokerError, nats.errors.Error, OSError) as error:
            log.warning("outlet.not_let_in", subscriber=name, reason=str(error))
            self._not_before[name] = now + AGAIN_S
            return
        self._served[name] = served
        log.info("outlet.serves", subscriber=name, feeds=subscriber.feeds)

    def tick(self) -> None:
        """Let those who wait look again, agree on who is served, bring the buckets level; none waits for another."""
        self._fresh.set()
        self._fresh = asyncio.Event()
        if self._agreeing is None or self._agreeing.done():
            self._agreeing = asyncio.create_task(self.agree(), name="agree")
        if self._leveling is None or self._leveling.done():
            self._leveling = asyncio.create_task(self._level(), name="level")

    async def close(self) -> None:
        """Leave all accounts."""
        await end_tasks(task for task in (self._agreeing, self._leveling) if task is not None)
        for served in self._served.values():
            await served.close()

    async def answer(self, served: "Served", feed: str, reply: bytes, payload: bytes) -> None:
        """Answer one question; who does not get the answer asks again."""
        ask = read_ask(payload)
        page = refused("bad_request", ask) if isinstance(ask, str) else await self._page(served, feed, ask)
        with contextlib.suppress(BrokerUnavailable, OSError):
            served.nc.send_now(frames(reply, page))
            await served.nc.drain_socket()

    async def _page(self, served: "Served", feed: str, ask: Ask) -> Page:
        """Read, and wait where there is nothing yet."""
        granted = served.subscriber.filter
        deadline = asyncio.get_running_loop().time() + ask.wait_ms / 1000
        looked = 0
        while True:
            try:
                page = self._feeds.page(feed, granted, ask, looked)
                end = page.end
                if page.messages or end.error or end.position < end.head or not ask.max:
                    return page
                ask = msgspec.structs.replace(
                    ask, after=end.head if ask.after is None else ask.after, generation=end.generation
                )
                looked = end.position
                async with asyncio.timeout_at(deadline):
                    while self._feeds.head(feed) == (end.generation, end.head):
                        self.waiting += 1
                        try:
                            await self._fresh.wait()
                        finally:
                            self.waiting -= 1
            except TimeoutError:
                return page
            except AWAY as trouble:
                log.warning("outlet.cannot_read", feed=feed, reason=str(trouble))
                return refused("not_ready", "the log cannot be read just now; ask again in a moment")

    async def _level(self) -> None:
        now = asyncio.get_running_loop().time
        for served in list(self._served.values()):
            for model, documents in served.buckets:
                if served.nc.is_closed or now() < served.not_before.get(model, 0.0):
                    continue
                try:
                    checkpoint = self._read_models.checkpoint(MODELS[model])
                    # What is built beside the live one is not level yet: it would take documents away.
                    if checkpoint.generation and checkpoint.live and not await documents.level(checkpoint):
                        served.not_before[model] = now() + BUCKET_AGAIN_S
                except (BrokerError, nats.errors.Error, OSError, *AWAY) as trouble:
                    log.warning("outlet.not_level", subscriber=served.subscriber.name, feed=model, reason=str(trouble))


class Served:
    """One subscriber, while there is a connection into its account."""

    def __init__(self, subscriber: Subscriber, cell: str, nc: Connection, read_models: ReadModels) -> None:
        """Nothing is listened to yet."""
        self.subscriber = subscriber
        self.nc = nc
        self.buckets = [(model, self._bucket(model, cell, read_models)) for model in subscriber.member.buckets]
        self.not_before: dict[str, float] = {}
        """When a bucket that could not be brought level (it is full, or there is no room for it) is tried again."""
        self._cell = cell
        self._questions: set[asyncio.Task[None]] = set()

    def _bucket(self, model: str, cell: str, read_models: ReadModels) -> Documents:
        only = self.subscriber.filter
        return Documents(self.nc, cell, MODELS[model], read_models, max_bytes=BUCKET_BYTES_MAX, only=only)

    async def open(self, outlet: Outlet) -> None:
        """Begin to answer."""
        if self.buckets:
            await self._tidy()
        for feed in self.subscriber.feeds:
            await self.nc.listen(read_subject(self._cell, feed), self._taking(outlet, feed))
        await self.nc.flush()

    async def _tidy(self) -> None:
        """Drop what an earlier subscriber of this name has left: other buckets, and those of an account that was gone.

        The broker keeps the latter's documents, and answers nobody who asks for them. They are made anew.
        """
        own = {kv_stream(documents.bucket): documents for _, documents in self.buckets}
        for stream in (await api(self.nc, "STREAM.NAMES")).get("streams") or ():
            if stream not in own or not await own[stream].answers():
                await api(self.nc, f"STREAM.DELETE.{stream}")

    def _taking(self, outlet: Outlet, feed: str) -> Sink:
        def take(_subject: bytes, reply: bytes, payload: bytes, _headers: bytes | None) -> None:
            if not _INBOX.fullmatch(reply):
                return
            if len(self._questions) >= QUESTIONS_MAX:
                page = refused("busy", f"{QUESTIONS_MAX} questions are under way; ask again when one is answered")
                with contextlib.suppress(BrokerUnavailable):
                    self.nc.send_now(frames(reply, page))
                return
            question = asyncio.create_task(outlet.answer(self, feed, reply, payload))
            self._questions.add(question)
            question.add_done_callback(self._questions.discard)

        return take

    async def close(self) -> None:
        """Leave the account."""
        await end_tasks(self._questions)
        with contextlib.suppress(BrokerError, nats.errors.Error, OSError):
            for _, documents in self.buckets:
                await documents.close()
        await self.nc.close()


def refused(error: str, text: str) -> Page:
    """Return an answer that says why there is none."""
    return Page((), msgspec.convert({"generation": "", "position": 0, "head": 0, "error": error, "text": text}, End))


def frames(reply: bytes, page: Page) -> bytes:
    """Return an answer as protocol bytes: its messages with headers, then the end without any."""
    inbox = reply.decode()
    parts = [frame(inbox, message.payload, message.lines, b"") for message in page.messages]
    end = _encode(page.end)
    parts.append(b"PUB %b %d\r\n%b\r\n" % (reply, len(end), end))
    return b"".join(parts)


async def serve(settings: Settings) -> None:
    """Answer until SIGTERM or SIGINT."""
    background = Background()
    background.begin()
    event_log = await background.log_of(settings)
    if event_log is None:
        return
    read_models = open_read_models(settings)
    link = Link(settings, f"outlet-{settings.cell}")
    outlet = Outlet(settings, Feeds(settings.cell, event_log, read_models), read_models)
    try:
        while not background.stopping.is_set():
            if await link.up() is not None:
                outlet.tick()
            await background.pause(TICK_S if outlet.waiting else POLL_S / 2, link.hints)
    finally:
        await outlet.close()
        await link.close()
        read_models.close()
        event_log.close()


def main() -> int:
    """Parse the arguments and answer."""
    parser = argparse.ArgumentParser(prog="python -m runners.outlet", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    run(serve(load_settings(parser.parse_args().data)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
