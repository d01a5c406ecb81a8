"""Checks: what each self-check found, one row for each; the figure "orders whose views differ" is in it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from sqlalchemy import BigInteger, Column, Text

from domain.ports import Recorded
from domain.views import ViewsCompared
from projections.base import Change, Projection, Public, nameless, stamp_of, versioned

VERSION = 1

TABLE = versioned(
    "checks",
    VERSION,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("by_whom", Text, nullable=False),
    Column("as_of", BigInteger, nullable=False),
    Column("orders", BigInteger, nullable=False),
    Column("rows_compared", BigInteger, nullable=False),
    Column("differing_orders", BigInteger, nullable=False),
    Column("differing", BigInteger, nullable=False),
    Column("differ", Text, nullable=False),
)
"""`differ`: JSON of the first differences ([{view, row, what}]). `as_of`: position of the log it looked at."""

_decode = msgspec.json.Decoder(ViewsCompared).decode
_TAG = "views.compared"
Check = tuple[Any, ...]


class Shown(msgspec.Struct, frozen=True, gc=False):
    """What a self-check found, as everybody may see it: sums of the cell, in which no order is named."""

    position: int
    """Of the event that recorded it."""
    at_ms: int
    """UTC ms."""
    by_whom: str
    """`person`, or kind and id of what is no person."""
    as_of: int
    """Position of the log it looked at."""
    orders: int
    """Orders that were looked at."""
    rows_compared: int
    differing_orders: int
    """Orders of which any view shows something else than the log; the figure is to be 0."""
    differing: int
    """Rows and states that differ, in all."""
    views: dict[str, int]
    """Table of a read model, or `channel` → how many of the first differences are there."""


class _View(msgspec.Struct, frozen=True, gc=False):
    view: str


_views = msgspec.json.Decoder(list[_View]).decode
_encode = msgspec.json.Encoder().encode


class Checks(Projection[int, Check]):
    """One row for each self-check."""

    name: ClassVar = "checks"
    version: ClassVar = VERSION
    tables: ClassVar = (TABLE,)
    tags: ClassVar = frozenset({_TAG})
    bucket: ClassVar = "checks"

    def keys(self, events: Sequence[Recorded]) -> Iterable[int]:
        """Return nothing: rows are only added."""
        del events
        return ()

    def load(self, rows: Mapping[str, Sequence[Sequence[Any]]]) -> dict[int, Check]:
        """Return the rows."""
        return {row[0]: tuple(row) for row in rows[TABLE.name]}

    def fold(self, events: Sequence[Recorded], current: Mapping[int, Check]) -> dict[int, Check | None]:
        """Return the rows of checks."""
        del current
        return {event.position: _row(event) for event in events if event.tag == _TAG}

    def changes(self, changed: Mapping[int, Check | None]) -> list[Change]:
        """Return the rows."""
        return [Change(TABLE, [row for row in changed.values() if row is not None])]

    def public(self, changed: Mapping[int, Check | None]) -> list[Public]:
        """Return the checks; the key is `check-` and the position of the event that recorded it."""
        return [
            Public(f"check-{position}", position, _encode(_shown(row)))
            for position, row in changed.items()
            if row is not None
        ]


def _shown(row: Check) -> Shown:
    position, at_ms, by_whom, as_of, orders, rows, differing_orders, differing, differ = row
    views = Counter(each.view for each in _views(differ))
    return Shown(position, at_ms, nameless(by_whom), as_of, orders, rows, differing_orders, differing, dict(views))


def _row(event: Recorded) -> Check:
    facts, stamp = _decode(event.data), stamp_of(event.envelope)
    return (
        event.position,
        stamp.at,
        stamp.who,
        facts.position,
        facts.orders,
        facts.rows,
        facts.differing_orders,
        facts.differing,
        msgspec.json.encode(facts.differ).decode(),
    )
