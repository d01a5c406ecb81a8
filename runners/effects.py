"""The effects' runner: does outside what the log asks for, once in effect. `python -m runners.effects --data DIR`.

It follows the log with a position of its own. An act is noted durably before it is tried; whether it may have been done
is noted before each try, so that a crash, or an answer that never came, is asked about and not repeated blindly. How an
act ended goes into its order, as mail like everything else. A target that is down delays its own acts and nothing else.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec
import structlog

from adapters.nats.tasks import end_tasks
from adapters.platforms.connection import MissingSecret
from domain.envelope import By
from domain.mail import Mail
from domain.order import RecordEffect
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformError
from runners.aio import run
from runners.background import POLL_S, Background, Link
from runners.daily import keep_checking
from runners.effects_kind import Gone, Kind, NotYet
from runners.effects_kinds import Kinds, all_kinds
from runners.effects_rules import Policies
from runners.effects_store import Ending, Job, Jobs
from runners.effects_wanted import Looking
from runners.log_pages import pages
from runners.moments import position_at
from runners.pulling_mail import AWAY, Mailroom
from runners.settings import Settings, load_settings
from runners.wms_compare import keep_comparing

if TYPE_CHECKING:
    from domain.ports import EventLog

BATCH_EVENTS = 4_000
AT_ONCE = 16
"""Acts under way at once in a lane, over all targets. Urgent ones have a lane of their own: whatever hangs in the other
one cannot hold them up."""
AT_ONCE_EACH = 4
"""The same, for one target."""
RECORDING_MAX = 256
"""Acts that have ended and wait for the log to have it: fewer than so many hold up no others."""
TRIES_MAX = 12
"""Tries of one act whose outcome stays unknown, or that a bug breaks, until a person must look."""
LATE_MS = 60_000
"""An act that is learnt of so long after its event is asked about before it is first tried."""
BACKOFF_S_MIN, BACKOFF_S_MAX = 2.0, 900.0
SHUT_S = 300.0
"""Pause for a target that does not let us in, or whose settings mean nothing; new settings end it at once. Also for an
act whose answer cannot be read."""
NOT_YET_S = 20.0
"""Pause for an act that waits for something here at home."""
REASON_MAX = 1_000
LOOK_S = 0.5
_BY = By("system", "effects")

log = structlog.get_logger(__name__)


class Effects:
    """Follows the log and does what it asks for."""

    def __init__(self, event_log: "EventLog", jobs: Jobs, kinds: Kinds, mailroom: Mailroom) -> None:
        """Go on where it was left."""
        self._log = event_log
        self._jobs = jobs
        self._kinds = kinds
        self._mailroom = mailroom
        self._looking = Looking(event_log, kinds.all)
        self._policies = Policies(event_log)
        self._generation, self._position = jobs.followed()
        self._shut: dict[str, float] = {}
        """Circuit → when it is tried again (monotonic seconds)."""
        self._failures: dict[str, int] = {}
        """Circuit → failures in a row."""
        self._puzzling: dict[str, tuple[str, str]] = {}
        """Circuit → the first act, of all since the last that succeeded, that ended with a `ValueError`."""
        self._running: dict[tuple[str, str], tuple[str, asyncio.Task[None]]] = {}
        """(key, effect) → circuit ("" = it is over, and being recorded), and what is under way."""
        self._in_turn = frozenset(kind.name for kind in kinds.all if kind.in_turn)
        self._lanes = [
            names
            for urgent in (True, False)
            if (names := frozenset(kind.name for kind in kinds.all if kind.urgent is urgent))
        ]

    async def refresh(self) -> None:
        """Take over changed settings: what was shut is tried again."""
        if await self._kinds.refresh():
            self._shut.clear()
            self._puzzling.clear()
            # Before all files could be read, one that tells nobody yet may pass for one where all are told.
            for kind in self._kinds.all if self._kinds.known else ():
                now, before = kind.resting(), self._jobs.resting(kind.name)
                if now != before:
                    missed = await asyncio.to_thread(self._missed, kind, before - now)
                    await asyncio.to_thread(self._jobs.rest, kind.name, now, missed, _now_ms())

    def follow(self) -> int:
        """Look at the next events; return how many there were. Synchronous."""
        generation = self._log.tracked().generation
        anew = generation != self._generation
        if anew:
            self._generation, self._position = generation, 0
        events = self._log.read(self._position, BATCH_EVENTS)
        if not events and not anew:
            return 0
        now = _now_ms()
        if anew or any(event.tag == "rules.changed" for event in events):
            self._policies.refresh()
        wanted = self._looking.look(events, now)
        # What is learnt of late may have been tried by a runner whose notes were lost, or behind a log's old state.
        begun = [self._late(job, now) if anew or now - job.at_ms > LATE_MS else job for job in wanted.begun]
        self._position = events[-1].position if events else 0
        self._jobs.follow(generation, self._position, begun, wanted.ended, wanted.given_up, anew=anew)
        return len(events)

    def _missed(self, kind: Kind, targets: Collection[str]) -> list[Job]:
        """Return what the log asked for while these were told nothing. Synchronous."""
        if not targets or self._log.tracked().generation != self._generation:
            return []  # all of it is still to be followed
        now, looking = _now_ms(), Looking(self._log, [kind])
        missed: dict[tuple[str, str], Job] = {}
        for events in pages(self._log, self._position, position_at(self._log, now - kind.within_ms)):
            wanted = looking.look(events, now)
            missed |= {(job.key, job.effect): self._late(job, now) for job in wanted.begun if job.target in targets}
            for ended in wanted.ended:
                missed.pop(ended, None)
        return list(missed.values())

    def _late(self, job: Job, now_ms: int) -> Job:
        """Return an act that is learnt of late: in doubt, and with all its time still before it where it keeps."""
        kind = self._kinds.of(job)
        return job._replace(doubt=1, at_ms=now_ms if kind.within_ms > kind.give_up_ms else job.at_ms)

    def start_due(self) -> None:
        """Begin acts whose time has come, as many as may run at once."""
        for key in [key for key, (_, task) in self._running.items() if task.done()]:
            self._running.pop(key)[1].result()
        for lane in self._lanes:
            self._start(lane)

    def _start(self, lane: frozenset[str]) -> None:
        now = time.monotonic()
        each = Counter(circuit for (_, effect), (circuit, _) in self._running.items() if effect in lane)
        if each.pop("", 0) >= RECORDING_MAX:
            return
        shut = {circuit for circuit, until in self._shut.items() if until > now}
        shut |= {circuit for circuit, count in each.items() if count >= self._most(circuit)}
        full = True
        while full:  # a target with a long list must not hide those behind it
            full = False
            for job in self._jobs.due(_now_ms(), 4 * AT_ONCE, lane, shut, self._in_turn):
                if each.total() >= AT_ONCE:
                    return
                if (job.key, job.effect) in self._running or job.circuit in shut:
                    continue
                wait_s = 0.0 if job.ending else self._kinds.of(job).wait_s(job.target)
                if wait_s > 0:
                    self._shut[job.circuit] = now + wait_s
                else:
                    each[job.circuit] += 1
                    task = asyncio.create_task(self._see_through(job), name=f"{job.effect} {job.key}")
                    self._running[job.key, job.effect] = (job.circuit, task)
                if wait_s > 0 or each[job.circuit] >= self._most(job.circuit):
                    shut.add(job.circuit)
                    full = True

    def _most(self, circuit: str) -> int:
        """Return how many acts may be under way: one that was shut before is tried with a single act first."""
        return 1 if self._failures.get(circuit) else AT_ONCE_EACH

    async def finish(self) -> None:
        """Wait for the acts under way."""
        await asyncio.gather(*(task for _, task in self._running.values()))

    async def _see_through(self, job: Job) -> None:
        """Try an act once, and record its end if it has one now."""
        if not job.ending:
            job = await self._try(job)
        if job.ending:
            _, task = self._running[job.key, job.effect]
            self._running[job.key, job.effect] = ("", task)
            await self._record(job)

    async def _try(self, job: Job) -> Job:
        reference = ""
        # What a failure leaves behind: one that says nothing was done ends no doubt of an earlier try.
        doubt = job.doubt
        try:
            if job.doubt and await self._kinds.is_done(job):
                return await self._ended(job, Ending("succeeded"))
            doubt = 0
            # Should this be its end: it is looked at again when asking makes sense.
            asked_ms = _now_ms() + round(self._kinds.of(job).ask_after_s(job) * 1000)
            job = job._replace(doubt=1, tries=job.tries + 1, due_ms=asked_ms)
            await asyncio.to_thread(self._jobs.change, job)
            policy = self._policies.of(job.effect)
            async with asyncio.timeout(policy.timeout_ms / 1000 if policy and policy.timeout_ms else None):
                reference = await self._kinds.do(job)
        except TimeoutError:
            told = "no answer in the time that the rule book leaves it"
            return await self._later(job, told, doubt=1, wait_s=self._kinds.of(job).ask_after_s(job))
        except OutcomeUnknown as error:
            return await self._later(job, str(error), doubt=1, wait_s=self._kinds.of(job).ask_after_s(job))
        except NotYet as error:
            # However long that takes: those outside have all their time from its end on.
            waiting = job._replace(tries=job.tries - 1, at_ms=_now_ms())
            return await self._later(waiting, str(error), doubt=doubt, wait_s=NOT_YET_S)
        except PlatformBusy as busy:
            self._close_for(job.circuit, busy.retry_after_s)
            policy = self._policies.of(job.effect)
            tries = job.tries if policy and policy.tries else max(0, job.tries - 1)
            return await self._later(job._replace(tries=tries), str(busy), doubt=doubt)
        except (NotAuthorised, MissingSecret, Gone, ValueError) as error:
            # Nothing left: the settings, the keys or the connection must be put right first. (A wrong option is told
            # by a ValueError, but so is an answer that an adapter cannot read: that one keeps out no other act.)
            if not isinstance(error, ValueError) or self._puzzles(job):
                self._shut[job.circuit] = time.monotonic() + SHUT_S
            doubt = doubt or int(isinstance(error, ValueError))
            return await self._later(job._replace(tries=max(0, job.tries - 1)), str(error), doubt=doubt, wait_s=SHUT_S)
        except PlatformError as error:
            return await self._ended(job, Ending("failed", reason=str(error)))
        except Exception as error:  # noqa: BLE001  a broken adapter must not stop the other targets
            # Neither its text nor its values: they may hold what a platform sent, or a key.
            return await self._later(job, f"a fault in the program: {type(error).__name__}", doubt=1)
        self._failures.pop(job.circuit, None)
        self._shut.pop(job.circuit, None)
        self._puzzling.pop(job.circuit, None)
        return await self._ended(job, Ending("succeeded", reference))

    async def _ended(self, job: Job, ending: Ending) -> Job:
        reason = ending.reason[:REASON_MAX]
        job = job._replace(ending=msgspec.json.encode(ending), doubt=0, reason=reason, due_ms=_now_ms())
        await asyncio.to_thread(self._jobs.change, job)
        return job

    async def _later(self, job: Job, reason: str, *, doubt: int, wait_s: float = 0.0) -> Job:
        """Put an act off, or give it up where it was tried long enough."""
        now = _now_ms()
        policy = self._policies.of(job.effect)
        tries_max = policy.tries if policy and policy.tries else TRIES_MAX
        if job.tries >= tries_max or now - job.at_ms > self._kinds.of(job).give_up_ms:
            return await self._ended(job, Ending("failed", reason=f"given up after {job.tries} tries: {reason}"))
        first = not job.reason
        log.warning("effect.later", effect=job.effect, target=job.target, key=job.key, reason=reason)
        wait_s = wait_s or backoff_s(job.tries, policy.backoff_ms / 1000 if policy else 0.0)
        job = job._replace(doubt=doubt, reason=reason[:REASON_MAX] or "?", due_ms=now + round(wait_s * 1000))
        await asyncio.to_thread(self._jobs.change, job)
        if first:
            # People see that something is amiss; the retries themselves are no news.
            report = RecordEffect(
                f"{job.effect}/{job.key}/first", job.effect, job.key, "failed", "", job.reason, job.tries, final=False
            )
            await self._send(job, report)
        return job

    async def _record(self, job: Job) -> None:
        ending = msgspec.json.decode(job.ending, type=Ending)
        report = RecordEffect(
            f"{job.effect}/{job.key}/{ending.outcome}/{job.tries}",
            job.effect,
            job.key,
            ending.outcome,
            ending.reference,
            ending.reason[:REASON_MAX],
            max(1, job.tries),
        )
        if await self._send(job, report):
            await asyncio.to_thread(self._jobs.drop, job)
        else:
            await asyncio.to_thread(self._jobs.change, job._replace(due_ms=_now_ms() + 2_000))

    async def _send(self, job: Job, report: RecordEffect) -> bool:
        """Mail a report; return whether the log has it."""
        try:
            await self._mailroom.send([Mail(job.stream, report, _now_ms(), _BY, f"effects/{job.effect}")])
        except AWAY as error:
            log.info("effect.not_recorded_yet", key=job.key, reason=str(error))
            return False
        return True

    def _puzzles(self, job: Job) -> bool:
        """Note an act that ended with a `ValueError`; return whether another of its target did, and none succeeded."""
        act = (job.key, job.effect)
        return self._puzzling.setdefault(job.circuit, act) != act

    def _close_for(self, circuit: str, retry_after_s: float | None) -> None:
        failures = self._failures[circuit] = self._failures.get(circuit, 0) + 1
        self._shut[circuit] = time.monotonic() + max(retry_after_s or 0.0, backoff_s(failures))


def backoff_s(failures: int, first_s: float = 0.0) -> float:
    """Return how long to wait after so many tries; never all at once. `first_s`: the first wait, 0 = as it ships."""
    longest = min(BACKOFF_S_MAX, (first_s or BACKOFF_S_MIN) * 2.0 ** (max(1, failures) - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  spread, no secret


async def effects(settings: Settings) -> None:
    """Follow and do until SIGTERM or SIGINT."""
    background = Background()
    background.begin()
    event_log = await background.log_of(settings)
    if event_log is None:
        return
    jobs = Jobs(settings.path)
    kinds = Kinds(settings.path, all_kinds(settings, event_log, _now_ms))
    link = Link(settings, f"effects-{settings.cell}")
    try:
        async with Mailroom(settings, f"effects-mail-{settings.cell}") as mailroom:
            runner = Effects(event_log, jobs, kinds, mailroom)
            beside = [
                asyncio.create_task(keep_comparing(settings, event_log, mailroom, _now_ms)),
                asyncio.create_task(keep_checking(settings, event_log, mailroom, _now_ms)),
            ]
            while not background.stopping.is_set():
                await runner.refresh()
                if not kinds.known:
                    # Who is to be told is not known yet; what is asked for meanwhile must not pass unheard.
                    await background.pause(POLL_S)
                    continue
                await link.up()
                if await asyncio.to_thread(runner.follow) >= BATCH_EVENTS:
                    continue  # what comes later in the log may say that an act was done
                runner.start_due()
                await background.pause(min(POLL_S, LOOK_S), link.hints)
            await runner.finish()
            await end_tasks(beside)
    finally:
        await kinds.close()
        await link.close()
        jobs.close()
        event_log.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> int:
    """Parse the arguments, follow and do."""
    parser = argparse.ArgumentParser(prog="python -m runners.effects", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    run(effects(load_settings(parser.parse_args().data)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
