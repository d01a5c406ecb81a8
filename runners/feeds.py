"""Feeds: what a subscriber asks for from a position on, read from the log or from a read model's rows.

A question holds all there is to know, so nothing is kept for anybody: the subscriber's stored position decides where
reading goes on, as far back as the log goes. Events come as the relay publishes them (CloudEvents in binary mode).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from adapters.storage.read_models import ReadModels
from domain.ports import EventLog, Told
from runners.relay import HEADROOM_BYTES, Feed
from runners.subscribers import EVENTS, MODELS, Filter

if TYPE_CHECKING:
    from projections.base import Projection

MESSAGES_MAX = 1_000
"""Most messages of an answer."""
BYTES_MAX = 4 * 1024**2
"""An answer ends behind the message with which it exceeds this."""
SCANNED_MAX = 20_000
"""Most events looked at for one answer; one that finds nothing among them says how far it looked."""
PART = 1_000
PAYLOAD_BYTES = 1_000_000
"""What every broker that OrderSpine runs on takes as one message."""
WAIT_MS_MAX = 30_000
_encode = msgspec.json.Encoder().encode

Trouble = Literal["", "bad_request", "new_generation", "ahead", "busy", "not_ready"]


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a subscriber asks."""

    after: int | None = 0
    """The position it stored; 0 = from the beginning; null = from now on."""
    generation: str = ""
    """The generation it stored with the position; "" = whatever there is."""
    max: int = 500
    """Most messages; 0 = only how far the feed is."""
    wait_ms: int = 0
    """How long to wait where there is nothing yet."""
    kinds: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """Only these of what it may read; see `Filter`."""

    @property
    def filter(self) -> Filter:
        """The subscriber's own filter."""
        return Filter(self.kinds, self.channels, self.types)


class End(msgspec.Struct, frozen=True, omit_defaults=True):
    """The end of an answer, the only message of it without headers."""

    generation: str
    position: int
    """How far the feed was read; where to go on. What lies before it and did not come is not for this subscriber."""
    head: int
    """How far the feed goes."""
    error: Trouble = ""
    text: str = ""
    """What to do about the error."""


class Message(NamedTuple):
    """One message of an answer."""

    lines: bytes
    """Header lines."""
    payload: bytes


class Page(NamedTuple):
    """An answer."""

    messages: Sequence[Message]
    end: End


def read_ask(payload: bytes) -> Ask | str:
    """Return what is asked, or what is wrong with it. An empty payload asks for the beginning."""
    try:
        ask = msgspec.json.decode(payload or b"{}", type=Ask)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return f"not a question: {error}"
    if not 0 <= ask.max <= MESSAGES_MAX:
        return f"max is a number from 0 to {MESSAGES_MAX}"
    if not 0 <= ask.wait_ms <= WAIT_MS_MAX:
        return f"wait_ms is a number from 0 to {WAIT_MS_MAX}"
    if ask.after is not None and ask.after < 0:
        return "after is a position: 0 is the beginning"
    return ask.filter.faults() or ask


class Feeds:
    """Answers of one cell."""

    def __init__(self, cell: str, log: EventLog, read_models: ReadModels, payload_max: int = PAYLOAD_BYTES) -> None:
        """`payload_max`: bytes of the largest message that the subscribers' connections take."""
        self._cell = cell
        self._log = log
        self._read_models = read_models
        self._payload_max = payload_max - HEADROOM_BYTES
        self._feed: tuple[str, Feed] | None = None

    def head(self, feed: str) -> tuple[str, int]:
        """Return generation and position of a feed's end; ("", 0) while its read model is built (anew)."""
        if feed == EVENTS:
            tracked = self._log.tracked()
            return tracked.generation, tracked.head
        checkpoint = self._read_models.checkpoint(MODELS[feed])
        return (checkpoint.generation, checkpoint.position) if checkpoint.live else ("", 0)

    def page(self, feed: str, granted: Filter, ask: Ask, looked: int = 0) -> Page:
        """Answer a question about a feed; only what passes both filters comes.

        `looked`: the position to which nothing was found before.
        """
        try:
            generation, head = self.head(feed)
        except SQLAlchemyError:
            generation, head = "", 0
        if not generation:
            return Page((), End("", 0, 0, "not_ready", "there is nothing to read yet; ask again in a moment"))
        after = head if ask.after is None else ask.after
        if ask.generation and ask.generation != generation:
            text = (
                "the log began a new life (it was restored): read from the beginning with the new generation, or go on "
                "where you know that both lives are alike"
            )
            return Page((), End(generation, 0, head, "new_generation", text))
        if after > head:
            text = f"the feed ends at {head}: position and generation do not belong together"
            return Page((), End(generation, 0, head, "ahead", text))
        if feed == EVENTS:
            return self._events((granted, ask.filter), after, looked, ask.max, generation, head)
        return self._documents(feed, (granted, ask.filter), max(after, looked), ask.max, generation, head)

    def _events(
        self, filters: tuple[Filter, ...], after: int, looked: int, most: int, generation: str, head: int
    ) -> Page:
        if self._feed is None or self._feed[0] != generation:
            self._feed = generation, Feed(self._cell, generation, self._payload_max)
        position, size, scanned = max(after, looked), 0, 0
        chosen: list[Told] = []
        while len(chosen) < most and size <= BYTES_MAX and scanned < SCANNED_MAX:
            events = self._log.told(position, PART)
            for event in events:
                position, stream, _, tag, _, data = event
                if all(filter_.lets(stream, tag) for filter_ in filters):
                    chosen.append(event)
                    size += len(data)
                    if len(chosen) == most or size > BYTES_MAX:
                        break
            scanned += len(events)
            if len(events) < PART:
                break
        messages: list[Message] = []
        prior = after
        for (place, *_), (_, payload, lines) in zip(chosen, self._feed[1].messages(chosen), strict=True):
            messages.append(Message(lines + b"ce-prior: %d\r\nce-resume: %d\r\n" % (prior, place), payload))
            prior = place
        return Page(messages, End(generation, position, max(head, position)))

    def _documents(
        self, feed: str, filters: tuple[Filter, ...], after: int, most: int, generation: str, head: int
    ) -> Page:
        """The documents that changed behind a position, each once, as it is now."""
        if most == 0:
            return Page((), End(generation, after, head))
        projection: Projection[Any, Any] = MODELS[feed]
        rows = self._read_models.since(projection, after, head, most)
        documents = projection.load({made.name: rows.get(made.name, ()) for made in projection.tables})
        projection.changes(documents)
        found = sorted(projection.public(documents), key=lambda public: (public.position, public.key))
        main = projection.tables[0]
        changed, place = rows[main.name], list(main.columns.keys()).index("position")
        position = changed[-1][place] if len(changed) >= most else head
        wanted = [
            public
            for public in found
            if all(each.lets_document(public.key, by_channel=projection.by_channel) for each in filters)
        ]
        lead = b'{"generation":%b,' % _encode(generation)
        messages, resume, size = [], after, 0
        for index, public in enumerate(wanted):
            last = index + 1 == len(wanted) or wanted[index + 1].position > public.position
            if last:
                resume = public.position
            payload = lead + public.json[1:]
            lines = self._document_lines(feed, generation, public.key, public.position, resume)
            if len(payload) > self._payload_max:  # it would end the connection, and with it all that follows
                payload = b""
                lines += f"ce-dataref: /orderspine/{self._cell}/{feed}/{public.key}\r\n".encode()
            size += len(payload)
            messages.append(Message(lines, payload))
            if last and size > BYTES_MAX:
                position = public.position
                break
        return Page(messages, End(generation, position, head))

    def _document_lines(self, feed: str, generation: str, key: str, position: int, resume: int) -> bytes:
        return (
            f"ce-specversion: 1.0\r\ncontent-type: application/json\r\nce-generation: {generation}\r\n"
            f"ce-id: {generation}:{position}:{feed}:{key}\r\nce-source: /orderspine/{self._cell}/{feed}\r\n"
            f"ce-subject: {key}\r\nce-type: {feed}.changed\r\nce-position: {position}\r\nce-resume: {resume}\r\n"
        ).encode()
