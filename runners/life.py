"""The life of one actor as an auditor reads it: message by message, each with what it led to, and why.

What a message led to is a tree: its own events, and those of other actors that they caused in the same turn. Beside
each event stand the rules that it names, as they were then, and what answered it later: reports on acts outside,
decisions, scans.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from adapters.storage.sealing import SealBroken, open_sealed
from domain.catalogue import decode_event
from domain.decider import fold
from domain.envelope import By
from domain.ids import RULEBOOK_KEY, kind_of
from domain.order import order, shown_status
from domain.ports import Vault
from domain.rule_table import BadRules, rows_of
from domain.rulebook import RulesChanged
from runners.history import ERASED, Entry, history

if TYPE_CHECKING:
    from runners.replay import ReplayLog

GONE = "gone"
"""Stands for bytes that are not in the log."""
_OF_EFFECT = re.compile(r"(?P<stream>.+)@(?P<version>\d+)(/.*)?", re.DOTALL)
_BLOCK = re.compile(r"(?m)^\[\[?[^\n]*$")


class Rule(msgspec.Struct, frozen=True):
    """A rule as it was when an event named it."""

    id: str
    version: int
    """Of the rule book."""
    text: str
    """As it stands in the document; "" where the book cannot be found any more, or names it elsewhere."""


class Answer(msgspec.Struct, frozen=True):
    """A later event that answers an earlier one."""

    version: int
    position: int
    at: str
    tag: str
    label: str
    by: By
    facts: Any


class Node(msgspec.Struct):
    """An event in the tree of its turn."""

    stream: str
    version: int
    position: int
    tag: str
    label: str
    by: By
    facts: Any
    changes: dict[str, tuple[Any, Any]] = {}
    """What it changed in the actor whose life this is: field → (before, after)."""
    rules: list[Rule] = []
    answers: list[Answer] = []
    """What came later because of it."""
    answered: list[int] = []
    """Versions of the events that it answers."""
    digest: str = ""
    """Of the raw bytes that came in, hex."""
    payload: str | None = None
    """These bytes as text, where they were asked for; `erased` without their key, `gone` where there are none."""
    personal: Any = None
    leaf: str = ""
    caused: "list[Node]" = []


class Turn(msgspec.Struct, frozen=True):
    """A message, and all that it led to."""

    message: str
    at: str
    observed_at: str
    by: By
    source_tag: str
    correlation: str
    rules: int
    """Version of the rule book; 0 = none."""
    caused: list[Node]


class Life(msgspec.Struct, frozen=True):
    """Everything about one actor."""

    stream: str
    state: str
    """State of an order as people see it; "" of other actors."""
    events: int
    """In its stream; `turns` may hold the latest only."""
    turns: list[Turn]
    entries: list[Entry]
    """The same events one by one, as `runners.history` tells them."""


def life(
    log: "ReplayLog", stream: str, zone: str, *, vault: Vault | None = None, payloads: bool = False, last: int = 0
) -> Life:
    """Return the life of an actor.

    Args:
        log: the log.
        stream: key of the actor.
        zone: the merchant's zone.
        vault: opens personal blocks and payloads; None = they are not shown.
        payloads: whether what came in is shown, too.
        last: only so many of the latest events; 0 = all.
    """
    entries = list(history(log, stream, zone, vault=vault, last=last))
    answers, answered = _answers(stream, entries)
    books = _Books(log)
    turns = []
    for message, group in groupby(entries, lambda entry: entry.message):
        mine = list(group)
        nodes: list[tuple[str, Node]] = []
        for entry in mine:
            node = Node(
                stream,
                entry.version,
                entry.position,
                entry.tag,
                entry.label,
                entry.by,
                entry.facts,
                entry.changes,
                books.rules(entry.facts, entry.rules),
                answers.get(entry.version, []),
                answered.get(entry.version, []),
                entry.payload,
                _payload(log, vault, entry.payload) if payloads and vault is not None else None,
                entry.personal,
                entry.leaf,
                [],
            )
            nodes.append((entry.causation, node))
        for each in mine[0].related:
            node = Node(each.stream, each.version, each.position, each.tag, each.label, each.by, each.facts, caused=[])
            nodes.append((each.causation, node))
        first = mine[0]
        head = (message, first.at, first.observed_at, _sender(mine), first.source_tag, first.correlation)
        turns.append(Turn(*head, first.rules, _tree(nodes)))
    state, version = _stand(log, stream)
    return Life(stream, state, version, turns, entries)


def _sender(entries: Sequence[Entry]) -> By:
    """Return who sent the message, as far as the actor's own events tell: what rules did in its turn is theirs."""
    return next((each.by for each in entries if each.causation == each.message), entries[0].by)


def _tree(nodes: list[tuple[str, Node]]) -> list[Node]:
    """Hang every event below its cause; what the message itself caused stands at the top."""
    known = {f"{node.stream}@{node.version}": node for _, node in nodes}
    roots: list[Node] = []
    for causation, node in sorted(nodes, key=lambda each: each[1].position):
        parent = known.get(causation)
        (roots if parent is None else parent.caused).append(node)
    return roots


def _stand(log: "ReplayLog", stream: str) -> tuple[str, int]:
    """Return an order's state as people see it ("" of other actors), and the actor's version."""
    events = log.select(stream)
    if kind_of(stream) != "order":
        return "", len(events)
    return shown_status(fold(order, [decode_event(each.tag, each.data) for each in events])), len(events)


def _payload(log: "ReplayLog", vault: Vault, digest: str) -> str | None:
    if not digest:
        return None
    name = bytes.fromhex(digest)
    found = log.payloads((name,)).get(name)
    if found is None:
        return GONE
    key = vault.keys((found.stream,), create=False).get(found.stream)
    if key is None:
        return ERASED
    try:
        raw = open_sealed(key, found.stream, found.sealed)
    except SealBroken as broken:
        return f"unreadable: {broken}"
    try:
        return msgspec.json.format(raw, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return raw.decode("utf-8", "backslashreplace")


# --- answers


class _Question(NamedTuple):
    field: str
    """By which a question and its answers are told apart."""
    answers: frozenset[str]


_QUESTIONS: Mapping[str, _Question] = {
    "order.intercepted": _Question("interception", frozenset({"order.resolved"})),
    "order.approval_requested": _Question(
        "approval",
        frozenset({"order.approved", "order.rejected", "order.approval_withdrawn", "order.approval_escalated"}),
    ),
    "order.pick_list_issued": _Question(
        "allocation",
        frozenset(
            {
                "order.processed",
                "order.picked",
                "order.delivery_confirmed",
                "order.partially_shipped",
                "order.shipped",
                "order.released",
            }
        ),
    ),
    "order.timer_set": _Question("timer", frozenset({"order.timer_cleared"})),
    "order.quarantined": _Question("item", frozenset({"order.queue_released"})),
}
"""Event that asks → what answers it. A queue's release names what it releases as `behind`."""
_EFFECTS = frozenset({"order.effect_succeeded", "order.effect_failed", "cell.effect_succeeded", "cell.effect_failed"})


def _answers(stream: str, entries: Sequence[Entry]) -> tuple[dict[int, list[Answer]], dict[int, list[int]]]:
    """Return version → what answered that event later, and version → the events that it answers."""
    answers: dict[int, list[Answer]] = {}
    answered: dict[int, list[int]] = {}
    asked: dict[tuple[str, Any], int] = {}
    for entry in entries:
        facts = entry.facts
        found: list[int] = []
        if entry.tag in _EFFECTS:
            named = _OF_EFFECT.fullmatch(facts["key"])
            if named is not None and named["stream"] == stream:
                found.append(int(named["version"]))
        for tag, question in _QUESTIONS.items():
            if entry.tag in question.answers:
                value = facts.get("behind" if question.field == "item" else question.field)
                version = asked.get((tag, value))
                if version is not None:
                    found.append(version)
        for version in found:
            told = (entry.version, entry.position, entry.at, entry.tag, entry.label, entry.by, facts)
            answers.setdefault(version, []).append(Answer(*told))
        if found:
            answered[entry.version] = found
        if entry.tag in _QUESTIONS:
            asked[entry.tag, facts.get(_QUESTIONS[entry.tag].field)] = entry.version
    return answers, answered


# --- rules as they were


class _Books:
    """The rule books that were in force, by version."""

    def __init__(self, log: "ReplayLog") -> None:
        self._log = log
        self._texts: dict[int, str] | None = None

    def rules(self, facts: Any, version: int) -> list[Rule]:
        """Return the rules that an event names, each once."""
        names = list(dict.fromkeys(_named(facts)))
        return [Rule(name, version, rule_text(self._text(version), name)) for name in names]

    def _text(self, version: int) -> str:
        if self._texts is None:
            changes = [decode_event(each.tag, each.data) for each in self._log.select(RULEBOOK_KEY)]
            self._texts = {each.version: each.text for each in changes if isinstance(each, RulesChanged)}
        return self._texts.get(version, "")


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        name = value.get("rule")
        # A refusal names the broken rule of the program by the same word, and what was refused beside it.
        if isinstance(name, str) and name and "what" not in value:
            yield name
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _named(each)


def rule_text(document: str, name: str) -> str:
    """Return a rule as it stands in a rule book, or as its keys and values where the document is no TOML."""
    starts = [match.start() for match in _BLOCK.finditer(document)]
    quoted = re.compile(rf"(?m)^\s*id\s*=\s*(['\"]){re.escape(name)}\1")
    for start, end in zip(starts, [*starts[1:], len(document)], strict=False):
        if quoted.search(document[start:end]):
            return document[start:end].strip()
    try:
        rows = rows_of(document)
    except BadRules:
        return ""
    for (kind, each), row in rows.items():
        if each == name:
            return msgspec.json.format(msgspec.json.encode({kind: row}), indent=2).decode()
    return ""
