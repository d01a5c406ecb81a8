"""After-sales: one row for each case, with its stage, age, reason, lines and money."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from sqlalchemy import BigInteger, Column, Index, SmallInteger, Text

from domain.after_sale import (
    AfterSaleDeclined,
    AfterSaleOpened,
    OrderRefunded,
    ReplacementShipped,
    ReplacementShort,
    ReturnAnnounced,
    ReturnReceived,
)
from domain.after_sale_case import EVENTS, AfterSales, Case, added, evolve
from domain.canonical import Parcel
from domain.catalogue import TAGS
from domain.ids import parts_of, token_of
from domain.ports import Recorded
from domain.stock import Quantities
from projections.base import FIXED, Change, Projection, Public, as_text, versioned

VERSION = 1

TABLE = versioned(
    "after_sales",
    VERSION,
    Column("key", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("channel", Text, nullable=False, info={FIXED: True}),
    Column("shop", Text, nullable=False, info={FIXED: True}),
    Column("order_no", Text, nullable=False, info={FIXED: True}),
    Column("position", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("open", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("opened_ms", BigInteger, nullable=False, info={FIXED: True}),
    Column("updated_ms", BigInteger, nullable=False),
    Column("updated_by", Text, nullable=False),
    Column("refunded", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""`key` of the order and running `number` are the case's number. `open`: 1 while it shows 售后中. Times are observed
times, UTC ms. `refunded`: minor units of the order's currency. `document`: JSON of `Shown`."""

_BY_AGE = Index(f"after_sales_v{VERSION}_age", TABLE.c.open, TABLE.c.opened_ms)
_BY_POSITION = Index(f"after_sales_v{VERSION}_position", TABLE.c.position)


class Refund(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Money that went back."""

    amount: int
    """Minor units; 0 where the channel does not say."""
    at: int
    """Observed time, UTC ms."""
    by: str
    method: str = ""
    """`original`, `transfer`; "" = as the channel or the till pays back."""
    reference: str = ""
    approval: str = ""


class Shown(msgspec.Struct, gc=False, omit_defaults=True):
    """One case."""

    case: Case
    opened_ms: int
    opened_by: str
    position: int = 0
    updated_ms: int = 0
    updated_by: str = ""
    skus: dict[str, str] = {}
    """Line id → SKU, for counting reasons."""
    refunds: list[Refund] = []
    damaged: Quantities = ()
    """(line id, units) of what came back and may not be sold."""
    declined: str = ""
    """Why, one of `DECLINES`."""
    coming: Parcel | None = None
    """The parcel in which goods come back."""
    sent: list[Parcel] = []
    """Parcels of replacements."""
    short: tuple[tuple[str, int, int], ...] = ()
    """(SKU, wanted, available) of a replacement that no warehouse could reserve."""


Documents = dict[int, Shown]
"""Number → case."""


class _By(msgspec.Struct, frozen=True, gc=False):
    kind: str
    id: str = ""


class _Stamp(msgspec.Struct, frozen=True, gc=False):
    observed_at: int
    by: _By


_stamp = msgspec.json.Decoder(_Stamp).decode
_encode = msgspec.json.Encoder().encode
_document = msgspec.json.Decoder(Shown).decode
_DOCUMENT = TABLE.c.keys().index("document")
DECODERS: Mapping[str, Callable[[bytes], Any]] = {TAGS[kind]: msgspec.json.Decoder(kind).decode for kind in EVENTS}
"""By tag, of every event that moves a case."""


class AfterSaleCases(Projection[str, Documents]):
    """One row for each case; the documents are kept by order."""

    name: ClassVar = "after_sales"
    version: ClassVar = VERSION
    tables: ClassVar = (TABLE,)
    tags: ClassVar = frozenset(DECODERS)
    bucket: ClassVar = "after_sales"
    by_channel: ClassVar = True

    def keys(self, events: Sequence[Recorded]) -> Iterable[str]:
        """Return the orders that may have cases already."""
        return {event.stream for event in events if event.tag in DECODERS}

    def load(self, rows: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, Documents]:
        """Return the cases of these rows, by order."""
        found: dict[str, Documents] = {}
        for row in rows[TABLE.name]:
            found.setdefault(row[0], {})[row[1]] = _document(row[_DOCUMENT])
        return found

    def fold(self, events: Sequence[Recorded], current: Mapping[str, Documents]) -> dict[str, Documents | None]:
        """Return the cases of the orders that changed."""
        changed: dict[str, Documents | None] = {}
        for event in events:
            decode = DECODERS.get(event.tag)
            if decode is None:
                continue
            documents = changed.get(event.stream)
            if documents is None:
                documents = changed[event.stream] = current.get(event.stream, {})
            _fold(documents, decode(event.data), event)
        return changed

    def stream_of(self, values: Mapping[str, str]) -> str:
        """Return the order."""
        return values.get("key", "")

    def changes(self, changed: Mapping[str, Documents | None]) -> list[Change]:
        """Return the rows of the cases."""
        rows = [_row(key, shown) for key, documents in changed.items() for shown in (documents or {}).values()]
        return [Change(TABLE, rows)]

    def public(self, changed: Mapping[str, Documents | None]) -> list[Public]:
        """Return the cases; the key is the encoded order and number."""
        return [
            Public(token_of(f"{key}:{number}"), shown.position, b'{"order":%b,%b' % (_encode(key), _encode(shown)[1:]))
            for key, documents in changed.items()
            for number, shown in (documents or {}).items()
        ]


def _fold(documents: Documents, facts: Any, event: Recorded) -> None:
    before = AfterSales(tuple(documents[number].case for number in sorted(documents)), ())
    after = evolve(before, facts)
    stamp = _stamp(event.envelope)
    at, by = stamp.observed_at, f"{stamp.by.kind}:{stamp.by.id}" if stamp.by.id else stamp.by.kind
    for at_place, case in enumerate(after.cases):
        known = before.cases[at_place] if at_place < len(before.cases) else None
        if case is known or case == known:
            continue
        shown = documents.get(case.number)
        if shown is None:
            shown = documents[case.number] = Shown(case, at, by)
        if isinstance(facts, OrderRefunded) and (known is None or case.refunded != known.refunded or facts.case):
            paid = Refund(facts.amount, at, by, facts.method, facts.reference, facts.approval)
            shown.refunds.append(paid)
        _tell(shown, facts)
        shown.case = case
        shown.position, shown.updated_ms, shown.updated_by = event.position, at, by
    if isinstance(facts, ReturnAnnounced) and facts.case in documents:
        documents[facts.case].coming = Parcel(facts.carrier, facts.tracking)
        documents[facts.case].position = event.position


def _tell(shown: Shown, facts: Any) -> None:
    """Add what decisions need not know."""
    match facts:
        case AfterSaleOpened():
            shown.skus |= {line: sku for (line, _), sku in zip(facts.lines, facts.skus, strict=False)}
        case AfterSaleDeclined():
            shown.declined = facts.reason
        case ReturnReceived():
            shown.damaged = added(shown.damaged, facts.damaged)
        case ReplacementShort():
            shown.short = facts.short
        case ReplacementShipped():
            shown.short = ()
            shown.sent.append(facts.parcel)
        case _:
            pass


def _row(key: str, shown: Shown) -> tuple[Any, ...]:
    case = shown.case
    channel, shop, order_no = map(as_text, parts_of(key))
    return (
        key,
        case.number,
        channel,
        shop,
        order_no,
        shown.position,
        case.kind,
        case.stage,
        int(case.open),
        case.reason,
        case.reference,
        shown.opened_ms,
        shown.updated_ms,
        shown.updated_by,
        case.refunded,
        _encode(shown).decode(),
    )
