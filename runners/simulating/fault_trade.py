"""Runs a day with faults on a cell that runs, and says which promises it kept."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, closing
from typing import Any, Final

import msgspec

from domain.envelope import By
from domain.ids import RULEBOOK_KEY
from domain.mail import Mail
from domain.ports import EventLog
from domain.rulebook import ChangeRules
from domain.time_units import DAY_MS, MINUTE_MS
from runners.bootstrap import channels, open_log, open_spool, open_vault
from runners.post import Postman
from runners.settings import Settings
from runners.simulating.courier import Courier
from runners.simulating.drive import RealClock, WorldClock, first_moment, tick
from runners.simulating.fault_account import Delays, Story, Verdict, delays, judge, read_stories
from runners.simulating.fault_day import FaultDay
from runners.simulating.fault_kinds import BOOK
from runners.simulating.fault_outside import InTheWay, Robots, Watch, outside
from runners.simulating.feed import Feed, open_feed

RATE: Final = 6.0
"""Orders a second, where no speed is asked for."""
DAY_S_MIN: Final = 30.0
SLOT_MS: Final = 30 * MINUTE_MS
"""Of a cell that goes by its mail: so long nobody looks at what it did."""
LOOK_S: Final = 0.05
TIMERS_S: Final = 0.3
"""Within so long a worker notices that timers of its mail's clock are due."""
PATIENCE_S: Final = 60.0
"""After so long without anything new the day is over, at rest or not."""
PASS_THROUGH: Final = 99.2
PUSHED_P99_MS: Final = 1_000.0
_BOOK_TOLD: Final = "simulated faults"


class FaultReport(msgspec.Struct):
    """What came of a day."""

    verdict: Verdict
    scenario: str
    visible: Delays | None
    """From when a risk could be known to its stop in the log, where a poll sees it; None by the mail's clock."""
    pushed: Delays | None
    """The same to the arrival at a robot."""
    by_reason: dict[str, Delays]
    """Reason → `pushed`."""
    seconds: float
    day_s: float
    stopped: bool

    def checks(self) -> Iterator[tuple[str, str, bool]]:
        """Yield (promise, how it stands, whether it is kept)."""
        verdict = self.verdict
        put, caught = sum(verdict.faults.values()), sum(verdict.caught.values())
        yield "stopped for the right reason", f"{caught:,} of {put:,} faults", not verdict.missed
        yield "nobody else stopped", f"{len(verdict.false_stops):,} stopped for nothing", not verdict.false_stops
        yield "nothing shipped while held", f"{verdict.shipped_held:,} shipped", not verdict.shipped_held
        yield "all came to an end", f"{len(verdict.unfinished):,} did not", not verdict.unfinished
        if self.pushed is not None:
            share = f"{self.pushed.within_15_s:g} % of {self.pushed.expected:,}"
            yield "pushed within 15 s", share, self.pushed.within_15_s == 100  # noqa: PLR2004
            yield "pushed, p99 ≤ 1 s", f"{self.pushed.p99:,.0f} ms", self.pushed.p99 <= PUSHED_P99_MS
        if self.scenario == "reference":
            both = f"{verdict.transitions:.2f} % of transitions, {verdict.per_order:.2f} % of orders"
            yield "pass-through ≥ 99.2 %", both, min(verdict.transitions, verdict.per_order) >= PASS_THROUGH

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not self.stopped and all(kept for _, _, kept in self.checks())

    def document(self) -> dict[str, Any]:
        """Return it for machines."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        verdict = self.verdict
        found["pass_through"] = {
            "transitions": round(verdict.transitions, 3),
            "per_order": round(verdict.per_order, 3),
        }
        return found | {"good": self.good}


async def trade_faults(
    settings: Settings,
    *,
    orders: int,
    seed: int,
    scenario: str,
    shares: Mapping[str, float],
    speed: float,
    stop: asyncio.Event,
    tell: Callable[[str], None],
) -> FaultReport:
    """Let a day with faults pass on a running cell.

    Args:
        settings: of the cell.
        orders: of the day.
        seed: the same one leads to the same faults.
        scenario: what people call the mix.
        shares: kind of fault → part of the orders.
        speed: seconds of the day in one real second; 0 = as is usual for so many orders. A cell by its mail's clock
            takes the day as fast as it can.
        stop: ends it early.
        tell: is told how it goes.

    Raises:
        InTheWay: the cell has people to tell, or rules of its own.
        NotRunning, NoAnswer, FeedBehind: it is not there, or does not come along.
    """
    began = time.monotonic()
    real = settings.clock == "real"
    day_s = 86_400 / speed if speed else max(DAY_S_MIN, orders / RATE)
    run = f"sim-{time.time_ns() // 1_000_000:x}"
    async with AsyncExitStack() as stack:
        postman = await stack.enter_async_context(Postman(settings))
        vault = stack.enter_context(closing(open_vault(settings)))
        log = stack.enter_context(closing(open_log(settings, read_only=True)))
        _check_rules(log)
        courier = Courier(
            postman, channels(settings), open_spool(settings, vault), RealClock() if real else WorldClock()
        )
        stack.push_async_callback(courier.cancel)
        feed = await open_feed(postman.connection, settings.cell, open_log(settings, read_only=True))
        stack.push_async_callback(feed.close)
        robots = await stack.enter_async_context(outside(settings.path, run))
        begin_ms = _now_ms() + 1_000
        if not real:
            # Effects report by the real clock: the day must not lie before it.
            begin_ms = max(first_moment(log, real=False, speed=0), begin_ms)
        await _send(courier, Mail(RULEBOOK_KEY, _book(run), begin_ms - 2_000, _OPERATIONS, "simulate"))
        after = log.tracked().head
        day = FaultDay(seed, run, orders, shares, begin_ms, round(day_s * 1000) if real else DAY_MS)
        tell(
            f"{len(day.lives):,} orders, {sum(bool(each.fault) for each in day.lives.values()):,} of them with a fault"
        )
        watch = stack.enter_context(Watch(settings, after))
        await _pass(day, courier, feed, real=real, stop=stop, tell=tell)
        await courier.settled(settings.cell, lambda: log.tracked().position)
        faults = {key: life.fault for key, life in day.lives.items()}
        stories, verdict = await _settled(log, after, faults, robots, stop)
        seen, heard = watch.seen, robots.heard()
    visible, pushed, by_reason = _delays(stories, seen, heard) if real else (None, None, {})
    return FaultReport(
        verdict, scenario, visible, pushed, by_reason, time.monotonic() - began, day_s if real else 0.0, stop.is_set()
    )


_OPERATIONS: Final = By("person", "sim-operations", "operations")


def _book(run: str) -> ChangeRules:
    return ChangeRules(f"rules-{run}", BOOK, _BOOK_TOLD)


def _check_rules(log: EventLog) -> None:
    """See that no rules of the merchant's own are put out of force."""
    loaded = log.select_many([RULEBOOK_KEY], snapshots=False).get(RULEBOOK_KEY)
    events = loaded.events if loaded is not None else ()
    texts = [msgspec.json.decode(each.data)["text"] for each in events if each.tag == "rules.changed"]
    if texts and texts[-1] not in ("", BOOK):
        raise InTheWay("the cell has a rule book of its own, which a day with faults would replace: use another cell")


async def _send(courier: Courier, mail: Mail) -> None:
    await courier.send([mail])
    await courier.answered()


async def _pass(
    day: FaultDay, courier: Courier, feed: Feed, *, real: bool, stop: asyncio.Event, tell: Callable[[str], None]
) -> None:
    """Let the day pass, until everybody has come to rest or nothing moves any more."""
    now_ms = day.begin_ms - MINUTE_MS
    moved = told = time.monotonic()
    while not stop.is_set():
        now_ms = _now_ms() if real else now_ms + SLOT_MS
        mails = [mail for what in day.until(now_ms) for mail in courier.mails(what)]
        if mails:
            await courier.send(mails)
        if not real:
            await tick(courier, now_ms)
            await asyncio.sleep(TIMERS_S)
        position = await courier.answered()
        happened = await feed.upto(position if mails else 0)
        day.answer(happened, now_ms)
        at_rest = day.next_ms is None and not day.waiting
        if at_rest:
            return
        if mails or happened or (day.next_ms is not None and real):
            moved = time.monotonic()
        if time.monotonic() - moved > PATIENCE_S:
            return
        if time.monotonic() - told > 5.0:  # noqa: PLR2004
            told = time.monotonic()
            tell(f"  {courier.sent.messages:,} messages sent, {len(day.waiting):,} orders are on their way")
        if real or not (mails or happened):
            await asyncio.sleep(LOOK_S)


async def _settled(
    log: EventLog, after: int, faults: Mapping[str, str], robots: Robots, stop: asyncio.Event
) -> tuple[dict[str, Story], Verdict]:
    """Wait until acts outside are done as well: notices that are tried again, notes that are on their way."""
    before: object = None
    moved = time.monotonic()
    while True:
        stories = await asyncio.to_thread(read_stories, log, after, faults)
        verdict = judge(stories, faults)
        heard = robots.heard()
        unheard = sum(stop.told_by not in heard for story in stories.values() for stop in story.stops)
        if (verdict.right and not unheard) or stop.is_set():
            return stories, verdict
        now = (log.tracked().head, len(heard))
        if now != before:
            before, moved = now, time.monotonic()
        elif time.monotonic() - moved > PATIENCE_S / 2:
            return stories, verdict
        await asyncio.sleep(1.0)


def _delays(
    stories: Mapping[str, Story], seen: Mapping[int, float], heard: Mapping[str, float]
) -> tuple[Delays, Delays, dict[str, Delays]]:
    stops = [stop for story in stories.values() for stop in story.stops]
    visible = [seen[stop.position] - stop.derivable_ms for stop in stops if stop.position in seen]
    pushed: dict[str, list[float]] = {stop.reason: [] for stop in stops}
    for stop in stops:
        if stop.told_by in heard:
            pushed[stop.reason].append(heard[stop.told_by] - stop.derivable_ms)
    by_reason = {
        reason: delays(found, sum(stop.reason == reason for stop in stops)) for reason, found in sorted(pushed.items())
    }
    all_pushed = [delay for found in pushed.values() for delay in found]
    return delays(visible, len(stops)), delays(all_pushed, len(stops)), by_reason


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
