"""What a kind of act outside is: which events ask for it, who is told, and how. One file for each kind.

`runners.effects_kinds` registers them; the runner does the rest alike for all: notes, tries, waits, reports.
"""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from domain.canonical import Snapshot
from domain.catalogue import decode_event
from domain.decider import Event
from domain.envelope import Envelope, decode_envelope
from domain.order import OrderAmended, OrderNormalized
from domain.platforms import PlatformError
from domain.time_units import DAY_MS
from runners.effects_store import Job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.ports import EventLog, Recorded

ACT_WITHIN_MS = 7 * DAY_MS
"""What happened longer ago is not told to anybody by itself any more (a log that is followed from its beginning)."""
VIEWS = frozenset({"order.normalized", "order.amended"})
"""Events that hold the channel's view of an order; its personal half is sealed beside them."""


class Gone(Exception):
    """There is nobody any more who could be told; what to do."""


class Unusable(ValueError):
    """A file that says who is told cannot be used: which one, what is wrong, what to do."""


class NotYet(PlatformError):
    """The act must wait for something here at home; nobody outside is at fault, and nothing was done."""


class NobodyKnows(PlatformError):
    """An act may have been done, nobody can be asked, and doing it twice is worse than not at all: it has ended."""


class Happened:
    """A recorded event, with what may be asked of its stream."""

    def __init__(self, log: "EventLog", recorded: "Recorded") -> None:
        """Nothing is read yet."""
        self._log = log
        self.recorded = recorded
        self.key = f"{recorded.stream}@{recorded.version}"
        """Names the event for ever."""

    @cached_property
    def envelope(self) -> Envelope:
        """When, by whom, because of what."""
        return decode_envelope(self.recorded.envelope)

    @cached_property
    def fact(self) -> Event:
        """What happened."""
        return decode_event(self.recorded.tag, self.recorded.data)

    @cached_property
    def story(self) -> "Sequence[Recorded]":
        """All events of its stream so far, those that came after it too."""
        return self._log.select_many([self.recorded.stream])[self.recorded.stream].events

    @cached_property
    def snapshot(self) -> Snapshot | None:
        """The channel's view of the order as it was known when the event happened; None before the first."""
        return last_view([each for each in self.story if each.version <= self.recorded.version])


class Kind(ABC):
    """A kind of act. What it keeps open it opens when it is first needed."""

    name: ClassVar[str]
    """`effect` of its acts in the log, for ever."""
    files: ClassVar[tuple[str, ...]] = ()
    """In the data directory: when one of them changes, `refresh` is called."""
    urgent: ClassVar[bool] = False
    """Whether its acts go in a lane of their own, before all others."""
    in_turn: ClassVar[bool] = False
    """Whether its acts for one order are done one after the other, as they were asked for."""
    within_ms: ClassVar[int] = ACT_WITHIN_MS
    """Events that are older ask for nothing."""
    give_up_ms: ClassVar[int] = 3 * DAY_MS
    """A target that is down so long is not waited for any more."""
    again_all: ClassVar[bool] = True
    """Whether a person who lets an order's acts be done again means also those that were never asked for."""

    @property
    @abstractmethod
    def tags(self) -> frozenset[str]:
        """Of the events that may ask for an act now."""

    @abstractmethod
    async def refresh(self) -> None:
        """Read the files anew.

        Raises:
            Unusable, OSError: everything stays as it was.
        """

    def resting(self) -> frozenset[str]:
        """Return the targets that are told nothing now, and hear of all they have missed when they are told again."""
        return frozenset()

    @abstractmethod
    def asked_by(self, happened: Happened, now_ms: int) -> list[Job]:
        """Return the acts that an event with one of `tags` asks for."""

    @abstractmethod
    async def do(self, job: Job) -> str:
        """Do an act; return the outside's reference.

        Raises:
            PlatformError, MissingSecret, ValueError: see `domain.platforms`.
            NobodyKnows: its outcome is unknown and will stay so.
            Gone: there is nobody to tell.
        """

    async def is_done(self, job: Job) -> bool:
        """Ask whether an act that may have been done was done. What may be done twice counts as not done.

        Raises:
            PlatformError, MissingSecret, ValueError, NobodyKnows, Gone: see `do`.
        """
        del job
        return False

    def ask_after_s(self, job: Job) -> float:
        """Return how long after a try without an answer it makes sense to ask."""
        del job
        return 0.0

    def wait_s(self, target: str) -> float:
        """Return for how long a target must be left alone so that it is not told too often.

        0 = it may be told now, and this counts as one telling.
        """
        del target
        return 0.0

    @abstractmethod
    async def close(self) -> None:
        """Release all connections."""


def last_view(events: "Sequence[Recorded]") -> Snapshot | None:
    """Return the channel's latest view of an order among its events."""
    for event in reversed(events):
        fact = decode_event(event.tag, event.data) if event.tag in VIEWS else None
        if isinstance(fact, OrderNormalized | OrderAmended):
            return fact.snapshot
    return None
