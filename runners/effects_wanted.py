"""Which acts outside events ask for: from recorded events to jobs, whatever kinds of acts there are.

An act is asked for by what was recorded, never by a read model. What has ended is in the log, too.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from domain.catalogue import decode_event
from domain.envelope import decode_envelope
from domain.order import EffectFailed, EffectSucceeded
from runners.effects_kind import Happened, Kind
from runners.effects_store import GivenUp, Job

if TYPE_CHECKING:
    from domain.ports import EventLog, Recorded

ENDS = frozenset(
    {
        *(f"{noun}.effect_{end}" for noun in ("order", "cell") for end in ("succeeded", "failed")),
        "privacy.forgotten",
        "privacy.erasure_delayed",
    }
)
"""Events that say how an act stands."""


class Wanted(NamedTuple):
    """What a batch of events means for the acts outside."""

    begun: list[Job]
    ended: list[tuple[str, str]]
    """(key, effect)."""
    given_up: list[GivenUp]
    """Those of `ended` that failed for good."""


class Looking:
    """Looks at batches of recorded events."""

    def __init__(self, log: "EventLog", kinds: Sequence[Kind]) -> None:
        """Connect; `log` is where the rest of a stream is read."""
        self._log = log
        self._kinds = kinds

    def look(self, events: "Sequence[Recorded]", now_ms: int) -> Wanted:
        """Return which acts these events ask for, and which they say have ended."""
        wanted = Wanted([], [], [])
        given_up: dict[tuple[str, str], GivenUp] = {}
        interested = self._interested()
        for event in events:
            if event.tag in ENDS:
                fact = decode_event(event.tag, event.data)
                if isinstance(fact, EffectSucceeded):
                    wanted.ended.append((fact.key, fact.effect))
                    given_up.pop((fact.key, fact.effect), None)
                elif isinstance(fact, EffectFailed) and fact.final:
                    wanted.ended.append((fact.key, fact.effect))
                    at_ms = decode_envelope(event.envelope).at
                    failed = GivenUp(fact.key, fact.effect, event.stream, fact.reason, fact.tries, at_ms)
                    given_up[fact.key, fact.effect] = failed
            if event.tag in interested:
                happened = Happened(self._log, event)
                for kind in interested[event.tag]:
                    if now_ms - happened.envelope.at <= kind.within_ms:
                        wanted.begun.extend(kind.asked_by(happened, now_ms))
        return wanted._replace(given_up=list(given_up.values()))

    def asked_by(self, event: "Recorded", now_ms: int) -> list[tuple[Kind, Job]]:
        """Return all acts that one event asks for, however old it is."""
        happened = Happened(self._log, event)
        kinds = self._interested().get(event.tag, [])
        return [(kind, job) for kind in kinds for job in kind.asked_by(happened, now_ms)]

    def _interested(self) -> dict[str, list[Kind]]:
        found: dict[str, list[Kind]] = {}
        for kind in self._kinds:
            for tag in kind.tags:
                found.setdefault(tag, []).append(kind)
        return found
