"""What a projection is: a pure fold from recorded events to the rows of a read model.

A projection folds a whole batch at once, so that a row touched by ten events is read and written once. It decodes only
what it shows. Its tables carry its version in their names: a changed fold gets a new number and is built beside the
old one.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import msgspec
from sqlalchemy import LargeBinary, MetaData, Table
from sqlalchemy.schema import SchemaItem

from domain.catalogue import TYPES, UPCASTS, UnknownTag, decode_event, encode_event
from domain.ports import Recorded

Key = TypeVar("Key", bound=Hashable)
Document = TypeVar("Document")

FIXED = "fixed"
"""In a column's `info`: its value never changes once the row is there, so updates leave it (and its indexes) alone."""


class Change(NamedTuple):
    """What a batch does to one table."""

    table: Table
    rows: Sequence[tuple[Any, ...]]
    """Whole rows, in the order of the table's columns; each replaces the row of the same primary key."""
    deletes: Sequence[tuple[Any, ...]] = ()
    """Primary keys of rows that go."""
    forgets: Mapping[str, Sequence[Any]] = {}
    """Column → values: all rows that have one of them in each of these columns go, before `rows` are written. They are
    looked for without an index."""


class Public(NamedTuple):
    """A document for everybody who may read the cell's documents: nothing personal is in it."""

    key: str
    """Encoded for a KV key."""
    position: int
    """Of the last event that changed it."""
    json: bytes
    """A JSON object; `position` is in it."""


class Projection(ABC, Generic[Key, Document]):
    """One read model."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Raised with every change of the fold or the tables."""
    tables: ClassVar[tuple[Table, ...]]
    """The first one has a `position` column."""
    whole: ClassVar[bool] = False
    """Whether it is small enough to be kept in memory whole; otherwise the documents a batch needs are loaded."""
    tags: ClassVar[frozenset[str] | None] = None
    """Of the events that it looks at, where it passes over most: a batch without any changes nothing. None = of all."""
    bucket: ClassVar[str] = ""
    """Name of its bucket of public documents; "" = it has none."""

    by_channel: ClassVar[bool] = False
    """Whether the keys of its public documents begin with the encoded channel and a colon, encoded once more."""

    @abstractmethod
    def keys(self, events: Sequence[Recorded]) -> Iterable[Key]:
        """Return the keys of the documents that may exist and that `fold` will need."""

    def beyond(self, events: Sequence[Recorded], current: Mapping[Key, Document]) -> Iterable[Key]:
        """Return the keys of further documents that `fold` will need, as those of `keys` tell; none as a rule."""
        del events, current
        return ()

    @abstractmethod
    def load(self, rows: Mapping[str, Sequence[Sequence[Any]]]) -> dict[Key, Document]:
        """Return the documents that these rows (by table name, in the order of the columns) hold."""

    @abstractmethod
    def fold(self, events: Sequence[Recorded], current: Mapping[Key, Document]) -> dict[Key, Document | None]:
        """Return the documents that the events change; None = it goes.

        The documents of `current` are handed over: the fold may change them in place. What it returns depends on the
        events and `current` alone, and not on where a batch begins or ends.
        """

    @abstractmethod
    def changes(self, changed: Mapping[Key, Document | None]) -> list[Change]:
        """Return the rows of changed documents."""

    def stream_of(self, values: Mapping[str, str]) -> str:
        """Return the one stream that all rows with these column values are folded from; "" = there are several.

        What lets a row be folded as it was once, without all that happened elsewhere.
        """
        del values
        return ""

    def without_person(self, table: Table, row: Sequence[Any]) -> Sequence[Any] | None:
        """Return a row as it is to be once its order's person is forgotten; None = it goes.

        Asked for rows of tables with a column `key`: the order. What was sealed goes everywhere.
        """
        return [
            None if isinstance(each.type, LargeBinary) else value
            for each, value in zip(table.columns, row, strict=True)
        ]

    def public(self, changed: Mapping[Key, Document | None]) -> list[Public]:
        """Return the public documents of changed ones; nothing where there is no bucket."""
        del changed
        return []


def versioned(name: str, version: int, *items: SchemaItem, **options: Any) -> Table:
    """Define a table of one version of a projection."""
    return Table(f"{name}_v{version}", MetaData(), *items, **options)


class _By(msgspec.Struct, frozen=True, gc=False):
    kind: Literal["channel", "rule", "system", "person"]
    id: str = ""
    role: str = ""


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """When an event was recorded and by whom: as much of its envelope as read models show."""

    at: int
    """UTC ms."""
    by: _By
    source_tag: str = ""

    @property
    def who(self) -> str:
        """Kind and id of who did it, for example `channel:taobao`."""
        return f"{self.by.kind}:{self.by.id}" if self.by.id else self.by.kind


stamp_of = msgspec.json.Decoder(Stamp).decode
"""Read a stored envelope."""


def as_text(text: str) -> str:
    """Return text from outside, which may hold what no UTF-8 can: half a character becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def nameless(who: str) -> str:
    """Return who did something without the name of a person: `person:li.wei` is `person`, `channel:taobao` stays."""
    return "person" if who.startswith("person:") else who


class _At(msgspec.Struct, frozen=True, gc=False):
    at: int


_at = msgspec.json.Decoder(_At).decode


def at_of(envelope: bytes) -> int:
    """Return the time of a stored envelope, UTC ms."""
    return _at(envelope).at


class _Observed(msgspec.Struct, frozen=True, gc=False):
    observed_at: int


_observed = msgspec.json.Decoder(_Observed).decode


def observed_at_of(envelope: bytes) -> int:
    """Return when the edge saw the cause of an event, UTC ms."""
    return _observed(envelope).observed_at


def in_current_shape(events: Sequence[Recorded]) -> Sequence[Recorded]:
    """Return the events with old shapes brought up to date, so that folds know the current tags only.

    Raises:
        UnknownTag: a newer build wrote one of them; a fold that passed over it would show what is not so.
    """
    foreign = {event.tag for event in events} - TYPES.keys()
    if not foreign:
        return events
    unknown = foreign - UPCASTS.keys()
    if unknown:
        raise UnknownTag(f"event tags {sorted(unknown)} are not known to this build")
    return [_upcast(event) if event.tag in foreign else event for event in events]


def _upcast(event: Recorded) -> Recorded:
    tag = event.tag
    while tag in UPCASTS:
        tag = UPCASTS[tag][0]
    return event._replace(tag=tag, data=encode_event(decode_event(event.tag, event.data)))
