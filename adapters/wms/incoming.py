"""What a warehouse calls us with: a delivery order that left, stock that changed.

Methods: `deliveryorder.confirm`, `stockchange.report`. Fields: github.com/yellbuy/go-ec-openapi,
`qimen/deliveryorder_confirm.go` and `qimen/stockchange_report.go`; github.com/bububa/opentaobao, `model/qimen`. Names
of people in them are not read.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Final, NamedTuple

from adapters.wms.carriers import ours
from adapters.wms.protocol import Failure
from adapters.wms.xml import BadXml, Element, read, text
from domain.delivery import Packed, summed
from domain.stock import QUANTITY_MAX

SELLABLE: Final = "ZP"
"""正品: what our ledger counts. Others are damaged, boxed badly, or on their way."""
LINES_MAX: Final = 20_000
_ID_MAX: Final = 200
BAD_REQUEST: Final = "bad-request"
BAD_XML: Final = "bad-xml"


class Confirmation(NamedTuple):
    """A delivery order that left, or a part of it."""

    code: str
    warehouse: str
    """The warehouse's own code; "" where it does not say."""
    identity: str
    """What tells this message from others for ever: the warehouse's `outBizCode`, else a digest of what it says."""
    reference: str
    """Its own number of the delivery order."""
    parcels: tuple[Packed, ...]
    packed: tuple[tuple[str, int], ...]
    """(SKU, units)."""
    final: bool


class Change(NamedTuple):
    """Stock that changed."""

    warehouse: str
    """The warehouse's own code."""
    document: str
    """`outBizCode`."""
    order: str
    """Code of the document that it changed by."""
    kind: str
    """Qimen's word for that document: CGRK, JYCK …"""
    sku: str
    units: int
    """Below 0 where stock went out."""
    sellable: bool


def confirmation(raw: bytes, carriers: Mapping[str, str]) -> Confirmation:
    """Read `deliveryorder.confirm`.

    Raises:
        Failure: it cannot be taken as it is.
    """
    root = _request(raw)
    order = root.find("deliveryOrder")
    code = _needed(order, "deliveryOrderCode", "deliveryOrder")
    lines = [
        (_needed(line, "itemCode", "orderLine"), _units(line, "actualQty", "orderLine", least=0))
        for line in _some(root, "orderLines/orderLine")
    ]
    parcels = tuple(_parcel(each, carriers) for each in _some(root, "packages/package"))
    packed = summed(lines or (line for parcel in parcels for line in parcel.lines))
    if not packed and not lines:
        raise Failure(BAD_REQUEST, "neither orderLines nor packages say what was packed")
    final = text(order, "confirmType") != "1"
    said = repr((code, parcels, packed, final)).encode()
    identity = text(order, "outBizCode")[:_ID_MAX] or sha256(said).hexdigest()[:32]
    reference = text(order, "deliveryOrderId")[:_ID_MAX]
    return Confirmation(code, text(order, "warehouseCode"), identity, reference, parcels, packed, final)


def changes(raw: bytes) -> list[Change]:
    """Read `stockchange.report`.

    Raises:
        Failure: it cannot be taken as it is.
    """
    found = [
        Change(
            _needed(item, "warehouseCode", "item"),
            _needed(item, "outBizCode", "item"),
            text(item, "orderCode"),
            text(item, "orderType"),
            _needed(item, "itemCode", "item"),
            _units(item, "quantity", "item", least=-QUANTITY_MAX),
            text(item, "inventoryType") in ("", SELLABLE),
        )
        for item in _some(_request(raw), "items/item")
    ]
    if not found:
        raise Failure(BAD_REQUEST, "there is no item in items")
    return found


def _request(raw: bytes) -> Element:
    try:
        root = read(raw)
    except BadXml as error:
        raise Failure(BAD_XML, f"the body is refused: {error}; send plain XML in UTF-8") from None
    if root.tag != "request":
        raise Failure(BAD_REQUEST, "the root of the body must be <request>")
    return root


def _some(root: Element, path: str) -> list[Element]:
    found = root.findall(path)
    if len(found) > LINES_MAX:
        raise Failure(BAD_REQUEST, f"more than {LINES_MAX:,} elements {path}; send them in several calls")
    return found


def _parcel(package: Element, carriers: Mapping[str, str]) -> Packed:
    items = [
        (_needed(item, "itemCode", "package item"), _units(item, "quantity", "package item", least=0))
        for item in package.findall("items/item")
    ]
    tracking = text(package, "expressCode")[:_ID_MAX]
    carrier = ours(text(package, "logisticsCode")[:_ID_MAX], carriers)
    if tracking and not carrier:
        raise Failure(BAD_REQUEST, "a package has an expressCode and no logisticsCode")
    return Packed(carrier, tracking, summed(items))


def _needed(element: Element | None, name: str, where: str) -> str:
    value = text(element, name)
    if not value or len(value) > _ID_MAX:
        raise Failure(BAD_REQUEST, f"{name} of {where} is missing, or longer than {_ID_MAX} characters")
    return value


def _units(element: Element, name: str, where: str, *, least: int) -> int:
    try:
        value = Decimal(text(element, name))
        whole = value == value.to_integral_value()
    except InvalidOperation:
        whole = False
    if not whole or not least <= value <= QUANTITY_MAX:
        raise Failure(BAD_REQUEST, f"{name} of {where} must be a whole number from {least} to {QUANTITY_MAX}")
    return int(value)
