"""The desk: what waits for people on orders, in one list, and what was said about each order.

Open approvals, unread mentions, open interceptions and open complaints stand in one table, by role and person; what is
due first comes first, then what has waited longest. Beside it stands each order's thread: who did what, as which role
and when; what was written is sealed, as it is in the log.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Text

from domain.acts import ROLES
from domain.approvals import (
    ApprovalEscalated,
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalWithdrawn,
    DocumentAttached,
    DocumentDetached,
)
from domain.care import ComplaintClosed, OrderComplained, OrderEnquired
from domain.catalogue import TAGS
from domain.ids import token_of
from domain.order import InterceptionResolved, OrderIntercepted
from domain.ports import Recorded
from domain.talk import MentionsRead, OrderCommented
from projections.base import FIXED, Change, Projection, Public, Stamp, stamp_of, versioned
from projections.desk_document import Desked, Item, shown

VERSION = 2

TABLE = versioned(
    "desk",
    VERSION,
    Column("key", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("rounds", Integer, nullable=False),
    Column("complaints", Integer, nullable=False),
    Column("gift_complaints", Integer, nullable=False),
    Column("enquiries", Integer, nullable=False),
    Column("self_service", Integer, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("waiting", Integer, nullable=False),
    Column("document", Text, nullable=False),
)
"""One row for each order that people have something to do with: the figures are counts, `waiting` the open items.
`updated_at`: UTC ms. `document`: JSON of `Desked`."""

ITEM_TABLE = versioned(
    "desk_items",
    VERSION,
    Column("key", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("item", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What waits, of each order. `kind`: approval, mention, interception or complaint. `role`, `person`: for whom; "" =
for nobody of that sort. `due_ms`, `since_ms`: UTC ms, 0 = never due."""

_BY_POSITION = Index(f"desk_v{VERSION}_position", TABLE.c.position)
_BY_ROLE = Index(f"desk_items_v{VERSION}_role", ITEM_TABLE.c.role, ITEM_TABLE.c.due_ms)
_BY_PERSON = Index(f"desk_items_v{VERSION}_person", ITEM_TABLE.c.person)

THREAD_TABLE = versioned(
    "desk_thread",
    VERSION,
    Column("key", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("position", BigInteger, nullable=False, info={FIXED: True}),
    Column("at", BigInteger, nullable=False, info={FIXED: True}),
    Column("tag", Text, nullable=False, info={FIXED: True}),
    Column("who", Text, nullable=False, info={FIXED: True}),
    Column("role", Text, nullable=False, info={FIXED: True}),
    Column("round", Integer, nullable=False, info={FIXED: True}),
    Column("facts", Text, nullable=False, info={FIXED: True}),
    Column("sealed", LargeBinary, info={FIXED: True}),
    sqlite_with_rowid=False,
)
"""What people did and said, of each order in order. `round`: of communication, 0 where nobody spoke. `facts`: JSON of
the event, which is not personal; `sealed`: what was written. Rows are only added."""


class Entry(msgspec.Struct, gc=False):
    """An order while it is folded."""

    document: Desked
    position: int = 0
    updated_at: int = 0
    gone: dict[str, Item] = {}
    """Items of the batch that wait no more."""
    said: list[tuple[Any, ...]] = []
    """Rows of the thread that the batch adds."""

    def open(self, item: Item) -> None:
        """Let something wait."""
        name = f"{item.kind}/{item.item}"
        self.document.items[name] = item
        self.gone.pop(name, None)

    def end(self, name: str) -> None:
        """Let it wait no more."""
        item = self.document.items.pop(name, None)
        if item is not None:
            self.gone[name] = item


_replace = msgspec.structs.replace


def _asked(entry: Entry, facts: ApprovalRequested, event: Recorded, at: int) -> None:
    waits = Item("approval", facts.approval, facts.role, facts.form, at, event.position, due_ms=facts.due_ms)
    entry.open(waits)


def _given(entry: Entry, facts: ApprovalGiven, _: Recorded, __: int) -> None:
    if facts.complete:
        entry.end(f"approval/{facts.approval}")


def _rejected(entry: Entry, facts: ApprovalRejected, event: Recorded, _: int) -> None:
    known = entry.document.items.get(f"approval/{facts.approval}")
    if known is not None:
        advice = "cancel the order, or ask once more (orderspine request-approval)"
        entry.open(
            _replace(known, role="operations", state="rejected", advice=advice, due_ms=0, position=event.position)
        )


def _escalated(entry: Entry, facts: ApprovalEscalated, event: Recorded, _: int) -> None:
    known = entry.document.items.get(f"approval/{facts.approval}")
    if known is not None:
        entry.open(_replace(known, role=facts.role, state="escalated", position=event.position))


def _withdrawn(entry: Entry, facts: ApprovalWithdrawn, _: Recorded, __: int) -> None:
    entry.end(f"approval/{facts.approval}")


def _commented(entry: Entry, facts: OrderCommented, event: Recorded, at: int) -> None:
    document = entry.document
    document.messages, document.rounds = facts.message, facts.round
    for called in facts.mentions:
        role, person = (called, "") if called in ROLES else ("", called)
        name = f"{facts.message}/{called}"
        what = f"{facts.person} ({facts.role})"
        entry.open(Item("mention", name, role, what, at, event.position, person, message=facts.message))


def _read(entry: Entry, facts: MentionsRead, _: Recorded, __: int) -> None:
    for number in facts.messages:
        for reader in (facts.person, facts.role):
            entry.end(f"mention/{number}/{reader}")


def _complained(entry: Entry, facts: OrderComplained, event: Recorded, at: int) -> None:
    document = entry.document
    document.complaints += 1
    document.gift_complaints += facts.gift
    entry.open(Item("complaint", facts.complaint, "service", facts.cause, at, event.position))


def _closed(entry: Entry, facts: ComplaintClosed, _: Recorded, __: int) -> None:
    entry.end(f"complaint/{facts.complaint}")


def _enquired(entry: Entry, facts: OrderEnquired, _: Recorded, __: int) -> None:
    document = entry.document
    document.enquiries += 1
    document.self_service += facts.self_service
    document.repeats += facts.repeats > 0


def _intercepted(entry: Entry, facts: OrderIntercepted, event: Recorded, at: int) -> None:
    waits = Item("interception", facts.interception, facts.role, facts.reason, at, event.position, advice=facts.advice)
    entry.open(waits)


def _resolved(entry: Entry, facts: InterceptionResolved, _: Recorded, __: int) -> None:
    entry.end(f"interception/{facts.interception}")


def _nothing(_: Entry, __: Any, ___: Recorded, ____: int) -> None:
    """It stands in the thread, and waits for nobody."""


_Show = Callable[[Entry, Any, Recorded, int], None]
_SHOWN: Mapping[type, _Show] = {
    ApprovalRequested: _asked,
    ApprovalGiven: _given,
    ApprovalRejected: _rejected,
    ApprovalEscalated: _escalated,
    ApprovalWithdrawn: _withdrawn,
    DocumentAttached: _nothing,
    DocumentDetached: _nothing,
    OrderCommented: _commented,
    MentionsRead: _read,
    OrderComplained: _complained,
    ComplaintClosed: _closed,
    OrderEnquired: _enquired,
    OrderIntercepted: _intercepted,
    InterceptionResolved: _resolved,
}
RULES: Mapping[str, tuple[Callable[[bytes], Any], _Show, bool]] = {
    TAGS[kind]: (
        msgspec.json.Decoder(kind).decode,
        show,
        kind not in (OrderIntercepted, InterceptionResolved, MentionsRead),
    )
    for kind, show in _SHOWN.items()
}
"""Tag → (decoder, what it does to the desk, whether it stands in the thread)."""

_document = msgspec.json.Decoder(Desked).decode
_encode = msgspec.json.Encoder().encode


class Desk(Projection[str, Entry]):
    """What waits for people, and what was said."""

    name: ClassVar = "desk"
    version: ClassVar = VERSION
    tables: ClassVar = (TABLE, ITEM_TABLE, THREAD_TABLE)
    tags: ClassVar = frozenset(RULES)
    bucket: ClassVar = "desk"
    by_channel: ClassVar = True

    def keys(self, events: Sequence[Recorded]) -> Iterable[str]:
        """Return the orders that may have a desk before these events."""
        return {event.stream for event in events if event.tag in RULES}

    def load(self, rows: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, Entry]:
        """Return the orders of these rows."""
        return {row[0]: Entry(_document(row[-1]), row[1], row[2]) for row in rows[TABLE.name]}

    def fold(self, events: Sequence[Recorded], current: Mapping[str, Entry]) -> dict[str, Entry | None]:
        """Return the changed orders."""
        changed: dict[str, Entry] = {}
        for event in events:
            rule = RULES.get(event.tag)
            if rule is None:
                continue
            entry = changed.get(event.stream)
            if entry is None:
                entry = changed[event.stream] = current.get(event.stream) or Entry(Desked())
                entry.gone, entry.said = {}, []
            decode, show, spoken = rule
            facts = decode(event.data)
            stamp = stamp_of(event.envelope)
            show(entry, facts, event, stamp.at)
            if spoken:
                entry.said.append(_said(event, stamp, facts))
            entry.position, entry.updated_at = event.position, stamp.at
        return dict(changed)

    def stream_of(self, values: Mapping[str, str]) -> str:
        """Return the order."""
        return values.get("key", "")

    def changes(self, changed: Mapping[str, Entry | None]) -> list[Change]:
        """Return the rows."""
        rows: list[tuple[Any, ...]] = []
        items: list[tuple[Any, ...]] = []
        gone: list[tuple[Any, ...]] = []
        said: list[tuple[Any, ...]] = []
        for key, entry in changed.items():
            assert entry is not None
            rows.append(_row(key, entry))
            items += [_item(key, item) for item in entry.document.items.values()]
            gone += [(key, item.kind, item.item) for item in entry.gone.values()]
            said += entry.said
        return [Change(TABLE, rows), Change(ITEM_TABLE, items, gone), Change(THREAD_TABLE, said)]

    def public(self, changed: Mapping[str, Entry | None]) -> list[Public]:
        """Return the orders with what waits, for roles; the key is the encoded order."""
        return [
            Public(token_of(key), entry.position, _encode(shown(key, entry.document, entry.position, entry.updated_at)))
            for key, entry in changed.items()
            if entry is not None
        ]


def _said(event: Recorded, stamp: Stamp, facts: Any) -> tuple[Any, ...]:
    return (
        event.stream,
        event.version,
        event.position,
        stamp.at,
        event.tag,
        stamp.by.id or stamp.by.kind,
        # Not the field `role` of the event: of an approval that is asked for, it is who is asked.
        stamp.by.role if stamp.by.kind == "person" else stamp.by.kind,
        getattr(facts, "round", 0),
        event.data.decode(),
        event.sealed,
    )


def _row(key: str, entry: Entry) -> tuple[Any, ...]:
    document = entry.document
    return (
        key,
        entry.position,
        entry.updated_at,
        document.messages,
        document.rounds,
        document.complaints,
        document.gift_complaints,
        document.enquiries,
        document.self_service,
        document.repeats,
        len(document.items),
        _encode(document).decode(),
    )


def _item(key: str, item: Item) -> tuple[Any, ...]:
    return (
        key,
        item.kind,
        item.item,
        item.role,
        item.person,
        item.state,
        item.what,
        item.advice,
        item.due_ms,
        item.since_ms,
        item.position,
    )
