"""The parcels of a Pinduoduo order: the first one stands in the order itself, more of them in lists beside it."""

from typing import Any, Final

from adapters.channels.json_fields import id_of
from adapters.channels.pinduoduo_fields import OrderFields, ParcelFields
from domain.canonical import Parcel, SourceTime

_MORE: Final = ("extra_delivery_list", "resend_delivery_list", "gift_delivery_list")


def read_parcels(
    order: OrderFields, left: SourceTime | None, lines: tuple[list[str], list[str]], attributes: dict[str, Any]
) -> tuple[Parcel, ...]:
    """Read the parcels. `left` is when the order left; `lines` are the ids of its lines and of its gifts.

    Raises:
        TranslationError: an id is none.
    """
    items, gifts = lines
    apart = bool(gifts and order.gift_delivery_list)
    parcels: dict[tuple[str, str], Parcel] = {}
    first = ParcelFields(logistics_id=order.logistics_id, tracking_number=order.tracking_number)
    named = _carried(first, "")
    if named[1]:
        parcels[named] = Parcel(*named, tuple(items) if apart else (), left)
    elif named[0]:
        attributes["logistics_id"] = named[0]
    for name in _MORE:
        told: list[dict[str, str]] = []
        for place, fields in enumerate(getattr(order, name) or ()):
            named = _carried(fields, f"{name}[{place}]")
            told.append({"logistics_id": named[0], "tracking_number": named[1]})
            if named[1]:
                inside = gifts if name == "gift_delivery_list" else items
                parcels.setdefault(named, Parcel(*named, tuple(inside) if apart else ()))
        if told:
            attributes[name] = told
    return tuple(parcels.values())


def _carried(fields: ParcelFields, where: str) -> tuple[str, str]:
    carrier = id_of(fields.logistics_id, "logistics_id", where)
    return carrier, id_of(fields.tracking_number, "tracking_number", where)
