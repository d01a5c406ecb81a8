"""A whole cell in one thread: senders, broker, workers that compete, people, clocks; chance decides who acts next."""

from collections import deque
from random import Random
from typing import NamedTuple

from adapters.channels import load
from adapters.nats.errors import BrokerError
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.vault import MemoryVault
from domain.envelope import By
from domain.mail import decode_mail
from domain.order import DiscardQuarantined, Order, ResendQuarantined, ResolveInterception
from domain.ports import Tracked
from tests.fakes import Faults, SkewedClock, Trace
from tests.simulation import letters, shop, staff
from tests.simulation.broker import Broker
from tests.simulation.letters import BEGIN_MS, Letter
from tests.simulation.musts import must
from tests.simulation.outside import OUTSIDE_RATES, Outside
from tests.simulation.verdict import verdict
from tests.simulation.watch import NOTABLE, RULED_NOTABLE, STOPS, Watch
from tests.simulation.worker import Parts, SimWorker

RATES = {
    "disk.fails_before": 0.01,
    "disk.fails_after": 0.01,
    "disk.read_fails": 0.006,
    "disk.takeover_fails": 0.05,
    "disk.life_fails_before": 0.1,
    "disk.life_fails_after": 0.1,
    "worker.crashes": 0.006,
    "worker.second_starts": 0.2,
    "worker.stays_after_failed_commit": 0.4,
    "worker.commit_lands_unseen": 0.4,
    "worker.prepares_beforehand": 0.2,
    "worker.suspects": 0.01,
    "broker.unavailable": 0.01,
    "broker.breaks": 0.01,
    "broker.full": 0.02,
    "broker.publish_lost": 0.03,
    "broker.publish_unanswered": 0.05,
    "broker.somebody_makes_it": 0.2,
    "broker.wiped": 0.0012,
    "broker.copied": 0.02,
    "broker.rolled_back": 0.006,
    "broker.loses_messages": 0.002,
    "reader.repeats": 0.01,
    "reader.skips": 0.01,
    "clock.jumps": 0.01,
    "clock.broker_jumps": 0.01,
    "clock.night": 0.004,
}
"""Chance of each misfortune, each time it could happen."""

MUST_COME_UP = (
    *RATES,
    "worker.refused",
    "worker.died_with_decided",
    "worker.decides_while_committing",
    "broker.purged",
    "broker.went_back_and_grew",
    "broker.lost_in_silence",
    "life.first",
    "life.renamed",
    "life.mail_lost",
    "life.the mail stream was gone",
    "life.the mail stream has begun another life",
    "life.the mail stream went back to an older copy",
    "timer.fired",
    "timer.took_effect",
    "queue.order_known",
    "queue.resend",
    "queue.discard",
    "mapping.changed_behind_the_preparing",
    *NOTABLE.values(),
)
"""Everything the seeds together must have shown."""


RULED_MUST_COME_UP = (
    *OUTSIDE_RATES,
    *RULED_NOTABLE.values(),
    *(f"stopped.{reason}" for reason in STOPS),
    *(f"timer.{timer}" for timer in ("payment", "order", "promise", "presale", "approval")),
    "routing.planned",
    "routing.split",
    "order.sent_in_parts",
    "rules.changed_behind_the_preparing",
    "rules.kept_stock",
    "people.twice",
)
"""Everything that seeds with rules must have shown beside that."""


class Outcome(NamedTuple):
    """What a run that broke no rule was like."""

    digest: str
    trace: Trace
    faults: Faults
    messages: int
    events: int


class World:
    """One run, wholly decided by its seed; half of them know rules, several warehouses and a world outside."""

    def __init__(self, seed: int, trace: Trace, *, ruled: bool) -> None:
        self.seed = seed
        self.trace = trace
        self.ruled = ruled
        chance = self.chance = Random(seed)
        self.faults = faults = Faults(chance, RATES | OUTSIDE_RATES if ruled else RATES, trace)
        self.now_ms = BEGIN_MS
        self.log = MemoryEventLog("simulated")
        self.vault = MemoryVault(b"simulation")
        self.watch = Watch(self.log, faults, trace)
        self._broker_clock = SkewedClock()
        self.broker = Broker(chance, faults, trace, lambda: self._broker_clock.read(self.now_ms))
        self.broker.read_to = lambda: (self._row().incarnation, self._row().position)
        self.channels = load()
        self.parts = Parts(
            chance,
            faults,
            trace,
            self.log,
            self.vault,
            self.channels,
            self.vault.digest_key(),
            self.broker,
            self.watch,
            lambda: self.now_ms,
            chance.random() < 0.5,
        )
        self.workers: list[SimWorker] = []
        self.letters: dict[bytes, Letter] = {}
        """By payload: what every message meant."""
        self.outside = Outside(self, faults) if ruled else None
        self._waiting = self._workload()
        self.acknowledged: list[bytes] = []
        self._number = 0
        self._edge_clock = SkewedClock()

    def _row(self) -> Tracked:
        return self.log.tracked()

    def _workload(self) -> deque[Letter]:
        """Return histories, shuffled as far as this seed likes, each letter 1 to 5 times, with stock between."""
        chance = self.chance
        found = letters.histories(chance, chance.choice((3, 6, 12, 20)) // (3 if self.ruled else 1))
        if self.ruled:
            found += shop.histories(chance, chance.choice((4, 8, 16)))
        copies = [each for each in found for _ in range(chance.choice((1, 1, 1, 2, 3, 5)))]
        for number in range(chance.randrange(3, 20)):
            copies += [letters.stock_letter(chance, number, BEGIN_MS)] * chance.choice((1, 1, 2))
        for number in range(chance.randrange(4)):
            copies += [letters.stray_letter(chance, number, BEGIN_MS)] * chance.choice((1, 2))
        if self.ruled:
            copies[:0] = staff.opening(chance)
            for number in range(chance.randrange(3, 20)):
                copies += [staff.stock_letter(chance, number, BEGIN_MS)] * chance.choice((1, 1, 2))
        reach = chance.choice((1, 10, len(copies) + 1))
        order = sorted(range(len(copies)), key=lambda at: at // reach if reach == 1 else at + chance.randrange(reach))
        if chance.random() < (0.2 if self.ruled else 0.5):
            chance.shuffle(order)
        waiting = [copies[at] for at in order]
        for number in range(chance.choice((0, 1, 3))):
            changed = letters.mapping_letter(chance, number, BEGIN_MS)
            for _ in range(chance.choice((1, 1, 2))):
                waiting.insert(chance.randrange(len(waiting) + 1), changed)
        for channel in ("taobao", "douyin"):
            bare = sorted({item.id for each in found for item in _bare(each, channel)})
            for number in range(chance.choice((0, 1, 2)) if bare else 0):
                some = chance.sample(bare, chance.randrange(1, len(bare) + 1))
                entered = letters.skus_letter(channel, some, len(waiting) + number, BEGIN_MS)
                waiting.insert(chance.randrange(len(waiting) + 1), entered)
        if self.ruled:
            self._put_rules_in(waiting)
        return deque(waiting)

    def _put_rules_in(self, waiting: list[Letter]) -> None:
        """Have rule books and buyers' terms changed in the middle of it; most runs begin with a book."""
        chance = self.chance
        for number in range(chance.choice((1, 2, 4))):
            at = 0 if number == 0 and chance.random() < 0.7 else chance.randrange(len(waiting) + 1)
            waiting[at:at] = [staff.book_letter(chance, number)] * chance.choice((1, 1, 2))
        for number in range(chance.randrange(4)):
            agreed = shop.terms_letter(chance, number, self.vault.digest_key())
            waiting.insert(chance.randrange(len(waiting) + 1), agreed)

    # --- the run

    def run(self, steps: int) -> Outcome:
        """Let chance decide for so many steps, then let everything come to rest and judge."""
        does = {"work": 60, "send": 25, "people": 10, "start": 3} | (
            {"outside": 30, "people": 30} if self.ruled else {}
        )
        for _ in range(steps):
            self._pass_time()
            match self.chance.choices(tuple(does), tuple(does.values()))[0]:
                case "work":
                    self._work()
                case "send":
                    self._send()
                case "people":
                    self._act()
                case "outside" if self.outside is not None:
                    self.outside.step()
                case _:
                    if not any(worker.alive for worker in self.workers) or self.faults.fires("worker.second_starts"):
                        self._start()
        self._come_to_rest()
        verdict(self)
        return Outcome(self.trace.digest, self.trace, self.faults, len(self.watch.script), self._row().head)

    def _pass_time(self) -> None:
        chance, faults = self.chance, self.faults
        self.now_ms += chance.randrange(20_000)
        if faults.fires("clock.night"):
            self.now_ms += chance.randrange(1, 30) * 3_600_000
        if faults.fires("clock.broker_jumps"):
            self._broker_clock.offset_ms = chance.randrange(-600_000, 600_001)
        if faults.fires("clock.jumps"):
            clocks = [self._edge_clock, *(worker.clock for worker in self.workers if worker.alive)]
            chance.choice(clocks).offset_ms = chance.randrange(-600_000, 600_001)

    def _start(self) -> None:
        self.workers = [worker for worker in self.workers if worker.alive]
        if len(self.workers) < 3:
            self.workers.append(SimWorker(self.parts))

    def _work(self) -> None:
        alive = [worker for worker in self.workers if worker.alive]
        if self.broker.cut_off:
            self.broker.cut_off -= 1
            alive = []
        if not alive:
            return
        # The newest works most; older ones have been stopped, and go on now and then as if nothing had happened.
        worker = alive[-1] if self.chance.random() < 0.8 else self.chance.choice(alive)
        if self.faults.fires("worker.crashes"):
            worker.crash()
        else:
            worker.step()

    def _send(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self.chance.choice((1, 3, 10))))]
        self.post(batch)

    def post(self, batch: list[Letter]) -> bool:
        """Publish, and publish again as long as the outcome is unknown; give up after a few tries, for later."""
        if not batch:
            return True
        payloads = [each.payload for each in batch]
        self.letters.update(zip(payloads, batch, strict=True))
        for _ in range(3):
            try:
                self.broker.publish(payloads)
            except BrokerError as trouble:
                self.trace.note("unsent", len(batch), type(trouble).__name__)
            else:
                self.acknowledged += payloads
                return True
        self._waiting.extend(batch)
        return False

    def _act(self) -> None:
        """Let a person do something about what is seen, or think they see."""
        chance = self.chance
        self._number += 1
        number, now = self._number, self._edge_clock.read(self.now_ms)
        orders = [key for key, held in self.watch.states.items() if isinstance(held.state, Order)]
        if self.ruled and chance.random() < 0.75:
            self._act_by_rules(orders, number, now)
            return
        service = By("person", "s1", "service")
        if not orders or chance.random() < 0.1:
            self.post([letters.stock_letter(chance, 1000 + number, now)])
            return
        key = chance.choice(orders)
        state: Order = self.watch.states[key].state
        posted: Letter
        if state.quarantined is not None and chance.random() < 0.7:
            body = (
                ResendQuarantined(f"resend-{number}", state.quarantined.item)
                if chance.random() < 0.5
                else DiscardQuarantined(f"discard-{number}", state.quarantined.item, "junk")
            )
            posted = letters.letter(key, body, "command", service, now)
        elif state.interceptions and chance.random() < 0.8:
            name = chance.choice(state.interceptions)[0]
            decision = chance.choice(("release", "release", "cancel"))
            act = ResolveInterception(f"resolve-{number}", name, decision)  # type: ignore[arg-type]
            posted = letters.letter(key, act, "command", service, now)
        elif chance.random() < 0.2:
            line = chance.choice(state.lines).id if state.lines else ""
            posted = letters.cancel_letter(chance, key, line, number, now)
        else:
            posted = letters.scan_letter(chance, key, number, now)
        self.post([posted] * chance.choice((1, 1, 2)))

    def _act_by_rules(self, orders: list[str], number: int, now_ms: int) -> None:
        """Let a person do what there is to do only where there are rules."""
        chance = self.chance
        if not orders or chance.random() < 0.2:
            self.post([staff.stock_letter(chance, 1000 + number, now_ms)])
            return
        if chance.random() < 0.05:
            self.post([staff.book_letter(chance, 1000 + number)])
            return
        key = chance.choice([key for key in orders if staff.to_do(self.watch.states[key].state)] or orders)
        if chance.random() < 0.2:
            key = chance.choice(orders)
        state = self.watch.states[key].state
        if chance.random() < 0.04:
            # Of an order that is on its way to us, or will never come.
            key, state = letters.key_of("generic", f"{8000 + chance.randrange(30)}"), Order()
        found = staff.act(chance, key, state, number, now_ms, self.vault)
        if len(found) > 1:
            self.faults.saw("people.twice")
        self.post(found)

    # --- the end

    def _come_to_rest(self) -> None:
        """Stop the misfortunes, send what is left and what was lost again, and let one worker finish everything."""
        self.faults.quiet = True
        self.trace.note("rest")
        self._start_last()
        self._drain()
        for go in range(4):
            while self._waiting:
                self._send()
            self._drain()
            self._finish_outside()
            if go == 3:
                break
            again = [self.letters[payload] for payload in dict.fromkeys(self.acknowledged) if self._unhandled(payload)]
            for each in again:
                must(each.payload in self.broker.destroyed, "acknowledged mail was passed over", each.mail)
            self.trace.note("reconciled", len(again))
            self._waiting.extend(again)
            self.now_ms += 60 * 3_600_000
            if self.parts.mail_clock:
                tick = letters.tick(self.now_ms)
                self._waiting.append(tick)
        must(not self._waiting, "letters were never sent", len(self._waiting))

    def _finish_outside(self) -> None:
        """Let everything that is asked for outside be done, and its reports be handled."""
        if self.outside is None:
            return
        for _ in range(200):
            left = self.outside.finish()
            while self._waiting:
                self._send()
            self._drain()
            if not left:
                return
            self.now_ms += self.chance.randrange(1, 900_000)
        must(holds=False, what="acts outside never came to their end")

    def _unhandled(self, payload: bytes) -> bool:
        return payload not in self.watch.handled_in

    def facts_of(self, payload: bytes) -> Letter:
        """Return what a handled message meant; a worker's own mail (timers) speaks for itself."""
        known = self.letters.get(payload)
        return known if known is not None else Letter(decode_mail(payload), "command", payload, silent=True)

    def _start_last(self) -> None:
        self.workers = [SimWorker(self.parts)]

    def _drain(self) -> None:
        """Work until nothing is left to do: all mail handled, no timer due."""
        worker = self.workers[-1]
        for step in range(20_000):
            must(worker.alive, "a worker ended although nothing went wrong")
            worker.step()
            if step % 50 == 49 and self._at_rest(worker):
                return
        must(holds=False, what="the cell never came to rest")

    def _at_rest(self, worker: SimWorker) -> bool:
        row, stream = self._row(), self.broker.stream
        # Mail that was lost at the very end shows when the next one comes.
        if stream is None or row.incarnation != stream.incarnation or max(stream.messages, default=0) > row.position:
            return False
        now = worker._now()
        return not any(due <= now for due in worker.engine.timers._open.values())


def simulate(seed: int, steps: int = 500, *, ruled: bool | None = None) -> Outcome:
    """Run one seed; with rules and a world outside where it is odd, or where `ruled` says so.

    Raises:
        Broken: a rule was broken; `trace` of the error holds the last events.
    """
    trace = Trace()
    trace.note("seed", seed, steps)
    world = World(seed, trace, ruled=seed % 2 == 1 if ruled is None else ruled)
    try:
        return world.run(steps)
    except Exception as error:
        error.trace = trace  # type: ignore[attr-defined]
        raise
    finally:
        if world.outside is not None:
            world.outside.close()


def _bare(letter: Letter, channel: str) -> list[letters.Item]:
    """Return the lines of a channel's view that name no SKU."""
    facts = letter.facts
    if not isinstance(facts, letters.View) or facts.channel != channel:
        return []
    return [item for item in facts.items if not item.sku]
