"""The engine of a cell: bytes of mail in, one commit out. Synchronous, without broker: a simulation can drive it.

Many turns make one commit. The states a batch leaves behind are used by the next batch at once, before the commit is
durable; if the commit fails, all of them are dropped and read back from the log.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec
import structlog

from domain import cellular, stock, warehouse
from domain.acts import Act
from domain.catalogue import decode_event
from domain.cell import DECIDERS, Held, Message, Missing, Prepared, Taken, Timer, Turn, quarantine_turn, run_turn
from domain.decider import Command, fold
from domain.envelope import By
from domain.ids import (
    BUYERS_KEY,
    CELL_KEY,
    RULEBOOK_KEY,
    buyer_of,
    is_key,
    kind_of,
    mapping_key,
    parts_of,
    trail_key,
    warehouse_key,
)
from domain.mail import AsideReport, ChannelPayload, Mail, Replies, Reply, decode_mail
from domain.mapping import SHIPPED, InForce
from domain.order import Order
from domain.ports import Advance, Conflict, EventLog, Payload, Record, StoredSnapshot, Tracked, Vault
from domain.routing import WAREHOUSE
from domain.rulebook import InForce as Rules
from runners.preparing import Preparer, Ready, plain
from runners.timers import Timers, load_timers
from runners.words import checked

LEDGER_SNAPSHOT_EVERY = 20_000
"""Events of a ledger between two snapshots of it."""
TIMER_SNAPSHOT_EVERY = 50_000
"""Events of the log between two snapshots of the open timers."""
UNREADABLE_KEY = "intake-cell:mail"
"""Where mail is recorded that is no mail of ours."""
_PINNED = frozenset({"warehouse", "cell", "intake", "mapping", "skus", "rulebook", "buyers", "goods", "privacy"})
"""Kinds of actors that stay in memory: few, and busy."""

log = structlog.get_logger()


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """One message as the broker delivered it."""

    seq: int
    time_ms: int
    payload: bytes


class Opened(NamedTuple):
    """Messages that were read and whose data keys are there; what remains is to prepare their payloads and decide."""

    delivered: Sequence[Delivered]
    mails: list[Mail]
    keys: dict[str, bytes]

    def parts(self, size: int) -> "list[Opened]":
        """Cut into parts of at most `size` messages."""
        return [
            Opened(self.delivered[at : at + size], self.mails[at : at + size], self.keys)
            for at in range(0, len(self.delivered), size)
        ]

    def jobs(self) -> list[tuple[int, Mail, ChannelPayload]]:
        """Return the payloads that can be prepared beforehand, by the sequence of their message."""
        return [
            (message.seq, mail, mail.body)
            for message, mail in zip(self.delivered, self.mails, strict=True)
            if isinstance(mail.body, ChannelPayload) and mail.body.raw and mail.to in self.keys
        ]


class Batch(NamedTuple):
    """The turns of some messages, decided and not yet committed."""

    number: int
    records: list[Record]
    payloads: list[Payload]
    snapshots: list[StoredSnapshot]
    advance: Advance
    timers: list[Timer]
    replies: dict[str, list[Reply]]
    messages: int


NOTHING: Mapping[int, Ready] = {}


def _readable(message: Delivered) -> Mail:
    """Read a message; what is none of ours becomes a report of its bytes."""
    reply_to = ""
    try:
        mail = decode_mail(message.payload)
        if is_key(mail.to) and kind_of(mail.to) in DECIDERS:
            return mail
        reason = f"no actor has the key {plain(mail.to)!r}"
        reply_to = mail.reply_to
    except (msgspec.MsgspecError, ValueError) as error:
        reason = f"not a message of the mail: {plain(str(error))}"
    body = AsideReport("cell", "mail", "quarantined", reason, message.payload)
    return Mail(UNREADABLE_KEY, body, message.time_ms, By("system", "worker"), "mail", reply_to=reply_to)


class Engine:
    """Decides and commits the mail of one cell. `take_over` first."""

    def __init__(
        self,
        event_log: EventLog,
        vault: Vault,
        preparer: Preparer,
        *,
        fetch: Callable[[str], bytes | None] = lambda _: None,
        actors_max: int = 20_000,
    ) -> None:
        """Connect the parts.

        Args:
            event_log: the record.
            vault: data keys.
            preparer: translation and sealing.
            fetch: returns the bytes that an edge has put aside under a reference, or None.
            actors_max: most idle actors kept in memory.
        """
        self.log = event_log
        self._vault = vault
        self._preparer = preparer
        self._fetch = fetch
        self._actors_max = actors_max
        self._states: dict[str, Held] = {}
        self._touched: dict[str, int] = {}
        self._number = 0
        self._committed = 0
        self._snapshotted: dict[str, int] = {}
        self._ledgers: set[str] = set()
        """Keys of the warehouses' ledgers in memory."""
        self._timers_at = 0
        self.timers = Timers()
        self.tracked = Tracked("", 0, 0, b"", 0, 0, "")
        self._decided = self.tracked
        self._mappings = {name: mapping_key(name) for name in preparer.channels}
        """Channel → stream of its field mapping."""
        self._kept: dict[bytes, Payload] = {}
        """Payloads of decided turns that are not durable yet: what waits may be released before its bytes are."""
        self.now_ms = 0
        """Latest observed time in the committed mail."""

    # --- life

    def take_over(self) -> Tracked:
        """Become the cell's writer: a new epoch, nothing remembered, the open timers from the log."""
        tracked = self.log.take_over()
        self._forget(tracked)
        self.timers = load_timers(self.log)
        self._timers_at = tracked.head
        return tracked

    def reload(self) -> Tracked:
        """Drop everything decided since the last commit and go on from the log, in the same epoch.

        Raises:
            Conflict: another worker has taken the cell over.
        """
        tracked = self.log.tracked()
        if tracked.epoch != self.tracked.epoch:
            raise Conflict(f"epoch {tracked.epoch} has begun; ours is {self.tracked.epoch}")
        self._forget(tracked)
        self.timers = load_timers(self.log)
        self._timers_at = tracked.head
        return tracked

    def _forget(self, tracked: Tracked) -> None:
        self._states.clear()
        self._touched.clear()
        self._snapshotted.clear()
        self._ledgers.clear()
        self._kept.clear()
        self.tracked = tracked
        self._decided = tracked
        self._committed = self._number

    def begin_life(self, incarnation: str, position: int, note: Command | None, at_ms: int) -> Tracked:
        """Begin to read another life of the mail stream behind `position`, and record in one commit what befell.

        Only while no decided batch waits for its commit.

        Args:
            incarnation: name of that life; the same as before where mail in front of `position` was lost.
            position: sequence of the last message that is not to be read.
            note: lost mail, or a broker that was reset; None where nothing befell.
            at_ms: when, UTC ms.

        Raises:
            Conflict: another worker has taken the cell over.
        """
        records: list[Record] = []
        states: dict[str, Held] = {}
        if note is not None:
            # A command of the cell's own that never travels: the mail around it gives it time and author.
            mail = Mail(CELL_KEY, cellular.Tick(), at_ms, By("system", "worker"), "worker")
            message = Message(f"{incarnation}-{position}", at_ms, msgspec.structs.replace(mail, body=note))
            self._load((CELL_KEY,))
            turn = run_turn(message, self._states)
            records, states = turn.records, turn.states
        self.tracked = self.log.set_incarnation(self.tracked.epoch, incarnation, position, records=records)
        self._decided = self.tracked
        self._states.update(states)
        return self.tracked

    # --- deciding

    def open(self, delivered: Sequence[Delivered]) -> Opened:
        """Read messages and have their data keys ready, durably. Changes nothing that is decided upon."""
        mails = [_readable(message) for message in delivered]
        streams = {self._sealed_under(mail) for mail in mails if isinstance(mail.body, ChannelPayload | AsideReport)}
        self._load((*self._mappings.values(), RULEBOOK_KEY))
        return Opened(delivered, mails, dict(self._vault.keys(streams, create=True)) if streams else {})

    def in_force(self) -> dict[str, InForce]:
        """Return the field mapping of each channel as it stands behind the last decided message."""
        return {channel: self._states[key].state.in_force for channel, key in self._mappings.items()}

    def rules(self) -> Rules:
        """Return the rule book as it stands behind the last decided message."""
        rules: Rules = self._states[RULEBOOK_KEY].state.in_force
        return rules

    def decide(
        self, messages: Sequence[Delivered] | Opened, suspect: int = 0, beforehand: Mapping[int, Ready] = NOTHING
    ) -> Batch:
        """Run the turns of these messages, in order; nothing is written yet.

        Args:
            messages: what follows the last decided message without a gap, opened already or not.
            suspect: sequence of a message that killed the process before: it is quarantined unhandled.
            beforehand: payloads that were prepared already, by sequence.
        """
        delivered, mails, keys = messages if isinstance(messages, Opened) else self.open(messages)
        assert delivered[0].seq == self._decided.position + 1, "mail must follow the last decided message"
        self._load({mail.to for mail in mails} | {warehouse_key(WAREHOUSE), RULEBOOK_KEY, BUYERS_KEY})
        self._load(self._mappings.values())
        self._load(self._trails(beforehand))
        incarnation = self.tracked.incarnation
        records: list[Record] = []
        payloads: list[Payload] = []
        timers: list[Timer] = []
        replies: dict[str, list[Reply]] = {}
        self._number += 1
        number = self._number
        self._preparer.begin_batch()
        states, touched = self._states, self._touched
        now_ms = self.now_ms
        for message, mail in zip(delivered, mails, strict=True):
            taken = Message(f"{incarnation}-{message.seq}", message.time_ms, mail)
            if message.seq == suspect:
                turn, payload = self._turn(taken, keys, None, "the process died each time it handled this message")
            else:
                turn, payload = self._turn(taken, keys, beforehand.get(message.seq), "")
            if turn.records:
                records.extend(turn.records)
                states.update(turn.states)
                for stream in turn.states:
                    touched[stream] = number
                timers.extend(turn.timers)
                if payload is not None and turn.keeps_payload:
                    payloads.append(payload)
                    self._kept[payload.digest] = payload
            if mail.reply_to:
                replies.setdefault(mail.reply_to, []).append(Reply(message.seq, turn.outcome, turn.reason))
            now_ms = max(now_ms, mail.observed_at)
        self.now_ms = now_ms
        last = delivered[-1]
        previous = self._decided
        digest = sha256(last.payload).digest()
        advance = Advance(incarnation, previous.epoch, previous.position, last.seq, digest, last.time_ms)
        self._decided = msgspec.structs.replace(
            previous, position=last.seq, digest=digest, at_ms=last.time_ms, head=previous.head + len(records)
        )
        snapshots = self._snapshots()
        self._evict()
        return Batch(number, records, payloads, snapshots, advance, timers, replies, len(delivered))

    def _trails(self, beforehand: Mapping[int, Ready]) -> set[str]:
        """Return the keys of the trails that orders of the batch will be noted in, as far as that can be told now."""
        taken = [ready.prepared.command for ready in beforehand.values() if isinstance(ready.prepared, Taken)]
        views = [command.snapshot for command in taken if command.ruling.suspect_within_ms]
        return {trail_key(buyer_of(view.channel, view.customer)) for view in views if view.customer}

    def _turn(
        self, message: Message, keys: dict[str, bytes], ready: Ready | None, failure: str
    ) -> tuple[Turn, Payload | None]:
        document: Payload | None = None
        if isinstance(message.mail.body, Act):
            message, document = self._written(message, message.mail.body)
        forgotten = self._is_forgotten(message.mail.to)
        if ready is None or not self._is_read_by(message.mail.body, ready) or (forgotten and not ready.erased):
            ready = self._ready(message, keys, failure)
        prepared = ready.prepared if ready else None
        payloads: dict[str, Prepared] = {}
        while not failure:
            try:
                turn = run_turn(message, self._states, prepared, payloads)
            except Missing as absent:
                missing = absent
            except Exception as error:
                # Not the error's text: it may quote a person's data, and reasons are not sealed.
                failure = f"the turn broke: {type(error).__name__} (see worker.log)"
                log.exception("turn.broken", message=message.id, to=message.mail.to)
                break
            else:
                return turn, ready.payload if ready else document if turn.outcome != "refused" else None
            # Outside of what is put down to the message: a log that cannot be read is no message's fault.
            self._load(missing.streams)
            payloads.update(self._stored(message, missing.payloads))
        payload = ready.payload if ready else None
        digest = payload.digest.hex() if payload else ""
        self._load((message.mail.to, UNREADABLE_KEY))
        while True:
            try:
                return quarantine_turn(message, self._states, failure, digest), payload or document
            except Missing as missing:
                self._load(missing.streams)

    def _written(self, message: Message, act: Act) -> tuple[Message, Payload | None]:
        """Return an act as its sealed words say it is, and the document that came with it."""
        mail = message.mail
        key = self._key_of(mail.to)
        body, document = checked(act, mail.to, key, self._fetch)
        return msgspec.structs.replace(message, mail=msgspec.structs.replace(mail, body=body)), document

    def _ready(self, message: Message, keys: dict[str, bytes], failure: str) -> Ready | None:
        mail = message.mail
        body = mail.body
        if not isinstance(body, ChannelPayload | AsideReport):
            return None
        raw = body.raw
        if body.ref:
            fetched = self._fetch(body.ref)
            if fetched is None:
                failure = failure or f"the bytes that were put aside under {body.ref!r} are gone"
            raw = fetched or b""
        if isinstance(body, AsideReport) or failure:
            stream = self._sealed_under(mail)
            self._load((stream,) if stream.startswith("order-") else ())
            return self._preparer.aside(stream, raw, None if self._is_forgotten(stream) else keys.get(stream))
        state = self._states[mail.to].state
        known = state.digest if isinstance(state, Order) and state.quarantined is None else ""
        key = None if self._is_forgotten(mail.to) else keys.get(mail.to)
        return self._preparer.payload(body, mail.to, raw, key, known, self._mapping_of(body.channel))

    def _sealed_under(self, mail: Mail) -> str:
        """Return whose data key the bytes of a message are sealed under."""
        return self._preparer.aside_stream(mail.body, mail.to) if isinstance(mail.body, AsideReport) else mail.to

    def _key_of(self, stream: str) -> bytes | None:
        return None if self._is_forgotten(stream) else self._vault.keys((stream,), create=False).get(stream)

    def _is_forgotten(self, stream: str) -> bool:
        """Whether a stream is an order's whose person is forgotten, by its events: its key may still be there."""
        held = self._states.get(stream)
        return held is not None and isinstance(held.state, Order) and bool(held.state.forgotten)

    def _mapping_of(self, channel: str) -> InForce:
        """Return the field mapping of a channel that is in force at this message."""
        key = self._mappings.get(channel)
        in_force: InForce = SHIPPED if key is None else self._states[key].state.in_force
        return in_force

    def _is_read_by(self, body: Command, ready: Ready) -> bool:
        """Whether a payload that was prepared beforehand was read by the mapping that is in force at its message."""
        if not isinstance(body, ChannelPayload):
            return True
        in_force = self._mapping_of(body.channel)
        return in_force is ready.in_force or in_force == ready.in_force

    def _stored(self, message: Message, digests: Sequence[str]) -> dict[str, Prepared]:
        """Translate stored payloads again, for a resend."""
        if not digests:
            return {}
        stream = message.mail.to
        key = self._key_of(stream)
        wanted = {digest: bytes.fromhex(digest) for digest in digests}
        found = self.log.payloads([name for name in wanted.values() if name not in self._kept])
        in_force = self._mapping_of(parts_of(stream)[0])
        prepared: dict[str, Prepared] = {}
        for digest, name in wanted.items():
            payload = self._kept.get(name) or found.get(name)
            prepared[digest] = self._preparer.stored(stream, digest, payload, key, in_force)
        return prepared

    # --- committing

    def commit(self, batch: Batch) -> int:
        """Write the batch in one durable transaction; may run in another thread. Returns the log's head.

        Raises:
            Conflict: another worker has taken over, or what is tracked is not what was decided upon.
        """
        return self.log.append(batch.records, payloads=batch.payloads, snapshots=batch.snapshots, advance=batch.advance)

    def committed(self, batch: Batch, head: int) -> dict[str, Replies]:
        """Note that a batch is durable, and return the answers to whoever waits for them."""
        self._committed = batch.number
        for payload in batch.payloads:
            self._kept.pop(payload.digest, None)
        advance = batch.advance
        self.tracked = msgspec.structs.replace(
            self.tracked, position=advance.position, digest=advance.digest, at_ms=advance.at_ms, head=head
        )
        self.timers.apply(batch.timers)
        return {subject: Replies(head, tuple(replies)) for subject, replies in batch.replies.items()}

    def timer_snapshot(self) -> StoredSnapshot | None:
        """Return a snapshot of the open timers when the log has grown enough since the last one.

        Only while no decided batch waits for its commit: the index must stand at the log's head.
        """
        head = self.tracked.head
        if self._committed != self._number or head - self._timers_at < TIMER_SNAPSHOT_EVERY:
            return None
        self._timers_at = head
        return self.timers.snapshot(head)

    def keep(self, snapshot: StoredSnapshot) -> None:
        """Store a snapshot beside the events."""
        self.log.append((), snapshots=(snapshot,))

    # --- memory

    def _load(self, streams: Iterable[str]) -> None:
        """Bring these actors into memory; one that has no events begins at its kind's initial state."""
        states = self._states
        absent = [stream for stream in streams if stream not in states]
        if not absent:
            return
        found = self.log.select_many(absent)
        # A snapshot of another shape than this build's stands for nothing.
        foreign = [name for name, (taken, _) in found.items() if taken is not None and taken.tag != stock.SNAPSHOT_TAG]
        if foreign:
            whole = self.log.select_many(foreign, snapshots=False)
            found = {name: loaded for name, loaded in found.items() if name not in foreign} | whole
        for stream in absent:
            decider = DECIDERS[kind_of(stream)]
            if decider is warehouse.warehouse:
                self._ledgers.add(stream)
            version, state = 0, decider.initial
            loaded = found.get(stream)
            if loaded is not None:
                snapshot = loaded.snapshot
                if snapshot is not None:
                    version, state = snapshot.version, stock.from_snapshot(snapshot.data)
                    self._snapshotted[stream] = version
                state = fold(decider, [decode_event(e.tag, e.data) for e in loaded.events], state)
                version += len(loaded.events)
            states[stream] = Held(version, state)

    def _snapshots(self) -> list[StoredSnapshot]:
        """Return snapshots of the ledgers that have grown enough since their last ones."""
        taken = []
        for key in self._ledgers:
            held = self._states.get(key)
            if held is not None and held.version - self._snapshotted.get(key, 0) >= LEDGER_SNAPSHOT_EVERY:
                self._snapshotted[key] = held.version
                taken.append(StoredSnapshot(key, held.version, stock.SNAPSHOT_TAG, stock.to_snapshot(held.state)))
        return taken

    def _evict(self) -> None:
        """Let idle actors leave, those first that came first, but none whose commit is still under way."""
        states = self._states
        surplus = len(states) - self._actors_max
        if surplus <= 0:
            return
        leaving = []
        for stream in states:
            if self._touched.get(stream, 0) <= self._committed and kind_of(stream) not in _PINNED:
                leaving.append(stream)
                if len(leaving) >= surplus + self._actors_max // 10:
                    break
        for stream in leaving:
            del states[stream]
            self._touched.pop(stream, None)
