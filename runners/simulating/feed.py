"""What the cell did, as people in the warehouse and at the telephone learn of it."""

import asyncio
import time
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from adapters.nats.client import Connection
from adapters.nats.connection import api
from adapters.nats.errors import ApiRefused, BrokerError
from adapters.nats.streams import events_stream, get_stored
from domain.ports import EventLog

TAGS: Final = frozenset(
    {
        "order.pick_list_issued",
        "order.intercepted",
        "order.released",
        "order.cancelled",
        "order.shipped",
        "order.quarantined",
        "order.approval_requested",
    }
)
"""What people act on."""
_PAGE: Final = 5_000
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Happened(NamedTuple):
    """One event."""

    position: int
    stream: str
    tag: str
    data: dict[str, Any]


class FeedBehind(Exception):
    """The public feed has not shown in time what the log has."""


class Feed(Protocol):
    """A source of what happened."""

    async def upto(self, position: int) -> list[Happened]:
        """Return what is new, in order, when everything up to `position` is known."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


class LogFeed:
    """Reads the log itself: for a cell whose relay does not run."""

    def __init__(self, log: EventLog) -> None:
        """Begin behind what is there."""
        self._log = log
        self._position = log.tracked().head

    async def upto(self, position: int) -> list[Happened]:
        """See `Feed`. The log is never behind."""
        del position
        return await asyncio.to_thread(self._read)

    async def close(self) -> None:
        """Release the log."""
        self._log.close()

    def _read(self) -> list[Happened]:
        found = []
        while page := self._log.read(self._position, _PAGE):
            self._position = page[-1].position
            found += [Happened(e.position, e.stream, e.tag, _decode(e.data)) for e in page if e.tag in TAGS]
        return found


class EventsFeed:
    """Listens to the public feed, as any downstream service would."""

    def __init__(self, nc: Connection, cell: str, *, timeout_s: float = 60.0) -> None:
        """Prepare; `open` begins."""
        self._nc = nc
        self._cell = cell
        self._timeout_s = timeout_s
        self._stream = events_stream(cell)
        self._name = f"simulate-{nc.new_inbox()[7:]}"
        self._subscription: Any = None
        self._waiting: list[Happened] = []
        self._received = 0

    async def open(self) -> None:
        """Ask for what happens from now on.

        Raises:
            ApiRefused: there is no feed.
        """
        inbox = self._nc.new_inbox()
        self._subscription = await self._nc.listen(inbox, self._take)
        config = {
            "name": self._name,
            "deliver_subject": inbox,
            "deliver_policy": "new",
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": 60_000_000_000,
            "filter_subjects": [f"events.{self._cell}.order.*.{tag.partition('.')[2]}" for tag in sorted(TAGS)],
        }
        request = {"stream_name": self._stream, "config": config, "action": "create"}
        await api(self._nc, f"CONSUMER.CREATE.{self._stream}.{self._name}", request)

    async def upto(self, position: int) -> list[Happened]:
        """See `Feed`.

        Raises:
            FeedBehind: the feed does not come forward.
        """
        deadline = time.monotonic() + self._timeout_s
        pause_s = 0.005
        while not await self._reached(position):
            if time.monotonic() > deadline:
                raise FeedBehind(f"{self._stream} has not reached event {position} within {self._timeout_s:g} s")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.1)
        waiting, self._waiting = self._waiting, []
        return waiting

    async def close(self) -> None:
        """End the consumer."""
        if self._subscription is not None and not self._nc.is_closed:
            await self._nc.unlisten(self._subscription)
            try:
                await api(self._nc, f"CONSUMER.DELETE.{self._stream}.{self._name}", timeout_s=2.0)
            except BrokerError:
                return  # the inactive threshold removes it

    async def _reached(self, position: int) -> bool:
        last = await get_stored(self._nc, self._stream, last_on=f"events.{self._cell}.>")
        if position and (last is None or int(last.headers.get("ce-position", 0)) < position):
            return False
        info = await api(self._nc, f"CONSUMER.INFO.{self._stream}.{self._name}")
        return info["num_pending"] == 0 and int(info["delivered"]["consumer_seq"]) <= self._received

    def _take(self, _subject: bytes, _reply: bytes, payload: bytes, block: bytes | None) -> None:
        self._received += 1
        headers = {}
        for line in (block or b"").split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        stream, tag = headers.get(b"ce-subject", b"").decode(), headers.get(b"ce-type", b"").decode()
        self._waiting.append(Happened(int(headers.get(b"ce-position", 0)), stream, tag, _decode(payload)))


async def open_feed(nc: Connection, cell: str, log: EventLog) -> Feed:
    """Return the public feed where there is one, else the log itself. `log` is closed with it, or at once."""
    feed = EventsFeed(nc, cell)
    try:
        await feed.open()
    except ApiRefused:
        await feed.close()
        return LogFeed(log)
    log.close()
    return feed
