"""Compares every simulated platform with the cell: orders, states, amounts, parcels, and what is still on its way."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from adapters.simulators import wire_pinduoduo
from domain.ids import order_key
from runners.bootstrap import open_read_models
from runners.effects_store import Jobs
from runners.pulling_store import Pulls

if TYPE_CHECKING:
    from adapters.simulators import SimOrder
    from runners.settings import Settings
    from runners.simulating.shops import OpenShop
    from runners.simulating.staff import Parcel

EXAMPLES: Final = 5
"""Of each problem of a platform so many are named."""
_ALL: Final = 10_000_000


class Compared(msgspec.Struct):
    """One platform and the cell."""

    channel: str
    orders: int
    """At the platform."""
    states: dict[str, int]
    """State in the cell → orders."""
    missing: int
    """Orders of the platform that the cell does not have."""
    extra: int
    """Orders in the cell that the platform does not have: one was doubled, or invented."""
    wrong_state: int
    wrong_amount: int
    unshipped: int
    """Orders that are to be shipped and were not."""
    parcels: int
    """That left our warehouse."""
    untold: int
    """Parcels the platform does not know of."""
    told_twice: int
    """Ship notices beyond the first of a parcel."""
    strange: int
    """Ship notices of parcels that never left."""
    refused: int
    """Requests the platform refused: a token had ended, or something was asked in the wrong way."""
    refusals: dict[str, int]
    examples: list[str]
    """A few of what does not agree."""

    @property
    def good(self) -> bool:
        """Whether the platform and the cell agree."""
        return not (
            self.missing
            or self.extra
            or self.wrong_state
            or self.wrong_amount
            or self.unshipped
            or self.untold
            or self.told_twice
            or self.strange
        )


def records_of(settings: "Settings", shops: Mapping[str, "OpenShop"]) -> dict[str, dict[str, Any]]:
    """Return the orders of these shops as the read models have them, by key."""
    names = {shop.connection.shop for shop in shops.values()}
    with closing(open_read_models(settings)) as views:
        return {record["key"]: record for name in names for record in views.orders({"shop": name}, _ALL)}


def compare(
    shops: Mapping[str, "OpenShop"], records: Mapping[str, dict[str, Any]], parcels: Mapping[str, "Parcel"]
) -> list[Compared]:
    """Compare all platforms with the records of `records_of`.

    Args:
        shops: the platforms.
        records: of the cell.
        parcels: what left our warehouse, by order.
    """
    return [_compare(shop, records, parcels) for shop in shops.values()]


class Pending(NamedTuple):
    """What is still on its way between these shops and the cell."""

    fetches: int
    """Orders that messages have named and that wait to be fetched."""
    notices: int
    """Acts of which the platforms are to be told."""


def pending(settings: "Settings", shops: Mapping[str, "OpenShop"]) -> Pending:
    """Return what the cell still has to do at these shops."""
    names = {shop.connection.name for shop in shops.values()}
    fetches = notices = 0
    with contextlib.suppress(FileNotFoundError), closing(Pulls(settings.path, read_only=True)) as pulls:
        fetches = sum(pulls.hints_waiting(name) for name in names)
    with contextlib.suppress(FileNotFoundError), closing(Jobs(settings.path, read_only=True)) as jobs:
        notices = sum(job.target in names for job in jobs.waiting(100_000))
    return Pending(fetches, notices)


def troubles(settings: "Settings", shops: Mapping[str, "OpenShop"]) -> Iterator[str]:
    """Yield what the puller says about these shops."""
    with contextlib.suppress(FileNotFoundError), closing(Pulls(settings.path, read_only=True)) as pulls:
        for shop in shops.values():
            for what, reason in pulls.state(shop.connection.name).problems.items():
                yield f"{shop.connection.name}: {what}: {reason}"


def state_of(order: "SimOrder") -> str:
    """Return the state in which the cell must show an order, by what its platform says of it."""
    after_sales = [line.after_sale for line in order.lines]
    if "open" in after_sales:
        return "after_sale"
    return order.status


def _compare(shop: "OpenShop", records: Mapping[str, dict[str, Any]], parcels: Mapping[str, "Parcel"]) -> Compared:
    channel, name = shop.channel, shop.connection.shop
    there = {order_key(channel, name, order.order_no): order for order in shop.sim.store.all()}
    here = {key: record for key, record in records.items() if record["channel"] == channel}
    missing = [key for key, order in there.items() if key not in here and _told(channel, order)]
    extra = [key for key in here if key not in there]
    wrong_state, wrong_amount, unshipped = [], [], []
    for key, order in there.items():
        record = here.get(key)
        if record is None:
            continue
        if record["state"] != state_of(order):
            wrong_state.append(f"{key}: {record['state']}, at the platform {order.status}")
        # What is given back later does not change what was paid.
        if order.status != "cancelled" and record["amount_paid"] != order.paid_fen:
            wrong_amount.append(f"{key}: paid {record['amount_paid']}, at the platform {order.paid_fen}")
        if order.status in ("paid", "allocating"):
            unshipped.append(f"{key}: {record['fulfilment']}")
    left = {key: parcel for key, parcel in parcels.items() if key in there}
    told = Counter((order_key(channel, name, one.order_no), one.tracking) for one in shop.sim.shipments)
    known = {(key, parcel.tracking) for key, parcel in left.items()}
    untold = [f"{key} {tracking}" for key, tracking in known if not told[key, tracking]]
    twice = [f"{key} {tracking}" for (key, tracking), count in told.items() if count > 1]
    strange = [f"{key} {tracking}" for key, tracking in told if (key, tracking) not in known]
    examples = [
        f"{what}: {each}"
        for what, found in (
            ("missing", missing),
            ("extra", extra),
            ("wrong state", wrong_state),
            ("wrong amount", wrong_amount),
            ("not shipped", unshipped),
            ("not told", untold),
            ("told twice", twice),
            ("never left", strange),
        )
        for each in sorted(found)[:EXAMPLES]
    ]
    return Compared(
        channel=channel,
        orders=len(there),
        states=dict(sorted(Counter(record["state"] for record in here.values()).items())),
        missing=len(missing),
        extra=len(extra),
        wrong_state=len(wrong_state),
        wrong_amount=len(wrong_amount),
        unshipped=len(unshipped),
        parcels=len(left),
        untold=len(untold),
        told_twice=sum(told.values()) - len(told),
        strange=len(strange),
        refused=sum(one.outcome.startswith("refused") for one in shop.sim.requests),
        refusals=_refusals(shop),
        examples=examples,
    )


def _told(channel: str, order: "SimOrder") -> bool:
    """Whether the platform's feed tells of an order: Pinduoduo's has none of an ordinary one before it is paid."""
    return channel != "pinduoduo" or wire_pinduoduo.in_feed(order)


def _refusals(shop: "OpenShop") -> dict[str, int]:
    seen = Counter(f"{one.operation}: {one.outcome}" for one in shop.sim.requests if one.outcome.startswith("refused"))
    return dict(seen.most_common())
