"""Goes over a shop's past again: what the platform has is compared with the log, and what is missing is taken in.

Every order of the span is sent again as it is now; repeats are harmless and tell that it was known. The result is an
event of the shop's intake, so that "nothing was missed" can be shown later.
"""

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import structlog

from adapters.platforms.connection import Connection
from domain.envelope import By
from domain.ids import intake_key
from domain.intake import RECONCILED_KEYS_MAX, RecordReconciled
from domain.mail import Mail
from domain.platforms import PlatformError, Puller, Window
from domain.time_units import DAY_MS
from runners.pulling_mail import AWAY, Mailroom, Sent, is_order
from runners.pulling_store import Pulls
from runners.pulling_windows import windows

if TYPE_CHECKING:
    from domain.ports import EventLog

SPAN_MS = 3 * DAY_MS
"""How far back a comparison goes where nobody says."""
LOOK_UP_MAX = 200
"""Orders looked up in the log at once."""
_KNOWN = frozenset({"repeated", "outdated"})
_REFUSED = frozenset({"refused", "quarantined", "queued"})

log = structlog.get_logger(__name__)


class Progress(NamedTuple):
    """A window is done."""

    window: Window
    share: float
    """Of the whole span, 0 to 1."""
    found: int
    missed: int
    """Both so far."""


class Found(msgspec.Struct):
    """What a comparison found, so far. An order counts once, by the worst that was seen of it."""

    known: set[str] = msgspec.field(default_factory=set)
    missed: dict[str, None] = msgspec.field(default_factory=dict)
    """In the order they were found; like all here, keys of orders."""
    changed: dict[str, None] = msgspec.field(default_factory=dict)
    fresh: set[str] = msgspec.field(default_factory=set)
    refused: dict[str, str] = msgspec.field(default_factory=dict)
    """Key (or place) → reason."""

    @property
    def number(self) -> int:
        """How many orders the platform named."""
        return len(self.known) + len(self.missed) + len(self.changed) + len(self.fresh) + len(self.refused)


class Result(NamedTuple):
    """A comparison that came to its end, or as far as it did."""

    connection: str
    window: Window
    """What was compared."""
    found: Found
    stopped: Exception | None
    """Why it did not come to its end."""
    recorded: bool
    """Whether the log has the result."""


class Reconciliation:
    """Compares a span of one shop's past."""

    def __init__(
        self,
        connection: Connection,
        puller: Puller,
        pulls: Pulls,
        mailroom: Mailroom,
        event_log: "EventLog",
        now_ms: Callable[[], int],
        by: By,
    ) -> None:
        """Nothing is asked yet; `by` is who wants to know."""
        self._connection = connection
        self._puller = puller
        self._pulls = pulls
        self._mailroom = mailroom
        self._log = event_log
        self._now_ms = now_ms
        self._by = by

    async def run(self, span: Window, reason: str, tell: Callable[[Progress], None] = lambda _: None) -> Result:
        """Compare, take in what is missing, and record the result, also that of a part.

        The span is cut to what the platform's feed remembers. What went wrong with platform or broker ends it early
        and is in the result.

        Raises:
            BadConnections: this build cannot read the channel.
        """
        now = self._now_ms()
        rules = self._puller.rules
        span = Window(max(span.start_ms, now - rules.reach_ms), min(span.end_ms, now - rules.margin_ms))
        border = await asyncio.to_thread(self._border, now)
        found = Found()
        done = span.start_ms
        stopped: Exception | None = None
        # Cut at the border as well: before it everything ought to be known, behind it nothing need be.
        middle = min(max(border, span.start_ms), span.end_ms)
        oldest = now - rules.reach_ms
        todo = [(window, True) for window in windows(span.start_ms, middle, rules, oldest)]
        todo += [(window, False) for window in windows(middle, span.end_ms, rules, oldest)]
        try:
            for window, ought in todo:
                await self._window(window, found, ought=ought)
                done = max(done, window.end_ms)
                length = max(1, span.end_ms - span.start_ms)
                tell(Progress(window, (done - span.start_ms) / length, found.number, len(found.missed)))
        except (PlatformError, *AWAY) as error:
            stopped = error
        compared = Window(span.start_ms, done)
        recorded = False
        if done > span.start_ms:
            try:
                await self._record(compared, found, reason)
                recorded = True
            except AWAY as error:
                stopped = stopped or error
        return Result(self._connection.name, compared, found, stopped, recorded)

    def _border(self, now_ms: int) -> int:
        """Return the time before which everything ought to be in the log."""
        rules = self._puller.rules
        cursor = self._pulls.cursor(self._connection) if self._connection.pull_every_s else None
        # Without timed pulls it is the pushes that ought to have brought it.
        return (now_ms - rules.margin_ms if cursor is None else cursor) - rules.overlap_ms

    async def _window(self, window: Window, found: Found, *, ought: bool) -> None:
        pages = self._puller.changed(window)
        try:
            async for page in pages:
                mails = await self._mailroom.cut(self._connection, page, "compare", self._now_ms())
                for at in range(0, len(mails), LOOK_UP_MAX):
                    await self._page(mails[at : at + LOOK_UP_MAX], found, ought=ought)
        finally:
            close = getattr(pages, "aclose", None)
            if close is not None:
                await close()

    async def _page(self, mails: Sequence[Mail], found: Found, *, ought: bool) -> None:
        keys = {mail.to for mail in mails if is_order(mail)}
        before = await asyncio.to_thread(lambda: self._log.select_many(keys).keys()) if keys else set[str]()
        for sent in await self._mailroom.send(mails):
            judge(sent, found, was_known=sent.mail.to in before, ought=ought)

    async def _record(self, window: Window, found: Found, reason: str) -> None:
        connection = self._connection
        named = (*found.missed, *found.changed)[:RECONCILED_KEYS_MAX]
        act = f"reconcile {connection.name} {window.start_ms} {window.end_ms} {self._now_ms()}"
        command = RecordReconciled(
            f"reconcile-{sha256(act.encode()).hexdigest()[:24]}",
            connection.name,
            window.start_ms,
            window.end_ms,
            found.number,
            len(found.known),
            len(found.missed),
            len(found.changed),
            len(found.fresh),
            len(found.refused),
            named,
            reason,
        )
        tag = f"{connection.channel}/compare/{connection.name}"
        to = intake_key(connection.channel, connection.shop)
        await self._mailroom.send([Mail(to, command, self._now_ms(), self._by, tag)])
        level = log.warning if found.missed or found.changed else log.info
        level(
            "pull.compared",
            connection=connection.name,
            found=found.number,
            missed=len(found.missed),
            changed=len(found.changed),
            refused=len(found.refused),
        )


def judge(sent: Sent, found: Found, *, was_known: bool, ought: bool) -> None:
    """Count one order by what became of it.

    Args:
        sent: the mail and its answer.
        found: where it is counted.
        was_known: whether the log knew the order before.
        ought: whether the log ought to have known it as it is.
    """
    mail, reply = sent
    key = mail.to
    if not is_order(mail):
        if reply.outcome in _REFUSED or getattr(mail.body, "kind", "") in _REFUSED:
            found.refused.setdefault(f"{key} {mail.source_tag}", reply.reason or getattr(mail.body, "reason", ""))
        return
    if key in found.missed or key in found.changed or key in found.refused or key in found.fresh:
        return  # a second look at it, an overlap later
    if reply.outcome in _REFUSED:
        found.known.discard(key)
        found.refused[key] = reply.reason
    elif reply.outcome in _KNOWN:
        found.known.add(key)
    else:
        found.known.discard(key)
        if not ought:
            found.fresh.add(key)
        elif was_known:
            found.changed[key] = None
        else:
            found.missed[key] = None
