"""Finance: what statements say, where the log says something else, and which orders a day is about.

The tables of lines, statements and days are only added to. A difference is a row that is opened, explained, resolved.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar
from zlib import crc32

import msgspec
from sqlalchemy import BigInteger, Column, Index, SmallInteger, Text

from domain.catalogue import TYPES, decode_event
from domain.finance import (
    DifferenceExplained,
    DifferenceOpened,
    DifferenceResolved,
    LineRead,
    StatementRead,
)
from domain.ids import finance_key, parts_of, token_of
from domain.matching import day_of
from domain.ports import Recorded
from projections.base import FIXED, Change, Projection, Public, as_text, nameless, observed_at_of, stamp_of, versioned

VERSION = 2

TABLE = versioned(
    "finance_differences",
    VERSION,
    Column("id", Text, primary_key=True),
    Column("channel", Text, nullable=False, info={FIXED: True}),
    Column("shop", Text, nullable=False, info={FIXED: True}),
    Column("key", Text, nullable=False, info={FIXED: True}),
    Column("day", Text, nullable=False),
    Column("reason", Text, nullable=False, info={FIXED: True}),
    Column("state", Text, nullable=False),
    Column("ours", BigInteger, nullable=False),
    Column("theirs", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("about", Text, nullable=False, info={FIXED: True}),
    Column("evidence", Text, nullable=False),
    Column("explanation", Text, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("updated_by", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
)
"""`state`: open, explained or resolved. `key`: of the order, or `line-…`. Money in minor units."""
_BY_POSITION = Index(f"finance_differences_v{VERSION}_position", TABLE.c.position)
_BY_DAY = Index(f"finance_differences_v{VERSION}_day", TABLE.c.day, TABLE.c.state)

LINES = versioned(
    "finance_lines",
    VERSION,
    Column("channel", Text, primary_key=True),
    Column("shop", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("line", Text, primary_key=True),
    Column("nth", SmallInteger, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("word", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What statements say; `nth` tells lines of one id apart that contradict each other (it is a digest of the line)."""
_BY_KEY = Index(f"finance_lines_v{VERSION}_key", LINES.c.key)

STATEMENTS = versioned(
    "finance_statements",
    VERSION,
    Column("channel", Text, primary_key=True),
    Column("shop", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("statement", Text, primary_key=True),
    Column("format", Text, nullable=False),
    Column("settles", SmallInteger, nullable=False),
    Column("lines", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

DAYS = versioned(
    "finance_days",
    VERSION,
    Column("day", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("position", BigInteger, nullable=False, info={FIXED: True}),
    sqlite_with_rowid=False,
)
"""Orders to which something of money happened on a day: paid, refunded, shipped (in part, too), over."""


class Row(msgspec.Struct, gc=False):
    """A difference, in the order of its table's columns."""

    id: str
    channel: str
    shop: str
    key: str
    day: str
    reason: str
    state: str
    ours: int
    theirs: int
    currency: str
    about: str
    evidence: str
    explanation: str
    opened_ms: int
    updated_ms: int
    updated_by: str
    position: int


class Shown(msgspec.Struct, frozen=True, gc=False):
    """A difference between log and statements, as everybody may see it: no words of people, and none of their names."""

    difference: str
    """Its id: the same order, reason and line have the same one for ever."""
    channel: str
    shop: str
    order: str
    """Key of the order; of a line that is of no order: `line-` and its id."""
    day: str
    """YYYY-MM-DD of the trade, by the platforms' clock."""
    reason: str
    """One of the closed list (docs/reconciliation.md)."""
    state: str
    """open, explained (a person said why) or resolved (a later comparison does not show it any more)."""
    ours: int
    """What the log says, minor units."""
    theirs: int
    """What the statements say, minor units."""
    currency: str
    """ISO 4217; "" = none is known."""
    about: str
    """Id of the line that it is about, where it is about one."""
    evidence: str
    """What shows it, as the comparison tells it."""
    opened_ms: int
    """UTC ms."""
    updated_ms: int
    """UTC ms."""
    updated_by: str
    """`person`, or kind and id of what is no person."""
    position: int


class Batch(msgspec.Struct, gc=False):
    """What a batch adds beside the differences."""

    lines: list[tuple[Any, ...]] = []
    statements: list[tuple[Any, ...]] = []
    days: list[tuple[str, str, int]] = []


_OF_DIFFERENCES = frozenset(
    {"finance.difference_opened", "finance.difference_explained", "finance.difference_resolved"}
)
_OWN = frozenset(tag for tag in TYPES if tag.startswith("finance."))
_TIMES: Mapping[str, str] = {
    "order.paid": "paid_ms",
    "order.deposit_paid": "",
    "order.payment_recorded": "at_ms",
    "order.refunded": "",
    "order.partially_shipped": "shipped_ms",
    "order.shipped": "shipped_ms",
    "order.completed": "completed_ms",
    "order.cancelled": "",
}
"""Tag → field that says when; "" = when it was observed."""
_ADDED = ""
"""Key of the batch's rows that are only added."""


class _Named(msgspec.Struct, frozen=True, gc=False):
    difference: str


class _When(msgspec.Struct, frozen=True, gc=False):
    """What an event of an order says of when, UTC ms; 0 = nothing."""

    paid_ms: int = 0
    at_ms: int = 0
    shipped_ms: int = 0
    completed_ms: int = 0


_named = msgspec.json.Decoder(_Named).decode
_when = msgspec.json.Decoder(_When).decode
_encode = msgspec.json.Encoder().encode


class Finance(Projection[str, "Row | Batch"]):
    """One row for each difference; rows of lines, statements and days beside them."""

    name: ClassVar = "finance"
    version: ClassVar = VERSION
    tables: ClassVar = (TABLE, LINES, STATEMENTS, DAYS)
    bucket: ClassVar = "finance"
    by_channel: ClassVar = True

    def keys(self, events: Sequence[Recorded]) -> Iterable[str]:
        """Return the differences that may be known."""
        return {_named(event.data).difference for event in events if event.tag in _OF_DIFFERENCES}

    def load(self, rows: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, "Row | Batch"]:
        """Return the differences of these rows."""
        return {row[0]: Row(*row) for row in rows[TABLE.name]}

    def fold(self, events: Sequence[Recorded], current: Mapping[str, "Row | Batch"]) -> dict[str, "Row | Batch | None"]:
        """Return the changed differences, and what is added."""
        changed: dict[str, Row] = {}
        batch = Batch()
        for event in events:
            tag = event.tag
            field = _TIMES.get(tag)
            if field is not None:
                at_ms = (getattr(_when(event.data), field) if field else 0) or observed_at_of(event.envelope)
                batch.days.append((day_of(at_ms), event.stream, event.position))
            elif tag in _OWN:
                _fold(changed, current, batch, event)
        found: dict[str, Row | Batch | None] = dict(changed)
        if batch.lines or batch.statements or batch.days:
            found[_ADDED] = batch
        return found

    def changes(self, changed: Mapping[str, "Row | Batch | None"]) -> list[Change]:
        """Return the rows."""
        rows = [msgspec.structs.astuple(each) for each in changed.values() if isinstance(each, Row)]
        batch = changed.get(_ADDED)
        added = batch if isinstance(batch, Batch) else Batch()
        return [
            Change(TABLE, rows),
            Change(LINES, added.lines),
            Change(STATEMENTS, added.statements),
            Change(DAYS, added.days),
        ]

    def public(self, changed: Mapping[str, "Row | Batch | None"]) -> list[Public]:
        """Return the differences; the key is the encoded `channel:shop:difference`."""
        return [
            Public(token_of(f"{finance_key(row.channel, row.shop)}:{row.id}"), row.position, _encode(_shown(row)))
            for row in changed.values()
            if isinstance(row, Row)
        ]


def _shown(row: Row) -> Shown:
    return Shown(
        row.id,
        row.channel,
        row.shop,
        row.key,
        row.day,
        row.reason,
        row.state,
        row.ours,
        row.theirs,
        row.currency,
        row.about,
        row.evidence,
        row.opened_ms,
        row.updated_ms,
        nameless(row.updated_by),
        row.position,
    )


def _fold(changed: dict[str, Row], current: Mapping[str, "Row | Batch"], batch: Batch, event: Recorded) -> None:
    facts = decode_event(event.tag, event.data)
    if isinstance(facts, LineRead):
        channel, shop, day = _where(event.stream)
        line = facts.line
        nth = _nth(line)
        batch.lines.append(
            (
                channel,
                shop,
                day,
                line.id,
                nth,
                line.order,
                line.kind,
                line.amount,
                line.currency,
                line.at_ms,
                line.word,
                event.position,
            )
        )
    elif isinstance(facts, StatementRead):
        where = _where(event.stream)
        told = (facts.statement, facts.format, int(facts.settles), facts.lines, facts.refused, event.position)
        batch.statements.append((*where, *told))
    elif isinstance(facts, DifferenceOpened | DifferenceExplained | DifferenceResolved):
        stamp = stamp_of(event.envelope)
        at_ms, who = stamp.at, stamp.who
        known = changed.get(facts.difference) or current.get(facts.difference)
        if isinstance(facts, DifferenceOpened):
            channel, shop, _ = _where(event.stream)
            changed[facts.difference] = Row(
                facts.difference,
                channel,
                shop,
                facts.order,
                facts.day,
                facts.reason,
                "open",
                facts.ours,
                facts.theirs,
                facts.currency,
                facts.about,
                facts.evidence,
                "",
                known.opened_ms if isinstance(known, Row) else at_ms,
                at_ms,
                who,
                event.position,
            )
        elif isinstance(known, Row):
            if isinstance(facts, DifferenceExplained):
                known.state, known.explanation = "explained", facts.reason
            else:
                known.state = "resolved"
            known.updated_ms, known.updated_by, known.position = at_ms, who, event.position
            changed[facts.difference] = known


def _where(stream: str) -> tuple[str, str, str]:
    channel, shop, day = (*map(as_text, parts_of(stream)), "")[:3]
    return channel, shop, day


def _nth(line: Any) -> int:
    """Return a small number that is the same for the same line, whatever came before it."""
    text = f"{line.kind}\0{line.amount}\0{line.currency}\0{line.at_ms}\0{line.order}\0{line.word}"
    return crc32(text.encode("utf-8", "surrogatepass")) & 0x7FFF
