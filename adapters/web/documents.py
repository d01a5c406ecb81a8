"""The shapes of the API's answers, and what is said of them in the OpenAPI document. Nothing in them is personal."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from adapters.web.ports import Taken
from adapters.web.problems import Problem
from domain.canonical import Amounts, SourceTime

State = Literal["awaiting_payment", "paid", "allocating", "shipped", "completed", "cancelled", "after_sale"]
Outcome = Literal[
    "accepted",
    "repeated",
    "outdated",
    "refused",
    "quarantined",
    "queued",
    "hint",
    "ignored",
    "unmatched",
    "durable",
]
BAD = frozenset({"refused", "quarantined"})
KEY_EXAMPLE = "order-generic:main-shop:SO-2026-0001"

Key = Annotated[str, Meta(description="Key of the order.", examples=[KEY_EXAMPLE])]
Minor = Annotated[int, Meta(description="Money in minor units (fen, cents).", examples=[19900])]
Moment = Annotated[str, Meta(description="RFC 3339, UTC, milliseconds.", examples=["2026-03-01T02:03:04.567Z"])]


class Part(msgspec.Struct, frozen=True, gc=False):
    """What became of one order of a push."""

    place: Annotated[int, Meta(description="Its place in the request, from 1.", examples=[1])]
    key: Annotated[str, Meta(description="Key of the order; empty where no order can be told.", examples=[KEY_EXAMPLE])]
    order_no: Annotated[str, Meta(description="The order's number, as it came.", examples=["SO-2026-0001"])]
    outcome: Annotated[
        Outcome,
        Meta(
            description="`accepted`: new, or it brought something new. `repeated`: known already, nothing changed. "
            "`outdated`: older than what is known. `queued`: waits for another message of the same order. `refused`, "
            "`quarantined`: see the reason; its bytes are kept. `hint`, `ignored`: no order, nothing to do. "
            "`durable`: safe, not handled yet (`wait=durable`).",
            examples=["accepted"],
        ),
    ]
    reason: Annotated[str, Meta(description="Why, where it was not simply accepted; what to do.", examples=[""])]


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What became of a push."""

    correlation_id: Annotated[str, Meta(description="Under which the log tells of it.", examples=["5d0f6a1c2b3e4f50"])]
    orders: Annotated[list[Part], Meta(description="One for each order, in the request's order.")]


class NotTaken(Problem, frozen=True, omit_defaults=True):
    """Nothing of a push could be taken in as an order. Its bytes are recorded with the reasons."""

    orders: Annotated[tuple[Part, ...], Meta(description="One for each part of the request.")] = ()


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of an order."""

    id: Annotated[str, Meta(description="The channel's line id.", examples=["1"])]
    sku: Annotated[str, Meta(description="The merchant's SKU; empty where it is not mapped.", examples=["SKU-1"])]
    quantity: Annotated[int, Meta(description="Units ordered.", examples=[2])]
    status: Annotated[Literal["open", "shipped", "cancelled"], Meta(description="What became of it.")]
    name: Annotated[str, Meta(description="The goods' name.")] = ""
    item: Annotated[str, Meta(description="The channel's id of item and variant.")] = ""
    spec: Annotated[str, Meta(description="The variant, in words.")] = ""
    unit_price: Minor = 0
    discount: Minor = 0
    amount: Minor = 0
    gift: Annotated[bool, Meta(description="Whether it is a gift.")] = False
    cancelled: Annotated[int, Meta(description="Units cancelled by the merchant.")] = 0
    after_sale_status: Annotated[str, Meta(description="`open`, `refunded` or empty.")] = ""
    attributes: Annotated[dict[str, Any], Meta(description="Custom attributes of the line.")] = {}


class OrderRow(msgspec.Struct, frozen=True):
    """An order, in short."""

    key: Key
    channel: Annotated[str, Meta(examples=["generic"])]
    shop: Annotated[str, Meta(examples=["main-shop"])]
    order_no: Annotated[str, Meta(examples=["SO-2026-0001"])]
    state: Annotated[str, Meta(description="What people see (see the parameter `status`).", examples=["paid"])]
    fulfilment: Annotated[str, Meta(description="The same without after-sales.", examples=["paid"])]
    native_status: Annotated[str, Meta(description="The channel's own word.", examples=["paid"])]
    ordered_at: Annotated[
        str, Meta(description="ISO 8601 in the merchant's zone.", examples=["2026-03-01T10:03:04.567+08:00"])
    ]
    updated_at: Moment
    currency: Annotated[str, Meta(description="ISO 4217.", examples=["CNY"])]
    amount_paid: Minor
    held: Annotated[bool, Meta(description="Whether something keeps it from being shipped.")]
    quarantined: Annotated[bool, Meta(description="Whether a message of it waits for a person's decision.")]
    items: list[Item]
    position: Annotated[int, Meta(description="Of the last event of it in the log.", examples=[1042])]


class OrderPage(msgspec.Struct, frozen=True):
    """Orders, the last changed first."""

    orders: list[OrderRow]
    next: Annotated[str | None, Meta(description="Cursor of the next page; null on the last one.", examples=["1042"])]
    position: Annotated[
        int, Meta(description="Position of the log up to which this shows what happened.", examples=[1042])
    ]


class OrderDetail(msgspec.Struct, frozen=True):
    """Everything about one order that is not personal."""

    key: Key
    channel: Annotated[str, Meta(examples=["generic"])]
    shop: Annotated[str, Meta(examples=["main-shop"])]
    order_no: Annotated[str, Meta(examples=["SO-2026-0001"])]
    state: Annotated[str, Meta(description="What people see.", examples=["paid"])]
    fulfilment: Annotated[str, Meta(description="The same without after-sales.", examples=["paid"])]
    native_status: Annotated[str, Meta(description="The channel's own word.", examples=["paid"])]
    updated_at: Moment
    position: Annotated[int, Meta(description="Of the last event of it in the log.", examples=[1042])]
    version: Annotated[int, Meta(description="Place of that event in the order's own stream.", examples=[3])]
    items: list[Item]
    amounts: Annotated[Amounts | None, Meta(description="Money of the whole order, in minor units of its currency.")]
    ordered_at: Annotated[SourceTime | None, Meta(description="When it was ordered, in its three forms.")]
    modified_at: Annotated[SourceTime | None, Meta(description="When its channel last changed it.")]
    facts: Annotated[
        dict[str, Any],
        Meta(
            description="What else the channel says (further times, parcels, custom attributes …) and what became of "
            "the order (interceptions, allocation, pick list, after-sales, counters …), by name."
        ),
    ]


NOT_SHOWN = frozenset({"sealed", "customer"})
"""Never leaves: personal, or leading to a person."""


def parts_of(taken: list[Taken]) -> list[Part]:
    """Return what is answered of what was taken."""
    return [
        Part(place, each.key, each.order_no, each.outcome, each.reason)  # type: ignore[arg-type]
        for place, each in enumerate(taken, 1)
    ]


def row_of(row: dict[str, Any]) -> OrderRow:
    """Return an order of a list from its read model."""
    return OrderRow(
        row["key"],
        row["channel"],
        row["shop"],
        row["order_no"],
        row["state"],
        row["fulfilment"],
        row["native_status"],
        row["ordered_at"],
        moment(row["updated_at"]),
        row["currency"],
        row["amount_paid"],
        bool(row["held"]),
        bool(row["quarantined"]),
        [msgspec.convert(item, Item) for item in row["items"]],
        row["position"],
    )


def detail_of(row: dict[str, Any]) -> OrderDetail:
    """Return one order from its read models."""
    own = {field.name for field in msgspec.structs.fields(OrderDetail)}
    return OrderDetail(
        row["key"],
        row["channel"],
        row["shop"],
        row["order_no"],
        row.get("state", ""),
        row.get("fulfilment", ""),
        row.get("native_status", ""),
        moment(row.get("updated_at", 0)),
        row.get("position", 0),
        row.get("version", 0),
        [msgspec.convert(item, Item) for item in row["items"]],
        msgspec.convert(row.get("amounts"), Amounts | None),
        msgspec.convert(row.get("ordered_at"), SourceTime | None),
        msgspec.convert(row.get("modified_at"), SourceTime | None),
        {name: value for name, value in row.items() if name not in own and name not in NOT_SHOWN},
    )


def moment(ms: int) -> str:
    """Return UTC milliseconds as text; "" for none."""
    if not ms:
        return ""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
