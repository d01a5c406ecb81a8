"""Follows the log for what concerns pulling: orders that a push only named, and mail that the broker lost."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog

from adapters.platforms.connection import Connection
from domain.catalogue import decode_event
from domain.cellular import BrokerReset, MailLost
from domain.envelope import Envelope, decode_envelope
from domain.ids import decode_id
from domain.intake import IntakeHinted
from domain.platforms import Window
from domain.time_units import DAY_MS, MINUTE_MS, SECOND_MS
from runners.pulling_store import Hinted, Pulls

if TYPE_CHECKING:
    from domain.ports import EventLog, Recorded

BATCH_EVENTS = 4_000
SETTLE_MS = 300
"""A fetch waits so long for further hints of the same order."""
BEFORE_LOSS_MS = 10 * MINUTE_MS
"""How much earlier than the last mail that was handled a lost one may tell of."""
NOTE_MS = 5 * SECOND_MS
RESTORED_SPAN_MS = 3 * DAY_MS
_HINTED = "intake.hinted"
_LOST = frozenset({"cell.mail_lost", "cell.broker_reset"})

log = structlog.get_logger(__name__)


class LogFollower:
    """Notes, durably, which orders are to be fetched and which spans to be compared. Synchronous."""

    def __init__(
        self,
        event_log: "EventLog",
        pulls: Pulls,
        connections: Callable[[], Sequence[Connection]],
        now_ms: Callable[[], int],
    ) -> None:
        """Go on where it was left; `connections` are those of now that can fetch."""
        self._log = event_log
        self._pulls = pulls
        self._connections = connections
        self._now_ms = now_ms
        self._generation, self._position = pulls.followed()
        self._first = self._generation == ""
        """Whether nothing has ever been followed: what befell before is not news."""
        self._noted = self._position
        self._noted_ms = 0

    def run_once(self) -> tuple[int, set[str]]:
        """Follow up to a batch; return the number of events read and the connections for which there is something."""
        generation = self._log.tracked().generation
        asked: list[tuple[str, Window, str]] = []
        if generation != self._generation:
            if not self._first:
                asked = self._restored()
            self._generation, self._position = generation, 0
        events = self._log.read(self._position, BATCH_EVENTS)
        hints: dict[tuple[str, str], Hinted] = {}
        for event in events:
            if event.tag == _HINTED:
                hint = self._hint(event)
                if hint is not None:
                    hints[hint.name, hint.order_no] = hint
            elif event.tag in _LOST and not self._first:
                asked += self._lost(event)
        if events:
            self._position = events[-1].position
        if hints or asked or self._far():
            # Noted, with the place in the log, in one step: a crash repeats what was read since, or nothing of it.
            self._pulls.follow(generation, self._position, list(hints.values()), asked)
            self._noted, self._noted_ms = self._position, self._now_ms()
        if len(events) < BATCH_EVENTS:
            self._first = False
        return len(events), {name for name, _ in hints} | {name for name, _, _ in asked}

    def _far(self) -> bool:
        """Tell whether the place in the log is worth a write to the disk: a busy log would have one for each commit."""
        behind = self._position - self._noted
        return behind >= BATCH_EVENTS or (behind > 0 and abs(self._now_ms() - self._noted_ms) >= NOTE_MS)

    def _hint(self, event: "Recorded") -> Hinted | None:
        fact = decode_event(event.tag, event.data)
        assert isinstance(fact, IntakeHinted)
        if not fact.order_no:
            return None
        envelope = decode_envelope(event.envelope)
        connection = connection_of(event.stream, envelope, self._connections())
        if connection is None:
            return None
        return Hinted(connection.name, fact.order_no, event.position, envelope.observed_at, self._now_ms() + SETTLE_MS)

    def _lost(self, event: "Recorded") -> list[tuple[str, Window, str]]:
        """Return what to compare after a loss: what was lost had come after the last mail that was handled."""
        fact = decode_event(event.tag, event.data)
        assert isinstance(fact, MailLost | BrokerReset)
        reason = "mail was lost" if isinstance(fact, MailLost) else "the broker was reset"
        start_ms = decode_envelope(event.envelope).at - BEFORE_LOSS_MS
        log.error("pull.compares", reason=f"{reason}: every shop is compared with its platform", since_ms=start_ms)
        window = Window(start_ms, max(self._now_ms(), start_ms + SECOND_MS))
        return [(each.name, window, reason) for each in self._connections()]

    def _restored(self) -> list[tuple[str, Window, str]]:
        """Return what to compare after the log was exchanged for an older one: the cursors promise too much."""
        now = self._now_ms()
        asked = []
        for each in self._connections():
            cursor = self._pulls.cursor(each)
            if cursor is not None:
                asked.append((each.name, Window(cursor - RESTORED_SPAN_MS, now), "the log was restored"))
        log.warning("pull.log_restored", comparisons=len(asked))
        return asked


def connection_of(stream: str, envelope: Envelope, connections: Sequence[Connection]) -> Connection | None:
    """Return who can fetch what a hint named: the connection it came by, else the one of its shop."""
    channel, _, shop = stream.partition("-")[2].partition(":")
    channel, shop = decode_id(channel), decode_id(shop)
    same = [each for each in connections if each.channel == channel]
    name = envelope.source_tag.rpartition("/")[2].partition("#")[0]
    for each in same:
        if each.name == name:
            return each
    for each in same:
        if each.shop == shop:
            return each
    return None
