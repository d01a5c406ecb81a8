"""What the core asks of the world: the event log, the payload table, keys and sealing, channels, the clock.

Nothing here does anything. Adapters implement these; fakes implement them too and pass the same contract tests.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from domain.canonical import Return, Translated
from domain.mapping_table import Payment, Times
from domain.till import Till


class Record(NamedTuple):
    """One event on its way into the log. All bytes are final: what is here is what is stored and hashed."""

    stream: str
    version: int
    """Place in the stream, from 1, without gaps."""
    tag: str
    """Stable name of the event's shape, for example `order.paid`."""
    envelope: bytes
    """JSON of `domain.envelope.Envelope`: at, by, causes. Not personal."""
    data: bytes
    """JSON of the event. Not personal: what is here may be fed to anyone."""
    sealed: bytes | None
    """Encrypted personal block (commitment and ciphertext, see `Vault.seal`), or None."""


class Recorded(NamedTuple):
    """One event as read from the log."""

    position: int
    """Place in the whole log, from 1, without gaps."""
    stream: str
    version: int
    tag: str
    envelope: bytes
    data: bytes
    sealed: bytes | None
    leaf: bytes
    """SHA-256 over all of the above, computed in the commit (see `domain.proof.leaf_hash`)."""


Told = tuple[int, str, int, str, bytes, bytes]
"""What anyone may be told of a recorded event: position, stream, version, tag, envelope, data."""


class Payload(NamedTuple):
    """Raw bytes of one slice of a source (one order), encrypted."""

    digest: bytes
    """SHA-256 of `sealed`: verifiable without the key."""
    stream: str
    """Whose data key opens it."""
    sealed: bytes


class StoredSnapshot(NamedTuple):
    """A cached fold of a stream."""

    stream: str
    version: int
    """Version of the last event folded in."""
    tag: str
    """Names the shape of `data`; another shape than the running program's is ignored."""
    data: bytes


class Loaded(NamedTuple):
    """What is known of a stream: a snapshot, if there is one, and the events behind it."""

    snapshot: StoredSnapshot | None
    events: Sequence[Recorded]


class Tracked(msgspec.Struct, frozen=True):
    """The row that decides where reading starts, and who may write (architecture: exactly once)."""

    incarnation: str
    """Name of the life of the mail stream that `position` counts in; "" before the first one."""
    epoch: int
    """Raised by each worker that takes the cell over; the fence."""
    position: int
    """Sequence of the last mail whose turn is committed; 0 = none."""
    digest: bytes
    """SHA-256 of that mail's payload, to notice a broker that went back."""
    at_ms: int
    """Broker's time stamp of that mail, UTC ms."""
    head: int
    """Position of the last event in the log."""
    generation: str
    """Name of the log's life; a restore makes a new one."""


class Advance(NamedTuple):
    """The compare-and-set of a commit: from `previous` to `position`, where incarnation and epoch are still mine."""

    incarnation: str
    epoch: int
    previous: int
    position: int
    digest: bytes
    at_ms: int


class Conflict(Exception):
    """Somebody else wrote: the compare-and-set found another row, or a version exists already. Nothing was written."""


class LogDamaged(Exception):
    """The store breaks its own promises (gap, wrong leaf, foreign schema). Never carried on from silently."""


class EventLog(Protocol):
    """The record of everything that happened in a cell. One writer; any number of readers."""

    def append(
        self,
        records: Sequence[Record],
        *,
        payloads: Sequence[Payload] = (),
        snapshots: Sequence[StoredSnapshot] = (),
        advance: Advance | None = None,
    ) -> int:
        """Write all of it in ONE durable transaction and return the position of the last event in the log.

        Positions are given in order, without gaps. A payload whose digest is there already is not written again; a
        snapshot replaces the stream's older one.

        Raises:
            Conflict: `advance` does not fit the tracked row, or a record's version is not its stream's next one.
        """
        ...

    def take_over(self) -> Tracked:
        """Raise the epoch by one, durably, and return the row: from now on only this caller's commits fit."""
        ...

    def set_incarnation(
        self, epoch: int, incarnation: str, position: int, *, records: Sequence[Record] = ()
    ) -> Tracked:
        """Begin a new life of the mail at `position`, if `epoch` is still the row's; `records` say why.

        Row and records are written in one durable transaction, or nothing is.

        Raises:
            Conflict: another worker has taken over, or a record's version is not its stream's next one.
        """
        ...

    def tracked(self) -> Tracked:
        """Return the row as it is."""
        ...

    def select_many(self, streams: Collection[str], *, snapshots: bool = True) -> dict[str, Loaded]:
        """Load many streams in one go. Streams without events are left out of the answer.

        Args:
            streams: their names; one that stands there twice is loaded once.
            snapshots: whether a snapshot may stand for the events before it; without, all events are returned.
        """
        ...

    def read(self, after: int, limit: int) -> list[Recorded]:
        """Return up to `limit` events behind position `after`, in order."""
        ...

    def told(self, after: int, limit: int) -> list[Told]:
        """Return what anyone may be told of the events that `read` returns; for who passes the whole log on."""
        ...

    def payloads(self, digests: Collection[bytes]) -> dict[bytes, Payload]:
        """Return the payloads with these digests; unknown ones are left out."""
        ...

    def close(self) -> None:
        """Release files and connections. Harmless when done twice."""
        ...


class Vault(Protocol):
    """Data keys, one per stream, in a store of their own; forgetting a person is destroying keys."""

    def keys(self, streams: Iterable[str], *, create: bool) -> Mapping[str, bytes]:
        """Return the 64-byte data keys of these streams.

        With `create`, missing keys are made and are durable before this returns; a key that exists is used again.
        Without, streams that have no key (never had, or destroyed) are left out.
        """
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


class Sliced(NamedTuple):
    """One order's share of what a source sent: whose it is, and its exact bytes."""

    shop: str
    order_no: str
    raw: bytes
    rows: tuple[int, ...] = ()
    """Of a table: which of its rows these are, as a spreadsheet counts."""


class Aside(NamedTuple):
    """A part of a source's bytes that is no order, and what it is."""

    kind: str
    """`hint` (names an order that must be fetched), `ignored` (known, nothing to do) or `refused` (not understood)."""
    reason: str
    """For people: what it is, where, and what to do."""
    raw: bytes
    shop: str = ""
    order_no: str = ""
    rows: tuple[int, ...] = ()
    """As in `Sliced`."""


class Channel(Protocol):
    """A sales channel: how its bytes are told apart and what they mean. Pure: same bytes, same answer."""

    @property
    def name(self) -> str:
        """Name in keys and settings, for example `taobao`."""
        ...

    def sniff(self, raw: bytes) -> bool:
        """Tell quickly whether these bytes look like this channel's."""
        ...

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        """Cut what came in into orders. `shop` is used where the payload itself does not name one.

        Never raises for bad input: what cannot be told to be an order is an `Aside` with its reason.
        """
        ...

    def translate(self, raw: bytes, shop: str) -> Translated | Return:
        """Turn one slice into the canonical order, or into the return of goods of the order that `Sliced` names.

        Raises:
            TranslationError: with what is wrong, where (path of the field) and what to do.
        """
        ...


@runtime_checkable
class Declares(Protocol):
    """A channel that says which fields of its payloads are nobody's; without it, a mapping must say so of each."""

    @property
    def harmless(self) -> frozenset[str]:
        """Paths of the fields that may be shown to anyone, each list as `[]`: `orders.order[].seller_type`."""
        ...


@runtime_checkable
class Documents(Protocol):
    """A channel whose slices are no plain JSON documents: what a mapping's paths walk through instead."""

    def document(self, raw: bytes) -> Any:
        """Return the slice as objects and lists; fractions are Decimals.

        Raises:
            TranslationError: it is no slice of this channel.
        """
        ...


@runtime_checkable
class Unchecked(Protocol):
    """A channel that refuses what does not add up."""

    def unchecked(self) -> Channel:
        """Return the same channel, taking it: for a look at what each field by itself is read into."""
        ...


@runtime_checkable
class KeepsTime(Protocol):
    """A channel with times that do not name their zone: a mapping may say how a shop writes them."""

    def with_times(self, times: Times) -> Channel:
        """Return the same channel, reading times so; what `times` leaves open is as the platform does it."""
        ...


@runtime_checkable
class Templated(Protocol):
    """A channel of tables: a mapping may say how a shop writes them. It then cuts by the same as it translates by."""

    def with_template(self, till: Till) -> Channel:
        """Return the same channel, reading tables so; what `till` leaves open is as the channel does it.

        Raises:
            BadTill: something in it means nothing.
        """
        ...

    def template_of(self, raw: bytes) -> str:
        """Return a draft of the template that a file needs, as TOML.

        Raises:
            BadTill: it is no table.
        """
        ...


@runtime_checkable
class Captures(Protocol):
    """A channel that leaves to the merchant when an order counts as paid: a mapping may say it."""

    def with_payment(self, payment: Payment) -> Channel:
        """Return the same channel, reading payments so; what `payment` leaves open is as the platform does it."""
        ...
