"""One shop's change feed, brought up to now: window by window, the cursor behind what is in the log for good."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
import structlog

from adapters.platforms.connection import Connection
from domain.envelope import By
from domain.ids import intake_key
from domain.mail import AsideReport, Mail
from domain.platforms import Puller, Window
from domain.time_units import DAY_MS
from runners.preparing import ASIDE_MAX, plain
from runners.pulling_mail import Mailroom, Sent, outcomes
from runners.pulling_store import Pulls
from runners.pulling_windows import plan, windows

SINCE_DAYS = 1.0
"""How far back the first pull of a shop goes, unless its option `since_days` says otherwise."""
SINCE_OPTION = "since_days"

log = structlog.get_logger(__name__)


class BadOption(ValueError):
    """An option of the connection that pulling reads means nothing."""


class Feed:
    """Pulls one shop."""

    def __init__(
        self,
        connection: Connection,
        puller: Puller,
        pulls: Pulls,
        mailroom: Mailroom,
        now_ms: Callable[[], int],
    ) -> None:
        """Nothing is asked yet."""
        self._connection = connection
        self._puller = puller
        self._pulls = pulls
        self._mailroom = mailroom
        self._now_ms = now_ms

    async def pull(self, since_ms: int | None = None) -> Counter[str]:
        """Bring the cursor up to now and return what became of what came: outcome → number.

        With `since_ms` from there on, wherever the cursor is.

        Raises:
            PlatformError: the platform did not do it; windows that were done stay done.
            NotRunning, NoAnswer, BrokerError: the mail did not get through; the same.
            BadOption, BadConnections: the connection means nothing.
        """
        now = self._now_ms()
        rules = self._puller.rules
        begin = now - since_of(self._connection)
        if since_ms is not None:
            begin = min(begin, since_ms)  # a first pull from a later time leaves the rest to the next one
        cursor = await asyncio.to_thread(
            self._pulls.begin, self._connection, max(begin, now - rules.reach_ms), self._now_ms()
        )
        if cursor > now:
            # By a clock that was ahead. Waiting for it would pull nothing for as long, and miss what came meanwhile.
            log.error("pull.clock_went_back", connection=self._connection.name, ahead_s=(cursor - now) // 1000)
            cursor = now - max(DAY_MS, rules.overlap_ms)
            await asyncio.to_thread(self._pulls.set_back, self._connection, cursor)
        todo = plan(cursor, now, rules)
        if todo.forgotten is not None:
            await self._forgotten(todo.forgotten)
        spans: Sequence[Window] = todo.windows
        if since_ms is not None:
            oldest = now - rules.reach_ms
            spans = tuple(windows(max(since_ms, oldest), now - rules.margin_ms, rules, oldest))
        found: Counter[str] = Counter()
        for window in spans:
            brought = await self._window(window)
            await asyncio.to_thread(self._pulls.advance, self._connection, window)
            found += brought
            log.info(
                "pull.window", connection=self._connection.name, start=window.start_ms, end=window.end_ms, **brought
            )
        return found

    async def _window(self, window: Window) -> Counter[str]:
        """See a window's orders into the log."""
        found: Counter[str] = Counter()
        async for sent in delivered(self._connection, self._puller, window, self._mailroom, self._now_ms):
            found += outcomes(sent)
        return found

    async def _forgotten(self, window: Window) -> None:
        """Say, where everybody can read it, that a span cannot be pulled any more; go on behind it."""
        connection = self._connection
        reason = (
            f"the platform's feed does not reach back to {window.start_ms}: what changed there until {window.end_ms} "
            f"(UTC ms) cannot be pulled any more. Export these orders at the platform and take the file in with "
            f"`orderspine ingest FILE --channel {connection.channel} --shop {connection.shop}`"
        )
        log.error("pull.forgotten", connection=connection.name, reason=reason)
        raw = msgspec.json.encode({"connection": connection.name, "start_ms": window.start_ms, "end_ms": window.end_ms})
        await self._mailroom.send([report(connection, "pull", "refused", reason, raw, self._now_ms())])
        await asyncio.to_thread(self._pulls.skip, connection, window.end_ms)


async def delivered(
    connection: Connection, puller: Puller, window: Window, mailroom: Mailroom, now_ms: Callable[[], int]
) -> AsyncIterator[Sequence[Sent]]:
    """Return what became of a window's orders, page by page; a page is fetched while the one before is handled.

    Raises:
        PlatformError, NotRunning, NoAnswer, BrokerError: see `Feed.pull`.
    """
    sending: asyncio.Task[list[Sent]] | None = None
    pages = puller.changed(window)
    try:
        async for page in pages:
            mails = await mailroom.cut(connection, page, "pull", now_ms())
            if sending is not None:
                yield await sending
            sending = asyncio.create_task(mailroom.send(mails))
        if sending is not None:
            last, sending = sending, None
            yield await last
    finally:
        if sending is not None:
            sending.cancel()
            with contextlib.suppress(BaseException):
                await sending
        close = getattr(pages, "aclose", None)
        if close is not None:
            await close()


def report(
    connection: Connection, pipe: str, kind: str, reason: str, raw: bytes, now_ms: int, order_no: str = ""
) -> Mail:
    """Return the mail that records something of a shop that is no order."""
    channel, shop = connection.channel, connection.shop
    body = AsideReport(channel, shop, kind, plain(reason, ASIDE_MAX), raw, "", order_no)
    tag = f"{channel}/{pipe}/{connection.name}#1"
    return Mail(intake_key(channel, shop), body, now_ms, By("system", "puller"), tag)


def since_of(connection: Connection) -> int:
    """Return how far back the first pull goes, ms.

    Raises:
        BadOption: the option is no number of days.
    """
    text = connection.options.get(SINCE_OPTION, "")
    if not text:
        return round(SINCE_DAYS * DAY_MS)
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 36_500:  # noqa: PLR2004  a hundred years
        raise BadOption(f"connection {connection.name}: option {SINCE_OPTION} {text!r}: a number of days is needed")
    return round(days * DAY_MS)
