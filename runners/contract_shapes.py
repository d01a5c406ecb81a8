"""Today's contract, made from the types: what each event, document and header looks like, and where it is published."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from domain import order
from domain.catalogue import ELSEWHERE, TYPES, kind_of_tag
from projections import PROJECTIONS, checks, desk_document, finance
from projections.after_sales import Shown
from projections.base import Projection
from projections.intake import Counts
from projections.inventory import Level
from projections.kpis import Hour
from projections.order_document import Document
from runners.contract import DIALECT, Contract, Schema, named
from runners.docs_events import attribute_docs
from runners.documents import Marker

Generation = Annotated[str, Meta(description="Name of one life of the log; a restore begins a new one.")]
Digits = Annotated[str, Meta(pattern="^[1-9][0-9]*$")]


def _header(field: str) -> str:
    return "content-type" if field == "content_type" else f"ce-{field}"


class EventHeaders(msgspec.Struct, frozen=True, rename=_header):
    """Headers of an event in the EVENTS stream: CloudEvents 1.0, binary mode."""

    VERSION: ClassVar = 1

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(description="`<generation>:<position>`; the same event has the same id for ever.")]
    source: Annotated[str, Meta(description="`/orderspine/<cell>/<stream>`.")]
    type: Annotated[str, Meta(description="Tag of the event; names its schema.")]
    subject: Annotated[str, Meta(description="The event's stream: whose event it is.")]
    time: Annotated[str, Meta(description="When it was recorded, RFC 3339, UTC, milliseconds.")]
    generation: Generation
    position: Annotated[Digits, Meta(description="Place in the whole log, from 1, without gaps.")]
    version: Annotated[Digits, Meta(description="Place in its stream, from 1, without gaps.")]
    content_type: Literal["application/json"]
    dataref: Annotated[
        str,
        Meta(
            description="`/orderspine/<cell>/log/<position>`, where the facts are too large for a message, whose "
            "payload is then empty."
        ),
    ] = ""


class WebhookBody(msgspec.Struct, frozen=True):
    """Body of a webhook's delivery: a CloudEvent 1.0 in its JSON format."""

    VERSION: ClassVar = 1

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(description="`<generation>:<position>`; the delivery's `webhook-id`, too.")]
    source: Annotated[str, Meta(description="`/orderspine/<cell>/<stream>`.")]
    type: Annotated[str, Meta(description="Tag of the event; names the schema of `data`.")]
    subject: Annotated[str, Meta(description="The event's stream: whose event it is.")]
    time: Annotated[str, Meta(description="When it was recorded, RFC 3339, UTC, milliseconds.")]
    datacontenttype: Literal["application/json"]
    generation: Generation
    position: Annotated[Digits, Meta(description="Place in the whole log, from 1.")]
    version: Annotated[Digits, Meta(description="Place in its stream, from 1, without gaps.")]
    data: dict[str, Any]
    """The event's facts."""


class OrdersDocument(Document, kw_only=True):
    """An order in the bucket `<cell>_orders`: what became of it, and what its channel says of it."""

    generation: Generation
    view: Any
    """Facts of the last `order.normalized` or `order.amended`; null where no channel has sent the order yet."""


class InventoryDocument(Level, kw_only=True):
    """Stock of one SKU in one warehouse, in the bucket `<cell>_inventory`."""

    generation: Generation


class IntakeDocument(Counts, kw_only=True):
    """What came in on one channel and shop, in the bucket `<cell>_intake`."""

    generation: Generation


class AfterSalesDocument(Shown, kw_only=True):
    """One case of an order, in the bucket `<cell>_after_sales`."""

    generation: Generation
    order: str
    """Key of the order."""


class KpisDocument(Hour, kw_only=True):
    """What counts for one hour and channel, in the bucket `<cell>_kpis`: sums, in which no order is named."""

    generation: Generation


class DeskDocument(desk_document.Shown, frozen=True, kw_only=True):
    """What people have to do with an order, in the bucket `<cell>_desk`: counts and what waits, for roles."""

    generation: Generation


class FinanceDocument(finance.Shown, frozen=True, kw_only=True):
    """Where log and statements differ, in the bucket `<cell>_finance`: one difference."""

    generation: Generation


class ChecksDocument(checks.Shown, frozen=True, kw_only=True):
    """What a self-check found, in the bucket `<cell>_checks`: sums, in which no order is named."""

    generation: Generation


DOCUMENTS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "orders": OrdersDocument,
    "inventory": InventoryDocument,
    "intake": IntakeDocument,
    "after_sales": AfterSalesDocument,
    "kpis": KpisDocument,
    "desk": DeskDocument,
    "finance": FinanceDocument,
    "checks": ChecksDocument,
}
"""Bucket → shape of its documents, as they are written."""
_VIEWS: Final = (order.OrderNormalized, order.OrderAmended)


class Undescribed(Exception):
    """A bucket of public documents whose shape is not said here. The text names it and says what to do."""


def contract(
    types: Mapping[str, type[msgspec.Struct]] = TYPES, projections: tuple[Projection[Any, Any], ...] = PROJECTIONS
) -> Contract:
    """Return the contract of this build; old versions of events are not in it.

    Raises:
        Undescribed: a bucket has no shape.
    """
    shapes: dict[str, dict[str, Schema]] = defaultdict(dict)
    feeds: dict[str, list[str]] = defaultdict(list)
    for tag, kind in types.items():
        name, version = named(tag)
        shapes[name][str(version)] = _schema(name, version, kind)
        for address in (events_address(tag), *map(_address_of, ELSEWHERE.get(tag, ()))):
            feeds[address].append(name)
    shapes["event-headers"] = {str(EventHeaders.VERSION): _schema("event-headers", EventHeaders.VERSION, EventHeaders)}
    shapes["webhook-body"] = {str(WebhookBody.VERSION): _schema("webhook-body", WebhookBody.VERSION, WebhookBody)}
    for projection in projections:
        bucket = projection.bucket
        if not bucket:
            continue
        if bucket not in DOCUMENTS:
            raise Undescribed(
                f"bucket {bucket!r} is public and has no described shape: add it to DOCUMENTS in {__name__}"
            )
        shapes[bucket][str(projection.version)] = _document(bucket, projection.version)
        for address in (f"$KV.{{cell}}_{bucket}.{{key}}", f"changes.{{cell}}.{bucket}.{{key}}"):
            feeds[address] = [bucket, "checkpoint"]
    shapes["checkpoint"] = {"1": _schema("checkpoint", 1, Marker)}
    return Contract({where: sorted(names) for where, names in sorted(feeds.items())}, dict(sorted(shapes.items())))


def events_address(tag: str) -> str:
    """Return where an event is published: the last word of the subject is the rest of its tag."""
    return _address_of(kind_of_tag(tag))


def _address_of(kind: str) -> str:
    return f"events.{{cell}}.{kind}.{{scope}}.{{type}}"


def _document(bucket: str, version: int) -> Schema:
    made = _schema(bucket, version, DOCUMENTS[bucket])
    if bucket == "orders":
        (*views,), parts = msgspec.json.schema_components(_VIEWS)
        made["properties"]["view"] = {"anyOf": [*views, {"type": "null"}], **_described(made["properties"]["view"])}
        made["$defs"] = {**_with_notes(_VIEWS, parts), **made["$defs"]}
    return _plain(made)


def _schema(name: str, version: int, kind: type[msgspec.Struct]) -> Schema:
    (root,), parts = msgspec.json.schema_components((kind,))
    parts = _with_notes((kind,), parts)
    whole = parts.pop(root["$ref"].rpartition("/")[2])
    made = {"$schema": DIALECT, "$id": f"urn:orderspine:schema:{name}:{version}", **whole}
    return _plain({**made, "$defs": parts} if parts else made)


def _plain(schema: Schema) -> Schema:
    """Return it as it is read from a file: lists and no tuples, and nothing in it is shared."""
    return msgspec.json.decode(msgspec.json.encode(schema))  # type: ignore[no-any-return]


def _with_notes(kinds: tuple[type, ...], parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definitions with what is written under the fields of the types."""
    noted = {name: dict(part) for name, part in parts.items()}
    for struct in _structs(msgspec.inspect.multi_type_info(kinds)):
        part = noted.get(struct.__name__)
        if part is None or part.get("title") != struct.__name__:
            continue
        notes = {name: text for base in reversed(struct.__mro__) for name, text in _notes(base).items()}
        names = dict(zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True))
        part["properties"] = {
            written: {"description": notes[names[written]], **schema} if names[written] in notes else schema
            for written, schema in part.get("properties", {}).items()
        }
    return noted


def _notes(kind: type) -> Mapping[str, str]:
    return attribute_docs(kind) if issubclass(kind, msgspec.Struct) and kind is not msgspec.Struct else {}


def _described(schema: Schema) -> Schema:
    return {"description": schema["description"]} if "description" in schema else {}


def _structs(infos: Any) -> Iterator[type[msgspec.Struct]]:
    """Yield the structs that types are made of, each once."""
    seen: set[type] = set()
    left = list(infos)
    while left:
        info = left.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in seen:
                continue
            seen.add(info.cls)
            yield info.cls
            left += [field.type for field in info.fields]
        elif isinstance(info, msgspec.inspect.Metadata):
            left.append(info.type)
        elif isinstance(info, msgspec.inspect.UnionType):
            left += info.types
        elif isinstance(info, msgspec.inspect.TupleType):
            left += info.item_types
        elif isinstance(info, msgspec.inspect.DictType):
            left += [info.key_type, info.value_type]
        elif hasattr(info, "item_type"):
            left.append(info.item_type)
