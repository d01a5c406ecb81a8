"""Intake: what became of everything that came in, for each channel and shop."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from sqlalchemy import BigInteger, Column, Text

from domain.ids import intake_key, parts_of, token_of
from domain.ports import Recorded
from projections.base import Change, Projection, Public, as_text, at_of, versioned

VERSION = 1

COUNTERS: Mapping[str, str] = {
    "order.received": "accepted",
    "order.amended": "amended",
    "order.repeated": "repeated",
    "order.outdated": "outdated",
    "order.refused": "refused_acts",
    "order.quarantined": "quarantined",
    "order.queued_behind": "queued",
    "order.queue_released": "",
    "intake.refused": "refused",
    "intake.quarantined": "quarantined",
    "intake.discarded": "",
    "intake.hinted": "hints",
    "intake.ignored": "ignored",
    "intake.unmatched": "unmatched",
}
"""Tag → column that counts it."""

NAMES = (
    "accepted",
    "amended",
    "repeated",
    "outdated",
    "refused",
    "refused_acts",
    "quarantined",
    "quarantined_open",
    "queued",
    "hints",
    "ignored",
    "unmatched",
)

TABLE = versioned(
    "intake",
    VERSION,
    Column("channel", Text, primary_key=True),
    Column("shop", Text, primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in NAMES),
    Column("position", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


class Counts(msgspec.Struct, gc=False):
    """What became of what came in on one channel and shop."""

    channel: str
    shop: str
    accepted: int = 0
    """Orders received for the first time."""
    amended: int = 0
    """Newer views of known orders."""
    repeated: int = 0
    outdated: int = 0
    refused: int = 0
    """Understood to be no order that can be taken."""
    refused_acts: int = 0
    """Acts on orders (scan, shipment, decision …) that broke a rule."""
    quarantined: int = 0
    """In all, open or not."""
    quarantined_open: int = 0
    queued: int = 0
    """Messages that waited behind another, in all."""
    hints: int = 0
    ignored: int = 0
    unmatched: int = 0
    position: int = 0
    updated_at: int = 0
    """When the last of all this happened, UTC ms."""


class _Released(msgspec.Struct, frozen=True, gc=False):
    behind: str


_encode = msgspec.json.Encoder().encode
_released = msgspec.json.Decoder(_Released).decode
_OPENS = frozenset({"order.quarantined", "intake.quarantined"})
_ENDS = frozenset({"order.queue_released", "intake.discarded"})


class Intake(Projection[str, Counts]):
    """One row for each channel and shop."""

    name: ClassVar = "intake"
    version: ClassVar = VERSION
    tables: ClassVar = (TABLE,)
    whole: ClassVar = True
    bucket: ClassVar = "intake"
    by_channel: ClassVar = True

    def keys(self, events: Sequence[Recorded]) -> Iterable[str]:
        """Return nothing: all documents are in memory."""
        del events
        return ()

    def load(self, rows: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, Counts]:
        """Return the counts of these rows."""
        return {_key(row[0], row[1]): Counts(*row) for row in rows[TABLE.name]}

    def fold(self, events: Sequence[Recorded], current: Mapping[str, Counts]) -> dict[str, Counts | None]:
        """Return the changed counts."""
        documents: dict[str, Counts] = {}
        last: dict[str, Recorded] = {}
        by_prefix: dict[str, str] = {}
        for event in events:
            tag = event.tag
            counter = COUNTERS.get(tag)
            if counter is None:
                continue
            stream = event.stream
            prefix = stream[: stream.rindex(":")] if tag.startswith("order.") else stream
            key = by_prefix.get(prefix)
            if key is None:
                channel, shop, *_ = map(as_text, parts_of(stream))
                key = by_prefix[prefix] = _key(channel, shop)
                if key not in documents:
                    documents[key] = current.get(key) or Counts(channel, shop)
            document = documents[key]
            if counter:
                setattr(document, counter, getattr(document, counter) + 1)
            if tag in _OPENS:
                document.quarantined_open += 1
            elif tag in _ENDS and (tag == "intake.discarded" or _released(event.data).behind != "order"):
                document.quarantined_open -= 1
            last[key] = event
        for key, event in last.items():
            documents[key].position = event.position
            documents[key].updated_at = at_of(event.envelope)
        return dict(documents)

    def changes(self, changed: Mapping[str, Counts | None]) -> list[Change]:
        """Return the rows."""
        return [Change(TABLE, [msgspec.structs.astuple(counts) for counts in changed.values() if counts is not None])]

    def public(self, changed: Mapping[str, Counts | None]) -> list[Public]:
        """Return the counts; the key is the encoded `channel:shop`, each of them encoded before."""
        return [
            Public(token_of(intake_key(counts.channel, counts.shop)), counts.position, _encode(counts))
            for counts in changed.values()
            if counts is not None
        ]


def _key(channel: str, shop: str) -> str:
    return f"{channel}\0{shop}"
