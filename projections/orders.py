"""Orders: one row for each order, with everything about it that is not personal, and its sealed block as it is."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from sqlalchemy import BigInteger, Column, Index, LargeBinary, SmallInteger, Table, Text

from domain.after_sale_case import case_of_allocation
from domain.ids import token_of
from domain.order.questions import holds_of
from domain.ports import Recorded
from projections.base import FIXED, Change, Projection, Public, versioned
from projections.order_document import VERSION, Document
from projections.order_fold import RULES, Entry, begun, finish, restored, unnamed
from projections.order_picking import TABLE as LIST_TABLE
from projections.order_picking import list_of, list_rows

TABLE = versioned(
    "orders",
    VERSION,
    Column("key", Text, primary_key=True),
    Column("channel", Text, nullable=False, info={FIXED: True}),
    Column("shop", Text, nullable=False, info={FIXED: True}),
    Column("order_no", Text, nullable=False, info={FIXED: True}),
    Column("position", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("updated_by", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("fulfilment", Text, nullable=False),
    Column("native_status", Text, nullable=False),
    Column("customer", Text, nullable=False),
    Column("ordered_ms", BigInteger, nullable=False),
    Column("ordered_at", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_paid", BigInteger, nullable=False),
    Column("held", SmallInteger, nullable=False),
    Column("quarantined", Text, nullable=False),
    Column("pick_list", Text, nullable=False),
    Column("source_tag", Text, nullable=False),
    Column("document", Text, nullable=False),
)
"""The order record: key (order id), channel, ordered_at, customer (keyed digest), amount_paid (minor units of
currency), state, updated_by, updated_at (UTC ms); the ninth field, the items, is in the view. `state` is what people
see: the fulfilment, or `after_sale` while one is open. `held`: 1 while something blocks shipping. `quarantined`: the
message that waits for a decision. `pick_list`: the one that waits for its scan. `document`: JSON of `Document`."""

_BY_ORDER_NO = Index(f"orders_v{VERSION}_order_no", TABLE.c.order_no)
_BY_STATE = Index(f"orders_v{VERSION}_state", TABLE.c.state, TABLE.c.position)
_BY_POSITION = Index(f"orders_v{VERSION}_position", TABLE.c.position)
_BY_PICK_LIST = Index(
    f"orders_v{VERSION}_pick_list",
    TABLE.c.position,
    sqlite_where=TABLE.c.pick_list != "",
    postgresql_where=TABLE.c.pick_list != "",
)
_BY_QUARANTINE = Index(
    f"orders_v{VERSION}_quarantined",
    TABLE.c.position,
    sqlite_where=TABLE.c.quarantined != "",
    postgresql_where=TABLE.c.quarantined != "",
)

VIEW_TABLE = versioned(
    "order_views",
    VERSION,
    Column("key", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("viewed", Text, nullable=False),
    Column("sealed", LargeBinary),
)
"""What the channel says of an order: the data of the event that brought it (`snapshot`: lines, amounts, times,
attributes) and the sealed personal block beside it, both as they are in the log. Written when the view changes."""

SEARCH_TABLE = versioned(
    "order_search",
    VERSION,
    Column("kind", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("position", BigInteger, nullable=False, info={FIXED: True}),
    sqlite_with_rowid=False,
)
"""What leads to an order: `tracking` numbers and `customer` digests, everyone it ever had, corrected ones too. Rows are
only added, so that an order that moves on does not touch them."""

_document = msgspec.json.Decoder(Document).decode
_encode = msgspec.json.Encoder().encode


def _row(entry: Entry) -> tuple[Any, ...]:
    document, view = entry.document, entry.view
    json = entry.encoded = _encode(document)
    own = [each.id for each in entry.open_lists if not case_of_allocation(each.id)]
    return (
        document.key,
        document.channel,
        document.shop,
        document.order_no,
        document.position,
        document.version,
        document.updated_at,
        document.updated_by,
        document.state,
        document.fulfilment,
        view.native_status,
        view.customer,
        view.ordered_at.utc_ms,
        view.ordered_at.local,
        view.amounts.currency,
        document.amount_paid,
        1 if holds_of(entry.state) or document.interceptions or document.approvals else 0,
        document.quarantine.item if document.quarantine else "",
        list_of(own[0]) if own else "",
        document.source_tag,
        json.decode(),
    )


_DOCUMENT = TABLE.c.keys().index("document")


class Orders(Projection[str, Entry]):
    """One row for each order."""

    name: ClassVar = "orders"
    version: ClassVar = VERSION
    tables: ClassVar = (TABLE, VIEW_TABLE, SEARCH_TABLE, LIST_TABLE)
    bucket: ClassVar = "orders"
    by_channel: ClassVar = True

    def keys(self, events: Sequence[Recorded]) -> Iterable[str]:
        """Return the orders that have events before these: a stream's first event finds no row."""
        begins: set[str] = set()
        known: set[str] = set()
        for event in events:
            if event.tag in RULES:
                (begins if event.version == 1 else known).add(event.stream)
        return known - begins

    def load(self, rows: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, Entry]:
        """Return the orders of these rows."""
        views = {key: (viewed.encode(), sealed) for key, _, viewed, sealed in rows[VIEW_TABLE.name]}
        return {
            row[0]: restored(_document(row[_DOCUMENT]), *views.get(row[0], (b"", None))) for row in rows[TABLE.name]
        }

    def fold(self, events: Sequence[Recorded], current: Mapping[str, Entry]) -> dict[str, Entry | None]:
        """Return the changed orders."""
        rules = RULES
        changed: dict[str, Entry] = {}
        for event in events:
            rule = rules.get(event.tag)
            if rule is None:
                continue
            stream = event.stream
            entry = changed.get(stream)
            if entry is None:
                entry = current.get(stream)
                if entry is None:
                    entry = begun(stream)
                else:
                    entry.search = entry.gone_lists = ()
                    entry.seen = entry.picking_at = 0
                    entry.forgotten = False
                changed[stream] = entry
            decode, evolve, show, moves, picking = rule
            facts = decode(event.data) if decode is not None else None
            if evolve is not None:
                entry.state = evolve(entry.state, facts)
            if show is not None:
                show(entry, facts, event)
            entry.last = event
            if moves:
                entry.mover = event
            if picking:
                entry.picking_at = event.position
        for entry in changed.values():
            finish(entry)
        return dict(changed)

    def changes(self, changed: Mapping[str, Entry | None]) -> list[Change]:
        """Return the rows of the orders, what leads to them, and their open pick lists."""
        rows, views, search, lists, gone = [], [], [], [], []
        forgotten = [key for key, entry in changed.items() if entry is not None and entry.forgotten]
        forgets = {"kind": ("customer",), "key": forgotten} if forgotten else {}
        for key, entry in changed.items():
            assert entry is not None
            rows.append(_row(entry))
            if entry.seen:
                views.append((key, entry.seen, entry.viewed.decode(), entry.sealed))
                entry.sealed = None  # it is in the row, and changes with the next view only
            if entry.search:
                search += [(kind, value, key, position) for kind, value, position in entry.search]
                entry.search = ()
            if entry.open_lists and entry.picking_at:
                lists += list_rows(entry)
            gone += [(list_of(allocation),) for allocation in entry.gone_lists]
        return [
            Change(TABLE, rows),
            Change(VIEW_TABLE, views),
            Change(SEARCH_TABLE, search, forgets=forgets),
            Change(LIST_TABLE, lists, gone),
        ]

    def stream_of(self, values: Mapping[str, str]) -> str:
        """Return the order."""
        return values.get("key", "")

    def without_person(self, table: Table, row: Sequence[Any]) -> Sequence[Any] | None:
        """Return a row without what was sealed, and without the digest that leads to its customer."""
        named = dict(zip(table.columns.keys(), super().without_person(table, row) or (), strict=True))
        if table is TABLE:
            named["customer"] = ""
        elif table is VIEW_TABLE:
            named["viewed"] = unnamed(named["viewed"].encode()).decode()
        elif table is SEARCH_TABLE and named["kind"] == "customer":
            return None
        return list(named.values())

    def public(self, changed: Mapping[str, Entry | None]) -> list[Public]:
        """Return the documents, each with its `view`, without the sealed block; `changes` has encoded them."""
        return [
            Public(
                token_of(key),
                entry.document.position,
                b'{"view":%b,%b' % (entry.viewed or b"null", entry.encoded[1:]),
            )
            for key, entry in changed.items()
            if entry is not None
        ]
