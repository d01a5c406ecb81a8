"""What the rule book says of acts outside: which notes are told at a place of the log, and how acts are tried again."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import structlog

from domain.catalogue import decode_event
from domain.ids import RULEBOOK_KEY
from domain.notices import DEFAULT_RULES, NoticeRule, in_force
from domain.rule_parts import Act
from domain.rule_table import BadRules, read_rules
from domain.rulebook import RulesChanged

if TYPE_CHECKING:
    from domain.ports import EventLog

LATEST = 8
"""Versions of the book that a batch of events is taken to span at most."""

log = structlog.get_logger(__name__)


class BookRules:
    """Reads the rule book from the log: once for each batch, since a change counts from its own place on."""

    def __init__(self, event_log: "EventLog") -> None:
        """Nothing is read yet."""
        self._log = event_log
        self._upto = -1
        """Position of the log up to which all changes are known."""
        self._changes: list[tuple[int, str]] = []
        """(position, text) of each book there was."""

    def tags(self) -> frozenset[str]:
        """Return every tag that a rule may be about in what is still to be read."""
        self._read()
        texts = ["", *(text for _, text in self._changes[-LATEST:])]
        return frozenset[str]().union(*(rule.on for text in texts for rule in _rules(text)))

    def at(self, position: int) -> Sequence[NoticeRule]:
        """Return the rules that an event at this position is told by, in their order."""
        if position > self._upto:
            self._read()
        texts = [text for place, text in self._changes if place <= position]
        return _rules(texts[-1] if texts else "")

    def _read(self) -> None:
        self._upto = self._log.tracked().head
        loaded = self._log.select_many([RULEBOOK_KEY]).get(RULEBOOK_KEY)
        events = loaded.events if loaded is not None else ()
        facts = ((each.position, decode_event(each.tag, each.data)) for each in events)
        self._changes = [(position, fact.text) for position, fact in facts if isinstance(fact, RulesChanged)]


class Policies:
    """How acts are tried again, by the newest rule book."""

    def __init__(self, event_log: "EventLog") -> None:
        """Read the book that is in force."""
        self._log = event_log
        self._acts: Mapping[str, Act] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the book anew: it has changed, or the log is another one."""
        loaded = self._log.select_many([RULEBOOK_KEY]).get(RULEBOOK_KEY)
        facts = [decode_event(each.tag, each.data) for each in loaded.events] if loaded is not None else []
        texts = [fact.text for fact in facts if isinstance(fact, RulesChanged)]
        try:
            self._acts = read_rules(texts[-1] if texts else "").acts
        except BadRules as error:  # this build cannot read what an older or newer one took
            log.error("rules.unreadable", reason=f"{error}; acts are tried as it ships")  # noqa: TRY400
            self._acts = {}

    def of(self, effect: str) -> Act | None:
        """Return what the book says of a kind of act; None where it says nothing."""
        return self._acts.get(effect)


@lru_cache(maxsize=2 * LATEST)
def _rules(text: str) -> tuple[NoticeRule, ...]:
    try:
        return in_force(read_rules(text))
    except BadRules as error:  # this build cannot read what an older or newer one took
        log.error("rules.unreadable", reason=f"{error}; people are told by what ships")  # noqa: TRY400
        return DEFAULT_RULES
