"""Fetches the orders that pushes have named: the newest state once, soon; given up in the open, never in silence."""

import asyncio
import math
import random
from collections.abc import Callable

import msgspec
import structlog

from adapters.platforms.connection import Connection, MissingSecret
from domain.platforms import NotAuthorised, PlatformBusy, PlatformError, PlatformRefused, Puller
from domain.time_units import DAY_MS
from runners.pulling_feed import report
from runners.pulling_mail import Mailroom
from runners.pulling_store import Hinted, Pulls

AT_ONCE = 8
"""Orders of one shop fetched at the same time."""
LOOK_S = 1.0
AGAIN_S_MIN = 1.0
AGAIN_S_MAX = 600.0
TRIES_ABSENT = 8
"""After so many tries (some minutes) an order that the platform does not know, or refuses, is given up."""
TRIES_BUSY = 40
"""After so many (some hours) also one at which the platform is busy each time, while others are fetched."""

OLD_MS = DAY_MS
"""A hint that a pull has overtaken by so much is not fetched any more (a log that is followed for the first time has
many). Younger ones are, although the feed should have told of them: two ways are better than one."""

log = structlog.get_logger(__name__)


class Absent(Exception):
    """The platform was asked and did not give the order."""


class Fetching:
    """The hints of one shop."""

    def __init__(
        self,
        connection: Connection,
        puller: Puller,
        pulls: Pulls,
        mailroom: Mailroom,
        now_ms: Callable[[], int],
    ) -> None:
        """Nothing is fetched yet."""
        self._connection = connection
        self._puller = puller
        self._pulls = pulls
        self._mailroom = mailroom
        self._now_ms = now_ms

    async def run_once(self) -> float:
        """Fetch what is due now, and return in how many seconds the next one is due (infinite: none waits).

        Raises:
            NotAuthorised, MissingSecret: nothing can be fetched any more.
            PlatformBusy: the platform asks for a rest; the orders stay noted.
            NotRunning, NoAnswer, BrokerError: the mail did not get through; the same.
        """
        name = self._connection.name
        due = await asyncio.to_thread(self._pulls.hints_due, name, self._now_ms(), AT_ONCE)
        if due and self._connection.pull_every_s:
            if not await asyncio.to_thread(self._settle):
                return LOOK_S
            due = await asyncio.to_thread(self._pulls.hints_due, name, self._now_ms(), AT_ONCE)
        results = await asyncio.gather(*(self._fetch(hint) for hint in due), return_exceptions=True)
        busy = [result for result in results if isinstance(result, PlatformBusy)]
        worse = [result for result in results if isinstance(result, BaseException) and result not in busy]
        for error in sorted(worse, key=lambda error: not isinstance(error, NotAuthorised | MissingSecret)):
            raise error
        asked = [error for error in busy if error.retry_after_s is not None]
        # It means all of us; one alone may be an order that the platform stumbles over each time: it waits by itself.
        if asked or len(busy) == len(due) > 1:
            raise (asked or busy)[0]
        following = await asyncio.to_thread(self._pulls.hints_next, name)
        return math.inf if following is None else max(0.0, (following - self._now_ms()) / 1000)

    def _settle(self) -> bool:
        """Forget what pulls have brought long ago: whatever changed before the cursor is in the log.

        False while that cannot be told.
        """
        cursor = self._pulls.cursor(self._connection)
        if cursor is None:
            return False
        count = self._pulls.hints_before(self._connection.name, cursor - self._puller.rules.overlap_ms - OLD_MS)
        if count:
            log.info("hints.settled", connection=self._connection.name, count=count)
        return True

    async def _fetch(self, hint: Hinted) -> None:
        try:
            await self._take(hint)
        except (Absent, PlatformRefused) as trouble:
            await self._again(hint, str(trouble), TRIES_ABSENT, None)
        except PlatformBusy as busy:
            await self._again(hint, str(busy), TRIES_BUSY, busy.retry_after_s)
            raise
        except (NotAuthorised, MissingSecret):
            raise
        except PlatformError as error:
            await self._again(hint, str(error), TRIES_BUSY, None)
        else:
            await asyncio.to_thread(self._pulls.hint_done, hint)

    async def _take(self, hint: Hinted) -> None:
        """See one order into the log.

        Raises:
            Absent: the platform did not give it whole.
        """
        raw = await self._puller.order(hint.order_no)
        if raw is None:
            raise Absent("the platform knows no order of this number")
        mails = await self._mailroom.cut(self._connection, [raw], "fetch", self._now_ms())
        # Another hint, recorded, would have us fetch for ever.
        whole = [mail for mail in mails if getattr(mail.body, "kind", "") != "hint"]
        if not whole:
            raise Absent("the platform answers, but not with the whole order")
        await self._mailroom.send(whole)

    async def _again(self, hint: Hinted, reason: str, tries_max: int, asked_s: float | None) -> None:
        """Try later; or give up, and let the log say so."""
        name = self._connection.name
        if hint.tries + 1 >= tries_max:
            facts = {"connection": name, "order_no": hint.order_no, "tries": hint.tries + 1, "reason": reason}
            text = (
                f"order {hint.order_no} was named by a push and could not be fetched in {hint.tries + 1} tries: "
                f"{reason}. See at the platform whether it exists; `orderspine channels reconcile {name}` tries again"
            )
            mail = report(
                self._connection, "fetch", "refused", text, msgspec.json.encode(facts), self._now_ms(), hint.order_no
            )
            await self._mailroom.send([mail])
            await asyncio.to_thread(self._pulls.hint_done, hint)
            log.error("hint.given_up", connection=name, tries=hint.tries + 1, reason=reason)
            return
        wait_s = min(AGAIN_S_MAX, AGAIN_S_MIN * 2.0**hint.tries) * random.uniform(0.75, 1.25)  # noqa: S311  no secret
        wait_s = max(wait_s, asked_s or 0.0)
        await asyncio.to_thread(self._pulls.hint_again, hint, self._now_ms() + round(wait_s * 1000))
        log.info("hint.again", connection=name, tries=hint.tries + 1, wait_s=round(wait_s, 1), reason=reason)
