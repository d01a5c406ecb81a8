"""Hands the world's trade to a running cell, counts the answers, and remembers what must be found in the log."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Final, Protocol

from adapters.nats.errors import BrokerError
from adapters.nats.streams import mail_info
from adapters.nats.tasks import end_tasks
from domain.canonical import Return, TranslationError
from domain.envelope import By
from domain.mail import ChannelPayload, Mail, Reply
from domain.ports import Channel
from runners.cutting import Cutter, Source, Spool
from runners.post import Postman
from runners.simulating.world import Act, Handed

CHUNK: Final = 500
UNDER_WAY_MAX: Final = 4
"""Chunks on their way at once."""
_REASONS_MAX: Final = 50
_BACK: Final = "退货".encode()


class Clock(Protocol):
    """Tells when the edge sees something that happens in the world."""

    def observed(self, at_ms: int) -> int:
        """Return the observed time of what happens at `at_ms` of the world."""
        ...


class Ledger:
    """Everything that was sent: what the log must hold."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.payloads: set[bytes] = set()
        """Fingerprint of (stream, bytes) of everything that came in as bytes and is kept as bytes."""
        self.commands: dict[tuple[str, str], int] = {}
        """(stream, command id or document) → sequence in the mail."""
        self.messages = 0

    def note(self, mail: Mail, reply: Reply, channels: Mapping[str, Channel]) -> None:
        """Remember one message that was answered."""
        self.messages += 1
        raw = getattr(mail.body, "raw", b"")
        if raw:
            reference = _reference(mail, channels)
            if reference:
                self.commands.setdefault((mail.to, f"return-{reference}"), reply.sequence)
            else:
                self.payloads.add(fingerprint(mail.to, raw))
            return
        own = getattr(mail.body, "command_id", "") or getattr(mail.body, "document", "")
        if own:
            self.commands.setdefault((mail.to, own), reply.sequence)


def fingerprint(stream: str, raw: bytes) -> bytes:
    """Return 16 bytes that stand for these bytes in this stream."""
    return blake2b(stream.encode() + b"\0" + raw, digest_size=16).digest()


def _reference(mail: Mail, channels: Mapping[str, Channel]) -> str:
    """Return the number of a return of goods, whose bytes no event names; "" for everything else."""
    body = mail.body
    if not isinstance(body, ChannelPayload) or _BACK not in body.raw:
        return ""
    with suppress(TranslationError):
        translated = channels[body.channel].translate(body.raw, body.shop)
        if isinstance(translated, Return):
            return translated.reference
    return ""


class Tally:
    """What became of what was sent."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.outcomes: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        """By what was sent: the channel of bytes, else the name of the command."""
        self.reasons: Counter[str] = Counter()

    def add(self, mail: Mail, reply: Reply) -> None:
        """Count one answer."""
        body = mail.body
        self.outcomes[reply.outcome] += 1
        self.kinds[getattr(body, "channel", "") or type(body).__name__] += 1
        reason = reply.reason or getattr(body, "reason", "")
        if reply.outcome in ("refused", "quarantined", "unmatched") and (
            reason in self.reasons or len(self.reasons) < _REASONS_MAX
        ):
            self.reasons[reason] += 1


class Courier:
    """Sends in order, some chunks ahead of their answers."""

    def __init__(self, postman: Postman, channels: Mapping[str, Channel], spool: Spool, clock: Clock) -> None:
        """Connect the parts."""
        self.postman = postman
        self._channels = channels
        self._spool = spool
        self._clock = clock
        self._cutters: dict[tuple[str, str], Cutter] = {}
        self._under_way: deque[tuple[Sequence[Mail], asyncio.Task[list[Reply]]]] = deque()
        self._number = 0
        self.sent = Ledger()
        self.tally = Tally()
        self.watch: Callable[[Mail, Reply], None] = lambda _mail, _reply: None
        """Told each answer."""

    def mails(self, what: Handed | Act) -> Iterable[Mail]:
        """Return the mail that something leads to."""
        observed = self._clock.observed(what.at_ms)
        if isinstance(what, Act):
            by = By("system" if what.who == "channel" else "person", f"sim-{what.who}", what.who)
            return (Mail(what.to, what.command, observed, by, "simulate"),)
        cutter = self._cutters.get((what.channel, what.shop))
        if cutter is None:
            cutter = Cutter(self._channels, self._spool, channel=what.channel, shop=what.shop)
            self._cutters[what.channel, what.shop] = cutter
        self._number += 1
        return cutter.cut(what.raw, Source("simulate", what.channel or "unknown", self._number, what.form), observed)

    async def send(self, mails: Sequence[Mail]) -> None:
        """Send these behind all that went before; returns when they are on their way.

        Raises:
            NoAnswer: see `Postman.send`.
        """
        for start in range(0, len(mails), CHUNK):
            part = mails[start : start + CHUNK]
            while len(self._under_way) >= UNDER_WAY_MAX:
                await self._oldest()
            self._under_way.append((part, asyncio.create_task(self.postman.send(part))))
            await asyncio.sleep(0)

    async def answered(self) -> int:
        """Wait until everything sent is answered; return the log's position that holds it all."""
        while self._under_way:
            await self._oldest()
        return self.postman.position

    async def settled(self, cell: str, tracked: "Position") -> None:
        """Wait until the cell has no mail left, its own timers' included."""
        await self.answered()
        quiet = 0
        while quiet < 2:  # noqa: PLR2004  timers that are due are mailed within a moment
            info = None
            with suppress(BrokerError):
                info = await mail_info(self.postman.connection, cell)
            level = info is not None and info.last_seq <= await asyncio.to_thread(tracked)
            quiet = quiet + 1 if level else 0
            await asyncio.sleep(0.3 if level else 0.05)

    async def cancel(self) -> None:
        """Give up what is under way."""
        await end_tasks(task for _, task in self._under_way)
        self._under_way.clear()

    async def _oldest(self) -> None:
        mails, task = self._under_way[0]
        replies = await task
        self._under_way.popleft()
        for mail, reply in zip(mails, replies, strict=True):
            self.tally.add(mail, reply)
            self.sent.note(mail, reply, self._channels)
            self.watch(mail, reply)


class Position(Protocol):
    """Returns the sequence of the last mail that is committed."""

    def __call__(self) -> int:
        """Look."""
        ...
