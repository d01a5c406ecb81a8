"""The end of a run: nothing is lost, everything that remembers agrees, and doing it all again gives the same bytes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from adapters.storage.vault import MemoryVault
from domain.catalogue import decode_event
from domain.cellular import BrokerReset, MailLost, NoteBrokerReset, NoteMailLost
from domain.order import Order, OrderAmended, OrderNormalized
from domain.stock import Ledger, Level
from projections import PROJECTIONS
from runners.engine import Engine
from runners.preparing import Preparer
from runners.projector import Projector
from runners.timers import load_timers
from tests.simulation.letters import BEGIN_MS, LEDGER
from tests.simulation.model import Model
from tests.simulation.musts import must
from tests.simulation.watch import Began, Handled

if TYPE_CHECKING:
    from tests.simulation.world import World


def verdict(world: "World") -> None:
    """Judge a run that has come to rest.

    Raises:
        Broken: with what does not hold.
    """
    world.workers[-1].settled()
    nothing_is_lost(world)
    same_again(world)
    as_it_must_be(world)
    if world.outside is not None:
        world.outside.settled()
    read_models_agree(world)


def nothing_is_lost(world: "World") -> None:
    """Check that every acknowledged letter had an effect: an event of at least the first of its copies."""
    watch = world.watch
    for payload in dict.fromkeys(world.acknowledged):
        ids = watch.handled_in.get(payload) or []
        must(bool(ids), "an acknowledged letter was never handled", world.letters[payload].mail)
        if not world.letters[payload].silent:
            must(
                any(watch.by_message[each] for each in ids), "a letter left no trace", ids, world.letters[payload].mail
            )
    said = sum(1 for entry in watch.script if isinstance(entry, Began) and entry.note is not None)
    lives = sum(1 for entry in watch.script if isinstance(entry, Began))
    must(said == max(lives - 1, 0), "a life of the mail began and nobody said why")


def same_again(world: "World") -> None:
    """Handle the same mail once more, without faults and in other batches: the same log, byte for byte."""
    log = MemoryEventLog("simulated")
    vault = MemoryVault(b"simulation")
    # What people wrote was sealed with keys that mail had made which was lost later.
    vault.keys(sorted(world.vault._keys), create=True)
    engine = Engine(log, vault, Preparer(world.channels, vault.digest_key()))
    engine.take_over()
    batch: list[Handled] = []

    def flush() -> None:
        at = 0
        while at < len(batch):
            size = world.chance.randrange(1, 40)
            part = batch[at : at + size]
            for place, handled in enumerate(part):
                if handled.suspect and place:
                    part = part[:place]
                    break
            at += len(part)
            suspect = part[0].message.seq if part[0].suspect else 0
            decided = engine.decide([handled.message for handled in part], suspect)
            engine.committed(decided, engine.commit(decided))
        batch.clear()

    for entry in world.watch.script:
        if isinstance(entry, Handled):
            batch.append(entry)
            continue
        flush()
        note: NoteBrokerReset | NoteMailLost | None = None
        if isinstance(entry.note, BrokerReset):
            note = NoteBrokerReset(entry.note.lost, entry.note.begun, entry.note.after, entry.note.reason)
        elif isinstance(entry.note, MailLost):
            note = NoteMailLost(entry.note.first, entry.note.last)
        engine.begin_life(entry.incarnation, entry.position, note, entry.at_ms)
    flush()
    ours, theirs = world.log, log
    for here, there in zip(ours._events, theirs._events, strict=False):
        must(here == there, "without faults another event was written", here, there)
    must(len(ours._events) == len(theirs._events), "without faults the log has another length")
    must(ours._payloads == theirs._payloads, "without faults other payloads were kept")
    here_row, there_row = ours.tracked(), theirs.tracked()
    must(
        (here_row.incarnation, here_row.position, here_row.digest, here_row.head)
        == (there_row.incarnation, there_row.position, there_row.digest, there_row.head),
        "without faults the log stands elsewhere",
    )
    must(engine.timers._open == load_timers(ours)._open, "without faults other timers are open")


def as_it_must_be(world: "World") -> None:
    """Have the reference handle the same messages, and compare every order, and without rules the stock, with it."""
    model = referred(world)
    for key, held in world.watch.states.items():
        if isinstance(held.state, Order):
            model.compare(key, held.state)
    if world.ruled:
        return
    states = world.watch.states
    ledger = states[LEDGER].state if LEDGER in states else Ledger()
    for sku in sorted({*ledger.levels, *model.on_hand, *model.protected}):
        level = ledger.levels.get(sku, Level())
        there = (level.on_hand, level.reserved, level.protected)
        here = (model.on_hand.get(sku, 0), model.reserved(sku), model.protected.get(sku, 0))
        must(here == there, f"stock of {sku} should be", here, "and is", there)


def referred(world: "World") -> Model:
    """Have the reference handle the same messages."""
    watch = world.watch
    views: dict[str, str] = {}
    for event in world.log._events:
        if event.tag in ("order.normalized", "order.amended"):
            facts = decode_event(event.tag, event.data)
            assert isinstance(facts, OrderNormalized | OrderAmended)
            view = facts.snapshot
            views[facts.digest[:12]] = f"{(view.modified_at.utc_ms - BEGIN_MS) // 1000}-{view.revision}-{view.status}"
    model = Model(views, ruled=world.ruled)
    for entry in watch.script:
        if isinstance(entry, Handled):
            letter = world.facts_of(entry.message.payload)
            model.take(f"{entry.incarnation}-{entry.message.seq}", letter, suspect=entry.suspect)
    return model


def read_models_agree(world: "World") -> None:
    """Check that folding in small batches and folding at once give the same rows."""
    if world.seed % 4:
        return
    small, whole = (rows(world.log, size) for size in (world.chance.choice((1, 7, 50)), 100_000))
    for name, here in small.items():
        must(here == whole[name], "the rows depend on where a batch ends", name)


def rows(log: MemoryEventLog, batch: int) -> dict[str, list[Sequence[Any]]]:
    """Project a log into tables of its own and return all rows."""
    read_models = ReadModels("sqlite://")
    try:
        projector = Projector(log, read_models, batch=batch)
        projector.run()
        found: dict[str, list[Sequence[Any]]] = {}
        for projection in PROJECTIONS:
            for table, row in read_models.rows(projection):
                found.setdefault(table, []).append(row)
        return found
    finally:
        read_models.close()
