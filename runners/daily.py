"""Once a day, beside the effects: yesterday is compared with its statements, and what people see with the log."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from domain.envelope import By
from domain.matching import CLOCK_MS, day_of, days_after
from domain.time_units import DAY_MS, HOUR_MS
from runners import matching, selfcheck, settings_file
from runners.bootstrap import open_read_models
from runners.pulling_mail import AWAY, Mailroom
from runners.vitals import STORE_AWAY

if TYPE_CHECKING:
    from domain.ports import EventLog
    from runners.settings import Settings

FILE = "daily.json"
LOOK_S = 60.0
HOUR = 11
"""Of the platforms' clock: by then they have yesterday's statements, and people may have taken them in."""
CATCH_UP_DAYS = 31
"""Most days that are compared again after a time without a run."""
ORDERS = 2_000
"""Orders that a daily self-check draws."""
BY = By("system", "daily")

log = structlog.get_logger(__name__)


class Done(msgspec.Struct, frozen=True):
    """What `daily.json` remembers."""

    day: str
    """Last day that was compared, YYYY-MM-DD."""


def days_due(now_ms: int, done: str) -> list[str]:
    """Return the days to be compared now, the oldest first."""
    if (now_ms + CLOCK_MS) % DAY_MS < HOUR * HOUR_MS:
        return []
    last = days_after(day_of(now_ms), -1)
    # A last day that is still to come was written while the clock was wrong.
    known = done and done <= last
    first = max(days_after(done, 1), days_after(last, 1 - CATCH_UP_DAYS)) if known else last
    days = []
    while first <= last:
        days.append(first)
        first = days_after(first, 1)
    return days


async def keep_checking(
    settings: "Settings", event_log: "EventLog", mailroom: Mailroom, now_ms: Callable[[], int]
) -> None:
    """Compare and check once a day, until cancelled. Whatever goes wrong is tried again a minute later."""
    file = settings.path / FILE
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            raw = settings_file.read(file, ValueError, "leave days out")
            done = msgspec.json.decode(raw, type=Done).day if raw else ""
            for day in days_due(now_ms(), done):
                await run_day(settings, event_log, mailroom, day, now_ms())
                await asyncio.to_thread(settings_file.write, file, Done(day))
        except (ValueError, OSError, SQLAlchemyError, *AWAY, *STORE_AWAY) as error:
            log.warning("daily.not_done", reason=str(error))
        except Exception as error:
            # An event of a newer build, say: it must not end the checks of all days to come without a word.
            log.exception("daily.broken", reason=str(error) or repr(error))


async def run_day(settings: "Settings", event_log: "EventLog", mailroom: Mailroom, day: str, now_ms: int) -> None:
    """Compare a day, check a sample of orders, and have both recorded."""
    tolerance = matching.tolerance_of(settings.path)
    with closing(open_read_models(settings)) as views:
        compared = await asyncio.to_thread(matching.compare, event_log, views, day, tolerance)
        checked = await asyncio.to_thread(selfcheck.check_sample, event_log, views, ORDERS)
    mails = [*matching.mails_of(compared, BY, now_ms), selfcheck.mail_of(checked, BY, now_ms)]
    await mailroom.send(mails)
    orders = sum(each.agreeing + len(each.judged) for each in compared.shops)
    log.info("daily.done", day=day, orders=orders, checked=checked.orders, differing=checked.differing_orders)
