"""The comparison of platforms with the cell sees whatever can be wrong between them."""

from typing import Any

import msgspec
import pytest

from adapters.platforms.connection import Connection
from adapters.simulators import SimOrder, Simulated, an_order
from domain.ids import order_key
from runners.simulating.comparing import Compared, compare
from runners.simulating.shops import OpenShop
from runners.simulating.staff import Parcel

AT_MS = 1_794_326_700_000
SHOP = "sim-1"
_replace = msgspec.structs.replace


def shop_on(channel: str = "taobao") -> OpenShop:
    sim = Simulated(channel, now_ms=lambda: AT_MS)
    return OpenShop(channel, sim, Connection(f"{SHOP}-{channel}", channel, SHOP), pulled=True)


def key(shop: OpenShop, order: SimOrder) -> str:
    return order_key(shop.channel, SHOP, order.order_no)


class Both:
    """A platform and the cell, which agree until a test changes one of them."""

    def __init__(self) -> None:
        self.shop = shop_on()
        store = self.shop.sim.store
        self.open = an_order("taobao", 1, AT_MS, "awaiting_payment")
        self.sent = an_order("taobao", 2, AT_MS, "paid")
        self.shop.sim.add(self.open, self.sent)
        store.ship(self.sent.order_no, "SF", "SF1")
        self.records: dict[str, dict[str, Any]] = {
            key(self.shop, self.open): self.record("awaiting_payment", 0),
            key(self.shop, self.sent): self.record("shipped", self.sent.payable_fen),
        }
        self.parcels = {key(self.shop, self.sent): Parcel("SF", "SF1")}

    def record(self, state: str, paid: int) -> dict[str, Any]:
        return {"channel": "taobao", "state": state, "amount_paid": paid, "fulfilment": "x"}

    def compared(self) -> Compared:
        (one,) = compare({"taobao": self.shop}, self.records, self.parcels)
        return one


@pytest.fixture
def both() -> Both:
    return Both()


def test_what_agrees_is_good(both: Both) -> None:
    found = both.compared()
    assert found.good
    assert (found.orders, found.parcels, found.examples) == (2, 1, [])
    assert found.states == {"awaiting_payment": 1, "shipped": 1}


def test_a_lost_order_is_seen(both: Both) -> None:
    del both.records[key(both.shop, both.open)]
    found = both.compared()
    assert (found.good, found.missing) == (False, 1)
    assert both.open.order_no in found.examples[0]


def test_a_doubled_order_is_seen(both: Both) -> None:
    both.records[order_key("taobao", SHOP, "77")] = both.record("paid", 1)
    found = both.compared()
    assert (found.good, found.extra) == (False, 1)


def test_orders_of_other_channels_are_not_meant(both: Both) -> None:
    both.records["order-jd:sim-1:77"] = both.record("paid", 1) | {"channel": "jd"}
    assert both.compared().good


def test_another_state_is_seen(both: Both) -> None:
    both.shop.sim.change(both.open.order_no, status="cancelled", ended_ms=AT_MS)
    found = both.compared()
    assert (found.good, found.wrong_state) == (False, 1)


def test_another_amount_is_seen(both: Both) -> None:
    both.records[key(both.shop, both.sent)]["amount_paid"] += 1
    found = both.compared()
    assert (found.good, found.wrong_amount) == (False, 1)


def test_an_order_that_nobody_ships_is_seen(both: Both) -> None:
    both.shop.sim.change(both.open.order_no, status="paid", paid_ms=AT_MS)
    both.records[key(both.shop, both.open)] = both.record("paid", both.open.payable_fen)
    found = both.compared()
    assert (found.good, found.unshipped, found.wrong_state) == (False, 1, 0)


def test_a_parcel_that_the_platform_does_not_know_is_seen(both: Both) -> None:
    both.shop.sim.shipments.clear()
    found = both.compared()
    assert (found.good, found.untold) == (False, 1)


def test_a_parcel_that_is_told_twice_is_seen(both: Both) -> None:
    both.shop.sim.shipments.append(both.shop.sim.shipments[0])
    found = both.compared()
    assert (found.good, found.told_twice) == (False, 1)


def test_a_parcel_that_never_left_is_seen(both: Both) -> None:
    both.shop.sim.shipments.append(both.shop.sim.shipments[0]._replace(tracking="SF2"))
    found = both.compared()
    assert (found.good, found.strange, found.untold) == (False, 1, 0)


def test_an_open_after_sale_is_a_state_of_the_cell(both: Both) -> None:
    stored = both.shop.sim.store.get(both.sent.order_no)
    assert stored is not None
    first, *others = stored.lines
    both.shop.sim.change(both.sent.order_no, lines=(_replace(first, after_sale="open"), *others))
    assert both.compared().wrong_state == 1
    both.records[key(both.shop, both.sent)]["state"] = "after_sale"
    assert both.compared().good


def test_an_unpaid_order_of_pinduoduo_need_not_be_known() -> None:
    shop = shop_on("pinduoduo")
    order = an_order("pinduoduo", 1, AT_MS, "awaiting_payment")
    shop.sim.add(order)
    (found,) = compare({"pinduoduo": shop}, {}, {})
    assert found.good
    shop.sim.change(order.order_no, status="paid", paid_ms=AT_MS)
    (found,) = compare({"pinduoduo": shop}, {}, {})
    assert found.missing == 1
