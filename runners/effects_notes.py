"""Notes: what happened is told to people outside, once for each event and receiver, whatever breaks.

A note is asked for by a recorded event, through rules; its identity is the event and the receiver, so that other rules
never tell it anew. Unknown outcomes: a webhook and a mail carry an id of their own and are sent again; an SMS is asked
about; of a robot's message nobody can be asked, and it is not sent twice: it has failed, says so, and is told as that.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from adapters.notify import notifier
from adapters.notify.receivers import BadReceivers, Receiver
from adapters.platforms.connection import MissingSecret
from adapters.storage.sealing import SealBroken, open_sealed
from domain.canonical import Personal
from domain.catalogue import decode_event
from domain.ids import kind_of, parts_of
from domain.notices import CUSTOMER, EFFECT, Context, Note, NoticeRule, Notifier, Occurred, note_key, notes_of
from domain.order import EffectFailed, OrderRouted
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused
from domain.time_units import DAY_MS
from runners.bootstrap import existing_vault
from runners.effects_kind import VIEWS, Gone, Happened, Kind, NobodyKnows, Unusable
from runners.effects_rules import BookRules
from runners.effects_store import Job
from runners.receivers import FILE, Told, keys_of, link_to, load

if TYPE_CHECKING:
    from domain.ports import EventLog
    from runners.settings import Settings

SMS_ASK_AFTER_S = 120.0
"""A provider's own list shows a text only some time after it was taken."""
_NEVER_TWICE: Final = "its answer never came: it may have arrived, and is not sent twice"


class Pace(NamedTuple):
    """How often something may be told."""

    most: int
    span_s: float


PACES: Mapping[str, tuple[Pace, ...]] = {
    "dingtalk": (Pace(20, 60.0),),
    "wecom": (Pace(20, 60.0),),
    "feishu": (Pace(5, 1.0), Pace(100, 60.0)),
}
"""Kind → what its platform allows (see the adapters); who tells more is shut out for minutes."""
ROBOTS = frozenset(PACES)
"""Kinds of which nobody can be asked what arrived."""


class Rules(Protocol):
    """Where the rules come from; see `BookRules`."""

    def tags(self) -> frozenset[str]:
        """Return every tag that a rule may be about."""
        ...

    def at(self, position: int) -> Sequence[NoticeRule]:
        """Return the rules in force at a position of the log."""
        ...


class Notes(Kind):
    """Tells the receivers of `notify.json`, by rules."""

    name = EFFECT
    files = (FILE,)
    urgent = True
    within_ms = DAY_MS
    give_up_ms = DAY_MS
    again_all = False

    def __init__(
        self, settings: "Settings", event_log: "EventLog", now_ms: Callable[[], int], rules: Rules | None = None
    ) -> None:
        """Nothing is read yet; `rules` are those of the rule book where nothing else is said."""
        self._settings = settings
        self._now_ms = now_ms
        self._log = event_log
        self._rules = rules or BookRules(event_log)
        self._told = Told()
        self._receivers: dict[str, Receiver] = {}
        self._words: dict[str, tuple[str, ...]] = {}
        self._notifiers: dict[str, Notifier] = {}
        self._old: dict[str, Notifier] = {}
        self._sent: dict[str, deque[float]] = {}

    @property
    def tags(self) -> frozenset[str]:
        """Return those that a rule is about, where there is anybody to tell."""
        return self._rules.tags() if self._words else frozenset()

    async def refresh(self) -> None:
        """Read `notify.json` anew; see `Kind.refresh`."""
        try:
            told = load(self._settings.path)
        except BadReceivers as error:
            raise Unusable(str(error)) from error
        found = {each.name: each for each in told.receivers if each.enabled}
        for name in [name for name in self._notifiers if found.get(name) != self._receivers.get(name)]:
            await self._forget(name)
        self._told, self._receivers = told, found
        words: dict[str, tuple[str, ...]] = {}
        for each in self._receivers.values():
            for word in dict.fromkeys((each.name, *each.roles)):
                words[word] = (*words.get(word, ()), each.name)
        self._words = words

    def asked_by(self, happened: Happened, now_ms: int) -> list[Job]:
        """Return a note for each receiver that rules name."""
        recorded = happened.recorded
        occurred = Occurred(
            recorded.stream, recorded.version, recorded.tag, happened.fact, happened.envelope.at, _about(happened)
        )
        return [
            Job(
                note_key(happened.key, note.receiver),
                self.name,
                note.receiver,
                recorded.stream,
                msgspec.json.encode(note),
                happened.envelope.at,
                now_ms,
            )
            for note in notes_of(self._rules.at(recorded.position), occurred, self._context(happened), self._words)
        ]

    async def do(self, job: Job) -> str:
        """Send a note; see `Kind.do`."""
        note = msgspec.json.decode(job.document, type=Note)
        way = self._notifier(job.target)
        numbers = await self._numbers(job)
        try:
            return await way.send(note, numbers)
        except OutcomeUnknown as error:
            receiver = self._receivers.get(job.target)
            if receiver is None or receiver.kind in ROBOTS:
                raise NobodyKnows(error.reason, _NEVER_TWICE) from None
            raise
        except (NotAuthorised, MissingSecret):
            # The next try reads secrets again: somebody may have put good ones there.
            await self._forget(job.target)
            raise

    async def is_done(self, job: Job) -> bool:
        """Ask whether a note that may have been sent was sent; see `Kind.is_done`."""
        if not job.tries:
            # Learnt of late, or asked for by a person: no try of ours is known.
            return False
        note = msgspec.json.decode(job.document, type=Note)
        known = await self._notifier(job.target).knows(note, job.due_ms, await self._numbers(job))
        if known is None:
            raise NobodyKnows("the program ended while it was sent", _NEVER_TWICE)
        return known

    def ask_after_s(self, job: Job) -> float:
        """Return how long the provider's own list needs to show a text; others need not be waited for."""
        receiver = self._receivers.get(job.target)
        return SMS_ASK_AFTER_S if receiver is not None and receiver.kind == "sms" else 0.0

    def wait_s(self, target: str) -> float:
        """Return how long a robot must be left alone so that its platform does not shut it out; see `Kind.wait_s`."""
        receiver = self._receivers.get(target)
        paces = PACES.get(receiver.kind, ()) if receiver is not None else ()
        if not paces:
            return 0.0
        sent = self._sent.setdefault(target, deque(maxlen=max(pace.most for pace in paces)))
        now = time.monotonic()
        wait_s = max(sent[-pace.most] + pace.span_s - now if len(sent) >= pace.most else 0.0 for pace in paces)
        if wait_s <= 0:
            sent.append(now)
        return max(0.0, wait_s)

    async def close(self) -> None:
        """Release all connections."""
        for way in (*self._notifiers.values(), *self._old.values()):
            await way.close()
        self._notifiers.clear()
        self._old.clear()

    async def _forget(self, name: str) -> None:
        """Make a way anew when it is needed next; the old one may be at work, and is closed by the one after it."""
        way = self._notifiers.pop(name, None)
        if way is not None:
            older = self._old.pop(name, None)
            self._old[name] = way
            if older is not None:
                await older.close()

    def _notifier(self, name: str) -> Notifier:
        way = self._notifiers.get(name)
        if way is None:
            receiver = self._receivers.get(name)
            if receiver is None:
                raise Gone(f"there is no receiver {name} any more, or it is off; add it again, or drop the note")
            way = notifier(receiver, keys_of(self._settings.path, receiver), self._now_ms)
            self._notifiers[name] = way
        return way

    async def _numbers(self, job: Job) -> tuple[str, ...]:
        """Return the customer's number for a note to him, opened now; nothing for all others."""
        if job.target != CUSTOMER:
            return ()
        return (await asyncio.to_thread(phone_of, self._settings, self._log, job.stream),)

    def _context(self, happened: Happened) -> Context:
        stream = happened.recorded.stream
        if kind_of(stream) != "order":
            return Context(zone=self._settings.zone)
        channel, shop, order_no = parts_of(stream)
        order = f"{channel}:{shop}:{order_no}"
        link = link_to(self._told.link, order)
        return Context(order, channel, shop, order_no, happened.snapshot, _tags(happened), link, self._settings.zone)


def _tags(happened: Happened) -> tuple[str, ...]:
    """Return what rules call the order, as it was routed last before the event."""
    for each in reversed(happened.story):
        if each.tag == "order.routed" and each.version <= happened.recorded.version:
            routed = decode_event(each.tag, each.data)
            return routed.tags if isinstance(routed, OrderRouted) else ()
    return ()


def phone_of(settings: "Settings", event_log: "EventLog", stream: str) -> str:
    """Return the receiver's phone from an order's sealed half, as its channel gave it last.

    Raises:
        PlatformRefused: there is none, or it cannot be opened; nothing of it is in the text.
        PlatformBusy: the keys' store is not there just now.
    """
    events = event_log.select_many([stream])[stream].events
    sealed = next((event.sealed for event in reversed(events) if event.tag in VIEWS and event.sealed is not None), None)
    if sealed is None:
        raise PlatformRefused("the order has no personal half", code="no-phone")
    vault = existing_vault(settings)
    if vault is None:
        raise PlatformBusy("the store of keys is not there")
    try:
        key = vault.keys([stream], create=False).get(stream)
    finally:
        vault.close()
    if key is None:
        raise PlatformRefused("the order's personal half was erased", code="erased")
    try:
        receiver = msgspec.json.decode(open_sealed(key, stream, sealed), type=Personal).receiver
    except (SealBroken, msgspec.MsgspecError):
        raise PlatformRefused("the order's personal half cannot be opened", "run `orderspine audit verify`") from None
    phone = "".join(char for char in str(receiver.get("phone", "")) if char not in " -()")
    if not phone.removeprefix("+").isdecimal() or len(phone) < _PHONE_MIN:
        raise PlatformRefused(
            "the order's channel gives no whole phone number",
            "tell the customer over the channel itself",
            code="masked",
        )
    return phone


_PHONE_MIN: Final = 7


def _about(happened: Happened) -> str:
    """Return the tag of the event that a failed note was about."""
    fact = happened.fact
    if not isinstance(fact, EffectFailed) or fact.effect != EFFECT:
        return ""
    event = fact.key.rpartition("/")[0]
    version = event.rpartition("@")[2]
    return next((each.tag for each in happened.story if str(each.version) == version), "")
