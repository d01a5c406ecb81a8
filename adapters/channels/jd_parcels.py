"""The parcels of a JD order: which carrier has which waybill, since when, and what is in it."""

from typing import Any, NamedTuple

from adapters.channels.jd_fields import PARCEL, SENT, OrderFields
from adapters.channels.jd_money import Goods
from adapters.channels.json_fields import id_of, time_of, whole_of
from domain.canonical import Parcel, SourceTime, TranslationError
from domain.timehub import TimeReader


class Sent(NamedTuple):
    """What the shipments say."""

    parcels: tuple[Parcel, ...]
    units: dict[str, int]
    """Units that have left, by SKU."""
    partial: bool
    """Whether JD lists shipments of its own; it does where an order leaves in parts."""
    told: bool
    """Whether each of them tells what is in it."""


def read_parcels(order: OrderFields, times: TimeReader, left: SourceTime | None, attributes: dict[str, Any]) -> Sent:
    """Read the shipments: those with times of their own first, then what only carriers and waybills name.

    `left` is when the order left.

    Raises:
        TranslationError: with the place of what cannot be read.
    """
    parcels: dict[tuple[str, str], Parcel] = {}
    units: dict[str, int] = {}
    native: list[dict[str, Any]] = []
    told = True
    for place, fields in enumerate(order.partialLogisticsInfoModel or ()):
        where = f"partialLogisticsInfoModel[{place}]"
        named = id_of(fields.logicId, "logicId", where), id_of(fields.waybillId, "waybillId", where)
        at = time_of(times, fields.shipmentTime, "shipmentTime", where)
        skus: dict[str, None] = {}
        goods: list[dict[str, Any]] = []
        for inner, one in enumerate(fields.skus or ()):
            inside = f"{where}.skus[{inner}]"
            sku, count = id_of(one.skuId, "skuId", inside), whole_of(one.num, "num", inside)
            if count < 0:
                raise TranslationError(f"{count} is no number of units", f"{inside}.num")
            told = told and bool(sku and count)
            units[sku] = units.get(sku, 0) + count
            skus[sku] = None
            goods.append({"skuId": sku, "num": count, **SENT.declared(one)})
        told = told and bool(goods)
        parcels[named] = Parcel(*named, tuple(skus), at)
        native.append({"waybillId": named[1], **PARCEL.declared(fields), **({"skus": goods} if goods else {})})
    if native:
        attributes["partialLogisticsInfoModel"] = native
    carriers, waybills = id_of(order.logisticsId, "logisticsId"), id_of(order.waybill, "waybill")
    known = {tracking for _, tracking in parcels}
    for carrier, tracking in _pairs(carriers, waybills):
        if tracking not in known:
            parcels.setdefault((carrier, tracking), Parcel(carrier, tracking, (), left))
    said = {part for named in parcels for part in named}
    joined = {"logisticsId": carriers, "waybill": waybills}
    attributes.update({name: text for name, text in joined.items() if text and text not in said})
    return Sent(tuple(parcels.values()), units, bool(native), told)


def _pairs(carriers: str, waybills: str) -> list[tuple[str, str]]:
    """Pair carriers joined by `|` with their waybills joined by `,`. One carrier has them all; else none is guessed."""
    groups = [group.strip() for group in waybills.split("|")] if waybills.strip() else []
    names = [name.strip() for name in carriers.split("|")] if carriers.strip() else []
    if len(names) != len(groups):
        names = names * len(groups) if len(names) == 1 else [""] * len(groups)
    return [
        (name, tracking.strip())
        for name, group in zip(names, groups, strict=True)
        for tracking in group.split(",")
        if tracking.strip()
    ]


def left_units(units: dict[str, int], goods: list[Goods]) -> list[int]:
    """Return how many units of each line have left, where the shipments name SKUs only."""
    rest = dict(units)
    found = []
    for one in goods:
        count = min(rest.get(one.sku, 0), one.quantity)
        if count:
            rest[one.sku] -= count
        found.append(count)
    return found


def with_lines(parcels: tuple[Parcel, ...], goods: list[Goods], ids: list[str]) -> tuple[Parcel, ...]:
    """Return the parcels with the ids of the lines in them in place of their SKUs."""
    if not any(parcel.lines for parcel in parcels):
        return parcels
    by_sku: dict[str, list[str]] = {}
    for one, line_id in zip(goods, ids, strict=True):
        by_sku.setdefault(one.sku, []).append(line_id)
    return tuple(
        Parcel(
            parcel.carrier,
            parcel.tracking,
            tuple(line_id for sku in parcel.lines for line_id in by_sku.get(sku, (sku,))),
            parcel.at,
        )
        for parcel in parcels
    )


def last_of(parcels: tuple[Parcel, ...]) -> SourceTime | None:
    """Return when the last of the parcels left, as far as they tell."""
    times = [parcel.at for parcel in parcels if parcel.at is not None]
    return max(times, key=lambda at: at.utc_ms, default=None)
