"""Finance: what channels' statements say of money, and where that is not what the log says.

One kind of actor, two kinds of streams: a shop's day (`finance-<channel>:<shop>:<day>`) holds the lines of its
statements, a shop (`finance-<channel>:<shop>`) the differences that comparing them with the log has shown. Lines are a
set by their own ids: statements may come in any order, overlap, and come again, and end alike. Nothing personal is in
them: who paid is never read.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Literal

import immutables
import msgspec

from domain.decider import Command, Decider, DomainError, Event, RefusedBefore
from domain.money import AMOUNT_MAX
from domain.timehub import MS_MAX, MS_MIN, YEAR_MAX, YEAR_MIN

LineKind = Literal["paid", "refunded", "fee", "subsidy", "transfer", "unknown"]
"""The customer paid; money went back to him; the channel kept a share; it paid a share of the price; money went between
accounts of the merchant (a withdrawal); or the statement's word is none that we know."""

LINES_MAX = 500
"""Most lines of one message."""
JUDGED_MAX = 500
"""Most orders of one message."""
COUNT_MAX = 10**15
"""No statement has more lines, and no log more events."""
LINE_ID_MAX = 500
"""Longest id of a line, in characters: it stands in keys, and databases have limits."""
SUM_MAX = 10**18
"""Largest sum of money of one order, minor units; no database could hold much more."""
REASON_LENGTH_MAX = 500


class Line(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, order=True):
    """One movement of money, as a statement says it."""

    id: str
    """The channel's own number of the movement, with what sets it apart from others of the same row."""
    kind: LineKind
    amount: int
    """Minor units, in the direction of the kind; below nothing where it was taken back (a fee that is given back)."""
    currency: str
    at_ms: int
    """When, by the statement's clock, UTC ms: of the trade in a bill of payments, of the settlement in one of those."""
    order: str = ""
    """Key of the order; "" where it is of none."""
    word: str = ""
    """What the channel calls it."""


class Finding(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One difference of one order, as a comparison sees it. Money in minor units."""

    reason: str
    """One of `domain.matching.REASONS`."""
    ours: int = 0
    theirs: int = 0
    currency: str = ""
    about: str = ""
    """The line that it is about, where it is about one."""
    evidence: str = ""


class Judged(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An order that was compared, and all that differs; nothing = it agrees."""

    order: str
    """Key; of a line that is of no order: `line-` and its id."""
    day: str
    """YYYY-MM-DD of the trade, by the platforms' clock."""
    findings: tuple[Finding, ...] = ()


# --- commands


class TakeLines(Command, frozen=True):
    """Lines of a statement, all of this day."""

    statement: str
    """Digest of the statement's bytes."""
    lines: tuple[Line, ...]


class CloseStatement(Command, frozen=True):
    """A statement was read to its end: what it does not say of this day, it says nowhere."""

    statement: str
    format: str
    settles: bool
    """Whether it tells of settlements with the merchant, and not of payments on the day they are made."""
    lines: int
    refused: int


class JudgeOrders(Command, frozen=True):
    """Orders of the shop were compared with its statements."""

    command_id: str
    day: str
    """YYYY-MM-DD that was asked for."""
    as_of: int
    """Position in the log up to which it was looked at; what an older look says comes too late."""
    judged: tuple[Judged, ...]
    """Those of which something differs, or did."""
    agreeing: int = 0
    """How many others there were."""


class ExplainDifference(Command, frozen=True):
    """A person of finance says why two figures differ."""

    command_id: str
    difference: str
    reason: str


# --- events


class LineRead(Event, frozen=True):
    """A statement says this of money."""

    statement: str
    """Digest of the statement's bytes."""
    line: Line
    """What it says."""


class StatementRead(Event, frozen=True):
    """A statement of this day was read to its end."""

    statement: str
    """Digest of its bytes."""
    format: str
    """As `orderspine statements formats` names it."""
    settles: bool
    """Whether it tells of settlements with the merchant, and not of payments on the day they are made."""
    lines: int
    """Lines of this day in it."""
    refused: int
    """Rows of the whole statement that could not be read."""


class OrdersCompared(Event, frozen=True):
    """Orders of a shop were compared with its statements; what differs is told by the events behind this one."""

    day: str
    """YYYY-MM-DD that was asked for, by the platforms' clock."""
    as_of: int
    """Position in the log up to which it was looked at."""
    orders: int
    """How many were compared."""
    differing: int
    """Orders of which something differs, explained or not."""
    command: str
    """Id of the message that told of the comparison."""


class DifferenceOpened(Event, frozen=True):
    """Log and statement differ. Money in minor units."""

    difference: str
    """Its id; the same order, reason and line have the same one for ever."""
    order: str
    """Key; of a line that is of no order: `line-` and its id."""
    day: str
    """YYYY-MM-DD of the trade, by the platforms' clock."""
    reason: str
    """One of the closed list (docs/reconciliation.md)."""
    ours: int
    """What the log says."""
    theirs: int
    """What the statements say."""
    currency: str
    """ISO 4217, of both amounts, or of `theirs` where the currencies themselves differ; "" = none is known."""
    about: str = ""
    """Id of the line that it is about, where it is about one."""
    evidence: str = ""
    """For people: what shows it."""


class DifferenceExplained(Event, frozen=True):
    """A person said why."""

    difference: str
    """Its id."""
    reason: str
    """His words; nothing personal."""
    command: str
    """Id of his act."""


class DifferenceResolved(Event, frozen=True):
    """A later comparison does not show it any more: the missing statement, payment or shipment came."""

    difference: str
    """Its id."""
    order: str
    """As in the event that opened it."""
    reason: str
    """The one it was opened for."""


class FinanceRefused(Event, frozen=True):
    """A message broke a rule; nothing else happened."""

    what: str
    """Kind of the message."""
    rule: str
    """Name of the broken rule."""
    reason: str
    """For people: what was wrong with it."""
    command: str = ""
    """Id of the act or of the comparison; "" = a message about a statement, which has none."""


# --- refusals


class WrongActor(DomainError):
    """Finance knows no such command."""


class TooMuchAtOnce(DomainError):
    """More lines or orders than one message may hold."""


class BadLine(DomainError):
    """A line without an id, of more money than any amount, or of no year of ours."""


class BadFigure(DomainError):
    """A count or a sum that cannot be."""


class NoSuchDifference(DomainError):
    """There is no open difference of that id."""


class NoReason(DomainError):
    """An explanation without words, or with too many."""


# --- state


class Difference(msgspec.Struct, frozen=True, gc=False):
    """A difference that is open or explained."""

    order: str
    finding: Finding
    explained: bool = False


class Finance(msgspec.Struct, frozen=True, gc=False):
    """State of a shop's day, or of a shop."""

    lines: "immutables.Map[str, tuple[Line, ...]]" = immutables.Map()
    """Line id → all that statements say of it; more than one where they contradict each other."""
    statements: frozenset[str] = frozenset()
    """Those that were read to their end."""
    settles: frozenset[bool] = frozenset()
    as_of: int = 0
    """Of the last comparison."""
    compared: frozenset[str] = frozenset()
    """Command ids of the comparisons as of that position."""
    differences: "immutables.Map[str, Difference]" = immutables.Map()
    by_order: "immutables.Map[str, frozenset[str]]" = immutables.Map()
    """Order → its differences."""
    commands: "immutables.Map[str, str]" = immutables.Map()
    """Command id of a person → "" where it was done, why not where it was refused."""


_replace = msgspec.structs.replace


def difference_id(order: str, finding: Finding) -> str:
    """Return the name of a difference: the same order, reason and line have the same one for ever."""
    text = f"{order}\0{finding.reason}\0{finding.about}"
    return "d-" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


# --- decisions


def decide(command: Command, state: Finance, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows; nothing for what is known.

    Raises:
        DomainError: it breaks a rule.
        RefusedBefore: it was refused when it came first.
    """
    del now_ms
    match command:
        case TakeLines():
            return _take(command, state)
        case CloseStatement():
            if command.statement in state.statements:
                return ()
            _check(COUNT_MAX, command.lines, command.refused)
            return (StatementRead(command.statement, command.format, command.settles, command.lines, command.refused),)
        case JudgeOrders():
            return _judge(command, state)
        case ExplainDifference():
            return _explain(command, state)
    raise WrongActor(f"{type(command).__name__} is nothing that finance could do")


def _take(command: TakeLines, state: Finance) -> Sequence[Event]:
    if len(command.lines) > LINES_MAX:
        raise TooMuchAtOnce(f"{len(command.lines)} lines in one message; at most {LINES_MAX}")
    events = []
    known = state.lines
    for line in command.lines:
        if not 0 < len(line.id) <= LINE_ID_MAX or abs(line.amount) > AMOUNT_MAX or not MS_MIN <= line.at_ms <= MS_MAX:
            raise BadLine(
                f"line {line.id[:40]!r}: it has an id of 1 to {LINE_ID_MAX} characters, is of at most {AMOUNT_MAX:,} "
                f"minor units, and of one of the years {YEAR_MIN} to {YEAR_MAX}"
            )
        before = known.get(line.id, ())
        if line not in before:
            known = known.set(line.id, (*before, line))
            events.append(LineRead(command.statement, line))
    return events


def _check(most: int, *figures: int) -> None:
    """Refuse figures that cannot be. Raises BadFigure."""
    if not all(0 <= figure <= most for figure in figures):
        raise BadFigure(f"a figure is below 0, or above {most:,}")


def _judge(command: JudgeOrders, state: Finance) -> Sequence[Event]:
    if len(command.judged) > JUDGED_MAX:
        raise TooMuchAtOnce(f"{len(command.judged)} orders in one message; at most {JUDGED_MAX}")
    if command.as_of < state.as_of or (command.as_of == state.as_of and command.command_id in state.compared):
        return ()
    _check(COUNT_MAX, command.as_of, command.agreeing)
    for judged in command.judged:
        _check(SUM_MAX, *(abs(sum_) for finding in judged.findings for sum_ in (finding.ours, finding.theirs)))
    differing = sum(1 for judged in command.judged if judged.findings)
    events: list[Event] = [
        OrdersCompared(
            command.day, command.as_of, command.agreeing + len(command.judged), differing, command.command_id
        )
    ]
    for judged in command.judged:
        found = {difference_id(judged.order, finding): finding for finding in judged.findings}
        for name, finding in found.items():
            known = state.differences.get(name)
            if known is None or known.finding != finding:
                events.append(
                    DifferenceOpened(
                        name,
                        judged.order,
                        judged.day,
                        finding.reason,
                        finding.ours,
                        finding.theirs,
                        finding.currency,
                        finding.about,
                        finding.evidence,
                    )
                )
        for name in sorted(state.by_order.get(judged.order, frozenset())):
            if name not in found:
                gone = state.differences[name]
                events.append(DifferenceResolved(name, judged.order, gone.finding.reason))
    return events


def _explain(command: ExplainDifference, state: Finance) -> Sequence[Event]:
    if command.command_id in state.commands:
        if state.commands[command.command_id]:
            raise RefusedBefore(state.commands[command.command_id])
        return ()
    if not command.reason.strip() or len(command.reason) > REASON_LENGTH_MAX:
        raise NoReason(f"say why in 1 to {REASON_LENGTH_MAX} characters")
    if command.difference not in state.differences:
        raise NoSuchDifference(f"there is no difference {command.difference!r} here, or it has resolved itself")
    return (DifferenceExplained(command.difference, command.reason.strip(), command.command_id),)


# --- evolve


def _line_read(state: Finance, event: LineRead) -> Finance:
    said = {*state.lines.get(event.line.id, ()), event.line}
    return _replace(state, lines=state.lines.set(event.line.id, tuple(sorted(said))))


def _statement_read(state: Finance, event: StatementRead) -> Finance:
    return _replace(state, statements=state.statements | {event.statement}, settles=state.settles | {event.settles})


def _compared(state: Finance, event: OrdersCompared) -> Finance:
    earlier = state.compared if event.as_of == state.as_of else frozenset[str]()
    return _replace(state, as_of=event.as_of, compared=earlier | {event.command})


def _opened(state: Finance, event: DifferenceOpened) -> Finance:
    finding = Finding(event.reason, event.ours, event.theirs, event.currency, event.about, event.evidence)
    names = state.by_order.get(event.order, frozenset()) | {event.difference}
    return _replace(
        state,
        differences=state.differences.set(event.difference, Difference(event.order, finding)),
        by_order=state.by_order.set(event.order, names),
    )


def _explained(state: Finance, event: DifferenceExplained) -> Finance:
    known = state.differences.get(event.difference)
    commands = state.commands.set(event.command, "")
    if known is None:
        return _replace(state, commands=commands)
    differences = state.differences.set(event.difference, _replace(known, explained=True))
    return _replace(state, commands=commands, differences=differences)


def _resolved(state: Finance, event: DifferenceResolved) -> Finance:
    if event.difference not in state.differences:
        return state
    names = state.by_order.get(event.order, frozenset()) - {event.difference}
    by_order = state.by_order.set(event.order, names) if names else state.by_order.delete(event.order)
    return _replace(state, differences=state.differences.delete(event.difference), by_order=by_order)


def _refused(state: Finance, event: FinanceRefused) -> Finance:
    return _replace(state, commands=state.commands.set(event.command, event.reason)) if event.command else state


EVOLVE: Mapping[type[Event], Callable[[Finance, Any], Finance]] = {
    LineRead: _line_read,
    StatementRead: _statement_read,
    OrdersCompared: _compared,
    DifferenceOpened: _opened,
    DifferenceExplained: _explained,
    DifferenceResolved: _resolved,
    FinanceRefused: _refused,
}


def evolve(state: Finance, event: Event) -> Finance:
    """Return the state after the event."""
    return EVOLVE[type(event)](state, event)


finance = Decider(Finance(), decide, evolve)
