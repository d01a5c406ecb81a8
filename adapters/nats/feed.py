"""Reading a feed as a subscriber does. Needs nats-py only, so that the file can be copied into a program of yours.

    feed = await Feed.connect(credentials("shop.creds.json"), "events")
    inbox = Inbox(sqlite3.connect("mine.db"))
    async for page in feed.pages(inbox.place, wait_s=30):
        inbox.take(page, handle)

`handle(db, event)` writes what it does into the same database: then event and stored position are one transaction, and
whatever kills the program, every event has taken effect exactly once. docs/subscriptions.md
"""

import asyncio
import json
import sqlite3
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import nats.errors
from nats.aio.client import Client

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

ANSWER_S = 15.0
"""How long an answer may take, beside the waiting that was asked for."""
CONNECT_S = 10.0
PAGE_MESSAGES = 500


class Place(NamedTuple):
    """How far a feed was handled; all that a subscriber must store."""

    generation: str = ""
    """"" before anything was read."""
    position: int | None = 0
    """0 = the beginning; None = from now on."""


NEW = Place("", None)
"""What is new from now on."""


class Event(NamedTuple):
    """One event, or one changed document."""

    position: int
    stream: str
    """Of events: the order's, the warehouse's …; of documents: the key. What is in order is in order here."""
    type: str
    data: bytes
    """JSON; empty where it is too large for the broker (`dataref` says so)."""
    headers: Mapping[str, str]
    """All of them; see docs/subscriptions.md."""

    @property
    def resume(self) -> int:
        """What to store once this is handled."""
        return int(self.headers["ce-resume"])


class Page(NamedTuple):
    """An answer."""

    before: Place
    events: Sequence[Event]
    place: Place
    """What to store once all of it is handled."""
    head: int
    """How far the feed goes."""


class FeedRefused(Exception):
    """The outlet does not answer the question; `code` and text say why."""

    def __init__(self, code: str, text: str) -> None:
        """Keep the code: bad_request, ahead, busy, not_ready, unauthorized."""
        super().__init__(text)
        self.code = code


class NewGeneration(FeedRefused):
    """The log began a new life (it was restored): positions of the old one mean nothing in it."""

    def __init__(self, generation: str, text: str) -> None:
        """Keep the name of the new life."""
        super().__init__("new_generation", text)
        self.generation = generation


class FeedBroken(Exception):
    """The answer has a gap, or ends before its end: nothing of it may be stored; ask again."""


class Feed:
    """One feed over one connection."""

    def __init__(
        self,
        nc: Client,
        cell: str,
        name: str,
        only: Mapping[str, Sequence[str]] | None = None,
        refused: asyncio.Event | None = None,
    ) -> None:
        """Name the feed.

        Args:
            nc: a connection with the subscriber's credentials.
            cell: as the credentials have it.
            name: of the feed.
            only: kinds, channels, types; nothing else is to come.
            refused: set by who sees that the broker does not let this user in any more.
        """
        self._nc = nc
        self._refused = refused or asyncio.Event()
        self._giving_up: asyncio.Task[None] | None = None
        self._subject = f"read.{cell}.{name}"
        self._only = {key: list(values) for key, values in (only or {}).items() if values}

    @classmethod
    async def connect(
        cls, known: Mapping[str, Any], name: str, only: Mapping[str, Sequence[str]] | None = None
    ) -> "Feed":
        """Connect with credentials; the connection comes back by itself for as long as it is needed.

        Raises:
            ConnectionRefusedError: the broker refuses these credentials.
            ConnectionError: no broker answers.
            nats.errors.Error: it answers, and something else is wrong.
        """
        nc = Client()
        refused = asyncio.Event()

        async def on_error(error: Exception) -> None:
            if "authorization" in str(error).lower():
                refused.set()

        async def give_up() -> None:
            await refused.wait()
            await nc.close()  # the library would try again for ever

        connecting = asyncio.ensure_future(
            nc.connect(
                known["url"],
                user=known["user"],
                password=known["password"],
                tls=ssl.create_default_context() if known["url"].startswith("tls://") else None,
                error_cb=on_error,
                reconnect_time_wait=1,
                max_reconnect_attempts=-1,
            )
        )
        ending = asyncio.ensure_future(refused.wait())
        await asyncio.wait({connecting, ending}, timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not connecting.done():
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            await nc.close()
            if refused.is_set():
                raise ConnectionRefusedError(
                    f"{known['url']} refuses these credentials: were they revoked, or made anew?"
                )
            raise ConnectionError(f"no broker answers at {known['url']}")
        await connecting
        feed = cls(nc, known["cell"], name, only, refused)
        feed._giving_up = asyncio.create_task(give_up())
        return feed

    async def ask(self, place: Place, *, wait_s: float = 0.0, most: int = PAGE_MESSAGES) -> Page:
        """Ask once.

        Raises:
            NewGeneration, FeedRefused: see there.
            FeedBroken: no whole answer came; ask again.
        """
        question = {
            "after": place.position,
            "generation": place.generation,
            "max": most,
            "wait_ms": int(1000 * wait_s),
            **self._only,
        }
        inbox = self._nc.new_inbox()
        reconnects = self._nc.stats["reconnects"]
        listening: Subscription | None = None
        events: list[Event] = []
        try:
            listening = await self._nc.subscribe(inbox, pending_bytes_limit=-1)
            await self._nc.publish(self._subject, json.dumps(question).encode(), reply=inbox)
            while True:
                message = await listening.next_msg(timeout=wait_s + ANSWER_S)
                headers = message.headers
                if headers is None:
                    # A part of it may have come while nobody was there to take it; documents have no chain.
                    if self._nc.stats["reconnects"] != reconnects:
                        raise FeedBroken("the connection was lost amid the answer")
                    return _page(place, events, json.loads(message.data))
                if "ce-id" not in headers:
                    raise FeedBroken(f"nobody answers on {self._subject}: is `orderspine up` running?")
                events.append(
                    Event(int(headers["ce-position"]), headers["ce-subject"], headers["ce-type"], message.data, headers)
                )
        except nats.errors.Error as error:
            if self._refused.is_set():
                raise FeedRefused("unauthorized", "the broker does not accept these credentials any more") from error
            raise FeedBroken(f"no whole answer on {self._subject}: {error!r}") from error
        finally:
            if listening is not None:
                with suppress(nats.errors.Error):
                    await listening.unsubscribe()

    async def pages(self, place: Callable[[], Place], *, wait_s: float = 20.0) -> AsyncGenerator[Page, None]:
        """Ask for ever, each time from what `place` returns; `wait_s` is how long one question waits for news."""
        while True:
            yield await self.ask(place(), wait_s=wait_s)

    async def close(self) -> None:
        """Close the connection."""
        if self._giving_up is not None:
            self._giving_up.cancel()
        await self._nc.close()


def _page(place: Place, events: list[Event], end: Mapping[str, Any]) -> Page:
    """Put an answer together.

    Raises:
        NewGeneration, FeedRefused, FeedBroken: it is none.
    """
    error, text = end.get("error", ""), end.get("text", "")
    if error == "new_generation":
        raise NewGeneration(end["generation"], text)
    if error:
        raise FeedRefused(error, text)
    at = place.position
    for event in events:
        if at is not None and int(event.headers.get("ce-prior", at)) != at:
            raise FeedBroken(f"event {event.position} follows {event.headers['ce-prior']}, and {at} was the last")
        at = event.position
    return Page(place, events, Place(end["generation"], end["position"]), end["head"])


def credentials(file: str | Path) -> dict[str, Any]:
    """Read what `orderspine subscribers add --to FILE` wrote: url, user, password, cell, feeds.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds no credentials.
    """
    try:
        known = json.loads(Path(file).read_bytes())
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}") from error
    if not isinstance(known, dict) or not {"url", "user", "password", "cell"} <= known.keys():
        raise ValueError(f"{file} holds no credentials: url, user, password and cell are needed")
    return known


_TABLES = """
CREATE TABLE IF NOT EXISTS feed_place (feed TEXT PRIMARY KEY, generation TEXT NOT NULL, position INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS feed_parked (feed TEXT NOT NULL, position INTEGER NOT NULL, stream TEXT NOT NULL,
    headers TEXT NOT NULL, data BLOB NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (feed, position, stream));
"""
Handle = Callable[[sqlite3.Connection, Event], None]
"""Does what an event asks for, in the database that it is given; raising parks the event."""


class Inbox:
    """Where a subscriber is in a feed, and what it has parked, in its own database.

    An event that cannot be handled is parked with its reason, and so is what follows on the same stream (the same
    order): other orders go on, and no order is ever handled out of its order.
    """

    def __init__(self, db: sqlite3.Connection, feed: str = "events") -> None:
        """Make the two tables where they are not there yet."""
        self._db = db
        self._feed = feed
        db.executescript(_TABLES)

    def place(self) -> Place:
        """Return where to go on."""
        row = self._db.execute("SELECT generation, position FROM feed_place WHERE feed = ?", (self._feed,)).fetchone()
        return Place(*row) if row else Place()

    def begin(self, place: Place) -> None:
        """Go on somewhere else: at a position, or in a new generation. What is parked stays.

        To begin with what is new: `inbox.begin((await feed.ask(NEW, most=0)).place)`.
        """
        assert place.position is not None, "ask the feed first where its end is"
        with self._db:
            self._store(place)

    def take(self, page: Page, handle: Handle) -> None:
        """Handle a page, event by event; each of them and the new place are one transaction."""
        for event in page.events:
            with self._db:
                if self._waits(event.stream):
                    self._park(event, "")
                else:
                    self._try(event, handle)
                self._store(Place(page.place.generation, event.resume))
        with self._db:
            self._store(page.place)

    def parked(self) -> list[tuple[int, str, str]]:
        """Return position, stream and reason of what is parked; "" = it waits behind another of its stream."""
        return self._db.execute(
            "SELECT position, stream, reason FROM feed_parked WHERE feed = ? ORDER BY position", (self._feed,)
        ).fetchall()

    def retry(self, handle: Handle) -> int:
        """Take what is parked again, in its order, and each stream as far as it goes; return how many were handled."""
        done = 0
        stuck: set[str] = set()
        for position, stream, headers, data in self._db.execute(
            "SELECT position, stream, headers, data FROM feed_parked WHERE feed = ? ORDER BY position", (self._feed,)
        ).fetchall():
            if stream in stuck:
                continue
            known = json.loads(headers)
            with self._db:
                self._drop(position, stream)
                if self._try(Event(position, stream, known["ce-type"], data, known), handle):
                    done += 1
                else:
                    stuck.add(stream)
        return done

    def drop(self, position: int) -> None:
        """Give up a parked event; what waits behind it can be taken by `retry`."""
        with self._db:
            self._db.execute("DELETE FROM feed_parked WHERE feed = ? AND position = ?", (self._feed, position))

    def _try(self, event: Event, handle: Handle) -> bool:
        """Handle an event, or park it and take back what it has done."""
        self._db.execute("SAVEPOINT event")
        try:
            handle(self._db, event)
        except Exception as trouble:  # noqa: BLE001  whatever it is, the other orders go on
            self._db.execute("ROLLBACK TO event")
            self._park(event, repr(trouble))
            return False
        return True

    def _waits(self, stream: str) -> bool:
        where = (self._feed, stream)
        return bool(self._db.execute("SELECT 1 FROM feed_parked WHERE feed = ? AND stream = ?", where).fetchone())

    def _park(self, event: Event, reason: str) -> None:
        row = (self._feed, event.position, event.stream, json.dumps(dict(event.headers)), event.data, reason)
        self._db.execute("INSERT OR REPLACE INTO feed_parked VALUES (?, ?, ?, ?, ?, ?)", row)

    def _drop(self, position: int, stream: str) -> None:
        where = (self._feed, position, stream)
        self._db.execute("DELETE FROM feed_parked WHERE feed = ? AND position = ? AND stream = ?", where)

    def _store(self, place: Place) -> None:
        row = (self._feed, place.generation, place.position or 0)
        self._db.execute("INSERT OR REPLACE INTO feed_place VALUES (?, ?, ?)", row)
