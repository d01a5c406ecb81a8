"""Webhooks: tells subscribers without NATS, over HTTP, what happens. `python -m runners.webhooks --data DIR`.

Each subscriber follows the log with a position of its own. Of each stream one delivery is under way at a time, the next
only when it has arrived, so that an order is told in its own order. What fails is tried again with growing pauses; what
fails too long becomes a dead letter, and what follows it in its stream waits behind it. A delivery has one id for ever.
A subscriber that is slow or down holds up nothing but its own deliveries, and one bad order nothing but itself.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from adapters.nats.tasks import end_tasks
from adapters.notify.delivery import Answered, Deliverer, Failed, NotAllowed
from adapters.storage.vault import KeysMissing
from domain.ports import Conflict
from projections.cloud_event import CloudEvents
from runners.aio import run
from runners.background import POLL_S, Background, Link
from runners.bootstrap import open_vault
from runners.settings import Settings, load_settings
from runners.webhooks_secrets import key_of
from runners.webhooks_store import BACKOFF_MS_MAX, WAITING_MAX, Delivery, Result, Subscriber, Try, Webhooks

if TYPE_CHECKING:
    from adapters.storage.vault import DestroyingVault
    from domain.ports import EventLog, Recorded

BATCH_EVENTS: Final = 1_000
AT_ONCE: Final = 8
"""Deliveries to one subscriber under way at once, each of another stream."""
ASKED_S_MAX: Final = 3_600.0
"""The longest pause that a subscriber may ask for."""
SHUT_S_MAX: Final = 300.0
"""The longest pause for a subscriber that cannot be reached at all."""
TIDY_S: Final = 600.0
CLOSE_S: Final = 3.0
"""Who hangs is not waited for to the end: the whole program is to be ended, and would be killed."""
REASON_MAX: Final = 200
_OK: Final = range(200, 300)
_GONE: Final = 410
_MOVED: Final = range(300, 400)
_AWAY: Final = frozenset({429, 502, 503, 504})
"""Answers that speak for the whole subscriber and not for the one delivery."""

log = structlog.get_logger(__name__)


class _Line(NamedTuple):
    """The way to one subscriber."""

    subscriber: Subscriber
    deliverer: Deliverer
    keys: tuple[bytes, ...]


class _Shut(NamedTuple):
    """Why and until when a subscriber is left alone."""

    delivery: Delivery
    """What it did not take."""
    since: float
    """Monotonic seconds, like the next."""
    until: float


class Sender:
    """Follows the log for all subscribers and sends what they want."""

    def __init__(self, event_log: "EventLog", store: Webhooks, vault: "DestroyingVault", settings: Settings) -> None:
        """Nothing is sent yet."""
        self._log = event_log
        self._store = store
        self._vault = vault
        self._settings = settings
        self._deliverers: dict[str, Deliverer] = {}
        self._running: dict[tuple[str, str], asyncio.Task[Result]] = {}
        """(subscriber, stream) → the delivery under way."""
        self._failures: dict[str, int] = {}
        """Subscriber → times in a row that it could not be reached."""
        self._shut: dict[str, _Shut] = {}
        self._tidied = 0.0

    async def step(self) -> bool:
        """Look at the log for everybody, begin what is due, keep what has ended; True where there is more to do now."""
        ended = self._keep_ended()
        tracked = self._log.tracked()
        subscribers = self._store.subscribers()
        await self._forget({each.name: each.url for each in subscribers})
        more = False
        batches: dict[int, list[Recorded]] = {}
        for each in subscribers:
            if each.state != "active":
                self._forgive(each.name)
                continue
            if each.generation != tracked.generation or each.position > tracked.head:
                why = (
                    "the log was restored: `webhooks resume` goes on at its end, `webhooks replay --from` from "
                    "a position you name"
                )
                self._store.pause(each.name, why)
                log.warning("webhooks.paused", subscriber=each.name, reason=why)
                continue
            more |= self._follow(each, batches)
            self._start(each)
        if time.monotonic() > self._tidied:
            self._tidied = time.monotonic() + TIDY_S
            self._store.tidy(_now_ms())
        return more or ended

    async def wait(self, seconds: float) -> None:
        """Wait until a delivery has ended, but not longer than that."""
        if self._running:
            await asyncio.wait(self._running.values(), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Keep what comes to its end within `CLOSE_S`; what takes longer is sent again next time."""
        if self._running:
            await asyncio.wait(self._running.values(), timeout=CLOSE_S)
        self._keep_ended()
        await end_tasks(self._running.values())
        self._running.clear()
        await self._forget({})

    def _follow(self, each: Subscriber, batches: "dict[int, list[Recorded]]") -> bool:
        # What waits behind a delivery that was refused waits for that alone, and must not keep out other streams.
        away = each.name in self._failures
        if (self._store.waiting(each.name) if away else self._store.in_turn(each.name)) >= WAITING_MAX:
            return False
        events = batches.get(each.position)
        if events is None:
            events = batches[each.position] = self._log.read(each.position, BATCH_EVENTS)
        if not events:
            return False
        wanted = [
            Delivery(each.name, event.position, event.stream, event.tag, 0)
            for event in events
            if each.wants.take(event)
        ]
        self._store.follow(each, events[-1].position, wanted)
        return len(events) == BATCH_EVENTS

    def _start(self, each: Subscriber) -> None:
        if self._left_alone(each.name):
            return
        under_way = sum(name == each.name for name, _ in self._running)
        # One that could not be reached is tried with a single delivery first.
        free = (1 if self._failures.get(each.name) else AT_ONCE) - under_way
        if free <= 0:
            return
        due = [
            delivery
            for delivery in self._store.due(each.name, _now_ms(), free + under_way)
            if (each.name, delivery.stream) not in self._running
        ]
        if not due or (line := self._line(each)) is None:
            return
        for delivery in due[:free]:
            self._running[each.name, delivery.stream] = asyncio.create_task(
                self._deliver(line, delivery), name=f"webhook {each.name} {delivery.position}"
            )

    def _left_alone(self, name: str) -> bool:
        """Whether a subscriber is left alone for now; not where a person has let what it did not take begin anew."""
        shut = self._shut.get(name)
        if shut is None or shut.until <= time.monotonic():
            return False
        if (name, shut.delivery.stream) in self._running or not self._store.anew(name, shut.delivery.position):
            return True
        self._forgive(name)
        return False

    def _line(self, each: Subscriber) -> _Line | None:
        """Return the way to a subscriber; where there is none it is paused, which says why."""
        secrets = [each.secret, *([each.old_secret] if each.old_secret and each.old_until_ms > _now_ms() else [])]
        keys = tuple(key for secret in secrets if (key := key_of(self._vault, secret)) is not None)
        why = "" if keys else "its secret is gone from the vault: `webhooks rotate-secret` makes a new one"
        deliverer = self._deliverers.get(each.name)
        if deliverer is None and not why:
            try:
                deliverer = Deliverer(each.url, private=self._settings.webhooks_private, at_once=AT_ONCE)
            except NotAllowed as error:
                why = str(error)
            else:
                self._deliverers[each.name] = deliverer
        if why or deliverer is None:
            self._store.pause(each.name, why)
            log.warning("webhooks.paused", subscriber=each.name, reason=why)
            return None
        return _Line(each, deliverer, keys)

    async def _deliver(self, line: _Line, delivery: Delivery) -> Result:
        """Send one delivery, once, and return what follows from it."""
        each = line.subscriber
        now, began = _now_ms(), time.monotonic()
        event = next(iter(self._log.read(delivery.position - 1, 1)), None)
        if event is None or (event.stream, event.tag) != (delivery.stream, delivery.tag):
            reason = "not sent: the log was restored, and this event is not in it"
            identity = f"{each.generation}:{delivery.position}"
            return Result(Try(each.name, identity, delivery.position, delivery.tag, now, 0, 0, 0, reason), None, each)
        form = CloudEvents(self._settings.cell, each.generation)
        identity = form.id_of(event)
        body = form.line(event).rstrip()
        answered: Answered | None = None
        reason, away, pause, asked_s = "", False, "", None
        try:
            answered = await line.deliverer.post(identity, now // 1000, body, line.keys)
        except Failed as failed:
            reason, away = failed.reason, failed.away
        except NotAllowed as error:
            reason = pause = str(error)
        except Exception as error:  # noqa: BLE001  what one subscriber brings about must not stop the others
            reason = f"a fault in the program: {type(error).__name__}"
        status = answered.status if answered is not None else 0
        took = answered.ms if answered is not None else _now_ms() - now
        if answered is not None and status not in _OK:
            asked_s = answered.retry_after_s
            away = status in _AWAY
            reason = f"answered {status}" + (", and no redirect is followed" if status in _MOVED else "")
            if status == _GONE:
                pause = "it answered 410 Gone: its address is no more"
        self._judge(delivery, began, away=away, asked_s=asked_s)
        tried = Try(
            each.name, identity, delivery.position, delivery.tag, now, status, took, delivery.tries + 1,
            reason[:REASON_MAX],
        )  # fmt: skip
        left = None if status in _OK else self._later(each, delivery, tried, asked_s)
        if left is not None:
            log.info("webhooks.not_taken", subscriber=each.name, delivery=identity, reason=reason, dead=bool(left.dead))
        return Result(tried, left, each, pause)

    def _later(self, each: Subscriber, delivery: Delivery, tried: Try, asked_s: float | None) -> Delivery:
        known = 0 < delivery.first_ms <= tried.at_ms  # a later one is of a clock that was wrong
        first_ms = delivery.first_ms if known else tried.at_ms
        wait_ms = backoff_ms(tried.number, self._settings.webhooks_retry_ms)
        if asked_s is not None:
            wait_ms = max(wait_ms, round(min(asked_s, ASKED_S_MAX) * 1000))
        dead = tried.at_ms - first_ms >= each.give_up_ms
        return delivery._replace(
            due_ms=_now_ms() + wait_ms, first_ms=first_ms, tries=tried.number, dead=int(dead), reason=tried.reason
        )

    def _judge(self, delivery: Delivery, began: float, *, away: bool, asked_s: float | None) -> None:
        """Leave a subscriber alone for a while that cannot be reached; one that answers is as before."""
        name = delivery.subscriber
        if not away:
            self._forgive(name)
            return
        now = time.monotonic()
        until = now + min(asked_s or 0.0, ASKED_S_MAX)
        shut = self._shut.get(name)
        if shut is not None and began < shut.since:
            # It was under way together with the one that was not taken: that is one failure and not eight.
            self._shut[name] = shut._replace(until=max(shut.until, until))
            return
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        wait_s = min(SHUT_S_MAX, backoff_ms(failures, self._settings.webhooks_retry_ms) / 1000)
        self._shut[name] = _Shut(delivery, now, max(until, now + wait_s))

    def _forgive(self, name: str) -> None:
        self._failures.pop(name, None)
        self._shut.pop(name, None)

    def _keep_ended(self) -> bool:
        ended = [key for key, task in self._running.items() if task.done()]
        if not ended:
            return False
        # They leave the list only when what became of them is on the disk: or else the same would begin again.
        self._store.settle([self._running[key].result() for key in ended])
        for key in ended:
            del self._running[key]
        return True

    async def _forget(self, urls: dict[str, str]) -> None:
        """Close the ways to who is no longer there, or elsewhere."""
        for name in [name for name, known in self._deliverers.items() if urls.get(name) != known.url]:
            if not any(subscriber == name for subscriber, _ in self._running):
                await self._deliverers.pop(name).close()


def backoff_ms(tries: int, first_ms: int) -> int:
    """Return how long to wait after so many tries: twice as long each time up to six hours, and never all at once."""
    longest: int = min(BACKOFF_MS_MAX, first_ms * 2 ** min(max(tries, 1) - 1, 40))
    return round(longest * random.uniform(0.5, 1.0))  # noqa: S311  spread, no secret


async def webhooks(settings: Settings) -> None:
    """Follow and send until SIGTERM or SIGINT."""
    background = Background()
    background.begin()
    event_log = await background.log_of(settings)
    if event_log is None:
        return
    store = Webhooks(settings.path)
    link = Link(settings, f"webhooks-{settings.cell}")
    try:
        vault = await _vault_of(settings, background)
        if vault is None:
            return
        with contextlib.closing(vault):
            sender = Sender(event_log, store, vault, settings)
            while not background.stopping.is_set():
                await link.up()
                try:
                    more = await sender.step()
                except Conflict as busy:
                    log.info("webhooks.store_busy", reason=str(busy))
                    more = False
                if more:
                    await asyncio.sleep(0)
                    continue
                pause_s = min(POLL_S, settings.webhooks_retry_ms / 1000)
                waiting = asyncio.create_task(sender.wait(pause_s))
                hinted = asyncio.create_task(background.pause(pause_s, link.hints))
                await asyncio.wait({waiting, hinted}, return_when=asyncio.FIRST_COMPLETED)
                await end_tasks((waiting, hinted))
            await sender.close()
    finally:
        await link.close()
        store.close()
        event_log.close()


async def _vault_of(settings: Settings, background: Background) -> "DestroyingVault | None":
    """Open the vault once it is there; None when the end came first."""
    while not background.stopping.is_set():
        with contextlib.suppress(KeysMissing):
            return open_vault(settings)
        await background.pause(POLL_S)
    return None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> int:
    """Parse the arguments, follow and send."""
    parser = argparse.ArgumentParser(prog="python -m runners.webhooks", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    run(webhooks(load_settings(parser.parse_args().data)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
