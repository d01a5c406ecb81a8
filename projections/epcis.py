"""Shipments of goods with production lots, as EPCIS 2.0 events in JSON-LD (GS1; ISO/IEC 19987 and 19988).

Two kinds of events, both ObjectEvents. *Commissioning* (ADD) says that units of a lot were told apart: only there the
standard has a place for what is true of a lot (ILMD), its number and here its carbon figure. *Shipping* (OBSERVE) says
that they left, on behalf of which order and under which waybill. A carbon figure has no field in EPCIS; it stands in
fields of our own, as the standard provides for extensions.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

import msgspec

from domain.after_sale import ReplacementShipped
from domain.canonical import Parcel
from domain.order import Lot, LotsRecorded, OrderShipped, PartiallyShipped

CONTEXT = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"
PREFIX = "orderspine"
"""Of our own fields."""
GTIN_LENGTHS = frozenset({8, 12, 13, 14})
LOT_LENGTH_MAX = 20
"""Of a batch or lot number in a GS1 Digital Link (application identifier 10)."""
_LOT = re.compile(r"[!\"%-?A-Z_a-z]+")
"""The characters that it may have."""
_ADDRESS = re.compile(r"https?://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:\d+)?(/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")


class BadBase(ValueError):
    """What identifiers are to begin with is no web address."""


class Names(NamedTuple):
    """How things are named in events."""

    base: str
    """Web address of the merchant, under which his own identifiers stand, without a slash at the end."""
    gtins: Mapping[str, str]
    """SKU → its GTIN, 14 digits, where it has one."""

    def goods(self, sku: str, lot: str) -> str:
        """Return the identifier of a lot: a GS1 Digital Link where the SKU has a GTIN, else one of the merchant's."""
        gtin = self.gtins.get(sku) or gtin_of(sku)
        if gtin and len(lot) <= LOT_LENGTH_MAX and _LOT.fullmatch(lot):
            return f"https://id.gs1.org/01/{gtin}/10/{_quoted(lot)}"
        return f"{self.base}/sku/{_quoted(sku)}/lot/{_quoted(lot)}"

    def place(self, warehouse: str) -> dict[str, str]:
        """Return a warehouse."""
        return {"id": f"{self.base}/warehouse/{_quoted(warehouse)}"}

    def transaction(self, kind: str, name: str) -> str:
        """Return an order or a waybill."""
        return f"{self.base}/{kind}/{_quoted(name)}"


class Told(NamedTuple):
    """An event of an order, and what events of EPCIS say beside it."""

    facts: Any
    name: str
    """What tells it from all other events, in any cell."""
    time: str
    """When it happened, ISO 8601 in UTC."""
    offset: str
    """The merchant's offset from UTC then: `+08:00`."""
    warehouses: Mapping[str, str]
    """Allocation → warehouse, as known before the event."""
    wanted: bool = True
    """Whether it is to be told; an earlier one only tells of lots that left later."""


def checked_base(base: str) -> str:
    """Return what identifiers begin with.

    Raises:
        BadBase: it is no web address, or has a query or a fragment.
    """
    if not _ADDRESS.fullmatch(base):
        raise BadBase(f"{base!r} is no web address such as https://id.example.com")
    return base.rstrip("/")


def gtin_of(code: str) -> str:
    """Return a barcode as a GTIN of 14 digits; "" where it is none, or one that only a shop itself may use."""
    if not (code.isascii() and code.isdigit() and len(code) in GTIN_LENGTHS):
        return ""
    gtin = code.zfill(14)
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(gtin))
    in_shops = len(code) in (12, 13) and gtin[1:].startswith(("02", "04", "2"))
    return "" if total % 10 or in_shops or not gtin.strip("0") else gtin


def head(base: str, created: str) -> dict[str, Any]:
    """Return the document without its events."""
    return {
        "@context": [CONTEXT, {PREFIX: f"{base}/vocabulary#"}],
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": created,
    }


def events_of(key: str, story: Iterable[Told], names: Names) -> Iterator[dict[str, Any]]:
    """Yield the events of one order: what left with lots that were told.

    Args:
        key: of the order.
        story: all its events, in order.
        names: how things are named.
    """
    lots: dict[str, list[Lot]] = {}
    for told in story:
        facts = told.facts
        if isinstance(facts, LotsRecorded):
            lots.setdefault(facts.allocation, []).extend(facts.lots)
            warehouse = told.warehouses.get(facts.allocation, "")
            if told.wanted:
                yield from (_commissioned(told, number, lot, warehouse, names) for number, lot in enumerate(facts.lots))
        elif isinstance(facts, OrderShipped | PartiallyShipped | ReplacementShipped):
            left = lots.pop(facts.allocation, [])
            if left and told.wanted:
                parcels = (facts.parcel,) if isinstance(facts, ReplacementShipped) else facts.parcels
                yield _shipped(key, told, left, parcels, names)


def _commissioned(told: Told, number: int, lot: Lot, warehouse: str, names: Names) -> dict[str, Any]:
    made = {
        **_event(told, f"lot-{number}"),
        "action": "ADD",
        "bizStep": "commissioning",
        "disposition": "active",
        "quantityList": [_quantity(lot, names)],
        "ilmd": {"cbvmda:lotNumber": lot.lot, **_carbon(lot)},
    }
    if warehouse:
        made |= {"readPoint": names.place(warehouse), "bizLocation": names.place(warehouse)}
    return made


def _shipped(key: str, told: Told, lots: Sequence[Lot], parcels: Sequence[Parcel], names: Names) -> dict[str, Any]:
    numbers = dict.fromkeys(parcel.tracking for parcel in parcels if parcel.tracking)
    warehouse = told.warehouses.get(told.facts.allocation, "")
    made = {
        **_event(told, "shipping"),
        "action": "OBSERVE",
        "bizStep": "shipping",
        "disposition": "in_transit",
        "quantityList": [_quantity(lot, names) for lot in lots],
        "bizTransactionList": [
            {"type": "po", "bizTransaction": names.transaction("order", key)},
            *({"type": "bol", "bizTransaction": names.transaction("waybill", number)} for number in numbers),
        ],
        f"{PREFIX}:lots": [
            {f"{PREFIX}:epcClass": names.goods(lot.sku, lot.lot), f"{PREFIX}:lotNumber": lot.lot, **_carbon(lot)}
            for lot in lots
        ],
    }
    if warehouse:
        made["readPoint"] = names.place(warehouse)
    return made


def _event(told: Told, part: str) -> dict[str, Any]:
    return {
        "type": "ObjectEvent",
        "eventID": f"urn:uuid:{uuid5(NAMESPACE_URL, f'{told.name}/{part}')}",
        "eventTime": told.time,
        "eventTimeZoneOffset": told.offset,
    }


def _quantity(lot: Lot, names: Names) -> dict[str, Any]:
    return {"epcClass": names.goods(lot.sku, lot.lot), "quantity": lot.units}


def _carbon(lot: Lot) -> dict[str, Any]:
    """Return a lot's carbon figure: of all the units named, as its source gave it; nothing where none was told."""
    if not lot.carbon:
        return {}
    value: Any = msgspec.Raw(lot.carbon.encode()) if _NUMBER.fullmatch(lot.carbon) else lot.carbon
    told = {"value": value, "unit": lot.unit, "method": lot.method, "source": lot.source}
    return {f"{PREFIX}:carbonFootprint": {f"{PREFIX}:{name}": each for name, each in told.items() if each}}


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")
