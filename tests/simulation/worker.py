"""One worker: the real engine, and the steps of `runners.worker` one at a time, so that anything may happen between."""

from collections import deque
from collections.abc import Callable
from random import Random

from adapters.nats.errors import BrokerError, BrokerUnavailable, Gap
from adapters.storage.memory_log import MemoryEventLog
from domain.cellular import NoteMailLost
from domain.envelope import By, decode_envelope
from domain.mail import ChannelPayload, Mail, encode_mail
from domain.mapping import SHIPPED, InForce
from domain.order import TimerDue
from domain.ports import Channel, Conflict, Vault
from domain.rulebook import SHIPPED as NO_RULES
from runners import mail_life
from runners.engine import NOTHING, Batch, Engine, Opened
from runners.prepare import Job, do, ready
from runners.preparing import Preparer, Ready
from runners.timers import load_timers
from tests.fakes import Faults, SkewedClock, Trace
from tests.simulation.broker import Broker, Reader
from tests.simulation.disk import DiskError, FaultyLog
from tests.simulation.musts import must
from tests.simulation.watch import Watch, timers_of


class Parts:
    """What all workers share."""

    def __init__(
        self,
        chance: Random,
        faults: Faults,
        trace: Trace,
        log: MemoryEventLog,
        vault: Vault,
        channels: dict[str, Channel],
        digest_key: bytes,
        broker: Broker,
        watch: Watch,
        true_ms: Callable[[], int],
        mail_clock: bool,
    ) -> None:
        self.chance = chance
        self.faults = faults
        self.trace = trace
        self.log = log
        self.vault = vault
        self.channels = channels
        self.digest_key = digest_key
        self.broker = broker
        self.watch = watch
        self.true_ms = true_ms
        self.mail_clock = mail_clock
        self.tokens = 0
        self.counted = 0

    def token(self) -> str:
        """Name a life of the mail; like the worker's, but known to the seed."""
        self.tokens += 1
        return f"life{self.tokens}"


class SimWorker:
    """A process. `step` does one thing; `alive` is False once it has ended."""

    def __init__(self, parts: Parts) -> None:
        parts.counted += 1
        self.name = f"w{parts.counted}"
        self._parts = parts
        self.clock = SkewedClock(parts.chance.choice((0, 0, 0, -600_000, 600_000)))
        disk = FaultyLog(parts.log, parts.faults, parts.watch, self.name)
        self._preparer = Preparer(parts.channels, parts.digest_key)
        self.engine = Engine(disk, parts.vault, self._preparer, actors_max=parts.chance.choice((3, 20, 20_000)))
        self._in_force: dict[str, InForce] = {}
        """The field mappings as they were some time ago: what is prepared beforehand may be read by an older one."""
        self._rules = NO_RULES
        """The rule book of that time, likewise."""
        self._reader: Reader | None = None
        self._decided: deque[tuple[Batch, int]] = deque()
        """What waits for its commit, each with the sequence of its suspect (0 = none)."""
        self._begun = False
        self.alive = True

    def step(self) -> None:
        """Do one thing that a worker does."""
        try:
            self._step()
        except Conflict as conflict:
            self._parts.faults.saw("worker.refused")
            self._end(f"conflict: {conflict}")
        except DiskError as trouble:
            if self._begun and self._parts.faults.fires("worker.stays_after_failed_commit"):
                self._doubt(trouble)
            else:
                self._end(str(trouble))

    def crash(self) -> None:
        """End at once; what is decided and not committed is gone, or its commit is on its way all the same."""
        if self._decided:
            self._parts.faults.saw("worker.died_with_decided")
            self._land_late()
        self._end("killed")

    def _end(self, why: str) -> None:
        self.alive = False
        self._decided.clear()
        self._parts.trace.note("end", self.name, why)

    def _step(self) -> None:
        parts, engine = self._parts, self.engine
        if not self._begun:
            tracked = engine.take_over()
            parts.watch.epochs.append((self.name, tracked.epoch))
            parts.trace.note("took over", self.name, tracked.epoch, tracked.position, tracked.head)
            self._begun = True
            return
        try:
            if self._reader is None:
                self._find_mail()
                self._reader = parts.broker.open(engine.tracked.position + 1)
                return
            match parts.chance.choices(("decide", "commit", "timers", "watch", "purge"), (8, 8, 2, 1, 0.3))[0]:
                case "decide":
                    self._decide(self._reader)
                case "commit":
                    self._commit()
                case "timers":
                    self._fire_timers()
                case "watch":
                    self._watch()
                case _:
                    self._purge()
        except Gap as gap:
            self._reader = None
            self._drop()
            self._across(gap)
        except BrokerError as trouble:
            self._doubt(trouble)

    def _doubt(self, trouble: Exception) -> None:
        self._parts.trace.note("doubt", self.name, trouble)
        self._reader = None
        self._drop()
        try:
            self.engine.reload()
        except Conflict:
            self._parts.faults.saw("worker.refused")
            self._end("another worker has taken over")
        except DiskError as again:
            self._end(str(again))

    def _drop(self) -> None:
        """Forget what is decided; a commit that is under way may still take effect, before or after we look."""
        if self._decided:
            self._land_late()
        self._decided.clear()

    def _land_late(self) -> None:
        if self._parts.faults.fires("worker.commit_lands_unseen"):
            try:
                self._write(*self._decided[0])
            except (Conflict, DiskError):
                self._parts.trace.note("late commit failed", self.name)

    # --- where reading starts

    def _find_mail(self) -> None:
        broker, tracked = self._parts.broker, self.engine.tracked
        if self._parts.mail_clock:
            tip = self._parts.log.read(tracked.head - 1, 1)
            self.engine.now_ms = max(
                self.engine.now_ms, *(decode_envelope(event.envelope).observed_at for event in tip), 0
            )
        info = broker.info()
        if info is None:
            info = broker.ensure(self._parts.token(), tracked.position + 1)
            start: mail_life.Begin | None = mail_life.begin_made(tracked, info)
        else:
            last = broker.read_back(tracked.position) if mail_life.must_read_back(tracked, info) else None
            start = mail_life.begin(tracked, info, last)
            if start is not None and start.reason == mail_life.WENT_BACK and info.last_seq >= tracked.position:
                self._parts.faults.saw("broker.went_back_and_grew")
        if start is None:
            return
        incarnation = info.incarnation
        if start.rename:
            self._parts.faults.saw("life.renamed")
            incarnation = self._parts.token()
            broker.rename(incarnation)
            start = mail_life.begin_renamed(start, broker.info(), incarnation)
        note = start.note(tracked, incarnation)
        self.engine.begin_life(incarnation, start.position, note, tracked.at_ms or self._now())

    def _across(self, gap: Gap) -> None:
        engine = self.engine
        tracked = engine.reload()
        if gap.got <= tracked.position + 1:
            return
        try:
            missing = self._parts.broker.missing(tracked.position + 1, gap.got - 1)
        except BrokerUnavailable:
            return
        gone = mail_life.lost(tracked, missing)
        if gone is not None:
            engine.begin_life(tracked.incarnation, gone[1], NoteMailLost(*gone), tracked.at_ms or self._now())

    # --- reading and committing

    def _decide(self, reader: Reader) -> None:
        parts, engine = self._parts, self.engine
        if len(self._decided) > 1:
            self._commit()
            return
        delivered = reader.next(parts.chance.choice((1, 2, 5, 20, 100)))
        if not delivered:
            return
        parts.watch.delivered[self.name].update((message.seq, message) for message in delivered)
        opened = engine.open(delivered)
        suspect = delivered[0].seq if parts.faults.fires("worker.suspects") else 0
        beforehand: dict[int, Ready] | None = None
        if parts.faults.fires("worker.prepares_beforehand"):
            beforehand = {seq: self._prepared(opened, mail, body) for seq, mail, body in opened.jobs()}
        if parts.chance.random() < 0.5:
            self._in_force, self._rules = engine.in_force(), engine.rules()
        batch = engine.decide(opened, suspect, NOTHING if beforehand is None else beforehand)
        self._decided.append((batch, suspect))
        if len(self._decided) > 1:
            parts.faults.saw("worker.decides_while_committing")

    def _prepared(self, opened: Opened, mail: Mail, body: ChannelPayload) -> Ready:
        in_force = self._in_force.get(body.channel, SHIPPED)
        if in_force != self.engine.in_force().get(body.channel, SHIPPED):
            self._parts.faults.saw("mapping.changed_behind_the_preparing")
        if self._rules != self.engine.rules():
            self._parts.faults.saw("rules.changed_behind_the_preparing")
        job = Job(body.channel, body.shop, mail.to, body.raw, opened.keys[mail.to], mail.observed_at)
        return ready(mail.to, do(self._preparer, job, in_force, self._rules), in_force)

    def _commit(self) -> None:
        if not self._decided:
            return
        parts, engine = self._parts, self.engine
        batch, suspect = self._decided[0]
        head = self._write(batch, suspect)
        engine.committed(batch, head)
        self._decided.popleft()
        if not self._decided:
            parts.watch.same_memory(engine._states, sorted({record.stream for record in batch.records}))
            must(engine.timers._open == timers_of(parts.watch.states), "other timers are open than the orders know")

    def _write(self, batch: Batch, suspect: int) -> int:
        self._parts.watch.suspects[self.name] = suspect
        return self.engine.commit(batch)

    # --- beside the mail

    def _now(self) -> int:
        if self._parts.mail_clock:
            return self.engine.now_ms
        return self.clock.read(self._parts.true_ms())

    def _fire_timers(self) -> None:
        timers = self.engine.timers
        now = self._now()
        due = timers.due(now, self._parts.chance.choice((1, 500)))
        if not due:
            return
        by = By("system", "timer")
        mails = [Mail(stream, TimerDue(name, at or 0), now, by, "timer") for stream, name, at in due]
        self._parts.faults.saw("timer.fired")
        try:
            self._parts.broker.publish([encode_mail(mail) for mail in mails])
        except BrokerError:
            timers.again(due)
            raise

    def _watch(self) -> None:
        broker, tracked = self._parts.broker, self.engine.tracked
        info = broker.info()
        asks = info is not None and mail_life.must_read_back(tracked, info)
        trouble = mail_life.in_doubt(tracked, info, broker.read_back(tracked.position) if asks else None)
        if trouble is not None:
            raise trouble

    def _purge(self) -> None:
        """Drop some of what is handled, never the last handled message."""
        position = self.engine.tracked.position
        if position > 1:
            self._watch()
            self._parts.faults.saw("broker.purged")
            self._parts.broker.purge(position - 1 - self._parts.chance.randrange(20))

    # --- the end

    def settled(self) -> None:
        """Check at the end of a run that nothing in memory differs from the log."""
        parts, engine = self._parts, self.engine
        must(not self._decided, "something is decided and not committed")
        parts.watch.same_memory(engine._states, sorted(engine._states))
        must(engine.timers._open == load_timers(parts.log)._open, "other timers are open than the log knows")
