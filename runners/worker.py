"""The worker: the one process that reads a cell's mail and writes its log. `python -m runners.worker --data DIR`.

The engine decides; this is the loop around it: lease, where reading starts, read-ahead, a commit under way while the
next batch is decided, answers after the commit, timers, and watching that the broker is still the one that was read.
"""

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import nats.errors
import structlog

from adapters.nats.client import Connection
from adapters.nats.connection import api, connect
from adapters.nats.errors import BrokerError, Gap
from adapters.nats.hint import publish_hint
from adapters.nats.lease import Lease, LeaseHeld
from adapters.nats.publish import BatchPublisher
from adapters.nats.reader import MailReader
from adapters.nats.streams import (
    INCARNATION,
    MailInfo,
    Stored,
    confirm_missing,
    ensure_mail,
    get_stored,
    mail_info,
    mail_stream,
    purge_mail,
)
from adapters.storage.vault import KeysMissing
from domain.cellular import NoteMailLost
from domain.envelope import By, decode_envelope
from domain.mail import Mail, Replies, cut_replies, decode_mail, encode_mail, subject_of
from domain.order import TimerDue
from domain.ports import Conflict, Tracked
from domain.time_units import SECOND_MS
from runners import committing, mail_life, prepare
from runners.aio import run
from runners.beside import Beside
from runners.bootstrap import broker_address, channels, open_log, open_spool, open_vault
from runners.committing import CommitFailed, Committer
from runners.engine import Batch, Delivered, Engine, Opened
from runners.prepare import Helper
from runners.preparing import Preparer, Ready
from runners.settings import Settings, load_settings
from runners.suspect import Suspect

WATCH_S = 2.0
"""How often the broker is checked to be the one that was read."""
TIMER_S = 0.2
TIMERS_AT_ONCE = 500
PURGE_S = 60.0
CYCLES_S = 60.0
RETRY_S = 0.5
HANG_S = 30.0
"""A batch that is decided for longer hangs: the process ends itself, and what hung is found like what kills."""
BATCH_FIRST = 128
"""Most messages of the first batch of a flood; each may be half as large again as the one before: a large one at once
would be waited for while it is prepared."""
SWITCH_S = 0.0005
"""Python's thread switch interval: the committing thread must not wait 5 ms for each of its few turns."""
HOLDER_FILE = "holder"

log = structlog.get_logger()


class LeaseLost(Exception):
    """Somebody else may work on the cell now."""


class Worker:
    """Runs an engine on the mail of a broker until it is told to stop."""

    def __init__(
        self, settings: Settings, engine: Engine, nc: Connection, helper: Helper, committer: Committer, holder: str
    ) -> None:
        """Connect the parts; `run` does the work."""
        self._settings = settings
        self._cell = settings.cell
        self._engine = engine
        self._nc = nc
        self._lease = Lease(nc, settings.cell, holder)
        self._suspect = Suspect(settings.path, settings.batch_messages)
        self._stop = asyncio.Event()
        self._commits = ThreadPoolExecutor(1, "commit")
        self._publisher = BatchPublisher(nc)
        self._helper = helper
        self._committer = committer
        self._mail_end = 0
        """Sequence of the last message that is known to be in the mail."""
        self._trouble: BrokerError | None = None
        """Why no more is read; what was read before is still decided and committed."""

    def stop(self) -> None:
        """Finish what is decided, then end."""
        self._stop.set()

    async def run(self) -> None:
        """Work until `stop`.

        Raises:
            Conflict: another worker has taken the cell over.
            CommitFailed: the process beside could not write, or ended.
            LeaseLost: the lease is not surely ours any more.
            BrokerError: the connection was given up for good.
        """
        gap: Gap | None = None
        if not await self._acquire():
            return
        try:
            tracked = self._engine.take_over()
            log.info("worker.took_over", epoch=tracked.epoch, position=tracked.position, head=tracked.head)
            while not self._stop.is_set():
                try:
                    await self._find_mail()
                    await self._across(gap)
                    gap = None
                    await self._serve()
                except* Gap as gaps:
                    gap = next(error for error in _leaves(gaps) if isinstance(error, Gap))
                except* BrokerError as troubles:
                    if self._nc.is_closed:
                        raise
                    log.warning("worker.broker_in_doubt", error=str(_leaves(troubles)[0]))
                    await self._pause(RETRY_S)
                self._engine.reload()
        finally:
            await self._lease.release()
            self._commits.submit(self._committer.close)
            self._commits.shutdown()

    async def _acquire(self) -> bool:
        """Take the lease; False when told to stop while another holds it."""
        while not self._stop.is_set():
            try:
                await self._lease.acquire(RETRY_S)
            except LeaseHeld as held:
                log.info("worker.waits_for_the_lease", holder=held.holder)
            else:
                return True
        return False

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    # --- where reading starts

    async def _find_mail(self) -> None:
        """See to it that the mail stream is there, and that it is the one the tracked position counts in."""
        tracked = self._engine.tracked
        if self._settings.clock == "mail":
            self._engine.now_ms = max(self._engine.now_ms, await self._last_observed())
        info = await mail_info(self._nc, self._cell)
        if info is None:
            info = await ensure_mail(
                self._nc,
                self._cell,
                incarnation=secrets.token_hex(4),
                first_seq=tracked.position + 1,
                max_bytes=self._settings.mail_bytes_max,
            )
            start: mail_life.Begin | None = mail_life.begin_made(tracked, info)
        else:
            start = mail_life.begin(tracked, info, await self._last_handled(tracked, info))
        if start is not None:
            await self._adopt(info, start)

    async def _last_handled(self, tracked: Tracked, info: MailInfo) -> Stored | None:
        """Read the last handled message back, where that tells whether the stream is the one that was read."""
        if not mail_life.must_read_back(tracked, info):
            return None
        return await get_stored(self._nc, mail_stream(self._cell), seq=tracked.position)

    async def _last_observed(self) -> int:
        """Return what time it was by the mail that was handled last, UTC ms; 0 where nothing tells.

        The mail's own clock lives in memory: without this, timers that are due would wait for the next mail.
        """
        tracked = self._engine.tracked
        observed = [decode_envelope(event.envelope).observed_at for event in self._engine.log.read(tracked.head - 1, 1)]
        stored = None
        if tracked.digest:
            with contextlib.suppress(BrokerError):
                stored = await get_stored(self._nc, mail_stream(self._cell), seq=tracked.position)
        if stored is not None:
            with contextlib.suppress(msgspec.MsgspecError):
                observed.append(decode_mail(stored.payload).observed_at)
        return max(observed, default=0)

    async def _adopt(self, info: MailInfo, start: mail_life.Begin) -> None:
        """Read a mail stream from its beginning, under a name of its own.

        Nothing in it is dropped: what was handled before is known by its actors, what was not is handled now.
        """
        before = self._engine.tracked
        incarnation = info.incarnation
        if start.rename:
            incarnation = secrets.token_hex(4)
            name = mail_stream(self._cell)
            config: dict[str, Any] = (await api(self._nc, f"STREAM.INFO.{name}"))["config"]
            config["metadata"] = {**config.get("metadata", {}), INCARNATION: incarnation}
            await api(self._nc, f"STREAM.UPDATE.{name}", config)
            start = mail_life.begin_renamed(start, await mail_info(self._nc, self._cell), incarnation)
        note = start.note(before, incarnation)
        if note is not None:
            log.error("mail.reset", reason=note.reason, lost=note.lost, begun=note.begun, after=note.after)
        self._engine.begin_life(incarnation, start.position, note, before.at_ms or _now_ms())

    async def _across(self, gap: Gap | None) -> None:
        """Go on behind mail that the broker confirms to be gone; anything else is read again."""
        tracked = self._engine.tracked
        expected = tracked.position + 1
        if gap is None or gap.got <= expected:
            return
        gone = mail_life.lost(tracked, await confirm_missing(self._nc, self._cell, expected, gap.got - 1))
        if gone is None:
            await self._pause(RETRY_S)
            return
        first, last = gone
        log.error("mail.lost", first=first, last=last)
        self._engine.begin_life(tracked.incarnation, last, NoteMailLost(first, last), tracked.at_ms or _now_ms())

    # --- reading and committing

    async def _serve(self) -> None:
        """Read, decide and commit until told to stop, or until the broker is in doubt.

        Raises:
            BrokerError: why no more could be read; everything that was read before is committed.
        """
        self._trouble = None
        start = self._engine.tracked.position + 1
        async with MailReader(self._nc, self._cell, start, batch=self._settings.batch_messages) as reader:
            opened: asyncio.Queue[tuple[Opened, asyncio.Task[dict[int, Ready]]] | None] = asyncio.Queue(1)
            decided: asyncio.Queue[Batch | None] = asyncio.Queue(1)
            try:
                async with asyncio.TaskGroup() as tasks:
                    beside = [
                        tasks.create_task(self._fire_timers()),
                        tasks.create_task(self._watch()),
                        tasks.create_task(self._purge()),
                        tasks.create_task(self._look_for_cycles()),
                    ]
                    tasks.create_task(self._read(reader, opened, tasks))
                    tasks.create_task(self._decide(opened, decided))
                    committing = tasks.create_task(self._commit(decided))
                    committing.add_done_callback(lambda _: [task.cancel() for task in beside])
            finally:
                # A commit that was under way goes on in its thread: nobody may look at the log's row before it ended.
                await asyncio.get_running_loop().run_in_executor(self._commits, _nothing)
        if self._trouble is not None:
            raise self._trouble

    async def _read(
        self,
        reader: MailReader,
        opened: "asyncio.Queue[tuple[Opened, asyncio.Task[dict[int, Ready]]] | None]",
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Read ahead by one batch, and have its payloads prepared while the batch before is decided."""
        size = BATCH_FIRST
        try:
            while not self._stop.is_set() and self._trouble is None:
                messages = await reader.next(min(size, self._suspect.size), 0.25)
                flood = len(messages) >= BATCH_FIRST // 2
                size = min(size * 3 // 2, self._settings.batch_messages) if flood else BATCH_FIRST
                if messages:
                    self._mail_end = messages[-1].seq + reader.behind
                    batch = self._engine.open([Delivered(m.seq, m.time_ms, m.payload) for m in messages])
                    preparing = self._helper.prepare(batch, self._engine.in_force(), self._engine.rules())
                    await opened.put((batch, tasks.create_task(preparing)))
        except BrokerError as trouble:
            self._trouble = self._trouble or trouble
        await opened.put(None)

    async def _decide(
        self,
        opened: "asyncio.Queue[tuple[Opened, asyncio.Task[dict[int, Ready]]] | None]",
        decided: "asyncio.Queue[Batch | None]",
    ) -> None:
        begun = False
        while (next_batch := await opened.get()) is not None:
            batch, preparing = next_batch
            try:
                async with asyncio.timeout(HANG_S):
                    beforehand = await preparing
            except TimeoutError:
                log.exception("prepare.hung", first=batch.delivered[0].seq)
                beforehand = {}
            suspect = 0 if begun else self._suspect.begin(self._engine.tracked, BATCH_FIRST)
            # The next batch is decided while this one is committed, but not while a message that kills is searched: the
            # batch that is being decided must be the one behind the log's position.
            alone = not begun or self._suspect.searching
            begun = True
            for part in batch.parts(self._suspect.size):
                await decided.put(self._decide_in_time(part, suspect, beforehand))
                if alone:
                    await decided.join()
        await decided.put(None)

    def _decide_in_time(self, part: Opened, suspect: int, beforehand: dict[int, Ready]) -> Batch:
        """Decide; where that hangs, `_end_where_it_hangs` ends the process.

        By the system's own timer: a watching thread for each batch would cost a twentieth of the work.
        """
        signal.setitimer(signal.ITIMER_REAL, HANG_S)
        try:
            return self._engine.decide(part, suspect, beforehand)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    async def _commit(self, decided: "asyncio.Queue[Batch | None]") -> None:
        loop = asyncio.get_running_loop()
        engine = self._engine
        while (batch := await decided.get()) is not None:
            head = await loop.run_in_executor(self._commits, self._committer.commit, batch)
            replies = engine.committed(batch, head)
            self._suspect.passed(engine.tracked)
            await self._answer(replies, head)
            snapshot = engine.timer_snapshot()
            if snapshot is not None:
                await loop.run_in_executor(self._commits, engine.keep, snapshot)
            decided.task_done()

    async def _answer(self, replies: dict[str, Replies], head: int) -> None:
        """Tell those who wait. Without a connection nobody hears: whoever misses an answer asks again."""
        for subject, answer in replies.items():
            try:
                for part in cut_replies(answer, self._nc.max_payload):
                    await self._nc.publish(subject, part)
            except nats.errors.Error as error:  # also of an address that is none: the others are still told
                log.warning("worker.not_answered", error=repr(error))
        waiting = self._mail_end - self._engine.tracked.position
        publish_hint(self._nc, self._cell, head, behind=waiting >= self._settings.batch_messages)

    # --- beside the mail

    def _now(self) -> int:
        return self._engine.now_ms if self._settings.clock == "mail" else _now_ms()

    async def _fire_timers(self) -> None:
        """Mail `timer due` for every open timer whose time has come; the decider ignores one that is not open."""
        timers = self._engine.timers
        while not _cancelled():
            now = self._now()
            due = timers.due(now, TIMERS_AT_ONCE)
            if not due:
                await asyncio.sleep(TIMER_S)
                continue
            mails = [
                Mail(stream, TimerDue(name, due_ms or 0), now, By("system", "timer"), "timer")
                for stream, name, due_ms in due
            ]
            messages = [(subject_of(self._cell, mail.to), encode_mail(mail), None) for mail in mails]
            try:
                await self._publisher.publish_batch(messages, stream=mail_stream(self._cell))
            except BrokerError as error:
                # Not surely mailed: once more, then; the decider ignores the second one.
                log.warning("worker.timers_not_mailed", timers=len(due), error=str(error))
                timers.again(due)
                await asyncio.sleep(RETRY_S)

    async def _watch(self) -> None:
        """Notice a lost lease, another worker, and a broker that is not the one that was read."""
        while self._trouble is None and not _cancelled():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lease.lost.wait(), WATCH_S)
            if self._lease.lost.is_set():
                raise LeaseLost("the lease on the cell was lost")
            self._assert_still_ours()
            tracked = self._engine.tracked
            try:
                trouble = await self._doubt(tracked)
            except BrokerError as error:
                trouble = error
            if trouble is not None and tracked == self._engine.tracked:
                self._trouble = trouble

    def _assert_still_ours(self) -> None:
        epoch = self._engine.log.tracked().epoch
        if epoch != self._engine.tracked.epoch:
            raise Conflict(f"epoch {epoch} has begun; ours is {self._engine.tracked.epoch}")

    async def _doubt(self, tracked: Tracked) -> BrokerError | None:
        """Return what is wrong with the broker's mail behind and at the tracked position, if anything."""
        info = await mail_info(self._nc, self._cell)
        return mail_life.in_doubt(tracked, info, await self._last_handled(tracked, info) if info else None)

    async def _look_for_cycles(self) -> None:
        """Look for cycles of objects now and then: see `work`."""
        while not _cancelled():
            await asyncio.sleep(CYCLES_S)
            gc.collect()

    async def _purge(self) -> None:
        """Drop handled mail older than the span, never the last handled message."""
        while not _cancelled():
            await asyncio.sleep(PURGE_S)
            try:
                await self._purge_once(_now_ms() - self._settings.mail_span_s * SECOND_MS)
            except BrokerError as error:
                log.warning("worker.not_purged", error=str(error))

    async def _purge_once(self, oldest_kept_ms: int) -> None:
        info = await mail_info(self._nc, self._cell)
        if info is None or info.messages == 0:
            return
        low, high = info.first_seq, self._engine.tracked.position
        while low < high:
            middle = (low + high) // 2
            stored = await get_stored(self._nc, mail_stream(self._cell), seq=middle)
            if stored is not None and stored.time_ms >= oldest_kept_ms:
                high = middle
            else:
                low = middle + 1
        # An older copy may have been put back meanwhile: what is new in it has not been handled.
        if low > info.first_seq and await self._doubt(self._engine.tracked) is None:
            await purge_mail(self._nc, self._cell, low - 1)


def _nothing() -> None:
    """Be the job that ends when those before it have ended."""


def _cancelled() -> bool:
    """Whether this task was told to end: asyncio's `wait_for`, and so the broker's library, can swallow the telling."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else (error,))
    return found


def _end_where_it_hangs() -> None:
    """Let SIGALRM write where every thread stands, then end the process, whatever Python is doing."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.register(signal.SIGALRM, chain=True)


def holder_of(directory: Path) -> str:
    """Return the name under which this data directory's workers hold the lease: a restarted one need not wait."""
    file = directory / HOLDER_FILE
    if not file.exists():
        file.write_text(secrets.token_hex(8))
    return file.read_text().strip()


def build_engine(settings: Settings) -> tuple[Engine, bytes]:
    """Build the engine on the settings' stores; return it and the cell's key for digests that are searched by.

    Raises:
        KeysMissing: there are events, but no keys: new ones would make strangers of all known orders.
    """
    event_log = open_log(settings)
    try:
        vault = open_vault(settings, make=event_log.tracked().head == 0)
    except BaseException:
        event_log.close()
        raise
    spool = open_spool(settings, vault)
    digest_key = vault.digest_key()
    preparer = Preparer(channels(settings), digest_key, zone=settings.zone)

    def fetch(ref: str) -> bytes | None:
        try:
            return spool.get(ref)
        except KeyError:
            return None

    engine = Engine(event_log, vault, preparer, fetch=fetch, actors_max=settings.actors_max)
    return engine, digest_key


@contextlib.contextmanager
def beside(settings: Settings) -> Iterator[tuple[Beside, Beside]]:
    """Start the processes that prepare payloads and write commits; end them in the end."""
    channels(settings)  # loads their modules, once for all
    with (
        contextlib.closing(Beside(prepare.MODULE, settings.data)) as preparing,
        contextlib.closing(Beside(committing.MODULE, settings.data)) as writing,
    ):
        preparing.fork(partial(prepare.program, settings))
        writing.fork(partial(committing.program, settings))
        yield preparing, writing


async def work(settings: Settings, preparing: Beside, writing: Beside) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    sys.setswitchinterval(SWITCH_S)
    gc.disable()  # a turn leaves no cycles, and to look for them amid a backlog costs a tenth of deciding it
    _end_where_it_hangs()
    engine, digest_key = build_engine(settings)
    helper = Helper(preparing, digest_key)
    nc = await connect(broker_address(settings), f"worker-{settings.cell}")
    worker = Worker(settings, engine, nc, helper, Committer(writing, engine), holder_of(settings.path))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    try:
        await worker.run()
    finally:
        await helper.close()
        await nc.close()
        engine.log.close()


def main() -> int:
    """Parse the arguments and run; 1 when the cell was lost to another worker or the store failed."""
    parser = argparse.ArgumentParser(prog="python -m runners.worker", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    arguments = parser.parse_args()
    settings = load_settings(arguments.data)
    lost = False
    try:
        with beside(settings) as (preparing, writing):
            run(work(settings, preparing, writing))
    except* (Conflict, LeaseLost) as troubles:
        log.error("worker.lost_the_cell", error=str(_leaves(troubles)[0]))  # noqa: TRY400  not a crash
        lost = True
    except* BrokerError as troubles:
        log.error("worker.lost_the_broker", error=str(_leaves(troubles)[0]))  # noqa: TRY400  not a crash
        lost = True
    except* CommitFailed as troubles:
        log.error("worker.not_committed", error=str(_leaves(troubles)[0]))  # noqa: TRY400  not a crash
        lost = True
    except* KeysMissing as troubles:
        log.error("worker.has_no_keys", error=str(_leaves(troubles)[0]))  # noqa: TRY400  not a crash
        lost = True
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
