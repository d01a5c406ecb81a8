"""`subscribe`: tails a feed in a terminal, as a subscriber (with credentials) or straight from the data directory."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    moment_said,
    print_text,
    printable,
    say,
    settings_of,
)
from runners.commands.subscribers import FEED_NAMES, ChannelOption, KindOption, TypeOption

if TYPE_CHECKING:
    from adapters.nats.feed import Event, Page, Place
    from runners.settings import Settings

POLL_S = 0.5
WAIT_S = 20.0
SHOWN_CHARS = 160
MESSAGES = 500
PASSING = frozenset({"busy", "not_ready"})
"""Refusals after which the same is asked again in a moment."""


def subscribe(
    feed: Annotated[str, Parameter(name="FEED", help=f"{FEED_NAMES}.")] = "events",
    /,
    *,
    from_: Annotated[
        str, Parameter(name="--from", help="Where to begin: start, new, or the position behind which to go on.")
    ] = "new",
    kind: KindOption = None,
    channel: ChannelOption = None,
    type_: TypeOption = None,
    creds: Annotated[
        Path | None,
        Parameter(help="A subscriber's file of credentials; without it the data directory itself is read."),
    ] = None,
    until_end: Annotated[
        bool, Parameter(name="--until-end", negative="", help="Stop at the feed's end instead of waiting for more.")
    ] = False,
    json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object for each line.")] = False,
    data: DataOption = DATA_DEFAULT,
) -> Exit:
    """Tail a feed: one line for each event or changed document, in order."""
    from adapters.nats.feed import NEW, FeedBroken, FeedRefused, Place  # noqa: PLC0415
    from runners.subscribers import FEEDS  # noqa: PLC0415

    if feed not in FEEDS:
        raise Failure(Exit.USAGE, f"there is no feed {feed[:80]!r}; there are {', '.join(FEEDS)}")
    places = {"start": Place(), "new": NEW}
    if from_ not in places and not (from_.isascii() and from_.isdecimal() and len(from_) <= 18):  # noqa: PLR2004  digits of 63 bits
        raise Failure(Exit.USAGE, f"--from {from_[:80]}: say start, new, or a position (a whole number)")
    place = places.get(from_) or Place("", int(from_))
    # Who reads from elsewhere has no settings of the merchant: there times stay as they came, in UTC and marked so.
    settings = None if creds is not None else settings_of(data)
    only = {"kinds": kind or [], "channels": channel or [], "types": type_ or []}

    async def tail() -> None:
        at = place

        def here() -> Place:
            return at

        while True:
            try:
                begun = at is not place
                reading = _pages(feed, here, only, creds, settings, wait=not until_end, begun=begun)
                async with contextlib.aclosing(reading) as pages:
                    async for page in pages:
                        lines = [_document(event) if json else _line(event, settings) for event in page.events]
                        print_text("".join(f"{line}\n" for line in lines))
                        at = page.place
                        if until_end and page.place.position == page.head:
                            return
            except (FeedBroken, FeedRefused) as error:
                passing = isinstance(error, FeedBroken) or error.code in PASSING
                if until_end or at.position is None or not passing:
                    raise
                say(f"{error}; going on behind {at.position} as soon as there is an answer")
                await asyncio.sleep(POLL_S)

    try:
        asyncio.run(tail())
    except FeedBroken as error:
        raise Failure(Exit.NOT_RUNNING, str(error)) from error
    except FeedRefused as error:
        raise Failure(Exit.REFUSED, f"{error.code}: {error}") from error
    return Exit.OK


async def _pages(
    feed: str,
    place: Callable[[], "Place"],
    only: dict[str, list[str]],
    creds: Path | None,
    settings: "Settings | None",
    *,
    wait: bool,
    begun: bool,
) -> "AsyncGenerator[Page, None]":
    if settings is not None:
        async for page in _own_pages(feed, place, only, settings):
            yield page
        return
    assert creds is not None
    import nats.errors  # noqa: PLC0415

    from adapters.nats.feed import Feed, FeedBroken, credentials  # noqa: PLC0415

    try:
        known = credentials(creds)
    except OSError as error:
        raise Failure(Exit.USAGE, f"{creds} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Failure(Exit.USAGE, str(error)) from error
    if feed not in known.get("feeds", [feed]):
        raise Failure(Exit.REFUSED, f"these credentials are for {', '.join(known['feeds'])}, not for {feed}")
    try:
        reader = await Feed.connect(known, feed, only)
    except (OSError, nats.errors.Error) as error:
        reason = str(error) or repr(error)
        if begun and not isinstance(error, ConnectionRefusedError):
            raise FeedBroken(reason) from error
        raise Failure(Exit.NOT_RUNNING, f"the broker does not let this subscriber in: {reason}") from error
    try:
        async for page in reader.pages(place, wait_s=WAIT_S if wait else 0.0):
            yield page
    finally:
        await reader.close()


async def _own_pages(
    feed: str, place: Callable[[], "Place"], only: dict[str, list[str]], settings: "Settings"
) -> "AsyncGenerator[Page, None]":
    """Read the files or the database as they are; nobody has to answer."""
    from adapters.nats.feed import Event, FeedRefused, Page, Place  # noqa: PLC0415
    from runners.bootstrap import open_log, open_read_models  # noqa: PLC0415
    from runners.feeds import Ask, Feeds  # noqa: PLC0415
    from runners.subscribers import Filter  # noqa: PLC0415

    filter_ = Filter(tuple(only["kinds"]), tuple(only["channels"]), tuple(only["types"]))
    if wrong := filter_.faults():
        raise Failure(Exit.USAGE, wrong)
    with (
        contextlib.closing(open_log(settings, read_only=True)) as log,
        contextlib.closing(open_read_models(settings)) as read_models,
    ):
        feeds = Feeds(settings.cell, log, read_models)
        while True:
            before = place()
            answer = feeds.page(feed, filter_, Ask(before.position, before.generation, MESSAGES))
            if answer.end.error:
                raise FeedRefused(answer.end.error, answer.end.text)
            events = []
            for message in answer.messages:
                headers = dict(line.split(": ", 1) for line in message.lines.decode().splitlines())
                position = int(headers["ce-position"])
                events.append(Event(position, headers["ce-subject"], headers["ce-type"], message.payload, headers))
            yield Page(before, events, Place(answer.end.generation, answer.end.position), answer.end.head)
            if answer.end.position == answer.end.head:
                await asyncio.sleep(POLL_S)


def _document(event: "Event") -> str:
    """Return an event as a line for programs."""
    import msgspec  # noqa: PLC0415

    headers = {name.removeprefix("ce-"): value for name, value in event.headers.items()}
    body = {**headers, "position": event.position, "data": msgspec.Raw(event.data or b"null")}
    return msgspec.json.encode(body).decode()


def _line(event: "Event", settings: "Settings | None") -> str:
    """Return an event as a line for people, its time in the merchant's zone where that is known."""
    time = event.headers.get("ce-time", "")
    if settings is not None:
        time = moment_said(time, settings.zone)
    text = event.data.decode("utf-8", "replace")
    if len(text) > SHOWN_CHARS:
        text = text[: SHOWN_CHARS - 1] + "…"
    shown = [f"{event.position:>8}", *([time] if time else []), f"{event.type:<26}", event.stream, text]
    return printable("  ".join(shown)).replace("\n", " ")
